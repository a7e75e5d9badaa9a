// SPDX-License-Identifier: BSL-1.0
//
// cleave-get that is interrupted, refused, or out of room: what stays behind, what it says, and
// that the same command goes on from there. What was fetched again is counted by the server.

#include <support/catch.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <support/fault_server.hpp>
#include <support/fork.hpp>

#include "run_cleave_get.hpp"

using namespace cleave_test;
using namespace std::chrono_literals;
using strings = std::vector<std::string>;

namespace {

constexpr std::size_t lanes = 4;
// What a lane asks for again, of what is in place before its first byte, to compare it.
constexpr std::size_t sample = 4096;

// A server that brings no byte behind the first half of its object until it is told to go on.
class halting {
  public:
    explicit halting(std::size_t size) : whole(object::random(size, 1)) {}

    // The command that downloads it; what `more` says comes behind.
    strings command(strings const& more = {}) const {
        strings args{server.url("/x"), "--json", "-n", std::to_string(lanes)};
        args.insert(args.end(), more.begin(), more.end());
        return cleave_get_command(args);
    }
    process_result get(temp_dir const& in, strings const& more = {}) const {
        return run(command(more), {.directory = in.path().string()});
    }
    // Until the object's first bytes are in the partial. False if that takes too long.
    bool wait_for_partial(temp_dir const& in) const {
        auto const begin = std::string_view{whole.bytes}.substr(0, sample);
        for (auto const until = std::chrono::steady_clock::now() + 60s;
             std::chrono::steady_clock::now() < until; ::poll(nullptr, 0, 5))
            if (std::filesystem::exists(in / "x.part") &&
                read_file(in / "x.part").starts_with(begin))
                return true;
        return false;
    }
    // Leaves what a run does that was interrupted in the middle, and answers with how much of it
    // there is.
    std::uint64_t interrupt(temp_dir const& in, int signal = SIGINT, strings const& more = {}) {
        halts = true;
        child c{command(more), {.directory = in.path().string()}};
        REQUIRE(wait_for_partial(in));
        c.kill(signal);
        auto const r = c.wait();
        CAPTURE(r.err);
        CHECK(r.exit_code == 128 + signal);
        CHECK(files_in(in) == strings{"x.cleave", "x.part"});
        auto const report = report_in(r);
        CHECK(report.at("error").at("cause") == "cancelled");
        CHECK(report.at("kept") == true);
        CHECK(contains(r.err, "are kept in x.part; the same command goes on from there"));
        halts = false;
        sent_before = server.bytes_sent();
        requests_before = server.requests().size();
        return report.at("bytes");
    }
    std::uint64_t sent_since() const { return server.bytes_sent() - sent_before; }

    object whole;
    std::atomic<bool> halts = false;
    std::uint64_t sent_before = 0;
    std::size_t requests_before = 0;
    gate never;
    fault_server server{[this](fault_connection& c, seen_request const& r) {
        if (!halts) return honest(whole)(c, r);
        auto const half = whole.bytes.size() / 2;
        auto const [first, to] = r.range().value();
        auto const last = std::min<std::uint64_t>(to, whole.bytes.size() - 1);
        c.send(honest_206_head(whole, first, last));
        if (first < half) c.send_body(body(whole, first, std::min<std::uint64_t>(last, half - 1)));
        if (last >= half) c.wait(never);
    }};
};

bool cannot_preload() {
    if (sanitized) WARN("skipped: a sanitizer cannot be preloaded over");
    return sanitized;
}

process_options preloaded(char const* library, temp_dir const& in) {
    return {.env = {{"LD_PRELOAD", std::string{CLEAVE_BIN_DIR "/"} + library}},
            .directory = in.path().string()};
}

} // namespace

TEST_CASE("what was interrupted by a signal is gone on with by the same command") {
    auto const signal = GENERATE(SIGINT, SIGTERM);
    auto const* const sink = GENERATE("file", "mapped");
    halting h{6U << 20};
    temp_dir dir;
    auto const kept = h.interrupt(dir, signal, {"--sink", sink});
    CHECK(kept >= sample);
    auto const r = h.get(dir, {"--sink", sink});
    CAPTURE(signal, sink, r.err);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == h.whole.bytes));
    CHECK(files_in(dir) == strings{"x"});
    CHECK(report_in(r).at("bytes_resumed") == kept);
    CHECK(contains(last_line(r.err), " were there already"));
    // All the rest, what is compared, and what a lane has on its way when another takes it over.
    auto const rest = h.whole.bytes.size() - kept;
    CHECK(h.sent_since() >= rest);
    auto const steals = report_in(r).at("steals").get<std::size_t>();
    CHECK(h.sent_since() <= rest + lanes * sample + steals * (std::size_t{1} << 20));
}

