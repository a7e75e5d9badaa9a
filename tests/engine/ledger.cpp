// SPDX-License-Identifier: BSL-1.0
//
// The books: every byte that is wanted is owed, held or in place, and the request is complete when
// all are in place and not before.

#include <cleave/engine/ledger.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cstdint>

using cleave::ledger;
using cleave::max_offset;
using cleave::segment;

TEST_CASE("a ledger begins with everything owed") {
    ledger l;
    l.reset({100, 199});
    CHECK(l.wanted() == segment{100, 199});
    CHECK(l.owed().bytes() == 100);
    CHECK(l.owed().front() == segment{100, 199});
    CHECK(l.committed().empty());
    CHECK_FALSE(l.complete());
    CHECK(l.frontier() == 0);
}

TEST_CASE("bytes go from owed to held to committed, or back") {
    ledger l;
    l.reset({100, 199});
    l.take({100, 149});
    CHECK(l.owed().front() == segment{150, 199});
    l.commit({100, 119});
    CHECK(l.frontier() == 20);
    l.give_back({120, 149});
    CHECK(l.owed().front() == segment{120, 199});
    l.take({120, 199});
    CHECK(l.owed().empty());
    CHECK_FALSE(l.complete());
    l.commit({150, 199});
    CHECK(l.frontier() == 20);
    l.commit({120, 149});
    CHECK(l.frontier() == 100);
    CHECK(l.complete());
}

TEST_CASE("a ledger that begins anew owes everything again") {
    ledger l;
    l.reset({0, 9});
    l.take({0, 9});
    l.commit({0, 9});
    REQUIRE(l.complete());
    l.reset({0, 9});
    CHECK_FALSE(l.complete());
    CHECK(l.owed().contains({0, 9}));
    CHECK(l.committed().empty());
}

TEST_CASE("an object that ends earlier than thought is complete earlier") {
    ledger l;
    l.reset({0, max_offset});
    l.take({0, max_offset});
    l.commit({0, 41});
    CHECK_FALSE(l.complete());
    l.end_at(41);
    CHECK(l.wanted() == segment{0, 41});
    CHECK(l.complete());

    l.reset({0, 99});
    l.take({0, 9});
    l.commit({0, 9});
    l.end_at(49);
    CHECK(l.owed().front() == segment{10, 49});
    CHECK(l.owed().bytes() == 40);
    l.end_at(max_offset);
    CHECK(l.owed().bytes() == 40);
}

TEST_CASE("a ledger is complete exactly when every byte has come") {
    cleave_test::random_source random{7};
    for (int run = 0; run < 200; ++run) {
        std::uint64_t const size = 1 + random.below(60);
        segment const wanted{1000, 999 + size};
        ledger l;
        l.reset(wanted);
        bool come[60] = {};
        std::uint64_t left = size;
        while (left != 0) {
            REQUIRE_FALSE(l.complete());
            segment s = random.within(wanted);
            s.last = s.first + (s.last - s.first) / 4;
            for (std::uint64_t i = s.first - 1000; i <= s.last - 1000; ++i) {
                left -= come[i] ? 0 : 1;
                come[i] = true;
            }
            l.commit(s);
            std::uint64_t run_length = 0;
            while (run_length < size && come[run_length]) ++run_length;
            REQUIRE(l.frontier() == run_length);
        }
        REQUIRE(l.complete());
    }
}
