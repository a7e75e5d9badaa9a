// SPDX-License-Identifier: BSL-1.0
//
// docs/errors.md from its first group on is what the header says: its numbers, names and groups,
// and the messages and causes that the library answers with. After a change of an error
//
//     build/clang/bin/test_house "[.errors]"
//
// writes the page anew.
#include <support/catch.hpp>

#include <cleave/base/error.hpp>

#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

namespace {

std::string text_of(std::string const& name) {
    std::ifstream in{std::string{CLEAVE_SOURCE_DIR} + "/" + name};
    REQUIRE(in);
    return {std::istreambuf_iterator<char>{in}, {}};
}

// The lines between the braces of an enumeration.
std::vector<std::string> lines_of_enum(std::string const& name) {
    std::string const header = text_of("include/cleave/base/error.hpp");
    auto const from = header.find("enum class " + name + " {\n");
    REQUIRE(from != header.npos);
    std::istringstream in{header.substr(from, header.find("\n};", from) - from)};
    std::vector<std::string> lines;
    std::string line;
    for (std::getline(in, line); std::getline(in, line);) lines.push_back(line);
    return lines;
}

std::string page_of_errors() {
    static std::regex const entry(R"(^ +(\w+)(?: = (\d+))?,(?: +///< (.*))?$)");
    static std::regex const title(R"(^ +// (.*)\.$)");
    std::smatch match;

    std::vector<std::string> causes{"none"};
    std::ostringstream to;
    to << "## Causes\n\n| cause | what it means |\n|---|---|\n";
    for (std::string const& line : lines_of_enum("cause")) {
        REQUIRE(std::regex_match(line, match, entry));
        causes.push_back(match[1]);
        to << "| `" << match[1] << "` | " << match[3] << " |\n";
    }

    int number = 0;
    for (std::string const& line : lines_of_enum("error")) {
        if (std::regex_match(line, match, title)) {
            to << "\n## " << match[1]
               << "\n\n| | error | what happened; what to do | cause |\n|---:|---|---|---|\n";
        } else if (std::regex_match(line, match, entry)) {
            number = match[2].matched ? std::stoi(match[2]) : number + 1;
            std::error_code const ec{number, cleave::error_category()};
            // What stands in angle brackets is no HTML.
            std::string const message = std::regex_replace(ec.message(), std::regex{"<"}, "&lt;");
            to << "| " << number << " | `" << match[1] << "` | " << message << " | `"
               << causes.at(static_cast<std::size_t>(cleave::cause_of(cleave::error{number})))
               << "` |\n";
        } else {
            REQUIRE(line.empty());
        }
    }
    return to.str();
}

std::string const name_of_page = "docs/errors.md";

} // namespace

TEST_CASE("the page of errors has each of them, as the library says it") {
    std::string const page = text_of(name_of_page);
    auto const from = page.find("## ");
    REQUIRE(from != page.npos);
    CHECK(page.substr(from) == page_of_errors());
}

TEST_CASE("writes the page of errors", "[.errors]") {
    std::string const page = text_of(name_of_page);
    std::ofstream{std::string{CLEAVE_SOURCE_DIR} + "/" + name_of_page}
        << page.substr(0, page.find("## ")) << page_of_errors();
}
