// SPDX-License-Identifier: BSL-1.0
//
// Each piece must have its own digest and the whole its own, where one was given; and a list that
// cannot be right is a fault before anything is sent.

#include <cleave/verify/piece_digests.hpp>

#include <cleave/base/segment.hpp>
#include <cleave/verify/openssl_hasher.hpp>

#include <laws/random.hpp>
#include <laws/verifier_laws.hpp>
#include <support/catch.hpp>
#include <support/digest.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using cleave::digest_algorithm;
using cleave::digest_value;
using cleave::piece_digests;
using cleave_test::sha256_hex;

namespace {

std::string object(std::size_t size, std::uint64_t seed) {
    cleave_test::random_source random{seed};
    std::string to(size, '\0');
    for (char& c : to) c = static_cast<char>(random());
    return to;
}
std::span<std::byte const> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text});
}

std::vector<std::string> digests_of(std::string_view text, std::size_t piece_size) {
    std::vector<std::string> to;
    for (std::size_t at = 0; at < text.size(); at += piece_size)
        to.push_back(sha256_hex(text.substr(at, piece_size)));
    return to;
}

// Remembers which algorithm it was made for.
struct dummy_hasher {
    digest_algorithm algorithm;
    void reset(std::error_code&) {}
    void update(std::span<std::byte const>, std::error_code&) {}
    [[nodiscard]] digest_value finish(std::error_code&) { return {}; }
};
using dummy = cleave::basic_piece_digests<dummy_hasher>;
static_assert(cleave::piece_verifier<dummy>);

} // namespace

TEST_CASE("digests of pieces keep the laws, whatever the sizes") {
    cleave_test::random_source random{1};
    for (std::size_t const size : {1U, 2U, 99U, 100U, 101U, 1'000U, 1'001U}) {
        for (std::size_t const piece : {1U, 7U, 100U, 1'000U, 5'000U}) {
            CAPTURE(size, piece);
            std::string const text = object(size, size * piece);
            piece_digests v{digest_algorithm::sha256, piece, digests_of(text, piece)};
            CHECK(cleave_test::broken_pieces(v, bytes_of(text), random) == "");
            CHECK(cleave_test::broken_verifier(v, bytes_of(text), random) == "");
            CHECK_FALSE(v.wanted());

            auto both = v.with_whole(cleave::sha256(sha256_hex(text)));
            CHECK(cleave_test::broken_pieces(both, bytes_of(text), random) == "");
            CHECK(cleave_test::broken_verifier(both, bytes_of(text), random) == "");
            CHECK(both.wanted());
        }
    }
}

TEST_CASE("a list that was read from text serves as well") {
    std::string const text = object(250, 3);
    std::string lines = "SHA256 100\n";
    for (std::string const& one : digests_of(text, 100)) lines += one + '\n';
    auto const read = cleave::parse_pieces(lines);
    REQUIRE(read.list);
    piece_digests v{*read.list};
    cleave_test::random_source random{2};
    CHECK(cleave_test::broken_pieces(v, bytes_of(text), random) == "");
    CHECK(v.pieces().size == 100);
    CHECK(v.pieces().count == 3);
}

TEST_CASE("a list that cannot be right is a fault of the setup") {
    std::vector<std::string> const good = digests_of(object(30, 4), 10);
    auto const fault = [](std::uint64_t size, std::vector<std::string> const& hex) {
        return piece_digests{digest_algorithm::sha256, size, hex}.fault();
    };
    CHECK_FALSE(fault(10, good));
    CHECK_FALSE(fault(cleave::max_offset, good));
    CHECK(fault(0, good) == cleave::error::bad_digest);
    CHECK(fault(10, {}) == cleave::error::bad_digest);
    CHECK(piece_digests{cleave::piece_list{}}.fault() == cleave::error::bad_digest);
    for (std::size_t bad = 0; bad != good.size(); ++bad) {
        auto hex = good;
        hex[bad].back() = 'x';
        CHECK(fault(10, hex) == cleave::error::bad_digest);
        hex[bad].pop_back();
        CHECK(fault(10, hex) == cleave::error::bad_digest);
    }
    CHECK(piece_digests{digest_algorithm::sha512, 10, good}.fault() == cleave::error::bad_digest);

    // The whole has a fault of its own, which does not hide one of the list.
    piece_digests const v{digest_algorithm::sha256, 10, good};
    CHECK_FALSE(v.with_whole(cleave::sha256(good[0])).fault());
    CHECK(v.with_whole(cleave::sha256("")).fault() == cleave::error::bad_digest);
    piece_digests const none{digest_algorithm::sha256, 0, good};
    CHECK(none.with_whole(cleave::sha256(good[0])).fault() == cleave::error::bad_digest);
}

