// SPDX-License-Identifier: BSL-1.0
//
// Drives an engine by hand: events go in one by one, the actions they bring about come back as a
// line of text, and time stands still until it is moved. No I/O at all.

#pragma once

#include <cleave/engine/engine.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/verify/no_verification.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace cleave_test {

namespace action = cleave::action;
namespace event = cleave::event;
using cleave::cause;
using cleave::error;
using cleave::failure;
using cleave::instant;
using cleave::job;
using cleave::lane_id;
using cleave::phase;
using cleave::segment;
using namespace std::chrono_literals;

/// An observer that keeps what it is told.
struct recorder : cleave::ignores_other_events {
    using cleave::ignores_other_events::on;
    struct attempt {
        lane_id lane;
        std::error_code code;
        std::optional<std::chrono::nanoseconds> again_after;
        cleave::next_step next = cleave::next_step::none;
    };
    struct dropping {
        std::uint32_t mirror;
        std::error_code code;
    };
    std::chrono::nanoseconds every{0};
    std::vector<cleave::identity> known = {};
    std::vector<bool> ranges = {};
    std::vector<attempt> attempts = {};
    std::vector<cleave::bytes_stolen> stolen = {};
    std::vector<cleave::piece_failed> failed_pieces = {};
    std::vector<bool> pauses = {};
    std::vector<std::uint64_t> resumed = {};
    std::vector<std::error_code> refreshed = {};
    std::vector<dropping> dropped = {};
    std::vector<cleave::progress> told = {};
    std::vector<std::vector<cleave::lane_progress>> lanes = {};

    void on(cleave::object_known const& k) noexcept {
        known.push_back(k.identity);
        ranges.push_back(k.ranges);
    }
    void on(cleave::attempt_failed const& f) noexcept {
        attempts.push_back({f.lane, f.what.code, f.again_after, f.next});
    }
    void on(cleave::download_resumed const& r) noexcept { resumed.push_back(r.bytes); }
    void on(cleave::request_refreshed const& r) noexcept { refreshed.push_back(r.failed); }
    void on(cleave::mirror_dropped const& m) noexcept { dropped.push_back({m.index, m.why.code}); }
    void on(cleave::bytes_stolen const& s) noexcept { stolen.push_back(s); }
    void on(cleave::piece_failed const& p) noexcept { failed_pieces.push_back(p); }
    void on(cleave::download_paused const& p) noexcept { pauses.push_back(p.paused); }
    void on(cleave::progress const& p) noexcept {
        told.push_back(p);
        told.back().lanes = {};
        lanes.emplace_back(p.lanes.begin(), p.lanes.end());
    }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return every; }
};
static_assert(cleave::observer<recorder>);

/// A verifier that answers as it is told to. Of pieces the digest of no bytes is right, and any
/// other wrong.
struct told_verifier {
    using hasher_type = cleave::no_hasher;
    bool wants = false;
    bool right = true;
    std::error_code wrong = {};
    cleave::piece_expectation parts = {};
    std::uint64_t print = 0;           ///< which digest is expected
    bool const* right_there = nullptr; ///< in place of `right`: whether it is right when asked
    bool learns = false;               ///< any digest that a server sends

    [[nodiscard]] bool wanted() const noexcept { return wants; }
    [[nodiscard]] std::error_code fault() const noexcept { return wrong; }
    [[nodiscard]] hasher_type make_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches(cleave::digest_value const&) const noexcept {
        return right_there == nullptr ? right : *right_there;
    }
    [[nodiscard]] cleave::piece_expectation pieces() const noexcept { return parts; }
    [[nodiscard]] hasher_type make_piece_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches_piece(std::uint64_t, cleave::digest_value const& d) const noexcept {
        return d.size == 0;
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept { return print; }
    [[nodiscard]] std::string_view asks() const noexcept { return {}; }
    [[nodiscard]] std::error_code learn(std::string_view sent) noexcept {
        if (learns) wants = !sent.empty();
        return {};
    }
};
static_assert(cleave::piece_verifier<told_verifier>);
static_assert(cleave::learning_verifier<told_verifier>);
/// Of a piece that came wrong.
inline constexpr cleave::digest_value wrong_digest{.bytes = {}, .size = 1};

/// A pacer that gives out what is in a purse, and says to ask again a second later when that is
/// empty; without a purse as much as is asked for.
struct purse_pacer {
    std::uint64_t* purse = nullptr;

