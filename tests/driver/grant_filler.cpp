// SPDX-License-Identifier: BSL-1.0
//
// Grants are filled with the object's bytes and nothing else, however a body is framed and in
// whatever portions it comes; and the engine hears why one is not. No engine, no sockets.
#include <cleave/base/crc32c.hpp>
#include <cleave/driver/grant_filler.hpp>
#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>

#include <support/catch.hpp>
#include <support/temp_dir.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using cleave::body_framing;
using cleave::error;
using cleave::segment;
using cleave::action::receive;
using cleave::detail::fill_stop;
using cleave::event::grant_ended;
using kind = cleave::body_framing::kind;

namespace {

// Has these portions to read, with nothing there between two of them, and then what `end` says.
struct portions {
    std::vector<std::string> left{};
    std::error_code end = asio::error::eof;

    template <class Handler>
    void async_connect(cleave::url const&, Handler) {}
    template <class Handler>
    void async_write(std::string_view, Handler) {}
    template <class Handler>
    void async_wait(Handler) {}
    std::size_t read_some(std::span<std::byte> to, std::error_code& ec) {
        if (left.empty()) {
            ec = end;
            return 0;
        }
        if (left.front().empty()) {
            left.erase(left.begin());
            ec = asio::error::would_block;
            return 0;
        }
        std::size_t const n = std::min(to.size(), left.front().size());
        std::memcpy(to.data(), left.front().data(), n);
        left.front().erase(0, n);
        return n;
    }
    void close() noexcept {}
};

template <class Sink>
struct rig {
    explicit rig(Sink& sink) : filler(sink) {}

    // What came along with the head, and what comes then.
    void reply(std::string_view with_head, std::vector<std::string> then) {
        std::string const text = "HEAD" + std::string{with_head};
        std::memcpy(lane.head_buffer.data(), text.data(), text.size());
        lane.pending = {lane.head_buffer.data(), text.size()};
        lane.stream.left = std::move(then);
    }
    fill_stop until_stopped() {
        for (;;)
            if (auto s = filler.fill(lane)) return *std::move(s);
    }
    grant_ended fill(receive const& a, std::uint64_t origin = 0) {
        filler.begin(lane, a, origin);
        lane.budget = 100'000;
        fill_stop s = until_stopped();
        while (s.is == fill_stop::why::nothing_there) s = until_stopped();
        REQUIRE(s.is == fill_stop::why::ended);
        filler.end(lane, s.how);
        CHECK_FALSE(lane.filling);
        return std::move(s.how);
    }

    cleave::detail::lane_io<portions> lane{portions{}};
    cleave::detail::grant_filler<portions, Sink, false> filler;
};

receive first(segment grant, body_framing framing) {
    return {.grant = grant, .first = true, .head_size = 4, .framing = framing};
}

std::string object(std::size_t size) {
    std::string bytes;
    for (std::size_t i = 0; i != size; ++i) bytes += static_cast<char>(i * 7 + i / 256);
    return bytes;
}

std::string in_chunks(std::string_view bytes, std::size_t each) {
    std::string text;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(each, bytes.size()))) {
        char const* const digits = "0123456789abcdef";
        std::size_t const n = std::min(each, bytes.size());
        text += {digits[n / 16], digits[n % 16], '\r', '\n'};
        text += bytes.substr(0, n);
        text += "\r\n";
    }
    return text + "0\r\n\r\n";
}

std::string text_of(std::span<std::byte const> bytes) {
    std::string text;
    for (std::byte const b : bytes) text += static_cast<char>(b);
    return text;
}

} // namespace

