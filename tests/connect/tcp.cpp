// SPDX-License-Identifier: BSL-1.0
//
// tcp_stream and tcp_connector over real sockets of this machine: what a stream promises, which
// addresses it takes, that it goes where its route leads, and that with a pool connections go from
// one stream to the next, across executors and threads, and only where they are still good.
#include <cleave/connect/tcp.hpp>

#include <support/catch.hpp>
#include <support/line_route.hpp>
#include <support/loopback.hpp>

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/connect/pool.hpp>
#include <cleave/http/request_head.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/write.hpp>

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using cleave::address_family;
using cleave::cause;
using cleave::connection_pool;
using cleave::key_of;
using cleave::socket_handle;
using cleave::tcp_connector;
using cleave::url;
using cleave_test::black_hole;
using cleave_test::far_end;
using cleave_test::line_route;
using cleave_test::loopback_listener;
using cleave_test::on_one_port;
using cleave_test::open_files;
using std::error_code;
using namespace std::chrono_literals;

namespace {

using stream_type = cleave::tcp_stream<asio::any_io_executor>;

void run(asio::io_context& context) {
    context.restart();
    context.run_for(10s);
}

// Calls `start` with a handler, and answers with what it was told, once and not from within.
template <class Start>
error_code finish(asio::io_context& context, Start start) {
    std::vector<error_code> told;
    start([&](error_code ec) { told.push_back(ec); });
    CHECK(told.empty());
    run(context);
    REQUIRE(told.size() == 1);
    return told[0];
}

// One stream on an io_context of its own.
template <class Route>
struct client_by {
    explicit client_by(cleave::basic_tcp_connector<Route> const& connector = {})
        : stream(connector.make(asio::any_io_executor{context.get_executor()})) {}

    error_code connect(url const& to) {
        return finish(context, [&](auto h) { stream.async_connect(to, h); });
    }
    error_code write(std::string_view text) {
        return finish(context, [&](auto h) { stream.async_write(text, h); });
    }
    std::string read(std::size_t n, error_code& ec) {
        std::string text(n, '\0');
        text.resize(stream.read_some(std::as_writable_bytes(std::span{text}), ec));
        return text;
    }
    error_code wait() {
        return finish(context, [&](auto h) { stream.async_wait(h); });
    }
    // Whether bytes go and come on this connection to `far`.
    bool speaks_with(far_end& far) {
        error_code ec;
        if (write("ask") || far.read(3) != "ask") return false;
        far.write("answer");
        return !wait() && read(6, ec) == "answer" && !ec;
    }

    asio::io_context context;
    cleave::tcp_stream<asio::any_io_executor, Route> stream;
};
using client = client_by<cleave::direct>;

// Until an idle connection in the pool has noticed what its far end did.
void wait_until_noticed(connection_pool& pool, url const& to) {
    auto idle = pool.take(key_of(to));
    REQUIRE(idle);
    REQUIRE(cleave_test::wait_readable(idle->socket.get()));
    pool.put(key_of(to), std::move(*idle));
}

// Answers each byte on each connection with its own letter, until it is destroyed.
class answering_server {
  public:
    explicit answering_server(char letter) : letter_(letter) {
        accept();
        thread_ = std::thread{[this] { context_.run(); }};
    }
    ~answering_server() {
        context_.stop();
        thread_.join();
    }
    url at() const {
        error_code ec;
        auto const port = std::to_string(acceptor_.local_endpoint().port());
        return url::parse("http://127.0.0.1:" + port + "/", ec);
    }
    int accepted() const { return accepted_; }

  private:
    struct session {
        explicit session(asio::ip::tcp::socket s) : socket(std::move(s)) {}
        asio::ip::tcp::socket socket;
        char byte = 0;
    };
    void accept() {
        acceptor_.async_accept([this](error_code ec, asio::ip::tcp::socket socket) {
            if (ec) return;
            ++accepted_;
            answer(std::make_shared<session>(std::move(socket)));
            accept();
        });
    }
    void answer(std::shared_ptr<session> const& s) {
        s->socket.async_read_some(asio::buffer(&s->byte, 1), [this, s](error_code ec, std::size_t) {
            if (ec) return;
            s->byte = letter_;
            asio::write(s->socket, asio::buffer(&s->byte, 1), ec);
            if (!ec) answer(s);
        });
    }

