// SPDX-License-Identifier: BSL-1.0
//
// What deciding costs: the next segment of each planner, of gaps that begin anywhere and of a whole
// plan, and keeping the books in a segment_set of up to a million segments: put in, in order and at
// random, taken from the front, holes made. Its `BigO` rows say how the cost of n of them grows.

#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>
#include <cleave/plan/plan.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

using cleave::segment;

// splitmix64: the same numbers on every machine.
class random_source {
  public:
    std::uint64_t operator()() noexcept {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

  private:
    std::uint64_t state_ = 1;
};

constexpr std::uint64_t object_size = std::uint64_t{64} << 30;
constexpr segment everything{0, object_size - 1};

cleave::listed_segments listed(std::uint64_t count) {
    std::vector<segment> list;
    for (std::uint64_t i = 0; i != count; ++i) {
        std::uint64_t const begin = object_size / count * i;
        std::uint64_t const end = i + 1 == count ? object_size : object_size / count * (i + 1);
        list.push_back({begin, end - 1});
    }
    return cleave::listed_segments(std::move(list));
}

// One call of next, for gaps that begin anywhere.
template <class Planner>
void next(benchmark::State& state, Planner const& planner) {
    random_source random;
    std::array<segment, 1024> gaps;
    for (segment& gap : gaps) gap = {random() % object_size, object_size - 1};
    cleave::plan_state const s{everything, object_size, 8, 0};
    std::size_t i = 0;
    for (auto _ : state) benchmark::DoNotOptimize(planner.next(gaps[i++ % gaps.size()], s));
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}

// A whole plan from the first segment to the last.
template <class Planner>
void whole(benchmark::State& state, Planner const& planner) {
    auto const view = cleave::plan(planner, object_size);
    std::int64_t segments = 0;
    for (auto _ : state)
        for (segment s : view) {
            benchmark::DoNotOptimize(s);
            ++segments;
        }
    state.SetItemsProcessed(segments);
}

void next_of_even_split(benchmark::State& state) {
    next(state, cleave::even_split{static_cast<std::uint64_t>(state.range(0))});
}
void next_of_fixed_size(benchmark::State& state) {
    next(state, cleave::fixed_size{object_size / static_cast<std::uint64_t>(state.range(0))});
}
void next_of_guided(benchmark::State& state) { next(state, cleave::guided{}); }
void next_of_listed_segments(benchmark::State& state) {
    next(state, listed(static_cast<std::uint64_t>(state.range(0))));
}
void plan_of_even_split(benchmark::State& state) {
    whole(state, cleave::even_split{static_cast<std::uint64_t>(state.range(0))});
}
void plan_of_fixed_size(benchmark::State& state) {
    whole(state, cleave::fixed_size{object_size / static_cast<std::uint64_t>(state.range(0))});
}
void plan_of_guided(benchmark::State& state) { whole(state, cleave::guided{}); }
void plan_of_listed_segments(benchmark::State& state) {
    whole(state, listed(static_cast<std::uint64_t>(state.range(0))));
}

// `n` segments that do not touch.
std::vector<segment> apart(std::int64_t n) {
    std::vector<segment> list;
    for (std::uint64_t i = 0; i != static_cast<std::uint64_t>(n); ++i)
        list.push_back({i * 1024, i * 1024 + 511});
    return list;
}
std::vector<segment> shuffled(std::vector<segment> list) {
    random_source random;
    for (std::size_t i = list.size(); i > 1; --i)
        std::swap(list[i - 1], list[static_cast<std::size_t>(random() % i)]);
    return list;
}
cleave::segment_set set_of(std::vector<segment> const& list) {
    cleave::segment_set set;
    for (segment s : list) set.insert(s);
    return set;
}

// Items are segments, and a row's time is that of all n.
void count(benchmark::State& state) {
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
    state.SetComplexityN(state.range(0));
}

void insert_all(benchmark::State& state, std::vector<segment> const& order) {
    cleave::segment_set set;
    for (auto _ : state) {
        set.clear();
        for (segment s : order) benchmark::DoNotOptimize(set.insert(s));
    }
    if (set.count() != order.size()) state.SkipWithError("some are missing");
    count(state);
}
void insert_in_order(benchmark::State& state) { insert_all(state, apart(state.range(0))); }
void insert_at_random(benchmark::State& state) {
    insert_all(state, shuffled(apart(state.range(0))));
}

// As an engine takes what is owed: always the first of it.
void take_from_front(benchmark::State& state) {
    cleave::segment_set const full = set_of(apart(state.range(0)));
    for (auto _ : state) {
        state.PauseTiming();
        cleave::segment_set set = full;
        state.ResumeTiming();
        while (!set.empty()) benchmark::DoNotOptimize(set.erase(set.front()));
    }
    count(state);
}
// Each leaves one more segment than there were.
void make_holes(benchmark::State& state) {
    std::vector<segment> const order = shuffled(apart(state.range(0)));
    cleave::segment_set set;
    for (auto _ : state) {
        set.clear();
        set.insert({0, cleave::max_offset});
        for (segment s : order) benchmark::DoNotOptimize(set.erase({s.first + 1, s.last}));
    }
    if (set.count() != order.size() + 1) state.SkipWithError("some are missing");
    count(state);
}
// And each of these one less.
void fill_holes(benchmark::State& state) {
    std::vector<segment> const order = shuffled(apart(state.range(0)));
    cleave::segment_set full;
    full.insert({0, cleave::max_offset});
    for (segment s : order) full.erase({s.first + 1, s.last});
    for (auto _ : state) {
        state.PauseTiming();
        cleave::segment_set set = full;
        state.ResumeTiming();
        for (segment s : order) benchmark::DoNotOptimize(set.insert({s.first + 1, s.last}));
        if (set.count() != 1) state.SkipWithError("a hole is left");
    }
    count(state);
}

// As a download does: eight runs that grow at their ends until all are one.
void insert_like_lanes(benchmark::State& state) {
    auto const grants = static_cast<std::uint64_t>(state.range(0));
    constexpr std::uint64_t lanes = 8;
    constexpr std::uint64_t grant = std::uint64_t{1} << 20;
    std::uint64_t const each = grants / lanes + 1;
    cleave::segment_set set;
    set.reserve(2 * lanes);
    for (auto _ : state) {
        set.clear();
        for (std::uint64_t i = 0; i != each; ++i)
            for (std::uint64_t lane = 0; lane != lanes; ++lane) {
                std::uint64_t const first = (lane * each + i) * grant;
                benchmark::DoNotOptimize(set.insert({first, first + (grant - 1)}));
            }
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) *
                            static_cast<std::int64_t>(each * lanes));
}

