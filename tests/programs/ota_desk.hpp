// SPDX-License-Identifier: BSL-1.0
//
// A desk for updates: a real mosquitto and a real nginx on the loopback, both over TLS, and the
// programs ota-platform and ota-agent between them. Broker and server can be taken away and come
// back on the ports that they had.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <unistd.h>

#include <support/free_port.hpp>
#include <support/process.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

namespace cleave_test {

struct ota_desk_options {
    /// Whether the broker takes who has no password.
    bool open = true;
    /// The file server's; the broker's if there is none.
    identity const* certificate = nullptr;
};

class ota_desk {
  public:
    explicit ota_desk(ota_desk_options o = {}) : options_{o} {
        std::filesystem::create_directories(dir_ / "www");
        write_file(dir_ / "ca.pem", test_authority().pem());
        write_file(dir_ / "server.pem", local_identity().pem());
        write_file(dir_ / "server.key", local_identity().key_pem());
        auto const& files = o.certificate != nullptr ? *o.certificate : local_identity();
        write_file(dir_ / "files.pem", files.pem());
        write_file(dir_ / "files.key", files.key_pem());
        for (int attempt = 0; attempt < 5; ++attempt) {
            mqtt_port_ = free_port();
            plain_mqtt_port_ = free_port();
            https_port_ = free_port();
            write_file(dir_ / "mosquitto.conf", mosquitto_config());
            write_file(dir_ / "nginx.conf", nginx_config());
            if (start_broker() && start_server()) return;
        }
        throw std::runtime_error{"mosquitto or nginx does not start; are they installed?"};
    }

    static bool installed() {
        return !search_program("mosquitto").empty() && !search_program("nginx").empty();
    }

    // ---- broker and server ----

    bool start_broker() {
        broker_.emplace(std::vector<std::string>{search_program("mosquitto"), "-c",
                                                 (dir_ / "mosquitto.conf").string()});
        return wait_until_listening(*broker_, mqtt_port_);
    }
    void stop_broker() { broker_.reset(); }
    bool start_server() {
        server_.emplace(std::vector<std::string>{search_program("nginx"), "-p",
                                                 dir_.path().string(), "-c",
                                                 (dir_ / "nginx.conf").string()});
        return wait_until_listening(*server_, https_port_);
    }
    void stop_server() { server_.reset(); }
    // Lines of nginx's log, one for each request of a file that it has answered.
    std::string access_log() const {
        auto const path = dir_ / "access.log";
        return std::filesystem::exists(path) ? read_file(path) : std::string{};
    }

    // ---- the programs ----

    // Ready for a device when this returns.
    void start_platform(std::vector<std::string> more = {}) {
        std::vector<std::string> args{CLEAVE_BIN_DIR "/ota-platform",
                                      "--port",
                                      std::to_string(mqtt_port_),
                                      "--ca",
                                      (dir_ / "ca.pem").string(),
                                      "--www",
                                      (dir_ / "www").string(),
                                      "--url",
                                      "https://localhost:" + std::to_string(https_port_),
                                      "--gate",
                                      (dir_ / "gate").string()};
        args.insert(args.end(), more.begin(), more.end());
        platform_.emplace(std::move(args));
        if (!platform_->wait_for_output("connected to the broker"))
            throw std::runtime_error{"ota-platform does not start: " + platform_->err()};
    }
    child& platform() { return *platform_; }

    // With --once, as all that a test has an end for.
    std::vector<std::string> agent_command(std::vector<std::string> more = {}) const {
        std::vector<std::string> args{
            CLEAVE_BIN_DIR "/ota-agent", "--port", std::to_string(mqtt_port_), "--ca",
            (dir_ / "ca.pem").string(),  "--dir",  device().string(),          "--once"};
        args.insert(args.end(), more.begin(), more.end());
        return args;
    }
    process_result run_agent(std::vector<std::string> more = {}) const {
        return run(agent_command(std::move(more)));
    }

    std::string ca() const { return (dir_ / "ca.pem").string(); }
    // Of the broker, without TLS.
    std::string plain_mqtt_port() const { return std::to_string(plain_mqtt_port_); }

    std::filesystem::path device() const { return dir_ / "device"; }
    std::filesystem::path www() const { return dir_ / "www"; }
    // What the device runs now; "" while that is what it came with.
    std::string running_image() const {
        auto const path = device() / "running" / "firmware.bin";
        return std::filesystem::exists(path) ? read_file(path) : std::string{};
    }

  private:
    // Bounded by 10 seconds.
    static bool wait_until_listening(child& program, std::uint16_t port) {
        for (int i = 0; i < 1000 && program.running(); ++i) {
            if (is_listening(port)) return program.running();
            ::poll(nullptr, 0, 10);
        }
        return false;
    }

    std::string mosquitto_config() const {
        auto const dir = dir_.path().string();
        return "listener " + std::to_string(mqtt_port_) + " 127.0.0.1\n" + "cafile " + dir +
               "/ca.pem\ncertfile " + dir + "/server.pem\nkeyfile " + dir +
               "/server.key\nlistener " + std::to_string(plain_mqtt_port_) + " 127.0.0.1\n" +
               "allow_anonymous " + (options_.open ? "true" : "false") +
               "\npersistence false\nset_tcp_nodelay true\n" +
               (::geteuid() == 0 ? "user root\n" : "");
    }
    std::string nginx_config() const {
        auto const dir = dir_.path().string();
        // clang-format off
        return std::string{::geteuid() == 0 ? "user root root;\n" : ""} +
               "daemon off;\n"
               "master_process off;\n"
               "pid " + dir + "/nginx.pid;\n"
               "error_log " + dir + "/error.log;\n"
               "events { worker_connections 256; }\n"
               "http {\n"
               "    default_type application/octet-stream;\n"
               "    client_body_temp_path " + dir + "/tmp-body;\n"
               "    proxy_temp_path " + dir + "/tmp-proxy;\n"
               "    fastcgi_temp_path " + dir + "/tmp-fastcgi;\n"
               "    uwsgi_temp_path " + dir + "/tmp-uwsgi;\n"
               "    scgi_temp_path " + dir + "/tmp-scgi;\n"
               "    log_format seen '$status $request_uri \"$http_range\" $body_bytes_sent';\n"
               "    access_log " + dir + "/access.log seen;\n"
               "    server {\n"
               "        listen 127.0.0.1:" + std::to_string(https_port_) + " ssl;\n"
               "        ssl_certificate " + dir + "/files.pem;\n"
               "        ssl_certificate_key " + dir + "/files.key;\n"
               "        root " + dir + "/www;\n"
               "        location / { auth_request /gate; }\n"
               "        location = /gate {\n"
               "            internal;\n"
               "            proxy_pass http://unix:" + dir + "/gate:/;\n"
               "            proxy_set_header X-Original-URI $request_uri;\n"
               "        }\n"
               "    }\n"
               "}\n";
        // clang-format on
    }

    ota_desk_options options_;
    temp_dir dir_;
    std::uint16_t mqtt_port_ = 0;
    std::uint16_t plain_mqtt_port_ = 0;
    std::uint16_t https_port_ = 0;
    std::optional<child> broker_; // these go before the directory
    std::optional<child> server_;
    std::optional<child> platform_;
};

} // namespace cleave_test
