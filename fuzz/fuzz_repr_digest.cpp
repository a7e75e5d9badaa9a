// SPDX-License-Identifier: BSL-1.0
//
// Repr-Digest from any bytes: what is read is read again from what it is written as; more members
// behind it change it as the rules say, and a broken one takes everything with it.

#include "input.hpp"

#include <cleave/http/repr_digest.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace {

using cleave_fuzz::require;

std::string base64(std::span<std::byte const> bytes) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string to;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::size_t const n = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t k = 0; k != 3; ++k)
            group = group << 8 | (k < n ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0);
        for (std::size_t k = 0; k != 4; ++k)
            to += k <= n ? digits[group >> (18 - 6 * k) & 63] : '=';
    }
    return to;
}

std::string written(cleave::repr_digest const& d) {
    bool const longer = d.is == cleave::repr_digest::algorithm::sha512;
    return (longer ? "sha-512=:" : "sha-256=:") + base64(d.view()) + ':';
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string const text{cleave_fuzz::input{data, size}.rest()};

    auto const read = cleave::parse_repr_digest(text);
    if (!read) return 0;
    require(std::all_of(read->bytes.begin() + static_cast<std::ptrdiff_t>(read->view().size()),
                        read->bytes.end(), [](std::byte b) { return b == std::byte{0}; }),
            "there is nothing behind a digest");
    require(cleave::parse_repr_digest(written(*read)) == read,
            "what is written of a digest reads as the same");
    // It stands in the text as it is written, for base64 has one spelling only.
    require(text.find(written(*read)) != std::string::npos, "a digest stands in the text");

    require(cleave::parse_repr_digest(text + ", " + text) == read, "twice the same is the same");
    require(cleave::parse_repr_digest(" " + text + " ") == read, "spaces around it do not matter");
    require(cleave::parse_repr_digest("x=:AA==:;y=\"z\", " + text) == read,
            "a member before it does not matter");
    require(cleave::parse_repr_digest(text + ", x=:AA==:") == read,
            "a member behind it does not matter");
    require(!cleave::parse_repr_digest(text + ","), "a comma promises a member");
    require(!cleave::parse_repr_digest(text + ", sha-256=:AA==:"), "a bad digest takes all along");

    cleave::repr_digest longest{cleave::repr_digest::algorithm::sha512, {}};
    longest.bytes.fill(std::byte{0x5a});
    require(cleave::parse_repr_digest(text + ", " + written(longest)) == longest,
            "the last counts");
    return 0;
}
