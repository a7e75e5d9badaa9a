// SPDX-License-Identifier: BSL-1.0
//
// Are these the right bytes? A verifier says what is expected and judges what came; a hasher does
// the arithmetic in between. Neither knows where bytes come from or go.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
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

/// The pieces of an object that a verifier knows digests of.
struct piece_expectation {
    /// Bytes of each piece, the last one as long as there are bytes; 0 where there are no pieces.
    std::uint64_t size = 0;
    /// How many pieces there are.
    std::uint64_t count = 0;
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
/// Optional, for digests of pieces:
///
/// | expression               | meaning                                                       |
/// |--------------------------|---------------------------------------------------------------|
/// | `v.pieces()`             | const: their size and number, `piece_expectation`; `noexcept` |
/// | `v.make_piece_hasher()`  | const: a hasher for one piece after the other, `hasher_type`  |
/// | `v.matches_piece(i, d)`  | whether piece `i` has this digest, `bool`; `noexcept`         |
///
/// Optional, for what the server says of its object (RFC 9530):
///
/// | expression     | meaning                                                                  |
/// |----------------|--------------------------------------------------------------------------|
/// | `v.asks()`     | const: value of a Want-Repr-Digest field to send; none when empty        |
/// | `v.learn(f)`   | told the Repr-Digest of the first accepted reply, empty where there is   |
/// |                | none, `std::string_view`; an `std::error_code` ends the download         |
///
/// Optional, for going on after a crash:
///
/// | expression          | meaning                                                             |
/// |---------------------|---------------------------------------------------------------------|
/// | `v.expectation()`   | const: tells which bytes are expected: the same for the same digest |
/// |                     | or digests, another one for others, 0 for none, `std::uint64_t`;    |
/// |                     | `noexcept`                                                          |
///
/// Laws:
/// 1. `wanted()` is the same at every call, but that `learn` may change it.
/// 2. When `wanted()`, no download ends well unless `matches` has said yes to the digest of
///    exactly the bytes that are published.
/// 3. Where there are pieces, no download ends well unless `matches_piece` has said yes to the
///    digest of each. A piece that it says no to is fetched again, alone.
///
/// `make_hasher` and `make_piece_hasher` are called after `learn`, `matches` only while `wanted()`;
/// `pieces()` never changes. Called on the download's strand; must not block. Models:
/// `no_verification`, `digest`, `piece_digests`, `server_digest`.
template <class V>
concept content_verifier = std::move_constructible<V> && hasher<typename V::hasher_type> &&
                           requires(V& v, V const& c, digest_value const& d) {
                               { c.wanted() } noexcept -> std::same_as<bool>;
                               { c.fault() } -> std::same_as<std::error_code>;
                               { c.make_hasher() } -> std::same_as<typename V::hasher_type>;
                               { v.matches(d) } noexcept -> std::same_as<bool>;
                           };

/// A verifier that knows digests of pieces.
template <class V>
concept piece_verifier =
    content_verifier<V> &&
    requires(V& v, V const& c, std::uint64_t index, digest_value const& d) {
        { c.pieces() } noexcept -> std::same_as<piece_expectation>;
        { c.make_piece_hasher() } -> std::same_as<typename V::hasher_type>;
        { v.matches_piece(index, d) } noexcept -> std::same_as<bool>;
    };

/// A verifier that listens to what the server says of its object.
template <class V>
concept learning_verifier =
    content_verifier<V> && requires(V& v, V const& c, std::string_view field) {
        { c.asks() } noexcept -> std::convertible_to<std::string_view>;
        { v.learn(field) } -> std::same_as<std::error_code>;
    };

/// The pieces of a verifier, none where it knows of none.
template <content_verifier V>
[[nodiscard]] constexpr piece_expectation pieces_of(V const& v) noexcept {
    if constexpr (piece_verifier<V>)
        return v.pieces();
    else
        return {};
}

/// What a verifier expects, as a number that outlives the process; 0 where it does not say.
template <content_verifier V>
[[nodiscard]] constexpr std::uint64_t expectation_of(V const& v) noexcept {
    if constexpr (requires { { v.expectation() } noexcept -> std::same_as<std::uint64_t>; })
        return v.expectation();
    else
        return 0;
}

namespace detail {
/// What FNV-1a begins with, of 64 bits.
inline constexpr std::uint64_t expectation_of_nothing = 0xcbf29ce484222325U;
/// FNV-1a of these bytes, behind those that made `from`; never 0.
[[nodiscard]] constexpr std::uint64_t expectation_hash(std::span<std::byte const> bytes,
                                                       std::uint64_t from) noexcept {
    for (std::byte const b : bytes)
        from = (from ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3U;
    return from == 0 ? 1 : from;
}
} // namespace detail

} // namespace cleave
