// SPDX-License-Identifier: BSL-1.0
//
// What an engine decides, one event after the other: who connects when, who gets which bytes, who
// helps whom, in which order a download ends, and that every trouble ends it by name or is
// overcome.

#include <cleave/engine/engine.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/listed_segments.hpp>

#include "script.hpp"

#include <support/catch.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;
using cleave::even_split;
using cleave::fixed_size;
using cleave::listed_segments;
using cleave::max_offset;

namespace {

template <class Planner>
std::error_code outcome(script<Planner> const& s) {
    REQUIRE(s.finished);
    auto const& failed = s.engine.report().failed;
    return failed ? failed->code : std::error_code{};
}
template <class Planner>
std::string detail_of(script<Planner> const& s) {
    auto const& failed = s.engine.report().failed;
    return failed ? failed->detail : "no failure";
}

} // namespace

// ---- the beginning ------------------------------------------------------------------------

TEST_CASE("the first lane connects alone, the others once it stands") {
    script s{even_split{8}, 4};
    CHECK(s.start() == "connect 0");
    CHECK(s.connected(0) == "send 0 0-49, connect 1, connect 2, connect 3");
    CHECK(s.connected(2) == "");
    CHECK(s.connected(1) == "");
    CHECK(s.engine.report().connections == 3);
    CHECK(s.engine.report().requests == 1);
}

TEST_CASE("no more lanes connect than the planner can make segments") {
    script s{even_split{2}, 8};
    s.start();
    CHECK(s.connected(0) == "send 0 0-49, connect 1");
    script one{even_split{1}, 8};
    one.start();
    CHECK(one.connected(0) == "send 0 0-49");
}

TEST_CASE("no more lanes connect than there is left to ask for") {
    script s{fixed_size{400}, 8};
    s.start();
    CHECK(s.connected(0) == "send 0 0-399, connect 1, connect 2, connect 3, connect 4, connect 5, "
                            "connect 6, connect 7");
    script small{even_split{8}, 8};
    small.start();
    small.connected(0);
    // The opening request brought all but three bytes: of the lanes that wait three get one each.
    for (lane_id i = 1; i < 8; ++i) small.connected(i);
    CHECK(small.reply(0, part({0, 49}, 53)) == "open 53");
    CHECK(small.done(job::open) == "receive 0 0-49 first last, send 1 50-52 reused");
}

TEST_CASE("the opening request is bounded, and begins with the first byte wanted") {
    script by_window{even_split{8}};
    by_window.start();
    CHECK(by_window.connected(0) == "send 0 0-49, connect 1");

    script by_planner{fixed_size{33}};
    by_planner.start();
    CHECK(by_planner.connected(0) == "send 0 0-32, connect 1");

    script by_list{listed_segments{{0, 99}, {100, 299}}};
    by_list.start();
    CHECK(by_list.connected(0) == "send 0 0-99, connect 1");

    script of_a_part{even_split{8}, 2, {}, cleave::request{"http://h/x"}.only({1000, 1999})};
    of_a_part.start();
    CHECK(of_a_part.connected(0) == "send 0 1000-1049, connect 1");

    script of_little{even_split{8}, 2, {}, cleave::request{"http://h/x"}.only({1000, 1009})};
    of_little.start();
    CHECK(of_little.connected(0) == "send 0 1000-1009, connect 1");

    script of_the_end{
        even_split{8}, 2, {}, cleave::request{"http://h/x"}.only({max_offset, max_offset})};
    of_the_end.start();
    // The last offset there is can only be asked for as "from here on".
    CHECK(of_the_end.connected(0) == "send 0 18446744073709551615-, connect 1");
}

TEST_CASE("later requests carry the validator of the first reply") {
    script s{even_split{2}};
    s.start();
    s.connected(0);
    CHECK(s.sent.find("If-Range") == std::string::npos);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.sent.find("\r\nIf-Range: \"v1\"\r\n") != std::string::npos);
    CHECK(s.sent.find("\r\nRange: bytes=50-499\r\n") != std::string::npos);
}

// ---- the way through ----------------------------------------------------------------------

TEST_CASE("a download goes from the first connection to the published file") {
    script s{even_split{2}};
    CHECK(s.start() == "connect 0");
    CHECK(s.connected(0) == "send 0 0-49, connect 1");
    CHECK(s.connected(1) == "");
    // No byte is granted before the sink is ready, and none but the first asked for.
    CHECK(s.reply(0, part({0, 49}, 400)) == "open 400");
    CHECK(s.done(job::open) == "receive 0 0-49 first last, send 1 50-199 reused");
    CHECK(s.reply(1, part({50, 199}, 400)) == "receive 1 50-149 first");
    CHECK(s.got(0, 50, true) == "send 0 200-399 reused");
    CHECK(s.got(1, 100) == "receive 1 150-199 last");
    CHECK(s.reply(0, part({200, 399}, 400)) == "receive 0 200-299 first");
    CHECK(s.got(1, 50, true) == "");
    CHECK(s.got(0, 100) == "receive 0 300-399 last");
    CHECK(s.got(0, 100, true) == "close 0, close 1, sync 400");
    CHECK(s.done(job::sync) == "publish");
    CHECK(s.done(job::publish) == "finish");

    auto const& r = s.engine.report();
    CHECK_FALSE(r.failed);
    CHECK(r.bytes == 400);
    CHECK(r.identity.size == 400);
    CHECK(r.identity.validator.text == "\"v1\"");
    CHECK(r.ranges);
    CHECK(r.length_verified);
    CHECK_FALSE(r.digest_verified);
    CHECK(r.lanes == 2);
    CHECK(r.connections == 2);
    CHECK(r.requests == 3);
    CHECK(r.retries == 0);
    CHECK(r.stale_connections == 0);
    CHECK(r.restarts == 0);
    CHECK(r.bytes_twice == 0);
    CHECK(r.grants == 5);
    REQUIRE(s.observer.known.size() == 1);
    CHECK(s.observer.known[0].size == 400);
    CHECK(s.observer.ranges[0]);
    CHECK(s.observer.attempts.empty());
    CHECK(s.engine.ledger().complete());
    CHECK(s.engine.ledger().owed().empty());
}

TEST_CASE("a part of an object is fetched like a whole one, and sized by the part") {
    script s{even_split{2}, 1, {}, cleave::request{"http://h/x"}.only({100, 299})};
    s.start();
    CHECK(s.connected(0) == "send 0 100-149");
    CHECK(s.reply(0, part({100, 149}, 1000)) == "open 200");
    CHECK(s.done(job::open) == "receive 0 100-149 first last");
    CHECK(s.got(0, 50, true) == "send 0 150-199 reused");
    CHECK(s.reply(0, part({150, 199}, 1000)) ==
          "send 0 200-299 reused ahead, receive 0 150-199 first last");
    CHECK(s.got(0, 50, true) == "read next 0");
    CHECK(s.reply(0, part({200, 299}, 1000)) == "receive 0 200-299 first last");
    CHECK(s.got(0, 100, true) == "close 0, sync 200");
    CHECK(s.engine.report().bytes == 200);
    CHECK(s.engine.report().identity.size == 1000);
}

TEST_CASE("a part that reaches beyond the object ends with it") {
    script s{even_split{1}, 1, {}, cleave::request{"http://h/x"}.only({900, 5000})};
    s.start();
    CHECK(s.connected(0) == "send 0 900-949");
    CHECK(s.reply(0, part({900, 949}, 1000)) == "open 100");
    CHECK(s.done(job::open) == "receive 0 900-949 first last");
    CHECK(s.got(0, 50, true) == "send 0 950-999 reused");
}

TEST_CASE("jobs end a download in their order: hash, digest, sync, publish") {
    script s{even_split{1}, 1, {.verifier = {.wants = true}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    CHECK(s.done(job::open) == "receive 0 0-49 first last");
    CHECK(s.got(0, 50, true) == "send 0 50-999 reused");
    CHECK(s.reply(0, part({50, 999}, 1000)) == "receive 0 50-149 first");
    // Hashing follows the bytes that are there without a gap, one job at a time.
    CHECK(s.got(0, 100) == "receive 0 150-249, hash 0-149");
    CHECK(s.got(0, 100) == "receive 0 250-349");
    CHECK(s.got(0, 100) == "receive 0 350-449");
    CHECK(s.got(0, 100) == "receive 0 450-549");
    CHECK(s.got(0, 100) == "receive 0 550-649");
    CHECK(s.done(job::hash) == "hash 150-449"); // no more than 300 at once
    CHECK(s.done(job::hash) == "hash 450-549");
    CHECK(s.got(0, 100) == "receive 0 650-749");
    CHECK(s.got(0, 100) == "receive 0 750-849");
    CHECK(s.got(0, 100) == "receive 0 850-949");
    CHECK(s.got(0, 100) == "receive 0 950-999 last");
    CHECK(s.got(0, 50, true) == "close 0");
    CHECK(s.done(job::hash) == "hash 550-849");
    CHECK(s.done(job::hash) == "hash 850-999"); // the last one however small
    CHECK(s.done(job::hash) == "finish_hash");
    CHECK(s.done(job::finish_hash) == "sync 1000");
    CHECK(s.done(job::sync) == "publish");
    CHECK(s.done(job::publish) == "finish");
    CHECK(s.engine.report().digest_verified);
    CHECK(outcome(s) == std::error_code{});
}

TEST_CASE("bytes behind a gap are not hashed") {
    script s{even_split{2}, 2, {.verifier = {.wants = true}}};
    start_two_lanes(s);
    CHECK(s.got(1, 100) == "receive 1 150-249"); // bytes 0-49 are not there yet
    CHECK(s.got(1, 100) == "receive 1 250-349");
    CHECK(s.got(0, 50, true) == "hash 0-249, send 0 500-999 reused");
}

TEST_CASE("a part's bytes are hashed and synced counting from its first") {
    script s{even_split{1},
             1,
             {.verifier = {.wants = true}},
             cleave::request{"http://h/x"}.only({700, 749})};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, part({700, 749}, 1000)) == "open 50");
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "close 0, hash 0-49");
    CHECK(s.done(job::hash) == "finish_hash");
    CHECK(s.done(job::finish_hash) == "sync 50");
}

TEST_CASE("bytes with another digest are never published (L03)") {
    script s{even_split{1}, 1, {.verifier = {.wants = true, .right = false}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 19}, 20));
    s.done(job::open);
    CHECK(s.got(0, 20, true) == "close 0, hash 0-19");
    CHECK(s.done(job::hash) == "finish_hash");
    CHECK(s.done(job::finish_hash) == "abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::digest_mismatch);
    CHECK_FALSE(s.engine.report().digest_verified);
}

TEST_CASE("an empty object is published without a request for bytes (H01)") {
    std::string const reply =
        GENERATE(head(416, "Content-Range: bytes */0\r\nContent-Length: 0\r\n"), whole(0));
    bool const verified = GENERATE(false, true);
    script s{even_split{8}, 2, {.verifier = {.wants = verified}}};
    s.start();
    s.connected(0);
    s.connected(1);
    CHECK(s.reply(0, reply) == "close 0, open 0, close 1");
    if (verified) {
        CHECK(s.done(job::open) == "finish_hash");
        CHECK(s.done(job::finish_hash) == "sync 0");
    } else {
        CHECK(s.done(job::open) == "sync 0");
    }
    CHECK(s.done(job::sync) == "publish");
    CHECK(s.done(job::publish) == "finish");
    CHECK(outcome(s) == std::error_code{});
    CHECK(s.engine.report().bytes == 0);
    CHECK(s.engine.report().identity.size == 0);
    CHECK(s.engine.report().lanes == 0);
}

