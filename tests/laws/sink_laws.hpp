// SPDX-License-Identifier: BSL-1.0
//
// The laws of byte sinks (sink/concept.hpp) for any sink, a user's own too: written to in any
// order, in portions of any size, read in between, made ready again, and published. Answers with
// the law that was broken, or with an empty text.

#pragma once

#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/sink/concept.hpp>

#include <laws/random.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace cleave_test {

/// What is to be seen from outside under the final name: nothing while there is no such thing.
using visible_bytes = std::optional<std::vector<std::byte>>;

struct sink_run {
    std::uint64_t size = 1000;
    bool size_known = true;
    unsigned openings = 1; ///< how often it is made ready; only the last time is gone through with
    std::size_t portion = 300;
    bool publish = true; ///< else it is abandoned
};

/// `visible()` tells what is under the final name. The sink is not used any more afterwards.
template <cleave::byte_sink S, class Visible>
[[nodiscard]] std::string broken_sink(S& sink, sink_run const& run, random_source& random,
                                      Visible visible) {
    visible_bytes const before = visible();
    std::error_code ec;
    auto const failed = [&](char const* what) {
        return std::string{what} + " failed: " + ec.message();
    };

    sink.check(ec);
    if (ec) return failed("check");
    std::vector<std::byte> expected(static_cast<std::size_t>(run.size));
    for (unsigned opening = 1; opening <= run.openings; ++opening) {
        sink.open(run.size_known ? std::optional{run.size} : std::nullopt, ec);
        if (ec) return failed("open");
        for (std::byte& b : expected) b = static_cast<std::byte>(random());

        cleave::segment_set there;
        auto const all = cleave::segment::of(0, run.size);
        bool const last = opening == run.openings;
        while (all && !there.contains(*all)) {
            if (!last && random.chance(5)) break;
            // Some byte that has not come yet, and as many behind it as lie in the same gap.
            std::uint64_t const from = random.below(run.size);
            auto const gap = there.first_gap({from, all->last});
            if (!gap) continue;
            std::size_t const n =
                std::min(1 + random.index(run.portion), static_cast<std::size_t>(gap->size()));
            std::span<std::byte> const to = sink.prepare(gap->first, n, ec);
            if (ec) return failed("prepare");
            if (to.empty() || to.size() > n) return "prepare lends 1 to n bytes";
            auto const at = static_cast<std::ptrdiff_t>(gap->first);
            // More may be written than is committed, for instance by a read that failed midway.
            std::size_t const filled = 1 + random.index(to.size());
            std::fill(to.begin(), to.end(), std::byte{0xee});
            std::copy_n(expected.begin() + at, filled, to.begin());
            sink.commit(gap->first, filled, ec);
            if (ec) return failed("commit");
            there.insert(*cleave::segment::of(gap->first, filled));

            if constexpr (S::traits.readable) {
                if (random.chance(30)) {
                    cleave::segment const some = random.within(*there.find(gap->first));
                    std::vector<std::byte> back(static_cast<std::size_t>(some.size()));
                    sink.read(some.first, back, ec);
                    if (ec) return failed("read");
                    if (!std::equal(back.begin(), back.end(),
                                    expected.begin() + static_cast<std::ptrdiff_t>(some.first)))
                        return "a byte that is read is the one that was committed, " +
                               to_string(some);
                }
            }
            if (random.chance(5) && visible() != before) return "nothing is visible before publish";
        }
    }
    if (visible() != before) return "nothing is visible before publish";
    if (!run.publish) {
        sink.abandon();
        if (visible() != before) return "an abandoned download leaves everything as it was";
        return {};
    }
    sink.sync(run.size, ec);
    if (ec) return failed("sync");
    if (visible() != before) return "nothing is visible before publish";
    sink.publish(ec);
    if (ec) return failed("publish");
    visible_bytes const after = visible();
    if (!after) return "what was published is visible";
    if (*after != expected) return "what was published is what was committed";
    return {};
}

} // namespace cleave_test
