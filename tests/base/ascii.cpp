// SPDX-License-Identifier: BSL-1.0
//
// Letters and digits, of all the bytes that there are.

#include <cleave/base/ascii.hpp>

#include <support/catch.hpp>

#include <string_view>

using namespace cleave::detail;

TEST_CASE("letters and digits are those of ASCII, and no other bytes") {
    constexpr std::string_view small = "abcdefghijklmnopqrstuvwxyz";
    constexpr std::string_view capital = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    constexpr std::string_view digits = "0123456789";
    constexpr std::string_view hex = "0123456789abcdef0123456789ABCDEF";
    for (int i = -128; i != 128; ++i) {
        auto const c = static_cast<char>(i);
        CAPTURE(i);
        auto const in = [c](std::string_view all) { return all.find(c) != all.npos; };
        CHECK(ascii_is_digit(c) == in(digits));
        CHECK(ascii_is_letter(c) == (in(small) || in(capital)));
        CHECK(ascii_lower(c) == (in(capital) ? small[capital.find(c)] : c));
        CHECK(ascii_hex(c) == (in(hex) ? static_cast<int>(hex.find(c) % 16) : -1));
    }
}
