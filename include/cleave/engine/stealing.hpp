// SPDX-License-Identifier: BSL-1.0
//
// Dividing what slow lanes hold: from whom an idle lane takes, and how much, when nothing is left
// to assign. Holds for every planner. Pure arithmetic on bytes, rates and times; it knows nothing
// of lanes' states, of replies or of the books.
#pragma once

#include <cleave/base/lease.hpp>
#include <cleave/base/segment.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

namespace cleave {

/// How eagerly idle lanes help slow ones.
struct stealing_limits {
    /// No less than so many bytes are taken from a lane that brings any.
    std::uint64_t least = std::uint64_t{64} << 10;
    /// What a lane would keep is taken along when it is less than this.
    std::uint64_t leave = std::uint64_t{16} << 10;
    /// A lane that will be done this soon is left alone.
    std::chrono::nanoseconds soon = std::chrono::milliseconds{30};
    /// A lane that has brought nothing for this long, and four times as long as a reply takes, is
    /// thought to bring nothing any more.
    std::chrono::nanoseconds silent = std::chrono::milliseconds{500};
    /// Bytes that may be asked for twice by hedges, of a hundred that are wanted.
    std::uint32_t hedged_percent = 5;
};

/// What one lane still has to bring.
struct holding {
    lane_id lane = 0;
    segment left;
    /// Bytes a second; 0: it brings nothing.
    double rate = 0;
    /// Until its next byte can come, where it has to wait for a reply first.
    double delay = 0;

    /// Seconds until it is done, as things look now.
    [[nodiscard]] double time_left() const noexcept {
        if (rate <= 0) return std::numeric_limits<double>::infinity();
        return delay + static_cast<double>(left.size()) / rate;
    }
};

/// The lane that is about to take something.
struct thief {
    /// Bytes a second that it may be expected to bring.
    double rate = 0;
    /// Seconds until its first byte.
    double delay = 0;
    /// How many lanes are idle, or will be when it begins, itself among them.
    std::uint32_t idle = 1;
};

/// What to do for an idle lane.
struct theft {
    lane_id from = 0;
    /// The end of what `from` holds, or all of it.
    segment bytes;
    /// `from` keeps it: the thief asks for the same bytes, and who brings them first has them.
    bool hedge = false;

    friend constexpr bool operator==(theft const&, theft const&) noexcept = default;
};

/// How much of `from` the thief takes, so that both will be done at the same time; none when that
/// is not worth a request. Of a lane that brings nothing, all idle lanes take equal shares.
[[nodiscard]] inline std::optional<segment> divide(holding const& from, thief const& by,
                                                   stealing_limits const& limits) noexcept {
    std::uint64_t const size = from.left.size();
    std::uint64_t const least = std::max<std::uint64_t>(limits.least, 1);
    auto const idle = std::max(by.idle, 1U);
    std::uint64_t taken = std::min(size, std::max(size / idle, least));
    if (from.rate > 0) {
        // What the two of them, and who else is idle, bring until all are done at the same time.
        double const late = std::max(by.delay - from.delay, 0.0) * from.rate;
        double const together = from.rate + by.rate * static_cast<double>(idle);
        double const share = (static_cast<double>(size) - late) * by.rate / together;
        if (share < static_cast<double>(least)) return std::nullopt;
        taken = share < static_cast<double>(size) ? static_cast<std::uint64_t>(share) : size;
    }
    if (size - taken < limits.leave) return from.left;
    return segment{from.left.last - (taken - 1), from.left.last};
}

/// The best help for the lane that will be done last. `hedgeable`: bytes that may still be asked
/// for twice.
[[nodiscard]] inline std::optional<theft> find_theft(std::span<holding const> all, thief const& by,
                                                     std::uint64_t hedgeable,
                                                     stealing_limits const& limits) noexcept {
    auto const last = std::ranges::max_element(
        all, [](holding const& a, holding const& b) { return a.time_left() < b.time_left(); });
    if (last == all.end()) return std::nullopt;
    double const soon = std::chrono::duration<double>{limits.soon}.count();
    // It must be well worth the wait for a reply.
    if (last->time_left() <= 2 * by.delay + soon) return std::nullopt;
    if (auto const bytes = divide(*last, by, limits)) return theft{last->lane, *bytes, false};
    if (by.rate <= 0) return std::nullopt;
    double const alone = by.delay + static_cast<double>(last->left.size()) / by.rate;
    if (last->left.size() > hedgeable || last->time_left() <= 2 * alone + soon) return std::nullopt;
    return theft{last->lane, last->left, true};
}

} // namespace cleave
