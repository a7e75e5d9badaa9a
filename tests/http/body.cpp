// SPDX-License-Identifier: BSL-1.0
//
// Framing, persistence and the chunked coding.

#include <cleave/http/body.hpp>

#include <http/read.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using cleave::body_framing;
using cleave::chunked_decoder;
using cleave::error;
using cleave::read_framing;
using cleave_test::head_text;
using cleave_test::read_head;
using kind = body_framing::kind;
using state = chunked_decoder::state;
using namespace std::string_literals;

namespace {

struct framing_row {
    std::string fields;
    std::optional<error> bad;
    body_framing framing;
};

void check(framing_row const& row, std::string const& status_line = "HTTP/1.1 206 x\r\n") {
    INFO(status_line << row.fields);
    read_head const head{status_line + row.fields + "\r\n"};
    auto const result = read_framing(head);
    CHECK(result.bad == row.bad);
    if (!row.bad) CHECK(result.framing == row.framing);
}

body_framing const unframed{kind::until_close, 0};
body_framing const chunks{kind::chunked, 0};
body_framing length(std::uint64_t n) { return {kind::length, n}; }

} // namespace

TEST_CASE("framing by Content-Length (C04, C05, C06, C07, C15, H03)") {
    constexpr auto bad = error::bad_content_length;
    std::vector<framing_row> const rows = {
        {"", {}, unframed}, // C15
        {"Content-Length: 0\r\n", {}, length(0)},
        {"content-length:\t100000 \t\r\n", {}, length(100000)},
        // C04, C05: several.
        {"Content-Length: 44\r\nContent-Length: 6\r\n", bad, {}},
        {"Content-Length: 6, 44\r\n", bad, {}},
        {"Content-Length: 5, 5\r\nContent-Length: 6\r\n", bad, {}},
        {"Content-Length: 5\r\nA: b\r\nContent-Length: 5\r\n", {}, length(5)},
        {"Content-Length: 5, 5\r\n", {}, length(5)},
        {"Content-Length: 5 ,\t5\r\nContent-Length: 05\r\n", {}, length(5)},
        {"Content-Length: 5\r\nContent-Length:\r\n", bad, {}},
        // C06: no plain number.
        {"Content-Length:\r\n", bad, {}},
        {"Content-Length: -6\r\n", bad, {}},
        {"Content-Length: +6\r\n", bad, {}},
        {"Content-Length: 6badness\r\n", bad, {}},
        {"Content-Length: 0x64\r\n", bad, {}},
        {"Content-Length: crap\r\n", bad, {}},
        {"Content-Length: 6 6\r\n", bad, {}},
        {"Content-Length: \"6\"\r\n", bad, {}},
        {"Content-Length: 6;\r\n", bad, {}},
        {"Content-Length: 6,\r\n", bad, {}},
        {"Content-Length: ,6\r\n", bad, {}},
        {"Content-Length: ,\r\n", bad, {}},
        {"Content-Length: 6,,6\r\n", bad, {}},
        {"Content-Length: 6.0\r\n", bad, {}},
        {"Content-Length: 1e3\r\n", bad, {}},
        {"Content-Length: \xb2\r\n", bad, {}},
        // C07
        {"Content-Length: " + std::string(1000, '0') + "100000\r\n", {}, length(100000)},
        // H03
        {"Content-Length: 9223372036854775807\r\n", {}, length(9223372036854775807u)},
        {"Content-Length: 9223372036854775808\r\n", bad, {}},
        {"Content-Length: 18446744073709551615\r\n", bad, {}},
        {"Content-Length: 18446744073709551616\r\n", bad, {}},
        {"Content-Length: 18446744073709551617\r\n", bad, {}},
        {"Content-Length: 1000000000000000000000000000000\r\n", bad, {}},
    };
    for (framing_row const& row : rows) {
        check(row);
        check(row, "HTTP/1.0 200 x\r\n");
    }
}

