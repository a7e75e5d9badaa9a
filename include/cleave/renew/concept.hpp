// SPDX-License-Identifier: BSL-1.0
//
// After a failure: when to go on, how, or never. A renewal goes on from the last byte received.
#pragma once

#include <cleave/base/failure.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>

namespace cleave {

/// What a renewal rule may look at.
struct renewal_state {
    failure const& what;
    /// Failures of this lane in a row, this one included, since it last brought a new byte.
    std::uint32_t tries = 1;
    /// New bytes that the failed attempt brought.
    std::uint64_t bytes = 0;
    /// Until the deadline of the whole download, if it has one.
    std::optional<std::chrono::nanoseconds> time_left{};
    /// Random bits for jitter, from the seed of the request.
    std::uint64_t random = 0;
    /// New bytes of the whole download, over all lanes, and how long ago the last one came; since
    /// the start where none has come.
    std::uint64_t received = 0;
    std::chrono::nanoseconds idle{0};
    /// Whether a server has told what the object is.
    bool object_known = false;
    /// Whether a fresh request can be had, and how many have been had since the last new byte.
    bool can_refresh = false;
    std::uint32_t refreshed = 0;
};

/// A renewal rule's answer.
struct renewal {
    enum class answer : std::uint8_t {
        again,         ///< go on after `after`, over the same connection where that still serves
        elsewhere,     ///< go on after `after`, over a new connection
        fresh_request, ///< go on with a fresh URL or fresh credentials, as soon as they are there
        give_up,       ///< this lane ends; the download too, unless other lanes still go
    };
    answer is = answer::give_up;
    std::chrono::nanoseconds after{0};

    friend constexpr bool operator==(renewal const&, renewal const&) noexcept = default;
};

/// A renewal rule `r`.
///
/// | expression    | meaning                                        |
/// |---------------|------------------------------------------------|
/// | `r.decide(s)` | what to do now, as `renewal`; `noexcept`       |
///
/// Laws:
/// 1. Every run of failures that brings no byte ends in `give_up`.
/// 2. `after` is never negative, and of `again` and `elsewhere` never ends before the server's
///    `Retry-After`.
/// 3. `fresh_request` is an answer only where one can be had. Any other answer than that or
///    `give_up` to a cause `renewable` counts as `give_up`.
///
/// Not asked where going on is pointless whatever the rule: causes `configuration`, `permanent`,
/// `identity_changed`, `storage` and `cancelled` end the download at once, and so does `renewable`
/// where no fresh request can be had. While no lane receives anything, one at a time finds out
/// whether the server is back; the others wait for it.
/// Called on the download's strand; must not block or allocate. Models: `backoff`, `give_up`.
template <class R>
concept renewal_rule = std::move_constructible<R> && requires(R& r, renewal_state const& s) {
    { r.decide(s) } noexcept -> std::same_as<renewal>;
};

} // namespace cleave
