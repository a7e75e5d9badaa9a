// SPDX-License-Identifier: BSL-1.0
//
// Once its lanes have seen their first replies, an engine asks for no more memory, however many
// grants and requests there are, and however unluckily the lengths of texts fall.

#include <cleave/engine/engine.hpp>
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
struct counting {
    std::uint64_t told = 0;
    void on(cleave::object_known const&) const noexcept {}
    void on(cleave::attempt_failed const&) const noexcept {}
    void on(cleave::progress const&) noexcept { ++told; }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return 1ms; }
};

// Answers an engine honestly and at once, without asking for memory itself.
class honest_world {
  public:
    using engine_type =
        cleave::engine<cleave::fixed_size, cleave::fixed_lanes, insistence, expectation, counting>;

    honest_world(std::uint64_t size, std::uint64_t segment_size, std::uint64_t grant,
                 std::uint32_t lanes, std::string const& url)
        : size_(size),
          engine_(cleave::request{url}, cleave::fixed_size{segment_size},
                  cleave::fixed_lanes{lanes}, insistence{}, expectation{.wants = true}, observer_,
                  {.grant = grant, .opening = grant, .hash = 50 * grant, .hash_from = 10 * grant}),
          held_(lanes) {
        windows_.resize(lanes);
    }

    void start() { tell(event::started{}); }

    // One more event; false when there is none left to tell.
    bool go_on() {
        if (first_ == last_) return false;
        due const next = due_[first_++ % due_.size()];
        switch (next.what) {
        case due::connected: tell(event::connected{next.lane}); break;
        case due::head: {
            segment const s = held_[next.lane];
            int const n = std::snprintf(
                text_.data(), text_.size(),
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %llu-%llu/%llu\r\n"
                "Content-Length: %llu\r\nETag: \"v1\"\r\nServer: ",
                static_cast<unsigned long long>(s.first), static_cast<unsigned long long>(s.last),
                static_cast<unsigned long long>(size_), static_cast<unsigned long long>(s.size()));
            // Always of the same length: buffers grow to the longest head that was met.
            std::fill(text_.begin() + n, text_.end() - 4, 'x');
            std::copy_n("\r\n\r\n", 4, text_.end() - 4);
            tell(event::head_bytes{next.lane, {text_.data(), text_.size()}});
            break;
        }
        case due::grant:
            tell(event::grant_ended{
                .lane = next.lane, .bytes = next.bytes, .body_ended = next.last, .failed = {}});
            break;
        case due::job: tell(event::job_ended{.what = next.work, .failed = {}, .digest = {}}); break;
        }
        // Now and then time goes by, and somebody wants to know.
        if (++events_ % 16 == 0) {
            now_ += 1ms;
            tell(event::woke{windows_});
        }
        return true;
    }
    [[nodiscard]] cleave::report const& report() const { return engine_.report(); }
    [[nodiscard]] bool finished() const { return finished_; }
    [[nodiscard]] std::uint64_t told() const { return observer_.told; }

  private:
    struct due {
        enum kind { connected, head, grant, job } what = connected;
        lane_id lane = 0;
        std::uint64_t bytes = 0;
        bool last = false;
        cleave::job work = cleave::job::open;
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

    void perform(action::connect const& a) { later({.what = due::connected, .lane = a.lane}); }
    void perform(action::send const& a) {
        auto const at = a.text.find("Range: bytes=") + 13;
        char* end = nullptr;
        std::uint64_t const first = std::strtoull(a.text.data() + at, &end, 10);
        std::uint64_t const last = std::strtoull(end + 1, nullptr, 10);
        held_[a.lane] = {first, std::min(last, size_ - 1)};
        later({.what = due::head, .lane = a.lane});
    }
    void perform(action::read_head const&) {}
    void perform(action::receive const& a) {
        later({.what = due::grant, .lane = a.lane, .bytes = a.grant.size(), .last = a.last});
    }
    void perform(action::close const&) {}
    void perform(action::run const& a) { later({.what = due::job, .work = a.what}); }
    void perform(action::wait_until const&) {}
    void perform(action::finish const&) { finished_ = true; }

    std::uint64_t size_;
    counting observer_;
    engine_type engine_;
    std::vector<segment> held_;
    std::vector<event::lane_window> windows_;
    std::array<due, 64> due_;
    std::size_t first_ = 0;
    std::size_t last_ = 0;
    std::size_t events_ = 0;
    std::array<char, 400> text_;
    instant now_{1s};
    bool finished_ = false;
};

} // namespace

TEST_CASE("ten thousand grants take no memory") {
    honest_world w{10'000'000, 5000, 500, 4, "http://h/x"};
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
    // Offsets gain digits as a download goes on, so its requests gain bytes: at some length of the
    // URL they no longer fit where the first one did.
    for (std::size_t n = 1; n <= 130; ++n) {
        CAPTURE(n);
        honest_world w{15'000, 50, 50, 3, "http://h/" + std::string(n, 'x')};
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
