// SPDX-License-Identifier: BSL-1.0
//
// The house rules of the include tree. Every folder stands on a floor and includes only from the
// floors below it, so that each part can be read, tested and replaced without those above it.
// The rules are a function over paths and contents; most cases here feed it made-up trees.

#include <support/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <ostream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

// Path below include/, such as "cleave/base/segment.hpp", to what the file holds.
using tree = std::map<std::string, std::string>;

struct breach {
    std::string file;
    int line;
    std::string reason;
};

std::ostream& operator<<(std::ostream& out, breach const& b) {
    return out << b.file << ':' << b.line << ": " << b.reason;
}

// Keyed by folder, or by file name for the headers that lie beside the folders.
std::map<std::string, int> const floors{
    // clang-format off
    {"base", 0},
    {"http", 1}, {"os", 1},
    {"plan", 2}, {"lanes", 2}, {"renew", 2}, {"verify", 2}, {"pace", 2}, {"observe", 2},
    {"connect", 2}, {"sink", 2}, {"journal", 2}, {"source", 2},
    {"engine", 3},
    {"driver", 4}, {"core.hpp", 4},
    {"download.hpp", 5},
    {"ota", 6}, {"testing", 6}, {"cleave.hpp", 6},
    // clang-format on
};
int const policy_floor = 2;

// "cleave/base/segment.hpp" belongs to "base", "cleave/download.hpp" to "download.hpp".
std::string place_of(std::string const& path) {
    auto const rest = path.substr(path.find('/') + 1);
    return rest.substr(0, rest.find('/'));
}

// Why a file at `from` must not include `to`; empty when it may.
std::string objection(std::string const& from, std::string const& to) {
    auto const here = place_of(from);
    auto const there = place_of(to);
    if (!floors.contains(here)) return {}; // reported once, for the file itself
    if (!floors.contains(there)) return "includes from the unknown folder " + there;
    if (here == there) return {};

    int const from_floor = floors.at(here);
    int const to_floor = floors.at(there);
    if (to_floor > from_floor) return here + " includes upward from " + there;
    if (to_floor == from_floor) return here + " includes sideways from " + there;
    if ((here == "engine" || here == "driver") && to_floor == policy_floor &&
        to != "cleave/" + there + "/concept.hpp") {
        return here + " includes a model; of " + there + " it may know only concept.hpp";
    }
    return {};
}

std::vector<breach> check(tree const& headers) {
    static std::regex const include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
    std::vector<breach> found;
    for (auto const& [path, contents] : headers) {
        auto const report = [&, &file = path](int line, std::string reason) {
            found.push_back({file, line, std::move(reason)});
        };
        if (!floors.contains(place_of(path))) {
            report(1, place_of(path) + " has no floor; give it one in tests/house/arrows.cpp");
        }
        if (path.find("/detail/") != path.npos) report(1, "lies in a detail folder");
        if (path.ends_with(".ipp")) report(1, "is an .ipp file");
        if (path.ends_with("_fwd.hpp")) report(1, "is a header of forward declarations");
        if (!contents.starts_with("// SPDX-License-Identifier: BSL-1.0\n")) {
            report(1, "does not begin with the SPDX line");
        }
        if (contents.find("\n#pragma once\n") == contents.npos) report(1, "lacks #pragma once");

        std::istringstream lines(contents);
        std::string line;
        for (int number = 1; std::getline(lines, line); ++number) {
            std::smatch match;
            if (!std::regex_search(line, match, include)) continue;
            if (match[1] == "\"") report(number, "includes with quotes; use <cleave/...>");
            auto const to = match[2].str();
            if (!to.starts_with("cleave/")) continue;
            if (auto const reason = objection(path, to); !reason.empty()) report(number, reason);
        }
    }
    return found;
}

// What a header includes, directly or through another; itself too.
std::set<std::string> reach(tree const& headers, std::string const& from) {
    static std::regex const include(R"(#\s*include\s*<(cleave/[^>]+)>)");
    std::set<std::string> reached;
    std::vector<std::string> open{from};
    while (!open.empty()) {
        auto const path = open.back();
        open.pop_back();
        auto const header = headers.find(path);
        if (header == headers.end() || !reached.insert(path).second) continue;
        auto const& text = header->second;
        for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it) {
            open.push_back((*it)[1].str());
        }
    }
    return reached;
}

