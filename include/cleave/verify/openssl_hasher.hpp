// SPDX-License-Identifier: BSL-1.0
//
// Hashing by OpenSSL's EVP interface (3.0 upwards). The only header of this folder that needs it.
#pragma once

#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>
#include <cleave/verify/piece_digests.hpp>
#include <cleave/verify/server_digest.hpp>

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

/// Hashes with `EVP_DigestUpdate`. Move-only. Where OpenSSL does not have the algorithm, as MD5 in
/// FIPS mode, `reset` answers with OpenSSL's code for that.
class openssl_hasher {
  public:
    explicit openssl_hasher(digest_algorithm algorithm) : context_(EVP_MD_CTX_new()) {
        method_.reset(EVP_MD_fetch(nullptr, name(algorithm), nullptr));
        // Kept from here on: OpenSSL's queue belongs to the thread, and `reset` may run in another.
        if (!method_ || !context_) unfit_ = last_error();
    }

    void reset(std::error_code& ec) {
        if (unfit_)
            ec = unfit_;
        else if (EVP_DigestInit_ex2(context_.get(), method_.get(), nullptr) != 1)
            ec = last_error();
    }
    void update(std::span<std::byte const> bytes, std::error_code& ec) {
        if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) ec = last_error();
    }
    [[nodiscard]] digest_value finish(std::error_code& ec) {
        digest_value value;
        unsigned int size = 0;
        auto* to = reinterpret_cast<unsigned char*>(value.bytes.data());
        if (EVP_DigestFinal_ex(context_.get(), to, &size) != 1) ec = last_error();
        value.size = size;
        return value;
    }

  private:
    [[nodiscard]] static char const* name(digest_algorithm a) noexcept {
        switch (a) {
        case digest_algorithm::sha256: return "SHA256";
        case digest_algorithm::sha512: return "SHA512";
        case digest_algorithm::sha1: return "SHA1";
        case digest_algorithm::md5: return "MD5";
        }
        return "";
    }
    /// The latest of this thread. Empties the queue, in which there may be older ones.
    [[nodiscard]] static std::error_code last_error() noexcept {
        auto const code = static_cast<int>(ERR_peek_last_error());
        ERR_clear_error();
        // An empty queue still must not look like success.
        return code != 0 ? std::error_code{code, openssl_category()}
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
    std::error_code unfit_;
};

static_assert(hasher<openssl_hasher>);

/// A whole-object digest, hashed by OpenSSL.
using digest = basic_digest<openssl_hasher>;
/// Digests of pieces, hashed by OpenSSL.
using piece_digests = basic_piece_digests<openssl_hasher>;
/// The server's own digest, hashed by OpenSSL.
using server_digest = basic_server_digest<openssl_hasher>;

/// Expects this SHA-256 of the object.
[[nodiscard]] inline digest sha256(std::string_view hex) { return {digest_algorithm::sha256, hex}; }
/// Expects this SHA-512 of the object.
[[nodiscard]] inline digest sha512(std::string_view hex) { return {digest_algorithm::sha512, hex}; }
/// Expects this SHA-1 of the object. Protects against accidents, not against an attacker.
[[nodiscard]] inline digest sha1(std::string_view hex) { return {digest_algorithm::sha1, hex}; }
/// Expects this MD5 of the object. Protects against accidents, not against an attacker.
[[nodiscard]] inline digest md5(std::string_view hex) { return {digest_algorithm::md5, hex}; }

static_assert(content_verifier<digest>);
static_assert(piece_verifier<piece_digests>);
static_assert(learning_verifier<server_digest>);

} // namespace cleave
