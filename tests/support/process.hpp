// SPDX-License-Identifier: BSL-1.0
//
// Child programs for tests: run() gives one its input and collects what it says; child is one to be
// signalled while it runs. No child outlives its owner, and none inherits a descriptor but 0, 1, 2.

#pragma once

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cleave_test {

struct process_options {
    std::string input = {};                                       // given on standard input
    std::vector<std::pair<std::string, std::string>> env = {};    // besides what is inherited
    std::chrono::milliseconds timeout = std::chrono::seconds{60}; // then it is killed
    std::string directory = {};                                   // to run in, if not the current
};

struct process_result {
    int exit_code = -1; // -1 if a signal ended it
    int signal = 0;     // 0 if it exited
    bool timed_out = false;
    std::string out;
    std::string err;
};

// Of what a program said.
inline bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

// A running program. It is found by PATH when its name has no slash, and dies with the thread that
// started it. Its input is sent and its output read by wait() and wait_for_output(), so one that
// says more than a pipe holds (64 KiB) stands still until then.
class child {
  public:
    explicit child(std::vector<std::string> args, process_options options = {})
        : options_{std::move(options)} {
        start(args);
    }

    ~child() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            reap();
        }
        for (auto& fd : pipes_) {
            close_one(fd);
        }
    }

    child(child const&) = delete;
    child& operator=(child const&) = delete;

    pid_t pid() const { return pid_; }
    std::string const& out() const { return result_.out; }
    std::string const& err() const { return result_.err; }

    // Whether it has not ended yet; does not wait.
    bool running() { return pid_ > 0 && !reap(WNOHANG); }

    void kill(int signal) {
        if (pid_ > 0) {
            ::kill(pid_, signal);
        }
    }

    // Sends the input, reads all output, and waits for the end; kills at the timeout. The time
    // counts from this call.
    process_result wait() {
        auto const deadline = clock::now() + options_.timeout;
        bool more = true;
        while (more && !result_.timed_out) {
            more = transfer(deadline);
            if (clock::now() >= deadline) {
                stop_late();
            }
        }
        // It may close its output and live on.
        while (pid_ > 0 && !reap(WNOHANG)) {
            if (clock::now() >= deadline) {
                stop_late();
            }
            ::poll(nullptr, 0, 1);
        }
        return result_;
    }

    // Reads until the text is in the output, or the error output if `in_err`. False when the
    // output ends or the timeout passes before.
    bool wait_for_output(std::string_view text, bool in_err = false) {
        auto const deadline = clock::now() + options_.timeout;
        auto const& where = in_err ? result_.err : result_.out;
        while (where.find(text) == std::string::npos) {
            if (clock::now() >= deadline || !transfer(deadline)) {
                return where.find(text) != std::string::npos;
            }
        }
        return true;
    }

  private:
    using clock = std::chrono::steady_clock;

    static void close_one(int& fd) {
        if (fd >= 0) {
            ::close(std::exchange(fd, -1));
        }
    }

    void start(std::vector<std::string> const& args) {
        // All that allocates is done before the fork, for the sake of programs with threads.
        std::vector<std::string> env_texts;
        for (char** e = environ; *e != nullptr; ++e) {
            std::string_view const text{*e};
            bool replaced = false;
            for (auto const& [name, value] : options_.env) {
                replaced = replaced || text.substr(0, text.find('=')) == name;
            }
            if (!replaced) {
                env_texts.emplace_back(text);
            }
        }
        for (auto const& [name, value] : options_.env) {
            env_texts.push_back(name + "=" + value);
        }
        std::vector<char*> env;
        for (auto& e : env_texts) {
            env.push_back(e.data());
        }
        env.push_back(nullptr);
        auto arg_texts = args;
        std::vector<char*> argv;
        for (auto& a : arg_texts) {
            argv.push_back(a.data());
        }
        argv.push_back(nullptr);

        int in[2] = {-1, -1};
        int out[2] = {-1, -1};
        int err[2] = {-1, -1};
        int exec[2] = {-1, -1}; // says why exec failed; closed by one that did not
        for (auto* ends : {in, out, err, exec}) {
            if (::pipe2(ends, O_CLOEXEC) != 0) {
                throw std::system_error{errno, std::generic_category(), "pipe"};
            }
        }
        pid_t const parent = ::getpid();
        pid_ = ::fork();
        if (pid_ < 0) {
            throw std::system_error{errno, std::generic_category(), "fork"};
        }
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            bool ok = ::getppid() == parent;
            ok = ok && ::dup2(in[0], 0) == 0 && ::dup2(out[1], 1) == 1 && ::dup2(err[1], 2) == 2;
            ok = ok && (options_.directory.empty() || ::chdir(options_.directory.c_str()) == 0);
            // Descriptors of others too, who may not have set it: CLOSE_RANGE_CLOEXEC is 4.
            ::syscall(SYS_close_range, 3U, ~0U, 4U);
            sigset_t none;
            sigemptyset(&none);
            ::sigprocmask(SIG_SETMASK, &none, nullptr);
            ::signal(SIGPIPE, SIG_DFL);
            if (ok) {
                ::execvpe(argv[0], argv.data(), env.data());
            }
            int const why = errno;
            [[maybe_unused]] auto const n = ::write(exec[1], &why, sizeof why);
            ::_exit(127);
        }
        for (int fd : {in[0], out[1], err[1], exec[1]}) {
            ::close(fd);
        }
        pipes_ = {in[1], out[0], err[0]};
        for (int fd : pipes_) {
            ::fcntl(fd, F_SETFL, O_NONBLOCK);
        }
        int why = 0;
        auto const n = ::read(exec[0], &why, sizeof why);
        ::close(exec[0]);
        if (n > 0) {
            reap();
            for (auto& fd : pipes_) {
                close_one(fd);
            }
            throw std::system_error{why, std::generic_category(), "cannot run " + args.at(0)};
        }
    }

    // Waits for any pipe to be ready and serves it. False when all output has ended.
    bool transfer(clock::time_point deadline) {
        if (input_done_ == options_.input.size()) {
            close_one(pipes_[0]);
        }
        if (pipes_[1] < 0 && pipes_[2] < 0) {
            close_one(pipes_[0]);
            return false;
        }
        std::array<pollfd, 3> p{
            {{pipes_[0], POLLOUT, 0}, {pipes_[1], POLLIN, 0}, {pipes_[2], POLLIN, 0}}};
        auto const left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now());
        auto const time = static_cast<int>(left.count()) + 1;
        if (time <= 0 || ::poll(p.data(), p.size(), time) <= 0) {
            return true;
        }
        if (p[0].revents != 0) {
            feed();
        }
        if (p[1].revents != 0) {
            drain(pipes_[1], result_.out);
        }
        if (p[2].revents != 0) {
            drain(pipes_[2], result_.err);
        }
        return true;
    }

    void feed() {
        // A reader that is gone must not kill the test with SIGPIPE.
        sigset_t pipe_only;
        sigset_t before;
        sigemptyset(&pipe_only);
        sigaddset(&pipe_only, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
        auto const n = ::write(pipes_[0], options_.input.data() + input_done_,
                               options_.input.size() - input_done_);
        if (n > 0) {
            input_done_ += static_cast<std::size_t>(n);
        } else if (errno != EAGAIN && errno != EINTR) {
            close_one(pipes_[0]);
            timespec const now{};
            ::sigtimedwait(&pipe_only, nullptr, &now);
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    static void drain(int& fd, std::string& to) {
        char buffer[65536];
        auto const n = ::read(fd, buffer, sizeof buffer);
        if (n > 0) {
            to.append(buffer, static_cast<std::size_t>(n));
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            close_one(fd);
        }
    }

    void stop_late() {
        result_.timed_out = true;
        kill(SIGKILL);
    }

    bool reap(int flags = 0) {
        int status = 0;
        pid_t got = 0;
        do {
            got = ::waitpid(pid_, &status, flags);
        } while (got < 0 && errno == EINTR);
        if (got == 0) {
            return false;
        }
        pid_ = -1;
        if (got > 0 && WIFEXITED(status)) {
            result_.exit_code = WEXITSTATUS(status);
        } else if (got > 0 && WIFSIGNALED(status)) {
            result_.signal = WTERMSIG(status);
        }
        return true;
    }

    process_options options_;
    pid_t pid_ = -1;
    std::array<int, 3> pipes_{-1, -1, -1}; // our ends of its 0, 1, 2
    std::size_t input_done_ = 0;
    process_result result_;
};

inline process_result run(std::vector<std::string> args, process_options options = {}) {
    return child{std::move(args), std::move(options)}.wait();
}

} // namespace cleave_test
