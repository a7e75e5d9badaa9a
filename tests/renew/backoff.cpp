// SPDX-License-Identifier: BSL-1.0
//
// backoff keeps the laws of renewal rules: its waits lie between nothing and a bound that doubles
// up to a cap, the server's Retry-After is added and never cut short, and there is an end.

#include <cleave/renew/backoff.hpp>

#include <laws/random.hpp>
#include <laws/renewal_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>

using cleave::backoff;
using cleave::error;
using cleave::failure;
using cleave::phase;
using cleave::renewal;
using cleave::renewal_state;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

namespace {

failure const passing = failure::of(error::closed_in_body, phase::body);

failure asking_to_wait(std::chrono::seconds time) {
    failure f = failure::of(error::server_busy, phase::head);
    f.retry_after = time;
    return f;
}

// The wait before try n, of these random bits.
nanoseconds wait_of(backoff const& b, std::uint32_t n, std::uint64_t random) {
    renewal const r = b.decide({passing, n, 0, std::nullopt, random});
    REQUIRE(r.is == renewal::answer::again);
    return r.after;
}

constexpr renewal gives_up{renewal::answer::give_up};

} // namespace

TEST_CASE("backoff waits between nothing and a bound that doubles, up to the longest") {
    backoff const b{.tries = 100, .first = 200ms, .longest = 20s};
    nanoseconds bound = 200ms;
    cleave_test::random_source random{1};
    for (std::uint32_t n = 1; n < 100; ++n) {
        CAPTURE(n);
        auto const bits = static_cast<std::uint64_t>(bound.count());
        // Both ends are met, and nothing beyond them.
        CHECK(wait_of(b, n, 0) == 0ns);
        CHECK(wait_of(b, n, bits) == bound);
        CHECK(wait_of(b, n, bits + 1) == 0ns);
        bool low = false;
        bool high = false;
        for (int i = 0; i < 100; ++i) {
            nanoseconds const wait = wait_of(b, n, random());
            REQUIRE(wait >= 0ns);
            REQUIRE(wait <= bound);
            low = low || wait < bound / 2;
            high = high || wait > bound / 2;
        }
        CHECK(low);
        CHECK(high);
        bound = std::min<nanoseconds>(bound * 2, 20s);
    }
    CHECK(bound == 20s);
}

