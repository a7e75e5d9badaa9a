// SPDX-License-Identifier: BSL-1.0
#include <support/catch.hpp>

#include <cleave/ota/state.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

using cleave::update_stage;
using cleave::update_state;

namespace {

update_state some() {
    return {.stage = update_stage::downloading,
            .fingerprint = 0xfedcba9876543210U,
            .version = "2.0",
            .former = 7,
            .file = 3,
            .bytes = std::numeric_limits<std::uint64_t>::max() - 1,
            .installs = 2,
            .spent = std::chrono::milliseconds{123'456'789'012}};
}

} // namespace

TEST_CASE("a state that is read back is the one that was saved") {
    for (int stage = 0; stage != 7; ++stage) {
        update_state s = some();
        s.stage = update_stage(stage);
        CHECK(cleave::decode_update_state(encode(s)) == s);
    }
    update_state s = some();
    s.version.assign(64, 'v');
    CHECK(cleave::decode_update_state(encode(s)) == s);
    s.version.clear();
    CHECK(cleave::decode_update_state(encode(s)) == s);
    CHECK(cleave::decode_update_state(cleave::encode({})) == update_state{});
}

TEST_CASE("a state that is torn, cut or damaged is none") {
    auto const good = encode(some());
    for (std::size_t i = 0; i != good.size() * 8; ++i) {
        auto bad = good;
        bad[i / 8] ^= std::byte{1} << (i % 8);
        CHECK_FALSE(cleave::decode_update_state(bad));
    }
    for (std::size_t n = 0; n != good.size(); ++n)
        CHECK_FALSE(cleave::decode_update_state(std::span{good}.first(n)));
    // Flash that was erased, and memory that never held anything.
    for (std::byte const b : {std::byte{0}, std::byte{0xff}}) {
        auto blank = good;
        blank.fill(b);
        CHECK_FALSE(cleave::decode_update_state(blank));
    }
    auto other = good;
    auto const newer = cleave::encode([] {
        update_state s = some();
        s.bytes = 5;
        return s;
    }());
    // A new record that was written in part over an old one.
    for (std::size_t n = 1; n != good.size(); ++n) {
        other = good;
        std::copy_n(newer.begin(), n, other.begin());
        auto const read = cleave::decode_update_state(other);
        CHECK((!read || *read == some() || read->bytes == 5));
    }
}
