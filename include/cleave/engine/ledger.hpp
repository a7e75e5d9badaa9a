// SPDX-License-Identifier: BSL-1.0
//
// The books: which bytes are owed, which a lane holds, which are in place. Every byte that is
// wanted is in exactly one of the three. Knows nothing of lanes, time or planners.
#pragma once

#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace cleave {

class ledger {
  public:
    /// Takes memory for `segments` runs of bytes, so that later changes need none.
    void reserve(std::size_t segments) {
        owed_.reserve(segments);
        committed_.reserve(segments);
    }

    /// Begins anew: all of `wanted` is owed.
    void reset(segment wanted) {
        wanted_ = wanted;
        owed_.clear();
        committed_.clear();
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

    /// Whether every byte that is wanted is in place: the committed bytes tile the request.
    [[nodiscard]] bool complete() const noexcept { return committed_.contains(wanted_); }
    /// How many bytes from the beginning are in place without a gap.
    [[nodiscard]] std::uint64_t frontier() const noexcept {
        auto const run = committed_.find(wanted_.first);
        return run ? run->size() : 0;
    }

  private:
    segment wanted_;
    segment_set owed_;
    segment_set committed_;
};

} // namespace cleave
