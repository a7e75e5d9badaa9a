// SPDX-License-Identifier: BSL-1.0
//
// A list of digests is read from text, or the line is named that cannot be; and nothing but digests
// of its algorithm can be added to it.

#include <cleave/verify/piece_list.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

using cleave::digest_algorithm;
using cleave::parse_pieces;
using cleave::piece_list;

namespace {

std::string hex(char digit, digest_algorithm a = digest_algorithm::sha256) {
    return std::string(2 * cleave::digest_size(a), digit);
}

void check_fault(std::string const& text, std::string const& begin, std::string const& part) {
    INFO(text);
    auto const read = parse_pieces(text);
    CHECK_FALSE(read.list);
    CHECK_THAT(read.fault, Catch::StartsWith(begin + ": "));
    CHECK_THAT(read.fault, Catch::Contains(part));
}

} // namespace

TEST_CASE("a list of pieces is read from lines") {
    auto const read = parse_pieces("sha-256 1048576\n" + hex('1') + "\n" + hex('a') + "\n");
    CHECK(read.fault == "");
    REQUIRE(read.list);
    CHECK(read.list->algorithm == digest_algorithm::sha256);
    CHECK(read.list->piece_size == 1'048'576);
    REQUIRE(read.list->count() == 2);
    REQUIRE(read.list->digests.size() == 64);
    for (std::size_t i = 0; i != 64; ++i)
        CHECK(read.list->digests[i] == (i < 32 ? std::byte{0x11} : std::byte{0xaa}));
}

TEST_CASE("blanks, blank lines, comments and the last line's end do not matter") {
    auto const plain = parse_pieces("md5 17\n" + hex('b', digest_algorithm::md5));
    REQUIRE(plain.list);
    CHECK(plain.list->count() == 1);
    for (std::string const& text : {
             "MD5\t17\r\n" + hex('B', digest_algorithm::md5) + "\r\n",
             "# made by hand\n\n  md5   17 # bytes\n#\n \t\n\t" + hex('b', digest_algorithm::md5) +
                 "  #first\n\n# the end",
             "md-5 0017\n" + hex('b', digest_algorithm::md5) + "#\n\r\n",
         }) {
        INFO(text);
        auto const read = parse_pieces(text);
        CHECK(read.fault == "");
        REQUIRE(read.list);
        CHECK(read.list->algorithm == plain.list->algorithm);
        CHECK(read.list->piece_size == plain.list->piece_size);
        CHECK(read.list->digests == plain.list->digests);
    }
}

TEST_CASE("the largest piece size is read, and none beyond") {
    auto const read = parse_pieces("sha-256 18446744073709551615\n" + hex('0'));
    REQUIRE(read.list);
    CHECK(read.list->piece_size == 18'446'744'073'709'551'615U);
    check_fault("sha-256 18446744073709551616\n" + hex('0'), "line 1", "bytes of a piece");
}

TEST_CASE("what cannot be read is named by its line") {
    std::string const good = hex('0');
    check_fault("", "line 1", "ends before the algorithm");
    check_fault("\n# nothing\n", "line 3", "ends before the algorithm");
    check_fault("sha-256 1024", "line 1", "ends before the first digest");
    check_fault("sha-256 1024\n# none\n", "line 3", "ends before the first digest");
    check_fault(good, "line 1", "begin with the algorithm");
    check_fault("\ncrc32 1024\n" + good, "line 2", "begin with the algorithm");
    check_fault("1024 sha-256\n" + good, "line 1", "begin with the algorithm");
    check_fault("sha-256\n" + good, "line 1", "bytes of a piece");
    for (char const* size : {"0", "000", "-1", "+1", "1.5", "1e6", "0x400", "1K", "1024,", "a"})
        check_fault(std::string{"#\nsha-256 "} + size + "\n" + good, "line 2", "bytes of a piece");
    check_fault("sha-256 1024 1024\n" + good, "line 1", "a word too many");
    check_fault("sha-256 1024\n" + good + "\n\n" + good + ' ' + good, "line 4",
                "one digest a line");
    check_fault("sha-256 1024\n" + good + " a b", "line 2", "a word too many");
    check_fault("sha-256 1024\n" + good + "\n" + good.substr(1), "line 3",
                "not a digest; sha-256 has 64 hexadecimal digits");
    check_fault("sha-1 1024\n" + good, "line 2", "not a digest; sha-1 has 40 hexadecimal digits");
    check_fault("sha-256 1024\n" + good + "0", "line 2", "not a digest");
    check_fault("sha-256 1024\n0:" + good, "line 2", "not a digest");
    // The algorithm stands there once.
    check_fault("sha-256 1024\nsha-256 1024\n" + good, "line 2", "one digest a line");
    // Carriage returns alone do not end a line.
    check_fault("sha-256 1024\r" + good, "line 1", "a word too many");
    check_fault(std::string("sha-256 1024\n") + std::string(64, '\0'), "line 2", "not a digest");
}

TEST_CASE("faults do not repeat what the text says") {
    auto const read = parse_pieces("sha-256 1024\n\x1b[31mred");
    CHECK(read.fault.find('\x1b') == std::string::npos);
    CHECK(read.fault.find("red") == std::string::npos);
}

TEST_CASE("only digests of the list's algorithm are added, and in order") {
    piece_list list{digest_algorithm::sha1, 10, {}};
    CHECK(list.count() == 0);
    CHECK(list.add(hex('1', digest_algorithm::sha1)));
    CHECK_FALSE(list.add(hex('2', digest_algorithm::md5)));
    CHECK_FALSE(list.add(""));
    CHECK(list.count() == 1);
    CHECK(list.add(hex('3', digest_algorithm::sha1)));
    REQUIRE(list.count() == 2);
    CHECK(list.digests.front() == std::byte{0x11});
    CHECK(list.digests.back() == std::byte{0x33});
}

TEST_CASE("any text is a list or has a fault") {
    cleave_test::random_source random{1};
    std::string const words[] = {
        "sha-256", "md5", " ", "\n", "#", "16", "\r\n", hex('a'), hex('b', digest_algorithm::md5),
        "\t",      "x"};
    int lists = 0;
    for (int i = 0; i != 20'000; ++i) {
        std::string text = random.chance(70) ? "md5 16\n" : "";
        for (std::uint64_t n = random.below(8); n != 0; --n) text += words[random.index(11)];
        auto const read = parse_pieces(text);
        INFO(text);
        REQUIRE(read.list.has_value() == read.fault.empty());
        if (!read.list) continue;
        ++lists;
        REQUIRE(read.list->count() != 0);
        REQUIRE(read.list->piece_size == 16);
        REQUIRE(read.list->digests.size() % cleave::digest_size(read.list->algorithm) == 0);
    }
    CHECK(lists > 100);
}
