// SPDX-License-Identifier: BSL-1.0
//
// ota-agent: keeps a device up to date over MQTT, as Alibaba Cloud's IoT Platform has it. It
// reports the device's version, is told of a new one, lets the library download, prove and install
// it, and starts again with it. It shows how the library's `async_update` is put to work: the
// device is in ota/desk_device.hpp, what is said in ota/alink.hpp. Small files come over MQTT
// itself where the platform says so, through the same planners, sinks and verifiers
// (ota/mqtt_download.hpp).
//
//   ota-agent --port 8883 --ca ca.pem --dir device

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include <cleave/cleave.hpp>
#include <cleave/ota/update.hpp>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <CLI/CLI.hpp>

#include "chosen_plan.hpp"
#include "ota/alink.hpp"
#include "ota/desk_device.hpp"
#include "ota/mqtt_download.hpp"
#include "ota/mqtt_link.hpp"
#include "ota/picture.hpp"

namespace {

using namespace std::chrono_literals;
using namespace example;

// --- How to download -----------------------------------------------------------------------------

using chosen_plan = example::chosen_plan<cleave::fixed_size, cleave::listed_segments>;
static_assert(cleave::range_planner<chosen_plan>);

struct options {
    mqtt_settings broker;
    device_id device{.product = "a1cleave", .name = "desk"};
    std::string module = "default";
    desk_settings desk;
    bool once = false;

    std::optional<std::string> https_ca;
    std::uint32_t lanes = 4;
    chosen_plan plan;
    std::uint64_t rate = 0;
    double deadline = 0;
    mqtt_download_settings blocks;
    std::uint32_t tries = 12;
    double ask_after = 10;

    bool lose_reports = false;
};

auto make_policies(options const& o) {
    auto const ca = o.https_ca.value_or(o.broker.ca_file);
    // The platform has said that there is a server, so it is waited for: with twelve tries about
    // half a minute.
    cleave::backoff patient;
    patient.tries = patient.first_tries = o.tries;
    patient.longest = 5s;
    return cleave::policies<>{}
        .with_plan(o.plan)
        .with_lanes(cleave::fixed_lanes{o.lanes})
        .with_renewal(patient)
        .with_pace(cleave::token_bucket{o.rate})
        .with_connector(cleave::tls_connector{{.ca_file = ca}});
}

cleave::update_options make_options(options const& o) {
    cleave::update_options how;
    if (o.deadline > 0)
        how.deadline = std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::chrono::duration<double>{o.deadline});
    how.progress_interval = 500ms;
    how.progress_step = 10;
    return how;
}

// --- The platform's words and the library's ------------------------------------------------------

cleave::firmware to_firmware(upgrade_task const& t) {
    cleave::firmware f{.module = t.module, .version = t.version, .files = {}};
    for (auto const& file : t.files)
        f.files.push_back({.url = file.url,
                           .size = file.size,
                           .method = t.sign_method,
                           .digest = file.sign,
                           .name = file.name});
    f.extra = t.ext.dump();
    return f;
}

failed_step to_step(cleave::update_step step) {
    switch (step) {
    case cleave::update_step::upgrade: return failed_step::upgrade;
    case cleave::update_step::download: return failed_step::download;
    case cleave::update_step::verification: return failed_step::verification;
    case cleave::update_step::install: return failed_step::install;
    }
    return failed_step::upgrade;
}

failed_step to_step(cleave::failure const& f) {
    if (f.code == cleave::error::digest_mismatch) return failed_step::verification;
    if (f.where == cleave::phase::setup) return failed_step::upgrade;
    if (f.where == cleave::phase::sink) return failed_step::install;
    return failed_step::download;
}

// --- The agent -----------------------------------------------------------------------------------

// All of it, the library's callbacks included, runs on the one thread of the context; only what the
// device does in the background does not.
class agent {
  public:
    enum class outcome { none, updated, failed, restart };

