// SPDX-License-Identifier: BSL-1.0
//
// ordered_sink keeps the laws of sinks, and its own: chunk after chunk, each byte once and in
// order, out of memory that is never larger than the caller's and never written over too early,
// whether the consumer returns when it has done, says so later, or says so from another thread.

#include <cleave/sink/ordered_sink.hpp>

#include <laws/count_allocations.hpp>
#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using cleave::byte_sink;
using cleave::chunk_done;
using cleave::error;
using cleave::ordered_sink;

namespace {

using chunk = std::span<std::byte const>;
using std::error_code;

// Everything that a consumer was given.
struct record {
    std::vector<std::byte> bytes;
    std::vector<std::size_t> sizes;
    std::vector<std::byte const*> places;

    void operator+=(chunk c) {
        bytes.insert(bytes.end(), c.begin(), c.end());
        sizes.push_back(c.size());
        places.push_back(c.data());
    }
};

struct plain {
    record& to;
    void operator()(chunk c) { to += c; }
};
struct failing {
    record& to;
    void operator()(chunk c, error_code&) { to += c; }
};
struct at_once {
    record& to;
    void operator()(chunk c, chunk_done done) {
        to += c;
        done({});
    }
};

// One thread that does what it is told, in order; it has done all of it when it is gone.
class other_thread {
  public:
    void post(std::function<void()> work) {
        {
            std::lock_guard const lock(mutex_);
            work_.push_back(std::move(work));
        }
        changed_.notify_one();
    }
    ~other_thread() {
        post(nullptr);
        thread_.join();
    }

  private:
    void run() {
        for (;;) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return !work_.empty(); });
            auto const work = std::move(work_.front());
            work_.erase(work_.begin());
            lock.unlock();
            if (!work) return;
            work();
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::function<void()>> work_;
    std::thread thread_{[this] { run(); }};
};
struct from_elsewhere {
    record& to;
    other_thread& thread;
    void operator()(chunk c, chunk_done done) {
        to += c;
        auto const shared = std::make_shared<chunk_done>(std::move(done));
        thread.post([shared] { (*shared)({}); });
    }
};

// What was handed on has no final name: here it counts as visible once it is published.
template <class Consumer>
class published_record : public ordered_sink<Consumer> {
  public:
    using ordered_sink<Consumer>::ordered_sink;
    void publish(error_code&) { published = true; }
    bool published = false;
};

template <class Consumer, class... Args>
void keeps_the_laws(std::uint64_t seed, Args&... args) {
    cleave_test::random_source random{seed};
    for (int i = 0; i < 150; ++i) {
        CAPTURE(i);
        std::size_t const chunk_size = 1 + random.index(50);
        constexpr std::size_t guard = 32;
        std::vector<std::byte> memory(2 * guard + chunk_size * (1 + random.index(10)),
                                      std::byte{0x55});
        auto const storage = std::span{memory}.subspan(guard, memory.size() - 2 * guard);
        cleave_test::sink_run const run{.size = random.chance(10) ? 0 : 1 + random.below(2000),
                                        .size_known = random.chance(50),
                                        .openings = static_cast<unsigned>(1 + random.below(3)),
                                        .portion = 1 + random.index(100),
                                        .publish = random.chance(90)};
        record got;
        published_record<Consumer> sink(storage, chunk_size, Consumer{got, args...});
        auto const visible = [&] {
            return sink.published ? std::optional{got.bytes} : std::nullopt;
        };
        REQUIRE(cleave_test::broken_sink(sink, run, random, visible) == "");

        std::vector<std::size_t> sizes(static_cast<std::size_t>(run.size) / chunk_size, chunk_size);
        if (run.size % chunk_size != 0)
            sizes.push_back(static_cast<std::size_t>(run.size % chunk_size));
        REQUIRE(got.sizes == sizes);
        // Out of the caller's own memory, from one end to the other and again.
        for (std::size_t k = 0; k < got.places.size(); ++k)
            REQUIRE(got.places[k] == &storage[k * chunk_size % storage.size()]);
        auto const is_untouched = [](std::byte b) { return b == std::byte{0x55}; };
        REQUIRE(std::all_of(memory.begin(), memory.begin() + guard, is_untouched));
        REQUIRE(std::all_of(memory.end() - guard, memory.end(), is_untouched));
    }
}

