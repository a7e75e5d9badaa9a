// SPDX-License-Identifier: BSL-1.0
//
// file_journal with real files: one download at a time has it and nobody else may read it; it lies
// beside the target or where it was said; whatever a crash or somebody else left in its place, it
// answers with what was stored or with nothing. And with a file in memory: what it asks of a file,
// and what it says when that fails.

#include <cleave/journal/file_journal.hpp>

#include <laws/journal_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>
#include <support/fork.hpp>
#include <support/temp_dir.hpp>

#include <cleave/base/error.hpp>
#include <cleave/base/units.hpp>
#include <cleave/journal/record.hpp>
#include <cleave/testing/memory_disk.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using cleave::file_journal;
using cleave::resume_state;
using cleave_test::random_source;
using cleave_test::random_state;
using cleave_test::stored_state;
using cleave_test::temp_dir;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t slot = 64 * 1024;

// A file's bytes, for the laws.
struct file_bytes {
    fs::path path;
    std::string read() const { return cleave_test::read_file(path); }
    // Over what there is: some file systems wait for the disk when a file was emptied first.
    void write(std::string const& to) const {
        std::fstream out{path, std::ios::binary | std::ios::in | std::ios::out};
        out.write(to.data(), static_cast<std::streamsize>(to.size()));
        out.close();
        REQUIRE(out);
        fs::resize_file(path, to.size());
    }
};

stored_state opened(fs::path const& target) {
    file_journal j;
    std::error_code ec;
    auto answer = j.open(target.string(), ec);
    INFO(ec.message());
    REQUIRE_FALSE(ec);
    return answer;
}
void store(fs::path const& target, std::vector<resume_state> const& states) {
    file_journal j;
    std::error_code ec;
    static_cast<void>(j.open(target.string(), ec));
    for (auto const& s : states) j.store(s, ec);
    INFO(ec.message());
    REQUIRE_FALSE(ec);
}
std::error_code error_of_opening(fs::path const& target) {
    file_journal j;
    std::error_code ec;
    CHECK_FALSE(j.open(target.string(), ec));
    return ec;
}
// Where there is a record's byte in a journal's file, and the first bytes behind it.
std::vector<std::size_t> places_of_records(std::string const& bytes) {
    std::vector<std::size_t> places;
    for (std::size_t const begin : {std::size_t{0}, slot}) {
        auto const from = std::as_bytes(std::span{bytes}).subspan(begin);
        std::size_t const length = cleave::record_within(from).size();
        for (std::size_t i = 0; i != std::min(length + 3, from.size()); ++i)
            places.push_back(begin + i);
    }
    return places;
}

} // namespace

TEST_CASE("file_journal keeps the laws of journals") {
    for (std::uint64_t seed = 0; seed != 5; ++seed) {
        temp_dir dir;
        random_source random{seed};
        std::string const target = dir / "target";
        CAPTURE(seed);
        CHECK(cleave_test::broken_journal([] { return file_journal{}; }, target, true, 50, random,
                                          100) == "");
        CHECK(cleave_test::broken_journal([] { return file_journal{}.durably(); }, target, false,
                                          8000, random, 10) == "");
        std::string const path = dir / "elsewhere";
        CHECK(cleave_test::broken_journal([&] { return file_journal{path}; }, "", true, 50, random,
                                          100) == "");
    }
}

TEST_CASE("file_journal lies beside the target, or where it was said") {
    temp_dir dir;
    std::string const target = dir / "target";
    std::string const path = dir / "elsewhere";
    CHECK(file_journal{}.keeps(target));
    CHECK_FALSE(file_journal{}.keeps(""));
    CHECK(file_journal{path}.keeps(target));
    CHECK(file_journal{path}.keeps(""));

    random_source random{1};
    store(target, {random_state(random, 3)});
    CHECK(fs::exists(target + ".cleave"));
    CHECK(std::distance(fs::directory_iterator{dir.path()}, {}) == 1);

    file_journal j{path};
    std::error_code ec;
    CHECK_FALSE(j.open(target, ec));
    CHECK(fs::exists(path));
    CHECK(std::distance(fs::directory_iterator{dir.path()}, {}) == 2);
}