// ---- replies ------------------------------------------------------------------------------

TEST_CASE("a head may come in pieces of any size (D11)") {
    std::string const text = part({0, 49}, 50);
    script s{even_split{1}, 1};
    s.start();
    s.connected(0);
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
        // The bytes are gone when the engine has been told.
        std::string const piece = text.substr(i, 1);
        REQUIRE(s.reply(0, piece) == "read 0");
    }
    CHECK(s.reply(0, text.substr(text.size() - 1) + "body") == "open 50");
    CHECK(s.done(job::open) == "receive 0 0-49 first last");
    // Of the last bytes read, only one was the head's.
    CHECK(s.received.head_size == 1);
    CHECK(s.received.framing == cleave::body_framing{cleave::body_framing::kind::length, 50});
}

TEST_CASE("a reply shorter than asked for is taken, and the rest owed again (A07)") {
    script s{even_split{2}};
    s.start();
    s.connected(0);
    s.connected(1);
    // Of the opening too.
    CHECK(s.reply(0, part({0, 9}, 1000)) == "open 1000");
    CHECK(s.done(job::open) == "receive 0 0-9 first last, send 1 10-499 reused");
    CHECK(s.reply(1, part({10, 99}, 1000)) == "receive 1 10-99 first last");
    CHECK(s.got(0, 10, true) == "send 0 100-499 reused");
    CHECK(s.got(1, 90, true) == "send 1 500-999 reused");
    CHECK(s.engine.report().retries == 0);
}

TEST_CASE("of a longer reply only what was asked for is taken, then the connection closed (A08)") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 99}, 1000));
    CHECK(s.done(job::open) == "receive 0 0-49 first last");
    CHECK(s.got(0, 50) == "close 0, connect 0");
    CHECK(s.connected(0) == "send 0 50-499");
}

TEST_CASE("a connection is kept only after exactly its body") {
    struct row {
        char const* more;
        bool body_ended;
        bool left_over;
        bool kept;
    };
    auto const r =
        GENERATE(row{"", true, false, true}, row{"", true, true, false},
                 row{"", false, false, false}, row{"Connection: close\r\n", true, false, false});
    CAPTURE(r.more, r.body_ended, r.left_over);
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000, r.more));
    s.done(job::open);
    CHECK(s.tell(event::grant_ended{.lane = 0,
                                    .bytes = 50,
                                    .body_ended = r.body_ended,
                                    .bytes_left_over = r.left_over,
                                    .failed = {}}) ==
          (r.kept ? "send 0 50-499 reused" : "close 0, connect 0"));
}

TEST_CASE("a reply for other bytes is closed before a byte is written, and asked for again (A04)") {
    script s{even_split{2}, 2, {.renewal = {.wait = 1s}}};
    start_two_lanes(s);
    CHECK(s.got(0, 50, true) == "send 0 500-999 reused");
    CHECK(s.reply(0, part({501, 999}, 1000)) == "close 0");
    REQUIRE(s.observer.attempts.size() == 1);
    CHECK(s.observer.attempts[0].code == error::range_mismatch);
    CHECK(s.observer.attempts[0].again_after == 1s);
    CHECK(s.engine.report().retries == 1);
    // What it held is there for others, here for itself.
    CHECK(s.wake_until(s.now + 1s) == "connect 0");
    CHECK(s.connected(0) == "send 0 500-999");
}

TEST_CASE("a reply of another object ends the download (B02)") {
    script s{even_split{2}};
    start_two_lanes(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, head(206, "Content-Range: bytes 500-999/1000\r\nContent-Length: 500\r\n"
                               "ETag: \"v2\"\r\n")) == "close 0, close 1, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::object_changed);
}

TEST_CASE("the whole object in place of its beginning is taken by one lane (A01)") {
    script s{even_split{4}, 4};
    s.start();
    s.connected(0);
    s.connected(1);
    s.connected(2);
    CHECK(s.reply(0, whole(250)) == "close 1, close 2, close 3, open 250");
    CHECK(s.done(job::open) == "receive 0 0-99 first");
    CHECK(s.got(0, 100) == "receive 0 100-199");
    CHECK(s.got(0, 100) == "receive 0 200-249 last");
    CHECK(s.got(0, 50, true) == "close 0, sync 250");
    CHECK(s.done(job::sync) == "publish");
    CHECK(s.done(job::publish) == "finish");
    CHECK(outcome(s) == std::error_code{});
    CHECK_FALSE(s.engine.report().ranges);
    CHECK(s.observer.ranges == std::vector<bool>{false});
    CHECK(s.engine.report().requests == 1);
    CHECK(s.engine.report().lanes == 1);
}

TEST_CASE("the beginning of a whole object is skipped where a part is wanted") {
    script s{even_split{4}, 1, {}, cleave::request{"http://h/x"}.only({300, 449})};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, whole(1000)) == "open 150");
    CHECK(s.done(job::open) == "receive 0 300-399 first skip 300");
    CHECK(s.got(0, 100) == "receive 0 400-449 last");
    CHECK(s.got(0, 50) == "close 0, sync 150");
}

TEST_CASE("a whole object sent later on is refused, and tried again (A02)") {
    script s{even_split{2}, 2, {.renewal = {.tries = 2, .wait = 1s}}};
    start_two_lanes(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, whole(1000)) == "close 0");
    CHECK(s.observer.attempts.at(0).code == error::range_ignored);
    // Nothing of it was written, and the other lane goes on.
    CHECK(s.engine.report().bytes == 50);
    CHECK(s.got(1, 100) == "receive 1 150-249");
    CHECK(s.wake_until(s.now + 1s) == "connect 0");
    s.connected(0);
    CHECK(s.reply(0, whole(1000)) == "close 0");
    CHECK_FALSE(s.observer.attempts.at(1).again_after);
    // It is given up. Lane 1 does its share as well.
    s.got(1, 100);
    s.got(1, 100);
    CHECK(s.got(1, 100) == "receive 1 450-499 last");
    CHECK(s.got(1, 50, true) == "send 1 500-999 reused");
}

TEST_CASE("a server that refuses any range is asked for the whole (A19)") {
    script s{even_split{2}, 2};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, head(416, "Content-Length: 0\r\n")) == "close 0, connect 0");
    // One lane asks what the object is, and no other does so in its place.
    CHECK(s.connected(1) == "");
    CHECK(s.connected(0) == "send 0 whole");
    CHECK(s.reply(0, whole(70)) == "close 1, open 70");
    CHECK(s.done(job::open) == "receive 0 0-69 first last");
    CHECK(s.got(0, 70, true) == "close 0, sync 70");
    CHECK_FALSE(s.engine.report().ranges);
}

TEST_CASE("a part of an object of unknown size cannot be planned: the whole is asked for (A13)") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, head(206, "Content-Range: bytes 0-49/*\r\nContent-Length: 50\r\n")) ==
          "close 0, connect 0");
    CHECK(s.connected(0) == "send 0 whole");
}

TEST_CASE("an object without a length ends where its body ends (C15)") {
    bool const chunked = GENERATE(true, false);
    script s{even_split{2}, 2};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, head(200, chunked ? "Transfer-Encoding: chunked\r\n" : "")) ==
          "close 1, open ?");
    CHECK(s.done(job::open) == "receive 0 0-99 first");
    CHECK(s.got(0, 100) == "receive 0 100-199");
    CHECK(s.got(0, 34, true) == "close 0, sync 134");
    CHECK(s.done(job::sync) == "publish");
    CHECK(s.done(job::publish) == "finish");
    CHECK(outcome(s) == std::error_code{});
    CHECK(s.engine.report().identity.size == 134);
    CHECK(s.engine.report().bytes == 134);
    // The end of the connection may have been an accident; the end of chunks is none.
    CHECK(s.engine.report().length_verified == chunked);
}

TEST_CASE("an object without a length may end with a grant, or be empty") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, head(200, "Transfer-Encoding: chunked\r\n"));
    s.done(job::open);
    SECTION("with a grant") {
        CHECK(s.got(0, 100) == "receive 0 100-199");
        CHECK(s.got(0, 0, true) == "close 0, sync 100");
    }
    SECTION("with a grant that said so") { CHECK(s.got(0, 100, true) == "close 0, sync 100"); }
    SECTION("empty") {
        CHECK(s.got(0, 0, true) == "close 0, sync 0");
        CHECK(s.done(job::sync) == "publish");
        CHECK(s.done(job::publish) == "finish");
        CHECK(s.engine.report().identity.size == 0);
        CHECK(outcome(s) == std::error_code{});
    }
}

TEST_CASE("an object may end before the part that is wanted begins") {
    script s{even_split{2}, 1, {}, cleave::request{"http://h/x"}.only({100, 199})};
    s.start();
    s.connected(0);
    s.reply(0, head(200, "Transfer-Encoding: chunked\r\n"));
    CHECK(s.done(job::open) == "receive 0 100-199 first skip 100 last");
    CHECK(s.got(0, 0, true) == "close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::range_not_satisfiable);
    // It has at most a hundred bytes, and nobody counted how many.
    CHECK_FALSE(s.engine.report().identity.size);
    CHECK(detail_of(s).find("has 100 bytes") == std::string::npos);
}

TEST_CASE("a server that refuses the whole as it refused a range has nothing to give") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, head(416, "Content-Length: 0\r\n"));
    CHECK(s.connected(0) == "send 0 whole");
    CHECK(s.reply(0, head(416, "Content-Length: 0\r\n")) == "close 0, finish");
    CHECK(outcome(s) == error::unexpected_status);
}

TEST_CASE("a body that ends before its length is not an end") {
    script s{even_split{1}, 1, {.renewal = {.wait = 1s}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.got(0, 20, true) == "close 0");
    CHECK(s.observer.attempts.at(0).code == error::closed_in_body);
    CHECK(s.wake_until(s.now + 1s) == "connect 0");
    CHECK(s.connected(0) == "send 0 20-999");
}

TEST_CASE("nothing is hashed as long as the length is not known") {
    // A sink that grows may have to move what it holds.
    script s{even_split{2}, 1, {.verifier = {.wants = true}}};
    s.start();
    s.connected(0);
    s.reply(0, head(200, "Transfer-Encoding: chunked\r\n"));
    s.done(job::open);
    CHECK(s.got(0, 100) == "receive 0 100-199");
    CHECK(s.got(0, 100) == "receive 0 200-299");
    CHECK(s.got(0, 10, true) == "close 0, hash 0-209");
}

TEST_CASE("a date is not sent beside a weak entity tag, but compared") {
    std::string const dates = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                              "Date: Mon, 07 Nov 1994 08:49:37 GMT\r\n";
    bool const weak = GENERATE(false, true);
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, head(206, "Content-Range: bytes 0-49/1000\r\nContent-Length: 50\r\n" + dates +
                             (weak ? "ETag: W/\"v1\"\r\n" : "")));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "send 0 50-499 reused");
    CHECK((s.sent.find("\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != std::string::npos) ==
          !weak);
    CHECK((s.sent.find("If-Range") != std::string::npos) == !weak);
    CHECK(s.reply(0, head(206, "Content-Range: bytes 50-499/1000\r\nContent-Length: 450\r\n"
                               "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\r\n")) ==
          "close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::object_changed);
}

// ---- limits -------------------------------------------------------------------------------

TEST_CASE("an object above the limit is refused before the sink is touched (H03, H04)") {
    cleave::request r = "http://h/x";
    r.max_size = 999;
    script s{even_split{2}, 2, {}, r};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, part({0, 49}, 1000)) == "close 0, close 1, finish");
    CHECK(outcome(s) == error::object_too_large);
    CHECK(detail_of(s).find("1000 bytes") != std::string::npos);

    r.max_size = 1000;
    script allowed{even_split{2}, 2, {}, r};
    allowed.start();
    allowed.connected(0);
    CHECK(allowed.reply(0, part({0, 49}, 1000)) == "open 1000");
}