TEST_CASE("with --no-resume it begins at the first byte") {
    halting h{6U << 20};
    temp_dir dir;
    CHECK(h.interrupt(dir) != 0);
    auto const r = h.get(dir, {"--no-resume"});
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == h.whole.bytes));
    CHECK(files_in(dir) == strings{"x"});
    CHECK(report_in(r).at("bytes_resumed") == 0);
    CHECK(h.server.requests().at(h.requests_before).range()->first == 0);
    CHECK(h.sent_since() >= h.whole.bytes.size());
}

TEST_CASE("what is there of another object is not gone on with") {
    halting h{6U << 20};
    temp_dir dir;
    h.interrupt(dir);
    h.whole = object::random(5U << 20, 2, "\"v2\"");
    auto const r = h.get(dir);
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == h.whole.bytes));
    CHECK(report_in(r).at("bytes_resumed") == 0);
    CHECK(files_in(dir) == strings{"x"});
}

TEST_CASE("with --durable, what is in place is synced while there is more to come") {
    if (cannot_preload()) return;
    halting h{6U << 20};
    h.halts = true;
    temp_dir dir;
    auto options = preloaded("stuck.so", dir);
    options.env.emplace_back("CLEAVE_STUCK", "fsync");
    child c{h.command({"--durable"}), options};
    CHECK(c.wait_for_output("stuck", true));
}

TEST_CASE("a download that was interrupted goes on durably") {
    halting h{6U << 20};
    temp_dir dir;
    auto const kept = h.interrupt(dir, SIGINT, {"--durable"});
    auto const r = h.get(dir, {"--durable"});
    CAPTURE(r.err);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == h.whole.bytes));
    CHECK(report_in(r).at("bytes_resumed") == kept);
}

TEST_CASE("with --retries 0 the first failure is the last, and the next run goes on") {
    auto const o = object::random(1U << 20, 3);
    fault_server server{honest(o, {.cut_after = 100000})};
    temp_dir dir;
    auto const r = cleave_get(dir, {server.url("/x"), "--json", "-n", "1", "--retries", "0"});
    CAPTURE(r.err);
    CHECK(r.exit_code == 1);
    CHECK(server.requests().size() == 1);
    CHECK(report_in(r).at("retries") == 0);
    CHECK(report_in(r).at("bytes") == 100000);
    CHECK(files_in(dir) == strings{"x.cleave", "x.part"});

    auto const again = cleave_get(dir, {server.url("/x"), "--json", "-n", "1"});
    CHECK(again.exit_code == 0);
    CHECK(report_in(again).at("bytes_resumed") == 100000);
    CHECK(report_in(again).at("retries").get<int>() > 0);
    CHECK((read_file(dir / "x") == o.bytes));
}

TEST_CASE("a URL that expires near the end is renewed once, and the download goes on from there") {
    auto const o = object::random(4U << 20, 4);
    constexpr std::size_t segment = 256 * 1024;
    std::size_t const good_for = o.bytes.size() / 100 * 98;
    std::atomic<std::size_t> by_old = 0;
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (r.target != "/x?token=old") return honest(o)(c, r);
        auto const refuse = [&] { c.send(reply(403, "Forbidden", {}, "it has expired")); };
        if (by_old >= good_for) return refuse();
        auto const [first, to] = r.range().value();
        auto const last = std::min<std::uint64_t>(to, o.bytes.size() - 1);
        c.send(honest_206_head(o, first, last));
        for (auto rest = body(o, first, last); !rest.empty();) {
            auto const some = rest.substr(0, 4096);
            if (by_old.fetch_add(some.size()) >= good_for) return c.close();
            if (!c.send_body(some)) return;
            rest.remove_prefix(some.size());
        }
    }};
    temp_dir dir;
    auto const r =
        cleave_get(dir, {server.url("/x?token=old"), "--json", "-n", std::to_string(lanes),
                         "--segment-size", "256K", "--renew-command",
                         "echo called >> calls; echo '" + server.url("/x?token=new") + "'"});
    CAPTURE(r.err, good_for);
    REQUIRE(r.exit_code == 0);
    CHECK((read_file(dir / "x") == o.bytes));
    CHECK(read_file(dir / "calls") == "called\n");
    CHECK(files_in(dir) == strings{"calls", "x"});
    CHECK(report_in(r).at("refreshes") == 1);
    CHECK(contains(last_line(r.err), ", 1 fresh URL"));
    CHECK(server.bytes_sent() <= o.bytes.size() + segment);
}

