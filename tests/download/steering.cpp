// SPDX-License-Identifier: BSL-1.0
//
// The front door's handles: a session that downloads share, and a control used from other threads
// and from inside the download's own callbacks, where things may also be begun and destroyed.
#include <support/catch.hpp>

#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>

#include <asio/io_context.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace cleave_test;
using namespace cleave::literals;
using namespace std::chrono_literals;
using cleave::error;

namespace {

std::string text(std::vector<std::byte> const& memory) {
    return {reinterpret_cast<char const*>(memory.data()), memory.size()};
}

/// Calls `f` once, at the first byte that is told of.
template <class F>
auto at_first_byte(F f) {
    return cleave::on_progress(1h, 1,
                               [f = std::move(f), done = false](cleave::progress const& p) mutable {
                                   if (p.bytes != 0 && !std::exchange(done, true)) f();
                               });
}

} // namespace

// --- session -------------------------------------------------------------------------------------

TEST_CASE("downloads of a session use each other's connections") {
    object const o = object::random(1'000'000, 60);
    fault_server server{honest(o)};
    cleave::session const session;
    for (int i = 0; i != 3; ++i) {
        auto const got =
            fetch(server.url("/r"), session.policies().with_lanes(cleave::fixed_lanes{4}));
        CHECK_FALSE(got.ec);
        CHECK((got.bytes == o.bytes));
        CHECK((got.report.kept_connections > 0) == (i > 0));
    }
    CHECK(server.connections() <= 4);
    CHECK(session.pool().size() > 0);
}

