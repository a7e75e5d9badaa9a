// SPDX-License-Identifier: BSL-1.0
//
// Acts. One download as a composed Asio operation: carries out what the engine asks for, tells it
// what came of it, and decides nothing. Everything runs on one strand but the blocking jobs, which
// the engine hands out one at a time (`job_runner`), and, where that is wanted, what lanes do with
// their bytes (`grant_filler`).
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/exception.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/standby_memory.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/driver/grant_filler.hpp>
#include <cleave/driver/job_runner.hpp>
#include <cleave/driver/sink_failure.hpp>
#include <cleave/engine/engine.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/source/concept.hpp>
#include <cleave/verify/concept.hpp>

#include <sys/types.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif

#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace cleave::detail {

// Where there is nobody else who might hold it.
struct no_lock {};

// The handler of a lane's asynchronous operations: of one type for all downloads, so that what
// streams make of it is compiled once. Keeps the download.
class lane_handler {
  public:
    using function = void (*)(void* download, lane_id id, std::uint64_t epoch, std::error_code ec);

    lane_handler(std::shared_ptr<void> download, lane_id id, std::uint64_t epoch, function f)
        : download_(std::move(download)), function_(f), epoch_(epoch), id_(id) {}
    void operator()(std::error_code ec) { function_(download_.get(), id_, epoch_, ec); }

  private:
    std::shared_ptr<void> download_;
    function function_;
    std::uint64_t epoch_;
    lane_id id_;
};

// The operation without its completion handler, so that many handlers share one instantiation.
template <class Executor, byte_sink Sink, class Policies>
class download_op : public std::enable_shared_from_this<download_op<Executor, Sink, Policies>> {
    using strand_type = asio::strand<Executor>;
    using timer_type = typename Policies::timer_template::template type<strand_type>;
    using clock_type = typename timer_type::clock_type;
    using connector_type = typename Policies::connector_type;
    using stream_type = stream_of<connector_type, strand_type>;
    using source_type = typename Policies::source_type;
    using verifier_type = typename Policies::verifier_type;
    using engine_type = engine<typename Policies::planner_type, typename Policies::lane_rule_type,
                               typename Policies::renewal_rule_type, verifier_type,
                               typename Policies::pacer_type, typename Policies::observer_type>;
    using lane_type = lane_io<stream_type>;

    static_assert(byte_connector<connector_type, strand_type>);

    // Whether the sink's consumer says itself when it is done.
    static constexpr bool delivers_later_only = Sink::traits.ordered && !delivers<Sink>;

    // Whether lanes fill their grants beside each other, and beside the strand. What is of one lane
    // is then touched under its lock only, while a grant of it is being filled.
    static constexpr bool lanes_apart = [] {
        if constexpr (requires { Policies::background_type::lanes_apart; })
            return Policies::background_type::lanes_apart && Sink::traits.concurrent;
        else
            return false;
    }();
    using filler_type = grant_filler<stream_type, Sink, lanes_apart>;

  public:
    download_op(Executor const& ex, request what, Sink sink, Policies policies)
        : executor_(ex), strand_(ex), io_work_(ex), sink_(std::move(sink)),
          connector_(std::move(policies.connect)), jobs_(sink_, std::move(policies.journal)),
          source_(std::move(policies.source)), background_(std::move(policies.background)),
          control_(std::move(policies.control)), observer_(std::move(policies.observe)),
          engine_(seeded(std::move(what)), std::move(policies.plan), std::move(policies.lanes),
                  std::move(policies.renew), std::move(policies.verify), std::move(policies.pace),
                  observer_, policies.windows,
                  {shape_of(sink_), jobs_.interval(), source_.available()}),
          filler_(sink_), timer_(strand_) {
        std::size_t const count = engine_.lanes().size();
        lanes_.reserve(count);
        for (std::size_t i = 0; i != count; ++i) lanes_.emplace_back(connector_.make(strand_));
        windows_.resize(count);
        if constexpr (lanes_apart) locks_ = std::make_unique<std::mutex[]>(count);
        inbox_.reserve(2 * count + 4);
    }

