// SPDX-License-Identifier: BSL-1.0
//
// A resume state as bytes, the same on every machine, and back. What is read is believed only if
// all of it is right. Knows nothing of where the bytes are kept.
#pragma once

#include <cleave/base/crc32c.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/journal/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleave {

/// What a record says.
struct journal_record {
    /// Counts the records of one journal: a later one takes the place of those before.
    std::uint64_t generation = 0;
    /// Empty where the record says that nothing is kept.
    std::optional<resume_state> state;

    friend bool operator==(journal_record const&, journal_record const&) = default;
};

/// The record of a state, in at most `most_bytes`: where it does not fit, without the smallest of
/// its runs. Empty where it cannot be had: without any run it is still too long, or the state makes
/// no sense, with bytes in place that were not wanted, say.
///
/// Numbers are little-endian, lengths and positions are in bytes:
///
/// | at | length | what                                                                    |
/// |----|--------|-------------------------------------------------------------------------|
/// |  0 |      4 | `clvj`                                                                  |
/// |  4 |      4 | version: 1                                                              |
/// |  8 |      4 | length of the record                                                    |
/// | 12 |      8 | generation; where nothing is kept, the checksum comes next              |
/// | 20 |      8 | size of the object                                                      |
/// | 28 |     16 | first and last byte wanted                                              |
/// | 44 |      8 | expectation                                                             |
/// | 52 |      1 | validator: 0 none, 1 strong ETag, 2 Last-Modified                       |
/// | 53 |        | text of the validator, weak ETag, URL: each its length in 2 bytes, then |
/// |    |        | the text                                                                |
/// |    |      4 | how many runs are in place                                              |
/// |    |     20 | of each: first byte, last byte, CRC-32C in 4 bytes                      |
/// |    |      4 | CRC-32C of all before                                                   |
[[nodiscard]] std::vector<std::byte>
encode_record(resume_state const& state, std::uint64_t generation, std::size_t most_bytes);

/// The record that says that nothing is kept: `nothing_record_size` bytes.
[[nodiscard]] std::vector<std::byte> encode_nothing(std::uint64_t generation);
/// In bytes.
inline constexpr std::size_t nothing_record_size = 24;

/// What exactly these bytes say; empty where they are no record that `encode_record` or
/// `encode_nothing` would write. Takes no more memory than the bytes themselves account for.
[[nodiscard]] std::optional<journal_record> decode_record(std::span<std::byte const> bytes);

/// The record that bytes begin with, by the length it gives: all of them where it gives no length
/// that could be right.
[[nodiscard]] std::span<std::byte const> record_within(std::span<std::byte const> bytes) noexcept;

namespace detail {

inline constexpr std::uint64_t record_magic = 0x6a766c63; // clvj
inline constexpr std::uint64_t record_version = 1;
inline constexpr std::size_t record_length_at = 8;
inline constexpr std::size_t record_run_size = 20;
inline constexpr std::size_t record_crc_size = 4;
inline constexpr std::uint64_t record_most_length = std::numeric_limits<std::uint32_t>::max();
inline constexpr std::size_t record_most_text = std::numeric_limits<std::uint16_t>::max();

class record_writer {
  public:
    void number(std::uint64_t n, std::size_t size) {
        for (; size != 0; --size, n >>= 8U) bytes_.push_back(static_cast<std::byte>(n & 0xffU));
    }
    void text(std::string_view text) {
        number(text.size(), 2);
        for (char const c : text) bytes_.push_back(static_cast<std::byte>(c));
    }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

    // Puts the length into its place and the checksum behind all.
    [[nodiscard]] std::vector<std::byte> finish() && {
        std::uint64_t length = bytes_.size() + record_crc_size;
        for (std::size_t i = 0; i != 4; ++i, length >>= 8U)
            bytes_[record_length_at + i] = static_cast<std::byte>(length & 0xffU);
        number(crc32c(bytes_), record_crc_size);
        return std::move(bytes_);
    }

  private:
    std::vector<std::byte> bytes_;
};

// Behind the end all numbers are 0 and all texts empty; `good` tells.
class record_reader {
  public:
    explicit record_reader(std::span<std::byte const> bytes) noexcept : left_(bytes) {}

    [[nodiscard]] std::uint64_t number(std::size_t size) noexcept {
        auto const bytes = take(size);
        std::uint64_t n = 0;
        for (std::size_t i = bytes.size(); i != 0; --i)
            n = n << 8U | std::to_integer<std::uint64_t>(bytes[i - 1]);
        return n;
    }
    [[nodiscard]] std::string text() {
        auto const bytes = take(static_cast<std::size_t>(number(2)));
        std::string text;
        for (std::byte const b : bytes) text += static_cast<char>(b);
        return text;
    }
    [[nodiscard]] std::size_t left() const noexcept { return left_.size(); }
    [[nodiscard]] bool good() const noexcept { return good_; }

  private:
    [[nodiscard]] std::span<std::byte const> take(std::size_t size) noexcept {
        if (size > left_.size()) {
            good_ = false;
            left_ = {};
            return {};
        }
        auto const taken = left_.first(size);
        left_ = left_.subspan(size);
        return taken;
    }

