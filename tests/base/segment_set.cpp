// SPDX-License-Identifier: BSL-1.0
//
// A set of segments is a set of bytes: whatever is done to it, in whatever order, it says what a
// bitmap would say, in the fewest segments, at both ends of 64 bits; and once it has room, it asks
// for no more memory. The same where its segments lie in many blocks: of four, there are soon many.

#include <cleave/base/segment_set.hpp>

#include <laws/count_allocations.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using cleave::max_offset;
using cleave::segment;
using cleave::segment_set;
using small_blocks = cleave::basic_segment_set<4>;

namespace {

// 201 bytes from `base` on, each in or not.
class bitmap {
  public:
    static constexpr std::uint64_t size = 201;

    explicit bitmap(std::uint64_t base) : base_(base) {}

    [[nodiscard]] segment all() const { return {base_, base_ + (size - 1)}; }
    [[nodiscard]] bool has(std::uint64_t offset) const { return bits_[at(offset)]; }

    // How many bytes changed.
    std::uint64_t set(segment s, bool to) {
        std::uint64_t changed = 0;
        for (auto i = at(s.first); i <= at(s.last); ++i) {
            changed += bits_[i] != to ? 1 : 0;
            bits_[i] = to;
        }
        return changed;
    }
    [[nodiscard]] std::uint64_t count(segment s) const {
        std::uint64_t sum = 0;
        for (auto i = at(s.first); i <= at(s.last); ++i) sum += bits_[i] ? 1 : 0;
        return sum;
    }
    // The first run of bytes within `s` that are, or are not, in the set.
    [[nodiscard]] std::optional<segment> run(segment s, bool in) const {
        std::optional<segment> to;
        for (auto i = at(s.first); i <= at(s.last); ++i) {
            if (bits_[i] == in) {
                if (!to) to = segment{base_ + i, base_ + i};
                to->last = base_ + i;
            } else if (to) {
                break;
            }
        }
        return to;
    }
    [[nodiscard]] std::vector<segment> runs() const {
        std::vector<segment> to;
        std::optional<segment> rest = all();
        while (rest) {
            auto const next = run(*rest, true);
            if (!next) break;
            to.push_back(*next);
            rest = next->last == all().last ? std::nullopt : rest->from(next->last + 1);
        }
        return to;
    }

  private:
    [[nodiscard]] std::size_t at(std::uint64_t offset) const {
        return static_cast<std::size_t>(offset - base_);
    }
    std::uint64_t base_;
    std::vector<bool> bits_ = std::vector<bool>(size);
};

template <class Set>
std::vector<segment> list(Set const& s) {
    return {s.begin(), s.end()};
}

} // namespace

