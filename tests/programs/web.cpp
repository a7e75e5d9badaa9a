// SPDX-License-Identifier: BSL-1.0
//
// cleave-get out on the real web: TLS, proxies, credentials, mirrors, Metalinks and both families
// of addresses, with servers and proxies that nobody here wrote wherever there is one.

#include <support/catch.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/free_port.hpp>
#include <support/nginx.hpp>
#include <support/proxies.hpp>
#include <support/proxy_server.hpp>
#include <support/tls_server.hpp>

#include "run_cleave_get.hpp"

using namespace cleave_test;
using namespace std::chrono_literals;
using strings = std::vector<std::string>;
using settings = std::map<std::string, std::string>;

namespace {

// In the directory, with these of the environment's settings, and with no proxy from there else.
process_options within(temp_dir const& in, settings env = {}) {
    for (auto const* name : {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY",
                             "ALL_PROXY", "NO_PROXY"})
        env.emplace(name, "");
    return {.env = {env.begin(), env.end()}, .directory = in.path().string()};
}
process_result get(temp_dir const& in, strings args, settings env = {}) {
    return run(cleave_get_command(std::move(args)), within(in, std::move(env)));
}

// It failed with this text, and left nothing.
void check_failed(process_result const& r, temp_dir const& in, std::string const& text) {
    CAPTURE(r.err, text);
    CHECK(r.exit_code == 1);
    CHECK(contains(last_line(r.err), text));
    CHECK(files_in(in).empty());
}

template <class Bytes>
std::string base64(Bytes const& bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    std::vector<unsigned char> const from{bytes.begin(), bytes.end()};
    void* const to = text.data();
    auto const n = EVP_EncodeBlock(static_cast<unsigned char*>(to), from.data(),
                                   static_cast<int>(from.size()));
    return text.substr(0, static_cast<std::size_t>(n));
}

std::string pin_of(identity const& who) {
    unsigned char* der = nullptr;
    auto const size = i2d_PUBKEY(who.key.get(), &der);
    std::vector<unsigned char> digest(32);
    EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), nullptr, EVP_sha256(), nullptr);
    OPENSSL_free(der);
    return "sha256//" + base64(digest);
}

nginx_options over_tls(std::string client_ca = {}) {
    return {.limit_rate = "1m",
            .certificate = local_identity().pem(),
            .key = local_identity().key_pem(),
            .client_ca = std::move(client_ca)};
}

// A file of a directory that the download does not see.
class kept_file {
  public:
    explicit kept_file(std::string_view text) { write_file(dir_ / "file", text); }
    std::string path() const { return (dir_ / "file").string(); }

  private:
    temp_dir dir_;
};

kept_file const& trusted() {
    static kept_file const one{test_authority().pem()};
    return one;
}

} // namespace

// ---- TLS ----------------------------------------------------------------------------------------

TEST_CASE("web: https brings the right bytes, with one full handshake for all lanes") {
    auto const* const version = GENERATE("TLSv1.2", "TLSv1.3");
    auto const o = object::random(4U << 20, 31);
    auto options = over_tls();
    options.versions = version;
    nginx server{options};
    server.put("x", o.bytes);
    temp_dir dir;
    // Slow enough that each lane is needed.
    auto const r = get(dir, {server.url("/limited/x"), "--cacert", trusted().path(), "-n", "8",
                             "--segment-size", "128K", "--json"});
    CAPTURE(version, r.err);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == o.bytes));
    auto const j = report_in(r);
    CHECK(j.at("lanes") == 8);
    CHECK(j.at("connections") == 8);
    CHECK(j.at("handshakes_full") == 1);
    CHECK(j.at("handshakes_resumed") == 7);
    CHECK(j.at("retries") == 0);
}

TEST_CASE("web: a server that nobody trusted vouches for is refused before it hears anything") {
    nginx server{over_tls()};
    server.put("x", "something");
    auto const url = server.url("/x");
    temp_dir dir;
    kept_file const others{make_authority("somebody else").pem()};
    std::string const unknown = "nobody trusted has issued the server's certificate";
    // The system's CAs are those that the environment names.
    check_failed(get(dir, {url}, {{"SSL_CERT_FILE", others.path()}}), dir, unknown);
    check_failed(get(dir, {url, "--cacert", others.path()}), dir, unknown);
    check_failed(get(dir, {url, "--cacert", others.path()}, {{"SSL_CERT_FILE", trusted().path()}}),
                 dir, unknown);
    CHECK(server.access_log().empty());
    CHECK(get(dir, {url}, {{"SSL_CERT_FILE", trusted().path()}}).exit_code == 0);
    CHECK(read_file(dir / "x") == "something");
}

