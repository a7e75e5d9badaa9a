// SPDX-License-Identifier: BSL-1.0
//
// OpenSSL's hashes, against known answers, fed in portions of any size, and used again.

#include <cleave/verify/openssl_hasher.hpp>

#include <laws/random.hpp>
#include <laws/verifier_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <openssl/err.h>
#include <openssl/evp.h>

using cleave::digest_algorithm;
using cleave::openssl_hasher;

static_assert(std::is_nothrow_move_constructible_v<openssl_hasher>);
static_assert(!std::is_copy_constructible_v<openssl_hasher>);

namespace {

struct answer {
    digest_algorithm algorithm;
    std::vector<std::byte> bytes;
    std::string_view hex;
};

std::vector<std::byte> text(std::string_view s) {
    auto const bytes = std::as_bytes(std::span{s});
    return {bytes.begin(), bytes.end()};
}
// 1 MiB that repeats late; the digests below were computed by another program.
std::vector<std::byte> pattern() {
    std::vector<std::byte> to(1 << 20);
    for (std::size_t i = 0; i < to.size(); ++i)
        to[i] = static_cast<std::byte>((i * 131 + (i >> 8) * 7 + 13) & 0xff);
    return to;
}

std::vector<answer> answers() {
    return {
        {digest_algorithm::sha256,
         {},
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {digest_algorithm::sha256, text("abc"),
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {digest_algorithm::sha256, pattern(),
         "9f1af822a6425d374279cfb44e201c6de96fcf200794289c2431034591e29d58"},
        {digest_algorithm::sha512,
         {},
         "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
         "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
        {digest_algorithm::sha512, text("abc"),
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
        {digest_algorithm::sha512, pattern(),
         "fbf35ce3593862920a1ee968a56f88f063a0cf09bc06be19f5e502efadacdb91"
         "2a3f68884cc9e2fb263b9dd6c99712d964721faa17bc9d6d1bdd5d2f7d438caa"},
        {digest_algorithm::sha1, {}, "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {digest_algorithm::sha1, text("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {digest_algorithm::sha1, pattern(), "1e511680d9d6a60477f004ef674f5a69e8ae72eb"},
        {digest_algorithm::md5, {}, "d41d8cd98f00b204e9800998ecf8427e"},
        {digest_algorithm::md5, text("abc"), "900150983cd24fb0d6963f7d28e17f72"},
        {digest_algorithm::md5, pattern(), "a496ca68c667b4724ae8ff39938bc94b"},
    };
}

} // namespace

TEST_CASE("hashes have their known answers, however the bytes come") {
    cleave_test::random_source random{1};
    for (answer const& a : answers()) {
        CAPTURE(a.hex);
        cleave::digest const expected(a.algorithm, a.hex);
        REQUIRE_FALSE(expected.fault());
        openssl_hasher h = expected.make_hasher();
        // The same hasher again and again, and in splits from bytes to all at once.
        for (int run = 0; run < 12; ++run) {
            std::error_code ec;
            h.reset(ec);
            std::span<std::byte const> rest = a.bytes;
            std::size_t const most = std::size_t{1} << (run * 2);
            while (!rest.empty()) {
                std::size_t const n = std::min(rest.size(), random.index(most + 1));
                h.update(rest.first(n), ec);
                rest = rest.subspan(n);
                if (most == 1 && a.bytes.size() - rest.size() > 3000) {
                    h.update(rest, ec);
                    break;
                }
            }
            auto const value = h.finish(ec);
            REQUIRE_FALSE(ec);
            REQUIRE(value.size == cleave::digest_size(a.algorithm));
            REQUIRE(expected.matches(value));
        }
    }
}

TEST_CASE("a reset forgets what was hashed before") {
    openssl_hasher h(digest_algorithm::sha256);
    std::error_code ec;
    h.reset(ec);
    h.update(text("half of something"), ec);
    h.reset(ec);
    h.update(text("abc"), ec);
    CHECK(cleave::sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
              .matches(h.finish(ec)));
    CHECK_FALSE(ec);
}

TEST_CASE("a hasher may be moved in the middle") {
    openssl_hasher one(digest_algorithm::sha256);
    std::error_code ec;
    one.reset(ec);
    one.update(text("a"), ec);
    openssl_hasher other = std::move(one);
    other.update(text("bc"), ec);
    CHECK(cleave::sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
              .matches(other.finish(ec)));
    CHECK_FALSE(ec);
}

TEST_CASE("one bit makes another digest") {
    auto bytes = pattern();
    cleave::digest const expected =
        cleave::sha256("9f1af822a6425d374279cfb44e201c6de96fcf200794289c2431034591e29d58");
    openssl_hasher h = expected.make_hasher();
    bytes[777'777] ^= std::byte{0x10};
    std::error_code ec;
    h.reset(ec);
    h.update(bytes, ec);
    CHECK_FALSE(expected.matches(h.finish(ec)));
    CHECK_FALSE(ec);
}

TEST_CASE("digests keep the laws of verifiers") {
    cleave_test::random_source random{2};
    for (answer const& a : answers()) {
        CAPTURE(a.hex);
        cleave::digest v(a.algorithm, a.hex);
        CHECK(cleave_test::broken_verifier(v, a.bytes, random) == "");
    }
}

namespace {

// OpenSSL with no algorithm to be had, as none but the approved ones are in FIPS mode.
struct no_algorithms {
    no_algorithms() { REQUIRE(EVP_set_default_properties(nullptr, "provider=none") == 1); }
    ~no_algorithms() { EVP_set_default_properties(nullptr, ""); }
};

} // namespace

TEST_CASE("what OpenSSL refuses ends in OpenSSL's code, in another thread too") {
    openssl_hasher refused = [] {
        no_algorithms const none;
        return openssl_hasher(digest_algorithm::md5);
    }();
    std::error_code ec;
    std::thread([&] { refused.reset(ec); }).join();
    CHECK(ec.category() == cleave::openssl_category());
    CHECK_THAT(ec.message(), Catch::Contains("unsupported"));
    CHECK(ERR_peek_error() == 0);
    // And again.
    std::error_code other;
    refused.reset(other);
    CHECK(other == ec);

    openssl_hasher fit(digest_algorithm::md5);
    std::error_code none;
    fit.reset(none);
    CHECK_FALSE(none);
}

TEST_CASE("an older error in OpenSSL's queue is not taken for the hasher's") {
    ERR_new();
    ERR_set_error(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE, nullptr);
    openssl_hasher refused = [] {
        no_algorithms const none;
        return openssl_hasher(digest_algorithm::sha256);
    }();
    std::error_code ec;
    refused.reset(ec);
    CHECK_THAT(ec.message(), Catch::Contains("unsupported"));
}

TEST_CASE("sha1 and md5 read their own digests") {
    CHECK_FALSE(cleave::sha1(std::string(40, 'A')).fault());
    CHECK(cleave::sha1(std::string(32, 'A')).fault() == cleave::error::bad_digest);
    CHECK_FALSE(cleave::md5(std::string(32, 'A')).fault());
    CHECK(cleave::md5(std::string(40, 'A')).fault() == cleave::error::bad_digest);
}

TEST_CASE("sha256 and sha512 read their own digests") {
    CHECK_FALSE(cleave::sha256(std::string(64, 'A')).fault());
    CHECK(cleave::sha256(std::string(128, 'A')).fault() == cleave::error::bad_digest);
    CHECK_FALSE(cleave::sha512(std::string(128, 'A')).fault());
    CHECK(cleave::sha512(std::string(64, 'A')).fault() == cleave::error::bad_digest);
}

TEST_CASE("codes of OpenSSL have a category with messages") {
    auto const& category = cleave::openssl_category();
    CHECK(category.name() == std::string{"openssl"});
    CHECK(&category == &cleave::openssl_category());
    CHECK(category.message(0x0A000086).find("error:") != std::string::npos);
    CHECK(category.message(1) != category.message(0x0A000086));
}
