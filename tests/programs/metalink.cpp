// SPDX-License-Identifier: BSL-1.0
//
// Metalinks: what is taken of one, what is left out, and that each of those that cannot be used is
// refused with the reason, which repeats nothing that a stranger wrote.

#include <metalink.hpp>

#include <support/catch.hpp>

#include <cleave/base/segment.hpp>
#include <cleave/base/url.hpp>
#include <cleave/verify/digest.hpp>
#include <cleave/verify/piece_list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using cleave::digest_algorithm;
using example::metalink_file;
using example::read_metalink;
using strings = std::vector<std::string>;
using namespace std::string_literals;

namespace {

std::string const url = "<url>http://h/x</url>";

std::string document(std::string const& files) {
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
           "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">" +
           files + "</metalink>";
}
// One file with this in it, which may be had somewhere.
std::string with(std::string const& inner, std::string const& name = "x") {
    return document("<file name=\"" + name + "\">" + inner + url + "</file>");
}

metalink_file read(std::string const& xml, std::string_view wanted = {}) {
    std::string fault = "something from before";
    auto file = read_metalink(xml, fault, wanted);
    INFO(xml);
    CHECK(fault == "");
    REQUIRE(file);
    return *std::move(file);
}
std::string fault_of(std::string const& xml, std::string_view wanted = {}) {
    std::string fault;
    auto const file = read_metalink(xml, fault, wanted);
    INFO(xml);
    CHECK_FALSE(file);
    return fault;
}
bool contains(std::string const& text, std::string const& part) {
    return text.find(part) != std::string::npos;
}

strings urls_of(metalink_file const& file) {
    strings all;
    for (auto const& u : file.urls) all.push_back(u.to_string());
    return all;
}

// As many digits as the algorithm has.
std::string digits(digest_algorithm a, char digit = 'a') {
    return std::string(2 * cleave::digest_size(a), digit);
}
std::string hash(char const* type, std::string const& text) {
    return "<hash type=\"" + std::string{type} + "\">" + text + "</hash>";
}
std::string pieces(char const* type, char const* length, int n, digest_algorithm a,
                   char digit = 'a') {
    std::string text = "<pieces type=\"" + std::string{type} + "\" length=\"" + length + "\">";
    for (int i = 0; i < n; ++i) text += "<hash>" + digits(a, digit) + "</hash>";
    return text + "</pieces>";
}

} // namespace

TEST_CASE("a Metalink says where a file is, how large, and which digests it has") {
    std::string const first = digits(digest_algorithm::sha256, '1');
    std::string const second = digits(digest_algorithm::sha256, '2');
    auto const file = read(document(R"(
        <published>2009-05-15T12:23:23Z</published>
        <file name="example.ext">
          <size> 1500 </size>
          <identity>Example</identity>
          <language>en</language>
          <hash type="sha-256">)" + digits(digest_algorithm::sha256, 'c') +
                                    R"(</hash>
          <pieces length="1024" type="sha-256">
            <hash>)" + first + "</hash>\n<hash>\n" +
                                    second + R"(
            </hash>
          </pieces>
          <url location="de" priority="2">ftp://ftp.example.com/example.ext</url>
          <url location="fr" priority="3">http://example.com/example.ext</url>
          <url location="us" priority="1">
            https://example.org:8443/a/example.ext?id=1&amp;key=2
          </url>
          <metaurl mediatype="torrent" priority="1">http://example.com/example.torrent</metaurl>
        </file>)"));
    CHECK(file.name == "example.ext");
    CHECK(file.size == 1500);
    REQUIRE(file.digest);
    CHECK(file.digest->algorithm == digest_algorithm::sha256);
    CHECK(file.digest->hex == digits(digest_algorithm::sha256, 'c'));
    REQUIRE(file.pieces);
    CHECK(file.pieces->algorithm == digest_algorithm::sha256);
    CHECK(file.pieces->piece_size == 1024);
    REQUIRE(file.pieces->count() == 2);
    CHECK(file.pieces->digests.front() == std::byte{0x11});
    CHECK(file.pieces->digests.back() == std::byte{0x22});
    REQUIRE(file.urls.size() == 2);
    CHECK(file.urls[0].target() == "/a/example.ext?id=1&key=2");
    CHECK(urls_of(file) ==
          strings{"https://example.org:8443/a/example.ext?...", "http://example.com/example.ext"});
}

TEST_CASE("of a Metalink only a name and a place are needed") {
    auto const file = read(with(""));
    CHECK(file.name == "x");
    CHECK_FALSE(file.size);
    CHECK_FALSE(file.digest);
    CHECK_FALSE(file.pieces);
    CHECK(urls_of(file) == strings{"http://h/x"});
}

