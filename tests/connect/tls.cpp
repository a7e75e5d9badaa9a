// SPDX-License-Identifier: BSL-1.0
//
// tls_stream and its connectors against a real TLS server of this machine: who is let through and
// who is refused by which name, that nothing was sent to those, that a cut or damaged connection is
// never taken for a whole one, that tickets and kept connections go from one stream to the next and
// to none that trusts otherwise, and that proxies on the way change nothing of it.
#include <cleave/connect/tls.hpp>

#include <support/catch.hpp>
#include <support/line_route.hpp>
#include <support/loopback.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/connect/pool.hpp>
#include <cleave/connect/tcp.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using cleave::cause;
using cleave::connection_pool;
using cleave::error;
using cleave::handshake;
using cleave::tls_connector;
using cleave::tls_settings;
using cleave::unverified_tls_connector;
using cleave::url;
using cleave_test::identity;
using cleave_test::line_proxy;
using cleave_test::line_route;
using cleave_test::local_identity;
using cleave_test::local_names;
using cleave_test::loopback_listener;
using cleave_test::make_authority;
using cleave_test::make_identity;
using cleave_test::temp_dir;
using cleave_test::test_authority;
using cleave_test::tls_connection;
using cleave_test::tls_server;
using cleave_test::tls_server_options;
using cleave_test::write_file;
using std::error_code;
using namespace std::chrono_literals;

namespace {

tls_settings trusting() { return {.ca_pem = test_authority().pem()}; }

url parse(std::string const& text) {
    error_code ec;
    auto const u = url::parse(text, ec);
    REQUIRE_FALSE(ec);
    return u;
}

// One stream on an io_context of its own.
template <class Route>
struct client {
    template <bool Verifies>
    explicit client(cleave::basic_tls_connector<Verifies, Route> const& connector)
        : context(), stream(connector.make(asio::any_io_executor{context.get_executor()})) {}

    // Calls `start` with a handler, and answers with what it was told, once, not from within.
    template <class Start>
    error_code finish(Start start) {
        std::vector<error_code> told;
        start([&](error_code ec) { told.push_back(ec); });
        CHECK(told.empty());
        context.restart();
        context.run_for(10s);
        REQUIRE(told.size() == 1);
        return told[0];
    }
    error_code connect(std::string const& to) {
        return finish([&](auto h) { stream.async_connect(parse(to), h); });
    }
    error_code write(std::string_view text) {
        return finish([&](auto h) { stream.async_write(text, h); });
    }
    error_code wait() {
        return finish([&](auto h) { stream.async_wait(h); });
    }
    // What comes until there is `n` of it or an end.
    std::string read(std::size_t n, error_code& ec, std::size_t at_once = 100000) {
        std::string text;
        std::vector<std::byte> buffer(at_once);
        ec.clear();
        while (text.size() < n && !ec) {
            auto const want = std::min(n - text.size(), at_once);
            auto const got = stream.read_some(std::span{buffer}.first(want), ec);
            text.append(reinterpret_cast<char const*>(buffer.data()), got);
            CHECK((got == 0) == bool{ec});
            if (ec == asio::error::would_block) ec = wait();
        }
        return text;
    }
    std::string read_all(error_code& ec) { return read(std::size_t(-1), ec); }

    asio::io_context context;
    cleave::tls_stream<asio::any_io_executor, Route> stream;
};

std::string bytes_of(std::size_t n) {
    std::string text(n, '\0');
    std::uint32_t x = 12345;
    for (char& c : text) c = static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
    return text;
}

// Answers each line with itself, until the client has gone.
void echo(tls_connection& c) {
    for (;;) {
        auto const text = c.read();
        if (text.empty()) return;
        c.send(text);
    }
}
template <class Route>
bool speaks(client<Route>& c) {
    error_code ec;
    return !c.write("word") && c.read(4, ec) == "word" && !ec;
}

// Until the peer's system has all that was sent on a socket.
void wait_until_received(int fd) {
    int left = 1;
    while (::ioctl(fd, SIOCOUTQ, &left) == 0 && left != 0) std::this_thread::yield();
}

// Sets a variable of the environment for as long as it lives.
class variable {
  public:
    variable(char const* name, std::string const& value) : name_(name) {
        if (char const* const old = std::getenv(name)) old_ = old;
        ::setenv(name, value.c_str(), 1);
    }
    ~variable() {
        if (old_.empty())
            ::unsetenv(name_);
        else
            ::setenv(name_, old_.c_str(), 1);
    }
    variable(variable const&) = delete;

  private:
    char const* name_;
    std::string old_;
};

} // namespace

TEST_CASE("tls: bytes go and come, of any number, in either version") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    auto const sent = bytes_of(1000000);
    std::string received;
    tls_server server{[&](tls_connection& c) {
                          CHECK(c.version() == version);
                          CHECK(c.name_wanted() == "localhost");
                          received = c.read_until("\r\n\r\n");
                          c.send(sent);
                          c.raw(c.goodbye());
                      },
                      {.version = version}};
    client c{tls_connector{trusting()}};
    REQUIRE_FALSE(c.connect(server.url()));
    std::string const request = bytes_of(100000) + "\r\n\r\n";
    REQUIRE_FALSE(c.write(request));
    error_code ec;
    // Small reads leave much of a record behind, which the socket knows nothing of.
    std::size_t const at_once = GENERATE(7U, 5000U, 1000000U);
    CHECK((c.read(20000, ec, at_once) == sent.substr(0, 20000)));
    CHECK((c.read_all(ec) == sent.substr(20000)));
    CHECK(ec == asio::error::eof);
    // It stays at that, and there is nothing to wait for.
    CHECK_FALSE(c.wait());
    CHECK(c.read_all(ec).empty());
    CHECK(ec == asio::error::eof);
    server.stop();
    CHECK((received == request));
}

TEST_CASE("tls: waits only where nothing is there") {
    tls_server server{[](tls_connection& c) {
        c.read();
        c.send("abc");
        c.read();
        c.send("d");
        c.read();
    }};
    client c{tls_connector{trusting()}};
    REQUIRE_FALSE(c.connect(server.url()));
    std::byte none{};
    error_code ec;
    CHECK(c.stream.read_some({&none, 1}, ec) == 0);
    CHECK(ec == asio::error::would_block);
    CHECK(c.stream.read_some({&none, 0}, ec) == 0);
    CHECK_FALSE(ec);
    REQUIRE_FALSE(c.write("x"));
    CHECK(c.read(1, ec) == "a");
    CHECK_FALSE(c.wait());
    CHECK_FALSE(c.wait());
    CHECK(c.read(2, ec) == "bc");
    CHECK(c.stream.read_some({&none, 1}, ec) == 0);
    CHECK(ec == asio::error::would_block);
    // Now it would wait for ever.
    int told = 0;
    c.stream.async_wait([&](error_code) { ++told; });
    c.context.restart();
    c.context.run_for(50ms);
    CHECK(told == 0);
    c.stream.close();
    c.context.run_for(10s);
    CHECK(told == 1);
}

TEST_CASE("tls: http URLs are plain TCP, on the same stream") {
    tls_connector const connector{trusting()};
    client c{connector};
    tls_server server{echo};
    for (int round = 0; round != 2; ++round) {
        loopback_listener plain;
        REQUIRE_FALSE(c.finish([&](auto h) { c.stream.async_connect(plain.url(), h); }));
        auto far = plain.accept();
        REQUIRE_FALSE(c.write("ask"));
        CHECK(far.read(3) == "ask");
        far.write("answer");
        error_code ec;
        CHECK_FALSE(c.wait());
        CHECK(c.read(6, ec) == "answer");
        c.stream.close();
        CHECK(far.ended());
        REQUIRE_FALSE(c.connect(server.url()));
        CHECK(speaks(c));
    }
    CHECK(connector.handshakes().full + connector.handshakes().resumed == 2);
}

