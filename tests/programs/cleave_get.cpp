// SPDX-License-Identifier: BSL-1.0
//
// cleave-get as its users meet it: options, exit codes, what it says and where, signals.

#include <support/catch.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <poll.h>
#include <unistd.h>

#include <support/digest.hpp>
#include <support/fault_server.hpp>

#include "run_cleave_get.hpp"

using namespace cleave_test;
using namespace std::chrono_literals;
using strings = std::vector<std::string>;

namespace {

// Serves half of the object, and the rest once the gate is open.
fault_handler half_until(gate& g, object const& o) {
    return [&g, &o](fault_connection& c, seen_request const&) {
        auto const middle = o.bytes.size() / 2;
        c.send(honest_200_head(o) + o.bytes.substr(0, middle));
        c.wait(g);
        c.send(o.bytes.substr(middle));
    };
}

using ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

ranges ranges_asked_of(fault_server const& server) {
    ranges all;
    for (auto const& request : server.requests()) all.push_back(request.range().value());
    std::sort(all.begin(), all.end());
    return all;
}

process_options stuck_in(char const* function, temp_dir const& in) {
    return {.env = {{"LD_PRELOAD", CLEAVE_BIN_DIR "/stuck.so"}, {"CLEAVE_STUCK", function}},
            .directory = in.path().string()};
}

} // namespace

TEST_CASE("usage errors are named, exit with 2 and open no connection (I01, I02, I04)") {
    fault_server server{honest(object::random(2049, 1))};
    auto const url = server.url("/x");
    std::string const sixty_four(64, 'a');
    std::vector<std::pair<strings, std::string>> const rows{
        {{}, "URL is required"},
        {{url, "nonsense"}, "http://host[:port]/path"},
        {{url, "--metalink", "x"}, "give one of them"},
        {{url, "-4", "-6"}, " excludes -"},
        {{url, "--bogus"}, "--bogus"},
        {{"nonsense"}, "http://host[:port]/path"},
        {{"http://a b/"}, "the URL cannot be read"},
        {{"ftp://127.0.0.1/x"}, "use http or https"},
        {{"https://127.0.0.1/x", "--cacert", "/nowhere/at/all"}, "trusted certificates"},
        {{"https://127.0.0.1/x", "--pinned", "sha256//short"}, "pin"},
        {{url, "--proxy", "ftp://127.0.0.1"}, "the proxy setting cannot be read"},
        {{url, "--user", "a:b\n"}, "--user"},
        {{server.url("/")}, "give one with -o"},
        {{server.url("/a/..")}, "give one with -o"},
        {{server.url("/"), "-o", ""}, "give one with -o"},
        {{url, "-o", "-", "--json"}, "taken by the bytes"},
        {{url, "-n", "0"}, "--lanes: give a number"},
        {{url, "-n", "1025"}, "--lanes: give a number"},
        {{url, "-n", "x"}, "or adaptive"},
        {{url, "--plan", "odd"}, "--plan"},
        {{url, "--plan", "even", "--segment-size", "1K"}, "only --plan fixed"},
        {{url, "--sink", "drain"}, "--sink"},
        {{url, "--sink", "null", "--digest", "sha-256=" + sixty_four}, "cannot be read back"},
        {{url, "--limit-rate", "0"}, "--limit-rate: give bytes"},
        {{url, "--limit-rate", "fast"}, "--limit-rate: give bytes"},
        {{url, "--pieces", "/nowhere/at/all"}, "cannot read /nowhere/at/all"},
        {{url, "--segment-size", "0"}, "512K, 8M or 1G"},
        {{url, "--segment-size", "8X"}, "512K, 8M or 1G"},
        {{url, "--segment-size", "-5"}, "512K, 8M or 1G"},
        {{url, "--segment-size", "1.5M"}, "512K, 8M or 1G"},
        {{url, "--segment-size", ""}, "512K, 8M or 1G"},
        {{url, "--segment-size", "17179869184G"}, "512K, 8M or 1G"},
        {{url, "--segment-size", "18446744073709551616"}, "512K, 8M or 1G"},
        {{url, "--segments", ""}, "0-1024,1025-2048"},
        {{url, "--segments", "0"}, "0-1024,1025-2048"},
        {{url, "--segments", "0-1024,"}, "0-1024,1025-2048"},
        {{url, "--segments", "0-1024 1025-2048"}, "0-1024,1025-2048"},
        {{url, "--segments", "0-18446744073709551616"}, "0-1024,1025-2048"},
        {{url, "--segments", "1024-0"}, "use [0,1024]"},
        {{url, "--segments", "0-1023,1025-2048"}, "byte 1024 is missing"},
        {{url, "--segments", "1025-2048,0-1024"}, "out of order"},
        {{url, "--segments", "0-2048", "--segment-size", "1K"}, "--segment"},
        {{url, "--segments", "0-2048", "--plan", "even"}, "--plan"},
        {{url, "--digest", "sha-256=abc"}, "the digest cannot be read"},
        {{url, "--digest", "sha-256=" + std::string(64, 'g')}, "the digest cannot be read"},
        {{url, "--digest", "sha-512=" + sixty_four}, "the digest cannot be read"},
        {{url, "--digest", "md5=" + sixty_four}, "the digest cannot be read"},
        {{url, "--digest", "crc32=" + sixty_four}, "sha-256=HEX"},
        {{url, "--digest", sixty_four}, "sha-256=HEX"},
        {{url, "--deadline", "0"}, "--deadline: give a positive"},
        {{url, "--deadline=-1"}, "--deadline: give a positive"},
        {{url, "--stall-timeout", "nan"}, "--stall-timeout: give a positive"},
        {{url, "--connect-timeout", "1e300"}, "--connect-timeout: give a positive"},
        {{url, "--deadline", "soon"}, "--deadline"},
        {{url, "--header", "no colon"}, "'Name: value'"},
        {{url, "--header", "X: a\r\nY: b"}, "CR, LF"},
        {{url, "--header", "X: a\r"}, "CR, LF"},
        {{url, "--header", ": x"}, "CR, LF"},
        {{url, "--header", "range: bytes=0-1"}, "leave it out"},
        {{url, "--header", "Host: another"}, "leave it out"},
        {{url + "\r\nX: y"}, "the URL cannot be read"},
        {{"http://good@evil@127.0.0.1/x"}, "the URL cannot be read"},
        {{"http://127.0.0.1%2F10.0.0.1/x"}, "the URL cannot be read"},
    };
    temp_dir dir;
    for (auto const& [args, text] : rows) {
        CAPTURE(args);
        auto const r = cleave_get(dir, args);
        CAPTURE(r.err);
        CHECK(r.exit_code == 2);
        CHECK(r.out.empty());
        CHECK(contains(r.err, text));
        CHECK(last_line(r.err).starts_with("cleave-get: "));
    }
    CHECK(server.connections() == 0);
    CHECK(files_in(dir).empty());
}

