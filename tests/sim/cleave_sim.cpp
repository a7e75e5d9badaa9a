// SPDX-License-Identifier: BSL-1.0
//
// cleave-sim: downloads by the million, each in a world of its own that is drawn from a seed, and
// each through at least five faults. Ends at the first thing that the library does wrong, with the
// seed that shows it again.
//
//     cleave-sim --seed 1 --downloads 1000000 --jobs 2
//     cleave-sim --seed 4711 --downloads 1 --verbose
//     cleave-sim --fleet 100000 --svg fleet.svg

#include "faults.hpp"
#include "fleet.hpp"
#include "story.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <malloc.h>

namespace {

using namespace cleave_sim;

constexpr std::string_view usage =
    "usage: cleave-sim [--seed S] [--downloads N] [--jobs J] [--seconds T] [--reruns R]\n"
    "                  [--seeds FILE] [--all] [--verbose]\n"
    "       cleave-sim --fleet DEVICES [--svg FILE]\n"
    "\n"
    "  --seed S       the first seed (1); download i has seed S + i\n"
    "  --downloads N  so many (1000)\n"
    "  --jobs J       on so many threads (1)\n"
    "  --seconds T    begins no more of them after this time\n"
    "  --reruns R     tells each story R times, and compares the hashes of their traces\n"
    "  --seeds FILE   the seeds in FILE, one a line; what follows a '#' is a remark\n"
    "  --all          does not end at the first violation\n"
    "  --verbose      every step of each download, for one seed\n"
    "  --fleet N      N devices and one server that goes away for a minute\n"
    "  --svg FILE     and a picture of its load\n";

struct options {
    std::uint64_t seed = 1;
    std::uint64_t downloads = 1000;
    unsigned jobs = 1;
    std::optional<std::uint64_t> seconds;
    std::uint64_t reruns = 1;
    std::string seeds;
    bool all = false;
    bool verbose = false;
    std::uint64_t fleet = 0;
    std::string svg;
};

[[noreturn]] void misused(std::string const& why) {
    std::cerr << "cleave-sim: " << why << '\n' << usage;
    std::exit(2);
}

options read_options(int argc, char** argv) {
    options o;
    for (int i = 1; i < argc; ++i) {
        std::string_view const name = argv[i];
        if (name == "--verbose") {
            o.verbose = true;
            continue;
        }
        if (name == "--all") {
            o.all = true;
            continue;
        }
        if (name == "--help") {
            std::cout << usage;
            std::exit(0);
        }
        if (++i == argc) misused(std::string{name} + " is unknown, or wants a value");
        std::string_view const value = argv[i];
        std::uint64_t n = 0;
        auto const [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
        bool const number = error == std::errc{} && end == value.data() + value.size();
        if (name == "--seeds")
            o.seeds = value;
        else if (name == "--svg")
            o.svg = value;
        else if (!number)
            misused(std::string{name} + " is unknown, or wants a number: " + std::string{value});
        else if (name == "--seed")
            o.seed = n;
        else if (name == "--downloads")
            o.downloads = n;
        else if (name == "--jobs")
            o.jobs = static_cast<unsigned>(std::clamp<std::uint64_t>(n, 1, 64));
        else if (name == "--seconds")
            o.seconds = n;
        else if (name == "--reruns")
            o.reruns = std::max<std::uint64_t>(n, 1);
        else if (name == "--fleet")
            o.fleet = n;
        else
            misused(std::string{name} + " is unknown");
    }
    return o;
}

std::vector<std::uint64_t> read_seeds(std::string const& path) {
    std::ifstream file{path};
    if (!file) misused(path + " cannot be read");
    std::vector<std::uint64_t> seeds;
    for (std::string line; std::getline(file, line);) {
        std::uint64_t n = 0;
        auto const [end, error] = std::from_chars(line.data(), line.data() + line.size(), n);
        if (error == std::errc{}) seeds.push_back(n);
    }
    return seeds;
}

/// What all stories together were.
struct totals {
    std::uint64_t downloads = 0;
    std::uint64_t hash = 0; // a sum, so that the order in which they were told does not matter
    double virtual_seconds = 0;
    std::vector<std::uint64_t> struck = std::vector<std::uint64_t>(all_faults().size());
    std::uint64_t runs = 0, finished = 0, failed = 0, crashed = 0, requests = 0, bytes = 0;
    std::uint64_t faults = 0;
    std::uint64_t fewest_faults = ~std::uint64_t{0};
    std::uint64_t memory = 0;

    void add(story_outcome const& s) {
        ++downloads;
        hash += s.hash;
        virtual_seconds += std::chrono::duration<double>(s.time).count();
        std::uint64_t of_this = 0;
        for (std::size_t i = 0; i != struck.size(); ++i) {
            struck[i] += s.struck[i];
            of_this += s.struck[i];
        }
        faults += of_this;
        fewest_faults = std::min(fewest_faults, of_this);
        runs += s.runs;
        finished += s.finished;
        failed += s.failed;
        crashed += s.crashed;
        requests += s.requests;
        bytes += s.bytes;
        memory = std::max(memory, s.memory);
    }
};

class tellers {
  public:
    explicit tellers(options const& o) : options_(o) {
        if (!o.seeds.empty()) seeds_ = read_seeds(o.seeds);
        count_ = o.seeds.empty() ? o.downloads : seeds_.size();
    }

    /// False when the library did something wrong.
    bool run() {
        std::vector<std::thread> threads;
        for (unsigned i = 1; i < options_.jobs; ++i) threads.emplace_back([this] { work(); });
        work();
        for (std::thread& t : threads) t.join();
        print(std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
        return violations_ == 0;
    }

  private:
    [[nodiscard]] std::uint64_t seed(std::uint64_t i) const {
        return options_.seeds.empty() ? options_.seed + i : seeds_[static_cast<std::size_t>(i)];
    }
    [[nodiscard]] bool done() const { return violations_ != 0 && !options_.all; }
    [[nodiscard]] bool out_of_time() const {
        return options_.seconds &&
               std::chrono::steady_clock::now() - start_ >= std::chrono::seconds{*options_.seconds};
    }

    void work() {
        constexpr std::uint64_t at_once = 16;
        while (!done() && !out_of_time()) {
            std::uint64_t const first = next_.fetch_add(at_once);
            totals mine;
            for (std::uint64_t i = first; i < std::min(first + at_once, count_); ++i) {
                if (done()) break;
                tell(seed(i), mine);
            }
            if (first >= count_) return;
            add(mine);
        }
    }

    void tell(std::uint64_t seed, totals& mine) {
        std::function<void(std::string const&)> read_along;
        if (options_.verbose)
            read_along = [](std::string const& line) { std::cout << line << std::endl; };
        story_outcome const s = tell_story(seed, read_along);
        mine.add(s);
        if (!s.violation.empty()) return violated(seed, s.violation);
        for (std::uint64_t again = 1; again < options_.reruns; ++again)
            if (tell_story(seed).hash != s.hash)
                return violated(seed, "another run of it had another trace");
    }
    void violated(std::uint64_t seed, std::string const& what) {
        std::lock_guard const lock{mutex_};
        if (violations_++ != 0 && !options_.all) return;
        std::cout << "VIOLATION with seed " << seed << ": " << what
                  << "\nto see it: cleave-sim --seed " << seed << " --downloads 1 --verbose\n";
    }
    void add(totals const& mine) {
        std::lock_guard const lock{mutex_};
        if (mine.downloads == 0) return;
        all_.downloads += mine.downloads;
        all_.hash += mine.hash;
        all_.virtual_seconds += mine.virtual_seconds;
        for (std::size_t i = 0; i != mine.struck.size(); ++i) all_.struck[i] += mine.struck[i];
        all_.faults += mine.faults;
        all_.fewest_faults = std::min(all_.fewest_faults, mine.fewest_faults);
        all_.runs += mine.runs;
        all_.finished += mine.finished;
        all_.failed += mine.failed;
        all_.crashed += mine.crashed;
        all_.requests += mine.requests;
        all_.bytes += mine.bytes;
        all_.memory = std::max(all_.memory, mine.memory);
    }

    void print(double seconds) const {
        if (all_.downloads == 0) return;
        std::cout << "faults by kind\n";
        for (std::size_t i = 0; i != all_.struck.size(); ++i) {
            fault_kind const& f = all_faults()[i];
            std::cout << "  " << std::left << std::setw(4) << f.row << std::setw(34) << f.name
                      << std::right << std::setw(10) << all_.struck[i] << '\n';
        }
        std::uint64_t const rarest = std::ranges::min(all_.struck);
        std::cout << std::fixed << std::setprecision(1) << all_.downloads
                  << " downloads, each through " << all_.fewest_faults << " faults or more; "
                  << all_.faults << " faults of " << all_.struck.size() << " kinds, the rarest "
                  << rarest << " times\n"
                  << all_.runs << " runs: " << all_.finished << " ended well, " << all_.failed
                  << " with an error, " << all_.crashed << " by a crash; " << all_.requests
                  << " requests, " << all_.bytes << " bytes\n"
                  << "virtual time " << all_.virtual_seconds / 3600 << " hours, real time "
                  << seconds << " s, " << static_cast<double>(all_.downloads) / seconds
                  << " downloads a second\n"
                  << "most memory of a run, beyond 24 times its object: " << all_.memory / 1024
                  << " KiB, doubles included\n"
                  << "trace " << std::hex << all_.hash << std::dec << '\n'
                  << (violations_ != 0 ? std::to_string(violations_) + " VIOLATIONS\n"
                                       : "no violation\n");
    }

    options const& options_;
    std::vector<std::uint64_t> seeds_;
    std::uint64_t count_ = 0;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::atomic<std::uint64_t> next_{0};
    std::atomic<std::uint64_t> violations_{0};
    std::mutex mutex_;
    totals all_;
};

} // namespace

int main(int argc, char** argv) {
    // Large blocks come and go by the million: they are not to be asked of the system each time.
    ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
    ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
    options const o = read_options(argc, argv);
    if (o.fleet != 0) return run_fleet(o.fleet, o.svg) ? 0 : 1;
    return tellers{o}.run() ? 0 : 1;
}