    char letter_;
    std::atomic<int> accepted_ = 0;
    asio::io_context context_{1};
    asio::ip::tcp::acceptor acceptor_{context_, {asio::ip::address_v4::loopback(), 0}};
    std::thread thread_;
};

} // namespace

TEST_CASE("tcp_stream: connects, writes, waits and reads without blocking") {
    loopback_listener listener;
    client c;
    REQUIRE_FALSE(c.connect(listener.url()));
    CHECK_FALSE(c.stream.kept());
    auto far = listener.accept();

    error_code ec;
    CHECK(c.read(10, ec).empty());
    CHECK(ec == asio::error::would_block);

    CHECK_FALSE(c.write("to the server"));
    CHECK(far.read(13) == "to the server");
    far.write("and back");
    CHECK_FALSE(c.wait());
    CHECK(c.read(100, ec) == "and back");
    CHECK_FALSE(ec);

    far.close();
    CHECK_FALSE(c.wait());
    CHECK(c.read(100, ec).empty());
    CHECK(ec == asio::error::eof);
}

TEST_CASE("tcp_stream: resolves names, and IPv6 addresses") {
    SECTION("localhost") {
        loopback_listener listener;
        client c;
        REQUIRE_FALSE(c.connect(listener.url("localhost")));
        auto far = listener.accept();
        CHECK(c.speaks_with(far));
    }
    SECTION("::1") {
        if (!cleave_test::has_ipv6()) return;
        loopback_listener listener{"::1"};
        client c;
        REQUIRE_FALSE(c.connect(listener.url("[::1]")));
        auto far = listener.accept();
        CHECK(c.speaks_with(far));
    }
}

TEST_CASE("tcp_stream: says when nobody listens") {
    auto const nobody = loopback_listener{}.url();
    client c;
    CHECK(c.connect(nobody) == asio::error::connection_refused);
    CHECK_FALSE(c.stream.kept());
}

TEST_CASE("tcp_stream: a name that does not resolve is an error of its own, and may pass (F07)") {
    error_code ec;
    // RFC 6761, section 6.4: never there.
    auto const nowhere = url::parse("http://name.invalid/", ec);
    auto const family = GENERATE(address_family::any, address_family::ipv4, address_family::ipv6);
    tcp_connector const connector{.family = family};
    client c{connector};
    CHECK(c.connect(nowhere) == cleave::error::name_not_resolved);
    CHECK(connector.classify(cleave::error::name_not_resolved) == cause::passing);
    CHECK(cleave::detail::is_of_resolver(asio::error::host_not_found_try_again));
    CHECK(cleave::detail::is_of_resolver(asio::error::service_not_found));
    CHECK_FALSE(cleave::detail::is_of_resolver(asio::error::connection_refused));
}

TEST_CASE("tcp_stream: addresses of the family that is wanted") {
    if (!cleave_test::has_ipv6()) return;
    auto const [four, six] = on_one_port<loopback_listener, loopback_listener>();
    struct row {
        std::string host;
        address_family family;
        loopback_listener* leads_to; // null: it has none of these
        error_code why = {};
    };
    // A name may get such an address, an address does not change.
    error_code const none = cleave::error::name_not_resolved;
    error_code const never = asio::error::address_family_not_supported;
    for (auto const& [host, family, leads_to, why] :
         {row{"127.0.0.1", address_family::any, four.get()},
          row{"[::1]", address_family::any, six.get()},
          row{"127.0.0.1", address_family::ipv4, four.get()},
          row{"[::1]", address_family::ipv6, six.get()},
          row{"127.0.0.1", address_family::ipv6, nullptr, never},
          row{"[::1]", address_family::ipv4, nullptr, never},
          row{"six-four.test", address_family::any, six.get()},
          row{"four-six.test", address_family::any, four.get()},
          row{"six-four.test", address_family::ipv4, four.get()},
          row{"four-six.test", address_family::ipv6, six.get()},
          row{"four.test", address_family::ipv4, four.get()},
          row{"four.test", address_family::ipv6, nullptr, none}}) {
        CAPTURE(host, static_cast<int>(family));
        client c{tcp_connector{.family = family}};
        auto const ec = c.connect(four->url(host));
        if (leads_to == nullptr) {
            CHECK(ec == why);
            continue;
        }
        REQUIRE_FALSE(ec);
        auto far = leads_to->accept();
        CHECK(c.speaks_with(far));
    }
    CHECK(four->quiet());
    CHECK(six->quiet());
}