TEST_CASE("segments that overlap are refused with the byte and the remedy") {
    fault_server server{honest(object::random(2049, 1))};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--segments", "0-1024,1024-2048", "--json", server.url("/x")});
    CHECK(r.exit_code == 2);
    CHECK(contains(last_line(r.err), "overlap at byte 1024"));
    CHECK(contains(last_line(r.err), "[1025,2048]"));
    CHECK(report_in(r)["error"]["where"] == "setup");
    CHECK(server.connections() == 0);
    CHECK(files_in(dir).empty());
}

TEST_CASE("segments that were listed are asked for exactly") {
    auto const o = object::random(2049, 2);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--segments", "0-1024,1025-2048", server.url("/x")});
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    CHECK(read_file(dir / "x") == o.bytes);
    CHECK(ranges_asked_of(server) == ranges{{0, 1024}, {1025, 2048}});
    CHECK(server.connections() <= 2);
}

TEST_CASE("even segments are one for each lane") {
    auto const o = object::random(3U << 20, 2);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--plan", "even", "-n", "3", server.url("/x")});
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    CHECK(read_file(dir / "x") == o.bytes);
    CHECK(ranges_asked_of(server) == ranges{{0, 1048575}, {1048576, 2097151}, {2097152, 3145727}});
    CHECK(server.connections() <= 3);
}

TEST_CASE("bytes come in order on standard output, as fast as a pipe takes them") {
    auto const o = object::random(3U << 20, 12);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r = cleave_get(dir, {"-o", "-", "--lanes", "adaptive", server.url("/x")});
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    CHECK((r.out == o.bytes));
    CHECK(files_in(dir).empty());
}

