// SPDX-License-Identifier: BSL-1.0
//
// One download as most tests want it: into memory or a file, over real sockets, with short waits
// between tries.
#pragma once

#include <cleave/cleave.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_test {

struct fetched {
    std::error_code ec;
    cleave::report report;
    std::string bytes;
};

/// Tries again at once, and not for long: tests must not wait.
inline cleave::backoff quick_backoff(std::uint32_t tries = 4) {
    return {.tries = tries, .first = std::chrono::milliseconds{1}};
}

template <class Policies>
fetched fetch(cleave::request what, Policies how) {
    fetched f;
    std::vector<std::byte> memory;
    f.report = cleave::download(std::move(what), cleave::memory_sink{memory}, std::move(how), f.ec);
    if (!f.ec) {
        f.bytes.resize(memory.size());
        if (!memory.empty()) std::memcpy(f.bytes.data(), memory.data(), memory.size());
    }
    return f;
}

/// Segments of `segment_size` over so many lanes.
inline fetched fetch(cleave::request what, std::uint64_t segment_size, std::uint32_t lanes = 4) {
    return fetch(std::move(what), cleave::policies<>{}
                                      .with_plan(cleave::fixed_size{segment_size})
                                      .with_lanes(cleave::fixed_lanes{lanes})
                                      .with_renewal(quick_backoff()));
}

} // namespace cleave_test
