// SPDX-License-Identifier: BSL-1.0
//
// URLs have one strict reading: what is accepted and how it is read, what is refused, and which
// names for files can come of them.

#include <cleave/base/url.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

using cleave::error;
using cleave::url;
using namespace std::string_literals;

namespace {

url read(std::string_view text) {
    std::error_code ec = error::cancelled;
    url const to = url::parse(text, ec);
    INFO(text);
    REQUIRE_FALSE(ec);
    return to;
}

std::string name_of(std::string_view path) {
    return read("http://h/" + std::string(path)).file_name();
}

} // namespace

TEST_CASE("a default-constructed URL is empty") {
    url const none;
    CHECK(none.empty());
    CHECK(none.scheme().empty());
    CHECK(none.host().empty());
    CHECK(none.port() == 0);
    CHECK(none.target().empty());
    CHECK(none.host_field().empty());
    CHECK(none.to_string().empty());
    CHECK(none.file_name().empty());
    CHECK_FALSE(none.is_ip_literal());
}

TEST_CASE("URLs are taken apart") {
    struct row {
        char const* text;
        char const* scheme;
        char const* host;
        std::uint16_t port;
        char const* target;
        char const* userinfo;
        char const* host_field;
        char const* shown;
    };
    row const rows[] = {
        {"http://example.org", "http", "example.org", 80, "/", "", "example.org",
         "http://example.org/"},
        {"https://example.org/", "https", "example.org", 443, "/", "", "example.org",
         "https://example.org/"},
        {"HTTPS://Example.ORG/A/b?C=d", "https", "example.org", 443, "/A/b?C=d", "", "example.org",
         "https://example.org/A/b?..."},
        {"http://h:80/", "http", "h", 80, "/", "", "h", "http://h/"},
        {"http://h:443/", "http", "h", 443, "/", "", "h:443", "http://h:443/"},
        {"https://h:443/", "https", "h", 443, "/", "", "h", "https://h/"},
        {"https://h:80/", "https", "h", 80, "/", "", "h:80", "https://h:80/"},
        {"http://h:65535/x", "http", "h", 65535, "/x", "", "h:65535", "http://h:65535/x"},
        {"http://h:08080/x", "http", "h", 8080, "/x", "", "h:8080", "http://h:8080/x"},
        {"http://h:/x", "http", "h", 80, "/x", "", "h", "http://h/x"},
        {"http://h?q=1", "http", "h", 80, "/?q=1", "", "h", "http://h/?..."},
        {"http://h#f", "http", "h", 80, "/", "", "h", "http://h/"},
        {"http://h/p#f?x", "http", "h", 80, "/p", "", "h", "http://h/p"},
        {"http://h/p?a?b/c@d:e#f#g", "http", "h", 80, "/p?a?b/c@d:e", "", "h", "http://h/p?..."},
        {"http://h//x//y", "http", "h", 80, "//x//y", "", "h", "http://h//x//y"},
        {"http://h/a/../b/./c", "http", "h", 80, "/a/../b/./c", "", "h", "http://h/a/../b/./c"},
        {"http://h/%2F%zz%", "http", "h", 80, "/%2F%zz%", "", "h", "http://h/%2F%zz%"},
        {"http://h/[a]{b}|c^`\"<>", "http", "h", 80, "/[a]{b}|c^`\"<>", "", "h",
         "http://h/[a]{b}|c^`\"<>"},
        {"http://h/@scope/pkg", "http", "h", 80, "/@scope/pkg", "", "h", "http://h/@scope/pkg"},
        {"http://user:pa%20ss@h:81/x", "http", "h", 81, "/x", "user:pa%20ss", "h:81",
         "http://h:81/x"},
        {"http://user@h/", "http", "h", 80, "/", "user", "h", "http://h/"},
        {"http://u:a:b@h/", "http", "h", 80, "/", "u:a:b", "h", "http://h/"},
        {"http://@h/", "http", "h", 80, "/", "", "h", "http://h/"},
        {"http://a_b-c.d.e./x", "http", "a_b-c.d.e.", 80, "/x", "", "a_b-c.d.e.",
         "http://a_b-c.d.e./x"},
        {"http://xn--bcher-kva.example/", "http", "xn--bcher-kva.example", 80, "/", "",
         "xn--bcher-kva.example", "http://xn--bcher-kva.example/"},
        // I02: each has exactly one reading, and not the attacker's.
        {"http://h#@evil/", "http", "h", 80, "/", "", "h", "http://h/"},
        {"http://h?@evil/", "http", "h", 80, "/?@evil/", "", "h", "http://h/?..."},
        {"http://h/@evil/", "http", "h", 80, "/@evil/", "", "h", "http://h/@evil/"},
        {"http://good;@evil/", "http", "evil", 80, "/", "good;", "evil", "http://evil/"},
        {"http://good.org:80@evil/", "http", "evil", 80, "/", "good.org:80", "evil",
         "http://evil/"},
    };
    for (row const& r : rows) {
        INFO(r.text);
        url const u = read(r.text);
        CHECK_FALSE(u.empty());
        CHECK(u.scheme() == r.scheme);
        CHECK(u.host() == r.host);
        CHECK(u.port() == r.port);
        CHECK(u.target() == r.target);
        CHECK(u.userinfo() == r.userinfo);
        CHECK(u.host_field() == r.host_field);
        CHECK(u.to_string() == r.shown);
        CHECK_FALSE(u.is_ip_literal());
        CHECK_FALSE(u.is_ipv6_literal());
    }
}

