// SPDX-License-Identifier: BSL-1.0
//
// Writes a request's head: what to get, which part of it, and the caller's headers, checked so that
// none of them can say more than it seems to. Sends nothing and knows no replies.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/url.hpp>
#include <cleave/http/date.hpp>
#include <cleave/http/text.hpp>
#include <cleave/http/validator.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace cleave {

namespace detail {

inline constexpr std::string_view reserved_headers[] = {
    // What the download itself sets.
    "Host", "Range", "If-Range", "Content-Length", "Transfer-Encoding", "Accept-Encoding", "TE",
    "Connection",
    // What else is said between two hops only, or wants an answer before the reply.
    "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Trailer", "Upgrade", "Expect"};

} // namespace detail

/// Whether the caller's headers may be sent: `error::bad_header` for a name that is no token or a
/// value with CR, LF, NUL or another control character (RFC 9110, section 5.5), and
/// `error::reserved_header` for one that the download itself must set. Names are compared without
/// regard to case.
[[nodiscard]] inline std::error_code check_headers(std::span<header const> headers,
                                                   std::string_view user_agent) noexcept {
    if (!detail::http_all(user_agent, detail::http_text)) return error::bad_header;
    for (header const& h : headers) {
        if (h.name.empty() || !detail::http_all(h.name, detail::http_token) ||
            !detail::http_all(h.value, detail::http_text))
            return error::bad_header;
        for (std::string_view const reserved : detail::reserved_headers)
            if (detail::http_same(h.name, reserved)) return error::reserved_header;
    }
    return {};
}

/// A proxy that is to pass requests on, and must be told where to (RFC 9112, section 3.2.2).
struct proxy_hop {
    /// The value of Proxy-Authorization (RFC 9110, section 11.7.2), a secret; left out where empty.
    std::string authorization;
};

/// What one request says.
struct request_fields {
    url const& target;
    /// The bytes asked for, where only a part is; `max_offset` as `last` asks for all that follow.
    std::optional<segment> range;
    /// The version of which a part is asked for; may be null.
    validator const* if_range;
    std::span<header const> headers;
    /// Left out where empty.
    std::string_view user_agent;
    /// Whom the connection ends at, where that is not the origin; may be null.
    proxy_hop const* proxy = nullptr;
};

namespace detail {

inline void append_number(std::string& to, std::uint64_t n) {
    std::array<char, 20> digits;
    auto const end = std::to_chars(digits.data(), digits.data() + digits.size(), n).ptr;
    to.append(digits.data(), end);
}

inline void append_field(std::string& to, std::string_view name, std::string_view value) {
    to += name;
    to += ": ";
    to += value;
    to += "\r\n";
}

/// Base64 of the percent-decoded user and password (RFC 7617, section 2; RFC 4648, section 4), with
/// the colon between them also where the URL has only a user.
inline void append_basic_credentials(std::string& to, std::string_view userinfo) {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::uint32_t bits = 0;
    unsigned held = 0;
    auto const put = [&](unsigned char byte) {
        bits = bits << 8 | byte;
        held += 8;
        for (; held >= 6; held -= 6) to += alphabet[bits >> (held - 6) & 63];
    };
    std::size_t const from = to.size();
    for (std::size_t i = 0; i < userinfo.size(); ++i) {
        int const triple = url_triple(userinfo, i);
        put(triple < 0 ? static_cast<unsigned char>(userinfo[i])
                       : static_cast<unsigned char>(triple));
        if (triple >= 0) i += 2;
    }
    if (userinfo.find(':') == std::string_view::npos) put(':');
    if (held != 0) to += alphabet[bits << (6 - held) & 63];
    while ((to.size() - from) % 4 != 0) to += '=';
}

} // namespace detail

/// Writes a GET request's head behind what `to` holds (RFC 9112, section 3; RFC 9110, sections 7.2,
/// 12.5.3, 13.1.5 and 14.2).
///
/// The caller's headers must have passed `check_headers`. One of theirs named User-Agent, Accept or
/// Authorization stands in place of the request's own. If-Range is written only beside a Range, and
/// only for a strong ETag or a Last-Modified.
inline void append_request_head(std::string& to, request_fields const& fields) {
    auto const given = [&](std::string_view name) {
        return std::any_of(fields.headers.begin(), fields.headers.end(),
                           [&](header const& h) { return detail::http_same(h.name, name); });
    };
    to += "GET ";
    if (fields.proxy != nullptr) {
        to += fields.target.scheme();
        to += "://";
        fields.target.append_host_field(to);
    }
    to += fields.target.target();
    to += " HTTP/1.1\r\n";

    to += "Host: ";
    fields.target.append_host_field(to);
    to += "\r\n";

    if (!fields.user_agent.empty() && !given("User-Agent"))
        detail::append_field(to, "User-Agent", fields.user_agent);
    if (!given("Accept")) detail::append_field(to, "Accept", "*/*");
    detail::append_field(to, "Accept-Encoding", "identity");

    if (fields.range) {
        to += "Range: bytes=";
        detail::append_number(to, fields.range->first);
        to += '-';
        if (fields.range->last != max_offset) detail::append_number(to, fields.range->last);
        to += "\r\n";
        if (validator const* const v = fields.if_range) {
            // The text came from a server, perhaps by way of a journal: it is checked once more.
            bool const good =
                (v->is == validator::kind::strong_etag && detail::etag_is_strong(v->text)) ||
                (v->is == validator::kind::last_modified && parse_http_date(v->text));
            if (good) detail::append_field(to, "If-Range", v->text);
        }
    }
    for (header const& h : fields.headers) detail::append_field(to, h.name, h.value);
    if (!fields.target.userinfo().empty() && !given("Authorization")) {
        to += "Authorization: Basic ";
        detail::append_basic_credentials(to, fields.target.userinfo());
        to += "\r\n";
    }
    if (fields.proxy != nullptr && !fields.proxy->authorization.empty())
        detail::append_field(to, "Proxy-Authorization", fields.proxy->authorization);
    to += "\r\n";
}

/// The value of an Authorization or Proxy-Authorization field (RFC 7617, section 2) for userinfo as
/// a URL has it.
[[nodiscard]] inline std::string basic_credentials(std::string_view userinfo) {
    std::string to = "Basic ";
    detail::append_basic_credentials(to, userinfo);
    return to;
}

} // namespace cleave