    [[nodiscard]] cleave::pace_answer take(std::uint64_t n, instant now) const noexcept {
        if (purse == nullptr) return {.bytes = n};
        if (*purse == 0) return {.at = now + 1s};
        std::uint64_t const bytes = std::min(n, *purse);
        *purse -= bytes;
        return {.bytes = bytes};
    }
    void give_back(std::uint64_t n) const noexcept {
        if (purse != nullptr) *purse += n;
    }
    void set_rate(std::uint64_t bytes) const noexcept {
        if (purse != nullptr) *purse = bytes;
    }
};
static_assert(cleave::adjustable_pacer<purse_pacer>);

/// A lane rule whose wish lies elsewhere and may change; without one as many lanes as there are.
struct wished_lanes {
    std::uint32_t lanes = 2;
    std::uint32_t const* wish = nullptr;

    [[nodiscard]] std::uint32_t most() const noexcept { return lanes; }
    [[nodiscard]] std::uint32_t want(cleave::lanes_state const&) const noexcept {
        return wish == nullptr ? lanes : *wish;
    }
};
static_assert(cleave::lane_rule<wished_lanes>);

/// A renewal rule that goes on after `wait`, or as long as the server says, up to `tries` failures
/// in a row; and what it was shown.
struct insistence {
    struct asked {
        std::error_code code;
        std::uint32_t tries;
        std::uint64_t bytes;
        std::optional<std::chrono::nanoseconds> time_left;
        std::uint64_t random;
    };
    std::uint32_t tries = 5;
    std::chrono::nanoseconds wait{0};
    std::vector<asked>* seen = nullptr;

