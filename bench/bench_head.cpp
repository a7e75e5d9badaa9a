// SPDX-License-Identifier: BSL-1.0
//
// What a reply's head costs: parsing it at once and in portions, and judging it. Bytes are those of
// the heads.

#include <cleave/http/admit.hpp>
#include <cleave/http/response_head.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

constexpr std::string_view nginx = "HTTP/1.1 206 Partial Content\r\n"
                                   "Server: nginx/1.22.1\r\n"
                                   "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\n"
                                   "Content-Type: application/octet-stream\r\n"
                                   "Content-Length: 1048576\r\n"
                                   "Last-Modified: Sat, 05 Nov 2022 10:11:12 GMT\r\n"
                                   "Connection: keep-alive\r\n"
                                   "ETag: \"63663610-40000000\"\r\n"
                                   "Content-Range: bytes 4194304-5242879/1073741824\r\n"
                                   "\r\n";

constexpr std::string_view cdn =
    "HTTP/1.1 206 Partial Content\r\n"
    "Connection: keep-alive\r\n"
    "Content-Length: 1048576\r\n"
    "Content-Type: application/x-gzip\r\n"
    "x-origin-id-2: Zm9yIHRoZSBiZW5jaDogYSBsb25nIG9wYXF1ZSB2YWx1ZSBvZiBzb21lIG9yaWdpbg==\r\n"
    "x-origin-request-id: 5F0B1C2D3E4A5968\r\n"
    "Last-Modified: Sat, 05 Nov 2022 10:11:12 GMT\r\n"
    "ETag: \"9b2cf535f27731c974343645a3985328-128\"\r\n"
    "x-origin-storage-class: STANDARD\r\n"
    "x-origin-server-side-encryption: AES256\r\n"
    "x-origin-version-id: 3HL4kqtJvjVBH40Nrjfkd2wvBPiS1kYe\r\n"
    "Cache-Control: public, max-age=31536000, immutable, stale-while-revalidate=86400\r\n"
    "Accept-Ranges: bytes\r\n"
    "Age: 48211\r\n"
    "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\n"
    "Via: 1.1 edge, 1.1 0c9a6b1f2d3e4f5a6b7c8d9e0f1a2b3c.cdn.example (CDN)\r\n"
    "X-Served-By: cache-iad-kiad7000123-IAD, cache-fra-eddf8230045-FRA\r\n"
    "X-Cache: MISS, HIT\r\n"
    "X-Cache-Hits: 0, 17\r\n"
    "X-Timer: S1667724577.123456,VS0,VE1\r\n"
    "Vary: Accept-Encoding, Origin\r\n"
    "Strict-Transport-Security: max-age=63072000; includeSubDomains; preload\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Expose-Headers: ETag, Content-Range, Accept-Ranges, Content-Length\r\n"
    "Content-Disposition: attachment; filename=\"model-v2.1.0-linux-x86_64.tar.gz\"\r\n"
    "Alt-Svc: h3=\":443\"; ma=86400, h3-29=\":443\"; ma=86400\r\n"
    "NEL: {\"success_fraction\":0.01,\"report_to\":\"edge-nel\",\"max_age\":604800}\r\n"
    "Content-Range: bytes 4194304-5242879/1073741824\r\n"
    "\r\n";

std::string_view head_of(benchmark::State const& state) {
    return state.range(0) == 0 ? nginx : cdn;
}

void count(benchmark::State& state, std::size_t bytes) {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
    state.SetLabel(state.range(0) == 0 ? "nginx" : "cdn");
}

void parse(benchmark::State& state) {
    std::string_view const text = head_of(state);
    cleave::response_head_parser parser;
    for (auto _ : state) {
        parser.reset();
        benchmark::DoNotOptimize(parser.feed(text));
        benchmark::DoNotOptimize(parser.head().fields().data());
    }
    count(state, text.size());
}
BENCHMARK(parse)->Arg(0)->Arg(1);

// In portions of as many bytes as the second argument says.
void parse_split(benchmark::State& state) {
    std::string_view const text = head_of(state);
    auto const portion = static_cast<std::size_t>(state.range(1));
    cleave::response_head_parser parser;
    for (auto _ : state) {
        parser.reset();
        for (std::size_t at = 0; at < text.size(); at += portion)
            benchmark::DoNotOptimize(parser.feed(text.substr(at, portion)));
    }
    count(state, text.size());
}
BENCHMARK(parse_split)->Args({0, 1})->Args({0, 64})->Args({1, 1})->Args({1, 64});

void judge(benchmark::State& state) {
    std::string_view const text = head_of(state);
    cleave::response_head_parser parser;
    parser.feed(text);
    constexpr cleave::lease asked{{4194304, 5242879}, true};
    cleave::identity known;
    cleave::read_identity(parser.head(), known);
    known.size = 1073741824;
    cleave::admission to;
    for (auto _ : state) {
        cleave::admit(parser.head(), asked, {0, cleave::max_offset}, &known, to);
        benchmark::DoNotOptimize(to);
    }
    if (to.refused) state.SkipWithError("the reply was refused");
    count(state, text.size());
}
BENCHMARK(judge)->Arg(0)->Arg(1);

} // namespace
