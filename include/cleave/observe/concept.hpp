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

namespace cleave {

/// What a lane is about.
enum class lane_activity : std::uint8_t { idle, connecting, requesting, receiving, waiting, ended };

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

struct lane_progress {
    lane_activity doing = lane_activity::idle;
    /// Bytes this lane has brought since the start.
    std::uint64_t bytes = 0;
    /// What it is fetching now, if anything.
    std::optional<segment> bytes_asked;
};

/// The first reply was accepted: this is the object.
struct object_known {
    cleave::identity const& identity;
    /// Whether the server sends ranges; without, one lane carries everything.
    bool ranges = true;
};

/// An attempt of a lane failed. `again_after` says when it goes on; without, it was given up.
struct attempt_failed {
    lane_id lane = 0;
    failure const& what;
    std::optional<std::chrono::nanoseconds> again_after;
};

/// How far it is, every so often.
struct progress {
    /// Bytes in place, and all of them where that is known.
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> total;
    std::chrono::nanoseconds elapsed{0};
    std::span<lane_progress const> lanes;
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

/// An observer `o`. The set of events is closed.
///
/// | expression     | meaning                                                                   |
/// |----------------|---------------------------------------------------------------------------|
/// | `o.on(e)`      | told of `e`: `object_known`, `attempt_failed`, `progress`; `noexcept`     |
/// | `o.interval()` | how often it wants `progress`, `std::chrono::nanoseconds`; 0 is never     |
///
/// What events refer to lives until `on` returns. Called on the download's strand; should not
/// block, for all lanes wait meanwhile. Models: `silent`, `on_progress`.
template <class O>
concept observer = std::move_constructible<O> &&
                   requires(O& o, object_known const& k, attempt_failed const& f,
                            progress const& p) {
                       { o.on(k) } noexcept;
                       { o.on(f) } noexcept;
                       { o.on(p) } noexcept;
                       { o.interval() } noexcept -> std::same_as<std::chrono::nanoseconds>;
                   };

} // namespace cleave
