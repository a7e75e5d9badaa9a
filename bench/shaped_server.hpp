// SPDX-License-Identifier: BSL-1.0
//
// An HTTP/1.1 server of ranges for benches, each of whose connections is as fast, as far away and
// as short-lived as the bench wants. One thread, and no sleeping between pieces: what is due is
// reckoned from when a body began, so that a late wake-up is made up for and nothing drifts. It
// shares no code with the library, and knows nothing of who downloads.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cleave_bench {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// --- the object ------------------------------------------------------------------------------

/// The object's bytes from `offset` on: its n-th eight are the n-th number of splitmix64, so that
/// any of them are known without those before.
inline void fill(std::uint64_t offset, std::span<std::byte> to) noexcept {
    while (!to.empty()) {
        std::uint64_t z = (offset / 8 + 1) * 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        z ^= z >> 31U;
        std::array<std::byte, 8> word;
        std::memcpy(word.data(), &z, word.size());
        auto const skip = static_cast<std::size_t>(offset % 8);
        std::size_t const n = std::min(word.size() - skip, to.size());
        if (n == word.size())
            std::memcpy(to.data(), word.data(), word.size());
        else
            std::memcpy(to.data(), word.data() + skip, n);
        to = to.subspan(n);
        offset += n;
    }
}

/// Whether these are the object's bytes from `offset` on.
inline bool is_object(std::uint64_t offset, std::span<std::byte const> bytes) noexcept {
    std::array<std::byte, 4096> right;
    while (!bytes.empty()) {
        std::size_t const n = std::min(bytes.size(), right.size());
        fill(offset, std::span{right}.first(n));
        if (std::memcmp(right.data(), bytes.data(), n) != 0) return false;
        bytes = bytes.subspan(n);
        offset += n;
    }
    return true;
}

// --- how it is served ------------------------------------------------------------------------

inline constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

/// What one connection is like.
struct link {
    /// Body bytes a second; 0 is as many as are taken.
    std::uint64_t rate = 0;
    /// Body bytes, over all its replies, after which it ends: with a FIN, or by falling silent.
    std::uint64_t ends_after = unlimited;
    bool silently = false;
};

struct shape {
    /// The link of the `nth` connection accepted, from 1, which takes the lowest free slot, from 0.
    std::function<link(std::size_t nth, std::size_t slot)> link_of = [](auto, auto) {
        return link{};
    };
    /// A connection's first request is read one round trip after it was accepted, and a reply
    /// begins one round trip after its request was read.
    nanoseconds round_trip{0};
    /// SO_SNDBUF, small so that little is on its way when a client leaves; 0 is the kernel's own.
    int send_buffer = 32 * 1024;
};

/// What the server has done so far, by its own count.
struct server_counts {
    std::uint64_t body_bytes = 0;
    std::uint64_t requests = 0;
    std::uint64_t connections = 0;
    /// Connections open at one time, at most.
    std::size_t at_once = 0;
    /// Time that clients lost by not taking what was due, over all connections.
    nanoseconds held_up{0};
    /// How much later than it wanted the server woke up, at most.
    nanoseconds late{0};
};

