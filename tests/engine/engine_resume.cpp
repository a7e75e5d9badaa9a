// SPDX-License-Identifier: BSL-1.0
//
// Going on: after a crash, with what the journal and the partial still have; and step by step down
// the ladder when a server will not do as it should. Scripted, without any I/O.

#include <engine/script.hpp>

#include <support/catch.hpp>

#include <cleave/base/crc32c.hpp>
#include <cleave/plan/fixed_size.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace cleave_test;
using cleave::checked_segment;
using cleave::even_split;
using cleave::next_step;
using cleave::resume_state;

namespace {

constexpr std::uint32_t good_crc = 0x1234;
constexpr std::uint32_t bad_crc = 0x4321;

script_options with_journal() {
    return {.sink = {.readable = true}, .journal = true, .record = {.bytes = 200, .time = 10s}};
}
script_options with_source() {
    script_options o;
    o.sink.readable = true;
    o.can_refresh = true;
    return o;
}

// An object of 1000 bytes, of which these are in place.
resume_state left_behind(std::vector<segment> const& there) {
    resume_state s;
    s.identity = {1000, {cleave::validator::kind::strong_etag, "\"v1\""}, {}};
    s.wanted = {0, 999};
    s.url = "http://h/x";
    for (segment const run : there) s.in_place.push_back({run, good_crc});
    return s;
}

template <class Script>
std::string recalled(Script& s, resume_state state) {
    REQUIRE(s.running == job::recall);
    s.running.reset();
    return s.tell(event::recalled{{}, std::make_shared<resume_state const>(std::move(state))});
}
template <class Script>
std::string checked(Script& s, std::uint32_t crc = good_crc) {
    REQUIRE(s.running == job::check);
    s.running.reset();
    return s.tell(event::job_ended{.what = job::check, .failed = {}, .digest = {}, .crc = crc});
}
// As `script::got`, with a checksum.
template <class Script>
std::string brought(Script& s, lane_id id, std::uint64_t bytes, bool body_ended = false) {
    return s.tell(event::grant_ended{
        .lane = id, .bytes = bytes, .body_ended = body_ended, .failed = {}, .crc = good_crc});
}
template <class Script>
std::string fresh(Script& s, char const* url) {
    return s.tell(event::refreshed{{}, std::make_shared<cleave::request const>(url)});
}

// The opening request of a run that goes on; 0-299 and 600-699 are in place.
void resume(script<even_split>& s) {
    REQUIRE(s.start() == "recall");
    REQUIRE(recalled(s, left_behind({{0, 299}, {600, 699}})) == "check 0-299");
    REQUIRE(checked(s) == "check 600-699");
    REQUIRE(checked(s) == "connect 0");
}

} // namespace

TEST_CASE("without a journal nothing is recalled") {
    script s{even_split{2}};
    CHECK(s.start() == "connect 0");
}

TEST_CASE("an empty journal is as none, but is written to") {
    script s{even_split{2}, 1, with_journal()};
    REQUIRE(s.start() == "recall");
    s.running.reset();
    CHECK(s.tell(event::recalled{}) == "connect 0");
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.reply(0, part({0, 49}, 1000)) == "open 1000");
    CHECK(s.done(job::open) == "receive 0 0-49 first last");
    CHECK(brought(s, 0, 50, true) == "send 0 50-499 reused");
    CHECK(s.reply(0, part({50, 499}, 1000)) == "receive 0 50-149 first");
    // 200 bytes are in place.
    CHECK(brought(s, 0, 100) == "receive 0 150-249");
    // No more is granted until that is recorded: a crash could lose it all.
    CHECK(brought(s, 0, 100) == "record");
    auto const kept = s.engine.state_to_keep();
    CHECK(kept.identity.size == 1000);
    CHECK(kept.url == "http://h/x");
    REQUIRE(kept.in_place.size() == 1);
    CHECK(kept.in_place[0].bytes == segment{0, 249});
    CHECK(s.done(job::record) == "receive 0 250-349");
    // The time comes before the bytes do.
    CHECK(s.wake_until(s.now + 10s, {{60, 60, 7}}) == "record");
    CHECK(s.engine.state_to_keep().in_place.at(0).bytes == segment{0, 309});
}

