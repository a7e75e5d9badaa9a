// SPDX-License-Identifier: BSL-1.0
//
// An in-process HTTP/1.1 server for tests, where the test writes what happens on the wire: a lambda
// gets each request and a connection to send bytes on, split, cut, reset or stall. Its messages are
// those of <cleave/testing/messages.hpp>; with the library it shares no code.
//
// Blocking sockets on 127.0.0.1, one thread per connection. Handlers of different connections run
// at the same time, so whatever they share must be guarded. The destructor shuts all sockets down
// and joins all threads; handlers should wait only with the waits of fault_connection, which end
// at shutdown.

#pragma once

#include <cleave/testing/messages.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cleave_test {

using namespace cleave::testing;

class fault_server;

namespace detail {

using cleave::testing::detail::equal_ignoring_case;

[[noreturn]] inline void throw_errno(char const* what) {
    throw std::system_error{errno, std::generic_category(), what};
}

// An eventfd that is set once and stays readable.
class latch_fd {
  public:
    latch_fd() : fd_{::eventfd(0, EFD_CLOEXEC)} {
        if (fd_ < 0) {
            throw_errno("eventfd");
        }
    }
    ~latch_fd() { ::close(fd_); }
    latch_fd(latch_fd const&) = delete;
    latch_fd& operator=(latch_fd const&) = delete;

    void set() {
        std::uint64_t const one = 1;
        [[maybe_unused]] auto const n = ::write(fd_, &one, sizeof one);
    }
    void clear() {
        pollfd p{fd_, POLLIN, 0};
        if (::poll(&p, 1, 0) == 1) {
            std::uint64_t value = 0;
            [[maybe_unused]] auto const n = ::read(fd_, &value, sizeof value);
        }
    }
    int fd() const { return fd_; }

  private:
    int fd_;
};

} // namespace detail

// --- the test's side -----------------------------------------------------------------------------

// What a handler waits for until the test opens it: see fault_connection::wait.
class gate {
  public:
    void open() { latch_.set(); }

  private:
    friend class fault_connection;
    detail::latch_fd latch_;
};

enum class over_limit {
    rst,     // accept, then reset
    silent,  // accept, then never say a word
    http_503 // read one request, answer 503 with Connection: close
};

struct fault_server_options {
    int backlog = 1024;
    std::size_t max_connections = 0; // open at one time; 0 is no limit
    over_limit on_over_limit = over_limit::rst;
    int send_buffer = 0; // SO_SNDBUF of each connection; 0 leaves it to the kernel
};

// --- one connection ------------------------------------------------------------------------------

namespace detail {

struct server_state {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<seen_request> requests;
    std::size_t accepted = 0;
    std::size_t refused = 0;
    std::size_t open = 0;
    std::size_t peak = 0;
    std::string handler_error;
    std::atomic<bool> stopping{false};
    std::atomic<std::uint64_t> bytes_sent{0};
    latch_fd stop;
};

} // namespace detail

// Used by the handler, on the thread of the connection. Once closed, all sends return false.
class fault_connection {
  public:
    fault_connection(fault_connection const&) = delete;
    fault_connection& operator=(fault_connection const&) = delete;

