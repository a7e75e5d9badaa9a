// SPDX-License-Identifier: BSL-1.0
//
// What a failure is about, where going on depends on it: another attempt, the ranges, the object or
// the server. Looks at the failure alone; knows no lanes, mirrors or renewal rules.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>

#include <system_error>

namespace cleave {

/// Whether another attempt of the kind would be in vain, whatever a rule says.
[[nodiscard]] constexpr bool pointless(cause c) noexcept {
    return c != cause::passing && c != cause::protocol;
}

/// Whether a server does not want this lane, or not now: with fewer lanes it may.
[[nodiscard]] inline bool is_refusal(failure const& what) noexcept {
    if (what.code == error::too_many_requests || what.code == error::server_busy) return true;
    if (what.where != phase::connect && what.where != phase::head) return false;
    return what.code == error::closed_before_reply || what.code == std::errc::connection_refused ||
           what.code == std::errc::connection_reset;
}

/// Whether a server cannot be trusted with ranges: one that is asked for all of it may do.
[[nodiscard]] inline bool is_about_ranges(std::error_code ec) noexcept {
    return ec == error::range_ignored || ec == error::range_missing ||
           ec == error::range_mismatch || ec == error::length_mismatch ||
           ec == error::bad_content_range || ec == error::multipart_reply ||
           ec == error::validator_missing;
}

/// Whether what an earlier run left is of another object, or cannot be gone on with: so says the
/// reply to the first request of a run.
[[nodiscard]] inline bool is_of_another_object(failure const& what) noexcept {
    return what.kind == cause::identity_changed || what.code == error::range_ignored ||
           what.code == error::validator_missing || what.code == error::range_not_satisfiable;
}

/// Whether the server, or the way to it, is to blame: another mirror may do.
[[nodiscard]] inline bool is_of_server(failure const& what) noexcept {
    return (what.where == phase::connect || what.where == phase::head ||
            what.where == phase::body) &&
           what.kind != cause::storage && what.kind != cause::cancelled;
}

} // namespace cleave
