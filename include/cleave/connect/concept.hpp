// SPDX-License-Identifier: BSL-1.0
//
// Streams to servers. A connector makes streams; a stream connects, sends requests, and receives
// without blocking. Neither knows HTTP.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/http/request_head.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

namespace detail {
// Stands for any completion handler of the form void(std::error_code) in the concept below.
struct any_handler {
    void operator()(std::error_code) const {}
};
} // namespace detail

/// How a connection began.
enum class handshake : std::uint8_t {
    none,    ///< without TLS, or not now: the connection was kept
    full,    ///< with certificates
    resumed, ///< with a ticket of an earlier one
};

/// What is to be known of a connection.
struct connection_facts {
    cleave::handshake handshake = cleave::handshake::none;
    /// The proxy that wants to be told the whole URL; null where requests go to the origin itself,
    /// through a tunnel or not. Lives as long as the connector.
    proxy_hop const* proxy = nullptr;
};

/// A byte stream `s`, made by a connector.
///
/// | expression                | meaning                                                         |
/// |---------------------------|-----------------------------------------------------------------|
/// | `s.async_connect(u, h)`   | resolve and connect to the origin of `url u`; `h(ec)`           |
/// | `s.async_write(text, h)`  | send all of `std::string_view text`; `h(ec)`                    |
/// | `s.read_some(to, ec)`     | receive now what is there, `std::size_t`: at least one byte, or |
/// |                           | `asio::error::would_block`; the peer's end: `asio::error::eof`  |
/// | `s.async_wait(h)`         | until `read_some` may have something; `h(ec)`                   |
/// | `s.close()`               | at once; handlers still out are called soon, with any error     |
///
/// Optional:
///
/// | expression           | meaning                                                              |
/// |----------------------|----------------------------------------------------------------------|
/// | `s.read_by_system()` | const: whether `read_some` has the system fill the buffer, and stores |
/// |                      | nothing there itself, `bool`; only then does it get memory of a sink  |
/// |                      | that is `system_filled`; `noexcept`                                   |
/// | `s.native_socket()`  | the descriptor from which the system may take, in place of           |
/// |                      | `read_some`, what would be read, `int`; -1 where that is not so now, |
/// |                      | as under TLS; `noexcept`                                             |
/// | `s.low_water(n)`     | from now on `async_wait` may wait until `n` bytes are there, or the  |
/// |                      | end; with 1, and on a new connection, until there is any; `noexcept` |
/// | `s.identify(yes)`    | before `async_connect`: whether it may show who the caller is, such   |
/// |                      | as a client certificate; not where a redirect or a mirror leads to    |
/// |                      | another origin than the request's; `noexcept`                         |
/// | `s.about()`          | const: what is to be known of the connection, `connection_facts`;     |
/// |                      | `noexcept`                                                            |
///
/// and for connections that serve one download after another:
///
/// | expression | meaning                                                                       |
/// |------------|-------------------------------------------------------------------------------|
/// | `s.keep()` | like `close`, but the connection is in good order and idle: other streams to  |
/// |            | the same origin may have it; `noexcept`                                       |
/// | `s.kept()` | const: whether the present connection is one that was kept, `bool`; asked     |
/// |            | when `async_connect` has gone well; `noexcept`                                |
///
/// Laws:
/// 1. At most one of `async_connect`, `async_write`, `async_wait` is out at a time; its handler is
///    called exactly once, on the executor that the stream was made with, never from within.
/// 2. After `close` or `keep`, `async_connect` may be called again, also while the old handler is
///    still out.
/// 3. `text` and `to` belong to the caller and live until the handler, or the return.
/// 4. `keep` is called only when nothing that was asked for on the connection is still to come.
/// 5. A kept connection had nothing to read and was open when it was looked for. The peer may close
///    it at any time since: that alone is no failure of the server.
template <class S>
concept byte_stream =
    std::move_constructible<S> &&
    requires(S& s, url const& to, std::string_view text, std::span<std::byte> buffer,
             std::error_code& ec) {
        s.async_connect(to, detail::any_handler{});
        s.async_write(text, detail::any_handler{});
        { s.read_some(buffer, ec) } -> std::same_as<std::size_t>;
        s.async_wait(detail::any_handler{});
        { s.close() } noexcept;
    };