namespace detail {

using time_point = steady_clock::time_point;

inline constexpr time_point never = time_point::max();
/// A rate is kept to by as much as is sent in this time.
inline constexpr nanoseconds grain = std::chrono::milliseconds{1};
/// How far behind its rate a connection may fall before what is lost is lost: as a client's buffers
/// would hide it from a link for a while.
inline constexpr nanoseconds slack = std::chrono::milliseconds{20};
/// What an unshaped connection sends before others have their turn.
inline constexpr std::uint64_t turn = 256 * 1024;

[[noreturn]] inline void throw_errno(char const* what) {
    throw std::system_error{errno, std::generic_category(), what};
}

/// The value of a field of a head in lower case, or nothing.
inline std::string_view field(std::string_view head, std::string_view name) {
    std::size_t at = head.find("\r\n" + std::string{name} + ":");
    if (at == std::string_view::npos) return {};
    at = head.find_first_not_of(" \t", at + name.size() + 3);
    return head.substr(at, head.find("\r\n", at) - at);
}

/// First and last byte of "bytes=a-b" or "bytes=a-"; no other form is taken.
inline std::optional<std::pair<std::uint64_t, std::uint64_t>> read_range(std::string_view text) {
    if (!text.starts_with("bytes=")) return std::nullopt;
    text.remove_prefix(6);
    char const* const end = text.data() + text.size();
    std::uint64_t first = 0;
    std::uint64_t last = unlimited;
    auto [p, ec] = std::from_chars(text.data(), end, first);
    if (ec != std::errc{} || p == end || *p != '-') return std::nullopt;
    if (++p != end) {
        auto const to = std::from_chars(p, end, last);
        if (to.ec != std::errc{} || to.ptr != end) return std::nullopt;
    }
    if (last < first) return std::nullopt;
    return std::pair{first, last};
}

struct reply {
    std::string head;
    std::uint64_t first = 0;
    std::uint64_t size = 0; // of the body
    std::uint64_t sent = 0; // of the body
    bool close = false;
    steady_clock::time_point asked;
    std::optional<steady_clock::time_point> begins;
};

/// The reply to a request's head in lower case.
inline reply answer(std::string_view head, std::uint64_t size) {
    bool const get = head.starts_with("get ");
    bool const head_only = head.starts_with("head ");
    auto const range = read_range(field(head, "range"));
    std::string_view const condition = field(head, "if-range");
    std::string_view const wants = field(head, "connection");
    bool const old = head.substr(0, head.find("\r\n")).ends_with("http/1.0");

    reply r;
    r.close = wants == "close" || (old && wants != "keep-alive");
    std::string status = "405 Method Not Allowed";
    std::string fields = "Allow: GET, HEAD\r\n";
    if (get || head_only) {
        status = "200 OK";
        fields = "Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n"
                 "ETag: \"shaped\"\r\n";
        r.size = size;
    }
    if (get && range && (condition.empty() || condition == "\"shaped\"")) {
        status = range->first < size ? "206 Partial Content" : "416 Range Not Satisfiable";
        fields += "Content-Range: bytes ";
        if (range->first < size) {
            std::uint64_t const last = std::min(range->second, size - 1);
            r.first = range->first;
            r.size = last - r.first + 1;
            fields += std::to_string(r.first) + "-" + std::to_string(last);
        } else {
            r.size = 0;
            fields += "*";
        }
        fields += "/" + std::to_string(size) + "\r\n";
    }
    r.head = "HTTP/1.1 " + status + "\r\n" + fields + "Content-Length: " + std::to_string(r.size) +
             "\r\n" +
             (r.close ? "Connection: close\r\n\r\n"
              : old   ? "Connection: keep-alive\r\n\r\n"
                      : "\r\n");
    if (head_only) r.size = 0;
    return r;
}

/// One connection. Whoever owns it waits for `events()`, or until `wake()`, and calls `step`.
class connection {
  public:
    connection(int fd, std::size_t slot, link how, nanoseconds round_trip, std::uint64_t size,
               time_point now, server_counts& counts)
        : fd_(fd), slot_(slot), how_(how), round_trip_(round_trip), size_(size),
          connected_(now + round_trip), counts_(counts) {}
    ~connection() { ::close(fd_); }
    connection(connection const&) = delete;
    connection& operator=(connection const&) = delete;

    [[nodiscard]] pollfd events() const noexcept {
        return {fd_, static_cast<short>(full_ ? POLLIN | POLLOUT : POLLIN), 0};
    }
    [[nodiscard]] time_point wake() const noexcept { return wake_; }
    [[nodiscard]] bool gone() const noexcept { return gone_; }
    /// None when the server has ended it, and only waits for the client to close it as well.
    [[nodiscard]] std::optional<std::size_t> slot() const noexcept { return slot_; }

    void step(short happened, time_point now) {
        if ((happened & ~POLLOUT) != 0) receive(now);
        if (full_ && (happened & POLLOUT) != 0) forgive(now);
        if (!gone_ && !full_) send_what_is_due(now);
    }

  private:
    /// The socket takes bytes again; of those that it did not take, some are never made up for.
    void forgive(time_point now) {
        full_ = false;
        reply& r = owed_.front();
        nanoseconds const behind = now - (*r.begins + time_of(r.sent));
        if (how_.rate == 0 || behind <= slack) return;
        *r.begins += behind - slack;
        counts_.held_up += behind - slack;
    }

