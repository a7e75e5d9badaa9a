// SPDX-License-Identifier: BSL-1.0
//
// The C++ of the pages about Asio in docs/, compiled and run. Each line of a page's blocks stands
// here, in order; tests/house/readme_code.cpp holds them together.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/temp_dir.hpp>

#include <cleave/download.hpp>

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#if ASIO_VERSION < 102400
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/deferred.hpp>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <memory_resource>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace cleave_test;
using namespace std::chrono_literals;

namespace {

#if ASIO_VERSION < 102400
using asio::experimental::as_tuple;
using asio::experimental::deferred;
#else
using asio::as_tuple;
using asio::deferred;
#endif

// Of one type for all that follows: a download is compiled once for all handlers.
using executor = asio::any_io_executor;

std::string text(std::vector<std::byte> const& memory) {
    return {reinterpret_cast<char const*>(memory.data()), memory.size()};
}

// Falls silent behind the first bytes of each reply, until the client has gone.
fault_handler silent(object const& o) {
    return [&o](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        c.send(honest_206_head(o, range.first, std::min(range.second, o.bytes.size() - 1)));
        c.send_body(body(o, range.first, range.first + 99));
        c.wait_for_peer_close();
    };
}

template <class F>
void run_coroutine(F f) {
    asio::io_context context;
    bool done = false;
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
            co_await f();
            done = true;
        },
        [](std::exception_ptr thrown) {
            if (thrown) std::rethrow_exception(thrown);
        });
    context.run();
    CHECK(done);
}

} // namespace

// --- tokens.md -----------------------------------------------------------------------------------

