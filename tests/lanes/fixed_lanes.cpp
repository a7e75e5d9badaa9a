// SPDX-License-Identifier: BSL-1.0
//
// fixed_lanes wants the same number whatever happens, and says beforehand how many that are.

#include <cleave/lanes/fixed_lanes.hpp>

#include <support/catch.hpp>

#include <cstdint>

using cleave::fixed_lanes;
using cleave::lanes_state;

static_assert(fixed_lanes{}.most() == 8);
static_assert(fixed_lanes{3}.most() == 3 && fixed_lanes{3}.want({}) == 3);

TEST_CASE("fixed_lanes wants the same number, whatever runs and was given up") {
    for (std::uint32_t lanes = 0; lanes <= 20; ++lanes) {
        fixed_lanes const rule{lanes};
        for (std::uint32_t running = 0; running <= 20; ++running)
            for (std::uint32_t given_up = 0; given_up <= 20; ++given_up) {
                REQUIRE(rule.want(lanes_state{running, given_up}) == lanes);
                // Law 1: the most is the same at every call, and never exceeded.
                REQUIRE(rule.most() == lanes);
            }
    }
}
