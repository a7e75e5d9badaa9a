// SPDX-License-Identifier: BSL-1.0
//
// What the two ends of an update show of themselves, a line at a time: when, what the device does,
// who sends what to whom, what the platform does. Both write to one terminal, and the lines of both
// make one picture. It knows nothing of updates.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <iomanip>
#include <sstream>
#include <string>
#include <string_view>

#include <unistd.h>

namespace example::picture {

namespace detail {
inline constexpr std::size_t device_width = 44;

inline std::string now() {
    using namespace std::chrono;
    auto const t = system_clock::now();
    std::time_t const whole = system_clock::to_time_t(t);
    auto const ms = duration_cast<milliseconds>(t.time_since_epoch()).count() % 1000;
    std::tm local{};
    localtime_r(&whole, &local);
    std::ostringstream text;
    text << std::put_time(&local, "%M:%S.") << std::setw(3) << std::setfill('0') << ms;
    return text.str();
}

// In one piece, so that lines of two programs do not mix.
inline void draw(std::string_view left, std::string_view middle, std::string_view right) {
    std::string line = now() + "  ";
    line += left;
    if (left.size() < device_width) line.append(device_width - left.size(), ' ');
    line += ' ';
    line += middle;
    if (!right.empty()) line += ' ';
    line += right;
    line.resize(line.find_last_not_of(' ') + 1);
    line += '\n';
    [[maybe_unused]] auto const n = ::write(STDOUT_FILENO, line.data(), line.size());
}
} // namespace detail

/// What the device does by itself.
inline void device(std::string_view text) { detail::draw(text, "  |  ", ""); }
/// What comes to the platform.
inline void to_platform(std::string_view text) { detail::draw(text, "---->", ""); }
/// What goes to the device.
inline void to_device(std::string_view text) { detail::draw("", "<----", text); }
/// What the platform does by itself.
inline void platform(std::string_view text) { detail::draw("", "  |  ", text); }

inline std::string bytes(std::uint64_t n) {
    if (n < 10'000) return std::to_string(n) + " bytes";
    std::ostringstream text;
    text << std::fixed << std::setprecision(1);
    if (n < 10'000'000) {
        text << static_cast<double>(n) / 1e3 << " kB";
    } else {
        text << static_cast<double>(n) / 1e6 << " MB";
    }
    return text.str();
}
inline std::string count(std::uint64_t n, char const* one) {
    return std::to_string(n) + ' ' + one + (n == 1 ? "" : "s");
}

} // namespace example::picture
