// SPDX-License-Identifier: BSL-1.0
//
// ota-platform: the other end of an update, for trying an agent at a desk. It stands in for Alibaba
// Cloud's IoT Platform towards one device: tells it of a new version, gives it links that expire,
// or blocks over MQTT, shows what it hears of it, and calls the update a success when the device
// reports the new version, and not before. The files are served by an nginx, which asks here
// whether a link still holds (auth_request). It uses nothing of cleave, so that the two ends make
// no mistake together.
//
//   ota-platform --port 8883 --ca ca.pem --www www --url https://localhost:8443 --gate gate.sock
//       --version 2.0 --size 4M

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE
#endif
#include <asio.hpp>

#include <CLI/CLI.hpp>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <unistd.h>

#include "ota/alink.hpp"
#include "ota/mqtt_link.hpp"
#include "ota/picture.hpp"

namespace {

using namespace std::chrono_literals;
using namespace example;
using seconds = std::chrono::duration<double>;
using error = std::error_code const&;

struct options {
    mqtt_settings broker;
    device_id device{.product = "a1cleave", .name = "desk"};
    std::string module = "default";
    std::string version = "2.0";
    std::string image;              // a file, or
    std::uint64_t size = 4U << 20U; // as many bytes that are made up,
    std::string inside;             // which say that they are of this version
    unsigned files = 1;
    std::string method = "SHA256";
    bool over_mqtt = false;

    std::string www;
    std::string url;
    std::string gate;
    std::string ready;
    double deadline = 300;
    double linger = 1;
    std::string expire_after = "600s";

    bool wrong_digest = false;
    int close_at = -1;
    std::vector<std::uint64_t> lose, repeat, damage;
};

std::string hex(std::span<unsigned char const> bytes) {
    std::ostringstream text;
    for (unsigned char const b : bytes)
        text << std::hex << std::setw(2) << std::setfill('0') << unsigned{b};
    return text.str();
}

// --- What there is to download -------------------------------------------------------------------

struct served_file {
    std::string name;
    std::string bytes;
    std::string sign;
};

// An image of its version: the first line says so, as a real one does somewhere. The rest follows
// from the version alone.
std::string make_image(std::string const& version, std::uint64_t size) {
    std::string bytes = "cleave example image, version " + version + "\n";
    std::seed_seq seed(version.begin(), version.end());
    std::mt19937 random{seed};
    while (bytes.size() < size) bytes += static_cast<char>(random() & 0xffU);
    bytes.resize(std::max<std::size_t>(size, bytes.find('\n') + 1));
    return bytes;
}

std::string digest_of(std::string const& bytes, std::string const& method) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> to{};
    std::size_t size = 0;
    char const* const name = method == "Md5" ? "MD5" : "SHA256";
    if (EVP_Q_digest(nullptr, name, nullptr, bytes.data(), bytes.size(), to.data(), &size) != 1)
        throw std::runtime_error{std::string{"OpenSSL has no "} + name};
    return hex(std::span{to}.first(size));
}

std::vector<served_file> make_files(options const& o) {
    std::string image;
    if (o.image.empty()) {
        image = make_image(o.inside.empty() ? o.version : o.inside, o.size);
    } else {
        std::ifstream from{o.image, std::ios::binary};
        if (!from) throw std::runtime_error{"cannot read " + o.image};
        image.assign(std::istreambuf_iterator<char>{from}, {});
    }
    std::vector<served_file> files;
    files.push_back({"firmware.bin", std::move(image), {}});
    for (unsigned i = 1; i < o.files; ++i) {
        auto const name = "data-" + std::to_string(i) + ".bin";
        files.push_back({name, make_image(o.version + " " + name, o.size / (i + 1)), {}});
    }
    for (auto& f : files) {
        f.sign = digest_of(f.bytes, o.method);
        // The digest is wrong, and not the bytes: the device cannot know which.
        if (o.wrong_digest) f.sign.front() = f.sign.front() == '0' ? '1' : '0';
        if (o.www.empty()) continue;
        auto const path = std::filesystem::path{o.www} / f.name;
        std::ofstream to{path, std::ios::binary};
        to << f.bytes;
        if (!to.flush()) throw std::runtime_error{"cannot write " + path.string()};
    }
    return files;
}

// --- Links that expire ---------------------------------------------------------------------------