TEST_CASE("tls: a bad certificate is refused by name, and nothing is sent") {
    struct row {
        char const* what;
        identity shows;
        error why;
        std::string host = "localhost";
    };
    auto const& ca = test_authority();
    using namespace std::string_literals;
    auto const with = [&](auto edit) {
        auto o = local_names();
        edit(o);
        return make_identity(o, &ca);
    };
    identity const stranger = make_authority("nobody knows me");
    std::vector<row> const rows{
        {"for another host", make_identity({.names = {"other.test"}}, &ca),
         error::certificate_wrong_host},
        {"expired", with([](auto& o) { o.begins = -7200, o.ends = -3600; }),
         error::certificate_expired},
        {"not yet valid", with([](auto& o) { o.begins = 3600; }), error::certificate_not_yet_valid},
        {"self-signed", make_identity(local_names()), error::certificate_unknown_issuer},
        {"of an unknown CA", make_identity(local_names(), &stranger),
         error::certificate_unknown_issuer},
        {"for clients only", with([](auto& o) { o.extended_usage = "clientAuth"; }),
         error::certificate_bad},
        {"name as CN only", make_identity({.common_name = "localhost"}, &ca),
         error::certificate_wrong_host},
        {"NUL within the name", make_identity({.names = {"localhost\0.evil.test"s}}, &ca),
         error::certificate_wrong_host},
        {"any name", make_identity({.names = {"*"}}, &ca), error::certificate_wrong_host},
        {"wildcard of a top-level domain", make_identity({.names = {"*.test"}}, &ca),
         error::certificate_wrong_host, "a.test"},
        {"wildcard over two labels", make_identity({.names = {"*.example.test"}}, &ca),
         error::certificate_wrong_host, "a.b.example.test"},
        {"partial wildcard", make_identity({.names = {"f*.example.test"}}, &ca),
         error::certificate_wrong_host, "foo.example.test"},
        {"address as a DNS name", make_identity({.names = {"127.0.0.1"}}, &ca),
         error::certificate_wrong_host, "127.0.0.1"},
        {"another address", make_identity({.addresses = {"127.0.0.2"}}, &ca),
         error::certificate_wrong_host, "127.0.0.1"},
        {"address alone, for a name", make_identity({.addresses = {"127.0.0.1"}}, &ca),
         error::certificate_wrong_host},
    };
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (row const& r : rows) {
        CAPTURE(r.what, version);
        std::atomic<std::size_t> got = 0;
        tls_server server{[&](tls_connection& c) { got += c.read().size(); },
                          {.shows = r.shows, .version = version}};
        tls_connector const connector{trusting()};
        client c{connector};
        auto const ec = c.connect(server.url(r.host));
        CHECK(ec == r.why);
        CHECK(connector.classify(ec) == cleave::cause_of(r.why));
        CHECK(ec != cause::passing);
        CHECK(c.write("GET / HTTP/1.1\r\n\r\n"));
        server.stop();
        CHECK(server.accepted() == 1);
        CHECK(got == 0);
        CHECK(connector.handshakes().full == 0);
    }
}

TEST_CASE("tls: names and addresses that fit") {
    auto const& ca = test_authority();
    tls_server server{
        echo,
        {.shows = make_identity(
             {.names = {"localhost", "*.example.test", "plain.test"}, .addresses = {"127.0.0.1"}},
             &ca)}};
    struct row {
        std::string host;
        std::string named;
    };
    for (auto const& [host, named] :
         {row{"localhost", "localhost"}, row{"LOCALHOST", "localhost"},
          row{"plain.test.", "plain.test"}, row{"a.example.test", "a.example.test"},
          row{"127.0.0.1", ""}}) {
        CAPTURE(host);
        client c{tls_connector{trusting()}};
        REQUIRE_FALSE(c.connect(server.url(host)));
        CHECK(speaks(c));
        CHECK(server.last_name_wanted() == named);
    }
    if (!cleave_test::has_ipv6()) return;
    tls_server six{echo, {}, true};
    client c{tls_connector{trusting()}};
    REQUIRE_FALSE(c.connect(six.url("[::1]")));
    CHECK(speaks(c));
    CHECK(six.last_name_wanted().empty());
}

TEST_CASE("tls: trust that cannot be had is named before anything is connected") {
    temp_dir dir;
    write_file(dir / "empty.pem", "");
    write_file(dir / "text.pem", "no certificate here");
    auto const ca = test_authority().pem();
    write_file(dir / "cut.pem", ca.substr(0, ca.size() / 2));
    write_file(dir / "one_good.pem", ca + ca.substr(0, ca.size() / 2));
    write_file(dir / "key.pem", test_authority().key_pem("secret"));
    auto const at = [&](char const* name) { return (dir / name).string(); };
    struct row {
        tls_settings settings;
        error why;
    };
    tls_server server{echo};
    for (auto const& [settings, why] : std::vector<row>{
             {{.ca_file = at("missing.pem")}, error::trust_store_unreadable},
             {{.ca_file = dir.path().string()}, error::trust_store_unreadable},
             {{.ca_file = at("cut.pem")}, error::trust_store_unreadable},
             {{.ca_file = at("one_good.pem")}, error::trust_store_unreadable},
             {{.ca_file = at("empty.pem")}, error::trust_store_empty},
             {{.ca_file = at("text.pem")}, error::trust_store_empty},
             {{.ca_file = at("key.pem")}, error::trust_store_empty},
             {{.ca_pem = "text"}, error::trust_store_empty},
             {{.ca_pem = ca.substr(0, 100)}, error::trust_store_unreadable},
             {{.ca_file = at("missing.pem"), .ca_pem = ca}, error::trust_store_unreadable}}) {
        CAPTURE(settings.ca_file, settings.ca_pem);
        tls_connector const c{settings};
        CHECK(c.check(parse(server.url())) == why);
        CHECK(c.place_of(why) ==
              (settings.ca_file.empty() ? "tls_settings::ca_pem" : settings.ca_file));
        CHECK(c.place_of(error::bad_pin).empty());
        CHECK(c.classify(why) == cause::configuration);
        CHECK_FALSE(c.check(parse("http://127.0.0.1/")));
        CHECK(client{c}.connect(server.url()) == why);
        CHECK_FALSE(unverified_tls_connector{settings}.check(parse(server.url())));
    }
    CHECK(server.accepted() == 0);

    // It is looked for anew until it is there, and then no more.
    tls_connector const later{{.ca_file = at("later.pem")}};
    CHECK(later.check(parse(server.url())) == error::trust_store_unreadable);
    write_file(dir / "later.pem", ca);
    CHECK_FALSE(later.check(parse(server.url())));
    CHECK(later.place_of(error::trust_store_unreadable).empty());
    std::filesystem::remove(dir / "later.pem");
    CHECK_FALSE(tls_connector{later}.check(parse(server.url())));
    client c{later};
    CHECK_FALSE(c.connect(server.url()));
}

