// SPDX-License-Identifier: BSL-1.0
//
// Whole downloads from a real nginx: what cleave costs beside the cheapest loop that one would
// write by hand, beside libcurl, and beside programs of others. Each client is a process of its
// own, run in turns with all others of its case, so that a slow minute of the machine is slow for
// everybody. This file starts the server and the clients, and counts; it downloads nothing itself.

#include "cost.hpp"
#include "options.hpp"
#include "table.hpp"

#include "support/free_port.hpp"
#include "support/nginx.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using cleave_bench::table;
using cleave_bench::text;
using std::chrono::steady_clock;

constexpr double mib = 1024.0 * 1024;
constexpr std::chrono::seconds time_limit{300};

volatile std::sig_atomic_t interrupted = 0;

struct options {
    std::uint64_t size = std::uint64_t{1} << 30;
    std::size_t runs = 15;
    std::size_t counts = 3;
    std::vector<std::string> cases;
    bool all = false;
    bool floors = false;
    bool peers = true;
    bool markdown = false;
    bool strict = false;
    bool list = false;
    std::string to;
    std::string data;
};

// --- cases and who takes part --------------------------------------------------------------------

struct test_case {
    bool tls = false;
    std::string to; // "file", "memory", "null"
    unsigned lanes = 4;
    bool sha256 = false;

    [[nodiscard]] std::string name() const {
        return (tls ? "tls-" : "plain-") + to + "-" + std::to_string(lanes) +
               (sha256 ? "-sha256" : "");
    }
};

/// What the goals are about. The others come with `--all`.
constexpr std::array default_cases{
    "plain-file-1",   "plain-file-4",          "plain-file-16", "plain-file-4-sha256",
    "plain-memory-4", "plain-memory-4-sha256", "tls-file-1",    "tls-file-4",
    "tls-file-16",    "tls-file-4-sha256",
};

std::vector<test_case> all_cases() {
    std::vector<test_case> cases;
    for (bool const tls : {false, true})
        for (char const* const to : {"file", "memory", "null"})
            for (unsigned const lanes : {1U, 4U, 16U})
                for (bool const sha256 : {false, true})
                    // Nobody can check what is thrown away.
                    if (!sha256 || to != std::string_view{"null"})
                        cases.push_back({tls, to, lanes, sha256});
    return cases;
}

std::vector<test_case> chosen_cases(options const& o) {
    std::vector<test_case> chosen;
    for (auto& c : all_cases()) {
        auto const name = c.name();
        bool const usual =
            std::find(default_cases.begin(), default_cases.end(), name) != default_cases.end();
        bool const wanted = std::find(o.cases.begin(), o.cases.end(), name) != o.cases.end();
        if (o.cases.empty() ? o.all || usual : wanted) chosen.push_back(std::move(c));
    }
    return chosen;
}

enum class role : std::uint8_t {
    floor,  ///< the best of these is what others are compared with
    beside, ///< a hand-written loop too, for comparison only
    hash,   ///< what a digest costs, added to the floor
    cleave,
    peer,
};

struct contestant {
    std::string name;
    role is = role::peer;
    std::vector<std::string> arguments; // the program first
    bool ours = true;                   // says itself what it cost
    std::vector<std::pair<std::string, std::string>> environment{};
};

struct place {
    std::string url; // of the object
    std::string ca;  // empty for plain TCP
    fs::path object;
    std::string sha256;
    fs::path directory; // where files go
    fs::path programs;  // where our clients are

    [[nodiscard]] std::string out() const { return (directory / "object").string(); }
};

