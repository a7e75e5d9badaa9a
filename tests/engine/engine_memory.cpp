// SPDX-License-Identifier: BSL-1.0
//
// Once its lanes have seen their first replies, an engine asks for no more memory, however many
// grants and requests there are, and however unluckily the lengths of texts fall: also while lanes
// take from one another, pieces are proven, and bytes are handed on.

#include <cleave/engine/engine.hpp>
#include <cleave/lanes/fixed_lanes.hpp>
#include <cleave/pace/unlimited.hpp>
#include <cleave/plan/fixed_size.hpp>

#include "script.hpp"

#include <laws/count_allocations.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

using namespace cleave_test;

namespace {

// Keeps nothing, so that it needs no memory.
struct counting : cleave::ignores_other_events {
    using cleave::ignores_other_events::on;
    std::uint64_t told = 0;
    void on(cleave::progress const&) noexcept { ++told; }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return 1ms; }
};

struct ways {
    std::uint64_t size = 0;
    std::uint64_t segment_size = 0;
    std::uint64_t grant = 0;
    std::uint32_t lanes = 4;
    std::string url = "http://h/x";
    told_verifier verifier = {.wants = true};
    cleave::sink_shape sink = {};
    cleave::stealing_limits stealing = {};
    // How often the others have their turn before the last lane has one.
    std::uint64_t slow = 0;
};

// Answers an engine honestly and at once, without asking for memory itself.
class honest_world {
  public:
    using engine_type = cleave::engine<cleave::fixed_size, cleave::fixed_lanes, insistence,
                                       told_verifier, cleave::unlimited, counting>;

    explicit honest_world(ways const& w)
        : is_(w), engine_(cleave::request{w.url}, cleave::fixed_size{w.segment_size},
                          cleave::fixed_lanes{w.lanes}, insistence{}, w.verifier,
                          cleave::unlimited{}, observer_,
                          {.grant = w.grant,
                           .opening = w.grant,
                           .hash = 50 * w.grant,
                           .hash_from = 10 * w.grant,
                           .stripe = w.grant,
                           .stealing = w.stealing},
                          {.sink = w.sink}),
          lanes_(w.lanes) {
        windows_.resize(w.lanes);
    }

    void start() { tell(event::started{}); }

    // One more event; false when there is none left to tell.
    bool go_on() {
        if (first_ == last_) return false;
        due next = due_[first_++ % due_.size()];
        lane_model& l = lanes_[next.lane];
        if (next.what != due::job && next.epoch != l.epoch) return true; // of a closed connection
        if (next.turns != 0) {
            // Something of it comes each time.
            if (next.what == due::grant && !l.revoked) {
                l.in_place = next.bytes * (is_.slow - next.turns) / is_.slow;
                windows_[next.lane] = {l.in_place, l.in_place};
            }
            next.turns = l.revoked ? 0 : next.turns - 1;
            later(next);
            time_goes_by();
            return true;
        }
        switch (next.what) {
        case due::connected: tell(event::connected{next.lane}); break;
        case due::head: bring_head(next.lane); break;
        case due::grant:
            windows_[next.lane] = {};
            if (l.revoked)
                tell(event::grant_ended{
                    .lane = next.lane, .bytes = l.in_place, .revoked = true, .failed = {}});
            else
                tell(event::grant_ended{
                    .lane = next.lane, .bytes = next.bytes, .body_ended = next.last, .failed = {}});
            break;
        case due::job: tell(event::job_ended{.what = next.work, .failed = {}, .digest = {}}); break;
        }
        time_goes_by();
        return true;
    }
    [[nodiscard]] cleave::report const& report() const { return engine_.report(); }
    [[nodiscard]] bool finished() const { return finished_; }
    [[nodiscard]] std::uint64_t told() const { return observer_.told; }
    [[nodiscard]] std::uint64_t revokes() const { return revokes_; }
    [[nodiscard]] std::uint64_t jobs(job which) const {
        return jobs_[static_cast<std::size_t>(which)];
    }