// Signs links, and tells whether one holds: until a time, or for so many bytes.
class links {
  public:
    links(std::string base, std::string const& expire_after) : base_(std::move(base)) {
        std::random_device random;
        for (auto& c : key_) c = static_cast<unsigned char>(random() & 0xffU);
        std::size_t behind = 0;
        double const n = std::stod(expire_after, &behind);
        auto const unit = expire_after.substr(behind);
        if (unit == "s") {
            lives_ = std::chrono::duration_cast<std::chrono::milliseconds>(seconds{n});
        } else {
            double const times = unit == "K" ? 1024 : unit == "M" ? 1024 * 1024 : 1;
            most_bytes_ = static_cast<std::uint64_t>(n * times);
        }
    }

    std::string make(std::string const& name) {
        auto const until = now() + lives_;
        auto const what = "/" + name + "?Link=" + std::to_string(++made_) +
                          "&Expires=" + std::to_string(until.count());
        return base_ + what + "&Signature=" + sign(what);
    }

    // Why a request is refused, if it is. `target`: with the query; `asked`: bytes of its range.
    std::optional<std::string> refuse(std::string const& target, std::uint64_t asked) {
        if (closed_) return "the update is closed";
        auto const at = target.find("&Signature=");
        if (at == std::string::npos) return "the link is not signed";
        auto const what = target.substr(0, at);
        if (target.substr(at + 11) != sign(what)) return "the signature is wrong";
        // It is our own, so these are there and are numbers.
        auto const expires = what.find("&Expires=");
        auto const number = what.find("?Link=");
        if (now().count() > std::stoll(what.substr(expires + 9))) return "the link has expired";
        auto& taken = taken_[what.substr(number + 6, expires - number - 6)];
        if (most_bytes_ != 0 && taken >= most_bytes_)
            return "the link has expired, after " + picture::bytes(taken);
        taken += asked;
        ++let_through;
        return std::nullopt;
    }
    void close() { closed_ = true; }

    std::uint64_t let_through = 0;

  private:
    static std::chrono::milliseconds now() {
        return std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::system_clock::now().time_since_epoch());
    }
    std::string sign(std::string const& text) const {
        std::array<unsigned char, EVP_MAX_MD_SIZE> to{};
        unsigned size = 0;
        HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
             reinterpret_cast<unsigned char const*>(text.data()), text.size(), to.data(), &size);
        return hex(std::span{to}.first(size));
    }

    std::string base_;
    std::array<unsigned char, 32> key_{};
    std::chrono::milliseconds lives_ = std::chrono::hours{24};
    std::uint64_t most_bytes_ = 0;
    std::uint64_t made_ = 0;
    std::map<std::string, std::uint64_t> taken_;
    bool closed_ = false;
};

// --- Where nginx asks ----------------------------------------------------------------------------

// Answers each request on a local socket with 204 or 403; the next one comes on another connection.
class gate {
  public:
    using protocol = asio::local::stream_protocol;
    using judge = std::function<bool(std::string const& target, std::uint64_t bytes)>;

    gate(asio::io_context& context, std::string const& path, judge j)
        : acceptor_{context}, judge_{std::move(j)} {
        ::unlink(path.c_str());
        acceptor_.open();
        acceptor_.bind(protocol::endpoint{path});
        acceptor_.listen();
        accept();
    }

  private:
    struct visit {
        explicit visit(protocol::socket s) : socket{std::move(s)} {}
        protocol::socket socket;
        std::string text;
    };

