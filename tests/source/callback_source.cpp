// SPDX-License-Identifier: BSL-1.0
//
// callback_source hands on what its function says, once, soon or later and from any thread; also
// what it throws.

#include <cleave/source/callback_source.hpp>

#include <support/catch.hpp>

#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

using cleave::callback_source;
using cleave::request;

namespace {

using done_function = std::function<void(std::error_code, request)>;

// What a handler was told.
struct outcome {
    int calls = 0;
    std::error_code ec;
    request fresh;

    auto handler() {
        return [this](std::error_code code, request r) {
            ++calls;
            ec = code;
            fresh = std::move(r);
        };
    }
};

// What becomes of a fetch by this function, which is done when it returns.
template <class F>
outcome fetched_by(F f) {
    callback_source source(std::move(f));
    outcome got;
    source.async_fetch("http://example.org/old", got.handler());
    return got;
}

} // namespace

TEST_CASE("a callback gets the request in use, and gives the fresh one") {
    callback_source source([](request const& old, auto const& done) {
        request fresh{"http://example.org" + std::string{old.target.target()} + "?fresh"};
        done({}, std::move(fresh).with_header("Authorization", "token"));
    });
    static_assert(cleave::request_source<decltype(source)>);
    CHECK(source.available());
    for (std::string const path : {"/a", "/b"}) {
        outcome got;
        source.async_fetch("http://example.org" + path, got.handler());
        CHECK(got.calls == 1);
        CHECK_FALSE(got.ec);
        CHECK(got.fresh.target.target() == path + "?fresh");
        REQUIRE(got.fresh.headers.size() == 1);
        CHECK(got.fresh.headers[0].value == "token");
    }
}

TEST_CASE("a callback may say why there is none") {
    auto const got = fetched_by([](request const&, done_function const& done) {
        done(std::make_error_code(std::errc::permission_denied), {});
    });
    CHECK(got.calls == 1);
    CHECK(got.ec == std::errc::permission_denied);
}

TEST_CASE("a callback may be done later, on another thread, and when its source is gone") {
    outcome got;
    done_function later;
    {
        std::optional source{
            callback_source([&](request const&, done_function done) { later = std::move(done); })};
        auto moved = std::move(*source);
        source.reset();
        moved.async_fetch("http://example.org/old", got.handler());
    }
    CHECK(got.calls == 0);
    REQUIRE(later);
    std::thread([&] { later({}, "http://example.org/fresh"); }).join();
    CHECK(got.calls == 1);
    CHECK(got.fresh.target.target() == "/fresh");
}

TEST_CASE("what a handler holds goes with the last copy of done") {
    auto const held = std::make_shared<int>();
    done_function later;
    callback_source source([&](request const&, done_function const& done) { later = done; });
    source.async_fetch("http://example.org/old", [held](std::error_code, request const&) {});
    CHECK(held.use_count() == 2);
    later = nullptr;
    CHECK(held.use_count() == 1);
}

TEST_CASE("a second call of done is ignored, also of a copy") {
    auto const got = fetched_by([](request const&, done_function const& done) {
        done_function const copy = done;
        done({}, "http://example.org/first");
        done({}, "http://example.org/second");
        copy(std::make_error_code(std::errc::io_error), {});
    });
    CHECK(got.calls == 1);
    CHECK_FALSE(got.ec);
    CHECK(got.fresh.target.target() == "/first");
}

TEST_CASE("what a callback throws is why there is none") {
    auto const code_of = [](auto const& thrown) {
        auto const got = fetched_by([&](request const&, done_function const&) { throw thrown; });
        CHECK(got.calls == 1);
        CHECK(got.fresh.target.empty());
        return got.ec;
    };
    CHECK(code_of(std::system_error{cleave::error::name_not_resolved}) ==
          cleave::error::name_not_resolved);
    CHECK(code_of(std::bad_alloc{}) == std::errc::not_enough_memory);
    CHECK(code_of(std::runtime_error{"no"}) == std::errc::state_not_recoverable);
    CHECK(code_of(17) == std::errc::state_not_recoverable);
    CHECK(code_of(std::system_error{std::error_code{}}) == std::errc::state_not_recoverable);
}

TEST_CASE("what is thrown behind the call of done does not matter any more") {
    auto const got = fetched_by([](request const&, done_function const& done) {
        done({}, "http://example.org/fresh");
        throw 17;
    });
    CHECK(got.calls == 1);
    CHECK_FALSE(got.ec);
    CHECK(got.fresh.target.target() == "/fresh");
}

TEST_CASE("a callback may keep state, and be move-only") {
    auto number = std::make_unique<int>(0);
    callback_source source(
        [number = std::move(number)](request const&, done_function const& done) mutable {
            done({}, "http://example.org/" + std::to_string(++*number));
        });
    auto moved = std::move(source);
    outcome got;
    moved.async_fetch("http://example.org/old", got.handler());
    moved.async_fetch("http://example.org/old", got.handler());
    CHECK(got.fresh.target.target() == "/2");
}