    [[nodiscard]] cleave::renewal decide(cleave::renewal_state const& s) const noexcept {
        if (seen != nullptr)
            seen->push_back({s.what.code, s.tries, s.bytes, s.time_left, s.random});
        if (s.what.kind == cause::renewable && s.can_refresh && s.refreshed == 0)
            return {cleave::renewal::answer::fresh_request};
        if (s.tries >= tries) return {cleave::renewal::answer::give_up};
        std::chrono::nanoseconds const asked_for = s.what.retry_after.value_or(0s);
        return {cleave::renewal::answer::again, std::max(wait, asked_for)};
    }
};
static_assert(cleave::renewal_rule<insistence>);

// ---- replies ------------------------------------------------------------------------------

/// A head of that status with these lines, each ending in CRLF.
inline std::string head(int status, std::string_view lines = {}) {
    return "HTTP/1.1 " + std::to_string(status) + " x\r\n" + std::string{lines} + "\r\n";
}
/// 206 for these bytes of an object of that size, with a strong ETag.
inline std::string part(segment s, std::uint64_t total, std::string_view more = {}) {
    return head(206, "Content-Range: bytes " + std::to_string(s.first) + "-" +
                         std::to_string(s.last) + "/" + std::to_string(total) +
                         "\r\nContent-Length: " + std::to_string(s.size()) +
                         "\r\nETag: \"v1\"\r\n" + std::string{more});
}
/// 200 with the whole object.
inline std::string whole(std::uint64_t total, std::string_view more = {}) {
    return head(200, "Content-Length: " + std::to_string(total) + "\r\nETag: \"v1\"\r\n" +
                         std::string{more});
}

// ---- actions as text ----------------------------------------------------------------------

inline std::string text_of(job j) {
    switch (j) {
    case job::recall: return "recall";
    case job::check: return "check";
    case job::record: return "record";
    case job::forget: return "forget";
    case job::keep: return "keep";
    case job::open: return "open";
    case job::hash: return "hash";
    case job::hash_piece: return "hash_piece";
    case job::deliver: return "deliver";
    case job::finish_hash: return "finish_hash";
    case job::sync: return "sync";
    case job::publish: return "publish";
    case job::abandon: return "abandon";
    }
    return "?";
}
/// "0-99", or "whole" where the request has no Range.
inline std::string range_of(std::string_view request) {
    constexpr std::string_view name = "\r\nRange: bytes=";
    auto const at = request.find(name);
    if (at == std::string_view::npos) return "whole";
    auto const from = at + name.size();
    return std::string{request.substr(from, request.find('\r', from) - from)};
}

struct action_text {
    static std::string of(segment s) {
        return std::to_string(s.first) + "-" + std::to_string(s.last);
    }
    static std::string lane(char const* verb, lane_id id) {
        return std::string{verb} + " " + std::to_string(id);
    }
    std::string operator()(action::connect const& a) const { return lane("connect", a.lane); }
    std::string operator()(action::send const& a) const {
        return lane("send", a.lane) + " " + range_of(a.text) + (a.reused ? " reused" : "") +
               (a.ahead ? " ahead" : "");
    }
    std::string operator()(action::read_head const& a) const {
        return lane(a.next ? "read next" : "read", a.lane);
    }
    std::string operator()(action::receive const& a) const {
        return lane("receive", a.lane) + " " + of(a.grant) + (a.first ? " first" : "") +
               (a.first && a.skip != 0 ? " skip " + std::to_string(a.skip) : "") +
               (a.first && a.compare != 0 ? " compare " + std::to_string(a.compare) : "") +
               (a.last ? " last" : "") + (a.to_the_end ? " to the end" : "");
    }
    std::string operator()(action::revoke const& a) const { return lane("revoke", a.lane); }
    std::string operator()(action::close const& a) const { return lane("close", a.lane); }
    std::string operator()(action::run const& a) const {
        std::string to = text_of(a.what);
        if (a.what == job::hash || a.what == job::hash_piece || a.what == job::deliver ||
            a.what == job::check)
            to += " " + of(a.bytes);
        if (a.what == job::open || a.what == job::sync)
            to += " " + (a.size ? std::to_string(*a.size) : std::string{"?"});
        return to;
    }
    std::string operator()(action::refresh const&) const { return "refresh"; }
    std::string operator()(action::wait_until const&) const { return {}; }
    std::string operator()(action::finish const&) const { return "finish"; }
};

// ---- the script ---------------------------------------------------------------------------

struct script_options {
    cleave::engine_windows windows = {.grant = 100, .opening = 50, .hash = 300, .hash_from = 100};
    told_verifier verifier = {};
    insistence renewal = {};
    std::chrono::nanoseconds progress{0};
    cleave::sink_shape sink = {};
    std::uint64_t* purse = nullptr;
    std::uint32_t const* wish = nullptr;
    bool journal = false;
    cleave::journal_interval record = {};
    bool can_refresh = false;
};

template <class Planner = cleave::even_split>
class script {
  public:
    using engine_type =
        cleave::engine<Planner, wished_lanes, insistence, told_verifier, purse_pacer, recorder>;

    explicit script(Planner planner, std::uint32_t lanes = 2, script_options o = {},
                    cleave::request what = "http://h/x")
        : engine(std::move(what), std::move(planner), wished_lanes{lanes, o.wish}, o.renewal,
                 o.verifier, purse_pacer{o.purse}, observer, o.windows,
                 {o.sink, o.record, o.can_refresh}),
          journal_(o.journal) {
        observer.every = o.progress;
    }
    script(script const&) = delete;
    script& operator=(script const&) = delete;

    /// Tells the engine and answers with what it wants done, in order, joined by commas; without
    /// the timer, which `timer` keeps.
    std::string tell(cleave::any_event const& e) {
        REQUIRE_FALSE(finished);
        engine.step(e, now);
        std::string to;
        while (auto const a = engine.next_action()) {
            // Nothing may follow the end.
            REQUIRE_FALSE(finished);
            finished = std::holds_alternative<action::finish>(*a);
            if (auto const* send = std::get_if<action::send>(&*a)) sent = send->text;
            if (auto const* receive = std::get_if<action::receive>(&*a)) received = *receive;
            if (auto const* close = std::get_if<action::close>(&*a); close && close->keep)
                kept.push_back(close->lane);
            if (auto const* run = std::get_if<action::run>(&*a)) {
                REQUIRE_FALSE(running); // one job at a time
                running = run->what;
                job_bytes = run->bytes;
                sink_touched = true;
            }
            if (auto const* wait = std::get_if<action::wait_until>(&*a)) {
                REQUIRE(wait->at >= now);
                timer = wait->at;
            }
            auto const text = std::visit(action_text{}, *a);
            if (text.empty()) continue;
            to += (to.empty() ? "" : ", ") + text;
        }
        return to;
    }

