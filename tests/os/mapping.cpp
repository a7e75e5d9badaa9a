// SPDX-License-Identifier: BSL-1.0
//
// mapping with real files: what is put there is in the file. Where the file has no bytes any more,
// or its disk none to give, system calls answer with an error and the process lives, while a load
// or a store would be its end; each is shown in a process of its own (J01, J03).

#include <cleave/os/mapping.hpp>

#include <support/catch.hpp>
#include <support/fork.hpp>
#include <support/temp_dir.hpp>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using cleave::mapped_bytes;
using cleave::mapping;
using cleave_test::in_child;
using cleave_test::read_file;
using cleave_test::temp_dir;
using cleave_test::write_file;
namespace fs = std::filesystem;

namespace {

class descriptor {
  public:
    explicit descriptor(int fd) : fd_(fd) { REQUIRE(fd_ >= 0); }
    ~descriptor() { ::close(fd_); }
    descriptor(descriptor const&) = delete;
    descriptor& operator=(descriptor const&) = delete;
    operator int() const { return fd_; }

  private:
    int fd_;
};

descriptor open_file(fs::path const& path) {
    return descriptor{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
}

mapping mapped(int fd, std::uint64_t size) {
    std::error_code ec;
    mapping m(fd, size, ec);
    INFO(ec.message());
    REQUIRE_FALSE(ec);
    return m;
}

std::string text_of(std::span<std::byte const> bytes) {
    std::string text;
    for (std::byte const b : bytes) text += static_cast<char>(b);
    return text;
}

bool is_mapped(std::byte* at) {
    // Of a page that is not mapped the system says so.
    int const answer = ::msync(at, 1, MS_ASYNC);
    return answer == 0 || errno != ENOMEM;
}

// What receiving that many bytes into this memory answers: how many came, or minus the error.
int receive(std::span<std::byte> to) {
    int ends[2]{};
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return -1000;
    std::vector<std::byte> const from(to.size(), std::byte{'x'});
    auto const sent = ::send(ends[1], from.data(), from.size(), 0);
    auto const got = ::recv(ends[0], to.data(), to.size(), 0);
    int const answer = got < 0 ? -errno : static_cast<int>(got);
    ::close(ends[0]);
    ::close(ends[1]);
    return sent == static_cast<ssize_t>(to.size()) ? answer : -1001;
}

auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

} // namespace

TEST_CASE(
    "what is put into a mapping is in the file, also when that is closed and the mapping gone") {
    temp_dir const dir;
    {
        mapping m = [&] {
            descriptor const fd = open_file(dir / "f");
            REQUIRE(::ftruncate(fd, 10) == 0);
            return mapped(fd, 10);
        }();
        REQUIRE(m.bytes().size() == 10);
        m.bytes()[0] = std::byte{'a'};
        m.bytes()[9] = std::byte{'z'};
        std::error_code ec;
        m.sync(ec);
        CHECK_FALSE(ec);
    }
    CHECK(read_file(dir / "f") == std::string("a\0\0\0\0\0\0\0\0z", 10));
}

TEST_CASE("a mapping of nothing is empty, and asks the system for nothing") {
    std::error_code ec;
    mapping none(-1, 0, ec);
    none.sync(ec);
    none.protect(ec);
    CHECK(none.bytes().empty());
    CHECK(mapping{}.bytes().empty());
    CHECK(mapped_bytes{}.bytes().empty());
    CHECK(mapped_bytes(std::move(none), ec).bytes().empty());
    CHECK_FALSE(ec);
}

TEST_CASE("what cannot be mapped is an error") {
    temp_dir const dir;
    std::error_code ec;
    SECTION("no file") {
        CHECK(mapping(-1, 1, ec).bytes().empty());
        CHECK(ec == std::errc::bad_file_descriptor);
    }
    SECTION("a file that may be read only") {
        write_file(dir / "f", "x");
        descriptor const fd{::open((dir / "f").c_str(), O_RDONLY | O_CLOEXEC)};
        CHECK(mapping(fd, 1, ec).bytes().empty());
        CHECK(ec == std::errc::permission_denied);
    }
    SECTION("what no file is") {
        CHECK(mapping(descriptor{::epoll_create1(0)}, 1, ec).bytes().empty());
        CHECK(ec == std::errc::no_such_device);
    }
    SECTION("more than memory can be: refused, not cut to fit (H03)") {
        descriptor const fd = open_file(dir / "f");
        for (std::uint64_t const size : {std::numeric_limits<std::uint64_t>::max(),
                                         std::uint64_t{1} << 63U, std::uint64_t{1} << 62U}) {
            ec.clear();
            CHECK(mapping(fd, size, ec).bytes().empty());
            CHECK(ec);
        }
        // Where memory is counted in 32 bits, these would else become 0 and 1.
        if constexpr (sizeof(std::size_t) < sizeof(std::uint64_t)) {
            for (std::uint64_t const size :
                 {std::uint64_t{1} << 32U, (std::uint64_t{1} << 32U) + 1}) {
                ec.clear();
                CHECK(mapping(fd, size, ec).bytes().empty());
                CHECK(ec == std::errc::value_too_large);
            }
        }
    }
}

TEST_CASE("what the system says of syncing and protecting is passed on") {
    temp_dir const dir;
    descriptor const fd = open_file(dir / "f");
    REQUIRE(::ftruncate(fd, static_cast<off_t>(page)) == 0);
    mapping m = mapped(fd, page);
    auto const without_memory = [&](std::function<void(std::error_code&)> const& f) {
        return in_child([&] {
            std::error_code ec;
            ::munmap(m.bytes().data(), page);
            f(ec);
            return ec.value();
        });
    };
    CHECK(without_memory([&](std::error_code& ec) { m.sync(ec); }) == ENOMEM);
    CHECK(without_memory([&](std::error_code& ec) { m.protect(ec); }) == ENOMEM);
    CHECK(without_memory([&](std::error_code& ec) {
              if (!mapped_bytes(std::move(m), ec).bytes().empty()) ec = {};
          }) == ENOMEM);
}

TEST_CASE("a mapping is moved and not copied, and goes once") {
    temp_dir const dir;
    descriptor const fd = open_file(dir / "f");
    REQUIRE(::ftruncate(fd, static_cast<off_t>(2 * page)) == 0);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<mapping>);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<mapped_bytes>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<mapping>);
    STATIC_REQUIRE(std::is_nothrow_move_assignable_v<mapped_bytes>);

    std::byte* where = nullptr;
    std::byte* other = nullptr;
    {
        mapping first = mapped(fd, page);
        where = first.bytes().data();
        mapping second = std::move(first);
        CHECK(first.bytes().empty());
        CHECK(second.bytes().data() == where);
        mapping third = mapped(fd, page);
        other = third.bytes().data();
        // What was there before goes at once.
        third = std::move(second);
        CHECK(third.bytes().data() == where);
        CHECK(second.bytes().empty());
        CHECK_FALSE(is_mapped(other));
        CHECK(is_mapped(where));
        mapping& same = third;
        third = std::move(same);
        CHECK(third.bytes().data() == where);
        CHECK(is_mapped(where));
    }
    CHECK_FALSE(is_mapped(where));
}

