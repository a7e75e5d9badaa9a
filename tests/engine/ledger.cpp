// SPDX-License-Identifier: BSL-1.0
//
// The books: every byte that is wanted is owed, held or in place, and the request is complete when
// all are in place and not before. Pieces are proven once each, when all of them is in place.

#include <cleave/engine/ledger.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <algorithm>
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

// ---- pieces -------------------------------------------------------------------------------

TEST_CASE("a piece can be proven when all of it is in place, and once") {
    ledger l;
    l.reset({0, 24});
    CHECK_FALSE(l.unproven_piece(10));
    l.commit({1, 18}); // of neither all
    CHECK_FALSE(l.unproven_piece(10));
    l.commit({19, 19});
    CHECK(l.unproven_piece(10) == segment{10, 19});
    l.commit({0, 0});
    CHECK(l.unproven_piece(10) == segment{0, 9});
    l.prove({0, 9});
    CHECK(l.unproven_piece(10) == segment{10, 19});
    l.prove({10, 19});
    CHECK_FALSE(l.unproven_piece(10));
    CHECK_FALSE(l.all_proven());
    // The last is as long as there are bytes.
    l.commit({20, 23});
    CHECK_FALSE(l.unproven_piece(10));
    l.commit({24, 24});
    CHECK(l.unproven_piece(10) == segment{20, 24});
    l.prove({20, 24});
    CHECK_FALSE(l.unproven_piece(10));
    CHECK(l.all_proven());
}

TEST_CASE("pieces count from the first byte that is wanted") {
    ledger l;
    l.reset({105, 129});
    l.commit({110, 129});
    CHECK(l.unproven_piece(10) == segment{115, 124});
    l.prove({115, 124});
    CHECK(l.unproven_piece(10) == segment{125, 129});
}

TEST_CASE("what is proven from the beginning is not all that is in place") {
    ledger l;
    l.reset({100, 139});
    l.commit({100, 139});
    CHECK(l.frontier() == 40);
    CHECK(l.proven_frontier() == 0);
    l.prove({110, 119});
    CHECK(l.proven_frontier() == 0);
    l.prove({100, 109});
    CHECK(l.proven_frontier() == 20);
    CHECK(l.complete());
    CHECK_FALSE(l.all_proven());
}

TEST_CASE("a piece that is rejected is owed again, and nothing else is") {
    ledger l;
    l.reset({0, 29});
    l.take({0, 29});
    l.commit({0, 29});
    l.prove({0, 9});
    l.reject({10, 19});
    CHECK(l.owed().front() == segment{10, 19});
    CHECK(l.owed().bytes() == 10);
    CHECK(l.committed().bytes() == 20);
    CHECK(l.frontier() == 10);
    CHECK_FALSE(l.complete());
    CHECK(l.unproven_piece(10) == segment{20, 29});
    l.prove({20, 29});
    CHECK_FALSE(l.unproven_piece(10));
    l.take({10, 19});
    l.commit({10, 19});
    CHECK(l.unproven_piece(10) == segment{10, 19});
    CHECK(l.complete());
}

TEST_CASE("who begins anew has proven nothing") {
    ledger l;
    l.reset({0, 9});
    l.commit({0, 9});
    l.prove({0, 9});
    REQUIRE(l.all_proven());
    l.reset({0, 9});
    CHECK_FALSE(l.all_proven());
    CHECK(l.proven_frontier() == 0);
    CHECK_FALSE(l.unproven_piece(10));
}

TEST_CASE("pieces at the end of all offsets do not wrap") {
    ledger l;
    l.reset({0, max_offset});
    l.commit({max_offset - 4, max_offset});
    CHECK_FALSE(l.unproven_piece(10));
    // 2^64 is six more than a multiple of ten.
    l.commit({max_offset - 5, max_offset});
    CHECK(l.unproven_piece(10) == segment{max_offset - 5, max_offset});
    l.reset({max_offset, max_offset});
    l.commit({max_offset, max_offset});
    CHECK(l.unproven_piece(10) == segment{max_offset, max_offset});
    CHECK(l.unproven_piece(max_offset) == segment{max_offset, max_offset});
}

TEST_CASE("a piece is found exactly when there is one") {
    cleave_test::random_source random{8};
    for (int run = 0; run < 300; ++run) {
        CAPTURE(run);
        std::uint64_t const size = 1 + random.below(60);
        std::uint64_t const each = 1 + random.below(20);
        std::uint64_t const begin = random.below(3) * 7;
        segment const wanted{begin, begin + size - 1};
        std::uint64_t const count = (size + each - 1) / each;
        auto const piece_at = [&](std::uint64_t i) {
            return segment{begin + i * each, std::min(begin + (i + 1) * each, begin + size) - 1};
        };
        ledger l;
        l.reset(wanted);
        bool proven[60] = {};
        std::uint64_t left = count;
        while (left != 0) {
            segment s = random.within(wanted);
            s.last = s.first + (s.last - s.first) / 4;
            l.commit(s);
            l.take(s);
            bool any = false;
            for (std::uint64_t i = 0; i != count; ++i)
                any = any || (!proven[i] && l.committed().contains(piece_at(i)));
            auto const found = l.unproven_piece(each);
            REQUIRE(found.has_value() == any);
            if (!found) continue;
            std::uint64_t const i = (found->first - begin) / each;
            REQUIRE(*found == piece_at(i));
            REQUIRE_FALSE(proven[i]);
            if (random.chance(30)) {
                l.reject(*found);
                REQUIRE_FALSE(l.committed().overlaps(*found));
                REQUIRE(l.owed().contains(*found));
                continue;
            }
            l.prove(*found);
            proven[i] = true;
            --left;
            std::uint64_t run_length = 0;
            while (run_length != count && proven[run_length]) ++run_length;
            REQUIRE(l.proven_frontier() == std::min(run_length * each, size));
        }
        REQUIRE(l.all_proven());
        REQUIRE(l.complete());
    }
}
