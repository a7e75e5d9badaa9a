// SPDX-License-Identifier: BSL-1.0
//
// How what goes wrong with a sink is told, also where its code throws; and how much of a file is
// looked at in memory at most.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/exception.hpp>
#include <cleave/base/failure.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <system_error>

namespace cleave::detail {

[[nodiscard]] inline failure sink_failure(std::error_code ec) {
    cause const kind = ec.category() == error_category() ? cause_of(static_cast<error>(ec.value()))
                                                         : cause::storage;
    return {ec, kind, phase::sink, 0, std::nullopt, {}};
}

// Where nobody could catch what is thrown: what `f` answers with, or the code of the exception.
template <class F>
[[nodiscard]] std::error_code guarded(F f) noexcept {
    try {
        return f();
    } catch (...) {
        return code_of_exception();
    }
}

// As much of so many bytes as memory may hold.
[[nodiscard]] inline std::size_t clamp(std::uint64_t n) noexcept {
    return static_cast<std::size_t>(
        std::min<std::uint64_t>(n, std::numeric_limits<std::size_t>::max() / 2));
}

} // namespace cleave::detail
