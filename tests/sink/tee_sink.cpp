// SPDX-License-Identifier: BSL-1.0
//
// tee_sink keeps the laws of sinks with every kind of sink on either side and with tees in tees:
// both have the same bytes in the end, as few are copied as can be, and each copy is counted.

#include <cleave/sink/tee_sink.hpp>

#include <laws/random.hpp>
#include <laws/sink_laws.hpp>
#include <support/catch.hpp>
#include <support/fork.hpp>
#include <support/temp_dir.hpp>

#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/mapped_file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/null_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>
#include <cleave/testing/memory_disk.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using cleave::byte_sink;
using cleave::error;
using cleave::file_sink;
using cleave::mapped_file_sink;
using cleave::memory_sink;
using cleave::null_sink;
using cleave::ordered_sink;
using cleave::tee_sink;
using cleave_test::in_child;
using cleave_test::read_file;
using cleave_test::temp_dir;
using std::error_code;
namespace fs = std::filesystem;

namespace {

using chunk = std::span<std::byte const>;

// What a test sees of one of the sinks of a tee.
struct seen {
    std::vector<std::byte> bytes;
    bool published = false;
    bool abandoned = false;
};

// Memory, with a name: its bytes count as visible once they are published.
class memory : public memory_sink {
  public:
    explicit memory(seen& s) : memory_sink(s.bytes), seen_(&s) {}
    void publish(error_code&) { seen_->published = true; }
    void abandon() noexcept { seen_->abandoned = true; }

  private:
    seen* seen_;
};

struct collect {
    seen* to;
    void operator()(chunk c) { to->bytes.insert(to->bytes.end(), c.begin(), c.end()); }
};
struct collect_later {
    seen* to;
    void operator()(chunk c, cleave::chunk_done done) {
        to->bytes.insert(to->bytes.end(), c.begin(), c.end());
        done({});
    }
};
template <class Consumer>
class in_order : public ordered_sink<Consumer> {
  public:
    explicit in_order(seen& s, std::span<std::byte> storage, std::size_t size)
        : ordered_sink<Consumer>(storage, size, Consumer{&s}), seen_(&s) {}
    void publish(error_code&) { seen_->published = true; }
    void abandon() noexcept { seen_->abandoned = true; }

  private:
    seen* seen_;
};
using ordered = in_order<collect>;
using ordered_later = in_order<collect_later>;

std::optional<std::vector<std::byte>> visible(seen const& s) {
    return s.published ? std::optional{s.bytes} : std::nullopt;
}
std::optional<std::vector<std::byte>> visible(fs::path const& path) {
    if (!fs::exists(path)) return std::nullopt;
    std::string const text = read_file(path);
    auto const bytes = std::as_bytes(std::span{text});
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
}

// `make(dir, a, b, c, storage)` makes the sink, `look` answers with what is visible of each part of
// it, all of which must be the same.
struct place {
    temp_dir dir;
    seen a, b, c;
    std::vector<std::byte> storage = std::vector<std::byte>(300);

