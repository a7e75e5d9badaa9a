// SPDX-License-Identifier: BSL-1.0
//
// What it is worth to ask for the next segments before the present one has come whole: 16 MiB over
// four lanes from a server 100 ms away, in virtual time, so that no machine matters.

#include "options.hpp"
#include "table.hpp"

#include <cleave/download.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using namespace cleave::literals;
using cleave_bench::text;

constexpr std::uint64_t size = 16_MiB;
constexpr std::uint64_t rate = 4'000'000; // of each connection, in bytes a second
constexpr std::uint32_t lanes = 4;
constexpr auto latency = std::chrono::milliseconds{50};

struct result {
    double seconds = 0;
    cleave::report report;
};

result download(std::uint64_t segment, std::uint32_t ahead) {
    namespace testing = cleave::testing;
    testing::world time;
    testing::memory_network network{
        testing::memory_network::honest(testing::object::random(size, 1)),
        {.latency = latency, .rate = rate, .window = 2_MiB}};
    asio::io_context context;
    std::vector<std::byte> memory;
    bool done = false;
    result r;
    cleave::request what{"http://example.org/model.bin"};
    what.seed = 1;
    cleave::policies<> usual; // of a temporary, GCC 12 would think that it is not initialised
    auto how = std::move(usual)
                   .with_plan(cleave::fixed_size{segment})
                   .with_lanes(cleave::fixed_lanes{lanes})
                   .with_windows({.ahead = ahead})
                   .with_connector(network.connector())
                   .with_timer<testing::virtual_timers>()
                   .with_journal(cleave::no_journal{})
                   .with_background(cleave::same_thread{});
    cleave::async_download(context.get_executor(), std::move(what), cleave::memory_sink{memory},
                           std::move(how), [&](std::error_code ec, cleave::report got) {
                               if (ec) std::abort();
                               r.report = std::move(got);
                               done = true;
                           });
    time.run(context, [&] { return done; });
    r.seconds = std::chrono::duration<double>{time.now()}.count();
    return r;
}

void compare(bool markdown) {
    // Connecting, one reply, and the bytes.
    double const ideal = 4 * std::chrono::duration<double>{latency}.count() +
                         static_cast<double>(size) / static_cast<double>(lanes * rate);
    cleave_bench::table const t{markdown,
                                {{"segments of", 11},
                                 {"asked ahead, most", 17},
                                 {"s", 6},
                                 {"s/ideal", 7},
                                 {"requests", 8},
                                 {"of them ahead", 13}}};
    for (std::uint64_t const segment : {64_KiB, 256_KiB, 1_MiB})
        for (std::uint32_t const ahead : {0U, 1U, 16U}) {
            auto const r = download(segment, ahead);
            t.row({text("%llu KiB", static_cast<unsigned long long>(segment >> 10U)),
                   text("%u", ahead), text("%.2f", r.seconds), text("%.2f", r.seconds / ideal),
                   text("%llu", static_cast<unsigned long long>(r.report.requests)),
                   text("%llu", static_cast<unsigned long long>(r.report.requests_ahead))});
        }
}

} // namespace

int main(int argc, char** argv) {
    bool markdown = false;
    return cleave_bench::bench_main(
        argc, argv, {{"--markdown", "print the table in Markdown", cleave_bench::flag(markdown)}},
        [&] {
            compare(markdown);
            return 0;
        });
}
