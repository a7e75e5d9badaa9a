// SPDX-License-Identifier: BSL-1.0
//
// What the clients of bench_download have in common: a command line, memory to download into, and
// a few lines on standard output that say what it cost. Each client is a program of its own, so
// that its memory and its processor time are nobody else's.
#pragma once

#include "cost.hpp"
#include "options.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace cleave_bench {

[[noreturn]] inline void fail(char const* what) {
    throw std::system_error{errno, std::generic_category(), what};
}

enum class destination : std::uint8_t { file, memory, null };

struct client_options {
    std::string url;
    std::string way;
    std::string ca;
    std::string out;
    std::string object;
    std::string sha256;
    destination to = destination::file;
    std::uint64_t size = 0;
    std::uint64_t lanes = 1;
    std::uint64_t threads = 1;
    std::uint64_t buffer = 256 * 1024;
    std::uint64_t lowat = 0;
    bool journal = false;
};

/// The caller's memory: there, and touched, before anything is measured.
class target_memory {
  public:
    explicit target_memory(client_options const& o)
        : size_(o.to == destination::memory ? static_cast<std::size_t>(o.size) : 0) {
        if (size_ == 0) return;
        void* const at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (at == MAP_FAILED) fail("mmap");
        at_ = static_cast<std::byte*>(at);
    }
    ~target_memory() {
        if (at_ != nullptr) ::munmap(at_, size_);
    }
    target_memory(target_memory const&) = delete;
    target_memory& operator=(target_memory const&) = delete;

    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {at_, size_}; }

    /// Whether it holds what is in the file. Without either there is nothing to find wrong.
    [[nodiscard]] bool is(std::string const& file) const {
        if (size_ == 0 || file.empty()) return true;
        int const fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) fail(file.c_str());
        constexpr std::size_t piece = 256 * 1024;
        auto const buffer = std::make_unique_for_overwrite<std::byte[]>(piece);
        std::size_t done = 0;
        while (done != size_) {
            ssize_t const n = ::read(fd, buffer.get(), std::min(piece, size_ - done));
            if (n <= 0 || std::memcmp(buffer.get(), at_ + done, static_cast<std::size_t>(n)) != 0)
                break;
            done += static_cast<std::size_t>(n);
        }
        ::close(fd);
        return done == size_;
    }

  private:
    std::size_t size_;
    std::byte* at_ = nullptr;
};

/// What a stretch of this process costs.
class meter {
  public:
    meter() { ::getrusage(RUSAGE_SELF, &begin_); }

    /// Prints what it cost since the meter was made, and `copied`, the bytes of the body that were
    /// copied in user space.
    void say(std::uint64_t copied) const {
        auto const wall = std::chrono::steady_clock::now() - start_;
        rusage now{};
        ::getrusage(RUSAGE_SELF, &now);
        std::printf("cpu %.6f\nwall %.6f\nwaits %ld\ncopied %llu\npeak %llu\n",
                    cpu_of(now) - cpu_of(begin_), std::chrono::duration<double>{wall}.count(),
                    now.ru_nvcsw - begin_.ru_nvcsw, static_cast<unsigned long long>(copied),
                    static_cast<unsigned long long>(peak_kib()));
    }

  private:
    rusage begin_{};
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// The `main` of a client: `run` downloads, says what it cost, and answers whether all was right.
template <class F>
int client_main(int argc, char** argv, F&& run) {
    client_options o;
    auto const take_destination = [&](std::string_view to) {
        o.to = to == "file"     ? destination::file
               : to == "memory" ? destination::memory
                                : destination::null;
        return true;
    };
    return bench_main(argc, argv,
                      {{"--url URL", "of the object", word(o.url)},
                       {"--way WAY", "what kind of floor", word(o.way)},
                       {"--ca FILE", "whom to trust", word(o.ca)},
                       {"--to WHERE", "file, memory or null", take_destination},
                       {"--out FILE", "with --to file", word(o.out)},
                       {"--object FILE", "to compare memory with afterwards", word(o.object)},
                       {"--sha256 HEX", "to verify", word(o.sha256)},
                       {"--size N", "of the object, in bytes", number(o.size)},
                       {"--lanes N", "connections", number(o.lanes)},
                       {"--threads N", "that run the io_context", number(o.threads)},
                       {"--buffer N", "of a floor, in bytes", number(o.buffer)},
                       {"--lowat N", "of a floor: SO_RCVLOWAT", number(o.lowat, 0)},
                       {"--journal", "keep one", flag(o.journal)}},
                      [&] { return run(o) ? 0 : 1; });
}

} // namespace cleave_bench
