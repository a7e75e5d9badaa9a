// SPDX-License-Identifier: BSL-1.0
//
// Which proxy is for which URL, as curl has it, and what http_proxies says to one and makes of its
// answers: without a socket, over a socket byte by byte, and to a proxy that passes on.
#include <cleave/connect/proxy.hpp>

#include <support/catch.hpp>
#include <support/loopback.hpp>
#include <support/proxy_server.hpp>
#include <support/route_client.hpp>

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/route.hpp>
#include <cleave/http/request_head.hpp>

#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using cleave::error;
using cleave::http_proxies;
using cleave::proxy_rules;
using cleave::stop;
using cleave::url;
using cleave::detail::connect_talk;
using cleave_test::loopback_listener;
using cleave_test::proxy_server;
using cleave_test::route_client;
using cleave_test::to_url;
using std::error_code;
using namespace std::literals;

namespace {

// The variables of proxies are these and no others, until the end.
class environment {
  public:
    explicit environment(std::map<std::string, std::string> const& set) {
        for (char const* const name : {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                       "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"}) {
            if (char const* const value = std::getenv(name)) before_[name] = value;
            ::unsetenv(name);
            names_.emplace_back(name);
        }
        for (auto const& [name, value] : set) ::setenv(name.c_str(), value.c_str(), 1);
    }
    environment(environment const&) = delete;
    environment& operator=(environment const&) = delete;
    ~environment() {
        for (auto const& name : names_) ::unsetenv(name.c_str());
        for (auto const& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
    }

  private:
    std::vector<std::string> names_;
    std::map<std::string, std::string> before_;
};

auto const http_url = to_url("http://example.org/a?b");
auto const https_url = to_url("https://example.org/a?b");

// A proxy whose end the test has in its hands.
std::string at(loopback_listener const& proxy, std::string const& credentials = {}) {
    return (credentials.empty() ? "" : credentials + "@") +
           "127.0.0.1:" + std::to_string(proxy.port());
}

constexpr std::string_view connect_request = "CONNECT example.org:443 HTTP/1.1\r\n"
                                             "Host: example.org:443\r\n\r\n";
constexpr std::string_view good_reply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: x\r\n\r\n";

connect_talk new_talk() {
    connect_talk talk{https_url, {}};
    CHECK(talk.to_send() == connect_request);
    CHECK(talk.to_send().empty());
    CHECK_FALSE(talk.over());
    return talk;
}

} // namespace

// ---- which proxy --------------------------------------------------------------------------

TEST_CASE("proxy_rules: hosts without a proxy, as curl reads the list") {
    struct row {
        std::string host;
        std::string list;
        bool straight;
    };
    auto const r = GENERATE(values<row>({
        {"example.org", "", false},
        // All, but only where that is all.
        {"example.org", "*", true},
        {"127.0.0.1", "*", true},
        {"[::1]", "*", true},
        {"example.org", " *", false},
        {"example.org", "other.org,*", false},
        {"example.org", "*.org", false},
        // Names, and their subdomains.
        {"example.org", "example.org", true},
        {"www.example.org", "example.org", true},
        {"a.b.example.org", "example.org", true},
        {"example.org", "www.example.org", false},
        {"nonexample.org", "example.org", false},
        {"example.org.net", "example.org", false},
        {"example.org", "org", true},
        {"example.org", "xample.org", false},
        {"localhost", "localhost", true},
        {"localhost.localdomain", "localhost", false},
        // Dots at the ends, and letters of any size.
        {"example.org", ".example.org", true},
        {"www.example.org", ".example.org", true},
        {"nonexample.org", ".example.org", false},
        {"example.org", "..example.org", false},
        {"example.org.", "example.org", true},
        {"example.org", "example.org.", true},
        {"www.example.org.", ".example.org.", true},
        {"example.org", ".", false},
        {"example.org.", ".", false},
        {"EXAMPLE.org", "example.ORG", true},
        // Commas and blanks.
        {"example.org", "a,example.org", true},
        {"example.org", "example.org,a", true},
        {"example.org", "a b\texample.org", true},
        {"example.org", " a , example.org ", true},
        {"example.org", ",,a,,,example.org", true},
        {"example.org", ", ,", false},
        {"example.org", "a;example.org", false},
        {"example.org", "exa,mple.org", false},
        {"example.org", "example.org:80", false},
        {"example.org", "http://example.org", false},
        // Addresses are no names.
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "0.0.1", false},
        {"127.0.0.1", ".0.0.1", false},
        {"127.0.0.1", "127.0.0", false},
        {"127.0.0.1", "127.0.0.1.", false},
        {"127.0.0.1", "127.1", false},
        {"127.0.0.1", "::ffff:127.0.0.1", false},
        {"1.example.org", "1", false},
        // Networks.
        {"10.1.2.3", "10.0.0.0/8", true},
        {"11.1.2.3", "10.0.0.0/8", false},
        {"10.1.2.3", "10.255.255.255/8", true},
        {"192.168.1.127", "192.168.1.0/25", true},
        {"192.168.1.128", "192.168.1.0/25", false},
        {"192.168.1.3", "192.168.1.2/31", true},
        {"192.168.1.4", "192.168.1.2/31", false},
        {"192.168.1.2", "192.168.1.2/32", true},
        {"192.168.1.3", "192.168.1.2/32", false},
        {"192.168.1.2", "192.168.1.2/33", false},
        {"192.168.1.2", "192.168.1.2/4294967328", false},
        {"192.168.1.2", "0.0.0.0/0", true},
        {"192.168.1.2", "192.168.1.2/", false},
        {"192.168.1.2", "192.168.1.2/-1", false},
        {"192.168.1.2", "192.168.1.2/32x", false},
        {"192.168.1.2", "192.168.1.2/255.255.255.0", false},
        {"192.168.1.2", "a,192.168.0.0/16 b", true},
        {"example.org", "0.0.0.0/0", false},
        {"192.168.1.2", "::/0", false},
        // IPv6, in whatever way it is written.
        {"[::1]", "::1", true},
        {"[::1]", "[::1]", true},
        {"[::1]", "0:0:0:0:0:0:0:1", true},
        {"[0:0::0:1]", "::1", true},
        {"[::1]", "::2", false},
        {"[fd00::1]", "fd00::/8", true},
        {"[fdff::1]", "FD00::/8", true},
        {"[fe00::1]", "fd00::/8", false},
        {"[fd00::1]", "[fd00::]/8", true},
        {"[2001:db8:7fff::1]", "2001:db8::/33", true},
        {"[2001:db8:8000::1]", "2001:db8::/33", false},
        {"[2001:db8::1]", "2001:db8::1/128", true},
        {"[2001:db8::1]", "2001:db8::/128", false},
        {"[2001:db8::1]", "2001:db8::1/129", false},
        {"[2001:db8::1]", "::/0", true},
        {"[2001:db8::1]", "0.0.0.0/0", false},
        {"[::1]", "[::1", false},
        {"[::1]", "1", false},
        {"[2001:db8:1111:2222:3333:4444:5555:6666]",
         "2001:0db8:1111:2222:3333:4444:5555:6666:7777:8888:9999", false},
    }));
    INFO(r.host << " and '" << r.list << '\'');
    proxy_rules const rules{.http = "http://plain", .https = "http://secure", .no_proxy = r.list};
    CHECK(rules.proxy_for(to_url("http://" + r.host + ":81/")) == (r.straight ? "" : rules.http));
    CHECK(rules.proxy_for(to_url("https://" + r.host + "/")) == (r.straight ? "" : rules.https));
    // And the route thinks the same.
    auto const to = to_url("http://" + r.host + "/");
    CHECK((http_proxies{rules}.first(to).host != "plain") == r.straight);
}