std::byte nth(std::uint64_t i) { return static_cast<std::byte>(i * 7 + i / 251); }

// Brings the bytes from `at` on that belong there.
template <class Sink>
error_code bring(Sink& sink, std::uint64_t at, std::size_t n) {
    error_code ec;
    while (n != 0) {
        std::span<std::byte> const to = sink.prepare(at, n, ec);
        if (ec) return ec;
        for (std::byte& b : to) b = nth(at++);
        sink.commit(at - to.size(), to.size(), ec);
        n -= to.size();
    }
    return ec;
}
template <class Sink>
error_code deliver(Sink& sink, std::uint64_t at, std::size_t n) {
    error_code ec;
    cleave_test::detail::deliver(sink, at, n, ec);
    return ec;
}
void check_bytes(std::vector<std::byte> const& bytes, std::size_t n) {
    REQUIRE(bytes.size() == n);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(bytes[i] == nth(i));
}

} // namespace

// ---- what it is -------------------------------------------------------------------------------

TEST_CASE("an ordered_sink says what it is") {
    using sink = ordered_sink<plain>;
    STATIC_REQUIRE(sink::traits.ordered);
    STATIC_REQUIRE(sink::traits.readable);
    STATIC_REQUIRE(sink::traits.concurrent);
    STATIC_REQUIRE_FALSE(sink::traits.revocable);
    STATIC_REQUIRE_FALSE(sink::traits.system_filled);
}

TEST_CASE("an ordered_sink blocks or tells later, as its consumer does, and not both") {
    using cleave::detail::delivers;
    using cleave::detail::delivers_later;
    STATIC_REQUIRE((delivers<ordered_sink<plain>> && !delivers_later<ordered_sink<plain>>));
    STATIC_REQUIRE((delivers<ordered_sink<failing>> && !delivers_later<ordered_sink<failing>>));
    STATIC_REQUIRE((!delivers<ordered_sink<at_once>> && delivers_later<ordered_sink<at_once>>));

    std::array<std::byte, 4> storage{};
    ordered_sink a{storage, 2, [](chunk) {}};
    ordered_sink b{storage, 2, [](chunk, error_code&) {}};
    ordered_sink c{storage, 2, [](chunk, chunk_done) {}};
    ordered_sink d{storage, 2, +[](chunk) {}};
    ordered_sink e{storage, 2, [](auto, auto done) { done(error_code{}); }};
    STATIC_REQUIRE(delivers<decltype(a)>);
    STATIC_REQUIRE(delivers<decltype(b)>);
    STATIC_REQUIRE(delivers_later<decltype(c)>);
    STATIC_REQUIRE(delivers<decltype(d)>);
    STATIC_REQUIRE(delivers_later<decltype(e)>);
}

namespace {
template <class C>
bool is_consumer(C const&) {
    using namespace cleave::detail;
    return plain_consumer<C> || failing_consumer<C> || asynchronous_consumer<C>;
}
} // namespace

TEST_CASE("what is no consumer: it answers, wants to write, or keeps nothing") {
    CHECK(is_consumer([](chunk) {}));
    CHECK_FALSE(is_consumer([](chunk) { return true; }));
    CHECK_FALSE(is_consumer([](chunk, error_code&) { return 1; }));
    CHECK_FALSE(is_consumer([](chunk, chunk_done) { return 1; }));
    CHECK_FALSE(is_consumer([](std::span<std::byte>) {}));
    CHECK_FALSE(is_consumer([](chunk, chunk_done&) {}));
    CHECK_FALSE(is_consumer([] {}));
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<chunk_done>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<chunk_done>);
}

// ---- laws -------------------------------------------------------------------------------------

