// SPDX-License-Identifier: BSL-1.0
//
// What servers, and what lies before them, do to a download as it goes on: rows of the table in
// tests/FAULTS.md that need more than one bad reply. Real sockets, real files.

#include <support/catch.hpp>

#include <support/chosen.hpp>
#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>

#include <cleave/cleave.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;
using cleave::error;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t size = 1'000'000;

struct outcome {
    std::error_code ec;
    cleave::report report;
    std::string bytes; // under the final name; empty where there is none
    bool partial = false;
    bool journal = false;
};

struct way {
    std::uint64_t segment_size = 100'000;
    std::uint32_t lanes = 4;
    cleave::backoff renew = quick_backoff();
    std::string digest = {}; // SHA-256 of the object
    std::function<cleave::request(cleave::request const&, std::error_code&)> fresh = {};
};

// Of a kind or of none, so that the download is compiled once.
struct wanted_source {
    std::function<cleave::request(cleave::request const&, std::error_code&)> fresh;

    bool available() const noexcept { return fresh != nullptr; }
    template <class Handler>
    void async_fetch(cleave::request const& old, Handler h) const {
        std::error_code ec;
        auto r = fresh(old, ec);
        h(ec, std::move(r));
    }
};

outcome run(cleave::request what, std::string const& path, way const& w = {}) {
    outcome o;
    chosen_verifier verify;
    if (!w.digest.empty()) verify.is = cleave::sha256(w.digest);
    o.report = cleave::download(std::move(what), cleave::file_sink{path},
                                cleave::policies<>{}
                                    .with_plan(cleave::fixed_size{w.segment_size})
                                    .with_lanes(cleave::fixed_lanes{w.lanes})
                                    .with_renewal(w.renew)
                                    .with_verify(verify)
                                    .with_source(wanted_source{w.fresh}),
                                o.ec);
    if (std::filesystem::is_regular_file(path)) o.bytes = read_file(path);
    o.partial = std::filesystem::exists(path + ".part");
    o.journal = std::filesystem::exists(path + ".cleave");
    return o;
}

// As long as it is broken, nothing from the middle on is to be had.
fault_handler half_of(object const& o, std::atomic<bool> const& broken) {
    return [rest = honest(o), &broken](fault_connection& c, seen_request const& r) {
        auto const range = r.range();
        if (broken && range && range->first >= 500'000) return c.reset();
        rest(c, r);
    };
}

std::string path_in(temp_dir const& dir) { return (dir / "out").string(); }

} // namespace

// ---- ranges and identity ----------------------------------------------------------------------

TEST_CASE("a server that sends the wrong bytes under the right fields is found out by a digest "
          "(A06)") {
    object const o = object::random(size, 31);
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        auto const range = r.range();
        if (!range || range->first != 300'000) return rest(c, r);
        c.send(honest_206_head(o, 300'000, 399'999) + std::string{body(o, 0, 99'999)});
    }};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir), {.digest = sha256_hex(o.bytes)});
    CHECK(got.ec == error::digest_mismatch);
    CHECK(got.bytes.empty());
    CHECK_FALSE(got.partial);
    CHECK_FALSE(got.journal);
}

TEST_CASE("nothing but GET is asked, so that no HEAD can disagree (A20)") {
    object const o = object::random(size, 32);
    fault_server server{honest(o)};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir));
    CHECK_FALSE(got.ec);
    for (seen_request const& r : server.requests()) CHECK(r.method == "GET");
}