TEST_CASE("a body in any framing, cut in two anywhere, fills its grants with the object") {
    std::string const all = object(90);
    for (kind const how : {kind::length, kind::chunked, kind::until_close}) {
        std::string const body = how == kind::chunked ? in_chunks(all, 40) : all;
        for (std::size_t with_head : {0U, 1U, 50U})
            for (std::size_t cut = with_head; cut <= body.size(); ++cut) {
                CAPTURE(static_cast<int>(how), with_head, cut);
                std::vector<std::byte> memory(all.size());
                cleave::memory_sink sink{std::span{memory}};
                rig r{sink};
                r.reply(body.substr(0, with_head),
                        {body.substr(with_head, cut - with_head), body.substr(cut)});

                receive a = first({0, 29}, {how, all.size()});
                for (int i = 0; i != 3; ++i) {
                    a.last = a.to_the_end = i == 2;
                    grant_ended const e = r.fill(a);
                    REQUIRE_FALSE(e.failed);
                    REQUIRE(e.bytes == 30);
                    REQUIRE(e.body_ended == a.last);
                    REQUIRE_FALSE(e.bytes_left_over);
                    a = {.grant = {a.grant.first + 30, a.grant.last + 30}, .framing = a.framing};
                }
                REQUIRE(text_of(memory) == all);
                REQUIRE(r.lane.read_in_all() == body.size());
            }
    }
}

TEST_CASE("what is to be skipped is dropped, and of that as much compared as is asked for") {
    std::string const all = object(200);
    // The sink has bytes 1000 and on of the object; the reply begins with byte 1040.
    auto const try_with = [&](std::size_t wrong) {
        std::vector<std::byte> memory(all.size());
        std::memcpy(memory.data(), all.data(), 60);
        if (wrong < 60) memory[wrong] ^= std::byte{1};
        cleave::memory_sink sink{std::span{memory}};
        rig r{sink};
        r.reply(all.substr(40, 5), {all.substr(45, 10), all.substr(55)});
        receive a = first({1060, 1199}, {kind::length, 160});
        a.skip = 20;
        a.compare = 10;
        a.last = true;
        grant_ended e = r.fill(a, 1000);
        if (!e.failed) {
            CHECK(e.bytes == 140);
            CHECK(e.body_ended);
            CHECK(r.lane.bytes_dropped == 20);
            CHECK(text_of(memory).substr(60) == all.substr(60));
        }
        return e;
    };
    CHECK_FALSE(try_with(100).failed);
    CHECK_FALSE(try_with(50).failed); // behind what is compared
    for (std::size_t wrong = 40; wrong != 50; ++wrong) {
        CAPTURE(wrong);
        grant_ended const e = try_with(wrong);
        REQUIRE(e.failed);
        CHECK(e.failed->code == error::bytes_differ);
        CHECK(e.bytes == 0);
    }
}

TEST_CASE("a body that ends early is an end only where nothing says that there is more") {
    std::string const all = object(30);
    auto const cut_at = [&](kind how, std::string const& body, std::uint64_t skip = 0) {
        std::vector<std::byte> memory(100);
        cleave::memory_sink sink{std::span{memory}};
        rig r{sink};
        r.reply("", {body});
        receive a = first({0, 99}, {how, 100});
        a.skip = skip;
        return r.fill(a);
    };
    for (auto const& [how, body] : {std::pair{kind::length, all},
                                    std::pair{kind::chunked, in_chunks(all, 30).substr(0, 34)}}) {
        grant_ended const e = cut_at(how, body);
        REQUIRE(e.failed);
        CHECK(e.failed->code == error::closed_in_body);
        CHECK(e.bytes == 30);
        CHECK_FALSE(e.body_ended);
    }
    for (auto const& [how, body] :
         {std::pair{kind::until_close, all}, std::pair{kind::chunked, in_chunks(all, 7)}}) {
        grant_ended const e = cut_at(how, body);
        CHECK_FALSE(e.failed);
        CHECK(e.bytes == 30);
        CHECK(e.body_ended);
        CHECK_FALSE(e.too_short);
        CHECK(cut_at(how, body, 31).too_short);
        CHECK(cut_at(how, body, 31).bytes == 0);
    }
}

