// SPDX-License-Identifier: BSL-1.0
//
// The table of troubles in docs/ota.md, for tests that make each of them happen and compare what is
// said with the table. "…" stands there for what differs from run to run.

#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <support/temp_dir.hpp>

namespace cleave_test {

/// What somebody says: "device, step -2" and the text.
struct trouble_text {
    std::string who;
    std::string text;
};
struct trouble {
    std::string cause;
    std::vector<trouble_text> seen;
    std::string remedy;
};

namespace detail {

inline std::string_view trim(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

// Of a cell like "device: `text`<br>platform: `text`".
inline std::vector<trouble_text> read_texts(std::string_view cell) {
    std::vector<trouble_text> texts;
    for (;;) {
        auto const open = cell.find(": `");
        auto const close = cell.find('`', open + 3);
        if (open == std::string_view::npos || close == std::string_view::npos) return texts;
        texts.push_back({std::string{trim(cell.substr(0, open))},
                         std::string{cell.substr(open + 3, close - open - 3)}});
        cell.remove_prefix(close + 1);
        if (cell.substr(0, 4) == "<br>") cell.remove_prefix(4);
    }
}

} // namespace detail

/// The rows of the table, in order.
inline std::vector<trouble> read_troubles() {
    std::string const page = read_file(CLEAVE_SOURCE_DIR "/docs/ota.md");
    std::string_view rest = page;
    auto const head = rest.find("| cause |");
    if (head == std::string_view::npos) throw std::runtime_error{"docs/ota.md has no such table"};
    rest.remove_prefix(head);
    std::vector<trouble> rows;
    for (int n = 0; rest.substr(0, 1) == "|"; ++n) {
        std::string_view const line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(line.size() + 1);
        if (n < 2) continue; // its head
        auto const second = line.find(" | ", 1);
        auto const third = line.find(" | ", second + 3);
        if (third == std::string_view::npos || line.back() != '|')
            throw std::runtime_error{"not a row of three: " + std::string{line}};
        rows.push_back(
            {std::string{detail::trim(line.substr(1, second - 1))},
             detail::read_texts(line.substr(second + 3, third - second - 3)),
             std::string{detail::trim(line.substr(third + 3, line.size() - third - 4))}});
    }
    return rows;
}

/// That with this cause.
inline trouble find_trouble(std::string_view cause) {
    for (trouble& t : read_troubles())
        if (t.cause == cause) return t;
    throw std::runtime_error{"docs/ota.md does not have the cause: " + std::string{cause}};
}

/// Whether a text is what stands in the table.
inline bool fits(std::string_view pattern, std::string_view text) {
    constexpr std::string_view any = "…";
    auto const gap = pattern.find(any);
    if (gap == std::string_view::npos) return pattern == text;
    if (text.substr(0, gap) != pattern.substr(0, gap)) return false;
    pattern.remove_prefix(gap + any.size());
    text.remove_prefix(gap);
    // Something has to be there.
    for (std::size_t n = 1; n <= text.size(); ++n)
        if (fits(pattern, text.substr(n))) return true;
    return false;
}

} // namespace cleave_test