    agent(asio::io_context& context, options const& o)
        : context_{context}, options_{o}, topics_{o.device}, device_{o.desk},
          link_{context.get_executor(), o.broker}, ask_timer_{context}, wait_timer_{context} {
        device_.says = [](std::string const& text) { picture::device(text); };
        device_.passes_on = [this](cleave::update_progress const& p) { pass_on(p); };
        device_.reports = [this](auto const& module, auto const& version, auto done) {
            report_version(module, version, std::move(done));
        };
        device_.asks = [this](auto const&, auto got) {
            ask([got = std::move(got)](bool answered, std::optional<upgrade_task> const& task) {
                if (task) return got({}, to_firmware(*task));
                got(answered ? cleave::update_error::update_closed
                             : cleave::update_error::platform_silent,
                    {});
            });
        };
        link_.connected = [this] {
            picture::device("connected to the broker");
            // The first time it is on its way already: an update reports it at its start.
            if (std::exchange(was_connected_, true)) report_version(options_.module, version(), {});
        };
        link_.lost = [](std::string const& why) {
            picture::device("no connection to the broker: " + why);
        };
        link_.message = [this](std::string const& topic, std::string const& payload) {
            try {
                take(topic, payload);
            } catch (bad_message const& e) {
                picture::device("cannot read what came on " + topic + ": " + e.what());
            }
        };
        link_.subscribe(topics_.upgrade());
        link_.subscribe(topics_.firmware_get_reply());
        link_.subscribe(topics_.file_download_reply());
        link_.start();

        picture::device("starts, with version " + version());
        busy_ = true;
        cleave::async_resume_update(
            context_.get_executor(), options_.module, device_, make_policies(options_),
            make_options(options_),
            [this](std::error_code ec, cleave::update_report r) { ended(ec, r); });
    }

    outcome result() const { return result_; }

  private:
    std::string version() const { return device_.current_version(options_.module); }
    std::string next_id() { return std::to_string(++id_); }

    // ---- what comes ----

    void take(std::string const& topic, std::string const& payload) {
        if (topic == topics_.upgrade()) {
            if (auto const task = read_upgrade(payload)) take_task(*task);
        } else if (topic == topics_.firmware_get_reply()) {
            auto const task = read_upgrade(payload);
            ask_timer_.cancel();
            if (auto const got = std::exchange(asked_, nullptr)) got(true, task);
        } else if (topic == topics_.file_download_reply()) {
            auto const reply = read_block_reply(payload);
            // One to an ask for an earlier file says nothing about this one.
            auto const id = std::strtoull(reply.id.c_str(), nullptr, 10);
            if (blocks_ && id >= first_ask_) blocks_->take(reply);
        }
    }

    // Told once or several times, as at each report of the old version.
    void take_task(upgrade_task const& t) {
        if (t.module != options_.module) {
            auto const text = "the upgrade is for module " + t.module + ", and this device has " +
                              options_.module + "; start it for that module, or set its own";
            picture::device("REFUSED: " + text);
            return tell(failed_step::upgrade, text, t.module);
        }
        if (t.version == version() || result_ != outcome::none) return;
        if (busy_) {
            if (t.version != target_) next_ = t;
            return;
        }
        auto const firmware = to_firmware(t);
        picture::device("is told of " + t.version + ": " + picture::count(t.files.size(), "file") +
                        ", " + picture::bytes(firmware.size()));
        busy_ = true;
        target_ = t.version;
        if (t.stream) return start_over_mqtt(t);
        cleave::async_update(context_.get_executor(), firmware, device_, make_policies(options_),
                             make_options(options_),
                             [this](std::error_code ec, cleave::update_report r) { ended(ec, r); });
    }

    // ---- asking for the task, or for fresh links ----

    // Whether there was an answer at all, and what there is to do, if anything.
    using answer = std::function<void(bool answered, std::optional<upgrade_task> const&)>;