// Headers the umbrella leaves out. It is to reach all but ota and testing.
std::vector<breach> check_umbrella(tree const& headers) {
    auto const reached = reach(headers, "cleave/cleave.hpp");
    std::vector<breach> found;
    for (auto const& [path, contents] : headers) {
        auto const place = place_of(path);
        if (place != "ota" && place != "testing" && !reached.contains(path)) {
            found.push_back({path, 1, "is not reached from cleave.hpp"});
        }
    }
    return found;
}

// What of the core is for a system, or of another library: it has the standard library's headers
// and those of processors' instructions.
std::vector<breach> check_core(tree const& headers) {
    static std::regex const include(R"(#\s*include\s*<([^>]+)>)");
    static std::set<std::string> const instructions{"arm_acle.h", "emmintrin.h"};
    std::vector<breach> found;
    for (auto const& path : reach(headers, "cleave/core.hpp")) {
        auto const& text = headers.at(path);
        for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it) {
            auto const to = (*it)[1].str();
            if (to.starts_with("cleave/") || instructions.contains(to)) continue;
            auto const line = std::count(text.begin(), text.begin() + it->position(), '\n') + 1;
            if (to.find_first_of("./") != to.npos || to == "thread" || to == "filesystem")
                found.push_back({path, static_cast<int>(line), "brings " + to + " into the core"});
        }
    }
    return found;
}

tree read_tree() {
    namespace fs = std::filesystem;
    fs::path const root = fs::path(CLEAVE_SOURCE_DIR) / "include";
    tree headers;
    for (auto const& entry : fs::recursive_directory_iterator(root)) {
        if (!entry.is_regular_file()) continue;
        std::ifstream file(entry.path(), std::ios::binary);
        headers[fs::relative(entry.path(), root).generic_string()] = {
            std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }
    return headers;
}

// A header that breaks no rule but those its includes break; these start at line 3.
std::string header(std::string const& includes = "") {
    return "// SPDX-License-Identifier: BSL-1.0\n#pragma once\n" + includes;
}

std::string joined(std::vector<breach> const& breaches) {
    std::ostringstream out;
    for (auto const& b : breaches) out << b << '\n';
    return out.str();
}

void check_one(tree const& headers, std::string const& file, int line, std::string const& part) {
    auto const found = check(headers);
    INFO(joined(found));
    REQUIRE(found.size() == 1);
    CHECK(found[0].file == file);
    CHECK(found[0].line == line);
    CHECK_THAT(found[0].reason, Catch::Contains(part));
}

} // namespace

TEST_CASE("the include tree keeps the house rules") {
    auto const headers = read_tree();
    REQUIRE_FALSE(headers.empty());
    CHECK(joined(check(headers)) == "");
}

TEST_CASE("the umbrella header reaches everything but ota and testing") {
    auto const headers = read_tree();
    if (headers.contains("cleave/cleave.hpp")) CHECK(joined(check_umbrella(headers)) == "");
}

TEST_CASE("the core is of the standard library alone") {
    auto const headers = read_tree();
    CHECK(reach(headers, "cleave/core.hpp").contains("cleave/engine/engine.hpp"));
    CHECK(joined(check_core(headers)) == "");
}

TEST_CASE("nothing of testing is in the single header") {
    std::ifstream file(std::string(CLEAVE_SOURCE_DIR) + "/single_include/cleave/cleave.hpp");
    for (std::string line; std::getline(file, line);) {
        CHECK(line.find("---- cleave/testing/") == line.npos);
        CHECK(line.find("<cleave/testing/") == line.npos);
    }
}

TEST_CASE("a tree that keeps the rules is passed") {
    tree const headers{
        {"cleave/base/a.hpp", header("#include <vector>\n#include <cleave/base/b.hpp>\n")},
        {"cleave/plan/even_split.hpp", header("#include <cleave/plan/concept.hpp>\n")},
        {"cleave/engine/a.hpp", header("#include <cleave/plan/concept.hpp>\n")},
        {"cleave/driver/a.hpp", header("#include <cleave/engine/a.hpp>\n")},
        {"cleave/download.hpp", header("#include <cleave/plan/even_split.hpp>\n")},
        {"cleave/ota/a.hpp", header("#include <cleave/download.hpp>\n")},
        {"cleave/testing/a.hpp", header("#include <cleave/os/concept.hpp>\n")},
        {"cleave/cleave.hpp", header("#include <cleave/download.hpp>\n")},
    };
    CHECK(joined(check(headers)) == "");
}

