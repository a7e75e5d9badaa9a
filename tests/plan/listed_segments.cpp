// SPDX-License-Identifier: BSL-1.0
//
// A list of segments is checked before it is used, also at compile time, and each thing that can be
// wrong with it is named with its bytes and what to write instead; a good one is asked for exactly.

#include <cleave/plan/even_split.hpp>
#include <cleave/plan/listed_segments.hpp>

#include <laws/planner_laws.hpp>
#include <support/catch.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

using cleave::error;
using cleave::find_list_fault;
using cleave::listed_segments;
using cleave::max_offset;
using cleave::plan_fault;
using cleave::segment;

namespace {

// A list that is constant can be checked before the program runs.
constexpr std::array good = {segment{0, 1024}, segment{1025, 2048}, segment{2049, 2049}};
static_assert(!find_list_fault(good));
static_assert(!find_list_fault(good, {0, 2049}));
static_assert(find_list_fault(good, {0, 2050})->why == error::segments_do_not_match_size);

constexpr std::array overlapping = {segment{0, 1024}, segment{1024, 2048}};
static_assert(find_list_fault(overlapping)->why == error::segments_overlap);
static_assert(find_list_fault(overlapping)->instead == segment{1025, 2048});

constexpr std::array torn = {segment{0, 1023}, segment{1025, 2048}};
static_assert(find_list_fault(torn)->why == error::segments_leave_gap);

constexpr std::array disordered = {segment{100, 199}, segment{0, 99}};
static_assert(find_list_fault(disordered)->why == error::segments_out_of_order);

constexpr std::array reversed = {segment{0, 9}, segment{20, 10}};
static_assert(find_list_fault(reversed)->why == error::segment_reversed);

static_assert(find_list_fault(std::span<segment const>{})->why == error::segments_empty);
static_assert(!find_list_fault(std::array{segment{0, max_offset}}, {0, max_offset}));
static_assert(!find_list_fault(std::array{segment{0, max_offset - 1},
                                          segment{max_offset, max_offset}}));

std::optional<plan_fault> fault_of(std::initializer_list<segment> list) {
    return listed_segments(list).fault();
}
std::string detail_of(std::initializer_list<segment> list) {
    auto const fault = fault_of(list);
    return fault ? fault->detail() : "no fault";
}

// The same parts that even_split makes.
std::vector<segment> even_list(segment wanted, std::uint64_t parts) {
    std::vector<segment> list;
    auto const broken = cleave_test::broken_tiling(cleave::even_split{parts}, wanted, 8,
                                                   [&](segment s) { list.push_back(s); });
    REQUIRE(broken.empty());
    return list;
}

// What is wrong with asking for this list; empty if nothing is.
std::string broken_list(std::vector<segment> const& list, segment wanted) {
    listed_segments const p(list);
    if (p.fault(wanted)) return p.fault(wanted)->detail();
    std::size_t at = 0;
    std::string wrong;
    auto const broken = cleave_test::broken_tiling(p, wanted, 8, [&](segment s) {
        if (at == list.size() || s != list[at++]) wrong = to_string(s) + " is not in the list";
    });
    if (!broken.empty()) return broken;
    if (at != list.size()) return "not all of the list was asked for";
    return wrong;
}

} // namespace

TEST_CASE("two segments that share a byte are refused by name, with what to write instead") {
    auto const fault = fault_of({{0, 1024}, {1024, 2048}});
    REQUIRE(fault);
    CHECK(fault->why == error::segments_overlap);
    CHECK(fault->at == segment{1024, 2048});
    CHECK(fault->previous == segment{0, 1024});
    CHECK(fault->instead == segment{1025, 2048});
    CHECK(fault->detail() ==
          "segments [0,1024] and [1024,2048] overlap at byte 1024; use [1025,2048]");
}

TEST_CASE("the byte at which segments overlap lies in both") {
    CHECK(detail_of({{0, 9}, {5, 20}}) ==
          "segments [0,9] and [5,20] overlap at byte 5; use [10,20]");
    CHECK(detail_of({{10, 20}, {5, 15}}).find("overlap at byte 10") != std::string::npos);
    CHECK(detail_of({{10, 20}, {0, 30}}).find("overlap at byte 10") != std::string::npos);
    // Nothing can be proposed where nothing would be left.
    CHECK(detail_of({{0, 9}, {0, 9}}) == "segments [0,9] and [0,9] overlap at byte 0");
    CHECK(detail_of({{0, 9}, {3, 5}}) == "segments [0,9] and [3,5] overlap at byte 3");
    CHECK(detail_of({{0, max_offset}, {max_offset, max_offset}}) ==
          "segments [0,18446744073709551615] and [18446744073709551615,18446744073709551615] "
          "overlap at byte 18446744073709551615");
}