std::vector<contestant> contestants(test_case const& c, place const& p, options const& o) {
    std::vector<contestant> list;
    auto const ours = [&](std::string name, role is, char const* program,
                          std::vector<std::string> more, bool digest) {
        std::vector<std::string> words{(p.programs / program).string(),
                                       "--url",
                                       p.url,
                                       "--to",
                                       c.to,
                                       "--size",
                                       std::to_string(o.size),
                                       "--lanes",
                                       std::to_string(c.lanes)};
        if (c.to == "file") words.insert(words.end(), {"--out", p.out()});
        if (c.tls) words.insert(words.end(), {"--ca", p.ca});
        if (digest) words.insert(words.end(), {"--sha256", p.sha256});
        words.insert(words.end(), more.begin(), more.end());
        if (fs::exists(words.front()))
            list.push_back({std::move(name), is, std::move(words)});
        else if (is != role::peer)
            throw std::runtime_error{words.front() + " is not built"};
    };
    bool const file = c.to == "file";

    // --- floors
    auto const floor = [&](std::string name, role is, std::string way, std::uint64_t buffer_kib,
                           std::uint64_t lowat_kib) {
        ours(std::move(name), is, c.tls ? "client_floor_tls" : "client_floor_plain",
             {"--way", std::move(way), "--buffer", std::to_string(buffer_kib * 1024), "--lowat",
              std::to_string(lowat_kib * 1024)},
             false);
    };
    if (c.tls) {
        floor("SSL_read, BIO of 64 KiB", role::floor, "bio-64", 256, 0);
        floor("SSL_read, BIO of 256 KiB", role::floor, "bio-256", 256, 0);
        if (o.floors) {
            floor("SSL_read, BIO of 128 KiB", role::floor, "bio-128", 256, 0);
            floor("SSL_read, socket BIO", role::floor, "socket", 256, 0);
            floor("SSL_read, read-ahead 64 KiB", role::floor, "ahead-64", 256, 0);
            floor("SSL_read, read-ahead 256 KiB", role::floor, "ahead-256", 256, 0);
        }
    } else if (file) {
        // A digest's bytes must be seen, and what goes from socket to file in the kernel is not.
        role const by_hand = c.sha256 ? role::floor : role::beside;
        if (!c.sha256) floor("splice", role::floor, "splice", 256, 512);
        if (!c.sha256 && o.floors) floor("splice, at any byte", role::floor, "splice", 256, 0);
        if (c.sha256 || o.floors) floor("recv + pwrite, 256 KiB", by_hand, "recv", 256, 0);
        floor("recv + pwrite, 1 MiB", by_hand, "recv", 1024, 512);
    } else {
        floor("recv", role::floor, "recv", 1024, 512);
        if (o.floors) floor("recv, at any byte", role::floor, "recv", 1024, 0);
        if (o.floors && c.to == "null") floor("recv, 256 KiB", role::floor, "recv", 256, 0);
    }
    if (c.sha256) {
        ours("hashing once", role::hash, "client_floor_tls", {"--way", "hash"}, false);
        // It downloads nothing, so that it has no result.
        list.back().arguments[4] = "null";
    }

    // --- cleave
    char const* const program = c.tls      ? "client_cleave_tls"
                                : c.sha256 ? "client_cleave_digest"
                                           : "client_cleave_plain";
    ours("cleave", role::cleave, program, {}, c.sha256);
    if (file) ours("cleave, journal", role::cleave, program, {"--journal"}, c.sha256);
    if (c.tls && c.sha256)
        ours("cleave, 2 threads", role::cleave, program, {"--threads", "2"}, c.sha256);

    // --- others
    if (c.sha256 || !o.peers) return list;
    ours("libcurl", role::peer, "client_easy", {}, false);
    if (!file || (c.lanes != 4 && !o.all)) return list;
    auto const lanes = std::to_string(c.lanes);
    auto const process = [&](char const* name, std::vector<std::string> words,
                             std::vector<std::pair<std::string, std::string>> environment = {}) {
        words.insert(words.begin(), cleave_test::search_program(name));
        if (!words.front().empty())
            list.push_back({name, role::peer, std::move(words), false, std::move(environment)});
    };
    std::vector<std::string> curl{"-q", "-s", "-f", "-o", p.out(), p.url};
    std::vector<std::string> aria2{"--no-conf",
                                   "--quiet",
                                   "-x",
                                   lanes,
                                   "-s",
                                   lanes,
                                   "-k",
                                   "1M",
                                   "--file-allocation=falloc",
                                   "-d",
                                   p.directory.string(),
                                   "-o",
                                   "object",
                                   p.url};
    if (c.tls) {
        curl.insert(curl.end(), {"--cacert", p.ca});
        aria2.push_back("--ca-certificate=" + p.ca);
    }
    process("curl", std::move(curl));
    process("aria2c", std::move(aria2));
    process("axel", {"-q", "-n", lanes, "-o", p.out(), p.url}, {{"SSL_CERT_FILE", p.ca}});
    process("lftp", {"--norc", "-c",
                     (c.tls ? "set ssl:ca-file " + p.ca + "; " : std::string{}) + "pget -n " +
                         lanes + " " + p.url + " -o " + p.out()});
    return list;
}