TEST_CASE("backoff has defaults that wait a little, then longer, and not for ever") {
    backoff const b;
    CHECK(wait_of(b, 1, 200'000'000) == 200ms);
    CHECK(wait_of(b, 4, 1'600'000'000) == 1600ms);
    CHECK(b.decide({passing, 5, 0, std::nullopt, 0}) == gives_up);
}

TEST_CASE("backoff gives up after so many failures in a row") {
    for (std::uint32_t tries = 0; tries <= 10; ++tries) {
        backoff const b{.tries = tries};
        for (std::uint32_t n = 1; n <= 12; ++n) {
            CAPTURE(tries, n);
            CHECK((b.decide({passing, n, 0, std::nullopt, 7}).is == renewal::answer::give_up) ==
                  (n >= tries));
        }
    }
}

TEST_CASE("a lane that was delivering goes on at once") {
    backoff const b{.tries = 5, .first = 1s, .delivering = 1000};
    for (std::uint64_t const bits : {std::uint64_t{0}, std::uint64_t{999'999'999}}) {
        CHECK(b.decide({passing, 1, 1000, std::nullopt, bits}) ==
              renewal{renewal::answer::again, 0ns});
        CHECK(b.decide({passing, 1, 5000, std::nullopt, bits}).after == 0ns);
        CHECK(b.decide({passing, 1, 999, std::nullopt, bits}).after == nanoseconds{bits});
    }
    // But not against the server's wish.
    CHECK(b.decide({asking_to_wait(3s), 1, 5000, std::nullopt, 7}).after == 3s);
}

TEST_CASE("Retry-After is waited for, and the jitter behind it (E11)") {
    backoff const b{.first = 100ms};
    cleave_test::random_source random{2};
    for (int i = 0; i < 100; ++i) {
        renewal const r = b.decide({asking_to_wait(7s), 1, 0, std::nullopt, random()});
        REQUIRE(r.is == renewal::answer::again);
        REQUIRE(r.after >= 7s);
        REQUIRE(r.after <= 7s + 100ms);
    }
    CHECK(b.decide({asking_to_wait(0s), 1, 0, std::nullopt, 55}).after == 55ns);
}

TEST_CASE("a Retry-After beyond all patience is given up on (E13)") {
    backoff const b{.patience = 60s};
    CHECK(b.decide({asking_to_wait(60s), 1, 0, std::nullopt, 0}) ==
          renewal{renewal::answer::again, 60s});
    CHECK(b.decide({asking_to_wait(61s), 1, 0, std::nullopt, 0}) == gives_up);
    CHECK(b.decide({asking_to_wait(24h), 1, 0, std::nullopt, 0}) == gives_up);
    CHECK(backoff{}.decide({asking_to_wait(601s), 1, 0, std::nullopt, 0}) == gives_up);
}

TEST_CASE("a Retry-After that no clock can count is given up on (E13)") {
    // In nanoseconds these do not fit 64 bits.
    for (std::int64_t const seconds :
         {std::int64_t{9'223'372'036}, std::int64_t{9'223'372'037}, std::int64_t{18'446'744'074},
          std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::max()}) {
        CAPTURE(seconds);
        CHECK(backoff{}.decide({asking_to_wait(std::chrono::seconds{seconds}), 1, 0, std::nullopt,
                                0}) == gives_up);
    }
}

TEST_CASE("patience without end does not make a wait that no clock can count") {
    backoff const b{.first = 20s, .longest = 20s, .patience = nanoseconds::max()};
    for (std::int64_t const seconds : {std::int64_t{9'223'372'016}, std::int64_t{9'223'372'036}}) {
        renewal const r = b.decide(
            {asking_to_wait(std::chrono::seconds{seconds}), 1, 0, std::nullopt, 19'999'999'999});
        if (r.is == renewal::answer::give_up) continue;
        CHECK(std::chrono::ceil<std::chrono::seconds>(r.after) >= std::chrono::seconds{seconds});
    }
}

TEST_CASE("a wait that would end behind the deadline is given up on") {
    backoff const b{.first = 10s};
    auto const bits = std::uint64_t{4'000'000'000};
    CHECK(b.decide({passing, 1, 0, nanoseconds{4s} + 1ns, bits}) ==
          renewal{renewal::answer::again, 4s});
    CHECK(b.decide({passing, 1, 0, 4s, bits}) == gives_up);
    CHECK(b.decide({passing, 1, 0, 3s, bits}) == gives_up);
    CHECK(b.decide({asking_to_wait(5s), 1, 0, 5s, 0}) == gives_up);
    CHECK(b.decide({asking_to_wait(5s), 1, 0, 6s, 0}).after == 5s);
    // No time is left at all.
    CHECK(b.decide({passing, 1, 1 << 20, 0ns, 0}) == gives_up);
    CHECK(b.decide({passing, 1, 1 << 20, -1s, 0}) == gives_up);
}

TEST_CASE("backoff keeps the laws of renewal rules, whatever its settings") {
    cleave_test::random_source random{3};
    auto const some_time = [&] {
        return nanoseconds{static_cast<std::int64_t>(random() >> (1 + random.below(63)))};
    };
    for (int i = 0; i < 20'000; ++i) {
        backoff b{.tries = static_cast<std::uint32_t>(random.below(20)),
                  .first = some_time(),
                  .longest = some_time(),
                  .patience = some_time(),
                  .delivering = random.below(3)};
        CAPTURE(b.tries, b.first.count(), b.longest.count(), b.patience.count(), b.delivering);
        REQUIRE(cleave_test::broken_renewal(b, random, 25) == "");
    }
}

TEST_CASE("backoff takes times that make no sense as no time") {
    for (nanoseconds const none : {0ns, -1ns, nanoseconds::min()}) {
        CHECK(wait_of({.first = none}, 3, 12345) == 0ns);
        CHECK(wait_of({.longest = none}, 3, 12345) == 0ns);
    }
    // A first wait above the longest is the longest.
    CHECK(wait_of({.first = 10s, .longest = 1s}, 1, 1'000'000'000) == 1s);
    CHECK(wait_of({.tries = 100, .first = nanoseconds::max(), .longest = nanoseconds::max()}, 90,
                  ~std::uint64_t{0} >> 1) == nanoseconds::max());
}