TEST_CASE("ordered_sink keeps the laws of sinks with a plain consumer") {
    keeps_the_laws<plain>(1);
}
TEST_CASE("ordered_sink keeps the laws of sinks with a consumer that may fail") {
    keeps_the_laws<failing>(2);
}
TEST_CASE("ordered_sink keeps the laws of sinks with a consumer that tells at once") {
    keeps_the_laws<at_once>(3);
}
TEST_CASE("ordered_sink keeps the laws of sinks with a consumer that tells from another thread") {
    other_thread thread;
    keeps_the_laws<from_elsewhere>(4, thread);
}

// ---- the window -------------------------------------------------------------------------------

TEST_CASE("a window that is not a whole number of chunks, or none, is refused") {
    std::array<std::byte, 100> storage{};
    auto const checked = [&](std::size_t window, std::size_t size) {
        ordered_sink sink{std::span{storage}.first(window), size, [](chunk) {}};
        error_code ec;
        sink.check(ec);
        return ec;
    };
    CHECK_FALSE(checked(100, 100));
    CHECK_FALSE(checked(100, 1));
    CHECK_FALSE(checked(100, 25));
    CHECK(checked(100, 0) == error::window_too_small);
    CHECK(checked(100, 101) == error::window_too_small);
    CHECK(checked(100, 30) == error::window_too_small);
    CHECK(checked(0, 1) == error::window_too_small);
    CHECK(checked(0, 0) == error::window_too_small);
}

TEST_CASE("with a window of one chunk it is a receive buffer that calls each time it is full") {
    std::array<std::byte, 2048> storage{};
    record got;
    ordered_sink sink{storage, 2048, plain{got}};
    error_code ec;
    sink.check(ec);
    sink.open(5000, ec);
    REQUIRE_FALSE(ec);
    CHECK(sink.window() == 2048);
    CHECK(sink.chunk() == 2048);
    for (std::uint64_t at = 0; at < 5000; at += 2048) {
        auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(2048, 5000 - at));
        // Lent where it belongs, and no more than there is.
        auto const all = sink.prepare(at, 1'000'000, ec);
        CHECK(all.data() == storage.data());
        CHECK(all.size() == 2048);
        CHECK_FALSE(bring(sink, at, n));
        CHECK_FALSE(deliver(sink, at, n));
    }
    check_bytes(got.bytes, 5000);
    CHECK(got.sizes == std::vector<std::size_t>{2048, 2048, 904});
}

TEST_CASE("memory is lent up to the ring's end and within the window, and never beyond") {
    std::array<std::byte, 40> storage{};
    record got;
    ordered_sink sink{storage, 10, plain{got}};
    error_code ec;
    sink.open(std::nullopt, ec);
    CHECK(sink.prepare(15, 100, ec).size() == 25);
    CHECK(sink.prepare(15, 3, ec).size() == 3);
    CHECK(sink.prepare(39, 100, ec).size() == 1);
    CHECK_FALSE(ec);
    CHECK(sink.prepare(40, 1, ec).empty());
    CHECK(ec);

    ec.clear();
    CHECK_FALSE(bring(sink, 0, 40));
    CHECK_FALSE(deliver(sink, 0, 20));
    // Ahead the window has moved; the ring goes on from its beginning.
    CHECK(sink.prepare(40, 100, ec).data() == storage.data());
    CHECK(sink.prepare(40, 100, ec).size() == 20);
    CHECK(sink.prepare(59, 100, ec).size() == 1);
    CHECK_FALSE(ec);
    for (std::uint64_t const at : {std::uint64_t{60}, std::uint64_t{61}, std::uint64_t{1} << 63U,
                                   cleave::max_offset, std::uint64_t{19}, std::uint64_t{0}}) {
        CAPTURE(at);
        ec.clear();
        CHECK(sink.prepare(at, 1, ec).empty());
        CHECK(ec == std::errc::invalid_argument);
    }
    // Nothing of it touched what was not handed on yet.
    CHECK_FALSE(deliver(sink, 20, 20));
    check_bytes(got.bytes, 40);
}

