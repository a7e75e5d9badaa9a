// SPDX-License-Identifier: BSL-1.0
//
// The network in memory, on which other tests rely: that bytes come in order, when they should and
// all of them; that connections end as the server wants; what is counted, and what is on record. A
// client of a few lines looks at it, without cleave's driver.

#include <cleave/testing/memory_network.hpp>

#include <support/catch.hpp>

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/error.hpp>
#include <asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave::testing;
using namespace std::chrono_literals;

namespace {

constexpr auto latency = memory_link{}.latency;
std::string const request = "GET /r HTTP/1.1\r\nHost: h\r\n\r\n";

cleave::url somewhere() {
    std::error_code ec;
    auto const to = cleave::url::parse("http://h/", ec);
    REQUIRE_FALSE(ec);
    return to;
}

/// A client that sends its requests and reads until the end, or until nothing comes any more.
class client {
  public:
    client(asio::io_context& context, memory_network const& network)
        : stream_(network.connector().make(context.get_executor())) {}
    client(client&&) = delete;

    void go(std::string text = request) {
        text_ = std::move(text);
        stream_.async_connect(somewhere(), [this](std::error_code ec) {
            connected = ec;
            if (ec) return;
            stream_.async_write(text_, [this](std::error_code failed) {
                if (!failed) read();
            });
        });
    }
    void close() { stream_.close(); }

    /// Reads as long as there is anything, into so many bytes at a time.
    std::size_t at_a_time = 10'000;
    std::optional<std::error_code> connected;
    std::string got;
    std::vector<std::pair<world::time, std::size_t>> arrivals; // when how many had come
    std::error_code end = asio::error::would_block;

  private:
    void read() {
        std::array<std::byte, 10'000> buffer{};
        for (;;) {
            std::error_code ec;
            std::size_t const n = stream_.read_some(std::span{buffer}.first(at_a_time), ec);
            for (std::size_t i = 0; i != n; ++i) got += static_cast<char>(buffer[i]);
            if (n != 0) continue;
            if (!got.empty() && (arrivals.empty() || arrivals.back().second != got.size()))
                arrivals.emplace_back(world::current().now(), got.size());
            end = ec;
            if (ec != asio::error::would_block) return;
            return stream_.async_wait([this](std::error_code failed) {
                if (!failed) read();
            });
        }
    }

    memory_stream<asio::io_context::executor_type> stream_;
    std::string text_;
};

/// A world with one server and one client, run until nothing happens any more.
struct visit {
    explicit visit(memory_handler handler, memory_link link = {})
        : network(std::move(handler), link), who(context, network) {}
    void run(std::string requests = request) {
        who.go(std::move(requests));
        time.run(context, [] { return false; });
    }

    world time;
    memory_network network;
    asio::io_context context;
    client who;
};

memory_handler sends(scripted_reply const& reply) {
    return [reply](memory_peer& p, seen_request const&) { send(p, reply); };
}

} // namespace

