// SPDX-License-Identifier: BSL-1.0
//
// The simplest route by way of a proxy: one line says where to, "ok\n" says that it goes on from
// there. And the proxy, which takes everybody to one and the same port of this machine.

#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/route.hpp>
#include <cleave/http/request_head.hpp>

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>

namespace cleave_test {

/// A model of cleave's `route`. Anything but "ok\n" is `error::proxy_failed`.
struct line_route {
    cleave::stop proxy;
    /// What `hop` answers with.
    std::shared_ptr<cleave::proxy_hop const> told = nullptr;

    std::error_code check(cleave::url const& to) const {
        if (to.host() == "forbidden.test") return cleave::error::proxy_unsupported;
        return {};
    }
    cleave::stop first(cleave::url const&) const { return proxy; }
    std::string key(cleave::url const&) const {
        return proxy.host + ':' + std::to_string(proxy.port);
    }
    cleave::proxy_hop const* hop(cleave::url const&) const noexcept { return told.get(); }
    template <class Socket, class Handler>
    void async_open(Socket& s, cleave::url const& to, Handler handler) const {
        auto const text = std::make_shared<std::string>(to.host_field() + '\n');
        asio::async_write(
            s, asio::buffer(*text),
            [&s, text, h = std::move(handler)](std::error_code ec, std::size_t) mutable {
                if (ec) return std::move(h)(ec);
                text->assign(3, '\0');
                asio::async_read(s, asio::buffer(*text),
                                 [text, g = std::move(h)](std::error_code e, std::size_t) mutable {
                                     if (!e && *text != "ok\n") e = cleave::error::proxy_failed;
                                     std::move(g)(e);
                                 });
            });
    }
};

static_assert(cleave::route<line_route>);

/// Forwards all connections to `port` of 127.0.0.1.
class line_proxy {
  public:
    explicit line_proxy(std::uint16_t port)
        : to_{asio::ip::address_v4::loopback(), port}, acceptor_thread_{[this] { accept(); }} {}
    ~line_proxy() {
        ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
        acceptor_thread_.join();
        for (auto& s : sockets_) ::shutdown(s->native_handle(), SHUT_RDWR);
        for (auto& t : threads_) t.join();
    }
    line_proxy(line_proxy const&) = delete;
    line_proxy& operator=(line_proxy const&) = delete;

    line_route route() const { return {{"127.0.0.1", acceptor_.local_endpoint().port()}}; }
    /// What connections asked for, one after another.
    std::vector<std::string> asked() {
        std::lock_guard const lock{mutex_};
        return asked_;
    }

  private:
    void accept() {
        for (;;) {
            std::error_code ec;
            auto socket = std::make_unique<asio::ip::tcp::socket>(context_);
            acceptor_.accept(*socket, ec);
            if (ec) return;
            sockets_.push_back(std::move(socket));
            threads_.emplace_back([this, s = sockets_.back().get()] { serve(*s); });
        }
    }
    void serve(asio::ip::tcp::socket& near) {
        std::error_code ec;
        std::string line;
        for (char c = 0; c != '\n';) {
            asio::read(near, asio::buffer(&c, 1), ec);
            if (ec) return;
            line += c;
        }
        {
            std::lock_guard const lock{mutex_};
            asked_.push_back(line);
        }
        asio::io_context context;
        asio::ip::tcp::socket far{context};
        far.connect(to_, ec);
        asio::write(near, asio::buffer(ec ? std::string{"no\n"} : std::string{"ok\n"}), ec);
        std::array<pollfd, 2> ready{
            {{near.native_handle(), POLLIN, 0}, {far.native_handle(), POLLIN, 0}}};
        while (!ec && ::poll(ready.data(), 2, -1) > 0) {
            if (ready[0].revents != 0) pass_on(near, far, ec);
            if (!ec && ready[1].revents != 0) pass_on(far, near, ec);
        }
        near.shutdown(asio::socket_base::shutdown_send, ec);
    }
    static void pass_on(asio::ip::tcp::socket& from, asio::ip::tcp::socket& to,
                        std::error_code& ec) {
        std::array<char, 16384> bytes;
        auto const n = from.read_some(asio::buffer(bytes), ec);
        if (n != 0) asio::write(to, asio::buffer(bytes.data(), n), ec);
    }

    asio::ip::tcp::endpoint to_;
    asio::io_context context_;
    asio::ip::tcp::acceptor acceptor_{context_, {asio::ip::address_v4::loopback(), 0}};
    std::mutex mutex_;
    std::vector<std::string> asked_;
    std::vector<std::unique_ptr<asio::ip::tcp::socket>> sockets_;
    std::vector<std::thread> threads_;
    std::thread acceptor_thread_;
};

} // namespace cleave_test