TEST_CASE("an object without a length is cut off at the limit (H04)") {
    cleave::request r = "http://h/x";
    r.max_size = 1000;
    script s{even_split{2}, 1, {}, r};
    s.start();
    s.connected(0);
    s.reply(0, head(200, "Transfer-Encoding: chunked\r\n"));
    s.done(job::open);
    for (int i = 0; i < 20 && !s.engine.report().failed; ++i) {
        REQUIRE(s.received.grant.valid());
        s.got(0, s.received.grant.size());
    }
    REQUIRE(s.engine.report().failed);
    CHECK(s.engine.report().failed->code == error::object_too_large);
    CHECK(s.engine.report().bytes <= 1100);
}

TEST_CASE("an object without a length may be as large as the limit") {
    cleave::request r = "http://h/x";
    r.max_size = 100;
    script s{even_split{2}, 1, {}, r};
    s.start();
    s.connected(0);
    s.reply(0, head(200, "Transfer-Encoding: chunked\r\n"));
    s.done(job::open);
    std::uint64_t const last = s.received.grant.last;
    std::string said = s.got(0, 100, last == 99);
    if (last != 99) said = s.got(0, 0, true);
    CHECK(said == "close 0, sync 100");
}

TEST_CASE("a part behind the limit is refused when the length is not told, too") {
    cleave::request r = cleave::request{"http://h/x"}.only({2000, 2999});
    r.max_size = 1000;
    script s{even_split{2}, 1, {}, r};
    s.start();
    s.connected(0);
    s.reply(0, head(200, "Transfer-Encoding: chunked\r\n"));
    if (!s.engine.report().failed) s.done(job::open);
    REQUIRE(s.engine.report().failed);
    CHECK(s.engine.report().failed->code == error::object_too_large);
}

TEST_CASE("the largest object that can be named is planned without wrapping (H03)") {
    cleave::request r = "http://h/x";
    r.max_size = max_offset;
    script s{
        fixed_size{std::uint64_t{1} << 62}, 2, {.windows = {.grant = std::uint64_t{1} << 62}}, r};
    s.start();
    std::uint64_t const piece = std::uint64_t{1} << 62;
    std::uint64_t const size = max_offset; // the last byte has offset 2^64-2
    CHECK(s.connected(0) == "send 0 0-4611686018427387903, connect 1");
    s.connected(1);
    CHECK(s.reply(0, part({0, piece - 1}, size)) == "open 18446744073709551615");
    CHECK(s.done(job::open) == "receive 0 0-4611686018427387903 first last, "
                               "send 1 4611686018427387904-9223372036854775807 reused");
    CHECK(s.got(0, piece, true) == "send 0 9223372036854775808-13835058055282163711 reused");
    s.reply(0, part({2 * piece, 3 * piece - 1}, size));
    CHECK(s.got(0, piece, true) == "send 0 13835058055282163712-18446744073709551614 reused");
    CHECK(s.reply(0, part({3 * piece, size - 1}, size)) ==
          "receive 0 13835058055282163712-18446744073709551614 first last");
    CHECK(s.got(0, piece - 1, true) == "");
    CHECK(s.reply(1, part({piece, 2 * piece - 1}, size)) ==
          "receive 1 4611686018427387904-9223372036854775807 first last");
    CHECK(s.got(1, piece, true) == "close 0, close 1, sync 18446744073709551615");
    CHECK(s.engine.report().bytes == size);
}

// ---- setups that cannot work --------------------------------------------------------------

TEST_CASE("a setup that cannot work ends before anything connects") {
    struct row {
        char const* what;
        std::function<void(cleave::request&, script_options&)> spoil;
        std::error_code code;
    };
    std::vector<row> const rows = {
        {"a URL that cannot be read", [](auto& r, auto&) { r = cleave::request{"http://"}; },
         error::bad_url},
        {"a scheme of others", [](auto& r, auto&) { r = cleave::request{"ftp://h/x"}; },
         error::unsupported_scheme},
        {"no URL", [](auto& r, auto&) { r = cleave::request{}; }, error::bad_url},
        {"no time to connect", [](auto& r, auto&) { r.timeouts.connect = 0s; }, error::bad_timeout},
        {"no time for a head", [](auto& r, auto&) { r.timeouts.head = -1ns; }, error::bad_timeout},
        {"no time to stall", [](auto& r, auto&) { r.timeouts.stall = 0s; }, error::bad_timeout},
        {"no time at all", [](auto& r, auto&) { r.timeouts.deadline = 0s; }, error::bad_timeout},
        {"a header with a line break", [](auto& r, auto&) { r.with_header("A", "b\r\nC: d"); },
         error::bad_header},
        {"a header of ours", [](auto& r, auto&) { r.with_header("range", "bytes=0-1"); },
         error::reserved_header},
        {"a user agent with a line break", [](auto& r, auto&) { r.user_agent = "a\nb"; },
         error::bad_header},
        {"a reversed part",
         [](auto& r, auto&) {
             r.only({10, 9});
         },
         error::bad_segment},
        {"a digest that cannot be read",
         [](auto&, auto& o) { o.verifier.wrong = make_error_code(error::bad_digest); },
         error::bad_digest},
        {"pieces that do not fit the sink's window",
         [](auto&, auto& o) {
             o.verifier.parts = {.size = 60, .count = 2};
             o.sink = {.window = 109, .chunk = 50};
         },
         error::window_too_small},
    };
    for (row const& r : rows) {
        INFO(r.what);
        cleave::request what = "http://h/x";
        script_options o;
        r.spoil(what, o);
        script s{even_split{2}, 2, o, what};
        CHECK(s.start() == "finish");
        CHECK(outcome(s) == r.code);
        CHECK(s.engine.report().failed->kind == cause::configuration);
        CHECK(s.engine.report().failed->where == phase::setup);
        CHECK(s.engine.report().connections == 0);
        CHECK(s.observer.known.empty());
    }
}

TEST_CASE("what the driver found wrong ends a download before anything connects") {
    script s{even_split{2}};
    failure f;
    f.code = error::target_is_directory;
    f.kind = cause::storage;
    f.where = phase::sink;
    CHECK(s.tell(event::started{f}) == "finish");
    CHECK(outcome(s) == error::target_is_directory);
    CHECK(s.engine.report().failed->where == phase::sink);
}

TEST_CASE("a list of segments with a fault ends before anything connects") {
    struct row {
        std::vector<segment> list;
        error code;
        std::string detail;
    };
    std::vector<row> const rows = {
        {{{0, 1024}, {1024, 2048}},
         error::segments_overlap,
         "segments [0,1024] and [1024,2048] overlap at byte 1024; use [1025,2048]"},
        {{{0, 9}, {11, 20}},
         error::segments_leave_gap,
         "between segments [0,9] and [11,20] byte 10 is missing; use [10,20]"},
        {{{9, 0}}, error::segment_reversed, "segment [9,0] is reversed; use [0,9]"},
        {{}, error::segments_empty, ""}};
    for (row const& r : rows) {
        script s{listed_segments(r.list)};
        CHECK(s.start() == "finish");
        CHECK(outcome(s) == r.code);
        CHECK(detail_of(s) == r.detail);
    }
}

TEST_CASE("a list of segments for another size is refused before the sink is touched") {
    script s{listed_segments{{0, 49}, {50, 899}}};
    s.start();
    s.connected(0);
    s.connected(1);
    std::string const reply = GENERATE(part({0, 49}, 1000), whole(1000));
    CHECK(s.reply(0, reply) == "close 0, close 1, finish");
    CHECK(outcome(s) == error::segments_do_not_match_size);
    CHECK(detail_of(s) == "the segments are for [0,899] (900 bytes), but what is asked for is "
                          "[0,999] (1000 bytes)");
    CHECK(s.observer.known.empty());
}

TEST_CASE("a list of segments does not fit an empty object") {
    script s{listed_segments{{0, 49}, {50, 899}}};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, head(416, "Content-Range: bytes */0\r\nContent-Length: 0\r\n")) ==
          "close 0, close 1, finish");
    CHECK(outcome(s) == error::segments_do_not_match_size);
}

TEST_CASE("a list of segments of an object without a length is checked at its end") {
    std::uint64_t const came = GENERATE(std::uint64_t{80}, std::uint64_t{79});
    script s{listed_segments{{0, 49}, {50, 79}}, 1};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, head(200, "Transfer-Encoding: chunked\r\n")) == "open ?");
    s.done(job::open);
    CHECK(s.got(0, came, true) == (came == 80 ? "close 0, sync 80" : "close 0, abandon"));
}

TEST_CASE("listed segments are asked for one by one") {
    script s{listed_segments{{0, 9}, {10, 499}, {500, 500}, {501, 999}}, 2};
    s.start();
    CHECK(s.connected(0) == "send 0 0-9, connect 1");
    s.connected(1);
    CHECK(s.reply(0, part({0, 9}, 1000)) == "open 1000");
    CHECK(s.done(job::open) == "receive 0 0-9 first last, send 1 10-499 reused");
    CHECK(s.got(0, 10, true) == "send 0 500-500 reused");
    s.reply(0, part({500, 500}, 1000));
    CHECK(s.got(0, 1, true) == "send 0 501-999 reused");
}

// ---- planners that break their contract ---------------------------------------------------

namespace {

struct astray {
    segment answer;
    [[nodiscard]] segment next(segment, cleave::plan_state const&) const noexcept { return answer; }
};

} // namespace

TEST_CASE("a planner that leaves its gap ends the download by name") {
    struct row {
        segment answer;
        std::string detail;
    };
    auto const r = GENERATE(row{{0, 99}, "for [50,999] it answered [0,99]"},
                            row{{50, 1000}, "for [50,999] it answered [50,1000]"},
                            row{{99, 50}, "for [50,999] it answered [99,50]"},
                            row{{5000, 6000}, "for [50,999] it answered [5000,6000]"});
    script s{astray{r.answer}};
    s.start();
    s.connected(0);
    s.connected(1);
    CHECK(s.reply(0, part({0, 49}, 1000)) == "open 1000");
    CHECK(s.done(job::open) == "receive 0 0-49 first last, close 0, close 1, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::planner_broke_contract);
    CHECK(detail_of(s) == r.detail);
}

namespace {

// From the end to the beginning: unusual, and allowed.
struct backwards {
    [[nodiscard]] segment next(segment gap, cleave::plan_state const&) const noexcept {
        return {gap.last - std::min<std::uint64_t>(gap.last - gap.first, 299), gap.last};
    }
};

} // namespace

TEST_CASE("a planner may begin at the end") {
    script s{backwards{}, 1};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "send 0 700-999 reused");
    CHECK(s.reply(0, part({700, 999}, 1000)) == "receive 0 700-799 first");
    s.got(0, 100);
    CHECK(s.got(0, 100) == "send 0 400-699 reused ahead, receive 0 900-999 last");
}

