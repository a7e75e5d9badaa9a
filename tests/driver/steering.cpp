// SPDX-License-Identifier: BSL-1.0
//
// Downloads that are steered while they run, through the real driver in virtual time: paused for
// hours, held to a rate, helped where a lane is slow or silent, and handed on in order through a
// small window while lanes die.
#include <support/catch.hpp>

#include <support/digest.hpp>

#include <cleave/cleave.hpp>
#include <cleave/download.hpp>
#include <cleave/testing/memory_disk.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave::testing;
using namespace cleave::literals;
using namespace std::chrono_literals;
using cleave::error;
using cleave_test::sha256_hex;

namespace {

std::string text(std::vector<std::byte> const& memory) {
    std::string to(memory.size(), '\0');
    if (!memory.empty()) std::memcpy(to.data(), memory.data(), memory.size());
    return to;
}

/// A world with a server and one download.
struct steered {
    explicit steered(memory_handler handler, memory_link link = {})
        : network(std::move(handler), link) {}

    [[nodiscard]] auto how() {
        return cleave::policies<>{}
            .with_connector(network.connector())
            .with_timer<virtual_timers>()
            .with_background(cleave::same_thread{})
            .with_control(control);
    }

    template <class Sink, class Policies>
    void start(Sink sink, Policies with) {
        cleave::request what{"http://example.org/model.bin"};
        what.seed = 7;
        cleave::async_download(context.get_executor(), std::move(what), std::move(sink),
                               std::move(with), [this](std::error_code e, cleave::report r) {
                                   ++calls;
                                   ec = e;
                                   report = std::move(r);
                                   ended_at = time.now();
                               });
    }

    /// Lets the world run until the download has ended; false when it hangs.
    bool finish() {
        return time.run(context, [&] { return calls != 0; });
    }
    /// Until this time has come; events beyond it have not happened.
    void run_until(world::time t) {
        bool there = false;
        time.at(t, [&there] { there = true; });
        REQUIRE(time.run(context, [&] { return there; }));
    }

    world time;
    memory_network network;
    asio::io_context context;
    cleave::control control;
    int calls = 0;
    std::error_code ec;
    cleave::report report;
    world::time ended_at{0};
};

/// Serves the object, but does something else on some connections.
template <class Else>
memory_handler serves(object const& o, Else instead) {
    return [honest = memory_network::honest(o), instead = std::move(instead),
            &o](memory_peer& p, seen_request const& r) {
        if (!instead(p, r, o)) honest(p, r);
    };
}

} // namespace

// --- pause ---------------------------------------------------------------------------------------

