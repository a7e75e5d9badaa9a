// SPDX-License-Identifier: BSL-1.0
//
// Real servers on free loopback ports that nobody here wrote: tinyproxy, which is an HTTP proxy for
// both http and https URLs; microsocks, which speaks SOCKS5; and Python's http.server, which speaks
// HTTP/1.0.

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "free_port.hpp"
#include "listening_program.hpp"
#include "temp_dir.hpp"

namespace cleave_test {

struct proxy_login {
    std::string user = {}; // none is asked for without
    std::string password = {};
};

namespace detail {

inline std::string with_login(std::string const& scheme, proxy_login const& login,
                              std::uint16_t port) {
    std::string const who = login.user.empty() ? "" : login.user + ":" + login.password + "@";
    return scheme + "://" + who + "127.0.0.1:" + std::to_string(port);
}

} // namespace detail

class tinyproxy {
  public:
    explicit tinyproxy(proxy_login login = {})
        : login_(std::move(login)), program_("tinyproxy", [this](std::uint16_t port) {
              std::string config = "Port " + std::to_string(port) +
                                   "\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nLogFile \"" +
                                   (dir_ / "log").string() + "\"\nLogLevel Connect\n";
              if (!login_.user.empty())
                  config += "BasicAuth " + login_.user + " " + login_.password + "\n";
              write_file(dir_ / "log", "");
              write_file(dir_ / "config", config);
              return std::vector<std::string>{"-d", "-c", (dir_ / "config").string()};
          }) {}

    /// As a setting names it, with the login.
    std::string url() const { return detail::with_login("http", login_, program_.port()); }
    std::uint16_t port() const { return program_.port(); }
    /// Has a line "Request (...): GET ..." or "CONNECT ..." for each request.
    std::string log() const { return read_file(dir_ / "log"); }

    static bool installed() { return !search_program("tinyproxy").empty(); }

  private:
    temp_dir dir_;
    proxy_login login_;
    listening_program program_; // goes before the directory
};

class microsocks {
  public:
    explicit microsocks(proxy_login login = {})
        : login_(std::move(login)), program_("microsocks", [this](std::uint16_t port) {
              std::vector<std::string> args{"-i", "127.0.0.1", "-p", std::to_string(port)};
              if (!login_.user.empty())
                  args.insert(args.end(), {"-u", login_.user, "-P", login_.password});
              return args;
          }) {}

    /// As a setting names it, with the login. The proxy resolves names with "socks5h".
    std::string url(std::string const& scheme = "socks5h") const {
        return detail::with_login(scheme, login_, program_.port());
    }
    std::uint16_t port() const { return program_.port(); }

    static bool installed() { return !search_program("microsocks").empty(); }

  private:
    proxy_login login_;
    listening_program program_;
};

/// Python's: HTTP/1.0, no ranges, one connection for each request.
class http10_server {
  public:
    http10_server()
        : program_("python3", [this](std::uint16_t port) {
              return std::vector<std::string>{"-m",
                                              "http.server",
                                              "--bind",
                                              "127.0.0.1",
                                              "--directory",
                                              dir_.path().string(),
                                              std::to_string(port)};
          }) {}

    void put(std::string const& name, std::string_view bytes) { write_file(dir_ / name, bytes); }
    std::string url(std::string const& target) const {
        return "http://127.0.0.1:" + std::to_string(program_.port()) + target;
    }

    static bool installed() { return !search_program("python3").empty(); }

  private:
    temp_dir dir_;
    listening_program program_;
};

} // namespace cleave_test
