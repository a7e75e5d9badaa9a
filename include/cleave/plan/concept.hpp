// SPDX-License-Identifier: BSL-1.0
//
// Which segment next. A planner cuts the bytes that are still owed into the segments that lanes
// ask for. It knows nothing of connections, time or files.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/segment.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>

namespace cleave {

/// What a planner may look at besides the gap.
struct plan_state {
    /// Everything that is asked for, its end known.
    segment wanted;
    /// Bytes not yet given to any lane, the gap's among them.
    std::uint64_t owed = 0;
    /// How many lanes the lane rule wants.
    std::uint32_t lanes = 1;
    /// Bytes that lanes hold and have not brought yet. With `owed` it is all that is still to come.
    std::uint64_t outstanding = 0;
};

/// Why a planner cannot plan what is asked for, with the bytes by name.
struct plan_fault {
    error why = error::bad_segment;
    /// The segment at fault and, where two are, the one before it.
    segment at{};
    std::optional<segment> previous{};
    /// What to write instead of `at`.
    std::optional<segment> instead{};
    /// What is really asked for, where that is the trouble; empty when it is nothing at all.
    std::optional<segment> wanted{};

    /// The particulars, for `failure::detail`.
    [[nodiscard]] std::string detail() const {
        std::string text;
        switch (why) {
        case error::segments_overlap:
            text = "segments " + to_string(*previous) + " and " + to_string(at) +
                   " overlap at byte " + std::to_string(std::max(previous->first, at.first));
            break;
        case error::segments_leave_gap:
            text = "between segments " + to_string(*previous) + " and " + to_string(at) +
                   " byte " + std::to_string(previous->last + 1) + " is missing";
            break;
        case error::segments_out_of_order:
            text = "segment " + to_string(at) + " stands behind " + to_string(*previous);
            break;
        case error::segment_reversed: text = "segment " + to_string(at) + " is reversed"; break;
        case error::segments_do_not_match_size:
            text = "the segments are for " + to_string(at) + " (" + std::to_string(at.size()) +
                   " bytes), but ";
            text += wanted ? "what is asked for is " + to_string(*wanted) + " (" +
                                 std::to_string(wanted->size()) + " bytes)"
                           : "the object is empty";
            break;
        default: break;
        }
        if (instead) text += "; use " + to_string(*instead);
        return text;
    }

    friend constexpr bool operator==(plan_fault const&, plan_fault const&) noexcept = default;
};

/// A range planner `p`: a pure function from what is owed to the next segment.
///
/// | expression          | meaning                                                            |
/// |---------------------|--------------------------------------------------------------------|
/// | `p.next(gap, s)`    | the segment to ask for next, as `segment`; `noexcept`, `p` const   |
/// | `p.opening()`       | optional: bytes to ask for before the size is known,               |
/// |                     | `std::uint64_t`                                                    |
/// | `p.most_segments()` | optional: an upper bound of their number, `std::uint64_t`; no more |
/// |                     | lanes than that connect before the size is known                   |
/// | `p.fault()`         | optional: what is wrong whatever the size,                         |
/// |                     | `std::optional<plan_fault>`                                        |
/// | `p.fault(w)`        | optional: why `w`, all that is wanted, cannot be planned, likewise |
///
/// Laws:
/// 1. The answer lies within `gap`: `gap.contains(p.next(gap, s))`. Any other ends the download
///    with `error::planner_broke_contract`.
/// 2. `gap` is a run of bytes in `s.wanted` that no lane holds; after failures it may begin or
///    end anywhere, not only at boundaries of the planner's own.
/// 3. Equal arguments give equal answers.
/// 4. `next` is not called when `fault` has found something.
///
/// A planner need not care for slow lanes or the end of a download: what slow lanes hold is divided
/// among idle ones whatever the planner (see engine/stealing.hpp).
/// Called on the download's strand each time a lane is free; must not block or allocate.
/// Models: `guided`, `even_split`, `fixed_size`, `listed_segments`.
template <class P>
concept range_planner = std::move_constructible<P> &&
                        requires(P const& p, segment gap, plan_state const& s) {
                            { p.next(gap, s) } noexcept -> std::same_as<segment>;
                        };

/// Bytes to ask for before the size is known; none where the planner does not say.
template <range_planner P>
[[nodiscard]] constexpr std::optional<std::uint64_t> plan_opening(P const& p) noexcept {
    if constexpr (requires { { p.opening() } -> std::convertible_to<std::uint64_t>; })
        return p.opening();
    else
        return std::nullopt;
}
/// The most segments that the planner ever makes; `max_offset` where it does not say.
template <range_planner P>
[[nodiscard]] constexpr std::uint64_t plan_most_segments(P const& p) noexcept {
    if constexpr (requires { { p.most_segments() } -> std::convertible_to<std::uint64_t>; })
        return p.most_segments();
    else
        return max_offset;
}
/// What is wrong with a planner's settings, whatever the size of the object.
template <range_planner P>
[[nodiscard]] constexpr std::optional<plan_fault> find_plan_fault(P const& p) noexcept {
    if constexpr (requires { { p.fault() } -> std::same_as<std::optional<plan_fault>>; })
        return p.fault();
    else
        return std::nullopt;
}
/// What is wrong with them for an object, or a part of one, of these bytes.
template <range_planner P>
[[nodiscard]] constexpr std::optional<plan_fault> find_plan_fault(P const& p,
                                                                  segment wanted) noexcept {
    if constexpr (requires { { p.fault(wanted) } -> std::same_as<std::optional<plan_fault>>; })
        return p.fault(wanted);
    else
        return find_plan_fault(p);
}
/// Nothing at all, as of an empty object, suits any planner that would plan whatever size.
template <range_planner P>
[[nodiscard]] constexpr std::optional<plan_fault>
find_plan_fault(P const& p, std::optional<segment> wanted) noexcept {
    if (wanted) return find_plan_fault(p, *wanted);
    auto fault = find_plan_fault(p, segment{0, max_offset});
    if (fault) fault->wanted.reset();
    return fault;
}

} // namespace cleave
