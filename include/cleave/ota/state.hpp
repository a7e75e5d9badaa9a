// SPDX-License-Identifier: BSL-1.0
//
// The little that a device keeps of an update, so that a reboot or a power cut goes on where it
// was: a record of fixed size, with a checksum. Knows not where it is kept.
#pragma once

#include <cleave/base/crc32c.hpp>
#include <cleave/ota/error.hpp>
#include <cleave/ota/firmware.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cleave {

/// Bytes that the state of one module's update takes.
inline constexpr std::size_t update_state_size = 128;

/// What is kept of an update.
struct update_state {
    update_stage stage = update_stage::idle;
    /// Which firmware it is.
    std::uint64_t fingerprint = 0;
    /// The version that the device is to report in the end.
    std::string version;
    /// Tells the version that ran when the update began.
    std::uint64_t former = 0;
    /// While downloading: files before this one are in place and proven; of it, so many bytes.
    std::uint32_t file = 0;
    std::uint64_t bytes = 0;
    /// How often it was installed.
    std::uint32_t installs = 0;
    /// Time that the update has had so far, as far as the device was up.
    std::chrono::milliseconds spent{0};

    friend bool operator==(update_state const&, update_state const&) = default;
};

/// A number that tells versions apart.
[[nodiscard]] inline std::uint64_t version_mark(std::string_view version) noexcept {
    return detail::hash_text(version, detail::expectation_of_nothing);
}

namespace detail {

// Little endian, whatever the machine, so that a record can be read elsewhere.
class state_writer {
  public:
    explicit state_writer(std::span<std::byte> to) : to_(to) {}
    void number(std::uint64_t n, std::size_t bytes) noexcept {
        for (std::size_t i = 0; i != bytes; ++i) to_[at_++] = std::byte(n >> (8 * i) & 0xff);
    }
    void text(std::string_view t) noexcept {
        number(t.size(), 1);
        std::memcpy(to_.data() + at_, t.data(), t.size());
        at_ += longest_firmware_name;
    }

  private:
    std::span<std::byte> to_;
    std::size_t at_ = 0;
};

class state_reader {
  public:
    explicit state_reader(std::span<std::byte const> from) : from_(from) {}
    [[nodiscard]] std::uint64_t number(std::size_t bytes) noexcept {
        std::uint64_t n = 0;
        for (std::size_t i = 0; i != bytes; ++i)
            n |= std::to_integer<std::uint64_t>(from_[at_++]) << (8 * i);
        return n;
    }
    [[nodiscard]] std::string text() {
        auto const size = std::min(static_cast<std::size_t>(number(1)), longest_firmware_name);
        std::string t(reinterpret_cast<char const*>(from_.data()) + at_, size);
        at_ += longest_firmware_name;
        return t;
    }

  private:
    std::span<std::byte const> from_;
    std::size_t at_ = 0;
};

inline constexpr std::uint64_t state_magic = 0x3161746f; // "ota1"

} // namespace detail

/// The state as bytes, to be saved as they are.
[[nodiscard]] inline std::array<std::byte, update_state_size> encode(update_state const& s) {
    std::array<std::byte, update_state_size> to{};
    detail::state_writer w{to};
    w.number(detail::state_magic, 4);
    w.number(static_cast<std::uint64_t>(s.stage), 4);
    w.number(s.fingerprint, 8);
    w.number(s.former, 8);
    w.number(s.bytes, 8);
    w.number(s.file, 4);
    w.number(s.installs, 4);
    w.number(static_cast<std::uint64_t>(s.spent.count()), 8);
    w.text(std::string_view{s.version}.substr(0, longest_firmware_name));
    std::span const all{to};
    detail::state_writer{all.last(4)}.number(crc32c(all.first(update_state_size - 4)), 4);
    return to;
}

/// What `encode` wrote; nothing if it is not that, whole: then it counts as if nothing were there.
[[nodiscard]] inline std::optional<update_state>
decode_update_state(std::span<std::byte const> from) {
    if (from.size() != update_state_size) return std::nullopt;
    if (detail::state_reader{from.last(4)}.number(4) != crc32c(from.first(from.size() - 4)))
        return std::nullopt;
    detail::state_reader r{from};
    if (r.number(4) != detail::state_magic) return std::nullopt;
    auto const stage = r.number(4);
    if (stage > static_cast<std::uint64_t>(update_stage::reported)) return std::nullopt;
    update_state s;
    s.stage = static_cast<update_stage>(stage);
    s.fingerprint = r.number(8);
    s.former = r.number(8);
    s.bytes = r.number(8);
    s.file = static_cast<std::uint32_t>(r.number(4));
    s.installs = static_cast<std::uint32_t>(r.number(4));
    s.spent = std::chrono::milliseconds{static_cast<std::int64_t>(r.number(8))};
    s.version = r.text();
    return s;
}

} // namespace cleave
