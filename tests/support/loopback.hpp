// SPDX-License-Identifier: BSL-1.0
//
// TCP on this machine without HTTP: a listener whose far ends the test holds in its hands, one that
// does not answer, waits that end, and a count of open files to find leaks with.

#pragma once

#include <cleave/base/url.hpp>

#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

namespace cleave_test {

inline std::size_t open_files() {
    std::filesystem::directory_iterator const files{"/proc/self/fd"};
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

/// Whether there is something to read, an end or an error, within ten seconds.
inline bool wait_readable(int fd) {
    pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&p, 1, 10'000) == 1;
}

/// The far end of a connection. Waits at most ten seconds for anything.
class far_end {
  public:
    explicit far_end(asio::ip::tcp::socket s) : socket_(std::move(s)) {}

    /// What came, up to `n` bytes; less where nothing more comes.
    std::string read(std::size_t n) {
        std::string text;
        char c{};
        while (text.size() < n && wait_readable(socket_.native_handle()) &&
               ::recv(socket_.native_handle(), &c, 1, 0) == 1)
            text.push_back(c);
        return text;
    }
    /// Whether the other side closed, with all read before.
    bool ended() {
        char c{};
        return wait_readable(socket_.native_handle()) &&
               ::recv(socket_.native_handle(), &c, 1, 0) == 0;
    }
    /// Whether the other side has sent nothing and is still there.
    bool quiet() {
        char c{};
        return ::recv(socket_.native_handle(), &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
               errno == EAGAIN;
    }
    void write(std::string_view text) {
        if (::send(socket_.native_handle(), text.data(), text.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(text.size()))
            throw std::runtime_error{"far_end: send"};
    }
    void close() { socket_.close(); }
    void reset() {
        socket_.set_option(asio::socket_base::linger{true, 0});
        socket_.close();
    }
    std::uint16_t their_port() const { return socket_.remote_endpoint().port(); }

  private:
    asio::ip::tcp::socket socket_;
};

/// Listens on a free port of 127.0.0.1 or ::1, or on a given one; throws where there is no such
/// address.
class loopback_listener {
  public:
    explicit loopback_listener(std::string const& address = "127.0.0.1", std::uint16_t port = 0)
        : acceptor_(context_, {asio::ip::make_address(address), port}) {}

    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

    /// "http://<host>:<port>/".
    cleave::url url(std::string const& host = "127.0.0.1") const {
        std::error_code ec;
        auto const u =
            cleave::url::parse("http://" + host + ":" + std::to_string(port()) + "/", ec);
        if (ec) throw std::system_error{ec, host};
        return u;
    }
    far_end accept() {
        if (!wait_readable(acceptor_.native_handle()))
            throw std::runtime_error{"loopback_listener: nobody came"};
        return far_end{acceptor_.accept()};
    }
    /// Whether nobody waits to be accepted.
    bool quiet() {
        pollfd p{.fd = acceptor_.native_handle(), .events = POLLIN, .revents = 0};
        return ::poll(&p, 1, 0) == 0;
    }

  private:
    asio::io_context context_;
    asio::ip::tcp::acceptor acceptor_;
};

/// An address that does not answer: the queue of its listener is full.
class black_hole {
  public:
    explicit black_hole(std::string const& address = "127.0.0.1", std::uint16_t port = 0) {
        asio::ip::tcp::endpoint const at{asio::ip::make_address(address), port};
        acceptor_.open(at.protocol());
        if (at.protocol() == asio::ip::tcp::v6()) acceptor_.set_option(asio::ip::v6_only{true});
        acceptor_.set_option(asio::ip::tcp::acceptor::reuse_address{true});
        acceptor_.bind(at);
        acceptor_.listen(0); // room for one
        filler_.connect(endpoint());
        if (!wait_readable(acceptor_.native_handle()))
            throw std::runtime_error{"black_hole: nobody came"};
    }
    asio::ip::tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
    std::uint16_t port() const { return endpoint().port(); }
    /// Makes room. Who waits for an answer gets it with the next SYN, a second later.
    void answer() { acceptor_.accept().close(); }

  private:
    asio::io_context context_;
    asio::ip::tcp::acceptor acceptor_{context_};
    asio::ip::tcp::socket filler_{context_};
};

/// Whether this machine has ::1.
inline bool has_ipv6() {
    try {
        loopback_listener{"::1"};
        return true;
    } catch (std::system_error const&) {
        return false;
    }
}

/// Two listeners, on 127.0.0.1 and ::1, that have one port.
template <class Four, class Six>
std::pair<std::unique_ptr<Four>, std::unique_ptr<Six>> on_one_port() {
    for (;;) {
        try {
            auto four = std::make_unique<Four>("127.0.0.1");
            auto six = std::make_unique<Six>("::1", four->port());
            return {std::move(four), std::move(six)};
        } catch (std::system_error const&) {
            // Somebody has that one, perhaps a connection that ended there.
        }
    }
}

} // namespace cleave_test
