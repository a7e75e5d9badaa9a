// SPDX-License-Identifier: BSL-1.0
//
// Whole updates over real parts: ota-agent and ota-platform, mosquitto and nginx over TLS between
// them. What goes wrong is made to go wrong, and each end's words are compared.

#include "ota_desk.hpp"

#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <poll.h>

using namespace cleave_test;
using strings = std::vector<std::string>;

namespace {

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t n = 0;
    for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
    return n;
}

// The end of an update that went well, on both sides.
void check_success(ota_desk& desk, process_result const& agent) {
    auto const platform = desk.platform().wait();
    INFO("the agent:\n" << agent.out << agent.err << "\nthe platform:\n" << platform.out);
    CHECK(agent.exit_code == 0);
    CHECK(platform.exit_code == 0);
    CHECK(contains(platform.out, "SUCCESS: the device has reported version 2.0"));
    CHECK(desk.running_image() == read_file(desk.www() / "firmware.bin"));
}
// The end of one that did not.
void check_failure(ota_desk& desk, process_result const& agent, std::string_view agent_says,
                   std::string_view platform_says) {
    auto const platform = desk.platform().wait();
    INFO("the agent:\n" << agent.out << agent.err << "\nthe platform:\n" << platform.out);
    CHECK(agent.exit_code == 1);
    CHECK(contains(agent.out, agent_says));
    CHECK(platform.exit_code == 1);
    CHECK(contains(platform.out, platform_says));
    CHECK_FALSE(contains(platform.out, "SUCCESS"));
}

} // namespace

TEST_CASE("the platform says success when the version is reported, and not before") {
    ota_desk desk;
    desk.start_platform({"--size", "300K"});
    auto const agent = desk.run_agent();
    check_success(desk, agent);
    auto const& seen = desk.platform().out();
    CHECK(seen.find("100 % (verified)") < seen.find("version 2.0 of default"));
    CHECK(seen.find("version 2.0 of default") < seen.find("SUCCESS"));
}

TEST_CASE("an update of several files, with MD5") {
    ota_desk desk;
    desk.start_platform({"--size", "300K", "--files", "3", "--sign-method", "Md5"});
    check_success(desk, desk.run_agent());
    for (auto const* const i : {"1", "2"})
        CHECK(read_file(desk.device() / "running" / (std::string{i} + "-data-" + i + ".bin")) ==
              read_file(desk.www() / (std::string{"data-"} + i + ".bin")));
}

TEST_CASE("a wrong digest fails the verification, and the old version stays") {
    ota_desk desk;
    bool const over_mqtt = GENERATE(false, true);
    strings options{"--size", "100K", "--wrong-digest"};
    if (over_mqtt) options.push_back("--mqtt");
    desk.start_platform(options);
    check_failure(desk, desk.run_agent(), "do not have the digest", "step -3");
    CHECK(desk.running_image().empty());
}

TEST_CASE("a wrong version is named by both") {
    ota_desk desk;
    desk.start_platform({"--size", "100K", "--inside", "1.9"});
    check_failure(desk, desk.run_agent(), "it runs 1.9, expected was 2.0",
                  "FAILED: version 1.9 is reported, and 2.0 is expected");
}

TEST_CASE("a version that is never reported is no success, whatever the device believes") {
    ota_desk desk;
    desk.start_platform({"--size", "100K", "--deadline", "2"});
    auto const agent = desk.run_agent({"--lose-reports"});
    auto const platform = desk.platform().wait();
    CHECK(agent.exit_code == 0);
    CHECK(platform.exit_code == 1);
    CHECK(contains(platform.out, "100 %: not a success"));
    CHECK(contains(platform.out, "FAILED: version 2.0 was not reported within 2 s"));
}

TEST_CASE("a deadline that cannot be kept is told in time, and then missed") {
    ota_desk desk;
    desk.start_platform({"--size", "4M", "--deadline", "60"});
    auto const agent = desk.run_agent({"--deadline", "4", "--limit-rate", "100K"});
    check_failure(desk, agent, "will not be done in time", "step -2");
    CHECK(agent.out.find("will not be done in time") < agent.out.find("FAILED"));
}

TEST_CASE("a platform that closes the channel is found out") {
    ota_desk desk;
    desk.start_platform({"--size", "4M", "--close-at", "10", "--linger", "30"});
    auto const agent = desk.run_agent({"--limit-rate", "1M"});
    check_failure(desk, agent, "the platform has no update for the device any more",
                  "FAILED: the operator has cancelled the update");
    CHECK(contains(desk.platform().out(), "no upgrade"));
    // What it says then changes nothing.
    CHECK(contains(desk.platform().out(), "step -1"));
}

