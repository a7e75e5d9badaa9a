// SPDX-License-Identifier: BSL-1.0
//
// A fresh request from a function of the caller's that blocks. It runs on a thread of its own, so
// that no lane waits for it.
#pragma once

#include <cleave/base/exception.hpp>
#include <cleave/base/request.hpp>
#include <cleave/source/concept.hpp>

#include <memory>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

namespace cleave {

/// Calls `f(old, ec)` on a thread of its own, where `old` is the request in use, `request const&`,
/// and `ec` a `std::error_code&` in which it says why there is no fresh one; it answers with a
/// `request`.
///
///     cleave::blocking_source sign([](cleave::request const&, std::error_code& ec) {
///         return cleave::request{ask_for_url(ec)};
///     });
///
/// Nothing ends `f` but itself: a download that is cancelled, or whose deadline comes, leaves it
/// running. So `f` should have a timeout of its own. An exception of `f` ends the download with
/// its code, `errc::not_enough_memory` or `errc::state_not_recoverable`.
template <class F>
    requires std::is_invocable_r_v<request, F&, request const&, std::error_code&>
class blocking_source {
  public:
    explicit blocking_source(F f) : f_(std::make_shared<F>(std::move(f))) {}

    [[nodiscard]] constexpr bool available() const noexcept { return true; }
    template <class Handler>
    void async_fetch(request const& old, Handler h) {
        try {
            std::thread{[f = f_, old, h]() mutable {
                std::error_code ec;
                request fresh;
                try {
                    fresh = (*f)(std::as_const(old), ec);
                } catch (...) {
                    ec = detail::code_of_exception();
                }
                // The download may end with the call, and nothing of the caller's must be left.
                f.reset();
                h(ec, std::move(fresh));
            }}.detach();
        } catch (...) {
            h(detail::code_of_exception(), request{}); // there is no thread to be had
        }
    }

  private:
    std::shared_ptr<F> f_;
};

template <class F>
blocking_source(F) -> blocking_source<F>;

static_assert(request_source<
              blocking_source<decltype([](request const& old, std::error_code&) { return old; })>>);

} // namespace cleave