TEST_CASE("mapped_bytes are the file, to be read and not to be written") {
    temp_dir const dir;
    write_file(dir / "f", "0123456789");
    descriptor const fd = open_file(dir / "f");
    std::error_code ec;
    mapping m = mapped(fd, 10);
    std::byte* const at = m.bytes().data();
    mapped_bytes const b(std::move(m), ec);
    REQUIRE_FALSE(ec);
    CHECK(text_of(b.bytes()) == "0123456789");
    // The name may lead elsewhere: the bytes stay.
    fs::remove(dir / "f");
    CHECK(text_of(b.bytes()) == "0123456789");
    CHECK(in_child([&] {
              *static_cast<std::byte volatile*>(at) = std::byte{'x'};
              return 0;
          }) == 128 + SIGSEGV);
    CHECK(text_of(b.bytes()) == "0123456789");
}

TEST_CASE("receiving where a file was cut is an error, and storing there is the end (J03)") {
    temp_dir const dir;
    descriptor const fd = open_file(dir / "f");
    auto const after_cut = [&](std::size_t left, std::function<int(mapping&)> const& f) {
        REQUIRE(::ftruncate(fd, static_cast<off_t>(4 * page)) == 0);
        mapping m = mapped(fd, 4 * page);
        return in_child([&] {
            descriptor const others = open_file(dir / "f");
            if (::ftruncate(others, static_cast<off_t>(left)) != 0) return 100;
            return f(m);
        });
    };
    auto const into = [&](std::size_t at) {
        return [at](mapping& m) { return -receive(m.bytes().subspan(at, page)); };
    };
    CHECK(after_cut(page, into(page)) == EFAULT);
    CHECK(after_cut(0, into(0)) == EFAULT);
    // As far as there is a file it goes; the first page still is.
    CHECK(after_cut(page, [&](mapping& m) {
              int const got = receive(m.bytes().subspan(page - 100, 200));
              return got == 100 || got == -EFAULT ? 0 : 1;
          }) == 0);
    // So this test can tell: without the system in between the process is no more.
    CHECK(after_cut(page, [&](mapping& m) {
              *static_cast<std::byte volatile*>(&m.bytes()[page]) = std::byte{'x'};
              return 0;
          }) == 128 + SIGBUS);
    CHECK(after_cut(page, [&](mapping& m) {
              return static_cast<int>(*static_cast<std::byte volatile*>(&m.bytes()[page]));
          }) == 128 + SIGBUS);
    // Syncing what is not there any more harms nobody.
    CHECK(after_cut(page, [&](mapping& m) {
              std::error_code ec;
              m.sync(ec);
              return ec.value();
          }) == 0);
}

