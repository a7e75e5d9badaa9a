// SPDX-License-Identifier: BSL-1.0
//
// Plain TCP. Resolves with the system's resolver and tries the addresses one after another, unless
// a pool has a connection to the origin already.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/connect/pool.hpp>

#include <fcntl.h>

#include <asio/any_io_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/write.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

namespace detail {
[[nodiscard]] inline asio::ip::tcp protocol_of(socket_handle const& socket) noexcept {
    return socket.is_ipv6() ? asio::ip::tcp::v6() : asio::ip::tcp::v4();
}
} // namespace detail

/// A TCP connection to a URL's host and port. Not thread-safe; lives on one executor. With a pool
/// it begins with an idle connection where there is one, and `keep` leaves its own there.
template <class Executor>
class tcp_stream {
  public:
    using executor_type = Executor;
    using socket_type = asio::basic_stream_socket<asio::ip::tcp, Executor>;
    static constexpr bool read_by_system = true;

    explicit tcp_stream(Executor const& ex, std::optional<connection_pool> pool = std::nullopt)
        : socket_(ex), pool_(std::move(pool)) {}
    tcp_stream(tcp_stream&&) = default;
    tcp_stream& operator=(tcp_stream&&) = delete;
    ~tcp_stream() { close(); }

    /// Handler: `void(std::error_code)`. Fails with the resolver's or the last address's code.
    /// Where the pool has a connection that is open and quiet, this is it, and `kept` is true.
    template <class Handler>
    void async_connect(url const& to, Handler handler) {
        close();
        auto attempt =
            std::make_shared<connecting<Handler>>(socket_.get_executor(), std::move(handler));
        pending_ = attempt;
        if (pool_) {
            key_ = key_of(to);
            attempt->kept = take_idle(attempt->socket);
            if (attempt->kept)
                return asio::post(socket_.get_executor(), [attempt, this]() mutable {
                    if (attempt->handler) finish(std::move(attempt), {});
                });
        }
        // A literal address must not wait for a name server.
        auto flags = asio::ip::resolver_base::numeric_service;
        if (to.is_ip_literal()) flags |= asio::ip::resolver_base::numeric_host;
        attempt->resolver.async_resolve(
            std::string{to.host()}, std::to_string(to.port()), flags,
            [attempt, this](std::error_code ec, auto results) mutable {
                // An attempt that was given up on has no handler left, and perhaps no stream.
                if (!attempt->handler) return;
                if (ec) return finish(std::move(attempt), ec);
                auto& socket = attempt->socket;
                asio::async_connect(
                    socket, results,
                    [attempt, this](std::error_code e, asio::ip::tcp::endpoint const&) mutable {
                        if (attempt->handler) finish(std::move(attempt), e);
                    });
            });
    }

    /// Handler: `void(std::error_code)`.
    template <class Handler>
    void async_write(std::string_view text, Handler handler) {
        asio::async_write(socket_, asio::buffer(text.data(), text.size()),
                          [h = std::move(handler)](std::error_code ec, std::size_t) mutable {
                              std::move(h)(ec);
                          });
    }

    [[nodiscard]] std::size_t read_some(std::span<std::byte> to, std::error_code& ec) {
        return socket_.read_some(asio::buffer(to.data(), to.size()), ec);
    }

    /// Handler: `void(std::error_code)`.
    template <class Handler>
    void async_wait(Handler handler) {
        socket_.async_wait(asio::socket_base::wait_read, std::move(handler));
    }

    void close() noexcept {
        if (auto attempt = pending_.lock()) attempt->abort();
        pending_.reset();
        kept_ = false;
        std::error_code ignored;
        socket_.close(ignored);
    }

    /// Like `close`, but the connection goes into the pool, where there is one.
    void keep() noexcept {
        if (pool_) {
            std::error_code ec;
            socket_handle idle{socket_.release(ec)};
            if (!ec) pool_->put(std::move(key_), std::move(idle));
        }
        close();
    }
    /// Whether the connection came from the pool.
    [[nodiscard]] bool kept() const noexcept { return kept_; }

