// SPDX-License-Identifier: BSL-1.0
//
// Several places for one object. Where a digest was given beforehand their bytes are joined; else
// one is used at a time, and bytes of two never meet. Who will not do, or has another object, is
// given up and named, as long as another is left. First in scripts, then among random places of
// which one is sound: whatever the others do, the right bytes are had, or a failure says why not.

#include <engine/script.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cleave/plan/even_split.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;
using cleave::even_split;
using cleave::next_step;
using cleave::request;
using cleave::resume_state;
using lane_is = cleave::lane::state;

namespace {

constexpr std::uint64_t expected = 7; // a digest, as a journal knows it
constexpr std::uint32_t good_crc = 5;

request two() { return request{"http://a/x"}.with_mirror("http://b/y"); }
request three() { return two().with_mirror("http://c/z"); }

script_options with_digest() {
    script_options o;
    o.verifier.wants = true;
    o.verifier.print = expected;
    return o;
}
script_options with_pieces() {
    script_options o;
    o.verifier.parts = {100, 10};
    return o;
}
script_options with_journal(script_options o) {
    o.journal = true;
    o.sink.readable = true;
    o.windows.hash = 1000;
    return o;
}

std::string tagged(segment s, std::string_view tag, std::uint64_t total = 1000) {
    return head(206, "Content-Range: bytes " + action_text::of(s) + "/" + std::to_string(total) +
                         "\r\nContent-Length: " + std::to_string(s.size()) + "\r\nETag: \"" +
                         std::string{tag} + "\"\r\n");
}
std::string refusal(int status, std::string_view more = {}) {
    return head(status, "Content-Length: 0\r\n" + std::string{more});
}
failure of_kind(cause kind, phase where) {
    failure f = failure::of(error::connect_timeout, where);
    f.kind = kind;
    return f;
}

bool has(std::string_view text, std::string_view what) {
    return text.find(what) != std::string_view::npos;
}
std::string host_asked(std::string_view sent) {
    constexpr std::string_view name = "\r\nHost: ";
    auto const from = sent.find(name) + name.size();
    return std::string{sent.substr(from, sent.find('\r', from) - from)};
}

template <class Script>
std::uint32_t mirror_of(Script const& s, lane_id id) {
    return s.engine.lanes()[id].mirror;
}
// The whole reply that a lane waits for.
template <class Script>
std::string bring_head(Script& s, lane_id id, std::string_view tag) {
    return s.reply(id, tagged(s.engine.lanes()[id].held->bytes, tag));
}
// Of an earlier run, which are in place.
std::shared_ptr<resume_state const> left_behind(segment there, char const* url,
                                                std::uint64_t expectation) {
    resume_state s;
    s.identity = {1000, {cleave::validator::kind::strong_etag, "\"b\""}, {}};
    s.wanted = {0, 999};
    s.url = url;
    s.expectation = expectation;
    s.in_place = {{there, good_crc}};
    return std::make_shared<resume_state const>(std::move(s));
}
template <class Script>
std::string recalled(Script& s, std::shared_ptr<resume_state const> state) {
    REQUIRE(s.running == job::recall);
    s.running.reset();
    return s.tell(event::recalled{.state = std::move(state)});
}
template <class Script>
std::string checked(Script& s) {
    REQUIRE(s.running == job::check);
    s.running.reset();
    return s.tell(
        event::job_ended{.what = job::check, .failed = {}, .digest = {}, .crc = good_crc});
}

// Every lane brings what it waits for, and the job ends. `of_piece`: what is found of any.
template <class Script>
void all_go_on(Script& s, cleave::digest_value const& of_piece = {}) {
    for (lane_id i = 0; i != s.engine.lanes().size(); ++i) {
        cleave::lane const& l = s.engine.lanes()[i];
        if (l.is == lane_is::connecting)
            s.connected(i);
        else if (l.is == lane_is::requesting)
            bring_head(s, i, std::string(1, "abc"[l.mirror]));
        else if (l.is == lane_is::receiving)
            s.got(i, l.grant.size(), l.grant.last == l.reply_bytes.last);
    }
    if (!s.running) return;
    s.done(*s.running, s.running == job::hash_piece ? of_piece : cleave::digest_value{});
}

// The two lanes are receiving, each from its own mirror.
template <class Script>
void start_joining(Script& s) {
    s.start();
    if (s.running == job::recall) recalled(s, nullptr);
    REQUIRE(s.connected(0) == "send 0 0-49, connect 1");
    REQUIRE(host_asked(s.sent) == "a");
    REQUIRE(s.connected(1) == "");
    REQUIRE(s.reply(0, tagged({0, 49}, "a")) == "open 1000");
    REQUIRE(s.done(job::open) == "receive 0 0-49 first last, send 1 50-499 reused");
    REQUIRE(host_asked(s.sent) == "b");
    REQUIRE(s.reply(1, tagged({50, 499}, "b")) == "receive 1 50-149 first");
}

} // namespace

// ---- joined, or one at a time -------------------------------------------------------------

TEST_CASE("with a digest given, lanes go to all mirrors, and each is asked by its own validator") {
    script s{even_split{2}, 2, GENERATE(with_digest(), with_pieces()), two()};
    start_joining(s);
    // Nothing was known of it yet but the size.
    CHECK_FALSE(has(s.sent, "If-Range"));
    CHECK(has(s.got(0, 50, true), "send 0 500-999 reused"));
    CHECK(host_asked(s.sent) == "a");
    CHECK(has(s.sent, "If-Range: \"a\"\r\n"));
    CHECK(s.observer.dropped.empty());
}

TEST_CASE("without a digest all lanes ask the first, and nobody has its word for the others'") {
    script s{even_split{2}, 2, {}, two()};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, tagged({0, 49}, "a"));
    s.done(job::open);
    CHECK(host_asked(s.sent) == "a");
    CHECK(has(s.sent, "If-Range: \"a\"\r\n"));
    // Which version is wanted is not for us to say.
    CHECK(has(bring_head(s, 1, "changed"), "abandon"));
    CHECK(s.engine.report().failed->kind == cause::identity_changed);
    CHECK(s.observer.dropped.empty());
}

TEST_CASE("a digest that a server sends does not join mirrors: it may be of its bytes alone") {
    script_options o;
    o.verifier.learns = true;
    script s{even_split{2}, 2, o, two()};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, part({0, 49}, 1000, "Repr-Digest: x\r\n"));
    REQUIRE(s.engine.verifier().wanted());
    s.done(job::open);
    CHECK(mirror_of(s, 0) == 0);
    CHECK(mirror_of(s, 1) == 0);
    CHECK(host_asked(s.sent) == "a");
}

