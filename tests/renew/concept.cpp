// SPDX-License-Identifier: BSL-1.0
//
// What is a renewal rule, and what nearly is one: a type for each thing that may be wrong.
#include <laws/random.hpp>
#include <laws/renewal_laws.hpp>
#include <support/catch.hpp>

#include <cleave/renew/backoff.hpp>
#include <cleave/renew/concept.hpp>
#include <cleave/renew/give_up.hpp>

#include <chrono>
#include <optional>
#include <string>

using cleave::renewal;
using cleave::renewal_rule;
using cleave::renewal_state;
using answer = cleave::renewal::answer;
using namespace std::chrono_literals;

namespace {

template <class F>
struct rule_of {
    explicit rule_of(F how) : f(how) {}
    renewal decide(renewal_state const& s) noexcept { return f(s); }
    F f;
};

struct least {
    renewal decide(renewal_state const&) noexcept { return {}; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_decide {};
struct decide_throws {
    renewal decide(renewal_state const&);
};
struct decide_changes_state {
    renewal decide(renewal_state&) noexcept;
};
struct decide_wants_failure_only {
    renewal decide(cleave::failure const&) noexcept;
};
struct decide_answers_time {
    std::chrono::nanoseconds decide(renewal_state const&) noexcept;
};
struct decide_answers_maybe {
    std::optional<renewal> decide(renewal_state const&) noexcept;
};
struct decide_answers_only_whether {
    renewal::answer decide(renewal_state const&) noexcept;
};

} // namespace

TEST_CASE("renewal_rule: what is one") {
    STATIC_REQUIRE(renewal_rule<least>);
    STATIC_REQUIRE(renewal_rule<cleave::backoff>);
    STATIC_REQUIRE(renewal_rule<cleave::give_up>);
}

TEST_CASE("renewal_rule: the laws see what breaks them") {
    // What is wrong with a rule that answers so, but gives up where it is told to wait.
    auto const wrong_with = [](renewal a) {
        cleave_test::random_source random{1};
        rule_of rule{[a](renewal_state const& s) { return s.what.retry_after ? renewal{} : a; }};
        std::string wrong;
        for (int i = 0; i != 100 && wrong.empty(); ++i)
            wrong = cleave_test::broken_renewal(rule, random, 25);
        return wrong;
    };
    CHECK(wrong_with({answer::give_up, 0ns}) == "");
    CHECK(wrong_with({answer::give_up, -1ns}) == "after is never negative");
    CHECK(wrong_with({answer::again, -1ns}) == "after is never negative");
    CHECK(wrong_with({answer::fresh_request, 0ns}) ==
          "fresh_request is an answer only where one can be had");

    cleave_test::random_source random{2};
    rule_of no_end{[](renewal_state const& s) {
        return renewal{s.what.retry_after > 1h ? answer::give_up : answer::elsewhere, 1h};
    }};
    rule_of no_patience{[](renewal_state const&) { return renewal{answer::again, 1s}; }};
    std::string first, second;
    for (int i = 0; i != 1000 && first.empty(); ++i)
        first = cleave_test::broken_renewal(no_end, random, 5);
    for (int i = 0; i != 1000 && second.empty(); ++i)
        second = cleave_test::broken_renewal(no_patience, random, 1000);
    CHECK(first == "every run of failures that brings no byte ends");
    CHECK(second == "after never ends before Retry-After");
}

TEST_CASE("renewal_rule: what nearly is one") {
    STATIC_REQUIRE_FALSE(renewal_rule<immovable>);
    STATIC_REQUIRE_FALSE(renewal_rule<without_decide>);
    STATIC_REQUIRE_FALSE(renewal_rule<decide_throws>);
    STATIC_REQUIRE_FALSE(renewal_rule<decide_changes_state>);
    STATIC_REQUIRE_FALSE(renewal_rule<decide_wants_failure_only>);
    STATIC_REQUIRE_FALSE(renewal_rule<decide_answers_time>);
    STATIC_REQUIRE_FALSE(renewal_rule<decide_answers_maybe>);
    STATIC_REQUIRE_FALSE(renewal_rule<decide_answers_only_whether>);
    STATIC_REQUIRE_FALSE(renewal_rule<std::chrono::nanoseconds>);
}

TEST_CASE("a renewal that says nothing gives up") {
    CHECK(renewal{}.is == renewal::answer::give_up);
    CHECK(renewal{}.after == std::chrono::nanoseconds{0});
}
