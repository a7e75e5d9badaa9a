// SPDX-License-Identifier: BSL-1.0
//
// Waits longer after each failure in a row, by a random share, and stops after so many, or when all
// lanes together have failed too often for what they bring.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/renew/concept.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace cleave {

namespace detail {

/// Tokens, so many at most, that failures cost and received bytes give back. Full at the start.
class retry_tokens {
  public:
    /// One is given back for each `bytes_a_token`, of which 0 counts as 1.
    constexpr void earn(std::uint64_t received, std::uint64_t bytes_a_token) noexcept {
        counted_ = std::min(counted_, received); // it may have begun again
        bytes_a_token = std::max<std::uint64_t>(bytes_a_token, 1);
        std::uint64_t const earned = (received - counted_) / bytes_a_token;
        counted_ += earned * bytes_a_token;
        spent_ -= std::min(spent_, earned);
    }
    /// False, and nothing spent, where there is none left.
    [[nodiscard]] constexpr bool spend(std::uint64_t most) noexcept {
        if (spent_ >= most) return false;
        ++spent_;
        return true;
    }

  private:
    std::uint64_t spent_ = 0;
    std::uint64_t counted_ = 0; // of the bytes received, those that have given back a token
};

} // namespace detail

/// Exponential backoff with equal jitter: before try n a random time between half of and all of
/// `first * 2^(n-1)`, at most `longest`; behind what a server asked for with `Retry-After`, one
/// between nothing and all of it. A lane that had been delivering goes on at once.
///
/// Of no, full and equal jitter it is the one with which a server that comes back after a minute
/// meets the fewest attempts, and the lowest peak of them: `cleave-sim --fleet 100000`.
///
/// All lanes share the tokens of one bucket. Once it is empty, each lane that fails is given up, so
/// that those that cost tries and bring nothing go, and those that bring bytes stay.
///
/// Goes on over the same connection only after a reply that says no for now: 429, 503 and the other
/// 5xx. Where the URL or the credentials are refused, asks for a fresh request.
struct backoff {
    /// Failures in a row, without a byte between them, after which a lane is given up.
    std::uint32_t tries = 8;
    /// No more than these as long as no server has told what the object is: then it is likelier
    /// that the address is wrong than that the network is.
    std::uint32_t first_tries = 4;
    std::chrono::nanoseconds first = std::chrono::milliseconds{200};
    std::chrono::nanoseconds longest = std::chrono::seconds{20};
    /// The longest `Retry-After` that is waited for; a longer one is given up on.
    std::chrono::nanoseconds patience = std::chrono::minutes{10};
    /// How long the whole download may go without a byte, the wait to come included.
    std::chrono::nanoseconds without_progress = std::chrono::minutes{10};
    /// An attempt that brought this many bytes is followed by the next without waiting.
    std::uint64_t delivering = std::uint64_t{16} << 10;
    /// Tokens in the bucket at the start, and at most. Going on costs one after an attempt that
    /// brought nothing.
    std::uint32_t tokens = 64;
    /// New bytes of the whole download that give one back.
    std::uint64_t bytes_a_token = std::uint64_t{256} << 10;
    /// Fresh requests in a row, without a byte between them.
    std::uint32_t fresh = 1;
    /// The bucket; not a setting.
    detail::retry_tokens bucket{};

    [[nodiscard]] renewal decide(renewal_state const& s) noexcept {
        using answer = renewal::answer;
        bucket.earn(s.received, bytes_a_token);
        if (s.what.kind == cause::renewable) {
            bool const may = s.can_refresh && s.refreshed < fresh && in_time(s, {});
            return {may ? answer::fresh_request : answer::give_up};
        }
        if (s.tries >= (s.object_known ? tries : std::min(tries, first_tries)))
            return {answer::give_up};
        bool const delivered = s.bytes >= delivering;
        auto wait = std::chrono::nanoseconds{0};
        if (!delivered)
            wait = jitter(std::max<std::uint32_t>(s.tries, 1), s.random, !s.what.retry_after);
        if (s.what.retry_after) {
            // In whole seconds: in nanoseconds what a server asks for may not be countable.
            auto const asked = *s.what.retry_after;
            auto const most = std::min(patience, std::chrono::nanoseconds::max() - wait);
            if (asked > std::chrono::floor<std::chrono::seconds>(most)) return {answer::give_up};
            wait += std::max(asked, std::chrono::seconds{0});
        }
        if (!in_time(s, wait)) return {answer::give_up};
        if (s.bytes == 0 && !bucket.spend(tokens)) return {answer::give_up};
        return {says_not_now(s.what) ? answer::again : answer::elsewhere, wait};
    }

  private:
    [[nodiscard]] constexpr bool in_time(renewal_state const& s,
                                         std::chrono::nanoseconds wait) const noexcept {
        if (s.time_left && wait >= *s.time_left) return false;
        return s.idle <= without_progress && wait <= without_progress - s.idle;
    }
    // A whole reply came, so that there is nothing wrong with the connection.
    [[nodiscard]] static bool says_not_now(failure const& what) noexcept {
        return what.code == error::too_many_requests || what.code == error::server_busy ||
               what.code == error::server_error;
    }
    // From half of the wait, or from nothing, up to all of it.
    [[nodiscard]] constexpr std::chrono::nanoseconds jitter(std::uint32_t n, std::uint64_t random,
                                                            bool from_half) const noexcept {
        std::chrono::nanoseconds most = std::min(first, longest);
        if (most.count() <= 0) return std::chrono::nanoseconds{0};
        for (std::uint32_t i = 1; i < n && most < longest; ++i)
            most = most > longest / 2 ? longest : most * 2;
        auto const least = from_half ? most / 2 : std::chrono::nanoseconds{0};
        auto const choices = static_cast<std::uint64_t>((most - least).count()) + 1;
        return least + std::chrono::nanoseconds{static_cast<std::int64_t>(random % choices)};
    }
};

static_assert(renewal_rule<backoff>);

} // namespace cleave
