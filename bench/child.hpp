// SPDX-License-Identifier: BSL-1.0
//
// A client in a process of its own: so that what it costs is not mixed with what the server costs,
// and so that programs of others can stand in its place. What it has to say comes through a pipe.
#pragma once

#include "cost.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <csignal>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cleave_bench {

/// How a child ended.
struct child_end {
    std::string said;
    int status = 0; // as waitpid has it
    double cpu = 0; // seconds
};

class child {
  public:
    /// Forks and calls `run(fd)` in the child, where `fd` takes what it has to say. The child ends
    /// with what `run` returns.
    template <class F>
    explicit child(F&& run) {
        std::array<int, 2> ends{};
        if (::pipe(ends.data()) != 0) throw std::system_error{errno, std::generic_category()};
        ::fcntl(ends[0], F_SETFD, FD_CLOEXEC);
        // What is still in a buffer would be printed twice.
        std::fflush(nullptr);
        pid_ = ::fork();
        if (pid_ < 0) throw std::system_error{errno, std::generic_category()};
        if (pid_ == 0) {
            ::close(ends[0]);
            int code = 127;
            try {
                code = run(ends[1]);
            } catch (...) {
                code = 126;
            }
            ::_exit(code);
        }
        ::close(ends[1]);
        fd_ = ends[0];
    }
    ~child() { ::close(fd_); }
    child(child const&) = delete;
    child& operator=(child const&) = delete;

    /// Can be read when the child has said something, or has ended.
    [[nodiscard]] int fd() const noexcept { return fd_; }

    void kill() const noexcept { ::kill(pid_, SIGKILL); }

    /// Waits for its end. Once only.
    child_end wait() {
        child_end e;
        std::array<char, 4096> buffer;
        for (ssize_t n = 0; (n = ::read(fd_, buffer.data(), buffer.size())) > 0;)
            e.said.append(buffer.data(), static_cast<std::size_t>(n));
        rusage used{};
        while (::wait4(pid_, &e.status, 0, &used) < 0 && errno == EINTR) {
        }
        e.cpu = cpu_of(used);
        return e;
    }

  private:
    pid_t pid_ = -1;
    int fd_ = -1;
};

/// For the child: says `value`, in one go.
template <class T>
int say(int fd, T const& value) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    static_assert(sizeof(T) <= 4096, "a pipe takes more than that in portions");
    return ::write(fd, &value, sizeof value) == ssize_t{sizeof value} ? 0 : 1;
}

/// For what a child says: what went wrong goes into its `error`, as far as there is room.
template <class T>
void explain(T& to, std::string_view what) noexcept {
    std::size_t const n = std::min(what.size(), to.error.size() - 1);
    std::memcpy(to.error.data(), what.data(), n);
    to.error[n] = '\0';
}

/// For the parent: what it said, if it did.
template <class T>
std::optional<T> heard(child_end const& e) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (e.said.size() != sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, e.said.data(), sizeof value);
    return value;
}

} // namespace cleave_bench
