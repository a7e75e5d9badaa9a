// SPDX-License-Identifier: BSL-1.0
//
// The front door as an Asio operation: any completion token, the handler's executor, allocator and
// cancellation slot, several threads, and steering from outside and inside.
#include <support/catch.hpp>

#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>

#include <asio.hpp>
#include <asio/experimental/as_tuple.hpp>

#include <atomic>
#include <cstddef>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

using namespace cleave_test;
using cleave::error;

namespace {

// Falls silent in the middle of the body, until the client has gone.
fault_handler silent_after(object const& o, std::size_t bytes) {
    return [&o, bytes](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        std::uint64_t const end = std::min<std::uint64_t>(range.second, o.bytes.size() - 1);
        c.send(honest_206_head(o, range.first, end));
        c.send_body(body(o, range.first, std::min(end, range.first + bytes - 1)));
        c.wait_for_peer_close();
    };
}

auto small_segments() {
    return cleave::policies<>{}
        .with_journal(cleave::no_journal{})
        .with_plan(cleave::fixed_size{10000})
        .with_lanes(cleave::fixed_lanes{4})
        .with_renewal(quick_backoff());
}

std::string text(std::vector<std::byte> const& memory) {
    return {reinterpret_cast<char const*>(memory.data()), memory.size()};
}

} // namespace

TEST_CASE("completes with a callback, never from within the call") {
    object const o = object::random(100000, 30);
    fault_server server{honest(o)};
    asio::io_context context;
    std::vector<std::byte> memory;
    int calls = 0;
    bool within = true;
    // Move-only, as handlers may be.
    cleave::async_download(
        context.get_executor(), server.url("/r"), cleave::memory_sink{memory}, small_segments(),
        [&, only = std::make_unique<int>(1)](std::error_code ec, cleave::report const& r) {
            ++calls;
            CHECK_FALSE(within);
            CHECK_FALSE(ec);
            CHECK(r.bytes == 100000);
        });
    within = false;
    CHECK(calls == 0);
    context.run();
    CHECK(calls == 1);
    CHECK(text(memory) == o.bytes);
}

TEST_CASE("a request that cannot be sent fails likewise, with the report") {
    asio::io_context context;
    struct row {
        cleave::request what;
        error why;
    };
    std::vector<row> rows{
        {"nonsense", error::bad_url},
        {"ftp://127.0.0.1/x", error::unsupported_scheme},
        {"https://127.0.0.1/x", error::tls_unavailable},
        {cleave::request{"http://127.0.0.1/"}.only({5, 3}), error::bad_segment},
        {cleave::request{"http://127.0.0.1/"}.with_header("Range", "bytes=0-1"),
         error::reserved_header},
        {cleave::request{"http://127.0.0.1/"}.with_header("X", "a\r\nb"), error::bad_header}};
    rows.push_back({"http://127.0.0.1/", error::bad_timeout});
    rows.back().what.timeouts.stall = std::chrono::seconds{0};
    for (row& r : rows) {
        std::vector<std::byte> memory;
        int calls = 0;
        cleave::async_download(context.get_executor(), r.what, cleave::memory_sink{memory},
                               cleave::policies<>{},
                               [&](std::error_code ec, cleave::report const& report) {
                                   ++calls;
                                   CHECK(ec == r.why);
                                   CHECK(ec == cleave::cause::configuration);
                                   REQUIRE(report.failed);
                                   CHECK(report.failed->where == cleave::phase::setup);
                                   CHECK(report.connections == 0);
                               });
        CHECK(calls == 0);
        context.restart();
        context.run();
        CHECK(calls == 1);
    }
}

TEST_CASE("completes with a future, and in a coroutine") {
    object const o = object::random(100000, 31);
    fault_server server{honest(o)};
    std::vector<std::byte> memory;

    asio::thread_pool pool{1};
    auto future =
        cleave::async_download(pool.get_executor(), server.url("/r"), cleave::memory_sink{memory},
                               small_segments(), asio::use_future);
    CHECK(future.get().bytes == 100000);
    pool.join();

    asio::io_context context;
    bool done = false;
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
            auto const ex = co_await asio::this_coro::executor;
            memory.clear();
            auto [ec, report] = co_await cleave::async_download(
                ex, server.url("/r"), cleave::memory_sink{memory}, small_segments(),
                asio::experimental::as_tuple(asio::use_awaitable));
            CHECK_FALSE(ec);
            CHECK(report.bytes == 100000);
            done = true;
        },
        asio::detached);
    context.run();
    CHECK(done);
    CHECK(text(memory) == o.bytes);
}