// ---- failures -----------------------------------------------------------------------------

TEST_CASE("a failed lane's rest goes to another") {
    script s{even_split{2}, 2, {.renewal = {.wait = 10s}}};
    start_two_lanes(s);
    CHECK(s.got(1, 100) == "receive 1 150-249");
    CHECK(s.broke(1, 30) == "close 1"); // up to byte 179
    CHECK(s.got(0, 50, true) == "send 0 180-499 reused");
    CHECK(s.engine.report().bytes == 180);
    CHECK(s.observer.attempts.at(0).lane == 1);
    CHECK(s.observer.attempts.at(0).again_after == 10s);
    // When its time has come it goes on with something else.
    CHECK(s.wake_until(s.now + 10s, {{0, 1}, {}}) == "connect 1");
    CHECK(s.connected(1) == "send 1 500-999");
}

TEST_CASE("a lane that failed before its reply gives all of it back") {
    script s{even_split{2}, 2, {.renewal = {.wait = 10s}}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.failed(1, error::closed_in_head, phase::head) == "close 1");
    CHECK(s.got(0, 50, true) == "send 0 50-499 reused");
    CHECK(s.engine.report().retries == 1);
}

TEST_CASE("a lane whose time comes when nothing is left stays quiet") {
    // As long as no lane is so silent that it needs help.
    cleave::engine_windows windows = script_options{}.windows;
    windows.stealing.silent = 1h;
    script s{even_split{2}, 2, {.windows = windows, .renewal = {.wait = 10s}}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 60));
    s.done(job::open);
    CHECK(s.failed(1, error::closed_in_head, phase::head) == "close 1");
    CHECK(s.got(0, 50, true) == "send 0 50-59 reused");
    CHECK(s.reply(0, part({50, 59}, 60)) == "receive 0 50-59 first last");
    CHECK(s.wake_until(s.now + 11s, {{0, 1}, {}}) == "");
    CHECK(s.got(0, 10, true) == "close 0, sync 60");
}

TEST_CASE("a failure without a wait connects at once") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.broke(0, 20) == "close 0, connect 0");
    CHECK(s.connected(0) == "send 0 20-499");
}

TEST_CASE("a lane that is given up leaves the work to others") {
    script s{even_split{2}, 2, {.renewal = {.tries = 1}}};
    start_two_lanes(s);
    CHECK(s.broke(1, 0) == "close 1");
    CHECK_FALSE(s.observer.attempts.at(0).again_after);
    CHECK(s.engine.report().retries == 0);
    CHECK(s.got(0, 50, true) == "send 0 50-499 reused");
    SECTION("and the download may end well") {
        s.reply(0, part({50, 499}, 1000));
        for (int i = 0; i < 4; ++i) s.got(0, 100);
        CHECK(s.got(0, 50, true) == "send 0 500-999 reused");
        s.reply(0, part({500, 999}, 1000));
        for (int i = 0; i < 4; ++i) s.got(0, 100);
        CHECK(s.got(0, 100, true) == "close 0, sync 1000");
    }
    SECTION("the last one's failure is the download's (L02)") {
        CHECK(s.failed(0, error::head_timeout, phase::head) == "close 0, abandon");
        CHECK(s.done(job::abandon) == "finish");
        CHECK(outcome(s) == error::head_timeout);
        CHECK(s.engine.report().bytes == 50);
    }
}

TEST_CASE("a server that cannot be reached is tried as often as the rule says") {
    script s{even_split{8}, 8, {.renewal = {.tries = 3, .wait = 1s}}};
    s.start();
    CHECK(s.failed(0, error::name_not_resolved, phase::connect) == "close 0");
    CHECK(s.wake_until(s.now + 1s) == "connect 0");
    CHECK(s.failed(0, error::name_not_resolved, phase::connect) == "close 0");
    CHECK(s.wake_until(s.now + 1s) == "connect 0");
    CHECK(s.failed(0, error::name_not_resolved, phase::connect) == "close 0, finish");
    CHECK(outcome(s) == error::name_not_resolved);
    CHECK(s.engine.report().connections == 0);
    CHECK(s.engine.report().retries == 2);
}

TEST_CASE("the lane that asks what the object is decides whether it can be had") {
    script s{even_split{2}, 2, {.renewal = {.tries = 2}}};
    s.start();
    s.connected(0);
    s.connected(1);
    CHECK(s.reply(0, head(503, "Content-Length: 3\r\n")) == "close 0, connect 0");
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.reply(0, head(503, "Content-Length: 3\r\n")) == "close 0, close 1, finish");
    CHECK(outcome(s) == error::server_busy);
}

TEST_CASE("lanes that cannot connect do not keep the others from their work") {
    script s{even_split{3}, 3, {.renewal = {.tries = 1}}};
    s.start();
    CHECK(s.connected(0) == "send 0 0-49, connect 1, connect 2");
    CHECK(s.failed(1, error::connect_timeout, phase::connect) == "close 1");
    CHECK(s.reply(0, part({0, 49}, 900)) == "open 900");
    CHECK(s.done(job::open) == "receive 0 0-49 first last");
    CHECK(s.failed(2, error::connect_timeout, phase::connect) == "close 2");
    CHECK(s.got(0, 50, true) == "send 0 50-299 reused");
    CHECK_FALSE(s.finished);
    CHECK(s.observer.attempts.size() == 2);
}

TEST_CASE("failures that are pointless to repeat end the download at once") {
    struct row {
        int status;
        error code;
    };
    auto const r = GENERATE(
        row{404, error::not_found}, row{403, error::forbidden}, row{401, error::unauthorized},
        row{410, error::gone}, row{407, error::proxy_authentication_required},
        row{451, error::unavailable_for_legal_reasons}, row{418, error::client_error});
    script s{even_split{2}};
    SECTION("of the first reply") {
        s.start();
        s.connected(0);
        s.connected(1);
        CHECK(s.reply(0, head(r.status, "Content-Length: 0\r\n")) == "close 0, close 1, finish");
    }
    SECTION("of a later one") {
        start_two_lanes(s);
        s.got(0, 50, true);
        CHECK(s.reply(0, head(r.status, "Content-Length: 0\r\n")) == "close 0, close 1, abandon");
        CHECK(s.done(job::abandon) == "finish");
    }
    CHECK(outcome(s) == r.code);
    CHECK(s.engine.report().failed->status == r.status);
    CHECK(s.engine.report().retries == 0);
}

TEST_CASE("failures that may pass are waited out, no shorter than the server asks (E11, E14)") {
    script s{even_split{2}, 2, {.renewal = {.wait = 1s}}};
    start_two_lanes(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, head(503, "Retry-After: 7\r\nContent-Length: 3\r\n")) == "close 0");
    CHECK(s.observer.attempts.at(0).again_after == 7s);
    CHECK(s.observer.attempts.at(0).code == error::server_busy);
    instant const from = s.now;
    CHECK(s.wake_until(from + 7s - 1ns, {{}, {0, 1}}) == "");
    CHECK(s.wake_until(from + 7s, {{}, {0, 1}}) == "connect 0");
    s.connected(0);
    // A page of the length that was asked for is no part of the object.
    CHECK(s.reply(0, head(500, "Content-Length: 500\r\n")) == "close 0");
    CHECK(s.observer.attempts.at(1).again_after == 1s);
    CHECK(s.observer.attempts.at(1).code == error::server_error);
    CHECK(s.engine.report().bytes == 50);
}

TEST_CASE("a renewal rule sees how often in a row, how much came, and what time is left") {
    std::vector<insistence::asked> seen;
    cleave::request r = "http://h/x";
    r.timeouts.deadline = 100s;
    r.seed = 42;
    script s{even_split{1}, 1, {.renewal = {.tries = 9, .seen = &seen}}, r};
    s.start();
    s.failed(0, error::name_not_resolved, phase::connect);
    s.now += 10s;
    s.failed(0, error::name_not_resolved, phase::connect);
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    s.got(0, 50, true); // a lease that was brought to its end: the slate is clean
    s.reply(0, part({50, 999}, 1000));
    s.got(0, 100);
    s.broke(0, 20);
    s.connected(0);
    s.failed(0, error::closed_before_reply, phase::head);
    s.connected(0);
    s.reply(0, part({170, 999}, 1000));
    s.broke(0, 1);
    REQUIRE(seen.size() == 5);
    CHECK(seen[0].tries == 1);
    CHECK(seen[0].bytes == 0);
    CHECK(seen[0].time_left == 100s);
    CHECK(seen[1].tries == 2);
    CHECK(seen[1].time_left == 90s);
    CHECK(seen[2].tries == 1);
    CHECK(seen[2].bytes == 120);
    CHECK(seen[3].tries == 2);
    CHECK(seen[3].bytes == 0);
    CHECK(seen[3].code == error::closed_before_reply);
    CHECK(seen[4].tries == 1);
    CHECK(seen[4].bytes == 1);
    for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i].random != seen[i - 1].random);

    // The same seed gives the same jitter; another one does not.
    auto const first_random = [&](std::uint64_t seed) {
        std::vector<insistence::asked> again;
        cleave::request other = "http://h/x";
        other.seed = seed;
        script t{even_split{1}, 1, {.renewal = {.seen = &again}}, other};
        t.start();
        t.failed(0, error::name_not_resolved, phase::connect);
        return again.at(0).random;
    };
    CHECK(first_random(42) == seen[0].random);
    CHECK(first_random(43) != seen[0].random);
}

TEST_CASE("a reply all of whose bytes came is enough, however its connection ends (C11)") {
    script s{even_split{1}, 1, {.renewal = {.tries = 1}}};
    s.start();
    s.connected(0);
    s.reply(0, head(206, "Content-Range: bytes 0-49/50\r\nTransfer-Encoding: chunked\r\n"));
    s.done(job::open);
    // The last chunk is missing, but not a byte of the object.
    CHECK(s.broke(0, 50) == "close 0, sync 50");
}

// ---- kept connections ---------------------------------------------------------------------

