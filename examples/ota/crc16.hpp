// SPDX-License-Identifier: BSL-1.0
//
// CRC-16/IBM (also called ARC): the checksum of a block that comes over MQTT. Finds what a line has
// damaged; proves nothing against somebody who means to deceive.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace example {

namespace detail {
// By the polynomial x^16 + x^15 + x^2 + 1, low bit first.
constexpr std::array<std::uint16_t, 256> make_crc16_table() {
    std::array<std::uint16_t, 256> table{};
    for (unsigned i = 0; i != table.size(); ++i) {
        unsigned rest = i;
        for (int bit = 0; bit != 8; ++bit) rest = (rest >> 1U) ^ ((rest & 1U) != 0 ? 0xa001U : 0U);
        table[i] = static_cast<std::uint16_t>(rest);
    }
    return table;
}
inline constexpr auto crc16_table = make_crc16_table();
} // namespace detail

/// Of these bytes, behind those that gave `so_far`.
constexpr std::uint16_t crc16(std::span<std::byte const> bytes, std::uint16_t so_far = 0) noexcept {
    unsigned crc = so_far;
    for (std::byte const b : bytes)
        crc = (crc >> 8U) ^ detail::crc16_table[(crc ^ std::to_integer<unsigned>(b)) & 0xffU];
    return static_cast<std::uint16_t>(crc);
}

namespace detail {
// The check value by which catalogues of checksums tell this one from its relatives.
constexpr std::array<std::byte, 9> one_to_nine() {
    std::array<std::byte, 9> bytes{};
    for (std::size_t i = 0; i != bytes.size(); ++i) bytes[i] = static_cast<std::byte>('1' + i);
    return bytes;
}
static_assert(crc16(one_to_nine()) == 0xbb3d);
} // namespace detail

} // namespace example
