// SPDX-License-Identifier: BSL-1.0
//
// The C++ of the README and of docs/using.md, compiled and run. Each line of their blocks stands
// here, in order; the first test holds them together, and those of each page in docs/ with
// what that page says it is compiled in:
//
//     <!-- compiled in tests/testing/page_code.cpp -->
#include <support/catch.hpp>

#include <cleave/cleave.hpp>
#include <cleave/download.hpp>

#include <support/fault_server.hpp>
#include <support/temp_dir.hpp>

#include <asio.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <span>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;

namespace readme_first {
int main() {
    cleave::download("http://example.org/model.bin", "model.bin"); // throws download_error
    return 0;
}
} // namespace readme_first

// clang-format off
using namespace cleave::literals;

namespace {

using bytes_written = std::vector<std::byte>;

void in_order(std::string const& url, bytes_written& to) {
    auto const write = [&](std::span<std::byte const> chunk, std::error_code&) {
        to.insert(to.end(), chunk.begin(), chunk.end());
    };
std::array<std::byte, 2048> buffer;
auto flash = [&](std::span<std::byte const> chunk, std::error_code& ec) { write(chunk, ec); };
cleave::download(url, cleave::ordered_sink{buffer, 2048, flash}, cleave::policies<>{});
}

void renewed(std::string const& url, std::string const& path, std::string const& other) {
    auto const ask_for_url = [&](std::error_code&) { return other; };
cleave::blocking_source sign([=](cleave::request const&, std::error_code& ec) {
    return cleave::request{ask_for_url(ec)};
});
cleave::download(url, path, cleave::policies<>{}.with_source(sign));
}

[[maybe_unused]] void secured(std::string const& url, std::string const& path, std::string ca) {
auto secure = cleave::tls_connector{{.ca_file = ca}}.via(cleave::http_proxies::from_environment());
cleave::download(url, path, cleave::policies<>{}.with_connector(secure));
}

[[maybe_unused]] void mirrored(std::string const& url, std::string const& mirror,
                               std::string const& path, std::string const& user,
                               std::string const& password, std::string const& digest) {
auto what = cleave::request{url}.with_mirror(mirror).with_credentials(user, password);
cleave::download(what, path, cleave::policies<>{}.with_verify(cleave::sha256(digest)));
}

std::error_code steered(std::string const& url, bytes_written& to) {
cleave::control steer;
cleave::session shared{5_MB};
auto how = shared.policies().with_control(steer);
steer.pause();
steer.resume();
steer.rate(1_MB);
steer.cancel();
    std::error_code ec;
    (void)cleave::download(url, cleave::memory_sink{to}, std::move(how), ec);
    return ec;
}

std::uint64_t walk(std::uint64_t size) {
    std::uint64_t sum = 0;
    auto use = [&](std::uint64_t first, std::uint64_t last) { sum += last - first + 1; };
for (cleave::segment s : cleave::plan(cleave::even_split{8}, size)) use(s.first, s.last);
    return sum;
}

constexpr cleave::segment list[]{{0, 1024}, {1025, 2048}};
static_assert(!cleave::find_list_fault(list)); // no gap, no overlap, in order

} // namespace

namespace readme_policy {

struct end_first {
    std::uint64_t tail = 64 * 1024;

    cleave::segment next(cleave::segment gap, cleave::plan_state const&) const noexcept {
        if (gap.size() <= tail) return gap;
        return {gap.last - tail + 1, gap.last};
    }
};
static_assert(cleave::range_planner<end_first>);

auto how = cleave::policies<>{}.with_plan(end_first{});

} // namespace readme_policy

using namespace std::chrono_literals;
using namespace cleave::literals;

asio::awaitable<void> fetch(std::string url, std::string digest) {
    auto how = cleave::policies<>{}
                   .with_lanes(cleave::adaptive_lanes{})
                   .with_pace(cleave::token_bucket{20_MB})
                   .with_connector(cleave::tls_connector{}) // https, and http
                   .with_verify(cleave::sha256(digest))
                   .with_observer(cleave::on_progress(250ms, [](cleave::progress const& p) {
                       std::cerr << p.percent() << " %, " << p.rate << " bytes a second\n";
                   }));
    cleave::report report = co_await cleave::async_download(
        co_await asio::this_coro::executor, url, cleave::file_sink{"model.bin"}, std::move(how),
        asio::use_awaitable);
    std::cerr << report.bytes << " bytes over " << report.lanes << " lanes\n";
}

