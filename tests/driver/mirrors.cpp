// SPDX-License-Identifier: BSL-1.0
//
// One object at several places, through the real driver in virtual time: joined where a digest
// allows it, shared out by speed, and a place that will not do is given up and named. Without a
// digest bytes of two places never meet.

#include <support/catch.hpp>

#include <support/chosen.hpp>
#include <support/digest.hpp>

#include <cleave/cleave.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave::testing;
using namespace cleave_test;
using namespace std::chrono_literals;
using cleave::cause;
using cleave::error;

namespace {

constexpr std::uint64_t size = 4'000'000;
constexpr std::uint64_t piece = 250'000;

struct watcher : cleave::ignores_other_events {
    using cleave::ignores_other_events::on;
    struct dropped {
        std::uint32_t index;
        std::string url;
        std::error_code why;
    };
    std::vector<dropped>* to = nullptr;
    std::vector<cleave::next_step>* steps = nullptr;
    void on(cleave::attempt_failed const& f) noexcept { steps->push_back(f.next); }
    void on(cleave::mirror_dropped const& m) noexcept {
        to->push_back({m.index, std::string{m.url}, m.why.code});
    }
};

/// The same object as other servers name it.
object named(object o, std::string etag) {
    o.etag = std::move(etag);
    return o;
}
object const& right() {
    static object const o = named(object::random(size, 11), "\"of-a\"");
    return o;
}
object const& other() {
    static object const o = named(object::random(size, 12), "\"other\"");
    return o;
}

cleave::piece_digests pieces_of(object const& o) {
    std::string text = "sha-256 " + std::to_string(piece) + "\n";
    for (std::uint64_t at = 0; at < o.bytes.size(); at += piece)
        text += sha256_hex(std::string_view{o.bytes}.substr(at, piece)) + "\n";
    return cleave::piece_digests{*cleave::parse_pieces(text).list};
}

enum class proof { none, whole, pieces };

/// A world with two servers, a.org and b.org.
struct two_places {
    two_places(memory_handler at_a, memory_handler at_b, memory_link link_a = {},
               memory_link link_b = {})
        : a(std::move(at_a), link_a), b(std::move(at_b), link_b) {}

