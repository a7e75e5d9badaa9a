// SPDX-License-Identifier: BSL-1.0
//
// The version of the library. The build files read the string below, so a release changes this
// file and nothing else.

#pragma once

/// Downloads one remote object as many segments.
namespace cleave {

/// Of semver.org; below 1.0 a minor version may break what was.
inline constexpr int version_major = 0;
inline constexpr int version_minor = 1; ///< see `version_major`
inline constexpr int version_patch = 0; ///< see `version_major`
/// The same in one piece.
inline constexpr char const* version_string = "0.1.0";

} // namespace cleave
