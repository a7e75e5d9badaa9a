// SPDX-License-Identifier: BSL-1.0
//
// Letters and digits as protocols write them. Those of <cctype> follow the locale, and may be other
// bytes as well.
#pragma once

namespace cleave::detail {

[[nodiscard]] constexpr bool ascii_is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
[[nodiscard]] constexpr bool ascii_is_letter(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
/// What is no capital letter stays as it is.
[[nodiscard]] constexpr char ascii_lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
/// The value of a hexadecimal digit of either case, or -1.
[[nodiscard]] constexpr int ascii_hex(char c) noexcept {
    if (ascii_is_digit(c)) return c - '0';
    char const l = ascii_lower(c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

} // namespace cleave::detail