TEST_CASE("a paused download rests for hours, and goes on where it was") {
    object const o = object::random(8'000'000, 1);
    steered s{memory_network::honest(o), {.rate = 500'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how());
    s.run_until(1s);
    s.control.pause();
    s.run_until(2s);
    auto const requests = s.network.requests().size();
    auto const delivered = s.network.bytes_delivered();
    CHECK(delivered > 1'000'000);
    auto const steps = s.time.steps();
    s.run_until(5h);
    CHECK(s.calls == 0);
    // Nothing is asked for. What the kernel holds arrives, up to a window on each connection.
    CHECK(s.network.requests().size() == requests);
    CHECK(s.network.bytes_delivered() - delivered < 8 * 500'000);
    // And nobody looks at the clock all the time.
    CHECK(s.time.steps() - steps < 2'000);
    s.control.resume();
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK(s.report.retries == 0);
    CHECK(s.report.bytes_twice == 0);
    CHECK((text(memory) == o.bytes));
    CHECK(s.ended_at < 5h + 3s);
}

TEST_CASE("pausing before the start, twice, and at any time between") {
    object const o = object::random(1'000'000, 2);
    for (int ms = 0; ms < 320; ms += 7) {
        CAPTURE(ms);
        steered s{memory_network::honest(o), {.rate = 500'000}};
        std::vector<std::byte> memory;
        if (ms == 0) s.control.pause();
        s.start(cleave::memory_sink{memory}, s.how());
        s.run_until(std::chrono::milliseconds{ms});
        s.control.pause();
        s.control.pause();
        s.run_until(1h);
        REQUIRE(s.calls == 0);
        s.control.resume();
        REQUIRE(s.finish());
        REQUIRE_FALSE(s.ec);
        REQUIRE((text(memory) == o.bytes));
    }
}

TEST_CASE("a paused download can be cancelled, and meets its deadline") {
    object const o = object::random(8'000'000, 3);
    steered s{memory_network::honest(o), {.rate = 500'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how());
    s.run_until(1s);
    s.control.pause();
    s.run_until(1h);
    s.control.cancel();
    REQUIRE(s.finish());
    CHECK(s.ec == error::cancelled);
}

TEST_CASE("a server that closed meanwhile costs a retry, and nothing else") {
    object const o = object::random(4'000'000, 4);
    auto const cut_first = [](memory_peer& p, seen_request const& r, object const& all) {
        if (r.on_connection != 0 || r.connection >= 3) return false;
        auto const range = r.range().value();
        auto const last = std::min<std::uint64_t>(range.second, all.bytes.size() - 1);
        p.send(honest_206_head(all, range.first, last));
        p.send_body(body(all, range.first, last).substr(0, 300'000));
        p.rst();
        return true;
    };
    steered s{serves(o, cut_first), {.rate = 500'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how());
    s.run_until(200ms);
    s.control.pause();
    s.run_until(1h);
    s.control.resume();
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((text(memory) == o.bytes));
}

// --- rate ----------------------------------------------------------------------------------------

TEST_CASE("a rate holds for all lanes together, without busy waiting") {
    object const o = object::random(10'000'000, 5);
    steered s{memory_network::honest(o), {.rate = 10'000'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how().with_pace(cleave::token_bucket{1'000'000}));
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((text(memory) == o.bytes));
    CHECK(s.ended_at > 9'800ms);
    CHECK(s.ended_at < 10'500ms);
    // A portion each sixty-fourth of a second, and a few events for each.
    CHECK(s.report.grants < 1'500);
    CHECK(s.time.steps() < 60'000);
}

TEST_CASE("lanes whose turn comes while the disk is slow wait for it, and do not spin") {
    object const o = object::random(200'000, 1);
    memory_disk disk;
    steered s{memory_network::honest(o), {.latency = 1ms}};
    // A record is due after each grant, and takes longer than it is until the next turn.
    cleave::basic_file_journal<memory_file> journal{memory_file{disk}};
    s.start(cleave::basic_file_sink<memory_file>{"/model", memory_file{disk}},
            s.how()
                .with_plan(cleave::fixed_size{20'000})
                .with_lanes(cleave::fixed_lanes{4})
                .with_pace(cleave::token_bucket{30'000, 5'000})
                .with_journal(std::move(journal).every({.bytes = 1, .time = 1h}))
                .with_background(virtual_work{400ms}));
    REQUIRE(s.finish());
    CHECK(s.ec == std::error_code{});
    CHECK(disk.bytes("/model") == o.bytes);
    // Some steps for each grant and its record.
    CHECK(s.time.steps() < 40 * s.report.grants);
}

TEST_CASE("the rate is shared fairly among lanes") {
    object const o = object::random(16'000'000, 6);
    steered s{memory_network::honest(o), {.rate = 10'000'000}};
    std::vector<std::byte> memory;
    std::vector<std::uint64_t> each;
    auto watch = cleave::on_progress(100ms, [&](cleave::progress const& p) {
        if (p.elapsed < 3s || !each.empty()) return;
        for (auto const& l : p.lanes) each.push_back(l.bytes);
    });
    s.start(cleave::memory_sink{memory}, s.how()
                                             .with_plan(cleave::fixed_size{256_KiB})
                                             .with_pace(cleave::token_bucket{4'000'000})
                                             .with_observer(std::move(watch)));
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    REQUIRE(each.size() == 8);
    auto const [least, most] = std::ranges::minmax(each);
    CAPTURE(each);
    CHECK(least * 10 > most * 7);
}

TEST_CASE("the rate can be changed while it runs") {
    object const o = object::random(10'000'000, 7);
    steered s{memory_network::honest(o), {.rate = 10'000'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how());
    s.control.rate(10'000);
    s.run_until(10s);
    CHECK(s.calls == 0);
    // A trickle until now; the rest at once.
    s.control.rate(0);
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK(s.ended_at > 10s);
    CHECK(s.ended_at < 11s);
    CHECK((text(memory) == o.bytes));
}

TEST_CASE("two downloads with one bucket share its rate") {
    object const o = object::random(2'000'000, 8);
    steered s{memory_network::honest(o), {.rate = 10'000'000}};
    cleave::token_bucket const bucket{1'000'000};
    std::vector<std::byte> one;
    std::vector<std::byte> other;
    auto how = [&] { return s.how().with_control({}).with_pace(bucket); };
    s.start(cleave::memory_sink{one}, how());
    s.start(cleave::memory_sink{other}, how());
    REQUIRE(s.time.run(s.context, [&] { return s.calls == 2; }));
    CHECK((text(one) == o.bytes));
    CHECK((text(other) == o.bytes));
    CHECK(s.ended_at > 3'800ms);
    CHECK(s.ended_at < 4'400ms);
}

// --- slow lanes ----------------------------------------------------------------------------------

TEST_CASE("what a silent lane holds is brought by the others, long before it times out (L01)") {
    object const o = object::random(16'000'000, 9);
    auto const third_is_silent = [](memory_peer& p, seen_request const& r, object const& all) {
        if (r.connection != 2 || r.on_connection != 0) return false;
        auto const range = r.range().value();
        auto const last = std::min<std::uint64_t>(range.second, all.bytes.size() - 1);
        p.send(honest_206_head(all, range.first, last));
        p.send_body(body(all, range.first, last).substr(0, 100'000));
        p.stall_for_ever();
        return true;
    };
    steered s{serves(o, third_is_silent), {.rate = 1'000'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how());
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((text(memory) == o.bytes));
    CHECK(s.report.steals > 0);
    CHECK(s.report.retries == 0);
    // 16 MB over seven lanes of 1 MB/s, where a stall takes 30 s to be found.
    CHECK(s.ended_at < 2'800ms);
}

TEST_CASE("where bytes come in bursts with long silences between, lanes let each other finish") {
    // Each connection brings 20 kB every two seconds, which is longer than a lane may be silent
    // where nothing is known of the network.
    object const o = object::random(1'600'000, 1);
    steered s{memory_network::honest(o), {.latency = 100ms, .rate = 10'000, .piece = 20'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how().with_lanes(cleave::fixed_lanes{8}));
    REQUIRE(s.finish());
    CHECK(s.ec == std::error_code{});
    CHECK((text(memory) == o.bytes));
    // 20 s is what eight connections take.
    CHECK(s.ended_at < 60s);
    CHECK(s.report.requests < 100);
}

TEST_CASE("a server that falls silent behind each head is found out by the stall timeout") {
    // Lanes take from each other what does not come; that must not go on for ever.
    for (std::size_t const size : {std::size_t{1}, std::size_t{1'000}, std::size_t{100'000}}) {
        CAPTURE(size);
        object const o = object::random(size, 1);
        steered s{[&o](memory_peer& p, seen_request const& r) {
            p.send(honest_reply(r, o).head);
            p.stall_for_ever();
        }};
        std::vector<std::byte> memory;
        s.start(cleave::memory_sink{memory}, s.how().with_lanes(cleave::fixed_lanes{4}));
        REQUIRE(s.finish());
        CHECK(s.ec == error::stalled);
        CHECK(s.report.requests < 150);
    }
}

TEST_CASE("a planner of one's own has stealing, too, and an exact object") {
    // Everything in one segment: without help seven lanes would have nothing to do.
    struct all_at_once {
        cleave::segment next(cleave::segment gap, cleave::plan_state const&) const noexcept {
            return gap;
        }
    };
    object const o = object::random(16'000'000, 10);
    steered s{memory_network::honest(o), {.rate = 1'000'000}};
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how().with_plan(all_at_once{}));
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((text(memory) == o.bytes));
    CHECK(s.report.lanes == 8);
    CHECK(s.ended_at < 3s);
}

TEST_CASE("an adaptive rule lives with a server that has two connections") {
    object const o = object::random(16'000'000, 11);
    steered s{memory_network::honest(o), {.rate = 1'000'000}};
    s.network.on_connect([&](std::size_t) {
        return s.network.open_connections() >= 2 ? arrival::refused : arrival::accepted;
    });
    std::vector<std::byte> memory;
    s.start(cleave::memory_sink{memory}, s.how().with_lanes(cleave::adaptive_lanes{}));
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((text(memory) == o.bytes));
    CHECK(s.ended_at < 10s);
    CHECK(s.network.attempts() < 12);
}

// --- in order ------------------------------------------------------------------------------------

namespace {

/// Takes chunks and looks at their order.
struct in_order {
    std::string got;
    std::size_t calls = 0;
    std::size_t largest = 0;

    auto consumer() {
        return [this](std::span<std::byte const> chunk) {
            ++calls;
            largest = std::max(largest, chunk.size());
            got.append(reinterpret_cast<char const*>(chunk.data()), chunk.size());
        };
    }
};

} // namespace

TEST_CASE("an ordered sink of one small buffer is called each time it is full") {
    object const o = object::random(1'000'001, 12);
    std::vector<std::byte> buffer(2048);
    in_order to;
    steered s{memory_network::honest(o), {.rate = 10'000'000}};
    s.start(cleave::ordered_sink{buffer, 2048, to.consumer()}, s.how());
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((to.got == o.bytes));
    CHECK(to.calls == (o.bytes.size() + 2047) / 2048);
    CHECK(to.largest == 2048);
    CHECK(s.report.requests < 20);
    CHECK(s.report.lanes == 1);
}

TEST_CASE("lanes fill the window of an ordered sink side by side") {
    object const o = object::random(8'000'000, 13);
    std::vector<std::byte> window(1_MiB);
    in_order to;
    steered s{memory_network::honest(o), {.rate = 500'000}};
    s.start(cleave::ordered_sink{window, 64_KiB, to.consumer()},
            s.how().with_lanes(cleave::fixed_lanes{16}));
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((to.got == o.bytes));
    CHECK(s.report.lanes >= 8);
    // Sixteen times 0.5 MB/s would be one second; a window takes its toll.
    CHECK(s.ended_at < 4s);
}

TEST_CASE("killing the lowest lane again and again never stops an ordered sink") {
    object const o = object::random(3'000'000, 14);
    // Whoever is asked for bytes of the window's lower half is cut soon.
    for (std::uint64_t const window : {64_KiB, 256_KiB, 1_MiB}) {
        CAPTURE(window);
        in_order to;
        std::size_t killed = 0;
        auto const kill_lowest = [&](memory_peer& p, seen_request const& r, object const& all) {
            auto const range = r.range().value();
            if (range.first > to.got.size() + window / 2 || killed == 40) return false;
            ++killed;
            auto const last = std::min<std::uint64_t>(range.second, all.bytes.size() - 1);
            p.send(honest_206_head(all, range.first, last));
            p.send_body(body(all, range.first, last).substr(0, 20'000));
            p.rst();
            return true;
        };
        std::vector<std::byte> storage(window);
        steered s{serves(o, kill_lowest), {.rate = 2'000'000}};
        s.start(cleave::ordered_sink{storage, 16_KiB, to.consumer()},
                s.how()
                    .with_lanes(cleave::fixed_lanes{16})
                    .with_renewal(cleave::backoff{.tries = 50, .first = 10ms}));
        REQUIRE(s.finish());
        CHECK_FALSE(s.ec);
        CHECK((to.got == o.bytes));
        CHECK(killed > 15);
    }
}

TEST_CASE("only proven pieces are handed on, and a bad one is fetched again, alone") {
    object const o = object::random(1'000'000, 15);
    constexpr std::size_t piece = 64 * 1024;
    std::vector<std::string> digests;
    for (std::size_t at = 0; at < o.bytes.size(); at += piece)
        digests.push_back(sha256_hex(std::string_view{o.bytes}.substr(at, piece)));
    // The third piece comes wrong the first time.
    bool wrong = true;
    auto const corrupt = [&](memory_peer& p, seen_request const& r, object const& all) {
        auto const range = r.range().value();
        auto const last = std::min<std::uint64_t>(range.second, all.bytes.size() - 1);
        std::uint64_t const bad = 2 * piece + 17;
        if (!wrong || bad < range.first || bad > last) return false;
        wrong = false;
        std::string bytes{body(all, range.first, last)};
        bytes[static_cast<std::size_t>(bad - range.first)] ^= 1;
        p.send(honest_206_head(all, range.first, last));
        p.send_body(bytes);
        return true;
    };
    std::size_t const window = GENERATE(1U, 4U, 16U) * piece;
    std::vector<std::byte> storage(window);
    in_order to;
    steered s{serves(o, corrupt), {.rate = 2'000'000}};
    s.start(cleave::ordered_sink{storage, 16_KiB, to.consumer()},
            s.how().with_verify(
                cleave::piece_digests{cleave::digest_algorithm::sha256, piece, digests}));
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((to.got == o.bytes));
    CHECK(s.report.pieces_failed == 1);
    CHECK(s.report.digest_verified);
    auto const& asked = s.network.requests();
    CHECK(std::ranges::count_if(asked, [](seen_request const& r) {
              return r.range() == std::pair<std::uint64_t, std::uint64_t>{2 * piece, 3 * piece - 1};
          }) >= 1);
}

TEST_CASE("without ranges an ordered sink goes on behind what it has handed on") {
    object const o = object::random(1'000'000, 16);
    honest_options options;
    options.ranges = false;
    int cuts = 3;
    memory_handler const honest = memory_network::honest(o, options);
    memory_handler const cutting = [&](memory_peer& p, seen_request const& r) {
        if (cuts-- <= 0) return honest(p, r);
        p.send(honest_200_head(o));
        p.send_body(std::string_view{o.bytes}.substr(0, 400'000));
        p.rst();
    };
    std::vector<std::byte> storage(64_KiB);
    in_order to;
    steered s{cutting, {.rate = 2'000'000}};
    s.start(cleave::ordered_sink{storage, 4_KiB, to.consumer()}, s.how());
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((to.got == o.bytes));
    CHECK(s.report.restarts == 3);
    CHECK(s.report.bytes_twice > 1'000'000);
}

TEST_CASE("a reply without a length that ends before what was handed on is no end of the object") {
    object const o = object::random(1'000'000, 18);
    honest_options options;
    options.ranges = false;
    options.no_length = true;
    memory_handler const honest = memory_network::honest(o, options);
    std::string head = honest_200_head(o);
    head.erase(head.find("Content-Length"),
               head.find("\r\n", head.find("Content-Length")) + 2 - head.find("Content-Length"));
    int replies = 0;
    memory_handler const cutting = [&](memory_peer& p, seen_request const& r) {
        if (++replies == 3) return honest(p, r);
        p.send(head);
        p.send_body(std::string_view{o.bytes}.substr(0, replies == 1 ? 400'000 : 100'000));
        if (replies == 1)
            p.rst();
        else
            p.fin();
    };
    std::vector<std::byte> storage(64_KiB);
    in_order to;
    steered s{cutting, {.rate = 2'000'000}};
    s.start(cleave::ordered_sink{storage, 4_KiB, to.consumer()}, s.how());
    REQUIRE(s.finish());
    CHECK_FALSE(s.ec);
    CHECK((to.got == o.bytes));
    CHECK(replies == 3);
}

TEST_CASE("what was handed on is not forgotten when the server says later that there is less") {
    object const o = object::random(1'000'000, 18);
    for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{10'000}}) {
        CAPTURE(size);
        object less = o;
        less.bytes.resize(size);
        std::string head = honest_200_head(o);
        drop_field(head, "Content-Length");
        bool again = false;
        memory_handler const forgetful = [&](memory_peer& p, seen_request const&) {
            if (std::exchange(again, true)) {
                p.send(honest_200_head(less));
                return p.send_body(less.bytes);
            }
            p.send(head);
            p.send_body(std::string_view{o.bytes}.substr(0, 400'000));
            p.rst();
        };
        std::vector<std::byte> storage(64_KiB);
        in_order to;
        steered s{forgetful, {.rate = 2'000'000}};
        s.start(cleave::ordered_sink{storage, 4_KiB, to.consumer()}, s.how());
        REQUIRE(s.finish());
        CHECK(s.ec == error::size_changed);
        CHECK(again);
    }
}

TEST_CASE("an ordered sink with a digest hears of the wrong one in the end") {
    object const o = object::random(300'000, 17);
    bool const right = GENERATE(true, false);
    std::vector<std::byte> storage(64_KiB);
    in_order to;
    steered s{memory_network::honest(o), {.rate = 2'000'000}};
    s.start(cleave::ordered_sink{storage, 4_KiB, to.consumer()},
            s.how().with_verify(cleave::sha256(sha256_hex(right ? o.bytes : "something else"))));
    REQUIRE(s.finish());
    CHECK(s.ec == (right ? std::error_code{} : make_error_code(error::digest_mismatch)));
    CHECK(s.report.digest_verified == right);
}
