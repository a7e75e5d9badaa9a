// SPDX-License-Identifier: BSL-1.0
//
// Planners and the set of bytes that the ledger counts with, under any sequence of operations.
// Beside the set stands a row of flags, one for each byte, which says what the set must say; what
// planners answer keeps their laws, and covers every byte once.
//
// The input: where the bytes lie, a planner, and then operations to its end.

#include "input.hpp"

#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/plan/concept.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>
#include <cleave/plan/plan.hpp>

#include <laws/planner_laws.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using cleave::segment;
using cleave_fuzz::require;

constexpr std::uint64_t world_size = 64;

/// A set of bytes as a row of flags, each a bit; the first flag is that of byte `base`.
class flags {
  public:
    explicit flags(std::uint64_t base) : base_(base) {}

    void add(segment s) { is_ |= mask(s); }
    void remove(segment s) { is_ &= ~mask(s); }
    void clear() { is_ = 0; }
    [[nodiscard]] std::uint64_t count(segment s) const {
        return static_cast<std::uint64_t>(std::popcount(is_ & mask(s)));
    }
    [[nodiscard]] std::size_t runs() const {
        return static_cast<std::size_t>(std::popcount(is_ & ~(is_ << 1U)));
    }
    /// The run of set flags that a byte's is in.
    [[nodiscard]] std::optional<segment> run_at(std::uint64_t at) const {
        auto const i = static_cast<int>(at - base_);
        auto const before = std::countl_one(is_ << (63 - i)); // with the byte's own
        if (before == 0) return std::nullopt;
        auto const behind = std::countr_one(is_ >> i);
        return segment{at + 1 - static_cast<unsigned>(before),
                       at - 1 + static_cast<unsigned>(behind)};
    }
    [[nodiscard]] std::optional<segment> first_gap(segment within) const {
        std::uint64_t const gaps = ~is_ & mask(within);
        if (gaps == 0) return std::nullopt;
        auto const first = std::countr_zero(gaps);
        auto const size = std::countr_one(gaps >> first);
        return segment::of(base_ + static_cast<unsigned>(first), static_cast<unsigned>(size));
    }
    [[nodiscard]] bool same(cleave::segment_set const& set) const {
        std::uint64_t all = 0;
        for (segment const s : set) all |= mask(s);
        return all == is_;
    }

  private:
    [[nodiscard]] std::uint64_t mask(segment s) const {
        return ~std::uint64_t{0} >> (63 - (s.last - s.first)) << (s.first - base_);
    }
    std::uint64_t is_ = 0;
    std::uint64_t base_;
};

/// A set beside the flags that say what it must say.
class checked_set {
  public:
    explicit checked_set(std::uint64_t base) : all_{base, base + (world_size - 1)}, model_(base) {}

    std::uint64_t insert(segment s) {
        std::uint64_t const n = set_.insert(s);
        require(n == s.size() - model_.count(s), "inserting tells how many bytes are new");
        model_.add(s);
        return n;
    }
    std::uint64_t erase(segment s) {
        std::uint64_t const n = set_.erase(s);
        require(n == model_.count(s), "erasing tells how many bytes there were");
        model_.remove(s);
        return n;
    }
    void clear() {
        set_.clear();
        model_.clear();
    }
    [[nodiscard]] cleave::segment_set const& operator*() const { return set_; }
    [[nodiscard]] cleave::segment_set const* operator->() const { return &set_; }

    void check() const {
        require(model_.same(set_), "a set holds its bytes and no others");
        require(set_.count() == model_.runs(), "a set holds its bytes in the fewest segments");
        require(set_.empty() == (set_.count() == 0), "a set knows whether there are any");
        require(set_.bytes() == model_.count(all_), "a set's bytes are counted");
    }
    void ask(segment s) const {
        require(set_.contains(s) == (model_.count(s) == s.size()), "a set knows what is in it");
        require(set_.overlaps(s) == (model_.count(s) != 0), "a set knows what is partly in it");
        require(set_.find(s.first) == model_.run_at(s.first), "a byte is found in its run");
        require(set_.first_gap(s) == model_.first_gap(s), "the first gap is found");
    }

  private:
    segment all_;
    cleave::segment_set set_;
    flags model_;
};

segment any_segment(cleave_fuzz::input& from, segment within) {
    std::uint64_t const a = within.first + from.below(within.size());
    std::uint64_t const b = within.first + from.below(within.size());
    return {std::min(a, b), std::max(a, b)};
}

void use_set(cleave_fuzz::input& input, segment all) {
    checked_set set{all.first};
    while (!input.empty()) {
        std::uint8_t const what = input.byte();
        segment const s = any_segment(input, all);
        switch (what % 8) {
        case 0:
        case 1:
        case 2: set.insert(s); break;
        case 3:
        case 4: set.erase(s); break;
        case 5:
            if (what >= 0xf0) set.clear();
            break;
        default: set.ask(s);
        }
        set.check();
    }
    cleave::segment_set again;
    for (segment const s : *set) again.insert(s);
    require(again == *set, "a set is what its segments are");
    segment const everything{0, cleave::max_offset};
    auto const gap = set->first_gap(everything);
    require(!gap || !set->overlaps(*gap), "a gap is outside of the set");
}

