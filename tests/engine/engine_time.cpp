// SPDX-License-Identifier: BSL-1.0
//
// Time, as an engine sees it: each step has its limit, a limit that has passed is found when it is
// due, the engine never asks to be woken for nothing over and over, and progress is told on time.
// The clock here is a number.

#include <cleave/engine/engine.hpp>
#include <cleave/plan/even_split.hpp>

#include "script.hpp"

#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

using namespace cleave_test;
using cleave::even_split;
using cleave::lane_activity;

namespace {

cleave::request with_times(cleave::timeouts t) {
    cleave::request r = "http://h/x";
    r.timeouts = t;
    return r;
}

constexpr cleave::timeouts short_times = {.connect = 4s, .head = 6s, .stall = 8s, .deadline = {}};

} // namespace

TEST_CASE("a connection that does not come about is given up after the connect timeout") {
    script s{even_split{2}, 1, {.renewal = {.wait = 1s}}, with_times(short_times)};
    instant const from = s.now;
    s.start();
    CHECK(s.timer == from + 4s);
    CHECK(s.wake_until(from + 4s - 1ns) == "");
    CHECK(s.wake_until(from + 4s) == "close 0");
    CHECK(s.observer.attempts.at(0).code == error::connect_timeout);
    CHECK(s.timer == from + 5s);
    CHECK(s.wake_until(from + 5s) == "connect 0");
    CHECK(s.timer == from + 9s);
}

TEST_CASE("a reply that does not come is given up after the head timeout") {
    script s{even_split{2}, 1, {.renewal = {.wait = 1s}}, with_times(short_times)};
    s.start();
    s.now += 3s;
    instant const from = s.now;
    s.connected(0);
    // The timer may still be that of the connection: it is a little early, and no harm.
    CHECK(s.wake_until(from + 6s - 1ns) == "");
    // A part of a head is no reply.
    CHECK(s.reply(0, "HTTP/1.1 206") == "read 0");
    CHECK(s.wake_until(from + 6s) == "close 0");
    CHECK(s.observer.attempts.at(0).code == error::head_timeout);
}

TEST_CASE("a kept connection on which no reply comes is no dead one (F02)") {
    script s{even_split{2}, 1, {.renewal = {.wait = 1s}}, with_times(short_times)};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "send 0 50-499 reused");
    CHECK(s.wake_until(s.now + 6s) == "close 0");
    CHECK(s.engine.report().stale_connections == 0);
    CHECK(s.engine.report().retries == 1);
}

TEST_CASE("a lane that brings nothing is given up after the stall timeout (F05)") {
    script s{even_split{2}, 1, {.renewal = {.wait = 1s}}, with_times(short_times)};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    // Waiting for the sink is no stall.
    s.now += 60s;
    s.done(job::open);
    instant const from = s.now;
    CHECK(s.wake_until(from + 8s - 1ns) == "");
    CHECK(s.wake_until(from + 8s) == "close 0");
    CHECK(s.observer.attempts.at(0).code == error::stalled);
}

TEST_CASE("what a stalled lane brought is kept") {
    script s{even_split{1}, 1, {}, with_times(short_times)};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    // Seventeen bytes came some time, and no more.
    CHECK(s.wake_until(s.now + 10s, {{17, 17}}) == "close 0, connect 0");
    CHECK(s.engine.report().bytes == 17);
    CHECK(s.connected(0) == "send 0 17-999");
}

TEST_CASE("a slow lane is no stalled one") {
    cleave::timeouts t = short_times;
    t.connect = 1h;
    script s{even_split{1}, 1, {}, with_times(t)};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    bool const framing_only = GENERATE(false, true);
    // A byte every seven seconds; also if it is only of the framing.
    for (std::uint64_t i = 1; i <= 20; ++i) {
        CAPTURE(i);
        REQUIRE(s.wake_until(s.now + 7s, {{framing_only ? 0 : i, i}}) == "");
    }
    CHECK(s.observer.attempts.empty());
    // Then none: it is found no later than a quarter after the timeout.
    CHECK(s.wake_until(s.now + 10s, {{framing_only ? 0U : 20U, 20}}) == "close 0, connect 0");
}

TEST_CASE("a grant begins the stall anew, also when it brings as much as the one before") {
    script s{
        even_split{1}, 1, {.windows = {.grant = 10, .opening = 1000}}, with_times(short_times)};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 999}, 1000));
    s.done(job::open);
    for (int i = 0; i < 10; ++i) {
        REQUIRE(s.wake_until(s.now + 5s, {{3, 3}}) == "");
        REQUIRE(s.got(0, 10).substr(0, 9) == "receive 0");
    }
    CHECK(s.observer.attempts.empty());
}

