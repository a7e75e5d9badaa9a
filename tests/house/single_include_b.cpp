// SPDX-License-Identifier: BSL-1.0
//
// The other half; see single_include_a.cpp.

#include <cleave/cleave.hpp>

void const* address_seen_by_b();

void const* address_seen_by_b() { return &cleave::version_string; }
