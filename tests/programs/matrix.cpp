// SPDX-License-Identifier: BSL-1.0
//
// cleave-get against every kind of server and any number of lanes: always the same bytes, and a
// report that is right about how they came. Who served what is taken from the server's own log.

#include <support/catch.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <poll.h>

#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/nginx.hpp>

#include "run_cleave_get.hpp"

using namespace cleave_test;
using namespace std::chrono_literals;

namespace {

struct carried {
    std::uint64_t bytes = 0;
    std::set<std::string> connections; // those with at least one byte
};

// What nginx says it sent of the target, as soon as it says that it sent this many bytes.
carried carried_by(nginx const& server, std::string const& target, std::uint64_t bytes) {
    auto const deadline = std::chrono::steady_clock::now() + 30s;
    for (;;) {
        carried all;
        std::istringstream log{server.access_log()};
        std::string line;
        while (std::getline(log, line)) {
            std::string connection, nth, status, method, where, range;
            std::uint64_t sent = 0;
            std::istringstream{line} >> connection >> nth >> status >> method >> where >> range >>
                sent;
            if (where != target || sent == 0) continue;
            all.bytes += sent;
            all.connections.insert(connection);
        }
        if (all.bytes >= bytes || std::chrono::steady_clock::now() > deadline) return all;
        ::poll(nullptr, 0, 10);
    }
}

// By another program than the one under test.
std::string sha256_of_file(std::filesystem::path const& path) {
    auto const r = run({"sha256sum", path.string()}, {.timeout = 600s});
    return r.out.substr(0, 64);
}

void any_number_of_lanes_brings(std::size_t size, std::string const& segment_size) {
    nginx server;
    auto const digest = [&] {
        auto const o = object::random(size, 1);
        server.put("object", o.bytes);
        return sha256_hex(o.bytes);
    }();
    for (std::size_t const n : {1U, 2U, 8U, 16U, 64U}) {
        CAPTURE(size, n);
        temp_dir dir;
        // Another query each time, so that the log can tell the downloads apart.
        auto const target = "/object?" + std::to_string(n);
        auto const r = cleave_get(dir,
                                  {server.url(target), "-n", std::to_string(n), "--segment-size",
                                   segment_size, "--digest", "sha-256=" + digest, "--json"},
                                  {.timeout = 600s});
        CAPTURE(r.err);
        REQUIRE(r.exit_code == 0);
        auto const j = report_in(r);
        CHECK(j["bytes"] == size);
        CHECK(j["digest_verified"] == true);
        CHECK(sha256_of_file(dir / "object") == digest);
        auto const served = carried_by(server, target, size);
        CHECK(j["lanes"] <= n);
        CHECK((n == 1 || j["lanes"] > 1));
        // Where a slow lane was helped, a connection may have been closed in its reply.
        if (j["steals"] == 0 && j["hedges"] == 0) {
            CHECK(served.bytes == size);
            CHECK(j["lanes"] == served.connections.size());
            CHECK(j["bytes_twice"] == 0);
        } else {
            CHECK(served.bytes >= size);
            CHECK(j["lanes"] <= served.connections.size());
        }
    }
}

} // namespace

TEST_CASE("any number of lanes brings the same 64 MiB") {
    any_number_of_lanes_brings(std::size_t{64} << 20, "256K");
}

TEST_CASE("any number of lanes brings the same GiB", "[.heavy]") {
    any_number_of_lanes_brings(std::size_t{1} << 30, "4M");
}

