// SPDX-License-Identifier: BSL-1.0
//
// A fresh request from a function of the caller's that does not block: it starts something, and
// says later what came of it.
#pragma once

#include <cleave/base/exception.hpp>
#include <cleave/base/request.hpp>
#include <cleave/source/concept.hpp>

#include <atomic>
#include <concepts>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>

namespace cleave {

/// Calls `f(old, done)`, where `old` is the request in use, `request const&`, and `done` a
/// `std::function<void(std::error_code, request)>`. `f` must call `done` once: soon or later, from
/// any thread. `old` may go when `f` returns.
///
///     cleave::callback_source sign([&](cleave::request const& old, auto done) {
///         api.async_sign(old.target, [done](std::error_code ec, std::string url) {
///             done(ec, {url});
///         });
///     });
///
/// An exception of `f` ends the download with its code, `errc::not_enough_memory` or
/// `errc::state_not_recoverable`. A second call of `done` is ignored; without one the download
/// waits until it is cancelled or its deadline comes.
template <std::invocable<request const&, std::function<void(std::error_code, request)>> F>
class callback_source {
  public:
    explicit callback_source(F f) : f_(std::move(f)) {}

    [[nodiscard]] constexpr bool available() const noexcept { return true; }
    template <class Handler>
    void async_fetch(request const& old, Handler h) {
        std::shared_ptr<std::atomic_flag> called;
        try {
            called = std::make_shared<std::atomic_flag>();
            std::function<void(std::error_code, request)> done =
                [called, h](std::error_code ec, request fresh) mutable {
                    if (!called->test_and_set()) h(ec, std::move(fresh));
                };
            f_(old, std::move(done));
        } catch (...) {
            if (!called || !called->test_and_set()) h(detail::code_of_exception(), request{});
        }
    }

  private:
    F f_;
};

template <class F>
callback_source(F) -> callback_source<F>;

static_assert(request_source<callback_source<decltype(
                  [](request const&, std::function<void(std::error_code, request)> const&) {})>>);

} // namespace cleave
