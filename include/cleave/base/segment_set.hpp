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
/// Up to `Block` segments lie in one array. Of more, each block of an array holds up to `Block`,
/// any two neighbours together more than half of that, and an index knows the blocks in their
/// order. So looking up is logarithmic in the number of segments, and inserting and erasing move
/// the segments behind within one block, and now and then a part of the index.
///
/// Not thread-safe. `std::bad_alloc` is the only exception; a set that throws it stays as it was.
template <std::size_t Block>
class basic_segment_set {
    static_assert(Block >= 4 && Block % 2 == 0);

  public:
    class const_iterator;

    basic_segment_set() = default;
    constexpr basic_segment_set(std::initializer_list<segment> list) {
        for (segment s : list) insert(s);
    }

    /// Adds bytes and answers how many of them were new (2^64-1 stands for 2^64, as in `segment`).
    constexpr std::uint64_t insert(segment s) {
        // The first that ends at or behind the byte before s: everything before it stays as it is.
        place const from = first_reaching(s.first == 0 ? 0 : s.first - 1);
        if (is_end(from) || !touch(at(from), s)) {
            put(from, s);
            return s.size();
        }
        std::uint64_t added = number(s);
        segment merged = s;
        place to = from;
        for (; !is_end(to) && touch(at(to), s); to = behind(to)) {
            segment const old = at(to);
            if (auto const both = old.common(s)) added -= number(*both);
            merged.first = std::min(merged.first, old.first);
            merged.last = std::max(merged.last, old.last);
        }
        at(from) = merged;
        note_last(from.block);
        take_out(behind(from), to);
        return added;
    }

    /// Takes bytes out and answers how many of them were in.
    constexpr std::uint64_t erase(segment s) {
        place from = first_reaching(s.first);
        if (is_end(from) || !at(from).overlaps(s)) return 0;
        // All 2^64 bytes can only be taken at once.
        if (at(from).size() == max_offset && at(from) == s) {
            clear();
            return max_offset;
        }
        std::uint64_t taken = 0;
        if (segment const old = at(from); old.first < s.first) {
            taken = number(*old.common(s));
            if (old.last > s.last) {
                place const right = put(behind(from), {s.last + 1, old.last});
                from = before(right);
            }
            at(from).last = s.first - 1;
            note_last(from.block);
            if (old.last >= s.last) return taken;
            from = behind(from);
        }
        place to = from;
        for (; !is_end(to) && at(to).last <= s.last; to = behind(to)) taken += number(at(to));
        if (!is_end(to) && at(to).overlaps(s)) {
            taken += number(*at(to).common(s));
            at(to).first = s.last + 1;
        }
        take_out(from, to);
        return taken;
    }

    constexpr void clear() noexcept {
        flat_.clear();
        index_.clear();
    }
    /// Room for `n` segments, so that later changes need not allocate.
    constexpr void reserve(std::size_t n) {
        if (n <= Block) return flat_.reserve(n);
        // As many blocks as there can be, and one more, for one is made before another is left.
        std::size_t const most = n / (Block / 4) + 3;
        index_.reserve(most);
        flat_.reserve(most * Block);
    }

    [[nodiscard]] constexpr bool empty() const noexcept { return flat_.empty(); }
    /// How many segments the set needs, not how many bytes it holds.
    [[nodiscard]] constexpr std::size_t count() const noexcept {
        return index_.empty() ? flat_.size() : in_blocks_;
    }

    /// Bytes held; stops at 2^64-1.
    [[nodiscard]] constexpr std::uint64_t bytes() const noexcept {
        std::uint64_t sum = 0;
        for (segment s : *this) sum += std::min(s.size(), max_offset - sum);
        return sum;
    }

