// SPDX-License-Identifier: BSL-1.0
//
// The whole object must have one given digest.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/verify/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace cleave {

enum class digest_algorithm : std::uint8_t { sha256, sha512 };

/// Bytes of a digest of this algorithm.
[[nodiscard]] constexpr std::size_t digest_size(digest_algorithm a) noexcept {
    return a == digest_algorithm::sha512 ? 64 : 32;
}

/// Reads hexadecimal digits of either case, exactly as many as the algorithm needs.
[[nodiscard]] constexpr std::optional<digest_value> parse_digest(digest_algorithm algorithm,
                                                                 std::string_view hex) noexcept {
    digest_value value;
    value.size = digest_size(algorithm);
    if (hex.size() != value.size * 2) return std::nullopt;
    for (std::size_t i = 0; i != hex.size(); ++i) {
        char const c = hex[i];
        int nibble = -1;
        if (c >= '0' && c <= '9') nibble = c - '0';
        if (c >= 'a' && c <= 'f') nibble = c - 'a' + 10;
        if (c >= 'A' && c <= 'F') nibble = c - 'A' + 10;
        if (nibble < 0) return std::nullopt;
        auto& byte = value.bytes[i / 2];
        byte = (byte << 4) | static_cast<std::byte>(nibble);
    }
    return value;
}

/// The object's digest must be the one given. `Hasher` is constructed from the algorithm.
template <hasher Hasher>
class basic_digest {
  public:
    using hasher_type = Hasher;

    /// `hex`: as checksum files write it. Anything else is `error::bad_digest`, before any
    /// connection is opened.
    basic_digest(digest_algorithm algorithm, std::string_view hex)
        : algorithm_(algorithm), expected_(parse_digest(algorithm, hex)) {}

    [[nodiscard]] static constexpr bool wanted() noexcept { return true; }
    [[nodiscard]] std::error_code fault() const noexcept {
        return expected_ ? std::error_code{} : make_error_code(error::bad_digest);
    }
    [[nodiscard]] Hasher make_hasher() const { return Hasher{algorithm_}; }
    [[nodiscard]] bool matches(digest_value const& got) const noexcept { return expected_ == got; }

  private:
    digest_algorithm algorithm_;
    std::optional<digest_value> expected_;
};

} // namespace cleave