    void accept() {
        acceptor_.async_accept([this](error ec, protocol::socket s) {
            if (ec == asio::error::operation_aborted) return;
            if (!ec) read(std::make_shared<visit>(std::move(s)));
            accept();
        });
    }
    void read(std::shared_ptr<visit> v) {
        asio::async_read_until(v->socket, asio::dynamic_buffer(v->text, 16384), "\r\n\r\n",
                               [this, v](error ec, std::size_t) {
                                   if (!ec) answer(v);
                               });
    }
    void answer(std::shared_ptr<visit> v) {
        std::uint64_t bytes = 0;
        auto const range = field(v->text, "Range");
        if (auto const dash = range.find('-'); range.rfind("bytes=", 0) == 0 && dash > 6)
            bytes = number(range.substr(dash + 1)) - number(range.substr(6, dash - 6)) + 1;
        bool const holds = judge_(field(v->text, "X-Original-URI"), bytes);
        v->text = holds ? "HTTP/1.0 204 No Content\r\n\r\n" : "HTTP/1.0 403 Forbidden\r\n\r\n";
        asio::async_write(v->socket, asio::buffer(v->text), [v](error, std::size_t) {});
    }
    static std::string field(std::string const& head, std::string const& name) {
        auto const at = head.find("\r\n" + name + ": ");
        if (at == std::string::npos) return {};
        auto const from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
    static std::uint64_t number(std::string const& text) {
        return std::strtoull(text.c_str(), nullptr, 10);
    }

    protocol::acceptor acceptor_;
    judge judge_;
};

// --- The platform --------------------------------------------------------------------------------

class platform {
  public:
    platform(asio::io_context& context, options const& o)
        : context_{context}, options_{o}, topics_{o.device}, files_{make_files(o)},
          links_{o.url, o.expire_after}, link_{context.get_executor(), o.broker}, deadline_{
                                                                                      context} {
        if (!o.gate.empty())
            gate_.emplace(context, o.gate, [this](std::string const& target, std::uint64_t bytes) {
                return judge(target, bytes);
            });
        link_.connected = [this] {
            picture::platform("connected to the broker");
            if (!options_.ready.empty()) std::ofstream{options_.ready};
        };
        link_.lost = [](std::string const& why) {
            picture::platform("no connection to the broker: " + why);
        };
        link_.message = [this](std::string const& topic, std::string const& payload) {
            try {
                take(topic, payload);
            } catch (bad_message const& e) {
                picture::platform("cannot read what came on " + topic + ": " + e.what());
            }
        };
        link_.subscribe("/ota/device/inform/+/+");
        link_.subscribe(topics_.progress());
        link_.subscribe(topics_.firmware_get());
        link_.subscribe(topics_.file_download());
        link_.start();
        wait_until_deadline();
    }

    int exit_code() const { return succeeded_ ? 0 : 1; }

  private:
    void take(std::string const& topic, std::string const& payload) {
        if (topic == topics_.inform()) return take_version(read_version_report(payload));
        if (topic == topics_.progress()) return take_progress(read_progress(payload));
        if (topic == topics_.firmware_get()) return take_ask(read_firmware_ask(payload));
        if (topic == topics_.file_download()) return take_block_ask(read_block_ask(payload));
        take_stranger(topic, read_version_report(payload));
    }

    // Each device has a topic of its own, which ends with its product and its name.
    void take_stranger(std::string const& topic, version_report const& r) {
        auto const name = topic.rfind('/');
        auto const product = topic.rfind('/', name - 1);
        picture::to_platform("version " + r.version + " of " + r.module);
        picture::platform("UNKNOWN: there is no device " + topic.substr(name + 1) + " of product " +
                          topic.substr(product + 1, name - product - 1) + ", only " +
                          options_.device.name + " of " + options_.device.product +
                          "; correct the names at the device, or add it");
    }

    void take_version(version_report const& r) {
        heard_ = "version " + r.version + " of " + r.module;
        picture::to_platform(heard_);
        if (r.module != options_.module)
            return picture::platform("UNKNOWN: module " + r.module +
                                     " is not what is updated, but " + options_.module +
                                     "; correct the module at one of both ends");
        if (r.version == options_.version)
            return end(true, told_ ? "the device has reported version " + r.version
                                   : "the device had version " + r.version + " already");
        if (!from_) from_ = r.version;
        // Neither what it was nor what it was to be.
        if (r.version != *from_)
            return end(false, "version " + r.version + " is reported, and " + options_.version +
                                  " is expected; look which version the image itself is of");
        if (ended_) return;
        link_.publish(topics_.upgrade(), write(task(), next_id()));
        picture::to_device("upgrade to " + options_.version + ": " +
                           picture::count(files_.size(), "file") + ", " +
                           picture::bytes(all_bytes()) + (options_.over_mqtt ? " over MQTT" : ""));
        // The time runs from the first push.
        if (!std::exchange(told_, true)) wait_until_deadline();
    }

    void take_progress(progress_report const& p) {
        if (p.module != options_.module) return;
        auto const text = p.text.empty() ? "" : " (" + p.text + ")";
        if (p.step < 0) {
            picture::to_platform("step " + std::to_string(p.step) + text);
            char const* const names[] = {"upgrade", "download", "verification", "install"};
            end(false, std::string{"the device says that the "} + names[-p.step - 1] +
                           " failed: " + p.text);
            // It has nothing more to say, and need not be told.
            return context_.stop();
        }
        heard_ = std::to_string(p.step) + " %" + text;
        picture::to_platform(heard_);
        if (p.step == 100) picture::platform("100 %: not a success before the version is reported");
        if (options_.close_at >= 0 && p.step >= options_.close_at)
            end(false, "the operator has cancelled the update");
    }