TEMPLATE_TEST_CASE("a set of segments says what a bitmap says", "", segment_set, small_blocks,
                   cleave::basic_segment_set<16>) {
    std::uint64_t const base =
        GENERATE(std::uint64_t{0}, std::uint64_t{0xffff'ff90}, max_offset - (bitmap::size - 1));
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(base, seed);
        cleave_test::random_source random{seed};
        bitmap model{base};
        TestType set;
        // Some runs make many small holes, others few large ones.
        bool const small = random.chance(50);
        auto const some = [&] {
            segment s = random.within(model.all());
            if (small && s.last - s.first > 6) s.last = s.first + random.below(6);
            return s;
        };
        for (int i = 0; i < 150; ++i) {
            segment const s = some();
            CAPTURE(i, s.first, s.last);
            if (random.chance(55))
                REQUIRE(set.insert(s) == model.set(s, true));
            else
                REQUIRE(set.erase(s) == model.set(s, false));

            auto const runs = model.runs();
            REQUIRE(list(set) == runs); // the fewest: none touches the next
            REQUIRE(std::equal(runs.rbegin(), runs.rend(), std::make_reverse_iterator(set.end()),
                               std::make_reverse_iterator(set.begin())));
            REQUIRE(set.count() == runs.size());
            REQUIRE(set.empty() == runs.empty());
            REQUIRE(set.bytes() == model.count(model.all()));
            if (!runs.empty()) REQUIRE(set.front() == runs.front());

            segment const q = some();
            CAPTURE(q.first, q.last);
            REQUIRE(set.contains(q) == (model.count(q) == q.size()));
            REQUIRE(set.overlaps(q) == (model.count(q) != 0));
            REQUIRE(set.first_gap(q) == model.run(q, false));
            auto const found = set.find(q.first);
            REQUIRE(found.has_value() == model.has(q.first));
            if (found) {
                REQUIRE(found->contains(q.first));
                bool exists = false;
                for (segment r : runs) exists = exists || r == *found;
                REQUIRE(exists);
            }
        }
        set.clear();
        REQUIRE(set.empty());
        REQUIRE(set.bytes() == 0);
    }
}

TEST_CASE("neighbours become one segment, from either side and from both") {
    segment_set set{{10, 19}};
    CHECK(set.insert({20, 29}) == 10);
    CHECK(set.insert({0, 9}) == 10);
    CHECK(list(set) == std::vector<segment>{{0, 29}});
    CHECK(set.insert({40, 49}) == 10);
    CHECK(set.count() == 2);
    CHECK(set.insert({30, 39}) == 10);
    CHECK(list(set) == std::vector<segment>{{0, 49}});
    CHECK(set.insert({51, 51}) == 1);
    CHECK(set.count() == 2);
}

TEST_CASE("what is in already is not new") {
    segment_set set{{0, 9}, {20, 29}, {40, 49}};
    CHECK(set.insert({0, 9}) == 0);
    CHECK(set.insert({5, 24}) == 10);
    CHECK(set.insert({0, 60}) == 60 + 1 - 40);
    CHECK(set.erase({70, 80}) == 0);
    CHECK(set.erase({60, 80}) == 1);
}

TEST_CASE("sets are equal when their bytes are, however they came in") {
    segment_set a{{0, 4}, {5, 9}, {20, 29}};
    segment_set b{{20, 25}, {26, 29}, {0, 9}};
    CHECK(a == b);
    b.erase({9, 9});
    CHECK_FALSE(a == b);
    CHECK(segment_set{} == segment_set{});
}

TEST_CASE("a set reaches to the last offset there is and does not wrap") {
    segment_set set;
    CHECK(set.insert({max_offset, max_offset}) == 1);
    CHECK(set.insert({0, 0}) == 1);
    CHECK(set.count() == 2);
    CHECK(set.first_gap({0, max_offset}) == segment{1, max_offset - 1});
    CHECK(set.insert({1, max_offset - 1}) == max_offset - 1);
    CHECK(list(set) == std::vector<segment>{{0, max_offset}});
    CHECK(set.bytes() == max_offset);
    CHECK(set.first_gap({0, max_offset}) == std::nullopt);
    CHECK(set.contains({0, max_offset}));
    CHECK(set.erase({max_offset, max_offset}) == 1);
    CHECK(set.first_gap({0, max_offset}) == segment{max_offset, max_offset});
    CHECK(set.erase({0, 0}) == 1);
    CHECK(list(set) == std::vector<segment>{{1, max_offset - 1}});
    CHECK(set.erase({0, max_offset}) == max_offset - 1);
    CHECK(set.empty());
    CHECK(set.first_gap({0, max_offset}) == segment{0, max_offset});
}

TEST_CASE("the sum of bytes stops at the greatest number") {
    segment_set set{{0, max_offset}};
    CHECK(set.bytes() == max_offset);
    CHECK(set.insert({0, max_offset}) == 0);
    CHECK(set.erase({5, 5}) == 1);
    CHECK(set.bytes() == max_offset); // now exactly
    CHECK(set.erase({7, 7}) == 1);
    CHECK(set.bytes() == max_offset - 1);
}

TEST_CASE("also of all offsets at once, each new byte counts") {
    SECTION("none was in") {
        segment_set set;
        CHECK(set.insert({0, max_offset}) == max_offset); // stands for 2^64
    }
    SECTION("one byte was in") {
        segment_set set{{9, 9}};
        CHECK(set.insert({0, max_offset}) == max_offset);
    }
    SECTION("two were in") {
        segment_set set{{9, 9}, {11, 11}};
        CHECK(set.insert({0, max_offset}) == max_offset - 1);
    }
    SECTION("one byte was out") {
        segment_set set{{0, 8}, {10, max_offset}};
        CHECK(set.insert({0, max_offset}) == 1);
    }
}

TEST_CASE("sets are equal when their bytes are, whatever their blocks") {
    cleave_test::random_source random{21};
    for (int i = 0; i < 200; ++i) {
        small_blocks a;
        for (int n = 0; n < 100; ++n) a.insert(random.within({0, 400}));
        for (int n = 0; n < 100; ++n) {
            auto const from = random.below(400);
            a.erase({from, from + random.below(3)});
        }
        small_blocks b;
        for (segment const s : a) b.insert(s);
        REQUIRE(a == b);
        small_blocks c = a;
        REQUIRE(c == a);
        small_blocks const d = std::move(c);
        REQUIRE(d == a);
        c = a;
        std::uint64_t const last = std::prev(a.end())->last;
        b.erase({last, last});
        REQUIRE_FALSE(a == b);
        b.insert({last, last});
        b.insert({last + 2, last + 2});
        REQUIRE_FALSE(a == b);
        REQUIRE(c == d);
    }
}

TEST_CASE("a hundred thousand segments, put in and taken out at random, are all there") {
    constexpr std::uint64_t n = 100'000;
    std::vector<std::uint64_t> order(n);
    std::iota(order.begin(), order.end(), std::uint64_t{0});
    cleave_test::random_source random{22};
    auto const shuffle = [&] {
        for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.index(i)]);
    };
    segment_set set;
    shuffle();
    for (std::uint64_t const i : order) set.insert({10 * i, 10 * i + 4});
    REQUIRE(set.count() == n);
    REQUIRE(set.bytes() == 5 * n);
    std::uint64_t next = 0;
    for (segment const s : set) next += s == segment{10 * next, 10 * next + 4} ? 1 : 0;
    REQUIRE(next == n);

    // A hole in each; then what is left of each, from whichever end.
    shuffle();
    std::uint64_t taken = 0;
    for (std::uint64_t const i : order) taken += set.erase({10 * i + 1, 10 * i + 3});
    REQUIRE(taken == 3 * n);
    REQUIRE(set.count() == 2 * n);
    shuffle();
    for (std::uint64_t const i : order) {
        REQUIRE(set.find(10 * i) == segment{10 * i, 10 * i});
        REQUIRE_FALSE(set.find(10 * i + 2));
        REQUIRE(set.erase({10 * i, 10 * i}) == 1);
        REQUIRE_FALSE(set.find(10 * i));
    }
    REQUIRE(set.count() == n);
    REQUIRE(set.erase({0, 5 * n - 1}) == n / 2);
    REQUIRE(set.front() == segment{5 * n + 4, 5 * n + 4});
    REQUIRE(set.insert({5 * n, 10 * n}) == 5 * n + 1 - n / 2);
    REQUIRE(list(set) == std::vector<segment>{{5 * n, 10 * n}});
}

