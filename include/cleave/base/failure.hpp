// SPDX-License-Identifier: BSL-1.0
//
// One thing that went wrong: the code, what kind of cause it is, where it happened, and what the
// server said with it. Renewal rules decide by it, the report keeps it.
#pragma once

#include <cleave/base/error.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace cleave {

/// Where in a download something happened.
enum class phase {
    setup,   ///< reading the request and the settings
    connect, ///< resolving, connecting, TLS
    head,    ///< sending a request, waiting for and judging its reply
    body,    ///< receiving bytes
    sink,    ///< writing, syncing, publishing
    verify,  ///< hashing and comparing
};

[[nodiscard]] constexpr char const* to_string(phase p) noexcept {
    switch (p) {
    case phase::setup: return "setup";
    case phase::connect: return "connect";
    case phase::head: return "head";
    case phase::body: return "body";
    case phase::sink: return "sink";
    case phase::verify: return "verify";
    }
    return "unknown";
}

struct failure {
    std::error_code code;
    /// As whoever met the code classified it.
    cause kind = cause::permanent;
    phase where = phase::setup;
    /// HTTP status, or 0 where there was none.
    int status = 0;
    /// How long the server asked to wait (RFC 9110, section 10.2.3).
    std::optional<std::chrono::seconds> retry_after;
    /// The particulars: which byte, which sizes. May be empty; never holds secrets.
    std::string detail;

    /// A failure with one of the library's own errors.
    [[nodiscard]] static failure of(error e, phase where, std::string detail = {}) {
        return {e, cause_of(e), where, 0, std::nullopt, std::move(detail)};
    }

    /// What happened, the particulars, and what to do: a line for people.
    [[nodiscard]] std::string message() const {
        return detail.empty() ? code.message() : detail + ": " + code.message();
    }
};

} // namespace cleave
