// SPDX-License-Identifier: BSL-1.0
//
// backoff keeps the laws of renewal rules: its waits lie between nothing and a bound that doubles
// up to a cap, the server's Retry-After is added and never cut short, and there is an end: of
// tries, of time, of tokens and of fresh requests.

#include <cleave/renew/backoff.hpp>

#include <laws/random.hpp>
#include <laws/renewal_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <system_error>

using cleave::backoff;
using cleave::cause;
using cleave::error;
using cleave::failure;
using cleave::phase;
using cleave::renewal;
using cleave::renewal_state;
using answer = cleave::renewal::answer;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

namespace {

constexpr std::uint64_t KiB = 1024;

failure const passing = failure::of(error::closed_in_body, phase::body);
failure const expired = failure::of(error::forbidden, phase::head);

failure asking_to_wait(std::chrono::seconds time) {
    failure f = failure::of(error::server_busy, phase::head);
    f.retry_after = time;
    return f;
}

// The wait before try n, of these random bits.
nanoseconds wait_of(backoff b, std::uint32_t n, std::uint64_t random) {
    renewal const r =
        b.decide({.what = passing, .tries = n, .random = random, .object_known = true});
    REQUIRE(r.is == answer::elsewhere);
    return r.after;
}

constexpr renewal gives_up{answer::give_up};

} // namespace

TEST_CASE("backoff waits between half of a bound and the bound, which doubles up to the longest") {
    backoff const b{.tries = 100, .first = 200ms, .longest = 20s};
    nanoseconds bound = 200ms;
    cleave_test::random_source random{1};
    for (std::uint32_t n = 1; n < 100; ++n) {
        CAPTURE(n);
        auto const bits = static_cast<std::uint64_t>((bound - bound / 2).count());
        // Both ends are met, and nothing beyond them.
        CHECK(wait_of(b, n, 0) == bound / 2);
        CHECK(wait_of(b, n, bits) == bound);
        CHECK(wait_of(b, n, bits + 1) == bound / 2);
        bool low = false;
        bool high = false;
        for (int i = 0; i < 100; ++i) {
            nanoseconds const wait = wait_of(b, n, random());
            REQUIRE(wait >= bound / 2);
            REQUIRE(wait <= bound);
            low = low || wait < bound * 3 / 4;
            high = high || wait > bound * 3 / 4;
        }
        CHECK(low);
        CHECK(high);
        bound = std::min<nanoseconds>(bound * 2, 20s);
    }
    CHECK(bound == 20s);
}

