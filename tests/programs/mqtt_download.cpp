// SPDX-License-Identifier: BSL-1.0
//
// A file over MQTT, block by block, over a line that loses, damages, repeats and delays: what the
// examples' agent downloads small files with.

#include <ota/mqtt_download.hpp>

#include <support/catch.hpp>
#include <support/digest.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>
#include <cleave/verify/no_verification.hpp>
#include <cleave/verify/openssl_hasher.hpp>

using namespace example;
using namespace std::chrono_literals;

namespace {

std::vector<std::byte> some_bytes(std::size_t n) {
    std::vector<std::byte> bytes(n);
    std::uint32_t x = 1;
    for (auto& b : bytes) b = std::byte((x = x * 1664525 + 1013904223) >> 24);
    return bytes;
}

cleave::digest sha256_of(std::span<std::byte const> bytes) {
    return cleave::sha256(
        cleave_test::sha256_hex({reinterpret_cast<char const*>(bytes.data()), bytes.size()}));
}

// The platform and the way to it. Replies come in the order in which they were asked for, but for
// what `reply_to` does to the n-th ask, from 1 on: it says how often it is answered.
struct line {
    explicit line(std::vector<std::byte> f) : file(std::move(f)) {}

    std::vector<std::byte> file;
    std::function<int(std::size_t n)> replies = [](std::size_t) { return 1; };
    std::function<bool(std::size_t n)> damages = [](std::size_t) { return false; };
    std::function<bool(std::size_t n)> holds_back = [](std::size_t) { return false; };
    std::uint64_t says_size = 0; // in place of the file's
    int code = 200;

    std::vector<cleave::segment> asked;

    // What a download is like when it has ended.
    struct outcome {
        std::error_code ec;
        mqtt_download_report report;
    };

    template <class Planner, class Sink, class Verifier>
    outcome run(Planner planner, Sink sink, Verifier verifier, mqtt_download_settings s = {}) {
        asio::io_context context{1};
        auto const download = std::make_shared<mqtt_download<Planner, Sink, Verifier>>(
            context.get_executor(), file.size(), std::move(planner), std::move(sink),
            std::move(verifier), s);
        std::optional<outcome> ended;
        std::vector<std::string> held;
        auto const deliver = [&](std::string const& payload) {
            asio::post(context, [&, payload] {
                if (!ended) download->take(read_block_reply(payload));
            });
        };
        download->start(
            [&](cleave::segment bytes) {
                asked.push_back(bytes);
                std::size_t const n = asked.size();
                std::string const payload = reply(bytes, damages(n));
                if (holds_back(n)) return held.push_back(payload);
                for (int i = replies(n); i > 0; --i) deliver(payload);
                // Late, and behind one that was asked for later.
                for (auto const& late : std::exchange(held, {})) deliver(late);
            },
            [&](std::error_code ec, mqtt_download_report r) {
                ended = outcome{ec, std::move(r)};
            });
        context.run();
        REQUIRE(ended);
        return *std::move(ended);
    }

  private:
    std::string reply(cleave::segment bytes, bool damaged) const {
        block_reply r;
        r.id = "1";
        r.code = code;
        r.file_size = says_size != 0 ? says_size : file.size();
        r.offset = bytes.first;
        r.bytes = std::span{file}.subspan(bytes.first, bytes.size());
        auto payload = write(r);
        if (damaged)
            payload[payload.size() - 3] = static_cast<char>(payload[payload.size() - 3] ^ 1);
        return payload;
    }
};

} // namespace