    void receive(time_point now) {
        std::array<char, 4096> buffer;
        for (;;) {
            ssize_t const n = ::recv(fd_, buffer.data(), buffer.size(), 0);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && errno == EAGAIN) break;
            gone_ = n <= 0;
            if (gone_) return;
            if (!slot_) continue;
            for (char c : std::string_view{buffer.data(), static_cast<std::size_t>(n)})
                input_ += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
        }
        for (std::size_t end = 0; (end = input_.find("\r\n\r\n")) != std::string::npos;) {
            owed_.push_back(answer(std::string_view{input_}.substr(0, end + 2), size_));
            owed_.back().asked = std::max(now, connected_);
            input_.erase(0, end + 4);
            ++counts_.requests;
        }
    }

    void send_what_is_due(time_point now) {
        wake_ = never;
        while (slot_ && !owed_.empty()) {
            reply& r = owed_.front();
            // A client that asks when it has the last byte asks as late as that byte came.
            if (!r.begins) r.begins = std::max(through_, r.asked - late_ + round_trip_);
            if (now < *r.begins) {
                wake_ = *r.begins;
                return;
            }
            if (!send_head(r) || !send_body(r, now)) return;
            through_ = *r.begins + time_of(r.size);
            late_ = std::max(nanoseconds{0}, now - through_);
            if (r.close) return end();
            owed_.pop_front();
        }
    }

    bool send_head(reply& r) {
        while (!r.head.empty()) {
            std::size_t const n = send_some(r.head.data(), r.head.size());
            if (n == 0) return false;
            r.head.erase(0, n);
        }
        return true;
    }

    /// Whether all of it is sent.
    bool send_body(reply& r, time_point now) {
        std::uint64_t const last = std::min(r.size, r.sent + (how_.ends_after - sent_));
        std::uint64_t due = std::min(last, r.sent + turn);
        if (how_.rate != 0) {
            std::chrono::duration<double> const passed = now - *r.begins;
            auto const all = static_cast<double>(how_.rate) * passed.count();
            due = std::min(last, static_cast<std::uint64_t>(all));
        }
        std::array<std::byte, 64 * 1024> piece;
        while (r.sent < due) {
            auto const size = std::min<std::uint64_t>(due - r.sent, piece.size());
            auto const bytes = std::span{piece}.first(static_cast<std::size_t>(size));
            fill(r.first + r.sent, bytes);
            std::size_t const n = send_some(bytes.data(), bytes.size());
            if (n == 0) return false;
            r.sent += n;
            sent_ += n;
            counts_.body_bytes += n;
        }
        if (sent_ == how_.ends_after && r.size != 0) {
            if (!how_.silently) end();
            return false;
        }
        if (r.sent == r.size) return true;
        wake_ = how_.rate == 0 ? now : std::min(now + grain, *r.begins + time_of(last));
        return false;
    }

    /// 0 when the socket is full, or the client gone.
    std::size_t send_some(void const* bytes, std::size_t size) {
        ssize_t n = 0;
        do n = ::send(fd_, bytes, size, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n > 0) return static_cast<std::size_t>(n);
        if (errno == EAGAIN)
            full_ = true;
        else
            gone_ = true;
        return 0;
    }

    [[nodiscard]] nanoseconds time_of(std::uint64_t bytes) const {
        if (how_.rate == 0) return nanoseconds{0};
        double const s = static_cast<double>(bytes) / static_cast<double>(how_.rate);
        return nanoseconds{std::llround(std::ceil(s * 1e9))};
    }

    void end() {
        ::shutdown(fd_, SHUT_WR);
        slot_.reset();
        owed_.clear();
    }

    int fd_;
    std::optional<std::size_t> slot_;
    link how_;
    nanoseconds round_trip_;
    std::uint64_t size_; // of the object
    time_point connected_;
    server_counts& counts_;

