// SPDX-License-Identifier: BSL-1.0
//
// The request for the next segment leaves before the present one has come whole: when, over which
// connections, and what becomes of it where things go another way.

#include <cleave/engine/engine.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>

#include "script.hpp"

#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

using namespace cleave_test;
using cleave::even_split;
using cleave::fixed_size;

namespace {

// One lane is at its second reply of a hundred bytes, of an object of a thousand.
template <class Planner>
std::string second_reply(script<Planner>& s, std::string const& more = {}) {
    s.start();
    s.connected(0);
    s.reply(0, part({0, 99}, 1000));
    s.done(job::open);
    s.got(0, 100, true);
    REQUIRE(range_of(s.sent) == "100-199");
    return s.reply(0, part({100, 199}, 1000, more));
}

// Two lanes, each at its second reply of a hundred bytes; a byte takes lane 0 a millisecond, and
// lane 1 `slower` times as long.
void second_replies(script<fixed_size>& s, std::uint64_t size, int slower = 1) {
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 99}, size));
    s.done(job::open);
    s.reply(1, part({100, 199}, size));
    s.now += 100ms;
    REQUIRE(s.got(0, 100, true) == "send 0 200-299 reused");
    s.now += (slower - 1) * 100ms;
    REQUIRE(s.got(1, 100, true) == "send 1 300-399 reused");
}

} // namespace

TEST_CASE("the next segment is asked for while the last bytes of one come") {
    script s{fixed_size{250}, 1, {.windows = {.grant = 100, .opening = 50}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 249}, 1000));
    s.done(job::open);
    // It is not known yet whether the server answers in order.
    s.got(0, 100);
    CHECK(s.got(0, 100) == "receive 0 200-249 last");
    CHECK(s.got(0, 50, true) == "send 0 250-499 reused");
    CHECK(s.reply(0, part({250, 499}, 1000)) == "receive 0 250-349 first");
    CHECK(s.got(0, 100) == "receive 0 350-449");
    CHECK(s.got(0, 100) == "send 0 500-749 reused ahead, receive 0 450-499 last");
    CHECK(s.engine.lanes()[0].ahead == std::vector{segment{500, 749}});
    CHECK(s.engine.ledger().owed().bytes() == 250);
    CHECK(s.engine.report().requests == 3);
    CHECK(s.engine.report().requests_ahead == 1);
    SECTION("and its reply is the next") {
        CHECK(s.got(0, 50, true) == "read next 0");
        CHECK(s.reply(0, "HTTP/1.1 206 x\r\n") == "read 0");
        CHECK(s.engine.lanes()[0].left == segment{500, 749});
        CHECK(s.engine.lanes()[0].ahead.empty());
        CHECK(s.reply(0, part({500, 749}, 1000).substr(16)) == "receive 0 500-599 first");
    }
    SECTION("and it may have come along with the last bytes of this one") {
        CHECK(s.tell(event::grant_ended{.lane = 0,
                                        .bytes = 50,
                                        .body_ended = true,
                                        .bytes_left_over = true,
                                        .failed = {}}) == "read next 0");
    }
    SECTION("and if the body is longer than it said, nothing of the connection is believed") {
        CHECK(s.got(0, 50) == "close 0, connect 0");
        CHECK(s.engine.ledger().owed().bytes() == 500);
    }
    SECTION("and a reply for other bytes is one to something else, and costs no try") {
        s.got(0, 50, true);
        CHECK(s.reply(0, part({501, 749}, 1000)) == "close 0, connect 0");
        CHECK(s.engine.ledger().owed().bytes() == 500);
        CHECK(s.engine.report().retries == 0);
        CHECK(s.engine.report().stale_connections == 1);
        CHECK(s.connected(0) == "send 0 500-749");
    }
    SECTION("and one that is no reply costs none either") {
        s.got(0, 50, true);
        CHECK(s.reply(0, "SSH-2.0-x\r\n") == "close 0, connect 0");
        CHECK(s.engine.report().retries == 0);
        CHECK(s.connected(0) == "send 0 500-749");
        CHECK(s.reply(0, "SSH-2.0-x\r\n") == "close 0, connect 0");
        CHECK(s.engine.report().retries == 1);
    }
}

TEST_CASE("it is asked for as much earlier as a reply takes") {
    script s{fixed_size{500}, 1, {.windows = {.grant = 100, .opening = 50}}};
    s.start();
    s.connected(0);
    s.now += 100ms; // a reply takes as long as a hundred bytes
    s.reply(0, part({0, 499}, 2000));
    s.done(job::open);
    for (int i = 0; i < 4; ++i) {
        s.now += 100ms;
        s.got(0, 100);
    }
    s.now += 100ms;
    CHECK(s.got(0, 100, true) == "send 0 500-999 reused");
    s.now += 100ms;
    CHECK(s.reply(0, part({500, 999}, 2000)) == "receive 0 500-599 first");
    s.now += 100ms;
    CHECK(s.got(0, 100) == "receive 0 600-699");
    s.now += 100ms;
    CHECK(s.got(0, 100) == "receive 0 700-799");
    s.now += 100ms;
    CHECK(s.got(0, 100) == "send 0 1000-1499 reused ahead, receive 0 800-899");
    s.now += 100ms;
    CHECK(s.got(0, 100) == "receive 0 900-999 last");
}