TEST_CASE("of a server whose ranges are of no use, one stream brings all (A02, A03, A04, A17)") {
    object const o = object::random(size, 33);
    std::function<std::string(std::uint64_t, std::uint64_t)> lie;
    SECTION("ranges behind the first are ignored") {
        lie = [&](std::uint64_t, std::uint64_t) { return honest_200_head(o) + o.bytes; };
    }
    SECTION("nobody says which bytes these are") {
        lie = [&](std::uint64_t first, std::uint64_t last) {
            std::string head = honest_206_head(o, first, last);
            drop_field(head, "Content-Range");
            return head + std::string{body(o, first, last)};
        };
    }
    SECTION("they are others than those asked for") {
        lie = [&](std::uint64_t first, std::uint64_t last) {
            return honest_206_head(o, first - 1, last) + std::string{body(o, first - 1, last)};
        };
    }
    SECTION("they come as multipart") {
        lie = [&](std::uint64_t first, std::uint64_t last) {
            std::string head = honest_206_head(o, first, last);
            set_field(head, "Content-Type", "multipart/byteranges; boundary=x");
            return head + std::string{body(o, first, last)};
        };
    }
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        auto const range = r.range();
        if (!range || range->first == 0) return rest(c, r);
        c.send(lie(range->first, range->second));
    }};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir), {.renew = quick_backoff(2)});
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.one_stream);
    CHECK_FALSE(got.partial);
    CHECK_FALSE(got.journal);
}

TEST_CASE("servers that disagree about the ETag of one object: one pinned lane, or a named error "
          "(B06)") {
    object const one = object::random(size, 34, "\"69f0d212\"");
    object const other{one.bytes, "\"69f0d211\""};
    std::atomic<unsigned> requests = 0;
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        // Each request goes to the next server of two.
        object const& o = ++requests % 2 == 0 ? one : other;
        honest(o)(c, r);
    }};
    temp_dir const dir;
    cleave::request what{server.url("/r")};
    SECTION("without leave to begin again") {
        auto const got = run(what, path_in(dir));
        CHECK(got.ec == error::object_changed);
        CHECK(got.report.retries == 0);
        CHECK(got.bytes.empty());
    }
    SECTION("with leave") {
        what.new_versions = 3;
        auto const got = run(what, path_in(dir));
        CHECK_FALSE(got.ec);
        CHECK(got.bytes == one.bytes);
        CHECK(got.report.one_stream);
        CHECK(got.report.new_versions == 2);
    }
}

TEST_CASE("an object that changes is the new one, whole, where that is allowed (B01, B02)") {
    object const v1 = object::random(size, 35, "\"v1\"");
    object const v2 = object::random(size, 36, "\"v2\"");
    bool const heeds_if_range = GENERATE(true, false);
    std::atomic<unsigned> requests = 0;
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (requests++ < 4) return honest(v1)(c, r);
        if (heeds_if_range) return honest(v2)(c, r);
        auto const range = r.range().value();
        c.send(honest_206_head(v2, range.first, range.second) +
               std::string{body(v2, range.first, range.second)});
    }};
    temp_dir const dir;
    cleave::request what{server.url("/r")};
    what.new_versions = 1;
    auto const got = run(what, path_in(dir));
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == v2.bytes);
    CHECK(got.report.new_versions == 1);
}

TEST_CASE("a weak ETag is never sent back, and nothing is joined across runs on its word (B03)") {
    object o = object::random(size, 37, "W/\"v1\"");
    o.last_modified.clear();
    std::atomic<bool> broken = true;
    fault_server server{half_of(o, broken)};
    temp_dir const dir;
    auto const first = run(server.url("/r"), path_in(dir));
    CHECK(first.ec);
    CHECK_FALSE(first.report.kept);
    CHECK_FALSE(first.partial);
    broken = false;
    auto const second = run(server.url("/r"), path_in(dir));
    CHECK_FALSE(second.ec);
    CHECK(second.report.bytes_resumed == 0);
    CHECK(second.bytes == o.bytes);
    for (seen_request const& r : server.requests()) CHECK(r.count("If-Range") == 0);
}

