// SPDX-License-Identifier: BSL-1.0
//
// The version is written twice in its header, as numbers and as text: they must agree.

#include <cleave/base/version.hpp>

#include <support/catch.hpp>

#include <string>

TEST_CASE("the version's text is made of its numbers") {
    CHECK(cleave::version_string == std::to_string(cleave::version_major) + "." +
                                        std::to_string(cleave::version_minor) + "." +
                                        std::to_string(cleave::version_patch));
}