    std::string file(char const* name) const { return (dir / name).string(); }
};

template <class Make, class Look>
void keeps_the_laws(unsigned copies, bool size_must_be_known, Make make, Look look) {
    cleave_test::random_source random{7};
    for (int i = 0; i < 40; ++i) {
        CAPTURE(i);
        cleave_test::sink_run const run{
            .size = random.chance(10) ? 0 : 1 + random.below(random.chance(10) ? 400'000 : 4000),
            .size_known = size_must_be_known || random.chance(50),
            .openings = static_cast<unsigned>(1 + random.below(3)),
            .portion = random.chance(50) ? 700U : 300'000U,
            .publish = random.chance(80),
            .copies = copies};
        place p;
        bool same = true;
        {
            auto sink = make(p);
            STATIC_REQUIRE(byte_sink<decltype(sink)>);
            auto const all = [&]() -> cleave_test::visible_bytes {
                auto const parts = look(p);
                for (auto const& part : parts) same = same && part == parts[0];
                return parts[0];
            };
            REQUIRE(cleave_test::broken_sink(sink, run, random, all) == "");
        }
        REQUIRE(same);
        // Neither is a partial left.
        if (!run.publish) REQUIRE(fs::is_empty(p.dir.path()));
        for (auto const& entry : fs::directory_iterator(p.dir.path()))
            REQUIRE(entry.path().extension() != ".part");
    }
}

using parts = std::vector<cleave_test::visible_bytes>;
constexpr bool any_size = false;
constexpr bool known_size = true;

} // namespace

// ---- laws -------------------------------------------------------------------------------------

TEST_CASE("a tee of two memories copies each byte once") {
    keeps_the_laws(
        1, any_size,
        [](place& p) {
            return tee_sink{memory{p.a}, memory{p.b}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.b)};
        });
}
TEST_CASE("a tee of a file and memory copies nothing, either way round") {
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{file_sink{p.file("f")}, memory{p.b}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.b)};
        });
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{memory{p.b}, file_sink{p.file("f")}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.b)};
        });
}
TEST_CASE("a tee of two files copies nothing") {
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{file_sink{p.file("f")}, file_sink{p.file("g")}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.dir / "g")};
        });
}
TEST_CASE("a tee of nothing and memory copies nothing, either way round") {
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{null_sink{}, memory{p.b}};
        },
        [](place& p) { return parts{visible(p.b)}; });
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{memory{p.b}, null_sink{}};
        },
        [](place& p) { return parts{visible(p.b)}; });
}
TEST_CASE("a tee of a mapped file and memory copies nothing, either way round") {
    keeps_the_laws(
        0, known_size,
        [](place& p) {
            return tee_sink{mapped_file_sink{p.file("f")}, memory{p.b}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.b)};
        });
    keeps_the_laws(
        0, known_size,
        [](place& p) {
            return tee_sink{memory{p.b}, mapped_file_sink{p.file("f")}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.b)};
        });
}
TEST_CASE("a tee of a mapped file and a file copies nothing, either way round") {
    keeps_the_laws(
        0, known_size,
        [](place& p) {
            return tee_sink{mapped_file_sink{p.file("f")}, file_sink{p.file("g")}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.dir / "g")};
        });
    keeps_the_laws(
        0, known_size,
        [](place& p) {
            return tee_sink{file_sink{p.file("f")}, mapped_file_sink{p.file("g")}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.dir / "g")};
        });
}
TEST_CASE("a tee of two mapped files copies nothing in user space") {
    keeps_the_laws(
        0, known_size,
        [](place& p) {
            return tee_sink{mapped_file_sink{p.file("f")}, mapped_file_sink{p.file("g")}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.dir / "g")};
        });
}
TEST_CASE("a tee of a consumer and a file copies nothing, either way round") {
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{ordered{p.a, p.storage, 50}, file_sink{p.file("f")}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.dir / "f")};
        });
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{file_sink{p.file("f")}, ordered{p.a, p.storage, 300}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.dir / "f")};
        });
    keeps_the_laws(
        0, known_size,
        [](place& p) {
            return tee_sink{mapped_file_sink{p.file("f")}, ordered{p.a, p.storage, 60}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.dir / "f")};
        });
}
TEST_CASE("a tee of memory and a consumer that tells later copies once, either way round") {
    keeps_the_laws(
        1, any_size,
        [](place& p) {
            return tee_sink{memory{p.b}, ordered_later{p.a, p.storage, 100}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.b)};
        });
    keeps_the_laws(
        1, any_size,
        [](place& p) {
            return tee_sink{ordered_later{p.a, p.storage, 1}, memory{p.b}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.b)};
        });
}
TEST_CASE("a tee may be in a tee: all but one of those that cannot be written to cost a copy") {
    keeps_the_laws(
        2, any_size,
        [](place& p) {
            return tee_sink{tee_sink{memory{p.a}, memory{p.b}}, memory{p.c}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.b), visible(p.c)};
        });
    keeps_the_laws(
        2, any_size,
        [](place& p) {
            return tee_sink{memory{p.a}, tee_sink{memory{p.b}, memory{p.c}}};
        },
        [](place& p) {
            return parts{visible(p.a), visible(p.b), visible(p.c)};
        });
    keeps_the_laws(
        0, any_size,
        [](place& p) {
            return tee_sink{file_sink{p.file("f")}, tee_sink{memory{p.a}, file_sink{p.file("g")}}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.a), visible(p.dir / "g")};
        });
    keeps_the_laws(
        0, known_size,
        [](place& p) {
            return tee_sink{tee_sink{mapped_file_sink{p.file("f")}, mapped_file_sink{p.file("g")}},
                            mapped_file_sink{p.file("h")}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.dir / "g"), visible(p.dir / "h")};
        });
    keeps_the_laws(
        1, any_size,
        [](place& p) {
            return tee_sink{tee_sink{file_sink{p.file("f")}, ordered_later{p.a, p.storage, 30}},
                            memory{p.b}};
        },
        [](place& p) {
            return parts{visible(p.dir / "f"), visible(p.a), visible(p.b)};
        });
}

// ---- what it is -------------------------------------------------------------------------------

