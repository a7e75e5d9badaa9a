// SPDX-License-Identifier: BSL-1.0
//
// What is a hasher and a content verifier, and what nearly is one: a type for each thing that may
// be wrong.
#include <support/catch.hpp>

#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>
#include <cleave/verify/no_verification.hpp>
#include <cleave/verify/openssl_hasher.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <system_error>

using cleave::content_verifier;
using cleave::digest_value;
using cleave::hasher;

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
