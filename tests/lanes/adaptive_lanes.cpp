// SPDX-License-Identifier: BSL-1.0
//
// adaptive_lanes grows while it pays and settles where it no longer does, finds the limits of
// servers and does not pester them. Judged by what it does before small models of servers.

#include <cleave/lanes/adaptive_lanes.hpp>

#include <laws/count_allocations.hpp>
#include <laws/lane_rule_laws.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

using cleave::adaptive_lanes;
using cleave::lanes_state;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

static_assert(adaptive_lanes{}.most() == 16 && adaptive_lanes{}.want({}) == 2);
static_assert(adaptive_lanes{{.first = 4, .most = 9}}.most() == 9);
static_assert(adaptive_lanes{{.first = 4, .most = 9}}.want({}) == 4);

namespace {

// A server as a lane rule sees it. Rates are in bytes a second.
struct model {
    // What it sends altogether to so many lanes.
    std::function<double(std::uint32_t)> rate;
    // The number of connections that it takes.
    std::uint32_t limit = 1000;
};

model per_lane(double each, std::uint32_t limit = 1000) {
    return {[each](std::uint32_t lanes) { return each * lanes; }, limit};
}
model in_all(double most, double each) {
    return {[=](std::uint32_t lanes) { return std::min(most, each * lanes); }};
}

// A download from it in simulated time. A lane needs a while until it receives; one that is
// refused tries again, each time later, as long as it is wanted.
class download {
  public:
    download(adaptive_lanes rule, model server, nanoseconds round_trip = 80ms)
        : rule_(rule), server_(std::move(server)), round_trip_(round_trip) {
        look();
    }

    void go_on_for(nanoseconds time) {
        for (nanoseconds const end = s_.now + time; s_.now < end;) {
            s_.now += tick;
            work();
            look();
        }
    }
    // Lanes wait for an answer, and none comes.
    void go_dark_for(nanoseconds time) {
        for (lane& l : lanes_) l = {.until = s_.now + time};
        go_on_for(time);
    }
    // Not a lane's fault: the connection is reset, and opened again.
    void lose_lane() {
        for (lane& l : lanes_)
            if (l.is == lane::served) {
                refuse(l);
                return;
            }
    }

    [[nodiscard]] std::uint32_t wanted() const { return want_; }
    [[nodiscard]] std::uint32_t refusals() const { return s_.refusals; }
    [[nodiscard]] std::uint64_t bytes() const { return s_.bytes; }
    [[nodiscard]] double rate_now() const { return server_.rate(receiving()); }
    [[nodiscard]] std::uint32_t receiving() const {
        return static_cast<std::uint32_t>(std::ranges::count(lanes_, lane::served, &lane::is));
    }
    void hold_back(bool yes) { s_.held_back = yes; }
    model& server() { return server_; }

    // Each change of what is wanted.
    struct change {
        nanoseconds at;
        std::uint32_t from;
        std::uint32_t to;
    };
    [[nodiscard]] std::vector<change> const& changes() const { return changes_; }
    [[nodiscard]] std::vector<change> growths() const {
        std::vector<change> some;
        std::ranges::copy_if(changes_, std::back_inserter(some),
                             [](change c) { return c.to > c.from; });
        return some;
    }

  private:
    static constexpr nanoseconds tick = 25ms;

    struct lane {
        enum { connecting, served, waiting } is = connecting;
        nanoseconds until{0};
        nanoseconds wait = 200ms;
    };

