// SPDX-License-Identifier: BSL-1.0
//
// The system's calls on files, with offsets and sizes of 64 bits whatever `off_t` has. The GNU C
// library of 32-bit systems has two sets of them, and which one `open` and `stat` stand for is
// decided by whoever compiles the program: a header cannot, and need not.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>

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
};

} // namespace cleave::detail
