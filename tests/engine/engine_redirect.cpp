// SPDX-License-Identifier: BSL-1.0
//
// Redirects: followed by all lanes, so often, and without the secrets of another origin; and the
// way back when the place they led to does not hold. Scripted, without any I/O.

#include <engine/script.hpp>

#include <support/catch.hpp>

#include <string>
#include <string_view>
#include <utility>

using namespace cleave_test;
using cleave::even_split;

namespace {

std::string led_to(std::string_view location, int status = 302) {
    return head(status, "Location: " + std::string{location} + "\r\nContent-Length: 0\r\n");
}
bool has(std::string const& text, std::string_view what) {
    return text.find(what) != std::string::npos;
}

} // namespace

TEST_CASE("a redirect is followed, and all lanes ask where it led") {
    script s{even_split{2}, 2};
    s.start();
    s.connected(0);
    int const status = GENERATE(301, 302, 303, 307, 308);
    CHECK(s.reply(0, led_to("http://other/y", status)) == "close 0, connect 0");
    CHECK(s.connected(0) == "send 0 0-49");
    CHECK(s.sent.starts_with("GET /y HTTP/1.1\r\nHost: other\r\n"));
    // The other lane had connected to the first server.
    s.connected(1);
    CHECK(s.reply(0, part({0, 49}, 1000)) == "open 1000");
    std::string const all = s.done(job::open);
    CHECK(has(all, "receive 0 0-49 first last"));
    s.connected(1);
    CHECK(s.sent.starts_with("GET /y HTTP/1.1\r\nHost: other\r\n"));
    CHECK(s.engine.report().redirects == 1);
    CHECK(s.engine.report().retries == 0);
}

TEST_CASE("a lane that was still connecting to the first server asks it nothing more") {
    script s{even_split{2}, 2};
    s.start();
    // The other lane connects while the first one waits for its reply.
    CHECK(s.connected(0) == "send 0 0-49, connect 1");
    s.reply(0, led_to("http://other/y"));
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    // Its connection stands only now, and is to the first server.
    CHECK(s.connected(1) == "close 1, connect 1");
    s.done(job::open);
    CHECK(s.connected(1).starts_with("send 1 "));
    CHECK(has(s.sent, "Host: other\r\n"));
}

TEST_CASE("what was given for one origin is sent to no other (E07)") {
    struct row {
        char const* location;
        bool same;
    };
    for (row const r : {row{"/y", true}, row{"http://h:80/y", true}, row{"http://h:81/y", false},
                        row{"http://other/y", false}, row{"https://h/y", false}}) {
        cleave::request what{"http://u:p@h/x"};
        what.with_header("Cookie", "c=1").with_header("X-Token", "t");
        script s{even_split{2}, 1, {}, what};
        s.start();
        s.connected(0);
        CHECK(has(s.sent, "Authorization: Basic "));
        s.reply(0, led_to(r.location));
        s.connected(0);
        CAPTURE(r.location, s.sent);
        CHECK(has(s.sent, "Authorization: Basic ") == r.same);
        CHECK(has(s.sent, "Cookie: c=1") == r.same);
        CHECK(has(s.sent, "X-Token: t") == r.same);
        CHECK(has(s.sent, "User-Agent: cleave"));
        // Nor back from there.
        bool const secure = std::string_view{r.location}.starts_with("https");
        s.reply(0, led_to(secure ? "https://h/z" : "http://h/z"));
        s.connected(0);
        CHECK(has(s.sent, "Cookie: c=1") == r.same);
    }
}

TEST_CASE("redirects end (E05)") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    for (int i = 0; i != 10; ++i) {
        REQUIRE(s.reply(0, led_to(i % 2 == 0 ? "/a" : "/b")) == "close 0, connect 0");
        s.connected(0);
    }
    CHECK(s.reply(0, led_to("/a")) == "close 0, finish");
    CHECK(s.engine.report().failed->code == error::too_many_redirects);
}

TEST_CASE("a redirect that cannot be followed is named (E06, E08)") {
    script s{even_split{2}, 1};
    s.start();
    s.connected(0);
    CHECK(s.reply(0, head(302)) == "close 0, finish");
    CHECK(s.engine.report().failed->code == error::bad_redirect);
    CHECK(s.engine.report().failed->status == 302);
}

TEST_CASE("a later lane that is led elsewhere takes the others along, and compares (E09)") {
    script_options o;
    o.sink.readable = true;
    o.windows.sample = 20;
    script s{even_split{2}, 2, o};
    start_two_lanes(s);
    s.got(0, 50, true);
    CHECK(s.reply(0, led_to("http://cdn/y?signed")) == "close 0, connect 0");
    CHECK(s.got(1, 100) == "receive 1 150-249");
    s.broke(1, 0);
    // 150-499: the bytes before are in place.
    CHECK(s.connected(1) == "send 1 130-499");
    CHECK(has(s.sent, "Host: cdn\r\n"));
    CHECK(s.reply(1, part({130, 499}, 1000)) == "receive 1 150-249 first skip 20 compare 20");
}

TEST_CASE("where a redirect led to does not hold any more: back to the first URL, once (E10)") {
    script s{even_split{1}, 1};
    s.start();
    s.connected(0);
    s.reply(0, led_to("http://cdn/y"));
    s.connected(0);
    s.reply(0, part({0, 49}, 1000));
    s.done(job::open);
    CHECK(s.got(0, 50, true) == "send 0 50-999 reused");
    int const status = GENERATE(401, 403, 404, 410);
    CHECK(s.reply(0, head(status)) == "close 0, connect 0");
    CHECK(s.connected(0) == "send 0 50-999");
    CHECK(has(s.sent, "GET /x HTTP/1.1\r\nHost: h\r\n"));
    SECTION("it leads on") {
        s.reply(0, led_to("http://cdn/z"));
        s.connected(0);
        CHECK(has(s.sent, "GET /z "));
        CHECK(s.reply(0, part({50, 999}, 1000)) == "receive 0 50-149 first");
    }
    SECTION("it is of no use either") {
        CHECK(s.reply(0, head(404)) == "close 0, abandon");
        CHECK(s.engine.report().failed->code == error::not_found);
    }
    SECTION("nor where it leads") {
        s.reply(0, led_to("http://cdn/z"));
        s.connected(0);
        CHECK(s.reply(0, head(404)) == "close 0, abandon");
    }
}
