// SPDX-License-Identifier: BSL-1.0
//
// range-server: something to download from while trying cleave out. It serves one object of
// pseudo-random bytes at /object on the loopback, holds each connection to a rate, and on request
// cuts responses off in the middle, as long ways through the net do. It uses Asio only, not cleave.
//
//   range-server --port 8080 --size 64M --rate 8M --cut-every 5 --sha256

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <utility>

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE
#endif
#include <asio.hpp>

#include <CLI/CLI.hpp>
#include <openssl/evp.h>

namespace {

using asio::ip::tcp;
using std::chrono::steady_clock;
using error = std::error_code const&;

struct settings {
    std::uint16_t port = 0;
    std::uint64_t size = 64U << 20;
    std::uint64_t seed = 7;
    std::uint64_t rate = 0;      // bytes a second per connection; 0 is unlimited
    std::uint64_t cut_every = 0; // 0 cuts none
    std::string port_file;
    bool no_ranges = false;
    bool sha256 = false;
};

struct totals {
    std::uint64_t connections = 0, responses = 0, bytes = 0, cuts = 0;
};

// Bytes that follow from the seed, any of them known without those before: block n of eight is the
// n-th number of splitmix64, low byte first.
class pseudo_random_object {
  public:
    pseudo_random_object(std::uint64_t size, std::uint64_t seed) : size_{size}, seed_{seed} {}

    std::uint64_t size() const { return size_; }
    void read(std::uint64_t offset, std::string& to) const {
        auto word = block(offset / 8);
        for (char& c : to) {
            c = static_cast<char>(word >> (8 * (offset % 8)) & 0xff);
            if (++offset % 8 == 0) {
                word = block(offset / 8);
            }
        }
    }

    std::string etag() const { return '"' + std::to_string(size_ ^ block(0)) + '"'; }

    std::string sha256() const {
        std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free};
        EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
        std::string buffer;
        for (std::uint64_t at = 0; at < size_; at += buffer.size()) {
            buffer.resize(std::min<std::uint64_t>(size_ - at, 65536));
            read(at, buffer);
            EVP_DigestUpdate(context.get(), buffer.data(), buffer.size());
        }
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned int length = 0;
        EVP_DigestFinal_ex(context.get(), digest, &length);
        std::ostringstream text;
        for (unsigned int i = 0; i < length; ++i) {
            text << std::hex << std::setw(2) << std::setfill('0') << int{digest[i]};
        }
        return text.str();
    }

  private:
    std::uint64_t block(std::uint64_t n) const {
        std::uint64_t z = seed_ + (n + 1) * 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }

    std::uint64_t size_;
    std::uint64_t seed_;
};

// The value of a field of a request head, or "".
std::string field(std::string const& head, std::string const& name) {
    std::smatch m;
    std::regex const line{"\r\n" + name + ":[ \t]*([^\r\n]*)", std::regex::icase};
    return std::regex_search(head, m, line) ? m[1].str() : "";
}

// First and last byte of "bytes=a-b" or "bytes=a-"; no other form is taken.
std::optional<std::pair<std::uint64_t, std::uint64_t>> parse_range(std::string const& text) {
    static std::regex const form{"bytes=([0-9]{1,18})-([0-9]{0,18})"};
    std::smatch m;
    if (!std::regex_match(text, m, form)) {
        return std::nullopt;
    }
    std::uint64_t const first = std::stoull(m[1]);
    std::uint64_t const last = m[2].length() == 0 ? UINT64_MAX : std::stoull(m[2]);
    return last < first ? std::nullopt : std::optional{std::pair{first, last}};
}

// One connection: reads a request, answers it piece by piece at the rate allowed, and again.
class session : public std::enable_shared_from_this<session> {
  public:
    session(tcp::socket socket, settings const& s, pseudo_random_object const& o, totals& t)
        : socket_{std::move(socket)}, settings_{s}, object_{o}, totals_{t} {
        ++totals_.connections;
    }

    void read_request() {
        auto then = [self = shared_from_this()](error e, std::size_t size) {
            if (!e) {
                self->answer(self->input_.substr(0, size));
                self->input_.erase(0, size);
            }
        };
        asio::async_read_until(socket_, asio::dynamic_buffer(input_, 8192), "\r\n\r\n",
                               std::move(then));
    }

  private:
    void answer(std::string const& head) {
        bool const is_get = head.rfind("GET /object ", 0) == 0;
        bool const is_head = head.rfind("HEAD /object ", 0) == 0;
        std::string status = "404 Not Found";
        std::string fields;
        at_ = end_ = 0;
        if (is_get || is_head) {
            status = "200 OK";
            fields = "ETag: " + object_.etag() + "\r\n";
            fields += settings_.no_ranges ? "" : "Accept-Ranges: bytes\r\n";
            end_ = object_.size();
        }
        auto const range = parse_range(field(head, "Range"));
        auto const condition = field(head, "If-Range");
        bool const current = condition.empty() || condition == object_.etag();
        if (is_get && range && current && !settings_.no_ranges) {
            auto const size = std::to_string(object_.size());
            if (range->first >= object_.size()) {
                status = "416 Range Not Satisfiable";
                fields += "Content-Range: bytes */" + size + "\r\n";
                end_ = 0;
            } else {
                status = "206 Partial Content";
                at_ = range->first;
                end_ = std::min(range->second, object_.size() - 1) + 1;
                fields += "Content-Range: bytes " + std::to_string(at_) + "-" +
                          std::to_string(end_ - 1) + "/" + size + "\r\n";
            }
        }
        close_ = field(head, "Connection") == "close";
        piece_ = "HTTP/1.1 " + status + "\r\n" + fields +
                 "Content-Length: " + std::to_string(end_ - at_) + "\r\n" +
                 (close_ ? "Connection: close\r\n\r\n" : "\r\n");

        if (is_head) {
            at_ = end_;
        }
        ++totals_.responses;
        cut_ = end_ - at_ > 1 && settings_.cut_every != 0 &&
               totals_.responses % settings_.cut_every == 0;
        if (cut_) {
            end_ -= (end_ - at_) / 2;
        }
        write_piece();
    }