/// Lanes that take what the planner answers, bring some of it, and give the rest back.
template <class Planner>
void use_planner(cleave_fuzz::input& input, Planner const& planner, segment all) {
    segment const wanted = any_segment(input, all);
    auto const fault = cleave::find_plan_fault(planner, wanted);
    if (fault) {
        require(!fault->detail().empty(), "a fault says what is wrong");
        return;
    }
    auto const holds = [](std::string const& broken) { require(broken.empty(), broken.c_str()); };
    auto const lanes = static_cast<std::uint32_t>(input.byte() % 18U);
    holds(cleave_test::broken_tiling(planner, wanted, lanes));
    if (lanes != 0) holds(cleave_test::broken_in_turn(planner, wanted, lanes, [](segment) {}));

    checked_set owed{all.first};
    checked_set done{all.first};
    owed.insert(wanted);
    std::vector<segment> held;
    std::uint64_t outstanding = 0;
    while (!input.empty()) {
        std::uint8_t const what = input.byte();
        if (what % 2 == 0) {
            if (owed->empty()) continue;
            // Any of the gaps, and any part of it.
            segment gap =
                *std::next(owed->begin(), static_cast<std::ptrdiff_t>(input.index(owed->count())));
            if (what >= 0xc0) gap = any_segment(input, gap);
            cleave::plan_state const state{wanted, owed->bytes(), lanes, outstanding};
            holds(cleave_test::broken_answer(planner, gap, state));
            segment const next = planner.next(gap, state);
            require(owed.erase(next) == next.size(), "nothing is taken twice");
            held.push_back(next);
            outstanding += next.size();
        } else {
            if (held.empty()) continue;
            std::size_t const i = input.index(held.size());
            segment const lease = std::exchange(held[i], held.back());
            held.pop_back();
            outstanding -= lease.size();
            segment const kept = what < 0x80 ? lease : any_segment(input, lease);
            require(done.insert(kept) == kept.size(), "no byte comes twice");
            if (auto const before = lease.before(kept.first)) owed.insert(*before);
            if (kept.last != lease.last) owed.insert({kept.last + 1, lease.last});
        }
        owed.check();
        done.check();
        require(owed->bytes() + outstanding + done->bytes() == wanted.size(),
                "every byte is owed, held or there");
    }
}

void use_list(cleave_fuzz::input& input, segment all) {
    std::vector<segment> list;
    std::uint64_t at = all.first;
    for (std::size_t n = input.byte() % 12U; n != 0; --n) {
        std::uint8_t const form = input.byte();
        segment s{at, at + form % 8U};
        if (form >= 0xe0) s = {all.first + form % 32U, all.first + input.byte() % 32U};
        list.push_back(s);
        if (s.last >= all.last - 8) break;
        at = s.last + 1;
    }
    // Right means: each byte from the first to the last once, and in order.
    auto const fault = cleave::find_list_fault(list);
    bool right = !list.empty();
    for (std::size_t i = 0; i != list.size(); ++i)
        right = right && list[i].first <= list[i].last &&
                (i == 0 || list[i].first == list[i - 1].last + 1);
    require(fault.has_value() != right, "a list is right, or has a fault");
    if (fault) {
        require(list.empty() || !fault->detail().empty(), "a fault says what is wrong");
        require(!fault->instead || fault->instead->valid(), "what to write instead is a segment");
        return;
    }
    cleave::listed_segments const planner{list};
    segment const covered{list.front().first, list.back().last};
    std::vector<segment> planned;
    for (segment const s : cleave::plan(planner, covered)) planned.push_back(s);
    require(planned == list, "a list is its own plan");
    use_planner(input, planner, all);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    std::uint8_t const form = input.byte();
    // At the beginning of all offsets, at their end, and in between.
    constexpr std::uint64_t last = cleave::max_offset - (world_size - 1);
    std::uint64_t const base = form % 3 == 0 ? 0 : form % 3 == 1 ? last : input.number() % last;
    segment const all{base, base + (world_size - 1)};
    switch (form / 3 % 6) {
    case 0:
    case 1: use_set(input, all); break;
    case 2: {
        std::uint64_t const least = input.byte() % 32U;
        use_planner(input, cleave::guided{least, input.byte() % 4U}, all);
        break;
    }
    case 3: use_planner(input, cleave::even_split{input.number() % 100}, all); break;
    case 4: use_planner(input, cleave::fixed_size{input.number()}, all); break;
    default: use_list(input, all); break;
    }
    return 0;
}
