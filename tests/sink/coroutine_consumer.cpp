// SPDX-License-Identifier: BSL-1.0
//
// A coroutine that consumes chunks, on an executor of its own or on the only one there is: in
// order, one at a time, each chunk there until the coroutine has done with it.

#include <cleave/sink/coroutine_consumer.hpp>

#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>

#include <asio/awaitable.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(ASIO_HAS_CO_AWAIT)

using cleave::coroutine_consumer;
using cleave::ordered_sink;

namespace {

using chunk = std::span<std::byte const>;
using std::error_code;

} // namespace

TEST_CASE("an ordered_sink with a coroutine keeps the laws of sinks") {
    asio::thread_pool pool{2};
    cleave_test::random_source random{1};
    for (int i = 0; i < 60; ++i) {
        CAPTURE(i);
        std::size_t const size = 1 + random.index(50);
        std::vector<std::byte> storage(size * (1 + random.index(10)));
        cleave_test::sink_run const run{.size = random.chance(10) ? 0 : 1 + random.below(2000),
                                        .size_known = random.chance(50),
                                        .openings = static_cast<unsigned>(1 + random.below(3)),
                                        .portion = 1 + random.index(100),
                                        .kept = false};
        std::vector<std::byte> got;
        int running = 0;
        bool alone = true;
        auto consume = [&](chunk c) -> asio::awaitable<void> {
            alone = alone && ++running == 1;
            auto const middle = static_cast<std::ptrdiff_t>(c.size() / 2);
            got.insert(got.end(), c.begin(), c.begin() + middle);
            // Others have their turn, and perhaps another thread goes on.
            co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
            got.insert(got.end(), c.begin() + middle, c.end());
            --running;
        };
        ordered_sink sink{storage, size, coroutine_consumer{pool.get_executor(), consume}};
        REQUIRE(cleave_test::broken_sink(sink, run, random, [] { return std::nullopt; }) == "");
        REQUIRE(got.size() == run.size);
        REQUIRE(alone);
    }
}

TEST_CASE("a coroutine is given the bytes in order, and they stay until it has done") {
    asio::io_context io;
    std::array<std::byte, 8> storage{};
    std::vector<std::byte> got;
    std::vector<std::size_t> sizes;
    asio::steady_timer go{io, asio::steady_timer::time_point::max()};
    ordered_sink sink{storage, 4,
                      coroutine_consumer{io.get_executor(), [&](chunk c) -> asio::awaitable<void> {
                                             error_code ec;
                                             co_await go.async_wait(
                                                 asio::redirect_error(asio::use_awaitable, ec));
                                             got.insert(got.end(), c.begin(), c.end());
                                             sizes.push_back(c.size());
                                         }}};
    error_code ec;
    auto const to = sink.prepare(0, 8, ec);
    for (std::size_t i = 0; i < 7; ++i) to[i] = static_cast<std::byte>(i);
    std::vector<error_code> told;
    sink.async_deliver(0, 7, [&](error_code e) { told.push_back(e); });
    // Nothing runs but on its executor.
    CHECK(got.empty());
    io.poll();
    CHECK(got.empty());
    CHECK(sink.prepare(8, 1, ec).empty());
    go.cancel();
    io.restart();
    io.poll();
    CHECK(sizes == std::vector<std::size_t>{4});
    CHECK(told.empty());
    go.cancel();
    io.restart();
    io.poll();
    CHECK(sizes == std::vector<std::size_t>{4, 3});
    CHECK(told == std::vector{error_code{}});
    for (std::size_t i = 0; i < 7; ++i) CHECK(got[i] == static_cast<std::byte>(i));
}

TEST_CASE("what a coroutine throws ends the delivery") {
    asio::io_context io;
    std::array<std::byte, 8> storage{};
    error_code const broken = std::make_error_code(std::errc::io_error);
    int calls = 0;
    auto const outcome = [&](std::function<void()> const& f, bool late) {
        calls = 0;
        auto consume = [&](chunk) -> asio::awaitable<void> {
            ++calls;
            if (late) co_await asio::post(io, asio::use_awaitable);
            f();
        };
        ordered_sink sink{storage, 4, coroutine_consumer{io.get_executor(), consume}};
        std::optional<error_code> told;
        sink.async_deliver(0, 8, [&](error_code ec) { told = ec; });
        io.restart();
        io.run();
        REQUIRE(told.has_value());
        return *told;
    };
    for (bool const late : {false, true}) {
        CAPTURE(late);
        CHECK_FALSE(outcome([] {}, late));
        CHECK(calls == 2);
        CHECK(outcome([&] { throw std::system_error{broken}; }, late) == broken);
        CHECK(calls == 1);
        CHECK(outcome([] { throw std::system_error{error_code{}}; }, late) ==
              std::errc::state_not_recoverable);
        CHECK(outcome([] { throw std::bad_alloc{}; }, late) == std::errc::not_enough_memory);
        CHECK(outcome([] { throw std::runtime_error{"other"}; }, late) ==
              std::errc::state_not_recoverable);
    }
}

TEST_CASE("a function that makes an awaitable may throw before there is one") {
    asio::io_context io;
    std::array<std::byte, 8> storage{};
    auto consume = [](chunk) -> asio::awaitable<void> {
        throw std::system_error{std::make_error_code(std::errc::io_error)};
    };
    ordered_sink sink{storage, 4, coroutine_consumer{io.get_executor(), consume}};
    std::optional<error_code> told;
    sink.async_deliver(0, 4, [&](error_code ec) { told = ec; });
    CHECK_FALSE(told);
    io.run();
    REQUIRE(told.has_value());
    CHECK(*told == std::errc::io_error);
}

TEST_CASE("a coroutine that never comes to its end is an error when its context goes") {
    std::array<std::byte, 8> storage{};
    std::vector<error_code> told;
    auto io = std::make_unique<asio::io_context>();
    auto consume = [](chunk) -> asio::awaitable<void> {
        asio::steady_timer never{co_await asio::this_coro::executor,
                                 asio::steady_timer::time_point::max()};
        co_await never.async_wait(asio::use_awaitable);
    };
    {
        ordered_sink sink{storage, 4, coroutine_consumer{io->get_executor(), consume}};
        sink.async_deliver(0, 4, [&](error_code ec) { told.push_back(ec); });
        io->poll();
        CHECK(told.empty());
        io.reset();
    }
    CHECK(told == std::vector{std::make_error_code(std::errc::operation_canceled)});
}

TEST_CASE("any executor will do") {
    asio::thread_pool pool{1};
    std::array<std::byte, 8> storage{};
    int calls = 0;
    auto consume = [&](chunk) -> asio::awaitable<void> {
        ++calls;
        co_return;
    };
    auto const run = [&](auto executor) {
        ordered_sink sink{storage, 4, coroutine_consumer{executor, consume}};
        error_code ec;
        cleave_test::detail::deliver(sink, 0, 8, ec);
        CHECK_FALSE(ec);
    };
    run(pool.get_executor());
    run(asio::any_io_executor{pool.get_executor()});
    run(asio::make_strand(pool));
    CHECK(calls == 6);
}

#endif
