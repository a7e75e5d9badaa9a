// SPDX-License-Identifier: BSL-1.0
//
// What an update costs the device while it runs: its share of the processor at 1 MB/s into chunks
// of 2 KiB, how late another thread of the same program wakes up that has something to do each
// millisecond, with the update and without, and how much memory it takes.

#include "child.hpp"
#include "options.hpp"
#include "shaped_server.hpp"
#include "table.hpp"

#include <cleave/ota/update.hpp>
#include <cleave/verify/openssl_hasher.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sys/prctl.h>

namespace {

using cleave_bench::child;
using cleave_bench::child_end;
using cleave_bench::shaped_server;
using cleave_bench::table;
using cleave_bench::text;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr std::uint64_t rate = 1'000'000; // bytes a second, of all lanes together
constexpr std::size_t chunk = 2048;
// As an ordered sink divides it: less than 64 KiB no lane takes, and a chunk is handed on
// meanwhile.
constexpr std::size_t window_of(std::uint32_t lanes) {
    return lanes <= 1 ? 16 * chunk : lanes * 64 * 1024 + chunk;
}
constexpr std::uint32_t most_lanes = 4;
constexpr nanoseconds period = std::chrono::milliseconds{1};
constexpr std::uint64_t memory_size = 10'000'000;
constexpr std::chrono::seconds time_limit{300};

struct options {
    std::size_t seconds = 10; // of each run
    std::size_t runs = 3;
    bool markdown = false;
};

// --- the device ----------------------------------------------------------------------------------

/// Flash memory of which only the block that is written lies in memory: what an image takes is not
/// what an update takes.
class one_block {
  public:
    [[nodiscard]] std::uint64_t size() const noexcept { return std::uint64_t{1} << 40; }
    [[nodiscard]] std::size_t block_size() const noexcept { return cells_.size(); }
    [[nodiscard]] std::size_t program_size() const noexcept { return 256; }
    void erase(std::uint64_t, std::error_code&) noexcept {
        std::memset(cells_.data(), 0xff, cells_.size());
    }
    void program(std::uint64_t offset, std::span<std::byte const> bytes,
                 std::error_code&) noexcept {
        std::memcpy(cells_.data() + offset % cells_.size(), bytes.data(), bytes.size());
    }
    void read(std::uint64_t, std::span<std::byte>, std::error_code& ec) noexcept {
        ec = std::make_error_code(std::errc::not_supported);
    }

  private:
    std::array<std::byte, 64 * 1024> cells_{};
};

class device {
  public:
    using hasher_type = cleave::openssl_hasher;

    explicit device(std::size_t window) : window_(window) {}

    [[nodiscard]] std::string current_version(std::string const&) const { return running_; }
    auto sink(cleave::firmware const& fw, std::size_t i, std::uint64_t from) {
        return cleave::flash_sink{flash_, std::span{buffer_}.first(window_), chunk,
                                  fw.files[i].size, from};
    }
    void report_progress(cleave::update_progress const&) noexcept {}
    void async_report_version(std::string const&, std::string const&,
                              std::function<void(std::error_code)> done) {
        done({});
    }
    std::size_t load(std::string const&, std::span<std::byte>, std::error_code&) { return 0; }
    void save(std::string const&, std::span<std::byte const>, std::error_code&) {}
    cleave::install_result install(cleave::firmware const& fw, std::error_code&) {
        running_ = fw.version;
        return cleave::install_result::running;
    }
    void confirm(std::string const&, std::string const&, std::error_code&) {}

  private:
    one_block flash_;
    // Static, so that what is not used of it takes no memory.
    std::array<std::byte, window_of(most_lanes)> buffer_;
    std::size_t window_;
    std::string running_ = "1.0";
};

/// Of the object's first `size` bytes, in hexadecimal digits.
std::string digest_of(std::uint64_t size) {
    cleave::openssl_hasher h{cleave::digest_algorithm::sha256};
    std::error_code ec;
    h.reset(ec);
    std::vector<std::byte> some(64 * 1024);
    for (std::uint64_t at = 0; at != size;) {
        auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(some.size(), size - at));
        cleave_bench::fill(at, std::span{some}.first(n));
        h.update(std::span{some}.first(n), ec);
        at += n;
    }
    std::string hex;
    auto const value = h.finish(ec);
    if (ec) throw std::system_error{ec};
    for (std::byte const b : value.view()) hex += text("%02x", std::to_integer<unsigned>(b));
    return hex;
}