void first_gap(benchmark::State& state) {
    cleave::segment_set const set = set_of(apart(state.range(0)));
    random_source random;
    std::uint64_t const end = static_cast<std::uint64_t>(state.range(0)) * 1024;
    for (auto _ : state) benchmark::DoNotOptimize(set.first_gap({random() % end, end}));
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
// All of a set, one segment after the other.
void look_at_all(benchmark::State& state) {
    cleave::segment_set const set = set_of(shuffled(apart(state.range(0))));
    for (auto _ : state) benchmark::DoNotOptimize(set.bytes());
    count(state);
}

void up_to_a_million(benchmark::internal::Benchmark* b) {
    b->RangeMultiplier(10)->Range(10, 1'000'000)->Complexity(benchmark::oNLogN);
}

} // namespace

BENCHMARK(next_of_even_split)->Arg(8)->Arg(1024);
BENCHMARK(next_of_fixed_size)->Arg(8)->Arg(1024);
BENCHMARK(next_of_guided);
BENCHMARK(next_of_listed_segments)->Arg(8)->Arg(1024)->Arg(100'000);
BENCHMARK(plan_of_even_split)->Arg(1024);
BENCHMARK(plan_of_fixed_size)->Arg(1024);
BENCHMARK(plan_of_guided);
BENCHMARK(plan_of_listed_segments)->Arg(1024)->Arg(100'000);
BENCHMARK(insert_in_order)->Apply(up_to_a_million);
BENCHMARK(insert_at_random)->Apply(up_to_a_million);
BENCHMARK(take_from_front)->Apply(up_to_a_million);
BENCHMARK(make_holes)->Apply(up_to_a_million);
BENCHMARK(fill_holes)->Apply(up_to_a_million);
BENCHMARK(insert_like_lanes)->RangeMultiplier(10)->Range(10, 100'000);
BENCHMARK(first_gap)->RangeMultiplier(10)->Range(10, 1'000'000);
BENCHMARK(look_at_all)->RangeMultiplier(10)->Range(10, 1'000'000);