TEST_CASE("without a digest the next mirror is begun at anew") {
    script s{even_split{2}, 2, {}, two()};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, tagged({0, 49}, "a"));
    s.done(job::open);
    bring_head(s, 1, "a");
    s.got(0, 50, true);
    REQUIRE(s.engine.report().bytes == 50);
    CHECK(has(s.reply(0, refusal(404)), "connect 0"));
    CHECK(s.engine.report().bytes == 0);
    CHECK(s.engine.report().bytes_twice == 50);
    CHECK(s.engine.report().restarts == 1);
    CHECK(s.engine.ledger().committed().empty());
    CHECK(s.connected(0) == "send 0 0-49, connect 1");
    CHECK(s.sent.starts_with("GET /y HTTP/1.1\r\nHost: b\r\n"));
    CHECK_FALSE(has(s.sent, "If-Range"));
    CHECK(mirror_of(s, 1) == 1);
    // Its validator is another, and no matter.
    CHECK(s.reply(0, tagged({0, 49}, "b")) == "open 1000");
    REQUIRE(s.observer.dropped.size() == 1);
    CHECK(s.observer.dropped[0].mirror == 0);
    CHECK(s.observer.dropped[0].code == error::not_found);
    CHECK(s.observer.attempts.back().next == next_step::other_mirror);
}

TEST_CASE("where a digest was given, what is in place stays when a mirror is given up") {
    script s{even_split{2}, 2, with_digest(), two()};
    start_joining(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, refusal(404)) == "close 0, connect 0");
    CHECK(s.engine.report().bytes == 50);
    CHECK(s.engine.report().restarts == 0);
    CHECK(mirror_of(s, 0) == 1);
    CHECK(has(s.connected(0), "send 0 500-999"));
    CHECK(host_asked(s.sent) == "b");
    CHECK(has(s.sent, "If-Range: \"b\"\r\n"));
}

// ---- who will not do ----------------------------------------------------------------------

TEST_CASE("when no mirror is left the failure says so, and names the last") {
    script s{even_split{2}, 1, GENERATE(script_options{}, with_digest()), two()};
    s.start();
    s.connected(0);
    s.reply(0, refusal(404));
    s.connected(0);
    CHECK(has(s.reply(0, refusal(404)), "finish"));
    auto const& report = s.engine.report();
    CHECK(report.failed->code == error::not_found);
    CHECK(has(report.failed->message(), "none of 2 mirrors is left, the last was http://b/y"));
    REQUIRE(report.mirrors.size() == 2);
    for (auto const& m : report.mirrors) CHECK(m.dropped->code == error::not_found);
}

TEST_CASE("a full disk is no matter of mirrors") {
    script s{even_split{2}, 2, with_digest(), two()};
    start_joining(s);
    failure f = of_kind(cause::storage, phase::sink);
    f.code = std::make_error_code(std::errc::no_space_on_device);
    CHECK(has(s.tell(event::grant_ended{.lane = 0, .bytes = 10, .failed = f}), "abandon"));
    CHECK_FALSE(has(s.engine.report().failed->message(), "mirror"));
    CHECK(s.observer.dropped.empty());
}

TEST_CASE("a mirror that is busy is left for another at once") {
    script s{even_split{2}, 1, with_digest(), two()};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, refusal(503)) == "close 0, connect 0");
    CHECK(mirror_of(s, 0) == 1);
    CHECK(s.observer.dropped.empty());
    CHECK(s.observer.attempts.back().next == next_step::other_mirror);
}

TEST_CASE("who asks to be left alone is, however long ago the failure was") {
    script s{even_split{2}, 1, with_digest(), two()};
    s.start();
    s.connected(0);
    s.reply(0, refusal(503, "Retry-After: 300\r\n"));
    REQUIRE(mirror_of(s, 0) == 1);
    s.connected(0);
    s.reply(0, tagged({0, 49}, "b"));
    s.done(job::open);
    // A failure alone would not count any more.
    s.now += 3s;
    CHECK(s.broke(0, 10) == "close 0, connect 0");
    CHECK(mirror_of(s, 0) == 1);
    s.now += 300s;
    s.connected(0);
    bring_head(s, 0, "b");
    s.broke(0, 0);
    CHECK(mirror_of(s, 0) == 0);
}

TEST_CASE("tries at one mirror do not count against the next") {
    script_options o;
    o.renewal = {.tries = 3, .wait = 1s};
    script s{even_split{2}, 1, o, two()};
    s.start();
    for (int i = 0; i != 3; ++i) {
        REQUIRE(mirror_of(s, 0) == 0);
        s.failed(0, error::connect_timeout, phase::connect);
        if (i != 2) s.wake();
    }
    REQUIRE(mirror_of(s, 0) == 1);
    s.connected(0);
    s.reply(0, refusal(503));
    CHECK_FALSE(s.finished);
    s.wake();
    CHECK(has(s.reply(0, tagged({0, 49}, "b")), "open 1000"));
}

TEST_CASE("ranges that one refused are asked of the next") {
    script s{even_split{2}, 1, GENERATE(script_options{}, with_digest()), two()};
    s.start();
    s.connected(0);
    s.reply(0, refusal(416));
    REQUIRE(s.connected(0) == "send 0 whole");
    s.reply(0, refusal(404));
    CHECK(mirror_of(s, 0) == 1);
    CHECK(s.connected(0) == "send 0 0-49");
}

TEST_CASE("one that sends no ranges is given up, where another does") {
    script s{even_split{2}, 2, with_digest(), two()};
    start_joining(s);
    s.got(0, 50, true);
    std::string const reply = GENERATE(head(200, "Content-Length: 1000\r\nETag: \"a\"\r\n"),
                                       tagged({0, 999}, "a"), head(206, "ETag: \"a\"\r\n"));
    CHECK(has(s.reply(0, reply), "connect 0"));
    CHECK(mirror_of(s, 0) == 1);
    REQUIRE(s.observer.dropped.size() == 1);
    CHECK(s.observer.dropped[0].mirror == 0);
    CHECK_FALSE(s.engine.report().one_stream);
    CHECK(s.engine.report().bytes == 50);
}

