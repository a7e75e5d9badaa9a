// SPDX-License-Identifier: BSL-1.0
//
// Are these the right bytes? A verifier says what is expected and judges what came; a hasher does
// the arithmetic in between. Neither knows where bytes come from or go.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <system_error>

namespace cleave {

/// A digest's bytes; up to 64, as many as SHA-512 has.
struct digest_value {
    std::array<std::byte, 64> bytes{};
    std::size_t size = 0;

    [[nodiscard]] std::span<std::byte const> view() const noexcept {
        return std::span{bytes}.first(size);
    }
    friend bool operator==(digest_value const& a, digest_value const& b) noexcept {
        return a.size == b.size && a.bytes == b.bytes;
    }
};

/// A hasher `h`, fed with the object's bytes in order.
///
/// | expression       | meaning                                                     |
/// |------------------|-------------------------------------------------------------|
/// | `h.reset(ec)`    | begin anew; must be called before the first `update`        |
/// | `h.update(b,ec)` | the next bytes, `std::span<std::byte const>`                |
/// | `h.finish(ec)`   | the digest of all bytes since `reset`, as `digest_value`    |
///
/// Called from one thread at a time, beside the lanes; may take as long as hashing takes.
/// Models: `openssl_hasher`, `no_hasher`.
template <class H>
concept hasher =
    std::move_constructible<H> &&
    requires(H& h, std::span<std::byte const> bytes, std::error_code& ec) {
        h.reset(ec);
        h.update(bytes, ec);
        { h.finish(ec) } -> std::same_as<digest_value>;
    };

/// A content verifier `v`.
///
/// | expression        | meaning                                                              |
/// |-------------------|----------------------------------------------------------------------|
/// | `V::hasher_type`  | its hasher                                                           |
/// | `v.wanted()`      | whether anything is to be hashed at all, `bool`; `noexcept`, const   |
/// | `v.fault()`       | what is wrong with the expectation itself, `std::error_code`         |
/// | `v.make_hasher()` | a hasher for this expectation; const                                 |
/// | `v.matches(d)`    | whether the object's digest is as expected, `bool`; `noexcept`       |
///
/// Laws:
/// 1. `wanted()` is the same at every call.
/// 2. When `wanted()`, no download ends well unless `matches` has said yes to the digest of
///    exactly the bytes that are published.
///
/// Called on the download's strand; must not block. Models: `no_verification`, `digest`.
template <class V>
concept content_verifier = std::move_constructible<V> && hasher<typename V::hasher_type> &&
                           requires(V& v, V const& c, digest_value const& d) {
                               { c.wanted() } noexcept -> std::same_as<bool>;
                               { c.fault() } -> std::same_as<std::error_code>;
                               { c.make_hasher() } -> std::same_as<typename V::hasher_type>;
                               { v.matches(d) } noexcept -> std::same_as<bool>;
                           };

} // namespace cleave