TEST_CASE("digests in pieces of different lengths are told apart by place and size") {
    std::vector<std::string> const hex{std::string(32, 'a'), std::string(32, 'b')};
    dummy const v{digest_algorithm::md5, 10, hex};
    digest_value d;
    d.size = 16;
    std::fill_n(d.bytes.begin(), 16, std::byte{0xaa});
    CHECK(v.matches_piece(0, d));
    CHECK_FALSE(v.matches_piece(1, d));
    CHECK_FALSE(v.matches_piece(2, d));
    CHECK_FALSE(v.matches_piece(cleave::max_offset, d));
    // More or fewer bytes than the algorithm has are another digest.
    d.size = 15;
    CHECK_FALSE(v.matches_piece(0, d));
    d.size = 17;
    CHECK_FALSE(v.matches_piece(0, d));
}

TEST_CASE("pieces and the whole may have digests of different algorithms") {
    std::vector<std::string> const hex{std::string(40, '0')};
    dummy const v{digest_algorithm::sha1, 10, hex};
    CHECK(v.make_piece_hasher().algorithm == digest_algorithm::sha1);
    CHECK(v.make_hasher().algorithm == digest_algorithm::sha1);
    auto const both = v.with_whole({digest_algorithm::sha512, std::string(128, '0')});
    CHECK(both.make_piece_hasher().algorithm == digest_algorithm::sha1);
    CHECK(both.make_hasher().algorithm == digest_algorithm::sha512);
    CHECK_FALSE(both.fault());
    // The one it was made from still wants nothing of the whole.
    CHECK_FALSE(v.wanted());
    CHECK(v.matches({}));
    CHECK_FALSE(both.matches({}));
}

TEST_CASE("an expectation is the same for the same pieces and the same whole only") {
    std::string const a(32, 'a');
    std::string const b(32, 'b');
    auto const of = [](digest_algorithm algorithm, std::uint64_t size,
                       std::vector<std::string> const& hex) {
        return dummy{algorithm, size, hex}.expectation();
    };
    std::uint64_t const right = of(digest_algorithm::md5, 10, {a, b});
    CHECK(of(digest_algorithm::md5, 10, {a, b}) == right);
    CHECK(of(digest_algorithm::md5, 10, {std::string(32, 'A'), b}) == right);

    std::set<std::uint64_t> seen{0, right};
    auto const another = [&](std::uint64_t expectation) { return seen.insert(expectation).second; };
    CHECK(another(of(digest_algorithm::md5, 10, {b, a})));
    CHECK(another(of(digest_algorithm::md5, 10, {a, a})));
    CHECK(another(of(digest_algorithm::md5, 10, {a})));
    CHECK(another(of(digest_algorithm::md5, 10, {a, b, a})));
    CHECK(another(of(digest_algorithm::md5, 11, {a, b})));
    CHECK(another(of(digest_algorithm::md5, std::uint64_t{10} << 32, {a, b})));
    // The same bytes as those of the two.
    CHECK(another(of(digest_algorithm::sha256, 10, {a + b})));

    // With a digest of the whole, and not of one piece of it.
    dummy const pieces{digest_algorithm::md5, 10, std::vector{a, b}};
    cleave::basic_digest<dummy_hasher> const whole{digest_algorithm::md5, a};
    CHECK(another(whole.expectation()));
    CHECK(another(of(digest_algorithm::md5, 20, {a})));
    CHECK(another(pieces.with_whole(whole).expectation()));
    CHECK(another(pieces.with_whole({digest_algorithm::md5, b}).expectation()));
    CHECK(pieces.with_whole(whole).expectation() == pieces.with_whole(whole).expectation());
    CHECK(pieces.expectation() == right);
}