TEST_CASE(
    "what has not been handed on can be read, over the ring's end too, and nothing else can") {
    std::array<std::byte, 40> storage{};
    record got;
    ordered_sink sink{storage, 10, plain{got}};
    error_code ec;
    sink.open(std::nullopt, ec);
    CHECK_FALSE(bring(sink, 0, 40));
    CHECK_FALSE(deliver(sink, 0, 30));
    CHECK_FALSE(bring(sink, 40, 30));
    std::vector<std::byte> back(40);
    sink.read(30, back, ec);
    REQUIRE_FALSE(ec);
    for (std::size_t i = 0; i < 40; ++i) REQUIRE(back[i] == nth(30 + i));
    sink.read(69, std::span{back}.first(1), ec);
    CHECK_FALSE(ec);
    CHECK(back[0] == nth(69));
    sink.read(1000, {}, ec);
    CHECK_FALSE(ec);

    auto const refused = [&](std::uint64_t at, std::size_t n) {
        error_code e;
        sink.read(at, std::span{back}.first(n), e);
        return e == std::errc::invalid_argument;
    };
    CHECK(refused(29, 1));
    CHECK(refused(0, 1));
    CHECK(refused(70, 1));
    CHECK(refused(69, 2));
    CHECK(refused(31, 40));
    CHECK(refused(cleave::max_offset, 1));
}

TEST_CASE("offsets go on beyond 4 GiB, whatever a ring's size (H02)") {
    // Three does not divide 2^32: what counts in 32 bits is out of step behind it.
    constexpr std::size_t size = 3 * 1024 * 1024;
    std::vector<std::byte> storage(size);
    std::vector<std::byte> got;
    std::uint64_t at = 0;
    ordered_sink sink{storage, size, [&](chunk c) {
                          if (at > std::uint64_t{1} << 32U) got.assign(c.begin(), c.end());
                      }};
    error_code ec;
    for (; at <= std::uint64_t{1} << 32U; at += size) REQUIRE_FALSE(deliver(sink, at, size));
    CHECK(sink.prepare(at, size, ec).data() == storage.data());
    CHECK(sink.prepare(at, size, ec).size() == size);
    CHECK_FALSE(bring(sink, at, size));
    CHECK(sink.prepare(at - (std::uint64_t{1} << 32U), 1, ec).empty());
    CHECK(ec == std::errc::invalid_argument);
    std::byte last{};
    ec.clear();
    sink.read(at + size - 1, {&last, 1}, ec);
    CHECK(last == nth(at + size - 1));
    CHECK_FALSE(deliver(sink, at, size));
    REQUIRE(got.size() == size);
    CHECK(got[0] == nth(at));
    CHECK(got[size - 1] == nth(at + size - 1));
}

TEST_CASE("a delivery that is out of order, or of what cannot be there, is refused unseen") {
    std::array<std::byte, 40> storage{};
    record got;
    ordered_sink sink{storage, 10, plain{got}};
    error_code ec;
    sink.open(std::nullopt, ec);
    CHECK_FALSE(bring(sink, 0, 40));
    CHECK_FALSE(deliver(sink, 0, 0));
    CHECK(deliver(sink, 10, 10) == std::errc::invalid_argument);
    CHECK(deliver(sink, 0, 41) == std::errc::invalid_argument);
    CHECK(got.sizes.empty());
    CHECK_FALSE(deliver(sink, 0, 10));
    CHECK(deliver(sink, 0, 10) == std::errc::invalid_argument);
    CHECK(deliver(sink, 20, 10) == std::errc::invalid_argument);
    // Only the last may be shorter: behind it there is nothing more.
    CHECK_FALSE(deliver(sink, 10, 5));
    CHECK(deliver(sink, 15, 10) == std::errc::invalid_argument);
    check_bytes(got.bytes, 15);

    record later;
    ordered_sink other{storage, 10, at_once{later}};
    CHECK(deliver(other, 10, 10) == std::errc::invalid_argument);
    CHECK_FALSE(deliver(other, 0, 0));
    CHECK(later.sizes.empty());
}

// ---- beginning again --------------------------------------------------------------------------