TEST_CASE("what is sent comes, in order and whole, and is counted") {
    object const o = object::random(50'000, 1);
    for (std::size_t const at_a_time : {1U, 7U, 10'000U}) {
        for (std::size_t const window : {100U, 1'000'000U}) {
            visit v{memory_network::honest(o), {.rate = 1'000'000, .piece = 999, .window = window}};
            v.who.at_a_time = at_a_time;
            v.run();
            CHECK(v.who.got == honest_200_head(o) + o.bytes);
            CHECK(v.who.end == asio::error::would_block);
            CHECK(v.network.bytes_delivered() == v.who.got.size());
            CHECK(v.network.body_bytes_sent() == o.bytes.size());
            CHECK(v.network.answered() == 1);
            REQUIRE(v.network.requests().size() == 1);
            CHECK(v.network.requests()[0].head == request);
            CHECK(v.network.open_connections() == 1);
            v.who.close();
            CHECK(v.network.open_connections() == 0);
            CHECK(v.network.peak_connections() == 1);
        }
    }
}

TEST_CASE("a scripted reply is sent as it is written: before, head and body") {
    scripted_reply reply{.before = "before ", .head = "head ", .body = "body"};
    visit v{sends(reply)};
    v.run(request + request);
    CHECK(v.who.got == "before head bodybefore head body");
    CHECK(v.network.body_bytes_sent() == 8);
    CHECK(v.network.requests().at(1).on_connection == 1);
}

TEST_CASE("a scripted reply is cut anywhere, and ends the connection in each way") {
    scripted_reply const whole{.before = "before ", .head = "head ", .body = "body"};
    std::string const all = "before head body";
    struct {
        ending is;
        std::error_code seen;
    } const endings[] = {{ending::keep, asio::error::would_block},
                         {ending::stall, asio::error::would_block},
                         {ending::fin, asio::error::eof},
                         {ending::rst, asio::error::connection_reset},
                         {ending::truncated, cleave::error::tls_truncated}};
    for (auto const& end : endings) {
        for (std::size_t cut = 0; cut != all.size() + 3; ++cut) {
            CAPTURE(end.seen.message(), cut);
            scripted_reply reply = whole;
            reply.cut_at = cut;
            reply.end = end.is;
            // Of two requests, the second one is answered where the connection is kept.
            visit v{sends(reply)};
            v.run(request + request);
            std::size_t const answers = end.is == ending::keep ? 2 : 1;
            std::string const part = all.substr(0, cut);
            CHECK(v.who.got == (answers == 2 ? part + part : part));
            CHECK(v.who.end == end.seen);
            CHECK(v.network.answered() == answers);
            std::size_t const of_body = part.size() - std::min(part.size(), all.find("body"));
            CHECK(v.network.body_bytes_sent() == answers * of_body);
            bool const open = end.is == ending::keep || end.is == ending::stall;
            CHECK(v.network.open_connections() == (open ? 1U : 0U));
        }
    }
}

TEST_CASE("a scripted reply is silent where it says so, and comes in its pieces") {
    scripted_reply reply{.head = "head ", .body = "body"};
    reply.silences = {{0, 1s}, {3, 2s}, {3, 4s}, {5, 8s}, {9, 16s}, {10, 32s}};
    reply.end = ending::fin;
    // It connects and asks in three latencies, and the reply takes another one.
    auto const begin = 4 * latency;
    using arrivals = std::vector<std::pair<world::time, std::size_t>>;
    SECTION("all of it") {
        visit v{sends(reply)};
        v.run();
        CHECK(v.who.got == "head body");
        CHECK(v.who.arrivals == arrivals{{begin + 1s, 3}, {begin + 7s, 5}, {begin + 15s, 9}});
        CHECK(v.who.end == asio::error::eof);
        CHECK(v.time.now() == begin + 31s); // the end comes after all silences
    }
    SECTION("cut") {
        reply.cut_at = 4;
        visit v{sends(reply)};
        v.run();
        CHECK(v.who.arrivals == arrivals{{begin + 1s, 3}, {begin + 7s, 4}});
    }
    SECTION("in pieces") {
        reply.silences.clear();
        reply.piece = 2;
        visit v{sends(reply), {.rate = 10}};
        v.run();
        // "he" "ad" " " "bo" "dy"; each takes as long as its bytes do.
        CHECK(v.who.arrivals == arrivals{{begin + 200ms, 2},
                                         {begin + 400ms, 4},
                                         {begin + 500ms, 5},
                                         {begin + 700ms, 7},
                                         {begin + 900ms, 9}});
    }
}

TEST_CASE("a connection fails with the error that was wished, behind the bytes before") {
    visit v{[](memory_peer& p, seen_request const&) {
        p.send("some");
        p.fail(cleave::error::tls_record_bad);
        p.send("never sent");
    }};
    v.who.at_a_time = 3;
    v.run();
    CHECK(v.who.got == "some");
    CHECK(v.who.end == cleave::error::tls_record_bad);
    CHECK(v.network.open_connections() == 0);
    CHECK(v.network.connector().classify(v.who.end) == cleave::cause::passing);
}

TEST_CASE("an end that came while nobody waited is found at once by who waits then") {
    for (ending const end : {ending::fin, ending::rst, ending::truncated}) {
        world time;
        memory_network const network{sends({.end = end})};
        asio::io_context context;
        auto s = network.connector().make(context.get_executor());
        int calls = 0;
        auto const next = [&](std::error_code ec) { calls += ec ? 100 : 1; };
        auto const settle = [&] { time.run(context, [] { return false; }); };
        s.async_connect(somewhere(), next);
        settle();
        s.async_write(request, next);
        settle();
        s.async_wait(next);
        settle();
        CHECK(calls == 3);
    }
}

TEST_CASE("an attempt to connect ends as was wished") {
    auto const reached = [](std::function<connect_result(std::size_t)> f) {
        visit v{sends({.head = "head"})};
        v.network.on_connect(std::move(f));
        v.run();
        CHECK(v.network.attempts() == 1);
        CHECK(v.network.connections() == (v.who.connected == std::error_code{} ? 1U : 0U));
        if (v.who.connected) CHECK(v.time.now() >= 2 * latency);
        return v.who.connected;
    };
    std::error_code const ok;
    CHECK(reached([](std::size_t) { return arrival::accepted; }) == ok);
    CHECK(reached([](std::size_t) { return std::error_code{}; }) == ok);
    CHECK(reached([](std::size_t) { return arrival::lost; }) == std::nullopt);
    CHECK(reached([](std::size_t) { return arrival::refused; }) ==
          std::error_code{asio::error::connection_refused});
    CHECK(reached([](std::size_t) { return arrival::unresolved; }) ==
          std::error_code{cleave::error::name_not_resolved});
    CHECK(reached([](std::size_t) { return cleave::error::certificate_expired; }) ==
          std::error_code{cleave::error::certificate_expired});
    CHECK(reached([](std::size_t attempt) -> connect_result {
              if (attempt == 0) return std::make_error_code(std::errc::network_unreachable);
              return arrival::accepted;
          }) == std::make_error_code(std::errc::network_unreachable));
}

TEST_CASE("a network that records nothing works and counts as before") {
    memory_network* to_record = nullptr;
    visit v{[&](memory_peer& p, seen_request const& r) {
        p.send(std::to_string(r.index));
        if (r.index == 1) to_record->record(true);
    }};
    to_record = &v.network;
    v.network.record(false);
    v.run(request + request + request);
    CHECK(v.who.got == "012");
    CHECK(v.network.answered() == 3);
    REQUIRE(v.network.requests().size() == 1);
    CHECK(v.network.requests()[0].index == 2);
    CHECK(v.network.log().size() == 1);
}

TEST_CASE("what happened is on record") {
    visit v{memory_network::honest(object::random(10, 1))};
    v.network.on_connect([](std::size_t attempt) -> connect_result {
        if (attempt == 0) return cleave::error::certificate_expired;
        if (attempt == 1) return arrival::lost;
        return arrival::accepted;
    });
    for (int i = 0; i != 3; ++i) v.run("GET /r HTTP/1.1\r\nRange: bytes=1-2\r\n\r\n");
    auto const ended = std::to_string((2 * latency).count());
    auto const asked = std::to_string((2 * latency + 3 * latency).count());
    CHECK(v.network.log() ==
          std::vector<std::string>{
              "0 #0 fails: " + make_error_code(cleave::error::certificate_expired).message(),
              ended + " #1 is lost", ended + " #2 connects", asked + " #2 GET /r bytes=1-2"});
}

TEST_CASE("a stream that is used against its laws says so") {
    world time;
    memory_network const network{sends({})};
    asio::io_context context;
    auto s = network.connector().make(context.get_executor());
    std::array<std::byte, 1> to{};
    std::error_code ec;
    auto const nothing = [](std::error_code) {};
    CHECK_THROWS_AS((void)s.read_some(to, ec), std::logic_error);
    CHECK_THROWS_AS(s.async_wait(nothing), std::logic_error);
    s.async_connect(somewhere(), nothing);
    CHECK_THROWS_AS(s.async_write("x", nothing), std::logic_error);
    time.run(context, [] { return false; });
    CHECK_THROWS_AS((void)s.read_some({}, ec), std::logic_error);
    s.async_wait(nothing);
    CHECK_THROWS_AS(s.async_wait(nothing), std::logic_error);
}
