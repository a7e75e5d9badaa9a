// SPDX-License-Identifier: BSL-1.0
#include <support/catch.hpp>

#include <cleave/ota/time_spent.hpp>
#include <cleave/pace/token_bucket.hpp>
#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/mapped_file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/null_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

using cleave::bottleneck;
using cleave::time_spent;
using cleave::detail::time_meter;
using namespace std::chrono_literals;

namespace {

// Shows what the test says.
struct hand_clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<hand_clock>;
    [[maybe_unused]] static constexpr bool is_steady = true;
    static inline duration at{0};
    static time_point now() { return time_point{at}; }
};

template <class Sink>
using timed = cleave::detail::timed_sink<Sink, hand_clock>;

using plain = cleave::ordered_sink<void (*)(std::span<std::byte const>)>;
using later = cleave::ordered_sink<void (*)(std::span<std::byte const>, cleave::chunk_done)>;

template <class Sink>
constexpr bool
    same_abilities = cleave::byte_sink<timed<Sink>>&& cleave::detail::delivers<timed<Sink>> ==
                     cleave::detail::delivers<Sink>&& cleave::detail::delivers_later<timed<Sink>> ==
                     cleave::detail::delivers_later<Sink>&& cleave::detail::views<timed<Sink>> ==
                     cleave::detail::views<Sink>&& cleave::detail::writes<timed<Sink>> ==
                     cleave::detail::writes<Sink>&& requires(Sink const& s) {
    s.native_file();
}
== requires(timed<Sink> const& s) { s.native_file(); }
&&requires(Sink const& s) { s.bytes_copied(); }
== requires(timed<Sink> const& s) { s.bytes_copied(); };

static_assert(same_abilities<cleave::file_sink>);
static_assert(same_abilities<cleave::mapped_file_sink>);
static_assert(same_abilities<cleave::memory_sink>);
static_assert(same_abilities<cleave::null_sink>);
static_assert(same_abilities<plain>);
static_assert(same_abilities<later>);
static_assert(cleave::adjustable_pacer<cleave::detail::timed_pacer<cleave::token_bucket>>);

cleave::progress how_far(std::uint64_t bytes, std::vector<cleave::lane_progress> const& lanes) {
    cleave::progress p;
    p.bytes = bytes;
    p.lanes = lanes;
    return p;
}

std::vector<cleave::lane_progress> lanes(cleave::lane_activity a) {
    return {cleave::lane_progress{.doing = a, .bytes = 0, .bytes_asked = {}}};
}

} // namespace

TEST_CASE("time without any sign counts to the network, and all of it once") {
    time_meter m;
    m.begin(0, 1000, 10s);
    m.look_at(how_far(100, lanes(cleave::lane_activity::receiving)), 12s);
    m.look_at(how_far(100, lanes(cleave::lane_activity::connecting)), 13s);
    m.end(15s);
    time_spent const s = m.spent();
    CHECK(s.network == 5s);
    CHECK(s.sum() == 5s);
}

TEST_CASE("requests that wait for their replies count to the server, unless bytes come") {
    time_meter m;
    m.begin(0, 1000, 0s);
    m.look_at(how_far(0, lanes(cleave::lane_activity::requesting)), 2s);
    m.look_at(how_far(50, lanes(cleave::lane_activity::requesting)), 5s);
    m.look_at(how_far(50, lanes(cleave::lane_activity::waiting)), 6s);
    m.look_at(how_far(50, lanes(cleave::lane_activity::receiving)), 10s);
    m.end(10s);
    CHECK(m.spent().server == 3s);
    CHECK(m.spent().network == 7s);
}

TEST_CASE("a sink counts while it is at work and has no room for more") {
    time_meter m;
    m.begin(100, 1000, 0s);
    m.placed(50, 1s);
    m.delivery_begins(1s); // room for 50 more: lanes go on
    m.placed(50, 3s);      // and now there is none
    m.delivery_ends(50, 7s);
    m.end(8s);
    time_spent const s = m.spent();
    CHECK(s.sink == 4s);
    CHECK(s.network == 4s);
    CHECK(s.sink_busy == 6s);
    CHECK(s.sink_bytes == 50);
}

TEST_CASE("what is looked at while a sink is at work counts so far") {
    time_meter m;
    m.begin(100, 1000, 0s);
    m.placed(100, 1s);
    m.delivery_begins(1s);
    m.look_at(how_far(100, {}), 3s);
    CHECK(m.spent().sink == 2s);
    m.delivery_ends(100, 4s);
    m.end(4s);
    CHECK(m.spent().sink == 3s);
    CHECK(m.spent().network == 1s);
}

TEST_CASE("at the end, when all is there, everybody waits for the sink") {
    time_meter m;
    m.begin(1000, 100, 0s);
    m.placed(100, 1s);
    m.delivery_begins(1s);
    m.delivery_ends(100, 3s);
    m.end(3s);
    CHECK(m.spent().sink == 2s);
}

TEST_CASE("a pacer counts for as long as it holds back, though many ask") {
    time_meter m;
    m.begin(0, 1000, 0s);
    m.paced(1s, 4s);
    m.paced(2s, 4s); // another lane
    m.look_at(how_far(1, {}), 3s);
    CHECK(m.spent().pace == 2s);
    CHECK(m.spent().network == 1s);
    m.paced(3s, 6s);
    m.not_paced(5s); // sooner than it said
    m.end(9s);
    CHECK(m.spent().pace == 4s);
    CHECK(m.spent().network == 5s);
}