/// Runs an update to its end; empty when the new version was reported, else what went wrong.
std::string update(std::string const& url, std::uint64_t size, std::string const& digest,
                   std::uint32_t lanes) {
    static device d{window_of(lanes)};
    asio::io_context context{1};
    std::string wrong = "it did not end";
    auto how = cleave::policies<>{}.with_lanes(cleave::fixed_lanes{lanes});
    cleave::firmware fw{.module = "default", .version = "2.0", .files = {}};
    fw.files.push_back({url, size, "SHA256", digest, {}});
    cleave::async_update(context.get_executor(), std::move(fw), d, std::move(how),
                         [&](std::error_code ec, cleave::update_report const& r) {
                             wrong = r.failed ? r.failed->text : ec ? ec.message() : "";
                         });
    context.run();
    return wrong;
}

// --- a thread with something to do each millisecond ----------------------------------------------

constexpr std::size_t most_ticks = 700'000;

/// How late it was each time, in nanoseconds, until it is told to stop.
class ticker {
  public:
    ticker() {
        late_.reserve(most_ticks);
        thread_ = std::thread{[this] { run(); }};
    }
    /// Seconds of processor time that it took itself.
    double stop() {
        stopping_ = true;
        thread_.join();
        return cpu_;
    }
    [[nodiscard]] std::vector<std::uint32_t> const& late() const noexcept { return late_; }

