// SPDX-License-Identifier: BSL-1.0
//
// The disk that loses what was not synced, which other tests rely on: what it must keep, what it
// may lose, and that it loses each thing on its own. Its file, and the other one in memory, behave
// as posix_file does.

#include <support/volatile_disk.hpp>

#include <laws/file_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>
#include <support/memory_file.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using cleave_test::volatile_disk;
using cleave_test::volatile_file;

namespace {

constexpr auto all_lost = [](std::uint64_t) { return std::uint64_t{0}; };
constexpr auto all_kept = [](std::uint64_t n) { return n - 1; };

volatile_file opened(volatile_disk const& disk) {
    volatile_file f(disk);
    std::error_code ec;
    f.open_partial("d/p", ec);
    REQUIRE_FALSE(ec);
    return f;
}
void write(volatile_file& f, std::uint64_t at, std::string_view text) {
    std::error_code ec;
    f.write_at(at, std::as_bytes(std::span{text}), ec);
    REQUIRE_FALSE(ec);
}
void sync(volatile_file& f) {
    std::error_code ec;
    f.sync(ec);
    REQUIRE_FALSE(ec);
}

// What may be left of a disk after a crash: whatever `look` says, for many crashes.
template <class Fill, class Look>
std::set<std::string> after_crashes(Fill fill, Look look) {
    std::set<std::string> seen;
    cleave_test::random_source random{7};
    for (int i = 0; i < 500; ++i) {
        volatile_disk disk;
        fill(disk);
        disk.crash([&](std::uint64_t n) { return random.below(n); });
        seen.insert(look(disk));
    }
    return seen;
}

} // namespace

TEST_CASE("the files in memory keep the laws of files") {
    volatile_disk const disk;
    CHECK(cleave_test::broken_file([&] { return volatile_file(disk); }, "d/") == "");
    cleave_test::memory_disk const other;
    CHECK(cleave_test::broken_file([&] { return cleave_test::memory_file(other); }, "d/") == "");
}

TEST_CASE("what was synced survives a power cut, and nothing else need") {
    volatile_disk disk;
    {
        volatile_file f = opened(disk);
        write(f, 0, "durable");
        sync(f);
        write(f, 3, "XYZ");
        CHECK(disk.bytes("d/p") == "durXYZe");
    }
    SECTION("all lost") {
        disk.crash(all_lost);
        CHECK(disk.bytes("d/p") == "durable");
    }
    SECTION("all kept") {
        disk.crash(all_kept);
        CHECK(disk.bytes("d/p") == "durXYZe");
    }
    SECTION("what survived is durable") {
        disk.crash(all_kept);
        disk.crash(all_lost);
        CHECK(disk.bytes("d/p") == "durXYZe");
    }
    SECTION("a killed process loses nothing but its locks") {
        volatile_file const left = opened(disk);
        disk.kill();
        volatile_file const f = opened(disk);
    }
}

TEST_CASE("a name is lost until its directory is synced") {
    auto const is_there = [](volatile_disk const& d) { return d.exists("d/p") ? "yes" : "no"; };
    CHECK(after_crashes([](volatile_disk& d) { opened(d); }, is_there) ==
          std::set<std::string>{"no", "yes"});
    // Another file's sync will do, if it lies in the same directory.
    auto const beside = [](std::string const& path) {
        return [path](volatile_disk& d) {
            volatile_file const f = opened(d);
            volatile_file other(d);
            std::error_code ec;
            other.open_journal(path, ec);
            sync(other);
        };
    };
    CHECK(after_crashes(beside("d/j"), is_there) == std::set<std::string>{"yes"});
    CHECK(after_crashes(beside("e/j"), is_there) == std::set<std::string>{"no", "yes"});
}

TEST_CASE("a removed file may come back, a published one stays") {
    volatile_disk disk;
    std::error_code ec;
    {
        volatile_file f = opened(disk);
        write(f, 0, "old");
        sync(f);
        f.discard();
    }
    CHECK(disk.names().empty());
    SECTION("it comes back") {
        disk.crash(all_lost);
        CHECK(disk.bytes("d/p") == "old");
    }
    SECTION("it does not") {
        disk.crash(all_kept);
        CHECK(disk.names().empty());
    }
    SECTION("a new one is published, its bytes not synced") {
        volatile_file f = opened(disk);
        write(f, 0, "new");
        f.publish("d/f", ec);
        REQUIRE_FALSE(ec);
        disk.crash(all_lost);
        CHECK(disk.names() == std::vector<std::string>{"d/f"});
        CHECK(disk.bytes("d/f").empty());
    }
}

