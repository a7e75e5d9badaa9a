// SPDX-License-Identifier: BSL-1.0
//
// memory_sink keeps the laws of sinks, in a vector that it makes as large as the object, also when
// nobody said how large that is, whatever that vector's allocator is, and in a span whose bounds it
// never leaves.

#include <cleave/sink/memory_sink.hpp>

#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

using cleave::error;
using cleave::max_offset;
using cleave::memory_sink;

static_assert(memory_sink::traits.readable && memory_sink::traits.revocable);

// Under sanitizers an allocation that cannot be had ends the program.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CLEAVE_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CLEAVE_TEST_SANITIZED 1
#endif
#endif

namespace {

// Memory has no final name: here its bytes count as visible once they are published.
class published_memory {
  public:
    static constexpr cleave::sink_traits traits = memory_sink::traits;

    explicit published_memory(memory_sink sink) : sink_(sink) {}

    void check(std::error_code& ec) const { sink_.check(ec); }
    void open(std::optional<std::uint64_t> size, std::error_code& ec) { sink_.open(size, ec); }
    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t at, std::size_t n,
                                               std::error_code& ec) {
        return sink_.prepare(at, n, ec);
    }
    void commit(std::uint64_t at, std::size_t n, std::error_code& ec) { sink_.commit(at, n, ec); }
    void read(std::uint64_t at, std::span<std::byte> to, std::error_code& ec) {
        sink_.read(at, to, ec);
    }
    void sync(std::uint64_t size, std::error_code& ec) { sink_.sync(size, ec); }
    void publish(std::error_code& ec) {
        sink_.publish(ec);
        published = true;
    }
    void abandon() noexcept { sink_.abandon(); }

    bool published = false;

  private:
    memory_sink sink_;
};
static_assert(cleave::byte_sink<published_memory>);

cleave_test::sink_run any_run(cleave_test::random_source& random) {
    return {.size = random.chance(5) ? 0 : 1 + random.below(3000),
            .size_known = random.chance(50),
            .openings = static_cast<unsigned>(1 + random.below(3)),
            .portion = 1 + random.index(800),
            .publish = random.chance(90)};
}

} // namespace

TEST_CASE("memory_sink keeps the laws of sinks in a vector") {
    cleave_test::random_source random{1};
    for (int i = 0; i < 300; ++i) {
        CAPTURE(i);
        std::vector<std::byte> bytes(random.index(5000), std::byte{0x55});
        published_memory sink{memory_sink(bytes)};
        auto const visible = [&] { return sink.published ? std::optional{bytes} : std::nullopt; };
        REQUIRE(cleave_test::broken_sink(sink, any_run(random), random, visible) == "");
    }
}

TEST_CASE("memory_sink keeps the laws of sinks in memory that an allocator has") {
    cleave_test::random_source random{3};
    for (int i = 0; i < 100; ++i) {
        CAPTURE(i);
        std::pmr::monotonic_buffer_resource pool;
        std::pmr::vector<std::byte> bytes(random.index(5000), std::byte{0x55}, &pool);
        published_memory sink{memory_sink(bytes)};
        auto const visible = [&]() -> cleave_test::visible_bytes {
            if (!sink.published) return std::nullopt;
            return std::vector<std::byte>(bytes.begin(), bytes.end());
        };
        REQUIRE(cleave_test::broken_sink(sink, any_run(random), random, visible) == "");
    }
}

