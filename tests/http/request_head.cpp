// SPDX-License-Identifier: BSL-1.0
//
// Requests: byte for byte what is sent, to the origin or to a proxy, and what of the caller's is
// not.

#include <cleave/http/request_head.hpp>

#include <support/catch.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using cleave::check_headers;
using cleave::error;
using cleave::header;
using cleave::max_offset;
using cleave::proxy_hop;
using cleave::request_fields;
using cleave::segment;
using cleave::url;
using cleave::validator;
using kind = validator::kind;
using namespace std::string_literals;

namespace {

struct asked {
    std::string target = "http://example.org/r";
    std::optional<segment> range = {};
    std::optional<validator> if_range = {};
    std::vector<header> headers = {};
    std::string user_agent = "cleave";
    std::optional<proxy_hop> proxy = {};
};

std::string written(asked const& what) {
    std::error_code ec;
    url const target = url::parse(what.target, ec);
    REQUIRE_FALSE(ec);
    REQUIRE_FALSE(check_headers(what.headers, what.user_agent));
    std::string const before = "something that was there before";
    std::string to = before;
    cleave::append_request_head(to, {target, what.range, what.if_range ? &*what.if_range : nullptr,
                                     what.headers, what.user_agent,
                                     what.proxy ? &*what.proxy : nullptr});
    REQUIRE(to.starts_with(before));
    return to.substr(before.size());
}

std::size_t lines_with(std::string const& text, std::string const& name) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find("\r\n" + name + ": ", at)) != text.npos; ++at) ++n;
    return n;
}

std::string const common = "User-Agent: cleave\r\nAccept: */*\r\nAccept-Encoding: identity\r\n";

} // namespace

TEST_CASE("a request, byte for byte") {
    CHECK(written({}) == "GET /r HTTP/1.1\r\nHost: example.org\r\n" + common + "\r\n");
    CHECK(written({.target = "https://example.org:8443/a/b%20c?d=e&f#g",
                   .range = segment{300000, 399999},
                   .if_range = validator{kind::strong_etag, "\"v1\""},
                   .headers = {{"X-Token", "abc def"}, {"cookie", "a=b"}}}) ==
          "GET /a/b%20c?d=e&f HTTP/1.1\r\nHost: example.org:8443\r\n" + common +
              "Range: bytes=300000-399999\r\nIf-Range: \"v1\"\r\n"
              "X-Token: abc def\r\ncookie: a=b\r\n\r\n");
    CHECK(written({.target = "http://[::1]:81"}) ==
          "GET / HTTP/1.1\r\nHost: [::1]:81\r\n" + common + "\r\n");
}

TEST_CASE("a request is written into memory that is used again") {
    std::error_code ec;
    url const target = url::parse("http://user:password@example.org/r", ec);
    validator const v{kind::strong_etag, "\"v1\""};
    std::string to;
    request_fields const fields{target, segment{0, max_offset - 1}, &v, {}, "cleave"};
    cleave::append_request_head(to, fields);
    std::string const first = to;
    char const* const where = to.data();
    to.clear();
    cleave::append_request_head(to, fields);
    CHECK(to == first);
    CHECK(to.data() == where);
}

TEST_CASE("ranges are written with both ends, or open") {
    CHECK(written({.range = segment{0, 0}}).find("\r\nRange: bytes=0-0\r\n") != std::string::npos);
    CHECK(written({.range = segment{5, max_offset}}).find("\r\nRange: bytes=5-\r\n") !=
          std::string::npos);
    CHECK(written({.range = segment{max_offset - 1, max_offset - 1}})
              .find("\r\nRange: bytes=18446744073709551614-18446744073709551614\r\n") !=
          std::string::npos);
    CHECK(lines_with(written({}), "Range") == 0);
}