    download_op(download_op const&) = delete;
    download_op& operator=(download_op const&) = delete;

    // The execution context went away under a running download: what is left behind is what may be
    // resumed, or nothing.
    virtual ~download_op() {
        control_.detach();
        close_mailbox();
        if (!completed_) jobs_.leave();
    }

    template <class CancellationSlot>
    void start(CancellationSlot slot) {
        // First of all, so that whoever cancels at once cancels something that has begun.
        asio::post(strand_, [self = this->shared_from_this()] { self->begin(); });
        auto const weak = this->weak_from_this();
        if (slot.is_connected())
            slot.assign([weak](asio::cancellation_type type) {
                if (type == asio::cancellation_type::none) return;
                if (auto const self = weak.lock()) self->tell_soon(event::cancelled{});
            });
        control_.attach([this](any_event e) { tell_soon(std::move(e)); });
    }

  private:
    // Takes the outcome, for the handler to be called with when this operation is gone.
    virtual void complete(std::error_code ec, report result) = 0;

    // Where a request source leaves what it fetched, from any thread, as long as somebody is there.
    struct mailbox {
        explicit mailbox(download_op* op) : owner(op) {}
        std::mutex mutex;
        download_op* owner;
    };
    void close_mailbox() noexcept {
        if (!mailbox_) return;
        std::lock_guard const lock{mailbox_->mutex};
        mailbox_->owner = nullptr;
    }

    // From any thread.
    void tell_soon(any_event e) {
        asio::post(strand_, [weak = this->weak_from_this(), e = std::move(e)]() mutable {
            if (auto const self = weak.lock()) self->tell(std::move(e));
        });
    }

    [[nodiscard]] static sink_shape shape_of(Sink const& sink) {
        sink_shape shape{.readable = Sink::traits.readable};
        if constexpr (Sink::traits.ordered) {
            shape.window = sink.window();
            shape.chunk = sink.chunk();
        }
        return shape;
    }

    // ---- events and actions ---------------------------------------------------------------

    void begin() {
        event::started start;
        auto const& what = engine_.request();
        std::error_code ec;
        if (what.url_error) {
            // The engine names it; whether the target is fit does not matter then.
        } else if ((ec = connector_.check(what.target))) {
            start.failed = stream_failure(ec, phase::setup);
        } else if (auto unfit = find_misfit()) {
            start.failed = std::move(unfit);
        } else if (sink_.check(ec); ec) {
            start.failed = sink_failure(ec);
        } else {
            keeps_ = start.journal = jobs_.keeps();
            filler_.sum_up_all(keeps_);
        }
        tell(std::move(start));
    }

    // What a digest is wanted of must be read again to compute it.
    [[nodiscard]] std::optional<failure> find_misfit() const {
        auto const& v = engine_.verifier();
        if (Sink::traits.readable || (!v.wanted() && pieces_of(v).size == 0)) return std::nullopt;
        return failure::of(error::sink_not_readable, phase::setup);
    }

    // An action may bring about an event at once; it then waits its turn in the inbox.
    void tell(any_event e) {
        if (finishing_) return;
        inbox_.push_back(std::move(e));
        if (std::exchange(telling_, true)) return;
        try {
            for (std::size_t i = 0; i != inbox_.size(); ++i) {
                if (keeps_ && may_end(inbox_[i])) {
                    look_at_lanes();
                    step(event::looked{windows_});
                }
                if (auto const* const g = std::get_if<event::grant_ended>(&inbox_[i]))
                    lanes_[g->lane].granted = false;
                step(std::exchange(inbox_[i], event::started{}));
            }
        } catch (...) {
            // Out of memory, most likely. Whoever catches it can still cancel.
            inbox_.clear();
            telling_ = false;
            throw;
        }
        inbox_.clear();
        telling_ = false;
    }

    void step(any_event const& e) {
        engine_.step(e, now());
        while (auto next = engine_.next_action())
            std::visit([this](auto const& a) { this->perform(a); }, *next);
    }

