// SPDX-License-Identifier: BSL-1.0
//
// Counts what a program asks of the heap, by replacing the global operator new and aligned_alloc,
// and refuses it where a test wants that. To be included by one source file of a program and no
// more, for the operators cannot be inline.

#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>

namespace cleave_test {

/// Calls of operator new and aligned_alloc by this thread since the program began.
inline thread_local std::size_t allocations = 0;
/// Whether there is no memory for this thread.
inline thread_local bool out_of_memory = false;

/// How often `f` asked the heap for memory.
template <class F>
[[nodiscard]] std::size_t allocations_of(F&& f) {
    std::size_t const before = allocations;
    f();
    return allocations - before;
}

/// Whether a string asks for memory though it has room: what clang 14 compiles as C++23 does so
/// whenever it is assigned to, since it takes libstdc++'s `if consteval` for true at run time. What
/// assigns to strings cannot be counted then.
[[nodiscard]] inline bool strings_ask_for_nothing() {
    std::string text(100, 'x');
    return allocations_of([&] { text.assign("something that fits"); }) != 0;
}

/// Calls `f`, for which there is no memory.
template <class F>
void without_memory(F&& f) {
    struct lack {
        lack() { out_of_memory = true; }
        ~lack() { out_of_memory = false; }
    } const here;
    f();
}

namespace detail {

[[gnu::noinline]] inline void* counted_or_null(std::size_t size) noexcept {
    ++allocations;
    return out_of_memory ? nullptr : std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] inline void* counted(std::size_t size) {
    if (void* const p = counted_or_null(size)) return p;
    throw std::bad_alloc();
}
#if !defined(_WIN32) // which has no aligned_alloc, nor frees what such would give
[[gnu::noinline]] inline void* counted(std::size_t size, std::align_val_t align) {
    if (void* const p = std::aligned_alloc(static_cast<std::size_t>(align), size)) return p;
    throw std::bad_alloc();
}
#endif
[[gnu::noinline]] inline void released(void* p) noexcept { std::free(p); }

} // namespace detail
} // namespace cleave_test

void* operator new(std::size_t size) { return cleave_test::detail::counted(size); }
void* operator new[](std::size_t size) { return cleave_test::detail::counted(size); }
void* operator new(std::size_t size, std::nothrow_t const&) noexcept {
    return cleave_test::detail::counted_or_null(size);
}
void* operator new[](std::size_t size, std::nothrow_t const&) noexcept {
    return cleave_test::detail::counted_or_null(size);
}
void operator delete(void* p) noexcept { cleave_test::detail::released(p); }
void operator delete[](void* p) noexcept { cleave_test::detail::released(p); }
void operator delete(void* p, std::nothrow_t const&) noexcept { cleave_test::detail::released(p); }
void operator delete[](void* p, std::nothrow_t const&) noexcept {
    cleave_test::detail::released(p);
}
void operator delete(void* p, std::size_t) noexcept { cleave_test::detail::released(p); }
void operator delete[](void* p, std::size_t) noexcept { cleave_test::detail::released(p); }

#if !defined(_WIN32)
// In place of the C library's: Asio gets its memory here.
extern "C" void* aligned_alloc(std::size_t align, std::size_t size) noexcept {
    ++cleave_test::allocations;
    void* p = nullptr;
    if (cleave_test::out_of_memory || ::posix_memalign(&p, align, size) != 0) return nullptr;
    return p;
}
void* operator new(std::size_t size, std::align_val_t align) {
    return cleave_test::detail::counted(size, align);
}
void* operator new[](std::size_t size, std::align_val_t align) {
    return cleave_test::detail::counted(size, align);
}
void operator delete(void* p, std::align_val_t) noexcept { cleave_test::detail::released(p); }
void operator delete[](void* p, std::align_val_t) noexcept { cleave_test::detail::released(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    cleave_test::detail::released(p);
}
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
    cleave_test::detail::released(p);
}
#endif