TEST_CASE("links that expire half-way are renewed, and no byte is lost") {
    ota_desk desk;
    bool const by_time = GENERATE(false, true);
    desk.start_platform({"--size", "2M", "--expire-after", by_time ? "0.7s" : "300K"});
    auto const agent = desk.run_agent({"--limit-rate", "1M"});
    check_success(desk, agent);
    CHECK(count(desk.platform().out(), "403 Forbidden: the link has expired") >= 2);
    CHECK(count(desk.platform().out(), "with fresh links") >= 2);
    // All of its connections had work.
    CHECK(contains(agent.out, " 4 connections"));
}

TEST_CASE("a broker or a server that is gone for five seconds delays an update, and no more") {
    ota_desk desk;
    bool const broker = GENERATE(false, true);
    desk.start_platform({"--size", "2M"});
    child agent{desk.agent_command({"--limit-rate", "300K"})};
    REQUIRE(desk.platform().wait_for_output("1"));
    REQUIRE(desk.platform().wait_for_output("0 % (downloading)"));
    broker ? desk.stop_broker() : desk.stop_server();
    ::poll(nullptr, 0, 5000);
    REQUIRE((broker ? desk.start_broker() : desk.start_server()));
    check_success(desk, agent.wait());
}

TEST_CASE("killed anywhere and started again, the device ends with the new version") {
    ota_desk desk;
    auto const point = GENERATE(as<std::string>{}, "told", "downloading", "0", "35", "70", "99",
                                "verified", "install", "installed", "confirm", "confirmed");
    CAPTURE(point);
    desk.start_platform({"--size", "1M"});
    auto const first = desk.run_agent({"--die-at", point});
    CHECK(first.signal == SIGKILL);
    CHECK_FALSE(contains(desk.platform().out(), "SUCCESS"));
    auto const second = desk.run_agent();
    check_success(desk, second);
    if (point != "70") return;
    // What was in flash did not come again.
    auto const log = desk.access_log();
    CHECK(count(log, "\"bytes=0-") == 1);
}

TEST_CASE("without trusted certificates there is one attempt, by name") {
    ota_desk desk;
    desk.start_platform({"--size", "100K"});
    auto const agent = desk.run_agent({"--https-ca", "/nowhere/at/all"});
    check_failure(desk, agent, "trusted certificates", "step -1");
    // Not even a connection, and it is not tried again.
    CHECK(contains(agent.out, "0 requests, 0 connections, tried again 0 times"));
    CHECK(count(agent.out, "trusted certificates") == 1);
    CHECK(desk.access_log().empty());
}

TEST_CASE("segments that overlap are refused before any connection") {
    ota_desk desk;
    desk.start_platform({"--size", "2049"});
    auto const agent = desk.run_agent({"--segments", "0-1024,1024-2048"});
    check_failure(desk, agent, "overlap at byte 1024; use [1025,2048]", "step -1");
    CHECK(desk.access_log().empty());
}

TEST_CASE("segments that cannot be read are a usage error") {
    for (std::string const text : {"0", "0-1024,", "0--5", "+0-1024", "0-18446744073709551616"}) {
        auto const agent = run({CLEAVE_BIN_DIR "/ota-agent", "--segments", text});
        CAPTURE(text, agent.err);
        CHECK(agent.exit_code == 2);
        CHECK(contains(agent.err, "write them as 0-1024,1025-2048"));
    }
}

TEST_CASE("flash that is too small is an install failure, before anything is fetched") {
    ota_desk desk;
    desk.start_platform({"--size", "200K"});
    check_failure(desk, desk.run_agent({"--flash-size", "128K"}), "FAILED", "step -4");
    CHECK(desk.access_log().empty());
}

TEST_CASE("a megabyte over MQTT, with blocks lost, damaged and repeated") {
    ota_desk desk;
    desk.start_platform({"--size", "1000000", "--mqtt", "--lose-block", "3", "40", "41",
                         "--damage-block", "7", "8", "--repeat-block", "5", "90"});
    auto const agent = desk.run_agent({"--patience", "500"});
    check_success(desk, agent);
    CHECK(contains(agent.out, "5 again, 2 damaged, 2 not wanted"));
    CHECK(desk.access_log().empty());
}
