// SPDX-License-Identifier: BSL-1.0
//
// Whole downloads through the real driver, in virtual time, over a network and onto a disk in
// memory: hours of silence, full disks, deadlines to the nanosecond, and a cancel at every step.
#include <support/catch.hpp>

#include <laws/random.hpp>

#include <cleave/download.hpp>
#include <cleave/testing/memory_disk.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave::testing;
using namespace cleave::literals;
using namespace std::chrono_literals;
using cleave_test::random_source;

namespace {

constexpr auto name = "/data/model.bin";
constexpr auto part_name = "/data/model.bin.part";
constexpr auto latency = memory_link{}.latency;

cleave::request request_for_model() {
    cleave::request what{"http://example.org/model.bin"};
    what.seed = 7;
    return what;
}

struct settings {
    cleave::request what = request_for_model();
    std::uint64_t segment_size = 1_MiB;
    std::uint32_t lanes = 8;
    cleave::backoff renewal{};
    /// Cancels before this step of the world.
    std::uint64_t cancel_at = std::numeric_limits<std::uint64_t>::max();
};

/// A world with a server, a disk, and one download.
struct simulation {
    explicit simulation(memory_handler handler, memory_link link = {}, memory_disk on = {})
        : network(std::move(handler), link), disk(std::move(on)) {}

    void start(settings const& s) {
        auto how = cleave::policies<>{}
                       .with_plan(cleave::fixed_size{s.segment_size})
                       .with_lanes(cleave::fixed_lanes{s.lanes})
                       .with_renewal(s.renewal)
                       .with_connector(network.connector())
                       .with_timer<virtual_timers>()
                       .with_journal(cleave::no_journal{})
                       .with_background(cleave::same_thread{})
                       .with_control(control);
        cleave::async_download(context.get_executor(), s.what,
                               cleave::basic_file_sink<memory_file>{name, memory_file{disk}},
                               std::move(how), [this](std::error_code e, cleave::report r) {
                                   ++calls;
                                   ec = e;
                                   report = std::move(r);
                               });
    }

    /// Starts the download and lets the world run until it has ended; false when it hangs.
    bool run(settings const& s = {}) {
        start(s);
        bool const ended = time.run(context, [&] {
            if (time.steps() == s.cancel_at) control.cancel();
            return calls != 0;
        });
        ended_at = time.now();
        steps = time.steps();
        // Whatever is left over must not call the handler again.
        if (ended) time.run(context, [] { return false; });
        return ended && calls == 1;
    }

    world time;
    memory_network network;
    memory_disk disk;
    asio::io_context context;
    cleave::control control;

    int calls = 0;
    std::error_code ec;
    cleave::report report;
    world::time ended_at{0};
    std::uint64_t steps = 0;
};

/// The index of the last call of an operation in the disk's log.
std::size_t last(memory_disk const& disk, std::string_view operation) {
    for (std::size_t i = disk.log().size(); i-- != 0;)
        if (disk.log()[i].operation == operation) return i;
    return disk.log().size();
}

/// A server of which each connection delivers so many bytes of a reply and falls silent for ever.
memory_handler stalls_after(object const& o, std::size_t bytes) {
    return [&o, bytes](memory_peer& p, seen_request const& r) {
        auto const range = r.range().value();
        auto const end = std::min<std::uint64_t>(range.second, o.bytes.size() - 1);
        p.send(honest_206_head(o, range.first, end));
        p.send_body(body(o, range.first, end).substr(0, bytes));
        if (end - range.first >= bytes) p.stall_for_ever();
    };
}

/// One try and no more.
constexpr cleave::backoff no_second_try{.tries = 1};

} // namespace