    void take_ask(firmware_ask const& a) {
        picture::to_platform("is there an upgrade, or a fresh link?");
        if (a.module != options_.module || ended_) {
            link_.publish(topics_.firmware_get_reply(), write_no_upgrade(a.id));
            return picture::to_device("no upgrade");
        }
        link_.publish(topics_.firmware_get_reply(), write(task(), a.id));
        picture::to_device("upgrade to " + options_.version + ", " +
                           (options_.over_mqtt ? "over MQTT" : "with fresh links"));
    }

    void take_block_ask(block_ask const& a) {
        block_reply r;
        r.id = a.id;
        auto const refuse = [&](int code, char const* why) {
            r.code = code;
            r.message = why;
            link_.publish_once(topics_.file_download_reply(), write(r));
            picture::to_device(std::to_string(code) + " " + why);
        };
        if (ended_) return refuse(404, "the update is closed");
        if (!options_.over_mqtt || a.stream != stream || a.file == 0 || a.file > files_.size())
            return refuse(404, "there is no such file");
        auto const& file = files_[a.file - 1].bytes;
        bool const last = a.offset < file.size() && a.size >= file.size() - a.offset;
        if (a.offset >= file.size() || a.size == 0 || a.size > most_block ||
            (a.size < least_block && !last))
            return refuse(400, "there is no such block");
        r.file_size = file.size();
        r.offset = a.offset;
        r.bytes = std::as_bytes(std::span{file})
                      .subspan(a.offset, std::min<std::size_t>(a.size, file.size() - a.offset));
        std::string payload = write(r);

        auto const chosen = [n = ++blocks_](std::vector<std::uint64_t> const& list) {
            return std::find(list.begin(), list.end(), n) != list.end();
        };
        auto const name =
            "block " + std::to_string(blocks_) + ", at byte " + std::to_string(a.offset) + ", ";
        if (blocks_ == 1) picture::to_platform("asks for blocks of " + picture::bytes(a.size));
        if (chosen(options_.lose)) return picture::platform(name + "is lost");
        if (chosen(options_.damage)) {
            picture::platform(name + "is damaged");
            payload[payload.size() - 3] = static_cast<char>(payload[payload.size() - 3] ^ 0x20);
        }
        link_.publish_once(topics_.file_download_reply(), payload);
        if (chosen(options_.repeat)) {
            picture::platform(name + "is sent twice");
            link_.publish_once(topics_.file_download_reply(), payload);
        }
    }

    bool judge(std::string const& target, std::uint64_t bytes) {
        auto const why = links_.refuse(target, bytes);
        if (!why) return true;
        // Said once for all lanes.
        if (refused_ != target) picture::to_device("403 Forbidden: " + *why);
        refused_ = target;
        return false;
    }

    upgrade_task task() {
        upgrade_task t{.version = options_.version,
                       .module = options_.module,
                       .sign_method = options_.method,
                       .files = {},
                       .stream = {}};
        if (options_.over_mqtt) t.stream = stream;
        for (auto const& f : files_)
            t.files.push_back({.name = f.name,
                               .url = options_.over_mqtt ? "" : links_.make(f.name),
                               .size = f.bytes.size(),
                               .sign = f.sign,
                               .stream_file = t.files.size() + 1});
        return t;
    }
    std::uint64_t all_bytes() const {
        std::uint64_t n = 0;
        for (auto const& f : files_) n += f.bytes.size();
        return n;
    }
    std::string next_id() { return std::to_string(++id_); }

    void wait_until_deadline() {
        deadline_.expires_after(
            std::chrono::duration_cast<asio::steady_timer::duration>(seconds{options_.deadline}));
        deadline_.async_wait([this](error ec) {
            if (ec || ended_) return;
            std::ostringstream text;
            text << "version " << options_.version << " was not reported within "
                 << options_.deadline << " s; ";
            if (heard_.empty())
                text << "nothing was heard of device " << options_.device.name << " of product "
                     << options_.device.product << ", check that it is on and that these names are "
                     << "its own";
            else
                text << "the last that was heard of the device is " << heard_
                     << ", look at it what it has done since";
            end(false, text.str());
        });
    }

    // Closes the channel. After a failure the device may still find out.
    void end(bool well, std::string const& why) {
        if (ended_) return;
        ended_ = true;
        succeeded_ = well;
        links_.close();
        if (links_.let_through != 0)
            picture::platform(picture::count(links_.let_through, "request") +
                              " for files let through");
        if (blocks_ != 0) picture::platform(picture::count(blocks_, "block") + " asked for");
        picture::platform((well ? "SUCCESS: " : "FAILED: ") + why);
        if (well) return context_.stop();
        deadline_.expires_after(
            std::chrono::duration_cast<asio::steady_timer::duration>(seconds{options_.linger}));
        deadline_.async_wait([this](error ec) {
            if (!ec) context_.stop();
        });
    }

