// SPDX-License-Identifier: BSL-1.0
//
// Units are powers of 1024, or of 1000 where they are written so, in 64 bits on every machine.

#include <cleave/base/units.hpp>

#include <support/catch.hpp>

#include <cstdint>
#include <type_traits>

using namespace cleave::literals;

static_assert(1_KiB == 1024);
static_assert(512_KiB == 524'288);
static_assert(8_MiB == 8'388'608);
static_assert(1_GiB == 1'073'741'824);
static_assert(5_GiB == 5'368'709'120U, "beyond 32 bits");
static_assert(1024_KiB == 1_MiB && 1024_MiB == 1_GiB);
static_assert(std::is_same_v<decltype(1_KiB), std::uint64_t>);
static_assert(0_GiB == 0);
static_assert(20_kB == 20'000 && 3_MB == 3'000'000);

TEST_CASE("units are found by way of the library's namespace too") {
    using namespace cleave;
    CHECK(3_MiB == 3 * 1024 * 1024);
}
