// SPDX-License-Identifier: BSL-1.0
//
// posix_file with real files, processes, limits and small disks: what is written is what is read,
// one process at a time has a target, nobody else's file is ever touched, and the target is the
// whole file or what it was before (H02, I07, J01 to J09).

#include <cleave/os/posix_file.hpp>

#include <laws/file_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>
#include <support/fork.hpp>
#include <support/temp_dir.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

using cleave::error;
using cleave::posix_file;
using cleave_test::in_child;
using cleave_test::read_file;
using cleave_test::temp_dir;
using cleave_test::write_file;
namespace fs = std::filesystem;

namespace {

std::span<std::byte const> bytes(std::string_view text) { return std::as_bytes(std::span{text}); }

posix_file opened(fs::path const& path) {
    posix_file f;
    std::error_code ec;
    f.open_partial(path.string(), ec);
    INFO(ec.message());
    REQUIRE_FALSE(ec);
    return f;
}
void write(posix_file& f, std::uint64_t at, std::string_view text) {
    std::error_code ec;
    f.write_at(at, bytes(text), ec);
    INFO(ec.message());
    REQUIRE_FALSE(ec);
}
std::string read(posix_file const& f, std::uint64_t at, std::size_t n) {
    std::string to(n, '?');
    std::error_code ec;
    f.read_at(at, std::as_writable_bytes(std::span{to}), ec);
    INFO(ec.message());
    REQUIRE_FALSE(ec);
    return to;
}
std::error_code check(fs::path const& target) {
    std::error_code ec;
    posix_file{}.check_target(target.string(), ec);
    return ec;
}

// A number for what happened, that fits an exit code.
int number(std::error_code ec) {
    if (!ec) return 0;
    if (ec.category() == cleave::error_category()) return 99;
    return ec.value() < 99 ? ec.value() : 98;
}
// Root may do anything: only somebody else meets permissions.
bool become_nobody() { return ::getuid() != 0 || (::setgid(65534) == 0 && ::setuid(65534) == 0); }

} // namespace

// ---- bytes --------------------------------------------------------------------------------

TEST_CASE("what is written anywhere is what is read there") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    std::vector<std::byte> model(100'000);
    cleave_test::random_source random{1};
    std::error_code ec;
    f.resize(model.size(), ec);
    for (int i = 0; i < 300; ++i) {
        auto const s = random.within({0, model.size() - 1});
        auto const at = static_cast<std::size_t>(s.first);
        auto const n = static_cast<std::size_t>(s.size());
        if (random.chance(50)) {
            for (std::size_t k = at; k < at + n; ++k) model[k] = static_cast<std::byte>(random());
            f.write_at(s.first, std::span{model}.subspan(at, n), ec);
        } else {
            std::vector<std::byte> back(n);
            f.read_at(s.first, back, ec);
            REQUIRE(std::equal(back.begin(), back.end(),
                               model.begin() + static_cast<std::ptrdiff_t>(at)));
        }
        REQUIRE_FALSE(ec);
    }
    f.sync(ec);
    CHECK_FALSE(ec);
}

TEST_CASE("offsets reach beyond 2, 4 and 5 GiB (H02)") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    std::error_code ec;
    for (std::uint64_t const edge :
         {std::uint64_t{1} << 31, std::uint64_t{1} << 32, std::uint64_t{5} << 30}) {
        CAPTURE(edge);
        write(f, edge - 3, "abcdef");
        CHECK(read(f, edge - 3, 6) == "abcdef");
        CHECK(fs::file_size(dir / "p") == edge + 3);
    }
    CHECK(read(f, (std::uint64_t{1} << 32) - 1, 2) == "cd");
    CHECK(read(f, 0, 4) == std::string(4, '\0'));
    // It is sparse: only a few blocks are there.
    cleave::detail::file_calls::status found{};
    REQUIRE(cleave::detail::file_calls::status_at((dir / "p").c_str(), found) == 0);
    CHECK(found.st_blocks < 1000);
    f.resize((std::uint64_t{1} << 32) + 1, ec);
    CHECK_FALSE(ec);
    CHECK(fs::file_size(dir / "p") == (std::uint64_t{1} << 32) + 1);
    CHECK(read(f, (std::uint64_t{1} << 32) - 3, 4) == "abcd");
}

