// SPDX-License-Identifier: BSL-1.0
//
// connection_pool hands out what was put there to whoever asks for the same origin, each
// connection once, and closes whatever is too old, too many, or left at the end.
#include <cleave/connect/pool.hpp>

#include <support/catch.hpp>
#include <support/loopback.hpp>

#include <cleave/base/url.hpp>

#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using cleave::connection_key;
using cleave::connection_layer;
using cleave::connection_pool;
using cleave::idle_connection;
using cleave::key_of;
using cleave::pool_limits;
using cleave::socket_handle;
using cleave_test::far_end;
using cleave_test::loopback_listener;
using cleave_test::open_files;
using namespace std::chrono_literals;

namespace {

using time_point = connection_pool::clock::time_point;
time_point const start{1h};

struct pair {
    socket_handle near;
    far_end far;
};

class pairs {
  public:
    explicit pairs(std::string const& address = "127.0.0.1")
        : address_(asio::ip::make_address(address)), listener_(address) {}
    pair make() {
        socket_.connect({address_, listener_.port()});
        return {socket_handle{socket_.release()}, listener_.accept()};
    }

  private:
    asio::io_context context_;
    asio::ip::tcp::socket socket_{context_}; // here, for Asio opens files with the first one
    asio::ip::address address_;
    loopback_listener listener_;
};

connection_key const origin{.scheme = "http", .host = "a.example", .port = 80, .options = {}};
connection_key const other{.scheme = "http", .host = "b.example", .port = 80, .options = {}};

connection_key key_of_text(std::string_view text) {
    std::error_code ec;
    auto const u = cleave::url::parse(text, ec);
    REQUIRE_FALSE(ec);
    return key_of(u);
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// Says goodbye on its socket when it goes.
class polite_layer : public connection_layer {
  public:
    explicit polite_layer(int fd) : fd_(fd) {}
    ~polite_layer() override { (void)::send(fd_, "bye", 3, MSG_NOSIGNAL); }
    bool is_quiet() noexcept override { return quiet; }

    bool quiet = true;

  private:
    int fd_;
};

idle_connection with_layer(socket_handle socket) {
    int const fd = socket.get();
    return {std::move(socket), std::make_unique<polite_layer>(fd)};
}

} // namespace

TEST_CASE("socket_handle: closes its socket, once") {
    pairs connections;
    auto const before = open_files();
    {
        auto [near, far] = connections.make();
        int const fd = near.get();
        CHECK(near);
        CHECK(far.quiet());

        socket_handle moved{std::move(near)};
        CHECK_FALSE(near);
        CHECK(moved.get() == fd);
        CHECK(far.quiet());

        socket_handle assigned;
        CHECK_FALSE(assigned);
        assigned = std::move(moved);
        CHECK(assigned.get() == fd);
        CHECK(far.quiet());

        socket_handle{std::move(assigned)};
        CHECK_FALSE(is_open(fd));
        CHECK(far.ended());
    }
    {
        auto [near, far] = connections.make();
        int const fd = near.release();
        CHECK_FALSE(near);
        near = socket_handle{};
        CHECK(is_open(fd));
        ::close(fd);
    }
    CHECK(open_files() == before);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<socket_handle>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<socket_handle>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<int, socket_handle>);
}

TEST_CASE("socket_handle: quiet is open and with nothing to read") {
    pairs connections;
    auto [near, far] = connections.make();
    CHECK(near.is_quiet());
    CHECK(near.is_quiet());

    SECTION("a byte came, and is still there") {
        far.write("x");
        REQUIRE(cleave_test::wait_readable(near.get()));
        CHECK_FALSE(near.is_quiet());
        CHECK_FALSE(near.is_quiet());
        char c{};
        CHECK(::recv(near.get(), &c, 1, MSG_DONTWAIT) == 1);
        CHECK(c == 'x');
        CHECK(near.is_quiet());
    }
    SECTION("the peer closed") {
        far.close();
        REQUIRE(cleave_test::wait_readable(near.get()));
        CHECK_FALSE(near.is_quiet());
    }
    SECTION("the peer reset") {
        far.reset();
        REQUIRE(cleave_test::wait_readable(near.get()));
        CHECK_FALSE(near.is_quiet());
    }
    SECTION("there is no socket") { CHECK_FALSE(socket_handle{}.is_quiet()); }
}

