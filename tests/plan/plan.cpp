// SPDX-License-Identifier: BSL-1.0
//
// A plan is a range of segments that costs nothing, however large the object is: it works with the
// standard's views and in constant expressions, and it shows exactly what the planner answers.

#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>
#include <cleave/plan/plan.hpp>

#include <laws/count_allocations.hpp>
#include <laws/planner_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <ranges>
#include <vector>

using cleave::even_split;
using cleave::fixed_size;
using cleave::guided;
using cleave::listed_segments;
using cleave::max_offset;
using cleave::plan;
using cleave::plan_view;
using cleave::segment;

static_assert(std::ranges::forward_range<plan_view<even_split>>);
static_assert(std::ranges::forward_range<plan_view<fixed_size>>);
static_assert(std::ranges::forward_range<plan_view<guided>>);
static_assert(std::ranges::forward_range<plan_view<listed_segments>>);
static_assert(std::ranges::forward_range<plan_view<even_split> const>);
static_assert(std::ranges::view<plan_view<even_split>>);
static_assert(std::ranges::view<plan_view<fixed_size>>);
static_assert(!std::ranges::borrowed_range<plan_view<even_split>>, "iterators need their view");
static_assert(std::forward_iterator<plan_view<even_split>::iterator>);

namespace {

// The plan of a constant object can be checked before the program runs.
constexpr bool tiles(auto const& view, segment wanted) {
    std::optional<segment> before;
    for (segment s : view) {
        if (before ? !before->precedes(s) : s.first != wanted.first) return false;
        before = s;
    }
    return before && before->last == wanted.last;
}
static_assert(tiles(plan(even_split{7}, 1000), {0, 999}));
static_assert(tiles(plan(fixed_size{64}, 1000), {0, 999}));
static_assert(tiles(plan(guided{64}, 1000), {0, 999}));
static_assert(tiles(plan(fixed_size{64}, segment{500, 777}), {500, 777}));
static_assert(std::ranges::distance(plan(even_split{7}, 1000)) == 7);
static_assert((*plan(even_split{4}, 100).begin()) == segment{0, 24});

// A planner of the kind that a user writes: from the end to the beginning, ten bytes each.
struct backwards {
    [[nodiscard]] constexpr segment next(segment gap, cleave::plan_state const&) const noexcept {
        return {gap.last - std::min<std::uint64_t>(gap.last - gap.first, 9), gap.last};
    }
};
// One that breaks its contract at byte 20.
struct astray {
    [[nodiscard]] constexpr segment next(segment gap, cleave::plan_state const&) const noexcept {
        if (gap.first >= 20) return {0, 3};
        return {gap.first, gap.first + 9};
    }
};
struct inverted {
    [[nodiscard]] constexpr segment next(segment gap, cleave::plan_state const&) const noexcept {
        return {gap.last, gap.first};
    }
};
// Tells what it was shown.
struct witness {
    std::vector<cleave::plan_state>* seen;
    [[nodiscard]] segment next(segment gap, cleave::plan_state const& s) const noexcept {
        if (seen->size() < seen->capacity()) seen->push_back(s);
        return {gap.first, std::min(gap.last, gap.first + 39)};
    }
};

template <class View>
std::vector<segment> list(View const& view) {
    std::vector<segment> to;
    for (segment s : view) to.push_back(s);
    return to;
}

} // namespace

TEST_CASE("a plan lists what its planner answers, from the first byte to the last") {
    CHECK(list(plan(fixed_size{1024}, 2049)) ==
          std::vector<segment>{{0, 1023}, {1024, 2047}, {2048, 2048}});
    CHECK(list(plan(even_split{3}, 10)) == std::vector<segment>{{0, 3}, {4, 6}, {7, 9}});
    CHECK(list(plan(even_split{8}, 3)) == std::vector<segment>{{0, 0}, {1, 1}, {2, 2}});
    CHECK(list(plan(listed_segments{{0, 4}, {5, 99}}, 100)) ==
          std::vector<segment>{{0, 4}, {5, 99}});
    CHECK(list(plan(guided{10}, 100, 2)) ==
          std::vector<segment>{{0, 49}, {50, 74}, {75, 87}, {88, 99}});
    CHECK(list(plan(even_split{2}, segment{100, 199})) ==
          std::vector<segment>{{100, 149}, {150, 199}});
}

