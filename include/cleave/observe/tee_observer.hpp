// SPDX-License-Identifier: BSL-1.0
//
// Two observers at once.
#pragma once

#include <cleave/observe/concept.hpp>
#include <cleave/observe/silent.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace cleave {

/// Tells `a` of everything, and then `b`; either may be a tee itself.
///
/// Interval and step are the smaller ones that are not "never", and each `progress` goes to both:
/// the one that asked for fewer hears more often than it asked for. One that never wants `progress`
/// is never told of it.
template <observer A, observer B>
class tee_observer {
  public:
    tee_observer(A a, B b) : a_(std::move(a)), b_(std::move(b)) {}

    template <class Event>
    void on(Event const& e) noexcept {
        a_.on(e);
        b_.on(e);
    }
    void on(progress const& p) noexcept {
        if (wants_progress(a_)) a_.on(p);
        if (wants_progress(b_)) b_.on(p);
    }
    [[nodiscard]] std::chrono::nanoseconds interval() noexcept {
        return sooner(a_.interval(), b_.interval());
    }
    [[nodiscard]] std::uint64_t step() noexcept { return sooner(step_of(a_), step_of(b_)); }

  private:
    template <class O>
    [[nodiscard]] static bool wants_progress(O& o) noexcept {
        return o.interval() > std::chrono::nanoseconds{0} || step_of(o) > 0;
    }
    /// The smaller of two, of which those that are not positive stand for never.
    template <class T>
    [[nodiscard]] static constexpr T sooner(T a, T b) noexcept {
        if (a <= T{}) return b;
        if (b <= T{}) return a;
        return a < b ? a : b;
    }

    A a_;
    B b_;
};

static_assert(observer<tee_observer<silent, silent>>);

} // namespace cleave