TEST_CASE("what an earlier run left is checked, and gone on with from the first byte missing") {
    script s{even_split{2}, 2, with_journal()};
    resume(s);
    CHECK(s.engine.report().bytes_resumed == 400);
    // 4 KiB before it are asked for, too: here all that is there.
    CHECK(s.connected(0) == "send 0 0-349, connect 1");
    CHECK(s.sent.find("If-Range: \"v1\"\r\n") != std::string::npos);
    CHECK(s.reply(0, part({0, 349}, 1000)) == "open 1000");
    CHECK(s.observer.resumed == std::vector<std::uint64_t>{400});
    CHECK(s.done(job::open) == "receive 0 300-349 first skip 300 compare 300 last");
    CHECK(s.connected(1).starts_with("send 1 "));
    CHECK(s.engine.report().restarts == 0);
}

TEST_CASE("a run with another checksum is fetched again") {
    script s{even_split{2}, 1, with_journal()};
    REQUIRE(s.start() == "recall");
    REQUIRE(recalled(s, left_behind({{0, 299}, {600, 699}})) == "check 0-299");
    CHECK(checked(s, bad_crc) == "check 600-699");
    SECTION("the other one counts") {
        CHECK(checked(s) == "connect 0");
        CHECK(s.engine.report().bytes_resumed == 100);
        CHECK(s.connected(0) == "send 0 0-49");
    }
    SECTION("nor can the other be read") {
        CHECK(s.job_failed(job::check, std::make_error_code(std::errc::io_error)) == "connect 0");
        CHECK(s.engine.report().bytes_resumed == 0);
        CHECK(s.connected(0) == "send 0 0-49");
        CHECK(s.sent.find("If-Range") == std::string::npos);
    }
}

TEST_CASE("a long run is checked in parts") {
    auto const crc = [](std::uint32_t a, std::uint32_t b, std::uint64_t n) {
        return cleave::crc32c_join(a, b, n);
    };
    auto state = left_behind({{0, 699}});
    state.in_place[0].crc = crc(crc(1, 2, 300), 3, 100);
    script s{even_split{2}, 1, with_journal()};
    REQUIRE(s.start() == "recall");
    CHECK(recalled(s, state) == "check 0-299");
    CHECK(checked(s, 1) == "check 300-599");
    CHECK(checked(s, 2) == "check 600-699");
    CHECK(checked(s, 3) == "connect 0");
    CHECK(s.engine.report().bytes_resumed == 700);
}

TEST_CASE("what is of another download is not gone on with (K05)") {
    auto state = left_behind({{0, 299}});
    SECTION("another URL") { state.url = "http://h/y"; }
    SECTION("another part") { state.wanted = {0, 899}; }
    SECTION("no validator") { state.identity.validator = {}; }
    SECTION("no size") { state.identity.size.reset(); }
    SECTION("nothing in place") { state.in_place.clear(); }
    script s{even_split{2}, 1, with_journal()};
    REQUIRE(s.start() == "recall");
    CHECK(recalled(s, state) == "connect 0");
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.sent.find("If-Range") == std::string::npos);
}

TEST_CASE("an object that is another one now is fetched from its first byte") {
    script s{even_split{2}, 1, with_journal()};
    resume(s);
    s.connected(0);
    std::string reply;
    SECTION("it came whole, for If-Range did not hold") {
        reply = head(200, "Content-Length: 1000\r\nETag: \"v2\"\r\n");
    }
    SECTION("the server does not know If-Range (B02)") {
        reply = head(206, "Content-Range: bytes 0-349/1000\r\nContent-Length: 350\r\n"
                          "ETag: \"v2\"\r\n");
    }
    SECTION("it is shorter (A19)") { reply = head(416, "Content-Range: bytes */200\r\n"); }
    SECTION("it has no validator any more") {
        reply = head(206, "Content-Range: bytes 0-349/1000\r\nContent-Length: 350\r\n");
    }
    SECTION("the server has no ranges any more") { reply = whole(1000); }
    CHECK(s.reply(0, reply) == "close 0, connect 0");
    CHECK(s.engine.report().bytes == 0);
    CHECK(s.engine.report().retries == 0);
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.sent.find("If-Range") == std::string::npos);
    CHECK(s.reply(0, head(206, "Content-Range: bytes 0-49/1000\r\nContent-Length: 50\r\n"
                               "ETag: \"v2\"\r\n")) == "open 1000");
    CHECK(s.engine.report().identity.validator.text == "\"v2\"");
}

