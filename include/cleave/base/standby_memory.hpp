// SPDX-License-Identifier: BSL-1.0
//
// Memory that is had beforehand, for handlers that must be posted whatever happens: from a
// destructor, from a thread that nobody catches exceptions of. Knows no Asio.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace cleave::detail {

/// Two blocks: a strand takes one for the handler, and one for its turn.
class standby_memory {
  public:
    static constexpr std::size_t block_size = 1024;

    /// Null where there is none left, or not as much.
    [[nodiscard]] void* take(std::size_t n) noexcept {
        if (n <= block_size)
            for (auto& b : blocks_)
                if (!b.taken.exchange(true)) return b.bytes;
        return nullptr;
    }
    /// Whether it was had from here.
    bool give_back(void* p) noexcept {
        for (auto& b : blocks_)
            if (p == b.bytes) {
                b.taken = false;
                return true;
            }
        return false;
    }

  private:
    struct block {
        alignas(std::max_align_t) std::byte bytes[block_size];
        std::atomic<bool> taken = false;
    };
    std::array<block, 2> blocks_;
};

/// Allocates with `Allocator`, and from there where that throws. Keeps it.
template <class Allocator>
class standby_allocator {
    using traits = std::allocator_traits<Allocator>;

  public:
    using value_type = typename traits::value_type;
    template <class U>
    struct rebind {
        using other = standby_allocator<typename traits::template rebind_alloc<U>>;
    };

    standby_allocator(std::shared_ptr<standby_memory> m, Allocator const& a) noexcept
        : memory(std::move(m)), first(a) {}
    template <class Other>
    standby_allocator(standby_allocator<Other> const& other) noexcept
        : memory(other.memory), first(other.first) {}
    [[nodiscard]] value_type* allocate(std::size_t n) {
#if defined(__cpp_exceptions)
        try {
            return traits::allocate(first, n);
        } catch (...) {
            void* const p = memory->take(n * sizeof(value_type));
            if (p == nullptr) throw;
            return static_cast<value_type*>(p);
        }
#else
        return traits::allocate(first, n); // or it does not return
#endif
    }
    void deallocate(value_type* p, std::size_t n) noexcept {
        if (!memory->give_back(p)) traits::deallocate(first, p, n);
    }
    template <class Other>
    bool operator==(standby_allocator<Other> const& other) const noexcept {
        return memory == other.memory;
    }

    std::shared_ptr<standby_memory> memory;
    Allocator first;
};

/// A function that is posted with it.
template <class F>
struct posted_with_standby {
    using allocator_type = standby_allocator<std::allocator<char>>;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return {memory, {}}; }
    void operator()() { f(); }
    std::shared_ptr<standby_memory> memory;
    F f;
};
template <class F>
posted_with_standby(std::shared_ptr<standby_memory>, F) -> posted_with_standby<F>;

} // namespace cleave::detail
