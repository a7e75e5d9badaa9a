// SPDX-License-Identifier: BSL-1.0
//
// The version of the library. The build files read the string below, so a release changes this
// file and nothing else.

#pragma once

namespace cleave {

inline constexpr int version_major = 0;
inline constexpr int version_minor = 1;
inline constexpr int version_patch = 0;
inline constexpr char const* version_string = "0.1.0";

} // namespace cleave
