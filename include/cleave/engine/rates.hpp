// SPDX-License-Identifier: BSL-1.0
//
// How long things take and how fast bytes come, where the last few times count for most.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>

namespace cleave {

/// A mean of times, of which each new one is a quarter.
struct mean_time {
    std::chrono::nanoseconds value{0};
    bool known = false;

    void add(std::chrono::nanoseconds time) noexcept {
        value = known ? value - value / 4 + time / 4 : time;
        known = true;
    }
    [[nodiscard]] double seconds() const noexcept {
        return std::chrono::duration<double>{value}.count();
    }
};

/// Bytes a second, where the last three seconds count for most; at first the mean since the start.
class smooth_rate {
  public:
    /// `bytes` are there at second `now`; fewer than before where some had to be fetched again.
    void update(std::uint64_t bytes, double now) noexcept {
        double const past = now - at_;
        if (past <= 0) return;
        double const came = bytes > bytes_ ? static_cast<double>(bytes - bytes_) : 0.0;
        double const weight = std::max(1 - std::exp(-past / 3), past / now);
        rate_ += weight * (came / past - rate_);
        at_ = now;
        bytes_ = bytes;
    }
    /// So many bytes were there before anything was measured.
    void begin_at(std::uint64_t bytes) noexcept { bytes_ = bytes; }
    [[nodiscard]] std::uint64_t whole() const noexcept {
        return rate_ >= 9e18 ? std::numeric_limits<std::int64_t>::max()
                             : static_cast<std::uint64_t>(rate_);
    }
    /// How long so many bytes take at this rate; a rate of at least a byte a second is needed.
    [[nodiscard]] std::chrono::nanoseconds time_for(std::uint64_t bytes) const noexcept {
        double const seconds = std::min(static_cast<double>(bytes) / std::max(rate_, 1.0), 9e9);
        return std::chrono::nanoseconds{static_cast<std::int64_t>(seconds * 1e9)};
    }

  private:
    double rate_ = 0;
    double at_ = 0;
    std::uint64_t bytes_ = 0;
};

} // namespace cleave
