// SPDX-License-Identifier: BSL-1.0
//
// The table of troubles in docs/ota.md, over real parts: each of its causes that can be had with
// ota-agent, ota-platform, mosquitto and nginx is made to happen here, and what the two programs
// say is compared with the table. The others are for ota/trouble.cpp.

#include "ota_desk.hpp"

#include <support/catch.hpp>
#include <support/trouble_page.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

using namespace cleave_test;
using strings = std::vector<std::string>;

namespace {

// What one of the two has said, a text a line: without the time, and without what is drawn.
strings texts(std::string_view out) {
    strings all;
    while (!out.empty()) {
        auto line = out.substr(0, out.find('\n'));
        out.remove_prefix(std::min(out.size(), line.size() + 1));
        // The picture has the time in its first ten places.
        if (line.size() > 11 && line[2] == ':' && line[5] == '.') line.remove_prefix(11);
        for (std::string_view const drawn : {"|", "---->", "<----"}) {
            auto const at = line.find(std::string{"  "} + std::string{drawn});
            if (at == std::string_view::npos) continue;
            auto const left = line.substr(0, at);
            auto const right = line.substr(at + 2 + drawn.size());
            line = left.find_first_not_of(' ') == std::string_view::npos ? right : left;
            break;
        }
        for (std::string_view const drawn : {" |", " ---->"})
            if (line.ends_with(drawn)) line.remove_suffix(drawn.size());
        auto const first = line.find_first_not_of(' ');
        if (first == std::string_view::npos) continue;
        all.emplace_back(line.substr(first, line.find_last_not_of(' ') - first + 1));
    }
    return all;
}

bool said(std::string_view out, std::string_view pattern) {
    for (auto const& text : texts(out))
        if (fits(pattern, text)) return true;
    return false;
}

// Each text of the table for this cause: "device" and "platform" say it, and what is said with a
// step is a failure that the device tells the platform of.
void check(std::string_view cause, process_result const& agent, std::string const& platform) {
    trouble const row = find_trouble(cause);
    REQUIRE_FALSE(row.seen.empty());
    for (auto const& t : row.seen) {
        INFO(cause << ": " << t.who << ": " << t.text << "\nthe agent:\n"
                   << agent.out << agent.err << "\nthe platform:\n"
                   << platform);
        if (t.who == "device") {
            CHECK((said(agent.out, t.text) || said(agent.err, t.text)));
        } else if (t.who == "platform") {
            CHECK(said(platform, t.text));
        } else {
            CHECK(said(agent.out, "FAILED: " + t.text));
            REQUIRE(t.who.substr(0, 8) == "device, ");
            CHECK(said(platform, t.who.substr(8) + " (" + t.text + ")"));
        }
    }
}

// One failed update, from its start to its end.
void check_failure(std::string_view cause, ota_desk& desk, strings const& platform,
                   strings const& agent) {
    desk.start_platform(platform);
    auto const device = desk.run_agent(agent);
    auto const other = desk.platform().wait();
    check(cause, device, other.out);
    CHECK(device.exit_code == 1);
    CHECK(other.exit_code == 1);
}
void check_failure(std::string_view cause, strings const& platform, strings const& agent) {
    ota_desk desk;
    check_failure(cause, desk, platform, agent);
}

// Of a device that goes on waiting, until it has said what is in the table.
process_result watch(child& agent, std::string_view cause) {
    for (auto const& t : find_trouble(cause).seen)
        if (t.who == "device")
            CHECK(agent.wait_for_output(std::string_view{t.text}.substr(0, t.text.find("…"))));
    // Whole lines come in one piece; this is all that the rest of the last one may take.
    (void)agent.wait_for_output("\n");
    return {.out = agent.out(), .err = agent.err()};
}

} // namespace

// ---- settings -----------------------------------------------------------------------------------

TEST_CASE("trouble: the buffer is smaller than a chunk") {
    ota_desk desk;
    check_failure("the buffer is smaller than a chunk", desk, {"--size", "100K"},
                  {"--window", "1K", "--chunk", "2K"});
    CHECK(desk.access_log().empty());
}

TEST_CASE("trouble: segments overlap") {
    ota_desk desk;
    check_failure("segments overlap", desk, {"--size", "2049"}, {"--segments", "0-1024,1024-2048"});
    CHECK(desk.access_log().empty());
}

TEST_CASE("trouble: the image does not fit into flash") {
    ota_desk desk;
    check_failure("the image does not fit into flash", desk, {"--size", "200K"},
                  {"--flash-size", "128K"});
    CHECK(desk.access_log().empty());
}

// ---- who is who ---------------------------------------------------------------------------------

TEST_CASE("trouble: the platform does not know the device") {
    ota_desk desk;
    desk.start_platform();
    child agent{
        desk.agent_command({"--device", "stranger", "--ask-after", "0.1", "--patience", "50"})};
    auto const device = watch(agent, "the platform does not know the device");
    REQUIRE(desk.platform().wait_for_output("UNKNOWN"));
    check("the platform does not know the device", device, desk.platform().out());
}

TEST_CASE("trouble: the broker does not know the device") {
    ota_desk desk{{.open = false}};
    child agent{desk.agent_command()};
    check("the broker does not know the device",
          watch(agent, "the broker does not know the device"), "");
}

TEST_CASE("trouble: the device has another module than the platform updates") {
    ota_desk desk;
    desk.start_platform({"--module", "gateway"});
    child agent{desk.agent_command({"--ask-after", "0.1"})};
    auto const device = watch(agent, "the device has another module than the platform updates");
    REQUIRE(desk.platform().wait_for_output("UNKNOWN"));
    check("the device has another module than the platform updates", device, desk.platform().out());
}