TEST_CASE("the first file of a Metalink is read, or the one that is wanted") {
    auto const xml = document("<file name='a'><size>1</size>" + url +
                              "</file><file name='d/b'><size>2</size>" + url + "</file>");
    CHECK(read(xml).name == "a");
    CHECK(read(xml, "a").size == 1);
    CHECK(read(xml, "d/b").name == "b");
    CHECK(read(xml, "d/b").size == 2);
    CHECK(contains(fault_of(xml, "c"), "no <file> of the name"));
    // What is wrong with another file is no matter.
    auto const broken = document("<file name='a'/><file name='b'>" + url + "</file>");
    CHECK(read(broken, "b").name == "b");
    CHECK(contains(fault_of(broken), "no URL"));
}

TEST_CASE("URLs come by priority, equals as they stand, those without one last") {
    auto const order = [](std::vector<std::pair<char const*, char const*>> const& all) {
        std::string inner;
        for (auto const& [priority, host] : all) {
            std::string const said = *priority ? " priority='"s + priority + "'" : "";
            inner += "<url" + said + ">http://" + host + "/</url>";
        }
        std::string hosts;
        for (auto const& u : read(document("<file name='x'>" + inner + "</file>")).urls)
            hosts += u.host();
        return hosts;
    };
    CHECK(order({{"3", "a"}, {"1", "b"}, {"2", "c"}}) == "bca");
    CHECK(order({{"1", "a"}, {"1", "b"}, {"1", "c"}}) == "abc");
    CHECK(order({{"", "a"}, {"999998", "b"}, {"", "c"}, {"10", "d"}}) == "dbac");
    CHECK(order({{"999999", "a"}, {"", "b"}, {"999999", "c"}}) == "abc");
    // What is no priority counts as none.
    CHECK(order({{"0", "a"}, {"-1", "b"}, {"x", "c"}, {"1x", "d"}, {"5", "e"}}) == "eabcd");
    CHECK(order({{"18446744073709551616", "a"}, {"1000000", "b"}, {"7", "c"}}) == "cab");
}

TEST_CASE("URLs of other schemes, or that cannot be read, are left out (I02)") {
    auto const file = read(with("<url>ftp://a/x</url><url>x</url><url/><url>http://a@b@c/</url>"
                                "<url>rsync://a/</url><metaurl>http://t/</metaurl>"));
    CHECK(urls_of(file) == strings{"http://h/x"});
    for (std::string const& inner :
         {""s, "<url>ftp://a/x</url>"s, "<url>http://a b/</url>"s,
          "<metaurl mediatype='torrent'>http://t/</metaurl>"s, "<other:url>http://h/</other:url>"s,
          "<resources><url>http://h/</url></resources>"s})
        CHECK(contains(fault_of(document("<file name='x'>" + inner + "</file>")),
                       "there must be one of http or https"));
}

TEST_CASE("of several digests the strongest is taken that is known") {
    struct row {
        char const* type;
        digest_algorithm is;
    };
    row const rows[] = {{"md5", digest_algorithm::md5},
                        {"sha-1", digest_algorithm::sha1},
                        {"sha-256", digest_algorithm::sha256},
                        {"sha-512", digest_algorithm::sha512}};
    std::string all;
    for (auto const& r : rows) {
        all += hash(r.type, digits(r.is));
        std::string const unknown = hash("sha3-512", "abc") + hash("crc32", "1") + hash("", "2");
        std::string const up = all + unknown;
        std::string down = unknown;
        for (auto const& s : rows)
            if (s.is == r.is || contains(all, hash(s.type, digits(s.is))))
                down = hash(s.type, digits(s.is)) + down;
        for (std::string const& inner : {up, down}) {
            auto const file = read(with(inner));
            REQUIRE(file.digest);
            CHECK(file.digest->algorithm == r.is);
            CHECK(file.digest->hex == digits(r.is));
        }
    }
    CHECK_FALSE(read(with(hash("sha-384", "abc") + "<hash>abc</hash>")).digest);
    CHECK(read(with(hash("sha-256", digits(digest_algorithm::sha256, 'F')))).digest);
    // Those of pieces are not those of the whole.
    CHECK_FALSE(read(with(pieces("md5", "10", 2, digest_algorithm::md5))).digest);
}