TEST_CASE("proxy_rules: what the environment says") {
    struct row {
        std::map<std::string, std::string> set;
        std::string http, https, no_proxy;
    };
    auto const r = GENERATE(values<row>({
        {{}, "", "", ""},
        {{{"http_proxy", "a"}}, "a", "", ""},
        // A header of whoever asks a CGI program for something.
        {{{"HTTP_PROXY", "a"}}, "", "", ""},
        {{{"HTTP_PROXY", "a"}, {"ALL_PROXY", "b"}}, "b", "b", ""},
        {{{"https_proxy", "a"}}, "", "a", ""},
        {{{"HTTPS_PROXY", "a"}}, "", "a", ""},
        {{{"https_proxy", "a"}, {"HTTPS_PROXY", "b"}}, "", "a", ""},
        {{{"https_proxy", ""}, {"HTTPS_PROXY", "b"}}, "", "b", ""},
        {{{"all_proxy", "a"}}, "a", "a", ""},
        {{{"ALL_PROXY", "a"}}, "a", "a", ""},
        {{{"all_proxy", "a"}, {"ALL_PROXY", "b"}}, "a", "a", ""},
        {{{"all_proxy", ""}, {"ALL_PROXY", "b"}}, "b", "b", ""},
        {{{"http_proxy", "a"}, {"all_proxy", "b"}}, "a", "b", ""},
        {{{"HTTPS_PROXY", "a"}, {"all_proxy", "b"}}, "b", "a", ""},
        {{{"http_proxy", ""}, {"all_proxy", "b"}}, "b", "b", ""},
        {{{"http_proxy", ""}, {"https_proxy", ""}, {"all_proxy", ""}}, "", "", ""},
        {{{"no_proxy", "a"}}, "", "", "a"},
        {{{"NO_PROXY", "a"}}, "", "", "a"},
        {{{"no_proxy", "a"}, {"NO_PROXY", "b"}}, "", "", "a"},
        {{{"no_proxy", ""}, {"NO_PROXY", "b"}}, "", "", "b"},
    }));
    environment const set{r.set};
    auto const rules = proxy_rules::from_environment();
    CHECK(rules.http == r.http);
    CHECK(rules.https == r.https);
    CHECK(rules.no_proxy == r.no_proxy);

    auto const way = http_proxies::from_environment();
    CHECK(way.first(http_url).host == (r.http.empty() ? "example.org" : r.http));
    CHECK(way.first(https_url).host == (r.https.empty() ? "example.org" : r.https));
}

