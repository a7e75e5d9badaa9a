// SPDX-License-Identifier: BSL-1.0
//
// Heads: what is accepted, what is refused and by which name, and that it makes no difference in
// which portions the bytes come.

#include <cleave/http/response_head.hpp>

#include <http/read.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using cleave::error;
using cleave::head_limits;
using cleave::response_head;
using cleave::response_head_parser;
using cleave_test::read_head;
using state = response_head_parser::progress::state;
using namespace std::string_literals;

namespace {

std::string shown(response_head const& head) {
    std::string to = std::to_string(head.minor_version()) + " " + std::to_string(head.status()) +
                     " <" + std::string(head.reason()) + ">";
    for (auto const& f : head.fields())
        to += " <" + std::string(f.name) + ">=<" + std::string(f.value) + ">";
    return to;
}

/// What became of bytes fed in one way, as text: how much of them was the head, and what it said,
/// or the error.
std::string outcome(response_head_parser& parser, std::vector<std::string_view> const& portions) {
    std::size_t head = 0;
    for (std::string_view const portion : portions) {
        auto const p = parser.feed(portion);
        if (p.consumed > portion.size()) return "consumed more than there was";
        head += p.consumed;
        if (p.is == state::failed) return "error " + std::to_string(static_cast<int>(p.why));
        if (p.is == state::complete)
            return std::to_string(head) + " bytes: " + shown(parser.head());
        if (p.consumed != portion.size()) return "left bytes although it needs more";
    }
    return "more";
}

/// The outcome of a text at once, having made sure that it is the same however the text is split.
std::string outcome(std::string const& text, head_limits limits = {}) {
    response_head_parser parser{limits};
    std::string_view const all = text;
    std::string const whole = outcome(parser, {all});

    std::vector<std::string_view> bytes;
    for (std::size_t i = 0; i < text.size(); ++i) bytes.push_back(all.substr(i, 1));
    parser.reset();
    if (auto const other = outcome(parser, bytes); other != whole)
        return "bytewise: " + other + ", at once: " + whole;

    for (std::size_t i = 0; i <= text.size(); ++i) {
        parser.reset();
        if (auto const other = outcome(parser, {all.substr(0, i), all.substr(i)}); other != whole)
            return "split at " + std::to_string(i) + ": " + other + ", at once: " + whole;
    }
    return whole;
}

std::string failure(error e) { return "error " + std::to_string(static_cast<int>(e)); }

/// Expects a text to be one head, with nothing behind it and with something behind it (D11).
void accepts(std::string const& text, std::string const& expected) {
    INFO(text);
    std::string const whole = std::to_string(text.size()) + " bytes: " + expected;
    CHECK(outcome(text) == whole);
    CHECK(outcome(text + "body\r\n\r\n") == whole);
    CHECK(outcome(text + "HTTP/1.1 404 Other\r\nX: y\r\n\r\n") == whole);
    CHECK(outcome(text + "\0\n\r"s) == whole);
}

void refuses(std::string const& text, error why = error::malformed_head) {
    INFO(text);
    CHECK(outcome(text) == failure(why));
}

} // namespace

