// SPDX-License-Identifier: BSL-1.0
//
// Bytes are received into a file that is mapped into memory: into `NAME.part` first, and under
// `NAME` only when all of them are there, right and durable.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/concept.hpp>
#include <cleave/os/mapping.hpp>
#include <cleave/os/posix_file.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/sink/partial_file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace cleave {

/// As `file_sink`, but without a buffer: the system receives straight into the pages of the file.
/// Room for them is made first, so the size must be known, else `error::sink_needs_size`; on
/// systems of 32 bits a size beyond memory is `errc::value_too_large`.
///
/// A file that somebody cuts meanwhile, or a disk that is full, is an error code and never a
/// signal: neither this sink nor who keeps to `system_filled` loads from the mapping or stores into
/// it. Receiving answers `errc::bad_address` (EFAULT) then, or with fewer bytes; writing, reading
/// and `sync` answer with the system's code or `error::partial_replaced`. Only a file that is cut
/// and made long again behind our back needs a digest to be found out.
///
/// Where a stream makes its bytes in user space, as TLS does, they come by `write`, from where they
/// lie; then this is `file_sink` with a mapping that nobody needs.
template <mappable_file File>
class basic_mapped_file_sink {
  public:
    static constexpr sink_traits traits{.concurrent = true,
                                        .readable = true,
                                        .revocable = true,
                                        .resumable = true,
                                        .system_filled = true};

    /// `target`: path of the finished file. Errors of the path show when the download starts.
    explicit basic_mapped_file_sink(std::string target, File f = File{})
        : file_(std::move(target), std::move(f)) {}
    /// `result` is given the finished file as memory when it is published; it must live until then.
    basic_mapped_file_sink(std::string target, mapped_bytes& result, File f = File{})
        : file_(std::move(target), std::move(f)), result_(&result) {}

    void check(std::error_code& ec) { file_.check(ec); }

    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
        if (!size) {
            ec = error::sink_needs_size;
            return;
        }
        mapping_ = {};
        file_.open(size, ec);
        if (!ec) mapping_ = file_->map(*size, ec);
    }
    void reopen(std::uint64_t size, bool all, std::error_code& ec) {
        mapping_ = {};
        file_.reopen(size, all, ec);
        // A finished file is not mapped until it is handed over.
        if (ec || file_.finished()) return;
        mapping_ = file_->map(size, ec);
        if (ec) keep();
    }

    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code& ec) const noexcept {
        std::span<std::byte> const all = mapping_.bytes();
        if (offset >= all.size()) {
            ec = error::sink_too_small;
            return {};
        }
        auto const at = static_cast<std::size_t>(offset);
        return all.subspan(at, std::min(n, all.size() - at));
    }
    void commit(std::uint64_t, std::size_t, std::error_code&) const noexcept {}

    void write(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        std::size_t const size = mapping_.bytes().size();
        if (offset > size || from.size() > size - offset)
            ec = error::sink_too_small;
        else
            file_->write_at(offset, from, ec);
    }
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) {
        file_->read_at(offset, to, ec);
    }

    void flush(std::error_code& ec) {
        // What came through the mapping, then all else of the file: see `mapping::sync`.
        mapping_.sync(ec);
        if (!ec) file_->sync(ec);
    }
    void sync(std::uint64_t size, std::error_code& ec) {
        // A file that was cut still takes bytes in its last page, behind its end, without a word.
        std::byte last{};
        if (size != 0) file_->read_at(size - 1, {&last, 1}, ec);
        if (!ec) file_.resize(size, ec);
        if (!ec) flush(ec);
    }

    void publish(std::error_code& ec) {
        // First what may fail while nothing is visible yet.
        if (file_.finished() && result_ != nullptr) map_finished(ec);
        mapped_bytes finished;
        if (!ec && result_ != nullptr) finished = {std::move(mapping_), ec};
        mapping_ = {};
        if (!ec) file_.publish(ec);
        if (!ec && result_ != nullptr) *result_ = std::move(finished);
    }
    void abandon() noexcept {
        mapping_ = {};
        file_.abandon();
    }
    void keep() noexcept {
        mapping_ = {};
        file_.keep();
    }

    [[nodiscard]] std::string const& target() const noexcept { return file_.target(); }

  private:
    void map_finished(std::error_code& ec) {
        std::uint64_t const size = file_->size(ec);
        if (!ec) mapping_ = file_->map(size, ec);
    }

    detail::partial_file<File> file_;
    mapping mapping_;
    mapped_bytes* result_ = nullptr;
};

/// Into a file that is mapped into memory.
using mapped_file_sink = basic_mapped_file_sink<posix_file>;

static_assert(byte_sink<mapped_file_sink>);

} // namespace cleave