// --- one run -------------------------------------------------------------------------------------

struct sample {
    bool right = false;
    double cpu = 0;  // seconds, user and system
    double wall = 0; // seconds
    double waits = 0;
    double peak_mib = 0;
    std::optional<double> copied; // bytes
    std::optional<double> requests;
    std::optional<double> calls; // into the system
};

/// Counts the system calls of a process that is about to begin, and of its threads and children.
class call_counter {
  public:
    explicit call_counter(pid_t of) {
        perf_event_attr a{};
        a.size = sizeof a;
        a.type = PERF_TYPE_TRACEPOINT;
        a.config = tracepoint();
        a.disabled = 1;
        a.enable_on_exec = 1;
        a.inherit = 1;
        if (a.config != 0)
            fd_ = static_cast<int>(::syscall(SYS_perf_event_open, &a, of, -1, -1, 0UL));
    }
    ~call_counter() {
        if (fd_ >= 0) ::close(fd_);
    }
    call_counter(call_counter const&) = delete;
    call_counter& operator=(call_counter const&) = delete;

    [[nodiscard]] std::optional<double> count() const {
        std::uint64_t n = 0;
        if (fd_ < 0 || ::read(fd_, &n, sizeof n) != ssize_t{sizeof n}) return std::nullopt;
        return static_cast<double>(n);
    }

  private:
    static std::uint64_t tracepoint() {
        for (char const* const root : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
            std::error_code ec;
            auto const path = fs::path{root} / "events/raw_syscalls/sys_enter/id";
            if (fs::exists(path, ec)) return std::stoull(cleave_test::read_file(path));
        }
        return 0;
    }
    int fd_ = -1;
};

/// Whether both files hold the same. In pieces, so that this process stays small.
bool same(fs::path const& one, fs::path const& other, std::uint64_t size) {
    constexpr std::size_t piece = 256 * 1024;
    std::array<int, 2> const files{::open(one.c_str(), O_RDONLY | O_CLOEXEC),
                                   ::open(other.c_str(), O_RDONLY | O_CLOEXEC)};
    auto const memory = std::make_unique_for_overwrite<char[]>(2 * piece);
    std::uint64_t done = 0;
    for (;;) {
        ssize_t const a = ::read(files[0], memory.get(), piece);
        ssize_t const b = ::read(files[1], memory.get() + piece, piece);
        if (a <= 0 || a != b ||
            std::memcmp(memory.get(), memory.get() + piece, static_cast<std::size_t>(a)) != 0) {
            if (a != 0 || b != 0) done = 0;
            break;
        }
        done += static_cast<std::uint64_t>(a);
    }
    for (int const fd : files) ::close(fd);
    return done == size;
}

void empty(fs::path const& directory) {
    for (auto const& entry : fs::directory_iterator{directory}) fs::remove_all(entry.path());
}

