// SPDX-License-Identifier: BSL-1.0
//
// Downloads by way of proxies that nobody here wrote: tinyproxy, which passes requests for http
// URLs on and makes tunnels for https ones, and microsocks, which speaks SOCKS5; each with a login
// and without.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/nginx.hpp>
#include <support/proxies.hpp>
#include <support/tls_server.hpp>

#include <cleave/cleave.hpp>
#include <cleave/connect/proxy.hpp>
#include <cleave/connect/socks5.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace cleave_test;
using cleave::any_proxies;
using cleave::cause;
using cleave::error;
using cleave::http_proxies;

namespace {

proxy_login const login{.user = "me", .password = "s3cret"};
constexpr std::string_view login_in_base64 = "bWU6czNjcmV0";

cleave::tls_connector const& connector() {
    static cleave::tls_connector const one{{.ca_pem = test_authority().pem()}};
    return one;
}

template <class Route>
fetched fetch_by(Route route, cleave::request what, std::uint32_t lanes = 8) {
    return fetch(std::move(what),
                 cleave::policies<>{}
                     .with_plan(cleave::fixed_size{lanes == 1 ? 1'000'000U : 100'000U})
                     .with_lanes(cleave::fixed_lanes{lanes})
                     .with_renewal(quick_backoff())
                     .with_connector(connector().via(std::move(route))));
}

std::size_t count(std::string_view text, std::string_view what) {
    std::size_t n = 0;
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
    return n;
}

/// nginx, in the clear and over TLS, with one object.
struct origins {
    origins() {
        plain.put("r", bytes);
        secure.put("r", bytes);
    }
    std::string bytes = object::random(2'000'000, 96).bytes;
    nginx plain;
    nginx secure{{.certificate = local_identity().pem(), .key = local_identity().key_pem()}};
};

/// Each URL over one lane and eight, with nothing that had to be tried again.
template <class Route>
void check_downloads(origins const& from, Route const& route) {
    for (std::string const& url : {from.plain.url("/r"), from.secure.url("/r")})
        for (std::uint32_t const lanes : {1U, 8U}) {
            CAPTURE(url, lanes);
            fetched const f = fetch_by(route, url, lanes);
            REQUIRE_FALSE(f.ec);
            CHECK((f.bytes == from.bytes));
            CHECK(f.report.retries == 0);
            CHECK((f.report.lanes == 1) == (lanes == 1));
        }
}

} // namespace

TEST_CASE("proxies: tinyproxy passes http on and makes tunnels for https") {
    origins from;
    bool const asks = GENERATE(false, true);
    tinyproxy proxy{asks ? login : proxy_login{}};
    http_proxies const route{proxy.url()};
    check_downloads(from, route);
    std::string const log = proxy.log();
    // 2 segments and 20, and at most 9 tunnels that are used for as many.
    CHECK(count(log, "GET http://127.0.0.1:") >= 22);
    CHECK(count(log, "CONNECT 127.0.0.1:") >= 2);
    CHECK(count(log, "CONNECT 127.0.0.1:") <= 9);
}

TEST_CASE("proxies: microsocks, by names and by addresses") {
    origins from;
    bool const asks = GENERATE(false, true);
    microsocks proxy{asks ? login : proxy_login{}};
    check_downloads(from, any_proxies{proxy.url("socks5")});
    check_downloads(from, any_proxies{proxy.url("socks5h")});
    // A name, resolved there and here.
    tls_server server{[](tls_connection& c) {
        c.read_until("\r\n\r\n");
        c.send(reply(200, "OK", {}, "by name"));
    }};
    for (std::string const scheme : {"socks5", "socks5h"}) {
        fetched const f = fetch_by(any_proxies{proxy.url(scheme)}, server.url("localhost", "/"), 1);
        CHECK_FALSE(f.ec);
        CHECK(f.bytes == "by name");
        CHECK(server.last_name_wanted() == "localhost");
    }
}

TEST_CASE(
    "proxies: the origin learns nothing of the proxy's login, nor the proxy of the origin's") {
    object const o = object::random(3000, 97);
    fault_server plain{honest(o)};
    tls_server secure{forward_to(plain.port())};
    tinyproxy proxy{login};
    std::string url = secure.url("localhost", "/r?token");
    url.insert(url.find("//") + 2, "them:other@");
    cleave::request what{url};
    what.with_header("Cookie", "theirs");
    for (bool const http : {false, true}) {
        if (http) what = cleave::request{plain.url("/r?token")};
        fetched const f = fetch_by(http_proxies{proxy.url()}, what);
        CHECK_FALSE(f.ec);
        CHECK((f.bytes == o.bytes));
    }
    REQUIRE_FALSE(plain.requests().empty());
    for (seen_request const& r : plain.requests()) {
        CHECK(r.target == "/r?token");
        CHECK_FALSE(r.field("Proxy-Authorization"));
        CHECK(r.head.find(login_in_base64) == r.head.npos);
    }
    // In the log only what a proxy must know of a tunnel.
    std::string const log = proxy.log();
    std::string const tunnels = log.substr(0, log.find("GET http://"));
    CHECK(count(tunnels, "CONNECT localhost:") != 0);
    for (std::string const theirs : {"token", "theirs", "other"})
        CHECK(tunnels.find(theirs) == tunnels.npos);
}

TEST_CASE("proxies: a login that is missing or wrong is named, and not tried again") {
    object const o = object::random(3000, 98);
    fault_server plain{honest(o)};
    tls_server secure{forward_to(plain.port())};
    tinyproxy http{login};
    microsocks socks{login};
    auto const result = [](auto const& route, std::string const& url) {
        fetched const f = fetch_by(route, url);
        CHECK(f.report.retries == 0);
        return f.ec;
    };
    for (std::string const& url : {plain.url("/r"), secure.url("localhost", "/r")})
        for (bool const wrong : {false, true}) {
            CAPTURE(url, wrong);
            std::string const at = (wrong ? "me:wrong@127.0.0.1:" : "127.0.0.1:");
            CHECK(result(any_proxies{"socks5h://" + at + std::to_string(socks.port())}, url) ==
                  error::proxy_authentication_required);
            auto const ec = result(http_proxies{at + std::to_string(http.port())}, url);
            // To a wrong login tinyproxy says 401, which without a tunnel may be the origin's.
            bool const tunnel = url.starts_with("https");
            CHECK(ec ==
                  (wrong && !tunnel ? error::unauthorized : error::proxy_authentication_required));
        }
    CHECK(plain.requests().empty());
    CHECK(secure.accepted() == 0);
}

TEST_CASE("proxies: behind a tunnel the origin is verified all the same") {
    tls_server server{[](tls_connection& c) { c.read(); },
                      {.shows = make_identity({.names = {"other.test"}}, &test_authority())}};
    tinyproxy http;
    microsocks socks;
    auto const url = server.url("localhost", "/r");
    fetched const one = fetch_by(http_proxies{http.url()}, url);
    fetched const other = fetch_by(any_proxies{socks.url()}, url);
    for (fetched const& f : {one, other}) {
        CHECK(f.ec == error::certificate_wrong_host);
        CHECK(f.report.retries == 0);
    }
    server.stop();
    CHECK(server.got_first() + server.got_later() == 0);
}

TEST_CASE("proxies: nobody behind the proxy, and no proxy, may pass") {
    tinyproxy http;
    microsocks socks;
    std::string const nobody = "127.0.0.1:" + std::to_string(free_port());
    auto const result = [](auto const& route, std::string const& url) {
        fetched const f = fetch_by(route, url);
        CAPTURE(url);
        CHECK(f.report.retries != 0);
        CHECK(f.report.failed.value().kind == cause::passing);
        return f.ec;
    };
    CHECK(result(http_proxies{http.url()}, "http://" + nobody + "/r") == error::server_error);
    CHECK(result(http_proxies{http.url()}, "https://" + nobody + "/r") == error::proxy_failed);
    for (std::string const scheme : {"http", "https"}) {
        std::string const url = scheme + "://" + nobody + "/r";
        CHECK(result(any_proxies{socks.url()}, url) == error::proxy_failed);
        CHECK(result(http_proxies{nobody}, url) == std::errc::connection_refused);
    }
}

TEST_CASE("proxies: hosts that need none are reached straight") {
    object const o = object::random(3000, 99);
    fault_server plain{honest(o)};
    tinyproxy proxy;
    fetched const f =
        fetch_by(http_proxies{proxy.url(), "example.org, 127.0.0.0/8"}, plain.url("/r"));
    CHECK_FALSE(f.ec);
    CHECK((f.bytes == o.bytes));
    CHECK(count(proxy.log(), "GET ") == 0);
}
