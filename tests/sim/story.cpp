// SPDX-License-Identifier: BSL-1.0
//
// The world of one story, and its judge. Whatever the judge knows it has seen from outside:
// requests as they arrive, calls of files as they are made, what lies on the disk. It asks the
// library nothing but how a run ended.

#include "story.hpp"

#include "faults.hpp"
#include "memory.hpp"
#include "policies.hpp"
#include "trace.hpp"

#include <cleave/cleave.hpp>
#include <cleave/testing/faults.hpp>
#include <cleave/testing/memory_disk.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_sim {

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using testing::arrival;
using testing::memory_disk;
using testing::memory_file;
using testing::memory_link;
using testing::memory_network;
using testing::memory_peer;
using testing::object;
using testing::scripted_reply;
using testing::seen_request;
using testing::world;

constexpr auto target = "/data/model.bin";
constexpr auto partial = "/data/model.bin.part";
constexpr auto journal_file = "/data/model.bin.cleave";
constexpr auto origin = "https://example.org/model.bin";
constexpr auto elsewhere = "https://elsewhere.example/copy.bin";
constexpr auto never = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t least_faults = 5;
constexpr std::uint64_t most_size = 16 << 20;

/// What the server says of its object, by which a change could be noticed.
enum class told { etag, date, nothing, stale_etag };
enum class sink_kind { file, memory, ordered };

/// CRC-32C of these bytes behind others, whose it is so far, 0 of none; from a table, and not the
/// library's.
std::uint32_t crc_on(std::uint32_t before, std::string_view bytes) {
    static std::array<std::uint32_t, 256> const table = [] {
        std::array<std::uint32_t, 256> t{};
        for (std::uint32_t i = 0; i != 256; ++i) {
            std::uint32_t c = i;
            for (int bit = 0; bit != 8; ++bit)
                c = (c & 1U) != 0 ? (c >> 1U) ^ 0x82f63b78U : c >> 1U;
            t[i] = c;
        }
        return t;
    }();
    std::uint32_t crc = ~before;
    for (char const c : bytes)
        crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xffU] ^ (crc >> 8U);
    return ~crc;
}

/// Random, and other bytes at each offset than in another version of another seed.
std::string random_bytes(std::uint64_t seed, std::size_t size) {
    random_source r{seed};
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; i += 8) {
        std::uint64_t const word = r();
        std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, size - i));
    }
    return bytes;
}

/// How one run goes about it.
struct settings {
    cleave_test::chosen_plan plan{cleave::guided{}};
    cleave_test::chosen_lanes lanes{};
    chosen_renewal renewal;
    cleave_test::chosen_pace pace;
    cleave::engine_windows windows;
    cleave::journal_interval interval;
    memory_link link;
    bool journal = true;
    bool durable = false;
    bool source = false;
    bool mirror = false;
    bool lines = false;
    std::uint32_t new_versions = 0;
    std::uint32_t fewest_tries = 1; ///< failures that may end a run
    std::uint64_t least_segment = 200;
    nanoseconds work{0};
};

/// What the checker knows of the run that goes on.
struct run_notes {
    std::vector<cleave::segment> asked; // of the object, by requests of this run
    bool asked_all = false;
    // Connections whose framing was in doubt, and since which of their replies.
    std::map<std::size_t, std::size_t> doubtful;
    std::string written;         // for each byte of the partial, whether it was
    std::uint64_t rewritten = 0; // bytes of it, again
    std::uint64_t requests = 0;
    std::uint64_t least_segment = 200; // that is asked for, in ordinary times
    std::size_t struck = 0;            // faults
    bool may_end = false;
    bool knows = true;       // the client does, what the object is
    bool disk_fault = false; // or a stranger's file where the partial should be
    bool opened = false;     // the partial was
    bool took_over = false;  // there was a partial or a journal before
    std::size_t first_version = 0;
    told_observer::notes heard;
};

class story final : watched_journal::watcher {
  public:
    story(std::uint64_t seed, std::function<void(std::string const&)> const& read_along)
        : random_(seed), seed_(seed) {
        if (read_along) trace_.read_along(read_along);
        out_.struck.resize(all_faults().size());
    }

    story_outcome tell() {
        begin();
        std::size_t healed_runs = 0;
        std::size_t runs = 0;
        while (out_.violation.empty()) {
            bool const heal = struck_ >= wanted_faults_ || runs >= 60;
            if (heal) pending_.clear();
            if (heal && runs >= 60 && struck_ < least_faults)
                return violation("the simulator found no place for its faults"), finish();
            ++runs;
            std::size_t const before = struck_;
            bool const well = one_run(heal);
            if (!out_.violation.empty()) break;
            // What finds no place makes room for something else.
            if (struck_ == before && !pending_.empty())
                pending_[random_.index(pending_.size())] = draw_fault();
            if (!heal) {
                // The next version, as a device would fetch it.
                if (well && struck_ < wanted_faults_) new_version();
                continue;
            }
            if (well) break;
            if (++healed_runs == 3)
                violation("nothing is wrong any more, and it does not end well");
        }
        return finish();
    }

  private:
    // --- the plan

    void begin() {
        sink_ = random_.chance(82)   ? sink_kind::file
                : random_.chance(50) ? sink_kind::memory
                                     : sink_kind::ordered;
        told_ = random_.chance(55) ? told::etag : static_cast<told>(random_.below(4));
        digest_ = told_ == told::stale_etag || random_.chance(50);
        pieces_ = random_.chance(25);
        server_closes_ = random_.chance(8);
        server_ranges_ = !random_.chance(6);
        server_chunks_ = random_.chance(10);
        new_version();
        if (sink_ == sink_kind::file && random_.chance(20)) {
            old_ = random_.chance(50) ? "an older version" : "";
            disk_.put(target, old_);
            published_ = old_;
        }
        disk_.record(false);
        wanted_faults_ = least_faults + random_.below(4);
        while (pending_.size() < wanted_faults_) pending_.push_back(draw_fault());
        trace_.tell([&] {
            std::string line = "story " + std::to_string(seed_) + ": " +
                               std::to_string(now().bytes.size()) + " bytes;";
            for (std::size_t const k : pending_) line += " " + std::string{all_faults()[k].name};
            return line;
        });
    }

