// SPDX-License-Identifier: BSL-1.0
//
// Waits longer after each failure in a row, by a random share, and stops after so many.
#pragma once

#include <cleave/renew/concept.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace cleave {

/// Exponential backoff with full jitter: before try n a random time between 0 and
/// `first * 2^(n-1)`, at most `longest`. A lane that had been delivering goes on at once.
struct backoff {
    /// Failures in a row, without a byte between them, after which a lane is given up.
    std::uint32_t tries = 5;
    std::chrono::nanoseconds first = std::chrono::milliseconds{200};
    std::chrono::nanoseconds longest = std::chrono::seconds{20};
    /// The longest `Retry-After` that is waited for; a longer one is given up on.
    std::chrono::nanoseconds patience = std::chrono::minutes{10};
    /// An attempt that brought this many bytes is followed by the next without waiting.
    std::uint64_t delivering = std::uint64_t{16} << 10;

    [[nodiscard]] constexpr renewal decide(renewal_state const& s) const noexcept {
        using answer = renewal::answer;
        if (s.tries >= tries) return {answer::give_up};
        auto wait = std::chrono::nanoseconds{0};
        if (s.bytes < delivering) wait = jitter(std::max<std::uint32_t>(s.tries, 1), s.random);
        if (s.what.retry_after) {
            // In whole seconds: in nanoseconds what a server asks for may not be countable.
            auto const asked = *s.what.retry_after;
            auto const most = std::min(patience, std::chrono::nanoseconds::max() - wait);
            if (asked > std::chrono::floor<std::chrono::seconds>(most)) return {answer::give_up};
            wait += std::max(asked, std::chrono::seconds{0});
        }
        if (s.time_left && wait >= *s.time_left) return {answer::give_up};
        return {answer::again, wait};
    }

  private:
    [[nodiscard]] constexpr std::chrono::nanoseconds jitter(std::uint32_t n,
                                                            std::uint64_t random) const noexcept {
        std::chrono::nanoseconds most = std::min(first, longest);
        if (most.count() <= 0) return std::chrono::nanoseconds{0};
        for (std::uint32_t i = 1; i < n && most < longest; ++i)
            most = most > longest / 2 ? longest : most * 2;
        return std::chrono::nanoseconds{
            static_cast<std::int64_t>(random % (static_cast<std::uint64_t>(most.count()) + 1))};
    }
};

static_assert(renewal_rule<backoff>);

} // namespace cleave