TEST_CASE("when a lane's failure drops the mirror at which it is asked what the object is") {
    script s{even_split{4}, 4, with_digest(), two()};
    s.start();
    s.connected(0);
    // Of the lanes that connect meanwhile, one does so to the first mirror as well.
    REQUIRE(mirror_of(s, 2) == 0);
    std::string const all =
        s.tell(event::lane_failed{2, of_kind(cause::permanent, phase::connect)});
    CHECK(has(all, "close 0, connect 0"));
    CHECK(mirror_of(s, 0) == 1);
    CHECK(has(s.connected(0), "send 0 0-49"));
    CHECK(host_asked(s.sent) == "b");
}

TEST_CASE("nothing comes any more of a mirror that was given up, and its lanes go elsewhere") {
    script s{even_split{4}, 3, with_digest(), two()};
    s.start();
    s.connected(0);
    s.connected(1);
    s.connected(2);
    s.reply(0, tagged({0, 49}, "a"));
    s.done(job::open);
    for (lane_id const i : {1U, 2U}) bring_head(s, i, i == 1 ? "b" : "a");
    REQUIRE(mirror_of(s, 2) == 0);
    segment const held = *s.engine.lanes()[2].left;
    s.got(0, 50, true);
    std::string const all = s.reply(0, refusal(404));
    CHECK(has(all, "close 2"));
    CHECK(has(all, "connect 2"));
    CHECK(mirror_of(s, 2) == 1);
    CHECK(s.engine.ledger().owed().contains(held));
    // What was on its way then is too late.
    CHECK(s.got(2, 100) == "");
    CHECK(s.engine.report().bytes == 50);
}

// ---- another object -----------------------------------------------------------------------

TEST_CASE("a mirror whose object has another size is given up, and the others bring all of it") {
    script s{even_split{2}, 2, with_digest(), two()};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, tagged({0, 49}, "a"));
    s.done(job::open);
    CHECK(has(s.reply(1, tagged({50, 499}, "b", 950)), "connect 1"));
    REQUIRE(s.observer.dropped.size() == 1);
    CHECK(s.observer.dropped[0].mirror == 1);
    CHECK(s.observer.dropped[0].code == error::mirror_differs);
    CHECK(mirror_of(s, 1) == 0);
    CHECK(has(s.connected(1), "send 1 50-499"));
    SECTION("unless they fail: then it was perhaps right, and is asked alone") {
        CHECK(has(s.got(0, 50, true), "send 0 500-999"));
        CHECK(has(s.reply(0, refusal(404)), "connect 0"));
        CHECK(s.connected(0) == "send 0 0-49, connect 1");
        CHECK(host_asked(s.sent) == "b");
        CHECK(mirror_of(s, 1) == 1);
        CHECK(s.reply(0, tagged({0, 49}, "b", 950)) == "open 950");
    }
}

TEST_CASE("a mirror whose own object changes is given up, too") {
    script s{even_split{2}, 2, with_digest(), two()};
    start_joining(s);
    s.got(0, 50, true);
    CHECK(has(bring_head(s, 0, "another"), "connect 0"));
    REQUIRE(s.observer.dropped.size() == 1);
    CHECK(s.observer.dropped[0].mirror == 0);
    CHECK(s.observer.dropped[0].code == error::mirror_differs);
    CHECK(s.engine.report().bytes == 50);
}

TEST_CASE("who brought a piece that was wrong is given up, and the piece fetched elsewhere") {
    auto o = with_pieces();
    o.verifier.parts = {100, 1};
    o.windows.opening = 100;
    script s{even_split{2}, 1, o, two()};
    s.start();
    s.connected(0);
    s.reply(0, tagged({0, 99}, "a", 100));
    s.done(job::open);
    REQUIRE(s.got(0, 100, true) == "hash_piece 0-99");
    CHECK(has(s.done(job::hash_piece, wrong_digest), "connect 0"));
    REQUIRE(s.observer.dropped.size() == 1);
    CHECK(s.observer.dropped[0].mirror == 0);
    CHECK(s.observer.dropped[0].code == error::digest_mismatch);
    CHECK(s.connected(0) == "send 0 0-99");
    CHECK(host_asked(s.sent) == "b");
    // The last one may try three times.
    for (int i = 1; i != 4; ++i) {
        CAPTURE(i);
        s.reply(0, tagged({0, 99}, "b", 100));
        REQUIRE(s.got(0, 100, true) == "hash_piece 0-99");
        CHECK(has(s.done(job::hash_piece, wrong_digest), i == 3 ? "abandon" : "send 0 0-99"));
    }
    CHECK(s.engine.report().failed->code == error::digest_mismatch);
    CHECK(s.observer.dropped.size() == 1);
}

TEST_CASE("of a piece that two mirrors brought neither is blamed") {
    script s{even_split{2}, 2, with_pieces(), two()};
    start_joining(s);
    s.got(1, 100);
    REQUIRE(has(s.got(0, 50, true), "hash_piece 0-99"));
    s.done(job::hash_piece, wrong_digest);
    CHECK(s.observer.dropped.empty());
    REQUIRE(s.observer.failed_pieces.size() == 1);
    CHECK(s.observer.failed_pieces[0].bytes == segment{0, 99});
    // Whoever brings it next brings all of it.
    bring_head(s, 0, "a");
    s.got(0, 100);
    REQUIRE(s.engine.ledger().owed().contains({0, 99}));
}

TEST_CASE("who is asked alone is given up for a wrong piece, too") {
    script s{even_split{3}, 3, with_pieces(), three()};
    s.start();
    for (lane_id i = 0; i != 3; ++i) s.connected(i);
    s.reply(0, tagged({0, 49}, "a", 950));
    s.done(job::open);
    // The other two have another object than the first one asked, which fails then.
    for (lane_id const i : {1U, 2U}) {
        REQUIRE(mirror_of(s, i) == i);
        bring_head(s, i, i == 1 ? "b" : "c");
    }
    s.got(0, 50, true);
    REQUIRE(has(s.reply(0, refusal(404)), "connect 0"));
    CHECK(s.observer.dropped.size() == 3);
    // So they are asked alone, and the first of them brings a piece that is wrong.
    for (int steps = 0; mirror_of(s, 0) != 2; ++steps) {
        REQUIRE(steps < 100);
        all_go_on(s, wrong_digest);
    }
    REQUIRE(s.observer.dropped.size() == 4);
    CHECK(s.observer.dropped.back().mirror == 1);
    CHECK(s.observer.dropped.back().code == error::digest_mismatch);
}

