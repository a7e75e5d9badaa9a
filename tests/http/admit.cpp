// SPDX-License-Identifier: BSL-1.0
//
// Replies judged against their lease. The object has 1,000,000 bytes; the lease asked for
// 300000-399999 of them; each row gives what differs from an honest reply.

#include <cleave/http/admit.hpp>

#include <cleave/http/request_head.hpp>
#include <http/read.hpp>
#include <laws/count_allocations.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using cleave::admission;
using cleave::admit;
using cleave::cause;
using cleave::error;
using cleave::identity;
using cleave::lease;
using cleave::max_offset;
using cleave::segment;
using cleave::validator;
using cleave_test::head_text;
using cleave_test::read_head;
using kind = cleave::body_framing::kind;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

constexpr segment everything{0, max_offset};
constexpr lease victim{{300000, 399999}, true};
constexpr lease opening{{0, 1048575}, true};
constexpr lease unranged{everything, false};

identity const v1{1000000, {validator::kind::strong_etag, "\"v1\""}, ""};

std::string const etag = "ETag: \"v1\"\r\n";
std::string const range = "Content-Range: bytes 300000-399999/1000000\r\n";
std::string const length = "Content-Length: 100000\r\n";
std::string const honest = range + length + etag;
std::string const date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
std::string const modified = "Last-Modified: Sat, 05 Nov 1994 08:49:37 GMT\r\n";

admission judge(int status, std::string const& fields, lease const& asked = victim,
                identity const* known = &v1, segment wanted = everything) {
    read_head const head{head_text(status, fields)};
    return admit(head, asked, wanted, known);
}

/// An admission as text, for comparing all of it at once.
std::string shown(admission const& a) {
    if (a.refused) {
        auto const& f = *a.refused;
        std::string to = "refused " + std::to_string(f.code.value());
        if (f.where != cleave::phase::head) to += " in another phase";
        if (f.code.category() != cleave::error_category() ||
            f.kind != cleave::cause_of(static_cast<error>(f.code.value())))
            to += " with another cause";
        return to;
    }
    std::string to;
    if (a.nothing)
        to = "nothing";
    else
        to = "write " + to_string(a.write);
    if (a.skip != 0) to += " skip " + std::to_string(a.skip);
    switch (a.framing.is) {
    case kind::none: to += ", no body"; break;
    case kind::length: to += ", length " + std::to_string(a.framing.length); break;
    case kind::chunked: to += ", chunked"; break;
    case kind::until_close: to += ", until close"; break;
    }
    if (a.open_ended) to += ", open-ended";
    if (!a.ranges) to += ", whole";
    if (a.reusable) to += ", reusable";
    if (a.object.size) to += ", size " + std::to_string(*a.object.size);
    return to;
}

std::string refused(error e) { return "refused " + std::to_string(static_cast<int>(e)); }

} // namespace

TEST_CASE("an honest reply is taken") {
    admission const a = judge(206, honest);
    CHECK(shown(a) == "write [300000,399999], length 100000, reusable, size 1000000");
    CHECK(a.object == v1);
}

