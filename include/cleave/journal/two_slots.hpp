// SPDX-License-Identifier: BSL-1.0
//
// Two places for one record each, taken in turns: the newest one is never written over, so that a
// crash leaves it or the next. Knows nothing of where the places are.
#pragma once

#include <cleave/journal/concept.hpp>
#include <cleave/journal/record.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave::detail {

/// Which slot has what. Slots are 0 and 1, and are read and written by
/// `load(slot, to)`, which fills as much of `to` as there is and answers with how much that was,
/// and `save(slot, from, ec)`, which writes to the beginning of the slot.
class two_slots {
  public:
    /// So many bytes each, at least `nothing_record_size`.
    explicit two_slots(std::size_t bytes) noexcept : bytes_(bytes) {}

    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

    template <class Load>
    [[nodiscard]] std::optional<resume_state> open(Load&& load) {
        std::optional<journal_record> newest;
        newest_ = 1;
        std::vector<std::byte> slot_bytes(bytes_);
        for (unsigned slot = 0; slot != 2; ++slot) {
            std::size_t const there =
                std::min<std::size_t>(load(slot, std::span{slot_bytes}), bytes_);
            auto found = decode_record(record_within({slot_bytes.data(), there}));
            if (!found || (newest && !is_later(found->generation, newest->generation))) continue;
            newest = std::move(found);
            newest_ = slot;
        }
        generation_ = newest ? newest->generation : 0;
        return newest ? std::move(newest->state) : std::nullopt;
    }

    template <class Save>
    void store(resume_state const& state, Save&& save, std::error_code& ec) {
        auto record = encode_record(state, generation_ + 1, bytes_);
        // What was kept may be of another object: it goes all the same.
        if (record.empty()) record = encode_nothing(generation_ + 1);
        write(record, save, ec);
    }

    // In both, so that a damaged one does not bring back what is in the other.
    template <class Save>
    void remove(Save&& save, std::error_code& ec) {
        for (int i = 0; i != 2 && !ec; ++i) write(encode_nothing(generation_ + 1), save, ec);
    }

  private:
    // Right also for the one behind 2^64-1.
    [[nodiscard]] static bool is_later(std::uint64_t a, std::uint64_t b) noexcept {
        return static_cast<std::int64_t>(a - b) > 0;
    }

    template <class Save>
    void write(std::span<std::byte const> record, Save& save, std::error_code& ec) {
        save(1 - newest_, record, ec);
        if (ec) return;
        newest_ = 1 - newest_;
        ++generation_;
    }

    std::size_t bytes_;
    std::uint64_t generation_ = 0;
    unsigned newest_ = 1;
};

} // namespace cleave::detail