TEST_CASE("If-Range is sent beside a range only, and for strong validators only (B03, B07)") {
    std::string const date = "Sun, 06 Nov 1994 08:49:37 GMT";
    struct row {
        validator v;
        bool sent;
    };
    for (row const& r : {
             row{{kind::strong_etag, "\"v1\""}, true},
             row{{kind::strong_etag, "\"\""}, true},
             row{{kind::last_modified, date}, true},
             row{{kind::none, ""}, false},
             row{{kind::none, "\"v1\""}, false},
             // What no reply can have brought, but a damaged journal might.
             row{{kind::strong_etag, "W/\"v1\""}, false},
             row{{kind::strong_etag, "v1"}, false},
             row{{kind::strong_etag, ""}, false},
             row{{kind::strong_etag, "\"v1\"\r\nX: y"}, false},
             row{{kind::strong_etag, "\"v\r\n1\""}, false},
             row{{kind::strong_etag, "\"" + std::string(8192, 'x') + "\""}, false},
             row{{kind::last_modified, date + "\r\nX: y"}, false},
             row{{kind::last_modified, "\"v1\""}, false},
         }) {
        INFO(r.v.text);
        std::string const with = written({.range = segment{0, 9}, .if_range = r.v});
        CHECK(lines_with(with, "If-Range") == (r.sent ? 1 : 0));
        if (r.sent) CHECK(with.find("\r\nIf-Range: " + r.v.text + "\r\n") != std::string::npos);
        CHECK(lines_with(with, "X") == 0);
        CHECK(lines_with(written({.if_range = r.v}), "If-Range") == 0);
    }
}

