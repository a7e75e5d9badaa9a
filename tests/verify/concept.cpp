// SPDX-License-Identifier: BSL-1.0
//
// What is a hasher and a content verifier, one with pieces and one that learns, and what nearly is
// one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>
#include <cleave/verify/no_verification.hpp>
#include <cleave/verify/openssl_hasher.hpp>
#include <cleave/verify/piece_digests.hpp>
#include <cleave/verify/server_digest.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

using cleave::content_verifier;
using cleave::digest_value;
using cleave::hasher;
using cleave::learning_verifier;
using cleave::piece_expectation;
using cleave::piece_verifier;

namespace {

using bytes = std::span<std::byte const>;

struct least_hasher {
    void reset(std::error_code&) {}
    void update(bytes, std::error_code&) {}
    digest_value finish(std::error_code&) { return {}; }
};

struct immovable_hasher : least_hasher {
    immovable_hasher(immovable_hasher&&) = delete;
};
struct without_reset : least_hasher {
    int reset;
};
struct reset_by_throwing : least_hasher {
    void reset();
};
struct without_update : least_hasher {
    int update;
};
struct update_changes_bytes : least_hasher {
    void update(std::span<std::byte>, std::error_code&);
};
struct update_without_code : least_hasher {
    void update(bytes);
};
struct without_finish : least_hasher {
    int finish;
};
struct finish_answers_text : least_hasher {
    std::string finish(std::error_code&);
};
struct finish_answers_bytes : least_hasher {
    bytes finish(std::error_code&);
};

struct least {
    using hasher_type = least_hasher;
    bool wanted() const noexcept { return true; }
    std::error_code fault() const { return {}; }
    least_hasher make_hasher() const { return {}; }
    bool matches(digest_value const&) noexcept { return false; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_hasher_type {
    bool wanted() const noexcept;
    std::error_code fault() const;
    least_hasher make_hasher() const;
    bool matches(digest_value const&) noexcept;
};
struct hasher_type_is_none : least {
    using hasher_type = without_finish;
    without_finish make_hasher() const;
};
struct without_wanted : least {
    int wanted;
};
struct wanted_throws : least {
    bool wanted() const;
};
struct wanted_changes_it : least {
    bool wanted() noexcept;
};
struct wanted_answers_number : least {
    int wanted() const noexcept;
};
struct without_fault : least {
    int fault;
};
struct fault_changes_it : least {
    std::error_code fault();
};
struct fault_answers_whether : least {
    bool fault() const;
};
struct without_make_hasher : least {
    int make_hasher;
};
struct make_hasher_changes_it : least {
    least_hasher make_hasher();
};
struct makes_another_hasher : least {
    cleave::no_hasher make_hasher() const;
};
struct lends_its_hasher : least {
    least_hasher const& make_hasher() const;
};
struct without_matches : least {
    int matches;
};
struct matches_throws : least {
    bool matches(digest_value const&);
};
struct matches_changes_digest : least {
    bool matches(digest_value&) noexcept;
};
struct matches_answers_code : least {
    std::error_code matches(digest_value const&) noexcept;
};

struct least_with_pieces : least {
    piece_expectation pieces() const noexcept { return {7, 3}; }
    least_hasher make_piece_hasher() const { return {}; }
    bool matches_piece(std::uint64_t, digest_value const&) noexcept { return false; }
};

struct pieces_of_no_verifier : least_with_pieces {
    int wanted;
};
struct without_pieces : least_with_pieces {
    int pieces;
};
struct pieces_throws : least_with_pieces {
    piece_expectation pieces() const;
};
struct pieces_changes_it : least_with_pieces {
    piece_expectation pieces() noexcept;
};
struct pieces_answers_number : least_with_pieces {
    std::uint64_t pieces() const noexcept;
};
struct lends_its_pieces : least_with_pieces {
    piece_expectation const& pieces() const noexcept;
};
struct without_make_piece_hasher : least_with_pieces {
    int make_piece_hasher;
};
struct make_piece_hasher_changes_it : least_with_pieces {
    least_hasher make_piece_hasher();
};
struct makes_another_piece_hasher : least_with_pieces {
    cleave::no_hasher make_piece_hasher() const;
};
struct without_matches_piece : least_with_pieces {
    int matches_piece;
};
struct matches_piece_throws : least_with_pieces {
    bool matches_piece(std::uint64_t, digest_value const&);
};
struct matches_piece_without_index : least_with_pieces {
    bool matches_piece(digest_value const&) noexcept;
};
struct matches_piece_the_other_way_round : least_with_pieces {
    bool matches_piece(digest_value const&, std::uint64_t) noexcept;
};
struct matches_piece_changes_digest : least_with_pieces {
    bool matches_piece(std::uint64_t, digest_value&) noexcept;
};
struct matches_piece_answers_code : least_with_pieces {
    std::error_code matches_piece(std::uint64_t, digest_value const&) noexcept;
};

struct least_that_learns : least {
    std::string_view asks() const noexcept { return {}; }
    std::error_code learn(std::string_view) { return {}; }
};
struct asks_by_pointer : least_that_learns {
    char const* asks() const noexcept { return ""; }
};

struct learns_but_is_no_verifier : least_that_learns {
    int wanted;
};
struct without_asks : least_that_learns {
    int asks;
};
struct asks_throws : least_that_learns {
    std::string_view asks() const;
};
struct asks_changes_it : least_that_learns {
    std::string_view asks() noexcept;
};
struct asks_answers_whether : least_that_learns {
    bool asks() const noexcept;
};
struct without_learn : least_that_learns {
    int learn;
};
struct learns_nothing : least_that_learns {
    std::error_code learn();
};
struct learns_without_answer : least_that_learns {
    void learn(std::string_view);
};
struct learn_answers_whether : least_that_learns {
    bool learn(std::string_view);
};
struct learns_from_string : least_that_learns {
    std::error_code learn(std::string const&);
};

struct with_expectation : least {
    std::uint64_t expectation() const noexcept { return 17; }
};
struct expectation_throws : least {
    std::uint64_t expectation() const { return 17; }
};
struct expectation_changes_it : least {
    std::uint64_t expectation() noexcept { return 17; }
};
struct expectation_is_signed : least {
    std::int64_t expectation() const noexcept { return 17; }
};
struct expectation_is_member : least {
    std::uint64_t expectation = 17;
};

} // namespace

TEST_CASE("hasher: what is one") {
    STATIC_REQUIRE(hasher<least_hasher>);
    STATIC_REQUIRE(hasher<cleave::no_hasher>);
    STATIC_REQUIRE(hasher<cleave::openssl_hasher>);
}

TEST_CASE("hasher: what nearly is one") {
    STATIC_REQUIRE_FALSE(hasher<immovable_hasher>);
    STATIC_REQUIRE_FALSE(hasher<without_reset>);
    STATIC_REQUIRE_FALSE(hasher<reset_by_throwing>);
    STATIC_REQUIRE_FALSE(hasher<without_update>);
    STATIC_REQUIRE_FALSE(hasher<update_changes_bytes>);
    STATIC_REQUIRE_FALSE(hasher<update_without_code>);
    STATIC_REQUIRE_FALSE(hasher<without_finish>);
    STATIC_REQUIRE_FALSE(hasher<finish_answers_text>);
    STATIC_REQUIRE_FALSE(hasher<finish_answers_bytes>);
}

TEST_CASE("content_verifier: what is one") {
    STATIC_REQUIRE(content_verifier<least>);
    STATIC_REQUIRE(content_verifier<cleave::no_verification>);
    STATIC_REQUIRE(content_verifier<cleave::digest>);
}

TEST_CASE("content_verifier: what nearly is one") {
    STATIC_REQUIRE_FALSE(content_verifier<immovable>);
    STATIC_REQUIRE_FALSE(content_verifier<without_hasher_type>);
    STATIC_REQUIRE_FALSE(content_verifier<hasher_type_is_none>);
    STATIC_REQUIRE_FALSE(content_verifier<without_wanted>);
    STATIC_REQUIRE_FALSE(content_verifier<wanted_throws>);
    STATIC_REQUIRE_FALSE(content_verifier<wanted_changes_it>);
    STATIC_REQUIRE_FALSE(content_verifier<wanted_answers_number>);
    STATIC_REQUIRE_FALSE(content_verifier<without_fault>);
    STATIC_REQUIRE_FALSE(content_verifier<fault_changes_it>);
    STATIC_REQUIRE_FALSE(content_verifier<fault_answers_whether>);
    STATIC_REQUIRE_FALSE(content_verifier<without_make_hasher>);
    STATIC_REQUIRE_FALSE(content_verifier<make_hasher_changes_it>);
    STATIC_REQUIRE_FALSE(content_verifier<makes_another_hasher>);
    STATIC_REQUIRE_FALSE(content_verifier<lends_its_hasher>);
    STATIC_REQUIRE_FALSE(content_verifier<without_matches>);
    STATIC_REQUIRE_FALSE(content_verifier<matches_throws>);
    STATIC_REQUIRE_FALSE(content_verifier<matches_changes_digest>);
    STATIC_REQUIRE_FALSE(content_verifier<matches_answers_code>);
}

TEST_CASE("piece_verifier: what is one") {
    STATIC_REQUIRE(piece_verifier<least_with_pieces>);
    STATIC_REQUIRE(piece_verifier<cleave::piece_digests>);
}

TEST_CASE("piece_verifier: what nearly is one") {
    STATIC_REQUIRE_FALSE(piece_verifier<least>);
    STATIC_REQUIRE_FALSE(piece_verifier<least_that_learns>);
    STATIC_REQUIRE_FALSE(piece_verifier<pieces_of_no_verifier>);
    STATIC_REQUIRE_FALSE(piece_verifier<without_pieces>);
    STATIC_REQUIRE_FALSE(piece_verifier<pieces_throws>);
    STATIC_REQUIRE_FALSE(piece_verifier<pieces_changes_it>);
    STATIC_REQUIRE_FALSE(piece_verifier<pieces_answers_number>);
    STATIC_REQUIRE_FALSE(piece_verifier<lends_its_pieces>);
    STATIC_REQUIRE_FALSE(piece_verifier<without_make_piece_hasher>);
    STATIC_REQUIRE_FALSE(piece_verifier<make_piece_hasher_changes_it>);
    STATIC_REQUIRE_FALSE(piece_verifier<makes_another_piece_hasher>);
    STATIC_REQUIRE_FALSE(piece_verifier<without_matches_piece>);
    STATIC_REQUIRE_FALSE(piece_verifier<matches_piece_throws>);
    STATIC_REQUIRE_FALSE(piece_verifier<matches_piece_without_index>);
    STATIC_REQUIRE_FALSE(piece_verifier<matches_piece_the_other_way_round>);
    STATIC_REQUIRE_FALSE(piece_verifier<matches_piece_changes_digest>);
    STATIC_REQUIRE_FALSE(piece_verifier<matches_piece_answers_code>);
    STATIC_REQUIRE_FALSE(piece_verifier<cleave::digest>);
    STATIC_REQUIRE_FALSE(piece_verifier<cleave::no_verification>);
}

TEST_CASE("learning_verifier: what is one") {
    STATIC_REQUIRE(learning_verifier<least_that_learns>);
    STATIC_REQUIRE(learning_verifier<asks_by_pointer>);
    STATIC_REQUIRE(learning_verifier<cleave::server_digest>);
}

TEST_CASE("learning_verifier: what nearly is one") {
    STATIC_REQUIRE_FALSE(learning_verifier<least>);
    STATIC_REQUIRE_FALSE(learning_verifier<least_with_pieces>);
    STATIC_REQUIRE_FALSE(learning_verifier<learns_but_is_no_verifier>);
    STATIC_REQUIRE_FALSE(learning_verifier<without_asks>);
    STATIC_REQUIRE_FALSE(learning_verifier<asks_throws>);
    STATIC_REQUIRE_FALSE(learning_verifier<asks_changes_it>);
    STATIC_REQUIRE_FALSE(learning_verifier<asks_answers_whether>);
    STATIC_REQUIRE_FALSE(learning_verifier<without_learn>);
    STATIC_REQUIRE_FALSE(learning_verifier<learns_nothing>);
    STATIC_REQUIRE_FALSE(learning_verifier<learns_without_answer>);
    STATIC_REQUIRE_FALSE(learning_verifier<learn_answers_whether>);
    STATIC_REQUIRE_FALSE(learning_verifier<learns_from_string>);
    STATIC_REQUIRE_FALSE(learning_verifier<cleave::digest>);
    STATIC_REQUIRE_FALSE(learning_verifier<cleave::no_verification>);
}

TEST_CASE("a verifier without pieces has none") {
    CHECK(cleave::pieces_of(least_with_pieces{}).size == 7);
    CHECK(cleave::pieces_of(least_with_pieces{}).count == 3);
    CHECK(cleave::pieces_of(least{}).size == 0);
    CHECK(cleave::pieces_of(least{}).count == 0);
    // A misspelt part makes it one without pieces, not one that does not compile.
    CHECK(cleave::pieces_of(without_matches_piece{}).count == 0);
}

TEST_CASE("an expectation is heeded where it is one") {
    CHECK(cleave::expectation_of(with_expectation{}) == 17);
    CHECK(cleave::expectation_of(least{}) == 0);
    CHECK(cleave::expectation_of(expectation_throws{}) == 0);
    CHECK(cleave::expectation_of(expectation_changes_it{}) == 0);
    CHECK(cleave::expectation_of(expectation_is_signed{}) == 0);
    CHECK(cleave::expectation_of(expectation_is_member{}) == 0);
    CHECK(cleave::expectation_of(cleave::no_verification{}) == 0);
    // It knows nothing before the reply.
    cleave::server_digest asked;
    CHECK(cleave::expectation_of(asked) == 0);
    std::string_view const nothing =
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    CHECK(cleave::expectation_of(cleave::sha256(nothing)) == cleave::sha256(nothing).expectation());
    CHECK(cleave::expectation_of(cleave::sha256(nothing)) != 0);
}

TEST_CASE("the hash of an expectation is FNV-1a, goes on from another, and is never nothing") {
    using cleave::detail::expectation_hash;
    auto const hash = [](std::string_view text, std::uint64_t from) {
        return expectation_hash(std::as_bytes(std::span{text}), from);
    };
    // From the algorithm's own list of results.
    std::uint64_t const basis = 0xcbf29ce484222325U;
    CHECK(hash("", basis) == basis);
    CHECK(hash("a", basis) == 0xaf63dc4c8601ec8cU);
    CHECK(hash("foobar", basis) == 0x85944171f73967e8U);
    CHECK(hash("bar", hash("foo", basis)) == hash("foobar", basis));
    CHECK(hash("", 0) == 1);
}

TEST_CASE("digests are equal when their bytes and their sizes are") {
    digest_value a;
    a.size = 4;
    a.bytes[3] = std::byte{7};
    digest_value b = a;
    CHECK(a == b);
    CHECK(a.view().size() == 4);
    b.size = 5;
    CHECK_FALSE(a == b);
    b = a;
    b.bytes[0] = std::byte{1};
    CHECK_FALSE(a == b);
}