TEST_CASE("as long as nobody says that it is another one, what is there stays") {
    script s{even_split{2}, 1, with_journal()};
    resume(s);
    s.connected(0);
    SECTION("a server that is busy is asked again") {
        CHECK(s.reply(0, head(503, "Content-Length: 3\r\n")) == "close 0, connect 0");
        CHECK(s.connected(0) == "send 0 0-349");
    }
    SECTION("an object that is not there now may come back") {
        CHECK(s.reply(0, head(404)) == "close 0, keep");
        CHECK(s.done(job::keep) == "finish");
        CHECK(s.engine.report().kept);
    }
    SECTION("a reply that makes no sense is asked for again") {
        CHECK(s.reply(0, part({1, 349}, 1000)) == "close 0, connect 0");
        CHECK(s.connected(0) == "send 0 0-349");
    }
    SECTION("the caller gives up") {
        CHECK(s.cancel() == "close 0, keep");
        CHECK(s.done(job::keep) == "finish");
    }
}

TEST_CASE("where all of it was said to be in place, and is not, all is fetched") {
    script s{even_split{2}, 4, with_journal()};
    REQUIRE(s.start() == "recall");
    REQUIRE(recalled(s, left_behind({{0, 999}})) == "check 0-299");
    CHECK(checked(s, 0) == "check 300-599");
    CHECK(checked(s, 0) == "check 600-899");
    CHECK(checked(s, 0) == "check 900-999");
    // That was wrong: everything is fetched.
    CHECK(checked(s, 0) == "connect 0");
    CHECK(s.engine.report().bytes_resumed == 0);
}

TEST_CASE("with everything in place, and without a digest, a head is all that is asked for (K09)") {
    script_options o = with_journal();
    o.windows.hash = 2000;
    script s{even_split{2}, 4, o};
    REQUIRE(s.start() == "recall");
    REQUIRE(recalled(s, left_behind({{0, 999}})) == "check 0-999");
    CHECK(checked(s) == "connect 0");
    CHECK(s.connected(0).starts_with("send 0 999-999"));
    CHECK(s.reply(0, part({999, 999}, 1000)) == "close 0, open 1000, close 1");
    CHECK(s.done(job::open) == "sync 1000");
    CHECK(s.done(job::sync) == "publish");
    CHECK(s.done(job::publish) == "forget");
    CHECK(s.done(job::forget) == "finish");
    CHECK(s.engine.report().requests == 1);
    CHECK_FALSE(s.engine.report().failed);
}

TEST_CASE("who gives up at once loses nothing of what an earlier run left") {
    script s{even_split{2}, 1, with_journal()};
    REQUIRE(s.start() == "recall");
    SECTION("while it is looked for") {
        CHECK(s.cancel() == "");
        CHECK(recalled(s, left_behind({{0, 299}})) == "keep");
    }
    SECTION("while it is looked at") {
        recalled(s, left_behind({{0, 299}}));
        CHECK(s.cancel() == "");
        CHECK(checked(s) == "keep");
    }
    SECTION("nor where it is of no use to this run, and nothing came in its place") {
        auto other = left_behind({{0, 299}});
        other.url = "http://h/y";
        CHECK(recalled(s, other) == "connect 0");
        s.connected(0);
        CHECK(s.reply(0, head(404)) == "close 0, keep");
    }
    SECTION("but what has begun to be overwritten is gone") {
        auto other = left_behind({{0, 299}});
        other.url = "http://h/y";
        recalled(s, other);
        s.connected(0);
        CHECK(s.reply(0, part({0, 49}, 1000)) == "open 1000");
        CHECK(s.cancel() == "close 0");
        CHECK(s.done(job::open) == "abandon");
    }
}

