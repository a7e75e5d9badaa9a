// SPDX-License-Identifier: BSL-1.0
//
// How many lanes. A lane is one connection's life; the rule says how many there may be now.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>

namespace cleave {

/// What a lane rule may look at. Counts are since the start of the download.
struct lanes_state {
    /// Lanes that are connecting, connected or about to try again.
    std::uint32_t running = 0;
    /// Lanes that have been given up.
    std::uint32_t given_up = 0;
    /// Lanes on which body bytes are arriving, or could be if they were let.
    std::uint32_t receiving = 0;
    /// Times a server would not have a lane: 429, 503, a refused or reset connection, or one that
    /// was closed before a byte of a reply.
    std::uint32_t refusals = 0;
    /// Body bytes that have arrived, over all lanes.
    std::uint64_t bytes = 0;
    /// Of a steady clock; never goes back.
    std::chrono::nanoseconds now{0};
    /// Whether something other than the server holds the lanes back: a pause, a rate limit, a
    /// sink without room. Rates say nothing of the server then.
    bool held_back = false;
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
/// 3. Lanes beyond the answer finish the lease they have; those that wait to try again do not.
///
/// Called on the download's strand whenever a lane comes or goes, and several times a second while
/// bytes arrive; must not block or allocate. Models: `fixed_lanes`, `adaptive_lanes`.
template <class L>
concept lane_rule = std::move_constructible<L> && requires(L& l, L const& c, lanes_state const& s) {
    { c.most() } noexcept -> std::same_as<std::uint32_t>;
    { l.want(s) } noexcept -> std::same_as<std::uint32_t>;
};

} // namespace cleave