    void write_piece() {
        auto then = [self = shared_from_this()](error e, std::size_t) {
            if (!e) {
                self->after_piece();
            }
        };
        asio::async_write(socket_, asio::buffer(piece_), std::move(then));
    }

    void after_piece() {
        if (at_ < end_) {
            next_piece();
        } else if (cut_) {
            // By turns with FIN and with RST.
            std::error_code ignored;
            socket_.set_option(asio::socket_base::linger{totals_.cuts++ % 2 == 1, 0}, ignored);
            socket_.close(ignored);
        } else if (!close_) {
            read_request();
        }
    }

    // A hundredth of a second's worth at a time; a late timer may be made up for, within limits.
    void next_piece() {
        using namespace std::chrono_literals;
        auto const rate = settings_.rate;
        auto const most = rate == 0 ? 65536 : std::clamp<std::uint64_t>(rate / 100, 256, 65536);
        piece_.resize(std::min(end_ - at_, most));
        object_.read(at_, piece_);
        at_ += piece_.size();
        totals_.bytes += piece_.size();
        if (rate == 0) {
            return write_piece();
        }
        timer_.expires_at(std::max(due_, steady_clock::now() - 20ms));
        due_ = timer_.expiry() + std::chrono::nanoseconds{piece_.size() * 1'000'000'000 / rate};
        timer_.async_wait([self = shared_from_this()](error) { self->write_piece(); });
    }

    tcp::socket socket_;
    asio::steady_timer timer_{socket_.get_executor()};
    settings const& settings_;
    pseudo_random_object const& object_;
    totals& totals_;
    std::string input_, piece_;        // read ahead, being written
    std::uint64_t at_ = 0, end_ = 0;   // what is left of the body
    bool cut_ = false, close_ = false; // what to do at its end
    steady_clock::time_point due_{};   // when the next piece may go
};

void accept(tcp::acceptor& acceptor, settings const& s, pseudo_random_object const& o, totals& t) {
    acceptor.async_accept([&](error e, tcp::socket socket) {
        if (!e) {
            std::error_code ignored; // it may be gone already
            socket.set_option(tcp::no_delay{true}, ignored);
            std::make_shared<session>(std::move(socket), s, o, t)->read_request();
        }
        if (e != asio::error::operation_aborted) {
            accept(acceptor, s, o, t);
        }
    });
}

} // namespace

int main(int argc, char** argv) {
    settings s;
    CLI::App app{"Serves pseudo-random bytes on the loopback, slowly and unreliably if asked to."};
    CLI::AsSizeValue const size_value{false};
    app.add_option("--port", s.port, "port to listen on; a free one if not given");
    app.add_option("--size", s.size, "size of the object, 64M if not given")->transform(size_value);
    app.add_option("--seed", s.seed, "what its bytes follow from, 7 if not given");
    app.add_option("--rate", s.rate, "bytes a second for each connection, as in 8M")
        ->transform(size_value);
    app.add_option("--cut-every", s.cut_every, "cut every n-th response in the middle");
    app.add_option("--port-file", s.port_file, "file to write the port to, once it is open");
    app.add_flag("--no-ranges", s.no_ranges, "ignore Range: always send the whole object");
    app.add_flag("--sha256", s.sha256, "print the SHA-256 of the object at start");
    CLI11_PARSE(app, argc, argv);

    try {
        totals t;
        pseudo_random_object const object{s.size, s.seed};
        asio::io_context context{1};
        asio::signal_set signals{context, SIGINT, SIGTERM};
        signals.async_wait([&](error, int) { context.stop(); });
        tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), s.port}};
        auto const port = std::to_string(acceptor.local_endpoint().port());
        accept(acceptor, s, object, t);

        if (s.sha256) {
            std::cout << "sha256 " << object.sha256() << '\n';
        }
        std::cout << "listening on http://127.0.0.1:" << port << "/object" << std::endl;
        if (!s.port_file.empty()) {
            // By way of another name, so that who finds the file finds it complete.
            std::ofstream{s.port_file + ".part"} << port << '\n';
            std::filesystem::rename(s.port_file + ".part", s.port_file);
        }
        context.run();
        std::cout << t.connections << " connections, " << t.responses << " responses, " << t.bytes
                  << " bytes, " << t.cuts << " cuts" << std::endl;
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "range-server: " << e.what() << '\n';
        return 1;
    }
}