/// Runs it once. With `counting` only its system calls are worth looking at.
sample run(contestant const& who, test_case const& c, place const& p, std::uint64_t size,
           bool counting) {
    empty(p.directory);
    auto words = who.arguments;
    // Memory can be looked at only by who has it. That takes calls, too.
    if (who.ours && !counting) words.insert(words.end(), {"--object", p.object.string()});
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);

    std::array<int, 2> said{};
    std::array<int, 2> go{};
    if (::pipe2(said.data(), O_CLOEXEC) != 0 || ::pipe2(go.data(), O_CLOEXEC) != 0)
        throw std::system_error{errno, std::generic_category(), "pipe"};
    std::fflush(nullptr);
    pid_t const pid = ::fork();
    if (pid < 0) throw std::system_error{errno, std::generic_category(), "fork"};
    if (pid == 0) {
        char nothing = 0;
        if (::read(go[0], &nothing, 1) != 1) ::_exit(127);
        ::dup2(said[1], 1);
        if (!who.ours)
            if (int const null = ::open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0)
                ::dup2(null, 2);
        for (auto const& [name, value] : who.environment)
            if (!value.empty()) ::setenv(name.c_str(), value.c_str(), 1);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    ::close(said[1]);
    ::close(go[0]);
    std::optional<call_counter> calls;
    if (counting) calls.emplace(pid);
    auto const begin = steady_clock::now();
    if (::write(go[1], "", 1) != 1) throw std::runtime_error{"cannot start " + who.name};
    std::string out;
    for (std::array<char, 4096> buffer;;) {
        auto const left = std::chrono::duration_cast<std::chrono::milliseconds>(
            begin + time_limit - steady_clock::now());
        pollfd ready{said[0], POLLIN, 0};
        if (left.count() <= 0 || interrupted != 0) ::kill(pid, SIGKILL);
        if (::poll(&ready, 1, std::max(1, static_cast<int>(left.count()))) <= 0) continue;
        ssize_t const n = ::read(said[0], buffer.data(), buffer.size());
        if (n <= 0) break;
        out.append(buffer.data(), static_cast<std::size_t>(n));
    }
    int status = 0;
    rusage used{};
    while (::wait4(pid, &status, 0, &used) < 0 && errno == EINTR) {
    }
    sample s;
    s.wall = std::chrono::duration<double>{steady_clock::now() - begin}.count();
    ::close(said[0]);
    ::close(go[1]);
    if (interrupted != 0) throw std::runtime_error{"interrupted"};

    s.cpu = cleave_bench::cpu_of(used);
    s.waits = static_cast<double>(used.ru_nvcsw);
    s.peak_mib = static_cast<double>(used.ru_maxrss) / 1024;
    if (calls) s.calls = calls->count();
    if (who.ours) {
        std::map<std::string, double> values;
        std::istringstream lines{out};
        for (std::string name; lines >> name;) lines >> values[name];
        s.peak_mib = values["peak"] / 1024;
        s.copied = values["copied"];
        if (values.count("requests") != 0) s.requests = values["requests"];
        // These make memory ready before, and compare it afterwards.
        if (c.to == "memory" || who.is == role::hash) {
            s.cpu = values["cpu"];
            s.wall = values["wall"];
            s.waits = values["waits"];
        }
        if (c.to == "memory" && who.is != role::hash) s.peak_mib -= static_cast<double>(size) / mib;
    }
    s.right = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (s.right && c.to == "file" && who.is != role::hash) s.right = same(p.out(), p.object, size);
    return s;
}

// --- figures -------------------------------------------------------------------------------------

double median(std::vector<double> v) {
    if (v.empty()) return 0;
    std::sort(v.begin(), v.end());
    return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
}

struct estimate {
    double middle = 0;
    double low = 0; // of the 90 % interval
    double high = 0;
};

/// The median, and between what it would lie in nine of ten repetitions, by drawing again from what
/// was measured (bootstrap).
estimate estimate_median(std::vector<double> const& v) {
    std::mt19937 random{1};
    std::uniform_int_distribution<std::size_t> any{0, v.size() - 1};
    std::vector<double> medians(4000);
    std::vector<double> drawn(v.size());
    for (double& m : medians) {
        for (double& d : drawn) d = v[any(random)];
        m = median(drawn);
    }
    std::sort(medians.begin(), medians.end());
    return {median(v), medians[medians.size() / 20],
            medians[medians.size() - 1 - medians.size() / 20]};
}

struct series {
    contestant who;
    std::vector<sample> runs;
    std::vector<sample> counts;

    template <class F>
    [[nodiscard]] std::vector<double> each(F&& f) const {
        std::vector<double> v;
        for (auto const& s : runs) v.push_back(f(s));
        return v;
    }
    [[nodiscard]] std::vector<double> cpu() const {
        return each([](sample const& s) { return s.cpu; });
    }
    [[nodiscard]] bool right() const {
        auto const good = [](sample const& s) { return s.right; };
        return std::all_of(runs.begin(), runs.end(), good) &&
               std::all_of(counts.begin(), counts.end(), good);
    }
    [[nodiscard]] std::optional<double> calls() const {
        std::vector<double> v;
        for (auto const& s : counts)
            if (s.calls) v.push_back(*s.calls);
        return v.empty() ? std::nullopt : std::optional{median(v)};
    }
};