TEST_CASE("file_journal is for its owner only (I08)") {
    temp_dir dir;
    fs::path const target = dir / "target";
    random_source random{2};
    store(target, {random_state(random, 3)});
    auto const mode = [&] { return fs::status(dir / "target.cleave").permissions(); };
    CHECK(mode() == (fs::perms::owner_read | fs::perms::owner_write));
    fs::permissions(dir / "target.cleave", fs::perms::group_read | fs::perms::others_read,
                    fs::perm_options::add);
    CHECK(opened(target));
    CHECK(mode() == (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE("file_journal has one owner at a time") {
    temp_dir dir;
    fs::path const target = dir / "target";
    random_source random{3};
    auto const state = random_state(random, 3);
    {
        file_journal j;
        std::error_code ec;
        static_cast<void>(j.open(target.string(), ec));
        j.store(state, ec);
        REQUIRE_FALSE(ec);
        // Neither this process has it a second time nor another one.
        CHECK(error_of_opening(target) == cleave::error::target_busy);
        CHECK(cleave_test::in_child([&] {
                  file_journal other;
                  std::error_code busy;
                  bool const answered = other.open(target.string(), busy).has_value();
                  return !answered && busy == cleave::error::target_busy ? 0 : 1;
              }) == 0);
    }
    CHECK(opened(target) == state);
}

TEST_CASE("a file_journal that is removed leaves nothing, and nothing of others is removed") {
    temp_dir dir;
    fs::path const target = dir / "target";
    random_source random{4};
    std::error_code ec;
    {
        file_journal j;
        static_cast<void>(j.open(target.string(), ec));
        j.store(random_state(random, 3), ec);
        j.remove(ec);
        CHECK_FALSE(ec);
        CHECK(fs::is_empty(dir.path()));
    }
    {
        file_journal j;
        static_cast<void>(j.open(target.string(), ec));
        fs::remove(dir / "target.cleave");
        cleave_test::write_file(dir / "target.cleave", "somebody else's");
        j.remove(ec);
        CHECK_FALSE(ec);
    }
    CHECK(cleave_test::read_file(dir / "target.cleave") == "somebody else's");
    file_journal{}.remove(ec);
    CHECK_FALSE(ec);
}

TEST_CASE("a file_journal holds nothing where something else is (K06)") {
    temp_dir dir;
    fs::path const target = dir / "target";
    fs::path const path = dir / "target.cleave";
    random_source random{5};
    auto const state = random_state(random, 3);
    auto const holds_nothing_and_can_be_used = [&] {
        if (opened(target)) return false;
        store(target, {state});
        return opened(target) == state;
    };
    for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{24}, slot - 1, slot,
                                   slot + 1, 2 * slot, 2 * slot + 1, 5 * slot}) {
        CAPTURE(size);
        std::string garbage(size, '\0');
        cleave_test::write_file(path, garbage);
        CHECK(holds_nothing_and_can_be_used());
        std::ranges::generate(garbage, [&] { return static_cast<char>(random()); });
        cleave_test::write_file(path, garbage);
        CHECK(holds_nothing_and_can_be_used());
    }
    cleave_test::write_file(path, "garbage");
    fs::resize_file(path, std::uintmax_t{1} << 30);
    CHECK(holds_nothing_and_can_be_used());
}

TEST_CASE("a file_journal that cannot be had is an error") {
    temp_dir dir;
    fs::create_directory(dir / "a.cleave");
    CHECK(error_of_opening(dir / "a"));
    CHECK(error_of_opening(dir / "none" / "a") == std::errc::no_such_file_or_directory);
    cleave_test::write_file(dir / "b", "somebody else's");
    fs::create_symlink(dir / "b", dir / "b.cleave");
    CHECK(error_of_opening(dir / "b"));
    CHECK(cleave_test::read_file(dir / "b") == "somebody else's");
}

TEST_CASE("file_journal: a crash while it writes leaves the state before or the new one (K03)") {
    for (std::uint64_t seed = 0; seed != 2; ++seed) {
        temp_dir dir;
        random_source random{seed};
        file_bytes bytes{dir / "target.cleave"};
        CAPTURE(seed);
        CHECK(cleave_test::broken_crash([] { return file_journal{}; }, bytes, dir / "target", 10,
                                        random) == "");
    }
}

TEST_CASE("file_journal: whatever is damaged, nothing is made up (K04)") {
    temp_dir dir;
    fs::path const target = dir / "target";
    random_source random{6};
    auto const older = random_state(random, 6);
    auto const newest = random_state(random, 6);
    store(target, {older, newest});
    file_bytes bytes{dir / "target.cleave"};
    std::string const whole = bytes.read();
    REQUIRE(whole.size() > slot);
    CHECK(cleave_test::broken_by_damage([] { return file_journal{}; }, bytes, target, newest, older,
                                        places_of_records(whole)) == "");
    CHECK(opened(target) == newest);
}

namespace {

// What is left of a journal of which the end is missing, or one byte is another: everywhere in its
// records, and in the hole between them every so many bytes.
void damage_anywhere(std::size_t step_in_hole) {
    temp_dir dir;
    fs::path const target = dir / "target";
    random_source random{7};
    auto const older = random_state(random, 6);
    auto const newest = random_state(random, 6);
    store(target, {older, newest});
    file_bytes bytes{dir / "target.cleave"};
    std::string whole = bytes.read();
    auto const records = std::as_bytes(std::span{whole});
    std::size_t const older_end = cleave::record_within(records).size();
    whole.resize(slot + cleave::record_within(records.subspan(slot)).size());
    for (std::size_t at = 0; at < whole.size();
         at += at < older_end + 5 || at >= slot - step_in_hole ? 1 : step_in_hole) {
        CAPTURE(at);
        bytes.write(whole.substr(0, at));
        REQUIRE(opened(target) == (at < older_end ? std::nullopt : stored_state{older}));
        whole[at] = static_cast<char>(~whole[at]);
        bytes.write(whole);
        REQUIRE(opened(target) == (at < slot ? newest : older));
        whole[at] = static_cast<char>(~whole[at]);
    }
}

} // namespace

TEST_CASE("file_journal answers with the newest state that can be read") { damage_anywhere(499); }

TEST_CASE("file_journal answers with the newest state, wherever it was damaged", "[.heavy]") {
    damage_anywhere(7);
}

TEST_CASE("a copy of a file_journal has its settings, and nothing open") {
    temp_dir const dir;
    std::string const path = (dir / "j").string();
    cleave::file_journal one =
        cleave::file_journal{path}.durably().every({7, std::chrono::seconds{8}});
    cleave::file_journal other{one};
    CHECK(other.durable());
    CHECK(other.interval().bytes == 7);
    std::error_code ec;
    (void)one.open("", ec);
    REQUIRE_FALSE(ec);
    cleave::file_journal third{one};
    (void)third.open("", ec);
    CHECK(ec == cleave::error::target_busy);
}

TEST_CASE("a file_journal can be moved while it is open") {
    temp_dir dir;
    fs::path const target = dir / "target";
    random_source random{8};
    auto const a = random_state(random, 3);
    auto const b = random_state(random, 3);
    store(target, {a});
    {
        file_journal j;
        std::error_code ec;
        REQUIRE(j.open(target.string(), ec) == a);
        file_journal moved = std::move(j);
        CHECK(error_of_opening(target) == cleave::error::target_busy);
        moved.store(b, ec);
        CHECK_FALSE(ec);
    }
    CHECK(opened(target) == b);
    // And it took the other place.
    file_bytes bytes{dir / "target.cleave"};
    std::string whole = bytes.read();
    whole[slot] = '?';
    bytes.write(whole);
    CHECK(opened(target) == a);
}

TEST_CASE("file_journal takes what has no room for the largest runs only") {
    temp_dir dir;
    fs::path const target = dir / "target";
    resume_state s;
    s.identity.size = std::uint64_t{1} << 40;
    s.wanted = {0, *s.identity.size - 1};
    for (std::uint64_t i = 0; i != 4000; ++i) s.in_place.push_back({{i << 20, (i << 20) + i}, 1});
    store(target, {s});
    auto const answer = opened(target);
    REQUIRE(answer);
    CHECK(answer->in_place.size() > 3000);
    CHECK(
        std::ranges::equal(answer->in_place, std::span{s.in_place}.last(answer->in_place.size())));
    CHECK(fs::file_size(dir / "target.cleave") == 2 * slot);
    // One that has no room at all takes away what there was, in the other place, too.
    s.url = std::string(slot, 'u');
    store(target, {s});
    CHECK_FALSE(opened(target));
    CHECK(fs::file_size(dir / "target.cleave") == 2 * slot);
}

// --- with a file in memory -----------------------------------------------------------------------

namespace {

using cleave::testing::memory_disk;
using cleave::testing::memory_file;
using memory_journal = cleave::basic_file_journal<memory_file>;
static_assert(cleave::resume_journal<memory_journal>);

std::vector<std::string> calls_since(memory_disk const& disk, std::size_t n) {
    std::vector<std::string> calls;
    for (; n != disk.log().size(); ++n) calls.push_back(disk.log()[n].operation);
    return calls;
}
stored_state opened(memory_disk const& disk) {
    std::error_code ec;
    auto answer = memory_journal{memory_file{disk}}.open("t", ec);
    INFO(ec.message());
    REQUIRE_FALSE(ec);
    return answer;
}

} // namespace

TEST_CASE("file_journal is made durable only where that was wished") {
    random_source random{20};
    auto const state = random_state(random, 3);
    using calls = std::vector<std::string>;
    std::error_code ec;
    memory_disk disk;
    {
        memory_journal j{memory_file{disk}};
        CHECK_FALSE(j.durable());
        static_cast<void>(j.open("t", ec));
        std::size_t const before = disk.log().size();
        j.store(state, ec);
        CHECK(calls_since(disk, before) == calls{"write_at"});
    }
    {
        auto j = memory_journal{memory_file{disk}}.durably();
        CHECK(j.durable());
        CHECK(j.open("t", ec) == state);
        std::size_t const before = disk.log().size();
        j.store(state, ec);
        CHECK(calls_since(disk, before) == calls{"write_at", "sync"});
    }
    CHECK_FALSE(ec);
}

TEST_CASE("file_journal has its room from the start, whatever becomes of the disk") {
    random_source random{23};
    auto const a = random_state(random, 3);
    auto const b = random_state(random, 3);
    memory_disk disk;
    std::error_code ec;
    {
        memory_journal j{memory_file{disk}};
        static_cast<void>(j.open("t", ec));
        disk.capacity(0);
        j.store(a, ec);
        j.store(b, ec);
    }
    CHECK_FALSE(ec);
    CHECK(opened(disk) == b);
}

TEST_CASE("file_journal does without that where it cannot be had") {
    random_source random{24};
    auto const a = random_state(random, 3);
    memory_disk disk;
    disk.fail("allocate", 0, ENOSPC);
    std::error_code ec;
    {
        memory_journal j{memory_file{disk}};
        static_cast<void>(j.open("t", ec));
        CHECK_FALSE(ec);
        j.store(a, ec);
    }
    CHECK_FALSE(ec);
    CHECK(opened(disk) == a);
}

TEST_CASE("a durable file_journal survives a power cut at any call") {
    random_source random{21};
    std::vector<resume_state> states;
    for (int i = 0; i != 4; ++i) states.push_back(random_state(random, 5));
    for (std::size_t cut = 0;; ++cut) {
        memory_disk disk;
        disk.power_fails_at(cut);
        std::size_t stored = 0;
        {
            std::error_code ec;
            auto j = memory_journal{memory_file{disk}}.durably();
            static_cast<void>(j.open("t", ec));
            for (auto const& s : states) {
                if (!ec) j.store(s, ec);
                if (!ec) ++stored;
            }
        }
        disk.crash();
        auto const answer = opened(disk);
        CAPTURE(cut, stored);
        if (stored == 0)
            REQUIRE_FALSE(answer);
        else
            REQUIRE(answer == states[stored - 1]);
        if (stored == states.size()) break;
    }
}

TEST_CASE("file_journal says what went wrong when it stores, and holds nothing it cannot read") {
    random_source random{22};
    auto const a = random_state(random, 3);
    auto const b = random_state(random, 3);
    for (std::string const operation : {"write_at", "sync"}) {
        memory_disk disk;
        std::error_code ec;
        {
            auto j = memory_journal{memory_file{disk}}.durably();
            static_cast<void>(j.open("t", ec));
            j.store(a, ec);
            REQUIRE_FALSE(ec);
            disk.fail(operation, 0, ENOSPC);
            j.store(b, ec);
            CHECK(ec == std::errc::no_space_on_device);
        }
        CHECK(opened(disk) == (operation == "sync" ? b : a));
    }
    memory_disk disk;
    std::error_code ec;
    {
        memory_journal j{memory_file{disk}};
        static_cast<void>(j.open("t", ec));
        j.store(a, ec);
        j.store(b, ec);
    }
    disk.fail("read_at", 1, EIO);
    CHECK(opened(disk) == a);
    disk.fail("read_at", 0, EIO);
    CHECK(opened(disk) == b);
    disk.fail("size", 0, EIO);
    disk.fail("size", 1, EIO);
    CHECK_FALSE(opened(disk));
    CHECK(opened(disk) == b);

    disk.fail("open_journal", 0, EACCES);
    std::error_code denied;
    CHECK_FALSE(memory_journal{memory_file{disk}}.open("t", denied));
    CHECK(denied == std::errc::permission_denied);
}

TEST_CASE("file_journal is told as often as is wished") {
    using namespace cleave::literals;
    using namespace std::chrono_literals;
    file_journal const usual;
    CHECK(usual.interval().bytes == cleave::journal_interval{}.bytes);
    CHECK(usual.interval().time == cleave::journal_interval{}.time);
    auto const rare = file_journal{}.every({64_MiB, 60s}).durably();
    CHECK(rare.interval().bytes == 64_MiB);
    CHECK(rare.interval().time == 60s);
    CHECK(rare.durable());
}
