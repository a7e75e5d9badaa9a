// SPDX-License-Identifier: BSL-1.0
//
// Whatever was given for one origin, behind whatever kind of redirect to another: it does not
// arrive there. And nothing secret gets into messages, log lines or files.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

#include <cleave/cleave.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;
using cleave::error;

namespace {

struct seen {
    bool secure;
    bool certificate;
    std::string head;

    bool has(std::string_view text) const { return head.find(text) != head.npos; }
};

/// A server that takes https and http on one port, asks for a client's certificate, redirects
/// "/first", and has an object at "/second".
class origin {
  public:
    origin() : server_{[this](tls_connection& c) { serve(c); }, options()} {}

    std::string at(std::string const& scheme, std::string const& host,
                   std::string const& path) const {
        return scheme + "://" + host + ":" + std::to_string(server_.port()) + path;
    }
    void redirect_to(std::string location, int status) {
        std::lock_guard const lock{mutex_};
        redirect_ = redirect(location, status);
        seen_.clear();
    }
    /// Requests for that path since the last redirect was set.
    std::vector<seen> requests(std::string const& path) {
        std::lock_guard const lock{mutex_};
        std::vector<seen> some;
        for (seen const& s : seen_)
            if (s.head.starts_with("GET " + path + " ")) some.push_back(s);
        return some;
    }

    static constexpr std::string_view object = "what was asked for";

  private:
    static tls_server_options options() {
        tls_server_options o;
        o.asks_certificate = true;
        o.also_plain = true;
        return o;
    }
    void serve(tls_connection& c) {
        for (;;) {
            std::string const head = c.read_until("\r\n\r\n");
            if (head.empty()) return;
            std::string answer = reply(200, "OK", "ETag: \"1\"\r\n", object);
            {
                std::lock_guard const lock{mutex_};
                seen_.push_back({c.secure(), c.secure() && c.peer_showed_certificate(), head});
                if (head.starts_with("GET /first ")) answer = redirect_;
            }
            c.send(answer);
        }
    }

    std::mutex mutex_;
    std::string redirect_;
    std::vector<seen> seen_;
    tls_server server_;
};

enum class part { nothing, scheme, host, port };

/// Downloads "/first" of one origin, which redirects to "/second" of one that differs from it in
/// `changed` only.
struct redirected {
    std::vector<seen> before;
    std::vector<seen> behind;
};
redirected follow(origin& one, origin& other, part changed, int status, cleave::request what,
                  cleave::tls_settings settings) {
    std::string const scheme = changed == part::scheme ? "http" : "https";
    std::string const host = changed == part::host ? "127.0.0.1" : "localhost";
    origin& to = changed == part::port ? other : one;
    other.redirect_to({}, status);
    one.redirect_to(to.at("https", host, "/second"), status);
    std::error_code ec;
    auto target = cleave::url::parse(one.at(scheme, "localhost", "/first"), ec);
    REQUIRE_FALSE(ec);
    target.take_userinfo(what.target);
    what.target = target;

    fetched const f = fetch(what, cleave::policies<>{}
                                      .with_plan(cleave::fixed_size{1000})
                                      .with_lanes(cleave::fixed_lanes{2})
                                      .with_renewal(quick_backoff())
                                      .with_connector(cleave::tls_connector{std::move(settings)}));
    REQUIRE_FALSE(f.ec);
    REQUIRE(f.bytes == origin::object);
    REQUIRE(f.report.redirects == 1);
    redirected r{one.requests("/first"), to.requests("/second")};
    REQUIRE_FALSE(r.before.empty());
    REQUIRE_FALSE(r.behind.empty());
    return r;
}

constexpr std::string_view secret = "s3cret";
std::string const user_and_secret = "me:s3cret";
std::string const user_and_secret_in_base64 = "bWU6czNjcmV0";

cleave::request with_secret(std::string const& kind) {
    cleave::request what{"http://localhost/"};
    if (kind == "userinfo") return {"http://" + user_and_secret + "@localhost/"};
    return what.with_header(kind, std::string{secret});
}

bool holds_secret(seen const& s) { return s.has(secret) || s.has(user_and_secret_in_base64); }

cleave::tls_settings trusting() { return {.ca_pem = test_authority().pem()}; }

} // namespace

TEST_CASE("redirects: no header and no credentials go to another scheme, host or port (E07)") {
    origin one;
    origin other;
    for (part const changed : {part::nothing, part::scheme, part::host, part::port})
        for (std::string const kind : {"Authorization", "Cookie", "X-Token", "userinfo"})
            for (int const status : {301, 302, 303, 307, 308}) {
                CAPTURE(static_cast<int>(changed), kind, status);
                auto const r = follow(one, other, changed, status, with_secret(kind), trusting());
                CHECK(std::all_of(r.before.begin(), r.before.end(), holds_secret));
                if (changed == part::nothing)
                    CHECK(std::all_of(r.behind.begin(), r.behind.end(), holds_secret));
                else
                    CHECK(std::none_of(r.behind.begin(), r.behind.end(), holds_secret));
            }
}

