// SPDX-License-Identifier: BSL-1.0
//
// blocking_source calls its function on a thread of its own and hands on what it answers, says or
// throws; and when it does, nothing of the function's is left on that thread.

#include <cleave/source/blocking_source.hpp>

#include <support/catch.hpp>

#include <future>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

using cleave::blocking_source;
using cleave::request;

namespace {

struct outcome {
    std::error_code ec;
    request fresh;
    std::thread::id thread;
};

// A handler that can be copied, and the outcome that it will be told.
struct waiting {
    std::shared_ptr<std::promise<outcome>> promise = std::make_shared<std::promise<outcome>>();
    std::future<outcome> result = promise->get_future();

    auto handler() {
        return [to = promise](std::error_code ec, request r) {
            to->set_value({ec, std::move(r), std::this_thread::get_id()});
        };
    }
};

template <class F>
outcome fetched_by(F f) {
    blocking_source source(std::move(f));
    waiting w;
    source.async_fetch("http://example.org/old", w.handler());
    return w.result.get();
}

} // namespace

TEST_CASE("a function gets the request in use, and answers with the fresh one") {
    std::thread::id ran_on;
    blocking_source source([&](request const& old, std::error_code&) {
        ran_on = std::this_thread::get_id();
        request fresh{"http://example.org" + std::string{old.target.target()} + "?fresh"};
        return std::move(fresh).with_header("Authorization", "token");
    });
    static_assert(cleave::request_source<decltype(source)>);
    CHECK(source.available());
    for (std::string const path : {"/a", "/b"}) {
        waiting w;
        source.async_fetch("http://example.org" + path, w.handler());
        auto const got = w.result.get();
        CHECK_FALSE(got.ec);
        CHECK(got.fresh.target.target() == path + "?fresh");
        REQUIRE(got.fresh.headers.size() == 1);
        CHECK(got.fresh.headers[0].value == "token");
        CHECK(got.thread == ran_on);
        CHECK(ran_on != std::this_thread::get_id());
    }
}

TEST_CASE("a function may say why there is none") {
    auto const got = fetched_by([](request const&, std::error_code& ec) {
        ec = std::make_error_code(std::errc::permission_denied);
        return request{};
    });
    CHECK(got.ec == std::errc::permission_denied);
}

TEST_CASE("what a function throws is why there is none") {
    auto const code_of = [](auto const& thrown) {
        auto const got =
            fetched_by([&](request const&, std::error_code&) -> request { throw thrown; });
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

TEST_CASE("nobody waits for a function that blocks, and its source may go meanwhile") {
    std::promise<void> gate;
    waiting w;
    auto const held = std::make_shared<std::string>("/fresh");
    {
        std::optional source{blocking_source(
            [opened = gate.get_future().share(), held](request const&, std::error_code&) {
                opened.wait();
                return request{"http://example.org" + *held};
            })};
        auto moved = std::move(*source);
        source.reset();
        // The old request need not stay either.
        moved.async_fetch(request{"http://example.org/old"}, w.handler());
    }
    CHECK(held.use_count() == 2);
    gate.set_value();
    CHECK(w.result.get().fresh.target.target() == "/fresh");
}

TEST_CASE("the request in use is kept for as long as the function looks at it") {
    std::promise<void> gate;
    waiting w;
    blocking_source source(
        [opened = gate.get_future().share()](request const& old, std::error_code&) {
            opened.wait();
            return old;
        });
    {
        request old = "http://example.org/a-path-that-needs-memory-of-its-own";
        source.async_fetch(old, w.handler());
    }
    gate.set_value();
    CHECK(w.result.get().fresh.target.target() == "/a-path-that-needs-memory-of-its-own");
}

TEST_CASE("nothing of the function's is left once the handler is called") {
    std::promise<void> gate;
    std::promise<long> left;
    auto held = std::make_shared<int>();
    {
        blocking_source source(
            [opened = gate.get_future().share(), held](request const& old, std::error_code&) {
                opened.wait();
                return old;
            });
        source.async_fetch("http://example.org/old", [&](std::error_code, request const&) {
            left.set_value(held.use_count());
        });
    }
    REQUIRE(held.use_count() == 2);
    gate.set_value();
    CHECK(left.get_future().get() == 1);
}

TEST_CASE("a function may keep state, and be move-only") {
    auto number = std::make_unique<int>(0);
    blocking_source source([number = std::move(number)](request const&, std::error_code&) mutable {
        return "http://example.org/" + std::to_string(++*number);
    });
    auto moved = std::move(source);
    for (std::string const path : {"/1", "/2"}) {
        waiting w;
        moved.async_fetch("http://example.org/old", w.handler());
        CHECK(w.result.get().fresh.target.target() == path);
    }
}