TEMPLATE_TEST_CASE("an ordered_sink begins again only while nothing was handed on", "", plain,
                   failing, at_once) {
    std::array<std::byte, 40> storage{};
    record got;
    ordered_sink sink{storage, 10, TestType{got}};
    error_code ec;
    sink.open(100, ec);
    CHECK_FALSE(bring(sink, 0, 40));
    sink.open(std::nullopt, ec);
    CHECK_FALSE(ec);
    CHECK_FALSE(bring(sink, 0, 10));
    CHECK_FALSE(deliver(sink, 0, 10));
    check_bytes(got.bytes, 10);
    sink.open(100, ec);
    CHECK(ec == error::sink_cannot_restart);
}

TEST_CASE("an ordered_sink does not begin again when its consumer failed at the first chunk") {
    std::array<std::byte, 10> storage{};
    ordered_sink sink{
        storage, 10, [](chunk, error_code& ec) { ec = std::make_error_code(std::errc::io_error); }};
    error_code ec;
    sink.open(100, ec);
    CHECK(deliver(sink, 0, 10) == std::errc::io_error);
    sink.open(100, ec);
    CHECK(ec == error::sink_cannot_restart);
}

TEST_CASE("an ordered_sink may be moved while nobody uses it") {
    std::array<std::byte, 40> storage{};
    record got;
    ordered_sink first{storage, 10, plain{got}};
    CHECK_FALSE(bring(first, 0, 40));
    CHECK_FALSE(deliver(first, 0, 20));
    ordered_sink sink = std::move(first);
    CHECK(sink.window() == 40);
    CHECK(sink.chunk() == 10);
    error_code ec;
    sink.open(1, ec);
    CHECK(ec == error::sink_cannot_restart);
    CHECK_FALSE(deliver(sink, 20, 20));
    check_bytes(got.bytes, 40);
}

// ---- consumers that fail ----------------------------------------------------------------------

namespace {

struct fails_at {
    std::size_t nth;
    std::function<void(error_code&)> how;
    record& to;

    void operator()(chunk c, error_code& ec) {
        to += c;
        if (to.sizes.size() == nth) how(ec);
    }
};
struct fails_later_at {
    std::size_t nth;
    std::function<void(error_code&)> how;
    record& to;

    void operator()(chunk c, chunk_done done) {
        to += c;
        error_code ec;
        if (to.sizes.size() == nth) how(ec);
        done(ec);
    }
};

} // namespace

TEMPLATE_TEST_CASE("what a consumer says or throws ends the delivery at once", "", fails_at,
                   fails_later_at) {
    std::array<std::byte, 40> storage{};
    error_code const broken = std::make_error_code(std::errc::io_error);
    record got;
    auto const outcome = [&](std::function<void(error_code&)> how) {
        ordered_sink sink{storage, 10, TestType{2, std::move(how), got}};
        CHECK_FALSE(bring(sink, 0, 40));
        error_code const ec = deliver(sink, 0, 40);
        // What it did not take is not written over.
        error_code beyond;
        CHECK(sink.prepare(49, 1, beyond).size() == 1);
        CHECK(sink.prepare(50, 1, beyond).empty());
        return ec;
    };
    SECTION("an error") {
        CHECK(outcome([&](error_code& ec) { ec = broken; }) == broken);
    }
    SECTION("an exception with a code") {
        CHECK(outcome([&](error_code&) { throw std::system_error{broken}; }) == broken);
    }
    SECTION("an exception whose code says that all is well") {
        CHECK(outcome([&](error_code&) { throw std::system_error{error_code{}}; }) ==
              std::errc::state_not_recoverable);
    }
    SECTION("an exception for want of memory") {
        CHECK(outcome([&](error_code&) { throw std::bad_alloc{}; }) ==
              std::errc::not_enough_memory);
    }
    SECTION("any other") {
        CHECK(outcome([&](error_code&) { throw std::runtime_error{"other"}; }) ==
              std::errc::state_not_recoverable);
        got = {};
        CHECK(outcome([&](error_code&) { throw 42; }) == std::errc::state_not_recoverable);
    }
    CHECK(got.sizes == std::vector<std::size_t>{10, 10});
}

TEST_CASE("a plain consumer has its exceptions to say so") {
    std::array<std::byte, 10> storage{};
    ordered_sink sink{storage, 10, [](chunk) {
                          throw std::system_error{std::make_error_code(std::errc::io_error)};
                      }};
    CHECK_FALSE(bring(sink, 0, 10));
    CHECK(deliver(sink, 0, 10) == std::errc::io_error);
}

