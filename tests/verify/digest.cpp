// SPDX-License-Identifier: BSL-1.0
//
// A digest is read strictly: hexadecimal digits of either case, as many as the algorithm needs, and
// nothing else; and only the digest that was given matches (L03). Names of algorithms are read as
// manifests write them. A hasher of one's own takes the place of OpenSSL's in a few lines.

#include <cleave/verify/digest.hpp>

#include <laws/random.hpp>
#include <laws/verifier_laws.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <openssl/evp.h>

using cleave::digest_algorithm;
using cleave::digest_value;
using cleave::parse_digest;

namespace {

// Remembers which algorithm it was made for.
struct dummy_hasher {
    digest_algorithm algorithm;
    void reset(std::error_code&) {}
    void update(std::span<std::byte const>, std::error_code&) {}
    [[nodiscard]] digest_value finish(std::error_code&) { return {}; }
};
using dummy = cleave::basic_digest<dummy_hasher>;
static_assert(cleave::content_verifier<dummy>);

constexpr std::string_view abc256 =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static_assert(cleave::digest_size(digest_algorithm::sha256) == 32);
static_assert(cleave::digest_size(digest_algorithm::sha512) == 64);
static_assert(cleave::digest_size(digest_algorithm::sha1) == 20);
static_assert(cleave::digest_size(digest_algorithm::md5) == 16);
static_assert(parse_digest(digest_algorithm::sha256, abc256)->bytes[0] == std::byte{0xba});
static_assert(parse_digest(digest_algorithm::sha256, abc256)->bytes[31] == std::byte{0xad});
static_assert(!parse_digest(digest_algorithm::sha512, abc256));

// Stands for the hashing unit of some device, with a C interface of its own.
namespace device {
struct unit {
    EVP_MD_CTX* state;
};
unit unit_open() { return {EVP_MD_CTX_new()}; }
void unit_close(unit& u) { EVP_MD_CTX_free(u.state); }
int unit_start(unit& u) { return EVP_DigestInit_ex(u.state, EVP_sha256(), nullptr) == 1 ? 0 : -5; }
void unit_feed(unit& u, void const* p, std::size_t n) { EVP_DigestUpdate(u.state, p, n); }
void unit_result(unit& u, void* to) {
    EVP_DigestFinal_ex(u.state, static_cast<unsigned char*>(to), nullptr);
}
} // namespace device

// And this is all that it takes to hash by it.
struct device_hasher {
    explicit device_hasher(digest_algorithm a) : fits(a == digest_algorithm::sha256) {}
    device_hasher(device_hasher&& other) noexcept : unit(other.unit), fits(other.fits) {
        other.unit.state = nullptr;
    }
    ~device_hasher() { device::unit_close(unit); }
    void reset(std::error_code& ec) {
        if (!fits || device::unit_start(unit) != 0) ec = std::make_error_code(std::errc::io_error);
    }
    void update(std::span<std::byte const> bytes, std::error_code&) {
        device::unit_feed(unit, bytes.data(), bytes.size());
    }
    [[nodiscard]] digest_value finish(std::error_code&) {
        digest_value d{.bytes = {}, .size = 32};
        device::unit_result(unit, d.bytes.data());
        return d;
    }
    device::unit unit = device::unit_open();
    bool fits;
};
static_assert(cleave::content_verifier<cleave::basic_digest<device_hasher>>);

std::string upper(std::string_view text) {
    std::string to{text};
    for (char& c : to)
        if (c >= 'a' && c <= 'f') c = static_cast<char>(c - 'a' + 'A');
    return to;
}

} // namespace

TEST_CASE("hexadecimal digits of either case are read") {
    auto const lower = parse_digest(digest_algorithm::sha256, abc256);
    REQUIRE(lower);
    CHECK(lower->size == 32);
    CHECK(lower->view().size() == 32);
    CHECK(parse_digest(digest_algorithm::sha256, upper(abc256)) == lower);
    std::string mixed{abc256};
    mixed.replace(0, 32, upper(abc256.substr(0, 32)));
    CHECK(parse_digest(digest_algorithm::sha256, mixed) == lower);
    std::string const long_one = std::string{abc256} + std::string{abc256};
    REQUIRE(parse_digest(digest_algorithm::sha512, long_one));
    CHECK(parse_digest(digest_algorithm::sha512, long_one)->size == 64);
}