TEST_CASE("where the bytes of two have not the digest, each is asked alone, and the other named") {
    bool right = false;
    auto o = with_digest();
    o.verifier.right_there = &right;
    script s{even_split{2}, 2, o, two()};
    start_joining(s);
    while (s.engine.report().restarts == 0) all_go_on(s);
    CHECK(s.engine.report().bytes_twice == 1000);
    CHECK(s.observer.dropped.empty());
    auto const all_by = [&s](std::uint32_t which, std::uint64_t until) {
        while (!s.finished && s.engine.report().restarts != until) {
            for (lane_id i = 0; i != 2; ++i)
                if (s.engine.lanes()[i].held) REQUIRE(mirror_of(s, i) == which);
            all_go_on(s);
        }
    };
    SECTION("the first is right") {
        right = true;
        all_by(0, 2);
        CHECK_FALSE(s.engine.report().failed);
        CHECK(s.engine.report().digest_verified);
        REQUIRE(s.observer.dropped.size() == 1);
        CHECK(s.observer.dropped[0].mirror == 1);
        CHECK(s.observer.dropped[0].code == error::digest_mismatch);
        CHECK(s.engine.report().mirrors[1].dropped->code == error::digest_mismatch);
    }
    SECTION("the second, or neither") {
        all_by(0, 2);
        REQUIRE(s.observer.dropped.size() == 1);
        CHECK(s.observer.dropped[0].mirror == 0);
        right = GENERATE(true, false);
        all_by(1, 3);
        REQUIRE(s.finished);
        CHECK(s.engine.report().failed.has_value() != right);
        if (!right) CHECK(s.engine.report().failed->code == error::digest_mismatch);
        CHECK(s.observer.dropped.size() == 1);
    }
}

// ---- a fresh request ----------------------------------------------------------------------

TEST_CASE("only the first mirror's request can be had afresh") {
    auto o = with_digest();
    o.can_refresh = true;
    script s{even_split{2}, 2, o, two()};
    s.start();
    s.connected(0);
    s.connected(1);
    s.reply(0, tagged({0, 49}, "a"));
    s.done(job::open);
    REQUIRE(mirror_of(s, 1) == 1);
    CHECK_FALSE(has(s.reply(1, refusal(403)), "refresh"));
    s.got(0, 50, true);
    REQUIRE(s.observer.dropped.size() == 1);
    CHECK(s.observer.dropped[0].mirror == 1);
    CHECK(has(s.reply(0, refusal(403)), "refresh"));
    CHECK(s.observer.dropped.size() == 1);
}

TEST_CASE("when there is no fresh request before anything is known, another mirror is asked") {
    auto o = with_digest();
    o.can_refresh = true;
    script s{even_split{2}, 2, o, two()};
    s.start();
    s.connected(0);
    s.connected(1);
    REQUIRE(s.reply(0, refusal(403)) == "refresh");
    std::string const all =
        s.tell(event::refreshed{.failed = failure::of(error::not_found, phase::setup),
                                .fresh = std::make_shared<request const>(two())});
    CHECK(has(all, "connect 0"));
    CHECK(mirror_of(s, 0) == 1);
    CHECK(s.connected(0) == "send 0 0-49");
}

TEST_CASE("of a mirror that was given up no fresh request is asked for") {
    script_options o = GENERATE(script_options{}, with_digest());
    o.can_refresh = true;
    auto what = two();
    what.valid_for = 100s;
    script s{even_split{2}, 1, o, what};
    s.start();
    s.connected(0);
    s.reply(0, refusal(404));
    s.connected(0);
    s.reply(0, tagged({0, 49}, "b"));
    s.done(job::open);
    s.got(0, 50, true);
    CHECK_FALSE(has(s.wake_until(s.now + 5s), "refresh"));
    s.now += 95s;
    bring_head(s, 0, "b");
    CHECK_FALSE(has(s.wake(), "refresh"));
    CHECK(s.engine.report().refreshes == 0);
}

TEST_CASE("that there is no fresh request does not matter once its mirror was given up") {
    auto o = with_pieces();
    o.verifier.parts = {100, 3};
    o.windows.opening = 100;
    o.renewal.tries = 1;
    o.can_refresh = true;
    script s{even_split{1}, 1, o, two()};
    s.start();
    s.connected(0);
    s.reply(0, tagged({0, 99}, "a", 300));
    s.done(job::open);
    REQUIRE(has(s.got(0, 100, true), "hash_piece 0-99"));
    REQUIRE(s.reply(0, refusal(403)) == "refresh");
    // Before that has come, what the mirror brought is wrong, and the other one sends no ranges.
    REQUIRE(has(s.done(job::hash_piece, wrong_digest), "connect 0"));
    REQUIRE(mirror_of(s, 0) == 1);
    s.connected(0);
    REQUIRE(has(s.reply(0, whole(300)), "open 300"));
    s.connected(0);
    s.done(job::open);
    REQUIRE(s.reply(0, whole(300)) == "receive 0 0-99 first");
    s.got(0, 100);
    CHECK(s.tell(event::refreshed{.failed = failure::of(error::not_found, phase::setup),
                                  .fresh = std::make_shared<request const>(two())}) == "");
    CHECK(s.engine.lanes()[0].is == lane_is::receiving);
    CHECK(s.engine.report().bytes == 100);
}

// ---- an earlier run -----------------------------------------------------------------------

TEST_CASE("bytes joined under a digest are not gone on with without one") {
    auto o = with_journal(with_digest());
    script joined{even_split{2}, 2, o, two()};
    start_joining(joined);
    joined.got(0, 50, true);
    joined.got(1, 100);
    auto const state = std::make_shared<resume_state const>(joined.engine.state_to_keep());
    REQUIRE(state->in_place.size() == 1);
    CHECK(state->in_place[0].bytes == segment{0, 149});
    // No one's validator says anything of them.
    CHECK(state->identity.validator.is == cleave::validator::kind::none);
    CHECK(state->expectation == expected);

    bool const same = GENERATE(false, true);
    script s{even_split{2}, 2, same ? o : with_journal({}), request{"http://a/x"}};
    s.start();
    CHECK(recalled(s, state) == (same ? "check 0-149" : "connect 0"));
}

