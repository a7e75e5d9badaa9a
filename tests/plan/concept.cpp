// SPDX-License-Identifier: BSL-1.0
//
// What is a range planner, and what nearly is one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <cleave/plan/concept.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>

#include <cstdint>
#include <optional>
#include <utility>

using cleave::plan_fault;
using cleave::plan_state;
using cleave::range_planner;
using cleave::segment;

namespace {

struct least {
    segment next(segment gap, plan_state const&) const noexcept { return gap; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_next {};
struct next_throws {
    segment next(segment, plan_state const&) const;
};
struct next_changes_it {
    segment next(segment, plan_state const&) noexcept;
};
struct next_is_private {
  private:
    segment next(segment, plan_state const&) const noexcept;
};
struct next_changes_state {
    segment next(segment, plan_state&) const noexcept;
};
struct next_wants_no_state {
    segment next(segment) const noexcept;
};
struct next_answers_pair {
    std::pair<std::uint64_t, std::uint64_t> next(segment, plan_state const&) const noexcept;
};
struct next_answers_maybe {
    std::optional<segment> next(segment, plan_state const&) const noexcept;
};
struct next_answers_reference {
    segment const& next(segment, plan_state const&) const noexcept;
};

// Optional parts of the wrong kind count as not there.
struct odd_options : least {
    char const* opening() const noexcept { return ""; }
    char const* most_segments() const noexcept { return ""; }
    bool fault() const noexcept { return true; }
};
struct options : least {
    std::uint64_t opening() const noexcept { return 7; }
    std::uint64_t most_segments() const noexcept { return 3; }
    std::optional<plan_fault> fault() const noexcept { return plan_fault{}; }
};

} // namespace

TEST_CASE("range_planner: what is one") {
    STATIC_REQUIRE(range_planner<least>);
    STATIC_REQUIRE(range_planner<odd_options>);
    STATIC_REQUIRE(range_planner<options>);
    STATIC_REQUIRE(range_planner<cleave::even_split>);
    STATIC_REQUIRE(range_planner<cleave::fixed_size>);
    STATIC_REQUIRE(range_planner<cleave::guided>);
    STATIC_REQUIRE(range_planner<cleave::listed_segments>);
}

TEST_CASE("range_planner: what nearly is one") {
    STATIC_REQUIRE_FALSE(range_planner<immovable>);
    STATIC_REQUIRE_FALSE(range_planner<without_next>);
    STATIC_REQUIRE_FALSE(range_planner<next_throws>);
    STATIC_REQUIRE_FALSE(range_planner<next_changes_it>);
    STATIC_REQUIRE_FALSE(range_planner<next_is_private>);
    STATIC_REQUIRE_FALSE(range_planner<next_changes_state>);
    STATIC_REQUIRE_FALSE(range_planner<next_wants_no_state>);
    STATIC_REQUIRE_FALSE(range_planner<next_answers_pair>);
    STATIC_REQUIRE_FALSE(range_planner<next_answers_maybe>);
    STATIC_REQUIRE_FALSE(range_planner<next_answers_reference>);
    STATIC_REQUIRE_FALSE(range_planner<int>);
}

TEST_CASE("range_planner: what stands for the parts that are optional") {
    CHECK(cleave::plan_opening(least{}) == std::nullopt);
    CHECK(cleave::plan_most_segments(least{}) == cleave::max_offset);
    CHECK(cleave::find_plan_fault(least{}) == std::nullopt);
    CHECK(cleave::find_plan_fault(least{}, {0, 1}) == std::nullopt);

    CHECK(cleave::plan_opening(odd_options{}) == std::nullopt);
    CHECK(cleave::plan_most_segments(odd_options{}) == cleave::max_offset);
    CHECK(cleave::find_plan_fault(odd_options{}) == std::nullopt);

    CHECK(cleave::plan_opening(options{}) == 7U);
    CHECK(cleave::plan_most_segments(options{}) == 3);
    CHECK(cleave::find_plan_fault(options{}) == plan_fault{});
    CHECK(cleave::find_plan_fault(options{}, {0, 1}) == plan_fault{});
}
