// SPDX-License-Identifier: BSL-1.0
//
// file_sink keeps the laws of sinks with real files: bytes gather in NAME.part, and NAME becomes
// the whole object in one step or stays what it was. What one run keeps, another goes on with.

#include <cleave/sink/file_sink.hpp>

#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>
#include <support/fork.hpp>
#include <support/temp_dir.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/stat.h>

using cleave::error;
using cleave::file_sink;
using cleave_test::read_file;
using cleave_test::temp_dir;
using cleave_test::write_file;
namespace fs = std::filesystem;

namespace {

cleave_test::visible_bytes bytes_of(fs::path const& path) {
    if (!fs::exists(fs::symlink_status(path))) return std::nullopt;
    std::string const text = read_file(path);
    auto const bytes = std::as_bytes(std::span{text});
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
}

void put(file_sink& sink, std::uint64_t at, std::string_view text) {
    std::error_code ec;
    auto const to = sink.prepare(at, text.size(), ec);
    REQUIRE(to.size() == text.size());
    std::ranges::copy(std::as_bytes(std::span{text}), to.begin());
    sink.commit(at, text.size(), ec);
    REQUIRE_FALSE(ec);
}

} // namespace

TEST_CASE("file_sink keeps the laws of sinks") {
    temp_dir const dir;
    cleave_test::random_source random{1};
    for (int i = 0; i < 60; ++i) {
        CAPTURE(i);
        cleave_test::sink_run const run{
            .size = random.chance(10) ? 0 : 1 + random.below(random.chance(10) ? 900'000 : 3000),
            .size_known = random.chance(50),
            .openings = static_cast<unsigned>(1 + random.below(3)),
            .portion = random.chance(50) ? 700U : 400'000U,
            .publish = random.chance(70)};
        fs::path const name = dir / "file";
        // Some other file may be there already.
        if (random.chance(50)) write_file(name, "what was there before");
        {
            file_sink sink(name.string());
            REQUIRE(cleave_test::broken_sink(sink, run, random, [&] { return bytes_of(name); }) ==
                    "");
        }
        REQUIRE_FALSE(fs::exists(dir / "file.part"));
        fs::remove(name);
    }
}

TEST_CASE("file_sink keeps the laws of resumable sinks") {
    temp_dir const dir;
    cleave_test::random_source random{2};
    for (int i = 0; i < 60; ++i) {
        CAPTURE(i);
        fs::path const name = dir / "file";
        if (random.chance(50)) write_file(name, "before");
        std::uint64_t const size = 10 + random.below(random.chance(10) ? 900'000 : 3000);
        REQUIRE(cleave_test::broken_resuming([&] { return file_sink(name.string()); }, size, random,
                                             [&] { return bytes_of(name); }) == "");
        REQUIRE_FALSE(fs::exists(dir / "file.part"));
        fs::remove(name);
    }
}

TEST_CASE("a file_sink gathers its bytes in NAME.part, as long as the object from the start") {
    temp_dir const dir;
    file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.check(ec);
    // Looking changes nothing.
    CHECK(fs::is_empty(dir.path()));
    sink.open(1000, ec);
    REQUIRE_FALSE(ec);
    CHECK(fs::file_size(dir / "file.part") == 1000);
    put(sink, 990, "0123456789");
    put(sink, 0, "abc");
    CHECK_FALSE(fs::exists(dir / "file"));
    CHECK(read_file(dir / "file.part").substr(990) == "0123456789");
    sink.sync(1000, ec);
    sink.publish(ec);
    REQUIRE_FALSE(ec);
    CHECK_FALSE(fs::exists(dir / "file.part"));
    CHECK(read_file(dir / "file").substr(0, 4) == std::string_view("abc\0", 4));
    CHECK(sink.target() == (dir / "file").string());
}

TEST_CASE("a file_sink cuts what an object without a length did not need") {
    temp_dir const dir;
    file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(std::nullopt, ec);
    put(sink, 0, "0123456789");
    // The last five were a mistake of the server's.
    sink.sync(5, ec);
    sink.publish(ec);
    CHECK_FALSE(ec);
    CHECK(read_file(dir / "file") == "01234");
}

TEST_CASE("a file_sink that is opened again has forgotten everything") {
    temp_dir const dir;
    file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(100, ec);
    put(sink, 50, "old");
    sink.open(10, ec);
    REQUIRE_FALSE(ec);
    CHECK(read_file(dir / "file.part") == std::string(10, '\0'));
    sink.open(std::nullopt, ec);
    CHECK(fs::file_size(dir / "file.part") == 0);
    sink.abandon();
    CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("a partial that an earlier run left is taken over and emptied (K08)") {
    temp_dir const dir;
    write_file(dir / "file.part", std::string(5000, 'x'));
    file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(10, ec);
    REQUIRE_FALSE(ec);
    CHECK(read_file(dir / "file.part") == std::string(10, '\0'));
    sink.abandon();
}

TEST_CASE("a second sink for the same target is refused, and harms nothing (J09)") {
    temp_dir const dir;
    std::error_code ec;
    file_sink first((dir / "file").string());
    first.open(10, ec);
    put(first, 0, "0123456789");
    {
        file_sink second((dir / "file").string());
        second.check(ec);
        CHECK_FALSE(ec);
        second.open(20, ec);
        CHECK(ec == error::target_busy);
        second.abandon();
    }
    CHECK(read_file(dir / "file.part") == "0123456789");
    ec.clear();
    first.sync(10, ec);
    first.publish(ec);
    CHECK_FALSE(ec);
    CHECK(read_file(dir / "file") == "0123456789");
}

TEST_CASE("targets that no file can take the place of are refused before anything connects (I07)") {
    temp_dir const dir;
    fs::create_directory(dir / "directory");
    write_file(dir / "other", "other");
    fs::create_symlink(dir / "other", dir / "link");
    std::error_code ec;
    file_sink((dir / "directory").string()).check(ec);
    CHECK(ec == error::target_is_directory);
    ec.clear();
    file_sink((dir / "link").string()).check(ec);
    CHECK(ec == error::target_not_regular);
    CHECK(read_file(dir / "other") == "other");
}

TEST_CASE("a partial that is a link leads nowhere (I07)") {
    temp_dir const dir;
    write_file(dir / "precious", "precious");
    fs::create_symlink(dir / "precious", dir / "file.part");
    file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(10, ec);
    CHECK(ec == error::target_not_regular);
    sink.abandon();
    CHECK(read_file(dir / "precious") == "precious");
    CHECK(fs::is_symlink(dir / "file.part"));
}

TEST_CASE("an abandoned file_sink removes its own partial only (J07)") {
    temp_dir const dir;
    write_file(dir / "file", "what was there before");
    file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(10, ec);
    SECTION("its own") {
        sink.abandon();
        CHECK_FALSE(fs::exists(dir / "file.part"));
        sink.abandon();
    }
    SECTION("somebody else's") {
        fs::remove(dir / "file.part");
        write_file(dir / "file.part", "a stranger's");
        sink.abandon();
        CHECK(read_file(dir / "file.part") == "a stranger's");
    }
    CHECK(read_file(dir / "file") == "what was there before");
}

TEST_CASE("a file_sink that was never opened abandons nothing") {
    temp_dir const dir;
    write_file(dir / "file.part", "a stranger's");
    file_sink sink((dir / "file").string());
    sink.abandon();
    CHECK(read_file(dir / "file.part") == "a stranger's");
}

TEST_CASE("a file_sink may be moved while nobody uses it") {
    temp_dir const dir;
    std::error_code ec;
    file_sink first((dir / "file").string());
    first.open(3, ec);
    file_sink sink = std::move(first);
    first.abandon();
    put(sink, 0, "abc");
    sink.sync(3, ec);
    sink.publish(ec);
    CHECK_FALSE(ec);
    CHECK(read_file(dir / "file") == "abc");
}

// ---- what another run left ----------------------------------------------------------------

TEST_CASE("a file_sink takes over a partial of just that size, and no other") {
    temp_dir const dir;
    std::error_code ec;
    file_sink sink((dir / "file").string());
    bool const all = GENERATE(false, true);
    SECTION("none") {
        sink.reopen(10, all, ec);
        CHECK(ec == std::errc::no_such_file_or_directory);
        sink.keep();
        CHECK(fs::is_empty(dir.path()));
    }
    SECTION("of another size: also where the target is what is wanted") {
        write_file(dir / "file", "0123456789");
        std::string const left = GENERATE("", "012345678", "0123456789a");
        write_file(dir / "file.part", left);
        sink.reopen(10, all, ec);
        CHECK(ec == error::partial_replaced);
        CHECK(read_file(dir / "file.part") == left);
        ec.clear();
        sink.open(3, ec);
        CHECK_FALSE(ec);
        CHECK(fs::file_size(dir / "file.part") == 3);
        sink.abandon();
        CHECK_FALSE(fs::exists(dir / "file.part"));
        CHECK(read_file(dir / "file") == "0123456789");
    }
    SECTION("of that size") {
        write_file(dir / "file.part", "0123456789");
        sink.reopen(10, all, ec);
        REQUIRE_FALSE(ec);
        put(sink, 3, "abc");
        CHECK(read_file(dir / "file.part") == "012abc6789");
        sink.sync(10, ec);
        sink.publish(ec);
        CHECK_FALSE(ec);
        CHECK(read_file(dir / "file") == "012abc6789");
    }
    SECTION("of that size, abandoned") {
        write_file(dir / "file.part", "0123456789");
        sink.reopen(10, all, ec);
        sink.abandon();
        CHECK_FALSE(ec);
        CHECK(fs::is_empty(dir.path()));
    }
}

TEST_CASE("a file_sink takes over nothing that is no partial of ours (I07)") {
    temp_dir const dir;
    std::error_code ec;
    write_file(dir / "precious", "0123456789");
    file_sink sink((dir / "file").string());
    fs::path const part = dir / "file.part";
    bool const all = GENERATE(false, true);
    SECTION("a link") {
        fs::create_symlink(dir / "precious", part);
        sink.reopen(10, all, ec);
        CHECK(ec == error::target_not_regular);
    }
    SECTION("a second name") {
        fs::create_hard_link(dir / "precious", part);
        sink.reopen(10, all, ec);
        CHECK(ec == error::target_not_regular);
    }
    SECTION("a pipe") {
        REQUIRE(::mkfifo(part.c_str(), 0600) == 0);
        sink.reopen(0, all, ec);
        CHECK(ec == error::target_not_regular);
    }
    SECTION("a directory") {
        fs::create_directory(part);
        sink.reopen(10, all, ec);
        CHECK(ec == error::target_is_directory);
    }
    SECTION("what another process has") {
        write_file(part, "0123456789");
        file_sink first((dir / "file").string());
        first.reopen(10, false, ec);
        REQUIRE_FALSE(ec);
        CHECK(cleave_test::in_child([&] {
                  sink.reopen(10, all, ec);
                  sink.abandon();
                  return ec == error::target_busy ? 1 : 0;
              }) == 1);
        put(first, 0, "9");
        CHECK(read_file(part) == "9123456789");
    }
    sink.abandon();
    CHECK(fs::exists(fs::symlink_status(part)));
    CHECK(read_file(dir / "precious") == "0123456789");
}

TEST_CASE("what was published already is only read, and never removed") {
    temp_dir const dir;
    std::error_code ec;
    write_file(dir / "file", "0123456789");
    file_sink sink((dir / "file").string());
    SECTION("if it may be") {
        sink.reopen(10, false, ec);
        CHECK(ec == std::errc::no_such_file_or_directory);
    }
    SECTION("if it has the size") {
        sink.reopen(11, true, ec);
        CHECK(ec == error::partial_replaced);
    }
    SECTION("if it is a file") {
        fs::rename(dir / "file", dir / "other");
        fs::create_symlink(dir / "other", dir / "file");
        sink.reopen(10, true, ec);
        CHECK(ec == error::target_not_regular);
        fs::rename(dir / "other", dir / "file");
    }
    SECTION("whatever is tried") {
        sink.reopen(10, true, ec);
        REQUIRE_FALSE(ec);
        auto const to = sink.prepare(0, 1, ec);
        REQUIRE_FALSE(to.empty());
        to[0] = std::byte{'x'};
        sink.commit(0, 1, ec);
        CHECK(ec == std::errc::bad_file_descriptor);
        ec.clear();
        sink.write(0, to.first(1), ec);
        CHECK(ec == std::errc::bad_file_descriptor);
        ec.clear();
        sink.flush(ec);
        // As long as it is, whatever is said.
        sink.sync(5, ec);
        sink.publish(ec);
        sink.publish(ec);
        CHECK_FALSE(ec);
    }
    SECTION("also where its rights forbid writing") {
        fs::permissions(dir / "file", fs::perms::owner_read);
        sink.reopen(10, true, ec);
        sink.sync(10, ec);
        sink.publish(ec);
        CHECK_FALSE(ec);
    }
    sink.abandon();
    sink.abandon();
    CHECK(read_file(dir / "file") == "0123456789");
    CHECK_FALSE(fs::exists(dir / "file.part"));
}

TEST_CASE("a file_sink keeps what is there, also nothing") {
    temp_dir const dir;
    std::error_code ec;
    file_sink sink((dir / "file").string());
    sink.keep();
    CHECK(fs::is_empty(dir.path()));
    sink.open(5, ec);
    put(sink, 0, "01234");
    sink.keep();
    sink.keep();
    sink.abandon(); // it has nothing any more
    CHECK(read_file(dir / "file.part") == "01234");
    CHECK_FALSE(fs::exists(dir / "file"));
    // And it can be used again.
    sink.reopen(5, false, ec);
    CHECK_FALSE(ec);
    sink.keep();
    sink.open(2, ec);
    CHECK_FALSE(ec);
    CHECK(fs::file_size(dir / "file.part") == 2);
}

TEST_CASE("a file_sink that was never opened publishes nothing") {
    temp_dir const dir;
    write_file(dir / "file.part", "0123456789");
    std::error_code ec;
    file_sink sink((dir / "file").string());
    sink.publish(ec);
    CHECK(ec);
    CHECK_FALSE(fs::exists(dir / "file"));
}

// ---- with a file that does as it is told --------------------------------------------------

namespace {

struct faults {
    std::error_code open, reopen, finished, size, allocate, write, read, resize, sync, publish;
    std::string calls;
    std::byte const* written_from = nullptr;
};

struct faulty_file {
    faults* f = nullptr;

    static void say(std::error_code const& from, std::error_code& ec) {
        if (from) ec = from;
    }
    void check_target(std::string const&, std::error_code&) const { f->calls += "check "; }
    void open_partial(std::string const& p, std::error_code& ec) {
        f->calls += "open:" + p + " ";
        say(f->open, ec);
    }
    void reopen_partial(std::string const& p, std::error_code& ec) {
        f->calls += "reopen:" + p + " ";
        say(f->reopen, ec);
    }
    void open_finished(std::string const& t, std::error_code& ec) {
        f->calls += "finished:" + t + " ";
        say(f->finished, ec);
    }
    void open_journal(std::string const&, std::error_code&) { f->calls += "journal "; }
    std::uint64_t size(std::error_code& ec) const {
        f->calls += "size ";
        say(f->size, ec);
        return ec ? 0 : 10;
    }
    void allocate(std::uint64_t n, std::error_code& ec) {
        f->calls += "allocate:" + std::to_string(n) + " ";
        say(f->allocate, ec);
    }
    void write_at(std::uint64_t at, std::span<std::byte const> b, std::error_code& ec) {
        f->calls += "write:" + std::to_string(at) + "+" + std::to_string(b.size()) + " ";
        f->written_from = b.data();
        say(f->write, ec);
    }
    void read_at(std::uint64_t, std::span<std::byte>, std::error_code& ec) const {
        f->calls += "read ";
        say(f->read, ec);
    }
    void resize(std::uint64_t n, std::error_code& ec) {
        f->calls += "resize:" + std::to_string(n) + " ";
        say(f->resize, ec);
    }
    void sync(std::error_code& ec) {
        f->calls += "sync ";
        say(f->sync, ec);
    }
    void publish(std::string const& t, std::error_code& ec) {
        f->calls += "publish:" + t + " ";
        say(f->publish, ec);
    }
    void discard() noexcept { f->calls += "discard "; }
    void close() noexcept { f->calls += "close "; }
};
using faulty_sink = cleave::basic_file_sink<faulty_file>;
static_assert(cleave::byte_sink<faulty_sink>);

} // namespace

TEST_CASE("a file_sink asks its file for one thing after the other") {
    faults f;
    faulty_sink sink("t", faulty_file{&f});
    std::error_code ec;
    sink.check(ec);
    sink.open(10, ec);
    CHECK(sink.prepare(3, 1 << 30, ec).size() >= 64 * 1024);
    sink.commit(3, 2, ec);
    std::byte const elsewhere[4]{};
    sink.write(5, elsewhere, ec);
    // As it lies: without a way through the buffer.
    CHECK(f.written_from == elsewhere);
    sink.sync(10, ec);
    sink.publish(ec);
    CHECK_FALSE(ec);
    CHECK(f.calls == "check open:t.part allocate:10 write:3+2 write:5+4 resize:10 sync publish:t ");
}

TEST_CASE("a file_sink that goes on asks its file for one thing after the other") {
    faults f;
    faulty_sink sink("t", faulty_file{&f});
    std::error_code ec;
    SECTION("with a partial") {
        sink.reopen(10, true, ec);
        CHECK(sink.prepare(3, 2, ec).size() == 2);
        sink.flush(ec);
        sink.sync(10, ec);
        sink.publish(ec);
        CHECK(f.calls == "reopen:t.part size allocate:10 sync resize:10 sync publish:t ");
    }
    SECTION("with a partial that is kept") {
        sink.reopen(10, false, ec);
        sink.keep();
        CHECK(f.calls == "reopen:t.part size allocate:10 close ");
    }
    SECTION("with a partial, from the start") {
        sink.reopen(10, false, ec);
        sink.open(7, ec);
        CHECK(f.calls == "reopen:t.part size allocate:10 resize:0 allocate:7 ");
    }
    SECTION("with what was published") {
        f.reopen = {ENOENT, std::system_category()};
        sink.reopen(10, true, ec);
        sink.sync(10, ec);
        sink.publish(ec);
        sink.abandon();
        CHECK(f.calls == "reopen:t.part finished:t size sync close ");
    }
    SECTION("with what was published, from the start") {
        f.reopen = {ENOENT, std::system_category()};
        sink.reopen(10, true, ec);
        sink.open(7, ec);
        CHECK(f.calls == "reopen:t.part finished:t size open:t.part allocate:7 ");
    }
    CHECK_FALSE(ec);
}

TEST_CASE("what a file says went wrong, a file_sink says too (J01, J04)") {
    faults f;
    faulty_sink sink("t", faulty_file{&f});
    std::error_code const full{ENOSPC, std::system_category()};
    std::error_code const broken{EIO, std::system_category()};
    std::error_code ec;
    std::byte byte{};
    SECTION("opening") {
        f.open = full;
        sink.open(10, ec);
        CHECK(ec == full);
        // What could not be opened is not made longer either.
        CHECK(f.calls == "open:t.part ");
    }
    SECTION("making room") {
        f.allocate = full;
        sink.open(10, ec);
        CHECK(ec == full);
    }
    SECTION("opening again") {
        sink.open(10, ec);
        f.resize = broken;
        f.calls.clear();
        sink.open(10, ec);
        CHECK(ec == broken);
        CHECK(f.calls == "resize:0 ");
    }
    SECTION("taking over: then nothing is, and it can begin") {
        std::string expected = "reopen:t.part ";
        SECTION("opening, where it does not mean that there is none") { f.reopen = broken; }
        SECTION("opening what was published") {
            f.reopen = {ENOENT, std::system_category()};
            f.finished = broken;
            expected += "finished:t ";
        }
        SECTION("asking for its size") {
            f.size = broken;
            expected += "size ";
        }
        SECTION("making room") {
            f.allocate = broken;
            expected += "size allocate:10 ";
        }
        sink.reopen(10, true, ec);
        CHECK(ec == broken);
        CHECK(f.calls == expected + "close ");
        ec.clear();
        f = {};
        sink.open(10, ec);
        CHECK_FALSE(ec);
        CHECK(f.calls == "open:t.part allocate:10 ");
    }
    SECTION("flushing") {
        sink.open(10, ec);
        f.sync = broken;
        sink.flush(ec);
        CHECK(ec == broken);
    }
    SECTION("writing") {
        sink.open(10, ec);
        f.write = full;
        (void)sink.prepare(0, 1, ec);
        sink.commit(0, 1, ec);
        CHECK(ec == full);
    }
    SECTION("writing what lies elsewhere") {
        sink.open(10, ec);
        f.write = full;
        sink.write(0, {&byte, 1}, ec);
        CHECK(ec == full);
    }
    SECTION("reading") {
        sink.open(10, ec);
        f.read = broken;
        sink.read(0, {&byte, 1}, ec);
        CHECK(ec == broken);
    }
    SECTION("cutting: then nothing is synced") {
        sink.open(10, ec);
        f.resize = broken;
        f.calls.clear();
        sink.sync(10, ec);
        CHECK(ec == broken);
        CHECK(f.calls == "resize:10 ");
    }
    SECTION("syncing: it is asked once, never again (fsync forgets)") {
        sink.open(10, ec);
        f.sync = broken;
        f.calls.clear();
        sink.sync(10, ec);
        CHECK(ec == broken);
        CHECK(f.calls == "resize:10 sync ");
    }
    SECTION("publishing") {
        sink.open(10, ec);
        f.publish = broken;
        sink.publish(ec);
        CHECK(ec == broken);
    }
}