TEST_CASE("206 against a lease of a known object (A03 to A17, B02, B03, B07, C01 to C08, C13)") {
    struct row {
        char const* id;
        std::string fields;
        std::string expected;
    };
    std::string const good = "write [300000,399999], length 100000, reusable, size 1000000";
    row const rows[] = {
        {"A03 no Content-Range", length + etag, refused(error::range_missing)},
        {"A04 shifted by one, equal length",
         "Content-Range: bytes 300001-400000/1000000\r\n" + length + etag,
         refused(error::range_mismatch)},
        {"A04 shifted, no length", "Content-Range: bytes 300001-400000/1000000\r\n" + etag,
         refused(error::range_mismatch)},
        {"A04 begins one late, ends right",
         "Content-Range: bytes 300001-399999/1000000\r\nContent-Length: 99999\r\n" + etag,
         refused(error::range_mismatch)},
        {"A04 begins one early, ends right",
         "Content-Range: bytes 299999-399999/1000000\r\nContent-Length: 100001\r\n" + etag,
         refused(error::range_mismatch)},
        {"A05 whole object as 206",
         "Content-Range: bytes 0-999999/1000000\r\nContent-Length: 1000000\r\n" + etag,
         refused(error::range_mismatch)},
        {"A07 shorter",
         "Content-Range: bytes 300000-309999/1000000\r\nContent-Length: 10000\r\n" + etag,
         "write [300000,309999], length 10000, reusable, size 1000000"},
        {"A07 a single byte",
         "Content-Range: bytes 300000-300000/1000000\r\nContent-Length: 1\r\n" + etag,
         "write [300000,300000], length 1, reusable, size 1000000"},
        {"A08 longer",
         "Content-Range: bytes 300000-499999/1000000\r\nContent-Length: 200000\r\n" + etag,
         "write [300000,399999], length 200000, size 1000000"},
        {"A08 one longer",
         "Content-Range: bytes 300000-400000/1000000\r\nContent-Length: 100001\r\n" + etag,
         "write [300000,399999], length 100001, size 1000000"},
        {"A09 begins on a block",
         "Content-Range: bytes 262144-399999/1000000\r\nContent-Length: 137856\r\n" + etag,
         refused(error::range_mismatch)},
        {"A10 one short", range + "Content-Length: 99999\r\n" + etag,
         refused(error::length_mismatch)},
        {"A10, A11 one long", range + "Content-Length: 100001\r\n" + etag,
         refused(error::length_mismatch)},
        {"A10 the whole object's", range + "Content-Length: 1000000\r\n" + etag,
         refused(error::length_mismatch)},
        {"A10 zero", range + "Content-Length: 0\r\n" + etag, refused(error::length_mismatch)},
        {"A12 grown", "Content-Range: bytes 300000-399999/1000001\r\n" + length + etag,
         refused(error::size_changed)},
        {"A12 shrunk", "Content-Range: bytes 300000-399999/400000\r\n" + length + etag,
         refused(error::size_changed)},
        {"A12 shrunk and so cut",
         "Content-Range: bytes 300000-349999/350000\r\n"
         "Content-Length: 50000\r\n" +
             etag,
         refused(error::size_changed)},
        {"A13 total not told", "Content-Range: bytes 300000-399999/*\r\n" + length + etag, good},
        {"A13 and beyond the size", "Content-Range: bytes 300000-1000000/*\r\n" + etag,
         refused(error::size_changed)},
        {"A14 reversed", "Content-Range: bytes 399999-300000/1000000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A14 total within", "Content-Range: bytes 300000-399999/350000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A15 upper case", "CONTENT-RANGE: BYTES 300000-399999/1000000\r\n" + length + etag, good},
        {"A15 '='", "Content-Range: bytes=300000-399999/1000000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A15 no unit", "Content-Range: 300000-399999/1000000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A15 other unit", "Content-Range: items 300000-399999/1000000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A15 spaces", "Content-Range: bytes  300000 - 399999 / 1000000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A15 open", "Content-Range: bytes 300000-\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A15 empty", "Content-Range:\r\n" + length + etag, refused(error::bad_content_range)},
        {"A15 none satisfied", "Content-Range: bytes */1000000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A16 two that differ", range + "Content-Range: bytes 0-99999/1000000\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A16 two that differ in their total",
         range + "Content-Range: bytes 300000-399999/*\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A16 one bad", range + "Content-Range: x\r\n" + length + etag,
         refused(error::bad_content_range)},
        {"A16 one bad, first", "Content-Range: x\r\n" + range + length + etag,
         refused(error::bad_content_range)},
        {"A16 two equal", range + range + length + etag, good},
        {"A16 in one field",
         "Content-Range: bytes 300000-399999/1000000, "
         "bytes 300000-399999/1000000\r\n" +
             length + etag,
         refused(error::bad_content_range)},
        {"A17 multipart", "Content-Type: multipart/byteranges; boundary=x\r\n" + length + etag,
         refused(error::multipart_reply)},
        {"A17 multipart with a range", "content-type: Multipart/ByteRanges;boundary=x\r\n" + honest,
         refused(error::multipart_reply)},
        {"A17 another type", "Content-Type: multipart/byterangesque\r\n" + honest, good},
        {"B02 another ETag", range + length + "ETag: \"v2\"\r\n", refused(error::object_changed)},
        {"B02 one that begins alike", range + length + "ETag: \"v12\"\r\n",
         refused(error::object_changed)},
        {"B02 in other case", range + length + "ETag: \"V1\"\r\n", refused(error::object_changed)},
        {"B02 no ETag", range + length, refused(error::validator_missing)},
        {"B02 no ETag, but a date", range + length + date + modified,
         refused(error::validator_missing)},
        {"B03 weak, of the same text", range + length + "ETag: W/\"v1\"\r\n",
         refused(error::validator_missing)},
        {"B03 weak, of another", range + length + "ETag: W/\"v2\"\r\n",
         refused(error::object_changed)},
        {"B07 unquoted", range + length + "ETag: v1\r\n", refused(error::validator_missing)},
        {"B07 two", range + length + etag + "ETag: \"v2\"\r\n", refused(error::validator_missing)},
        {"C01 chunked", range + etag + "Transfer-Encoding: chunked\r\n",
         "write [300000,399999], chunked, reusable, size 1000000"},
        {"C01 chunked, shifted",
         "Content-Range: bytes 300001-400000/1000000\r\n" + etag + "Transfer-Encoding: chunked\r\n",
         refused(error::range_mismatch)},
        {"C01 chunked, longer",
         "Content-Range: bytes 300000-499999/1000000\r\n" + etag + "Transfer-Encoding: chunked\r\n",
         "write [300000,399999], chunked, size 1000000"},
        {"C01 chunked, another version", range + "ETag: \"v2\"\r\nTransfer-Encoding: chunked\r\n",
         refused(error::object_changed)},
        {"C01 chunked, no range", etag + "Transfer-Encoding: chunked\r\n",
         refused(error::range_missing)},
        {"C03 chunked and length", honest + "Transfer-Encoding: chunked\r\n",
         refused(error::ambiguous_framing)},
        {"C04 two lengths", honest + "Content-Length: 6\r\n", refused(error::bad_content_length)},
        {"C05 two lengths, equal", honest + length, good},
        {"C06 bad length", range + etag + "Content-Length: 100000;\r\n",
         refused(error::bad_content_length)},
        {"C08 gzip, chunked", range + etag + "Transfer-Encoding: gzip, chunked\r\n",
         refused(error::bad_transfer_coding)},
        {"C13 coded", honest + "Content-Encoding: gzip\r\n", refused(error::coded_reply)},
        {"C13 coded twice", honest + "Content-Encoding: identity, br\r\n",
         refused(error::coded_reply)},
        {"C13 coded, in the second field",
         honest + "Content-Encoding: identity\r\ncontent-encoding: x-gzip\r\n",
         refused(error::coded_reply)},
        {"C13 identity", honest + "Content-Encoding: Identity\r\n", good},
        {"C13 empty", honest + "Content-Encoding:\r\n", good},
        {"C15 no length", range + etag, "write [300000,399999], until close, size 1000000"},
        {"F04 close", honest + "Connection: close\r\n",
         "write [300000,399999], length 100000, size 1000000"},
        {"H03 length", range + etag + "Content-Length: 9223372036854775808\r\n",
         refused(error::bad_content_length)},
        {"H03 total", "Content-Range: bytes 300000-399999/18446744073709551616\r\n" + length + etag,
         refused(error::bad_content_range)},
    };
    for (row const& r : rows) {
        INFO(r.id);
        admission const a = judge(206, r.fields);
        CHECK(shown(a) == r.expected);
        if (a.refused) CHECK(a.refused->status == 206);
        // Whatever is taken lies within the lease, and begins with it.
        if (!a.refused) {
            CHECK(victim.bytes.contains(a.write));
            CHECK(a.write.first == victim.bytes.first);
        }
    }
}

