// SPDX-License-Identifier: BSL-1.0
//
// Bytes go into a file: into `NAME.part` first, and under `NAME` only when all of them are there,
// right and durable.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/posix_file.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/sink/partial_file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace cleave {

/// Writes with `File` through one buffer for each thread, or with `write` from where the bytes lie.
/// The partial is as long as the object from the start, so that a full disk is found before
/// anything is fetched. A run that fails removes its partial, or keeps it for another run, and
/// leaves whatever was under the target's name as it was. An object of unknown size is never
/// reopened.
template <file File>
class basic_file_sink {
  public:
    static constexpr sink_traits traits{
        .concurrent = true, .readable = true, .revocable = true, .resumable = true};

    /// `target`: path of the finished file. Errors of the path show when the download starts.
    explicit basic_file_sink(std::string target, File f = File{})
        : file_(std::move(target), std::move(f)) {}

    void check(std::error_code& ec) { file_.check(ec); }

    void open(std::optional<std::uint64_t> size, std::error_code& ec) { file_.open(size, ec); }
    void reopen(std::uint64_t size, bool all, std::error_code& ec) { file_.reopen(size, all, ec); }

    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t, std::size_t n, std::error_code& ec) {
        try {
            return {buffer(), std::min(n, buffer_size)};
        } catch (...) {
            ec = std::make_error_code(std::errc::not_enough_memory);
            return {};
        }
    }
    void commit(std::uint64_t offset, std::size_t n, std::error_code& ec) {
        file_->write_at(offset, {buffer(), n}, ec);
    }
    void write(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        file_->write_at(offset, from, ec);
    }
    [[nodiscard]] int native_file() const noexcept {
        if constexpr (requires(File const& f) { f.native_handle(); })
            return file_->native_handle();
        else
            return -1;
    }
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) {
        file_->read_at(offset, to, ec);
    }
    void flush(std::error_code& ec) { file_->sync(ec); }
    void sync(std::uint64_t size, std::error_code& ec) {
        file_.resize(size, ec);
        if (!ec) file_->sync(ec);
    }
    void publish(std::error_code& ec) { file_.publish(ec); }
    void abandon() noexcept { file_.abandon(); }
    void keep() noexcept { file_.keep(); }

    [[nodiscard]] std::string const& target() const noexcept { return file_.target(); }

  private:
    static constexpr std::size_t buffer_size = 256 * 1024;

    // One for each thread: what is prepared is used before the same thread prepares again.
    [[nodiscard]] static std::byte* buffer() {
        thread_local auto const memory = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
        return memory.get();
    }

    detail::partial_file<File> file_;
};

/// Into a file, which has its name when all of it is there.
using file_sink = basic_file_sink<posix_file>;

static_assert(byte_sink<file_sink>);

} // namespace cleave
