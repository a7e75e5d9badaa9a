// SPDX-License-Identifier: BSL-1.0
//
// A real server that nobody here wrote, on a free port of the loopback: it can be taken away, and
// come back on the port that it had.

#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>

#include "free_port.hpp"
#include "process.hpp"

namespace cleave_test {

class listening_program {
  public:
    // `args_for(port)`: what the program is told, so that it listens there.
    template <class Args>
    listening_program(std::string const& name, Args args_for) {
        auto const program = search_program(name);
        if (program.empty())
            throw std::runtime_error{name + " is not installed (apt-get install " + name + ")"};
        // The port is free when asked for, and might not be a moment later.
        for (int attempt = 0; attempt < 5; ++attempt) {
            port_ = free_port();
            command_ = {program};
            for (auto& a : args_for(port_)) command_.push_back(std::move(a));
            if (start()) return;
        }
        throw std::runtime_error{name + " does not start"};
    }

    // For after a stop: it is started when it is made. Whether it runs, which it may take ten
    // seconds to do.
    bool start() {
        process_.emplace(command_);
        for (int i = 0; i < 2000 && process_->running(); ++i) {
            // Somebody else may be listening there.
            if (is_listening(port_) && process_->running()) return true;
            ::poll(nullptr, 0, 5);
        }
        stop();
        return false;
    }
    void stop() { process_.reset(); }

    std::uint16_t port() const { return port_; }

  private:
    std::uint16_t port_ = 0;
    std::vector<std::string> command_;
    std::optional<child> process_;
};

} // namespace cleave_test
