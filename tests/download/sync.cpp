// SPDX-License-Identifier: BSL-1.0
//
// The front door for those who wait: what it throws, what it returns, and what it leaves on disk.
#include <support/catch.hpp>

#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>

#include <filesystem>
#include <string>
#include <system_error>

using namespace cleave_test;
using cleave::error;

TEST_CASE("download(url, path) is the whole first example") {
    object const o = object::random(5000000, 40);
    fault_server server{honest(o)};
    temp_dir dir;
    std::string const path = (dir / "model.bin").string();
    auto const report = cleave::download(server.url("/model.bin"), path);
    CHECK(report.bytes == o.bytes.size());
    CHECK(read_file(path) == o.bytes);
    CHECK_FALSE(std::filesystem::exists(path + ".part"));

    // A second run replaces what is there.
    CHECK_NOTHROW(cleave::download(server.url("/model.bin"), path));
    CHECK(read_file(path) == o.bytes);
}

TEST_CASE("it throws a system_error that carries the report and says what to do") {
    fault_server server{
        [](fault_connection& c, seen_request const&) { c.send(reply(404, "Not Found")); }};
    temp_dir dir;
    std::string const path = (dir / "out").string();
    try {
        cleave::download(server.url("/x"), path);
        FAIL("no exception");
    } catch (cleave::download_error const& e) {
        CHECK(e.code() == error::not_found);
        CHECK(e.report().failed->status == 404);
        CHECK(std::string{e.what()} ==
              "there is no such object on the server (404); check the URL");
    }
    CHECK_THROWS_AS(cleave::download(server.url("/x"), path), std::system_error);
    CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("with an error_code it does not throw") {
    std::error_code ec;
    temp_dir dir;
    auto const report = cleave::download("http://127.0.0.1:1/x", (dir / "x").string(), ec);
    CHECK(ec == std::errc::connection_refused);
    CHECK(report.failed->where == cleave::phase::connect);
    CHECK(report.failed->message() == "connecting to 127.0.0.1:1: Connection refused; check host "
                                      "and port, and that the server is running");
}

TEST_CASE("a failed run leaves what was under the name before, and of a partial what is of use") {
    object const o = object::random(100000, 41);
    temp_dir dir;
    std::string const path = (dir / "out").string();
    write_file(path, "old");
    auto const gives_up = [&](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        c.send(honest_206_head(o, range.first, 99999));
        if (range.first == 0) c.send_body(body(o, 0, 49999));
        c.close();
    };
    SECTION("a wrong digest") {
        fault_server server{honest(o)};
        std::error_code ec;
        (void)cleave::download(
            server.url("/r"), cleave::file_sink{path},
            cleave::policies<>{}.with_verify(cleave::sha256(std::string(64, '0'))), ec);
        CHECK(ec == error::digest_mismatch);
        CHECK_FALSE(std::filesystem::exists(path + ".part"));
        CHECK_FALSE(std::filesystem::exists(path + ".cleave"));
    }
    SECTION("a server that gives up in the middle") {
        fault_server server{gives_up};
        std::error_code ec;
        (void)cleave::download(server.url("/r"), cleave::file_sink{path},
                               cleave::policies<>{}.with_renewal(quick_backoff()), ec);
        CHECK(ec == error::closed_in_body);
        CHECK(std::filesystem::exists(path + ".part"));
        CHECK(std::filesystem::exists(path + ".cleave"));
    }
    SECTION("the same without a journal") {
        fault_server server{gives_up};
        std::error_code ec;
        (void)cleave::download(
            server.url("/r"), cleave::file_sink{path},
            cleave::policies<>{}.with_renewal(quick_backoff()).with_journal(cleave::no_journal{}),
            ec);
        CHECK(ec == error::closed_in_body);
        CHECK_FALSE(std::filesystem::exists(path + ".part"));
        CHECK_FALSE(std::filesystem::exists(path + ".cleave"));
    }
    CHECK(read_file(path) == "old");
}

TEST_CASE("a right digest is verified, over any number of lanes") {
    object const o = object::random(3000000, 42);
    fault_server server{honest(o)};
    for (std::uint32_t const lanes : {1U, 3U, 16U}) {
        temp_dir dir;
        std::error_code ec;
        auto const report =
            cleave::download(server.url("/r"), cleave::file_sink{(dir / "out").string()},
                             cleave::policies<>{}
                                 .with_plan(cleave::fixed_size{70000})
                                 .with_lanes(cleave::fixed_lanes{lanes})
                                 .with_verify(cleave::sha256(sha256_hex(o.bytes))),
                             ec);
        CHECK_FALSE(ec);
        CHECK(report.digest_verified);
        CHECK(read_file(dir / "out") == o.bytes);
    }
}

TEST_CASE("L03: a digest that cannot be read is refused before any connection") {
    object const o = object::random(1000, 43);
    fault_server server{honest(o)};
    for (char const* hex : {"", "12", "zz", " 00"}) {
        std::vector<std::byte> memory;
        std::error_code ec;
        (void)cleave::download(server.url("/r"), cleave::memory_sink{memory},
                               cleave::policies<>{}.with_verify(cleave::sha256(hex)), ec);
        CHECK(ec == error::bad_digest);
    }
    CHECK(server.connections() == 0);
}

TEST_CASE("a list of segments with a fault is refused before any connection") {
    object const o = object::random(2049, 44);
    fault_server server{honest(o)};
    std::vector<std::byte> memory;
    std::error_code ec;
    auto run = [&](cleave::listed_segments list) {
        return cleave::download(server.url("/r"), cleave::memory_sink{memory},
                                cleave::policies<>{}.with_plan(std::move(list)), ec);
    };
    auto const overlap = run({{0, 1024}, {1024, 2048}});
    CHECK(ec == error::segments_overlap);
    CHECK(overlap.failed->message() ==
          "segments [0,1024] and [1024,2048] overlap at byte 1024; use [1025,2048]: two segments "
          "overlap; begin each one byte behind the last byte of the one before");
    (void)run({{0, 1024}, {1026, 2048}});
    CHECK(ec == error::segments_leave_gap);
    (void)run({{1025, 2048}, {0, 1024}});
    CHECK(ec == error::segments_out_of_order);
    (void)run({{1024, 0}});
    CHECK(ec == error::segment_reversed);
    (void)run(std::initializer_list<cleave::segment>{});
    CHECK(ec == error::segments_empty);
    CHECK(server.connections() == 0);

    ec = {};
    (void)run({{0, 1024}, {1025, 2048}});
    CHECK_FALSE(ec);
    CHECK(memory.size() == 2049);

    auto const longer = run({{0, 1024}, {1025, 4096}});
    CHECK(ec == error::segments_do_not_match_size);
    CHECK(longer.failed->detail == "the segments are for [0,4096] (4097 bytes), but what is asked "
                                   "for is [0,2048] (2049 bytes)");
    CHECK(longer.bytes == 0);
}

TEST_CASE("one target, two downloads: the second is told that it is busy") {
    object const o = object::random(100000, 45);
    temp_dir dir;
    std::string const path = (dir / "out").string();
    std::error_code inner;
    // The second starts while the first is receiving.
    bool tried = false;
    fault_server server{honest(o)};
    struct second_download : cleave::ignores_other_events {
        using cleave::ignores_other_events::on;
        second_download(std::string p, std::string u, std::error_code& e, bool& t)
            : path(std::move(p)), url(std::move(u)), ec(&e), tried(&t) {}
        std::string path, url;
        std::error_code* ec;
        bool* tried;
        void on(cleave::progress const& p) const noexcept {
            if (p.bytes == 0 || std::exchange(*tried, true)) return;
            (void)cleave::download(url, cleave::file_sink{path}, cleave::policies<>{}, *ec);
        }
        [[nodiscard]] std::chrono::nanoseconds interval() const noexcept {
            return std::chrono::nanoseconds{1};
        }
    };
    honest_options slow;
    slow.rate = 400000;
    fault_server slow_server{honest(o, slow)};
    auto const report = cleave::download(
        slow_server.url("/r"), cleave::file_sink{path},
        cleave::policies<>{}.with_observer(second_download{path, server.url("/r"), inner, tried}));
    CHECK(tried);
    CHECK(inner == error::target_busy);
    CHECK(report.bytes == o.bytes.size());
    CHECK(read_file(path) == o.bytes);
}

namespace {

// Takes bytes and cannot give them back, as a pipe to a flash chip might.
class one_way_sink {
  public:
    static constexpr cleave::sink_traits traits{};
    explicit one_way_sink(std::vector<std::byte>& to) : to_(to) {}
    void check(std::error_code& ec) const { to_.check(ec); }
    void open(std::optional<std::uint64_t> size, std::error_code& ec) { to_.open(size, ec); }
    std::span<std::byte> prepare(std::uint64_t at, std::size_t n, std::error_code& ec) {
        return to_.prepare(at, n, ec);
    }
    void commit(std::uint64_t, std::size_t, std::error_code&) const {}
    void sync(std::uint64_t size, std::error_code& ec) { to_.sync(size, ec); }
    void publish(std::error_code&) const {}
    void abandon() noexcept {}

  private:
    cleave::memory_sink to_;
};

} // namespace

TEST_CASE("a digest over a sink that cannot be read back is refused by name") {
    object const o = object::random(1000, 46);
    fault_server server{honest(o)};
    std::vector<std::byte> memory;
    std::error_code ec;
    (void)cleave::download(server.url("/r"), one_way_sink{memory},
                           cleave::policies<>{}.with_verify(cleave::sha256(sha256_hex(o.bytes))),
                           ec);
    CHECK(ec == error::sink_not_readable);
    CHECK(server.connections() == 0);
    (void)cleave::download(server.url("/r"), one_way_sink{memory}, cleave::policies<>{}, ec);
    CHECK_FALSE(ec);
    CHECK(memory.size() == 1000);
}
