// SPDX-License-Identifier: BSL-1.0
//
// What a bench is told on its command line, and the `main` around it.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace cleave_bench {

struct option {
    /// With a word for its value where it has one: "--runs N".
    char const* form;
    char const* help;
    /// Is given the value, empty where there is none, and answers whether it is fit.
    std::function<bool(std::string_view)> take;

    [[nodiscard]] bool has_value() const { return std::strchr(form, ' ') != nullptr; }
    [[nodiscard]] std::string_view name() const {
        std::string_view const all{form};
        return all.substr(0, all.find(' '));
    }
};

// What may be taken: nothing, any text, a number from `least` to `most`.

inline auto flag(bool& to, bool value = true) {
    return [&to, value](std::string_view) {
        to = value;
        return true;
    };
}
inline auto word(std::string& to) {
    return [&to](std::string_view text) {
        to = text;
        return true;
    };
}
template <class Number>
auto number(Number& to, std::type_identity_t<Number> least = 1,
            std::type_identity_t<Number> most = std::numeric_limits<Number>::max()) {
    return [&to, least, most](std::string_view text) {
        char const* const end = text.data() + text.size();
        auto const [p, ec] = std::from_chars(text.data(), end, to);
        return ec == std::errc{} && p == end && to >= least && to <= most;
    };
}

/// Whether all that is on the command line was taken.
inline bool read_options(int argc, char** argv, std::vector<option> const& options) {
    for (int i = 1; i < argc; ++i) {
        auto const o = std::find_if(options.begin(), options.end(),
                                    [&](option const& one) { return one.name() == argv[i]; });
        if (o == options.end() || (o->has_value() && ++i == argc)) return false;
        if (!o->take(o->has_value() ? argv[i] : "")) return false;
    }
    return true;
}

/// The `main` of a bench: what `run` returns, when the options have been read; 1 where it throws,
/// and 2 where they cannot be read.
template <class F>
int bench_main(int argc, char** argv, std::vector<option> const& options, F run) {
    char const* const slash = std::strrchr(argv[0], '/');
    char const* const program = slash != nullptr ? slash + 1 : argv[0];
    if (!read_options(argc, argv, options)) {
        std::size_t width = 0;
        for (option const& o : options) width = std::max(width, std::strlen(o.form));
        std::fprintf(stderr, "usage: %s [options]\n", program);
        for (option const& o : options)
            std::fprintf(stderr, "  %-*s  %s\n", static_cast<int>(width), o.form, o.help);
        return 2;
    }
    try {
        return run();
    } catch (std::exception const& e) {
        std::fprintf(stderr, "%s: %s\n", program, e.what());
        return 1;
    }
}

} // namespace cleave_bench
