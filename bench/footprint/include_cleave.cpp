// SPDX-License-Identifier: BSL-1.0
//
// What a file pays that includes all of cleave.

#include <cleave/cleave.hpp>