TEST_CASE("a gap is named by its first byte") {
    auto const fault = fault_of({{0, 1023}, {1025, 2048}});
    REQUIRE(fault);
    CHECK(fault->why == error::segments_leave_gap);
    CHECK(fault->detail() ==
          "between segments [0,1023] and [1025,2048] byte 1024 is missing; use [1024,2048]");
    CHECK(detail_of({{0, 9}, {100, 199}}) ==
          "between segments [0,9] and [100,199] byte 10 is missing; use [10,199]");
}

TEST_CASE("disorder is told from overlap and gap") {
    CHECK(fault_of({{100, 199}, {0, 99}})->why == error::segments_out_of_order);
    CHECK(detail_of({{100, 199}, {0, 99}}) == "segment [0,99] stands behind [100,199]");
    CHECK(fault_of({{0, 9}, {10, 19}, {5, 9}})->why == error::segments_out_of_order);
    CHECK(fault_of({{0, 9}, {10, 19}, {5, 10}})->why == error::segments_overlap);
}

TEST_CASE("a reversed segment is shown the right way round") {
    CHECK(fault_of({{1024, 0}})->why == error::segment_reversed);
    CHECK(detail_of({{1024, 0}}) == "segment [1024,0] is reversed; use [0,1024]");
    CHECK(detail_of({{0, 9}, {20, 10}}) == "segment [20,10] is reversed; use [10,20]");
}

TEST_CASE("an empty list has nothing to ask for") {
    auto const fault = fault_of({});
    REQUIRE(fault);
    CHECK(fault->why == error::segments_empty);
    CHECK(fault->detail().empty());
    CHECK(listed_segments(std::vector<segment>{}).fault({0, 9})->why == error::segments_empty);
}

TEST_CASE("a list for another size says both sizes") {
    listed_segments const list{{0, 1024}, {1025, 2048}};
    CHECK_FALSE(list.fault());
    CHECK_FALSE(list.fault({0, 2048}));
    for (segment const wanted : {segment{0, 2047}, segment{0, 2049}, segment{1, 2048}}) {
        auto const fault = list.fault(wanted);
        REQUIRE(fault);
        CHECK(fault->why == error::segments_do_not_match_size);
        CHECK(fault->wanted == wanted);
    }
    CHECK(list.fault({0, 4095})->detail() ==
          "the segments are for [0,2048] (2049 bytes), but what is asked for is [0,4095] "
          "(4096 bytes)");
    // What is wrong in itself comes first.
    CHECK(listed_segments{{0, 9}, {9, 19}}.fault({0, 4095})->why == error::segments_overlap);
}

TEST_CASE("the first fault is the one that is named") {
    CHECK(fault_of({{0, 9}, {10, 19}, {21, 29}, {29, 39}})->why == error::segments_leave_gap);
    CHECK(fault_of({{0, 9}, {10, 19}, {19, 29}, {31, 39}})->why == error::segments_overlap);
    CHECK(fault_of({{9, 0}, {20, 29}})->why == error::segment_reversed);
}

TEST_CASE("each fault has a text of its own") {
    std::vector<std::string> const texts = {
        detail_of({{0, 9}, {9, 19}}), detail_of({{0, 9}, {11, 19}}), detail_of({{10, 19}, {0, 9}}),
        detail_of({{9, 0}}), listed_segments{{0, 9}}.fault({0, 19})->detail()};
    for (std::size_t i = 0; i < texts.size(); ++i) {
        CHECK_FALSE(texts[i].empty());
        for (std::size_t j = 0; j < i; ++j) CHECK(texts[i] != texts[j]);
    }
}

TEST_CASE("any single change to a good list is found") {
    for (std::uint64_t parts = 1; parts <= 6; ++parts) {
        auto const list = even_list({0, 59}, parts);
        REQUIRE_FALSE(find_list_fault(list, {0, 59}));
        for (std::size_t i = 0; i < list.size(); ++i) {
            for (std::uint64_t value = 0; value <= 61; ++value) {
                CAPTURE(parts, i, value);
                auto changed = list;
                changed[i].first = value;
                REQUIRE(find_list_fault(changed, {0, 59}).has_value() == (changed != list));
                changed = list;
                changed[i].last = value;
                REQUIRE(find_list_fault(changed, {0, 59}).has_value() == (changed != list));
            }
            auto without = list;
            without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
            REQUIRE(find_list_fault(without, {0, 59}));
            auto doubled = list;
            doubled.insert(doubled.begin() + static_cast<std::ptrdiff_t>(i), list[i]);
            REQUIRE(find_list_fault(doubled, {0, 59}));
            for (std::size_t j = 0; j < i; ++j) {
                auto swapped = list;
                std::swap(swapped[i], swapped[j]);
                REQUIRE(find_list_fault(swapped, {0, 59}));
            }
        }
    }
}