TEST_CASE("redirects: a client certificate is shown to no other scheme, host or port (E07)") {
    temp_dir dir;
    auto const own = make_identity({.extended_usage = "clientAuth"}, &test_authority());
    write_file(dir / "own.pem", own.key_pem() + own.pem());
    auto settings = trusting();
    settings.certificate_file = (dir / "own.pem").string();
    auto const shown = [](seen const& s) { return s.certificate; };
    origin one;
    origin other;
    for (part const changed : {part::nothing, part::scheme, part::host, part::port})
        for (int const status : {301, 302, 303, 307, 308}) {
            CAPTURE(static_cast<int>(changed), status);
            auto const r = follow(one, other, changed, status, {"http://localhost/"}, settings);
            for (seen const& s : r.before) CHECK(shown(s) == s.secure);
            if (changed == part::nothing)
                CHECK(std::all_of(r.behind.begin(), r.behind.end(), shown));
            else
                CHECK(std::none_of(r.behind.begin(), r.behind.end(), shown));
        }
}

// ---- secrets ------------------------------------------------------------------------------------

namespace {

/// Every text that a download leaves: its messages, lines, and files.
struct traces {
    cleave::report report;
    std::string text;
};

traces traces_of(cleave::request what, temp_dir const& dir) {
    traces t;
    std::string const path = (dir / "object").string();
    std::error_code ec;
    std::string lines;
    t.report = cleave::download(std::move(what), cleave::file_sink{path},
                                cleave::policies<>{}
                                    .with_plan(cleave::fixed_size{1000})
                                    .with_lanes(cleave::fixed_lanes{2})
                                    .with_renewal(quick_backoff(2))
                                    .with_connector(cleave::tls_connector{trusting()})
                                    .with_observer(cleave::log_lines{[&](std::string_view line) {
                                        lines += line;
                                        lines += '\n';
                                    }}),
                                ec);
    t.text = lines + ec.message();
    if (t.report.failed) {
        t.text += t.report.failed->message() + t.report.failed->detail;
        t.text += cleave::download_error{t.report}.what();
    }
    for (auto const& m : t.report.mirrors) {
        t.text += m.url;
        if (m.dropped) t.text += m.dropped->message();
    }
    for (auto const& file : std::filesystem::directory_iterator{dir.path()})
        t.text += file.path().string() + read_file(file.path());
    return t;
}

} // namespace

TEST_CASE("secrets are in no message, no line and no file (I08)") {
    object const o = object::random(5000, 90);
    // Says to its user what it was told, and to everybody where it leads.
    enum class does { serve, refuse, break_off, garble, redirect, plain, loop, unknown };
    auto const answer = GENERATE(does::serve, does::refuse, does::break_off, does::garble,
                                 does::redirect, does::plain, does::loop, does::unknown);
    std::string const kind = GENERATE("Authorization", "userinfo");
    CAPTURE(static_cast<int>(answer), kind);
    std::string const query = "?token=s3cret-query";
    auto const whole = honest(o);
    fault_server behind{[&](fault_connection& c, seen_request const& r) {
        auto const [first, last] = r.range().value();
        switch (answer) {
        case does::refuse: c.send(reply(404, "no s3cret", "X: s3cret\r\n", "s3cret")); return;
        case does::break_off:
            if (first >= 2000) return c.reset();
            return whole(c, r);
        case does::garble:
            c.send(head_of(206, "s3cret", "Content-Range: s3cret\r\nContent-Length: s3cret\r\n"));
            return;
        default: return whole(c, r);
        }
    }};
    fault_server first{[&](fault_connection& c, seen_request const& r) {
        if (answer == does::redirect) return c.send(redirect("ftp://me:s3cret@h/" + query)), void();
        if (answer == does::plain) return c.send(redirect("http://127.0.0.1:1/" + query)), void();
        if (answer == does::loop) return c.send(redirect(r.target + "&s3cret")), void();
        if (answer == does::unknown) return c.send(redirect("http://no.invalid/" + query)), void();
        c.send(redirect(behind.url("/r?sig=s3cret-location")));
    }};
    tls_server first_tls{forward_to(first.port())};

    std::string url =
        answer == does::plain ? first_tls.url("localhost", "/a" + query) : first.url("/a" + query);
    if (kind == "userinfo") url.insert(url.find("//") + 2, user_and_secret + "@");
    cleave::request what{url};
    if (kind != "userinfo") what.with_header(kind, "Bearer s3cret-token");
    what.with_header("Cookie", "c=s3cret-cookie");
    if (answer == does::refuse)
        what.with_mirror("http://" + user_and_secret + "@127.0.0.1:1/m" + query);
    temp_dir const dir;
    traces const t = traces_of(what, dir);
    // It was on its way.
    for (seen_request const& r : first.requests()) CHECK(r.head.find(secret) != r.head.npos);

    CHECK(static_cast<bool>(t.report.failed) == (answer != does::serve));
    bool const begun = answer == does::serve || answer == does::break_off;
    CHECK(std::filesystem::exists(dir / "object.cleave") == (answer == does::break_off));
    CHECK(std::filesystem::is_empty(dir.path()) == !begun);
    // A URL is shown, and written down, without what may be secret.
    if (answer == does::loop || answer == does::break_off)
        CHECK(t.text.find("/a?...") != t.text.npos);
    CHECK(t.text.find(secret) == t.text.npos);
    CHECK(t.text.find(user_and_secret_in_base64) == t.text.npos);
    CHECK(t.text.find(user_and_secret_in_base64.substr(0, 8)) == t.text.npos);
}
