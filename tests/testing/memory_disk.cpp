// SPDX-License-Identifier: BSL-1.0
//
// The disk in memory, on which other tests rely: what it must keep when its power fails, what it
// may lose, and that it loses each thing on its own; that it is full, and fails, when it was told
// to. Its file behaves as posix_file does.

#include <cleave/testing/memory_disk.hpp>

#include <laws/file_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cleave/base/error.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using cleave::testing::memory_disk;
using cleave::testing::memory_file;

namespace {

constexpr auto all_lost = [](std::uint64_t) { return std::uint64_t{0}; };
constexpr auto all_kept = [](std::uint64_t n) { return n - 1; };

memory_file opened(memory_disk const& disk) {
    memory_file f(disk);
    std::error_code ec;
    f.open_partial("d/p", ec);
    REQUIRE_FALSE(ec);
    return f;
}
void write(memory_file& f, std::uint64_t at, std::string_view text) {
    std::error_code ec;
    f.write_at(at, std::as_bytes(std::span{text}), ec);
    REQUIRE_FALSE(ec);
}
void sync(memory_file& f) {
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
        memory_disk disk;
        fill(disk);
        disk.crash([&](std::uint64_t n) { return random.below(n); });
        seen.insert(look(disk));
    }
    return seen;
}

} // namespace

TEST_CASE("the file in memory keeps the laws of files") {
    memory_disk const disk;
    CHECK(cleave_test::broken_file([&] { return memory_file(disk); }, "d/") == "");
}

TEST_CASE("what was synced survives a power cut, and nothing else need") {
    memory_disk disk;
    {
        memory_file f = opened(disk);
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
        memory_file const left = opened(disk);
        disk.kill();
        memory_file const f = opened(disk);
    }
}

TEST_CASE("a name is lost until its directory is synced") {
    auto const is_there = [](memory_disk const& d) { return d.exists("d/p") ? "yes" : "no"; };
    CHECK(after_crashes([](memory_disk& d) { opened(d); }, is_there) ==
          std::set<std::string>{"no", "yes"});
    // Another file's sync will do, if it lies in the same directory.
    auto const beside = [](std::string const& path) {
        return [path](memory_disk& d) {
            memory_file const f = opened(d);
            memory_file other(d);
            std::error_code ec;
            other.open_journal(path, ec);
            sync(other);
        };
    };
    CHECK(after_crashes(beside("d/j"), is_there) == std::set<std::string>{"yes"});
    CHECK(after_crashes(beside("e/j"), is_there) == std::set<std::string>{"no", "yes"});
}

TEST_CASE("a removed file may come back, a published one stays") {
    memory_disk disk;
    std::error_code ec;
    {
        memory_file f = opened(disk);
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
        memory_file f = opened(disk);
        write(f, 0, "new");
        f.publish("d/f", ec);
        REQUIRE_FALSE(ec);
        disk.crash(all_lost);
        CHECK(disk.names() == std::vector<std::string>{"d/f"});
        CHECK(disk.bytes("d/f").empty());
    }
}

TEST_CASE("each unsynced write is lost or kept on its own, whatever came first") {
    auto const three = [](memory_disk& d) {
        memory_file f = opened(d);
        write(f, 0, "---");
        sync(f);
        for (std::uint64_t const at : {0U, 1U, 2U}) write(f, at, std::string(1, "abc"[at]));
    };
    CHECK(after_crashes(three, [](memory_disk const& d) { return d.bytes("d/p"); }) ==
          std::set<std::string>{"---", "a--", "-b-", "--c", "ab-", "a-c", "-bc", "abc"});
    auto const same_place = [](memory_disk& d) {
        memory_file f = opened(d);
        write(f, 0, "-");
        sync(f);
        write(f, 0, "a");
        write(f, 0, "b");
    };
    CHECK(after_crashes(same_place, [](memory_disk const& d) { return d.bytes("d/p"); }) ==
          std::set<std::string>{"-", "a", "b"});
}

TEST_CASE("a new length is lost or kept on its own") {
    auto const longer = [](memory_disk& d) {
        memory_file f = opened(d);
        write(f, 0, "ab");
        sync(f);
        std::error_code ec;
        f.allocate(4, ec);
        f.allocate(3, ec); // nothing
        write(f, 0, "A");
    };
    std::string const zeros(2, '\0');
    CHECK(after_crashes(longer, [](memory_disk const& d) { return d.bytes("d/p"); }) ==
          std::set<std::string>{"ab", "Ab", "ab" + zeros, "Ab" + zeros});
}

