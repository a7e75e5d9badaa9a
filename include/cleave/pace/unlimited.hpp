// SPDX-License-Identifier: BSL-1.0
//
// As fast as it comes.
#pragma once

#include <cleave/pace/concept.hpp>

#include <chrono>
#include <cstdint>

namespace cleave {

/// Lets every byte through. It has no rate that could be set: a download whose rate is to be
/// changed while it runs wants a `token_bucket`, of rate 0 if there is to be no limit at first.
struct unlimited {
    [[nodiscard]] constexpr pace_answer take(std::uint64_t n,
                                             std::chrono::nanoseconds) const noexcept {
        return {.bytes = n};
    }
    constexpr void give_back(std::uint64_t) const noexcept {}
};

static_assert(byte_pacer<unlimited>);

} // namespace cleave
