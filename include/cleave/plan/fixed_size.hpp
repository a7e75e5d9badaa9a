// SPDX-License-Identifier: BSL-1.0
//
// Segments of one size, the last as long as there are bytes.
#pragma once

#include <cleave/plan/concept.hpp>

#include <algorithm>
#include <cstdint>

namespace cleave {

/// Cuts what is wanted into segments of `bytes` each, counted from its first byte; 0 counts as 1.
struct fixed_size {
    std::uint64_t bytes = std::uint64_t{4} << 20;

    [[nodiscard]] constexpr segment next(segment gap, plan_state const& s) const noexcept {
        std::uint64_t const size = opening();
        std::uint64_t const into = (gap.first - s.wanted.first) % size;
        std::uint64_t const left = gap.last - gap.first;
        return {gap.first, gap.first + std::min(left, size - into - 1)};
    }
    [[nodiscard]] constexpr std::uint64_t opening() const noexcept {
        return std::max<std::uint64_t>(bytes, 1);
    }
};

static_assert(range_planner<fixed_size>);

} // namespace cleave
