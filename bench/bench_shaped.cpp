// SPDX-License-Identifier: BSL-1.0
//
// Eight lanes against servers that are slow in six ways: how much longer than ideal a download
// takes, and how many bytes the server sends twice for it. With `--peers` also of other programs,
// where they are installed.

#include "child.hpp"
#include "options.hpp"
#include "shaped_server.hpp"
#include "table.hpp"

#include "support/free_port.hpp"
#include "support/temp_dir.hpp"

#include <cleave/download.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using cleave_bench::child;
using cleave_bench::child_end;
using cleave_bench::explain;
using cleave_bench::link;
using cleave_bench::server_counts;
using cleave_bench::shape;
using cleave_bench::shaped_server;
using cleave_bench::table;
using cleave_bench::text;
using std::chrono::steady_clock;

constexpr std::uint64_t object_size = 64'000'000;
constexpr std::uint64_t MB = 1'000'000;
constexpr std::uint64_t kB = 1'000;
constexpr std::size_t lanes = 8;
constexpr double twice_goal = 5; // per cent of the object
constexpr std::chrono::seconds time_limit{60};

struct options {
    std::size_t scenario = 0; // 0 is all of them
    std::size_t runs = 3;
    std::size_t serve = 0; // 0 serves none
    bool peers = false;
    bool markdown = false;
    bool strict = false;
};

// --- the scenarios -------------------------------------------------------------------------------

struct scenario {
    char const* name;
    double goal;             // wall time divided by the ideal
    std::uint64_t live_rate; // bytes a second of all connections that are alive, together
    shape how;

    double ideal() const {
        std::chrono::duration<double> const opening = 2 * how.round_trip;
        return opening.count() + static_cast<double>(object_size) / static_cast<double>(live_rate);
    }
};

constexpr char const* formula =
    "ideal = connect + one request + bytes / sum of the live connections' rates, where connecting\n"
    "and asking take a round trip each: 100 ms in scenario 4, nothing to speak of in the others.";

std::vector<scenario> scenarios() {
    constexpr std::uint64_t each = 8 * MB;
    static constexpr std::array<std::uint64_t, lanes> rates{1 * MB,  2 * MB, 4 * MB, 8 * MB,
                                                            16 * MB, 1 * MB, 2 * MB, 4 * MB};
    std::uint64_t sum = 0;
    for (std::uint64_t const r : rates) sum += r;

    auto const all_alike = [](auto, auto) { return link{each}; };
    auto const third_slow = [](std::size_t nth, auto) { return link{nth == 3 ? 50 * kB : each}; };
    auto const by_slot = [](auto, std::size_t slot) { return link{rates[slot % lanes]}; };
    auto const cut = [](auto, auto) { return link{each, 2 * MB}; };
    auto const third_dies = [](std::size_t nth, auto) {
        return nth == 3 ? link{each, 100 * kB, true} : link{each};
    };
    return {
        {"1 capped at 8 MB/s each", 1.03, lanes * each, {.link_of = all_alike}},
        {"2 third at 50 kB/s", 1.10, (lanes - 1) * each + 50 * kB, {.link_of = third_slow}},
        {"3 1 2 4 8 16 1 2 4 MB/s", 1.10, sum, {.link_of = by_slot}},
        {"4 100 ms a round trip", 1.10, lanes * each, {.link_of = all_alike, .round_trip = 100ms}},
        {"5 closed after 2 MB each", 1.03, lanes * each, {.link_of = cut}},
        {"6 third silent after 100 kB", 1.15, (lanes - 1) * each, {.link_of = third_dies}},
    };
}

// --- one run -------------------------------------------------------------------------------------

enum class result {
    never,  // not done within the time limit
    failed, // it says so itself
    wrong,  // it says that it is done, and the bytes are not the object's
    right
};

char const* to_string(result r) {
    switch (r) {
    case result::never: return "NEVER";
    case result::failed: return "FAILED";
    case result::wrong: return "WRONG";
    case result::right: return "right";
    }
    return "";
}

/// What a client says of its download.
struct outcome {
    result is = result::failed;
    double wall = 0; // seconds, as cpu
    double cpu = 0;
    std::uint64_t hedges = 0;
    std::uint64_t hedges_won = 0;
    std::uint64_t steals = 0;
    std::array<char, 160> error{}; // why it failed
};

/// Cleave as it comes, into memory. The memory is there before the clock starts, and its bytes are
/// looked at after it has stopped.
outcome download_with_cleave(std::string const& url) {
    std::vector<std::byte> memory(object_size);
    outcome o;
    std::error_code ec;
    double const cpu = cleave_bench::cpu_so_far();
    auto const begin = steady_clock::now();
    cleave::report const r =
        cleave::download(url, cleave::memory_sink{std::span{memory}}, cleave::policies<>{}, ec);
    o.wall = std::chrono::duration<double>{steady_clock::now() - begin}.count();
    o.cpu = cleave_bench::cpu_so_far() - cpu;
    o.hedges = r.hedges;
    o.hedges_won = r.hedges_won;
    o.steals = r.steals;
    if (r.failed)
        explain(o, r.failed->message());
    else if (ec)
        explain(o, ec.message());
    else if (r.bytes != object_size || !cleave_bench::is_object(0, memory))
        o.is = result::wrong;
    else
        o.is = result::right;
    return o;
}

