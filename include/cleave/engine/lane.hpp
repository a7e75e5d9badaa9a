// SPDX-License-Identifier: BSL-1.0
//
// What the engine knows of one lane: a connection's life, and the lease it is working on.
#pragma once

#include <cleave/base/lease.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/http/body.hpp>
#include <cleave/http/response_head.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace cleave {

struct lane {
    enum class state : std::uint8_t {
        idle,       ///< no connection, nothing to do
        waiting,    ///< will connect again when its time has come
        connecting, ///< until the connect timeout
        ready,      ///< connected, without a lease
        requesting, ///< waiting for the reply to its lease, until the head timeout
        admitted,   ///< its reply is accepted; waiting for the sink to be ready
        receiving,  ///< filling a grant
        ended,      ///< given up
    };

    state is = state::idle;
    /// What the present lease asks for, while there is one.
    std::optional<lease> held;

    // The reply: where its bytes go, and how far they are.
    segment write;
    std::uint64_t next = 0;
    segment grant;
    std::uint64_t skip = 0;
    body_framing framing;
    std::size_t head_size = 0;
    bool first_grant = true;
    bool open_ended = false;
    bool reusable = false;

    // The connection.
    bool used = false;          ///< it has carried a reply
    bool waited = false;        ///< it stood idle before its first request
    bool stale_retried = false; ///< one free retry after a stale connection has been taken

    // The record: failures in a row, and what it brought.
    std::uint32_t tries = 0;
    std::uint64_t bytes = 0;
    std::uint64_t attempt_bytes = 0;

    // Time: when the present state has lasted too long, or when a wait is over.
    instant until{0};
    std::uint64_t seen = 0;
    instant seen_at{0};

    // Kept, so that later requests and replies need no memory.
    std::string request;
    response_head_parser reply;
};

} // namespace cleave