TEST_CASE("socket_handle: its family") {
    CHECK_FALSE(pairs{}.make().near.is_ipv6());
    CHECK_FALSE(socket_handle{}.is_ipv6());
    if (cleave_test::has_ipv6()) CHECK(pairs{"::1"}.make().near.is_ipv6());
}

TEST_CASE("connection_key: one for each origin") {
    auto const key = key_of_text("http://a.example:8080/x");
    CHECK(key == connection_key{"http", "a.example", 8080, ""});
    CHECK(key == key_of_text("http://A.example:8080/y?z"));
    CHECK(key == key_of_text("http://user:word@a.example:8080/x"));
    CHECK(key_of_text("http://a.example/") == key_of_text("http://a.example:80/"));

    CHECK_FALSE(key == key_of_text("https://a.example:8080/x"));
    CHECK_FALSE(key == key_of_text("http://b.example:8080/x"));
    CHECK_FALSE(key == key_of_text("http://a.example:8081/x"));
    CHECK_FALSE(key_of_text("http://127.0.0.1/") == key_of_text("http://localhost/"));
    CHECK_FALSE(key_of_text("http://[::1]/") == key_of_text("http://127.0.0.1/"));

    auto with_options = key;
    with_options.options = "trusts nobody";
    CHECK_FALSE(key == with_options);
}

TEST_CASE("connection_pool: a connection is handed out once, and stays open") {
    pairs connections;
    auto const before = open_files();
    {
        connection_pool pool;
        CHECK_FALSE(pool.take(origin));
        CHECK(pool.size() == 0);

        auto [near, far] = connections.make();
        int const fd = near.get();
        pool.put(origin, std::move(near));
        CHECK(pool.size() == 1);
        {
            auto const taken = pool.take(origin);
            REQUIRE(taken);
            CHECK(taken->socket.get() == fd);
            CHECK(taken->is_quiet());
            CHECK(far.quiet());
            CHECK(pool.size() == 0);
            CHECK_FALSE(pool.take(origin));
        }
        CHECK(far.ended());
    }
    CHECK(open_files() == before);
}

TEST_CASE("connection_pool: the one put there last is taken first") {
    pairs connections;
    connection_pool pool;
    std::vector<int> fds;
    for (int i = 0; i != 3; ++i) {
        auto near = connections.make().near;
        fds.push_back(near.get());
        pool.put(origin, std::move(near));
    }
    std::vector<idle_connection> taken;
    for (int i = 2; i >= 0; --i) {
        taken.push_back(pool.take(origin).value());
        CHECK(taken.back().socket.get() == fds[static_cast<std::size_t>(i)]);
    }
    CHECK_FALSE(pool.take(origin));
}

TEST_CASE("connection_pool: origins are never mixed") {
    auto const nearly = GENERATE(
        connection_key{"https", "a.example", 80, ""}, connection_key{"http", "b.example", 80, ""},
        connection_key{"http", "a.example", 81, ""}, connection_key{"http", "a.example", 80, "x"});
    pairs connections;
    connection_pool pool;
    auto near = connections.make().near;
    int const fd = near.get();
    pool.put(origin, std::move(near));
    CHECK_FALSE(pool.take(nearly));
    CHECK(pool.size() == 1);

    // One in front and one behind it, so that the search has to pass by.
    pool.put(nearly, connections.make().near);
    auto const taken = pool.take(origin);
    REQUIRE(taken);
    CHECK(taken->socket.get() == fd);
    CHECK_FALSE(pool.take(origin));
    CHECK(pool.take(nearly));
}

