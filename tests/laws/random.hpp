// SPDX-License-Identifier: BSL-1.0
//
// Random numbers for tests that are the same on every machine: a seed in a message is enough to
// run a failed case again. The distributions of the standard library are not.

#pragma once

#include <cleave/base/segment.hpp>

#include <cstddef>
#include <cstdint>

namespace cleave_test {

/// splitmix64.
class random_source {
  public:
    explicit random_source(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t operator()() noexcept {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }
    /// 0 to `n` - 1; `n` must not be 0.
    std::uint64_t below(std::uint64_t n) noexcept { return (*this)() % n; }
    std::size_t index(std::size_t n) noexcept { return static_cast<std::size_t>(below(n)); }
    /// True `percent` times out of a hundred.
    bool chance(unsigned percent) noexcept { return below(100) < percent; }
    /// A segment within another.
    cleave::segment within(cleave::segment all) noexcept {
        std::uint64_t const less_one = all.last - all.first;
        auto const offset = [&] {
            return less_one == cleave::max_offset ? (*this)() : below(less_one + 1);
        };
        std::uint64_t const a = all.first + offset();
        std::uint64_t const b = all.first + offset();
        return a < b ? cleave::segment{a, b} : cleave::segment{b, a};
    }

  private:
    std::uint64_t state_;
};

} // namespace cleave_test
