// SPDX-License-Identifier: BSL-1.0
//
// A planner that is chosen when the program runs: one of several. Whatever it holds, what it is
// given to is compiled only once. And a list of segments as it is written on a command line.
#pragma once

#include <cleave/download.hpp>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

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

// "0-1024,1025-2048"; nothing where it is not written like that. Whether they fit together is for
// the planner to say.
inline std::optional<std::vector<cleave::segment>> read_segments(std::string_view text) {
    std::vector<cleave::segment> list;
    char const* at = text.data();
    char const* const end = at + text.size();
    auto const number = [&](std::uint64_t& to) {
        auto const [stop, error] = std::from_chars(at, end, to);
        at = stop;
        return error == std::errc{};
    };
    auto const sign = [&](char c) { return at != end && *at++ == c; };
    do {
        cleave::segment& s = list.emplace_back();
        if (!number(s.first) || !sign('-') || !number(s.last) || (at != end && *at != ','))
            return std::nullopt;
    } while (sign(','));
    return list;
}

} // namespace example
