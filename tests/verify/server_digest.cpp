// SPDX-License-Identifier: BSL-1.0
//
// What the server says of its object is held against it: the strongest digest it sends, or none,
// which is an error unless one is content with that.

#include <cleave/verify/server_digest.hpp>

#include <cleave/verify/openssl_hasher.hpp>

#include <laws/random.hpp>
#include <laws/verifier_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

using cleave::digest_algorithm;
using cleave::digest_demand;
using cleave::digest_value;
using cleave::server_digest;
using cleave_test::broken_learning;
using cleave_test::broken_verifier;

namespace {

// Remembers which algorithm it was made for.
struct dummy_hasher {
    digest_algorithm algorithm;
    void reset(std::error_code&) {}
    void update(std::span<std::byte const>, std::error_code&) {}
    [[nodiscard]] digest_value finish(std::error_code&) { return {}; }
};
using dummy = cleave::basic_server_digest<dummy_hasher>;
static_assert(cleave::learning_verifier<dummy>);

// Of "abc", computed by another program.
constexpr std::string_view abc = "abc";
std::string const sha256 = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
std::string const sha512 = "sha-512=:3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/"
                           "uu9RU1EI2Q86A4qmslPpUyknw==:";
std::string const other512 = "sha-512=:" + std::string(86, 'A') + "==:";

std::span<std::byte const> bytes() { return std::as_bytes(std::span{abc}); }

} // namespace

TEST_CASE("a server's digest keeps the laws of verifiers") {
    cleave_test::random_source random{1};
    for (auto const demand : {digest_demand::required, digest_demand::if_sent}) {
        for (std::string const& field :
             {sha256, sha512, sha256 + ", " + sha512, sha512 + "," + sha256,
              "md5=:YWI=:, " + sha256, other512 + ", " + sha512}) {
            INFO(field);
            server_digest v{demand};
            REQUIRE_FALSE(v.fault());
            CHECK(broken_learning(v, field, false) == "");
            CHECK(v.wanted());
            CHECK(broken_verifier(v, bytes(), random) == "");
        }
    }
}

TEST_CASE("the strongest digest that was sent is the one that counts") {
    server_digest v;
    CHECK_FALSE(v.learn(sha256 + ", " + other512));
    auto hasher = v.make_hasher();
    cleave_test::random_source random{2};
    std::error_code ec;
    CHECK_FALSE(v.matches(cleave_test::hash_of(hasher, bytes(), random, ec)));
    CHECK_FALSE(ec);
    dummy d;
    CHECK_FALSE(d.learn(sha256));
    CHECK(d.make_hasher().algorithm == digest_algorithm::sha256);
    CHECK_FALSE(d.learn(sha512 + ", " + sha256));
    CHECK(d.make_hasher().algorithm == digest_algorithm::sha512);
}

TEST_CASE("without a digest that can be used, one that is required ends the download") {
    for (std::string const& field :
         {std::string{}, std::string{"md5=:kAFQmDzST7DWlj99KOF/cg==:"}, std::string{"sha-256"},
          std::string{"sha-256=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
          std::string{"sha-256=:ungW:"}, sha256 + ","}) {
        INFO(field);
        server_digest v;
        CHECK(broken_learning(v, field, true) == "");
        CHECK(v.learn(field) == cleave::error::digest_not_sent);
        // And should somebody go on nevertheless, nothing passes.
        CHECK(v.wanted());
        CHECK_FALSE(v.matches({}));

        server_digest other{digest_demand::if_sent};
        CHECK(broken_learning(other, field, false) == "");
        CHECK_FALSE(other.wanted());
        CHECK(other.matches({}));
    }
}

TEST_CASE("before it has learnt anything it wants a digest only where one is required") {
    server_digest v;
    CHECK(v.wanted());
    CHECK_FALSE(v.matches({}));
    server_digest const other{digest_demand::if_sent};
    CHECK_FALSE(other.wanted());
}

TEST_CASE("what was learnt last counts, also when that is nothing") {
    server_digest v{digest_demand::if_sent};
    CHECK_FALSE(v.learn(sha256));
    CHECK(v.wanted());
    CHECK_FALSE(v.learn(""));
    CHECK_FALSE(v.wanted());
    CHECK_FALSE(v.learn(sha512));
    cleave_test::random_source random{3};
    CHECK(broken_verifier(v, bytes(), random) == "");
}

TEST_CASE("it asks for the two algorithms that it knows (RFC 9530, section 4)") {
    std::string_view const asked = server_digest::asks();
    CHECK(asked.find("sha-256=") != std::string_view::npos);
    CHECK(asked.find("sha-512=") != std::string_view::npos);
    // A dictionary of integers from 0 to 10, of which 0 would mean "not acceptable".
    std::size_t members = 0;
    for (std::size_t at = 0; at < asked.size(); ++members) {
        std::size_t const equals = asked.find('=', at);
        std::size_t const end = std::min(asked.find(", ", at), asked.size());
        REQUIRE(equals < end);
        auto const weight = std::stoi(std::string{asked.substr(equals + 1, end - equals - 1)});
        CHECK(weight > 0);
        CHECK(weight <= 10);
        at = end + 2;
    }
    CHECK(members == 2);
}
