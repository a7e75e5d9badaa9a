// SPDX-License-Identifier: BSL-1.0
//
// A library to be preloaded into a program under test: its partial files cannot be given room
// beforehand, as on some network file systems, and once $CLEAVE_QUOTA bytes have been written to
// them, the quota is used up.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

namespace {

bool is_partial(int file) {
    char link[64];
    char path[4096];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    auto const n = ::readlink(link, path, sizeof path);
    return n > 0 && std::string_view{path, static_cast<std::size_t>(n)}.ends_with(".part");
}

// What is left of it; partials are written by one thread.
std::size_t& left() {
    static std::size_t bytes = [] {
        char const* const text = std::getenv("CLEAVE_QUOTA");
        return text == nullptr ? static_cast<std::size_t>(-1) : std::strtoull(text, nullptr, 10);
    }();
    return bytes;
}

// Writes as much of `n` bytes as may be, by calling `write` with how many.
template <class Write>
ssize_t within_quota(std::size_t n, Write write) {
    if (left() == 0) {
        errno = EDQUOT;
        return -1;
    }
    auto const written = write(n < left() ? n : left());
    if (written > 0) left() -= static_cast<std::size_t>(written);
    return written;
}

template <class Function>
Function* real(char const* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

} // namespace

extern "C" {

int fallocate(int file, int mode, off_t from, off_t size) {
    if (!is_partial(file)) return real<decltype(fallocate)>("fallocate")(file, mode, from, size);
    errno = EOPNOTSUPP;
    return -1;
}

ssize_t pwrite(int file, void const* from, std::size_t n, off_t at) {
    if (!is_partial(file)) return real<decltype(pwrite)>("pwrite")(file, from, n, at);
    return within_quota(n, [&](std::size_t some) {
        return real<decltype(pwrite)>("pwrite")(file, from, some, at);
    });
}

ssize_t splice(int from, loff_t* at_from, int file, loff_t* at, std::size_t n, unsigned flags) {
    auto* const call = real<decltype(splice)>("splice");
    if (!is_partial(file)) return call(from, at_from, file, at, n, flags);
    return within_quota(
        n, [&](std::size_t some) { return call(from, at_from, file, at, some, flags); });
}

} // extern "C"
