// SPDX-License-Identifier: BSL-1.0
//
// The SHA-256 of some bytes, for comparing what was downloaded with what was served.

#pragma once

#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

#include <openssl/evp.h>

namespace cleave_test {

// `name` as OpenSSL knows the algorithm: "SHA256", "SHA1".
inline std::string digest_hex(std::string_view bytes, char const* name) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_get_digestbyname(name),
                   nullptr) != 1) {
        throw std::runtime_error{"cannot compute a digest"};
    }
    constexpr char const* digits = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < size; ++i) {
        text += digits[digest[i] >> 4];
        text += digits[digest[i] & 15];
    }
    return text;
}

inline std::string sha256_hex(std::string_view bytes) { return digest_hex(bytes, "SHA256"); }

} // namespace cleave_test