    void ask(answer got) {
        asked_ = std::move(got);
        std::string const text = write(firmware_ask{next_id(), options_.module});
        link_.publish(topics_.firmware_get(), text);
        wait_for_answer(10, text);
    }
    void wait_for_answer(int tries, std::string const& text) {
        ask_timer_.expires_after(options_.blocks.patience);
        ask_timer_.async_wait([this, tries, text](std::error_code ec) {
            if (ec || !asked_) return;
            if (tries == 1) return std::exchange(asked_, nullptr)(false, std::nullopt);
            // The first one is not lost; but perhaps there was nobody there yet.
            link_.publish_once(topics_.firmware_get(), text);
            wait_for_answer(tries - 1, text);
        });
    }
    void ask_for_task() {
        ask([this](bool answered, std::optional<upgrade_task> const& task) {
            if (task) return take_task(*task);
            if (busy_) return; // it has been told of it by itself
            say_alone(answered);
            end(outcome::failed);
        });
    }
    // There is nothing to do, and nobody who says so: is there a platform that knows this device?
    void wait_to_be_told() {
        wait_timer_.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(
            std::chrono::duration<double>{options_.ask_after}));
        wait_timer_.async_wait([this](std::error_code ec) {
            if (ec || busy_ || asked_ || result_ != outcome::none) return;
            ask([this](bool answered, std::optional<upgrade_task> const& task) {
                if (task) return take_task(*task);
                if (!busy_) say_alone(answered);
            });
        });
    }
    void say_alone(bool answered) {
        std::string const who = "product " + options_.device.product + ", device " +
                                options_.device.name + ", module " + options_.module;
        if (answered)
            return picture::device("the platform has no upgrade from version " + version() +
                                   " for " + who + "; waiting for one");
        picture::device(
            link_.is_connected()
                ? "no platform answers for " + who +
                      "; check these names, and that the platform has such a device; waiting"
                : "no platform can be asked, for there is no connection to the broker; waiting");
    }

    // ---- what goes ----

    void report_version(std::string const& module, std::string const& version,
                        std::function<void(std::error_code)> done) {
        auto const said = [done = std::move(done)] {
            if (done) done({});
        };
        if (options_.lose_reports && device_.is_updated()) return said();
        link_.publish(topics_.inform(), write(version_report{version, module}, next_id()), said);
    }
    void tell(int step, std::string const& text, std::string const& module) {
        link_.publish(topics_.progress(), write(progress_report{step, text, module}, next_id()));
    }
    void tell(failed_step step, std::string const& text, std::string const& module) {
        tell(static_cast<int>(step), text, module);
    }
    void pass_on(cleave::update_progress const& p) {
        if (p.failed != nullptr) return tell(to_step(p.failed->step), p.failed->text, p.module);
        auto const percent = static_cast<int>(p.percent);
        if (p.late == nullptr) return tell(percent, cleave::to_string(p.stage), p.module);
        picture::device(p.late->message());
        tell(percent, p.late->message(), p.module);
    }

    // ---- how it ends ----

    void ended(std::error_code ec, cleave::update_report const& r) {
        busy_ = false;
        target_.clear();
        show_effort(r);
        if (!ec) {
            picture::device("the update to " + r.version + " is done");
            return end(outcome::updated);
        }
        if (ec == cleave::update_error::restart_needed) return restart();
        if (ec == cleave::update_error::no_update) {
            wait_to_be_told();
            return take_next();
        }
        if (ec == cleave::update_error::firmware_needed) {
            picture::device(std::string{"goes on: it was at \""} + cleave::to_string(r.stage) +
                            '"');
            return next_ ? take_next() : ask_for_task();
        }
        picture::device("FAILED: " + (r.failed ? r.failed->text : ec.message()));
        end(outcome::failed);
    }
    static void show_effort(cleave::update_report const& r) {
        if (r.downloads.empty()) return;
        std::uint64_t requests = 0;
        std::uint64_t connections = 0;
        std::uint64_t retries = 0;
        for (cleave::report const& d : r.downloads) {
            requests += d.requests;
            connections += d.connections;
            retries += d.retries;
        }
        picture::device(picture::count(requests, "request") + ", " +
                        picture::count(connections, "connection") + ", tried again " +
                        picture::count(retries, "time"));
    }
    void end(outcome o) {
        if (options_.once) {
            result_ = o;
            return leave();
        }
        take_next();
    }
    // What it has been told of while it was busy.
    void take_next() {
        if (auto const task = std::exchange(next_, std::nullopt)) take_task(*task);
    }
    void restart() {
        picture::device("restarts");
        result_ = outcome::restart;
        leave();
    }
    // When the broker has all that was said.
    void leave() {
        link_.when_sent([this] { context_.stop(); });
        ask_timer_.expires_after(2s);
        ask_timer_.async_wait([this](std::error_code ec) {
            if (!ec) context_.stop();
        });
    }

    // ---- over MQTT ----

    using block_download =
        mqtt_download<chosen_plan, cleave::flash_sink<file_flash>, cleave::digest>;

    void start_over_mqtt(upgrade_task const& t) {
        told_percent_ = 0;
        bytes_before_ = 0;
        tell(0, "downloading", t.module);
        next_file(t, 0);
    }
    void next_file(upgrade_task const& t, std::size_t i) {
        auto const firmware = to_firmware(t);
        if (i == t.files.size()) return install(firmware);
        auto const& file = t.files[i];
        auto const method = cleave::parse_digest_algorithm(t.sign_method);
        if (!method || file.size == 0)
            return fail(failed_step::upgrade, "a file has no size, or no digest that is known",
                        t.module);
        blocks_ = std::make_shared<block_download>(
            context_.get_executor(), file.size, options_.plan, device_.sink(firmware, i, 0),
            cleave::digest{*method, file.sign}, options_.blocks);
        blocks_->progress = [this, all = firmware.size(), module = t.module](std::uint64_t n) {
            auto const percent = static_cast<int>((bytes_before_ + n) * 100 / all);
            if (percent < told_percent_ + 10 || percent == 100) return;
            told_percent_ = percent;
            tell(percent, "downloading", module);
        };
        first_ask_ = id_ + 1;
        blocks_->start(
            [this, stream = *t.stream, id = file.stream_file](cleave::segment s) {
                block_ask const a{.id = next_id(),
                                  .stream = stream,
                                  .file = id,
                                  .offset = s.first,
                                  .size = s.size()};
                link_.publish_once(topics_.file_download(), write(a));
            },
            [this, t, i](std::error_code ec, mqtt_download_report r) {
                blocks_.reset();
                picture::device(picture::bytes(r.bytes) +
                                " over MQTT: " + picture::count(r.asks, "ask") + ", " +
                                std::to_string(r.asks_again) + " again, " +
                                std::to_string(r.blocks_damaged) + " damaged, " +
                                std::to_string(r.blocks_not_wanted) + " not wanted");
                if (ec) return fail(to_step(*r.failed), r.failed->message(), t.module);
                bytes_before_ += r.bytes;
                next_file(t, i + 1);
            });
    }
    void install(cleave::firmware const& f) {
        tell(100, "verified", f.module);
        picture::device("verified");
        std::error_code ec;
        device_.install(f, ec);
        if (ec) return fail(failed_step::install, ec.message(), f.module);
        // The library goes on from here when the new version runs, as if it had done the rest.
        cleave::update_state s;
        s.stage = cleave::update_stage::installed;
        s.fingerprint = cleave::fingerprint(f);
        s.version = f.version;
        s.former = cleave::version_mark(version());
        s.installs = 1;
        device_.save(f.module, cleave::encode(s), ec);
        if (ec) return fail(failed_step::install, ec.message(), f.module);
        device_.entered(f.module, s.stage);
        restart();
    }
    void fail(failed_step step, std::string const& text, std::string const& module) {
        busy_ = false;
        target_.clear();
        tell(step, text, module);
        picture::device("FAILED: " + text);
        end(outcome::failed);
    }

    asio::io_context& context_;
    options const& options_;
    topics topics_;
    desk_device device_;
    mqtt_link link_;
    bool was_connected_ = false;

    bool busy_ = false;  // with an update, or with finding out whether there is one to go on with
    std::string target_; // its version, if there is one
    std::optional<upgrade_task> next_;

    asio::steady_timer ask_timer_;
    answer asked_;
    asio::steady_timer wait_timer_;

    std::shared_ptr<block_download> blocks_;
    std::uint64_t first_ask_ = 0;    // of the file that blocks_ is for
    std::uint64_t bytes_before_ = 0; // of files before that
    int told_percent_ = 0;

    std::uint64_t id_ = 0;
    outcome result_ = outcome::none;
};

