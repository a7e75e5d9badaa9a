// SPDX-License-Identifier: BSL-1.0
//
// A function of the caller's, told now and then how far it is.
#pragma once

#include <cleave/observe/concept.hpp>

#include <chrono>
#include <concepts>
#include <utility>

namespace cleave {

/// Calls `f(progress const&)` every `interval`. What `f` throws is dropped.
template <std::invocable<progress const&> F>
class on_progress {
  public:
    on_progress(std::chrono::nanoseconds interval, F f)
        : interval_(interval), f_(std::move(f)) {}

    void on(object_known const&) const noexcept {}
    void on(attempt_failed const&) const noexcept {}
    void on(progress const& p) noexcept {
        try {
            f_(p);
        } catch (...) {
            // A look at a download must not end it.
        }
    }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return interval_; }

  private:
    std::chrono::nanoseconds interval_;
    F f_;
};

template <class F>
on_progress(std::chrono::nanoseconds, F) -> on_progress<F>;

static_assert(observer<on_progress<void (*)(progress const&)>>);

} // namespace cleave