TEMPLATE_TEST_CASE("a set with room takes no memory", "", segment_set, small_blocks) {
    cleave_test::random_source random{20};
    bitmap const model{0};
    TestType set;
    // Of 201 bytes no more than 101 can stand apart.
    CHECK(cleave_test::allocations_of([&] { set.reserve(101); }) ==
          (std::is_same_v<TestType, segment_set> ? 1 : 2));
    std::size_t most = 0;
    std::size_t const taken = cleave_test::allocations_of([&] {
        for (std::uint64_t i = 0; i < bitmap::size; i += 2) set.insert({i, i});
        most = set.count();
        for (int i = 0; i < 20'000; ++i) {
            segment s = random.within(model.all());
            if (s.last - s.first > 4) s.last = s.first + random.below(4);
            if (random.chance(50))
                set.insert(s);
            else
                set.erase(s);
            (void)set.first_gap(model.all());
        }
        set.clear();
        for (std::uint64_t i = 0; i < bitmap::size; i += 2) set.insert({i, i});
    });
    CHECK(most == 101);
    CHECK(taken == 0);
    // The counter counts.
    CHECK(cleave_test::allocations_of([] { std::string const text(1000, 'x'); }) == 1);
}

// At compile time, too.
static_assert([] {
    small_blocks set;
    for (std::uint64_t i = 0; i != 40; ++i) set.insert({7 * i % 40 * 2, 7 * i % 40 * 2});
    return set.count() == 40 && set.erase({11, 60}) == 25 && set.count() == 15 &&
           set.insert({0, 100}) == 101 - 15 && set.count() == 1;
}());