TEST_CASE("web: a pinned key is the one, besides the certificate") {
    nginx server{over_tls()};
    server.put("x", "something");
    auto const url = server.url("/x");
    auto const right = pin_of(local_identity());
    auto const wrong = pin_of(test_authority());
    temp_dir dir;
    check_failed(get(dir, {url, "--cacert", trusted().path(), "--pinned", wrong}), dir,
                 "none of those that were pinned");
    kept_file const others{make_authority("somebody else").pem()};
    check_failed(get(dir, {url, "--cacert", others.path(), "--pinned", right}), dir,
                 "nobody trusted");
    CHECK(server.access_log().empty());
    strings const args{url, "--cacert", trusted().path(), "--pinned", wrong, "--pinned", right};
    CHECK(get(dir, args).exit_code == 0);
    CHECK(read_file(dir / "x") == "something");
}

TEST_CASE("web: a client's certificate is shown where it is asked for") {
    auto const who =
        make_identity({.common_name = "client", .extended_usage = "clientAuth"}, &test_authority());
    kept_file const certificate{who.pem()};
    kept_file const key{who.key_pem()};
    kept_file const both{who.pem() + who.key_pem()};
    temp_dir dir;

    nginx server{over_tls(test_authority().pem())};
    server.put("x", "something");
    strings const args{server.url("/x"), "--cacert", trusted().path()};
    auto const with = [&args](strings const& more) {
        auto all = args;
        all.insert(all.end(), more.begin(), more.end());
        return all;
    };
    // nginx lets everybody shake hands, and then refuses.
    check_failed(get(dir, args), dir, "refused the request (4xx)");
    for (auto const& good : {with({"--cert", certificate.path(), "--key", key.path()}),
                             with({"--cert", both.path()})}) {
        auto const r = get(dir, good);
        CAPTURE(r.err);
        CHECK(r.exit_code == 0);
        REQUIRE(files_in(dir) == strings{"x"});
        CHECK(read_file(dir / "x") == "something");
        std::filesystem::remove(dir / "x");
    }

    // Others break the handshake off.
    tls_server strict{[](tls_connection&) {}, {.client_ca = test_authority().pem()}};
    check_failed(
        get(dir, {strict.url("127.0.0.1", "/x"), "--cacert", trusted().path(), "--retries", "0"}),
        dir, "wants a client certificate");

    // A setting that cannot be used is found out before anybody is asked.
    for (auto const& bad : {with({"--cert", certificate.path()}),
                            with({"--cert", certificate.path(), "--key", "/nowhere/at/all"})}) {
        auto const r = get(dir, bad);
        CAPTURE(r.err);
        CHECK(r.exit_code == 2);
        CHECK(contains(last_line(r.err), bad.back() + ": the client certificate or its key"));
    }
}

TEST_CASE("web: settings of TLS that cannot be read are named, and nobody is asked") {
    nginx server{over_tls()};
    temp_dir dir;
    auto const [option, value, text] = GENERATE(table<char const*, char const*, char const*>({
        {"--cacert", "/nowhere/at/all", "/nowhere/at/all: the file or directory of trusted"},
        {"--pinned", "sha256//abc", "a pinned key cannot be read"},
        {"--pinned", "", "a pinned key cannot be read"},
    }));
    auto const r = get(dir, {server.url("/x"), option, value});
    CAPTURE(option, value, r.err);
    CHECK(r.exit_code == 2);
    CHECK(contains(last_line(r.err), text));
    CHECK(server.access_log().empty());
    CHECK(files_in(dir).empty());
}

TEST_CASE("web: before a certificate begins, it is the clock that is spoken of (G03)") {
    if (search_program("faketime").empty()) {
        WARN("skipped: faketime is not installed");
        return;
    }
    if (sanitized) {
        WARN("skipped: a sanitizer cannot be preloaded over");
        return;
    }
    nginx server{over_tls()};
    server.put("x", "something");
    temp_dir dir;
    auto command = cleave_get_command({server.url("/x"), "--cacert", trusted().path(), "--json"});
    command.insert(command.begin(), {"faketime", "2000-01-01 00:00:00"});
    auto const r = run(command, within(dir));
    check_failed(r, dir, "the server's certificate is not valid yet; check this machine's clock");
    CHECK(report_in(r).at("retries") == 0);
    CHECK(server.access_log().empty());
}

TEST_CASE("web: any number of lanes brings the same GiB over TLS", "[.heavy]") {
    nginx server{over_tls()};
    server.put("x", "");
    std::size_t const size = std::size_t{1} << 30;
    {
        std::ofstream out{server.root() / "x", std::ios::binary};
        std::mt19937_64 engine{32};
        std::vector<std::uint64_t> block(1U << 17);
        for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t) * block.size()) {
            std::generate(block.begin(), block.end(), std::ref(engine));
            out.write(reinterpret_cast<char const*>(block.data()),
                      static_cast<std::streamsize>(sizeof(std::uint64_t) * block.size()));
        }
        REQUIRE(out.flush());
    }
    // By another program than the one under test.
    auto const path = (server.root() / "x").string();
    auto const digest = run({"sha256sum", path}, {.timeout = 600s}).out.substr(0, 64);
    for (auto const* lanes : {"1", "8", "16"}) {
        temp_dir dir;
        auto options = within(dir);
        options.timeout = 600s;
        auto const r = run(cleave_get_command({server.url("/x"), "--cacert", trusted().path(), "-n",
                                               lanes, "--digest", "sha-256=" + digest, "--json"}),
                           options);
        CAPTURE(lanes, r.err);
        REQUIRE(r.exit_code == 0);
        CHECK(run({"cmp", path, (dir / "x").string()}, {.timeout = 600s}).exit_code == 0);
        auto const j = report_in(r);
        CHECK(j.at("bytes") == size);
        CHECK(j.at("digest_verified") == true);
        CHECK(j.at("handshakes_full") == 1);
        CHECK(j.at("handshakes_resumed") == j.at("connections").get<int>() - 1);
    }
}