TEST_CASE("a kept connection that died is replaced at once, once, and not counted (F02)") {
    script s{even_split{2}, 1, {.renewal = {.wait = 5s}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "send 0 50-499 reused");
    CHECK(s.failed(0, error::closed_before_reply, phase::head) == "close 0, connect 0");
    CHECK(s.engine.report().stale_connections == 1);
    CHECK(s.engine.report().retries == 0);
    CHECK(s.observer.attempts.empty());
    CHECK(s.connected(0) == "send 0 50-499");
    SECTION("a new connection that dies counts") {
        CHECK(s.failed(0, error::closed_before_reply, phase::head) == "close 0");
        CHECK(s.engine.report().stale_connections == 1);
        CHECK(s.engine.report().retries == 1);
    }
    SECTION("after a reply it may happen again") {
        s.reply(0, part({50, 499}, 1000));
        for (int i = 0; i < 4; ++i) s.got(0, 100);
        CHECK(s.got(0, 50, true) == "send 0 500-999 reused");
        CHECK(s.failed(0, error::closed_before_reply, phase::head) == "close 0, connect 0");
        CHECK(s.engine.report().stale_connections == 2);
    }
}

namespace {

// Asks for all there is, and never says how many segments that makes.
struct greedy {
    [[nodiscard]] segment next(segment gap, cleave::plan_state const&) const noexcept {
        return gap;
    }
};

} // namespace

TEST_CASE("a connection that dies idle again and again counts from the second time on") {
    script s{greedy{}, 2, {.renewal = {.wait = 5s}}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    CHECK(s.done(job::open) == "receive 0 0-49 first last, send 1 50-999 reused");
    CHECK(s.failed(1, error::closed_before_reply, phase::head) == "close 1, connect 1");
    CHECK(s.got(0, 50, true) == "send 0 50-999 reused");
    CHECK(s.connected(1) == ""); // it stands idle once more
    CHECK(s.failed(0, error::closed_before_reply, phase::head) ==
          "close 0, connect 0, send 1 50-999 reused");
    CHECK(s.engine.report().stale_connections == 2);
    CHECK(s.failed(1, error::closed_before_reply, phase::head) == "close 1");
    CHECK(s.engine.report().stale_connections == 2);
    CHECK(s.engine.report().retries == 1);
}

TEST_CASE("a connection that stood idle before its first request may have died as well") {
    script s{even_split{2}, 2, {.renewal = {.wait = 5s}}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    CHECK(s.done(job::open) == "receive 0 0-49 first last, send 1 50-499 reused");
    CHECK(s.failed(1, error::closed_before_reply, phase::head) == "close 1, connect 1");
    CHECK(s.engine.report().stale_connections == 1);
    CHECK(s.connected(1) == "send 1 50-499");
}

TEST_CASE("a kept connection that is reset is as dead as one that is closed (F02)") {
    auto const code = GENERATE(std::errc::connection_reset, std::errc::broken_pipe);
    script s{even_split{2}, 1, {.renewal = {.wait = 5s}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    s.got(0, 50, true);
    failure f;
    f.code = std::make_error_code(code);
    f.kind = cause::passing;
    f.where = phase::head;
    CHECK(s.tell(event::lane_failed{0, f}) == "close 0, connect 0");
    CHECK(s.engine.report().stale_connections == 1);
    CHECK(s.engine.report().retries == 0);
}

TEST_CASE("a kept connection that dies in the middle of a head counts") {
    script s{even_split{2}, 1, {.renewal = {.wait = 5s}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    s.got(0, 50, true);
    CHECK(s.reply(0, "HTTP/1.1 2") == "read 0");
    CHECK(s.failed(0, error::closed_in_head, phase::head) == "close 0");
    CHECK(s.engine.report().stale_connections == 0);
    CHECK(s.engine.report().retries == 1);
}

// ---- without ranges -----------------------------------------------------------------------

TEST_CASE("without ranges a failure begins again, with the sink opened afresh") {
    script s{even_split{2}, 2, {.verifier = {.wants = true}}};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, whole(500)) == "close 1, open 500");
    s.done(job::open);
    s.got(0, 100);
    CHECK(s.broke(0, 50) == "close 0, connect 0"); // while bytes 0-99 are hashed
    CHECK(s.engine.report().restarts == 1);
    CHECK(s.engine.report().bytes == 0);
    CHECK(s.engine.report().bytes_twice == 150);
    CHECK(s.done(job::hash) == "open 500"); // one job at a time
    // What was hashed before counts no more, and no byte is asked for before the sink is ready.
    CHECK(s.connected(0) == "");
    CHECK(s.done(job::open) == "send 0 whole reused");
    CHECK(s.reply(0, whole(500)) == "close 1, receive 0 0-99 first");
    CHECK(s.got(0, 100) == "receive 0 100-199, hash 0-99");
    s.got(0, 100);
    s.got(0, 100);
    s.got(0, 100);
    CHECK(s.done(job::hash) == "hash 100-399");
    CHECK(s.got(0, 100, true) == "close 0");
    CHECK(s.done(job::hash) == "hash 400-499");
    CHECK(s.done(job::hash) == "finish_hash");
    CHECK(s.engine.report().bytes == 500);
}

TEST_CASE("without ranges, beginning again is progress only beyond what was reached before") {
    std::vector<insistence::asked> seen;
    script s{even_split{2}, 1, {.renewal = {.tries = 4, .seen = &seen}}};
    s.start();
    s.connected(0);
    s.reply(0, whole(1000));
    s.done(job::open);
    auto const again = [&](std::uint64_t bytes) {
        s.connected(0);
        s.done(job::open);
        s.reply(0, whole(1000));
        while (bytes > 100) {
            s.got(0, 100);
            bytes -= 100;
        }
        return s.broke(0, bytes);
    };
    s.got(0, 100);
    CHECK(s.broke(0, 50) == "close 0, connect 0, open 1000");
    again(150);
    again(170);
    again(170);
    again(20);
    REQUIRE(seen.size() == 5);
    CHECK(seen[0].bytes == 150);
    CHECK(seen[0].tries == 1);
    CHECK(seen[1].bytes == 0);
    CHECK(seen[1].tries == 2);
    CHECK(seen[2].bytes == 20);
    CHECK(seen[2].tries == 1);
    CHECK(seen[3].bytes == 0);
    CHECK(seen[4].bytes == 0);
    CHECK(seen[4].tries == 3);
    CHECK(again(170) == "close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::closed_in_body);
}

TEST_CASE("without ranges, a length once told holds for replies that do not tell it") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, whole(250));
    s.done(job::open);
    CHECK(s.broke(0, 40) == "close 0, connect 0, open 250");
    s.connected(0);
    s.done(job::open);
    CHECK(s.reply(0, head(200, "ETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n")) ==
          "receive 0 0-99 first to the end");
    s.got(0, 100);
    CHECK(s.got(0, 100) == "receive 0 200-249 last to the end");
    SECTION("it ends there") { CHECK(s.got(0, 50, true) == "close 0, sync 250"); }
    SECTION("it goes on") {
        CHECK(s.got(0, 50) == "close 0, abandon");
        CHECK(s.done(job::abandon) == "finish");
        CHECK(outcome(s) == error::size_changed);
    }
    SECTION("it ends before") {
        CHECK(s.got(0, 20, true) == "close 0, connect 0, open 250");
        CHECK(s.engine.report().restarts == 2);
    }
}

TEST_CASE("without ranges, a later reply may be the first to tell the length") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, head(200, "ETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n")) == "open ?");
    s.done(job::open);
    CHECK(s.broke(0, 40) == "close 0, connect 0, open ?");
    s.connected(0);
    s.done(job::open);
    CHECK(s.reply(0, whole(60)) == "receive 0 0-59 first last");
    CHECK(s.got(0, 60, true) == "close 0, sync 60");
    CHECK(s.engine.report().identity.size == 60);
    CHECK(s.engine.report().length_verified);
}

TEST_CASE("without ranges, a failure before the reply begins nothing again") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, whole(500));
    s.done(job::open);
    CHECK(s.broke(0, 0) == "close 0, connect 0, open 500");
    CHECK(s.engine.report().restarts == 0);
    CHECK(s.failed(0, error::connect_timeout, phase::connect) == "close 0, connect 0");
    CHECK(s.engine.report().restarts == 0);
}

TEST_CASE("without ranges, another object at the second try ends the download") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, whole(500));
    s.done(job::open);
    s.broke(0, 10);
    s.connected(0);
    s.done(job::open);
    CHECK(s.reply(0, whole(501)) == "close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::size_changed);
}

// ---- jobs that fail -----------------------------------------------------------------------

TEST_CASE("a job that fails ends the download, and leaves nothing behind") {
    auto const which = GENERATE(job::open, job::hash, job::finish_hash, job::sync, job::publish);
    CAPTURE(text_of(which));
    script s{even_split{1}, 1, {.verifier = {.wants = true}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 19}, 20));
    std::error_code const ec{ENOSPC, std::system_category()};
    std::string last;
    for (job const j : {job::open, job::hash, job::finish_hash, job::sync, job::publish}) {
        if (j == job::hash) s.got(0, 20, true);
        if (j == which) {
            last = s.job_failed(j, ec);
            break;
        }
        s.done(j);
    }
    CHECK(last == (which == job::open ? "close 0, abandon" : "abandon"));
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == ec);
    CHECK(s.engine.report().failed->kind == cause::storage);
    CHECK(s.engine.report().failed->where == phase::sink);
}

TEST_CASE("a sink that fails under a lane ends the download (J01)") {
    script s{even_split{2}};
    start_two_lanes(s);
    failure f;
    f.code = {ENOSPC, std::system_category()};
    f.kind = cause::storage;
    f.where = phase::sink;
    CHECK(s.tell(event::grant_ended{.lane = 1, .bytes = 10, .failed = f}) ==
          "close 1, close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == f.code);
}

TEST_CASE("a sink that fails with the last byte ends the download all the same") {
    script s{even_split{1}, 1};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 50));
    s.done(job::open);
    failure f;
    f.code = {EIO, std::system_category()};
    f.kind = cause::storage;
    f.where = phase::sink;
    CHECK(s.tell(event::grant_ended{.lane = 0, .bytes = 50, .body_ended = true, .failed = f}) ==
          "close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == f.code);
}

// ---- cancelling ---------------------------------------------------------------------------

TEST_CASE("a download may be cancelled at any time") {
    // A download in events, each with what it is to bring about at the least.
    std::vector<std::function<void(script<even_split>&)>> const events = {
        [](auto& s) { s.start(); },
        [](auto& s) { s.connected(0); },
        [](auto& s) { s.connected(1); },
        [](auto& s) {
            s.reply(0, part({0, 49}, 400).substr(0, 20));
        },
        [](auto& s) {
            s.reply(0, part({0, 49}, 400).substr(20));
        },
        [](auto& s) { s.done(job::open); },
        [](auto& s) {
            s.reply(1, part({50, 199}, 400));
        },
        [](auto& s) { s.got(0, 50, true); },
        [](auto& s) { s.got(1, 100); },
        [](auto& s) { s.failed(0, error::head_timeout, phase::head); },
        [](auto& s) {
            s.wake_until(s.now + 1s, {{0, 1}, {0, 1}});
        },
        [](auto& s) { s.connected(0); },
        [](auto& s) {
            s.reply(0, part({200, 399}, 400));
        },
        [](auto& s) { s.got(1, 50, true); },
        [](auto& s) { s.got(0, 100); },
        [](auto& s) { s.got(0, 100, true); },
        [](auto& s) { s.done(job::hash); },
        [](auto& s) { s.done(job::hash); },
        [](auto& s) { s.done(job::finish_hash); },
        [](auto& s) { s.done(job::sync); },
        [](auto& s) { s.done(job::publish); },
    };
    script_options const options{.verifier = {.wants = true}, .renewal = {.wait = 1s}};
    for (std::size_t after = 0; after < events.size(); ++after) {
        CAPTURE(after);
        script s{even_split{2}, 2, options};
        for (std::size_t i = 0; i < after; ++i) events[i](s);
        bool const touched = s.sink_touched;
        auto const running = s.running;
        std::string const said = s.cancel();
        CAPTURE(said, touched);
        // Nothing new is begun but what cleans up.
        for (char const* word : {"connect", "send", "read", "receive", "open", "hash", "sync"})
            CHECK(said.find(word) == std::string::npos);
        if (running == job::publish) {
            // It is complete and right; there is no way back.
            CHECK(said.empty());
            CHECK(s.done(job::publish) == "finish");
            CHECK(outcome(s) == std::error_code{});
            continue;
        }
        if (!touched) {
            CHECK(s.finished);
        } else if (running) {
            // The running job is waited for.
            CHECK_FALSE(s.finished);
            CHECK(said.find("abandon") == std::string::npos);
            CHECK(s.cancel() == "");
            CHECK(s.done(*running) == "abandon");
            CHECK(s.done(job::abandon) == "finish");
        } else {
            CHECK(said.size() >= 7);
            CHECK(said.substr(said.size() - 7) == "abandon");
            CHECK(s.cancel() == "");
            CHECK(s.done(job::abandon) == "finish");
        }
        CHECK(outcome(s) == error::cancelled);
        CHECK(s.engine.report().failed->kind == cause::cancelled);
    }
}