TEST_CASE("tls: the system's trust store is OpenSSL's, where there is one") {
    temp_dir dir;
    auto const ca = test_authority().pem();
    auto const at = [&](char const* name) { return (dir / name).string(); };
    write_file(dir / "ca.pem", ca);
    write_file(dir / "empty.pem", "");
    write_file(dir / "cut.pem", ca.substr(0, ca.size() / 2));
    for (char const* name : {"nothing", "files", "hashed", "broken"})
        std::filesystem::create_directory(dir / name);
    write_file(dir / "files" / "ca.pem", ca);
    char hash[16];
    std::snprintf(hash, sizeof hash, "%08lx.0",
                  X509_NAME_hash_ex(X509_get_subject_name(test_authority().certificate.get()),
                                    nullptr, nullptr, nullptr));
    write_file(dir / "hashed" / hash, ca);
    std::filesystem::create_symlink(dir / "gone", dir / "broken" / hash);

    tls_server server{echo};
    struct row {
        std::string file;
        std::string directory;
        error_code result;
        std::string place;
    };
    auto const empty = at("empty.pem");
    for (auto const& [file, directory, result, place] : std::vector<row>{
             {at("ca.pem"), at("missing"), {}, {}},
             {at("missing"), at("hashed"), {}, {}},
             {at("missing"), at("nothing") + ":" + at("hashed"), {}, {}},
             {empty, at("nothing"), error::trust_store_empty, empty + " and " + at("nothing")},
             {empty, at("files"), error::trust_store_empty, empty + " and " + at("files")},
             {empty, at("broken"), error::trust_store_empty, empty + " and " + at("broken")},
             {at("missing"), at("nothing"), error::trust_store_unreadable, at("missing")},
             {at("cut.pem"), at("nothing"), error::trust_store_unreadable, at("cut.pem")},
             {empty, at("missing"), error::trust_store_unreadable, at("missing")}}) {
        CAPTURE(file, directory);
        variable const f{"SSL_CERT_FILE", file};
        variable const d{"SSL_CERT_DIR", directory};
        tls_connector const connector;
        CHECK(connector.check(parse(server.url())) == result);
        CHECK(connector.place_of(result) == place);
        CHECK(client{connector}.connect(server.url()) == result);
    }
    // With a CA of one's own the system's are not trusted.
    variable const f{"SSL_CERT_FILE", at("ca.pem")};
    client c{tls_connector{{.ca_pem = make_authority("another").pem()}}};
    CHECK(c.connect(server.url()) == error::certificate_unknown_issuer);
}

TEST_CASE("tls: a client certificate, where the server wants one") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    temp_dir dir;
    auto const own = make_identity({.extended_usage = "clientAuth"}, &test_authority());
    auto const other = make_identity({.extended_usage = "clientAuth"}, &test_authority());
    write_file(dir / "own.pem", own.pem());
    write_file(dir / "own.key", own.key_pem());
    write_file(dir / "both.pem", own.key_pem() + own.pem());
    write_file(dir / "other.key", other.key_pem());
    write_file(dir / "locked.key", own.key_pem("secret"));
    auto const self = make_identity({.extended_usage = "clientAuth"});
    write_file(dir / "self.pem", self.key_pem() + self.pem());
    auto const showing = [&](char const* certificate, char const* key) {
        auto s = trusting();
        s.certificate_file = (dir / certificate).string();
        if (*key != '\0') s.key_file = (dir / key).string();
        return s;
    };
    tls_server server{echo, {.version = version, .client_ca = test_authority().pem()}};
    for (auto const& settings : {showing("own.pem", "own.key"), showing("both.pem", "")}) {
        client c{tls_connector{settings}};
        REQUIRE_FALSE(c.connect(server.url()));
        CHECK(speaks(c));
    }
    auto const unreadable = error::client_certificate_unreadable;
    for (auto const& [settings, to_blame] : std::vector<std::pair<tls_settings, char const*>>{
             {showing("own.pem", "other.key"), "other.key"},
             {showing("own.pem", "locked.key"), "locked.key"},
             {showing("own.pem", ""), "own.pem"},
             {showing("missing.pem", "own.key"), "missing.pem"},
             {showing("own.pem", "missing"), "missing"},
             {showing("own.key", "own.key"), "own.key"}}) {
        CAPTURE(settings.certificate_file, settings.key_file);
        tls_connector const c{settings};
        CHECK(c.check(parse(server.url())) == unreadable);
        CHECK(c.place_of(unreadable) == (dir / to_blame).string());
    }
    auto key_alone = trusting();
    key_alone.key_file = (dir / "own.key").string();
    CHECK(tls_connector{key_alone}.check(parse(server.url())) == unreadable);

    // In TLS 1.3 the server says so when the client has shaken hands already.
    for (auto const& settings : {trusting(), showing("self.pem", "")}) {
        client c{tls_connector{settings}};
        auto ec = c.connect(server.url());
        if (!ec) c.read_all(ec);
        CHECK(ec == error::tls_handshake_failed);
    }
}

TEST_CASE("tls: who must not be known is not, by certificate, ticket or kept connection") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    temp_dir dir;
    auto const own = make_identity({.extended_usage = "clientAuth"}, &test_authority());
    write_file(dir / "own.pem", own.key_pem() + own.pem());
    auto settings = trusting();
    settings.certificate_file = (dir / "own.pem").string();
    tls_server server{[](tls_connection& c) {
                          while (!c.read().empty())
                              c.send(c.peer_showed_certificate() ? "known" : "alien");
                      },
                      {.version = version, .asks_certificate = true}};
    connection_pool pool;
    tls_connector const connector{settings, pool};
    // A stream that is told is told for all its connections to come.
    client c{connector};
    client other{connector};
    for (bool const again : {false, true})
        for (bool const known : {true, false}) {
            CAPTURE(version, again, known);
            c.stream.identify(known);
            other.stream.identify(known);
            auto const check = [&](auto& who, bool kept, handshake began) {
                REQUIRE_FALSE(who.connect(server.url()));
                CHECK(who.stream.kept() == kept);
                CHECK(who.stream.about().handshake == began);
                REQUIRE_FALSE(who.write("who am I?"));
                error_code ec;
                CHECK(who.read(5, ec) == (known ? "known" : "alien"));
            };
            check(c, again, again ? handshake::none : handshake::full);
            check(other, false, handshake::resumed);
            c.stream.keep();
            other.stream.close();
            CHECK(pool.size() == (known && !again ? 1 : 2));
        }
}

TEST_CASE("tls: pinned keys, besides verification") {
    tls_server server{echo};
    auto const of = [](identity const& i) {
        return cleave::detail::tls_pin_of(i.certificate.get());
    };
    auto const right = of(local_identity());
    auto const wrong = of(test_authority());
    auto const result = [&](auto connector, std::vector<std::string> pins) {
        auto s = trusting();
        s.pins = std::move(pins);
        client c{decltype(connector){s}};
        auto const ec = c.connect(server.url());
        if (!ec) CHECK(speaks(c));
        return ec;
    };
    CHECK_FALSE(result(tls_connector{}, {right}));
    CHECK_FALSE(result(tls_connector{}, {wrong, right}));
    CHECK(result(tls_connector{}, {wrong}) == error::pin_mismatch);
    CHECK(result(unverified_tls_connector{}, {wrong}) == error::pin_mismatch);
    CHECK_FALSE(result(unverified_tls_connector{}, {right}));
    int const connected = server.accepted();
    for (auto const& bad : {std::string{}, std::string{"sha256//"}, right.substr(8),
                            "sha1//" + right.substr(8), right + "=", right + ";" + right,
                            right.substr(0, 51) + "A", "sha256//****" + right.substr(12)}) {
        CAPTURE(bad);
        CHECK(result(tls_connector{}, {right, bad}) == error::bad_pin);
    }
    CHECK(server.accepted() == connected);
    // A right pin makes no stranger known.
    tls_server stranger{echo, {.shows = make_identity(local_names())}};
    auto s = trusting();
    s.pins = {right};
    CHECK(client{tls_connector{s}}.connect(stranger.url()) == error::certificate_unknown_issuer);
}

