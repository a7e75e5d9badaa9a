// SPDX-License-Identifier: BSL-1.0
//
// What a file is to a sink: a partial beside its target, written anywhere, made durable, and put
// under its final name in one step. In production it is the system's; in tests it may be memory.
#pragma once

#include <cleave/os/mapping.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>

namespace cleave {

/// A file `f`. Errors are codes of the system, or the library's own on the target.
///
/// | expression                | meaning                                                        |
/// |---------------------------|----------------------------------------------------------------|
/// | `f.check_target(t, ec)`   | may a file be put at path `t`? changes nothing                 |
/// | `f.open_partial(p, ec)`   | creates or takes over `p`, locks it, makes it empty            |
/// | `f.reopen_partial(p, ec)` | takes over `p` as it is, and locks it; none there: ENOENT      |
/// | `f.open_finished(t, ec)`  | opens target `t` to be read only: `discard` leaves it, and a   |
/// |                           | mapping of it is read-only; none there: ENOENT                 |
/// | `f.open_journal(p, ec)`   | creates `p` for its owner only, or takes it over as it is, and |
/// |                           | locks it                                                       |
/// | `f.size(ec)`              | its length in bytes                                            |
/// | `f.allocate(size, ec)`    | room for `size` bytes; where that cannot be had beforehand, ok |
/// | `f.write_at(off, b, ec)`  | writes all of `b` at `off`                                     |
/// | `f.read_at(off, b, ec)`   | fills `b` from `off`; a short file is an error                 |
/// | `f.resize(size, ec)`      | makes it exactly `size` bytes long                             |
/// | `f.sync(ec)`              | what was written survives a power cut                          |
/// | `f.publish(t, ec)`        | the partial becomes `t`, whole, in one step, durably           |
/// | `f.discard()`             | removes the partial or journal if it is still ours, and closes |
/// | `f.close()`               | closes it and leaves it where it is                            |
/// | `f.native_handle()`       | optional: const: the descriptor that the system knows it by,   |
/// |                           | `int`; -1 where none is open; `noexcept`. Bytes of a plain     |
/// |                           | connection then go there without a `write_at`                  |
///
/// `read_at`, `write_at` and `sync` may run in several threads at once, for different bytes, but no
/// two `sync`. Models: `posix_file`.
template <class F>
concept file = std::move_constructible<F> &&
               requires(F& f, std::string const& path, std::uint64_t offset,
                        std::span<std::byte const> from, std::span<std::byte> to,
                        std::error_code& ec) {
                   f.check_target(path, ec);
                   f.open_partial(path, ec);
                   f.reopen_partial(path, ec);
                   f.open_finished(path, ec);
                   f.open_journal(path, ec);
                   { f.size(ec) } -> std::same_as<std::uint64_t>;
                   f.allocate(offset, ec);
                   f.write_at(offset, from, ec);
                   f.read_at(offset, to, ec);
                   f.resize(offset, ec);
                   f.sync(ec);
                   f.publish(path, ec);
                   { f.discard() } noexcept;
                   { f.close() } noexcept;
               };

/// A file `f` that can also be memory.
///
/// | expression                | meaning                                                        |
/// |---------------------------|----------------------------------------------------------------|
/// | `f.map(size, ec)`         | its first `size` bytes, all there, as memory: a `mapping`      |
///
/// What `write_at` and the memory put into the file, `read_at` and the memory give back. Models:
/// `posix_file`, on systems where files and memory share one cache, as on Linux.
template <class F>
concept mappable_file = file<F> && requires(F& f, std::uint64_t size, std::error_code& ec) {
    { f.map(size, ec) } -> std::same_as<mapping>;
};

} // namespace cleave