TEST_CASE("events that come late begin nothing") {
    script s{even_split{2}};
    start_two_lanes(s);
    CHECK(s.cancel() == "close 0, close 1, abandon");
    CHECK(s.failed(0, error::closed_in_head, phase::head) == "");
    for (std::string const& said : {s.broke(0, 10), s.got(1, 100), s.connected(0),
                                    s.tell(event::woke{std::vector<event::lane_window>(2)})}) {
        CAPTURE(said);
        for (char const* word : {"connect", "send", "read", "receive", "open", "sync", "finish"})
            CHECK(said.find(word) == std::string::npos);
    }
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::cancelled);
}

// ---- helping slow lanes -------------------------------------------------------------------

namespace {

// What is too little for others is worth a steal here.
script_options helpful(std::uint64_t grant) {
    script_options o;
    o.windows.grant = grant;
    o.windows.stealing.least = 10;
    o.windows.stealing.leave = 5;
    return o;
}

// Lane 0 brought its opening request and has nothing to do; lane 1 holds all else, bytes 50-999,
// and has brought 50 of them in 50 milliseconds.
template <class Script>
std::string start_slow_lane(Script& s) {
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    s.reply(1, part({50, 999}, 1000));
    // As long as nobody knows how fast it is, nobody helps.
    REQUIRE(s.got(0, 50, true) == "");
    return s.wake({{}, {50, 50}});
}

} // namespace

TEST_CASE("an idle lane takes the end of what another holds, when it is known how far that is") {
    script s{greedy{}, 2, helpful(1000)};
    CHECK(start_slow_lane(s) == "revoke 1");
    // Its grant ends where it is, and half of the rest changes hands.
    CHECK(s.revoked(1, 60) == "send 0 555-999 reused, receive 1 110-554");
    CHECK(s.engine.report().steals == 1);
    REQUIRE(s.observer.stolen.size() == 1);
    CHECK(s.observer.stolen[0].from == 1);
    CHECK(s.observer.stolen[0].by == 0);
    CHECK(s.observer.stolen[0].bytes == segment{555, 999});
    CHECK_FALSE(s.observer.stolen[0].hedge);
    CHECK(s.reply(0, part({555, 999}, 1000)) == "receive 0 555-999 first last");
    // What is left of the reply is not read; the connection is of no use any more.
    CHECK(s.got(1, 445) == "close 1");
    CHECK(s.got(0, 445, true) == "close 0, sync 1000");
    CHECK(s.kept == std::vector<lane_id>{0});
    CHECK(s.engine.report().bytes == 1000);
    CHECK(s.engine.report().bytes_twice == 0);
    CHECK(s.engine.report().retries == 0);
}

TEST_CASE("what is beyond a grant is taken at once") {
    script s{greedy{}, 2, helpful(100)};
    CHECK(start_slow_lane(s) == "send 0 550-999 reused");
    CHECK(s.engine.report().steals == 1);
    CHECK(s.got(1, 100) == "receive 1 150-249");
    s.got(1, 100);
    s.got(1, 100);
    CHECK(s.got(1, 100) == "receive 1 450-549"); // and not the last of its reply
    CHECK(s.got(1, 100) == "close 1");
}

TEST_CASE("a revoke that comes too late is no harm") {
    script s{greedy{}, 2, helpful(600)};
    CHECK(start_slow_lane(s) == "revoke 1");
    SECTION("where the grant was full") {
        CHECK(s.got(1, 600) == "send 0 825-999 reused, receive 1 650-824");
    }
    SECTION("where the lane broke, all that it held is there for others") {
        CHECK(s.broke(1, 300) == "close 1, connect 1, send 0 350-999 reused");
        CHECK(s.engine.report().steals == 0);
    }
}

TEST_CASE("a lane that was to take something may have found other work meanwhile") {
    script s{even_split{3}, 3, helpful(1000)};
    s.start();
    for (lane_id i : {0U, 1U, 2U}) s.connected(i);
    s.reply(0, part({0, 49}, 1000));
    CHECK(s.done(job::open) ==
          "receive 0 0-49 first last, send 1 50-333 reused, send 2 334-666 reused");
    s.reply(1, part({50, 333}, 1000));
    s.reply(2, part({334, 666}, 1000));
    CHECK(s.got(0, 50, true) == "send 0 667-999 reused");
    s.reply(0, part({667, 999}, 1000));
    CHECK(s.wake({{100, 100}, {200, 200}, {10, 10}}) == "");
    CHECK(s.got(1, 284, true) == "revoke 2");
    // What lane 0 could not bring comes first.
    CHECK(s.broke(0, 100).find("send 1 767-999 reused") != std::string::npos);
    CHECK(s.revoked(2, 20) == "receive 2 354-666 last");
    CHECK(s.engine.report().steals == 0);
}

TEST_CASE("an idle lane leaves alone what will be done soon") {
    script_options o = helpful(1000);
    o.windows.stealing.soon = 2s;
    script s{greedy{}, 2, o};
    // 900 bytes at 1000 a second.
    CHECK(start_slow_lane(s) == "");
}

TEST_CASE("of a lane that has gone silent all is taken") {
    script_options o = helpful(1000);
    o.windows.stealing.silent = 500ms;
    script s{greedy{}, 2, o};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    instant const from = s.now;
    SECTION("in its grant") {
        s.reply(1, part({50, 999}, 1000));
        s.got(0, 50, true);
        CHECK(s.wake_until(from + 499ms) == "");
        CHECK(s.wake_until(from + 2s) == "revoke 1");
        CHECK(s.revoked(1, 0) == "close 1, send 0 50-999 reused");
    }
    SECTION("in its grant, but it had only begun to speak again") {
        s.reply(1, part({50, 999}, 1000));
        s.got(0, 50, true);
        CHECK(s.wake_until(from + 2s) == "revoke 1");
        // How fast it is nobody knows yet.
        CHECK(s.revoked(1, 7) == "receive 1 57-999 last");
        CHECK(s.engine.report().steals == 0);
    }
    SECTION("before its reply") {
        s.got(0, 50, true);
        CHECK(s.wake_until(from + 499ms) == "");
        // Only its own time limit is waited for, if nothing else happens.
        s.now = from + 500ms;
        CHECK(s.tell(event::woke{std::vector<event::lane_window>(2)}) ==
              "close 1, send 0 50-999 reused");
    }
    CHECK(s.engine.report().retries == 0);
}

TEST_CASE("several idle lanes share what a silent one held") {
    script_options o = helpful(1000);
    script s{listed_segments{{0, 49}, {50, 59}, {60, 69}, {70, 999}}, 4, o};
    s.start();
    for (lane_id i : {0U, 1U, 2U, 3U}) s.connected(i);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    s.reply(3, part({70, 999}, 1000));
    s.got(0, 50, true);
    s.reply(1, part({50, 59}, 1000));
    s.got(1, 10, true);
    s.reply(2, part({60, 69}, 1000));
    s.got(2, 10, true);
    CHECK(s.wake_until(s.now + 2s) == "revoke 3");
    // A third each, and nothing is left to lane 3.
    CHECK(s.revoked(3, 0) ==
          "send 0 690-999 reused, send 1 380-689 reused, close 3, send 2 70-379 reused");
    CHECK(s.engine.report().steals == 3);
}

TEST_CASE("a lane may be worth a new connection to help") {
    script s{greedy{}, 2, helpful(100)};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000, "Connection: close\r\n"));
    s.done(job::open);
    s.reply(1, part({50, 999}, 1000));
    CHECK(s.got(0, 50, true) == "close 0");
    CHECK(s.wake({{}, {50, 50}}) == "connect 0");
    CHECK(s.connected(0) == "send 0 550-999");
}

// ---- hedges -------------------------------------------------------------------------------

