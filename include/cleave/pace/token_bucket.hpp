// SPDX-License-Identifier: BSL-1.0
//
// So many bytes a second, over all that share the bucket. Knows the time only from those who ask.
#pragma once

#include <cleave/pace/concept.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace cleave {

/// A token bucket: it fills at the rate, holds no more than `burst`, and bytes are taken out of it.
/// In any time T no more than `burst + rate * T` bytes are taken and not given back.
///
/// A copy is another handle on the same bucket, so that downloads which each have one share one
/// rate. Every function may be called from any thread; a call waits only for the few instructions
/// of another one. All who share a bucket must go by one clock.
///
/// Takers get portions, so that none has it all: of what comes in 1/64 s, but no more than a
/// quarter of the burst or 1 GiB, and at least 4 KiB, or what comes in a second where that is less.
class token_bucket {
  public:
    /// The bucket is full at first. A rate of 0 is no limit. `burst` is in bytes; 0 stands for what
    /// comes in 50 ms, at least 16 KiB, and changes with the rate. Throws `std::bad_alloc`.
    explicit token_bucket(std::uint64_t bytes_a_second = 0, std::uint64_t burst = 0)
        : bucket_(std::make_shared<bucket>(bytes_a_second, burst)) {}

    // No moves of their own: there is no handle without a bucket.
    token_bucket(token_bucket const&) = default;
    token_bucket& operator=(token_bucket const&) = default;
    ~token_bucket() = default;

    /// A time to ask again is never more than 250 ms away, so that a new rate is soon noticed.
    [[nodiscard]] pace_answer take(std::uint64_t n, std::chrono::nanoseconds now) noexcept {
        std::lock_guard const lock(bucket_->mutex);
        return bucket_->take(n, now);
    }
    /// What the bucket has no room for is lost.
    void give_back(std::uint64_t n) noexcept {
        std::lock_guard const lock(bucket_->mutex);
        bucket_->put(n);
    }
    /// From the next `take` on, also for the time since the last one; 0 for no limit. What is in
    /// the bucket stays, if the burst of the new rate has room for it.
    void set_rate(std::uint64_t bytes_a_second) noexcept {
        std::lock_guard const lock(bucket_->mutex);
        bucket_->set_rate(bytes_a_second);
    }
    /// Bytes a second; 0 for no limit.
    [[nodiscard]] std::uint64_t rate() const noexcept {
        std::lock_guard const lock(bucket_->mutex);
        return bucket_->rate;
    }

  private:
    static constexpr std::uint64_t second = 1'000'000'000;
    static constexpr std::uint64_t longest_wait = second / 4;

    struct bucket {
        bucket(std::uint64_t bytes_a_second, std::uint64_t burst)
            : rate(bytes_a_second), fixed_burst(burst), tokens(capacity()) {}

        pace_answer take(std::uint64_t n, std::chrono::nanoseconds now) noexcept {
            fill(now);
            if (rate == 0) return {.bytes = n};
            std::uint64_t const enough = std::min(n, portion());
            if (tokens >= enough) {
                tokens -= enough;
                return {.bytes = enough};
            }
            // A portion is too small for this to overflow.
            std::uint64_t const missing = (enough - tokens) * second - billionths;
            std::uint64_t const wait = missing / rate + (missing % rate == 0 ? 0 : 1);
            std::chrono::nanoseconds const time{
                static_cast<std::int64_t>(std::min(wait, longest_wait))};
            return {.at = std::min(now, std::chrono::nanoseconds::max() - time) + time};
        }
        void put(std::uint64_t n) noexcept {
            if (rate != 0) tokens += std::min(n, capacity() - tokens);
        }
        void set_rate(std::uint64_t bytes_a_second) noexcept {
            rate = bytes_a_second;
            tokens = std::min(tokens, capacity());
        }

        // Adds what has come since it was last asked, to the billionth of a byte.
        void fill(std::chrono::nanoseconds now) noexcept {
            // Of two threads the one that looked at the clock first may ask last.
            if (last && now <= *last) return;
            auto const before = std::exchange(last, now);
            if (!before || rate == 0) return;
            std::uint64_t const time = static_cast<std::uint64_t>(now.count()) -
                                       static_cast<std::uint64_t>(before->count());
            std::uint64_t const room = capacity() - tokens;
            std::uint64_t const seconds = time / second;
            std::uint64_t const part = time % second;
            if (seconds > room / rate) return fill_up();
            // rate * part / second in pieces that each fit 64 bits.
            std::uint64_t const small = rate % second * part + billionths;
            std::uint64_t const come = rate / second * part + small / second;
            if (come >= room - rate * seconds) return fill_up();
            tokens += rate * seconds + come;
            billionths = small % second;
        }
        void fill_up() noexcept {
            tokens = capacity();
            billionths = 0;
        }

        [[nodiscard]] std::uint64_t capacity() const noexcept {
            if (fixed_burst != 0) return fixed_burst;
            return std::max<std::uint64_t>(rate / 20, std::uint64_t{16} << 10);
        }
        [[nodiscard]] std::uint64_t portion() const noexcept {
            std::uint64_t const least = std::min<std::uint64_t>(rate, std::uint64_t{4} << 10);
            std::uint64_t const most = std::uint64_t{1} << 30;
            std::uint64_t const fair = std::min({rate / 64, capacity() / 4, most});
            return std::min(capacity(), std::max(least, fair));
        }

        std::mutex mutex;
        std::uint64_t rate;
        std::uint64_t fixed_burst;
        std::uint64_t tokens;
        // Of a byte, beyond `tokens`.
        std::uint64_t billionths = 0;
        std::optional<std::chrono::nanoseconds> last;
    };

    std::shared_ptr<bucket> bucket_;
};

static_assert(byte_pacer<token_bucket>);
static_assert(adjustable_pacer<token_bucket>);

} // namespace cleave