TEST_CASE("of several lists of pieces the strongest is taken that is known") {
    auto const weak = pieces("md5", "10", 10, digest_algorithm::md5);
    auto const strong = pieces("sha-256", "25", 4, digest_algorithm::sha256);
    auto const unknown = pieces("sha-384", "1", 1, digest_algorithm::md5);
    for (std::string const& inner : {weak + strong + unknown, unknown + strong + weak}) {
        auto const file = read(with("<size>100</size>" + inner));
        REQUIRE(file.pieces);
        CHECK(file.pieces->algorithm == digest_algorithm::sha256);
        CHECK(file.pieces->piece_size == 25);
        CHECK(file.pieces->count() == 4);
    }
    CHECK_FALSE(read(with(unknown)).pieces);
}

TEST_CASE("there is a hash for each piece, and a last one that may be shorter") {
    auto const answer = [](std::string const& size, char const* length, int n) {
        std::string fault;
        auto const file = read_metalink(
            with("<size>" + size + "</size>" + pieces("md5", length, n, digest_algorithm::md5)),
            fault);
        return file && file->pieces ? std::to_string(file->pieces->count()) : fault;
    };
    CHECK(answer("100", "25", 4) == "4");
    CHECK(answer("101", "25", 5) == "5");
    CHECK(answer("99", "25", 4) == "4");
    CHECK(answer("1", "25", 1) == "1");
    CHECK(answer("18446744073709551615", "18446744073709551615", 1) == "1");
    CHECK(answer("18446744073709551615", "18446744073709551614", 2) == "2");
    CHECK(answer("0", "25", 0) == ""); // none, and nothing wrong
    for (int const n : {3, 5})
        CHECK(answer("100", "25", n) == "<pieces> has " + std::to_string(n) +
                                            " hashes, but a file of this <size> has 4 pieces");
    CHECK(contains(answer("0", "25", 1), "has 1 hashes"));
    CHECK(contains(answer("100", "25", 0), "has 0 hashes"));
    CHECK(contains(answer("18446744073709551615", "1", 1), "18446744073709551615 pieces"));
    for (char const* const length : {"0", "", "-1", "1K", "18446744073709551616"})
        CHECK(contains(answer("100", length, 4), "the length of <pieces>"));
    // Without a size the library sees to it, once that is known.
    CHECK(read(with(pieces("md5", "25", 7, digest_algorithm::md5))).pieces->count() == 7);
    CHECK(fault_of(with(pieces("md5", "25", 0, digest_algorithm::md5))) ==
          "<pieces> has no <hash>");
}

TEST_CASE("a size, a digest or a piece's digest that cannot be read is named") {
    for (std::string const size : {"", "x", "-1", "+1", "1.5", "0x10", "10 20", "1e3", "1K",
                                   "18446744073709551616", "<b>1</b>"})
        CHECK(fault_of(with("<size>" + size + "</size>")) ==
              "<size> is not a number of bytes below 2^64");
    CHECK(read(with("<size>18446744073709551615</size>")).size == cleave::max_offset);
    CHECK(read(with("<size>0</size>")).size == 0);

    std::string const good = digits(digest_algorithm::sha256);
    for (std::string const& bad : {""s, good.substr(1), good + "a", "g" + good.substr(1),
                                   good.substr(0, 32) + " " + good.substr(33)}) {
        CHECK(fault_of(with(hash("sha-256", bad))) ==
              "a <hash> cannot be read; sha-256 has 64 hexadecimal digits");
        CHECK(fault_of(with("<pieces type='sha-256' length='9'><hash>" + good + "</hash><hash>" +
                            bad + "</hash></pieces>")) ==
              "the <hash> of piece 1 cannot be read; sha-256 has 64 hexadecimal digits");
    }
    CHECK(fault_of(with(hash("sha-512", good))) ==
          "a <hash> cannot be read; sha-512 has 128 hexadecimal digits");
}

TEST_CASE("a Metalink's name is one of a file here, whatever it says (I05)") {
    struct row {
        std::string name, safe;
    };
    for (row const& r : {row{"model.bin", "model.bin"},
                         {"a/b/model.bin", "model.bin"},
                         {"a\\b", "b"},
                         {"a b+c%2Fd", "a b+c%2Fd"}, // nothing is decoded
                         {"\xe4\xbd\xa0.txt", "\xe4\xbd\xa0.txt"},
                         {"&lt;&#x41;&gt;", "<A>"},
                         {".bashrc", "bashrc"},
                         {"d/.bashrc", "bashrc"},
                         {"-rf", "rf"},
                         {"a&#10;b&#27;[2J&#x9b;c", "ab[2Jc"},
                         {"\xff", "_"},
                         {"..x", "x"},
                         {std::string(4096, 'x'), std::string(255, 'x')}}) {
        INFO(r.name);
        CHECK(read(with("", r.name)).name == r.safe);
    }
    for (std::string const name :
         {"",          "/",        "/etc/passwd", "\\x",  ".",     "..",   "./x",
          "../x",      "a/../x",   "a/./x",       "a//x", "a/",    "a/..", "a/.",
          "..\\..\\x", "a\\..\\x", "...",         "-",    "&#27;", "a/--"}) {
        INFO(name);
        CHECK(contains(fault_of(with("", name)), "name in the Metalink cannot be used"));
    }
    CHECK(contains(fault_of(document("<file>" + url + "</file>")), "it is missing"));
}