TEST_CASE("with the same digest it is gone on from any mirror") {
    script s{even_split{2}, 2, with_journal(with_digest()), two()};
    s.start();
    REQUIRE(recalled(s, left_behind({0, 899}, "http://elsewhere/", expected)) == "check 0-899");
    REQUIRE(checked(s) == "connect 0");
    CHECK(s.connected(0) == "send 0 0-949, connect 1");
    CHECK_FALSE(has(s.sent, "If-Range"));
    SECTION("the first asked, whatever its validator") {
        CHECK(s.reply(0, tagged({0, 949}, "a")) == "open 1000");
        CHECK(s.engine.report().bytes_resumed == 900);
    }
    SECTION("or the next, where the first sends no ranges, or something else") {
        std::string const reply = GENERATE(head(200, "Content-Length: 1000\r\nETag: \"a\"\r\n"),
                                           tagged({0, 949}, "a", 950), refusal(416), refusal(404));
        CHECK(has(s.reply(0, reply), "connect 0"));
        CHECK(mirror_of(s, 0) == 1);
        CHECK(s.engine.report().bytes == 900);
        CHECK(s.connected(0) == "send 0 0-949");
        CHECK(s.reply(0, tagged({0, 949}, "b")) == "open 1000");
        CHECK(s.engine.report().bytes_resumed == 900);
    }
}

TEST_CASE("without a digest it is gone on at the mirror that it came from") {
    script s{even_split{2}, 2, with_journal({}), two()};
    s.start();
    REQUIRE(recalled(s, left_behind({0, 899}, "http://b/y", 0)) == "check 0-899");
    REQUIRE(checked(s) == "connect 0");
    CHECK(mirror_of(s, 0) == 1);
    s.connected(0);
    CHECK(host_asked(s.sent) == "b");
    CHECK(has(s.sent, "If-Range: \"b\"\r\n"));
    SECTION("if that has it still") {
        CHECK(has(s.reply(0, tagged({0, 949}, "b")), "open 1000"));
        CHECK(s.engine.report().bytes_resumed == 900);
        CHECK(s.engine.state_to_keep().url == "http://b/y");
    }
    SECTION("else nothing of it counts") {
        CHECK(has(s.reply(0, refusal(404)), "connect 0"));
        CHECK(mirror_of(s, 0) == 0);
        CHECK(s.engine.report().bytes == 0);
        s.connected(0);
        CHECK(has(s.sent, "Range: bytes=0-49\r\n"));
        CHECK_FALSE(has(s.sent, "If-Range"));
    }
}

TEST_CASE("what came from a place that is not asked any more is not gone on with") {
    script s{even_split{2}, 2, with_journal({}), two()};
    s.start();
    CHECK(recalled(s, left_behind({0, 899}, "http://elsewhere/", 0)) == "connect 0");
}

TEST_CASE("a digest that comes with the second run does not join the first one's bytes") {
    script s{even_split{2}, 2, with_journal(with_digest()), two()};
    s.start();
    REQUIRE(recalled(s, left_behind({0, 899}, "http://b/y", 0)) == "check 0-899");
    REQUIRE(checked(s) == "connect 0");
    // By its validator, at the one that has it.
    CHECK(mirror_of(s, 0) == 1);
    s.connected(0);
    CHECK(has(s.sent, "If-Range: \"b\"\r\n"));
    SECTION("if that has it still") {
        CHECK(has(s.reply(0, tagged({0, 949}, "b")), "open 1000"));
        CHECK(s.engine.report().bytes_resumed == 900);
    }
    SECTION("else they are fetched again, of the others") {
        std::string const reply = GENERATE(refusal(404), refusal(416), tagged({0, 949}, "c"));
        CHECK(has(s.reply(0, reply), "connect 0"));
        CHECK(s.engine.report().bytes == 0);
        CHECK(mirror_of(s, 0) == 0);
        CHECK(has(s.connected(0), "send 0 0-49"));
    }
}

// ---- where lanes go -----------------------------------------------------------------------

TEST_CASE("what was given for the target's origin goes to no other mirror (E07)") {
    auto what = request{"http://u:p@a/x"}.with_header("Cookie", "c=1").with_mirror("http://b/y");
    script s{even_split{2}, 2, with_digest(), what};
    s.start();
    s.connected(0);
    CHECK(has(s.sent, "Authorization: Basic "));
    CHECK(has(s.sent, "Cookie: c=1"));
    CHECK(s.engine.may_identify(0));
    s.reply(0, refusal(404));
    s.connected(0);
    REQUIRE(host_asked(s.sent) == "b");
    CHECK_FALSE(has(s.sent, "Authorization"));
    CHECK_FALSE(has(s.sent, "Cookie"));
    CHECK_FALSE(s.engine.may_identify(0));
}

TEST_CASE("each mirror has redirects of its own") {
    script s{even_split{2}, 2, with_digest(), two()};
    start_joining(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, refusal(302, "Location: http://cdn/z\r\n")) == "close 0, connect 0");
    CHECK(s.engine.target_of(0).host() == "cdn");
    CHECK(s.engine.target_of(1).host() == "b");
    // Back to its first URL, once, before it is given up.
    s.connected(0);
    CHECK(has(s.reply(0, refusal(404)), "connect 0"));
    CHECK(s.engine.target_of(0).host() == "a");
    CHECK(s.observer.dropped.empty());
    s.connected(0);
    s.reply(0, refusal(404));
    CHECK(s.observer.dropped.size() == 1);
    CHECK(mirror_of(s, 0) == 1);
}

TEST_CASE("a TLS server that has not been met is met by one lane") {
    auto const what = request{"https://a/x"}.with_mirror("https://b/y");
    script s{even_split{4}, 4, with_digest(), what};
    s.start();
    REQUIRE(s.connected(0) == "send 0 0-49");
    s.reply(0, tagged({0, 49}, "a"));
    s.done(job::open);
    // The first is known now; of the other it is not.
    std::array<int, 2> lanes{};
    for (lane_id i = 0; i != 4; ++i) ++lanes[mirror_of(s, i)];
    CHECK(lanes == std::array{3, 1});
}

// ---- among random places ------------------------------------------------------------------

namespace {

enum class digest { none, whole, pieces };

// One of the places.
struct place {
    enum class object : std::uint8_t { right, wrong, shorter };
    object has = object::right;
    bool ranges = true;   // else it refuses them for good
    unsigned trouble = 0; // of a hundred times
    [[nodiscard]] std::uint64_t size() const { return has == object::shorter ? 950 : 1000; }
    [[nodiscard]] bool is_sound() const { return has == object::right && ranges && trouble == 0; }
};

struct climate {
    digest given = digest::none;
    std::vector<place> places;
    std::uint32_t lanes = 2;
    bool can_refresh = false;
    bool ordered = false;
    bool journal = false;
    std::vector<segment> left = {};    // by an earlier run
    std::optional<std::uint32_t> from; // the mirror that brought that, if it is known by that
};

// What came to pass, over many worlds.
struct things_seen {
    std::uint64_t joined = 0;
    std::uint64_t resumed = 0;
    std::uint64_t restarts = 0;
    std::uint64_t pieces_failed = 0;
    std::uint64_t bytes_differed = 0;
    std::uint64_t failed = 0;
    std::map<std::error_code, std::uint64_t> dropped = {};
};

class world {
  public:
    world(climate c, std::uint64_t seed)
        : is_(std::move(c)), seed_(seed), random_(seed),
          s_(even_split{1 + random_.below(4)}, is_.lanes, options(), wanted()), there_(1000) {}
    world(world const&) = delete;
    world& operator=(world const&) = delete;