TEST_CASE(
    "the same bytes by every sink that makes a file, and nothing by the one that makes none") {
    auto const o = object::random(3U << 20, 13);
    fault_server server{honest(o)};
    temp_dir dir;
    std::string const digest = "sha-1=" + digest_hex(o.bytes, "SHA1");
    CHECK(cleave_get(dir, {"--sink", "mapped", "--digest", digest, server.url("/x")}).exit_code ==
          0);
    CHECK((read_file(dir / "x") == o.bytes));
    auto const r = cleave_get(dir, {"--sink", "null", "--json", server.url("/y")});
    CHECK(r.exit_code == 0);
    CHECK(report_in(r).at("bytes") == o.bytes.size());
    CHECK(files_in(dir) == strings{"x"});
}

TEST_CASE("a rate limits all connections together") {
    auto const o = object::random(1U << 20, 14);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--limit-rate", "2M", "--json", server.url("/x")});
    CHECK(r.exit_code == 0);
    CHECK((read_file(dir / "x") == o.bytes));
    // Slower it may be, faster not: half a second, but for what the bucket holds at first.
    CHECK(report_in(r).at("to_last_byte").get<double>() > 0.4);
}

TEST_CASE("a piece that comes wrong is fetched again, or named") {
    auto const o = object::random(1'000'000, 15);
    constexpr std::size_t piece = 100'000;
    bool const for_ever = GENERATE(false, true);
    std::atomic<int> wrong = for_ever ? 1000 : 1;
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        auto const last = std::min<std::uint64_t>(range.second, o.bytes.size() - 1);
        std::string bytes{body(o, range.first, last)};
        if (range.first <= 345'678 && 345'678 <= last && wrong-- > 0)
            bytes[static_cast<std::size_t>(345'678 - range.first)] ^= 1;
        c.send(honest_206_head(o, range.first, last));
        c.send_body(bytes);
    }};
    temp_dir dir;
    std::ofstream list{dir / "pieces"};
    list << "sha-256 " << piece << '\n';
    for (std::size_t at = 0; at < o.bytes.size(); at += piece)
        list << sha256_hex(std::string_view{o.bytes}.substr(at, piece)) << '\n';
    list.close();
    auto const r = cleave_get(dir, {"--pieces", "pieces", "--json", server.url("/x")});
    CAPTURE(r.err);
    CHECK(r.exit_code == (for_ever ? 1 : 0));
    if (for_ever) {
        CHECK(contains(last_line(r.err), "piece 3, bytes [300000,399999], came wrong 3 times"));
        CHECK(files_in(dir) == strings{"pieces"});
    } else {
        CHECK((read_file(dir / "x") == o.bytes));
        CHECK(report_in(r).at("pieces_failed") == 1);
        CHECK(report_in(r).at("digest_verified") == true);
    }
}

TEST_CASE("a list that does not match the object's size fails without a file") {
    auto const list = GENERATE("0-1024,1025-2047", "0-1024,1025-2049", "1-1024,1025-2048");
    fault_server server{honest(object::random(2049, 2))};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--segments", list, server.url("/x")});
    CHECK(r.exit_code == 1);
    CHECK(contains(last_line(r.err), "does not match the size"));
    CHECK(files_in(dir).empty());
}

TEST_CASE("a list of segments does not match an empty object") {
    bool const chunked = GENERATE(false, true);
    fault_server server{honest(object{}, {.ranges = !chunked, .chunked = chunked})};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--segments", "0-1024", server.url("/x")});
    CHECK(r.exit_code == 1);
    CHECK(contains(last_line(r.err), "the object is empty"));
    CHECK(files_in(dir).empty());
}

TEST_CASE("help and version go to standard output and exit with 0") {
    temp_dir dir;
    auto const help = cleave_get(dir, {"--help"});
    CHECK(help.exit_code == 0);
    // Each option is explained in one line.
    for (std::string const option : {"--plan", "--segment-size", "--segments", "--lanes", "--sink",
                                     "--limit-rate", "--pieces", "--digest"}) {
        CAPTURE(option);
        auto const at = help.out.find(option + ' ');
        REQUIRE(at != std::string::npos);
        auto const line = help.out.substr(at, help.out.find('\n', at) - at);
        CHECK(line.find_first_of("abcdefghijklmnopqrstuvwxyz", option.size() + 8) !=
              std::string::npos);
    }
    CHECK(contains(help.out, "adaptive"));
    CHECK(contains(help.out, "130"));
    CHECK(help.err.empty());
    auto const version = cleave_get(dir, {"--version"});
    CHECK(version.exit_code == 0);
    CHECK(version.out.starts_with("cleave-get "));
}

