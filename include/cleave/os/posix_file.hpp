// SPDX-License-Identifier: BSL-1.0
//
// A file of the system: open, pwrite, fsync, rename. Knows nothing of downloads.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/concept.hpp>
#include <cleave/os/mapping.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

/// A partial file on a POSIX system. Move-only; closing it leaves the file where it is.
///
/// The partial is never opened through a symbolic link, and is locked (`flock`) as long as it is
/// open, so that a second process finds `error::target_busy`.
class posix_file {
  public:
    posix_file() = default;
    posix_file(posix_file&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
    posix_file& operator=(posix_file&& other) noexcept {
        std::swap(fd_, other.fd_);
        std::swap(path_, other.path_);
        return *this;
    }
    ~posix_file() { close(); }

    void check_target(std::string const& target, std::error_code& ec) const {
        struct stat found {};
        if (::lstat(target.c_str(), &found) == 0) {
            if (S_ISDIR(found.st_mode))
                ec = error::target_is_directory;
            else if (!S_ISREG(found.st_mode))
                ec = error::target_not_regular;
        } else if (errno != ENOENT) {
            ec = last_error();
        } else if (target.empty() || target.back() == '/') {
            ec = error::target_is_directory;
        } else if (::stat(directory_of(target).c_str(), &found) != 0) {
            ec = last_error();
        }
    }

    void open_partial(std::string const& path, std::error_code& ec) {
        // Between opening and locking, another process may publish or remove what we opened.
        // Then the name leads elsewhere, and we open again.
        for (int i = 0; i != max_open_races; ++i) {
            close();
            path_ = path;
            fd_ =
                ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
            if (fd_ < 0) {
                ec = errno == ELOOP ? make_error_code(error::target_not_regular) : last_error();
                return;
            }
            struct stat opened {};
            if (::fstat(fd_, &opened) != 0) {
                fail(ec);
                return close();
            }
            // A second name means that it is somebody's file, not a partial of ours.
            if (!S_ISREG(opened.st_mode) || opened.st_nlink > 1) {
                close();
                ec = error::target_not_regular;
                return;
            }
            if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
                bool const busy = errno == EWOULDBLOCK;
                if (!busy)
                    ec = last_error();
                else
                    ec = error::target_busy;
                close();
                return;
            }
            if (is_at(path)) return resize(0, ec);
        }
        close();
        ec = error::target_busy;
    }

    void allocate(std::uint64_t size, std::error_code& ec) {
        if (size == 0) return;
        if (size > max_size) {
            ec = std::make_error_code(std::errc::file_too_large);
            return;
        }
#if defined(__linux__)
        while (::fallocate(fd_, 0, 0, static_cast<off_t>(size)) != 0) {
            if (errno == EINTR) continue;
            // Not every file system can; then a full disk shows only when writing.
            if (errno == EOPNOTSUPP || errno == ENOSYS) return resize(size, ec);
            return fail(ec);
        }
#else
        resize(size, ec);
#endif
    }

    void write_at(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        while (!from.empty()) {
            if (offset > max_size) {
                ec = std::make_error_code(std::errc::file_too_large);
                return;
            }
            auto const n = ::pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
            if (n < 0) {
                if (errno == EINTR) continue;
                return fail(ec);
            }
            if (n == 0) {
                ec = error::wrote_nothing;
                return;
            }
            offset += static_cast<std::uint64_t>(n);
            from = from.subspan(static_cast<std::size_t>(n));
        }
    }

    void read_at(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const {
        while (!to.empty()) {
            auto const n = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
            if (n < 0) {
                if (errno == EINTR) continue;
                return fail(ec);
            }
            if (n == 0) {
                ec = error::partial_replaced;
                return;
            }
            offset += static_cast<std::uint64_t>(n);
            to = to.subspan(static_cast<std::size_t>(n));
        }
    }

    [[nodiscard]] mapping map(std::uint64_t size, std::error_code& ec) const {
        return {fd_, size, ec};
    }

    void resize(std::uint64_t size, std::error_code& ec) {
        if (size > max_size) {
            ec = std::make_error_code(std::errc::file_too_large);
            return;
        }
        while (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
            if (errno != EINTR) return fail(ec);
    }

    void sync(std::error_code& ec) {
        while (::fsync(fd_) != 0)
            if (errno != EINTR) return fail(ec);
    }

    void publish(std::string const& target, std::error_code& ec) {
        check_target(target, ec);
        if (ec) return;
        if (!is_at(path_)) {
            ec = error::partial_replaced;
            return;
        }
        // A rename is durable once the directory is. It is opened first: a directory that cannot be
        // synced must be found while the old file still stands.
        int const directory =
            ::open(directory_of(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) return fail(ec);
        if (::rename(path_.c_str(), target.c_str()) != 0)
            fail(ec);
        else
            sync_directory(directory, ec);
        ::close(directory);
        if (!ec) close();
    }

    void discard() noexcept {
        if (fd_ >= 0 && is_at(path_)) ::unlink(path_.c_str());
        close();
    }

  private:
    static constexpr int max_open_races = 16;
    static constexpr std::uint64_t max_size =
        static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());

    [[nodiscard]] static std::error_code last_error() noexcept {
        return {errno, std::system_category()};
    }
    static void fail(std::error_code& ec) noexcept { ec = last_error(); }

    void close() noexcept {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

    // Whether `path` still leads to the file that is open here.
    [[nodiscard]] bool is_at(std::string const& path) const noexcept {
        struct stat here {};
        struct stat there {};
        return ::fstat(fd_, &here) == 0 && ::lstat(path.c_str(), &there) == 0 &&
               here.st_ino == there.st_ino && here.st_dev == there.st_dev;
    }

    // An error here comes after the rename: the file is in place, but may not survive a power cut.
    static void sync_directory(int directory, std::error_code& ec) {
        while (::fsync(directory) != 0) {
            if (errno == EINTR) continue;
            // Some file systems cannot sync a directory and say EINVAL; there is no more to do.
            if (errno != EINVAL) fail(ec);
            return;
        }
    }

    [[nodiscard]] static std::string directory_of(std::string const& target) {
        auto const slash = target.find_last_of('/');
        if (slash == std::string::npos) return ".";
        return slash == 0 ? "/" : target.substr(0, slash);
    }

    int fd_ = -1;
    std::string path_;
};

static_assert(mappable_file<posix_file>);

} // namespace cleave
