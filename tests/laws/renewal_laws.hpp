// SPDX-License-Identifier: BSL-1.0
//
// The laws of renewal rules (renew/concept.hpp) for any rule, a user's own too. Answers with the
// law that was broken, or with an empty text.

#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/renew/concept.hpp>

#include <laws/random.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace cleave_test {

/// A failure that a rule is asked about, as any server, network or source may bring it.
[[nodiscard]] inline cleave::failure any_failure(random_source& random, bool renewable) {
    using cleave::error;
    using cleave::failure;
    using cleave::phase;
    failure what = failure::of(error::server_busy, phase::head);
    switch (random.below(renewable ? 8 : 6)) {
    case 0: what = failure::of(error::too_many_requests, phase::head); break;
    case 1: what = failure::of(error::connect_timeout, phase::connect); break;
    case 2: what = failure::of(error::closed_in_body, phase::body); break;
    case 3: what = failure::of(error::range_mismatch, phase::head); break;
    case 4:
        what.code = std::make_error_code(std::errc::connection_refused);
        what.where = phase::connect;
        break;
    case 6: what = failure::of(error::forbidden, phase::head); break;
    case 7: what = failure::of(error::request_expires, phase::head); break;
    default: break;
    }
    if (what.kind != cleave::cause::renewable && random.chance(50)) {
        constexpr std::int64_t longest = std::chrono::seconds::max().count();
        auto const any = static_cast<std::int64_t>(random() >> (1 + random.below(63)));
        what.retry_after = std::chrono::seconds{any % longest};
    }
    return what;
}

/// A few lanes that fail in turns, none of which ever brings a byte. Law 1, that such a run ends in
/// `give_up`, here for each lane within `most` failures, law 2, that `after` is never negative and
/// never ends before `Retry-After`, and law 3, that `fresh_request` is an answer only where one can
/// be had.
template <cleave::renewal_rule R>
[[nodiscard]] std::string broken_renewal(R& rule, random_source& random, std::uint32_t most) {
    using answer = cleave::renewal::answer;
    std::vector<std::uint32_t> lanes(1 + random.index(4)); // the failures in a row of each
    bool const can_refresh = random.chance(50);
    bool const object_known = random.chance(50);
    std::uint64_t const received = random() >> random.below(64);
    std::chrono::nanoseconds idle{0};
    std::uint32_t refreshed = 0;
    while (!lanes.empty()) {
        auto const lane = lanes.begin() + static_cast<std::ptrdiff_t>(random.index(lanes.size()));
        if (++*lane > most) return "every run of failures that brings no byte ends";
        cleave::failure const what = any_failure(random, can_refresh);
        std::optional<std::chrono::nanoseconds> left;
        if (random.chance(30))
            left = std::chrono::nanoseconds{static_cast<std::int64_t>(random() >> 1)};
        cleave::renewal const a = rule.decide({.what = what,
                                               .tries = *lane,
                                               .time_left = left,
                                               .random = random(),
                                               .received = received,
                                               .idle = idle,
                                               .object_known = object_known,
                                               .can_refresh = can_refresh,
                                               .refreshed = refreshed});
        if (a.after.count() < 0) return "after is never negative";
        if (a.is == answer::fresh_request) {
            if (!can_refresh) return "fresh_request is an answer only where one can be had";
            ++refreshed;
        } else if (a.is == answer::give_up || what.kind == cleave::cause::renewable) {
            lanes.erase(lane);
            continue;
        }
        // Compared in seconds, in which both fit.
        if (what.retry_after &&
            std::chrono::ceil<std::chrono::seconds>(a.after) < *what.retry_after)
            return "after never ends before Retry-After";
        idle += std::min(a.after, std::chrono::nanoseconds::max() - idle);
    }
    return {};
}

} // namespace cleave_test
