// SPDX-License-Identifier: BSL-1.0
//
// Fail every call. A reference download (reference.hpp) is run again and again, and in each run one
// call of the client's fails: the 1st, 2nd, 3rd ... of its name, once or from then on, with one of
// the errors that it may have (calls.hpp). However that is, a run must
// - end by itself, not by a signal, std::terminate or the watchdog: its handler is called once, or
//   `async_download` or `run()` throws bad_alloc, or what Asio cannot begin without;
// - have put the right file in place where it says so, and else that or nothing;
// - have got over what passes, and over what it can do without;
// - have lost no memory and left nothing open, and do no harm to the next run, which must succeed.
// The server is a process of its own, and the runs are made in another one: when that dies, the
// parent says at which call, and goes on behind it in a new one. A plain run takes all calls for
// memory and files and some of each other name, with their errors in turns; [heavy] takes all with
// all, in all references, and prints what came of them.

#include <support/catch.hpp>

#include <torture/calls.hpp>
#include <torture/reference.hpp>
#include <torture/symbols.hpp>

#include <support/temp_dir.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cxxabi.h>
#include <dirent.h>
#include <execinfo.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

// Where the sanitizers and the coverage are in, they are told that a process ends.
extern "C" [[gnu::weak]] int __lsan_do_recoverable_leak_check();
extern "C" [[gnu::weak]] void __gcov_dump();

using namespace cleave_test;
using namespace cleave_test::torture;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#else
constexpr bool sanitized = false;
#endif

// ---- a child process, and what it says ----------------------------------------------------------

// Lines that begin so: "@" before a run, "!" against it, "=" what came of it, "+" an address of a
// stack, "#" how often a call is made.
int report_to = -1;
constexpr unsigned patience = sanitized ? 60 : 20; // in seconds

void say(std::string_view line) {
    while (!line.empty()) {
        auto const n = ::write(report_to, line.data(), line.size());
        if (n <= 0) ::_exit(90);
        line.remove_prefix(static_cast<std::size_t>(n));
    }
}

void say_stack(std::span<void* const> stack) {
    for (void* const address : stack) {
        std::array<char, 24> line{'+'};
        auto const end = std::to_chars(line.data() + 1, line.data() + line.size() - 1,
                                       reinterpret_cast<std::uintptr_t>(address))
                             .ptr;
        *end = '\n';
        say({line.data(), static_cast<std::size_t>(end + 1 - line.data())});
    }
}

void say_where_and_die(int signal) {
    std::array<void*, 64> here{};
    int const n = ::backtrace(here.data(), static_cast<int>(here.size()));
    say(signal == SIGALRM ? "!it hangs, in\n" : "!it dies, in\n");
    say_stack({here.data(), static_cast<std::size_t>(n)});
    say("!and what failed was called by\n");
    say_stack(first_failure());
    ::signal(signal, SIG_DFL);
    ::raise(signal);
}

struct child_result {
    std::string said;
    int status = 0;
};

child_result in_child_process(std::function<void()> const& f) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::system_error{errno, std::generic_category(), "pipe"};
    (void)program_symbols::get();
    pid_t const child = ::fork();
    if (child < 0) throw std::system_error{errno, std::generic_category(), "fork"};
    if (child == 0) {
        ::close(ends[0]);
        report_to = ends[1];
        rlimit const none{};
        ::setrlimit(RLIMIT_CORE, &none);
        std::array<void*, 4> warm_up{};
        ::backtrace(warm_up.data(), static_cast<int>(warm_up.size()));
        for (int const s : {SIGABRT, SIGALRM}) ::signal(s, say_where_and_die);
        for (int const s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL})
            if (!sanitized) ::signal(s, say_where_and_die);
        int answer = 0;
        try {
            f();
        } catch (std::exception const& e) {
            say(std::string{"!the test itself failed: "} + e.what() + "\n");
            answer = 91;
        }
        ::alarm(0);
        if (__lsan_do_recoverable_leak_check != nullptr &&
            __lsan_do_recoverable_leak_check() != 0) {
            say("!memory has leaked: see LeakSanitizer's report\n");
            answer = 92;
        }
        if (__gcov_dump != nullptr) __gcov_dump();
        ::_exit(answer);
    }
    ::close(ends[1]);
    child_result r;
    std::array<char, 65536> some{};
    for (ssize_t n = 0; (n = ::read(ends[0], some.data(), some.size())) != 0;)
        if (n > 0) r.said.append(some.data(), static_cast<std::size_t>(n));
    ::close(ends[0]);
    while (::waitpid(child, &r.status, 0) < 0 && errno == EINTR) {
    }
    return r;
}

