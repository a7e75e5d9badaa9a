// SPDX-License-Identifier: BSL-1.0
//
// Where a fresh request comes from when the present one has expired: a signed URL, a token. It
// knows nothing of lanes or bytes; what it fetches is asked for once, for all lanes.
#pragma once

#include <cleave/base/request.hpp>

#include <concepts>
#include <system_error>

namespace cleave {

namespace detail {
// Stands for any completion handler of the form void(std::error_code, request).
struct any_fetched {
    void operator()(std::error_code, request) const {}
};
} // namespace detail

/// A request source `s`. Of a fresh request only the target, the headers and `valid_for` are used;
/// everything else stays as the caller wanted it.
///
/// | expression             | meaning                                                         |
/// |------------------------|-----------------------------------------------------------------|
/// | `s.available()`        | const: whether it can be asked at all, `bool`; `noexcept`       |
/// | `s.async_fetch(r, h)`  | fetches a fresh request for the object of `r`, the one in use,  |
/// |                        | without blocking; calls `h(ec, fresh)` once, from any thread,   |
/// |                        | perhaps before it returns                                       |
///
/// Laws:
/// 1. `available()` is the same at every call.
/// 2. The fresh request is for the same object. That is checked (size, validator, a sample of the
///    bytes); another one ends the download with `error::object_changed` or its like.
///
/// `h` is copyable, and may be called after the download has ended: then it does nothing. An error
/// of the source ends the download with that code. Called on the download's strand, never twice at
/// once. Models: `no_source`, `callback_source`, `blocking_source`.
template <class S>
concept request_source =
    std::move_constructible<S> && requires(S& s, S const& c, request const& old) {
        { c.available() } noexcept -> std::same_as<bool>;
        s.async_fetch(old, detail::any_fetched{});
    };

} // namespace cleave