// ---- Proxies ------------------------------------------------------------------------------------

namespace {

proxy_login const login{.user = "me", .password = "s3cret"};

// nginx, in the clear and over TLS, with one object.
struct origins {
    origins() {
        plain.put("x", bytes);
        secure.put("x", bytes);
    }
    process_result get(std::string const& scheme, strings args, settings env = {}) {
        args.insert(args.end(), {scheme == "http" ? plain.url("/x") : secure.url("/x"), "--cacert",
                                 trusted().path(), "--retries", "0", "--connect-timeout", "10"});
        dir.emplace();
        return ::get(*dir, std::move(args), std::move(env));
    }
    bool brings(std::string const& scheme, strings args, settings env = {}) {
        auto const r = get(scheme, std::move(args), std::move(env));
        UNSCOPED_INFO(r.err);
        return r.exit_code == 0 && read_file(*dir / "x") == bytes;
    }

    std::string bytes = object::random(2'000'000, 33).bytes;
    nginx plain;
    nginx secure{over_tls()};
    std::optional<temp_dir> dir; // of the last download
};

// One that nobody listens to: who gets through has gone around it.
std::string dead_proxy() { return "http://127.0.0.1:" + std::to_string(free_port()); }

} // namespace

TEST_CASE("web: --proxy goes by way of tinyproxy, for http and https") {
    bool const asks = GENERATE(false, true);
    origins from;
    tinyproxy proxy{asks ? login : proxy_login{}};
    CHECK(from.brings("http", {"--proxy", proxy.url()}));
    CHECK(contains(proxy.log(), "GET " + from.plain.url("/x")));
    auto const tunnel = "CONNECT 127.0.0.1:" + std::to_string(from.secure.port());
    CHECK_FALSE(contains(proxy.log(), tunnel));
    CHECK(from.brings("https", {"--proxy", proxy.url()}));
    CHECK(contains(proxy.log(), tunnel));
}

TEST_CASE("web: a login that is missing or wrong is named, and repeated nowhere") {
    origins from;
    tinyproxy http{login};
    microsocks socks{login};
    auto const check = [&](std::string const& scheme, std::string const& proxy,
                           std::string const& text) {
        CAPTURE(scheme, proxy);
        auto const r = from.get(scheme, {"--proxy", proxy, "--json"});
        check_failed(r, *from.dir, text);
        CHECK(report_in(r).at("retries") == 0);
        CHECK_FALSE(contains(r.out + r.err, "wr0ng"));
        CHECK_FALSE(contains(r.out + r.err, base64(std::string{"me:wr0ng"})));
    };
    std::string const wanted = "the proxy wants other credentials";
    auto const by_http = "127.0.0.1:" + std::to_string(http.port());
    auto const by_socks = "127.0.0.1:" + std::to_string(socks.port());
    for (std::string const scheme : {"http", "https"}) {
        check(scheme, by_http, wanted);
        check(scheme, "socks5h://" + by_socks, wanted);
        check(scheme, "socks5h://me:wr0ng@" + by_socks, wanted);
    }
    // To a wrong login tinyproxy says 401, which without a tunnel may be the server's.
    check("http", "me:wr0ng@" + by_http, "wants credentials (401)");
    check("https", "me:wr0ng@" + by_http, wanted);
    proxy_server strict{{.credentials = "me:s3cret"}};
    for (std::string const scheme : {"http", "https"})
        check(scheme, strict.at("http", "me:wr0ng"), wanted);
}

TEST_CASE("web: socks5 and socks5h go by way of microsocks, with a login and without") {
    bool const asks = GENERATE(false, true);
    auto const* const kind = GENERATE("socks5", "socks5h");
    origins from;
    microsocks proxy{asks ? login : proxy_login{}};
    CAPTURE(asks, kind);
    CHECK(from.brings("http", {"--proxy", proxy.url(kind)}));
    CHECK(from.brings("https", {"--proxy", proxy.url(kind)}));
}

