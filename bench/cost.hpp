// SPDX-License-Identifier: BSL-1.0
//
// What a process has cost so far, as the system counts it: processor time and memory.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

namespace cleave_bench {

/// Seconds of user and system time.
inline double cpu_of(rusage const& u) noexcept {
    auto const seconds = [](timeval const& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(u.ru_utime) + seconds(u.ru_stime);
}

/// Those of this process, all threads together.
inline double cpu_so_far() noexcept {
    rusage u{};
    ::getrusage(RUSAGE_SELF, &u);
    return cpu_of(u);
}

/// The most memory that this process has ever had in RAM, in KiB (VmHWM). To ask takes none.
inline std::uint64_t peak_kib() noexcept {
    std::array<char, 4096> status{};
    int const fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t const n = fd < 0 ? 0 : ::read(fd, status.data(), status.size());
    ::close(fd);
    std::string_view const all{status.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
    auto at = all.find("VmHWM:");
    if (at == std::string_view::npos) return 0;
    at = all.find_first_of("0123456789", at);
    std::uint64_t kib = 0;
    std::from_chars(all.data() + at, all.data() + all.size(), kib);
    return kib;
}

} // namespace cleave_bench