TEST_CASE("trouble: the upgrade is for another module") {
    ota_desk desk;
    desk.start_platform({"--module", "gateway"});
    child agent{desk.agent_command()};
    REQUIRE(desk.platform().wait_for_output("UNKNOWN"));
    // Somebody with the same name asks for it.
    child other{desk.agent_command({"--module", "gateway", "--client-id", "another", "--dir",
                                    (desk.device() / "other").string(), "--limit-rate", "1K"})};
    auto const device = watch(agent, "the upgrade is for another module");
    auto const platform = desk.platform().wait();
    check("the upgrade is for another module", device, platform.out);
    CHECK(platform.exit_code == 1);
}

// ---- network ------------------------------------------------------------------------------------

TEST_CASE("trouble: the broker is gone") {
    ota_desk desk;
    desk.stop_broker();
    child agent{desk.agent_command()};
    check("the broker is gone", watch(agent, "the broker is gone"), "");
}

TEST_CASE("trouble: the file server is gone for longer than it is waited for") {
    ota_desk desk;
    desk.stop_server();
    check_failure("the file server is gone for longer than it is waited for", desk,
                  {"--size", "100K"}, {"--tries", "2"});
}

// ---- links --------------------------------------------------------------------------------------

TEST_CASE("trouble: the platform has closed the update") {
    ota_desk desk;
    desk.start_platform({"--size", "4M", "--close-at", "10", "--linger", "30"});
    auto const device = desk.run_agent({"--limit-rate", "1M"});
    auto const other = desk.platform().wait();
    check("the platform has closed the update", device, other.out);
}

// ---- certificates -------------------------------------------------------------------------------

TEST_CASE("trouble: the file server's CA cannot be read") {
    ota_desk desk;
    check_failure("the file server's CA cannot be read", desk, {"--size", "100K"},
                  {"--https-ca", "/nowhere/at/all"});
    CHECK(desk.access_log().empty());
}

TEST_CASE("trouble: the broker's CA cannot be read") {
    ota_desk desk;
    auto const device = desk.run_agent({"--ca", "/nowhere/at/all"});
    check("the broker's CA cannot be read", device, "");
    CHECK(device.exit_code == 2);
}

TEST_CASE("trouble: the file server's certificate is of another CA") {
    identity const stranger = make_authority("nobody");
    identity const certificate = make_identity({.names = {"localhost"}}, &stranger);
    ota_desk desk{{.certificate = &certificate}};
    check_failure("the file server's certificate is of another CA", desk, {"--size", "100K"}, {});
    CHECK(desk.access_log().empty());
}

TEST_CASE("trouble: the file server's certificate is for another host") {
    identity const certificate = make_identity({.names = {"files.example.org"}}, &test_authority());
    ota_desk desk{{.certificate = &certificate}};
    check_failure("the file server's certificate is for another host", desk, {"--size", "100K"},
                  {});
    CHECK(desk.access_log().empty());
}

TEST_CASE("trouble: the file server's certificate has expired") {
    identity const certificate =
        make_identity({.names = {"localhost"}, .begins = -7200, .ends = -3600}, &test_authority());
    ota_desk desk{{.certificate = &certificate}};
    check_failure("the file server's certificate has expired", desk, {"--size", "100K"}, {});
    CHECK(desk.access_log().empty());
}

TEST_CASE("trouble: the broker's certificate is of another CA") {
    ota_desk desk;
    auto const other = desk.device().parent_path() / "other.pem";
    write_file(other, make_authority("nobody").pem());
    child agent{desk.agent_command({"--ca", other.string()})};
    check("the broker's certificate is of another CA",
          watch(agent, "the broker's certificate is of another CA"), "");
}

TEST_CASE("trouble: the device's clock is in 1970, at the broker") {
    ota_desk desk;
    child agent{desk.agent_command(), {.env = {{"LD_PRELOAD", CLEAVE_BIN_DIR "/clock.so"}}}};
    check("the device's clock is in 1970, at the broker",
          watch(agent, "the device's clock is in 1970, at the broker"), "");
}

TEST_CASE("trouble: the device's clock is in 1970, at the file server") {
    ota_desk desk;
    desk.start_platform({"--size", "100K"});
    // To a broker that wants no certificates.
    auto const device = run(
        desk.agent_command({"--port", desk.plain_mqtt_port(), "--ca", "", "--https-ca", desk.ca()}),
        {.env = {{"LD_PRELOAD", CLEAVE_BIN_DIR "/clock.so"}}});
    auto const platform = desk.platform().wait();
    check("the device's clock is in 1970, at the file server", device, platform.out);
    CHECK(desk.access_log().empty());
}

// ---- what came ----------------------------------------------------------------------------------

TEST_CASE("trouble: the digest is wrong") {
    check_failure("the digest is wrong", {"--size", "100K", "--wrong-digest"}, {});
}

TEST_CASE("trouble: the device runs another version than the platform expects") {
    check_failure("the device runs another version than the platform expects",
                  {"--size", "100K", "--inside", "1.9"}, {});
}

TEST_CASE("trouble: 100 %, and the version is not reported") {
    ota_desk desk;
    desk.start_platform({"--size", "100K", "--deadline", "2", "--linger", "0.1"});
    auto const device = desk.run_agent({"--lose-reports"});
    auto const platform = desk.platform().wait();
    check("100 %, and the version is not reported", device, platform.out);
    CHECK(platform.exit_code == 1);
}
