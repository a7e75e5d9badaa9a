// SPDX-License-Identifier: BSL-1.0
//
// A part of a test that runs in a process of its own: where it would die of a signal, give up its
// rights, or have a disk that nobody else sees.

#pragma once

#include <support/temp_dir.hpp>

#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <system_error>

#include <sched.h>
#include <sys/mount.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cleave_test {

/// What `f` answers in a process of its own, 0 to 100; 101 and above where that came to grief, 128
/// and the signal's number where a signal ended it. Signals do there what they do by themselves.
inline int in_child(std::function<int()> const& f) {
    pid_t const child = ::fork();
    if (child < 0) throw std::system_error{errno, std::generic_category(), "fork"};
    if (child == 0) {
        int answer = 102;
        for (int const fault : {SIGSEGV, SIGBUS}) ::signal(fault, SIG_DFL);
        try {
            answer = f();
        } catch (...) {
        }
        ::_exit(answer);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

/// A mount namespace of one's own, which root has for the asking and others together with a user
/// namespace, where the system allows that.
inline bool own_mounts() {
    if (::unshare(CLONE_NEWNS) == 0) return true;
    std::string const user = "0 " + std::to_string(::getuid()) + " 1";
    std::string const group = "0 " + std::to_string(::getgid()) + " 1";
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    try {
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", user);
        write_file("/proc/self/gid_map", group);
        return true;
    } catch (std::exception const&) {
        return false;
    }
}

/// A disk of 256 KiB at a directory that exists, for this process: it goes away with it. Whether it
/// could be had.
inline bool own_small_disk(std::filesystem::path const& at) {
    if (!own_mounts()) return false;
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    return ::mount("tmpfs", at.c_str(), "tmpfs", 0, "size=256k") == 0;
}

} // namespace cleave_test
