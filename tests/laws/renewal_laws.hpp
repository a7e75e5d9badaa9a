// SPDX-License-Identifier: BSL-1.0
//
// The laws of renewal rules (renew/concept.hpp) for any rule, a user's own too. Answers with the
// law that was broken, or with an empty text.

#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/renew/concept.hpp>

#include <laws/random.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace cleave_test {

/// Law 1, that every run of failures that brings no byte ends in `give_up`, here within `most`
/// failures, and law 2, that `after` is never negative and never ends before `Retry-After`.
template <cleave::renewal_rule R>
[[nodiscard]] std::string broken_renewal(R& rule, random_source& random, std::uint32_t most) {
    using answer = cleave::renewal::answer;
    for (std::uint32_t tries = 1; tries <= most; ++tries) {
        cleave::failure what = cleave::failure::of(cleave::error::server_busy, cleave::phase::head);
        if (random.chance(50)) {
            constexpr std::int64_t longest = std::chrono::seconds::max().count();
            auto const any = static_cast<std::int64_t>(random() >> (1 + random.below(63)));
            what.retry_after = std::chrono::seconds{any % longest};
        }
        std::optional<std::chrono::nanoseconds> left;
        if (random.chance(30))
            left = std::chrono::nanoseconds{static_cast<std::int64_t>(random() >> 1)};
        cleave::renewal const a = rule.decide({what, tries, 0, left, random()});
        if (a.is == answer::give_up) return {};
        if (a.after.count() < 0) return "after is never negative";
        // Compared in seconds, in which both fit.
        if (what.retry_after &&
            std::chrono::ceil<std::chrono::seconds>(a.after) < *what.retry_after)
            return "after never ends before Retry-After";
    }
    return "every run of failures that brings no byte ends";
}

} // namespace cleave_test
