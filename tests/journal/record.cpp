// SPDX-License-Identifier: BSL-1.0
//
// Records: written and read they are the same, byte for byte on every machine; what is cut short,
// damaged, of another version, or makes no sense is not believed and costs no memory; and what has
// no room is left out, the smallest runs first.

#include <cleave/journal/record.hpp>

#include <laws/count_allocations.hpp>
#include <laws/journal_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cleave/base/crc32c.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

using cleave::checked_segment;
using cleave::decode_record;
using cleave::encode_nothing;
using cleave::encode_record;
using cleave::resume_state;
using cleave::validator;
using bytes = std::vector<std::byte>;

namespace {

std::size_t const any_size = std::numeric_limits<std::size_t>::max();

// A record as it is written down in the table of record.hpp, with any mistake one may wish for.
struct raw_record {
    std::string magic = "clvj";
    std::uint64_t version = 1;
    std::int64_t length_error = 0;
    std::uint64_t generation = 7;
    std::uint64_t size = 1000;
    std::uint64_t first = 100;
    std::uint64_t last = 899;
    std::uint64_t expectation = 0x1122334455667788;
    std::uint64_t kind = 1;
    std::string validator = "\"v1\"";
    std::string weak_etag = "W/\"w\"";
    std::string url = "https://example.org/f";
    std::vector<checked_segment> runs{{{100, 199}, 0x01020304}, {{201, 201}, 5}, {{800, 899}, 6}};
    std::optional<std::uint64_t> claimed_runs{};
    std::string behind{};
    bool big_endian = false;

    bytes encoded() const {
        bytes to;
        auto const raw = [&](std::string const& text) {
            for (char const c : text) to.push_back(static_cast<std::byte>(c));
        };
        auto const number = [&](std::uint64_t n, std::size_t digits) {
            for (std::size_t i = 0; i != digits; ++i)
                to.push_back(static_cast<std::byte>(n >> 8 * (big_endian ? digits - 1 - i : i)));
        };
        auto const text = [&](std::string const& t) {
            number(t.size(), 2);
            raw(t);
        };
        std::size_t const texts = validator.size() + weak_etag.size() + url.size();
        std::size_t const length = 67 + texts + runs.size() * 20 + behind.size();
        raw(magic);
        number(version, 4);
        number(length + static_cast<std::uint64_t>(length_error), 4);
        number(generation, 8);
        number(size, 8);
        number(first, 8);
        number(last, 8);
        number(expectation, 8);
        number(kind, 1);
        text(validator);
        text(weak_etag);
        text(url);
        number(claimed_runs.value_or(runs.size()), 4);
        for (auto const& [run, crc] : runs) {
            number(run.first, 8);
            number(run.last, 8);
            number(crc, 4);
        }
        raw(behind);
        number(cleave::crc32c(to), 4);
        REQUIRE(to.size() == length);
        return to;
    }
};

resume_state said_by(raw_record const& r) {
    return {{r.size, {static_cast<validator::kind>(r.kind), r.validator}, r.weak_etag},
            {r.first, r.last},
            r.url,
            r.expectation,
            r.runs};
}

// Whether a record is refused that would be right without this mistake.
bool refused(std::function<void(raw_record&)> const& mistake) {
    raw_record r;
    REQUIRE(decode_record(r.encoded()));
    mistake(r);
    return !decode_record(r.encoded());
}
// And whether a state with the same mistake is not written.
bool not_written(std::function<void(raw_record&)> const& mistake) {
    raw_record r;
    REQUIRE_FALSE(encode_record(said_by(r), 1, any_size).empty());
    mistake(r);
    return encode_record(said_by(r), 1, any_size).empty();
}

} // namespace

TEST_CASE("a record is what the table says, byte for byte") {
    raw_record r;
    CHECK(encode_record(said_by(r), r.generation, any_size) == r.encoded());
    r.kind = 2;
    r.validator = "Sun, 06 Nov 1994 08:49:37 GMT";
    r.generation = 0x8877665544332211;
    CHECK(encode_record(said_by(r), r.generation, any_size) == r.encoded());
    r.kind = 0;
    r.validator = r.weak_etag = r.url = "";
    r.runs.clear();
    CHECK(encode_record(said_by(r), r.generation, any_size) == r.encoded());
    CHECK(encode_nothing(3).size() == cleave::nothing_record_size);
}

TEST_CASE("what is written is what is read") {
    cleave_test::random_source random{1};
    for (int i = 0; i != 2000; ++i) {
        auto const state = cleave_test::random_state(random, random.chance(95) ? 20 : 2000);
        std::uint64_t const generation = random() >> random.below(64);
        auto const record = encode_record(state, generation, any_size);
        REQUIRE(decode_record(record) == cleave::journal_record{generation, state});
        REQUIRE(decode_record(encode_nothing(generation)) ==
                cleave::journal_record{generation, std::nullopt});
    }
}

