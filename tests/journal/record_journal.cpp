// SPDX-License-Identifier: BSL-1.0
//
// record_journal over two slots in memory, small enough to try everything: every byte damaged,
// every end missing, every write torn. What it answers is the newest state that can be read, an
// older one only where the newest was damaged, and nothing once it was removed.

#include <cleave/journal/record_journal.hpp>

#include <laws/journal_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cleave/base/units.hpp>
#include <cleave/journal/record.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using cleave::resume_state;
using cleave_test::stored_state;

namespace {

// Flash of two slots, as long as `bytes` together, in which every write leaves what lies behind it.
struct flash {
    explicit flash(std::size_t slot) : slot_size(slot), bytes(2 * slot, '\xff') {}

    std::size_t slot_size;
    std::string bytes;
    std::vector<unsigned> written{};
    std::error_code fault{};

    auto journal() {
        auto const load = [this](unsigned slot, std::span<std::byte> to) {
            REQUIRE(slot < 2);
            REQUIRE(to.size() == slot_size);
            std::size_t const at = std::min(slot * slot_size, bytes.size());
            std::size_t const n = std::min(to.size(), bytes.size() - at);
            if (n != 0) std::memcpy(to.data(), bytes.data() + at, n);
            return n;
        };
        auto const store = [this](unsigned slot, std::span<std::byte const> from,
                                  std::error_code& ec) {
            REQUIRE(slot < 2);
            REQUIRE(from.size() <= slot_size);
            written.push_back(slot);
            bytes.resize(2 * slot_size, '\xff');
            // A write that fails may have come to anything.
            std::memcpy(bytes.data() + slot * slot_size, from.data(),
                        fault ? from.size() / 2 : from.size());
            ec = fault;
        };
        return cleave::record_journal{load, store, slot_size};
    }
    std::string read() const { return bytes; }
    void write(std::string to) { bytes = std::move(to); }

    stored_state opened() {
        std::error_code ec;
        auto answer = journal().open("", ec);
        REQUIRE_FALSE(ec);
        return answer;
    }
    void store(std::vector<resume_state> const& states) {
        auto j = journal();
        std::error_code ec;
        static_cast<void>(j.open("", ec));
        for (auto const& s : states) j.store(s, ec);
        REQUIRE_FALSE(ec);
    }
    std::size_t length_in(unsigned slot) const {
        auto const all = std::as_bytes(std::span{bytes}).subspan(slot * slot_size);
        return cleave::record_within(all).size();
    }
};

std::vector<std::size_t> every_place(std::string const& bytes) {
    std::vector<std::size_t> to(bytes.size());
    std::iota(to.begin(), to.end(), std::size_t{0});
    return to;
}

} // namespace

TEST_CASE("record_journal keeps the laws of journals") {
    for (std::uint64_t seed = 0; seed != 30; ++seed) {
        cleave_test::random_source random{seed};
        flash roomy{1000};
        flash narrow{300};
        CAPTURE(seed);
        CHECK(cleave_test::broken_journal([&] { return roomy.journal(); }, "", true, 20, random,
                                          100) == "");
        CHECK(cleave_test::broken_journal([&] { return narrow.journal(); }, "", false, 30, random,
                                          100) == "");
    }
}

TEST_CASE("record_journal: a crash while it writes leaves the state before or the new one") {
    for (std::uint64_t seed = 0; seed != 10; ++seed) {
        cleave_test::random_source random{seed};
        flash f{600};
        CAPTURE(seed);
        CHECK(cleave_test::broken_crash([&] { return f.journal(); }, f, "", 20, random) == "");
    }
}

TEST_CASE("record_journal: whatever is damaged, nothing is made up") {
    cleave_test::random_source random{5};
    for (int i = 0; i != 5; ++i) {
        auto const older = cleave_test::random_state(random, 6);
        auto const newest = cleave_test::random_state(random, 6);
        flash f{400};
        f.store({older, newest});
        CHECK(cleave_test::broken_by_damage([&] { return f.journal(); }, f, "", newest, older,
                                            every_place(f.bytes)) == "");
    }
}

TEST_CASE("record_journal answers with the newest state that can be read") {
    cleave_test::random_source random{6};
    auto const a = cleave_test::random_state(random, 6);
    auto const b = cleave_test::random_state(random, 6);
    for (std::size_t const more : {0U, 1U}) {
        flash f{400};
        // The newest one is in slot 1 the first time, and in slot 0 the second.
        f.store(more == 0 ? std::vector{a, b} : std::vector{b, a, b});
        std::string const whole = f.bytes;
        std::size_t const begin = more == 0 ? 400 : 0;
        std::size_t const end = begin + f.length_in(more == 0 ? 1 : 0);
        for (std::size_t at = 0; at != whole.size(); ++at) {
            CAPTURE(at);
            f.bytes[at] = static_cast<char>(~whole[at]);
            bool const in_newest = begin <= at && at < end;
            REQUIRE(f.opened() == (in_newest ? a : b));
            f.bytes = whole;
        }
    }
}

TEST_CASE("record_journal takes its slots in turns, from run to run") {
    cleave_test::random_source random{7};
    flash f{400};
    for (int run = 0; run != 5; ++run)
        f.store({cleave_test::random_state(random, 3), cleave_test::random_state(random, 3),
                 cleave_test::random_state(random, 3)});
    REQUIRE(f.written.size() == 15);
    for (std::size_t i = 1; i != f.written.size(); ++i) REQUIRE(f.written[i] != f.written[i - 1]);
}