    // Then what the lanes have got so far is worth keeping.
    [[nodiscard]] static bool may_end(any_event const& e) noexcept {
        if (auto const* const g = std::get_if<event::grant_ended>(&e)) return g->failed.has_value();
        if (auto const* const j = std::get_if<event::job_ended>(&e)) return j->failed.has_value();
        if (auto const* const r = std::get_if<event::refreshed>(&e)) return r->failed.has_value();
        return std::holds_alternative<event::lane_failed>(e) ||
               std::holds_alternative<event::head_bytes>(e) ||
               std::holds_alternative<event::cancelled>(e);
    }

    [[nodiscard]] static instant now() {
        return std::chrono::duration_cast<instant>(clock_type::now().time_since_epoch());
    }

    // Calls `f` as the handler of an asynchronous operation of a lane; not at all if the lane has
    // been closed since. Handlers all end here, so that `outstanding_` is right.
    template <class F>
    [[nodiscard]] lane_handler for_lane(lane_id id, F) {
        ++outstanding_;
        return {this->shared_from_this(), id, lanes_[id].epoch,
                [](void* download, lane_id lane, std::uint64_t epoch, std::error_code ec) {
                    auto& self = *static_cast<download_op*>(download);
                    --self.outstanding_;
                    if (epoch == self.lanes_[lane].epoch) F{}(self, lane, ec);
                    self.complete_when_quiet();
                }};
    }

    void perform(action::connect const& a) {
        // A redirect may have led to where this connector cannot go.
        url const& target = engine_.target_of(a.lane);
        if (auto const ec = connector_.check(target))
            return lane_failed(a.lane, ec, phase::connect, "connecting to " + target.to_string());
        identify(lanes_[a.lane].stream, engine_.may_identify(a.lane));
        lanes_[a.lane].stream.async_connect(
            target, for_lane(a.lane, [](download_op& op, lane_id id, std::error_code ec) {
                if (!ec) return op.connected(id);
                op.lane_failed(id, ec, phase::connect, op.connecting_to(op.engine_.target_of(id)));
            }));
    }

    // For messages.
    [[nodiscard]] std::string connecting_to(url const& to) {
        std::string text = "connecting to " + to.host_field();
        if constexpr (requires { std::string{connector_.by_way_of(to)}; }) {
            if (std::string const way = connector_.by_way_of(to); !way.empty())
                text += " by way of " + way;
        }
        return text;
    }

    void connected(lane_id id) {
        stream_type const& s = lanes_[id].stream;
        tell(event::connected{id, was_kept(s), facts_of(s)});
    }

    void perform(action::send const& a) {
        lane_type& l = lanes_[a.lane];
        if (a.ahead) {
            l.to_send = a.text;
            return;
        }
        l.pending = {};
        l.decoded = {};
        if (a.reused) {
            // Nothing may have come since the last reply: what did was not meant for this request.
            std::error_code ec;
            (void)l.stream.read_some(std::as_writable_bytes(std::span{l.head_buffer}.first(1)), ec);
            if (!would_block(ec)) {
                tell(event::lane_failed{a.lane,
                                        failure::of(error::closed_before_reply, phase::head)});
                return;
            }
        }
        l.stream.async_write(a.text,
                             for_lane(a.lane, [](download_op& op, lane_id id, std::error_code ec) {
                                 if (ec) return op.lane_failed(id, ec, phase::head);
                                 op.read_head(id);
                             }));
    }

    void perform(action::read_head const& a) {
        std::string_view const begun = lanes_[a.lane].pending;
        if (!a.next || begun.empty()) return read_head(a.lane);
        tell(event::head_bytes{a.lane, begun});
    }

    void perform(action::receive const& a) {
        begin_grant(a);
        receive(a.lane);
    }
    void begin_grant(action::receive const& a) {
        [[maybe_unused]] auto const held = lock(a.lane);
        lane_type& l = lanes_[a.lane];
        ++l.grants;
        l.granted = true;
        windows_[a.lane] = {};
        filler_.begin(l, a, engine_.wanted().first);
    }