  private:
    struct due {
        enum kind { connected, head, grant, job } what = connected;
        lane_id lane = 0;
        std::uint64_t epoch = 0;
        std::uint64_t turns = 0; // of the others, before it comes
        std::uint64_t bytes = 0;
        bool last = false;
        cleave::job work = cleave::job::open;
    };
    struct lane_model {
        std::uint64_t epoch = 0;
        segment asked;
        std::uint64_t in_place = 0;
        bool revoked = false;
    };

    // Now and then somebody wants to know.
    void time_goes_by() {
        now_ += 100us;
        if (++events_ % 16 == 0) tell(event::woke{windows_});
    }

    void bring_head(lane_id id) {
        segment const s = lanes_[id].asked;
        int const n = std::snprintf(
            text_.data(), text_.size(),
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %llu-%llu/%llu\r\n"
            "Content-Length: %llu\r\nETag: \"v1\"\r\nServer: ",
            static_cast<unsigned long long>(s.first), static_cast<unsigned long long>(s.last),
            static_cast<unsigned long long>(is_.size), static_cast<unsigned long long>(s.size()));
        // Always of the same length: buffers grow to the longest head that was met.
        std::fill(text_.begin() + n, text_.end() - 4, 'x');
        std::copy_n("\r\n\r\n", 4, text_.end() - 4);
        tell(event::head_bytes{id, {text_.data(), text_.size()}});
    }

    void tell(cleave::any_event const& e) {
        engine_.step(e, now_);
        while (auto const a = engine_.next_action())
            std::visit([this](auto const& one) { this->perform(one); }, *a);
    }
    void later(due d) {
        if (last_ - first_ == due_.size()) std::abort();
        due_[last_++ % due_.size()] = d;
    }
    void later(due::kind what, lane_id id) {
        later({.what = what, .lane = id, .epoch = lanes_[id].epoch});
    }

    void perform(action::connect const& a) { later(due::connected, a.lane); }
    void perform(action::send const& a) {
        if (a.ahead) return;
        auto const at = a.text.find("Range: bytes=") + 13;
        char* end = nullptr;
        std::uint64_t const first = std::strtoull(a.text.data() + at, &end, 10);
        std::uint64_t const last = std::strtoull(end + 1, nullptr, 10);
        lanes_[a.lane].asked = {first, std::min(last, is_.size - 1)};
        later(due::head, a.lane);
    }
    void perform(action::read_head const& a) {
        if (!a.next) return;
        // What has been asked ahead is what the engine now says that the lane holds.
        lanes_[a.lane].asked = *engine_.lanes()[a.lane].left;
        later(due::head, a.lane);
    }
    void perform(action::receive const& a) {
        lane_model& l = lanes_[a.lane];
        l.in_place = 0;
        l.revoked = false;
        windows_[a.lane] = {};
        later({.what = due::grant,
               .lane = a.lane,
               .epoch = l.epoch,
               .turns = a.lane + 1 == lanes_.size() ? is_.slow : 0,
               .bytes = a.grant.size(),
               .last = a.last});
    }
    void perform(action::revoke const& a) {
        lanes_[a.lane].revoked = true;
        ++revokes_;
    }
    void perform(action::close const& a) {
        ++lanes_[a.lane].epoch;
        windows_[a.lane] = {};
    }
    void perform(action::run const& a) {
        ++jobs_[static_cast<std::size_t>(a.what)];
        later({.what = due::job, .work = a.what});
    }
    void perform(action::refresh const&) {}
    void perform(action::wait_until const&) {}
    void perform(action::finish const&) { finished_ = true; }

    ways is_;
    counting observer_;
    engine_type engine_;
    std::vector<lane_model> lanes_;
    std::vector<event::lane_window> windows_;
    std::array<due, 64> due_;
    std::size_t first_ = 0;
    std::size_t last_ = 0;
    std::size_t events_ = 0;
    std::uint64_t revokes_ = 0;
    std::array<std::uint64_t, 13> jobs_{};
    std::array<char, 400> text_;
    instant now_{1s};
    bool finished_ = false;
};

bool cannot_count() {
    if (!cleave_test::strings_ask_for_nothing()) return false;
    WARN("left out: this compiler's strings ask for memory that they do not need");
    return true;
}

} // namespace