/// A stream whose connections can be kept for others.
template <class S>
concept keeps = byte_stream<S> && requires(S& s, S const& c) {
    { s.keep() } noexcept;
    { c.kept() } noexcept -> std::same_as<bool>;
};

/// Whether the system fills the buffers that the stream is given.
template <byte_stream S>
[[nodiscard]] bool reads_by_system(S const& s) noexcept {
    if constexpr (requires { { s.read_by_system() } noexcept -> std::same_as<bool>; })
        return s.read_by_system();
    else
        return false;
}

/// The socket that the system may take bytes from by itself; -1 where it may not.
template <byte_stream S>
[[nodiscard]] int native_socket_of(S& s) noexcept {
    if constexpr (requires { { s.native_socket() } noexcept -> std::same_as<int>; })
        return s.native_socket();
    else
        return -1;
}

/// Whether a stream can be told how many bytes are worth waking up for.
template <class S>
concept has_low_water = byte_stream<S> && requires(S& s, std::size_t n) {
    { s.low_water(n) } noexcept;
};

/// Tells the stream, where it wants to know, for how many bytes it is to wake.
template <byte_stream S>
void set_low_water(S& s, std::size_t n) noexcept {
    if constexpr (has_low_water<S>) s.low_water(n);
}

/// Tells the stream, where it wants to know, whether it may show who the caller is.
template <byte_stream S>
void identify(S& s, bool yes) noexcept {
    if constexpr (requires { { s.identify(yes) } noexcept; }) s.identify(yes);
}

/// What the stream says of its present connection; nothing in particular where it says nothing.
template <byte_stream S>
[[nodiscard]] connection_facts facts_of(S const& s) noexcept {
    if constexpr (requires { { s.about() } noexcept -> std::same_as<connection_facts>; })
        return s.about();
    else
        return {};
}

/// Keeps the connection where the stream can, else closes it.
template <byte_stream S>
void keep_or_close(S& s) noexcept {
    if constexpr (keeps<S>)
        s.keep();
    else
        s.close();
}

/// Whether the connection was kept by another stream; never where the stream cannot.
template <byte_stream S>
[[nodiscard]] bool was_kept(S const& s) noexcept {
    if constexpr (keeps<S>)
        return s.kept();
    else
        return false;
}

/// The stream that connector `C` makes for `Executor`.
template <class C, class Executor>
using stream_of = decltype(std::declval<C&>().make(std::declval<Executor const&>()));

/// A byte connector `c`.
///
/// | expression       | meaning                                                                  |
/// |------------------|--------------------------------------------------------------------------|
/// | `c.make(ex)`     | a new `byte_stream` on executor `ex`, not yet connected                   |
/// | `c.check(u)`     | can it reach URLs of this kind at all? `std::error_code`                  |
/// | `c.classify(ec)` | the `cause` of an error code of its streams; `noexcept`; codes of the     |
/// |                  | system come in `std::system_category`                                    |
///
/// Optional, each a `std::string` for messages, empty where there is nothing to say:
///
/// | expression       | meaning                                                                  |
/// |------------------|--------------------------------------------------------------------------|
/// | `c.by_way_of(u)` | what else than the origin a connection is made to, such as host and port |
/// |                  | of a proxy                                                               |
/// | `c.place_of(ec)` | where that is to be found which `check` said is wrong, such as the path  |
/// |                  | of a file that cannot be read                                            |
///
/// Called on the download's strand; must not block. Models: `tcp_connector`, `tls_connector`.
template <class C, class Executor>
concept byte_connector = std::move_constructible<C> &&
                         requires(C& c, Executor const& ex, url const& to, std::error_code ec) {
                             { c.make(ex) } -> byte_stream;
                             { c.check(to) } -> std::same_as<std::error_code>;
                             { c.classify(ec) } noexcept -> std::same_as<cause>;
                         };

} // namespace cleave
