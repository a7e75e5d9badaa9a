// SPDX-License-Identifier: BSL-1.0
//
// cleave-get killed at its Nth system call of a kind, N rising until a run survives: whatever it
// was doing, nothing wrong ever stands under the file's name, and the next run makes it right
// without fetching much again. strace does the killing, before the call is made. It counts for each
// kind of call and each thread, so the kinds that more than one of them uses are told apart by
// their file.

#include <support/catch.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <support/digest.hpp>
#include <support/fault_server.hpp>

#include "run_cleave_get.hpp"

using namespace cleave_test;
using strings = std::vector<std::string>;

namespace {

constexpr std::size_t MiB = std::size_t{1} << 20;
constexpr std::size_t lanes = 2;
// As they are by default: what a lane may have in flight, and the bytes between two records.
constexpr std::size_t grant = MiB;
constexpr std::size_t commit_interval = 4 * MiB;
constexpr std::size_t may_come_again = lanes * grant + commit_interval;

enum class at { anything, journal, partial };

// Which calls are counted, and in what kind of download. Systems differ in what they call some.
struct way {
    char const* calls;
    at on = at::anything;
    // By then every byte is in place, and the journal says so.
    bool at_the_end = false;
    bool with_digest = false;
    bool slow = false; // so that records are due by time, not by bytes; has no digest
    std::size_t every = 1;
    // Of the sample, every how many, and no more; 0: not in it.
    std::size_t sample_every = 1;
    std::size_t sample_most = 0;
};

constexpr char const* opens = "?open,openat";
constexpr char const* looks = "?stat,?lstat,?fstat,?newfstatat,?statx";
constexpr char const* renames = "?rename,?renameat,?renameat2";
constexpr char const* unlinks = "?unlink,?unlinkat";

constexpr way ways[] = {
    {.calls = opens},
    {.calls = opens, .on = at::journal},
    {.calls = looks, .on = at::journal},
    {.calls = "flock", .on = at::journal},
    {.calls = "fallocate", .on = at::journal},
    {.calls = "pread64", .on = at::journal},
    {.calls = "pwrite64", .on = at::journal, .sample_most = 3},
    {.calls = "pwrite64", .on = at::journal, .with_digest = true},
    {.calls = "pwrite64", .on = at::journal, .slow = true},
    {.calls = "close", .on = at::journal},
    {.calls = opens, .on = at::partial},
    {.calls = looks, .on = at::partial},
    {.calls = "flock", .on = at::partial, .sample_most = 1},
    {.calls = "ftruncate", .on = at::partial, .sample_most = 2},
    {.calls = "fallocate", .on = at::partial},
    {.calls = "pread64", .on = at::partial, .with_digest = true, .every = 3},
    {.calls = "pwrite64", .on = at::partial, .every = 2},
    {.calls = "mmap", .on = at::partial},
    {.calls = "munmap"},
    {.calls = "msync", .at_the_end = true},
    {.calls = "fsync", .at_the_end = true, .sample_most = 3},
    {.calls = "fsync", .at_the_end = true, .with_digest = true},
    {.calls = renames, .at_the_end = true, .sample_most = 1},
    {.calls = renames, .at_the_end = true, .with_digest = true},
    {.calls = unlinks, .at_the_end = true, .sample_most = 1},
    {.calls = unlinks, .at_the_end = true, .with_digest = true},
    {.calls = "close"},
    {.calls = "sendto"},
    {.calls = "recvfrom", .every = 2, .sample_every = 12, .sample_most = 24},
    {.calls = "epoll_wait"},
    {.calls = "futex"},
};

// What became of all the runs.
struct tally {
    std::mutex mutex;
    strings wrong;
    std::size_t killed = 0;
    std::size_t complete = 0; // of those, with every byte in place
    std::size_t done = 0;     // of those, with nothing left to do but leave
    std::size_t worst = 0;    // bytes that were in place and came again
    std::string worst_at;
};

// Everything for the runs of one thread, with a server that serves nobody else.
class trial {
  public:
    explicit trial(tally& all) : tally_(all) {}