TEST_CASE("HTTP/1.0 may serve ranges, and closes") {
    read_head const head{"HTTP/1.0 206 x\r\n" + honest + "\r\n"};
    CHECK(shown(admit(head, victim, everything, &v1)) ==
          "write [300000,399999], length 100000, size 1000000");
    read_head const kept{"HTTP/1.0 206 x\r\nConnection: keep-alive\r\n" + honest + "\r\n"};
    CHECK(admit(kept, victim, everything, &v1).reusable);
    read_head const chunked{"HTTP/1.0 206 x\r\nTransfer-Encoding: chunked\r\n" + range + etag +
                            "\r\n"};
    CHECK(shown(admit(chunked, victim, everything, &v1)) == refused(error::bad_transfer_coding));
}

TEST_CASE("206 to the first request (A12 to A15)") {
    struct row {
        char const* id;
        std::string fields;
        std::string expected;
    };
    for (row const& r : {
             row{"honest", "Content-Range: bytes 0-1048575/5000000\r\nContent-Length: 1048576\r\n",
                 "write [0,1048575], length 1048576, reusable, size 5000000"},
             row{"smaller object",
                 "Content-Range: bytes 0-999999/1000000\r\n"
                 "Content-Length: 1000000\r\n",
                 "write [0,999999], length 1000000, reusable, size 1000000"},
             row{"A13", "Content-Range: bytes 0-1048575/*\r\n", "write [0,1048575], until close"},
             row{"A04", "Content-Range: bytes 1-1048576/5000000\r\n",
                 refused(error::range_mismatch)},
             row{"A04 of unknown size", "Content-Range: bytes 1-1048576/*\r\n",
                 refused(error::range_mismatch)},
             row{"A03", "Content-Length: 5\r\n", refused(error::range_missing)},
             row{"longer", "Content-Range: bytes 0-4999999/5000000\r\nContent-Length: 5000000\r\n",
                 "write [0,1048575], length 5000000, size 5000000"},
             row{"H03 total", "Content-Range: bytes 0-1048575/18446744073709551615\r\n",
                 "write [0,1048575], until close, size 18446744073709551615"},
             row{"H03 last", "Content-Range: bytes 0-18446744073709551615/*\r\n",
                 "write [0,1048575], until close"},
         }) {
        INFO(r.id);
        CHECK(shown(judge(206, r.fields, opening, nullptr)) == r.expected);
    }
    // A lease that is open at its end takes all that comes.
    lease const open{{5, max_offset}, true};
    CHECK(shown(judge(206, "Content-Range: bytes 5-18446744073709551614/18446744073709551615\r\n",
                      open, nullptr)) ==
          "write [5,18446744073709551614], until close, size 18446744073709551615");
    CHECK(shown(judge(206, "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n", open,
                      nullptr)) == "write [5,9], length 5, reusable, size 10");
}

