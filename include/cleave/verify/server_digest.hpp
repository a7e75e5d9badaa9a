// SPDX-License-Identifier: BSL-1.0
//
// The whole object must have the digest that the server itself says it has. That proves that
// nothing was damaged on the way or joined wrongly. It proves nothing of where the bytes come from:
// whoever can change the object can change the digest as well.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/http/repr_digest.hpp>
#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace cleave {

/// What to do when the server sends no digest.
enum class digest_demand : std::uint8_t {
    required, ///< end with `error::digest_not_sent`
    if_sent,  ///< go on without one
};

/// Asks for the object's digest (Want-Repr-Digest, RFC 9530, section 4) and holds the object to the
/// strongest that the server sends, SHA-512 or SHA-256. A Repr-Digest that cannot be read counts as
/// none. `Hasher` is constructed from the algorithm.
///
/// `required` unless said otherwise: a check that was asked for is not left out in silence. Few
/// servers send the field. A digest from elsewhere (`sha256(hex)`) is worth more where there is
/// one, for it also proves that the object is the right one.
template <hasher Hasher>
class basic_server_digest {
  public:
    using hasher_type = Hasher;

    explicit basic_server_digest(digest_demand demand = digest_demand::required) noexcept
        : demand_(demand) {}

    /// Prefers SHA-256, which servers are likelier to have at hand.
    [[nodiscard]] static constexpr std::string_view asks() noexcept {
        return "sha-256=10, sha-512=5";
    }
    [[nodiscard]] std::error_code learn(std::string_view field) noexcept {
        expected_.reset();
        auto const sent = parse_repr_digest(field);
        if (!sent) return demanded() ? make_error_code(error::digest_not_sent) : std::error_code{};
        algorithm_ = sent->is == repr_digest::algorithm::sha512 ? digest_algorithm::sha512
                                                                : digest_algorithm::sha256;
        expected_.emplace();
        expected_->size = sent->view().size();
        std::ranges::copy(sent->view(), expected_->bytes.begin());
        return {};
    }

    /// Always where a digest is required; otherwise once one was sent.
    [[nodiscard]] bool wanted() const noexcept { return demanded() || expected_; }
    [[nodiscard]] static std::error_code fault() noexcept { return {}; }
    [[nodiscard]] Hasher make_hasher() const { return Hasher{algorithm_}; }
    [[nodiscard]] bool matches(digest_value const& got) const noexcept {
        return expected_ ? got == *expected_ : !demanded();
    }

  private:
    [[nodiscard]] bool demanded() const noexcept { return demand_ == digest_demand::required; }

    digest_demand demand_;
    digest_algorithm algorithm_ = digest_algorithm::sha256;
    std::optional<digest_value> expected_;
};

} // namespace cleave