TEST_CASE("record_journal goes on where the newest one is damaged, and writes over that") {
    cleave_test::random_source random{8};
    auto const a = cleave_test::random_state(random, 3);
    auto const b = cleave_test::random_state(random, 3);
    auto const c = cleave_test::random_state(random, 3);
    flash f{400};
    f.store({a, b});
    f.bytes[400 + 30] ^= 1;
    REQUIRE(f.opened() == a);
    f.store({c});
    CHECK(f.written.back() == 1);
    CHECK(f.opened() == c);
    f.bytes[400 + 30] ^= 1;
    CHECK(f.opened() == a);
}

TEST_CASE("record_journal: what was removed never comes back") {
    cleave_test::random_source random{9};
    auto const a = cleave_test::random_state(random, 3);
    auto const b = cleave_test::random_state(random, 3);
    flash f{400};
    std::error_code ec;
    {
        auto j = f.journal();
        static_cast<void>(j.open("", ec));
        j.store(a, ec);
        j.store(b, ec);
        j.remove(ec);
    }
    CHECK_FALSE(f.opened());
    CHECK(cleave_test::broken_by_damage([&] { return f.journal(); }, f, "", std::nullopt,
                                        std::nullopt, every_place(f.bytes)) == "");
    // And another download can use it.
    f.store({a});
    CHECK(f.opened() == a);
}

TEST_CASE("record_journal counts on beyond the greatest number") {
    cleave_test::random_source random{10};
    auto const a = cleave_test::random_state(random, 3);
    auto const b = cleave_test::random_state(random, 3);
    auto const c = cleave_test::random_state(random, 3);
    flash f{400};
    auto const record = cleave::encode_record(a, std::numeric_limits<std::uint64_t>::max(), 400);
    std::memcpy(f.bytes.data(), record.data(), record.size());
    REQUIRE(f.opened() == a);
    f.store({b});
    CHECK(f.opened() == b);
    f.store({c});
    CHECK(f.opened() == c);
}

TEST_CASE("record_journal: a state without room takes away what was there") {
    cleave_test::random_source random{11};
    auto const small = cleave_test::random_state(random, 3);
    auto large = small;
    large.url = std::string(500, 'u');
    flash f{400};
    f.store({small, large});
    CHECK_FALSE(f.opened());
    f.store({small});
    CHECK(f.opened() == small);
}

TEST_CASE("record_journal with hardly any room keeps nothing, and says so") {
    std::string const any;
    CHECK_FALSE(flash{0}.journal().keeps(any));
    CHECK_FALSE(flash{cleave::nothing_record_size - 1}.journal().keeps(any));
    CHECK(flash{cleave::nothing_record_size}.journal().keeps(any));

    cleave_test::random_source random{12};
    flash least{cleave::nothing_record_size};
    least.store({cleave_test::random_state(random, 3)});
    CHECK_FALSE(least.opened());
}

TEST_CASE("record_journal: the rooms that its description gives are right") {
    resume_state s;
    s.identity = {1'000'000, {cleave::validator::kind::strong_etag, std::string(34, 'e')}, ""};
    s.wanted = {0, 999'999};
    s.url = std::string(45, 'u');
    for (std::uint64_t i = 0; i != 100; ++i) s.in_place.push_back({{i * 100, i * 100 + 50}, 1});
    for (auto const& [bytes, runs] : {std::pair{256U, 5U}, std::pair{512U, 18U}}) {
        flash f{bytes};
        f.store({s});
        auto const kept = f.opened();
        REQUIRE(kept);
        CHECK(kept->in_place.size() == runs);
    }
}

TEST_CASE("record_journal passes on what went wrong, and keeps what it had") {
    cleave_test::random_source random{13};
    auto const a = cleave_test::random_state(random, 3);
    auto const b = cleave_test::random_state(random, 3);
    flash f{400};
    f.store({a, b});
    auto j = f.journal();
    std::error_code ec;
    static_cast<void>(j.open("", ec));
    f.fault = std::make_error_code(std::errc::io_error);
    j.store(a, ec);
    CHECK(ec == std::errc::io_error);
    CHECK(f.opened() == b);
    ec.clear();
    std::size_t const writes = f.written.size();
    j.remove(ec);
    CHECK(ec == std::errc::io_error);
    CHECK(f.written.size() == writes + 1);
    CHECK(f.opened() == b);
    // The one that failed is tried again, and not the one that is good.
    CHECK(f.written.back() == f.written[writes - 1]);
}

TEST_CASE("record_journal believes no more bytes than there are") {
    cleave_test::random_source random{14};
    flash f{400};
    f.store({cleave_test::random_state(random, 3)});
    auto const load = [&](unsigned, std::span<std::byte> to) {
        std::memcpy(to.data(), f.bytes.data(), to.size());
        return std::numeric_limits<std::size_t>::max();
    };
    auto const store = [](unsigned, std::span<std::byte const>, std::error_code&) {};
    cleave::record_journal j{load, store, 400};
    std::error_code ec;
    CHECK(j.open("", ec) == f.opened());
    f.bytes.assign(800, '\x7f'); // and so a length far beyond the end
    CHECK_FALSE(j.open("", ec));
}

TEST_CASE("record_journal is for power cuts, and told as often as is wished") {
    using namespace cleave::literals;
    using namespace std::chrono_literals;
    flash f{400};
    CHECK(f.journal().durable());
    CHECK(f.journal().interval().bytes == cleave::journal_interval{}.bytes);
    auto const rare = f.journal().every({64_MiB, 60s});
    CHECK(rare.interval().bytes == 64_MiB);
    CHECK(rare.interval().time == 60s);
}