TEST_CASE("a session may go while its downloads run") {
    object const o = object::random(500'000, 62);
    fault_server server{honest(o)};
    asio::io_context context;
    std::vector<std::byte> one;
    std::vector<std::byte> other;
    int calls = 0;
    auto const count = [&](std::error_code ec, cleave::report const&) {
        CHECK_FALSE(ec);
        ++calls;
    };
    {
        cleave::session const session{50'000'000};
        for (auto* to : {&one, &other})
            cleave::async_download(context.get_executor(), server.url("/r"),
                                   cleave::memory_sink{*to}, session.policies(), count);
    }
    context.run();
    CHECK(calls == 2);
    CHECK((text(one) == o.bytes));
    CHECK((text(other) == o.bytes));
}

// --- control -------------------------------------------------------------------------------------

TEST_CASE("cancelled, paused and hurried from inside an observer") {
    object const o = object::random(500'000, 63);
    fault_server server{honest(o)};
    cleave::control const control;
    SECTION("cancelled") {
        auto const got =
            fetch(server.url("/r"), cleave::policies<>{}.with_control(control).with_observer(
                                        at_first_byte([&] { control.cancel(); })));
        // What is whole already may as well be published.
        CHECK((got.ec == error::cancelled || !got.ec));
    }
    SECTION("paused and resumed at once") {
        auto const got =
            fetch(server.url("/r"),
                  cleave::policies<>{}.with_control(control).with_observer(at_first_byte([&] {
                      control.pause();
                      control.rate(100'000'000);
                      control.resume();
                  })));
        CHECK_FALSE(got.ec);
        CHECK((got.bytes == o.bytes));
    }
}

TEST_CASE("paused from inside, resumed from another thread") {
    object const o = object::random(2'000'000, 64);
    fault_server server{honest(o)};
    cleave::control const control;
    std::promise<void> paused;
    std::thread other{[&] {
        paused.get_future().wait();
        control.resume();
    }};
    auto const got =
        fetch(server.url("/r"),
              cleave::policies<>{}.with_control(control).with_observer(at_first_byte([&] {
                  control.pause();
                  paused.set_value();
              })));
    other.join();
    CHECK_FALSE(got.ec);
    CHECK((got.bytes == o.bytes));
}

TEST_CASE("steered from four threads at once, to its end and beyond") {
    object const o = object::random(2'000'000, 65);
    fault_server server{honest(o)};
    cleave::control const control;
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    for (int i = 0; i != 4; ++i)
        others.emplace_back([&, i] {
            while (!over) {
                if (i % 2 == 0)
                    control.pause();
                else
                    control.rate(0);
                control.resume();
                std::this_thread::yield();
            }
        });
    auto const got = fetch(server.url("/r"), cleave::policies<>{}.with_control(control));
    over = true;
    for (std::thread& t : others) t.join();
    control.cancel();
    CHECK_FALSE(got.ec);
    CHECK((got.bytes == o.bytes));
}

TEST_CASE("an execution context may go while a download rests in it") {
    object const o = object::random(2'000'000, 66);
    honest_options slow;
    slow.rate = 1'000'000;
    fault_server server{honest(o, slow)};
    temp_dir const dir;
    cleave::control const control;
    {
        asio::io_context context;
        bool resting = false;
        cleave::async_download(
            context.get_executor(), server.url("/r"), cleave::file_sink{(dir / "out").string()},
            cleave::policies<>{}
                .with_journal(cleave::no_journal{})
                .with_control(control)
                .with_observer(at_first_byte([&] {
                    control.pause();
                    resting = true;
                })),
            [](std::error_code, cleave::report const&) { FAIL("it never ends"); });
        while (!resting) context.run_one();
        context.poll();
    }
    control.resume();
    CHECK(std::filesystem::is_empty(dir.path()));
}

// --- beginning and destroying from inside --------------------------------------------------------

TEST_CASE("the next download begins in the handler of the one before") {
    object const o = object::random(300'000, 67);
    fault_server server{honest(o)};
    asio::io_context context;
    std::vector<std::vector<std::byte>> memory(4);
    std::size_t done = 0;
    struct next {
        asio::io_context& context;
        std::string url;
        std::vector<std::vector<std::byte>>& memory;
        std::size_t& done;

        void begin() const {
            cleave::async_download(context.get_executor(), url, cleave::memory_sink{memory[done]},
                                   cleave::policies<>{}, *this);
        }
        void operator()(std::error_code ec, cleave::report const&) const {
            CHECK_FALSE(ec);
            if (++done != memory.size()) begin();
        }
    };
    next{context, server.url("/r"), memory, done}.begin();
    context.run();
    CHECK(done == 4);
    for (auto const& m : memory) CHECK((text(m) == o.bytes));
}

TEST_CASE("another download begins inside an observer, on the same executor") {
    object const o = object::random(300'000, 68);
    fault_server server{honest(o)};
    asio::io_context context;
    std::vector<std::byte> one;
    std::vector<std::byte> other;
    int calls = 0;
    auto const count = [&](std::error_code ec, cleave::report const&) {
        CHECK_FALSE(ec);
        ++calls;
    };
    cleave::async_download(context.get_executor(), server.url("/r"), cleave::memory_sink{one},
                           cleave::policies<>{}.with_observer(at_first_byte([&] {
                               cleave::async_download(context.get_executor(), server.url("/r"),
                                                      cleave::memory_sink{other},
                                                      cleave::policies<>{}, count);
                           })),
                           count);
    context.run();
    CHECK(calls == 2);
    CHECK((text(one) == o.bytes));
    CHECK((text(other) == o.bytes));
}

TEST_CASE("a download that ends inside a consumer's callback of another one") {
    object const o = object::random(100'000, 69);
    fault_server server{honest(o)};
    std::array<std::byte, 8192> window;
    std::optional<fetched> inner;
    std::string got;
    auto const take = [&](std::span<std::byte const> chunk) {
        if (!inner) inner = fetch(server.url("/r"), cleave::policies<>{});
        got.append(reinterpret_cast<char const*>(chunk.data()), chunk.size());
    };
    cleave::download(server.url("/r"), cleave::ordered_sink{window, 4096, take},
                     cleave::policies<>{});
    CHECK((got == o.bytes));
    REQUIRE(inner);
    CHECK((inner->bytes == o.bytes));
}

TEST_CASE("everything that the caller holds may be destroyed in the handler") {
    object const o = object::random(300'000, 70);
    fault_server server{honest(o)};
    asio::io_context context;
    struct held {
        cleave::session session{100'000'000};
        cleave::control control;
        std::vector<std::byte> memory;
        std::vector<std::byte> window = std::vector<std::byte>(65536);
        std::string got;
    };
    auto all = std::make_unique<held>();
    held& h = *all;
    bool called = false;
    auto const take = [&h](std::span<std::byte const> chunk) {
        h.got.append(reinterpret_cast<char const*>(chunk.data()), chunk.size());
    };
    cleave::async_download(
        context.get_executor(), server.url("/r"), cleave::ordered_sink{h.window, 4096, take},
        h.session.policies().with_control(h.control),
        [&called, &o, mine = std::move(all)](std::error_code ec, cleave::report const&) mutable {
            CHECK_FALSE(ec);
            CHECK((mine->got == o.bytes));
            mine.reset();
            called = true;
        });
    context.run();
    CHECK(called);
}

TEST_CASE("what an observer or a consumer throws does not get far") {
    object const o = object::random(100'000, 71);
    fault_server server{honest(o)};
    SECTION("an observer's is dropped") {
        auto const got =
            fetch(server.url("/r"), cleave::policies<>{}.with_observer(cleave::on_progress(
                                        1ns, [](cleave::progress const&) { throw 1; })));
        CHECK_FALSE(got.ec);
        CHECK((got.bytes == o.bytes));
    }
    SECTION("a consumer's ends the download") {
        std::array<std::byte, 4096> window;
        std::error_code ec;
        auto const report =
            cleave::download(server.url("/r"),
                             cleave::ordered_sink{window, 4096,
                                                  [](std::span<std::byte const>) {
                                                      throw std::system_error{std::make_error_code(
                                                          std::errc::io_error)};
                                                  }},
                             cleave::policies<>{}, ec);
        CHECK(ec == std::errc::io_error);
        CHECK(report.failed->where == cleave::phase::sink);
    }
}
