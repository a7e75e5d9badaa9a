// SPDX-License-Identifier: BSL-1.0
//
// Two identities are the same only when size, kind of validator, its text and the weak ETag are.

#include <cleave/base/identity.hpp>

#include <support/catch.hpp>

using cleave::identity;
using cleave::validator;

TEST_CASE("nothing is known of an object until a server says it") {
    identity const none;
    CHECK_FALSE(none.size);
    CHECK(none.validator.is == validator::kind::none);
    CHECK(none.validator.text.empty());
    CHECK(none.weak_etag.empty());
}

TEST_CASE("identities differ in any of their parts") {
    identity const one{100, {validator::kind::strong_etag, "\"v1\""}, ""};
    CHECK(one == identity{100, {validator::kind::strong_etag, "\"v1\""}, ""});
    CHECK_FALSE(one == identity{101, {validator::kind::strong_etag, "\"v1\""}, ""});
    CHECK_FALSE(one == identity{std::nullopt, {validator::kind::strong_etag, "\"v1\""}, ""});
    CHECK_FALSE(one == identity{100, {validator::kind::strong_etag, "\"v2\""}, ""});
    CHECK_FALSE(one == identity{100, {validator::kind::last_modified, "\"v1\""}, ""});
    CHECK_FALSE(one == identity{100, {validator::kind::strong_etag, "\"v1\""}, "W/\"v1\""});
}
