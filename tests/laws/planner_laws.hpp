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
#include <iterator>
#include <optional>
#include <string>
#include <vector>

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
/// to its last, without gap or overlap, in no more segments than `most_segments`. Calls `seen` with
/// each segment, in the order of the answers.
template <cleave::range_planner P, class Seen>
[[nodiscard]] std::string broken_tiling(P const& p, cleave::segment wanted, std::uint32_t lanes,
                                        Seen seen) {
    std::uint64_t const most = cleave::plan_most_segments(p);
    std::uint64_t count = 0;
    auto const taken = [&](cleave::segment s) {
        seen(s);
        return ++count <= most;
    };
    auto const too_many = [&] {
        return "there are no more segments than most_segments says: of " + to_string(wanted) +
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

/// As `broken_tiling`, but of lanes that take in turn, each as soon as it has brought what it held:
/// all the others hold something then.
template <cleave::range_planner P, class Seen>
[[nodiscard]] std::string broken_in_turn(P const& p, cleave::segment wanted, std::uint32_t lanes,
                                         Seen seen) {
    std::uint64_t const most = cleave::plan_most_segments(p);
    std::uint64_t count = 0;
    std::vector<std::uint64_t> held(lanes);
    std::uint64_t outstanding = 0;
    cleave::segment_set owed{wanted};
    for (std::size_t turn = 0; !owed.empty(); turn = (turn + 1) % held.size()) {
        outstanding -= held[turn];
        cleave::segment const gap = owed.front();
        cleave::plan_state const state{wanted, owed.bytes(), lanes, outstanding};
        if (auto broken = broken_answer(p, gap, state); !broken.empty()) return broken;
        cleave::segment const next = p.next(gap, state);
        if (owed.erase(next) != next.size()) return "nothing is taken twice: " + to_string(next);
        held[turn] = next.size();
        outstanding += held[turn];
        seen(next);
        if (++count > most) return "there are no more segments than most_segments says";
    }
    return {};
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
            cleave::plan_state const state{wanted, owed.bytes(), lanes, held.bytes()};
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

/// Law 2 again, in the long run: `steps` steps of up to 17 lanes in any order. Lanes take, bring a
/// part or all, fail, give half of what they hold to an idle one, and a piece that was there turns
/// out to be bad; how many lanes are wanted changes all the time. Whenever every byte is there it
/// begins again. After each step every byte is owed, held or there, and only one of these.
template <cleave::range_planner P>
[[nodiscard]] std::string broken_in_the_long_run(P const& p, cleave::segment wanted,
                                                 std::uint64_t steps, random_source& random) {
    constexpr std::size_t most_lanes = 17;
    cleave::segment_set owed{wanted};
    cleave::segment_set done;
    std::vector<cleave::segment> held;
    std::uint64_t outstanding = 0;
    std::uint64_t rounds = 0;
    auto const end_lease = [&](std::size_t i) {
        held[i] = held.back();
        held.pop_back();
    };

    for (std::uint64_t step = 0; step != steps; ++step) {
        std::uint64_t const what = random.below(100);
        if (what < 45) {
            if (owed.empty() || held.size() == most_lanes) continue;
            cleave::segment const gap =
                *std::next(owed.begin(), static_cast<std::ptrdiff_t>(random.index(owed.count())));
            auto const lanes = static_cast<std::uint32_t>(random.below(most_lanes + 1));
            cleave::plan_state const state{wanted, owed.bytes(), lanes, outstanding};
            if (auto broken = broken_answer(p, gap, state); !broken.empty()) return broken;
            cleave::segment const next = p.next(gap, state);
            if (owed.erase(next) != next.size())
                return "nothing is taken twice: " + to_string(next);
            held.push_back(next);
            outstanding += next.size();
        } else if (what < 99) {
            if (held.empty()) continue;
            std::size_t const i = random.index(held.size());
            cleave::segment const lease = held[i];
            if (what < 90) {
                std::uint64_t const last =
                    random.chance(60) ? lease.last : lease.first + random.below(lease.size());
                cleave::segment const brought{lease.first, last};
                if (done.insert(brought) != brought.size())
                    return "no byte comes twice: " + to_string(brought);
                outstanding -= brought.size();
                if (last == lease.last)
                    end_lease(i);
                else
                    held[i].first = last + 1;
            } else if (what < 95) {
                owed.insert(lease);
                outstanding -= lease.size();
                end_lease(i);
            } else if (held.size() != most_lanes && lease.first != lease.last) {
                std::uint64_t const middle = lease.first + (lease.last - lease.first) / 2;
                held[i].last = middle;
                held.push_back({middle + 1, lease.last});
            }
        } else if (auto const piece = done.find(random.within(wanted).first)) {
            cleave::segment const bad{piece->first,
                                      piece->first + random.below(piece->size()) % 100};
            done.erase(bad);
            owed.insert(bad);
        }
        if (owed.bytes() + outstanding + done.bytes() != wanted.size())
            return "every byte is owed, held or there, at step " + std::to_string(step);
        if (owed.empty() && held.empty()) {
            if (!done.contains(wanted)) return "every byte comes";
            done.clear();
            owed.insert(wanted);
            ++rounds;
        }
    }
    return rounds == 0 ? "there is an end, which " + std::to_string(steps) + " steps did not see"
                       : std::string{};
}

} // namespace cleave_test
