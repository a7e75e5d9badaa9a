// SPDX-License-Identifier: BSL-1.0
//
// For each policy a model that is one of several, chosen when the test runs, so that tests can go
// through many without compiling a download for each.

#pragma once

#include <cleave/cleave.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace cleave_test {

struct chosen_plan {
    std::variant<cleave::guided, cleave::even_split, cleave::fixed_size, cleave::listed_segments>
        is;

    [[nodiscard]] cleave::segment next(cleave::segment gap,
                                       cleave::plan_state const& s) const noexcept {
        return std::visit([&](auto const& p) { return p.next(gap, s); }, is);
    }
    [[nodiscard]] std::optional<cleave::plan_fault> fault() const noexcept {
        return std::visit([](auto const& p) { return cleave::find_plan_fault(p); }, is);
    }
    [[nodiscard]] std::optional<cleave::plan_fault> fault(cleave::segment wanted) const noexcept {
        return std::visit([&](auto const& p) { return cleave::find_plan_fault(p, wanted); }, is);
    }
};
static_assert(cleave::range_planner<chosen_plan>);

struct chosen_lanes {
    std::variant<cleave::fixed_lanes, cleave::adaptive_lanes> is;

    [[nodiscard]] std::uint32_t most() const noexcept {
        return std::visit([](auto const& l) { return l.most(); }, is);
    }
    [[nodiscard]] std::uint32_t want(cleave::lanes_state const& s) noexcept {
        return std::visit([&](auto& l) { return l.want(s); }, is);
    }
};
static_assert(cleave::lane_rule<chosen_lanes>);

struct chosen_verifier {
    using hasher_type = cleave::openssl_hasher;
    std::variant<cleave::no_verification, cleave::digest, cleave::piece_digests,
                 cleave::server_digest>
        is;

    [[nodiscard]] bool wanted() const noexcept {
        return std::visit([](auto const& v) { return v.wanted(); }, is);
    }
    [[nodiscard]] std::error_code fault() const {
        return std::visit([](auto const& v) -> std::error_code { return v.fault(); }, is);
    }
    [[nodiscard]] hasher_type make_hasher() const {
        return std::visit(
            [](auto const& v) {
                if constexpr (std::is_same_v<decltype(v.make_hasher()), hasher_type>)
                    return v.make_hasher();
                else
                    return hasher_type{cleave::digest_algorithm::sha256};
            },
            is);
    }
    [[nodiscard]] bool matches(cleave::digest_value const& d) noexcept {
        return std::visit([&](auto& v) { return v.matches(d); }, is);
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept {
        return std::visit([](auto const& v) { return cleave::expectation_of(v); }, is);
    }
    [[nodiscard]] cleave::piece_expectation pieces() const noexcept {
        return std::visit([](auto const& v) { return cleave::pieces_of(v); }, is);
    }
    [[nodiscard]] hasher_type make_piece_hasher() const {
        if (auto const* p = std::get_if<cleave::piece_digests>(&is)) return p->make_piece_hasher();
        return hasher_type{cleave::digest_algorithm::sha256};
    }
    [[nodiscard]] bool matches_piece(std::uint64_t index, cleave::digest_value const& d) noexcept {
        auto* const p = std::get_if<cleave::piece_digests>(&is);
        return p == nullptr || p->matches_piece(index, d);
    }
    [[nodiscard]] std::string_view asks() const noexcept {
        auto const* const s = std::get_if<cleave::server_digest>(&is);
        return s == nullptr ? std::string_view{} : s->asks();
    }
    [[nodiscard]] std::error_code learn(std::string_view field) {
        auto* const s = std::get_if<cleave::server_digest>(&is);
        return s == nullptr ? std::error_code{} : s->learn(field);
    }
};
static_assert(cleave::piece_verifier<chosen_verifier>);
static_assert(cleave::learning_verifier<chosen_verifier>);

struct chosen_pace {
    std::variant<cleave::unlimited, cleave::token_bucket> is;

    [[nodiscard]] cleave::pace_answer take(std::uint64_t n, std::chrono::nanoseconds now) noexcept {
        return std::visit([&](auto& p) { return p.take(n, now); }, is);
    }
    void give_back(std::uint64_t n) noexcept {
        std::visit([n](auto& p) { p.give_back(n); }, is);
    }
};
static_assert(cleave::byte_pacer<chosen_pace>);

/// An observer, or none.
template <cleave::observer Observer>
struct perhaps_watched {
    std::optional<Observer> by;

    template <class Event>
    void on(Event const& e) noexcept {
        if (by) by->on(e);
    }
    [[nodiscard]] std::chrono::nanoseconds interval() noexcept {
        return by ? by->interval() : std::chrono::nanoseconds{0};
    }
};

} // namespace cleave_test
