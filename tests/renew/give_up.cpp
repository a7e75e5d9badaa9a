// SPDX-License-Identifier: BSL-1.0
//
// give_up never goes on, whatever the failure and whatever could be done about it.

#include <cleave/renew/give_up.hpp>

#include <laws/random.hpp>
#include <laws/renewal_laws.hpp>
#include <support/catch.hpp>

#include <type_traits>

using cleave::error;
using cleave::failure;
using cleave::phase;
using cleave::renewal;

static_assert(std::is_empty_v<cleave::give_up>);

TEST_CASE("give_up does what its name says") {
    constexpr renewal gives_up{renewal::answer::give_up};
    cleave::give_up const g;
    failure const passing = failure::of(error::closed_in_body, phase::body);
    CHECK(g.decide({.what = passing}) == gives_up);
    CHECK(g.decide({.what = passing, .bytes = 1 << 20, .object_known = true}) == gives_up);
    failure const expired = failure::of(error::request_expires, phase::head);
    CHECK(g.decide({.what = expired, .can_refresh = true}) == gives_up);
}

TEST_CASE("give_up keeps the laws of renewal rules, with the first failure") {
    cleave_test::random_source random{1};
    for (int i = 0; i != 100; ++i) {
        cleave::give_up g;
        REQUIRE(cleave_test::broken_renewal(g, random, 1) == "");
    }
}