    void run() {
        note("start", s_.start());
        if (s_.running == job::recall) recall();
        for (int steps = 0; !s_.finished; ++steps) {
            must(steps < 4000, "there is an end");
            happen();
        }
        must(report().mirrors.size() == is_.places.size(), "each place is reported of");
        if (report().failed) must(!report().failed->message().empty(), "a failure says why");
    }
    [[nodiscard]] cleave::report const& report() const { return s_.engine.report(); }
    void must(bool holds, std::string const& law) const {
        if (!holds) FAIL(law << ", seed " << seed_ << "\n" << describe() << log_);
    }
    void add_to(things_seen& all) const {
        auto const bringers =
            std::ranges::count_if(report().mirrors, [](auto const& m) { return m.bytes != 0; });
        all.joined += bringers > 1 ? 1 : 0;
        all.resumed += report().bytes_resumed != 0 ? 1 : 0;
        all.restarts += report().restarts;
        all.pieces_failed += report().pieces_failed;
        all.bytes_differed += bytes_differed_;
        all.failed += report().failed ? 1 : 0;
        for (auto const& d : s_.observer.dropped) ++all.dropped[d.code];
    }

  private:
    using object = place::object;
    struct byte {
        std::optional<object> of;
        std::optional<std::uint32_t> by; // which place; none of an earlier run's many
    };

    [[nodiscard]] script_options options() {
        script_options o;
        o.renewal = {.tries = 5, .wait = 500ms};
        o.can_refresh = is_.can_refresh;
        o.journal = is_.journal;
        o.record = {.bytes = 200, .time = 10s};
        o.sink = {.readable = true};
        if (is_.ordered) o.sink = {.window = 400, .chunk = 50, .readable = true};
        o.windows.hash = 1000;
        o.windows.sample = 20;
        if (is_.given != digest::none) o.verifier.print = expected;
        o.verifier.wants = is_.given == digest::whole;
        if (is_.given == digest::pieces) o.verifier.parts = {100, 10};
        o.verifier.right_there = &right_;
        return o;
    }
    [[nodiscard]] request wanted() const {
        request what{"http://m0/x"};
        for (std::size_t i = 1; i != is_.places.size(); ++i) what.with_mirror(url_of(i));
        return what;
    }
    [[nodiscard]] static std::string url_of(std::size_t i) {
        return "http://m" + std::to_string(i) + "/x";
    }
    [[nodiscard]] std::string describe() const {
        constexpr std::array given{"no digest", "a digest", "digests of pieces"};
        std::string text = given[static_cast<std::size_t>(is_.given)];
        text += ", " + std::to_string(is_.lanes) + " lanes";
        if (is_.ordered) text += ", in order";
        if (is_.can_refresh) text += ", fresh requests";
        for (place const& p : is_.places)
            text += std::string{"\n  "} +
                    (p.has == object::right   ? "right"
                     : p.has == object::wrong ? "wrong"
                                              : "shorter") +
                    (p.ranges ? "" : ", no ranges") + ", trouble " + std::to_string(p.trouble);
        for (segment const left : is_.left) text += "\n  left " + to_string(left);
        if (is_.from) text += " of " + std::to_string(*is_.from);
        return text + "\n";
    }

    void note(std::string const& what, std::string const& done) {
        log_ += what + " -> " + done + "\n";
        for (auto at = done.find("revoke "); at != std::string::npos; at = done.find("revoke ", at))
            revokes_.push_back(static_cast<lane_id>(std::stoul(done.substr(at += 7))));
        refreshing_ = refreshing_ || has(done, "refresh");
        if (has(done, "send ")) look_at_request();
        for (; dropped_seen_ != s_.observer.dropped.size(); ++dropped_seen_) {
            auto const& d = s_.observer.dropped[dropped_seen_];
            if (d.code != error::mirror_differs) gone_.push_back(d.mirror);
        }
    }
    // Validators are a server's own, and who was given up for good is asked nothing more.
    void look_at_request() const {
        std::string const host = host_asked(s_.sent);
        auto const at = s_.sent.find("If-Range: ");
        if (at != std::string::npos)
            must(s_.sent.substr(at).starts_with("If-Range: \"" + host + "\"\r\n"),
                 "each is asked by its own validator");
        auto const which = static_cast<std::uint32_t>(std::stoul(host.substr(1)));
        must(std::ranges::count(gone_, which) == 0, "who was given up is not asked");
    }

    // ---- what happens ---------------------------------------------------------------------

    void recall() {
        s_.running.reset();
        if (is_.left.empty()) return note("recalled nothing", s_.tell(event::recalled{}));
        resume_state state;
        state.identity.size = is_.from ? is_.places[*is_.from].size() : 1000;
        state.wanted = {0, *state.identity.size - 1};
        state.url = url_of(is_.from.value_or(0));
        if (is_.from)
            state.identity.validator = {cleave::validator::kind::strong_etag,
                                        "\"m" + std::to_string(*is_.from) + "\""};
        else
            state.expectation = expected;
        for (segment const left : is_.left) {
            state.in_place.push_back({left, good_crc});
            bool const wrong = random_.chance(20);
            for (std::uint64_t i = left.first; i <= left.last; ++i)
                there_[i] = is_.from ? byte{is_.places[*is_.from].has, is_.from}
                                     : byte{wrong ? object::wrong : object::right, {}};
        }
        note("recalled", s_.tell(event::recalled{
                             .state = std::make_shared<resume_state const>(std::move(state))}));
    }

