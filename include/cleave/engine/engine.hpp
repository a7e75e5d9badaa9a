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
#include <cleave/engine/rates.hpp>
#include <cleave/engine/report.hpp>
#include <cleave/engine/stealing.hpp>
#include <cleave/http/admit.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/text.hpp>
#include <cleave/http/validator.hpp>
#include <cleave/lanes/concept.hpp>
#include <cleave/observe/concept.hpp>
#include <cleave/pace/concept.hpp>
#include <cleave/plan/concept.hpp>
#include <cleave/renew/concept.hpp>
#include <cleave/verify/concept.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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
    /// Of an ordered sink: what one lane fetches of its window at a time, at least.
    std::uint64_t stripe = std::uint64_t{64} << 10;
    stealing_limits stealing{};
};

/// What the engine must know of the sink.
struct sink_shape {
    /// Bytes that an ordered sink can hold, and hands on at a time; 0 and 0 of any other.
    std::uint64_t window = 0;
    std::uint64_t chunk = 0;
};

/// One download's decisions.
///
/// `step(event, now)`, then `next_action()` until it answers nothing; `now` never goes back. After
/// `action::finish` the report is final. No step allocates once the lanes have seen their first
/// replies, failures apart. Not thread-safe; a value, but for the observer it refers to.
template <range_planner Planner, lane_rule LaneRule, renewal_rule RenewalRule,
          content_verifier Verifier, byte_pacer Pacer, observer Observer>
class engine {
  public:
    engine(cleave::request what, Planner planner, LaneRule lanes, RenewalRule renewal,
           Verifier verifier, Pacer pacer, Observer& watching, engine_windows windows = {},
           sink_shape sink = {})
        : request_(std::move(what)), planner_(std::move(planner)), lane_rule_(std::move(lanes)),
          renewal_rule_(std::move(renewal)), verifier_(std::move(verifier)),
          pacer_(std::move(pacer)), observer_(std::addressof(watching)),
          windows_(positive(windows)), sink_(sink), random_(request_.seed),
          lanes_(std::max<std::uint32_t>(lane_rule_.most(), 1)), lanes_shown_(lanes_.size()),
          useful_lanes_(static_cast<std::uint32_t>(lanes_.size())) {
        if (request_.part) wanted_ = *request_.part;
        if constexpr (learning_verifier<Verifier>) {
            if (std::string_view const asks = verifier_.asks(); !asks.empty())
                request_.with_header("Want-Repr-Digest", std::string{asks});
        }
        longest_request_ = 2048 + request_.target.target().size() + request_.user_agent.size();
        for (header const& h : request_.headers)
            longest_request_ += h.name.size() + h.value.size() + 4;
        ledger_.reserve(2 * lanes_.size() + 2);
        actions_.reserve(4 * lanes_.size() + 8);
        holdings_.reserve(lanes_.size());
        divide_window();
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
    // How often lanes' rates are looked at while bytes arrive.
    static constexpr instant tick = std::chrono::milliseconds{50};
    static constexpr instant longest_sleep = std::chrono::hours{1};
    static constexpr std::uint32_t tries_of_a_piece = 3;

    // A piece that came wrong.
    struct suspect {
        explicit suspect(segment which) : piece(which) {}
        segment piece;
        std::uint32_t tries = 0;
    };

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
        l.used = l.kept = e.kept;
        l.waited = false;
        ++report_.connections;
        if (e.kept)
            ++report_.kept_connections;
        else
            connect_time_.add(now_ - l.asked_at);
        observer_->on(lane_connected{e.lane, e.kept});
    }

    void on(event::head_bytes const& e) {
        lane& l = lanes_[e.lane];
        // An event may have been on its way when the lane was closed: here and below.
        if (l.is != lane::state::requesting) return;
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
        if (l.is != lane::state::receiving) return;
        end_grant(l, e.bytes);
        auto const thief = std::exchange(l.thief, std::nullopt);
        tell_step();
        bool const storage_failed = e.failed && e.failed->kind == cause::storage;
        if (!l.left && !storage_failed && (ranged_ || !e.failed)) return lease_done(e.lane, e);
        if (e.failed) return lane_failed(e.lane, *e.failed);
        if (l.open_ended && reached() > request_.max_size)
            return fail(too_large("the object has at least ", reached()));
        // Where some of it was handed on already, the object cannot end before that.
        bool const cut = e.too_short && ledger_.frontier() != 0;
        if (e.body_ended && l.open_ended && !cut) return object_ends(e.lane);
        if (e.body_ended || (!e.revoked && e.bytes != l.grant.size()))
            return lane_failed(e.lane, failure::of(error::closed_in_body, phase::body,
                                                   "the reply ended at byte " +
                                                       std::to_string(l.left->first) + " of " +
                                                       to_string(l.reply_bytes)));
        wait_for_turn(l);
        if (thief) hand_over(e.lane, *thief);
    }

    void on(event::lane_failed const& e) {
        bool const connecting = e.what.where == phase::connect;
        if (lanes_[e.lane].is == (connecting ? lane::state::connecting : lane::state::requesting))
            lane_failed(e.lane, e.what);
    }