TEST_CASE("offsets and sizes that no file can have are errors, never wrapped (H03)") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    constexpr auto most =
        static_cast<std::uint64_t>(std::numeric_limits<cleave::detail::file_calls::offset>::max());
    for (std::uint64_t const at : {most, most + 1, std::uint64_t{1} << 63, cleave::max_offset}) {
        CAPTURE(at);
        std::error_code ec;
        f.write_at(at, bytes("ab"), ec);
        CHECK(ec);
        if (at == most) continue;
        ec.clear();
        f.allocate(at, ec);
        CHECK(ec == std::errc::file_too_large);
        ec.clear();
        f.resize(at, ec);
        CHECK(ec == std::errc::file_too_large);
        ec.clear();
        std::byte byte{};
        f.read_at(at, {&byte, 1}, ec);
        CHECK(ec);
    }
    CHECK(fs::file_size(dir / "p") == 0);
}

TEST_CASE("room is made for as many bytes as are asked for (J02)") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    std::error_code ec;
    f.allocate(0, ec);
    CHECK_FALSE(ec);
    CHECK(fs::file_size(dir / "p") == 0);
    f.allocate(1'000'001, ec);
    REQUIRE_FALSE(ec);
    CHECK(fs::file_size(dir / "p") == 1'000'001);
    CHECK(read(f, 999'999, 2) == std::string(2, '\0'));
}

TEST_CASE("what is put into the memory of a file is in the file, and the other way round") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    std::error_code ec;
    f.allocate(10'000, ec);
    cleave::mapping const memory = f.map(10'000, ec);
    REQUIRE_FALSE(ec);
    REQUIRE(memory.bytes().size() == 10'000);
    write(f, 5000, "abc");
    CHECK(memory.bytes()[5001] == std::byte{'b'});
    memory.bytes()[5001] = std::byte{'B'};
    CHECK(read(f, 5000, 3) == "aBc");
    CHECK(read_file(dir / "p").substr(5000, 3) == "aBc");
}

TEST_CASE("a file that is not open has no memory") {
    std::error_code ec;
    cleave::mapping const memory = posix_file{}.map(10, ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    CHECK(memory.bytes().empty());
}

TEST_CASE("a file that is shorter than it was is noticed when reading (J03)") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    write(f, 0, "0123456789");
    fs::resize_file(dir / "p", 5);
    std::string to(10, '?');
    std::error_code ec;
    f.read_at(0, std::as_writable_bytes(std::span{to}), ec);
    CHECK(ec == error::partial_replaced);
    ec.clear();
    f.read_at(100, std::as_writable_bytes(std::span{to}.first(1)), ec);
    CHECK(ec == error::partial_replaced);
    CHECK(read(f, 0, 5) == "01234");
}

TEST_CASE("nothing is read and written without an error") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    std::error_code ec;
    f.write_at(0, {}, ec);
    f.read_at(7, {}, ec);
    CHECK_FALSE(ec);
    CHECK(fs::file_size(dir / "p") == 0);
}

// ---- the partial --------------------------------------------------------------------------

TEST_CASE("opening creates a partial, or takes over the one that is there, emptied") {
    temp_dir const dir;
    {
        posix_file f = opened(dir / "p");
        CHECK(fs::is_regular_file(dir / "p"));
        write(f, 0, "something");
    }
    // Closing leaves it where it is.
    CHECK(read_file(dir / "p") == "something");
    posix_file f = opened(dir / "p");
    CHECK(fs::file_size(dir / "p") == 0);
}

TEST_CASE("an open file is closed when another one is opened") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    std::error_code ec;
    f.open_partial((dir / "q").string(), ec);
    REQUIRE_FALSE(ec);
    posix_file other = opened(dir / "p"); // so it is free
    f.discard();
    CHECK(fs::exists(dir / "p"));
    CHECK_FALSE(fs::exists(dir / "q"));
}

TEST_CASE("a partial has one owner at a time (J09)") {
    temp_dir const dir;
    std::string const path = (dir / "p").string();
    auto const try_it = [&] {
        posix_file other;
        std::error_code ec;
        other.open_partial(path, ec);
        other.discard();
        return ec == error::target_busy ? 1 : number(ec);
    };
    {
        posix_file f = opened(path);
        write(f, 0, "mine");
        // In this process and in another.
        CHECK(try_it() == 1);
        CHECK(in_child(try_it) == 1);
        CHECK(in_child(try_it) == 1);
        CHECK(read_file(path) == "mine");
        // Nor does a process that inherits the file let go of it by ending.
        CHECK(in_child([] { return 0; }) == 0);
        CHECK(try_it() == 1);
    }
    CHECK(in_child(try_it) == 0);
    CHECK_FALSE(fs::exists(path));
}

TEST_CASE("a partial is never reached through a link (I07)") {
    temp_dir const dir;
    write_file(dir / "precious", "precious");
    posix_file f;
    std::error_code ec;
    SECTION("to a file") {
        fs::create_symlink(dir / "precious", dir / "p");
        f.open_partial((dir / "p").string(), ec);
        CHECK(ec == error::target_not_regular);
    }
    SECTION("to nothing") {
        fs::create_symlink(dir / "new", dir / "p");
        f.open_partial((dir / "p").string(), ec);
        CHECK(ec == error::target_not_regular);
        CHECK_FALSE(fs::exists(dir / "new"));
    }
    SECTION("to a directory") {
        fs::create_directory(dir / "directory");
        fs::create_symlink(dir / "directory", dir / "p");
        f.open_partial((dir / "p").string(), ec);
        CHECK(ec);
    }
    f.discard();
    CHECK(read_file(dir / "precious") == "precious");
    CHECK(fs::is_symlink(dir / "p"));
}

TEST_CASE("a partial that is another file's second name is not emptied (I07)") {
    temp_dir const dir;
    write_file(dir / "precious", "precious");
    fs::create_hard_link(dir / "precious", dir / "p");
    posix_file f;
    std::error_code ec;
    f.open_partial((dir / "p").string(), ec);
    CHECK(ec == error::target_not_regular);
    CHECK(read_file(dir / "precious") == "precious");
}

TEST_CASE("a partial that is no file is refused (I07)") {
    temp_dir const dir;
    posix_file f;
    std::error_code ec;
    SECTION("a directory") {
        fs::create_directory(dir / "p");
        f.open_partial((dir / "p").string(), ec);
        CHECK(ec);
        CHECK(fs::is_directory(dir / "p"));
    }
    SECTION("a pipe") {
        // Nor does anybody wait for somebody to open its other end.
        REQUIRE(::mkfifo((dir / "p").c_str(), 0600) == 0);
        f.open_partial((dir / "p").string(), ec);
        CHECK(ec == error::target_not_regular);
        CHECK(fs::is_fifo(dir / "p"));
    }
    SECTION("below a file") {
        write_file(dir / "p", "file");
        f.open_partial((dir / "p" / "q").string(), ec);
        CHECK(ec == std::errc::not_a_directory);
    }
    SECTION("in no directory") {
        f.open_partial((dir / "none" / "p").string(), ec);
        CHECK(ec == std::errc::no_such_file_or_directory);
    }
    SECTION("a name without end") {
        f.open_partial((dir / std::string(300, 'x')).string(), ec);
        CHECK(ec == std::errc::filename_too_long);
    }
    f.discard();
}

TEST_CASE("discarding removes the partial, once, and only one's own (J07)") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    SECTION("its own") {
        f.discard();
        CHECK_FALSE(fs::exists(dir / "p"));
        write_file(dir / "p", "a stranger's");
        f.discard();
        CHECK(read_file(dir / "p") == "a stranger's");
    }
    SECTION("replaced by another") {
        write_file(dir / "q", "a stranger's");
        fs::rename(dir / "q", dir / "p");
        f.discard();
        CHECK(read_file(dir / "p") == "a stranger's");
    }
    SECTION("renamed by somebody") {
        fs::rename(dir / "p", dir / "q");
        f.discard();
        CHECK(fs::exists(dir / "q"));
    }
    SECTION("replaced by a link to itself") {
        fs::rename(dir / "p", dir / "q");
        fs::create_symlink(dir / "q", dir / "p");
        f.discard();
        CHECK(fs::is_symlink(dir / "p"));
        CHECK(fs::exists(dir / "q"));
    }
}

