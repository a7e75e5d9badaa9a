// SPDX-License-Identifier: BSL-1.0
//
// What any_proxies says to a SOCKS5 proxy and makes of its answers: without a socket, over a socket
// byte by byte, and to a proxy that passes on. And that HTTP proxies are served as well.
#include <cleave/connect/socks5.hpp>

#include <support/catch.hpp>
#include <support/loopback.hpp>
#include <support/proxy_server.hpp>
#include <support/route_client.hpp>

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/proxy.hpp>
#include <cleave/connect/route.hpp>
#include <cleave/connect/tcp.hpp>

#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using cleave::any_proxies;
using cleave::error;
using cleave::proxy_rules;
using cleave::stop;
using cleave::url;
using cleave::detail::socks_destination;
using cleave::detail::socks_talk;
using cleave_test::loopback_listener;
using cleave_test::proxy_server;
using cleave_test::route_client;
using cleave_test::to_url;
using std::error_code;
using namespace std::literals;

namespace {

auto const http_url = to_url("http://example.org:258/a?b");
auto const https_url = to_url("https://example.org:258/a?b");

// What goes to and fro for `http_url`, by name.
auto const greeting = "\x05\x01\x00"s;
auto const greeting_with_password = "\x05\x02\x00\x02"s;
auto const password_message = "\x01\x04user\x02pw"s;
auto const request = "\x05\x01\x00\x03\x0b"
                     "example.org\x01\x02"s;
auto const no_method = "\x05\x00"s;
auto const password_method = "\x05\x02"s;
auto const password_good = "\x01\x00"s;
auto const opened = "\x05\x00\x00\x01\x7f\x00\x00\x01\x11\x22"s;

// A talk without credentials that has come to its request, or with some that has come to these.
socks_talk after_greeting() {
    socks_talk talk{socks_destination(http_url), ""};
    CHECK(talk.to_send() == greeting);
    CHECK(talk.to_send().empty());
    CHECK(talk.if_closed() == error::proxy_failed);
    CHECK(talk.take(no_method) == 2);
    CHECK(talk.to_send() == request);
    CHECK(talk.to_send().empty());
    CHECK_FALSE(talk.over());
    return talk;
}
socks_talk after_greeting_with_password() {
    socks_talk talk{socks_destination(http_url), "user:pw"};
    CHECK(talk.to_send() == greeting_with_password);
    CHECK(talk.take(password_method) == 2);
    CHECK(talk.to_send() == password_message);
    CHECK_FALSE(talk.over());
    return talk;
}

std::string at(loopback_listener const& proxy, std::string const& scheme,
               std::string const& credentials = {}) {
    return scheme + "://" + (credentials.empty() ? "" : credentials + "@") +
           "127.0.0.1:" + std::to_string(proxy.port());
}

} // namespace

// ---- settings -----------------------------------------------------------------------------

TEST_CASE("any_proxies: which proxies it speaks to") {
    struct row {
        std::string text;
        error_code why;
    };
    auto const r = GENERATE(values<row>({
        {"proxy", {}},
        {"http://user:pw@proxy", {}},
        {"socks5://proxy", {}},
        {"socks5h://user:pw@proxy", {}},
        {"SOCKS5H://proxy", {}},
        {"https://proxy", error::proxy_unsupported},
        {"socks4://proxy", error::proxy_unsupported},
        {"socks4a://proxy", error::proxy_unsupported},
        {"socks://proxy", error::proxy_unsupported},
        {"socks6://proxy", error::bad_proxy},
        {"socks5://proxy/x", error::bad_proxy},
        {"socks5://" + std::string(255, 'a') + ':' + std::string(255, 'a') + "@proxy", {}},
        {"socks5h://" + std::string(256, 'a') + "@proxy", error::bad_proxy},
        {"socks5://a:" + std::string(256, 'a') + "@proxy", error::bad_proxy},
        {"http://a:" + std::string(256, 'a') + "@proxy", {}},
    }));
    INFO(r.text);
    any_proxies const way{r.text};
    for (url const& to : {http_url, https_url}) {
        CHECK(way.check(to) == r.why);
        if (r.why == error::bad_proxy || r.why == error::proxy_unsupported) {
            // Whoever does not check is not let through either.
            asio::io_context context;
            asio::ip::tcp::socket socket{context};
            std::vector<error_code> told;
            way.async_open(socket, to, [&](error_code ec) { told.push_back(ec); });
            CHECK(told.empty());
            context.run();
            CHECK(told == std::vector{r.why});
        } else {
            CHECK(way.first(to) == stop{"proxy", 1080});
        }
    }
}

