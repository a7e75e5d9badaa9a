// SPDX-License-Identifier: BSL-1.0
//
// Content-Range: the grammar, and nothing beside it.

#include <cleave/http/content_range.hpp>

#include <support/catch.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

using cleave::content_range;
using cleave::max_offset;
using cleave::parse_content_range;
using cleave::segment;

static_assert(parse_content_range("bytes 0-0/1")->bytes == segment{0, 0});

TEST_CASE("Content-Range is read (A07, A13, A15, H03)") {
    struct row {
        char const* text;
        content_range expected;
    };
    row const rows[] = {
        {"bytes 300000-399999/1000000", {segment{300000, 399999}, 1000000}},
        {"bytes 0-0/1", {segment{0, 0}, 1}},
        {"bytes 42-1233/*", {segment{42, 1233}, {}}},
        {"bytes */1234", {{}, 1234}},
        {"bytes */0", {{}, 0}},
        {"BYTES 300000-399999/1000000", {segment{300000, 399999}, 1000000}},
        {"bYtEs 5-5/6", {segment{5, 5}, 6}},
        {"bytes 0000000000000000000000005-06/0007", {segment{5, 6}, 7}},
        {"bytes 9223372036854775806-9223372036854775806/9223372036854775807",
         {segment{9223372036854775806u, 9223372036854775806u}, 9223372036854775807u}},
        {"bytes 0-18446744073709551614/18446744073709551615",
         {segment{0, max_offset - 1}, max_offset}},
        {"bytes 0-18446744073709551615/*", {segment{0, max_offset}, {}}},
    };
    for (row const& r : rows) {
        INFO(r.text);
        auto const read = parse_content_range(r.text);
        REQUIRE(read);
        CHECK(*read == r.expected);
    }
}

TEST_CASE("a Content-Range of any other spelling is refused (A14, A15, H03)") {
    for (std::string_view const text :
         {"", "bytes", "bytes ", "b", "/", "-", "*", "*/*", "bytes=300000-399999/1000000",
          "300000-399999/1000000", "bytes:0-1/2", "bytes  300000 - 399999 / 1000000",
          "bytes  0-1/2", "bytes\t0-1/2", " bytes 0-1/2", "bytes 0-1/2 ", "bytes 0 -1/2",
          "bytes 0- 1/2", "bytes 0-1 /2", "bytes 0-1/ 2", "bytes 300000-", "bytes 50-", "bytes 3/7",
          "bytes 0-1", "bytes 0-1/", "bytes -1/2", "bytes 0-/2", "bytes /2", "bytes -/2",
          "bytes 0-1/-", "bytes 0-1/2/3", "bytes 0-1-2/3", "bytes 0-1/2, bytes 0-1/2",
          "bytes 0-1/2;", "bytes 0-1,3-4/9", "items 0-1/2", "byte 0-1/2", "bytess 0-1/2",
          "none 0-1/2", "bytes +300000-399999/1000000", "bytes 300000-+399999/1000000",
          "bytes 0-1/+2", "bytes 0x493e0-0x61a7f/0xf4240", "bytes 0-1e3/10000", "bytes 0.0-1/2",
          "bytes a-b/c", "bytes --1-0/2", "bytes */*", "bytes */", "bytes *", "bytes **/2",
          "bytes *-1/2", "bytes 0-*/2", "bytes \"0-1/2\"",
          // A14: last before first, total not behind last.
          "bytes 399999-300000/1000000", "bytes 1-0/2", "bytes 1-0/*", "bytes 300000-399999/350000",
          "bytes 300000-399999/399999", "bytes 0-0/0", "bytes 5-5/5",
          "bytes 0-18446744073709551615/18446744073709551615",
          // H03: beyond 64 bits.
          "bytes 0-1/18446744073709551616", "bytes 0-18446744073709551616/*",
          "bytes 18446744073709551616-18446744073709551617/*", "bytes */18446744073709551616",
          "bytes 0-1/1000000000000000000000000000000",
          "bytes 18446744073709551615-18446744073709551616/*"}) {
        INFO(text);
        CHECK_FALSE(parse_content_range(text));
    }
    CHECK_FALSE(*parse_content_range("bytes 0-1/2") == *parse_content_range("bytes 0-1/*"));
    using namespace std::string_view_literals;
    CHECK_FALSE(parse_content_range("bytes 0-1/2\0"sv));
    CHECK_FALSE(parse_content_range("bytes 0-1\0/2"sv));
    CHECK_FALSE(parse_content_range("bytes\0 0-1/2"sv));
}

TEST_CASE("no byte can be added to a Content-Range, or changed, to the same meaning (A15)") {
    std::string const good = "bytes 12-34/567";
    content_range const meaning = *parse_content_range(good);
    for (std::size_t at = 0; at <= good.size(); ++at) {
        for (int byte = 0; byte < 256; ++byte) {
            std::string longer = good;
            longer.insert(at, 1, static_cast<char>(byte));
            bool const zero = byte == '0' && (at == 6 || at == 9 || at == 12);
            if (parse_content_range(longer) == meaning && !zero) FAIL(longer);
            if (at == good.size() || byte == good[at]) continue;
            std::string other = good;
            other[at] = static_cast<char>(byte);
            bool const upper = at < 5 && byte == good[at] - 32;
            if (parse_content_range(other) == meaning && !upper) FAIL(other);
        }
    }
}
