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
#include <string>
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
    /// Bytes are handed on strictly in order, through a window of limited memory.
    bool ordered = false;
    /// What was committed outlives the process, and another run can go on with it; then it is
    /// readable and revocable, too.
    bool resumable = false;
    /// Prepared memory may be filled by system calls only: a store of the program's own could raise
    /// a signal. Whoever has bytes in other memory calls `write`.
    bool system_filled = false;
};

namespace detail {
// Stands for any completion handler of the form void(std::error_code).
struct any_delivered {
    void operator()(std::error_code) const {}
};
template <class S>
concept delivers = requires(S& s, std::uint64_t offset, std::size_t n, std::error_code& ec) {
    s.deliver(offset, n, ec);
};
template <class S>
concept delivers_later = requires(S& s, std::uint64_t offset, std::size_t n) {
    s.async_deliver(offset, n, any_delivered{});
};
template <class S>
concept views = requires(S const& s, std::uint64_t offset, std::size_t n) {
    { s.view(offset, n) } noexcept -> std::same_as<std::span<std::byte const>>;
};
template <class S>
concept writes = requires(S& s, std::uint64_t offset, std::span<std::byte const> from,
                          std::error_code& ec) { s.write(offset, from, ec); };
} // namespace detail

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
/// With `traits.ordered` also these, of which `deliver` or `async_deliver` is enough:
///
/// | expression                    | meaning                                                    |
/// |-------------------------------|------------------------------------------------------------|
/// | `s.window()`                  | const: bytes it holds at most, `std::uint64_t`             |
/// | `s.chunk()`                   | const: bytes it hands on at a time, `std::uint64_t`        |
/// | `s.deliver(off, n, ec)`       | hands on `n` committed bytes from `off` on: whole chunks,  |
/// |                               | or at the end what is left; may block                      |
/// | `s.async_deliver(off, n, h)`  | the same without blocking; calls `h(ec)` from any thread,  |
/// |                               | perhaps before it returns                                  |
///
/// With `traits.resumable` also these:
///
/// | expression                  | meaning                                                      |
/// |-----------------------------|--------------------------------------------------------------|
/// | `s.target()`                | const: the finished file's path, where it has one;           |
/// |                             | converts to `std::string`                                    |
/// | `s.reopen(size, all, ec)`   | in place of `open`: takes over the `size` bytes that an      |
/// |                             | earlier run left, as they are; where `all` of them were in   |
/// |                             | place, perhaps under the final name already                  |
/// | `s.flush(ec)`               | what is committed survives a power cut                       |
/// | `s.keep()`                  | the download failed, but another run may go on: leave what   |
/// |                             | there is, and nothing under the final name; `noexcept`       |
///
/// and optionally, `write` not so with `traits.system_filled`:
///
/// | expression              | meaning                                                          |
/// |-------------------------|------------------------------------------------------------------|
/// | `s.view(off, n)`        | const: committed bytes from `off` on where they lie, 1 to `n`,   |
/// |                         | `std::span<std::byte const>`: as `read`, without a copy, and     |
/// |                         | good as long as what is there is not prepared again; `noexcept`  |
/// | `s.native_file()`       | const: the descriptor of an open file in which `off` is `off`,   |
/// |                         | `int`: what the system puts there itself is prepared and         |
/// |                         | committed; -1 where there is none now; `noexcept`                |
/// | `s.write(off, b, ec)`   | takes `b`, which lies elsewhere, as prepared and committed       |
/// | `s.bytes_copied()`      | const: bytes it copied in user space so far, `std::uint64_t`     |
///
/// Laws:
/// 1. Nothing is visible under the final name before `publish` has succeeded.
/// 2. Prepared memory is used before the next call of the same thread to `prepare`; it is never
///    held across a wait.
/// 3. A committed byte that `read` gives back is the byte that was committed.
/// 4. After an error of `open`, `commit`, `write`, `deliver`, `flush`, `sync` or `publish` only
///    `abandon` or `keep` is called. After one of `reopen` nothing was taken over; `open` follows
///    where there was nothing of that size (ENOENT, `error::partial_replaced`), and nothing after
///    any other.
/// 5. Of an ordered sink nothing at or behind `delivered + window()` is prepared, where `delivered`
///    is the end of what was handed on; and bytes are handed on from 0 on, in order, each once,
///    `chunk()` at a time except for the last. The window is at least one chunk.
///
/// `open`, `reopen`, `read`, `deliver`, `flush`, `sync`, `publish`, `keep` and `abandon` run beside
/// the lanes and may block, one at a time; `read`, `deliver` and `flush` while other bytes are
/// prepared and committed. The others run with the lanes, and so does `read` as well, where a lane
/// compares or checks what is in place: then in several threads at once. Models: `file_sink`,
/// `mapped_file_sink`, `memory_sink`, `ordered_sink`, `null_sink`, `tee_sink`.
template <class S>
concept byte_sink =
    std::move_constructible<S> &&
    requires(S& s, std::uint64_t offset, std::size_t n, std::optional<std::uint64_t> size,
             std::error_code& ec) {
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
     }) &&
    (!S::traits.resumable ||
     (S::traits.readable && S::traits.revocable &&
      requires(S& s, S const& c, std::uint64_t size, bool all, std::error_code& ec) {
          { c.target() } -> std::convertible_to<std::string>;
          s.reopen(size, all, ec);
          s.flush(ec);
          { s.keep() } noexcept;
      })) &&
    (!S::traits.ordered ||
     (requires(S const& s) {
         { s.window() } -> std::same_as<std::uint64_t>;
         { s.chunk() } -> std::same_as<std::uint64_t>;
     } && (detail::delivers<S> || detail::delivers_later<S>))) &&
    (!S::traits.system_filled || detail::writes<S>);

} // namespace cleave
