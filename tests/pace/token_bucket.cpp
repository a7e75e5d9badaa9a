// SPDX-License-Identifier: BSL-1.0
//
// token_bucket keeps its rate from a byte a second up, for one taker and for many, also when the
// rate changes meanwhile, and wastes none of it.

#include <cleave/pace/token_bucket.hpp>

#include <laws/pacer_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using cleave::pace_answer;
using cleave::token_bucket;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

static_assert(std::is_copy_constructible_v<token_bucket>);
static_assert(std::is_copy_assignable_v<token_bucket>);
static_assert(!std::is_convertible_v<std::uint64_t, token_bucket>);

namespace {

constexpr std::uint64_t huge = std::uint64_t{1} << 40;
constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t top = ~std::uint64_t{0};

// As documented.
std::uint64_t default_burst(std::uint64_t rate) {
    return std::max<std::uint64_t>(rate / 20, 16 * KiB);
}
// No portion is larger.
std::uint64_t portion_bound(std::uint64_t rate, std::uint64_t burst) {
    return std::max<std::uint64_t>(std::min(rate, 4 * KiB), std::min(rate / 64, burst / 4));
}

// Takes all there is at one time, to the last byte: less than a portion is had by asking for less.
std::uint64_t drain(token_bucket& bucket, nanoseconds now, std::uint64_t at_most = huge) {
    std::uint64_t all = 0;
    for (std::uint64_t n = at_most; n != 0 && all != at_most;) {
        pace_answer const answer = bucket.take(std::min(n, at_most - all), now);
        all += answer.bytes;
        if (answer.bytes == 0) n /= 2;
    }
    return all;
}

} // namespace

TEST_CASE("token_bucket keeps the laws of pacers, whatever its rate and burst") {
    cleave_test::random_source random{1};
    for (int i = 0; i < 400; ++i) {
        std::uint64_t const rate = random() >> random.below(64);
        std::uint64_t const burst = random.chance(50) ? 0 : random() >> random.below(64);
        CAPTURE(rate, burst);
        token_bucket bucket{rate, burst};
        nanoseconds const start{static_cast<std::int64_t>(random() >> (4 + random.below(60)))};
        REQUIRE(cleave_test::broken_pacer(bucket, start, random, 200) == "");
    }
}

