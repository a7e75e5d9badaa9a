// SPDX-License-Identifier: BSL-1.0
//
// Replies that answer another question than the one asked, end to end over real sockets: nothing
// of them is written, and the download ends right or with a named error.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

using namespace cleave_test;
using cleave::error;

namespace {

constexpr std::uint64_t size = 1000000;
constexpr std::uint64_t first = 300000;
constexpr std::uint64_t last = 399999;

// What a server says when it is asked for the victim's range.
struct lie {
    char const* row;
    std::function<std::string(object const&)> reply;
    error ends_with; // when the server never tells the truth
};

std::string with(object const& o, char const* field, std::string const& value,
                 std::uint64_t from = first, std::uint64_t to = last) {
    std::string head = honest_206_head(o, first, last);
    set_field(head, field, value);
    return head + std::string{body(o, from, to)};
}

std::vector<lie> const lies{
    {"A02 whole object", [](object const& o) { return honest_200_head(o) + o.bytes; },
     error::range_ignored},
    {"A03 no Content-Range",
     [](object const& o) {
         std::string head = honest_206_head(o, first, last);
         drop_field(head, "Content-Range");
         return head + std::string{body(o, first, last)};
     },
     error::range_missing},
    {"A04 shifted by one",
     [](object const& o) {
         return with(o, "Content-Range", "bytes 300001-400000/1000000", first + 1, last + 1);
     },
     error::range_mismatch},
    {"A05 whole object as a part",
     [](object const& o) { return honest_206_head(o, 0, size - 1) + o.bytes; },
     error::range_mismatch},
    {"A09 starts earlier",
     [](object const& o) {
         return honest_206_head(o, 262144, last) + std::string{body(o, 262144, last)};
     },
     error::range_mismatch},
    {"A10 lengths disagree", [](object const& o) { return with(o, "Content-Length", "99999"); },
     error::length_mismatch},
    {"A12 another total",
     [](object const& o) { return with(o, "Content-Range", "bytes 300000-399999/1000001"); },
     error::size_changed},
    {"A14 last before first",
     [](object const& o) { return with(o, "Content-Range", "bytes 399999-300000/1000000"); },
     error::bad_content_range},
    {"A14 total before last",
     [](object const& o) { return with(o, "Content-Range", "bytes 300000-399999/350000"); },
     error::bad_content_range},
    {"A15 equals sign",
     [](object const& o) { return with(o, "Content-Range", "bytes=300000-399999/1000000"); },
     error::bad_content_range},
    {"A17 multipart",
     [](object const& o) { return with(o, "Content-Type", "multipart/byteranges; boundary=x"); },
     error::multipart_reply},
    {"A19 416 with a page",
     [](object const&) { return reply(416, "Range Not Satisfiable", "", std::string(206, 'x')); },
     error::range_mismatch},
    {"B01 another version as 200",
     [](object const&) {
         object const v2 = object::random(size, 99, "\"v2\"");
         return honest_200_head(v2) + v2.bytes;
     },
     error::object_changed},
    {"B02 another version as 206",
     [](object const&) {
         object const v2 = object::random(size, 99, "\"v2\"");
         return honest_206_head(v2, first, last) + std::string{body(v2, first, last)};
     },
     error::object_changed},
    {"C04 two lengths",
     [](object const& o) {
         std::string head = honest_206_head(o, first, last);
         head.insert(head.size() - 2, "Content-Length: 6\r\n");
         return head + std::string{body(o, first, last)};
     },
     error::bad_content_length},
    {"C13 coded", [](object const& o) { return with(o, "Content-Encoding", "gzip"); },
     error::coded_reply},
    {"D04 no head at all", [](object const& o) { return std::string{body(o, first, last)}; },
     error::malformed_head},
    {"D05 bare CR", [](object const& o) { return with(o, "X", "1\rContent-Length: 0"); },
     error::malformed_head},
    {"E04 101", [](object const&) { return reply(101, "Switching Protocols"); },
     error::unexpected_upgrade},
    {"E14 an error page of the right length",
     [](object const&) { return reply(502, "Bad Gateway", "", std::string(100000, '<')); },
     error::server_error},
    {"E15 200 with an excuse",
     [](object const&) { return reply(200, "OK", "", R"({"code":403})"); }, error::object_changed},
};

// Then one stream may do what ranges cannot.
bool is_about_ranges(error e) {
    return e == error::range_ignored || e == error::range_missing || e == error::range_mismatch ||
           e == error::length_mismatch || e == error::bad_content_range ||
           e == error::multipart_reply;
}

bool is_victim(seen_request const& r) { return r.range() && r.range()->first == first; }

} // namespace