TEST_CASE("a tee is what its parts let it be") {
    using both = tee_sink<memory_sink, file_sink>;
    STATIC_REQUIRE(both::traits.readable);
    STATIC_REQUIRE(both::traits.revocable);
    STATIC_REQUIRE_FALSE(both::traits.ordered);
    STATIC_REQUIRE_FALSE(cleave::detail::delivers<both>);
    STATIC_REQUIRE_FALSE(cleave::detail::delivers_later<both>);

    STATIC_REQUIRE_FALSE(tee_sink<null_sink, null_sink>::traits.readable);
    STATIC_REQUIRE(tee_sink<null_sink, memory_sink>::traits.readable);
    STATIC_REQUIRE(tee_sink<memory_sink, null_sink>::traits.readable);

    using first = tee_sink<ordered, memory_sink>;
    using second = tee_sink<memory_sink, ordered_later>;
    STATIC_REQUIRE(first::traits.ordered);
    STATIC_REQUIRE(second::traits.ordered);
    STATIC_REQUIRE_FALSE(first::traits.revocable);
    STATIC_REQUIRE_FALSE(second::traits.revocable);
    STATIC_REQUIRE(cleave::detail::delivers<first>);
    STATIC_REQUIRE_FALSE(cleave::detail::delivers_later<first>);
    STATIC_REQUIRE_FALSE(cleave::detail::delivers<second>);
    STATIC_REQUIRE(cleave::detail::delivers_later<second>);

    // It remembers what it lent, so one thread at a time; and no memory of it needs special care.
    STATIC_REQUIRE_FALSE(tee_sink<mapped_file_sink, mapped_file_sink>::traits.concurrent);
    STATIC_REQUIRE_FALSE(tee_sink<mapped_file_sink, mapped_file_sink>::traits.system_filled);
    STATIC_REQUIRE_FALSE(tee_sink<mapped_file_sink, memory_sink>::traits.system_filled);
    STATIC_REQUIRE_FALSE(tee_sink<memory_sink, mapped_file_sink>::traits.system_filled);

    // It can be written to where that spares a copy in both.
    STATIC_REQUIRE(cleave::detail::writes<tee_sink<file_sink, mapped_file_sink>>);
    STATIC_REQUIRE_FALSE(cleave::detail::writes<tee_sink<file_sink, memory_sink>>);
    STATIC_REQUIRE_FALSE(cleave::detail::writes<tee_sink<memory_sink, file_sink>>);
}

TEST_CASE("a tee has the window of the one that is ordered") {
    std::array<std::byte, 60> storage{};
    seen a;
    CHECK(tee_sink{null_sink{}, ordered{a, storage, 20}}.window() == 60);
    CHECK(tee_sink{null_sink{}, ordered{a, storage, 20}}.chunk() == 20);
    CHECK(tee_sink{ordered{a, storage, 30}, null_sink{}}.window() == 60);
    CHECK(tee_sink{ordered{a, storage, 30}, null_sink{}}.chunk() == 30);
}

TEST_CASE("a tee reads from the first that can be read") {
    cleave::testing::memory_disk disk;
    using disk_sink = cleave::basic_file_sink<cleave::testing::memory_file>;
    std::vector<std::byte> bytes;
    error_code ec;
    std::byte back{};
    auto const first_reads = [&](auto sink) {
        sink.open(1, ec);
        sink.prepare(0, 1, ec)[0] = std::byte{7};
        sink.commit(0, 1, ec);
        sink.read(0, {&back, 1}, ec);
        CHECK(back == std::byte{7});
        sink.abandon();
        return disk.count("read_at");
    };
    disk_sink to_disk("f", cleave::testing::memory_file{disk});
    CHECK(first_reads(tee_sink{memory_sink{bytes}, std::move(to_disk)}) == 0);
    disk_sink again("f", cleave::testing::memory_file{disk});
    CHECK(first_reads(tee_sink{std::move(again), memory_sink{bytes}}) == 1);
    disk_sink only("f", cleave::testing::memory_file{disk});
    CHECK(first_reads(tee_sink{null_sink{}, std::move(only)}) == 2);
    CHECK_FALSE(ec);
}