TEST_CASE("a download that fails keeps what is in place, and records it") {
    script s{even_split{2}, 1, with_journal()};
    REQUIRE(s.start() == "recall");
    s.running.reset();
    s.tell(event::recalled{});
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    SECTION("what came of an unfinished grant, too") {
        s.tell(event::looked{std::vector<event::lane_window>{{30, 30, good_crc}}});
        CHECK(s.cancel() == "close 0, record");
        CHECK(s.engine.state_to_keep().in_place == std::vector{checked_segment{{0, 29}, good_crc}});
        CHECK(s.done(job::record) == "keep");
        CHECK(s.done(job::keep) == "finish");
        CHECK(s.engine.report().kept);
        CHECK(s.engine.report().bytes == 30);
    }
    SECTION("with nothing in place there is nothing to keep") {
        CHECK(s.cancel() == "close 0, abandon");
        CHECK_FALSE(s.engine.report().kept);
    }
    SECTION("a journal that cannot be written leaves what it had") {
        CHECK(brought(s, 0, 50, true) == "send 0 50-499 reused");
        CHECK(s.cancel() == "close 0, record");
        CHECK(s.job_failed(job::record, std::make_error_code(std::errc::no_space_on_device)) ==
              "keep");
        CHECK(s.done(job::keep) == "finish");
        CHECK(s.engine.report().failed->code == error::cancelled);
    }
    SECTION("an object that changed is not kept") {
        brought(s, 0, 50, true);
        CHECK(s.reply(0, head(200, "Content-Length: 1000\r\nETag: \"v2\"\r\n")) ==
              "close 0, abandon");
        CHECK(s.engine.report().failed->code == error::object_changed);
    }
    SECTION("nor is what may not have reached the disk (J04)") {
        brought(s, 0, 50, true);
        s.reply(0, part({50, 499}, 1000));
        for (int i = 0; i != 4; ++i) brought(s, 0, 100);
        REQUIRE(s.running == job::record);
        s.running.reset();
        event::job_ended e{.what = job::record, .failed = {}, .digest = {}};
        e.failed = failure{std::make_error_code(std::errc::io_error),
                           cause::storage,
                           phase::sink,
                           0,
                           std::nullopt,
                           {}};
        e.data_lost = true;
        CHECK(s.tell(e) == "close 0, abandon");
    }
}

TEST_CASE("what cannot be told apart later is not recorded (B04, B05)") {
    script s{even_split{2}, 1, with_journal()};
    REQUIRE(s.start() == "recall");
    s.running.reset();
    s.tell(event::recalled{});
    s.connected(0);
    s.reply(0, head(206, "Content-Range: bytes 0-49/1000\r\nContent-Length: 50\r\n"));
    s.done(job::open);
    CHECK(brought(s, 0, 50, true) == "send 0 50-499 reused");
    CHECK(s.engine.state_to_keep() == resume_state{});
    CHECK(s.cancel() == "close 0, abandon");
}

TEST_CASE("everything is recorded before it is hashed and published") {
    script_options o = with_journal();
    o.verifier = {.wants = true};
    script s{even_split{1}, 1, o, cleave::request{"http://h/x"}.only({0, 49})};
    REQUIRE(s.start() == "recall");
    s.running.reset();
    s.tell(event::recalled{});
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(brought(s, 0, 50, true) == "close 0, record");
    SECTION("as it should be") { CHECK(s.done(job::record) == "hash 0-49"); }
    SECTION("a journal that fails now does no harm") {
        CHECK(s.job_failed(job::record, std::make_error_code(std::errc::no_space_on_device)) ==
              "hash 0-49");
    }
}

// ---- fresh requests -------------------------------------------------------------------------