// ---- taking over --------------------------------------------------------------------------

TEST_CASE("posix_file keeps the laws of files") {
    temp_dir const dir;
    CHECK(cleave_test::broken_file([] { return posix_file{}; }, dir.path().string() + "/") == "");
    CHECK(fs::file_size(dir / "file") == 10); // what they published
}

namespace {

using opening = void (posix_file::*)(std::string const&, std::error_code&);

std::error_code open(opening how, fs::path const& path) {
    posix_file f;
    std::error_code ec;
    (f.*how)(path.string(), ec);
    f.discard();
    return ec;
}

} // namespace

TEST_CASE("nothing is taken over that is no file, or reached through a link (I07)") {
    temp_dir const dir;
    opening const how =
        GENERATE(opening{&posix_file::open_partial}, opening{&posix_file::reopen_partial},
                 opening{&posix_file::open_finished}, opening{&posix_file::open_journal});
    write_file(dir / "precious", "precious");
    SECTION("links") {
        fs::create_symlink(dir / "precious", dir / "p");
        CHECK(open(how, dir / "p") == error::target_not_regular);
        fs::create_directory(dir / "directory");
        fs::create_symlink(dir / "directory", dir / "q");
        CHECK(open(how, dir / "q") == error::target_not_regular);
        fs::create_symlink(dir / "new", dir / "r");
        CHECK(open(how, dir / "r") == error::target_not_regular);
        CHECK_FALSE(fs::exists(dir / "new"));
        CHECK(fs::is_symlink(dir / "p"));
    }
    SECTION("a directory") {
        fs::create_directory(dir / "p");
        CHECK(open(how, dir / "p") == error::target_is_directory);
        CHECK(fs::is_directory(dir / "p"));
    }
    SECTION("a pipe: without waiting for its other end") {
        REQUIRE(::mkfifo((dir / "p").c_str(), 0600) == 0);
        CHECK(open(how, dir / "p") == error::target_not_regular);
        CHECK(fs::is_fifo(dir / "p"));
    }
    SECTION("a socket") {
        int const s = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un at{};
        at.sun_family = AF_UNIX;
        std::string const path = (dir / "p").string();
        REQUIRE(path.size() < sizeof at.sun_path);
        std::ranges::copy(path, at.sun_path);
        void* const address = &at;
        REQUIRE(::bind(s, static_cast<sockaddr*>(address), sizeof at) == 0);
        ::close(s);
        CHECK(open(how, path) == error::target_not_regular);
        CHECK(fs::is_socket(path));
    }
    SECTION("a device") {
        CHECK(open(how, "/dev/null") == error::target_not_regular);
        CHECK(fs::exists("/dev/null"));
    }
    SECTION("in no directory") {
        CHECK(open(how, dir / "none" / "p") == std::errc::no_such_file_or_directory);
    }
    CHECK(read_file(dir / "precious") == "precious");
}

