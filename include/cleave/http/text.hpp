// SPDX-License-Identifier: BSL-1.0
//
// The small grammar that all of HTTP's fields are written in: which bytes may stand where, names
// without regard to case, white space, decimal numbers, comma-separated lists. Knows no field by
// name, and no locale.
#pragma once

#include <cleave/base/ascii.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace cleave::detail {

inline constexpr std::uint8_t http_token = 1;
inline constexpr std::uint8_t http_text = 2;

/// What each byte may be part of: `http_token` (RFC 9110, section 5.6.2, "tchar"), `http_text`
/// (section 5.5: HTAB, SP, VCHAR and obs-text, which is all that a value or a reason may hold).
inline constexpr std::array<std::uint8_t, 256> http_bytes = [] {
    std::array<std::uint8_t, 256> to{};
    to[0x09] = http_text;
    for (std::size_t i = 0x20; i < 0x100; ++i) to[i] = i == 0x7f ? 0 : http_text;
    for (std::size_t i = '0'; i <= '9'; ++i) to[i] |= http_token;
    for (std::size_t i = 'a'; i <= 'z'; ++i) to[i] |= http_token;
    for (std::size_t i = 'A'; i <= 'Z'; ++i) to[i] |= http_token;
    for (char const c : std::string_view{"!#$%&'*+-.^_`|~"})
        to[static_cast<unsigned char>(c)] |= http_token;
    return to;
}();

[[nodiscard]] constexpr bool http_is(char c, std::uint8_t what) noexcept {
    return (http_bytes[static_cast<unsigned char>(c)] & what) != 0;
}
[[nodiscard]] constexpr bool http_all(std::string_view text, std::uint8_t what) noexcept {
    for (char const c : text)
        if (!http_is(c, what)) return false;
    return true;
}
/// The first byte from `at` on that is no `http_text`, or `end`.
[[nodiscard]] inline char const* http_text_end(char const* at, char const* end) noexcept {
#if defined(__SSE2__)
    __m128i const control = _mm_set1_epi8(0x1f);
    __m128i const tab = _mm_set1_epi8(0x09);
    __m128i const del = _mm_set1_epi8(0x7f);
    for (; end - at >= 16; at += 16) {
        __m128i bytes;
        std::memcpy(&bytes, at, sizeof bytes);
        __m128i const low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes);
        __m128i const bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low),
                                         _mm_cmpeq_epi8(bytes, del));
        if (auto const which = static_cast<unsigned>(_mm_movemask_epi8(bad)); which != 0)
            return at + std::countr_zero(which);
    }
#endif
    while (at != end && http_is(*at, http_text)) ++at;
    return at;
}

/// Equal without regard to the case of ASCII letters, as names of fields, units and codings are.
[[nodiscard]] constexpr bool http_same(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (ascii_lower(a[i]) != ascii_lower(b[i])) return false;
    return true;
}

/// Without optional white space, SP and HTAB, at both ends (RFC 9110, section 5.6.3).
[[nodiscard]] constexpr std::string_view http_trim(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

/// 1*DIGIT and nothing else; none also for what does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> http_number(std::string_view text) noexcept {
    if (text.empty()) return std::nullopt;
    std::uint64_t value = 0;
    for (char const c : text) {
        if (!ascii_is_digit(c)) return std::nullopt;
        auto const digit = static_cast<std::uint64_t>(c - '0');
        if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return std::nullopt;
        value = value * 10 + digit;
    }
    return value;
}

/// Whether each element of a comma-separated list (RFC 9110, section 5.6.1) passes a test, also
/// empty ones. Asks in order, and no further after one that does not. For lists without quoted
/// strings.
template <class Test>
[[nodiscard]] constexpr bool http_each_element(std::string_view list, Test test) {
    for (;;) {
        std::size_t const comma = list.find(',');
        if (!test(http_trim(list.substr(0, comma)))) return false;
        if (comma == std::string_view::npos) return true;
        list.remove_prefix(comma + 1);
    }
}

} // namespace cleave::detail