namespace {

// Lane 0 is fast and through with its 9800 bytes; lane 1 is slow and still holds bytes 9820-9999,
// which are too few to be divided.
template <class Script>
std::string start_hedge(Script& s) {
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 9799}, 10'000));
    s.done(job::open);
    s.reply(1, part({9800, 9999}, 10'000));
    REQUIRE(s.wake({{4900, 4900}, {20, 20}}) == "");
    return s.got(0, 9800, true);
}
script_options hedging() {
    script_options o;
    o.windows.grant = 10'000;
    o.windows.stealing.least = 1000;
    return o;
}
listed_segments one_small_segment() { return listed_segments{{0, 9799}, {9800, 9999}}; }

} // namespace

TEST_CASE("who brings hedged bytes first has them") {
    script s{one_small_segment(), 2, hedging()};
    CHECK(start_hedge(s) == "send 0 9820-9999 reused");
    CHECK(s.engine.report().hedges == 1);
    CHECK(s.engine.report().bytes_hedged == 180);
    SECTION("the hedge, from where the other lane is") {
        CHECK(s.reply(0, part({9820, 9999}, 10'000)) == "revoke 1");
        CHECK(s.revoked(1, 50) == "close 1, receive 0 9850-9999 first skip 30 last");
        CHECK(s.engine.report().hedges_won == 1);
        CHECK(s.engine.report().steals == 0);
        REQUIRE(s.observer.stolen.size() == 1);
        CHECK(s.observer.stolen[0].hedge);
        CHECK(s.observer.stolen[0].bytes == segment{9850, 9999});
        CHECK(s.got(0, 150, true) == "close 0, sync 10000");
        CHECK(s.engine.report().bytes == 10'000);
    }
    SECTION("the other lane, before there is a reply") {
        CHECK(s.got(1, 200, true) == "close 0, close 1, sync 10000");
        CHECK(s.engine.report().hedges_won == 0);
        CHECK(s.kept == std::vector<lane_id>{1});
    }
    SECTION("the other lane, after there was a reply") {
        CHECK(s.reply(0, part({9820, 9999}, 10'000)) == "revoke 1");
        CHECK(s.got(1, 200, true) == "close 0, close 1, sync 10000");
        CHECK(s.engine.report().hedges_won == 0);
    }
    SECTION("the hedge, of which the reply is shorter") {
        CHECK(s.reply(0, part({9820, 9899}, 10'000)) == "revoke 1");
        CHECK(s.revoked(1, 50) == "close 1, receive 0 9850-9899 first skip 30 last, connect 1");
        CHECK(s.connected(1) == "send 1 9900-9999");
    }
}

TEST_CASE("a hedge inherits what a lane that fails had left") {
    script_options o = hedging();
    o.renewal.wait = 10s;
    script s{one_small_segment(), 2, o};
    start_hedge(s);
    SECTION("before there is a reply") {
        CHECK(s.broke(1, 50) == "close 1");
        CHECK(s.reply(0, part({9820, 9999}, 10'000)) == "receive 0 9850-9999 first skip 30 last");
    }
    SECTION("after there was one") {
        s.reply(0, part({9820, 9999}, 10'000));
        CHECK(s.broke(1, 50) == "close 1, receive 0 9850-9999 first skip 30 last");
    }
    SECTION("and gives back what its reply does not reach") {
        CHECK(s.broke(1, 50) == "close 1");
        CHECK(s.reply(0, part({9820, 9829}, 10'000)) == "close 0");
        CHECK(s.wake_until(s.now + 10s) == "connect 1");
        CHECK(s.connected(1) == "send 1 9850-9999");
        return;
    }
    CHECK(s.got(0, 150, true) == "close 0, close 1, sync 10000");
    CHECK(s.engine.report().hedges_won == 0);
    CHECK(s.engine.report().retries == 1);
}

TEST_CASE("a hedge that fails takes nothing along") {
    script_options o = hedging();
    o.renewal.wait = 10s;
    script s{one_small_segment(), 2, o};
    start_hedge(s);
    CHECK(s.reply(0, head(503, "Content-Length: 3\r\n")) == "close 0");
    CHECK(s.engine.ledger().owed().empty());
    CHECK(s.got(1, 200, true) == "close 0, close 1, sync 10000");
}

TEST_CASE("no more is asked for twice than the budget allows") {
    script_options o = hedging();
    std::uint32_t const percent = GENERATE(0U, 1U, 2U);
    o.windows.stealing.hedged_percent = percent;
    script s{one_small_segment(), 2, o};
    // Of 10000 bytes, 180 are more than one percent and less than two.
    CHECK(start_hedge(s) == (percent == 2 ? "send 0 9820-9999 reused" : ""));
    CHECK(s.engine.report().hedges == (percent == 2 ? 1 : 0));
}

// ---- pauses -------------------------------------------------------------------------------

TEST_CASE("a pause ends what is granted, and grants and asks for nothing more") {
    script s{even_split{2}};
    start_two_lanes(s);
    CHECK(s.pause() == "revoke 0, revoke 1");
    CHECK(s.pause() == "");
    CHECK(s.revoked(0, 20) == "");
    CHECK(s.got(1, 100) == ""); // full before it was told
    CHECK(s.engine.report().bytes == 120);
    CHECK(s.wake_until(s.now + 10min) == "");
    CHECK(s.resume() == "receive 0 20-49 last, receive 1 150-249");
    CHECK(s.resume() == "");
    CHECK(s.observer.pauses == std::vector<bool>{true, false});
    CHECK(s.engine.report().retries == 0);
}

TEST_CASE("a pause may be over before all grants have ended") {
    script s{even_split{2}};
    start_two_lanes(s);
    s.pause();
    CHECK(s.resume() == "");
    CHECK(s.revoked(0, 20) == "receive 0 20-49 last");
    CHECK(s.revoked(1, 0) == "receive 1 50-149");
}

TEST_CASE("who is through in a pause waits for its end") {
    script s{even_split{2}};
    start_two_lanes(s);
    s.pause();
    CHECK(s.got(0, 50, true) == "");
    CHECK(s.revoked(1, 0) == "");
    CHECK(s.resume() == "receive 1 50-149, send 0 500-999 reused");
    // A reply that comes in a pause is not read on.
    s.pause();
    CHECK(s.reply(0, part({500, 999}, 1000)) == "");
    CHECK(s.revoked(1, 10) == "");
    CHECK(s.resume() == "receive 0 500-599 first, receive 1 60-159");
}

TEST_CASE("who breaks in a pause connects after its end") {
    script s{even_split{2}, 2, {.renewal = {.wait = 1s}}};
    start_two_lanes(s);
    s.pause();
    CHECK(s.broke(0, 20) == "close 0");
    CHECK(s.broke(1, 30) == "close 1");
    CHECK(s.wake_until(s.now + 1min) == "");
    CHECK(s.resume() == "connect 0, connect 1");
    CHECK(s.connected(0) == "send 0 20-49");
    CHECK(s.connected(1) == "send 1 80-499");
}

TEST_CASE("the lane that asks what the object is survives a pause") {
    script s{even_split{2}, 2, {.renewal = {.wait = 1s}}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.pause();
    CHECK(s.reply(0, head(503, "Content-Length: 3\r\n")) == "close 0");
    CHECK(s.wake_until(s.now + 2s) == "connect 0");
    CHECK(s.connected(0) == "");
    CHECK(s.resume() == "send 0 0-49 reused");
}

TEST_CASE("where the end of the object is part of a grant, a pause lets it come") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, whole(150));
    s.done(job::open);
    s.broke(0, 40);
    s.connected(0);
    s.done(job::open);
    CHECK(s.reply(0, head(200, "ETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n")) ==
          "receive 0 0-99 first to the end");
    CHECK(s.pause() == "revoke 0");
    CHECK(s.revoked(0, 60) == "");
    CHECK(s.resume() == "receive 0 60-149 last to the end");
    CHECK(s.pause() == "");
    CHECK(s.got(0, 90, true) == "close 0, sync 150");
}

TEST_CASE("a download may be cancelled in a pause") {
    script s{even_split{2}};
    start_two_lanes(s);
    s.pause();
    s.revoked(0, 1);
    CHECK(s.cancel() == "close 0, close 1, abandon");
}

// ---- pacing -------------------------------------------------------------------------------

TEST_CASE("no more is granted than the pacer gives, and the lanes take turns") {
    std::uint64_t purse = 120;
    script s{even_split{2}, 2, {.purse = &purse}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    CHECK(s.done(job::open) == "receive 0 0-49 first last, send 1 50-499 reused");
    CHECK(s.reply(1, part({50, 499}, 1000)) == "receive 1 50-119 first");
    CHECK(s.got(1, 70) == "");
    CHECK(s.got(0, 50, true) == "send 0 500-999 reused");
    CHECK(s.reply(0, part({500, 999}, 1000)) == "");
    // Nobody asks before the time that the pacer named.
    instant const from = s.now;
    purse = 30;
    CHECK(s.wake_until(from + 1s - 1ns) == "");
    CHECK(s.wake_until(from + 1s) == "receive 1 120-149");
    purse = 30;
    // It is lane 0's turn.
    CHECK(s.wake_until(from + 2s, {{}, {1, 1}}) == "receive 0 500-529 first");
    CHECK(s.engine.report().grants == 4);
}

TEST_CASE("what was granted and did not come is given back to the pacer") {
    std::uint64_t purse = 150;
    script s{even_split{2}, 2, {.renewal = {.wait = 1min}, .purse = &purse}};
    start_two_lanes(s);
    REQUIRE(purse == 0);
    SECTION("after a failure") {
        s.broke(1, 30);
        CHECK(purse == 70);
    }
    SECTION("after a revoke") {
        s.pause();
        s.revoked(1, 30);
        CHECK(purse == 70);
    }
    SECTION("after a stall") {
        s.wake_until(s.now + 1min, {{0, 0}, {30, 30}});
        CHECK(purse >= 70);
    }
    SECTION("at a bad end") {
        s.cancel();
        CHECK(purse == 150);
    }
}

TEST_CASE("another rate holds at once") {
    std::uint64_t purse = 50;
    script s{even_split{2}, 2, {.purse = &purse}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.reply(1, part({50, 499}, 1000)) == "");
    CHECK(s.tell(event::rate_changed{80}) == "receive 1 50-129 first");
}

// ---- pieces -------------------------------------------------------------------------------

TEST_CASE("a piece that came wrong is fetched again, alone") {
    script s{greedy{}, 1, {.verifier = {.wants = true, .parts = {.size = 50, .count = 4}}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 200));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "hash_piece 0-49, send 0 50-199 reused");
    CHECK(s.done(job::hash_piece, wrong_digest) == "");
    REQUIRE(s.observer.failed_pieces.size() == 1);
    CHECK(s.observer.failed_pieces[0].index == 0);
    CHECK(s.observer.failed_pieces[0].bytes == segment{0, 49});
    CHECK(s.engine.report().bytes == 0);
    CHECK(s.engine.report().bytes_twice == 50);
    CHECK(s.engine.report().pieces_failed == 1);
    s.reply(0, part({50, 199}, 200));
    // The piece and no more, though the lane would ask for all that is owed.
    CHECK(s.got(0, 100) == "send 0 0-49 reused ahead, receive 0 150-199 last, hash_piece 50-99");
    CHECK(s.broke(0, 0) == "close 0, connect 0");
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.done(job::hash_piece) == "hash_piece 100-149");
    CHECK(s.done(job::hash_piece) == "");
    s.reply(0, part({0, 49}, 200));
    CHECK(s.got(0, 50, true) == "hash_piece 0-49, send 0 150-199 reused");
    // Only what is proven is hashed.
    CHECK(s.done(job::hash_piece) == "hash 0-149");
    s.reply(0, part({150, 199}, 200));
    CHECK(s.got(0, 50, true) == "");
    CHECK(s.done(job::hash) == "hash_piece 150-199");
    CHECK(s.done(job::hash_piece) == "close 0, hash 150-199");
    CHECK(s.done(job::hash) == "finish_hash");
    CHECK(s.done(job::finish_hash) == "sync 200");
    CHECK(s.engine.report().bytes == 200);
}

TEST_CASE("a piece that comes wrong three times ends the download") {
    script s{even_split{1}, 1, {.verifier = {.parts = {.size = 50, .count = 1}}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 50));
    s.done(job::open);
    for (int i = 0; i < 2; ++i) {
        CHECK(s.got(0, 50, true) == "hash_piece 0-49");
        CHECK(s.done(job::hash_piece, wrong_digest) == "send 0 0-49 reused");
        CHECK(s.reply(0, part({0, 49}, 50)) == "receive 0 0-49 first last");
    }
    CHECK(s.got(0, 50, true) == "hash_piece 0-49");
    SECTION("or is right at last") {
        CHECK(s.done(job::hash_piece) == "close 0, sync 50");
        CHECK(s.engine.report().digest_verified);
        CHECK(s.engine.report().pieces_failed == 2);
        return;
    }
    CHECK(s.done(job::hash_piece, wrong_digest) == "close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::digest_mismatch);
    CHECK(detail_of(s) == "piece 0, bytes [0,49], came wrong 3 times");
    CHECK(s.engine.report().failed->where == phase::verify);
}

TEST_CASE("without ranges a wrong piece cannot be had again") {
    script s{even_split{1}, 1, {.verifier = {.parts = {.size = 100, .count = 2}}}};
    s.start();
    s.connected(0);
    s.reply(0, whole(150));
    s.done(job::open);
    CHECK(s.got(0, 100) == "receive 0 100-149 last, hash_piece 0-99");
    CHECK(s.done(job::hash_piece, wrong_digest) == "close 0, abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::digest_mismatch);
}

TEST_CASE("what was hashed before a new beginning proves nothing") {
    script s{even_split{1}, 1, {.verifier = {.parts = {.size = 100, .count = 2}}}};
    s.start();
    s.connected(0);
    s.reply(0, whole(150));
    s.done(job::open);
    CHECK(s.got(0, 100) == "receive 0 100-149 last, hash_piece 0-99");
    CHECK(s.broke(0, 10) == "close 0, connect 0");
    // Whatever came of it.
    CHECK(s.done(job::hash_piece, GENERATE(cleave::digest_value{}, wrong_digest)) == "open 150");
    s.connected(0);
    s.done(job::open);
    s.reply(0, whole(150));
    CHECK(s.got(0, 100) == "receive 0 100-149 last, hash_piece 0-99");
}

TEST_CASE("digests of pieces are for an object of one size") {
    script s{even_split{1}, 1, {.verifier = {.parts = {.size = 50, .count = 4}}}};
    s.start();
    s.connected(0);
    bool const fits = GENERATE(true, false);
    CHECK(s.reply(0, part({0, 49}, fits ? 151 : 150)) == (fits ? "open 151" : "close 0, finish"));
    if (fits) return;
    CHECK(outcome(s) == error::pieces_do_not_match_size);
    CHECK(detail_of(s) == "4 digests for pieces of 50 bytes, the object has 150 bytes");
}

// ---- ordered sinks ------------------------------------------------------------------------

TEST_CASE("an ordered sink is granted its window, and handed on what is whole chunks") {
    script s{greedy{}, 1, {.sink = {.window = 120, .chunk = 50}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 300));
    CHECK(s.done(job::open) == "receive 0 0-49 first last");
    CHECK(s.got(0, 50, true) == "deliver 0-49, send 0 50-299 reused");
    CHECK(s.reply(0, part({50, 299}, 300)) == "receive 0 50-119 first");
    // There is no room before something has been handed on.
    CHECK(s.got(0, 70) == "");
    CHECK(s.done(job::deliver) == "receive 0 120-169, deliver 50-99");
    CHECK(s.got(0, 50) == "");
    CHECK(s.done(job::deliver) == "receive 0 170-219, deliver 100-149");
    CHECK(s.done(job::deliver) == "");
    CHECK(s.got(0, 50) == "receive 0 220-269, deliver 150-199");
    CHECK(s.got(0, 50) == "");
    CHECK(s.done(job::deliver) == "receive 0 270-299 last, deliver 200-249");
    CHECK(s.got(0, 30, true) == "close 0");
    CHECK(s.done(job::deliver) == "deliver 250-299");
    CHECK(s.done(job::deliver) == "sync 300");
}

TEST_CASE("lanes divide the window of an ordered sink") {
    cleave::engine_windows windows = script_options{}.windows;
    windows.stripe = 60;
    // Less one chunk there are 120 bytes, for two lanes.
    script s{greedy{}, 4, {.windows = windows, .sink = {.window = 170, .chunk = 50}}};
    s.start();
    CHECK(s.connected(0) == "send 0 0-49, connect 1");
    s.connected(1);
    s.reply(0, part({0, 49}, 1000));
    CHECK(s.done(job::open) == "receive 0 0-49 first last, send 1 50-59 reused");
    CHECK(s.got(0, 50, true) == "deliver 0-49, send 0 60-119 reused");
    CHECK(s.reply(1, part({50, 59}, 1000)) == "receive 1 50-59 first last");
    // Its end would be beyond the window.
    CHECK(s.got(1, 10, true) == "");
    CHECK(s.done(job::deliver) == "send 1 120-179 reused");
}

TEST_CASE("where a piece must come again, a lane that waits for room makes way") {
    script s{greedy{},
             1,
             {.windows = {.grant = 100, .opening = 1000},
              .verifier = {.parts = {.size = 50, .count = 20}},
              .sink = {.window = 100, .chunk = 50}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 999}, 1000));
    CHECK(s.done(job::open) == "receive 0 0-99 first");
    CHECK(s.got(0, 100) == "hash_piece 0-49");
    CHECK(s.done(job::hash_piece, wrong_digest) == "hash_piece 50-99, close 0, connect 0");
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.done(job::hash_piece) == "");
    s.reply(0, part({0, 49}, 1000));
    CHECK(s.got(0, 50, true) == "hash_piece 0-49");
    // Pieces that are right are handed on.
    CHECK(s.done(job::hash_piece) == "deliver 0-49");
}

TEST_CASE("without ranges nothing is handed on twice") {
    script s{even_split{2}, 1, {.sink = {.window = 200, .chunk = 50}}};
    s.start();
    s.connected(0);
    s.reply(0, whole(500));
    s.done(job::open);
    CHECK(s.got(0, 100) == "receive 0 100-199, deliver 0-49");
    bool const ended = GENERATE(true, false);
    if (ended) CHECK(s.done(job::deliver) == "deliver 50-99");
    // Also where the first bytes are only being handed on.
    CHECK(s.broke(0, 20) == "close 0, connect 0");
    CHECK(s.engine.report().restarts == 1);
    CHECK(s.engine.report().bytes == 120);
    CHECK(s.connected(0) == "send 0 whole");
    // As far as there is room.
    CHECK(s.reply(0, whole(500)) ==
          (ended ? "receive 0 120-219 first skip 120" : "receive 0 120-199 first skip 120"));
}

TEST_CASE("what was handed on cannot be taken back where it may be of another object") {
    std::string const reply = head(200, "Content-Length: 500\r\n");
    bool const verified = GENERATE(false, true);
    std::uint64_t purse = 1000;
    script s{
        even_split{2},
        1,
        {.verifier = {.wants = verified}, .sink = {.window = 200, .chunk = 50}, .purse = &purse}};
    s.start();
    s.connected(0);
    s.reply(0, reply);
    s.done(job::open);
    s.got(0, 100);
    s.done(job::deliver);
    if (verified) {
        // A digest will tell.
        CHECK(s.broke(0, 0) == "close 0, connect 0");
        return;
    }
    CHECK(s.broke(0, 0) == "close 0");
    CHECK(purse == 900); // what did not come is given back, once
    CHECK(s.done(job::deliver) == "abandon");
    CHECK(s.done(job::abandon) == "finish");
    CHECK(outcome(s) == error::sink_cannot_restart);
}

namespace {

// As the first planner that somebody might write for an archive.
struct end_first {
    [[nodiscard]] segment next(segment gap, cleave::plan_state const&) const noexcept {
        return {gap.last - std::min<std::uint64_t>(gap.last - gap.first, 99), gap.last};
    }
};

} // namespace

TEST_CASE("an ordered sink with little room is fed from the beginning, whatever the planner") {
    script s{end_first{}, 1, {.sink = {.window = 60, .chunk = 50}}};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "deliver 0-49, send 0 50-999 reused");
}

// ---- fewer lanes, and more ----------------------------------------------------------------

TEST_CASE("lanes beyond what is wanted finish their lease, and go") {
    std::uint32_t wish = 3;
    script s{fixed_size{100}, 3, {.renewal = {.wait = 1s}, .wish = &wish}};
    s.start();
    for (lane_id i : {0U, 1U, 2U}) s.connected(i);
    s.reply(0, part({0, 99}, 1000));
    s.done(job::open);
    s.reply(1, part({100, 199}, 1000));
    s.reply(2, part({200, 299}, 1000));
    wish = 1;
    CHECK(s.got(1, 100, true) == "close 1");
    CHECK(s.kept.empty());
    CHECK(s.broke(2, 50) == "close 2");
    // Nor does one that failed come again.
    CHECK(s.wake_until(s.now + 2s, {{1, 1}, {}, {}}) == "");
    CHECK(s.got(0, 100, true) == "send 0 250-299 reused");
    wish = 2;
    CHECK(s.reply(0, part({250, 299}, 1000)) ==
          "send 0 300-399 reused ahead, receive 0 250-299 first last, connect 1");
    wish = 0; // counts as 1
    CHECK(s.connected(1) == "close 1");
    wish = 99; // counts as 3
    CHECK(s.got(0, 50, true) == "read next 0, connect 1, connect 2");
}

TEST_CASE("fewer lanes may be wanted before it is known what the object is") {
    std::uint32_t wish = 2;
    script s{even_split{2}, 2, {.renewal = {.wait = 1s}, .wish = &wish}};
    s.start();
    s.connected(0);
    s.connected(1);
    wish = 1;
    CHECK(s.reply(0, head(503, "Content-Length: 3\r\n")) == "close 0");
    // The one that asks is not the one too many.
    CHECK(s.wake_until(s.now + 1s) == "connect 0");
    CHECK(s.connected(0) == "send 0 0-49");
}

// ---- connections of others ----------------------------------------------------------------

TEST_CASE("a connection that another download has left is a used one") {
    script s{even_split{1}, 1, {.renewal = {.wait = 5s}}};
    s.start();
    CHECK(s.tell(event::connected{0, true}) == "send 0 0-49 reused");
    CHECK(s.engine.report().connections == 1);
    CHECK(s.engine.report().kept_connections == 1);
    // That it has died meanwhile is no failure.
    CHECK(s.failed(0, error::closed_before_reply, phase::head) == "close 0, connect 0");
    CHECK(s.engine.report().stale_connections == 1);
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.engine.report().connections == 2);
    CHECK(s.engine.report().kept_connections == 1);
}

TEST_CASE("at a good end idle connections are left to others") {
    script s{even_split{2}};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 100));
    s.done(job::open);
    s.reply(1, part({50, 99}, 100));
    s.got(0, 50, true);
    bool const clean = GENERATE(true, false);
    s.got(1, 50, clean);
    REQUIRE(s.running == job::sync);
    CHECK(s.kept == (clean ? std::vector<lane_id>{0, 1} : std::vector<lane_id>{0}));
}

TEST_CASE("a body of which only the end is missing is no object, where that must be seen") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    s.reply(0, whole(100));
    s.done(job::open);
    s.broke(0, 40);
    s.connected(0);
    s.done(job::open);
    CHECK(s.reply(0, head(200, "ETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n")) ==
          "receive 0 0-99 first last to the end");
    CHECK(s.broke(0, 100) == "close 0, connect 0, open 100");
    CHECK(s.engine.report().restarts == 2);
}

TEST_CASE("what was on its way when its lane was closed means nothing any more") {
    script s{even_split{2}};
    start_two_lanes(s);
    CHECK(s.broke(1, 10) == "close 1, connect 1");
    auto const before = s.engine.report();
    // Each of these may wait in the driver's queue behind the step that closed the lane.
    CHECK(s.got(1, 100) == "");
    CHECK(s.broke(1, 20) == "");
    CHECK(s.reply(1, part({60, 499}, 1000)) == "");
    CHECK(s.failed(1, error::closed_in_head, phase::head) == "");
    CHECK(s.engine.report().bytes == before.bytes);
    CHECK(s.engine.report().retries == before.retries);
    CHECK(s.connected(1) == "send 1 60-499");
}

TEST_CASE("a connection that stood when its lane was closed already is none") {
    script s{even_split{4}, 4};
    s.start();
    s.connected(0);
    s.connected(1);
    CHECK(s.reply(0, whole(250)) == "close 1, close 2, close 3, open 250");
    CHECK(s.connected(2) == "");
    CHECK(s.engine.lanes()[2].is == cleave::lane::state::idle);
    CHECK(s.engine.report().connections == 2);
}

TEST_CASE("lanes that wait for their time do not keep one from working") {
    script s{even_split{2}, 2, {.renewal = {.wait = 600s}}};
    start_two_lanes(s);
    CHECK(s.broke(1, 10) == "close 1");
    CHECK(s.got(0, 50, true) == "send 0 60-499 reused");
}