TEST_CASE("ten thousand grants take no memory") {
    if (cannot_count()) return;
    honest_world w{{.size = 10'000'000, .segment_size = 5000, .grant = 500}};
    w.start();
    // Until every lane has had a few replies.
    while (w.report().requests < 20) REQUIRE(w.go_on());
    auto const grants = w.report().grants;
    auto const requests = w.report().requests;
    auto const told = w.told();
    CHECK(cleave_test::allocations_of([&] {
              while (w.report().grants < grants + 10'000) w.go_on();
          }) == 0);
    // And that was work of every kind.
    CHECK(w.report().requests >= requests + 900);
    CHECK(w.told() > told + 100);
    while (w.go_on()) {
    }
    REQUIRE(w.finished());
    CHECK_FALSE(w.report().failed);
    CHECK(w.report().bytes == 10'000'000);
    CHECK(w.report().digest_verified);
}

TEST_CASE("requests that grow longer take no memory either") {
    if (cannot_count()) return;
    // Offsets gain digits as a download goes on, so its requests gain bytes: at some length of the
    // URL they no longer fit where the first one did.
    for (std::size_t n = 1; n <= 130; ++n) {
        CAPTURE(n);
        honest_world w{{.size = 15'000,
                        .segment_size = 50,
                        .grant = 50,
                        .lanes = 3,
                        .url = "http://h/" + std::string(n, 'x')}};
        w.start();
        while (w.report().requests < 8) REQUIRE(w.go_on());
        CHECK(cleave_test::allocations_of([&] {
                  while (w.report().requests < 290) w.go_on();
              }) == 0);
        while (w.go_on()) {
        }
        REQUIRE(w.finished());
        REQUIRE_FALSE(w.report().failed);
    }
}

TEST_CASE("lanes that help a slow one, pieces and an ordered sink take no memory") {
    if (cannot_count()) return;
    // Within a window there is always somebody who has nothing to do but to help.
    honest_world w{{.size = 10'000'000,
                    .segment_size = 20'000,
                    .grant = 2000,
                    .verifier = {.wants = true, .parts = {.size = 10'000, .count = 1000}},
                    .sink = {.window = 101'000, .chunk = 1000},
                    .stealing = {.least = 100, .leave = 50, .soon = 1ms, .silent = 10s},
                    .slow = 500}};
    w.start();
    while (w.report().steals < 5) REQUIRE(w.go_on());
    auto const before = w.report();
    auto const revokes = w.revokes();
    CHECK(cleave_test::allocations_of([&] {
              while (w.report().bytes < 9'000'000) w.go_on();
          }) == 0);
    CHECK(w.report().steals > before.steals + 50);
    CHECK(w.revokes() > revokes + 10);
    CHECK(w.jobs(job::hash_piece) > 800);
    CHECK(w.jobs(job::deliver) > 200);
    while (w.go_on()) {
    }
    REQUIRE(w.finished());
    CHECK_FALSE(w.report().failed);
    CHECK(w.report().bytes == 10'000'000);
    CHECK(w.report().digest_verified);
}

TEST_CASE("hedges take no memory") {
    if (cannot_count()) return;
    // No steal is ever worth it here; a slow lane is hedged, as far as the budget goes.
    honest_world w{{.size = 10'000'000,
                    .segment_size = 2000,
                    .grant = 200,
                    .sink = {.window = 10'000, .chunk = 1000},
                    .stealing = {.least = 1'000'000, .leave = 0, .soon = 1ms, .silent = 10s},
                    .slow = 500}};
    w.start();
    while (w.report().hedges < 5) REQUIRE(w.go_on());
    auto const before = w.report();
    CHECK(cleave_test::allocations_of([&] {
              while (w.report().bytes < 9'000'000) w.go_on();
          }) == 0);
    CHECK(w.report().hedges_won > before.hedges_won + 50);
    CHECK(w.report().steals == 0);
    while (w.go_on()) {
    }
    REQUIRE(w.finished());
    CHECK_FALSE(w.report().failed);
    CHECK(w.report().bytes == 10'000'000);
}