TEST_CASE("the greatest object and the longest texts have their record") {
    raw_record r;
    r.size = cleave::max_offset;
    r.first = 0;
    r.last = r.size - 1;
    r.runs = {{{0, 0}, 0}, {{2, r.last - 2}, 0xffffffff}, {{r.last, r.last}, 1}};
    r.expectation = r.generation = cleave::max_offset;
    r.url = std::string(65535, 'u');
    CHECK(encode_record(said_by(r), r.generation, any_size) == r.encoded());
    CHECK(decode_record(r.encoded()) == cleave::journal_record{r.generation, said_by(r)});
    r.url += 'u';
    CHECK(encode_record(said_by(r), r.generation, any_size).empty());
}

TEST_CASE("a record that is cut short or damaged anywhere is not believed") {
    for (bytes const& record : {raw_record{}.encoded(), encode_nothing(9)}) {
        REQUIRE(decode_record(record));
        for (std::size_t at = 0; at != record.size(); ++at) {
            CAPTURE(at);
            REQUIRE_FALSE(decode_record(std::span{record}.first(at)));
            REQUIRE_FALSE(decode_record(std::span{record}.subspan(at + 1)));
            bytes damaged = record;
            for (unsigned bit = 0; bit != 8; ++bit) {
                damaged[at] = record[at] ^ static_cast<std::byte>(1U << bit);
                REQUIRE_FALSE(decode_record(damaged));
            }
            for (std::byte const b : {std::byte{0}, std::byte{0xff}}) {
                damaged[at] = b;
                REQUIRE(decode_record(damaged).has_value() == (b == record[at]));
            }
        }
    }
    for (std::size_t n = 0; n != 200; ++n) {
        REQUIRE_FALSE(decode_record(bytes(n)));
        REQUIRE_FALSE(decode_record(bytes(n, std::byte{0xff})));
    }
}

