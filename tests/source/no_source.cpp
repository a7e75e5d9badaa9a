// SPDX-License-Identifier: BSL-1.0
//
// no_source has nothing, and says so also where it is asked all the same.

#include <cleave/source/no_source.hpp>

#include <support/catch.hpp>

#include <system_error>
#include <type_traits>

using cleave::no_source;
using cleave::request;

static_assert(std::is_empty_v<no_source>);
static_assert(!no_source{}.available());

TEST_CASE("without a source there is no fresh request") {
    int calls = 0;
    no_source{}.async_fetch("http://example.org/a", [&](std::error_code ec, request const& fresh) {
        ++calls;
        CHECK(ec == cleave::error::no_fresh_request);
        CHECK(ec == cleave::cause::renewable);
        CHECK(fresh.target.empty());
    });
    CHECK(calls == 1);
}
