// SPDX-License-Identifier: BSL-1.0
#include <support/catch.hpp>

#include <cleave/ota/image_digest.hpp>
#include <cleave/verify/openssl_hasher.hpp>

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

using verifier = cleave::image_digest<cleave::openssl_hasher>;
static_assert(cleave::content_verifier<verifier>);

namespace {

// RFC 6234, of "abc".
constexpr std::string_view abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

std::span<std::byte const> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text});
}

cleave::digest_value hash(verifier const& v, std::string_view rest, std::error_code& ec) {
    auto h = v.make_hasher();
    h.reset(ec);
    if (ec) return {};
    h.update(bytes_of(rest), ec);
    return h.finish(ec);
}

} // namespace

TEST_CASE("what an earlier run left is hashed first, each time anew") {
    auto const prefix = [](auto const& take) {
        take(bytes_of("a"));
        take(bytes_of("b"));
        return std::error_code{};
    };
    verifier v{cleave::digest_algorithm::sha256, abc, prefix};
    CHECK(v.found().empty());
    for (int i = 0; i != 2; ++i) {
        std::error_code ec;
        CHECK(v.matches(hash(v, "c", ec)));
        CHECK(ec == std::error_code{});
    }
    std::error_code ec;
    CHECK_FALSE(v.matches(hash(v, "abc", ec)));
    verifier const whole{cleave::digest_algorithm::sha256, abc};
    CHECK(whole.matches(hash(whole, "abc", ec)));
    CHECK(whole.expectation() == v.expectation());
    CHECK(whole.expectation() != 0);
}

TEST_CASE("the digest that an image had is remembered, by all copies") {
    verifier const v{cleave::digest_algorithm::sha256, std::string(64, '0')};
    verifier const copy = v;
    std::error_code ec;
    CHECK_FALSE(copy.matches(hash(copy, "abc", ec)));
    CHECK(v.found() == abc);
}

TEST_CASE("what cannot be read back, or a digest that is none, is an error") {
    verifier const v{cleave::digest_algorithm::sha256, abc,
                     [](auto const&) { return make_error_code(std::errc::io_error); }};
    std::error_code ec;
    (void)hash(v, "c", ec);
    CHECK(ec == std::errc::io_error);
    CHECK(v.fault() == std::error_code{});
    CHECK(verifier{cleave::digest_algorithm::sha256, "abc"}.fault() == cleave::error::bad_digest);
    CHECK(verifier{cleave::digest_algorithm::sha256, "abc"}.expectation() == 0);
}