TEST_CASE("any_proxies: only HTTP proxies are told the whole URL") {
    CHECK(any_proxies{"a:b@proxy"}.hop(http_url)->authorization == "Basic YTpi");
    CHECK(any_proxies{"proxy"}.hop(https_url) == nullptr);
    CHECK(any_proxies{"socks5://proxy"}.hop(http_url) == nullptr);
    CHECK(any_proxies{"socks5h://a:b@proxy"}.hop(http_url) == nullptr);
    CHECK(any_proxies{}.hop(http_url) == nullptr);
}

TEST_CASE("any_proxies: one proxy for http, another for https, none for some hosts") {
    any_proxies const way{
        proxy_rules{.http = "socks5h://one:1", .https = "http://two:2", .no_proxy = "example.net"}};
    CHECK(way.first(http_url) == stop{"one", 1});
    CHECK(way.first(https_url) == stop{"two", 2});
    CHECK(way.first(to_url("http://example.net/")) == stop{"example.net", 80});
    CHECK(way.key(http_url) != way.key(https_url));
    CHECK(way.key(to_url("http://example.net/")).empty());
}

// ---- what is said -------------------------------------------------------------------------

TEST_CASE("SOCKS5: the origin as a request names it") {
    CHECK(socks_destination(http_url) == "\x03\x0b"
                                         "example.org\x01\x02"s);
    CHECK(socks_destination(to_url("https://1.2.3.255/")) == "\x01\x01\x02\x03\xff\x01\xbb"s);
    CHECK(socks_destination(to_url("http://[2001:db8::ff]:65535/")) ==
          "\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff"s);
    std::string const longest = std::string(63, 'a') + '.' + std::string(63, 'b') + '.' +
                                std::string(63, 'c') + '.' + std::string(61, 'd');
    CHECK(socks_destination(to_url("http://" + longest + "./")) ==
          "\x03\xfe" + longest + ".\x00\x50"s);
}

TEST_CASE("SOCKS5: user and password go as they are, decoded") {
    struct row {
        std::string userinfo, message;
    };
    auto const r = GENERATE(values<row>({
        {"user:pw", password_message},
        {"user", "\x01\x04user\x00"s},
        {"u%3A:p:%C3%bf", "\x01\x02u:\x04p:\xc3\xbf"s},
        {std::string(255, 'a') + ':' + std::string(255, 'b'),
         "\x01\xff" + std::string(255, 'a') + '\xff' + std::string(255, 'b')},
    }));
    // A colon within the name is no URL's, but the talk does not mind.
    socks_talk talk{"x", r.userinfo};
    CHECK(talk.to_send() == greeting_with_password);
    talk.take(password_method);
    CHECK(talk.to_send() == r.message);
}

TEST_CASE("SOCKS5: with credentials, which the proxy may do without") {
    auto talk = after_greeting_with_password();
    CHECK(talk.take(password_good) == 2);
    CHECK(talk.to_send() == request);
    CHECK(talk.take(opened) == opened.size());
    CHECK(talk.over());
    CHECK_FALSE(talk.result());

    socks_talk unasked{socks_destination(http_url), "user:pw"};
    CHECK(unasked.to_send() == greeting_with_password);
    unasked.take(no_method);
    CHECK(unasked.to_send() == request);
}

TEST_CASE("SOCKS5: what each method means that the proxy may choose") {
    for (bool const with_password : {false, true}) {
        for (int method = 0; method < 256; ++method) {
            socks_talk talk{socks_destination(http_url), with_password ? "user:pw" : ""};
            (void)talk.to_send();
            CHECK(talk.take(std::string{'\x05', static_cast<char>(method)}) == 2);
            bool const goes_on = method == 0 || (method == 2 && with_password);
            CHECK(talk.over() == !goes_on);
            CHECK(talk.to_send().empty() == !goes_on);
            if (!goes_on)
                CHECK(talk.result() == (method == 255 ? error::proxy_authentication_required
                                                      : error::bad_proxy_reply));
        }
    }
}