TEST_CASE("addresses in URLs are told from names") {
    for (char const* text : {"0.0.0.0", "1.2.3.4", "255.255.255.255", "10.20.30.40"}) {
        url const u = read("http://"s + text + ":81/");
        CHECK(u.host() == text);
        CHECK(u.is_ip_literal());
        CHECK_FALSE(u.is_ipv6_literal());
        CHECK(u.host_field() == text + ":81"s);
    }
    for (char const* text :
         {"::", "::1", "1::", "fe80::1", "1:2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "1:2:3:4:5:6:7::",
          "::2:3:4:5:6:7:8", "abcd:ef01:2345:6789:abcd:ef01:2345:6789", "::ffff:1.2.3.4",
          "1:2:3:4:5:6:1.2.3.4", "1::1.2.3.4", "::1.2.3.4", "1:2:3:4:5::1.2.3.4"}) {
        url const u = read("https://["s + text + "]/x");
        CHECK(u.host() == text);
        CHECK(u.is_ip_literal());
        CHECK(u.is_ipv6_literal());
        CHECK(u.host_field() == "["s + text + "]");
        CHECK(u.to_string() == "https://["s + text + "]/x");
    }
    CHECK(read("http://[FE80::A]:8080/").host() == "fe80::a");
    CHECK(read("http://[FE80::A]:8080/").host_field() == "[fe80::a]:8080");
    CHECK_FALSE(read("http://1.2.3.4.example/").is_ip_literal());
    CHECK_FALSE(read("http://0xyz/").is_ip_literal());
}

TEST_CASE("URLs in doubt are refused (I01, I02)") {
    std::string const rows[] = {
        "", "x", "/x", "//h/x", "h/x", "h:80/x", "http:", "http:/", "http:h", "http:/h", "http//h",
        "://h", "1http://h", "ht tp://h", "-http://h", "mailto:a@b",
        // No host, and host that is none.
        "http://", "http:///x", "http://?q", "http://#f", "http://:80/", "http://@/", "http://u@/",
        "http://.h/", "http://h../", "http://a..b/", "http://./", "http://..", "http://a,b/",
        "http://a;b/", "http://a=b/", "http://a!b/", "http://a*b/", "http://(a)/", "http://a\"b/",
        "http://a<b/", "http://a'b/", "http://a&b/", "http://a$b/", "http://a+b/", "http://a~b/",
        "http://a|b/", "http://a^b/", "http://a`b/", "http://{a}/",
        "http://" + std::string(64, 'a') + ".org/",
        "http://" + std::string(120, 'a') + "." + std::string(120, 'b') + "." +
            std::string(20, 'c') + "/",
        // I02: percent signs, userinfo twice, backslashes.
        "http://example.com%2F10.0.0.1/", "http://a%62c/", "http://h%00/", "http://a@b@c/",
        "http://a:b@c:d@e/", "http://@@h/", "http://good\\@evil/", "http://h\\x/", "http://h/a\\b",
        "http:\\\\h\\x", "https:\\/h",
        // Userinfo that does not fit Basic credentials.
        "http://u%@h/", "http://u%2@h/", "http://u%zz@h/", "http://u%0d%0aX@h/", "http://u%00@h/",
        "http://u%7f@h/", "http://u%3Ab:p@h/", "http://[u]@h/", "http://u\"@h/",
        // Ports.
        "http://h:0/", "http://h:00000/", "http://h:65536/", "http://h:99999/", "http://h:000080/",
        "http://h:100000/", "http://h:-1/", "http://h:+1/", "http://h:8o/", "http://h:0x50/",
        "http://h:80:80/", "http://h:80x/", "http://h:18446744073709551696/",
        // Addresses that programs read in several ways.
        "http://1/", "http://127.1/", "http://127.0.1/", "http://1.2.3.4.5/", "http://1.2.3.256/",
        "http://1.2.3.04/", "http://01.2.3.4/", "http://1.2.3.4./", "http://1.2.3./",
        "http://0x7f000001/", "http://0x7f.1/", "http://a.0x1/", "http://a.b.1/", "http://0X/",
        "http://2130706433/", "http://017700000001/", "http://1.2.3.1000/",
        // Brackets, IPv6 and zones.
        "http://[/", "http://]/", "http://[]/", "http://[::1/", "http://::1]/", "http://::1/",
        "http://[::1]x/", "http://x[::1]/", "http://[::1]]/", "http://[[::1]]/", "http://[::1]80/",
        "http://[::1]:x/", "http://[::1%25eth0]/", "http://[::1%eth0]/", "http://[::1%25x]/",
        "http://[h]/", "http://[1.2.3.4]/", "http://[v1.x]/", "http://[:]/", "http://[:::]/",
        "http://[:1]/", "http://[1:]/", "http://[1:2:3:4:5:6:7]/", "http://[1:2:3:4:5:6:7:8:9]/",
        "http://[1:2:3:4:5:6:7:8::]/", "http://[::1:2:3:4:5:6:7:8]/", "http://[1::2::3]/",
        "http://[12345::]/", "http://[::g]/", "http://[::1.2.3]/", "http://[::1.2.3.256]/",
        "http://[1:2:3:4:5:6:7:1.2.3.4]/", "http://[1.2.3.4::]/", "http://[::1.2.3.4:5]/",
        "http://[1:2:3:4:5:1.2.3.4]/", "http://[ ::1]/"};
    for (std::string const& text : rows) {
        INFO(text);
        std::error_code ec;
        CHECK(url::parse(text, ec).empty());
        CHECK(ec == error::bad_url);
    }
    for (char const* text : {"ftp://h/x", "file:///etc/passwd", "HTTPX://h", "ws://h/", "h2+c://h/",
                             "gopher://h:70/", "httpss://h/", "javascript://h/"}) {
        INFO(text);
        std::error_code ec;
        CHECK(url::parse(text, ec).empty());
        CHECK(ec == error::unsupported_scheme);
    }
}