struct goal {
    std::string where;
    std::string what;
    double wanted = 0;
    estimate reached;
    char const* format = "%.2f";
};

struct results {
    std::vector<goal> goals;
    std::map<std::string, double> peaks;                      // MiB, of cleave in a case
    std::map<std::string, std::pair<double, double>> threads; // wall and CPU seconds a GiB
    std::string data =
        "# CPU time of the client beside that of a hand-written loop; less is better\n";
    bool wrong = false;
};

estimate ratio(std::vector<double> const& of, std::vector<double> const& to) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i != of.size(); ++i) ratios.push_back(of[i] / to[i]);
    return estimate_median(ratios);
}

bool is_in_memory(fs::path const& directory) {
    struct statfs where {};
    return ::statfs(directory.c_str(), &where) == 0 && where.f_type == TMPFS_MAGIC;
}

void conclude(test_case const& c, std::vector<series> const& all, options const& o, results& r) {
    auto const find = [&](std::string_view name) -> series const* {
        for (auto const& s : all)
            if (s.who.name == name && s.right()) return &s;
        return nullptr;
    };
    series const* floor = nullptr;
    series const* hash = nullptr;
    for (auto const& s : all) {
        if (s.who.is == role::hash) hash = &s;
        if (s.who.is == role::floor && s.right() &&
            (floor == nullptr || median(s.cpu()) < median(floor->cpu())))
            floor = &s;
    }
    if (floor == nullptr) throw std::runtime_error{c.name() + ": no floor works"};
    auto base = floor->cpu();
    if (hash != nullptr)
        for (std::size_t i = 0; i != base.size(); ++i) base[i] += hash->cpu()[i];

    double const gib = static_cast<double>(o.size) / (1024 * mib);
    std::printf(o.markdown ? "\n### %s\n\n" : "\n%s\n\n", c.name().c_str());
    table const t{o.markdown,
                  {{"client", -32},
                   {"cpu s/GiB", 9},
                   {"wall s", 7},
                   {"cpu/floor", 9},
                   {"90 %", 11},
                   {"calls/MiB", 9},
                   {"wake-ups/MiB", 12},
                   {"copied KiB", 10},
                   {"peak MiB", 8},
                   {"result", -6}}};
    if (hash != nullptr) r.data += c.name() + "\tfloor + hashing once\t1\t1\t1\n";
    for (auto const& s : all) {
        bool const other_floor = s.who.is == role::floor && &s != floor && !o.floors;
        if (other_floor) continue;
        auto const part = [&](auto member) {
            return median(s.each([&](sample const& x) { return x.*member; }));
        };
        auto const beside = ratio(s.cpu(), base);
        bool const nothing = s.who.is == role::hash;
        auto const calls = s.calls();
        auto const& first = s.runs.front();
        std::string const name = s.who.name + (&s == floor ? " (floor)" : "");
        if (s.who.is != role::peer && !s.right()) r.wrong = true;
        if (!s.right()) {
            t.row({name, "-", "-", "-", "-", "-", "-", "-", "-", "WRONG"});
            continue;
        }
        t.row(
            {name, text("%.3f", median(s.cpu()) / gib), text("%.3f", part(&sample::wall)),
             text("%.2f", beside.middle), text("%.2f-%.2f", beside.low, beside.high),
             calls && !nothing ? text("%.2f", *calls * mib / static_cast<double>(o.size)) : "-",
             nothing ? "-" : text("%.2f", part(&sample::waits) * mib / static_cast<double>(o.size)),
             first.copied && !nothing ? text("%.1f", *first.copied / 1024) : "-",
             text("%.1f", part(&sample::peak_mib)), "ok"});
        if (!nothing)
            r.data += c.name() + "\t" + s.who.name + "\t" +
                      text("%.4f\t%.4f\t%.4f\n", beside.middle, beside.low, beside.high);
    }

    auto const* const us = find("cleave");
    if (us == nullptr) return;
    auto const name = c.name();
    auto const add = [&](std::string what, double wanted, estimate e, char const* f = "%.2f") {
        r.goals.push_back({name, std::move(what), wanted, e, f});
    };
    auto const exactly = [](double x) { return estimate{x, x, x}; };
    double const peak = median(us->each([](sample const& s) { return s.peak_mib; }));
    r.peaks[name] = peak;
    bool const plain_file = !c.tls && c.to == "file" && !c.sha256;
    // What a disk does in the kernel is not the client's merit: there the counts decide.
    bool const in_memory = c.to != "file" || is_in_memory(o.to);
    if (c.lanes == 4 && c.to != "null" && in_memory)
        add("CPU beside the floor", c.sha256 || (!c.tls && c.to == "memory") ? 1.05 : 1.10,
            ratio(us->cpu(), base));
    if (c.lanes == 4 && c.to == "file" && !c.sha256 && in_memory) {
        if (auto const* const curl = find("curl"))
            add("CPU beside curl", c.tls ? 0.9 : 0.6, ratio(us->cpu(), curl->cpu()));
        if (auto const* const aria2 = find("aria2c"); aria2 != nullptr && !c.tls)
            add("CPU beside aria2", 0.45, ratio(us->cpu(), aria2->cpu()));
    }
    if (c.lanes == 4 && plain_file) {
        if (us->calls() && floor->calls())
            add("system calls beside the floor", 1.1, exactly(*us->calls() / *floor->calls()));
        // With a head no more can come along than is read for it at a time.
        auto const& s = us->runs.front();
        if (s.copied && s.requests)
            add("bytes copied a request", 2048, exactly(*s.copied / std::max(1.0, *s.requests)),
                "%.0f");
    }
    if (c.lanes == 16 && c.to == "file" && !c.sha256)
        add("peak memory, MiB", c.tls ? 16 : 8, exactly(peak), "%.1f");
    for (auto const* const s : {us, find("cleave, 2 threads")})
        if (s != nullptr && c.tls && c.sha256)
            r.threads[name + ", " + (s == us ? "1 thread" : "2 threads")] = {
                median(s->each([](sample const& x) { return x.wall; })) / gib,
                median(s->cpu()) / gib};
}

