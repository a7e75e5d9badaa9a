// SPDX-License-Identifier: BSL-1.0
//
// A lane's claim on a segment: what its request asks the server for.
#pragma once

#include <cleave/base/segment.hpp>

#include <cstdint>

namespace cleave {

/// Identifies a lane of a download: 0 to the number of lanes less one.
using lane_id = std::uint32_t;

/// What one request asks for, and against which its reply is judged.
struct lease {
    segment bytes;
    /// Whether the request carries a `Range`; without, the server is asked for the whole object.
    bool ranged = true;

    friend constexpr bool operator==(lease const&, lease const&) noexcept = default;
};

} // namespace cleave