TEST_CASE("no URL holds a space, a control character, a backslash or a byte beyond ASCII (I01)") {
    std::string const sample = "http://us:pw@example.org:8080/path/x?query=1#fragment";
    for (std::size_t at = 0; at <= sample.size(); ++at) {
        for (int byte = 0; byte < 256; ++byte) {
            bool const refused = byte <= 0x20 || byte >= 0x7f || byte == '\\';
            std::string text = sample;
            text.insert(at, 1, static_cast<char>(byte));
            std::error_code ec;
            url const u = url::parse(text, ec);
            if (u.empty() != static_cast<bool>(ec) || (refused && !ec)) FAIL(text);
            if (ec) continue;
            // What was read says the same when it is written and read again.
            std::string again = std::string(u.scheme()) + "://";
            if (!u.userinfo().empty()) again += std::string(u.userinfo()) + "@";
            again += u.host_field() + std::string(u.target());
            if (url::parse(again, ec) != u) FAIL(text + " / " + again);
        }
    }
}

TEST_CASE("userinfo is set from a name and a password as they are") {
    struct row {
        std::string user, password, userinfo;
    };
    row const rows[] = {
        {"u", "p", "u:p"},
        {"", "", ":"},
        {"Az09", "", "Az09:"},
        {"", "Az09", ":Az09"},
        {"a b", "c@d/e?f#g", "a%20b:c%40d%2Fe%3Ff%23g"},
        {"50%", "%41", "50%25:%2541"},
        {"u", "a:b:", "u:a%3Ab%3A"},
        {"\xc3\xa4", "\x80\xff", "%C3%A4:%80%FF"},
        {"-._~", "!\"\\", "%2D%2E%5F%7E:%21%22%5C"},
    };
    for (row const& r : rows) {
        INFO(r.userinfo);
        url u = read("https://old:one@h:81/x?y");
        std::error_code ec = error::cancelled;
        u.set_userinfo(r.user, r.password, ec);
        CHECK_FALSE(ec);
        CHECK(u.userinfo() == r.userinfo);
        // Nothing else has changed, and it is what a URL may say.
        CHECK(u == read("https://" + r.userinfo + "@h:81/x?y"));
    }
}

TEST_CASE("userinfo of any bytes but controls is what it decodes to, and none else is set (I01)") {
    for (int byte = 0; byte < 256; ++byte) {
        bool const control = byte < 0x20 || byte == 0x7f;
        std::string const text = "a" + std::string(1, static_cast<char>(byte)) + "b";
        for (bool const in_name : {true, false}) {
            INFO(byte);
            url u = read("http://o:n@h/");
            url const before = u;
            std::error_code ec;
            u.set_userinfo(in_name ? text : "u", in_name ? "p" : text, ec);
            if (control || (in_name && byte == ':')) {
                CHECK(ec == error::bad_url);
                CHECK(u == before);
            } else {
                CHECK_FALSE(ec);
                CHECK(cleave::detail::url_decode(u.userinfo()) ==
                      (in_name ? text + ":p" : "u:" + text));
            }
        }
    }
}