void measure(test_case const& c, place const& p, options const& o, std::mt19937& random,
             results& r) {
    std::vector<series> all;
    for (auto& who : contestants(c, p, o)) all.push_back({std::move(who), {}, {}});
    std::vector<series*> order;
    for (auto& s : all) order.push_back(&s);
    for (std::size_t round = 0; round != o.runs + o.counts; ++round) {
        bool const counting = round >= o.runs;
        std::shuffle(order.begin(), order.end(), random);
        for (auto* const s : order) {
            auto& to = counting ? s->counts : s->runs;
            to.push_back(run(s->who, c, p, o.size, counting));
            if (!to.back().right)
                std::fprintf(stderr, "%s: %s failed\n", c.name().c_str(), s->who.name.c_str());
        }
        std::fprintf(stderr, "\r%s: %zu of %zu rounds ", c.name().c_str(), round + 1,
                     o.runs + o.counts);
    }
    std::fputs("\r\033[K", stderr);
    empty(p.directory);
    conclude(c, all, o, r);
}

void print_summary(results const& r, options const& o) {
    auto const heading = [&](char const* text) {
        std::printf(o.markdown ? "\n### %s\n\n" : "\n%s\n\n", text);
    };
    if (!r.threads.empty()) {
        heading("Threads that run the io_context");
        table const t{o.markdown, {{"case", -32}, {"wall s/GiB", 10}, {"cpu s/GiB", 9}}};
        for (auto const& [name, cost] : r.threads)
            t.row({name, text("%.3f", cost.first), text("%.3f", cost.second)});
    }
    bool headed = false;
    for (char const* const kind : {"plain-file-", "tls-file-"}) {
        auto const one = r.peaks.find(kind + std::string{"1"});
        auto const sixteen = r.peaks.find(kind + std::string{"16"});
        if (one == r.peaks.end() || sixteen == r.peaks.end()) continue;
        if (!std::exchange(headed, true)) {
            heading("Memory");
            std::puts(o.markdown
                          ? "| cleave to | 1 lane, MiB | 16 lanes, MiB | a lane's own, KiB |\n"
                            "|---|---:|---:|---:|"
                          : "cleave to     1 lane, MiB  16 lanes, MiB  a lane's own, KiB");
        }
        std::printf(o.markdown ? "| %s | %.1f | %.1f | %.0f |\n"
                               : "%-12s  %11.1f  %13.1f  %17.0f\n",
                    kind == std::string_view{"plain-file-"} ? "file, plain" : "file, TLS",
                    one->second, sixteen->second, (sixteen->second - one->second) * 1024 / 15);
    }
    if (r.goals.empty()) return;
    heading("Goals");
    table const t{o.markdown,
                  {{"case", -22},
                   {"what", -30},
                   {"at most", 7},
                   {"reached", 7},
                   {"90 %", 11},
                   {"result", -6}}};
    for (auto const& g : r.goals) {
        auto const number = [&](double x) {
            char buffer[64];
            std::snprintf(buffer, sizeof buffer, g.format, x);
            return std::string{buffer};
        };
        bool const sure = g.reached.low == g.reached.high;
        t.row({g.where, g.what, number(g.wanted), number(g.reached.middle),
               sure ? "-" : number(g.reached.low) + "-" + number(g.reached.high),
               g.reached.low <= g.wanted ? "met" : "MISSED"});
    }
}

