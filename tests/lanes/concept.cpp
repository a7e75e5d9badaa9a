// SPDX-License-Identifier: BSL-1.0
//
// What is a lane rule, and what nearly is one: a type for each thing that may be wrong.
#include <laws/lane_rule_laws.hpp>
#include <support/catch.hpp>

#include <cleave/lanes/adaptive_lanes.hpp>
#include <cleave/lanes/concept.hpp>
#include <cleave/lanes/fixed_lanes.hpp>

#include <cstdint>
#include <string>

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
    STATIC_REQUIRE(lane_rule<cleave::adaptive_lanes>);
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

TEST_CASE("lane_rule: nothing has happened at the start") {
    constexpr lanes_state start;
    STATIC_REQUIRE(start.running == 0);
    STATIC_REQUIRE(start.given_up == 0);
    STATIC_REQUIRE(start.receiving == 0);
    STATIC_REQUIRE(start.refusals == 0);
    STATIC_REQUIRE(start.bytes == 0);
    STATIC_REQUIRE(start.now.count() == 0);
    STATIC_REQUIRE_FALSE(start.held_back);
}

TEST_CASE("the laws find lane rules that break them") {
    struct growing {
        std::uint32_t calls = 0;
        std::uint32_t most() const noexcept { return calls < 50 ? 4 : 5; }
        std::uint32_t want(lanes_state const&) noexcept { return ++calls; }
    };
    CHECK(cleave_test::broken_most(growing{}, 1, 100).find("most") != std::string::npos);
    CHECK(cleave_test::broken_bounds(growing{}, 1, 100).find("above most") != std::string::npos);
    CHECK(cleave_test::broken_bounds(cleave::fixed_lanes{0}, 1, 100).find("never 0") !=
          std::string::npos);
    CHECK(cleave_test::broken_repetition(growing{}, 1, 100).find("alike") != std::string::npos);
}