TEST_CASE("an engine that waits asks to be woken a few times, not all the time") {
    script s{
        even_split{2}, 2, {}, with_times({.connect = 1h, .head = 1h, .stall = 1h, .deadline = {}})};
    start_two_lanes(s);
    instant const until = s.now + 1h - 1ns;
    int wakes = 0;
    while (s.timer && *s.timer <= until) {
        REQUIRE(++wakes < 20);
        REQUIRE(s.wake() == "");
    }
    // Somebody has to look, though.
    CHECK(wakes >= 2);
}

TEST_CASE("grants that come quickly do not set a timer each") {
    script s{even_split{1}, 1, {.windows = {.grant = 10, .opening = 100'000}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 99'999}, 100'000));
    s.done(job::open);
    int set = 0;
    for (int i = 0; i < 1000; ++i) {
        s.timer.reset();
        s.now += 1ms;
        s.got(0, 10);
        set += s.timer ? 1 : 0;
    }
    CHECK(set <= 1);
}

// ---- the deadline -------------------------------------------------------------------------

TEST_CASE("a download ends at its deadline, whatever it is about") {
    cleave::timeouts t = short_times;
    t.deadline = 3s;
    script s{even_split{2}, 2, {}, with_times(t)};
    instant const from = s.now;
    SECTION("connecting") {
        s.start();
        CHECK(s.wake_until(from + 3s - 1ns) == "");
        CHECK(s.wake_until(from + 3s) == "close 0, finish");
    }
    SECTION("receiving") {
        start_two_lanes(s);
        s.got(0, 50, true);
        CHECK(s.wake_until(from + 3s - 1ns, {{0, 1}, {0, 1}}) == "");
        CHECK(s.wake_until(from + 3s, {{0, 2}, {0, 2}}) == "close 0, close 1, abandon");
        CHECK(s.engine.report().failed->detail == "50 bytes had arrived");
        CHECK(s.done(job::abandon) == "finish");
    }
    SECTION("waiting to try again") {
        s.start();
        s.connected(0);
        s.connected(1);
        s.reply(0, head(503, "Retry-After: 2\r\n"));
        CHECK(s.wake_until(from + 2s).find("connect 0") != std::string::npos);
        CHECK(s.wake_until(from + 3s) == "close 0, close 1, finish");
    }
    SECTION("a job") {
        s.start();
        s.connected(0);
        s.connected(1);
        s.reply(0, part({0, 49}, 50));
        CHECK(s.wake_until(from + 3s) == "close 0, close 1");
        CHECK_FALSE(s.finished);
        CHECK(s.done(job::open) == "abandon");
        CHECK(s.done(job::abandon) == "finish");
    }
    REQUIRE(s.finished);
    CHECK(s.engine.report().failed->code == error::deadline_exceeded);
    CHECK(s.engine.report().elapsed == 3s);
}

TEST_CASE("a deadline that passes while the file is published comes too late") {
    cleave::timeouts t = short_times;
    t.deadline = 3s;
    script s{even_split{1}, 1, {.progress = 1s}, with_times(t)};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 50));
    s.done(job::open);
    s.got(0, 50, true);
    REQUIRE(s.done(job::sync) == "publish");
    // Nor is it a reason to ask for the time again and again.
    CHECK(s.wake_until(s.now + 20s) == "");
    CHECK(s.done(job::publish) == "finish");
    CHECK_FALSE(s.engine.report().failed);
}

TEST_CASE("a time limit without end never passes") {
    constexpr auto never = std::chrono::nanoseconds::max();
    script s{even_split{2},
             2,
             {},
             with_times({.connect = never, .head = never, .stall = never, .deadline = never})};
    CHECK(s.start() == "connect 0");
    CHECK(s.wake_until(s.now + 1h) == "");
    CHECK(s.connected(0) == "send 0 0-49, connect 1");
    CHECK(s.wake_until(s.now + 1h) == "");
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.wake_until(s.now + 1h) == "");
    CHECK_FALSE(s.engine.report().failed);
    CHECK(s.observer.attempts.empty());
}

TEST_CASE("clocks that begin anywhere do as well (F08)") {
    for (instant const begin :
         {instant{0}, instant{1}, instant{std::chrono::hours{24 * 365 * 50}}}) {
        script s{even_split{2}, 1, {.renewal = {.wait = 1s}}, with_times(short_times)};
        s.now = begin;
        s.start();
        CHECK(s.timer == begin + 4s);
        CHECK(s.wake_until(begin + 4s) == "close 0");
    }
}

