// SPDX-License-Identifier: BSL-1.0
//
// A run of bytes of an object, as HTTP and the field write it: first and last, both included.
// Knows nothing of networks, files or planning.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace cleave {

/// The greatest offset a byte can have: 2^64-1.
inline constexpr std::uint64_t max_offset = std::numeric_limits<std::uint64_t>::max();

/// The bytes `first` to `last` of an object, both included (RFC 9110, section 14.1.2).
///
/// `[0,1024]` and `[1025,2048]` are neighbours; `[0,1024]` and `[1024,2048]` overlap at byte 1024.
/// A segment is never empty: where there may be none, an empty `std::optional<segment>` says so.
/// Precondition of every function here: `first <= last`; `valid()` tells for input not yet checked.
struct segment {
    std::uint64_t first = 0;
    std::uint64_t last = 0;

    /// `size` bytes from `first` on; none when `size` is 0 or the end lies beyond `max_offset`.
    [[nodiscard]] static constexpr std::optional<segment> of(std::uint64_t first,
                                                             std::uint64_t size) noexcept {
        if (size == 0 || size - 1 > max_offset - first) return std::nullopt;
        return segment{first, first + (size - 1)};
    }

    /// Whether `first <= last`.
    [[nodiscard]] constexpr bool valid() const noexcept { return first <= last; }

    /// Bytes. `[0, 2^64-1]` has one more than 64 bits can say and answers 2^64-1.
    [[nodiscard]] constexpr std::uint64_t size() const noexcept {
        std::uint64_t const less_one = last - first;
        return less_one == max_offset ? max_offset : less_one + 1;
    }

    [[nodiscard]] constexpr bool contains(std::uint64_t offset) const noexcept {
        return first <= offset && offset <= last;
    }
    [[nodiscard]] constexpr bool contains(segment other) const noexcept {
        return first <= other.first && other.last <= last;
    }
    [[nodiscard]] constexpr bool overlaps(segment other) const noexcept {
        return first <= other.last && other.first <= last;
    }
    /// Whether `other` begins with the byte behind this one's last.
    [[nodiscard]] constexpr bool precedes(segment other) const noexcept {
        return last != max_offset && last + 1 == other.first;
    }
    /// The bytes that are in both.
    [[nodiscard]] constexpr std::optional<segment> common(segment other) const noexcept {
        if (!overlaps(other)) return std::nullopt;
        return segment{std::max(first, other.first), std::min(last, other.last)};
    }
    /// The part before `offset`; none when nothing lies before it.
    [[nodiscard]] constexpr std::optional<segment> before(std::uint64_t offset) const noexcept {
        if (offset <= first) return std::nullopt;
        return segment{first, std::min(last, offset - 1)};
    }
    /// The part from `offset` on; none when `last` lies before it.
    [[nodiscard]] constexpr std::optional<segment> from(std::uint64_t offset) const noexcept {
        if (offset > last) return std::nullopt;
        return segment{std::max(first, offset), last};
    }

    friend constexpr auto operator<=>(segment const&, segment const&) noexcept = default;
};

/// `[first,last]`, as messages write it.
[[nodiscard]] inline std::string to_string(segment s) {
    // Not "[" + ...: that sets off a false alarm of GCC 12 (-Wstringop-overflow) at -O2.
    std::string text = "[";
    text += std::to_string(s.first);
    text += ',';
    text += std::to_string(s.last);
    text += ']';
    return text;
}

} // namespace cleave