TEST_CASE("a server that lies once about one segment: the bytes end right, or a named error") {
    object const o = object::random(size, 10);
    for (lie const& l : lies) {
        std::atomic<bool> lied = false;
        fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
            if (!is_victim(r) || lied.exchange(true)) return rest(c, r);
            c.send(l.reply(o));
        }};
        auto const got = fetch(server.url("/r"), 100000, 4);
        CAPTURE(l.row, got.ec.message());
        REQUIRE(lied);
        // Where another try may help it is made, on a new connection; else the lie is named.
        if (cleave::cause_of(l.ends_with) == cleave::cause::passing ||
            cleave::cause_of(l.ends_with) == cleave::cause::protocol) {
            REQUIRE_FALSE(got.ec);
            REQUIRE(got.bytes == o.bytes);
            REQUIRE(got.report.retries == 1);
        } else if (is_about_ranges(l.ends_with)) {
            REQUIRE_FALSE(got.ec);
            REQUIRE(got.bytes == o.bytes);
            REQUIRE(got.report.one_stream);
        } else {
            REQUIRE(got.ec == l.ends_with);
        }
    }
}

TEST_CASE("a server that always lies about one segment: one stream, or a named error, soon, and "
          "nothing of it written") {
    object const o = object::random(size, 11);
    for (lie const& l : lies) {
        fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
            if (!is_victim(r)) return rest(c, r);
            c.send(l.reply(o));
        }};
        // The memory around the victim's segment, and the segment itself, before and after.
        std::vector<std::byte> memory(size, std::byte{0xa5});
        std::error_code ec;
        auto const report =
            cleave::download(server.url("/r"), cleave::memory_sink{std::span{memory}},
                             cleave::policies<>{}
                                 .with_plan(cleave::fixed_size{100000})
                                 .with_lanes(cleave::fixed_lanes{1})
                                 .with_renewal(quick_backoff()),
                             ec);
        CAPTURE(l.row, ec.message());
        std::size_t victims = 0;
        for (seen_request const& r : server.requests()) victims += is_victim(r);
        // Four tries, and one that was sent ahead and cost nothing.
        REQUIRE(victims <= 5);
        if (is_about_ranges(l.ends_with)) {
            REQUIRE_FALSE(ec);
            REQUIRE(report.one_stream);
            REQUIRE(std::memcmp(memory.data(), o.bytes.data(), size) == 0);
            continue;
        }
        REQUIRE(ec == l.ends_with);
        REQUIRE(report.failed);
        REQUIRE(report.failed->code == ec);
        for (std::uint64_t i = first; i <= last; ++i)
            REQUIRE(memory[static_cast<std::size_t>(i)] == std::byte{0xa5});
        for (std::size_t i = 0; i != first; ++i)
            REQUIRE(static_cast<char>(memory[i]) == o.bytes[i]);
    }
}

TEST_CASE("A07: a server that caps its ranges is asked for the rest") {
    object const o = object::random(size, 12);
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        std::uint64_t const end = std::min({range.second, range.first + 9999, size - 1});
        c.send(honest_206_head(o, range.first, end));
        c.send_body(body(o, range.first, end));
    }};
    auto const got = fetch(server.url("/r"), 100000, 4);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.retries == 0);
    CHECK(got.report.requests == 100);
}

TEST_CASE("A08: of a range that is longer than asked for, only what was asked for is written") {
    object const o = object::random(size, 13);
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        std::uint64_t const end = std::min(range.second + 50000, size - 1);
        c.send(honest_206_head(o, range.first, end));
        c.send_body(body(o, range.first, end));
    }};
    auto const got = fetch(server.url("/r"), 100000, 4);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.bytes_twice == 0);
}

TEST_CASE("A11: bytes behind the body end the connection, not the download") {
    object const o = object::random(size, 14);
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        std::uint64_t const end = std::min(range.second, size - 1);
        c.send(honest_206_head(o, range.first, end) + std::string{body(o, range.first, end)} + "x");
    }};
    auto const got = fetch(server.url("/r"), 100000, 4);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    // I6: no request is ever sent on a connection after a framing doubt.
    for (seen_request const& r : server.requests()) CHECK(r.on_connection == 0);
}