TEST_CASE("the handler runs on its associated executor") {
    object const o = object::random(50000, 32);
    fault_server server{honest(o)};
    asio::io_context io;
    asio::io_context handlers;
    std::vector<std::byte> memory;
    std::atomic<bool> called = false;
    cleave::async_download(io.get_executor(), server.url("/r"), cleave::memory_sink{memory},
                           small_segments(),
                           asio::bind_executor(handlers, [&](std::error_code ec, auto const&) {
                               CHECK_FALSE(ec);
                               called = true;
                           }));
    std::thread network{[&] { io.run(); }};
    // Work is held on the handler's executor: run() does not return before the handler ran.
    handlers.run();
    network.join();
    CHECK(called);
}

namespace {

struct counted {
    std::size_t allocated = 0;
    std::size_t released = 0;
};
template <class T>
struct counting_allocator {
    using value_type = T;
    explicit counting_allocator(counted& c) noexcept : count(&c) {}
    template <class U>
    counting_allocator(counting_allocator<U> const& other) noexcept : count(other.count) {}
    T* allocate(std::size_t n) {
        count->allocated += n * sizeof(T);
        return std::allocator<T>{}.allocate(n);
    }
    void deallocate(T* p, std::size_t n) noexcept {
        count->released += n * sizeof(T);
        std::allocator<T>{}.deallocate(p, n);
    }
    template <class U>
    bool operator==(counting_allocator<U> const& other) const noexcept {
        return count == other.count;
    }
    counted* count;
};
struct allocating_handler {
    using allocator_type = counting_allocator<char>;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type{*count}; }
    void operator()(std::error_code, cleave::report const&) const { *done = true; }
    counted* count;
    bool* done;
};

} // namespace

TEST_CASE("the handler's allocator serves its call, and gets everything back") {
    object const o = object::random(50000, 33);
    fault_server server{honest(o)};
    counted count;
    bool done = false;
    std::vector<std::byte> memory;
    {
        asio::io_context context;
        cleave::async_download(context.get_executor(), server.url("/r"),
                               cleave::memory_sink{memory}, small_segments(),
                               allocating_handler{&count, &done});
        context.run();
    }
    CHECK(done);
    CHECK(count.allocated > 0);
    CHECK(count.released == count.allocated);
}

TEST_CASE("a cancellation slot ends the download, whatever it is doing (F09)") {
    object const o = object::random(100000, 34);
    fault_server server{silent_after(o, 5000)};
    for (auto const type : {asio::cancellation_type::terminal, asio::cancellation_type::partial,
                            asio::cancellation_type::total}) {
        asio::io_context context;
        temp_dir dir;
        std::string const target = (dir / "out").string();
        asio::cancellation_signal signal;
        std::error_code ended;
        bool said = false;
        auto how = small_segments().with_observer(
            cleave::on_progress(std::chrono::milliseconds{1}, [&](cleave::progress const& p) {
                // Once something has arrived, so that there is something to leave behind.
                if (p.bytes != 0 && !std::exchange(said, true)) signal.emit(type);
            }));
        cleave::async_download(
            context.get_executor(), server.url("/r"), cleave::file_sink{target}, std::move(how),
            asio::bind_cancellation_slot(signal.slot(), [&](std::error_code ec, auto const& r) {
                ended = ec;
                CHECK(r.failed->code == ec);
            }));
        context.run();
        CHECK(ended == error::cancelled);
        CHECK(std::filesystem::is_empty(dir.path()));
    }
}