TEST_CASE("connection_pool: taking from the midst leaves the others as they are") {
    pairs connections;
    connection_pool pool;
    std::array<pair, 3> all{connections.make(), connections.make(), connections.make()};
    std::array<int, 3> const fds{all[0].near.get(), all[1].near.get(), all[2].near.get()};
    pool.put(origin, std::move(all[0].near));
    pool.put(other, std::move(all[1].near));
    pool.put(origin, std::move(all[2].near));

    auto const middle = pool.take(other);
    REQUIRE(middle);
    CHECK(middle->socket.get() == fds[1]);
    auto const last = pool.take(origin);
    REQUIRE(last);
    CHECK(last->socket.get() == fds[2]);
    auto const first = pool.take(origin);
    REQUIRE(first);
    CHECK(first->socket.get() == fds[0]);
    for (auto& p : all) CHECK(p.far.quiet());
}

TEST_CASE("connection_pool: what has been idle for too long is closed") {
    pairs connections;
    connection_pool pool{{.idle_time = 7s}};
    auto [old, old_far] = connections.make();
    auto [young, young_far] = connections.make();
    int const young_fd = young.get();
    pool.put(origin, std::move(old), start);
    pool.put(origin, std::move(young), start + 1ns);

    SECTION("never handed out, although nothing else is there") {
        auto const first = pool.take(origin, start + 7s);
        REQUIRE(first);
        CHECK(first->socket.get() == young_fd);
        CHECK(old_far.ended());
        CHECK_FALSE(pool.take(origin, start + 7s));
    }
    SECTION("a moment before it is") {
        auto const first = pool.take(origin, start + 7s - 1ns);
        auto const second = pool.take(origin, start + 7s - 1ns);
        CHECK(first);
        CHECK(second);
    }
    SECTION("closed whatever the pool is used for: taking another") {
        CHECK_FALSE(pool.take(other, start + 7s));
        CHECK(old_far.ended());
        CHECK(young_far.quiet());
    }
    SECTION("putting another") {
        pool.put(other, connections.make().near, start + 7s);
        CHECK(old_far.ended());
        CHECK(young_far.quiet());
    }
    SECTION("counting") {
        CHECK(pool.size(start + 7s - 1ns) == 2);
        CHECK(old_far.quiet());
        CHECK(pool.size(start + 7s) == 1);
        CHECK(old_far.ended());
        CHECK(young_far.quiet());
    }
    SECTION("by wish") {
        pool.close_idle(start + 7s - 1ns);
        CHECK(old_far.quiet());
        pool.close_idle(start + 7s);
        CHECK(old_far.ended());
        CHECK(young_far.quiet());
        pool.close_idle(start + 1h);
        CHECK(young_far.ended());
        CHECK(pool.size(start + 1h) == 0);
    }
}

TEST_CASE("connection_pool: the time begins anew with each stay") {
    pairs connections;
    connection_pool pool{{.idle_time = 7s}};
    pool.put(origin, connections.make().near, start);
    auto again = pool.take(origin, start + 6s);
    REQUIRE(again);
    pool.put(origin, std::move(*again), start + 6s);
    CHECK(pool.take(origin, start + 12s));
}

TEST_CASE("connection_pool: threads may look at the clock in another order than at the pool") {
    pairs connections;
    connection_pool pool{{.idle_time = 7s}};
    pool.put(origin, connections.make().near, start + 1s);
    pool.put(origin, connections.make().near, start);
    CHECK(pool.size(start) == 2);
    CHECK(pool.size(start + 7s) == 1);
    CHECK(pool.size(start + 8s) == 0);
}

TEST_CASE("connection_pool: by default 32 connections for 15 seconds") {
    pairs connections;
    connection_pool pool;
    std::vector<pair> all;
    for (int i = 0; i != 33; ++i) {
        all.push_back(connections.make());
        pool.put(origin, std::move(all.back().near), start);
    }
    CHECK(all.front().far.ended());
    CHECK(pool.size(start + 15s - 1ns) == 32);
    CHECK(pool.size(start + 15s) == 0);
}

