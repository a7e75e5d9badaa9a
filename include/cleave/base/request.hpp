// SPDX-License-Identifier: BSL-1.0
//
// What the caller wants: which object, which part of it, with which headers, and how long it may
// take. How it is done is the policies' business.
#pragma once

#include <cleave/base/segment.hpp>
#include <cleave/base/url.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave {

/// A request header of the caller's. Checked before anything is sent: no CR, LF or NUL, and none
/// of those that the download itself sets.
struct header {
    std::string name;
    std::string value;
};

/// How long each step may take; all positive.
struct timeouts {
    /// Resolving the name and connecting, all addresses together.
    std::chrono::nanoseconds connect = std::chrono::seconds{15};
    /// From the request to the end of the response head.
    std::chrono::nanoseconds head = std::chrono::seconds{30};
    /// Without a single byte of a body.
    std::chrono::nanoseconds stall = std::chrono::seconds{30};
    /// The whole download; none unless set.
    std::optional<std::chrono::nanoseconds> deadline;
};

/// One object to download. Plain data; a URL that cannot be read is reported by the download.
struct request {
    request() = default;
    // Implicit, so that `{url}` and a plain string do where a request is asked for.
    request(std::string_view text) { target = url::parse(text, url_error); }
    request(std::string const& text) : request(std::string_view{text}) {}
    request(char const* text) : request(std::string_view{text}) {}
    request(url where) : target(std::move(where)) {}

    url target;
    /// Why `target` could not be read from the text given; no error when it could.
    std::error_code url_error;
    /// Further places where the same object is to be had. Each must have it in the same size. Their
    /// bytes are joined where a digest is expected, of the whole or of pieces; else one place after
    /// the other is used, and the download begins again where it must change to the next. Headers
    /// and credentials are for the origin of `target`, as after a redirect.
    std::vector<url> mirrors;
    std::vector<header> headers;
    std::string user_agent = "cleave";
    /// The part of the object that is wanted; the whole unless set. A `last` beyond the end of the
    /// object is taken as its end.
    std::optional<segment> part;
    cleave::timeouts timeouts;
    /// How long `target` may be used, where it is signed for a time: counted from the start of the
    /// download, or from when a request source gave it. Shortly before that a fresh one is asked
    /// for, where one can be had.
    std::optional<std::chrono::nanoseconds> valid_for;
    /// How often the download may begin again because the object has changed on the server. Without
    /// leave, that ends it.
    std::uint32_t new_versions = 0;
    /// Objects larger than this are refused before a byte is written.
    std::uint64_t max_size = std::uint64_t{1} << 62;
    /// Seed of the jitter in waiting times, so that a run can be repeated; 0 takes a random one.
    std::uint64_t seed = 0;

    /// Asks for a part of the object only, both ends included.
    request& only(segment bytes) & {
        part = bytes;
        return *this;
    }
    request&& only(segment bytes) && { return std::move(only(bytes)); }

    /// Adds a mirror, a further URL of the same object.
    request& with_mirror(std::string_view text) & {
        std::error_code ec;
        mirrors.push_back(url::parse(text, ec));
        if (ec && !url_error) url_error = ec;
        return *this;
    }
    request&& with_mirror(std::string_view text) && { return std::move(with_mirror(text)); }

    /// Sends Basic credentials with `target` (RFC 7617), which must be set before: in place of
    /// those in its URL. Any bytes but control characters, and no colon in the name; else the
    /// download ends with `error::bad_url`.
    request& with_credentials(std::string_view user, std::string_view password) & {
        std::error_code ec;
        target.set_userinfo(user, password, ec);
        if (ec && !url_error) url_error = ec;
        return *this;
    }
    request&& with_credentials(std::string_view user, std::string_view password) && {
        return std::move(with_credentials(user, password));
    }

    /// Sends a bearer token with `target` (RFC 6750, section 2.1).
    request& with_bearer(std::string_view token) & {
        return with_header("Authorization", "Bearer " + std::string{token});
    }
    request&& with_bearer(std::string_view token) && { return std::move(with_bearer(token)); }

    /// Adds a request header.
    request& with_header(std::string name, std::string value) & {
        headers.push_back({std::move(name), std::move(value)});
        return *this;
    }
    request&& with_header(std::string name, std::string value) && {
        return std::move(with_header(std::move(name), std::move(value)));
    }
};

} // namespace cleave
