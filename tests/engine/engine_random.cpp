// SPDX-License-Identifier: BSL-1.0
//
// An engine among lanes, servers, jobs and clocks that do anything they may, in any order. Whatever
// happens, every byte is granted to one lane at a time and never again once it is in place, nothing
// is written that was not asked for, the end comes in its order, and it does come.

#include <cleave/engine/engine.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/listed_segments.hpp>

#include "script.hpp"

#include <laws/random.hpp>
#include <support/catch.hpp>

#include <algorithm>
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
    std::uint32_t tries = 1000;
    std::chrono::nanoseconds wait{0};
    bool may_fail = false; // whether an end without the object is an end
    bool cancels = false;
};

template <class Planner>
class world {
  public:
    world(climate c, Planner planner, std::uint64_t seed)
        : is_(c), random_(seed),
          engine_(request_of(c, seed), std::move(planner), cleave::fixed_lanes{c.lanes},
                  insistence{.tries = c.tries, .wait = c.wait}, expectation{.wants = c.verified},
                  observer_, c.windows),
          lanes_(c.lanes) {
        segment const asked = c.part.value_or(segment{0, cleave::max_offset});
        if (c.size != 0 && asked.first < c.size)
            wanted_ = segment{asked.first, std::min(asked.last, c.size - 1)};
        observer_.every = random_.chance(50) ? 100ms : 0ms;
    }

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

  private:
    // What a lane's connection is about to bring.
    enum class due { nothing, connection, head, grant };

    struct lane_model {
        due next = due::nothing;
        bool mute = false;    // what is due never comes
        bool open = false;    // the connection stands
        bool carried = false; // it has carried a reply
        bool clean = true;    // nothing of an old reply is left in it