TEST_CASE("with a digest, what has no validator is gone on with (B04, B05)") {
    object o = object::random(size, 38, "");
    o.last_modified.clear();
    std::atomic<bool> broken = true;
    fault_server server{half_of(o, broken)};
    temp_dir const dir;
    way const with_digest{.digest = sha256_hex(o.bytes)};
    auto const first = run(server.url("/r"), path_in(dir), with_digest);
    CHECK(first.ec);
    CHECK(first.report.kept);
    broken = false;
    auto const second = run(server.url("/r"), path_in(dir), with_digest);
    CHECK_FALSE(second.ec);
    CHECK(second.report.bytes_resumed == first.report.bytes);
    CHECK(second.bytes == o.bytes);
    CHECK(second.report.digest_verified);
}

TEST_CASE("a partial that is complete is published after one request, with a digest after none "
          "(A18)") {
    object const o = object::random(size, 39);
    temp_dir const dir;
    std::string const path = path_in(dir);
    bool const digested = GENERATE(false, true);
    way w;
    if (digested) w.digest = sha256_hex(o.bytes);
    // Somebody makes a directory of the target's name before it is published.
    std::atomic<bool> in_the_way = true;
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        if (in_the_way && r.range()->first >= 900'000) std::filesystem::create_directory(path);
        rest(c, r);
    }};
    auto const first = run(server.url("/r"), path, w);
    CHECK(first.ec == error::target_is_directory);
    CHECK(first.report.kept);
    in_the_way = false;
    std::filesystem::remove(path);
    auto const second = run(server.url("/r"), path, w);
    CHECK_FALSE(second.ec);
    CHECK(second.bytes == o.bytes);
    CHECK(second.report.bytes_resumed == size);
    CHECK(second.report.requests == (digested ? 0 : 1));
    CHECK_FALSE(second.partial);
    CHECK_FALSE(second.journal);
}

// ---- status codes -----------------------------------------------------------------------------

TEST_CASE("what is pointless is reported within one attempt (E16)") {
    struct row {
        int status;
        error is;
    };
    for (row const r : {row{404, error::not_found},
                        {410, error::gone},
                        {401, error::unauthorized},
                        {403, error::forbidden},
                        {407, error::proxy_authentication_required},
                        {451, error::unavailable_for_legal_reasons},
                        {400, error::client_error}}) {
        fault_server server{
            [&](fault_connection& c, seen_request const&) { c.send(reply(r.status, "No")); }};
        temp_dir const dir;
        auto const got = run(server.url("/r"), path_in(dir));
        CAPTURE(r.status);
        CHECK(got.ec == r.is);
        CHECK(got.report.requests == 1);
        CHECK(got.report.retries == 0);
        CHECK(std::filesystem::is_empty(dir.path()));
    }
}

TEST_CASE("a URL that expires at 98 %: one call for a fresh one, at most a segment fetched again "
          "(E09)") {
    object const o = object::random(size, 40);
    std::atomic<std::uint64_t> sent = 0;
    std::atomic<int> calls = 0;
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        bool const old = r.target == "/r?signature=old";
        if (old && range.first >= 980'000)
            return void(c.send(reply(403, "Forbidden", "", "expired")));
        sent += range.second - range.first + 1;
        rest(c, r);
    }};
    temp_dir const dir;
    way w{.segment_size = 20'000};
    w.fresh = [&](cleave::request const& old, std::error_code&) {
        ++calls;
        CHECK(old.target.target() == "/r?signature=old");
        return cleave::request{server.url("/r?signature=new")};
    };
    auto const got = run(server.url("/r?signature=old"), path_in(dir), w);
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(calls == 1);
    CHECK(got.report.refreshes == 1);
    CHECK(sent <= size + 20'000);
}

TEST_CASE("a fresh URL that leads to another object ends the download") {
    object const v1 = object::random(size, 41, "\"v1\"");
    // The same fields, and other bytes.
    object const forged = object::random(size, 42, "\"v1\"");
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (r.target == "/new") return honest(forged)(c, r);
        if (r.range().value().first >= 500'000) return void(c.send(reply(403, "Forbidden")));
        honest(v1)(c, r);
    }};
    temp_dir const dir;
    way w;
    w.lanes = 1;
    w.fresh = [&](cleave::request const&, std::error_code&) {
        return cleave::request{server.url("/new")};
    };
    auto const got = run(server.url("/old"), path_in(dir), w);
    CHECK(got.ec == error::bytes_differ);
    CHECK(got.bytes.empty());
}

