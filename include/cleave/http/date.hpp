// SPDX-License-Identifier: BSL-1.0
//
// Reads the dates of HTTP fields. Asks no clock, and knows no time zone but GMT.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/http/text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cleave {

/// Reads an HTTP-date (RFC 9110, section 5.6.7) as seconds since 1970-01-01 00:00:00 UTC.
///
/// All three forms: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT" and
/// "Sun Nov  6 08:49:37 1994", case and spaces exactly so. Two-digit years are taken as 1970 to
/// 2069, since "50 years ahead" cannot be told without a clock. The day's name must be one, but is
/// not held against the date. Second 60, a leap second, counts as the first of the next minute.
[[nodiscard]] constexpr std::optional<std::int64_t> parse_http_date(std::string_view text) noexcept;

namespace detail {

inline constexpr std::array<std::string_view, 7> date_days = {
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
inline constexpr std::array<std::string_view, 12> date_months = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// Takes fixed parts off the front of a text; after one that does not fit, nothing does.
struct date_reader {
    std::string_view rest;
    bool good = true;

    constexpr void literal(std::string_view what) noexcept {
        good = good && rest.starts_with(what);
        if (good) rest.remove_prefix(what.size());
    }
    constexpr int number(std::size_t digits) noexcept {
        int value = 0;
        good = good && rest.size() >= digits;
        for (std::size_t i = 0; good && i < digits; ++i) {
            good = ascii_is_digit(rest[i]);
            value = value * 10 + (rest[i] - '0');
        }
        if (good) rest.remove_prefix(digits);
        return value;
    }
    /// 1 to 12.
    constexpr int month() noexcept {
        for (std::size_t i = 0; good && i < date_months.size(); ++i) {
            if (!rest.starts_with(date_months[i])) continue;
            rest.remove_prefix(date_months[i].size());
            return static_cast<int>(i) + 1;
        }
        good = false;
        return 0;
    }
    /// Seconds of the day.
    constexpr int time() noexcept {
        int const hour = number(2);
        literal(":");
        int const minute = number(2);
        literal(":");
        int const second = number(2);
        good = good && hour < 24 && minute < 60 && second <= 60;
        return (hour * 60 + minute) * 60 + second;
    }
};

/// Days from 1970-01-01 to a day of the Gregorian calendar, `year` from 0 on.
[[nodiscard]] constexpr std::int64_t date_days_since_1970(int year, int month, int day) noexcept {
    // Years are counted from March on, so that the leap day is a year's last.
    std::int64_t const y = month > 2 ? year : year - 1;
    std::int64_t const m = month > 2 ? month - 3 : month + 9;
    std::int64_t const leap_days = y >= 0 ? y / 4 - y / 100 + y / 400 : -1;
    return y * 365 + leap_days + (m * 153 + 2) / 5 + day - 1 - 719468;
}

[[nodiscard]] constexpr int date_days_of(int year, int month) noexcept {
    if (month == 2) return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

} // namespace detail

constexpr std::optional<std::int64_t> parse_http_date(std::string_view text) noexcept {
    std::size_t const end = text.find_first_of(", ");
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view const name = text.substr(0, end);
    bool full_name = false;
    bool short_name = false;
    for (std::string_view const day : detail::date_days) {
        full_name = full_name || name == day;
        short_name = short_name || name == day.substr(0, 3);
    }
    if (!full_name && !short_name) return std::nullopt;

    detail::date_reader read{text.substr(end)};
    int year = 0, month = 0, day = 0, seconds = 0;
    if (short_name && read.rest[0] == ',') {
        read.literal(", ");
        day = read.number(2);
        read.literal(" ");
        month = read.month();
        read.literal(" ");
        year = read.number(4);
        read.literal(" ");
        seconds = read.time();
        read.literal(" GMT");
    } else if (full_name) {
        read.literal(", ");
        day = read.number(2);
        read.literal("-");
        month = read.month();
        read.literal("-");
        year = read.number(2);
        year += year < 70 ? 2000 : 1900;
        read.literal(" ");
        seconds = read.time();
        read.literal(" GMT");
    } else {
        read.literal(" ");
        month = read.month();
        read.literal(" ");
        if (read.rest.starts_with(' ')) {
            read.literal(" ");
            day = read.number(1);
        } else {
            day = read.number(2);
        }
        read.literal(" ");
        seconds = read.time();
        read.literal(" ");
        year = read.number(4);
    }
    if (!read.good || !read.rest.empty()) return std::nullopt;
    if (day < 1 || day > detail::date_days_of(year, month)) return std::nullopt;
    return detail::date_days_since_1970(year, month, day) * 86400 + seconds;
}

} // namespace cleave
