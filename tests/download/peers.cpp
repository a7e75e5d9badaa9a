// SPDX-License-Identifier: BSL-1.0
//
// Downloads from real servers that nobody here wrote: nginx over TLS of either version, with client
// certificates and with all its ways to send a body, and a server of HTTP/1.0.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/nginx.hpp>
#include <support/proxies.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

#include <cleave/cleave.hpp>

#include <cstdint>
#include <string>

using namespace cleave_test;
using cleave::error;

namespace {

cleave::tls_settings trusting() { return {.ca_pem = test_authority().pem()}; }

nginx_options over_tls() {
    return {.certificate = local_identity().pem(), .key = local_identity().key_pem()};
}

auto over(cleave::tls_connector connector, std::uint32_t lanes) {
    return cleave::policies<>{}
        .with_plan(cleave::fixed_size{100'000})
        .with_lanes(cleave::fixed_lanes{lanes})
        .with_renewal(quick_backoff())
        .with_connector(std::move(connector));
}

std::string const& some_bytes() {
    static std::string const bytes = object::random(3'000'000, 95).bytes;
    return bytes;
}

/// The whole object over so many lanes: with handshakes of certificates or tickets, as `connector`
/// has tickets or not.
void check_download(std::string const& url, cleave::tls_connector const& connector,
                    std::uint32_t lanes, bool has_tickets) {
    CAPTURE(url, lanes, has_tickets);
    auto const before = connector.handshakes();
    fetched const f = fetch(url, over(connector, lanes));
    REQUIRE_FALSE(f.ec);
    CHECK((f.bytes == some_bytes()));
    CHECK(f.report.retries == 0);
    // On a fast day all is there before the last of eight lanes is.
    CHECK((f.report.lanes == 1) == (lanes == 1));
    CHECK(f.report.connections <= lanes);
    auto const after = connector.handshakes();
    auto const full = after.full - before.full;
    // The connector counts those too that came too late.
    CHECK(full + after.resumed - before.resumed >= f.report.connections);
    CHECK(f.report.handshakes_full + f.report.handshakes_resumed == f.report.connections);
    CHECK((full == 0) == has_tickets);
    CHECK((f.report.handshakes_full == 0) == has_tickets);
}

} // namespace

TEST_CASE("peers: nginx over TLS, of either version, over one lane and eight") {
    auto options = over_tls();
    options.versions = GENERATE("TLSv1.2", "TLSv1.3", "TLSv1.2 TLSv1.3");
    CAPTURE(options.versions);
    nginx server{options};
    server.put("r", some_bytes());
    cleave::tls_connector const connector{trusting()};
    check_download(server.url("/r"), connector, 1, false);
    check_download(server.url("/r"), connector, 8, true);
    check_download(server.url("/r"), cleave::tls_connector{trusting()}, 8, false);
    CHECK(server.error_log().empty());
}

TEST_CASE("peers: nginx that wants a client's certificate") {
    auto options = over_tls();
    options.versions = GENERATE("TLSv1.2", "TLSv1.3");
    options.client_ca = test_authority().pem();
    CAPTURE(options.versions);
    nginx server{options};
    server.put("r", some_bytes());

    temp_dir dir;
    auto const own = make_identity({.extended_usage = "clientAuth"}, &test_authority());
    write_file(dir / "own.pem", own.pem());
    write_file(dir / "own.key", own.key_pem());
    auto settings = trusting();
    settings.certificate_file = (dir / "own.pem").string();
    settings.key_file = (dir / "own.key").string();
    cleave::tls_connector const connector{settings};
    check_download(server.url("/r"), connector, 1, false);
    check_download(server.url("/r"), connector, 8, true);

    // nginx lets the handshake pass, and answers 400.
    fetched const f = fetch(server.url("/r"), over(cleave::tls_connector{trusting()}, 8));
    CHECK(f.ec == error::client_error);
    REQUIRE(f.report.failed);
    CHECK(f.report.failed->status == 400);
    CHECK(f.report.retries == 0);
}

TEST_CASE("peers: nginx over TLS, in all its ways to send a body") {
    nginx server{over_tls()};
    server.put("r", some_bytes());
    for (std::string const way : {"noranges", "close", "chunked", "unsized", "moved"}) {
        CAPTURE(way);
        fetched const f =
            fetch(server.url("/" + way + "/r"), over(cleave::tls_connector{trusting()}, 8));
        REQUIRE_FALSE(f.ec);
        CHECK((f.bytes == some_bytes()));
        CHECK(f.report.retries == 0);
        bool const ranges = way == "close" || way == "moved";
        CHECK((f.report.lanes == 1) == !ranges);
        CHECK(f.report.length_verified == (way != "unsized"));
    }
}

TEST_CASE("peers: a server of HTTP/1.0") {
    http10_server server;
    server.put("r", some_bytes());
    std::uint32_t const lanes = GENERATE(1U, 8U);
    fetched const f = fetch(server.url("/r"), over(cleave::tls_connector{trusting()}, lanes));
    REQUIRE_FALSE(f.ec);
    CHECK((f.bytes == some_bytes()));
    CHECK(f.report.retries == 0);
    CHECK_FALSE(f.report.ranges);
}
