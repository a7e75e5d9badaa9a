// SPDX-License-Identifier: BSL-1.0
//
// Which runs of bytes are in place, with a CRC-32C of each: what a journal claims, and whether that
// is so. Apart from the ledger, which must split runs where no checksum can be split.
#pragma once

#include <cleave/base/crc32c.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/journal/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <vector>

namespace cleave {

/// Runs of bytes that are in place, each with the CRC-32C of what it was when it was written: what
/// a journal claims.
class checked_runs {
  public:
    /// Adds bytes; what the set had of them before is forgotten, together with the whole runs that
    /// it was part of.
    void insert(checked_segment run) {
        erase(run.bytes);
        auto at = first_behind(run.bytes.first);
        if (at != runs_.end() && run.bytes.precedes(at->bytes)) {
            at->crc = crc32c_join(run.crc, at->crc, at->bytes.size());
            at->bytes.first = run.bytes.first;
        } else {
            at = runs_.insert(at, run);
        }
        if (at == runs_.begin()) return;
        auto const before = std::prev(at);
        if (!before->bytes.precedes(at->bytes)) return;
        before->crc = crc32c_join(before->crc, at->crc, at->bytes.size());
        before->bytes.last = at->bytes.last;
        runs_.erase(at);
    }
    /// Forgets every run that has some of these bytes: what is left of it has no checksum.
    void erase(segment bytes) {
        std::erase_if(runs_, [&](checked_segment const& run) { return run.bytes.overlaps(bytes); });
    }
    void clear() noexcept { runs_.clear(); }
    void reserve(std::size_t n) { runs_.reserve(n); }

    [[nodiscard]] bool empty() const noexcept { return runs_.empty(); }
    /// Sorted, and with at least one byte between any two.
    [[nodiscard]] std::vector<checked_segment> const& list() const noexcept { return runs_; }

  private:
    // The first run that begins at or behind `offset`.
    [[nodiscard]] std::vector<checked_segment>::iterator
    first_behind(std::uint64_t offset) noexcept {
        return std::ranges::lower_bound(runs_, offset, {},
                                        [](checked_segment const& r) { return r.bytes.first; });
    }

    std::vector<checked_segment> runs_;
};

/// Whether bytes are still what a journal claims: has them read back, a run after the other, some
/// of it at a time. The claims are sorted, and the same in each call.
class claims_check {
  public:
    /// What is to be read next, at most `most` bytes of it; none when there is no more.
    [[nodiscard]] std::optional<segment> next(std::span<checked_segment const> claims,
                                              std::uint64_t most) noexcept {
        if (at_ == claims.size()) return std::nullopt;
        segment const bytes = claims[at_].bytes;
        part_.first = std::max(next_, bytes.first);
        part_.last = part_.first + std::min(bytes.last - part_.first, most - 1);
        return part_;
    }
    /// The CRC-32C of what was to be read; none where it could not be. Answers with the claim that
    /// holds, now that all of it has been read.
    [[nodiscard]] std::optional<checked_segment> found(std::span<checked_segment const> claims,
                                                       std::optional<std::uint32_t> crc) noexcept {
        checked_segment const claim = claims[at_];
        if (crc) {
            bool const begins = part_.first == claim.bytes.first;
            crc_ = begins ? *crc : crc32c_join(crc_, *crc, part_.size());
            if (part_.last != claim.bytes.last) {
                next_ = part_.last + 1;
                return std::nullopt;
            }
        }
        ++at_;
        if (crc && crc_ == claim.crc) return claim;
        return std::nullopt;
    }

  private:
    std::size_t at_ = 0;
    std::uint64_t next_ = 0;
    segment part_;
    std::uint32_t crc_ = 0; ///< of the claim, up to here
};

} // namespace cleave