TEST_CASE("connection_pool: with no room the longest idle one goes, of whatever origin") {
    pairs connections;
    connection_pool pool{{.most_idle = 2}};
    std::array<pair, 3> all{connections.make(), connections.make(), connections.make()};
    pool.put(other, std::move(all[0].near), start);
    pool.put(origin, std::move(all[1].near), start);
    CHECK(pool.size(start) == 2);
    CHECK(all[0].far.quiet());
    pool.put(origin, std::move(all[2].near), start);
    CHECK(pool.size(start) == 2);
    CHECK(all[0].far.ended());
    CHECK(all[1].far.quiet());
    CHECK(all[2].far.quiet());
    CHECK_FALSE(pool.take(other, start));
}

TEST_CASE("connection_pool: limits of nothing keep nothing") {
    auto const limits = GENERATE(pool_limits{.most_idle = 0}, pool_limits{.idle_time = 0s});
    pairs connections;
    connection_pool pool{limits};
    auto [near, far] = connections.make();
    pool.put(origin, std::move(near), start);
    CHECK_FALSE(pool.take(origin, start));
    CHECK(far.ended());
}

TEST_CASE("connection_pool: a time without end is one") {
    pairs connections;
    connection_pool pool{{.idle_time = std::chrono::nanoseconds::max()}};
    pool.put(origin, connections.make().near, start);
    CHECK(pool.take(origin, start + 24h * 365));
}

TEST_CASE("connection_pool: what speaks over a connection is kept with it") {
    pairs connections;
    connection_pool pool;
    auto [near, far] = connections.make();
    auto connection = with_layer(std::move(near));
    auto* const layer = static_cast<polite_layer*>(connection.layer.get());
    pool.put(origin, std::move(connection));
    pool.put(origin, connections.make().near);
    CHECK_FALSE(pool.take(origin)->layer);
    auto const taken = pool.take(origin);
    REQUIRE(taken);
    CHECK(taken->layer.get() == layer);
    CHECK(far.quiet());

    // What is quiet says the layer, where there is one.
    CHECK(taken->is_quiet());
    layer->quiet = false;
    CHECK_FALSE(taken->is_quiet());
    layer->quiet = true;
    far.write("a ticket");
    REQUIRE(cleave_test::wait_readable(taken->socket.get()));
    CHECK(taken->is_quiet());
    CHECK_FALSE(taken->socket.is_quiet());
}

TEST_CASE("connection_pool: what speaks over a connection goes before its socket, and no other") {
    pairs connections;
    std::optional<connection_pool> pool{pool_limits{.most_idle = 3, .idle_time = 7s}};
    std::array<pair, 4> all{connections.make(), connections.make(), connections.make(),
                            connections.make()};
    auto const put = [&](std::size_t i, connection_key const& key, time_point now = start) {
        pool->put(key, with_layer(std::move(all[i].near)), now);
    };
    put(0, origin);
    put(1, other);
    put(2, origin, start + 1s);
    std::vector<std::size_t> gone;
    SECTION("no room") {
        put(3, origin);
        gone = {0};
    }
    SECTION("too old") {
        pool->close_idle(start + 7s);
        gone = {0, 1};
    }
    SECTION("taken from the midst, and closed") {
        CHECK(pool->take(other, start));
        gone = {1};
    }
    SECTION("cleared") {
        pool->clear();
        gone = {0, 1, 2};
    }
    SECTION("with the pool") {
        pool.reset();
        gone = {0, 1, 2};
    }
    for (std::size_t i = 0; i != 3; ++i) {
        CAPTURE(i);
        if (std::find(gone.begin(), gone.end(), i) == gone.end()) {
            CHECK(all[i].far.quiet());
        } else {
            CHECK(all[i].far.read(3) == "bye");
            CHECK(all[i].far.ended());
        }
    }
}

TEST_CASE("connection_pool: nothing put there is nothing to take") {
    connection_pool pool;
    pool.put(origin, socket_handle{});
    CHECK(pool.size() == 0);
    CHECK_FALSE(pool.take(origin));
}

