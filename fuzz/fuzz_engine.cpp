// SPDX-License-Identifier: BSL-1.0
//
// The whole engine among servers, lanes, jobs and clocks that do as the input says: replies that
// are right, wrong or of another version, connections that break and fall silent, mirrors,
// redirects, journals that claim what is not there, jobs that fail, and a caller who pauses and
// cancels. When the input is at its end everything goes well, and the engine must come to an end,
// too.
//
// Nothing is written outside of what a lane was granted, asked for and was sent; no byte is granted
// twice; what is published or handed on is one version of one object from its first byte to its
// last; a journal claims only what is in place; secrets go to their origin only; and when something
// can happen no more, the end has come.

#include "input.hpp"
#include "server.hpp"

#include <cleave/base/crc32c.hpp>
#include <cleave/base/error.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/engine/engine.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/verify/no_verification.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace {

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
using cleave_fuzz::byte_of;
using cleave_fuzz::content;
using cleave_fuzz::hosts;
using cleave_fuzz::no_content;
using cleave_fuzz::require;
using cleave_fuzz::tells;
using namespace std::chrono_literals;

// ---- policies -------------------------------------------------------------------------------

struct any_plan {
    std::variant<cleave::guided, cleave::even_split, cleave::fixed_size> is;

    [[nodiscard]] segment next(segment gap, cleave::plan_state const& s) const noexcept {
        return std::visit([&](auto const& p) { return p.next(gap, s); }, is);
    }
};
static_assert(cleave::range_planner<any_plan>);

struct wished_lanes {
    std::uint32_t lanes = 2;
    std::uint32_t const* wish = nullptr;

    [[nodiscard]] std::uint32_t most() const noexcept { return lanes; }
    [[nodiscard]] std::uint32_t want(cleave::lanes_state const&) const noexcept { return *wish; }
};
static_assert(cleave::lane_rule<wished_lanes>);

struct some_tries {
    std::uint32_t tries = 3;
    std::chrono::nanoseconds wait{0};

    [[nodiscard]] cleave::renewal decide(cleave::renewal_state const& s) const noexcept {
        using answer = cleave::renewal::answer;
        if (s.what.kind == cause::renewable && s.can_refresh && s.refreshed == 0)
            return {answer::fresh_request};
        if (s.tries >= tries) return {answer::give_up};
        std::chrono::nanoseconds const asked = s.what.retry_after.value_or(0s);
        return {s.tries % 2 == 0 ? answer::elsewhere : answer::again, std::max(wait, asked)};
    }
};
static_assert(cleave::renewal_rule<some_tries>);

/// Gives out what is in a purse, and else says to ask again a second later.
struct purse_pacer {
    std::uint64_t* purse = nullptr;

    [[nodiscard]] cleave::pace_answer take(std::uint64_t n, instant now) const noexcept {
        std::uint64_t const bytes = std::min(n, *purse);
        if (bytes == 0) return {.at = now + 1s};
        *purse -= bytes;
        return {.bytes = bytes};
    }
    void give_back(std::uint64_t n) const noexcept { *purse += n; }
    void set_rate(std::uint64_t) const noexcept { *purse = forever; }

    static constexpr std::uint64_t forever = std::uint64_t{1} << 62;
};
static_assert(cleave::adjustable_pacer<purse_pacer>);

/// The digest of no bytes is right, and any other wrong.
struct told_verifier {
    using hasher_type = cleave::no_hasher;
    bool wants = false;
    cleave::piece_expectation parts = {};

    [[nodiscard]] bool wanted() const noexcept { return wants; }
    [[nodiscard]] std::error_code fault() const noexcept { return {}; }
    [[nodiscard]] hasher_type make_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches(cleave::digest_value const& d) const noexcept { return d.size == 0; }
    [[nodiscard]] cleave::piece_expectation pieces() const noexcept { return parts; }
    [[nodiscard]] hasher_type make_piece_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches_piece(std::uint64_t, cleave::digest_value const& d) const noexcept {
        return d.size == 0;
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept {
        return wants || parts.size != 0 ? 42 : 0;
    }
};
static_assert(cleave::piece_verifier<told_verifier>);

// ---- the world ------------------------------------------------------------------------------

class world {
  public:
    explicit world(cleave_fuzz::input& input)
        : in_(input), servers_{.size = in_.chance(95) ? 1 + in_.below(200) : 0,
                               .how = static_cast<tells>(in_.byte() % 4)},
          lanes_(1 + in_.below(5)), is_(shape()),
          engine_(request_of(), is_.plan,
                  wished_lanes{static_cast<std::uint32_t>(lanes_.size()), &wish_}, is_.renewal,
                  told_verifier{is_.verified, is_.pieces}, purse_pacer{&purse_}, observer_,
                  is_.windows, {is_.sink, is_.record, is_.refreshes}),
          sink_(room), ids_(room, no_content) {
        wish_ = static_cast<std::uint32_t>(lanes_.size());
        // Some other host's bytes; a part that is not there.
        if (servers_.other[1] || servers_.other[2]) fair_ = false;
        if (is_.part && is_.part->first >= servers_.size) fair_ = false;
    }

    void run() {
        tell(event::started{.failed = {}, .journal = is_.journal});
        for (int quiet = 0; !finished_;) {
            if (in_.empty()) {
                require(++quiet < 5000, "there is an end");
                go_well();
            } else {
                happen();
            }
        }
        check_end();
    }

  private:
    using engine_type = cleave::engine<any_plan, wished_lanes, some_tries, told_verifier,
                                       purse_pacer, cleave::ignores_other_events>;

    static constexpr std::size_t room = 512;

    enum class due { nothing, connection, head, grant };

    struct lane_model {
        due next = due::nothing;
        bool mute = false; ///< what is due never comes
        bool open = false;
        bool clean = false; ///< nothing of an old reply is left in it
        bool judged = false;
        std::size_t host = 0;
        cleave_fuzz::asked request;
        std::string ahead; ///< the requests that were sent behind it
        cleave_fuzz::reply is;
        std::string head;       ///< of it, what has not come yet
        std::uint64_t at = 0;   ///< of the reply's body, what has come
        std::size_t last_n = 0; ///< of the head, what came last
        action::receive window;
        std::uint64_t in_place = 0;
        std::uint64_t read = 0;
        bool revoked = false;
        std::optional<failure> too_early; ///< the grant ends with this before it begins
    };

    struct settings {
        bool verified = false;
        cleave::piece_expectation pieces;
        cleave::engine_windows windows;
        cleave::sink_shape sink;
        cleave::journal_interval record;
        bool journal = false;
        bool refreshes = false;
        std::size_t mirrors = 0;
        std::optional<segment> part;
        std::uint32_t new_versions = 0;
        bool valid_for = false;
        any_plan plan;
        some_tries renewal;
    };

    settings shape() {
        settings s;
        std::uint8_t const what = in_.byte();
        s.verified = (what & 1U) != 0;
        s.journal = (what & 2U) != 0;
        s.refreshes = (what & 4U) != 0;
        servers_.ranges = (what & 0x18U) != 0x18;
        s.new_versions = (what >> 5U) % 4U;
        s.valid_for = (what & 0x80U) != 0;
        std::uint8_t const more = in_.byte();
        s.mirrors = more % 4U == 3 ? 0 : more % 4U;
        // Without a validator nobody can tell one host's bytes from another's.
        if (servers_.how != tells::nothing)
            servers_.other = {false, (more & 4U) != 0, (more & 8U) != 0};
        if ((more & 0x30U) == 0x10) {
            // Pieces tile the whole object.
            std::uint64_t const piece = 1 + in_.below(64);
            s.pieces = {piece, servers_.size / piece + (servers_.size % piece == 0 ? 0 : 1)};
            if (s.pieces.count == 0) s.pieces = {};
        } else if ((more & 0x30U) == 0x20) {
            std::uint64_t const first = in_.below(220);
            s.part = segment{first, first + in_.below(220)};
        }
        if ((more & 0xc0U) == 0x40) {
            s.sink.chunk = 1 + in_.below(16);
            s.sink.window = s.sink.chunk + s.pieces.size + in_.below(64);
            s.journal = false;
        }
        s.sink.readable = true;
        s.windows = {.grant = 4 + in_.below(80),
                     .opening = 1 + in_.below(120),
                     .hash = 1 + in_.below(80),
                     .hash_from = 1 + in_.below(40),
                     .stripe = 1 + in_.below(40),
                     .sample = in_.below(20),
                     .stealing = {.least = 1 + in_.below(20),
                                  .leave = in_.below(5),
                                  .soon = std::chrono::milliseconds{in_.below(20)},
                                  .silent = std::chrono::milliseconds{50 + in_.below(200)},
                                  .hedged_percent = 50}};
        s.record = {1 + in_.below(60), std::chrono::milliseconds{200 + 10 * in_.below(200)}};
        s.renewal.tries = 1 + in_.byte() % 4U;
        if (in_.chance(50)) s.renewal.wait = 20ms;
        switch (in_.byte() % 3) {
        case 0: s.plan.is = cleave::guided{1 + in_.below(50)}; break;
        case 1: s.plan.is = cleave::even_split{1 + in_.below(8)}; break;
        default: s.plan.is = cleave::fixed_size{1 + in_.below(50)};
        }
        return s;
    }

    cleave::request request_of() {
        cleave::request r = "http://user:secret@a/x?token=secret";
        for (std::size_t i = 1; i <= is_.mirrors; ++i)
            r.with_mirror("http://" + std::string{hosts[i]} + "/y");
        r.with_header("X-Key", "secret");
        r.part = is_.part;
        r.seed = 1;
        r.new_versions = is_.new_versions;
        r.timeouts = {.connect = 10s, .head = 10s, .stall = 10s, .deadline = {}};
        if (is_.valid_for) r.valid_for = 60s;
        return r;
    }

    // ---- what happens -----------------------------------------------------------------------

    void happen() {
        std::uint8_t const what = in_.byte();
        now_ += std::chrono::milliseconds{what % 7U};
        if (what >= 0xe8) return caller(what);
        ready_.clear();
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].next != due::nothing && !lanes_[i].mute) ready_.push_back(i);
        std::size_t const choices = ready_.size() + (job_ ? 1 : 0) + (fresh_due_ ? 1 : 0);
        check_alive();
        if (choices == 0 || what >= 0xc8) {
            // Time flies, and what was on its way comes late.
            if (timer_ && choices != 0 && *timer_ > now_) fair_ = false;
            if (timer_) return wake();
            if (paused_ && choices == 0) return pause(false);
            if (choices == 0) return;
        }
        std::size_t const chosen = what % choices;
        if (chosen < ready_.size()) return lane_event(ready_[chosen]);
        if (job_ && chosen == ready_.size()) return end_job();
        refreshed();
    }
    void caller(std::uint8_t what) {
        switch (what - 0xe8) {
        case 0:
        case 1: return pause(true);
        case 2:
        case 3: return pause(false);
        case 4: purse_ = in_.below(64); return;
        case 5: return tell(event::rate_changed{in_.below(9)});
        case 6: wish_ = static_cast<std::uint32_t>(in_.below(lanes_.size() + 2)); return;
        case 7: fair_ = false; return tell(event::cancelled{});
        default: fair_ = false; servers_.change();
        }
    }
    // From here on nothing goes wrong any more.
    void go_well() {
        check_alive();
        purse_ = purse_pacer::forever;
        wish_ = static_cast<std::uint32_t>(lanes_.size());
        if (paused_) return pause(false);
        if (job_) return end_job();
        if (fresh_due_) return refreshed();
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].next != due::nothing && !lanes_[i].mute) return lane_event(i);
        require(timer_.has_value(), "something is always on its way");
        wake();
    }
    void check_alive() const {
        bool any = job_.has_value() || fresh_due_ || timer_ || paused_;
        for (lane_model const& l : lanes_) any = any || (l.next != due::nothing && !l.mute);
        require(any, "something is always on its way");
    }

    void pause(bool rest) {
        paused_ = rest;
        tell(event::paused{rest});
    }
    void wake() {
        now_ = std::max(now_, *timer_);
        timer_.reset();
        require(++wakes_ < 100'000, "nobody is woken again and again");
        look();
        tell(event::woke{windows_});
    }
    void look() {
        windows_.clear();
        for (lane_model const& l : lanes_)
            windows_.push_back({l.in_place, l.read, crc_of(l.window.grant.first, l.in_place)});
    }
    // As the driver does, before an event that may end the download.
    void tell_after_look(cleave::any_event const& e) {
        if (is_.journal) {
            look();
            ending_ = std::holds_alternative<event::grant_ended>(e)
                          ? std::optional{std::get<event::grant_ended>(e).lane}
                          : std::nullopt;
            tell(event::looked{windows_});
            ending_.reset();
            if (finished_) return;
        }
        tell(e);
    }

    void lane_event(lane_id id) {
        switch (lanes_[id].next) {
        case due::connection: return end_connecting(id);
        case due::head: return bring_head(id);
        case due::grant: return bring_bytes(id);
        case due::nothing: return;
        }
    }

    void end_connecting(lane_id id) {
        lane_model& l = lanes_[id];
        l.next = due::nothing;
        std::uint8_t const what = in_.byte();
        if (what >= 0xe0) {
            fair_ = false;
            constexpr std::array codes{error::name_not_resolved, error::connect_timeout,
                                       error::certificate_expired, error::proxy_refused};
            failure const why = failure::of(codes[what % 4U], phase::connect);
            return tell_after_look(event::lane_failed{id, why});
        }
        l.open = l.clean = true;
        ++connections_;
        tell(event::connected{id, what % 8U == 7, {}});
    }

    void bring_head(lane_id id) {
        lane_model& l = lanes_[id];
        std::uint8_t const what = in_.byte();
        if (what >= 0xf0) {
            fair_ = false;
            l.next = due::nothing;
            error const why = what % 2U == 0 ? error::closed_before_reply : error::closed_in_head;
            return tell_after_look(event::lane_failed{id, failure::of(why, phase::head)});
        }
        l.next = due::nothing;
        std::size_t const n =
            what < 0xc0 ? l.head.size() : 1 + what % std::max<std::size_t>(l.head.size(), 1);
        std::string piece = l.head.substr(0, n);
        l.head.erase(0, n);
        l.judged = l.head.empty();
        l.last_n = piece.size();
        l.clean = false;
        // Some of the body may come along, or all of it: then nothing is left in the connection.
        if (l.judged && what % 4U == 3) piece += "body";
        std::string const told = std::to_string(piece.size() - l.last_n);
        if (l.judged && !l.is.closes && l.is.length)
            l.clean = l.is.head.find("\r\nContent-Length: " + told + "\r\n") != std::string::npos;
        head_bytes_ = std::move(piece);
        tell_after_look(event::head_bytes{id, head_bytes_});
    }

    void bring_bytes(lane_id id) {
        lane_model& l = lanes_[id];
        if (l.too_early) {
            l.next = due::nothing;
            return tell_after_look(
                event::grant_ended{.lane = id, .failed = std::exchange(l.too_early, std::nullopt)});
        }
        std::uint8_t const what = in_.byte();
        std::uint64_t const want = l.window.grant.size() - l.in_place;
        std::uint64_t const until = std::min(l.is.count, l.is.breaks.value_or(l.is.count));
        std::uint64_t const there = until - std::min(until, l.at);
        if (!l.revoked && what >= 0xc0 && std::min(want, there) > 1) {
            // Some bytes come, of which nobody is told yet.
            write(l, 1 + what % (std::min(want, there) - 1));
            return;
        }
        event::grant_ended e{.lane = id, .failed = {}};
        if (l.revoked) {
            e.revoked = true;
        } else {
            write(l, std::min(want, there));
            bool const through = l.at == l.is.count;
            if (l.in_place == l.window.grant.size()) {
                if (l.window.last && through && !l.is.breaks) {
                    e.body_ended = l.is.length || l.window.to_the_end || !l.is.closes;
                    e.bytes_left_over = what == 0xbf && !l.is.closes;
                    // Where another reply was asked for, it is that one's.
                    l.clean =
                        e.body_ended && (!e.bytes_left_over || !l.ahead.empty()) && !l.is.closes;
                } else if (l.window.last && l.window.to_the_end) {
                    // Waits for the end, and sees more, or the connection break.
                    if (l.is.breaks)
                        e.failed = failure::of(error::closed_in_body, phase::body);
                    else
                        e.bytes_left_over = true;
                }
            } else if (l.is.breaks && l.at == *l.is.breaks) {
                if (l.is.silent) {
                    l.mute = true;
                    return;
                }
                if (!l.is.length && l.is.closes)
                    e.body_ended = true; // as if that were the end
                else
                    e.failed = failure::of(error::closed_in_body, phase::body);
            } else {
                require(through, "bytes come as long as there are any");
                if (l.is.length)
                    e.failed = failure::of(error::closed_in_body, phase::body);
                else
                    e.body_ended = true;
                l.clean = !e.failed && !l.is.closes;
            }
        }
        e.bytes = l.in_place;
        e.crc = crc_of(l.window.grant.first, l.in_place);
        if (what == 0xbe && !e.revoked)
            e.failed = failure{std::make_error_code(std::errc::no_space_on_device),
                               cause::storage,
                               phase::sink,
                               0,
                               std::nullopt,
                               {}};
        if (e.failed || e.bytes_left_over) fair_ = false;
        if (e.failed) l.clean = false;
        l.next = due::nothing;
        l.in_place = l.read = 0;
        l.revoked = false;
        if (e.failed)
            tell_after_look(e);
        else
            tell(e);
    }
    // Bytes of the reply, into their places.
    void write(lane_model& l, std::uint64_t n) {
        std::uint64_t const from = l.window.grant.first + l.in_place;
        require(from == l.is.first + l.at, "what is written is what was sent");
        require(from + n <= room, "what is written lies in the object");
        for (std::uint64_t at = from; at != from + n; ++at) {
            sink_[static_cast<std::size_t>(at)] = byte_of(l.is.of, at);
            ids_[static_cast<std::size_t>(at)] = l.is.of;
        }
        l.at += n;
        l.in_place += n;
        l.read += n;
    }

    [[nodiscard]] std::uint32_t crc_of(std::uint64_t first, std::uint64_t n) const {
        return cleave::crc32c(std::span{sink_}.subspan(static_cast<std::size_t>(n == 0 ? 0 : first),
                                                       static_cast<std::size_t>(n)));
    }

    // ---- jobs -------------------------------------------------------------------------------

    void end_job() {
        job const what = *std::exchange(job_, std::nullopt);
        std::uint8_t const how = in_.byte();
        if (what == job::recall) return tell(recalled(how));
        event::job_ended e{.what = what, .failed = {}, .digest = {}};
        bool const fails = how >= 0xf8;
        if (fails) {
            fair_ = false;
            e.failed = failure{std::make_error_code(std::errc::io_error),
                               cause::storage,
                               phase::sink,
                               0,
                               std::nullopt,
                               {}};
            e.data_lost = what == job::record && how % 2U == 0;
        }
        segment const bytes = in_object(job_bytes_);
        switch (what) {
        case job::check: e.crc = crc_of(bytes.first, bytes.size()); break;
        case job::hash_piece:
            if (!is_content(bytes, 0)) e.digest.size = 1;
            break;
        case job::finish_hash:
            if (engine_.report().bytes != 0 && !is_content(engine_.wanted(), 0)) e.digest.size = 1;
            break;
        case job::deliver:
            if (fails) break;
            handed_on_.insert(handed_on_.end(), ids_of(bytes).begin(), ids_of(bytes).end());
            break;
        case job::publish: published_ = published_ || !fails; break;
        default: break;
        }
        if (fails)
            tell_after_look(e);
        else
            tell(e);
    }

    event::recalled recalled(std::uint8_t how) {
        event::recalled e;
        if (how >= 0xf0) {
            fair_ = false;
            e.failed = failure{std::make_error_code(std::errc::io_error),
                               cause::storage,
                               phase::sink,
                               0,
                               std::nullopt,
                               {}};
            return e;
        }
        if (how < 0x60 || servers_.size == 0) return e;
        // An earlier run left some of a version, and claims that, or more, or damaged bytes.
        cleave::resume_state s;
        content const of = servers_.current(0);
        s.identity = {servers_.size, validator_of(servers_.how, of), {}};
        s.wanted = {0, servers_.size - 1};
        if (is_.part && is_.part->first < servers_.size)
            s.wanted = {is_.part->first, std::min(is_.part->last, servers_.size - 1)};
        s.url = "http://a/x?...";
        s.expectation = how % 2U == 0 ? 42 : 0;
        if (s.expectation != 0 && how % 4U == 2) s.identity.validator = {};
        std::uint64_t at = s.wanted.first;
        for (std::size_t runs = how % 5U; runs != 0; --runs) {
            segment const run{at + in_.below(20), 0};
            std::uint64_t const last = run.first + in_.below(40);
            if (last > s.wanted.last) break;
            for (std::uint64_t i = run.first; i <= last; ++i) {
                sink_[static_cast<std::size_t>(i)] = byte_of(of, i);
                ids_[static_cast<std::size_t>(i)] = of;
            }
            std::uint32_t const crc = crc_of(run.first, last - run.first + 1);
            std::uint8_t const damage = in_.byte();
            if (damage >= 0xc0) {
                // It is not what it was.
                std::uint64_t const bad = run.first + damage % (last - run.first + 1);
                sink_[static_cast<std::size_t>(bad)] ^= std::byte{1};
                ids_[static_cast<std::size_t>(bad)] = no_content;
            }
            s.in_place.push_back({{run.first, last}, crc});
            at = last + 2;
        }
        e.state = std::make_shared<cleave::resume_state const>(std::move(s));
        return e;
    }

    void refreshed() {
        fresh_due_ = false;
        event::refreshed e;
        std::uint8_t const how = in_.byte();
        if (how >= 0xe0) {
            fair_ = false;
            e.failed = failure::of(error::no_fresh_request, phase::setup);
        } else {
            cleave::request r = how % 2U == 0 ? "http://user:secret@a/fresh?token=secret"
                                              : "http://user:secret@b/fresh?token=secret";
            home_ = how % 2U;
            r.with_header("X-Key", "secret");
            if (is_.valid_for) r.valid_for = 60s;
            e.fresh = std::make_shared<cleave::request const>(std::move(r));
        }
        tell_after_look(e);
    }

    // ---- the engine's actions, each judged --------------------------------------------------

    void tell(cleave::any_event const& e) {
        engine_.step(e, now_);
        std::size_t count = 0;
        while (auto const a = engine_.next_action()) {
            require(!finished_, "nothing follows the end");
            require(++count < 6 * lanes_.size() + 16, "one event brings about few actions");
            std::visit([this](auto const& one) { this->perform(one); }, *a);
        }
        check_books();
    }

    void perform(action::connect const& a) {
        lane_model& l = lanes_.at(a.lane);
        require(!l.open && l.next == due::nothing, "only what is closed connects");
        auto const& target = engine_.target_of(a.lane);
        auto const host = std::find(hosts.begin(), hosts.end(), target.host());
        require(host != hosts.end(), "a lane connects to a host that somebody named");
        l = {};
        l.host = static_cast<std::size_t>(host - hosts.begin());
        l.next = due::connection;
        l.mute = !in_.empty() && in_.chance(3);
        fair_ = fair_ && !l.mute;
    }

    void perform(action::send const& a) {
        lane_model& l = lanes_.at(a.lane);
        require(l.open && l.next == due::nothing, "only a connection that waits can send");
        require(!paused_, "nothing is asked for in a pause");
        for (std::string_view rest = a.text; !rest.empty();) {
            auto const end = std::min(rest.find("\r\n\r\n"), rest.size() - 4) + 4;
            look_at_request(a.lane, rest.substr(0, end));
            rest.remove_prefix(end);
        }
        if (a.ahead) {
            require(l.judged && !l.is.closes && l.is.length, "the reply before it ends by itself");
            l.ahead += a.text;
            return;
        }
        require(l.clean, "a connection in doubt is never used again");
        answer(a.lane, a.text);
    }

    void look_at_request(cleave::lane_id id, std::string_view text) {
        lane_model const& l = lanes_.at(id);
        require(text.starts_with("GET ") && text.ends_with("\r\n\r\n"), "a request is one");
        ++sent_;
        auto const is = cleave_fuzz::asked::read(text);
        require(is.host == l.host, "a request goes to the host that it names");
        bool const secret =
            text.find("secret") != text.npos || text.find("Authorization") != text.npos;
        // The engine may mean the lane for another host by now, and have closed this connection.
        require(!secret || l.host == home_, "secrets go to their origin only");
        if (is.range && is_.part)
            require(is_.part->contains(is.range->first), "what is asked for is wanted");
    }

    void answer(cleave::lane_id id, std::string_view text) {
        lane_model& l = lanes_.at(id);
        l.request = cleave_fuzz::asked::read(text);
        l.is = servers_.answer(l.request, in_);
        l.head = l.is.head;
        l.mute = l.is.never;
        fair_ = fair_ && l.is.fair;
        l.judged = false;
        l.at = 0;
        l.next = due::head;
    }

    void perform(action::read_head const& a) {
        lane_model& l = lanes_.at(a.lane);
        require(l.open && l.next == due::nothing, "a head is read when a part of it has come");
        if (a.next) {
            require(l.clean && !l.ahead.empty(), "what was asked ahead follows a body that ended");
            auto const end = l.ahead.find("\r\n\r\n") + 4;
            std::string const text = l.ahead.substr(0, end);
            l.ahead.erase(0, end);
            return answer(a.lane, text);
        }
        require(!l.judged, "a head that is complete is enough");
        l.next = due::head;
        if (l.head.empty()) l.mute = true;
    }

    void perform(action::receive const& a) {
        lane_model& l = lanes_.at(a.lane);
        require(l.open && l.next == due::nothing && l.judged, "a grant follows a reply");
        require(!paused_, "nothing is granted in a pause");
        require(l.is.of != no_content, "nothing is taken of a reply that makes no sense");
        require(ready_sink_, "a grant follows the opening of the sink");
        require(a.grant.valid() && a.grant.size() <= is_.windows.grant, "a grant fits its window");
        require(engine_.wanted().contains(a.grant), "nothing is granted that is not wanted");
        require(!engine_.ledger().committed().overlaps(a.grant), "no byte is granted twice");
        for (lane_model const& other : lanes_)
            require(&other == &l || other.next != due::grant ||
                        !other.window.grant.overlaps(a.grant),
                    "no byte is granted to two lanes");
        if (l.request.range && l.is.ranged)
            require(l.request.range->contains(a.grant),
                    "nothing is granted that was not asked for");
        if (is_.sink.window != 0)
            require(a.grant.last - engine_.wanted().first < handed_on_.size() + is_.sink.window,
                    "nothing is granted that the sink has no room for");
        l.window = a;
        l.in_place = l.read = 0;
        l.revoked = false;
        l.next = due::grant;
        if (!a.first) {
            require(a.grant.first == l.is.first + l.at, "grants of a reply follow each other");
            return;
        }
        require(a.head_size == l.last_n, "the body begins where the head ends");
        require(l.at == 0 && l.is.first + a.skip == a.grant.first,
                "a grant follows what is skipped");
        require(a.framing.is != cleave::body_framing::kind::length ||
                    a.framing.length == l.is.count,
                "the length is the reply's");
        // What is to be skipped is compared with what is in place.
        std::uint64_t const until = std::min(l.is.count, l.is.breaks.value_or(l.is.count));
        l.at = std::min(a.skip, until);
        if (l.at != a.skip) {
            l.too_early = failure::of(error::closed_in_body, phase::body);
            l.clean = false;
            return;
        }
        for (std::uint64_t i = 0; i != std::min(a.compare, a.skip); ++i) {
            std::uint64_t const at = l.is.first + i;
            require(at < room, "what is compared lies in the object");
            if (sink_[static_cast<std::size_t>(at)] == byte_of(l.is.of, at)) continue;
            l.too_early = failure::of(error::bytes_differ, phase::body);
            l.clean = false;
            return;
        }
    }

    void perform(action::revoke const& a) {
        lane_model& l = lanes_.at(a.lane);
        if (ending_ == a.lane) return; // too late
        require(l.next == due::grant, "only what is granted is revoked");
        l.revoked = true;
        l.mute = false;
    }

    void perform(action::close const& a) {
        lane_model& l = lanes_.at(a.lane);
        require(!a.keep || (l.open && l.next == due::nothing && l.clean),
                "only an idle connection is kept for others");
        l = {};
    }

    void perform(action::run const& a) {
        require(!job_, "one job runs at a time");
        require(!published_ || a.what == job::forget, "nothing but the journal follows publishing");
        job_ = a.what;
        job_bytes_ = a.bytes;
        switch (a.what) {
        case job::recall:
        case job::record:
        case job::forget: require(is_.journal, "there is a journal"); break;
        case job::open:
            if (!a.resumed) {
                require(handed_on_.empty(), "what was handed on is not taken back");
                std::fill(ids_.begin(), ids_.end(), no_content);
            }
            ready_sink_ = true;
            break;
        case job::deliver:
            require(is_.sink.window != 0 && a.bytes.first == handed_on_.size(),
                    "bytes are handed on in order, and once");
            check_there(in_object(a.bytes));
            break;
        case job::hash:
        case job::hash_piece: check_there(in_object(a.bytes)); break;
        case job::sync:
            synced_ = true;
            if (a.size != std::uint64_t{0}) check_there(engine_.wanted());
            break;
        case job::publish: require(synced_, "what is published is durable"); break;
        default: break;
        }
        if (a.what == job::record) check_claims(engine_.state_to_keep());
    }
    [[nodiscard]] segment in_object(segment s) const {
        std::uint64_t const from = engine_.wanted().first;
        return {s.first + from, s.last + from};
    }
    [[nodiscard]] std::span<content const> ids_of(segment s) const {
        require(s.last < room, "what is looked at lies in the object");
        return std::span{ids_}.subspan(static_cast<std::size_t>(s.first),
                                       static_cast<std::size_t>(s.size()));
    }
    void check_there(segment s) const {
        auto const all = ids_of(s);
        require(std::find(all.begin(), all.end(), no_content) == all.end(),
                "only what is in place is used");
    }
    void check_claims(cleave::resume_state const& s) const {
        segment const* before = nullptr;
        for (auto const& [run, crc] : s.in_place) {
            require(run.valid() && s.wanted.contains(run), "a claim lies in what is wanted");
            require(before == nullptr || run.first - 1 > before->last, "claims lie apart");
            before = &run;
            check_there(run);
            require(crc_of(run.first, run.size()) == crc, "a claim has the checksum of its bytes");
        }
    }

    void perform(action::refresh const&) {
        require(is_.refreshes && !fresh_due_, "a fresh request is asked for once");
        fresh_due_ = true;
    }
    void perform(action::wait_until const& a) {
        require(a.at >= now_, "nobody is woken yesterday");
        timer_ = a.at;
    }
    void perform(action::finish const&) {
        require(!job_, "the end waits for the last job");
        finished_ = true;
    }

    // ---- the books --------------------------------------------------------------------------

    void check_books() {
        auto const& r = engine_.report();
        if (r.failed || finished_) return;
        require(r.requests == sent_ && r.connections == connections_, "the report counts");
        auto const& ledger = engine_.ledger();
        for (segment const s : ledger.owed())
            require(!ledger.committed().overlaps(s), "what is in place is not owed");
        for (segment const s : ledger.committed())
            if (ready_sink_) check_there(s);
    }
    [[nodiscard]] bool is_content(segment s, content of) const {
        auto const all = ids_of(s);
        return std::count(all.begin(), all.end(), of) == static_cast<std::ptrdiff_t>(all.size());
    }

    void check_end() {
        auto const& r = engine_.report();
        for (lane_model const& l : lanes_)
            require(l.next == due::nothing && !l.open, "at the end all is quiet");
        if (r.failed) {
            require(static_cast<bool>(r.failed->code), "a failure has a code");
            require(!r.failed->message().empty(), "a failure says what happened");
            require(r.failed->message().find("secret") == std::string::npos,
                    "a failure holds no secrets");
            require(!published_, "a failure publishes nothing");
            require(!fair_, "nothing fails where nothing goes wrong");
            return;
        }
        require(published_, "a good end publishes");
        require(r.identity.size || is_.part, "the size is known in the end, where it matters");
        if (r.bytes == 0) {
            require(r.identity.size == std::uint64_t{0}, "nothing is there of nothing only");
            return;
        }
        segment const all = engine_.wanted();
        require(r.bytes == all.size(), "every byte is counted");
        content const of =
            is_.sink.window != 0 ? handed_on_.at(0) : ids_[static_cast<std::size_t>(all.first)];
        if (is_.sink.window != 0) {
            require(handed_on_.size() == all.size(), "every byte is handed on");
            for (content const c : handed_on_) require(c == of, "one version is handed on");
        } else {
            require(is_content(all, of), "one version is published");
        }
        bool const verified = is_.verified || is_.pieces.size != 0;
        require(r.digest_verified == verified, "the report knows of the digest");
        require(!verified || of == 0, "what is published has its digest");
    }

    cleave_fuzz::input& in_;
    cleave_fuzz::servers servers_;
    std::vector<lane_model> lanes_;
    settings is_;
    std::uint32_t wish_ = 1;
    std::uint64_t purse_ = purse_pacer::forever;
    cleave::ignores_other_events observer_;
    engine_type engine_;

    std::vector<std::byte> sink_;
    std::vector<content> ids_; ///< of each byte in the sink: what it is one of
    std::vector<content> handed_on_;
    bool ready_sink_ = false;
    std::size_t home_ = 0; ///< the host that the caller's secrets are for

    std::optional<job> job_;
    segment job_bytes_;
    bool fair_ = true;                      ///< nothing has gone wrong yet
    std::optional<cleave::lane_id> ending_; ///< the lane whose grant's end is to be told next
    bool fresh_due_ = false;
    bool synced_ = false;
    bool published_ = false;
    bool finished_ = false;
    bool paused_ = false;
    std::uint64_t sent_ = 0;
    std::uint64_t connections_ = 0;
    std::uint64_t wakes_ = 0;

    instant now_{1s};
    std::optional<instant> timer_;
    std::string head_bytes_;
    std::vector<lane_id> ready_;
    std::vector<event::lane_window> windows_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    world w{input};
    w.run();
    return 0;
}
