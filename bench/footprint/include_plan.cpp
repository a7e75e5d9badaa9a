// SPDX-License-Identifier: BSL-1.0
//
// What a file pays that includes planning alone.

#include <cleave/plan/even_split.hpp>
#include <cleave/plan/plan.hpp>
