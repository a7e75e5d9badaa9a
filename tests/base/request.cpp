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

TEST_CASE("mirrors are added in order, and read as URLs are") {
    request const r = request{"http://example.org/a"}
                          .with_mirror("https://one.example/b")
                          .with_mirror("http://two.example:81/c");
    CHECK_FALSE(r.url_error);
    CHECK(shown(r) == "http://example.org/a");
    REQUIRE(r.mirrors.size() == 2);
    CHECK(r.mirrors[0].to_string() == "https://one.example/b");
    CHECK(r.mirrors[1].to_string() == "http://two.example:81/c");
    CHECK(request{"http://example.org/"}.mirrors.empty());

    request line = "http://example.org/";
    request const& same = line.with_mirror("http://one.example/");
    CHECK(&same == &line);
    CHECK(line.mirrors.size() == 1);
}

TEST_CASE("a mirror that cannot be read is remembered, and the first reason counts (I01, I02)") {
    CHECK(request{"http://h/"}.with_mirror("ftp://m/").url_error ==
          cleave::error::unsupported_scheme);
    CHECK(request{"http://h/"}.with_mirror("http://a@b@m/").url_error == cleave::error::bad_url);
    CHECK(request{"http://h/"}.with_mirror("http://m/\r\nX: y").url_error ==
          cleave::error::bad_url);
    CHECK(request{"http://h/"}.with_mirror("ftp://m/").with_mirror("").url_error ==
          cleave::error::unsupported_scheme);
    CHECK(request{"ftp://h/"}.with_mirror("").url_error == cleave::error::unsupported_scheme);
    // A good one makes up for nothing.
    CHECK(request{"http://h/"}.with_mirror("").with_mirror("http://m/").url_error ==
          cleave::error::bad_url);
    CHECK(request{""}.with_mirror("http://m/").url_error == cleave::error::bad_url);
}

TEST_CASE("credentials go with the target, in place of those in its URL") {
    request const r = request{"https://old:one@example.org/a"}
                          .with_mirror("https://m.example/")
                          .with_credentials("Aladdin", "open sesame");
    CHECK_FALSE(r.url_error);
    CHECK(cleave::detail::url_decode(r.target.userinfo()) == "Aladdin:open sesame");
    CHECK(r.target.to_string() == "https://example.org/a");
    REQUIRE(r.mirrors.size() == 1);
    CHECK(r.mirrors[0].userinfo().empty());
    CHECK(r.headers.empty());

    request line = "http://example.org/";
    request const& same = line.with_credentials("u", "");
    CHECK(&same == &line);
    CHECK(line.target.userinfo() == "u:");
}

TEST_CASE("credentials that cannot be sent are remembered, and the first reason counts (I01)") {
    auto const error_of = [](std::string_view user, std::string_view password) {
        request const r = request{"http://o:p@h/"}.with_credentials(user, password);
        if (r.url_error) CHECK(r.target.userinfo() == "o:p");
        return r.url_error;
    };
    CHECK_FALSE(error_of("u", "p:q"));
    CHECK(error_of("u:v", "p") == cleave::error::bad_url);
    CHECK(error_of("u\r\n", "p") == cleave::error::bad_url);
    CHECK(error_of("u", "p\r\nX: y") == cleave::error::bad_url);
    // Before there is a target.
    CHECK(request{}.with_credentials("u", "p").url_error == cleave::error::bad_url);
    CHECK(request{"ftp://h/"}.with_credentials("u", "p").url_error ==
          cleave::error::unsupported_scheme);
    CHECK(request{"http://h/"}.with_credentials("a:b", "").with_credentials("a", "b").url_error ==
          cleave::error::bad_url);
}

TEST_CASE("a bearer token is a header of the request") {
    request const r = request{"https://example.org/"}.with_bearer("mF_9.B5f-4.1JqM");
    REQUIRE(r.headers.size() == 1);
    CHECK(r.headers[0].name == "Authorization");
    CHECK(r.headers[0].value == "Bearer mF_9.B5f-4.1JqM");
    CHECK(r.target.userinfo().empty());

    request line = "http://example.org/";
    request const& same = line.with_bearer("x").with_header("A", "b");
    CHECK(&same == &line);
    CHECK(line.headers.size() == 2);
}
