// SPDX-License-Identifier: BSL-1.0
//
// Servers without ranges that change their mind about the object's length between two replies,
// and objects whose length nobody says: never taken for more or less than they are.
#include <support/catch.hpp>

#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>

#include <cstddef>
#include <string>
#include <vector>

using namespace cleave_test;
using cleave::error;

namespace {

std::string with_length(std::string const& content) {
    return head_of(200, "OK", "Content-Length: " + std::to_string(content.size()) + "\r\n");
}
std::string const in_chunks = head_of(200, "OK", "Transfer-Encoding: chunked\r\n");
std::string const until_close = head_of(200, "OK", "Connection: close\r\n");

// The first reply is `first` and then a cut; every later one is `later`, and then the end.
fetched twice(std::string const& first, std::string const& later) {
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        c.send(r.index == 0 ? first : later);
        c.close();
    }};
    return fetch(server.url("/r"), 100, 2);
}

} // namespace

TEST_CASE("a length told once holds for the replies that do not tell it") {
    std::string const all = object::random(500, 60).bytes;
    std::string const cut = with_length(all) + all.substr(0, 100);
    std::string const half = all.substr(0, 250);
    std::string const more = all + "more";

    CHECK(twice(cut, in_chunks + chunk(half) + chunk("")).ec == error::closed_in_body);
    CHECK(twice(cut, until_close + half).ec == error::closed_in_body);
    CHECK(twice(cut, in_chunks + chunk(more) + chunk("")).ec == error::size_changed);
    CHECK(twice(cut, until_close + more).ec == error::size_changed);
    for (std::string const& later : {in_chunks + chunk(all) + chunk(""), until_close + all}) {
        auto const got = twice(cut, later);
        CHECK_FALSE(got.ec);
        CHECK(got.bytes == all);
    }
}

TEST_CASE("a length may be told by a later reply only") {
    std::string const all = object::random(500, 61).bytes;
    std::string const cut = in_chunks + chunk(all.substr(0, 100));
    auto const got = twice(cut, with_length(all) + all);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == all);
    CHECK(got.report.identity.size == 500U);

    auto const empty = twice(cut, with_length(""));
    CHECK_FALSE(empty.ec);
    CHECK(empty.bytes.empty());
    CHECK(empty.report.requests == 2);
}

TEST_CASE("H04: an object without a length is cut off at the limit, not when the disk is full") {
    std::string const piece(10000, 'x');
    for (bool const chunked : {false, true}) {
        fault_server server{[&](fault_connection& c, seen_request const&) {
            c.send(chunked ? in_chunks : until_close);
            while (c.send(chunked ? chunk(piece) : piece)) {
            }
        }};
        cleave::request what{server.url("/r")};
        what.max_size = 1000000;
        auto const got = fetch(std::move(what), 100, 2);
        CHECK(got.ec == error::object_too_large);
        CHECK(got.report.bytes <= 1000001);
    }
}

TEST_CASE("memory of exactly the object's size takes it, however its end is told") {
    std::string const all = object::random(5000, 62).bytes;
    for (std::string const& reply :
         {with_length(all) + all, in_chunks + chunk(all) + chunk(""), until_close + all}) {
        fault_server server{[&](fault_connection& c, seen_request const&) {
            c.send(reply);
            c.close();
        }};
        auto const into = [&](std::size_t size) {
            std::vector<std::byte> memory(size);
            std::error_code ec;
            (void)cleave::download(server.url("/r"), cleave::memory_sink{std::span{memory}},
                                   cleave::policies<>{}.with_renewal(quick_backoff()), ec);
            return ec;
        };
        CHECK_FALSE(into(5000));
        CHECK(into(4999) == error::sink_too_small);
    }
}

TEST_CASE("an object of unknown size is hashed once it stands still") {
    object const o = object::random(5000000, 63);
    honest_options options;
    options.ranges = false;
    options.chunked = true;
    fault_server server{honest(o, options)};
    std::vector<std::byte> memory;
    std::error_code ec;
    auto const report =
        cleave::download(server.url("/r"), cleave::memory_sink{memory},
                         cleave::policies<>{}.with_verify(cleave::sha256(sha256_hex(o.bytes))), ec);
    CHECK_FALSE(ec);
    CHECK(report.digest_verified);
}

TEST_CASE("C02, C11: chunks that go on or break off behind the last byte do no harm") {
    object const o = object::random(30000, 64);
    for (std::string const& behind : {std::string{}, std::string{"0\r\n"}, std::string{"zz\r\n"},
                                      chunk("x"), chunk("") + "x"}) {
        fault_server server{[&](fault_connection& c, seen_request const& r) {
            auto const range = r.range().value();
            std::string head = honest_206_head(o, range.first, range.second);
            drop_field(head, "Content-Length");
            set_field(head, "Transfer-Encoding", "chunked");
            c.send(head + chunk(body(o, range.first, range.second)) + behind);
            c.close();
        }};
        // Not a single try is spent on what nobody needs.
        auto const got = fetch(server.url("/r"), cleave::policies<>{}
                                                     .with_plan(cleave::fixed_size{10000})
                                                     .with_renewal(quick_backoff(1)));
        CAPTURE(behind, got.ec.message());
        CHECK_FALSE(got.ec);
        CHECK(got.bytes == o.bytes);
        CHECK(got.report.retries == 0);
        for (seen_request const& r : server.requests()) CHECK(r.on_connection == 0);
    }
}

TEST_CASE("F02: a kept connection that is reset counts as little as one that is closed") {
    object const o = object::random(50000, 65);
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        if (r.on_connection == 0) return rest(c, r);
        c.reset();
    }};
    auto const got = fetch(server.url("/r"), cleave::policies<>{}
                                                 .with_plan(cleave::fixed_size{10000})
                                                 .with_lanes(cleave::fixed_lanes{1})
                                                 .with_renewal(quick_backoff(1)));
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.retries == 0);
    CHECK(got.report.stale_connections == 4);
}
