// SPDX-License-Identifier: BSL-1.0
//
// Whole downloads over https: the right bytes over many connections, tickets between them, and a
// server that is not to be trusted refused at once, by name, with no request sent.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

#include <cleave/cleave.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

using namespace cleave_test;
using cleave::cause;
using cleave::error;

namespace {

cleave::tls_settings trusting() { return {.ca_pem = test_authority().pem()}; }

auto over(cleave::tls_connector const& connector) {
    return cleave::policies<>{}
        .with_plan(cleave::fixed_size{50000})
        .with_lanes(cleave::fixed_lanes{8})
        .with_renewal(quick_backoff())
        .with_connector(connector);
}

} // namespace

TEST_CASE("https: the right bytes over eight lanes, again with tickets") {
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    object const o = object::random(3'000'000, 70);
    fault_server plain{honest(o)};
    tls_server server{forward_to(plain.port()), {.answers_alpn = "http/1.1", .version = version}};
    cleave::tls_connector const connector{trusting()};
    fetched const first = fetch(server.url("localhost", "/r"), over(connector));
    REQUIRE_FALSE(first.ec);
    CHECK((first.bytes == o.bytes));
    CHECK(first.report.retries == 0);
    CHECK(first.report.lanes > 1);
    auto const before = connector.handshakes();
    CHECK(before.full + before.resumed == first.report.connections);

    fetched const second = fetch(server.url("localhost", "/r"), over(connector));
    REQUIRE_FALSE(second.ec);
    CHECK((second.bytes == o.bytes));
    CHECK(second.report.retries == 0);
    auto const after = connector.handshakes();
    CHECK(after.full == before.full);
    CHECK(after.resumed == before.resumed + second.report.connections);
}

TEST_CASE("https: connections that break in the middle are made good") {
    object const o = object::random(400'000, 71);
    fault_server plain{honest(o)};
    // Of each connection no more than so many bytes come, and no goodbye.
    tls_server server{forward_to(plain.port()), {.cut_after = 70'000}};
    fetched const f = fetch(server.url("localhost", "/r"), over(cleave::tls_connector{trusting()}));
    REQUIRE_FALSE(f.ec);
    CHECK((f.bytes == o.bytes));
    CHECK(f.report.retries != 0);
}

TEST_CASE("https: a body that ends with its connection is whole only where the server says so") {
    object const o = object::random(100'000, 72);
    honest_options without_length;
    without_length.ranges = false;
    without_length.no_length = true;
    fault_server plain{honest(o, without_length)};
    tls_server good{forward_to(plain.port())};
    cleave::tls_connector const connector{trusting()};
    fetched const f = fetch(good.url("localhost", "/r"), over(connector));
    REQUIRE_FALSE(f.ec);
    CHECK((f.bytes == o.bytes));
    CHECK_FALSE(f.report.length_verified);

    for (std::size_t const cut : {20'000U, 60'000U, 100'000U}) {
        tls_server bad{forward_to(plain.port()), {.cut_after = cut}};
        fetched const g = fetch(bad.url("localhost", "/r"), over(connector));
        CHECK(g.ec == error::tls_truncated);
        CHECK(g.report.retries != 0);
    }
}

TEST_CASE("https: who is not to be trusted is refused at once, and gets no request") {
    object const o = object::random(1000, 73);
    fault_server plain{honest(o)};
    struct row {
        identity shows;
        error why;
    };
    auto expired = local_names();
    expired.ends = -60;
    auto early = local_names();
    early.begins = 3600;
    for (row const& r :
         {row{make_identity(expired, &test_authority()), error::certificate_expired},
          row{make_identity(early, &test_authority()), error::certificate_not_yet_valid},
          row{make_identity({.names = {"other"}}, &test_authority()),
              error::certificate_wrong_host},
          row{make_identity(local_names()), error::certificate_unknown_issuer}}) {
        tls_server server{forward_to(plain.port()), {.shows = r.shows}};
        fetched const f =
            fetch(server.url("localhost", "/r"), over(cleave::tls_connector{trusting()}));
        CHECK(f.ec == r.why);
        CHECK(f.report.retries == 0);
        REQUIRE(f.report.failed);
        CHECK(f.report.failed->where == cleave::phase::connect);
        CHECK(f.report.requests == 0);
    }
    CHECK(plain.requests().empty());
}

TEST_CASE("https: a trust store that cannot be read ends it before any connection") {
    temp_dir dir;
    tls_server server{[](tls_connection& c) { c.read(); }};
    auto const missing = (dir / "none").string();
    cleave::tls_connector const connector{{.ca_file = missing}};
    fetched const f = fetch(server.url("localhost", "/r"), over(connector));
    CHECK(f.ec == error::trust_store_unreadable);
    CHECK(f.ec == cause::configuration);
    CHECK(f.report.retries == 0);
    CHECK(f.report.connections == 0);
    REQUIRE(f.report.failed);
    CHECK(f.report.failed->where == cleave::phase::setup);
    CHECK(f.report.failed->message() ==
          missing + ": " + cleave::describe(error::trust_store_unreadable));
    CHECK(server.accepted() == 0);

    // Also where it comes to https only on the way.
    auto const secure = server.url("localhost", "/r");
    fault_server plain{[&](fault_connection& c, seen_request const&) { c.send(redirect(secure)); }};
    fetched const led = fetch(plain.url("/r"), over(connector));
    CHECK(led.ec == error::trust_store_unreadable);
    REQUIRE(led.report.failed);
    CHECK(led.report.failed->detail == "connecting to " + secure + ": " + missing);
    CHECK(server.accepted() == 0);
}

TEST_CASE("https: a flood without a byte of the body is a stall (G06)") {
    object const o = object::random(100'000, 74);
    bool const asks = GENERATE(false, true);
    tls_server server{[&](tls_connection& c) {
                          c.read_until("\r\n\r\n");
                          c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                          c.send(o.bytes.substr(0, 1000));
                          while (c.raw(c.key_update(asks))) {
                          }
                      },
                      {.version = TLS1_3_VERSION}};
    cleave::request what{server.url("localhost", "/r")};
    what.timeouts.stall = std::chrono::milliseconds{200};
    fetched const f =
        fetch(what, over(cleave::tls_connector{trusting()}).with_renewal(quick_backoff(1)));
    CHECK(f.ec == error::stalled);
    CHECK(f.ec == cause::passing);
    CHECK(f.report.requests != 0);
}

TEST_CASE("https: without TLS the message says what to write and to include") {
    fetched const f = fetch(cleave::request{"https://localhost:1/r"}, 1000, 1);
    CHECK(f.ec == error::tls_unavailable);
    REQUIRE(f.report.failed);
    auto const text = f.report.failed->message();
    CAPTURE(text);
    CHECK(text.find("<cleave/cleave.hpp>") != text.npos);
    CHECK(text.find("with_connector(tls_connector{})") != text.npos);
}