TEST_CASE("10 MB in 8 lanes are exactly the bytes served, durable before they are published") {
    object const o = object::random(10'000'000, 1);
    simulation s{memory_network::honest(o), {.rate = 2'000'000, .piece = 1460}};
    REQUIRE(s.run());
    CHECK(s.ec == std::error_code{});
    CHECK((s.disk.bytes(name) == o.bytes));
    CHECK(s.disk.names() == std::vector<std::string>{name});
    CHECK(s.report.bytes == o.bytes.size());
    CHECK(s.report.lanes == 8);
    CHECK(s.network.connections() == 8);
    CHECK(s.report.connections == 8);
    // Ten segments, and what idle lanes took from busy ones towards the end.
    CHECK(s.report.requests == 10 + s.report.steals + s.report.hedges);
    CHECK(s.network.requests().size() == s.report.requests);
    CHECK(s.report.retries == 0);
    CHECK(s.report.bytes_twice == 0);
    CHECK(s.report.elapsed == s.ended_at);

    // Everything is written, then made durable, then published, and nothing comes after.
    std::size_t const synced = last(s.disk, "sync");
    CHECK(last(s.disk, "write_at") < synced);
    CHECK(last(s.disk, "resize") < synced);
    CHECK(synced + 1 == last(s.disk, "publish"));
    CHECK(last(s.disk, "publish") + 1 == s.disk.log().size());
    CHECK(std::ranges::all_of(s.disk.log(), [](memory_disk::call const& c) {
        return c.operation != "write_at" || c.path == part_name;
    }));
    s.disk.crash();
    CHECK((s.disk.bytes(name) == o.bytes));
    CHECK(s.disk.names() == std::vector<std::string>{name});
}

