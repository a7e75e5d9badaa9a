// SPDX-License-Identifier: BSL-1.0
#include <support/catch.hpp>

#include <cleave/ota/error.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <system_error>

using cleave::update_error;
using cleave::update_stage;
using cleave::update_step;

namespace {

constexpr update_error all[]{
    update_error::no_module,
    update_error::no_version,
    update_error::name_too_long,
    update_error::no_file,
    update_error::file_without_size,
    update_error::digest_missing,
    update_error::digest_method_unknown,
    update_error::digest_wrong_length,
    update_error::digest_not_hexadecimal,
    update_error::firmware_changed,
    update_error::size_differs,
    update_error::update_closed,
    update_error::platform_silent,
    update_error::version_wrong,
    update_error::version_unchanged,
    update_error::version_not_reported,
    update_error::deadline_missed,
    update_error::flash_too_small,
    update_error::flash_misaligned,
    update_error::restart_needed,
    update_error::firmware_needed,
    update_error::no_update,
};

} // namespace

TEST_CASE("each error of an update says what happened, and what to do") {
    std::set<std::string> seen;
    for (update_error const e : all) {
        std::error_code const ec = e;
        CAPTURE(ec.message());
        CHECK(ec);
        CHECK(std::string{ec.category().name()} == "cleave.update");
        auto const semicolon = ec.message().find("; ");
        auto const comma = ec.message().find(", ");
        CHECK(std::min(semicolon, comma) != std::string::npos);
        CHECK(seen.insert(ec.message()).second);
    }
    CHECK(std::error_code{1, cleave::update_category()}.message() == "unknown error");
}

TEST_CASE("an error of an update has a cause") {
    CHECK(std::error_code{update_error::no_file} == cleave::cause::configuration);
    CHECK(std::error_code{update_error::flash_too_small} == cleave::cause::storage);
    CHECK(std::error_code{update_error::size_differs} == cleave::cause::identity_changed);
    CHECK(std::error_code{update_error::version_not_reported} == cleave::cause::passing);
    CHECK(std::error_code{update_error::platform_silent} == cleave::cause::passing);
    CHECK(std::error_code{update_error::update_closed} == cleave::cause::permanent);
    CHECK(std::error_code{update_error::deadline_missed} == cleave::cause::permanent);
    CHECK(std::error_code{update_error::deadline_missed} != cleave::cause::passing);
}

TEST_CASE("stages are in the order in which an update goes through them") {
    std::string order;
    for (int i = 0; i != 7; ++i) order += std::string{to_string(update_stage(i))} + " ";
    CHECK(order == "idle told downloading verified installed confirmed reported ");
    CHECK(to_string(update_stage{99}) == std::string{"unknown"});
    std::string steps;
    for (int i = 0; i != 4; ++i) steps += std::string{to_string(update_step(i))} + " ";
    CHECK(steps == "upgrade download verification install ");
    CHECK(to_string(update_step{99}) == std::string{"unknown"});
}