    void on(event::job_ended const& e) {
        running_job_.reset();
        if (ended_) {
            if (e.what == job::abandon) return finish();
            return run(job::abandon);
        }
        if (e.failed) return fail(*e.failed);
        switch (e.what) {
        case job::open: sink_ready_ = !open_wanted_; break;
        case job::hash:
            // After a restart, what was hashed is not what counts.
            if (!open_wanted_) hashed_ = hashing_to_;
            break;
        case job::hash_piece:
            if (!open_wanted_) judge_piece(e.digest);
            break;
        case job::deliver:
            delivered_ = delivering_to_;
            if (verifier_.wanted()) hashed_ = delivered_;
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
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].is == lane::state::receiving) lanes_[i].in_place = e.lanes[i].in_place;
        for (lane_id i = 0; i != lanes_.size() && !ended_; ++i) look_at_clock(i, e.lanes[i].read);
        if (ended_) return;
        if (deadline_ && now_ >= *deadline_)
            return fail(failure::of(error::deadline_exceeded, phase::body,
                                    std::to_string(report_.bytes) + " bytes had arrived"));
        if (now_ >= tick_at_) sample_rates();
        if (progress_at_ && now_ >= *progress_at_) {
            progress_at_ = from_now(observer_->interval());
            tell_progress();
        }
        tell_step();
    }

    void on(event::cancelled const&) { fail(failure::of(error::cancelled, phase::setup)); }

    void on(event::paused const& e) {
        if (std::exchange(paused_, e.rest) == e.rest) return;
        observer_->on(download_paused{e.rest});
        if (!e.rest) return;
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane const& l = lanes_[i];
            // Where the object's end is part of a grant, only all of it tells anything.
            bool const ends = must_end(l) && l.left && l.grant.last == l.left->last;
            if (l.is == lane::state::receiving && !ends) actions_.push_back(action::revoke{i});
        }
    }

    void on(event::rate_changed const& e) {
        if constexpr (adjustable_pacer<Pacer>) pacer_.set_rate(e.rate);
        pace_at_.reset();
    }

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
        // A piece is proven before any of it is handed on, so all of it must fit.
        auto const piece = pieces().size;
        if (sink_.window != 0 && piece != 0) {
            std::uint64_t const needed = piece % sink_.chunk == 0 ? piece : piece + sink_.chunk;
            if (sink_.window < needed || needed < piece)
                return failure::of(error::window_too_small, phase::setup,
                                   "pieces of " + std::to_string(piece) + " bytes in chunks of " +
                                       std::to_string(sink_.chunk) + " need " +
                                       std::to_string(needed) + ", the window has " +
                                       std::to_string(sink_.window));
        }
        return std::nullopt;
    }

    [[nodiscard]] static failure plan_failure(plan_fault const& wrong) {
        return failure::of(wrong.why, phase::setup, wrong.detail());
    }

    // ---- replies --------------------------------------------------------------------------

    void judge(lane_id id) {
        lane& l = lanes_[id];
        l.used = true;
        l.kept = l.stale_retried = false;
        reply_time_.add(now_ - l.asked_at);
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
            if (!learn(a, l.reply.head())) return;
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
    bool learn(admission const& a, response_head const& head) {
        if constexpr (learning_verifier<Verifier>) {
            // It is of the whole object (RFC 9530, section 3), and tells nothing of a part.
            auto const ec =
                verifier_.learn(request_.part ? std::string{} : joined(head, "Repr-Digest"));
            if (ec) {
                fail({ec, cause::permanent, phase::verify, head.status(), std::nullopt, {}});
                return false;
            }
        }
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

    // A list field may come in several lines (RFC 9110, section 5.3).
    [[nodiscard]] static std::string joined(response_head const& head, std::string_view name) {
        std::string all;
        for (field const& f : head.fields()) {
            if (!detail::http_same(f.name, name)) continue;
            if (!all.empty()) all += ", ";
            all += f.value;
        }
        return all;
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
        if (!pieces_fit(size)) {
            fail(failure::of(error::pieces_do_not_match_size, phase::verify,
                             std::to_string(pieces().count) + " digests for pieces of " +
                                 std::to_string(pieces().size) + " bytes, the object has " +
                                 std::to_string(size) + " bytes"));
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
        l.reply_bytes = {a.write.first, std::min(a.write.last, wanted_.last)};
        l.skip = a.skip;
        l.framing = a.framing;
        l.reusable = a.reusable;
        l.open_ended = a.open_ended;
        l.first_grant = true;
        l.sampled = l.bytes;
        l.sampled_at = now_;
        wait_for_turn(l);
        if (opening || !ranged_) {
            // Nothing is in place yet, unless a sink cannot take back what it has handed on.
            auto const fresh = l.reply_bytes.from(wanted_.first + ledger_.frontier());
            if (!fresh)
                return fail(failure::of(error::size_changed, phase::head,
                                        "it ends before byte " + std::to_string(reached())));
            claim(id, *fresh);
            ledger_.take(*l.left);
            if (!ranged_) keep_only(id);
        } else if (l.hedge_of) {
            settle_hedge(id);
        } else {
            claim(id, *l.left);
        }
    }

    // The lane may bring `bytes`, as far as its reply has them; the rest is owed again.
    void claim(lane_id id, segment bytes) {
        lane& l = lanes_[id];
        l.left = bytes.common(l.reply_bytes);
        std::uint64_t const reached_by_reply = l.reply_bytes.last;
        if (reached_by_reply < bytes.last)
            ledger_.give_back({std::max(bytes.first, reached_by_reply + 1), bytes.last});
        if (!l.left) return leave(id);
        l.skip += l.left->first - l.reply_bytes.first;
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

    // Rates are looked at a tick from now, if not before.
    void look_soon() noexcept {
        tick_now_ = tick;
        tick_at_ = keeps_an_eye() ? std::min(tick_at_, from_now(tick)) : from_now(tick);
    }

    void wait_for_turn(lane& l) noexcept {
        l.is = lane::state::admitted;
        l.admitted_at = now_;
        l.turn = ++turns_;
    }

    // The last byte that the sink has room for.
    [[nodiscard]] std::uint64_t room_until() const noexcept {
        if (sink_.window == 0) return max_offset;
        std::uint64_t const from = wanted_.first + delivered_;
        return sink_.window - 1 > max_offset - from ? max_offset : from + (sink_.window - 1);
    }

    // Lanes that wait get their grants in turn, as far as sink, pacer and caller let them.
    void grant_in_turn() {
        if (!sink_ready_ || paused_ || (pace_at_ && now_ < *pace_at_)) return;
        pace_at_.reset();
        for (;;) {
            lane_id next = 0;
            bool found = false;
            for (lane_id i = 0; i != lanes_.size(); ++i) {
                if (!may_receive(lanes_[i])) continue;
                if (!found || lanes_[i].turn < lanes_[next].turn) next = i;
                found = true;
            }
            if (!found || !grant(next)) return;
        }
    }
    [[nodiscard]] bool may_receive(lane const& l) const noexcept {
        return l.is == lane::state::admitted && l.left && l.left->first <= room_until();
    }

    // False: the pacer says later.
    bool grant(lane_id id) {
        lane& l = lanes_[id];
        segment window = *l.left;
        window.last = std::min(window.last, room_until());
        // Of an object without a known size, one byte more than allowed is enough to tell.
        if (l.open_ended) window.last = std::min(window.last, request_.max_size);
        pace_answer const pace = pacer_.take(std::min(window.size(), windows_.grant), now_);
        if (pace.bytes == 0) {
            pace_at_ = std::max(pace.at, now_ + instant{1});
            return false;
        }
        l.grant = {window.first, window.first + (pace.bytes - 1)};
        look_soon();
        l.is = lane::state::receiving;
        // While it had to wait it was not slow.
        l.sampled_at += now_ - l.admitted_at;
        l.in_place = 0;
        l.seen = 0;
        l.seen_at = now_;
        look_again(l);
        ++report_.grants;
        // What was cut off by another lane still comes, but is nothing to wait for.
        bool const whole_reply = l.left->last == l.reply_bytes.last;
        actions_.push_back(action::receive{.lane = id,
                                           .grant = l.grant,
                                           .first = std::exchange(l.first_grant, false),
                                           .head_size = l.head_size,
                                           .skip = l.skip,
                                           .framing = l.framing,
                                           .last = whole_reply && l.grant.last == l.left->last,
                                           .to_the_end = must_end(l)});
        return true;
    }

    // The lane's grant ends; so much of it is in place.
    void end_grant(lane& l, std::uint64_t bytes) {
        give_back_rest(l, bytes);
        l.is = lane::state::admitted;
        if (bytes > l.in_place) l.seen_at = now_;
        l.in_place = 0;
        if (auto const arrived = segment::of(l.grant.first, bytes)) {
            ledger_.commit(*arrived);
            l.left = arrived->last == max_offset ? std::nullopt : l.left->from(arrived->last + 1);
            l.bytes += bytes;
            report_.bytes += bytes;
            received_ += bytes;
            // Starting again from the first byte is progress only beyond what was reached before.
            std::uint64_t const there = report_.bytes;
            std::uint64_t const fresh =
                ranged_ ? bytes : there - std::min(there, std::max(there - bytes, best_));
            best_ = std::max(best_, there);
            l.attempt_bytes += fresh;
        }
    }
    void give_back_rest(lane const& l, std::uint64_t bytes) noexcept {
        if (bytes != l.grant.size()) pacer_.give_back(l.grant.size() - bytes);
    }

    // Without ranges: the end of what is in place.
    [[nodiscard]] std::uint64_t reached() const noexcept { return wanted_.first + report_.bytes; }

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
        sample_rate(l);
        lose_hedge_of(id);
        if (l.reusable && exact && !e.failed)
            l.is = lane::state::ready;
        else
            drop_connection(id);
    }

    // A body without a length said beforehand has ended, and the object with it.
    void object_ends(lane_id id) {
        lane& l = lanes_[id];
        l.held.reset();
        l.left.reset();
        report_.length_verified = l.framing.is != body_framing::kind::until_close;
        // Where a later part is wanted, how much was dropped is not known here.
        if (reached() == wanted_.first && wanted_.first != 0)
            return fail(
                failure::of(error::range_not_satisfiable, phase::body,
                            "the object ends before byte " + std::to_string(wanted_.first)));
        if (!learn_size(reached())) return;
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
        bool const refused = is_refusal(what);
        release(id);
        if (ended_) return;
        drop_connection(id);

        // A kept connection may die before the server sees the request (RFC 9112, section 9.3.1).
        // Those that another download kept are only so many; then there are new ones.
        if (stale && (l.kept || !std::exchange(l.stale_retried, true))) {
            ++report_.stale_connections;
            return connect(id);
        }
        if (pointless(what.kind)) return fail(std::move(what));
        if (refused) ++refusals_;

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
        // Where fewer lanes are wanted now, the others will do.
        if (identity_known_ && at_work() >= wanted_lanes()) return;
        l.is = lane::state::waiting;
        l.until = from_now(answer.after);
        if (answer.after <= answer.after.zero()) connect(id);
    }

    [[nodiscard]] static constexpr bool pointless(cause c) noexcept {
        return c != cause::passing && c != cause::protocol;
    }

    // A server that does not want this lane, or not now.
    [[nodiscard]] static bool is_refusal(failure const& what) noexcept {
        if (what.code == error::too_many_requests || what.code == error::server_busy) return true;
        if (what.where != phase::connect && what.where != phase::head) return false;
        return what.code == error::closed_before_reply ||
               what.code == std::errc::connection_refused ||
               what.code == std::errc::connection_reset;
    }

    // The lane's lease ends here; what it did not bring goes to its hedge, or is owed again.
    void release(lane_id id) {
        lane& l = lanes_[id];
        bool const admitted = l.is == lane::state::admitted || l.is == lane::state::receiving;
        l.held.reset();
        auto const left = std::exchange(l.left, std::nullopt);
        if (!identity_known_) return;
        if (!ranged_) {
            if (admitted) start_over(left);
        } else if (left) {
            if (auto const heir = hedge_on(id))
                inherit(*heir, *left);
            else
                ledger_.give_back(*left);
        }
    }

    // Without ranges there is no going on in the middle: all of it comes again. A sink that has
    // handed on what it got cannot begin again, too; then that much of the next reply is dropped,
    // provided that it is surely the same object.
    void start_over(std::optional<segment> left) {
        if (delivered_ != 0 || running_job_ == job::deliver) {
            if (report_.identity.validator.is == validator::kind::none && !verifier_.wanted())
                return fail(failure::of(error::sink_cannot_restart, phase::sink));
            ++report_.restarts;
            if (left) ledger_.give_back(*left);
            return;
        }
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
        l.rate = 0;
        l.hedge_of.reset();
        l.thief.reset();
        actions_.push_back(action::close{id});
    }
    // The lane has nothing to do any more with the reply it is at.
    void leave(lane_id id) {
        lanes_[id].held.reset();
        lanes_[id].left.reset();
        drop_connection(id);
    }

    // ---- lanes ----------------------------------------------------------------------------

    void connect(lane_id id) {
        lane& l = lanes_[id];
        l.is = lane::state::connecting;
        l.asked_at = now_;
        l.until = from_now(request_.timeouts.connect);
        actions_.push_back(action::connect{id});
    }

    [[nodiscard]] static constexpr bool is_running(lane const& l) noexcept {
        return l.is != lane::state::idle && l.is != lane::state::ended;
    }
    [[nodiscard]] std::uint32_t running() const noexcept {
        return static_cast<std::uint32_t>(std::ranges::count_if(lanes_, is_running));
    }
    // Without those that wait for their time to try again.
    [[nodiscard]] std::uint32_t at_work() const noexcept {
        return static_cast<std::uint32_t>(std::ranges::count_if(lanes_, [](lane const& l) {
            return is_running(l) && l.is != lane::state::waiting;
        }));
    }
    [[nodiscard]] std::uint32_t wanted_lanes() noexcept {
        std::uint32_t receiving = 0;
        std::uint64_t in_flight = 0;
        bool held_back = paused_ || pace_at_;
        for (lane const& l : lanes_) {
            bool const admitted = l.is == lane::state::admitted;
            receiving += admitted || l.is == lane::state::receiving ? 1U : 0U;
            held_back = held_back || (admitted && sink_ready_);
            in_flight += l.in_place;
        }
        std::uint32_t const want =
            lane_rule_.want({.running = running(),
                             .given_up = given_up_,
                             .receiving = receiving,
                             .refusals = refusals_,
                             .bytes = received_ + in_flight,
                             .now = now_,
                             .held_back = held_back});
        return std::clamp<std::uint32_t>(want, 1, useful_lanes_);
    }

    // How many lanes an ordered sink has room for, and how its window is divided among them. Each
    // lease lies within the window from its first byte to its last, so that no lane ever waits for
    // another one's bytes: the lowest byte that is owed always finds a lane.
    void divide_window() noexcept {
        if (sink_.window == 0) return;
        std::uint64_t const room = sink_.window - std::min(sink_.window, sink_.chunk);
        std::uint64_t const least = std::max(windows_.stripe, pieces().size);
        useful_lanes_ = static_cast<std::uint32_t>(
            std::clamp<std::uint64_t>(room / least, 1, lanes_.size()));
        if (useful_lanes_ > 1) stripe_ = room / useful_lanes_;
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
        if (all_there()) return wind_up();
        grant_in_turn();
        look_at_bytes();
        if (!give_work()) return;
        start_lanes();
        free_a_lane();
    }

    // Whether nothing needs to be received any more.
    [[nodiscard]] bool all_there() const noexcept {
        if (!identity_known_) return false;
        return empty_ || (ledger_.complete() && (pieces().size == 0 || ledger_.all_proven()));
    }

    // Every connected lane without a lease gets one, as long as there is something to ask for.
    // False: the planner broke its contract, and the download has ended.
    bool give_work() {
        std::uint32_t const want = wanted_lanes();
        std::uint32_t too_many = at_work() - std::min(at_work(), want);
        bool may_help = true;
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane& l = lanes_[i];
            if (l.is != lane::state::ready) continue;
            if (paused_) {
                // Nothing is asked for.
            } else if (!identity_known_) {
                if (i == opener) ask(i, {opening_segment(), ranged_});
            } else if (!sink_ready_) {
                // Only the opening request is sent before the sink has room.
            } else if (!ranged_) {
                if (!ledger_.owed().empty() && !anything_held()) ask(i, {wanted_, false});
            } else if (too_many != 0) {
                --too_many;
                drop_connection(i);
            } else if (auto const next = next_segment()) {
                ledger_.take(*next);
                l.left = *next;
                ask(i, {*next, true});
            } else if (ended_) {
                return false;
            } else if (may_help) {
                // Where one finds nothing to do, the others will not either.
                may_help = help(i);
            }
            if (l.is == lane::state::ready) l.waited = true;
        }
        return true;
    }

    [[nodiscard]] bool anything_held() const noexcept {
        return std::ranges::any_of(lanes_, [](lane const& l) { return l.held.has_value(); });
    }

    // An ordered sink waits for its lowest byte. Where that is owed, and every lane holds something
    // for which there is no room before, the one that is furthest ahead starts anew.
    void free_a_lane() {
        if (sink_.window == 0 || ledger_.owed().empty() || !sink_ready_ || paused_) return;
        if (ledger_.owed().front().first > room_until()) return;
        std::optional<lane_id> furthest;
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane const& l = lanes_[i];
            if (!is_running(l)) continue;
            if (l.is != lane::state::admitted || !l.left || may_receive(l)) return;
            if (!furthest || lanes_[*furthest].left->first < l.left->first) furthest = i;
        }
        if (!furthest) return;
        ledger_.give_back(*lanes_[*furthest].left);
        leave(*furthest);
        connect(*furthest);
    }

    // What is owed and fits: a piece that was wrong, by itself; else what the planner makes of the
    // lowest gap.
    [[nodiscard]] std::optional<segment> next_segment() {
        for (suspect const& s : suspects_)
            for (segment const gap : ledger_.owed())
                if (auto const both = gap.common(s.piece); both && both->last <= room_until())
                    return both;
        if (ledger_.owed().empty()) return std::nullopt;
        auto const gap = within_window(ledger_.owed().front());
        if (!gap) return std::nullopt;
        segment next = planner_.next(*gap, state_of_plan());
        if (next.valid() && gap->contains(next)) {
            // Whatever the planner would begin with, a sink with little room needs the first.
            if (sink_.window != 0 && stripe_ == 0) next.first = gap->first;
            return next;
        }
        fail(failure::of(error::planner_broke_contract, phase::setup,
                         "for " + to_string(*gap) + " it answered " + to_string(next)));
        return std::nullopt;
    }

    // The part of a gap that may be asked for now.
    [[nodiscard]] std::optional<segment> within_window(segment gap) const noexcept {
        if (sink_.window == 0) return gap;
        if (stripe_ == 0) return gap.first <= room_until() ? std::optional{gap} : std::nullopt;
        std::uint64_t const into = (gap.first - wanted_.first) % stripe_;
        gap.last = gap.first + std::min(gap.last - gap.first, stripe_ - into - 1);
        return gap.last <= room_until() ? std::optional{gap} : std::nullopt;
    }

    [[nodiscard]] segment opening_segment() const noexcept {
        std::uint64_t const size =
            std::max<std::uint64_t>(plan_opening(planner_).value_or(windows_.opening), 1);
        std::uint64_t const left = wanted_.last - wanted_.first;
        return {wanted_.first, wanted_.first + std::min(left, size - 1)};
    }

    [[nodiscard]] plan_state state_of_plan() noexcept {
        return {wanted_, ledger_.owed().bytes(), wanted_lanes(), outstanding()};
    }

    [[nodiscard]] std::uint64_t outstanding() const noexcept {
        std::uint64_t sum = 0;
        for (lane const& l : lanes_)
            if (l.left) sum += l.left->size();
        return sum;
    }

    void ask(lane_id id, lease what) {
        lane& l = lanes_[id];
        l.held = what;
        l.asked_at = now_;
        l.reply.reset();
        l.request.reserve(longest_request_);
        write_request_head(l.request,
                           {.target = request_.target,
                            .range = what.ranged ? std::optional{what.bytes} : std::nullopt,
                            .if_range = comparable() ? &report_.identity.validator : nullptr,
                            .headers = request_.headers,
                            .user_agent = request_.user_agent});
        look_soon();
        l.is = lane::state::requesting;
        l.until = from_now(request_.timeouts.head);
        ++report_.requests;
        observer_->on(segment_asked{id, what.bytes, l.hedge_of.has_value()});
        actions_.push_back(action::send{id, l.request, l.used || l.waited});
    }

    // A date may not stand in If-Range where there is an entity tag, even a weak one, which may not
    // stand there either (RFC 9110, section 13.1.5). The replies are compared all the same.
    [[nodiscard]] bool comparable() const noexcept {
        return identity_known_ && report_.identity.weak_etag.empty();
    }

    // Connects as many lanes as the rule allows and the work is worth.
    void start_lanes() {
        if (paused_) return;
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
        if (busy >= want) return busy;
        std::uint32_t const more = segments_ahead(want - busy);
        // With nothing left to assign, another connection may still be of help to a slow lane.
        if (more == 0 && running() == busy && look_for_theft(std::nullopt)) return busy + 1;
        return busy + more;
    }

    // How many segments the planner would make of what is owed; no more than `most` are counted.
    [[nodiscard]] std::uint32_t segments_ahead(std::uint32_t most) noexcept {
        plan_state const state = state_of_plan();
        std::uint32_t count = 0;
        for (segment const gap : ledger_.owed()) {
            std::optional<segment> rest = gap;
            while (rest && count < most) {
                auto const part = within_window(*rest);
                if (!part) break;
                segment const next = planner_.next(*part, state);
                ++count;
                if (!part->contains(next) || next.last == rest->last) break;
                rest = rest->from(next.last + 1);
            }
        }
        return count;
    }

    // ---- helping slow lanes ---------------------------------------------------------------

    // What an idle lane could do for the one that will be done last; `id` is none for a lane that
    // would have to connect first.
    [[nodiscard]] std::optional<theft> look_for_theft(std::optional<lane_id> id) {
        if (!ranged_ || !sink_ready_ || lanes_.size() < 2) return std::nullopt;
        double const typical = typical_rate();
        mark_pairs();
        holdings_.clear();
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane const& l = lanes_[i];
            if (!l.left || l.thief || l.is_hedged) continue;
            if (auto const held = what_is_held(i, typical, l.is != lane::state::admitted))
                holdings_.push_back(*held);
        }
        return find_theft(holdings_, as_thief(id, typical), hedgeable(), windows_.stealing);
    }

    // So that no lane need look for its partner among all the others.
    void mark_pairs() noexcept {
        for (lane& l : lanes_) l.is_hedged = l.is_thief = false;
        for (lane const& l : lanes_) {
            if (l.hedge_of) lanes_[*l.hedge_of].is_hedged = true;
            if (l.thief) lanes_[*l.thief].is_thief = true;
        }
    }

    // Pairs are marked.
    [[nodiscard]] thief as_thief(std::optional<lane_id> id, double typical) const noexcept {
        thief by{typical, reply_time_.seconds(), 0};
        if (!id) {
            by.delay += connect_time_.seconds();
            ++by.idle;
        } else if (lanes_[*id].rate > 0) {
            by.rate = lanes_[*id].rate;
        }
        double const soon = by.delay + in_seconds(windows_.stealing.soon);
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane const& l = lanes_[i];
            bool const idle = l.is == lane::state::ready && !l.is_thief;
            bool const idle_soon = l.left && l.rate > 0 && l.is == lane::state::receiving &&
                                   what_is_held(i, typical, true)->time_left() <= soon;
            by.idle += idle || idle_soon ? 1U : 0U;
        }
        return by;
    }

    // Nothing where nothing can be said yet: of a lane that has only begun, where no other tells
    // what to expect. `should_bring`: whether silence means anything, or it is held back.
    [[nodiscard]] std::optional<holding> what_is_held(lane_id id, double typical,
                                                      bool should_bring) const noexcept {
        lane const& l = lanes_[id];
        holding h{id, *l.left, l.rate > 0 ? l.rate : typical, 0};
        bool const requesting = l.is == lane::state::requesting;
        if (l.is == lane::state::receiving)
            h.left.first += std::min(l.in_place, h.left.last - h.left.first);
        if (requesting)
            h.delay = std::max(0.0, reply_time_.seconds() - in_seconds(now_ - l.asked_at));
        auto const since = now_ - (requesting ? l.asked_at : l.seen_at);
        if (should_bring && since >= std::max(windows_.stealing.silent, 4 * reply_time_.value))
            h.rate = 0;
        else if (h.rate <= 0)
            return std::nullopt;
        return h;
    }

    [[nodiscard]] double typical_rate() const noexcept {
        double sum = 0;
        int count = 0;
        for (lane const& l : lanes_) {
            if (l.rate <= 0) continue;
            sum += l.rate;
            ++count;
        }
        return count == 0 ? 0 : sum / count;
    }

    [[nodiscard]] std::uint64_t hedgeable() const noexcept {
        std::uint64_t const budget = wanted_.size() / 100 * windows_.stealing.hedged_percent;
        return budget - std::min(budget, report_.bytes_hedged);
    }

    [[nodiscard]] std::optional<lane_id> hedge_on(lane_id id) const noexcept {
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].hedge_of == id) return i;
        return std::nullopt;
    }

    // An idle lane takes from the one that will be done last, or asks for the same bytes. False:
    // there is nothing to do.
    bool help(lane_id id) {
        auto const found = look_for_theft(id);
        if (lanes_[id].is_thief) return true; // it waits for another lane's grant to end
        if (!found) return false;
        lane& from = lanes_[found->from];
        if (found->hedge) {
            ++report_.hedges;
            report_.bytes_hedged += found->bytes.size();
            lanes_[id].hedge_of = found->from;
            ask(id, {found->bytes, true});
        } else if (from.is == lane::state::receiving && from.grant.last >= found->bytes.first) {
            from.thief = id;
            actions_.push_back(action::revoke{found->from});
        } else {
            steal(found->from, id, found->bytes);
        }
        return true;
    }

    // The lane's grant has ended for `to`, which is a thief or a hedge that got its reply first.
    void hand_over(lane_id id, lane_id to) {
        if (lanes_[to].hedge_of == id) return win_hedge(to);
        if (lanes_[to].is != lane::state::ready || paused_) return;
        // Now that it is known how far the lane is, once more.
        double const typical = typical_rate();
        auto const held = what_is_held(id, typical, true);
        if (!held) return;
        mark_pairs();
        if (auto const bytes = divide(*held, as_thief(to, typical), windows_.stealing))
            steal(id, to, *bytes);
        if (held->rate > 0 || !ledger_.owed().empty()) return;
        // Of a silent lane the other idle ones take their shares before it is granted more.
        for (lane_id i = 0; i != lanes_.size() && lanes_[id].left; ++i) {
            if (lanes_[i].is != lane::state::ready || lanes_[i].is_thief) continue;
            if (running() > wanted_lanes()) return;
            holding const rest{id, *lanes_[id].left};
            if (auto const bytes = divide(rest, as_thief(i, typical), windows_.stealing))
                steal(id, i, *bytes);
        }
    }

    void steal(lane_id from, lane_id by, segment bytes) {
        ++report_.steals;
        observer_->on(bytes_stolen{from, by, bytes, false});
        lane& l = lanes_[from];
        l.left = l.left->before(bytes.first);
        if (!l.left) leave(from);
        lanes_[by].left = bytes;
        ask(by, {bytes, true});
    }

    // A hedge got its reply. If the other lane still has something to bring, it ends there.
    void settle_hedge(lane_id id) {
        lane_id const of = *lanes_[id].hedge_of;
        if (!lanes_[of].left) return leave(id);
        if (lanes_[of].is != lane::state::receiving) return win_hedge(id);
        lanes_[of].thief = id;
        actions_.push_back(action::revoke{of});
    }
    void win_hedge(lane_id id) {
        lane_id const of = *std::exchange(lanes_[id].hedge_of, std::nullopt);
        segment const left = *lanes_[of].left;
        ++report_.hedges_won;
        observer_->on(bytes_stolen{of, id, left, true});
        leave(of);
        claim(id, left);
    }
    void lose_hedge_of(lane_id id) {
        if (auto const hedge = hedge_on(id)) leave(*hedge);
    }
    // The other lane has failed: what it had left is the hedge's own now.
    void inherit(lane_id id, segment left) {
        lane& l = lanes_[id];
        l.hedge_of.reset();
        l.left = left;
        if (l.is == lane::state::admitted) claim(id, left);
    }

    // ---- bytes in place -------------------------------------------------------------------

    [[nodiscard]] piece_expectation pieces() const noexcept { return pieces_of(verifier_); }

    // Pieces tile the whole object.
    [[nodiscard]] bool pieces_fit(std::uint64_t size) const noexcept {
        auto const [each, count] = pieces();
        if (each == 0) return true;
        return count == size / each + (size % each == 0 ? 0 : 1) && wanted_.first == 0 &&
               (size == 0 || wanted_.last >= size - 1);
    }

    // Bytes from the beginning that may be hashed and handed on.
    [[nodiscard]] std::uint64_t safe_frontier() const noexcept {
        return pieces().size == 0 ? ledger_.frontier() : ledger_.proven_frontier();
    }

    // What is in place is proven, handed on, or hashed while it is warm; one job at a time.
    void look_at_bytes() {
        if (running_job_ || !sink_ready_) return;
        if (prove_piece()) return;
        if (sink_.window != 0) return deliver(false);
        if (!verifier_.wanted() || !report_.identity.size) return;
        std::uint64_t const there = safe_frontier();
        if (there - hashed_ >= windows_.hash_from) hash_up_to(there);
    }

    bool prove_piece() {
        if constexpr (piece_verifier<Verifier>) {
            // While the size is not known, a sink may have to move what it holds.
            bool const may_move = !report_.identity.size && sink_.window == 0;
            if (pieces().size == 0 || may_move) return false;
            auto const piece = ledger_.unproven_piece(pieces().size);
            if (!piece) return false;
            proving_ = *piece;
            run(job::hash_piece, in_sink(*piece));
            return true;
        }
        return false;
    }

    void judge_piece(digest_value const& got) {
        if constexpr (piece_verifier<Verifier>) {
            std::uint64_t const index = proving_.first / pieces().size;
            bool const right = verifier_.matches_piece(index, got);
            auto const known = std::ranges::find(suspects_, proving_, &suspect::piece);
            if (right) {
                if (known != suspects_.end()) suspects_.erase(known);
                ledger_.prove(proving_);
                return;
            }
            if (!ranged_)
                return fail(failure::of(error::digest_mismatch, phase::verify,
                                        "piece " + std::to_string(index) + ", bytes " +
                                            to_string(proving_) +
                                            ", and the server sends no ranges to get it again"));
            suspect& s = known != suspects_.end() ? *known : suspects_.emplace_back(proving_);
            if (++s.tries == tries_of_a_piece)
                return fail(failure::of(error::digest_mismatch, phase::verify,
                                        "piece " + std::to_string(index) + ", bytes " +
                                            to_string(proving_) + ", came wrong " +
                                            std::to_string(tries_of_a_piece) + " times"));
            ++report_.pieces_failed;
            report_.bytes_twice += proving_.size();
            report_.bytes -= proving_.size();
            ledger_.reject(proving_);
            observer_->on(piece_failed{index, proving_});
        }
    }

    // Hands whole chunks on, a part of the window at a time, so that lanes can go on meanwhile; at
    // the end all that is left.
    void deliver(bool rest) {
        std::uint64_t there = safe_frontier() - delivered_;
        std::uint64_t const chunk = sink_.chunk;
        if (!rest) there = there / chunk * chunk;
        std::uint64_t const at_once = std::max(chunk, sink_.window / 4 / chunk * chunk);
        there = std::min(there, at_once);
        if (there == 0) return;
        delivering_to_ = delivered_ + there;
        run(job::deliver, {delivered_, delivering_to_ - 1});
    }

    [[nodiscard]] segment in_sink(segment s) const noexcept {
        return {s.first - wanted_.first, s.last - wanted_.first};
    }

    void hash_up_to(std::uint64_t there) {
        hashing_to_ = std::min(there, hashed_ + windows_.hash);
        run(job::hash, {hashed_, hashing_to_ - 1});
    }

    // ---- time -----------------------------------------------------------------------------

    void look_at_clock(lane_id id, std::uint64_t read) {
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
            if (read != l.seen) {
                l.seen = read;
                l.seen_at = now_;
                tick_at_ = std::min(tick_at_, from_now(tick));
            } else if (now_ - l.seen_at >= request_.timeouts.stall) {
                end_grant(l, l.in_place);
                // Only the framing's end is missing, and nobody needs it.
                if (!l.left && ranged_) return lease_done(id, {});
                auto const at = l.left ? l.left->first : reached();
                return lane_failed(
                    id, failure::of(error::stalled, phase::body, "at byte " + std::to_string(at)));
            }
            if (now_ >= l.until) look_again(l);
            break;
        case lane::state::waiting:
            if (now_ < l.until) break;
            // Nobody but the opener asks what the object is.
            if (!identity_known_ || (has_work() && !paused_ && at_work() < wanted_lanes()))
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
            if (pace_at_ && sink_ready_ && !paused_) no_later(*pace_at_);
            if (keeps_an_eye()) no_later(tick_at_);
            // Somebody must stay awake, however long the pause.
            if (paused_) no_later(from_now(longest_sleep));
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

    // Whether lanes' rates are worth looking at: there may be something to divide among them.
    [[nodiscard]] bool keeps_an_eye() const noexcept {
        return lanes_.size() > 1 && ranged_ && identity_known_ && !paused_ &&
               std::ranges::any_of(lanes_, [](lane const& l) {
                   return l.is == lane::state::receiving ||
                          (l.is == lane::state::requesting && l.left);
               });
    }

    // As long as nothing comes, it is looked at less and less often.
    void sample_rates() {
        std::uint64_t in_flight = 0;
        for (lane& l : lanes_) {
            if (l.is != lane::state::receiving) continue;
            in_flight += l.in_place;
            if (now_ - l.sampled_at >= tick / 2) sample_rate(l);
        }
        bool const moving = received_ + in_flight != received_at_tick_;
        received_at_tick_ = received_ + in_flight;
        tick_now_ = moving ? tick : after(tick_now_, 3 * std::min(tick_now_, instant::max() / 3));
        tick_at_ = from_now(tick_now_);
    }

    // The longer it is since the last time, the more it counts.
    void sample_rate(lane& l) const noexcept {
        double const past = in_seconds(now_ - l.sampled_at);
        if (past <= 0) return;
        std::uint64_t const bytes = l.bytes + l.in_place;
        double const rate = static_cast<double>(bytes - l.sampled) / past;
        double const weight = l.rate <= 0 ? 1 : 1 - std::exp(-past / 0.2);
        l.rate += weight * (rate - l.rate);
        l.sampled = bytes;
        l.sampled_at = now_;
    }

    [[nodiscard]] static double in_seconds(std::chrono::nanoseconds time) noexcept {
        return std::chrono::duration<double>{time}.count();
    }

    // An observer that wants to hear after so many bytes.
    void tell_step() {
        std::uint64_t const step = step_of(*observer_);
        if (step == 0 || winding_up_) return;
        told_at_ = std::min(told_at_, bytes_now());
        if (bytes_now() - told_at_ >= step) tell_progress();
    }

    [[nodiscard]] std::uint64_t bytes_now() const noexcept {
        std::uint64_t bytes = report_.bytes;
        for (lane const& l : lanes_)
            if (l.is == lane::state::receiving) bytes += l.in_place;
        return bytes;
    }

    void tell_progress() {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane const& l = lanes_[i];
            bool const receiving = l.is == lane::state::receiving;
            lanes_shown_[i] = {activity(l), l.bytes + (receiving ? l.in_place : 0),
                               l.held ? std::optional{l.held->bytes} : std::nullopt};
        }
        auto const total = identity_known_ && report_.identity.size
                               ? std::optional{empty_ ? 0 : wanted_.size()}
                               : std::nullopt;
        progress p{.bytes = bytes_now(),
                   .total = total,
                   .elapsed = now_ - started_at_,
                   .lanes = lanes_shown_};
        told_at_ = p.bytes;
        rate_.update(p.bytes, in_seconds(p.elapsed));
        p.rate = rate_.whole();
        if (total && p.rate != 0) p.left = rate_.time_for(*total - std::min(*total, p.bytes));
        observer_->on(p);
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

    // Every byte is in place: handed on, digest, sync, publish, in this order.
    void wind_up() {
        if (!std::exchange(winding_up_, true)) {
            report_.to_last_byte = now_ - started_at_;
            close_all();
            if (progress_at_ || step_of(*observer_) != 0) tell_progress();
        }
        if (running_job_ || !sink_ready_) return;
        std::uint64_t const size = empty_ ? 0 : wanted_.size();
        if (sink_.window != 0 && delivered_ < size) return deliver(true);
        if (verifier_.wanted() && hashed_ < size) return hash_up_to(size);
        if (verifier_.wanted() && !digest_done_) return run(job::finish_hash);
        if (pieces().size != 0) report_.digest_verified = true;
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
        observer_->on(download_ended{report_.failed ? std::addressof(*report_.failed) : nullptr,
                                     report_.bytes, report_.elapsed});
        actions_.push_back(action::finish{});
    }

    void close_all() {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            if (!is_running(lanes_[i])) continue;
            bool const idle = lanes_[i].is == lane::state::ready;
            if (lanes_[i].is == lane::state::receiving)
                give_back_rest(lanes_[i], lanes_[i].in_place);
            lanes_[i].is = lane::state::idle;
            actions_.push_back(action::close{i, idle});
        }
    }

    void run(job what, segment bytes = {}, std::optional<std::uint64_t> size = std::nullopt) {
        running_job_ = what;
        actions_.push_back(action::run{what, bytes, size});
    }

    [[nodiscard]] static constexpr engine_windows positive(engine_windows w) noexcept {
        constexpr auto one = std::uint64_t{1};
        for (std::uint64_t* size : {&w.grant, &w.opening, &w.hash, &w.hash_from, &w.stripe})
            *size = std::max(*size, one);
        return w;
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
    Pacer pacer_;
    Observer* observer_;
    engine_windows windows_;
    sink_shape sink_;
    std::uint64_t random_;

    segment wanted_{0, max_offset};
    cleave::ledger ledger_;
    std::vector<lane> lanes_;
    std::vector<lane_progress> lanes_shown_;
    std::vector<holding> holdings_; // kept, as is the next, so that no memory is needed later
    admission judged_;
    std::uint32_t useful_lanes_;
    std::uint64_t stripe_ = 0; // 0: leases are as long as the planner makes them
    std::uint32_t given_up_ = 0;
    std::uint32_t refusals_ = 0;
    std::uint64_t turns_ = 0;
    bool paused_ = false;
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
    std::uint64_t delivered_ = 0;
    std::uint64_t delivering_to_ = 0;
    segment proving_;
    std::vector<suspect> suspects_;
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
    std::optional<instant> pace_at_;
    instant tick_at_{0};
    instant tick_now_ = tick;
    std::uint64_t received_ = 0; // over all lanes, and never less than it was
    std::uint64_t received_at_tick_ = 0;
    std::uint64_t told_at_ = 0;
    smooth_rate rate_;
    mean_time connect_time_;
    mean_time reply_time_;

    cleave::report report_;
    std::vector<any_action> actions_;
    std::size_t next_action_ = 0;
};

} // namespace cleave
