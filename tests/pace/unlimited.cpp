// SPDX-License-Identifier: BSL-1.0
//
// unlimited lets every byte through, at once and always.

#include <cleave/pace/unlimited.hpp>

#include <laws/pacer_laws.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <type_traits>

using cleave::unlimited;
using std::chrono::nanoseconds;

static_assert(unlimited{}.take(7, nanoseconds{3}).bytes == 7);
static_assert(std::is_empty_v<unlimited>);

TEST_CASE("unlimited keeps the laws of pacers") {
    cleave_test::random_source random{1};
    unlimited pacer;
    CHECK(cleave_test::broken_pacer(pacer, nanoseconds{0}, random, 10'000) == "");
}

TEST_CASE("unlimited takes everything") {
    unlimited pacer;
    for (std::uint64_t n : {std::uint64_t{1}, std::uint64_t{1} << 32, ~std::uint64_t{0}})
        for (nanoseconds now : {nanoseconds{0}, nanoseconds{1}, nanoseconds::max()}) {
            CHECK(pacer.take(n, now).bytes == n);
            pacer.give_back(n);
        }
}
