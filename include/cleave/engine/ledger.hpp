// SPDX-License-Identifier: BSL-1.0
//
// The books: which bytes are owed, which a lane holds, which are in place, and of these which are
// proven. Every byte that is wanted is in exactly one of the first three. Knows nothing of lanes,
// time or planners.
#pragma once

#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace cleave {

/// What of the object is owed, leased, in place and verified.
class ledger {
  public:
    /// Takes memory for `segments` runs of bytes, so that later changes need none.
    void reserve(std::size_t segments) {
        owed_.reserve(segments);
        committed_.reserve(segments);
        proven_.reserve(segments);
    }

    /// Begins anew: all of `wanted` is owed.
    void reset(segment wanted) {
        wanted_ = wanted;
        owed_.clear();
        committed_.clear();
        proven_.clear();
        owed_.insert(wanted);
    }
    /// The object turned out to end earlier than thought; what lies behind is not wanted.
    void end_at(std::uint64_t last) {
        if (auto beyond = last == max_offset ? std::nullopt : wanted_.from(last + 1))
            owed_.erase(*beyond);
        wanted_.last = last;
    }

    [[nodiscard]] segment wanted() const noexcept { return wanted_; }
    [[nodiscard]] segment_set const& owed() const noexcept { return owed_; }
    [[nodiscard]] segment_set const& committed() const noexcept { return committed_; }

    /// A lane takes these bytes, all of them owed.
    void take(segment bytes) { owed_.erase(bytes); }
    /// A lane gives back bytes that it held and did not bring.
    void give_back(segment bytes) { owed_.insert(bytes); }
    /// Bytes that a lane held are in place.
    void commit(segment bytes) { committed_.insert(bytes); }
    /// Bytes in place have the digest of their piece.
    void prove(segment piece) { proven_.insert(piece); }
    /// Bytes in place turned out to be wrong: they are owed again.
    void reject(segment piece) {
        committed_.erase(piece);
        owed_.insert(piece);
    }

    /// Whether every byte that is wanted is in place: the committed bytes tile the request.
    [[nodiscard]] bool complete() const noexcept { return committed_.contains(wanted_); }
    /// Whether every byte that is wanted is proven.
    [[nodiscard]] bool all_proven() const noexcept { return proven_.contains(wanted_); }
    /// How many bytes from the beginning are in place without a gap.
    [[nodiscard]] std::uint64_t frontier() const noexcept { return from_beginning(committed_); }
    /// How many bytes from the beginning are proven without a gap.
    [[nodiscard]] std::uint64_t proven_frontier() const noexcept { return from_beginning(proven_); }
    /// Some piece that is in place and not yet proven; pieces have `size` bytes, the first begins
    /// with the first byte that is wanted, and the last is as long as there are bytes.
    [[nodiscard]] std::optional<segment> unproven_piece(std::uint64_t size) const noexcept {
        for (segment const run : committed_) {
            // The first piece that begins within this run.
            std::uint64_t const into = (run.first - wanted_.first) % size;
            if (into != 0 && size - into > run.last - run.first) continue;
            auto rest = run.from(into == 0 ? run.first : run.first + (size - into));
            if (rest) rest = proven_.first_gap(*rest);
            if (!rest) continue;
            segment const piece{rest->first, std::min(after(rest->first, size - 1), wanted_.last)};
            if (run.contains(piece)) return piece;
        }
        return std::nullopt;
    }

  private:
    [[nodiscard]] std::uint64_t from_beginning(segment_set const& set) const noexcept {
        auto const run = set.find(wanted_.first);
        return run ? run->size() : 0;
    }
    [[nodiscard]] static constexpr std::uint64_t after(std::uint64_t at, std::uint64_t n) noexcept {
        return n > max_offset - at ? max_offset : at + n;
    }

    segment wanted_;
    segment_set owed_;
    segment_set committed_;
    segment_set proven_; ///< a part of what is committed
};

} // namespace cleave