TEST_CASE("tcp_stream: an address of the wrong family, also a proxy's, is for the caller to mend") {
    error_code none;
    auto const to = url::parse("http://127.0.0.1/", none);
    tcp_connector const connector{.family = address_family::ipv6};
    auto const ec = client{connector}.connect(to);
    CHECK(ec == asio::error::address_family_not_supported);
    CHECK(connector.classify({ec.value(), std::system_category()}) == cause::configuration);
    client_by<line_route> c{connector.via(line_route{{"127.0.0.1", 1}})};
    CHECK(c.connect(url::parse("http://a.example/", none)) == ec);
    // Given up before it is told.
    CHECK(finish(c.context, [&](auto h) {
              c.stream.async_connect(to, h);
              c.stream.close();
          }) == asio::error::operation_aborted);
}

TEST_CASE("tcp_stream: of two addresses one is dead (F07)") {
    if (!cleave_test::has_ipv6()) return;
    auto const host = GENERATE("six-four.test", "four-six.test");
    auto const connects = [&](loopback_listener& good) {
        auto const before = open_files();
        {
            client c{tcp_connector{.attempt_delay = 50ms}};
            auto const begin = std::chrono::steady_clock::now();
            REQUIRE_FALSE(c.connect(good.url(host)));
            CHECK(std::chrono::steady_clock::now() - begin < 900ms); // when SYNs are sent again
            auto far = good.accept();
            CHECK(c.speaks_with(far));
        }
        CHECK(open_files() == before);
    };
    SECTION("IPv4, which refuses") {
        loopback_listener six{"::1"};
        connects(six);
    }
    SECTION("IPv6, which refuses") {
        loopback_listener four;
        connects(four);
    }
    SECTION("IPv4, which is silent") {
        auto const [four, six] = on_one_port<black_hole, loopback_listener>();
        connects(*six);
    }
    SECTION("IPv6, which is silent") {
        auto const [four, six] = on_one_port<loopback_listener, black_hole>();
        connects(*four);
    }
}

TEST_CASE("tcp_stream: given up while addresses race, nothing is left at once") {
    if (!cleave_test::has_ipv6()) return;
    auto const [four, six] = on_one_port<black_hole, black_hole>();
    error_code none;
    auto const to = url::parse("http://six-four.test:" + std::to_string(six->port()) + "/", none);
    client c{tcp_connector{.attempt_delay = 1ms}};
    auto const before = open_files();
    std::vector<error_code> told;
    c.stream.async_connect(to, [&](error_code ec) { told.push_back(ec); });
    while (open_files() < before + 2) c.context.run_one_for(10s);
    c.stream.close();
    CHECK(open_files() <= before);
    CHECK(told.empty());
    run(c.context);
    CHECK(c.context.stopped());
    CHECK(told == std::vector<error_code>{asio::error::operation_aborted});
}

