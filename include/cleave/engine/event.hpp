// SPDX-License-Identifier: BSL-1.0
//
// What the engine is told. Times are nanoseconds of any steady clock; bytes come as views that
// live until `step` returns.
#pragma once

#include <cleave/base/failure.hpp>
#include <cleave/base/lease.hpp>
#include <cleave/base/request.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/journal/concept.hpp>
#include <cleave/verify/concept.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

namespace cleave {

/// A point of the driver's steady clock.
using instant = std::chrono::nanoseconds;

/// Blocking work that runs beside the lanes, one at a time.
enum class job : std::uint8_t {
    recall,      ///< open the journal, and take over what an earlier run left: `recalled`
    check,       ///< the CRC-32C of a run of bytes that an earlier run left
    open,        ///< make the sink ready
    hash,        ///< hash a run of committed bytes
    hash_piece,  ///< the digest of one piece
    deliver,     ///< hand a run of bytes on, in order; hash them before, if that is wanted
    finish_hash, ///< the digest of all of them
    record,      ///< store in the journal what is in place; before, where it wants that, durable
    sync,        ///< make the data durable
    publish,     ///< put it under its final name
    forget,      ///< there is nothing to resume any more: remove the journal
    keep,        ///< leave what is in place to another run
    abandon,     ///< leave nothing at all
};

/// What the driver tells the engine.
namespace event {

/// The download begins, unless the driver has found something wrong with it.
struct started {
    std::optional<failure> failed{};
    /// Whether there is a journal for what the sink gets.
    bool journal = false;
};
/// `job::recall` ended: what an earlier run left, if anything, and the sink has taken over.
struct recalled {
    std::optional<failure> failed{};
    std::shared_ptr<resume_state const> state{};
};
/// There is a fresh request, or none is to be had.
struct refreshed {
    std::optional<failure> failed{};
    std::shared_ptr<request const> fresh{};
};
/// A lane's connection stands.
struct connected {
    lane_id lane = 0;
    /// Another download has used it before.
    bool kept = false;
    connection_facts about{};
};
/// Bytes of a reply, before its body.
struct head_bytes {
    lane_id lane = 0;
    std::string_view bytes;
};
/// A lane is through with its grant, or with the body, or can do no more.
struct grant_ended {
    lane_id lane = 0;
    /// Bytes committed, from the beginning of the grant.
    std::uint64_t bytes = 0;
    /// Whether the body's framing says that it ends here.
    bool body_ended = false;
    /// Whether more bytes followed the body's end.
    bool bytes_left_over = false;
    /// Whether the body ended within what was to be dropped, before the grant's first byte.
    bool too_short = false;
    /// Whether it ends because it was revoked; more can be granted.
    bool revoked = false;
    std::optional<failure> failed{};
    /// CRC-32C of the bytes committed, where there is a journal.
    std::uint32_t crc = 0;
};
/// A lane could not connect, send, or receive a head.
struct lane_failed {
    lane_id lane = 0;
    failure what;
};
/// A job ended.
struct job_ended {
    job what = job::open;
    std::optional<failure> failed{};
    /// After `job::finish_hash` and `job::hash_piece`.
    digest_value digest{};
    /// After `job::check`.
    std::uint32_t crc = 0;
    /// Making data durable failed: nobody can tell what of it is on the disk.
    bool data_lost = false;
};
/// How far a lane is within its present grant.
struct lane_window {
    /// Bytes of the grant that are in place.
    std::uint64_t in_place = 0;
    /// Bytes that were read at all, framing and dropped bytes among them.
    std::uint64_t read = 0;
    /// CRC-32C of the bytes in place, where there is a journal.
    std::uint32_t crc = 0;
};
/// The time asked for has come. `lanes` has one window for each lane.
struct woke {
    std::span<lane_window const> lanes;
};
/// How far each lane is, before an event that may end the download: what is in place then counts.
struct looked {
    std::span<lane_window const> lanes;
};
/// The caller does not want it any more.
struct cancelled {};
/// The caller wants it to rest, or to go on.
struct paused {
    bool rest = true;
};
/// The caller wants another rate, in bytes a second; 0 is no limit.
struct rate_changed {
    std::uint64_t rate = 0;
};

} // namespace event

/// Whatever the engine may be told.
using any_event =
    std::variant<event::started, event::recalled, event::refreshed, event::connected,
                 event::head_bytes, event::grant_ended, event::lane_failed, event::job_ended,
                 event::woke, event::looked, event::cancelled, event::paused, event::rate_changed>;

} // namespace cleave