TEST_CASE("tls: a pin is what other programs make of the same key") {
    // openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
    std::string const pem = "-----BEGIN CERTIFICATE-----\n"
                            "MIIBczCCARmgAwIBAgIUY0ZP3UTusu7jZH/vMrHzZhw8p6IwCgYIKoZIzj0EAwIw\n"
                            "DjEMMAoGA1UEAwwDcGluMCAXDTI2MTEyNDE2MjAxM1oYDzIxMjYxMDMxMTYyMDEz\n"
                            "WjAOMQwwCgYDVQQDDANwaW4wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARb7toS\n"
                            "FlszGm2IjenF1yMFoe21IYWTgcxedwPVzYegfUjhlc9jMoapIpRy2P2gkH4Xwa9s\n"
                            "vzfU4QRq4xVwFPhGo1MwUTAdBgNVHQ4EFgQUqw1lKysYNLzcrPn/HErFHzW4KdAw\n"
                            "HwYDVR0jBBgwFoAUqw1lKysYNLzcrPn/HErFHzW4KdAwDwYDVR0TAQH/BAUwAwEB\n"
                            "/zAKBggqhkjOPQQDAgNIADBFAiEAsh53wlZkeSjiIrJwCIA0P+XmBViIWPsez8od\n"
                            "PaXKQhcCIA5Z+NAmB9YNyn+BeYo9es5pkDmZOGRA6H4kA/P8mYUu\n"
                            "-----END CERTIFICATE-----\n";
    std::unique_ptr<BIO, decltype(&BIO_free)> const bio{BIO_new_mem_buf(pem.data(), -1), &BIO_free};
    std::unique_ptr<X509, decltype(&X509_free)> const c{
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), &X509_free};
    REQUIRE(c);
    CHECK(cleave::detail::tls_pin_of(c.get()) ==
          "sha256//wTq0kYUp5cJpl0fzIMuGIuTFgWoyXsIk8+uaWXRaRtw=");
}

TEST_CASE("tls: old versions, and servers that speak none, are refused (G06)") {
    tls_connector const connector{trusting()};
    for (int const version : {TLS1_VERSION, TLS1_1_VERSION}) {
        tls_server old{echo, {.version = version}};
        CHECK(client{connector}.connect(old.url()) == error::tls_handshake_failed);
        CHECK(old.shaken() == 0);
    }

    loopback_listener plain;
    std::thread answers{[&] {
        auto far = plain.accept();
        far.read(5);
        far.write("HTTP/1.1 400 Bad Request\r\n\r\n");
        far.read(100000);
    }};
    CHECK(client{connector}.connect("https://localhost:" + std::to_string(plain.port()) + "/") ==
          error::tls_handshake_failed);
    answers.join();
    CHECK(connector.classify(error::tls_handshake_failed) == cause::permanent);
    CHECK(connector.handshakes().full == 0);
}

TEST_CASE("tls: ciphers that hide nothing, or from nobody, are refused (G06)") {
    // Neither encryption, nor a certificate.
    auto const ciphers = GENERATE("eNULL:@SECLEVEL=0", "aNULL:@SECLEVEL=0");
    tls_server server{echo, {.version = TLS1_2_VERSION, .ciphers = ciphers}};
    CHECK(client{tls_connector{trusting()}}.connect(server.url()) == error::tls_handshake_failed);
    CHECK(client{unverified_tls_connector{}}.connect(server.url()) == error::tls_handshake_failed);
    CHECK(server.shaken() == 0);
    CHECK(server.accepted() == 2);
}

TEST_CASE("tls: a cipher that was not offered is refused (G06)") {
    struct row {
        std::string_view cipher;
        error why;
    };
    // All but the first, whose handshake would go on, were never anything but weak.
    for (auto const& [cipher, why] :
         {row{"\xc0\x2b", error::closed_before_reply},       // ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
          row{{"\x00\x02", 2}, error::tls_handshake_failed}, // RSA_WITH_NULL_SHA
          row{{"\x00\x03", 2}, error::tls_handshake_failed}, // RSA_EXPORT_WITH_RC4_40_MD5
          row{{"\x00\x14", 2}, error::tls_handshake_failed}, // DHE_RSA_EXPORT_WITH_DES40_CBC_SHA
          row{"\xc0\x06", error::tls_handshake_failed}}) {   // ECDHE_ECDSA_WITH_NULL_SHA
        loopback_listener listener;
        std::thread answers{[&, chosen = cipher] {
            using namespace std::string_literals;
            auto far = listener.accept();
            auto const head = far.read(5);
            far.read(static_cast<unsigned char>(head.at(3)) * 256U +
                     static_cast<unsigned char>(head.at(4)));
            // A ServerHello of TLS 1.2 (RFC 5246, section 7.4.1.3), with the extension of RFC 5746.
            far.write("\x16\x03\x03\x00\x31\x02\x00\x00\x2d\x03\x03"s + bytes_of(32) + "\0"s +
                      std::string{chosen} + "\0\x00\x05\xff\x01\x00\x01\x00"s);
            far.close();
        }};
        CHECK(client{tls_connector{trusting()}}.connect(
                  "https://localhost:" + std::to_string(listener.port()) + "/") == why);
        answers.join();
    }
}

TEST_CASE("tls: a server that wants to shake hands again does not get it (G06)") {
    auto const body = bytes_of(40000);
    bool const listens = GENERATE(false, true);
    tls_server server{[&](tls_connection& c) {
                          c.read();
                          c.send(body);
                          c.raw(c.hello_request());
                          // It breaks off when it is told no, unless it does not hear that.
                          if (listens && c.read().empty()) return;
                          c.send(body);
                          c.raw(c.goodbye());
                          c.fin();
                      },
                      {.version = TLS1_2_VERSION}};
    tls_connector const connector{trusting()};
    client c{connector};
    REQUIRE_FALSE(c.connect(server.url()));
    REQUIRE_FALSE(c.write("GET"));
    error_code ec;
    CHECK((c.read_all(ec) == (listens ? body : body + body)));
    CHECK(ec == (listens ? error_code{error::tls_handshake_failed} : asio::error::eof));
    CHECK(connector.handshakes().full == 1);
}

TEST_CASE("tls: changes of keys within a body are no matter (G06)") {
    bool const asks = GENERATE(false, true);
    auto const body = bytes_of(40000);
    tls_server server{[&](tls_connection& c) {
                          c.read();
                          for (int i = 0; i != 50; ++i) {
                              c.raw(c.key_update(asks));
                              c.send(body);
                          }
                          c.raw(c.goodbye());
                          c.read();
                      },
                      {.version = TLS1_3_VERSION}};
    client c{tls_connector{trusting()}};
    REQUIRE_FALSE(c.connect(server.url()));
    REQUIRE_FALSE(c.write("GET"));
    error_code ec;
    for (int i = 0; i != 50; ++i) CHECK((c.read(body.size(), ec) == body));
    CHECK(c.read_all(ec).empty());
    CHECK(ec == asio::error::eof);
}

TEST_CASE("tls: some empty records are no matter, a flood of them is an error (G06)") {
    int const how_many = GENERATE(1, 10, 1'000'000);
    tls_server server{[&](tls_connection& c) {
                          c.read();
                          for (int i = 0; i != how_many && c.raw(c.empty_record()); ++i) {
                          }
                          c.fin();
                      },
                      {.version = TLS1_3_VERSION}};
    tls_connector const connector{trusting()};
    client c{connector};
    REQUIRE_FALSE(c.connect(server.url()));
    REQUIRE_FALSE(c.write("GET"));
    error_code ec;
    CHECK(c.read_all(ec).empty());
    CHECK(ec == (how_many > 10 ? error::tls_record_bad : error::tls_truncated));
    CHECK(connector.classify(ec) == cause::passing);
}