TEST_CASE("a record of another kind is not believed, however well it is sealed") {
    CHECK(refused([](raw_record& r) { r.magic = "clvk"; }));
    CHECK(refused([](raw_record& r) { r.version = 0; }));
    CHECK(refused([](raw_record& r) { r.version = 2; }));
    CHECK(refused([](raw_record& r) { r.version = 0x0100'0000; }));
    CHECK(refused([](raw_record& r) { r.length_error = 1; }));
    CHECK(refused([](raw_record& r) { r.length_error = -1; }));
    CHECK(refused([](raw_record& r) { r.behind = "x"; }));
    CHECK(refused([](raw_record& r) { r.behind = std::string(20, '\x7f'); }));
    CHECK(refused([](raw_record& r) { r.big_endian = true; }));
    CHECK(refused([](raw_record& r) {
        r.big_endian = true;
        r.magic = "jvlc";
    }));
}

TEST_CASE("a record whose parts do not fit together is not believed") {
    CHECK(refused([](raw_record& r) { r.claimed_runs = 2; }));
    CHECK(refused([](raw_record& r) { r.claimed_runs = 4; }));
    CHECK(refused([](raw_record& r) { r.claimed_runs = 0; }));
    CHECK(refused([](raw_record& r) { r.claimed_runs = 0xffff'ffff; }));

    // Its texts end behind its end, and all other numbers are 0, for they are missing.
    for (std::size_t n = 20; n < raw_record{}.encoded().size() - 4; ++n) {
        bytes cut = raw_record{}.encoded();
        cut.resize(n);
        for (std::size_t i = 0; i != 4; ++i) cut[8 + i] = static_cast<std::byte>((n + 4) >> 8 * i);
        std::uint32_t const crc = cleave::crc32c(cut);
        for (std::size_t i = 0; i != 4; ++i) cut.push_back(static_cast<std::byte>(crc >> 8 * i));
        CAPTURE(n);
        // 20 bytes are a whole record again, which says that nothing is kept.
        REQUIRE((!decode_record(cut) || n == 20));
    }
}

TEST_CASE("a state that makes no sense is neither believed nor written") {
    auto const wrong = [](std::function<void(raw_record&)> const& mistake) {
        return refused(mistake) && not_written(mistake);
    };
    CHECK(wrong([](raw_record& r) { r.kind = 3; }));
    CHECK(wrong([](raw_record& r) { r.kind = 255; }));
    CHECK(wrong([](raw_record& r) { r.size = 899; }));
    CHECK(wrong([](raw_record& r) {
        r.size = 0;
        r.first = r.last = 0;
        r.runs.clear();
    }));
    CHECK(wrong([](raw_record& r) {
        r.first = 900;
        r.runs.clear();
    }));
    CHECK(wrong([](raw_record& r) { r.first = 101; }));
    CHECK(wrong([](raw_record& r) { r.last = 898; }));
    CHECK(wrong([](raw_record& r) { r.runs[0].bytes = {199, 198}; }));
    CHECK(wrong([](raw_record& r) { r.runs[2].bytes.last = cleave::max_offset; }));
    CHECK(wrong([](raw_record& r) { r.runs[0].bytes.last = 200; }));
    CHECK(wrong([](raw_record& r) { r.runs[0].bytes.last = 201; }));
    CHECK(wrong([](raw_record& r) { r.runs[0].bytes.last = 850; }));
    CHECK(wrong([](raw_record& r) { r.runs[1] = r.runs[0]; }));
    CHECK(wrong([](raw_record& r) { std::swap(r.runs[0], r.runs[2]); }));
    // What would be taken for another field, were it sent back to a server.
    CHECK(wrong([](raw_record& r) { r.validator = "\"v\"\r\nX: y"; }));
    CHECK(wrong([](raw_record& r) { r.weak_etag = std::string(1, '\0'); }));
    CHECK(wrong([](raw_record& r) { r.url += '\x7f'; }));
    CHECK_FALSE(wrong([](raw_record& r) { r.url += "\x80\xff !~"; }));

    cleave::journal_record const one{1, said_by({})};
    CHECK_FALSE(one == cleave::journal_record{2, said_by({})});

    resume_state unknown = said_by({});
    unknown.identity.size.reset();
    CHECK(encode_record(unknown, 1, any_size).empty());
}

TEST_CASE("nothing is allocated for runs that are claimed and not there") {
    auto const cost = [](bytes const& record) {
        return cleave_test::allocations_of([&] { static_cast<void>(decode_record(record)); });
    };
    raw_record r;
    r.validator = r.weak_etag = r.url = "";
    std::size_t const with_runs = cost(r.encoded());
    CHECK(with_runs == 1);
    for (std::uint64_t const claimed : {4U, 1'000'000'000U, 0xffff'ffffU}) {
        r.claimed_runs = claimed;
        CHECK(cost(r.encoded()) == 0);
    }
    // A text that would be longer than the record.
    bytes text = raw_record{}.encoded();
    text[53] = text[54] = std::byte{0xff};
    text.resize(text.size() - 4);
    std::uint32_t const crc = cleave::crc32c(text);
    for (std::size_t i = 0; i != 4; ++i) text.push_back(static_cast<std::byte>(crc >> 8 * i));
    CHECK(cost(text) == 0);
}

TEST_CASE("what has no room is left out, the smallest runs first") {
    cleave_test::random_source random{3};
    for (int i = 0; i != 20; ++i) {
        auto const state = cleave_test::random_state(random, 12);
        std::size_t const whole = encode_record(state, 1, any_size).size();
        std::size_t const head = whole - state.in_place.size() * 20;
        for (std::size_t most = 0; most != whole + 25; ++most) {
            CAPTURE(i, most, whole, head);
            auto const record = encode_record(state, 1, most);
            REQUIRE(record.empty() == (most < head));
            if (record.empty()) continue;
            REQUIRE(record.size() <= most);
            auto const read = decode_record(record);
            REQUIRE((read && read->state));
            REQUIRE(cleave_test::claims_no_more(*read->state, state));
            auto const& kept = read->state->in_place;
            REQUIRE(kept.size() == std::min(state.in_place.size(), (most - head) / 20));
            // None of those left out is larger than one of those kept.
            for (auto const& run : state.in_place)
                if (std::ranges::find(kept, run) == kept.end())
                    REQUIRE(std::ranges::all_of(kept, [&](checked_segment const& k) {
                        return k.bytes.size() >= run.bytes.size();
                    }));
        }
    }
}

TEST_CASE("a record is found at the beginning of other bytes") {
    auto const find = [](bytes const& b) { return decode_record(cleave::record_within(b)); };
    for (bytes const& record : {raw_record{}.encoded(), encode_nothing(9)}) {
        bytes more = record;
        for (int i = 0; i != 300; ++i) {
            more.push_back(static_cast<std::byte>(i * 37));
            REQUIRE(find(more) == decode_record(record));
        }
        for (std::size_t n = 0; n != record.size(); ++n)
            REQUIRE_FALSE(find({record.begin(), record.begin() + static_cast<std::ptrdiff_t>(n)}));
    }
    for (std::size_t n = 0; n != 100; ++n) {
        CHECK_FALSE(find(bytes(n)));
        CHECK_FALSE(find(bytes(n, std::byte{0xff})));
    }
}