TEST_CASE("user and password become Basic credentials") {
    auto const credentials = [](std::string const& userinfo) {
        std::string const text = written({.target = "http://" + userinfo + "@h/"});
        std::size_t const at = text.find("\r\nAuthorization: ");
        if (at == std::string::npos) return "none"s;
        std::size_t const from = at + 17;
        return text.substr(from, text.find("\r\n", from) - from);
    };
    CHECK(credentials("Aladdin:open%20sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    CHECK(credentials("test:123%C2%A3") == "Basic dGVzdDoxMjPCow==");
    CHECK(credentials("a:b") == "Basic YTpi");
    CHECK(credentials("a:bc") == "Basic YTpiYw==");
    CHECK(credentials("a:bcd") == "Basic YTpiY2Q=");
    CHECK(credentials("a") == "Basic YTo=");
    CHECK(credentials("a:") == "Basic YTo=");
    CHECK(credentials(":b") == "Basic OmI=");
    CHECK(credentials("a:b:c%3A%FF") == "Basic YTpiOmM6/w==");
    CHECK(credentials("") == "none");
    CHECK(
        lines_with(written({.target = "http://a:b@h/", .headers = {{"authorization", "Bearer x"}}}),
                   "Authorization") == 0);
    CHECK(written({.target = "http://a:b@h/"}).find("a:b") == std::string::npos);
}

TEST_CASE("credentials are written as RFC 7617 has them, whoever they are for") {
    using cleave::basic_credentials;
    // Section 2, and section 2.1 with UTF-8.
    CHECK(basic_credentials("Aladdin:open%20sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    CHECK(basic_credentials("test:123%C2%A3") == "Basic dGVzdDoxMjPCow==");
    CHECK(basic_credentials("a") == basic_credentials("a:"));
    CHECK(basic_credentials("") == "Basic Og==");
    // The same as in a request.
    std::string const text = written({.target = "http://Aladdin:open%20sesame@h/"});
    CHECK(text.find("\r\nAuthorization: " + basic_credentials("Aladdin:open%20sesame") + "\r\n") !=
          std::string::npos);
}

namespace {

// What the digits of Base64 stand for (RFC 4648, section 4).
std::string decoded(std::string_view text) {
    std::string const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bits;
    for (char const c : text.substr(0, text.find('='))) {
        std::size_t const value = alphabet.find(c);
        REQUIRE(value < 64);
        for (int bit = 5; bit >= 0; --bit) bits += (value >> bit & 1) != 0 ? '1' : '0';
    }
    std::string to;
    for (std::size_t at = 0; at + 8 <= bits.size(); at += 8)
        to += static_cast<char>(std::stoi(bits.substr(at, 8), nullptr, 2));
    CHECK(text.size() % 4 == 0);
    return to;
}

} // namespace

TEST_CASE("any name and password come through URL and credentials as they are") {
    std::string every;
    for (int byte = 0x20; byte < 256; ++byte)
        if (byte != 0x7f) every += static_cast<char>(byte);
    std::string no_colon = every;
    no_colon.erase(no_colon.find(':'), 1);
    for (auto const& [user, password] : {std::pair{"Aladdin"s, "open sesame"s},
                                         {"test"s, "123\xc2\xa3"s},
                                         {""s, ""s},
                                         {"a%41+b"s, "%2541:"s},
                                         {no_colon, every},
                                         {every.substr(0, 26), ""s}}) {
        std::error_code ec;
        url target = url::parse("http://h/", ec);
        target.set_userinfo(user, password, ec);
        REQUIRE_FALSE(ec);
        std::string const text = cleave::basic_credentials(target.userinfo());
        REQUIRE(text.starts_with("Basic "));
        CHECK(decoded(text.substr(6)) == user + ":" + password);
    }
}

TEST_CASE("a proxy is told the whole URL, and the origin the same as ever") {
    CHECK(written({.target = "http://example.org/a?b#c", .proxy = proxy_hop{}}) ==
          "GET http://example.org/a?b HTTP/1.1\r\nHost: example.org\r\n" + common + "\r\n");
    struct row {
        char const* target;
        char const* line;
        char const* host;
    };
    for (row const& r : {row{"http://example.org", "http://example.org/", "example.org"},
                         row{"http://example.org?q", "http://example.org/?q", "example.org"},
                         row{"http://Example.org:80/x", "http://example.org/x", "example.org"},
                         row{"http://h:8080/x", "http://h:8080/x", "h:8080"},
                         row{"http://h:443/x", "http://h:443/x", "h:443"},
                         row{"http://[::1]/x", "http://[::1]/x", "[::1]"},
                         row{"http://[::1]:81/x", "http://[::1]:81/x", "[::1]:81"},
                         row{"http://1.2.3.4:81/x", "http://1.2.3.4:81/x", "1.2.3.4:81"},
                         row{"https://h/x", "https://h/x", "h"}}) {
        INFO(r.target);
        CHECK(written({.target = r.target, .proxy = proxy_hop{}}) ==
              "GET "s + r.line + " HTTP/1.1\r\nHost: " + r.host + "\r\n" + common + "\r\n");
    }
}

TEST_CASE("the proxy's credentials go to the proxy, once, and to nobody else (I03)") {
    std::string const basic = cleave::basic_credentials("proxy:key");
    asked what{.target = "http://user:word@h/x",
               .range = segment{1, 2},
               .if_range = validator{kind::strong_etag, "\"v1\""},
               .proxy = proxy_hop{basic}};
    std::string const text = written(what);
    CHECK(lines_with(text, "Proxy-Authorization") == 1);
    CHECK(text.find("\r\nProxy-Authorization: " + basic + "\r\n") != std::string::npos);
    for (char const* name : {"Host", "Range", "If-Range", "Authorization"})
        CHECK(lines_with(text, name) == 1);
    // Those of the URL are not in what the proxy is told of it.
    CHECK(text.starts_with("GET http://h/x HTTP/1.1\r\n"));

    what.headers = {{"authorization", "Bearer x"}};
    CHECK(lines_with(written(what), "Proxy-Authorization") == 1);
    CHECK(lines_with(written(what), "Authorization") == 0);

    what.proxy = proxy_hop{};
    CHECK(lines_with(written(what), "Proxy-Authorization") == 0);
    what.proxy.reset();
    CHECK(lines_with(written(what), "Proxy-Authorization") == 0);
}

TEST_CASE("a bearer token is sent in place of the URL's credentials, and never beyond its line "
          "(I01)") {
    auto const headers_of = [](std::string_view token) {
        return cleave::request{"http://h/"}.with_bearer(token).headers;
    };
    std::string const text =
        written({.target = "http://u:p@h/", .headers = headers_of("a.b~c+/=")});
    CHECK(lines_with(text, "Authorization") == 1);
    CHECK(text.find("\r\nAuthorization: Bearer a.b~c+/=\r\n") != std::string::npos);
    for (auto const& token : {"a\r\nRange: bytes=0-1"s, "a\n"s, "\r"s, "a\0b"s, "\x7f"s})
        CHECK(check_headers(headers_of(token), "cleave") == error::bad_header);
}

TEST_CASE("every field is on the wire once (I03)") {
    std::string const text = written({.target = "http://u:p@h/x",
                                      .range = segment{1, 2},
                                      .if_range = validator{kind::strong_etag, "\"v1\""},
                                      .headers = {{"USER-AGENT", "mine"}, {"accept", "a/b"}}});
    for (char const* name :
         {"Host", "USER-AGENT", "accept", "Accept-Encoding", "Range", "If-Range", "Authorization"})
        CHECK(lines_with(text, name) == 1);
    CHECK(lines_with(text, "User-Agent") == 0);
    CHECK(lines_with(text, "Accept") == 0);
    CHECK(lines_with(written({.user_agent = ""}), "User-Agent") == 0);
}

TEST_CASE("headers that would say more than they seem to are refused (I01)") {
    std::vector<header> headers(1);
    auto const check = [&](std::string const& name, std::string const& value) {
        headers[0] = {name, value};
        return check_headers(headers, "cleave");
    };
    CHECK_FALSE(check("X-Token", "abc"));
    CHECK_FALSE(check("X", ""));
    CHECK_FALSE(check("X", "a b\tc \xe4\xff"));
    CHECK_FALSE(check("!#$%&'*+-.^_`|~09azAZ", "x"));
    for (std::string const& name : {""s, " "s, "X Y"s, "X:"s, "X "s, " X"s, "X\t"s, "X\r\nY"s,
                                    "X\0"s, "X/Y"s, "(X)"s, "\xc3\xa4"s, "X\""s, "X\x7f"s}) {
        INFO(name);
        CHECK(check(name, "value") == error::bad_header);
    }
    for (int byte = 0; byte < 0x80; ++byte) {
        bool const control = (byte < 0x20 && byte != '\t') || byte == 0x7f;
        for (std::string const& value : {std::string(1, static_cast<char>(byte)),
                                         "a" + std::string(1, static_cast<char>(byte)),
                                         "a" + std::string(1, static_cast<char>(byte)) + "b"}) {
            CHECK(check("X", value) ==
                  (control ? make_error_code(error::bad_header) : std::error_code{}));
            CHECK(check_headers({}, value) ==
                  (control ? make_error_code(error::bad_header) : std::error_code{}));
        }
    }
    // Each header is looked at, not the first alone.
    headers = {{"A", "b"}, {"C", "d\r\nE: f"}};
    CHECK(check_headers(headers, "cleave") == error::bad_header);
    headers = {{"A", "b"}, {"Range", "bytes=0-1"}};
    CHECK(check_headers(headers, "cleave") == error::reserved_header);
}

TEST_CASE("headers that the download sets are refused (I04)") {
    for (char const* name : {"Host",
                             "Range",
                             "If-Range",
                             "Content-Length",
                             "Transfer-Encoding",
                             "Accept-Encoding",
                             "TE",
                             "Connection",
                             "Trailer",
                             "Upgrade",
                             "Expect",
                             "Keep-Alive",
                             "Proxy-Connection",
                             "Proxy-Authorization",
                             "proxy-authorization",
                             "host",
                             "RANGE",
                             "if-range",
                             "Te",
                             "cOnTeNt-LeNgTh"}) {
        INFO(name);
        std::vector<header> const headers = {{name, "x"}};
        CHECK(check_headers(headers, "cleave") == error::reserved_header);
    }
    std::vector<header> const allowed = {{"Hosts", "x"},         {"X-Range", "x"}, {"Rang", "x"},
                                         {"Authorization", "x"}, {"Cookie", "x"},  {"Accept", "x"},
                                         {"User-Agent", "x"},    {"Referer", "x"}};
    CHECK_FALSE(check_headers(allowed, "cleave"));
}
