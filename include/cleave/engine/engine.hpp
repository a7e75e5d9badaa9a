// SPDX-License-Identifier: BSL-1.0
//
// Decides. An engine is told events and answers with actions; it owns the books, the lanes' states
// and the order in which a download may end. No I/O, no clock, no randomness but the request's
// seed, and no model of any policy: the same engine runs under Asio and in a simulation.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/engine/action.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/engine/lane.hpp>
#include <cleave/engine/ledger.hpp>
#include <cleave/engine/report.hpp>
#include <cleave/http/admit.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/lanes/concept.hpp>
#include <cleave/observe/concept.hpp>
#include <cleave/plan/concept.hpp>
#include <cleave/renew/concept.hpp>
#include <cleave/verify/concept.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cleave {

/// Sizes of the engine's windows, in bytes; 0 counts as 1.
struct engine_windows {
    /// A grant: as much as a lane may write before it asks again.
    std::uint64_t grant = std::uint64_t{1} << 20;
    /// The opening request, where the planner names no size.
    std::uint64_t opening = std::uint64_t{1} << 20;
    /// Bytes hashed by one job, and how many must be in place before one starts.
    std::uint64_t hash = std::uint64_t{8} << 20;
    std::uint64_t hash_from = std::uint64_t{1} << 20;
};

/// One download's decisions.
///
/// `step(event, now)`, then `next_action()` until it answers nothing; `now` never goes back. After
/// `action::finish` the report is final. No step allocates once the lanes have seen their first
/// replies, failures apart. Not thread-safe; a value, but for the observer it refers to.
template <range_planner Planner, lane_rule LaneRule, renewal_rule RenewalRule,
          content_verifier Verifier, observer Observer>
class engine {
  public:
    engine(cleave::request what, Planner planner, LaneRule lanes, RenewalRule renewal,
           Verifier verifier, Observer& watching, engine_windows windows = {})
        : request_(std::move(what)), planner_(std::move(planner)), lane_rule_(std::move(lanes)),
          renewal_rule_(std::move(renewal)), verifier_(std::move(verifier)),
          observer_(std::addressof(watching)), windows_(positive(windows)), random_(request_.seed),
          lanes_(std::max<std::uint32_t>(lane_rule_.most(), 1)), lanes_shown_(lanes_.size()) {
        if (request_.part) wanted_ = *request_.part;
        longest_request_ = 2048 + request_.target.target().size() + request_.user_agent.size();
        for (header const& h : request_.headers)
            longest_request_ += h.name.size() + h.value.size() + 4;
        ledger_.reserve(2 * lanes_.size() + 2);
        actions_.reserve(4 * lanes_.size() + 8);
    }

    void step(any_event const& e, instant now) {
        now_ = now;
        // What the lanes still had to say does not matter any more once the end is decided.
        if (ended_ && !std::holds_alternative<event::job_ended>(e)) return;
        std::visit([this](auto const& one) { this->on(one); }, e);
        if (!ended_ && !finished_) go_on();
        if (!finished_) set_timer();
    }

    [[nodiscard]] std::optional<any_action> next_action() {
        if (next_action_ == actions_.size()) {
            actions_.clear();
            next_action_ = 0;
            return std::nullopt;
        }
        return actions_[next_action_++];
    }

    [[nodiscard]] cleave::report const& report() const noexcept { return report_; }
    [[nodiscard]] cleave::report& report() noexcept { return report_; }
    [[nodiscard]] cleave::ledger const& ledger() const noexcept { return ledger_; }
    [[nodiscard]] std::vector<lane> const& lanes() const noexcept { return lanes_; }
    [[nodiscard]] cleave::request const& request() const noexcept { return request_; }
    [[nodiscard]] Verifier const& verifier() const noexcept { return verifier_; }
    /// Everything that is wanted; its end is a guess until the first reply is accepted.
    [[nodiscard]] segment wanted() const noexcept { return wanted_; }

  private:
    // The lane whose first request tells what the object is.
    static constexpr lane_id opener = 0;

    // ---- events ---------------------------------------------------------------------------

