// SPDX-License-Identifier: BSL-1.0
//
// What the engine knows of one lane: a connection's life, and the lease it is working on.
#pragma once

#include <cleave/base/lease.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/http/body.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/http/response_head.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cleave {

/// What the engine knows of one lane.
struct lane {
    enum class state : std::uint8_t {
        idle,       ///< no connection, nothing to do
        waiting,    ///< will connect again when its time has come
        connecting, ///< until the connect timeout
        ready,      ///< connected, without a lease
        requesting, ///< waiting for the reply to its lease, until the head timeout
        admitted,   ///< its reply is accepted; waiting for a grant: for the sink, its turn, a pause
        receiving,  ///< filling a grant
        ended,      ///< given up
    };

    state is = state::idle;
    /// What the present lease asks for, while there is one.
    std::optional<lease> held;

    /// What it still has to bring of its lease. None when all of it is in place or was taken away,
    /// and as long as a hedge has not won.
    std::optional<segment> left;
    /// The lane that holds what this one asks for as well.
    std::optional<lane_id> hedge_of;
    /// The lane that waits for this one's grant to end, to take bytes from it.
    std::optional<lane_id> thief;
    bool is_hedged = false; ///< another lane's `hedge_of` names this one, as last marked
    bool is_thief = false;  ///< another lane's `thief` does

    /// What it has asked for behind that already, before all of it has come, in the order in which
    /// the replies will come. Nobody else's, and no byte of it is here yet.
    std::vector<segment> ahead;
    std::uint32_t ahead_asked_with = 0;
    bool was_asked_ahead = false; ///< what it holds now
    bool asked_too_much = false;  ///< behind all these comes a reply that nobody wants any more

    // The reply: what of it can be used, and the window it may write into.
    segment reply_bytes;
    segment grant;
    std::uint64_t in_place = 0; ///< of the grant, when last looked at
    std::uint32_t crc = 0;      ///< of these bytes, where there is a journal
    std::uint64_t turn = 0;     ///< since when it waits for a grant, beside other lanes
    instant admitted_at{0};     ///< the same, as a time
    std::uint64_t skip = 0;
    std::uint64_t sample = 0; ///< of what is skipped, bytes to be compared with those in place
    body_framing framing;
    std::size_t head_size = 0;
    bool first_grant = true;
    bool open_ended = false;
    bool reusable = false;

    // How fast it has been lately, in bytes a second; 0 while that is not known.
    double rate = 0;
    std::uint64_t sampled = 0; ///< bytes, when last looked at
    instant sampled_at{0};
    instant asked_at{0};

    // The connection.
    std::uint32_t mirror = 0;         ///< at which it asks
    proxy_hop const* proxy = nullptr; ///< that passes its requests on
    bool used = false;                ///< it has carried a reply
    bool in_order = false;            ///< it has carried one after another
    bool kept = false;          ///< another download kept it, and it has carried no reply since
    bool waited = false;        ///< it stood idle before its first request
    bool stale_retried = false; ///< one free retry after a stale connection has been taken
    bool stays = false;         ///< it waits with its connection open

    // Which request was in use: when it connected, when it asked, when it was last found to lead
    // to the same bytes.
    std::uint32_t connected_to = 0;
    std::uint32_t asked_with = 0;
    std::uint32_t proven_with = 0;

    // The record: failures in a row, and what it brought.
    std::uint32_t tries = 0;
    std::uint64_t bytes = 0;
    std::uint64_t attempt_bytes = 0;

    // Time: when the present state has lasted too long, or when a wait is over.
    instant until{0};
    std::uint64_t seen = 0;
    instant seen_at{0}; ///< when it last brought anything, during a grant
    /// How often what it holds was taken from a silent lane, without a byte since the first time.
    std::uint32_t fruitless = 0;

    // Kept, so that later requests and replies need no memory.
    std::string request;
    response_head_parser reply;
};

} // namespace cleave