TEST_CASE("http_proxies: how a proxy may be written") {
    struct row {
        std::string text;
        stop first;
        std::string authorization;
    };
    auto const r = GENERATE(values<row>({
        {"proxy", {"proxy", 1080}, ""},
        {"proxy:3128", {"proxy", 3128}, ""},
        {"proxy:80", {"proxy", 80}, ""},
        {"proxy:443", {"proxy", 443}, ""},
        {"proxy:", {"proxy", 1080}, ""},
        {"http://proxy", {"proxy", 1080}, ""},
        {"HTTP://PROXY.Example:8080/", {"proxy.example", 8080}, ""},
        {"proxy/", {"proxy", 1080}, ""},
        {"127.0.0.1:1", {"127.0.0.1", 1}, ""},
        {"[::1]", {"::1", 1080}, ""},
        {"http://[::1]:80", {"::1", 80}, ""},
        // RFC 7617, section 2, has this example.
        {"Aladdin:open%20sesame@proxy", {"proxy", 1080}, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        {"http://user:81@proxy", {"proxy", 1080}, "Basic dXNlcjo4MQ=="},
        {"user@proxy:82", {"proxy", 82}, "Basic dXNlcjo="},
        {"user:%40%3a%2F@[::1]:3", {"::1", 3}, "Basic dXNlcjpAOi8="},
        {"@proxy", {"proxy", 1080}, ""},
    }));
    http_proxies const way{r.text};
    CHECK_FALSE(way.check(http_url));
    CHECK_FALSE(way.check(https_url));
    CHECK(way.first(http_url) == r.first);
    CHECK(way.first(https_url) == r.first);
    REQUIRE(way.hop(http_url) != nullptr);
    CHECK(way.hop(http_url)->authorization == r.authorization);
    CHECK(way.hop(https_url) == nullptr);
}

TEST_CASE(
    "http_proxies: proxies that cannot be read or spoken to are refused, and nobody is asked") {
    struct row {
        std::string text;
        error why;
    };
    auto const r = GENERATE(values<row>({
        {" ", error::bad_proxy},
        {"http://", error::bad_proxy},
        {"://proxy", error::bad_proxy},
        {"pro xy", error::bad_proxy},
        {"proxy ", error::bad_proxy},
        {"proxy\r\nX: y", error::bad_proxy},
        {"proxy:0", error::bad_proxy},
        {"proxy:65536", error::bad_proxy},
        {"proxy:x", error::bad_proxy},
        {"proxy/path", error::bad_proxy},
        {"proxy//", error::bad_proxy},
        {"proxy?x", error::bad_proxy},
        {"proxy/?", error::bad_proxy},
        {"proxy#x", error::bad_proxy},
        {"::1", error::bad_proxy},
        {"[::1", error::bad_proxy},
        {"127.1:80", error::bad_proxy},
        {"us er:secret@proxy", error::bad_proxy},
        {"user:sec@ret@proxy", error::bad_proxy},
        {"user:sec/ret@proxy", error::bad_proxy},
        {"user:%0d%0asecret@proxy", error::bad_proxy},
        {"http:proxy", error::bad_proxy},
        {"ftp://user:secret@proxy", error::bad_proxy},
        {"http://http://proxy", error::bad_proxy},
        {"socks5://pro xy", error::bad_proxy},
        {"https://user:secret@proxy", error::proxy_unsupported},
        {"socks5://user:secret@proxy", error::proxy_unsupported},
        {"SOCKS5h://proxy:1", error::proxy_unsupported},
        {"socks4://proxy", error::proxy_unsupported},
        {"socks4a://proxy", error::proxy_unsupported},
        {"socks://proxy", error::proxy_unsupported},
    }));
    INFO(r.text);
    http_proxies const way{r.text};
    for (url const& to : {http_url, https_url}) {
        CHECK(way.check(to) == r.why);
        CHECK(way.check(to).message().find("secret") == std::string::npos);
        CHECK(way.hop(to) == nullptr);
        // Whoever does not check is not let through to the origin either.
        asio::io_context context;
        asio::ip::tcp::socket socket{context};
        std::vector<error_code> told;
        way.async_open(socket, to, [&](error_code ec) { told.push_back(ec); });
        CHECK(told.empty());
        context.run();
        CHECK(told == std::vector{make_error_code(r.why)});
    }
    // Another URL is none of its business.
    http_proxies const for_http{proxy_rules{.http = r.text, .https = "", .no_proxy = ""}};
    CHECK(for_http.check(http_url) == r.why);
    CHECK_FALSE(for_http.check(https_url));
    http_proxies const not_here{r.text, "example.org"};
    CHECK_FALSE(not_here.check(http_url));
}

TEST_CASE("http_proxies: straight where no proxy is named") {
    loopback_listener origin;
    for (http_proxies const& way : {http_proxies{}, http_proxies{""}, http_proxies{proxy_rules{}},
                                    http_proxies{"http://proxy:1", "127.0.0.0/8"}}) {
        for (std::string const scheme : {"http", "https"}) {
            auto const to = to_url(scheme + "://127.0.0.1:" + std::to_string(origin.port()) + "/");
            CHECK_FALSE(way.check(to));
            CHECK(way.first(to) == stop{"127.0.0.1", origin.port()});
            CHECK(way.key(to).empty());
            CHECK(way.hop(to) == nullptr);
            route_client client{way, to};
            auto far = origin.accept();
            CHECK_FALSE(client.result());
            CHECK(far.quiet());
        }
    }
}

TEST_CASE("http_proxies: the key tells proxies and credentials apart") {
    std::vector<std::string> const texts{
        "proxy:1",     "proxy:2",    "proxi:1",          "a@proxy:1",         "a:b@proxy:1",
        "a:c@proxy:1", "a:@proxy:1", "socks5://proxy:1", "socks5h://proxy:1", "[::1]:1"};
    for (auto const& one : texts) {
        CHECK(http_proxies{one}.key(https_url) ==
              http_proxies{"", ""}.key(https_url) + http_proxies{one}.key(http_url));
        for (auto const& other : texts)
            CHECK((http_proxies{one}.key(https_url) == http_proxies{other}.key(https_url)) ==
                  (one == other));
    }
    CHECK(http_proxies{"proxy"}.key(http_url) == http_proxies{"HTTP://Proxy:1080/"}.key(http_url));
}

TEST_CASE("http_proxies: the hop lives as long as any copy") {
    auto first = std::make_unique<http_proxies>("user:pw@proxy");
    auto const* const hop = first->hop(http_url);
    auto const copy = *first;
    auto const moved_to = std::move(*first);
    CHECK(first->hop(http_url) == hop);
    first.reset();
    CHECK(copy.hop(http_url) == hop);
    CHECK(moved_to.hop(http_url) == hop);
    CHECK(hop->authorization == "Basic dXNlcjpwdw==");
}

// ---- what is said -------------------------------------------------------------------------

TEST_CASE("CONNECT: names host and port, and nothing of the origin's that is secret") {
    struct row {
        std::string to, origin;
    };
    auto const r = GENERATE(values<row>({
        {"https://example.org/", "example.org:443"},
        {"https://user:secret@example.org:8443/secret?secret", "example.org:8443"},
        {"https://127.0.0.1:80/", "127.0.0.1:80"},
        {"https://[2001:DB8::1]/", "[2001:db8::1]:443"},
    }));
    connect_talk plain{to_url(r.to), {}};
    CHECK(plain.to_send() == "CONNECT " + r.origin + " HTTP/1.1\r\nHost: " + r.origin + "\r\n\r\n");
    connect_talk authorized{to_url(r.to), {.authorization = "Basic abc"}};
    CHECK(authorized.to_send() == "CONNECT " + r.origin + " HTTP/1.1\r\nHost: " + r.origin +
                                      "\r\nProxy-Authorization: Basic abc\r\n\r\n");
}

TEST_CASE("CONNECT: what each status means") {
    for (int status = 200; status < 1000; ++status) {
        auto talk = new_talk();
        std::string const reply = "HTTP/1.1 " + std::to_string(status) + " x\r\n\r\n";
        CHECK(talk.take(reply) == reply.size());
        CHECK(talk.over());
        bool const wants_login = status == 401 || status == 407;
        error_code const expected = status < 300   ? error_code{}
                                    : status < 400 ? error::bad_proxy_reply
                                    : wants_login  ? error::proxy_authentication_required
                                    : status < 500 ? error::proxy_refused
                                    : status < 600 ? error::proxy_failed
                                                   : error::bad_proxy_reply;
        CHECK(talk.result() == expected);
    }
}

TEST_CASE("CONNECT: a reply in two parts, or cut, at every byte") {
    std::string const reply = "HTTP/1.1 100 Continue\r\n\r\n" + std::string{good_reply};
    for (std::size_t cut = 0; cut < reply.size(); ++cut) {
        auto talk = new_talk();
        CHECK(talk.take(reply.substr(0, cut)) == cut);
        CHECK_FALSE(talk.over());
        CHECK(talk.to_send().empty());
        CHECK(talk.if_closed() == (cut == 0 ? error::proxy_failed : error::bad_proxy_reply));
        // What follows is not the proxy's.
        CHECK(talk.take(reply.substr(cut) + "behind") == reply.size() - cut);
        CHECK(talk.over());
        CHECK_FALSE(talk.result());
    }
}

TEST_CASE("CONNECT: replies that are none") {
    auto const reply = GENERATE(values<std::string>(
        {"HTTP/1.1 200 OK\n\n", "HTTP/2 200\r\n\r\n", "\x05", "SSH-2.0-x\r\n", "\x15\x03\x01",
         "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
         "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA: " + std::string(70'000, 'a')}));
    auto talk = new_talk();
    CHECK(talk.take(reply) <= reply.size());
    REQUIRE(talk.over());
    CHECK(talk.result() == error::bad_proxy_reply);
}

// ---- over a socket ------------------------------------------------------------------------

TEST_CASE("http_proxies: a tunnel, the reply byte by byte, and what follows is left alone") {
    loopback_listener proxy;
    route_client client{http_proxies{at(proxy)}, https_url};
    auto far = proxy.accept();
    client.step();
    CHECK(far.read(connect_request.size()) == connect_request);
    CHECK(far.quiet());
    for (char const c : good_reply.substr(0, good_reply.size() - 1)) {
        client.see(far, {&c, 1});
        REQUIRE(client.told.empty());
    }
    far.write("\nbehind");
    CHECK_FALSE(client.result());
    CHECK(client.read(6) == "behind");
    CHECK(far.quiet());
    client.write("hello");
    CHECK(far.read(5) == "hello");
}

TEST_CASE("http_proxies: a tunnel, the reply and more in one go") {
    loopback_listener proxy;
    route_client client{http_proxies{at(proxy)}, https_url};
    auto far = proxy.accept();
    // Longer than what is looked at at once.
    std::string const reply = "HTTP/1.1 200 OK\r\nA: " + std::string(10'000, 'a') + "\r\n\r\n";
    far.write(reply + "behind");
    CHECK_FALSE(client.result());
    CHECK(client.read(6) == "behind");
}

TEST_CASE("http_proxies: http URLs need no words, and nothing is sent or taken") {
    loopback_listener proxy;
    route_client client{http_proxies{at(proxy, "user:pw")}, http_url};
    auto far = proxy.accept();
    far.write("x");
    CHECK_FALSE(client.result());
    CHECK(far.quiet());
    CHECK(client.read(1) == "x");
}

TEST_CASE("http_proxies: a proxy that closes, after every byte") {
    for (std::size_t cut = 0; cut < good_reply.size(); ++cut) {
        loopback_listener proxy;
        route_client client{http_proxies{at(proxy)}, https_url};
        auto far = proxy.accept();
        client.step();
        CHECK(far.read(connect_request.size()) == connect_request);
        if (cut > 0) far.write(good_reply.substr(0, cut));
        far.close();
        CHECK(client.result() == (cut == 0 ? error::proxy_failed : error::bad_proxy_reply));
    }
}

TEST_CASE("http_proxies: a proxy that resets the connection") {
    loopback_listener proxy;
    route_client client{http_proxies{at(proxy)}, https_url};
    auto far = proxy.accept();
    client.step();
    far.reset();
    CHECK(client.result() == asio::error::connection_reset);
}

TEST_CASE("http_proxies: closing the socket ends it, at every stage") {
    loopback_listener proxy;
    auto const stage = GENERATE(0, 1, 2);
    route_client client{http_proxies{at(proxy)}, https_url};
    auto far = proxy.accept();
    if (stage >= 1) client.step();
    if (stage >= 2) client.see(far, "HTTP/1.1 ");
    REQUIRE(client.told.empty());
    client.socket.close();
    CHECK(client.result());
}

TEST_CASE("http_proxies: neither route nor URL given need outlive the call but the URL") {
    loopback_listener proxy;
    auto way = std::make_unique<http_proxies>(at(proxy, "user:pw"));
    route_client client{*way, https_url};
    way.reset();
    auto far = proxy.accept();
    client.step();
    auto const head = far.read(connect_request.size() + 44);
    CHECK(head.find("Basic dXNlcjpwdw==\r\n\r\n") != std::string::npos);
    far.write(good_reply);
    CHECK_FALSE(client.result());
}

// ---- to a proxy that passes on ------------------------------------------------------------

TEST_CASE("http_proxies: through a tunnel to the origin, with credentials and without") {
    loopback_listener origin;
    auto const to = to_url("https://user:secret@origin.invalid:" + std::to_string(origin.port()));
    auto const credentials = GENERATE("", "user:p@ss:word");
    proxy_server proxy{{.credentials = credentials}};
    route_client client{http_proxies{proxy.at("http", *credentials ? "user:p%40ss:word" : "")}, to};
    CHECK_FALSE(client.result());
    auto far = origin.accept();
    client.write("question");
    CHECK(far.read(8) == "question");
    far.write("answer");
    CHECK(client.read(6) == "answer");
    far.close();
    CHECK(client.read(1).empty());
    CHECK(proxy.asked() == std::vector{"CONNECT origin.invalid:" + std::to_string(origin.port())});
    CHECK(proxy.heard().find("secret") == std::string::npos);
}

TEST_CASE("http_proxies: http requests with the whole URL, to the proxy that hop() names") {
    loopback_listener origin;
    proxy_server proxy{{.credentials = "user:pw"}};
    auto const host = "origin.invalid:" + std::to_string(origin.port());
    auto const to = to_url("http://" + host + "/x?y");
    http_proxies const way{proxy.at("http", "user:pw")};
    route_client client{way, to};
    CHECK_FALSE(client.result());
    std::string head;
    cleave::append_request_head(head, {.target = to,
                                       .range = {},
                                       .if_range = nullptr,
                                       .headers = {},
                                       .user_agent = {},
                                       .proxy = way.hop(to)});
    client.write(head);
    auto far = origin.accept();
    auto const expected = "GET /x?y HTTP/1.1\r\nHost: " + host + "\r\n";
    auto const came = far.read(expected.size());
    CHECK(came == expected);
    far.write("answer");
    CHECK(client.read(6) == "answer");
    CHECK(proxy.asked() == std::vector{"GET http://" + host + "/x?y"});
}

TEST_CASE("http_proxies: a proxy that wants other credentials, or cannot reach the origin") {
    std::uint16_t closed = 0;
    {
        loopback_listener const gone;
        closed = gone.port();
    }
    auto const to = to_url("https://origin.invalid:" + std::to_string(closed) + "/");
    proxy_server proxy{{.credentials = "user:pw"}};
    auto const open = [&](std::string const& credentials) {
        return route_client{http_proxies{proxy.at("http", credentials)}, to}.result();
    };
    CHECK(open("") == error::proxy_authentication_required);
    CHECK(open("user:PW") == error::proxy_authentication_required);
    CHECK(open("user:pw") == error::proxy_failed);

    proxy_server odd{{.instead = "no proxy at all\r\n\r\n"}};
    CHECK(route_client{http_proxies{odd.at()}, to}.result() == error::bad_proxy_reply);
}