TEST_CASE("the first reply says which object it is (B03, B04, B05)") {
    std::string const part = "Content-Range: bytes 0-9/10\r\nContent-Length: 10\r\n";
    lease const asked{{0, 9}, true};
    CHECK(judge(206, part + etag, asked, nullptr).object ==
          identity{10, {validator::kind::strong_etag, "\"v1\""}, ""});
    CHECK(judge(206, part + "ETag: W/\"v1\"\r\n" + date + modified, asked, nullptr).object ==
          identity{
              10, {validator::kind::last_modified, "Sat, 05 Nov 1994 08:49:37 GMT"}, "W/\"v1\""});
    CHECK(
        judge(206, part + date + "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", asked, nullptr)
            .object == identity{10, {}, ""});
    CHECK(judge(206, part, asked, nullptr).object == identity{10, {}, ""});
    CHECK(judge(200, "Content-Length: 10\r\n" + etag, asked, nullptr).object ==
          identity{10, {validator::kind::strong_etag, "\"v1\""}, ""});
}

TEST_CASE("later replies are held against other validators than strong ETags (B02 to B05)") {
    identity const dated{
        1000000, {validator::kind::last_modified, "Sat, 05 Nov 1994 08:49:37 GMT"}, ""};
    identity const weak{1000000, {}, "W/\"v1\""};
    identity const bare{1000000, {}, ""};
    identity const sizeless{{}, {validator::kind::strong_etag, "\"v1\""}, ""};
    std::string const good = "write [300000,399999], length 100000, reusable, size 1000000";
    std::string const base = range + length;
    struct row {
        identity const* known;
        std::string fields;
        std::string expected;
    };
    std::string const other = "Last-Modified: Sat, 05 Nov 1994 08:49:38 GMT\r\n";
    for (row const& r : {
             row{&dated, base + date + modified, good},
             row{&dated, base + modified, good},
             row{&dated, base, good},
             row{&dated, base + etag, good},
             row{&dated, base + date + other, refused(error::object_changed)},
             row{&dated, base + modified + other, refused(error::object_changed)},
             row{&weak, base + "ETag: W/\"v1\"\r\n", good},
             row{&weak, base + "ETag: W/\"v2\"\r\n", refused(error::object_changed)},
             row{&weak, base + "ETag: \"v2\"\r\n", refused(error::object_changed)},
             row{&weak, base + etag, good},
             row{&weak, base, good},
             row{&bare, base, good},
             row{&bare, base + etag, good},
             row{&bare, "Content-Range: bytes 300000-399999/999999\r\n" + length,
                 refused(error::size_changed)},
             row{&sizeless, base + etag, good},
             row{&sizeless, "Content-Range: bytes 300000-399999/*\r\n" + length + etag,
                 "write [300000,399999], length 100000, reusable"},
         }) {
        INFO(r.fields);
        CHECK(shown(judge(206, r.fields, victim, r.known)) == r.expected);
    }
}