TEST_CASE("Retry-After is waited for, over the same connection (E11)") {
    object const o = object::random(size, 43);
    std::atomic<int> refused = 0;
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        if (r.on_connection == 1 && refused++ == 0)
            return void(c.send(reply(503, "Busy", "Retry-After: 1\r\n")));
        rest(c, r);
    }};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir), {.lanes = 1});
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.elapsed >= 1s);
    CHECK(got.report.retries_in_place == 1);
    CHECK(got.report.connections == 1);
}

// ---- redirects --------------------------------------------------------------------------------

TEST_CASE("a redirect is followed once for all lanes, and secrets stay behind (E07, E09)") {
    object const o = object::random(size, 47);
    fault_server target{honest(o)};
    std::atomic<int> asked = 0;
    fault_server first{[&](fault_connection& c, seen_request const&) {
        ++asked;
        c.send(reply(302, "Found", "Location: " + target.url("/there?signature=1") + "\r\n"));
    }};
    temp_dir const dir;
    std::string url = first.url("/here");
    url.insert(url.find("//") + 2, "user:secret@");
    cleave::request what{url};
    what.with_header("Cookie", "secret").with_header("X-Token", "secret");
    auto const got = run(what, path_in(dir));
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(asked == 1);
    CHECK(got.report.redirects == 1);
    for (seen_request const& r : first.requests())
        CHECK(r.head.find("secret") != std::string::npos);
    for (seen_request const& r : target.requests())
        CHECK(r.head.find("secret") == std::string::npos);
}

TEST_CASE("a redirect to where the connector cannot go is named, and not tried again (E08)") {
    fault_server first{[&](fault_connection& c, seen_request const&) {
        c.send(reply(301, "Moved", "Location: https://127.0.0.1:1/x\r\n"));
    }};
    temp_dir const dir;
    auto const got = run(first.url("/here"), path_in(dir));
    CHECK(got.ec == error::tls_unavailable);
    CHECK(got.report.retries == 0);
    CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a server that redirects without end (E05)") {
    std::atomic<int> asked = 0;
    fault_server server{[&](fault_connection& c, seen_request const&) {
        c.send(reply(302, "Found", "Location: /r?" + std::to_string(++asked) + "\r\n"));
    }};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir));
    CHECK(got.ec == error::too_many_redirects);
    CHECK(asked == 11);
}

TEST_CASE("what was redirected goes on in another run, wherever it is led then (E10)") {
    object const o = object::random(size, 48);
    std::atomic<bool> broken = true;
    fault_server one{half_of(o, broken)};
    fault_server other{half_of(o, broken)};
    std::atomic<int> asked = 0;
    fault_server first{[&](fault_connection& c, seen_request const&) {
        std::string const to = ++asked % 2 == 1 ? one.url("/x") : other.url("/x");
        c.send(reply(302, "Found", "Location: " + to + "\r\n"));
    }};
    temp_dir const dir;
    auto const before = run(first.url("/here"), path_in(dir));
    CHECK(before.ec);
    CHECK(before.report.kept);
    broken = false;
    auto const after = run(first.url("/here"), path_in(dir));
    CHECK_FALSE(after.ec);
    CHECK(after.bytes == o.bytes);
    CHECK(after.report.bytes_resumed == before.report.bytes);
}

// ---- connections ------------------------------------------------------------------------------

