// SPDX-License-Identifier: BSL-1.0
//
// The whole object must have one given digest.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/base/error.hpp>
#include <cleave/verify/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

namespace cleave {

/// SHA-1 and MD5 are for manifests of old. They find bytes that were damaged by accident; an
/// attacker can make other bytes of the same digest.
enum class digest_algorithm : std::uint8_t { sha256, sha512, sha1, md5 };

/// The names that RFC 9530 and Metalink use: "sha-256", "sha-512", "sha-1", "md5".
[[nodiscard]] constexpr char const* to_string(digest_algorithm a) noexcept {
    switch (a) {
    case digest_algorithm::sha256: return "sha-256";
    case digest_algorithm::sha512: return "sha-512";
    case digest_algorithm::sha1: return "sha-1";
    case digest_algorithm::md5: return "md5";
    }
    return "unknown";
}

/// Bytes of a digest of this algorithm.
[[nodiscard]] constexpr std::size_t digest_size(digest_algorithm a) noexcept {
    switch (a) {
    case digest_algorithm::sha256: return 32;
    case digest_algorithm::sha512: return 64;
    case digest_algorithm::sha1: return 20;
    case digest_algorithm::md5: return 16;
    }
    return 0;
}

namespace detail {
/// Equal without regard to case, dashes and underscores.
[[nodiscard]] constexpr bool same_algorithm_name(std::string_view a, std::string_view b) noexcept {
    auto const next = [](std::string_view& text) {
        while (text.starts_with('-') || text.starts_with('_')) text.remove_prefix(1);
        if (text.empty()) return -1;
        int const c = static_cast<unsigned char>(ascii_lower(text.front()));
        text.remove_prefix(1);
        return c;
    };
    for (;;) {
        int const c = next(a);
        if (c != next(b)) return false;
        if (c == -1) return true;
    }
}
/// What the hash of an expectation begins with: the algorithm, by its name.
[[nodiscard]] inline std::uint64_t expectation_basis(digest_algorithm a) noexcept {
    std::string_view const name = to_string(a);
    return expectation_hash(std::as_bytes(std::span{name}), expectation_of_nothing);
}
} // namespace detail

/// Reads an algorithm's name as manifests write it: "sha-256", "SHA256", "Sha_256".
[[nodiscard]] constexpr std::optional<digest_algorithm>
parse_digest_algorithm(std::string_view name) noexcept {
    for (auto const a : {digest_algorithm::sha256, digest_algorithm::sha512, digest_algorithm::sha1,
                         digest_algorithm::md5})
        if (detail::same_algorithm_name(name, to_string(a))) return a;
    return std::nullopt;
}

/// Reads hexadecimal digits of either case, exactly as many as the algorithm needs.
[[nodiscard]] constexpr std::optional<digest_value> parse_digest(digest_algorithm algorithm,
                                                                 std::string_view hex) noexcept {
    digest_value value;
    value.size = digest_size(algorithm);
    if (hex.size() != value.size * 2) return std::nullopt;
    for (std::size_t i = 0; i != hex.size(); ++i) {
        int const nibble = detail::ascii_hex(hex[i]);
        if (nibble < 0) return std::nullopt;
        auto& byte = value.bytes[i / 2];
        byte = (byte << 4) | static_cast<std::byte>(nibble);
    }
    return value;
}

/// The object's digest must be the one given. `Hasher` is constructed from the algorithm; one that
/// cannot do an algorithm says so in its `reset`.
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
    [[nodiscard]] std::uint64_t expectation() const noexcept {
        if (!expected_) return 0;
        return detail::expectation_hash(expected_->view(), detail::expectation_basis(algorithm_));
    }

  private:
    digest_algorithm algorithm_;
    std::optional<digest_value> expected_;
};

} // namespace cleave
