// SPDX-License-Identifier: BSL-1.0
//
// A proxy for tests: HTTP with absolute URLs and with CONNECT, and SOCKS5, all on one port, told
// apart by the first byte. It sends every name to 127.0.0.1, so that a name that nobody else can
// resolve shows who did. It shares no code with the library.

#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

namespace cleave_test {

struct proxy_options {
    /// "user:password", which clients must show; nobody is asked where empty.
    std::string credentials = {};
    /// Sent in place of the first answer on each connection, which is closed then.
    std::optional<std::string> instead = {};
};

class proxy_server {
  public:
    explicit proxy_server(proxy_options options = {}) : options_(std::move(options)) {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) != 0 ||
            ::listen(listener_, 128) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
            throw std::system_error{errno, std::generic_category(), "proxy_server"};
        port_ = ntohs(at.sin_port);
        acceptor_ = std::thread{[this] { accept(); }};
    }
    proxy_server(proxy_server const&) = delete;
    proxy_server& operator=(proxy_server const&) = delete;
    ~proxy_server() {
        {
            std::lock_guard const lock{mutex_};
            ended_ = true;
            for (int const fd : open_) ::shutdown(fd, SHUT_RDWR);
        }
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        for (auto& thread : threads_) thread.join();
        ::close(listener_);
    }

    std::uint16_t port() const { return port_; }
    /// "http://[<credentials>@]127.0.0.1:<port>", or with another scheme.
    std::string at(std::string const& scheme = "http", std::string const& credentials = {}) const {
        return scheme + "://" + (credentials.empty() ? "" : credentials + "@") +
               "127.0.0.1:" + std::to_string(port_);
    }
    /// What was asked for, in order: "CONNECT host:port", "GET http://host/path", and with SOCKS
    /// "SOCKS host:port"; refused requests too.
    std::vector<std::string> asked() const {
        std::lock_guard const lock{mutex_};
        return asked_;
    }
    /// All that clients sent to the proxy itself: heads, and messages of SOCKS.
    std::string heard() const {
        std::lock_guard const lock{mutex_};
        return heard_;
    }

  private:
    // A socket that the destructor of the server can shut down.
    class guarded {
      public:
        guarded(proxy_server& server, int fd) : server_(server), fd_(fd) {
            std::lock_guard const lock{server_.mutex_};
            if (fd_ >= 0) server_.open_.push_back(fd_);
            if (fd_ >= 0 && server_.ended_) ::shutdown(fd_, SHUT_RDWR);
        }
        guarded(guarded const&) = delete;
        guarded& operator=(guarded const&) = delete;
        ~guarded() {
            if (fd_ < 0) return;
            std::lock_guard const lock{server_.mutex_};
            std::erase(server_.open_, fd_);
            ::close(fd_);
        }
        int get() const { return fd_; }

      private:
        proxy_server& server_;
        int fd_;
    };

    void accept() {
        for (;;) {
            int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            threads_.emplace_back([this, fd] {
                guarded const client{*this, fd};
                serve(client.get());
            });
        }
    }

    void serve(int client) {
        char first{};
        if (::recv(client, &first, 1, MSG_PEEK) != 1) return;
        if (first == 5)
            serve_socks(client);
        else
            serve_http(client);
    }

    // ---- HTTP ----

    void serve_http(int client) {
        // The origin of a first absolute URL serves all that follow.
        std::optional<guarded> origin;
        for (std::string head = read_head(client); !head.empty(); head = read_head(client)) {
            std::string const line = head.substr(0, head.find("\r\n"));
            std::size_t const space = line.find(' ');
            std::string const method = line.substr(0, space);
            std::string const target =
                line.substr(space + 1, line.find(' ', space + 1) - space - 1);
            asked(method + ' ' + target);
            if (options_.instead) return send(client, *options_.instead);
            if (!options_.credentials.empty() &&
                head.find("\r\nProxy-Authorization: Basic " + base64(options_.credentials) +
                          "\r\n") == std::string::npos)
                return send(client, "HTTP/1.1 407 Proxy Authentication Required\r\n"
                                    "Proxy-Authenticate: Basic realm=\"test\"\r\n"
                                    "Content-Length: 0\r\nConnection: close\r\n\r\n");
            if (method == "CONNECT") {
                guarded const to{*this, connect(target, 0)};
                if (to.get() < 0) return send(client, unreachable);
                send(client, "HTTP/1.1 200 Connection established\r\n\r\n");
                return relay(client, to.get());
            }

            if (!target.starts_with("http://"))
                return send(client, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                                    "Connection: close\r\n\r\n");
            std::size_t const slash = target.find('/', 7);
            if (!origin) origin.emplace(*this, connect(target.substr(7, slash - 7), 80));
            if (origin->get() < 0) return send(client, unreachable);
            send(origin->get(), method + ' ' + target.substr(slash) + " HTTP/1.1" +
                                    without_proxy_fields(head.substr(line.size())));
            if (!relay_until_next_request(client, origin->get())) return;
        }
    }

    // Passes on what the origin sends until the client sends something; whether it does.
    static bool relay_until_next_request(int client, int origin) {
        for (;;) {
            pollfd both[] = {{client, POLLIN, 0}, {origin, POLLIN, 0}};
            if (::poll(both, 2, -1) < 0) return false;
            if (both[1].revents != 0 && !pass_on(origin, client)) return false;
            if (both[0].revents != 0) return true;
        }
    }

