// SPDX-License-Identifier: BSL-1.0
//
// What is a request source, and what nearly is one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <cleave/source/blocking_source.hpp>
#include <cleave/source/callback_source.hpp>
#include <cleave/source/concept.hpp>
#include <cleave/source/no_source.hpp>

#include <functional>
#include <memory>
#include <system_error>
#include <type_traits>

using cleave::request;
using cleave::request_source;

namespace {

using done_function = std::function<void(std::error_code, request)>;

struct least {
    bool available() const noexcept { return true; }
    template <class Handler>
    void async_fetch(request const&, Handler&& h) {
        h(std::error_code{}, request{});
    }
};
struct takes_function : least {
    void async_fetch(request const&, done_function) {}
};
struct copies_the_old_one : least {
    template <class Handler>
    void async_fetch(request, Handler) {}
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_available : least {
    int available;
};
struct available_throws : least {
    bool available() const;
};
struct available_changes_it : least {
    bool available() noexcept;
};
struct available_answers_number : least {
    int available() const noexcept;
};
struct available_is_member : least {
    bool available;
};
struct without_fetch {
    bool available() const noexcept;
};
struct fetches_from_nothing : least {
    template <class Handler>
    void async_fetch(Handler h);
};
struct fetch_changes_the_old_one : least {
    template <class Handler>
    void async_fetch(request&, Handler h);
};
struct fetch_wants_the_handler_first : least {
    void async_fetch(done_function, request const&);
};
struct handler_gets_no_code : least {
    void async_fetch(request const&, std::function<void(request)>);
};
struct handler_gets_the_request_first : least {
    void async_fetch(request const&, std::function<void(request, std::error_code)>);
};
struct handler_must_answer : least {
    void async_fetch(request const&, std::function<bool(std::error_code, request)>);
};
struct handler_stays_outside : least {
    template <class Handler>
    void async_fetch(request const&, Handler& h);
};

// Functions that a model takes and that it does not.
template <class F>
concept calls = requires(F f) {
    cleave::callback_source{f};
};
template <class F>
concept waits_for = requires(F f) {
    cleave::blocking_source{f};
};

} // namespace

TEST_CASE("request_source: what is one") {
    STATIC_REQUIRE(request_source<least>);
    STATIC_REQUIRE(request_source<takes_function>);
    STATIC_REQUIRE(request_source<copies_the_old_one>);
    STATIC_REQUIRE(request_source<cleave::no_source>);
    auto const owns = [p = std::make_unique<int>()](request const&, done_function const&) {};
    STATIC_REQUIRE(request_source<cleave::callback_source<std::remove_const_t<decltype(owns)>>>);
    auto const owns_too = [p = std::make_unique<int>()](request const& r, std::error_code&) {
        return r;
    };
    STATIC_REQUIRE(
        request_source<cleave::blocking_source<std::remove_const_t<decltype(owns_too)>>>);
}

TEST_CASE("request_source: what nearly is one") {
    STATIC_REQUIRE_FALSE(request_source<immovable>);
    STATIC_REQUIRE_FALSE(request_source<without_available>);
    STATIC_REQUIRE_FALSE(request_source<available_throws>);
    STATIC_REQUIRE_FALSE(request_source<available_changes_it>);
    STATIC_REQUIRE_FALSE(request_source<available_answers_number>);
    STATIC_REQUIRE_FALSE(request_source<available_is_member>);
    STATIC_REQUIRE_FALSE(request_source<without_fetch>);
    STATIC_REQUIRE_FALSE(request_source<fetches_from_nothing>);
    STATIC_REQUIRE_FALSE(request_source<fetch_changes_the_old_one>);
    STATIC_REQUIRE_FALSE(request_source<fetch_wants_the_handler_first>);
    STATIC_REQUIRE_FALSE(request_source<handler_gets_no_code>);
    STATIC_REQUIRE_FALSE(request_source<handler_gets_the_request_first>);
    STATIC_REQUIRE_FALSE(request_source<handler_must_answer>);
    STATIC_REQUIRE_FALSE(request_source<handler_stays_outside>);
}

TEST_CASE("sources take functions of their own form only") {
    STATIC_REQUIRE(calls<void (*)(request const&, done_function)>);
    STATIC_REQUIRE(calls<void (*)(request, done_function const&)>);
    STATIC_REQUIRE_FALSE(calls<void (*)(done_function)>);
    STATIC_REQUIRE_FALSE(calls<void (*)(request&, done_function)>);
    STATIC_REQUIRE_FALSE(calls<void (*)(request const&, std::error_code&)>);
    STATIC_REQUIRE_FALSE(calls<int>);

    STATIC_REQUIRE(waits_for<request (*)(request const&, std::error_code&)>);
    STATIC_REQUIRE(waits_for<char const* (*)(request, std::error_code&)>);
    STATIC_REQUIRE_FALSE(waits_for<request (*)(request&, std::error_code&)>);
    STATIC_REQUIRE_FALSE(waits_for<request (*)(request const&)>);
    STATIC_REQUIRE_FALSE(waits_for<void (*)(request const&, std::error_code&)>);
    STATIC_REQUIRE_FALSE(waits_for<std::error_code (*)(request const&, request&)>);
    STATIC_REQUIRE_FALSE(waits_for<int>);
}
