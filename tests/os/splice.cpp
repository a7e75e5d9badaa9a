// SPDX-License-Identifier: BSL-1.0
//
// splicer with real sockets and files: what the socket had is in the file, where it belongs. Where
// the system cannot do it, nothing is lost, and where the file fails it is said to be the file.

#include <cleave/os/splice.hpp>

#include <laws/count_allocations.hpp>
#include <support/catch.hpp>
#include <support/fork.hpp>
#include <support/temp_dir.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

using cleave::splicer;
using cleave_test::in_child;
using cleave_test::read_file;
using cleave_test::temp_dir;
using cleave_test::write_file;

namespace {

class descriptor {
  public:
    explicit descriptor(int fd) : fd_(fd) { REQUIRE(fd_ >= 0); }
    ~descriptor() { close(); }
    descriptor(descriptor const&) = delete;
    descriptor& operator=(descriptor const&) = delete;
    operator int() const { return fd_; }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

  private:
    int fd_;
};

// Two ends of a connection; ours does not block.
struct connection {
    static std::array<int, 2> make() {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
        REQUIRE(::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
        return ends;
    }
    explicit connection(std::array<int, 2> ends = make()) : ours(ends[0]), theirs(ends[1]) {}
    void send(std::string_view text) const {
        REQUIRE(::write(theirs, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    descriptor ours, theirs;
};

std::string random_bytes(std::size_t n) {
    std::mt19937 random{7};
    std::string text(n, '\0');
    for (char& c : text) c = static_cast<char>(random());
    return text;
}

struct moved {
    std::size_t n = 0;
    std::error_code socket, file;
};
moved move(splicer& s, int socket, int file, std::uint64_t offset, std::size_t n) {
    moved m;
    m.n = s.move(socket, file, offset, n, m.socket, m.file);
    return m;
}

} // namespace

TEST_CASE(
    "spliced: what the socket had is in the file, at its offset, and no more than asked for") {
    temp_dir const dir;
    descriptor const file{::open((dir / "f").c_str(), O_RDWR | O_CREAT, 0666)};
    connection const c;
    splicer s;
    REQUIRE(s.usable());
    c.send("0123456789");
    auto const first = move(s, c.ours, file, 4, 6);
    CHECK(first.n == 6);
    CHECK_FALSE(first.socket);
    CHECK_FALSE(first.file);
    CHECK(move(s, c.ours, file, 0, 100).n == 4);
    CHECK(read_file(dir / "f") == "6789012345");
    CHECK(s.usable());
}

TEST_CASE("spliced: nothing there yet, the end, and a broken connection are told apart") {
    temp_dir const dir;
    descriptor const file{::open((dir / "f").c_str(), O_RDWR | O_CREAT, 0666)};
    connection c;
    splicer s;
    auto m = move(s, c.ours, file, 0, 100);
    CHECK(m.n == 0);
    CHECK(m.socket == std::errc::resource_unavailable_try_again);
    c.send("abc");
    CHECK(move(s, c.ours, file, 0, 100).n == 3);
    c.theirs.close();
    m = move(s, c.ours, file, 3, 100);
    CHECK(m.n == 0);
    CHECK_FALSE(m.socket);
    CHECK_FALSE(m.file);
    descriptor const unconnected{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    m = move(s, unconnected, file, 3, 100);
    CHECK(m.n == 0);
    CHECK(m.socket == std::errc::not_connected);
    CHECK(s.usable());
    CHECK(read_file(dir / "f") == "abc");
}

TEST_CASE("spliced: more than the pipe holds comes in turns") {
    temp_dir const dir;
    descriptor const file{::open((dir / "f").c_str(), O_RDWR | O_CREAT, 0666)};
    connection const c;
    std::string const all = random_bytes(3'000'000);
    splicer s;
    std::size_t sent = 0;
    std::size_t got = 0;
    REQUIRE(::fcntl(c.theirs, F_SETFL, O_NONBLOCK) == 0);
    while (got != all.size()) {
        auto const n = ::write(c.theirs, all.data() + sent, all.size() - sent);
        if (n > 0) sent += static_cast<std::size_t>(n);
        auto const m = move(s, c.ours, file, got, all.size());
        REQUIRE_FALSE(m.file);
        got += m.n;
    }
    CHECK(read_file(dir / "f") == all);
}

TEST_CASE("spliced: a file that cannot take it gets it all the same, and no more is tried") {
    temp_dir const dir;
    write_file(dir / "f", "before");
    // The system refuses these; written at the end, as they want it.
    descriptor const file{::open((dir / "f").c_str(), O_WRONLY | O_APPEND)};
    connection const c;
    std::string const text = random_bytes(150'000);
    splicer s;
    c.send(text.substr(0, 100'000));
    moved m;
    cleave_test::without_memory([&] { m = move(s, c.ours, file, 6, 200'000); });
    CHECK(m.n == 100'000);
    CHECK_FALSE(m.socket);
    CHECK_FALSE(m.file);
    CHECK(read_file(dir / "f") == "before" + text.substr(0, 100'000));
    CHECK_FALSE(s.usable());
    c.send(text.substr(100'000));
    CHECK(move(s, c.ours, file, 100'006, 50'000).socket == std::errc::not_supported);
    std::string left(50'000, '\0');
    CHECK(::read(c.ours, left.data(), left.size()) == 50'000);
    CHECK(left == text.substr(100'000));
}

TEST_CASE("spliced: what is no socket to take from is not supported, once and for all") {
    temp_dir const dir;
    descriptor const file{::open((dir / "f").c_str(), O_RDWR | O_CREAT, 0666)};
    descriptor const epoll{::eventfd(1, EFD_NONBLOCK)};
    splicer s;
    auto const m = move(s, epoll, file, 0, 100);
    CHECK(m.n == 0);
    // Later systems can splice from it, and then find that it wants 8 bytes, or more.
    if (m.socket == std::errc::not_supported) CHECK_FALSE(s.usable());
    CHECK(read_file(dir / "f").empty());
}

TEST_CASE("spliced: a file's error is the file's (J01, J02)") {
    temp_dir const dir;
    write_file(dir / "f", "before");
    connection const c;
    c.send(std::string(1000, 'x'));
    splicer s;
    SECTION("not open for writing") {
        descriptor const file{::open((dir / "f").c_str(), O_RDONLY)};
        auto const m = move(s, c.ours, file, 0, 1000);
        CHECK(m.n == 0);
        CHECK_FALSE(m.socket);
        CHECK(m.file == std::errc::bad_file_descriptor);
        CHECK_FALSE(s.usable());
    }
    SECTION("a disk that is full") {
        descriptor const file{::open("/dev/full", O_WRONLY)};
        auto const m = move(s, c.ours, file, 0, 1000);
        CHECK(m.n == 0);
        CHECK_FALSE(m.socket);
        CHECK(m.file == std::errc::no_space_on_device);
    }
    SECTION("beyond what a file may have") {
        descriptor const file{::open((dir / "f").c_str(), O_RDWR)};
        auto const m = move(s, c.ours, file, ~std::uint64_t{0} - 5, 1000);
        CHECK(m.n == 0);
        CHECK(m.file == std::errc::file_too_large);
        CHECK(move(s, c.ours, file, 0, 1000).n == 1000); // nothing was taken
    }
    CHECK(read_file(dir / "f").starts_with("x") == s.usable());
}

TEST_CASE("spliced: without a pipe to be had it is not supported") {
    CHECK(in_child([] {
              temp_dir const dir;
              descriptor const file{::open((dir / "f").c_str(), O_RDWR | O_CREAT, 0666)};
              connection const c;
              c.send("abc");
              rlimit const none{static_cast<rlim_t>(c.theirs) + 1, 4096};
              if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 2;
              splicer s;
              auto const m = move(s, c.ours, file, 0, 3);
              return m.socket == std::errc::not_supported && !s.usable() ? 0 : 1;
          }) == 0);
}

TEST_CASE("spliced: moved on, it goes on") {
    temp_dir const dir;
    descriptor const file{::open((dir / "f").c_str(), O_RDWR | O_CREAT, 0666)};
    connection const c;
    splicer a;
    c.send("ab");
    CHECK(move(a, c.ours, file, 0, 1).n == 1);
    splicer b{std::move(a)};
    CHECK(move(b, c.ours, file, 1, 1).n == 1);
    splicer d;
    d = std::move(b);
    c.send("c");
    CHECK(move(d, c.ours, file, 2, 1).n == 1);
    CHECK(read_file(dir / "f") == "abc");
}
