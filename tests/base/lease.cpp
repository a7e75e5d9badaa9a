// SPDX-License-Identifier: BSL-1.0
//
// A lease is its bytes, and whether they are asked for as a range.

#include <cleave/base/lease.hpp>

#include <support/catch.hpp>

using cleave::lease;

static_assert(lease{}.ranged, "a lease asks for a range unless said otherwise");
static_assert(lease{{0, 9}, true} == lease{{0, 9}});
static_assert(!(lease{{0, 9}, true} == lease{{0, 9}, false}));
static_assert(!(lease{{0, 9}} == lease{{0, 8}}));

TEST_CASE("leases compare by all they say") {
    CHECK(lease{{0, 9}} == lease{{0, 9}});
    CHECK_FALSE(lease{{1, 9}} == lease{{0, 9}});
}