    // Raw bytes. False when the peer is gone (or the server is shutting down).
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            if (fd_ < 0) {
                return false;
            }
            auto const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0) {
                return false;
            }
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return fd_ >= 0;
    }

    // As send, and adds to fault_server::bytes_sent.
    bool send_body(std::string_view bytes) {
        state_.bytes_sent += bytes.size();
        return send(bytes);
    }

    // One send for every `piece` bytes; TCP_NODELAY is on.
    bool send_slowly_split(std::string_view bytes, std::size_t piece) {
        while (!bytes.empty()) {
            auto const now = bytes.substr(0, std::max<std::size_t>(piece, 1));
            if (!send(now)) {
                return false;
            }
            bytes.remove_prefix(now.size());
        }
        return fd_ >= 0;
    }

    // Closes with FIN: whatever came and was not read is read first, as it would cause a RST.
    void close() {
        if (fd_ >= 0) {
            char waste[4096];
            while (::recv(fd_, waste, sizeof waste, MSG_DONTWAIT) > 0) {
            }
            ::shutdown(fd_, SHUT_WR);
            close_descriptor();
        }
    }

    // Closes with RST. Bytes still on their way are lost, unless flush() waited for them.
    void reset() {
        if (fd_ >= 0) {
            linger const hard{1, 0};
            ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            close_descriptor();
        }
    }

    // FIN, but keeps reading.
    void half_close() {
        if (fd_ >= 0) {
            ::shutdown(fd_, SHUT_WR);
        }
    }

    // Waits until the peer's kernel has all bytes sent. False if it went away or on shutdown.
    bool flush() {
        while (fd_ >= 0 && !peer_gone()) {
            int unsent = 0;
            if (::ioctl(fd_, SIOCOUTQ, &unsent) != 0 || unsent == 0) {
                return true;
            }
            if (!wait(std::chrono::milliseconds{1})) {
                break;
            }
        }
        return false;
    }

    // Blocks until the client closes or resets; ends at shutdown too. For falling silent.
    void wait_for_peer_close() {
        char waste[4096];
        while (fd_ >= 0) {
            auto const n = ::recv(fd_, waste, sizeof waste, 0);
            if (n == 0 || (n < 0 && errno != EINTR)) {
                return;
            }
        }
    }

    // True once the client has closed or reset; does not wait.
    bool peer_gone() const {
        pollfd p{fd_, POLLRDHUP, 0};
        return fd_ < 0 || (::poll(&p, 1, 0) == 1 && p.revents != 0);
    }

    // Blocks until the gate opens. False when the server shuts down first.
    bool wait(gate& g) {
        pollfd p[2] = {{g.latch_.fd(), POLLIN, 0}, {state_.stop.fd(), POLLIN, 0}};
        while (::poll(p, 2, -1) < 0 && errno == EINTR) {
        }
        return !state_.stopping;
    }

    // Passes time, for servers that are slow by nature. False when the server shuts down first.
    bool wait(std::chrono::nanoseconds time) {
        auto const end = std::chrono::steady_clock::now() + time;
        for (;;) {
            auto const left = end - std::chrono::steady_clock::now();
            if (left <= left.zero() || state_.stopping) {
                return !state_.stopping;
            }
            auto const whole = std::chrono::duration_cast<std::chrono::seconds>(left);
            timespec t{};
            t.tv_sec = static_cast<time_t>(whole.count());
            t.tv_nsec = static_cast<long>(
                std::chrono::duration_cast<std::chrono::nanoseconds>(left - whole).count());
            pollfd p{state_.stop.fd(), POLLIN, 0};
            ::ppoll(&p, 1, &t, nullptr);
        }
    }

    // Waits so that the bytes passed here, over the connection's life, keep to `rate` a second.
    bool pace(std::size_t bytes, std::uint64_t rate) {
        if (rate == 0) {
            return !state_.stopping;
        }
        auto const now = std::chrono::steady_clock::now();
        auto const due = std::max(now, next_send_);
        next_send_ = due + std::chrono::nanoseconds{static_cast<std::int64_t>(
                               static_cast<double>(bytes) * 1e9 / static_cast<double>(rate))};
        return wait(due - now);
    }

    // Whether the server reads another request after the handler returns; it does unless told.
    void keep_alive(bool on) { keep_alive_ = on; }
    bool keep_alive() const { return keep_alive_; }

    bool is_open() const { return fd_ >= 0; }
    bool stopping() const { return state_.stopping; }
    std::size_t index() const { return index_; }

  private:
    friend class fault_server;

    fault_connection(detail::server_state& state, int fd, std::size_t index)
        : state_{state}, fd_{fd}, index_{index} {}

    // Others use the descriptor under the mutex, so it is given up under the mutex.
    void close_descriptor() {
        std::lock_guard lock{state_.mutex};
        ::close(std::exchange(fd_, -1));
    }

    std::optional<seen_request> read_request() {
        for (;;) {
            auto const end = input_.find("\r\n\r\n");
            if (end != std::string::npos) {
                auto request = seen_request::read(input_.substr(0, end + 4));
                input_.erase(0, end + 4);
                return request;
            }
            char buffer[8192];
            auto const n = fd_ < 0 ? 0 : ::recv(fd_, buffer, sizeof buffer, 0);
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0 || input_.size() > (1U << 20)) {
                return std::nullopt;
            }
            input_.append(buffer, static_cast<std::size_t>(n));
        }
    }

    detail::server_state& state_;
    int fd_;
    std::size_t index_;
    std::size_t requests_ = 0;
    bool keep_alive_ = true;
    std::string input_;
    std::chrono::steady_clock::time_point next_send_{};
};

using fault_handler = std::function<void(fault_connection&, seen_request const&)>;

