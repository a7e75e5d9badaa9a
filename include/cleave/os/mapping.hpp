// SPDX-License-Identifier: BSL-1.0
//
// A file of the system as memory: mmap, msync. Knows nothing of names, or of who fills it.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>

namespace cleave {

/// The first bytes of a file as memory that is shared with it: what is put there is in the file.
/// Move-only. It does not need the file to stay open.
///
/// A load or a store where the file has no bytes, because somebody cut it or because its disk is
/// full, raises SIGBUS. A system call that is given such memory answers EFAULT instead, or with the
/// bytes up to there. Behind the end of the file but within its last page both go through, and what
/// is put there is lost.
class mapping {
  public:
    mapping() = default;
    /// `size` bytes of the file open at `fd` for reading and writing, or for reading where
    /// `read_only`: then a store is a fault. A size that memory cannot have is
    /// `errc::value_too_large`; of 0 bytes it is empty.
    mapping(int fd, std::uint64_t size, std::error_code& ec, bool read_only = false) {
        if (!std::in_range<std::size_t>(size)) {
            ec = std::make_error_code(std::errc::value_too_large);
            return;
        }
        auto const n = static_cast<std::size_t>(size);
        if (n == 0) return;
        int const protection = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
        void* const at = ::mmap(nullptr, n, protection, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            fail(ec);
        else
            bytes_ = {static_cast<std::byte*>(at), n};
    }
    mapping(mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    mapping& operator=(mapping&& other) noexcept {
        mapping taken(std::move(other));
        std::swap(bytes_, taken.bytes_);
        return *this;
    }
    ~mapping() {
        if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
    }

    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

    /// Hands what was put there to the file and waits for the disk to have it. msync(2): "without
    /// use of this call, there is no guarantee that changes are written back before munmap(2) is
    /// called". It says nothing of the file's length and of where its blocks are: to survive a
    /// power cut, fsync(2) of the file comes after it. On Linux that call alone would write both.
    void sync(std::error_code& ec) {
        if (!bytes_.empty() && ::msync(bytes_.data(), bytes_.size(), MS_SYNC) != 0) fail(ec);
    }

    /// From now on a store is a fault.
    void protect(std::error_code& ec) {
        if (!bytes_.empty() && ::mprotect(bytes_.data(), bytes_.size(), PROT_READ) != 0) fail(ec);
    }

  private:
    static void fail(std::error_code& ec) noexcept { ec = {errno, std::system_category()}; }

    std::span<std::byte> bytes_;
};

/// A finished file as memory, to be read only. Move-only; empty when made from nothing.
///
/// It is the file: whoever writes to that changes these bytes, and whoever cuts it makes reading
/// them a SIGBUS. Replacing it by another file, as a rename does, or removing it harms nothing.
class mapped_bytes {
  public:
    mapped_bytes() = default;
    /// Protects `from`; empty if that fails.
    mapped_bytes(mapping from, std::error_code& ec) {
        from.protect(ec);
        if (!ec) mapping_ = std::move(from);
    }

    [[nodiscard]] std::span<std::byte const> bytes() const noexcept { return mapping_.bytes(); }

  private:
    mapping mapping_;
};

} // namespace cleave