TEST_CASE("tls: a flood without a byte for us takes no call for ever (G06)") {
    // Each record is a receive of its own: there are more than one call may take.
    constexpr int many = 100;
    std::array<int, 2> fds{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds.data()) == 0);
    cleave::socket_handle const near{fds[0]};
    cleave::socket_handle const far{fds[1]};
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> const context{
        SSL_CTX_new(TLS_server_method()), &SSL_CTX_free};
    tls_server_options const options;
    tls_connection server{fds[1], context.get(), options, true};
    std::thread shakes{[&] { server.shake_hands(); }};
    cleave::detail::tls_link link{std::make_shared<cleave::detail::tls_context>(trusting(), true)};
    REQUIRE_FALSE(link.begin(parse("https://localhost/"), fds[0], true));
    error_code ec;
    do link.shake_hands(ec);
    while (ec == asio::error::would_block && cleave_test::wait_readable(fds[0]));
    shakes.join();
    REQUIRE_FALSE(ec);
    std::byte byte{};
    CHECK(link.read({&byte, 1}, ec) == 0);
    CHECK(link.is_quiet());

    auto const is_there = [&] {
        char c{};
        return ::recv(fds[0], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
    };
    for (int i = 0; i != many; ++i) REQUIRE(server.raw(server.key_update()));
    REQUIRE(server.send("x"));
    CHECK(link.read({&byte, 1}, ec) == 0);
    CHECK(ec == asio::error::would_block);
    CHECK(is_there());
    CHECK_FALSE(link.is_quiet());
    CHECK(is_there());
    // The socket is ready, and to be waited for: nothing is left elsewhere.
    int calls = 0;
    while (link.read({&byte, 1}, ec) == 0 && is_there()) {
        CHECK(link.drained());
        CHECK(link.wants() == asio::socket_base::wait_read);
        ++calls;
    }
    CHECK(byte == std::byte{'x'});
    CHECK(calls > 1);
    CHECK_FALSE(is_there());
    CHECK(link.is_quiet());
}

TEST_CASE("tls: a handshake flooded with wishes to begin one can be given up (G06)") {
    // In one, a HelloRequest is passed over (RFC 5246, section 7.4.1.1), and it has no content.
    std::string const flood = "\x16\x03\x03\x40" + std::string(1 + 16384, '\0');
    loopback_listener listener;
    std::thread floods{[&] {
        auto far = listener.accept();
        try {
            for (;;) far.write(flood);
        } catch (std::runtime_error const&) {
            // The client has gone.
        }
    }};
    client c{tls_connector{trusting()}};
    std::vector<error_code> told;
    c.stream.async_connect(parse("https://localhost:" + std::to_string(listener.port()) + "/"),
                           [&](error_code ec) { told.push_back(ec); });
    c.context.run_for(300ms);
    CHECK(told.empty());
    c.stream.close();
    floods.join();
    c.context.restart();
    c.context.run_for(10s);
    CHECK(told == std::vector<error_code>{asio::error::operation_aborted});
}

TEST_CASE("tls: another protocol than HTTP/1.1 is refused") {
    tls_server none{echo};
    tls_server right{echo, {.answers_alpn = "http/1.1"}};
    tls_server wrong{echo, {.answers_alpn = "h2"}};
    tls_connector const connector{trusting()};
    CHECK_FALSE(client{connector}.connect(none.url()));
    CHECK_FALSE(client{connector}.connect(right.url()));
    client c{connector};
    CHECK(c.connect(wrong.url()) == error::alpn_mismatch);
    CHECK(c.write("word"));
}

TEST_CASE("tls: what is cut is never taken for whole") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    auto const body = bytes_of(40000);
    std::size_t whole = 0;
    auto const receive = [&](std::size_t cut, error_code& ec) {
        tls_server server{[&](tls_connection& c) {
                              c.read_until("\r\n\r\n");
                              auto bytes = c.encrypt(body);
                              bytes += c.goodbye();
                              whole = bytes.size();
                              c.raw(bytes.substr(0, cut));
                          },
                          {.version = version}};
        client c{tls_connector{trusting()}};
        REQUIRE_FALSE(c.connect(server.url()));
        REQUIRE_FALSE(c.write("GET / HTTP/1.1\r\n\r\n"));
        return c.read_all(ec);
    };
    error_code ec;
    CHECK((receive(std::string::npos, ec) == body));
    CHECK(ec == asio::error::eof);
    REQUIRE(whole > body.size());
    std::vector<std::size_t> cuts;
    for (std::size_t i = 0; i < whole; i += 2999) cuts.push_back(i);
    for (std::size_t i = 1; i < 36; i += 2) cuts.push_back(whole - i);
    for (std::size_t const cut : cuts) {
        CAPTURE(version, cut, whole);
        auto const got = receive(cut, ec);
        // Whole records, but for those that were not whole.
        CHECK((body.starts_with(got)));
        CHECK(got.size() + 16384 > std::min(cut, body.size()));
        CHECK(ec == error::tls_truncated);
    }
    CHECK(tls_connector{}.classify(error::tls_truncated) == cause::passing);
}

TEST_CASE("tls: a handshake that is cut may be tried again") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    // In TLS 1.2 the server has the last word.
    std::size_t const whole = version == TLS1_2_VERSION ? 800 : 550;
    for (std::size_t at = 0; at < whole; at += 31) {
        CAPTURE(version, at);
        tls_connector const connector{trusting()};
        tls_server cut{echo, {.version = version, .cut_after = at}};
        auto const ec = client{connector}.connect(cut.url());
        CHECK(ec == error::closed_before_reply);
        CHECK(connector.classify(ec) == cause::passing);
    }
}

TEST_CASE("tls: damaged records and alerts") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    auto const body = bytes_of(1000);
    std::size_t const at = GENERATE(0U, 1U, 5U, 20U, 500U, 1004U, 1005U + 15U);
    bool const alert = GENERATE(false, true);
    tls_server server{[&](tls_connection& c) {
                          c.read();
                          c.send(body);
                          auto bytes = alert ? c.alert() : c.encrypt(body);
                          if (!alert) bytes[at] = static_cast<char>(bytes[at] ^ 1);
                          c.raw(bytes);
                          c.raw(c.goodbye());
                          c.read();
                      },
                      {.version = version}};
    client c{tls_connector{trusting()}};
    REQUIRE_FALSE(c.connect(server.url()));
    REQUIRE_FALSE(c.write("GET"));
    error_code ec;
    CAPTURE(at, alert, version);
    CHECK((c.read_all(ec) == body));
    CHECK(ec == error::tls_record_bad);
    CHECK(tls_connector{}.classify(ec) == cause::passing);
    // There is no way on.
    CHECK(c.read_all(ec).empty());
    CHECK(ec == error::tls_record_bad);
    CHECK(c.write("more") == error::tls_record_bad);
}

