// SPDX-License-Identifier: BSL-1.0
//
// Reads a Metalink 4 document (RFC 5854): where a file is to be had, how large it is and which
// digests it has. Opens no file and fetches nothing. What the document says is a stranger's: names
// are made safe, and messages repeat nothing of it.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cleave/base/url.hpp>
#include <cleave/verify/digest.hpp>
#include <cleave/verify/piece_list.hpp>

#include <pugixml.hpp>

namespace example {

struct whole_digest {
    cleave::digest_algorithm algorithm = cleave::digest_algorithm::sha256;
    std::string hex;
};

/// One <file> of a Metalink.
struct metalink_file {
    /// For a file in the current directory, by the rules of cleave::url::file_name.
    std::string name;
    std::optional<std::uint64_t> size;
    /// The strongest of those given that the library knows, each.
    std::optional<whole_digest> digest;
    std::optional<cleave::piece_list> pieces;
    /// The best one first. At least one.
    std::vector<cleave::url> urls;
};

inline constexpr std::size_t max_metalink_size = 16U << 20U;

// --- Bits of it ----------------------------------------------------------------------------------

inline std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t n = 0;
    auto const [stop, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
    return n;
}

// An element's text, of which comments may stand in the middle, without the blanks around it.
inline std::string text_of(pugi::xml_node element) {
    std::string text;
    for (auto const& part : element.children()) text += part.value();
    auto const first = text.find_first_not_of(" \t\r\n");
    if (first == std::string::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
}

constexpr int strength(cleave::digest_algorithm a) {
    switch (a) {
    case cleave::digest_algorithm::sha512: return 4;
    case cleave::digest_algorithm::sha256: return 3;
    case cleave::digest_algorithm::sha1: return 2;
    case cleave::digest_algorithm::md5: return 1;
    }
    return 0;
}

// The algorithm of a <hash> or <pieces>, where the library knows it and it is stronger than `old`.
inline std::optional<cleave::digest_algorithm>
better_algorithm(pugi::xml_node element, std::optional<cleave::digest_algorithm> old) {
    auto const a = cleave::parse_digest_algorithm(element.attribute("type").value());
    return a && (!old || strength(*a) > strength(*old)) ? a : std::nullopt;
}

inline std::string digits_wanted(cleave::digest_algorithm a) {
    return std::string{cleave::to_string(a)} + " has " +
           std::to_string(2 * cleave::digest_size(a)) + " hexadecimal digits";
}

// A path may be given (RFC 5854, section 4.1.2.1), of which the last part is taken. Empty where
// the path leads elsewhere, or nothing of that part is left.
inline std::string safe_name(std::string_view path) {
    constexpr std::string_view separators = "/\\";
    for (std::string_view rest = path;;) {
        auto const end = rest.find_first_of(separators);
        auto const part = rest.substr(0, end);
        if (part.empty() || part == "." || part == "..") return {};
        if (end == std::string_view::npos) break;
        rest.remove_prefix(end + 1);
    }
    // As the path of a URL, with every byte encoded.
    std::string text = "http://none/";
    for (char const c : path) {
        auto const byte = static_cast<unsigned char>(c);
        text += '%';
        text += "0123456789abcdef"[byte >> 4U];
        text += "0123456789abcdef"[byte & 15U];
    }
    std::error_code ec;
    return cleave::url::parse(text, ec).file_name();
}

// Those that cannot be read, or are neither http nor https, are left out: others may do.
inline std::vector<cleave::url> read_urls(pugi::xml_node file) {
    constexpr std::uint64_t lowest = 999'999; // of what a Metalink may say; the highest is 1
    std::vector<std::pair<std::uint64_t, cleave::url>> found;
    for (auto const& element : file.children("url")) {
        auto const priority = parse_number(element.attribute("priority").value()).value_or(lowest);
        std::error_code ec;
        auto url = cleave::url::parse(text_of(element), ec);
        if (!ec) found.emplace_back(priority == 0 ? lowest : std::min(priority, lowest), url);
    }
    std::ranges::stable_sort(found, {}, [](auto const& f) { return f.first; });
    std::vector<cleave::url> urls;
    for (auto& f : found) urls.push_back(std::move(f.second));
    return urls;
}

// --- All of it -----------------------------------------------------------------------------------

/// Reads the <file> of that name, or else the first one. None where `fault` says why.
inline std::optional<metalink_file> read_metalink(std::string_view xml, std::string& fault,
                                                  std::string_view wanted = {}) {
    fault.clear();
    auto const refuse = [&](std::string what) {
        fault = std::move(what);
        return std::nullopt;
    };
    if (xml.size() > max_metalink_size) return refuse("the Metalink is larger than 16 MiB");
    pugi::xml_document document;
    // Of a DTD nothing is read, and no entity but those of XML itself is expanded.
    auto const parsed = document.load_buffer(xml.data(), xml.size());
    if (!parsed)
        return refuse("the Metalink is not well-formed XML, at byte " +
                      std::to_string(parsed.offset) + ": " + parsed.description());
    auto const root = document.child("metalink");
    if (std::string_view{root.attribute("xmlns").value()} != "urn:ietf:params:xml:ns:metalink")
        return refuse("this is no Metalink of version 4 (RFC 5854), which begins with "
                      "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">");

    auto const element = root.find_child([&](pugi::xml_node node) {
        return std::string_view{node.name()} == "file" &&
               (wanted.empty() || wanted == node.attribute("name").value());
    });
    if (!element)
        return refuse(wanted.empty() ? "the Metalink has no <file>"
                                     : "the Metalink has no <file> of the name that was given");
    metalink_file file;
    file.name = safe_name(element.attribute("name").value());
    if (file.name.empty())
        return refuse("the file's name in the Metalink cannot be used: it is missing, or it leads "
                      "out of the directory");

    if (auto const size = element.child("size")) {
        file.size = parse_number(text_of(size));
        if (!file.size) return refuse("<size> is not a number of bytes below 2^64");
    }

    for (auto const& hash : element.children("hash")) {
        auto const old = file.digest ? std::optional{file.digest->algorithm} : std::nullopt;
        auto const algorithm = better_algorithm(hash, old);
        if (!algorithm) continue;
        file.digest = {*algorithm, text_of(hash)};
        if (!cleave::parse_digest(*algorithm, file.digest->hex))
            return refuse("a <hash> cannot be read; " + digits_wanted(*algorithm));
    }

    for (auto const& pieces : element.children("pieces")) {
        auto const old = file.pieces ? std::optional{file.pieces->algorithm} : std::nullopt;
        auto const algorithm = better_algorithm(pieces, old);
        if (!algorithm) continue;
        auto const length = parse_number(pieces.attribute("length").value()).value_or(0);
        if (length == 0) return refuse("the length of <pieces> is not a number of bytes above 0");
        cleave::piece_list list{*algorithm, length, {}};
        for (auto const& hash : pieces.children("hash"))
            if (!list.add(text_of(hash)))
                return refuse("the <hash> of piece " + std::to_string(list.count()) +
                              " cannot be read; " + digits_wanted(*algorithm));
        if (file.size) {
            auto const count = *file.size / length + (*file.size % length != 0 ? 1 : 0);
            if (list.count() != count)
                return refuse("<pieces> has " + std::to_string(list.count()) +
                              " hashes, but a file of this <size> has " + std::to_string(count) +
                              " pieces");
        } else if (list.count() == 0) {
            return refuse("<pieces> has no <hash>");
        }
        if (list.count() != 0) file.pieces = std::move(list);
    }

    file.urls = read_urls(element);
    if (file.urls.empty())
        return refuse("the Metalink has no URL for the file that can be used; there must be one of "
                      "http or https");
    return file;
}

} // namespace example