TEST_CASE("token_bucket keeps its rate over any interval, and none of it is wasted") {
    cleave_test::random_source random{2};
    for (std::uint64_t rate = 1; rate <= 10'000'000'000; rate = rate * 5 + random.below(rate + 1))
        for (std::uint64_t burst : {std::uint64_t{0}, std::uint64_t{1}, 1000 + random.below(10'000),
                                    rate + 3, 4 * rate}) {
            CAPTURE(rate, burst);
            token_bucket bucket{rate, burst};
            std::uint64_t const room = burst == 0 ? default_burst(rate) : burst;
            cleave_test::rate_check check{rate, room};
            nanoseconds const begin{static_cast<std::int64_t>(random.below(1'000'000'000'000))};
            nanoseconds now = begin;
            long double taken = 0;
            for (int i = 0; i < 1000; ++i) {
                std::uint64_t const n = random.chance(20) ? 1 + random.below(9000) : huge;
                pace_answer const answer = bucket.take(n, now);
                if (answer.bytes != 0) {
                    REQUIRE(check.took(answer.bytes, now) == 0);
                    taken += static_cast<long double>(answer.bytes);
                    continue;
                }
                // What has come and was not taken is less than a portion.
                long double const come = static_cast<long double>(room) +
                                         static_cast<long double>(rate) *
                                             static_cast<long double>((now - begin).count()) / 1e9L;
                REQUIRE(come - taken <=
                        static_cast<long double>(portion_bound(rate, room)) + 1.001L);
                now = answer.at;
            }
        }
}

TEST_CASE("token_bucket keeps its rate when it is asked at any time, and for any little") {
    cleave_test::random_source random{3};
    for (std::uint64_t rate = 1; rate <= 10'000'000'000; rate = rate * 7 + random.below(rate + 1)) {
        CAPTURE(rate);
        token_bucket bucket{rate};
        cleave_test::rate_check check{rate, default_burst(rate)};
        nanoseconds now = 5s;
        // Until a portion has come or not, or everything many times over.
        auto const scale = std::max<std::uint64_t>(std::uint64_t{1} << 40, rate) / rate;
        for (int i = 0; i < 3000; ++i) {
            now += nanoseconds{static_cast<std::int64_t>(
                random.below(std::uint64_t{1} << random.below(1 + random.below(40))) * scale /
                (std::uint64_t{1} << 20))};
            pace_answer const answer = bucket.take(1 + random.below(10'000), now);
            REQUIRE(check.took(answer.bytes, now) == 0);
        }
    }
}

TEST_CASE("a portion is there at the time that was named, and not before") {
    cleave_test::random_source random{4};
    int found = 0;
    for (int i = 0; i < 3000; ++i) {
        std::uint64_t const rate = 1 + (random() >> (25 + random.below(39)));
        token_bucket bucket{rate, 1 + random.below(10'000)};
        auto now = nanoseconds{static_cast<std::int64_t>(random.below(1'000'000'000))};
        drain(bucket, now);
        // Now there may be a part of a byte in it.
        now += nanoseconds{static_cast<std::int64_t>(random.below(1'000'000'000))};
        drain(bucket, now);
        std::uint64_t const n = 1 + random.below(100'000);
        pace_answer const answer = bucket.take(n, now);
        CAPTURE(rate, n, now.count(), answer.at.count());
        REQUIRE(answer.bytes == 0);
        REQUIRE(answer.at - now <= 250ms);
        if (answer.at - now == 250ms) continue;
        ++found;
        if (answer.at - now > 1ns) REQUIRE(bucket.take(n, answer.at - 1ns).bytes == 0);
        REQUIRE(bucket.take(n, answer.at).bytes != 0);
    }
    CHECK(found > 1000);
}

TEST_CASE("a bucket is full at first, and holds no more than its burst") {
    for (std::uint64_t burst : {1U, 7U, 4096U, 1'000'000U}) {
        token_bucket bucket{1'000'000, burst};
        CHECK(drain(bucket, 3s) == burst);
        CHECK(drain(bucket, 1h) == burst);
    }
    token_bucket slow{1};
    CHECK(drain(slow, 0s) == 16 * KiB);
    CHECK(drain(slow, 100h) == 16 * KiB);
    token_bucket fast{100'000'000};
    CHECK(drain(fast, 0s) == 5'000'000);
    CHECK(drain(fast, 100h) == 5'000'000);
}

TEST_CASE("no time counts twice, nor any that went back") {
    token_bucket bucket{1'000'000'000};
    drain(bucket, 1s);
    CHECK(drain(bucket, 1s + 1ms) == 1'000'000);
    CHECK(drain(bucket, 1s + 1ms) == 0);
    // Another thread that looked at the clock earlier.
    CHECK(drain(bucket, 1s) == 0);
    CHECK(bucket.take(1, 1s).at > 1s);
    CHECK(drain(bucket, 1s + 2ms) == 1'000'000);
}

TEST_CASE("a portion is small enough to share and large enough to be worth it") {
    // Rate, burst, and how much is given at a time.
    struct row {
        std::uint64_t rate;
        std::uint64_t burst;
        std::uint64_t portion;
    };
    for (row const& r : {row{1'000'000'000, 0, 12'500'000}, row{64'000'000, 1 << 30, 1'000'000},
                         row{1'000'000'000, 1'000'000, 250'000}, row{100'000, 0, 4096},
                         row{10'000, 5000, 4096}, row{10'000, 1000, 1000}, row{700, 0, 700},
                         row{1, 0, 1}, row{1, 1, 1}, row{top, top, 1 << 30}}) {
        CAPTURE(r.rate, r.burst);
        token_bucket bucket{r.rate, r.burst};
        CHECK(bucket.take(huge, 0s).bytes == r.portion);
        token_bucket other{r.rate, r.burst};
        CHECK(other.take(r.portion - r.portion / 2, 0s).bytes == r.portion - r.portion / 2);
    }
}

TEST_CASE("where a portion is long in coming, it is asked for four times a second") {
    token_bucket bucket{1};
    drain(bucket, 0s);
    for (int i = 0; i < 3; ++i) {
        nanoseconds const now = i * 250ms;
        CHECK(bucket.take(huge, now) == pace_answer{0, now + 250ms});
    }
    CHECK(bucket.take(huge, 750ms) == pace_answer{0, 1s});
    CHECK(bucket.take(huge, 1s).bytes == 1);
    // However slow it is, none waits longer than a second for a byte.
    token_bucket faster{1000};
    drain(faster, 0s);
    CHECK(faster.take(huge, 999ms).bytes == 0);
    CHECK(faster.take(huge, 1s).bytes == 1000);
}

TEST_CASE("no limit is no limit") {
    token_bucket bucket{0};
    CHECK(bucket.rate() == 0);
    CHECK(token_bucket{}.rate() == 0);
    for (nanoseconds now : {0ns, 1ns, nanoseconds::max()})
        for (std::uint64_t n : {std::uint64_t{1}, huge, top}) CHECK(bucket.take(n, now).bytes == n);
}

TEST_CASE("copies and moves of a handle share the bucket") {
    token_bucket one{1000, 8192};
    token_bucket two = one;
    token_bucket three{5};
    three = two;
    CHECK(drain(one, 0s, 3000) == 3000);
    CHECK(drain(two, 0s, 3000) == 3000);
    CHECK(drain(three, 0s) == 8192 - 6000);
    three.set_rate(77);
    CHECK(one.rate() == 77);
    // What was moved from still is one.
    token_bucket const four = std::move(one);
    one.give_back(10); // NOLINT(bugprone-use-after-move)
    CHECK(one.rate() == 77);
    CHECK(drain(two, 0s, 10) == 10);
    CHECK(four.rate() == 77);
}

TEST_CASE("what was given back can be taken again, as far as there is room") {
    token_bucket bucket{1000, 8192};
    CHECK(drain(bucket, 0s) == 8192);
    bucket.give_back(500);
    CHECK(drain(bucket, 0s, 500) == 500);
    CHECK(drain(bucket, 0s) == 0);
    bucket.give_back(5000);
    bucket.give_back(5000);
    CHECK(drain(bucket, 0s) == 8192);
    bucket.give_back(top);
    bucket.give_back(top);
    CHECK(drain(bucket, 0s) == 8192);
    // Where there is no limit nothing was taken out.
    bucket.set_rate(0);
    bucket.give_back(8192);
    bucket.set_rate(1000);
    CHECK(drain(bucket, 0s) == 0);
}

TEST_CASE("a raised rate is noticed by those who wait") {
    token_bucket bucket{1};
    drain(bucket, 10s);
    pace_answer const answer = bucket.take(huge, 10s);
    REQUIRE(answer.bytes == 0);
    CHECK(answer.at <= 10s + 250ms);
    bucket.set_rate(100'000'000);
    CHECK(bucket.rate() == 100'000'000);
    CHECK(bucket.take(huge, answer.at).bytes > 1'000'000);
    // The burst has grown with the rate.
    CHECK(drain(bucket, 1h) == 5'000'000);
}

TEST_CASE("a lowered rate holds from the next asking on") {
    token_bucket bucket{100'000'000};
    drain(bucket, 10s);
    bucket.set_rate(1000);
    CHECK(drain(bucket, 11s) == 1000);
    CHECK(drain(bucket, 12s) == 1000);
    // What is in the bucket stays as far as the new burst has room.
    bucket.set_rate(100'000'000);
    CHECK(bucket.take(1, 13s).bytes == 1);
    bucket.set_rate(1000);
    CHECK(drain(bucket, 13s) == 16 * KiB);
    token_bucket other{100'000'000, 20'000};
    other.set_rate(1000);
    CHECK(drain(other, 0s) == 20'000);
}

TEST_CASE("a limit can be lifted and set again") {
    token_bucket bucket{1000};
    drain(bucket, 0s);
    bucket.set_rate(0);
    CHECK(bucket.take(huge, 0s).bytes == huge);
    CHECK(bucket.take(huge, 1h).bytes == huge);
    // The hour without a limit earns nothing.
    bucket.set_rate(1000);
    CHECK(drain(bucket, 1h) == 0);
    CHECK(drain(bucket, 1h + 2s) == 2000);
    // One that begins without has a full bucket for later.
    token_bucket other{0};
    CHECK(other.take(huge, 0s).bytes == huge);
    other.set_rate(1000);
    CHECK(drain(other, 1s) == 16 * KiB);
}

TEST_CASE("rates that change all the time are kept as well") {
    cleave_test::random_source random{5};
    token_bucket bucket{1000, 50'000};
    nanoseconds now = 0s;
    drain(bucket, now);
    // With a burst that does not change, each stretch is worth its rate.
    std::uint64_t taken = 0;
    std::uint64_t earned = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::uint64_t const rate = 1 + random.below(100'000);
        std::uint64_t const time = random.below(400'000'000);
        bucket.set_rate(rate);
        now += nanoseconds{static_cast<std::int64_t>(time)};
        earned += rate * time;
        taken += drain(bucket, now);
        REQUIRE(taken <= earned / 1'000'000'000);
        REQUIRE(earned / 1'000'000'000 - taken <= 4096);
    }
}

TEST_CASE("takers that ask in turn get the same") {
    for (std::uint64_t rate : {50ULL, 100'000ULL, 50'000'000ULL, 10'000'000'000ULL})
        for (std::size_t takers : {2U, 3U, 16U}) {
            CAPTURE(rate, takers);
            // Some have one handle and some another, as lanes of two downloads do.
            std::array<token_bucket, 2> handles{token_bucket{rate}, token_bucket{1}};
            handles[1] = handles[0];
            std::vector<std::uint64_t> got(takers);
            std::deque<std::size_t> waiting;
            for (std::size_t i = 0; i != takers; ++i) waiting.push_back(i);
            nanoseconds now = 1s;
            nanoseconds const end = rate < 1000 ? 1h : rate > 1'000'000'000 ? 2s : 20s;
            // Who got something asks behind all the others.
            while (now < end) {
                std::size_t const i = waiting.front();
                pace_answer const answer = handles[i % 2].take(1 << 20, now);
                if (answer.bytes == 0) {
                    now = answer.at;
                    continue;
                }
                got[i] += answer.bytes;
                waiting.pop_front();
                waiting.push_back(i);
            }
            auto const [least, most] = std::ranges::minmax(got);
            CHECK(most - least <= portion_bound(rate, default_burst(rate)));
            CHECK(least > 0);
        }
}

TEST_CASE("two threads that ask at the same time get the same") {
    constexpr std::uint64_t rate = 64'000'000;
    constexpr int rounds = 2000;
    token_bucket bucket{rate, 4'000'000};
    drain(bucket, 0s);
    // In each round two portions of a megabyte come, and each thread asks once.
    std::array<std::uint64_t, 2> got{};
    std::barrier together{2};
    auto const taker = [&](token_bucket handle, std::uint64_t& mine) {
        for (int round = 1; round <= rounds; ++round) {
            together.arrive_and_wait();
            mine += handle.take(huge, round * 31'250'000ns).bytes;
        }
    };
    std::thread other{taker, bucket, std::ref(got[1])};
    taker(bucket, got[0]);
    other.join();
    CHECK(got[0] == rounds * std::uint64_t{1'000'000});
    CHECK(got[1] == rounds * std::uint64_t{1'000'000});
}

TEST_CASE("threads that do as they please do not break a bucket") {
    constexpr std::uint64_t rate = 1'000'000'000;
    constexpr std::uint64_t burst = 1'000'000;
    token_bucket bucket{rate, burst};
    std::atomic<std::int64_t> clock{0};
    std::atomic<std::uint64_t> taken{0};
    auto const taker = [&](token_bucket handle, std::uint64_t seed) {
        cleave_test::random_source random{seed};
        for (int i = 0; i < 20'000; ++i) {
            nanoseconds const now{clock += static_cast<std::int64_t>(random.below(20'000))};
            pace_answer const answer = handle.take(1 + random.below(50'000), now);
            taken += answer.bytes;
            if (random.chance(10)) {
                std::uint64_t const back = random.below(answer.bytes + 1);
                taken -= back;
                handle.give_back(back);
            }
            // To the same rate, so that what may be taken is known.
            if (random.chance(1)) handle.set_rate(rate);
            if (handle.rate() != rate) return;
        }
    };
    std::vector<std::thread> threads;
    for (std::uint64_t seed = 0; seed < 3; ++seed) threads.emplace_back(taker, bucket, seed);
    taker(bucket, 99);
    for (std::thread& t : threads) t.join();
    auto const earned = burst + static_cast<std::uint64_t>(clock.load()) * (rate / 1'000'000'000);
    CHECK(taken <= earned);
    CHECK(taken > earned / 2);
}

TEST_CASE("token_bucket does not overflow") {
    for (std::uint64_t rate :
         {std::uint64_t{1}, std::uint64_t{999'999'999}, std::uint64_t{1'000'000'001},
          std::uint64_t{1} << 32, (std::uint64_t{1} << 63) - 1, std::uint64_t{1} << 63, top})
        for (std::uint64_t burst : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32,
                                    std::uint64_t{1} << 63, top})
            for (nanoseconds begin :
                 {nanoseconds::min(), -1ns, 0ns, 1ns, nanoseconds::max() - 1s}) {
                CAPTURE(rate, burst, begin.count());
                token_bucket bucket{rate, burst};
                nanoseconds now = begin;
                for (int i = 0; i < 5; ++i) {
                    std::uint64_t const room = burst == 0 ? default_burst(rate) : burst;
                    std::uint64_t const got = drain(bucket, now, 5000);
                    CHECK(got <= std::min<std::uint64_t>(5000, room));
                    CHECK(bucket.take(top, now).bytes <= room);
                    bucket.give_back(top);
                    bucket.give_back(top);
                    CHECK(drain(bucket, now, 5000) == std::min<std::uint64_t>(5000, room));
                    bucket.set_rate(top - rate);
                    bucket.set_rate(rate);
                    now = std::max(now, i == 0 ? 999'999'999ns : nanoseconds::max());
                }
                // There is no later time to name than the last.
                CHECK(bucket.take(top, nanoseconds::max()).at <= nanoseconds::max());
            }
}
