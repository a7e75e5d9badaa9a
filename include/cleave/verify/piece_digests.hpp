// SPDX-License-Identifier: BSL-1.0
//
// Each piece of the object must have its given digest. A piece that has another is fetched again,
// alone, where a digest of the whole can only say that something is wrong.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>
#include <cleave/verify/piece_list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace cleave {

/// The object's pieces must have the digests given, and the object the digest of the whole, where
/// one is given too. `Hasher` is constructed from the algorithm.
///
/// Zero bytes a piece, no digest at all (a list that lost its lines would look the same), and one
/// that cannot be read, are `error::bad_digest` before any connection is opened. A list for an
/// object of another size is `error::pieces_do_not_match_size` as soon as the size is known.
template <hasher Hasher>
class basic_piece_digests {
  public:
    using hasher_type = Hasher;

    explicit basic_piece_digests(piece_list list) : list_(std::move(list)) {}

    /// `hex`: a digest for each piece of `piece_size` bytes, in order; the last may be shorter.
    basic_piece_digests(digest_algorithm algorithm, std::uint64_t piece_size,
                        std::span<std::string const> hex)
        : list_{algorithm, piece_size, {}} {
        list_.digests.reserve(hex.size() * digest_size(algorithm));
        for (std::string const& one : hex) readable_ = list_.add(one) && readable_;
    }

    /// The same, and the whole object must have this digest, of whatever algorithm:
    ///
    ///     cleave::piece_digests{list}.with_whole(cleave::sha256(hex))
    [[nodiscard]] basic_piece_digests with_whole(basic_digest<Hasher> whole) const {
        basic_piece_digests to = *this;
        to.whole_.emplace(std::move(whole));
        return to;
    }

    /// Whether the whole object is to be hashed besides its pieces.
    [[nodiscard]] bool wanted() const noexcept { return whole_.has_value(); }
    [[nodiscard]] std::error_code fault() const noexcept {
        if (!readable_ || list_.piece_size == 0 || list_.count() == 0) return error::bad_digest;
        return whole_ ? whole_->fault() : std::error_code{};
    }
    [[nodiscard]] Hasher make_hasher() const {
        return whole_ ? whole_->make_hasher() : make_piece_hasher();
    }
    [[nodiscard]] bool matches(digest_value const& got) const noexcept {
        return !whole_ || whole_->matches(got);
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept {
        std::uint64_t const pieces = detail::expectation_hash(
            list_.digests, detail::expectation_basis(list_.algorithm) ^ list_.piece_size);
        return whole_ ? pieces ^ whole_->expectation() : pieces;
    }

    [[nodiscard]] piece_expectation pieces() const noexcept {
        return {list_.piece_size, list_.count()};
    }
    [[nodiscard]] Hasher make_piece_hasher() const { return Hasher{list_.algorithm}; }
    [[nodiscard]] bool matches_piece(std::uint64_t index, digest_value const& got) const noexcept {
        if (index >= list_.count()) return false;
        std::size_t const size = digest_size(list_.algorithm);
        auto const expected =
            std::span{list_.digests}.subspan(static_cast<std::size_t>(index) * size, size);
        return std::ranges::equal(expected, got.view());
    }

  private:
    piece_list list_;
    bool readable_ = true;
    std::optional<basic_digest<Hasher>> whole_;
};

} // namespace cleave
