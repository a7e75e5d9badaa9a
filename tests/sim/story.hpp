// SPDX-License-Identifier: BSL-1.0
//
// One simulated download from its first run to the finished file, through at least five faults:
// everything about it is drawn from one number, its seed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cleave_sim {

/// What came of a story.
struct story_outcome {
    /// What the library did wrong; empty where nothing was found.
    std::string violation;
    /// Of everything that happened.
    std::uint64_t hash = 0;
    /// Virtual time, over all runs.
    std::chrono::nanoseconds time{0};
    /// How often each kind of fault struck, in the order of `all_faults()`.
    std::vector<std::uint32_t> struck;
    /// Runs, and how many ended well, with an error, or not at all.
    std::uint32_t runs = 0;
    std::uint32_t finished = 0;
    std::uint32_t failed = 0;
    std::uint32_t crashed = 0;
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;
    /// The most memory that a run took, the world around it included, beyond 24 times
    /// the object's size.
    std::uint64_t memory = 0;
};

/// Tells the story of this seed; with `read_along` line by line.
[[nodiscard]] story_outcome
tell_story(std::uint64_t seed, std::function<void(std::string const&)> const& read_along = nullptr);

} // namespace cleave_sim
