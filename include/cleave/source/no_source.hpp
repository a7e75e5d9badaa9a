// SPDX-License-Identifier: BSL-1.0
//
// There is no fresh request to be had: an expired URL ends the download.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/request.hpp>
#include <cleave/source/concept.hpp>

namespace cleave {

/// Has no fresh request: the one that was given is all there is.
struct no_source {
    [[nodiscard]] constexpr bool available() const noexcept { return false; }
    template <class Handler>
    void async_fetch(request const&, Handler h) const {
        h(error::no_fresh_request, request{});
    }
};

static_assert(request_source<no_source>);

} // namespace cleave
