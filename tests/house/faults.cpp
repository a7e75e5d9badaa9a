// SPDX-License-Identifier: BSL-1.0
//
// The table of faults, tests/FAULTS.md, says which test is for which row: it must be there, and
// speak of it.

#include <support/catch.hpp>

#include <support/temp_dir.hpp>

#include <filesystem>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

using cleave_test::read_file;

TEST_CASE("every row of the table of faults has a test that names it") {
    std::filesystem::path const tests = std::filesystem::path{CLEAVE_SOURCE_DIR} / "tests";
    std::istringstream table{read_file(tests / "FAULTS.md")};
    std::regex const row{R"(\| ([A-L]\d\d) \|.*\| ([^|]+) \|)"};
    std::regex const file{R"([a-z_/]+\.cpp)"};
    std::map<char, int> rows;
    for (std::string line; std::getline(table, line);) {
        std::smatch parts;
        if (!std::regex_match(line, parts, row)) continue;
        std::string const id = parts[1];
        std::string const files = parts[2];
        ++rows[id[0]];
        std::sregex_iterator at{files.begin(), files.end(), file};
        CAPTURE(id, files);
        CHECK(at != std::sregex_iterator{});
        for (; at != std::sregex_iterator{}; ++at) {
            std::string const name = at->str();
            CAPTURE(name);
            REQUIRE(std::filesystem::exists(tests / name));
            CHECK(read_file(tests / name).find(id) != std::string::npos);
        }
    }
    CHECK(rows == std::map<char, int>{{'A', 20},
                                      {'B', 8},
                                      {'C', 15},
                                      {'D', 14},
                                      {'E', 16},
                                      {'F', 9},
                                      {'G', 8},
                                      {'H', 5},
                                      {'I', 8},
                                      {'J', 9},
                                      {'K', 12},
                                      {'L', 4}});
}