    [[nodiscard]] constexpr bool contains(segment s) const noexcept {
        place const p = first_reaching(s.first);
        return !is_end(p) && at(p).contains(s);
    }
    [[nodiscard]] constexpr bool overlaps(segment s) const noexcept {
        place const p = first_reaching(s.first);
        return !is_end(p) && at(p).overlaps(s);
    }
    /// The segment of the set in which `offset` lies.
    [[nodiscard]] constexpr std::optional<segment> find(std::uint64_t offset) const noexcept {
        place const p = first_reaching(offset);
        if (is_end(p) || !at(p).contains(offset)) return std::nullopt;
        return at(p);
    }
    /// The first run of bytes of `within` that are not in the set.
    [[nodiscard]] constexpr std::optional<segment> first_gap(segment within) const noexcept {
        std::uint64_t begin = within.first;
        place p = first_reaching(begin);
        if (!is_end(p) && at(p).contains(begin)) {
            if (at(p).last >= within.last) return std::nullopt;
            begin = at(p).last + 1;
            p = behind(p);
        }
        std::uint64_t end = within.last;
        if (!is_end(p) && at(p).first <= end) end = at(p).first - 1;
        return segment{begin, end};
    }

    [[nodiscard]] constexpr const_iterator begin() const noexcept { return {*this, 0, 0}; }
    [[nodiscard]] constexpr const_iterator end() const noexcept {
        std::size_t const last = blocks() - 1;
        return {*this, last, count(last)};
    }
    [[nodiscard]] constexpr segment front() const noexcept { return block(0)[0]; }

    friend constexpr bool operator==(basic_segment_set const& a,
                                     basic_segment_set const& b) noexcept {
        return a.count() == b.count() && std::equal(a.begin(), a.end(), b.begin());
    }

  private:
    // A block's segments begin at `number * Block` of the array.
    struct entry {
        std::uint64_t last; // byte of its last segment
        std::uint32_t number;
        std::uint32_t count;
    };
    // The end is behind the last segment of the last block.
    struct place {
        std::size_t block;
        std::size_t at;
    };

    // Exact modulo 2^64, where `size` has to stop one short.
    [[nodiscard]] static constexpr std::uint64_t number(segment s) noexcept {
        return s.last - s.first + 1;
    }
    // Whether two are to be one.
    [[nodiscard]] static constexpr bool touch(segment a, segment b) noexcept {
        return a.overlaps(b) || a.precedes(b) || b.precedes(a);
    }

    // ---- looking ----

    [[nodiscard]] constexpr std::size_t blocks() const noexcept {
        return index_.empty() ? 1 : index_.size();
    }
    [[nodiscard]] constexpr segment const* block(std::size_t i) const noexcept {
        return flat_.data() + (index_.empty() ? 0 : index_[i].number * Block);
    }
    [[nodiscard]] constexpr segment* block(std::size_t i) noexcept {
        return flat_.data() + (index_.empty() ? 0 : index_[i].number * Block);
    }
    [[nodiscard]] constexpr std::size_t count(std::size_t i) const noexcept {
        return index_.empty() ? flat_.size() : index_[i].count;
    }
    [[nodiscard]] constexpr segment at(place p) const noexcept { return block(p.block)[p.at]; }
    [[nodiscard]] constexpr segment& at(place p) noexcept { return block(p.block)[p.at]; }

    [[nodiscard]] constexpr bool is_end(place p) const noexcept { return p.at == count(p.block); }
    [[nodiscard]] constexpr place behind(place p) const noexcept {
        if (p.at + 1 == count(p.block) && p.block + 1 != blocks()) return {p.block + 1, 0};
        return {p.block, p.at + 1};
    }
    [[nodiscard]] constexpr place before(place p) const noexcept {
        if (p.at != 0) return {p.block, p.at - 1};
        return {p.block - 1, count(p.block - 1) - 1};
    }