TEST_CASE("a server that takes two connections and resets the others (F06)") {
    object const o = object::random(size, 44);
    std::mutex mutex;
    std::set<std::size_t> served;
    auto const rest = honest(o, {.rate = 2'000'000});
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        {
            std::lock_guard const lock{mutex};
            if (served.size() < 2) served.insert(r.connection);
            if (!served.contains(r.connection)) return c.reset();
        }
        rest(c, r);
    }};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir),
                         {.segment_size = 20'000, .lanes = 8, .renew = quick_backoff(2)});
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.lanes == 2);
    CHECK(got.report.lanes_given_up >= 1);
}

TEST_CASE("a lane that is given up for good does not end what the others can do (L02)") {
    object const o = object::random(size, 45);
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        auto const range = r.range().value();
        // Whoever asks for these bytes on its first connection is cut until it gives up.
        if (range.first == 300'000 && r.on_connection == 0) return c.reset();
        rest(c, r);
    }};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir), {.renew = quick_backoff(2)});
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
}

TEST_CASE("a name that does not resolve is named, and nothing is left (F07)") {
    temp_dir const dir;
    // RFC 6761, section 6.4: never there.
    auto const got = run("http://name.invalid/r", path_in(dir), {.renew = quick_backoff(1)});
    CHECK(got.ec == error::name_not_resolved);
    CHECK(got.report.failed->where == cleave::phase::connect);
    CHECK(got.report.failed->message().find("name.invalid") != std::string::npos);
    CHECK(std::filesystem::is_empty(dir.path()));
}

// ---- requests ---------------------------------------------------------------------------------

TEST_CASE("whatever went before, each request has each of its fields once (I03)") {
    object const o = object::random(size, 47);
    fault_server server{[&, rest = honest(o)](fault_connection& c, seen_request const& r) {
        if (r.target == "/r")
            return static_cast<void>(c.send("HTTP/1.1 302 Found\r\nLocation: /moved\r\n"
                                            "Content-Length: 0\r\n\r\n"));
        auto const range = r.range().value();
        switch (r.index % 5) {
        case 1: return c.reset();
        case 2:
            return static_cast<void>(c.send("HTTP/1.1 503 Service Unavailable\r\n"
                                            "Content-Length: 0\r\n\r\n"));
        case 3:
            c.send(honest_206_head(o, range.first, range.second));
            c.send_body(body(o, range.first, range.first + 9));
            return c.reset();
        default: return rest(c, r);
        }
    }};
    temp_dir const dir;
    cleave::request what{server.url("/r")};
    what.with_header("X-Token", "mine")
        .target.take_userinfo(cleave::request{"http://u:p@h/"}.target);
    auto const got = run(what, path_in(dir), {.segment_size = 50'000, .renew = quick_backoff(20)});
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
    CHECK(got.report.retries > 3);
    std::size_t conditional = 0;
    for (seen_request const& r : server.requests()) {
        CAPTURE(r.head);
        for (char const* name : {"Host", "Range", "User-Agent", "Accept", "Accept-Encoding",
                                 "Authorization", "X-Token"})
            CHECK(r.count(name) == 1);
        CHECK(r.count("If-Range") <= 1);
        conditional += r.count("If-Range");
    }
    CHECK(conditional > 3);
}

// ---- digests ----------------------------------------------------------------------------------

TEST_CASE("digest fields of a part, and ETags that look like a digest, are not taken for one of "
          "the whole (L04)") {
    object const o = object::random(size, 46, "\"d41d8cd98f00b204e9800998ecf8427e-7\"");
    honest_options options;
    options.edit_head = [](std::string& head) {
        head.insert(head.find("\r\n") + 2, "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n"
                                           "Content-Digest: sha-256=:AAAA:\r\n"
                                           "x-amz-checksum-sha256: AAAA\r\n");
    };
    fault_server server{honest(o, options)};
    temp_dir const dir;
    auto const got = run(server.url("/r"), path_in(dir), {.digest = sha256_hex(o.bytes)});
    CHECK_FALSE(got.ec);
    CHECK(got.bytes == o.bytes);
}
