// SPDX-License-Identifier: BSL-1.0
//
// As many lanes as pay. Learns from rates and refusals alone how many a server serves well.
#pragma once

#include <cleave/lanes/concept.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace cleave {

/// Begins with a few lanes and doubles their number as long as each doubling brings clearly more
/// bytes a second, as slow start does (RFC 5681, section 3.1); a growth that does not is taken
/// back. Then it stays there and looks again after a long while: whether half as many more pay.
///
/// A server that refuses lanes wants no more than it was serving then. From the first refusal on,
/// one more at a time is tried, and only after the long while: a limit of two connections is found
/// and lived with. A lane that was served and is lost once is no sign of a limit.
///
/// While something other than the server holds the lanes back, rates are not looked at.
class adaptive_lanes {
  public:
    /// How many lanes to begin with and at most, and how patient to be.
    struct settings {
        /// Lanes to begin with; at least 1, at most `most`.
        std::uint32_t first = 2;
        /// At least 1.
        std::uint32_t most = 16;
        /// For how long a rate is measured; 1 ms to 1 h.
        std::chrono::nanoseconds look = std::chrono::milliseconds{500};
        /// The long while; at least a look, at most a week. Each growth in vain doubles it, up to
        /// 16 times, and one that pays ends that.
        std::chrono::nanoseconds again = std::chrono::seconds{30};
    };

    constexpr adaptive_lanes() noexcept : adaptive_lanes(settings{}) {}
    /// Settings out of bounds count as the nearest within.
    explicit constexpr adaptive_lanes(settings const& s) noexcept
        : most_(std::max<std::uint32_t>(s.most, 1)),
          look_(std::clamp<std::chrono::nanoseconds>(s.look, std::chrono::milliseconds{1},
                                                     std::chrono::hours{1})),
          again_(std::clamp<std::chrono::nanoseconds>(s.again, look_, std::chrono::hours{7 * 24})),
          want_(std::clamp<std::uint32_t>(s.first, 1, most_)), pause_(again_) {}

    [[nodiscard]] constexpr std::uint32_t most() const noexcept { return most_; }
    [[nodiscard]] constexpr std::uint32_t want(lanes_state const& s) noexcept {
        if (!std::exchange(begun_, true)) {
            changed_ = served_since_ = s.now;
            measure_anew(s);
        }
        remember_served(s);
        if (s.refusals != refusals_)
            refused(s);
        else if (s.held_back)
            measure_anew(s);
        else
            measure(s);
        return want_;
    }

  private:
    using nanoseconds = std::chrono::nanoseconds;

    // ---- refusals -------------------------------------------------------------------------

    constexpr void remember_served(lanes_state const& s) noexcept {
        if (s.now - served_since_ >= look_) {
            served_before_ = std::exchange(served_, 0);
            served_since_ = s.now;
        }
        served_ = std::max(served_, s.receiving);
    }
    // How many received at once lately: between two leases a lane does not for a moment.
    [[nodiscard]] constexpr std::uint32_t served() const noexcept {
        return std::max(served_, served_before_);
    }

    constexpr void refused(lanes_state const& s) noexcept {
        refusals_ = s.refusals;
        measure_anew(s);
        // Lanes that were begun together are refused one after another.
        nanoseconds const since_last = s.now - refused_at_;
        if (was_refused_ && since_last < look_) return;
        bool const again_so_soon = was_refused_ && since_last < 10 * look_;
        was_refused_ = true;
        refused_at_ = s.now;

        std::uint32_t allowed = std::max<std::uint32_t>(served(), 1);
        if (allowed >= want_) {
            // All were served, and one was lost.
            if (!on_trial() && !again_so_soon) return;
            allowed = std::max<std::uint32_t>(want_ - 1, 1);
        }
        by_one_ = true;
        settle(allowed, s.now);
    }

    // ---- rates ----------------------------------------------------------------------------

    // The next look is not counted: lanes that come, or come back, are not up to speed at once.
    constexpr void measure_anew(lanes_state const& s) noexcept {
        begin_look(s);
        warming_up_ = true;
    }
    constexpr void begin_look(lanes_state const& s) noexcept {
        look_since_ = s.now;
        look_bytes_ = s.bytes;
    }

    constexpr void measure(lanes_state const& s) noexcept {
        // New lanes are waited for, but not for ever: there may be nothing for them to do.
        bool const some_to_come = s.receiving < want_ && s.now - changed_ < 4 * look_;
        if (some_to_come || served() == 0) return measure_anew(s);
        nanoseconds const time = s.now - look_since_;
        if (time < look_) return;
        double const rate =
            static_cast<double>(s.bytes - look_bytes_) / static_cast<double>(time.count());
        begin_look(s);
        if (std::exchange(warming_up_, false)) return;
        judge(rate, s.now);
    }

    constexpr void judge(double rate, nanoseconds now) noexcept {
        if (on_trial()) {
            if (!pays(rate)) return settle(before_, now);
            before_ = 0;
            pause_ = again_;
        } else if (rate <= 0 || (settled_ && now - settled_at_ < pause_)) {
            return;
        }
        grow(rate, now);
    }

    constexpr void grow(double rate, nanoseconds now) noexcept {
        std::uint32_t step = want_;
        if (settled_) step = std::max<std::uint32_t>(want_ / 2, 1);
        if (by_one_) step = 1;
        step = std::min(step, most_ - want_);
        if (step == 0) return settle(want_, now);
        before_ = want_;
        rate_before_ = rate;
        change(want_ + step, now);
    }

    // A growth pays that brings a quarter of what it would if every lane had a rate of its own.
    [[nodiscard]] constexpr bool pays(double rate) const noexcept {
        double const growth = static_cast<double>(want_ - before_) / before_;
        return rate > rate_before_ * (1 + std::max(growth / 4, 1.0 / 16));
    }

    // ---- what it is about -----------------------------------------------------------------

    [[nodiscard]] constexpr bool on_trial() const noexcept { return before_ != 0; }
    constexpr void settle(std::uint32_t lanes, nanoseconds now) noexcept {
        // The growth that ends slow start was not in vain: it has found out how many pay.
        if (on_trial() && settled_) pause_ = std::min(2 * pause_, 16 * again_);
        before_ = 0;
        settled_ = true;
        settled_at_ = now;
        change(lanes, now);
    }
    constexpr void change(std::uint32_t lanes, nanoseconds now) noexcept {
        want_ = lanes;
        changed_ = now;
        warming_up_ = true;
    }

    std::uint32_t most_;
    nanoseconds look_;
    nanoseconds again_;

    bool begun_ = false;
    std::uint32_t want_;
    nanoseconds changed_{0};
    // How many there were before the growth that is on trial, and what they brought; 0: none is.
    std::uint32_t before_ = 0;
    double rate_before_ = 0;
    // Whether slow start is over, since when it stays as it is, and how long it will.
    bool settled_ = false;
    nanoseconds settled_at_{0};
    nanoseconds pause_;

    nanoseconds look_since_{0};
    std::uint64_t look_bytes_ = 0;
    bool warming_up_ = true;

    std::uint32_t served_ = 0;
    std::uint32_t served_before_ = 0;
    nanoseconds served_since_{0};

    std::uint32_t refusals_ = 0;
    bool was_refused_ = false;
    nanoseconds refused_at_{0};
    bool by_one_ = false;
};

static_assert(lane_rule<adaptive_lanes>);

} // namespace cleave
