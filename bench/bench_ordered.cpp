// SPDX-License-Identifier: BSL-1.0
//
// What it costs to be handed an object in order, a chunk at a time: how often the consumer is
// called, from chunks of 512 bytes to such of 1 MiB, and how much memory sixteen lanes take when
// the consumer is slower than they are.

#include "child.hpp"
#include "options.hpp"
#include "shaped_server.hpp"
#include "table.hpp"

#include <cleave/download.hpp>
#include <cleave/sink/ordered_sink.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

using cleave_bench::child;
using cleave_bench::child_end;
using cleave_bench::explain;
using cleave_bench::server_counts;
using cleave_bench::shaped_server;
using cleave_bench::table;
using cleave_bench::text;
using std::chrono::steady_clock;

constexpr std::chrono::seconds time_limit{120};

struct options {
    std::size_t runs = 3;
    bool markdown = false;
};

/// What a client says of its download.
struct outcome {
    double wall = 0; // seconds, as cpu
    double cpu = 0;
    bool right = false; // it ended well, and every byte came once and in its order
    std::uint64_t calls = 0;
    std::uint64_t peak_kib = 0;
    std::array<char, 160> error{}; // what went wrong otherwise
};

/// Fills in what there is to say, where `in_order` is what the consumer found.
void conclude(outcome& o, cleave::report const& r, std::error_code ec, std::uint64_t size,
              bool in_order) {
    if (r.failed)
        explain(o, r.failed->message());
    else if (ec)
        explain(o, ec.message());
    else if (r.bytes != size || !in_order)
        explain(o, "the consumer was not given the object's bytes, each once and in order");
    else
        o.right = true;
}

struct run {
    outcome client;
    server_counts server;
};

/// Runs `client(url)`, which answers with an `outcome`, beside a server of `size` bytes.
template <class F>
run run_client(std::uint64_t size, F client_does) {
    shaped_server server{{.send_buffer = 0}, size};
    child client{[&](int to) { return cleave_bench::say(to, client_does(server.url())); }};
    bool const ended = server.serve(client.fd(), time_limit);
    if (!ended) client.kill();
    child_end const e = client.wait();
    run r;
    r.server = server.counts();
    if (auto const said = cleave_bench::heard<outcome>(e))
        r.client = *said;
    else
        explain(r.client, ended ? "the client died" : "not done within the time limit");
    if (!r.client.right) std::fprintf(stderr, "wrong: %s\n", r.client.error.data());
    return r;
}

// --- calls ---------------------------------------------------------------------------------------

constexpr std::uint64_t calls_size = 10'000'000;
constexpr std::array<std::size_t, 4> chunks{512, 2 * 1024, 64 * 1024, 1024 * 1024};

/// The window is one chunk, so that there is memory for no more than what is handed on next.
outcome download_in_chunks(std::string const& url, std::size_t chunk) {
    std::vector<std::byte> window(chunk);
    std::vector<std::byte> taken(calls_size);
    outcome o;
    std::uint64_t at = 0;
    bool fits = true;
    auto const take = [&](std::span<std::byte const> bytes) {
        ++o.calls;
        fits = fits && bytes.size() <= calls_size - at &&
               (bytes.size() == chunk || bytes.size() == calls_size - at);
        if (!fits) return;
        std::memcpy(taken.data() + at, bytes.data(), bytes.size());
        at += bytes.size();
    };
    std::error_code ec;
    double const cpu = cleave_bench::cpu_so_far();
    auto const begin = steady_clock::now();
    cleave::report const r = cleave::download(
        url, cleave::ordered_sink{std::span{window}, chunk, take}, cleave::policies<>{}, ec);
    o.wall = std::chrono::duration<double>{steady_clock::now() - begin}.count();
    o.cpu = cleave_bench::cpu_so_far() - cpu;
    conclude(o, r, ec, calls_size, fits && at == calls_size && cleave_bench::is_object(0, taken));
    return o;
}