TEST_CASE("as many lanes as asked for carry bytes, if the server has work for each") {
    auto const n = GENERATE(as<std::size_t>{}, 1, 2, 8, 16, 64, 300);
    auto const o = object::random(2 * n * 1024, 2);
    gate all_there;
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        // But for the first, nobody gets an answer before everybody has asked.
        if (r.index == 0 || c.wait(all_there)) honest(o)(c, r);
    }};
    temp_dir dir;
    child c{cleave_get_command(
                {server.url("/x"), "-n", std::to_string(n), "--segment-size", "1K", "--json"}),
            {.directory = dir.path().string()}};
    CHECK(server.wait_for_requests(n + 1));
    all_there.open();
    auto const r = c.wait();
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    auto const j = report_in(r);
    // A lane that is silent for too long, as all are here for a while, may be helped by another.
    auto const helped = j["steals"].get<std::size_t>() + j["hedges"].get<std::size_t>();
    CHECK(j["lanes"].get<std::size_t>() + helped >= n);
    if (helped == 0) CHECK(j["lanes"] == n);
    CHECK(j["connections"] >= n);
    CHECK(j["requests"] == 2 * n + helped);
    // Nor does a lane that was helped wait for its own connection to stand, or keep it.
    if (helped == 0) CHECK(j["connections"] == n);
    if (helped == 0) CHECK(server.connections() == n);
    CHECK(read_file(dir / "x") == o.bytes);
}

TEST_CASE("every kind of server brings the same bytes") {
    struct kind {
        char const* name;
        honest_options options;
        bool ranges = true;          // of an object that is not empty
        bool length_verified = true; // likewise
    };
    std::vector<kind> const kinds{
        {"plain", {}},
        {"no ranges", {.ranges = false}, false},
        {"chunked", {.chunked = true}},
        {"chunked, no ranges", {.ranges = false, .chunked = true}, false},
        {"close-delimited", {.no_length = true}},
        {"close-delimited, no ranges", {.ranges = false, .no_length = true}, false, false},
        {"HTTP/1.0", {.http10 = true}},
        {"HTTP/1.0, no ranges", {.ranges = false, .http10 = true}, false},
        {"HTTP/1.0 of old", {.ranges = false, .no_length = true, .http10 = true}, false, false},
        {"Connection: close", {.close_each = true}},
        {"in small pieces", {.piece = 100}},
    };
    auto const size = GENERATE(as<std::size_t>{}, 0, 1, 2049, 300000);
    auto const* const lanes = GENERATE("1", "8");
    auto const o = object::random(size, 3);
    for (auto const& k : kinds) {
        CAPTURE(k.name, size, lanes);
        fault_server server{honest(o, k.options)};
        temp_dir dir;
        auto const r = cleave_get(dir, {server.url("/x"), "-n", lanes, "--segment-size", "20K",
                                        "--digest", "sha-256=" + sha256_hex(o.bytes), "--json"});
        CAPTURE(r.err, r.out);
        CHECK(r.exit_code == 0);
        if (r.exit_code != 0) continue;
        CHECK(read_file(dir / "x") == o.bytes);
        auto const j = report_in(r);
        CHECK(j["bytes"] == size);
        CHECK(j["identity"]["size"] == size);
        CHECK(j["digest_verified"] == true);
        CHECK(j["retries"] == 0);
        CHECK(j["bytes_twice"] == 0);
        CHECK(j["requests"] == server.requests().size());
        if (size == 0) continue;
        CHECK(j["ranges"] == k.ranges);
        CHECK(j["length_verified"] == k.length_verified);
        if (!k.ranges) CHECK(j["lanes"] == 1);
    }
}

TEST_CASE("nginx brings the same bytes in every way it has") {
    nginx server;
    for (std::size_t const size : {0U, 1U, 3000000U}) {
        auto const o = object::random(size, 4);
        server.put("object", o.bytes);
        for (auto const* way : {"/", "/noranges/", "/close/", "/chunked/", "/unsized/"}) {
            CAPTURE(size, way);
            temp_dir dir;
            auto const r = cleave_get(
                dir, {server.url(std::string{way} + "object"), "--segment-size", "200K", "--json"});
            CAPTURE(r.err, r.out);
            CHECK(r.exit_code == 0);
            if (r.exit_code != 0) continue;
            CHECK(read_file(dir / "object") == o.bytes);
            CHECK(report_in(r)["bytes"] == size);
            CHECK(report_in(r)["bytes_twice"] == 0);
        }
    }
}

TEST_CASE("a server that is short of connections is borne with") {
    nginx server;
    auto const o = object::random(3000000, 5);
    server.put("object", o.bytes);
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/few/object"), "--segment-size", "100K"});
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    CHECK(read_file(dir / "object") == o.bytes);
}
