// SPDX-License-Identifier: BSL-1.0
//
// The books on several places: what is sent to which of them, how long a failure counts, who is
// left, and who brought which bytes.

#include <cleave/engine/mirrors.hpp>

#include <support/catch.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

using cleave::error;
using cleave::failure;
using cleave::mirror;
using cleave::mirrors;
using cleave::phase;
using cleave::request;
using cleave::segment;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t worst = std::numeric_limits<std::uint32_t>::max();

failure busy(std::optional<std::chrono::seconds> retry_after = {}) {
    failure f = failure::of(error::server_busy, phase::head);
    f.retry_after = retry_after;
    return f;
}
request three_places() {
    return request{"http://a/x"}.with_mirror("http://b/y").with_mirror("http://c/z");
}

} // namespace

TEST_CASE("the target comes first, then the mirrors as they were given") {
    mirrors const all{three_places()};
    REQUIRE(all.size() == 3);
    CHECK(all[0].shown == "http://a/x");
    CHECK(all[1].shown == "http://b/y");
    CHECK(all[2].shown == "http://c/z");
    CHECK(all[2].target.host() == "c");
    CHECK(mirrors{request{"http://a/x"}}.size() == 1);
}

TEST_CASE("each request has a number of its own") {
    mirrors all{three_places()};
    std::set<std::uint32_t> numbers;
    for (mirror const& m : all) {
        numbers.insert(m.request_number);
        CHECK(m.server_number == m.request_number);
    }
    numbers.insert(all.next_number());
    numbers.insert(all.next_number());
    CHECK(numbers.size() == 5);
}

TEST_CASE("headers and userinfo are for the target's origin alone (E07)") {
    struct row {
        char const* url;
        bool same;
    };
    for (row const r :
         {row{"http://a/other", true}, row{"http://a:80/other", true}, row{"http://A/other", true},
          row{"http://a:81/other", false}, row{"https://a/other", false},
          row{"http://b/other", false}, row{"http://a.b/other", false}}) {
        CAPTURE(r.url);
        mirrors const all{request{"http://u:p@a/x"}.with_header("Cookie", "c").with_mirror(r.url)};
        CHECK(all[0].headers.size() == 1);
        CHECK(all[0].target.userinfo() == "u:p");
        CHECK(all[1].headers.size() == (r.same ? 1 : 0));
        CHECK(all[1].target.userinfo() == (r.same ? "u:p" : ""));
        // It is shown without.
        CHECK(all[0].shown == "http://a/x");
    }
}

TEST_CASE("a mirror's own userinfo stays, and goes to no other") {
    std::string_view const url = GENERATE("http://v:q@a/y", "http://v:q@b/y");
    mirrors const all{request{"http://u:p@a/x"}.with_mirror(url)};
    CHECK(all[0].target.userinfo() == "u:p");
    CHECK(all[1].target.userinfo() == "v:q");
    CHECK(all[1].shown.find('q') == std::string::npos);
    mirrors const none{request{"http://a/x"}.with_mirror(url)};
    CHECK(none[0].target.userinfo().empty());
}

TEST_CASE("a failure counts for a while, and for longer after each") {
    mirror m;
    CHECK(m.failures_at(0s) == 0);
    std::chrono::seconds now = 100s;
    for (auto const time : {2s, 4s, 8s, 16s, 32s, 60s, 60s, 60s}) {
        m.fail(busy(), now);
        CAPTURE(m.failures);
        CHECK(m.failures_at(now) == m.failures);
        CHECK(m.failures_at(now + time - 1ns) == m.failures);
        CHECK(m.failures_at(now + time) == 0);
        now += 1000s;
    }
    CHECK(m.failures == 8);
    CHECK(m.last->code == error::server_busy);
    // However many there were.
    m.failures = worst - 1;
    m.fail(busy(), now);
    CHECK(m.failures_at(now + 59s) == worst);
    CHECK(m.failures_at(now + 60s) == 0);
}

