// SPDX-License-Identifier: BSL-1.0
//
// Opens a way to an origin by a route, over a real socket, one step at a time: the test holds the
// proxy's end in its hands, and each byte is seen before the next is sent.

#pragma once

#include <support/catch.hpp>
#include <support/loopback.hpp>

#include <cleave/base/url.hpp>
#include <cleave/connect/route.hpp>

#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace cleave_test {

inline cleave::url to_url(std::string const& text) {
    std::error_code ec;
    auto const to = cleave::url::parse(text, ec);
    if (ec) throw std::system_error{ec, text};
    return to;
}

class route_client {
  public:
    /// Connects to where `way` begins, which must be an address, and begins to open it.
    template <cleave::route Route>
    route_client(Route const& way, cleave::url const& to) : to_(to) {
        auto const first = way.first(to);
        socket.connect({asio::ip::make_address(first.host), first.port});
        socket.non_blocking(true);
        way.async_open(socket, to_, [this](std::error_code ec) { told.push_back(ec); });
        CHECK(told.empty());
    }

    /// Does what can be done without waiting.
    void step() {
        context.restart();
        context.poll();
    }
    /// Waits for the next thing that the far end has done, and sees to it.
    void see() {
        REQUIRE(wait_readable(socket.native_handle()));
        step();
    }
    void see(far_end& far, std::string_view bytes) {
        far.write(bytes);
        see();
    }
    /// What the handler was told, once.
    std::error_code result() {
        context.restart();
        while (told.empty() && context.run_one_for(std::chrono::seconds{10}) != 0) {
        }
        step();
        REQUIRE(told.size() == 1);
        return told[0];
    }
    void write(std::string_view text) {
        auto const n = ::send(socket.native_handle(), text.data(), text.size(), MSG_NOSIGNAL);
        REQUIRE(n == static_cast<ssize_t>(text.size()));
    }
    /// What is left in the socket, up to `n` bytes.
    std::string read(std::size_t n) {
        std::string text;
        char c{};
        while (text.size() < n && wait_readable(socket.native_handle()) &&
               ::recv(socket.native_handle(), &c, 1, 0) == 1)
            text.push_back(c);
        return text;
    }

    asio::io_context context;
    asio::ip::tcp::socket socket{context};
    std::vector<std::error_code> told;

  private:
    cleave::url to_;
};

} // namespace cleave_test
