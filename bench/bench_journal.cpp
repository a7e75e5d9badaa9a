// SPDX-License-Identifier: BSL-1.0
//
// What it costs to remember what is in place: the checksum of bytes, and of runs that become one; a
// record of so many runs, and its way into a file and back.

#include <cleave/base/crc32c.hpp>
#include <cleave/engine/checked_runs.hpp>
#include <cleave/journal/file_journal.hpp>
#include <cleave/journal/record.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

namespace {

void crc32c(benchmark::State& state) {
    std::vector<std::byte> const bytes(static_cast<std::size_t>(state.range(0)), std::byte{7});
    for (auto _ : state) benchmark::DoNotOptimize(cleave::crc32c(bytes));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(crc32c)->Arg(64)->Arg(1024)->Arg(16384)->Arg(262144);

void crc32c_by_table(benchmark::State& state) {
    std::vector<std::byte> const bytes(static_cast<std::size_t>(state.range(0)), std::byte{7});
    for (auto _ : state)
        benchmark::DoNotOptimize(
            cleave::detail::crc32c_by_table(bytes.data(), bytes.size(), 0xffffffff));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(crc32c_by_table)->Arg(262144);

// As at the end of a grant.
void crc32c_join(benchmark::State& state) {
    std::uint32_t crc = 1;
    for (auto _ : state) {
        crc = cleave::crc32c_join(crc, 0x12345678, static_cast<std::uint64_t>(state.range(0)));
        benchmark::DoNotOptimize(crc);
    }
}
BENCHMARK(crc32c_join)->Arg(1048576)->Arg(1000000);

// Eight runs that grow at their ends, as lanes bring them.
void checked_runs(benchmark::State& state) {
    constexpr std::uint64_t lanes = 8;
    constexpr std::uint64_t grant = std::uint64_t{1} << 20;
    constexpr std::uint64_t each = std::uint64_t{1} << 40;
    cleave::checked_runs runs;
    runs.reserve(2 * lanes + 2);
    std::uint64_t i = 0;
    for (auto _ : state) {
        std::uint64_t const first = i % lanes * each + i / lanes * grant;
        runs.insert({{first, first + (grant - 1)}, static_cast<std::uint32_t>(i)});
        ++i;
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(checked_runs);

cleave::resume_state state_of(std::int64_t runs) {
    cleave::resume_state s;
    s.identity.size = std::uint64_t{64} << 30;
    s.identity.validator = {cleave::validator::kind::strong_etag, "\"63663610-40000000\""};
    s.wanted = {0, *s.identity.size - 1};
    s.url = "https://objects.example.com/releases/model-v2.1.0-linux-x86_64.tar.gz";
    for (std::uint64_t i = 0; i != static_cast<std::uint64_t>(runs); ++i)
        s.in_place.push_back(
            {{i * 4194304, i * 4194304 + 1048575}, static_cast<std::uint32_t>(i * 2654435761U)});
    return s;
}

void encode(benchmark::State& state) {
    cleave::resume_state const s = state_of(state.range(0));
    for (auto _ : state) benchmark::DoNotOptimize(cleave::encode_record(s, 7, 65536));
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(encode)->Arg(1)->Arg(16)->Arg(256)->Arg(3000);

void decode(benchmark::State& state) {
    auto const bytes = cleave::encode_record(state_of(state.range(0)), 7, 65536);
    for (auto _ : state) benchmark::DoNotOptimize(cleave::decode_record(bytes));
    auto const back = cleave::decode_record(bytes);
    if (!back || *back->state != state_of(state.range(0))) state.SkipWithError("it differs");
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decode)->Arg(1)->Arg(16)->Arg(256)->Arg(3000);

// Into a file in `$TMPDIR`, as a download does every second; not waiting for a disk.
void store(benchmark::State& state) {
    char const* const where = std::getenv("TMPDIR");
    std::string const target = std::string{where != nullptr ? where : "/dev/shm"} +
                               "/bench_journal." + std::to_string(::getpid());
    cleave::file_journal journal;
    std::error_code ec;
    (void)journal.open(target, ec);
    cleave::resume_state const s = state_of(state.range(0));
    for (auto _ : state) {
        if (ec) break;
        journal.store(s, ec);
    }
    if (ec) state.SkipWithError(ec.message().c_str());
    std::error_code ignored;
    journal.remove(ignored);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(store)->Arg(16)->Arg(3000);

} // namespace