TEST_CASE("a command that has no fresh URL ends the download, and what is in place stays") {
    auto const o = object::random(1U << 20, 4);
    fault_server server{[&](fault_connection& c, seen_request const& r) {
        if (r.index == 0) return honest(o, {.cut_after = 100000})(c, r);
        c.send(reply(403, "Forbidden"));
    }};
    auto const* const command = GENERATE("exit 1", "true", "echo nonsense");
    temp_dir dir;
    auto const r =
        cleave_get(dir, {server.url("/x"), "--json", "-n", "1", "--renew-command", command});
    CAPTURE(command, r.err);
    CHECK(r.exit_code == 1);
    CHECK(report_in(r).at("bytes") == 100000);
    CHECK(files_in(dir) == strings{"x.cleave", "x.part"});
}

TEST_CASE("a second process at the same target ends at once and asks nobody (J09)") {
    halting h{6U << 20};
    h.halts = true;
    temp_dir dir;
    child first{h.command(), {.directory = dir.path().string()}};
    REQUIRE(h.wait_for_partial(dir));
    REQUIRE(h.server.wait_for_requests(2));
    auto const* const sink = GENERATE("file", "mapped");
    fault_server another{honest(h.whole)};
    auto const second = cleave_get(dir, {another.url("/x"), "--sink", sink, "--json"});
    CAPTURE(second.err);
    CHECK(second.exit_code == 1);
    CHECK(contains(last_line(second.err), "another process is downloading to the same target"));
    CHECK(another.connections() == 0);
    // And did the first no harm.
    h.never.open();
    first.kill(SIGINT);
    CHECK(first.wait().exit_code == 130);
    h.halts = false;
    CHECK(h.get(dir).exit_code == 0);
    CHECK((read_file(dir / "x") == h.whole.bytes));
}

TEST_CASE("a target that cannot be a file is named, and nobody is asked (I07)") {
    fault_server server{honest(object::random(1000, 5))};
    temp_dir dir;
    write_file(dir / "file", "another's");
    std::filesystem::create_directory(dir / "directory");
    std::filesystem::create_symlink("file", dir / "link");
    std::filesystem::create_symlink("nowhere", dir / "dangling");
    REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
    auto const before = files_in(dir);
    auto const [target, text] = GENERATE(table<char const*, char const*>({
        {"directory", "the target is a directory; name a file"},
        {"link", "is not a regular file; name another one"},
        {"dangling", "is not a regular file; name another one"},
        {"pipe", "is not a regular file; name another one"},
        {"nowhere/at/all", "No such file or directory"},
        {"file/x", "Not a directory"},
    }));
    auto const* const sink = GENERATE("file", "mapped");
    auto const r = cleave_get(dir, {server.url("/x"), "-o", target, "--sink", sink});
    CAPTURE(target, sink, r.err);
    CHECK(r.exit_code != 0);
    CHECK(contains(last_line(r.err), text));
    CHECK(server.connections() == 0);
    CHECK(files_in(dir) == before);
    CHECK(read_file(dir / "file") == "another's");
}

TEST_CASE("a link in place of the partial or the journal is not followed (I07)") {
    auto const* const name = GENERATE("x.part", "x.cleave");
    auto const o = object::random(1000, 5);
    fault_server server{honest(o)};
    temp_dir dir;
    write_file(dir / "file", "another's");
    std::filesystem::create_symlink("file", dir / name);
    auto const r = cleave_get(dir, {server.url("/x")});
    CAPTURE(name, r.err);
    CHECK(r.exit_code == 1);
    CHECK(contains(last_line(r.err), "is not a regular file"));
    CHECK(read_file(dir / "file") == "another's");
    CHECK_FALSE(std::filesystem::exists(dir / "x"));
}