// The function at an address of a stack, without its arguments; empty for those that say nothing.
std::string function_at(std::string const& address) {
    auto const at = static_cast<std::uintptr_t>(std::stoull(address));
    std::string const mangled{program_symbols::get().name_of(reinterpret_cast<void*>(at))};
    int status = -1;
    std::unique_ptr<char, decltype(&std::free)> const name{
        abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free};
    std::string text;
    int depth = 0;
    for (char const c : std::string{name ? name.get() : ""}) {
        if (depth == 0 && c == '(' && !text.ends_with("operator")) break;
        if (c == '<') ++depth;
        if (depth == 0) text += c;
        if (c == '>') --depth;
    }
    text.erase(0, text.rfind(' ') + 1);
    bool const ours = text.starts_with("cleave::") || text.starts_with("asio::ip::") ||
                      text == "asio::post" ||
                      text == "asio::thread_pool::thread_function::operator()";
    return ours ? text : std::string{};
}

// ---- one run, and what is wrong with it ---------------------------------------------------------

struct place {
    std::filesystem::path directory;

    [[nodiscard]] std::string target() const { return directory / "model.bin"; }
    // What an earlier run has left, to be begun with.
    [[nodiscard]] std::string begun() const { return directory / "begun.bin"; }
};
constexpr std::string_view old_file = "the file of last year";
constexpr char const* endings[] = {"", ".part", ".cleave"};

void set_up(place const& at, bool resumes, bool old) {
    for (auto const* const e : endings) {
        std::filesystem::remove(at.target() + e);
        if (!resumes || !std::filesystem::exists(at.begun() + e)) continue;
        std::filesystem::copy_file(at.begun() + e, at.target() + e);
        // More than they should be, so that something is to be done about it.
        ::chmod((at.target() + e).c_str(), 0644);
    }
    if (old) write_file(at.target(), old_file);
}

int open_files() {
    int n = 0;
    DIR* const all = ::opendir("/proc/self/fd");
    while (::readdir(all) != nullptr) ++n;
    ::closedir(all);
    return n;
}

// What Asio cannot begin without: it throws what the constructors of its services meet.
bool may_throw(call c) {
    using enum call;
    return c == epoll_create1_ || c == eventfd_;
}

// A download can do without these, for ever.
bool is_dispensable(call c) {
    using enum call;
    constexpr std::array all{close_,           unlink_,       setsockopt_,
                             fcntl_,           getsockname_,  timerfd_create_,
                             eventfd_,         epoll_wait_,   SSL_SESSION_dup_,
                             SSL_set_session_, SSL_shutdown_, SSL_CTX_set_alpn_protos_};
    return std::find(all.begin(), all.end(), c) != all.end();
}
// Where one of these fails once, another connection is made.
bool is_tried_again(call c) {
    using enum call;
    constexpr std::array all{socket_,
                             connect_,
                             getsockopt_,
                             ioctl_,
                             poll_,
                             recv_,
                             send_,
                             epoll_ctl_,
                             getaddrinfo_,
                             SSL_new_,
                             SSL_set1_host_,
                             SSL_ctrl_,
                             BIO_new_,
                             SSL_set_ex_data_,
                             SSL_read_ex_,
                             SSL_write_ex_,
                             X509_VERIFY_PARAM_set1_ip_asc_};
    return std::find(all.begin(), all.end(), c) != all.end();
}
bool must_succeed(fault const& f) {
    int const error = info(f.call).errors[f.error];
    bool const of_system = info(f.call).what == kind::system || info(f.call).what == kind::file;
    return (of_system && (error == EINTR || error == half)) || is_dispensable(f.call) ||
           (is_tried_again(f.call) && !f.for_ever);
}

std::string what_came_of(outcome const& e) {
    if (e.calls == 0) return e.thrown.empty() ? "nothing" : "throws " + e.thrown;
    return e.ec ? std::string{e.ec.category().name()} + ": " + e.ec.message() : "success";
}

