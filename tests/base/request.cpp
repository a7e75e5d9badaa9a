// SPDX-License-Identifier: BSL-1.0
//
// A request is made of a URL in any form, remembers why one could not be read, and is built up in
// one expression or line by line.

#include <cleave/base/request.hpp>

#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

using cleave::request;
using cleave::segment;

static_assert(std::is_convertible_v<char const*, request>);
static_assert(std::is_convertible_v<std::string, request>);
static_assert(std::is_convertible_v<std::string_view, request>);
static_assert(std::is_convertible_v<cleave::url, request>);
static_assert(std::is_nothrow_move_constructible_v<request>);

namespace {

std::string shown(request const& r) {
    return "http://" + r.target.host_field() + std::string{r.target.target()};
}

} // namespace

TEST_CASE("a request is made of a URL in any form") {
    std::string const text = "http://example.org/a?b";
    CHECK(shown(text.c_str()) == text);
    CHECK(shown(text) == text);
    CHECK(shown(std::string_view{text}) == text);
    CHECK(shown({text}) == text);
    std::error_code ec;
    CHECK(shown(cleave::url::parse(text, ec)) == text);
    CHECK_FALSE(request{text}.url_error);
}

TEST_CASE("a URL that cannot be read is remembered, not thrown") {
    request const bad = "http://";
    CHECK(bad.url_error == cleave::error::bad_url);
    CHECK(bad.target.empty());
    request const other = "ftp://example.org/";
    CHECK(other.url_error == cleave::error::unsupported_scheme);
}

TEST_CASE("a request asks for everything, patiently and within bounds, unless told") {
    request const r = "http://example.org/";
    CHECK_FALSE(r.part);
    CHECK(r.headers.empty());
    CHECK(r.user_agent == "cleave");
    CHECK(r.seed == 0);
    CHECK(r.max_size == std::uint64_t{1} << 62);
    CHECK(r.timeouts.connect == std::chrono::seconds{15});
    CHECK(r.timeouts.head == std::chrono::seconds{30});
    CHECK(r.timeouts.stall == std::chrono::seconds{30});
    CHECK_FALSE(r.timeouts.deadline);
    CHECK_FALSE(r.valid_for);
    CHECK(r.new_versions == 0);
    CHECK_FALSE(request{}.url_error);
    CHECK(request{}.target.empty());
}

TEST_CASE("a request is built in one expression") {
    request const r = request{"http://example.org/"}
                          .only({100, 199})
                          .with_header("X-One", "1")
                          .with_header("X-Two", "2");
    CHECK(r.part == segment{100, 199});
    REQUIRE(r.headers.size() == 2);
    CHECK(r.headers[0].name == "X-One");
    CHECK(r.headers[0].value == "1");
    CHECK(r.headers[1].name == "X-Two");
    CHECK(r.headers[1].value == "2");
}

TEST_CASE("a request is built line by line") {
    request r = "http://example.org/";
    request const& same = r.only({5, 9}).with_header("A", "b");
    CHECK(&same == &r);
    r.with_header("C", "d");
    CHECK(r.part == segment{5, 9});
    CHECK(r.headers.size() == 2);
    request const moved = std::move(r);
    CHECK(moved.headers.size() == 2);
    CHECK(shown(moved) == "http://example.org/");
}
