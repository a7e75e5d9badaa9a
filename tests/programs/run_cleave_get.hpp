// SPDX-License-Identifier: BSL-1.0
//
// Running cleave-get, and looking at what it said and left behind.

#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <support/process.hpp>
#include <support/temp_dir.hpp>

namespace cleave_test {

// A sanitizer cannot be preloaded over.
inline constexpr bool sanitized =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    true;
#else
    false;
#endif
#else
    false;
#endif

// The command line that runs it with these arguments.
inline std::vector<std::string> cleave_get_command(std::vector<std::string> args) {
    args.insert(args.begin(), CLEAVE_BIN_DIR "/cleave-get");
    return args;
}

// Runs it in the directory, to its end.
inline process_result cleave_get(temp_dir const& in, std::vector<std::string> args,
                                 process_options options = {}) {
    options.directory = in.path().string();
    return run(cleave_get_command(std::move(args)), std::move(options));
}

inline std::string last_line(std::string text) {
    if (text.ends_with('\n')) text.pop_back();
    auto const end = text.rfind('\n');
    return end == std::string::npos ? text : text.substr(end + 1);
}

// The one JSON object on standard output, and nothing else there.
inline nlohmann::json report_in(process_result const& r) { return nlohmann::json::parse(r.out); }

inline std::vector<std::string> files_in(temp_dir const& in) {
    std::vector<std::string> names;
    for (auto const& entry : std::filesystem::directory_iterator{in.path()})
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

} // namespace cleave_test