    void get(proof by, cleave::request what = default_request(), std::uint32_t lanes = 4) {
        what.seed = 7;
        chosen_verifier verify;
        if (by == proof::whole) verify.is = cleave::sha256(digest);
        if (by == proof::pieces) verify.is = pieces_of(right());
        watcher seen;
        seen.to = &dropped;
        seen.steps = &steps;
        bool done = false;
        cleave::async_download(context.get_executor(), std::move(what), cleave::memory_sink{memory},
                               cleave::policies<>{}
                                   .with_connector(a.connector().with_host("b.org", b.connector()))
                                   .with_lanes(cleave::fixed_lanes{lanes})
                                   .with_plan(cleave::fixed_size{200'000})
                                   .with_verify(verify)
                                   .with_timer<virtual_timers>()
                                   .with_background(cleave::same_thread{})
                                   .with_observer(seen),
                               [&](std::error_code e, cleave::report r) {
                                   done = true;
                                   ec = e;
                                   report = std::move(r);
                               });
        REQUIRE(time.run(context, [&] { return done; }));
        REQUIRE(report.mirrors.size() == 2);
    }
    static cleave::request default_request() {
        return cleave::request{"http://a.org/x"}.with_mirror("http://b.org/y");
    }
    [[nodiscard]] std::string bytes() const {
        std::string to(memory.size(), '\0');
        if (!memory.empty()) std::memcpy(to.data(), memory.data(), memory.size());
        return to;
    }

    world time;
    memory_network a;
    memory_network b;
    asio::io_context context;
    std::vector<std::byte> memory;
    std::string digest = sha256_hex(right().bytes);
    std::vector<watcher::dropped> dropped;
    std::vector<cleave::next_step> steps;
    std::error_code ec;
    cleave::report report;
};

memory_handler serves(object const& o) { return memory_network::honest(o); }
memory_handler says(int status) {
    return [status](memory_peer& p, seen_request const&) {
        p.send("HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Length: 0\r\n\r\n");
    };
}

} // namespace

TEST_CASE("two mirrors with validators of their own bring one object, where a digest tells") {
    auto const by = GENERATE(proof::whole, proof::pieces);
    two_places w{
        serves(right()), serves(named(right(), "\"of-b\"")), {.rate = 400'000}, {.rate = 400'000}};
    w.get(by);
    REQUIRE_FALSE(w.ec);
    CHECK((w.bytes() == right().bytes));
    CHECK(w.dropped.empty());
    CHECK(w.report.mirrors[0].url == "http://a.org/x");
    CHECK(w.report.mirrors[1].url == "http://b.org/y");
    CHECK(w.report.mirrors[0].bytes + w.report.mirrors[1].bytes == size);
    CHECK(w.report.mirrors[0].bytes > size / 4);
    CHECK(w.report.mirrors[1].bytes > size / 4);
    // Each is asked for its own version.
    for (auto const& r : w.a.requests()) {
        CHECK(r.target == "/x");
        CHECK(r.field("If-Range").value_or("\"of-a\"") == "\"of-a\"");
    }
    for (auto const& r : w.b.requests()) {
        CHECK(r.target == "/y");
        CHECK(r.field("Host") == "b.org");
        CHECK(r.field("If-Range").value_or("\"of-b\"") == "\"of-b\"");
    }
}

TEST_CASE("lanes go where they bring most") {
    two_places w{serves(right()),
                 serves(named(right(), "\"of-b\"")),
                 {.rate = 100'000},
                 {.rate = 1'000'000}};
    w.get(proof::whole);
    REQUIRE_FALSE(w.ec);
    CHECK((w.bytes() == right().bytes));
    CHECK(w.report.mirrors[1].bytes > 5 * w.report.mirrors[0].bytes);
    // Four lanes at the fast one bring 4 MB a second; the first request is at the slow one.
    CHECK(w.report.elapsed < 2500ms);
}

TEST_CASE("without a digest bytes of two mirrors never meet") {
    two_places w{serves(right()), serves(other())};
    w.get(proof::none);
    REQUIRE_FALSE(w.ec);
    CHECK((w.bytes() == right().bytes));
    CHECK(w.b.requests().empty());
}

TEST_CASE("without a digest the next mirror is used when the first one will not do") {
    SECTION("there is nothing there") {
        two_places w{says(404), serves(other())};
        w.get(proof::none);
        REQUIRE_FALSE(w.ec);
        CHECK((w.bytes() == other().bytes));
        REQUIRE(w.dropped.size() == 1);
        CHECK(w.dropped[0].index == 0);
        CHECK(w.dropped[0].url == "http://a.org/x");
        CHECK(w.dropped[0].why == error::not_found);
        REQUIRE(w.report.mirrors[0].dropped);
        CHECK(w.report.mirrors[0].dropped->code == error::not_found);
        CHECK_FALSE(w.report.mirrors[1].dropped);
    }
    SECTION("it cannot be reached") {
        two_places w{serves(right()), serves(other())};
        w.a.on_connect([](std::size_t) { return arrival::refused; });
        w.get(proof::none);
        REQUIRE_FALSE(w.ec);
        CHECK((w.bytes() == other().bytes));
        CHECK(w.report.mirrors[0].dropped->code == std::errc::connection_refused);
    }
    SECTION("it refuses half way: all of it comes again") {
        two_places w{[rest = serves(right())](memory_peer& p, seen_request const& r) {
                         auto const range = r.range();
                         if (!range || range->first < size / 2) return rest(p, r);
                         says(410)(p, r);
                     },
                     serves(other())};
        w.get(proof::none);
        REQUIRE_FALSE(w.ec);
        CHECK((w.bytes() == other().bytes));
        CHECK(w.report.restarts == 1);
        CHECK(w.report.bytes_twice > 0);
        CHECK(w.report.bytes == size);
    }
}

TEST_CASE("a mirror that will not do is given up and named, and the others bring all of it") {
    struct row {
        memory_handler at_b;
        error why;
    };
    object longer = right();
    longer.bytes += "x";
    auto const no_ranges = memory_network::honest(right(), {.ranges = false});
    for (row const& r :
         {row{says(404), error::not_found}, row{says(403), error::forbidden},
          row{serves(longer), error::mirror_differs}, row{no_ranges, error::range_ignored},
          row{serves(other()), error::digest_mismatch}}) {
        CAPTURE(static_cast<int>(r.why));
        two_places w{serves(right()), r.at_b};
        w.get(proof::whole);
        REQUIRE_FALSE(w.ec);
        CHECK((w.bytes() == right().bytes));
        REQUIRE_FALSE(w.dropped.empty());
        CHECK(w.dropped[0].index == 1);
        CHECK(w.dropped[0].why == r.why);
        CHECK(w.report.mirrors[1].dropped->code == r.why);
        CHECK_FALSE(w.report.mirrors[0].dropped);
    }
}

TEST_CASE("who brought a piece that was wrong is given up") {
    // The mirror has one byte in sixteen pieces wrong.
    object bad = named(right(), "\"of-b\"");
    for (std::uint64_t at = 7; at < size; at += piece) bad.bytes[at] ^= 1;
    bool const first_is_bad = GENERATE(false, true);
    two_places w{serves(first_is_bad ? bad : right()), serves(first_is_bad ? right() : bad)};
    w.get(proof::pieces);
    REQUIRE_FALSE(w.ec);
    CHECK((w.bytes() == right().bytes));
    REQUIRE(w.dropped.size() == 1);
    CHECK(w.dropped[0].index == (first_is_bad ? 0U : 1U));
    CHECK(w.dropped[0].why == error::digest_mismatch);
    CHECK(w.report.digest_verified);
    auto const& why = *w.report.mirrors[first_is_bad ? 0 : 1].dropped;
    CHECK(why.detail.find("piece ") != std::string::npos);
}

TEST_CASE("with a digest of the whole, each mirror is asked alone where their bytes do not fit") {
    // No sample finds it: the bytes at segments' beginnings are the same.
    object bad = named(right(), "\"bad\"");
    for (std::uint64_t at = 100'000; at < size; at += 200'000) bad.bytes[at] ^= 1;
    SECTION("the second is the one") {
        two_places w{serves(right()), serves(bad), {.rate = 400'000}, {.rate = 400'000}};
        w.get(proof::whole);
        REQUIRE_FALSE(w.ec);
        CHECK((w.bytes() == right().bytes));
        CHECK(w.report.restarts == 1);
        // Now it is known who it was.
        CHECK(w.report.mirrors[1].dropped->code == error::digest_mismatch);
    }
    SECTION("the first is the one") {
        two_places w{
            serves(bad), serves(named(right(), "\"b\"")), {.rate = 400'000}, {.rate = 400'000}};
        w.get(proof::whole);
        REQUIRE_FALSE(w.ec);
        CHECK((w.bytes() == right().bytes));
        CHECK(w.report.mirrors[0].dropped->code == error::digest_mismatch);
        CHECK(w.report.restarts == 2);
    }
    SECTION("the digest is: not for ever") {
        two_places w{
            serves(right()), serves(named(right(), "\"b\"")), {.rate = 400'000}, {.rate = 400'000}};
        w.digest = sha256_hex("something else");
        w.get(proof::whole);
        CHECK(w.ec == error::digest_mismatch);
        CHECK(w.a.body_bytes_sent() + w.b.body_bytes_sent() < 7 * size / 2);
    }
    SECTION("whoever is right may be the one that differs in size") {
        object shorter = other();
        shorter.bytes.resize(size / 2);
        two_places w{serves(shorter), serves(right())};
        w.get(proof::whole);
        REQUIRE_FALSE(w.ec);
        CHECK((w.bytes() == right().bytes));
        CHECK(w.report.mirrors[0].dropped->code == error::digest_mismatch);
        CHECK_FALSE(w.report.mirrors[1].dropped);
    }
}

TEST_CASE("a mirror that never answers costs no more than its connect timeout") {
    bool const first = GENERATE(false, true);
    two_places w{serves(right()), serves(named(right(), "\"of-b\""))};
    (first ? w.a : w.b).on_connect([](std::size_t) { return arrival::lost; });
    w.get(proof::whole);
    REQUIRE_FALSE(w.ec);
    CHECK((w.bytes() == right().bytes));
    CHECK(w.report.elapsed < 15s + 2s);
    if (!first) CHECK(w.report.elapsed < 2s);
    CHECK(w.report.mirrors[first ? 0 : 1].bytes == 0);
}

TEST_CASE("a mirror that refuses is left for another at once, and asked again later") {
    // The good one is not there at first.
    two_places w{
        serves(right()), serves(named(right(), "\"of-b\"")), {.rate = 20'000}, {.rate = 1'000'000}};
    w.b.on_connect([](std::size_t i) { return i == 0 ? arrival::refused : arrival::accepted; });
    w.get(proof::whole);
    REQUIRE_FALSE(w.ec);
    CHECK((w.bytes() == right().bytes));
    REQUIRE_FALSE(w.steps.empty());
    CHECK(w.steps[0] == cleave::next_step::other_mirror);
    CHECK(w.report.mirrors[1].bytes > w.report.mirrors[0].bytes);
    CHECK(w.report.elapsed < 20s);
    CHECK(w.dropped.empty());
}

TEST_CASE("when no mirror is left the failure says so") {
    two_places w{says(404), says(410)};
    w.get(proof::whole);
    CHECK(w.ec == error::gone);
    auto const text = w.report.failed->message();
    CAPTURE(text);
    CHECK(text.find("none of 2 mirrors is left") != std::string::npos);
    CHECK(text.find("http://b.org/y") != std::string::npos);
    CHECK(w.report.mirrors[0].dropped->code == error::not_found);
}

TEST_CASE("headers and credentials stay with the target's origin") {
    two_places w{serves(right()), serves(named(right(), "\"of-b\""))};
    w.get(proof::whole, cleave::request{"http://u:p@a.org/x"}
                            .with_header("Cookie", "c=1")
                            .with_mirror("http://b.org/y?q"));
    REQUIRE_FALSE(w.ec);
    REQUIRE_FALSE(w.b.requests().empty());
    for (auto const& r : w.a.requests()) {
        CHECK(r.field("Cookie") == "c=1");
        CHECK(r.field("Authorization"));
    }
    for (auto const& r : w.b.requests()) {
        CHECK_FALSE(r.field("Cookie"));
        CHECK_FALSE(r.field("Authorization"));
    }
}

TEST_CASE("a mirror may redirect, and each has its own way") {
    auto const leads = [](memory_peer& p, seen_request const& r) {
        if (r.target == "/moved") return serves(named(right(), "\"of-b\""))(p, r);
        p.send("HTTP/1.1 302 x\r\nLocation: /moved\r\nContent-Length: 0\r\n\r\n");
    };
    two_places w{serves(right()), leads};
    w.get(proof::whole);
    REQUIRE_FALSE(w.ec);
    CHECK((w.bytes() == right().bytes));
    CHECK(w.report.redirects == 1);
    CHECK(w.report.mirrors[1].bytes > 0);
    for (auto const& r : w.a.requests()) CHECK(r.target == "/x");
}
