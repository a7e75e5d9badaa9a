// SPDX-License-Identifier: BSL-1.0
//
// Plain TCP. Resolves with the system's resolver and has the addresses race, unless a pool has a
// connection to the origin already. By way of whom it gets there is the route's business.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/exception.hpp>
#include <cleave/base/standby_memory.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/connect/pool.hpp>
#include <cleave/connect/race.hpp>
#include <cleave/connect/route.hpp>
#include <cleave/http/request_head.hpp>

#include <fcntl.h>

#include <asio/any_io_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/write.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave {

/// Over which version of IP connections are made.
enum class address_family : std::uint8_t { any, ipv4, ipv6 };

template <class Executor, route Route = direct>
class tcp_stream;

/// Makes plain TCP streams: `http` URLs only. With a pool they share their connections, with those
/// of other downloads too, on whatever executor and thread these run.
///
///     how.with_connector(cleave::tcp_connector{.family = cleave::address_family::ipv4})
///     how.with_connector(cleave::tcp_connector{pool}.via(proxies))
template <route Route = direct>
struct basic_tcp_connector {
    /// Where idle connections are kept and looked for; none is.
    std::optional<connection_pool> pool = std::nullopt;
    /// Addresses of another one are passed over, the proxy's too.
    address_family family = address_family::any;
    /// Given by `via`. Never null.
    std::shared_ptr<Route const> route = std::make_shared<Route const>();
    /// How long an address is waited for before the host's next one is tried beside it (RFC 8305,
    /// section 5).
    std::chrono::nanoseconds attempt_delay = std::chrono::milliseconds{250};

    /// The same by way of another route.
    template <cleave::route R>
    [[nodiscard]] basic_tcp_connector<R> via(R r) const {
        return {pool, family, std::make_shared<R const>(std::move(r)), attempt_delay};
    }

