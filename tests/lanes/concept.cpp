// SPDX-License-Identifier: BSL-1.0
//
// What is a lane rule, and what nearly is one: a type for each thing that may be wrong. And where
// lanes go, of several mirrors: where the rule says, or where they bring most.
#include <laws/lane_rule_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cleave/lanes/adaptive_lanes.hpp>
#include <cleave/lanes/concept.hpp>
#include <cleave/lanes/fixed_lanes.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

using cleave::fastest_mirror;
using cleave::lane_rule;
using cleave::lanes_state;
using cleave::mirror_state;
using mirrors = std::span<mirror_state const>;

namespace {

struct least {
    std::uint32_t most() const noexcept { return 1; }
    std::uint32_t want(lanes_state const&) noexcept { return 1; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_most : least {
    int most;
};
struct most_throws : least {
    std::uint32_t most() const;
};
struct most_changes_it : least {
    std::uint32_t most() noexcept;
};
struct most_answers_signed : least {
    int most() const noexcept;
};
struct without_want : least {
    int want;
};
struct want_throws : least {
    std::uint32_t want(lanes_state const&);
};
struct want_changes_state : least {
    std::uint32_t want(lanes_state&) noexcept;
};
struct want_answers_wide : least {
    std::uint64_t want(lanes_state const&) noexcept;
};
struct want_answers_nothing : least {
    void want(lanes_state const&) noexcept;
};

struct chooses : least {
    std::size_t answer = 0;
    std::size_t asked_of = 0;
    std::size_t choose(mirrors m) noexcept {
        asked_of = m.size();
        return answer;
    }
};
struct chooses_const : least {
    std::size_t choose(mirrors) const noexcept { return 2; }
};
// Lane rules all of them, which do not choose.
struct choose_throws : least {
    std::size_t choose(mirrors) { return 2; }
};
struct choose_answers_narrow : least {
    std::uint16_t choose(mirrors) noexcept { return 2; }
};
struct choose_answers_nothing : least {
    void choose(mirrors) noexcept {}
};
struct choose_changes_them : least {
    std::size_t choose(std::span<mirror_state>) noexcept { return 2; }
};
struct choose_wants_more : least {
    std::size_t choose(mirrors, lanes_state const&) noexcept { return 2; }
};

std::size_t fastest(std::vector<mirror_state> const& all) { return fastest_mirror(all); }

// By what each of two mirrors is judged, in this order, where no rate is unknown but of those that
// no lane has been to.
bool goes_before(mirror_state const& a, mirror_state const& b) {
    auto const key = [](mirror_state const& m) {
        bool const tried = m.lanes != 0 || m.rate != 0;
        return std::array<double, 4>{static_cast<double>(m.failures), tried ? 1.0 : 0.0, -m.rate,
                                     static_cast<double>(m.lanes)};
    };
    return key(a) < key(b);
}

// Each number is one of a few, so that equals are common.
mirror_state random_mirror(cleave_test::random_source& random) {
    auto const few = [&] { return static_cast<std::uint32_t>(random.below(3)); };
    return {few(), 10.0 * few(), few()};
}

} // namespace

TEST_CASE("lane_rule: what is one") {
    STATIC_REQUIRE(lane_rule<least>);
    STATIC_REQUIRE(lane_rule<cleave::adaptive_lanes>);
    STATIC_REQUIRE(lane_rule<cleave::fixed_lanes>);
}

TEST_CASE("lane_rule: what nearly is one") {
    STATIC_REQUIRE_FALSE(lane_rule<immovable>);
    STATIC_REQUIRE_FALSE(lane_rule<without_most>);
    STATIC_REQUIRE_FALSE(lane_rule<most_throws>);
    STATIC_REQUIRE_FALSE(lane_rule<most_changes_it>);
    STATIC_REQUIRE_FALSE(lane_rule<most_answers_signed>);
    STATIC_REQUIRE_FALSE(lane_rule<without_want>);
    STATIC_REQUIRE_FALSE(lane_rule<want_throws>);
    STATIC_REQUIRE_FALSE(lane_rule<want_changes_state>);
    STATIC_REQUIRE_FALSE(lane_rule<want_answers_wide>);
    STATIC_REQUIRE_FALSE(lane_rule<want_answers_nothing>);
    STATIC_REQUIRE_FALSE(lane_rule<std::uint32_t>);
}

TEST_CASE("lane_rule: nothing has happened at the start") {
    constexpr lanes_state start;
    STATIC_REQUIRE(start.running == 0);
    STATIC_REQUIRE(start.given_up == 0);
    STATIC_REQUIRE(start.receiving == 0);
    STATIC_REQUIRE(start.refusals == 0);
    STATIC_REQUIRE(start.bytes == 0);
    STATIC_REQUIRE(start.now.count() == 0);
    STATIC_REQUIRE_FALSE(start.held_back);
}

TEST_CASE("lane_rule: nothing is known of a mirror at the start") {
    constexpr mirror_state start;
    STATIC_REQUIRE(start.lanes == 0);
    STATIC_REQUIRE(start.rate == 0);
    STATIC_REQUIRE(start.failures == 0);
}

TEST_CASE("lanes go away from failures first, however fast") {
    CHECK(fastest({{0, 0, 1}, {9, 1, 0}}) == 1);
    CHECK(fastest({{1, 1e9, 1}, {9, 1, 0}}) == 1);
    CHECK(fastest({{1, 5, 7}, {1, 5, 6}, {1, 5, 8}}) == 1);
    // With as many each, the rest counts.
    CHECK(fastest({{1, 5, 3}, {1, 6, 3}}) == 1);
}

TEST_CASE("lanes go to each mirror first, to see what it is good for") {
    CHECK(fastest({{1, 100, 0}, {0, 0, 0}}) == 1);
    CHECK(fastest({{0, 0, 0}, {1, 100, 0}}) == 0);
    CHECK(fastest({{1, 0, 0}, {1, 0, 0}, {0, 0, 0}}) == 2);
    // Also before those that have been tried, and whose lanes have ended since.
    CHECK(fastest({{0, 100, 0}, {0, 0, 0}}) == 1);
    CHECK(fastest({{0, 0, 0}, {0, 100, 0}}) == 0);
}

TEST_CASE("lanes go to where one brings most, and of equals to where fewer are") {
    CHECK(fastest({{1, 5, 0}, {9, 6, 0}, {0, 4, 0}}) == 1);
    CHECK(fastest({{3, 5, 0}, {2, 5, 0}, {4, 5, 0}}) == 1);
    CHECK(fastest({{2, 5, 0}, {2, 5, 0}}) == 0);
    CHECK(fastest({{1, std::numeric_limits<double>::max(), 0}, {1, 1, 0}}) == 0);
}

TEST_CASE("a mirror whose rate is not known yet counts as good as the best, and no better") {
    // Side by side with the best, by the number of lanes; before any that is slower.
    CHECK(fastest({{2, 100, 0}, {1, 0, 0}}) == 1);
    CHECK(fastest({{1, 100, 0}, {2, 0, 0}}) == 0);
    CHECK(fastest({{1, 100, 0}, {1, 0, 0}}) == 0);
    CHECK(fastest({{1, 5, 0}, {3, 0, 0}, {4, 100, 0}}) == 1);
    CHECK(fastest({{1, 5, 0}, {3, 0, 0}, {2, 100, 0}}) == 2);
    CHECK(fastest({{2, 0, 0}, {1, 0, 0}}) == 1);
}

TEST_CASE("eight lanes to mirrors of which nothing is known yet are shared out evenly") {
    std::vector<mirror_state> all(3);
    for (int i = 0; i < 8; ++i) ++all[fastest(all)].lanes;
    CHECK(all[0].lanes == 3);
    CHECK(all[1].lanes == 3);
    CHECK(all[2].lanes == 2);
}

TEST_CASE("the fastest mirror is before all others, in whatever order they stand") {
    cleave_test::random_source random{1};
    for (int i = 0; i < 20'000; ++i) {
        std::vector<mirror_state> all(1 + random.below(5));
        for (mirror_state& m : all) m = random_mirror(random);
        std::size_t const found = fastest(all);
        REQUIRE(found < all.size());
        mirror_state const best = all[found];
        if (std::ranges::none_of(all, [](auto const& m) { return m.lanes != 0 && m.rate == 0; })) {
            for (std::size_t k = 0; k < all.size(); ++k) {
                REQUIRE_FALSE(goes_before(all[k], best));
                if (k < found) REQUIRE(goes_before(best, all[k]));
            }
        }
        // Nothing hangs on where it stands.
        std::ranges::reverse(all);
        mirror_state const again = all[fastest(all)];
        REQUIRE((again.failures == best.failures && again.lanes == best.lanes));
        REQUIRE((again.rate == best.rate || again.rate * best.rate == 0));
    }
}

TEST_CASE("a rule that chooses is asked, and an answer beyond the mirrors is the last") {
    std::vector<mirror_state> const all(3);
    chooses rule;
    for (std::size_t const answer : {0U, 1U, 2U}) {
        rule.answer = answer;
        CHECK(cleave::choose_mirror(rule, all) == answer);
        CHECK(rule.asked_of == 3);
    }
    for (std::size_t const answer : {std::size_t{3}, std::numeric_limits<std::size_t>::max()}) {
        rule.answer = answer;
        CHECK(cleave::choose_mirror(rule, all) == 2);
    }
    chooses_const also;
    CHECK(cleave::choose_mirror(also, all) == 2);
}

TEST_CASE("a rule without choose, or with what nearly is one, sends lanes to the fastest") {
    STATIC_REQUIRE(lane_rule<chooses>);
    STATIC_REQUIRE(lane_rule<chooses_const>);
    std::vector<mirror_state> const all{{1, 5, 0}, {1, 6, 0}, {1, 4, 0}};
    auto const goes_to = [&](auto rule) { return cleave::choose_mirror(rule, all); };
    CHECK(goes_to(least{}) == 1);
    CHECK(goes_to(cleave::fixed_lanes{}) == 1);
    CHECK(goes_to(cleave::adaptive_lanes{}) == 1);
    CHECK(goes_to(choose_throws{}) == 1);
    CHECK(goes_to(choose_answers_narrow{}) == 1);
    CHECK(goes_to(choose_answers_nothing{}) == 1);
    CHECK(goes_to(choose_changes_them{}) == 1);
    CHECK(goes_to(choose_wants_more{}) == 1);
}

TEST_CASE("the laws find lane rules that break them") {
    struct growing {
        std::uint32_t calls = 0;
        std::uint32_t most() const noexcept { return calls < 50 ? 4 : 5; }
        std::uint32_t want(lanes_state const&) noexcept { return ++calls; }
    };
    CHECK(cleave_test::broken_most(growing{}, 1, 100).find("most") != std::string::npos);
    CHECK(cleave_test::broken_bounds(growing{}, 1, 100).find("above most") != std::string::npos);
    CHECK(cleave_test::broken_bounds(cleave::fixed_lanes{0}, 1, 100).find("never 0") !=
          std::string::npos);
    CHECK(cleave_test::broken_repetition(growing{}, 1, 100).find("alike") != std::string::npos);
}
