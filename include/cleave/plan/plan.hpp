// SPDX-License-Identifier: BSL-1.0
//
// A plan as a range: the segments of an object, worked out one by one as they are asked for.
// Stands alone; for looking at a plan, checking it at compile time, or driving a loop of one's own.
#pragma once

#include <cleave/plan/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <ranges>
#include <utility>

namespace cleave {

/// The segments that `Planner` makes of an object, in order. Takes the same few bytes of memory
/// whatever the object's size. Iterators stay valid as long as the view itself.
template <range_planner Planner>
class plan_view : public std::ranges::view_base {
  public:
    /// Goes from one segment to the next, by asking the planner.
    class iterator {
      public:
        using value_type = segment;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::forward_iterator_tag;
        using iterator_category = std::input_iterator_tag;

        iterator() = default;
        constexpr iterator(plan_view const& of, std::optional<segment> rest)
            : of_(&of), rest_(rest) {
            cut();
        }
        [[nodiscard]] constexpr segment operator*() const noexcept { return current_; }
        constexpr iterator& operator++() noexcept {
            rest_ = current_.last == rest_->last ? std::nullopt : rest_->from(current_.last + 1);
            cut();
            return *this;
        }
        constexpr iterator operator++(int) noexcept {
            iterator old = *this;
            ++*this;
            return old;
        }
        friend constexpr bool operator==(iterator const& a, iterator const& b) noexcept {
            return a.rest_ == b.rest_;
        }
        friend constexpr bool operator==(iterator const& a, std::default_sentinel_t) noexcept {
            return !a.rest_;
        }

      private:
        constexpr void cut() noexcept {
            if (!rest_) return;
            plan_state const state{*of_->wanted_, rest_->size(), of_->lanes_};
            current_ = of_->planner_->next(*rest_, state);
            // A planner that leaves its gap ends the range here; a download would say so by name.
            if (!current_.valid() || !rest_->contains(current_)) rest_.reset();
        }

        plan_view const* of_ = nullptr;
        std::optional<segment> rest_;
        segment current_;
    };

    constexpr plan_view(Planner planner, std::optional<segment> wanted, std::uint32_t lanes)
        : planner_(std::move(planner)), wanted_(wanted), lanes_(lanes) {}

    [[nodiscard]] constexpr iterator begin() const noexcept {
        return iterator{*this, fault() ? std::nullopt : wanted_};
    }
    [[nodiscard]] static constexpr std::default_sentinel_t end() noexcept { return {}; }
    [[nodiscard]] constexpr bool empty() const noexcept { return begin() == end(); }
    /// Why there is nothing in the range, if there should be.
    [[nodiscard]] constexpr std::optional<plan_fault> fault() const noexcept {
        return find_plan_fault(*planner_, wanted_);
    }

  private:
    // Optional only so that a view can be assigned whatever the planner is.
    std::optional<Planner> planner_;
    std::optional<segment> wanted_;
    std::uint32_t lanes_;
};

/// The plan of an object of `size` bytes: `for (segment s : plan(even_split{8}, size))`.
template <range_planner Planner>
[[nodiscard]] constexpr plan_view<Planner> plan(Planner planner, std::uint64_t size,
                                                std::uint32_t lanes = 8) {
    return {std::move(planner), segment::of(0, size), lanes};
}
/// The plan of a part of an object.
template <range_planner Planner>
[[nodiscard]] constexpr plan_view<Planner> plan(Planner planner, segment wanted,
                                                std::uint32_t lanes = 8) {
    return {std::move(planner), wanted, lanes};
}

} // namespace cleave