    /// The connected socket, non-blocking: for what speaks over it, such as TLS.
    [[nodiscard]] socket_type& socket() noexcept { return socket_; }

  private:
    // An attempt to connect, with a socket of its own until it has succeeded. A name lookup cannot
    // be interrupted; so the handler is called at once when the attempt is given up, and the
    // lookup's late answer finds nobody waiting.
    struct attempt_base {
        virtual ~attempt_base() = default;
        virtual void abort() noexcept = 0;
    };
    template <class Handler>
    struct connecting : attempt_base {
        connecting(Executor const& ex, Handler h)
            : resolver(ex), socket(ex), handler(std::move(h)) {}
        void abort() noexcept override {
            resolver.cancel();
            std::error_code ignored;
            socket.close(ignored);
            if (!handler) return;
            asio::post(resolver.get_executor(),
                       [h = std::move(*std::exchange(handler, std::nullopt))]() mutable {
                           std::move(h)(make_error_code(asio::error::operation_aborted));
                       });
        }
        asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver;
        socket_type socket;
        std::optional<Handler> handler;
        bool kept = false;
    };

    template <class Handler>
    void finish(std::shared_ptr<connecting<Handler>> attempt, std::error_code ec) {
        pending_.reset();
        if (!ec) prepare_socket(attempt->socket, ec);
        if (!ec) {
            socket_ = std::move(attempt->socket);
            kept_ = attempt->kept;
        }
        Handler handler = std::move(*attempt->handler);
        attempt->handler.reset();
        attempt.reset();
        std::move(handler)(ec);
    }

    // An idle connection to the present origin. Of those that are of no use any more it frees the
    // pool on the way.
    bool take_idle(socket_type& to) {
        while (auto idle = pool_->take(key_)) {
            if (!idle->is_quiet()) continue;
            std::error_code ec;
            to.assign(detail::protocol_of(*idle), idle->get(), ec);
            if (ec) continue;
            (void)idle->release();
            return true;
        }
        return false;
    }

    static void prepare_socket(socket_type& socket, std::error_code& ec) {
        socket.non_blocking(true, ec);
        // No program that the caller starts meanwhile needs it.
        (void)::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
        // Requests are small and complete; waiting to fill a packet only delays them.
        std::error_code ignored;
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    }

    socket_type socket_;
    std::weak_ptr<attempt_base> pending_;
    std::optional<connection_pool> pool_;
    connection_key key_; // of the origin last connected to, where there is a pool
    bool kept_ = false;
};

/// Makes plain TCP streams: `http` URLs only. With a pool they share their connections, with those
/// of other downloads too, on whatever executor and thread these run.
struct tcp_connector {
    /// Where idle connections are kept and looked for; none is.
    std::optional<connection_pool> pool = std::nullopt;

    template <class Executor>
    [[nodiscard]] tcp_stream<Executor> make(Executor const& ex) const {
        return tcp_stream<Executor>{ex, pool};
    }
    [[nodiscard]] std::error_code check(url const& to) const {
        if (to.scheme() == "https") return error::tls_unavailable;
        return {};
    }
    /// Refusals, resets and lookups may pass; an address family or an address that does not exist
    /// on this machine will not.
    [[nodiscard]] cause classify(std::error_code ec) const noexcept {
        if (ec.category() == error_category()) return cause_of(static_cast<error>(ec.value()));
        if (ec == std::errc::operation_canceled) return cause::cancelled;
        if (ec == std::errc::permission_denied || ec == std::errc::address_family_not_supported ||
            ec == std::errc::invalid_argument)
            return cause::configuration;
        return cause::passing;
    }
};

static_assert(keeps<tcp_stream<asio::any_io_executor>>);
static_assert(byte_connector<tcp_connector, asio::any_io_executor>);

} // namespace cleave
