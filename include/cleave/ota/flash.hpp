// SPDX-License-Identifier: BSL-1.0
//
// An image into flash memory, strictly in order: each block is erased before its first byte is
// written, and writes are whole program units. Knows the flash only by its concept.
#pragma once

#include <cleave/ota/error.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/sink/ordered_sink.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

namespace cleave {

/// A region of flash memory, or of any other device of blocks, `f`. Offsets count from the region's
/// begin.
///
/// | expression              | meaning                                                            |
/// |-------------------------|--------------------------------------------------------------------|
/// | `f.size()`              | const: bytes of the region, `std::uint64_t`                        |
/// | `f.block_size()`        | const: bytes that are erased at a time, `std::size_t`; the same    |
/// |                         | at every call, as is the next                                      |
/// | `f.program_size()`      | const: bytes that are written at a time, `std::size_t`             |
/// | `f.erase(off, ec)`      | erases the block that begins at `off`; may block                   |
/// | `f.program(off, b, ec)` | writes `b`, whole program units, within a block; may block         |
/// | `f.read(off, to, ec)`   | fills `to` with what is written from `off` on; may block           |
///
/// Laws:
/// 1. `block_size()` is a multiple of `program_size()`, `size()` one of `block_size()`.
/// 2. What was programmed, and not erased since, is what `read` gives back, after a power cut too.
///
/// Of a region that an image is written to, each block is erased once and just before its first
/// unit is programmed; each unit is programmed once, in order.
template <class F>
concept flash = requires(F& f, F const& c, std::uint64_t offset, std::span<std::byte const> bytes,
                         std::span<std::byte> to, std::error_code& ec) {
    { c.size() } -> std::convertible_to<std::uint64_t>;
    { c.block_size() } -> std::convertible_to<std::size_t>;
    { c.program_size() } -> std::convertible_to<std::size_t>;
    f.erase(offset, ec);
    f.program(offset, bytes, ec);
    f.read(offset, to, ec);
};

/// Writes an image of `size` bytes into flash, from its byte `from` on: a consumer for an
/// `ordered_sink`. Chunks may be of any size; what does not fill a program unit waits for the next
/// chunk, and the last unit is filled up with 0xff, as erased flash is. `from` is at the beginning
/// of a block. The flash is referred to, not copied, and must outlive the writer.
template <flash Flash>
class block_writer {
  public:
    block_writer(Flash& to, std::uint64_t size, std::uint64_t from = 0)
        : flash_(&to), unit_(to.program_size()), block_(to.block_size()), size_(size), at_(from) {
        rest_.reserve(unit_);
    }

    void operator()(std::span<std::byte const> bytes, std::error_code& ec) {
        if (bytes.size() > size_ - at_ - rest_.size()) {
            ec = update_error::flash_too_small;
            return;
        }
        if (!rest_.empty()) {
            take(bytes, std::min(bytes.size(), unit_ - rest_.size()));
            if (rest_.size() == unit_) program_rest(ec);
        }
        while (!ec && bytes.size() >= unit_) {
            // Up to the end of the block, in whole units, from where the bytes are.
            std::uint64_t const room = block_ - at_ % block_;
            std::size_t const whole = bytes.size() - bytes.size() % unit_;
            auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(room, whole));
            program(bytes.first(n), ec);
            bytes = bytes.subspan(n);
        }
        if (ec) return;
        take(bytes, bytes.size());
        if (rest_.empty() || at_ + rest_.size() != size_) return;
        rest_.resize(unit_, std::byte{0xff});
        program_rest(ec);
    }

    /// Where the next byte to be programmed belongs.
    [[nodiscard]] std::uint64_t position() const noexcept { return at_; }

  private:
    void take(std::span<std::byte const>& bytes, std::size_t n) {
        rest_.insert(rest_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        bytes = bytes.subspan(n);
    }
    void program_rest(std::error_code& ec) {
        program(rest_, ec);
        rest_.clear();
    }
    void program(std::span<std::byte const> bytes, std::error_code& ec) {
        if (at_ % block_ == 0) flash_->erase(at_, ec);
        if (!ec) flash_->program(at_, bytes, ec);
        // The padding lies behind the image.
        if (!ec) at_ += std::min<std::uint64_t>(bytes.size(), size_ - at_);
    }

    Flash* flash_;
    std::size_t unit_;
    std::size_t block_;
    std::uint64_t size_;
    std::uint64_t at_;
    std::vector<std::byte> rest_;
};

/// An image of `size` bytes goes into flash through the caller's `storage`, from its byte `from`
/// on; see `ordered_sink` and `block_writer`. Refused before any connection is opened:
/// `update_error::flash_too_small` if the region has no room for the image,
/// `update_error::flash_misaligned` unless `chunk` is a multiple of the program unit and `from` one
/// of the block, `error::window_too_small` unless `storage` is a whole number of chunks.
///
///     std::array<std::byte, 2048> buffer;
///     cleave::flash_sink sink{flash, buffer, 2048, image_size};
template <flash Flash>
class flash_sink : public ordered_sink<block_writer<Flash>> {
    using base = ordered_sink<block_writer<Flash>>;

  public:
    flash_sink(Flash& to, std::span<std::byte> storage, std::size_t chunk, std::uint64_t size,
               std::uint64_t from = 0)
        : base(storage, chunk, block_writer<Flash>{to, size, from}),
          fault_(find_fault(to, chunk, size, from)) {}

    void check(std::error_code& ec) const noexcept {
        base::check(ec);
        if (!ec) ec = fault_;
    }

  private:
    [[nodiscard]] static std::error_code find_fault(Flash const& f, std::size_t chunk,
                                                    std::uint64_t size, std::uint64_t from) {
        if (size > f.size()) return update_error::flash_too_small;
        if (f.program_size() == 0 || f.block_size() % f.program_size() != 0 ||
            chunk % f.program_size() != 0 || from % f.block_size() != 0)
            return update_error::flash_misaligned;
        return {};
    }

    std::error_code fault_;
};

template <class Flash>
flash_sink(Flash&, std::span<std::byte>, std::size_t, std::uint64_t) -> flash_sink<Flash>;
template <class Flash>
flash_sink(Flash&, std::span<std::byte>, std::size_t, std::uint64_t, std::uint64_t)
    -> flash_sink<Flash>;

} // namespace cleave