  private:
    void run() {
        // Timers of a thread are late by 50 us otherwise, for the system's convenience.
        ::prctl(PR_SET_TIMERSLACK, 1UL);
        timespec due{};
        ::clock_gettime(CLOCK_MONOTONIC, &due);
        while (!stopping_ && late_.size() != most_ticks) {
            due.tv_nsec += period.count();
            if (due.tv_nsec >= 1'000'000'000) {
                due.tv_nsec -= 1'000'000'000;
                ++due.tv_sec;
            }
            while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr) == EINTR) {
            }
            timespec now{};
            ::clock_gettime(CLOCK_MONOTONIC, &now);
            auto const late = (now.tv_sec - due.tv_sec) * 1'000'000'000 + now.tv_nsec - due.tv_nsec;
            late_.push_back(static_cast<std::uint32_t>(std::clamp<long>(late, 0, 4'000'000'000)));
        }
        timespec used{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        cpu_ = static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
    }

    std::vector<std::uint32_t> late_;
    std::atomic<bool> stopping_ = false;
    double cpu_ = 0;
    std::thread thread_;
};

// --- one run -------------------------------------------------------------------------------------

/// What a device says of its run.
struct outcome {
    double wall = 0; // seconds, as cpu
    double cpu = 0;  // without the ticker's
    std::uint64_t peak_kib = 0;
    bool right = false;
    std::array<char, 200> error{}; // what went wrong otherwise
    // How late the ticker was: so often by no more than so many microseconds; the last for all that
    // is more. From 0 in steps of one.
    std::uint64_t ticks = 0;
    double most = 0; // microseconds
};
constexpr std::size_t histogram_size = 20'000;
using histogram = std::vector<std::uint64_t>;

struct device_run {
    std::uint64_t size = 0;
    std::string digest;
    std::uint32_t lanes = 1;
    bool idle = false; ///< does all but update, for `seconds`
    std::size_t seconds = 0;
    bool ticks = false;
};

outcome run_device(std::string const& url, device_run const& what, histogram& late) {
    outcome o;
    std::optional<ticker> t;
    if (what.ticks) t.emplace();
    double const cpu = cleave_bench::cpu_so_far();
    auto const begin = steady_clock::now();
    std::string wrong;
    if (!what.idle)
        wrong = update(url, what.size, what.digest, what.lanes);
    else
        std::this_thread::sleep_for(std::chrono::seconds{what.seconds});
    o.wall = std::chrono::duration<double>{steady_clock::now() - begin}.count();
    double const own = t ? t->stop() : 0;
    o.cpu = cleave_bench::cpu_so_far() - cpu - own;
    o.peak_kib = cleave_bench::peak_kib();
    o.right = wrong.empty();
    cleave_bench::explain(o, wrong);
    if (!t) return o;
    for (std::uint32_t const ns : t->late()) {
        ++late[std::min<std::size_t>(ns / 1000, histogram_size - 1)];
        o.most = std::max(o.most, static_cast<double>(ns) / 1000);
    }
    o.ticks = t->late().size();
    return o;
}

/// Writes all of it.
bool write_all(int fd, void const* from, std::size_t n) {
    auto const* at = static_cast<char const*>(from);
    while (n != 0) {
        ssize_t const some = ::write(fd, at, n);
        if (some < 0 && errno == EINTR) continue;
        if (some <= 0) return false;
        at += some;
        n -= static_cast<std::size_t>(some);
    }
    return true;
}

/// A device in a process of its own, beside a server. What it says comes in one piece through a
/// file, since it is more than a pipe takes.
outcome run_beside_server(shaped_server& server, device_run const& what, histogram& late) {
    std::FILE* const said = std::tmpfile();
    if (said == nullptr) throw std::system_error{errno, std::generic_category(), "tmpfile"};
    int const to = ::fileno(said);
    outcome o;
    {
        child c{[&](int) {
            histogram own(histogram_size);
            outcome const mine = run_device(server.url(), what, own);
            bool const good = write_all(to, &mine, sizeof mine) &&
                              write_all(to, own.data(), own.size() * sizeof own[0]);
            return good ? 0 : 1;
        }};
        bool const ended = server.serve(c.fd(), time_limit);
        if (!ended) c.kill();
        child_end const e = c.wait();
        std::rewind(said);
        histogram own(histogram_size);
        bool const heard = e.status == 0 && std::fread(&o, sizeof o, 1, said) == 1 &&
                           std::fread(own.data(), sizeof own[0], own.size(), said) == own.size();
        if (heard)
            for (std::size_t i = 0; i != own.size(); ++i) late[i] += own[i];
        else
            o.right = false;
        if (!o.right)
            std::fprintf(stderr, "wrong: %s\n",
                         heard   ? o.error.data()
                         : ended ? "the device died"
                                 : "not done in time");
    }
    std::fclose(said);
    return o;
}

cleave_bench::shape paced(std::uint32_t lanes) {
    cleave_bench::shape s;
    s.link_of = [lanes](std::size_t, std::size_t) {
        return cleave_bench::link{.rate = lanes == 0 ? 0 : rate / lanes};
    };
    return s;
}

std::string window_text(std::uint32_t lanes) {
    return lanes == 0 ? "" : std::to_string(window_of(lanes) / 1024);
}

// --- interference --------------------------------------------------------------------------------

/// Microseconds than which `share` of all are not later.
std::string quantile(histogram const& h, double share) {
    std::uint64_t all = 0;
    for (auto const n : h) all += n;
    double const wanted = share * static_cast<double>(all);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i != h.size(); ++i) {
        sum += h[i];
        if (static_cast<double>(sum) >= wanted) return std::to_string(i + 1);
    }
    return "-";
}

bool compare_interference(options const& o) {
    std::uint64_t const size = rate * o.seconds;
    std::string const digest = digest_of(size);
    std::printf("%zu s at %.0f MB/s, into chunks of 2 KiB, SHA-256 included; a thread beside it "
                "wakes up each\nmillisecond, and is late by so many microseconds\n\n",
                o.seconds, static_cast<double>(rate) / 1e6);
    table const t{o.markdown,
                  {{"device", -16},
                   {"window KiB", 10},
                   {"CPU %", 6},
                   {"wall s", 7},
                   {"wake-ups", 9},
                   {"late: median", 12},
                   {"99 %", 6},
                   {"99.9 %", 7},
                   {"most", 8}}};
    struct kind {
        char const* name;
        std::uint32_t lanes; // 0: idle
    };
    bool right = true;
    constexpr std::array<kind, 3> kinds{
        {{"idle", 0}, {"updates, 1 lane", 1}, {"updates, 4 lanes", 4}}};
    std::array<histogram, kinds.size()> late;
    std::array<std::vector<outcome>, kinds.size()> runs;
    late.fill(histogram(histogram_size));
    // In turns, so that what else the machine does is spread over all.
    for (std::size_t n = 0; n != o.runs; ++n)
        for (std::size_t i = 0; i != kinds.size(); ++i) {
            std::uint32_t const lanes = kinds[i].lanes;
            shaped_server server{paced(lanes), size};
            runs[i].push_back(run_beside_server(server,
                                                {.size = size,
                                                 .digest = digest,
                                                 .lanes = lanes,
                                                 .idle = lanes == 0,
                                                 .seconds = o.seconds,
                                                 .ticks = true},
                                                late[i]));
        }
    for (std::size_t i = 0; i != kinds.size(); ++i) {
        double cpu = 0;
        double wall = 0;
        double most = 0;
        std::uint64_t ticks = 0;
        for (outcome const& r : runs[i]) {
            right = right && r.right;
            cpu += r.cpu;
            wall += r.wall;
            ticks += r.ticks;
            most = std::max(most, r.most);
        }
        t.row({kinds[i].name, window_text(kinds[i].lanes), text("%.2f", 100 * cpu / wall),
               text("%.2f", wall / static_cast<double>(o.runs)), std::to_string(ticks),
               quantile(late[i], 0.5), quantile(late[i], 0.99), quantile(late[i], 0.999),
               text("%.0f", most)});
    }
    return right;
}

// --- memory --------------------------------------------------------------------------------------

bool compare_memory(options const& o) {
    std::string const digest = digest_of(memory_size);
    std::printf(
        "\n10 MB into chunks of 2 KiB, from a server that is as fast as it is asked to be: the "
        "most\nmemory in RAM (VmHWM); what is more than idle has the window in it, and a block "
        "of flash (64 KiB)\n\n");
    table const t{o.markdown,
                  {{"device", -16},
                   {"window KiB", 10},
                   {"peak KiB", 8},
                   {"more than idle", 14},
                   {"wall s", 7},
                   {"cpu s", 7}}};
    std::uint64_t idle = 0;
    bool right = true;
    for (std::uint32_t const lanes : {0U, 1U, 4U}) {
        shaped_server server{{.send_buffer = 0}, memory_size};
        histogram none(histogram_size);
        outcome const r = run_beside_server(
            server, {.size = memory_size, .digest = digest, .lanes = lanes, .idle = lanes == 0},
            none);
        right = right && r.right;
        if (lanes == 0) idle = r.peak_kib;
        auto const more = static_cast<std::int64_t>(r.peak_kib) - static_cast<std::int64_t>(idle);
        t.row({lanes == 0 ? "idle" : text("updates, %u %s", lanes, lanes == 1 ? "lane" : "lanes"),
               window_text(lanes), std::to_string(r.peak_kib),
               lanes == 0 ? "" : std::to_string(more), lanes == 0 ? "" : text("%.3f", r.wall),
               lanes == 0 ? "" : text("%.3f", r.cpu)});
    }
    return right;
}

} // namespace

int main(int argc, char** argv) {
    options o;
    return cleave_bench::bench_main(
        argc, argv,
        {{"--seconds N", "of each run, 10 unless given, at most 600",
          cleave_bench::number(o.seconds, 1, 600)},
         {"--runs N", "of each kind, 3 unless given", cleave_bench::number(o.runs, 1, 100)},
         {"--markdown", "print the tables in Markdown", cleave_bench::flag(o.markdown)}},
        [&] {
            bool const interference = compare_interference(o);
            bool const memory = compare_memory(o);
            return interference && memory ? 0 : 1;
        });
}