TEST_CASE(
    "what is received behind the end of a file, but in its last page, is lost without a word") {
    temp_dir const dir;
    descriptor const fd = open_file(dir / "f");
    REQUIRE(::ftruncate(fd, static_cast<off_t>(page)) == 0);
    mapping m = mapped(fd, page);
    REQUIRE(::ftruncate(fd, 10) == 0);
    CHECK(receive(m.bytes().subspan(8, 100)) == 100);
    std::error_code ec;
    m.sync(ec);
    CHECK_FALSE(ec);
    CHECK(read_file(dir / "f") == std::string(8, '\0') + "xx");
}

TEST_CASE("receiving where a disk has no room is an error, and storing there is the end (J01)") {
    temp_dir const dir;
    fs::create_directory(dir / "disk");
    constexpr int cannot = 95;
    constexpr std::size_t size = 1024 * 1024; // a hole, four times as large as the disk
    auto const on_small_disk = [&](std::function<int(mapping&)> const& f) {
        return in_child([&] {
            if (!cleave_test::own_small_disk(dir / "disk")) return cannot;
            descriptor const fd = open_file(dir / "disk" / "f");
            if (::ftruncate(fd, size) != 0) return 96;
            mapping m = mapped(fd, size);
            return f(m);
        });
    };
    if (on_small_disk([](mapping&) { return 0; }) == cannot) {
        WARN("skipped: no file system can be mounted here");
        return;
    }
    CHECK(on_small_disk([&](mapping& m) {
              std::size_t at = 0;
              while (at + page <= size) {
                  int const got = receive(m.bytes().subspan(at, page));
                  if (got < 0) return at > 200'000 && at <= 256 * 1024 ? -got : 1;
                  at += static_cast<std::size_t>(got);
              }
              return 0;
          }) == EFAULT);
    CHECK(on_small_disk([&](mapping& m) {
              for (std::size_t at = 0; at < size; at += page)
                  *static_cast<std::byte volatile*>(&m.bytes()[at]) = std::byte{'x'};
              return 0;
          }) == 128 + SIGBUS);
}