    // N rising until a run survives.
    void kill_all(std::string const& sink, bool resumed, way const& how, bool sampled) {
        object const& o = how.slow ? small_ : big_;
        std::optional<temp_dir> begun;
        begun_ = 0;
        if (resumed && !begin(begun.emplace(), sink, how)) return;
        std::size_t const stride = sampled ? how.sample_every : how.every;
        for (std::size_t n = stride; !sampled || n <= how.sample_most; n += stride) {
            at_ = "--sink " + sink + (resumed ? ", resumed" : ", fresh") + ", at " + how.calls +
                  " number " + std::to_string(n) +
                  (how.on == at::journal   ? " of the journal"
                   : how.on == at::partial ? " of the partial"
                                           : "");
            temp_dir dir;
            if (begun)
                std::filesystem::copy(begun->path(), dir.path(),
                                      std::filesystem::copy_options::recursive);
            auto const r = run_killed(dir, sink, how, n);
            if (r.signal != SIGKILL) {
                survived(dir, r, o);
                return;
            }
            go_on(dir, sink, how, o);
        }
    }

  private:
    void wrong(std::string const& what) {
        std::lock_guard const lock{tally_.mutex};
        tally_.wrong.push_back(at_ + ": " + what);
    }

    strings command(std::string const& sink, way const& how,
                    std::string const& query = "?go-on") const {
        strings args{server_.url((how.slow ? "/small" : "/big") + query),
                     "-o",
                     "x",
                     "-q",
                     "--json",
                     "-n",
                     std::to_string(lanes),
                     "--sink",
                     sink};
        if (how.with_digest) args.insert(args.end(), {"--digest", "sha-256=" + sha_});
        if (how.slow) args.insert(args.end(), {"--limit-rate", "3M"});
        return args;
    }

    process_result run_killed(temp_dir const& in, std::string const& sink, way const& how,
                              std::size_t n) const {
        strings args{"strace", "-f", "-qq", "-o", "/dev/null"};
        auto const of = [&](std::string const& name) {
            args.insert(args.end(), {"-P", name, "-P", (in / name).string()});
        };
        if (how.on == at::journal) of("x.cleave");
        if (how.on == at::partial) of("x.part");
        std::string const calls = how.calls;
        args.insert(args.end(), {"-e", "trace=" + calls, "-e",
                                 "inject=" + calls + ":signal=KILL:when=" + std::to_string(n)});
        for (auto const& arg : cleave_get_command(command(sink, how))) args.push_back(arg);
        return run(args, {.directory = in.path().string()});
    }

    // A run that fails half way, and knows all that is in place: so that what a crash costs later
    // can be told from it.
    bool begin(temp_dir const& in, std::string const& sink, way const& how) {
        auto args = command(sink, how, "?begin");
        args.insert(args.end(), {"--retries", "0"});
        auto const r = cleave_get(in, args);
        at_ = "--sink " + sink + ", begun";
        bool const good = r.exit_code == 1 && report_in(r).at("kept") == true;
        if (good)
            begun_ = report_in(r).at("bytes");
        else
            wrong("not kept: " + r.err);
        return good;
    }

    void survived(temp_dir const& dir, process_result const& r, object const& o) {
        if (r.exit_code != 0)
            return wrong("exit code " + std::to_string(r.exit_code) + ", " + r.err);
        if (files_in(dir) != strings{"x"}) wrong("more than the file is left");
        if (read_file(dir / "x") != o.bytes) wrong("the file is wrong");
    }

    // What lies there of the object, with zeros where nothing has come yet.
    static std::string what_is_there(temp_dir const& dir) {
        for (auto const* name : {"x", "x.part"})
            if (std::filesystem::exists(dir / name)) return read_file(dir / name);
        return {};
    }

    // Of the bytes in place, how many were asked for by the requests from `first` on; in blocks,
    // for one that is not there yet is full of zeros.
    std::size_t asked_again(std::string const& there, object const& o, std::size_t first) const {
        std::vector<std::pair<std::size_t, std::size_t>> asked;
        auto const requests = server_.requests();
        for (std::size_t i = first; i != requests.size(); ++i)
            asked.push_back(requests[i].range().value());
        std::sort(asked.begin(), asked.end());
        constexpr std::size_t block = 64;
        std::size_t again = 0;
        std::size_t at = 0;
        for (auto const& [from, to] : asked)
            for (at = std::max(at, from); at <= to && at < there.size(); at += block)
                if (std::memcmp(&there[at], &o.bytes[at], std::min(block, there.size() - at)) == 0)
                    again += block;
        return again;
    }

