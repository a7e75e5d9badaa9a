// SPDX-License-Identifier: BSL-1.0
//
// The laws of content verifiers (verify/concept.hpp) for any verifier and its hasher, a user's own
// too. Each function answers with the law that was broken, or with an empty text.

#pragma once

#include <cleave/verify/concept.hpp>

#include <laws/random.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cleave_test {

/// Hashes bytes in portions of any size, also empty ones.
template <cleave::hasher H>
[[nodiscard]] cleave::digest_value hash_of(H& h, std::span<std::byte const> bytes,
                                           random_source& random, std::error_code& ec) {
    h.reset(ec);
    while (!bytes.empty()) {
        std::size_t const n = std::min(bytes.size(), random.index(bytes.size() / 3 + 2));
        h.update(bytes.first(n), ec);
        bytes = bytes.subspan(n);
    }
    return h.finish(ec);
}

/// Of bytes some that are others: a bit flipped, one byte less, or one more.
[[nodiscard]] inline std::vector<std::byte> damaged(std::span<std::byte const> bytes,
                                                    random_source& random) {
    std::vector<std::byte> to(bytes.begin(), bytes.end());
    switch (to.empty() ? 2 : random.below(3)) {
    case 0: to[random.index(to.size())] ^= static_cast<std::byte>(1U << random.below(8)); break;
    case 1: to.pop_back(); break;
    default: to.push_back(std::byte{0}); break;
    }
    return to;
}

/// Laws 1 and 2: a verifier that wants to, says yes to the bytes it is meant for and no to others,
/// however often it is asked.
template <cleave::content_verifier V>
[[nodiscard]] std::string broken_verifier(V& v, std::span<std::byte const> right,
                                          random_source& random) {
    if (v.fault()) return "a good expectation has no fault";
    bool const wanted = v.wanted();
    auto hasher = v.make_hasher();
    for (int i = 0; i != 20; ++i) {
        std::error_code ec;
        auto const good = hash_of(hasher, right, random, ec);
        if (ec) return "hashing goes well";
        if (!v.matches(good)) return "the right bytes match";
        auto const bad = hash_of(hasher, damaged(right, random), random, ec);
        if (wanted && v.matches(bad)) return "no other bytes match";
        if (v.wanted() != wanted) return "wanted() is the same at every call";
    }
    if (wanted && v.matches({})) return "no digest at all does not match";
    return {};
}

/// Law 3: the pieces tile the object, and to each its digest is said yes to, and no other.
template <cleave::piece_verifier V>
[[nodiscard]] std::string broken_pieces(V& v, std::span<std::byte const> right,
                                        random_source& random) {
    if (v.fault()) return "a good expectation has no fault";
    auto const [size, count] = v.pieces();
    if (size == 0 || count != (right.size() + size - 1) / size) return "the pieces tile the object";
    auto hasher = v.make_piece_hasher();
    std::error_code ec;
    std::vector<cleave::digest_value> digests;
    for (std::uint64_t i = 0; i != count; ++i) {
        auto const piece = right.subspan(
            static_cast<std::size_t>(i * size),
            static_cast<std::size_t>(std::min<std::uint64_t>(size, right.size() - i * size)));
        digests.push_back(hash_of(hasher, piece, random, ec));
        if (ec) return "hashing goes well";
        if (!v.matches_piece(i, digests.back())) return "the right piece matches";
        if (v.matches_piece(i, hash_of(hasher, damaged(piece, random), random, ec)))
            return "no other piece matches";
        if (v.matches_piece(i, {})) return "no digest at all does not match";
    }
    for (std::uint64_t i = 0; i != count; ++i)
        for (std::uint64_t k = 0; k != count; ++k)
            if (v.matches_piece(i, digests[k]) != (digests[i] == digests[k]))
                return "a piece matches in its place only";
    if (v.matches_piece(count, digests.front())) return "there is no piece behind the last";
    if (v.pieces().size != size || v.pieces().count != count)
        return "pieces() is the same at every call";
    return {};
}

/// What it asks for can stand in a request, and only `learn` changes what it wants.
template <cleave::learning_verifier V>
[[nodiscard]] std::string broken_learning(V& v, std::string_view field, bool ends) {
    auto const asked = std::string{std::string_view{v.asks()}};
    for (char const c : asked)
        if (c < ' ' || c > '~') return "what is asked can stand in a field";
    if (static_cast<bool>(v.learn(field)) != ends) return "learn ends the download, or does not";
    if (std::string_view{v.asks()} != asked) return "asks() is the same at every call";
    return {};
}

} // namespace cleave_test
