// SPDX-License-Identifier: BSL-1.0
//
// fixed_lanes wants the same number whatever happens, and says beforehand how many that are.

#include <cleave/lanes/fixed_lanes.hpp>

#include <laws/lane_rule_laws.hpp>
#include <support/catch.hpp>

#include <cstdint>

using cleave::fixed_lanes;

static_assert(fixed_lanes{}.most() == 8);
static_assert(fixed_lanes{3}.most() == 3 && fixed_lanes{3}.want({}) == 3);

TEST_CASE("fixed_lanes wants the same number, whatever happens") {
    for (std::uint32_t lanes = 0; lanes <= 20; ++lanes) {
        fixed_lanes const rule{lanes};
        cleave_test::random_lanes states{lanes};
        for (int i = 0; i < 500; ++i) REQUIRE(rule.want(states.next()) == lanes);
    }
}

TEST_CASE("fixed_lanes keeps the laws of lane rules") {
    for (std::uint32_t lanes = 1; lanes <= 20; ++lanes) {
        CAPTURE(lanes);
        CHECK(cleave_test::broken_most(fixed_lanes{lanes}, lanes, 500) == "");
        CHECK(cleave_test::broken_bounds(fixed_lanes{lanes}, lanes, 500) == "");
        CHECK(cleave_test::broken_repetition(fixed_lanes{lanes}, lanes, 500) == "");
    }
}