TEST_CASE("a URL that has expired is renewed once, for all lanes (E09)") {
    script s{even_split{2}, 2, with_source()};
    start_two_lanes(s);
    s.got(0, 50, true); // lane 0 asks for 500-999
    CHECK(s.reply(0, head(403)) == "close 0, refresh");
    CHECK(s.observer.attempts.back().next == next_step::fresh_request);
    SECTION("the other lane goes on meanwhile, and joins") {
        CHECK(s.got(1, 100) == "receive 1 150-249");
        CHECK(s.broke(1, 0) == "close 1, connect 1");
        // Nothing is asked for with the old URL any more.
        CHECK(s.connected(1) == "");
        CHECK(fresh(s, "http://h/x?again").starts_with("send 1 "));
        CHECK(s.wake() == "connect 0");
        CHECK(s.connected(0).starts_with("send 0 "));
        CHECK(s.sent.starts_with("GET /x?again "));
    }
    SECTION("it fails in the same way") {
        s.got(1, 100);
        s.broke(1, 0);
        CHECK(fresh(s, "http://h/x?again") == "");
        s.wake();
        s.connected(0);
        // Without a byte between them a second one would not help.
        CHECK(s.reply(0, head(403)) == "close 0, close 1, abandon");
        CHECK(s.engine.report().failed->code == error::forbidden);
    }
    SECTION("there is none") {
        CHECK(s.tell(event::refreshed{failure::of(error::no_fresh_request, phase::setup), {}}) ==
              "close 0, close 1, abandon");
        CHECK(s.engine.report().failed->code == error::no_fresh_request);
    }
    SECTION("it cannot be used") {
        CHECK(fresh(s, "ftp://h/x") == "close 0, close 1, abandon");
        CHECK(s.engine.report().failed->code == error::unsupported_scheme);
    }
    CHECK(s.engine.report().refreshes == 1);
}

TEST_CASE("behind a fresh URL the first bytes are compared with those in place") {
    script_options o = with_source();
    o.windows.sample = 20;
    script s{even_split{1}, 1, o};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "send 0 50-999 reused");
    CHECK(s.reply(0, head(401)) == "close 0, refresh");
    CHECK(fresh(s, "http://other/x") == "");
    CHECK(s.wake() == "connect 0");
    CHECK(s.connected(0) == "send 0 30-999");
    CHECK(s.sent.find("Host: other\r\n") != std::string::npos);
    SECTION("they are the same") {
        CHECK(s.reply(0, part({30, 999}, 1000)) == "receive 0 50-149 first skip 20 compare 20");
        s.got(0, 100);
        s.broke(0, 0);
        // Once is enough.
        CHECK(s.connected(0) == "send 0 150-999");
    }
    SECTION("they are not") {
        s.reply(0, part({30, 999}, 1000));
        failure differ = failure::of(error::bytes_differ, phase::body);
        CHECK(s.tell(event::grant_ended{.lane = 0, .bytes = 0, .failed = differ}) ==
              "close 0, abandon");
        CHECK(s.engine.report().failed->code == error::bytes_differ);
    }
    SECTION("it is another object") {
        CHECK(s.reply(0, part({30, 998}, 999)) == "close 0, abandon");
        CHECK(s.engine.report().failed->code == error::size_changed);
    }
}

TEST_CASE("without a source, a refused URL ends the download at once") {
    script s{even_split{2}};
    start_two_lanes(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, head(403)) == "close 0, close 1, abandon");
}

