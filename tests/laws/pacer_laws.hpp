// SPDX-License-Identifier: BSL-1.0
//
// The laws of byte pacers (pace/concept.hpp) for any pacer, a user's own too, over simulated time.
// Each function answers with the law that was broken and where, or with an empty text.

#pragma once

#include <cleave/pace/concept.hpp>

#include <laws/random.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

namespace cleave_test {

/// Law 1, no more than was asked for, and the first half of law 2, a time to ask again that is to
/// come. Takes.
template <cleave::byte_pacer P>
[[nodiscard]] std::string broken_pace(P& p, std::uint64_t n, std::chrono::nanoseconds now,
                                      cleave::pace_answer& answer) {
    answer = p.take(n, now);
    auto const say = [&](char const* law) {
        return std::string{law} + ": asked for " + std::to_string(n) + " at " +
               std::to_string(now.count()) + " it answered " + std::to_string(answer.bytes) +
               " at " + std::to_string(answer.at.count());
    };
    if (answer.bytes > n) return say("no more than was asked for");
    if (answer.bytes == 0 && answer.at <= now) return say("the time to ask again is to come");
    return {};
}

/// Law 2: asked again at each time it names, it is positive after one asking, and at most five more
/// for each second that passes. Moves `now` on, no further than `end`; takes.
template <cleave::byte_pacer P>
[[nodiscard]] std::string
broken_wait(P& p, std::uint64_t n, std::chrono::nanoseconds& now, cleave::pace_answer& answer,
            std::chrono::nanoseconds end = std::chrono::nanoseconds::max()) {
    auto const begin = now;
    for (std::int64_t askings = 0;; ++askings) {
        if (auto broken = broken_pace(p, n, now, answer); !broken.empty()) return broken;
        std::int64_t const fifths = (now - begin) / std::chrono::milliseconds{200};
        if (askings > 1 + fifths)
            return "asked five times a second it is positive in the end: " +
                   std::to_string(askings) + " times in " + std::to_string((now - begin).count()) +
                   " ns";
        if (answer.bytes != 0 || answer.at > end) return {};
        now = answer.at;
    }
}

/// Law 3: what was given back can be taken again, at the same time and by the same.
template <cleave::byte_pacer P>
[[nodiscard]] std::string broken_return(P& p, std::uint64_t n, std::chrono::nanoseconds now) {
    p.give_back(n);
    for (std::uint64_t left = n; left != 0;) {
        cleave::pace_answer answer;
        if (auto broken = broken_pace(p, left, now, answer); !broken.empty()) return broken;
        if (answer.bytes == 0)
            return "what was given back can be taken again: of " + std::to_string(n) +
                   " bytes not the last " + std::to_string(left);
        left -= answer.bytes;
    }
    return {};
}

/// All laws, in `steps` random steps from `now` on.
template <cleave::byte_pacer P>
[[nodiscard]] std::string broken_pacer(P& p, std::chrono::nanoseconds now, random_source& random,
                                       int steps) {
    cleave::pace_answer answer;
    for (int i = 0; i < steps; ++i) {
        std::uint64_t const n = 1 + (random() >> (34 + random.below(30)));
        if (random.chance(50)) {
            if (auto broken = broken_pace(p, n, now, answer); !broken.empty()) return broken;
        } else {
            if (auto broken = broken_wait(p, n, now, answer); !broken.empty()) return broken;
            if (answer.bytes != 0 && random.chance(50))
                if (auto broken = broken_return(p, answer.bytes, now); !broken.empty())
                    return broken;
        }
        if (answer.bytes != 0 && random.chance(20)) p.give_back(random.below(answer.bytes + 1));
        if (random.chance(50))
            now += std::chrono::nanoseconds{
                static_cast<std::int64_t>(random.below(std::uint64_t{1} << random.below(32)))};
    }
    return {};
}

/// Whether a rate was kept: of all intervals that begin and end when something is taken, none may
/// have more than `burst + rate * T` bytes, and a byte for rounding.
class rate_check {
  public:
    rate_check(std::uint64_t rate, std::uint64_t burst)
        : rate_(static_cast<long double>(rate)), burst_(static_cast<long double>(burst)) {}

    /// Answers with how many bytes too many there were in the worst interval that ends now.
    [[nodiscard]] long double took(std::uint64_t bytes, std::chrono::nanoseconds now) {
        long double const earned = rate_ * static_cast<long double>(now.count()) / 1e9L;
        least_ahead_ = none_ ? taken_ - earned : std::min(least_ahead_, taken_ - earned);
        none_ = false;
        taken_ += static_cast<long double>(bytes);
        // Beyond 64 bits a long double rounds.
        long double const rounding = 1 + earned * 1e-18L;
        return std::max(0.0L, taken_ - earned - least_ahead_ - burst_ - rounding);
    }

  private:
    long double rate_;
    long double burst_;
    long double taken_ = 0;
    long double least_ahead_ = 0;
    bool none_ = true;
};

} // namespace cleave_test