TEST_CASE("web: who resolves the name is the kind of proxy's to say") {
    auto const o = object::random(5000, 34);
    fault_server server{honest(o)};
    proxy_server proxy; // finds every name at 127.0.0.1
    auto const url = "http://no-such-host.invalid:" + std::to_string(server.port()) + "/x";
    for (std::string const kind : {"http", "socks5h"}) {
        temp_dir dir;
        CAPTURE(kind);
        CHECK(get(dir, {url, "--proxy", proxy.at(kind)}).exit_code == 0);
        REQUIRE(files_in(dir) == strings{"x"});
        CHECK(read_file(dir / "x") == o.bytes);
    }
    auto const before = proxy.asked().size();
    temp_dir dir;
    check_failed(get(dir, {url, "--proxy", proxy.at("socks5"), "--retries", "0"}), dir,
                 "no-such-host.invalid");
    CHECK(proxy.asked().size() == before);
}

TEST_CASE("web: the environment's proxies are used, and what is said otherwise comes first") {
    origins from;
    tinyproxy proxy{login};
    auto const dead = dead_proxy();
    auto const tunnels = [&] { return contains(proxy.log(), "CONNECT 127.0.0.1:"); };

    CHECK(from.brings("http", {}, {{"http_proxy", proxy.url()}, {"https_proxy", dead}}));
    CHECK(contains(proxy.log(), "GET " + from.plain.url("/x")));
    CHECK_FALSE(tunnels());
    CHECK(from.brings("https", {}, {{"http_proxy", dead}, {"https_proxy", proxy.url()}}));
    CHECK(tunnels());
    CHECK(from.brings("https", {}, {{"all_proxy", proxy.url()}}));
    CHECK(from.brings("https", {}, {{"HTTPS_PROXY", proxy.url()}}));
    CHECK(from.brings("https", {"--proxy", proxy.url()}, {{"https_proxy", dead}}));

    auto const by = [&](strings args, settings env) {
        env.emplace("http_proxy", dead);
        env.emplace("https_proxy", dead);
        return from.brings("http", args, env) && from.brings("https", args, env);
    };
    CHECK_FALSE(by({}, {}));
    CHECK(by({}, {{"no_proxy", "example.org, 127.0.0.1"}}));
    CHECK(by({}, {{"NO_PROXY", "*"}}));
    CHECK(by({"--noproxy", "127.0.0.0/8"}, {}));
    CHECK_FALSE(by({"--noproxy", "example.org"}, {{"no_proxy", "*"}}));
    CHECK(by({"--proxy", dead, "--noproxy", "*"}, {}));
    // An empty one is none.
    CHECK(by({"--proxy", ""}, {}));
}

TEST_CASE("web: a proxy that cannot be used is named, and nobody is asked") {
    fault_server server{honest(object::random(1000, 35))};
    temp_dir dir;
    for (std::string const proxy : {"http://", "http://a b", "ftp://127.0.0.1:1", "http://h:99999",
                                    "socks4://127.0.0.1:1", "https://127.0.0.1:1"}) {
        auto const r = get(dir, {server.url("/x"), "--proxy", proxy});
        CAPTURE(proxy, r.err);
        CHECK(r.exit_code == 2);
        CHECK(contains(last_line(r.err), "the proxy "));
    }
    check_failed(get(dir, {server.url("/x"), "--proxy", dead_proxy(), "--retries", "0"}), dir,
                 "onnection refused");
    CHECK(server.connections() == 0);
    CHECK(files_in(dir).empty());
}

// ---- Credentials --------------------------------------------------------------------------------

namespace {

// Somebody's whose name nothing else has in it.
constexpr char const* user = "user-name:pass:wörd";
std::string basic() { return "Basic " + base64(std::string{user}); }

void check_kept_secret(std::string const& text) {
    for (std::string const secret : {"user-name", "pass:w", "pass%3Aw", "w%C3%B6rd"})
        CHECK_FALSE(contains(text, secret));
    CHECK_FALSE(contains(text, base64(std::string{user})));
}

} // namespace

TEST_CASE("web: --user is for the server alone (I08)") {
    auto const o = object::random(100'000, 36);
    // Half of it comes, of which a journal is kept, and no more, until it is served whole.
    std::atomic<bool> whole = false;
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (whole) return honest(o)(c, r);
        if (r.index == 0) c.send(honest_206_head(o, 0, o.bytes.size() - 1));
        if (r.index == 0) c.send(std::string_view{o.bytes}.substr(0, o.bytes.size() / 2));
        c.reset();
    }};
    temp_dir dir;
    strings const args{server.url("/x"), "--user", user, "--json", "--retries", "0", "-n", "1"};
    auto const r = get(dir, args);
    CAPTURE(r.err, r.out);
    CHECK(r.exit_code == 1);
    CHECK(server.requests().at(0).field("Authorization") == basic());
    CHECK(server.requests().at(0).count("Authorization") == 1);
    check_kept_secret(r.out + r.err);
    REQUIRE(files_in(dir) == strings{"x.cleave", "x.part"});
    CHECK(contains(read_file(dir / "x.cleave"), "http://127.0.0.1"));
    for (auto const& name : files_in(dir)) check_kept_secret(read_file(dir / name));

    whole = true;
    auto const again = get(dir, args);
    CHECK(again.exit_code == 0);
    CHECK((read_file(dir / "x") == o.bytes));
    check_kept_secret(again.out + again.err);
    for (auto const& request : server.requests()) CHECK(request.field("Authorization") == basic());
}