TEST_CASE("206 that nobody asked for is refused (E16)") {
    CHECK(shown(judge(206, honest, unranged)) == refused(error::unexpected_status));
    CHECK(shown(judge(206, "Content-Range: bytes 0-9/10\r\n", unranged, nullptr)) ==
          refused(error::unexpected_status));
}

TEST_CASE("200 to the first request is the whole object (A01, C13, C15, H01, H03)") {
    struct row {
        char const* id;
        std::string fields;
        segment wanted;
        std::string expected;
    };
    for (row const& r : {
             row{"A01", "Content-Length: 1000000\r\n", everything,
                 "write [0,999999], length 1000000, whole, reusable, size 1000000"},
             row{"A01 closing", "Content-Length: 1000000\r\nConnection: close\r\n", everything,
                 "write [0,999999], length 1000000, whole, size 1000000"},
             row{"A01 with a Content-Range, which means nothing here",
                 "Content-Length: 1000000\r\nContent-Range: bytes 0-4/5\r\n", everything,
                 "write [0,999999], length 1000000, whole, reusable, size 1000000"},
             row{"a part at the end",
                 "Content-Length: 1000\r\n",
                 {400, 999},
                 "write [400,999] skip 400, length 1000, whole, reusable, size 1000"},
             row{"a part beyond the end",
                 "Content-Length: 1000\r\n",
                 {400, 5000},
                 "write [400,999] skip 400, length 1000, whole, reusable, size 1000"},
             row{"a part in the middle",
                 "Content-Length: 1000\r\n",
                 {400, 998},
                 "write [400,998] skip 400, length 1000, whole, size 1000"},
             row{"the last byte",
                 "Content-Length: 1000\r\n",
                 {999, 999},
                 "write [999,999] skip 999, length 1000, whole, reusable, size 1000"},
             row{"behind the last byte",
                 "Content-Length: 1000\r\n",
                 {1000, 1000},
                 refused(error::range_not_satisfiable)},
             row{"H01", "Content-Length: 0\r\n", everything,
                 "nothing, length 0, whole, reusable, size 0"},
             row{"H01 a part",
                 "Content-Length: 0\r\n",
                 {0, 9},
                 "nothing, length 0, whole, reusable, size 0"},
             row{"H01 a later part",
                 "Content-Length: 0\r\n",
                 {1, 9},
                 refused(error::range_not_satisfiable)},
             row{"C15", "", everything,
                 "write [0,18446744073709551615], until close, open-ended, whole"},
             row{"chunked", "Transfer-Encoding: chunked\r\n", everything,
                 "write [0,18446744073709551615], chunked, open-ended, whole, reusable"},
             row{"chunked, a part",
                 "Transfer-Encoding: chunked\r\n",
                 {5, 9},
                 "write [5,9] skip 5, chunked, open-ended, whole"},
             row{"C03", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", everything,
                 refused(error::ambiguous_framing)},
             row{"C04", "Content-Length: 6, 44\r\n", everything,
                 refused(error::bad_content_length)},
             row{"C08", "Transfer-Encoding: gzip\r\n", everything,
                 refused(error::bad_transfer_coding)},
             row{"C13", "Content-Length: 5\r\nContent-Encoding: gzip\r\n", everything,
                 refused(error::coded_reply)},
             row{"H03", "Content-Length: 9223372036854775807\r\n", everything,
                 "write [0,9223372036854775806], length 9223372036854775807, whole, reusable, "
                 "size 9223372036854775807"},
             row{"H03 too large", "Content-Length: 9223372036854775808\r\n", everything,
                 refused(error::bad_content_length)},
         }) {
        INFO(r.id);
        CHECK(shown(judge(200, r.fields, opening, nullptr, r.wanted)) == r.expected);
        CHECK(shown(judge(200, r.fields, unranged, nullptr, r.wanted)) == r.expected);
    }
    read_head const old{"HTTP/1.0 200 OK\r\n\r\n"};
    CHECK(shown(admit(old, opening, everything, nullptr)) ==
          "write [0,18446744073709551615], until close, open-ended, whole");
}

