// SPDX-License-Identifier: BSL-1.0
//
// Nobody looks on.
#pragma once

#include <cleave/observe/concept.hpp>

#include <chrono>

namespace cleave {

struct silent {
    void on(object_known const&) const noexcept {}
    void on(attempt_failed const&) const noexcept {}
    void on(progress const&) const noexcept {}
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return {}; }
};

static_assert(observer<silent>);

} // namespace cleave
