// SPDX-License-Identifier: BSL-1.0
//
// Time that passes only when a test says so: a world with a queue of events, a clock that shows
// the world's time, and a timer over it with the interface of Asio's. What happens in a world is
// the same at every run, and an hour in it takes as long as its events take to handle.
//
// One world at a time per thread; world, io_context and everything in them belong to one thread.

#pragma once

#include <exception> // Asio before 1.29 uses it and does not say so

#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/bind_executor.hpp>
#include <asio/error.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace cleave::testing {

// --- the world -----------------------------------------------------------------------------------

/// A queue of events, ordered by time and, at the same time, by when they were asked for. Times
/// are counted from the beginning of the world.
class world {
  public:
    using time = std::chrono::nanoseconds;

    world() {
        if (current_ != nullptr) throw std::logic_error("there is a world on this thread already");
        current_ = this;
    }
    ~world() { current_ = nullptr; }
    world(world const&) = delete;
    world& operator=(world const&) = delete;

    /// The world of this thread.
    [[nodiscard]] static world& current() {
        if (current_ == nullptr) throw std::logic_error("there is no world on this thread");
        return *current_;
    }

    [[nodiscard]] time now() const noexcept { return now_; }

    /// Identifies an event that has not happened yet.
    struct event_id {
        time at{0};
        std::uint64_t order = 0;
        friend auto operator<=>(event_id const&, event_id const&) noexcept = default;
    };

    /// Calls `f` at this time; a time that has passed is now. Never from within.
    event_id at(time when, std::function<void()> f) {
        event_id const id{std::max(when, now_), next_order_++};
        events_.emplace(id, std::move(f));
        return id;
    }
    event_id after(time from_now, std::function<void()> f) {
        return at(now_ + from_now, std::move(f));
    }
    void cancel(event_id id) { events_.erase(id); }

    /// Handlers and events that `run` has let happen so far.
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }

    /// Lets things happen one by one until `done()`, which is asked before each: what the context
    /// has ready first, then the next event. False when nothing is left that could happen, so that
    /// waiting for `done` would be waiting for ever, or when it is not done after so many steps.
    template <class Done>
    bool run(asio::io_context& context, Done done, std::uint64_t most_steps = 1'000'000) {
        for (std::uint64_t const end = steps_ + most_steps; steps_ != end;) {
            if (done()) return true;
            // Poll stops a context that has nothing at all to do; there may be more to do later.
            if (context.stopped()) context.restart();
            if (context.poll_one() == 0 && !next_event()) return false;
            ++steps_;
        }
        return false;
    }

  private:
    bool next_event() {
        if (events_.empty()) return false;
        auto const first = events_.extract(events_.begin());
        now_ = first.key().at;
        first.mapped()();
        return true;
    }

    static inline thread_local world* current_ = nullptr;

    time now_{0};
    std::uint64_t next_order_ = 0;
    std::uint64_t steps_ = 0;
    std::map<event_id, std::function<void()>> events_;
};

/// Shows the time of the thread's world.
struct virtual_clock {
    using duration = world::time;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<virtual_clock>;
    static constexpr bool is_steady = true;

    /// What the clock shows when the world begins: like any steady clock, not 0.
    static constexpr duration at_beginning = std::chrono::hours{1000};

    [[nodiscard]] static time_point now() {
        return time_point{at_beginning + world::current().now()};
    }
};

// --- handlers that wait --------------------------------------------------------------------------

namespace detail {

// The handlers of asynchronous operations that have not ended yet. They stay with the execution
// context and not with the timer or stream they were given to, which they keep alive themselves;
// so whatever is still waiting when the context goes is destroyed with it, as with Asio's own.
class waiting_handlers {
  public:
    using id = std::uint64_t;

    template <class Executor, class Handler>
    id add(Executor const& ex, Handler&& handler) {
        using model = one_of<Executor, std::decay_t<Handler>>;
        id const given = next_id_++;
        if (open_) all_[given] = std::make_unique<model>(ex, std::forward<Handler>(handler));
        return given;
    }
    /// Posts the handler with `ec`. Nothing happens when that was done before.
    bool complete(id which, std::error_code ec) {
        auto const found = all_.extract(which);
        if (found.empty()) return false;
        found.mapped()->post(ec);
        return true;
    }
    void shutdown() {
        open_ = false;
        auto const gone = std::exchange(all_, {});
    }