    // The first segment whose last byte is at or behind `offset`.
    [[nodiscard]] constexpr place first_reaching(std::uint64_t offset) const noexcept {
        std::size_t i = 0;
        if (!index_.empty()) {
            auto const found = std::partition_point(index_.begin(), index_.end(),
                                                    [offset](entry e) { return e.last < offset; });
            if (found == index_.end()) return {index_.size() - 1, index_.back().count};
            i = static_cast<std::size_t>(found - index_.begin());
        }
        segment const* const from = block(i);
        segment const* const found = std::partition_point(
            from, from + count(i), [offset](segment s) { return s.last < offset; });
        return {i, static_cast<std::size_t>(found - from)};
    }

    // ---- changing ----

    constexpr void note_last(std::size_t i) noexcept {
        if (!index_.empty()) index_[i].last = block(i)[index_[i].count - 1].last;
    }

    // Puts a segment before the one at `p`, and answers where it is now.
    constexpr place put(place p, segment s) {
        if (index_.empty()) {
            if (flat_.size() < Block) {
                flat_.insert(flat_.begin() + static_cast<std::ptrdiff_t>(p.at), s);
                return p;
            }
            index_.reserve(2);
            flat_.resize(2 * Block);
            index_.push_back({flat_[Block - 1].last, 0, static_cast<std::uint32_t>(Block)});
            in_blocks_ = Block;
            free_ = none;
            free_block(1);
        }
        if (index_[p.block].count == Block) p = split(p);
        segment* const to = block(p.block);
        std::copy_backward(to + p.at, to + index_[p.block].count, to + index_[p.block].count + 1);
        to[p.at] = s;
        ++index_[p.block].count;
        ++in_blocks_;
        note_last(p.block);
        return p;
    }

    // Makes two of a full block, and answers where `p` is now. What comes in order fills blocks.
    constexpr place split(place p) {
        std::uint32_t const fresh = new_block();
        bool const in_order = p.block + 1 == index_.size() && p.at == Block;
        std::size_t const keep = in_order ? Block : Block / 2;
        segment* const from = block(p.block);
        std::copy(from + keep, from + Block, flat_.data() + fresh * Block);
        index_[p.block].count = static_cast<std::uint32_t>(keep);
        note_last(p.block);
        index_.insert(index_.begin() + static_cast<std::ptrdiff_t>(p.block) + 1,
                      {from[Block - 1].last, fresh, static_cast<std::uint32_t>(Block - keep)});
        if (p.at > keep || in_order) return {p.block + 1, p.at - keep};
        return p;
    }

    // Takes out what lies from one place up to another, that one left.
    constexpr void take_out(place from, place to) noexcept {
        if (from.block == to.block && from.at == to.at) return;
        if (index_.empty()) {
            flat_.erase(flat_.begin() + static_cast<std::ptrdiff_t>(from.at),
                        flat_.begin() + static_cast<std::ptrdiff_t>(to.at));
            return;
        }
        if (from.block == to.block) {
            cut(from.block, from.at, to.at);
        } else {
            cut(to.block, 0, to.at);
            for (std::size_t i = from.block + 1; i != to.block; ++i) cut(i, 0, index_[i].count);
            cut(from.block, from.at, index_[from.block].count);
        }
        // Without those that are empty now, and with their neighbours where they fit.
        std::size_t first = from.block;
        std::size_t last = to.block + 1;
        for (std::size_t i = first; i != last; ++i)
            if (index_[i].count == 0) free_block(index_[i].number);
        auto const begin = index_.begin() + static_cast<std::ptrdiff_t>(first);
        auto const end = index_.begin() + static_cast<std::ptrdiff_t>(last);
        auto const kept = std::remove_if(begin, end, [](entry e) { return e.count == 0; });
        last -= static_cast<std::size_t>(end - kept);
        index_.erase(kept, end);
        if (last < index_.size()) ++last;
        if (first != 0) --first;
        for (std::size_t i = first; i + 1 < last;)
            if (index_[i].count + index_[i + 1].count <= Block / 2) {
                join(i);
                --last;
            } else {
                ++i;
            }
        if (index_.size() < 2) flatten();
    }

