// SPDX-License-Identifier: BSL-1.0
//
// What an update says while it runs: progress, limited by time and step, and that it will not make
// its deadline, with what is to blame.
#include <ota/device.hpp>

using namespace cleave_test;
using namespace cleave::testing;
using namespace std::chrono_literals;
using cleave::bottleneck;
using cleave::update_error;

namespace {
object const image = object::random(100'000, 1);
} // namespace

TEST_CASE("progress is limited by time and by step, never goes back, and ends at 100") {
    // 50 s in all.
    bench b{memory_network::honest(image), {.rate = 2000, .piece = 500}};
    b.lanes = 1;
    kept k;
    platform p;
    flash_device d{k, p};
    d.running = true;
    cleave::update_options options;
    SECTION("time holds it back") {
        options.progress_interval = 10s;
        options.progress_step = 1;
        CHECK(b.update(d, firmware_of(image), options).ec == std::error_code{});
        CHECK(p.progress.size() >= 5);
        CHECK(p.progress.size() <= 7);
    }
    SECTION("the step holds it back") {
        options.progress_interval = 0s;
        options.progress_step = 20;
        CHECK(b.update(d, firmware_of(image), options).ec == std::error_code{});
        CHECK(p.progress.size() >= 5);
        CHECK(p.progress.size() <= 6);
    }
    SECTION("neither does much") {
        options.progress_interval = 1s;
        options.progress_step = 1;
        CHECK(b.update(d, firmware_of(image), options).ec == std::error_code{});
        CHECK(p.progress.size() >= 40);
    }
    REQUIRE(p.progress.size() == p.times.size());
    CHECK(p.progress.front() == 0);
    CHECK(p.progress.back() == 100);
    for (std::size_t i = 1; i + 1 < p.progress.size(); ++i) {
        CAPTURE(i, p.progress[i]);
        CHECK(p.progress[i] >= p.progress[i - 1] + options.progress_step);
        CHECK(p.times[i] - p.times[i - 1] >= options.progress_interval);
        CHECK(p.progress[i] < 100); // only when it is proven
    }
}

TEST_CASE("a deadline that will not be made is told in time, and missed in the end") {
    bench b{memory_network::honest(image), {.rate = 2000, .piece = 500}};
    b.lanes = 1;
    kept k;
    platform p;
    flash_device d{k, p};
    d.running = true;
    cleave::update_options const options{.deadline = 20s, .save_every = 4096};
    auto const r = b.update(d, firmware_of(image), options);
    REQUIRE(p.late.size() == 1);
    cleave::deadline_warning const w = p.late[0];
    CHECK(w.left > 15s); // in time
    CHECK(w.needed > w.left);
    CHECK(w.rate > 500);
    CHECK(w.rate < 4000);
    CHECK(w.bytes_left > 90'000);
    CHECK(w.because == bottleneck::network);
    CHECK(w.message().find("the update will not be done in time: ") == 0);
    CHECK(w.message().find("the network is slow") != std::string::npos);

    CHECK(r.ec == update_error::deadline_missed);
    REQUIRE(p.failures.size() == 1);
    CHECK(p.failures[0].step == cleave::update_step::download);
    CHECK(p.failures[0].text.find("of 100000 bytes are in place; time went to: network ") !=
          std::string::npos);
    CHECK(r.report.elapsed >= 20s);
    CHECK(r.report.elapsed < 21s);
    REQUIRE(r.report.late);

    // Whoever tries again has the whole time, and what is in place.
    flash_device again{k, p};
    again.running = true;
    auto const second = b.update(again, firmware_of(image), {.deadline = 45s});
    CHECK(second.ec == std::error_code{});
    CHECK(second.report.bytes_resumed > 20'000);
}

TEST_CASE("a deadline that is made is not warned of") {
    bench b{memory_network::honest(image), {.rate = 2000, .piece = 500}};
    b.lanes = 1;
    kept k;
    platform p;
    flash_device d{k, p};
    d.running = true;
    CHECK(b.update(d, firmware_of(image), {.deadline = 80s}).ec == std::error_code{});
    CHECK(p.late.empty());
    SECTION("but the time for installing counts") {
        kept other;
        flash_device e{other, p};
        auto const r = b.update(e, firmware_of(image), {.deadline = 80s, .install_time = 60s});
        CHECK(r.ec == update_error::deadline_missed);
        CHECK(r.report.elapsed < 21s);
        CHECK(p.late.size() == 1);
    }
}

TEST_CASE("time that passed before a power cut counts, as far as it was saved") {
    bench b{memory_network::honest(image), {.rate = 2000, .piece = 500}};
    b.lanes = 1;
    kept k;
    platform p;
    cleave::update_options const options{.deadline = 40s, .save_every = 4096};
    {
        flash_device d{k, p};
        d.dies_at = 40;
        (void)b.update(d, firmware_of(image), options);
        REQUIRE(d.dead());
    }
    auto const gone = b.time.now();
    CHECK(gone > 10s);
    flash_device d{k, p};
    auto const r = b.update(d, firmware_of(image), options);
    CHECK(r.ec == update_error::deadline_missed);
    CHECK(r.report.elapsed < 31s);
    CHECK(b.time.now() < 43s);
}

TEST_CASE("where the time goes: flash that is too slow") {
    bench b{memory_network::honest(image)};
    b.lanes = 1;
    kept k;
    platform p;
    slow_device d{k, p, 100ms, 8192}; // 20 kB/s: 5 s
    auto const r = b.update(d, firmware_of(image), {.deadline = 3s});
    CHECK(r.ec == update_error::deadline_missed);
    REQUIRE(p.late.size() == 1);
    CHECK(p.late[0].because == bottleneck::sink);
    CHECK(r.report.spent.sink > 2s);
    CHECK(r.report.spent.sink > r.report.spent.network);
}

TEST_CASE("where the time goes: a buffer that is too small") {
    // Flash alone takes 6 s, the network alone less; but they wait for each other, since nothing
    // on the way takes up what comes meanwhile.
    bench b{memory_network::honest(image),
            {.latency = 1ms, .rate = 30'000, .piece = 256, .window = 512}};
    b.lanes = 1;
    kept k;
    platform p;
    {
        slow_device d{k, p, 120ms, 2048};
        auto const r = b.update(d, firmware_of(image), {.deadline = 7s});
        CHECK(r.ec == update_error::deadline_missed);
        REQUIRE(p.late.size() == 1);
        CHECK(p.late[0].because == bottleneck::buffer);
        CHECK(p.late[0].message().find("the receive buffer is too small") != std::string::npos);
    }
    kept other;
    slow_device roomy{other, p, 120ms, 16 * 2048};
    roomy.running = true;
    CHECK(b.update(roomy, firmware_of(image), {.deadline = 7s}).report.stage ==
          cleave::update_stage::reported);
}

TEST_CASE("where the time goes: a pacer") {
    bench b{memory_network::honest(image)};
    b.lanes = 1;
    kept k;
    platform p;
    flash_device d{k, p};
    auto const r =
        b.update(d, firmware_of(image), b.policies().with_pace(cleave::token_bucket{1000, 4096}),
                 {.deadline = 20s});
    CHECK(r.ec == update_error::deadline_missed);
    REQUIRE(p.late.size() == 1);
    CHECK(p.late[0].because == bottleneck::pace);
    CHECK(r.report.spent.pace > 15s);
}

TEST_CASE("where the time goes: a server that lets wait") {
    bench b{[](memory_peer& peer, seen_request const& r) {
        peer.after(15s);
        send(peer, honest_reply(r, image));
    }};
    b.lanes = 1;
    kept k;
    platform p;
    flash_device d{k, p};
    auto const r = b.update(d, firmware_of(image), {.deadline = 14s});
    CHECK(r.ec == update_error::deadline_missed);
    REQUIRE(p.late.size() == 1);
    CHECK(p.late[0].rate == 0);
    CHECK(p.late[0].because == bottleneck::server);
    CHECK(p.late[0].message().find("and none comes") != std::string::npos);
    CHECK(r.report.spent.server > 12s);
}