TEST_CASE("memory_sink keeps the laws of sinks in a span, and the bytes around it") {
    cleave_test::random_source random{2};
    for (int i = 0; i < 300; ++i) {
        CAPTURE(i);
        cleave_test::sink_run const run = any_run(random);
        auto const size = static_cast<std::size_t>(run.size);
        std::size_t const spare = random.index(20);
        constexpr std::size_t guard = 64;
        std::vector<std::byte> bytes(guard + size + spare + guard, std::byte{0x55});
        published_memory sink{memory_sink(std::span{bytes}.subspan(guard, size + spare))};
        auto const visible = [&]() -> cleave_test::visible_bytes {
            if (!sink.published) return std::nullopt;
            return std::vector<std::byte>(
                bytes.begin() + guard, bytes.begin() + static_cast<std::ptrdiff_t>(guard + size));
        };
        REQUIRE(cleave_test::broken_sink(sink, run, random, visible) == "");
        auto const is_untouched = [](std::byte b) { return b == std::byte{0x55}; };
        REQUIRE(std::all_of(bytes.begin(), bytes.begin() + guard, is_untouched));
        REQUIRE(std::all_of(bytes.end() - guard, bytes.end(), is_untouched));
    }
}

TEST_CASE("a vector becomes exactly as large as the object") {
    std::vector<std::byte> bytes(17);
    memory_sink sink(bytes);
    std::error_code ec;
    sink.check(ec);
    sink.open(1000, ec);
    CHECK(bytes.size() == 1000);
    // Received where it belongs: the memory lent is the vector's own.
    CHECK(sink.prepare(0, 1000, ec).data() == bytes.data());
    CHECK(sink.prepare(990, 10, ec).data() == bytes.data() + 990);
    CHECK(sink.prepare(990, 10, ec).size() == 10);
    sink.open(10, ec);
    CHECK(bytes.size() == 10);
    sink.sync(10, ec);
    sink.publish(ec);
    CHECK_FALSE(ec);
    CHECK(bytes.size() == 10);
}

