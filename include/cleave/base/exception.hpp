// SPDX-License-Identifier: BSL-1.0
//
// What an exception of somebody else's code is, where nobody could catch it: an error code, or
// nothing. Built without exceptions, none comes.
#pragma once

#include <new>
#include <system_error>

namespace cleave::detail {

/// The code that stands for the exception that is being handled.
[[nodiscard]] inline std::error_code code_of_exception() noexcept {
#if defined(__cpp_exceptions)
    try {
        throw;
    } catch (std::system_error const& e) {
        // One that says "no error" still must not look like success.
        if (e.code()) return e.code();
    } catch (std::bad_alloc const&) {
        return std::make_error_code(std::errc::not_enough_memory);
    } catch (...) {
        // Nobody knows what it was.
    }
#endif
    return std::make_error_code(std::errc::state_not_recoverable);
}

/// Calls `f` and drops what it throws: who only looks at a download must not end it.
template <class F>
void call_onlooker(F&& f) noexcept {
#if defined(__cpp_exceptions)
    try {
        f();
    } catch (...) {
    }
#else
    f();
#endif
}

} // namespace cleave::detail
