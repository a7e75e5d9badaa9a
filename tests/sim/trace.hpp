// SPDX-License-Identifier: BSL-1.0
//
// What happens in a simulated world, as one number: the same world has the same trace at every run,
// on every machine. And as lines for people, where somebody wants to read along.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace cleave_sim {

/// FNV-1a over whatever is told, in the order in which it is.
class trace {
  public:
    /// Lines go to `to`; without one they are not even made.
    void read_along(std::function<void(std::string const&)> to) { to_ = std::move(to); }

    void add(std::uint64_t n) noexcept {
        for (int i = 0; i != 8; ++i, n >>= 8U) add_byte(static_cast<unsigned char>(n));
    }
    void add(std::string_view text) noexcept {
        for (char const c : text) add_byte(static_cast<unsigned char>(c));
        add(std::uint64_t{text.size()});
    }
    [[nodiscard]] bool read() const noexcept { return to_ != nullptr; }
    /// A line for people, made by `line()` only where somebody reads.
    template <class Line>
    void tell(Line line) const {
        if (to_) to_(line());
    }

    [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }

  private:
    void add_byte(unsigned char c) noexcept { hash_ = (hash_ ^ c) * 0x100000001b3U; }

    std::uint64_t hash_ = 0xcbf29ce484222325U;
    std::function<void(std::string const&)> to_;
};

} // namespace cleave_sim
