// SPDX-License-Identifier: BSL-1.0
//
// A set of bytes, held as the fewest segments: sorted, apart, never touching. The ledger counts
// with it what is owed and what has arrived.
#pragma once

#include <cleave/base/segment.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <vector>

namespace cleave {

/// Bytes of an object as sorted segments with at least one byte between any two of them.
///
/// Not thread-safe. Looking up is logarithmic in the number of segments; inserting and erasing
/// move the segments behind. `std::bad_alloc` is the only exception.
class segment_set {
  public:
    using const_iterator = std::vector<segment>::const_iterator;

    segment_set() = default;
    constexpr segment_set(std::initializer_list<segment> list) {
        for (segment s : list) insert(s);
    }

    /// Adds bytes and answers how many of them were new (2^64-1 stands for 2^64, as in `segment`).
    constexpr std::uint64_t insert(segment s) {
        // The first that ends at or behind the byte before s: everything before it stays as it is.
        auto from = first_reaching(s.first == 0 ? 0 : s.first - 1);
        auto to = from;
        segment merged = s;
        std::uint64_t added = number(s);
        for (; to != segments_.end() && (to->overlaps(s) || s.precedes(*to) || to->precedes(s));
             ++to) {
            if (auto both = to->common(s)) added -= number(*both);
            merged.first = std::min(merged.first, to->first);
            merged.last = std::max(merged.last, to->last);
        }
        if (from == to) {
            segments_.insert(from, merged);
            return s.size();
        }
        *from = merged;
        segments_.erase(std::next(from), to);
        return added;
    }

    /// Takes bytes out and answers how many of them were in.
    constexpr std::uint64_t erase(segment s) {
        auto at = first_reaching(s.first);
        // All 2^64 bytes can only be taken at once.
        if (at != segments_.end() && at->size() == max_offset && *at == s) {
            segments_.erase(at);
            return max_offset;
        }
        std::uint64_t taken = 0;
        while (at != segments_.end() && at->overlaps(s)) {
            segment const old = *at;
            taken += number(*old.common(s));
            auto const left = old.before(s.first);
            auto const right = s.last == max_offset ? std::nullopt : old.from(s.last + 1);
            if (left && right) {
                *at = *left;
                segments_.insert(std::next(at), *right);
                return taken;
            }
            if (left) {
                *at++ = *left;
            } else if (right) {
                *at = *right;
                return taken;
            } else {
                at = segments_.erase(at);
            }
        }
        return taken;
    }

    constexpr void clear() noexcept { segments_.clear(); }
    /// Room for `n` segments, so that later changes need not allocate.
    constexpr void reserve(std::size_t n) { segments_.reserve(n); }

    [[nodiscard]] constexpr bool empty() const noexcept { return segments_.empty(); }
    /// How many segments the set needs, not how many bytes it holds.
    [[nodiscard]] constexpr std::size_t count() const noexcept { return segments_.size(); }

    /// Bytes held; stops at 2^64-1.
    [[nodiscard]] constexpr std::uint64_t bytes() const noexcept {
        std::uint64_t sum = 0;
        for (segment s : segments_) sum += std::min(s.size(), max_offset - sum);
        return sum;
    }

    [[nodiscard]] constexpr bool contains(segment s) const noexcept {
        auto at = first_reaching(s.first);
        return at != segments_.end() && at->contains(s);
    }
    [[nodiscard]] constexpr bool overlaps(segment s) const noexcept {
        auto at = first_reaching(s.first);
        return at != segments_.end() && at->overlaps(s);
    }
    /// The segment of the set in which `offset` lies.
    [[nodiscard]] constexpr std::optional<segment> find(std::uint64_t offset) const noexcept {
        auto at = first_reaching(offset);
        if (at == segments_.end() || !at->contains(offset)) return std::nullopt;
        return *at;
    }
    /// The first run of bytes of `within` that are not in the set.
    [[nodiscard]] constexpr std::optional<segment> first_gap(segment within) const noexcept {
        std::uint64_t begin = within.first;
        auto at = first_reaching(begin);
        if (at != segments_.end() && at->contains(begin)) {
            if (at->last >= within.last) return std::nullopt;
            begin = at->last + 1;
            ++at;
        }
        std::uint64_t end = within.last;
        if (at != segments_.end() && at->first <= end) end = at->first - 1;
        return segment{begin, end};
    }

    [[nodiscard]] constexpr const_iterator begin() const noexcept { return segments_.begin(); }
    [[nodiscard]] constexpr const_iterator end() const noexcept { return segments_.end(); }
    [[nodiscard]] constexpr segment front() const noexcept { return segments_.front(); }

    friend constexpr bool operator==(segment_set const&, segment_set const&) = default;

  private:
    // Exact modulo 2^64, where `size` has to stop one short.
    [[nodiscard]] static constexpr std::uint64_t number(segment s) noexcept {
        return s.last - s.first + 1;
    }

    // The first segment whose last byte is at or behind `offset`.
    [[nodiscard]] constexpr const_iterator first_reaching(std::uint64_t offset) const noexcept {
        return std::partition_point(segments_.begin(), segments_.end(),
                                    [offset](segment s) { return s.last < offset; });
    }
    [[nodiscard]] constexpr std::vector<segment>::iterator
    first_reaching(std::uint64_t offset) noexcept {
        return std::partition_point(segments_.begin(), segments_.end(),
                                    [offset](segment s) { return s.last < offset; });
    }

    std::vector<segment> segments_;
};

} // namespace cleave