// --- the server ----------------------------------------------------------------------------------

class fault_server {
  public:
    explicit fault_server(fault_handler handler, fault_server_options options = {})
        : handler_{std::move(handler)}, options_{options} {
        open_listener(0);
        acceptor_ = std::thread{[this] { accept_loop(); }};
    }

    ~fault_server() {
        state_.stopping = true;
        state_.stop.set();
        acceptor_.join();
        drop_connections();
        for (auto& w : workers_) {
            w.thread.join();
        }
        if (listener_ >= 0) {
            ::close(listener_);
        }
    }

    fault_server(fault_server const&) = delete;
    fault_server& operator=(fault_server const&) = delete;

    std::uint16_t port() const { return port_; }
    std::string url(std::string_view target = "/") const {
        return "http://127.0.0.1:" + std::to_string(port_) + std::string{target};
    }

    std::vector<seen_request> requests() const {
        std::lock_guard lock{state_.mutex};
        return state_.requests;
    }

    // Connections accepted so far, refused ones included; and how many of them the limit refused.
    std::size_t connections() const {
        std::lock_guard lock{state_.mutex};
        return state_.accepted;
    }
    std::size_t refused_connections() const {
        std::lock_guard lock{state_.mutex};
        return state_.refused;
    }

    // Connections being served now, and the most there have been at one time; no refused ones.
    std::size_t open_connections() const {
        std::lock_guard lock{state_.mutex};
        return state_.open;
    }
    std::size_t peak_connections() const {
        std::lock_guard lock{state_.mutex};
        return state_.peak;
    }

    // Body bytes given to send_body, before they are sent.
    std::uint64_t bytes_sent() const { return state_.bytes_sent; }

    // What the first handler that threw said; empty if none did. Its connection was reset.
    std::string handler_error() const {
        std::lock_guard lock{state_.mutex};
        return state_.handler_error;
    }

    // Block the test until there were that many requests, or until no more than that many
    // connections are being served. False after the timeout.
    bool wait_for_requests(std::size_t n, std::chrono::seconds timeout = std::chrono::seconds{30}) {
        std::unique_lock lock{state_.mutex};
        return state_.changed.wait_for(lock, timeout, [&] { return state_.requests.size() >= n; });
    }
    bool wait_for_open_at_most(std::size_t n,
                               std::chrono::seconds timeout = std::chrono::seconds{30}) {
        std::unique_lock lock{state_.mutex};
        return state_.changed.wait_for(lock, timeout, [&] { return state_.open <= n; });
    }

    // Closes the listening socket: from the return on, connecting is refused. Open connections
    // live on. start_accepting() opens the same port again.
    void stop_accepting() {
        pause_.set();
        std::unique_lock lock{state_.mutex};
        state_.changed.wait(lock, [this] { return listener_ < 0; });
    }
    void start_accepting() {
        std::lock_guard lock{state_.mutex};
        if (listener_ < 0) {
            open_listener(port_);
            pause_.clear();
            resume_.set();
        }
    }

    // Ends all open connections from the server's side (FIN).
    void drop_connections() {
        std::lock_guard lock{state_.mutex};
        for (auto& w : workers_) {
            if (w.connection->fd_ >= 0) {
                ::shutdown(w.connection->fd_, SHUT_RDWR);
            }
        }
    }

  private:
    struct worker {
        std::unique_ptr<fault_connection> connection;
        std::thread thread;
        bool refused = false;
        bool done = false;
    };