TEST_CASE("a control cancels from any thread: before, during and after") {
    object const o = object::random(100000, 35);
    fault_server server{silent_after(o, 5000)};
    std::vector<std::byte> memory;
    std::error_code ec;

    cleave::control before;
    before.cancel();
    (void)cleave::download(server.url("/r"), cleave::memory_sink{memory},
                           small_segments().with_control(before), ec);
    CHECK(ec == error::cancelled);

    cleave::control during;
    ec = {};
    std::thread other{[&] {
        server.wait_for_requests(4);
        during.cancel();
        during.cancel();
    }};
    (void)cleave::download(server.url("/r"), cleave::memory_sink{memory},
                           small_segments().with_control(during), ec);
    other.join();
    CHECK(ec == error::cancelled);
    during.cancel();
}

TEST_CASE("sink and policies are gone when the handler runs") {
    object const o = object::random(50000, 45);
    fault_server server{honest(o)};
    asio::thread_pool io{1};
    asio::io_context handlers;
    std::vector<std::byte> memory;
    auto alive = std::make_shared<int>(0);
    std::weak_ptr<int> const watched = alive;
    bool gone = false;
    cleave::async_download(
        io.get_executor(), server.url("/r"), cleave::memory_sink{memory},
        small_segments().with_observer(cleave::on_progress(
            std::chrono::milliseconds{1}, [held = std::move(alive)](cleave::progress const&) {})),
        asio::bind_executor(handlers, [&](std::error_code ec, auto const&) {
            CHECK_FALSE(ec);
            gone = watched.expired();
        }));
    handlers.run();
    CHECK(gone);
    io.join();
}

TEST_CASE("an executor with several threads") {
    object const o = object::random(3000000, 36);
    fault_server server{honest(o)};
    asio::thread_pool pool{4};
    std::vector<std::future<cleave::report>> all;
    std::vector<std::vector<std::byte>> memories(6);
    for (auto& memory : memories)
        all.push_back(cleave::async_download(pool.get_executor(), server.url("/r"),
                                             cleave::memory_sink{memory}, small_segments(),
                                             asio::use_future));
    for (auto& one : all) CHECK(one.get().bytes == o.bytes.size());
    for (auto const& memory : memories) CHECK(text(memory) == o.bytes);
    pool.join();
}

TEST_CASE("an executor with several threads, with digest and file") {
    object const o = object::random(3000000, 37);
    fault_server server{honest(o)};
    temp_dir dir;
    asio::thread_pool pool{4};
    auto how = small_segments()
                   .with_verify(cleave::sha256(sha256_hex(o.bytes)))
                   .with_windows({.hash = 300000, .hash_from = 50000});
    auto const report =
        cleave::async_download(pool.get_executor(), server.url("/r"),
                               cleave::file_sink{(dir / "out").string()}, how, asio::use_future)
            .get();
    CHECK(report.digest_verified);
    CHECK(read_file(dir / "out") == o.bytes);
    pool.join();
}

TEST_CASE("an execution context that goes away takes a running download with it") {
    object const o = object::random(100000, 38);
    fault_server server{silent_after(o, 5000)};
    temp_dir dir;
    bool called = false;
    {
        asio::io_context context;
        cleave::async_download(context.get_executor(), server.url("/r"),
                               cleave::file_sink{(dir / "out").string()}, small_segments(),
                               [&](std::error_code, auto const&) { called = true; });
        while (server.requests().size() < 4) context.run_one();
    }
    CHECK_FALSE(called);
    CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a download may be started from the handler of another") {
    object const o = object::random(50000, 39);
    fault_server server{honest(o)};
    asio::io_context context;
    std::vector<std::byte> one;
    std::vector<std::byte> two;
    bool done = false;
    cleave::async_download(context.get_executor(), server.url("/r"), cleave::memory_sink{one},
                           small_segments(), [&](std::error_code first, auto const&) {
                               CHECK_FALSE(first);
                               cleave::async_download(context.get_executor(), server.url("/r"),
                                                      cleave::memory_sink{two}, small_segments(),
                                                      [&](std::error_code second, auto const&) {
                                                          CHECK_FALSE(second);
                                                          done = true;
                                                      });
                           });
    context.run();
    CHECK(done);
    CHECK(one == two);
}
