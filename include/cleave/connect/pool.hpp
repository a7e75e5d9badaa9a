// SPDX-License-Identifier: BSL-1.0
//
// Connections that stand idle, kept for the next download from the same origin. It holds sockets
// and knows no Asio, no TLS and no HTTP: whether a connection is in good order says who puts it
// here, and whether it still is finds out who takes it.
#pragma once

#include <cleave/base/url.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cleave {

namespace detail {
/// Whether a call that does not wait said that it would have to.
[[nodiscard]] inline bool is_would_block(int error) noexcept {
#if EAGAIN != EWOULDBLOCK
    if (error == EWOULDBLOCK) return true;
#endif
    return error == EAGAIN;
}
} // namespace detail

/// A connected socket of the system, closed at the end. Move-only; empty by default.
class socket_handle {
  public:
    socket_handle() = default;
    explicit socket_handle(int fd) noexcept : fd_(fd) {}
    socket_handle(socket_handle&& other) noexcept : fd_(other.release()) {}
    socket_handle& operator=(socket_handle&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~socket_handle() {
        if (fd_ >= 0) ::close(fd_);
    }

    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

    /// Whether it is open, and nothing has come that nobody has read: what an idle connection must
    /// be to serve again (RFC 9112, section 9.3.1).
    [[nodiscard]] bool is_quiet() const noexcept {
        std::byte next{};
        ssize_t const n = ::recv(fd_, &next, 1, MSG_PEEK | MSG_DONTWAIT);
        return n < 0 && detail::is_would_block(errno);
    }

    [[nodiscard]] bool is_ipv6() const noexcept {
        sockaddr_storage own{};
        socklen_t size = sizeof(own);
        return ::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
               own.ss_family == AF_INET6;
    }

  private:
    int fd_ = -1;
};

/// What speaks over an idle connection, such as TLS, and is kept with it. Goes before the socket is
/// closed, and may tell the peer without waiting; not in a process that was forked off.
class connection_layer {
  public:
    connection_layer() = default;
    connection_layer(connection_layer const&) = delete;
    connection_layer& operator=(connection_layer const&) = delete;
    virtual ~connection_layer() = default;

    /// `socket_handle::is_quiet`, for the connection as a whole. May read what is nobody's data.
    [[nodiscard]] virtual bool is_quiet() noexcept = 0;
};

/// An idle connection. Move-only.
struct idle_connection {
    idle_connection(socket_handle s, std::unique_ptr<connection_layer> l = nullptr) noexcept
        : socket(std::move(s)), layer(std::move(l)) {}

    [[nodiscard]] bool is_quiet() const noexcept {
        return layer ? layer->is_quiet() : socket.is_quiet();
    }

    // In this order: when another one takes its place, sockets are swapped, and so the layer that
    // goes still has its own.
    socket_handle socket;
    /// None over plain TCP.
    std::unique_ptr<connection_layer> layer;
};

/// What connections must have in common to stand in for one another: all of this.
struct connection_key {
    std::string scheme;
    /// As in the URL: a name and its address are two hosts.
    std::string host;
    std::uint16_t port = 0;
    /// Whatever else tells connections apart, such as whom TLS trusts, or by way of whom they go;
    /// empty for plain TCP straight to the origin.
    std::string options;

    friend bool operator==(connection_key const&, connection_key const&) = default;
};

/// The key of plain connections to a URL's origin (RFC 9110, section 4.3.1).
[[nodiscard]] inline connection_key key_of(url const& to) {
    return {.scheme = std::string{to.scheme()},
            .host = std::string{to.host()},
            .port = to.port(),
            .options = {}};
}

/// How much a pool keeps.
struct pool_limits {
    /// In all. One more, and the one that has been idle longest is closed.
    std::size_t most_idle = 32;
    /// A connection that has been idle for this long is closed when the pool is next used.
    std::chrono::nanoseconds idle_time = std::chrono::seconds{15};
};

/// Idle connections, for all downloads that hold a copy of it: copies are handles on one pool,
/// which closes what it has when the last of them goes. Thread-safe.
///
/// A process that was forked off finds the pool empty, so that no two processes speak on one
/// connection.
///
/// `now` is there for whoever has a clock of their own.
class connection_pool {
  public:
    using clock = std::chrono::steady_clock;

    explicit connection_pool(pool_limits limits = {}) : shared_(std::make_shared<shared>(limits)) {}
    // No moves: they would leave a handle on nothing.
    connection_pool(connection_pool const&) = default;
    connection_pool& operator=(connection_pool const&) = default;

    /// A connection with this key, if there is one: the one put here last. It may have died here.
    [[nodiscard]] std::optional<idle_connection> take(connection_key const& key,
                                                      clock::time_point now = clock::now()) {
        std::lock_guard const lock{shared_->mutex};
        auto& idle = shared_->look(now);
        auto const found =
            std::find_if(idle.rbegin(), idle.rend(), [&](entry const& e) { return e.key == key; });
        if (found == idle.rend()) return std::nullopt;
        idle_connection connection = std::move(found->connection);
        idle.erase(std::next(found).base());
        return connection;
    }

    /// Keeps a connection, or closes it where there is no room or no memory.
    void put(connection_key key, idle_connection connection,
             clock::time_point now = clock::now()) noexcept {
        if (!connection.socket) return;
        // Programs started meanwhile would keep it open for as long as they run.
        ::fcntl(connection.socket.get(), F_SETFD, FD_CLOEXEC);
        std::lock_guard const lock{shared_->mutex};
        auto& idle = shared_->look(now);
        if (shared_->limits.most_idle == 0) return;
        if (idle.size() == shared_->limits.most_idle) idle.erase(idle.begin());
        try {
            idle.push_back({std::move(key), std::move(connection), now});
        } catch (std::bad_alloc const&) {
            // Closed, then: the next download connects anew.
        }
    }

    /// Closes those that have been idle for too long: for a program that lets the pool lie.
    void close_idle(clock::time_point now = clock::now()) noexcept {
        std::lock_guard const lock{shared_->mutex};
        shared_->look(now);
    }

    /// Closes all.
    void clear() noexcept {
        std::lock_guard const lock{shared_->mutex};
        shared_->idle.clear();
    }

    /// How many there are.
    [[nodiscard]] std::size_t size(clock::time_point now = clock::now()) const noexcept {
        std::lock_guard const lock{shared_->mutex};
        return shared_->look(now).size();
    }

  private:
    struct entry {
        connection_key key;
        idle_connection connection;
        clock::time_point since;
    };

    struct shared {
        explicit shared(pool_limits l) : limits(l) {}

        // What may be handed out now. All that is done with the connections begins here.
        std::vector<entry>& look(clock::time_point now) noexcept {
            if (pid_t const self = ::getpid(); self != owner) {
                // These are the parent's. Closing our copies leaves the connections alone.
                idle.clear();
                owner = self;
            }
            std::erase_if(idle, [&](entry const& e) { return now - e.since >= limits.idle_time; });
            return idle;
        }

        pool_limits const limits;
        std::mutex mutex;
        std::vector<entry> idle; // in the order in which they were put here
        pid_t owner = ::getpid();
    };

    std::shared_ptr<shared> shared_;
};

} // namespace cleave
