// SPDX-License-Identifier: BSL-1.0
//
// even_split keeps the laws of planners for every small object and for the largest there can be,
// and its parts are as many as asked for and differ by one byte at most (H02, H03, H05).

#include <cleave/plan/even_split.hpp>

#include <laws/planner_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

using cleave::even_split;
using cleave::max_offset;
using cleave::plan_state;
using cleave::segment;

namespace {

constexpr segment next_of(even_split p, segment gap, segment wanted) {
    return p.next(gap, plan_state{wanted, gap.size(), 8});
}

// Usable at compile time, and the longer parts come first.
static_assert(next_of({3}, {0, 9}, {0, 9}) == segment{0, 3});
static_assert(next_of({3}, {4, 9}, {0, 9}) == segment{4, 6});
static_assert(next_of({3}, {7, 9}, {0, 9}) == segment{7, 9});
// A gap that begins within a part ends with it; one that ends within it cuts it short.
static_assert(next_of({3}, {2, 9}, {0, 9}) == segment{2, 3});
static_assert(next_of({3}, {5, 5}, {0, 9}) == segment{5, 5});
// Counted from the first byte that is wanted.
static_assert(next_of({2}, {100, 199}, {100, 199}) == segment{100, 149});
static_assert(even_split{0}.most_segments() == 1 && even_split{17}.most_segments() == 17);
static_assert(even_split{}.parts == 8);

// What is wrong with the split of these bytes; empty if nothing is.
std::string broken_split(std::uint64_t parts, segment wanted) {
    std::uint64_t count = 0;
    std::uint64_t least = max_offset;
    std::uint64_t most = 0;
    // Sizes less one, so that also 2^64 bytes can be said.
    auto const broken = cleave_test::broken_tiling(even_split{parts}, wanted, 8, [&](segment s) {
        ++count;
        least = std::min(least, s.last - s.first);
        most = std::max(most, s.last - s.first);
    });
    if (!broken.empty()) return broken;
    if (most - least > 1) return "sizes differ by " + std::to_string(most - least);
    std::uint64_t const asked = std::max<std::uint64_t>(parts, 1);
    std::uint64_t const less_one = wanted.last - wanted.first;
    std::uint64_t const right = less_one < asked ? less_one + 1 : asked;
    if (count != right) return "it made " + std::to_string(count) + " parts";
    return {};
}

} // namespace

TEST_CASE("even_split tiles every small object evenly") {
    for (std::uint64_t size = 1; size <= 300; ++size)
        for (std::uint64_t parts = 0; parts <= 17; ++parts) {
            CAPTURE(size, parts);
            REQUIRE(broken_split(parts, {0, size - 1}).empty());
            REQUIRE(broken_split(parts, {1'000'003, 1'000'002 + size}).empty());
            REQUIRE(broken_split(parts, {max_offset - (size - 1), max_offset}).empty());
        }
}

TEST_CASE("even_split answers within any gap") {
    cleave_test::random_source random{1};
    for (std::uint64_t size = 1; size <= 300; size += 7)
        for (std::uint64_t parts = 1; parts <= 17; ++parts) {
            CAPTURE(size, parts);
            segment const wanted{40, 39 + size};
            REQUIRE(cleave_test::broken_after_failures(even_split{parts}, wanted, 8, random) == "");
            // An answer never reaches beyond the part in which the gap begins.
            for (int i = 0; i < 20; ++i) {
                segment const gap = random.within(wanted);
                segment const answer = next_of({parts}, gap, wanted);
                REQUIRE(answer.first == gap.first);
                segment const part = next_of({parts}, {gap.first, wanted.last}, wanted);
                REQUIRE(answer.last == std::min(part.last, gap.last));
            }
        }
}

TEST_CASE("even_split survives a long run of failures") {
    cleave_test::random_source random{11};
    for (std::uint64_t parts = 1; parts <= 17; parts += 4) {
        CAPTURE(parts);
        CHECK(cleave_test::broken_in_the_long_run(even_split{parts}, {1000, 8999}, 3000, random) ==
              "");
    }
}

TEST_CASE("even_split survives a million steps", "[.heavy]") {
    cleave_test::random_source random{12};
    CHECK(cleave_test::broken_in_the_long_run(even_split{16}, {1000, 100'999}, 1'000'000, random) ==
          "");
}

TEST_CASE("even_split is right at the edges of 32 and 64 bits") {
    std::uint64_t const size =
        GENERATE(std::uint64_t{1} << 31, (std::uint64_t{1} << 32) - 1, std::uint64_t{1} << 32,
                 (std::uint64_t{1} << 32) + 1, std::uint64_t{5} << 30, std::uint64_t{1} << 63,
                 (std::uint64_t{1} << 63) + 1, max_offset - 1, max_offset);
    for (std::uint64_t parts = 1; parts <= 17; ++parts) {
        CAPTURE(size, parts);
        CHECK(broken_split(parts, {0, size - 1}) == "");
        CHECK(broken_split(parts, {max_offset - (size - 1), max_offset}) == "");
    }
    CHECK(broken_split(1000, {0, size - 1}) == "");
}

TEST_CASE("even_split splits also all offsets there are") {
    for (std::uint64_t parts : {1U, 2U, 3U, 5U, 8U, 16U, 17U, 1000U}) {
        CAPTURE(parts);
        CHECK(broken_split(parts, {0, max_offset}) == "");
    }
}

TEST_CASE("even_split makes as many parts as there are bytes when more are asked for") {
    CHECK(broken_split(max_offset, {0, 99}) == "");
    CHECK(broken_split(max_offset, {5, 5}) == "");
    CHECK(next_of({max_offset}, {0, max_offset}, {0, max_offset}).first == 0);
}

TEST_CASE("even_split tiles objects of any size up to 70,000 bytes (H05)") {
    for (std::uint64_t size = 1; size <= 70'000; size += 101)
        for (std::uint64_t parts = 1; parts <= 17; ++parts) {
            CAPTURE(size, parts);
            REQUIRE(broken_split(parts, {0, size - 1}) == "");
        }
}

TEST_CASE("even_split tiles every object up to 70,000 bytes", "[.heavy]") {
    for (std::uint64_t size = 1; size <= 70'000; ++size)
        for (std::uint64_t parts = 1; parts <= 17; ++parts) {
            auto const broken = broken_split(parts, {0, size - 1});
            if (broken.empty()) continue;
            CAPTURE(size, parts);
            FAIL(broken);
        }
    SUCCEED();
}
