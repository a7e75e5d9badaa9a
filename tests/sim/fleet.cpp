// SPDX-License-Identifier: BSL-1.0

#include "fleet.hpp"

#include <cleave/download.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <laws/random.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_sim {

namespace {

using namespace std::chrono_literals;
using namespace cleave::testing;
using std::chrono::nanoseconds;

// The scene: devices come evenly over two minutes, and each is served for 20 to 100 seconds. The
// server lets so many begin a second that it would be busy for half of the time. From the 60th to
// the 120th second it is away: all that are being served lose their connection at one moment.
constexpr nanoseconds arrivals = 120s;
constexpr nanoseconds away_from = 60s;
constexpr nanoseconds away_until = 120s;
constexpr std::size_t shown = 900; // seconds of it

/// How devices wait.
enum class way { none, full, equal, retry_after };

constexpr way ways[] = {way::none, way::full, way::equal, way::retry_after};

char const* name_of(way w) {
    switch (w) {
    case way::none: return "no jitter";
    case way::full: return "full jitter";
    case way::equal: return "equal jitter: backoff";
    case way::retry_after: return "backoff, and Retry-After from the server";
    }
    return "";
}

/// What `backoff` decides, but for the random share of its own waits.
struct jittered {
    cleave::backoff rule;
    way how = way::equal;

    [[nodiscard]] cleave::renewal decide(cleave::renewal_state const& s) noexcept {
        cleave::renewal r = rule.decide(s);
        bool const own = r.after > nanoseconds{0} && !s.what.retry_after;
        if (!own || (how != way::none && how != way::full)) return r;
        nanoseconds most = rule.first;
        for (std::uint32_t i = 1; i < s.tries && most < rule.longest; ++i) most *= 2;
        most = std::min(most, rule.longest);
        r.after = most;
        if (how == way::full)
            r.after = nanoseconds{static_cast<std::int64_t>(
                s.random % (static_cast<std::uint64_t>(most.count()) + 1))};
        return r;
    }
};
static_assert(cleave::renewal_rule<jittered>);

/// Load of the server, second by second.
struct load {
    std::vector<std::uint32_t> attempts = std::vector<std::uint32_t>(shown);
    std::vector<std::uint32_t> served = std::vector<std::uint32_t>(shown);
    std::uint64_t all_attempts = 0;
    std::uint64_t refused = 0;
    std::uint64_t failed = 0;
    double last = 0; // second in which the last device had its update
};

std::size_t second_of(nanoseconds t) {
    return std::min(static_cast<std::size_t>(t / 1s), shown - 1);
}

class scene {
  public:
    scene(std::uint64_t devices, way how)
        : devices_(devices), how_(how),
          capacity_(std::max<std::uint64_t>(1, devices * 2 * 1'000'000'000 /
                                                   static_cast<std::uint64_t>(arrivals.count()))) {}

    load play() {
        cleave_test::random_source random{7};
        std::uint64_t running = 0;
        std::uint64_t begun = 0;
        nanoseconds last{0};
        world time;
        memory_network network{[this](memory_peer& p, seen_request const& r) { serve(p, r); },
                               {.latency = 20ms}};
        network.record(false);
        network.on_connect([this](std::size_t) { return connects(); });
        time.at(away_from, [this] { goes_away(); });
        asio::io_context context{1};
        auto const begin = [&](std::uint64_t device) {
            ++running;
            ++begun;
            cleave::request what{"http://updates.example/firmware.bin"};
            what.seed = device + 1;
            what.timeouts.stall = 10min;
            // As many tries as ten minutes have room for: what is compared is the load.
            cleave::backoff rule;
            rule.tries = rule.first_tries = 1000;
            rule.tokens = 1000;
            auto how = cleave::policies<>{}
                           .with_lanes(cleave::fixed_lanes{1})
                           .with_renewal(jittered{rule, how_})
                           .with_pace(cleave::unlimited{})
                           .with_connector(network.connector())
                           .with_journal(cleave::no_journal{})
                           .with_timer<virtual_timers>()
                           .with_background(cleave::same_thread{});
            cleave::async_download(context.get_executor(), std::move(what), counting_sink{},
                                   std::move(how), [&](std::error_code ec, cleave::report const&) {
                                       --running;
                                       if (ec) ++result_.failed;
                                       last = world::current().now();
                                   });
        };
        for (std::uint64_t i = 0; i != devices_; ++i) {
            auto const at = static_cast<std::int64_t>(
                random.below(static_cast<std::uint64_t>(arrivals.count())));
            time.at(nanoseconds{at}, [&begin, i] { begin(i); });
        }
        time.run(
            context, [&] { return begun == devices_ && running == 0; },
            std::numeric_limits<std::uint64_t>::max());
        result_.last = std::chrono::duration<double>(last).count();
        result_.failed += running;
        return result_;
    }

