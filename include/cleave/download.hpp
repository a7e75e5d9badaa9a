// SPDX-License-Identifier: BSL-1.0
//
// The front door: download one object, with or without waiting, with policies of your choice.
// Includes no OpenSSL header; `cleave.hpp` adds digests.
#pragma once

#if __cplusplus < 202002L
#error "cleave needs C++20: tell the compiler -std=c++20"
#endif

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/units.hpp>
#include <cleave/base/version.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/connect/pool.hpp>
#include <cleave/connect/tcp.hpp>
#include <cleave/driver/background.hpp>
#include <cleave/driver/download_op.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/engine/report.hpp>
#include <cleave/journal/file_journal.hpp>
#include <cleave/journal/no_journal.hpp>
#include <cleave/journal/record_journal.hpp>
#include <cleave/lanes/adaptive_lanes.hpp>
#include <cleave/lanes/fixed_lanes.hpp>
#include <cleave/observe/counters.hpp>
#include <cleave/observe/log_lines.hpp>
#include <cleave/observe/on_progress.hpp>
#include <cleave/observe/silent.hpp>
#include <cleave/observe/tee_observer.hpp>
#include <cleave/pace/token_bucket.hpp>
#include <cleave/pace/unlimited.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>
#include <cleave/renew/backoff.hpp>
#include <cleave/renew/give_up.hpp>
#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/mapped_file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/null_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>
#include <cleave/sink/tee_sink.hpp>
#include <cleave/source/blocking_source.hpp>
#include <cleave/source/callback_source.hpp>
#include <cleave/source/no_source.hpp>
#include <cleave/verify/no_verification.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

namespace cleave {

/// A handle on a running download. Copies are handles on the same one; every member may be called
/// from any thread, before, during and after the download, and from inside its callbacks. One
/// control serves one download.
class control {
  public:
    /// Ends the download with `error::cancelled`, soon. Nothing happens when it has ended.
    void cancel() const { tell(event::cancelled{}); }

    /// Lets the download rest: soon nothing is asked for or received any more. Connections stay
    /// open, as long as the server lets them; a deadline goes on.
    void pause() const { tell(event::paused{true}); }
    /// Lets it go on.
    void resume() const { tell(event::paused{false}); }

    /// From now on so many bytes a second, over all lanes; 0 for no limit. Nothing happens where
    /// the pacer's rate cannot be changed (`adjustable_pacer`).
    void rate(std::uint64_t bytes_a_second) const { tell(event::rate_changed{bytes_a_second}); }

    /// For the driver: what to tell of what was asked for, at once of what was asked for before. It
    /// must not call back into this control.
    void attach(std::function<void(any_event)> tell) const {
        std::lock_guard const lock{state_->mutex};
        if (state_->rate) tell(event::rate_changed{*state_->rate});
        if (state_->paused) tell(event::paused{true});
        if (state_->cancelled) tell(event::cancelled{});
        state_->tell = std::move(tell);
    }
    /// For the driver: the download has ended. When this returns, nothing of it is in use here.
    void detach() const noexcept {
        std::lock_guard const lock{state_->mutex};
        state_->tell = nullptr;
    }

  private:
    struct shared {
        std::mutex mutex;
        bool cancelled = false;
        bool paused = false;
        std::optional<std::uint64_t> rate;
        std::function<void(any_event)> tell;
    };

    template <class Event>
    void tell(Event e) const {
        std::lock_guard const lock{state_->mutex};
        if constexpr (std::is_same_v<Event, event::cancelled>) state_->cancelled = true;
        if constexpr (std::is_same_v<Event, event::paused>) state_->paused = e.rest;
        if constexpr (std::is_same_v<Event, event::rate_changed>) state_->rate = e.rate;
        if (state_->tell) state_->tell(e);
    }