    std::string input_;
    std::deque<reply> owed_;  // in the order they were asked for; the first is under way
    std::uint64_t sent_ = 0;  // body bytes, over all replies
    time_point through_{};    // when the last body was due to be through,
    nanoseconds late_{0};     // and how much later than that it was
    time_point wake_ = never; // when something is due
    bool full_ = false;       // the socket
    bool gone_ = false;
};

} // namespace detail

/// Listens on a free port of the loopback from when it is made; serves while `serve` runs.
class shaped_server {
  public:
    shaped_server(shape how, std::uint64_t size) : how_(std::move(how)), size_(size) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (listener_ < 0) detail::throw_errno("socket");
        // Connections take these over. Segments as on a real network: of those that fit a loopback,
        // a small buffer holds one, and the client's kernel waits 40 ms for a second to
        // acknowledge.
        set(IPPROTO_TCP, TCP_MAXSEG, 1448);
        if (how_.send_buffer != 0) set(SOL_SOCKET, SO_SNDBUF, how_.send_buffer);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* const a = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_, a, length) != 0 || ::listen(listener_, 128) != 0 ||
            ::getsockname(listener_, a, &length) != 0)
            detail::throw_errno("listen");
        port_ = ntohs(address.sin_port);
    }
    ~shaped_server() { ::close(listener_); }
    shaped_server(shaped_server const&) = delete;
    shaped_server& operator=(shaped_server const&) = delete;

    [[nodiscard]] std::string url() const {
        return "http://127.0.0.1:" + std::to_string(port_) + "/object";
    }
    [[nodiscard]] server_counts const& counts() const noexcept { return counts_; }

    /// Serves until the descriptor `until` can be read or has come to its end, and answers true, or
    /// for `limit`, and answers false. Without a descriptor, -1, it is the limit that counts.
    bool serve(int until, nanoseconds limit) {
        detail::time_point now = steady_clock::now();
        detail::time_point const deadline = now + limit;
        std::vector<pollfd> polls;
        for (;;) {
            polls.assign({{until, POLLIN, 0}, {listener_, POLLIN, 0}});
            detail::time_point wake = deadline;
            for (detail::connection const& c : connections_) {
                polls.push_back(c.events());
                wake = std::min(wake, c.wake());
            }
            wait(polls, wake - steady_clock::now());
            now = steady_clock::now();
            counts_.late = std::max(counts_.late, now - wake);
            if (polls[0].revents != 0) return true;
            if (now >= deadline) return false;
            auto p = polls.begin() + 2;
            for (detail::connection& c : connections_) c.step((p++)->revents, now);
            connections_.remove_if([](detail::connection const& c) { return c.gone(); });
            // After those who leave, whose slots are free now.
            if (polls[1].revents != 0) accept(now);
        }
    }

  private:
    void set(int level, int option, int value) const {
        if (::setsockopt(listener_, level, option, &value, sizeof value) != 0)
            detail::throw_errno("setsockopt");
    }

    static void wait(std::vector<pollfd>& polls, nanoseconds time) {
        time = std::max(time, nanoseconds{0});
        timespec t{};
        t.tv_sec = static_cast<time_t>(time.count() / 1'000'000'000);
        t.tv_nsec = static_cast<long>(time.count() % 1'000'000'000);
        if (::ppoll(polls.data(), polls.size(), &t, nullptr) < 0 && errno != EINTR)
            detail::throw_errno("ppoll");
    }

    void accept(detail::time_point now) {
        for (;;) {
            int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) return;
            int const on = 1;
            ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            std::size_t const slot = free_slot();
            connections_.emplace_back(fd, slot, how_.link_of(++counts_.connections, slot),
                                      how_.round_trip, size_, now, counts_);
            auto const open = std::count_if(connections_.begin(), connections_.end(),
                                            [](auto const& c) { return c.slot().has_value(); });
            counts_.at_once = std::max(counts_.at_once, static_cast<std::size_t>(open));
        }
    }

    [[nodiscard]] std::size_t free_slot() const {
        std::size_t slot = 0;
        auto const taken = [&](detail::connection const& c) { return c.slot() == slot; };
        while (std::any_of(connections_.begin(), connections_.end(), taken)) ++slot;
        return slot;
    }

    shape how_;
    std::uint64_t size_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    server_counts counts_;
    std::list<detail::connection> connections_;
};

} // namespace cleave_bench
