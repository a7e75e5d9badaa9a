// SPDX-License-Identifier: BSL-1.0
//
// Digests of an object's pieces as data, and the plain text they may come in. Hashes nothing and
// reads no file.
#pragma once

#include <cleave/verify/digest.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave {

/// The digests of an object's pieces, from the first to the last, as a manifest lists them.
struct piece_list {
    digest_algorithm algorithm = digest_algorithm::sha256;
    /// Bytes of each piece; the last one has as many as there are.
    std::uint64_t piece_size = 0;
    /// One digest behind the other, each of `digest_size(algorithm)` bytes.
    std::vector<std::byte> digests;

    /// Adds the digest of the next piece; not one that cannot be read.
    [[nodiscard]] bool add(std::string_view hex) {
        auto const value = parse_digest(algorithm, hex);
        if (value) digests.insert(digests.end(), value->view().begin(), value->view().end());
        return value.has_value();
    }
    /// How many pieces there are.
    [[nodiscard]] std::uint64_t count() const noexcept {
        return digests.size() / digest_size(algorithm);
    }
};

/// What `parse_pieces` made of a text: a list, or what is wrong and in which line.
struct parsed_pieces {
    std::optional<piece_list> list;
    /// "line 3: ..."; empty where there is a list.
    std::string fault;
};

namespace detail {

[[nodiscard]] constexpr bool is_blank(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\r';
}

/// Takes the next word off the front of a line.
[[nodiscard]] constexpr std::string_view take_word(std::string_view& line) noexcept {
    while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
    std::size_t n = 0;
    while (n != line.size() && !is_blank(line[n])) ++n;
    std::string_view const word = line.substr(0, n);
    line.remove_prefix(n);
    return word;
}

[[nodiscard]] inline std::optional<std::uint64_t> parse_piece_size(std::string_view text) noexcept {
    std::uint64_t size = 0;
    auto const [stop, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    if (error != std::errc{} || stop != text.data() + text.size() || size == 0) return std::nullopt;
    return size;
}

} // namespace detail

/// Reads digests of pieces from a text of lines: first the algorithm and the bytes of a piece, then
/// a digest for each piece, in order, in hexadecimal digits.
///
///     sha-256 1048576
///     e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
///
/// Blank lines do not count, nor does what stands behind a `#`. There must be one digest at least.
[[nodiscard]] inline parsed_pieces parse_pieces(std::string_view text) {
    std::optional<piece_list> list;
    std::size_t number = 0;
    auto const fault = [&](std::string const& what) -> parsed_pieces {
        return {std::nullopt, "line " + std::to_string(number) + ": " + what};
    };
    for (bool more = true; more;) {
        ++number;
        std::size_t const end = text.find('\n');
        more = end != std::string_view::npos;
        std::string_view line = text.substr(0, end);
        if (more) text.remove_prefix(end + 1);

        line = line.substr(0, line.find('#'));
        std::string_view const first = detail::take_word(line);
        std::string_view const second = detail::take_word(line);
        if (first.empty()) continue;
        if (!detail::take_word(line).empty()) return fault("there is a word too many");
        if (!list) {
            auto const algorithm = parse_digest_algorithm(first);
            if (!algorithm)
                return fault("begin with the algorithm, which is sha-256, sha-512, sha-1 or md5");
            auto const size = detail::parse_piece_size(second);
            if (!size) return fault("give the bytes of a piece behind the algorithm; above 0");
            list = piece_list{*algorithm, *size, {}};
        } else if (!second.empty()) {
            return fault("give one digest a line");
        } else if (!list->add(first)) {
            return fault(std::string{"not a digest; "} + to_string(list->algorithm) + " has " +
                         std::to_string(2 * digest_size(list->algorithm)) + " hexadecimal digits");
        }
    }
    if (!list) return fault("the text ends before the algorithm and the bytes of a piece");
    if (list->count() == 0) return fault("the text ends before the first digest");
    return {std::move(list), {}};
}

} // namespace cleave
