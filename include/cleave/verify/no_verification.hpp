// SPDX-License-Identifier: BSL-1.0
//
// Nothing is expected of the bytes beyond what HTTP says of them.
#pragma once

#include <cleave/verify/concept.hpp>

#include <cstddef>
#include <span>
#include <system_error>

namespace cleave {

/// Hashes nothing.
struct no_hasher {
    void reset(std::error_code&) noexcept {}
    void update(std::span<std::byte const>, std::error_code&) noexcept {}
    [[nodiscard]] digest_value finish(std::error_code&) noexcept { return {}; }
};

/// Takes whatever the server sends within the rules of HTTP. A server whose header fields lie
/// about the bytes can be found out by a digest only.
struct no_verification {
    using hasher_type = no_hasher;

    [[nodiscard]] static constexpr bool wanted() noexcept { return false; }
    [[nodiscard]] static std::error_code fault() noexcept { return {}; }
    [[nodiscard]] static no_hasher make_hasher() noexcept { return {}; }
    [[nodiscard]] static constexpr bool matches(digest_value const&) noexcept { return true; }
};

static_assert(content_verifier<no_verification>);

} // namespace cleave