TEST_CASE("tcp_stream: by way of a route") {
    loopback_listener proxy;
    auto const hop = std::make_shared<cleave::proxy_hop const>();
    auto const connector = tcp_connector{}.via(line_route{{"127.0.0.1", proxy.port()}, hop});
    error_code none;
    auto const to = url::parse("http://origin.example/", none);
    client_by<line_route> c{connector};
    std::vector<error_code> told;
    auto const note = [&](error_code ec) { told.push_back(ec); };
    auto const until_asked = [&] {
        c.context.restart();
        c.stream.async_connect(to, note);
        while (proxy.quiet()) c.context.run_one_for(10ms);
        auto far = proxy.accept();
        while (far.quiet()) c.context.run_one_for(10ms);
        CHECK(far.read(15) == "origin.example\n");
        CHECK(told.empty());
        return far;
    };
    SECTION("it goes on where the route is open, with the first byte behind that") {
        auto far = until_asked();
        far.write("ok\nanswer");
        run(c.context);
        REQUIRE(told == std::vector<error_code>{{}});
        CHECK(c.stream.about().proxy == hop.get());
        CHECK(c.stream.about().handshake == cleave::handshake::none);
        error_code ec;
        CHECK(c.read(100, ec) == "answer");
        CHECK(c.speaks_with(far));
        c.stream.close();
        CHECK(c.stream.about().proxy == nullptr);
        CHECK(far.ended());
    }
    SECTION("what the proxy says no to is the route's error") {
        auto far = until_asked();
        far.write("no\n");
        run(c.context);
        CHECK(told == std::vector<error_code>{cleave::error::proxy_failed});
        CHECK(c.stream.about().proxy == nullptr);
        CHECK(far.ended());
    }
    SECTION("given up on the way") {
        auto far = until_asked();
        c.stream.close();
        CHECK(far.ended());
        c.context.restart();
        run(c.context);
        CHECK(told == std::vector<error_code>{asio::error::operation_aborted});
    }
    SECTION("given up on the way, by destruction") {
        std::optional<far_end> far;
        {
            auto const gone = std::make_unique<client_by<line_route>>(connector);
            gone->stream.async_connect(to, note);
            while (proxy.quiet()) gone->context.run_one_for(10ms);
            far = proxy.accept();
            while (far->quiet()) gone->context.run_one_for(10ms);
        }
        CHECK(far->read(15) == "origin.example\n");
        CHECK(far->ended());
    }
    SECTION("when nobody is there, the proxy is what cannot be reached") {
        auto const nobody = loopback_listener{}.port();
        client_by<line_route> d{tcp_connector{}.via(line_route{{"127.0.0.1", nobody}})};
        CHECK(d.connect(to) == asio::error::connection_refused);
    }
}

TEST_CASE("tcp_connector: what a route cannot do, it says beforehand") {
    auto const connector = tcp_connector{.family = address_family::ipv4, .attempt_delay = 7ms}.via(
        line_route{{"127.0.0.1", 1}});
    error_code none;
    CHECK_FALSE(connector.check(url::parse("http://a.example/", none)));
    CHECK(connector.check(url::parse("http://forbidden.test/", none)) ==
          cleave::error::proxy_unsupported);
    CHECK(connector.check(url::parse("https://a.example/", none)) ==
          cleave::error::tls_unavailable);
    // All but the route is as it was.
    CHECK(connector.family == address_family::ipv4);
    CHECK(connector.attempt_delay == 7ms);
    CHECK_FALSE(connector.pool);
    CHECK(tcp_connector{connection_pool{}}.via(line_route{{"127.0.0.1", 1}}).pool);
}

TEST_CASE("tcp_connector: by way of whom, for messages") {
    error_code none;
    tcp_connector const straight;
    for (char const* text : {"http://a.example/", "http://127.0.0.1:81/", "http://[::1]:81/"}) {
        auto const to = url::parse(text, none);
        CHECK(straight.by_way_of(to).empty());
        CHECK(straight.via(line_route{{"proxy.test", 3128}}).by_way_of(to) == "proxy.test:3128");
        CHECK(straight.via(line_route{{"::2", 1080}}).by_way_of(to) == "[::2]:1080");
    }
    // Another port of the origin's host is another way.
    CHECK(straight.via(line_route{{"a.example", 8080}})
              .by_way_of(url::parse("http://a.example/", none)) == "a.example:8080");
}

