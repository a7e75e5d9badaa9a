// SPDX-License-Identifier: BSL-1.0
//
// The laws of byte sinks (sink/concept.hpp) for any sink, a user's own too: written to in any
// order, in portions of any size, read in between, made ready again, and published; an ordered one
// within its window, which is handed on now and then; a resumable one by several runs. Answers with
// the law that was broken, or with an empty text.

#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/sink/concept.hpp>

#include <laws/random.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

namespace cleave_test {

/// What is to be seen from outside under the final name: nothing while there is no such thing.
using visible_bytes = std::optional<std::vector<std::byte>>;

struct sink_run {
    std::uint64_t size = 1000;
    bool size_known = true;
    unsigned openings = 1; ///< how often it is made ready; only the last time is gone through with
    std::size_t portion = 300;
    bool publish = true; ///< else it is abandoned
    bool kept = true;    ///< whether it keeps the bytes, to be seen in the end
    unsigned copies = 0; ///< of each byte in user space, where it counts them
};

namespace detail {

// Fills memory as a socket does: from within the system. For memory that nothing else may fill.
class system_filler {
  public:
    system_filler() {
        if (::pipe(ends_) != 0) throw std::system_error{errno, std::system_category(), "pipe"};
    }
    ~system_filler() {
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    system_filler(system_filler const&) = delete;
    system_filler& operator=(system_filler const&) = delete;

    void fill(std::span<std::byte> to, std::span<std::byte const> from) const {
        while (!from.empty()) {
            // A pipe takes as much without anybody reading.
            auto const put =
                ::write(ends_[1], from.data(), std::min<std::size_t>(from.size(), 512));
            auto const got = put <= 0 ? put : ::read(ends_[0], to.data(), to.size());
            if (got <= 0 || got != put)
                throw std::system_error{errno, std::system_category(), "fill"};
            from = from.subspan(static_cast<std::size_t>(got));
            to = to.subspan(static_cast<std::size_t>(got));
        }
    }

  private:
    int ends_[2]{};
};

// Hands on and waits until that is done, whoever does it.
template <class S>
void deliver(S& sink, std::uint64_t offset, std::size_t n, std::error_code& ec) {
    if constexpr (cleave::detail::delivers<S>) {
        sink.deliver(offset, n, ec);
    } else {
        std::promise<std::error_code> promise;
        auto done = promise.get_future();
        sink.async_deliver(offset, n, [p = std::move(promise)](std::error_code delivered) mutable {
            p.set_value(delivered);
        });
        ec = done.get();
    }
}

} // namespace detail

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
    detail::system_filler const filler;
    std::vector<std::byte> expected(static_cast<std::size_t>(run.size));
    std::uint64_t taken = 0;
    for (unsigned opening = 1; opening <= run.openings; ++opening) {
        sink.open(run.size_known ? std::optional{run.size} : std::nullopt, ec);
        if (ec) return failed("open");
        for (std::byte& b : expected) b = static_cast<std::byte>(random());

        cleave::segment_set there;
        std::uint64_t delivered = 0;
        auto const all = cleave::segment::of(0, run.size);
        bool const last = opening == run.openings;
        while (all && !there.contains(*all)) {
            if (!last && random.chance(5)) break;
            cleave::segment may_come = *all;
            if constexpr (S::traits.ordered) {
                std::uint64_t const window = sink.window();
                std::uint64_t const chunk = sink.chunk();
                if (chunk == 0 || window < chunk) return "a window is at least one chunk";
                may_come = {delivered, std::min(all->last, delivered + window - 1)};
                auto const first_missing = there.first_gap(may_come);
                // What was handed on cannot be taken back; so the last time only.
                if (!last && !first_missing) break;
                std::uint64_t const ready =
                    (first_missing ? first_missing->first : may_come.last + 1) - delivered;
                if (last && ready >= chunk && (!first_missing || random.chance(30))) {
                    std::uint64_t const n = (1 + random.below(ready / chunk)) * chunk;
                    detail::deliver(sink, delivered, static_cast<std::size_t>(n), ec);
                    if (ec) return failed("deliver");
                    delivered += n;
                    continue;
                }
            }
            // Some byte that has not come yet, and as many behind it as lie in the same gap.
            std::uint64_t const from = may_come.first + random.below(may_come.size());
            auto const gap = there.first_gap({from, may_come.last});
            if (!gap) continue;
            std::size_t const n =
                std::min(1 + random.index(run.portion), static_cast<std::size_t>(gap->size()));
            auto const coming =
                std::span<std::byte const>{expected}.subspan(static_cast<std::size_t>(gap->first));
            std::size_t filled = 0;
            if constexpr (cleave::detail::writes<S>) {
                if (random.chance(50)) {
                    filled = n;
                    sink.write(gap->first, coming.first(filled), ec);
                    if (ec) return failed("write");
                }
            }
            if (filled == 0) {
                std::span<std::byte> const to = sink.prepare(gap->first, n, ec);
                if (ec) return failed("prepare");
                if (to.empty() || to.size() > n) return "prepare lends 1 to n bytes";
                // More may be written than is committed, for instance by a read that failed midway.
                filled = 1 + random.index(to.size());
                if constexpr (S::traits.system_filled) {
                    filler.fill(to, std::vector<std::byte>(to.size(), std::byte{0xee}));
                    filler.fill(to, coming.first(filled));
                } else {
                    std::ranges::fill(to, std::byte{0xee});
                    std::ranges::copy(coming.first(filled), to.begin());
                }
                sink.commit(gap->first, filled, ec);
                if (ec) return failed("commit");
            }
            taken += filled;
            there.insert(*cleave::segment::of(gap->first, filled));

            if constexpr (S::traits.readable) {
                if (random.chance(30)) {
                    cleave::segment const some =
                        random.within(*there.find(gap->first)->from(delivered));
                    std::vector<std::byte> back(static_cast<std::size_t>(some.size()));
                    sink.read(some.first, back, ec);
                    if (ec) return failed("read");
                    if (!std::equal(back.begin(), back.end(),
                                    expected.begin() + static_cast<std::ptrdiff_t>(some.first)))
                        return "a byte that is read is the one that was committed, " +
                               to_string(some);
                    if constexpr (cleave::detail::views<S>) {
                        auto const seen = std::as_const(sink).view(some.first, back.size());
                        if (seen.empty() || seen.size() > back.size() ||
                            !std::equal(seen.begin(), seen.end(), back.begin()))
                            return "what is seen is what would be read, " + to_string(some);
                    }
                }
            }
            if (random.chance(5) && visible() != before) return "nothing is visible before publish";
        }
        if constexpr (S::traits.ordered) {
            if (last && delivered != run.size) {
                detail::deliver(sink, delivered, static_cast<std::size_t>(run.size - delivered),
                                ec);
                if (ec) return failed("deliver");
            }
        }
    }
    if constexpr (requires { sink.bytes_copied(); })
        if (sink.bytes_copied() != run.copies * taken) return "a byte that is copied is counted";
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
    if (!run.kept) return {};
    visible_bytes const after = visible();
    if (!after) return "what was published is visible";
    if (*after != expected) return "what was published is what was committed";
    return {};
}

namespace detail {

// Takes all of `from` in some way or other.
template <class S>
void put(S& sink, std::uint64_t offset, std::span<std::byte const> from, random_source& random,
         std::error_code& ec) {
    system_filler const filler;
    while (!from.empty() && !ec) {
        std::size_t n = 1 + random.index(from.size());
        bool written = false;
        if constexpr (cleave::detail::writes<S>) {
            written = random.chance(50);
            if (written) sink.write(offset, from.first(n), ec);
        }
        if (!written) {
            std::span<std::byte> const to = sink.prepare(offset, n, ec);
            if (ec) return;
            n = std::min(n, to.size());
            filler.fill(to, from.first(n));
            sink.commit(offset, n, ec);
        }
        offset += n;
        from = from.subspan(n);
    }
}

} // namespace detail

/// What several runs make of one object of `size` bytes, at least 2: `make()` answers with the sink
/// of another one, to the same place, where no run has left anything yet. The last one publishes.
template <class Make, class Visible>
[[nodiscard]] std::string broken_resuming(Make make, std::uint64_t size, random_source& random,
                                          Visible visible) {
    visible_bytes const before = visible();
    std::error_code ec;
    auto const failed = [&](char const* what) {
        return std::string{what} + " failed: " + ec.message();
    };
    std::vector<std::byte> expected(static_cast<std::size_t>(size));
    for (std::byte& b : expected) b = static_cast<std::byte>(random());
    std::span<std::byte const> const bytes = expected;
    auto const holds = [&](auto& sink, std::uint64_t n) {
        std::vector<std::byte> back(static_cast<std::size_t>(n));
        sink.read(0, back, ec);
        return !ec && std::equal(back.begin(), back.end(), expected.begin());
    };

    // Nothing is there; the first run begins, and is broken off.
    auto const half = static_cast<std::size_t>(1 + random.below(size - 1));
    {
        auto sink = make();
        for (bool const all : {false, true}) {
            sink.reopen(size, all, ec);
            if (!ec) return "what no run has left is not reopened";
            ec.clear();
        }
        sink.open(size, ec);
        if (ec) return failed("open after a failed reopen");
        detail::put(sink, 0, bytes.first(half), random, ec);
        if (ec) return failed("put");
        sink.flush(ec);
        if (ec) return failed("flush");
        sink.keep();
        if (visible() != before) return "keep leaves nothing under the final name";
    }
    // Others that think of another object do not take it over, nor remove it.
    for (std::uint64_t const other : {size - 1, size + 1}) {
        auto sink = make();
        sink.reopen(other, random.chance(50), ec);
        if (!ec) return "only what has the same size is reopened";
        ec.clear();
        random.chance(50) ? sink.keep() : sink.abandon();
    }
    // The second goes on, to the last byte; a third comes meanwhile.
    {
        auto sink = make();
        sink.reopen(size, false, ec);
        if (ec) return failed("reopen");
        if (!holds(sink, half)) return "a reopened sink gives back what was committed before";
        detail::put(sink, half, bytes.subspan(half), random, ec);
        if (ec) return failed("put after reopen");
        if (!holds(sink, size)) return "a reopened sink gives back what is committed now";

        auto third = make();
        third.reopen(size, true, ec);
        if (ec != cleave::error::target_busy) return "one run at a time has what is there";
        ec.clear();
        third.abandon();
        sink.keep();
        if (visible() != before) return "keep leaves nothing under the final name";
    }
    // Whoever begins afresh has none of it.
    if (random.chance(30)) {
        auto sink = make();
        if (random.chance(50)) sink.reopen(size, true, ec);
        if (ec) return failed("reopen");
        sink.open(size, ec);
        if (ec) return failed("open");
        std::vector<std::byte> back(expected.size());
        sink.read(0, back, ec);
        if (ec || back != std::vector<std::byte>(expected.size())) return "open is afresh";
        detail::put(sink, 0, bytes, random, ec);
        if (ec) return failed("put");
        sink.keep();
    }
    // All is there; it is published, and the end of that run is not known to the next one.
    {
        auto sink = make();
        sink.reopen(size, random.chance(50), ec);
        if (ec) return failed("reopen");
        sink.sync(size, ec);
        if (ec) return failed("sync");
        if (visible() != before) return "nothing is visible before publish";
        sink.publish(ec);
        if (ec) return failed("publish");
        if (visible() != expected) return "what was published is what was committed";
    }
    {
        auto sink = make();
        sink.reopen(size, false, ec);
        if (!ec) return "what was published is not reopened unless all was in place";
        ec.clear();
        sink.reopen(size, true, ec);
        if (ec) return failed("reopen of what was published");
        if (!holds(sink, size)) return "what was published is given back";
        std::error_code refused;
        detail::put(sink, 0, std::vector<std::byte>(1), random, refused);
        if (!refused) return "what was published is not written";
        if (random.chance(50)) sink.flush(ec);
        if (ec) return failed("flush of what was published");
        if (random.chance(80)) sink.sync(size, ec);
        if (ec) return failed("sync of what was published");
        if (random.chance(80)) sink.publish(ec);
        if (ec) return failed("publish of what was published");
        if (random.chance(50)) random.chance(50) ? sink.keep() : sink.abandon();
    }
    if (visible() != expected) return "what was published stays";
    auto sink = make();
    if (random.chance(50)) sink.reopen(size, true, ec);
    if (ec) return failed("reopen of what was published");
    sink.open(size, ec);
    if (ec) return failed("open after what was published");
    for (std::byte& b : expected) b ^= std::byte{1};
    detail::put(sink, 0, bytes, random, ec);
    if (ec) return failed("put");
    if (visible() == expected) return "nothing is visible before publish";
    if (random.chance(20)) {
        sink.abandon();
        for (std::byte& b : expected) b ^= std::byte{1};
    } else {
        sink.sync(size, ec);
        if (ec) return failed("sync");
        sink.publish(ec);
        if (ec) return failed("publish");
    }
    if (visible() != expected) return "what was published is what was committed";
    return {};
}

} // namespace cleave_test