TEST_CASE("a tee lends memory that may be stored into, though a part of it is mapped") {
    temp_dir const dir;
    std::vector<std::byte> bytes;
    error_code ec;
    {
        tee_sink sink{mapped_file_sink{(dir / "f").string()}, memory_sink{bytes}};
        sink.open(100, ec);
        // The other one's, received where it belongs.
        CHECK(sink.prepare(10, 5, ec).data() == bytes.data() + 10);
        sink.abandon();
    }
    auto const survives = [&](auto sink) {
        sink.open(1 << 20U, ec);
        auto const lent = sink.prepare(0, 1 << 20U, ec);
        if (ec || lent.size() < 64 * 1024) return 1;
        fs::resize_file(dir / "f.part", 0);
        fs::resize_file(dir / "g.part", 0);
        lent.back() = std::byte{1};
        sink.sync(1 << 20U, ec);
        return ec == error::partial_replaced ? 0 : 2;
    };
    std::string const f = (dir / "f").string();
    std::string const g = (dir / "g").string();
    CHECK(in_child([&] {
              return survives(tee_sink{mapped_file_sink{f}, mapped_file_sink{g}});
          }) == 0);
    CHECK(in_child([&] { return survives(tee_sink{mapped_file_sink{f}, file_sink{g}}); }) == 0);
    CHECK(in_child([&] { return survives(tee_sink{file_sink{g}, mapped_file_sink{f}}); }) == 0);
}

// ---- failures ---------------------------------------------------------------------------------

namespace {

struct faults {
    error_code check, open, prepare, commit, write, read, deliver, sync, publish;
    std::string calls;
};
// Does as it is told, and says what it was asked for.
class faulty {
  public:
    static constexpr cleave::sink_traits traits{.readable = true, .revocable = true};

    faulty(char const* name, faults& f) : name_(name), f_(&f) {}

    void check(error_code& ec) { say("check", f_->check, ec); }
    void open(std::optional<std::uint64_t> n, error_code& ec) {
        say("open:" + (n ? std::to_string(*n) : "?"), f_->open, ec);
    }
    std::span<std::byte> prepare(std::uint64_t, std::size_t n, error_code& ec) {
        say("prepare", f_->prepare, ec);
        // Little at a time.
        return std::span{bytes_}.first(std::min<std::size_t>(n, 2));
    }
    void commit(std::uint64_t at, std::size_t n, error_code& ec) {
        say("commit:" + std::to_string(at) + "+" + std::to_string(n), f_->commit, ec);
    }
    void read(std::uint64_t, std::span<std::byte>, error_code& ec) { say("read", f_->read, ec); }
    void sync(std::uint64_t n, error_code& ec) { say("sync:" + std::to_string(n), f_->sync, ec); }
    void publish(error_code& ec) { say("publish", f_->publish, ec); }
    void abandon() noexcept { f_->calls += std::string{name_} + ".abandon "; }

  protected:
    void say(std::string const& call, error_code const& from, error_code& ec) {
        f_->calls += std::string{name_} + "." + call + " ";
        if (from) ec = from;
    }

  private:
    std::array<std::byte, 2> bytes_{};
    char const* name_;
    faults* f_;
};
static_assert(byte_sink<faulty>);

} // namespace

TEST_CASE("a tee asks the first and then the second, until one fails") {
    faults a;
    faults b;
    tee_sink sink{faulty{"a", a}, faulty{"b", b}};
    error_code ec;
    error_code const broken{EIO, std::system_category()};
    SECTION("all is well") {
        sink.check(ec);
        sink.open(3, ec);
        CHECK(sink.prepare(0, 100, ec).size() == 2);
        sink.commit(0, 2, ec);
        sink.open(std::nullopt, ec);
        CHECK(sink.prepare(7, 1, ec).size() == 1);
        sink.commit(7, 1, ec);
        sink.sync(8, ec);
        sink.publish(ec);
        CHECK_FALSE(ec);
        CHECK(a.calls == "a.check a.open:3 a.prepare a.commit:0+2 a.open:? a.prepare a.commit:7+1 "
                         "a.sync:8 a.publish ");
        CHECK(b.calls == "b.check b.open:3 b.prepare b.commit:0+2 b.open:? b.prepare b.commit:7+1 "
                         "b.sync:8 b.publish ");
        CHECK(sink.bytes_copied() == 3);
    }
    SECTION("checking") {
        SECTION("the first") {
            a.check = broken;
            sink.check(ec);
            CHECK(b.calls.empty());
        }
        SECTION("the second") {
            b.check = broken;
            sink.check(ec);
        }
        CHECK(ec == broken);
    }
    SECTION("opening") {
        SECTION("the first") {
            a.open = broken;
            sink.open(1, ec);
            CHECK(b.calls.empty());
        }
        SECTION("the second") {
            b.open = broken;
            sink.open(1, ec);
        }
        CHECK(ec == broken);
    }
    SECTION("preparing") {
        a.prepare = broken;
        (void)sink.prepare(0, 1, ec);
        CHECK(ec == broken);
    }
    SECTION("committing: the second has it first, for the memory is the first one's") {
        (void)sink.prepare(0, 2, ec);
        SECTION("the second has no memory") {
            b.prepare = broken;
            sink.commit(0, 2, ec);
            CHECK(a.calls == "a.prepare ");
        }
        SECTION("the second does not take it") {
            b.commit = broken;
            sink.commit(0, 2, ec);
            CHECK(a.calls == "a.prepare ");
        }
        SECTION("the first does not take it") {
            a.commit = broken;
            sink.commit(0, 2, ec);
        }
        CHECK(ec == broken);
    }
    SECTION("reading") {
        a.read = broken;
        sink.read(0, {}, ec);
        CHECK(ec == broken);
        CHECK(b.calls.empty());
    }
    SECTION("syncing") {
        SECTION("the first") {
            a.sync = broken;
            sink.sync(1, ec);
            CHECK(b.calls.empty());
        }
        SECTION("the second") {
            b.sync = broken;
            sink.sync(1, ec);
        }
        CHECK(ec == broken);
    }
    SECTION("publishing the first: then neither is published, and both are abandoned") {
        a.publish = broken;
        sink.publish(ec);
        CHECK(ec == broken);
        sink.abandon();
        CHECK(a.calls == "a.publish a.abandon ");
        CHECK(b.calls == "b.abandon ");
    }
    SECTION("publishing the second: the first is published and stays so") {
        b.publish = broken;
        sink.publish(ec);
        CHECK(ec == broken);
        sink.abandon();
        CHECK(a.calls == "a.publish ");
        CHECK(b.calls == "b.publish b.abandon ");
    }
    SECTION("abandoning") {
        sink.abandon();
        CHECK(a.calls + b.calls == "a.abandon b.abandon ");
    }
}

