// SPDX-License-Identifier: BSL-1.0
//
// A coroutine as the consumer of an ordered_sink. Only where Asio has coroutines; empty elsewhere.
#pragma once

#include <cleave/base/exception.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/sink/ordered_sink.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>

#include <cstddef>
#include <exception>
#include <span>
#include <system_error>
#include <utility>

#if defined(ASIO_HAS_CO_AWAIT)

namespace cleave {

/// Runs `f`, an `asio::awaitable<void>(std::span<std::byte const>)`, on `Executor` for each chunk,
/// one after the other. The bytes are there until it ends; what it throws ends the download.
///
///     cleave::ordered_sink sink{storage, chunk, cleave::coroutine_consumer{executor, f}};
///
/// The executor's context must run as long as the download. One that the download uses too is not
/// blocked: it waits without a thread.
template <class Executor, class F>
class coroutine_consumer {
  public:
    coroutine_consumer(Executor executor, F f) : executor_(std::move(executor)), f_(std::move(f)) {}

    void operator()(std::span<std::byte const> bytes, chunk_done done) {
        // Within the coroutine, so that what `f` throws before its first wait is caught there too.
        asio::co_spawn(
            executor_, [this, bytes] { return f_(bytes); },
            [done = std::move(done)](std::exception_ptr thrown) mutable { done(code_of(thrown)); });
    }

  private:
    [[nodiscard]] static std::error_code code_of(std::exception_ptr const& thrown) {
        if (!thrown) return {};
        try {
            std::rethrow_exception(thrown);
        } catch (...) {
            return detail::code_of_exception();
        }
    }

    Executor executor_;
    F f_;
};

static_assert(byte_sink<ordered_sink<coroutine_consumer<
                  asio::any_io_executor, asio::awaitable<void> (*)(std::span<std::byte const>)>>>);

} // namespace cleave

#endif
