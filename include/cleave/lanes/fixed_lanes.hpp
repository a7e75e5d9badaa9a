// SPDX-License-Identifier: BSL-1.0
//
// Always the same number of lanes.
#pragma once

#include <cleave/lanes/concept.hpp>

#include <cstdint>

namespace cleave {

/// Up to `lanes` connections, fewer when there is not enough left to do.
struct fixed_lanes {
    std::uint32_t lanes = 8;

    [[nodiscard]] constexpr std::uint32_t most() const noexcept { return lanes; }
    [[nodiscard]] constexpr std::uint32_t want(lanes_state const&) const noexcept { return lanes; }
};

static_assert(lane_rule<fixed_lanes>);

} // namespace cleave