    void perform(action::revoke const& a) {
        if (lanes_[a.lane].filling) grant_ended(a.lane, {.revoked = true});
    }

    void perform(action::close const& a) {
        [[maybe_unused]] auto const held = lock(a.lane);
        lane_type& l = lanes_[a.lane];
        ++l.epoch;
        // What came since the engine last looked is lost on it.
        std::uint64_t const seen = windows_[a.lane].in_place;
        bool const lost = std::exchange(l.granted, false) && !finishing_;
        if (lost && l.placed > seen) l.bytes_dropped += l.placed - seen;
        if (a.keep)
            keep_or_close(l.stream);
        else
            l.stream.close();
        l.pending = {};
        l.decoded = {};
        l.to_send = {};
        l.filling = l.waiting = l.drained = false;
        l.low_water = 1;
    }

    // A function for another thread: does `work(op)` there, and `then(op, what it gave)` back on
    // the strand, also where there is no memory left to post that.
    template <class Work, class Then>
    [[nodiscard]] auto there_and_back(std::shared_ptr<standby_memory> memory, Work work,
                                      Then then) {
        return [self = this->shared_from_this(), memory = std::move(memory), work, then]() mutable {
            auto outcome = work(*self);
            post_back(std::move(self), std::move(memory),
                      [then, outcome = std::move(outcome)](download_op& op) mutable {
                          then(op, std::move(outcome));
                      });
        };
    }
    // Calls `f(op)` on the strand. For who could not catch what is thrown here, and must not be the
    // last owner either.
    template <class F>
    static void post_back(std::shared_ptr<download_op> self, std::shared_ptr<standby_memory> memory,
                          F f) {
        auto strand = self->strand_;
        auto back = [self = std::move(self), f = std::move(f)]() mutable { f(*self); };
        asio::post(strand, posted_with_standby{std::move(memory), std::move(back)});
    }

    void perform(action::run const& a) {
        ++outstanding_;
        if (a.what == job::recall) return recall();
        if (a.what == job::record || a.what == job::open)
            jobs_.will_record(engine_.state_to_keep());
        if (a.what == job::open) {
            // The server may have said only now that there is a digest.
            if (auto unfit = find_misfit()) return refuse(a.what, *std::move(unfit));
            jobs_.will_hash_for(engine_.verifier());
        }
        if (a.what == job::deliver && delivers_later_only && !engine_.verifier().wanted())
            return deliver_later(a);
        std::optional<failure> why;
        try {
            auto work = [a](download_op& op) { return op.jobs_.run(a); };
            auto then = [a](download_op& op, event::job_ended ended) {
                // Hashed first; what comes now does not block.
                if (a.what == job::deliver && delivers_later_only && !ended.failed)
                    return op.deliver_later(a);
                op.answer(std::move(ended));
            };
            background_.post(executor_, there_and_back(standby_, work, then));
        } catch (...) {
            why = failure{code_of_exception(), cause::permanent, phase::setup, 0, std::nullopt, {}};
        }
        if (why) refuse(a.what, *std::move(why)); // there is no thread to be had
    }

    void recall() {
        event::recalled refused;
        try {
            auto work = [](download_op& op) { return op.jobs_.recall(); };
            auto then = [](download_op& op, event::recalled e) { op.answer(std::move(e)); };
            background_.post(executor_, there_and_back(standby_, work, then));
            return;
        } catch (...) {
            refused.failed =
                failure{code_of_exception(), cause::permanent, phase::setup, 0, std::nullopt, {}};
        }
        --outstanding_;
        tell(std::move(refused));
    }

    // Nobody waits for a source longer than the download lasts.
    void perform(action::refresh const&) {
        mailbox_ = std::make_shared<mailbox>(this);
        source_.async_fetch(engine_.request(), [to = mailbox_](std::error_code ec, request fresh) {
            std::lock_guard const lock{to->mutex};
            if (to->owner == nullptr) return;
            asio::post(to->owner->strand_, [weak = to->owner->weak_from_this(), ec,
                                            fresh = std::move(fresh)]() mutable {
                if (auto const self = weak.lock()) self->refreshed(ec, std::move(fresh));
            });
        });
    }

