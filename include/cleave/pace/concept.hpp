// SPDX-License-Identifier: BSL-1.0
//
// How fast. A pacer says how many bytes may be received now, or when to ask again. It knows
// nothing of lanes: the engine asks for them in turn.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>

namespace cleave {

/// A pacer's answer.
struct pace_answer {
    /// How many bytes may be received now; 0: none before `at`.
    std::uint64_t bytes = 0;
    /// When to ask again, where `bytes` is 0; later than now. Of the clock that `take` was given.
    std::chrono::nanoseconds at{0};

    friend constexpr bool operator==(pace_answer const&, pace_answer const&) noexcept = default;
};

/// A byte pacer `p`.
///
/// | expression         | meaning                                                               |
/// |--------------------|-----------------------------------------------------------------------|
/// | `p.take(n, now)`   | may `n` bytes be received now? `pace_answer`; `noexcept`               |
/// | `p.give_back(n)`   | bytes taken that were not received after all; `noexcept`               |
/// | `p.set_rate(r)`    | optional: from now on `r` bytes a second, 0 for no limit; `noexcept`   |
///
/// `n` is positive; `now` is of a steady clock, in nanoseconds, and never goes back.
///
/// Laws:
/// 1. `take(n, now).bytes <= n`.
/// 2. Where it is 0, `at > now`. Asked again at each time it names, with nobody else taking, it is
///    positive in the end: after one asking, and at most five more for each second that passes.
/// 3. What was given back can be taken again, as far as the pacer has room for it.
///
/// Called on the download's strand for every grant; must not block or allocate. A pacer that is
/// shared among downloads is called from several threads. Models: `unlimited`, `token_bucket`.
template <class P>
concept byte_pacer = std::move_constructible<P> &&
    requires(P& p, std::uint64_t n, std::chrono::nanoseconds now) {
    { p.take(n, now) }
    noexcept->std::same_as<pace_answer>;
    { p.give_back(n) }
    noexcept;
};

/// Whether the rate of a pacer can be changed while it runs.
template <class P>
concept adjustable_pacer = byte_pacer<P> && requires(P& p, std::uint64_t bytes_a_second) {
    { p.set_rate(bytes_a_second) }
    noexcept;
};

} // namespace cleave
