// SPDX-License-Identifier: BSL-1.0
//
// What the engine wants done. Each is answered by one event, but for those that say otherwise.
#pragma once

#include <cleave/base/lease.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/http/body.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

/// What the engine asks the driver to do.
namespace cleave::action {

/// Connect this lane: `connected` or `lane_failed`.
struct connect {
    lane_id lane = 0;
};
/// Send this, then receive bytes of the reply: `head_bytes` or `lane_failed`. `text` lives until
/// the lane is told to send again, or to close.
struct send {
    lane_id lane = 0;
    std::string_view text;
    /// Whether the connection was used or idle before, so that bytes may lie in it already.
    bool reused = false;
    /// The present reply's body is still to be received, and comes first: no answer to this, but
    /// for the grant's end where it cannot be sent.
    bool ahead = false;
};
/// Receive more bytes of the reply: `head_bytes` or `lane_failed`.
struct read_head {
    lane_id lane = 0;
    /// The body before it has ended: this is the reply to what was sent ahead. What came behind
    /// that body is its beginning.
    bool next = false;
};
/// Receive body bytes into the sink, within this grant and never outside: `grant_ended`.
struct receive {
    lane_id lane = 0;
    segment grant;
    /// The reply's first grant: what follows is only true of it.
    bool first = false;
    /// How many of the last `head_bytes` were the head's; the rest is body.
    std::size_t head_size = 0;
    /// Body bytes to drop before the grant. The first `compare` of the body must be the same as
    /// those that the sink has in their place.
    std::uint64_t skip = 0;
    std::uint64_t compare = 0;
    body_framing framing;
    /// The grant ends with the last byte that is wanted of this reply.
    bool last = false;
    /// The grant ends where the object ends: what the body's framing says of its end matters, even
    /// where that takes another read.
    bool to_the_end = false;
};
/// End the lane's grant where it is now: `grant_ended`, unless that is under way already. The reply
/// stays as it is, for another grant.
struct revoke {
    lane_id lane = 0;
};
/// Close the lane's connection; whatever it was doing ends without an event. No answer.
struct close {
    lane_id lane = 0;
    /// It stands idle after a complete reply: another download may use it.
    bool keep = false;
};
/// Do this beside the lanes: `job_ended`, or `recalled`. `bytes`: what to hash, check or hand on,
/// as the sink counts. `size`: of the object's wanted part, for `open` (unknown when empty) and
/// `sync`. `resumed`: what the sink has taken over stays as it is.
struct run {
    job what = job::open;
    segment bytes;
    std::optional<std::uint64_t> size;
    bool resumed = false;
};
/// Get a fresh request: `refreshed`.
struct refresh {};
/// Send `woke` at this time, or earlier; replaces the one before. Answered then.
struct wait_until {
    instant at{0};
};
/// All is done and quiet; the report is final. No answer, and no more actions.
struct finish {};

} // namespace cleave::action

namespace cleave {

/// Whatever the engine may ask for.
using any_action =
    std::variant<action::connect, action::send, action::read_head, action::receive, action::revoke,
                 action::close, action::run, action::refresh, action::wait_until, action::finish>;

} // namespace cleave
