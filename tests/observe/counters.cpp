// SPDX-License-Identifier: BSL-1.0
//
// Every event is counted where it belongs and nowhere else, and copies share what was counted,
// while it goes on too.

#include <cleave/observe/counters.hpp>

#include <laws/count_allocations.hpp>
#include <laws/observer_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>

using cleave::counters;
using namespace std::chrono_literals;

namespace {

// All numbers, so that a test sees those that it does not expect to change.
std::string all(counters const& c) {
    std::string to;
    auto const add = [&](char const* name, std::uint64_t n) {
        if (n != 0) to += std::string{name} + '=' + std::to_string(n) + ' ';
    };
    add("bytes", c->bytes);
    add("total", c->total);
    add("rate", c->rate);
    add("connected", c->connected);
    add("asked", c->asked);
    add("hedges", c->hedges);
    add("failed", c->failed);
    add("same", c->same_connection);
    add("new", c->new_connection);
    add("fresh", c->fresh_request);
    add("other", c->other_mirror);
    add("fewer", c->fewer_lanes);
    add("one", c->one_stream);
    add("version", c->new_version);
    add("none", c->none);
    add("resumed", c->bytes_resumed);
    add("refreshed", c->refreshed);
    add("not_refreshed", c->refreshes_failed);
    add("stolen", c->bytes_stolen);
    add("pieces_failed", c->pieces_failed);
    add("dropped", c->mirrors_dropped);
    add("paused", c->paused);
    add("ended", c->ended);
    add("ended_well", c->ended_well);
    return to;
}

cleave::failure const stalled = cleave::failure::of(cleave::error::stalled, cleave::phase::body);

} // namespace

TEST_CASE("each event is counted where it belongs") {
    counters c;
    CHECK(all(c) == "");

    SECTION("lanes") {
        c.on(cleave::lane_connected{3, false});
        c.on(cleave::lane_connected{4, true});
        CHECK(all(c) == "connected=2 ");
    }
    SECTION("segments") {
        c.on(cleave::segment_asked{0, {0, 9}, false});
        c.on(cleave::segment_asked{1, {0, 9}, true});
        c.on(cleave::segment_asked{1, {10, 19}, false});
        CHECK(all(c) == "asked=3 hedges=1 ");
    }
    SECTION("the object, of which no more may be wanted than a part") {
        cleave::identity known;
        c.on(cleave::object_known{known, true});
        CHECK(all(c) == "");
        known.size = 77;
        c.on(cleave::object_known{known, false});
        CHECK(all(c) == "");
        c.on(cleave::progress{10, 20, 1s, {}, 5, 2s});
        CHECK(all(c) == "bytes=10 total=20 rate=5 ");
    }
    SECTION("failures") {
        using step = cleave::next_step;
        struct row {
            step next;
            char const* counted;
        };
        for (row const& r : {row{step::same_connection, "same"}, row{step::new_connection, "new"},
                             row{step::fresh_request, "fresh"}, row{step::other_mirror, "other"},
                             row{step::fewer_lanes, "fewer"}, row{step::one_stream, "one"},
                             row{step::new_version, "version"}, row{step::none, "none"}}) {
            counters some;
            some.on(cleave::attempt_failed{0, stalled, std::nullopt, r.next});
            some.on(cleave::attempt_failed{1, stalled, 1s, r.next});
            CHECK(all(some) == std::string{"failed=2 "} + r.counted + "=2 ");
        }
    }
    SECTION("bytes of an earlier run") {
        c.on(cleave::download_resumed{1000});
        CHECK(all(c) == "resumed=1000 ");
        c.on(cleave::download_resumed{7});
        CHECK(all(c) == "resumed=1007 ");
    }
    SECTION("fresh requests") {
        c.on(cleave::request_refreshed{});
        c.on(cleave::request_refreshed{});
        CHECK(all(c) == "refreshed=2 ");
        c.on(cleave::request_refreshed{stalled.code});
        CHECK(all(c) == "refreshed=2 not_refreshed=1 ");
    }
    SECTION("stolen bytes") {
        c.on(cleave::bytes_stolen{0, 1, {100, 199}, false});
        c.on(cleave::bytes_stolen{1, 0, {0, 0}, true});
        CHECK(all(c) == "stolen=101 ");
    }
    SECTION("pieces") {
        c.on(cleave::piece_failed{7, {0, 9}});
        CHECK(all(c) == "pieces_failed=1 ");
    }
    SECTION("mirrors") {
        c.on(cleave::mirror_dropped{1, "http://one.example/", stalled});
        c.on(cleave::mirror_dropped{2, "http://two.example/", stalled});
        CHECK(all(c) == "dropped=2 ");
    }
    SECTION("pauses") {
        c.on(cleave::download_paused{true});
        CHECK(all(c) == "paused=1 ");
        c.on(cleave::download_paused{false});
        CHECK(all(c) == "");
    }
    SECTION("progress is what it was told last") {
        c.on(cleave::progress{10, 100, 1s, {}, 5, 18s});
        CHECK(all(c) == "bytes=10 total=100 rate=5 ");
        c.on(cleave::progress{20, 100, 2s, {}, 4, 20s});
        CHECK(all(c) == "bytes=20 total=100 rate=4 ");
    }
    SECTION("a good end") {
        c.on(cleave::progress{10, 100, 1s, {}, 5, 18s});
        c.on(cleave::download_ended{nullptr, 100, 3s});
        CHECK(all(c) == "bytes=100 total=100 ended=1 ended_well=1 ");
    }
    SECTION("a bad end") {
        c.on(cleave::download_ended{&stalled, 3, 3s});
        CHECK(all(c) == "bytes=3 ended=1 ");
    }
}