// --- making ready --------------------------------------------------------------------------------

/// Bytes that nothing can make shorter, from the same seed each time.
void write_object(fs::path const& path, std::uint64_t size) {
    int const fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) throw std::system_error{errno, std::generic_category(), path.string()};
    std::mt19937_64 random{20};
    std::vector<std::uint64_t> piece(32 * 1024);
    for (std::uint64_t left = size; left != 0;) {
        for (auto& word : piece) word = random();
        auto const n = std::min<std::uint64_t>(left, piece.size() * sizeof piece.front());
        if (::write(fd, piece.data(), static_cast<std::size_t>(n)) != static_cast<ssize_t>(n))
            throw std::system_error{errno, std::generic_category(), "writing the object"};
        left -= n;
    }
    ::close(fd);
}

void command(std::vector<std::string> words, std::string* out = nullptr) {
    auto const name = words.front();
    auto const r = cleave_test::run(std::move(words));
    if (r.exit_code != 0) throw std::runtime_error{name + ": " + r.err};
    if (out != nullptr) *out = r.out;
}

void print_machine(options const& o) {
    utsname system{};
    ::uname(&system);
    std::array<double, 1> load{};
    (void)::getloadavg(load.data(), 1);
    std::string model = "?";
    std::istringstream info{cleave_test::read_file("/proc/cpuinfo")};
    for (std::string line; std::getline(info, line);)
        if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
    std::printf("%.0f MiB from nginx over the loopback to %s, %zu rounds; %s, %u cores, Linux %s, "
                "compiler %s; load at the start %.1f\n",
                static_cast<double>(o.size) / mib, o.to.c_str(), o.runs, model.c_str(),
                std::thread::hardware_concurrency(), system.release, __VERSION__, load[0]);
    if (load[0] > 0.5)
        std::puts("\nThe machine is busy with something else: take these figures as rough.");
}

