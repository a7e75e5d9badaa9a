// SPDX-License-Identifier: BSL-1.0
//
// Certificates that must not be taken, each where it may come: at the first connection, at a later
// one of a server that began well, and behind a redirect. It is always the same named error, at
// once, and the server that showed it has heard nothing of the request.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

#include <cleave/cleave.hpp>

#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using namespace cleave_test;
using namespace std::string_literals;
using cleave::error;

namespace {

struct bad_certificate {
    char const* what;
    identity shows;
    error why;
    std::string host = "localhost";
    std::vector<std::string> pins = {};
};

template <class Edit>
identity local_with(Edit edit) {
    auto o = local_names();
    edit(o);
    return make_identity(o, &test_authority());
}

/// A server's certificate that `by` has issued, with it behind.
identity issued_by(identity const& by) {
    identity made = make_identity(local_names(), &by);
    made.chain = {by.certificate};
    return made;
}
identity intermediate(long ends) {
    return make_identity({.common_name = "between", .ends = ends, .is_ca = true},
                         &test_authority());
}

std::vector<bad_certificate> const& bad_certificates() {
    static auto const all = [] {
        auto const& ca = test_authority();
        identity const stranger = make_authority("nobody knows me");
        return std::vector<bad_certificate>{
            {"expired", local_with([](auto& o) { o.begins = -7200, o.ends = -3600; }),
             error::certificate_expired},
            {"not yet valid", local_with([](auto& o) { o.begins = 3600; }),
             error::certificate_not_yet_valid},
            {"self-signed", make_identity(local_names()), error::certificate_unknown_issuer},
            {"of an unknown CA", make_identity(local_names(), &stranger),
             error::certificate_unknown_issuer},
            {"of somebody who is no CA", issued_by(local_identity()),
             error::certificate_unknown_issuer},
            {"of a CA that has expired", issued_by(intermediate(-60)), error::certificate_expired},
            {"for another host", make_identity({.names = {"other.test"}}, &ca),
             error::certificate_wrong_host},
            {"named as CN only", make_identity({.common_name = "localhost"}, &ca),
             error::certificate_wrong_host},
            {"NUL within the name", make_identity({.names = {"localhost\0.evil.test"s}}, &ca),
             error::certificate_wrong_host},
            {"for any name", make_identity({.names = {"*", "l*", "*.localhost"}}, &ca),
             error::certificate_wrong_host},
            {"address as a DNS name", make_identity({.names = {"127.0.0.1"}}, &ca),
             error::certificate_wrong_host, "127.0.0.1"},
            {"for clients only", local_with([](auto& o) { o.extended_usage = "clientAuth"; }),
             error::certificate_bad},
            {"with another key than the pinned",
             make_identity(local_names(), &ca),
             error::pin_mismatch,
             "localhost",
             {cleave::detail::tls_pin_of(local_identity().certificate.get())}},
        };
    }();
    return all;
}

auto over(cleave::tls_connector connector) {
    return cleave::policies<>{}
        .with_plan(cleave::fixed_size{1000})
        .with_lanes(cleave::fixed_lanes{2})
        .with_renewal(quick_backoff())
        .with_connector(std::move(connector));
}

fetched fetch_trusting(std::string const& url, std::vector<std::string> pins = {}) {
    cleave::request what{url};
    what.timeouts.stall = std::chrono::seconds{10};
    return fetch(what, over(cleave::tls_connector{
                           {.ca_pem = test_authority().pem(), .pins = std::move(pins)}}));
}

/// Ended by the certificate, and by nothing else, at once.
void check_refused(fetched const& f, error why) {
    CHECK(f.ec == why);
    CHECK(f.report.retries == 0);
    CHECK(f.report.lanes_given_up == 0);
    REQUIRE(f.report.failed);
    CHECK(f.report.failed->where == cleave::phase::connect);
    CHECK(f.report.failed->code == why);
    CHECK(f.report.failed->kind == cleave::cause_of(why));
}

} // namespace

TEST_CASE("certificates: a bad one at the first connection (G03, G04)") {
    object const o = object::random(5000, 80);
    fault_server plain{honest(o)};
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (auto const& bad : bad_certificates()) {
        CAPTURE(bad.what, version);
        tls_server server{forward_to(plain.port()), {.shows = bad.shows, .version = version}};
        auto const f = fetch_trusting(server.url(bad.host, "/r"), bad.pins);
        server.stop();
        check_refused(f, bad.why);
        CHECK(f.report.requests == 0);
        CHECK(server.accepted() == 1);
        CHECK(server.got_first() == 0);
    }
    CHECK(plain.requests().empty());
}

