// SPDX-License-Identifier: BSL-1.0
//
// The README's C++, compiled, and run where that needs no server. Each line of the README's blocks
// stands here, in order; the first test holds them together.
#include <support/catch.hpp>

#include <cleave/cleave.hpp>
#include <cleave/download.hpp>

#include <asio.hpp>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace readme_first {
int main() {
    cleave::download("http://example.org/model.bin", "model.bin"); // throws download_error
    return 0;
}
} // namespace readme_first

// clang-format off
using namespace std::chrono_literals;
using namespace cleave::literals;

asio::awaitable<void> fetch(std::string url, std::string digest) {
    auto how = cleave::policies<>{}
                   .with_plan(cleave::fixed_size{8_MiB})
                   .with_lanes(cleave::fixed_lanes{16})
                   .with_verify(cleave::sha256(digest))
                   .with_observer(cleave::on_progress(250ms, [](cleave::progress const& p) {
                       std::cerr << p.percent() << " %\n";
                   }));
    cleave::report report = co_await cleave::async_download(
        co_await asio::this_coro::executor, url, cleave::file_sink{"model.bin"}, std::move(how),
        asio::use_awaitable);
    std::cerr << report.bytes << " bytes over " << report.lanes << " lanes\n";
}

namespace {

std::uint64_t walk(std::uint64_t size) {
    std::uint64_t sum = 0;
    auto use = [&](std::uint64_t first, std::uint64_t last) { sum += last - first + 1; };
for (cleave::segment s : cleave::plan(cleave::even_split{8}, size)) use(s.first, s.last);
    return sum;
}

constexpr cleave::segment list[]{{0, 1024}, {1025, 2048}};
static_assert(!cleave::find_list_fault(list)); // no gap, no overlap, in order

struct end_first {
    std::uint64_t tail = 64 * 1024;

    cleave::segment next(cleave::segment gap, cleave::plan_state const&) const noexcept {
        if (gap.size() <= tail) return gap;
        return {gap.last - tail + 1, gap.last};
    }
};
static_assert(cleave::range_planner<end_first>);

auto how = cleave::policies<>{}.with_plan(end_first{});
// clang-format on

std::string trimmed(std::string line) {
    auto const from = line.find_first_not_of(' ');
    return from == std::string::npos ? "" : line.substr(from);
}

std::vector<std::string> lines_of(std::string const& name) {
    std::ifstream in{std::string{CLEAVE_SOURCE_DIR} + "/" + name};
    REQUIRE(in);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(trimmed(line));
    return lines;
}

} // namespace

TEST_CASE("every line of the README's C++ stands in this file, in order") {
    auto const here = lines_of("tests/house/readme_code.cpp");
    auto at = here.begin();
    bool in_block = false;
    std::size_t compared = 0;
    for (std::string const& line : lines_of("README.md")) {
        if (line.rfind("```", 0) == 0) {
            in_block = line == "```cpp";
            continue;
        }
        if (!in_block || line.empty() || line == "}" || line.rfind("#include", 0) == 0) continue;
        CAPTURE(line);
        at = std::find(at, here.end(), line);
        REQUIRE(at != here.end());
        ++at;
        ++compared;
    }
    CHECK(compared > 25);
}

TEST_CASE("the README's loop visits every byte once") {
    CHECK(walk(1000003) == 1000003);
    CHECK(walk(0) == 0);
}

TEST_CASE("the README's planner tiles any object") {
    for (std::uint64_t const size : {1U, 65535U, 65536U, 65537U, 1000000U}) {
        cleave::segment_set owed{cleave::segment{0, size - 1}};
        while (!owed.empty()) {
            auto const next = how.plan.next(owed.front(), {{0, size - 1}, owed.bytes(), 8});
            REQUIRE(owed.erase(next) == next.size());
        }
    }
}