TEST_CASE("where it is known how long a URL holds, a fresh one is there in time") {
    script_options o = with_source();
    cleave::request what{"http://h/x"};
    what.valid_for = 100s;
    script s{even_split{1}, 1, o, what};
    s.start();
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    s.got(0, 50, true);
    s.reply(0, part({50, 999}, 1000));
    instant const from{1'000'000'000};
    std::uint64_t n = 0;
    std::string all;
    while (all.find("refresh") == std::string::npos && s.now < from + 95s) {
        n += 1;
        all += s.wake({{std::min<std::uint64_t>(n, 99), n}});
    }
    CHECK(all == "refresh");
    CHECK(s.now == from + 90s);
    CHECK(fresh(s, "http://h/x?2") == "");
    s.got(0, 100);
    s.broke(0, 0);
    CHECK(s.connected(0).starts_with("send 0 "));
    CHECK(s.sent.starts_with("GET /x?2 "));
}

// ---- the ladder -----------------------------------------------------------------------------

TEST_CASE("a refusal that is all there leaves the connection for the next try") {
    script s{even_split{2}, 2, {.renewal = {.wait = 1s}}};
    start_two_lanes(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, head(503, "Content-Length: 4\r\n") + "busy") == "");
    CHECK(s.observer.attempts.back().next == next_step::same_connection);
    CHECK(s.wake_until(s.now + 1s, {{}, {0, 1}}) == "send 0 500-999 reused");
    CHECK(s.engine.report().retries_in_place == 1);
    SECTION("not where it is not all there") {
        CHECK(s.reply(0, head(503, "Content-Length: 4\r\n") + "bus") == "close 0");
        CHECK(s.observer.attempts.back().next == next_step::new_connection);
    }
    SECTION("nor where it says that it closes") {
        CHECK(s.reply(0, head(503, "Content-Length: 0\r\nConnection: close\r\n")) == "close 0");
    }
    SECTION("nor where more follows than it said") {
        CHECK(s.reply(0, head(503, "Content-Length: 1\r\n") + "busy") == "close 0");
    }
}

TEST_CASE("a connection that was to serve for the next try is closed in a pause") {
    script s{even_split{2}, 2, {.renewal = {.wait = 1s}}};
    start_two_lanes(s);
    s.got(0, 50, true);
    s.reply(0, head(503, "Content-Length: 4\r\n") + "busy");
    CHECK(s.pause() == "revoke 1");
    CHECK(s.wake_until(s.now + 1s, {{}, {0, 1}}) == "close 0");
    CHECK(s.resume() == "connect 0");
}

TEST_CASE("when nothing comes any more, one lane finds out for all") {
    script s{even_split{4}, 4, {.renewal = {.tries = 4, .wait = 10s}}};
    s.start();
    for (lane_id i = 0; i != 4; ++i) s.connected(i);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    for (lane_id i = 1; i != 4; ++i) s.reply(i, part(s.engine.lanes()[i].held->bytes, 1000));
    s.got(0, 50, true);
    s.failed(0, error::closed_before_reply, phase::head); // stale
    s.failed(0, error::connect_timeout, phase::connect);
    for (lane_id i = 1; i != 4; ++i) s.broke(i, 0);
    auto const connects = [](std::string const& text) {
        std::size_t n = 0;
        for (auto at = text.find("connect"); at != std::string::npos;
             at = text.find("connect", at + 1))
            ++n;
        return n;
    };
    std::string all = s.wake_until(s.now + 10s);
    CHECK(connects(all) == 1);
    SECTION("the server is back: the others follow") {
        lane_id prober = 0;
        while (s.engine.lanes()[prober].is != cleave::lane::state::connecting) ++prober;
        s.connected(prober);
        s.reply(prober, part(s.engine.lanes()[prober].held->bytes, 1000));
        s.got(prober, 10);
        CHECK(connects(s.wake_until(s.now + 1ms)) == 3);
    }
    SECTION("it is not: the download ends after the tries of one") {
        std::uint64_t tries = 1;
        while (!s.finished && !s.engine.report().failed) {
            for (lane_id i = 0; i != 4; ++i)
                if (s.engine.lanes()[i].is == cleave::lane::state::connecting) {
                    s.failed(i, error::connect_timeout, phase::connect);
                    ++tries;
                }
            if (!s.engine.report().failed) s.wake_until(s.now + 10s);
        }
        CHECK(s.engine.report().failed->code == error::connect_timeout);
        CHECK(tries <= 5);
    }
}