TEST_CASE("tcp_stream: connections of one route or family are none for another") {
    loopback_listener listener;
    cleave_test::line_proxy one{listener.port()};
    cleave_test::line_proxy two{listener.port()};
    connection_pool pool;
    tcp_connector const straight{pool};
    auto const to = listener.url();
    client a{straight};
    client four{tcp_connector{.pool = pool, .family = address_family::ipv4}};
    client_by<line_route> by_one{straight.via(one.route())};
    client_by<line_route> by_two{straight.via(two.route())};
    for (bool const again : {false, true}) {
        auto const check = [&](auto& c) {
            REQUIRE_FALSE(c.connect(to));
            CHECK(c.stream.kept() == again);
            c.stream.keep();
        };
        check(a);
        check(four);
        check(by_one);
        check(by_two);
        CHECK(pool.size() == 4);
    }
    // A kept one has its way behind it.
    auto const said = std::vector{to.host_field() + '\n'};
    CHECK(one.asked() == said);
    CHECK(two.asked() == said);
    for (int i = 0; i != 4; ++i) listener.accept();
    CHECK(listener.quiet());
}

TEST_CASE("tcp_stream: closing ends what is out, with an error, once") {
    loopback_listener listener;
    client c;
    SECTION("a connect") {
        CHECK(finish(c.context, [&](auto h) {
            c.stream.async_connect(listener.url(), h);
            c.stream.close();
        }));
    }
    SECTION("a wait") {
        REQUIRE_FALSE(c.connect(listener.url()));
        auto far = listener.accept();
        CHECK(finish(c.context, [&](auto h) {
            c.stream.async_wait(h);
            c.stream.close();
        }));
        CHECK(far.ended());
    }
    SECTION("a connect, by destruction") {
        asio::io_context context;
        CHECK(finish(context, [&](auto h) {
            stream_type stream{context.get_executor()};
            stream.async_connect(listener.url(), h);
        }));
    }
}

TEST_CASE("tcp_stream: connects again while the old handler is out") {
    loopback_listener listener;
    loopback_listener elsewhere;
    client c;
    std::vector<error_code> first;
    c.stream.async_connect(elsewhere.url(), [&](error_code ec) { first.push_back(ec); });
    c.stream.close();
    REQUIRE_FALSE(c.connect(listener.url()));
    REQUIRE(first.size() == 1);
    CHECK(first[0]);
    auto far = listener.accept();
    CHECK(c.speaks_with(far));
}

TEST_CASE("tcp_stream: below the low-water mark nobody is woken, but for the end") {
    loopback_listener listener;
    connection_pool pool;
    client c{{pool}};
    REQUIRE_FALSE(c.connect(listener.url()));
    auto far = listener.accept();
    error_code ec;
    bool woken = false;
    c.stream.low_water(1000);
    far.write(std::string(999, 'x'));
    std::array<char, 1000> there;
    REQUIRE(::recv(c.stream.native_socket(), there.data(), there.size(), MSG_PEEK) == 999);
    c.stream.async_wait([&](error_code e) {
        ec = e;
        woken = true;
    });
    c.context.restart();
    c.context.poll();
    CHECK_FALSE(woken);
    SECTION("the last byte wakes") {
        far.write("x");
        run(c.context);
    }
    SECTION("a lower mark wakes") {
        c.stream.low_water(1);
        run(c.context);
    }
    SECTION("the end wakes") {
        far.close();
        run(c.context);
    }
    CHECK(woken);
    CHECK_FALSE(ec);
    CHECK(c.read(2000, ec).size() >= 999);

    // Whoever has the connection next knows nothing of it.
    if (c.read(1, ec).empty() && ec != asio::error::would_block) return;
    c.stream.low_water(1000);
    c.stream.keep();
    REQUIRE_FALSE(c.connect(listener.url()));
    REQUIRE(c.stream.kept());
    CHECK(c.speaks_with(far));
    c.stream.close();
    REQUIRE_FALSE(c.connect(listener.url()));
    auto another = listener.accept();
    CHECK(c.speaks_with(another));
}

TEST_CASE("tcp_stream: keeping without a pool is closing") {
    loopback_listener listener;
    client c;
    auto const before = open_files();
    REQUIRE_FALSE(c.connect(listener.url()));
    auto far = listener.accept();
    c.stream.keep();
    CHECK(far.ended());
    CHECK_FALSE(c.stream.kept());
    REQUIRE_FALSE(c.connect(listener.url()));
    CHECK_FALSE(c.stream.kept());
    auto again = listener.accept();
    CHECK(c.speaks_with(again));
    c.stream.keep();
    again.close();
    far.close();
    CHECK(open_files() == before);
}

