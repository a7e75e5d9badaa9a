// SPDX-License-Identifier: BSL-1.0
//
// mapped_file_sink keeps the laws of sinks with real files, filled by the system alone. When others
// cut the file or the disk is full there is an error, and the process lives to see it: shown in
// a process of its own, without a signal handler. What is published can be had as memory, and what
// one run keeps, another goes on with.

#include <cleave/sink/mapped_file_sink.hpp>

#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>
#include <support/fork.hpp>
#include <support/temp_dir.hpp>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using cleave::error;
using cleave::mapped_bytes;
using cleave::mapped_file_sink;
using cleave_test::in_child;
using cleave_test::read_file;
using cleave_test::temp_dir;
using cleave_test::write_file;
namespace fs = std::filesystem;

static_assert(mapped_file_sink::traits.system_filled && mapped_file_sink::traits.concurrent);
static_assert(mapped_file_sink::traits.readable && mapped_file_sink::traits.revocable);
static_assert(!mapped_file_sink::traits.ordered);

namespace {

cleave_test::visible_bytes bytes_of(fs::path const& path) {
    if (!fs::exists(fs::symlink_status(path))) return std::nullopt;
    std::string const text = read_file(path);
    auto const bytes = std::as_bytes(std::span{text});
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
}
std::string text_of(std::span<std::byte const> bytes) {
    std::string text;
    for (std::byte const b : bytes) text += static_cast<char>(b);
    return text;
}

template <class Sink>
void put(Sink& sink, std::uint64_t at, std::string_view text) {
    std::error_code ec;
    auto const to = sink.prepare(at, text.size(), ec);
    REQUIRE(to.size() == text.size());
    cleave_test::detail::system_filler{}.fill(to, std::as_bytes(std::span{text}));
    sink.commit(at, text.size(), ec);
    REQUIRE_FALSE(ec);
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

} // namespace

TEST_CASE("mapped_file_sink keeps the laws of sinks") {
    temp_dir const dir;
    cleave_test::random_source random{1};
    for (int i = 0; i < 60; ++i) {
        CAPTURE(i);
        cleave_test::sink_run const run{
            .size = random.chance(10) ? 0 : 1 + random.below(random.chance(10) ? 900'000 : 9000),
            .openings = static_cast<unsigned>(1 + random.below(3)),
            .portion = random.chance(50) ? 2100U : 400'000U,
            .publish = random.chance(70)};
        fs::path const name = dir / "file";
        if (random.chance(50)) write_file(name, "what was there before");
        bool const wanted = random.chance(50);
        mapped_bytes result;
        {
            mapped_file_sink sink =
                wanted ? mapped_file_sink(name.string(), result) : mapped_file_sink(name.string());
            REQUIRE(cleave_test::broken_sink(sink, run, random, [&] { return bytes_of(name); }) ==
                    "");
        }
        REQUIRE_FALSE(fs::exists(dir / "file.part"));
        if (wanted && run.publish)
            REQUIRE(text_of(result.bytes()) == read_file(name));
        else
            REQUIRE(result.bytes().empty());
        fs::remove(name);
    }
}

TEST_CASE("mapped_file_sink keeps the laws of resumable sinks") {
    temp_dir const dir;
    cleave_test::random_source random{2};
    for (int i = 0; i < 60; ++i) {
        CAPTURE(i);
        fs::path const name = dir / "file";
        if (random.chance(50)) write_file(name, "before");
        std::uint64_t const size = 10 + random.below(random.chance(10) ? 900'000 : 9000);
        REQUIRE(cleave_test::broken_resuming([&] { return mapped_file_sink(name.string()); }, size,
                                             random, [&] { return bytes_of(name); }) == "");
        REQUIRE_FALSE(fs::exists(dir / "file.part"));
        fs::remove(name);
    }
}

TEST_CASE("a mapped_file_sink lends the pages of NAME.part, with room for all from the start") {
    temp_dir const dir;
    mapped_file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.check(ec);
    CHECK(fs::is_empty(dir.path()));
    sink.open(100'000, ec);
    REQUIRE_FALSE(ec);
    CHECK(fs::file_size(dir / "file.part") == 100'000);
    auto const first = sink.prepare(0, 100'000, ec);
    CHECK(first.size() == 100'000);
    // Where it belongs, and up to the end.
    CHECK(sink.prepare(99'990, 100, ec).data() == first.data() + 99'990);
    CHECK(sink.prepare(99'990, 100, ec).size() == 10);
    CHECK_FALSE(ec);
    put(sink, 50'000, "received");
    std::string const text = "written";
    sink.write(60'000, std::as_bytes(std::span{text}), ec);
    CHECK_FALSE(ec);
    std::string const there = read_file(dir / "file.part");
    CHECK(there.substr(50'000, 8) == "received");
    CHECK(there.substr(60'000, 7) == "written");
    CHECK_FALSE(fs::exists(dir / "file"));
    sink.abandon();
    CHECK(fs::is_empty(dir.path()));
    CHECK(sink.target() == (dir / "file").string());
}

TEST_CASE("a mapped_file_sink must know the size, and touches nothing without (E07)") {
    temp_dir const dir;
    mapped_file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(std::nullopt, ec);
    CHECK(ec == error::sink_needs_size);
    CHECK(fs::is_empty(dir.path()));
    sink.abandon();
}

TEST_CASE("a size that neither disk nor memory has is an error (H03, J01)") {
    temp_dir const dir;
    mapped_file_sink sink((dir / "file").string());
    for (std::uint64_t const size : {cleave::max_offset, std::uint64_t{1} << 62U}) {
        std::error_code ec;
        sink.open(size, ec);
        CHECK(ec);
        ec.clear();
        CHECK(sink.prepare(0, 1, ec).empty());
        CHECK(ec);
    }
    sink.abandon();
    CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("nothing is put behind the end") {
    temp_dir const dir;
    mapped_file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(10, ec);
    std::byte const bytes[11]{};
    auto const refused = [&](std::uint64_t at, std::size_t n) {
        std::error_code lent;
        std::error_code written;
        CHECK(sink.prepare(at + n - 1, 1, lent).empty());
        sink.write(at, std::span{bytes}.first(n), written);
        return lent == error::sink_too_small && written == error::sink_too_small;
    };
    CHECK(refused(10, 1));
    CHECK(refused(0, 11));
    CHECK(refused(5, 6));
    CHECK(refused(cleave::max_offset, 1));
    CHECK(refused(cleave::max_offset - 3, 4));
    sink.write(10, {}, ec);
    sink.write(0, std::span{bytes}.first(10), ec);
    CHECK_FALSE(ec);
    CHECK(fs::file_size(dir / "file.part") == 10);
}

TEST_CASE("a mapped_file_sink that is opened again has forgotten everything") {
    temp_dir const dir;
    mapped_file_sink sink((dir / "file").string());
    std::error_code ec;
    sink.open(9000, ec);
    put(sink, 5000, "old");
    sink.open(6000, ec);
    REQUIRE_FALSE(ec);
    CHECK(read_file(dir / "file.part") == std::string(6000, '\0'));
    CHECK(sink.prepare(0, 9000, ec).size() == 6000);
    put(sink, 5000, "new");
    sink.sync(6000, ec);
    sink.publish(ec);
    REQUIRE_FALSE(ec);
    CHECK(read_file(dir / "file").substr(5000, 3) == "new");
}

TEST_CASE("a second mapped sink for the same target is refused, and harms nothing (J09)") {
    temp_dir const dir;
    std::error_code ec;
    mapped_file_sink first((dir / "file").string());
    first.open(10, ec);
    put(first, 0, "0123456789");
    {
        mapped_file_sink second((dir / "file").string());
        second.open(20, ec);
        CHECK(ec == error::target_busy);
        second.abandon();
    }
    CHECK(read_file(dir / "file.part") == "0123456789");
}

TEST_CASE("a mapped_file_sink may be moved while nobody uses it") {
    temp_dir const dir;
    std::error_code ec;
    mapped_bytes result;
    mapped_file_sink first((dir / "file").string(), result);
    first.open(3, ec);
    mapped_file_sink sink = std::move(first);
    first.abandon();
    put(sink, 0, "abc");
    sink.sync(3, ec);
    sink.publish(ec);
    CHECK_FALSE(ec);
    CHECK(text_of(result.bytes()) == "abc");
}

// ---- what another run left ----------------------------------------------------------------

TEST_CASE("a mapped_file_sink goes on in the pages that another run filled") {
    temp_dir const dir;
    std::error_code ec;
    std::string text(100'000, '-');
    {
        mapped_file_sink first((dir / "file").string());
        first.open(text.size(), ec);
        put(first, 0, text);
        first.keep();
        CHECK(first.prepare(0, 1, ec).empty());
        CHECK(ec == error::sink_too_small);
    }
    ec.clear();
    mapped_bytes result;
    mapped_file_sink sink((dir / "file").string(), result);
    sink.reopen(text.size(), false, ec);
    REQUIRE_FALSE(ec);
    CHECK(sink.prepare(99'990, 100, ec).size() == 10);
    put(sink, 50'000, "received");
    text.replace(50'000, 8, "received");
    sink.flush(ec);
    CHECK(read_file(dir / "file.part") == text);
    sink.sync(text.size(), ec);
    sink.publish(ec);
    REQUIRE_FALSE(ec);
    CHECK(text_of(result.bytes()) == text);
    CHECK(read_file(dir / "file") == text);
}

TEST_CASE("a mapped_file_sink takes over a partial of just that size, and no other") {
    temp_dir const dir;
    std::error_code ec;
    write_file(dir / "file", "0123456789");
    mapped_file_sink sink((dir / "file").string());
    bool const all = GENERATE(false, true);
    std::string const left = GENERATE("", "012345678", "0123456789a");
    write_file(dir / "file.part", left);
    sink.reopen(10, all, ec);
    CHECK(ec == error::partial_replaced);
    CHECK(read_file(dir / "file.part") == left);
    ec.clear();
    CHECK(sink.prepare(0, 1, ec).empty());
    ec.clear();
    sink.open(3, ec);
    CHECK_FALSE(ec);
    CHECK(sink.prepare(0, 10, ec).size() == 3);
    sink.abandon();
    CHECK_FALSE(fs::exists(dir / "file.part"));
    CHECK(read_file(dir / "file") == "0123456789");
}

TEST_CASE("what a mapped_file_sink published already is only read, and handed over again") {
    temp_dir const dir;
    std::error_code ec;
    std::string const text = "0123456789";
    write_file(dir / "file", text);
    bool const may_be_written = GENERATE(true, false);
    if (!may_be_written) fs::permissions(dir / "file", fs::perms::owner_read);
    mapped_bytes result;
    mapped_file_sink sink((dir / "file").string(), result);
    sink.reopen(10, false, ec);
    CHECK(ec == std::errc::no_such_file_or_directory);
    ec.clear();
    sink.reopen(10, true, ec);
    REQUIRE_FALSE(ec);
    CHECK(sink.prepare(0, 1, ec).empty());
    CHECK(ec == error::sink_too_small);
    ec.clear();
    sink.write(0, std::as_bytes(std::span{text}), ec);
    CHECK(ec == error::sink_too_small);
    ec.clear();
    sink.flush(ec);
    sink.sync(10, ec);
    CHECK(result.bytes().empty());
    sink.publish(ec);
    REQUIRE_FALSE(ec);
    CHECK(text_of(result.bytes()) == text);
    CHECK(in_child([&] {
              auto* const at = const_cast<std::byte*>(result.bytes().data());
              *static_cast<std::byte volatile*>(at) = std::byte{'x'};
              return 0;
          }) == 128 + SIGSEGV);
    sink.abandon();
    CHECK(read_file(dir / "file") == text);
    // Afresh, that memory is left alone.
    sink.open(3, ec);
    put(sink, 0, "new");
    sink.keep();
    CHECK_FALSE(ec);
    CHECK(text_of(result.bytes()) == text);
    CHECK(read_file(dir / "file.part") == "new");
}

TEST_CASE("what another process has is left to it, also by a mapped_file_sink (J09)") {
    temp_dir const dir;
    std::error_code ec;
    write_file(dir / "file.part", "0123456789");
    mapped_file_sink first((dir / "file").string());
    first.reopen(10, false, ec);
    REQUIRE_FALSE(ec);
    CHECK(in_child([&] {
              mapped_file_sink sink((dir / "file").string());
              sink.reopen(10, true, ec);
              sink.abandon();
              return ec == error::target_busy ? 1 : 0;
          }) == 1);
    CHECK(read_file(dir / "file.part") == "0123456789");
}

TEST_CASE("a mapped_file_sink that was never opened keeps, abandons and publishes nothing") {
    temp_dir const dir;
    write_file(dir / "file.part", "0123456789");
    std::error_code ec;
    mapped_file_sink sink((dir / "file").string());
    sink.keep();
    sink.abandon();
    sink.publish(ec);
    CHECK(ec);
    CHECK(read_file(dir / "file.part") == "0123456789");
    CHECK_FALSE(fs::exists(dir / "file"));
}

// ---- the finished memory ------------------------------------------------------------------

TEST_CASE("the finished file is handed over as memory, to be read only, when it is published") {
    temp_dir const dir;
    std::error_code ec;
    mapped_bytes result;
    {
        mapped_file_sink sink((dir / "file").string(), result);
        sink.open(10, ec);
        put(sink, 0, "0123456789");
        sink.sync(10, ec);
        CHECK(result.bytes().empty());
        sink.publish(ec);
        REQUIRE_FALSE(ec);
    }
    CHECK(text_of(result.bytes()) == "0123456789");
    CHECK(in_child([&] {
              auto* const at = const_cast<std::byte*>(result.bytes().data());
              *static_cast<std::byte volatile*>(at) = std::byte{'x'};
              return 0;
          }) == 128 + SIGSEGV);
    // The next one takes its place under the name, not in this memory.
    mapped_file_sink next((dir / "file").string());
    next.open(5, ec);
    put(next, 0, "other");
    next.sync(5, ec);
    next.publish(ec);
    REQUIRE_FALSE(ec);
    CHECK(read_file(dir / "file") == "other");
    CHECK(text_of(result.bytes()) == "0123456789");
}

TEST_CASE("a mapped_file_sink keeps no memory that nobody has asked for") {
    temp_dir const dir;
    std::error_code ec;
    mapped_file_sink sink((dir / "file").string());
    sink.open(3, ec);
    std::byte* const at = sink.prepare(0, 1, ec).data();
    // Of memory that is not mapped the system says so.
    auto const is_mapped = [&] { return ::msync(at, 1, MS_ASYNC) == 0 || errno != ENOMEM; };
    CHECK(is_mapped());
    SECTION("published") {
        sink.sync(3, ec);
        sink.publish(ec);
    }
    SECTION("abandoned") { sink.abandon(); }
    CHECK_FALSE(ec);
    CHECK_FALSE(is_mapped());
}

TEST_CASE("what is not published is not handed over") {
    temp_dir const dir;
    std::error_code ec;
    mapped_bytes result;
    mapped_file_sink sink((dir / "file").string(), result);
    sink.open(3, ec);
    put(sink, 0, "abc");
    SECTION("abandoned") { sink.abandon(); }
    SECTION("publishing failed") {
        sink.sync(3, ec);
        fs::create_directory(dir / "file");
        sink.publish(ec);
        CHECK(ec == error::target_is_directory);
        sink.abandon();
    }
    CHECK(result.bytes().empty());
    CHECK_FALSE(fs::exists(dir / "file.part"));
}

// ---- files that others cut, disks that are full -------------------------------------------

TEST_CASE("a file that others cut while it is filled is an error at every turn (J03)") {
    temp_dir const dir;
    constexpr std::size_t size = 1024 * 1024;
    auto const after_cut = [&](std::uint64_t left, std::function<int(mapped_file_sink&)> const& f) {
        return in_child([&] {
            mapped_file_sink sink((dir / "file").string());
            std::error_code ec;
            sink.open(size, ec);
            if (ec || receive(sink.prepare(0, 1000, ec)) != 1000) return 96;
            // By another descriptor, as another process would.
            fs::resize_file(dir / "file.part", left);
            return f(sink);
        });
    };
    auto const number = [](std::error_code const& ec) {
        return ec == error::partial_replaced ? 77 : ec.value();
    };
    SECTION("receiving") {
        for (std::uint64_t const left : {0U, 4096U, 500'000U}) {
            CAPTURE(left);
            CHECK(after_cut(left, [](mapped_file_sink& sink) {
                      std::error_code ec;
                      return -receive(sink.prepare(600'000, 10'000, ec));
                  }) == EFAULT);
        }
    }
    SECTION("reading") {
        CHECK(after_cut(500'000, [&](mapped_file_sink& sink) {
                  std::error_code ec;
                  std::vector<std::byte> back(1000);
                  sink.read(600'000, back, ec);
                  return number(ec);
              }) == 77);
        CHECK(after_cut(500'000, [&](mapped_file_sink& sink) {
                  std::error_code ec;
                  std::vector<std::byte> back(1000);
                  sink.read(0, back, ec);
                  return ec ? 1 : back == std::vector<std::byte>(1000, std::byte{'x'}) ? 0 : 2;
              }) == 0);
    }
    SECTION("syncing, though all that was received lies before the cut or in its page") {
        for (std::uint64_t const left :
             {std::uint64_t{0}, std::uint64_t{500'000}, std::uint64_t{size - 1}})
            CHECK(after_cut(left, [&](mapped_file_sink& sink) {
                      std::error_code ec;
                      sink.sync(size, ec);
                      return number(ec);
                  }) == 77);
        // Received into the last page, without an error, and lost.
        CHECK(after_cut(size - 100, [&](mapped_file_sink& sink) {
                  std::error_code ec;
                  if (receive(sink.prepare(size - 50, 50, ec)) != 50) return 1;
                  sink.sync(size, ec);
                  return number(ec);
              }) == 77);
    }
    SECTION("abandoning goes well") {
        CHECK(after_cut(0, [](mapped_file_sink& sink) {
                  sink.abandon();
                  return 0;
              }) == 0);
        CHECK_FALSE(fs::exists(dir / "file.part"));
    }
    SECTION("while storing there would have been the end") {
        CHECK(after_cut(0, [](mapped_file_sink& sink) {
                  std::error_code ec;
                  *static_cast<std::byte volatile*>(&sink.prepare(600'000, 1, ec)[0]) =
                      std::byte{'x'};
                  return 0;
              }) == 128 + SIGBUS);
    }
}

TEST_CASE("a full disk is an error before a mapped_file_sink receives anything (J01)") {
    temp_dir const dir;
    fs::create_directory(dir / "disk");
    constexpr int cannot = 95;
    auto const open_on_small_disk = [&](std::uint64_t size) {
        return in_child([&] {
            if (!cleave_test::own_small_disk(dir / "disk")) return cannot;
            mapped_file_sink sink((dir / "disk" / "file").string());
            std::error_code ec;
            sink.open(size, ec);
            if (!ec && receive(sink.prepare(size - 10, 10, ec)) != 10) return 96;
            return ec.value();
        });
    };
    if (open_on_small_disk(10) == cannot) {
        WARN("skipped: no file system can be mounted here");
        return;
    }
    CHECK(open_on_small_disk(256 * 1024) == 0);
    CHECK(open_on_small_disk(256 * 1024 + 1) == ENOSPC);
}

namespace {

// A file without room: as where a system cannot make any beforehand.
struct hollow_file : cleave::posix_file {
    void allocate(std::uint64_t size, std::error_code& ec) { resize(size, ec); }
};

} // namespace

TEST_CASE("a disk that is full while receiving is an error (J01)") {
    temp_dir const dir;
    fs::create_directory(dir / "disk");
    constexpr int cannot = 95;
    constexpr std::size_t size = 1024 * 1024;
    using hollow_sink = cleave::basic_mapped_file_sink<hollow_file>;
    auto const on_small_disk = [&](std::function<int(hollow_sink&)> const& f) {
        return in_child([&] {
            if (!cleave_test::own_small_disk(dir / "disk")) return cannot;
            hollow_sink sink((dir / "disk" / "file").string());
            std::error_code ec;
            sink.open(size, ec);
            return ec ? 96 : f(sink);
        });
    };
    if (on_small_disk([](hollow_sink&) { return 0; }) == cannot) {
        WARN("skipped: no file system can be mounted here");
        return;
    }
    CHECK(on_small_disk([](hollow_sink& sink) {
              std::error_code ec;
              for (std::uint64_t at = 0; at != size; at += 4096) {
                  int const got = receive(sink.prepare(at, 4096, ec));
                  if (got != 4096) return -got;
              }
              return 0;
          }) == EFAULT);
    CHECK(on_small_disk([](hollow_sink& sink) {
              std::error_code ec;
              std::vector<std::byte> const bytes(4096);
              for (std::uint64_t at = 0; at != size && !ec; at += 4096) sink.write(at, bytes, ec);
              return ec.value();
          }) == ENOSPC);
}

// ---- with a file that does as it is told --------------------------------------------------

namespace {

struct faults {
    std::error_code open, reopen, finished, size, allocate, map, write, read, resize, sync, publish;
    std::string calls;
};

// Its memory is of a file that nobody else has.
class faulty_file {
  public:
    explicit faulty_file(faults& f) : f_(&f) {}

    void check_target(std::string const&, std::error_code&) const { f_->calls += "check "; }
    void open_partial(std::string const& p, std::error_code& ec) { say("open:" + p, f_->open, ec); }
    void reopen_partial(std::string const& p, std::error_code& ec) {
        say("reopen:" + p, f_->reopen, ec);
    }
    void open_finished(std::string const& t, std::error_code& ec) {
        say("finished:" + t, f_->finished, ec);
    }
    void open_journal(std::string const&, std::error_code&) { f_->calls += "journal "; }
    std::uint64_t size(std::error_code& ec) const {
        say("size", f_->size, ec);
        return ec ? 0 : 10;
    }
    void allocate(std::uint64_t n, std::error_code& ec) {
        say("allocate:" + std::to_string(n), f_->allocate, ec);
    }
    cleave::mapping map(std::uint64_t n, std::error_code& ec) {
        say("map:" + std::to_string(n), f_->map, ec);
        if (ec) return {};
        int const fd = ::memfd_create("faulty", MFD_CLOEXEC);
        REQUIRE(::ftruncate(fd, static_cast<off_t>(n)) == 0);
        cleave::mapping m(fd, n, ec);
        ::close(fd);
        return m;
    }
    void write_at(std::uint64_t at, std::span<std::byte const> b, std::error_code& ec) {
        say("write:" + std::to_string(at) + "+" + std::to_string(b.size()), f_->write, ec);
    }
    void read_at(std::uint64_t at, std::span<std::byte> b, std::error_code& ec) const {
        say("read:" + std::to_string(at) + "+" + std::to_string(b.size()), f_->read, ec);
    }
    void resize(std::uint64_t n, std::error_code& ec) {
        say("resize:" + std::to_string(n), f_->resize, ec);
    }
    void sync(std::error_code& ec) { say("sync", f_->sync, ec); }
    void publish(std::string const& t, std::error_code& ec) {
        say("publish:" + t, f_->publish, ec);
    }
    void discard() noexcept { f_->calls += "discard "; }
    void close() noexcept { f_->calls += "close "; }

  private:
    void say(std::string const& call, std::error_code const& from, std::error_code& ec) const {
        f_->calls += call + " ";
        if (from) ec = from;
    }
    faults* f_;
};
using faulty_sink = cleave::basic_mapped_file_sink<faulty_file>;
static_assert(cleave::byte_sink<faulty_sink>);

} // namespace

TEST_CASE("a mapped_file_sink asks its file for one thing after the other") {
    faults f;
    faulty_sink sink("t", faulty_file{f});
    std::error_code ec;
    std::byte const two[2]{};
    sink.check(ec);
    sink.open(10, ec);
    put(sink, 3, "ab");
    sink.write(5, two, ec);
    sink.sync(10, ec);
    sink.publish(ec);
    CHECK_FALSE(ec);
    CHECK(f.calls == "check open:t.part allocate:10 map:10 write:5+2 read:9+1 resize:10 sync "
                     "publish:t ");
    // Of nothing there is no last byte.
    f.calls.clear();
    sink.open(0, ec);
    sink.sync(0, ec);
    CHECK_FALSE(ec);
    CHECK(f.calls == "resize:0 allocate:0 map:0 resize:0 sync ");
}

TEST_CASE("a mapped_file_sink that goes on asks its file for one thing after the other") {
    faults f;
    mapped_bytes result;
    faulty_sink sink("t", result, faulty_file{f});
    std::error_code ec;
    SECTION("with a partial") {
        sink.reopen(10, true, ec);
        sink.flush(ec);
        sink.sync(10, ec);
        sink.publish(ec);
        CHECK(f.calls ==
              "reopen:t.part size allocate:10 map:10 sync read:9+1 resize:10 sync publish:t ");
    }
    SECTION("with a partial that is kept") {
        sink.reopen(10, false, ec);
        sink.keep();
        CHECK(f.calls == "reopen:t.part size allocate:10 map:10 close ");
    }
    SECTION("with a partial, from the start") {
        sink.reopen(10, false, ec);
        sink.open(7, ec);
        CHECK(f.calls == "reopen:t.part size allocate:10 map:10 resize:0 allocate:7 map:7 ");
    }
    SECTION("with what was published") {
        f.reopen = {ENOENT, std::system_category()};
        sink.reopen(10, true, ec);
        sink.sync(10, ec);
        sink.publish(ec);
        sink.abandon();
        CHECK(f.calls == "reopen:t.part finished:t size read:9+1 sync size map:10 close ");
    }
    CHECK_FALSE(ec);
}

TEST_CASE("what a file says went wrong, a mapped_file_sink says too (J01, J04)") {
    faults f;
    mapped_bytes result;
    faulty_sink sink("t", result, faulty_file{f});
    std::error_code const full{ENOSPC, std::system_category()};
    std::error_code const broken{EIO, std::system_category()};
    std::error_code ec;
    std::byte byte{};
    SECTION("opening") {
        f.open = full;
        sink.open(10, ec);
        CHECK(ec == full);
        CHECK(f.calls == "open:t.part ");
    }
    SECTION("making room") {
        f.allocate = full;
        sink.open(10, ec);
        CHECK(ec == full);
        CHECK(f.calls == "open:t.part allocate:10 ");
    }
    SECTION("mapping") {
        f.map = broken;
        sink.open(10, ec);
        CHECK(ec == broken);
    }
    SECTION("opening again: nothing of before is lent any more") {
        sink.open(10, ec);
        f.resize = broken;
        f.calls.clear();
        sink.open(10, ec);
        CHECK(ec == broken);
        CHECK(f.calls == "resize:0 ");
        ec.clear();
        CHECK(sink.prepare(0, 1, ec).empty());
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
        SECTION("mapping") {
            f.map = broken;
            expected += "size allocate:10 map:10 ";
        }
        sink.reopen(10, true, ec);
        CHECK(ec == broken);
        CHECK(f.calls == expected + "close ");
        ec.clear();
        CHECK(sink.prepare(0, 1, ec).empty());
        ec.clear();
        f = {};
        sink.open(10, ec);
        CHECK_FALSE(ec);
        CHECK(f.calls == "open:t.part allocate:10 map:10 ");
    }
    SECTION("mapping what was published: then nothing is handed over") {
        f.reopen = {ENOENT, std::system_category()};
        sink.reopen(10, true, ec);
        f.map = broken;
        sink.publish(ec);
        CHECK(ec == broken);
        CHECK(result.bytes().empty());
    }
    SECTION("flushing: what was received first, then no more is synced (fsync forgets)") {
        sink.open(10, ec);
        f.sync = broken;
        sink.flush(ec);
        CHECK(ec == broken);
        CHECK(in_child([&] {
                  ::munmap(sink.prepare(0, 1, ec).data(), 10);
                  f.calls.clear();
                  ec.clear();
                  sink.flush(ec);
                  return f.calls.empty() ? ec.value() : 77;
              }) == ENOMEM);
    }
    SECTION("writing") {
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
    SECTION("the file is shorter: then nothing else is done to it") {
        sink.open(10, ec);
        f.read = error::partial_replaced;
        f.calls.clear();
        sink.sync(10, ec);
        CHECK(ec == error::partial_replaced);
        CHECK(f.calls == "read:9+1 ");
    }
    SECTION("cutting: then nothing is synced") {
        sink.open(10, ec);
        f.resize = broken;
        f.calls.clear();
        sink.sync(10, ec);
        CHECK(ec == broken);
        CHECK(f.calls == "read:9+1 resize:10 ");
    }
    SECTION("syncing: it is asked once, never again (fsync forgets)") {
        sink.open(10, ec);
        f.sync = broken;
        f.calls.clear();
        sink.sync(10, ec);
        CHECK(ec == broken);
        CHECK(f.calls == "read:9+1 resize:10 sync ");
    }
    SECTION("writing back what was received: then no more is synced (fsync forgets)") {
        // In a process of its own, for somebody else's memory may come to lie there.
        CHECK(in_child([&] {
                  sink.open(10, ec);
                  ::munmap(sink.prepare(0, 1, ec).data(), 10);
                  f.calls.clear();
                  sink.sync(10, ec);
                  return f.calls == "read:9+1 resize:10 " ? ec.value() : 77;
              }) == ENOMEM);
    }
    SECTION("protecting what is to be handed over: then nothing is published") {
        CHECK(in_child([&] {
                  sink.open(10, ec);
                  ::munmap(sink.prepare(0, 1, ec).data(), 10);
                  f.calls.clear();
                  sink.publish(ec);
                  return f.calls.empty() && result.bytes().empty() ? ec.value() : 77;
              }) == ENOMEM);
    }
    SECTION("publishing: then nothing is handed over") {
        sink.open(10, ec);
        f.publish = broken;
        sink.publish(ec);
        CHECK(ec == broken);
        CHECK(result.bytes().empty());
    }
}
