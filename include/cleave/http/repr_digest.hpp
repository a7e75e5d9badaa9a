// SPDX-License-Identifier: BSL-1.0
//
// Reads Repr-Digest, the field by which a server says the digest of a whole representation, in
// replies to ranges too. Hashes nothing, and compares nothing.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/http/text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace cleave {

/// What a Repr-Digest says (RFC 9530, section 3), as far as it is of use.
struct repr_digest {
    enum class algorithm : std::uint8_t { sha256, sha512 };
    algorithm is = algorithm::sha256;
    /// The first 32 or 64 of these; zeros behind them.
    std::array<std::byte, 64> bytes{};

    [[nodiscard]] constexpr std::span<std::byte const> view() const noexcept {
        return std::span{bytes}.first(is == algorithm::sha512 ? 64 : 32);
    }

    friend constexpr bool operator==(repr_digest const&, repr_digest const&) = default;
};

/// Reads a Repr-Digest, `sha-256=:...:, sha-512=:...:`, and gives the strongest digest in it. Where
/// a reply has several such lines, their values are to be joined by ", " before.
///
/// The value is a dictionary of byte sequences (RFC 8941, section 3.2), in which the last of equal
/// keys counts, and parameters are passed over. Algorithms other than sha-256 and sha-512 are
/// passed over too, also those that RFC 9530 deprecates (section 5). None where nothing is left,
/// and none for a value that breaks the grammar or holds a sha-256 or sha-512 of another length,
/// or in base64 without its padding or with bits to spare.
[[nodiscard]] constexpr std::optional<repr_digest>
parse_repr_digest(std::string_view text) noexcept;

namespace detail {

[[nodiscard]] constexpr int base64_value(char c) noexcept {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (ascii_is_digit(c)) return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/// Fills `to` from base64 (RFC 4648, section 4) of exactly so many bytes.
[[nodiscard]] constexpr bool read_base64(std::string_view text, std::span<std::byte> to) noexcept {
    std::size_t const digits = (to.size() * 8 + 5) / 6;
    if (text.size() != (to.size() + 2) / 3 * 4) return false;
    if (text.find_first_not_of('=', digits) != std::string_view::npos) return false;
    unsigned bits = 0;
    unsigned count = 0; // of bits that are not in `to` yet
    std::size_t at = 0;
    for (char const c : text.substr(0, digits)) {
        int const value = base64_value(c);
        if (value < 0) return false;
        bits = (bits << 6 | static_cast<unsigned>(value)) & 0xfff;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        to[at++] = static_cast<std::byte>(bits >> count & 0xff);
    }
    return (bits & ((1U << count) - 1)) == 0;
}

/// Takes the parts of a dictionary (RFC 8941, section 4.2) off the front of a text; after one that
/// does not fit, `good` is false.
struct dictionary_reader {
    std::string_view rest;
    bool good = true;

    constexpr bool take(char c) noexcept {
        if (!rest.starts_with(c)) return false;
        rest.remove_prefix(1);
        return true;
    }
    template <class Test>
    constexpr std::string_view take_while(Test test) noexcept {
        std::size_t n = 0;
        while (n != rest.size() && test(rest[n])) ++n;
        std::string_view const part = rest.substr(0, n);
        rest.remove_prefix(n);
        return part;
    }
    constexpr std::string_view key() noexcept {
        auto const lower = [](char c) { return (c >= 'a' && c <= 'z') || c == '*'; };
        good = good && !rest.empty() && lower(rest.front());
        return take_while([=](char c) {
            return lower(c) || ascii_is_digit(c) || c == '_' || c == '-' || c == '.';
        });
    }
    /// What stands between the colons, in base64.
    constexpr std::string_view byte_sequence() noexcept {
        good = good && take(':');
        auto const text = take_while([](char c) { return base64_value(c) >= 0 || c == '='; });
        good = good && take(':');
        return text;
    }
    /// A value of whatever kind.
    constexpr void item() noexcept {
        if (rest.starts_with(':')) {
            byte_sequence();
        } else if (take('"')) {
            quoted();
        } else if (take('?')) {
            good = good && (take('0') || take('1'));
        } else if (!rest.empty() && (ascii_is_letter(rest.front()) || rest.front() == '*')) {
            take_while([](char c) { return http_is(c, http_token) || c == ':' || c == '/'; });
        } else {
            number();
        }
    }
    constexpr void parameters() noexcept {
        while (good && take(';')) {
            take_while([](char c) { return c == ' '; });
            key();
            if (take('=')) item();
        }
    }

  private:
    /// The rest of a string, behind its first quote.
    constexpr void quoted() noexcept {
        while (good && !take('"')) {
            if (take('\\'))
                good = rest.starts_with('"') || rest.starts_with('\\');
            else
                good = !rest.empty() && rest.front() >= ' ' && rest.front() <= '~';
            if (good) rest.remove_prefix(1);
        }
    }
    constexpr void number() noexcept {
        take('-');
        std::size_t const whole = take_while(ascii_is_digit).size();
        if (take('.')) {
            std::size_t const fraction = take_while(ascii_is_digit).size();
            good = good && whole >= 1 && whole <= 12 && fraction >= 1 && fraction <= 3;
        } else {
            good = good && whole >= 1 && whole <= 15;
        }
    }
};

} // namespace detail

constexpr std::optional<repr_digest> parse_repr_digest(std::string_view text) noexcept {
    std::optional<std::string_view> sha256;
    std::optional<std::string_view> sha512;
    auto const blank = [](char c) { return c == ' ' || c == '\t'; };
    detail::dictionary_reader read{text};
    read.take_while([](char c) { return c == ' '; });
    do {
        std::string_view const key = read.key();
        read.good = read.good && read.take('=');
        std::string_view const value = read.byte_sequence();
        read.parameters();
        if (!read.good) return std::nullopt;
        if (key == "sha-256") sha256 = value;
        if (key == "sha-512") sha512 = value;
        read.take_while(blank);
        if (read.rest.empty()) break;
        read.good = read.take(',');
        read.take_while(blank);
    } while (read.good);
    if (!read.good || (!sha256 && !sha512)) return std::nullopt;

    repr_digest to;
    if (sha256 && !detail::read_base64(*sha256, std::span{to.bytes}.first(32))) return std::nullopt;
    if (!sha512) return to;
    to.is = repr_digest::algorithm::sha512;
    if (!detail::read_base64(*sha512, to.bytes)) return std::nullopt;
    return to;
}

} // namespace cleave
