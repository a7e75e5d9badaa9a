// SPDX-License-Identifier: BSL-1.0
//
// file_sink keeps the laws of sinks with real files: bytes gather in NAME.part, and NAME becomes
// the whole object in one step or stays what it was.

#include <cleave/sink/file_sink.hpp>

#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>
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

// ---- with a file that does as it is told --------------------------------------------------

namespace {

struct faults {
    std::error_code open, allocate, write, read, resize, sync, publish;
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
