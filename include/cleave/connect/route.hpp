// SPDX-License-Identifier: BSL-1.0
//
// How a connection gets to a URL's origin: straight, or by way of a proxy. Speaks to the proxy, and
// to nobody else; resolves and connects nothing.
#pragma once

#include <cleave/base/url.hpp>
#include <cleave/connect/concept.hpp>

#include <exception> // Asio before 1.29 uses it and does not say so

#include <asio/any_io_executor.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

namespace cleave {

/// Where a TCP connection is made to.
struct stop {
    /// A name, or an address without brackets.
    std::string host;
    std::uint16_t port = 0;

    friend bool operator==(stop const&, stop const&) = default;
};

/// A route `r`, to the origin of `url u`; `s` is a connected, non-blocking socket of Asio's.
///
/// | expression           | meaning                                                             |
/// |----------------------|---------------------------------------------------------------------|
/// | `r.check(u)`         | const: can it reach URLs of this kind at all? `std::error_code`      |
/// | `r.first(u)`         | const: where the connection is made to, `stop`                       |
/// | `r.key(u)`           | const: what else tells its connections from those of other routes,   |
/// |                      | for the pool, `std::string`; empty where it goes straight            |
/// | `r.hop(u)`           | const: the proxy that must be told the whole URL with each request,  |
/// |                      | `proxy_hop const*`, or null; lives as long as the route; `noexcept`  |
/// | `r.async_open(s,u,h)`| const: once `s` is connected to `first(u)`: sees to it that what is   |
/// |                      | sent from now on gets to the origin, or to `hop(u)`; `h(ec)`          |
///
/// Laws:
/// 1. `async_open` calls `h` exactly once, on the executor of `s`, never from within; soon after
///    `s` is closed, with any error. `s` and `u` live until then.
/// 2. It takes no byte from `s` that the origin sent.
/// 3. Nothing secret of the URL's origin goes to the proxy, and the other way round.
///
/// Copies are equal. Thread-safe where const. Models: `direct`, `http_proxies`, `any_proxies`.
template <class R>
concept route =
    std::copyable<R> && requires(R const& r, url const& to, asio::ip::tcp::socket& socket) {
        { r.check(to) } -> std::same_as<std::error_code>;
        { r.first(to) } -> std::same_as<stop>;
        { r.key(to) } -> std::same_as<std::string>;
        { r.hop(to) } noexcept -> std::same_as<proxy_hop const*>;
        r.async_open(socket, to, detail::any_handler{});
    };

/// Straight to the origin.
struct direct {
    [[nodiscard]] std::error_code check(url const&) const { return {}; }
    [[nodiscard]] stop first(url const& to) const { return {std::string{to.host()}, to.port()}; }
    [[nodiscard]] std::string key(url const&) const { return {}; }
    [[nodiscard]] proxy_hop const* hop(url const&) const noexcept { return nullptr; }
    template <class Socket, class Handler>
    void async_open(Socket& socket, url const&, Handler handler) const {
        asio::post(socket.get_executor(), [h = std::move(handler)]() mutable { std::move(h)({}); });
    }
};

static_assert(route<direct>);

} // namespace cleave