TEST_CASE("every digit has its value, and every other byte is refused") {
    for (int c = 0; c < 256; ++c) {
        CAPTURE(c);
        char const digit = static_cast<char>(c);
        int value = -1;
        for (int i = 0; i < 16; ++i)
            if ("0123456789abcdef"[i] == digit || "0123456789ABCDEF"[i] == digit) value = i;
        for (std::size_t const at : {0U, 1U, 62U, 63U}) {
            std::string text(64, '0');
            text[at] = digit;
            auto const read = parse_digest(digest_algorithm::sha256, text);
            REQUIRE(read.has_value() == (value >= 0));
            if (!read) continue;
            auto const shift = at % 2 == 0 ? 4 : 0;
            REQUIRE(read->bytes[at / 2] == static_cast<std::byte>(value << shift));
            for (std::size_t i = 0; i < 64; ++i)
                if (i != at / 2) REQUIRE(read->bytes[i] == std::byte{0});
        }
    }
}

TEST_CASE("a digest of another form is a fault of the setup") {
    std::string const good{abc256};
    std::string const bad[] = {"",
                               "0",
                               good.substr(1),
                               good + "0",
                               good + " ",
                               " " + good,
                               good + "\n",
                               std::string{" "} + good.substr(1),
                               good.substr(0, 63) + " ",
                               std::string{"0x"} + good.substr(2),
                               good + good,
                               good.substr(0, 40),
                               "sha256:" + good,
                               good.substr(0, 63) + "g",
                               std::string(64, '\0')};
    for (std::string const& text : bad) {
        INFO(text);
        CHECK_FALSE(parse_digest(digest_algorithm::sha256, text));
        CHECK(dummy(digest_algorithm::sha256, text).fault() == cleave::error::bad_digest);
    }
    CHECK(dummy(digest_algorithm::sha512, good).fault() == cleave::error::bad_digest);
    CHECK_FALSE(dummy(digest_algorithm::sha256, good).fault());
}

TEST_CASE("only the digest that was given matches") {
    dummy const v(digest_algorithm::sha256, abc256);
    auto const right = *parse_digest(digest_algorithm::sha256, abc256);
    CHECK(dummy::wanted());
    CHECK(v.matches(right));
    for (std::size_t bit = 0; bit < 256; ++bit) {
        digest_value other = right;
        other.bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        REQUIRE_FALSE(v.matches(other));
    }
    digest_value longer = right;
    longer.size = 64;
    CHECK_FALSE(v.matches(longer));
    CHECK_FALSE(v.matches(digest_value{}));
    // What could not be read matches nothing.
    CHECK_FALSE(dummy(digest_algorithm::sha256, "").matches(digest_value{}));
    CHECK_FALSE(dummy(digest_algorithm::sha256, "").matches(right));
}

TEST_CASE("an expectation is the same for the same digest only") {
    auto const of = [](digest_algorithm a, std::string_view hex) {
        return dummy(a, hex).expectation();
    };
    auto const right = of(digest_algorithm::sha256, abc256);
    CHECK(right != 0);
    CHECK(of(digest_algorithm::sha256, upper(abc256)) == right);
    std::set<std::uint64_t> seen{0, right};
    for (std::size_t digit = 0; digit != abc256.size(); ++digit) {
        std::string other{abc256};
        other[digit] = other[digit] == '0' ? '1' : '0';
        CHECK(seen.insert(of(digest_algorithm::sha256, other)).second);
    }
    for (auto const a : {digest_algorithm::sha256, digest_algorithm::sha512, digest_algorithm::sha1,
                         digest_algorithm::md5})
        CHECK(seen.insert(of(a, std::string(2 * digest_size(a), '0'))).second);
    CHECK(of(digest_algorithm::sha256, "") == 0);
    // It outlives the process, so it must not change with the library either. This is FNV-1a of
    // the name and the bytes, computed by another program.
    CHECK(right == 0x945ac6f0b0dc47dU);
    // The algorithm counts, not only how many bytes it makes.
    using cleave::detail::expectation_basis;
    std::set<std::uint64_t> bases;
    for (auto const a : {digest_algorithm::sha256, digest_algorithm::sha512, digest_algorithm::sha1,
                         digest_algorithm::md5})
        CHECK(bases.insert(expectation_basis(a)).second);
}