    [[nodiscard]] std::size_t draw_fault() {
        for (;;) {
            // Seldom suits a request; so it is drawn more often.
            std::size_t const k = random_.below(40) == 0 ? kind_of("empty_as_200")
                                                         : random_.index(all_faults().size());
            fault_kind const& f = all_faults()[k];
            bool const of_disk = f.where == strikes::disk || f.where == strikes::between ||
                                 f.row.starts_with("J") || f.row.starts_with("K");
            if (of_disk && sink_ != sink_kind::file) continue;
            // Nothing but a digest could tell.
            bool const lie = f.row == "A06" || f.row == "L03";
            if (lie && !digest_) continue;
            return k;
        }
    }

    /// `most`: a run that was planned for few bytes would make very many requests of many.
    void new_version(std::size_t most = std::numeric_limits<std::size_t>::max()) {
        std::size_t size = 0;
        if (!versions_.empty() && random_.chance(60))
            size = now().bytes.size();
        else if (random_.below(400) == 0)
            size = static_cast<std::size_t>(1'000'000 + random_.below(3'000'000));
        else if (!random_.chance(4))
            size = static_cast<std::size_t>((std::uint64_t{1} << random_.below(18)) *
                                            (1000 + random_.below(1001)) / 1000);
        size = std::min(size, most);
        std::size_t const n = versions_.size();
        object o;
        o.bytes = random_bytes(seed_ * 64 + n, size);
        o.etag = told_ == told::etag         ? "\"v" + std::to_string(n) + "\""
                 : told_ == told::stale_etag ? "\"v\""
                                             : "";
        o.last_modified = told_ == told::date ? date(n) : "";
        versions_.push_back(std::move(o));
        trace_.add(size);
        trace_.tell([&] {
            return "the object is now version " + std::to_string(n) + ", " + std::to_string(size) +
                   " bytes";
        });
    }
    [[nodiscard]] static std::string date(std::size_t n) {
        return "Mon, 0" + std::to_string(1 + n % 9) + " Jan 20" + std::to_string(10 + n / 9 % 13) +
               " 00:00:00 GMT";
    }
    [[nodiscard]] object const& now() const noexcept { return versions_.back(); }
    [[nodiscard]] std::uint64_t largest() const noexcept {
        std::uint64_t most = 0;
        for (object const& o : versions_) most = std::max<std::uint64_t>(most, o.bytes.size());
        return most;
    }