TEST_CASE("what has a second name is another's file; a finished file may have one (I07)") {
    temp_dir const dir;
    write_file(dir / "precious", "precious");
    fs::create_hard_link(dir / "precious", dir / "p");
    CHECK(open(&posix_file::reopen_partial, dir / "p") == error::target_not_regular);
    CHECK(open(&posix_file::open_journal, dir / "p") == error::target_not_regular);
    CHECK_FALSE(open(&posix_file::open_finished, dir / "p"));
    CHECK(read_file(dir / "precious") == "precious");
    CHECK(fs::hard_link_count(dir / "p") == 2);
}

TEST_CASE("what another process has cannot be taken over (J09)") {
    temp_dir const dir;
    write_file(dir / "p", "theirs");
    std::string const path = (dir / "p").string();
    posix_file f;
    std::error_code ec;
    f.reopen_partial(path, ec);
    REQUIRE_FALSE(ec);
    opening const how =
        GENERATE(opening{&posix_file::open_partial}, opening{&posix_file::reopen_partial},
                 opening{&posix_file::open_journal});
    auto const try_it = [&] { return open(how, path) == error::target_busy ? 1 : 0; };
    CHECK(in_child(try_it) == 1);
    CHECK(read_file(path) == "theirs");
    f.close();
    CHECK(in_child(try_it) == 0);
    CHECK_FALSE(fs::exists(path));
}

TEST_CASE("several processes take over, write and remove one partial, and none loses a byte") {
    temp_dir const dir;
    std::string const path = (dir / "p").string();
    // Each adds one to the length; whoever finds no partial begins another.
    auto const contend = [&] {
        for (int done = 0; done < 300;) {
            posix_file f;
            std::error_code ec;
            f.reopen_partial(path, ec);
            if (ec == std::errc::no_such_file_or_directory) {
                ec.clear();
                f.open_partial(path, ec);
            }
            if (ec == error::target_busy) continue;
            if (ec) return 3;
            std::uint64_t const before = f.size(ec);
            if (ec) return 1;
            f.write_at(before, bytes("x"), ec);
            if (ec || f.size(ec) != before + 1) return 2;
            if (before > 20) f.discard();
            ++done;
        }
        return 0;
    };
    std::vector<pid_t> children;
    for (int i = 0; i < 3; ++i) {
        pid_t const child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) ::_exit(contend());
        children.push_back(child);
    }
    for (pid_t const child : children) {
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
}

TEST_CASE("a journal is for its owner only, however it was before") {
    temp_dir const dir;
    auto const mode = [&] { return fs::status(dir / "j").permissions(); };
    constexpr auto owner = fs::perms::owner_read | fs::perms::owner_write;
    auto const journal = [&] {
        posix_file f;
        std::error_code ec;
        f.open_journal((dir / "j").string(), ec);
        f.close();
        return ec;
    };
    mode_t const old = ::umask(0);
    CHECK_FALSE(journal());
    CHECK(mode() == owner);
    ::umask(old);
    write_file(dir / "j", "record");
    for (auto const wider :
         {fs::perms::group_read, fs::perms::others_write, fs::perms::owner_exec}) {
        fs::permissions(dir / "j", owner | wider);
        CHECK_FALSE(journal());
        CHECK(mode() == owner);
    }
    CHECK(read_file(dir / "j") == "record");
}

