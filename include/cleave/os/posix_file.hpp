// SPDX-License-Identifier: BSL-1.0
//
// A file of the system: open, pwrite, fsync, rename. Knows nothing of downloads.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/concept.hpp>
#include <cleave/os/file_calls.hpp>
#include <cleave/os/mapping.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

/// A file on a POSIX system: a partial, a finished file, or a journal. Move-only; closing it leaves
/// the file where it is.
///
/// Nothing is opened through a symbolic link or waited for, and what is no regular file is refused
/// by name. Partials and journals have no second name, and are locked (`flock`) as long as they are
/// open, so that a second process finds `error::target_busy`. A finished file is read only: writing
/// is `errc::bad_file_descriptor`, and `discard` only closes it.
///
/// The first `sync` after opening also syncs the directory, so that the name survives a power cut:
/// who created or renamed the file may have been killed before that.
class posix_file {
    using calls = detail::file_calls;

  public:
    posix_file() = default;
    posix_file(posix_file&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)),
          finished_(other.finished_), name_synced_(other.name_synced_) {}
    posix_file& operator=(posix_file&& other) noexcept {
        std::swap(fd_, other.fd_);
        std::swap(path_, other.path_);
        std::swap(finished_, other.finished_);
        std::swap(name_synced_, other.name_synced_);
        return *this;
    }
    ~posix_file() { close(); }

    void check_target(std::string const& target, std::error_code& ec) const {
        calls::status found{};
        if (calls::status_of_link(target.c_str(), found) == 0) {
            if (S_ISDIR(found.st_mode))
                ec = error::target_is_directory;
            else if (!S_ISREG(found.st_mode))
                ec = error::target_not_regular;
        } else if (errno != ENOENT) {
            ec = last_error();
        } else if (target.empty() || target.back() == '/') {
            ec = error::target_is_directory;
        } else if (calls::status_at(directory_of(target).c_str(), found) != 0) {
            ec = last_error();
        }
    }

    void open_partial(std::string const& path, std::error_code& ec) {
        take(path, O_CREAT, 0666, ec);
        if (!ec) resize(0, ec);
    }

    void reopen_partial(std::string const& path, std::error_code& ec) { take(path, 0, 0, ec); }

    void open_finished(std::string const& target, std::error_code& ec) {
        open_regular(target, O_RDONLY, 0, ec);
        finished_ = true;
    }

    void open_journal(std::string const& path, std::error_code& ec) {
        take(path, O_CREAT, owner_only, ec);
        if (ec) return;
        calls::status opened{};
        if (calls::status_of(fd_, opened) != 0 ||
            ((opened.st_mode & ~owner_only & all_modes) != 0 && ::fchmod(fd_, owner_only) != 0)) {
            fail(ec);
            close();
        }
    }

    [[nodiscard]] std::uint64_t size(std::error_code& ec) const {
        calls::status opened{};
        if (calls::status_of(fd_, opened) != 0) fail(ec);
        return static_cast<std::uint64_t>(opened.st_size);
    }

    void allocate(std::uint64_t size, std::error_code& ec) {
        if (size == 0) return;
        if (size > calls::max_size) {
            ec = std::make_error_code(std::errc::file_too_large);
            return;
        }
#if defined(__linux__)
        while (calls::allocate(fd_, static_cast<calls::offset>(size)) != 0) {
            if (errno == EINTR) continue;
            // Not every file system can; then a full disk shows only when writing.
            if (errno == EOPNOTSUPP || errno == ENOSYS) return resize(size, ec);
            return fail(ec);
        }
#else
        resize(size, ec);
#endif
    }

    /// The open file's descriptor, for what the system does with files by itself; -1 where none is
    /// open.
    [[nodiscard]] int native_handle() const noexcept { return fd_; }

    void write_at(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        calls::write_all(fd_, offset, from, ec);
    }

    void read_at(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const {
        while (!to.empty()) {
            auto const n =
                calls::read_at(fd_, to.data(), to.size(), static_cast<calls::offset>(offset));
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
        return {fd_, size, ec, finished_};
    }

    void resize(std::uint64_t size, std::error_code& ec) {
        if (size > calls::max_size) {
            ec = std::make_error_code(std::errc::file_too_large);
            return;
        }
        while (calls::truncate(fd_, static_cast<calls::offset>(size)) != 0)
            if (errno != EINTR) return fail(ec);
    }

    void sync(std::error_code& ec) {
        while (calls::sync(fd_) != 0)
            if (errno != EINTR) return fail(ec);
        if (name_synced_) return;
        int const directory = open_directory_of(path_, ec);
        if (ec) return;
        sync_directory(directory, ec);
        ::close(directory);
        name_synced_ = !ec;
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
        int const directory = open_directory_of(target, ec);
        if (ec) return;
        if (::rename(path_.c_str(), target.c_str()) != 0)
            fail(ec);
        else
            sync_directory(directory, ec);
        ::close(directory);
        if (!ec) close();
    }

    void discard() noexcept {
        if (fd_ >= 0 && !finished_ && is_at(path_)) ::unlink(path_.c_str());
        close();
    }

    void close() noexcept {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

  private:
    static constexpr int max_open_races = 16;
    static constexpr mode_t owner_only = 0600;
    static constexpr mode_t all_modes = 07777;

    [[nodiscard]] static std::error_code last_error() noexcept {
        return {errno, std::system_category()};
    }
    static void fail(std::error_code& ec) noexcept { ec = last_error(); }

    // Opens a regular file under that very name, without waiting for anybody.
    void open_regular(std::string const& path, int flags, mode_t mode, std::error_code& ec) {
        close();
        path_ = path;
        finished_ = false;
        name_synced_ = false;
        fd_ = calls::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode);
        calls::status opened{};
        if (fd_ < 0) {
            // A link is ELOOP, a socket ENXIO.
            if (errno == ELOOP || errno == ENXIO)
                ec = error::target_not_regular;
            else if (errno == EISDIR)
                ec = error::target_is_directory;
            else
                fail(ec);
            return;
        }
        if (calls::status_of(fd_, opened) != 0)
            fail(ec);
        else if (S_ISDIR(opened.st_mode))
            ec = error::target_is_directory;
        else if (!S_ISREG(opened.st_mode))
            ec = error::target_not_regular;
        if (ec) close();
    }

    // Opens a file to be written, and locks it.
    void take(std::string const& path, int flags, mode_t mode, std::error_code& ec) {
        // Between opening and locking, another process may publish or remove what we opened.
        // Then the name leads elsewhere, and we open again.
        for (int i = 0; i != max_open_races; ++i) {
            open_regular(path, O_RDWR | flags, mode, ec);
            if (ec) return;
            calls::status opened{};
            // A second name means that it is somebody's file, not one of ours.
            if (calls::status_of(fd_, opened) != 0)
                fail(ec);
            else if (opened.st_nlink > 1)
                ec = error::target_not_regular;
            else if (::flock(fd_, LOCK_EX | LOCK_NB) != 0)
                ec = errno == EWOULDBLOCK ? make_error_code(error::target_busy) : last_error();
            else if (is_at(path))
                return;
            if (ec) return close();
        }
        close();
        ec = error::target_busy;
    }

    // Whether `path` still leads to the file that is open here.
    [[nodiscard]] bool is_at(std::string const& path) const noexcept {
        calls::status here{};
        calls::status there{};
        return calls::status_of(fd_, here) == 0 &&
               calls::status_of_link(path.c_str(), there) == 0 && here.st_ino == there.st_ino &&
               here.st_dev == there.st_dev;
    }

    // An error here comes after the rename: the file is in place, but may not survive a power cut.
    static void sync_directory(int directory, std::error_code& ec) {
        while (calls::sync(directory) != 0) {
            if (errno == EINTR) continue;
            // Some file systems cannot sync a directory and say EINVAL; there is no more to do.
            if (errno != EINVAL) fail(ec);
            return;
        }
    }

    [[nodiscard]] static int open_directory_of(std::string const& target, std::error_code& ec) {
        int const directory =
            calls::open(directory_of(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) fail(ec);
        return directory;
    }

    [[nodiscard]] static std::string directory_of(std::string const& target) {
        auto const slash = target.find_last_of('/');
        if (slash == std::string::npos) return ".";
        return slash == 0 ? "/" : target.substr(0, slash);
    }

    int fd_ = -1;
    std::string path_;
    bool finished_ = false;
    bool name_synced_ = false;
};

static_assert(mappable_file<posix_file>);

} // namespace cleave
