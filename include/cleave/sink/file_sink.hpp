// SPDX-License-Identifier: BSL-1.0
//
// Bytes go into a file: into `NAME.part` first, and under `NAME` only when all of them are there,
// right and durable.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/posix_file.hpp>
#include <cleave/sink/concept.hpp>

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

/// Writes with `File` through one buffer, or with `write` from where the bytes lie. The partial is
/// as long as the object from the start, so that a full disk is found before anything is fetched. A
/// run that fails removes its partial, or keeps it for another run, and leaves whatever was under
/// the target's name as it was. An object of unknown size is never reopened.
template <file File>
class basic_file_sink {
  public:
    static constexpr sink_traits traits{
        .concurrent = false, .readable = true, .revocable = true, .resumable = true};

    /// `target`: path of the finished file. Errors of the path show when the download starts.
    explicit basic_file_sink(std::string target, File f = File{})
        : target_(std::move(target)), file_(std::move(f)) {}

    void check(std::error_code& ec) { file_.check_target(target_, ec); }

    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
        make_buffer();
        // What could not be taken is somebody else's; it is not ours to remove.
        if (std::exchange(has_, what::partial) == what::partial)
            file_.resize(0, ec);
        else
            file_.open_partial(partial(), ec);
        if (!ec && size) file_.allocate(*size, ec);
    }

    /// Takes over a partial of exactly `size` bytes, else `error::partial_replaced`. Where there is
    /// none and `all` bytes were in place, the target itself, if it has that size: it was published
    /// already. It can be read then and not written.
    void reopen(std::uint64_t size, bool all, std::error_code& ec) {
        make_buffer();
        has_ = what::partial;
        file_.reopen_partial(partial(), ec);
        if (all && ec == std::errc::no_such_file_or_directory) {
            ec.clear();
            has_ = what::finished;
            file_.open_finished(target_, ec);
        }
        std::uint64_t const found = ec ? 0 : file_.size(ec);
        if (!ec && found != size) ec = error::partial_replaced;
        // Where an earlier run wrote nothing yet, there may be a hole.
        if (!ec && has_ == what::partial) file_.allocate(size, ec);
        if (ec) keep();
    }

    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t, std::size_t n, std::error_code&) {
        return {buffer_.get(), std::min(n, buffer_size)};
    }
    void commit(std::uint64_t offset, std::size_t n, std::error_code& ec) {
        file_.write_at(offset, {buffer_.get(), n}, ec);
    }
    void write(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        file_.write_at(offset, from, ec);
    }
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) {
        file_.read_at(offset, to, ec);
    }
    void flush(std::error_code& ec) { file_.sync(ec); }
    void sync(std::uint64_t size, std::error_code& ec) {
        if (has_ != what::finished) file_.resize(size, ec);
        if (!ec) file_.sync(ec);
    }
    void publish(std::error_code& ec) {
        if (has_ != what::finished) file_.publish(target_, ec);
    }
    void abandon() noexcept {
        if (has_ != what::finished) file_.discard();
        keep();
    }
    void keep() noexcept {
        file_.close();
        has_ = what::nothing;
    }

    [[nodiscard]] std::string const& target() const noexcept { return target_; }

  private:
    static constexpr std::size_t buffer_size = 256 * 1024;

    // What `file_` has open.
    enum class what { nothing, partial, finished };

    void make_buffer() {
        if (!buffer_) buffer_ = std::make_unique<std::byte[]>(buffer_size);
    }
    [[nodiscard]] std::string partial() const { return target_ + ".part"; }

    std::string target_;
    File file_;
    std::unique_ptr<std::byte[]> buffer_;
    what has_ = what::nothing;
};

using file_sink = basic_file_sink<posix_file>;

static_assert(byte_sink<file_sink>);

} // namespace cleave