// Appends to `against`, which has room.
void judge(std::string& against, place const& at, fault const& f, outcome const& e, bool old) {
    bool const thrown = !e.thrown.empty();
    bool const of_memory = info(f.call).what == kind::memory;
    int const error = info(f.call).errors[f.error];
    bool const success = e.calls != 0 && !e.ec;
    bool const failure = e.calls != 0 && e.ec;
    if (thrown && !(of_memory ? e.out_of_memory : may_throw(f.call)))
        against += "!it throws " + e.thrown + "\n";
    if (e.calls == 0 && !thrown) against += "!the handler is not called\n";
    if (e.calls > 1) against += "!the handler is called more than once\n";
    if (!e.wrong.empty()) against += "!" + e.wrong + "\n";
    if (success && e.report.failed) against += "!only the report says that it failed\n";
    if (failure && (!e.report.failed || e.report.failed->code != e.ec || e.ec.message().empty()))
        against += "!the report does not say that it fails with " + what_came_of(e) + "\n";
    if (failure && must_succeed(f)) against += "!it fails with " + what_came_of(e) + "\n";
    // The file is to blame, by an error of the library's, or by this one of the system's.
    if (failure && info(f.call).what == kind::file &&
        (e.report.failed->where != cleave::phase::sink ||
         (e.ec.category() == std::system_category() && e.ec.value() != error)))
        against += "!it blames " + what_came_of(e) + "\n";

    bool const there = std::filesystem::exists(at.target());
    std::string const found = there ? read_file(at.target()) : "";
    bool const right = there && found == the_object().bytes;
    if (success && !right) against += "!success, and not the right file\n";
    if (there && !right && !(old && found == old_file)) against += "!a wrong file\n";
    if (success && f.call == call::fsync_ && error != EINTR)
        against += "!success, and not durable\n";
}

void try_one(reference const& r, place const& at, fault const& f) {
    say("@" + to_string(f) + "\n");
    ::alarm(patience);
    bool const old = !r.resumes && f.nth % 2 == 1;
    std::string against;
    std::string what;
    against.reserve(4096); // so that it is no block more than before
    what.reserve(1024);
    // What is made once and kept, such as a thread's buffer when first there are bytes for it, is
    // no leak; what is lost every time is.
    constexpr int times = 4;
    for (int time = 1; time <= times; ++time) {
        set_up(at, r.resumes, old);
        int const files = open_files();
        std::int64_t const blocks = live_blocks;
        {
            outcome const e = r.download(at.target(), f);
            if (failures() == 0 && time != 1) break;
            if (failures() == 0) return; // it is not made this time, or Asio could not bear it
            judge(against, at, f, e, old);
            what = what_came_of(e);
        }
        std::int64_t const lost = live_blocks - blocks;
        int const left_open = open_files() - files;
        if (left_open != 0) against += "!files are left open: " + std::to_string(left_open) + "\n";
        if (time == times && lost > 0)
            against += "!memory is lost: " + std::to_string(lost) + " blocks\n";
        if (lost <= 0 || !against.empty()) break;
    }

    outcome const e = r.download(at.target(), std::nullopt);
    if (e.calls != 1 || e.ec || !e.thrown.empty() || !e.wrong.empty())
        against += "!the next run comes to grief: " + what_came_of(e) + e.wrong + "\n";
    else if (read_file(at.target()) != the_object().bytes)
        against += "!the next run has a wrong file\n";
    for (auto const* const left : {".part", ".cleave"})
        if (std::filesystem::exists(at.target() + left))
            against += std::string{"!the next run leaves a "} + left + "\n";
    ::alarm(0);
    say(against);
    say(std::string{"="} + info(f.call).name + (f.for_ever ? " for ever" : " once") + "\t" + what +
        "\n");
}

// ---- all of them --------------------------------------------------------------------------------

// What was wrong, and at which calls; and what came of all.
struct findings {
    std::map<std::string, std::vector<std::string>> wrong;
    std::map<std::string, std::map<std::string, int>> outcomes;
    int runs = 0;

    void read(std::string const& name, child_result const& r);
    [[nodiscard]] std::string text() const {
        std::ostringstream out;
        for (auto const& [what, where] : wrong) {
            out << where.size() << " x " << what;
            constexpr std::size_t most = 8;
            for (std::size_t i = 0; i != std::min(where.size(), most); ++i)
                out << "    " << where[i] << '\n';
            if (where.size() > most) out << "    ...\n";
        }
        return out.str();
    }
};