TEST_CASE("the file is named by -o, or as the last part of the path (I06)") {
    auto const o = object::random(5000, 3);
    fault_server server{honest(o)};
    auto const [target, option, name] = GENERATE(table<char const*, char const*, char const*>({
        {"/model.bin", "", "model.bin"},
        {"/a/b%20c.bin?secret=1#top", "", "b c.bin"},
        {"/a/..%2f..%2fpasswd", "", "passwd"},
        {"/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "", "passwd"},
        {"/-rf", "", "rf"},
        {"/", "named", "named"},
        {"/other", "./named", "named"},
    }));
    temp_dir dir;
    strings args{server.url(target)};
    if (*option != '\0') args.insert(args.end(), {"-o", option});
    auto const r = cleave_get(dir, args);
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    CHECK(files_in(dir) == strings{name});
    CHECK(read_file(dir / name) == o.bytes);
    CHECK(contains(last_line(r.err), std::string{name} + ": 4.9 KiB in "));
}

TEST_CASE("what a server would call the file is no matter (I05)") {
    auto const o = object::random(5000, 3);
    std::string const said =
        GENERATE("attachment; filename=\"other\"", "attachment; filename=../../other",
                 "attachment; filename=/tmp/other", "attachment; filename=.bashrc; filename=-rf",
                 "attachment; filename*=UTF-8''%2e%2e%2fother");
    honest_options options;
    options.edit_head = [&](std::string& head) {
        head.insert(head.find("\r\n") + 2, "Content-Disposition: " + said + "\r\n");
    };
    fault_server server{honest(o, options)};
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/x")});
    CAPTURE(said, r.err);
    CHECK(r.exit_code == 0);
    CHECK(files_in(dir) == strings{"x"});
    CHECK(read_file(dir / "x") == o.bytes);
}

TEST_CASE("secrets of URL and headers are in nothing that is said or kept (I08)") {
    auto const o = object::random(100'000, 3);
    // Half of it comes, of which a journal is kept, and no more.
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (r.index == 0) c.send(honest_206_head(o, 0, o.bytes.size() - 1));
        if (r.index == 0) c.send(std::string_view{o.bytes}.substr(0, o.bytes.size() / 2));
        c.reset();
    }};
    temp_dir dir;
    auto url = server.url("/x?sig=secret");
    url.insert(url.find("//") + 2, "secret:secret@");
    auto const r = cleave_get(
        dir, {url, "--json", "--retries", "0", "-n", "1", "--header", "X-Token: secret"});
    CAPTURE(r.err, r.out);
    CHECK(r.exit_code == 1);
    CHECK(contains(server.requests().at(0).head, "/x?sig=secret "));
    CHECK(contains(server.requests().at(0).head, "\r\nX-Token: secret\r\n"));
    CHECK(server.requests().at(0).count("Authorization") == 1);
    CHECK_FALSE(contains(r.err + r.out, "secret"));
    REQUIRE(files_in(dir) == strings{"x.cleave", "x.part"});
    auto const journal = read_file(dir / "x.cleave");
    CHECK(contains(journal, "http://127.0.0.1"));
    CHECK_FALSE(contains(journal, "secret"));
    using std::filesystem::perms;
    CHECK(std::filesystem::status(dir / "x.cleave").permissions() ==
          (perms::owner_read | perms::owner_write));
}

TEST_CASE("a file that was there is replaced by success and kept by failure") {
    auto const o = object::random(5000, 3);
    fault_server server{honest(o)};
    temp_dir dir;
    write_file(dir / "x", "old");
    auto const wrong = "sha-256=" + std::string(64, '0');
    CHECK(cleave_get(dir, {server.url("/x"), "--digest", wrong}).exit_code == 1);
    CHECK(read_file(dir / "x") == "old");
    CHECK(cleave_get(dir, {server.url("/x")}).exit_code == 0);
    CHECK(read_file(dir / "x") == o.bytes);
    CHECK(files_in(dir) == strings{"x"});
}

