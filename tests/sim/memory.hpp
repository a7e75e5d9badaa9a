// SPDX-License-Identifier: BSL-1.0
//
// How much memory this thread has from `new` and has not given back. A thread gives back only what
// it took itself: simulated worlds never share anything.
#pragma once

#include <cstdint>

namespace cleave_sim {

/// Bytes that the thread holds now.
[[nodiscard]] std::int64_t memory_held() noexcept;
/// The most that it held since `watch_memory`.
[[nodiscard]] std::int64_t memory_peak() noexcept;
/// From now on counts anew.
void watch_memory() noexcept;

} // namespace cleave_sim
