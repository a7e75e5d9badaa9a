// SPDX-License-Identifier: BSL-1.0
//
// A failure knows its cause, and speaks to people in one line: the particulars first.

#include <cleave/base/failure.hpp>

#include <support/catch.hpp>

#include <cerrno>
#include <set>
#include <string>
#include <system_error>

using cleave::cause;
using cleave::error;
using cleave::failure;
using cleave::phase;

TEST_CASE("a failure of ours has the cause of its error") {
    auto const f = failure::of(error::closed_in_body, phase::body, "at byte 17");
    CHECK(f.code == error::closed_in_body);
    CHECK(f.kind == cause::passing);
    CHECK(f.where == phase::body);
    CHECK(f.status == 0);
    CHECK_FALSE(f.retry_after);
    CHECK(f.detail == "at byte 17");
    CHECK(failure::of(error::bad_url, phase::setup).kind == cause::configuration);
    CHECK(failure::of(error::forbidden, phase::head).kind == cause::renewable);
    CHECK(failure::of(error::cancelled, phase::setup).kind == cause::cancelled);
}

TEST_CASE("a failure that nobody classified is permanent") {
    failure const f;
    CHECK(f.kind == cause::permanent);
    CHECK_FALSE(f.code);
}

TEST_CASE("a failure's line holds the particulars and the remedy") {
    std::string const remedy = std::error_code{error::bad_url}.message();
    CHECK(failure::of(error::bad_url, phase::setup, "at character 5").message() ==
          "at character 5: " + remedy);
    CHECK(failure::of(error::bad_url, phase::setup).message() == remedy);
}

TEST_CASE("every phase has its name") {
    std::set<std::string> names;
    for (auto const p :
         {phase::setup, phase::connect, phase::head, phase::body, phase::sink, phase::verify}) {
        CHECK(to_string(p) != std::string{"unknown"});
        CHECK(names.insert(to_string(p)).second);
    }
    CHECK(to_string(static_cast<phase>(99)) == std::string{"unknown"});
}

TEST_CASE("codes of others come with a remedy of ours") {
    auto const system = [](std::errc code, phase where) {
        failure f;
        f.code = std::make_error_code(code);
        f.where = where;
        return f;
    };
    auto const full = system(std::errc::no_space_on_device, phase::sink);
    CHECK(full.message() == full.code.message() + "; " + full.remedy());
    CHECK(std::string{full.remedy()}.find("make room") != std::string::npos);

    // A quota is no full disk; std::errc has no name for it.
    for (auto const* category : {&std::generic_category(), &std::system_category()}) {
        failure quota;
        quota.code = {EDQUOT, *category};
        quota.where = phase::sink;
        CHECK(std::string{quota.remedy()}.find("quota") != std::string::npos);
        CHECK(std::string{quota.remedy()} != full.remedy());
    }
    failure ours;
    ours.code = {EDQUOT, cleave::error_category()};
    CHECK(std::string{ours.remedy()}.find("quota") == std::string::npos);

    failure said = system(std::errc::connection_refused, phase::connect);
    said.detail = "connecting to localhost:1";
    CHECK(said.message() ==
          "connecting to localhost:1: " + said.code.message() + "; " + said.remedy());
    CHECK(std::string{said.remedy()}.find("host and port") != std::string::npos);

    // The same code asks for something else at another place.
    std::set<std::string> remedies;
    for (auto const where : {phase::setup, phase::connect, phase::body, phase::sink, phase::verify})
        remedies.insert(system(std::errc::io_error, where).remedy());
    CHECK(remedies.size() == 5);
    CHECK(system(std::errc::permission_denied, phase::sink).remedy() !=
          std::string{system(std::errc::permission_denied, phase::connect).remedy()});
    CHECK(system(std::errc::no_such_file_or_directory, phase::sink).remedy() !=
          std::string{system(std::errc::no_such_file_or_directory, phase::connect).remedy()});
    for (auto const code : {std::errc::read_only_file_system, std::errc::file_too_large,
                            std::errc::operation_not_permitted})
        CHECK(remedies.count(system(code, phase::sink).remedy()) == 0);
}