bool compare_chunks(options const& o) {
    std::printf("10 MB, the window as large as a chunk\n\n");
    table const t{o.markdown,
                  {{"chunk", 8},
                   {"calls", 7},
                   {"wanted", 7},
                   {"result", -6},
                   {"requests", 8},
                   {"connections", 11},
                   {"client cpu s", 12},
                   {"wall s", 7}}};
    bool right = true;
    for (std::size_t const chunk : chunks) {
        std::uint64_t const wanted = (calls_size + chunk - 1) / chunk;
        std::vector<run> runs;
        for (std::size_t n = 0; n != o.runs; ++n)
            runs.push_back(run_client(calls_size, [&](std::string const& url) {
                return download_in_chunks(url, chunk);
            }));
        bool const ok = std::all_of(runs.begin(), runs.end(), [&](run const& r) {
            return r.client.right && r.client.calls == wanted;
        });
        right = right && ok;
        std::sort(runs.begin(), runs.end(),
                  [](run const& a, run const& b) { return a.client.wall < b.client.wall; });
        run const& r = runs[(runs.size() - 1) / 2];
        t.row({std::to_string(chunk), std::to_string(r.client.calls), std::to_string(wanted),
               ok ? "ok" : "WRONG", std::to_string(r.server.requests),
               std::to_string(r.server.connections), text("%.3f", r.client.cpu),
               text("%.3f", r.client.wall)});
    }
    return right;
}

// --- memory --------------------------------------------------------------------------------------

constexpr std::uint64_t memory_size = 64'000'000;
constexpr std::size_t memory_window = 1024 * 1024;
constexpr std::size_t memory_chunk = 64 * 1024;
constexpr std::uint32_t memory_lanes = 16;
constexpr double consumer_rate = 20e6; // bytes a second

/// `idle` does all but download.
outcome download_slowly(std::string const& url, bool idle) {
    std::vector<std::byte> window(memory_window);
    outcome o;
    std::uint64_t at = 0;
    bool in_order = true;
    std::optional<steady_clock::time_point> first;
    auto const take = [&](std::span<std::byte const> bytes) {
        ++o.calls;
        in_order = in_order && cleave_bench::is_object(at, bytes);
        at += bytes.size();
        if (!first) first = steady_clock::now();
        std::chrono::duration<double> const due{static_cast<double>(at) / consumer_rate};
        std::this_thread::sleep_until(*first +
                                      std::chrono::duration_cast<steady_clock::duration>(due));
    };
    cleave::ordered_sink sink{std::span{window}, memory_chunk, take};
    auto how = cleave::policies<>{}.with_lanes(cleave::fixed_lanes{memory_lanes});
    if (idle) {
        o.right = true;
    } else {
        std::error_code ec;
        auto const begin = steady_clock::now();
        cleave::report const r = cleave::download(url, std::move(sink), std::move(how), ec);
        o.wall = std::chrono::duration<double>{steady_clock::now() - begin}.count();
        conclude(o, r, ec, memory_size, in_order && at == memory_size);
    }
    o.peak_kib = cleave_bench::peak_kib();
    return o;
}

bool compare_memory(options const& o) {
    std::printf("\n64 MB over %u lanes, a window of 1 MiB, chunks of 64 KiB; the consumer takes\n"
                "20 MB/s, so that the ideal is %.3f s\n\n",
                memory_lanes, static_cast<double>(memory_size) / consumer_rate);
    table const t{o.markdown,
                  {{"client", -11},
                   {"peak KiB", 8},
                   {"order", -6},
                   {"wall s", 7},
                   {"requests", 8},
                   {"twice %", 7}}};
    auto const client = [&](bool idle) {
        return run_client(memory_size,
                          [&, idle](std::string const& url) { return download_slowly(url, idle); });
    };
    auto const idle = client(true).client.peak_kib;
    t.row({"idle", std::to_string(idle), "-", "-", "-", "-"});
    run const r = client(false);
    double const sent = static_cast<double>(r.server.body_bytes);
    t.row({"downloading", std::to_string(r.client.peak_kib), r.client.right ? "ok" : "WRONG",
           text("%.3f", r.client.wall), std::to_string(r.server.requests),
           text("%.1f", std::max(0.0, 100 * (sent / static_cast<double>(memory_size) - 1)))});
    std::printf("\ndifference: %.2f MiB\n",
                (static_cast<double>(r.client.peak_kib) - static_cast<double>(idle)) / 1024);
    return r.client.right;
}

} // namespace

int main(int argc, char** argv) {
    options o;
    return cleave_bench::bench_main(
        argc, argv,
        {{"--runs N", "N runs of each chunk size, 3 unless given", cleave_bench::number(o.runs)},
         {"--markdown", "print the tables in Markdown", cleave_bench::flag(o.markdown)}},
        [&] {
            bool const calls = compare_chunks(o);
            bool const memory = compare_memory(o);
            return calls && memory ? 0 : 1;
        });
}