    void refuse(lane& l) {
        ++s_.refusals;
        l.is = lane::waiting;
        l.until = s_.now + l.wait;
        l.wait = std::min<nanoseconds>(l.wait * 2, 20s);
    }
    void work() {
        for (lane& l : lanes_) {
            if (l.is == lane::served || s_.now < l.until) continue;
            if (l.is == lane::waiting) {
                l.is = lane::connecting;
                l.until = s_.now + round_trip_;
            } else if (receiving() < server_.limit) {
                l.is = lane::served;
                l.wait = 200ms;
            } else {
                refuse(l);
            }
        }
        sent_ += rate_now() * std::chrono::duration<double>(tick).count();
        s_.bytes = static_cast<std::uint64_t>(sent_);
    }
    void look() {
        s_.receiving = receiving();
        s_.running = static_cast<std::uint32_t>(lanes_.size());
        std::uint32_t const before = want_;
        want_ = rule_.want(s_);
        if (want_ != before) changes_.push_back({s_.now, before, want_});
        // Lanes that are not wanted: those that wait first, and those that came last.
        while (lanes_.size() > want_) {
            auto const waiting = std::ranges::find(lanes_, lane::waiting, &lane::is);
            lanes_.erase(waiting != lanes_.end() ? waiting : lanes_.end() - 1);
        }
        while (lanes_.size() < want_) lanes_.push_back({.until = s_.now + round_trip_});
    }

    adaptive_lanes rule_;
    model server_;
    nanoseconds round_trip_;
    lanes_state s_{.now = 1000s};
    double sent_ = 0;
    std::vector<lane> lanes_;
    std::uint32_t want_ = 0;
    std::vector<change> changes_;
};

} // namespace

TEST_CASE("adaptive_lanes keeps the laws of lane rules, whatever its settings") {
    cleave_test::random_source random{1};
    auto const some_time = [&] {
        return nanoseconds{static_cast<std::int64_t>(random() >> random.below(64))};
    };
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        adaptive_lanes::settings settings;
        settings.first = static_cast<std::uint32_t>(random.below(6));
        settings.most = static_cast<std::uint32_t>(random.below(20));
        if (random.chance(30)) settings.look = some_time();
        if (random.chance(30)) settings.again = some_time();
        adaptive_lanes const rule{settings};
        CAPTURE(seed, settings.first, settings.most, settings.look.count(), settings.again.count());
        REQUIRE(rule.most() == std::max<std::uint32_t>(settings.most, 1));
        REQUIRE(cleave_test::broken_most(rule, seed, 1000) == "");
        REQUIRE(cleave_test::broken_bounds(rule, seed, 1000) == "");
        REQUIRE(cleave_test::broken_repetition(rule, seed, 1000) == "");
    }
}

