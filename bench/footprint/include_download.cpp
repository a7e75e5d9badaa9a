// SPDX-License-Identifier: BSL-1.0
//
// What a file pays that includes the front door without TLS.

#include <cleave/download.hpp>
