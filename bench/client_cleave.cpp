// SPDX-License-Identifier: BSL-1.0
//
// cleave as a client of bench_download. Compiled three times, so that each program has what its
// user's would have: by itself for plain TCP, without OpenSSL; with CLEAVE_BENCH_DIGEST for plain
// TCP and SHA-256; with CLEAVE_BENCH_TLS for TLS, with and without.

#include "client.hpp"

#if defined(CLEAVE_BENCH_TLS) || defined(CLEAVE_BENCH_DIGEST)
#include <cleave/cleave.hpp>
#else
#include <cleave/download.hpp>
#endif

#include <asio/io_context.hpp>

#include <cstdint>
#include <cstdio>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

using cleave_bench::client_options;
using cleave_bench::destination;

struct outcome {
    std::error_code ec;
    cleave::report report;
};

template <class Sink, class Policies>
outcome run(client_options const& o, Sink sink, Policies how) {
    outcome result;
    auto const threads = static_cast<int>(o.threads);
    asio::io_context context{threads};
    cleave::async_download(context.get_executor(), cleave::request{o.url}, std::move(sink),
                           std::move(how), [&](std::error_code ec, cleave::report r) {
                               result = {ec, std::move(r)};
                           });
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back([&] { context.run(); });
    context.run();
    for (auto& t : others) t.join();
    return result;
}

template <class Sink, class Policies>
outcome fetch(client_options const& o, Sink sink, Policies how) {
#ifdef CLEAVE_BENCH_TLS
    // A digest of the whole is behind the first byte that is missing: that one is to come soon.
    if (o.threads > 1)
        return run(o, std::move(sink),
                   std::move(how)
                       .with_plan(cleave::fixed_size{std::uint64_t{4} << 20})
                       .with_background(cleave::side_by_side{}));
#endif
    return run(o, std::move(sink), std::move(how));
}

template <class Policies>
outcome fetch_to(client_options const& o, std::span<std::byte> memory, Policies how) {
    if (o.to == destination::memory)
        return fetch(o, cleave::memory_sink{memory},
                     std::move(how).with_journal(cleave::no_journal{}));
    if (o.journal) return fetch(o, cleave::file_sink{o.out}, std::move(how));
    return fetch(o, cleave::file_sink{o.out}, std::move(how).with_journal(cleave::no_journal{}));
}

template <class Policies>
outcome fetch_by(client_options const& o, std::span<std::byte> memory, Policies how) {
#if defined(CLEAVE_BENCH_TLS) || defined(CLEAVE_BENCH_DIGEST)
    if (!o.sha256.empty())
        return fetch_to(o, memory, std::move(how).with_verify(cleave::sha256(o.sha256)));
#endif
#if !defined(CLEAVE_BENCH_DIGEST)
    if (o.to == destination::null)
        return fetch(o, cleave::null_sink{}, std::move(how).with_journal(cleave::no_journal{}));
    if (o.sha256.empty()) return fetch_to(o, memory, std::move(how));
#endif
    std::fputs("this program was not built for that case\n", stderr);
    return {std::make_error_code(std::errc::not_supported), {}};
}

} // namespace

int main(int argc, char** argv) {
    using namespace cleave_bench;
    return client_main(argc, argv, [](client_options const& o) {
        target_memory const memory{o};
        meter const cost;
        auto how = cleave::policies<>{}.with_lanes(
            cleave::fixed_lanes{static_cast<std::uint32_t>(o.lanes)});
#ifdef CLEAVE_BENCH_TLS
        auto const [ec, report] =
            fetch_by(o, memory.bytes(),
                     std::move(how).with_connector(cleave::tls_connector{{.ca_file = o.ca}}));
#else
        auto const [ec, report] = fetch_by(o, memory.bytes(), std::move(how));
#endif
        cost.say(report.bytes_copied);
        std::printf("requests %llu\ngrants %llu\nreads %llu\n",
                    static_cast<unsigned long long>(report.requests),
                    static_cast<unsigned long long>(report.grants),
                    static_cast<unsigned long long>(report.reads));
        if (ec)
            std::fprintf(stderr, "cleave: %s\n",
                         report.failed ? report.failed->message().c_str() : ec.message().c_str());
        return !ec && report.bytes == o.size && memory.is(o.object) &&
               report.digest_verified == !o.sha256.empty();
    });
}
