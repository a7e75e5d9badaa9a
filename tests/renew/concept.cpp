// SPDX-License-Identifier: BSL-1.0
//
// What is a renewal rule, and what nearly is one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <cleave/renew/backoff.hpp>
#include <cleave/renew/concept.hpp>

#include <chrono>
#include <optional>

using cleave::renewal;
using cleave::renewal_rule;
using cleave::renewal_state;

namespace {

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
