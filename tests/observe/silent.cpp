// SPDX-License-Identifier: BSL-1.0
//
// silent wants no progress, and does nothing about anything.

#include <cleave/observe/silent.hpp>

#include <laws/observer_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <type_traits>

static_assert(std::is_empty_v<cleave::silent>);

TEST_CASE("silent never wants to be told how far it is, and takes everything") {
    CHECK(cleave::silent{}.interval() == std::chrono::nanoseconds{0});
    cleave_test::random_source random{1};
    CHECK(cleave_test::broken_observer(cleave::silent{}, random) == "");
}
