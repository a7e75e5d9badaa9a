// SPDX-License-Identifier: BSL-1.0
//
// The example without Asio, and with it the engine under a driver that is not the library's own:
// every framing there is from a real server, renewal after cuts, and the errors it ends with.

#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <support/fault_server.hpp>
#include <support/nginx.hpp>

#include "run_cleave_get.hpp"

using namespace cleave_test;
using strings = std::vector<std::string>;

namespace {

process_result get(temp_dir const& in, std::string url) {
    return run({CLEAVE_BIN_DIR "/blocking", std::move(url), "x"},
               {.directory = in.path().string()});
}

} // namespace

TEST_CASE("the engine downloads without Asio, whatever the framing") {
    nginx server;
    // More than one request, and more than one grant.
    auto const whole = object::random(5'000'000, 1).bytes;
    server.put("x", whole);
    auto const* const where =
        GENERATE("/x", "/chunked/x", "/unsized/x", "/close/x", "/noranges/x", "/moved/x");
    temp_dir dir;
    auto const r = get(dir, server.url(where));
    CAPTURE(where, r.err);
    CHECK(r.exit_code == 0);
    CHECK((read_file(dir / "x") == whole));
    CHECK(files_in(dir) == strings{"x"});
    CHECK(last_line(r.err).starts_with("5000000 bytes, "));
    CHECK(last_line(r.err).ends_with(" 0 retries"));
}

TEST_CASE("the engine goes on from the last byte under another driver, too") {
    auto const whole = object::random(400'000, 1);
    bool const chunked = GENERATE(false, true);
    bool const reset = GENERATE(false, true);
    fault_server server{
        honest(whole, {.chunked = chunked, .cut_after = 100'000, .cut_with_reset = reset})};
    temp_dir dir;
    auto const r = get(dir, server.url("/x"));
    CAPTURE(chunked, reset, r.err);
    CHECK(r.exit_code == 0);
    CHECK((read_file(dir / "x") == whole.bytes));
    CHECK(files_in(dir) == strings{"x"});
    // Four times as many as are in a reply.
    CHECK(server.requests().size() >= 4);
    CHECK(server.requests().back().field("Range").value_or("").starts_with("bytes=3"));
    CHECK(r.err.find("connects again") != std::string::npos);
    CHECK(last_line(r.err).starts_with("400000 bytes, "));
}

TEST_CASE("the example says what was wrong, and leaves nothing") {
    nginx server;
    temp_dir dir;
    auto const gone = get(dir, server.url("/gone"));
    CHECK(gone.exit_code == 1);
    CHECK(last_line(gone.err).find("404") != std::string::npos);

    auto const secure = get(dir, "https://127.0.0.1/x");
    CHECK(secure.exit_code == 1);
    CHECK(last_line(secure.err).find("https") != std::string::npos);
    CHECK(files_in(dir).empty());
}
