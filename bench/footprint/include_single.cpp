// SPDX-License-Identifier: BSL-1.0
//
// What a file pays that includes the single header.

#include "../../single_include/cleave/cleave.hpp"
