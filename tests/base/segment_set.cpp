// SPDX-License-Identifier: BSL-1.0
//
// A set of segments is a set of bytes: whatever is done to it, in whatever order, it says what a
// bitmap would say, in the fewest segments, at both ends of 64 bits; and once it has room, it asks
// for no more memory.

#include <cleave/base/segment_set.hpp>

#include <laws/count_allocations.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

using cleave::max_offset;
using cleave::segment;
using cleave::segment_set;

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

std::vector<segment> list(segment_set const& s) { return {s.begin(), s.end()}; }

} // namespace

TEST_CASE("a set of segments says what a bitmap says") {
    std::uint64_t const base =
        GENERATE(std::uint64_t{0}, std::uint64_t{0xffff'ff90}, max_offset - (bitmap::size - 1));
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(base, seed);
        cleave_test::random_source random{seed};
        bitmap model{base};
        segment_set set;
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

TEST_CASE("a set with room takes no memory") {
    cleave_test::random_source random{20};
    bitmap const model{0};
    segment_set set;
    // Of 201 bytes no more than 101 can stand apart.
    CHECK(cleave_test::allocations_of([&] { set.reserve(101); }) == 1);
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