TEST_CASE("the JSON report is one object with the numbers of the download") {
    auto const o = object::random(300000, 4);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r =
        cleave_get(dir, {"--json", "-n", "1", "--segment-size", "100000", server.url("/x")});
    CAPTURE(r.err, r.out);
    CHECK(r.exit_code == 0);
    CHECK(std::count(r.out.begin(), r.out.end(), '\n') == 1);
    auto const j = report_in(r);
    CHECK(j["bytes"] == 300000);
    CHECK(j["identity"]["size"] == 300000);
    CHECK(j["identity"]["validator"] == "strong_etag");
    CHECK(j["identity"]["validator_text"] == "\"v1\"");
    CHECK(j["ranges"] == true);
    CHECK(j["length_verified"] == true);
    CHECK(j["digest_verified"] == false);
    CHECK(j["lanes"] == 1);
    CHECK(j["connections"] == 1);
    CHECK(j["requests"] == 3);
    for (auto const* none : {"retries", "stale_connections", "restarts", "bytes_twice"})
        CHECK(j[none] == 0);
    CHECK(j["to_first_reply"].get<double>() > 0);
    CHECK(j["to_last_byte"].get<double>() >= j["to_first_reply"].get<double>());
    CHECK(j["elapsed"].get<double>() >= j["to_last_byte"].get<double>());
    CHECK(j["elapsed"].get<double>() < 60);
    CHECK_FALSE(j.contains("error"));
    for (auto const* field : {"bytes_copied", "grants", "reads"}) CHECK(j.contains(field));
    CHECK(contains(last_line(r.err), "x: 293.0 KiB in "));
    CHECK(contains(last_line(r.err), ", 1 lane, 3 requests"));
}

TEST_CASE("a failure is in the JSON report, and last on standard error") {
    fault_server server{[](fault_connection& c, seen_request const&) {
        c.send(reply(404, "Not Found", {}, "<html>no such thing</html>"));
    }};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--json", "-q", server.url("/x")});
    CHECK(r.exit_code == 1);
    auto const error = report_in(r)["error"];
    CAPTURE(error.dump());
    CHECK(error["category"] == "cleave");
    CHECK(error["value"].is_number_integer());
    CHECK(error["code"] == "cleave:" + std::to_string(error["value"].get<int>()));
    CHECK(error["where"] == "head");
    CHECK(error["status"] == 404);
    CHECK(error["detail"].is_string());
    CHECK(r.err == "cleave-get: " + error["message"].get<std::string>() + "\n");
    CHECK(contains(r.err, "(404); check the URL"));
    CHECK(files_in(dir).empty());
}

TEST_CASE("what a server says need not be UTF-8 to be reported") {
    auto o = object::random(1000, 5);
    o.etag = "\"\xff\x80\"";
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--json", server.url("/x")});
    CHECK(r.exit_code == 0);
    CHECK(report_in(r)["bytes"] == 1000);
}

TEST_CASE("a report that cannot be written is a failure") {
    if (!std::filesystem::exists("/dev/full")) {
        WARN("skipped: there is no /dev/full");
        return;
    }
    fault_server server{honest(object::random(1000, 5))};
    temp_dir dir;
    auto const command = CLEAVE_BIN_DIR "/cleave-get --json " + server.url("/x") + " > /dev/full";
    auto const r = run({"sh", "-c", command}, {.directory = dir.path().string()});
    CHECK(r.exit_code == 1);
    CHECK(contains(r.err, "could not be written"));
}

TEST_CASE("digests are taken in every usual spelling") {
    auto const o = object::random(100000, 6);
    fault_server server{honest(o)};
    auto hex = sha256_hex(o.bytes);
    auto const form = GENERATE("sha-256=", "SHA-256=", "sha256:", "Sha256=");
    if (form[0] == 'S')
        for (char& c : hex) c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c;
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/x"), "--json", "--digest", form + hex});
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    CHECK(report_in(r)["digest_verified"] == true);
    CHECK(contains(last_line(r.err), ", sha-256 verified"));
}

TEST_CASE("SHA-512 will do as well") {
    object o;
    o.bytes = "abc";
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r =
        cleave_get(dir, {server.url("/x"), "--digest",
                         "sha-512=ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"});
    CHECK(r.exit_code == 0);
    CHECK(contains(last_line(r.err), ", sha-512 verified"));
}

TEST_CASE("a wrong digest leaves nothing under the name") {
    auto const o = object::random(100000, 6);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r =
        cleave_get(dir, {server.url("/x"), "--digest", "sha-256=" + sha256_hex("another")});
    CHECK(r.exit_code == 1);
    CHECK(last_line(r.err).starts_with("cleave-get: "));
    CHECK(contains(last_line(r.err), "check the digest and the source"));
    CHECK(files_in(dir).empty());
}

