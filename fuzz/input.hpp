// SPDX-License-Identifier: BSL-1.0
//
// What fuzz targets share: decisions taken from the bytes of an input, a text handed out in
// portions, and an end with a name for what does not hold. Knows nothing of the library, and no
// randomness: the same input does the same.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace cleave_fuzz {

/// Ends the process where a law does not hold, which is what a fuzzing engine looks for.
inline void require(bool holds, char const* law, char const* file = __builtin_FILE(),
                    int line = __builtin_LINE()) {
    if (holds) return;
    std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, law);
    std::abort();
}

/// Whether two names are the same but for the case of ASCII letters.
inline bool same_name(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i != a.size(); ++i) {
        if (a[i] == b[i]) continue;
        char const lower = static_cast<char>(a[i] | 0x20);
        if (lower != static_cast<char>(b[i] | 0x20) || lower < 'a' || lower > 'z') return false;
    }
    return true;
}

/// Decisions, each of them taken off the front of an input. Behind its end all numbers are 0 and
/// all texts empty.
class input {
  public:
    input(std::uint8_t const* data, std::size_t size)
        // A view of an empty input must not be one of nothing at all.
        : left_(size == 0 ? std::string_view{""}
                          : std::string_view{reinterpret_cast<char const*>(data), size}) {}
    explicit input(std::string_view text) : left_(text) {}

    [[nodiscard]] bool empty() const noexcept { return left_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return left_.size(); }

    std::uint8_t byte() noexcept {
        if (left_.empty()) return 0;
        auto const b = static_cast<std::uint8_t>(left_.front());
        left_.remove_prefix(1);
        return b;
    }
    /// Little-endian, of so many bytes.
    std::uint64_t number(std::size_t bytes) noexcept {
        std::uint64_t n = 0;
        for (std::size_t i = 0; i != bytes; ++i) n |= std::uint64_t{byte()} << 8 * i;
        return n;
    }
    /// Of any size: a byte says of how many bytes, and whether it is that far below 2^64 instead.
    std::uint64_t number() noexcept {
        std::uint8_t const form = byte();
        std::uint64_t const n = number(form % 9U);
        return form >= 0xc0 ? ~n : n;
    }
    /// 0 to `n` - 1, and 0 where `n` is 0; of as few bytes as can make a difference.
    std::uint64_t below(std::uint64_t n) noexcept {
        if (n < 2) return 0;
        std::size_t bytes = 1;
        while (bytes != 8 && (n - 1) >> 8 * bytes != 0) ++bytes;
        return number(bytes) % n;
    }
    std::size_t index(std::size_t n) noexcept { return static_cast<std::size_t>(below(n)); }
    /// True `percent` times out of a hundred.
    bool chance(unsigned percent) noexcept { return below(100) < percent; }

    std::string_view text(std::size_t bytes) noexcept {
        std::string_view const to = left_.substr(0, bytes);
        left_.remove_prefix(to.size());
        return to;
    }
    /// Up to the next `end`, which goes, or all there is.
    std::string_view text_before(char end) noexcept {
        std::string_view const to = text(left_.find(end));
        if (!left_.empty()) left_.remove_prefix(1);
        return to;
    }
    std::string_view rest() noexcept { return text(left_.size()); }

  private:
    std::string_view left_;
};

/// Hands out a text in portions of 1 to 256 bytes, as a text of their sizes says, used in turn; all
/// at once where there are no sizes.
class portions {
  public:
    explicit portions(std::string_view text, std::string_view sizes = {})
        : text_(text), sizes_(sizes) {}

    [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
    /// Bytes still to come.
    [[nodiscard]] std::size_t size() const noexcept { return text_.size(); }
    std::string_view next() {
        std::size_t n = text_.size();
        if (!sizes_.empty())
            n = std::min(n, std::size_t{1} +
                                static_cast<unsigned char>(sizes_[turn_++ % sizes_.size()]));
        std::string_view const to = text_.substr(0, n);
        text_.remove_prefix(n);
        return to;
    }

  private:
    std::string_view text_;
    std::string_view sizes_;
    std::size_t turn_ = 0;
};

/// The sizes that portions are to have: a byte n, and n % 16 of them.
inline std::string_view portion_sizes(input& from) noexcept {
    std::size_t const n = from.byte() % 16U;
    return from.text(n);
}

} // namespace cleave_fuzz