TEST_CASE("A13: a range of unknown total is taken where the total is known from elsewhere") {
    object const o = object::random(size, 15);
    honest_options options;
    options.edit_head = [](std::string& head) {
        auto const at = head.find("/1000000");
        if (at != std::string::npos) head.replace(at, 8, "/*");
    };
    SECTION("in a later reply") {
        options.applies = [](seen_request const& r) { return is_victim(r); };
        fault_server server{honest(o, options)};
        auto const got = fetch(server.url("/r"), 100000, 4);
        CHECK_FALSE(got.ec);
        CHECK(got.bytes == o.bytes);
        CHECK(got.report.ranges);
    }
    SECTION("in the first: then the whole object is asked for, over one lane") {
        fault_server server{honest(o, options)};
        auto const got = fetch(server.url("/r"), 100000, 4);
        CHECK_FALSE(got.ec);
        CHECK(got.bytes == o.bytes);
        CHECK_FALSE(got.report.ranges);
        CHECK(got.report.lanes == 1);
    }
}

TEST_CASE(
    "servers without ranges, without length, chunked, empty, HTTP/1.0: one lane, right bytes") {
    for (std::size_t const bytes : {std::size_t{0}, std::size_t{1}, std::size_t{70000}}) {
        object const o = object::random(bytes, 16);
        struct kind {
            char const* name;
            honest_options options;
        };
        std::vector<kind> kinds(7);
        kinds[0] = {"plain", {}};
        kinds[1].name = "no ranges", kinds[1].options.ranges = false;
        kinds[2].name = "chunked, no ranges", kinds[2].options.ranges = false;
        kinds[2].options.chunked = true;
        kinds[3].name = "no length", kinds[3].options.ranges = false;
        kinds[3].options.no_length = true;
        kinds[4].name = "HTTP/1.0", kinds[4].options.http10 = true;
        kinds[5].name = "close each", kinds[5].options.close_each = true;
        kinds[6].name = "chunked ranges", kinds[6].options.chunked = true;
        for (kind const& k : kinds) {
            fault_server server{honest(o, k.options)};
            auto const got = fetch(server.url("/r"), 10000, 4);
            CAPTURE(k.name, bytes, got.ec.message(), server.handler_error());
            REQUIRE_FALSE(got.ec);
            REQUIRE(got.bytes == o.bytes);
            REQUIRE(got.report.bytes == bytes);
            REQUIRE(got.report.identity.size == bytes);
            REQUIRE(got.report.bytes_twice == 0);
            REQUIRE(got.report.length_verified == !k.options.no_length);
        }
    }
}

TEST_CASE("only(): a part of an object, from servers with and without ranges") {
    object const o = object::random(50000, 17);
    for (bool const ranges : {true, false}) {
        for (bool const chunked : {true, false}) {
            honest_options options;
            options.ranges = ranges;
            options.chunked = chunked;
            fault_server server{honest(o, options)};
            for (auto const part : {cleave::segment{0, 0}, cleave::segment{12345, 34567},
                                    cleave::segment{49999, 49999}}) {
                auto const got = fetch(cleave::request{server.url("/r")}.only(part), 5000, 3);
                CAPTURE(ranges, chunked, part.first, part.last, got.ec.message());
                REQUIRE_FALSE(got.ec);
                REQUIRE(got.bytes == body(o, part.first, part.last));
            }
            auto const beyond =
                fetch(cleave::request{server.url("/r")}.only({50000, 50001}), 5000, 3);
            CHECK(beyond.ec == error::range_not_satisfiable);
            auto const over =
                fetch(cleave::request{server.url("/r")}.only({40000, 99999}), 5000, 3);
            CAPTURE(ranges, chunked, over.ec.message());
            CHECK_FALSE(over.ec);
            CHECK(over.bytes == body(o, 40000, 49999));
        }
    }
}

TEST_CASE("statuses that no retry can help are reported after one request") {
    struct row {
        int status;
        error ends_with;
    };
    for (row const r :
         {row{401, error::unauthorized}, row{403, error::forbidden}, row{404, error::not_found},
          row{410, error::gone}, row{407, error::proxy_authentication_required},
          row{451, error::unavailable_for_legal_reasons}, row{400, error::client_error},
          row{300, error::unexpected_status}, row{204, error::unexpected_status},
          row{304, error::unexpected_status}, row{999, error::unexpected_status}}) {
        fault_server server{[&](fault_connection& c, seen_request const&) {
            c.send(reply(r.status, "No", "Location: /elsewhere\r\n"));
        }};
        auto const got = fetch(server.url("/r"), 1000, 4);
        CAPTURE(r.status, got.ec.message());
        CHECK(got.ec == r.ends_with);
        CHECK(got.report.failed->status == r.status);
        CHECK(server.requests().size() == 1);
    }
}
