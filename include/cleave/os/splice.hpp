// SPDX-License-Identifier: BSL-1.0
//
// From a socket into a file without a way through the program: splice(2), which Linux has. Knows
// nothing of what the bytes are, or of who sends them.
#pragma once

#include <cleave/os/file_calls.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>

namespace cleave {

/// Moves bytes from sockets into files within the system, by way of a pipe of its own, which is
/// empty between calls: one serves any number of sockets and files, one call at a time. Move-only.
class splicer {
  public:
    splicer() = default;
    splicer(splicer&& other) noexcept
        : in_(std::exchange(other.in_, -1)), out_(std::exchange(other.out_, -1)),
          usable_(std::exchange(other.usable_, false)) {}
    splicer& operator=(splicer&& other) noexcept {
        std::swap(in_, other.in_);
        std::swap(out_, other.out_);
        std::swap(usable_, other.usable_);
        return *this;
    }
    ~splicer() { close(); }

    /// Whether it is worth a call: no longer once the system had no pipe, or could not do it with a
    /// socket or a file. Then, and elsewhere than on Linux, the way leads through memory.
    [[nodiscard]] bool usable() const noexcept { return usable_; }

    /// Moves at least one and at most `n` bytes from a socket, which does not block, to `offset` in
    /// a file. 0 with `socket_error`: `errc::resource_unavailable_try_again` where nothing is there
    /// yet, `errc::not_supported` where it cannot be done, and nothing was taken from the socket.
    /// 0 without any error is the peer's end. With `file_error` what had been taken is lost.
    std::size_t move(int socket, int file, std::uint64_t offset, std::size_t n,
                     std::error_code& socket_error, std::error_code& file_error) noexcept {
#if defined(__linux__)
        constexpr auto most = detail::file_calls::max_size;
        if (offset > most - std::min<std::uint64_t>(n, most)) {
            file_error = std::make_error_code(std::errc::file_too_large);
            return 0;
        }
        if (!open()) {
            socket_error = std::make_error_code(std::errc::not_supported);
            return 0;
        }
        std::size_t const taken = take(socket, n, socket_error);
        if (taken != 0) put(file, offset, taken, file_error);
        return file_error ? 0 : taken;
#else
        (void)socket, (void)file, (void)offset, (void)n, (void)file_error;
        socket_error = std::make_error_code(std::errc::not_supported);
        return 0;
#endif
    }

  private:
#if defined(__linux__)
    // As much as anybody may have without being asked (/proc/sys/fs/pipe-max-size).
    static constexpr int pipe_size = 1 << 20;

    static std::error_code last_error() noexcept { return {errno, std::system_category()}; }

    [[nodiscard]] bool open() noexcept {
        if (in_ >= 0 || !usable_) return usable_;
        int ends[2];
        usable_ = ::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0;
        if (!usable_) return false;
        out_ = ends[0];
        in_ = ends[1];
        // A smaller one is slower, and does.
        (void)::fcntl(in_, F_SETPIPE_SZ, pipe_size);
        return true;
    }

    [[nodiscard]] std::size_t take(int socket, std::size_t n, std::error_code& ec) noexcept {
        for (;;) {
            auto const taken =
                ::splice(socket, nullptr, in_, nullptr, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (taken >= 0) return static_cast<std::size_t>(taken);
            if (errno == EINTR) continue;
            if (errno == EINVAL || errno == ENOSYS) {
                give_up();
                ec = std::make_error_code(std::errc::not_supported);
            } else {
                ec = last_error();
            }
            return 0;
        }
    }

    void put(int file, std::uint64_t offset, std::size_t n, std::error_code& ec) noexcept {
        auto at = static_cast<loff_t>(offset);
        while (n != 0) {
            auto const put = ::splice(out_, nullptr, file, &at, n, SPLICE_F_MOVE);
            if (put > 0) {
                n -= static_cast<std::size_t>(put);
            } else if (put < 0 && errno == EINTR) {
                continue;
            } else {
                // Not every file can; what is in the pipe goes there all the same.
                if (put < 0 && errno == EINVAL)
                    copy(file, at, n, ec);
                else
                    ec = put < 0 ? last_error() : std::make_error_code(std::errc::io_error);
                give_up();
                return;
            }
        }
    }

    // Once at most, and what is in the pipe must not be left there for want of memory.
    void copy(int file, loff_t at, std::size_t n, std::error_code& ec) noexcept {
        std::array<std::byte, 4096> buffer;
        while (n != 0) {
            auto const got = ::read(out_, buffer.data(), std::min(n, buffer.size()));
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) {
                ec = got < 0 ? last_error() : std::make_error_code(std::errc::io_error);
                return;
            }
            auto const bytes = std::span{buffer}.first(static_cast<std::size_t>(got));
            detail::file_calls::write_all(file, static_cast<std::uint64_t>(at), bytes, ec);
            if (ec) return;
            n -= bytes.size();
            at += got;
        }
    }
#endif

    void give_up() noexcept {
        usable_ = false;
        close();
    }
    void close() noexcept {
        if (in_ >= 0) ::close(in_);
        if (out_ >= 0) ::close(out_);
        in_ = out_ = -1;
    }

    int in_ = -1;
    int out_ = -1;
#if defined(__linux__)
    bool usable_ = true;
#else
    bool usable_ = false;
#endif
};

} // namespace cleave
