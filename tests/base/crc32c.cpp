// SPDX-License-Identifier: BSL-1.0
//
// CRC-32C gives what the RFCs say it gives, the same by table, by processor and bit by bit; and two
// of them joined are that of the whole.

#include <cleave/base/crc32c.hpp>

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

using cleave::crc32c;
using cleave::crc32c_join;

namespace {

std::vector<std::byte> made_of(std::vector<unsigned> const& numbers) {
    std::vector<std::byte> to;
    for (unsigned const n : numbers) to.push_back(static_cast<std::byte>(n));
    return to;
}
std::vector<std::byte> random_bytes(cleave_test::random_source& random, std::size_t n) {
    std::vector<std::byte> to(n);
    for (std::byte& b : to) b = static_cast<std::byte>(random());
    return to;
}
// By the definition: polynomial division, one bit after another.
std::uint32_t bit_by_bit(std::span<std::byte const> bytes) {
    std::uint32_t crc = 0xffffffff;
    for (std::byte const b : bytes)
        for (unsigned bit = 0; bit != 8; ++bit) {
            bool const one = ((crc ^ std::to_integer<std::uint32_t>(b) >> bit) & 1U) != 0;
            crc = (crc >> 1U) ^ (one ? 0x82f63b78 : 0);
        }
    return ~crc;
}

} // namespace

TEST_CASE("crc32c gives what RFC 3720, B.4 says") {
    std::vector<unsigned> up(32);
    std::iota(up.begin(), up.end(), 0U);
    CHECK(crc32c(std::vector<std::byte>(32)) == 0x8a9136aa);
    CHECK(crc32c(std::vector<std::byte>(32, std::byte{0xff})) == 0x62a8ab43);
    CHECK(crc32c(made_of(up)) == 0x46dd794e);
    CHECK(crc32c(made_of({up.rbegin(), up.rend()})) == 0x113fdb5c);
    // An iSCSI command: read (10).
    std::vector<unsigned> command(48);
    for (auto const& [at, value] :
         std::initializer_list<std::pair<std::size_t, unsigned>>{{0, 0x01},
                                                                 {1, 0xc0},
                                                                 {16, 0x14},
                                                                 {22, 0x04},
                                                                 {27, 0x14},
                                                                 {31, 0x18},
                                                                 {32, 0x28},
                                                                 {40, 0x02}})
        command[at] = value;
    CHECK(crc32c(made_of(command)) == 0xd9963a56);
    CHECK(crc32c(std::as_bytes(std::span{std::string_view{"123456789"}})) == 0xe3069283);
    CHECK(crc32c({}) == 0);
}

TEST_CASE("crc32c is the same by table, by processor and bit by bit") {
    cleave_test::random_source random{1};
    auto const bytes = random_bytes(random, 300);
    for (std::size_t from = 0; from != 9; ++from)
        for (std::size_t n = 0; n <= bytes.size() - from; ++n) {
            auto const some = std::span{bytes}.subspan(from, n);
            REQUIRE(crc32c(some) == bit_by_bit(some));
            auto const before = static_cast<std::uint32_t>(random());
            auto const table = cleave::detail::crc32c_by_table(some.data(), n, before);
            if (cleave::detail::crc32c_has_processor())
                REQUIRE(table == cleave::detail::crc32c_by_processor(some.data(), n, before));
            REQUIRE(~table == crc32c(some, ~before));
        }
}

TEST_CASE("crc32c is the same where the processor takes several streams side by side") {
    // Around one, two and three streams, and rounds of three; and anywhere in memory.
    constexpr std::size_t stream = cleave::detail::crc32c_stream;
    cleave_test::random_source random{5};
    auto const bytes = random_bytes(random, 7 * stream + 64);
    for (std::size_t streams = 0; streams != 8; ++streams)
        for (std::size_t more = 0; more != 41; ++more) {
            if (streams * stream + more < 20) continue;
            std::size_t const n = streams * stream + more - 20;
            std::size_t const from = random.index(17);
            CAPTURE(n, from);
            auto const some = std::span{bytes}.subspan(from, n);
            auto const before = static_cast<std::uint32_t>(random());
            std::uint32_t const table = cleave::detail::crc32c_by_table(some.data(), n, before);
            if (cleave::detail::crc32c_has_processor())
                REQUIRE(table == cleave::detail::crc32c_by_processor(some.data(), n, before));
            REQUIRE(~table == crc32c(some, ~before));
            // A single bit makes a difference, in whichever stream it is.
            if (n == 0) continue;
            std::vector<std::byte> other(some.begin(), some.end());
            other[random.index(n)] ^= std::byte{1};
            REQUIRE(crc32c(other, ~before) != ~table);
        }
}

TEST_CASE("a stream of zeros makes of a remainder what its tables say") {
    cleave_test::random_source random{6};
    std::vector<std::byte> const zeros(cleave::detail::crc32c_stream);
    for (int i = 0; i != 1000; ++i) {
        auto const crc = static_cast<std::uint32_t>(random());
        REQUIRE(cleave::detail::crc32c_past_stream(cleave::detail::crc32c_stream_tables(), crc) ==
                cleave::detail::crc32c_by_table(zeros.data(), zeros.size(), crc));
    }
}

TEST_CASE("crc32c goes on from what came before") {
    cleave_test::random_source random{2};
    auto const bytes = random_bytes(random, 200);
    for (std::size_t n = 0; n <= bytes.size(); ++n)
        REQUIRE(crc32c(std::span{bytes}.subspan(n), crc32c(std::span{bytes}.first(n))) ==
                crc32c(bytes));
}

TEST_CASE("crc32c_join gives that of the whole, wherever it is split") {
    cleave_test::random_source random{3};
    for (int i = 0; i != 300; ++i) {
        auto const bytes = random_bytes(random, random.index(5000));
        std::size_t const n = random.index(bytes.size() + 1);
        auto const first = std::span<std::byte const>{bytes}.first(n);
        auto const second = std::span<std::byte const>{bytes}.subspan(n);
        REQUIRE(crc32c_join(crc32c(first), crc32c(second), second.size()) == crc32c(bytes));
    }
}

TEST_CASE("crc32c_join joins runs of any length") {
    // Zeros, twice as many each time: 2^63 of them in the end.
    std::uint32_t zeros = crc32c(std::vector<std::byte>(1));
    for (std::uint64_t n = 1; n != std::uint64_t{1} << 63U; n *= 2) {
        zeros = crc32c_join(zeros, zeros, n);
        if (n * 2 <= 65536)
            REQUIRE(zeros == crc32c(std::vector<std::byte>(static_cast<std::size_t>(n * 2))));
    }
    // It does not matter which two of three are joined first.
    cleave_test::random_source random{4};
    for (int i = 0; i != 1000; ++i) {
        auto const crc = [&] { return static_cast<std::uint32_t>(random()); };
        std::uint32_t const a = crc();
        std::uint32_t const b = crc();
        std::uint32_t const c = crc();
        std::uint64_t const all = random();
        std::uint64_t const last = random.below(all);
        REQUIRE(crc32c_join(crc32c_join(a, b, all - last), c, last) ==
                crc32c_join(a, crc32c_join(b, c, last), all));
    }
}

static_assert(crc32c_join(0x8a9136aa, 0, 0) == 0x8a9136aa);
static_assert(crc32c_join(0, 0x8a9136aa, std::numeric_limits<std::uint64_t>::max()) == 0x8a9136aa);
