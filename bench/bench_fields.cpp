// SPDX-License-Identifier: BSL-1.0
//
// What single fields and codings cost: Content-Range, dates, a framing, the chunked coding in
// chunks of many sizes and in portions as they come off a socket.

#include <cleave/http/body.hpp>
#include <cleave/http/content_range.hpp>
#include <cleave/http/date.hpp>
#include <cleave/http/response_head.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace {

constexpr std::array<std::string_view, 4> ranges{
    "bytes 0-1048575/1073741824", "bytes 4194304-5242879/1073741824",
    "bytes 1099510579200-1099511627775/1099511627776", "bytes 4194304-5242879/*"};

void content_range(benchmark::State& state) {
    std::size_t i = 0;
    for (auto _ : state)
        benchmark::DoNotOptimize(cleave::parse_content_range(ranges[i++ % ranges.size()]));
    if (!cleave::parse_content_range(ranges[2])) state.SkipWithError("it was not understood");
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(content_range);

void date(benchmark::State& state) {
    constexpr std::string_view text = "Sun, 06 Nov 2022 08:49:37 GMT";
    for (auto _ : state) {
        std::string_view from = text;
        benchmark::DoNotOptimize(from);
        benchmark::DoNotOptimize(cleave::parse_http_date(from));
    }
    if (!cleave::parse_http_date(text)) state.SkipWithError("it was not understood");
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(date);

void framing(benchmark::State& state) {
    cleave::response_head_parser parser;
    parser.feed("HTTP/1.1 206 Partial Content\r\n"
                "Server: nginx/1.22.1\r\n"
                "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\n"
                "Content-Type: application/octet-stream\r\n"
                "Content-Length: 1048576\r\n"
                "Last-Modified: Sat, 05 Nov 2022 10:11:12 GMT\r\n"
                "Connection: keep-alive\r\n"
                "ETag: \"63663610-40000000\"\r\n"
                "Content-Range: bytes 4194304-5242879/1073741824\r\n"
                "\r\n");
    for (auto _ : state) {
        benchmark::DoNotOptimize(cleave::read_framing(parser.head()));
        benchmark::DoNotOptimize(cleave::keeps_connection(parser.head()));
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(framing);

// A body of about 4 MiB in chunks of so many bytes, taken off in portions of so many. Of the data
// itself nothing is touched: what counts is the time for each chunk.
void chunked(benchmark::State& state) {
    auto const chunk = static_cast<std::size_t>(state.range(0));
    auto const portion = static_cast<std::size_t>(state.range(1));
    std::size_t const chunks = std::max<std::size_t>((std::size_t{4} << 20) / chunk, 1);
    std::string body;
    std::array<char, 32> line{};
    for (std::size_t i = 0; i != chunks; ++i) {
        std::snprintf(line.data(), line.size(), "%zx\r\n", chunk);
        body += line.data();
        body.append(chunk, 'x');
        body += "\r\n";
    }
    body += "0\r\n\r\n";

    std::size_t bytes = 0;
    cleave::chunked_decoder decoder;
    auto is = cleave::chunked_decoder::state::more;
    for (auto _ : state) {
        decoder.reset();
        bytes = 0;
        for (std::string_view rest = body; !rest.empty();) {
            std::string_view in = rest.substr(0, portion);
            rest.remove_prefix(in.size());
            while (!in.empty()) {
                auto const piece = decoder.decode(in);
                in.remove_prefix(piece.consumed);
                bytes += piece.data.size();
                is = piece.is;
                benchmark::DoNotOptimize(piece.data.data());
            }
        }
    }
    if (is != cleave::chunked_decoder::state::done || bytes != chunk * chunks)
        state.SkipWithError("it was not understood");
    state.counters["per_chunk"] = benchmark::Counter(static_cast<double>(chunks),
                                                     benchmark::Counter::kIsIterationInvariantRate |
                                                         benchmark::Counter::kInvert);
}
BENCHMARK(chunked)
    ->Args({16, 65536})
    ->Args({1024, 65536})
    ->Args({8192, 65536})
    ->Args({65536, 65536})
    ->Args({8192, 1460})
    ->Args({1048576, 65536});

} // namespace