TEST_CASE("who asks to be left alone counts as the worst for so long, then as any other") {
    mirror m;
    SECTION("longer than the failure would count") {
        m.fail(busy(300s), 100s);
        CHECK(m.failures_at(100s) == worst);
        CHECK(m.failures_at(400s - 1ns) == worst);
        CHECK(m.failures_at(400s) == 0);
    }
    SECTION("shorter") {
        m.fail(busy(1s), 100s);
        CHECK(m.failures_at(101s - 1ns) == worst);
        CHECK(m.failures_at(101s) == 1);
        CHECK(m.failures_at(102s - 1ns) == 1);
        CHECK(m.failures_at(102s) == 0);
    }
    SECTION("no longer than an hour, whatever it says") {
        m.fail(busy(std::chrono::seconds::max()), 100s);
        CHECK(m.failures_at(3700s - 1ns) == worst);
        CHECK(m.failures_at(3700s) == 0);
    }
    SECTION("not at all") {
        m.fail(busy(0s), 100s);
        CHECK(m.failures_at(100s) == 1);
    }
    SECTION("another failure does not shorten that") {
        m.fail(busy(300s), 100s);
        m.fail(busy(), 101s);
        CHECK(m.failures_at(399s) == worst);
        // Nor do bytes that were on their way.
        m.failures = 0;
        CHECK(m.failures_at(399s) == worst);
    }
}

TEST_CASE("one is better than another when it has failed less often lately") {
    mirrors all{three_places()};
    auto const better = [&](std::size_t i, std::chrono::seconds now) {
        return all.has_better_than(i, now);
    };
    CHECK_FALSE(better(0, 0s));
    all[0].fail(busy(), 0s);
    CHECK(better(0, 0s));
    CHECK_FALSE(better(1, 0s));
    // It does not count any more.
    CHECK_FALSE(better(0, 2s));

    all[0].fail(busy(), 100s);
    all[1].fail(busy(), 100s);
    CHECK(better(0, 100s)); // two failures, the others one and none
    CHECK(better(1, 100s));
    all[2].dropped = true;
    CHECK(better(0, 100s));
    CHECK_FALSE(better(1, 100s));
    all[1].dropped = true;
    CHECK_FALSE(better(0, 100s));
}

TEST_CASE("when all ask to be left alone none is better") {
    mirrors all{three_places()};
    for (mirror& m : all) m.fail(busy(10s), 0s);
    for (std::size_t i = 0; i != all.size(); ++i) CHECK_FALSE(all.has_better_than(i, 5s));
}

TEST_CASE("the next is the first that has not been given up") {
    mirrors all{three_places()};
    CHECK(all.other_than(0) == 1U);
    CHECK(all.other_than(1) == 0U);
    CHECK(all.first_left() == 0U);
    all[0].dropped = true;
    CHECK(all.other_than(1) == 2U);
    CHECK(all.other_than(2) == 1U);
    all[1].dropped = true;
    CHECK(all.other_than(1) == 2U);
    CHECK_FALSE(all.other_than(2));
}

TEST_CASE("who brought all of some bytes is known, where it was one alone") {
    mirrors all{three_places()};
    CHECK_FALSE(all.bringer_of({0, 9}));
    all[1].brought.insert({0, 49});
    all[1].brought.insert({50, 99});
    all[2].brought.insert({100, 149});
    CHECK(all.bringer_of({0, 99}) == 1U);
    CHECK(all.bringer_of({100, 149}) == 2U);
    CHECK_FALSE(all.bringer_of({90, 109}));
    CHECK_FALSE(all.bringer_of({149, 150})); // an earlier run, maybe

    all.forget({20, 29});
    CHECK_FALSE(all.bringer_of({0, 99}));
    CHECK(all.bringer_of({0, 19}) == 1U);
    CHECK(all.bringer_of({30, 99}) == 1U);
    // It came again, from another.
    all[0].brought.insert({20, 29});
    CHECK(all.bringer_of({20, 29}) == 0U);
    CHECK_FALSE(all.bringer_of({19, 29}));
}

TEST_CASE("bytes are forgotten, and what each said of its object only with all else") {
    mirrors all{three_places()};
    for (mirror& m : all) {
        m.brought.insert({0, 9});
        m.took_part = true;
        m.bytes = 10;
        m.known.emplace();
    }
    all.forget_bytes();
    CHECK_FALSE(all.bringer_of({0, 9}));
    for (mirror const& m : all) {
        CHECK_FALSE(m.took_part);
        CHECK(m.known);
    }
    all[2].took_part = true;
    all.forget_all();
    for (mirror const& m : all) {
        CHECK_FALSE(m.took_part);
        CHECK_FALSE(m.known);
        CHECK(m.bytes == 10); // it did bring them
    }
}

TEST_CASE("who was given up for having another object may be the one who is right") {
    mirror m;
    CHECK_FALSE(m.only_differs());
    m.why = failure::of(error::mirror_differs, phase::head);
    CHECK_FALSE(m.only_differs());
    m.dropped = true;
    CHECK(m.only_differs());
    m.why = failure::of(error::not_found, phase::head);
    CHECK_FALSE(m.only_differs());
    m.why.reset();
    CHECK_FALSE(m.only_differs());
}
