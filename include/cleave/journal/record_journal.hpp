// SPDX-License-Identifier: BSL-1.0
//
// What is in place is written down in a few hundred bytes of the caller's, such as the flash of a
// device without a file system.
#pragma once

#include <cleave/journal/concept.hpp>
#include <cleave/journal/record.hpp>
#include <cleave/journal/two_slots.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace cleave {

/// Keeps its state in two slots of `bytes` each, numbered 0 and 1, through two functions:
///
/// - `load(slot, to)` fills `to`, a `std::span<std::byte>` as long as a slot, with what the slot
///   holds, and answers with how many bytes that were: 0 where it cannot be read.
/// - `store(slot, from, ec)` writes `from`, a `std::span<std::byte const>`, to the beginning of the
///   slot, and returns when it survives a power cut. What stood behind it may stay or go.
///
/// 256 bytes have room for some 5 runs, 512 for 18. Nothing is locked: two downloads must not use
/// the same slots at once.
template <class Load, class Store>
    requires std::move_constructible<Load> && std::move_constructible<Store> &&
        requires(Load& load, Store& store, unsigned slot, std::span<std::byte> to,
                 std::span<std::byte const> from, std::error_code& ec) {
        { load(slot, to) } -> std::convertible_to<std::size_t>;
        store(slot, from, ec);
    }
class record_journal {
  public:
    /// With less than `nothing_record_size` bytes to a slot, nothing is kept.
    record_journal(Load load, Store store, std::size_t bytes)
        : load_(std::move(load)), store_(std::move(store)), slots_(bytes) {}

    /// The same, but told that often: flash wears out.
    [[nodiscard]] record_journal every(journal_interval interval) && {
        interval_ = interval;
        return std::move(*this);
    }

    [[nodiscard]] bool keeps(std::string const&) const noexcept {
        return slots_.bytes() >= nothing_record_size;
    }
    [[nodiscard]] std::optional<resume_state> open(std::string const&, std::error_code&) {
        return slots_.open(load_);
    }
    void store(resume_state const& state, std::error_code& ec) { slots_.store(state, store_, ec); }
    void remove(std::error_code& ec) { slots_.remove(store_, ec); }

    [[nodiscard]] bool durable() const noexcept { return true; }
    [[nodiscard]] journal_interval interval() const noexcept { return interval_; }

  private:
    Load load_;
    Store store_;
    detail::two_slots slots_;
    journal_interval interval_;
};

static_assert(resume_journal<
              record_journal<std::size_t (*)(unsigned, std::span<std::byte>),
                             void (*)(unsigned, std::span<std::byte const>, std::error_code&)>>);

} // namespace cleave
