// SPDX-License-Identifier: BSL-1.0
//
// How many lanes. A lane is one connection's life; the rule says how many there may be now.
#pragma once

#include <concepts>
#include <cstdint>

namespace cleave {

/// What a lane rule may look at.
struct lanes_state {
    /// Lanes that are connecting, connected or about to try again.
    std::uint32_t running = 0;
    /// Lanes that have been given up since the start.
    std::uint32_t given_up = 0;
};

/// A lane rule `l`.
///
/// | expression  | meaning                                                             |
/// |-------------|---------------------------------------------------------------------|
/// | `l.most()`  | the most lanes it will ever want, `std::uint32_t`; `noexcept`, const |
/// | `l.want(s)` | how many it wants now, `std::uint32_t`; `noexcept`                   |
///
/// Laws:
/// 1. `most()` is the same at every call; memory for that many lanes is taken at the start.
/// 2. An answer above `most()` counts as `most()`, one of 0 as 1.
///
/// Called on the download's strand whenever a lane comes or goes; must not block or allocate.
/// Models: `fixed_lanes`.
template <class L>
concept lane_rule = std::move_constructible<L> && requires(L& l, L const& c, lanes_state const& s) {
    { c.most() } noexcept -> std::same_as<std::uint32_t>;
    { l.want(s) } noexcept -> std::same_as<std::uint32_t>;
};

} // namespace cleave
