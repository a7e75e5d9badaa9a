// SPDX-License-Identifier: BSL-1.0
//
// Nothing survives: a run that fails leaves nothing behind, and the next one begins anew.
#pragma once

#include <cleave/journal/concept.hpp>

#include <optional>
#include <string>
#include <system_error>

namespace cleave {

/// Keeps nothing: what is interrupted begins at the first byte.
struct no_journal {
    [[nodiscard]] constexpr bool keeps(std::string const&) const noexcept { return false; }
    [[nodiscard]] std::optional<resume_state> open(std::string const&, std::error_code&) const {
        return std::nullopt;
    }
    void store(resume_state const&, std::error_code&) const noexcept {}
    void remove(std::error_code&) const noexcept {}
    [[nodiscard]] constexpr bool durable() const noexcept { return false; }
    [[nodiscard]] constexpr journal_interval interval() const noexcept { return {}; }
};

static_assert(resume_journal<no_journal>);

} // namespace cleave