TEST_CASE("web: credentials are of one origin, whatever redirects or mirrors there are") {
    auto const o = object::random(300'000, 37);
    fault_server other{honest(o, {.rate = 500'000})};
    auto const there = "http://localhost:" + std::to_string(other.port()) + "/x";
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (r.target == "/same") return honest(o, {.rate = 500'000})(c, r);
        c.send(redirect(r.target == "/here" ? "/same" : there));
    }};
    auto const* const path = GENERATE("/here", "/away");
    bool const has_mirror = GENERATE(false, true);
    temp_dir dir;
    strings args{server.url(path), "-o", "x", "--user", user, "--segment-size", "20000", "--json"};
    if (has_mirror) args.insert(args.begin() + 1, there);
    args.insert(args.end(), {"--digest", "sha-256=" + sha256_hex(o.bytes)});
    auto const r = get(dir, args);
    CAPTURE(path, has_mirror, r.err);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == o.bytes));
    check_kept_secret(r.out + r.err);
    for (auto const& request : server.requests()) CHECK(request.field("Authorization") == basic());
    for (auto const& request : other.requests()) CHECK(request.count("Authorization") == 0);
    CHECK(other.requests().empty() == (path == std::string_view{"/here"} && !has_mirror));
}

TEST_CASE("web: a server that wants credentials says so") {
    fault_server server{[](fault_connection& c, seen_request const& r) {
        if (r.field("Authorization") == basic()) return honest(object::random(1000, 38))(c, r);
        c.send(reply(401, "Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n"));
    }};
    temp_dir dir;
    check_failed(get(dir, {server.url("/x")}), dir, "wants credentials (401)");
    auto const wrong = get(dir, {server.url("/x"), "--user", "user-name"});
    check_failed(wrong, dir, "wants credentials (401)");
    CHECK(server.requests().back().field("Authorization") ==
          "Basic " + base64(std::string{"user-name:"}));
    CHECK(get(dir, {server.url("/x"), "--user", user}).exit_code == 0);
    auto const r = get(dir, {server.url("/x"), "--user", "a\nb:c"});
    CHECK(r.exit_code == 2);
    CHECK(contains(r.err, "--user: it holds a control character"));
}

// ---- Mirrors ------------------------------------------------------------------------------------

namespace {

// The same object as another server names it.
object named(object o, std::string etag) {
    o.etag = std::move(etag);
    return o;
}

std::uint64_t brought(nlohmann::json const& report, std::size_t mirror) {
    return report.at("mirrors").at(mirror).at("bytes");
}

} // namespace

TEST_CASE("web: two mirrors bring one file, where a digest tells that it is one") {
    auto const o = object::random(2U << 20, 39);
    fault_server a{honest(named(o, "\"of-a\""), {.rate = 1U << 20})};
    fault_server b{honest(named(o, "\"of-b\""), {.rate = 1U << 20})};
    bool const proven = GENERATE(true, false);
    temp_dir dir;
    strings args{a.url("/x"), b.url("/y"), "-n", "4", "--segment-size", "100K", "--json"};
    if (proven) args.insert(args.end(), {"--digest", "sha-256=" + sha256_hex(o.bytes)});
    auto const r = get(dir, args);
    CAPTURE(proven, r.err, r.out);
    REQUIRE(r.exit_code == 0);
    CHECK(files_in(dir) == strings{"x"});
    CHECK((read_file(dir / "x") == o.bytes));
    auto const j = report_in(r);
    REQUIRE(j.at("mirrors").size() == 2);
    CHECK(j.at("mirrors").at(0).at("url") == a.url("/x"));
    CHECK(j.at("mirrors").at(1).at("url") == b.url("/y"));
    CHECK(brought(j, 0) + brought(j, 1) == o.bytes.size());
    CHECK(brought(j, 0) > 0);
    CHECK((brought(j, 1) > 0) == proven);
    CHECK((b.bytes_sent() > 0) == proven);
    for (auto const& m : j.at("mirrors")) CHECK_FALSE(m.contains("dropped"));
    CHECK(contains(last_line(r.err), ", 2 mirrors"));
    CHECK_FALSE(contains(last_line(r.err), "given up"));
}

TEST_CASE("web: a mirror that has no such file is given up and named") {
    std::size_t const lacking = GENERATE(0U, 1U);
    bool const proven = GENERATE(true, false);
    auto const o = object::random(1U << 20, 40);
    fault_server good{honest(o, {.rate = 1U << 20})};
    fault_server bad{
        [](fault_connection& c, seen_request const&) { c.send(reply(404, "Not Found")); }};
    if (lacking == 1 && !proven) return; // then nobody asks for more than the first
    temp_dir dir;
    strings args{good.url("/x"), "--segment-size", "100K", "--json"};
    args.insert(args.begin() + (lacking == 0 ? 0 : 1), bad.url("/x"));
    if (proven) args.insert(args.end(), {"--digest", "sha-256=" + sha256_hex(o.bytes)});
    auto const r = get(dir, args);
    CAPTURE(lacking, proven, r.err, r.out);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == o.bytes));
    auto const j = report_in(r);
    REQUIRE(j.at("mirrors").size() == 2);
    CHECK(j.at("mirrors").at(lacking).at("url") == bad.url("/x"));
    CHECK(j.at("mirrors").at(lacking).at("dropped").at("status") == 404);
    CHECK(brought(j, lacking) == 0);
    CHECK_FALSE(j.at("mirrors").at(1 - lacking).contains("dropped"));
    CHECK(brought(j, 1 - lacking) == o.bytes.size());
    CHECK(contains(last_line(r.err), ", 2 mirrors of which 1 given up"));
    // Several lanes may have asked before the first was told.
    CHECK(bad.requests().size() <= 8);
}

