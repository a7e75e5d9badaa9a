// SPDX-License-Identifier: BSL-1.0
//
// What is a lane rule, and what nearly is one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <cleave/lanes/concept.hpp>
#include <cleave/lanes/fixed_lanes.hpp>

#include <cstdint>

using cleave::lane_rule;
using cleave::lanes_state;

namespace {

struct least {
    std::uint32_t most() const noexcept { return 1; }
    std::uint32_t want(lanes_state const&) noexcept { return 1; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_most : least {
    int most;
};
struct most_throws : least {
    std::uint32_t most() const;
};
struct most_changes_it : least {
    std::uint32_t most() noexcept;
};
struct most_answers_signed : least {
    int most() const noexcept;
};
struct without_want : least {
    int want;
};
struct want_throws : least {
    std::uint32_t want(lanes_state const&);
};
struct want_changes_state : least {
    std::uint32_t want(lanes_state&) noexcept;
};
struct want_answers_wide : least {
    std::uint64_t want(lanes_state const&) noexcept;
};
struct want_answers_nothing : least {
    void want(lanes_state const&) noexcept;
};

} // namespace

TEST_CASE("lane_rule: what is one") {
    STATIC_REQUIRE(lane_rule<least>);
    STATIC_REQUIRE(lane_rule<cleave::fixed_lanes>);
}

TEST_CASE("lane_rule: what nearly is one") {
    STATIC_REQUIRE_FALSE(lane_rule<immovable>);
    STATIC_REQUIRE_FALSE(lane_rule<without_most>);
    STATIC_REQUIRE_FALSE(lane_rule<most_throws>);
    STATIC_REQUIRE_FALSE(lane_rule<most_changes_it>);
    STATIC_REQUIRE_FALSE(lane_rule<most_answers_signed>);
    STATIC_REQUIRE_FALSE(lane_rule<without_want>);
    STATIC_REQUIRE_FALSE(lane_rule<want_throws>);
    STATIC_REQUIRE_FALSE(lane_rule<want_changes_state>);
    STATIC_REQUIRE_FALSE(lane_rule<want_answers_wide>);
    STATIC_REQUIRE_FALSE(lane_rule<want_answers_nothing>);
    STATIC_REQUIRE_FALSE(lane_rule<std::uint32_t>);
}

TEST_CASE("fixed_lanes wants the same number whatever happens") {
    cleave::fixed_lanes const rule{3};
    CHECK(rule.most() == 3);
    CHECK(rule.want({}) == 3);
    CHECK(rule.want({.running = 2, .given_up = 7}) == 3);
    CHECK(cleave::fixed_lanes{}.want({}) == cleave::fixed_lanes{}.most());
}