TEST_CASE("of a server whose ranges cannot be used, one stream brings all (A02, A03, A04, A17)") {
    script s{even_split{2}, 2, {.renewal = {.tries = 2}}};
    start_two_lanes(s);
    s.got(0, 50, true);
    std::string reply;
    SECTION("ignored") { reply = whole(1000); }
    SECTION("shifted") { reply = part({501, 999}, 1000); }
    SECTION("not said which") { reply = head(206, "Content-Length: 500\r\nETag: \"v1\"\r\n"); }
    SECTION("several") {
        reply = head(206, "Content-Type: multipart/byteranges; boundary=x\r\nETag: \"v1\"\r\n");
    }
    SECTION("without the validator that was there") {
        reply = head(206, "Content-Range: bytes 500-999/1000\r\nContent-Length: 500\r\n");
    }
    std::string log;
    auto const fail_again = [&](lane_id i) {
        if (s.engine.lanes()[i].is == cleave::lane::state::connecting) log += s.connected(i) + "; ";
        if (s.engine.lanes()[i].is == cleave::lane::state::requesting)
            log += s.reply(i, reply) + "; ";
    };
    for (int i = 0; i != 3; ++i) fail_again(0);
    // The other lane still brings something; then it fails in the same way.
    log += s.broke(1, 0) + "; ";
    for (int i = 0; i != 3 && !s.engine.report().one_stream; ++i) fail_again(1);
    CAPTURE(log);
    REQUIRE(s.engine.report().one_stream);
    CHECK(s.observer.attempts.back().next == next_step::one_stream);
    CHECK(s.running == job::open);
    CHECK(s.connected(0) == "");
    CHECK(s.done(job::open) == "send 0 whole reused");
    CHECK(s.reply(0, whole(1000)).ends_with("receive 0 0-99 first"));
    CHECK(s.engine.report().bytes == 0);
}

TEST_CASE("an object that changes is begun again only with leave, and so often") {
    cleave::request what{"http://h/x"};
    auto const changed = [](char const* etag) {
        return head(206, std::string{"Content-Range: bytes 500-999/1000\r\nContent-Length: 500\r\n"
                                     "ETag: "} +
                             etag + "\r\n");
    };
    auto const opening = [](char const* etag) {
        return head(206, std::string{"Content-Range: bytes 0-49/1000\r\nContent-Length: 50\r\n"
                                     "ETag: "} +
                             etag + "\r\n");
    };
    SECTION("without leave that is the end") {
        script s{even_split{2}};
        start_two_lanes(s);
        s.got(0, 50, true);
        CHECK(s.reply(0, changed("\"v2\"")) == "close 0, close 1, abandon");
        CHECK(s.engine.report().failed->code == error::object_changed);
        CHECK(s.engine.report().retries == 0);
    }
    SECTION("with leave it is the new one") {
        what.new_versions = 2;
        script s{even_split{2}, 2, {}, what};
        start_two_lanes(s);
        s.got(0, 50, true);
        CHECK(s.reply(0, changed("\"v2\"")).ends_with("connect 0"));
        CHECK(s.observer.attempts.back().next == next_step::new_version);
        CHECK(s.connected(0).starts_with("send 0 0-49"));
        CHECK(s.sent.find("If-Range") == std::string::npos);
        CHECK(s.reply(0, opening("\"v2\"")) == "open 1000");
        CHECK(s.done(job::open).starts_with("receive 0 0-49 first last"));
        CHECK(s.engine.report().new_versions == 1);
        SECTION("when it changes again, by one connection alone (B06)") {
            s.got(0, 50, true);
            CHECK(s.reply(0, head(206, "Content-Range: bytes 50-499/1000\r\nContent-Length: 450\r\n"
                                       "ETag: \"v1\"\r\n"))
                      .ends_with("connect 0"));
            CHECK(s.connected(0) == "send 0 whole");
            CHECK(s.reply(0, whole(1000)).ends_with("open 1000"));
            s.done(job::open);
            SECTION("which sees the end of it") {
                for (int i = 0; i != 9; ++i) s.got(0, 100);
                CHECK(s.got(0, 100, true) == "close 0, sync 1000");
            }
            SECTION("and no further") {
                s.broke(0, 10);
                s.done(job::open);
                s.connected(0);
                s.reply(0, head(200, "Content-Length: 1000\r\nETag: \"v3\"\r\n"));
                REQUIRE(s.engine.report().failed);
                CHECK(s.engine.report().failed->code == error::object_unstable);
            }
        }
    }
}
