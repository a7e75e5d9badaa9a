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
#include <cleave/engine/checked_runs.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/engine/failure_kinds.hpp>
#include <cleave/engine/lane.hpp>
#include <cleave/engine/ledger.hpp>
#include <cleave/engine/mirrors.hpp>
#include <cleave/engine/rates.hpp>
#include <cleave/engine/report.hpp>
#include <cleave/engine/sink_room.hpp>
#include <cleave/engine/stealing.hpp>
#include <cleave/http/admit.hpp>
#include <cleave/http/body.hpp>
#include <cleave/http/redirect.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/text.hpp>
#include <cleave/http/validator.hpp>
#include <cleave/journal/concept.hpp>
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

/// Sizes of the engine's windows, in bytes; 0 counts as 1 where it is not said to mean something.
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
    /// What is fetched again, and compared, where a lane goes on behind bytes that came over
    /// another URL or in an earlier run; 0 for nothing.
    std::uint64_t sample = std::uint64_t{4} << 10;
    /// Segments that a lane may ask for before the present one has come whole; 0 for none. As many
    /// of them are asked for as a reply takes time for.
    std::uint32_t ahead = 16;
    stealing_limits stealing{};
};

/// What the engine must know of the sink.
struct sink_shape {
    /// Bytes that an ordered sink can hold, and hands on at a time; 0 and 0 of any other.
    std::uint64_t window = 0;
    std::uint64_t chunk = 0;
    /// Whether bytes can be read back.
    bool readable = false;
};

