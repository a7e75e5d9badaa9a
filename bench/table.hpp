// SPDX-License-Identifier: BSL-1.0
//
// A table that is printed row by row while the bench goes on: in columns for eyes, or in Markdown.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace cleave_bench {

/// As printf, into a string.
[[gnu::format(printf, 1, 2)]] inline std::string text(char const* format, ...) {
    char buffer[256];
    std::va_list values;
    va_start(values, format);
    std::vsnprintf(buffer, sizeof buffer, format, values);
    va_end(values);
    return buffer;
}

class table {
  public:
    struct column {
        char const* name;
        int width; // of what is aligned right; less than 0 aligns left
    };

    table(bool markdown, std::initializer_list<column> columns)
        : markdown_(markdown), columns_(columns) {
        std::vector<std::string> names;
        std::string under = "|";
        for (column const& c : columns_) {
            names.emplace_back(c.name);
            under += c.width < 0 ? "---|" : "---:|";
        }
        row(names);
        if (markdown_) std::puts(under.c_str());
    }

    void row(std::vector<std::string> const& cells) const {
        if (markdown_) std::fputs("|", stdout);
        for (std::size_t i = 0; i != cells.size(); ++i)
            if (markdown_)
                std::printf(" %s |", cells[i].c_str());
            else
                std::printf("%*s  ", columns_[i].width, cells[i].c_str());
        std::puts("");
        std::fflush(stdout);
    }

  private:
    bool markdown_;
    std::vector<column> columns_;
};

} // namespace cleave_bench
