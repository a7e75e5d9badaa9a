// SPDX-License-Identifier: BSL-1.0
//
// Being told what happens. Observers look on; nothing they do changes a download's outcome.
#pragma once

#include <cleave/base/failure.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/lease.hpp>
#include <cleave/base/segment.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

namespace cleave {

/// What a lane is about.
enum class lane_activity : std::uint8_t { idle, connecting, requesting, receiving, waiting, ended };

/// For messages.
[[nodiscard]] constexpr char const* to_string(lane_activity a) noexcept {
    switch (a) {
    case lane_activity::idle: return "idle";
    case lane_activity::connecting: return "connecting";
    case lane_activity::requesting: return "requesting";
    case lane_activity::receiving: return "receiving";
    case lane_activity::waiting: return "waiting";
    case lane_activity::ended: return "ended";
    }
    return "unknown";
}

/// How far one lane is.
struct lane_progress {
    lane_activity doing = lane_activity::idle;
    /// Bytes this lane has brought since the start.
    std::uint64_t bytes = 0;
    /// What it is fetching now, if anything.
    std::optional<segment> bytes_asked;
};

/// A lane's connection stands. `kept`: it had been used by another download of the session.
struct lane_connected {
    lane_id lane = 0;
    bool kept = false;
};

/// A lane asks the server for these bytes. `hedge`: another lane holds them, and is slow.
struct segment_asked {
    lane_id lane = 0;
    segment bytes;
    bool hedge = false;
};

/// The first reply was accepted: this is the object.
struct object_known {
    cleave::identity const& identity;
    /// Whether the server sends ranges; without, one lane carries everything.
    bool ranges = true;
};

/// What comes after a failure: one step down from where it was, and no further than needed.
enum class next_step : std::uint8_t {
    same_connection, ///< the lane asks again over the connection it has
    new_connection,  ///< the lane connects again
    fresh_request,   ///< all lanes go on with a fresh URL or credentials
    other_mirror,    ///< the place it asked at is given up, its lanes go to the others
    fewer_lanes,     ///< the lane is given up, others go on
    one_stream,      ///< one lane fetches all of it, without ranges
    new_version,     ///< the download begins again, with the object as it is now
    none,            ///< the download ends
};

/// For messages.
[[nodiscard]] constexpr char const* to_string(next_step s) noexcept {
    switch (s) {
    case next_step::same_connection: return "same connection";
    case next_step::new_connection: return "new connection";
    case next_step::fresh_request: return "fresh request";
    case next_step::other_mirror: return "other mirror";
    case next_step::fewer_lanes: return "fewer lanes";
    case next_step::one_stream: return "one stream";
    case next_step::new_version: return "new version";
    case next_step::none: return "none";
    }
    return "unknown";
}

/// An attempt of a lane failed, and what comes next. `again_after` says when it goes on, where that
/// is known.
struct attempt_failed {
    lane_id lane = 0;
    failure const& what;
    std::optional<std::chrono::nanoseconds> again_after;
    next_step next = next_step::none;
};

/// Bytes of an earlier run are in place, and count; what is missing follows.
struct download_resumed {
    std::uint64_t bytes = 0;
};

/// There is a fresh request, or, where `failed` says why, there is none.
struct request_refreshed {
    std::error_code failed{};
};

/// An idle lane took the end of what a slow one holds, or, after a hedge, all that it had left.
struct bytes_stolen {
    lane_id from = 0;
    lane_id by = 0;
    segment bytes;
    bool hedge = false;
};

/// A piece did not have its digest; it is fetched again.
struct piece_failed {
    std::uint64_t index = 0;
    segment bytes;
};

/// One of several places to have the object from is given up. `index` counts from the request's
/// target, which is 0; `url` is without its secrets.
struct mirror_dropped {
    std::uint32_t index = 0;
    std::string_view url;
    failure const& why;
};

/// The caller has paused the download, or lets it go on.
struct download_paused {
    bool paused = true;
};

/// How far it is, every so often.
struct progress {
    /// Bytes in place, and all of them where that is known.
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> total;
    std::chrono::nanoseconds elapsed{0};
    std::span<lane_progress const> lanes;
    /// Bytes a second, where the last seconds count for most.
    std::uint64_t rate = 0;
    /// At this rate, until all bytes are in place; none while that cannot be said.
    std::optional<std::chrono::nanoseconds> left{};
    /// 0 to 100, rounded down: 100 means that every byte is in place. Not yet that they are the
    /// right ones and published: only the completion says so.
    [[nodiscard]] constexpr unsigned percent() const noexcept {
        if (!total || *total == 0) return 0;
        if (bytes >= *total) return 100;
        // Adds up `bytes` a hundred times and counts how often that fills `total`: exact, where
        // `bytes * 100` would not fit into 64 bits.
        unsigned full = 0;
        std::uint64_t sum = 0;
        for (int i = 0; i != 100; ++i) {
            if (sum >= *total - bytes) {
                sum -= *total - bytes;
                ++full;
            } else {
                sum += bytes;
            }
        }
        return full;
    }
};

/// The last event: the download has ended, well unless `failed` says why not.
struct download_ended {
    failure const* failed = nullptr;
    std::uint64_t bytes = 0;
    std::chrono::nanoseconds elapsed{0};
};

/// An observer `o`. The set of events is closed: an observer has `on` for each of them, so that a
/// misspelt one does not compile. Whoever wants to hear of a few only says so by deriving from
/// `ignores_other_events`.
///
/// | expression     | meaning                                                                   |
/// |----------------|---------------------------------------------------------------------------|
/// | `o.on(e)`      | told of `e`: `lane_connected`, `segment_asked`, `object_known`,           |
/// |                | `attempt_failed`, `download_resumed`, `request_refreshed`,                |
/// |                | `bytes_stolen`, `piece_failed`, `mirror_dropped`, `download_paused`,      |
/// |                | `progress`, `download_ended`; `noexcept`                                  |
/// | `o.interval()` | how often it wants `progress`, `std::chrono::nanoseconds`; 0 is never     |
/// | `o.step()`     | optional: wants `progress` also after so many new bytes, `std::uint64_t`; |
/// |                | 0 is never; `noexcept`                                                    |
///
/// What events refer to lives until `on` returns. Nothing that an observer does changes what comes
/// of a download. Called on the download's strand; should not block, for all lanes wait meanwhile.
/// Models: `silent`, `on_progress`, `counters`, `log_lines`, `tee_observer`.
template <class O>
concept observer =
    std::move_constructible<O> &&
    requires(O& o, lane_connected const& c, segment_asked const& a, object_known const& k,
             attempt_failed const& f, download_resumed const& r, request_refreshed const& q,
             bytes_stolen const& s, piece_failed const& i, mirror_dropped const& m,
             download_paused const& z, progress const& p, download_ended const& e) {
        { o.on(c) } noexcept;
        { o.on(a) } noexcept;
        { o.on(k) } noexcept;
        { o.on(f) } noexcept;
        { o.on(r) } noexcept;
        { o.on(q) } noexcept;
        { o.on(s) } noexcept;
        { o.on(i) } noexcept;
        { o.on(m) } noexcept;
        { o.on(z) } noexcept;
        { o.on(p) } noexcept;
        { o.on(e) } noexcept;
        { o.interval() } noexcept -> std::same_as<std::chrono::nanoseconds>;
    };

/// The bytes after which an observer wants to be told, 0 where it does not.
template <class O>
[[nodiscard]] constexpr std::uint64_t step_of(O& o) noexcept {
    if constexpr (requires { { o.step() } noexcept -> std::same_as<std::uint64_t>; })
        return o.step();
    else
        return 0;
}

/// A base for observers that want to hear of some events only:
///
///     struct mine : cleave::ignores_other_events {
///         using cleave::ignores_other_events::on;
///         void on(cleave::attempt_failed const& f) noexcept { ... }
///     };
struct ignores_other_events {
    void on(lane_connected const&) const noexcept {}
    void on(segment_asked const&) const noexcept {}
    void on(object_known const&) const noexcept {}
    void on(attempt_failed const&) const noexcept {}
    void on(download_resumed const&) const noexcept {}
    void on(request_refreshed const&) const noexcept {}
    void on(bytes_stolen const&) const noexcept {}
    void on(piece_failed const&) const noexcept {}
    void on(mirror_dropped const&) const noexcept {}
    void on(download_paused const&) const noexcept {}
    void on(progress const&) const noexcept {}
    void on(download_ended const&) const noexcept {}
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return {}; }
};

} // namespace cleave