TEST_CASE("a hasher is made for the digest's algorithm") {
    CHECK(dummy(digest_algorithm::sha256, abc256).make_hasher().algorithm ==
          digest_algorithm::sha256);
    CHECK(dummy(digest_algorithm::sha512, "").make_hasher().algorithm == digest_algorithm::sha512);
}

TEST_CASE("names of algorithms are read in any spelling that is in use") {
    using cleave::parse_digest_algorithm;
    struct row {
        std::string_view name;
        digest_algorithm algorithm;
    };
    row const rows[] = {
        {"sha-256", digest_algorithm::sha256}, {"SHA256", digest_algorithm::sha256},
        {"Sha256", digest_algorithm::sha256},  {"sha_256", digest_algorithm::sha256},
        {"SHA-256", digest_algorithm::sha256}, {"sha-512", digest_algorithm::sha512},
        {"SHA512", digest_algorithm::sha512},  {"sha1", digest_algorithm::sha1},
        {"SHA-1", digest_algorithm::sha1},     {"md5", digest_algorithm::md5},
        {"MD5", digest_algorithm::md5},        {"MD-5", digest_algorithm::md5},
    };
    for (row const& r : rows) {
        INFO(r.name);
        CHECK(parse_digest_algorithm(r.name) == r.algorithm);
    }
    for (auto const a : {digest_algorithm::sha256, digest_algorithm::sha512, digest_algorithm::sha1,
                         digest_algorithm::md5})
        CHECK(parse_digest_algorithm(to_string(a)) == a);
}

TEST_CASE("other algorithms, and what is none, are not taken for one") {
    using namespace std::string_view_literals;
    for (std::string_view const name :
         {"", "-", "sha", "sha2", "sha25", "sha2566", "sha-224", "sha-384", "sha3-256",
          "sha-512-256", "sha 256", "sha256 ", " sha256", "md", "md4", "md55", "crc32c", "256"})
        CHECK_FALSE(cleave::parse_digest_algorithm(name));
    CHECK_FALSE(cleave::parse_digest_algorithm("md5\0"sv));
    CHECK_FALSE(cleave::parse_digest_algorithm("\0md5"sv));
    CHECK_FALSE(cleave::parse_digest_algorithm("md5\0junk"sv));
    CHECK_FALSE(cleave::parse_digest_algorithm("sha\u2011256"));
}

TEST_CASE("a digest of another algorithm's length is not read") {
    for (auto const a : {digest_algorithm::sha256, digest_algorithm::sha512, digest_algorithm::sha1,
                         digest_algorithm::md5})
        for (auto const b : {digest_algorithm::sha256, digest_algorithm::sha512,
                             digest_algorithm::sha1, digest_algorithm::md5})
            CHECK(parse_digest(a, std::string(2 * digest_size(b), 'a')).has_value() == (a == b));
}

TEST_CASE("a device's own hasher keeps the laws") {
    cleave::basic_digest<device_hasher> v{digest_algorithm::sha256, abc256};
    cleave_test::random_source random{1};
    std::string_view const abc = "abc";
    CHECK(cleave_test::broken_verifier(v, std::as_bytes(std::span{abc}), random) == "");

    std::error_code ec;
    device_hasher{digest_algorithm::md5}.reset(ec);
    CHECK(ec == std::errc::io_error);
}