TEST_CASE("SOCKS5: what each answer to credentials means, whatever version it has") {
    for (int status = 0; status < 256; ++status) {
        for (char const version : {'\x01', '\x05'}) {
            auto talk = after_greeting_with_password();
            CHECK(talk.take(std::string{version, static_cast<char>(status)}) == 2);
            CHECK(talk.over() == (status != 0));
            if (status != 0) CHECK(talk.result() == error::proxy_authentication_required);
        }
    }
}

TEST_CASE("SOCKS5: what each reply means") {
    for (int code = 1; code < 256; ++code) {
        auto talk = after_greeting();
        auto reply = opened;
        reply[1] = static_cast<char>(code);
        CHECK(talk.take(reply) == 2);
        CHECK(talk.over());
        CHECK(talk.to_send().empty());
        CHECK(talk.result() == (code == 2  ? error::proxy_refused
                                : code < 7 ? error::proxy_failed
                                           : error::bad_proxy_reply));
    }
}

TEST_CASE("SOCKS5: bytes that may not stand where they do") {
    for (int byte = 0; byte < 256; ++byte) {
        auto const text = std::string(1, static_cast<char>(byte));
        if (byte != 5) {
            socks_talk talk{socks_destination(http_url), ""};
            (void)talk.to_send();
            CHECK(talk.take(text) == 1);
            CHECK(talk.result() == error::bad_proxy_reply);
            auto later = after_greeting();
            CHECK(later.take(text + opened.substr(1)) == 1);
            CHECK(later.result() == error::bad_proxy_reply);
        }
        auto kind = after_greeting();
        CHECK(kind.take(opened.substr(0, 3) + text) == 4);
        bool const known = byte == 1 || byte == 3 || byte == 4;
        CHECK(kind.over() == !known);
        if (!known) CHECK(kind.result() == error::bad_proxy_reply);
        // Reserved, and not looked at.
        auto reserved = after_greeting();
        auto reply = opened;
        reply[2] = static_cast<char>(byte);
        CHECK(reserved.take(reply) == reply.size());
        CHECK(reserved.over());
        CHECK_FALSE(reserved.result());
    }
}

TEST_CASE("SOCKS5: replies of every length, in two parts, or cut, at every byte") {
    auto const start = "\x05\x00\x00"s;
    auto const reply = GENERATE_COPY(values<std::string>(
        {opened, start + '\x04' + std::string(18, 'x'), start + "\x03\x00"s + "pp",
         start + "\x03\x01xpp"s, start + "\x03\xff"s + std::string(257, 'x')}));
    for (std::size_t cut = 0; cut < reply.size(); ++cut) {
        auto talk = after_greeting();
        CHECK(talk.take(reply.substr(0, cut)) == cut);
        CHECK_FALSE(talk.over());
        CHECK(talk.to_send().empty());
        CHECK(talk.if_closed() == (cut == 0 ? error::proxy_failed : error::bad_proxy_reply));
        // What follows is the origin's.
        CHECK(talk.take(reply.substr(cut) + "behind") == reply.size() - cut);
        CHECK(talk.over());
        CHECK_FALSE(talk.result());
    }
}

TEST_CASE("SOCKS5: replies before they are asked for wait until they are") {
    socks_talk talk{socks_destination(http_url), "user:pw"};
    std::string all = password_method + password_good + opened + "behind";
    for (auto const& [says, hears] :
         {std::pair{greeting_with_password, password_method},
          std::pair{password_message, password_good}, std::pair{request, opened}}) {
        CHECK(talk.take(all) == 0);
        CHECK(talk.to_send() == says);
        CHECK(talk.take(all) == hears.size());
        all.erase(0, hears.size());
    }
    CHECK(talk.over());
    CHECK_FALSE(talk.result());
}

// ---- over a socket ------------------------------------------------------------------------

