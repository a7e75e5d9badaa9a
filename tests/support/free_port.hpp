// SPDX-License-Identifier: BSL-1.0
//
// For starting real servers: where their program is, a port for them, and whether they are there.

#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cleave_test {

namespace detail {

inline sockaddr_in loopback_at(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

} // namespace detail

// A port of 127.0.0.1 that is free now, and might not be a moment later.
inline std::uint16_t free_port() {
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = detail::loopback_at(0);
    socklen_t size = sizeof address;
    void* const raw = &address;
    bool const ok = fd >= 0 && ::bind(fd, static_cast<sockaddr*>(raw), size) == 0 &&
                    ::getsockname(fd, static_cast<sockaddr*>(raw), &size) == 0;
    int const error = errno;
    ::close(fd);
    if (!ok) {
        throw std::system_error{error, std::generic_category(), "no free port"};
    }
    return ntohs(address.sin_port);
}

// Whether somebody listens on that port of 127.0.0.1.
inline bool is_listening(std::uint16_t port) {
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = detail::loopback_at(port);
    void* const raw = &address;
    bool const ok = ::connect(fd, static_cast<sockaddr*>(raw), sizeof address) == 0;
    ::close(fd);
    return ok;
}

// The program's path, looked for where those of servers are too; empty where it is nowhere.
inline std::string search_program(std::string_view name) {
    char const* const path = std::getenv("PATH");
    std::string rest = std::string{path != nullptr ? path : ""} + ":/usr/sbin:/usr/local/sbin:";
    for (auto end = rest.find(':'); end != std::string::npos; end = rest.find(':')) {
        auto const candidate = rest.substr(0, end) + "/" + std::string{name};
        if (::access(candidate.c_str(), X_OK) == 0) {
            return candidate;
        }
        rest.erase(0, end + 1);
    }
    return {};
}

} // namespace cleave_test