TEST_CASE("tcp_stream: a kept connection serves the next stream, whatever its executor") {
    auto const address = GENERATE("127.0.0.1", "::1");
    if (std::string_view{address} == "::1" && !cleave_test::has_ipv6()) return;
    loopback_listener listener{address};
    auto const to = listener.url(address == std::string_view{"::1"} ? "[::1]" : address);
    auto const before = open_files();
    {
        connection_pool pool;
        std::optional<far_end> far;
        {
            client first{{pool}};
            REQUIRE_FALSE(first.connect(to));
            CHECK_FALSE(first.stream.kept());
            far = listener.accept();
            CHECK(first.speaks_with(*far));
            CHECK(pool.size() == 0);
            first.stream.keep();
            CHECK(pool.size() == 1);
            CHECK_FALSE(first.stream.kept());
        }
        CHECK(far->quiet());

        client second{{pool}};
        REQUIRE_FALSE(second.connect(to));
        CHECK(second.stream.kept());
        CHECK(pool.size() == 0);
        CHECK(listener.quiet());
        error_code ec;
        CHECK(second.read(1, ec).empty());
        CHECK(ec == asio::error::would_block);
        CHECK(second.speaks_with(*far));

        // And once more, on the same executor.
        second.stream.keep();
        REQUIRE_FALSE(second.connect(to));
        CHECK(second.stream.kept());
        CHECK(second.speaks_with(*far));

        second.stream.close();
        CHECK_FALSE(second.stream.kept());
        CHECK(far->ended());
        CHECK(pool.size() == 0);
    }
    CHECK(open_files() == before);
}

TEST_CASE("tcp_stream: a connection that is closed, not kept, serves nobody") {
    loopback_listener listener;
    connection_pool pool;
    client c{{pool}};
    REQUIRE_FALSE(c.connect(listener.url()));
    auto far = listener.accept();
    c.stream.close();
    CHECK(pool.size() == 0);
    CHECK(far.ended());
    c.stream.keep();
    CHECK(pool.size() == 0);
    {
        client gone{{pool}};
        REQUIRE_FALSE(gone.connect(listener.url()));
        far = listener.accept();
    }
    CHECK(pool.size() == 0);
    CHECK(far.ended());
}

TEST_CASE("tcp_stream: what died or spoke while idle is closed, and the next one is tried") {
    loopback_listener listener;
    auto const to = listener.url();
    auto const before = open_files();
    {
        connection_pool pool;
        client a{{pool}};
        client b{{pool}};
        REQUIRE_FALSE(a.connect(to));
        auto good = listener.accept();
        REQUIRE_FALSE(b.connect(to));
        auto bad = listener.accept();
        a.stream.keep();
        b.stream.keep(); // to be taken first

        SECTION("closed by the server") { bad.close(); }
        SECTION("reset by the server") { bad.reset(); }
        SECTION("a reply that nobody asked for") {
            bad.write("HTTP/1.1 408 Request Timeout\r\n\r\n");
        }
        wait_until_noticed(pool, to);

        client c{{pool}};
        REQUIRE_FALSE(c.connect(to));
        CHECK(c.stream.kept());
        CHECK(pool.size() == 0);
        CHECK(listener.quiet());
        CHECK(c.speaks_with(good));
    }
    CHECK(open_files() == before);
}

TEST_CASE("tcp_stream: with only dead ones idle it connects anew") {
    loopback_listener listener;
    auto const to = listener.url();
    connection_pool pool;
    client c{{pool}};
    REQUIRE_FALSE(c.connect(to));
    listener.accept().close();
    c.stream.keep();
    wait_until_noticed(pool, to);

    REQUIRE_FALSE(c.connect(to));
    CHECK_FALSE(c.stream.kept());
    auto far = listener.accept();
    CHECK(c.speaks_with(far));

    // What was kept once says nothing of the next connection.
    c.stream.keep();
    REQUIRE_FALSE(c.connect(to));
    CHECK(c.stream.kept());
    REQUIRE_FALSE(c.connect(to));
    CHECK_FALSE(c.stream.kept());
    CHECK(far.ended());
}