    void refreshed(std::error_code ec, request fresh) {
        event::refreshed e;
        cause kind = ec.category() == error_category() ? cause_of(static_cast<error>(ec.value()))
                                                       : cause::permanent;
        std::string doing = "asking for a fresh URL";
        if (!ec && (ec = connector_.check(fresh.target))) {
            kind = cause::configuration;
            add_place(doing, ec);
        }
        if (ec) e.failed = {ec, kind, phase::setup, 0, std::nullopt, std::move(doing)};
        e.fresh = std::make_shared<request const>(std::move(fresh));
        tell(std::move(e));
    }

    void refuse(job what, failure why) {
        --outstanding_;
        tell(event::job_ended{.what = what, .failed = std::move(why), .digest = {}});
    }

    void answer(any_event e) {
        --outstanding_;
        tell(std::move(e));
        complete_when_quiet();
    }

    // To a consumer that says itself when it is done, from whatever thread.
    void deliver_later(action::run const& a) {
        if constexpr (delivers_later_only) {
            sink_.async_deliver(
                a.bytes.first, clamp(a.bytes.size()),
                [self = this->shared_from_this(), what = a.what](std::error_code ec) mutable {
                    event::job_ended ended{.what = what, .failed = {}, .digest = {}};
                    if (ec) ended.failed = sink_failure(ec);
                    auto memory = self->standby_;
                    post_back(std::move(self), std::move(memory),
                              [ended = std::move(ended)](download_op& op) mutable {
                                  op.answer(std::move(ended));
                              });
                });
        }
    }

    void perform(action::wait_until const& a) {
        ++outstanding_;
        auto const at = std::chrono::ceil<typename clock_type::duration>(a.at);
        timer_.expires_at(typename clock_type::time_point{at});
        timer_.async_wait([self = this->shared_from_this(), set = ++timer_set_](std::error_code) {
            --self->outstanding_;
            if (set == self->timer_set_) self->wake();
            self->complete_when_quiet();
        });
    }

    void perform(action::finish const&) {
        finishing_ = true;
        close_mailbox();
        for (lane_id i = 0; i != lanes_.size(); ++i) perform(action::close{i});
        ++timer_set_;
        timer_.cancel();
        // Also when nothing is out, the handler must not run within this call.
        ++outstanding_;
        asio::post(strand_, [self = this->shared_from_this()] {
            --self->outstanding_;
            self->complete_when_quiet();
        });
    }

