// SPDX-License-Identifier: BSL-1.0
//
// Where bytes go. A sink lends memory to receive into and is told what of it holds data. It knows
// nothing of segments' origin, of HTTP or of lanes.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>

namespace cleave {

/// What a sink can do, as `static constexpr sink_traits traits`.
struct sink_traits {
    /// `prepare` and `commit` may run in several threads at once, for different bytes.
    bool concurrent = false;
    /// `read` gives back bytes that were committed, also while others are being written.
    bool readable = false;
    /// Committed bytes may be written again, by another `open`.
    bool revocable = false;
};

/// A byte sink `s`. Offsets count from the first byte that is wanted, so from 0.
///
/// | expression              | meaning                                                          |
/// |-------------------------|------------------------------------------------------------------|
/// | `S::traits`             | what it can do, `sink_traits`                                    |
/// | `s.check(ec)`           | is the target fit, before any connection is opened?              |
/// | `s.open(size, ec)`      | make ready for `size` bytes, unknown when empty; again: afresh   |
/// | `s.prepare(off, n, ec)` | memory for 1 to `n` bytes at `off`, `std::span<std::byte>`       |
/// | `s.commit(off, n, ec)`  | the first `n` bytes of what was prepared for `off` hold data     |
/// | `s.read(off, to, ec)`   | fills `to` with committed bytes from `off` on; if `readable`     |
/// | `s.sync(size, ec)`      | everything is there, `size` bytes: make it durable               |
/// | `s.publish(ec)`         | make it visible under its final name                             |
/// | `s.abandon()`           | the download failed: leave nothing under the final name          |
///
/// Laws:
/// 1. Nothing is visible under the final name before `publish` has succeeded.
/// 2. Prepared memory is used before the next call of the same thread to `prepare`; it is never
///    held across a wait.
/// 3. A committed byte that `read` gives back is the byte that was committed.
/// 4. After an error of `open`, `commit`, `sync` or `publish` only `abandon` is called.
///
/// `open`, `read`, `sync`, `publish` and `abandon` run beside the lanes and may block, one at a
/// time; the others run with the lanes. Models: `memory_sink`, `file_sink`.
template <class S>
concept byte_sink =
    std::move_constructible<S> &&
    requires(S& s, std::uint64_t offset, std::size_t n, std::optional<std::uint64_t> size,
             std::span<std::byte> to, std::error_code& ec) {
        { S::traits } -> std::convertible_to<sink_traits>;
        s.check(ec);
        s.open(size, ec);
        { s.prepare(offset, n, ec) } -> std::same_as<std::span<std::byte>>;
        s.commit(offset, n, ec);
        s.sync(offset, ec);
        s.publish(ec);
        { s.abandon() } noexcept;
    } &&
    (!S::traits.readable ||
     requires(S& s, std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) {
         s.read(offset, to, ec);
     });

} // namespace cleave