TEST_CASE("200 to a later lease is never written (A02, B01, E15)") {
    struct row {
        char const* id;
        std::string fields;
        error expected;
    };
    for (row const& r : {
             row{"A02", "Content-Length: 1000000\r\n" + etag, error::range_ignored},
             row{"A02 no ETag", "Content-Length: 1000000\r\n", error::range_ignored},
             row{"A02 no length", etag, error::range_ignored},
             row{"A02 chunked", etag + "Transfer-Encoding: chunked\r\n", error::range_ignored},
             row{"A02 as long as the lease", length + etag, error::object_changed},
             row{"B01", "Content-Length: 1000000\r\nETag: \"v2\"\r\n", error::object_changed},
             row{"B01 weak", "Content-Length: 1000000\r\nETag: W/\"v2\"\r\n",
                 error::object_changed},
             row{"B01 another size", "Content-Length: 1000001\r\n" + etag, error::object_changed},
             row{"E15", "Content-Type: application/json\r\nContent-Length: 12\r\n",
                 error::object_changed},
             row{"C13", "Content-Length: 500\r\nContent-Encoding: gzip\r\nETag: \"v1-gzip\"\r\n",
                 error::coded_reply},
             row{"C04", "Content-Length: 6, 44\r\n", error::bad_content_length},
         }) {
        INFO(r.id);
        CHECK(shown(judge(200, r.fields)) == refused(r.expected));
    }
    // The same where the lease happens to begin the object.
    CHECK(shown(judge(200, "Content-Length: 1000000\r\n" + etag, opening)) ==
          refused(error::range_ignored));
}

TEST_CASE("200 to a request for the whole must be of the known object (A12, B01)") {
    auto const said = [](std::string const& fields) { return shown(judge(200, fields, unranged)); };
    CHECK(said("Content-Length: 1000000\r\n" + etag) ==
          "write [0,999999], length 1000000, whole, reusable, size 1000000");
    CHECK(said("Transfer-Encoding: chunked\r\n" + etag) ==
          "write [0,999999], chunked, whole, size 1000000");
    CHECK(said("Content-Length: 1000001\r\n" + etag) == refused(error::size_changed));
    CHECK(said("Content-Length: 1000000\r\nETag: \"v2\"\r\n") == refused(error::object_changed));
    CHECK(said("Content-Length: 1000000\r\n") == refused(error::validator_missing));
    CHECK(shown(judge(200, "Content-Length: 1000000\r\n" + etag, unranged, &v1, {400, 499})) ==
          "write [400,499] skip 400, length 1000000, whole, size 1000000");
}

TEST_CASE("416 (A18, A19, H01)") {
    auto const first = [](std::string const& fields, segment wanted = everything) {
        return shown(judge(416, fields, opening, nullptr, wanted));
    };
    CHECK(first("Content-Range: bytes */0\r\nContent-Length: 0\r\n") ==
          "nothing, length 0, reusable, size 0");
    CHECK(first("Content-Range: bytes */0\r\nContent-Length: 0\r\nConnection: close\r\n") ==
          "nothing, length 0, size 0");
    // H01: the page that explains it is not the object's, and not read.
    CHECK(first("Content-Range: bytes */0\r\nContent-Length: 206\r\n") ==
          "nothing, length 206, size 0");
    CHECK(first("Content-Range: bytes */0\r\nContent-Length: x\r\n") == "nothing, no body, size 0");
    CHECK(first("Content-Range: bytes */0\r\nTransfer-Encoding: chunked\r\n") ==
          "nothing, chunked, size 0");
    CHECK(first("Content-Range: bytes */0\r\n", {0, 9}) == "nothing, until close, size 0");
    CHECK(first("Content-Range: bytes */0\r\n", {1, 9}) == refused(error::range_not_satisfiable));
    CHECK(first("Content-Range: bytes */1000000\r\n") == refused(error::range_not_satisfiable));
    CHECK(first("Content-Range: bytes 0-0/0\r\n") == refused(error::range_not_satisfiable));
    CHECK(first("Content-Range: bytes */0\r\nContent-Range: bytes */1\r\n") ==
          refused(error::range_not_satisfiable));
    CHECK(first("Content-Length: 206\r\n") == refused(error::range_not_satisfiable));
    CHECK(first("") == refused(error::range_not_satisfiable));

    auto const later = [](std::string const& fields) { return shown(judge(416, fields)); };
    CHECK(later("Content-Range: bytes */900000\r\n") == refused(error::size_changed));
    CHECK(later("Content-Range: bytes */2000000\r\n") == refused(error::size_changed));
    CHECK(later("Content-Range: bytes */0\r\n") == refused(error::size_changed));
    CHECK(later("Content-Range: bytes */1000000\r\n") == refused(error::range_mismatch));
    CHECK(later("Content-Length: 206\r\n") == refused(error::range_mismatch));
    CHECK(later("Content-Range: bytes 300000-399999/1000000\r\n" + length) ==
          refused(error::range_mismatch));
    // Of an object whose size nobody has told yet.
    identity unsized = v1;
    unsized.size.reset();
    CHECK(shown(judge(416, "Content-Range: bytes */900000\r\n", victim, &unsized)) ==
          refused(error::range_mismatch));
    CHECK(shown(judge(200, length + etag, victim, &unsized)) == refused(error::range_ignored));
    CHECK(shown(judge(416, "Content-Range: bytes */0\r\n", unranged, nullptr)) ==
          refused(error::unexpected_status));
}