void findings::read(std::string const& name, child_result const& r) {
    std::string run;
    std::string against;
    int shown = 0; // of a stack
    auto const note = [&] {
        if (!against.empty()) wrong[against].push_back(name + ": " + run);
        against.clear();
    };
    std::istringstream lines{r.said};
    for (std::string line; std::getline(lines, line);) {
        switch (line.empty() ? ' ' : line.front()) {
        case '@':
            note();
            run = line.substr(1);
            break;
        case '=': {
            auto const tab = line.find('\t');
            ++outcomes[line.substr(1, tab - 1)][line.substr(tab + 1)];
            ++runs;
            break;
        }
        case '!':
            against += line.substr(1) + "\n";
            shown = 0;
            break;
        case '+':
            if (auto const called = function_at(line.substr(1)); !called.empty() && shown++ < 8)
                against += "  " + called + "\n";
            break;
        default: break;
        }
    }
    if (WIFSIGNALED(r.status))
        against += "killed by signal " + std::to_string(WTERMSIG(r.status)) + "\n";
    else if (r.status != 0)
        against += "ended with " + std::to_string(WEXITSTATUS(r.status)) + "\n";
    note();
}

// How often each call is made undisturbed. Leaves what is to be begun with.
std::map<std::string, std::uint64_t> count_calls(reference const& r, place const& at) {
    auto const counted = in_child_process([&] {
        ::alarm(patience);
        if (r.resumes) r.begin(at.begun());
        set_up(at, r.resumes, false);
        outcome const e = r.download(at.target(), fault{});
        if (e.calls != 1 || e.ec || !e.wrong.empty()) say("!" + what_came_of(e) + e.wrong + "\n");
        if (r.resumes && e.report.bytes_resumed == 0) say("!it does not resume\n");
        for (std::size_t i = 0; i != call_count; ++i) {
            auto const c = static_cast<call>(i);
            say(std::string{"#"} + info(c).name + " " + std::to_string(calls_of(c)) + "\n");
        }
    });
    INFO(r.name << " undisturbed: " << counted.said);
    REQUIRE(counted.said.find('!') == std::string::npos);
    REQUIRE(counted.status == 0);
    std::map<std::string, std::uint64_t> counts;
    std::istringstream lines{counted.said};
    for (std::string line; std::getline(lines, line);) {
        auto const space = line.find(' ');
        if (line.starts_with('#'))
            counts[line.substr(1, space - 1)] = std::stoull(line.substr(space));
    }
    return counts;
}

// In as many processes as it takes.
void run_all(reference const& r, place const& at, std::vector<fault> const& faults, findings& f) {
    for (std::size_t done = 0; done < faults.size();) {
        auto const result = in_child_process([&] {
            for (std::size_t i = done; i != faults.size(); ++i) try_one(r, at, faults[i]);
        });
        f.read(r.name, result);
        if (result.status == 0) break;
        auto const begun = std::count(result.said.begin(), result.said.end(), '@');
        done += static_cast<std::size_t>(std::max<std::ptrdiff_t>(begun, 1));
    }
}

// Which of the calls of a name are to fail: `most`, the first and the last among them, with each of
// their errors in turns; or all with every error, and, since there may be one more or less the next
// time, some that perhaps are not made.
std::vector<fault> choose(call c, bool for_ever, std::uint64_t made,
                          std::optional<std::uint64_t> most) {
    std::vector<fault> chosen;
    std::size_t const errors = errors_of(c, for_ever);
    if (errors == 0) return chosen;
    if (!most) {
        for (std::uint64_t nth = 1; nth <= made + made / 16 + 1; ++nth)
            for (std::size_t e = 0; e != errors; ++e) chosen.push_back({c, nth, for_ever, e});
        return chosen;
    }
    std::uint64_t const n = std::min(made, *most);
    for (std::uint64_t i = 0; i != n; ++i) {
        std::uint64_t const nth = n == 1 ? 1 : 1 + i * (made - 1) / (n - 1);
        // In turns, and those for ever begin where the others end.
        std::size_t const turn = static_cast<std::size_t>(for_ever ? i + n : i);
        chosen.push_back({c, nth, for_ever, turn % errors});
    }
    return chosen;
}

// How many calls of each name, at most, are to fail; nothing for all with every error.
using chooser = std::function<std::optional<std::uint64_t>(call)>;

void torture_one(reference const& r, place const& at, chooser const& most, findings& f) {
    auto const counts = count_calls(r, at);
    for (std::size_t i = 0; i != call_count; ++i) {
        auto const c = static_cast<call>(i);
        std::uint64_t const made = counts.at(info(c).name);
        if (made == 0) continue;
        // What a process makes once and for all may fail in both.
        for (bool const for_ever : {false, true})
            run_all(r, at, choose(c, for_ever, made, most(c)), f);
    }
}

