// SPDX-License-Identifier: BSL-1.0
//
// The window of an ordered sink is never overstepped, has room for all the lanes that it was
// divided among wherever it stands, and is emptied in whole chunks.

#include <cleave/engine/sink_room.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cstdint>

using cleave::max_offset;
using cleave::segment;
using cleave::sink_room;

TEST_CASE("without a window there is room for everything") {
    sink_room room;
    CHECK(room.divide(8, 1000) == 8);
    CHECK_FALSE(room.divided());
    CHECK(room.until(0) == max_offset);
    CHECK(room.part_of({5, max_offset}, 5, 5) == segment{5, max_offset});
}

TEST_CASE("a window has as many lanes as it has room for, less a chunk that may not be whole yet") {
    auto const lanes = [](std::uint64_t window, std::uint64_t chunk) {
        return sink_room{window, chunk}.divide(4, 100);
    };
    CHECK(lanes(10, 10) == 1);
    CHECK(lanes(200, 10) == 1);
    CHECK(lanes(210, 10) == 2);
    CHECK(lanes(409, 10) == 3);
    CHECK(lanes(410, 10) == 4);
    CHECK(lanes(5000, 10) == 4);
    CHECK(lanes(max_offset, max_offset) == 1);
}

TEST_CASE("wherever the window stands, each lane finds its part within it, side by side") {
    cleave_test::random_source random{1};
    for (int i = 0; i != 5000; ++i) {
        std::uint64_t const chunk = 1 + random.below(50);
        std::uint64_t const window = chunk + random.below(500);
        std::uint64_t const least = 1 + random.below(60);
        auto const most = static_cast<std::uint32_t>(1 + random.below(8));
        sink_room room{window, chunk};
        std::uint32_t const lanes = room.divide(most, least);
        std::uint64_t const first = random.below(1000);
        std::uint64_t const there = random.below(2000); // of which whole chunks were handed on
        std::uint64_t const next = first + there / chunk * chunk;
        CAPTURE(chunk, window, least, most, lanes, first, there);
        REQUIRE(lanes >= 1);
        REQUIRE(lanes <= most);
        REQUIRE(room.until(next) == next + window - 1);

        std::uint64_t at = first + there;
        for (std::uint32_t n = 0; n != lanes; ++n) {
            auto const part = room.part_of({at, 10'000}, first, next);
            REQUIRE(part);
            REQUIRE(part->first == at);
            if (lanes == 1) break; // as long as the planner makes it
            REQUIRE(part->last <= room.until(next));
            // All but the first, which may have come in part, have what they should have at least.
            if (n != 0) REQUIRE(part->size() >= least);
            at = part->last + 1;
        }
        CHECK_FALSE(room.part_of({next + window, 20'000}, first, next));
    }
}

TEST_CASE("a gap is cut, and never made longer") {
    sink_room room{1000, 10};
    REQUIRE(room.divide(3, 100) == 3); // 330 bytes each
    CHECK(room.part_of({0, 9}, 0, 0) == segment{0, 9});
    CHECK(room.part_of({0, 5000}, 0, 0) == segment{0, 329});
    CHECK(room.part_of({300, 5000}, 0, 0) == segment{300, 329});
    CHECK(room.part_of({660, 5000}, 0, 0) == segment{660, 989});
    // Not before all of it has room.
    CHECK_FALSE(room.part_of({990, 5000}, 0, 0));
    CHECK_FALSE(room.part_of({990, 5000}, 0, 310));
    CHECK(room.part_of({990, 5000}, 0, 320) == segment{990, 1319});
}

TEST_CASE("bytes are handed on in whole chunks, some at a time, and at the end all of them") {
    cleave_test::random_source random{2};
    for (int i = 0; i != 2000; ++i) {
        std::uint64_t const chunk = 1 + random.below(50);
        sink_room const room{chunk + random.below(500), chunk};
        std::uint64_t there = random.below(1000);
        CAPTURE(chunk, there);
        while (std::uint64_t const some = room.to_hand_on(there, false)) {
            REQUIRE(some % chunk == 0);
            REQUIRE(some <= there);
            there -= some;
        }
        REQUIRE(there < chunk);
        CHECK(room.to_hand_on(there, true) == there);
    }
    // A quarter of the window at a time, or a chunk where that is more.
    CHECK(sink_room{1000, 10}.to_hand_on(1000, false) == 250);
    CHECK(sink_room{1000, 60}.to_hand_on(1000, false) == 240);
    CHECK(sink_room{1000, 400}.to_hand_on(1000, false) == 400);
    CHECK(sink_room{1000, 400}.to_hand_on(1000, true) == 400);
}

TEST_CASE("at the greatest offsets nothing wraps") {
    sink_room room{max_offset, 1};
    CHECK(room.until(0) == max_offset - 1);
    CHECK(room.until(1) == max_offset);
    CHECK(room.until(max_offset) == max_offset);
    CHECK(sink_room{10, 1}.until(max_offset - 9) == max_offset);
    CHECK(sink_room{10, 1}.until(max_offset - 3) == max_offset);
    REQUIRE(room.divide(2, 1) == 2);
    CHECK(room.part_of({max_offset, max_offset}, 0, max_offset - 5) ==
          segment{max_offset, max_offset});
}
