// SPDX-License-Identifier: BSL-1.0
//
// A library to be preloaded into a program under test: its clock begins at the first second of
// 1970, as on a device without a battery. Clocks that only measure are left alone.

#include <ctime>

#include <dlfcn.h>
#include <sys/time.h>

namespace {

template <class Function>
Function* real(char const* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

int real_clock(clockid_t clock, timespec* to) {
    static auto* const call = real<int(clockid_t, timespec*)>("clock_gettime");
    return call(clock, to);
}

} // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* to) noexcept {
    if (clock != CLOCK_REALTIME) return real_clock(clock, to);
    static std::time_t const began = [] {
        timespec now{};
        real_clock(CLOCK_REALTIME, &now);
        return now.tv_sec;
    }();
    int const result = real_clock(clock, to);
    to->tv_sec -= began;
    return result;
}

time_t time(time_t* to) noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    if (to != nullptr) *to = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(timeval* to, void*) noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}

} // extern "C"
