// SPDX-License-Identifier: BSL-1.0
//
// Nobody looks on.
#pragma once

#include <cleave/observe/concept.hpp>

namespace cleave {

struct silent : ignores_other_events {};

static_assert(observer<silent>);

} // namespace cleave
