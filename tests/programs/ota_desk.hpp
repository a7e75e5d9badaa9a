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

#include <unistd.h>

#include <support/free_port.hpp>
#include <support/listening_program.hpp>
#include <support/nginx.hpp>
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
    explicit ota_desk(ota_desk_options o = {})
        : options_{o},
          broker_{"mosquitto",
                  [this](std::uint16_t port) {
                      plain_mqtt_port_ = free_port();
                      write_broker_files(port);
                      return std::vector<std::string>{"-c", (dir_ / "mosquitto.conf").string()};
                  }},
          server_{server_options()} {}

    // ---- broker and server ----

    bool start_broker() { return broker_.start(); }
    void stop_broker() { broker_.stop(); }
    bool start_server() { return server_.start(); }
    void stop_server() { server_.stop(); }
    // Lines of nginx's log, one for each request of a file that it has answered.
    std::string access_log() const { return server_.access_log(); }

    // ---- the programs ----

    // Ready for a device when this returns.
    void start_platform(std::vector<std::string> more = {}) {
        std::vector<std::string> args{CLEAVE_BIN_DIR "/ota-platform",
                                      "--port",
                                      std::to_string(broker_.port()),
                                      "--ca",
                                      (dir_ / "ca.pem").string(),
                                      "--www",
                                      www().string(),
                                      "--url",
                                      "https://localhost:" + std::to_string(server_.port()),
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
        std::vector<std::string> args{CLEAVE_BIN_DIR "/ota-agent",
                                      "--port",
                                      std::to_string(broker_.port()),
                                      "--ca",
                                      (dir_ / "ca.pem").string(),
                                      "--dir",
                                      device().string(),
                                      "--once"};
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
    std::filesystem::path www() const { return server_.root(); }
    // What the device runs now; "" while that is what it came with.
    std::string running_image() const {
        auto const path = device() / "running" / "firmware.bin";
        return std::filesystem::exists(path) ? read_file(path) : std::string{};
    }

  private:
    void write_broker_files(std::uint16_t port) const {
        write_file(dir_ / "ca.pem", test_authority().pem());
        write_file(dir_ / "server.pem", local_identity().pem());
        write_file(dir_ / "server.key", local_identity().key_pem());
        auto const dir = dir_.path().string();
        write_file(dir_ / "mosquitto.conf",
                   "listener " + std::to_string(port) + " 127.0.0.1\n" + "cafile " + dir +
                       "/ca.pem\ncertfile " + dir + "/server.pem\nkeyfile " + dir +
                       "/server.key\nlistener " + std::to_string(plain_mqtt_port_) +
                       " 127.0.0.1\n" + "allow_anonymous " + (options_.open ? "true" : "false") +
                       "\npersistence false\nset_tcp_nodelay true\n" +
                       (::geteuid() == 0 ? "user root\n" : ""));
    }
    // A link holds for as long as the platform says so, which is asked about each request.
    nginx_options server_options() const {
        auto const& shown =
            options_.certificate != nullptr ? *options_.certificate : local_identity();
        return {.certificate = shown.pem(),
                .key = shown.key_pem(),
                .server = "        location / { auth_request /gate; }\n"
                          "        location = /gate {\n"
                          "            internal;\n"
                          "            proxy_pass http://unix:" +
                          (dir_ / "gate").string() +
                          ":/;\n"
                          "            proxy_set_header X-Original-URI $request_uri;\n"
                          "        }"};
    }

    ota_desk_options options_;
    temp_dir dir_;
    std::uint16_t plain_mqtt_port_ = 0;
    listening_program broker_; // these go before the directory
    nginx server_;
    std::optional<child> platform_;
};

} // namespace cleave_test
