// SPDX-License-Identifier: BSL-1.0
//
// No second try.
#pragma once

#include <cleave/renew/concept.hpp>

namespace cleave {

/// The first failure ends the lane. For callers that try again themselves.
struct give_up {
    [[nodiscard]] constexpr renewal decide(renewal_state const&) const noexcept {
        return {renewal::answer::give_up};
    }
};

static_assert(renewal_rule<give_up>);

} // namespace cleave
