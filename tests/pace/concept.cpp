// SPDX-License-Identifier: BSL-1.0
//
// What is a byte pacer, and what nearly is one: a type for each thing that may be wrong.
#include <laws/pacer_laws.hpp>
#include <support/catch.hpp>

#include <cleave/pace/concept.hpp>
#include <cleave/pace/token_bucket.hpp>
#include <cleave/pace/unlimited.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

using cleave::adjustable_pacer;
using cleave::byte_pacer;
using cleave::pace_answer;
using std::chrono::nanoseconds;

namespace {

struct least {
    pace_answer take(std::uint64_t n, nanoseconds) noexcept { return {n}; }
    void give_back(std::uint64_t) noexcept {}
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_take : least {
    int take;
};
struct take_throws : least {
    pace_answer take(std::uint64_t, nanoseconds);
};
struct take_is_private : least {
  private:
    pace_answer take(std::uint64_t, nanoseconds) noexcept;
};
struct take_wants_no_time : least {
    pace_answer take(std::uint64_t) noexcept;
};
struct take_changes_size : least {
    pace_answer take(std::uint64_t&&, nanoseconds) noexcept;
};
struct take_answers_bytes : least {
    std::uint64_t take(std::uint64_t, nanoseconds) noexcept;
};
struct take_answers_maybe : least {
    std::optional<pace_answer> take(std::uint64_t, nanoseconds) noexcept;
};
struct without_give_back : least {
    int give_back;
};
struct give_back_throws : least {
    void give_back(std::uint64_t);
};
struct give_back_wants_time : least {
    void give_back(std::uint64_t, nanoseconds) noexcept;
};

struct adjustable : least {
    void set_rate(std::uint64_t) noexcept {}
};
struct set_rate_throws : least {
    void set_rate(std::uint64_t);
};
struct set_rate_wants_time : least {
    void set_rate(std::uint64_t, nanoseconds) noexcept;
};
struct set_rate_alone {
    void set_rate(std::uint64_t) noexcept {}
};

} // namespace

TEST_CASE("byte_pacer: what is one") {
    STATIC_REQUIRE(byte_pacer<least>);
    STATIC_REQUIRE(byte_pacer<adjustable>);
    STATIC_REQUIRE(byte_pacer<cleave::unlimited>);
    STATIC_REQUIRE(byte_pacer<cleave::token_bucket>);
}

TEST_CASE("byte_pacer: what nearly is one") {
    STATIC_REQUIRE_FALSE(byte_pacer<immovable>);
    STATIC_REQUIRE_FALSE(byte_pacer<without_take>);
    STATIC_REQUIRE_FALSE(byte_pacer<take_throws>);
    STATIC_REQUIRE_FALSE(byte_pacer<take_is_private>);
    STATIC_REQUIRE_FALSE(byte_pacer<take_wants_no_time>);
    STATIC_REQUIRE_FALSE(byte_pacer<take_changes_size>);
    STATIC_REQUIRE_FALSE(byte_pacer<take_answers_bytes>);
    STATIC_REQUIRE_FALSE(byte_pacer<take_answers_maybe>);
    STATIC_REQUIRE_FALSE(byte_pacer<without_give_back>);
    STATIC_REQUIRE_FALSE(byte_pacer<give_back_throws>);
    STATIC_REQUIRE_FALSE(byte_pacer<give_back_wants_time>);
    STATIC_REQUIRE_FALSE(byte_pacer<least const>);
    STATIC_REQUIRE_FALSE(byte_pacer<std::uint64_t>);
}

TEST_CASE("adjustable_pacer: what is one and what nearly is") {
    STATIC_REQUIRE(adjustable_pacer<adjustable>);
    STATIC_REQUIRE(adjustable_pacer<cleave::token_bucket>);
    // A rate that could be set and would be ignored would be a lie.
    STATIC_REQUIRE_FALSE(adjustable_pacer<cleave::unlimited>);
    STATIC_REQUIRE_FALSE(adjustable_pacer<least>);
    STATIC_REQUIRE_FALSE(adjustable_pacer<set_rate_throws>);
    STATIC_REQUIRE_FALSE(adjustable_pacer<set_rate_wants_time>);
    STATIC_REQUIRE_FALSE(adjustable_pacer<set_rate_alone>);
}

TEST_CASE("the laws find pacers that break them") {
    using cleave_test::broken_pacer;
    cleave_test::random_source random{1};
    auto const finds = [&](auto pacer, char const* what) {
        std::string const broken = broken_pacer(pacer, nanoseconds{5}, random, 1000);
        CAPTURE(broken);
        CHECK(broken.find(what) != std::string::npos);
    };

    least fine;
    CHECK(broken_pacer(fine, nanoseconds{5}, random, 1000) == "");

    struct generous : least {
        pace_answer take(std::uint64_t n, nanoseconds) noexcept { return {n + 1}; }
    };
    finds(generous{}, "no more than was asked for");
    struct timeless : least {
        pace_answer take(std::uint64_t, nanoseconds now) noexcept { return {0, now}; }
    };
    finds(timeless{}, "the time to ask again is to come");
    struct never : least {
        pace_answer take(std::uint64_t, nanoseconds now) noexcept {
            return {0, now + std::chrono::seconds{1}};
        }
    };
    // It never ends, so it is cut short.
    never endless;
    auto now = nanoseconds{0};
    pace_answer answer;
    CHECK(cleave_test::broken_wait(endless, 1, now, answer, std::chrono::hours{1}) == "");
    CHECK(answer.bytes == 0);
    struct pestered : least {
        pace_answer take(std::uint64_t n, nanoseconds now) noexcept {
            return ++calls % 100 == 0 ? pace_answer{n}
                                      : pace_answer{0, now + std::chrono::milliseconds{100}};
        }
        int calls = 0;
    };
    finds(pestered{}, "five times a second");
    struct forgetful : least {
        pace_answer take(std::uint64_t n, nanoseconds now) noexcept {
            if (now == last) return {0, now + nanoseconds{1}};
            last = now;
            return {n};
        }
        nanoseconds last{0};
    };
    finds(forgetful{}, "what was given back can be taken again");
}

TEST_CASE("the check of rates finds what is too much") {
    cleave_test::rate_check check{1000, 100};
    using std::chrono::milliseconds;
    CHECK(check.took(100, milliseconds{0}) == 0);
    CHECK(check.took(50, milliseconds{50}) == 0);
    CHECK(check.took(50, milliseconds{100}) == 0);
    // A minute without does not count as saved.
    CHECK(check.took(100, milliseconds{60'100}) == 0);
    CHECK(check.took(2, milliseconds{60'100}) > 0);
    cleave_test::rate_check first{1000, 100};
    CHECK(first.took(102, milliseconds{7000}) > 0);
    cleave_test::rate_check slowly{1000, 100};
    for (int i = 0; i < 100; ++i) CHECK(slowly.took(50, milliseconds{50 * i}) == 0);
    CHECK(slowly.took(105, milliseconds{5000}) > 0);
}