TEST_CASE("a block that is lost or damaged is asked for again, and one too many is ignored") {
    line l{some_bytes(100'001)};
    l.replies = [](std::size_t n) { return n % 5 == 0 ? 0 : n % 7 == 0 ? 2 : 1; };
    l.damages = [](std::size_t n) { return n % 11 == 0; };
    l.holds_back = [](std::size_t n) { return n % 13 == 0; };
    std::vector<std::byte> to;
    auto const [ec, report] =
        l.run(cleave::fixed_size{3000}, cleave::memory_sink{to}, sha256_of(l.file),
              {.block = 1024, .lanes = 3, .patience = 5ms});
    CHECK_FALSE(ec);
    CHECK(to == l.file);
    CHECK(report.digest_verified);
    CHECK(report.bytes == l.file.size());
    CHECK(report.asks == l.asked.size());
    CHECK(report.asks_again > 0);
    CHECK(report.blocks_damaged > 0);
    CHECK(report.blocks_not_wanted > 0);
}

TEST_CASE("on a good line each byte is asked for once, as the planner says") {
    line l{some_bytes(10'000)};
    std::vector<std::byte> to;
    auto const with = [&](auto planner) {
        l.asked.clear();
        auto const [ec, report] = l.run(planner, cleave::memory_sink{to}, cleave::no_verification{},
                                        {.block = 1000, .lanes = 4});
        CHECK_FALSE(ec);
        CHECK(to == l.file);
        CHECK(report.asks_again == 0);
        auto sorted = l.asked;
        std::sort(sorted.begin(), sorted.end());
        CHECK_FALSE(cleave::find_list_fault(sorted, {0, 9'999}));
    };
    with(cleave::guided{});
    with(cleave::even_split{4});
    CHECK(l.asked.front() == cleave::segment{0, 999});
    CHECK(l.asked[1] == cleave::segment{2500, 3499});
    with(cleave::listed_segments{{0, 99}, {100, 9'999}});
    CHECK(l.asked.front() == cleave::segment{0, 99});
}

TEST_CASE("an ordered sink gets its chunks in order, and nothing is asked for beyond its window") {
    line l{some_bytes(50'001)};
    l.replies = [](std::size_t n) { return n % 4 == 0 ? 0 : 1; };
    l.holds_back = [](std::size_t n) { return n % 3 == 0; };
    std::vector<std::byte> window(8 * 512);
    std::vector<std::byte> to;
    std::size_t asked_before = 0;
    bool within = true;
    auto const take = [&](std::span<std::byte const> chunk) {
        for (; asked_before != l.asked.size(); ++asked_before)
            within = within && l.asked[asked_before].last < to.size() + window.size();
        CHECK((chunk.size() == 512 || to.size() + chunk.size() == l.file.size()));
        to.insert(to.end(), chunk.begin(), chunk.end());
    };
    auto const [ec, report] = l.run(cleave::guided{}, cleave::ordered_sink{window, 512, take},
                                    sha256_of(l.file), {.block = 700, .lanes = 4, .patience = 5ms});
    CHECK_FALSE(ec);
    CHECK(to == l.file);
    CHECK(within);
}

TEST_CASE("a wrong digest is a failure, whatever the checksums of the blocks say") {
    line l{some_bytes(5000)};
    auto other = l.file;
    other[4999] ^= std::byte{1};
    std::vector<std::byte> to;
    auto const [ec, report] = l.run(cleave::guided{}, cleave::memory_sink{to}, sha256_of(other));
    CHECK(ec == cleave::error::digest_mismatch);
    CHECK_FALSE(report.digest_verified);
}

TEST_CASE("what cannot go well is refused before anything is asked for") {
    line l{some_bytes(5000)};
    std::vector<std::byte> to;
    SECTION("segments that overlap") {
        auto const [ec, report] = l.run(cleave::listed_segments{{0, 1024}, {1024, 4999}},
                                        cleave::memory_sink{to}, cleave::no_verification{});
        CHECK(ec == cleave::error::segments_overlap);
        CHECK(report.failed->message().find("overlap at byte 1024; use [1025,4999]") !=
              std::string::npos);
    }
    SECTION("segments for another size") {
        auto const [ec, report] = l.run(cleave::listed_segments{{0, 1024}}, cleave::memory_sink{to},
                                        cleave::no_verification{});
        CHECK(ec == cleave::error::segments_do_not_match_size);
    }
    SECTION("a digest that is none") {
        auto const [ec, report] =
            l.run(cleave::guided{}, cleave::memory_sink{to}, cleave::sha256("12"));
        CHECK(ec == cleave::error::bad_digest);
    }
    SECTION("memory that is too small") {
        std::vector<std::byte> small(10);
        auto const [ec, report] = l.run(cleave::guided{}, cleave::memory_sink{std::span{small}},
                                        cleave::no_verification{});
        CHECK(ec == cleave::error::sink_too_small);
    }
    CHECK(l.asked.empty());
}

TEST_CASE("a block that never comes ends it after so many tries") {
    line l{some_bytes(5000)};
    l.replies = [](std::size_t n) { return n <= 2 ? 1 : 0; };
    std::vector<std::byte> to;
    auto const [ec, report] =
        l.run(cleave::guided{}, cleave::memory_sink{to}, cleave::no_verification{},
              {.block = 1000, .lanes = 1, .patience = 1ms, .tries = 4});
    CHECK(ec == cleave::error::stalled);
    CHECK(report.failed->detail == "the block [2000,2999] was asked for 4 times");
    CHECK(l.asked.size() == 2 + 4);
}

TEST_CASE("the platform's no, and another file than was told, end it at once") {
    line l{some_bytes(5000)};
    std::vector<std::byte> to;
    SECTION("404") {
        l.code = 404;
        auto const [ec, report] = l.run(cleave::guided{}, cleave::memory_sink{to},
                                        cleave::no_verification{}, {.lanes = 1});
        CHECK(ec == cleave::error::not_found);
    }
    SECTION("another size") {
        l.says_size = 5001;
        auto const [ec, report] = l.run(cleave::guided{}, cleave::memory_sink{to},
                                        cleave::no_verification{}, {.lanes = 1});
        CHECK(ec == cleave::error::size_changed);
        CHECK(report.failed->detail == "the task says 5000 bytes, the file has 5001");
    }
    CHECK(l.asked.size() == 1);
}
