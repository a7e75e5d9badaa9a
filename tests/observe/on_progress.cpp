// SPDX-License-Identifier: BSL-1.0
//
// on_progress calls what it was given, at interval and step as given, and lets nothing of it out;
// and what it passes on says a hundred percent only when every byte is there.

#include <cleave/observe/on_progress.hpp>

#include <laws/observer_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

using cleave::max_offset;
using cleave::on_progress;
using cleave::progress;
using namespace std::chrono_literals;

namespace {

constexpr progress at(std::uint64_t bytes, std::optional<std::uint64_t> total) {
    return {bytes, total, 0ns, {}, 0, std::nullopt};
}

static_assert(at(0, std::nullopt).percent() == 0, "nobody knows of how much");
static_assert(at(5, std::nullopt).percent() == 0);
static_assert(at(0, 200).percent() == 0);
static_assert(at(1, 200).percent() == 0);
static_assert(at(2, 200).percent() == 1);
static_assert(at(199, 200).percent() == 99);
static_assert(at(200, 200).percent() == 100);
static_assert(at(201, 200).percent() == 100, "never more than everything");

} // namespace

TEST_CASE("percent is rounded down, for every small object") {
    for (std::uint64_t total = 1; total <= 300; ++total)
        for (std::uint64_t bytes = 0; bytes <= total + 3; ++bytes) {
            CAPTURE(bytes, total);
            REQUIRE(at(bytes, total).percent() == (bytes >= total ? 100 : bytes * 100 / total));
        }
}

#if defined(__SIZEOF_INT128__) // not on 32-bit systems
TEST_CASE("percent is rounded down, for the largest objects too") {
    __extension__ using wide = unsigned __int128;
    cleave_test::random_source random{1};
    auto const check = [](std::uint64_t bytes, std::uint64_t total) {
        CAPTURE(bytes, total);
        REQUIRE(at(bytes, total).percent() ==
                static_cast<unsigned>(static_cast<wide>(bytes) * 100 / total));
    };
    for (unsigned shift = 0; shift < 58; ++shift) {
        std::uint64_t const total = max_offset >> shift;
        // Of a hundred percent not the last byte is missing.
        check(total - 1, total);
        check(total, total);
        for (std::uint64_t p = 1; p < 100; ++p) {
            auto const edge = static_cast<std::uint64_t>(static_cast<wide>(total) * p / 100);
            for (std::uint64_t bytes = edge - 1; bytes != edge + 3; ++bytes) check(bytes, total);
        }
        for (int i = 0; i < 100; ++i) check(random.below(total), total);
    }
}
#endif

TEST_CASE("on_progress calls what it was given") {
    std::uint64_t seen = 0;
    int calls = 0;
    on_progress o(250ms, [&](progress const& p) {
        seen = p.bytes;
        ++calls;
    });
    CHECK(o.interval() == 250ms);
    o.on(at(17, 100));
    o.on(at(18, 100));
    CHECK(calls == 2);
    CHECK(seen == 18);
}

TEST_CASE("on_progress passes on nothing but progress") {
    int calls = 0;
    on_progress o(1s, [&](progress const&) { ++calls; });
    cleave::identity const identity;
    cleave::failure const failure;
    o.on(cleave::lane_connected{});
    o.on(cleave::segment_asked{});
    o.on(cleave::object_known{identity});
    o.on(cleave::attempt_failed{0, failure, std::nullopt});
    o.on(cleave::download_resumed{});
    o.on(cleave::request_refreshed{});
    o.on(cleave::bytes_stolen{});
    o.on(cleave::piece_failed{});
    o.on(cleave::mirror_dropped{1, "http://one.example/", failure});
    o.on(cleave::download_paused{});
    o.on(cleave::download_ended{});
    CHECK(calls == 0);
}

TEST_CASE("on_progress may be told after so many bytes too, or only then") {
    int calls = 0;
    on_progress both(250ms, 1'000'000, [&](progress const&) { ++calls; });
    CHECK(both.interval() == 250ms);
    CHECK(both.step() == 1'000'000);
    CHECK(cleave::step_of(both) == 1'000'000);
    both.on(at(1, 2));
    CHECK(calls == 1);
    on_progress bytes_only(0s, max_offset, [](progress const&) {});
    CHECK(bytes_only.interval() == 0s);
    CHECK(cleave::step_of(bytes_only) == max_offset);
    on_progress time_only(1s, [](progress const&) {});
    CHECK(cleave::step_of(time_only) == 0);
}

TEST_CASE("on_progress keeps the laws of observers, also when its function throws") {
    cleave_test::random_source random{1};
    auto const throws = [](progress const&) { throw 17; };
    CHECK(cleave_test::broken_observer(on_progress(1s, throws), random) == "");
    CHECK(cleave_test::broken_observer(on_progress(1s, 5, throws), random) == "");
}

TEST_CASE("what a progress function throws is dropped, and it is called again") {
    int calls = 0;
    on_progress o(1s, [&](progress const&) {
        if (++calls == 1) throw std::runtime_error("no");
        if (calls == 2) throw 17;
    });
    o.on(at(1, 2));
    o.on(at(1, 2));
    o.on(at(1, 2));
    CHECK(calls == 3);
}

TEST_CASE("a progress function may keep state, and be move-only") {
    auto total = std::make_unique<std::uint64_t>(0);
    auto const* const where = total.get();
    on_progress o(0s, [total = std::move(total)](progress const& p) mutable { *total += p.bytes; });
    static_assert(cleave::observer<decltype(o)>);
    auto moved = std::move(o);
    moved.on(at(3, 10));
    moved.on(at(4, 10));
    CHECK(*where == 7);
    CHECK(moved.interval() == 0ns);
}
