// SPDX-License-Identifier: BSL-1.0
//
// The thread that does blocking work, as an execution context has it.

#include <support/catch.hpp>

#include <cleave/driver/background.hpp>

#include <asio/execution_context.hpp>

#include <future>
#include <memory>
#include <thread>

namespace {

struct context : asio::execution_context {
    using asio::execution_context::shutdown;
    [[nodiscard]] auto& background() {
        return asio::use_service<cleave::detail::background_service>(*this);
    }
};

} // namespace

TEST_CASE("work is done on a thread of its own") {
    context c;
    std::promise<std::thread::id> told;
    c.background().post([&] { told.set_value(std::this_thread::get_id()); });
    CHECK(told.get_future().get() != std::this_thread::get_id());
}

TEST_CASE("a context may shut down more than once, and takes no more work then") {
    // As io_context does, from Asio 1.28 on.
    context c;
    std::promise<void> done;
    c.background().post([&] { done.set_value(); });
    done.get_future().wait();
    c.shutdown();
    c.shutdown();
    auto const owned = std::make_shared<int>(1);
    c.background().post([owned] { FAIL("nobody is there to do it"); });
    CHECK(owned.use_count() == 1);
}
