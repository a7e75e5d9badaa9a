// SPDX-License-Identifier: BSL-1.0
//
// A line for each event but progress, in one piece and without control characters; and whatever
// becomes of a line, nothing of it comes back to the download.

#include <cleave/observe/log_lines.hpp>

#include <cleave/observe/on_progress.hpp>

#include <laws/observer_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <new>
#include <optional>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <string_view>
#include <vector>

using cleave::log_lines;
using namespace std::chrono_literals;

namespace {

// The line that an event makes.
template <class Event>
std::string line_of(Event const& e) {
    std::vector<std::string> lines;
    log_lines o([&](std::string_view line) { lines.emplace_back(line); });
    static_assert(cleave::observer<decltype(o)>);
    o.on(e);
    REQUIRE(lines.size() == 1);
    return lines[0];
}

cleave::failure const reset =
    cleave::failure::of(cleave::error::closed_in_body, cleave::phase::body, "at byte 17");

// What a line says comes after a failure.
std::string follows(cleave::next_step next, std::optional<std::chrono::nanoseconds> t) {
    std::string const line = line_of(cleave::attempt_failed{0, reset, t, next});
    return line.substr(line.rfind("; ") + 2);
}

struct full_disk : std::streambuf {
    int_type overflow(int_type) override { throw std::runtime_error("disk full"); }
};

} // namespace

