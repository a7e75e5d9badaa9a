// SPDX-License-Identifier: BSL-1.0
//
// What a download costs, counted: allocations, copies, events. Figures that a change may not make
// worse unseen.
#include <support/catch.hpp>

#include <laws/count_allocations.hpp>
#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace cleave_test;

namespace {

struct cost {
    std::uint64_t allocations = 0;
    cleave::report report;
};

// Counts on this thread only: the server and the sink's jobs run on others.
cost download_counted(std::size_t size, std::uint64_t segment_size, std::uint32_t lanes) {
    object const o = object::random(size, 20);
    fault_server server{honest(o)};
    std::vector<std::byte> memory(size);
    std::error_code ec;
    cost c;
    auto how = cleave::policies<>{}
                   .with_plan(cleave::fixed_size{segment_size})
                   .with_lanes(cleave::fixed_lanes{lanes});
    cleave::request what{server.url("/r")};
    c.allocations = allocations_of([&] {
        c.report = cleave::download(std::move(what), cleave::memory_sink{std::span{memory}},
                                    std::move(how), ec);
    });
    REQUIRE_FALSE(ec);
    REQUIRE(std::memcmp(memory.data(), o.bytes.data(), size) == 0);
    return c;
}

} // namespace

TEST_CASE("no heap allocation per segment in steady state") {
    (void)download_counted(1 << 20, 16384, 4); // what is made once for a thread is made
    auto const few = download_counted(64 * 16384, 16384, 4);
    auto const many = download_counted(640 * 16384, 16384, 4);
    CAPTURE(few.allocations, many.allocations);
    CHECK(many.report.requests == 640);
    // How many buffers Asio's caches have to make depends on how the lanes happen to interleave;
    // 576 segments more must not show.
    INFO(many.allocations << " against " << few.allocations);
    CHECK(many.allocations < few.allocations + 32);
}

TEST_CASE("the only body bytes copied are those that came along with heads") {
    auto const c = download_counted(2000000, 100000, 4);
    CHECK(c.report.bytes_copied <= c.report.requests * 2048);

    // Exactly: so many bytes come in one piece with the head, the others when it has been judged.
    object const o = object::random(100000, 21);
    for (std::size_t const along : {0U, 1U, 137U, 1000U}) {
        gate judged;
        fault_server server{[&](fault_connection& conn, seen_request const&) {
            conn.send(honest_206_head(o, 0, 99999) +
                      std::string{body(o, 0, 99999).substr(0, along)});
            conn.wait(judged);
            conn.send_body(body(o, along, 99999));
        }};
        struct opener : cleave::ignores_other_events {
            using cleave::ignores_other_events::on;
            explicit opener(gate& to) : g(&to) {}
            void on(cleave::object_known const&) const noexcept { g->open(); }
            gate* g;
        };
        std::vector<std::byte> memory;
        std::error_code ec;
        auto const report = cleave::download(server.url("/r"), cleave::memory_sink{memory},
                                             cleave::policies<>{}
                                                 .with_plan(cleave::fixed_size{100000})
                                                 .with_observer(opener{judged}),
                                             ec);
        CHECK_FALSE(ec);
        CHECK(std::memcmp(memory.data(), o.bytes.data(), o.bytes.size()) == 0);
        CHECK(report.bytes_copied == along);
    }
}

TEST_CASE("a consumer that has no memory left ends its chunk all the same") {
    object const o = object::random(5000, 27);
    fault_server server{honest(o)};
    std::vector<std::byte> window(o.bytes.size());
    std::thread consumer;
    std::string seen;
    std::error_code ec;
    (void)cleave::download(
        server.url("/r"),
        cleave::ordered_sink{window, window.size(),
                             [&](std::span<std::byte const> chunk, cleave::chunk_done done) {
                                 seen.append(reinterpret_cast<char const*>(chunk.data()),
                                             chunk.size());
                                 consumer = std::thread{[done = std::move(done)]() mutable {
                                     without_memory([&] { done({}); });
                                 }};
                             }},
        cleave::policies<>{}, ec);
    consumer.join();
    CHECK_FALSE(ec);
    CHECK(seen == body(o, 0, o.bytes.size() - 1));
}

TEST_CASE("from a plain connection into a file, bodies are not seen") {
    object const o = object::random(3'000'000, 24);
    temp_dir const dir;
    std::error_code ec;
    auto const file = (dir / "o").string();
    auto const how = [] {
        return cleave::policies<>{}
            .with_plan(cleave::fixed_size{700'000})
            .with_lanes(cleave::fixed_lanes{3});
    };
    fault_server server{honest(o)};
    SECTION("as it comes, with its journal") {
        auto const r = cleave::download(server.url("/r"), file, how(), ec);
        CHECK_FALSE(ec);
        CHECK(r.bytes_spliced >= o.bytes.size() - r.requests * 2048);
        CHECK(r.bytes_spliced <= o.bytes.size());
        CHECK(r.bytes_copied == 0);
    }
    SECTION("without") {
        auto const r =
            cleave::download(server.url("/r"), file, how().with_journal(cleave::no_journal{}), ec);
        CHECK_FALSE(ec);
        CHECK(r.bytes_spliced >= o.bytes.size() - r.requests * 2048);
    }
    SECTION("where its digest is wanted, they are read again") {
        auto const r = cleave::download(server.url("/r"), file,
                                        how().with_verify(cleave::sha256(sha256_hex(o.bytes))), ec);
        CHECK_FALSE(ec);
        CHECK(r.digest_verified);
        CHECK(r.bytes_spliced >= o.bytes.size() - r.requests * 2048);
    }
    SECTION("not in chunks, where framing stands between them") {
        honest_options options;
        options.chunked = true;
        fault_server chunks{honest(o, options)};
        auto const r = cleave::download(chunks.url("/r"), file, how(), ec);
        CHECK_FALSE(ec);
        CHECK(r.bytes_spliced == 0);
    }
    CHECK(read_file(file) == o.bytes);
}

TEST_CASE("chunked bodies are copied once, and counted") {
    object const o = object::random(500000, 22);
    honest_options options;
    options.chunked = true;
    fault_server server{honest(o, options)};
    auto const got = fetch(server.url("/r"), 100000, 2);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.bytes_copied == 500000);
}

TEST_CASE("one engine event per grant, not per read") {
    object const o = object::random(3 << 17, 23);
    honest_options options;
    options.piece = 1000;
    options.rate = 4000000; // so that the pieces arrive one by one
    fault_server server{honest(o, options)};
    std::vector<std::byte> memory;
    std::error_code ec;
    auto const report = cleave::download(server.url("/r"), cleave::memory_sink{memory},
                                         cleave::policies<>{}
                                             .with_plan(cleave::fixed_size{3 << 17})
                                             .with_windows({.grant = 1 << 17}),
                                         ec);
    CHECK_FALSE(ec);
    CHECK(report.grants == 3);
    CHECK(report.reads > 10 * report.grants);
}