TEST_CASE("a wake-up that comes early or twice does nothing") {
    script s{even_split{2}, 2, {}, with_times(short_times)};
    start_two_lanes(s);
    instant const due = *s.timer;
    std::vector<event::lane_window> const windows(2);
    CHECK(s.tell(event::woke{windows}) == "");
    CHECK(s.tell(event::woke{windows}) == "");
    CHECK(s.timer);
    CHECK(*s.timer <= due);
    CHECK(s.observer.attempts.empty());
}

// ---- progress -----------------------------------------------------------------------------

TEST_CASE("progress is told at every interval, with the bytes of unfinished grants") {
    script s{even_split{2}, 3, {.progress = 1s}};
    instant const from = s.now;
    s.start();
    s.now += 250ms;
    s.wake_until(from + 1s);
    REQUIRE(s.observer.told.size() == 1);
    CHECK(s.observer.told[0].bytes == 0);
    CHECK_FALSE(s.observer.told[0].total);
    CHECK(s.observer.told[0].percent() == 0);
    CHECK(s.observer.told[0].elapsed == 1s);
    REQUIRE(s.observer.lanes[0].size() == 3);
    CHECK(s.observer.lanes[0][0].doing == lane_activity::connecting);
    CHECK(s.observer.lanes[0][2].doing == lane_activity::idle);

    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    s.reply(1, part({50, 499}, 1000));
    s.got(1, 100);
    s.got(0, 50, true);
    s.wake_until(from + 2s, {{}, {40, 40}, {}});
    REQUIRE(s.observer.told.size() == 2);
    CHECK(s.observer.told[1].bytes == 190);
    CHECK(s.observer.told[1].total == 1000);
    CHECK(s.observer.told[1].percent() == 19);
    CHECK(s.observer.told[1].elapsed == 2s);
    CHECK(s.observer.lanes[1][0].doing == lane_activity::requesting);
    CHECK(s.observer.lanes[1][0].bytes == 50);
    CHECK(s.observer.lanes[1][0].bytes_asked == segment{500, 999});
    CHECK(s.observer.lanes[1][1].doing == lane_activity::receiving);
    CHECK(s.observer.lanes[1][1].bytes == 140);
    CHECK(s.observer.lanes[1][1].bytes_asked == segment{50, 499});

    s.wake_until(from + 5s, {{}, {40, 41}, {}});
    CHECK(s.observer.told.size() == 5);
}

TEST_CASE("progress goes on while jobs run, at a hundred percent") {
    script s{even_split{1}, 1, {.progress = 1s}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 50));
    s.done(job::open);
    s.now += 1ms;
    s.got(0, 50, true);
    s.wake_until(s.now + 2s);
    // Once with the last byte, then at the intervals.
    REQUIRE(s.observer.told.size() == 3);
    for (auto const& p : s.observer.told) {
        CHECK(p.bytes == 50);
        CHECK(p.percent() == 100);
    }
    s.done(job::sync);
    s.done(job::publish);
    CHECK(s.finished);
}

TEST_CASE("the last byte is told of once, also when no time has passed") {
    script s{even_split{1}, 1, {.verifier = {.wants = true}, .progress = 1s}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 50));
    s.done(job::open);
    s.got(0, 50, true);
    for (job const j : {job::hash, job::finish_hash, job::sync, job::publish}) s.done(j);
    REQUIRE(s.finished);
    REQUIRE(s.observer.told.size() == 1);
    CHECK(s.observer.told[0].percent() == 100);
}

TEST_CASE("an observer that wants no progress is told none") {
    script s{even_split{2}};
    start_two_lanes(s);
    s.wake_until(s.now + 1h);
    CHECK(s.observer.told.empty());
}

TEST_CASE("the report says how long it took") {
    script s{even_split{1}, 1};
    s.start();
    s.now += 2s;
    s.connected(0);
    s.now += 3s;
    s.reply(0, part({0, 49}, 50));
    s.done(job::open);
    s.now += 5s;
    s.got(0, 50, true);
    s.now += 7s;
    s.done(job::sync);
    s.now += 11s;
    s.done(job::publish);
    CHECK(s.engine.report().to_first_reply == 5s);
    CHECK(s.engine.report().to_last_byte == 10s);
    CHECK(s.engine.report().elapsed == 28s);
}