chooser of_kind(kind k, std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) {
    return [=](call c) { return info(c).what == k ? most : 0; };
}

void check(findings const& f) {
    INFO(f.text());
    CHECK(f.runs > 0);
    CHECK(f.wrong.empty());
}

} // namespace

TEST_CASE("there is no memory: one allocation fails, or all from there on") {
    temp_dir const dir;
    place const at{dir.path()};
    server_process const server{dir.path()};
    // By its functions' names is known what Asio cannot bear.
    REQUIRE(program_symbols::get().name_of(reinterpret_cast<void*>(&try_one)).find("try_one") !=
            std::string_view::npos);
    findings f;
    torture_one(in_memory("in memory", false), at, of_kind(kind::memory), f);
    torture_one(in_memory("in memory, resumed", true), at, of_kind(kind::memory), f);
    torture_one(over_sockets("plain", server.plain_url()), at, of_kind(kind::memory, 40), f);
    torture_one(over_sockets("TLS", server.tls_url("localhost"), {.kept = true}), at,
                of_kind(kind::memory, 40), f);
    check(f);
}

TEST_CASE("a file does what files do: each call fails once, and from there on") {
    temp_dir const dir;
    place const at{dir.path()};
    server_process const server{dir.path()};
    auto const url = server.plain_url();
    findings f;
    torture_one(over_sockets("plain", url), at, of_kind(kind::file), f);
    torture_one(over_sockets("plain, resumed", url, {.resumes = true}), at, of_kind(kind::file), f);
    torture_one(over_sockets("mapped", url, {.sink = sink_kind::mapped}), at, of_kind(kind::file),
                f);
    check(f);
}

TEST_CASE("the system refuses: calls for sockets, events and threads fail") {
    temp_dir const dir;
    place const at{dir.path()};
    server_process const server{dir.path()};
    findings f;
    torture_one(over_sockets("plain", server.plain_url()), at, of_kind(kind::system, 3), f);
    torture_one(over_sockets("plain, kept", server.plain_url(), {.kept = true}), at,
                of_kind(kind::system, 3), f);
    torture_one(over_sockets("TLS", server.tls_url("localhost")), at, of_kind(kind::system, 3), f);
    check(f);
}

TEST_CASE("OpenSSL fails: calls for digests, trust, handshakes and records") {
    temp_dir const dir;
    place const at{dir.path()};
    server_process const server{dir.path()};
    findings f;
    torture_one(over_sockets("TLS", server.tls_url("localhost")), at, of_kind(kind::openssl, 3), f);
    torture_one(over_sockets("TLS, kept", server.tls_url("localhost"), {.kept = true}), at,
                of_kind(kind::openssl, 3), f);
    torture_one(over_sockets("TLS, resumed", server.tls_url("127.0.0.1"), {.resumes = true}), at,
                of_kind(kind::openssl, 3), f);
    check(f);
}

TEST_CASE("every call fails with every error, in every reference download", "[.heavy]") {
    temp_dir const dir;
    place const at{dir.path()};
    std::size_t const references = 9;
    for (std::size_t i = 0; i != references; ++i) {
        // A new one for each: the one over TLS keeps what it has had.
        server_process const server{dir.path()};
        auto const plain = server.plain_url();
        auto const named = server.tls_url("localhost");
        reference const all[references] = {
            in_memory("in memory", false),
            in_memory("in memory, resumed", true),
            over_sockets("plain", plain),
            over_sockets("plain, resumed", plain, {.resumes = true}),
            over_sockets("plain, kept", plain, {.kept = true}),
            over_sockets("mapped", plain, {.sink = sink_kind::mapped}),
            over_sockets("TLS", named),
            over_sockets("TLS, kept", named, {.kept = true}),
            over_sockets("TLS, resumed", server.tls_url("127.0.0.1"), {.resumes = true})};
        findings f;
        torture_one(
            all[i], at, [](call) { return std::nullopt; }, f);
        std::cout << all[i].name << ": " << f.runs << " runs\n";
        for (auto const& [c, outcomes] : f.outcomes)
            for (auto const& [what, n] : outcomes)
                std::cout << "    " << c << ": " << n << " x " << what << '\n';
        check(f);
    }
}