TEST_CASE("every other status is an error of its own (B08, C14, E14, E16)") {
    auto const expected = [](int status) {
        switch (status) {
        case 301:
        case 302:
        case 303:
        case 307:
        case 308: return error::redirected;
        case 401: return error::unauthorized;
        case 403: return error::forbidden;
        case 404: return error::not_found;
        case 407: return error::proxy_authentication_required;
        case 408: return error::head_timeout;
        case 410: return error::gone;
        case 412: return error::object_changed;
        case 429: return error::too_many_requests;
        case 451: return error::unavailable_for_legal_reasons;
        case 503: return error::server_busy;
        default:
            return status / 100 == 4   ? error::client_error
                   : status / 100 == 5 ? error::server_error
                                       : error::unexpected_status;
        }
    };
    for (int status = 0; status <= 999; ++status) {
        if (status / 100 == 1 || status == 200 || status == 206 || status == 416) continue;
        INFO(status);
        std::string const three = std::string(status < 10 ? 2 : status < 100 ? 1 : 0, '0');
        // E14: as long as the segment, and looking like it in all else.
        read_head const head{"HTTP/1.1 " + three + std::to_string(status) + " x\r\n" + honest +
                             "\r\n"};
        for (lease const& asked : {victim, opening, unranged}) {
            for (identity const* known : {static_cast<identity const*>(nullptr), &v1}) {
                admission const a = admit(head, asked, everything, known);
                if (shown(a) != refused(expected(status))) FAIL(status);
                if (a.refused->status != status || a.refused->retry_after) FAIL(status);
            }
        }
    }
}

TEST_CASE("what the server asks to wait comes along with 429 and 503 (E11 to E13)") {
    auto const wait = [](int status, std::string const& fields) {
        return judge(status, fields).refused->retry_after;
    };
    CHECK(wait(429, "Retry-After: 2\r\n") == 2s);
    CHECK(wait(503, "Retry-After: 2\r\n") == 2s);
    CHECK(wait(503, date + "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n") == 60s);
    CHECK(wait(503, "Retry-After: 99999999999999999999\r\n") == 24h);
    CHECK_FALSE(wait(503, "Retry-After: -5\r\n"));
    CHECK_FALSE(wait(503, ""));
    for (int const status : {301, 404, 408, 500, 502, 504, 206})
        CHECK_FALSE(wait(status, "Retry-After: 2\r\n"));
}

