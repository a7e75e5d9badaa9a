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

#if defined(__ARM_FEATURE_CRC32) && !defined(__ARM_BIG_ENDIAN)
#include <arm_acle.h>
#endif

namespace cleave {

namespace detail {

inline constexpr std::uint32_t crc32c_polynomial = 0x82f63b78; // bits reversed

/// tables[k][b]: the remainder of byte b followed by k bytes of zeros. Made when first needed: at
/// compile time, whoever includes this would wait for them.
[[nodiscard]] inline auto const& crc32c_tables() noexcept {
    static auto const tables = [] {
        std::array<std::array<std::uint32_t, 256>, 8> t{};
        for (std::uint32_t b = 0; b != 256; ++b) {
            std::uint32_t crc = b;
            for (int i = 0; i != 8; ++i)
                crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? crc32c_polynomial : 0);
            t[0][b] = crc;
        }
        for (std::size_t k = 1; k != 8; ++k)
            for (std::size_t b = 0; b != 256; ++b)
                t[k][b] = (t[k - 1][b] >> 8U) ^ t[0][t[k - 1][b] & 0xffU];
        return t;
    }();
    return tables;
}

[[nodiscard]] inline std::uint32_t crc32c_by_table(std::byte const* at, std::size_t n,
                                                   std::uint32_t crc) noexcept {
    auto const& t = crc32c_tables();
    auto const byte = [&at](std::size_t i) { return std::to_integer<std::uint32_t>(at[i]); };
    for (; n >= 8; n -= 8, at += 8) {
        crc ^= byte(0) | byte(1) << 8U | byte(2) << 16U | byte(3) << 24U;
        crc = t[7][crc & 0xffU] ^ t[6][(crc >> 8U) & 0xffU] ^ t[5][(crc >> 16U) & 0xffU] ^
              t[4][crc >> 24U] ^ t[3][byte(4)] ^ t[2][byte(5)] ^ t[1][byte(6)] ^ t[0][byte(7)];
    }
    for (; n != 0; --n, ++at) crc = (crc >> 8U) ^ t[0][(crc ^ byte(0)) & 0xffU];
    return crc;
}

/// Polynomials modulo the CRC's own, bits reversed: the product of two of them.
[[nodiscard]] constexpr std::uint32_t crc32c_multiply(std::uint32_t a, std::uint32_t b) noexcept {
    std::uint32_t product = 0;
    for (std::uint32_t bit = 0x80000000U; bit != 0; bit >>= 1U) {
        if ((a & bit) != 0) product ^= b;
        b = (b >> 1U) ^ ((b & 1U) != 0 ? crc32c_polynomial : 0);
    }
    return product;
}

// powers[k]: x^(8 * 2^k), each the square of the one before.
inline constexpr auto crc32c_powers = [] {
    std::array<std::uint32_t, 64> powers{};
    powers[0] = 0x80000000U >> 8U; // x^0 has the highest bit
    for (std::size_t k = 1; k != 64; ++k) powers[k] = crc32c_multiply(powers[k - 1], powers[k - 1]);
    return powers;
}();
// What a remainder becomes when n bytes of zeros follow it.
[[nodiscard]] constexpr std::uint32_t crc32c_past_zeros(std::uint32_t crc,
                                                        std::uint64_t n) noexcept {
    for (; n != 0; n &= n - 1)
        crc = crc32c_multiply(crc32c_powers[static_cast<std::size_t>(std::countr_zero(n))], crc);
    return crc;
}

// Some processors have an instruction for eight bytes. They can begin another one each cycle, but
// have its result two later: so three streams of this many bytes are taken side by side.
inline constexpr std::size_t crc32c_stream = 1024;

/// tables[k][b]: the remainder that has byte b in place k, once a stream of zeros has followed.
using crc32c_stream_table = std::array<std::array<std::uint32_t, 256>, 4>;
[[nodiscard]] inline crc32c_stream_table const& crc32c_stream_tables() noexcept {
    static crc32c_stream_table const tables = [] {
        crc32c_stream_table t{};
        for (std::size_t k = 0; k != 4; ++k)
            for (std::uint32_t b = 1; b != 256; ++b) {
                std::uint32_t const others = b & (b - 1); // all bits but the lowest
                t[k][b] = others != 0
                              ? t[k][others] ^ t[k][b ^ others]
                              : crc32c_past_zeros(b << static_cast<unsigned>(8 * k), crc32c_stream);
            }
        return t;
    }();
    return tables;
}
[[nodiscard]] inline std::uint32_t crc32c_past_stream(crc32c_stream_table const& t,
                                                      std::uint32_t crc) noexcept {
    return t[0][crc & 0xffU] ^ t[1][(crc >> 8U) & 0xffU] ^ t[2][(crc >> 16U) & 0xffU] ^
           t[3][crc >> 24U];
}

#if defined(__x86_64__) && defined(__GNUC__)
using crc32c_register = std::uint64_t; // the upper half is 0
[[nodiscard]] inline bool crc32c_has_processor() noexcept {
    static bool const has = __builtin_cpu_supports("sse4.2") != 0;
    return has;
}
[[nodiscard, gnu::target("sse4.2,crc32")]] inline crc32c_register
crc32c_eight(crc32c_register crc, std::uint64_t bytes) noexcept {
    return __builtin_ia32_crc32di(crc, bytes);
}
[[nodiscard, gnu::target("sse4.2,crc32")]] inline std::uint32_t
crc32c_one(std::uint32_t crc, std::byte byte) noexcept {
    return __builtin_ia32_crc32qi(crc, std::to_integer<unsigned char>(byte));
}
#elif defined(__ARM_FEATURE_CRC32) && !defined(__ARM_BIG_ENDIAN)
using crc32c_register = std::uint32_t;
[[nodiscard]] inline bool crc32c_has_processor() noexcept { return true; }
[[nodiscard]] inline std::uint32_t crc32c_eight(std::uint32_t crc, std::uint64_t bytes) noexcept {
    return __crc32cd(crc, bytes);
}
[[nodiscard]] inline std::uint32_t crc32c_one(std::uint32_t crc, std::byte byte) noexcept {
    return __crc32cb(crc, std::to_integer<std::uint8_t>(byte));
}
#else
[[nodiscard]] inline bool crc32c_has_processor() noexcept { return false; }
using crc32c_register = std::uint32_t;
[[nodiscard]] inline std::uint32_t crc32c_eight(std::uint32_t crc, std::uint64_t bytes) noexcept {
    std::array<std::byte, 8> eight{};
    std::memcpy(eight.data(), &bytes, 8);
    return crc32c_by_table(eight.data(), 8, crc);
}
[[nodiscard]] inline std::uint32_t crc32c_one(std::uint32_t crc, std::byte byte) noexcept {
    return crc32c_by_table(&byte, 1, crc);
}
#endif

#if defined(__x86_64__) && defined(__GNUC__)
[[gnu::target("sse4.2,crc32")]]
#endif
[[nodiscard]] inline std::uint32_t
crc32c_by_processor(std::byte const* at, std::size_t n, std::uint32_t crc) noexcept {
    auto const eight = [](std::byte const* from) {
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, from, 8);
        return bytes;
    };
    auto const& past = crc32c_stream_tables();
    for (; n >= 3 * crc32c_stream; n -= 3 * crc32c_stream, at += 3 * crc32c_stream) {
        crc32c_register first = crc;
        crc32c_register second = 0;
        crc32c_register third = 0;
        for (std::size_t i = 0; i != crc32c_stream; i += 8) {
            first = crc32c_eight(first, eight(at + i));
            second = crc32c_eight(second, eight(at + crc32c_stream + i));
            third = crc32c_eight(third, eight(at + 2 * crc32c_stream + i));
        }
        crc = crc32c_past_stream(past, static_cast<std::uint32_t>(first));
        crc = crc32c_past_stream(past, crc ^ static_cast<std::uint32_t>(second));
        crc ^= static_cast<std::uint32_t>(third);
    }
    crc32c_register rest = crc;
    for (; n >= 8; n -= 8, at += 8) rest = crc32c_eight(rest, eight(at));
    crc = static_cast<std::uint32_t>(rest);
    for (; n != 0; --n, ++at) crc = crc32c_one(crc, *at);
    return crc;
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
    return detail::crc32c_past_zeros(first, second_size) ^ second;
}

} // namespace cleave