    void on(event::started const& e) {
        started_at_ = now_;
        if (request_.timeouts.deadline) deadline_ = from_now(*request_.timeouts.deadline);
        if (observer_->interval() > observer_->interval().zero())
            progress_at_ = from_now(observer_->interval());
        if (e.failed) return fail(*e.failed);
        if (auto wrong = find_fault()) return fail(*std::move(wrong));
        connect(opener);
    }

    void on(event::connected const& e) {
        lane& l = lanes_[e.lane];
        l.is = lane::state::ready;
        l.used = false;
        l.waited = false;
        ++report_.connections;
    }

    void on(event::head_bytes const& e) {
        lane& l = lanes_[e.lane];
        auto const read = l.reply.feed(e.bytes);
        switch (read.is) {
        case response_head_parser::progress::state::need_more:
            actions_.push_back(action::read_head{e.lane});
            return;
        case response_head_parser::progress::state::failed:
            return lane_failed(e.lane, failure::of(read.why, phase::head));
        case response_head_parser::progress::state::complete:
            l.head_size = read.consumed;
            return judge(e.lane);
        }
    }

    void on(event::grant_ended const& e) {
        lane& l = lanes_[e.lane];
        commit(l, e.bytes);
        bool const storage_failed = e.failed && e.failed->kind == cause::storage;
        if (has_all(l) && !storage_failed && (ranged_ || !e.failed)) return lease_done(e.lane, e);
        if (e.failed) return lane_failed(e.lane, *e.failed);
        if (l.open_ended && l.next > request_.max_size)
            return fail(too_large("the object has at least ", l.next));
        if (e.body_ended && l.open_ended) return object_ends(e.lane);
        if (e.body_ended || e.bytes != l.grant.size())
            return lane_failed(e.lane,
                               failure::of(error::closed_in_body, phase::body,
                                           "the reply ended at byte " + std::to_string(l.next) +
                                               " of " + to_string(l.write)));
        grant(e.lane);
    }

    void on(event::lane_failed const& e) { lane_failed(e.lane, e.what); }

    void on(event::job_ended const& e) {
        running_job_.reset();
        if (ended_) {
            if (e.what == job::abandon || !sink_touched_) return finish();
            return run(job::abandon);
        }
        if (e.failed) return fail(*e.failed);
        switch (e.what) {
        case job::open: sink_ready_ = !open_wanted_; break;
        case job::hash:
            // After a restart, what was hashed is not what counts.
            if (!open_wanted_) hashed_ = hashing_to_;
            break;
        case job::finish_hash:
            if (!verifier_.matches(e.digest))
                return fail(failure::of(error::digest_mismatch, phase::verify));
            report_.digest_verified = true;
            digest_done_ = true;
            break;
        case job::sync: synced_ = true; break;
        case job::publish: return finish();
        case job::abandon: break;
        }
    }

    void on(event::woke const& e) {
        timer_at_.reset();
        for (lane_id i = 0; i != lanes_.size() && !ended_; ++i) look_at_clock(i, e.lanes[i]);
        if (ended_) return;
        if (deadline_ && now_ >= *deadline_)
            return fail(failure::of(error::deadline_exceeded, phase::body,
                                    std::to_string(report_.bytes) + " bytes had arrived"));
        if (progress_at_ && now_ >= *progress_at_) {
            progress_at_ = from_now(observer_->interval());
            tell_progress(e);
        }
    }

    void on(event::cancelled const&) { fail(failure::of(error::cancelled, phase::setup)); }

    // ---- the request ----------------------------------------------------------------------

    [[nodiscard]] std::optional<failure> find_fault() {
        auto const setup = [](std::error_code ec) {
            return failure{ec, cause::configuration, phase::setup, 0, std::nullopt, {}};
        };
        auto const& t = request_.timeouts;
        auto const positive = [](std::chrono::nanoseconds time) { return time > time.zero(); };
        if (request_.url_error) return setup(request_.url_error);
        if (request_.target.empty()) return setup(error::bad_url);
        if (!positive(t.connect) || !positive(t.head) || !positive(t.stall) ||
            (t.deadline && !positive(*t.deadline)))
            return setup(error::bad_timeout);
        if (!wanted_.valid()) return setup(error::bad_segment);
        if (auto ec = check_headers(request_.headers, request_.user_agent)) return setup(ec);
        if (auto ec = verifier_.fault()) return setup(ec);
        if (auto wrong = find_plan_fault(planner_)) return plan_failure(*wrong);
        return std::nullopt;
    }