  private:
    struct any {
        virtual ~any() = default;
        virtual void post(std::error_code ec) = 0;
    };
    template <class Executor, class Handler>
    struct one_of final : any {
        template <class H>
        one_of(Executor const& ex, H&& h) : executor(ex), handler(std::forward<H>(h)) {}
        void post(std::error_code ec) override {
            asio::post(executor, asio::bind_executor(
                                     asio::get_associated_executor(handler, executor),
                                     [h = std::move(handler), ec]() mutable { std::move(h)(ec); }));
        }
        Executor executor;
        Handler handler;
    };

    std::map<id, std::unique_ptr<any>> all_;
    id next_id_ = 0;
    bool open_ = true;
};

class waiting_handlers_service : public asio::execution_context::service {
  public:
    using key_type = waiting_handlers_service;
    static inline asio::execution_context::id id;

    explicit waiting_handlers_service(asio::execution_context& context)
        : asio::execution_context::service(context) {}

    std::shared_ptr<waiting_handlers> const handlers = std::make_shared<waiting_handlers>();

  private:
    void shutdown() override { handlers->shutdown(); }
};

template <class Executor>
[[nodiscard]] std::shared_ptr<waiting_handlers> handlers_of(Executor const& ex) {
    auto& context = asio::query(ex, asio::execution::context);
    return asio::use_service<waiting_handlers_service>(context).handlers;
}

} // namespace detail

// --- the timer -----------------------------------------------------------------------------------

/// What `asio::basic_waitable_timer` is, over the virtual clock, as far as cleave needs it.
template <class Executor>
class virtual_timer {
  public:
    using executor_type = Executor;
    using clock_type = virtual_clock;
    using duration = clock_type::duration;
    using time_point = clock_type::time_point;

    explicit virtual_timer(Executor const& ex)
        : executor_(ex), handlers_(detail::handlers_of(ex)) {}
    virtual_timer(virtual_timer&&) noexcept = default;
    virtual_timer& operator=(virtual_timer&&) = delete;
    ~virtual_timer() { cancel(); }

    [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }
    [[nodiscard]] time_point expiry() const noexcept { return expiry_; }

    /// Whoever waits is called with `operation_aborted`. Answers with how many those were.
    std::size_t expires_at(time_point when) {
        expiry_ = when;
        return cancel();
    }
    std::size_t expires_after(duration from_now) {
        return expires_at(clock_type::now() + from_now);
    }
    std::size_t cancel() {
        std::size_t count = 0;
        for (auto const id : std::exchange(waiting_, {}))
            count += handlers_->complete(id, asio::error::operation_aborted) ? 1U : 0U;
        return count;
    }

    /// Handler: `void(std::error_code)`, posted to the executor.
    template <class CompletionToken>
    auto async_wait(CompletionToken&& token) {
        return asio::async_initiate<CompletionToken, void(std::error_code)>(
            [this](auto&& handler) {
                auto const id = handlers_->add(executor_, std::forward<decltype(handler)>(handler));
                waiting_.push_back(id);
                world::current().at(expiry_.time_since_epoch() - clock_type::at_beginning,
                                    [id, weak = std::weak_ptr{handlers_}] {
                                        if (auto const h = weak.lock()) h->complete(id, {});
                                    });
            },
            token);
    }

  private:
    Executor executor_;
    std::shared_ptr<detail::waiting_handlers> handlers_;
    time_point expiry_{};
    std::vector<detail::waiting_handlers::id> waiting_;
};

/// For `policies<>::with_timer<virtual_timers>()`.
struct virtual_timers {
    template <class Executor>
    using type = virtual_timer<Executor>;
};

/// For `policies<>::with_background(virtual_work{20ms})`: blocking work is done at one moment, so
/// much later than it was asked for, and lanes go on meanwhile.
struct virtual_work {
    world::time takes{0};

    template <class Executor, class Work>
    void post(Executor const& ex, Work work) const {
        auto const handlers = detail::handlers_of(ex);
        auto const id =
            handlers->add(ex, [w = std::move(work)](std::error_code) mutable { std::move(w)(); });
        world::current().after(takes, [id, weak = std::weak_ptr{handlers}] {
            if (auto const h = weak.lock()) h->complete(id, {});
        });
    }
};

} // namespace cleave::testing