TEST_CASE("web: when no mirror is left, that is said") {
    fault_server bad{
        [](fault_connection& c, seen_request const&) { c.send(reply(404, "Not Found")); }};
    temp_dir dir;
    auto const r = get(dir, {bad.url("/x"), bad.url("/y"), "--json"});
    check_failed(r, dir, "none of 2 mirrors is left");
    auto const j = report_in(r);
    REQUIRE(j.at("mirrors").size() == 2);
    CHECK(j.at("mirrors").at(0).at("dropped").at("status") == 404);
    CHECK(j.at("error").at("status") == 404);
}

TEST_CASE("web: after a kill the mirrors may come in another order") {
    auto const o = object::random(8U << 20, 41);
    std::atomic<bool> halts = true;
    gate never;
    // Each has the first six of eight MiB for the first run.
    auto const halting = [&](object const& whole) {
        return [&, whole](fault_connection& c, seen_request const& r) {
            auto const [first, to] = r.range().value();
            auto const last = std::min<std::uint64_t>(to, whole.bytes.size() - 1);
            c.send(honest_206_head(whole, first, last));
            auto const part = body(whole, first, last);
            std::uint64_t const has = halts ? 6U << 20 : whole.bytes.size();
            auto const n = first < has ? has - first : 0;
            c.send_body(part.substr(0, static_cast<std::size_t>(n)));
            if (n < part.size()) c.wait(never);
        };
    };
    fault_server a{halting(named(o, "\"of-a\""))};
    fault_server b{halting(named(o, "\"of-b\""))};
    temp_dir dir;
    auto const command = [&](std::string const& first, std::string const& second) {
        return cleave_get_command({first, second, "--digest", "sha-256=" + sha256_hex(o.bytes),
                                   "-n", "4", "--segment-size", "256K", "--json"});
    };
    child c{command(a.url("/x"), b.url("/x")), within(dir)};
    // The first record may be of nothing; the second one, made within a second, is not.
    auto const records = [&] {
        if (!std::filesystem::exists(dir / "x.cleave")) return std::size_t{0};
        std::size_t n = 0;
        auto const journal = read_file(dir / "x.cleave");
        for (auto at = journal.find("http:"); at != journal.npos;
             at = journal.find("http:", at + 1))
            ++n;
        return n;
    };
    for (auto const until = std::chrono::steady_clock::now() + 30s;
         records() < 2 && std::chrono::steady_clock::now() < until;)
        ::poll(nullptr, 0, 5);
    c.kill(SIGKILL);
    CHECK(c.wait().signal == SIGKILL);
    REQUIRE(files_in(dir) == strings{"x.cleave", "x.part"});

    halts = false;
    auto const sent = a.bytes_sent() + b.bytes_sent();
    auto const r = run(command(b.url("/x"), a.url("/x")), within(dir));
    CAPTURE(r.err, r.out);
    REQUIRE(r.exit_code == 0);
    CHECK(files_in(dir) == strings{"x"});
    CHECK((read_file(dir / "x") == o.bytes));
    CHECK(report_in(r).at("bytes_resumed") > 0);
    CHECK(report_in(r).at("mirrors").at(0).at("url") == b.url("/x"));
    CHECK(a.bytes_sent() + b.bytes_sent() - sent < o.bytes.size());
}

// ---- Metalinks ----------------------------------------------------------------------------------

namespace {

constexpr std::size_t piece = 64 * 1024;

std::string metalink_of(object const& o, strings const& urls, std::string const& name) {
    std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                       "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"" +
                       name + "\"><size>" + std::to_string(o.bytes.size()) +
                       "</size><hash type=\"sha-256\">" + sha256_hex(o.bytes) +
                       "</hash><pieces type=\"sha-256\" length=\"" + std::to_string(piece) + "\">";
    for (std::size_t at = 0; at < o.bytes.size(); at += piece)
        text += "<hash>" + sha256_hex(std::string_view{o.bytes}.substr(at, piece)) + "</hash>";
    text += "</pieces>";
    for (auto const& url : urls) text += "<url>" + url + "</url>";
    return text + "</file></metalink>";
}

} // namespace

