// SPDX-License-Identifier: BSL-1.0
//
// libcurl's easy interface as a client of bench_download: one connection, the largest buffer that
// it takes, and a callback that writes into a file, or copies into memory.

#include "client.hpp"

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>

namespace {

using cleave_bench::destination;

struct taker {
    destination to = destination::null;
    int fd = -1;
    std::span<std::byte> memory;
    std::uint64_t at = 0;
    std::uint64_t copied = 0;

    static std::size_t take(char const* from, std::size_t, std::size_t n, void* self) {
        auto& t = *static_cast<taker*>(self);
        if (t.to == destination::memory) {
            if (n > t.memory.size() - t.at) return 0;
            std::memcpy(t.memory.data() + t.at, from, n);
            t.copied += n;
        }
        if (t.to == destination::file &&
            ::pwrite(t.fd, from, n, static_cast<off_t>(t.at)) != static_cast<ssize_t>(n))
            return 0;
        t.at += n;
        return n;
    }
};

} // namespace

int main(int argc, char** argv) {
    using namespace cleave_bench;
    return client_main(argc, argv, [](client_options const& o) {
        target_memory const memory{o};
        meter const cost;
        taker t;
        t.to = o.to;
        t.memory = memory.bytes();
        if (o.to == destination::file) {
            t.fd = ::open(o.out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            if (t.fd < 0) fail("open");
            if (::fallocate(t.fd, 0, 0, static_cast<off_t>(o.size)) != 0 && errno != EOPNOTSUPP)
                fail("fallocate");
        }
        curl_global_init(CURL_GLOBAL_DEFAULT);
        std::unique_ptr<CURL, void (*)(CURL*)> const easy{curl_easy_init(), curl_easy_cleanup};
        CURL* const c = easy.get();
        curl_easy_setopt(c, CURLOPT_URL, o.url.c_str());
        curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_BUFFERSIZE, long{CURL_MAX_READ_SIZE});
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, taker::take);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
        if (!o.ca.empty()) curl_easy_setopt(c, CURLOPT_CAINFO, o.ca.c_str());
        CURLcode const code = curl_easy_perform(c);
        cost.say(t.copied);
        if (code != CURLE_OK) std::fprintf(stderr, "libcurl: %s\n", curl_easy_strerror(code));
        return code == CURLE_OK && t.at == o.size && memory.is(o.object);
    });
}
