// SPDX-License-Identifier: BSL-1.0
//
// silent wants no progress, and does nothing about anything.

#include <cleave/observe/silent.hpp>

#include <support/catch.hpp>

#include <chrono>
#include <optional>
#include <type_traits>

static_assert(std::is_empty_v<cleave::silent>);

TEST_CASE("silent never wants to be told how far it is") {
    cleave::silent s;
    CHECK(s.interval() == std::chrono::nanoseconds{0});
    cleave::failure const failure;
    cleave::identity const identity;
    s.on(cleave::object_known{identity});
    s.on(cleave::attempt_failed{0, failure, std::nullopt});
    s.on(cleave::progress{});
}