TEST_CASE("a directory that may not be written to is named, and nobody is asked (J06)") {
    fault_server server{honest(object::random(1000, 5))};
    // Root may write anywhere, so somebody else has to try; who must be able to get at the program.
    temp_dir programs;
    std::filesystem::copy_file(CLEAVE_BIN_DIR "/cleave-get", programs / "cleave-get");
    temp_dir dir;
    ::chmod(programs.path().c_str(), 0755);
    ::chmod(dir.path().c_str(), 0555);
    int const answer = in_child([&] {
        if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 3;
        auto const r = run({(programs / "cleave-get").string(), server.url("/x")},
                           {.directory = dir.path().string()});
        return r.exit_code == 1 && contains(last_line(r.err), "Permission denied") ? 0 : 1;
    });
    ::chmod(dir.path().c_str(), 0755);
    CHECK(answer == 0);
    CHECK(server.connections() == 0);
    CHECK(files_in(dir).empty());
}

TEST_CASE("a quota that is used up is named, and with more of it the next run goes on (J06, J08)") {
    if (cannot_preload()) return;
    auto const o = object::random(6U << 20, 6);
    fault_server server{honest(o)};
    temp_dir dir;
    auto options = preloaded("quota.so", dir);
    options.env.emplace_back("CLEAVE_QUOTA", "3000000");
    strings const args{server.url("/x"), "--json", "-n", std::to_string(lanes)};
    auto const r = run(cleave_get_command(args), options);
    CAPTURE(r.err);
    CHECK(r.exit_code == 1);
    CHECK(contains(r.err, "Disk quota exceeded"));
    CHECK(report_in(r).at("error").at("cause") == "storage");
    CHECK(report_in(r).at("kept") == true);
    // What one write had of it before it failed does not count.
    auto const kept = report_in(r).at("bytes").get<std::uint64_t>();
    CHECK(kept <= 3000000);
    CHECK(kept > 3000000 - (1U << 20));
    CHECK(files_in(dir) == strings{"x.cleave", "x.part"});

    auto const again = cleave_get(dir, args);
    CAPTURE(again.err);
    REQUIRE(again.exit_code == 0);
    CHECK(report_in(again).at("bytes_resumed") == kept);
    CHECK((read_file(dir / "x") == o.bytes));
}

TEST_CASE("a full disk is named, and when there is room the same command goes on (J01)") {
    auto const o = object::random(300'000, 7);
    fault_server server{honest(o)};
    temp_dir dir;
    constexpr int no_disk = 2;
    strings const args{server.url("/x"), "--json", "-n", "1"};

    SECTION("where room can be made beforehand, before anything is fetched for it") {
        int const answer = in_child([&] {
            if (!own_small_disk(dir.path())) return no_disk;
            auto const r = cleave_get(dir, args);
            auto const report = report_in(r);
            if (r.exit_code != 1 || !contains(r.err, "No space left on device")) return 3;
            if (report.at("error").at("cause") != "storage" || report.at("bytes") != 0) return 4;
            return files_in(dir).empty() ? 0 : 5;
        });
        if (answer == no_disk)
            WARN("skipped: no file system may be mounted");
        else
            CHECK(answer == 0);
    }
    SECTION("where it cannot, when it is full") {
        if (cannot_preload()) return;
        int const answer = in_child([&] {
            if (!own_small_disk(dir.path())) return no_disk;
            auto const r = run(cleave_get_command(args), preloaded("quota.so", dir));
            auto const report = report_in(r);
            if (r.exit_code != 1 || !contains(r.err, "No space left on device")) return 3;
            if (report.at("error").at("cause") != "storage" || report.at("kept") != true) return 4;
            if (files_in(dir) != strings{"x.cleave", "x.part"}) return 5;

            if (::mount(nullptr, dir.path().c_str(), nullptr, MS_REMOUNT, "size=4m") != 0) return 6;
            auto const again = cleave_get(dir, args);
            if (again.exit_code != 0) return 7;
            auto const resumed = report_in(again).at("bytes_resumed");
            if (resumed == 0 || resumed != report.at("bytes")) return 8;
            return read_file(dir / "x") == o.bytes ? 0 : 9;
        });
        if (answer == no_disk)
            WARN("skipped: no file system may be mounted");
        else
            CHECK(answer == 0);
    }
}
