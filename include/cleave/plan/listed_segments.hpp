// SPDX-License-Identifier: BSL-1.0
//
// The caller's own segments, checked: from beginning to end, without gap or overlap.
#pragma once

#include <cleave/plan/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace cleave {

/// The first thing wrong with a list of segments that is to cover one run of bytes from its first
/// segment to its last, or nothing. Usable in `static_assert`.
[[nodiscard]] constexpr std::optional<plan_fault>
find_list_fault(std::span<segment const> list) noexcept {
    if (list.empty()) return plan_fault{.why = error::segments_empty};
    for (std::size_t i = 0; i != list.size(); ++i) {
        segment const at = list[i];
        if (!at.valid())
            return plan_fault{
                .why = error::segment_reversed, .at = at, .instead = segment{at.last, at.first}};
        if (i == 0) continue;
        segment const previous = list[i - 1];
        if (previous.precedes(at)) continue;
        plan_fault fault{.at = at, .previous = previous};
        if (at.last < previous.first) {
            fault.why = error::segments_out_of_order;
        } else if (at.first > previous.last) {
            fault.why = error::segments_leave_gap;
            fault.instead = segment{previous.last + 1, at.last};
        } else {
            fault.why = error::segments_overlap;
            if (at.last > previous.last) fault.instead = segment{previous.last + 1, at.last};
        }
        return fault;
    }
    return std::nullopt;
}

/// As above, and the list must cover `wanted` exactly.
[[nodiscard]] constexpr std::optional<plan_fault> find_list_fault(std::span<segment const> list,
                                                                  segment wanted) noexcept {
    if (auto fault = find_list_fault(list)) return fault;
    segment const covered{list.front().first, list.back().last};
    if (covered == wanted) return std::nullopt;
    return plan_fault{.why = error::segments_do_not_match_size, .at = covered, .wanted = wanted};
}

/// Asks for exactly the segments listed. A list with a fault is refused before any connection is
/// opened; one that does not match the size is refused after the first head, before any write.
class listed_segments {
  public:
    explicit constexpr listed_segments(std::vector<segment> list) : list_(std::move(list)) {}
    constexpr listed_segments(std::initializer_list<segment> list) : list_(list) {}

    [[nodiscard]] constexpr segment next(segment gap, plan_state const&) const noexcept {
        auto const at = std::partition_point(list_.begin(), list_.end(),
                                             [gap](segment s) { return s.last < gap.first; });
        return at == list_.end() ? gap : segment{gap.first, std::min(gap.last, at->last)};
    }
    [[nodiscard]] constexpr std::uint64_t opening() const noexcept { return list_.front().size(); }
    [[nodiscard]] constexpr std::uint64_t most_segments() const noexcept { return list_.size(); }
    [[nodiscard]] constexpr std::optional<plan_fault> fault() const noexcept {
        return find_list_fault(list_);
    }
    [[nodiscard]] constexpr std::optional<plan_fault> fault(segment wanted) const noexcept {
        return find_list_fault(list_, wanted);
    }
    [[nodiscard]] constexpr std::span<segment const> list() const noexcept { return list_; }

  private:
    std::vector<segment> list_;
};

static_assert(range_planner<listed_segments>);

} // namespace cleave