TEST_CASE("any_proxies: SOCKS5 over a socket, byte by byte, and what follows is left alone") {
    loopback_listener proxy;
    url const& to = GENERATE(http_url, https_url);
    route_client client{any_proxies{at(proxy, "socks5h", "user:pw")}, to};
    auto far = proxy.accept();
    client.step();
    CHECK(far.read(greeting_with_password.size()) == greeting_with_password);
    client.see(far, password_method.substr(0, 1));
    client.see(far, password_method.substr(1));
    CHECK(far.read(password_message.size()) == password_message);
    client.see(far, password_good.substr(0, 1));
    client.see(far, password_good.substr(1));
    CHECK(far.read(request.size()) == request);
    for (char const c : opened.substr(0, opened.size() - 1)) {
        client.see(far, {&c, 1});
        REQUIRE(client.told.empty());
    }
    far.write(opened.substr(opened.size() - 1) + "behind");
    CHECK_FALSE(client.result());
    CHECK(client.read(6) == "behind");
    CHECK(far.quiet());
    client.write("hello");
    CHECK(far.read(5) == "hello");
}

TEST_CASE("any_proxies: a SOCKS5 proxy that closes, after every byte") {
    auto const all = no_method + opened;
    for (std::size_t cut = 0; cut < all.size(); ++cut) {
        loopback_listener proxy;
        route_client client{any_proxies{at(proxy, "socks5h")}, http_url};
        auto far = proxy.accept();
        client.step();
        CHECK(far.read(greeting.size()) == greeting);
        if (cut > 0) client.see(far, all.substr(0, cut));
        if (cut >= 2) CHECK(far.read(request.size()) == request);
        far.close();
        bool const between = cut == 0 || cut == 2;
        CHECK(client.result() == (between ? error::proxy_failed : error::bad_proxy_reply));
    }
}

TEST_CASE("any_proxies: closing the socket ends it, at every stage") {
    loopback_listener proxy;
    auto const stage = GENERATE(0, 1, 2, 3);
    route_client client{any_proxies{at(proxy, "socks5h")}, http_url};
    auto far = proxy.accept();
    if (stage >= 1) client.step();
    if (stage >= 2) client.see(far, no_method);
    if (stage == 3) client.see(far, opened.substr(0, 5));
    REQUIRE(client.told.empty());
    client.socket.close();
    CHECK(client.result());
}

// ---- names ------------------------------------------------------------------------------

TEST_CASE("any_proxies: socks5 asks for an address, socks5h for the name") {
    loopback_listener origin;
    auto const port = ':' + std::to_string(origin.port());
    auto const to = to_url("http://localhost" + port);
    proxy_server proxy;
    CHECK_FALSE(route_client{any_proxies{proxy.at("socks5h")}, to}.result());
    CHECK(proxy.asked() == std::vector{"SOCKS localhost" + port});

    // Which of its addresses comes first is the system's choice; the origin has but one.
    route_client client{any_proxies{proxy.at("socks5")}, to};
    auto const ec = client.result();
    // Nothing is out any more that waits for the socket.
    CHECK(client.context.stopped());
    REQUIRE(proxy.asked().size() == 2);
    if (proxy.asked()[1] == "SOCKS [::1]" + port) {
        CHECK(ec == error::proxy_failed);
    } else {
        CHECK(proxy.asked()[1] == "SOCKS 127.0.0.1" + port);
        CHECK_FALSE(ec);
    }
}

TEST_CASE("any_proxies: socks5 asks for an address that the URL has as it is") {
    loopback_listener proxy;
    route_client client{any_proxies{at(proxy, "socks5")}, to_url("http://1.2.3.4:258/")};
    auto far = proxy.accept();
    client.step();
    CHECK(far.read(greeting.size()) == greeting);
    client.see(far, no_method);
    CHECK(far.read(10) == "\x05\x01\x00\x01\x01\x02\x03\x04\x01\x02"s);
}

TEST_CASE("any_proxies: socks5 and a name that nobody knows") {
    loopback_listener proxy;
    route_client client{any_proxies{at(proxy, "socks5")}, to_url("http://origin.invalid/")};
    auto far = proxy.accept();
    auto const ec = client.result();
    CHECK((ec == asio::error::host_not_found || ec == asio::error::host_not_found_try_again));
    CHECK(client.context.stopped());
    CHECK(far.quiet());
}

