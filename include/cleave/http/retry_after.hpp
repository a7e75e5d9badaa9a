// SPDX-License-Identifier: BSL-1.0
//
// Reads Retry-After, the field by which a server says when to ask again. Asks no clock, and waits
// for nothing.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/http/date.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/text.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cleave {

/// How long the server asks to wait (RFC 9110, section 10.2.3): 0 for a time that has passed, at
/// most 24 hours. A date is held against the reply's own Date, for clocks differ. None where the
/// field is absent, doubled or unreadable, or a date comes without a Date.
[[nodiscard]] inline std::optional<std::chrono::seconds>
read_retry_after(response_head const& head) noexcept {
    constexpr std::int64_t most = 24 * 60 * 60;
    auto const value = detail::single(head, "Retry-After");
    if (!value) return std::nullopt;

    if (!value->empty() && std::all_of(value->begin(), value->end(), detail::ascii_is_digit)) {
        auto const delay = detail::http_number(*value);
        bool const fits = delay && *delay < static_cast<std::uint64_t>(most);
        return std::chrono::seconds{fits ? static_cast<std::int64_t>(*delay) : most};
    }
    auto const date = detail::single(head, "Date");
    auto const until = parse_http_date(*value);
    auto const now = date ? parse_http_date(*date) : std::nullopt;
    if (!until || !now) return std::nullopt;
    return std::chrono::seconds{std::clamp<std::int64_t>(*until - *now, 0, most)};
}

} // namespace cleave