        segment asked; // as its request says
        bool ranged = true;
        std::optional<segment> holds; // what is neither owed nor in place because of it
        std::string head;             // of the reply, what has not come yet
        std::size_t last_piece = 0;   // how much of the last bytes told was the head's
        bool begun = false;           // some of the head came
        bool judged = false;          // the head is complete
        bool good = false;            // its bytes may be taken
        bool keeps = true;            // the connection stays afterwards
        bool tells = true;            // how long its body is
        bool open_ended = false;      // nobody knows where it ends
        bool ended = false;           // the body's end was told
        std::optional<segment> body;  // which bytes of the object come; none where there are none
        std::optional<std::uint64_t> breaks; // before which of them, if it does
        std::optional<std::uint64_t> sticks; // before which of them nothing comes any more
        std::uint64_t at = 0;                // the next of them
        bool granted = false;                // the first grant has been made
        segment grant;
        std::uint64_t in_place = 0;
        std::uint64_t read = 0;
        bool last = false;
    };

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
        FAIL(text);
    }
    void note(std::string line) {
        trace_.push_back(std::move(line));
        if (trace_.size() > 60) trace_.pop_front();
    }

    // ---- what happens ---------------------------------------------------------------------

    void happen() {
        std::vector<lane_id> ready;
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].next != due::nothing && !lanes_[i].mute) ready.push_back(i);
        bool const busy = !ready.empty() || job_;
        must(busy || timer_, "something is always on its way");
        if (is_.cancels && random_.below(200) == 0) {
            note("cancelled");
            return tell(event::cancelled{});
        }
        if (timer_ && (!busy || random_.chance(5))) return wake();
        if (random_.chance(30)) now_ += std::chrono::milliseconds{random_.below(50)};
        if (job_ && (ready.empty() || random_.chance(20))) return end_job();
        lane_id const id = ready[random_.index(ready.size())];
        switch (lanes_[id].next) {
        case due::connection: return end_connecting(id);
        case due::head: return bring_head(id);
        case due::grant: return bring_bytes(id);
        case due::nothing: break;
        }
    }

    void wake() {
        now_ = std::max(now_, *timer_);
        timer_.reset();
        note("woke at " + std::to_string(now_.count()));
        std::vector<event::lane_window> windows;
        for (lane_model const& l : lanes_) windows.push_back({l.in_place, l.read});
        waking_ = true;
        tell(event::woke{windows});
        waking_ = false;
    }

    void end_job() {
        job const what = *std::exchange(job_, std::nullopt);
        note("ended: " + text_of(what));
        if (what == job::open) sink_ready_ = true;
        if (what == job::publish) published_ = true;
        tell(event::job_ended{.what = what, .failed = {}, .digest = {}});
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
        l.carried = false;
        note("connected " + std::to_string(id));
        tell(event::connected{id});
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
        std::size_t const n = 1 + random_.index(l.head.size());
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
            l.holds.reset();
            l.open_ended = l.good && !l.ranged && !l.tells && !size_told_;
            size_told_ = size_told_ || (l.good && (l.ranged || l.tells));
            if (l.good && l.body) l.holds = segment{write_begin(l), write_end(l)};
        }
        tell(event::head_bytes{id, piece});
        if (!complete_now || engine_.report().failed) return;
        if (!good)
            must(!l.judged, "a bad reply is closed");
        else if (wanted_)
            must(l.judged, "a good reply is taken");
    }

    void bring_bytes(lane_id id) {
        lane_model& l = lanes_[id];
        std::uint64_t const there = l.body->last - l.at + 1; // of the body, from the grant on
        std::uint64_t const room = std::min(there, l.grant.size()) - l.in_place;
        if (random_.chance(40) && room > 1) {
            // Some bytes come, which nobody is told of yet. All of a grant are told of at once.
            std::uint64_t const n = 1 + random_.below(room - 1);
            l.in_place += n;
            l.read += n + random_.below(5);
            return;
        }
        event::grant_ended e{.lane = id, .failed = {}};
        l.next = due::nothing;
        if (l.breaks && l.grant.contains(*l.breaks)) {
            e.bytes = l.in_place;
            // It may also end as if that were all; of one without a length nobody could tell.
            if (random_.chance(70) || l.open_ended)
                e.failed = failure::of(error::closed_in_body, phase::body);
            else
                e.body_ended = true;
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
            e.body_ended = through && (l.last || (l.open_ended && random_.chance(50)));
            e.bytes_left_over = e.body_ended && !must_end(l) && random_.chance(10);
            l.clean = e.body_ended && !e.bytes_left_over && l.keeps;
            note("filled " + std::to_string(id));
        }
        if (e.bytes != 0) commit(*segment::of(l.grant.first, e.bytes));
        l.at += e.bytes;
        if (l.holds) {
            l.holds = e.bytes == 0           ? l.holds
                      : l.at > l.holds->last ? std::nullopt
                                             : l.holds->from(l.at);
        }
        l.in_place = 0;
        l.read = 0;
        l.ended = e.body_ended && !e.failed;
        size_told_ = size_told_ || (l.open_ended && l.ended);
        tell(e);
    }

    // ---- the server -----------------------------------------------------------------------

    void make_reply(lane_model& l) {
        l.begun = l.judged = l.granted = l.ended = false;
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
    [[nodiscard]] bool identity_known() const { return !observer_.known.empty(); }

    // ---- the engine's actions, each judged ------------------------------------------------

    void tell(cleave::any_event const& e) {
        engine_.step(e, now_);
        while (auto const a = engine_.next_action()) {
            must(!finished_, "nothing follows the end");
            note("            " + std::visit(action_text{}, *a));
            std::visit([this](auto const& one) { this->perform(one); }, *a);
        }
        check_books();
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
        must(l.open && l.next == due::nothing, "only a connection that waits can send");
        must(l.clean, "a connection in doubt is never used again");
        must(!l.carried || a.reused, "a used connection is said to be used");
        std::string const range = range_of(a.text);
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
            must(!overlaps_others(a.lane, l.asked), "no byte is asked for twice at a time");
            must(!committed_.overlaps(l.asked), "no byte is asked for that is in place");
        }
        if (identity_known() && l.ranged) l.holds = l.asked;
        if (!l.ranged) l.asked = {0, is_.size - 1};
        make_reply(l);
        l.next = due::head;
    }

    void perform(action::read_head const& a) {
        lane_model& l = lanes_[a.lane];
        must(l.open && l.next == due::nothing && !l.head.empty(), "a head is read to its end");
        l.next = due::head;
    }

    void perform(action::receive const& a) {
        lane_model& l = lanes_[a.lane];
        must(!ending_, "nothing is begun after a failure");
        must(l.open && l.next == due::nothing && l.judged, "a grant follows a reply");
        must(l.good, "nothing is taken of a bad reply");
        must(sink_ready_ && job_ != job::open, "a grant follows the opening of the sink");
        must(a.first == !l.granted, "the first grant is said to be the first");
        if (a.first) {
            must(a.head_size == l.last_piece, "the body begins where the head ends");
            must(l.body->first + a.skip == a.grant.first, "what is not wanted is skipped");
            l.at = a.grant.first;
            must(l.at == write_begin(l), "the first grant is where the reply begins");
            bool const length = l.ranged || l.tells;
            must((a.framing.is == cleave::body_framing::kind::length) == length,
                 "the framing is the reply's");
            if (length) must(a.framing.length == l.body->size(), "the length is the reply's");
        }
        must(a.grant.valid() && a.grant.size() <= is_.windows.grant, "a grant fits the window");
        must(a.grant.first == l.at, "grants of a reply follow each other");
        must(a.grant.last <= write_end(l), "a grant ends where the reply ends, or before");
        must(a.last == (a.grant.last == write_end(l)), "the last grant is said to be the last");
        must(a.to_the_end == must_end(l), "where the object's end matters it is said");
        must(!committed_.overlaps(a.grant), "no byte is granted that is in place");
        for (lane_id i = 0; i != lanes_.size(); ++i)
            must(i == a.lane || lanes_[i].next != due::grant || !lanes_[i].grant.overlaps(a.grant),
                 "no byte is granted to two lanes");
        must(!overlaps_others(a.lane, {a.grant.first, write_end(l)}),
             "no byte is granted that another lane holds");
        l.granted = true;
        l.grant = a.grant;
        l.last = a.last;
        l.next = due::grant;
        l.mute = l.sticks && l.grant.contains(*l.sticks);
    }

    // Whether the reply does not tell its length, but an earlier one did.
    [[nodiscard]] bool must_end(lane_model const& l) const {
        return !l.ranged && !l.tells && !l.open_ended && wanted_->last == is_.size - 1;
    }
    // The first and the last byte of the present reply that are to be written.
    [[nodiscard]] std::uint64_t write_begin(lane_model const& l) const {
        return std::max(l.body->first, wanted_->first);
    }
    [[nodiscard]] std::uint64_t write_end(lane_model const& l) const {
        if (l.open_ended) return is_.part ? is_.part->last : cleave::max_offset;
        std::uint64_t const asked = l.ranged ? l.asked.last : wanted_->last;
        return std::min({l.body->last, asked, wanted_->last});
    }
    [[nodiscard]] bool overlaps_others(lane_id id, segment s) const {
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (i != id && lanes_[i].holds && lanes_[i].holds->overlaps(s)) return true;
        return false;
    }

    void perform(action::close const& a) {
        lane_model& l = lanes_[a.lane];
        // A lane that stalled brought what was in place when it was looked at.
        if (waking_ && l.next == due::grant && l.in_place != 0) {
            segment const brought = *segment::of(l.grant.first, l.in_place);
            if (engine_.ledger().committed().contains(brought)) commit(brought);
        }
        bool const through =
            l.open_ended ? l.ended || (is_.part && committed_.contains(*is_.part)) : complete();
        bool const lost = l.judged && l.good && !l.ranged && !through;
        l = {};
        // Without ranges there is no going on in the middle.
        if (lost && !engine_.report().failed) {
            committed_.clear();
            sink_ready_ = false;
            hashed_ = 0;
        }
    }

    void perform(action::run const& a) {
        must(!job_, "one job runs at a time");
        must(!published_ && (jobs_.empty() || jobs_.back() != job::publish),
             "nothing follows publishing");
        bool const failed = engine_.report().failed.has_value();
        must(failed == (a.what == job::abandon), "a failure is cleaned up after, and nothing else");
        std::optional<std::uint64_t> const size =
            wanted_ ? std::optional{wanted_->size()} : std::uint64_t{0};
        switch (a.what) {
        case job::open:
            must(identity_known(), "the sink is opened when the object is known");
            must(committed_.empty(), "the sink is opened before anything is written");
            must(a.size == (size_told_ ? size : std::nullopt),
                 "the sink is opened for what is wanted");
            sink_ready_ = false;
            hashed_ = 0;
            break;
        case job::hash:
            must(is_.verified, "hashing was asked for");
            must(a.bytes.first == hashed_, "bytes are hashed in order");
            must(a.bytes.size() <= is_.windows.hash, "a hash fits the window");
            must(committed_.contains(
                     {a.bytes.first + wanted_->first, a.bytes.last + wanted_->first}),
                 "only what is in place is hashed");
            hashed_ = a.bytes.last + 1;
            break;
        case job::finish_hash:
            must(is_.verified && complete() && hashed_ == *size, "everything is hashed");
            break;
        case job::sync:
            must(complete() && a.size == size, "everything is in place before it is synced");
            must(!is_.verified || jobs_.back() == job::finish_hash, "the digest comes before");
            break;
        case job::publish: must(jobs_.back() == job::sync, "what is published is durable"); break;
        case job::abandon: must(!jobs_.empty(), "there is something to abandon"); break;
        }
        if (a.what == job::abandon) ending_ = true;
        jobs_.push_back(a.what);
        job_ = a.what;
    }

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
    }
    [[nodiscard]] bool complete() const { return !wanted_ || committed_.contains(*wanted_); }

    void check_books() {
        if (!identity_known() || engine_.report().failed) return;
        must(engine_.ledger().committed() == committed_, "the ledger knows what is in place");
        must(engine_.report().bytes == committed_.bytes(), "the report knows how much is in place");
        if (!wanted_) return;
        // Every byte is owed, held, or in place, and only one of these.
        segment_set all = committed_;
        for (segment s : engine_.ledger().owed()) {
            must(all.insert(s) == s.size(), "what is owed is not in place");
            must(engine_.wanted().contains(s), "nothing is owed that is not wanted");
        }
        if (!engine_.report().ranges) return;
        for (lane_model const& l : lanes_)
            if (l.holds) must(all.insert(*l.holds) == l.holds->size(), "what is held is not owed");
        must(all.contains(*wanted_), "no byte is forgotten");
        // Some lane is on its way as long as something is owed.
        bool any = job_.has_value() || timer_.has_value();
        for (lane_model const& l : lanes_) any = any || l.next != due::nothing;
        must(finished_ || any, "something is on its way");
    }
    void check_end() {
        auto const& r = engine_.report();
        for (lane_model const& l : lanes_) must(l.next == due::nothing, "at the end all is quiet");
        if (!r.failed) {
            must(complete(), "a good end has every byte");
            must(published_, "a good end publishes");
            must(r.bytes == (wanted_ ? wanted_->size() : 0), "the report counts every byte");
            must(r.digest_verified == is_.verified, "the report knows of the digest");
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
    recorder observer_;
    typename script<Planner>::engine_type engine_;
    std::vector<lane_model> lanes_;
    std::optional<segment> wanted_; // what is to be had of the object in the end
    segment_set committed_;

    std::optional<job> job_;
    std::vector<job> jobs_;
    std::uint64_t hashed_ = 0;
    bool sink_ready_ = false;
    bool size_told_ = false;
    bool published_ = false;
    bool ending_ = false;
    bool finished_ = false;

    instant now_{1s};
    std::optional<instant> timer_;
    bool waking_ = false;
    std::deque<std::string> trace_;
};

// A world's size and its ways, from its seed.
climate random_climate(random_source& random) {
    climate c;
    c.size = random.chance(10) ? random.below(3) : 1 + random.below(4000);
    if (c.size != 0 && random.chance(30)) {
        c.part = random.within({0, c.size - 1});
        // Or further than there is.
        if (random.chance(20)) c.part->last += random.below(1000);
    }
    c.lanes = static_cast<std::uint32_t>(1 + random.below(8));
    c.windows = {.grant = 1 + random.below(random.chance(20) ? 10 : 500),
                 .opening = 1 + random.below(600),
                 .hash = 1 + random.below(800),
                 .hash_from = 1 + random.below(500)};
    c.verified = random.chance(50);
    c.trouble = static_cast<unsigned>(random.below(70));
    c.closing = static_cast<unsigned>(random.below(50));
    c.odd_ranges = static_cast<unsigned>(random.below(50));
    if (random.chance(50)) c.wait = std::chrono::milliseconds{random.below(3000)};
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
cleave::report run_world(climate const& c, random_source& random, std::uint64_t seed) {
    auto const run = [&](auto planner) {
        world w{c, std::move(planner), seed};
        w.run();
        return w.report();
    };
    segment const asked = c.part.value_or(segment{0, cleave::max_offset});
    switch (random.below(4)) {
    case 0: return run(cleave::even_split{1 + random.below(17)});
    case 1: return run(cleave::fixed_size{1 + random.below(700)});
    case 2: return run(whimsical{});
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

} // namespace

TEST_CASE("whatever happens, every byte is granted once, and the object is had") {
    std::uint64_t troubled = 0;
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        CAPTURE(seed);
        random_source random{seed};
        climate const c = random_climate(random);
        auto const report = run_world(c, random, seed);
        REQUIRE_FALSE(report.failed);
        troubled += report.retries != 0 ? 1 : 0;
    }
    // The worlds were no paradises.
    CHECK(troubled > 300);
}

TEST_CASE("whatever happens, an object without ranges is had too") {
    std::uint64_t restarted = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        random_source random{seed + 10'000};
        climate c = random_climate(random);
        c.ranges = false;
        c.length = static_cast<unsigned>(random.below(3) * 50);
        c.chunked = random.chance(50);
        auto const report = run_world(c, random, seed);
        REQUIRE_FALSE(report.failed);
        REQUIRE(report.lanes <= 1);
        restarted += report.restarts;
    }
    CHECK(restarted > 50);
}

TEST_CASE("whatever happens, a download that fails leaves nothing behind") {
    std::uint64_t failed = 0;
    std::uint64_t cancelled = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        random_source random{seed + 20'000};
        climate c = random_climate(random);
        c.ranges = random.chance(80);
        c.length = static_cast<unsigned>(random.below(3) * 50);
        c.may_fail = true;
        c.cancels = random.chance(50);
        c.tries = static_cast<std::uint32_t>(1 + random.below(4));
        c.trouble += 30;
        auto const report = run_world(c, random, seed);
        if (!report.failed) continue;
        REQUIRE((report.failed->kind == cause::passing || report.failed->kind == cause::protocol ||
                 report.failed->kind == cause::cancelled));
        ++(report.failed->code == error::cancelled ? cancelled : failed);
    }
    CHECK(failed > 50);
    CHECK(cancelled > 20);
}

TEST_CASE("the same seed does the same") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        random_source one{seed};
        random_source other{seed};
        climate const c = random_climate(one);
        auto const a = run_world(c, one, seed);
        auto const b = run_world(random_climate(other), other, seed);
        CHECK(a.requests == b.requests);
        CHECK(a.grants == b.grants);
        CHECK(a.retries == b.retries);
        CHECK(a.elapsed == b.elapsed);
    }
}