TEST_CASE("connection_pool: clearing closes all, and it goes on") {
    pairs connections;
    connection_pool pool;
    auto [first, first_far] = connections.make();
    auto [second, second_far] = connections.make();
    pool.put(origin, std::move(first));
    pool.put(other, std::move(second));
    pool.clear();
    CHECK(pool.size() == 0);
    CHECK(first_far.ended());
    CHECK(second_far.ended());
    pool.put(origin, connections.make().near);
    CHECK(pool.take(origin));
}

TEST_CASE("connection_pool: copies are one pool, closed with the last of them") {
    pairs connections;
    auto const before = open_files();
    auto [near, far] = connections.make();
    int const fd = near.get();
    {
        std::optional<connection_pool> copy;
        {
            connection_pool pool;
            pool.put(origin, std::move(near));
            copy = pool;
        }
        CHECK(far.quiet());
        CHECK(copy->size() == 1);
        connection_pool apart;
        CHECK(apart.size() == 0);

        connection_pool moved{std::move(*copy)};
        CHECK(copy->size() == 1);
        apart = std::move(moved);
        CHECK(moved.size() == 1);
        CHECK(apart.size() == 1);
    }
    CHECK_FALSE(is_open(fd));
    CHECK(far.ended());
    far.close();
    CHECK(open_files() == before);
}

TEST_CASE("connection_pool: started programs get nothing of it") {
    pairs connections;
    connection_pool pool;
    auto near = connections.make().near;
    REQUIRE(::fcntl(near.get(), F_SETFD, 0) == 0);
    pool.put(origin, std::move(near));
    auto const taken = pool.take(origin);
    REQUIRE(taken);
    CHECK((::fcntl(taken->socket.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("connection_pool: a forked process closes its copies and begins with nothing") {
    pairs connections;
    connection_pool pool;
    auto [near, far] = connections.make();
    auto [later, later_far] = connections.make();
    int const fd = near.get();
    pool.put(origin, std::move(near));

    pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        bool good = !pool.take(origin) && !is_open(fd) && pool.size() == 0;
        pool.put(origin, std::move(later));
        good = good && pool.size() == 1 && pool.take(origin);
        ::_exit(good ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);

    CHECK(far.quiet());
    auto const taken = pool.take(origin);
    REQUIRE(taken);
    CHECK(taken->socket.get() == fd);
    CHECK(taken->is_quiet());
}

TEST_CASE("connection_pool: many threads, and never two with one connection") {
    std::size_t const room = 4;
    int const threads = 4;
    pairs connections;
    auto const before = open_files();
    {
        connection_pool pool{{.most_idle = room, .idle_time = 1h}};
        std::vector<pair> all;
        std::array<std::atomic<int>, 1024> users{};
        for (std::size_t i = 0; i != room; ++i) {
            all.push_back(connections.make());
            pool.put(i % 2 == 0 ? origin : other, std::move(all.back().near));
        }
        std::atomic<int> shared_ones = 0;
        std::atomic<int> taken = 0;
        {
            std::vector<std::thread> running;
            for (int t = 0; t != threads; ++t)
                running.emplace_back([&, t, copy = pool]() mutable {
                    auto const& key = t % 2 == 0 ? origin : other;
                    for (int i = 0; i != 2000; ++i) {
                        auto idle = copy.take(key);
                        if (!idle) continue;
                        auto& in_use = users.at(static_cast<std::size_t>(idle->socket.get()));
                        if (in_use.fetch_add(1) != 0) ++shared_ones;
                        ++taken;
                        if (i % 64 == 0) copy.close_idle();
                        in_use.fetch_sub(1);
                        copy.put(key, std::move(*idle));
                    }
                });
            for (auto& t : running) t.join();
        }
        CHECK(shared_ones == 0);
        CHECK(taken > 0);
        CHECK(pool.size() == room);
        for (auto& p : all) CHECK(p.far.quiet());
    }
    CHECK(open_files() == before);
}