struct run {
    outcome client;
    server_counts server;

    /// Body bytes beyond the object's own, in per cent of it.
    double twice() const {
        double const sent = static_cast<double>(server.body_bytes);
        return std::max(0.0, 100 * (sent / static_cast<double>(object_size) - 1));
    }
};

run run_cleave(scenario const& s) {
    shaped_server server{s.how, object_size};
    child client{[&](int to) { return cleave_bench::say(to, download_with_cleave(server.url())); }};
    bool const ended = server.serve(client.fd(), time_limit);
    if (!ended) client.kill();
    child_end const e = client.wait();
    run r;
    r.server = server.counts();
    if (auto const said = cleave_bench::heard<outcome>(e))
        r.client = *said;
    else if (ended)
        explain(r.client, "the client died");
    else
        r.client.is = result::never;
    return r;
}

// --- other programs ------------------------------------------------------------------------------

struct peer {
    char const* name;
    std::vector<std::string> (*command)(std::string const& url, std::string const& path);
};

constexpr peer peers[] = {
    {"aria2c",
     [](std::string const& url, std::string const& path) -> std::vector<std::string> {
         std::filesystem::path const p{path};
         return {"aria2c",
                 "--no-conf",
                 "-q",
                 "-x8",
                 "-s8",
                 "-k1M",
                 "--file-allocation=none",
                 "-d",
                 p.parent_path().string(),
                 "-o",
                 p.filename().string(),
                 url};
     }},
    {"axel",
     [](std::string const& url, std::string const& path) -> std::vector<std::string> {
         return {"axel", "-q", "-n8", "-o", path, url};
     }},
    {"lftp",
     [](std::string const& url, std::string const& path) -> std::vector<std::string> {
         return {"lftp", "--norc", "-c", "pget -n 8 " + url + " -o " + path};
     }},
};

bool file_is_object(std::string const& path) {
    std::ifstream file{path, std::ios::binary};
    std::vector<char> buffer(1 << 20);
    std::uint64_t at = 0;
    while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), file.gcount()) {
        auto const n = static_cast<std::size_t>(file.gcount());
        if (!cleave_bench::is_object(at, std::as_bytes(std::span{buffer}.first(n)))) return false;
        at += n;
    }
    return at == object_size;
}

run run_peer(scenario const& s, peer const& p) {
    cleave_test::temp_dir const directory;
    std::string const path = (directory / "object").string();
    shaped_server server{s.how, object_size};
    auto const begin = steady_clock::now();
    child client{[&](int) {
        std::vector<std::string> command = p.command(server.url(), path);
        std::vector<char*> arguments;
        for (std::string& word : command) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        // What it prints is not ours to show.
        if (std::freopen("/dev/null", "w", stdout) == nullptr ||
            std::freopen("/dev/null", "w", stderr) == nullptr)
            return 1;
        ::execvp(arguments[0], arguments.data());
        return 127;
    }};
    run r;
    bool const ended = server.serve(client.fd(), time_limit);
    r.client.wall = std::chrono::duration<double>{steady_clock::now() - begin}.count();
    if (!ended) client.kill();
    child_end const e = client.wait();
    r.client.cpu = e.cpu;
    r.server = server.counts();
    if (!ended)
        r.client.is = result::never;
    else if (!WIFEXITED(e.status) || WEXITSTATUS(e.status) != 0)
        explain(r.client, "it did not exit with 0");
    else
        r.client.is = file_is_object(path) ? result::right : result::wrong;
    return r;
}

// --- the table -----------------------------------------------------------------------------------

table head(bool markdown) {
    return table{markdown,
                 {{"scenario", -27},
                  {"client", -6},
                  {"ideal s", 7},
                  {"wall s", 7},
                  {"min-max", 13},
                  {"wall/ideal", 10},
                  {"goal", 5},
                  {"result", -6},
                  {"twice %", 7},
                  {"requests", 8},
                  {"connections", 11},
                  {"at once", 7},
                  {"hedges won/all", 14},
                  {"steals", 6},
                  {"cpu s", 6}}};
}

constexpr char const* legend = "Of the run with the median wall time; `twice %`, what the server "
                               "sent beyond the object's own\n"
                               "bytes, is that of the worst run, and MISSED from 5 % on. `at "
                               "once`: connections open at one time.";

