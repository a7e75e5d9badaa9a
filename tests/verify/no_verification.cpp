// SPDX-License-Identifier: BSL-1.0
//
// Without verification nothing is hashed, and everything is taken.

#include <cleave/verify/no_verification.hpp>

#include <support/catch.hpp>

#include <cstddef>
#include <system_error>

using cleave::digest_value;
using cleave::no_verification;

static_assert(!no_verification::wanted());
static_assert(no_verification::matches(digest_value{}));
static_assert(cleave::hasher<cleave::no_hasher>);

TEST_CASE("no_verification expects nothing") {
    CHECK_FALSE(no_verification::fault());
    digest_value any;
    any.size = 32;
    any.bytes[0] = std::byte{1};
    CHECK(no_verification::matches(any));
}

TEST_CASE("no_hasher hashes nothing, without an error") {
    auto h = no_verification::make_hasher();
    std::error_code ec;
    h.reset(ec);
    h.update({}, ec);
    CHECK(h.finish(ec) == digest_value{});
    CHECK_FALSE(ec);
}
