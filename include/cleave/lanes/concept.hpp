// SPDX-License-Identifier: BSL-1.0
//
// How many lanes, and to which mirror. A lane is one connection's life; the rule says how many
// there may be now.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cleave {

/// What a lane rule may look at. Counts are since the start of the download.
struct lanes_state {
    /// Lanes that are connecting, connected or about to try again.
    std::uint32_t running = 0;
    /// Lanes that have been given up.
    std::uint32_t given_up = 0;
    /// Lanes on which body bytes are arriving, or could be if they were let.
    std::uint32_t receiving = 0;
    /// Times a server would not have a lane: 429, 503, a refused or reset connection, or one that
    /// was closed before a byte of a reply.
    std::uint32_t refusals = 0;
    /// Body bytes that have arrived, over all lanes.
    std::uint64_t bytes = 0;
    /// Of a steady clock; never goes back.
    std::chrono::nanoseconds now{0};
    /// Whether something other than the server holds the lanes back: a pause, a rate limit, a
    /// sink without room. Rates say nothing of the server then.
    bool held_back = false;
};

/// One of several places to have the object from, as far as a lane rule may look at it.
struct mirror_state {
    /// Lanes that are connected to it, or about to be.
    std::uint32_t lanes = 0;
    /// Bytes a second of one lane to it, as it was lately; 0 while that is not known.
    double rate = 0;
    /// Failures in a row, of all lanes to it, without a byte between them; 0 again when some time
    /// has passed.
    std::uint32_t failures = 0;
    /// Which one: 0 is the request's target.
    std::size_t index = 0;
};

/// A lane rule `l`.
///
/// | expression    | meaning                                                              |
/// |---------------|----------------------------------------------------------------------|
/// | `l.most()`    | the most lanes it will ever want, `std::uint32_t`; `noexcept`, const |
/// | `l.want(s)`   | how many it wants now, `std::uint32_t`; `noexcept`                   |
/// | `l.choose(m)` | optional: which of `std::span<mirror_state const> m` the next lane    |
/// |               | goes to, `std::size_t`, a place in `m`; `noexcept`                    |
///
/// Laws:
/// 1. `most()` is the same at every call; memory for that many lanes is taken at the start.
/// 2. An answer above `most()` counts as `most()`, one of 0 as 1.
/// 3. Lanes beyond the answer finish the lease they have; those that wait to try again do not.
/// 4. `choose` is asked where a lane could go to two mirrors or more; an answer beyond `m` counts
///    as the last. Those that have been given up are not among them.
///
/// Without `choose` lanes go where `fastest_mirror` says.
///
/// Called on the download's strand whenever a lane comes or goes, and several times a second while
/// bytes arrive; must not block or allocate. Models: `fixed_lanes`, `adaptive_lanes`.
template <class L>
concept lane_rule = std::move_constructible<L> && requires(L& l, L const& c, lanes_state const& s) {
    { c.most() } noexcept -> std::same_as<std::uint32_t>;
    { l.want(s) } noexcept -> std::same_as<std::uint32_t>;
};

/// Where the next lane goes, unless the rule says otherwise: away from failures; to each mirror
/// first, to see what it is good for; then to where a lane brings most, and to where fewer are. One
/// whose rate is not known yet is taken to be as good as the best; of equals the first is taken.
[[nodiscard]] constexpr std::size_t fastest_mirror(std::span<mirror_state const> all) noexcept {
    double most = 0;
    for (mirror_state const& m : all) most = std::max(most, m.rate);
    auto const untried = [](mirror_state const& m) { return m.lanes == 0 && m.rate == 0; };
    auto const rate = [most](mirror_state const& m) { return m.rate == 0 ? most : m.rate; };
    auto const better = [&](mirror_state const& a, mirror_state const& b) {
        if (a.failures != b.failures) return a.failures < b.failures;
        if (untried(a) != untried(b)) return untried(a);
        if (rate(a) != rate(b)) return rate(a) > rate(b);
        return a.lanes < b.lanes;
    };
    std::size_t best = 0;
    for (std::size_t i = 1; i < all.size(); ++i)
        if (better(all[i], all[best])) best = i;
    return best;
}

/// What the rule chooses, where it does.
template <lane_rule L>
[[nodiscard]] std::size_t choose_mirror(L& rule, std::span<mirror_state const> all) noexcept {
    if constexpr (requires { { rule.choose(all) } noexcept -> std::same_as<std::size_t>; })
        return std::min(rule.choose(all), all.size() - 1);
    else
        return fastest_mirror(all);
}

} // namespace cleave
