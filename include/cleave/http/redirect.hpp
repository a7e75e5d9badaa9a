// SPDX-License-Identifier: BSL-1.0
//
// Where a redirect leads, and what may go there. Reads the Location of a reply against the URL that
// was asked; whether and how often to follow is not decided here.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/text.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

namespace cleave {

/// Whether a reply of this status says that the object is to be had elsewhere, by GET:
/// RFC 9110, section 15.4. Not 300, which has no one target, nor 304.
[[nodiscard]] constexpr bool is_redirect(int status) noexcept {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/// Whether two URLs have one origin: scheme, host and port (RFC 9110, section 4.3.1). What was
/// given for one origin, credentials, cookies and headers, is for no other.
[[nodiscard]] inline bool same_origin(url const& a, url const& b) noexcept {
    return a.scheme() == b.scheme() && a.host() == b.host() && a.port() == b.port();
}

namespace detail {

/// Removes "." and ".." from a path that begins with a slash (RFC 3986, section 5.2.4).
[[nodiscard]] inline std::string without_dots(std::string_view path) {
    std::string to;
    while (!path.empty()) {
        std::size_t const end = std::min(path.find('/', 1), path.size());
        std::string_view const part = path.substr(0, end);
        bool const last = end == path.size();
        path.remove_prefix(end);
        if (part == "/.") {
            if (last) to += '/';
        } else if (part == "/..") {
            to.erase(std::min(to.rfind('/'), to.size()));
            if (last) to += '/';
        } else {
            to += part;
        }
    }
    return to.empty() ? "/" : to;
}

/// "http://host:port", as it would be written.
[[nodiscard]] inline std::string origin_of(url const& from) {
    std::string to{from.scheme()};
    to += "://";
    from.append_host_field(to);
    return to;
}

} // namespace detail

/// Reads `reference` against `base` (RFC 3986, section 5.2): absolute, network-path, absolute path,
/// relative path or query. A fragment is dropped. Answers with an empty URL, and `ec` as
/// `url::parse` sets it, where that makes no URL.
[[nodiscard]] inline url resolve(url const& base, std::string_view reference, std::error_code& ec) {
    reference = reference.substr(0, reference.find('#'));
    // A scheme ends at the first colon, which no slash or question mark comes before.
    std::size_t const colon = reference.find_first_of(":/?");
    if (colon != std::string_view::npos && reference[colon] == ':')
        return url::parse(reference, ec);
    if (reference.starts_with("//"))
        return url::parse(std::string{base.scheme()} + ":" + std::string{reference}, ec);

    std::string_view const whole = base.target();
    std::string_view const path = whole.substr(0, whole.find('?'));
    std::string_view const query =
        reference.substr(std::min(reference.find('?'), reference.size()));
    std::string_view const relative = reference.substr(0, reference.size() - query.size());
    std::string target;
    if (reference.empty())
        target = whole;
    else if (relative.empty())
        target = std::string{path} + std::string{query};
    else if (relative.starts_with('/'))
        target = detail::without_dots(relative) + std::string{query};
    else
        target = detail::without_dots(std::string{path.substr(0, path.rfind('/') + 1)} +
                                      std::string{relative}) +
                 std::string{query};
    return url::parse(detail::origin_of(base) + target, ec);
}

/// Where the reply redirects a request for `asked`. Empty, with an error, where there is no one
/// Location (`error::bad_redirect`), where it makes no URL that may be followed (the same), leads
/// from https to http (`error::redirect_to_plain`), or carries userinfo, which the server has no
/// business to give (`error::bad_redirect`). Userinfo of `asked` goes along within its origin.
[[nodiscard]] inline url redirect_target(url const& asked, response_head const& head,
                                         std::error_code& ec) {
    std::string_view location;
    for (field const& f : head.fields()) {
        if (!detail::http_same(f.name, "Location")) continue;
        if (!location.empty() && location != f.value) {
            ec = error::bad_redirect;
            return {};
        }
        location = f.value;
    }
    url to = location.empty() ? url{} : resolve(asked, location, ec);
    if (to.empty() || !to.userinfo().empty()) {
        ec = error::bad_redirect;
        return {};
    }
    if (asked.scheme() == "https" && to.scheme() == "http") {
        ec = error::redirect_to_plain;
        return {};
    }
    if (same_origin(asked, to)) to.take_userinfo(asked);
    return to;
}

} // namespace cleave
