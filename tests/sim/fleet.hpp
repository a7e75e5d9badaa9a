// SPDX-License-Identifier: BSL-1.0
//
// Many devices that update from one server, which goes away for a minute and comes back: what each
// way of waiting does to its load.
#pragma once

#include <cstdint>
#include <string>

namespace cleave_sim {

/// Prints the table, and writes the picture to `svg` where that is not empty. False when the
/// picture could not be written, or a device did not get its update.
bool run_fleet(std::uint64_t devices, std::string const& svg);

} // namespace cleave_sim
