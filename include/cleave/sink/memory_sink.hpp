// SPDX-License-Identifier: BSL-1.0
//
// Bytes go into the caller's memory: received where they belong, copied nowhere.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/sink/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

namespace cleave {

/// Receives into a vector, made as large as the object, or into a span of fixed size, for which
/// `error::sink_too_small` is possible. The vector's allocator may be any, so the memory can be had
/// from wherever one wants it, as with `std::pmr::vector`; one that leaves new bytes as they are
/// spares writing zeros first. The memory must outlive the download. After a failure it holds
/// anything; after success `[0, report.bytes)` is the object.
class memory_sink {
  public:
    // An object without a known size, for which the vector grows, comes over one lane.
    static constexpr sink_traits traits{.concurrent = true, .readable = true, .revocable = true};

    template <class Allocator>
    explicit memory_sink(std::vector<std::byte, Allocator>& to) noexcept
        : vector_(&to), most_(to.max_size()), resize_vector_([](void* vector, std::size_t size) {
              auto& bytes = *static_cast<std::vector<std::byte, Allocator>*>(vector);
              bytes.resize(size);
              return std::span<std::byte>{bytes};
          }) {}
    explicit memory_sink(std::span<std::byte> to) noexcept : memory_(to) {}

    void check(std::error_code&) const noexcept {}

    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
        if (vector_ != nullptr) return resize(size.value_or(0), ec);
        if (size && *size > memory_.size()) ec = error::sink_too_small;
    }

    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code& ec) {
        // Only a size that was not known beforehand makes the vector grow here.
        if (vector_ != nullptr && (offset >= memory_.size() || n > memory_.size() - offset))
            grow(offset, n, ec);
        if (ec) return {};
        if (offset >= memory_.size()) {
            ec = error::sink_too_small;
            return {};
        }
        auto const at = static_cast<std::size_t>(offset);
        return memory_.subspan(at, std::min(n, memory_.size() - at));
    }

    void commit(std::uint64_t, std::size_t, std::error_code&) const noexcept {}

    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code&) const {
        std::memcpy(to.data(), memory_.data() + static_cast<std::size_t>(offset), to.size());
    }

    [[nodiscard]] std::span<std::byte const> view(std::uint64_t offset,
                                                  std::size_t n) const noexcept {
        return std::span{memory_}.subspan(static_cast<std::size_t>(offset), n);
    }

    void sync(std::uint64_t size, std::error_code& ec) {
        if (vector_ != nullptr) resize(size, ec);
    }
    void publish(std::error_code&) const noexcept {}
    void abandon() noexcept {}

  private:
    void resize(std::uint64_t size, std::error_code& ec) {
        if (size > most_) {
            ec = error::sink_too_small;
            return;
        }
        try {
            memory_ = resize_vector_(vector_, static_cast<std::size_t>(size));
        } catch (...) {
            // Whatever an allocator throws, it says that it has no memory.
            ec = std::make_error_code(std::errc::not_enough_memory);
        }
    }
    void grow(std::uint64_t offset, std::size_t n, std::error_code& ec) {
        if (offset > most_ || n > most_ - offset) {
            ec = error::sink_too_small;
            return;
        }
        resize(std::max(offset + n, std::min<std::uint64_t>(memory_.size() * 2, most_)), ec);
    }

    // The vector, whatever its allocator, how large it may be, and how to make it larger.
    void* vector_ = nullptr;
    std::uint64_t most_ = 0;
    std::span<std::byte> (*resize_vector_)(void* vector, std::size_t size) = nullptr;
    std::span<std::byte> memory_;
};

static_assert(byte_sink<memory_sink>);

} // namespace cleave
