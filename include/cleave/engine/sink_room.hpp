// SPDX-License-Identifier: BSL-1.0
//
// How much room an ordered sink has: up to which byte, for how many lanes, and what of it is handed
// on next. Arithmetic on offsets; knows no lanes, no books and no sink.
#pragma once

#include <cleave/base/segment.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace cleave {

/// The window of an ordered sink, which moves on as bytes are handed on in chunks; and how it is
/// divided among lanes.
///
/// What a lane is given lies within the window from its first byte to its last, so that no lane
/// ever waits for another one's bytes: the lowest byte that is owed always finds a lane.
class sink_room {
  public:
    /// Without a window: of any other sink, which has room for everything.
    constexpr sink_room() noexcept = default;
    /// At least one chunk of at least one byte.
    constexpr sink_room(std::uint64_t window, std::uint64_t chunk) noexcept
        : window_(window), chunk_(chunk) {}

    /// Divides the window among as many of `lanes` as there is room for, each with `least` bytes at
    /// least; answers with how many these are. With one of them nothing is divided.
    [[nodiscard]] constexpr std::uint32_t divide(std::uint32_t lanes,
                                                 std::uint64_t least) noexcept {
        if (window_ == 0) return lanes;
        std::uint64_t const room = window_ - std::min(window_, chunk_);
        auto const useful =
            static_cast<std::uint32_t>(std::clamp<std::uint64_t>(room / least, 1, lanes));
        if (useful > 1) stripe_ = room / useful;
        return useful;
    }
    /// Whether lanes are given parts of it.
    [[nodiscard]] constexpr bool divided() const noexcept { return stripe_ != 0; }

    /// The last byte that there is room for, when `next` is the first that was not handed on yet.
    [[nodiscard]] constexpr std::uint64_t until(std::uint64_t next) const noexcept {
        if (window_ == 0 || window_ - 1 > max_offset - next) return max_offset;
        return next + (window_ - 1);
    }

    /// The part of a gap that may be asked for now; `first` is the first byte that is wanted at
    /// all. None where there is no room before more is handed on.
    [[nodiscard]] constexpr std::optional<segment> part_of(segment gap, std::uint64_t first,
                                                           std::uint64_t next) const noexcept {
        if (window_ == 0) return gap;
        if (!divided()) return gap.first <= until(next) ? std::optional{gap} : std::nullopt;
        std::uint64_t const into = (gap.first - first) % stripe_;
        gap.last = gap.first + std::min(gap.last - gap.first, stripe_ - into - 1);
        return gap.last <= until(next) ? std::optional{gap} : std::nullopt;
    }

    /// How many of `there` bytes to hand on now: whole chunks, a part of the window at a time, so
    /// that lanes can go on meanwhile; with `rest` also a chunk that is not whole.
    [[nodiscard]] constexpr std::uint64_t to_hand_on(std::uint64_t there,
                                                     bool rest) const noexcept {
        if (!rest) there = there / chunk_ * chunk_;
        return std::min(there, std::max(chunk_, window_ / 4 / chunk_ * chunk_));
    }

  private:
    std::uint64_t window_ = 0;
    std::uint64_t chunk_ = 1;
    std::uint64_t stripe_ = 0; ///< 0: what lanes are given is as long as the planner makes it
};

} // namespace cleave
