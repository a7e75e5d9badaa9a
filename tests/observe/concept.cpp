// SPDX-License-Identifier: BSL-1.0
//
// What is an observer, and what nearly is one: a type for each thing that may be wrong. The set of
// events is closed, so that one that was forgotten or misspelt does not compile.
#include <support/catch.hpp>

#include <cleave/observe/concept.hpp>
#include <cleave/observe/on_progress.hpp>
#include <cleave/observe/silent.hpp>

#include <chrono>
#include <functional>

using cleave::attempt_failed;
using cleave::object_known;
using cleave::observer;
using cleave::progress;
using namespace std::chrono_literals;

namespace {

using duration = std::chrono::nanoseconds;

struct least {
    void on(object_known const&) noexcept {}
    void on(attempt_failed const&) noexcept {}
    void on(progress const&) noexcept {}
    duration interval() noexcept { return {}; }
};
struct catch_all {
    template <class Event>
    void on(Event const&) noexcept {}
    duration interval() noexcept { return {}; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_object_known {
    void on(attempt_failed const&) noexcept;
    void on(progress const&) noexcept;
    duration interval() noexcept;
};
struct without_attempt_failed {
    void on(object_known const&) noexcept;
    void on(progress const&) noexcept;
    duration interval() noexcept;
};
struct without_progress {
    void on(object_known const&) noexcept;
    void on(attempt_failed const&) noexcept;
    duration interval() noexcept;
};
struct misspelt : without_progress {
    void on_progress(progress const&) noexcept;
};
// An overload in a derived class hides those of its base.
struct hides_the_others : least {
    void on(progress const&) noexcept;
};
struct object_known_throws : least {
    using least::on;
    void on(object_known const&);
};
struct attempt_failed_throws : least {
    using least::on;
    void on(attempt_failed const&);
};
struct progress_throws : least {
    using least::on;
    void on(progress const&);
};
struct changes_events : without_progress {
    using without_progress::on;
    void on(progress&) noexcept;
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

} // namespace

TEST_CASE("observer: what is one") {
    STATIC_REQUIRE(observer<least>);
    STATIC_REQUIRE(observer<catch_all>);
    STATIC_REQUIRE(observer<cleave::silent>);
    STATIC_REQUIRE(observer<cleave::on_progress<std::function<void(progress const&)>>>);
    STATIC_REQUIRE(observer<decltype(cleave::on_progress(1s, [](auto const&) {}))>);
}

TEST_CASE("observer: what nearly is one") {
    STATIC_REQUIRE_FALSE(observer<immovable>);
    STATIC_REQUIRE_FALSE(observer<without_object_known>);
    STATIC_REQUIRE_FALSE(observer<without_attempt_failed>);
    STATIC_REQUIRE_FALSE(observer<without_progress>);
    STATIC_REQUIRE_FALSE(observer<misspelt>);
    STATIC_REQUIRE_FALSE(observer<hides_the_others>);
    STATIC_REQUIRE_FALSE(observer<object_known_throws>);
    STATIC_REQUIRE_FALSE(observer<attempt_failed_throws>);
    STATIC_REQUIRE_FALSE(observer<progress_throws>);
    STATIC_REQUIRE_FALSE(observer<changes_events>);
    STATIC_REQUIRE_FALSE(observer<without_interval>);
    STATIC_REQUIRE_FALSE(observer<interval_throws>);
    STATIC_REQUIRE_FALSE(observer<interval_in_milliseconds>);
    STATIC_REQUIRE_FALSE(observer<interval_is_member>);
}

TEST_CASE("nobody who looks on wants to be told at no interval") {
    CHECK(cleave::silent{}.interval() == 0s);
    CHECK(cleave::on_progress(250ms, [](progress const&) {}).interval() == 250ms);
}