TEST_CASE("tls: a reset passes, under its own name") {
    tls_server server{[](tls_connection& c) {
        c.read();
        linger const hard{1, 0};
        ::setsockopt(c.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        // The descriptor stays, the connection does not.
        sockaddr nobody{};
        nobody.sa_family = AF_UNSPEC;
        ::connect(c.fd(), &nobody, sizeof nobody);
    }};
    tls_connector const connector{trusting()};
    client c{connector};
    REQUIRE_FALSE(c.connect(server.url()));
    REQUIRE_FALSE(c.write("GET"));
    error_code ec;
    CHECK(c.read_all(ec).empty());
    CHECK(ec == std::errc::connection_reset);
    CHECK(connector.classify(ec) == cause::passing);
}

TEST_CASE("tls: tickets go to later connections, to the same host and port only") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    tls_server server{echo, {.version = version}};
    tls_connector const connector{trusting()};
    auto const counts = [&] {
        auto const h = connector.handshakes();
        CHECK(static_cast<int>(h.resumed) == server.resumed());
        return std::pair{h.full, h.resumed};
    };
    client first{connector};
    REQUIRE_FALSE(first.connect(server.url()));
    CHECK(speaks(first));
    CHECK(counts() == std::pair<std::uint64_t, std::uint64_t>{1, 0});
    // Several at a time with the same one, by copies, and while the first one lives.
    client second{tls_connector{connector}};
    client third{connector};
    REQUIRE_FALSE(second.connect(server.url()));
    REQUIRE_FALSE(third.connect(server.url()));
    CHECK(speaks(second));
    CHECK(speaks(third));
    CHECK(counts() == std::pair<std::uint64_t, std::uint64_t>{1, 2});
    // A name and its address are two hosts.
    REQUIRE_FALSE(second.connect(server.url("127.0.0.1")));
    CHECK(speaks(second));
    CHECK(counts() == std::pair<std::uint64_t, std::uint64_t>{2, 2});
    // Another connector may trust somebody else.
    tls_connector const other{trusting()};
    REQUIRE_FALSE(client{other}.connect(server.url()));
    CHECK(other.handshakes().full == 1);
    CHECK(other.handshakes().resumed == 0);
    // One that broke leaves the tickets good.
    third.stream.close();
    first.stream.close();
    REQUIRE_FALSE(first.connect(server.url()));
    CHECK(speaks(first));
    CHECK(counts() == std::pair<std::uint64_t, std::uint64_t>{2, 3});
}

TEST_CASE("tls: a ticket is for one port, not for all of a host (G07)") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    tls_server server{echo, {.version = version}};
    // The way leads to the one server, which would know all tickets, whatever the URL says.
    line_proxy proxy{server.port()};
    auto const routed = tls_connector{trusting()}.via(proxy.route());
    for (bool const again : {false, true})
        for (char const* to : {"https://localhost:1/", "https://localhost:2/"}) {
            client c{routed};
            REQUIRE_FALSE(c.connect(to));
            CHECK(speaks(c));
            CHECK(c.stream.about().handshake == (again ? handshake::resumed : handshake::full));
        }
    CHECK(server.resumed() == 2);
}

TEST_CASE("tls: a kept connection serves the next stream, without a handshake") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    tls_server server{echo, {.version = version}};
    connection_pool pool;
    tls_connector const connector{trusting(), pool};
    {
        client first{connector};
        REQUIRE_FALSE(first.connect(server.url()));
        CHECK_FALSE(first.stream.kept());
        CHECK(first.stream.about().handshake == handshake::full);
        CHECK(speaks(first));
        first.stream.keep();
        CHECK_FALSE(first.stream.kept());
        CHECK(first.stream.about().handshake == handshake::none);
        CHECK(first.write("word"));
    }
    CHECK(pool.size() == 1);
    client second{tls_connector{connector}};
    for (int i = 0; i != 2; ++i) {
        REQUIRE_FALSE(second.connect(server.url()));
        CHECK(second.stream.kept());
        CHECK(second.stream.about().handshake == handshake::none);
        CHECK(second.stream.about().proxy == nullptr);
        CHECK_FALSE(second.stream.read_by_system());
        CHECK(pool.size() == 0);
        std::byte none{};
        error_code ec;
        CHECK(second.stream.read_some({&none, 1}, ec) == 0);
        CHECK(ec == asio::error::would_block);
        CHECK(speaks(second));
        second.stream.keep();
    }
    CHECK(server.accepted() == 1);
    CHECK(connector.handshakes().full == 1);
    // Whoever is there already has it; the next one comes with a ticket of it.
    REQUIRE_FALSE(second.connect(server.url()));
    client third{connector};
    REQUIRE_FALSE(third.connect(server.url()));
    CHECK_FALSE(third.stream.kept());
    CHECK(third.stream.about().handshake == handshake::resumed);
    CHECK(speaks(third));
    CHECK(speaks(second));
    second.stream.close();
    third.stream.close();
    CHECK(pool.size() == 0);
}

TEST_CASE("tls: a kept connection is for those of the same settings only (G07)") {
    tls_server server{echo};
    connection_pool pool;
    tls_connector const own{trusting(), pool};
    auto pinned = trusting();
    pinned.pins = {cleave::detail::tls_pin_of(local_identity().certificate.get())};
    auto elsewhere = tls_settings{.ca_pem = make_authority("another").pem()};
    auto const keep_one = [&] {
        client c{own};
        REQUIRE_FALSE(c.connect(server.url()));
        CHECK(speaks(c));
        c.stream.keep();
        REQUIRE(pool.size() == 1);
    };
    keep_one();
    auto const connects_anew = [&](auto const& connector, std::string const& to) {
        client c{connector};
        auto const ec = c.connect(to);
        CHECK_FALSE(c.stream.kept());
        if (!ec) CHECK(c.stream.about().handshake == handshake::full);
        CHECK(pool.size() == 1);
        return ec;
    };
    CHECK_FALSE(connects_anew(tls_connector{trusting(), pool}, server.url()));
    CHECK_FALSE(connects_anew(tls_connector{pinned, pool}, server.url()));
    CHECK_FALSE(connects_anew(unverified_tls_connector{{}, pool}, server.url()));
    CHECK(connects_anew(tls_connector{elsewhere, pool}, server.url()) ==
          error::certificate_unknown_issuer);
    CHECK_FALSE(connects_anew(own, server.url("127.0.0.1")));
    {
        line_proxy proxy{server.port()};
        client c{own.via(proxy.route())};
        REQUIRE_FALSE(c.connect(server.url()));
        CHECK_FALSE(c.stream.kept());
    }
    client c{own};
    REQUIRE_FALSE(c.connect(server.url()));
    CHECK(c.stream.kept());
}

TEST_CASE("tls: one who trusts nobody keeps nothing for those who verify (G07)") {
    tls_server server{echo, {.shows = make_identity({.names = {"other"}})}};
    connection_pool pool;
    client careless{unverified_tls_connector{{}, pool}};
    REQUIRE_FALSE(careless.connect(server.url()));
    CHECK(speaks(careless));
    careless.stream.keep();
    CHECK(pool.size() == 1);
    client careful{tls_connector{trusting(), pool}};
    CHECK(careful.connect(server.url()) == error::certificate_unknown_issuer);
    CHECK_FALSE(careful.stream.kept());
}

TEST_CASE("tls: http and https of one host keep their connections apart") {
    tls_server server{echo, {.also_plain = true}};
    connection_pool pool;
    client c{tls_connector{trusting(), pool}};
    auto const plain = "http" + server.url().substr(5);
    for (bool const again : {false, true})
        for (auto const& to : {server.url(), plain}) {
            REQUIRE_FALSE(c.connect(to));
            CHECK(c.stream.kept() == again);
            CHECK(c.stream.read_by_system() == (to == plain));
            CHECK(speaks(c));
            c.stream.keep();
        }
    // Plain ones are those of a TCP connector too.
    CHECK(pool.take(cleave::key_of(parse(plain))));
    CHECK_FALSE(pool.take(cleave::key_of(parse(server.url()))));
}

