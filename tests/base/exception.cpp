// SPDX-License-Identifier: BSL-1.0
//
// An exception of somebody else's code as an error code, and never as none; or dropped.
#include <cleave/base/exception.hpp>

#include <support/catch.hpp>

#include <new>
#include <stdexcept>
#include <system_error>

namespace {

template <class Exception>
std::error_code code_of(Exception const& e) {
    try {
        throw e;
    } catch (...) {
        return cleave::detail::code_of_exception();
    }
}

} // namespace

TEST_CASE("an exception has a code") {
    auto const denied = std::make_error_code(std::errc::permission_denied);
    CHECK(code_of(std::system_error{denied}) == denied);
    CHECK(code_of(std::bad_alloc{}) == std::errc::not_enough_memory);
    CHECK(code_of(std::runtime_error{"x"}) == std::errc::state_not_recoverable);
    CHECK(code_of(42) == std::errc::state_not_recoverable);
    // No error that is thrown is an error all the same.
    CHECK(code_of(std::system_error{std::error_code{}}) == std::errc::state_not_recoverable);
}

TEST_CASE("what is thrown is dropped, and nothing else") {
    int calls = 0;
    cleave::detail::call_onlooker([&] {
        ++calls;
        throw std::bad_alloc{};
    });
    cleave::detail::call_onlooker([&] { ++calls; });
    CHECK(calls == 2);
}
