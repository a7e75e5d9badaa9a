// SPDX-License-Identifier: BSL-1.0
//
// The runs that a journal claims: joined where they touch, and each with the checksum of exactly
// its bytes, whatever order they come in.

#include <cleave/engine/checked_runs.hpp>

#include <support/catch.hpp>

#include <cleave/base/segment_set.hpp>

#include <laws/random.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

using cleave::checked_runs;
using cleave::checked_segment;
using cleave::segment;
using cleave_test::random_source;

namespace {

std::vector<std::byte> some_bytes(std::size_t n) {
    random_source random{n};
    std::vector<std::byte> to(n);
    for (std::byte& b : to) b = static_cast<std::byte>(random.below(256));
    return to;
}
std::uint32_t crc_of(std::vector<std::byte> const& all, segment s) {
    return cleave::crc32c(std::span{all}.subspan(s.first, s.size()));
}

} // namespace

TEST_CASE("runs that touch become one, with the checksum of both") {
    auto const all = some_bytes(300);
    auto const run = [&](segment s) { return checked_segment{s, crc_of(all, s)}; };
    checked_runs runs;
    CHECK(runs.empty());
    runs.insert(run({100, 199}));
    runs.insert(run({0, 49}));
    CHECK(runs.list() == std::vector{run({0, 49}), run({100, 199})});
    runs.insert(run({200, 299}));
    CHECK(runs.list() == std::vector{run({0, 49}), run({100, 299})});
    runs.insert(run({50, 99}));
    CHECK(runs.list() == std::vector{run({0, 299})});
}

TEST_CASE("what is erased takes its whole run along, for the rest has no checksum") {
    auto const all = some_bytes(300);
    auto const run = [&](segment s) { return checked_segment{s, crc_of(all, s)}; };
    checked_runs runs;
    runs.insert(run({0, 99}));
    runs.insert(run({200, 299}));
    runs.erase({100, 199});
    CHECK(runs.list().size() == 2);
    runs.erase({99, 99});
    CHECK(runs.list() == std::vector{run({200, 299})});
    runs.clear();
    CHECK(runs.empty());
}

TEST_CASE("whatever the order, runs are what is in place, and their checksums are right") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        CAPTURE(seed);
        random_source random{seed};
        auto const all = some_bytes(500);
        checked_runs runs;
        cleave::segment_set there;
        // Disjoint parts, as grants are, in any order.
        for (int i = 0; i != 60; ++i) {
            std::uint64_t const first = random.below(500);
            auto const gap = there.first_gap({first, 499});
            if (!gap) continue;
            segment part = *gap;
            part.last = part.first + random.below(part.size());
            there.insert(part);
            runs.insert({part, crc_of(all, part)});
        }
        REQUIRE(runs.list().size() == there.count());
        auto at = there.begin();
        for (checked_segment const& r : runs.list()) {
            CHECK(r.bytes == *at++);
            CHECK(r.crc == crc_of(all, r.bytes));
        }
    }
}

TEST_CASE("claims are read back whole and in order, and those that hold are told") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        random_source random{seed};
        auto const all = some_bytes(500);
        std::vector<checked_segment> claims;
        std::vector<checked_segment> right;
        std::vector<bool> readable;
        for (std::uint64_t at = random.below(50); at < 450; at += 1 + random.below(50)) {
            segment const bytes{at, at + random.below(50)};
            checked_segment const truth{bytes, crc_of(all, bytes)};
            bool const lies = random.chance(30);
            readable.push_back(random.chance(80));
            claims.push_back({bytes, lies ? truth.crc + 1 : truth.crc});
            if (!lies && readable.back()) right.push_back(truth);
            at = bytes.last + 1; // at least one byte apart, or they would be one
        }

        std::uint64_t const most = 1 + random.below(60);
        cleave::claims_check check;
        std::vector<checked_segment> held;
        cleave::segment_set read;
        std::size_t claim = 0;
        while (auto const part = check.next(claims, most)) {
            while (claim != claims.size() && !claims[claim].bytes.contains(*part)) ++claim;
            REQUIRE(claim < claims.size());
            REQUIRE(part->size() <= most);
            REQUIRE_FALSE(read.overlaps(*part));
            read.insert(*part);
            auto const crc = readable[claim] ? std::optional{crc_of(all, *part)} : std::nullopt;
            if (auto const good = check.found(claims, crc)) held.push_back(*good);
        }
        CHECK(held == right);
        for (std::size_t i = 0; i != claims.size(); ++i)
            if (readable[i]) CHECK(read.contains(claims[i].bytes));
    }
}

TEST_CASE("where nothing is claimed, nothing is read") {
    cleave::claims_check check;
    CHECK_FALSE(check.next({}, 100));
}
