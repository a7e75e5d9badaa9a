// SPDX-License-Identifier: BSL-1.0
//
// What the clients of bench_download have in common: a command line, memory to download into, and
// a few lines on standard output that say what it cost. Each client is a program of its own, so
// that its memory and its processor time are nobody else's.
#pragma once

#include "cost.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
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
    std::string way;    // what kind of floor
    std::string ca;     // whom to trust, a file
    std::string out;    // of a file
    std::string object; // of memory: the file to compare with afterwards
    std::string sha256; // to verify
    destination to = destination::file;
    std::uint64_t size = 0;
    std::uint64_t lanes = 1;
    std::uint64_t threads = 1;
    std::uint64_t buffer = 256 * 1024;
    std::uint64_t lowat = 0;
    bool journal = false;
};

inline client_options parse_client(int argc, char** argv) {
    client_options o;
    for (int i = 1; i + 1 < argc; i += 2) {
        std::string_view const name = argv[i];
        std::string_view const value = argv[i + 1];
        auto const number = [&] {
            std::uint64_t n = 0;
            auto const [end, ec] = std::from_chars(value.data(), value.data() + value.size(), n);
            if (ec != std::errc{} || end != value.data() + value.size())
                throw std::invalid_argument{"not a number: " + std::string{value}};
            return n;
        };
        if (name == "--url")
            o.url = value;
        else if (name == "--way")
            o.way = value;
        else if (name == "--ca")
            o.ca = value;
        else if (name == "--out")
            o.out = value;
        else if (name == "--object")
            o.object = value;
        else if (name == "--sha256")
            o.sha256 = value;
        else if (name == "--size")
            o.size = number();
        else if (name == "--lanes")
            o.lanes = number();
        else if (name == "--threads")
            o.threads = number();
        else if (name == "--buffer")
            o.buffer = number();
        else if (name == "--lowat")
            o.lowat = number();
        else if (name == "--journal")
            o.journal = number() != 0;
        else if (name == "--to")
            o.to = value == "file"     ? destination::file
                   : value == "memory" ? destination::memory
                                       : destination::null;
        else
            throw std::invalid_argument{"unknown option " + std::string{name}};
    }
    return o;
}

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
    try {
        return run(parse_client(argc, argv)) ? 0 : 1;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
        return 1;
    }
}

} // namespace cleave_bench
