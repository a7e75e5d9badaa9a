// SPDX-License-Identifier: BSL-1.0
//
// What is a route, and what nearly is one: a type for each thing that may be wrong. And the
// simplest one, straight to the origin.
#include <cleave/connect/route.hpp>

#include <support/catch.hpp>
#include <support/loopback.hpp>
#include <support/route_client.hpp>

#include <cleave/base/url.hpp>
#include <cleave/connect/proxy.hpp>
#include <cleave/connect/socks5.hpp>
#include <cleave/http/request_head.hpp>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <memory>
#include <string>
#include <system_error>

using cleave::direct;
using cleave::proxy_hop;
using cleave::route;
using cleave::stop;
using cleave::url;
using cleave_test::to_url;
using std::error_code;

namespace {

using tcp_socket = asio::ip::tcp::socket;

struct least {
    error_code check(url const&) const { return {}; }
    stop first(url const&) const { return {}; }
    std::string key(url const&) const { return {}; }
    proxy_hop const* hop(url const&) const noexcept { return nullptr; }
    template <class Handler>
    void async_open(tcp_socket&, url const&, Handler&&) const {}
};

struct not_copied : least {
    std::unique_ptr<int> own;
};
struct without_check : least {
    int check;
};
struct check_answers_whether : least {
    bool check(url const&) const;
};
struct check_changes_it : least {
    error_code check(url const&);
};
struct check_changes_url : least {
    error_code check(url&) const;
};
struct without_first : least {
    int first;
};
struct first_is_text : least {
    std::string first(url const&) const;
};
struct first_changes_it : least {
    stop first(url const&);
};
struct without_key : least {
    int key;
};
struct key_is_number : least {
    int key(url const&) const;
};
struct key_changes_it : least {
    std::string key(url const&);
};
struct without_hop : least {
    int hop;
};
struct hop_throws : least {
    proxy_hop const* hop(url const&) const;
};
struct hop_is_value : least {
    proxy_hop hop(url const&) const noexcept;
};
struct hop_may_be_changed : least {
    proxy_hop* hop(url const&) const noexcept;
};
struct hop_changes_it : least {
    proxy_hop const* hop(url const&) noexcept;
};
struct without_async_open : least {
    int async_open;
};
struct open_changes_it : least {
    template <class Handler>
    void async_open(tcp_socket&, url const&, Handler&&);
};
struct opens_without_url : least {
    template <class Handler>
    void async_open(tcp_socket&, Handler&&) const;
};
struct opens_own_socket : least {
    template <class Handler>
    void async_open(tcp_socket&&, url const&, Handler&&) const;
};
struct open_blocks : least {
    void async_open(tcp_socket&, url const&) const;
};

} // namespace

TEST_CASE("route: what is one") {
    STATIC_REQUIRE(route<least>);
    STATIC_REQUIRE(route<direct>);
    STATIC_REQUIRE(route<cleave::http_proxies>);
    STATIC_REQUIRE(route<cleave::any_proxies>);
}

TEST_CASE("route: what nearly is one") {
    STATIC_REQUIRE_FALSE(route<not_copied>);
    STATIC_REQUIRE_FALSE(route<without_check>);
    STATIC_REQUIRE_FALSE(route<check_answers_whether>);
    STATIC_REQUIRE_FALSE(route<check_changes_it>);
    STATIC_REQUIRE_FALSE(route<check_changes_url>);
    STATIC_REQUIRE_FALSE(route<without_first>);
    STATIC_REQUIRE_FALSE(route<first_is_text>);
    STATIC_REQUIRE_FALSE(route<first_changes_it>);
    STATIC_REQUIRE_FALSE(route<without_key>);
    STATIC_REQUIRE_FALSE(route<key_is_number>);
    STATIC_REQUIRE_FALSE(route<key_changes_it>);
    STATIC_REQUIRE_FALSE(route<without_hop>);
    STATIC_REQUIRE_FALSE(route<hop_throws>);
    STATIC_REQUIRE_FALSE(route<hop_is_value>);
    STATIC_REQUIRE_FALSE(route<hop_may_be_changed>);
    STATIC_REQUIRE_FALSE(route<hop_changes_it>);
    STATIC_REQUIRE_FALSE(route<without_async_open>);
    STATIC_REQUIRE_FALSE(route<open_changes_it>);
    STATIC_REQUIRE_FALSE(route<opens_without_url>);
    STATIC_REQUIRE_FALSE(route<opens_own_socket>);
    STATIC_REQUIRE_FALSE(route<open_blocks>);
    STATIC_REQUIRE_FALSE(route<int>);
}

TEST_CASE("direct: begins at the origin, and tells nobody") {
    direct const way;
    for (std::string const scheme : {"http", "https"}) {
        auto const to = to_url(scheme + "://u:p@example.org:8080/x");
        CHECK_FALSE(way.check(to));
        CHECK(way.first(to) == stop{"example.org", 8080});
        CHECK(way.key(to).empty());
        CHECK(way.hop(to) == nullptr);
    }
    CHECK(way.first(to_url("https://[::1]/")) == stop{"::1", 443});
}

TEST_CASE("direct: is open at once, but not from within, and sends and takes nothing") {
    cleave_test::loopback_listener origin;
    cleave_test::route_client client{direct{}, origin.url()};
    auto far = origin.accept();
    far.write("first");
    CHECK_FALSE(client.result());
    CHECK(far.quiet());
    CHECK(client.read(5) == "first");
}