// --- Options -------------------------------------------------------------------------------------

options parse(int argc, char** argv) {
    options o;
    std::uint64_t segment_size = 0;
    std::string segments;
    std::uint64_t program_time = 0;
    std::uint64_t patience = 2000;
    CLI::App app{"Keeps a device up to date over MQTT."};
    // Of an option that is given twice the last one counts.
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    CLI::AsSizeValue const size_value{false};
    app.add_option("--host", o.broker.host, "the broker; localhost if not given");
    app.add_option("--port", o.broker.port, "the broker's port; 8883 if not given");
    app.add_option("--ca", o.broker.ca_file, "CA of the broker's certificate; none: without TLS");
    app.add_option("--https-ca", o.https_ca,
                   "CA of the file server's certificate; that of --ca if not given");
    app.add_option("--client-id", o.broker.client_id, "at the broker; PRODUCT.DEVICE");
    app.add_option("--user", o.broker.user, "name at the broker");
    app.add_option("--password", o.broker.password, "password at the broker");
    app.add_option("--product", o.device.product, "product key of the device");
    app.add_option("--device", o.device.name, "its name");
    app.add_option("--module", o.module, "what of it is kept up to date; \"default\"");
    app.add_option("--dir", o.desk.directory, "directory that is the device; \"device\"");
    app.add_option("--factory-version", o.desk.factory_version, "version before any update; 1.0");
    app.add_flag("--once", o.once, "end after one update: 0 if it is done, 1 if it failed");
    app.add_option("--deadline", o.deadline, "seconds that an update may take; any if not given");
    app.add_option("--lanes", o.lanes, "connections at a time, 4")->check(CLI::Range(1, 64));
    auto* const size = app.add_option("--segment-size", segment_size,
                                      "bytes asked for at a time; what all lanes have room for")
                           ->transform(size_value);
    app.add_option("--segments", segments, "ask for exactly these, as 0-1024,1025-2048")
        ->excludes(size);
    app.add_option("--limit-rate", o.rate, "bytes a second")->transform(size_value);
    app.add_option("--window", o.desk.window, "bytes received before they are written, 258K")
        ->transform(size_value);
    app.add_option("--chunk", o.desk.chunk, "bytes written at a time, 2K")->transform(size_value);
    app.add_option("--flash-size", o.desk.flash_size, "room for each file, 64M")
        ->transform(size_value);
    app.add_option("--block", o.blocks.block, "bytes of a block over MQTT, 4K")
        ->transform(size_value);
    app.add_option("--patience", patience,
                   "milliseconds until the platform is asked again, for a block or a link; 2000");
    app.add_option("--tries", o.tries, "how often in a row the file server is tried, 12")
        ->check(CLI::Range(1, 100));
    app.add_option("--ask-after", o.ask_after,
                   "seconds after which a device that is told of nothing asks by itself, 10");

    auto* const faults = app.add_option_group("Faults, on purpose");
    faults->add_option("--die-at", o.desk.die_at,
                       "lose power: at a stage, at \"install\", \"confirm\", or so many per cent");
    faults->add_option("--program-time", program_time, "microseconds of each write to flash");
    faults->add_flag("--lose-reports", o.lose_reports, "do not report a version after an update");
    try {
        app.parse(argc, argv);
        if (segment_size == 0)
            segment_size = std::max(
                o.desk.chunk, (o.desk.window - std::min(o.desk.window, o.desk.chunk)) / o.lanes);
        auto list = read_segments(segments);
        if (!list && !segments.empty())
            throw CLI::ValidationError{"--segments", "write them as 0-1024,1025-2048"};
        if (list)
            o.plan.is = cleave::listed_segments{*std::move(list)};
        else
            o.plan.is = cleave::fixed_size{segment_size};
        if (o.blocks.block < least_block || o.blocks.block > most_block)
            throw CLI::ValidationError{"--block", "from 256 to 128K"};
    } catch (CLI::ParseError const& e) {
        std::exit(app.exit(e) == 0 ? 0 : 2);
    }
    o.desk.program_time = std::chrono::microseconds{program_time};
    o.blocks.patience = std::chrono::milliseconds{patience};
    if (o.broker.client_id.empty()) o.broker.client_id = o.device.product + "." + o.device.name;
    return o;
}

agent::outcome run(options const& o) {
    asio::io_context context{1};
    agent a{context, o};
    // To a device that is switched off it is the same as a power cut.
    asio::signal_set signals{context, SIGINT, SIGTERM};
    signals.async_wait([](std::error_code ec, int signal) {
        if (!ec) std::_Exit(128 + signal);
    });
    context.run();
    return a.result();
}

} // namespace

int main(int argc, char** argv) {
    options const o = parse(argc, argv);
    try {
        auto const result = run(o);
        // A restart of the device is one of the program.
        if (result == agent::outcome::restart) {
            ::execv("/proc/self/exe", argv);
            throw std::system_error{errno, std::system_category(), "cannot start again"};
        }
        return result == agent::outcome::updated ? 0 : 1;
    } catch (std::exception const& e) {
        std::cerr << "ota-agent: " << e.what() << '\n';
        return 2;
    }
}
