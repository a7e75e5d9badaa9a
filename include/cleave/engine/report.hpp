// SPDX-License-Identifier: BSL-1.0
//
// What a download did, for better or worse. Comes with success and with failure alike.
#pragma once

#include <cleave/base/failure.hpp>
#include <cleave/base/identity.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cleave {

/// One of the places that an object was to be had from.
struct mirror_report {
    /// Without its secrets.
    std::string url;
    /// Bytes that it brought, of those that were wanted.
    std::uint64_t bytes = 0;
    /// Why it was given up, or brought nothing; empty where neither is the case.
    std::optional<failure> dropped;
};

/// What a download did, whether it succeeded or not.
struct report {
    /// Bytes in place, of those that were wanted; and those of them that an earlier run had left.
    std::uint64_t bytes = 0;
    std::uint64_t bytes_resumed = 0;
    /// After a failure: whether what is in place was left for another run to go on with.
    bool kept = false;
    /// What the server said of the object.
    cleave::identity identity;
    /// Whether the server sent ranges; without, one lane carried everything.
    bool ranges = true;
    /// False where the end of the connection was the only sign of the object's end.
    bool length_verified = true;
    /// Whether a digest of the whole object, or one of each of its pieces, was compared and fitted.
    bool digest_verified = false;

    /// Lanes that brought at least one byte.
    std::uint32_t lanes = 0;
    /// Connections made, and requests sent over them.
    std::uint64_t connections = 0;
    std::uint64_t requests = 0;
    /// Of these, those sent before the reply to the one before had come whole.
    std::uint64_t requests_ahead = 0;
    /// Attempts that failed and were followed by another.
    std::uint64_t retries = 0;
    /// Of these, those that used the same connection again; and lanes that were given up.
    std::uint64_t retries_in_place = 0;
    std::uint32_t lanes_given_up = 0;
    /// Redirects followed.
    std::uint64_t redirects = 0;
    /// Fresh requests that the request source was asked for.
    std::uint64_t refreshes = 0;
    /// Whether ranges were given up on the way: one lane fetched all of it.
    bool one_stream = false;
    /// Times the download began again because the object had changed.
    std::uint32_t new_versions = 0;
    /// Requests sent again because a kept connection had died unused; not counted as retries.
    std::uint64_t stale_connections = 0;
    /// Times the download began again from its first byte.
    std::uint64_t restarts = 0;
    /// TLS handshakes with certificates, and those that a ticket of an earlier one made shorter.
    std::uint64_t handshakes_full = 0;
    std::uint64_t handshakes_resumed = 0;
    /// The places that the object was to be had from, in the order of the request: its target,
    /// and the mirrors.
    std::vector<mirror_report> mirrors;
    /// Connections taken over from another download of the session; `connections` has them too.
    std::uint64_t kept_connections = 0;
    /// Times an idle lane took the end of what a slow one held.
    std::uint64_t steals = 0;
    /// Times an idle lane asked for bytes that a slow one held and kept, how often it was first,
    /// and the bytes asked for in this way.
    std::uint64_t hedges = 0;
    std::uint64_t hedges_won = 0;
    std::uint64_t bytes_hedged = 0;
    /// Pieces that did not have their digest, and were fetched again.
    std::uint64_t pieces_failed = 0;
    /// Body bytes received more than once, or dropped.
    std::uint64_t bytes_twice = 0;
    /// Body bytes copied in user space: those that came along with heads, or in chunks.
    std::uint64_t bytes_copied = 0;
    /// Body bytes that went from the socket into the file within the system, never seen here.
    std::uint64_t bytes_spliced = 0;
    /// Windows handed out to lanes; one event each, however many reads it took.
    std::uint64_t grants = 0;
    /// Reads that brought body bytes straight into the sink's memory.
    std::uint64_t reads = 0;

    /// From the start to the first accepted reply, to the last byte, and to the end.
    std::chrono::nanoseconds to_first_reply{0};
    std::chrono::nanoseconds to_last_byte{0};
    std::chrono::nanoseconds elapsed{0};

    /// Why it failed; empty after success.
    std::optional<failure> failed;
};

} // namespace cleave