TEST_CASE("a window smaller than a head makes the server wait, and nothing else") {
    object const o = object::random(10'000, 10);
    for (std::size_t const window : {1U, 100U, 1000U}) {
        simulation s{memory_network::honest(o), {.window = window}};
        REQUIRE(s.run({.segment_size = 2'000, .lanes = 4}));
        CHECK(s.ec == std::error_code{});
        CHECK((s.disk.bytes(name) == o.bytes));
        CHECK(s.report.retries == 0);
        // One window for each round trip.
        CHECK(s.ended_at >= 2 * latency * static_cast<int>(o.bytes.size() / 4 / window));
    }
}

TEST_CASE("lanes side by side take a fraction of the time of one") {
    object const o = object::random(4'000'000, 2);
    memory_link const link{.latency = 50ms, .rate = 500'000};
    world::time alone{0};
    for (std::uint32_t const lanes : {1U, 8U}) {
        simulation s{memory_network::honest(o), link};
        REQUIRE(s.run({.segment_size = 500'000, .lanes = lanes}));
        REQUIRE((s.disk.bytes(name) == o.bytes));
        if (lanes == 1)
            alone = s.ended_at;
        else
            CHECK(s.ended_at < alone / 4);
    }
    // 8 s for the bytes, and a round trip for the connection and for each request.
    CHECK(alone >= 8s + 100ms);
    CHECK(alone <= 8s + 9 * 100ms + 200ms);
}

TEST_CASE("between segments a far server costs no idle round trip") {
    object const o = object::random(4 << 20, 31);
    simulation far{memory_network::honest(o), {.latency = 50ms, .rate = 1'000'000}};
    settings one;
    one.lanes = 1;
    one.segment_size = 64_KiB;
    REQUIRE(far.run(one));
    REQUIRE_FALSE(far.ec);
    CHECK((far.disk.bytes(name) == o.bytes));
    CHECK(far.report.requests == 64);
    // The opening request and one more show that the server answers in order.
    CHECK(far.report.requests_ahead == 62);
    CHECK(far.report.connections == 1);
    // Connecting, these two, and one more until it is known how fast it is.
    CHECK(far.ended_at < 4'194ms + 4 * 100ms + 100ms);
}

TEST_CASE("replies that come close together are told apart") {
    auto const size = GENERATE(as<std::uint64_t>{}, 1, 100, 500, 1900, 5000);
    CAPTURE(size);
    object const o = object::random(40'000, 32);
    simulation near{memory_network::honest(o)};
    settings small;
    small.lanes = 3;
    small.segment_size = size;
    small.what.part = cleave::segment{0, std::min<std::uint64_t>(40 * size, o.bytes.size()) - 1};
    REQUIRE(near.run(small));
    REQUIRE_FALSE(near.ec);
    CHECK((near.disk.bytes(name) ==
           o.bytes.substr(0, static_cast<std::size_t>(small.what.part->size()))));
    CHECK(near.report.retries == 0);
    CHECK(near.report.bytes_twice == 0);
}

TEST_CASE("a server that drops what was asked ahead of its time costs a connection each, once") {
    object const o = object::random(1 << 20, 33);
    // It answers three requests, and reads a fourth before it has had enough.
    auto const honest = memory_network::honest(o);
    simulation rude{[&](memory_peer& p, seen_request const& r) {
                        honest(p, r);
                        if (r.on_connection == 2) p.fin();
                    },
                    {.rate = 1'000'000}};
    settings two;
    two.lanes = 2;
    two.segment_size = 32_KiB;
    REQUIRE(rude.run(two));
    REQUIRE_FALSE(rude.ec);
    CHECK((rude.disk.bytes(name) == o.bytes));
    CHECK(rude.report.bytes_twice == 0);
    CHECK(rude.report.requests_ahead != 0);
    CHECK(rude.report.requests_ahead <= 4);
}

TEST_CASE("an hour of servers that fall silent is outlived") {
    object const o = object::random(2'000'000, 3);
    for (std::uint32_t const lanes : {1U, 4U}) {
        CAPTURE(lanes);
        simulation s{stalls_after(o, 4000)};
        settings how{.segment_size = 100'000, .lanes = lanes};
        how.what.timeouts.stall = 30s;
        REQUIRE(s.run(how));
        CHECK(s.ec == std::error_code{});
        CHECK((s.disk.bytes(name) == o.bytes));
        CHECK(s.disk.names() == std::vector<std::string>{name});
        CHECK(s.report.bytes_twice == 0);
        // Of each segment, 24 of 25 replies stall; but that an idle lane may take what is left of a
        // silent one before the stall is found.
        CHECK(s.report.retries + s.report.steals >= 20 * 24);
        CHECK(s.report.retries <= 20 * 24);
        if (lanes == 1) CHECK(s.report.retries == 20 * 24);
        CHECK(s.ended_at > 1h - 3min);
        CHECK(s.ended_at >= (20 * 24 - static_cast<int>(s.report.steals)) * 30s / lanes);
        // Looking now and then finds a stall late by a quarter at most; and tries follow soon.
        CHECK(s.ended_at <= 20 * 24 * (30s + 7500ms + 500ms) / lanes + 60s);
        // Silence costs next to nothing: a few looks for each stall.
        CHECK(s.steps < 20 * 24 * 60);
    }
}

TEST_CASE("where many bytes come, lanes wake up for many; what comes last is seen all the same") {
    object const o = object::random(40 << 20, 5);
    // The first lane's server falls silent for good, with less on the way than the lane waits for.
    constexpr std::uint64_t until = (12 << 20) + 12'345;
    bool first = true;
    simulation s{[&](memory_peer& p, seen_request const& r) {
                     auto const [from, to] = r.range().value();
                     p.send(honest_206_head(o, from, to));
                     bool const stalls = from == 0 && std::exchange(first, false);
                     p.send_body(body(o, from, to).substr(0, stalls ? until : to - from + 1));
                     if (stalls) p.stall_for_ever();
                 },
                 {.rate = 200'000'000, .window = 8 << 20}};
    settings how;
    how.segment_size = 20 << 20;
    how.lanes = 2;
    REQUIRE(s.run(how));
    CHECK_FALSE(s.ec);
    CHECK_FALSE(first);
    CHECK((s.disk.bytes(name) == o.bytes));
    // Each byte was sent once: none of them was left lying.
    CHECK(s.network.body_bytes_sent() == o.bytes.size());
    CHECK(s.report.bytes_twice == 0);
    // They come in pieces of 16 KiB.
    CHECK(s.report.reads < o.bytes.size() / (16 << 10) / 4);
}

TEST_CASE("each step has its own timeout, kept to the nanosecond") {
    object const o = object::random(100'000, 4);
    settings how{.renewal = no_second_try};
    how.what.timeouts = {.connect = 11s, .head = 13s, .stall = 17s, .deadline = {}};

    SECTION("a host that never answers") {
        simulation s{memory_network::honest(o)};
        s.network.on_connect([](std::size_t) { return arrival::lost; });
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::connect_timeout);
        CHECK(s.ended_at == 11s);
        CHECK(s.network.attempts() == 1);
        CHECK(s.disk.log().size() == 1); // the look at the target
        CHECK(s.disk.names().empty());
    }
    SECTION("a host that refuses") {
        simulation s{memory_network::honest(o)};
        s.network.on_connect([](std::size_t) { return arrival::refused; });
        REQUIRE(s.run(how));
        CHECK(s.ec == std::errc::connection_refused);
        CHECK(s.ended_at == 2 * latency);
        CHECK(s.report.failed->kind == cleave::cause::passing);
        CHECK(s.report.failed->where == cleave::phase::connect);
    }
    SECTION("a head that never comes") {
        simulation s{[](memory_peer& p, seen_request const&) { p.stall_for_ever(); }};
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::head_timeout);
        CHECK(s.ended_at == 2 * latency + 13s);
        CHECK(s.disk.names().empty());
    }
    SECTION("a head that never ends") {
        simulation s{[](memory_peer& p, seen_request const&) {
            p.send("HTTP/1.1 206 Partial Content\r\n");
            for (int i = 0; i != 1000; ++i) {
                p.after(100ms);
                p.send("X: y");
            }
        }};
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::head_timeout);
        CHECK(s.ended_at == 2 * latency + 13s);
    }
    SECTION("a body that stops") {
        simulation s{stalls_after(o, 1)};
        how.lanes = 1; // or others would go on with what one has given up
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::stalled);
        // The last byte came three latencies and one more after the start.
        CHECK(s.ended_at >= 4 * latency + 17s);
        CHECK(s.ended_at <= 4 * latency + 17s + 17000ms / 4);
        CHECK(s.disk.names().empty());
    }
    SECTION("a body that never starts") {
        simulation s{stalls_after(o, 0)};
        how.lanes = 1;
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::stalled);
        CHECK(s.ended_at >= 4 * latency + 17s);
        CHECK(s.ended_at <= 4 * latency + 17s + 17000ms / 4);
    }
    SECTION("a body that trickles never stalls, but meets the deadline") {
        simulation s{[&o](memory_peer& p, seen_request const&) {
            p.send(honest_206_head(o, 0, o.bytes.size() - 1));
            for (std::size_t i = 0; i != o.bytes.size(); ++i) {
                p.after(16s);
                p.send_body(std::string_view{o.bytes}.substr(i, 1));
            }
        }};
        how.what.timeouts.deadline = 1000s;
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::deadline_exceeded);
        CHECK(s.ended_at == 1000s);
        CHECK(s.report.elapsed == 1000s);
        CHECK(s.disk.names().empty());
    }
    SECTION("the deadline comes while the host does not answer") {
        simulation s{memory_network::honest(o)};
        s.network.on_connect([](std::size_t) { return arrival::lost; });
        how.what.timeouts.deadline = 10s;
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::deadline_exceeded);
        CHECK(s.ended_at == 10s);
    }
    SECTION("the deadline would come while a lane waits for its next try") {
        simulation s{[](memory_peer& p, seen_request const&) {
            p.send(reply(503, "Busy", "Retry-After: 30\r\n"));
        }};
        how.what.timeouts.deadline = 100s;
        how.renewal = {.tries = 100, .first = 1ns};
        REQUIRE(s.run(how));
        // A wait that would not end before the deadline is not waited for.
        CHECK(s.ec == cleave::error::server_busy);
        CHECK(s.ended_at > 90s);
        CHECK(s.ended_at < 100s);
        // And seven more lanes, connected as they are, wait with the first.
        CHECK(s.network.requests().size() == 4);
    }
    SECTION("tries add up") {
        simulation s{memory_network::honest(o)};
        s.network.on_connect([](std::size_t) { return arrival::lost; });
        how.renewal = {.tries = 5, .first = 0ns};
        REQUIRE(s.run(how));
        CHECK(s.ec == cleave::error::connect_timeout);
        CHECK(s.ended_at == 4 * 11s);
        CHECK(s.network.attempts() == 4);
        CHECK(s.report.retries == 3);
    }
}

TEST_CASE("a name that does not resolve for a while is asked for again, and costs nothing (F07)") {
    object const o = object::random(10'000'000, 21);
    simulation s{memory_network::honest(o), {.rate = 1'000'000}};
    bool const for_ever = GENERATE(false, true);
    s.network.on_connect([for_ever](std::size_t attempt) {
        return attempt == 0 || (attempt > 10 && !for_ever) ? arrival::accepted
                                                           : arrival::unresolved;
    });
    REQUIRE(s.run());
    CHECK_FALSE(s.ec);
    CHECK(s.disk.bytes(name) == o.bytes);
    CHECK(s.network.attempts() > 11);
    if (for_ever)
        CHECK(s.network.connections() == 1);
    else
        CHECK(s.network.connections() > 1);
}

TEST_CASE("a disk that is full is found before a byte is fetched for it") {
    object const o = object::random(5'000'000, 5);
    simulation s{memory_network::honest(o), {.rate = 100'000}};
    s.disk.put(name, "an older version");
    s.disk.capacity(4'000'000);
    REQUIRE(s.run());
    CHECK(s.ec == std::errc::no_space_on_device);
    CHECK(s.report.failed->kind == cleave::cause::storage);
    CHECK(s.report.failed->where == cleave::phase::sink);
    CHECK(s.report.failed->message().find("make room on the disk") != std::string::npos);
    CHECK(s.report.bytes == 0);
    CHECK(s.disk.count("write_at") == 0);
    CHECK(s.network.requests().size() == 1);
    CHECK(s.disk.names() == std::vector<std::string>{name});
    CHECK(s.disk.bytes(name) == "an older version");
}

TEST_CASE("a disk that fails ends the download, and leaves what was there before") {
    object const o = object::random(3'000'000, 6);
    struct {
        char const* operation;
        std::size_t nth;
        int code;
    } const faults[] = {{"check_target", 0, EACCES}, {"open_partial", 0, EACCES},
                        {"allocate", 0, EFBIG},      {"write_at", 0, EIO},
                        {"write_at", 40, EIO},       {"write_at", 41, ENOSPC},
                        {"resize", 0, EIO},          {"sync", 0, EIO},
                        {"publish", 0, EROFS}};
    for (auto const& fault : faults) {
        CAPTURE(fault.operation, fault.nth, fault.code);
        simulation s{memory_network::honest(o), {.rate = 1'000'000}};
        s.disk.put(name, "an older version");
        s.disk.fail(fault.operation, fault.nth, fault.code);
        REQUIRE(s.run());
        CHECK(s.ec == std::error_code{fault.code, std::system_category()});
        CHECK(s.report.failed->kind == cleave::cause::storage);
        CHECK(s.report.failed->where == cleave::phase::sink);
        CHECK(s.report.retries == 0);
        CHECK(s.disk.names() == std::vector<std::string>{name});
        CHECK(s.disk.bytes(name) == "an older version");
        // Once the disk has failed, the rest is not fetched.
        if (fault.nth != 0) CHECK(s.report.bytes < o.bytes.size());
        CHECK(s.network.open_connections() == 0);
    }
}

TEST_CASE("the power may fail at any call: the name holds the new version whole, or the old one") {
    object const o = object::random(50'000, 7);
    settings const how{.segment_size = 10'000, .lanes = 2};
    std::error_code const no_power{EIO, std::system_category()};
    std::size_t calls = 0;
    for (std::size_t k = 0; calls == 0; ++k) {
        CAPTURE(k);
        simulation s{memory_network::honest(o)};
        s.disk.put(name, "an older version");
        s.disk.power_fails_at(k);
        REQUIRE(s.run(how));
        REQUIRE((!s.ec || s.ec == no_power));
        if (!s.ec) calls = k;
        s.disk.crash();
        REQUIRE((s.disk.bytes(name) == (s.ec ? "an older version" : o.bytes)));
    }
    CHECK(calls > 9);
}

TEST_CASE("a context that goes away under a download leaves nothing behind") {
    object const o = object::random(50'000, 7);
    settings const how{.segment_size = 10'000, .lanes = 2};
    bool published = false;
    for (std::uint64_t k = 0; !published; ++k) {
        CAPTURE(k);
        memory_disk const disk;
        {
            simulation s{memory_network::honest(o), {}, disk};
            s.start(how);
            s.time.run(s.context, [&] { return s.time.steps() == k; });
        }
        published = disk.count("publish") != 0;
        REQUIRE(disk.names() ==
                (published ? std::vector<std::string>{name} : std::vector<std::string>{}));
    }
}

TEST_CASE("the same seed makes the same download, call for call") {
    object const o = object::random(1'000'000, 8);
    // Every fourth connection is cut within a body, every fifth reply is an error.
    auto const handler = [rest = memory_network::honest(o), &o](memory_peer& p,
                                                                seen_request const& r) {
        auto const range = r.range().value();
        if (r.index % 5 == 4) return p.send(reply(503, "Busy"));
        if (r.connection % 4 != 1) return rest(p, r);
        auto const end = std::min<std::uint64_t>(range.second, o.bytes.size() - 1);
        p.send(honest_206_head(o, range.first, end));
        p.send_body(body(o, range.first, end).substr(0, 777));
        p.rst();
    };
    auto const run = [&](std::uint64_t seed) {
        simulation s{handler, {.rate = 300'000, .piece = 1460}};
        s.network.on_connect([](std::size_t attempt) {
            return attempt % 7 == 3 ? arrival::refused : arrival::accepted;
        });
        settings how{.segment_size = 30'000, .lanes = 5, .renewal = {.tries = 10}};
        how.what.seed = seed;
        REQUIRE(s.run(how));
        CHECK(s.ec == std::error_code{});
        CHECK((s.disk.bytes(name) == o.bytes));
        CHECK(s.report.retries > 10);
        return std::pair{s.network.log(), s.disk.log()};
    };
    auto const once = run(7);
    auto const again = run(7);
    CHECK(once.first == again.first);
    CHECK(once.second == again.second);
    // And another seed another one, or this would say nothing.
    CHECK(run(8).first != once.first);
}

namespace {

/// Runs a download to its end, and then again and again, cancelled before each step. `run` answers
/// with the outcome and the number of steps.
template <class Run>
void cancel_at_every_step(Run run) {
    std::uint64_t const steps = run(std::numeric_limits<std::uint64_t>::max()).second;
    REQUIRE(steps > 20);
    bool succeeded = false;
    for (std::uint64_t k = 0; k <= steps; ++k) {
        CAPTURE(k, steps);
        std::error_code const ec = run(k).first;
        REQUIRE((ec == cleave::error::cancelled || !ec));
        // Once it is too late, it stays too late.
        if (succeeded) REQUIRE_FALSE(ec);
        succeeded = !ec;
        if (k < steps / 2) REQUIRE_FALSE(succeeded);
    }
    CHECK(succeeded);
}

} // namespace

TEST_CASE("a download can be cancelled at every step of its life") {
    object const o = object::random(60'000, 9);
    auto const with = [&o](memory_handler const& handler, memory_link link, settings const& how) {
        cancel_at_every_step([&](std::uint64_t at) {
            simulation s{handler, link};
            settings now = how;
            now.cancel_at = at;
            REQUIRE(s.run(now));
            if (s.ec) {
                REQUIRE(s.disk.names().empty());
                REQUIRE(s.report.failed->code == s.ec);
                // At once: nobody waits for the network before giving up.
                if (at == 0) REQUIRE(s.ended_at == 0ns);
            } else {
                REQUIRE((s.disk.bytes(name) == o.bytes));
                REQUIRE(s.disk.names() == std::vector<std::string>{name});
            }
            REQUIRE(s.network.open_connections() == 0);
            return std::pair{s.ec, s.steps};
        });
    };
    SECTION("an honest server") {
        with(memory_network::honest(o), {.rate = 100'000, .piece = 4096},
             {.segment_size = 10'000, .lanes = 3});
    }
    SECTION("a server that closes after each reply") {
        with(memory_network::honest(o, {.close_each = true}), {},
             {.segment_size = 10'000, .lanes = 2});
    }
    SECTION("a server without ranges, in chunks") {
        with(memory_network::honest(o, {.ranges = false, .chunked = true}), {},
             {.segment_size = 10'000, .lanes = 2});
    }
    SECTION("a server that stalls and cuts") {
        with(
            [&o](memory_peer& p, seen_request const& r) {
                auto const range = r.range().value();
                auto const end = std::min<std::uint64_t>(range.second, o.bytes.size() - 1);
                p.send(honest_206_head(o, range.first, end));
                p.send_body(body(o, range.first, end).substr(0, 6000));
                if (end - range.first < 6000) return;
                if (r.connection % 2 == 0)
                    p.stall_for_ever();
                else
                    p.rst();
            },
            {}, {.segment_size = 20'000, .lanes = 2});
    }
}

namespace {

/// Does anything that a server can do wrong, short of lying; honest in most cases.
memory_handler moody(object const& o, honest_options options, random_source& random) {
    return [&o, &random, options](memory_peer& p, seen_request const& r) {
        honest_options now = options;
        bool const cut = random.chance(20);
        now.cut_after = random.below(cut ? o.bytes.size() + 1 : 1);
        if (!cut) now.cut_after.reset();
        now.cut_with_reset = random.chance(50);
        now.close_each = random.chance(20);
        if (random.chance(10)) p.after(std::chrono::milliseconds{random.below(40'000)});
        switch (random.below(30)) {
        case 0: return p.send(reply(503, "Busy", "Retry-After: 3\r\n"));
        case 1: return p.send(reply(500, "Internal Server Error"));
        case 2: return p.send("HTTP/1.1 206 Partial Content\r\nContent-Ra");
        case 3: p.send("no HTTP at all\r\n\r\n"); return p.fin();
        case 4: return p.fin();
        case 5: return p.rst();
        case 6: return p.stall_for_ever();
        case 7: {
            // The beginning of an answer, and then silence.
            p.send(honest_206_head(o, 0, o.bytes.size()).substr(0, 3));
            return p.stall_for_ever();
        }
        default: break;
        }
        memory_network::honest(o, now)(p, r);
        if (random.chance(5)) p.stall_for_ever();
        if (random.chance(5)) p.fin();
    };
}

/// One download of which everything is chosen by the seed. Answers with what came of it.
std::error_code moody_download(std::uint64_t seed) {
    random_source random{seed};
    object o = object::random(1 + random.index(100'000), static_cast<std::uint32_t>(seed));
    if (random.chance(20)) o.etag.clear();
    if (random.chance(20)) o.last_modified.clear();
    honest_options options;
    options.ranges = random.chance(80);
    options.chunked = random.chance(20);
    options.no_length = !options.chunked && !options.ranges && random.chance(20);
    memory_link const link{.latency = std::chrono::milliseconds{random.below(200)},
                           .rate = random.chance(50) ? 0 : 1'000 + random.below(1'000'000),
                           .piece = 1 + random.index(20'000),
                           .window = 1 + random.index(100'000)};
    simulation s{moody(o, options, random), link};
    s.network.on_connect([&random](std::size_t) {
        return random.chance(90)   ? arrival::accepted
               : random.chance(50) ? arrival::refused
                                   : arrival::lost;
    });
    bool const old = random.chance(50);
    if (old) s.disk.put(name, "an older version");
    if (random.chance(10)) s.disk.fail("", random.index(60), EIO);
    if (random.chance(10)) s.disk.capacity(random.below(2 * o.bytes.size()));

    settings how{.segment_size = 1 + random.below(30'000),
                 .lanes = 1 + static_cast<std::uint32_t>(random.below(8))};
    how.renewal.tries = 1 + static_cast<std::uint32_t>(random.below(20));
    how.what.seed = seed + 1;
    if (random.chance(20)) how.what.timeouts.deadline = std::chrono::seconds{random.below(200) + 1};
    if (random.chance(10)) how.cancel_at = random.below(2000);

    REQUIRE(s.run(how));
    REQUIRE(s.network.open_connections() == 0);
    REQUIRE(s.report.failed.has_value() == bool{s.ec});
    if (s.ec) {
        REQUIRE(s.report.failed->code == s.ec);
        REQUIRE(s.disk.bytes(name) == (old ? "an older version" : ""));
    } else {
        // Without a length, the end of the connection is the end of the object.
        std::string const got = s.disk.bytes(name);
        REQUIRE((s.report.length_verified ? got == o.bytes : o.bytes.starts_with(got)));
        REQUIRE(s.report.length_verified != options.no_length);
        REQUIRE(s.report.bytes == got.size());
        REQUIRE(s.disk.names().size() == 1);
    }
    if (how.what.timeouts.deadline) REQUIRE(s.ended_at <= *how.what.timeouts.deadline);
    std::string const before = s.disk.bytes(name);
    s.disk.crash();
    REQUIRE((s.disk.bytes(name) == before));
    return s.ec;
}

void moody_downloads(std::uint64_t first, std::uint64_t last) {
    std::size_t succeeded = 0;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        CAPTURE(seed);
        succeeded += moody_download(seed) ? 0U : 1U;
    }
    // Neither all nor none, or this says nothing.
    std::size_t const all = static_cast<std::size_t>(last - first + 1);
    CHECK(succeeded > all / 4);
    CHECK(succeeded < all);
}

} // namespace

TEST_CASE("whatever network and disk do, a download ends, with the right bytes or with none") {
    moody_downloads(1, 200);
}

TEST_CASE("whatever network and disk do, for long", "[.heavy]") { moody_downloads(201, 20'000); }