TEST_CASE("tls: a ticket behind the last reply is taken, and the connection kept") {
    bool const while_idle = GENERATE(true, false);
    std::atomic<bool> go = false;
    std::atomic<bool> sent = false;
    tls_server server{[&](tls_connection& c) {
                          c.send(c.read());
                          go.wait(false);
                          c.raw(c.ticket());
                          wait_until_received(c.fd());
                          sent = true;
                          sent.notify_one();
                          echo(c);
                      },
                      {.version = TLS1_3_VERSION}};
    connection_pool pool;
    tls_connector const connector{trusting(), pool};
    client c{connector};
    REQUIRE_FALSE(c.connect(server.url()));
    CHECK(speaks(c));
    auto const send_ticket = [&] {
        go = true;
        go.notify_one();
        sent.wait(false);
    };
    if (!while_idle) send_ticket();
    c.stream.keep();
    CHECK(pool.size() == 1);
    if (while_idle) send_ticket();
    REQUIRE_FALSE(c.connect(server.url()));
    CHECK(c.stream.kept());
    CHECK(speaks(c));
    CHECK(server.accepted() == 1);
}

TEST_CASE("tls: what died or spoke while idle, or before, is not used again (F02)") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    auto const what =
        GENERATE("goodbye", "fin", "reply", "half a reply", "half a ticket", "rubbish");
    bool const while_idle = GENERATE(true, false);
    CAPTURE(version, what, while_idle);
    if (version == TLS1_2_VERSION && what == std::string_view{"half a ticket"}) return;
    std::atomic<bool> go = false;
    std::atomic<bool> sent = false;
    tls_server server{[&](tls_connection& c) {
                          if (!c.first()) return echo(c);
                          c.send(c.read());
                          go.wait(false);
                          std::string_view const w = what;
                          auto const bytes = w == "goodbye"         ? c.goodbye()
                                             : w == "half a ticket" ? c.ticket()
                                             : w == "rubbish"       ? std::string{"HTTP/1.1 408 "}
                                             : w == "fin"           ? std::string{}
                                                                    : c.encrypt("a reply");
                          c.raw(w.starts_with("half") ? bytes.substr(0, 9) : bytes);
                          int const fd = c.fd();
                          if (w == "fin") c.fin();
                          wait_until_received(fd);
                          sent = true;
                          sent.notify_one();
                          c.read();
                      },
                      {.version = version}};
    connection_pool pool;
    client c{tls_connector{trusting(), pool}};
    REQUIRE_FALSE(c.connect(server.url()));
    CHECK(speaks(c));
    auto const act = [&] {
        go = true;
        go.notify_one();
        sent.wait(false);
    };
    if (!while_idle) act();
    c.stream.keep();
    CHECK(pool.size() == (while_idle ? 1 : 0));
    if (while_idle) act();
    REQUIRE_FALSE(c.connect(server.url()));
    CHECK_FALSE(c.stream.kept());
    CHECK(pool.size() == 0);
    CHECK(speaks(c));
    CHECK(server.accepted() == 2);
}

TEST_CASE("tls: keeping without a pool, or before there is anything to keep, is closing") {
    std::atomic<int> goodbyes = 0;
    tls_server server{[&](tls_connection& c) {
        while (!c.read().empty()) {
        }
        if (c.peer_said_goodbye()) ++goodbyes;
    }};
    loopback_listener silent;
    auto const nowhere = "https://localhost:" + std::to_string(silent.port()) + "/";
    SECTION("without a pool") {
        client c{tls_connector{trusting()}};
        REQUIRE_FALSE(c.connect(server.url()));
        c.stream.keep();
        server.stop();
        CHECK(goodbyes == 1);
    }
    connection_pool pool;
    client c{tls_connector{trusting(), pool}};
    std::vector<error_code> told;
    auto const note = [&](error_code ec) { told.push_back(ec); };
    SECTION("in the lookup") { c.stream.async_connect(parse(nowhere), note); }
    SECTION("in the handshake") {
        c.stream.async_connect(parse(nowhere), note);
        while (silent.quiet()) c.context.run_for(1ms);
        auto far = silent.accept();
        while (far.quiet()) c.context.run_for(1ms);
    }
    c.stream.keep();
    CHECK(pool.size() == 0);
    c.context.restart();
    c.context.run_for(10s);
    for (auto const ec : told) CHECK(ec);
}

TEST_CASE("tls: closing ends a connect to a kept connection too, with a goodbye") {
    std::atomic<int> goodbyes = 0;
    tls_server server{[&](tls_connection& c) {
        echo(c);
        if (c.peer_said_goodbye()) ++goodbyes;
    }};
    connection_pool pool;
    client c{tls_connector{trusting(), pool}};
    REQUIRE_FALSE(c.connect(server.url()));
    CHECK(speaks(c));
    c.stream.keep();
    CHECK(c.finish([&](auto h) {
        c.stream.async_connect(parse(server.url()), h);
        c.stream.close();
    }) == asio::error::operation_aborted);
    CHECK_FALSE(c.stream.kept());
    CHECK(pool.size() == 0);
    server.stop();
    CHECK(goodbyes == 1);
}

TEST_CASE("tls: what the pool drops says goodbye, but not in a forked process") {
    std::atomic<int> goodbyes = 0;
    tls_server server{[&](tls_connection& c) {
        echo(c);
        if (c.peer_said_goodbye()) ++goodbyes;
    }};
    std::optional<connection_pool> pool{cleave::pool_limits{.idle_time = 1h}};
    {
        tls_connector const connector{trusting(), *pool};
        client a{connector};
        client b{connector};
        REQUIRE_FALSE(a.connect(server.url()));
        REQUIRE_FALSE(b.connect(server.url()));
        CHECK(speaks(a));
        CHECK(speaks(b));
        a.stream.keep();
        pid_t const child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            bool const empty = pool->size() == 0;
            b.stream.close();
            ::_exit(empty ? 0 : 1);
        }
        int status = -1;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
        CHECK(speaks(b));
        REQUIRE_FALSE(a.connect(server.url()));
        CHECK(a.stream.kept());
        CHECK(speaks(a));
        a.stream.keep();
        b.stream.keep();
    }
    CHECK(pool->size() == 2);
    SECTION("cleared") { pool->clear(); }
    SECTION("too old") { pool->close_idle(connection_pool::clock::now() + 2h); }
    SECTION("with the pool") { pool.reset(); }
    server.stop();
    CHECK(goodbyes == 2);
}

TEST_CASE("tls: by way of a proxy it is the URL's host that is named and verified (G04)") {
    struct row {
        std::vector<std::string> names;
        error_code result;
    };
    for (auto const& [names, result] :
         {row{{"origin.example"}, {}}, row{{"proxy.test"}, error::certificate_wrong_host},
          row{{"localhost"}, error::certificate_wrong_host}}) {
        CAPTURE(names);
        tls_server server{echo,
                          {.shows = make_identity({.names = names, .addresses = {"127.0.0.1"}},
                                                  &test_authority())}};
        line_proxy proxy{server.port()};
        connection_pool pool;
        auto const route = line_route{{"proxy.test", proxy.route().proxy.port}};
        auto const connector = tls_connector{trusting(), pool}.via(route);
        // Not to be resolved: nobody is asked but the proxy.
        std::string const to = "https://origin.example:7/";
        client c{connector};
        CHECK(c.connect(to) == result);
        if (!result) {
            CHECK(speaks(c));
            CHECK(server.last_name_wanted() == "origin.example");
            c.stream.keep();
            REQUIRE_FALSE(c.connect(to));
            CHECK(c.stream.kept());
            CHECK(speaks(c));
        }
        CHECK(proxy.asked() == std::vector<std::string>{"origin.example:7\n"});
    }
}

TEST_CASE("tls_connector: by way of whom, for messages") {
    auto const to = parse("https://origin.example/");
    tls_connector const straight{trusting()};
    CHECK(straight.by_way_of(to).empty());
    CHECK(straight.via(line_route{{"proxy.test", 3128}}).by_way_of(to) == "proxy.test:3128");
}