TEST_CASE("a good list is asked for exactly") {
    for (std::uint64_t size = 1; size <= 300; ++size)
        for (std::uint64_t parts = 1; parts <= 17; ++parts) {
            CAPTURE(size, parts);
            segment const wanted{7, 6 + size};
            REQUIRE(broken_list(even_list(wanted, parts), wanted) == "");
        }
    CHECK(
        broken_list({{0, 0}, {1, 500}, {501, 501}, {502, max_offset - 1}, {max_offset, max_offset}},
                    {0, max_offset}) == "");
}

TEST_CASE("a list's segments are cut short by gaps, never joined") {
    cleave_test::random_source random{3};
    for (int i = 0; i < 200; ++i) {
        segment const wanted{0, random.below(200)};
        std::vector<segment> list;
        for (std::uint64_t at = 0; at <= wanted.last;) {
            std::uint64_t const last = at + random.below(wanted.last - at + 1);
            list.push_back({at, last});
            at = last + 1;
        }
        listed_segments const p(list);
        REQUIRE_FALSE(p.fault(wanted));
        REQUIRE(cleave_test::broken_after_failures(p, wanted, 8, random) == "");
        for (int k = 0; k < 20; ++k) {
            segment const gap = random.within(wanted);
            segment const answer = p.next(gap, {wanted, gap.size(), 8});
            bool within_one = false;
            for (segment s : list) within_one = within_one || s.contains(answer);
            CAPTURE(gap.first, gap.last);
            REQUIRE(answer.first == gap.first);
            REQUIRE(within_one);
        }
    }
}

TEST_CASE("behind its end a list has nothing to say") {
    listed_segments const p{{0, 9}, {10, 19}};
    CHECK(p.next({20, 29}, {{0, 29}, 10, 8}) == segment{20, 29});
    auto const gap = cleave::find_list_fault(std::vector<segment>{{0, 1}, {3, 4}});
    auto const overlap = cleave::find_list_fault(std::vector<segment>{{0, 1}, {1, 4}});
    REQUIRE(gap);
    REQUIRE(overlap);
    CHECK_FALSE(*gap == *overlap);
}

TEST_CASE("a list survives a long run of failures") {
    cleave_test::random_source random{31};
    listed_segments const p{{1000, 1000}, {1001, 3999}, {4000, 4009}, {4010, 8999}};
    CHECK(cleave_test::broken_in_the_long_run(p, {1000, 8999}, 3000, random) == "");
}

TEST_CASE("a list survives a million steps", "[.heavy]") {
    cleave_test::random_source random{32};
    listed_segments const p(even_list({1000, 100'999}, 100));
    CHECK(cleave_test::broken_in_the_long_run(p, {1000, 100'999}, 1'000'000, random) == "");
}

TEST_CASE("a list tells the opening and the number of its segments") {
    listed_segments const p{{0, 99}, {100, 149}, {150, 150}};
    CHECK(p.opening() == 100);
    CHECK(p.most_segments() == 3);
    CHECK(cleave::plan_opening(p) == 100);
    CHECK(cleave::plan_most_segments(p) == 3);
    CHECK(p.list().size() == 3);
    CHECK(p.list()[1] == segment{100, 149});
    CHECK(cleave::find_plan_fault(p) == std::nullopt);
    CHECK(cleave::find_plan_fault(p, {0, 150}) == std::nullopt);
    CHECK(cleave::find_plan_fault(p, {0, 151})->why == error::segments_do_not_match_size);
}

TEST_CASE("a list tiles every object up to 70,000 bytes", "[.heavy]") {
    for (std::uint64_t size = 1; size <= 70'000; size += 7)
        for (std::uint64_t parts = 1; parts <= 17; ++parts) {
            segment const wanted{0, size - 1};
            std::vector<segment> list;
            std::uint64_t at = 0;
            for (std::uint64_t i = 1; i <= parts; ++i) {
                std::uint64_t const end = size * i / parts;
                if (end == at) continue;
                list.push_back({at, end - 1});
                at = end;
            }
            auto const broken = broken_list(list, wanted);
            if (broken.empty()) continue;
            CAPTURE(size, parts);
            FAIL(broken);
        }
    SUCCEED();
}