// ---- consumers that tell later ----------------------------------------------------------------

namespace {

// Keeps what it was given until it is told to be done with it.
struct patient {
    record& to;
    std::vector<chunk_done>& waiting;
    void operator()(chunk c, chunk_done done) {
        to += c;
        waiting.push_back(std::move(done));
    }
};
struct patience {
    record got;
    std::vector<chunk_done> waiting;
    std::vector<error_code> told;
    std::array<std::byte, 40> storage{};
    ordered_sink<patient> sink{storage, 10, patient{got, waiting}};

    void start(std::uint64_t at, std::size_t n) {
        sink.async_deliver(at, n, [this](error_code ec) { told.push_back(ec); });
    }
    void done(error_code ec = {}) {
        chunk_done next = std::move(waiting.front());
        waiting.erase(waiting.begin());
        next(ec);
    }
};

} // namespace

TEST_CASE("one chunk at a time, and its place is free as soon as it is done with") {
    patience p;
    error_code ec;
    CHECK_FALSE(bring(p.sink, 0, 40));
    p.start(0, 40);
    CHECK(p.got.sizes.size() == 1);
    CHECK(p.sink.prepare(40, 1, ec).empty());
    ec.clear();
    p.done();
    CHECK(p.got.sizes.size() == 2);
    CHECK(p.sink.prepare(40, 100, ec).size() == 10);
    CHECK_FALSE(ec);
    p.done();
    p.done();
    CHECK(p.told.empty());
    p.done();
    CHECK(p.told == std::vector{error_code{}});
    CHECK(p.waiting.empty());
    check_bytes(p.got.bytes, 40);
}

TEST_CASE("an error that is told later ends the delivery") {
    patience p;
    CHECK_FALSE(bring(p.sink, 0, 40));
    p.start(0, 40);
    p.done();
    p.done(std::make_error_code(std::errc::io_error));
    CHECK(p.told == std::vector{std::make_error_code(std::errc::io_error)});
    CHECK(p.got.sizes.size() == 2);
}

TEST_CASE("a completion that nobody calls is an error, not a download without an end") {
    patience p;
    CHECK_FALSE(bring(p.sink, 0, 40));
    p.start(0, 20);
    SECTION("destroyed") { p.waiting.clear(); }
    SECTION("destroyed by another one's being put in its place") {
        chunk_done here = std::move(p.waiting.front());
        chunk_done there = std::move(here);
        p.waiting.clear(); // moved from: it says nothing
        CHECK(p.told.empty());
    }
    CHECK(p.told == std::vector{std::make_error_code(std::errc::operation_canceled)});
    CHECK(p.got.sizes.size() == 1);
}

TEST_CASE("a completion counts once") {
    patience p;
    CHECK_FALSE(bring(p.sink, 0, 20));
    p.start(0, 20);
    {
        chunk_done first = std::move(p.waiting.front());
        p.waiting.clear();
        first({});
        first({});
        first(std::make_error_code(std::errc::io_error));
    }
    CHECK(p.told.empty());
    CHECK(p.got.sizes.size() == 2);
    p.done();
    CHECK(p.told == std::vector{error_code{}});
}

TEST_CASE("a consumer that throws with the completion in safe keeping is waited for") {
    std::array<std::byte, 20> storage{};
    std::optional<chunk_done> kept;
    std::vector<error_code> told;
    ordered_sink sink{storage, 10, [&](chunk, chunk_done done) {
                          kept.emplace(std::move(done));
                          throw std::system_error{std::make_error_code(std::errc::io_error)};
                      }};
    CHECK_FALSE(bring(sink, 0, 20));
    sink.async_deliver(0, 20, [&](error_code ec) { told.push_back(ec); });
    CHECK(told.empty());
    (*kept)({});
    CHECK(told == std::vector{std::make_error_code(std::errc::io_error)});
}

