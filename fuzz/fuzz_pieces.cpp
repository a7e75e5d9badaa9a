// SPDX-License-Identifier: BSL-1.0
//
// Digests of pieces, and single digests, from any text: what is read is what another reader makes
// of it, and is read again from what it is written as.
//
// The input: one byte that says what the rest is.

#include "input.hpp"

#include <cleave/verify/digest.hpp>
#include <cleave/verify/piece_list.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using cleave::digest_algorithm;
using cleave_fuzz::require;

constexpr std::array algorithms{digest_algorithm::sha256, digest_algorithm::sha512,
                                digest_algorithm::sha1, digest_algorithm::md5};

std::string hex(std::span<std::byte const> bytes, bool upper = false) {
    std::string_view const digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    std::string to;
    for (std::byte const b : bytes) {
        to += digits[std::to_integer<unsigned>(b) >> 4U];
        to += digits[std::to_integer<unsigned>(b) & 15U];
    }
    return to;
}
std::string lower(std::string_view text) {
    std::string to{text};
    for (char& c : to)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return to;
}
bool is_hex(std::string_view text) {
    return text.find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

std::optional<digest_algorithm> algorithm_named(std::string_view name) {
    std::string bare = lower(name);
    std::erase_if(bare, [](char c) { return c == '-' || c == '_'; });
    if (bare == "sha256") return digest_algorithm::sha256;
    if (bare == "sha512") return digest_algorithm::sha512;
    if (bare == "sha1") return digest_algorithm::sha1;
    if (bare == "md5") return digest_algorithm::md5;
    return std::nullopt;
}

void try_name(std::string_view text) {
    require(cleave::parse_digest_algorithm(text) == algorithm_named(text),
            "an algorithm is known by its name");
}

void try_digest(std::string_view text) {
    for (digest_algorithm const a : algorithms) {
        auto const read = cleave::parse_digest(a, text);
        bool const good = text.size() == 2 * cleave::digest_size(a) && is_hex(text);
        require(read.has_value() == good, "a digest has its digits and nothing else");
        if (!read) continue;
        require(read->size == cleave::digest_size(a), "a digest has its algorithm's length");
        require(hex(read->view()) == lower(text), "a digest is written as it was");
        require(std::all_of(read->bytes.begin() + static_cast<std::ptrdiff_t>(read->size),
                            read->bytes.end(), [](std::byte b) { return b == std::byte{0}; }),
                "there is nothing behind a digest");
    }
}

// ---- lists ----------------------------------------------------------------------------------

std::vector<std::string_view> words(std::string_view line) {
    line = line.substr(0, line.find('#'));
    std::vector<std::string_view> to;
    for (std::size_t at = 0;;) {
        at = line.find_first_not_of(" \t\r", at);
        if (at == line.npos) return to;
        std::size_t const end = std::min(line.find_first_of(" \t\r", at), line.size());
        to.push_back(line.substr(at, end - at));
        at = end;
    }
}
std::optional<std::uint64_t> number(std::string_view text) {
    if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
    text.remove_prefix(std::min(text.find_first_not_of('0'), text.size() - 1));
    constexpr std::string_view most = "18446744073709551615";
    if (text.size() > most.size() || (text.size() == most.size() && text > most))
        return std::nullopt;
    std::uint64_t to = 0;
    for (char const c : text) to = to * 10 + static_cast<std::uint64_t>(c - '0');
    return to;
}

struct list {
    digest_algorithm algorithm{};
    std::uint64_t piece_size = 0;
    std::string digests;
};
std::optional<list> read_list(std::string_view text) {
    std::optional<list> to;
    for (std::size_t at = 0; at <= text.size();) {
        std::size_t const end = std::min(text.find('\n', at), text.size());
        auto const line = words(text.substr(at, end - at));
        at = end + 1;
        if (line.empty()) continue;
        if (!to) {
            if (line.size() != 2) return std::nullopt;
            auto const a = algorithm_named(line[0]);
            auto const size = number(line[1]);
            if (!a || !size || *size == 0) return std::nullopt;
            to = list{*a, *size, {}};
            continue;
        }
        if (line.size() != 1 || line[0].size() != 2 * cleave::digest_size(to->algorithm) ||
            !is_hex(line[0]))
            return std::nullopt;
        to->digests += lower(line[0]);
    }
    return to && !to->digests.empty() ? to : std::nullopt;
}

void try_list(std::string_view text) {
    auto const read = cleave::parse_pieces(text);
    auto const expected = read_list(text);
    require(read.list.has_value() == expected.has_value(), "a list is read");
    require(read.fault.empty() == read.list.has_value(), "a list is read, or what is wrong said");
    if (!read.list) {
        // "line 3: ...", one of the text's.
        auto const colon = read.fault.find(':');
        require(read.fault.starts_with("line ") && colon != std::string::npos,
                "a fault names its line");
        auto const line = number(std::string_view{read.fault}.substr(5, colon - 5));
        auto const lines =
            1 + static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
        require(line && *line >= 1 && *line <= lines, "a fault is in a line of the text");
        return;
    }
    cleave::piece_list const& all = *read.list;
    require(all.algorithm == expected->algorithm && all.piece_size == expected->piece_size &&
                hex(all.digests) == expected->digests,
            "a list holds what it says");
    require(all.count() >= 1 && all.digests.size() % cleave::digest_size(all.algorithm) == 0,
            "a list holds whole digests");

    std::string written =
        std::string{to_string(all.algorithm)} + ' ' + std::to_string(all.piece_size) + '\n';
    std::size_t const size = cleave::digest_size(all.algorithm);
    for (std::size_t at = 0; at != all.digests.size(); at += size)
        written += hex(std::span{all.digests}.subspan(at, size), at % 2 == 0) + " # a piece\r\n";
    auto const again = cleave::parse_pieces(written);
    require(again.list && again.list->algorithm == all.algorithm &&
                again.list->piece_size == all.piece_size && again.list->digests == all.digests,
            "what is written of a list reads as the same");
}

// A text of lines that are often right: digests are made of few bytes.
void try_made_list(cleave_fuzz::input& input) {
    constexpr std::array<std::string_view, 6> names{"sha-256", "SHA512",  "sha_1",
                                                    "MD5",     "sha-224", ""};
    constexpr std::array<std::string_view, 6> ends{"\n", "\r\n", " # x\n", "\t\n", "\n\n", ""};
    std::string text{input.chance(10) ? "# of pieces\n" : ""};
    std::string_view const name = names[input.index(names.size())];
    text += name;
    text += ' ';
    text += std::to_string(input.number());
    text += ends[input.index(ends.size())];
    auto const a = algorithm_named(name).value_or(digest_algorithm::md5);
    for (int pieces = 0; pieces != 3 && !input.empty(); ++pieces) {
        std::string const one = hex(std::as_bytes(std::span{input.text(1)}), input.chance(50));
        for (std::size_t i = 0; i != cleave::digest_size(a); ++i) text += one;
        if (input.chance(5)) text += input.text(3);
        text += ends[input.index(ends.size())];
    }
    try_list(text);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    switch (input.byte() % 4) {
    case 0: try_name(input.rest()); break;
    case 1: try_digest(input.rest()); break;
    case 2: try_list(input.rest()); break;
    default: try_made_list(input); break;
    }
    return 0;
}