    std::shared_ptr<shared> state_ = std::make_shared<shared>();
};

/// The timer that a download waits with: Asio's, over any clock.
template <class Clock>
struct asio_timer {
    template <class Executor>
    using type = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;
};

/// How to download: every decision as a class, given by name. Each `with_...` answers with policies
/// in which one is replaced; the defaults are right for most.
template <range_planner Planner = guided, lane_rule LaneRule = fixed_lanes,
          renewal_rule RenewalRule = backoff, content_verifier Verifier = no_verification,
          byte_pacer Pacer = token_bucket, observer Observer = silent,
          class Connector = tcp_connector, resume_journal Journal = file_journal,
          request_source Source = no_source, class Timer = asio_timer<std::chrono::steady_clock>,
          class Background = own_thread>
struct policies {
    using planner_type = Planner;
    using lane_rule_type = LaneRule;
    using renewal_rule_type = RenewalRule;
    using verifier_type = Verifier;
    using pacer_type = Pacer;
    using observer_type = Observer;
    using connector_type = Connector;
    using journal_type = Journal;
    using source_type = Source;
    using timer_template = Timer;
    using background_type = Background;
    using control_type = cleave::control;

    Planner plan{};
    LaneRule lanes{};
    RenewalRule renew{};
    Verifier verify{};
    Pacer pace{};
    Observer observe{};
    Connector connect{};
    Journal journal{};
    Source source{};
    Background background{};
    cleave::control control{};
    engine_windows windows{};

    /// Which segment next: `guided`, `even_split`, `fixed_size`, `listed_segments`, or your own.
    template <range_planner P>
    [[nodiscard]] auto with_plan(P p) && {
        return std::move(*this).template with<Timer>(
            std::move(p), std::move(lanes), std::move(renew), std::move(verify), std::move(pace),
            std::move(observe), std::move(connect), std::move(journal), std::move(source),
            std::move(background));
    }
    /// How many lanes: `fixed_lanes`, `adaptive_lanes`, or your own.
    template <lane_rule L>
    [[nodiscard]] auto with_lanes(L l) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(l), std::move(renew), std::move(verify), std::move(pace),
            std::move(observe), std::move(connect), std::move(journal), std::move(source),
            std::move(background));
    }
    /// After a failure: `backoff`, `give_up`, or your own.
    template <renewal_rule R>
    [[nodiscard]] auto with_renewal(R r) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(r), std::move(verify), std::move(pace),
            std::move(observe), std::move(connect), std::move(journal), std::move(source),
            std::move(background));
    }
    /// Are these the right bytes: `no_verification`, `digest`, `piece_digests`, `server_digest`, or
    /// your own.
    template <content_verifier V>
    [[nodiscard]] auto with_verify(V v) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(v), std::move(pace),
            std::move(observe), std::move(connect), std::move(journal), std::move(source),
            std::move(background));
    }
    /// How fast: `unlimited`, `token_bucket`, or your own.
    template <byte_pacer B>
    [[nodiscard]] auto with_pace(B b) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(verify), std::move(b),
            std::move(observe), std::move(connect), std::move(journal), std::move(source),
            std::move(background));
    }
    /// Who looks on: `silent`, `on_progress`, `counters`, `log_lines`, `tee_observer`, or your own.
    template <observer O>
    [[nodiscard]] auto with_observer(O o) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(verify), std::move(pace),
            std::move(o), std::move(connect), std::move(journal), std::move(source),
            std::move(background));
    }
    /// Streams to servers: `tcp_connector`, `tls_connector`, or your own.
    template <class C>
        requires byte_connector<C, asio::any_io_executor>
    [[nodiscard]] auto with_connector(C c) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(verify), std::move(pace),
            std::move(observe), std::move(c), std::move(journal), std::move(source),
            std::move(background));
    }
    /// What survives a crash: `file_journal`, `record_journal`, `no_journal`, or your own.
    template <resume_journal J>
    [[nodiscard]] auto with_journal(J j) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(verify), std::move(pace),
            std::move(observe), std::move(connect), std::move(j), std::move(source),
            std::move(background));
    }
    /// Where a fresh URL comes from: `no_source`, `callback_source`, `blocking_source`, or your
    /// own.
    template <request_source S>
    [[nodiscard]] auto with_source(S s) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(verify), std::move(pace),
            std::move(observe), std::move(connect), std::move(journal), std::move(s),
            std::move(background));
    }
    /// The clock that rules all waiting; `T` has a member template `type<Executor>`, a timer with
    /// the interface of Asio's `basic_waitable_timer`.
    template <class T>
    [[nodiscard]] auto with_timer() && {
        return std::move(*this).template with<T>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(verify), std::move(pace),
            std::move(observe), std::move(connect), std::move(journal), std::move(source),
            std::move(background));
    }
    /// Where blocking work runs, and whether lanes run side by side: `own_thread`, `same_thread`,
    /// `side_by_side`.
    template <class B>
    [[nodiscard]] auto with_background(B b) && {
        return std::move(*this).template with<Timer>(
            std::move(plan), std::move(lanes), std::move(renew), std::move(verify), std::move(pace),
            std::move(observe), std::move(connect), std::move(journal), std::move(source),
            std::move(b));
    }
    /// The handle by which the download is to be steered.
    [[nodiscard]] policies with_control(cleave::control c) && {
        control = std::move(c);
        return std::move(*this);
    }
    /// Sizes of the engine's windows: grants, the opening request, what idle lanes take.
    [[nodiscard]] policies with_windows(engine_windows w) && {
        windows = w;
        return std::move(*this);
    }

  private:
    template <class T, class P, class L, class R, class V, class W, class O, class C, class J,
              class S, class B>
    [[nodiscard]] auto with(P p, L l, R r, V v, W w, O o, C c, J j, S s, B b) && {
        return policies<P, L, R, V, W, O, C, J, S, T, B>{
            std::move(p), std::move(l), std::move(r),       std::move(v),
            std::move(w), std::move(o), std::move(c),       std::move(j),
            std::move(s), std::move(b), std::move(control), windows};
    }
};