/// Shows the runs of one client, and answers whether all were right.
bool show(table const& t, scenario const& s, char const* client, std::vector<run> runs,
          bool is_cleave, bool& missed) {
    std::sort(runs.begin(), runs.end(),
              [](run const& a, run const& b) { return a.client.wall < b.client.wall; });
    for (run const& r : runs)
        if (r.client.is != result::right) {
            t.row({s.name, client, text("%.3f", s.ideal()), "-", "-", "-", text("%.2f", s.goal),
                   to_string(r.client.is), text("%.1f", r.twice()),
                   std::to_string(r.server.requests), std::to_string(r.server.connections),
                   std::to_string(r.server.at_once), "-", "-", "-"});
            if (r.client.error[0] != '\0')
                std::fprintf(stderr, "%s, %s: %s\n", s.name, client, r.client.error.data());
            missed = missed || is_cleave;
            return false;
        }
    run const& r = runs[(runs.size() - 1) / 2];
    double twice = 0;
    for (run const& one : runs) twice = std::max(twice, one.twice());
    double const ratio = r.client.wall / s.ideal();
    bool const ok = ratio <= s.goal && twice <= twice_goal;
    missed = missed || (is_cleave && !ok);
    t.row({s.name, client, text("%.3f", s.ideal()), text("%.3f", r.client.wall),
           text("%.3f-%.3f", runs.front().client.wall, runs.back().client.wall),
           text("%.3f", ratio), text("%.2f", s.goal), ok ? "ok" : "MISSED", text("%.1f", twice),
           std::to_string(r.server.requests), std::to_string(r.server.connections),
           std::to_string(r.server.at_once),
           is_cleave ? std::to_string(r.client.hedges_won) + "/" + std::to_string(r.client.hedges)
                     : "-",
           is_cleave ? std::to_string(r.client.steals) : "-", text("%.3f", r.client.cpu)});
    return true;
}

int compare(options const& o) {
    bool right = true;
    bool missed = false;
    cleave_bench::nanoseconds late{0};
    cleave_bench::nanoseconds held_up{0};
    std::vector<peer> others;
    for (peer const& p : peers) {
        if (!o.peers) break;
        if (!cleave_test::search_program(p.name).empty())
            others.push_back(p);
        else
            std::printf("%s: not installed\n", p.name);
    }

    table const t = head(o.markdown);
    std::vector<scenario> const all = scenarios();
    for (std::size_t i = 0; i != all.size(); ++i) {
        if (o.scenario != 0 && o.scenario != i + 1) continue;
        scenario const& s = all[i];
        // By turns, so that what else the machine does meets all alike.
        std::vector<run> ours;
        std::vector<std::vector<run>> theirs(others.size());
        for (std::size_t n = 0; n != o.runs; ++n) {
            ours.push_back(run_cleave(s));
            late = std::max(late, ours.back().server.late);
            held_up = std::max(held_up, ours.back().server.held_up);
            for (std::size_t k = 0; k != others.size(); ++k) {
                // Whoever did not end once is not waited for again.
                if (!theirs[k].empty() && theirs[k].back().client.is == result::never) continue;
                theirs[k].push_back(run_peer(s, others[k]));
            }
        }
        right = show(t, s, "cleave", std::move(ours), true, missed) && right;
        for (std::size_t k = 0; k != others.size(); ++k)
            show(t, s, others[k].name, std::move(theirs[k]), false, missed);
    }
    std::printf("\n%s\n%s\n", formula, legend);
    std::printf("The server woke up %.1f ms late at most; by not taking what was due cleave lost\n"
                "%.1f ms in a run at most, over all connections.\n",
                static_cast<double>(late.count()) * 1e-6,
                static_cast<double>(held_up.count()) * 1e-6);
    return !right || (o.strict && missed) ? 1 : 0;
}

int serve(scenario const& s) {
    shaped_server server{s.how, object_size};
    std::printf("%s: %s\n", s.name, server.url().c_str());
    std::fflush(stdout);
    for (;;) server.serve(-1, 1h);
}

} // namespace

int main(int argc, char** argv) {
    using cleave_bench::flag;
    using cleave_bench::number;
    options o;
    return cleave_bench::bench_main(
        argc, argv,
        {{"--scenario K", "only scenario K, 1 to 6", number(o.scenario, 1, 6)},
         {"--runs N", "N runs of each, 3 unless given", number(o.runs)},
         {"--peers", "also aria2c, axel and lftp, where they are installed", flag(o.peers)},
         {"--markdown", "print the table in Markdown", flag(o.markdown)},
         {"--strict", "exit with 1 also when a goal is missed, not only when bytes are wrong",
          flag(o.strict)},
         {"--serve K", "only serve scenario K, to any client, until interrupted",
          number(o.serve, 1, 6)}},
        [&] { return o.serve != 0 ? serve(scenarios()[o.serve - 1]) : compare(o); });
}