    [[nodiscard]] settings draw_settings() {
        std::uint64_t const size = now().bytes.size();
        std::uint64_t const part = 1 + size / (1 + random_.below(12));
        settings s;
        if (random_.chance(40)) {
            s.plan.is = cleave::fixed_size{part};
            s.least_segment = part;
        }
        if (random_.chance(30)) s.plan.is = cleave::even_split{};
        std::uint32_t const lanes =
            1 + static_cast<std::uint32_t>(random_.below(random_.chance(80) ? 4 : 16));
        if (random_.chance(20))
            s.lanes.is = cleave::adaptive_lanes{};
        else
            s.lanes.is = cleave::fixed_lanes{lanes};
        cleave::backoff rule;
        if (random_.chance(30)) rule.tries = 2 + static_cast<std::uint32_t>(random_.below(10));
        if (random_.chance(30)) rule.first_tries = rule.tries;
        if (random_.chance(20)) rule.first = 1ms;
        s.renewal.is = rule;
        s.fewest_tries = std::min(rule.tries, rule.first_tries);
        if (random_.chance(3)) {
            s.renewal.is = cleave::give_up{};
            s.fewest_tries = 1;
        }
        s.pace.is = random_.chance(90) ? decltype(s.pace.is){cleave::unlimited{}}
                                       : cleave::token_bucket{10'000 + random_.below(1'000'000)};
        std::uint64_t const grain = size < 50'000 ? 8'000 : 64'000;
        s.windows = {.grant = 500 + random_.below(grain),
                     .opening = 1 + random_.below(2 * grain),
                     .hash = 500 + random_.below(4 * grain),
                     .hash_from = 1 + random_.below(grain),
                     .stripe = 1 + random_.below(grain),
                     .sample = random_.below(600)};
        if (sink_ == sink_kind::ordered)
            s.least_segment = std::min(s.least_segment, s.windows.stripe);
        s.windows.stealing = {.least = grain / 4, .leave = grain / 16};
        s.interval = {.bytes = 1 + random_.below(random_.chance(50) ? grain : 4 * grain),
                      .time = std::chrono::milliseconds{1 + random_.below(100)}};
        s.link = {.latency = std::chrono::microseconds{100 + random_.below(100'000)},
                  .rate = random_.chance(50) ? 20'000 + random_.below(5'000'000) : 0,
                  .piece = static_cast<std::size_t>(1'000 + random_.below(30'000)),
                  .window = static_cast<std::size_t>(30'000 + random_.below(200'000))};
        s.journal = sink_ == sink_kind::file && !random_.chance(10);
        s.durable = random_.chance(50);
        s.source = random_.chance(60);
        s.mirror = random_.chance(15);
        s.lines = random_.chance(10) || trace_.read();
        s.new_versions = random_.chance(40) ? 2 : 0;
        s.work = random_.chance(50) ? 0ms : std::chrono::microseconds{random_.below(20'000)};
        return s;
    }

    auto policies_of(settings const& s, memory_network& home, memory_network& away,
                     cleave::control const& steer) {
        std::optional<watched_journal::file_journal> journal;
        if (s.journal) {
            watched_journal::file_journal j{memory_file{disk_}};
            journal.emplace((s.durable ? std::move(j).durably() : std::move(j)).every(s.interval));
        }
        durable_ = s.journal && s.durable;
        perhaps_source source;
        if (s.source)
            source.from = [this](cleave::request const&,
                                 std::function<void(std::error_code, cleave::request)> done) {
                world::current().after(5ms, [this, done = std::move(done)] {
                    fresh_ = url_;
                    done({}, cleave::request{signed_url()});
                });
            };
        return cleave::policies<>{}
            .with_plan(s.plan)
            .with_lanes(s.lanes)
            .with_renewal(s.renewal)
            .with_verify(expected_)
            .with_pace(s.pace)
            .with_observer(told_observer{trace_, run_.heard, s.lines})
            .with_connector(home.connector().with_host("elsewhere.example", away.connector()))
            .with_journal(watched_journal{std::move(journal), *this})
            .with_source(std::move(source))
            .with_timer<testing::virtual_timers>()
            .with_background(testing::virtual_work{s.work})
            .with_control(steer)
            .with_windows(s.windows);
    }

    [[nodiscard]] std::string signed_url() const {
        return std::string{origin} + "?signed=secret-" + std::to_string(fresh_);
    }
    [[nodiscard]] cleave::request request_of(settings const& s) {
        cleave::request what{signed_url()};
        what.seed = random_() | 1U;
        what.new_versions = s.new_versions;
        what.max_size = most_size; // some servers tell of sizes beyond all measure
        what.with_header("X-Token", "secret-token");
        if (s.mirror) what.with_mirror(elsewhere);
        return what;
    }

    // --- a run

    /// Whether it ended well.
    bool one_run(bool heal) {
        ++out_.runs;
        strike_between();
        if (!out_.violation.empty()) return false;
        if (random_.chance(10)) ++url_; // somebody asked for a fresh URL meanwhile
        fresh_ = url_;
        settings const s = draw_settings();
        run_ = {};
        checked_.clear();
        run_.disk_fault = !stranger_.empty() && disk_.view(partial) == stranger_;
        run_.took_over = disk_.exists(partial) || disk_.exists(journal_file);
        run_.least_segment = std::min<std::uint64_t>(200, s.least_segment);
        run_.first_version = versions_.size() - 1;
        arm(heal);
        trace_.tell([&] {
            return "run " + std::to_string(out_.runs) + (heal ? ", all is healed" : "") +
                   (s.journal ? s.durable ? ", durable journal" : ", journal" : ", no journal") +
                   (s.source ? ", source" : "") + (s.mirror ? ", mirror" : "");
        });
        watch_memory();
        std::int64_t const held = memory_held();

        bool ended = false;
        std::error_code ec;
        cleave::report report;
        std::vector<std::byte> memory;
        std::string delivered;
        std::string window;
        {
            world time;
            memory_network home{
                [this](memory_peer& p, seen_request const& r) { serve(p, r, true); }, s.link};
            memory_network away{
                [this](memory_peer& p, seen_request const& r) { serve(p, r, false); }, s.link};
            home.record(false);
            away.record(false);
            home_ = &home;
            home.on_connect([this](std::size_t) { return connects(); });
            away.on_connect([this](std::size_t) { return connects_away(); });
            disk_.on_call([this](memory_disk::call const& c) { return called(c); });
            asio::io_context context{1};
            cleave::control steer;
            steer_ = &steer;
            expected_ = checksums::of(now().bytes, digest_, pieces_ ? piece_size() : 0);

            auto const on_end = [&](std::error_code e, cleave::report r) {
                if (ended) violation("the handler was called twice");
                ended = true;
                ec = e;
                report = std::move(r);
            };
            auto how = policies_of(s, home, away, steer);
            cleave::request what = request_of(s);
            if (sink_ == sink_kind::file) {
                cleave::async_download(
                    context.get_executor(), std::move(what),
                    cleave::basic_file_sink<memory_file>{target, memory_file{disk_}},
                    std::move(how), on_end);
            } else if (sink_ == sink_kind::memory) {
                cleave::async_download(context.get_executor(), std::move(what),
                                       cleave::memory_sink{memory}, std::move(how), on_end);
            } else {
                std::size_t const chunk = static_cast<std::size_t>(1 + random_.below(5'000));
                std::size_t const room =
                    pieces_ ? static_cast<std::size_t>(piece_size()) / chunk + 1 : 0;
                window.resize(chunk * (room + static_cast<std::size_t>(1 + random_.below(20))));
                auto consume = [&delivered](std::span<std::byte const> bytes) {
                    delivered.append(reinterpret_cast<char const*>(bytes.data()), bytes.size());
                };
                cleave::async_download(
                    context.get_executor(), std::move(what),
                    cleave::ordered_sink{
                        std::span{reinterpret_cast<std::byte*>(window.data()), window.size()},
                        chunk, consume},
                    std::move(how), on_end);
            }

            std::optional<second_download> second;
            bool const done = time.run(
                context,
                [&] {
                    if (time.steps() >= next_strike_) strike_now(context, second, s);
                    return ended || crash_ || !out_.violation.empty();
                },
                5'000'000);
            steps_of_last_run_ = time.steps();
            out_.time += time.now();
            if (!done && out_.violation.empty())
                violation("it hangs, after " + std::to_string(time.now().count()) + " ns and " +
                          std::to_string(time.steps()) + " steps");
            if (time.now() > 6h) violation("it took more than six hours");
            if (crash_) {
                // Whatever the process still does on its way down, it does not do to the disk.
                disk_.on_call([](memory_disk::call const&) {
                    return std::error_code{EIO, std::system_category()};
                });
            } else if (ended) {
                if (second) {
                    second_may_have_it_ = true;
                    second->steer.cancel();
                    if (!time.run(context, [&] { return second->ended; }))
                        violation("a second download hangs when it is cancelled");
                }
                // Nothing may be left that calls or writes.
                disk_.on_call([this](memory_disk::call const& c) {
                    if (c.operation != "close")
                        violation("a file is used after the end: " + c.operation);
                    return std::error_code{};
                });
                time.run(context, [] { return false; });
            }
            disk_.on_call(nullptr);
            steer_ = nullptr;
            home_ = nullptr;
        }
        out_.requests += run_.requests;
        auto const taken =
            static_cast<std::uint64_t>(std::max<std::int64_t>(memory_peak() - held, 0));
        std::uint64_t const beyond = taken - std::min(taken, 24 * largest());
        out_.memory = std::max(out_.memory, beyond);
        if (beyond > most_memory)
            violation("it took " + std::to_string(taken) + " bytes of memory");
        if (!out_.violation.empty()) return false;

        if (crash_) {
            ++out_.crashed;
            after_crash();
            return false;
        }
        disk_.kill(); // releases locks; all there was has been closed
        trace_.add(static_cast<std::uint64_t>(ec.value()));
        trace_.add(report.bytes);
        trace_.add(report.requests);
        trace_.add(static_cast<std::uint64_t>(report.elapsed.count()));
        trace_.tell([&] {
            return std::string{"ends: "} + (report.failed ? report.failed->message() : "well") +
                   ", " + std::to_string(report.bytes) + " bytes, " +
                   std::to_string(report.bytes_resumed) + " of them resumed, " +
                   std::to_string(report.requests) + " requests";
        });
        judge(s, ec, report, memory, delivered);
        if (!ec) {
            ++out_.finished;
            out_.bytes += report.bytes;
        } else {
            ++out_.failed;
        }
        return !ec;
    }

    static constexpr std::uint64_t most_memory = 6 << 20;

    [[nodiscard]] std::uint64_t piece_size() const { return 1 + now().bytes.size() / 7; }

    // --- faults that strike at a moment

    void arm(bool heal) {
        crash_ = false;
        power_ = false;
        next_strike_ = never;
        connection_limit_.reset();
        silent_until_ = nanoseconds{0};
        down_until_ = nanoseconds{0};
        full_until_ = nanoseconds{0};
        second_may_have_it_ = false;
        disk_fault_.reset();
        if (heal) return;
        // Before anybody can lay hands on what a run left, one must have left something.
        if (!first_pending(strikes::run) && first_pending(strikes::between))
            pending_.push_back(kind_of("process_killed"));
        if (first_pending(strikes::run)) {
            // Somewhere in a run like the last one; early ones are likelier.
            std::uint64_t const most = std::max<std::uint64_t>(steps_of_last_run_, 20);
            std::uint64_t shift = random_.below(64);
            while (shift != 0 && (most >> shift) == 0) shift = random_.below(64);
            next_strike_ = random_.below((most >> shift) + 1);
        }
        if (auto const i = first_pending(strikes::disk)) {
            disk_fault_ = pending_[*i];
            disk_calls_left_ = random_.below(random_.chance(50) ? 3 : 12);
        }
    }
    [[nodiscard]] static std::size_t kind_of(std::string_view name) {
        auto const found = std::ranges::find(all_faults(), name, &fault_kind::name);
        return static_cast<std::size_t>(found - all_faults().begin());
    }
    [[nodiscard]] std::optional<std::size_t> first_pending(strikes where) const {
        for (std::size_t i = 0; i != pending_.size(); ++i)
            if (all_faults()[pending_[i]].where == where) return i;
        return std::nullopt;
    }
    [[nodiscard]] std::size_t index_of(std::size_t kind) const {
        return static_cast<std::size_t>(std::ranges::find(pending_, kind) - pending_.begin());
    }
    /// The fault has struck.
    void strike(std::size_t i) {
        std::size_t const k = pending_[i];
        fault_kind const& f = all_faults()[k];
        pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
        ++out_.struck[k];
        ++struck_;
        ++run_.struck;
        if (f.may_end) run_.may_end = true;
        trace_.add(f.name);
        trace_.tell([&] { return "fault " + std::string{f.row} + " " + std::string{f.name}; });
    }

    /// Another download to the same target.
    struct second_download {
        cleave::control steer;
        bool ended = false;
    };

    void strike_now(asio::io_context& context, std::optional<second_download>& second,
                    settings const&) {
        next_strike_ = never;
        auto const i = first_pending(strikes::run);
        if (!i) return;
        std::string_view const name = all_faults()[pending_[*i]].name;
        world& time = world::current();
        if (name == "second_download") {
            // Only while this one has the target.
            if (!run_.opened || second) {
                next_strike_ = time.steps() + 1;
                return;
            }
            strike(*i);
            second.emplace();
            start_second(context, *second);
            return;
        }
        // Without a digest, a change is seen by a validator only.
        bool const seen = digest_ || (told_ != told::nothing && run_.knows);
        if ((name.starts_with("partial_") && !disk_.exists(partial)) ||
            (name == "object_changes" && !seen)) {
            next_strike_ = time.steps() + 1;
            return;
        }
        strike(*i);
        if (name == "process_killed") {
            crash_ = true;
        } else if (name == "power_cut") {
            crash_ = true;
            power_ = true;
        } else if (name == "object_changes") {
            new_version(1'000 + 4 * now().bytes.size());
        } else if (name == "url_expires") {
            ++url_;
        } else if (name == "network_silent") {
            run_.may_end = true;
            silent_until_ = time.now() + random_time(120s);
        } else if (name == "server_down") {
            run_.may_end = true;
            down_until_ = time.now() + random_time(60s);
        } else if (name == "connection_limit") {
            run_.may_end = true;
            connection_limit_ = 1 + random_.below(3);
        } else if (name == "cancelled") {
            steer_->cancel();
        } else if (name == "paused_for_a_while") {
            steer_->pause();
            time.after(random_time(100s), [steer = *steer_] { steer.resume(); });
        } else if (name == "disk_full_for_a_while") {
            run_.disk_fault = true;
            full_until_ = time.now() + random_time(10s);
        } else if (name == "partial_removed") {
            run_.disk_fault = true;
            disk_.remove(partial);
        } else if (name == "partial_replaced") {
            run_.disk_fault = true;
            stranger_ = "a stranger's file";
            disk_.put(partial, stranger_);
        } else {
            violation("the simulator does not know how to: " + std::string{name});
        }
    }
    [[nodiscard]] nanoseconds random_time(nanoseconds most) {
        return nanoseconds{static_cast<std::int64_t>(
            1'000'000 +
            random_.below(static_cast<std::uint64_t>(most.count()) >> random_.below(12)))};
    }

    void start_second(asio::io_context& context, second_download& second) {
        cleave::request what{signed_url()};
        what.seed = 3;
        what.user_agent = "second";
        auto how = cleave::policies<>{}
                       .with_lanes(cleave::fixed_lanes{1})
                       .with_connector(home_->connector())
                       .with_journal(cleave::no_journal{})
                       .with_timer<testing::virtual_timers>()
                       .with_background(cleave::same_thread{})
                       .with_control(second.steer);
        cleave::async_download(context.get_executor(), std::move(what),
                               cleave::basic_file_sink<memory_file>{target, memory_file{disk_}},
                               std::move(how),
                               [this, &second](std::error_code ec, cleave::report const&) {
                                   second.ended = true;
                                   if (!ec && !second_may_have_it_)
                                       violation("two downloads had the same target");
                               });
    }

    // --- the disk

    /// Before each call of a file: what is wrong with it, and whether it may be made at all.
    std::error_code called(memory_disk::call const& c) {
        trace_.add(c.operation);
        trace_.add(c.offset);
        trace_.add(c.size);
        if (world::current().now() < full_until_ &&
            (c.operation == "write_at" || c.operation == "allocate")) {
            return {ENOSPC, std::system_category()};
        }
        if (disk_fault_ && suits(c)) {
            if (disk_calls_left_ == 0) {
                std::size_t const kind = *std::exchange(disk_fault_, std::nullopt);
                int const code = error_of(all_faults()[kind].name);
                run_.disk_fault = true;
                strike(index_of(kind));
                return {code, std::system_category()};
            }
            --disk_calls_left_;
        }
        if (c.path == partial) watch_partial(c);
        // From then on whoever comes second is the first.
        if (c.operation == "publish" || (c.path == partial && gives_up(c.operation)))
            second_may_have_it_ = true;
        return {};
    }
    [[nodiscard]] static bool gives_up(std::string_view operation) {
        return operation == "close" || operation == "discard";
    }
    [[nodiscard]] bool suits(memory_disk::call const& c) const {
        std::string_view const name = all_faults()[*disk_fault_].name;
        bool const writes = c.operation == "write_at" || c.operation == "allocate";
        if (name == "no_space" || name == "quota_exceeded" || name == "write_error") return writes;
        if (name == "sync_error") return c.operation == "sync";
        if (name == "read_error") return c.operation == "read_at";
        if (name == "open_refused") return c.operation.starts_with("open_");
        return c.operation == "publish";
    }
    [[nodiscard]] int error_of(std::string_view name) {
        if (name == "no_space") return ENOSPC;
        if (name == "quota_exceeded") return EDQUOT;
        if (name == "open_refused") return random_.chance(50) ? EACCES : EROFS;
        if (name == "publish_fails") return random_.chance(50) ? EACCES : EIO;
        return EIO;
    }

    void watch_partial(memory_disk::call const& c) {
        if (c.operation == "open_partial" || c.operation == "resize" ||
            c.operation == "reopen_partial") {
            if (c.operation != "resize" || c.size == 0) run_.written.clear();
        } else if (c.operation == "write_at" && c.size != 0) {
            run_.opened = true;
            auto const first = static_cast<std::size_t>(c.offset);
            auto const n = static_cast<std::size_t>(c.size);
            if (!was_asked({c.offset, c.offset + c.size - 1}))
                violation("written where nothing was asked for: " + std::to_string(c.offset) +
                          " and " + std::to_string(c.size) + " bytes");
            if (!lied_ && !is_of_a_version(c))
                violation("written what is of no version: at " + std::to_string(c.offset) + ", " +
                          std::to_string(c.size) + " bytes");
            if (run_.written.size() < first + n) run_.written.resize(first + n, '\0');
            auto const again = static_cast<std::uint64_t>(
                std::count(run_.written.data() + first, run_.written.data() + first + n, '\1'));
            run_.rewritten += again;
            if (again != 0)
                trace_.tell([&] {
                    return "writes again: " + std::to_string(again) + " bytes of [" +
                           std::to_string(c.offset) + "," + std::to_string(c.offset + c.size - 1) +
                           "]";
                });
            std::memset(run_.written.data() + first, 1, n);
        }
    }
    [[nodiscard]] bool was_asked(cleave::segment bytes) const {
        if (run_.asked_all) return true;
        // Writes come in order within a request; most lie in one.
        for (auto a = run_.asked.rbegin(); a != run_.asked.rend(); ++a)
            if (a->first <= bytes.first && bytes.last <= a->last) return true;
        return false;
    }
    [[nodiscard]] bool is_of_a_version(memory_disk::call const& c) const {
        auto const first = static_cast<std::size_t>(c.offset);
        auto const n = static_cast<std::size_t>(c.size);
        auto const holds = [&](object const& o) {
            return o.bytes.size() >= first + n &&
                   std::memcmp(o.bytes.data() + first, c.bytes.data(), n) == 0;
        };
        return std::ranges::any_of(versions_, holds) || std::ranges::any_of(others_, holds);
    }

    // --- the journal

    void stored(cleave::resume_state const& state) override {
        held_ = state;
        held_of_ = versions_.size() - 1;
        if (run_.disk_fault) return; // a stranger's file may stand there
        std::string_view const there = durable_ ? disk_.durable_view(partial) : disk_.view(partial);
        for (cleave::checked_segment const& run : state.in_place) {
            if (run.bytes.last < there.size() && crc_of(there, run.bytes) == run.crc) continue;
            violation("the journal claims what is not there" +
                      std::string{durable_ ? " for good" : ""} + ": " +
                      std::to_string(run.bytes.first) + " to " + std::to_string(run.bytes.last));
        }
    }
    /// Of a run of bytes; goes on where it was, when the run has only grown.
    std::uint32_t crc_of(std::string_view all, cleave::segment run) {
        checked& known = checked_[run.first];
        auto const at = [&](std::uint64_t n) { return static_cast<std::size_t>(n); };
        auto const same = [&] {
            return known.bytes.size() <= run.size() &&
                   all.substr(at(run.first), known.bytes.size()) == known.bytes;
        };
        if (!same()) known = {};
        std::string_view const more =
            all.substr(at(run.first) + known.bytes.size(), at(run.size()) - known.bytes.size());
        known.crc = crc_on(known.crc, more);
        known.bytes += more;
        return known.crc;
    }
    void removed() override { held_ = {}; }

    /// What somebody or something does to journal and partial while nobody runs.
    void strike_between() {
        auto const i = first_pending(strikes::between);
        if (!i) return;
        std::string_view const name = all_faults()[pending_[*i]].name;
        std::string const path = name.starts_with("journal") ? journal_file : partial;
        if (!disk_.exists(path)) return;
        std::string bytes = disk_.bytes(path);
        run_ = {};
        strike(*i);
        auto const some = [&] { return random_.index(bytes.size()); };
        if (name == "journal_removed" || name == "partial_removed_between") {
            disk_.remove(path);
        } else {
            if (bytes.empty()) bytes = "?";
            if (name == "journal_bit_flipped" || name == "partial_bytes_changed")
                for (auto n = 1 + random_.below(4); n != 0; --n)
                    bytes[some()] ^= static_cast<char>(1U << random_.below(8));
            else if (name == "journal_cut" || name == "partial_cut")
                bytes.resize(some());
            else if (name == "partial_grown")
                bytes +=
                    random_bytes(random_(), static_cast<std::size_t>(1 + random_.below(9'000)));
            else if (name == "journal_is_garbage")
                bytes = random_bytes(random_(), bytes.size());
            else // of another object: one of the same name, that was there before
                new_version();
            disk_.put(path, bytes);
        }
        held_ = {};
    }

    void after_crash() {
        std::string const before = disk_.bytes(target);
        if (power_) {
            switch (random_.below(8)) {
            case 0: disk_.crash([](std::uint64_t) { return std::uint64_t{0}; }); break;
            case 1: disk_.crash([](std::uint64_t n) { return n - 1; }); break;
            default: disk_.crash([&](std::uint64_t n) { return random_.below(n); }); break;
            }
        } else {
            disk_.kill();
        }
        trace_.tell([&] { return std::string{power_ ? "the power failed" : "killed"}; });
        std::string const there = disk_.bytes(target);
        trace_.add(crc_on(0, there));
        if (there != published_ && !is_version(there, 0))
            violation("after a crash there is something else than a version under the final name");
        if (is_version(there, 0)) published_ = there;
        if (!power_ && there != before) violation("a process that was killed changed the target");
    }

    [[nodiscard]] bool is_version(std::string_view bytes, std::size_t from) const {
        for (std::size_t i = from; i != versions_.size(); ++i)
            if (versions_[i].bytes == bytes) return true;
        for (std::size_t i = from; i < others_.size(); ++i)
            if (others_[i].bytes == bytes) return true;
        return false;
    }

    // --- the network

    testing::connect_result connects() {
        world& time = world::current();
        trace_.add("connect");
        trace_.add(static_cast<std::uint64_t>(time.now().count()));
        if (time.now() < down_until_) return arrival::refused;
        if (connection_limit_ && home_->open_connections() >= *connection_limit_)
            return std::error_code{asio::error::connection_reset};
        auto const i = first_pending(strikes::connect);
        if (!i || !random_.chance(50)) return arrival::accepted;
        std::string_view const name = all_faults()[pending_[*i]].name;
        strike(*i);
        if (name == "connection_refused") return arrival::refused;
        if (name == "connection_lost") return arrival::lost;
        if (name == "name_unresolved") return arrival::unresolved;
        if (name == "certificate_expired") return cleave::error::certificate_expired;
        if (name == "certificate_of_another_host") return cleave::error::certificate_wrong_host;
        return cleave::error::tls_handshake_failed;
    }
    testing::connect_result connects_away() {
        trace_.add("connect elsewhere");
        return arrival::accepted;
    }

    // --- the servers

    void serve(memory_peer& peer, seen_request const& r, bool home) {
        ++run_.requests;
        trace_.add(r.head);
        trace_.tell([&] {
            return "request #" + std::to_string(r.connection) + (home ? " " : " elsewhere ") +
                   r.target + " " + r.field("Range").value_or("all");
        });
        judge_request(r, home);
        object const& o = now();
        run_.knows = r.field("If-Range").has_value();
        if (auto const range = r.range())
            run_.asked.push_back({range->first, range->second});
        else
            run_.asked_all = true;
        if (home && expired(r.target))
            return testing::send(peer, {.head = testing::reply(403, "Forbidden")});

        scripted_reply reply;
        if (!reply_with_fault(reply, r, home)) reply = honest(r, o);
        // To whoever takes no ranges, asking for some is asking for all.
        if (reply.head.find(" 200") == 8) run_.asked_all = true;
        silence_where_it_is_silent(reply);
        trace_.add(reply.head);
        trace_.add(reply.body.size());
        testing::send(peer, std::move(reply));
    }
    /// The next fault in line, where it is time for one and it suits the request.
    bool reply_with_fault(scripted_reply& reply, seen_request const& r, bool home) {
        auto const i = first_pending(strikes::reply);
        if (!i || r.field("User-Agent") == "second" || !random_.chance(60)) return false;
        seen_request asked = r;
        if (!server_ranges_)
            std::erase_if(asked.fields, [](auto const& f) { return f.first == "Range"; });
        reply = testing::honest_reply(asked, now());
        object const& other = other_than_now();
        std::function<std::uint64_t(std::uint64_t)> const below = [this](std::uint64_t n) {
            return random_.below(n);
        };
        std::string const self = home ? signed_url() : elsewhere;
        if (!all_faults()[pending_[*i]].reply->apply(
                reply, {asked, now(), other, below, self, elsewhere})) {
            // It does not suit this request; the next one may suit it, and another one this.
            std::swap(pending_[*i], pending_.back());
            return false;
        }
        // What nothing but a digest could tell is not asked of those who expect none; nor where
        // they do not know, or know by nothing, what the object is.
        bool const knows = digest_ || r.field("If-Range").has_value();
        auto const row = all_faults()[pending_[*i]].row;
        if (reply.lies && !digest_) return false;
        if (!knows && (row == "E15" || row == "H01" || row == "B02")) return false;
        strike(*i);
        // Bytes behind a body are seen only where they come together with its last one.
        bool const behind = row == "A11" || row == "F03" || row == "D13";
        if (reply.doubtful && !behind) run_.doubtful.try_emplace(id_of(r, home), r.on_connection);
        if (reply.lies) lied_ = true;
        // What must begin again, cannot where bytes have gone out of the house.
        if (sink_ == sink_kind::ordered) run_.may_end = true;
        return true;
    }
    [[nodiscard]] scripted_reply honest(seen_request const& r, object const& o) {
        scripted_reply reply;
        if (server_ranges_) {
            reply = testing::honest_reply(r, o);
        } else {
            reply = {.head = testing::honest_200_head(o), .body = o.bytes};
            testing::drop_field(reply.head, "Accept-Ranges");
        }
        if (server_chunks_ && !reply.body.empty()) {
            testing::drop_field(reply.head, "Content-Length");
            testing::set_field(reply.head, "Transfer-Encoding", "chunked");
            std::string chunks;
            std::string_view rest{reply.body};
            std::size_t const size = static_cast<std::size_t>(1'000 + random_.below(9'000));
            while (!rest.empty()) {
                chunks += testing::chunk(rest.substr(0, size));
                rest.remove_prefix(std::min(size, rest.size()));
            }
            reply.body = chunks + "0\r\n\r\n";
        }
        if (server_closes_) {
            testing::set_field(reply.head, "Connection", "close");
            reply.end = testing::ending::fin;
        }
        return reply;
    }
    void silence_where_it_is_silent(scripted_reply& reply) const {
        nanoseconds const left = silent_until_ - world::current().now();
        if (left > nanoseconds{0}) reply.silences.insert(reply.silences.begin(), {0, left});
    }
    /// A version that only some replies know of; but then it is one.
    object const& other_than_now() {
        std::size_t const n = versions_.size();
        for (; others_.size() != n; others_.emplace_back()) {
            // Of this version there is no other one yet.
        }
        object& o = others_.back();
        if (o.bytes.size() == now().bytes.size() && !o.bytes.empty()) return o;
        o = now();
        o.bytes = random_bytes(seed_ * 64 + 63 - n % 16, now().bytes.size());
        if (told_ == told::etag) o.etag = "\"v" + std::to_string(n) + "-other\"";
        if (told_ == told::date) o.last_modified = date(n + 3);
        return o;
    }
    [[nodiscard]] bool expired(std::string_view requested) const {
        constexpr std::string_view mark = "secret-";
        auto const at = requested.find(mark);
        if (at == std::string_view::npos) return false;
        std::string_view const n = requested.substr(at + mark.size());
        return n.substr(0, n.find('&')) != std::to_string(url_);
    }
    [[nodiscard]] static std::size_t id_of(seen_request const& r, bool home) {
        return 2 * r.connection + (home ? 0 : 1);
    }

    // --- the judge

    void judge_request(seen_request const& r, bool home) {
        // What was asked before could not know.
        auto const doubt = run_.doubtful.find(id_of(r, home));
        if (doubt != run_.doubtful.end() && r.replies_read > doubt->second)
            violation("asked again over a connection whose framing was in doubt");
        if (r.method != "GET" || r.version != "HTTP/1.1") violation("a request of another kind");
        for (auto const* const once :
             {"Host", "Range", "If-Range", "Accept-Encoding", "User-Agent"})
            if (r.count(once) > 1)
                violation("a field came twice in a request: " + std::string{once});
        if (r.count("Host") != 1) violation("a request without Host");
        if (auto const condition = r.field("If-Range"); condition && condition->starts_with("W/"))
            violation("a weak validator in If-Range");
        if (r.field("Range") && !r.range()) violation("a Range that is none: " + *r.field("Range"));
        if (!home && r.head.find("secret") != std::string::npos)
            violation("a secret went to another origin");
        // A server may have told of a larger object, and its end is asked for then.
        std::uint64_t size = largest();
        for (cleave::segment const& a : run_.asked)
            if (a.last < most_size) size = std::max(size, a.last + 1);
        if (run_.requests > 300 + 40 * run_.struck + 2 * size / run_.least_segment)
            violation("asks without end: " + std::to_string(run_.requests) +
                      " requests, for segments of " + std::to_string(run_.least_segment) + " of " +
                      std::to_string(size));
    }

    void judge(settings const& s, std::error_code ec, cleave::report const& report,
               std::vector<std::byte> const& memory, std::string const& delivered) {
        told_observer::notes const& heard = run_.heard;
        if (heard.beyond_all || heard.early_hundred) violation("progress that is not so");
        if (heard.secret) violation("a secret in a line for people");
        if (heard.ended != 1) violation("the observer was not told of the end once");
        if (bool(ec) != report.failed.has_value()) violation("the report says otherwise");
        if (report.failed && report.failed->message().find("secret") != std::string::npos)
            violation("a secret in an error message");
        if (report.failed && report.failed->message().empty()) violation("an error without words");
        for (auto const* const path : {journal_file, partial})
            if (path == journal_file && disk_.view(path).find("secret") != std::string::npos)
                violation("a secret in the journal");
        if (run_.rewritten > report.bytes_twice)
            violation(std::to_string(run_.rewritten) + " bytes were written twice, " +
                      std::to_string(report.bytes_twice) + " are in the report");

        if (ec) {
            if (!run_.may_end && run_.struck < s.fewest_tries && !leftover_may_end(ec))
                violation("ended by a fault that it must survive: " + report.failed->message());
            if (disk_.view(target) != published_) violation("a run that failed changed the target");
            if (!run_.disk_fault && !run_.took_over && !report.kept && sink_ == sink_kind::file &&
                (disk_.exists(partial) || disk_.exists(journal_file)))
                violation("a run that keeps nothing left something");
            return;
        }
        std::string_view got{delivered};
        std::string file;
        if (sink_ == sink_kind::file) {
            file = disk_.bytes(target);
            got = file;
        } else if (sink_ == sink_kind::memory) {
            got = {reinterpret_cast<char const*>(memory.data()), memory.size()};
        }
        if (!is_version(got, run_.first_version))
            violation("done, and it is no version of the object");
        if (report.bytes != got.size()) violation("the report counts other bytes");
        if (expected_.whole && checksum(got) != *expected_.whole)
            violation("done, and it does not have the digest");
        if (expected_.whole && !report.digest_verified) violation("a digest was not verified");
        if (sink_ == sink_kind::file) {
            published_ = file;
            // Without a journal nobody knows of one that an earlier run left.
            if (!run_.disk_fault &&
                (disk_.exists(partial) || (s.journal && disk_.exists(journal_file))))
                violation("something was left beside the target");
            if (!disk_.exists(target)) violation("done, and there is no file");
        }
    }
    /// Whether what an earlier run left may end this one: it was of another version.
    [[nodiscard]] bool leftover_may_end(std::error_code ec) const {
        return ec == cleave::cause::identity_changed || ec == cleave::error::digest_mismatch;
    }

    void violation(std::string what) {
        if (out_.violation.empty()) out_.violation = std::move(what);
    }

    story_outcome finish() {
        out_.hash = trace_.hash();
        return std::move(out_);
    }

    random_source random_;
    std::uint64_t seed_;
    trace trace_;
    story_outcome out_;

    // The object, and how it is served.
    std::vector<object> versions_;
    std::vector<object> others_;
    told told_{};
    bool digest_ = false;
    bool pieces_ = false;
    bool server_closes_ = false;
    bool server_ranges_ = true;
    bool server_chunks_ = false;
    std::uint64_t url_ = 1;   // the signature that is good now
    std::uint64_t fresh_ = 1; // the one that the client has

    // The client's side.
    sink_kind sink_{};
    memory_disk disk_;
    std::string old_;
    std::string published_;
    std::string stranger_;
    checksums expected_;
    struct checked {
        std::uint32_t crc = 0;
        std::string bytes;
    };
    std::map<std::uint64_t, checked> checked_; // what the journal claimed, by its first byte
    cleave::resume_state held_;
    std::size_t held_of_ = 0;

    // Faults.
    std::vector<std::size_t> pending_; // kinds, by index
    std::size_t wanted_faults_ = least_faults;
    std::size_t struck_ = 0;
    std::uint64_t steps_of_last_run_ = 300;

    // The run that goes on.
    run_notes run_;
    memory_network* home_ = nullptr;
    cleave::control* steer_ = nullptr;
    bool durable_ = false;
    bool crash_ = false;
    bool power_ = false;
    bool lied_ = false;
    bool second_may_have_it_ = false;
    std::uint64_t next_strike_ = never;
    std::optional<std::size_t> disk_fault_;
    std::uint64_t disk_calls_left_ = 0;
    std::optional<std::uint64_t> connection_limit_;
    nanoseconds silent_until_{0};
    nanoseconds down_until_{0};
    nanoseconds full_until_{0};
};

} // namespace

story_outcome tell_story(std::uint64_t seed,
                         std::function<void(std::string const&)> const& read_along) {
    return story{seed, read_along}.tell();
}

} // namespace cleave_sim