TEST_CASE("a plan tiles every small object") {
    for (std::uint64_t size = 1; size <= 300; ++size)
        for (std::uint64_t parts = 1; parts <= 17; ++parts) {
            CAPTURE(size, parts);
            REQUIRE(tiles(plan(even_split{parts}, size), {0, size - 1}));
            REQUIRE(tiles(plan(fixed_size{parts}, size), {0, size - 1}));
            REQUIRE(tiles(plan(guided{parts}, size), {0, size - 1}));
        }
}

TEST_CASE("the plan of nothing is empty") {
    CHECK(plan(even_split{8}, 0).begin() == std::default_sentinel);
    CHECK(list(plan(fixed_size{8}, 0)).empty());
    CHECK_FALSE(plan(even_split{8}, 0).fault());
    CHECK(list(plan(listed_segments{{0, 0}}, 0)).empty());
    CHECK(plan(listed_segments{{0, 0}}, 0).fault());
}

TEST_CASE("a plan with a fault is empty and says why") {
    auto const overlapping = plan(listed_segments{{0, 1024}, {1024, 2048}}, 2049);
    CHECK(list(overlapping).empty());
    REQUIRE(overlapping.fault());
    CHECK(overlapping.fault()->why == cleave::error::segments_overlap);
    auto const other_size = plan(listed_segments{{0, 1023}}, 2000);
    CHECK(list(other_size).empty());
    CHECK(other_size.fault()->why == cleave::error::segments_do_not_match_size);
    CHECK(list(plan(listed_segments(std::vector<segment>{}), 10)).empty());
    CHECK_FALSE(plan(listed_segments{{0, 1023}}, 1024).fault());
}

TEST_CASE("a plan ends where its planner goes astray") {
    CHECK(list(plan(astray{}, 100)) == std::vector<segment>{{0, 9}, {10, 19}});
    CHECK(list(plan(inverted{}, 100)).empty());
    CHECK(list(plan(inverted{}, 1)) == std::vector<segment>{{0, 0}});
}

TEST_CASE("a planner sees what is wanted, what is owed, and for how many lanes") {
    std::vector<cleave::plan_state> seen;
    seen.reserve(8);
    CHECK(list(plan(witness{&seen}, segment{100, 199}, 5)).size() == 3);
    REQUIRE(seen.size() >= 3);
    for (auto const& s : seen) {
        CHECK(s.wanted == segment{100, 199});
        CHECK(s.lanes == 5);
        // Nobody holds anything.
        CHECK(s.outstanding == 0);
    }
    CHECK(seen[0].owed == 100);
    CHECK(seen[1].owed == 60);
    CHECK(seen[2].owed == 20);
}

// Clang before 16 cannot compile the standard library's own views.
#if !defined(__clang__) || __clang_major__ >= 16
TEST_CASE("a plan works with the standard's views") {
    std::vector<std::uint64_t> seen;
    for (std::uint64_t size : plan(fixed_size{100}, 1050) | std::views::drop(9) |
                                  std::views::transform([](segment s) { return s.size(); }))
        seen.push_back(size);
    CHECK(seen == std::vector<std::uint64_t>{100, 50});
    std::size_t count = 0;
    for (segment s : plan(fixed_size{8 << 20}, std::uint64_t{1} << 63) | std::views::take(10)) {
        CHECK(s.first == count * (8 << 20));
        ++count;
    }
    CHECK(count == 10);
}
#endif