TEST_CASE("a partial that is taken over keeps its rights") {
    temp_dir const dir;
    write_file(dir / "p", "bytes");
    fs::permissions(dir / "p", fs::perms::owner_all | fs::perms::group_read);
    posix_file f;
    std::error_code ec;
    f.reopen_partial((dir / "p").string(), ec);
    REQUIRE_FALSE(ec);
    CHECK(fs::status(dir / "p").permissions() == (fs::perms::owner_all | fs::perms::group_read));
}

TEST_CASE("making room in a partial that was taken over changes none of its bytes") {
    temp_dir const dir;
    write_file(dir / "p", "");
    fs::resize_file(dir / "p", 1'000'000);
    posix_file f;
    std::error_code ec;
    f.reopen_partial((dir / "p").string(), ec);
    write(f, 500'000, "bytes");
    f.allocate(1'000'000, ec);
    REQUIRE_FALSE(ec);
    CHECK(f.size(ec) == 1'000'000);
    CHECK(read(f, 499'999, 7) == std::string("\0bytes\0", 7));
}

TEST_CASE("the memory of a finished file is read only") {
    temp_dir const dir;
    write_file(dir / "file", "finished");
    posix_file f;
    std::error_code ec;
    f.open_finished((dir / "file").string(), ec);
    cleave::mapping const memory = f.map(8, ec);
    REQUIRE_FALSE(ec);
    CHECK(memory.bytes()[7] == std::byte{'d'});
    CHECK(in_child([&] {
              *static_cast<std::byte volatile*>(memory.bytes().data()) = std::byte{'F'};
              return 0;
          }) == 128 + SIGSEGV);
    CHECK(read_file(dir / "file") == "finished");
}

TEST_CASE("the first sync of a file is its directory's too, later ones are not") {
    temp_dir const dir;
    fs::permissions(dir.path(), fs::perms::all);
    // A directory that may not be read cannot be synced either.
    auto const unreadable = [&] { return ::chmod((dir / "d").c_str(), 0300) == 0; };
    auto const as_nobody = [&](std::function<std::error_code(posix_file&)> const& f) {
        fs::remove_all(dir / "d");
        return in_child([&] {
            if (!become_nobody() || ::mkdir((dir / "d").c_str(), 0700) != 0) return 97;
            write_file(dir / "d" / "p", "bytes");
            posix_file file;
            return number(f(file));
        });
    };
    opening const how =
        GENERATE(opening{&posix_file::open_partial}, opening{&posix_file::reopen_partial},
                 opening{&posix_file::open_finished}, opening{&posix_file::open_journal});
    std::string const path = (dir / "d" / "p").string();
    CHECK(as_nobody([&](posix_file& f) {
              std::error_code ec;
              (f.*how)(path, ec);
              if (ec || !unreadable()) return std::make_error_code(std::errc::bad_message);
              f.sync(ec);
              return ec;
          }) == EACCES);
    CHECK(as_nobody([&](posix_file& f) {
              std::error_code ec;
              (f.*how)(path, ec);
              f.sync(ec);
              if (ec || !unreadable()) return std::make_error_code(std::errc::bad_message);
              f.sync(ec);
              // Nor does it forget that when it is moved.
              posix_file moved = std::move(f);
              if (!ec) moved.sync(ec);
              posix_file assigned;
              assigned = std::move(moved);
              if (!ec) assigned.sync(ec);
              return ec;
          }) == 0);
    // Of another file it knows nothing yet.
    CHECK(as_nobody([&](posix_file& f) {
              std::error_code ec;
              (f.*how)(path, ec);
              f.sync(ec);
              (f.*how)(path, ec);
              if (ec || !unreadable()) return std::make_error_code(std::errc::bad_message);
              f.sync(ec);
              return ec;
          }) == EACCES);
    fs::permissions(dir / "d", fs::perms::owner_all);
}

// ---- the target ---------------------------------------------------------------------------

TEST_CASE("a target is checked without touching it (I07)") {
    temp_dir const dir;
    write_file(dir / "file", "file");
    fs::create_directory(dir / "directory");
    fs::create_symlink(dir / "file", dir / "link");
    fs::create_symlink(dir / "directory", dir / "directory_link");
    fs::create_symlink(dir / "nothing", dir / "broken_link");
    REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);

    CHECK_FALSE(check(dir / "new"));
    CHECK_FALSE(check(dir / "file"));
    CHECK_FALSE(check("a_name_in_this_directory_that_nobody_has"));
    CHECK(check(dir / "directory") == error::target_is_directory);
    CHECK(check((dir / "directory").string() + "/") == error::target_is_directory);
    CHECK(check((dir / "new").string() + "/") == error::target_is_directory);
    CHECK(check("") == error::target_is_directory);
    CHECK(check(".") == error::target_is_directory);
    CHECK(check("/") == error::target_is_directory);
    CHECK(check(dir / "link") == error::target_not_regular);
    CHECK(check(dir / "directory_link") == error::target_not_regular);
    CHECK(check(dir / "broken_link") == error::target_not_regular);
    CHECK(check(dir / "pipe") == error::target_not_regular);
    CHECK(check("/dev/null") == error::target_not_regular);
    CHECK(check(dir / "file" / "below") == std::errc::not_a_directory);
    CHECK(check(dir / std::string(300, 'x')) == std::errc::filename_too_long);

    CHECK_FALSE(fs::exists(dir / "new"));
    CHECK(read_file(dir / "file") == "file");
}

TEST_CASE("a target in a directory that is not there is found before anything connects") {
    temp_dir const dir;
    CHECK(check(dir / "none" / "file") == std::errc::no_such_file_or_directory);
}

TEST_CASE("publishing puts the whole file under its name, new or not") {
    temp_dir const dir;
    bool const replaces = GENERATE(false, true);
    if (replaces) write_file(dir / "file", "what was there before");
    posix_file f = opened(dir / "file.part");
    write(f, 0, "new content");
    std::error_code ec;
    f.sync(ec);
    f.publish((dir / "file").string(), ec);
    REQUIRE_FALSE(ec);
    CHECK(read_file(dir / "file") == "new content");
    CHECK_FALSE(fs::exists(dir / "file.part"));
    // It is no longer ours to remove, and free for others.
    f.discard();
    CHECK(read_file(dir / "file") == "new content");
    posix_file other = opened(dir / "file");
}

TEST_CASE("who has the old file open goes on reading the old one") {
    temp_dir const dir;
    write_file(dir / "file", "old");
    int const fd = ::open((dir / "file").c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    posix_file f = opened(dir / "file.part");
    write(f, 0, "new");
    std::error_code ec;
    f.publish((dir / "file").string(), ec);
    char buffer[4] = {};
    CHECK(::read(fd, buffer, 3) == 3);
    ::close(fd);
    CHECK(buffer == std::string{"old"});
    CHECK(read_file(dir / "file") == "new");
}

TEST_CASE("publishing works in the present directory") {
    temp_dir const dir;
    CHECK(in_child([&] {
              if (::chdir(dir.path().c_str()) != 0) return 97;
              posix_file f;
              std::error_code ec;
              f.open_partial("file.part", ec);
              if (!ec) f.write_at(0, bytes("new"), ec);
              if (!ec) f.publish("file", ec);
              return number(ec);
          }) == 0);
    CHECK(read_file(dir / "file") == "new");
}

TEST_CASE("a partial that somebody replaced is not published, and theirs is left alone (J03)") {
    temp_dir const dir;
    write_file(dir / "file", "what was there before");
    posix_file f = opened(dir / "file.part");
    write(f, 0, "mine");
    std::error_code ec;
    SECTION("by another file") {
        write_file(dir / "stranger", "a stranger's");
        fs::rename(dir / "stranger", dir / "file.part");
        f.publish((dir / "file").string(), ec);
        CHECK(ec == error::partial_replaced);
        f.discard();
        CHECK(read_file(dir / "file.part") == "a stranger's");
    }
    SECTION("by nothing") {
        fs::remove(dir / "file.part");
        f.publish((dir / "file").string(), ec);
        CHECK(ec == error::partial_replaced);
        f.discard();
    }
    SECTION("by a link to it") {
        fs::rename(dir / "file.part", dir / "elsewhere");
        fs::create_symlink(dir / "elsewhere", dir / "file.part");
        f.publish((dir / "file").string(), ec);
        CHECK(ec == error::partial_replaced);
        f.discard();
        CHECK(fs::is_symlink(dir / "file.part"));
    }
    CHECK(read_file(dir / "file") == "what was there before");
}

TEST_CASE("a target that changed its kind meanwhile is not replaced (J07)") {
    temp_dir const dir;
    posix_file f = opened(dir / "file.part");
    write(f, 0, "mine");
    std::error_code ec;
    SECTION("into a directory") {
        fs::create_directory(dir / "file");
        f.publish((dir / "file").string(), ec);
        CHECK(ec == error::target_is_directory);
    }
    SECTION("into a link") {
        write_file(dir / "other", "other");
        fs::create_symlink(dir / "other", dir / "file");
        f.publish((dir / "file").string(), ec);
        CHECK(ec == error::target_not_regular);
        CHECK(read_file(dir / "other") == "other");
    }
    CHECK(read_file(dir / "file.part") == "mine");
    f.discard();
    CHECK_FALSE(fs::exists(dir / "file.part"));
}

TEST_CASE("publishing to another disk is an error, not a copy (J07)") {
    temp_dir const dir;
    struct stat here {};
    struct stat there {};
    REQUIRE(::stat(dir.path().c_str(), &here) == 0);
    if (::stat("/dev/shm", &there) != 0 || here.st_dev == there.st_dev ||
        ::access("/dev/shm", W_OK) != 0) {
        WARN("skipped: there is no other file system to write to");
        return;
    }
    std::string const target = "/dev/shm/cleave-test-" + std::to_string(::getpid());
    posix_file f = opened(dir / "p");
    std::error_code ec;
    f.publish(target, ec);
    CHECK(ec == std::errc::cross_device_link);
    CHECK_FALSE(fs::exists(target));
    CHECK(fs::exists(dir / "p"));
    fs::remove(target, ec);
}

TEST_CASE("several processes after the same target never mix their bytes (J09)") {
    temp_dir const dir;
    std::string const target = (dir / "file").string();
    auto const contend = [&](char letter) {
        std::string const mine(20'000, letter);
        for (int done = 0; done < 60;) {
            posix_file f;
            std::error_code ec;
            f.open_partial(target + ".part", ec);
            if (ec == error::target_busy) continue;
            if (ec) return 1;
            // In pieces, to give others time to get between.
            for (std::size_t at = 0; at < mine.size() && !ec; at += 5000)
                f.write_at(at, bytes(mine).subspan(at, 5000), ec);
            if (ec) return 2;
            if (done % 3 == 2) {
                f.discard();
            } else {
                f.publish(target, ec);
                if (ec) return 3;
            }
            ++done;
            // What stands there is one process's work, all of it.
            if (!fs::exists(target)) continue;
            std::string const there = read_file(target);
            if (there != std::string(20'000, there.at(0))) return 4;
        }
        return 0;
    };
    std::vector<pid_t> children;
    for (char const letter : {'a', 'b', 'c'}) {
        pid_t const child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) ::_exit(contend(letter));
        children.push_back(child);
    }
    for (pid_t const child : children) {
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
    CHECK(fs::file_size(target) == 20'000);
}

// ---- limits -------------------------------------------------------------------------------

TEST_CASE("a limit on the size of files is an error (J06)") {
    temp_dir const dir;
    auto const limited = [&](std::function<std::error_code(posix_file&)> const& f) {
        return in_child([&] {
            // Whoever sets such a limit has to ignore the signal that comes with it.
            ::signal(SIGXFSZ, SIG_IGN);
            rlimit const limit{100'000, 100'000};
            if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 97;
            posix_file file;
            std::error_code ec;
            file.open_partial((dir / "p").string(), ec);
            return ec ? 96 : number(f(file));
        });
    };
    std::string const text(60'000, 'x');
    auto const write_once = [&](posix_file& f, std::uint64_t at) {
        std::error_code ec;
        f.write_at(at, bytes(text), ec);
        return ec;
    };
    CHECK(limited([&](posix_file& f) { return write_once(f, 40'000); }) == 0);
    // The system writes what fits, then refuses (J05).
    CHECK(limited([&](posix_file& f) { return write_once(f, 40'001); }) == EFBIG);
    CHECK(fs::file_size(dir / "p") == 100'000);
    CHECK(limited([&](posix_file& f) { return write_once(f, 100'000); }) == EFBIG);
    CHECK(limited([&](posix_file& f) {
              std::error_code ec;
              f.resize(100'001, ec);
              return ec;
          }) == EFBIG);
    CHECK(limited([&](posix_file& f) {
              std::error_code ec;
              f.allocate(100'001, ec);
              return ec;
          }) == EFBIG);
}

TEST_CASE("a full disk is an error, at once or when it is full (J01)") {
    temp_dir const dir;
    fs::create_directory(dir / "disk");
    constexpr int cannot = 95;
    auto const on_small_disk = [&](std::function<std::error_code(posix_file&)> const& f) {
        return in_child([&] {
            if (!cleave_test::own_small_disk(dir / "disk")) return cannot;
            posix_file file;
            std::error_code ec;
            file.open_partial((dir / "disk" / "p").string(), ec);
            return ec ? 96 : number(f(file));
        });
    };
    auto const allocate = [](std::uint64_t size) {
        return [size](posix_file& f) {
            std::error_code ec;
            f.allocate(size, ec);
            return ec;
        };
    };
    if (on_small_disk(allocate(1000)) == cannot) {
        WARN("skipped: no file system can be mounted here");
        return;
    }
    CHECK(on_small_disk(allocate(100'000)) == 0);
    CHECK(on_small_disk(allocate(300'000)) == ENOSPC);
    std::string const text(64 * 1024, 'x');
    CHECK(on_small_disk([&](posix_file& f) {
              std::error_code ec;
              for (std::uint64_t at = 0; at < 4 * text.size() && !ec; at += text.size())
                  f.write_at(at, bytes(text), ec);
              return ec;
          }) == 0);
    CHECK(on_small_disk([&](posix_file& f) {
              std::error_code ec;
              for (std::uint64_t at = 0; at < 5 * text.size() && !ec; at += text.size())
                  f.write_at(at, bytes(text), ec);
              return ec;
          }) == ENOSPC);
    CHECK(fs::is_empty(dir / "disk"));
}

TEST_CASE("a directory that may not be written is an error (J06)") {
    temp_dir const dir;
    fs::permissions(dir.path(),
                    fs::perms::owner_all | fs::perms::others_exec | fs::perms::others_read);
    fs::create_directory(dir / "mine");
    fs::permissions(dir / "mine", fs::perms::owner_read | fs::perms::owner_exec |
                                      fs::perms::others_read | fs::perms::others_exec);
    CHECK(in_child([&] {
              if (!become_nobody()) return 97;
              posix_file f;
              std::error_code ec;
              f.check_target((dir / "mine" / "file").string(), ec);
              if (ec) return number(ec);
              f.open_partial((dir / "mine" / "file.part").string(), ec);
              return number(ec);
          }) == EACCES);
    CHECK(fs::is_empty(dir / "mine"));
    fs::permissions(dir / "mine", fs::perms::owner_all);
}

TEST_CASE("a directory that may not be listed is published into, or left as it was") {
    temp_dir const dir;
    fs::permissions(dir.path(), fs::perms::owner_all | fs::perms::others_exec);
    fs::create_directory(dir / "drop");
    write_file(dir / "drop" / "file", "what was there before");
    fs::permissions(dir / "drop", fs::perms::owner_write | fs::perms::owner_exec |
                                      fs::perms::others_write | fs::perms::others_exec);
    int const answer = in_child([&] {
        if (!become_nobody()) return 97;
        posix_file f;
        std::error_code ec;
        f.open_partial((dir / "drop" / "file.part").string(), ec);
        if (ec) return 96;
        f.write_at(0, bytes("new"), ec);
        f.publish((dir / "drop" / "file").string(), ec);
        if (!ec) return 1;
        f.discard();
        return 2;
    });
    fs::permissions(dir / "drop", fs::perms::owner_all);
    CAPTURE(answer);
    REQUIRE((answer == 1 || answer == 2));
    CHECK(read_file(dir / "drop" / "file") == (answer == 1 ? "new" : "what was there before"));
    CHECK_FALSE(fs::exists(dir / "drop" / "file.part"));
}

// ---- values -------------------------------------------------------------------------------

TEST_CASE("a file that was moved from owns nothing") {
    temp_dir const dir;
    posix_file one = opened(dir / "p");
    posix_file other = std::move(one);
    one.discard();
    CHECK(fs::exists(dir / "p"));
    write(other, 0, "abc");
    posix_file third;
    third = std::move(other);
    other.discard();
    CHECK(read(third, 0, 3) == "abc");
    third.discard();
    CHECK_FALSE(fs::exists(dir / "p"));
}

TEST_CASE("a finished file that was moved is still not removed") {
    temp_dir const dir;
    write_file(dir / "file", "finished");
    posix_file one;
    std::error_code ec;
    one.open_finished((dir / "file").string(), ec);
    posix_file other = std::move(one);
    posix_file third;
    third = std::move(other);
    CHECK(read(third, 0, 8) == "finished");
    third.discard();
    CHECK(fs::exists(dir / "file"));
}

TEST_CASE("a file that was never opened does nothing but fail") {
    posix_file f;
    std::error_code ec;
    std::byte byte{};
    f.write_at(0, {&byte, 1}, ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    ec.clear();
    f.sync(ec);
    CHECK(ec == std::errc::bad_file_descriptor);
    ec.clear();
    CHECK(f.size(ec) == 0);
    CHECK(ec == std::errc::bad_file_descriptor);
    f.close();
    f.discard();
}

TEST_CASE("programs that are started do not inherit the file") {
    temp_dir const dir;
    posix_file f = opened(dir / "p");
    // The lock would live on in them.
    bool any = false;
    for (auto const& entry : fs::directory_iterator("/proc/self/fd")) {
        std::error_code ec;
        if (fs::read_symlink(entry, ec) != dir / "p") continue;
        any = true;
        int const fd = std::stoi(entry.path().filename().string());
        CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(any);
}
