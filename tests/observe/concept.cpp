// SPDX-License-Identifier: BSL-1.0
//
// What is an observer, and what nearly is one: a type for each thing that may be wrong. The set of
// events is closed, so that one that was forgotten or misspelt does not compile.
#include <support/catch.hpp>

#include <cleave/observe/concept.hpp>
#include <cleave/observe/counters.hpp>
#include <cleave/observe/log_lines.hpp>
#include <cleave/observe/on_progress.hpp>
#include <cleave/observe/silent.hpp>
#include <cleave/observe/tee_observer.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <iostream>
#include <set>
#include <string_view>

using cleave::attempt_failed;
using cleave::bytes_stolen;
using cleave::download_ended;
using cleave::download_paused;
using cleave::download_resumed;
using cleave::lane_connected;
using cleave::mirror_dropped;
using cleave::object_known;
using cleave::observer;
using cleave::piece_failed;
using cleave::progress;
using cleave::request_refreshed;
using cleave::segment_asked;
using namespace std::chrono_literals;

namespace {

using duration = std::chrono::nanoseconds;

struct least {
    void on(lane_connected const&) noexcept {}
    void on(segment_asked const&) noexcept {}
    void on(object_known const&) noexcept {}
    void on(attempt_failed const&) noexcept {}
    void on(download_resumed const&) noexcept {}
    void on(request_refreshed const&) noexcept {}
    void on(bytes_stolen const&) noexcept {}
    void on(piece_failed const&) noexcept {}
    void on(mirror_dropped const&) noexcept {}
    void on(download_paused const&) noexcept {}
    void on(progress const&) noexcept {}
    void on(download_ended const&) noexcept {}
    duration interval() noexcept { return {}; }
};
struct catch_all {
    template <class Event>
    void on(Event const&) noexcept {}
    duration interval() noexcept { return {}; }
};
struct hears_of_some : cleave::ignores_other_events {
    using ignores_other_events::on;
    void on(attempt_failed const&) noexcept { ++failed; }
    int failed = 0;
};

// Each with one event that is wrong; with `void` for it nothing is.
template <class Missing>
struct all_but {
    template <class Event>
        requires(!std::same_as<Event, Missing>)
    void on(Event const&) noexcept {}
    duration interval() noexcept { return {}; }
};
template <class Thrown>
struct throws_for {
    template <class Event>
    void on(Event const&) noexcept(!std::same_as<Event, Thrown>) {}
    duration interval() noexcept { return {}; }
};
template <class Changed>
struct changes : all_but<Changed> {
    using all_but<Changed>::on;
    void on(Changed&) noexcept {}
};

template <class Event>
constexpr bool every_near_miss_of =
    !observer<all_but<Event>> && !observer<throws_for<Event>> && !observer<changes<Event>>;

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct misspelt : all_but<progress> {
    void on_progress(progress const&) noexcept;
};
// An overload in a derived class hides those of its base.
struct hides_the_others : least {
    void on(progress const&) noexcept;
};
struct forgets_using : cleave::ignores_other_events {
    void on(progress const&) noexcept;
};
struct without_interval : least {
    int interval;
};
struct interval_throws : least {
    duration interval();
};
struct interval_in_milliseconds : least {
    std::chrono::milliseconds interval() noexcept;
};
struct interval_is_member : least {
    duration interval;
};

struct with_step : least {
    std::uint64_t step() noexcept { return 17; }
};
struct step_throws : least {
    std::uint64_t step() { return 17; }
};
struct step_is_signed : least {
    std::int64_t step() noexcept { return 17; }
};
struct step_is_member : least {
    std::uint64_t step = 17;
};

} // namespace

