// SPDX-License-Identifier: BSL-1.0
//
// Repr-Digest: a dictionary by RFC 8941, of which the strongest digest is taken.

#include <cleave/http/repr_digest.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using cleave::parse_repr_digest;
using cleave::repr_digest;
using algorithm = cleave::repr_digest::algorithm;

namespace {

// Base64 as RFC 4648, section 4, has it: written for this test, the other way round.
std::string base64(std::span<std::byte const> bytes) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string to;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::size_t const n = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t k = 0; k != 3; ++k)
            group = group << 8 | (k < n ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0);
        for (std::size_t k = 0; k != 4; ++k)
            to += k <= n ? digits[group >> (18 - 6 * k) & 63] : '=';
    }
    return to;
}

repr_digest some(algorithm a, std::uint64_t seed) {
    cleave_test::random_source random{seed};
    repr_digest to{a, {}};
    for (std::size_t i = 0; i != to.view().size(); ++i)
        to.bytes[i] = static_cast<std::byte>(random());
    return to;
}
std::string member(repr_digest const& d) {
    return (d.is == algorithm::sha512 ? "sha-512=:" : "sha-256=:") + base64(d.view()) + ':';
}

repr_digest const d256 = some(algorithm::sha256, 1);
repr_digest const e256 = some(algorithm::sha256, 2);
repr_digest const d512 = some(algorithm::sha512, 3);
std::string const m256 = member(d256);
std::string const m512 = member(d512);

static_assert(!parse_repr_digest(""));
static_assert(parse_repr_digest("sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=:")
                  ->bytes[31] == std::byte{1});

} // namespace

TEST_CASE("Repr-Digest is read as RFC 9530 shows it") {
    // Of "abc", computed by another program.
    auto const one = parse_repr_digest("sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:");
    REQUIRE(one);
    CHECK(one->is == algorithm::sha256);
    REQUIRE(one->view().size() == 32);
    CHECK(one->bytes[0] == std::byte{0xba});
    CHECK(one->bytes[1] == std::byte{0x78});
    CHECK(one->bytes[31] == std::byte{0xad});
    CHECK(one->bytes[32] == std::byte{0});
    CHECK(parse_repr_digest(m512)->view().size() == 64);
}

TEST_CASE("every digest is read back from what it was written as") {
    for (std::uint64_t seed = 0; seed != 300; ++seed) {
        for (auto const a : {algorithm::sha256, algorithm::sha512}) {
            repr_digest const d = some(a, seed);
            REQUIRE(parse_repr_digest(member(d)) == d);
        }
    }
}

TEST_CASE("the strongest digest is taken, and of equal keys the last") {
    CHECK(parse_repr_digest(m256) == d256);
    CHECK(parse_repr_digest(m512) == d512);
    CHECK(parse_repr_digest(m256 + ", " + m512) == d512);
    CHECK(parse_repr_digest(m512 + ", " + m256) == d512);
    CHECK(parse_repr_digest(m256 + ", " + member(e256)) == e256);
    CHECK(parse_repr_digest(member(e256) + ", " + m512 + ", " + m256) == d512);
    // Only the last has to be good.
    CHECK(parse_repr_digest("sha-256=:AAAA:, " + m256) == d256);
    CHECK_FALSE(parse_repr_digest(m256 + ", sha-256=:AAAA:"));
}

TEST_CASE("white space is where RFC 8941 has it, and nowhere else") {
    for (std::string const& text : {"  " + m256 + "  ", m256 + "," + m512, m256 + " \t,\t " + m512,
                                    m256 + ";a ," + m512, m256 + "\t"}) {
        INFO(text);
        CHECK(parse_repr_digest(text));
    }
    std::string const value = m256.substr(8);
    for (std::string const& text :
         {"\t" + m256, "sha-256 =" + value, "sha-256= " + value, "sha-256=: " + value.substr(1),
          m256 + " ;a", m256 + "\n", m256 + "\r\n", m256 + " " + m512}) {
        INFO(text);
        CHECK_FALSE(parse_repr_digest(text));
    }
}

TEST_CASE("algorithms that are not known, and deprecated ones, are passed over") {
    for (std::string const key :
         {"md5", "sha", "unixsum", "unixcksum", "adler", "crc32c", "id-sha-256", "sha-384",
          "sha-2560", "sha-25", "*", "a_b-c.d*9"}) {
        INFO(key);
        CHECK_FALSE(parse_repr_digest(key + "=:AAAA:"));
        CHECK(parse_repr_digest(key + "=:AAAA:, " + m256) == d256);
        CHECK(parse_repr_digest(m256 + ", " + key + "=:A:") == d256);
        CHECK(parse_repr_digest(m256 + ", " + key + "=::") == d256);
        CHECK_FALSE(parse_repr_digest(m256 + ", " + key + "=:!:"));
    }
}