  private:
    /// A sink that costs no memory: a hundred thousand of them are open at a time.
    struct counting_sink {
        static constexpr cleave::sink_traits traits{
            .concurrent = false, .readable = false, .revocable = true};
        std::array<std::byte, 64> room{};

        void check(std::error_code&) const noexcept {}
        void open(std::optional<std::uint64_t>, std::error_code&) const noexcept {}
        [[nodiscard]] std::span<std::byte> prepare(std::uint64_t, std::size_t n,
                                                   std::error_code&) noexcept {
            return std::span{room}.first(std::min(n, room.size()));
        }
        void commit(std::uint64_t, std::size_t, std::error_code&) const noexcept {}
        void sync(std::uint64_t, std::error_code&) const noexcept {}
        void publish(std::error_code&) const noexcept {}
        void abandon() const noexcept {}
    };

    [[nodiscard]] static bool is_away() {
        nanoseconds const t = world::current().now();
        return t >= away_from && t < away_until;
    }

    connect_result connects() {
        ++result_.all_attempts;
        ++result_.attempts[second_of(world::current().now())];
        return is_away() ? arrival::refused : arrival::accepted;
    }

    void serve(memory_peer& peer, seen_request const& r) {
        std::size_t const now = second_of(world::current().now());
        if (is_away()) return peer.rst();
        if (result_.served[now] >= capacity_) {
            // Whoever asks a busy server again over a standing connection is load as well.
            ++result_.refused;
            std::string fields = "Connection: close\r\n";
            if (how_ == way::retry_after)
                fields += "Retry-After: " + std::to_string(seconds_to_wait()) + "\r\n";
            peer.send(reply(503, "Busy", fields));
            return peer.fin();
        }
        ++result_.served[now];
        scripted_reply answer = honest_reply(r, object_);
        set_field(answer.head, "Connection", "close");
        peer.send(answer.head);
        std::uint64_t const id = next_id_++;
        being_served_.emplace(id, peer);
        auto const takes = static_cast<std::int64_t>(20 + random_.below(80));
        world::current().after(std::chrono::seconds{takes}, [this, id, bytes = answer.body] {
            auto const found = being_served_.find(id);
            if (found == being_served_.end()) return;
            found->second.send_body(bytes);
            found->second.fin();
            being_served_.erase(found);
        });
    }
    void goes_away() {
        for (auto& [id, peer] : being_served_) peer.rst();
        being_served_.clear();
    }

    /// What a server can know: how long it will be busy with those whom it has sent away.
    [[nodiscard]] std::uint64_t seconds_to_wait() {
        auto const now = world::current().now() / 1s;
        // Each waits for the next second that has room.
        if (next_free_ <= now) next_free_ = now + 1, given_ = 0;
        if (++given_ > capacity_) ++next_free_, given_ = 1;
        return static_cast<std::uint64_t>(next_free_ - now);
    }