TEST_CASE("observer: what is one") {
    STATIC_REQUIRE(observer<least>);
    STATIC_REQUIRE(observer<catch_all>);
    STATIC_REQUIRE(observer<hears_of_some>);
    STATIC_REQUIRE(observer<all_but<void>>);
    STATIC_REQUIRE(observer<throws_for<void>>);
    STATIC_REQUIRE(observer<with_step>);
    STATIC_REQUIRE(observer<cleave::ignores_other_events>);
    STATIC_REQUIRE(observer<cleave::silent>);
    STATIC_REQUIRE(observer<cleave::counters>);
    STATIC_REQUIRE(observer<cleave::on_progress<std::function<void(progress const&)>>>);
    STATIC_REQUIRE(observer<decltype(cleave::on_progress(1s, [](auto const&) {}))>);
    STATIC_REQUIRE(observer<decltype(cleave::on_progress(1s, 17, [](auto const&) {}))>);
    STATIC_REQUIRE(observer<decltype(cleave::log_lines(std::cerr))>);
    STATIC_REQUIRE(observer<decltype(cleave::log_lines([](std::string_view) {}))>);
    STATIC_REQUIRE(observer<cleave::tee_observer<least, cleave::counters>>);
}

TEST_CASE("observer: what lacks an event, throws at it or would change it") {
    STATIC_REQUIRE(every_near_miss_of<lane_connected>);
    STATIC_REQUIRE(every_near_miss_of<segment_asked>);
    STATIC_REQUIRE(every_near_miss_of<object_known>);
    STATIC_REQUIRE(every_near_miss_of<attempt_failed>);
    STATIC_REQUIRE(every_near_miss_of<download_resumed>);
    STATIC_REQUIRE(every_near_miss_of<request_refreshed>);
    STATIC_REQUIRE(every_near_miss_of<bytes_stolen>);
    STATIC_REQUIRE(every_near_miss_of<piece_failed>);
    STATIC_REQUIRE(every_near_miss_of<mirror_dropped>);
    STATIC_REQUIRE(every_near_miss_of<download_paused>);
    STATIC_REQUIRE(every_near_miss_of<progress>);
    STATIC_REQUIRE(every_near_miss_of<download_ended>);
    STATIC_REQUIRE_FALSE(every_near_miss_of<int>);
}

TEST_CASE("observer: what nearly is one") {
    STATIC_REQUIRE_FALSE(observer<immovable>);
    STATIC_REQUIRE_FALSE(observer<misspelt>);
    STATIC_REQUIRE_FALSE(observer<hides_the_others>);
    STATIC_REQUIRE_FALSE(observer<forgets_using>);
    STATIC_REQUIRE_FALSE(observer<without_interval>);
    STATIC_REQUIRE_FALSE(observer<interval_throws>);
    STATIC_REQUIRE_FALSE(observer<interval_in_milliseconds>);
    STATIC_REQUIRE_FALSE(observer<interval_is_member>);
}

TEST_CASE("a step is heeded where it is one") {
    with_step one;
    CHECK(cleave::step_of(one) == 17);
    least none;
    CHECK(cleave::step_of(none) == 0);
    step_throws thrown;
    CHECK(cleave::step_of(thrown) == 0);
    step_is_signed sign;
    CHECK(cleave::step_of(sign) == 0);
    step_is_member member;
    CHECK(cleave::step_of(member) == 0);
}

TEST_CASE("every step after a failure has its name") {
    using step = cleave::next_step;
    std::set<std::string_view> names;
    for (auto const s : {step::same_connection, step::new_connection, step::fresh_request,
                         step::fewer_lanes, step::one_stream, step::new_version, step::none})
        CHECK(names.insert(to_string(s)).second);
    std::string_view const unknown = to_string(static_cast<step>(99));
    CHECK(unknown == "unknown");
    CHECK(names.count(unknown) == 0);
    cleave::failure const what;
    CHECK(attempt_failed{0, what, {}}.next == step::none);
}

TEST_CASE("what ignores other events hears of its own") {
    hears_of_some o;
    cleave::failure const failure;
    cleave::identity const identity;
    o.on(object_known{identity});
    o.on(attempt_failed{0, failure, {}});
    o.on(progress{});
    CHECK(o.failed == 1);
    CHECK(o.interval() == 0s);
}

TEST_CASE("nobody who looks on wants to be told at no interval") {
    CHECK(cleave::silent{}.interval() == 0s);
    CHECK(cleave::on_progress(250ms, [](progress const&) {}).interval() == 250ms);
}