TEST_CASE("web: a Metalink's file is made of its mirrors, without one that has it wrong") {
    auto const o = object::random(2'000'000, 42);
    auto wrong = named(o, "\"of-b\"");
    for (std::size_t at = 100; at < wrong.bytes.size(); at += piece) wrong.bytes[at] ^= 1;
    fault_server good{honest(o, {.rate = 1U << 20})};
    fault_server bad{honest(wrong, {.rate = 1U << 20})};
    std::size_t const first = GENERATE(0U, 1U); // where the bad one stands
    strings urls{good.url("/a")};
    urls.insert(urls.begin() + static_cast<std::ptrdiff_t>(first), bad.url("/b"));
    kept_file const link{metalink_of(o, urls, "its name.bin")};
    temp_dir dir;
    auto const r = get(dir, {"--metalink", link.path(), "--json"});
    CAPTURE(first, r.err, r.out);
    REQUIRE(r.exit_code == 0);
    CHECK(files_in(dir) == strings{"its name.bin"});
    CHECK((read_file(dir / "its name.bin") == o.bytes));
    auto const j = report_in(r);
    REQUIRE(j.at("mirrors").size() == 2);
    CHECK(j.at("digest_verified") == true);
    CHECK(j.at("pieces_failed") > 0);
    auto const& dropped = j.at("mirrors").at(first);
    CHECK(dropped.at("url") == bad.url("/b"));
    REQUIRE(dropped.contains("dropped"));
    CHECK(contains(dropped.at("dropped").at("detail").get<std::string>(), "piece "));
    CHECK_FALSE(j.at("mirrors").at(1 - first).contains("dropped"));
    CHECK(contains(last_line(r.err), "2 mirrors of which 1 given up"));
    CHECK(contains(last_line(r.err), "sha-256 verified"));
}