TEST_CASE(
    "what is lent in one piece is put into the other in as many as it lends, until one fails") {
    std::vector<std::byte> bytes(5);
    faults b;
    tee_sink sink{memory_sink{std::span{bytes}}, faulty{"b", b}};
    error_code ec;
    sink.open(5, ec);
    REQUIRE(sink.prepare(0, 5, ec).size() == 5);
    b.calls.clear();
    SECTION("all is well") {
        sink.commit(0, 5, ec);
        CHECK_FALSE(ec);
        CHECK(b.calls == "b.prepare b.commit:0+2 b.prepare b.commit:2+2 b.prepare b.commit:4+1 ");
    }
    SECTION("no memory") {
        b.prepare = {ENOMEM, std::system_category()};
        sink.commit(0, 5, ec);
        CHECK(ec == std::errc::not_enough_memory);
        CHECK(b.calls == "b.prepare ");
    }
    SECTION("not taken") {
        b.commit = {EIO, std::system_category()};
        sink.commit(0, 5, ec);
        CHECK(ec == std::errc::io_error);
        CHECK(b.calls == "b.prepare b.commit:0+2 ");
    }
}

TEST_CASE("of two files the first stays when the second cannot be published (J07)") {
    temp_dir const dir;
    error_code ec;
    tee_sink sink{file_sink{(dir / "f").string()}, file_sink{(dir / "g").string()}};
    sink.open(1, ec);
    sink.prepare(0, 1, ec)[0] = std::byte{'x'};
    sink.commit(0, 1, ec);
    sink.sync(1, ec);
    fs::create_directory(dir / "g");
    sink.publish(ec);
    CHECK(ec == error::target_is_directory);
    sink.abandon();
    CHECK(read_file(dir / "f") == "x");
    CHECK(fs::is_empty(dir / "g"));
    CHECK_FALSE(fs::exists(dir / "f.part"));
    CHECK_FALSE(fs::exists(dir / "g.part"));
}

TEST_CASE("an error of the one that is ordered is the tee's") {
    std::array<std::byte, 4> storage{};
    std::vector<std::byte> bytes(4);
    auto fail = [](chunk, error_code& ec) { ec = std::make_error_code(std::errc::io_error); };
    tee_sink sink{memory_sink{bytes}, ordered_sink{storage, 4, fail}};
    error_code ec;
    sink.check(ec);
    sink.open(4, ec);
    (void)sink.prepare(0, 4, ec);
    sink.commit(0, 4, ec);
    REQUIRE_FALSE(ec);
    sink.deliver(0, 4, ec);
    CHECK(ec == std::errc::io_error);
    ec.clear();
    sink.open(4, ec);
    CHECK(ec == error::sink_cannot_restart);

    tee_sink bad{memory_sink{bytes}, ordered_sink{storage, 3, fail}};
    ec.clear();
    bad.check(ec);
    CHECK(ec == error::window_too_small);
}
