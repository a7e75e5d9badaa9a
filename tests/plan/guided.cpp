// SPDX-License-Identifier: BSL-1.0
//
// guided keeps the laws of planners for every small object and for the largest there can be; its
// segments are shares of what is still to come, and never smaller than they should be (H02, H03).

#include <cleave/plan/guided.hpp>

#include <laws/planner_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using cleave::guided;
using cleave::max_offset;
using cleave::plan_state;
using cleave::segment;

namespace {

constexpr std::uint32_t most_lanes = 0xffff'ffff;

constexpr segment next_of(guided p, segment gap, std::uint32_t lanes,
                          std::uint64_t outstanding = 0) {
    return p.next(gap, plan_state{{0, max_offset}, gap.size(), lanes, outstanding});
}

static_assert(guided{}.least == 256 * 1024 && guided{}.shares == 1);
// A share, rounded up.
static_assert(next_of({1}, {0, 99}, 4) == segment{0, 24});
static_assert(next_of({1}, {0, 100}, 4) == segment{0, 25});
static_assert(next_of({1, 2}, {0, 99}, 5) == segment{0, 9});
// What lanes hold is still to come; what they have brought is not.
static_assert(next_of({1}, {40, 99}, 4, 40) == segment{40, 64});
static_assert(next_of({1}, {40, 99}, 4, 0) == segment{40, 54});
// Never smaller than `least`, unless the gap is.
static_assert(next_of({30}, {0, 99}, 4) == segment{0, 29});
static_assert(next_of({30}, {5, 14}, 4) == segment{5, 14});
// Nor does it leave less than that behind.
static_assert(next_of({30}, {0, 59}, 4) == segment{0, 29});
static_assert(next_of({30}, {0, 58}, 4) == segment{0, 58});
static_assert(next_of({30}, {0, 99}, 1) == segment{0, 99});
// The gap ends it, whatever is owed elsewhere.
static_assert(guided{1}.next({10, 19}, {{0, 999}, 500, 2}) == segment{10, 19});
// Nought counts as one.
static_assert(next_of({0, 0}, {0, 9}, 0) == segment{0, 9});
static_assert(next_of({0, 0}, {0, 9}, 10) == segment{0, 0});
static_assert(cleave::plan_most_segments(guided{}) == max_offset);

// What is wrong with the plan of these bytes, worked out alone; empty if nothing is.
std::string broken_plan(guided p, segment wanted, std::uint32_t lanes) {
    std::uint64_t const smallest = std::max<std::uint64_t>(p.least, 1);
    std::uint64_t const parts =
        std::max<std::uint64_t>(lanes, 1) * std::max<std::uint64_t>(p.shares, 1);
    std::string wrong;
    std::uint64_t left = wanted.size();
    auto const broken = cleave_test::broken_tiling(p, wanted, lanes, [&](segment s) {
        // The smallest number of which `parts` make up what is left.
        std::uint64_t const size = s.last - s.first + 1;
        bool const enough = size >= left / parts + (left % parts == 0 ? 0 : 1);
        bool const too_much = size > 1 && size > smallest && (size - 1) >= left / parts + 1;
        if (size != left && !enough) wrong = to_string(s) + " is less than a share";
        if (size != left && too_much) wrong = to_string(s) + " is more than a share";
        if (size < smallest && size != wanted.size()) wrong = to_string(s) + " is too small";
        if (size != left && left - size < smallest) wrong = to_string(s) + " leaves too little";
        left -= size;
    });
    return broken.empty() ? wrong : broken;
}

std::vector<std::uint64_t> sizes(guided p, segment wanted, std::uint32_t lanes) {
    std::vector<std::uint64_t> all;
    auto const broken =
        cleave_test::broken_tiling(p, wanted, lanes, [&](segment s) { all.push_back(s.size()); });
    CHECK(broken == "");
    return all;
}

} // namespace

