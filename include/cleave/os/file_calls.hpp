// SPDX-License-Identifier: BSL-1.0
//
// The system's calls on files, with offsets and sizes of 64 bits whatever `off_t` has. The GNU C
// library of 32-bit systems has two sets of them, and which one `open` and `stat` stand for is
// decided by whoever compiles the program: a header cannot, and need not.
#pragma once

#include <cleave/base/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <system_error>

namespace cleave::detail {

/// As the calls that they are named after: -1 or null, and `errno`.
struct file_calls {
#if defined(__GLIBC__) && defined(_LARGEFILE64_SOURCE) && !defined(__LP64__)
    // The short set opens no file beyond 2 GiB, and sees none with a large inode number.
    using offset = off64_t;
    using status = struct stat64;
    using entry = struct dirent64;

    static int open(char const* path, int flags, mode_t mode = 0) {
        return ::open64(path, flags, mode);
    }
    static int status_of(int fd, status& to) { return ::fstat64(fd, &to); }
    static int status_at(char const* path, status& to) { return ::stat64(path, &to); }
    static int status_of_link(char const* path, status& to) { return ::lstat64(path, &to); }
    static entry* next_entry(DIR* directory) { return ::readdir64(directory); }
    static int truncate(int fd, offset size) { return ::ftruncate64(fd, size); }
    static ssize_t write_at(int fd, void const* from, std::size_t n, offset at) {
        return ::pwrite64(fd, from, n, at);
    }
    static ssize_t read_at(int fd, void* to, std::size_t n, offset at) {
        return ::pread64(fd, to, n, at);
    }
#if defined(__linux__)
    static int allocate(int fd, offset size) { return ::fallocate64(fd, 0, 0, size); }
#endif
#else
    using offset = off_t;
    using status = struct stat;
    using entry = struct dirent;

    static int open(char const* path, int flags, mode_t mode = 0) {
        return ::open(path, flags, mode);
    }
    static int status_of(int fd, status& to) { return ::fstat(fd, &to); }
    static int status_at(char const* path, status& to) { return ::stat(path, &to); }
    static int status_of_link(char const* path, status& to) { return ::lstat(path, &to); }
    static entry* next_entry(DIR* directory) { return ::readdir(directory); }
    static int truncate(int fd, offset size) { return ::ftruncate(fd, size); }
    static ssize_t write_at(int fd, void const* from, std::size_t n, offset at) {
        return ::pwrite(fd, from, n, at);
    }
    static ssize_t read_at(int fd, void* to, std::size_t n, offset at) {
        return ::pread(fd, to, n, at);
    }
#if defined(__linux__)
    static int allocate(int fd, offset size) { return ::fallocate(fd, 0, 0, size); }
#endif
#endif

    /// What was written survives a power cut.
    static int sync(int fd) {
#if defined(F_FULLFSYNC)
        // On macOS fsync leaves it in the disk's own cache. Not every file system can do this.
        if (::fcntl(fd, F_FULLFSYNC) == 0) return 0;
#endif
        return ::fsync(fd);
    }

    /// No file has bytes from here on.
    static constexpr std::uint64_t max_size =
        static_cast<std::uint64_t>(std::numeric_limits<offset>::max());

    /// Writes all of `from`, in as many calls as it takes.
    static void write_all(int fd, std::uint64_t at, std::span<std::byte const> from,
                          std::error_code& ec) noexcept {
        while (!from.empty()) {
            if (at > max_size) {
                ec = std::make_error_code(std::errc::file_too_large);
                return;
            }
            auto const n = write_at(fd, from.data(), from.size(), static_cast<offset>(at));
            if (n < 0) {
                if (errno == EINTR) continue;
                ec = {errno, std::system_category()};
                return;
            }
            if (n == 0) {
                ec = error::wrote_nothing;
                return;
            }
            at += static_cast<std::uint64_t>(n);
            from = from.subspan(static_cast<std::size_t>(n));
        }
    }
};

} // namespace cleave::detail
