// SPDX-License-Identifier: BSL-1.0
//
// What a decision costs: one event told to the engine, and all the actions that come of it, with
// every kind of event in the proportions in which a download has them. Its lanes are answered
// honestly and at once, so that nothing but deciding takes time. `allocations` says how often an
// event asked the heap for memory, and must be 0.

#include <cleave/engine/engine.hpp>
#include <cleave/lanes/fixed_lanes.hpp>
#include <cleave/observe/silent.hpp>
#include <cleave/pace/token_bucket.hpp>
#include <cleave/pace/unlimited.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/renew/give_up.hpp>
#include <cleave/verify/no_verification.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace {
std::uint64_t allocations = 0;

void* counted(std::size_t size) {
    ++allocations;
    if (void* const p = std::malloc(size == 0 ? 1 : size)) return p;
    throw std::bad_alloc{};
}
} // namespace

// The forms for arrays and those that do not throw call these.
void* operator new(std::size_t size) { return counted(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

using namespace std::chrono_literals;
namespace action = cleave::action;
namespace event = cleave::event;
using cleave::lane_id;
using cleave::segment;

constexpr std::uint64_t object_size = std::uint64_t{1} << 60;

// Answers an engine without asking for memory itself.
template <class Planner, class Pacer>
class world {
  public:
    world(Planner planner, Pacer pacer, std::uint32_t lanes, bool journal)
        : engine_(cleave::request{"http://example.org/releases/model-v2.1.0.tar.gz"},
                  std::move(planner), cleave::fixed_lanes{lanes}, cleave::give_up{},
                  cleave::no_verification{}, std::move(pacer), watching_),
          asked_(lanes), windows_(lanes), due_(4 * lanes + 16) {
        tell(event::started{.journal = journal});
    }

    /// Tells it one more event.
    void go_on() {
        if (++events_ % 64 == 0) return tell(event::woke{windows_});
        if (first_ == last_) std::abort(); // it waits for something that does not come
        due const next = due_[first_++ % due_.size()];
        now_ += 10us;
        switch (next.what) {
        case due::kind::recall: return tell(event::recalled{});
        case due::kind::connected: return tell(event::connected{next.lane});
        case due::kind::head: return bring_head(next.lane);
        case due::kind::grant:
            return tell(event::grant_ended{.lane = next.lane,
                                           .bytes = next.bytes,
                                           .body_ended = next.last,
                                           .failed = {},
                                           .crc = static_cast<std::uint32_t>(events_)});
        case due::kind::job:
            return tell(event::job_ended{.what = next.work, .failed = {}, .digest = {}});
        }
    }
    [[nodiscard]] cleave::report const& report() const noexcept { return engine_.report(); }

  private:
    struct due {
        enum class kind { recall, connected, head, grant, job } what = kind::job;
        lane_id lane = 0;
        std::uint64_t bytes = 0;
        bool last = false;
        cleave::job work = cleave::job::open;
    };
    // What a lane has asked for and has no head of yet, in order; takes no memory while it goes.
    class requests {
      public:
        void add(segment s) {
            if (last_ - first_ == all_.size()) std::abort();
            all_[last_++ % all_.size()] = s;
        }
        segment next() {
            if (first_ == last_) std::abort();
            return all_[first_++ % all_.size()];
        }

      private:
        std::array<segment, 32> all_{};
        std::size_t first_ = 0;
        std::size_t last_ = 0;
    };

    void tell(cleave::any_event const& e) {
        engine_.step(e, now_);
        while (auto const a = engine_.next_action())
            std::visit([this](auto const& one) { this->perform(one); }, *a);
    }
    void later(due d) {
        if (last_ - first_ == due_.size()) std::abort();
        due_[last_++ % due_.size()] = d;
    }
    void bring_head(lane_id id) {
        segment const s = asked_[id].next();
        int const n = std::snprintf(
            text_.data(), text_.size(),
            "HTTP/1.1 206 Partial Content\r\nServer: nginx/1.22.1\r\n"
            "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\nContent-Type: application/octet-stream\r\n"
            "Content-Length: %llu\r\nLast-Modified: Sat, 05 Nov 2022 10:11:12 GMT\r\n"
            "Connection: keep-alive\r\nETag: \"63663610-40000000\"\r\n"
            "Content-Range: bytes %llu-%llu/%llu\r\nX-Pad: ",
            static_cast<unsigned long long>(s.size()), static_cast<unsigned long long>(s.first),
            static_cast<unsigned long long>(s.last), static_cast<unsigned long long>(object_size));
        // Always of the same length: buffers grow to the longest head that was met.
        std::fill(text_.begin() + n, text_.end() - 4, 'x');
        std::copy_n("\r\n\r\n", 4, text_.end() - 4);
        tell(event::head_bytes{id, {text_.data(), text_.size()}});
    }

    void perform(action::connect const& a) {
        later({.what = due::kind::connected, .lane = a.lane});
    }
    void perform(action::send const& a) {
        // Several requests may go out together.
        constexpr std::string_view name = "Range: bytes=";
        for (auto at = a.text.find(name); at != a.text.npos; at = a.text.find(name, at)) {
            at += name.size();
            char* end = nullptr;
            std::uint64_t const first = std::strtoull(a.text.data() + at, &end, 10);
            std::uint64_t const last = std::strtoull(end + 1, nullptr, 10);
            asked_[a.lane].add({first, std::min(last, object_size - 1)});
        }
        if (!a.ahead) later({.what = due::kind::head, .lane = a.lane});
    }
    void perform(action::receive const& a) {
        later({.what = due::kind::grant, .lane = a.lane, .bytes = a.grant.size(), .last = a.last});
    }
    void perform(action::run const& a) {
        if (a.what == cleave::job::recall)
            later({.what = due::kind::recall});
        else
            later({.what = due::kind::job, .work = a.what});
    }
    void perform(action::read_head const& a) {
        if (!a.next) std::abort(); // heads come whole
        later({.what = due::kind::head, .lane = a.lane});
    }
    void perform(action::revoke const&) { std::abort(); }
    void perform(action::close const&) { std::abort(); }
    void perform(action::refresh const&) { std::abort(); }
    void perform(action::finish const&) { std::abort(); }
    void perform(action::wait_until const&) {}

    cleave::silent watching_;
    cleave::engine<Planner, cleave::fixed_lanes, cleave::give_up, cleave::no_verification, Pacer,
                   cleave::silent>
        engine_;
    std::vector<requests> asked_; // over each lane
    std::vector<event::lane_window> windows_;
    std::vector<due> due_;
    std::size_t first_ = 0;
    std::size_t last_ = 0;
    std::uint64_t events_ = 0;
    std::array<char, 600> text_{};
    cleave::instant now_{1s};
};

template <class Planner, class Pacer>
void steps(benchmark::State& state, Planner planner, Pacer pacer, bool journal) {
    auto const lanes = static_cast<std::uint32_t>(state.range(0));
    world<Planner, Pacer> w{std::move(planner), std::move(pacer), lanes, journal};
    // Until every lane has had a few replies.
    while (w.report().requests < std::uint64_t{8} * lanes) w.go_on();
    std::uint64_t const before = allocations;
    std::uint64_t const bytes = w.report().bytes;
    for (auto _ : state) w.go_on();
    std::uint64_t const asked = allocations - before;
    state.SetItemsProcessed(state.iterations());
    state.counters["allocations"] =
        static_cast<double>(asked) / static_cast<double>(state.iterations());
    state.counters["per_GiB"] = benchmark::Counter(
        static_cast<double>(w.report().bytes - bytes) / static_cast<double>(1U << 30U),
        benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    if (asked != 0) state.SkipWithError("a step took memory");
}

// Segments of 8 MiB, so eight grants each.
void step(benchmark::State& state) {
    steps(state, cleave::fixed_size{std::uint64_t{8} << 20}, cleave::unlimited{}, false);
}
// A request for each grant.
void step_of_small_segments(benchmark::State& state) {
    steps(state, cleave::fixed_size{std::uint64_t{1} << 20}, cleave::unlimited{}, false);
}
void step_with_journal(benchmark::State& state) {
    steps(state, cleave::fixed_size{std::uint64_t{8} << 20}, cleave::unlimited{}, true);
}
void step_with_pace(benchmark::State& state) {
    steps(state, cleave::fixed_size{std::uint64_t{8} << 20},
          cleave::token_bucket{std::numeric_limits<std::uint64_t>::max() / 16}, false);
}

} // namespace

BENCHMARK(step)->Arg(1)->Arg(4)->Arg(16)->Arg(64);
BENCHMARK(step_of_small_segments)->Arg(4);
BENCHMARK(step_with_journal)->Arg(4);
BENCHMARK(step_with_pace)->Arg(4);