/// What downloads share: idle connections, and a rate. A copy is a handle on the same session, and
/// may be used from any thread; what is shared lives as long as a handle or a download with it.
///
///     cleave::session s{10_MB};
///     cleave::download(url, path, s.policies().with_lanes(cleave::fixed_lanes{4}));
///
/// For https: `s.policies().with_connector(cleave::tls_connector{settings, s.pool()})`, of one
/// connector whose copies are given to each download.
class session {
  public:
    /// `bytes_a_second`: of all downloads together; 0 for no limit.
    explicit session(std::uint64_t bytes_a_second = 0,
                     connection_pool const& pool = connection_pool{})
        : pool_(pool), pace_(bytes_a_second) {}

    /// Policies for one download of the session, to be made more particular.
    [[nodiscard]] auto policies() const {
        return cleave::policies<>{}.with_connector(tcp_connector{pool_}).with_pace(pace_);
    }
    /// From now on so many bytes a second, of all downloads together; 0 for no limit.
    void rate(std::uint64_t bytes_a_second) const { token_bucket{pace_}.set_rate(bytes_a_second); }
    /// The idle connections.
    [[nodiscard]] connection_pool pool() const { return pool_; }

  private:
    connection_pool pool_;
    token_bucket pace_;
};

namespace detail {

template <class Executor>
class initiate_download {
  public:
    using executor_type = Executor;
    explicit initiate_download(Executor ex) : executor_(std::move(ex)) {}
    [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }

    template <class Handler, class Sink, class Policies>
    void operator()(Handler&& handler, request what, Sink sink, Policies how) const {
        using handler_type = std::decay_t<Handler>;
        using op = download_for<Executor, handler_type, Sink, Policies>;
        // Not from the handler's allocator: whoever cancels may hold the memory a moment longer
        // than the handler lives.
        std::make_shared<op>(executor_, std::forward<Handler>(handler), std::move(what),
                             std::move(sink), std::move(how))
            ->start();
    }