TEST_CASE("a write is lost sector by sector, and torn within one") {
    constexpr std::size_t sector = memory_disk::sector;
    auto const write_three = [](memory_disk& d) {
        memory_file f = opened(d);
        write(f, 0, std::string(3 * sector, '-'));
        sync(f);
        // Half a sector, a whole one, half of one.
        write(f, sector / 2, std::string(2 * sector, 'x'));
        write(f, 0, "x"); // so that either may be the last one
    };
    auto const ends = after_crashes(write_three, [](memory_disk const& d) {
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
    auto const run = [&](memory_disk const& disk) {
        memory_file f(disk);
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
            memory_disk disk;
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
    memory_disk disk;
    disk.put("d/p", "before");
    std::error_code ec;
    memory_file old(disk);
    old.reopen_partial("d/p", ec);
    disk.crash(all_lost);
    memory_file now(disk);
    now.reopen_partial("d/p", ec);
    CHECK_FALSE(ec);
    write(old, 0, "BEFORE");
    old.discard();
    CHECK(disk.bytes("d/p") == "before");
}

TEST_CASE("who has a file open from before a crash makes nothing durable after it") {
    memory_disk disk;
    disk.put("d/kept", "before");
    memory_file lost = opened(disk);
    std::error_code ec;
    memory_file kept(disk);
    kept.reopen_partial("d/kept", ec);
    disk.crash();
    memory_file now(disk);
    now.open_journal("d/j", ec);
    REQUIRE_FALSE(ec);
    sync(lost);
    sync(kept);
    CHECK(disk.exists("d/j"));
    disk.crash();
    CHECK(disk.names() == std::vector<std::string>{"d/kept"});
}

TEST_CASE("what a crash took does not come back later") {
    memory_disk disk;
    disk.put("d/f", "before");
    memory_file reader(disk);
    {
        memory_file f = opened(disk);
        write(f, 0, "lost");
        std::error_code none;
        reader.open_finished("d/f", none);
        // Its name would be durable, but that the power fails.
        disk.power_fails_at(disk.calls());
        std::error_code ec;
        f.publish("d/f", ec);
        CHECK(ec == std::errc::io_error);
        CHECK(disk.bytes("d/f") == "lost");
    }
    disk.crash();
    CHECK(disk.bytes("d/f") == "before");
    memory_file other(disk);
    std::error_code ec;
    other.open_journal("d/j", ec);
    sync(reader);
    disk.crash();
    CHECK(disk.names() == std::vector<std::string>{"d/f"});
    other.open_journal("d/j", ec);
    sync(other);
    CHECK(disk.durable_bytes("d/f") == "before");
    disk.crash();
    CHECK(disk.names() == std::vector<std::string>{"d/f", "d/j"});
    CHECK(disk.bytes("d/f") == "before");
}

TEST_CASE("what a process that was killed still has open changes nothing any more") {
    memory_disk disk;
    disk.put("d/other", "before");
    memory_file old = opened(disk);
    write(old, 0, "written");
    disk.kill();
    CHECK(disk.bytes("d/p") == "written");
    write(old, 0, "WRITTEN");
    // It cannot make durable what the next process did not.
    sync(old);
    CHECK(disk.durable_bytes("d/p").empty());
    std::error_code ec;
    old.publish("d/f", ec);
    CHECK(ec == cleave::error::partial_replaced);
    old.discard();
    CHECK(disk.bytes("d/p") == "written");
    // And what was unsynced still is.
    SECTION("the power stays") {
        memory_file now(disk);
        ec.clear();
        now.reopen_partial("d/p", ec);
        REQUIRE_FALSE(ec);
        sync(now);
        CHECK(disk.durable_bytes("d/p") == "written");
        CHECK(disk.durable_bytes("d/other") == "before");
    }
    SECTION("the power fails later") {
        disk.crash(all_kept);
        CHECK(disk.bytes("d/p") == "written");
        disk.crash();
        CHECK(disk.bytes("d/p") == "written");
    }
    SECTION("all is lost") {
        disk.crash();
        CHECK(disk.names() == std::vector<std::string>{"d/other"});
    }
}

TEST_CASE("what would be there after a power cut can be asked") {
    memory_disk disk;
    memory_file f = opened(disk);
    write(f, 0, "durable");
    CHECK(disk.durable_bytes("d/p").empty());
    sync(f);
    write(f, 0, "DURABLE");
    CHECK(disk.bytes("d/p") == "DURABLE");
    CHECK(disk.durable_bytes("d/p") == "durable");
    std::error_code ec;
    f.publish("d/f", ec);
    CHECK(disk.durable_bytes("d/p").empty());
    CHECK(disk.durable_bytes("d/f") == "durable");
    std::string const asked = disk.durable_bytes("d/f");
    disk.crash();
    CHECK(disk.bytes("d/f") == asked);
    CHECK(disk.names() == std::vector<std::string>{"d/f"});
}

TEST_CASE("a disk has room for so much, and what is refused changes nothing") {
    memory_disk disk;
    disk.put("d/other", "four");
    disk.capacity(10);
    memory_file f = opened(disk);
    std::error_code ec;
    auto const may = [&](auto what) {
        ec.clear();
        what();
        return ec ? ec == std::errc::no_space_on_device ? "full" : ec.message() : "yes";
    };
    auto const write_at = [&](std::uint64_t at, std::string_view text) {
        return may([&] { f.write_at(at, std::as_bytes(std::span{text}), ec); });
    };
    CHECK(may([&] { f.allocate(7, ec); }) == "full");
    CHECK(disk.bytes("d/p").empty());
    CHECK(may([&] { f.allocate(6, ec); }) == "yes");
    CHECK(disk.bytes("d/p") == std::string(6, '\0'));
    // There is room for what was reserved, and no more.
    CHECK(write_at(0, "123456") == "yes");
    CHECK(write_at(4, "EFG") == "full");
    CHECK(disk.bytes("d/p") == "123456");
    // What is cut off, and what is removed, makes room; a hole takes none.
    CHECK(may([&] { f.resize(1, ec); }) == "yes");
    CHECK(may([&] { f.resize(100, ec); }) == "yes");
    memory_file second(disk);
    second.open_journal("d/j", ec);
    CHECK(may([&] { second.allocate(6, ec); }) == "full");
    CHECK(may([&] { second.allocate(5, ec); }) == "yes");
    disk.remove("d/other");
    CHECK(may([&] { second.allocate(9, ec); }) == "yes");
    f.discard();
    CHECK(may([&] { second.allocate(10, ec); }) == "yes");
    disk.capacity(3);
    CHECK(may([&] { second.allocate(11, ec); }) == "full");
}

TEST_CASE("what no memory could hold is too large, and no more than that") {
    memory_disk const disk;
    memory_file f = opened(disk);
    std::error_code ec;
    auto const too_large = [&] { return std::exchange(ec, {}) == std::errc::file_too_large; };
    for (std::uint64_t const size :
         {memory_disk::max_size + 1, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        f.allocate(size, ec);
        CHECK(too_large());
        f.resize(size, ec);
        CHECK(too_large());
        f.write_at(size - 1, std::as_bytes(std::span{std::string_view{"xy"}}), ec);
        CHECK(too_large());
    }
    CHECK(disk.bytes("d/p").empty());
}

TEST_CASE("planned faults come at their call, one after the other, and do nothing else") {
    memory_disk disk;
    disk.fail("write_at", 1, EIO);
    disk.fail("write_at", 2, ENOSPC);
    disk.fail("", 5, EACCES);
    std::error_code ec;
    std::vector<int> codes;
    memory_file f = opened(disk);
    for (std::string_view const text : {"a", "b", "c", "d", "e", "f"}) {
        ec.clear();
        f.write_at(0, std::as_bytes(std::span{text}), ec);
        codes.push_back(ec.value());
    }
    CHECK(codes == std::vector<int>{0, EIO, ENOSPC, 0, EACCES, 0});
    CHECK(disk.bytes("d/p") == "f");
    CHECK(disk.count("write_at") == 6);
    // As posix_file, a call that went well leaves the code alone.
    ec = std::make_error_code(std::errc::bad_address);
    f.sync(ec);
    CHECK(ec == std::errc::bad_address);
}

TEST_CASE("whoever is asked before a call decides whether it is made, and sees what is written") {
    memory_disk disk;
    std::vector<std::string> seen;
    std::string written;
    bool refuse = false;
    disk.on_call([&](memory_disk::call const& c) -> std::error_code {
        CHECK_FALSE(c.ec);
        seen.push_back(c.operation + " " + c.path);
        written.clear();
        for (std::byte const b : c.bytes) written += static_cast<char>(b);
        CHECK((c.operation != "write_at" || c.size == written.size()));
        // Nothing has been done yet.
        if (seen.size() == 1) CHECK_FALSE(disk.exists(c.path));
        if (refuse) return {EDQUOT, std::system_category()};
        return {};
    });
    memory_file f = opened(disk);
    write(f, 2, "text");
    CHECK(written == "text");
    refuse = true;
    std::error_code ec;
    f.write_at(0, std::as_bytes(std::span{std::string_view{"TEXT"}}), ec);
    CHECK(ec == std::error_code{EDQUOT, std::system_category()});
    CHECK(disk.bytes("d/p") == std::string(2, '\0') + "text");
    // What cannot say that it failed did not happen; but a file is closed all the same.
    f.discard();
    CHECK(disk.exists("d/p"));
    refuse = false;
    memory_file const again = opened(disk);
    CHECK(seen == std::vector<std::string>{"open_partial d/p", "write_at d/p", "write_at d/p",
                                           "discard d/p", "open_partial d/p"});
    // The log has them too, with what became of them, but not the bytes.
    REQUIRE(disk.log().size() == seen.size());
    CHECK(disk.log()[2].ec == ec);
    CHECK(disk.log()[2].bytes.empty());
    disk.record(false);
    memory_file(disk).close();
    CHECK(disk.log().size() == 5);
    CHECK(disk.calls() == 6);
}

TEST_CASE("a sync that fails loses what was written, though the next one says that all is well") {
    memory_disk disk;
    memory_file f = opened(disk);
    write(f, 0, "durable");
    sync(f);
    write(f, 2, "RABLE and more");
    disk.fail("sync", 0, EIO);
    std::error_code ec;
    f.sync(ec);
    CHECK(ec == std::errc::io_error);
    CHECK(disk.bytes("d/p") == "duRABLE and more");
    write(f, 0, "D");
    sync(f);
    CHECK(disk.bytes("d/p") == "DuRABLE and more");
    // The length is no page; what lies under it is.
    std::string const left = "Durable" + std::string(9, '\0');
    CHECK(disk.durable_bytes("d/p") == left);
    // And lost bytes cut nothing off.
    write(f, 0, "d");
    disk.fail("sync", 0, EIO);
    f.sync(ec);
    sync(f);
    CHECK(disk.durable_bytes("d/p") == left);
    write(f, 0, "D");
    // Whatever is written again is there again.
    write(f, 7, " and more");
    sync(f);
    disk.crash(all_kept);
    CHECK(disk.bytes("d/p") == "Durable and more");
}

TEST_CASE("a sync that fails for another reason has done nothing, and can be tried again") {
    memory_disk disk;
    memory_file f = opened(disk);
    write(f, 0, "text");
    disk.fail("sync", 0, ENOSPC);
    std::error_code ec;
    f.sync(ec);
    CHECK(ec == std::errc::no_space_on_device);
    CHECK(disk.durable_bytes("d/p").empty());
    sync(f);
    CHECK(disk.durable_bytes("d/p") == "text");
}

TEST_CASE("what is no regular file is refused by name") {
    memory_disk disk;
    disk.make_directory("d/dir");
    disk.make_device("d/dev");
    std::error_code ec;
    for (auto const& [path, expected] : {std::pair{"d/dir", cleave::error::target_is_directory},
                                         std::pair{"d/dev", cleave::error::target_not_regular}}) {
        memory_file f(disk);
        for (auto const call : {&memory_file::open_partial, &memory_file::reopen_partial,
                                &memory_file::open_journal, &memory_file::open_finished}) {
            ec.clear();
            (f.*call)(path, ec);
            CHECK(ec == expected);
        }
        ec.clear();
        f.check_target(path, ec);
        CHECK(ec == expected);
        memory_file partial = opened(disk);
        ec.clear();
        partial.publish(path, ec);
        CHECK(ec == expected);
    }
    disk.crash(all_kept);
    ec.clear();
    memory_file(disk).check_target("d/dir", ec);
    CHECK(ec == cleave::error::target_is_directory);
}

TEST_CASE("what somebody else removes or puts there is durable at once") {
    memory_disk disk;
    memory_file f = opened(disk);
    write(f, 0, "ours");
    SECTION("removed") {
        disk.remove("d/p");
        disk.crash(all_kept);
        CHECK(disk.names().empty());
    }
    SECTION("replaced") {
        disk.put("d/p", "theirs");
        sync(f);
        disk.crash(all_kept);
        CHECK(disk.bytes("d/p") == "theirs");
    }
}

TEST_CASE("a file that is not open says so") {
    memory_disk const disk;
    memory_file f(disk);
    std::error_code ec;
    auto const says = [&] { return std::exchange(ec, {}) == std::errc::bad_file_descriptor; };
    CHECK(f.size(ec) == 0);
    CHECK(says());
    f.allocate(1, ec);
    CHECK(says());
    f.write_at(0, std::as_bytes(std::span{std::string_view{"x"}}), ec);
    CHECK(says());
    std::byte to{};
    f.read_at(0, {&to, 1}, ec);
    CHECK(says());
    f.resize(1, ec);
    CHECK(says());
    f.sync(ec);
    CHECK(says());
    f.discard();
    f.close();
    CHECK(disk.names().empty());
}
