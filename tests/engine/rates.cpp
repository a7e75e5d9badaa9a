// SPDX-License-Identifier: BSL-1.0
//
// Mean times and smoothed rates: what was lately counts most, nothing runs away, and the numbers
// that people are shown fit where they are put.

#include <cleave/engine/rates.hpp>

#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <limits>

using cleave::mean_time;
using cleave::smooth_rate;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

} // namespace

TEST_CASE("a mean is the first time, then three quarters of itself and one of the new") {
    mean_time m;
    CHECK_FALSE(m.known);
    CHECK(m.seconds() == 0);
    m.add(100ms);
    CHECK(m.known);
    CHECK(m.value == 100ms);
    m.add(200ms);
    CHECK(m.value == 125ms);
    m.add(125ms);
    CHECK(m.value == 125ms);
    CHECK(m.seconds() == Approx(0.125));
}

TEST_CASE("a mean follows a change, and one odd time does not carry it away") {
    mean_time m;
    for (int i = 0; i < 10; ++i) m.add(10ms);
    m.add(1s);
    CHECK(m.value < 260ms);
    for (int i = 0; i < 20; ++i) m.add(40ms);
    CHECK(m.value > 39ms);
    CHECK(m.value < 42ms);
}

TEST_CASE("the longest times there are can be averaged") {
    mean_time m;
    m.add(std::chrono::nanoseconds::max());
    m.add(std::chrono::nanoseconds::max());
    CHECK(m.value > std::chrono::nanoseconds::max() / 2);
    m.add(0ns);
    CHECK(m.value.count() > 0);
}

TEST_CASE("at first a rate is the mean since the start") {
    smooth_rate r;
    CHECK(r.whole() == 0);
    r.update(1000, 0.5);
    CHECK(r.whole() == 2000);
    r.update(1500, 1);
    CHECK(r.whole() == 1500);
}

TEST_CASE("a steady rate is told as it is, however often one looks") {
    for (int const looks : {1, 3, 100, 10'000}) {
        smooth_rate r;
        for (int i = 1; i <= looks; ++i)
            r.update(static_cast<std::uint64_t>(1'000'000.0 * 10 * i / looks), 10.0 * i / looks);
        CHECK(static_cast<double>(r.whole()) == Approx(1e6).epsilon(0.01));
    }
}

TEST_CASE("of a rate that changed, little is left after ten seconds") {
    smooth_rate r;
    std::uint64_t bytes = 0;
    double now = 0;
    auto const go_on = [&](double seconds, std::uint64_t each_tenth) {
        for (int i = 0; i < static_cast<int>(seconds * 10); ++i) {
            bytes += each_tenth;
            now += 0.1;
            r.update(bytes, now);
        }
    };
    go_on(60, 1000);
    go_on(3, 100);
    // A third of what there was, and two of what is now; three seconds are the measure.
    CHECK(r.whole() > 3500);
    CHECK(r.whole() < 5500);
    go_on(10, 100);
    CHECK(r.whole() > 1000);
    CHECK(r.whole() < 1300);
    go_on(30, 0);
    CHECK(r.whole() == 0);
}

TEST_CASE("bytes that have to come again count as none") {
    smooth_rate r;
    r.update(1000, 1);
    r.update(200, 2);
    CHECK(r.whole() == 500);
    // And what comes then counts from there.
    r.update(1200, 3);
    CHECK(r.whole() > 500);
    CHECK(r.whole() <= 1000);
}

TEST_CASE("a clock that stands still or goes back changes nothing") {
    smooth_rate r;
    r.update(500, 0);
    CHECK(r.whole() == 0);
    r.update(1000, 1);
    r.update(90'000, 1);
    r.update(90'000, 0.5);
    CHECK(r.whole() == 1000);
}

TEST_CASE("the largest rates and times fit") {
    smooth_rate r;
    r.update(most, 1e-9);
    CHECK(r.whole() == std::numeric_limits<std::int64_t>::max());
    CHECK(r.time_for(most) < 1h);
    // Without a rate it is as if a byte came each second, and never longer than can be told.
    smooth_rate none;
    CHECK(none.time_for(10) == 10s);
    CHECK(none.time_for(most) > std::chrono::hours{24 * 365 * 200});
}

TEST_CASE("the time for what is left is what is left by the rate") {
    smooth_rate r;
    r.update(5000, 1);
    CHECK(r.time_for(10'000) == 2s);
    CHECK(r.time_for(0) == 0s);
}