TEST_CASE("adaptive_lanes can have all the lanes there are, and all the time") {
    adaptive_lanes rule{{.first = 0xffff'ffff,
                         .most = 0xffff'ffff,
                         .look = nanoseconds::max(),
                         .again = nanoseconds::max()}};
    CHECK(rule.most() == 0xffff'ffff);
    CHECK(rule.want({}) == 0xffff'ffff);
    CHECK(rule.want({.receiving = 0xffff'ffff, .bytes = 1, .now = nanoseconds::max()}) ==
          0xffff'ffff);
    CHECK(rule.want({.receiving = 5, .refusals = 0xffff'ffff, .now = nanoseconds::max()}) != 0);
    CHECK(adaptive_lanes{{.first = 0, .most = 0}}.most() == 1);
    CHECK(adaptive_lanes{{.first = 0, .most = 8}}.want({}) == 1);
    CHECK(adaptive_lanes{{.first = 9, .most = 8}}.want({}) == 8);
}

TEST_CASE("where each connection has a rate of its own, lanes double until there are most") {
    for (std::uint32_t most : {1U, 2U, 3U, 8U, 16U, 64U}) {
        CAPTURE(most);
        download d{adaptive_lanes{{.most = most}}, per_lane(1e6)};
        d.go_on_for(60s);
        CHECK(d.wanted() == most);
        // Only ever up, each time twice as many, or as many as there may be.
        for (auto const& c : d.changes())
            CHECK(c.to == std::min(c.from == 0 ? 2 : c.from * 2, most));
        CHECK(d.changes().back().at - 1000s < 10s);
    }
}

TEST_CASE("slow start takes a second or so for each doubling") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    d.go_on_for(5s);
    CHECK(d.wanted() == 16);
}

TEST_CASE("where the rate is capped altogether, lanes settle at about as many as it takes") {
    for (double lanes_worth = 0.3; lanes_worth < 16; lanes_worth += 0.19) {
        CAPTURE(lanes_worth);
        double const best = lanes_worth * 1e6;
        download d{adaptive_lanes{}, in_all(best, 1e6)};
        d.go_on_for(20s);
        // At most a fifth is lost, or one lane too many for each that is needed had.
        CHECK(d.rate_now() >= 0.79 * best);
        CHECK(d.wanted() <= std::max(2.0, 2 * std::ceil(lanes_worth)));
        // Settled it is.
        std::size_t const changes = d.changes().size();
        d.go_on_for(9s);
        CHECK(d.changes().size() == changes);
        // What was lost is found with time, but no more lanes are kept than pay.
        d.go_on_for(600s);
        CHECK(d.rate_now() >= 0.85 * best);
        CHECK(d.wanted() <= std::max(2.0, 2 * std::ceil(lanes_worth)));
    }
}

TEST_CASE("a long while passes before it looks again, and a longer one after each look in vain") {
    download d{adaptive_lanes{}, in_all(4e6, 1e6)};
    d.go_on_for(2h);
    CHECK(d.wanted() == 4);
    auto const growths = d.growths();
    // 2 to 4 and 4 to 8 at first, and then no more than half as many.
    REQUIRE(growths.size() > 8);
    CHECK(growths.size() < 30);
    nanoseconds longest = 29s;
    for (std::size_t i = 3; i < growths.size(); ++i) {
        CAPTURE(i);
        CHECK(growths[i].from == 4);
        CHECK(growths[i].to == 6);
        nanoseconds const pause = growths[i].at - growths[i - 1].at;
        CHECK(pause >= std::min<nanoseconds>(longest, 480s));
        CHECK(pause < 490s);
        if (i > 3 && longest < 400s) CHECK(pause > longest * 3 / 2);
        longest = std::max(longest, pause - 5s);
    }
    CHECK(longest > 470s);
}

TEST_CASE("a server that got faster is noticed") {
    download d{adaptive_lanes{}, in_all(4e6, 1e6)};
    d.go_on_for(20s);
    CHECK(d.wanted() == 4);
    d.server() = per_lane(1e6);
    d.go_on_for(30s);
    CHECK(d.wanted() == 16);
}

TEST_CASE("a growth that pays ends the longer pauses") {
    download d{adaptive_lanes{}, in_all(4e6, 1e6)};
    d.go_on_for(1h);
    d.server() = in_all(6e6, 1e6);
    while (d.wanted() == 4) d.go_on_for(25ms);
    CHECK(d.wanted() == 6);
    // That pays, and 9 do not; which is tried again after twice the first long while.
    d.go_on_for(10s);
    std::size_t const before = d.growths().size();
    CHECK(d.growths().back().to == 9);
    d.go_on_for(45s);
    CHECK(d.growths().size() == before);
    d.go_on_for(10s);
    CHECK(d.growths().size() == before + 1);
    CHECK(d.growths().back().to == 9);
}

TEST_CASE("a growth pays that brings a quarter of what it could") {
    auto const settles_at = [](double rate) {
        download d{adaptive_lanes{}, in_all(rate, 1e6)};
        d.go_on_for(10s);
        return d.wanted();
    };
    CHECK(settles_at(2.4e6) == 2);
    CHECK(settles_at(2.6e6) == 4);
    CHECK(settles_at(4.9e6) == 4);
    CHECK(settles_at(5.1e6) == 8);
    // Or a sixteenth of what there was, for less cannot be told from noise.
    download d{adaptive_lanes{}, per_lane(1e6, 8)};
    d.go_on_for(20s);
    CHECK(d.wanted() == 8);
    double gain = 1.05;
    d.server() = {[&](std::uint32_t lanes) { return lanes <= 8 ? lanes * 1e6 : gain * 8e6; }};
    d.go_on_for(2min);
    CHECK(d.wanted() == 8);
    gain = 1.08;
    d.go_on_for(4min);
    CHECK(d.wanted() == 9);
}

TEST_CASE("a limit of connections is found and lived with") {
    for (std::uint32_t limit = 1; limit <= 12; ++limit) {
        CAPTURE(limit);
        download d{adaptive_lanes{}, per_lane(1e6, limit)};
        d.go_on_for(5s);
        CHECK(d.wanted() <= limit);
        CHECK(d.wanted() >= limit - limit / 2);
        d.go_on_for(5min);
        CHECK(d.wanted() == limit);
        CHECK(d.receiving() == limit);
        // It does not keep pestering: a refusal now and then, ever more seldom.
        std::uint32_t const refusals = d.refusals();
        std::size_t const growths = d.growths().size();
        std::uint64_t const bytes = d.bytes();
        d.go_on_for(1h);
        CHECK(d.wanted() == limit);
        CHECK(d.growths().size() - growths <= 10);
        CHECK(d.refusals() - refusals <= 10);
        CHECK(d.refusals() - refusals >= 5);
        CHECK(static_cast<double>(d.bytes() - bytes) >= 0.99 * 3600 * limit * 1e6);
        for (std::size_t i = growths; i < d.growths().size(); ++i)
            CHECK(d.growths()[i].to == limit + 1);
    }
}

TEST_CASE("a limit of two connections costs a refusal each for the lanes that were too many") {
    download d{adaptive_lanes{}, per_lane(1e6, 2)};
    d.go_on_for(29s);
    CHECK(d.wanted() == 2);
    CHECK(d.refusals() <= 2);
    // From then on it is one more, after the long while, and longer after each refusal.
    d.go_on_for(20min);
    auto const growths = d.growths();
    REQUIRE(growths.size() >= 5);
    for (std::size_t i = 2; i < growths.size(); ++i) {
        CAPTURE(i);
        CHECK(growths[i].to == 3);
        nanoseconds const pause = growths[i].at - growths[i - 1].at;
        nanoseconds const least = 30s * (1 << (i - 2));
        CHECK(pause >= least);
        CHECK(pause < least + 5s);
    }
}

TEST_CASE("a limit that is lifted is noticed in the end") {
    download d{adaptive_lanes{}, per_lane(1e6, 2)};
    d.go_on_for(10min);
    CHECK(d.wanted() == 2);
    d.server().limit = 10;
    d.go_on_for(9min);
    // One by one while each pays, until it is refused again.
    CHECK(d.wanted() == 10);
    CHECK(d.receiving() == 10);
}

TEST_CASE("a limit that is lowered is noticed at once") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    d.go_on_for(20s);
    CHECK(d.wanted() == 16);
    d.server().limit = 3;
    for (int i = 0; i < 13; ++i) d.lose_lane();
    CHECK(d.receiving() == 3);
    d.go_on_for(3s);
    CHECK(d.wanted() == 3);
    CHECK(d.receiving() == 3);
    std::uint32_t const refusals = d.refusals();
    d.go_on_for(25s);
    CHECK(d.refusals() == refusals);
}

TEST_CASE("a server that takes nobody gets one lane, and more when it is back") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    d.go_on_for(20s);
    d.server().limit = 0;
    for (int i = 0; i < 16; ++i) d.lose_lane();
    d.go_on_for(60s);
    CHECK(d.wanted() == 1);
    d.server().limit = 1000;
    d.go_on_for(90s);
    CHECK(d.wanted() == 16);
}

TEST_CASE("where the rate collapses under too many lanes, they are taken back") {
    for (std::uint32_t strength : {2U, 3U, 4U, 6U, 8U, 12U}) {
        CAPTURE(strength);
        download d{adaptive_lanes{}, {[strength](std::uint32_t lanes) {
                       return lanes <= strength ? 1e6 * lanes
                                                : 1e6 * strength / (lanes - strength + 1);
                   }}};
        d.go_on_for(20s);
        CHECK(d.wanted() <= strength);
        CHECK(d.wanted() > strength / 2);
        for (auto const& c : d.changes()) CHECK(c.to <= 2 * strength);
        std::uint64_t const before = d.bytes();
        d.go_on_for(1h);
        // It looks again, but that costs next to nothing.
        CHECK(d.wanted() <= strength);
        CHECK(static_cast<double>(d.bytes() - before) >=
              0.95 * 3600 * 1e6 * (strength - strength / 2));
    }
}

TEST_CASE("while lanes are held back, rates say nothing") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    d.hold_back(true);
    d.go_on_for(10min);
    CHECK(d.wanted() == 2);
    // Then it begins.
    d.hold_back(false);
    d.go_on_for(400ms);
    CHECK(d.wanted() == 2);
    d.go_on_for(10s);
    CHECK(d.wanted() == 16);
}

TEST_CASE("a growth is not judged while lanes are held back") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    while (d.wanted() == 2) d.go_on_for(25ms);
    CHECK(d.wanted() == 4);
    d.go_on_for(300ms);
    // A rate limit halves what comes; that is no fault of the four lanes.
    d.hold_back(true);
    d.server() = in_all(1e6, 1e6);
    d.go_on_for(10min);
    CHECK(d.wanted() == 4);
    d.hold_back(false);
    d.server() = per_lane(1e6);
    d.go_on_for(10s);
    CHECK(d.wanted() == 16);
}

TEST_CASE("what was held back for a moment is not measured") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    // Never a whole look without.
    for (int i = 0; i < 1000; ++i) {
        d.go_on_for(425ms);
        d.hold_back(true);
        d.go_on_for(25ms);
        d.hold_back(false);
    }
    CHECK(d.wanted() == 2);
}

TEST_CASE("refusals count also while lanes are held back") {
    download d{adaptive_lanes{{.first = 8}}, per_lane(1e6, 3)};
    d.hold_back(true);
    d.go_on_for(5s);
    CHECK(d.wanted() == 3);
}

TEST_CASE("what comes in a rush after lanes were held back is not measured") {
    download d{adaptive_lanes{}, in_all(2e6, 1e6)};
    while (d.wanted() == 2) d.go_on_for(25ms);
    d.go_on_for(800ms);
    d.hold_back(true);
    d.go_on_for(5s);
    // What had come to the sockets meanwhile.
    d.hold_back(false);
    d.server() = per_lane(1e7);
    d.go_on_for(400ms);
    d.server() = in_all(2e6, 1e6);
    d.go_on_for(2s);
    CHECK(d.wanted() == 2);
    CHECK(d.growths().size() == 2);
}

TEST_CASE("lanes are waited for before they are measured, but not for ever") {
    adaptive_lanes rule;
    lanes_state s{.running = 2, .now = 1000s};
    auto const go_on = [&](std::uint32_t receiving, nanoseconds until) {
        s.receiving = receiving;
        while (s.now < until) {
            s.now += 25ms;
            s.bytes += 25'000 * receiving;
            if (rule.want(s) != 2) return false;
        }
        return true;
    };
    // The opening lane is alone for a while: its rate is not that of two.
    CHECK(go_on(0, 1000s + 300ms));
    CHECK(go_on(1, 1000s + 1500ms));
    CHECK(go_on(2, 1000s + 2400ms));
    CHECK_FALSE(go_on(2, 1000s + 2700ms));
    CHECK(rule.want(s) == 4);
    // The other two never come.
    adaptive_lanes other;
    rule = other;
    s = {.running = 2, .now = 1000s};
    CHECK(go_on(1, 1000s + 2900ms));
    CHECK_FALSE(go_on(1, 1000s + 3200ms));
}

TEST_CASE("lanes that take long to connect are waited for at each growth") {
    download d{adaptive_lanes{}, per_lane(1e6), 1500ms};
    d.go_on_for(12s);
    CHECK(d.wanted() == 16);
    CHECK(d.growths().size() == d.changes().size());
}

TEST_CASE("while no lane receives anything, nothing is measured") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    while (d.wanted() == 2) d.go_on_for(25ms);
    d.go_on_for(300ms);
    // The network is gone, and comes back: that is no sign of four lanes being too many.
    d.go_dark_for(10s);
    CHECK(d.wanted() == 4);
    d.go_on_for(5s);
    CHECK(d.wanted() == 16);
    CHECK(d.growths().size() == d.changes().size());
}

TEST_CASE("lanes do not grow where nothing arrives, or in no time") {
    adaptive_lanes rule;
    for (int i = 0; i < 10'000; ++i) REQUIRE(rule.want({.receiving = 2, .now = i * 50ms}) == 2);
    adaptive_lanes other;
    for (std::uint64_t i = 0; i < 10'000; ++i)
        REQUIRE(other.want({.receiving = 2, .bytes = i << 20, .now = 5s}) == 2);
}

TEST_CASE("a lane that is lost once in a while is no sign of a limit") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    d.go_on_for(10s);
    for (int i = 0; i < 30; ++i) {
        d.lose_lane();
        d.go_on_for(20s);
        CHECK(d.wanted() == 16);
    }
    CHECK(d.refusals() == 30);
}

TEST_CASE("a lane that is lost again and again is one too many") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    d.go_on_for(10s);
    for (int i = 0; i < 4; ++i) {
        d.lose_lane();
        d.go_on_for(2s);
    }
    CHECK(d.wanted() == 13);
}

TEST_CASE("a lane between two leases is not one that was refused") {
    // At any time, also when one look ends and the next begins.
    for (nanoseconds at = 600ms; at < 2s; at += 10ms) {
        CAPTURE(at.count());
        adaptive_lanes rule{{.first = 4, .most = 4}};
        lanes_state s{.running = 4, .receiving = 4};
        for (s.now = 0ns; s.now < at; s.now += 10ms) CHECK(rule.want(s) == 4);
        s.now = at;
        s.receiving = 3;
        s.refusals = 1;
        CHECK(rule.want(s) == 4);
    }
}

TEST_CASE("a lane that is lost while it is on trial was one too many") {
    download d{adaptive_lanes{}, per_lane(1e6)};
    while (d.wanted() == 2) d.go_on_for(25ms);
    CHECK(d.wanted() == 4);
    d.go_on_for(300ms);
    CHECK(d.receiving() == 4);
    d.lose_lane();
    d.go_on_for(2s);
    CHECK(d.wanted() == 3);
}

TEST_CASE("lanes that are refused together count once") {
    adaptive_lanes rule{{.first = 8}};
    lanes_state s{.running = 8, .receiving = 5, .now = 1s};
    CHECK(rule.want(s) == 8);
    s.refusals = 1;
    CHECK(rule.want(s) == 5);
    // The other two follow, and meanwhile a lane is between two leases.
    s.now += 30ms;
    s.receiving = 4;
    s.refusals = 2;
    CHECK(rule.want(s) == 5);
    s.now += 30ms;
    s.refusals = 3;
    CHECK(rule.want(s) == 5);
    // Not so one that comes much later.
    s.now += 3s;
    CHECK(rule.want(s) == 5);
    s.now += 3s;
    s.refusals = 4;
    CHECK(rule.want(s) == 4);
}

TEST_CASE("no lane is refused for ever: there is always one") {
    adaptive_lanes rule;
    lanes_state s{.running = 2};
    for (int i = 0; i < 100; ++i) {
        s.now += 1s;
        ++s.refusals;
        CHECK(rule.want(s) == 1);
    }
}

TEST_CASE("adaptive_lanes takes no memory") {
    adaptive_lanes rule;
    cleave_test::random_lanes states{7};
    CHECK(cleave_test::allocations_of([&] {
              for (int i = 0; i < 10'000; ++i) static_cast<void>(rule.want(states.next()));
          }) == 0);
}