    [[nodiscard]] static failure plan_failure(plan_fault const& wrong) {
        return failure::of(wrong.why, phase::setup, wrong.detail());
    }

    // ---- replies --------------------------------------------------------------------------

    void judge(lane_id id) {
        lane& l = lanes_[id];
        l.used = true;
        l.stale_retried = false;
        admission& a = judged_;
        admit(l.reply.head(), *l.held, wanted_, identity_known_ ? &report_.identity : nullptr, a);
        if (a.refused) {
            // Some servers refuse any range of an object that they would send whole.
            bool const try_whole = !identity_known_ && ranged_ && wanted_.first == 0 &&
                                   a.refused->code == error::range_not_satisfiable;
            if (try_whole) return ask_for_whole(id);
            return lane_failed(id, *std::move(a.refused));
        }
        bool const opening = !identity_known_;
        if (opening) {
            // A range of an object of unknown size: there is nothing to plan.
            if (!a.nothing && a.ranges && !a.object.size) return ask_for_whole(id);
            if (!learn(a)) return;
        }
        accept(id, a, opening);
    }

    // Now that it is known what there is to plan; nothing where the object is empty. False: this
    // planner cannot, and the download has ended.
    bool suits_planner(std::optional<segment> all) {
        auto const wrong = find_plan_fault(planner_, all);
        if (wrong) fail(plan_failure(*wrong));
        return !wrong;
    }

    // Gives up on ranges before anything was accepted.
    void ask_for_whole(lane_id id) {
        ranged_ = false;
        lanes_[id].held.reset();
        drop_connection(id);
        connect(id);
    }

    // The first accepted reply: now it is known what the object is. False: it cannot be had.
    bool learn(admission const& a) {
        report_.identity = a.object;
        report_.ranges = a.ranges;
        report_.to_first_reply = now_ - started_at_;
        identity_known_ = true;
        ranged_ = a.ranges;
        auto const size = size_told(a);
        if (size && !learn_size(*size)) return false;
        ledger_.reset(wanted_);
        open_wanted_ = true;
        observer_->on(object_known{report_.identity, report_.ranges});
        return true;
    }

    [[nodiscard]] static std::optional<std::uint64_t> size_told(admission const& a) noexcept {
        return a.nothing ? std::optional<std::uint64_t>{0} : a.object.size;
    }

    // The object's size, however it came to be known. False: it cannot be had.
    bool learn_size(std::uint64_t size) {
        report_.identity.size = size;
        if (size > request_.max_size) {
            fail(too_large("the object has ", size));
            return false;
        }
        if (size == 0 && wanted_.first == 0) {
            empty_ = true;
            return suits_planner(std::nullopt);
        }
        if (size <= wanted_.first) {
            fail(failure::of(error::range_not_satisfiable, phase::head,
                             "the object has " + std::to_string(size) + " bytes"));
            return false;
        }
        wanted_.last = std::min(wanted_.last, size - 1);
        return suits_planner(wanted_);
    }

    [[nodiscard]] static failure too_large(char const* has, std::uint64_t size) {
        return failure::of(error::object_too_large, phase::head,
                           has + std::to_string(size) + " bytes");
    }

    void accept(lane_id id, admission const& a, bool opening) {
        lane& l = lanes_[id];
        // Without ranges a later reply may be the first to tell the size.
        if (auto const size = size_told(a); size && !report_.identity.size) {
            if (!learn_size(*size)) return;
            ledger_.end_at(wanted_.last);
        }
        if (a.nothing) {
            l.held.reset();
            return drop_connection(id);
        }
        if (a.open_ended && wanted_.first > request_.max_size)
            return fail(too_large("the object has at least ", wanted_.first));
        l.write = a.write;
        l.write.last = std::min(l.write.last, wanted_.last);
        if (opening || !ranged_) {
            ledger_.take(l.write);
        } else if (l.write.last < l.held->bytes.last) {
            // Less than was asked for is allowed; the rest is owed again.
            ledger_.give_back({l.write.last + 1, l.held->bytes.last});
        }
        l.next = l.write.first;
        l.skip = a.skip;
        l.framing = a.framing;
        l.reusable = a.reusable;
        l.open_ended = a.open_ended;
        l.first_grant = true;
        l.is = lane::state::admitted;
        if (!ranged_) keep_only(id);
        if (sink_ready_) grant(id);
    }

