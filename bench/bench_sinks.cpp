// SPDX-License-Identifier: BSL-1.0
//
// What it costs to put bytes where they belong once they are here: in pieces of so many bytes, as a
// lane receives them, into each sink. Files lie in `$TMPDIR`, or else in /dev/shm, in memory.
// Receiving itself is not in it, nor is opening and publishing.

#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/mapped_file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/null_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

namespace {

constexpr std::uint64_t object_size = std::uint64_t{64} << 20;

std::string target() {
    char const* const where = std::getenv("TMPDIR");
    return std::string{where != nullptr ? where : "/dev/shm"} + "/bench_sinks." +
           std::to_string(::getpid());
}

// The whole object again and again, by `put(offset, n, ec)`; the first time is not measured, for
// then the memory is new.
template <class Sink, class Put>
void put_all(benchmark::State& state, Sink& sink, Put put) {
    auto const piece = static_cast<std::size_t>(state.range(0));
    std::error_code ec;
    sink.check(ec);
    if (!ec) sink.open(object_size, ec);
    for (std::uint64_t at = 0; at != object_size && !ec; at += piece) put(at, piece, ec);
    std::uint64_t at = 0;
    for (auto _ : state) {
        if (ec) break;
        put(at, piece, ec);
        at = (at + piece) % object_size;
    }
    if (ec) state.SkipWithError(ec.message().c_str());
    sink.abandon();
    state.counters["per_MiB"] = benchmark::Counter(
        static_cast<double>(piece) / static_cast<double>(1U << 20U),
        benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// What a stream that makes its bytes elsewhere does.
template <class Sink>
void write(benchmark::State& state, Sink& sink) {
    std::vector<std::byte> const bytes(static_cast<std::size_t>(state.range(0)), std::byte{7});
    put_all(state, sink,
            [&](std::uint64_t at, std::size_t, std::error_code& ec) { sink.write(at, bytes, ec); });
}
// What one that receives into the sink's memory does, receiving apart.
template <class Sink>
void commit(benchmark::State& state, Sink& sink) {
    put_all(state, sink, [&](std::uint64_t at, std::size_t n, std::error_code& ec) {
        while (n != 0 && !ec) {
            auto const to = sink.prepare(at, n, ec);
            benchmark::DoNotOptimize(to.data());
            if (!ec) sink.commit(at, to.size(), ec);
            at += to.size();
            n -= to.size();
        }
    });
}

void commit_to_null(benchmark::State& state) {
    cleave::null_sink sink;
    commit(state, sink);
}
void commit_to_memory(benchmark::State& state) {
    std::vector<std::byte> memory(object_size);
    cleave::memory_sink sink{std::span<std::byte>{memory}};
    commit(state, sink);
}
void commit_to_file(benchmark::State& state) {
    cleave::file_sink sink{target()};
    commit(state, sink);
}
void write_to_file(benchmark::State& state) {
    cleave::file_sink sink{target()};
    write(state, sink);
}
void commit_to_mapped_file(benchmark::State& state) {
    cleave::mapped_file_sink sink{target()};
    commit(state, sink);
}
void write_to_mapped_file(benchmark::State& state) {
    cleave::mapped_file_sink sink{target()};
    write(state, sink);
}

// Handed on in chunks of 64 KiB, to a consumer that does nothing.
void deliver_in_order(benchmark::State& state) {
    constexpr std::size_t chunk = std::size_t{64} << 10;
    auto const piece = static_cast<std::size_t>(state.range(0));
    std::vector<std::byte> window(std::size_t{1} << 20);
    std::uint64_t bytes = 0;
    auto consumer = [&bytes](std::span<std::byte const> some) {
        bytes += some.size();
        benchmark::DoNotOptimize(some.data());
    };
    cleave::ordered_sink sink{std::span{window}, chunk, consumer};
    std::error_code ec;
    sink.open(std::nullopt, ec);
    std::uint64_t at = 0;
    std::uint64_t delivered = 0;
    for (auto _ : state) {
        for (std::size_t left = piece; left != 0;) {
            auto const to = sink.prepare(at, left, ec);
            benchmark::DoNotOptimize(to.data());
            sink.commit(at, to.size(), ec);
            at += to.size();
            left -= to.size();
            std::uint64_t const whole = (at - delivered) / chunk * chunk;
            if (whole != 0) sink.deliver(delivered, static_cast<std::size_t>(whole), ec);
            delivered += whole;
        }
    }
    if (ec || bytes != delivered) state.SkipWithError("not all was handed on");
    state.counters["per_MiB"] = benchmark::Counter(
        static_cast<double>(piece) / static_cast<double>(1U << 20U),
        benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

} // namespace

BENCHMARK(commit_to_null)->Arg(16384)->Arg(262144);
BENCHMARK(commit_to_memory)->Arg(16384)->Arg(262144);
BENCHMARK(commit_to_file)->Arg(16384)->Arg(65536)->Arg(262144);
BENCHMARK(write_to_file)->Arg(16384)->Arg(65536)->Arg(262144);
BENCHMARK(commit_to_mapped_file)->Arg(16384)->Arg(262144);
BENCHMARK(write_to_mapped_file)->Arg(16384)->Arg(262144);
BENCHMARK(deliver_in_order)->Arg(16384)->Arg(262144);
