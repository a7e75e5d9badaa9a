// SPDX-License-Identifier: BSL-1.0
//
// Where a Location leads: the examples of RFC 3986, section 5.4, and what servers write besides.

#include <cleave/http/redirect.hpp>

#include <support/catch.hpp>

#include <http/read.hpp>

#include <string>
#include <system_error>

using cleave::error;
using cleave::url;

namespace {

url at(std::string_view text) {
    std::error_code ec;
    url const to = url::parse(text, ec);
    REQUIRE_FALSE(ec);
    return to;
}
// "http://host/target", or the error.
std::string resolved(std::string_view base, std::string_view reference) {
    std::error_code ec;
    url const to = cleave::resolve(at(base), reference, ec);
    if (ec) return ec.message().substr(0, 20);
    std::string text{to.scheme()};
    text += "://" + to.host_field() + std::string{to.target()};
    return text;
}
std::error_code refused(std::string_view asked, std::string_view fields) {
    std::error_code ec;
    url const to = cleave::redirect_target(
        at(asked), cleave_test::read_head("HTTP/1.1 302 x\r\n" + std::string{fields} + "\r\n"), ec);
    if (ec) CHECK(to.empty());
    return ec;
}

} // namespace

TEST_CASE("which statuses redirect") {
    for (int const status : {301, 302, 303, 307, 308}) CHECK(cleave::is_redirect(status));
    for (int const status : {200, 206, 300, 304, 305, 306, 404})
        CHECK_FALSE(cleave::is_redirect(status));
}

TEST_CASE("references of RFC 3986, section 5.4, that may stand in a Location (E08)") {
    struct row {
        char const* reference;
        char const* becomes;
    };
    for (row const r : {row{"g", "http://a/b/c/g"},
                        {"./g", "http://a/b/c/g"},
                        {"g/", "http://a/b/c/g/"},
                        {"/g", "http://a/g"},
                        {"//g", "http://g/"},
                        {"?y", "http://a/b/c/d;p?y"},
                        {"g?y", "http://a/b/c/g?y"},
                        {"#s", "http://a/b/c/d;p?q"},
                        {"g#s", "http://a/b/c/g"},
                        {"g?y#s", "http://a/b/c/g?y"},
                        {";x", "http://a/b/c/;x"},
                        {"g;x", "http://a/b/c/g;x"},
                        {"", "http://a/b/c/d;p?q"},
                        {".", "http://a/b/c/"},
                        {"./", "http://a/b/c/"},
                        {"..", "http://a/b/"},
                        {"../", "http://a/b/"},
                        {"../g", "http://a/b/g"},
                        {"../..", "http://a/"},
                        {"../../g", "http://a/g"},
                        {"../../../g", "http://a/g"},
                        {"/./g", "http://a/g"},
                        {"/../g", "http://a/g"},
                        {"g.", "http://a/b/c/g."},
                        {"..g", "http://a/b/c/..g"},
                        {"./../g", "http://a/b/g"},
                        {"g/./h", "http://a/b/c/g/h"},
                        {"g/../h", "http://a/b/c/h"},
                        {"g;x=1/../y", "http://a/b/c/y"},
                        {"g?y/./x", "http://a/b/c/g?y/./x"},
                        {"g?y/../x", "http://a/b/c/g?y/../x"},
                        {"http://other:81/x?y", "http://other:81/x?y"},
                        {"https://other", "https://other/"}}) {
        CAPTURE(r.reference);
        CHECK(resolved("http://a/b/c/d;p?q", r.reference) == r.becomes);
    }
    CHECK(resolved("http://[::1]:8080/x", "y") == "http://[::1]:8080/y");
}

TEST_CASE("where a redirect may not lead (E06, E08)") {
    CHECK(refused("http://a/x", "") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: \r\n") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: /y\r\nLocation: /z\r\n") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: /y\r\nlocation: /y\r\n") == std::error_code{});
    CHECK(refused("http://a/x", "Location: file:///etc/passwd\r\n") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: javascript:1\r\n") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: http://u:p@h/\r\n") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: http://h:99999/\r\n") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: //h\\@evil/\r\n") == error::bad_redirect);
    CHECK(refused("http://a/x", "Location: /a b\r\n") == error::bad_redirect);
    CHECK(refused("https://a/x", "Location: http://a/x\r\n") == error::redirect_to_plain);
    CHECK(refused("https://a/x", "Location: /y\r\n") == std::error_code{});
    CHECK(refused("http://a/x", "Location: https://a/x\r\n") == std::error_code{});
}

TEST_CASE("userinfo stays with its origin (E07)") {
    auto const to = [](char const* asked, char const* location) {
        std::error_code ec;
        return std::string{
            cleave::redirect_target(at(asked),
                                    cleave_test::read_head("HTTP/1.1 302 x\r\nLocation: " +
                                                           std::string{location} + "\r\n\r\n"),
                                    ec)
                .userinfo()};
    };
    CHECK(to("http://u:p@a/x", "/y") == "u:p");
    CHECK(to("http://u:p@a/x", "http://a:80/y") == "u:p");
    CHECK(to("http://u:p@a/x", "http://a:81/y").empty());
    CHECK(to("http://u:p@a/x", "http://b/y").empty());
    CHECK(to("http://u:p@a/x", "https://a/y").empty());
}