  private:
    Executor executor_;
};

} // namespace detail

/// Downloads `what` into `sink` without blocking.
///
/// Handler: `void(std::error_code, cleave::report)`, called once, on its associated executor and
/// never from within this call, when every lane and every blocking job is quiet. Success means
/// that all bytes are in place, verified if a digest is known, durable and published. After a
/// failure the report says what happened (`report::failed`).
///
/// Errors: those of `cleave::error`, and codes of the system, of Asio and of the policies.
/// Cancellation: terminal, partial and total alike end in `error::cancelled`.
/// Threads: the executor may run in several. Handler, `what`, `sink` and `how` are moved in; what
/// they refer to must live until the handler runs; they are gone by then. The handler's associated
/// allocator serves its own call.
/// Reentrancy: the policies are called on one strand, a sink's consumer beside it. From inside them
/// and from inside the handler other downloads may begin, and controls, sessions and whatever else
/// the caller holds may be used; in the handler it may also be destroyed. Within a policy or a
/// consumer, what that one refers to must stay.
template <class Executor, byte_sink Sink, class Policies, class CompletionToken>
auto async_download(Executor const& ex, request what, Sink sink, Policies how,
                    CompletionToken&& token) {
    return asio::async_initiate<CompletionToken, void(std::error_code, report)>(
        detail::initiate_download<Executor>{ex}, token, std::move(what), std::move(sink),
        std::move(how));
}

/// What a throwing `download` throws: the error code, a message with the particulars and the
/// remedy, and the report.
class download_error : public std::system_error {
  public:
    explicit download_error(cleave::report r)
        : std::system_error(r.failed->code),
          report_(std::make_shared<cleave::report>(std::move(r))),
          what_(std::make_shared<std::string>(report_->failed->message())) {}

    [[nodiscard]] char const* what() const noexcept override { return what_->c_str(); }
    [[nodiscard]] cleave::report const& report() const noexcept { return *report_; }

  private:
    // Shared, because copying an exception must not throw.
    std::shared_ptr<cleave::report const> report_;
    std::shared_ptr<std::string const> what_;
};

/// Downloads `what` into `sink` and waits for it. Does not throw on failure: `ec` and the report
/// tell.
template <byte_sink Sink, class Policies>
report download(request what, Sink sink, Policies how, std::error_code& ec) {
    auto context = std::make_unique<asio::io_context>(1);
    std::optional<report> result;
    async_download(context->get_executor(), std::move(what), std::move(sink), std::move(how),
                   [&](std::error_code e, report r) {
                       ec = e;
                       result = std::move(r);
                   });
    while (!result) context->run_one();
    context->poll();
    // A name lookup that hangs cannot be interrupted; it may end on a thread of its own, instead
    // of keeping the caller.
    if (!context->stopped()) std::thread{[late = std::move(context)] {}}.detach();
    return *std::move(result);
}

/// The same, into the file `path`.
template <class Policies>
report download(request what, std::string path, Policies how, std::error_code& ec) {
    return download(std::move(what), file_sink{std::move(path)}, std::move(how), ec);
}
/// The same, with the policies as they are.
// A template, so that who only includes this compiles no download.
template <class Policies = policies<>>
report download(request what, std::string path, std::error_code& ec) {
    return download(std::move(what), std::move(path), Policies{}, ec);
}

/// Downloads `what` into `sink` and waits for it. Throws `download_error`.
template <byte_sink Sink, class Policies>
report download(request what, Sink sink, Policies how) {
    std::error_code ec;
    report r = download(std::move(what), std::move(sink), std::move(how), ec);
    if (ec) throw download_error{std::move(r)};
    return r;
}

/// Downloads `what` to the file `path` and waits for it. Throws `download_error`.
template <class Policies = policies<>>
report download(request what, std::string path, Policies how = {}) {
    return download(std::move(what), file_sink{std::move(path)}, std::move(how));
}

} // namespace cleave
