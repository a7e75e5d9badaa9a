// SPDX-License-Identifier: BSL-1.0
//
// How much an idle lane takes of what a slow one holds: so much that both are done at the same
// time, nothing where it is not worth a request, all of it from a lane that has gone silent, and a
// second request only within the budget. Sizes go up to the greatest there are.

#include <cleave/engine/stealing.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

using cleave::divide;
using cleave::find_theft;
using cleave::holding;
using cleave::max_offset;
using cleave::segment;
using cleave::stealing_limits;
using cleave::theft;
using cleave::thief;
using cleave_test::random_source;
using namespace std::chrono_literals;

namespace {

constexpr stealing_limits exact{.least = 1, .leave = 0, .soon = 0ms};

// Seconds that a lane takes for what it is left with, and the thief for what it took.
double time_of(holding const& h, std::optional<segment> left) {
    return left ? h.delay + static_cast<double>(left->size()) / h.rate : 0;
}
double time_of(thief const& t, segment bytes) {
    return t.delay + static_cast<double>(bytes.size()) / t.rate;
}

// Any number from tiny to huge; each magnitude is as likely.
double any_rate(random_source& random) {
    return std::ldexp(1 + static_cast<double>(random.below(1000)) / 1000,
                      static_cast<int>(random.below(60)) - 20);
}
std::uint64_t any_size(random_source& random) { return random() >> random.below(64); }

// What holds of every division, whatever the numbers; empty, or the law that is broken.
std::string broken_division(holding const& from, thief const& by, stealing_limits const& limits) {
    auto const taken = divide(from, by, limits);
    bool const silent = from.rate <= 0;
    if (!taken) return silent ? "a silent lane keeps nothing for want of worth" : "";
    if (!taken->valid() || !from.left.contains(*taken)) return "only what is held is taken";
    if (taken->last != from.left.last) return "the end is taken";
    if (taken->size() < std::min(from.left.size(), limits.least)) return "no less than the least";
    auto const left = from.left.before(taken->first);
    if (left && left->size() < limits.leave) return "nothing is left that is not worth a reply";
    return "";
}

} // namespace

// ---- dividing -----------------------------------------------------------------------------

TEST_CASE("two lanes of the same speed halve what one of them holds") {
    holding const from{.left = {1000, 1999}, .rate = 100};
    CHECK(divide(from, {.rate = 100}, exact) == segment{1500, 1999});
    // A faster one takes more, a slower one less.
    CHECK(divide(from, {.rate = 300}, exact) == segment{1250, 1999});
    CHECK(divide(from, {.rate = 25}, exact) == segment{1800, 1999});
}

TEST_CASE("who has to wait for a reply takes less") {
    holding const from{.left = {0, 999}, .rate = 100};
    // In the two seconds until then 200 bytes come; the rest is halved.
    CHECK(divide(from, {.rate = 100, .delay = 2}, exact) == segment{600, 999});
    // If the other one waits as long, it is as if none did.
    holding const waits{.left = {0, 999}, .rate = 100, .delay = 2};
    CHECK(divide(waits, {.rate = 100, .delay = 2}, exact) == segment{500, 999});
    CHECK_FALSE(divide(from, {.rate = 100, .delay = 10}, exact));
    CHECK_FALSE(divide(from, {.rate = 100, .delay = 11}, exact));
}

