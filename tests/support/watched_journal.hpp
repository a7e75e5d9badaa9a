// SPDX-License-Identifier: BSL-1.0
//
// A journal that does what another one does, and tells what it holds: so tests know which bytes the
// next run may count on.

#pragma once

#include <cleave/journal/concept.hpp>
#include <cleave/journal/no_journal.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace cleave_test {

/// Bytes that a state claims to be in place.
inline std::uint64_t claimed(cleave::resume_state const& s) noexcept {
    std::uint64_t bytes = 0;
    for (cleave::checked_segment const& run : s.in_place) bytes += run.bytes.size();
    return bytes;
}

template <cleave::resume_journal Journal>
class watched_journal {
  public:
    /// `held` is the state that was stored last, without error and not removed since; it must
    /// outlive the download.
    watched_journal(Journal journal, cleave::resume_state& held)
        : journal_(std::move(journal)), held_(&held) {}

    [[nodiscard]] bool keeps(std::string const& target) const noexcept {
        return journal_.keeps(target);
    }
    [[nodiscard]] std::optional<cleave::resume_state> open(std::string const& target,
                                                           std::error_code& ec) {
        return journal_.open(target, ec);
    }
    void store(cleave::resume_state const& state, std::error_code& ec) {
        journal_.store(state, ec);
        if (!ec) *held_ = state;
    }
    void remove(std::error_code& ec) {
        journal_.remove(ec);
        *held_ = {};
    }
    [[nodiscard]] bool durable() const noexcept { return journal_.durable(); }
    [[nodiscard]] cleave::journal_interval interval() const noexcept { return journal_.interval(); }

  private:
    Journal journal_;
    cleave::resume_state* held_;
};

static_assert(cleave::resume_journal<watched_journal<cleave::no_journal>>);

} // namespace cleave_test