TEST_CASE("an empty URL has no userinfo to be set") {
    url none;
    std::error_code ec;
    none.set_userinfo("u", "p", ec);
    CHECK(ec == error::bad_url);
    CHECK(none == url{});
}

TEST_CASE("userinfo is taken over as it is, and nothing else is") {
    url u = read("https://h/x");
    u.take_userinfo(read("https://us%20er:pw@h/y"));
    CHECK(u == read("https://us%20er:pw@h/x"));
    u.take_userinfo(read("https://h/y"));
    CHECK(u == read("https://h/x"));
}

TEST_CASE("a URL that is shown holds no secrets (I08)") {
    std::string const shown =
        read("https://user:secret1@h/x?token=secret2&sig=secret3#secret4").to_string();
    CHECK(shown == "https://h/x?...");
}

TEST_CASE("a file name is the path's last part, made safe (I05, I06)") {
    CHECK(read("http://h").file_name().empty());
    CHECK(read("http://h?x=/y").file_name().empty());
    struct row {
        std::string path, name;
    };
    row const rows[] = {
        {"", ""},
        {"a.bin", "a.bin"},
        {"x/y/model.tar.gz?v=1/2#z", "model.tar.gz"},
        {"a%20b%2Bc", "a b+c"},
        {"a+b", "a+b"},
        {"%e4%bd%a0.txt", "\xe4\xbd\xa0.txt"},
        {"x/", ""},
        {"x%2f", ""},
        {"..", ""},
        {".", ""},
        {"%2e%2e", ""},
        {"...", ""},
        {"-", ""},
        {"../../x", "x"},
        {"%2e%2e%2f%2e%2e%2fetc%2fpasswd", "passwd"},
        {"..%5c..%5cx", "x"},
        {"C:%5cx", "x"},
        {"%5c", ""},
        {".bashrc", "bashrc"},
        {"%2Ebashrc", "bashrc"},
        {"-rf", "rf"},
        {"--help", "help"},
        {".-.-x.-", "x.-"},
        {"%00.bashrc", "bashrc"},
        {"%01%1f%7f-x", "x"},
        {"a%00b", "ab"},
        {"a%0d%0ab%09c", "abc"},
        {"a%1b%5b2Jb", "a[2Jb"},
        {"a%c2%9b2Jb", "a2Jb"},         // CSI as one character of the C1 set
        {"a%9b2Jb", "a_2Jb"},           // and as a byte, which is no UTF-8
        {"%c0%af%c0%afetc", "____etc"}, // '/' in overlong form
        {"%c0%ae", "__"},
        {"%ed%a0%80", "___"},
        {"%f4%90%80%80", "____"},
        {"%f0%80%80%af", "____"},
        {"%e0%80%af", "___"},
        {"%e4%bd", "__"},
        {"%ff", "_"},
        {"%zz%2", "%zz%2"},
        {"%252e%252e%252f", "%2e%2e%2f"}, // decoded once only
        {"CON", "CON"},
        {"~", "~"},
    };
    for (row const& r : rows) {
        INFO(r.path);
        CHECK(name_of(r.path) == r.name);
    }
}

TEST_CASE("a file name has at most 255 bytes and ends between characters (I05)") {
    CHECK(name_of(std::string(255, 'x')) == std::string(255, 'x'));
    CHECK(name_of(std::string(4096, 'x')) == std::string(255, 'x'));
    std::string const euro = "%e2%82%ac";
    for (std::size_t before = 250; before <= 256; ++before) {
        std::string const name = name_of(std::string(before, 'x') + euro + euro);
        std::size_t const fit = before > 255 ? 0 : (255 - before) / 3;
        CHECK(name.size() == std::min<std::size_t>(before, 255) + fit * 3);
    }
}

TEST_CASE("whatever the path, a file name stays in its directory (I05, I06)") {
    // All names of up to three of these.
    std::string const parts[] = {"",    ".",   "-",      "%2e", "%2f",    "/", "%5c", "%00",
                                 "%0a", "%7f", "%c2%85", "%80", "%e2%80", "a", "%25", "%"};
    for (auto const& a : parts) {
        for (auto const& b : parts) {
            for (auto const& c : parts) {
                std::string const name = name_of(a + b + c);
                if (name.find_first_of("/\\\0\n\x7f"s) != std::string::npos ||
                    name.find("\xc2\x85") != std::string::npos || name.starts_with('.') ||
                    name.starts_with('-') || name.starts_with('\x80'))
                    FAIL(a + b + c + " became " + name);
            }
        }
    }
}
