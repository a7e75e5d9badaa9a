// SPDX-License-Identifier: BSL-1.0
//
// A library to be preloaded into a program under test: the function named in $CLEAVE_STUCK says so
// on standard error and never returns, as a name lookup or a disk may not for minutes.

#include <cstdlib>
#include <string_view>

#include <dlfcn.h>
#include <netdb.h>
#include <unistd.h>

namespace {

template <class Function, class... Args>
int call_or_stick(char const* name, Args... args) {
    char const* const stuck = std::getenv("CLEAVE_STUCK");
    if (stuck == nullptr || std::string_view{stuck} != name)
        return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name))(args...);
    [[maybe_unused]] auto const n = ::write(STDERR_FILENO, "stuck\n", 6);
    for (;;) ::pause();
}

} // namespace

extern "C" {

int getaddrinfo(char const* host, char const* service, addrinfo const* hints, addrinfo** found) {
    return call_or_stick<decltype(getaddrinfo)>("getaddrinfo", host, service, hints, found);
}

int fsync(int file) { return call_or_stick<decltype(fsync)>("fsync", file); }

} // extern "C"