    std::uint64_t devices_;
    way how_;
    std::uint64_t capacity_; // requests a second
    object object_ = object::random(100, 1);
    std::int64_t next_free_ = 0;
    std::uint64_t given_ = 0;
    cleave_test::random_source random_{11};
    std::map<std::uint64_t, memory_peer> being_served_;
    std::uint64_t next_id_ = 0;
    load result_;
};

/// Attempts over time, one line for each way, on a logarithmic scale.
std::string picture(std::vector<load> const& loads, std::uint64_t capacity) {
    constexpr int width = 800, height = 420, left = 70, bottom = 50, top = 56;
    constexpr char const* colours[] = {"#c0392b", "#e08e0b", "#2471a3", "#1e8449"};
    constexpr int names_at[] = {70, 150, 230, 390};
    std::size_t end = 130;
    std::uint32_t most = 10;
    for (load const& l : loads)
        for (std::size_t t = 0; t != shown; ++t) {
            if (l.attempts[t] != 0) end = std::max(end, t + 10);
            most = std::max(most, l.attempts[t]);
        }
    end = std::min<std::size_t>(end, 300);
    auto const x = [&](double t) {
        return left + t * (width - left - 20) / static_cast<double>(end);
    };
    auto const y = [&](double n) {
        return height - bottom -
               std::log10(std::max(n, 1.0)) / std::log10(static_cast<double>(most)) *
                   (height - bottom - top);
    };
    std::ostringstream svg;
    svg << std::fixed << std::setprecision(1)
        << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << ' ' << height
        << "\" font-family=\"sans-serif\" font-size=\"12\">\n"
           "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        << "<rect x=\"" << x(60) << "\" y=\"" << top << "\" width=\"" << x(120) - x(60)
        << "\" height=\"" << height - bottom - top << "\" fill=\"#eeeeee\"/>\n<text x=\"" << x(90)
        << "\" y=\"" << top - 8 << "\" text-anchor=\"middle\">the server is away</text>\n";
    for (double n = 1; n <= most; n *= 10)
        svg << "<line x1=\"" << left << "\" x2=\"" << width - 20 << "\" y1=\"" << y(n) << "\" y2=\""
            << y(n) << "\" stroke=\"#dddddd\"/><text x=\"" << left - 6 << "\" y=\"" << y(n) + 4
            << "\" text-anchor=\"end\">" << static_cast<std::uint64_t>(n) << "</text>\n";
    for (std::size_t t = 0; t <= end; t += 30)
        svg << "<text x=\"" << x(static_cast<double>(t)) << "\" y=\"" << height - bottom + 18
            << "\" text-anchor=\"middle\">" << t << " s</text>\n";
    svg << "<line x1=\"" << left << "\" x2=\"" << width - 20 << "\" y1=\""
        << y(static_cast<double>(capacity)) << "\" y2=\"" << y(static_cast<double>(capacity))
        << "\" stroke=\"black\" stroke-dasharray=\"4 4\"/><text x=\"" << width - 22 << "\" y=\""
        << y(static_cast<double>(capacity)) - 5
        << "\" text-anchor=\"end\">what it can answer</text>\n";
    for (std::size_t i = 0; i != loads.size(); ++i) {
        svg << "<polyline fill=\"none\" stroke-width=\"1.5\" stroke=\"" << colours[i]
            << "\" points=\"";
        for (std::size_t t = 0; t != end; ++t)
            svg << x(static_cast<double>(t)) << ',' << y(loads[i].attempts[t]) << ' ';
        svg << "\"/>\n<text x=\"" << names_at[i] << "\" y=\"18\" fill=\"" << colours[i] << "\">"
            << name_of(ways[i]) << "</text>\n";
    }
    svg << "<text x=\"" << left << "\" y=\"" << height - 8
        << "\">attempts to connect, a second</text>\n</svg>\n";
    return svg.str();
}

} // namespace

bool run_fleet(std::uint64_t devices, std::string const& svg) {
    std::uint64_t const capacity = std::max<std::uint64_t>(
        1, devices * 2 * 1'000'000'000 / static_cast<std::uint64_t>(arrivals.count()));
    std::cout << devices << " devices come within " << arrivals / 1s << " s to a server that lets "
              << capacity
              << " begin a second,\nserves each for 20 to 100 s, and is away from second "
              << away_from / 1s << " to second " << away_until / 1s << "\n\n"
              << std::left << std::setw(42) << "they wait" << std::right << std::setw(10)
              << "attempts" << std::setw(12) << "most a s" << std::setw(14) << "after it's back"
              << std::setw(10) << "503" << std::setw(12) << "done at s" << std::setw(8) << "failed"
              << '\n';
    std::vector<load> loads;
    bool all_well = true;
    for (way const how : ways) {
        loads.push_back(scene{devices, how}.play());
        load const& l = loads.back();
        auto const back = l.attempts.begin() + away_until / 1s;
        std::cout << std::left << std::setw(42) << name_of(how) << std::right << std::setw(10)
                  << l.all_attempts << std::setw(12) << std::ranges::max(l.attempts)
                  << std::setw(14) << *std::max_element(back, l.attempts.end()) << std::setw(10)
                  << l.refused << std::setw(12) << std::fixed << std::setprecision(1) << l.last
                  << std::setw(8) << l.failed << '\n';
        all_well = all_well && l.failed == 0;
    }
    if (svg.empty()) return all_well;
    std::ofstream file{svg};
    file << picture(loads, capacity);
    file.close();
    if (!file) std::cerr << "cleave-sim: " << svg << " cannot be written\n";
    return all_well && bool(file);
}

} // namespace cleave_sim