TEST_CASE("each event has its line") {
    CHECK(line_of(cleave::lane_connected{3, false}) == "lane 3 is connected");
    CHECK(line_of(cleave::lane_connected{3, true}) == "lane 3 goes on over a kept connection");
    CHECK(line_of(cleave::segment_asked{3, {0, 1'048'575}, false}) ==
          "lane 3 asks for [0,1048575]");
    CHECK(line_of(cleave::segment_asked{4, {5, 5}, true}) ==
          "lane 4 asks for [5,5] too, which a slow lane holds");
    CHECK(line_of(cleave::bytes_stolen{1, 2, {10, 19}, false}) ==
          "lane 2 takes [10,19] over from lane 1");
    CHECK(line_of(cleave::bytes_stolen{1, 2, {10, 19}, true}) ==
          "lane 2 takes [10,19] over from lane 1, which was slower");
    CHECK(line_of(cleave::piece_failed{7, {70, 79}}) ==
          "piece 7, [70,79], does not have its digest; it is fetched again");
    CHECK(line_of(cleave::mirror_dropped{1, "http://one.example/x", reset}) ==
          "gave up http://one.example/x: " + reset.message());
    CHECK(line_of(cleave::download_paused{true}) == "paused");
    CHECK(line_of(cleave::download_paused{false}) == "going on");
    CHECK(line_of(cleave::download_resumed{1000}) ==
          "goes on where an earlier run ended: 1000 bytes are in place");
    CHECK(line_of(cleave::request_refreshed{}) == "there is a fresh URL");
    CHECK(line_of(cleave::request_refreshed{reset.code}) ==
          "there is no fresh URL: " + reset.code.message());
    CHECK(line_of(cleave::download_ended{nullptr, 1'000, 1500ms}) ==
          "done after 1000 bytes and 1.5 s");
    CHECK(line_of(cleave::download_ended{&reset, 17, 0s}) ==
          "failed after 17 bytes and 0.0 s: " + reset.message());
}

TEST_CASE("the line about the object says what is known of it, and nothing of what it is called "
          "(I08)") {
    using kind = cleave::validator::kind;
    cleave::identity known;
    CHECK(line_of(cleave::object_known{known, true}) ==
          "the object has an unknown number of bytes, and nothing to tell its versions by");
    known.size = 42;
    known.validator = {kind::strong_etag, "\"secret\""};
    CHECK(line_of(cleave::object_known{known, true}) ==
          "the object has 42 bytes, and a strong ETag");
    known.validator.is = kind::last_modified;
    CHECK(line_of(cleave::object_known{known, false}) ==
          "the object has 42 bytes, and a date of change; the server sends no ranges");
}

TEST_CASE("the line about a failure says why, and what comes next") {
    using step = cleave::next_step;
    CHECK(line_of(cleave::attempt_failed{3, reset, 200ms, step::new_connection}) ==
          "lane 3 failed: " + reset.message() + "; connects again in 0.2 s");
    CHECK(reset.message().find("at byte 17") == 0);
    CHECK(line_of(cleave::attempt_failed{3, reset, std::nullopt}) ==
          "lane 3 failed: " + reset.message() + "; given up");
    CHECK(follows(step::same_connection, 1500ms) == "asks again in 1.5 s over the same connection");
    CHECK(follows(step::same_connection, 0s) == "asks again at once over the same connection");
    CHECK(follows(step::same_connection, {}) == "asks again over the same connection");
    CHECK(follows(step::new_connection, {}) == "connects again");
    // These say nothing of a time, known or not.
    for (auto const when : {std::optional<std::chrono::nanoseconds>{}, std::optional{1000ns}}) {
        CHECK(follows(step::fresh_request, when) == "gets a fresh URL");
        CHECK(follows(step::other_mirror, when) == "goes on at another mirror");
        CHECK(follows(step::fewer_lanes, when) == "goes on without this lane");
        CHECK(follows(step::one_stream, when) == "one stream from here on");
        CHECK(follows(step::new_version, when) == "begins again with the new version");
        CHECK(follows(step::none, when) == "given up");
    }
}

TEST_CASE("times are told in tenths of a second, rounded up") {
    auto const again_after = [](std::chrono::nanoseconds t) {
        return follows(cleave::next_step::new_connection, t);
    };
    CHECK(again_after(0s) == "connects again at once");
    CHECK(again_after(-1s) == "connects again at once");
    CHECK(again_after(1ns) == "connects again in 0.1 s");
    CHECK(again_after(100ms) == "connects again in 0.1 s");
    CHECK(again_after(100'000'001ns) == "connects again in 0.2 s");
    CHECK(again_after(59'950ms) == "connects again in 60.0 s");
    CHECK(again_after(1h) == "connects again in 3600.0 s");
}

TEST_CASE("progress makes no line, and none is wanted") {
    int lines = 0;
    log_lines o([&](std::string_view) { ++lines; });
    o.on(cleave::progress{});
    CHECK(lines == 0);
    CHECK(o.interval() == 0s);
    CHECK(cleave::step_of(o) == 0);
}

TEST_CASE("a line stays one line, whatever a message holds") {
    cleave::failure const odd =
        cleave::failure::of(cleave::error::stalled, cleave::phase::body,
                            std::string("a\nb\r\x1b[31m\x7f\0\tc\xc3\xa4", 15));
    std::string const line = line_of(cleave::attempt_failed{0, odd, 1s});
    CHECK_THAT(line, Catch::StartsWith("lane 0 failed: a?b??[31m???c\xc3\xa4: "));

    cleave_test::random_source random{1};
    std::size_t lines = 0;
    log_lines o([&](std::string_view text) {
        ++lines;
        REQUIRE_FALSE(text.empty());
        for (char const c : text) REQUIRE((c >= ' ' && c <= '~'));
    });
    for (int i = 0; i != 200; ++i) cleave_test::tell_of_everything(o, random);
    CHECK(lines == 11 * 200);
}

TEST_CASE("lines go to a stream, each with its end") {
    std::ostringstream out;
    log_lines o(out);
    static_assert(cleave::observer<decltype(o)>);
    o.on(cleave::download_paused{true});
    auto moved = std::move(o);
    moved.on(cleave::download_paused{false});
    std::ostream& base = out;
    log_lines other(base);
    other.on(cleave::lane_connected{0, false});
    CHECK(out.str() == "paused\ngoing on\nlane 0 is connected\n");
}

TEST_CASE("what becomes of a line does not come back") {
    cleave_test::random_source random{2};
    int calls = 0;
    log_lines throws([&](std::string_view) {
        ++calls;
        if (calls % 2 == 0) throw std::bad_alloc{};
        throw 17;
    });
    cleave_test::tell_of_everything(throws, random);
    CHECK(calls == 11);
    CHECK(cleave_test::broken_observer(std::move(throws), random) == "");

    full_disk disk;
    std::ostream stream(&disk);
    stream.exceptions(std::ios::badbit | std::ios::failbit);
    CHECK(cleave_test::broken_observer(log_lines(stream), random) == "");
    CHECK_FALSE(stream.good());
}
