// SPDX-License-Identifier: BSL-1.0
//
// Both sides of a tee hear of everything, in order, as often as either wants; one that never wants
// progress hears of none.

#include <cleave/observe/tee_observer.hpp>

#include <cleave/observe/counters.hpp>
#include <cleave/observe/log_lines.hpp>
#include <cleave/observe/on_progress.hpp>
#include <cleave/observe/silent.hpp>

#include <laws/observer_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

using cleave::tee_observer;
using namespace std::chrono_literals;

namespace {

// Writes down what it hears of, under a name.
struct scribe {
    std::string* to;
    char name;
    std::chrono::nanoseconds every{0};
    std::uint64_t bytes = 0;

    void on(cleave::lane_connected const&) noexcept { write('c'); }
    void on(cleave::segment_asked const&) noexcept { write('a'); }
    void on(cleave::object_known const&) noexcept { write('k'); }
    void on(cleave::attempt_failed const&) noexcept { write('f'); }
    void on(cleave::download_resumed const&) noexcept { write('r'); }
    void on(cleave::request_refreshed const&) noexcept { write('q'); }
    void on(cleave::bytes_stolen const&) noexcept { write('s'); }
    void on(cleave::piece_failed const&) noexcept { write('i'); }
    void on(cleave::mirror_dropped const&) noexcept { write('m'); }
    void on(cleave::download_paused const&) noexcept { write('z'); }
    void on(cleave::progress const&) noexcept { write('p'); }
    void on(cleave::download_ended const&) noexcept { write('e'); }
    std::chrono::nanoseconds interval() noexcept { return every; }
    std::uint64_t step() noexcept { return bytes; }

  private:
    void write(char what) noexcept {
        *to += name;
        *to += what;
    }
};
static_assert(cleave::observer<scribe>);

struct move_only : cleave::ignores_other_events {
    std::unique_ptr<int> something;
};

auto tee_of(std::chrono::nanoseconds a, std::uint64_t a_step, std::chrono::nanoseconds b,
            std::uint64_t b_step, std::string& to) {
    return tee_observer(scribe{&to, 'A', a, a_step}, scribe{&to, 'B', b, b_step});
}

} // namespace

TEST_CASE("both hear of every event, the first one first") {
    std::string heard;
    auto both = tee_of(1s, 0, 2s, 0, heard);
    cleave_test::random_source random{1};
    cleave_test::tell_of_everything(both, random);
    CHECK(heard == "AcBcAaBaAkBkAfBfArBrAqBqAsBsAiBiAmBmAzBzApBpAeBe");
}

TEST_CASE("the smaller interval and the smaller step count, but for those that are never") {
    struct row {
        std::chrono::nanoseconds a, b, interval;
    };
    for (row const& r : {row{1s, 2s, 1s}, row{2s, 1s, 1s}, row{0s, 3s, 3s}, row{3s, 0s, 3s},
                         row{0s, 0s, 0s}, row{1s, 1s, 1s}, row{-1s, 3s, 3s}, row{3s, -1s, 3s}}) {
        std::string heard;
        CHECK(tee_of(r.a, 0, r.b, 0, heard).interval() == r.interval);
    }
    struct step_row {
        std::uint64_t a, b, step;
    };
    for (step_row const& r :
         {step_row{1, 2, 1}, step_row{2, 1, 1}, step_row{0, 3, 3}, step_row{3, 0, 3},
          step_row{0, 0, 0}, step_row{cleave::max_offset, 5, 5}}) {
        std::string heard;
        CHECK(tee_of(0s, r.a, 0s, r.b, heard).step() == r.step);
    }
}

TEST_CASE("one that never wants progress hears of none") {
    struct row {
        std::chrono::nanoseconds a;
        std::uint64_t a_step;
        std::chrono::nanoseconds b;
        std::uint64_t b_step;
        char const* heard;
    };
    for (row const& r :
         {row{1s, 0, 0s, 0, "Ap"}, row{0s, 0, 1s, 0, "Bp"}, row{0s, 1, 0s, 0, "Ap"},
          row{0s, 0, 0s, 1, "Bp"}, row{1s, 0, 0s, 1, "ApBp"}, row{0s, 0, 0s, 0, ""}}) {
        std::string heard;
        auto both = tee_of(r.a, r.a_step, r.b, r.b_step, heard);
        both.on(cleave::progress{});
        CHECK(heard == r.heard);
    }
}

TEST_CASE("an observer without a step may stand in a tee") {
    tee_observer both(cleave::silent{}, cleave::on_progress(1s, 7, [](auto const&) {}));
    CHECK(both.interval() == 1s);
    CHECK(cleave::step_of(both) == 7);
    tee_observer none(cleave::silent{}, cleave::silent{});
    CHECK(none.interval() == 0s);
    CHECK(cleave::step_of(none) == 0);
}

TEST_CASE("tees may be nested, and hold what can only be moved") {
    std::string heard;
    cleave::counters seen;
    std::ostringstream lines;
    tee_observer all(tee_observer(seen, cleave::log_lines(lines)),
                     tee_observer(scribe{&heard, 'S', 1ms, 5}, move_only{}));
    static_assert(cleave::observer<decltype(all)>);
    CHECK(all.interval() == 1ms);
    CHECK(all.step() == 5);
    auto moved = std::move(all);
    moved.on(cleave::segment_asked{1, {0, 9}, false});
    moved.on(cleave::progress{7, 10, 1s, {}, 1, {}});
    CHECK(seen->asked == 1);
    CHECK(seen->bytes == 7);
    CHECK(lines.str() == "lane 1 asks for [0,9]\n");
    CHECK(heard == "SaSp");
}

TEST_CASE("a tee keeps the laws of observers, also when a function throws") {
    cleave_test::random_source random{2};
    CHECK(cleave_test::broken_observer(
              tee_observer(cleave::log_lines([](std::string_view) { throw 17; }),
                           cleave::on_progress(1s, 5, [](auto const&) { throw 17; })),
              random) == "");
}
