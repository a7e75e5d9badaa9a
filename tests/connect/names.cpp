// SPDX-License-Identifier: BSL-1.0
//
// What the resolver says in these tests of names below ".test": they are this machine, for tests
// need hosts of many names, and some of two addresses. All others it is asked for in earnest.
#include <dlfcn.h>
#include <netdb.h>

#include <string_view>

extern "C" int getaddrinfo(char const* node, char const* service, addrinfo const* hints,
                           addrinfo** result) {
    using function = int (*)(char const*, char const*, addrinfo const*, addrinfo**);
    static auto const real = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    std::string_view name = node != nullptr ? node : "";
    if (name.ends_with('.')) name.remove_suffix(1);
    if (!name.ends_with(".test")) return real(node, service, hints, result);

    bool const six_first = name == "six-four.test";
    bool const both = six_first || name == "four-six.test";
    if (!both) return real("127.0.0.1", service, hints, result);
    addrinfo* second = nullptr;
    int const why = real(six_first ? "127.0.0.1" : "::1", service, hints, &second);
    if (real(six_first ? "::1" : "127.0.0.1", service, hints, result) != 0) {
        *result = second;
        return why;
    }
    // glibc frees lists one by one.
    (*result)->ai_next = second;
    return 0;
}
