// SPDX-License-Identifier: BSL-1.0
//
// Planning alone, as with a downloader of one's own: without Asio, without I/O, without exceptions.
// Prints the segments that make up so many bytes.
//
//   core <size> <segments>

#include <cleave/core.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

constexpr cleave::segment overlap[]{{0, 1024}, {1024, 2048}};
static_assert(cleave::find_list_fault(overlap));

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    auto const size = std::strtoull(argv[1], nullptr, 10);
    auto const segments = static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10));
    for (cleave::segment s : cleave::plan(cleave::even_split{segments}, size))
        std::printf("%llu-%llu\n", static_cast<unsigned long long>(s.first),
                    static_cast<unsigned long long>(s.last));
}
