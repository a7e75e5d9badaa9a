// SPDX-License-Identifier: BSL-1.0
//
// A planner that is chosen when the program runs: one of several. Whatever it holds, what it is
// given to is compiled only once.
#pragma once

#include <cleave/download.hpp>

#include <cstdint>
#include <optional>
#include <variant>

namespace example {

template <cleave::range_planner... Models>
struct chosen_plan {
    std::variant<Models...> is;

    cleave::segment next(cleave::segment gap, cleave::plan_state const& s) const noexcept {
        return std::visit([&](auto const& p) { return p.next(gap, s); }, is);
    }
    std::uint64_t opening() const noexcept {
        auto const of = [](auto const& p) { return cleave::plan_opening(p); };
        return std::visit(of, is).value_or(cleave::engine_windows{}.opening);
    }
    std::uint64_t most_segments() const noexcept {
        return std::visit([](auto const& p) { return cleave::plan_most_segments(p); }, is);
    }
    std::optional<cleave::plan_fault> fault() const noexcept {
        return std::visit([](auto const& p) { return cleave::find_plan_fault(p); }, is);
    }
    std::optional<cleave::plan_fault> fault(cleave::segment wanted) const noexcept {
        return std::visit([&](auto const& p) { return cleave::find_plan_fault(p, wanted); }, is);
    }
};

} // namespace example
