// SPDX-License-Identifier: BSL-1.0
//
// Sizes as people write them: 512_KiB, 8_MiB, 1_GiB.
#pragma once

#include <cstdint>

namespace cleave {
inline namespace literals {

/// 1,000 bytes each.
[[nodiscard]] constexpr std::uint64_t operator""_kB(unsigned long long n) noexcept {
    return std::uint64_t{n} * 1'000;
}
/// 1,000,000 bytes each.
[[nodiscard]] constexpr std::uint64_t operator""_MB(unsigned long long n) noexcept {
    return std::uint64_t{n} * 1'000'000;
}
/// 1,024 bytes each.
[[nodiscard]] constexpr std::uint64_t operator""_KiB(unsigned long long n) noexcept {
    return std::uint64_t{n} << 10;
}
/// 1,024 KiB each.
[[nodiscard]] constexpr std::uint64_t operator""_MiB(unsigned long long n) noexcept {
    return std::uint64_t{n} << 20;
}
/// 1,024 MiB each.
[[nodiscard]] constexpr std::uint64_t operator""_GiB(unsigned long long n) noexcept {
    return std::uint64_t{n} << 30;
}

} // namespace literals
} // namespace cleave