TEST_CASE("damaged chunks end a grant with what came before, and fail one that wants more") {
    auto const into = [](std::size_t size) {
        std::vector<std::byte> memory(size);
        cleave::memory_sink sink{std::span{memory}};
        rig r{sink};
        r.reply("5\r\nhello", {"?"});
        receive a = first({0, size - 1}, {kind::chunked, 0});
        a.last = true;
        grant_ended e = r.fill(a);
        CHECK(e.bytes == 5);
        CHECK_FALSE(e.body_ended);
        return e;
    };
    REQUIRE(into(6).failed);
    CHECK(into(6).failed->code == error::bad_chunk);
    CHECK_FALSE(into(5).failed);
}

TEST_CASE("what lies behind the body's end is seen and not touched") {
    std::vector<std::byte> memory(20);
    cleave::memory_sink sink{std::span{memory}};
    for (kind const how : {kind::length, kind::chunked}) {
        rig r{sink};
        std::string const body = how == kind::chunked ? in_chunks(object(10), 10) : object(10);
        r.reply(body + "HTTP/1.1 206", {});
        receive a = first({0, 9}, {how, 10});
        a.last = true;
        grant_ended const e = r.fill(a);
        CHECK(e.bytes == 10);
        CHECK(e.body_ended);
        CHECK(e.bytes_left_over);
        CHECK(r.lane.pending == "HTTP/1.1 206");
        CHECK(memory[10] == std::byte{});
    }
}

TEST_CASE("a sink without room ends the grant, unless there is nothing more anyway") {
    std::string const all = object(50);
    for (kind const how : {kind::length, kind::chunked, kind::until_close}) {
        CAPTURE(static_cast<int>(how));
        for (std::size_t const room : {50U, 49U}) {
            std::vector<std::byte> memory(room);
            cleave::memory_sink sink{std::span{memory}};
            rig r{sink};
            r.reply("", {how == kind::chunked ? in_chunks(all, 50) : all});
            grant_ended const e = r.fill(first({0, 99}, {how, 50}));
            CHECK(e.bytes == room);
            CHECK(e.failed.has_value() == (room == 49));
            CHECK(e.body_ended == (room == 50));
            if (e.failed) CHECK(e.failed->code == error::sink_too_small);
            if (e.failed) CHECK(e.failed->where == cleave::phase::sink);
        }
    }
}

TEST_CASE("a lane stops for the stream's errors, for more bytes, and for others") {
    std::vector<std::byte> memory(100);
    cleave::memory_sink sink{std::span{memory}};
    rig r{sink};
    r.reply("", {"ab", "c"});
    r.lane.stream.end = asio::error::connection_reset;
    r.filler.begin(r.lane, first({0, 99}, {kind::length, 100}), 0);
    r.lane.budget = 3;
    CHECK(r.until_stopped().is == fill_stop::why::nothing_there);
    CHECK(r.until_stopped().is == fill_stop::why::others_turn);
    CHECK(r.lane.placed == 3);
    r.lane.budget = 3;
    CHECK(r.until_stopped().is == fill_stop::why::nothing_there);
    fill_stop const s = r.until_stopped();
    CHECK(s.is == fill_stop::why::stream_failed);
    CHECK(s.ec == asio::error::connection_reset);
    CHECK(r.lane.placed == 3);
}

TEST_CASE("where a journal is to know, each grant has the checksum of its bytes") {
    cleave_test::temp_dir const dir;
    std::string const all = object(200);
    for (kind const how : {kind::length, kind::chunked, kind::until_close}) {
        CAPTURE(static_cast<int>(how));
        cleave::file_sink sink{(dir / "file").string()};
        std::error_code ec;
        sink.open(all.size(), ec);
        REQUIRE_FALSE(ec);
        rig r{sink};
        r.filler.sum_up_all(true);
        std::string const body = how == kind::chunked ? in_chunks(all, 33) : all;
        r.reply(body.substr(0, 20), {body.substr(20, 50), body.substr(70)});
        receive a = first({0, 99}, {how, all.size()});
        for (std::size_t at = 0; at != 200; at += 100) {
            grant_ended const e = r.fill(a);
            CHECK(e.bytes == 100);
            CHECK(e.crc == cleave::crc32c(std::as_bytes(std::span{all}.subspan(at, 100))));
            a = {.grant = {100, 199}, .framing = a.framing};
        }
        sink.abandon();
    }
}