    std::string start() { return tell(event::started{.journal = journal_}); }
    std::string connected(lane_id id) { return tell(event::connected{id}); }
    std::string reply(lane_id id, std::string_view text) {
        return tell(event::head_bytes{id, text});
    }
    /// The lane filled so much of its grant.
    std::string got(lane_id id, std::uint64_t bytes, bool body_ended = false) {
        return tell(
            event::grant_ended{.lane = id, .bytes = bytes, .body_ended = body_ended, .failed = {}});
    }
    /// The lane's grant was revoked, and that much of it has come.
    std::string revoked(lane_id id, std::uint64_t bytes) {
        return tell(event::grant_ended{.lane = id, .bytes = bytes, .revoked = true, .failed = {}});
    }
    /// The lane brought so much of its grant, then failed.
    std::string broke(lane_id id, std::uint64_t bytes, error why = error::closed_in_body) {
        return tell(event::grant_ended{
            .lane = id, .bytes = bytes, .failed = failure::of(why, phase::body)});
    }
    /// The lane failed outside a body.
    std::string failed(lane_id id, error why, phase where) {
        return tell(event::lane_failed{id, failure::of(why, where)});
    }
    std::string done(job what, cleave::digest_value const& digest = {}) {
        REQUIRE(running == what);
        running.reset();
        return tell(event::job_ended{.what = what, .failed = {}, .digest = digest});
    }
    std::string job_failed(job what, std::error_code ec, cause kind = cause::storage) {
        REQUIRE(running == what);
        running.reset();
        failure f;
        f.code = ec;
        f.kind = kind;
        f.where = phase::sink;
        return tell(event::job_ended{.what = what, .failed = f, .digest = {}});
    }
    std::string cancel() { return tell(event::cancelled{}); }
    std::string pause() { return tell(event::paused{true}); }
    std::string resume() { return tell(event::paused{false}); }

    /// Moves time to when the engine asked to be woken, and wakes it.
    std::string wake(std::vector<event::lane_window> windows = {}) {
        REQUIRE(timer);
        now = std::max(now, *timer);
        timer.reset();
        windows.resize(engine.lanes().size());
        return tell(event::woke{windows});
    }
    /// Wakes the engine whenever it asks for it until `at`, and answers with all that came of it.
    /// Lanes bring nothing meanwhile beyond what `windows` says.
    std::string wake_until(instant at, std::vector<event::lane_window> const& windows = {}) {
        std::string to;
        for (int wakes = 0; !finished && timer && *timer <= at; ++wakes) {
            // An engine that asks to be woken at once, again and again, burns a processor.
            REQUIRE(wakes < 200);
            auto const text = wake(windows);
            if (!text.empty()) to += (to.empty() ? "" : ", ") + text;
        }
        now = std::max(now, at);
        return to;
    }

    recorder observer; // the engine refers to it
    engine_type engine;
    instant now{1'000'000'000};
    std::optional<instant> timer;
    bool finished = false;
    std::optional<job> running;
    segment job_bytes; ///< of the last job
    bool sink_touched = false;
    std::string sent;          ///< the last request's text
    std::vector<lane_id> kept; ///< lanes whose connections may be used by others
    action::receive received;  ///< the last grant

  private:
    bool journal_;
};

/// The two lanes are receiving: lane 0 bytes 0-49, its opening request, and lane 1 what follows.
/// Of an object of 1000 bytes, cut into two halves.
inline void start_two_lanes(script<cleave::even_split>& s) {
    REQUIRE(s.start() == "connect 0");
    REQUIRE(s.connected(0) == "send 0 0-49, connect 1");
    REQUIRE(s.connected(1) == "");
    REQUIRE(s.reply(0, part({0, 49}, 1000)) == "open 1000");
    REQUIRE(s.done(job::open) == "receive 0 0-49 first last, send 1 50-499 reused");
    REQUIRE(s.reply(1, part({50, 499}, 1000)) == "receive 1 50-149 first");
}

} // namespace cleave_test