    void happen() {
        if (!revokes_.empty()) {
            lane_id const id = revokes_.front();
            revokes_.pop_front();
            if (lane(id).is != lane_is::receiving) return;
            std::uint64_t const bytes = random_.below(lane(id).grant.size() + 1);
            put(id, bytes);
            return note("revoked " + text_of_lane(id), s_.revoked(id, bytes));
        }
        s_.now += std::chrono::milliseconds{random_.below(30)};
        ready_.clear();
        for (lane_id i = 0; i != is_.lanes; ++i)
            if (auto const is = lane(i).is;
                is == lane_is::connecting || is == lane_is::requesting || is == lane_is::receiving)
                ready_.push_back(i);
        std::size_t const can = ready_.size() + (s_.running ? 1U : 0U) + (refreshing_ ? 1U : 0U);
        if (can == 0) {
            must(s_.timer.has_value(), "somebody stays awake");
            must(++idle_ < 40, "something is always on its way");
            return note("woke", s_.wake());
        }
        idle_ = 0;
        if (random_.chance(8) && s_.timer && *s_.timer <= s_.now + 1s)
            return note("woke", s_.wake());
        std::size_t const next = random_.index(can);
        if (next < ready_.size()) return lane_goes_on(ready_[next]);
        if (next == ready_.size() && s_.running) return end_job();
        refreshing_ = false;
        if (random_.chance(50))
            return note("refreshed",
                        s_.tell(event::refreshed{
                            .fresh = std::make_shared<request const>("http://m0/fresh")}));
        note("not refreshed",
             s_.tell(event::refreshed{.failed = failure::of(error::not_found, phase::setup),
                                      .fresh = std::make_shared<request const>(wanted())}));
    }

    void lane_goes_on(lane_id id) {
        place const& p = is_.places[lane(id).mirror];
        bool const trouble = random_.chance(p.trouble);
        switch (lane(id).is) {
        case lane_is::connecting:
            if (!trouble || random_.chance(50))
                return note("connected " + text_of_lane(id), s_.connected(id));
            return note("no connection " + text_of_lane(id),
                        s_.tell(event::lane_failed{
                            id, of_kind(random_.chance(30) ? cause::permanent : cause::passing,
                                        phase::connect)}));
        case lane_is::requesting: return bring_reply(id, p, trouble);
        default: return bring_bytes(id, trouble);
        }
    }

    void bring_reply(lane_id id, place const& p, bool trouble) {
        std::string const tag = "m" + std::to_string(lane(id).mirror);
        std::string const all =
            "Content-Length: " + std::to_string(p.size()) + "\r\nETag: \"" + tag + "\"\r\n";
        segment asked = lane(id).held->bytes;
        bool const ranged = lane(id).held->ranged;
        std::string text;
        if (trouble) {
            std::array const replies{
                refusal(404),
                refusal(503),
                refusal(429, "Retry-After: 3\r\n"),
                refusal(416),
                head(200, all),
                refusal(403),
                refusal(302, "Location: /z" + std::to_string(random_.below(99)) + "\r\n"),
                std::string{"bad\r\n\r\n"}};
            std::size_t const which = random_.index(replies.size() + 1);
            if (which == replies.size())
                return note("no reply " + text_of_lane(id),
                            s_.failed(id, error::closed_before_reply, phase::head));
            text = replies[which];
        } else if (ranged && !p.ranges) {
            text = random_.chance(50) ? head(200, all) : refusal(416);
        } else if (!ranged) {
            text = head(200, all);
        } else if (asked.first >= p.size()) {
            text = refusal(416, "Content-Range: bytes */" + std::to_string(p.size()) + "\r\n");
        } else {
            asked.last = std::min(asked.last, p.size() - 1);
            text = tagged(asked, tag, p.size());
        }
        note("reply " + text_of_lane(id) + " " + text.substr(0, text.find('\r')),
             s_.reply(id, text));
        compares_.resize(is_.lanes);
        if (lane(id).is == lane_is::admitted || lane(id).is == lane_is::receiving)
            compares_[id] = lane(id).sample != 0;
    }

    void bring_bytes(lane_id id, bool trouble) {
        segment const grant = lane(id).grant;
        // Before its first bytes others are compared.
        bool const compares = compares_[id];
        compares_[id] = false;
        if (compares && differs(id, grant.first)) {
            ++bytes_differed_;
            return note("differs " + text_of_lane(id), s_.broke(id, 0, error::bytes_differ));
        }
        if (trouble && random_.chance(50)) {
            std::uint64_t const bytes = random_.chance(50) ? 0 : random_.below(grant.size());
            put(id, bytes);
            return note("broke " + text_of_lane(id) + " " + std::to_string(bytes),
                        s_.broke(id, bytes));
        }
        put(id, grant.size());
        note("got " + text_of_lane(id),
             s_.got(id, grant.size(), grant.last == lane(id).reply_bytes.last));
    }
    [[nodiscard]] bool differs(lane_id id, std::uint64_t first) const {
        for (std::uint64_t i = first - std::min(first, lane(id).sample); i != first; ++i)
            if (there_[i].of != is_.places[lane(id).mirror].has) return true;
        return false;
    }

    // The lane's bytes are written, from its grant's first on.
    void put(lane_id id, std::uint64_t bytes) {
        std::uint32_t const by = lane(id).mirror;
        for (lane_id i = 0; i != is_.lanes && is_.given == digest::none; ++i)
            must(lane(i).is != lane_is::receiving || lane(i).mirror == by,
                 "without a digest one mirror is used at a time");
        must(bytes == 0 || lane(id).grant.first >= delivered_, "what was handed on is gone");
        for (std::uint64_t i = 0; i != bytes; ++i)
            there_[lane(id).grant.first + i] = {is_.places[by].has, by};
    }

    void end_job() {
        job const what = *s_.running;
        segment const bytes = s_.job_bytes;
        std::uint64_t const size = s_.engine.wanted().size();
        cleave::digest_value found{};
        switch (what) {
        case job::check: {
            bool const good = random_.chance(80);
            s_.running.reset();
            return note(good ? "checked" : "checked, and wrong",
                        s_.tell(event::job_ended{
                            .what = what, .failed = {}, .crc = good ? good_crc : good_crc + 1}));
        }
        case job::finish_hash: right_ = size == 1000 && is_right({0, 999}); break;
        case job::hash_piece:
            if (!is_right(bytes)) found = wrong_digest;
            break;
        case job::deliver:
            if (is_.given == digest::pieces) must(is_right(bytes), "what is handed on is proven");
            delivered_ = bytes.last + 1;
            break;
        case job::record: look_at_state(); break;
        case job::publish:
            if (is_.given == digest::none)
                must(size == is_.places[*there_[0].by].size() && is_of_one({0, size - 1}),
                     "without a digest all bytes are of one mirror");
            else
                must(size == 1000 && is_right({0, 999}), "no wrong byte is published");
            break;
        default: break;
        }
        note("ended: " + text_of(what) + (found.size != 0 ? ", and wrong" : ""),
             s_.done(what, found));
    }
    // What another run would take up.
    void look_at_state() const {
        auto const state = s_.engine.state_to_keep();
        for (auto const& claim : state.in_place) {
            segment const b = claim.bytes;
            must(std::all_of(at(b.first), at(b.last) + 1,
                             [](byte const& one) { return one.of.has_value(); }),
                 "what is claimed is there");
            if (state.identity.validator.is == cleave::validator::kind::none) continue;
            for (auto i = at(b.first); i != at(b.last) + 1; ++i)
                must(i->by && url_of(*i->by) == state.url,
                     "what is kept by a validator is of that mirror");
        }
    }
    [[nodiscard]] std::vector<byte>::const_iterator at(std::uint64_t i) const {
        return there_.begin() + static_cast<std::ptrdiff_t>(i);
    }
    [[nodiscard]] bool is_right(segment s) const {
        return std::all_of(at(s.first), at(s.last) + 1,
                           [](byte const& b) { return b.of == object::right; });
    }
    [[nodiscard]] bool is_of_one(segment s) const {
        auto const by = at(s.first)->by;
        return by &&
               std::all_of(at(s.first), at(s.last) + 1, [by](byte const& b) { return b.by == by; });
    }