TEST_CASE("headers are sent as given") {
    fault_server server{honest(object::random(1000, 7))};
    temp_dir dir;
    auto const r = cleave_get(dir, {"--header", "X-One: 1:2 3", "--header", "X-Two:", "--header",
                                    "User-Agent:me", server.url("/x")});
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    auto const request = server.requests().at(0);
    CHECK(contains(request.head, "\r\nX-One: 1:2 3\r\n"));
    CHECK(request.field("X-Two") == "");
    CHECK(request.field("User-Agent") == "me");
    CHECK(request.count("User-Agent") == 1);
}

TEST_CASE("sizes are in bytes, or in K, M and G") {
    auto const o = object::random(10000, 8);
    fault_server server{honest(o)};
    auto const [size, last] = GENERATE(table<char const*, std::uint64_t>({
        {"700", 699},
        {"2K", 2047},
        {"1M", 1048575},
        {"3G", 3221225471},
        {"17179869183G", 18446744072635809791U},
        {"18446744073709551615", 18446744073709551614U},
    }));
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/x"), "--segment-size", size});
    CAPTURE(size, r.err);
    CHECK(r.exit_code == 0);
    CHECK(server.requests().at(0).range()->second == last);
    CHECK(read_file(dir / "x") == o.bytes);
}

TEST_CASE("a stall is given up on, and another connection goes on") {
    bool const within_head = GENERATE(false, true);
    auto const o = object::random(200000, 9);
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (r.index != 0) return honest(o)(c, r);
        auto const all = honest_206_head(o, 0, o.bytes.size() - 1) + o.bytes;
        c.send(std::string_view{all}.substr(0, within_head ? 10 : 100000));
        c.wait_for_peer_close();
    }};
    temp_dir dir;
    auto const r =
        cleave_get(dir, {server.url("/x"), "--json", "--stall-timeout", "0.2", "--deadline", "20"});
    CAPTURE(within_head, r.err);
    CHECK(r.exit_code == 0);
    CHECK(report_in(r)["retries"] == 1);
    CHECK(contains(last_line(r.err), ", 1 retry"));
    CHECK(read_file(dir / "x") == o.bytes);
}

TEST_CASE("a deadline ends a download that would not") {
    fault_server server{[](fault_connection& c, seen_request const&) { c.wait_for_peer_close(); }};
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/x"), "--deadline", "0.2"});
    CHECK(r.exit_code == 1);
    CHECK(contains(last_line(r.err), "deadline"));
}

TEST_CASE("a refused connection is a failure with a remedy") {
    fault_server server{honest(object::random(10, 1))};
    server.stop_accepting();
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/x"), "--deadline", "5"});
    CHECK(r.exit_code == 1);
    CHECK(contains(last_line(r.err), "check host and port"));
}

TEST_CASE("a signal ends the download, and nothing stays behind") {
    auto const [signal, code] = GENERATE(table<int, int>({{SIGINT, 130}, {SIGTERM, 143}}));
    auto const o = object::random(100000, 10);
    gate never;
    fault_server server{half_until(never, o)};
    temp_dir dir;
    child c{cleave_get_command({server.url("/x"), "--json"}), {.directory = dir.path().string()}};
    REQUIRE(server.wait_for_requests(1));
    c.kill(signal);
    auto const r = c.wait();
    CHECK_FALSE(r.timed_out);
    CHECK(r.exit_code == code);
    CHECK(report_in(r)["error"]["cause"] == "cancelled");
    CHECK(last_line(r.err) == "cleave-get: the download was cancelled");
    CHECK(files_in(dir).empty());
}

TEST_CASE("a signal ends the program while a name lookup hangs") {
    if (sanitized) {
        WARN("skipped: a sanitizer cannot be preloaded over");
        return;
    }
    temp_dir dir;
    child c{cleave_get_command({"http://name.invalid/x"}), stuck_in("getaddrinfo", dir)};
    REQUIRE(c.wait_for_output("stuck", true));
    c.kill(SIGINT);
    auto const r = c.wait();
    CHECK_FALSE(r.timed_out);
    CHECK(r.exit_code == 130);
    CHECK(files_in(dir).empty());
}