TEST_CASE("any completion token: a function, a future, a coroutine, later, and not at all") {
    object const o = object::random(100'000, 90);
    fault_server server{honest(o)};
    std::string const url = server.url("/r");
    std::vector<std::byte> memory;
    asio::thread_pool pool{1};
    executor const ex = pool.get_executor();
    auto const sink = [&] { return cleave::memory_sink{memory}; };
    auto const how = [] { return cleave::policies<>{}; };

    SECTION("a function") {
        std::error_code ended = std::make_error_code(std::errc::operation_in_progress);
        cleave::async_download(ex, url, sink(), how(), [&](std::error_code ec, cleave::report r) {
            ended = ec;
            memory.resize(r.bytes);
        });
        pool.join();
        CHECK_FALSE(ended);
        CHECK(text(memory) == o.bytes);
    }
    SECTION("a future") {
        std::future<cleave::report> f =
            cleave::async_download(ex, url, sink(), how(), asio::use_future);
        CHECK(f.get().bytes == o.bytes.size());
        CHECK(text(memory) == o.bytes);
    }
    SECTION("later") {
        auto later = cleave::async_download(ex, url, sink(), how(), deferred);
        CHECK(server.connections() == 0);
        std::move(later)(asio::detached);
        pool.join();
        CHECK(text(memory) == o.bytes);
    }
}

TEST_CASE("a coroutine that throws away no report") {
    object const o = object::random(100'000, 91);
    fault_server server{[rest = honest(o)](fault_connection& c, seen_request const& r) {
        if (r.target == "/r") return rest(c, r);
        c.send(reply(404, "Not Found"));
    }};
    std::string url = server.url("/r");
    std::vector<std::byte> memory;
    auto const sink = [&] { return cleave::memory_sink{memory}; };
    auto const how = [] { return cleave::policies<>{}; };
    run_coroutine([&]() -> asio::awaitable<void> {
        auto const ex = co_await asio::this_coro::executor;
        cleave::report r =
            co_await cleave::async_download(ex, url, sink(), how(), asio::use_awaitable);
        CHECK(r.bytes == o.bytes.size());
        url = server.url("/missing");
        auto [ec, what] =
            co_await cleave::async_download(ex, url, sink(), how(), as_tuple(asio::use_awaitable));
        if (ec) std::cerr << what.failed->message() << " after " << what.bytes << " bytes\n";
        CHECK(ec == cleave::error::not_found);
        bool threw = false;
        try {
            co_await cleave::async_download(ex, url, sink(), how(), asio::use_awaitable);
        } catch (std::system_error const& e) {
            threw = e.code() == cleave::error::not_found;
        }
        CHECK(threw);
    });
}

// --- executors.md --------------------------------------------------------------------------------

TEST_CASE("a download runs where it is told, and its handler where that one wants to") {
    object const o = object::random(100'000, 92);
    fault_server server{honest(o)};
    std::string const url = server.url("/r");
    std::vector<std::byte> memory;
    asio::thread_pool network{2};
    asio::io_context window;
    std::thread::id drawn_by;
    auto const draw = [&](cleave::report const&) { drawn_by = std::this_thread::get_id(); };
    cleave::async_download(
        asio::any_io_executor{network.get_executor()}, url, cleave::memory_sink{memory},
        cleave::policies<>{},
        asio::bind_executor(window, [&](std::error_code, cleave::report r) { draw(r); }));
    window.run(); // returns when the handler has run: the download keeps it at work
    CHECK(drawn_by == std::this_thread::get_id());
    CHECK(text(memory) == o.bytes);
}

TEST_CASE("a download without a second thread") {
    object const o = object::random(100'000, 93);
    fault_server server{honest(o)};
    std::string const url = server.url("/r");
    temp_dir const dir;
    std::string const path = (dir / "model.bin").string();
    asio::io_context context;
    auto how = cleave::policies<>{}.with_background(cleave::same_thread{});
    cleave::async_download(executor{context.get_executor()}, url, cleave::file_sink{path},
                           std::move(how),
                           [](std::error_code ec, cleave::report const&) { CHECK_FALSE(ec); });
    context.run();
    CHECK(read_file(path) == o.bytes);
}

// --- allocators.md -------------------------------------------------------------------------------

namespace {

struct done {
    using allocator_type = std::pmr::polymorphic_allocator<std::byte>;
    allocator_type get_allocator() const noexcept { return allocator_type{memory}; }

    void operator()(std::error_code ec, cleave::report) const { *result = ec; }

    std::pmr::memory_resource* memory;
    std::error_code* result;
};

} // namespace

TEST_CASE("a handler brings its memory along") {
    object const o = object::random(100'000, 94);
    fault_server server{honest(o)};
    std::string const url = server.url("/r");
    std::vector<std::byte> memory;
    asio::io_context context;
    executor const ex = context.get_executor();
    std::array<std::byte, 4096> own;
    std::pmr::monotonic_buffer_resource buffer{own.data(), own.size(),
                                               std::pmr::null_memory_resource()};
    std::error_code result = std::make_error_code(std::errc::operation_in_progress);
    cleave::async_download(ex, url, cleave::memory_sink{memory}, cleave::policies<>{},
                           done{&buffer, &result});
    context.run();
    CHECK_FALSE(result);
    CHECK(text(memory) == o.bytes);
}

// --- cancellation.md -----------------------------------------------------------------------------

TEST_CASE("a download is given up, and goes on another time") {
    object const o = object::random(1'000'000, 95);
    std::atomic<bool> mute = true;
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        if (mute) return silent(o)(c, r);
        rest(c, r);
    }};
    std::string const url = server.url("/r");
    temp_dir const dir;
    std::string const path = (dir / "model.bin").string();
    asio::io_context context;
    executor const ex = context.get_executor();
    cleave::report got;
    auto const ended = [&](std::error_code ec, cleave::report r) {
        CHECK(ec == cleave::error::cancelled);
        got = std::move(r);
    };
    SECTION("by a signal") {
        asio::cancellation_signal stop;
        cleave::async_download(ex, url, cleave::file_sink{path}, cleave::policies<>{},
                               asio::bind_cancellation_slot(stop.slot(), ended));
        while (server.requests().empty()) context.run_one();
        stop.emit(asio::cancellation_type::terminal);
        context.run();
        CHECK(got.failed);
        CHECK_FALSE(std::filesystem::exists(path));
    }
    SECTION("by a control, from another thread") {
        cleave::control steer;
        cleave::async_download(ex, url, cleave::file_sink{path},
                               cleave::policies<>{}.with_control(steer), ended);
        std::thread other{[steer] { steer.cancel(); }};
        context.run();
        other.join();
        CHECK(got.failed);
        mute = false;
        std::error_code ec;
        (void)cleave::download(url, path, ec);
        CHECK_FALSE(ec);
        CHECK(read_file(path) == o.bytes);
    }
}

TEST_CASE("a coroutine that waits for one of two gives up the download") {
    object const o = object::random(100'000, 96);
    fault_server server{silent(o)};
    std::string const url = server.url("/r");
    std::vector<std::byte> memory;
    std::size_t which = 2;
    run_coroutine([&]() -> asio::awaitable<void> {
        auto const ex = co_await asio::this_coro::executor;
        asio::steady_timer timer{ex, 20ms};
        auto const get = [&](auto token) {
            return cleave::async_download(ex, url, cleave::memory_sink{memory},
                                          cleave::policies<>{}, token);
        };
        using namespace asio::experimental::awaitable_operators;
        auto first = co_await (get(asio::use_awaitable) || timer.async_wait(asio::use_awaitable));
        which = first.index();
    });
    CHECK(which == 1);
}

TEST_CASE("a deadline ends a download by itself") {
    object const o = object::random(100'000, 97);
    fault_server server{silent(o)};
    std::string const url = server.url("/r");
    std::vector<std::byte> memory;
    cleave::request what{url};
    what.timeouts.deadline = 20ms;
    std::error_code ec;
    (void)cleave::download(what, cleave::memory_sink{memory}, cleave::policies<>{}, ec);
    CHECK(ec == cleave::error::deadline_exceeded);
}

// --- threads.md ----------------------------------------------------------------------------------

TEST_CASE("several downloads on several threads share a rate, and are steered from outside") {
    object const o = object::random(300'000, 98);
    fault_server server{honest(o)};
    std::vector<std::string> const urls(4, server.url("/r"));
    std::vector<std::vector<std::byte>> into(urls.size());
    asio::thread_pool pool{4};
    asio::any_io_executor const ex = pool.get_executor();
    cleave::session const shared{50'000'000};
    std::vector<cleave::control> steer(urls.size());
    std::vector<std::future<cleave::report>> all;
    for (std::size_t i = 0; i != urls.size(); ++i)
        all.push_back(cleave::async_download(ex, urls[i], cleave::memory_sink{into[i]},
                                             shared.policies().with_control(steer[i]),
                                             asio::use_future));
    steer[0].pause(); // from this thread, while others run
    shared.rate(0);
    steer[0].resume();
    for (auto& one : all) CHECK(one.get().bytes == o.bytes.size());
    for (auto const& memory : into) CHECK(text(memory) == o.bytes);
}

TEST_CASE("a download on the threads of a pool") {
    object const o = object::random(300'000, 97);
    fault_server server{honest(o)};
    std::string const url = server.url("/r");
    temp_dir const dir;
    std::string const path = (dir / "model.bin").string();
    asio::thread_pool pool{4};
    std::future<cleave::report> done = cleave::async_download(
        pool.get_executor(), url, cleave::file_sink{path},
        cleave::policies<>{}.with_background(cleave::side_by_side{}), asio::use_future);
    CHECK(done.get().bytes == o.bytes.size());
    CHECK(read_file(path) == o.bytes);
    pool.join();
}
