// SPDX-License-Identifier: BSL-1.0
//
// Which validators of a reply can be relied on.

#include <cleave/http/validator.hpp>

#include <http/read.hpp>
#include <support/catch.hpp>

#include <string>

using cleave::identity;
using cleave::read_identity;
using cleave::read_validator;
using cleave::validator;
using cleave::weak_etag;
using cleave_test::head_text;
using cleave_test::read_head;
using kind = validator::kind;
using namespace std::string_literals;

namespace {

validator of(std::string const& fields) {
    return read_validator(read_head{head_text(206, fields)});
}
std::string weak_of(std::string const& fields) {
    read_head const head{head_text(206, fields)};
    return std::string(weak_etag(head));
}

std::string const date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
std::string const modified = "Last-Modified: Sun, 06 Nov 1994 08:49:36 GMT\r\n";

} // namespace

TEST_CASE("strong ETags (B07)") {
    for (std::string const& tag :
         {"\"v1\""s, "\"\""s, "\"69f0d212-ac54\""s, "\"a,b\""s, "\"a\\b\""s, "\"W/x\""s, "\"!\""s,
          "\"\xe4\xff\""s, "\"#~\""s, "\"" + std::string(1022, 'x') + "\""}) {
        INFO(tag);
        CHECK(of("ETag: " + tag + "\r\n") == validator{kind::strong_etag, tag});
        CHECK(of("etag:\t" + tag + " \r\n" + date + modified) == validator{kind::strong_etag, tag});
        CHECK(weak_of("ETag: " + tag + "\r\n").empty());
        CHECK(of("ETag: W/" + tag + "\r\n") == validator{});
    }
}

TEST_CASE("weak ETags (B03)") {
    for (std::string const& tag :
         {"W/\"v1\""s, "W/\"\""s, "W/\"W/\""s, "W/\"" + std::string(1020, 'x') + "\""}) {
        INFO(tag);
        CHECK(weak_of("ETag: " + tag + "\r\n") == tag);
        CHECK(of("ETag: " + tag + "\r\n") == validator{});
    }
}

TEST_CASE("ETags that count for nothing (B07)") {
    for (std::string const& fields : {""s,
                                      "ETag:\r\n"s,
                                      "ETag: v1\r\n"s,
                                      "ETag: \"\r\n"s,
                                      "ETag: \"v1\r\n"s,
                                      "ETag: v1\"\r\n"s,
                                      "ETag: 'v1'\r\n"s,
                                      "ETag: \"v\"1\"\r\n"s,
                                      "ETag: \"v 1\"\r\n"s,
                                      "ETag: \"v\t1\"\r\n"s,
                                      "ETag: \"a\", \"b\"\r\n"s,
                                      "ETag: \"a\"x\r\n"s,
                                      "ETag: w/\"v1\"\r\n"s,
                                      "ETag: W/v1\r\n"s,
                                      "ETag: W/ \"v1\"\r\n"s,
                                      "ETag: W\"v1\"\r\n"s,
                                      "ETag: /\"v1\"\r\n"s,
                                      "ETag: W/W/\"v1\"\r\n"s,
                                      "ETag: *\r\n"s,
                                      "ETag: \"v1\"\r\nETag: \"v1\"\r\n"s,
                                      "ETag: \"v1\"\r\nETag: \"v2\"\r\n"s,
                                      "ETag: W/\"v1\"\r\nETag: W/\"v1\"\r\n"s,
                                      "ETag: \"v1\"\r\nETag: W/\"v1\"\r\n"s,
                                      "ETag: \"" + std::string(1023, 'x') + "\"\r\n",
                                      "ETag: W/\"" + std::string(1021, 'x') + "\"\r\n",
                                      "ETag: \"" + std::string(8192, 'x') + "\"\r\n"}) {
        INFO(fields);
        CHECK(of(fields) == validator{});
        CHECK(weak_of(fields).empty());
    }
    CHECK_FALSE(cleave::detail::etag_is_strong("\"a\rb\""));
    CHECK_FALSE(cleave::detail::etag_is_strong("\"a\nb\""));
    CHECK_FALSE(cleave::detail::etag_is_strong("\"a\0b\""s));
    CHECK_FALSE(cleave::detail::etag_is_strong("\"a\x7f\""));
}

TEST_CASE("Last-Modified is strong when Date is a second later (B04)") {
    validator const strong{kind::last_modified, "Sun, 06 Nov 1994 08:49:36 GMT"};
    CHECK(of(date + modified) == strong);
    CHECK(of(modified + date) == strong);
    CHECK(of("Last-Modified: Saturday, 05-Nov-94 00:00:00 GMT\r\n" + date) ==
          validator{kind::last_modified, "Saturday, 05-Nov-94 00:00:00 GMT"});
    CHECK(of("ETag: W/\"v1\"\r\n" + date + modified) == strong);
    CHECK(of("ETag: v1\r\n" + date + modified) == strong);

    std::string const same = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    std::string const later = "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT\r\n";
    for (std::string const& fields :
         {modified, date, same + date, later + date, modified + modified + date,
          modified + date + date, "Last-Modified: yesterday\r\n" + date,
          modified + "Date: today\r\n", "Last-Modified:\r\n" + date, modified + "Date:\r\n"}) {
        INFO(fields);
        CHECK(of(fields) == validator{});
    }
}

TEST_CASE("an identity is filled in anew each time") {
    identity id{5, {kind::last_modified, std::string(100, 'x')}, std::string(100, 'y')};
    read_identity(read_head{head_text(206, "ETag: \"v1\"\r\n")}, id);
    CHECK(id == identity{{}, {kind::strong_etag, "\"v1\""}, ""});
    read_identity(read_head{head_text(206, "ETag: W/\"v1\"\r\n")}, id);
    CHECK(id == identity{{}, {}, "W/\"v1\""});
    read_identity(read_head{head_text(206, "ETag: W/\"v2\"\r\n" + date + modified)}, id);
    CHECK(id == identity{{}, {kind::last_modified, "Sun, 06 Nov 1994 08:49:36 GMT"}, "W/\"v2\""});
    read_identity(read_head{head_text(206, "")}, id);
    CHECK(id == identity{});
}
