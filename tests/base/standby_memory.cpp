// SPDX-License-Identifier: BSL-1.0
//
// What stands by is had when the first allocator has none, and given back to where it came from.

#include <cleave/base/standby_memory.hpp>

#include <support/catch.hpp>

#include <cstddef>
#include <memory>
#include <new>

using cleave::detail::standby_allocator;
using cleave::detail::standby_memory;

namespace {

bool has_memory = true;
int held = 0;

template <class T>
struct poor_allocator {
    using value_type = T;
    poor_allocator() = default;
    template <class U>
    poor_allocator(poor_allocator<U> const&) noexcept {}
    T* allocate(std::size_t n) {
        if (!has_memory) throw std::bad_alloc{};
        ++held;
        return std::allocator<T>{}.allocate(n);
    }
    void deallocate(T* p, std::size_t n) noexcept {
        --held;
        std::allocator<T>{}.deallocate(p, n);
    }
    bool operator==(poor_allocator const&) const = default;
};

} // namespace

TEST_CASE("memory that stands by is taken when there is no other, and serves again") {
    auto const memory = std::make_shared<standby_memory>();
    standby_allocator<poor_allocator<char>> a{memory, {}};
    standby_allocator<poor_allocator<long>> of_longs{a};
    CHECK(a == standby_allocator<poor_allocator<char>>{of_longs});

    has_memory = true;
    char* const first = a.allocate(10);
    CHECK(held == 1);
    has_memory = false;
    for (int round = 0; round != 3; ++round) {
        char* const second = a.allocate(standby_memory::block_size);
        long* const third = of_longs.allocate(2);
        CHECK(held == 1);
        CHECK(static_cast<void*>(second) != static_cast<void*>(third));
        CHECK_THROWS_AS(a.allocate(1), std::bad_alloc);
        a.deallocate(second, standby_memory::block_size);
        CHECK_THROWS_AS(a.allocate(standby_memory::block_size + 1), std::bad_alloc);
        of_longs.deallocate(third, 2);
    }
    a.deallocate(first, 10);
    CHECK(held == 0);
}