    static constexpr std::uint64_t stream = 1397345;

    asio::io_context& context_;
    options const& options_;
    topics topics_;
    std::vector<served_file> files_;
    links links_;
    mqtt_link link_;
    std::optional<gate> gate_;
    asio::steady_timer deadline_;
    std::optional<std::string> from_; // the version before
    bool told_ = false;
    bool ended_ = false;
    bool succeeded_ = false;
    std::uint64_t id_ = 0;
    std::uint64_t blocks_ = 0;
    std::string refused_;
    std::string heard_; // the last of the device
};

options parse(int argc, char** argv) {
    options o;
    CLI::App app{"The other end of an update, for trying an agent at a desk."};
    CLI::AsSizeValue const size_value{false};
    app.add_option("--host", o.broker.host, "the broker; localhost if not given");
    app.add_option("--port", o.broker.port, "the broker's port; 8883 if not given");
    app.add_option("--ca", o.broker.ca_file, "CA of the broker's certificate; none: without TLS");
    app.add_option("--product", o.device.product, "product key of the device");
    app.add_option("--device", o.device.name, "its name");
    app.add_option("--module", o.module, "what of it is to be updated; \"default\" if not given");
    app.add_option("--version", o.version, "the new version; 2.0 if not given");
    app.add_option("--image", o.image, "file with the new image; one is made up if not given");
    app.add_option("--size", o.size, "size of the one that is made up, 4M if not given")
        ->transform(size_value);
    app.add_option("--files", o.files, "how many files it has, 1 if not given")
        ->check(CLI::Range(1, 16));
    app.add_option("--sign-method", o.method, "SHA256 or Md5")
        ->check(CLI::IsMember({"SHA256", "Md5"}));
    app.add_flag("--mqtt", o.over_mqtt, "send the files block by block over MQTT");
    app.add_option("--www", o.www, "directory that the web server serves");
    app.add_option("--url", o.url, "URL of that directory, without a slash at its end");
    app.add_option("--gate", o.gate, "local socket on which the web server asks about links");
    app.add_option("--ready-file", o.ready, "file to make when a device may come");
    app.add_option("--deadline", o.deadline, "seconds for the whole update, 300 if not given");
    app.add_option("--linger", o.linger,
                   "seconds to stay when it failed and the device does not say so, 1 if not given");
    app.add_option("--expire-after", o.expire_after, "how long a link holds: 2.5s, or 64K bytes")
        ->check([](std::string const& text) {
            char* end = nullptr;
            bool const good = std::strtod(text.c_str(), &end) > 0;
            std::string const unit = end;
            return good && (unit == "s" || unit == "K" || unit == "M" || unit.empty())
                       ? ""
                       : "write 2.5s, or bytes as 64K";
        });

    auto* const faults = app.add_option_group("Faults, on purpose");
    faults->add_flag("--wrong-digest", o.wrong_digest, "tell a digest that the files do not have");
    faults->add_option("--inside", o.inside, "version that the image itself is of");
    faults->add_option("--close-at", o.close_at, "cancel when the device is at so many per cent");
    faults->add_option("--lose-block", o.lose, "do not send the n-th block asked for");
    faults->add_option("--repeat-block", o.repeat, "send the n-th block asked for twice");
    faults->add_option("--damage-block", o.damage, "send the n-th block asked for damaged");
    try {
        app.parse(argc, argv);
        if (!o.over_mqtt && (o.www.empty() || o.url.empty() || o.gate.empty()))
            throw CLI::ValidationError{"without --mqtt there must be --www, --url and --gate"};
    } catch (CLI::ParseError const& e) {
        std::exit(app.exit(e) == 0 ? 0 : 2);
    }
    o.broker.client_id = "platform-" + std::to_string(::getpid());
    return o;
}

} // namespace

int main(int argc, char** argv) {
    options const o = parse(argc, argv);
    try {
        asio::io_context context{1};
        platform p{context, o};
        int signalled = 0;
        asio::signal_set signals{context, SIGINT, SIGTERM};
        signals.async_wait([&](error ec, int signal) {
            if (ec) return;
            signalled = signal;
            context.stop();
        });
        context.run();
        return signalled != 0 ? 128 + signalled : p.exit_code();
    } catch (std::exception const& e) {
        std::cerr << "ota-platform: " << e.what() << '\n';
        return 2;
    }
}