TEST_CASE("tcp_stream: a connection for one origin is none for another") {
    loopback_listener listener;
    loopback_listener elsewhere;
    connection_pool pool;
    client c{{pool}};
    REQUIRE_FALSE(c.connect(listener.url("127.0.0.1")));
    auto far = listener.accept();
    c.stream.keep();

    REQUIRE_FALSE(c.connect(elsewhere.url("127.0.0.1")));
    CHECK_FALSE(c.stream.kept());
    auto another = elsewhere.accept();
    CHECK(c.speaks_with(another));
    c.stream.keep();

    REQUIRE_FALSE(c.connect(listener.url("localhost")));
    CHECK_FALSE(c.stream.kept());
    auto named = listener.accept();
    CHECK(c.speaks_with(named));
    c.stream.keep();
    CHECK(pool.size() == 3);

    // Each goes back to where it came from.
    REQUIRE_FALSE(c.connect(listener.url("127.0.0.1")));
    CHECK(c.stream.kept());
    CHECK(c.speaks_with(far));
    REQUIRE_FALSE(c.connect(elsewhere.url("127.0.0.1")));
    CHECK(c.stream.kept());
    CHECK(c.speaks_with(another));
    REQUIRE_FALSE(c.connect(listener.url("localhost")));
    CHECK(c.stream.kept());
    CHECK(c.speaks_with(named));
}

TEST_CASE("tcp_stream: closing ends a connect to a kept connection too") {
    loopback_listener listener;
    auto const to = listener.url();
    auto const before = open_files();
    {
        connection_pool pool;
        client c{{pool}};
        REQUIRE_FALSE(c.connect(to));
        auto far = listener.accept();
        c.stream.keep();

        SECTION("by closing") {
            CHECK(finish(c.context, [&](auto h) {
                c.stream.async_connect(to, h);
                c.stream.close();
            }));
        }
        SECTION("by keeping: there was nothing yet to keep") {
            CHECK(finish(c.context, [&](auto h) {
                c.stream.async_connect(to, h);
                c.stream.keep();
            }));
        }
        SECTION("by connecting again") {
            std::vector<error_code> first;
            c.stream.async_connect(to, [&](error_code ec) { first.push_back(ec); });
            REQUIRE_FALSE(c.connect(to));
            REQUIRE(first.size() == 1);
            CHECK(first[0]);
        }
        SECTION("by destruction") {
            CHECK(finish(c.context, [&](auto h) {
                auto stream =
                    tcp_connector{pool}.make(asio::any_io_executor{c.context.get_executor()});
                stream.async_connect(to, h);
            }));
        }
        CHECK_FALSE(c.stream.kept());
        CHECK(pool.size() == 0);
        CHECK(far.ended());
    }
    CHECK(open_files() == before);
}

TEST_CASE("tcp_stream: keeping ends a wait, and the connection lives on") {
    loopback_listener listener;
    connection_pool pool;
    client c{{pool}};
    REQUIRE_FALSE(c.connect(listener.url()));
    auto far = listener.accept();
    CHECK(finish(c.context, [&](auto h) {
        c.stream.async_wait(h);
        c.stream.keep();
    }));
    CHECK(pool.size() == 1);
    REQUIRE_FALSE(c.connect(listener.url()));
    CHECK(c.stream.kept());
    CHECK(c.speaks_with(far));
}

TEST_CASE("tcp_stream: handlers are called on the stream's executor, and not from within") {
    loopback_listener listener;
    connection_pool pool;
    asio::io_context context;
    auto const strand = asio::make_strand(context);
    auto stream = tcp_connector{pool}.make(strand);
    auto const connect = [&] {
        bool returned = false;
        int calls = 0;
        asio::post(strand, [&] {
            stream.async_connect(listener.url(), [&](error_code ec) {
                CHECK_FALSE(ec);
                CHECK(returned);
                CHECK(strand.running_in_this_thread());
                ++calls;
            });
            returned = true;
        });
        run(context);
        CHECK(calls == 1);
    };
    connect();
    CHECK_FALSE(stream.kept());
    stream.keep();
    connect();
    CHECK(stream.kept());
}

