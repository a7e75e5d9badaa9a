// SPDX-License-Identifier: BSL-1.0
//
// A floor as a client of bench_download. Without CLEAVE_BENCH_TLS it knows nothing of OpenSSL.

#include "client.hpp"
#include "floors.hpp"

#include <cstdint>

int main(int argc, char** argv) {
    using namespace cleave_bench;
    return client_main(argc, argv, [](client_options const& o) {
        target_memory const memory{o};
        meter const cost;
        std::uint64_t copied = 0;
#ifdef CLEAVE_BENCH_TLS
        copied = o.way == "hash" ? hash_floor(o) : tls_floor(o, memory.bytes());
#else
        copied = plain_floor(o, memory.bytes());
#endif
        cost.say(copied);
        return memory.is(o.object);
    });
}