TEST_CASE("the connect timeout counts while a name lookup hangs") {
    if (sanitized) {
        WARN("skipped: a sanitizer cannot be preloaded over");
        return;
    }
    temp_dir dir;
    auto options = stuck_in("getaddrinfo", dir);
    auto const r =
        run(cleave_get_command({"http://name.invalid/x", "--connect-timeout", "0.01"}), options);
    CHECK_FALSE(r.timed_out);
    CHECK(r.exit_code == 1);
    CHECK(contains(last_line(r.err), "connect timeout"));
}

TEST_CASE("a second signal does not wait for the disk") {
    if (sanitized) {
        WARN("skipped: a sanitizer cannot be preloaded over");
        return;
    }
    fault_server server{honest(object::random(1000, 1))};
    temp_dir dir;
    child c{cleave_get_command({server.url("/x")}), stuck_in("fsync", dir)};
    REQUIRE(c.wait_for_output("stuck", true));
    // One signal alone waits for the disk; of two in a row the system may deliver only one.
    auto const deadline = std::chrono::steady_clock::now() + 60s;
    while (c.running() && std::chrono::steady_clock::now() < deadline) {
        c.kill(SIGINT);
        ::poll(nullptr, 0, 20);
    }
    CHECK(c.wait().exit_code == 130);
    CHECK_FALSE(std::filesystem::exists(dir / "x"));
}

TEST_CASE("away from a terminal there are plain lines only, and with -q none") {
    auto const o = object::random(100000, 11);
    fault_server server{honest(o)};
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/x")}, {.env = {{"TERM", "xterm"}}});
    CHECK(r.exit_code == 0);
    CHECK(r.out.empty());
    CHECK_FALSE(contains(r.err, "\x1b"));
    CHECK_FALSE(contains(r.err, "\r"));
    CHECK(last_line(r.err).starts_with("cleave-get: x: 97.7 KiB in "));

    auto const quiet = cleave_get(dir, {"-q", server.url("/x")});
    CHECK(quiet.exit_code == 0);
    CHECK((quiet.out + quiet.err).empty());
}

TEST_CASE("on a terminal progress is drawn in place and taken away again") {
    temp_dir dir;
    if (run({"sh", "-c", "script -qec true /dev/null"}).exit_code != 0) {
        WARN("skipped: there is no program script, or no terminal to be had for it");
        return;
    }
    auto const [quiet, code] = GENERATE(table<bool, int>({{false, 0}, {true, 0}, {false, 1}}));
    auto const o = object::random(100000, 12);
    gate g;
    fault_server server{half_until(g, o)};
    // 40 columns, 6 rows: 5 for the text, one for the cursor.
    auto const command = "stty cols 40 rows 6; exec " CLEAVE_BIN_DIR "/cleave-get -n 16 " +
                         std::string{quiet ? "-q " : ""} + server.url("/x") +
                         (code == 0 ? "" : " --digest sha256=" + sha256_hex("another"));
    child c{{"script", "-qec", command, "/dev/null"},
            {.env = {{"TERM", "xterm"}}, .directory = dir.path().string()}};
    REQUIRE(server.wait_for_requests(1));
    if (!quiet) REQUIRE(c.wait_for_output("50%, 48.8 KiB of 97.7 KiB"));
    g.open();
    auto const r = c.wait();
    CAPTURE(r.out);
    CHECK(r.exit_code == code);
    if (quiet) {
        CHECK_FALSE(contains(r.out, "\x1b"));
        return;
    }
    // A headline, lanes as far as they fit, and how many did not; nothing wider than the screen.
    CHECK(contains(r.out, "lane 0    receiving"));
    CHECK(contains(r.out, "and 13 more lanes"));
    for (std::size_t at = 0; at < r.out.size();) {
        auto const end = std::min(r.out.find('\n', at), r.out.size());
        auto const row = r.out.substr(at, end - at);
        if (auto const erase = row.find("\x1b[K"); erase != std::string::npos)
            CHECK(erase < 40 + std::string_view{"\x1b[J\r\x1b[5A"}.size());
        at = end + 1;
    }
    // At the end five lines up, everything below erased, and the last word.
    auto const last = r.out.rfind("\r\x1b[5A\x1b[J");
    REQUIRE(last != std::string::npos);
    CHECK(contains(r.out.substr(last),
                   code == 0 ? "cleave-get: x: 97.7 KiB in " : "check the digest"));
    CHECK_FALSE(contains(r.out.substr(last + 8), "\x1b"));
}
