// SPDX-License-Identifier: BSL-1.0
//
// null_sink keeps the laws of sinks, with nothing to show for it, and takes no more memory for
// a large object than for a small one.

#include <cleave/sink/null_sink.hpp>

#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>

using cleave::null_sink;

static_assert(!null_sink::traits.readable && null_sink::traits.revocable);
static_assert(!null_sink::traits.concurrent); // its lanes would write over each other
static_assert(!null_sink::traits.ordered && !null_sink::traits.system_filled);

TEST_CASE("null_sink keeps the laws of sinks") {
    cleave_test::random_source random{1};
    for (int i = 0; i < 100; ++i) {
        CAPTURE(i);
        cleave_test::sink_run const run{.size = random.chance(10) ? 0 : 1 + random.below(3000),
                                        .size_known = random.chance(50),
                                        .openings = static_cast<unsigned>(1 + random.below(3)),
                                        .portion = 1 + random.index(800),
                                        .publish = random.chance(70),
                                        .kept = false};
        null_sink sink;
        REQUIRE(cleave_test::broken_sink(sink, run, random, [] { return std::nullopt; }) == "");
    }
}

TEST_CASE("a null_sink receives everything into the same memory") {
    null_sink sink;
    std::error_code ec;
    sink.open(cleave::max_offset, ec);
    auto const first = sink.prepare(0, std::size_t{1} << 30U, ec);
    auto const last = sink.prepare(cleave::max_offset - 1, 1, ec);
    CHECK(first.size() >= 64 * 1024);
    CHECK(first.size() <= 1024 * 1024);
    CHECK(last.size() == 1);
    CHECK(last.data() == first.data());
    sink.open(std::nullopt, ec);
    CHECK(sink.prepare(0, 1, ec).data() == first.data());
    CHECK_FALSE(ec);
}

TEST_CASE("a null_sink looks at nothing that is written") {
    null_sink sink;
    std::error_code ec;
    sink.open(1, ec);
    auto const lent = sink.prepare(0, 1, ec);
    lent[0] = std::byte{7};
    std::array<std::byte, 1> const other{std::byte{9}};
    sink.write(0, other, ec);
    CHECK(lent[0] == std::byte{7});
    CHECK_FALSE(ec);
}