    // Takes segments out of a block.
    constexpr void cut(std::size_t i, std::size_t from, std::size_t to) noexcept {
        segment* const all = block(i);
        std::copy(all + to, all + index_[i].count, all + from);
        index_[i].count -= static_cast<std::uint32_t>(to - from);
        in_blocks_ -= to - from;
        if (index_[i].count != 0) note_last(i);
    }
    // A block takes in the one behind it.
    constexpr void join(std::size_t i) noexcept {
        segment const* const from = block(i + 1);
        std::copy(from, from + index_[i + 1].count, block(i) + index_[i].count);
        index_[i].count += index_[i + 1].count;
        index_[i].last = index_[i + 1].last;
        free_block(index_[i + 1].number);
        index_.erase(index_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
    // One block or none needs no index.
    constexpr void flatten() noexcept {
        std::size_t const n = in_blocks_;
        if (n != 0) {
            segment const* const from = block(0);
            if (from != flat_.data()) std::copy(from, from + n, flat_.data());
        }
        index_.clear();
        flat_.resize(n); // fewer than there were: takes no memory
    }

    // Free ones are chained, each with the next one's number in its first segment.
    [[nodiscard]] constexpr std::uint32_t new_block() {
        if (index_.size() == index_.capacity()) index_.reserve(2 * index_.size());
        if (free_ == none) {
            flat_.resize(flat_.size() + Block);
            return static_cast<std::uint32_t>(flat_.size() / Block - 1);
        }
        auto const fresh = static_cast<std::uint32_t>(free_);
        free_ = flat_[fresh * Block].first;
        return fresh;
    }
    constexpr void free_block(std::uint32_t which) noexcept {
        flat_[which * Block].first = free_;
        free_ = which;
    }

    static constexpr std::uint64_t none = max_offset;

    std::vector<segment> flat_; // the segments, or room for blocks of them
    std::vector<entry> index_;  // the blocks in their order; none while all are in one array
    // Of no meaning while there is no index.
    std::size_t in_blocks_ = 0;
    std::uint64_t free_ = none;
};

/// Segments in order; void when the set is changed.
template <std::size_t Block>
class basic_segment_set<Block>::const_iterator {
  public:
    using value_type = segment;
    using difference_type = std::ptrdiff_t;
    using pointer = segment const*;
    using reference = segment const&;
    using iterator_category = std::bidirectional_iterator_tag;

    const_iterator() = default;
    constexpr const_iterator(basic_segment_set const& of, std::size_t block,
                             std::size_t at) noexcept
        : of_(&of), block_(block) {
        enter();
        at_ += at;
    }

    [[nodiscard]] constexpr reference operator*() const noexcept { return *at_; }
    [[nodiscard]] constexpr pointer operator->() const noexcept { return at_; }
    constexpr const_iterator& operator++() noexcept {
        if (++at_ == end_ && block_ + 1 != of_->blocks()) {
            ++block_;
            enter();
        }
        return *this;
    }
    constexpr const_iterator& operator--() noexcept {
        if (at_ == begin_) {
            --block_;
            enter();
            at_ = end_;
        }
        --at_;
        return *this;
    }
    constexpr const_iterator operator++(int) noexcept {
        const_iterator const old = *this;
        ++*this;
        return old;
    }
    constexpr const_iterator operator--(int) noexcept {
        const_iterator const old = *this;
        --*this;
        return old;
    }
    // One block may end where another begins.
    friend constexpr bool operator==(const_iterator const& a, const_iterator const& b) noexcept {
        return a.at_ == b.at_ && a.block_ == b.block_;
    }

  private:
    constexpr void enter() noexcept {
        at_ = begin_ = of_->block(block_);
        end_ = begin_ + of_->count(block_);
    }

    basic_segment_set const* of_ = nullptr;
    std::size_t block_ = 0;
    segment const* begin_ = nullptr;
    segment const* at_ = nullptr;
    segment const* end_ = nullptr;
};

/// Of a few dozen segments, as a download has them, it is a sorted array.
using segment_set = basic_segment_set<256>;

} // namespace cleave