TEST_CASE("nothing is asked ahead of who might not answer in order, or end by himself") {
    SECTION("the connection ends with this reply") {
        script s{fixed_size{100}, 1};
        CHECK(second_reply(s, "Connection: close\r\n") == "receive 0 100-199 first last");
        CHECK(s.got(0, 100, true) == "close 0, connect 0");
    }
    SECTION("the body has no length") {
        script s{fixed_size{100}, 1};
        s.start();
        s.connected(0);
        s.reply(0, part({0, 99}, 1000));
        s.done(job::open);
        s.got(0, 100, true);
        CHECK(s.reply(0, head(206, "Content-Range: bytes 100-199/1000\r\nETag: \"v1\"\r\n"
                                   "Transfer-Encoding: chunked\r\n")) ==
              "receive 0 100-199 first last");
    }
    SECTION("the connection is a new one") {
        script s{fixed_size{100}, 1};
        second_reply(s);
        CHECK(s.broke(0, 100) == "close 0, connect 0");
        CHECK(s.connected(0) == "send 0 200-299");
        CHECK(s.reply(0, part({200, 299}, 1000)) == "receive 0 200-299 first last");
    }
    SECTION("an ordered sink decides what comes next") {
        script s{fixed_size{100}, 1, {.sink = {.window = 1000, .chunk = 10}}};
        CHECK(second_reply(s).find("ahead") == std::string::npos);
    }
    SECTION("another mirror may be the better one") {
        auto what = cleave::request{"http://h/x"}.with_mirror("http://g/x");
        script s{fixed_size{100}, 1, {}, what};
        CHECK(second_reply(s) == "receive 0 100-199 first last");
    }
    SECTION("the caller does not want it") {
        script s{fixed_size{100}, 1, {.windows = {.ahead = 0}}};
        CHECK(second_reply(s) == "receive 0 100-199 first last");
        CHECK(s.got(0, 100, true) == "send 0 200-299 reused");
    }
    SECTION("there is nothing left to ask for") {
        script s{even_split{2}, 1};
        s.start();
        s.connected(0);
        s.reply(0, part({0, 49}, 100));
        s.done(job::open);
        CHECK(s.got(0, 50, true) == "send 0 50-99 reused");
        CHECK(s.reply(0, part({50, 99}, 100)) == "receive 0 50-99 first last");
    }
    SECTION("fewer lanes are wanted") {
        std::uint32_t wish = 2;
        script s{fixed_size{100}, 2, {.wish = &wish}};
        second_replies(s, 10'000);
        wish = 1;
        s.wake();
        CHECK(s.reply(0, part({200, 299}, 10'000)) == "receive 0 200-299 first last");
    }
}

TEST_CASE("near the end lanes decide at the last moment") {
    SECTION("far from it they do not") {
        script s{fixed_size{100}, 2};
        second_replies(s, 10'000);
        CHECK(s.reply(0, part({200, 299}, 10'000)) ==
              "send 0 400-499 reused ahead, receive 0 200-299 first last");
    }
    SECTION("what is left is as much as the two have begun") {
        script s{fixed_size{100}, 2};
        second_replies(s, 500);
        CHECK(s.reply(0, part({200, 299}, 500)) == "receive 0 200-299 first last");
    }
    SECTION("a slow lane would still be at it when the others are done") {
        script s{fixed_size{100}, 2};
        second_replies(s, 1500, 20);
        CHECK(s.reply(1, part({300, 399}, 1500)) == "receive 1 300-399 first last");
        CHECK(s.reply(0, part({200, 299}, 1500)) ==
              "send 0 400-499 reused ahead, receive 0 200-299 first last");
    }
}

TEST_CASE("what waits behind a slow lane is taken by one that has nothing to do") {
    script s{fixed_size{100}, 2};
    second_replies(s, 700);
    CHECK(s.reply(0, part({200, 299}, 700)) ==
          "send 0 400-499 reused ahead, receive 0 200-299 first last");
    CHECK(s.reply(1, part({300, 399}, 700)) ==
          "send 1 500-599 reused ahead, receive 1 300-399 first last");
    s.now += 100ms;
    CHECK(s.got(1, 100, true) == "read next 1");
    CHECK(s.reply(1, part({500, 599}, 700)) ==
          "send 1 600-699 reused ahead, receive 1 500-599 first last");
    s.now += 100ms;
    CHECK(s.got(1, 100, true) == "read next 1");
    s.reply(1, part({600, 699}, 700));
    // Nothing has come over lane 0 for a second.
    s.now += 1s;
    CHECK(s.got(1, 100, true) == "send 1 400-499 reused");
    REQUIRE(s.observer.stolen.size() == 1);
    CHECK(s.observer.stolen[0].bytes == segment{400, 499});
    CHECK(s.engine.report().steals == 1);
    // The reply to that would come over its connection all the same.
    CHECK(s.got(0, 100, true) == "close 0");
}

TEST_CASE("a connection that ends between the two costs a new one, and no more is asked ahead") {
    script s{fixed_size{100}, 1, {.renewal = {.wait = 5s}}};
    CHECK(second_reply(s) == "send 0 200-299 reused ahead, receive 0 100-199 first last");
    SECTION("after the body") {
        CHECK(s.got(0, 100, true) == "read next 0");
        CHECK(s.failed(0, error::closed_before_reply, phase::head) == "close 0, connect 0");
        CHECK(s.engine.report().stale_connections == 1);
        CHECK(s.engine.report().retries == 0);
    }
    // The bytes before these have come by then.
    SECTION("with a reset that takes what was left of the body along") {
        CHECK(s.broke(0, 60) == "close 0");
        CHECK(s.engine.ledger().owed().bytes() == 840);
        CHECK(s.wake_until(s.now + 6s) == "connect 0");
    }
    std::uint64_t const at = s.engine.ledger().owed().front().first;
    segment const rest{at, at / 100 * 100 + 99};
    CHECK(s.connected(0) == "send 0 " + action_text::of(rest));
    s.reply(0, part(rest, 1000));
    segment const next{rest.last + 1, rest.last + 100};
    CHECK(s.got(0, rest.size(), true) == "send 0 " + action_text::of(next) + " reused");
    CHECK(s.reply(0, part(next, 1000)) == "receive 0 " + action_text::of(next) + " first last");
}

TEST_CASE("a pause is kept by what was asked ahead, too") {
    script s{fixed_size{100}, 1};
    second_reply(s);
    CHECK(s.pause() == "revoke 0");
    CHECK(s.revoked(0, 40) == "");
    CHECK(s.resume() == "receive 0 140-199 last");
    CHECK(s.got(0, 60, true) == "read next 0");
    s.pause();
    CHECK(s.reply(0, part({200, 299}, 1000)) == "");
    CHECK(s.resume().find("receive 0 200-299 first last") != std::string::npos);
}

TEST_CASE("where a reply takes longer than a segment, several are asked for ahead") {
    script s{fixed_size{100}, 1, {.windows = {.grant = 50, .opening = 50}}};
    s.start();
    s.connected(0);
    s.now += 400ms;
    s.reply(0, part({0, 99}, 2000));
    s.done(job::open);
    s.now += 100ms;
    s.got(0, 50);
    s.now += 100ms;
    s.got(0, 50, true);
    s.now += 400ms;
    // In the time of a reply come two hundred bytes; twice as many, and a segment, are on their
    // way. That those come at once says nothing of how long replies take.
    CHECK(s.reply(0, part({100, 199}, 2000)) ==
          "send 0 200-299 reused ahead, receive 0 100-149 first");
    CHECK(s.sent.find("Range: bytes=500-599\r\n") != std::string::npos);
    for (std::uint64_t at = 100; at < 1400; at += 100) {
        auto const& ahead = s.engine.lanes()[0].ahead;
        CHECK(ahead.size() == 4);
        CHECK(ahead.front() == segment{at + 100, at + 199});
        CHECK(ahead.back() == segment{at + 400, at + 499});
        s.now += 100ms;
        CHECK(s.got(0, 50) == "receive 0 " + action_text::of({at + 50, at + 99}) + " last");
        s.now += 100ms;
        CHECK(s.got(0, 50, true) == "read next 0");
        CHECK(s.reply(0, part({at + 100, at + 199}, 2000)) ==
              "send 0 " + action_text::of({at + 500, at + 599}) + " reused ahead, receive 0 " +
                  action_text::of({at + 100, at + 149}) + " first");
    }
    SECTION("behind a refusal come other replies, so that nobody waits there") {
        s.now += 200ms;
        s.got(0, 50);
        CHECK(s.got(0, 50, true) == "read next 0");
        CHECK(s.reply(0, head(503, "Content-Length: 0\r\nRetry-After: 1\r\n")) == "close 0");
        CHECK(s.engine.lanes()[0].ahead.empty());
        CHECK(s.engine.ledger().owed().bytes() == 2000 - s.engine.report().bytes);
        CHECK(s.wake_until(s.now + 1s) == "connect 0");
    }
    SECTION("when it ends, all of it is owed again") {
        std::uint64_t const in_place = s.engine.report().bytes;
        CHECK(s.broke(0, 0) == "close 0, connect 0");
        CHECK(s.engine.ledger().owed().bytes() == 2000 - in_place);
    }
}
