// SPDX-License-Identifier: BSL-1.0
//
// Bytes go nowhere: to measure what fetching costs by itself, or to warm a server's cache.
#pragma once

#include <cleave/sink/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <system_error>

namespace cleave {

/// Receives everything into the same buffer, and forgets it. It cannot be read, so no digest can be
/// checked.
class null_sink {
  public:
    static constexpr sink_traits traits{.concurrent = false, .readable = false, .revocable = true};

    void check(std::error_code&) const noexcept {}
    void open(std::optional<std::uint64_t>, std::error_code&) {
        if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
    }
    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t, std::size_t n,
                                               std::error_code&) const noexcept {
        return {buffer_.get(), std::min(n, buffer_size)};
    }
    void commit(std::uint64_t, std::size_t, std::error_code&) const noexcept {}
    void write(std::uint64_t, std::span<std::byte const>, std::error_code&) const noexcept {}
    void sync(std::uint64_t, std::error_code&) const noexcept {}
    void publish(std::error_code&) const noexcept {}
    void abandon() noexcept {}

  private:
    static constexpr std::size_t buffer_size = 256 * 1024;

    std::unique_ptr<std::byte[]> buffer_;
};

static_assert(byte_sink<null_sink>);

} // namespace cleave