TEST_CASE("tcp_stream: the protocol of an adopted socket is its own") {
    auto const protocol = GENERATE(asio::ip::tcp::v4(), asio::ip::tcp::v6());
    socket_handle const socket{::socket(protocol.family(), SOCK_STREAM, 0)};
    if (!socket) return;
    CHECK(cleave::detail::protocol_of(socket) == protocol);
}

TEST_CASE("tcp_stream: many threads and executors share connections, and never one at once") {
    int const threads = 4;
    int const rounds = 200;
    std::array<answering_server, 2> servers{answering_server{'a'}, answering_server{'b'}};
    auto const before = open_files();
    connection_pool pool{{.most_idle = 64, .idle_time = 1h}};
    std::atomic<int> failures = 0;
    std::atomic<int> wrong = 0;
    std::atomic<int> kept = 0;
    {
        std::vector<std::thread> running;
        for (int t = 0; t != threads; ++t)
            running.emplace_back([&, t, connector = tcp_connector{pool}] {
                for (int i = 0; i != rounds; ++i) {
                    bool const second = (i / 3 + t) % 2 == 1;
                    auto const to = servers[second ? 1 : 0].at();
                    // A context for each round: sockets go from one to the next.
                    asio::io_context context;
                    auto stream = connector.make(context.get_executor());
                    std::byte answer{};
                    error_code result = asio::error::would_block;
                    stream.async_connect(to, [&](error_code ec) {
                        if (ec) return;
                        if (stream.kept()) ++kept;
                        stream.async_write("?", [&](error_code e) {
                            if (e) return;
                            stream.async_wait([&](error_code) {
                                (void)stream.read_some({&answer, 1}, result);
                                stream.keep();
                            });
                        });
                    });
                    context.run_for(10s);
                    if (result) ++failures;
                    if (answer != static_cast<std::byte>(second ? 'b' : 'a')) ++wrong;
                }
            });
        for (auto& t : running) t.join();
    }
    CHECK(failures == 0);
    CHECK(wrong == 0);
    // A new connection is made only when all others to that server are in use.
    int const made = servers[0].accepted() + servers[1].accepted();
    CHECK(servers[0].accepted() <= threads);
    CHECK(servers[1].accepted() <= threads);
    CHECK(kept == threads * rounds - made);
    CHECK(pool.size() == static_cast<std::size_t>(made));
    // Both ends of each are in this process.
    CHECK(open_files() == before + 2 * static_cast<std::size_t>(made));
    auto const open = open_files();
    pool.clear();
    CHECK(open_files() <= open - static_cast<std::size_t>(made));
}

TEST_CASE("tcp_connector: by default any address, and a pool only where one is given") {
    CHECK_FALSE(tcp_connector{}.pool);
    CHECK(tcp_connector{}.family == address_family::any);
    CHECK(tcp_connector{}.attempt_delay == 250ms);
    connection_pool pool;
    CHECK(tcp_connector{pool}.pool);
}

TEST_CASE("tcp_connector: http only, and what error codes mean") {
    error_code ec;
    tcp_connector const c;
    CHECK_FALSE(c.check(url::parse("http://a.example/", ec)));
    CHECK(c.check(url::parse("https://a.example/", ec)) == cleave::error::tls_unavailable);

    auto const system = [](int e) { return error_code{e, std::system_category()}; };
    CHECK(c.classify(system(ECONNREFUSED)) == cause::passing);
    CHECK(c.classify(system(ECONNRESET)) == cause::passing);
    CHECK(c.classify(asio::error::host_not_found) == cause::passing);
    CHECK(c.classify(asio::error::eof) == cause::passing);
    CHECK(c.classify(system(EACCES)) == cause::configuration);
    CHECK(c.classify(system(EAFNOSUPPORT)) == cause::configuration);
    CHECK(c.classify(system(EINVAL)) == cause::configuration);
    CHECK(c.classify(system(ECANCELED)) == cause::cancelled);
    CHECK(c.classify(cleave::error::tls_unavailable) ==
          cleave::cause_of(cleave::error::tls_unavailable));
    CHECK(c.classify(cleave::error::stalled) == cause::passing);
}
