// SPDX-License-Identifier: BSL-1.0
//
// Floors: the cheapest loops that one would write by hand if nothing ever went wrong. One thread,
// one epoll, as many connections as lanes, each of which asks once for its equal part of the
// object and knows where it goes. No checks beyond the status line, no timeouts, no second tries:
// what a library does beside this is what it is compared with.
#pragma once

#include "client.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef CLEAVE_BENCH_TLS
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

namespace cleave_bench {

/// Of "http://127.0.0.1:8080/object".
struct floor_url {
    explicit floor_url(std::string_view text) {
        text.remove_prefix(text.find("//") + 2);
        auto const slash = text.find('/');
        authority = text.substr(0, slash);
        path = text.substr(slash);
        auto const colon = authority.find(':');
        host = authority.substr(0, colon);
        port = static_cast<std::uint16_t>(std::atoi(authority.c_str() + colon + 1));
    }
    std::string authority;
    std::string host;
    std::string path;
    std::uint16_t port = 0;
};

/// One connection and its part, `[at, end)`.
struct floor_lane {
    int fd = -1;
    std::uint64_t at = 0;
    std::uint64_t end = 0;
    bool in_body = false;
    bool waits_for_many = false;
#ifdef CLEAVE_BENCH_TLS
    SSL* ssl = nullptr;
#endif
};

/// Where bytes go: what is in a buffer is written, or stands where it belongs already.
class floor_target {
  public:
    floor_target(client_options const& o, std::span<std::byte> memory)
        : to_(o.to), memory_(memory), size_(static_cast<std::size_t>(o.buffer)) {
        if (to_ == destination::file) {
            fd_ = ::open(o.out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            if (fd_ < 0) fail("open");
            if (::fallocate(fd_, 0, 0, static_cast<off_t>(o.size)) != 0 && errno != EOPNOTSUPP)
                fail("fallocate");
        }
        if (to_ != destination::memory)
            buffer_ = std::make_unique_for_overwrite<std::byte[]>(size_);
    }
    ~floor_target() {
        if (fd_ >= 0) ::close(fd_);
    }
    floor_target(floor_target const&) = delete;
    floor_target& operator=(floor_target const&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] std::uint64_t copied() const noexcept { return copied_; }

    /// Memory to receive what belongs to `[at, end)`.
    [[nodiscard]] std::span<std::byte> room(std::uint64_t at, std::uint64_t end) const noexcept {
        auto const n = static_cast<std::size_t>(end - at);
        if (to_ == destination::memory) return memory_.subspan(static_cast<std::size_t>(at), n);
        return {buffer_.get(), std::min(n, size_)};
    }
    /// `bytes` were received for `at`, into `room` or, with a head, elsewhere.
    void take(std::uint64_t at, std::span<std::byte const> bytes) {
        if (to_ == destination::memory && bytes.data() != memory_.data() + at) {
            std::memcpy(memory_.data() + at, bytes.data(), bytes.size());
            copied_ += bytes.size();
        }
        if (to_ != destination::file) return;
        while (!bytes.empty()) {
            ssize_t const n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
            if (n <= 0) fail("pwrite");
            bytes = bytes.subspan(static_cast<std::size_t>(n));
            at += static_cast<std::uint64_t>(n);
        }
    }

  private:
    destination to_;
    std::span<std::byte> memory_;
    std::size_t size_;
    std::unique_ptr<std::byte[]> buffer_;
    int fd_ = -1;
    std::uint64_t copied_ = 0;
};

inline int floor_connect(floor_url const& to) {
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    if (::inet_pton(AF_INET, to.host.c_str(), &address.sin_addr) != 1) fail("inet_pton");
    void* const raw = &address;
    if (::connect(fd, static_cast<sockaddr*>(raw), sizeof address) != 0) fail("connect");
    int const on = 1;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

inline std::string floor_request(floor_url const& to, floor_lane const& l) {
    return "GET " + to.path + " HTTP/1.1\r\nHost: " + to.authority +
           "\r\nRange: bytes=" + std::to_string(l.at) + "-" + std::to_string(l.end - 1) +
           "\r\n\r\n";
}

/// Bytes of the head at the front of `text`. It comes in one piece, from this server.
inline std::size_t floor_head(std::string_view text) {
    auto const end = text.find("\r\n\r\n");
    if (!text.starts_with("HTTP/1.1 206") || end == std::string_view::npos)
        throw std::runtime_error{"a floor expects 206 and a short head"};
    return end + 4;
}

/// The equal parts, connections open.
inline std::vector<floor_lane> floor_lanes(client_options const& o, floor_url const& to) {
    std::vector<floor_lane> lanes(static_cast<std::size_t>(o.lanes));
    for (std::uint64_t i = 0; i != o.lanes; ++i) {
        auto& l = lanes[static_cast<std::size_t>(i)];
        l.at = o.size / o.lanes * i;
        l.end = i + 1 == o.lanes ? o.size : o.size / o.lanes * (i + 1);
        l.fd = floor_connect(to);
    }
    return lanes;
}

/// Calls `ready(lane)` for each lane that can be read, until all have their part.
template <class F>
void floor_loop(std::vector<floor_lane>& lanes, F&& ready) {
    int const epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) fail("epoll_create1");
    for (auto& l : lanes) {
        epoll_event e{};
        e.events = EPOLLIN;
        e.data.ptr = &l;
        if (::epoll_ctl(epoll, EPOLL_CTL_ADD, l.fd, &e) != 0) fail("epoll_ctl");
    }
    std::array<epoll_event, 64> events;
    for (std::size_t left = lanes.size(); left != 0;) {
        int const n = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < n; ++i) {
            auto& l = *static_cast<floor_lane*>(events[static_cast<std::size_t>(i)].data.ptr);
            ready(l);
            if (l.at != l.end) continue;
            ::close(l.fd); // leaves the epoll set, too
            --left;
        }
    }
    ::close(epoll);
}

/// Plain TCP: by way of a pipe into the file, or received into the target's memory.
inline std::uint64_t plain_floor(client_options const& o, std::span<std::byte> memory) {
    floor_url const to{o.url};
    floor_target target{o, memory};
    std::array<int, 2> pipe{-1, -1};
    std::size_t pipe_size = 0;
    if (o.way == "splice") {
        if (::pipe2(pipe.data(), O_CLOEXEC) != 0) fail("pipe2");
        int const got = ::fcntl(pipe[1], F_SETPIPE_SZ, 1024 * 1024);
        if (got < 0) fail("F_SETPIPE_SZ");
        pipe_size = static_cast<std::size_t>(got);
    }
    auto lanes = floor_lanes(o, to);
    for (auto& l : lanes) {
        auto const text = floor_request(to, l);
        if (::send(l.fd, text.data(), text.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(text.size()))
            fail("send");
    }
    auto const received = [](ssize_t n) {
        if (n > 0) return static_cast<std::size_t>(n);
        if (n == 0) throw std::runtime_error{"closed too early"};
        if (errno != EAGAIN) fail("recv");
        return std::size_t{0};
    };
    // From now on it is ready when so many bytes are there.
    auto const wake_at = [](floor_lane& l, std::uint64_t bytes) {
        int const n = std::max(1, static_cast<int>(bytes));
        (void)::setsockopt(l.fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof n);
        l.waits_for_many = bytes != 0;
    };
    auto const ready = [&](floor_lane& l) {
        if (!l.in_body) {
            std::array<std::byte, 512> head;
            auto const n = received(::recv(l.fd, head.data(), head.size(), MSG_DONTWAIT));
            if (n == 0) return;
            void const* const raw = head.data();
            auto const skip = floor_head({static_cast<char const*>(raw), n});
            target.take(l.at, std::span{head}.subspan(skip, n - skip));
            l.at += n - skip;
            l.in_body = true;
            if (o.lowat != 0) wake_at(l, o.lowat);
            return;
        }
        if (pipe_size == 0) {
            auto const room = target.room(l.at, l.end);
            auto const n = received(::recv(l.fd, room.data(), room.size(), MSG_DONTWAIT));
            target.take(l.at, room.first(n));
            l.at += n;
            return;
        }
        auto n = received(::splice(l.fd, nullptr, pipe[1], nullptr,
                                   std::min(static_cast<std::size_t>(l.end - l.at), pipe_size),
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
        while (n != 0) {
            auto offset = static_cast<off64_t>(l.at);
            ssize_t const moved =
                ::splice(pipe[0], nullptr, target.fd(), &offset, n, SPLICE_F_MOVE);
            if (moved <= 0) fail("splice");
            n -= static_cast<std::size_t>(moved);
            l.at += static_cast<std::uint64_t>(moved);
        }
    };
    floor_loop(lanes, [&](floor_lane& l) {
        ready(l);
        // What is left at the end is less than it would wait for.
        if (l.waits_for_many && l.end - l.at < 2 * o.lowat) wake_at(l, 0);
    });
    if (pipe_size != 0) {
        ::close(pipe[0]);
        ::close(pipe[1]);
    }
    return target.copied();
}

#ifdef CLEAVE_BENCH_TLS

/// A source of ciphertext with a buffer of its own, so that one `recv` is good for many records.
struct floor_bio {
    int fd = -1;
    std::size_t size = 0;
    std::unique_ptr<char[]> buffer;
    char* first = nullptr;
    char* last = nullptr;

    static int read(BIO* bio, char* to, int n) {
        auto& b = *static_cast<floor_bio*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        if (b.first == b.last) {
            ssize_t const got = ::recv(b.fd, b.buffer.get(), b.size, MSG_DONTWAIT);
            if (got <= 0) {
                if (got < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
                return got < 0 ? -1 : 0;
            }
            b.first = b.buffer.get();
            b.last = b.first + got;
        }
        auto const some =
            std::min(static_cast<std::size_t>(n), static_cast<std::size_t>(b.last - b.first));
        std::memcpy(to, b.first, some);
        b.first += some;
        return static_cast<int>(some);
    }
    static int write(BIO* bio, char const* from, int n) {
        auto& b = *static_cast<floor_bio*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        ssize_t const put = ::send(b.fd, from, static_cast<std::size_t>(n), MSG_NOSIGNAL);
        return static_cast<int>(put);
    }
    static long control(BIO*, int what, long, void*) { return what == BIO_CTRL_FLUSH ? 1 : 0; }

    static BIO* make(floor_bio& b, int fd, std::size_t size) {
        static BIO_METHOD* const method = [] {
            BIO_METHOD* const m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "floor");
            BIO_meth_set_read(m, read);
            BIO_meth_set_write(m, write);
            BIO_meth_set_ctrl(m, control);
            return m;
        }();
        b.fd = fd;
        b.size = size;
        b.buffer = std::make_unique_for_overwrite<char[]>(size);
        BIO* const bio = BIO_new(method);
        BIO_set_data(bio, &b);
        BIO_set_init(bio, 1);
        return bio;
    }
};

/// TLS: decrypted into the target's memory. `way`: "socket" is OpenSSL's own way to read, "ahead"
/// lets it read more than a record at a time, "bio" has `floor_bio`.
inline std::uint64_t tls_floor(client_options const& o, std::span<std::byte> memory) {
    floor_url const to{o.url};
    floor_target target{o, memory};
    // Of a way such as "bio-128", in KiB.
    auto const dash = o.way.find('-');
    std::size_t const ahead =
        dash == std::string::npos
            ? 0
            : static_cast<std::size_t>(std::atoi(o.way.c_str() + dash + 1)) * 1024;
    std::string_view const way = std::string_view{o.way}.substr(0, dash);

    std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> const context{SSL_CTX_new(TLS_client_method()),
                                                               SSL_CTX_free};
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    if (SSL_CTX_load_verify_file(context.get(), o.ca.c_str()) != 1)
        throw std::runtime_error{"cannot read " + o.ca};
    if (way == "ahead") {
        SSL_CTX_set_read_ahead(context.get(), 1);
        SSL_CTX_set_default_read_buffer_len(context.get(), ahead);
    }
    auto lanes = floor_lanes(o, to);
    std::vector<floor_bio> sources(lanes.size());
    for (std::size_t i = 0; i != lanes.size(); ++i) {
        auto& l = lanes[i];
        l.ssl = SSL_new(context.get());
        if (SSL_set_fd(l.ssl, l.fd) != 1) throw std::runtime_error{"SSL_set_fd"};
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(l.ssl), to.host.c_str());
        // Shaking hands and asking may block; nothing else happens meanwhile.
        auto const text = floor_request(to, l);
        std::size_t written = 0;
        if (SSL_connect(l.ssl) != 1 || SSL_write_ex(l.ssl, text.data(), text.size(), &written) != 1)
            throw std::runtime_error{"TLS does not begin"};
        // Not while something read ahead may still be in OpenSSL's own hands.
        if (way == "bio") SSL_set0_rbio(l.ssl, floor_bio::make(sources[i], l.fd, ahead));
        if (::fcntl(l.fd, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
    }
    floor_loop(lanes, [&](floor_lane& l) {
        // Until nothing is left that epoll would know nothing of.
        while (l.at != l.end) {
            std::array<std::byte, 512> head;
            std::span<std::byte> room = head;
            if (l.in_body) room = target.room(l.at, l.end);
            // As many records as there is room for, to be written at once.
            std::size_t got = 0;
            bool more = true;
            while (more && got != room.size()) {
                std::size_t n = 0;
                more = SSL_read_ex(l.ssl, room.data() + got, room.size() - got, &n) == 1;
                got += n;
                if (!l.in_body) break;
            }
            if (got == 0 && SSL_get_error(l.ssl, 0) != SSL_ERROR_WANT_READ)
                throw std::runtime_error{"SSL_read"};
            if (got == 0) return;
            std::size_t skip = 0;
            if (!l.in_body) {
                void const* const raw = head.data();
                skip = floor_head({static_cast<char const*>(raw), got});
                l.in_body = true;
            }
            target.take(l.at, room.subspan(skip, got - skip));
            l.at += got - skip;
            if (!more) {
                if (SSL_get_error(l.ssl, 0) != SSL_ERROR_WANT_READ && l.at != l.end)
                    throw std::runtime_error{"SSL_read"};
                return;
            }
        }
    });
    for (auto& l : lanes) SSL_free(l.ssl);
    return target.copied();
}

/// SHA-256 over as many bytes as the object has, of a piece that is in the cache.
inline std::uint64_t hash_floor(client_options const& o) {
    std::vector<std::byte> const piece(static_cast<std::size_t>(o.buffer), std::byte{0x5a});
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> const hash{EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free};
    bool good = EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) == 1;
    for (std::uint64_t left = o.size; good && left != 0;) {
        auto const n = std::min<std::uint64_t>(left, piece.size());
        good = EVP_DigestUpdate(hash.get(), piece.data(), static_cast<std::size_t>(n)) == 1;
        left -= n;
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
    if (!good || EVP_DigestFinal_ex(hash.get(), value.data(), nullptr) != 1)
        throw std::runtime_error{"SHA-256"};
    return 0;
}

#endif

} // namespace cleave_bench
