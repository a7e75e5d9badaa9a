// SPDX-License-Identifier: BSL-1.0
//
// The laws of range planners (plan/concept.hpp) for any planner, a user's own too. Each function
// answers with the law that was broken and where, or with an empty text.

#pragma once

#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/plan/concept.hpp>

#include <laws/random.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace cleave_test {

/// Law 1, an answer lies within its gap, and law 3, equal arguments give equal answers.
template <cleave::range_planner P>
[[nodiscard]] std::string broken_answer(P const& p, cleave::segment gap,
                                        cleave::plan_state const& s) {
    cleave::segment const answer = p.next(gap, s);
    auto const say = [&](char const* law) {
        return std::string{law} + ": of " + to_string(s.wanted) + " for gap " + to_string(gap) +
               " it answered " + to_string(answer);
    };
    if (!answer.valid()) return say("an answer is a segment");
    if (!gap.contains(answer)) return say("an answer lies within its gap");
    if (p.next(gap, s) != answer) return say("equal arguments give equal answers");
    return {};
}

/// Taking what the planner answers until nothing is owed tiles what is wanted, from its first byte
/// to its last, without gap or overlap, in no more segments than `at_most`. Calls `seen` with each
/// segment, in the order of the answers.
template <cleave::range_planner P, class Seen>
[[nodiscard]] std::string broken_tiling(P const& p, cleave::segment wanted, std::uint32_t lanes,
                                        Seen seen) {
    std::uint64_t const most = cleave::plan_at_most(p);
    std::uint64_t count = 0;
    auto const taken = [&](cleave::segment s) {
        seen(s);
        return ++count <= most;
    };
    auto const too_many = [&] {
        return "there are no more segments than at_most says: of " + to_string(wanted) +
               " it made " + std::to_string(count) + ", not " + std::to_string(most);
    };

    // As long as answers begin where the gap does, as those of most planners do, the gap is one.
    std::optional<cleave::segment> rest = wanted;
    while (rest) {
        cleave::plan_state const state{wanted, rest->size(), lanes};
        if (auto broken = broken_answer(p, *rest, state); !broken.empty()) return broken;
        cleave::segment const next = p.next(*rest, state);
        if (next.first != rest->first) break;
        if (!taken(next)) return too_many();
        rest = next.last == rest->last ? std::nullopt : rest->from(next.last + 1);
    }
    if (!rest) return {};

    // Otherwise any number of gaps is left.
    cleave::segment_set owed{*rest};
    while (!owed.empty()) {
        cleave::segment const gap = owed.front();
        cleave::plan_state const state{wanted, owed.bytes(), lanes};
        if (auto broken = broken_answer(p, gap, state); !broken.empty()) return broken;
        cleave::segment const next = p.next(gap, state);
        owed.erase(next);
        if (!taken(next)) return too_many();
    }
    return {};
}
template <cleave::range_planner P>
[[nodiscard]] std::string broken_tiling(P const& p, cleave::segment wanted, std::uint32_t lanes) {
    return broken_tiling(p, wanted, lanes, [](cleave::segment) {});
}

/// Law 2: gaps begin and end anywhere. Lanes take what the planner answers, keep some of it and
/// give the rest back, any of several leases at a time, until everything is there: every byte once.
template <cleave::range_planner P>
[[nodiscard]] std::string broken_after_failures(P const& p, cleave::segment wanted,
                                                std::uint32_t lanes, random_source& random) {
    cleave::segment_set owed{wanted};
    cleave::segment_set held;
    cleave::segment_set done;
    // Failures are rarer as time goes by, so that there is an end.
    for (unsigned failing = 90; !owed.empty() || !held.empty(); failing -= failing == 0 ? 0 : 1) {
        if (!owed.empty() && (held.empty() || random.chance(50))) {
            std::size_t skip = random.index(owed.count());
            cleave::segment gap = owed.front();
            for (cleave::segment s : owed)
                if (skip-- == 0) gap = s;
            cleave::plan_state const state{wanted, owed.bytes(), lanes};
            if (auto broken = broken_answer(p, gap, state); !broken.empty()) return broken;
            cleave::segment const next = p.next(gap, state);
            if (owed.erase(next) != next.size())
                return "nothing is taken twice: " + to_string(next);
            held.insert(next);
            continue;
        }
        cleave::segment const lease = held.front();
        held.erase(lease);
        cleave::segment kept = lease;
        if (random.chance(failing)) {
            kept = random.within(lease);
            if (auto before = lease.before(kept.first)) owed.insert(*before);
            if (kept.last != lease.last) owed.insert({kept.last + 1, lease.last});
        }
        if (done.insert(kept) != kept.size()) return "no byte comes twice: " + to_string(kept);
    }
    if (!done.contains(wanted)) return "every byte comes";
    return {};
}

} // namespace cleave_test