namespace {

struct by_hour {
    cleave::token_bucket day{200'000};

    cleave::pace_answer take(std::uint64_t n, std::chrono::nanoseconds now) noexcept {
        std::time_t const t = std::time(nullptr);
        std::tm local{};
        localtime_r(&t, &local);
        return local.tm_hour >= 8 && local.tm_hour < 18 ? day.take(n, now) : cleave::pace_answer{n};
    }
    void give_back(std::uint64_t n) noexcept { day.give_back(n); }
};
static_assert(cleave::byte_pacer<by_hour>);
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

namespace {

std::string const compiled_in = "<!-- compiled in ";

// Demands that each line of a page's C++ stands in a source file, in order, but for includes and
// lines of a brace alone; and that the page says in which, where it is not `source`. Answers with
// how many were compared.
std::size_t compare_code(std::string const& page, std::string source = {}) {
    std::vector<std::string> here;
    if (!source.empty()) here = lines_of(source);
    auto at = here.begin();
    bool in_block = false;
    std::size_t compared = 0;
    for (std::string const& line : lines_of(page)) {
        if (line.starts_with(compiled_in)) {
            source = line.substr(compiled_in.size());
            source.resize(source.find(" -->"));
            here = lines_of(source);
            at = here.begin();
            continue;
        }
        if (line.starts_with("```")) {
            in_block = line == "```cpp";
            continue;
        }
        if (!in_block || line.empty() || line == "}" || line.starts_with("#include")) continue;
        CAPTURE(page, line, source);
        at = std::find(at, here.end(), line);
        REQUIRE(at != here.end());
        ++at;
        ++compared;
    }
    return compared;
}

} // namespace

TEST_CASE("every line of the README's C++ stands in this file, in order") {
    CHECK(compare_code("README.md", "tests/house/readme_code.cpp") > 20);
}

TEST_CASE("the README is short, and shows code at once") {
    auto const lines = lines_of("README.md");
    CHECK(lines.size() <= 180);
    CHECK(std::ranges::find(lines, "```cpp") < lines.begin() + 20);
}

TEST_CASE("every line of a page's C++ stands in the source that the page names, in order") {
    std::size_t pages = 0;
    for (auto const& entry :
         std::filesystem::directory_iterator{std::filesystem::path{CLEAVE_SOURCE_DIR} / "docs"}) {
        if (entry.path().extension() == ".md" &&
            compare_code("docs/" + entry.path().filename().string()) != 0)
            ++pages;
    }
    CHECK(pages > 5);
}

TEST_CASE("the README's loop visits every byte once") {
    CHECK(walk(1000003) == 1000003);
    CHECK(walk(0) == 0);
}

TEST_CASE("the README's buffer is called each time it is full") {
    object const o = object::random(100'001, 1);
    fault_server server{honest(o)};
    bytes_written got;
    in_order(server.url("/r"), got);
    CHECK(std::ranges::equal(got, std::as_bytes(std::span{o.bytes})));
}

TEST_CASE("the README's expired URL is renewed") {
    object const o = object::random(100'000, 9);
    fault_server server{[rest = honest(o)](fault_connection& c, seen_request const& r) {
        if (r.target == "/fresh") return rest(c, r);
        c.send(reply(403, "Forbidden"));
    }};
    temp_dir const dir;
    std::string const path = (dir / "model.bin").string();
    renewed(server.url("/expired"), path, server.url("/fresh"));
    CHECK(read_file(path) == o.bytes);
}

TEST_CASE("the README's download is cancelled") {
    object const o = object::random(100'001, 2);
    fault_server server{honest(o)};
    bytes_written got;
    CHECK(steered(server.url("/r"), got) == cleave::error::cancelled);
}

TEST_CASE("under the README's planner a silent lane is helped") {
    object const o = object::random(4'000'000, 3);
    std::atomic<int> silent{1};
    auto const honestly = honest(o);
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        // The first who asks for the object's middle gets some of it, and then nothing more.
        auto const range = r.range().value();
        if (range.first < 1'000'000 || range.second > 3'900'000 || silent-- <= 0)
            return honestly(c, r);
        c.send(honest_206_head(o, range.first, range.second));
        c.send_body(body(o, range.first, range.first + 10'000));
        c.wait_for_peer_close();
    }};
    bytes_written got;
    auto const report =
        cleave::download(server.url("/r"), cleave::memory_sink{got},
                         cleave::policies<>{}.with_plan(readme_policy::end_first{}));
    CHECK(std::ranges::equal(got, std::as_bytes(std::span{o.bytes})));
    CHECK(report.steals + report.hedges_won > 0);
    CHECK(report.retries == 0);
}

TEST_CASE("the README's pacer lets everything through at night, and a rate by day") {
    by_hour pacer;
    auto const answer = pacer.take(1'000'000, 1s);
    CHECK(answer.bytes > 0);
    pacer.give_back(answer.bytes);
}

TEST_CASE("the README's planner tiles any object") {
    for (std::uint64_t const size : {1U, 65535U, 65536U, 65537U, 1000000U}) {
        cleave::segment_set owed{cleave::segment{0, size - 1}};
        while (!owed.empty()) {
            auto const next =
                readme_policy::how.plan.next(owed.front(), {{0, size - 1}, owed.bytes(), 8});
            REQUIRE(owed.erase(next) == next.size());
        }
    }
}