    void wake() {
        look_at_lanes();
        lower_water();
        tell(event::woke{windows_});
    }
    void look_at_lanes() noexcept {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            [[maybe_unused]] auto const held = lock(i);
            windows_[i] = {lanes_[i].placed, lanes_[i].read, lanes_[i].crc};
        }
    }
    [[nodiscard]] auto lock([[maybe_unused]] lane_id id) noexcept {
        if constexpr (lanes_apart)
            return std::unique_lock{locks_[id]};
        else
            return no_lock{};
    }

    // ---- lanes ----------------------------------------------------------------------------

    [[nodiscard]] failure stream_failure(std::error_code ec, phase where, std::string detail = {}) {
        // Asio's older versions have a category of their own for the system's codes, which does
        // not compare equal to `std::errc`.
        if (ec.category() == asio::error::get_system_category())
            ec = {ec.value(), std::system_category()};
        add_place(detail, ec);
        return {ec, connector_.classify(ec), where, 0, std::nullopt, std::move(detail)};
    }

    // Where the connector knows which file is to blame, people are told.
    void add_place(std::string& detail, std::error_code ec) {
        if constexpr (requires { std::string{connector_.place_of(ec)}; })
            if (std::string const place = connector_.place_of(ec); !place.empty())
                detail += (detail.empty() ? "" : ": ") + place;
    }

    void lane_failed(lane_id id, std::error_code ec, phase where, std::string detail = {}) {
        tell(event::lane_failed{id, stream_failure(ec, where, std::move(detail))});
    }

    void read_head(lane_id id) {
        lane_type& l = lanes_[id];
        std::error_code ec;
        auto const n = l.stream.read_some(std::as_writable_bytes(std::span{l.head_buffer}), ec);
        if (would_block(ec)) {
            set_low_water(l.stream, 1);
            l.stream.async_wait(for_lane(id, [](download_op& op, lane_id i, std::error_code e) {
                if (e) return op.lane_failed(i, e, phase::head);
                op.read_head(i);
            }));
            return;
        }
        if (ec == asio::error::eof)
            ec = engine_.lanes()[id].reply.untouched() ? error::closed_before_reply
                                                       : error::closed_in_head;
        if (ec) return lane_failed(id, ec, phase::head);
        l.pending = {l.head_buffer.data(), n};
        l.budget = reads_in_a_row;
        tell(event::head_bytes{id, l.pending});
    }

    // Fills the grant as far as bytes are there, then waits for more. When a handler of an earlier
    // grant is still out, it goes on from there.
    void receive(lane_id id) {
        lane_type& l = lanes_[id];
        if (l.waiting || !l.filling) return;
        if (!l.to_send.empty()) return send_ahead(id);
        if constexpr (lanes_apart) return fill_apart(id);
        for (;;)
            if (auto stopped = filler_.fill(l)) return go_on_after(id, *std::move(stopped));
    }

    void go_on_after(lane_id id, fill_stop stopped) {
        switch (stopped.is) {
        case fill_stop::why::ended: return grant_ended(id, std::move(stopped.how));
        case fill_stop::why::stream_failed:
            return grant_ended(id, {.failed = stream_failure(stopped.ec, phase::body)});
        case fill_stop::why::nothing_there: return wait_for_bytes(id);
        case fill_stop::why::others_turn: return take_turns(id);
        }
    }

    // On whichever thread is free, while the strand has the lane wait.
    void fill_apart(lane_id id) {
        lane_type& l = lanes_[id];
        if (!l.standby) l.standby = std::make_shared<standby_memory>();
        auto work = [id, epoch = l.epoch, grant = l.grants](download_op& op) {
            return op.fill_until_stopped(id, epoch, grant);
        };
        auto then = [id, epoch = l.epoch, grant = l.grants](download_op& op,
                                                            std::optional<fill_stop> stopped) {
            --op.outstanding_;
            if (epoch == op.lanes_[id].epoch) op.filled(id, grant, std::move(stopped));
            op.complete_when_quiet();
        };
        asio::post(executor_, there_and_back(l.standby, work, then));
        l.waiting = true;
        ++outstanding_;
    }
    // Nothing where the grant, or the connection, has been taken away.
    [[nodiscard]] std::optional<fill_stop> fill_until_stopped(lane_id id, std::uint64_t epoch,
                                                              std::uint64_t grant) {
        lane_type& l = lanes_[id];
        for (;;) {
            [[maybe_unused]] auto const held = lock(id);
            if (l.epoch != epoch || l.grants != grant || !l.filling) return std::nullopt;
            std::optional<fill_stop> stopped;
            std::error_code const thrown = guarded([&] {
                stopped = filler_.fill(l);
                return std::error_code{};
            });
            if (thrown) return fill_stop{.how = {.failed = sink_failure(thrown)}};
            if (stopped) return stopped;
        }
    }
    void filled(lane_id id, std::uint64_t grant, std::optional<fill_stop> stopped) {
        lane_type& l = lanes_[id];
        l.waiting = false;
        if (stopped && l.filling && l.grants == grant) return go_on_after(id, *std::move(stopped));
        receive(id);
    }

    // A request is so short that the system has room for it, so that this takes no time.
    void send_ahead(lane_id id) {
        lane_type& l = lanes_[id];
        l.waiting = true;
        l.stream.async_write(
            std::exchange(l.to_send, {}),
            for_lane(id, [](download_op& op, lane_id i, std::error_code ec) { op.go_on(i, ec); }));
    }

    void wait_for_bytes(lane_id id) {
        if constexpr (has_low_water<stream_type>) {
            lane_type& l = lanes_[id];
            // What never comes is not to be waited for.
            std::size_t const worth = worth_waking(l);
            l.stream.low_water(2 * std::uint64_t{worth} > l.body_left ? 1 : worth);
        }
        lanes_[id].waiting = true;
        lanes_[id].stream.async_wait(
            for_lane(id, [](download_op& op, lane_id i, std::error_code ec) { op.go_on(i, ec); }));
    }
    // With the present grant, if there is one.
    void go_on(lane_id id, std::error_code ec) {
        lane_type& l = lanes_[id];
        l.waiting = false;
        l.budget = reads_in_a_row;
        if (!ec) return receive(id);
        // Without a grant the next read will find out.
        if (l.filling) grant_ended(id, {.failed = stream_failure(ec, phase::body)});
    }

    // As much as comes in a few milliseconds: to wait for that costs next to no time, and saves
    // most of what waking up costs. Only where the timer soon sees that it does not come.
    [[nodiscard]] std::size_t worth_waking(lane_type& l) const noexcept {
        if (l.framing.is != body_framing::kind::length || !engine_.keeps_an_eye()) return 1;
        instant const at = now();
        if (instant const took = at - l.measured_at; took >= measured_for) {
            auto const bytes = l.read_in_all() - l.measured;
            auto const expected = static_cast<std::uint64_t>(
                static_cast<double>(bytes) / static_cast<double>(took.count()) *
                static_cast<double>(instant{measured_for}.count()));
            l.low_water = expected < least_low_water
                              ? 1
                              : clamp(std::min(std::bit_floor(expected), most_low_water));
            l.measured_at = at;
            l.measured = l.read_in_all();
        }
        return l.low_water;
    }
    // Few bytes have come since: what is there already is to be read.
    void lower_water() noexcept {
        for (lane_id i = 0; i != lanes_.size(); ++i) {
            [[maybe_unused]] auto const held = lock(i);
            lane_type& l = lanes_[i];
            if (l.low_water > 1 && l.read_in_all() - l.looked < l.low_water) {
                l.low_water = 1;
                set_low_water(l.stream, 1);
            }
            l.looked = l.read_in_all();
        }
    }

    // A lane with a fast server must not keep the others from theirs.
    void take_turns(lane_id id) {
        lanes_[id].budget = reads_in_a_row;
        lanes_[id].waiting = true;
        asio::post(strand_, [h = for_lane(id, [](download_op& op, lane_id i, std::error_code) {
                                 op.lanes_[i].waiting = false;
                                 op.receive(i);
                             })]() mutable { h({}); });
    }

    void grant_ended(lane_id id, event::grant_ended e) {
        e.lane = id;
        end_grant(id, e);
        tell(std::move(e));
    }
    void end_grant(lane_id id, event::grant_ended& e) noexcept {
        [[maybe_unused]] auto const held = lock(id);
        filler_type::end(lanes_[id], e);
    }

    // ---- the end --------------------------------------------------------------------------

    void complete_when_quiet() {
        if (!finishing_ || outstanding_ != 0 || completed_) return;
        completed_ = true;
        control_.detach();
        report result = std::move(engine_.report());
        for (lane_type const& l : lanes_) {
            result.reads += l.reads;
            result.bytes_copied += l.bytes_copied;
            result.bytes_spliced += l.bytes_spliced;
            result.bytes_twice += l.bytes_dropped;
        }
        if constexpr (requires(Sink const& s) { s.bytes_copied(); })
            result.bytes_copied += sink_.bytes_copied();
        std::error_code const ec = result.failed ? result.failed->code : std::error_code{};
        complete(ec, std::move(result));
        io_work_.reset();
    }

    [[nodiscard]] static request seeded(request what) {
        // Only for waits that differ; where the system has no chance to give, the time has to do.
        if (what.seed == 0 && ::getentropy(&what.seed, sizeof what.seed) != 0)
            what.seed = static_cast<std::uint64_t>(now().count());
        return what;
    }

    static constexpr int reads_in_a_row = 16;
    static constexpr auto measured_for = std::chrono::milliseconds{4};
    static constexpr std::uint64_t least_low_water = 64 * 1024;
    static constexpr std::uint64_t most_low_water = 1024 * 1024;

    Executor executor_;
    strand_type strand_;
    asio::executor_work_guard<Executor> io_work_;

    Sink sink_;
    connector_type connector_;
    job_runner<Sink, typename Policies::journal_type, verifier_type> jobs_;
    source_type source_;
    typename Policies::background_type background_;
    typename Policies::control_type control_;
    typename Policies::observer_type observer_;
    engine_type engine_;

    std::shared_ptr<mailbox> mailbox_;
    bool keeps_ = false; ///< the journal is to know what comes

    std::vector<lane_type> lanes_;
    filler_type filler_;
    std::unique_ptr<std::mutex[]> locks_; ///< one for each, where lanes run side by side
    std::vector<event::lane_window> windows_;
    std::vector<any_event> inbox_;
    bool telling_ = false;

    timer_type timer_;
    std::uint64_t timer_set_ = 0;

    /// For what comes back from a job, one at a time.
    std::shared_ptr<standby_memory> standby_ = std::make_shared<standby_memory>();

    std::size_t outstanding_ = 0; ///< handlers and jobs that are still to come
    bool finishing_ = false;
    bool completed_ = false;
};

