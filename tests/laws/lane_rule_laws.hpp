// SPDX-License-Identifier: BSL-1.0
//
// The laws of lane rules (lanes/concept.hpp) for any rule, a user's own too, shown states such as
// no download would bring about. Each function answers with what was broken, or with an empty text.

#pragma once

#include <cleave/lanes/concept.hpp>

#include <laws/random.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>

namespace cleave_test {

/// One random state after another; counts and times never go back.
class random_lanes {
  public:
    explicit random_lanes(std::uint64_t seed) noexcept : random_(seed) {}

    cleave::lanes_state next() noexcept {
        constexpr auto end = std::chrono::nanoseconds::max();
        if (random_.chance(70)) {
            // From nanoseconds to hours, mostly what lies between two looks at a download.
            std::uint64_t const bits = random_.chance(80) ? 28 : 43;
            std::chrono::nanoseconds const time{
                static_cast<std::int64_t>(random_.below(std::uint64_t{1} << bits))};
            state_.now += std::min(time, end - state_.now);
            state_.bytes += random_.below(std::uint64_t{1} << (1 + random_.below(30)));
        }
        if (random_.chance(30)) state_.running = lanes();
        if (random_.chance(30)) state_.receiving = lanes();
        if (random_.chance(3)) state_.refusals += lanes();
        if (random_.chance(3)) state_.given_up += 1;
        if (random_.chance(5)) state_.held_back = random_.chance(30);
        return state_;
    }

  private:
    std::uint32_t lanes() noexcept { return static_cast<std::uint32_t>(random_.below(40)); }

    random_source random_;
    cleave::lanes_state state_;
};

/// Law 1: `most` is the same at every call, whatever has happened.
template <cleave::lane_rule R>
[[nodiscard]] std::string broken_most(R rule, std::uint64_t seed, int steps) {
    random_lanes states{seed};
    std::uint32_t const most = rule.most();
    for (int i = 0; i < steps; ++i) {
        static_cast<void>(rule.want(states.next()));
        if (rule.most() != most) return "most is the same at every call";
    }
    return {};
}

/// No law, for law 2 says what such answers count as, but what the library's own rules promise: the
/// answer is never 0 and never above `most`.
template <cleave::lane_rule R>
[[nodiscard]] std::string broken_bounds(R rule, std::uint64_t seed, int steps) {
    random_lanes states{seed};
    for (int i = 0; i < steps; ++i) {
        std::uint32_t const want = rule.want(states.next());
        if (want == 0) return "the answer is never 0";
        if (want > rule.most()) return "the answer is never above most";
    }
    return {};
}

/// Likewise: a rule depends on nothing but what it is shown, and not on how often it is shown it.
template <cleave::lane_rule R>
    requires std::copy_constructible<R>
[[nodiscard]] std::string broken_repetition(R once, std::uint64_t seed, int steps) {
    random_lanes states{seed};
    R often = once;
    for (int i = 0; i < steps; ++i) {
        cleave::lanes_state const s = states.next();
        std::uint32_t const want = once.want(s);
        for (int k = 0; k < 3; ++k)
            if (often.want(s) != want) return "the same states are answered alike";
    }
    return {};
}

} // namespace cleave_test
