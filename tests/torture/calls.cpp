// SPDX-License-Identifier: BSL-1.0
//
// The functions that stand before those of the system and of OpenSSL, and `operator new`.

#include <torture/calls.hpp>
#include <torture/symbols.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include <execinfo.h>
#include <sys/ioctl.h>

namespace cleave_test::torture {

namespace {

#define CLEAVE_TORTURE_CALL(what, result, name, parameters, arguments, failed, ...)                \
    constexpr int errors_of_##name[] = {__VA_ARGS__};
#define CLEAVE_TORTURE_OWN(what, name, ...) constexpr int errors_of_##name[] = {__VA_ARGS__};
CLEAVE_TORTURE_CALLS(CLEAVE_TORTURE_CALL, CLEAVE_TORTURE_OWN)
#undef CLEAVE_TORTURE_CALL
#undef CLEAVE_TORTURE_OWN

constexpr call_info infos[] = {
#define CLEAVE_TORTURE_CALL(what, result, name, ...) {kind::what, #name, errors_of_##name},
#define CLEAVE_TORTURE_OWN(what, name, ...) {kind::what, #name, errors_of_##name},
    CLEAVE_TORTURE_CALLS(CLEAVE_TORTURE_CALL, CLEAVE_TORTURE_OWN)
#undef CLEAVE_TORTURE_CALL
#undef CLEAVE_TORTURE_OWN
};

fault planned;
std::atomic<bool> on = false;
std::array<std::atomic<std::uint64_t>, call_count> counts;
std::atomic<std::uint64_t> failed_calls = 0;
std::array<void*, 64> trace;
std::atomic<int> trace_size = 0;

// What Asio (1.22 at least) asks for where nobody can be told that there is no memory, whoever uses
// its strands and its resolver. Each row is of functions, by parts of their mangled names, that are
// all on the stack.
constexpr std::string_view beyond_us[][2] = {
    // A strand's next turn is arranged in a destructor.
    {"strand_executor_service", "on_invoker_exitD"},
    // Of a strand that is half made, what is not made is destroyed too.
    {"strand_executor_service", "strand_executor_service21create_implementation"},
    // A lookup that nobody waits for any more still has its results put into a list.
    {"basic_resolver_results", "scheduler8shutdownEv"},
};

bool is_beyond_us(std::span<void* const> stack) noexcept {
    auto const& symbols = program_symbols::get();
    bool found[std::size(beyond_us)][2] = {};
    for (void* const address : stack) {
        auto const name = symbols.name_of(address);
        for (std::size_t i = 0; i != std::size(beyond_us); ++i)
            for (int j : {0, 1})
                if (name.find(beyond_us[i][j]) != std::string_view::npos) found[i][j] = true;
    }
    return std::any_of(std::begin(found), std::end(found),
                       [](auto const& row) { return row[0] && row[1]; });
}

} // namespace

call_info const& info(call c) noexcept { return infos[static_cast<std::size_t>(c)]; }

std::size_t errors_of(call c, bool for_ever) noexcept {
    auto const all = info(c).errors;
    return all.size() - (for_ever && all.back() == EINTR ? 1 : 0);
}

std::string to_string(fault const& f) {
    if (f.call == call::count) return "nothing fails";
    auto const& [what, name, errors] = info(f.call);
    int const e = errors[f.error];
    std::string text = name;
    text += " " + std::to_string(f.nth) + (f.for_ever ? " and all behind it fail" : " fails");
    if (what == kind::memory) return text;
    text += ": ";
    if (e == half) return text + "half of the bytes";
    if (f.call == call::getaddrinfo_) return text + ::gai_strerror(e);
    if (what == kind::openssl) {
        char const* const reason =
            ::ERR_reason_error_string(ERR_PACK(ERR_LIB_NONE, 0, static_cast<unsigned>(e)));
        return text + (reason != nullptr ? reason : std::to_string(e));
    }
    return text + std::strerror(e);
}

counting::counting(fault const& f) {
    (void)program_symbols::get();
    planned = f;
    for (auto& n : counts) n = 0;
    failed_calls = 0;
    trace_size = 0;
    on = true;
}
counting::~counting() { on = false; }

std::uint64_t calls_of(call c) noexcept { return counts[static_cast<std::size_t>(c)]; }
std::uint64_t failures() noexcept { return failed_calls; }
std::span<void* const> first_failure() noexcept {
    return {trace.data(), static_cast<std::size_t>(trace_size.load())};
}

int next(call c) noexcept {
    if (!on || aside::depth != 0) return goes_well;
    std::uint64_t const n = ++counts[static_cast<std::size_t>(c)];
    if (c != planned.call || n < planned.nth || (n > planned.nth && !planned.for_ever))
        return goes_well;
    int const before = errno;
    if (failed_calls == 0 || info(c).what == kind::memory) {
        std::array<void*, 64> stack;
        int const size = ::backtrace(stack.data(), static_cast<int>(stack.size()));
        bool const beyond = info(c).what == kind::memory &&
                            is_beyond_us({stack.data(), static_cast<std::size_t>(size)});
        errno = before;
        if (beyond) return goes_well;
        if (failed_calls == 0) {
            trace = stack;
            trace_size = size;
        }
    }
    ++failed_calls;
    return info(c).errors[planned.error];
}

namespace {

// Makes the call fail: by errno, or by OpenSSL's queue.
void say_why(call c, int error) noexcept {
    auto const& [what, name, errors] = info(c);
    if (what != kind::openssl) {
        errno = error;
        return;
    }
    std::string_view const begins = name;
    int const library = error == ERR_R_SYS_LIB      ? ERR_LIB_SYS
                        : begins.starts_with("SSL") ? ERR_LIB_SSL
                        : begins.starts_with("EVP") ? ERR_LIB_EVP
                        : begins.starts_with("BIO") ? ERR_LIB_BIO
                        : begins.starts_with("PEM") ? ERR_LIB_PEM
                                                    : ERR_LIB_X509;
    ERR_raise(library, library == ERR_LIB_SYS ? EIO : error);
}

/// At least one, so that it does not look like the end.
std::size_t half_of(std::size_t n) noexcept { return n < 2 ? n : n / 2; }

} // namespace

} // namespace cleave_test::torture