TEST_CASE("sink and pacer at one time count once") {
    time_meter m;
    m.begin(100, 1000, 0s);
    m.placed(100, 0s);
    m.delivery_begins(0s);
    m.paced(0s, 10s);
    m.delivery_ends(100, 10s);
    m.end(10s);
    CHECK(m.spent().sink == 10s);
    CHECK(m.spent().pace == 0s);
    CHECK(m.spent().sum() == 10s);
}

TEST_CASE("what most of the time went to, and whether the buffer or the flash is to blame") {
    time_spent s{.network = 2s, .server = 1s, .pace = 1s, .sink = 1s};
    CHECK(s.most(100, 10s) == bottleneck::network);
    s.server = 3s;
    CHECK(s.most(100, 10s) == bottleneck::server);
    s.pace = 4s;
    CHECK(s.most(100, 10s) == bottleneck::pace);
    s.sink = 5s;
    CHECK(s.most(100, 10s) == bottleneck::sink);
    // 100 bytes a second, were it not for the network: 1000 take 10 s.
    s.sink_busy = 5s;
    s.sink_bytes = 500;
    CHECK(s.most(1000, 10s) == bottleneck::buffer);
    CHECK(s.most(1001, 10s) == bottleneck::sink);
    CHECK(time_spent{}.most(1, 1s) != bottleneck::sink);
    CHECK(time_spent{.network = 1s, .server = 0s, .pace = 0s, .sink = 3s}.message() ==
          "time went to: network 25 %, server 0 %, pace 0 %, sink 75 %");
    for (auto const b : {bottleneck::network, bottleneck::server, bottleneck::pace,
                         bottleneck::buffer, bottleneck::sink})
        CHECK(std::string{describe(b)}.find("; ") != std::string::npos);
}

TEST_CASE("a watched sink takes what the sink takes, and its time is measured") {
    hand_clock::at = 0s;
    std::array<std::byte, 8> buffer;
    std::string got;
    auto take = [&](std::span<std::byte const> bytes) {
        hand_clock::at += 2s;
        for (std::byte const b : bytes) got += static_cast<char>(b);
    };
    auto const meter = std::make_shared<time_meter>();
    std::vector<std::uint64_t> ends;
    std::vector<std::optional<std::uint64_t>> sizes;
    cleave::detail::sink_hooks hooks;
    hooks.opens = [&](std::optional<std::uint64_t> size) {
        sizes.push_back(size);
        return size == 8 ? std::error_code{} : make_error_code(std::errc::invalid_argument);
    };
    hooks.delivered = [&](std::uint64_t end) {
        ends.push_back(end);
        return std::error_code{};
    };
    timed<cleave::ordered_sink<decltype(take)>> s{{buffer, 4, take}, meter, hooks};
    meter->begin(s.window(), 8, hand_clock::at);
    std::error_code ec;
    s.open(9, ec);
    CHECK(ec == std::errc::invalid_argument);
    ec.clear();
    s.open(8, ec);
    CHECK(ec == std::error_code{});
    CHECK(sizes.size() == 2);
    auto const to = s.prepare(0, 8, ec);
    REQUIRE(to.size() == 8);
    for (std::size_t i = 0; i != 8; ++i) to[i] = static_cast<std::byte>('a' + i);
    s.commit(0, 8, ec);
    s.deliver(0, 8, ec);
    CHECK(ec == std::error_code{});
    CHECK(got == "abcdefgh");
    CHECK(ends == std::vector<std::uint64_t>{8});
    meter->end(hand_clock::at);
    CHECK(meter->spent().sink == 4s);
    CHECK(meter->spent().sink_bytes == 8);
}

TEST_CASE("who tells later that a chunk is done is not held up by what follows") {
    hand_clock::at = 0s;
    std::array<std::byte, 4> buffer;
    std::optional<cleave::chunk_done> open;
    auto take = [&](std::span<std::byte const>, cleave::chunk_done done) {
        open = std::move(done);
    };
    auto const meter = std::make_shared<time_meter>();
    std::vector<std::function<void()>> beside;
    bool followed = false;
    cleave::detail::sink_hooks hooks;
    hooks.opens = [](std::optional<std::uint64_t>) { return std::error_code{}; };
    hooks.delivered = [&](std::uint64_t) {
        followed = true;
        return make_error_code(std::errc::io_error);
    };
    hooks.beside = [&](std::function<void()> f) { beside.push_back(std::move(f)); };
    timed<cleave::ordered_sink<decltype(take)>> s{{buffer, 4, take}, meter, hooks};
    std::error_code ec;
    (void)s.prepare(0, 4, ec);
    s.commit(0, 4, ec);
    std::optional<std::error_code> told;
    s.async_deliver(0, 4, [&](std::error_code e) { told = e; });
    REQUIRE(open);
    (*open)({});
    CHECK_FALSE(followed);
    CHECK_FALSE(told);
    REQUIRE(beside.size() == 1);
    beside[0]();
    CHECK(followed);
    // What follows may fail, and that ends the download.
    REQUIRE(told);
    CHECK(*told == std::errc::io_error);
}