    [[nodiscard]] cleave::lane const& lane(lane_id id) const { return s_.engine.lanes()[id]; }
    [[nodiscard]] std::string text_of_lane(lane_id id) const {
        return std::to_string(id) + " at m" + std::to_string(lane(id).mirror);
    }

    climate is_;
    std::uint64_t seed_;
    random_source random_;
    bool right_ = false;
    script<even_split> s_;
    std::vector<byte> there_;
    std::vector<bool> compares_ = std::vector<bool>(is_.lanes);
    std::vector<lane_id> ready_ = {};
    std::deque<lane_id> revokes_ = {};
    std::vector<std::uint32_t> gone_ = {};
    std::size_t dropped_seen_ = 0;
    std::uint64_t delivered_ = 0;
    std::uint64_t bytes_differed_ = 0;
    bool refreshing_ = false;
    int idle_ = 0;
    std::string log_;
};

climate random_climate(random_source& random) {
    climate c;
    c.given = std::array{digest::none, digest::whole, digest::pieces}[random.index(3)];
    c.lanes = 1 + static_cast<std::uint32_t>(random.below(4));
    c.can_refresh = random.chance(50);
    c.ordered = random.chance(33);
    c.places.resize(2 + random.index(2));
    std::size_t const sound = random.index(c.places.size());
    for (std::size_t i = 0; i != c.places.size(); ++i) {
        if (i == sound) continue;
        place& p = c.places[i];
        if (random.chance(50))
            p.has = random.chance(50) ? place::object::wrong : place::object::shorter;
        p.ranges = random.chance(80);
        if (random.chance(70)) p.trouble = static_cast<unsigned>(random.below(80));
    }
    c.journal = !c.ordered && random.chance(40);
    if (!c.journal || random.chance(50)) return c;
    bool const by_validator = c.given == digest::none || random.chance(30);
    if (by_validator) c.from = static_cast<std::uint32_t>(random.below(c.places.size()));
    for (std::uint64_t at = random.below(100); at < 900 && c.left.size() != 3;) {
        std::uint64_t const last = at + random.below(40);
        c.left.push_back({at, last});
        at = last + 2 + random.below(400);
    }
    // All of it, perhaps.
    if (c.given == digest::whole && !by_validator && random.chance(20)) c.left = {{0, 999}};
    return c;
}

void among_mirrors(std::uint64_t seeds, std::uint64_t from) {
    things_seen seen;
    for (std::uint64_t seed = from + 1; seed <= from + seeds; ++seed) {
        random_source random{seed};
        climate const c = random_climate(random);
        world w{c, seed};
        w.run();
        w.add_to(seen);
        // What was handed on cannot be taken back; and where most have another object, who is
        // right is not found out in two more rounds.
        auto const others = std::ranges::count_if(
            c.places, [](place const& p) { return p.has != place::object::right; });
        if (auto const& why = w.report().failed)
            w.must(c.ordered || others > 1, "the sound mirror brings it: " + why->message());
    }
    // And everything that can happen did.
    for (error const e :
         {error::mirror_differs, error::digest_mismatch, error::not_found, error::range_ignored})
        CHECK(seen.dropped[e] > seeds / 50);
    CHECK(seen.joined > seeds / 4);
    CHECK(seen.resumed > seeds / 20);
    CHECK(seen.restarts > seeds / 10);
    CHECK(seen.pieces_failed > seeds / 20);
    CHECK(seen.bytes_differed > 0);
    CHECK(seen.failed < seeds / 10);
}

} // namespace

TEST_CASE("whatever other mirrors do, the sound one's bytes are had, or a failure says why not") {
    among_mirrors(2'500, 0);
}

TEST_CASE("whatever other mirrors do, and more of it", "[.heavy]") {
    among_mirrors(40'000, 100'000);
}

TEST_CASE("a wrong piece without ranges, where some was handed on, is had from another mirror") {
    auto what = cleave::request{"http://h/x"}.with_mirror("http://g/x");
    script s{even_split{1},
             1,
             {.windows = {.grant = 50, .opening = 50},
              .verifier = {.parts = {.size = 50, .count = 4}},
              .sink = {.window = 100, .chunk = 50}},
             what};
    s.start();
    s.connected(0);
    s.reply(0, whole(200));
    s.done(job::open);
    s.got(0, 50);
    CHECK(s.done(job::hash_piece).find("deliver 0-49") != std::string::npos);
    s.done(job::deliver);
    s.got(0, 50);
    REQUIRE(s.running == job::hash_piece);
    CHECK(s.job_bytes == segment{50, 99});
    // It is not looked at again and again: the other one is asked.
    std::string const after = s.done(job::hash_piece, wrong_digest);
    CHECK(after.find("close 0") != std::string::npos);
    CHECK(after.find("connect 0") != std::string::npos);
    CHECK(after.find("hash_piece") == std::string::npos);
    REQUIRE(s.observer.dropped.size() == 1);
    CHECK(s.observer.dropped[0].mirror == 0);
    CHECK(s.engine.target_of(0).to_string() == "http://g/x");
    CHECK(s.engine.report().bytes == 50);
    s.connected(0);
    CHECK(s.reply(0, whole(200)) == "receive 0 50-99 first skip 50");
    s.got(0, 50);
    CHECK(s.done(job::hash_piece).find("deliver 50-99") != std::string::npos);
}