    template <class Executor>
    [[nodiscard]] tcp_stream<Executor, Route> make(Executor const& ex) const {
        return tcp_stream<Executor, Route>{ex, *this};
    }
    [[nodiscard]] std::error_code check(url const& to) const {
        if (to.scheme() == "https") return error::tls_unavailable;
        return route->check(to);
    }
    /// The proxy that connections to a URL are made to, as "host:port"; else empty.
    [[nodiscard]] std::string by_way_of(url const& to) const {
        auto const [host, port] = route->first(to);
        if (host == to.host() && port == to.port()) return {};
        bool const ipv6 = host.find(':') != std::string::npos;
        return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
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

/// Connections without TLS, straight to the server.
using tcp_connector = basic_tcp_connector<>;

namespace detail {
[[nodiscard]] inline asio::ip::tcp protocol_of(socket_handle const& socket) noexcept {
    return socket.is_ipv6() ? asio::ip::tcp::v6() : asio::ip::tcp::v4();
}
[[nodiscard]] inline bool is_of_resolver(std::error_code ec) noexcept {
    return ec.category() == asio::error::get_netdb_category() ||
           ec.category() == asio::error::get_addrinfo_category();
}
} // namespace detail

/// A TCP connection to a URL's host and port, or to the proxy on the way there. Not thread-safe;
/// lives on one executor. With a pool it begins with an idle connection where there is one, and
/// `keep` leaves its own there.
template <class Executor, route Route>
class tcp_stream {
  public:
    using executor_type = Executor;
    using socket_type = asio::basic_stream_socket<asio::ip::tcp, Executor>;

    explicit tcp_stream(Executor const& ex, basic_tcp_connector<Route> how = {})
        : socket_(ex), how_(std::move(how)) {}
    tcp_stream(tcp_stream&&) = default;
    tcp_stream& operator=(tcp_stream&&) = delete;
    ~tcp_stream() { close(); }

    /// Handler: `void(std::error_code)`. Fails with `error::name_not_resolved`, also for a name
    /// without an address of the family wanted, with `asio::error::address_family_not_supported`
    /// for an address of another one, with an address's code, or with the route's.
    /// Where the pool has a connection that is open and quiet, this is it, and `kept` is true.
    template <class Handler>
    void async_connect(url const& to, Handler handler) {
        async_connect(to, {}, std::move(handler));
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
        proxy_ = nullptr;
        layer_.reset();
        low_water_ = 1;
        std::error_code ignored;
        socket_.close(ignored);
    }

    /// Like `close`, but the connection goes into the pool, where there is one.
    void keep() noexcept { keep(nullptr); }
    /// Whether the connection came from the pool.
    [[nodiscard]] bool kept() const noexcept { return kept_; }

    [[nodiscard]] bool read_by_system() const noexcept { return true; }
    [[nodiscard]] int native_socket() noexcept { return socket_.native_handle(); }
    /// SO_RCVLOWAT (socket(7)).
    void low_water(std::size_t n) noexcept {
        if (n == low_water_ || !socket_.is_open()) return;
        std::error_code ec;
        asio::socket_base::receive_low_watermark const option{
            static_cast<int>(std::min<std::size_t>(n, 1 << 30))};
        socket_.set_option(option, ec);
        if (!ec) low_water_ = n;
    }
    [[nodiscard]] connection_facts about() const noexcept {
        return {.handshake = handshake::none, .proxy = proxy_};
    }

    // ---- for what speaks over it, such as TLS

    /// The connected socket, non-blocking.
    [[nodiscard]] socket_type& socket() noexcept { return socket_; }
    /// Takes from the pool only what was kept with a layer of this name.
    template <class Handler>
    void async_connect(url const& to, std::string_view layer, Handler handler) {
        close();
        auto attempt =
            std::make_shared<connecting<Handler>>(socket_.get_executor(), to, std::move(handler));
        pending_ = attempt;
        if (how_.pool) {
            key_ = key(to, layer);
            if (take_idle(*attempt))
                return asio::post(socket_.get_executor(), [attempt, this]() mutable {
                    if (attempt->handler) finish(std::move(attempt), {});
                });
        }
        resolve(std::move(attempt));
    }
    /// The layer that the present connection was kept with, once; else null.
    [[nodiscard]] std::unique_ptr<connection_layer> take_layer() noexcept {
        return std::move(layer_);
    }
    /// Keeps the connection with the layer over it.
    void keep(std::unique_ptr<connection_layer> layer) noexcept {
        low_water(1);
        if (how_.pool && socket_.is_open()) {
            std::error_code ec;
            socket_handle idle{socket_.release(ec)};
            if (!ec) how_.pool->put(std::move(key_), {std::move(idle), std::move(layer)});
        }
        layer.reset(); // while it has its socket
        close();
    }

  private:
    // An attempt to connect, with a socket of its own until it has succeeded. A name lookup cannot
    // be interrupted; so the handler is called at once when the attempt is given up, and the
    // lookup's late answer finds nobody waiting.
    struct attempt_base {
        attempt_base(Executor const& ex, url const& u) : to(u), resolver(ex), socket(ex) {}
        virtual ~attempt_base() = default;
        virtual void abort() noexcept = 0;

        url const to;
        asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver;
        std::weak_ptr<connect_race<Executor>> race; // which holds the attempt
        socket_type socket;
        std::unique_ptr<connection_layer> layer; // of a connection that was kept
        bool kept = false;
    };
    template <class Handler>
    struct connecting : attempt_base {
        connecting(Executor const& ex, url const& u, Handler h)
            : attempt_base(ex, u), handler(std::move(h)) {}
        void abort() noexcept override {
            try {
                this->resolver.cancel();
            } catch (std::bad_alloc const&) {
                // Asio wants memory for that. The lookup goes on, for nobody.
            }
            if (auto const running = this->race.lock()) running->cancel();
            this->layer.reset();
            std::error_code ignored;
            this->socket.close(ignored);
            if (!handler) return;
            asio::post(
                this->resolver.get_executor(),
                detail::posted_with_standby{
                    standby, [h = std::move(*std::exchange(handler, std::nullopt))]() mutable {
                        std::move(h)(make_error_code(asio::error::operation_aborted));
                    }});
        }
        std::optional<Handler> handler;
        std::shared_ptr<detail::standby_memory> standby =
            std::make_shared<detail::standby_memory>();
    };
    template <class Handler>
    using attempt_ptr = std::shared_ptr<connecting<Handler>>;

    template <class Handler>
    void resolve(attempt_ptr<Handler> attempt) {
        auto const [host, port] = how_.route->first(attempt->to);
        // A literal address must not wait for a name server.
        std::error_code no_literal;
        auto const address = asio::ip::make_address(host, no_literal);
        if (!no_literal) {
            if (is_wanted(address)) return race(std::move(attempt), {{address, port}});
            return fail(std::move(attempt), asio::error::address_family_not_supported);
        }
        auto done = [attempt, this](std::error_code ec, auto const& found) mutable {
            // An attempt that was given up on has no handler left, and perhaps no stream.
            if (!attempt->handler) return;
            if (ec) return finish(std::move(attempt), ec);
            race(std::move(attempt), {found.begin(), found.end()});
        };
        auto const flags = asio::ip::resolver_base::numeric_service;
        auto const service = std::to_string(port);
        try {
            if (how_.family == address_family::any)
                return attempt->resolver.async_resolve(host, service, flags, std::move(done));
            auto const protocol =
                how_.family == address_family::ipv4 ? asio::ip::tcp::v4() : asio::ip::tcp::v6();
            attempt->resolver.async_resolve(protocol, host, service, flags, std::move(done));
        } catch (std::system_error const& e) {
            fail(std::move(attempt), e.code()); // there is no thread to be had
        }
    }

    [[nodiscard]] bool is_wanted(asio::ip::address const& a) const noexcept {
        return how_.family == address_family::any ||
               a.is_v6() == (how_.family == address_family::ipv6);
    }

    template <class Handler>
    void race(attempt_ptr<Handler> attempt, std::vector<asio::ip::tcp::endpoint> addresses) {
        std::erase_if(addresses, [this](auto const& e) { return !is_wanted(e.address()); });
        if (addresses.empty()) return fail(std::move(attempt), error::name_not_resolved);
        auto const running = std::make_shared<connect_race<Executor>>(
            socket_.get_executor(), by_turns(addresses), how_.attempt_delay);
        attempt->race = running;
        running->start([attempt, this](std::error_code ec, socket_type winner) mutable {
            if (!ec) prepare_socket(winner, ec);
            if (ec) return finish(std::move(attempt), ec);
            attempt->socket = std::move(winner);
            how_.route->async_open(attempt->socket, attempt->to,
                                   [attempt, this](std::error_code e) mutable {
                                       if (attempt->handler) finish(std::move(attempt), e);
                                   });
        });
    }

    template <class Handler>
    void fail(attempt_ptr<Handler> attempt, std::error_code ec) {
        asio::post(socket_.get_executor(), [attempt, ec, this]() mutable {
            if (attempt->handler) finish(std::move(attempt), ec);
        });
    }
    template <class Handler>
    void finish(attempt_ptr<Handler> attempt, std::error_code ec) {
        pending_.reset();
        // A route may look up names, too.
        if (detail::is_of_resolver(ec)) ec = error::name_not_resolved;
        if (!ec) {
            socket_ = std::move(attempt->socket);
            layer_ = std::move(attempt->layer);
            kept_ = attempt->kept;
            proxy_ = how_.route->hop(attempt->to);
        }
        Handler handler = std::move(*attempt->handler);
        attempt->handler.reset();
        attempt.reset();
        std::move(handler)(ec);
    }

    [[nodiscard]] connection_key key(url const& to, std::string_view layer) const {
        auto made = key_of(to);
        auto& options = made.options;
        options = layer;
        if (how_.family != address_family::any)
            options += how_.family == address_family::ipv4 ? "IPv4 " : "IPv6 ";
        options += how_.route->key(to);
        return made;
    }

    // An idle connection to the present origin. Of those that are of no use any more it frees the
    // pool on the way.
    bool take_idle(attempt_base& to) {
        while (auto idle = how_.pool->take(key_)) {
            if (!idle->is_quiet()) continue;
            std::error_code ec;
            to.socket.assign(detail::protocol_of(idle->socket), idle->socket.get(), ec);
            if (ec) continue;
            (void)idle->socket.release();
            to.layer = std::move(idle->layer);
            prepare_socket(to.socket, ec);
            if (!ec) return to.kept = true;
            to.layer.reset();
            to.socket.close(ec);
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
    std::unique_ptr<connection_layer> layer_; // goes first
    std::weak_ptr<attempt_base> pending_;
    basic_tcp_connector<Route> how_;
    connection_key key_; // of the origin last connected to, where there is a pool
    proxy_hop const* proxy_ = nullptr;
    std::size_t low_water_ = 1; // of the present socket
    bool kept_ = false;
};

static_assert(keeps<tcp_stream<asio::any_io_executor>>);
static_assert(byte_connector<tcp_connector, asio::any_io_executor>);

} // namespace cleave
