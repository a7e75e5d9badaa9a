// SPDX-License-Identifier: BSL-1.0
//
// Hashing by OpenSSL's EVP interface (3.0 upwards). The only header of this folder that needs it.
#pragma once

#include <cleave/verify/digest.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace cleave {

/// Codes of OpenSSL's error queue, as `ERR_get_error` gives them.
[[nodiscard]] inline std::error_category const& openssl_category() noexcept {
    struct category final : std::error_category {
        [[nodiscard]] char const* name() const noexcept override { return "openssl"; }
        [[nodiscard]] std::string message(int value) const override {
            char text[256];
            ERR_error_string_n(static_cast<unsigned int>(value), text, sizeof text);
            return text;
        }
    };
    static category const instance;
    return instance;
}

/// Hashes with `EVP_DigestUpdate`. Move-only.
class openssl_hasher {
  public:
    explicit openssl_hasher(digest_algorithm algorithm)
        : method_(EVP_MD_fetch(nullptr, algorithm == digest_algorithm::sha512 ? "SHA512" : "SHA256",
                               nullptr)),
          context_(EVP_MD_CTX_new()) {}

    void reset(std::error_code& ec) {
        if (!method_ || !context_) return fail(ec);
        if (EVP_DigestInit_ex2(context_.get(), method_.get(), nullptr) != 1) fail(ec);
    }
    void update(std::span<std::byte const> bytes, std::error_code& ec) {
        if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) fail(ec);
    }
    [[nodiscard]] digest_value finish(std::error_code& ec) {
        digest_value value;
        unsigned int size = 0;
        auto* to = reinterpret_cast<unsigned char*>(value.bytes.data());
        if (EVP_DigestFinal_ex(context_.get(), to, &size) != 1) fail(ec);
        value.size = size;
        return value;
    }

  private:
    static void fail(std::error_code& ec) {
        auto const code = static_cast<int>(ERR_get_error());
        // An empty queue still must not look like success.
        ec = code != 0 ? std::error_code{code, openssl_category()}
                       : std::make_error_code(std::errc::not_supported);
    }
    struct free_method {
        void operator()(EVP_MD* m) const noexcept { EVP_MD_free(m); }
    };
    struct free_context {
        void operator()(EVP_MD_CTX* c) const noexcept { EVP_MD_CTX_free(c); }
    };
    std::unique_ptr<EVP_MD, free_method> method_;
    std::unique_ptr<EVP_MD_CTX, free_context> context_;
};

static_assert(hasher<openssl_hasher>);

/// A whole-object digest, hashed by OpenSSL.
using digest = basic_digest<openssl_hasher>;

static_assert(content_verifier<digest>);

/// Expects this SHA-256 of the object.
[[nodiscard]] inline digest sha256(std::string_view hex) { return {digest_algorithm::sha256, hex}; }
/// Expects this SHA-512 of the object.
[[nodiscard]] inline digest sha512(std::string_view hex) { return {digest_algorithm::sha512, hex}; }

} // namespace cleave