    std::span<std::byte const> left_;
    bool good_ = true;
};

inline void write_record_head(record_writer& to, std::uint64_t generation) {
    to.number(record_magic, 4);
    to.number(record_version, 4);
    to.number(0, 4); // the length, not known yet
    to.number(generation, 8);
}

// Such as may stand in a field of a request: the validator's is sent back to the server.
[[nodiscard]] inline bool is_record_text(std::string_view text) noexcept {
    return text.size() <= record_most_text &&
           std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// What may be written, and is believed when read.
[[nodiscard]] inline bool makes_sense(resume_state const& s) noexcept {
    if (!s.identity.size || !s.wanted.valid() || s.wanted.last >= *s.identity.size) return false;
    if (s.identity.validator.is > validator::kind::last_modified) return false;
    if (!is_record_text(s.identity.validator.text) || !is_record_text(s.identity.weak_etag) ||
        !is_record_text(s.url))
        return false;
    segment const* before = nullptr;
    for (auto const& [run, crc] : s.in_place) {
        if (!run.valid() || !s.wanted.contains(run)) return false;
        if (before && (run.first <= before->last || before->precedes(run))) return false;
        before = &run;
    }
    return true;
}

// The largest so many of these runs, in the order they were in.
[[nodiscard]] inline std::vector<checked_segment> largest_runs(std::vector<checked_segment> runs,
                                                               std::size_t most) {
    if (runs.size() <= most) return runs;
    std::ranges::nth_element(runs, runs.begin() + static_cast<std::ptrdiff_t>(most), std::greater{},
                             [](checked_segment const& r) { return r.bytes.size(); });
    runs.resize(most);
    std::ranges::sort(runs, {}, &checked_segment::bytes);
    return runs;
}

} // namespace detail

inline std::vector<std::byte> encode_record(resume_state const& state, std::uint64_t generation,
                                            std::size_t most_bytes) {
    if (!detail::makes_sense(state)) return {};
    detail::record_writer to;
    detail::write_record_head(to, generation);
    to.number(*state.identity.size, 8);
    to.number(state.wanted.first, 8);
    to.number(state.wanted.last, 8);
    to.number(state.expectation, 8);
    to.number(static_cast<std::uint64_t>(state.identity.validator.is), 1);
    to.text(state.identity.validator.text);
    to.text(state.identity.weak_etag);
    to.text(state.url);

    std::uint64_t const most = std::min<std::uint64_t>(most_bytes, detail::record_most_length);
    std::uint64_t const without_runs = to.size() + 4 + detail::record_crc_size;
    if (without_runs > most) return {};
    auto const runs = detail::largest_runs(
        state.in_place, static_cast<std::size_t>((most - without_runs) / detail::record_run_size));
    to.number(runs.size(), 4);
    for (auto const& [run, crc] : runs) {
        to.number(run.first, 8);
        to.number(run.last, 8);
        to.number(crc, 4);
    }
    return std::move(to).finish();
}

inline std::vector<std::byte> encode_nothing(std::uint64_t generation) {
    detail::record_writer to;
    detail::write_record_head(to, generation);
    return std::move(to).finish();
}

inline std::optional<journal_record> decode_record(std::span<std::byte const> bytes) {
    if (bytes.size() < nothing_record_size) return std::nullopt;
    auto const checked = bytes.first(bytes.size() - detail::record_crc_size);
    if (detail::record_reader{bytes.last(detail::record_crc_size)}.number(4) != crc32c(checked))
        return std::nullopt;

    detail::record_reader from{checked};
    if (from.number(4) != detail::record_magic || from.number(4) != detail::record_version ||
        from.number(4) != bytes.size())
        return std::nullopt;
    journal_record record{from.number(8), std::nullopt};
    if (from.left() == 0) return record;

    auto& s = record.state.emplace();
    s.identity.size = from.number(8);
    s.wanted.first = from.number(8);
    s.wanted.last = from.number(8);
    s.expectation = from.number(8);
    s.identity.validator.is = static_cast<validator::kind>(from.number(1));
    s.identity.validator.text = from.text();
    s.identity.weak_etag = from.text();
    s.url = from.text();

    std::uint64_t const runs = from.number(4);
    if (!from.good() || from.left() % detail::record_run_size != 0 ||
        from.left() / detail::record_run_size != runs)
        return std::nullopt;
    s.in_place.resize(static_cast<std::size_t>(runs));
    for (auto& [run, crc] : s.in_place) {
        run.first = from.number(8);
        run.last = from.number(8);
        crc = static_cast<std::uint32_t>(from.number(4));
    }
    if (!detail::makes_sense(s)) return std::nullopt;
    return record;
}

inline std::span<std::byte const> record_within(std::span<std::byte const> bytes) noexcept {
    if (bytes.size() < nothing_record_size) return bytes;
    std::uint64_t const length =
        detail::record_reader{bytes.subspan(detail::record_length_at)}.number(4);
    return length > bytes.size() ? bytes : bytes.first(static_cast<std::size_t>(length));
}

} // namespace cleave