TEST_CASE("certificates: a bad one at a later connection, where the first was good (G05)") {
    object const o = object::random(5000, 81);
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (auto const& bad : bad_certificates()) {
        CAPTURE(bad.what, version);
        // The first connection cannot do it alone: half of what it asks for does not come.
        fault_server plain{[&](fault_connection& c, seen_request const& r) {
            auto const [first, last] = r.range().value();
            c.send(honest_206_head(o, first, last));
            c.send(body(o, first, (first + last) / 2));
            c.wait_for_peer_close();
        }};
        tls_server server{forward_to(plain.port()),
                          {.shows = local_identity(),
                           .version = version,
                           .shows_later = bad.shows,
                           .before = [&](tls_connection& c) {
                               if (!c.first()) plain.wait_for_requests(1);
                           }}};
        // The address is among the good one's names, too.
        auto const f = fetch_trusting(server.url(bad.host, "/r"), bad.pins);
        server.stop();
        check_refused(f, bad.why);
        CHECK(f.report.requests == 1);
        CHECK(f.report.bytes <= 500);
        CHECK(server.accepted() == 2);
        CHECK(server.got_first() != 0);
        CHECK(server.got_later() == 0);
        CHECK(plain.connections() <= 2);
        CHECK(plain.requests().size() == 1);
    }
}

TEST_CASE("certificates: a bad one behind a redirect, from http or https (G05)") {
    object const o = object::random(5000, 82);
    fault_server plain{honest(o)};
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    for (auto const& bad : bad_certificates()) {
        tls_server server{forward_to(plain.port()), {.shows = bad.shows, .version = version}};
        std::string const to = server.url(bad.host, "/r");
        fault_server first{[&](fault_connection& c, seen_request const&) { c.send(redirect(to)); }};
        tls_server first_tls{forward_to(first.port())};
        std::size_t asked = 0;
        for (std::string const& from : {first.url("/a"), first_tls.url("localhost", "/a")}) {
            CAPTURE(bad.what, version, from);
            auto const f = fetch_trusting(from, bad.pins);
            check_refused(f, bad.why);
            CHECK(f.report.redirects == 1);
            CHECK(f.report.requests == 1);
            CHECK(first.requests().size() == ++asked);
        }
        server.stop();
        // Each lane at most once.
        CHECK(server.accepted() >= 2);
        CHECK(server.accepted() <= 4);
        CHECK(server.got_first() == 0);
        CHECK(server.got_later() == 0);
    }
    CHECK(plain.requests().empty());
}

TEST_CASE("certificates: by way of a CA between, they are good") {
    object const o = object::random(5000, 83);
    fault_server plain{honest(o)};
    tls_server server{forward_to(plain.port()), {.shows = issued_by(intermediate(3600))}};
    auto const f = fetch_trusting(server.url("localhost", "/r"));
    CHECK_FALSE(f.ec);
    CHECK((f.bytes == o.bytes));
    server.stop();
    CHECK(server.got_first() != 0);
}

TEST_CASE("certificates: what went wrong is said with what to do, and no two alike (G03)") {
    temp_dir dir;
    write_file(dir / "empty.pem", "");
    object const o = object::random(1000, 84);
    fault_server plain{honest(o)};
    std::set<std::string> seen;
    auto const check = [&](fetched const& f, error why, std::string_view remedy) {
        CHECK(f.ec == why);
        REQUIRE(f.report.failed);
        std::string const text = f.report.failed->message();
        CAPTURE(text, remedy);
        CHECK(text.find(remedy) != text.npos);
        CHECK(seen.insert(text).second);
    };
    auto const from = [&](identity const& shows) {
        tls_server server{forward_to(plain.port()), {.shows = shows}};
        return fetch_trusting(server.url("localhost", "/r"));
    };
    auto const with_store = [&](char const* name) {
        return fetch({"https://localhost:1/r"},
                     over(cleave::tls_connector{{.ca_file = (dir / name).string()}}));
    };
    check(with_store("empty.pem"), error::trust_store_empty, "install the system's CA");
    check(with_store("none.pem"), error::trust_store_unreadable, "check its path and permissions");
    check(from(local_with([](auto& c) { c.begins = 3600; })), error::certificate_not_yet_valid,
          "clock, which on devices without a battery starts in 1970");
    check(from(make_identity({.names = {"other.test"}}, &test_authority())),
          error::certificate_wrong_host, "check the URL");
    check(from(make_identity(local_names())), error::certificate_unknown_issuer, "give its CA");
    CHECK(plain.requests().empty());
}