/// What else the engine must know of the policies that act.
struct engine_surroundings {
    sink_shape sink{};
    /// How often the journal wants to be told; there need not be one.
    journal_interval journal{};
    /// Whether there is a source of fresh requests.
    bool can_refresh = false;
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
           engine_surroundings around = {})
        : request_(std::move(what)), planner_(std::move(planner)), lane_rule_(std::move(lanes)),
          renewal_rule_(std::move(renewal)), verifier_(std::move(verifier)),
          pacer_(std::move(pacer)), observer_(std::addressof(watching)),
          windows_(positive(windows)), sink_(around.sink), room_(sink_.window, sink_.chunk),
          record_every_(around.journal), can_refresh_(around.can_refresh), random_(request_.seed),
          mirrors_(request_),
          may_join_(mirrors_.size() > 1 && (pieces().size != 0 || verifier_.wanted())),
          lanes_(std::max<std::uint32_t>(lane_rule_.most(), 1)), lanes_shown_(lanes_.size()),
          useful_lanes_(room_.divide(static_cast<std::uint32_t>(lanes_.size()),
                                     std::max(windows_.stripe, pieces().size))) {
        if (request_.part) wanted_ = *request_.part;
        for (mirror& m : mirrors_) prepare(m);
        choices_.reserve(mirrors_.size());
        if (pieces().size != 0) mirrors_.reserve(2 * lanes_.size() + 2);
        checked_.reserve(2 * lanes_.size() + 2);
        ledger_.reserve(2 * lanes_.size() + 2);
        for (lane& l : lanes_) l.ahead.reserve(std::min(windows_.ahead, 16U));
        actions_.reserve(5 * lanes_.size() + 8);
        holdings_.reserve(lanes_.size());
    }

    void step(any_event const& e, instant now) {
        now_ = now;
        // What the lanes still had to say does not matter any more once the end is decided.
        if (ended_ && !std::holds_alternative<event::job_ended>(e) &&
            !std::holds_alternative<event::recalled>(e))
            return;
        std::visit([this](auto const& one) { this->on(one); }, e);
        if (!ended_ && !finished_) go_on();
        // Whoever was to find out has left: fewer lanes are wanted, or none for now.
        if (!anybody_goes_on()) wake_parked();
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
    /// With the target and the headers that are in use at the first mirror.
    [[nodiscard]] cleave::request const& request() const noexcept { return request_; }
    /// Where a lane connects to, and whether it may show there who the caller is: not where another
    /// led to.
    [[nodiscard]] url const& target_of(lane_id id) const noexcept { return at(lanes_[id]).target; }
    [[nodiscard]] bool may_identify(lane_id id) const noexcept {
        return same_origin(target_of(id), home_);
    }
    [[nodiscard]] Verifier const& verifier() const noexcept { return verifier_; }
    /// Whether it wants to be woken often, to look at how fast the lanes are: there may be
    /// something to divide among them.
    [[nodiscard]] bool keeps_an_eye() const noexcept {
        return lanes_.size() > 1 && ranged_ && identity_known_ && !paused_ &&
               std::ranges::any_of(lanes_, [](lane const& l) {
                   return l.is == lane::state::receiving ||
                          (l.is == lane::state::requesting && l.left);
               });
    }
    /// Everything that is wanted; its end is a guess until the first reply is accepted.
    [[nodiscard]] segment wanted() const noexcept { return wanted_; }
    /// What a journal is to hold now, for `job::record`; of grants that are being filled, what was
    /// in place when last looked at. Claims nothing where nothing may be resumed.
    [[nodiscard]] resume_state state_to_keep() const {
        if (!may_resume()) return {};
        checked_runs all = checked_;
        for (lane const& l : lanes_)
            if (auto const run = in_flight(l)) all.insert(*run);
        identity of = report_.identity;
        // Of what several brought no one's validator says anything: only the digest does.
        if (joins()) of = {of.size, {}, {}};
        return {std::move(of), wanted_, mirrors_[joins() ? 0 : in_use_].shown,
                expectation_of(verifier_), all.list()};
    }

  private:
    // The lane whose first request tells what the object is.
    static constexpr lane_id opener = 0;
    // How often lanes' rates are looked at while bytes arrive.
    static constexpr instant tick = std::chrono::milliseconds{50};
    static constexpr instant longest_sleep = std::chrono::hours{1};
    static constexpr std::uint32_t tries_of_a_piece = 3;
    // How often mirrors that do not go together are asked one at a time.
    static constexpr std::uint32_t most_rounds_alone = 2;

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
        last_byte_at_ = now_;
        use_until();
        if (e.failed) return fail(*e.failed);
        if (auto wrong = find_fault()) return fail(*std::move(wrong));
        journal_ = e.journal;
        if (journal_) return run(job::recall);
        connect(opener);
    }

    void on(event::recalled const& e) {
        running_job_.reset();
        // From here on the sink and the journal have something open; or it is not ours to remove.
        sink_touched_ = !e.failed;
        untouched_ = e.state != nullptr;
        if (ended_) return end_badly(job::recall);
        if (e.failed) return fail(*e.failed);
        if (e.state && fits(*e.state)) {
            recalled_ = *e.state;
            if (auto const of = mirror_of(e.state->url)) in_use_ = *of;
            wanted_ = recalled_->wanted;
            ledger_.reset(wanted_);
            return check_next();
        }
        connect(opener);
    }

    void on(event::refreshed const& e) {
        refreshing_ = false;
        observer_->on(request_refreshed{e.failed ? e.failed->code : std::error_code{}});
        if (e.failed) {
            // Other mirrors may do without, or do so already.
            if (mirrors_[0].dropped) return wake_parked();
            if (!give_up_mirror(0, *e.failed)) fail(*e.failed);
            return;
        }
        request_.url_error = e.fresh->url_error;
        request_.valid_for = e.fresh->valid_for;
        home_ = e.fresh->target;
        mirrors_[0].first.reset();
        use(0, e.fresh->target, e.fresh->headers);
        if (auto wrong = find_request_fault()) return fail(*std::move(wrong));
        use_until();
        wake_parked();
    }

    void on(event::connected const& e) {
        lane& l = lanes_[e.lane];
        // An event may have been on its way when the lane was closed: here and below.
        if (l.is != lane::state::connecting) return;
        l.is = lane::state::ready;
        l.used = l.kept = e.kept;
        l.waited = l.in_order = l.asked_too_much = false;
        ++report_.connections;
        if (e.kept)
            ++report_.kept_connections;
        else
            connect_time_.add(now_ - l.asked_at);
        l.proxy = e.about.proxy;
        if (e.about.handshake == handshake::full) ++report_.handshakes_full;
        if (e.about.handshake == handshake::resumed) ++report_.handshakes_resumed;
        observer_->on(lane_connected{e.lane, e.kept});
    }

    void on(event::head_bytes const& e) {
        lane& l = lanes_[e.lane];
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
            return judge(e.lane, e.bytes.size() - read.consumed);
        }
    }

    void on(event::grant_ended const& e) {
        lane& l = lanes_[e.lane];
        if (l.is != lane::state::receiving) return;
        end_grant(l, e.bytes, e.crc);
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
        data_lost_ = data_lost_ || e.data_lost || (e.failed && e.what == job::sync);
        if (ended_) return end_badly(e.what);
        // Without its journal the file is as right as with it.
        if (e.what == job::forget) return finish();
        if (e.what == job::check)
            return compare_check(e.failed ? std::nullopt : std::optional{e.crc});
        if (e.what == job::record && e.failed && winding_up_ && !e.data_lost) {
            // Nothing needs to be recorded of what is about to be published.
            recorded_ = recording_;
            return;
        }
        if (e.failed) return fail(*e.failed);
        switch (e.what) {
        case job::recall:
        case job::check:
        case job::forget:
        case job::keep:
        case job::abandon: break;
        case job::record:
            recorded_at_ = now_;
            recorded_ = recording_;
            break;
        case job::open:
            sink_ready_ = std::exchange(opening_, false);
            recorded_at_ = now_;
            break;
        case job::hash:
            // After a restart, what was hashed is not what counts.
            if (sink_ready_) hashed_ = hashing_to_;
            break;
        case job::hash_piece:
            if (sink_ready_) judge_piece(e.digest);
            break;
        case job::deliver:
            delivered_ = delivering_to_;
            if (verifier_.wanted()) hashed_ = delivered_;
            break;
        case job::finish_hash:
            if (!verifier_.matches(e.digest)) {
                if (!try_alone()) fail(failure::of(error::digest_mismatch, phase::verify));
                return;
            }
            report_.digest_verified = true;
            digest_done_ = true;
            if (one_at_a_time_) name_the_other();
            break;
        case job::sync: synced_ = true; break;
        case job::publish:
            if (journal_) return run(job::forget);
            return finish();
        }
    }

    void on(event::woke const& e) {
        timer_at_.reset();
        on(event::looked{e.lanes});
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

    void on(event::looked const& e) {
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (is_receiving(lanes_[i])) see_in_place(lanes_[i], e.lanes[i]);
    }

    void on(event::cancelled const&) { fail(failure::of(error::cancelled, phase::setup)); }

    void on(event::paused const& e) {
        if (std::exchange(paused_, e.rest) == e.rest) return;
        observer_->on(download_paused{e.rest});
        if (!e.rest) {
            last_byte_at_ = now_; // nobody could send any
            return;
        }
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

    [[nodiscard]] static failure setup(std::error_code ec) {
        return {ec, cause::configuration, phase::setup, 0, std::nullopt, {}};
    }

    // What a fresh request may have wrong, too.
    [[nodiscard]] std::optional<failure> find_request_fault() const {
        if (request_.url_error) return setup(request_.url_error);
        if (request_.target.empty()) return setup(error::bad_url);
        for (url const& m : request_.mirrors)
            if (m.empty()) return setup(error::bad_url);
        if (auto ec = check_headers(request_.headers, request_.user_agent)) return setup(ec);
        return std::nullopt;
    }

    [[nodiscard]] std::optional<failure> find_fault() {
        auto const& t = request_.timeouts;
        auto const positive = [](std::chrono::nanoseconds time) { return time > time.zero(); };
        if (auto wrong = find_request_fault()) return wrong;
        if (!positive(t.connect) || !positive(t.head) || !positive(t.stall) ||
            (t.deadline && !positive(*t.deadline)))
            return setup(error::bad_timeout);
        if (!wanted_.valid()) return setup(error::bad_segment);
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

    void prepare(mirror& m) {
        if constexpr (learning_verifier<Verifier>) {
            std::string_view const name = "Want-Repr-Digest";
            std::erase_if(m.headers,
                          [&](header const& h) { return detail::http_same(h.name, name); });
            if (std::string_view const asks = verifier_.asks(); !asks.empty())
                m.headers.push_back({std::string{name}, std::string{asks}});
        }
        std::size_t longest = 2048 + 2 * m.target.target().size() + request_.user_agent.size();
        for (header const& h : m.headers) longest += h.name.size() + h.value.size() + 4;
        longest_request_ = std::max(longest_request_, longest);
    }

    void use_until() noexcept {
        use_until_.reset();
        if (!request_.valid_for || !can_refresh_) return;
        // A tenth of it, half a minute at most, is left for what is on its way then.
        auto const margin =
            std::min<std::chrono::nanoseconds>(*request_.valid_for / 10, std::chrono::seconds{30});
        use_until_ = from_now(*request_.valid_for - margin);
    }

    // From now on this is asked, by all lanes that ask there.
    void use(std::size_t where, url const& target, std::vector<header> headers) {
        mirror& m = mirrors_[where];
        bool const elsewhere = !same_origin(m.target, target);
        m.target = target;
        m.headers = std::move(headers);
        prepare(m);
        m.request_number = mirrors_.next_number();
        if (elsewhere) m.server_number = m.request_number;
        if (where == 0) {
            request_.target = m.target;
            request_.headers = m.headers;
        }
        // Where nothing is in place there is nothing to compare.
        if (!identity_known_ && !recalled_)
            for (lane& l : lanes_) l.proven_with = m.request_number;
    }
    [[nodiscard]] mirror& at(lane const& l) noexcept { return mirrors_[l.mirror]; }
    [[nodiscard]] mirror const& at(lane const& l) const noexcept { return mirrors_[l.mirror]; }

    // ---- redirects ------------------------------------------------------------------------

    static constexpr std::uint32_t most_redirects = 10;

    void follow(lane_id id) {
        lane& l = lanes_[id];
        l.used = true;
        mirror& m = at(l);
        // Another lane may have been led on meanwhile.
        if (l.asked_with == m.request_number) {
            std::error_code ec;
            response_head const& head = l.reply.head();
            url const to = redirect_target(m.target, head, ec);
            if (!ec && ++m.redirects > most_redirects) ec = error::too_many_redirects;
            if (ec) {
                failure what{ec,           cause_of(static_cast<error>(ec.value())),
                             phase::head,  head.status(),
                             std::nullopt, {}};
                if (!to.empty()) what.detail = "redirected to " + to.to_string();
                return lane_failed(id, std::move(what));
            }
            if (!m.first) m.first = mirror::first_request{m.target, m.headers};
            // What was given for one origin is for no other.
            bool const stays = same_origin(m.target, to);
            use(l.mirror, to, stays ? m.headers : std::vector<header>{});
            ++report_.redirects;
        }
        ask_anew(id);
    }

    // Where a redirect has led to a URL that does not hold any more, the first one is asked again,
    // once. False: there is no other.
    bool go_back_to_first(lane_id id, failure const& what) {
        mirror& m = at(lanes_[id]);
        bool const may = m.first && !m.went_back &&
                         (what.kind == cause::renewable || what.code == error::not_found);
        if (!may || what.where != phase::head) return false;
        if (lanes_[id].asked_with == m.request_number) {
            m.went_back = true;
            auto first = *std::exchange(m.first, std::nullopt);
            m.redirects = 0;
            use(lanes_[id].mirror, first.target, std::move(first.headers));
        }
        ask_anew(id);
        return true;
    }

    // The lane's lease is owed again, and it asks by way of the present request.
    void ask_anew(lane_id id) {
        release(id);
        if (ended_) return;
        drop_connection(id);
        connect(id);
    }

    // ---- replies --------------------------------------------------------------------------

    // `behind`: bytes that came along with the head.
    void judge(lane_id id, std::size_t behind) {
        lane& l = lanes_[id];
        l.used = true;
        l.kept = l.stale_retried = false;
        // One that was asked for ahead has had time to come.
        bool const ahead = std::exchange(l.was_asked_ahead, false);
        if (!ahead) reply_time_.add(now_ - l.asked_at);
        if (is_redirect(l.reply.head().status())) return follow(id);
        admission& a = judged_;
        admit(l.reply.head(), *l.held, wanted_, known(l), a);
        if (a.refused) {
            // It is a reply to something else.
            if (ahead && is_about_ranges(a.refused->code)) return lose_ahead(id);
            // What an earlier run left is of another object, or cannot be gone on with.
            if (recalled_ && is_of_another_object(*a.refused)) {
                if (joins() && has_other(id)) return lane_failed(id, *std::move(a.refused));
                return begin_afresh(id);
            }
            // Some servers refuse any range of an object that they would send whole.
            bool const try_whole = !identity_known_ && ranged_ && wanted_.first == 0 &&
                                   a.refused->code == error::range_not_satisfiable;
            if (try_whole) return ask_for_whole(id);
            if (go_back_to_first(id, *a.refused)) return;
            bool const read_whole = ends_with_head(l.reply.head(), behind);
            return lane_failed(id, *std::move(a.refused), read_whole);
        }
        bool const opening = !identity_known_;
        if (opening) {
            // A range of an object of unknown size: there is nothing to plan.
            if (!a.nothing && a.ranges && !a.object.size) return ask_for_whole(id);
            if (!learn(id, a, l.reply.head())) return;
        }
        if (!at(l).known) at(l).known = a.object;
        l.proven_with = l.asked_with;
        at(l).redirects = 0;
        accept(id, a, opening);
    }

    // What a lane's replies are compared with; nothing before the first. Of a mirror that has not
    // been heard of yet, only the size is known.
    [[nodiscard]] identity const* known(lane const& l) const noexcept {
        if (identity_known_) return at(l).known ? std::addressof(*at(l).known) : &sized_;
        return recalled_ ? &recalled_->identity : nullptr;
    }

    // Whether a reply that is not wanted is all there, so that the connection may be used again.
    [[nodiscard]] static bool ends_with_head(response_head const& head, std::size_t behind) {
        framing_result const body = read_framing(head);
        return !body.bad && body.framing.is == body_framing::kind::length &&
               body.framing.length == behind && keeps_connection(head);
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
    bool learn(lane_id id, admission const& a, response_head const& head) {
        if (auto const size = size_told(a); size && !pieces_fit(*size) && has_other(id)) {
            lane_failed(id, failure::of(error::mirror_differs, phase::head,
                                        "it has " + std::to_string(*size) + " bytes"));
            return false;
        }
        if constexpr (learning_verifier<Verifier>) {
            // It is of the whole object (RFC 9530, section 3), and tells nothing of a part.
            auto const ec =
                verifier_.learn(request_.part ? std::string{} : joined(head, "Repr-Digest"));
            if (ec) {
                failure why{ec, cause::permanent, phase::verify, head.status(), std::nullopt, {}};
                if (!give_up_mirror(lanes_[id].mirror, why)) fail(std::move(why));
                return false;
            }
        }
        report_.identity = at(lanes_[id]).known.emplace(a.object);
        report_.ranges = a.ranges;
        if (report_.to_first_reply == instant{0}) report_.to_first_reply = now_ - started_at_;
        identity_known_ = true;
        if (!a.ranges) ranged_ = false;
        auto const size = size_told(a);
        if (size && !learn_size(*size)) return false;
        open_wanted_ = true;
        observer_->on(object_known{report_.identity, report_.ranges});
        if (recalled_)
            resume();
        else
            ledger_.reset(wanted_);
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
        report_.identity.size = sized_.size = size;
        for (mirror& m : mirrors_)
            if (m.known) m.known->size = size;
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
            if (report_.bytes != 0 && *size < reached()) return ends_too_early();
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
        if (opening && resumed_) {
            // Everything was there: nothing but the reply's head was wanted.
            if (!l.left) return leave(id);
            claim(id, *l.left);
        } else if (opening || !ranged_) {
            // Nothing is in place yet, unless a sink cannot take back what it has handed on.
            auto const fresh = l.reply_bytes.from(wanted_.first + ledger_.frontier());
            if (!fresh) return ends_too_early();
            claim(id, *fresh);
            ledger_.take(*l.left);
            if (!ranged_) keep_only(id);
        } else if (l.hedge_of) {
            settle_hedge(id);
        } else {
            claim(id, *l.left);
        }
    }

    // More than it has was handed on already.
    void ends_too_early() {
        fail(failure::of(error::size_changed, phase::head,
                         "it ends before byte " + std::to_string(reached())));
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
        return room_.until(wanted_.first + delivered_);
    }
    // The part of a gap that may be asked for now.
    [[nodiscard]] std::optional<segment> within_room(segment gap) const noexcept {
        return room_.part_of(gap, wanted_.first, wanted_.first + delivered_);
    }

    // Lanes that wait get their grants in turn, as far as sink, pacer and caller let them.
    void grant_in_turn() {
        if (!sink_ready_ || paused_ || (pace_at_ && now_ < *pace_at_)) return;
        // A crash loses no more than that and what lanes have in flight, however slow the disk.
        if (record_is_due()) return;
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

    // False: the pacer says later, or the download has ended.
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
        if (!ask_ahead(id)) return false;
        look_soon();
        l.is = lane::state::receiving;
        l.crc = 0;
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
                                           .compare = l.sample,
                                           .framing = l.framing,
                                           .last = whole_reply && l.grant.last == l.left->last,
                                           .to_the_end = must_end(l)});
        return true;
    }

    // The lane's grant ends; so much of it is in place.
    void end_grant(lane& l, std::uint64_t bytes, std::uint32_t crc) {
        give_back_rest(l, bytes);
        l.is = lane::state::admitted;
        if (bytes > l.in_place) note_bytes(l);
        l.in_place = 0;
        if (auto const arrived = segment::of(l.grant.first, bytes)) {
            got_bytes(l);
            ledger_.commit(*arrived);
            if (journal_ && ranged_) checked_.insert({*arrived, crc});
            l.left = arrived->last == max_offset ? std::nullopt : l.left->from(arrived->last + 1);
            l.bytes += bytes;
            at(l).bytes += bytes;
            at(l).took_part = true;
            if (mirrors_.size() > 1 && pieces().size != 0) at(l).brought.insert(*arrived);
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
    void see_in_place(lane& l, event::lane_window const& w) noexcept {
        if (w.in_place > l.in_place) got_bytes(l);
        l.in_place = w.in_place;
        l.crc = w.crc;
    }
    // Of the present grant, what is in place.
    [[nodiscard]] static std::optional<checked_segment> in_flight(lane const& l) noexcept {
        if (l.is != lane::state::receiving) return std::nullopt;
        auto const bytes = segment::of(l.grant.first, l.in_place);
        return bytes ? std::optional{checked_segment{*bytes, l.crc}} : std::nullopt;
    }
    [[nodiscard]] std::uint64_t bytes_in_flight() const noexcept {
        std::uint64_t bytes = 0;
        for (lane const& l : lanes_)
            if (is_receiving(l)) bytes += l.in_place;
        return bytes;
    }
    // The server is there: whoever waited for that goes on.
    void got_bytes(lane const& by) noexcept {
        last_byte_at_ = now_;
        mirror& m = at(by);
        m.failures = 0;
        // Those that come after all by way of an old request say nothing for the fresh one.
        if (!refreshing_ && by.asked_with == m.request_number) {
            if (by.mirror == 0) refreshed_ = 0;
            m.went_back = false;
        }
        if (std::exchange(fruitless_, false)) wake_parked();
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
        // Behind it may come what was asked for ahead.
        bool const exact = e.body_ended && (!e.bytes_left_over || !l.ahead.empty());
        if (must_end(l) && !exact)
            return fail(failure::of(error::size_changed, phase::body,
                                    "it goes on behind byte " + std::to_string(wanted_.last)));
        l.held.reset();
        l.tries = 0;
        l.attempt_bytes = 0;
        l.sample = 0;
        sample_rate(l);
        lose_hedge_of(id);
        if (!l.reusable || !exact || e.failed) return drop_connection(id);
        l.in_order = true;
        if (!l.ahead.empty()) return go_on_with_ahead(id);
        if (l.asked_too_much) return drop_connection(id);
        l.is = lane::state::ready;
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

    // `read_whole`: it failed by a reply that is all there; the connection still serves.
    void lane_failed(lane_id id, failure what, bool read_whole = false) {
        if (ended_) return;
        lane& l = lanes_[id];
        bool const stale = what.where == phase::head && l.held && l.reply.untouched() &&
                           (l.used || l.waited) && what.kind == cause::passing &&
                           what.code != error::head_timeout && what.code != error::closed_in_head;
        bool const renewable = what.kind == cause::renewable && can_refresh_ && l.mirror == 0;
        bool const outdated = renewable && l.asked_with != at(l).request_number;
        // Before it was known to be a reply to this.
        bool const lost =
            l.was_asked_ahead && !pointless(what.kind) && what.code != error::head_timeout;
        if (!read_whole && (l.was_asked_ahead || !l.ahead.empty())) at(l).lost_one = true;
        // Behind the reply come others, which are not wanted in that order any more.
        if (!l.ahead.empty()) read_whole = false;
        release(id);
        if (ended_) return;
        if (read_whole)
            disengage(id);
        else
            drop_connection(id);

        // A kept connection may die before the server sees the request (RFC 9112, section 9.3.1).
        // Those that another download kept are only so many; then there are new ones. And who has
        // lost a request that was sent ahead gets no more of these.
        if (lost || (stale && (l.kept || !std::exchange(l.stale_retried, true)))) {
            ++report_.stale_connections;
            return connect(id);
        }
        bool const without_ranges = joins() && is_about_ranges(what.code) && has_other(id);
        if ((pointless(what.kind) && !renewable) || without_ranges) {
            if (read_whole) drop_connection(id);
            return give_in(id, std::move(what));
        }
        if (is_refusal(what)) ++refusals_;

        std::uint64_t const brought = std::exchange(l.attempt_bytes, 0);
        if (brought == 0) {
            fruitless_ = true;
            at(l).fail(what, now_);
            // Before it waits for this one, it asks another that has failed less.
            if (joins() && !renewable && mirrors_.has_better_than(l.mirror, now_)) {
                ++report_.retries;
                if (read_whole) drop_connection(id);
                tell_failure(id, what, next_step::other_mirror, std::chrono::nanoseconds{0});
                return connect(id);
            }
        }
        l.tries = brought != 0 ? 1 : l.tries + 1;
        // Somebody has asked for a fresh request already, or it has come.
        if (renewable && refreshing_) return park(id, read_whole);
        if (outdated) return go_on_with(id, read_whole);

        renewal const answer = ask_rule(what, l.tries, brought);
        if (answer.is == renewal::answer::fresh_request && can_refresh_) {
            tell_failure(id, what, next_step::fresh_request, std::nullopt);
            park(id, read_whole);
            return refresh();
        }
        bool const again = answer.is == renewal::answer::again;
        if ((!again && answer.is != renewal::answer::elsewhere) || renewable) {
            if (read_whole) drop_connection(id);
            l.is = lane::state::ended;
            ++given_up_;
            // As long as another lane goes on, it may bring what this one could not. But only one
            // asks what the object is at all.
            if (renewable || !anybody_goes_on() || (!identity_known_ && id == opener)) {
                tell_failure(id, what, next_step::none, std::nullopt);
                return give_in(id, std::move(what));
            }
            ++report_.lanes_given_up;
            return tell_failure(id, what, next_step::fewer_lanes, std::nullopt);
        }
        ++report_.retries;
        bool const stays = read_whole && again;
        if (stays)
            ++report_.retries_in_place;
        else if (read_whole)
            drop_connection(id);
        tell_failure(id, what, stays ? next_step::same_connection : next_step::new_connection,
                     answer.after);
        // Where fewer lanes are wanted now, the others will do.
        if (identity_known_ && at_work() >= wanted_lanes()) {
            if (stays) drop_connection(id);
            return;
        }
        if (answer.after <= answer.after.zero()) return go_on_with(id, stays);
        l.is = lane::state::waiting;
        l.stays = stays;
        l.until = from_now(answer.after);
        leave_it_to_one();
    }

    [[nodiscard]] renewal ask_rule(failure const& what, std::uint32_t tries,
                                   std::uint64_t brought) noexcept {
        return renewal_rule_.decide(
            {.what = what,
             .tries = tries,
             .bytes = brought,
             .time_left = deadline_ ? std::optional{*deadline_ - now_} : std::nullopt,
             .random = random(),
             .received = received_,
             .idle = now_ - last_byte_at_,
             .object_known = identity_known_,
             .can_refresh = can_refresh_,
             .refreshed = refreshed_});
    }

    void tell_failure(lane_id id, failure const& what, next_step next,
                      std::optional<std::chrono::nanoseconds> after) {
        observer_->on(attempt_failed{id, what, after, next});
    }

    // The lane tries again now: over the connection that it has, or a new one.
    void go_on_with(lane_id id, bool connected) {
        if (!connected) return connect(id);
        lanes_[id].is = lane::state::ready;
        lanes_[id].stays = false;
        lanes_[id].waited = true;
    }

    // ---- one finds out for all ------------------------------------------------------------

    // The lane waits until bytes come again, or a fresh request.
    static constexpr instant not_before_woken = instant::max();
    void park(lane_id id, bool connected) noexcept {
        lanes_[id].is = lane::state::waiting;
        lanes_[id].stays = connected;
        lanes_[id].until = not_before_woken;
    }
    [[nodiscard]] static bool is_parked(lane const& l) noexcept {
        return l.is == lane::state::waiting && l.until == not_before_woken;
    }
    void wake_parked() noexcept {
        for (lane& l : lanes_)
            if (is_parked(l)) l.until = now_;
    }
    [[nodiscard]] bool anybody_goes_on() const noexcept {
        return std::ranges::any_of(lanes_, [this](lane const& l) {
            return is_running(l) && (refreshing_ || !is_parked(l));
        });
    }
    // Nothing has come since a lane failed, and nothing is coming. Before it is known what the
    // object is, only one lane asks anyway.
    [[nodiscard]] bool all_quiet() const noexcept {
        return fruitless_ && identity_known_ && std::ranges::none_of(lanes_, [](lane const& l) {
                   return l.is == lane::state::admitted || l.is == lane::state::receiving;
               });
    }
    // Where a server is away, of those that wait only the first tries again.
    void leave_it_to_one() noexcept {
        if (!all_quiet()) return;
        std::optional<lane_id> first;
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].is == lane::state::waiting && !is_parked(lanes_[i]) &&
                (!first || lanes_[i].until < lanes_[*first].until))
                first = i;
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (lanes_[i].is == lane::state::waiting && i != first) park(i, lanes_[i].stays);
    }
    [[nodiscard]] bool another_finds_out(lane_id id) const noexcept {
        if (!all_quiet()) return false;
        for (lane_id i = 0; i != lanes_.size(); ++i)
            if (i != id && (lanes_[i].is == lane::state::connecting ||
                            lanes_[i].is == lane::state::requesting))
                return true;
        return false;
    }

    void refresh() {
        if (std::exchange(refreshing_, true)) return;
        ++refreshed_;
        ++report_.refreshes;
        use_until_.reset();
        actions_.push_back(action::refresh{});
    }
    // Only the request of the first mirror can be had afresh.
    [[nodiscard]] bool asks_first() const noexcept { return joins() || in_use_ == 0; }
    [[nodiscard]] bool waits_for_refresh(std::size_t where) const noexcept {
        return refreshing_ && (where == 0 || !joins());
    }
    // Before the request in use is refused, where it is known when that will be.
    void refresh_in_time() {
        if (!use_until_ || now_ < *use_until_ || refreshing_ || all_there() || !asks_first())
            return;
        use_until_.reset();
        failure const soon = failure::of(error::request_expires, phase::setup);
        if (ask_rule(soon, 1, 0).is == renewal::answer::fresh_request) refresh();
    }

    // ---- further steps down ---------------------------------------------------------------

    // Another attempt of the kind would not do.
    void give_in(lane_id id, failure what) {
        if (go_elsewhere(id, what)) return;
        bool const changed = what.kind == cause::identity_changed;
        // Nothing of this run is lost.
        bool const only_resumed =
            resumed_ && report_.bytes == report_.bytes_resumed && what.code == error::bytes_differ;
        if (changed && !handed_on() &&
            (only_resumed || report_.new_versions < request_.new_versions)) {
            if (!only_resumed) ++report_.new_versions;
            tell_failure(id, what, next_step::new_version, std::nullopt);
            return begin_again();
        }
        // Perhaps the beginning can be had.
        if (recalled_ && is_about_ranges(what.code)) return begin_afresh(id);
        if (ranged_ && identity_known_ && is_about_ranges(what.code)) {
            tell_failure(id, what, next_step::one_stream, std::nullopt);
            return go_on_in_one_stream();
        }
        if (changed && report_.new_versions != 0) {
            what.detail = "it changed " + std::to_string(report_.new_versions + 1) +
                          " times, the last time: " + what.message();
            what.code = error::object_unstable;
        }
        if (mirrors_.size() > 1 && is_of_server(what) && !has_other(id)) {
            mirror& last = at(lanes_[id]);
            last.dropped = true;
            last.why = what;
            what.detail = "none of " + std::to_string(mirrors_.size()) +
                          " mirrors is left, the last was " + last.shown +
                          (what.detail.empty() ? "" : ", " + what.detail);
        }
        fail(std::move(what));
    }

    // One lane fetches all of it.
    void go_on_in_one_stream() {
        report_.one_stream = true;
        set_all_aside();
        ranged_ = false;
        keep_first(ledger_.frontier());
        start_over(std::nullopt);
        if (!ended_) connect(opener);
    }
    // Of what is in place, these bytes; no lane holds any.
    void keep_first(std::uint64_t bytes) {
        report_.bytes_twice += report_.bytes - bytes;
        report_.bytes = bytes;
        std::uint64_t const proven = std::min(ledger_.proven_frontier(), bytes);
        ledger_.reset(wanted_);
        suspects_.clear();
        if (auto const prefix = segment::of(wanted_.first, bytes)) {
            ledger_.take(*prefix);
            ledger_.commit(*prefix);
        }
        if (auto const prefix = segment::of(wanted_.first, proven)) ledger_.prove(*prefix);
        if (!ledger_.owed().empty()) mirrors_.forget(ledger_.owed().front());
    }

    // The object is another one now. If that goes on, one connection is less likely to see two of
    // them.
    void begin_again() {
        set_all_aside();
        report_.bytes_twice += report_.bytes;
        if (report_.new_versions > 1) {
            report_.one_stream = true;
            ranged_ = false;
        }
        identity_known_ = false;
        forget_what_is_there();
        ++report_.restarts;
        connect(opener);
    }
    void forget_what_is_there() {
        recalled_.reset();
        resumed_ = false;
        opening_ = false;
        open_wanted_ = sink_ready_ = empty_ = false;
        wanted_ = request_.part.value_or(segment{0, max_offset});
        ledger_.reset(wanted_);
        checked_.clear();
        suspects_.clear();
        report_.bytes = report_.bytes_resumed = 0;
        hashed_ = best_ = 0;
        sized_.size.reset();
        mirrors_.forget_all();
    }
    void set_all_aside() {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane& l = lanes_[i];
            if (l.is == lane::state::receiving) give_back_rest(l, l.in_place);
            l.is = lane::state::idle;
            l.tries = 0;
            l.attempt_bytes = 0;
            leave(i);
        }
    }

    // ---- mirrors --------------------------------------------------------------------------

    // Whether bytes of several mirrors are joined: where something was given beforehand that tells
    // in the end, or piece by piece, that they are of one object. Else one is used at a time.
    [[nodiscard]] bool joins() const noexcept { return may_join_ && !one_at_a_time_; }
    // Whether only `in_use_` is asked: what an earlier run left there is gone on with by its
    // validator, too.
    [[nodiscard]] bool asks_one() const noexcept {
        return !joins() || (recalled_ && recalled_->identity.validator.is != validator::kind::none);
    }
    [[nodiscard]] bool has_other(lane_id id) const noexcept {
        return mirrors_.other_than(lanes_[id].mirror).has_value();
    }

    // Which one this lane asks next.
    [[nodiscard]] std::uint32_t choose(lane const& next) noexcept {
        if (asks_one()) return static_cast<std::uint32_t>(in_use_);
        choices_.clear();
        for (std::size_t i = 0; i != mirrors_.size(); ++i) {
            mirror const& m = mirrors_[i];
            if (!m.dropped && !waits_for_refresh(i))
                choices_.push_back({lanes_at(i, next), m.rate, m.failures_at(now_), i});
        }
        if (choices_.empty()) return static_cast<std::uint32_t>(in_use_);
        // Of a server that speaks TLS and has not been met, one lane brings a ticket for the
        // others.
        bool const met =
            std::ranges::any_of(choices_, [&](mirror_state const& c) { return !is_being_met(c); });
        if (met) std::erase_if(choices_, [&](mirror_state const& c) { return is_being_met(c); });
        if (choices_.size() == 1) return static_cast<std::uint32_t>(choices_[0].index);
        return static_cast<std::uint32_t>(
            choices_[choose_mirror(lane_rule_, std::span<mirror_state const>{choices_})].index);
    }
    [[nodiscard]] bool is_being_met(mirror_state const& c) const noexcept {
        mirror const& m = mirrors_[c.index];
        return c.lanes != 0 && !m.known && m.target.scheme() == "https";
    }
    [[nodiscard]] std::uint32_t lanes_at(std::size_t where, lane const& but) const noexcept {
        return static_cast<std::uint32_t>(std::ranges::count_if(lanes_, [&](lane const& l) {
            return &l != &but && l.mirror == where && is_running(l);
        }));
    }
    // Whether a lane that has nothing to do would do better elsewhere.
    [[nodiscard]] bool should_move(lane const& l) noexcept {
        if (!joins()) return l.mirror != in_use_;
        if (at(l).dropped) return true;
        std::uint32_t const to = choose(l);
        if (to == l.mirror || at(l).rate <= 0) return false;
        // One that nobody asks may turn out to be the better one.
        bool const untried = mirrors_[to].rate <= 0 && lanes_at(l.mirror, l) != 0;
        return untried || mirrors_[to].rate > 2 * at(l).rate;
    }

    // What was asked there is owed again, and asked of others.
    void drop_mirror(std::size_t where, failure const& why) {
        mirror& m = mirrors_[where];
        if (std::exchange(m.dropped, true)) return;
        m.why = why;
        if (where == 0) use_until_.reset();
        observer_->on(mirror_dropped{static_cast<std::uint32_t>(where), m.shown, why});
        for (lane_id i = 0; i != lanes_.size() && !ended_; ++i) {
            lane& l = lanes_[i];
            if (l.mirror != where || !is_running(l)) continue;
            if (l.is == lane::state::receiving) {
                if (ranged_)
                    end_grant(l, l.in_place, l.crc);
                else
                    give_back_rest(l, l.in_place);
            }
            release(i);
            drop_connection(i);
        }
    }

    // Whether it is too late to begin again.
    [[nodiscard]] bool handed_on() const noexcept {
        return delivered_ != 0 || running_job_ == job::deliver || winding_up_;
    }

    // Where one mirror will not do, another may. False: there is none, or nothing to be gained.
    bool go_elsewhere(lane_id id, failure const& what) {
        if (!is_of_server(what)) return false;
        std::size_t const where = lanes_[id].mirror;
        failure why = what;
        if (may_join_ && what.kind == cause::identity_changed) why.code = error::mirror_differs;
        if (!can_do_without(where, why)) return false;
        tell_failure(id, what, next_step::other_mirror, std::nullopt);
        return give_up_mirror(where, why);
    }
    [[nodiscard]] bool can_do_without(std::size_t where, failure const& why) const noexcept {
        // Which version is wanted is not for us to say.
        if (!may_join_ && why.kind == cause::identity_changed) return false;
        if (mirrors_.other_than(where)) return joins() || !handed_on();
        // Those that have another object than the first one asked may be right. They are asked
        // alone, and not often.
        bool const any = why.code == error::mirror_differs ||
                         std::ranges::any_of(mirrors_, &mirror::only_differs);
        return may_join_ && any && !handed_on() && rounds_alone_ != most_rounds_alone;
    }

    // It is not asked any more. False, and nothing done: where it cannot be done without.
    bool give_up_mirror(std::size_t where, failure const& why) {
        if (!can_do_without(where, why)) return false;
        auto const other = mirrors_.other_than(where);
        // What was begun without ranges, or by its validator alone, is begun again elsewhere.
        bool const anew = asks_one() || (!ranged_ && !handed_on());
        drop_mirror(where, why);
        if (ended_) return true;
        begin_lanes_anew();
        if (!other)
            ask_alone();
        else if (anew)
            begin_at(*other);
        return true;
    }

    // Nobody has failed yet at those that are left.
    void begin_lanes_anew() noexcept {
        for (lane& l : lanes_) {
            if (l.is == lane::state::ended) l.is = lane::state::idle;
            l.tries = 0;
            l.attempt_bytes = 0;
        }
        given_up_ = 0;
        wake_parked();
    }

    // Where only one is asked at a time, this one. What is in place is another's.
    void begin_at(std::size_t where) {
        in_use_ = where;
        ranged_ = true;
        set_all_aside();
        if (identity_known_ || recalled_) {
            report_.bytes_twice += report_.bytes;
            if (report_.bytes != 0) ++report_.restarts;
            identity_known_ = false;
            winding_up_ = false;
            forget_what_is_there();
        }
        connect(opener);
    }

    void ask_alone() {
        for (mirror& m : mirrors_)
            if (m.only_differs()) m.dropped = false;
        ++rounds_alone_;
        one_at_a_time_ = true;
        begin_lanes_anew();
        begin_at(*mirrors_.first_left());
    }

    // The digest of all bytes is wrong. Where only one mirror brought them it is the one; where
    // several did, each may be asked alone, as often as that is worth the traffic.
    bool try_alone() {
        if (mirrors_.size() == 1 || delivered_ != 0 || rounds_alone_ == most_rounds_alone)
            return false;
        std::size_t who = 0;
        std::size_t bringers = 0;
        for (std::size_t i = 0; i != mirrors_.size(); ++i) {
            if (!mirrors_[i].took_part) continue;
            mirrors_[i].suspected = true;
            who = i;
            ++bringers;
        }
        if (bringers == 1 && report_.bytes_resumed == 0)
            drop_mirror(who, failure::of(error::digest_mismatch, phase::verify));
        if (!mirrors_.first_left() && std::ranges::none_of(mirrors_, &mirror::only_differs))
            return false;
        ask_alone();
        return true;
    }

    // This one was right, so that of those that brought wrong bytes together it was another.
    void name_the_other() {
        mirrors_[in_use_].suspected = false;
        std::optional<std::size_t> other;
        for (std::size_t i = 0; i != mirrors_.size(); ++i) {
            if (!mirrors_[i].suspected || mirrors_[i].dropped) continue;
            if (std::exchange(other, i)) return;
        }
        if (other) drop_mirror(*other, failure::of(error::digest_mismatch, phase::verify));
    }

    // ---- an earlier run -------------------------------------------------------------------

    // Whether a journal may hold anything of this download: it must be possible to go on in the
    // middle, and to tell later that it is still the same object.
    [[nodiscard]] bool may_resume() const noexcept {
        return journal_ && ranged_ && identity_known_ && !empty_ && !data_lost_ &&
               report_.identity.size &&
               ((report_.identity.validator.is != validator::kind::none && !joins()) ||
                expectation_of(verifier_) != 0);
    }

    // Whether what an earlier run left may be gone on with. With the same digest expected, server
    // and validator may be others; the digest decides in the end.
    [[nodiscard]] bool fits(resume_state const& left) const {
        if (!left.identity.size || *left.identity.size == 0) return false;
        segment all{0, *left.identity.size - 1};
        if (request_.part) {
            if (request_.part->first > all.last) return false;
            all = {request_.part->first, std::min(request_.part->last, all.last)};
        }
        if (left.wanted != all || !sink_.readable || sink_.window != 0) return false;
        if (same_digest(left)) return true;
        return (expectation_of(verifier_) == 0 || left.expectation == 0) &&
               left.identity.validator.is != validator::kind::none && mirror_of(left.url);
    }
    [[nodiscard]] std::optional<std::size_t> mirror_of(std::string_view shown) const noexcept {
        for (std::size_t i = 0; i != mirrors_.size(); ++i)
            if (mirrors_[i].shown == shown) return i;
        return std::nullopt;
    }
    [[nodiscard]] bool same_digest(resume_state const& left) const noexcept {
        return left.expectation != 0 && left.expectation == expectation_of(verifier_);
    }

    // What is claimed to be in place is read again.
    void check_next() {
        if (auto const bytes = check_.next(recalled_->in_place, windows_.hash))
            return run(job::check, in_sink(*bytes));
        check_done();
    }
    // No checksum: it could not be read.
    void compare_check(std::optional<std::uint32_t> crc) {
        if (auto const right = check_.found(recalled_->in_place, crc)) {
            checked_.insert(*right);
            ledger_.take(right->bytes);
            ledger_.commit(right->bytes);
            report_.bytes += right->bytes.size();
        }
        check_next();
    }
    void check_done() {
        report_.bytes_resumed = report_.bytes;
        if (checked_.empty()) {
            forget_what_is_there();
            return connect(opener);
        }
        // Each lane's first bytes are compared with what was there before.
        for (mirror& m : mirrors_) m.request_number = mirrors_.next_number();
        if (same_digest(*recalled_)) {
            if (ledger_.complete()) {
                // The digest will tell: nobody need be asked.
                report_.identity = recalled_->identity;
                sized_.size = recalled_->identity.size;
                identity_known_ = open_wanted_ = true;
                return resume();
            }
            recalled_->identity = {recalled_->identity.size, {}, {}};
        }
        connect(opener);
    }
    // It is the same object.
    void resume() {
        recalled_.reset();
        resumed_ = true;
        told_at_ = report_.bytes;
        rate_.begin_at(report_.bytes);
        observer_->on(download_resumed{report_.bytes});
    }
    // It is not; the lane asks what it is now.
    void begin_afresh(lane_id id) {
        forget_what_is_there();
        lanes_[id].tries = 0;
        leave(id);
        connect(id);
    }

    [[nodiscard]] std::uint64_t arrived() const noexcept { return received_ + bytes_in_flight(); }
    void record() {
        recording_ = arrived();
        run(job::record);
    }
    // Whether as many new bytes have come as the journal may be without.
    [[nodiscard]] bool record_is_due() const noexcept {
        if (!may_resume()) return false;
        std::uint64_t const fresh = arrived() - recorded_;
        return fresh != 0 && fresh >= record_every_.bytes;
    }
    // False: it is not time yet.
    bool record_in_time() {
        if (!may_resume() || !sink_ready_) return false;
        bool const fresh = arrived() != recorded_;
        bool const late = now_ - recorded_at_ >= record_every_.time;
        if (late && !fresh) recorded_at_ = now_;
        if (!fresh || (!late && !record_is_due())) return false;
        record();
        return true;
    }

    // ---- what a lane held -----------------------------------------------------------------

    // The lane's lease ends here; what it did not bring goes to its hedge, or is owed again.
    void release(lane_id id) {
        lane& l = lanes_[id];
        bool const admitted = l.is == lane::state::admitted || l.is == lane::state::receiving;
        l.held.reset();
        auto const left = std::exchange(l.left, std::nullopt);
        if (!identity_known_) {
            // Of what an earlier run left open.
            if (left) ledger_.give_back(*left);
            return;
        }
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
        report_.bytes = report_.bytes_resumed = 0;
        ledger_.reset(wanted_);
        checked_.clear();
        mirrors_.forget_bytes();
        hashed_ = 0;
        resumed_ = opening_ = sink_ready_ = false;
        open_wanted_ = true;
    }

    void drop_connection(lane_id id) {
        disengage(id);
        actions_.push_back(action::close{id});
    }
    void disengage(lane_id id) {
        lane& l = lanes_[id];
        if (l.is != lane::state::ended) l.is = lane::state::idle;
        l.rate = 0;
        l.stays = l.in_order = false;
        l.hedge_of.reset();
        l.thief.reset();
        for (segment const& s : l.ahead) ledger_.give_back(s);
        l.ahead.clear();
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
        // Not when it stands: until then the request may have become another.
        l.mirror = choose(l);
        l.proxy = nullptr;
        l.connected_to = at(l).server_number;
        l.asked_at = now_;
        l.until = from_now(request_.timeouts.connect);
        actions_.push_back(action::connect{id});
    }

    [[nodiscard]] static constexpr bool is_receiving(lane const& l) noexcept {
        return l.is == lane::state::receiving;
    }
    [[nodiscard]] static constexpr bool is_running(lane const& l) noexcept {
        return l.is != lane::state::idle && l.is != lane::state::ended;
    }
    [[nodiscard]] std::uint32_t running() const noexcept {
        return static_cast<std::uint32_t>(std::ranges::count_if(lanes_, is_running));
    }
    // Without those that wait for their time to try again.
    [[nodiscard]] std::uint32_t at_work() const noexcept {
        return static_cast<std::uint32_t>(std::ranges::count_if(
            lanes_, [](lane const& l) { return is_running(l) && l.is != lane::state::waiting; }));
    }
    [[nodiscard]] std::uint32_t wanted_lanes() noexcept {
        std::uint32_t receiving = 0;
        bool held_back = paused_ || pace_at_;
        for (lane const& l : lanes_) {
            bool const admitted = l.is == lane::state::admitted;
            receiving += admitted || l.is == lane::state::receiving ? 1U : 0U;
            held_back = held_back || (admitted && sink_ready_);
        }
        std::uint32_t const want = lane_rule_.want({.running = running(),
                                                    .given_up = given_up_,
                                                    .receiving = receiving,
                                                    .refusals = refusals_,
                                                    .bytes = arrived(),
                                                    .now = now_,
                                                    .held_back = held_back});
        return std::clamp<std::uint32_t>(want, 1, useful_lanes_);
    }

    void go_on() {
        // What an earlier run left is being looked at.
        if (running_job_ == job::recall || running_job_ == job::check) return;
        refresh_in_time();
        if (open_wanted_ && !running_job_) {
            open_wanted_ = false;
            opening_ = sink_touched_ = true;
            if (!resumed_) untouched_ = false;
            auto const size = empty_                  ? std::optional<std::uint64_t>{0}
                              : report_.identity.size ? std::optional{wanted_.size()}
                                                      : std::nullopt;
            run(job::open, {}, size, resumed_);
        }
        if (all_there()) return wind_up();
        grant_in_turn();
        if (ended_) return;
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
            if (paused_ || waits_for_refresh(l.mirror)) {
                // Nothing is asked for.
            } else if (l.connected_to != at(l).server_number || should_move(l)) {
                // Others are at the server that the fresh request leads to, or at a better one.
                drop_connection(i);
                connect(i);
            } else if (!identity_known_) {
                if (i == opener) ask_opening(i);
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
                may_help = take_what_waits(i) || help(i);
            }
            if (l.is == lane::state::ready) l.waited = true;
        }
        more_than_wanted_ = at_work() > want;
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

    // Connects as many lanes as the rule allows and the work is worth.
    void start_lanes() {
        bool const refreshes = refreshing_ && !(joins() && mirrors_.other_than(0));
        if (paused_ || refreshes || (all_quiet() && running() != 0)) return;
        // Whoever was to ask what the object is may have been sent away with others.
        if (!identity_known_ && !is_running(lanes_[opener])) connect(opener);
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
            // What comes with its first bytes makes the others' handshakes shorter.
            if (target_of(opener).scheme() == "https") return 1;
            return static_cast<std::uint32_t>(
                std::min<std::uint64_t>(want, plan_most_segments(planner_)));
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
                auto const part = within_room(*rest);
                if (!part) break;
                segment const next = planner_.next(*part, state);
                ++count;
                if (!part->contains(next) || next.last == rest->last) break;
                rest = rest->from(next.last + 1);
            }
        }
        return count;
    }

    // ---- asking ---------------------------------------------------------------------------

    // What is owed and fits: a piece that was wrong, by itself; else what the planner makes of the
    // lowest gap.
    [[nodiscard]] std::optional<segment> next_segment() {
        for (suspect const& s : suspects_)
            for (segment const gap : ledger_.owed())
                if (auto const both = gap.common(s.piece); both && both->last <= room_until())
                    return both;
        if (ledger_.owed().empty()) return std::nullopt;
        auto const gap = within_room(ledger_.owed().front());
        if (!gap) return std::nullopt;
        segment next = planner_.next(*gap, state_of_plan());
        if (next.valid() && gap->contains(next)) {
            // Whatever the planner would begin with, a sink with little room needs the first.
            if (sink_.window != 0 && !room_.divided()) next.first = gap->first;
            return next;
        }
        fail(failure::of(error::planner_broke_contract, phase::setup,
                         "for " + to_string(*gap) + " it answered " + to_string(next)));
        return std::nullopt;
    }

    // From the first byte that is owed; where none is, for the last one, to see whether it is
    // still the same object.
    void ask_opening(lane_id id) {
        std::uint64_t const size =
            std::max<std::uint64_t>(plan_opening(planner_).value_or(windows_.opening), 1);
        segment bytes = wanted_;
        if (recalled_)
            bytes = ledger_.owed().empty() ? segment{wanted_.last, wanted_.last}
                                           : ledger_.owed().front();
        bytes.last = bytes.first + std::min(bytes.last - bytes.first, size - 1);
        if (recalled_ && !ledger_.owed().empty()) {
            ledger_.take(bytes);
            lanes_[id].left = bytes;
        }
        ask(id, {bytes, ranged_});
    }

    [[nodiscard]] plan_state state_of_plan() noexcept {
        return {wanted_, ledger_.owed().bytes(), wanted_lanes(), outstanding()};
    }

    [[nodiscard]] std::uint64_t outstanding() const noexcept {
        std::uint64_t sum = 0;
        for (lane const& l : lanes_) sum += bytes_held(l);
        return sum;
    }

    void ask(lane_id id, lease what) {
        lane& l = lanes_[id];
        l.sample = what.ranged && (l.left || l.hedge_of) ? sample_before(l, what.bytes.first) : 0;
        what.bytes.first -= l.sample;
        l.was_asked_ahead = false;
        l.asked_with = at(l).request_number;
        l.request.clear();
        l.request.reserve(longest_request_);
        add_request(id, what);
        wait_for_reply(l, what);
        actions_.push_back(action::send{id, l.request, l.used || l.waited});
    }
    void add_request(lane_id id, lease what) {
        lane& l = lanes_[id];
        mirror const& m = at(l);
        append_request_head(l.request,
                            {.target = m.target,
                             .range = what.ranged ? std::optional{what.bytes} : std::nullopt,
                             .if_range = comparable(l) ? &known(l)->validator : nullptr,
                             .headers = m.headers,
                             .user_agent = request_.user_agent,
                             .proxy = l.proxy});
        ++report_.requests;
        observer_->on(segment_asked{id, what.bytes, l.hedge_of.has_value()});
    }
    void wait_for_reply(lane& l, lease what) noexcept {
        l.held = what;
        l.asked_at = now_;
        l.fruitless = 0;
        l.reply.reset();
        look_soon();
        l.is = lane::state::requesting;
        l.until = from_now(request_.timeouts.head);
    }

    // A date may not stand in If-Range where there is an entity tag, even a weak one, which may not
    // stand there either (RFC 9110, section 13.1.5). The replies are compared all the same.
    [[nodiscard]] bool comparable(lane const& l) const noexcept {
        return known(l) != nullptr && known(l)->weak_etag.empty();
    }

    // How many bytes before `first` the lane asks for as well, to compare them with those in place:
    // after a fresh request, or of an earlier run. Pieces are proven anyway.
    [[nodiscard]] std::uint64_t sample_before(lane const& l, std::uint64_t first) const noexcept {
        if (l.proven_with == at(l).request_number || first == 0 || !sink_.readable ||
            sink_.window != 0 || pieces().size != 0)
            return 0;
        auto const run = ledger_.committed().find(first - 1);
        return run ? std::min(first - run->first, windows_.sample) : 0;
    }

    // ---- asking ahead ---------------------------------------------------------------------

    // What the lane has asked for, and has still to bring.
    [[nodiscard]] static std::uint64_t bytes_held(lane const& l) noexcept {
        std::uint64_t sum = l.left ? l.left->size() : 0;
        for (segment const& s : l.ahead) sum += s.size();
        return sum;
    }

    // So that a far server has the next request when it is through with this one (RFC 9112,
    // section 9.3.2). Of one server only, where nothing is to be compared or divided first: with
    // each segment of several mirrors, of an ordered sink, or of a fresh request a lane decides
    // anew.
    [[nodiscard]] bool may_ask_ahead(lane const& l) const noexcept {
        mirror const& m = at(l);
        return ranged_ && identity_known_ && report_.identity.size && mirrors_.size() == 1 &&
               sink_.window == 0 && !l.hedge_of && l.in_order && l.reusable && !l.asked_too_much &&
               !m.lost_one && !more_than_wanted_ && !waits_for_refresh(l.mirror) &&
               l.connected_to == m.server_number && l.proven_with == m.request_number &&
               (l.ahead.empty() || l.ahead_asked_with == m.request_number) &&
               l.admitted_at == now_ && // else it has time enough
               l.framing.is == body_framing::kind::length && l.left->last == l.reply_bytes.last;
    }
    // Whether, in the time that a reply takes, what the lane has asked for may have come. Twice as
    // much as comes now, or a lane that has to wait between segments would seem to be no faster.
    [[nodiscard]] bool is_time_for_next(lane const& l) const noexcept {
        if (l.ahead.size() >= windows_.ahead) return false;
        if (l.ahead.empty() && l.grant.last == l.left->last) return true;
        double const meanwhile = 2 * l.rate * reply_time_.seconds();
        return static_cast<double>(bytes_held(l)) <= meanwhile;
    }
    // Before its first grant of a reply all that the lane has sent has gone out. False: the planner
    // broke its contract, and the download has ended.
    bool ask_ahead(lane_id id) {
        lane& l = lanes_[id];
        if (!may_ask_ahead(l) || (!l.first_grant && !l.ahead.empty())) return true;
        l.request.clear();
        while (is_time_for_next(l)) {
            auto const next = next_segment();
            if (ended_) return false;
            if (!next || is_near_the_end(l, *next)) break;
            ledger_.take(*next);
            l.ahead.push_back(*next);
            l.ahead_asked_with = at(l).request_number;
            add_request(id, {*next, true});
            ++report_.requests_ahead;
        }
        if (!l.request.empty())
            actions_.push_back(
                action::send{.lane = id, .text = l.request, .reused = true, .ahead = true});
        return true;
    }
    // Whether, by the time that this lane is through, there would be too little for the others that
    // have been through before: what is left then is better divided among all.
    [[nodiscard]] bool is_near_the_end(lane const& l, segment next) const noexcept {
        if (lanes_.size() == 1) return false;
        if (l.rate <= 0) return true;
        double const time = static_cast<double>(bytes_held(l) + next.size()) / l.rate;
        auto unassigned = static_cast<double>(ledger_.owed().bytes() - next.size());
        for (lane const& other : lanes_) {
            if (&other == &l || other.is == lane::state::ended) continue;
            // One that has nothing is given a segment as soon as it can ask for it.
            auto const least = static_cast<double>(other.held ? 0 : next.size());
            auto const has = static_cast<double>(bytes_held(other));
            unassigned -= std::max(other.rate * time - has, least);
        }
        return unassigned < 0;
    }
    // What it held has come; now comes the first of the replies to what was asked ahead.
    void go_on_with_ahead(lane_id id) {
        lane& l = lanes_[id];
        l.left = l.ahead.front();
        l.ahead.erase(l.ahead.begin());
        l.asked_with = l.ahead_asked_with;
        l.was_asked_ahead = true;
        wait_for_reply(l, {*l.left, true});
        actions_.push_back(action::read_head{.lane = id, .next = true});
    }
    // What was asked ahead is asked again, over a new connection; and no more is there.
    void lose_ahead(lane_id id) {
        at(lanes_[id]).lost_one = true;
        ++report_.stale_connections;
        ask_anew(id);
    }
    // An idle lane takes over what a slow one has asked for ahead, and would begin much later; the
    // reply to that is never read. False: there is nothing of the kind.
    bool take_what_waits(lane_id id) {
        std::optional<lane_id> from;
        double longest = 2 * reply_time_.seconds() + in_seconds(windows_.stealing.soon);
        double const typical = typical_rate();
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            lane const& l = lanes_[i];
            if (l.ahead.empty() || !l.left) continue;
            auto const held = what_is_held(i, typical, l.is != lane::state::admitted);
            if (!held) continue;
            auto const before =
                static_cast<double>(bytes_held(l) - l.left->size() - l.ahead.back().size());
            double const time = held->time_left() + (held->rate > 0 ? before / held->rate : 0);
            if (time <= longest) continue;
            longest = time;
            from = i;
        }
        if (!from) return false;
        lane& slow = lanes_[*from];
        segment const bytes = slow.ahead.back();
        slow.ahead.pop_back();
        slow.asked_too_much = true;
        ++report_.steals;
        observer_->on(bytes_stolen{*from, id, bytes, false});
        lanes_[id].left = bytes;
        ask(id, {bytes, true});
        return true;
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
            if (!l.left || l.thief || l.is_hedged || is_on_trial(l)) continue;
            if (auto const held = what_is_held(i, typical, l.is != lane::state::admitted))
                holdings_.push_back(*held);
        }
        return find_theft(holdings_, as_thief(id, typical), hedgeable(), windows_.stealing);
    }

    // Who brings a piece that was wrong brings it whole, so that it is known who was wrong.
    [[nodiscard]] bool is_on_trial(lane const& l) const noexcept {
        return mirrors_.size() > 1 && std::ranges::any_of(suspects_, [&](suspect const& s) {
                   return l.left->common(s.piece).has_value();
               });
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
            bool const idle_soon = l.left && l.ahead.empty() && l.rate > 0 &&
                                   l.is == lane::state::receiving &&
                                   what_is_held(i, typical, true)->time_left() <= soon;
            by.idle += idle || idle_soon ? 1U : 0U;
        }
        return by;
    }

    // Bytes have come, after a silence that is nothing unusual then. It is forgotten in time.
    void note_bytes(lane& l) noexcept {
        auto const silence = now_ - l.seen_at;
        if (silence > usual_silence_)
            usual_silence_ = silence;
        else
            usual_silence_ -= (usual_silence_ - silence) / 64;
        l.seen_at = now_;
        l.fruitless = 0;
    }

    // How long a lane must have been silent before it is thought to bring nothing any more. Where
    // bytes come in bursts, that is longer than between two of them. And where what was taken from
    // a silent lane does not come over another one either, that one gets twice the time, so that
    // lanes do not take from each other for ever what would have come.
    [[nodiscard]] instant silence_of_note(lane const& l) const noexcept {
        instant const usual = std::min(2 * usual_silence_, request_.timeouts.stall / 4);
        instant time = std::max({windows_.stealing.silent, 4 * reply_time_.value, usual});
        for (std::uint32_t n = l.fruitless; n != 0 && time < request_.timeouts.stall; --n)
            time *= 2;
        return time;
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
        if (should_bring && since >= silence_of_note(l))
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
        auto const since = l.is == lane::state::requesting ? l.asked_at : l.seen_at;
        bool const silent = now_ - since >= silence_of_note(l);
        std::uint32_t const fruitless = silent ? l.fruitless + 1 : 0;
        l.left = l.left->before(bytes.first);
        if (!l.left) leave(from);
        lanes_[by].left = bytes;
        ask(by, {bytes, true});
        lanes_[by].fruitless = fruitless;
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
        if (record_in_time()) return;
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
                mirrors_.forget(proving_);
                return;
            }
            std::string const which =
                "piece " + std::to_string(index) + ", bytes " + to_string(proving_);
            failure const wrong = failure::of(error::digest_mismatch, phase::verify, which);
            // Another mirror may have it right.
            auto const by = mirrors_.size() > 1 ? mirrors_.bringer_of(proving_) : std::nullopt;
            bool const blamed = by && joins() && mirrors_.other_than(*by);
            if (!ranged_) {
                if (by && give_up_mirror(*by, wrong)) {
                    // What has been handed on stays; another brings the rest.
                    if (ended_ || !handed_on()) return;
                    set_all_aside();
                    return keep_first(ledger_.proven_frontier());
                }
                return fail(
                    failure::of(error::digest_mismatch, phase::verify,
                                which + ", and the server sends no ranges to get it again"));
            }
            if (blamed) drop_mirror(*by, wrong);
            suspect& s = known != suspects_.end() ? *known : suspects_.emplace_back(proving_);
            if (!blamed && ++s.tries == tries_of_a_piece) {
                if (by && give_up_mirror(*by, wrong)) return;
                return fail(failure::of(error::digest_mismatch, phase::verify,
                                        which + ", came wrong " + std::to_string(tries_of_a_piece) +
                                            " times"));
            }
            ++report_.pieces_failed;
            report_.bytes_twice += proving_.size();
            report_.bytes -= proving_.size();
            ledger_.reject(proving_);
            checked_.erase(proving_);
            mirrors_.forget(proving_);
            observer_->on(piece_failed{index, proving_});
        }
    }

    // Hands on what is there in whole chunks; at the end all that is left.
    void deliver(bool rest) {
        std::uint64_t const bytes = room_.to_hand_on(safe_frontier() - delivered_, rest);
        if (bytes == 0) return;
        delivering_to_ = delivered_ + bytes;
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
                note_bytes(l);
                tick_at_ = std::min(tick_at_, from_now(tick));
            } else if (now_ - l.seen_at >= request_.timeouts.stall) {
                end_grant(l, l.in_place, l.crc);
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
            if (waits_for_refresh(l.mirror) || another_finds_out(id)) {
                park(id, l.stays);
                break;
            }
            if (l.stays && !paused_) {
                go_on_with(id, true);
                break;
            }
            // Nobody knows how long the pause will be, and servers do not wait.
            if (l.stays) drop_connection(id);
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
            if (waits_for_pace()) no_later(*pace_at_);
            if (keeps_an_eye()) no_later(tick_at_);
            if (use_until_ && !refreshing_ && asks_first()) no_later(*use_until_);
            if (may_resume() && sink_ready_ && !running_job_ && !winding_up_ &&
                (arrived() != recorded_ || std::ranges::any_of(lanes_, is_receiving)))
                no_later(after(recorded_at_, record_every_.time));
            // Somebody must stay awake, however long the pause, or the wait for a fresh request.
            if (paused_ || refreshing_) no_later(from_now(longest_sleep));
            for (lane const& l : lanes_) {
                if (l.is == lane::state::connecting || l.is == lane::state::requesting ||
                    (l.is == lane::state::waiting && !is_parked(l)) || is_receiving(l))
                    no_later(l.until);
            }
        }
        // A timer that is set earlier than needed wakes us once in vain; setting it anew with each
        // grant would cost more.
        if (!first || (timer_at_ && *timer_at_ <= *first)) return;
        timer_at_ = std::max(*first, now_);
        actions_.push_back(action::wait_until{*timer_at_});
    }

    // Whether a lane waits for the pacer, and not for something else as well, behind which its turn
    // may be long past.
    [[nodiscard]] bool waits_for_pace() const noexcept {
        return pace_at_ && sink_ready_ && !paused_ && !winding_up_ && !record_is_due() &&
               std::ranges::any_of(lanes_, [this](lane const& l) { return may_receive(l); });
    }

    // As long as nothing comes, it is looked at less and less often.
    void sample_rates() {
        for (lane& l : lanes_)
            if (is_receiving(l) && now_ - l.sampled_at >= tick / 2) sample_rate(l);
        std::uint64_t const before = std::exchange(received_at_tick_, arrived());
        bool const moving = received_at_tick_ != before;
        tick_now_ = moving ? tick : after(tick_now_, 3 * std::min(tick_now_, instant::max() / 3));
        tick_at_ = from_now(tick_now_);
    }

    // The longer it is since the last time, the more it counts.
    void sample_rate(lane& l) noexcept {
        double const past = in_seconds(now_ - l.sampled_at);
        if (past <= 0) return;
        std::uint64_t const bytes = l.bytes + l.in_place;
        double const rate = static_cast<double>(bytes - l.sampled) / past;
        double const weight = l.rate <= 0 ? 1 : 1 - std::exp(-past / 0.2);
        l.rate += weight * (rate - l.rate);
        double& all = at(l).rate;
        all += (all <= 0 ? 1 : 0.2) * (l.rate - all);
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
        return report_.bytes + bytes_in_flight();
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
        // From here on another run can finish it without fetching anything.
        if (may_resume() && arrived() != recorded_) return record();
        if (verifier_.wanted() && hashed_ < size) return hash_up_to(size);
        if (verifier_.wanted() && !digest_done_) return run(job::finish_hash);
        if (pieces().size != 0) report_.digest_verified = true;
        if (!synced_) return run(job::sync, {}, size);
        deadline_.reset(); // from here on it only gets done
        run(job::publish);
    }

    void fail(failure why) {
        // What is being published is complete and right; there is no way back.
        if (ended_ || finished_ || running_job_ == job::publish || running_job_ == job::forget)
            return;
        ended_ = true;
        report_.failed = std::move(why);
        // What came of unfinished grants counts, too.
        for (lane& l : lanes_)
            if (journal_ && ranged_ && is_receiving(l)) end_grant(l, l.in_place, l.crc);
        close_all();
        if (!running_job_) end_badly(std::nullopt);
    }

    // What is in place is left to another run, where that can do anything with it.
    void end_badly(std::optional<job> last) {
        report_.kept = last == job::keep;
        if (last == job::keep || last == job::abandon || !sink_touched_) return finish();
        if (!worth_keeping()) return run(job::abandon);
        if (may_resume() && arrived() != recorded_ && !std::exchange(last_record_, true))
            return record();
        run(job::keep);
    }
    [[nodiscard]] bool worth_keeping() const noexcept {
        failure const& why = *report_.failed;
        if (data_lost_ || why.kind == cause::identity_changed ||
            why.code == error::digest_mismatch || why.code == error::partial_replaced)
            return false;
        return recalled_ || untouched_ || (may_resume() && !checked_.empty());
    }

    void finish() {
        finished_ = true;
        report_.elapsed = now_ - started_at_;
        report_.lanes = static_cast<std::uint32_t>(
            std::ranges::count_if(lanes_, [](lane const& l) { return l.bytes != 0; }));
        tell_of_mirrors();
        observer_->on(download_ended{report_.failed ? std::addressof(*report_.failed) : nullptr,
                                     report_.bytes, report_.elapsed});
        actions_.push_back(action::finish{});
    }

    void tell_of_mirrors() {
        report_.mirrors.clear();
        for (mirror const& m : mirrors_) {
            auto const& why = m.dropped ? m.why : m.bytes == 0 ? m.last : std::nullopt;
            report_.mirrors.push_back({m.shown, m.bytes, why});
        }
    }

    void close_all() {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            if (!is_running(lanes_[i])) continue;
            bool const idle = lanes_[i].is == lane::state::ready;
            if (is_receiving(lanes_[i])) give_back_rest(lanes_[i], lanes_[i].in_place);
            lanes_[i].is = lane::state::idle;
            actions_.push_back(action::close{i, idle});
        }
    }

    void run(job what, segment bytes = {}, std::optional<std::uint64_t> size = std::nullopt,
             bool resumed = false) {
        running_job_ = what;
        actions_.push_back(action::run{what, bytes, size, resumed});
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
    sink_room room_;
    journal_interval record_every_;
    bool can_refresh_ = false;
    std::uint64_t random_;

    cleave::mirrors mirrors_;
    url home_ = request_.target; // what the caller's credentials are for
    bool may_join_ = false;
    std::size_t in_use_ = 0; // where one mirror is asked at a time
    bool one_at_a_time_ = false;
    std::uint32_t rounds_alone_ = 0;
    identity sized_;                    // of a mirror not heard of: only the size is known
    std::vector<mirror_state> choices_; // kept, so that no memory is needed later

    segment wanted_{0, max_offset};
    cleave::ledger ledger_;
    std::vector<lane> lanes_;
    std::vector<lane_progress> lanes_shown_;
    std::vector<holding> holdings_; // kept, as is the next, so that no memory is needed later
    admission judged_;
    std::uint32_t useful_lanes_; // for which the sink has room
    std::uint32_t given_up_ = 0;
    std::uint32_t refusals_ = 0;
    bool more_than_wanted_ = false; ///< lanes are at work, as last seen
    std::uint64_t turns_ = 0;
    bool paused_ = false;
    bool identity_known_ = false;
    bool ranged_ = true;
    bool empty_ = false;
    std::uint64_t best_ = 0; // the furthest that a download without ranges has come

    // Going on after failures.
    bool fruitless_ = false; // no byte has come since a lane failed that had brought none
    bool refreshing_ = false;
    std::uint32_t refreshed_ = 0; // since the last byte
    std::optional<instant> use_until_;
    instant last_byte_at_{0};

    // What an earlier run left, until a reply confirms it; and what another one could go on with.
    bool journal_ = false;
    bool resumed_ = false;
    bool data_lost_ = false;
    bool last_record_ = false;
    bool untouched_ = false; // what an earlier run left is all there yet
    std::optional<resume_state> recalled_;
    claims_check check_;
    checked_runs checked_;
    std::uint64_t recorded_ = 0; // of the bytes that had arrived, those that the journal has
    std::uint64_t recording_ = 0;
    instant recorded_at_{0};

    std::optional<job> running_job_;
    bool open_wanted_ = false;
    bool opening_ = false;
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
    instant usual_silence_{0};

    cleave::report report_;
    std::vector<any_action> actions_;
    std::size_t next_action_ = 0;
};

} // namespace cleave