TEST_CASE("a handler may be what only moves, and may let go of the sink") {
    std::array<std::byte, 10> storage{};
    auto const sink = std::make_shared<std::unique_ptr<ordered_sink<at_once>>>();
    record got;
    *sink = std::make_unique<ordered_sink<at_once>>(storage, 10, at_once{got});
    CHECK_FALSE(bring(**sink, 0, 10));
    bool told = false;
    (*sink)->async_deliver(0, 10, [&told, sink, only = std::make_unique<int>(1)](error_code ec) {
        sink->reset();
        told = !ec && *only == 1;
    });
    CHECK(told);
    CHECK(*sink == nullptr);
}

TEST_CASE("a delivery that there is no memory for ends with that, and nothing is handed on") {
    std::array<std::byte, 10> storage{};
    record got;
    ordered_sink sink{storage, 10, at_once{got}};
    CHECK_FALSE(bring(sink, 0, 10));
    std::optional<error_code> told;
    auto handler = [&told](error_code ec) { told = ec; };
    cleave_test::without_memory([&] { sink.async_deliver(0, 10, handler); });
    CHECK(told == std::make_error_code(std::errc::not_enough_memory));
    CHECK(got.sizes.empty());
}

TEST_CASE("any number of chunks at once needs no stack") {
    // 200'000 calls within each other would not fit one.
    std::vector<std::byte> storage(200'000);
    std::size_t n = 0;
    ordered_sink sink{storage, 1, [&](chunk, chunk_done done) {
                          ++n;
                          done({});
                      }};
    CHECK_FALSE(bring(sink, 0, storage.size()));
    CHECK_FALSE(deliver(sink, 0, storage.size()));
    CHECK(n == storage.size());
}

// ---- threads ----------------------------------------------------------------------------------

namespace {

// The strand, which brings bytes wherever it is lent memory, and beside it another thread, which
// reads and hands on whatever has come. Either learns of the other's progress as soon as it can.
template <class Sink>
void bring_and_deliver(Sink& sink, std::uint64_t size) {
    std::atomic<std::uint64_t> committed = 0;
    std::atomic<bool> failed = false;
    std::thread beside([&] {
        for (std::uint64_t at = 0; at != size && !failed;) {
            std::uint64_t const end = committed;
            std::uint64_t const n =
                end == size ? end - at : (end - at) / sink.chunk() * sink.chunk();
            if (n == 0) {
                std::this_thread::yield();
                continue;
            }
            std::vector<std::byte> back(static_cast<std::size_t>(n));
            error_code ec;
            sink.read(at, back, ec);
            for (std::size_t i = 0; i < back.size(); ++i)
                if (back[i] != nth(at + i)) failed = true;
            if (!ec) cleave_test::detail::deliver(sink, at, back.size(), ec);
            if (ec) failed = true;
            at += n;
        }
    });
    for (std::uint64_t at = 0; at != size && !failed;) {
        error_code refused;
        auto const portion = static_cast<std::size_t>(std::min<std::uint64_t>(5, size - at));
        std::span<std::byte> const to = sink.prepare(at, portion, refused);
        if (refused) {
            std::this_thread::yield();
            continue;
        }
        for (std::byte& b : to) b = nth(at++);
        committed = at;
    }
    beside.join();
    CHECK_FALSE(failed);
}

} // namespace

TEMPLATE_TEST_CASE("bytes are brought while others are handed on", "", plain, at_once) {
    for (auto const& [window, size] : {std::pair{24U, 8U}, {8U, 8U}, {1000U, 1U}, {4096U, 512U}}) {
        std::vector<std::byte> storage(window);
        record got;
        ordered_sink sink{storage, size, TestType{got}};
        bring_and_deliver(sink, 10'003);
        check_bytes(got.bytes, 10'003);
    }
}

TEST_CASE("bytes are brought while others are handed on, by a third thread") {
    for (auto const& [window, size] : {std::pair{24U, 8U}, {8U, 8U}, {1000U, 1U}, {4096U, 512U}}) {
        other_thread thread;
        std::vector<std::byte> storage(window);
        record got;
        ordered_sink sink{storage, size, from_elsewhere{got, thread}};
        bring_and_deliver(sink, 10'003);
        check_bytes(got.bytes, 10'003);
    }
}