// Keeps the handler, and calls it when everything else of the operation is gone: what the policies
// and the sink refer to must live until the handler runs, and no longer.
template <class Executor, class Handler>
class handler_holder {
  public:
    handler_holder(Executor const& ex, Handler handler)
        : work_(asio::get_associated_executor(handler, ex)), handler_(std::move(handler)) {}
    handler_holder(handler_holder const&) = delete;
    handler_holder& operator=(handler_holder const&) = delete;
    ~handler_holder() {
        if (!result_) return; // the execution context went away first
        asio::post(work_.get_executor(),
                   final_call{std::move(handler_), *std::move(result_), std::move(standby_)});
    }

  protected:
    struct outcome {
        std::error_code ec;
        report what;
    };
    struct final_call {
        using first_allocator = typename std::allocator_traits<
            asio::associated_allocator_t<Handler>>::template rebind_alloc<char>;
        using allocator_type = standby_allocator<first_allocator>;
        [[nodiscard]] allocator_type get_allocator() const noexcept {
            return {memory, first_allocator(asio::get_associated_allocator(handler))};
        }
        void operator()() { std::move(handler)(result.ec, std::move(result.what)); }
        Handler handler;
        outcome result;
        std::shared_ptr<standby_memory> memory;
    };

    asio::executor_work_guard<asio::associated_executor_t<Handler, Executor>> work_;
    Handler handler_;
    std::optional<outcome> result_;
    std::shared_ptr<standby_memory> standby_ = std::make_shared<standby_memory>();
};

// A download with the handler that waits for it. The holder comes first, so that it goes last.
template <class Executor, class Handler, byte_sink Sink, class Policies>
class download_for final : handler_holder<Executor, Handler>,
                           public download_op<Executor, Sink, Policies> {
    using holder = handler_holder<Executor, Handler>;
    using op = download_op<Executor, Sink, Policies>;

  public:
    download_for(Executor const& ex, Handler handler, request what, Sink sink, Policies policies)
        : holder(ex, std::move(handler)),
          op(ex, std::move(what), std::move(sink), std::move(policies)) {}

    void start() { op::start(asio::get_associated_cancellation_slot(this->handler_)); }

  private:
    void complete(std::error_code ec, report what) override {
        this->result_ = {ec, std::move(what)};
    }
};

} // namespace cleave::detail
