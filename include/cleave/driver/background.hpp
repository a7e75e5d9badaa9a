// SPDX-License-Identifier: BSL-1.0
//
// Where blocking work runs: syncing, hashing, allocating. Beside the lanes, not on their strand.
// And whether lanes themselves run beside each other.
#pragma once

#include <exception> // Asio before 1.29 uses it and does not say so

#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>
#include <asio/thread_pool.hpp>

#include <optional>
#include <utility>

namespace cleave {

namespace detail {

// One thread per execution context, joined when the context goes.
class background_service : public asio::execution_context::service {
  public:
    using key_type = background_service;
    static inline asio::execution_context::id id;

    explicit background_service(asio::execution_context& context)
        : asio::execution_context::service(context) {}

    template <class Work>
    void post(Work work) {
        if (pool_) asio::post(*pool_, std::move(work));
    }

  private:
    // From Asio 1.28 on called once more when an io_context goes.
    void shutdown() override {
        if (!pool_) return;
        pool_->stop();
        pool_->join();
        // What was still queued belongs to downloads, and must go while their context is there.
        pool_.reset();
    }
    std::optional<asio::thread_pool> pool_{1};
};

} // namespace detail

/// Runs blocking work on a thread of its own, one for each execution context, shared by its
/// downloads. The default.
struct own_thread {
    template <class Executor, class Work>
    void post(Executor const& ex, Work work) const {
        auto& context = asio::query(ex, asio::execution::context);
        asio::use_service<detail::background_service>(context).post(std::move(work));
    }
};

/// Runs blocking work in between, on the executor of the download itself: no second thread, but
/// everything waits for the disk. For simulations, and for devices with one thread.
struct same_thread {
    template <class Executor, class Work>
    void post(Executor const& ex, Work work) const {
        asio::post(ex, std::move(work));
    }
};

/// Runs blocking work on the threads of the download's own executor, and there lets lanes receive,
/// decrypt and write side by side; only what is decided stays on one strand. For an executor with
/// several threads, as `asio::thread_pool`, where one processor does not keep up with the network,
/// and for sinks that are `concurrent`: with others lanes take turns as ever.
struct side_by_side : same_thread {
    static constexpr bool lanes_apart = true;
};

} // namespace cleave