    void open_listener(std::uint16_t port) {
        int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            detail::throw_errno("socket");
        }
        int const on = 1;
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (options_.send_buffer > 0) {
            ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &options_.send_buffer, sizeof(int));
        }
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        void* const raw = &address;
        if (::bind(fd, static_cast<sockaddr*>(raw), size) != 0 ||
            ::listen(fd, options_.backlog) != 0 ||
            ::getsockname(fd, static_cast<sockaddr*>(raw), &size) != 0) {
            int const error = errno;
            ::close(fd);
            throw std::system_error{error, std::generic_category(), "cannot listen"};
        }
        listener_ = fd;
        port_ = ntohs(address.sin_port);
    }

    void accept_loop() {
        for (;;) {
            int listener = 0;
            {
                std::lock_guard lock{state_.mutex};
                listener = listener_;
            }
            // A negative descriptor is passed over by poll.
            pollfd p[3] = {{state_.stop.fd(), POLLIN, 0},
                           {listener < 0 ? resume_.fd() : pause_.fd(), POLLIN, 0},
                           {listener, POLLIN, 0}};
            if (::poll(p, 3, -1) < 0) {
                continue;
            }
            if (p[0].revents != 0) {
                return;
            }
            if (p[1].revents != 0) {
                std::lock_guard lock{state_.mutex};
                if (listener >= 0) {
                    ::close(std::exchange(listener_, -1));
                    state_.changed.notify_all();
                } else {
                    resume_.clear();
                }
                continue;
            }
            int const fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd >= 0) {
                int const on = 1;
                ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                start_worker(fd);
            }
        }
    }

    void start_worker(int fd) {
        std::list<worker> finished;
        {
            std::lock_guard lock{state_.mutex};
            std::size_t alive = 0;
            for (auto w = workers_.begin(); w != workers_.end();) {
                auto const here = w++;
                if (here->done) {
                    finished.splice(finished.end(), workers_, here);
                } else if (!here->refused && !here->connection->peer_gone()) {
                    ++alive;
                }
            }
            auto& w = workers_.emplace_back();
            w.connection.reset(new fault_connection{state_, fd, state_.accepted++});
            w.refused = options_.max_connections != 0 && alive >= options_.max_connections;
            if (w.refused) {
                ++state_.refused;
            } else {
                state_.peak = std::max(state_.peak, alive + 1);
                ++state_.open;
            }
            w.thread = std::thread{[this, &w] { serve(w); }};
            state_.changed.notify_all();
        }
        for (auto& w : finished) {
            w.thread.join();
        }
    }

    void serve(worker& w) {
        auto& c = *w.connection;
        bool refused = false;
        {
            std::lock_guard lock{state_.mutex};
            refused = w.refused;
        }
        if (refused && options_.on_over_limit == over_limit::rst) {
            c.reset();
        } else if (refused && options_.on_over_limit == over_limit::silent) {
            c.wait_for_peer_close();
        }
        while (c.is_open() && c.keep_alive_ && !state_.stopping) {
            auto request = c.read_request();
            if (!request) {
                break;
            }
            request->refused = refused;
            request->connection = c.index_;
            request->on_connection = c.requests_++;
            {
                std::lock_guard lock{state_.mutex};
                request->index = state_.requests.size();
                state_.requests.push_back(*request);
                state_.changed.notify_all();
            }
            if (refused) {
                c.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                       "Connection: close\r\n\r\n");
                break;
            }
            try {
                handler_(c, *request);
            } catch (std::exception const& e) {
                {
                    std::lock_guard lock{state_.mutex};
                    if (state_.handler_error.empty()) {
                        state_.handler_error = e.what();
                    }
                }
                c.reset();
            }
        }
        c.close();
        std::lock_guard lock{state_.mutex};
        w.done = true;
        if (!refused) {
            --state_.open;
        }
        state_.changed.notify_all();
    }

    fault_handler handler_;
    fault_server_options options_;
    mutable detail::server_state state_;
    detail::latch_fd pause_;
    detail::latch_fd resume_;
    int listener_ = -1; // guarded by the mutex of state_
    std::uint16_t port_ = 0;
    std::list<worker> workers_; // the list and done are guarded by the mutex of state_
    std::thread acceptor_;
};

// --- a right server ------------------------------------------------------------------------------

namespace detail {

// Sends content in pieces, at the pace asked for, up to the cut. Returns false when it must stop.
class body_sender {
  public:
    body_sender(fault_connection& c, honest_options const& o, std::optional<std::uint64_t> cut)
        : c_{c}, options_{o}, left_{cut} {
        // Some 200 sends a second, so that the pace is smooth.
        auto const smooth = o.rate == 0 ? std::uint64_t{1} << 20
                                        : std::clamp<std::uint64_t>(o.rate / 200, 64, 1U << 16);
        piece_ = o.piece != 0 ? o.piece : static_cast<std::size_t>(smooth);
    }

    bool operator()(std::string_view content) {
        while (!content.empty()) {
            auto now = content.substr(0, piece_);
            if (left_) {
                now = now.substr(
                    0, static_cast<std::size_t>(std::min<std::uint64_t>(now.size(), *left_)));
                *left_ -= now.size();
            }
            if (!c_.pace(now.size(), options_.rate) || !c_.send_body(now)) {
                return false;
            }
            if (left_ && *left_ == 0 && now.size() < content.size()) {
                return cut();
            }
            content.remove_prefix(now.size());
        }
        return true;
    }