TEST_CASE("tls_connector: a route's check comes behind the settings, and its hop is passed on") {
    auto const hop = std::make_shared<cleave::proxy_hop const>();
    tls_server server{echo};
    line_proxy proxy{server.port()};
    auto route = proxy.route();
    route.told = hop;
    auto const connector = tls_connector{trusting()}.via(route);
    CHECK_FALSE(connector.check(parse("https://a.test/")));
    for (char const* to : {"https://forbidden.test/", "http://forbidden.test/"})
        CHECK(connector.check(parse(to)) == error::proxy_unsupported);
    CHECK(tls_connector{{.pins = {"x"}}}.via(route).check(parse("https://forbidden.test/")) ==
          error::bad_pin);
    client c{connector};
    REQUIRE_FALSE(c.connect("https://localhost/"));
    CHECK(c.stream.about().proxy == hop.get());
    CHECK(c.stream.about().handshake == handshake::full);
    // Tickets and counts are those of all its copies.
    CHECK(connector.handshakes().full == 1);
}

TEST_CASE("tls: closed between the socket's getting ready and the handler's turn") {
    // A strand may have both to do: the close, and behind it what waits for the socket.
    loopback_listener listener;
    asio::io_context context;
    auto const strand = asio::make_strand(context);
    auto stream = std::make_unique<cleave::tls_stream<std::decay_t<decltype(strand)>>>(
        tls_connector{trusting()}.make(strand));
    bool const destroyed = GENERATE(false, true);
    std::vector<error_code> told;
    auto const to = parse("https://127.0.0.1:" + std::to_string(listener.port()) + "/");
    asio::post(strand,
               [&] { stream->async_connect(to, [&](error_code ec) { told.push_back(ec); }); });
    while (listener.quiet()) context.run_for(1ms);
    auto far = listener.accept();
    while (far.quiet()) context.run_for(1ms);
    far.write("no TLS at all");
    // Asked for in two steps, for the first comes behind the look at the socket.
    asio::post(context, [&] {
        asio::post(strand, [&] {
            stream->close();
            if (destroyed) stream.reset();
        });
    });
    context.run_for(10s);
    CHECK(told == std::vector<error_code>{asio::error::operation_aborted});
}

TEST_CASE("tls: writes more than the socket takes") {
    auto const text = bytes_of(8'000'000);
    std::string received;
    std::atomic<bool> go = false;
    tls_server server{[&](tls_connection& c) {
        go.wait(false);
        while (received.size() < text.size()) {
            auto const more = c.read();
            if (more.empty()) return;
            received += more;
        }
        c.send("got it");
    }};
    client c{tls_connector{trusting()}};
    REQUIRE_FALSE(c.connect(server.url()));
    int told = 0;
    c.stream.async_write(text, [&](error_code ec) {
        CHECK_FALSE(ec);
        ++told;
    });
    c.context.restart();
    // As much as goes into the socket; then it waits.
    c.context.run_for(100ms);
    CHECK(told == 0);
    go = true;
    go.notify_one();
    c.context.restart();
    c.context.run_for(10s);
    REQUIRE(told == 1);
    error_code ec;
    CHECK(c.read(6, ec) == "got it");
    CHECK((received == text));
}

TEST_CASE("tls: closed at any time, it calls the handler once and connects again") {
    tls_server server{echo};
    loopback_listener silent;
    auto const nowhere = parse("https://localhost:" + std::to_string(silent.port()) + "/");
    client c{tls_connector{trusting()}};
    std::vector<error_code> told;
    auto const note = [&](error_code ec) { told.push_back(ec); };
    auto const big = bytes_of(20'000'000);
    enum class during { lookup, handshake, write, posted_write, wait };
    for (auto const when :
         {during::lookup, during::handshake, during::write, during::posted_write, during::wait}) {
        CAPTURE(static_cast<int>(when));
        told.clear();
        bool const connecting = when == during::lookup || when == during::handshake;
        if (connecting)
            c.stream.async_connect(nowhere, note);
        else
            REQUIRE_FALSE(c.connect(server.url()));
        c.context.restart();
        if (when == during::handshake) {
            while (silent.quiet()) c.context.run_for(1ms);
            auto far = silent.accept();
            for (bool hello = false; !hello; hello = !far.quiet()) c.context.run_for(1ms);
            CHECK(told.empty());
        }
        if (when == during::write || when == during::posted_write) c.stream.async_write(big, note);
        if (when == during::write) c.context.run_one();
        if (when == during::wait) {
            std::byte b{};
            error_code ec;
            while (ec != asio::error::would_block) (void)c.stream.read_some({&b, 1}, ec);
            c.stream.async_wait(note);
        }
        c.stream.close();
        CHECK(told.empty());
        // The next connection is made while the old handler is still out.
        REQUIRE_FALSE(c.connect(server.url()));
        REQUIRE(told.size() == 1);
        CHECK(told[0]);
        CHECK(speaks(c));
    }
    // Closed when the socket has got ready, but before anybody was told.
    told.clear();
    c.stream.async_connect(nowhere, note);
    c.context.restart();
    while (silent.quiet()) c.context.run_for(1ms);
    auto far = silent.accept();
    while (far.quiet()) c.context.run_for(1ms);
    far.write("no TLS at all");
    asio::post(c.context, [&] { c.stream.close(); });
    c.context.run_for(10s);
    REQUIRE(told.size() == 1);
    CHECK(told[0] == asio::error::operation_aborted);
    // And with the stream gone.
    told.clear();
    {
        client gone{tls_connector{trusting()}};
        {
            auto stream = std::move(gone.stream);
            stream.async_connect(parse(server.url()), note);
        }
        gone.context.run_for(10s);
    }
    REQUIRE(told.size() == 1);
    CHECK(told[0]);
}

TEST_CASE("tls: says goodbye") {
    std::atomic<int> goodbyes = 0;
    tls_server server{[&](tls_connection& c) {
        while (!c.read().empty()) {
        }
        if (c.peer_said_goodbye()) ++goodbyes;
    }};
    client c{tls_connector{trusting()}};
    REQUIRE_FALSE(c.connect(server.url()));
    REQUIRE_FALSE(c.write("word"));
    c.stream.close();
    server.stop();
    CHECK(goodbyes == 1);
}

TEST_CASE("tls: without verification only where that is asked for by name") {
    tls_server server{echo, {.shows = make_identity({.names = {"other"}})}};
    client c{unverified_tls_connector{}};
    REQUIRE_FALSE(c.connect(server.url()));
    CHECK(speaks(c));
    CHECK(client{tls_connector{trusting()}}.connect(server.url()) ==
          error::certificate_unknown_issuer);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<unverified_tls_connector, tls_connector>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<tls_connector, unverified_tls_connector>);
}

TEST_CASE("tls_connector: what error codes mean") {
    tls_connector const c;
    auto const system = [](int e) { return error_code{e, std::system_category()}; };
    CHECK(c.classify(system(ECONNREFUSED)) == cause::passing);
    CHECK(c.classify(system(ECANCELED)) == cause::cancelled);
    CHECK(c.classify(system(EACCES)) == cause::configuration);
    CHECK(c.classify(asio::error::eof) == cause::passing);
    for (auto const e : {error::tls_truncated, error::tls_record_bad})
        CHECK(c.classify(e) == cause::passing);
    for (auto const e :
         {error::certificate_expired, error::certificate_wrong_host, error::certificate_bad,
          error::certificate_unknown_issuer, error::pin_mismatch, error::alpn_mismatch})
        CHECK(c.classify(e) == cause::permanent);
    CHECK(c.classify(error::certificate_not_yet_valid) == cause::configuration);
}