TEST_CASE("heads that are accepted (D02, D11, D13, D14)") {
    accepts("HTTP/1.1 200 OK\r\n\r\n", "1 200 <OK>");
    accepts("HTTP/1.0 206 Partial Content\r\n\r\n", "0 206 <Partial Content>");
    accepts("HTTP/1.1 200\r\n\r\n", "1 200 <>");
    accepts("HTTP/1.1 200 \r\n\r\n", "1 200 <>");
    accepts("HTTP/1.1 200  two  spaces \r\n\r\n", "1 200 < two  spaces >");
    accepts("HTTP/1.1 200 \xc3\xa4\xff\t!\r\n\r\n", "1 200 <\xc3\xa4\xff\t!>");
    accepts("HTTP/1.1 000 x\r\n\r\n", "1 0 <x>");
    accepts("HTTP/1.1 999 x\r\n\r\n", "1 999 <x>");
    accepts("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "1 200 <OK> <A>=<b>");
    accepts("HTTP/1.1 200 OK\r\na:b\r\nA: c\r\nB:\r\nC: \t \r\nD: \t e \t f\t \r\n\r\n",
            "1 200 <OK> <a>=<b> <A>=<c> <B>=<> <C>=<> <D>=<e \t f>");
    accepts("HTTP/1.1 200 OK\r\nA: \xe4\xff\x80\r\n\r\n", "1 200 <OK> <A>=<\xe4\xff\x80>");
    accepts("HTTP/1.1 200 OK\r\n!#$%&'*+-.^_`|~09azAZ: ::\r\n\r\n",
            "1 200 <OK> <!#$%&'*+-.^_`|~09azAZ>=<::>");
    accepts("\r\nHTTP/1.1 200 OK\r\n\r\n", "1 200 <OK>");
    accepts("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "1 200 <OK>");
}

TEST_CASE("status lines that are refused (D01, D04)") {
    // clang-format off
    for (char const* line : {"HTP/1.1 200",
                             "HTTP/1.1  200 OK",
                             "HTTP/1.1\t200 OK",
                             "HTTP/01.1 200",
                             "HTTP/x 200",
                             "HTTP/1.10 200",
                             "HTTP/1.1 2 OK",
                             "HTTP/1.1 20 OK",
                             "HTTP/1.1 2000",
                             "HTTP/1.1 -20",
                             "HTTP/1.1 +20",
                             "HTTP/1.1 200X",
                             "HTTP/1.1 200\tOK",
                             "HTTP/1.1 2 0 OK",
                             "HTTP/1.1 0x0",
                             "HTTP/1.1 ",
                             "HTTP/1.1",
                             "HTTP/1.1X 200",
                             "HTTP/1,1 200",
                             "HTTP/11 200",
                             "HTTP/1. 200",
                             "HTTP/.1 200",
                             "HTTP/ 200",
                             "HTTP/",
                             "HTTP/a.b 200",
                             "HTTP/1.a 200",
                             "HTTP/-1.1 200",
                             "http/1.1 200",
                             "Http/1.1 200",
                             " HTTP/1.1 200",
                             "HTTP /1.1 200",
                             "HTTPS/1.1 200",
                             "ICY 200 OK",
                             "200 OK",
                             "XHTTP/1.1 200",
                             "GET / HTTP/1.1",
                             "<html>",
                             "SSH-2.0-x",
                             "\x16\x03\x01"}) {
        // clang-format on
        refuses(line + "\r\n\r\n"s);
    }
    refuses("HTTP/1.1 " + std::string(100, '2') + "\r\n\r\n");
    refuses("HTTP/1." + std::string(100, '1') + " 200\r\n\r\n");
    refuses("\xef\xbb\xbfHTTP/1.1 200\r\n\r\n");
}

TEST_CASE("other versions are named as such (D03)") {
    for (char const* line : {"HTTP/1.2 200 OK", "HTTP/0.9 200 OK", "HTTP/2.0 200 OK", "HTTP/2 200",
                             "HTTP/3 200", "HTTP/5.6 200 OK", "HTTP/0.0 200", "HTTP/9.9"})
        refuses(line + "\r\n\r\n"s, error::unsupported_version);
    // The server's side of HTTP/2 begins with a SETTINGS frame, which is no version of this.
    refuses("\0\0\x12\x04\0\0\0\0\0"s);
    refuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

TEST_CASE("what is not HTTP is told at its first bytes, not at the end of a line (D04)") {
    for (std::string const& bytes : {"<"s, "\0"s, "\n"s, " "s, "h"s, "HTTPS"s, "HTTX"s, "HH"s,
                                     "\rH"s, "\r\r"s, "\r\n\r\n\r"s, "\r\n<"s}) {
        INFO(bytes);
        CHECK(outcome(bytes) == failure(error::malformed_head));
    }
    for (std::string const& bytes :
         {""s, "H"s, "HTTP"s, "HTTP/"s, "HTTP/1.1 200"s, "\r"s, "\r\n"s, "\r\n\r\n"s, "\r\nHT"s})
        CHECK(outcome(bytes) == "more");
}

TEST_CASE("bare CR, bare LF and control characters are refused everywhere (D05, D06, D07)") {
    refuses("HTTP/1.1 200 OK\n\n");
    refuses("HTTP/1.1 200 OK\nA: b\n\n");
    refuses("HTTP/1.1 200 OK\r\nA: b\n\r\n");
    refuses("HTTP/1.1 200 OK\r\nA: b\r\n\n");
    refuses("\nHTTP/1.1 200 OK\r\n\r\n");
    refuses("HTTP/1.1 200 OK\r\nFoo: 1\rContent-Length: 0\r\n\r\n");
    refuses("HTTP/1.1 200 OK\r\nFoo: 1\r\r\n\r\n");
    refuses("HTTP/1.1 200 OK\r\r\n\r\n");
    refuses("HTTP/1.1 200 OK\r\n\rA: b\r\n\r\n");
    refuses("HTTP/1.1 200 OK\r\nA\r: b\r\n\r\n");
    refuses("HTTP/1.1 200 OK\r\nA: b\r\n\r\r\n");

    std::string const head = "HTTP/1.1 200 OK\r\nNa: vv\r\n\r\n";
    for (int byte = 0; byte < 0x80; ++byte) {
        if (byte >= 0x20 && byte != 0x7f) continue;
        if (byte == '\t') continue;
        for (std::string const& where : {"OK"s, "Na"s, "vv"s, ": "s}) {
            std::string text = head;
            text.insert(text.find(where) + 1, 1, static_cast<char>(byte));
            refuses(text);
        }
    }
}

TEST_CASE("each byte of a long value counts, wherever it stands (D07)") {
    response_head_parser parser;
    std::size_t right = 0;
    for (std::size_t length = 1; length <= 40; ++length)
        for (std::size_t at = 0; at < length; ++at)
            for (int byte = 0; byte < 0x100; ++byte) {
                std::string value(length, 'v');
                value[at] = static_cast<char>(byte);
                bool const good = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
                for (auto const& [name, line] :
                     {std::pair{"value", "HTTP/1.1 200 OK\r\nA:" + value + "\r\n\r\n"},
                      std::pair{"reason", "HTTP/1.1 200 " + value + "\r\n\r\n"}}) {
                    parser.reset();
                    auto const p = parser.feed(line);
                    if (p.is == (good ? state::complete : state::failed))
                        ++right;
                    else
                        UNSCOPED_INFO(name << " of " << length << ", byte " << at << ": " << byte);
                }
            }
    CHECK(right == 820 * 256 * 2);
}

TEST_CASE("field lines that are refused (D08, D09)") {
    for (char const* lines :
         {"Content-Length : 5\r\n", "Content-Length\t: 5\r\n", " Content-Length: 5\r\n",
          "\tContent-Length: 5\r\n", "Content Length: 5\r\n", ": x\r\n", ":\r\n", "no colon\r\n",
          "nocolon\r\n", "A: b\r\n: x\r\n", "A@: b\r\n", "A(: b\r\n", "\"A\": b\r\n", "A/B: c\r\n",
          "[A]: b\r\n", "A;: b\r\n", "A=b\r\n", "\xc3\xa4: b\r\n",
          // Folded lines: as the first, on framing fields, of nothing but white space.
          "Content-Length: 1\r\n 00000\r\n", "Content-Range: bytes 0-\r\n\t9/10\r\n",
          " folded\r\nA: b\r\n", "A: b\r\n \r\n", "A: b\r\n\t\r\n", "A:\r\n b\r\n"}) {
        refuses("HTTP/1.1 200 OK\r\n"s + lines + "\r\n");
    }
}

TEST_CASE("more than two empty lines before a status line are refused (D13)") {
    refuses("\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    // All together, interim replies included.
    refuses("\r\nHTTP/1.1 100 x\r\n\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
}

TEST_CASE("interim replies are skipped and leave nothing behind (E01, E03)") {
    accepts("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n", "1 200 <OK> <A>=<b>");
    accepts("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102\r\n\r\n"
            "HTTP/1.0 100 x\r\nContent-Length: 5\r\nContent-Range: bytes 0-1/2\r\n\r\n"
            "HTTP/1.1 206 y\r\nE: f\r\n\r\n",
            "1 206 <y> <E>=<f>");
    accepts("HTTP/1.1 100\r\nX: y\r\n\r\nHTTP/1.0 200\r\n\r\n", "0 200 <>");
    CHECK(outcome("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n") == "more");
    refuses("HTTP/1.1 100 Continue\r\n\r\n<html>");
    refuses("HTTP/1.1 100 Continue\r\nA\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
}

TEST_CASE("interim replies are counted, and their bytes too (E02)") {
    std::string const interim = "HTTP/1.1 100 Continue\r\n\r\n";
    std::string const final_head = "HTTP/1.1 200 OK\r\n\r\n";
    std::string text;
    for (int i = 0; i < 16; ++i) text += interim;
    accepts(text + final_head, "1 200 <OK>");
    refuses(text + interim + final_head, error::too_many_interim);

    std::string const big = "HTTP/1.1 103 x\r\nA: " + std::string(400, 'a') + "\r\n\r\n";
    CHECK(outcome(big + final_head, {500, 256, 16}) ==
          std::to_string(big.size() + final_head.size()) + " bytes: 1 200 <OK>");
    CHECK(outcome(big + big + final_head, {500, 256, 16}) == failure(error::head_too_large));
    CHECK(outcome(interim + final_head, {65536, 256, 0}) == failure(error::too_many_interim));
}

TEST_CASE("an upgrade that nobody asked for is refused (E04)") {
    refuses("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", error::unexpected_upgrade);
    refuses("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n", error::unexpected_upgrade);
}

TEST_CASE("heads are bounded in bytes and fields (D10)") {
    std::string const begin = "HTTP/1.1 200 OK\r\n";
    auto const fields = [](std::size_t n) {
        std::string to;
        for (std::size_t i = 0; i < n; ++i) to += "A:b\r\n";
        return to;
    };
    response_head_parser parser;
    auto const p = parser.feed(begin + fields(256) + "\r\n");
    CHECK(p.is == state::complete);
    CHECK(parser.head().fields().size() == 256);
    parser.reset();
    auto const more = parser.feed(begin + fields(257));
    CHECK(more.is == state::failed);
    CHECK(more.why == error::too_many_fields);
    CHECK(outcome(begin + fields(2) + "\r\n", {100, 2, 0}).ends_with("<A>=<b> <A>=<b>"));
    CHECK(outcome(begin + fields(3) + "\r\n", {100, 2, 0}) == failure(error::too_many_fields));

    // To the byte: a head of exactly the limit is taken.
    std::string const text = begin + fields(5) + "\r\n";
    CHECK(outcome(text, {text.size(), 256, 16}).starts_with(std::to_string(text.size())));
    CHECK(outcome(text + "body", {text.size(), 256, 16}).starts_with(std::to_string(text.size())));
    CHECK(outcome(text, {text.size() - 1, 256, 16}) == failure(error::head_too_large));

    // Without an end, in each part of a head; a MiB given at once is not read beyond the limit.
    for (std::string const& start :
         {begin + "A: ", begin, "HTTP/1.1 200 "s, "HTTP/1.1 "s, "HTTP/1.1 103 x\r\nA: "s}) {
        std::string const endless = start + std::string(1 << 20, 'a');
        parser.reset();
        auto const at_once = parser.feed(endless);
        CHECK(at_once.is == state::failed);
        CHECK(at_once.why == error::head_too_large);
        CHECK(at_once.consumed == 65536);

        parser.reset();
        std::size_t at = 0;
        response_head_parser::progress q{};
        for (; at < endless.size(); ++at) {
            q = parser.feed(std::string_view{endless}.substr(at, 1));
            if (q.is != state::need_more) break;
        }
        CHECK(q.why == error::head_too_large);
        CHECK(at == 65536);
    }
}

TEST_CASE("64 KiB one byte at a time is linear work (D12)") {
    // Not timed: were each feed to look at what came before, this would be 2 * 10^9 steps a head,
    // and not end in sensible time under a sanitizer.
    std::string one_line = "HTTP/1.1 200 OK\r\nA: ";
    one_line += std::string(65536 - one_line.size() - 4, 'a') + "\r\n\r\n";
    std::string many_lines = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 256; ++i) many_lines += "A:" + std::string(250, 'b') + "\r\n";
    many_lines += "\r\n";
    response_head_parser parser;
    for (std::string const* text : {&one_line, &many_lines}) {
        for (int round = 0; round < 20; ++round) {
            parser.reset();
            std::size_t complete = 0;
            for (std::size_t i = 0; i < text->size(); ++i)
                complete += parser.feed(std::string_view{*text}.substr(i, 1)).is == state::complete;
            CHECK(complete == 1);
        }
    }
}

TEST_CASE("a parser is reset for the next reply") {
    response_head_parser parser;
    CHECK(parser.untouched());
    CHECK(parser.feed("").is == state::need_more);
    CHECK(parser.untouched());
    CHECK(parser.feed("\r").is == state::need_more);
    CHECK_FALSE(parser.untouched());
    parser.reset();
    CHECK(parser.untouched());

    CHECK(outcome(parser, {"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"}) == "25 bytes: 1 200 <OK> <A>=<b>");
    auto const again = parser.feed("more");
    CHECK(again.is == state::complete);
    CHECK(again.consumed == 0);
    CHECK(shown(parser.head()) == "1 200 <OK> <A>=<b>");

    parser.reset();
    CHECK(outcome(parser, {"HTTP/1.0 404\r\n\r\n"}) == "16 bytes: 0 404 <>");
    parser.reset();
    CHECK(outcome(parser, {"x"}) == failure(error::malformed_head));
    auto const still = parser.feed("HTTP/1.1 200 OK\r\n\r\n");
    CHECK(still.is == state::failed);
    CHECK(still.why == error::malformed_head);
    CHECK(still.consumed == 0);
    parser.reset();
    CHECK(outcome(parser, {"HTTP/1.1 200 OK\r\n\r\n"}) == "19 bytes: 1 200 <OK>");
}

TEST_CASE("a parser may be moved, and its head goes with it") {
    response_head_parser from;
    from.feed("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
    response_head_parser const to = std::move(from);
    CHECK(shown(to.head()) == "1 200 <OK> <A>=<b>");

    response_head_parser half;
    half.feed("HTTP/1.1 200 OK\r\nA:");
    response_head_parser rest = std::move(half);
    CHECK(rest.feed(" b\r\n\r\n").is == state::complete);
    CHECK(shown(rest.head()) == "1 200 <OK> <A>=<b>");
}

TEST_CASE("fields are found by name, whatever its case (D14)") {
    read_head const head{"HTTP/1.1 200 OK\r\nETag: a\r\netag: b\r\nX-Y: c\r\nE: d\r\n\r\n"};
    CHECK((*head).find("ETAG") == "a");
    CHECK((*head).find("x-y") == "c");
    CHECK((*head).find("e") == "d");
    CHECK_FALSE((*head).find("eta"));
    CHECK_FALSE((*head).find("x_y"));
    CHECK_FALSE((*head).find(""));
    CHECK((*head).count("EtAg") == 2);
    CHECK((*head).count("none") == 0);
    // '@' and '`' differ from letters in the same bit in which cases differ.
    read_head const signs{"HTTP/1.1 200 OK\r\n`A: b\r\n\r\n"};
    CHECK_FALSE((*signs).find("@A"));
}
