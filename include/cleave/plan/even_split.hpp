// SPDX-License-Identifier: BSL-1.0
//
// So many segments of the same size, give or take a byte.
#pragma once

#include <cleave/plan/concept.hpp>

#include <algorithm>
#include <cstdint>

namespace cleave {

/// Cuts what is wanted into `parts` segments whose sizes differ by at most one byte. Fewer when
/// there are fewer bytes than parts; 0 parts count as 1.
struct even_split {
    std::uint64_t parts = 8;

    [[nodiscard]] constexpr segment next(segment gap, plan_state const& s) const noexcept {
        return {gap.first, std::min(gap.last, end_of_part(gap.first, s.wanted))};
    }
    [[nodiscard]] constexpr std::uint64_t most_segments() const noexcept {
        return std::max<std::uint64_t>(parts, 1);
    }

  private:
    // The first `larger` parts have one byte more than the others.
    [[nodiscard]] constexpr std::uint64_t end_of_part(std::uint64_t at,
                                                      segment wanted) const noexcept {
        std::uint64_t const count = most_segments();
        std::uint64_t const size = wanted.size() / count;
        std::uint64_t const larger = wanted.size() % count;
        std::uint64_t const offset = at - wanted.first;
        std::uint64_t const in_larger = larger * (size + 1);
        // With fewer bytes than parts all lie in the larger ones, which have one byte each.
        bool const is_larger = offset < in_larger;
        std::uint64_t const length = is_larger ? size + 1 : size;
        std::uint64_t const part =
            is_larger ? offset / length : larger + (offset - in_larger) / length;
        // The last part ends where everything ends, also where `size()` had to stop at 2^64-1.
        if (part + 1 >= count) return wanted.last;
        std::uint64_t const begin =
            is_larger ? part * length : in_larger + (part - larger) * length;
        return wanted.first + begin + (length - 1);
    }
};

static_assert(range_planner<even_split>);

} // namespace cleave