    // For between two stretches of a body that has more to come.
    bool cut_is_due() const { return left_ && *left_ == 0; }
    bool cut() {
        if (options_.cut_with_reset) {
            c_.flush();
            c_.reset();
        } else {
            c_.close();
        }
        return false;
    }

  private:
    fault_connection& c_;
    honest_options const& options_;
    std::optional<std::uint64_t> left_;
    std::size_t piece_ = 0;
};

inline bool send_chunked(fault_connection& c, body_sender& send_content, std::string_view content,
                         std::size_t seed) {
    std::minstd_rand engine{static_cast<std::uint32_t>(seed + 1)};
    while (!content.empty()) {
        if (send_content.cut_is_due()) {
            return send_content.cut();
        }
        // Mostly small and middling chunks, some of one byte, some of up to 64 KiB.
        auto const limit = std::size_t{1} << (engine() % 17);
        auto const now = content.substr(0, 1 + engine() % limit);
        char size[20];
        auto const end = std::to_chars(size, size + sizeof size, now.size(), 16).ptr;
        if (!c.send(std::string(size, end) + "\r\n") || !send_content(now)) {
            return false;
        }
        content.remove_prefix(now.size());
        if (content.empty() || !send_content.cut_is_due()) {
            c.send("\r\n");
        }
    }
    return c.send("0\r\n\r\n");
}

} // namespace detail

// A handler that serves the object at every target as RFC 9110 would have it.
inline fault_handler honest(object whole, honest_options options = {}) {
    auto const shared = std::make_shared<object const>(std::move(whole));
    return [shared, options](fault_connection& c, seen_request const& r) {
        object const& o = *shared;
        bool const faulty = !options.applies || options.applies(r);
        bool const head_only = r.method == "HEAD";
        if (!head_only && r.method != "GET") {
            c.send(reply(405, "Method Not Allowed", "Allow: GET, HEAD\r\n"));
            return;
        }

        auto const wants = r.field("Connection").value_or("");
        bool close =
            options.close_each || options.no_length || detail::equal_ignoring_case(wants, "close");
        if (options.http10 || r.version == "HTTP/1.0") {
            close = close || !detail::equal_ignoring_case(wants, "keep-alive");
        }

        std::string head = honest_200_head(o);
        std::string_view content{o.bytes};
        bool error = false;
        if (auto const match = r.field("If-Match");
            match && *match != "*" && (*match != o.etag || o.etag.rfind("W/", 0) == 0)) {
            head = reply(412, "Precondition Failed");
            error = true;
        } else if (auto range = r.range(); range && options.ranges && !head_only) {
            auto const condition = r.field("If-Range");
            bool const current = !condition ||
                                 (*condition == o.etag && o.etag.rfind("W/", 0) != 0) ||
                                 (!o.last_modified.empty() && *condition == o.last_modified);
            if (current && range->first >= o.bytes.size()) {
                head = honest_416(o);
                error = true;
            } else if (current) {
                auto const last = std::min<std::uint64_t>(range->second, o.bytes.size() - 1);
                head = honest_206_head(o, range->first, last);
                content = body(o, range->first, last);
            }
        }
        if (error) {
            content = {};
        }

        if (!options.ranges) {
            drop_field(head, "Accept-Ranges");
        }
        if (!error && (options.chunked || options.no_length)) {
            drop_field(head, "Content-Length");
        }
        if (!error && options.chunked) {
            set_field(head, "Transfer-Encoding", "chunked");
        }
        if (options.http10) {
            head.replace(0, 8, "HTTP/1.0");
        }
        if (close) {
            set_field(head, "Connection", "close");
        } else if (options.http10 || r.version == "HTTP/1.0") {
            set_field(head, "Connection", "keep-alive");
        }
        if (faulty && options.edit_head) {
            options.edit_head(head);
        }

        bool alive = options.piece != 0 ? c.send_slowly_split(head, options.piece) : c.send(head);
        if (alive && !head_only && !error) {
            auto const cut = faulty ? options.cut_after : std::nullopt;
            detail::body_sender send_content{c, options, cut};
            if (cut == std::uint64_t{0} && !content.empty()) {
                alive = send_content.cut();
            } else if (options.chunked) {
                alive = detail::send_chunked(c, send_content, content, r.index);
            } else {
                alive = send_content(content);
            }
        }
        if (close || !alive) {
            c.close();
        }
    };
}

} // namespace cleave_test
