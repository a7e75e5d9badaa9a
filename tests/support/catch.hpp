// SPDX-License-Identifier: BSL-1.0
//
// The one way tests include Catch2, so that they build with version 2 (one header) as well as
// with version 3 (many).

#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>

#include <string>

using Catch::Approx;
// Under the names that version 2 has for them.
namespace Catch {
using Matchers::StartsWith;
inline auto Contains(std::string const& part) { return Matchers::ContainsSubstring(part); }
} // namespace Catch
#else
#include <catch2/catch.hpp>
#endif
