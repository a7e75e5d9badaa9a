// SPDX-License-Identifier: BSL-1.0
//
// What the tests of this folder have in common: heads from text.

#pragma once

#include <cleave/http/response_head.hpp>

#include <support/catch.hpp>

#include <string>
#include <string_view>

namespace cleave_test {

/// The head that a text makes, which must be a good one, with the parser in which it lives.
class read_head {
  public:
    explicit read_head(std::string_view text) {
        INFO(text);
        auto const p = parser_.feed(text);
        REQUIRE(p.is == cleave::response_head_parser::progress::state::complete);
        REQUIRE(p.consumed == text.size());
    }
    operator cleave::response_head const&() const { return parser_.head(); }
    cleave::response_head const& operator*() const { return parser_.head(); }

  private:
    cleave::response_head_parser parser_;
};

/// A good HTTP/1.1 head of that status with these field lines, each ending in CRLF.
inline std::string head_text(int status, std::string_view fields) {
    return "HTTP/1.1 " + std::to_string(status) + " x\r\n" + std::string(fields) + "\r\n";
}

} // namespace cleave_test
