// SPDX-License-Identifier: BSL-1.0
//
// The life of `NAME.part` beside its target `NAME`, for the sinks that make a file: taken, taken
// over from an earlier run, published, removed or left. Knows nothing of how bytes get into it.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/concept.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace cleave::detail {

template <file File>
class partial_file {
  public:
    partial_file(std::string target, File f) : target_(std::move(target)), file_(std::move(f)) {}

    void check(std::error_code& ec) { file_.check_target(target_, ec); }

    /// Takes a partial, empty, with room for `size` bytes where that is known.
    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
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
        if (!ec && !finished()) file_.allocate(size, ec);
        if (ec) keep();
    }

    void resize(std::uint64_t size, std::error_code& ec) {
        if (!finished()) file_.resize(size, ec);
    }
    void publish(std::error_code& ec) {
        if (!finished()) file_.publish(target_, ec);
    }
    void abandon() noexcept {
        if (!finished()) file_.discard();
        keep();
    }
    void keep() noexcept {
        file_.close();
        has_ = what::nothing;
    }

    /// Whether what is open is the target.
    [[nodiscard]] bool finished() const noexcept { return has_ == what::finished; }
    [[nodiscard]] std::string const& target() const noexcept { return target_; }
    [[nodiscard]] File* operator->() noexcept { return std::addressof(file_); }
    [[nodiscard]] File const* operator->() const noexcept { return std::addressof(file_); }

  private:
    enum class what { nothing, partial, finished };

    [[nodiscard]] std::string partial() const { return target_ + ".part"; }

    std::string target_;
    File file_;
    what has_ = what::nothing; // open in `file_`
};

} // namespace cleave::detail
