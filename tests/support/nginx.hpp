// SPDX-License-Identifier: BSL-1.0
//
// A real nginx on a free loopback port, serving a temporary directory, for tests against a server
// nobody here wrote. The file put under "name" is served at:
//
//   /name            plainly
//   /noranges/name   whole only: Range is ignored
//   /close/name      the connection is closed after each reply
//   /chunked/name    200 in chunks, without a length, a range or a validator
//   /unsized/name    the same, but the body ends where the connection does
//   /limited/name    each connection is held to nginx_options::limit_rate
//   /few/name        503 to more than nginx_options::limit_conn requests at one time
//   /moved/name      302 to /name
//
// With a certificate it does so over TLS. It can be taken away, and come back on the port it had.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <poll.h>
#include <unistd.h>

#include "free_port.hpp"
#include "process.hpp"
#include "temp_dir.hpp"

namespace cleave_test {

struct nginx_options {
    std::string limit_rate = "4m"; // bytes a second, in nginx's notation
    int limit_conn = 2;
    std::string certificate = {};             // PEM, with the chain; with it, only https
    std::string key = {};                     // PEM
    std::string versions = "TLSv1.2 TLSv1.3"; // of TLS, in nginx's notation
    std::string client_ca = {};               // PEM: wants a client's certificate from there
    std::string server = {};                  // more text for the server block
};

class nginx {
  public:
    explicit nginx(nginx_options options = {}) {
        std::filesystem::create_directories(root());
        tls_ = !options.certificate.empty();
        write_file(dir_ / "server.pem", options.certificate);
        write_file(dir_ / "server.key", options.key);
        write_file(dir_ / "clients.pem", options.client_ca);
        // The port is free when asked for, and might not be a moment later.
        for (int attempt = 0; attempt < 5; ++attempt) {
            port_ = free_port();
            write_file(dir_ / "nginx.conf", config(options));
            if (start()) {
                return;
            }
        }
        std::string log;
        if (std::filesystem::exists(dir_ / "error.log")) {
            log = read_file(dir_ / "error.log");
        }
        throw std::runtime_error{"nginx does not start: " + log};
    }

    nginx(nginx const&) = delete;
    nginx& operator=(nginx const&) = delete;

    // For after a stop: it is started when it is made. Whether it runs.
    bool start() {
        std::filesystem::remove(dir_ / "nginx.pid");
        process_.emplace(std::vector<std::string>{find_program(), "-p", dir_.path().string(), "-c",
                                                  (dir_ / "nginx.conf").string()});
        if (!wait_until_ready()) {
            stop();
        }
        return process_.has_value();
    }
    void stop() { process_.reset(); }

    std::uint16_t port() const { return port_; }
    std::string url(std::string_view target) const {
        return (tls_ ? "https" : "http") + ("://127.0.0.1:" + std::to_string(port_)) +
               std::string{target};
    }

    std::filesystem::path root() const { return dir_ / "root"; }

    // Puts a file in place at once. Each put gives it another ETag and Last-Modified, even within
    // one second.
    void put(std::string const& name, std::string_view bytes) {
        auto const path = root() / name;
        std::filesystem::create_directories(path.parent_path());
        auto const fresh = dir_ / "fresh";
        write_file(fresh, bytes);
        auto const age = std::chrono::hours{24} - std::chrono::seconds{++puts_};
        std::filesystem::last_write_time(fresh,
                                         std::filesystem::file_time_type::clock::now() - age);
        std::filesystem::rename(fresh, path);
    }

    // A line for each finished request: connection, request on it, status, method, target, Range
    // (or "-"), body bytes. nginx writes it after the last byte, so it may come a little late.
    std::string access_log() const { return read_file(dir_ / "access.log"); }
    std::string error_log() const { return read_file(dir_ / "error.log"); }

    static bool installed() { return !search_program("nginx").empty(); }

  private:
    static std::string find_program() {
        auto program = search_program("nginx");
        if (program.empty()) {
            throw std::runtime_error{"nginx is not installed, neither in PATH nor in /usr/sbin: "
                                     "install the package \"nginx\" (apt-get install nginx)"};
        }
        return program;
    }

    // The pid file is written once the port is open. Bounded by 10 seconds.
    bool wait_until_ready() {
        auto const pid_file = dir_ / "nginx.pid";
        for (int i = 0; i < 2000; ++i) {
            std::error_code none;
            if (std::filesystem::file_size(pid_file, none) > 0 && !none) {
                return true;
            }
            if (!process_->running()) {
                return false;
            }
            ::poll(nullptr, 0, 5);
        }
        return false;
    }

    std::string config(nginx_options const& o) const {
        auto const dir = dir_.path().string();
        auto const files = "alias " + root().string() + "/; ";
        std::string tls;
        if (tls_) {
            tls = "ssl_certificate " + dir + "/server.pem; ssl_certificate_key " + dir +
                  "/server.key; ssl_protocols " + o.versions + ";";
            if (!o.client_ca.empty())
                tls += " ssl_verify_client on; ssl_client_certificate " + dir + "/clients.pem;";
        }
        // clang-format off
        // One process, without master and workers, so that killing it leaves none behind.
        return std::string{::geteuid() == 0 ? "user root root;\n" : ""} +
               "daemon off;\n"
               "master_process off;\n"
               "worker_processes 1;\n"
               "pid " + dir + "/nginx.pid;\n"
               "error_log " + dir + "/error.log;\n"
               "events { worker_connections 1024; }\n"
               "http {\n"
               "    sendfile on;\n"
               "    tcp_nopush on;\n"
               "    keepalive_requests 100000;\n"
               "    default_type application/octet-stream;\n"
               "    client_body_temp_path " + dir + "/tmp-body;\n"
               "    proxy_temp_path " + dir + "/tmp-proxy;\n"
               "    fastcgi_temp_path " + dir + "/tmp-fastcgi;\n"
               "    uwsgi_temp_path " + dir + "/tmp-uwsgi;\n"
               "    scgi_temp_path " + dir + "/tmp-scgi;\n"
               "    log_format seen '$connection $connection_requests $status $request_method '\n"
               "                    '$request_uri \"$http_range\" $body_bytes_sent';\n"
               "    access_log " + dir + "/access.log seen;\n"
               "    limit_conn_zone $binary_remote_addr zone=few:1m;\n"
               "    server {\n"
               "        listen 127.0.0.1:" + std::to_string(port_) +
               (tls_ ? " ssl" : "") + " backlog=1024;\n"
               "        " + tls + "\n"
               "        root " + root().string() + ";\n"
               "        location /noranges/ { " + files + "max_ranges 0; }\n"
               "        location /close/ { " + files + "keepalive_timeout 0; }\n"
               // Server-side includes take the length away, whether they find any or not.
               "        location /chunked/ { " + files + "ssi on; ssi_types *; }\n"
               "        location /unsized/ { " + files + "ssi on; ssi_types *;\n"
               "                              chunked_transfer_encoding off; }\n"
               "        location /limited/ { " + files + "limit_rate " + o.limit_rate + "; }\n"
               "        location /few/ { " + files + "limit_conn few " +
               std::to_string(o.limit_conn) + "; }\n"
               "        location /moved/ { rewrite ^/moved/(.*)$ /$1 redirect; }\n" +
               o.server +
               "\n    }\n"
               "}\n";
        // clang-format on
    }

    temp_dir dir_;
    std::uint16_t port_ = 0;
    bool tls_ = false;
    int puts_ = 0;
    std::optional<child> process_; // goes before the directory
};

} // namespace cleave_test