TEST_CASE("backoff has defaults that wait a little, then longer, and not for ever") {
    backoff b;
    CHECK(wait_of(b, 1, 100'000'000) == 200ms);
    CHECK(wait_of(b, 4, 800'000'000) == 1600ms);
    CHECK(wait_of(b, 7, 6'400'000'000) == 12'800ms);
    CHECK(b.decide({.what = passing, .tries = 8, .object_known = true}) == gives_up);
    // Before a server has said what the object is, only half as often.
    CHECK(b.decide({.what = passing, .tries = 3}).is == answer::elsewhere);
    CHECK(b.decide({.what = passing, .tries = 4}) == gives_up);
}

TEST_CASE("backoff gives up after so many failures in a row") {
    for (std::uint32_t tries = 0; tries <= 10; ++tries) {
        for (std::uint32_t first_tries = 0; first_tries <= 10; ++first_tries) {
            backoff b{.tries = tries, .first_tries = first_tries, .tokens = 1000};
            for (std::uint32_t n = 1; n <= 12; ++n) {
                CAPTURE(tries, first_tries, n);
                CHECK((b.decide({.what = passing, .tries = n, .object_known = true}) == gives_up) ==
                      (n >= tries));
                CHECK((b.decide({.what = passing, .tries = n}) == gives_up) ==
                      (n >= tries || n >= first_tries));
            }
        }
    }
}

TEST_CASE("a lane that was delivering goes on at once") {
    backoff b{.tries = 5, .first = 1s, .delivering = 1000};
    for (std::uint64_t const bits : {std::uint64_t{0}, std::uint64_t{999'999'999}}) {
        CHECK(b.decide({.what = passing, .bytes = 1000, .random = bits}) ==
              renewal{answer::elsewhere, 0ns});
        CHECK(b.decide({.what = passing, .bytes = 5000, .random = bits}).after == 0ns);
        CHECK(b.decide({.what = passing, .bytes = 999, .random = bits}).after >= 500ms);
    }
    // But not against the server's wish.
    CHECK(b.decide({.what = asking_to_wait(3s), .bytes = 5000, .random = 7}).after == 3s);
}

TEST_CASE("the connection is kept where a server has said no for now, and only there") {
    auto const after = [](failure const& what) { return backoff{}.decide({.what = what}).is; };
    for (error const e : {error::too_many_requests, error::server_busy, error::server_error})
        CHECK(after(failure::of(e, phase::head)) == answer::again);
    for (error const e :
         {error::connect_timeout, error::name_not_resolved, error::head_timeout, error::stalled,
          error::closed_before_reply, error::closed_in_head, error::closed_in_body,
          error::range_ignored, error::malformed_head, error::range_mismatch, error::bad_chunk})
        CHECK(after(failure::of(e, phase::head)) == answer::elsewhere);
    failure system = passing;
    for (auto const code : {std::errc::connection_refused, std::errc::connection_reset}) {
        system.code = std::make_error_code(code);
        CHECK(after(system) == answer::elsewhere);
    }
    // A number of ours is not a number of theirs.
    system.code = {static_cast<int>(error::server_busy), std::system_category()};
    CHECK(after(system) == answer::elsewhere);
}

TEST_CASE("Retry-After is waited for, and the jitter behind it (E11)") {
    backoff b{.first = 100ms, .tokens = 1000};
    cleave_test::random_source random{2};
    for (int i = 0; i < 100; ++i) {
        renewal const r = b.decide({.what = asking_to_wait(7s), .random = random()});
        REQUIRE(r.is == answer::again);
        REQUIRE(r.after >= 7s);
        REQUIRE(r.after <= 7s + 100ms);
    }
    CHECK(b.decide({.what = asking_to_wait(0s), .random = 55}).after == 55ns);
}

TEST_CASE("a Retry-After beyond all patience is given up on (E13)") {
    backoff b{.patience = 60s};
    CHECK(b.decide({.what = asking_to_wait(60s)}) == renewal{answer::again, 60s});
    CHECK(b.decide({.what = asking_to_wait(61s)}) == gives_up);
    CHECK(b.decide({.what = asking_to_wait(24h)}) == gives_up);
    backoff patient{.without_progress = 24h};
    CHECK(patient.decide({.what = asking_to_wait(600s)}).after == 600s);
    CHECK(patient.decide({.what = asking_to_wait(601s)}) == gives_up);
}

TEST_CASE("a Retry-After that no clock can count is given up on (E13)") {
    // In nanoseconds these do not fit 64 bits.
    for (std::int64_t const seconds :
         {std::int64_t{9'223'372'036}, std::int64_t{9'223'372'037}, std::int64_t{18'446'744'074},
          std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::max()}) {
        CAPTURE(seconds);
        backoff b{.without_progress = nanoseconds::max()};
        CHECK(b.decide({.what = asking_to_wait(std::chrono::seconds{seconds})}) == gives_up);
    }
}

TEST_CASE("patience without end does not make a wait that no clock can count") {
    backoff b{.first = 20s,
              .longest = 20s,
              .patience = nanoseconds::max(),
              .without_progress = nanoseconds::max()};
    for (std::int64_t const seconds : {std::int64_t{9'223'372'016}, std::int64_t{9'223'372'036}}) {
        renewal const r = b.decide(
            {.what = asking_to_wait(std::chrono::seconds{seconds}), .random = 19'999'999'999});
        if (r.is == answer::give_up) continue;
        CHECK(std::chrono::ceil<std::chrono::seconds>(r.after) >= std::chrono::seconds{seconds});
    }
}

TEST_CASE("a wait that would end behind the deadline is given up on") {
    backoff b{.first = 8s};
    auto const after = [&](failure const& what, std::uint64_t bytes, nanoseconds left,
                           std::uint64_t random) {
        return b.decide({.what = what, .bytes = bytes, .time_left = left, .random = random});
    };
    auto const bits = std::uint64_t{0}; // half of the wait
    CHECK(after(passing, 0, nanoseconds{4s} + 1ns, bits) == renewal{answer::elsewhere, 4s});
    CHECK(after(passing, 0, 4s, bits) == gives_up);
    CHECK(after(passing, 0, 3s, bits) == gives_up);
    CHECK(after(asking_to_wait(5s), 0, 5s, 0) == gives_up);
    CHECK(after(asking_to_wait(5s), 0, 6s, 0).after == 5s);
    // No time is left at all.
    CHECK(after(passing, 1 << 20, 0ns, 0) == gives_up);
    CHECK(after(passing, 1 << 20, -1s, 0) == gives_up);
}

TEST_CASE("a download that gets no byte for too long is given up on, the wait to come included") {
    backoff b{.first = 8s, .without_progress = 60s};
    auto const after = [&](failure const& what, nanoseconds idle, std::uint64_t random) {
        return b.decide({.what = what, .random = random, .idle = idle});
    };
    auto const bits = std::uint64_t{0}; // half of the wait
    CHECK(after(passing, 56s, bits) == renewal{answer::elsewhere, 4s});
    CHECK(after(passing, nanoseconds{56s} + 1ns, bits) == gives_up);
    CHECK(after(passing, 60s, bits) == gives_up);
    CHECK(after(passing, nanoseconds::max(), bits) == gives_up);
    CHECK(after(asking_to_wait(50s), 10s, 0).after == 50s);
    CHECK(after(asking_to_wait(51s), 10s, 0) == gives_up);
    auto const shortest = nanoseconds{10min} - 100ms; // half of the first wait
    CHECK(backoff{}.decide({.what = passing, .idle = shortest}).is == answer::elsewhere);
    CHECK(backoff{}.decide({.what = passing, .idle = shortest + 1ns}) == gives_up);
}

TEST_CASE("going on costs a token, of which there are only so many for all lanes") {
    backoff b{.tries = 1000, .first_tries = 1000};
    for (std::uint32_t n = 1; n <= 64; ++n) {
        REQUIRE(b.decide({.what = passing, .tries = n}).is == answer::elsewhere);
        // One that brings bytes costs nothing, nor does one that is given up anyway.
        REQUIRE(b.decide({.what = passing, .bytes = 16 * KiB}).is == answer::elsewhere);
        REQUIRE(b.decide({.what = passing, .tries = 1000}) == gives_up);
        REQUIRE(b.decide({.what = passing, .time_left = 0s}) == gives_up);
        REQUIRE(b.decide({.what = asking_to_wait(1h)}) == gives_up);
        REQUIRE(b.decide({.what = expired, .can_refresh = true}).is == answer::fresh_request);
    }
    CHECK(b.decide({.what = passing}) == gives_up);
    CHECK(b.decide({.what = asking_to_wait(1s)}) == gives_up);
    CHECK(b.decide({.what = passing, .bytes = 1}).is == answer::elsewhere);
    CHECK(b.decide({.what = expired, .can_refresh = true}).is == answer::fresh_request);
    // A download of its own has a bucket of its own.
    CHECK(backoff{}.decide({.what = passing}).is == answer::elsewhere);
    CHECK(backoff{.tokens = 0}.decide({.what = passing}) == gives_up);
}

TEST_CASE("bytes of any lane give tokens back, up to the most") {
    backoff b{.tokens = 3, .bytes_a_token = 100};
    // How many tokens there are once so many bytes have been received; takes them all.
    auto const taken = [&](std::uint64_t received) {
        int n = 0;
        while (b.decide({.what = passing, .received = received}).is == answer::elsewhere) ++n;
        return n;
    };
    CHECK(taken(0) == 3);
    CHECK(taken(99) == 0);
    CHECK(taken(100) == 1);
    CHECK(taken(100) == 0);
    // What is left of a portion counts for the next.
    CHECK(taken(250) == 1);
    CHECK(taken(299) == 0);
    CHECK(taken(300) == 1);
    CHECK(taken(10'050) == 3);
    CHECK(taken(10'100) == 1);
    CHECK(taken(cleave_test::random_source{1}() | std::uint64_t{1} << 63) == 3);
    // After a new beginning it counts from there.
    CHECK(taken(50) == 0);
    CHECK(taken(149) == 0);
    CHECK(taken(150) == 1);
    // A full bucket takes none.
    backoff full{.tokens = 2, .bytes_a_token = 100};
    CHECK(full.decide({.what = passing, .received = 1000}).is == answer::elsewhere);
    CHECK(full.decide({.what = passing, .received = 1000}).is == answer::elsewhere);
    CHECK(full.decide({.what = passing, .received = 1000}) == gives_up);
    // By itself one comes with 256 KiB.
    backoff usual{.tokens = 1};
    CHECK(usual.decide({.what = passing}).is == answer::elsewhere);
    CHECK(usual.decide({.what = passing, .received = 256 * KiB - 1}) == gives_up);
    CHECK(usual.decide({.what = passing, .received = 256 * KiB}).is == answer::elsewhere);
    // Of no bytes at all, each is one.
    backoff free{.tokens = 1, .bytes_a_token = 0};
    CHECK(free.decide({.what = passing}).is == answer::elsewhere);
    CHECK(free.decide({.what = passing}) == gives_up);
    CHECK(free.decide({.what = passing, .received = 1}).is == answer::elsewhere);
}

TEST_CASE("a refused or expired URL is renewed where it can be, and once without a byte between") {
    for (error const e :
         {error::unauthorized, error::forbidden, error::gone, error::request_expires}) {
        failure const what = failure::of(e, phase::head);
        CHECK(backoff{}.decide({.what = what, .can_refresh = true}) ==
              renewal{answer::fresh_request, 0ns});
        CHECK(backoff{}.decide({.what = what}) == gives_up);
        CHECK(backoff{}.decide({.what = what, .can_refresh = true, .refreshed = 1}) == gives_up);
        CHECK(backoff{.fresh = 0}.decide({.what = what, .can_refresh = true}) == gives_up);
    }
    backoff b{.fresh = 3};
    CHECK(b.decide({.what = expired, .can_refresh = true, .refreshed = 2}).is ==
          answer::fresh_request);
    CHECK(b.decide({.what = expired, .can_refresh = true, .refreshed = 3}) == gives_up);
    // It is no try over the network, but it takes its time as well.
    CHECK(b.decide({.what = expired, .tries = 100, .can_refresh = true}).is ==
          answer::fresh_request);
    CHECK(b.decide({.what = expired, .time_left = 0s, .can_refresh = true}) == gives_up);
    CHECK(b.decide({.what = expired, .time_left = 1ns, .can_refresh = true}).is ==
          answer::fresh_request);
    CHECK(b.decide({.what = expired, .idle = 11min, .can_refresh = true}) == gives_up);
    // What is no fault of the URL's asks for no other one.
    CHECK(b.decide({.what = passing, .can_refresh = true}).is == answer::elsewhere);
}

TEST_CASE("backoff keeps the laws of renewal rules, whatever its settings") {
    cleave_test::random_source random{3};
    auto const some_time = [&] {
        return nanoseconds{static_cast<std::int64_t>(random() >> (1 + random.below(63)))};
    };
    for (int i = 0; i < 20'000; ++i) {
        backoff b{.tries = static_cast<std::uint32_t>(random.below(20)),
                  .first_tries = static_cast<std::uint32_t>(random.below(20)),
                  .first = some_time(),
                  .longest = some_time(),
                  .patience = some_time(),
                  .without_progress = some_time(),
                  .delivering = random.below(3),
                  .tokens = static_cast<std::uint32_t>(random.below(100)),
                  .bytes_a_token = random.below(3),
                  .fresh = static_cast<std::uint32_t>(random.below(3))};
        CAPTURE(b.tries, b.first.count(), b.longest.count(), b.patience.count(), b.delivering,
                b.without_progress.count(), b.tokens, b.fresh);
        REQUIRE(cleave_test::broken_renewal(b, random, 25) == "");
    }
    for (int i = 0; i < 1'000; ++i) {
        backoff b;
        REQUIRE(cleave_test::broken_renewal(b, random, 9) == "");
    }
}

TEST_CASE("backoff takes times that make no sense as no time") {
    for (nanoseconds const none : {0ns, -1ns, nanoseconds::min()}) {
        CHECK(wait_of({.first = none}, 3, 12345) == 0ns);
        CHECK(wait_of({.longest = none}, 3, 12345) == 0ns);
        CHECK(backoff{.without_progress = none}.decide({.what = passing, .idle = 1ns}) == gives_up);
    }
    // A first wait above the longest is the longest.
    CHECK(wait_of({.first = 10s, .longest = 1s}, 1, 500'000'000) == 1s);
    CHECK(wait_of({.tries = 100,
                   .first = nanoseconds::max(),
                   .longest = nanoseconds::max(),
                   .without_progress = nanoseconds::max()},
                  90, std::uint64_t{1} << 62) == nanoseconds::max());
}