TEST_CASE("copies share counts, also when one of them is moved away") {
    counters seen{17ms};
    CHECK(seen.interval() == 17ms);
    CHECK(counters{}.interval() > 0s);
    counters told = seen;
    told.on(cleave::piece_failed{});
    counters moved = std::move(told);
    moved.on(cleave::piece_failed{});
    CHECK(seen->pieces_failed == 2);
    CHECK((*told).pieces_failed == 2); // NOLINT: to move one is to copy it
    CHECK(moved.interval() == 17ms);
    counters other;
    other.on(cleave::piece_failed{});
    CHECK(seen->pieces_failed == 2);
    other = seen;
    CHECK(other->pieces_failed == 2);
}

TEST_CASE("counters keep the laws of observers, and count without memory") {
    cleave_test::random_source random{1};
    CHECK(cleave_test::broken_observer(counters{}, random) == "");
    counters c;
    cleave::identity const known;
    CHECK(cleave_test::allocations_of([&] {
              c.on(cleave::lane_connected{});
              c.on(cleave::object_known{known});
              c.on(cleave::attempt_failed{0, stalled, 1s});
              c.on(cleave::mirror_dropped{1, "http://one.example/", stalled});
              c.on(cleave::progress{});
              c.on(cleave::download_ended{});
          }) == 0);
}

TEST_CASE("another thread may read while the download goes on") {
    counters c;
    std::uint64_t latest = 0;
    bool backwards = false;
    std::thread reader([seen = c, &latest, &backwards] {
        while (!seen->ended) {
            std::uint64_t const now = seen->bytes;
            backwards = backwards || now < latest;
            latest = now;
        }
        latest = seen->bytes;
        // Whoever sees the end sees all of it.
        backwards = backwards || !seen->ended_well || seen->asked != 100'000;
    });
    for (std::uint64_t i = 1; i <= 100'000; ++i) {
        c.on(cleave::segment_asked{});
        c.on(cleave::progress{i, 100'001, 1s, {}, i, {}});
    }
    c.on(cleave::download_ended{nullptr, 100'001, 1s});
    reader.join();
    CHECK(latest == 100'001);
    CHECK_FALSE(backwards);
}
