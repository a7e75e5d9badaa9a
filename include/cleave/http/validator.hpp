// SPDX-License-Identifier: BSL-1.0
//
// Reads what a reply says of its object's version: strong and weak ETags, and Last-Modified where
// that can be relied on. Compares nothing: that is admit's.
#pragma once

#include <cleave/base/identity.hpp>
#include <cleave/http/date.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/text.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cleave {

namespace detail {

/// Longer ones are taken as none: they would have to be sent back with every request.
inline constexpr std::size_t longest_etag = 1024;

/// DQUOTE *etagc DQUOTE (RFC 9110, section 8.8.3): no control characters, spaces or quotes within.
[[nodiscard]] constexpr bool etag_is_strong(std::string_view text) noexcept {
    if (text.size() < 2 || text.size() > longest_etag || text.front() != '"' || text.back() != '"')
        return false;
    for (char const c : text.substr(1, text.size() - 2)) {
        auto const byte = static_cast<unsigned char>(c);
        if (byte < 0x21 || byte == 0x22 || byte == 0x7f) return false;
    }
    return true;
}
/// The same with "W/" before it, in upper case.
[[nodiscard]] constexpr bool etag_is_weak(std::string_view text) noexcept {
    return text.size() <= longest_etag && text.starts_with("W/") && etag_is_strong(text.substr(2));
}

/// A validator's text, not yet copied.
struct validator_view {
    validator::kind is = validator::kind::none;
    std::string_view text;
};

[[nodiscard]] inline validator_view view_validator(response_head const& head) noexcept {
    if (auto const etag = single(head, "ETag"); etag && etag_is_strong(*etag))
        return {validator::kind::strong_etag, *etag};
    auto const modified = single(head, "Last-Modified");
    auto const date = single(head, "Date");
    if (!modified || !date) return {};
    auto const changed = parse_http_date(*modified);
    auto const sent = parse_http_date(*date);
    if (!changed || !sent || *sent <= *changed) return {};
    return {validator::kind::last_modified, *modified};
}

} // namespace detail

/// The reply's `W/"..."`; empty where there is none, or more than one ETag.
[[nodiscard]] inline std::string_view weak_etag(response_head const& head) noexcept {
    auto const etag = detail::single(head, "ETag");
    return etag && detail::etag_is_weak(*etag) ? *etag : std::string_view{};
}

/// The best validator that a reply offers: its strong ETag, else its Last-Modified where that is
/// strong, else none.
///
/// An ETag counts when there is exactly one, of the grammar of RFC 9110, section 8.8.3, and not
/// above 1 KiB. Last-Modified is strong by section 8.8.2.2 when the reply's Date is at least one
/// second later: an object that changed twice in one second would otherwise look the same. Note
/// section 13.1.5: while there is a weak ETag, a Last-Modified is for comparing only, and not to be
/// sent in If-Range.
[[nodiscard]] inline validator read_validator(response_head const& head) {
    detail::validator_view const view = detail::view_validator(head);
    return {view.is, std::string{view.text}};
}

/// Fills in validator and weak ETag, into the strings that are there already. The size is cleared:
/// which field tells it depends on the status, and so it is admit's to set.
inline void read_identity(response_head const& head, identity& to) {
    detail::validator_view const view = detail::view_validator(head);
    to.size.reset();
    to.validator.is = view.is;
    to.validator.text.assign(view.text);
    to.weak_etag.assign(weak_etag(head));
}

} // namespace cleave