TEST_CASE("parameters are read and passed over") {
    for (char const* parameters :
         {";a", ";a;b", "; a", ";   *a=1", ";a=-1", ";a=123456789012345", ";a=1.5",
          ";a=123456789012.123", ";a=\"\"", ";a=\"x,;:=\\\"\\\\\"", ";a=?0", ";a=?1", ";a=tok/en:*",
          ";a=*", ";a=:AAAA:", ";a=::", ";sha-512=:AAAA:", ";a=1;b=\"2\"; c=d"}) {
        INFO(parameters);
        CHECK(parse_repr_digest(m256 + parameters) == d256);
        CHECK(parse_repr_digest(m256 + parameters + ", x=:AA==:" + parameters) == d256);
    }
    for (char const* parameters : {";",          ";;a",         ";A",        ";1",
                                   ";a=",        ";a =1",       ";a= 1",     ";a=1 ;b",
                                   ";a=-",       ";a=--1",      ";a=+1",     ";a=1234567890123456",
                                   ";a=1.",      ";a=.5",       ";a=1.1234", ";a=1234567890123.1",
                                   ";a=1.1.1",   ";a=\"",       ";a=\"x",    ";a=\"\\",
                                   ";a=\"\\x\"", ";a=\"\x7f\"", ";a=\"\t\"", ";a=\"\xe4\"",
                                   ";a=\"\\\"",  ";a=?",        ";a=?2",     ";a=?01",
                                   ";a=:AAAA",   ";a=:!:",      ";a=(1)",    ";a=@1",
                                   ";a=#"}) {
        INFO(parameters);
        CHECK_FALSE(parse_repr_digest(m256 + parameters));
    }
}

TEST_CASE("a value that breaks the grammar is refused as a whole") {
    using namespace std::string_view_literals;
    std::string const value = m256.substr(8);
    for (std::string const& text : std::vector<std::string>{" ",
                                                            ",",
                                                            ", " + m256,
                                                            m256 + ",",
                                                            m256 + ", ",
                                                            m256 + ",," + m512,
                                                            "sha-256",
                                                            "sha-256=",
                                                            "sha-256=:",
                                                            "sha-256=::",
                                                            m256 + ", sha-512",
                                                            "x, " + m256,
                                                            "x=1, " + m256,
                                                            "x=?1, " + m256,
                                                            "x=\"a\", " + m256,
                                                            "x=(:AA==:), " + m256,
                                                            "sha-256=" + value.substr(1),
                                                            m256.substr(0, m256.size() - 1),
                                                            m256 + ":",
                                                            m256 + "x",
                                                            "SHA-256=" + value,
                                                            "Sha-256=" + value,
                                                            "sha_256=" + value,
                                                            "sha-256:" + value,
                                                            "=" + value,
                                                            "1=:AA==:, " + m256,
                                                            "-a=:AA==:, " + m256,
                                                            "a\"=:AA==:, " + m256,
                                                            "sha-256=\"" + value + "\"",

                                                            "X=:AA==:, " + m256,
                                                            m256 + std::string(1, '\0'),
                                                            std::string(1, '\0') + m256,
                                                            m256 + "\x80"}) {
        INFO(text);
        CHECK_FALSE(parse_repr_digest(text));
    }
}

TEST_CASE("a known digest of another length, or in base64 that is not exact, is refused") {
    std::string const digits = base64(d256.view());
    auto const sha256 = [](std::string const& text) {
        return parse_repr_digest("sha-256=:" + text + ":");
    };
    auto const sha512 = [](std::string const& text) {
        return parse_repr_digest("sha-512=:" + text + ":");
    };
    REQUIRE(sha256(digits));
    CHECK_FALSE(sha512(digits));
    CHECK_FALSE(sha256(base64(d512.view())));
    for (std::size_t size = 0; size <= 70; ++size) {
        CHECK(sha256(base64(std::vector<std::byte>(size))).has_value() == (size == 32));
        CHECK(sha512(base64(std::vector<std::byte>(size))).has_value() == (size == 64));
    }
    CHECK_FALSE(sha256(digits.substr(0, 43)));        // without padding
    CHECK_FALSE(sha256(digits + "="));                // too much of it
    CHECK_FALSE(sha256(digits.substr(0, 42) + "==")); // too early
    std::string early = digits;
    early.pop_back();
    CHECK_FALSE(sha256(early.insert(0, 1, '=')));    // in front
    CHECK_FALSE(sha256(digits.substr(0, 43) + "A")); // 33 bytes
    // The URL's alphabet is another one.
    CHECK(sha256(std::string(42, '+') + "8="));
    CHECK(sha256(std::string(42, '/') + "8="));
    CHECK_FALSE(sha256(std::string(42, '-') + "8="));
    CHECK_FALSE(sha256(std::string(42, '_') + "8="));
    // Of the last digit two bits are to spare (four of a SHA-512), and must be 0.
    for (char const c : std::string_view{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"}) {
        int const at = c >= 'a' ? c - 'a' + 26 : c - 'A';
        CHECK(sha256(std::string(42, 'A') + c + "=").has_value() == (at % 4 == 0));
        CHECK(sha512(std::string(85, 'A') + c + "==").has_value() == (at % 16 == 0));
    }
    // One bad known digest spoils a good one.
    CHECK_FALSE(parse_repr_digest(m512 + ", sha-256=:AAAA:"));
    CHECK_FALSE(parse_repr_digest(m256 + ", sha-512=:AAAA:"));
}

TEST_CASE("no byte can be added to a Repr-Digest, or changed, to the same meaning") {
    std::string const good = m256;
    for (std::size_t at = 0; at <= good.size(); ++at) {
        for (int byte = 0; byte < 256; ++byte) {
            std::string longer = good;
            longer.insert(at, 1, static_cast<char>(byte));
            bool const blank = (byte == ' ' && (at == 0 || at == good.size())) ||
                               (byte == '\t' && at == good.size());
            if (parse_repr_digest(longer) == d256 && !blank) FAIL(longer);
            if (at == good.size() || static_cast<char>(byte) == good[at]) continue;
            std::string other = good;
            other[at] = static_cast<char>(byte);
            if (parse_repr_digest(other) == d256) FAIL(other);
        }
    }
}
