// SPDX-License-Identifier: BSL-1.0
//
// One connection out of several addresses, without waiting for those that do not answer ("happy
// eyeballs", RFC 8305). Resolves no names, and knows no time limit: whoever started it gives up.
#pragma once

#include <exception> // Asio before 1.29 uses it and does not say so

#include <asio/basic_stream_socket.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/wait_traits.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave {

/// The addresses of a name in the order in which they are tried (RFC 8305, section 4): the first
/// one's family and the other by turns, and within each as they were.
[[nodiscard]] inline std::vector<asio::ip::tcp::endpoint>
by_turns(std::vector<asio::ip::tcp::endpoint> const& found) {
    std::array<std::vector<asio::ip::tcp::endpoint>, 2> families;
    for (auto const& e : found)
        families[e.protocol() == found.front().protocol() ? 0 : 1].push_back(e);
    std::vector<asio::ip::tcp::endpoint> order;
    order.reserve(found.size());
    for (std::size_t i = 0; i != std::max(families[0].size(), families[1].size()); ++i)
        for (auto const& family : families)
            if (i < family.size()) order.push_back(family[i]);
    return order;
}

namespace detail {
/// Whether an error of the system's says only that this machine has no way to such addresses.
[[nodiscard]] inline bool is_of_this_machine(std::error_code ec) noexcept {
    // Asio's older versions have a category for them that does not compare equal to `std::errc`.
    return ec.value() == ENETUNREACH || ec.value() == EADDRNOTAVAIL || ec.value() == EAFNOSUPPORT ||
           ec.value() == EINVAL;
}
} // namespace detail

/// Tries addresses, at least one, in the order given: the next one when `delay` has gone by, or at
/// once when one has failed (RFC 8305, section 5). The first that connects wins, the others are
/// closed. Not thread-safe; lives on one executor, in a `shared_ptr`.
template <class Executor>
class connect_race : public std::enable_shared_from_this<connect_race<Executor>> {
  public:
    using socket_type = asio::basic_stream_socket<asio::ip::tcp, Executor>;
    using handler_type = std::function<void(std::error_code, socket_type)>;

    connect_race(Executor const& ex, std::vector<asio::ip::tcp::endpoint> addresses,
                 std::chrono::nanoseconds delay)
        : timer_(ex), delay_(delay), addresses_(std::move(addresses)) {
        sockets_.reserve(addresses_.size()); // they stay where they are
    }

    /// Once only. The handler is not called from within. When all have failed, it is told the error
    /// of the last one that says something of the host rather than of this machine.
    void start(handler_type handler) {
        handler_ = std::move(handler);
        try_next();
    }

    /// Closes all. The handler is not called any more.
    void cancel() noexcept {
        handler_ = nullptr;
        timer_.cancel();
        sockets_.clear();
    }

  private:
    using clock = std::chrono::steady_clock;

    void try_next() {
        std::size_t const i = sockets_.size();
        sockets_.emplace_back(timer_.get_executor())
            .async_connect(addresses_[i], [self = this->shared_from_this(), i](std::error_code ec) {
                if (self->handler_) self->ended(i, ec);
            });
        timer_.expires_after(delay_);
        if (all_begun()) return;
        timer_.async_wait([self = this->shared_from_this(), i](std::error_code ec) {
            // A failure may have been quicker than this call.
            if (!ec && self->handler_ && self->sockets_.size() == i + 1) self->try_next();
        });
    }

    void ended(std::size_t i, std::error_code ec) {
        if (!ec) return finish(ec, std::move(sockets_[i]));
        std::error_code ignored;
        sockets_[i].close(ignored);
        ++failed_;
        if (!error_ || !detail::is_of_this_machine(ec)) error_ = ec;
        if (!all_begun()) return try_next();
        if (failed_ == addresses_.size()) finish(error_, std::move(sockets_[i]));
    }

    void finish(std::error_code ec, socket_type socket) {
        auto const handler = std::move(handler_);
        cancel();
        handler(ec, std::move(socket));
    }

    [[nodiscard]] bool all_begun() const noexcept { return sockets_.size() == addresses_.size(); }

    asio::basic_waitable_timer<clock, asio::wait_traits<clock>, Executor> timer_;
    std::chrono::nanoseconds delay_;
    std::vector<asio::ip::tcp::endpoint> addresses_;
    std::vector<socket_type> sockets_; // of the addresses that were begun with
    std::size_t failed_ = 0;
    std::error_code error_;
    handler_type handler_; // none when it is over
};

} // namespace cleave
