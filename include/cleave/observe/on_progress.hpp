// SPDX-License-Identifier: BSL-1.0
//
// A function of the caller's, told now and then how far it is.
#pragma once

#include <cleave/base/exception.hpp>
#include <cleave/observe/concept.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <utility>

namespace cleave {

/// Calls `f(progress const&)` every `interval`, and also each time `step` more bytes are in place,
/// where a step is given; either may be 0, for never. What `f` throws is dropped.
template <std::invocable<progress const&> F>
class on_progress : public ignores_other_events {
  public:
    on_progress(std::chrono::nanoseconds interval, F f) : on_progress(interval, 0, std::move(f)) {}
    on_progress(std::chrono::nanoseconds interval, std::uint64_t step, F f)
        : interval_(interval), step_(step), f_(std::move(f)) {}

    using ignores_other_events::on;
    void on(progress const& p) noexcept {
        detail::call_onlooker([&] { f_(p); });
    }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return interval_; }
    [[nodiscard]] std::uint64_t step() const noexcept { return step_; }

  private:
    std::chrono::nanoseconds interval_;
    std::uint64_t step_;
    F f_;
};

template <class F>
on_progress(std::chrono::nanoseconds, F) -> on_progress<F>;
template <class F>
on_progress(std::chrono::nanoseconds, std::uint64_t, F) -> on_progress<F>;

static_assert(observer<on_progress<void (*)(progress const&)>>);

} // namespace cleave
