// SPDX-License-Identifier: BSL-1.0
//
// One thing that went wrong: the code, what kind of cause it is, where it happened, and what the
// server said with it. Renewal rules decide by it, the report keeps it.
#pragma once

#include <cleave/base/error.hpp>

#include <cerrno>
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

/// For messages.
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

/// A failure with its particulars, for reports and messages.
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

    /// The particulars, what happened, and what to do: a line for people.
    [[nodiscard]] std::string message() const {
        std::string text = detail.empty() ? std::string{} : detail + ": ";
        text += code.message();
        // Our own messages end with the remedy already.
        if (code.category() != error_category()) text += std::string{"; "} + remedy();
        return text;
    }

    /// What to do about a code of the system, Asio or OpenSSL.
    [[nodiscard]] char const* remedy() const noexcept {
        if (code == std::errc::no_space_on_device) return "make room on the disk and try again";
        if (code == std::errc::permission_denied || code == std::errc::operation_not_permitted)
            return where == phase::sink ? "choose a target that may be written, or change its "
                                          "permissions"
                                        : "check firewall and permissions";
#if defined(EDQUOT)
        if (code == std::error_code{EDQUOT, std::generic_category()} ||
            code == std::error_code{EDQUOT, std::system_category()})
            return "make room within the disk quota, or have it raised, and try again";
#endif
        if (code == std::errc::read_only_file_system)
            return "choose a target on a file system that can be written";
        if (code == std::errc::no_such_file_or_directory && where == phase::sink)
            return "create the target's directory first";
        if (code == std::errc::file_too_large)
            return "choose a file system, or a limit, that allows files of this size";
        if (code == std::errc::connection_refused)
            return "check host and port, and that the server is running";
        switch (where) {
        case phase::setup: return "check the settings";
        case phase::connect: return "check the host's name, the port and the network";
        case phase::head:
        case phase::body: return "check the network and try again";
        case phase::sink: return "check the target and its disk";
        case phase::verify: return "check the hashing library";
        }
        return "try again";
    }
};

} // namespace cleave
