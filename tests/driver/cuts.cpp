// SPDX-License-Identifier: BSL-1.0
//
// Connections that end too early, everywhere: at each byte of a head, and throughout a body, by
// FIN and by RST. The download goes on from the last byte and ends right.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>

#include <atomic>
#include <cstdint>
#include <string>

using namespace cleave_test;

namespace {

// Cuts the first reply to a range that begins at `victim`, after `keep` bytes of it.
fault_handler cut_once(object const& o, std::uint64_t victim, std::size_t keep, bool reset,
                       std::atomic<bool>& done) {
    return [&o, victim, keep, reset, &done, rest = honest(o)](fault_connection& c,
                                                              seen_request const& r) {
        auto const range = r.range();
        if (!range || range->first != victim || done.exchange(true)) return rest(c, r);
        std::uint64_t const last = std::min<std::uint64_t>(range->second, o.bytes.size() - 1);
        std::string const reply =
            honest_206_head(o, victim, last) + std::string{body(o, victim, last)};
        c.send(std::string_view{reply}.substr(0, keep));
        c.flush();
        if (reset)
            c.reset();
        else
            c.close();
    };
}

} // namespace

TEST_CASE("F01: cut at every byte of a head, by FIN and RST, of the first and a later reply") {
    object const o = object::random(3000, 1);
    for (std::uint64_t const victim : {0U, 1000U}) {
        std::size_t const head = honest_206_head(o, victim, victim + 999).size();
        for (bool const reset : {false, true}) {
            for (std::size_t keep = 0; keep <= head; ++keep) {
                std::atomic<bool> done = false;
                fault_server server{cut_once(o, victim, keep, reset, done)};
                auto const got = fetch(server.url("/r"), 1000, 2);
                CAPTURE(victim, reset, keep, got.ec.message());
                REQUIRE(done);
                REQUIRE_FALSE(got.ec);
                REQUIRE(got.bytes == o.bytes);
                REQUIRE(got.report.retries + got.report.stale_connections == 1);
                // Nothing of the body had come: not a byte is fetched twice.
                REQUIRE(got.report.bytes_twice == 0);
            }
        }
    }
}

TEST_CASE("F01: cut at 64 offsets of a body, by FIN and RST: goes on from the last byte") {
    object const o = object::random(300000, 2);
    std::uint64_t const first = 100000;
    std::size_t const size = 100000;
    for (bool const reset : {false, true}) {
        for (std::size_t i = 0; i != 64; ++i) {
            // The edges, and 62 places between them.
            std::size_t const kept = i == 0 ? 0 : i == 63 ? size - 1 : i * size / 63 + i;
            std::size_t const head = honest_206_head(o, first, first + size - 1).size();
            std::atomic<bool> done = false;
            fault_server server{cut_once(o, first, head + kept, reset, done)};
            auto const got = fetch(server.url("/r"), size, 3);
            CAPTURE(reset, kept, got.ec.message());
            REQUIRE(done);
            REQUIRE_FALSE(got.ec);
            REQUIRE(got.bytes == o.bytes);
            REQUIRE(got.report.bytes_twice == 0);
            // Someone asks for exactly the rest, from the first byte that is missing.
            std::size_t asked_for_rest = 0;
            for (seen_request const& r : server.requests())
                if (r.range() && r.range()->first == first + kept &&
                    r.range()->second == first + size - 1)
                    ++asked_for_rest;
            REQUIRE(asked_for_rest == (kept == 0 ? 2 : 1));
        }
    }
}

TEST_CASE("a body without ranges that is cut is fetched again from its first byte") {
    object const o = object::random(100000, 3);
    for (bool const reset : {false, true}) {
        for (std::size_t const kept : {0U, 1U, 50000U, 99999U}) {
            std::atomic<bool> done = false;
            honest_options options;
            options.ranges = false;
            fault_server server{
                [&, rest = honest(o, options)](fault_connection& c, seen_request const& r) {
                    if (done.exchange(true)) return rest(c, r);
                    c.send(honest_200_head(o));
                    c.send_body(std::string_view{o.bytes}.substr(0, kept));
                    c.flush();
                    if (reset)
                        c.reset();
                    else
                        c.close();
                }};
            auto const got = fetch(server.url("/r"), 10000, 4);
            CAPTURE(reset, kept, got.ec.message());
            REQUIRE_FALSE(got.ec);
            REQUIRE(got.bytes == o.bytes);
            REQUIRE(got.report.bytes_twice == kept);
            REQUIRE_FALSE(got.report.ranges);
            REQUIRE(got.report.lanes == 1);
        }
    }
}

TEST_CASE("a server that always cuts at the same place without ranges is given up on") {
    object const o = object::random(100000, 4);
    fault_server server{[&](fault_connection& c, seen_request const&) {
        c.send(honest_200_head(o));
        c.send_body(std::string_view{o.bytes}.substr(0, 5000));
        c.close();
    }};
    auto const got = fetch(server.url("/r"), 10000, 4);
    CHECK(got.ec == cleave::error::closed_in_body);
    CHECK(got.report.requests <= 6);
}

TEST_CASE("F02: a kept connection that dies before its next reply costs nothing") {
    object const o = object::random(100000, 5);
    // Each connection carries one reply and is then closed, without a word about it.
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        rest(c, r);
        c.close();
    }};
    auto const got = fetch(server.url("/r"), 10000, 1);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.retries == 0);
    CHECK(got.report.stale_connections == 9);
}

TEST_CASE("F03: bytes that lie in a kept connection are never taken for the next reply") {
    object const o = object::random(40000, 6);
    object const other = object::random(40000, 7);
    // In one piece with each reply comes a second one, to a request that nobody has sent yet, with
    // the right fields and the wrong bytes.
    auto const part = [](object const& of, std::uint64_t first) {
        return honest_206_head(of, first, first + 9999) +
               std::string{body(of, first, first + 9999)};
    };
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        std::uint64_t const first = r.range().value().first;
        c.send(part(o, first) + (first == 30000 ? std::string{} : part(other, first + 10000)));
    }};
    auto const got = fetch(server.url("/r"), 10000, 1);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
}
