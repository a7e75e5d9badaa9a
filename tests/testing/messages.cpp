// SPDX-License-Identifier: BSL-1.0
//
// The messages of a test's server: what it makes of a request, whatever that is, and that its right
// replies are right. The library's own reader of heads is the judge of those; it was written apart.

#include <cleave/testing/messages.hpp>

#include <support/catch.hpp>

#include <cleave/base/segment.hpp>
#include <cleave/http/content_range.hpp>
#include <cleave/http/response_head.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace cleave::testing;

namespace {

seen_request asks(std::string const& fields) {
    return seen_request::read("GET /r HTTP/1.1\r\n" + fields + "\r\n");
}

using range = std::optional<std::pair<std::uint64_t, std::uint64_t>>;
constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

} // namespace

TEST_CASE("a request is read as it was written") {
    std::string const head = "GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\nX:  two words \r\nx:\r\n\r\n";
    auto const r = seen_request::read(head);
    CHECK(r.method == "GET");
    CHECK(r.target == "/a%20b?c=d");
    CHECK(r.version == "HTTP/1.1");
    CHECK(r.head == head);
    using field = std::pair<std::string, std::string>;
    CHECK(r.fields == std::vector<field>{{"Host", "h"}, {"X", "two words"}, {"x", ""}});
    CHECK(r.field("hOST") == "h");
    CHECK(r.field("x") == "two words");
    CHECK(r.count("X") == 2);
    CHECK_FALSE(r.field("none"));
    CHECK(r.count("none") == 0);
}

TEST_CASE("whatever else is read is no request, and no failure") {
    for (std::string const text : {"", "\r\n", "\r\n\r\n", "GET", "GET\r\n\r\n", "a b\r\n\r\n", ":",
                                   "GET / HTTP/1.1\r\nno colon\r\n: no name\r\n\r\n",
                                   "no end\r\nof a line", "\n\n\n", "\r\n\r\n\r\n\r\n"}) {
        CAPTURE(text);
        auto const r = seen_request::read(text);
        CHECK(r.head == text);
        CHECK_FALSE(r.range());
    }
    auto const r = seen_request::read("GET / HTTP/1.1\r\nno colon\r\n: no name\r\n\r\n");
    CHECK(r.field("no colon") == "");
    CHECK(r.field("") == "no name");
    CHECK(seen_request::read("G\r\nlast line").fields.size() == 1);
}

TEST_CASE("a range is one, or none") {
    auto const of = [](std::string const& value) {
        return asks("Range: " + value + "\r\n").range();
    };
    CHECK(of("bytes=0-0") == range{{0, 0}});
    CHECK(of("bytes=7-19") == range{{7, 19}});
    CHECK(of("bytes=7-") == range{{7, most}});
    for (std::string const value :
         {"", "bytes=", "bytes=-5", "bytes=9-8", "bytes=a-b", "bytes=1-2,4-5", "bytes=1",
          "lines=0-1", "bytes=18446744073709551616-", "bytes= 0-1"}) {
        CAPTURE(value);
        CHECK_FALSE(of(value));
    }
    CHECK_FALSE(asks("").range());
}

TEST_CASE("an object is the same for the same seed only") {
    object const o = object::random(1003, 5);
    CHECK(o.bytes.size() == 1003);
    CHECK(o.bytes == object::random(1003, 5).bytes);
    CHECK(o.bytes != object::random(1003, 6).bytes);
    CHECK(body(o, 10, 12) == o.bytes.substr(10, 3));
}