    void go_on(temp_dir const& dir, std::string const& sink, way const& how, object const& o) {
        bool const published = std::filesystem::exists(dir / "x");
        if (published && read_file(dir / "x") != o.bytes)
            return wrong("what stands under the name is wrong");
        {
            std::lock_guard const lock{tally_.mutex};
            ++tally_.killed;
            if (how.at_the_end || published) ++tally_.complete;
            if (files_in(dir) == strings{"x"}) {
                ++tally_.done;
                return;
            }
        }
        std::string const there = what_is_there(dir);
        server_.wait_for_open_at_most(0); // it may have a last request of the dead to read
        std::size_t const requests_before = server_.requests().size();
        auto const r = cleave_get(dir, command(sink, how));
        survived(dir, r, o);
        if (r.exit_code != 0) return;

        auto const requests = server_.requests().size() - requests_before;
        auto const had = report_in(r).at("bytes_resumed").get<std::size_t>();
        bool const had_all = had == o.bytes.size();
        if (had < begun_) wrong("of what was known at first, " + std::to_string(had) + " was left");
        if ((how.at_the_end || published) && !had_all) wrong("what was complete was not resumed");
        if (had_all && requests > (how.with_digest ? 0U : 1U))
            wrong("complete, and yet " + std::to_string(requests) + " requests");

        auto const again = asked_again(there, o, requests_before);
        if (again > may_come_again) wrong(std::to_string(again) + " bytes came again: " + r.out);
        std::lock_guard const lock{tally_.mutex};
        if (again <= tally_.worst) return;
        tally_.worst = again;
        tally_.worst_at = at_;
    }

    tally& tally_;
    std::string at_;
    std::size_t begun_ = 0; // bytes that are known to be in place before the run that is killed
    object const big_ = object::random(10 * MiB, 1);
    object const small_ = object::random(5 * MiB, 2);
    std::string const sha_ = sha256_hex(big_.bytes);
    fault_server server_{[this, big = honest(big_), small = honest(small_)](fault_connection& c,
                                                                            seen_request const& r) {
        bool const is_big = r.target.starts_with("/big");
        if (!r.target.ends_with("?begin")) return (is_big ? big : small)(c, r);
        object const& o = is_big ? big_ : small_;
        auto const most = o.bytes.size() / 8 * 5;
        auto const [first, to] = r.range().value();
        auto const last = std::min<std::uint64_t>(to, o.bytes.size() - 1);
        c.send(honest_206_head(o, first, last));
        if (first < most) c.send(body(o, first, std::min<std::uint64_t>(last, most - 1)));
        if (last >= most) c.close();
    }};
};

bool can_trace() {
    try {
        return run({"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=exit_group", "-e",
                    "inject=exit_group:signal=KILL:when=1", "true"})
                   .signal == SIGKILL;
    } catch (std::system_error const&) {
        return false;
    }
}

// Two threads, each with downloads of its own.
void kill_at_every_point(bool sampled, std::size_t at_least) {
    if (!can_trace()) {
        WARN("skipped: there is no strace, or it may not trace");
        return;
    }
    struct task {
        char const* sink;
        bool resumed;
        way const* how;
    };
    std::vector<task> tasks;
    for (way const& how : ways)
        for (char const* const sink : {"file", "mapped"})
            for (bool const resumed : {false, true})
                if (!sampled || how.sample_most != 0) tasks.push_back({sink, resumed, &how});

    tally all;
    std::atomic<std::size_t> next = 0;
    auto const work = [&] {
        trial here{all};
        for (std::size_t i = next++; i < tasks.size(); i = next++) {
            try {
                here.kill_all(tasks[i].sink, tasks[i].resumed, *tasks[i].how, sampled);
            } catch (std::exception const& e) {
                std::lock_guard const lock{all.mutex};
                all.wrong.emplace_back(e.what());
            }
        }
    };
    std::thread other{work};
    work();
    other.join();

    WARN("killed " << all.killed << " times, " << all.complete
                   << " of them with every byte in place; at worst " << all.worst
                   << " bytes came again of " << may_come_again << " that may: " << all.worst_at);
    CHECK(all.wrong == strings{});
    CHECK(all.killed >= at_least);
    CHECK(all.complete > all.done);
}

} // namespace

TEST_CASE("killed at 40 system calls, the next run makes it right") {
    kill_at_every_point(true, 40);
}

TEST_CASE("killed at any system call, the next run makes it right (K01, K09)", "[.heavy]") {
    kill_at_every_point(false, 500);
}