TEST_CASE("after a division both are done at the same time") {
    random_source random{1};
    int divided = 0;
    for (int i = 0; i < 20'000; ++i) {
        CAPTURE(i);
        holding const from{.left = {0, 999 + random.below(1'000'000'000)},
                           .rate = 1 + static_cast<double>(random.below(1'000'000)),
                           .delay = static_cast<double>(random.below(3)) / 10};
        thief const by{.rate = 1 + static_cast<double>(random.below(1'000'000)),
                       .delay = from.delay + static_cast<double>(random.below(100)) / 10};
        auto const taken = divide(from, by, exact);
        double const alone = from.time_left();
        if (!taken) {
            // Only where the other lane will be done before, or nearly so.
            REQUIRE(alone <= by.delay + 2 / by.rate + 1 / from.rate);
            continue;
        }
        ++divided;
        double const one = time_of(from, from.left.before(taken->first));
        double const other = time_of(by, *taken);
        // To a byte.
        REQUIRE(std::abs(one - other) <= 1.001 / from.rate + 1.001 / by.rate + alone * 1e-9);
        REQUIRE(std::max(one, other) <= alone + 1.001 / by.rate);
    }
    CHECK(divided > 10'000);
}

TEST_CASE("idle lanes that come one after the other take equal shares") {
    for (std::uint32_t idle = 1; idle <= 16; ++idle) {
        CAPTURE(idle);
        bool const silent = GENERATE(false, true);
        holding from{.left = {0, 9'999'999}, .rate = silent ? 0.0 : 1000.0};
        std::vector<std::uint64_t> shares;
        for (std::uint32_t i = idle; i != 0; --i) {
            auto const taken = divide(from, {.rate = 500, .delay = 1, .idle = i}, exact);
            REQUIRE(taken);
            shares.push_back(taken->size());
            auto const left = from.left.before(taken->first);
            // Of a silent one nothing is left.
            REQUIRE(left.has_value() == (!silent || i != 1));
            if (left) from.left = *left;
        }
        auto const [least, most] = std::ranges::minmax(shares);
        CHECK(most - least <= idle);
        if (silent)
            CHECK(most == (10'000'000 + idle - 1) / idle);
        else
            CHECK(std::abs(time_of(from, from.left) -
                           time_of(thief{.rate = 500, .delay = 1}, {0, most - 1})) < 0.1);
    }
}

TEST_CASE("a thief that nothing is known of takes nothing of a lane that brings something") {
    CHECK_FALSE(divide({.left = {0, max_offset}, .rate = 1e-300}, {.rate = 0}, exact));
    // But of one that brings nothing.
    CHECK(divide({.left = {0, 999}, .rate = 0}, {.rate = 0}, exact) == segment{0, 999});
}

TEST_CASE("little is not worth a request, and little is not left behind") {
    stealing_limits const limits{.least = 100, .leave = 30};
    thief const by{.rate = 100};
    // Half of 199 is too little, half of 200 is enough.
    CHECK_FALSE(divide({.left = {0, 198}, .rate = 100}, by, limits));
    CHECK(divide({.left = {0, 199}, .rate = 100}, by, limits) == segment{100, 199});
    // Of a silent lane the least is taken also by many, and what there is where that is less.
    holding const silent{.left = {0, 499}};
    CHECK(divide(silent, {.idle = 50}, limits) == segment{400, 499});
    CHECK(divide({.left = {0, 49}}, {.idle = 50}, limits) == segment{0, 49});
    // What it would keep is taken along below 30 bytes.
    CHECK(divide({.left = {0, 229}}, {.idle = 2}, limits) == segment{115, 229});
    CHECK(divide({.left = {0, 129}}, {.idle = 9}, limits) == segment{30, 129});
    CHECK(divide({.left = {0, 128}}, {.idle = 9}, limits) == segment{0, 128});
    // Also where it brings something.
    CHECK(divide({.left = {0, 999}, .rate = 1}, {.rate = 99}, limits) == segment{0, 999});
}

TEST_CASE("whatever is divided, the law holds, up to the largest sizes") {
    random_source random{2};
    std::uint64_t taken = 0;
    for (int i = 0; i < 100'000; ++i) {
        CAPTURE(i);
        segment left = random.within({0, max_offset});
        if (random.chance(50))
            left.last = left.first + std::min(left.last - left.first, any_size(random));
        if (random.chance(5)) left = {0, max_offset};
        if (random.chance(5)) left = {max_offset, max_offset};
        holding const from{.left = left,
                           .rate = random.chance(20) ? 0 : any_rate(random),
                           .delay = random.chance(50) ? 0 : any_rate(random)};
        thief const by{.rate = random.chance(10) ? 0 : any_rate(random),
                       .delay = random.chance(50) ? 0 : any_rate(random),
                       .idle = static_cast<std::uint32_t>(random.chance(5) ? random() >> 32U
                                                                           : random.below(20))};
        stealing_limits const limits{.least = any_size(random), .leave = any_size(random)};
        REQUIRE(broken_division(from, by, limits) == "");
        taken += divide(from, by, limits) ? 1 : 0;
    }
    CHECK(taken > 20'000);
}

TEST_CASE("a fast thief takes all of the largest object, and no more") {
    // In floating point its share is as large as all there is, and one more than fits.
    holding const from{.left = {0, max_offset - 1}, .rate = 1e-9};
    CHECK(divide(from, {.rate = 1e12}, exact) == segment{0, max_offset - 1});
    CHECK(divide({.left = {1, max_offset}, .rate = 1e-9}, {.rate = 1e12}, exact) ==
          segment{1, max_offset});
}

TEST_CASE("a lane that brings nothing is never done") {
    constexpr double never = std::numeric_limits<double>::infinity();
    CHECK(holding{.left = {0, 0}}.time_left() == never);
    CHECK(holding{.left = {0, 0}, .delay = 5}.time_left() == never);
    CHECK(holding{.left = {0, 99}, .rate = 50, .delay = 1}.time_left() == 3);
    CHECK(std::isfinite(holding{.left = {0, max_offset}, .rate = 1e-9}.time_left()));
}

// ---- from whom ----------------------------------------------------------------------------

TEST_CASE("where nobody holds anything there is nothing to take") {
    CHECK_FALSE(find_theft({}, {.rate = 100}, max_offset, exact));
}

TEST_CASE("help goes to the lane that will be done last") {
    std::vector<holding> all = {{.lane = 3, .left = {0, 999}, .rate = 100},
                                {.lane = 5, .left = {2000, 2999}, .rate = 50},
                                {.lane = 1, .left = {5000, 5999}, .rate = 80}};
    thief const by{.rate = 50};
    CHECK(find_theft(all, by, 0, exact) == theft{5, {2500, 2999}, false});
    // Also where it is fast and has to wait.
    all[2].delay = 20;
    CHECK(find_theft(all, by, 0, exact)->from == 1);
    // One that brings nothing comes before all that bring little.
    all[0].rate = 0;
    CHECK(find_theft(all, by, 0, exact) == theft{3, {0, 999}, false});
}

TEST_CASE("a lane that will be done soon is left alone") {
    stealing_limits limits = exact;
    limits.soon = 1s;
    std::vector<holding> const all = {{.lane = 0, .left = {0, 999}, .rate = 100}};
    // It takes ten seconds more: worth it only up to twice a wait of four and a half.
    CHECK(find_theft(all, {.rate = 1e9, .delay = 4.4}, 0, limits));
    CHECK_FALSE(find_theft(all, {.rate = 1e9, .delay = 4.5}, 0, limits));
    limits.soon = 10s;
    CHECK_FALSE(find_theft(all, {.rate = 1e9}, max_offset, limits));
    limits.soon = 9900ms;
    CHECK(find_theft(all, {.rate = 1e9}, 0, limits));
    // A silent lane will never be done.
    limits.soon = 24h;
    CHECK(
        find_theft(std::vector<holding>{{.left = {0, 999}}}, {.rate = 1, .delay = 1e9}, 0, limits));
}

// ---- hedges -------------------------------------------------------------------------------

TEST_CASE("what is too little to divide is asked for twice, within the budget") {
    stealing_limits const limits{.least = 1000, .leave = 0, .soon = 100ms};
    // A hundred seconds for what takes the thief two.
    std::vector<holding> const all = {{.lane = 7, .left = {500, 599}, .rate = 1}};
    thief const by{.rate = 100, .delay = 1};
    CHECK(find_theft(all, by, 100, limits) == theft{7, {500, 599}, true});
    CHECK_FALSE(find_theft(all, by, 99, limits));
    CHECK_FALSE(find_theft(all, by, 0, limits));
    // Dividing comes first, budget or not.
    CHECK(find_theft(all, by, max_offset, exact)->hedge == false);
}

TEST_CASE("a hedge must be well worth it") {
    stealing_limits const limits{.least = 1000, .leave = 0, .soon = 1s};
    thief const by{.rate = 100, .delay = 1};
    auto const slow = [](double rate) {
        return std::vector<holding>{{.left = {0, 99}, .rate = rate}};
    };
    // The thief takes two seconds: four and one are not enough, a little more is.
    CHECK_FALSE(find_theft(slow(20), by, 100, limits));
    CHECK(find_theft(slow(19.9), by, 100, limits));
    // Nobody hedges who may not bring anything.
    CHECK_FALSE(find_theft(slow(1), {.rate = 0, .delay = 1}, 100, limits));
}

TEST_CASE("a silent lane is not hedged, for all of it is taken") {
    stealing_limits const limits{.least = 1000, .leave = 0};
    CHECK(find_theft(std::vector<holding>{{.left = {0, 99}}}, {.rate = 1}, max_offset, limits) ==
          theft{0, {0, 99}, false});
}

TEST_CASE("whatever lanes hold, a theft is of the last and within the limits") {
    random_source random{3};
    std::uint64_t stolen = 0;
    std::uint64_t hedged = 0;
    for (int i = 0; i < 50'000; ++i) {
        CAPTURE(i);
        std::vector<holding> all(random.index(6));
        for (std::uint32_t n = 0; n != all.size(); ++n) {
            std::uint64_t const first = any_size(random);
            all[n] = {.lane = n,
                      .left = {first, first + std::min(max_offset - first, any_size(random))},
                      .rate = random.chance(10) ? 0 : any_rate(random),
                      .delay = random.chance(50) ? 0 : any_rate(random)};
        }
        thief const by{.rate = random.chance(10) ? 0 : any_rate(random),
                       .delay = random.chance(50) ? 0 : any_rate(random) / 1000,
                       .idle = static_cast<std::uint32_t>(1 + random.below(8))};
        stealing_limits const limits{.least = any_size(random), .leave = any_size(random) >> 32U};
        std::uint64_t const budget = any_size(random);
        auto const found = find_theft(all, by, budget, limits);
        if (!found) continue;
        REQUIRE(found->from < all.size());
        holding const& from = all[found->from];
        for (holding const& h : all) REQUIRE(h.time_left() <= from.time_left());
        if (found->hedge) {
            ++hedged;
            REQUIRE(found->bytes == from.left);
            REQUIRE(from.left.size() <= budget);
            REQUIRE(from.rate > 0);
            REQUIRE_FALSE(divide(from, by, limits));
        } else {
            ++stolen;
            REQUIRE(found->bytes == divide(from, by, limits));
        }
        REQUIRE(from.time_left() > 2 * by.delay);
    }
    CHECK(stolen > 1000);
    CHECK(hedged > 1000);
}