TEST_CASE("web: what the command line says of a Metalink's file goes before") {
    auto const o = object::random(200'000, 43);
    fault_server server{honest(o)};
    kept_file const link{metalink_of(o, {server.url("/a")}, "its-name")};
    temp_dir dir;
    CHECK(get(dir, {"--metalink", link.path(), "-o", "mine"}).exit_code == 0);
    CHECK(files_in(dir) == strings{"mine"});
    // Wherever the Metalink would lead to.
    auto const out = metalink_of(o, {server.url("/a")}, "../escaped");
    kept_file const elsewhere{out};
    auto const r = get(dir, {"--metalink", elsewhere.path()});
    CAPTURE(r.err);
    CHECK(r.exit_code == 2);
    CHECK(contains(r.err, "the file's name in the Metalink cannot be used"));
    CHECK(files_in(dir) == strings{"mine"});
}

TEST_CASE("web: a Metalink that cannot be used is a usage error") {
    auto const o = object::random(1000, 44);
    fault_server server{honest(o)};
    auto const good = metalink_of(o, {server.url("/a")}, "x");
    temp_dir dir;
    struct row {
        std::string text;
        strings more;
        std::string said;
    };
    for (row const& w : {row{good.substr(0, good.size() - 5), {}, "not well-formed XML"},
                         row{"<html/>", {}, "no Metalink of version 4"},
                         row{metalink_of(o, {}, "x"), {}, "no URL for the file"},
                         row{good, {server.url("/a")}, "give one of them"}}) {
        kept_file const link{w.text};
        strings args{"--metalink", link.path()};
        args.insert(args.end(), w.more.begin(), w.more.end());
        auto const r = get(dir, args);
        CAPTURE(w.said, r.err);
        CHECK(r.exit_code == 2);
        CHECK(contains(last_line(r.err), w.said));
    }
    auto const r = get(dir, {"--metalink", "/nowhere/at/all"});
    CHECK(r.exit_code == 2);
    CHECK(contains(r.err, "cannot read /nowhere/at/all"));
    CHECK(server.connections() == 0);
    CHECK(files_in(dir).empty());
}

// ---- Addresses and names ------------------------------------------------------------------------

namespace {

bool has_ipv6_loopback() {
    int const fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    at.sin6_addr = in6addr_loopback;
    void* const raw = &at;
    bool const has = fd >= 0 && ::bind(fd, static_cast<sockaddr*>(raw), sizeof at) == 0;
    ::close(fd);
    if (!has) WARN("skipped: this machine has no ::1");
    return has;
}

// Serves an object at ::1 only.
struct ipv6_server {
    explicit ipv6_server(object const& o) : plain(honest(o)) {}
    std::string url(std::string const& host) const {
        return "http://" + host + ":" + std::to_string(front.port()) + "/x";
    }
    fault_server plain;
    tls_server front{forward_to(plain.port()), {.also_plain = true}, true};
};

// Runs it where /etc/hosts says something else, in a mount namespace of its own.
class other_hosts {
  public:
    explicit other_hosts(std::string_view hosts) : file_(hosts) {}
    bool can_be() const {
        bool const can = run(wrapped({"true"})).exit_code == 0;
        if (!can) WARN("skipped: no file may be mounted over /etc/hosts");
        return can;
    }
    process_result get(temp_dir const& in, strings args) const {
        return run(wrapped(cleave_get_command(std::move(args))), within(in));
    }

  private:
    strings wrapped(strings const& command) const {
        strings all{"unshare",
                    ::geteuid() == 0 ? "-m" : "-rm",
                    "sh",
                    "-c",
                    "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
                    file_.path()};
        all.insert(all.end(), command.begin(), command.end());
        return all;
    }
    kept_file file_;
};

} // namespace

TEST_CASE("web: an IPv6 address is reached as it is written") {
    if (!has_ipv6_loopback()) return;
    auto const o = object::random(300'000, 45);
    ipv6_server server{o};
    for (strings const& more : {strings{}, strings{"-6"}}) {
        temp_dir dir;
        strings args{server.url("[::1]"), "--segment-size", "50K"};
        args.insert(args.end(), more.begin(), more.end());
        auto const r = get(dir, args);
        CAPTURE(r.err);
        REQUIRE(r.exit_code == 0);
        CHECK((read_file(dir / "x") == o.bytes));
    }
    CHECK(server.plain.requests().at(0).field("Host") ==
          "[::1]:" + std::to_string(server.front.port()));
    temp_dir dir;
    auto const r = get(dir, {server.url("[::1]"), "-4"});
    check_failed(r, dir, "Address family not supported");
    CHECK(contains(r.err, "::1"));
}

TEST_CASE("web: an IPv4 address is not reached with -6") {
    auto const o = object::random(1000, 46);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r = get(dir, {server.url("/x"), "-6"});
    check_failed(r, dir, "Address family not supported");
    CHECK(server.connections() == 0);
    CHECK(get(dir, {server.url("/x"), "-4"}).exit_code == 0);
    CHECK(read_file(dir / "x") == o.bytes);
    CHECK(get(dir, {server.url("/x"), "-4", "-6"}).exit_code == 2);
}

TEST_CASE("web: of a name's two addresses that is taken where somebody listens") {
    other_hosts const world{"127.0.0.1 two.test\n::1 two.test\n127.0.0.1 four.test\n"};
    if (!has_ipv6_loopback() || !world.can_be()) return;
    auto const o = object::random(300'000, 47);
    ipv6_server six{o};
    fault_server four{honest(o)};
    auto const at_four = ":" + std::to_string(four.port()) + "/x";
    struct row {
        std::string url;
        strings more;
        std::string fault; // none where it goes
    };
    for (row const& w :
         {row{six.url("two.test"), {}, ""}, row{six.url("two.test"), {"-6"}, ""},
          row{six.url("two.test"), {"-4"}, "refused"}, row{"http://two.test" + at_four, {}, ""},
          row{"http://two.test" + at_four, {"-4"}, ""},
          row{"http://two.test" + at_four, {"-6"}, "refused"},
          row{"http://four.test" + at_four, {}, ""},
          row{"http://four.test" + at_four, {"-6"}, "four.test"}}) {
        temp_dir dir;
        strings args{w.url, "--retries", "0", "--segment-size", "50K"};
        args.insert(args.end(), w.more.begin(), w.more.end());
        auto const r = world.get(dir, args);
        CAPTURE(args, r.err);
        if (!w.fault.empty()) {
            check_failed(r, dir, w.fault);
            continue;
        }
        CHECK(r.exit_code == 0);
        REQUIRE(files_in(dir) == strings{"x"});
        CHECK((read_file(dir / "x") == o.bytes));
    }
}

TEST_CASE("web: a name that does not resolve is named in time") {
    temp_dir dir;
    auto const begin = std::chrono::steady_clock::now();
    auto const r = get(dir, {"http://no-such-host.invalid/x", "--connect-timeout", "5", "--retries",
                             "0", "--json"});
    check_failed(r, dir, "no-such-host.invalid");
    CHECK(std::chrono::steady_clock::now() - begin < 5s + 3s);
    CHECK(report_in(r).at("error").at("where") == "connect");
}

// ---- Help ---------------------------------------------------------------------------------------

TEST_CASE("web: --help names what there is for it, and what goes without saying") {
    temp_dir dir;
    auto const help = get(dir, {"--help"}).out;
    for (std::string const option : {"--cacert", "--cert", "--key", "--pinned", "--proxy",
                                     "--noproxy", "--user", "--metalink", "-4", "-6"}) {
        CAPTURE(option);
        auto const at = help.find("\n  " + option);
        REQUIRE(at != std::string::npos);
        // With more than its own name.
        CHECK(help.find('\n', at + 1) - at > 30);
    }
    for (std::string const text :
         {"more of them are mirrors", "the system's CAs", "http_proxy", "https_proxy", "all_proxy",
          "no_proxy", "socks5h://", "IPv4 only", "IPv6 only"}) {
        CAPTURE(text);
        CHECK(contains(help, text));
    }
}