TEST_CASE("any_proxies: a stream calls a name that nobody knows what it calls it without a proxy") {
    loopback_listener proxy;
    asio::io_context context;
    auto stream =
        cleave::tcp_connector{}.via(any_proxies{at(proxy, "socks5")}).make(context.get_executor());
    error_code told;
    stream.async_connect(to_url("http://origin.invalid/"), [&](error_code ec) { told = ec; });
    context.run();
    CHECK(told == error::name_not_resolved);
}

TEST_CASE("any_proxies: closing the socket ends it while a name is looked up") {
    loopback_listener proxy;
    route_client client{any_proxies{at(proxy, "socks5")}, to_url("http://localhost/")};
    auto far = proxy.accept();
    client.socket.close();
    // Without the lookup's answer, which comes when it comes.
    client.step();
    REQUIRE(client.told.size() == 1);
    CHECK(client.told[0]);
    client.context.restart();
    client.context.run();
    CHECK(client.told.size() == 1);
}

TEST_CASE("any_proxies: a proxy that is gone while a name is looked up") {
    loopback_listener proxy;
    auto const way = any_proxies{at(proxy, "socks5")};
    route_client client{way, to_url("http://localhost/")};
    proxy.accept().reset();
    CHECK(client.result());
    client.context.restart();
    client.context.run();
    CHECK(client.told.size() == 1);
}

// ---- to a proxy that passes on ------------------------------------------------------------

TEST_CASE("any_proxies: to the origin by every kind of proxy, with credentials and without") {
    loopback_listener origin;
    auto const scheme = GENERATE("http"s, "socks5h"s);
    auto const credentials = GENERATE(""s, "user:p@ss:word"s);
    auto const host = "origin.invalid:" + std::to_string(origin.port());
    auto const to = to_url("https://user:secret@" + host);
    proxy_server proxy{{.credentials = credentials}};
    any_proxies const way{proxy.at(scheme, credentials.empty() ? "" : "user:p%40ss:word")};
    CHECK_FALSE(way.check(to));
    route_client client{way, to};
    CHECK_FALSE(client.result());
    auto far = origin.accept();
    client.write("question");
    CHECK(far.read(8) == "question");
    far.write("answer");
    CHECK(client.read(6) == "answer");
    far.close();
    CHECK(client.read(1).empty());
    CHECK(proxy.asked() == std::vector{(scheme == "http" ? "CONNECT " : "SOCKS ") + host});
    CHECK(proxy.heard().find("secret") == std::string::npos);
}

TEST_CASE("any_proxies: to an IPv6 origin by its address") {
    if (!cleave_test::has_ipv6()) return;
    loopback_listener origin{"::1"};
    auto const scheme = GENERATE("http"s, "socks5"s, "socks5h"s);
    proxy_server proxy;
    auto const host = "[::1]:" + std::to_string(origin.port());
    route_client client{any_proxies{proxy.at(scheme)}, to_url("https://" + host)};
    CHECK_FALSE(client.result());
    auto far = origin.accept();
    client.write("question");
    CHECK(far.read(8) == "question");
    CHECK(proxy.asked() == std::vector{(scheme == "http" ? "CONNECT " : "SOCKS ") + host});
}

TEST_CASE("any_proxies: a SOCKS5 proxy that wants other credentials, or cannot reach the origin") {
    std::uint16_t closed = 0;
    {
        loopback_listener const gone;
        closed = gone.port();
    }
    auto const to = to_url("http://origin.invalid:" + std::to_string(closed) + "/");
    proxy_server proxy{{.credentials = "user:pw"}};
    auto const open = [&](std::string const& credentials) {
        return route_client{any_proxies{proxy.at("socks5h", credentials)}, to}.result();
    };
    CHECK(open("") == error::proxy_authentication_required);
    CHECK(open("user:PW") == error::proxy_authentication_required);
    CHECK(open("user:pw") == error::proxy_failed);

    proxy_server odd{{.instead = "HTTP/1.1 400 Bad Request\r\n\r\n"}};
    CHECK(route_client{any_proxies{odd.at("socks5h")}, to}.result() == error::bad_proxy_reply);
}