TEST_CASE("a right reply has the bytes that were asked for, and says which they are") {
    object const o = object::random(1000, 1);
    struct {
        std::string fields;
        int status;
        std::uint64_t first; // none where it is behind the last
        std::uint64_t last;
    } const cells[] = {
        {"", 200, 0, 999},
        {"Range: bytes=0-0\r\n", 206, 0, 0},
        {"Range: bytes=10-19\r\n", 206, 10, 19},
        {"Range: bytes=990-5000\r\n", 206, 990, 999},
        {"Range: bytes=5-\r\n", 206, 5, 999},
        {"Range: bytes=1000-\r\n", 416, 1, 0},
        {"Range: nonsense\r\n", 200, 0, 999},
        {"Range: bytes=10-19\r\nIf-Range: \"v1\"\r\n", 206, 10, 19},
        {"Range: bytes=10-19\r\nIf-Range: " + o.last_modified + "\r\n", 206, 10, 19},
        {"Range: bytes=10-19\r\nIf-Range: \"v2\"\r\n", 200, 0, 999},
        {"Range: bytes=1000-\r\nIf-Range: \"v2\"\r\n", 200, 0, 999},
    };
    for (auto const& cell : cells) {
        CAPTURE(cell.fields);
        auto const reply = honest_reply(asks(cell.fields), o);
        CHECK(reply.end == ending::keep);
        CHECK(reply.size() == reply.head.size() + reply.body.size());
        cleave::response_head_parser parser;
        auto const read = parser.feed(reply.head);
        REQUIRE(read.is == cleave::response_head_parser::progress::state::complete);
        CHECK(read.consumed == reply.head.size());
        auto const& head = parser.head();
        CHECK(head.status() == cell.status);
        CHECK(head.find("Content-Length") == std::to_string(reply.body.size()));
        CHECK(head.find("ETag") == o.etag);
        CHECK(head.find("Last-Modified") == o.last_modified);
        auto const said = head.find("Content-Range");
        if (cell.status == 200) CHECK_FALSE(said);
        if (cell.first > cell.last) {
            CHECK(reply.body.empty());
            CHECK(said == "bytes */1000");
            continue;
        }
        CHECK(reply.body == body(o, cell.first, cell.last));
        if (cell.status != 206) continue;
        auto const range = cleave::parse_content_range(said.value());
        REQUIRE(range);
        CHECK(range->bytes == cleave::segment{cell.first, cell.last});
        CHECK(range->total == 1000U);
    }
}

TEST_CASE("a weak validator holds no range, and none is said where there is none") {
    object o = object::random(10, 1, "W/\"v1\"");
    auto const status = [&](std::string const& fields) {
        return honest_reply(asks("Range: bytes=1-2\r\n" + fields), o).head.substr(9, 3);
    };
    CHECK(status("If-Range: W/\"v1\"\r\n") == "200");
    CHECK(status("") == "206");
    o.last_modified.clear();
    CHECK(status("If-Range: \r\n") == "200");
    o.etag.clear();
    CHECK(honest_200_head(o).find("ETag") == std::string::npos);
    CHECK(honest_200_head(o).find("Last-Modified") == std::string::npos);
}

TEST_CASE("fields are dropped and set, whatever their case and however many") {
    std::string head = head_of(200, "OK", "A: 1\r\nb: 2\r\nB: 3\r\nBb: 4\r\n");
    drop_field(head, "B");
    CHECK(head == head_of(200, "OK", "A: 1\r\nBb: 4\r\n"));
    set_field(head, "a", "5");
    CHECK(head == head_of(200, "OK", "Bb: 4\r\na: 5\r\n"));
    drop_field(head, "none");
    drop_field(head, "HTTP/1.1 200 OK");
    CHECK(head == head_of(200, "OK", "Bb: 4\r\na: 5\r\n"));
    drop_field(head, "bb");
    drop_field(head, "a");
    drop_field(head, "date");
    CHECK(head == "HTTP/1.1 200 OK\r\n\r\n");
}

TEST_CASE("small replies are whole ones") {
    CHECK(reply(503, "Busy", "Retry-After: 1\r\n", "text") ==
          head_of(503, "Busy", "Retry-After: 1\r\nContent-Length: 4\r\n") + "text");
    CHECK(redirect("/there", 307).find("HTTP/1.1 307 Found\r\n") == 0);
    CHECK(redirect("/there").find("\r\nLocation: /there\r\n") != std::string::npos);
    CHECK(chunk(std::string(26, 'x')) == "1a\r\n" + std::string(26, 'x') + "\r\n");
}
