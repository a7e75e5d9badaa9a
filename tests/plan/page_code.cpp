// SPDX-License-Identifier: BSL-1.0
//
// The planner of docs/extending.md, compiled and held to the laws. tests/house/readme_code.cpp
// compares it with the page.
#include <cleave/plan/concept.hpp>

#include <laws/planner_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstdint>

namespace {

/// From the last byte to the first, `bytes` at a time.
struct backwards {
    std::uint64_t bytes = 4 * 1024 * 1024;

    cleave::segment next(cleave::segment gap, cleave::plan_state const&) const noexcept {
        std::uint64_t const more = std::max<std::uint64_t>(bytes, 1) - 1;
        return {gap.last - std::min(gap.last - gap.first, more), gap.last};
    }
};

static_assert(cleave::range_planner<backwards>);

} // namespace

TEST_CASE("backwards tiles every small object, whatever fails") {
    cleave_test::random_source random{1};
    for (std::uint64_t size = 1; size <= 300; size += 7)
        for (std::uint64_t bytes = 0; bytes <= 17; ++bytes) {
            CAPTURE(size, bytes);
            backwards const p{bytes};
            REQUIRE(cleave_test::broken_tiling(p, {0, size - 1}, 8) == "");
            REQUIRE(cleave_test::broken_after_failures(p, {0, size - 1}, 8, random) == "");
        }
}