    // One lane carries everything; the others have nothing to do.
    void keep_only(lane_id id) {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            if (i == id) continue;
            if (lanes_[i].is != lane::state::ended) lanes_[i].is = lane::state::idle;
            actions_.push_back(action::close{i});
        }
    }

    // ---- bytes ----------------------------------------------------------------------------

    void grant(lane_id id) {
        lane& l = lanes_[id];
        std::uint64_t const left = l.write.last - l.next;
        l.grant = {l.next, l.next + std::min(left, windows_.grant - 1)};
        // Of an object without a known size, one byte more than allowed is enough to tell.
        if (l.open_ended) l.grant.last = std::min(l.grant.last, request_.max_size);
        l.is = lane::state::receiving;
        l.seen = 0;
        l.seen_at = now_;
        look_again(l);
        ++report_.grants;
        actions_.push_back(action::receive{.lane = id,
                                           .grant = l.grant,
                                           .first = std::exchange(l.first_grant, false),
                                           .head_size = l.head_size,
                                           .skip = l.skip,
                                           .framing = l.framing,
                                           .last = l.grant.last == l.write.last,
                                           .to_the_end = must_end(l)});
    }

    void commit(lane& l, std::uint64_t bytes) {
        if (auto const arrived = segment::of(l.grant.first, bytes)) {
            ledger_.commit(*arrived);
            l.next = arrived->last + 1;
            l.bytes += bytes;
            report_.bytes += bytes;
            // Starting again from the first byte is progress only beyond what was reached before.
            std::uint64_t const reached = report_.bytes;
            std::uint64_t const fresh =
                ranged_ ? bytes : reached - std::min(reached, std::max(reached - bytes, best_));
            best_ = std::max(best_, reached);
            l.attempt_bytes += fresh;
        }
    }

    // Whether every byte that the lane's reply was taken for is in place.
    [[nodiscard]] static bool has_all(lane const& l) noexcept {
        return l.grant.last == l.write.last && l.next == l.write.last + 1;
    }

    // Whether the object must end with this lane's last byte, though its reply does not say so: an
    // earlier one told the size.
    [[nodiscard]] bool must_end(lane const& l) const noexcept {
        return !ranged_ && !l.open_ended && l.framing.is != body_framing::kind::length &&
               report_.identity.size && wanted_.last == *report_.identity.size - 1;
    }

    void lease_done(lane_id id, event::grant_ended const& e) {
        lane& l = lanes_[id];
        bool const exact = e.body_ended && !e.bytes_left_over;
        if (must_end(l) && !exact)
            return fail(failure::of(error::size_changed, phase::body,
                                    "it goes on behind byte " + std::to_string(wanted_.last)));
        l.held.reset();
        l.tries = 0;
        l.attempt_bytes = 0;
        if (l.reusable && exact && !e.failed)
            l.is = lane::state::ready;
        else
            drop_connection(id);
    }

    // A body without a length said beforehand has ended, and the object with it.
    void object_ends(lane_id id) {
        lane& l = lanes_[id];
        l.held.reset();
        report_.length_verified = l.framing.is != body_framing::kind::until_close;
        // Where a later part is wanted, how much was dropped is not known here.
        if (l.next == wanted_.first && wanted_.first != 0)
            return fail(
                failure::of(error::range_not_satisfiable, phase::body,
                            "the object ends before byte " + std::to_string(wanted_.first)));
        if (!learn_size(l.next)) return;
        ledger_.end_at(wanted_.last);
        drop_connection(id);
    }

    // ---- failures -------------------------------------------------------------------------

    void lane_failed(lane_id id, failure what) {
        if (ended_) return;
        lane& l = lanes_[id];
        bool const stale = what.where == phase::head && l.held && l.reply.untouched() &&
                           (l.used || l.waited) && what.kind == cause::passing &&
                           what.code != error::head_timeout && what.code != error::closed_in_head;
        release(l);
        drop_connection(id);

        // A kept connection may die before the server sees the request (RFC 9112, section 9.3.1).
        if (stale && !std::exchange(l.stale_retried, true)) {
            ++report_.stale_connections;
            return connect(id);
        }
        if (pointless(what.kind)) return fail(std::move(what));

        std::uint64_t const brought = std::exchange(l.attempt_bytes, 0);
        l.tries = brought != 0 ? 1 : l.tries + 1;
        auto const left = deadline_ ? std::optional{*deadline_ - now_} : std::nullopt;
        renewal const answer = renewal_rule_.decide({what, l.tries, brought, left, random()});
        if (answer.is == renewal::answer::give_up) {
            l.is = lane::state::ended;
            observer_->on(attempt_failed{id, what, std::nullopt});
            ++given_up_;
            // As long as another lane goes on, it may bring what this one could not. But only one
            // asks what the object is at all.
            if (running() == 0 || (!identity_known_ && id == opener)) fail(std::move(what));
            return;
        }
        ++report_.retries;
        observer_->on(attempt_failed{id, what, answer.after});
        l.is = lane::state::waiting;
        l.until = from_now(answer.after);
        if (answer.after <= answer.after.zero()) connect(id);
    }

    [[nodiscard]] static constexpr bool pointless(cause c) noexcept {
        return c != cause::passing && c != cause::protocol;
    }

    // The lane's lease ends here; what it did not bring is owed again.
    void release(lane& l) {
        if (!l.held || !identity_known_) return l.held.reset();
        bool const admitted = l.is == lane::state::admitted || l.is == lane::state::receiving;
        if (!ranged_) {
            if (admitted) start_over();
        } else if (!admitted) {
            ledger_.give_back(l.held->bytes);
        } else if (l.next <= l.write.last) {
            ledger_.give_back({l.next, l.write.last});
        }
        l.held.reset();
    }

    // Without ranges there is no going on in the middle.
    void start_over() {
        report_.bytes_twice += report_.bytes;
        if (report_.bytes != 0) ++report_.restarts;
        report_.bytes = 0;
        ledger_.reset(wanted_);
        hashed_ = 0;
        sink_ready_ = false;
        open_wanted_ = true;
    }

    void drop_connection(lane_id id) {
        lane& l = lanes_[id];
        if (l.is != lane::state::ended) l.is = lane::state::idle;
        actions_.push_back(action::close{id});
    }

    // ---- lanes ----------------------------------------------------------------------------

    void connect(lane_id id) {
        lane& l = lanes_[id];
        l.is = lane::state::connecting;
        l.until = from_now(request_.timeouts.connect);
        actions_.push_back(action::connect{id});
    }

    [[nodiscard]] static constexpr bool is_running(lane const& l) noexcept {
        return l.is != lane::state::idle && l.is != lane::state::ended;
    }
    [[nodiscard]] std::uint32_t running() const noexcept {
        return static_cast<std::uint32_t>(std::ranges::count_if(lanes_, is_running));
    }
    [[nodiscard]] std::uint32_t wanted_lanes() noexcept {
        std::uint32_t const want = lane_rule_.want({running(), given_up_});
        return std::clamp<std::uint32_t>(want, 1, static_cast<std::uint32_t>(lanes_.size()));
    }

    void go_on() {
        if (open_wanted_ && !running_job_) {
            open_wanted_ = false;
            sink_touched_ = true;
            auto const size = empty_                  ? std::optional<std::uint64_t>{0}
                              : report_.identity.size ? std::optional{wanted_.size()}
                                                      : std::nullopt;
            run(job::open, {}, size);
        }
        if (identity_known_ && (empty_ || ledger_.complete())) return wind_up();
        if (sink_ready_)
            for (lane_id i = 0; i != lanes_.size(); ++i)
                if (lanes_[i].is == lane::state::admitted) grant(i);
        hash_what_is_there();
        if (!give_work()) return;
        start_lanes();
    }

    // Every connected lane without a lease gets one, as long as there is something to ask for.
    // False: the planner broke its contract, and the download has ended.
    bool give_work() {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane& l = lanes_[i];
            if (l.is != lane::state::ready) continue;
            if (!identity_known_) {
                if (i == opener) ask(i, {opening_segment(), ranged_});
            } else if (!sink_ready_) {
                // Only the opening request is sent before the sink has room.
            } else if (!ranged_) {
                if (ledger_.owed().contains(wanted_)) ask(i, {wanted_, false});
            } else if (!ledger_.owed().empty()) {
                segment const gap = ledger_.owed().front();
                segment const next = planner_.next(gap, state_of_plan());
                if (!next.valid() || !gap.contains(next)) {
                    fail(failure::of(error::planner_broke_contract, phase::setup,
                                     "for " + to_string(gap) + " it answered " + to_string(next)));
                    return false;
                }
                ledger_.take(next);
                ask(i, {next, true});
            }
            if (l.is == lane::state::ready) l.waited = true;
        }
        return true;
    }

    [[nodiscard]] segment opening_segment() const noexcept {
        std::uint64_t const size =
            std::max<std::uint64_t>(plan_opening(planner_).value_or(windows_.opening), 1);
        std::uint64_t const left = wanted_.last - wanted_.first;
        return {wanted_.first, wanted_.first + std::min(left, size - 1)};
    }

    [[nodiscard]] plan_state state_of_plan() noexcept {
        return {wanted_, ledger_.owed().bytes(), wanted_lanes()};
    }

    void ask(lane_id id, lease what) {
        lane& l = lanes_[id];
        l.held = what;
        l.reply.reset();
        l.request.reserve(longest_request_);
        write_request_head(l.request,
                           {.target = request_.target,
                            .range = what.ranged ? std::optional{what.bytes} : std::nullopt,
                            .if_range = comparable() ? &report_.identity.validator : nullptr,
                            .headers = request_.headers,
                            .user_agent = request_.user_agent});
        l.is = lane::state::requesting;
        l.until = from_now(request_.timeouts.head);
        ++report_.requests;
        actions_.push_back(action::send{id, l.request, l.used || l.waited});
    }

    // A date may not stand in If-Range where there is an entity tag, even a weak one, which may not
    // stand there either (RFC 9110, section 13.1.5). The replies are compared all the same.
    [[nodiscard]] bool comparable() const noexcept {
        return identity_known_ && report_.identity.weak_etag.empty();
    }

    // Connects as many lanes as the rule allows and the work is worth.
    void start_lanes() {
        std::uint32_t const most = lanes_worth_having();
        std::uint32_t now_running = running();
        for (lane_id i = 0; i != lanes_.size() && now_running < most; ++i) {
            if (lanes_[i].is != lane::state::idle) continue;
            connect(i);
            ++now_running;
        }
    }

    [[nodiscard]] std::uint32_t lanes_worth_having() noexcept {
        std::uint32_t const want = wanted_lanes();
        if (!ranged_) return 1;
        if (!identity_known_) {
            // The others connect while the opening request is on its way, but not before: a server
            // that cannot be reached is not asked eight times.
            if (lanes_[opener].is != lane::state::requesting) return 1;
            return static_cast<std::uint32_t>(
                std::min<std::uint64_t>(want, plan_at_most(planner_)));
        }
        std::uint32_t busy = 0;
        for (lane const& l : lanes_) busy += l.held ? 1U : 0U;
        return busy >= want ? busy : busy + segments_ahead(want - busy);
    }

    // How many segments the planner would make of what is owed; no more than `most` are counted.
    [[nodiscard]] std::uint32_t segments_ahead(std::uint32_t most) noexcept {
        plan_state const state = state_of_plan();
        std::uint32_t count = 0;
        for (segment gap : ledger_.owed()) {
            std::optional<segment> rest = gap;
            while (rest && count < most) {
                segment const next = planner_.next(*rest, state);
                ++count;
                if (!rest->contains(next) || next.last == rest->last) break;
                rest = rest->from(next.last + 1);
            }
        }
        return count;
    }

    // ---- time -----------------------------------------------------------------------------

    void look_at_clock(lane_id id, event::lane_window const& window) {
        lane& l = lanes_[id];
        switch (l.is) {
        case lane::state::connecting:
            if (now_ >= l.until)
                lane_failed(id, failure::of(error::connect_timeout, phase::connect));
            break;
        case lane::state::requesting:
            if (now_ >= l.until) lane_failed(id, failure::of(error::head_timeout, phase::head));
            break;
        case lane::state::receiving:
            if (window.read != l.seen) {
                l.seen = window.read;
                l.seen_at = now_;
            } else if (now_ - l.seen_at >= request_.timeouts.stall) {
                commit(l, window.in_place);
                // Only the framing's end is missing, and nobody needs it.
                if (has_all(l) && ranged_) return lease_done(id, {});
                return lane_failed(id, failure::of(error::stalled, phase::body,
                                                   "at byte " + std::to_string(l.next)));
            }
            if (now_ >= l.until) look_again(l);
            break;
        case lane::state::waiting:
            if (now_ < l.until) break;
            if (has_work())
                connect(id);
            else
                l.is = lane::state::idle;
            break;
        default: break;
        }
    }

    // Looking four times per stall timeout finds a stall soon enough, and costs a delivering lane
    // next to nothing.
    void look_again(lane& l) const noexcept {
        auto const stall = request_.timeouts.stall;
        l.until = std::min(from_now(std::max(stall / 4, instant{1})), after(l.seen_at, stall));
    }

    [[nodiscard]] bool has_work() const noexcept {
        return !identity_known_ || !ledger_.owed().empty();
    }

    // People write "never" as the longest time there is; adding to it must not wrap.
    [[nodiscard]] static constexpr instant after(instant at,
                                                 std::chrono::nanoseconds time) noexcept {
        return time > instant::max() - at ? instant::max() : at + time;
    }
    [[nodiscard]] instant from_now(std::chrono::nanoseconds time) const noexcept {
        return after(now_, time);
    }

    void set_timer() {
        std::optional<instant> first;
        auto const no_later = [&first](instant at) { first = first ? std::min(*first, at) : at; };
        if (!ended_) {
            if (deadline_) no_later(*deadline_);
            if (progress_at_) no_later(*progress_at_);
            for (lane const& l : lanes_) {
                if (l.is == lane::state::connecting || l.is == lane::state::requesting ||
                    l.is == lane::state::waiting || l.is == lane::state::receiving)
                    no_later(l.until);
            }
        }
        // A timer that is set earlier than needed wakes us once in vain; setting it anew with each
        // grant would cost more.
        if (!first || (timer_at_ && *timer_at_ <= *first)) return;
        timer_at_ = std::max(*first, now_);
        actions_.push_back(action::wait_until{*timer_at_});
    }

    void tell_progress(event::woke const& e) {
        std::uint64_t bytes = report_.bytes;
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane const& l = lanes_[i];
            std::uint64_t const granted = l.is == lane::state::receiving ? e.lanes[i].in_place : 0;
            bytes += granted;
            lanes_shown_[i] = {activity(l), l.bytes + granted,
                               l.held ? std::optional{l.held->bytes} : std::nullopt};
        }
        auto const total = identity_known_ && report_.identity.size
                               ? std::optional{empty_ ? 0 : wanted_.size()}
                               : std::nullopt;
        observer_->on(progress{bytes, total, now_ - started_at_, lanes_shown_});
    }

    [[nodiscard]] static constexpr lane_activity activity(lane const& l) noexcept {
        switch (l.is) {
        case lane::state::idle:
        case lane::state::ready: return lane_activity::idle;
        case lane::state::waiting: return lane_activity::waiting;
        case lane::state::connecting: return lane_activity::connecting;
        case lane::state::requesting:
        case lane::state::admitted: return lane_activity::requesting;
        case lane::state::receiving: return lane_activity::receiving;
        case lane::state::ended: return lane_activity::ended;
        }
        return lane_activity::idle;
    }

    // ---- the end --------------------------------------------------------------------------

    void hash_what_is_there() {
        // While the size is not known, a sink may have to move what it holds.
        if (!verifier_.wanted() || running_job_ || !sink_ready_ || !report_.identity.size) return;
        std::uint64_t const there = ledger_.frontier();
        if (there - hashed_ >= windows_.hash_from) hash_up_to(there);
    }
    void hash_up_to(std::uint64_t there) {
        hashing_to_ = std::min(there, hashed_ + windows_.hash);
        run(job::hash, {hashed_, hashing_to_ - 1});
    }

    // Every byte is in place: digest, sync, publish, in this order.
    void wind_up() {
        if (!std::exchange(winding_up_, true)) {
            report_.to_last_byte = now_ - started_at_;
            close_all();
            if (progress_at_) tell_progress({});
        }
        if (running_job_ || !sink_ready_) return;
        std::uint64_t const size = empty_ ? 0 : wanted_.size();
        if (verifier_.wanted() && hashed_ < size) return hash_up_to(size);
        if (verifier_.wanted() && !digest_done_) return run(job::finish_hash);
        if (!synced_) return run(job::sync, {}, size);
        deadline_.reset(); // from here on it only gets done
        run(job::publish);
    }

    void fail(failure why) {
        // What is being published is complete and right; there is no way back.
        if (ended_ || finished_ || running_job_ == job::publish) return;
        ended_ = true;
        report_.failed = std::move(why);
        close_all();
        if (running_job_) return;
        if (sink_touched_)
            run(job::abandon);
        else
            finish();
    }

    void finish() {
        finished_ = true;
        report_.elapsed = now_ - started_at_;
        report_.lanes = static_cast<std::uint32_t>(
            std::ranges::count_if(lanes_, [](lane const& l) { return l.bytes != 0; }));
        actions_.push_back(action::finish{});
    }

    void close_all() {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            if (!is_running(lanes_[i])) continue;
            lanes_[i].is = lane::state::idle;
            actions_.push_back(action::close{i});
        }
    }

    void run(job what, segment bytes = {}, std::optional<std::uint64_t> size = std::nullopt) {
        running_job_ = what;
        actions_.push_back(action::run{what, bytes, size});
    }

    [[nodiscard]] static constexpr engine_windows positive(engine_windows w) noexcept {
        constexpr auto one = std::uint64_t{1};
        return {std::max(w.grant, one), std::max(w.opening, one), std::max(w.hash, one),
                std::max(w.hash_from, one)};
    }

    // splitmix64: enough for jitter, and the same on every machine.
    [[nodiscard]] std::uint64_t random() noexcept {
        std::uint64_t z = (random_ += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

    cleave::request request_;
    std::size_t longest_request_ = 0; // memory for any request's head, so that none grows later
    Planner planner_;
    LaneRule lane_rule_;
    RenewalRule renewal_rule_;
    Verifier verifier_;
    Observer* observer_;
    engine_windows windows_;
    std::uint64_t random_;

    segment wanted_{0, max_offset};
    cleave::ledger ledger_;
    std::vector<lane> lanes_;
    std::vector<lane_progress> lanes_shown_;
    admission judged_; // kept, so that judging needs no memory
    std::uint32_t given_up_ = 0;
    bool identity_known_ = false;
    bool ranged_ = true;
    bool empty_ = false;
    std::uint64_t best_ = 0; // the furthest that a download without ranges has come

    std::optional<job> running_job_;
    bool open_wanted_ = false;
    bool sink_touched_ = false;
    bool sink_ready_ = false;
    std::uint64_t hashed_ = 0;
    std::uint64_t hashing_to_ = 0;
    bool winding_up_ = false;
    bool digest_done_ = false;
    bool synced_ = false;
    bool ended_ = false;
    bool finished_ = false;

    instant now_{0};
    instant started_at_{0};
    std::optional<instant> deadline_;
    std::optional<instant> progress_at_;
    std::optional<instant> timer_at_;

    cleave::report report_;
    std::vector<any_action> actions_;
    std::size_t next_action_ = 0;
};

} // namespace cleave
