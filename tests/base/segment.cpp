// SPDX-License-Identifier: BSL-1.0
//
// A segment's arithmetic: right for every pair of a small world, at the bottom and at the very top
// of 64 bits, and usable at compile time.

#include <cleave/base/segment.hpp>

#include <support/catch.hpp>

#include <compare>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

using cleave::max_offset;
using cleave::segment;

static_assert(std::is_trivially_copyable_v<segment>);
static_assert(sizeof(segment) == 16);
static_assert(max_offset == 18446744073709551615U);

// Neighbours touch; they do not overlap.
static_assert(segment{0, 1024}.precedes({1025, 2048}));
static_assert(!segment{1025, 2048}.precedes({0, 1024}));
static_assert(!segment{0, 1024}.overlaps({1025, 2048}));
static_assert(segment{0, 1024}.overlaps({1024, 2048}));
static_assert(!segment{0, 1024}.precedes({1024, 2048}));
static_assert(segment{0, 1024}.common({1024, 2048}) == segment{1024, 1024});
static_assert(!segment{0, 1024}.precedes({1026, 2048}));

// A segment is never empty, and its end never wraps.
static_assert(segment::of(0, 0) == std::nullopt);
static_assert(segment::of(max_offset, 0) == std::nullopt);
static_assert(segment::of(0, 1) == segment{0, 0});
static_assert(segment::of(7, 3) == segment{7, 9});
static_assert(segment::of(0, max_offset) == segment{0, max_offset - 1});
static_assert(segment::of(1, max_offset) == segment{1, max_offset});
static_assert(segment::of(2, max_offset) == std::nullopt);
static_assert(segment::of(max_offset, 1) == segment{max_offset, max_offset});
static_assert(segment::of(max_offset, 2) == std::nullopt);
static_assert(segment::of(max_offset, max_offset) == std::nullopt);
static_assert(segment::of(std::uint64_t{1} << 63, std::uint64_t{1} << 63) ==
              segment{std::uint64_t{1} << 63, max_offset});
static_assert(segment::of(std::uint64_t{1} << 63, (std::uint64_t{1} << 63) + 1) == std::nullopt);

static_assert(segment{}.valid() && segment{}.size() == 1);
static_assert(segment{5, 5}.valid() && !segment{6, 5}.valid());
static_assert(segment{0, max_offset - 1}.size() == max_offset);
static_assert(segment{1, max_offset}.size() == max_offset);
static_assert(segment{0, max_offset}.size() == max_offset, "2^64 cannot be said");

// Nothing comes behind the last offset there is.
static_assert(!segment{0, max_offset}.precedes({0, 5}));
static_assert(segment{0, max_offset - 1}.precedes({max_offset, max_offset}));
static_assert(segment{0, max_offset}.before(max_offset) == segment{0, max_offset - 1});
static_assert(segment{0, max_offset}.from(max_offset) == segment{max_offset, max_offset});
static_assert(segment{0, 0}.before(0) == std::nullopt);

// Ordered by the first byte, then by the last.
static_assert(segment{1, 9} < segment{2, 3} && segment{1, 2} < segment{1, 3});
static_assert((segment{1, 2} <=> segment{1, 2}) == std::strong_ordering::equal);

namespace {

// What holds of each byte of a world of nine, reckoned byte by byte.
struct world {
    std::uint64_t base;

    [[nodiscard]] bool in(segment s, std::uint64_t i) const {
        return i >= s.first - base && i <= s.last - base;
    }
    // The bytes from the first to the last for which `holds`, which are to be all of them.
    template <class F>
    [[nodiscard]] std::optional<segment> run(F holds) const {
        std::optional<segment> to;
        for (std::uint64_t i = 0; i < size; ++i) {
            if (!holds(i)) continue;
            if (!to) to = segment{base + i, base + i};
            REQUIRE(base + i - to->last <= 1);
            to->last = base + i;
        }
        return to;
    }
    static constexpr std::uint64_t size = 9;
};

} // namespace

TEST_CASE("segments agree with sets of bytes, for every pair of a small world") {
    std::uint64_t const base =
        GENERATE(std::uint64_t{0}, std::uint64_t{0xffff'fffb}, max_offset - (world::size - 1));
    CAPTURE(base);
    world const w{base};
    std::vector<segment> all;
    for (std::uint64_t i = 0; i < world::size; ++i)
        for (std::uint64_t j = i; j < world::size; ++j) all.push_back({base + i, base + j});

    for (segment const a : all) {
        CAPTURE(a.first, a.last);
        REQUIRE(a.valid());
        std::uint64_t bytes = 0;
        for (std::uint64_t i = 0; i < world::size; ++i) {
            REQUIRE(a.contains(base + i) == w.in(a, i));
            bytes += w.in(a, i) ? 1 : 0;
            REQUIRE(a.before(base + i) ==
                    w.run([&](std::uint64_t k) { return w.in(a, k) && k < i; }));
            REQUIRE(a.from(base + i) ==
                    w.run([&](std::uint64_t k) { return w.in(a, k) && k >= i; }));
        }
        REQUIRE(a.size() == bytes);
        REQUIRE(segment::of(a.first, bytes) == a);

        for (segment const b : all) {
            CAPTURE(b.first, b.last);
            auto const both = w.run([&](std::uint64_t k) { return w.in(a, k) && w.in(b, k); });
            REQUIRE(a.common(b) == both);
            REQUIRE(a.overlaps(b) == both.has_value());
            REQUIRE(a.contains(b) == (both == b));
            // Counted from the base, where nothing wraps.
            REQUIRE(a.precedes(b) == (a.last - base + 1 == b.first - base));
        }
    }
}

TEST_CASE("a segment is written with both its ends") {
    CHECK(to_string(segment{0, 1024}) == "[0,1024]");
    CHECK(to_string(segment{7, 7}) == "[7,7]");
    CHECK(to_string(segment{0, max_offset}) == "[0,18446744073709551615]");
}