TEST_CASE("a vector grows with an object of unknown size, and is cut in the end") {
    std::vector<std::byte> bytes;
    memory_sink sink(bytes);
    std::error_code ec;
    sink.open(std::nullopt, ec);
    CHECK(bytes.empty());
    std::uint64_t at = 0;
    std::size_t moves = 0;
    std::byte const* before = nullptr;
    for (int i = 0; i < 10'000; ++i) {
        auto const to = sink.prepare(at, 100, ec);
        REQUIRE_FALSE(ec);
        REQUIRE(to.size() == 100);
        std::fill(to.begin(), to.end(), static_cast<std::byte>(i % 256));
        sink.commit(at, 100, ec);
        at += 100;
        moves += bytes.data() != before ? 1 : 0;
        before = bytes.data();
    }
    // By doubling, not by portions.
    CHECK(moves < 40);
    sink.sync(at, ec);
    CHECK_FALSE(ec);
    CHECK(bytes.size() == 1'000'000);
    CHECK(bytes[999'999] == static_cast<std::byte>(9999 % 256));
    CHECK(bytes[123'456] == static_cast<std::byte>(1234 % 256));
    // Of nothing nothing is left.
    sink.open(std::nullopt, ec);
    sink.sync(0, ec);
    CHECK(bytes.empty());
}

TEST_CASE("a span that is too small says so, before or when it is full") {
    std::vector<std::byte> bytes(100);
    memory_sink sink(std::span{bytes});
    std::error_code ec;
    SECTION("the size is known") {
        sink.open(101, ec);
        CHECK(ec == error::sink_too_small);
    }
    SECTION("it fits exactly") {
        sink.open(100, ec);
        CHECK_FALSE(ec);
        CHECK(sink.prepare(90, 50, ec).size() == 10);
        CHECK_FALSE(ec);
    }
    SECTION("the size is unknown") {
        sink.open(std::nullopt, ec);
        CHECK_FALSE(ec);
        CHECK(sink.prepare(0, 1000, ec).size() == 100);
        CHECK_FALSE(ec);
        CHECK(sink.prepare(100, 1, ec).empty());
        CHECK(ec == error::sink_too_small);
    }
    SECTION("far beyond") {
        sink.open(std::nullopt, ec);
        CHECK(sink.prepare(max_offset, 1, ec).empty());
        CHECK(ec == error::sink_too_small);
    }
}

TEST_CASE("an empty object fits anywhere") {
    std::vector<std::byte> vector(3);
    std::vector<std::byte> bytes;
    std::error_code ec;
    for (memory_sink sink : {memory_sink(vector), memory_sink(std::span{bytes})}) {
        sink.open(0, ec);
        sink.sync(0, ec);
        sink.publish(ec);
        CHECK_FALSE(ec);
    }
    CHECK(vector.empty());
}

TEST_CASE("a size that no memory can hold is refused, not thrown (H03)") {
    std::vector<std::byte> bytes;
    memory_sink sink(bytes);
    std::error_code ec;
    SECTION("beyond what a vector counts") {
        sink.open(max_offset, ec);
        CHECK(ec == error::sink_too_small);
    }
    SECTION("while growing") {
        sink.open(std::nullopt, ec);
        CHECK(sink.prepare(max_offset - 5, 10, ec).empty());
        CHECK(ec == error::sink_too_small);
    }
#ifndef CLEAVE_TEST_SANITIZED
    // Where a vector does not count as far, it says so before the machine does.
    std::error_code const refused = sizeof(std::size_t) < 8
                                        ? make_error_code(error::sink_too_small)
                                        : std::make_error_code(std::errc::not_enough_memory);
    SECTION("beyond this machine") {
        sink.open(std::uint64_t{1} << 62, ec);
        CHECK(ec == refused);
    }
    SECTION("while growing, beyond this machine") {
        sink.open(std::nullopt, ec);
        CHECK(sink.prepare(std::uint64_t{1} << 62, 10, ec).empty());
        CHECK(ec == refused);
    }
#endif
    CHECK(bytes.empty());
}

namespace {

// Leaves new bytes as they are, and throws what it likes when it has no more.
template <class T>
struct thrifty {
    using value_type = T;
    static inline std::size_t most = 10'000;

    thrifty() = default;
    template <class U>
    explicit thrifty(thrifty<U> const&) noexcept {}

    T* allocate(std::size_t n) {
        if (n > most) throw std::runtime_error("no more");
        T* const at = std::allocator<T>{}.allocate(n);
        std::fill_n(at, n, T{0x33});
        return at;
    }
    void deallocate(T* at, std::size_t n) { std::allocator<T>{}.deallocate(at, n); }
    template <class U>
    void construct(U*) noexcept {}
    template <class U, class... Args>
    void construct(U* at, Args&&... args) {
        std::construct_at(at, std::forward<Args>(args)...);
    }
    friend bool operator==(thrifty const&, thrifty const&) = default;
};

} // namespace

TEST_CASE("memory comes from where the vector's allocator has it") {
    SECTION("a resource that is too small, with nothing behind it") {
        std::array<std::byte, 4096> memory{};
        std::pmr::monotonic_buffer_resource pool(memory.data(), memory.size(),
                                                 std::pmr::null_memory_resource());
        std::pmr::vector<std::byte> bytes(&pool);
        memory_sink sink(bytes);
        std::error_code ec;
        sink.open(4000, ec);
        REQUIRE_FALSE(ec);
        auto const lent = sink.prepare(0, 4000, ec);
        CHECK(lent.data() >= memory.data());
        CHECK(lent.data() + lent.size() <= memory.data() + memory.size());
        sink.open(5000, ec);
        CHECK(ec == std::errc::not_enough_memory);
    }
    SECTION("an allocator of one's own: not set to zero first, and any exception is an error") {
        std::vector<std::byte, thrifty<std::byte>> bytes;
        memory_sink sink(bytes);
        std::error_code ec;
        sink.open(1000, ec);
        CHECK_FALSE(ec);
        CHECK(bytes.size() == 1000);
        CHECK(bytes[999] == std::byte{0x33});
        sink.open(10'001, ec);
        CHECK(ec == std::errc::not_enough_memory);
        ec.clear();
        sink.open(std::nullopt, ec);
        CHECK(sink.prepare(10'001, 1, ec).empty());
        CHECK(ec == std::errc::not_enough_memory);
    }
}
