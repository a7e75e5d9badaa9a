// SPDX-License-Identifier: BSL-1.0
//
// Lanes on several threads: the same bytes, the same books and the same ends as on one strand, over
// real sockets that are cut, by callers who pause and cancel, and with OpenSSL in several threads.
// What threads may do to each other is for the thread sanitizer to find.
#include <support/catch.hpp>

#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/nginx.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

#include <asio/io_context.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <future>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace cleave_test;
using namespace cleave::literals;
using cleave::error;

namespace {

auto apart() {
    return cleave::policies<>{}
        .with_background(cleave::side_by_side{})
        .with_plan(cleave::fixed_size{20'000})
        .with_lanes(cleave::fixed_lanes{4})
        .with_windows({.grant = 7'000})
        .with_renewal(quick_backoff(50));
}

struct outcome {
    std::error_code ec;
    cleave::report report;
};

// On a pool of four threads.
template <class Sink, class Policies>
outcome run(cleave::request what, Sink sink, Policies how) {
    asio::thread_pool pool{4};
    std::promise<outcome> done;
    cleave::async_download(pool.get_executor(), std::move(what), std::move(sink), std::move(how),
                           [&](std::error_code ec, cleave::report r) {
                               done.set_value({ec, std::move(r)});
                           });
    auto o = done.get_future().get();
    pool.join();
    return o;
}

std::string text(std::vector<std::byte> const& memory) {
    return {reinterpret_cast<char const*>(memory.data()), memory.size()};
}

// A sink whose lanes have to wait in `commit` until as many of them are there at the same time as
// are expected, once.
class meeting_sink {
  public:
    static constexpr cleave::sink_traits traits{.concurrent = true, .revocable = true};

    struct meeting {
        explicit meeting(std::size_t expected) : expects(expected) {}
        std::mutex mutex;
        std::condition_variable came;
        std::size_t expects;
        std::set<std::thread::id> there = {};
    };

    meeting_sink(std::span<std::byte> to, meeting& m) : memory_(to), meeting_(&m) {}

    void check(std::error_code&) const noexcept {}
    void open(std::optional<std::uint64_t>, std::error_code&) const noexcept {}
    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code&) const {
        return memory_.subspan(static_cast<std::size_t>(offset), n);
    }
    void commit(std::uint64_t offset, std::size_t, std::error_code&) const {
        if (offset < 1'000'000) return; // only one lane asks what the object is
        std::unique_lock lock{meeting_->mutex};
        meeting_->there.insert(std::this_thread::get_id());
        meeting_->came.notify_all();
        meeting_->came.wait(lock, [this] { return meeting_->there.size() >= meeting_->expects; });
    }
    void sync(std::uint64_t, std::error_code&) const noexcept {}
    void publish(std::error_code&) const noexcept {}
    void abandon() const noexcept {}

  private:
    std::span<std::byte> memory_;
    meeting* meeting_;
};
static_assert(cleave::byte_sink<meeting_sink>);

} // namespace

TEST_CASE("lanes write side by side, each in a thread of its own") {
    object const o = object::random(4'000'000, 71);
    fault_server server{honest(o)};
    std::vector<std::byte> memory(o.bytes.size());
    meeting_sink::meeting three{3};
    auto const got = run(server.url("/r"), meeting_sink{memory, three},
                         apart().with_plan(cleave::even_split{4}).with_windows({}));
    CHECK_FALSE(got.ec);
    CHECK((text(memory) == o.bytes));
    CHECK(three.there.size() >= 3);
}

TEST_CASE("side by side they bring the same bytes, whatever becomes of connections") {
    object const o = object::random(1'500'000, 72);
    auto const cut = GENERATE(as<std::size_t>{}, 0, 1'000, 9'000);
    auto const reset = GENERATE(false, true);
    auto const chunked = GENERATE(false, true);
    CAPTURE(cut, reset, chunked);
    honest_options options{.chunked = chunked, .cut_with_reset = reset};
    if (cut != 0) options.cut_after = cut;
    std::atomic<unsigned> requests = 0;
    options.applies = [&](seen_request const&) { return requests++ % 3 == 0; };
    if (cut == 0) options.applies = {};
    fault_server server{honest(o, options)};
    SECTION("into memory") {
        std::vector<std::byte> memory;
        auto const got = run(server.url("/r"), cleave::memory_sink{memory}, apart());
        CHECK_FALSE(got.ec);
        CHECK((text(memory) == o.bytes));
        CHECK(got.report.bytes == o.bytes.size());
    }
    SECTION("into a file, with a journal and a digest") {
        temp_dir const dir;
        auto const to = (dir / "out").string();
        auto const got =
            run(server.url("/r"), cleave::file_sink{to},
                apart()
                    .with_verify(cleave::sha256(sha256_hex(o.bytes)))
                    .with_windows({.grant = 7'000, .hash = 100'000, .hash_from = 30'000}));
        CHECK_FALSE(got.ec);
        CHECK((read_file(to) == o.bytes));
        CHECK(got.report.digest_verified);
    }
    SECTION("into memory that a file is") {
        temp_dir const dir;
        auto const to = (dir / "out").string();
        auto const got = run(server.url("/r"), cleave::mapped_file_sink{to}, apart());
        CHECK_FALSE(got.ec);
        CHECK((read_file(to) == o.bytes));
    }
    SECTION("in order, through a window") {
        std::array<std::byte, 32'768> window;
        std::string came;
        auto take = [&](std::span<std::byte const> chunk, std::error_code&) {
            came.append(reinterpret_cast<char const*>(chunk.data()), chunk.size());
        };
        auto const got = run(server.url("/r"), cleave::ordered_sink{window, 2'048, take},
                             apart().with_windows({.grant = 7'000, .stripe = 4'096}));
        CHECK_FALSE(got.ec);
        CHECK((came == o.bytes));
    }
}

TEST_CASE("a download side by side goes on where another stopped") {
    object const o = object::random(1'000'000, 73);
    std::atomic<bool> broken = true;
    fault_server server{[&, good = honest(o)](fault_connection& c, seen_request const& r) {
        if (broken && r.range()->first >= 600'000) return void(c.send(reply(404, "Not Found")));
        good(c, r);
    }};
    temp_dir const dir;
    auto const to = (dir / "out").string();
    auto const first = run(server.url("/r"), cleave::file_sink{to}, apart());
    CHECK(first.ec == error::not_found);
    CHECK(first.report.kept);
    broken = false;
    auto const second = run(server.url("/r"), cleave::file_sink{to}, apart());
    CHECK_FALSE(second.ec);
    CHECK(second.report.bytes_resumed != 0);
    CHECK((read_file(to) == o.bytes));
}

TEST_CASE("side by side it is paused, resumed and cancelled from any thread") {
    object const o = object::random(3'000'000, 74);
    fault_server server{honest(o)};
    for (int i = 0; i < 20; ++i) {
        CAPTURE(i);
        std::vector<std::byte> memory;
        cleave::control steer;
        std::atomic<int> told = 0;
        auto watch = cleave::on_progress(std::chrono::milliseconds{1},
                                         [&](cleave::progress const&) { ++told; });
        asio::thread_pool pool{4};
        std::promise<outcome> done;
        cleave::async_download(pool.get_executor(), server.url("/r"), cleave::memory_sink{memory},
                               apart().with_control(steer).with_observer(std::move(watch)),
                               [&](std::error_code ec, cleave::report r) {
                                   done.set_value({ec, std::move(r)});
                               });
        auto end = done.get_future();
        for (int k = 0; k < 10; ++k) {
            steer.pause();
            std::this_thread::yield();
            steer.resume();
        }
        if (i % 2 == 1) steer.cancel();
        auto const got = end.get();
        pool.join();
        if (got.ec) {
            CHECK(got.ec == error::cancelled);
            CHECK(i % 2 == 1);
        } else {
            CHECK((text(memory) == o.bytes));
        }
    }
}

TEST_CASE("TLS, with a digest, side by side") {
    object const o = object::random(8'000'000, 75);
    nginx server{{.certificate = local_identity().pem(), .key = local_identity().key_pem()}};
    server.put("r", o.bytes);
    temp_dir const dir;
    write_file(dir / "ca.pem", test_authority().pem());
    cleave::tls_connector const secure{{.ca_file = (dir / "ca.pem").string()}};
    std::vector<std::byte> memory;
    auto const got = run(server.url("/r"), cleave::memory_sink{memory},
                         apart()
                             .with_windows({})
                             .with_plan(cleave::fixed_size{500'000})
                             .with_connector(secure)
                             .with_verify(cleave::sha256(sha256_hex(o.bytes))));
    CHECK_FALSE(got.ec);
    CHECK(got.report.digest_verified);
    CHECK((text(memory) == o.bytes));
}
