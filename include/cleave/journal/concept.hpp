// SPDX-License-Identifier: BSL-1.0
//
// What survives a crash. A journal remembers, beside or apart from the bytes themselves, which of
// them are in place and of which object they are, so that another run can go on from there. It
// knows nothing of lanes, servers, or where the bytes lie.
#pragma once

#include <cleave/base/identity.hpp>
#include <cleave/base/segment.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace cleave {

/// Bytes in place, and their CRC-32C.
struct checked_segment {
    segment bytes;
    std::uint32_t crc = 0;

    friend bool operator==(checked_segment const&, checked_segment const&) = default;
};

/// What is to be known of an unfinished download to go on with it.
struct resume_state {
    /// The object, as the server described it; its size is known.
    cleave::identity identity;
    /// What was wanted of it.
    segment wanted;
    /// Where it came from, without userinfo and query: `url::to_string`.
    std::string url;
    /// Tells which digest was expected, 0 for none: `expectation_of`.
    std::uint64_t expectation = 0;
    /// Bytes of the object that are in place: sorted, with at least one byte between any two, all
    /// within `wanted`.
    std::vector<checked_segment> in_place;

    friend bool operator==(resume_state const&, resume_state const&) = default;
};

/// How often a journal wants to be told: after so many new bytes, and so long after the last time
/// when there are any.
struct journal_interval {
    std::uint64_t bytes = std::uint64_t{4} << 20;
    std::chrono::nanoseconds time = std::chrono::seconds{1};
};

/// A resume journal `j`. `t` is the path of the finished file, empty where the sink has none.
///
/// | expression       | meaning                                                              |
/// |------------------|----------------------------------------------------------------------|
/// | `j.keeps(t)`     | const: whether it keeps anything of a download to `t`, `bool`;       |
/// |                  | `noexcept`                                                           |
/// | `j.open(t, ec)`  | takes the journal for this download alone, and answers with what an  |
/// |                  | earlier run left: `std::optional<resume_state>`                      |
/// | `j.store(s, ec)` | from now on it holds `s` instead of what it held before              |
/// | `j.remove(ec)`   | from now on it holds nothing                                         |
/// | `j.durable()`    | const: whether what it holds is to survive a power cut, `bool`;      |
/// |                  | `noexcept`. Then a sink is flushed before each `store`               |
/// | `j.interval()`   | const: how often it wants to be told, `journal_interval`; `noexcept` |
///
/// Laws:
/// 1. `open` answers with a state that was given to `store` and not removed since, or with one that
///    claims less, or with nothing: whatever a crash, a damaged disk or somebody else did. A
///    journal that cannot be read is no error; it holds nothing.
/// 2. A crash within `store` leaves the state before or the new one.
/// 3. A state that is too large for it is stored with fewer bytes claimed, never with other ones.
/// 4. What it holds has no secrets: no userinfo, no query, no headers.
///
/// Errors: `error::target_busy` where another process has it, else codes of the system.
/// The members that take an error code run beside the lanes and may block, one at a time; `open`
/// comes first, and only where `keeps` says yes. After an error of `store` no other follows, and
/// after `remove` nothing at all.
/// Models: `file_journal`, `record_journal`, `no_journal`.
template <class J>
concept resume_journal =
    std::move_constructible<J> &&
    requires(J& j, J const& c, std::string const& target, resume_state const& state,
             std::error_code& ec) {
        { c.keeps(target) } noexcept -> std::same_as<bool>;
        { j.open(target, ec) } -> std::same_as<std::optional<resume_state>>;
        j.store(state, ec);
        j.remove(ec);
        { c.durable() } noexcept -> std::same_as<bool>;
        { c.interval() } noexcept -> std::same_as<journal_interval>;
    };

} // namespace cleave