TEST_CASE("each unsynced write is lost or kept on its own, whatever came first") {
    auto const three = [](volatile_disk& d) {
        volatile_file f = opened(d);
        write(f, 0, "---");
        sync(f);
        for (std::uint64_t const at : {0U, 1U, 2U}) write(f, at, std::string(1, "abc"[at]));
    };
    CHECK(after_crashes(three, [](volatile_disk const& d) { return d.bytes("d/p"); }) ==
          std::set<std::string>{"---", "a--", "-b-", "--c", "ab-", "a-c", "-bc", "abc"});
    auto const same_place = [](volatile_disk& d) {
        volatile_file f = opened(d);
        write(f, 0, "-");
        sync(f);
        write(f, 0, "a");
        write(f, 0, "b");
    };
    CHECK(after_crashes(same_place, [](volatile_disk const& d) { return d.bytes("d/p"); }) ==
          std::set<std::string>{"-", "a", "b"});
}

TEST_CASE("a new length is lost or kept on its own") {
    auto const longer = [](volatile_disk& d) {
        volatile_file f = opened(d);
        write(f, 0, "ab");
        sync(f);
        std::error_code ec;
        f.allocate(4, ec);
        f.allocate(3, ec); // nothing
        write(f, 0, "A");
    };
    std::string const zeros(2, '\0');
    CHECK(after_crashes(longer, [](volatile_disk const& d) { return d.bytes("d/p"); }) ==
          std::set<std::string>{"ab", "Ab", "ab" + zeros, "Ab" + zeros});
}

TEST_CASE("a write is lost sector by sector, and torn within one") {
    constexpr std::size_t sector = volatile_disk::sector;
    auto const write_three = [](volatile_disk& d) {
        volatile_file f = opened(d);
        write(f, 0, std::string(3 * sector, '-'));
        sync(f);
        // Half a sector, a whole one, half of one.
        write(f, sector / 2, std::string(2 * sector, 'x'));
        write(f, 0, "x"); // so that either may be the last one
    };
    auto const ends = after_crashes(write_three, [](volatile_disk const& d) {
        std::string const there = d.bytes("d/p");
        std::string kept;
        for (std::size_t const at :
             {sector / 2, sector - 1, sector, 2 * sector - 1, 2 * sector, 5 * sector / 2 - 1})
            kept += there[at];
        return kept;
    });
    // The middle is lost and the ends are not, or the other way round.
    CHECK(ends.contains("xx--xx"));
    CHECK(ends.contains("--xx--"));
    // Torn in the middle of a sector.
    CHECK(ends.contains("xxx---"));
    for (std::string const& e : ends) {
        CAPTURE(e);
        CHECK((e[0] == 'x' || e[1] == '-'));
    }
}

TEST_CASE("the power fails within a chosen call, and no later one does anything") {
    std::error_code ec;
    // What a small download does to its disk, until it fails.
    auto const run = [&](volatile_disk const& disk) {
        volatile_file f(disk);
        std::string const text = "bytes";
        ec.clear();
        f.open_partial("d/p", ec);
        if (!ec) f.write_at(0, std::as_bytes(std::span{text}), ec);
        if (!ec) f.sync(ec);
        if (!ec) f.publish("d/f", ec);
        if (ec) f.discard();
    };
    for (std::size_t nth = 0; nth != 5; ++nth) {
        CAPTURE(nth);
        for (bool const kept : {false, true}) {
            volatile_disk disk;
            disk.put("d/f", "before");
            disk.power_fails_at(nth);
            run(disk);
            REQUIRE((nth == 4 ? !ec : ec == std::errc::io_error));
            CHECK(disk.calls() == (nth == 4 ? 4 : nth + 1));
            kept ? disk.crash(all_kept) : disk.crash(all_lost);
            bool const renamed = nth == 4 || (nth == 3 && kept);
            CHECK(disk.bytes("d/f") == (renamed ? "bytes" : "before"));
            // It was synced in call 2, and nothing is when the power fails within that.
            CHECK(disk.exists("d/p") == (!renamed && (kept || nth == 3)));
            // And then it works again.
            run(disk);
            CHECK_FALSE(ec);
            CHECK(disk.bytes("d/f") == "bytes");
        }
    }
}

TEST_CASE("who has a file open from before a crash changes nothing after it") {
    volatile_disk disk;
    disk.put("d/p", "before");
    std::error_code ec;
    volatile_file old(disk);
    old.reopen_partial("d/p", ec);
    disk.crash(all_lost);
    volatile_file now(disk);
    now.reopen_partial("d/p", ec);
    CHECK_FALSE(ec);
    write(old, 0, "BEFORE");
    old.discard();
    CHECK(disk.bytes("d/p") == "before");
}
