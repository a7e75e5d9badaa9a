// SPDX-License-Identifier: BSL-1.0
//
// To each lane its fair share of what is still to come: large segments first, small ones at the
// end. Knows only the numbers it is shown.
#pragma once

#include <cleave/plan/concept.hpp>

#include <algorithm>
#include <cstdint>

namespace cleave {

/// Guided self-scheduling (Polychronopoulos and Kuck, 1987): a segment is one part in
/// `lanes * shares` of all that is still to come, rounded up, and never smaller than `least`.
///
/// What lanes hold counts as still to come, because idle lanes get some of it in the end. So lanes
/// that ask at the same time get the same, and one that asks later gets a share of what is left
/// then. In a plan worked out alone nobody holds anything, and sizes shrink from the first on.
struct guided {
    /// Bytes; 0 counts as 1. Fewer are asked for only where the gap has no more.
    std::uint64_t least = std::uint64_t{256} << 10;
    /// Segments that a lane gets for its share, if all are equally fast; 0 counts as 1.
    std::uint32_t shares = 1;

    [[nodiscard]] constexpr segment next(segment gap, plan_state const& s) const noexcept {
        std::uint64_t const smallest = std::max<std::uint64_t>(least, 1);
        std::uint64_t const size = std::max(share(s), smallest);
        std::uint64_t const left = gap.last - gap.first;
        // What would remain is taken along when it is less than a segment should be.
        if (left < size || left - size < smallest - 1) return gap;
        return {gap.first, gap.first + (size - 1)};
    }

  private:
    [[nodiscard]] constexpr std::uint64_t share(plan_state const& s) const noexcept {
        std::uint64_t const to_come = s.owed + std::min(s.outstanding, max_offset - s.owed);
        std::uint64_t const parts =
            std::max<std::uint64_t>(s.lanes, 1) * std::max<std::uint64_t>(shares, 1);
        return to_come / parts + (to_come % parts == 0 ? 0 : 1);
    }
};

static_assert(range_planner<guided>);

} // namespace cleave
