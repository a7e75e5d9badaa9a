// SPDX-License-Identifier: BSL-1.0
//
// Reads Content-Range, the field by which a reply says which bytes of the object it holds. Judges
// the value by itself; whether those bytes were asked for is admit's to say.
#pragma once

#include <cleave/base/segment.hpp>
#include <cleave/http/text.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cleave {

/// What a Content-Range says (RFC 9110, section 14.4). Never both members absent.
struct content_range {
    /// The bytes enclosed; none for "bytes */N", which answers that none can be sent.
    std::optional<segment> bytes;
    /// Bytes of the whole object; none for '*'.
    std::optional<std::uint64_t> total;

    friend constexpr bool operator==(content_range const&, content_range const&) = default;
};

/// Reads "bytes 0-499/1234", "bytes 0-499/*" or "bytes */1234", by the grammar and not a space
/// more; only the unit's case is free. None for everything else, for another unit, for numbers
/// beyond 2^64-1, and for what section 14.4 calls invalid: last before first, total not behind
/// last.
[[nodiscard]] constexpr std::optional<content_range>
parse_content_range(std::string_view text) noexcept {
    constexpr std::string_view unit = "bytes ";
    if (!detail::http_same(text.substr(0, unit.size()), unit)) return std::nullopt;
    text.remove_prefix(unit.size());

    std::size_t const slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    std::string_view const range = text.substr(0, slash);
    std::string_view const length = text.substr(slash + 1);

    content_range to;
    if (length != "*") {
        to.total = detail::http_number(length);
        if (!to.total) return std::nullopt;
    }
    if (range == "*") {
        if (!to.total) return std::nullopt;
        return to;
    }
    std::size_t const dash = range.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    auto const first = detail::http_number(range.substr(0, dash));
    auto const last = detail::http_number(range.substr(dash + 1));
    if (!first || !last || *last < *first) return std::nullopt;
    if (to.total && *to.total <= *last) return std::nullopt;
    to.bytes = segment{*first, *last};
    return to;
}

} // namespace cleave