using namespace cleave_test::torture;

extern "C" {

#define CLEAVE_TORTURE_CALL(what, result, name, parameters, arguments, failed, ...)                \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters {                                                              \
        int const error = next(call::name##_);                                                     \
        if (error == goes_well) return __real_##name arguments;                                    \
        say_why(call::name##_, error);                                                             \
        return failed;                                                                             \
    }
#define CLEAVE_TORTURE_OWN(what, name, ...)
CLEAVE_TORTURE_CALLS(CLEAVE_TORTURE_CALL, CLEAVE_TORTURE_OWN)
#undef CLEAVE_TORTURE_CALL
#undef CLEAVE_TORTURE_OWN

// ---- those that move bytes: also half of them

ssize_t __real_recv(int, void*, size_t, int);
ssize_t __wrap_recv(int, void*, size_t, int);
ssize_t __wrap_recv(int s, void* to, size_t n, int flags) {
    int const error = next(call::recv_);
    if (error == goes_well) return __real_recv(s, to, n, flags);
    if (error == half) return __real_recv(s, to, half_of(n), flags);
    say_why(call::recv_, error);
    return -1;
}

ssize_t __real_send(int, void const*, size_t, int);
ssize_t __wrap_send(int, void const*, size_t, int);
ssize_t __wrap_send(int s, void const* from, size_t n, int flags) {
    int const error = next(call::send_);
    if (error == goes_well) return __real_send(s, from, n, flags);
    if (error == half) return __real_send(s, from, half_of(n), flags);
    say_why(call::send_, error);
    return -1;
}

ssize_t __real_pwrite(int, void const*, size_t, off_t);
ssize_t __wrap_pwrite(int, void const*, size_t, off_t);
ssize_t __wrap_pwrite(int f, void const* from, size_t n, off_t at) {
    int const error = next(call::pwrite_);
    if (error == goes_well) return __real_pwrite(f, from, n, at);
    if (error == half) return __real_pwrite(f, from, half_of(n), at);
    say_why(call::pwrite_, error);
    return -1;
}

ssize_t __real_splice(int, loff_t*, int, loff_t*, size_t, unsigned);
ssize_t __wrap_splice(int, loff_t*, int, loff_t*, size_t, unsigned);
ssize_t __wrap_splice(int in, loff_t* from, int out, loff_t* to, size_t n, unsigned flags) {
    // From a socket it is another way to receive.
    if (to == nullptr) {
        int const error = next(call::recv_);
        if (error == goes_well) return __real_splice(in, from, out, to, n, flags);
        if (error == half) return __real_splice(in, from, out, to, half_of(n), flags);
        say_why(call::recv_, error);
        return -1;
    }
    int const error = next(call::splice_);
    if (error == goes_well) return __real_splice(in, from, out, to, n, flags);
    if (error == half) return __real_splice(in, from, out, to, half_of(n), flags);
    say_why(call::splice_, error);
    return -1;
}

ssize_t __real_pread(int, void*, size_t, off_t);
ssize_t __wrap_pread(int, void*, size_t, off_t);
ssize_t __wrap_pread(int f, void* to, size_t n, off_t at) {
    int const error = next(call::pread_);
    if (error == goes_well) return __real_pread(f, to, n, at);
    if (error == half) return __real_pread(f, to, half_of(n), at);
    say_why(call::pread_, error);
    return -1;
}

// ---- those with one more argument, perhaps

int __real_open(char const*, int, ...);
int __wrap_open(char const*, int, ...);
int __wrap_open(char const* path, int flags, ...) {
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    int const error = next(call::open_);
    if (error == goes_well) return __real_open(path, flags, mode);
    say_why(call::open_, error);
    return -1;
}

int __real_fcntl(int, int, ...);
int __wrap_fcntl(int, int, ...);
int __wrap_fcntl(int f, int command, ...) {
    va_list more;
    va_start(more, command);
    void* const argument = va_arg(more, void*);
    va_end(more);
    int const error = next(call::fcntl_);
    if (error == goes_well) return __real_fcntl(f, command, argument);
    say_why(call::fcntl_, error);
    return -1;
}

int __real_ioctl(int, unsigned long, ...);
int __wrap_ioctl(int, unsigned long, ...);
int __wrap_ioctl(int f, unsigned long command, ...) {
    va_list more;
    va_start(more, command);
    void* const argument = va_arg(more, void*);
    va_end(more);
    int const error = next(call::ioctl_);
    if (error == goes_well) return __real_ioctl(f, command, argument);
    say_why(call::ioctl_, error);
    return -1;
}

// ---- those that are different

// Linux lets the descriptor go whatever it answers.
int __real_close(int);
int __wrap_close(int);
int __wrap_close(int f) {
    int const error = next(call::close_);
    int const closed = __real_close(f);
    if (error == goes_well) return closed;
    say_why(call::close_, error);
    return -1;
}

// Nobody pulls the plug here: what the disk has is tested elsewhere, and waiting for it is slow.
int __wrap_fsync(int);
int __wrap_fsync(int) {
    int const error = next(call::fsync_);
    if (error == goes_well) return 0;
    say_why(call::fsync_, error);
    return -1;
}

// Only adding needs memory; and only of sockets, since Asio does not look whether its own
// descriptors could be added.
int __real_epoll_ctl(int, int, int, epoll_event*);
int __wrap_epoll_ctl(int, int, int, epoll_event*);
int __wrap_epoll_ctl(int p, int operation, int f, epoll_event* e) {
    struct stat is {};
    bool const may_fail =
        operation == EPOLL_CTL_ADD && __real_fstat(f, &is) == 0 && S_ISSOCK(is.st_mode);
    int const error = may_fail ? next(call::epoll_ctl_) : goes_well;
    if (error == goes_well) return __real_epoll_ctl(p, operation, f, e);
    say_why(call::epoll_ctl_, error);
    return -1;
}

int __real_pthread_create(pthread_t*, pthread_attr_t const*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t*, pthread_attr_t const*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t* t, pthread_attr_t const* a, void* (*f)(void*), void* p) {
    int const error = next(call::pthread_create_);
    return error == goes_well ? __real_pthread_create(t, a, f, p) : error;
}

int __real_getaddrinfo(char const*, char const*, addrinfo const*, addrinfo**);
int __wrap_getaddrinfo(char const*, char const*, addrinfo const*, addrinfo**);
int __wrap_getaddrinfo(char const* host, char const* service, addrinfo const* hints,
                       addrinfo** found) {
    int const error = next(call::getaddrinfo_);
    return error == goes_well ? __real_getaddrinfo(host, service, hints, found) : error;
}

void* __real_aligned_alloc(size_t, size_t);
void* __wrap_aligned_alloc(size_t, size_t);
void* __wrap_aligned_alloc(size_t align, size_t n) {
    if (next(call::aligned_alloc_) != goes_well) return nullptr;
    void* const p = __real_aligned_alloc(align, n);
    if (p != nullptr) ++live_blocks;
    return p;
}

void __real_free(void*);
void __wrap_free(void*);
void __wrap_free(void* p) {
    if (p != nullptr) --live_blocks;
    __real_free(p);
}

} // extern "C"

// ---- operator new

namespace {

[[gnu::noinline]] void* allocate(std::size_t n) noexcept {
    if (next(call::operator_new_) != goes_well) return nullptr;
    void* const p = std::malloc(n == 0 ? 1 : n);
    if (p != nullptr) ++live_blocks;
    return p;
}
[[gnu::noinline]] void* allocate(std::size_t n, std::align_val_t align) noexcept {
    if (next(call::operator_new_) != goes_well) return nullptr;
    auto const a = static_cast<std::size_t>(align);
    void* const p = __real_aligned_alloc(a, (n + a) / a * a);
    if (p != nullptr) ++live_blocks;
    return p;
}
[[nodiscard]] void* or_throw(void* p) {
    if (p == nullptr) throw std::bad_alloc{};
    return p;
}
[[gnu::noinline]] void release(void* p) noexcept { std::free(p); }

} // namespace

void* operator new(std::size_t n) { return or_throw(allocate(n)); }
void* operator new[](std::size_t n) { return or_throw(allocate(n)); }
void* operator new(std::size_t n, std::align_val_t a) { return or_throw(allocate(n, a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return or_throw(allocate(n, a)); }
void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return allocate(n); }
void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return allocate(n); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::nothrow_t const&) noexcept { release(p); }
void operator delete[](void* p, std::nothrow_t const&) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }
