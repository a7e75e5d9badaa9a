// SPDX-License-Identifier: BSL-1.0
//
// An engine among lanes, servers, jobs, rules and clocks that do anything they may, in any order:
// slow and silent lanes, pieces that come wrong, a sink with little room, a pacer and a lane rule
// that change their minds, a caller who pauses. Whatever happens, every byte is granted to one lane
// at a time and never again once it is in place, nothing is written that was not asked for, nothing
// is handed on that is not proven, the end comes in its order, and it does come.

#include <cleave/engine/engine.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>

#include "script.hpp"

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace cleave_test;
using cleave::segment_set;

namespace {

// What a world is like.
struct climate {
    std::uint64_t size = 1000;
    std::optional<segment> part = {};
    std::uint32_t lanes = 4;
    cleave::engine_windows windows = {};
    bool verified = false;
    bool ranges = true;       // else every reply is the whole object
    unsigned length = 100;    // without ranges: of a hundred replies, how many tell it
    bool chunked = true;      // without a length: chunks, or until the connection closes
    unsigned trouble = 30;    // of a hundred requests, how many meet with some
    unsigned closing = 20;    // of a hundred replies, how many are the connection's last
    unsigned odd_ranges = 20; // of a hundred replies, how many are shorter or longer than asked
    unsigned slow = 30;       // of a hundred replies, how many come slowly
    unsigned pauses = 0;      // of a thousand moments, in how many the caller has a wish
    unsigned pace = 0;        // of a hundred portions, how many come later or are smaller
    unsigned whims = 0;       // of a hundred times, how often other lanes are wanted
    std::uint64_t piece = 0;  // bytes of a piece; 0: no pieces
    unsigned wrong = 0;       // of a hundred grants, how many bring a wrong byte
    cleave::sink_shape sink = {};
    std::uint32_t tries = 1000;
    std::chrono::nanoseconds wait{0};
    bool may_fail = false; // whether an end without the object is an end
    bool cancels = false;
};

// What came to pass, over many worlds.
struct events_seen {
    std::uint64_t steals = 0;
    std::uint64_t hedges = 0;
    std::uint64_t hedges_won = 0;
    std::uint64_t hedges_lost = 0;
    std::uint64_t hedges_inherited = 0;
    std::uint64_t revokes = 0;
    std::uint64_t revokes_too_late = 0;
    std::uint64_t pieces_failed = 0;
    std::uint64_t lanes_freed = 0;
    std::uint64_t pauses = 0;
    std::uint64_t refused_by_pacer = 0;
    std::uint64_t delivered_before_restart = 0;
    std::uint64_t one_streams = 0;
    std::uint64_t asked_ahead = 0;
    std::uint64_t answered_ahead = 0;
    std::uint64_t asked_further = 0;
    std::uint64_t taken_ahead = 0;

    void add(events_seen const& o) {
        steals += o.steals;
        hedges += o.hedges;
        hedges_won += o.hedges_won;
        hedges_lost += o.hedges_lost;
        hedges_inherited += o.hedges_inherited;
        revokes += o.revokes;
        revokes_too_late += o.revokes_too_late;
        pieces_failed += o.pieces_failed;
        lanes_freed += o.lanes_freed;
        pauses += o.pauses;
        refused_by_pacer += o.refused_by_pacer;
        delivered_before_restart += o.delivered_before_restart;
        one_streams += o.one_streams;
        asked_ahead += o.asked_ahead;
        answered_ahead += o.answered_ahead;
        asked_further += o.asked_further;
        taken_ahead += o.taken_ahead;
    }
};

// Keeps what it is told of one step.
struct watcher : cleave::ignores_other_events {
    using cleave::ignores_other_events::on;
    std::chrono::nanoseconds every{0};
    bool known = false;
    bool paused = false;
    std::vector<cleave::segment_asked> asked = {};
    std::vector<cleave::bytes_stolen> stolen = {};
    std::vector<cleave::piece_failed> failed = {};
    std::vector<cleave::next_step> next = {};

    void on(cleave::attempt_failed const& f) noexcept { next.push_back(f.next); }
    void on(cleave::object_known const&) noexcept { known = true; }
    void on(cleave::segment_asked const& a) noexcept { asked.push_back(a); }
    void on(cleave::bytes_stolen const& s) noexcept { stolen.push_back(s); }
    void on(cleave::piece_failed const& p) noexcept { failed.push_back(p); }
    void on(cleave::download_paused const& p) noexcept { paused = p.paused; }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return every; }
};

// What the policies below were asked, and whether that was right.
struct policies_asked {
    std::uint64_t taken = 0;
    std::uint64_t given_back = 0;
    std::uint64_t refused = 0;
    instant not_before{0};
    bool asked_too_early = false;
    bool told_nonsense = false;
};

// Says "not now" at times, and gives less than it is asked for.
struct moody_pacer {
    policies_asked* asked;
    random_source random;
    unsigned moods;

    [[nodiscard]] cleave::pace_answer take(std::uint64_t n, instant now) noexcept {
        asked->asked_too_early = asked->asked_too_early || n == 0 || now < asked->not_before;
        if (random.chance(moods)) {
            ++asked->refused;
            asked->not_before = now + instant{1} + std::chrono::milliseconds{random.below(30)};
            return {.at = asked->not_before};
        }
        std::uint64_t const bytes = random.chance(moods) ? 1 + random.below(n) : n;
        asked->taken += bytes;
        return {.bytes = bytes};
    }
    void give_back(std::uint64_t n) noexcept { asked->given_back += n; }
    void set_rate(std::uint64_t) noexcept { asked->not_before = instant{0}; }
};
static_assert(cleave::adjustable_pacer<moody_pacer>);

// Wants more lanes, and fewer, and none at all, and more than there are.
struct moody_lanes {
    std::uint32_t lanes;
    policies_asked* asked;
    random_source random;
    unsigned whims;
    std::uint32_t wish = lanes;
    cleave::lanes_state last = {};

    [[nodiscard]] std::uint32_t most() const noexcept { return lanes; }
    [[nodiscard]] std::uint32_t want(cleave::lanes_state const& s) noexcept {
        bool const sound = s.running <= lanes && s.receiving <= s.running && s.given_up <= lanes &&
                           s.given_up >= last.given_up && s.refusals >= last.refusals &&
                           s.bytes >= last.bytes && s.now >= last.now;
        asked->told_nonsense = asked->told_nonsense || !sound;
        last = s;
        if (random.chance(whims)) wish = static_cast<std::uint32_t>(random.below(lanes + 3));
        return wish;
    }
};
static_assert(cleave::lane_rule<moody_lanes>);

template <class Planner>
class world {
  public:
    world(climate const& c, Planner planner, std::uint64_t seed)
        : is_(c), random_(seed),
          engine_(request_of(c, seed), std::move(planner),
                  moody_lanes{c.lanes, &asked_, random_source{seed + 1}, c.whims},
                  insistence{.tries = c.tries, .wait = c.wait},
                  told_verifier{.wants = c.verified, .parts = pieces_of(c)},
                  moody_pacer{&asked_, random_source{seed + 2}, c.pace}, observer_, c.windows,
                  {.sink = c.sink}),
          lanes_(c.lanes), before_(c.lanes) {
        segment const asked = c.part.value_or(segment{0, cleave::max_offset});
        if (c.size != 0 && asked.first < c.size)
            wanted_ = segment{asked.first, std::min(asked.last, c.size - 1)};
        if (c.piece != 0) wrong_so_often_.resize(pieces_of(c).count);
        observer_.every = random_.chance(50) ? 100ms : 0ms;
    }
    world(world const&) = delete;
    world& operator=(world const&) = delete;

    // Lets everything happen until the end.
    void run() {
        tell(event::started{});
        for (int steps = 0; !finished_; ++steps) {
            must(steps < 200'000, "there is an end");
            happen();
        }
        check_end();
    }
    [[nodiscard]] cleave::report const& report() const { return engine_.report(); }
    [[nodiscard]] events_seen const& seen() const { return seen_; }

  private:
    using engine_type =
        cleave::engine<Planner, moody_lanes, insistence, told_verifier, moody_pacer, watcher>;

    // What a lane's connection is about to bring.
    enum class due { nothing, connection, head, grant };

    struct lane_model {
        due next = due::nothing;
        bool mute = false;          // what is due never comes
        bool open = false;          // the connection stands
        bool carried = false;       // it has carried a reply
        bool clean = true;          // nothing of an old reply is left in it
        std::string refusal;        // the head of a bad reply
        bool whole_refusal = false; // all of that has come

        unsigned pace = 100;   // of a hundred turns, how many it takes
        bool revoked = false;  // its grant is to end as it is
        bool too_late = false; // its grant was to end so, but its end is on its way already

        segment asked; // as its request says
        bool ranged = true;
        std::vector<segment> ahead;  // as the requests say that were sent behind it
        std::string head;            // of the reply, what has not come yet
        std::size_t last_piece = 0;  // how much of the last bytes told was the head's
        bool begun = false;          // some of the head came
        bool judged = false;         // the head is complete
        bool good = false;           // its bytes may be taken
        bool keeps = true;           // the connection stays afterwards
        bool tells = true;           // how long its body is
        bool open_ended = false;     // nobody knows where it ends
        bool ended = false;          // the body's end was told
        bool end_lost = false;       // all its bytes came, but not its end
        std::optional<segment> body; // which bytes of the object come; none where there are none
        std::optional<std::uint64_t> breaks; // before which of them, if it does
        std::optional<std::uint64_t> sticks; // before which of them nothing comes any more
        std::uint64_t at = 0;                // the next of them
        bool granted = false;                // the first grant has been made
        segment grant;
        std::uint64_t in_place = 0;
        std::uint64_t read = 0;
        bool last = false;
        bool to_the_end = false;
    };
    // What the engine knew of a lane before a step.
    struct lane_before {
        std::optional<segment> left;
        std::vector<segment> ahead;
        std::optional<lane_id> hedge_of;
    };

    static cleave::piece_expectation pieces_of(climate const& c) {
        if (c.piece == 0) return {};
        return {c.piece, c.size / c.piece + (c.size % c.piece == 0 ? 0 : 1)};
    }
    static cleave::request request_of(climate const& c, std::uint64_t seed) {
        cleave::request r = "http://h/x";
        r.part = c.part;
        r.seed = seed;
        r.timeouts = {.connect = 10s, .head = 10s, .stall = 10s, .deadline = {}};
        return r;
    }

    void must(bool holds, char const* law) {
        if (holds) return;
        std::string text = std::string{law} + "\n";
        for (std::string const& line : trace_) text += "  " + line + "\n";
        for (segment s : engine_.ledger().owed()) text += "  owed " + to_string(s) + "\n";
        for (cleave::lane const& l : engine_.lanes())
            text += "  lane, state " + std::to_string(static_cast<int>(l.is)) +
                    (l.left ? ", holds " + to_string(*l.left) : "") + "\n";
        text += "  handed on: " + std::to_string(delivered_) + " of a window of " +
                std::to_string(is_.sink.window) + "\n";
        FAIL(text);
    }
    void note(std::string line) {
        trace_.push_back(std::move(line));
        if (trace_.size() > 60) trace_.pop_front();
    }

    // ---- what happens ---------------------------------------------------------------------

    void happen() {
        ready_.clear();
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].next != due::nothing && !lanes_[i].mute) ready_.push_back(i);
        bool const busy = !ready_.empty() || job_;
        must(busy || timer_ || paused_, "something is always on its way");
        if (is_.cancels && random_.below(200) == 0) {
            note("cancelled");
            return tell(event::cancelled{});
        }
        if (paused_ && ((!busy && !timer_) || random_.chance(5))) return pause(false);
        if (random_.below(1000) < is_.pauses) return random_.chance(50) ? pause(true) : new_rate();
        bool const due_now = timer_ && *timer_ <= now_ && random_.chance(50);
        if (timer_ && (!busy || due_now || random_.chance(3))) return wake();
        if (random_.chance(30)) now_ += std::chrono::milliseconds{random_.below(50)};
        if (job_ && (ready_.empty() || random_.chance(20))) return end_job();
        lane_id const id = ready_[random_.index(ready_.size())];
        lane_model& l = lanes_[id];
        // One that others have given up on may well do the same.
        bool const fails = l.next == due::grant &&
                           std::ranges::count(engine_.lanes(), id, &cleave::lane::hedge_of) != 0 &&
                           random_.chance(is_.trouble / 3);
        if (fails) l.breaks = l.grant.first;
        if (!fails && !l.revoked && !l.too_late && !random_.chance(l.pace)) {
            now_ += std::chrono::milliseconds{random_.below(20)};
            return;
        }
        switch (l.next) {
        case due::connection: return end_connecting(id);
        case due::head: return bring_head(id);
        case due::grant: return bring_bytes(id);
        case due::nothing: break;
        }
    }

    void pause(bool rest) {
        note(rest ? "paused" : "resumed");
        seen_.pauses += rest && !paused_ ? 1 : 0;
        paused_ = rest;
        tell(event::paused{rest});
        must(finished_ || engine_.report().failed || observer_.paused == rest,
             "observers are told of a pause");
        for (lane_model const& l : lanes_)
            must(!paused_ || l.next != due::grant || l.revoked || l.too_late ||
                     (l.to_the_end && l.last),
                 "a pause revokes what is granted");
    }
    void new_rate() {
        note("another rate");
        tell(event::rate_changed{1 + random_.below(1000)});
    }

    void wake() {
        now_ = std::max(now_, *timer_);
        timer_.reset();
        note("woke at " + std::to_string(now_.count()));
        windows_.clear();
        for (lane_model const& l : lanes_) windows_.push_back({l.in_place, l.read});
        waking_ = true;
        tell(event::woke{windows_});
        waking_ = false;
    }

    void end_job() {
        job const what = *std::exchange(job_, std::nullopt);
        note("ended: " + text_of(what));
        event::job_ended e{.what = what, .failed = {}, .digest = {}};
        switch (what) {
        case job::open: sink_ready_ = true; break;
        case job::hash_piece: judge_piece(e.digest); break;
        case job::deliver:
            delivered_ = job_bytes_.last + 1;
            if (is_.verified) hashed_ = delivered_;
            break;
        case job::publish: published_ = true; break;
        default: break;
        }
        auto const told = observer_.failed.size();
        bool const wrong = e.digest.size != 0 && !job_void_;
        tell(e);
        bool const again = wrong && !engine_.report().failed;
        must(observer_.failed.size() == told + (again ? 1 : 0),
             "a piece is told of when it failed, and not else");
    }

    // A piece is as right as its bytes. What was begun before the download began again tells
    // nothing of the bytes that come now.
    void judge_piece(cleave::digest_value& digest) {
        if (job_void_) {
            if (random_.chance(50)) digest = wrong_digest;
            return;
        }
        segment const piece = job_bytes_;
        if (!wrong_.overlaps(piece)) {
            proven_.insert(piece);
            return;
        }
        digest = wrong_digest;
        must(++wrong_so_often_[piece.first / is_.piece] <= 3, "no piece is tried four times");
        ++seen_.pieces_failed;
        wrong_.erase(piece);
        committed_.erase(piece);
    }

    void end_connecting(lane_id id) {
        lane_model& l = lanes_[id];
        l.next = due::nothing;
        if (random_.chance(is_.trouble / 3)) {
            note("no connection " + std::to_string(id));
            return tell(
                event::lane_failed{id, failure::of(error::name_not_resolved, phase::connect)});
        }
        l.open = true;
        l.clean = true;
        l.carried = random_.chance(15); // for another download
        note("connected " + std::to_string(id));
        tell(event::connected{id, l.carried});
    }

    void bring_head(lane_id id) {
        lane_model& l = lanes_[id];
        l.next = due::nothing;
        if (random_.chance(is_.trouble / 6)) {
            bool const any = l.begun;
            note("head lost " + std::to_string(id));
            return tell(event::lane_failed{
                id, failure::of(any ? error::closed_in_head : error::closed_before_reply,
                                phase::head)});
        }
        std::size_t const n = random_.chance(40) ? l.head.size() : 1 + random_.index(l.head.size());
        std::string piece = l.head.substr(0, n);
        l.head.erase(0, n);
        l.begun = true;
        bool const complete_now = l.head.empty();
        bool const good = l.good;
        if (complete_now) {
            if (l.body && random_.chance(is_.trouble)) l.breaks = random_.within(*l.body).first;
            if (l.body && random_.chance(is_.trouble / 10)) l.sticks = random_.within(*l.body).last;
            l.judged = true;
            l.carried = true;
            l.clean = false;
            l.last_piece = n;
            // Some of the body may come along.
            if (random_.chance(50)) piece += "body";
            note("head complete " + std::to_string(id) + (l.good ? "" : " (bad)"));
            l.open_ended = l.good && !l.ranged && !l.tells && !size_told_;
            size_told_ = size_told_ || (l.good && (l.ranged || l.tells));
            std::size_t const behind = piece.size() - n;
            l.whole_refusal = !l.good && l.keeps &&
                              l.refusal.find("Content-Length: " + std::to_string(behind) +
                                             "\r\n") != std::string::npos;
            if (l.whole_refusal) l.clean = true;
        }
        auto const freed = seen_.lanes_freed;
        // Of a hedge, or of what was one, it may come too late, or be too short.
        auto const left = engine_.lanes()[id].left;
        bool const of_use =
            !identity_known() || !l.ranged || (left && l.body && left->overlaps(*l.body));
        tell(event::head_bytes{id, piece});
        if (!complete_now || engine_.report().failed) return;
        if (!good)
            must(!l.judged || l.whole_refusal, "a bad reply is closed, but where it is all there");
        else if (wanted_ && of_use)
            must(l.judged || seen_.lanes_freed != freed, "a good reply is taken");
    }

    void bring_bytes(lane_id id) {
        lane_model& l = lanes_[id];
        std::uint64_t const there = l.body->last - l.at + 1; // of the body, from the grant on
        std::uint64_t const room = std::min(there, l.grant.size()) - l.in_place;
        // All of a grant are told of at once, but where the body's end is waited for.
        std::uint64_t const at_most = l.last && l.to_the_end ? room : room == 0 ? 0 : room - 1;
        if (!l.revoked && !l.too_late && at_most != 0 && random_.chance(40)) {
            // Some bytes come, which nobody is told of yet.
            std::uint64_t const n = 1 + random_.below(at_most);
            l.in_place += n;
            l.read += n + random_.below(5);
            return;
        }
        event::grant_ended e{.lane = id, .failed = {}};
        l.next = due::nothing;
        if (l.revoked) {
            e.bytes = l.in_place;
            e.revoked = true;
            note("revoked " + std::to_string(id) + " after " + std::to_string(e.bytes));
        } else if (l.breaks && l.grant.contains(*l.breaks)) {
            e.bytes = l.in_place;
            // It may also end as if that were all; of one without a length nobody could tell.
            if (random_.chance(70) || l.open_ended || e.bytes == l.grant.size())
                e.failed = failure::of(error::closed_in_body, phase::body);
            else
                e.body_ended = true;
            l.end_lost = e.bytes == l.grant.size();
            l.clean = false;
            note("broke " + std::to_string(id) + " after " + std::to_string(e.bytes));
        } else if (there < l.grant.size()) {
            // Only an object of which nobody knew the length ends before its grant.
            e.bytes = there;
            e.body_ended = true;
            l.clean = l.keeps;
            note("object ended " + std::to_string(id));
        } else {
            e.bytes = l.grant.size();
            bool const through = there == l.grant.size();
            // All of it came, but for the end of its framing.
            bool const no_end = through && l.last && !l.tells && random_.chance(is_.trouble / 3);
            if (no_end) e.failed = failure::of(error::closed_in_body, phase::body);
            l.end_lost = no_end && !l.ranged;
            e.body_ended = !no_end && through && (l.last || (l.open_ended && random_.chance(50)));
            e.bytes_left_over = e.body_ended && !must_end(l) && random_.chance(10);
            // What is left over is the next reply's, where that was asked for.
            l.clean = e.body_ended && (!e.bytes_left_over || !l.ahead.empty()) && l.keeps;
            note((no_end ? "filled, but lost, " : "filled ") + std::to_string(id));
        }
        received_ += e.bytes;
        if (e.bytes != 0) commit(*segment::of(l.grant.first, e.bytes));
        l.at += e.bytes;
        l.in_place = 0;
        l.read = 0;
        l.revoked = l.too_late = false;
        l.ended = e.body_ended && !e.failed;
        size_told_ = size_told_ || (l.open_ended && l.ended);
        tell(e);
    }

    // ---- the server -----------------------------------------------------------------------

    void make_reply(lane_model& l) {
        l.begun = l.judged = l.granted = l.ended = l.end_lost = false;
        l.pace = random_.chance(is_.slow) ? static_cast<unsigned>(1 + random_.below(15)) : 100;
        l.good = l.tells = true;
        l.open_ended = false;
        l.keeps = !random_.chance(is_.closing);
        std::string more = l.keeps ? "" : "Connection: close\r\n";
        if (random_.chance(20)) more += "X-Long: " + std::string(random_.index(300), 'x') + "\r\n";
        l.mute = random_.chance(is_.trouble / 20);
        l.breaks.reset();
        l.sticks.reset();

        if (is_.size == 0) {
            l.body.reset();
            l.head = random_.chance(50) ? whole(0, more)
                                        : head(416, "Content-Range: bytes */0\r\n" + more);
            return;
        }
        if (random_.chance(is_.trouble / 3) && make_bad_reply(l, more)) {
            l.good = false;
            l.refusal = l.head;
            l.body.reset();
            return;
        }
        if (!is_.ranges || !l.ranged) {
            l.ranged = false;
            l.body = segment{0, is_.size - 1};
            l.tells = random_.chance(is_.length);
            if (l.tells) {
                l.head = whole(is_.size, more);
            } else {
                if (!is_.chunked) l.keeps = false;
                l.head = head(200, "ETag: \"v1\"\r\n" + more +
                                       (is_.chunked ? "Transfer-Encoding: chunked\r\n" : ""));
            }
            return;
        }
        segment body{l.asked.first, std::min(l.asked.last, is_.size - 1)};
        if (random_.chance(is_.odd_ranges))
            body.last = body.first + random_.below(body.size());
        else if (random_.chance(is_.odd_ranges))
            body.last += random_.below(is_.size - body.last);
        l.body = body;
        l.head = part(body, is_.size, more);
    }
    // One that must be refused, but that another may follow; false if there is none of the kind.
    bool make_bad_reply(lane_model& l, std::string const& more) {
        std::uint64_t const first = l.asked.first;
        switch (random_.below(l.ranged && is_.ranges ? 7 : 3)) {
        case 0:
            l.head = head(503, "Retry-After: " + std::to_string(random_.below(3)) + "\r\n" + more);
            return true;
        case 1: l.head = head(500, "Content-Length: 10\r\n" + more); return true;
        case 2: l.head = "SSH-2.0-OpenSSH_9.2\r\n"; return true;
        case 3: // other bytes than those that were asked for
            if (first + 1 == is_.size) return false;
            l.head = part({first + 1, is_.size - 1}, is_.size, more);
            return true;
        case 4: // the lengths disagree
            l.head = head(206, "Content-Range: bytes " + action_text::of({first, first}) + "/" +
                                   std::to_string(is_.size) +
                                   "\r\nContent-Length: 2\r\nETag: \"v1\"\r\n" + more);
            return true;
        case 5: // nobody knows which bytes
            l.head = head(206, "Content-Length: 5\r\nETag: \"v1\"\r\n" + more);
            return true;
        default: // the whole object, which only the first reply may be
            l.head = whole(is_.size, more);
            return identity_known();
        }
    }
    [[nodiscard]] bool identity_known() const { return observer_.known; }

    // ---- the engine's actions, each judged ------------------------------------------------

    void tell(cleave::any_event const& e) {
        observer_.asked.clear();
        observer_.stolen.clear();
        for (lane_id i = 0; i != lanes_.size(); ++i)
            before_[i] = {engine_.lanes()[i].left, engine_.lanes()[i].ahead,
                          engine_.lanes()[i].hedge_of};
        engine_.step(e, now_);
        if (std::ranges::count(observer_.next, cleave::next_step::one_stream) != 0)
            begin_as_one_stream();
        observer_.next.clear();
        // Most often a clock brings about nothing but the next one.
        bool quiet = waking_;
        while (auto const a = engine_.next_action()) {
            quiet = quiet && std::holds_alternative<action::wait_until>(*a);
            must(!finished_, "nothing follows the end");
            note("            " + std::visit(action_text{}, *a));
            std::visit([this](auto const& one) { this->perform(one); }, *a);
        }
        if (!quiet) {
            check_books();
            check_claims();
        }
        must(granted_ == asked_.taken, "what is granted was had of the pacer");
        must(!asked_.asked_too_early, "the pacer is not asked before the time that it named");
        must(!asked_.told_nonsense, "the lane rule is told what is so");
    }

    void begin_at_first_byte() {
        committed_.clear();
        proven_.clear();
        wrong_.clear();
        job_void_ = job_.has_value();
        sink_ready_ = false;
        hashed_ = 0;
    }

    void begin_as_one_stream() {
        ++seen_.one_streams;
        if (delivered_ != 0 || job_ == job::deliver) {
            committed_ = engine_.ledger().committed();
            return;
        }
        begin_at_first_byte();
    }

    void perform(action::connect const& a) {
        lane_model& l = lanes_[a.lane];
        must(!ending_, "nothing is begun after a failure");
        must(!l.open && l.next == due::nothing, "only what is closed connects");
        l.next = due::connection;
        l.mute = random_.chance(is_.trouble / 20);
    }

    void perform(action::send const& a) {
        lane_model& l = lanes_[a.lane];
        must(!ending_, "nothing is begun after a failure");
        must(!paused_, "nothing is asked for in a pause");
        if (a.ahead) return send_ahead(a.lane, a.text);
        std::string const range = range_of(a.text);
        must(l.open && l.next == due::nothing, "only a connection that waits can send");
        must(l.clean, "a connection in doubt is never used again");
        must(!l.carried || a.reused, "a used connection is said to be used");
        l.ranged = range != "whole";
        if (l.ranged) {
            char* end = nullptr;
            l.asked.first = std::strtoull(range.c_str(), &end, 10);
            l.asked.last =
                end[1] == '\0' ? cleave::max_offset : std::strtoull(end + 1, nullptr, 10);
            must(l.asked.valid(), "a range is not reversed");
            must(!wanted_ || (identity_known() ? wanted_->contains(l.asked)
                                               : wanted_->contains(l.asked.first)),
                 "only what is wanted is asked for");
            must(!committed_.overlaps(l.asked), "no byte is asked for that is in place");
            if (identity_known()) judge_request(a.lane, l.asked);
        } else {
            l.asked = {0, is_.size - 1};
        }
        make_reply(l);
        l.next = due::head;
    }

    void send_ahead(lane_id id, std::string_view text) {
        lane_model& l = lanes_[id];
        must(l.ahead.empty() || !l.granted, "more is sent when all that was sent before has gone");
        while (!text.empty()) {
            auto const end = text.find("\r\n\r\n") + 4;
            send_ahead(id, range_of(text.substr(0, end)));
            text.remove_prefix(end);
        }
        auto const& held = engine_.lanes()[id].ahead;
        must(std::ranges::equal(held, l.ahead), "what a lane asks for it holds, in that order");
        before_[id].ahead = l.ahead;
    }
    void send_ahead(lane_id id, std::string const& range) {
        lane_model& l = lanes_[id];
        must(l.open && l.next == due::nothing && l.judged && l.good && l.ranged,
             "what is asked ahead follows a good reply");
        must(l.keeps && l.carried, "who closes, or has not yet answered in order, is not asked");
        must(is_.sink.window == 0, "an ordered sink's lanes decide anew");
        char* end = nullptr;
        std::uint64_t const first = std::strtoull(range.c_str(), &end, 10);
        segment const asked{first, std::strtoull(end + 1, nullptr, 10)};
        l.ahead.push_back(asked);
        must(asked.valid() && wanted_->contains(asked), "only what is wanted is asked for");
        must(!committed_.overlaps(asked), "no byte is asked for that is in place");
        must(alone_if_wrong(asked), "a piece that came wrong is asked for alone");
        must(std::ranges::any_of(observer_.asked,
                                 [&](cleave::segment_asked const& a) {
                                     return a.lane == id && a.bytes == asked && !a.hedge;
                                 }),
             "observers are told what is asked for");
        ++seen_.asked_ahead;
        seen_.asked_further += l.ahead.size() > 1 ? 1 : 0;
    }

    void judge_request(lane_id id, segment asked) {
        auto const told = std::ranges::find(observer_.asked, id, &cleave::segment_asked::lane);
        must(told != observer_.asked.end() && told->bytes == asked,
             "observers are told what is asked for");
        if (!told->hedge) {
            // Before the request is sent another lane may be better at it.
            auto const& stolen = observer_.stolen;
            must(engine_.lanes()[id].left == asked ||
                     std::ranges::count(stolen, id, &cleave::bytes_stolen::from) != 0,
                 "what a lane asks for it holds");
            if (std::ranges::count(stolen, id, &cleave::bytes_stolen::by) != 0) return;
            must(fits(asked.first), "nothing is asked for that there is no room for");
            must(alone_if_wrong(asked), "a piece that came wrong is asked for alone");
            return;
        }
        auto const& of = engine_.lanes()[id].hedge_of;
        must(of && *of != id && !engine_.lanes()[id].left, "a hedge is one of another lane");
        auto const& left = engine_.lanes()[*of].left;
        must(left && left->contains(asked) && left->last == asked.last,
             "a hedge asks for what the other lane holds, to its end");
        must(engine_.report().bytes_hedged <=
                 wanted_->size() * is_.windows.stealing.hedged_percent / 100,
             "what is asked for twice is a small part of all");
        must(std::ranges::count(engine_.lanes(), of, &cleave::lane::hedge_of) == 1,
             "no byte is asked for three times");
    }

    // Whether what is asked for lies within a piece that came wrong, or away from all of these.
    [[nodiscard]] bool alone_if_wrong(segment asked) const {
        if (is_.piece == 0) return true;
        std::uint64_t const first = asked.first / is_.piece;
        std::uint64_t const last = asked.last / is_.piece;
        for (std::uint64_t i = first; i != last + 1; ++i)
            if (wrong_so_often_[i] != 0 && !proven_.find(i * is_.piece) && first != last)
                return false;
        return true;
    }

    void perform(action::read_head const& a) {
        lane_model& l = lanes_[a.lane];
        must(l.open && l.next == due::nothing, "a head is read where nothing else is");
        l.next = due::head;
        must(a.next == l.head.empty(), "a head is read to its end");
        if (!a.next) return;
        must(l.ended && l.clean && !l.ahead.empty(),
             "what was asked ahead follows a body that has ended");
        l.asked = l.ahead.front();
        l.ahead.erase(l.ahead.begin());
        before_[a.lane].left = l.asked;
        std::erase(before_[a.lane].ahead, l.asked);
        make_reply(l);
        ++seen_.answered_ahead;
    }

    void perform(action::receive const& a) {
        lane_model& l = lanes_[a.lane];
        must(!ending_, "nothing is begun after a failure");
        must(!paused_, "nothing is granted in a pause");
        must(l.open && l.next == due::nothing && l.judged, "a grant follows a reply");
        must(l.good, "nothing is taken of a bad reply");
        must(sink_ready_ && job_ != job::open, "a grant follows the opening of the sink");
        must(a.first == !l.granted, "the first grant is said to be the first");
        if (a.first) {
            must(a.head_size == l.last_piece, "the body begins where the head ends");
            must(l.body->first + a.skip == a.grant.first, "what is not wanted is skipped");
            auto const skipped = segment::of(l.body->first, a.skip);
            auto const needed = skipped ? skipped->common(*wanted_) : std::nullopt;
            // A piece may have turned out to be wrong since it was asked for.
            must(!needed || is_.piece != 0 || committed_.contains(*needed),
                 "nothing else is skipped");
            l.at = a.grant.first;
            bool const length = l.ranged || l.tells;
            must((a.framing.is == cleave::body_framing::kind::length) == length,
                 "the framing is the reply's");
            if (length) must(a.framing.length == l.body->size(), "the length is the reply's");
        }
        must(a.grant.valid() && a.grant.size() <= is_.windows.grant, "a grant fits the window");
        must(fits(a.grant.last), "nothing is granted that the sink has no room for");
        must(a.grant.first == l.at, "grants of a reply follow each other");
        must(a.grant.last <= write_end(l), "a grant ends where the reply ends, or before");
        must(a.last == (a.grant.last == write_end(l)), "the last grant is said to be the last");
        must(a.to_the_end == must_end(l), "where the object's end matters it is said");
        must(!committed_.overlaps(a.grant), "no byte is granted that is in place");
        for (lane_id i = 0; i != lanes_.size(); ++i)
            must(i == a.lane || lanes_[i].next != due::grant || !lanes_[i].grant.overlaps(a.grant),
                 "no byte is granted to two lanes");
        auto const& left = engine_.lanes()[a.lane].left;
        must(left && left->contains(a.grant), "a lane is granted what it holds");
        granted_ += a.grant.size();
        l.granted = true;
        l.grant = a.grant;
        l.last = a.last;
        l.to_the_end = a.to_the_end;
        l.next = due::grant;
        l.mute = l.sticks && l.grant.contains(*l.sticks);
    }

    // Whether the sink has room for a byte.
    [[nodiscard]] bool fits(std::uint64_t at) const {
        return is_.sink.window == 0 || at - wanted_->first < delivered_ + is_.sink.window;
    }
    // Whether the reply does not tell its length, but an earlier one did.
    [[nodiscard]] bool must_end(lane_model const& l) const {
        return !l.ranged && !l.tells && !l.open_ended && wanted_->last == is_.size - 1;
    }
    // The last byte of the present reply that is to be written.
    [[nodiscard]] std::uint64_t write_end(lane_model const& l) const {
        if (l.open_ended) return is_.part ? is_.part->last : cleave::max_offset;
        std::uint64_t const asked = l.ranged ? l.asked.last : wanted_->last;
        return std::min({l.body->last, asked, wanted_->last});
    }

    // Ends the grant where it is, unless that comes too late.
    void perform(action::revoke const& a) {
        lane_model& l = lanes_[a.lane];
        must(!ending_, "nothing is begun after a failure");
        must(l.next == due::grant, "only what is granted is revoked");
        must(!l.to_the_end || !l.last, "where the object's end is waited for nothing is revoked");
        if (l.revoked || l.too_late) return;
        ++seen_.revokes;
        if (!l.mute && random_.chance(30)) {
            l.too_late = true;
            ++seen_.revokes_too_late;
        } else {
            l.revoked = true;
            l.mute = false;
        }
    }

    void perform(action::close const& a) {
        lane_model& l = lanes_[a.lane];
        must(!a.keep || (l.open && l.next == due::nothing && l.clean),
             "only an idle connection is kept for others");
        // A lane that stalled brought what was in place when it was looked at.
        if (waking_ && l.next == due::grant) {
            received_ += l.in_place;
            auto const brought = segment::of(l.grant.first, l.in_place);
            if (brought && engine_.ledger().committed().contains(*brought)) commit(*brought);
        } else if (l.next == due::grant) {
            // The engine knows of what there was when it looked.
            received_ += engine_.lanes()[a.lane].in_place;
        }
        if (was_freed(a.lane)) ++seen_.lanes_freed;
        bool const through =
            l.open_ended ? l.ended || (is_.part && committed_.contains(*is_.part)) : all_came();
        bool const lost = l.judged && l.good && !l.ranged && (!through || l.end_lost);
        l = {};
        if (!lost || engine_.report().failed) return;
        // Without ranges there is no going on in the middle. What was handed on stays so, though.
        if (delivered_ != 0 || job_ == job::deliver) {
            ++seen_.delivered_before_restart;
            return;
        }
        begin_at_first_byte();
    }
    // Whether a lane gives up its reply, for there is no room for it and lower bytes are owed.
    [[nodiscard]] bool was_freed(lane_id id) const {
        lane_model const& l = lanes_[id];
        auto const& left = before_[id].left;
        return left && !fits(left->first) && l.judged && l.next == due::nothing &&
               !engine_.report().failed && engine_.ledger().owed().overlaps(*left);
    }

    void perform(action::run const& a) {
        must(!job_, "one job runs at a time");
        must(!published_ && (jobs_.empty() || jobs_.back() != job::publish),
             "nothing follows publishing");
        bool const failed = engine_.report().failed.has_value();
        must(failed == (a.what == job::abandon), "a failure is cleaned up after, and nothing else");
        // In the object.
        segment const bytes =
            wanted_ ? segment{a.bytes.first + wanted_->first, a.bytes.last + wanted_->first}
                    : segment{};
        std::optional<std::uint64_t> const size =
            wanted_ ? std::optional{wanted_->size()} : std::uint64_t{0};
        switch (a.what) {
        case job::open:
            must(identity_known(), "the sink is opened when the object is known");
            must(committed_.empty() && delivered_ == 0,
                 "the sink is opened before anything is written");
            must(a.size == (size_told_ ? size : std::nullopt),
                 "the sink is opened for what is wanted");
            sink_ready_ = false;
            hashed_ = 0;
            break;
        case job::hash:
            must(is_.verified, "hashing was asked for");
            must(a.bytes.first == hashed_, "bytes are hashed in order");
            must(a.bytes.size() <= is_.windows.hash, "a hash fits the window");
            must(safe(bytes), "only what is in place, and proven, is hashed");
            hashed_ = a.bytes.last + 1;
            break;
        case job::hash_piece:
            must(is_.piece != 0 && bytes.first % is_.piece == 0 &&
                     bytes.last == std::min(bytes.first + is_.piece, is_.size) - 1,
                 "what is proven is a piece");
            must(committed_.contains(bytes), "only what is in place is proven");
            must(!proven_.overlaps(bytes), "no piece is proven twice");
            break;
        case job::deliver:
            must(is_.sink.window != 0 && sink_ready_, "handing on was asked for");
            must(a.bytes.first == delivered_, "bytes are handed on in order, and once");
            must(a.bytes.size() <= is_.sink.window, "what is handed on fits the window");
            must(safe(bytes), "only what is in place, and proven, is handed on");
            must(a.bytes.size() % is_.sink.chunk == 0 || complete(),
                 "bytes are handed on in whole chunks, but for the last");
            break;
        case job::finish_hash:
            must(is_.verified && complete() && hashed_ == *size, "everything is hashed");
            break;
        case job::sync:
            must(complete() && a.size == size, "everything is in place before it is synced");
            must(is_.sink.window == 0 || delivered_ == *size, "everything is handed on before");
            must(!is_.verified || jobs_.back() == job::finish_hash, "the digest comes before");
            break;
        case job::publish: must(jobs_.back() == job::sync, "what is published is durable"); break;
        case job::abandon: must(!jobs_.empty(), "there is something to abandon"); break;
        default: must(false, "there is no journal");
        }
        if (a.what == job::abandon) ending_ = true;
        jobs_.push_back(a.what);
        job_ = a.what;
        job_bytes_ = bytes;
        if (a.what == job::deliver) job_bytes_ = a.bytes;
        job_void_ = false;
    }
    [[nodiscard]] bool safe(segment bytes) const {
        return is_.piece == 0 ? committed_.contains(bytes) : proven_.contains(bytes);
    }

    void perform(action::refresh const&) { must(false, "there is no source of requests"); }

    void perform(action::wait_until const& a) {
        must(a.at >= now_, "nobody is woken yesterday");
        timer_ = a.at;
    }

    void perform(action::finish const&) {
        must(!job_, "the end waits for the last job");
        finished_ = true;
    }

    // ---- the books ------------------------------------------------------------------------

    void commit(segment s) {
        must(committed_.insert(s) == s.size(), "no byte comes twice");
        must(wanted_->contains(s), "nothing is written that was not wanted");
        if (is_.piece == 0 || !random_.chance(is_.wrong)) return;
        std::uint64_t const at = random_.within(s).first;
        // In the end it comes right, where it has to.
        if (is_.may_fail || wrong_so_often_[at / is_.piece] < 2) wrong_.insert({at, at});
    }
    [[nodiscard]] bool all_came() const { return !wanted_ || committed_.contains(*wanted_); }
    [[nodiscard]] bool complete() const {
        return all_came() && (!wanted_ || is_.piece == 0 || proven_.contains(*wanted_));
    }

    void check_books() {
        if (!identity_known() || engine_.report().failed) return;
        must(engine_.ledger().committed() == committed_, "the ledger knows what is in place");
        must(engine_.report().bytes == committed_.bytes(), "the report knows how much is in place");
        if (!wanted_) return;
        // Every byte is owed, held, or in place, and only one of these.
        all_ = committed_;
        for (segment s : engine_.ledger().owed()) {
            must(all_.insert(s) == s.size(), "what is owed is not in place");
            must(engine_.wanted().contains(s), "nothing is owed that is not wanted");
        }
        for (cleave::lane const& l : engine_.lanes()) {
            if (l.left) must(all_.insert(*l.left) == l.left->size(), "what is held is not owed");
            for (segment s : l.ahead) must(all_.insert(s) == s.size(), "nor is what is asked for");
        }
        must(all_.contains(*wanted_), "no byte is forgotten");
        // What a clock brings about is that somebody looks, but not that anything happens.
        bool any = finished_ || job_ || paused_ || asked_.not_before > now_;
        for (lane_model const& l : lanes_) any = any || l.next != due::nothing;
        for (cleave::lane const& l : engine_.lanes())
            any = any || l.is == cleave::lane::state::waiting;
        must(any, "something is on its way that brings the end nearer");
    }

    // What lanes hold, beside what they asked for and what they held before.
    void check_claims() {
        if (!identity_known() || engine_.report().failed) return;
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            cleave::lane const& now = engine_.lanes()[i];
            lane_model const& l = lanes_[i];
            bool const asks = std::ranges::count(observer_.asked, i, &cleave::segment_asked::lane);
            if (now.left) {
                must(!l.ranged || l.asked.contains(*now.left), "what a lane holds it asked for");
                must(l.next != due::grant || now.left->contains(l.grant),
                     "what was granted is not given to others");
                must(asks || !before_[i].left || before_[i].left->contains(*now.left),
                     "what a lane holds only becomes less");
            }
            must(std::ranges::count(engine_.lanes(), std::optional{i}, &cleave::lane::thief) <= 1,
                 "no lane waits for two others");
            if (!before_[i].hedge_of || now.hedge_of) continue;
            auto const& stolen = observer_.stolen;
            if (std::ranges::count(stolen, i, &cleave::bytes_stolen::by) != 0) {
                ++seen_.hedges_won;
            } else if (now.left || std::ranges::count(stolen, i, &cleave::bytes_stolen::from)) {
                // The other lane failed.
                ++seen_.hedges_inherited;
                before_[i].left = before_[*before_[i].hedge_of].left;
            } else {
                ++seen_.hedges_lost;
            }
        }
        for (cleave::segment_asked const& a : observer_.asked)
            if (!a.hedge && std::ranges::count(before_[a.lane].ahead, a.bytes) == 0)
                before_[a.lane].left = a.bytes;
        for (cleave::bytes_stolen const& s : observer_.stolen) {
            if (std::erase(before_[s.from].ahead, s.bytes) != 0) {
                std::erase(lanes_[s.from].ahead, s.bytes);
                ++seen_.taken_ahead;
                continue;
            }
            auto& held = before_[s.from].left;
            must(held && held->contains(s.bytes) && held->last == s.bytes.last,
                 "what is taken is the end of what a lane held");
            held = held->before(s.bytes.first);
            must(s.hedge == (before_[s.by].hedge_of == s.from), "who brings it first has it");
        }
    }
    void check_end() {
        auto const& r = engine_.report();
        seen_.steals = r.steals;
        seen_.hedges = r.hedges;
        seen_.refused_by_pacer = asked_.refused;
        for (lane_model const& l : lanes_) must(l.next == due::nothing, "at the end all is quiet");
        must(asked_.taken == received_ + asked_.given_back,
             "what was had of the pacer came, or went back");
        if (!r.failed) {
            must(complete(), "a good end has every byte");
            must(published_, "a good end publishes");
            must(r.bytes == (wanted_ ? wanted_->size() : 0), "the report counts every byte");
            must(r.digest_verified == (is_.verified || is_.piece != 0),
                 "the report knows of the digest");
            must(wrong_.empty(), "what is published is right");
            must(r.pieces_failed == seen_.pieces_failed, "the report counts failed pieces");
            must(r.hedges_won == seen_.hedges_won, "the report counts hedges");
            must(is_.part || r.identity.size == is_.size, "the report knows the size");
            return;
        }
        note("failed: " + r.failed->message());
        must(is_.may_fail, "the object is had in the end");
        must(jobs_.empty() || jobs_.back() == job::abandon, "a bad end leaves nothing behind");
        must(!published_, "a bad end publishes nothing");
    }

    climate is_;
    random_source random_;
    watcher observer_;
    policies_asked asked_;
    engine_type engine_;
    std::vector<lane_model> lanes_;
    std::vector<lane_before> before_;
    std::optional<segment> wanted_; // what is to be had of the object in the end
    segment_set committed_;
    segment_set proven_;
    segment_set wrong_;
    std::vector<std::uint32_t> wrong_so_often_; // each piece
    events_seen seen_;

    std::optional<job> job_;
    segment job_bytes_;
    bool job_void_ = false; // what it tells does not matter any more
    std::vector<job> jobs_;
    std::uint64_t delivered_ = 0;
    std::uint64_t hashed_ = 0;
    bool sink_ready_ = false;
    bool size_told_ = false;
    bool published_ = false;
    bool ending_ = false;
    bool finished_ = false;
    bool paused_ = false;
    std::uint64_t granted_ = 0;
    std::uint64_t received_ = 0; // of what was granted

    instant now_{1s};
    std::optional<instant> timer_;
    bool waking_ = false;
    std::deque<std::string> trace_;

    // Kept, so that they need no memory each time.
    std::vector<lane_id> ready_;
    std::vector<event::lane_window> windows_;
    segment_set all_;
};

// A world's size and its ways, from its seed.
climate random_climate(random_source& random) {
    climate c;
    c.size = random.chance(10) ? random.below(3) : 1 + random.below(2500);
    if (c.size != 0 && random.chance(30)) {
        c.part = random.within({0, c.size - 1});
        // Or further than there is.
        if (random.chance(20)) c.part->last += random.below(1000);
    }
    c.lanes = static_cast<std::uint32_t>(1 + random.below(8));
    c.windows = {.grant = 1 + random.below(random.chance(20) ? 10 : 500),
                 .opening = 1 + random.below(600),
                 .hash = 1 + random.below(800),
                 .hash_from = 1 + random.below(500),
                 .stripe = 1 + random.below(200),
                 .stealing = {.least = 1 + random.below(random.chance(30) ? 2000 : 60),
                              .leave = random.below(20),
                              .soon = std::chrono::milliseconds{random.below(20)},
                              .silent = std::chrono::milliseconds{50 + random.below(1000)},
                              .hedged_percent = random.chance(50) ? 5U : 50U}};
    c.verified = random.chance(50);
    c.trouble = static_cast<unsigned>(random.below(50));
    c.closing = static_cast<unsigned>(random.below(50));
    c.odd_ranges = static_cast<unsigned>(random.below(50));
    c.slow = static_cast<unsigned>(random.below(50));
    if (random.chance(50)) c.pauses = static_cast<unsigned>(random.below(20));
    if (random.chance(50)) c.pace = static_cast<unsigned>(random.below(50));
    if (random.chance(50)) c.whims = static_cast<unsigned>(random.below(30));
    if (random.chance(50)) c.wait = std::chrono::milliseconds{random.below(3000)};
    if (random.chance(40) && !c.part) {
        c.piece = 1 + random.below(400);
        c.wrong = static_cast<unsigned>(random.below(30));
    }
    if (random.chance(40)) {
        // A piece must fit; more room is luxury.
        c.sink.chunk = 1 + random.below(60);
        std::uint64_t const least = c.piece % c.sink.chunk == 0 ? c.piece : c.piece + c.sink.chunk;
        c.sink.window = std::max(least, c.sink.chunk) + random.below(3) * random.below(500);
    }
    return c;
}

// Any order of answers is allowed, and any size of them.
struct whimsical {
    [[nodiscard]] segment next(segment gap, cleave::plan_state const&) const noexcept {
        random_source random{gap.first * 31 + gap.last};
        return random.within(gap);
    }
};

// Runs a world with a planner of its seed's choice, and answers with the report.
cleave::report run_world(climate const& c, random_source& random, std::uint64_t seed,
                         events_seen& seen) {
    auto const run = [&](auto planner) {
        world w{c, std::move(planner), seed};
        w.run();
        seen.add(w.seen());
        return w.report();
    };
    segment const asked = c.part.value_or(segment{0, cleave::max_offset});
    switch (random.below(5)) {
    case 0: return run(cleave::even_split{1 + random.below(17)});
    case 1: return run(cleave::fixed_size{1 + random.below(700)});
    case 2: return run(cleave::guided{1 + random.below(200)});
    case 3: return run(whimsical{});
    default: break;
    }
    if (c.size == 0) return run(cleave::even_split{});
    // A list that fits, of up to twenty segments.
    std::uint64_t const last = std::min(asked.last, c.size - 1);
    std::vector<segment> list;
    for (std::uint64_t at = asked.first; at <= last;) {
        std::uint64_t const end = list.size() == 19 ? last : at + random.below(last - at + 1);
        list.push_back({at, end});
        at = end + 1;
    }
    return run(cleave::listed_segments(std::move(list)));
}

void with_ranges(std::uint64_t seeds, std::uint64_t from) {
    std::uint64_t troubled = 0;
    events_seen seen;
    for (std::uint64_t seed = from + 1; seed <= from + seeds; ++seed) {
        CAPTURE(seed);
        random_source random{seed};
        climate const c = random_climate(random);
        auto const report = run_world(c, random, seed, seen);
        REQUIRE_FALSE(report.failed);
        troubled += report.retries != 0 ? 1 : 0;
    }
    // The worlds were no paradises.
    CHECK(troubled > seeds / 2);
    // And everything that can happen did.
    CHECK(seen.steals > seeds);
    CHECK(seen.hedges_won > seeds / 50);
    CHECK(seen.hedges_lost > seeds / 50);
    CHECK(seen.hedges_inherited > seeds / 100);
    CHECK(seen.hedges <= seen.hedges_won + seen.hedges_lost + seen.hedges_inherited);
    CHECK(seen.revokes > seeds);
    CHECK(seen.revokes_too_late > seeds / 10);
    CHECK(seen.pieces_failed > seeds / 4);
    CHECK(seen.asked_ahead > seeds / 4);
    CHECK(seen.answered_ahead > seeds / 10);
    CHECK(seen.asked_further > seeds / 50);
    CHECK(seen.taken_ahead != 0);
    CHECK(seen.lanes_freed > seeds / 50);
    CHECK(seen.pauses > seeds / 4);
    CHECK(seen.refused_by_pacer > seeds);
}

void without_ranges(std::uint64_t seeds, std::uint64_t from) {
    std::uint64_t restarted = 0;
    events_seen seen;
    for (std::uint64_t seed = from + 1; seed <= from + seeds; ++seed) {
        CAPTURE(seed);
        random_source random{seed};
        climate c = random_climate(random);
        c.ranges = false;
        c.wrong = 0;
        c.length = static_cast<unsigned>(random.below(3) * 50);
        c.chunked = random.chance(50);
        auto const report = run_world(c, random, seed, seen);
        REQUIRE_FALSE(report.failed);
        REQUIRE(report.lanes <= 1);
        restarted += report.restarts;
    }
    CHECK(restarted > seeds / 6);
    CHECK(seen.delivered_before_restart > seeds / 50);
    CHECK(seen.pauses > seeds / 4);
    CHECK(seen.steals + seen.hedges == 0);
}

void with_failures(std::uint64_t seeds, std::uint64_t from) {
    std::uint64_t failed = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t mismatched = 0;
    events_seen seen;
    for (std::uint64_t seed = from + 1; seed <= from + seeds; ++seed) {
        CAPTURE(seed);
        random_source random{seed};
        climate c = random_climate(random);
        c.ranges = random.chance(80);
        c.length = static_cast<unsigned>(random.below(3) * 50);
        c.may_fail = true;
        c.cancels = random.chance(50);
        c.tries = static_cast<std::uint32_t>(1 + random.below(4));
        c.trouble += 30;
        c.wrong *= 3;
        auto const report = run_world(c, random, seed, seen);
        if (!report.failed) continue;
        if (report.failed->code == error::digest_mismatch) {
            ++mismatched;
            continue;
        }
        REQUIRE((report.failed->kind == cause::passing || report.failed->kind == cause::protocol ||
                 report.failed->kind == cause::cancelled));
        ++(report.failed->code == error::cancelled ? cancelled : failed);
    }
    CHECK(failed > seeds / 6);
    CHECK(cancelled > seeds / 15);
    CHECK(mismatched > seeds / 30);
    CHECK(seen.one_streams > seeds / 50);
}

} // namespace

TEST_CASE("whatever happens, every byte is granted once, and the object is had") {
    with_ranges(500, 0);
}

TEST_CASE("whatever happens, an object without ranges is had too") { without_ranges(300, 10'000); }

TEST_CASE("whatever happens, a download that fails leaves nothing behind") {
    with_failures(300, 20'000);
}

TEST_CASE("whatever happens, and more of it", "[.heavy]") {
    with_ranges(20'000, 100'000);
    without_ranges(6'000, 200'000);
    with_failures(6'000, 300'000);
}

TEST_CASE("the same seed does the same") {
    events_seen seen;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        random_source one{seed};
        random_source other{seed};
        climate const c = random_climate(one);
        auto const a = run_world(c, one, seed, seen);
        auto const b = run_world(random_climate(other), other, seed, seen);
        CHECK(a.requests == b.requests);
        CHECK(a.grants == b.grants);
        CHECK(a.retries == b.retries);
        CHECK(a.steals == b.steals);
        CHECK(a.elapsed == b.elapsed);
    }
}
