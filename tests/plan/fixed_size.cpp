// SPDX-License-Identifier: BSL-1.0
//
// fixed_size keeps the laws of planners for every small object and for the largest there can be,
// and cuts where it says: at multiples of its size from the first byte wanted (H02, H03, H05).

#include <cleave/plan/fixed_size.hpp>

#include <laws/planner_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

using cleave::fixed_size;
using cleave::max_offset;
using cleave::plan_state;
using cleave::segment;

namespace {

constexpr segment next_of(fixed_size p, segment gap, segment wanted) {
    return p.next(gap, plan_state{wanted, gap.size(), 8});
}

static_assert(next_of({1024}, {0, 2999}, {0, 2999}) == segment{0, 1023});
static_assert(next_of({1024}, {2048, 2999}, {0, 2999}) == segment{2048, 2999});
// After a failure in the middle the old boundaries come back.
static_assert(next_of({1024}, {1000, 2999}, {0, 2999}) == segment{1000, 1023});
static_assert(next_of({1024}, {1030, 1040}, {0, 2999}) == segment{1030, 1040});
// Counted from the first byte that is wanted, not from the object's.
static_assert(next_of({1000}, {500, 9999}, {500, 9999}) == segment{500, 1499});
static_assert(fixed_size{0}.opening() == 1 && fixed_size{7}.opening() == 7);
static_assert(fixed_size{}.bytes == 4 * 1024 * 1024);
static_assert(cleave::plan_opening(fixed_size{7}) == 7);
static_assert(cleave::plan_most_segments(fixed_size{7}) == max_offset);

// What is wrong with the cuts of these bytes; empty if nothing is.
std::string broken_cuts(std::uint64_t bytes, segment wanted) {
    std::uint64_t const size = std::max<std::uint64_t>(bytes, 1);
    std::string wrong;
    auto const broken = cleave_test::broken_tiling(fixed_size{bytes}, wanted, 8, [&](segment s) {
        bool const ends = s.last == wanted.last;
        if ((s.first - wanted.first) % size != 0) wrong = to_string(s) + " begins elsewhere";
        if (ends ? s.last - s.first > size - 1 : s.size() != size)
            wrong = to_string(s) + " has another size";
    });
    return broken.empty() ? wrong : broken;
}

} // namespace

TEST_CASE("fixed_size tiles every small object") {
    for (std::uint64_t size = 1; size <= 300; ++size)
        for (std::uint64_t bytes = 0; bytes <= 17; ++bytes) {
            CAPTURE(size, bytes);
            REQUIRE(broken_cuts(bytes, {0, size - 1}) == "");
            REQUIRE(broken_cuts(bytes, {1'000'003, 1'000'002 + size}) == "");
            REQUIRE(broken_cuts(bytes, {max_offset - (size - 1), max_offset}) == "");
        }
}

TEST_CASE("fixed_size answers within any gap") {
    cleave_test::random_source random{2};
    for (std::uint64_t size = 1; size <= 300; size += 7)
        for (std::uint64_t bytes = 1; bytes <= 17; ++bytes) {
            CAPTURE(size, bytes);
            segment const wanted{40, 39 + size};
            REQUIRE(cleave_test::broken_after_failures(fixed_size{bytes}, wanted, 8, random) == "");
        }
}

TEST_CASE("fixed_size survives a long run of failures") {
    cleave_test::random_source random{21};
    for (std::uint64_t bytes : {40U, 1000U, 5000U, 10'000U}) {
        CAPTURE(bytes);
        CHECK(cleave_test::broken_in_the_long_run(fixed_size{bytes}, {1000, 8999}, 3000, random) ==
              "");
    }
}

TEST_CASE("fixed_size survives a million steps", "[.heavy]") {
    cleave_test::random_source random{22};
    CHECK(cleave_test::broken_in_the_long_run(fixed_size{300}, {1000, 100'999}, 1'000'000,
                                              random) == "");
}

TEST_CASE("fixed_size is right at the edges of 32 and 64 bits") {
    std::uint64_t const size =
        GENERATE(std::uint64_t{1} << 31, (std::uint64_t{1} << 32) - 1, std::uint64_t{1} << 32,
                 (std::uint64_t{1} << 32) + 1, std::uint64_t{5} << 30, std::uint64_t{1} << 63,
                 (std::uint64_t{1} << 63) + 1, max_offset - 1, max_offset);
    for (std::uint64_t parts = 1; parts <= 17; ++parts) {
        CAPTURE(size, parts);
        CHECK(broken_cuts(size / parts, {0, size - 1}) == "");
        CHECK(broken_cuts(size / parts, {max_offset - (size - 1), max_offset}) == "");
        CHECK(broken_cuts(size / (parts + 1) + parts, {0, size - 1}) == "");
    }
}

TEST_CASE("fixed_size cuts also all offsets there are") {
    for (std::uint64_t bytes : {std::uint64_t{1} << 60, std::uint64_t{1} << 63,
                                (std::uint64_t{1} << 63) + 1, max_offset - 1, max_offset}) {
        CAPTURE(bytes);
        CHECK(broken_cuts(bytes, {0, max_offset}) == "");
    }
}

TEST_CASE("fixed_size tiles every object up to 70,000 bytes", "[.heavy]") {
    for (std::uint64_t size = 1; size <= 70'000; ++size)
        for (std::uint64_t parts = 1; parts <= 17; ++parts) {
            auto const broken = broken_cuts((size + parts - 1) / parts, {0, size - 1});
            if (broken.empty()) continue;
            CAPTURE(size, parts);
            FAIL(broken);
        }
    SUCCEED();
}
