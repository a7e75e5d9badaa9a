// SPDX-License-Identifier: BSL-1.0

#include "memory.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace {

thread_local std::int64_t held = 0;
thread_local std::int64_t peak = 0;

} // namespace

namespace cleave_sim {

std::int64_t memory_held() noexcept { return held; }
std::int64_t memory_peak() noexcept { return peak; }
void watch_memory() noexcept { peak = held; }

} // namespace cleave_sim

void* operator new(std::size_t n) {
    void* const p = std::malloc(n == 0 ? 1 : n);
    if (p == nullptr) throw std::bad_alloc{};
    held += static_cast<std::int64_t>(::malloc_usable_size(p));
    peak = std::max(peak, held);
    return p;
}
void operator delete(void* p) noexcept {
    if (p == nullptr) return;
    held -= static_cast<std::int64_t>(::malloc_usable_size(p));
    std::free(p);
}
void operator delete(void* p, std::size_t) noexcept { ::operator delete(p); }