int compare(options const& o) {
    // The object lies in memory, wherever the copies go.
    char const* const in_memory = fs::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    ::setenv("TMPDIR", in_memory, 1);
    cleave_test::temp_dir const work;
    write_object(work / "object", o.size);
    auto const certificate = (work / "certificate.pem").string();
    auto const key = (work / "key.pem").string();
    command({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=127.0.0.1", "-addext",
             // axel looks for an address among the names.
             "subjectAltName=IP:127.0.0.1,DNS:127.0.0.1", "-days", "2", "-keyout", key, "-out",
             certificate});
    place p;
    p.object = work / "object";
    command({"openssl", "dgst", "-sha256", "-r", p.object.string()}, &p.sha256);
    p.sha256.resize(64);
    p.programs = fs::read_symlink("/proc/self/exe").parent_path();

    // A directory of its own, in which all that is found can be removed.
    fs::create_directories(o.to);
    ::setenv("TMPDIR", o.to.c_str(), 1);
    cleave_test::temp_dir const results_go;
    ::setenv("TMPDIR", in_memory, 1);
    p.directory = results_go.path();

    cleave_test::nginx plain;
    cleave_test::nginx tls{
        {.certificate = cleave_test::read_file(certificate), .key = cleave_test::read_file(key)}};
    for (auto* const server : {&plain, &tls})
        fs::create_hard_link(p.object, server->root() / "object");

    print_machine(o);
    results r;
    std::mt19937 random{7};
    for (auto const& c : chosen_cases(o)) {
        place here = p;
        here.url = (c.tls ? tls : plain).url("/object");
        if (c.tls) here.ca = certificate;
        measure(c, here, o, random, r);
        std::fflush(stdout);
    }
    print_summary(r, o);
    if (!o.data.empty()) cleave_test::write_file(o.data, r.data);
    bool const missed = std::any_of(r.goals.begin(), r.goals.end(),
                                    [](goal const& g) { return g.reached.low > g.wanted; });
    return r.wrong || (o.strict && missed) ? 1 : 0;
}

// --- the command line ----------------------------------------------------------------------------

/// Bytes, or with M or G behind the number MiB or GiB.
std::optional<std::uint64_t> read_size(std::string_view word) {
    std::uint64_t unit = 1;
    if (word.ends_with('M')) unit = 1024 * 1024;
    if (word.ends_with('G')) unit = 1024 * 1024 * 1024;
    if (unit != 1) word.remove_suffix(1);
    std::uint64_t n = 0;
    auto const [end, ec] = std::from_chars(word.data(), word.data() + word.size(), n);
    if (ec != std::errc{} || end != word.data() + word.size() || n > UINT64_MAX / unit / 2)
        return std::nullopt;
    return n * unit;
}

void list_cases() {
    for (auto const& c : all_cases()) {
        bool const usual =
            std::find(default_cases.begin(), default_cases.end(), c.name()) != default_cases.end();
        std::printf("%s%s\n", c.name().c_str(), usual ? " *" : "");
    }
}

} // namespace

int main(int argc, char** argv) {
    using cleave_bench::flag;
    using cleave_bench::number;
    using cleave_bench::word;
    options o;
    o.to = fs::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    auto const take_case = [&](std::string_view name) {
        o.cases.emplace_back(name);
        auto const known = all_cases();
        return std::any_of(known.begin(), known.end(),
                           [&](test_case const& c) { return c.name() == name; });
    };
    auto const take_size = [&](std::string_view text) {
        o.size = read_size(text).value_or(0);
        return o.size >= 1024 * 1024;
    };
    return cleave_bench::bench_main(
        argc, argv,
        {{"--case NAME", "only this case, such as tls-file-4; may be given several times",
          take_case},
         {"--all", "all cases, and other programs with every number of lanes", flag(o.all)},
         {"--list", "print the cases' names, those that run unless told otherwise with a star",
          flag(o.list)},
         {"--runs N", "N rounds, 15 unless given", number(o.runs)},
         {"--counts N", "N further rounds in which system calls are counted, 3 unless given",
          number(o.counts, 0)},
         {"--size N", "bytes of the object, or N with M or G for MiB or GiB; 1G unless given",
          take_size},
         {"--to DIR", "where files go; /dev/shm unless given", word(o.to)},
         {"--floors", "try and print every way to write a floor", flag(o.floors)},
         {"--no-peers", "without libcurl and other programs", flag(o.peers, false)},
         {"--markdown", "print tables in Markdown", flag(o.markdown)},
         {"--data FILE", "write the ratios there, for plot.sh", word(o.data)},
         {"--strict", "exit with 1 if a goal is missed", flag(o.strict)}},
        [&] {
            if (o.list) {
                list_cases();
                return 0;
            }
            // So that the object, which is large, does not stay in memory.
            for (int const signal : {SIGINT, SIGTERM})
                std::signal(signal, [](int) { interrupted = 1; });
            return compare(o);
        });
}