TEST_CASE("a refusal tells the particulars, and no secrets (I7, I08)") {
    auto const detail = [](int status, std::string const& fields, lease const& asked = victim,
                           identity const* known = &v1, segment wanted = everything) {
        return judge(status, fields, asked, known, wanted).refused.value().detail;
    };
    CHECK(detail(206, "Content-Range: bytes 300001-400000/1000000\r\n" + length + etag) ==
          "asked for bytes 300000-399999, got 300001-400000 of 1000000");
    CHECK(detail(206, range + "Content-Length: 5\r\n" + etag) ==
          "bytes 300000-399999 are 100000, but the length is 5");
    CHECK(detail(206, "Content-Range: bytes 300000-399999/1000001\r\n" + length + etag) ==
          "the size was 1000000 bytes, and now is 1000001");
    CHECK(detail(416, "Content-Range: bytes */900000\r\n") ==
          "the size was 1000000 bytes, and now is 900000");
    CHECK(detail(416, "Content-Range: bytes */7\r\n", {{9, max_offset}, true}, nullptr,
                 {9, max_offset}) == "asked for bytes 9-, the object has 7");
    CHECK(detail(200, "Content-Length: 7\r\n", opening, nullptr, {9, 11}) ==
          "bytes 9-11 are wanted, the object has 7");
    CHECK(detail(302, "Location: https://user:secret@cdn.example/x?sig=secret#secret\r\n") ==
          "redirected to https://cdn.example/x?...");
    CHECK(detail(302, "Location: /x?sig=secret\r\n").empty());
    CHECK(detail(302, "Location: file:///etc/passwd\r\n").empty());
    CHECK(detail(302, "Location: http://a/\r\nLocation: http://b/\r\n").empty());
    CHECK(detail(418, "") == "status 418");

    std::string const secrets = "ETag: \"secret\"\r\nSet-Cookie: secret\r\n"
                                "WWW-Authenticate: secret\r\nServer: secret\r\n";
    for (int status = 200; status < 600; ++status) {
        for (std::string const& fields : {secrets, secrets + range, secrets + range + length}) {
            auto const a = judge(status, fields);
            if (a.refused && a.refused->message().find("secret") != std::string::npos) FAIL(status);
        }
    }
}

TEST_CASE("an admission that is used again is as good as new") {
    std::vector<std::pair<int, std::string>> const replies = {
        {206, honest},
        {200, "Content-Length: 1000000\r\n"},
        {206, range + length + "ETag: W/\"v1\"\r\n" + date + modified},
        {503, "Retry-After: 2\r\n"},
        {416, "Content-Range: bytes */0\r\nContent-Length: 0\r\n"},
        {200, "Transfer-Encoding: chunked\r\n"},
        {206, honest + "Connection: close\r\n"},
        {404, etag},
    };
    admission again;
    for (int round = 0; round < 2; ++round) {
        for (auto const& [status, fields] : replies) {
            for (lease const& asked : {victim, opening, unranged}) {
                read_head const head{head_text(status, fields)};
                admit(head, asked, {5, max_offset}, nullptr, again);
                admission const fresh = admit(head, asked, {5, max_offset}, nullptr);
                CHECK(shown(again) == shown(fresh));
                CHECK(again.object.validator == fresh.object.validator);
                CHECK(again.object.weak_etag == fresh.object.weak_etag);
            }
        }
    }
}

TEST_CASE("a request and a reply that is taken allocate nothing once the buffers have grown") {
    std::error_code ec;
    auto const target = cleave::url::parse("https://user:password@example.org:8443/a?b", ec);
    std::vector<cleave::header> const headers = {{"X-Token", "some value of some length"}};
    std::string const text =
        "HTTP/1.1 100 Continue\r\n\r\n" +
        head_text(206, "Server: nginx/1.22.1\r\n" + date + modified + range +
                           "Content-Type: application/octet-stream\r\n"
                           "ETag: \"an-ETag-longer-than-small-strings\"\r\n"
                           "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n");
    identity const known{
        1000000, {validator::kind::strong_etag, "\"an-ETag-longer-than-small-strings\""}, ""};
    std::string request;
    cleave::response_head_parser parser;
    cleave::chunked_decoder decoder;
    admission to;
    auto const once = [&] {
        request.clear();
        cleave::append_request_head(request,
                                    {target, victim.bytes, &known.validator, headers, "cleave"});
        parser.reset();
        for (std::size_t at = 0; at < text.size(); at += 100)
            parser.feed(std::string_view{text}.substr(at, 100));
        admit(parser.head(), victim, everything, &known, to);
        decoder.reset();
        decoder.decode("5\r\nhello\r\n");
    };
    once();
    CHECK(shown(to) == "write [300000,399999], chunked, reusable, size 1000000");
    CHECK(request.find("If-Range: ") != std::string::npos);
    if (cleave_test::strings_ask_for_nothing())
        WARN("left out: this compiler's strings ask for memory that they do not need");
    else
        CHECK(cleave_test::allocations_of([&] {
                  for (int i = 0; i < 100; ++i) once();
              }) == 0);
}
