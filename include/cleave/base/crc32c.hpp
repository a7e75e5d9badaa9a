// SPDX-License-Identifier: BSL-1.0
//
// CRC-32C (Castagnoli; RFC 9260, appendix A): tells damaged bytes from whole ones. Not against
// somebody who means harm: that takes a digest.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cleave {

namespace detail {

inline constexpr std::uint32_t crc32c_polynomial = 0x82f63b78; // bits reversed

/// tables[k][b]: the remainder of byte b followed by k bytes of zeros.
inline constexpr auto crc32c_tables = [] {
    std::array<std::array<std::uint32_t, 256>, 8> t{};
    for (std::uint32_t b = 0; b != 256; ++b) {
        std::uint32_t crc = b;
        for (int i = 0; i != 8; ++i) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? crc32c_polynomial : 0);
        t[0][b] = crc;
    }
    for (std::size_t k = 1; k != 8; ++k)
        for (std::size_t b = 0; b != 256; ++b)
            t[k][b] = (t[k - 1][b] >> 8U) ^ t[0][t[k - 1][b] & 0xffU];
    return t;
}();

[[nodiscard]] inline std::uint32_t crc32c_by_table(std::byte const* at, std::size_t n,
                                                   std::uint32_t crc) noexcept {
    auto const& t = crc32c_tables;
    auto const byte = [&at](std::size_t i) { return std::to_integer<std::uint32_t>(at[i]); };
    for (; n >= 8; n -= 8, at += 8) {
        crc ^= byte(0) | byte(1) << 8U | byte(2) << 16U | byte(3) << 24U;
        crc = t[7][crc & 0xffU] ^ t[6][(crc >> 8U) & 0xffU] ^ t[5][(crc >> 16U) & 0xffU] ^
              t[4][crc >> 24U] ^ t[3][byte(4)] ^ t[2][byte(5)] ^ t[1][byte(6)] ^ t[0][byte(7)];
    }
    for (; n != 0; --n, ++at) crc = (crc >> 8U) ^ t[0][(crc ^ byte(0)) & 0xffU];
    return crc;
}

// One instruction for eight bytes, where the processor has it.
#if defined(__x86_64__) && defined(__GNUC__)
[[nodiscard, gnu::target("sse4.2")]] inline std::uint32_t
crc32c_by_processor(std::byte const* at, std::size_t n, std::uint32_t crc) noexcept {
    std::uint64_t wide = crc;
    for (; n >= 8; n -= 8, at += 8) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, at, 8);
        wide = __builtin_ia32_crc32di(wide, eight);
    }
    crc = static_cast<std::uint32_t>(wide);
    for (; n != 0; --n, ++at)
        crc = __builtin_ia32_crc32qi(crc, std::to_integer<unsigned char>(*at));
    return crc;
}
[[nodiscard]] inline bool crc32c_has_processor() noexcept {
    static bool const has = __builtin_cpu_supports("sse4.2") != 0;
    return has;
}
#else
[[nodiscard]] inline std::uint32_t crc32c_by_processor(std::byte const* at, std::size_t n,
                                                       std::uint32_t crc) noexcept {
    return crc32c_by_table(at, n, crc);
}
[[nodiscard]] inline bool crc32c_has_processor() noexcept { return false; }
#endif

/// Polynomials modulo the CRC's own, bits reversed: the product of two of them.
[[nodiscard]] constexpr std::uint32_t crc32c_multiply(std::uint32_t a, std::uint32_t b) noexcept {
    std::uint32_t product = 0;
    for (std::uint32_t bit = 0x80000000U; bit != 0; bit >>= 1U) {
        if ((a & bit) != 0) product ^= b;
        b = (b >> 1U) ^ ((b & 1U) != 0 ? crc32c_polynomial : 0);
    }
    return product;
}

} // namespace detail

/// The CRC-32C of `bytes`; or, given that of the bytes before them, of both.
[[nodiscard]] inline std::uint32_t crc32c(std::span<std::byte const> bytes,
                                          std::uint32_t before = 0) noexcept {
    return ~(detail::crc32c_has_processor()
                 ? detail::crc32c_by_processor(bytes.data(), bytes.size(), ~before)
                 : detail::crc32c_by_table(bytes.data(), bytes.size(), ~before));
}

/// The CRC-32C of two runs of bytes one behind the other, from that of each and the length of the
/// second.
[[nodiscard]] constexpr std::uint32_t crc32c_join(std::uint32_t first, std::uint32_t second,
                                                  std::uint64_t second_size) noexcept {
    // x^(8 * size), by squaring x^8; x^0 has the highest bit.
    std::uint32_t power = 0x80000000U >> 8U;
    std::uint32_t shift = 0x80000000U;
    for (; second_size != 0; second_size >>= 1U) {
        if ((second_size & 1U) != 0) shift = detail::crc32c_multiply(shift, power);
        power = detail::crc32c_multiply(power, power);
    }
    return detail::crc32c_multiply(shift, first) ^ second;
}

} // namespace cleave
