// SPDX-License-Identifier: BSL-1.0
//
// Records from any bytes, as they are and sealed with the right head and checksum: what is believed
// makes sense, is written again as the same bytes, and with less room claims less and nothing else.

#include "input.hpp"

#include <cleave/base/crc32c.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/journal/record.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace {

using bytes = std::vector<std::byte>;
using cleave_fuzz::require;

void put(bytes& to, std::size_t at, std::uint64_t n) {
    for (std::size_t i = 0; i != 4; ++i, n >>= 8U) to[at + i] = static_cast<std::byte>(n & 0xffU);
}
// A record with everything right that does not depend on what it says.
bytes sealed(bytes record) {
    if (record.size() < cleave::nothing_record_size) return record;
    put(record, 0, 0x6a766c63); // clvj
    put(record, 4, 1);
    put(record, 8, record.size());
    put(record, record.size() - 4, cleave::crc32c(std::span{record}.first(record.size() - 4)));
    return record;
}

bool makes_sense(cleave::resume_state const& s) {
    if (!s.identity.size || s.wanted.first > s.wanted.last || s.wanted.last >= *s.identity.size)
        return false;
    for (std::size_t i = 0; i != s.in_place.size(); ++i) {
        cleave::segment const run = s.in_place[i].bytes;
        if (run.first > run.last || run.first < s.wanted.first || run.last > s.wanted.last)
            return false;
        if (i == 0) continue;
        std::uint64_t const before = s.in_place[i - 1].bytes.last;
        if (run.first <= before || run.first - before < 2) return false;
    }
    return true;
}

void try_record(bytes const& record, std::size_t less_room) {
    auto const read = cleave::decode_record(record);
    auto const within = cleave::decode_record(cleave::record_within(record));
    if (!read) return;
    require(within == read, "a record gives its own length");
    if (!read->state) {
        require(cleave::encode_nothing(read->generation) == record,
                "nothing is written as the same bytes");
        return;
    }
    auto const& state = *read->state;
    require(makes_sense(state), "what is believed makes sense");
    require(cleave::encode_record(state, read->generation, record.size()) == record,
            "a state is written as the same bytes");

    less_room %= record.size();
    auto const shorter = cleave::encode_record(state, read->generation, less_room);
    require(shorter.size() <= less_room, "a record keeps within its room");
    if (shorter.empty()) return;
    auto less = cleave::decode_record(shorter);
    require(less && less->state && less->generation == read->generation,
            "what is written with less room is read");
    require(less->state->in_place.size() < state.in_place.size(), "with less room less is claimed");
    require(std::ranges::includes(state.in_place, less->state->in_place, {},
                                  &cleave::checked_segment::bytes, &cleave::checked_segment::bytes),
            "with less room nothing else is claimed");
    less->state->in_place = state.in_place;
    require(less == read, "with less room all else is the same");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    auto const given = std::as_bytes(std::span{data, size});
    bytes const record{given.begin(), given.end()};
    std::size_t const less_room = size == 0 ? 0 : size - data[size - 1] % size;
    try_record(record, less_room);
    try_record(sealed(record), less_room);
    return 0;
}
