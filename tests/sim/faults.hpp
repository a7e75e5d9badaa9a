// SPDX-License-Identifier: BSL-1.0
//
// Everything that can go wrong in a simulated world: what servers reply, from the catalogue in
// <cleave/testing/faults.hpp>, and what the network, the disk, the power and the world do.
#pragma once

#include <cleave/testing/faults.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

namespace cleave_sim {

/// Where a fault strikes.
enum class strikes : unsigned char {
    reply,   ///< the next reply that it can be made of
    connect, ///< the next attempt to connect
    disk,    ///< one of the next calls of a file
    run,     ///< a moment of a run that is drawn beforehand
    between, ///< after a run, before the next one
};

/// One kind of fault. `row` is that of tests/FAULTS.md, or empty where it has none.
struct fault_kind {
    std::string_view row;
    std::string_view name;
    strikes where = strikes::reply;
    /// Whether a run may end with an error because of it; else it must go on.
    bool may_end = false;
    cleave::testing::server_fault const* reply = nullptr;
};

/// What is not in a reply.
inline constexpr std::array world_faults = {
    fault_kind{"F06", "connection_refused", strikes::connect},
    fault_kind{"F07", "connection_lost", strikes::connect},
    fault_kind{"F07", "name_unresolved", strikes::connect},
    fault_kind{"G03", "certificate_expired", strikes::connect, true},
    fault_kind{"G04", "certificate_of_another_host", strikes::connect, true},
    fault_kind{"G08", "handshake_fails", strikes::connect, true},

    fault_kind{"J01", "no_space", strikes::disk, true},
    fault_kind{"J04", "write_error", strikes::disk, true},
    fault_kind{"J04", "sync_error", strikes::disk, true},
    fault_kind{"J04", "read_error", strikes::disk, true},
    fault_kind{"J06", "open_refused", strikes::disk, true},
    fault_kind{"J06", "quota_exceeded", strikes::disk, true},
    fault_kind{"J07", "publish_fails", strikes::disk, true},

    fault_kind{"B01", "object_changes", strikes::run, true},
    fault_kind{"E09", "url_expires", strikes::run, true},
    fault_kind{"F05", "network_silent", strikes::run},
    fault_kind{"F06", "server_down", strikes::run},
    fault_kind{"F06", "connection_limit", strikes::run},
    fault_kind{"F09", "cancelled", strikes::run, true},
    fault_kind{"F09", "paused_for_a_while", strikes::run},
    fault_kind{"J01", "disk_full_for_a_while", strikes::run, true},
    fault_kind{"J03", "partial_removed", strikes::run, true},
    fault_kind{"J03", "partial_replaced", strikes::run, true},
    fault_kind{"J09", "second_download", strikes::run},
    fault_kind{"K01", "process_killed", strikes::run, true},
    fault_kind{"K02", "power_cut", strikes::run, true},

    fault_kind{"K04", "journal_bit_flipped", strikes::between},
    fault_kind{"K03", "journal_cut", strikes::between},
    fault_kind{"K06", "journal_is_garbage", strikes::between},
    fault_kind{"K05", "journal_of_another_object", strikes::between},
    fault_kind{"K08", "journal_removed", strikes::between},
    fault_kind{"K07", "partial_cut", strikes::between},
    fault_kind{"K07", "partial_grown", strikes::between},
    fault_kind{"K07", "partial_bytes_changed", strikes::between},
    fault_kind{"K07", "partial_removed_between", strikes::between},
};

/// All kinds, in the order of their rows.
[[nodiscard]] inline std::vector<fault_kind> const& all_faults() {
    static std::vector<fault_kind> const all = [] {
        std::vector<fault_kind> kinds;
        for (cleave::testing::server_fault const& f : cleave::testing::server_faults())
            kinds.push_back(
                {f.row, f.name, strikes::reply, f.allowed == cleave::testing::harm::end, &f});
        kinds.insert(kinds.end(), world_faults.begin(), world_faults.end());
        std::ranges::stable_sort(kinds, {}, &fault_kind::row);
        return kinds;
    }();
    return all;
}

} // namespace cleave_sim