TEST_CASE("what is no Metalink is named") {
    CHECK(contains(fault_of(""), "not well-formed XML"));
    CHECK(contains(fault_of("hello"), "not well-formed XML"));
    CHECK(contains(fault_of("<a>"), "not well-formed XML, at byte "));
    CHECK(contains(fault_of(with("").substr(0, with("").size() - 1)), "not well-formed XML"));
    CHECK(contains(fault_of(with("</size>")), "not well-formed XML"));
    CHECK(contains(fault_of(with("\0"s)), "not well-formed XML"));
    // HTML, version 3, and another namespace.
    for (std::string const xml :
         {"<html/>", "<file name='x'><url>http://h/</url></file>", "<metalink/>",
          "<metalink version='3.0' xmlns='http://www.metalinker.org/'><files/></metalink>",
          "<metalink xmlns='urn:ietf:params:xml:ns:metalink5'/>",
          "<other xmlns='urn:ietf:params:xml:ns:metalink'/>"})
        CHECK(contains(fault_of(xml), "no Metalink of version 4"));
    for (std::string const files : {"", "<File name='x'/>", "<files><file name='x'/></files>"})
        CHECK(fault_of(document(files)) == "the Metalink has no <file>");
}

TEST_CASE("a Metalink may be in the encodings of XML, with comments and CDATA anywhere") {
    CHECK(read(with("<size>1<!-- 2 -->3</size>")).size == 13);
    CHECK(read(with("<size><![CDATA[42]]></size>")).size == 42);
    std::string wide = "\xff\xfe";
    for (char const c : with("<size>7</size>")) wide += std::string{c, '\0'};
    CHECK(read(wide).size == 7);
    CHECK(read("\xef\xbb\xbf" + with("<size>7</size>")).size == 7);
}

TEST_CASE("no entity is expanded, however often it is said") {
    std::string bomb = "<!DOCTYPE metalink [<!ENTITY a0 'aaaaaaaaaa'>";
    for (int i = 1; i < 30; ++i) {
        auto const before = "&a" + std::to_string(i - 1) + ";";
        bomb += "<!ENTITY a" + std::to_string(i) + " '" + before + before + "'>";
    }
    bomb += "<!ENTITY file SYSTEM 'file:///etc/passwd'>]>";
    std::string const file = "<metalink xmlns='urn:ietf:params:xml:ns:metalink'>"
                             "<file name='&a29;'><size>&file;</size>" +
                             url + "</file></metalink>";
    CHECK(contains(fault_of(bomb + file), "<size> is not a number"));
    std::string without = file;
    without.replace(without.find("&file;"), 6, "1");
    CHECK(read(bomb + without).name == "&a29;");
}

TEST_CASE("a Metalink has at most 16 MiB, however deep it is") {
    std::size_t const most = 16U << 20U;
    std::string const xml = with("");
    CHECK(read(xml + std::string(most - xml.size(), ' ')).name == "x");
    CHECK(fault_of(xml + std::string(most - xml.size() + 1, ' ')) ==
          "the Metalink is larger than 16 MiB");
    std::string deep;
    while (deep.size() < most / 4) deep += "<a>";
    CHECK(contains(fault_of(document(deep)), "not well-formed XML"));
    std::string ends;
    while (ends.size() < most / 3) ends += "</a>";
    CHECK(read(document(deep + ends + "<file name='x'>" + url + "</file>")).name == "x");
}

TEST_CASE("a message about a Metalink repeats nothing of it (I08)") {
    std::string const secret = "sec\x1b[31mret";
    for (std::string const& xml :
         {document(secret), document("<" + secret + "/>"), with("<size>" + secret + "</size>"),
          with(hash("md5", secret)), with("", "../" + secret), with(secret + "</x>"),
          with("<pieces type='md5' length='" + secret + "'/>"),
          document("<file name='x'><url>ftp://" + secret + "/</url></file>")}) {
        std::string const fault = fault_of(xml);
        INFO(fault);
        CHECK_FALSE(fault.empty());
        CHECK_FALSE(contains(fault, "sec"));
        CHECK(std::all_of(fault.begin(), fault.end(), [](char c) { return c >= ' ' && c <= '~'; }));
    }
}