TEST_CASE("guided tiles every small object") {
    for (std::uint64_t size = 1; size <= 200; ++size)
        for (std::uint32_t lanes = 0; lanes <= 17; ++lanes)
            for (std::uint64_t least : {0U, 1U, 2U, 7U, 64U}) {
                CAPTURE(size, lanes, least);
                REQUIRE(broken_plan({least}, {0, size - 1}, lanes) == "");
                REQUIRE(broken_plan({least, 3}, {1'000'003, 1'000'002 + size}, lanes) == "");
                REQUIRE(broken_plan({least}, {max_offset - (size - 1), max_offset}, lanes) == "");
            }
}

TEST_CASE("guided answers within any gap") {
    cleave_test::random_source random{41};
    for (std::uint64_t size = 1; size <= 300; size += 7)
        for (std::uint32_t lanes = 0; lanes <= 17; ++lanes) {
            CAPTURE(size, lanes);
            segment const wanted{40, 39 + size};
            REQUIRE(cleave_test::broken_after_failures(guided{1 + size / 20}, wanted, lanes,
                                                       random) == "");
        }
}

TEST_CASE("guided survives a long run of failures") {
    cleave_test::random_source random{42};
    for (std::uint64_t least : {40U, 1000U, 10'000U}) {
        CAPTURE(least);
        CHECK(cleave_test::broken_in_the_long_run(guided{least}, {1000, 8999}, 3000, random) == "");
    }
}

TEST_CASE("guided survives a million steps", "[.heavy]") {
    cleave_test::random_source random{43};
    CHECK(cleave_test::broken_in_the_long_run(guided{300}, {1000, 100'999}, 1'000'000, random) ==
          "");
}

TEST_CASE("the plan of guided is that of the paper when it is worked out alone") {
    CHECK(sizes({1}, {0, 99}, 4) ==
          std::vector<std::uint64_t>{25, 19, 14, 11, 8, 6, 5, 3, 3, 2, 1, 1, 1, 1});
    // The last takes along what would have been too small by itself.
    CHECK(sizes({10}, {0, 99}, 4) == std::vector<std::uint64_t>{25, 19, 14, 11, 10, 10, 11});
}

TEST_CASE("guided makes few segments of large objects") {
    for (std::uint32_t lanes = 1; lanes <= 17; ++lanes)
        for (std::uint64_t size :
             {std::uint64_t{1} << 20, std::uint64_t{5} << 30, std::uint64_t{1} << 63}) {
            auto const all = sizes({}, {0, size - 1}, lanes);
            CAPTURE(lanes, size);
            // They shrink: each leaves at most (n-1)/n of what it found, until they are `least`.
            double const shares = lanes * 1.0;
            double const shrinking =
                shares * std::log(static_cast<double>(size) / (shares * (256 << 10)));
            CHECK(static_cast<double>(all.size()) <= std::max(shrinking, 0.0) + shares + 2);
            CHECK(std::is_sorted(all.rbegin() + 1, all.rend()));
        }
}

TEST_CASE("lanes that ask guided at the same time get the same") {
    for (std::uint32_t lanes = 1; lanes <= 17; ++lanes)
        for (std::uint32_t shares = 1; shares <= 3; ++shares)
            for (std::uint64_t size = 1; size <= 3000; size += 13) {
                CAPTURE(lanes, shares, size);
                std::uint64_t const n = lanes * std::uint64_t{shares};
                guided const p{1, shares};
                std::uint64_t outstanding = 0;
                std::uint64_t count = 0;
                while (outstanding != size) {
                    segment const gap{outstanding, size - 1};
                    segment const next =
                        p.next(gap, {{0, size - 1}, gap.size(), lanes, outstanding});
                    REQUIRE(next.first == gap.first);
                    if (next.last != size - 1) REQUIRE(next.size() == (size + n - 1) / n);
                    REQUIRE(next.size() <= (size + n - 1) / n);
                    outstanding += next.size();
                    ++count;
                }
                REQUIRE(count <= n);
            }
}

TEST_CASE("lanes that take in turn from guided bring everything") {
    for (std::uint64_t size = 1; size <= 70'000; size += 997)
        for (std::uint32_t lanes = 1; lanes <= 17; ++lanes) {
            CAPTURE(size, lanes);
            std::uint64_t smallest = size;
            REQUIRE(cleave_test::broken_in_turn(guided{100}, {0, size - 1}, lanes, [&](segment s) {
                        smallest = std::min(smallest, s.size());
                    }) == "");
            REQUIRE(smallest >= std::min<std::uint64_t>(size, 100));
        }
}

TEST_CASE("guided is right at the edges of 32 and 64 bits") {
    std::uint64_t const size =
        GENERATE(std::uint64_t{1} << 31, (std::uint64_t{1} << 32) - 1, std::uint64_t{1} << 32,
                 (std::uint64_t{1} << 32) + 1, std::uint64_t{5} << 30, std::uint64_t{1} << 63,
                 (std::uint64_t{1} << 63) + 1, max_offset - 1, max_offset);
    for (std::uint32_t lanes = 1; lanes <= 17; ++lanes)
        for (std::uint64_t least :
             {std::uint64_t{1}, std::uint64_t{256} << 10, size / 5 + 1, size, max_offset}) {
            CAPTURE(size, lanes, least);
            CHECK(broken_plan({least}, {0, size - 1}, lanes) == "");
            CHECK(broken_plan({least}, {max_offset - (size - 1), max_offset}, lanes) == "");
        }
}

TEST_CASE("guided does not overflow") {
    segment const all{0, max_offset};
    for (std::uint64_t least : {std::uint64_t{1}, std::uint64_t{1} << 63, max_offset})
        for (std::uint32_t lanes : {1U, 2U, 3U, 17U, most_lanes}) {
            CAPTURE(least, lanes);
            if (lanes != most_lanes)
                CHECK(cleave_test::broken_tiling(guided{least}, all, lanes) == "");
            for (std::uint64_t outstanding : {std::uint64_t{0}, std::uint64_t{1}, max_offset}) {
                for (segment gap : {all, segment{1, max_offset}, segment{max_offset, max_offset}}) {
                    segment const next = next_of({least, most_lanes}, gap, lanes, outstanding);
                    CHECK(next.first == gap.first);
                    CHECK(gap.contains(next));
                    CHECK(next_of({least}, gap, lanes, outstanding).size() >=
                          std::min(least, gap.size()));
                }
            }
        }
    // More than 64 bits can say counts as what they can.
    CHECK(next_of({1}, all, 2, max_offset) == next_of({1}, all, 2, 0));
    CHECK(next_of({1}, all, 2).last == (std::uint64_t{1} << 63) - 1);
    CHECK(next_of({1}, all, most_lanes).size() == (std::uint64_t{1} << 32) + 1);
    CHECK(next_of({1, most_lanes}, all, most_lanes).size() == 2);
}

TEST_CASE("guided tiles objects of any size up to 70,000 bytes") {
    for (std::uint64_t size = 1; size <= 70'000; size += 997)
        for (std::uint32_t lanes = 1; lanes <= 17; ++lanes) {
            CAPTURE(size, lanes);
            REQUIRE(broken_plan({1}, {0, size - 1}, lanes) == "");
        }
}

TEST_CASE("guided tiles every object up to 70,000 bytes", "[.heavy]") {
    for (std::uint64_t size = 1; size <= 70'000; ++size)
        for (std::uint32_t lanes = 1; lanes <= 17; ++lanes) {
            auto const broken = broken_plan({64}, {0, size - 1}, lanes);
            if (broken.empty()) continue;
            CAPTURE(size, lanes);
            FAIL(broken);
        }
    SUCCEED();
}