    static std::string without_proxy_fields(std::string fields) {
        for (;;) {
            std::size_t const at = fields.find("\r\nProxy-");
            if (at == std::string::npos) return fields;
            fields.erase(at, fields.find("\r\n", at + 2) - at);
        }
    }

    // ---- SOCKS5 (RFC 1928, RFC 1929) ----

    void serve_socks(int client) {
        std::string const greeting = read(client, 2);
        if (greeting.size() < 2) return;
        std::string const methods = read(client, byte(greeting, 1));
        if (options_.instead) return send(client, *options_.instead);
        char const method = options_.credentials.empty() ? '\x00' : '\x02';
        if (methods.find(method) == std::string::npos) return send(client, "\x05\xff");
        send(client, std::string{'\x05', method});
        if (method == '\x02') {
            std::string const user = read(client, byte(read(client, 2), 1));
            std::string const password = read(client, byte(read(client, 1), 0));
            bool const good = user + ':' + password == options_.credentials;
            send(client, std::string{'\x01', good ? '\x00' : '\x01'});
            if (!good) return;
        }

        std::string const request = read(client, 4);
        if (request.size() < 4) return;
        std::string host;
        char text[INET6_ADDRSTRLEN] = {};
        switch (request[3]) {
        case 1: host = ::inet_ntop(AF_INET, read(client, 4).data(), text, sizeof text); break;
        case 4: host = ::inet_ntop(AF_INET6, read(client, 16).data(), text, sizeof text); break;
        default: host = read(client, byte(read(client, 1), 0));
        }
        if (request[3] == 4) host = '[' + host + ']';
        std::string const port = read(client, 2);
        if (port.size() < 2) return;
        host += ':' + std::to_string(byte(port, 0) * 256 + byte(port, 1));
        asked("SOCKS " + host);
        guarded const to{*this, connect(host, 0)};
        std::string reply(10, '\0');
        reply[0] = '\x05';
        reply[1] = to.get() < 0 ? '\x05' : '\x00';
        reply[3] = '\x01';
        send(client, reply);
        if (to.get() >= 0) relay(client, to.get());
    }

    // ---- both ----

    static constexpr char const* unreachable =
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    static std::size_t byte(std::string const& text, std::size_t at) {
        return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
    }

    void asked(std::string what) {
        std::lock_guard const lock{mutex_};
        asked_.push_back(std::move(what));
    }

    // `n` bytes, or less where there are no more.
    std::string read(int fd, std::size_t n) {
        std::string text;
        char c{};
        while (text.size() < n && ::recv(fd, &c, 1, 0) == 1) text += c;
        std::lock_guard const lock{mutex_};
        heard_ += text;
        return text;
    }
    // Up to the empty line; empty where there is none.
    std::string read_head(int fd) {
        std::string text;
        while (!text.ends_with("\r\n\r\n")) {
            std::string const next = read(fd, 1);
            if (next.empty()) return {};
            text += next;
        }
        return text;
    }
    static void send(int fd, std::string_view text) {
        while (!text.empty()) {
            ssize_t const n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
            if (n <= 0) return;
            text.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    // What is there now; false at the end.
    static bool pass_on(int from, int to) {
        char bytes[16384];
        ssize_t const n = ::recv(from, bytes, sizeof bytes, 0);
        if (n <= 0) return false;
        send(to, {bytes, static_cast<std::size_t>(n)});
        return true;
    }
    // Both ways, until both have ended.
    static void relay(int a, int b) {
        pollfd both[] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
        while (both[0].fd >= 0 || both[1].fd >= 0) {
            if (::poll(both, 2, -1) < 0) return;
            for (int i = 0; i < 2; ++i) {
                int const to = i == 0 ? b : a;
                if (both[i].fd < 0 || both[i].revents == 0) continue;
                if (pass_on(both[i].fd, to)) continue;
                ::shutdown(to, SHUT_WR);
                both[i].fd = -1;
            }
        }
    }

    // To "host:port", or "host" with another port; -1 where nobody answers.
    static int connect(std::string const& where, std::uint16_t default_port) {
        std::size_t const colon = where.rfind(':');
        bool const has_port = colon != std::string::npos && !where.ends_with(']');
        auto const port =
            has_port ? static_cast<std::uint16_t>(std::atoi(&where[colon + 1])) : default_port;
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        v4.sin_port = htons(port);
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_addr = in6addr_loopback;
        v6.sin6_port = htons(port);
        bool const is_v6 = where.starts_with('[');
        int const fd = ::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        auto const* const to =
            is_v6 ? reinterpret_cast<sockaddr const*>(&v6) : reinterpret_cast<sockaddr const*>(&v4);
        if (fd >= 0 && ::connect(fd, to, is_v6 ? sizeof v6 : sizeof v4) == 0) return fd;
        if (fd >= 0) ::close(fd);
        return -1;
    }

    static std::string base64(std::string const& text) {
        std::string to;
        for (std::size_t i = 0; i < text.size(); i += 3) {
            auto const three = byte(text, i) << 16 | byte(text, i + 1) << 8 | byte(text, i + 2);
            for (std::size_t k = 0; k < 4; ++k)
                to += k > text.size() - i ? '='
                                          : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                            "0123456789+/"[three >> (18 - 6 * k) & 63];
        }
        return to;
    }

    proxy_options const options_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    mutable std::mutex mutex_;
    bool ended_ = false;
    std::vector<int> open_;
    std::vector<std::string> asked_;
    std::string heard_;
    std::vector<std::thread> threads_; // of the acceptor, until it has ended
    std::thread acceptor_;
};

} // namespace cleave_test
