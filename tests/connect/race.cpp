// SPDX-License-Identifier: BSL-1.0
//
// The order of addresses as a function, and races between addresses of this machine: some answer,
// some refuse, some are silent; the first that connects wins, and nothing of the others is left.
#include <cleave/connect/race.hpp>

#include <support/catch.hpp>
#include <support/loopback.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using cleave_test::black_hole;
using cleave_test::loopback_listener;
using cleave_test::open_files;
using std::error_code;
using namespace std::chrono_literals;

namespace {

using endpoint = asio::ip::tcp::endpoint;
using race_type = cleave::connect_race<asio::any_io_executor>;
using clock_type = std::chrono::steady_clock;

endpoint at(char const* address, std::uint16_t port) {
    return {asio::ip::make_address(address), port};
}
endpoint of(loopback_listener const& listener) { return at("127.0.0.1", listener.port()); }
// Where nobody listens.
endpoint refused() { return of(loopback_listener{}); }
// Where this machine has no way to: TCP knows no broadcasts.
endpoint unreachable() { return at("255.255.255.255", 80); }

struct outcome {
    error_code ec;
    std::optional<endpoint> winner;
    clock_type::duration took{};
};

// Runs a race to its end, and until nothing of it is left to be done.
outcome race(std::vector<endpoint> addresses, std::chrono::nanoseconds delay) {
    asio::io_context context;
    auto const running = std::make_shared<race_type>(context.get_executor(), addresses, delay);
    std::vector<outcome> told;
    auto const begin = clock_type::now();
    running->start([&](error_code ec, race_type::socket_type socket) {
        error_code none;
        auto const peer = socket.remote_endpoint(none);
        told.push_back({ec, none ? std::nullopt : std::optional{peer}, clock_type::now() - begin});
    });
    CHECK(told.empty());
    context.run_for(30s);
    CHECK(context.stopped());
    REQUIRE(told.size() == 1);
    return told[0];
}

} // namespace

TEST_CASE("by_turns: the first one's family, the other, and so on") {
    endpoint const a4 = at("192.0.2.1", 1);
    endpoint const b4 = at("192.0.2.2", 1);
    endpoint const c4 = at("192.0.2.3", 1);
    endpoint const a6 = at("2001:db8::1", 1);
    endpoint const b6 = at("2001:db8::2", 1);
    using list = std::vector<endpoint>;
    CHECK(cleave::by_turns({}).empty());
    CHECK(cleave::by_turns({a4}) == list{a4});
    CHECK(cleave::by_turns({a6, b6, a4, b4}) == list{a6, a4, b6, b4});
    CHECK(cleave::by_turns({a4, b4, a6, b6}) == list{a4, a6, b4, b6});
    CHECK(cleave::by_turns({a6, a4, b4, c4}) == list{a6, a4, b4, c4});
    CHECK(cleave::by_turns({a4, b4, c4, a6}) == list{a4, a6, b4, c4});
    CHECK(cleave::by_turns({c4, a4, b4}) == list{c4, a4, b4});
}

TEST_CASE("connect_race: the first one answers, and no other is asked") {
    loopback_listener first;
    loopback_listener second;
    auto const o = race({of(first), of(second)}, 1h);
    CHECK_FALSE(o.ec);
    CHECK(o.winner == of(first));
    CHECK(second.quiet());
}

TEST_CASE("connect_race: behind one that fails the next comes at once") {
    loopback_listener good;
    auto const o = race({refused(), unreachable(), refused(), of(good)}, 1h);
    CHECK_FALSE(o.ec);
    CHECK(o.winner == of(good));
}

TEST_CASE("connect_race: one of two addresses is a black hole (F07)") {
    black_hole hole;
    loopback_listener good;
    auto const before = open_files();
    SECTION("the first") {
        auto const o = race({hole.endpoint(), of(good)}, 100ms);
        CHECK_FALSE(o.ec);
        CHECK(o.winner == of(good));
        CHECK(o.took >= 100ms);
        CHECK(o.took < 1s); // a SYN is sent again after a second
    }
    SECTION("the second") {
        auto const o = race({of(good), hole.endpoint()}, 1h);
        CHECK_FALSE(o.ec);
        CHECK(o.winner == of(good));
    }
    SECTION("all but the last") {
        auto const o = race({hole.endpoint(), hole.endpoint(), refused(), of(good)}, 50ms);
        CHECK_FALSE(o.ec);
        CHECK(o.winner == of(good));
        CHECK(o.took >= 100ms);
    }
    CHECK(open_files() == before);
}

TEST_CASE("connect_race: a slow one wins when those that are tried beside it fail") {
    black_hole slow;
    asio::io_context context;
    auto const running = std::make_shared<race_type>(
        context.get_executor(), std::vector{slow.endpoint(), refused(), unreachable()}, 1ms);
    int told = 0;
    running->start([&](error_code ec, race_type::socket_type socket) {
        CHECK_FALSE(ec);
        CHECK(socket.is_open());
        ++told;
    });
    context.run_for(100ms);
    CHECK(told == 0);
    slow.answer();
    context.run_for(30s);
    CHECK(told == 1);
}

TEST_CASE("connect_race: when all have failed it says what is told of the host") {
    CHECK(race({refused()}, 1h).ec == asio::error::connection_refused);
    CHECK(race({refused(), unreachable()}, 1h).ec == asio::error::connection_refused);
    CHECK(race({unreachable(), refused()}, 1h).ec == asio::error::connection_refused);
    CHECK(race({unreachable(), unreachable()}, 1h).ec == asio::error::network_unreachable);
    CHECK_FALSE(race({refused()}, 1h).winner);
}

TEST_CASE("connect_race: cancelled, it closes all at once and calls nobody") {
    black_hole hole;
    loopback_listener good;
    asio::io_context context;
    std::weak_ptr<int> alive;
    {
        // Asio opens files with the first socket and timer.
        asio::ip::tcp::socket{context, asio::ip::tcp::v4()};
        auto const before = open_files();
        auto const last = GENERATE(true, false);
        auto const held = std::make_shared<int>();
        alive = held;
        std::vector addresses{hole.endpoint(), hole.endpoint()};
        if (!last) addresses.push_back(of(good));
        auto const running =
            std::make_shared<race_type>(context.get_executor(), addresses, last ? 1ms : 50ms);
        running->start([held](error_code, race_type::socket_type) { FAIL_CHECK("called"); });
        while (open_files() != before + 2) context.run_one_for(10s);
        running->cancel();
        CHECK(open_files() == before);
    }
    CHECK(alive.expired());
    context.run_for(10s);
    CHECK(context.stopped());
    CHECK(good.quiet());
}

TEST_CASE("connect_race: nothing is left of one whose context is destroyed") {
    black_hole hole;
    auto const before = open_files();
    auto held = std::make_shared<int>();
    std::weak_ptr<int> const alive = held;
    {
        asio::io_context context;
        std::make_shared<race_type>(context.get_executor(),
                                    std::vector{hole.endpoint(), hole.endpoint()}, 1h)
            ->start([held](error_code, race_type::socket_type) { FAIL_CHECK("called"); });
        held.reset();
        context.run_for(1ms);
        CHECK_FALSE(alive.expired());
    }
    CHECK(alive.expired());
    CHECK(open_files() == before);
}