TEST_CASE("a plan works with the standard's algorithms") {
    CHECK(std::ranges::all_of(plan(even_split{16}, 1'000'000),
                              [](segment s) { return s.size() == 62'500; }));
}

TEST_CASE("a plan can be walked more than once, and its iterators are values") {
    auto const view = plan(even_split{5}, 103);
    CHECK(list(view) == list(view));
    auto a = view.begin();
    auto const b = a++;
    CHECK(b == view.begin());
    CHECK(a != b);
    CHECK((*b).precedes(*a));
    CHECK(a == std::ranges::next(view.begin()));
    auto again = b;
    ++again;
    CHECK(again == a);
    CHECK(*again == *a);
    CHECK(std::ranges::distance(view) == 5);
    CHECK_FALSE(std::ranges::empty(view));
    CHECK(*view.begin() == segment{0, 20});
}

TEST_CASE("a plan can be copied and assigned") {
    auto view = plan(fixed_size{10}, 35);
    auto const copy = view;
    view = plan(fixed_size{7}, 14);
    CHECK(list(copy).size() == 4);
    CHECK(list(view) == std::vector<segment>{{0, 6}, {7, 13}});
}

TEST_CASE("the plan of 2^63 bytes takes no memory and no time (H04)") {
    std::uint64_t const size = std::uint64_t{1} << 63;
    std::size_t count = 0;
    segment last;
    CHECK(cleave_test::allocations_of([&] {
              for (segment s : plan(fixed_size{8 << 20}, size)) {
                  last = s;
                  if (++count == 10) break;
              }
              for (segment s : plan(even_split{max_offset}, size)) {
                  last = s;
                  if (++count == 20) break;
              }
          }) == 0);
    CHECK(count == 20);
    CHECK(last == segment{9, 9});
    CHECK(tiles(plan(fixed_size{std::uint64_t{1} << 61}, size), {0, size - 1}));
    CHECK(tiles(plan(even_split{1000}, max_offset), {0, max_offset - 1}));
    CHECK(tiles(plan(even_split{1000}, segment{0, max_offset}), {0, max_offset}));
    CHECK(tiles(plan(guided{8 << 20}, size), {0, size - 1}));
    CHECK(tiles(plan(guided{8 << 20}, segment{0, max_offset}), {0, max_offset}));
    CHECK(tiles(plan(fixed_size{std::uint64_t{1} << 63}, segment{0, max_offset}), {0, max_offset}));
}

TEST_CASE("the laws find planners that break them") {
    using cleave_test::broken_answer;
    using cleave_test::broken_tiling;
    CHECK(broken_tiling(backwards{}, {0, 99}, 8) == "");
    cleave_test::random_source random{4};
    CHECK(cleave_test::broken_after_failures(backwards{}, {0, 99}, 8, random) == "");
    CHECK(broken_tiling(astray{}, {0, 99}, 8).find("lies within its gap") != std::string::npos);
    CHECK(cleave_test::broken_in_turn(backwards{}, {0, 99}, 8, [](segment) {}) == "");
    CHECK(cleave_test::broken_in_the_long_run(backwards{}, {0, 99}, 1000, random) == "");
    for (auto const& broken :
         {cleave_test::broken_after_failures(astray{}, {0, 99}, 8, random),
          cleave_test::broken_in_turn(astray{}, {0, 99}, 8, [](segment) {}),
          cleave_test::broken_in_the_long_run(astray{}, {0, 99}, 1000, random)})
        CHECK(broken.find("lies within its gap") != std::string::npos);
    CHECK(broken_answer(inverted{}, {0, 9}, {{0, 9}, 10, 8}).find("is a segment") !=
          std::string::npos);
    struct too_many {
        [[nodiscard]] segment next(segment gap, cleave::plan_state const&) const noexcept {
            return {gap.first, gap.first};
        }
        [[nodiscard]] std::uint64_t most_segments() const noexcept { return 9; }
    };
    CHECK(broken_tiling(too_many{}, {0, 8}, 8) == "");
    CHECK(broken_tiling(too_many{}, {0, 9}, 8).find("most_segments") != std::string::npos);
    CHECK(cleave_test::broken_in_turn(too_many{}, {0, 9}, 8, [](segment) {
          }).find("most_segments") != std::string::npos);
    struct moody {
        mutable std::uint64_t calls = 0;
        [[nodiscard]] segment next(segment gap, cleave::plan_state const&) const noexcept {
            return {gap.first, std::min(gap.last, gap.first + calls++ % 2)};
        }
    };
    CHECK(broken_tiling(moody{}, {0, 9}, 8).find("equal answers") != std::string::npos);
}

TEST_CASE("the laws show a planner what lanes hold") {
    std::vector<cleave::plan_state> seen;
    seen.reserve(20);
    CHECK(cleave_test::broken_in_turn(witness{&seen}, {100, 299}, 2, [](segment) {}) == "");
    // It is asked three times for each of five segments. The lane that asks has brought its own.
    REQUIRE(seen.size() == 15);
    for (std::size_t i = 0; i != seen.size(); ++i) {
        CHECK(seen[i].owed == 200 - i / 3 * 40);
        CHECK(seen[i].outstanding == (i < 3 ? 0 : 40));
    }
    seen.clear();
    seen.reserve(2000);
    cleave_test::random_source random{5};
    CHECK(cleave_test::broken_after_failures(witness{&seen}, {100, 299}, 8, random) == "");
    CHECK(cleave_test::broken_in_the_long_run(witness{&seen}, {100, 299}, 1000, random) == "");
    bool held = false;
    for (auto const& s : seen) {
        CHECK(s.owed + s.outstanding <= 200);
        held = held || s.outstanding > 0;
    }
    CHECK(held);
}