TEST_CASE("framing by Transfer-Encoding (C01, C03, C08)") {
    constexpr auto bad = error::bad_transfer_coding;
    for (framing_row const& row : std::vector<framing_row>{
             {"Transfer-Encoding: chunked\r\n", {}, chunks},
             {"transfer-encoding: CHUNKED\r\n", {}, chunks},
             {"Transfer-Encoding:chunked\t\r\n", {}, chunks},
             {"Transfer-Encoding: \t chunked \t \r\n", {}, chunks},
             {"Transfer-Encoding: chunked, identity\r\n", bad, {}},
             {"Transfer-Encoding: identity, chunked\r\n", bad, {}},
             {"Transfer-Encoding: chunked, chunked\r\n", bad, {}},
             {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", bad, {}},
             {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", bad, {}},
             {"Transfer-Encoding: chunkedchunked\r\n", bad, {}},
             {"Transfer-Encoding: gzip, chunked\r\n", bad, {}},
             {"Transfer-Encoding: chunked, gzip\r\n", bad, {}},
             {"Transfer-Encoding: chunked,\r\n", bad, {}},
             {"Transfer-Encoding: ,chunked\r\n", bad, {}},
             {"Transfer-Encoding: chunked;a=b\r\n", bad, {}},
             {"Transfer-Encoding: \"chunked\"\r\n", bad, {}},
             {"Transfer-Encoding: xchunked\r\n", bad, {}},
             {"Transfer-Encoding: identity\r\n", bad, {}},
             {"Transfer-Encoding: gzip\r\n", bad, {}},
             {"Transfer-Encoding: x\r\n", bad, {}},
             {"Transfer-Encoding:\r\n", bad, {}},
         }) {
        check(row);
        check({row.fields, bad, {}}, "HTTP/1.0 206 x\r\n");
        // C03: with a length besides, whatever it is.
        for (char const* n : {"100000", "50000", "200000", "9999999999999999999999", "0", "x"}) {
            std::string const both = row.fields + "Content-Length: " + n + "\r\n";
            check({both, error::ambiguous_framing, {}});
            check({both, bad, {}}, "HTTP/1.0 206 x\r\n");
        }
    }
}

TEST_CASE("framings of other lengths are other framings") {
    using framing = cleave::body_framing;
    CHECK_FALSE(framing{framing::kind::length, 1} == framing{framing::kind::length, 2});
    CHECK_FALSE(framing{framing::kind::none, 1} == framing{framing::kind::length, 1});
}

TEST_CASE("replies that have no body, whatever they say (C14)") {
    for (char const* line : {"HTTP/1.1 204 x\r\n", "HTTP/1.1 304 x\r\n"}) {
        check({"Content-Length: 100000\r\n", {}, {}}, line);
        check({"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", {}, {}}, line);
        check({"", {}, {}}, line);
    }
    for (char const* line : {"HTTP/1.1 200 x\r\n", "HTTP/1.1 416 x\r\n", "HTTP/1.1 500 x\r\n"})
        check({"Content-Length: 100000\r\n", {}, length(100000)}, line);
}

TEST_CASE("whether a connection persists (F04)") {
    struct row {
        char const* text;
        bool keeps;
    };
    for (row const& r : {
             row{"HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\n", true},
             row{"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", true},
             row{"HTTP/1.1 204 x\r\n\r\n", true},
             row{"HTTP/1.1 200 x\r\n\r\n", false},
             row{"HTTP/1.1 200 x\r\nConnection: keep-alive\r\n\r\n", false},
             row{"HTTP/1.1 200 x\r\nContent-Length: x\r\n\r\n", false},
             row{"HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n", false},
             row{"HTTP/1.1 200 x\r\nContent-Length: 1\r\nCONNECTION: a ,\tClose\r\n\r\n", false},
             row{"HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection: keep-alive\r\n"
                 "Connection: close\r\n\r\n",
                 false},
             row{"HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection: close, keep-alive\r\n\r\n",
                 false},
             row{"HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection: closed\r\n\r\n", true},
             row{"HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection:\r\n\r\n", true},
             row{"HTTP/1.0 200 x\r\nContent-Length: 1\r\n\r\n", false},
             row{"HTTP/1.0 200 x\r\nContent-Length: 1\r\nConnection: x\r\n\r\n", false},
             row{"HTTP/1.0 200 x\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n", true},
             row{"HTTP/1.0 200 x\r\nContent-Length: 1\r\nConnection: Keep-Alive, close\r\n\r\n",
                 false},
             row{"HTTP/1.0 200 x\r\nConnection: Keep-Alive\r\n\r\n", false},
         }) {
        INFO(r.text);
        CHECK(cleave::keeps_connection(read_head{r.text}) == r.keeps);
    }
}

namespace {

struct decoded {
    std::string data;
    std::size_t consumed = 0;
    state is = state::more;

    friend bool operator==(decoded const&, decoded const&) = default;
};

/// Feeds portions of at most `most` bytes each.
decoded decode(std::string_view in, std::size_t most) {
    decoded to;
    chunked_decoder decoder;
    while (!in.empty() && to.is == state::more) {
        std::string_view portion = in.substr(0, most);
        in.remove_prefix(portion.size());
        while (!portion.empty() && to.is == state::more) {
            auto const p = decoder.decode(portion);
            if (p.consumed == 0 || p.consumed > portion.size()) FAIL("no progress");
            if (!p.data.empty() && (p.data.data() < portion.data() ||
                                    p.data.data() + p.data.size() > portion.data() + p.consumed))
                FAIL("data that was not in the input");
            to.data += p.data;
            to.consumed += p.consumed;
            to.is = p.is;
            portion.remove_prefix(p.consumed);
        }
    }
    return to;
}

/// At once, and in portions of each size; all must say the same.
decoded decode(std::string const& in) {
    decoded const whole = decode(in, in.size() + 1);
    for (std::size_t most = 1; most <= std::min<std::size_t>(in.size(), 40); ++most) {
        decoded const part = decode(in, most);
        if (part != whole) FAIL("in portions of " << most << " other than at once: " << in);
    }
    return whole;
}

std::string hex(std::uint64_t n, bool upper = false) {
    std::string_view const digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    std::string to;
    do {
        to.insert(to.begin(), digits[n % 16]);
        n /= 16;
    } while (n != 0);
    return to;
}

} // namespace

TEST_CASE("chunked bodies are decoded (C01, C12)") {
    struct row {
        char const* in;
        char const* data;
    };
    for (row const& r : {
             row{"0\r\n\r\n", ""},
             row{"5\r\nhello\r\n0\r\n\r\n", "hello"},
             row{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
             row{"a\r\n0123456789\r\nA\r\n0123456789\r\n00000\r\n\r\n", "01234567890123456789"},
             row{"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"},
             row{"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"},
             row{"5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"},
             row{"5;a=\"b;c\\\"\";d = \t\xe4\r\nhello\r\n0;\r\n\r\n", "hello"},
             row{"5;\"unbalanced\r\nhello\r\n0\r\n\r\n", "hello"},
             // C12: trailers change nothing.
             row{"5\r\nhello\r\n0\r\nA: b\r\n\r\n", "hello"},
             row{"5\r\nhello\r\n0\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 5\r\n"
                 "Transfer-Encoding: x\r\nE:\r\n\r\n",
                 "hello"},
         }) {
        INFO(r.in);
        std::string const in = r.in;
        CHECK(decode(in) == decoded{r.data, in.size(), state::done});
        // C11, and what comes behind the end belongs to nobody.
        CHECK(decode(in + "0\r\n\r\n") == decoded{r.data, in.size(), state::done});
        CHECK(decode(in + "HTTP/1.1 200 OK\r\n") == decoded{r.data, in.size(), state::done});
        for (std::size_t size = 0; size < in.size(); ++size)
            CHECK(decode(in.substr(0, size)).is == state::more);
    }
}

TEST_CASE("damaged chunked bodies are refused (C06, C09, C12)") {
    for (std::string const& in :
         {// C09: sizes.
          "\r\nhello"s, "-1\r\n"s, "+5\r\nhello"s, "0x5\r\nhello"s, " 5\r\nhello"s, "5 \r\nhello"s,
          "5\t\r\nhello"s, "5\nhello"s, "g\r\n"s, "5g\r\n"s, "5\rhello"s, "5\r\r\nhello"s,
          "12345678123456789\r\n"s, "00000000000000005\r\nhello"s, "ffffffffffffffff0\r\n"s,
          "5,5\r\nhello"s, "5 ;a\r\nhello"s, "\0"s, "5\0\r\n"s, "\xb2\r\n"s, "/\r\n"s, ":\r\n"s,
          "@\r\n"s, "`\r\n"s, "G\r\n"s,
          // Ends of data.
          "5\r\nhello0\r\n\r\n"s, "5\r\nhello\n0\r\n\r\n"s, "5\r\nhello\r0\r\n\r\n"s,
          "5\r\nhelloo\r\n0\r\n\r\n"s, "4\r\nhello\r\n0\r\n\r\n"s, "5\r\nhello\r\n\r\n0\r\n\r\n"s,
          "5\r\nhello\r\r\n"s,
          // Extensions.
          "5;a\nb\r\n"s, "5;a\rb\r\n"s, "5;a\0b\r\n"s, "5;a\x7f\r\n"s, "5;\"\n\"\r\n"s,
          // Trailers, and the end.
          "0\n\n"s, "0\r\n\n"s, "0\r\n\rx"s, "0\r\nA: \0\r\n\r\n"s, "0\r\nA\0: b\r\n\r\n"s,
          "0\r\nA: b\n\r\n"s, "0\r\nA: b\rC: d\r\n\r\n"s, "0\r\nA: b\r\n\n"s, "0\r\nA b\r\n\r\n"s,
          "0\r\n: b\r\n\r\n"s, "0\r\n A: b\r\n\r\n"s, "0\r\nA: b\r\n c\r\n\r\n"s,
          "0\r\nA: \x01\r\n\r\n"s, "0\r\nA\r\n\r\n"s, "0\r\nHTTP/1.1 200 OK\r\n\r\n"s}) {
        INFO(in);
        CHECK(decode(in).is == state::failed);
    }
}

TEST_CASE("the greatest chunk is no overflow (C09, H03)") {
    chunked_decoder decoder;
    CHECK(decoder.decode("ffffffffffffffff\r\n").is == state::more);
    auto const p = decoder.decode("abc");
    CHECK(p.data == "abc");
    CHECK(p.is == state::more);
}

TEST_CASE("a chunk's line and the trailers are bounded (C10, C12)") {
    auto const line = [](std::size_t n) {
        return "5;" + std::string(n - 2, 'x') + "\r\nhello\r\n";
    };
    CHECK(decode(line(4096) + line(4096) + "0\r\n\r\n", 1 << 20).is == state::done);
    CHECK(decode(line(4097), 1 << 20).is == state::failed);
    CHECK(decode("5;" + std::string(1 << 20, 'x'), 7).consumed == 4097);

    auto const trailer = [](std::size_t n) { return "A:" + std::string(n - 4, 'b') + "\r\n"; };
    CHECK(decode("0\r\n" + trailer(4096) + trailer(4090) + "\r\n", 1 << 20).is == state::done);
    CHECK(decode("0\r\n" + trailer(4096) + trailer(4106) + "\r\n", 1 << 20).is == state::failed);
    CHECK(decode("0\r\nA: " + std::string(1 << 20, 'x'), 7).is == state::failed);
    CHECK(decode("0\r\n" + std::string(1 << 20, 'x'), 7).consumed < 9000);
    // Wherever in a trailer the limit is reached, also at its first byte.
    bool within = true;
    for (std::size_t n = 4'070; n != 4'110; ++n) {
        bool const ends =
            decode("0\r\n" + trailer(4096) + trailer(n) + "A:b\r\n\r\n").is == state::done;
        CHECK((within || !ends));
        within = ends;
    }
    CHECK_FALSE(within);
    std::string many = "0\r\n";
    for (int i = 0; i < 64; ++i) many += "A:\r\n";
    CHECK(decode(many + "\r\n").is == state::done);
    CHECK(decode(many + "A:\r\n\r\n").is == state::failed);

    // A million one-byte chunks with an extension each are no failure: bounded in each line.
    std::string small;
    for (int i = 0; i < 100'000; ++i) small += "1;e=f\r\nx\r\n";
    CHECK(decode(small + "0\r\n\r\n", 1460) ==
          decoded{std::string(100'000, 'x'), small.size() + 5, state::done});
}

TEST_CASE("a decoder is used again after reset") {
    chunked_decoder decoder;
    CHECK(decoder.decode("x").is == state::failed);
    auto const still = decoder.decode("0\r\n\r\n");
    CHECK(still.is == state::failed);
    CHECK(still.consumed == 0);
    decoder.reset();
    CHECK(decoder.decode("").is == state::more);
    CHECK(decoder.decode("0\r\n\r\n").is == state::done);
    auto const done = decoder.decode("0\r\n\r\n");
    CHECK(done.is == state::done);
    CHECK(done.consumed == 0);
    decoder.reset();
    CHECK(decoder.decode("1\r\n").is == state::more);
    CHECK(decoder.decode("x").data == "x");
}

TEST_CASE("any chunking of any bytes decodes to them, however it is split (C01, C02)") {
    std::mt19937_64 random{20240229};
    auto const below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    for (int round = 0; round < 3000; ++round) {
        std::string data(below(2000), '\0');
        for (char& c : data) c = below(4) == 0 ? "\r\n0;"[below(4)] : static_cast<char>(below(256));
        std::string in;
        for (std::size_t at = 0; at < data.size();) {
            std::size_t const n = std::min(data.size() - at, 1 + below(below(4) == 0 ? 1000 : 20));
            std::string const size = hex(n, below(2) == 0);
            in += std::string(below(17 - size.size()), '0') + size;
            if (below(3) == 0) in += ";x=" + std::string(below(30), 'y');
            in += "\r\n" + data.substr(at, n) + "\r\n";
            at += n;
        }
        in += std::string(1 + below(16), '0') + "\r\n";
        for (std::size_t i = below(3); i > 0; --i) in += "X-Sum: " + hex(random()) + "\r\n";
        in += "\r\n";

        decoded to;
        chunked_decoder decoder;
        for (std::size_t at = 0; at < in.size();) {
            std::size_t const n = std::min(in.size() - at, 1 + below(below(3) == 0 ? 1500 : 8));
            std::string_view portion = std::string_view{in}.substr(at, n);
            at += n;
            while (!portion.empty()) {
                if (to.is != state::more) FAIL("ended too early");
                auto const p = decoder.decode(portion);
                to.data += p.data;
                to.consumed += p.consumed;
                to.is = p.is;
                portion.remove_prefix(p.consumed);
                if (p.consumed == 0) FAIL("no progress");
            }
        }
        if (to != decoded{data, in.size(), state::done}) FAIL(in);

        // One byte changed: it fails or it does not, but never depending on how it is split.
        in[below(in.size())] = static_cast<char>(random());
        if (decode(in, in.size()) != decode(in, 1 + below(20))) FAIL(in);
    }
}