TEST_CASE("an upward include is reported") {
    check_one({{"cleave/base/a.hpp", header("\n#include <cleave/http/url.hpp>\n")}},
              "cleave/base/a.hpp", 4, "base includes upward from http");
}

TEST_CASE("an include of a double for tests is reported, wherever it stands") {
    for (std::string const place : {"base", "sink", "engine", "driver"}) {
        check_one({{"cleave/" + place + "/a.hpp", header("#include <cleave/testing/a.hpp>\n")}},
                  "cleave/" + place + "/a.hpp", 3, "includes upward from testing");
    }
    for (std::string const place : {"ota/a.hpp", "cleave.hpp"}) {
        check_one({{"cleave/" + place, header("#include <cleave/testing/a.hpp>\n")}},
                  "cleave/" + place, 3, "includes sideways from testing");
    }
}

TEST_CASE("a sideways include is reported") {
    check_one({{"cleave/plan/a.hpp", header("#include <cleave/lanes/concept.hpp>\n")}},
              "cleave/plan/a.hpp", 3, "plan includes sideways from lanes");
    check_one({{"cleave/cleave.hpp", header("#include <cleave/ota/a.hpp>\n")}}, "cleave/cleave.hpp",
              3, "cleave.hpp includes sideways from ota");
}

TEST_CASE("an engine include of a model is reported") {
    check_one({{"cleave/engine/a.hpp", header("#include <cleave/plan/even_split.hpp>\n")}},
              "cleave/engine/a.hpp", 3, "engine includes a model");
}

TEST_CASE("a driver include of a model is reported") {
    check_one({{"cleave/driver/a.hpp", header("  #  include <cleave/sink/file.hpp>\n")}},
              "cleave/driver/a.hpp", 3, "driver includes a model");
}

TEST_CASE("an unknown folder is reported") {
    check_one({{"cleave/base/a.hpp", header("#include <cleave/util/a.hpp>\n")}},
              "cleave/base/a.hpp", 3, "unknown folder util");
    check_one({{"cleave/util/a.hpp", header()}}, "cleave/util/a.hpp", 1, "util has no floor");
    check_one({{"cleave/helpers.hpp", header()}}, "cleave/helpers.hpp", 1, "has no floor");
}

TEST_CASE("an include with quotes is reported") {
    check_one({{"cleave/base/a.hpp", header("#include \"b.hpp\"\n")}}, "cleave/base/a.hpp", 3,
              "quotes");
}

TEST_CASE("files of a kind the house does not keep are reported") {
    check_one({{"cleave/base/detail/a.hpp", header()}}, "cleave/base/detail/a.hpp", 1, "detail");
    check_one({{"cleave/base/a.ipp", header()}}, "cleave/base/a.ipp", 1, ".ipp");
    check_one({{"cleave/base/a_fwd.hpp", header()}}, "cleave/base/a_fwd.hpp", 1, "forward");
}

TEST_CASE("a header without its first lines is reported") {
    check_one({{"cleave/base/a.hpp", "// SPDX-License-Identifier: BSL-1.0\n"}}, "cleave/base/a.hpp",
              1, "#pragma once");
    check_one({{"cleave/base/a.hpp", "\n#pragma once\n"}}, "cleave/base/a.hpp", 1, "SPDX");
}

TEST_CASE("a header the umbrella forgets is reported") {
    tree const headers{
        {"cleave/cleave.hpp", header("#include <cleave/base/a.hpp>\n")},
        {"cleave/base/a.hpp", header("#include <cleave/base/b.hpp>\n")},
        {"cleave/base/b.hpp", header()},
        {"cleave/base/c.hpp", header()},
        {"cleave/ota/a.hpp", header()},
        {"cleave/testing/a.hpp", header()},
    };
    CHECK(joined(check_umbrella(headers)) ==
          "cleave/base/c.hpp:1: is not reached from cleave.hpp\n");
}

TEST_CASE("what does not belong into the core is reported") {
    tree const headers{
        {"cleave/core.hpp", header("#include <cleave/base/a.hpp>\n")},
        {"cleave/base/a.hpp", header("#include <array>\n#include <asio/post.hpp>\n")},
        {"cleave/base/b.hpp", header("#include <unistd.h>\n")},
    };
    CHECK(joined(check_core(headers)) ==
          "cleave/base/a.hpp:4: brings asio/post.hpp into the core\n");
}
