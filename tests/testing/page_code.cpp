// SPDX-License-Identifier: BSL-1.0
//
// The C++ of docs/testing.md, compiled and run. Each line of the page's blocks stands here, in
// order; tests/house/readme_code.cpp holds them together.
#include <cleave/testing/faults.hpp>
#include <cleave/testing/memory_disk.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <support/catch.hpp>

#include <cleave/download.hpp>

#include <asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

using namespace std::chrono_literals;

namespace {

// clang-format off
template <class File, class Policies, class Say>
void update_model(asio::io_context& context, File file, Policies how, Say say) {
    cleave::request what{"https://example.org/model.bin"};
    what.timeouts.head = 30s;
    cleave::async_download(
        context.get_executor(), what, cleave::basic_file_sink<File>{"/model", std::move(file)},
        std::move(how), [say](std::error_code ec, cleave::report const& r) {
            if (!ec) return say("new model, " + std::to_string(r.retries) + " retries");
            if (ec == cleave::cause::storage) return say("make room on the disk");
            say("later");
        });
}

using namespace cleave::testing;

struct rig {
    explicit rig(memory_handler server) : network(std::move(server), {.rate = 1'000'000}) {}

    std::string update() {
        std::string said;
        auto how = cleave::policies<>{}
                       .with_connector(network.connector())
                       .with_journal(cleave::basic_file_journal{memory_file{disk}})
                       .with_timer<virtual_timers>()
                       .with_background(cleave::same_thread{});
        update_model(context, memory_file{disk}, std::move(how),
                     [&](std::string text) { said = std::move(text); });
        time.run(context, [&] { return !said.empty(); });
        return said;
    }

    world time;
    memory_network network;
    memory_disk disk;
    asio::io_context context;
};

object const model = object::random(2'000'000, 1);
// clang-format on

} // namespace

// clang-format off
TEST_CASE("a server that falls silent costs half a minute, and then there is a model") {
    rig r{[](memory_peer& peer, seen_request const& request) {
        scripted_reply reply = honest_reply(request, model);
        if (request.connection == 0) {
            reply.cut_at = reply.head.size() / 2;
            reply.end = ending::stall;
        }
        send(peer, std::move(reply));
    }};
    CHECK(r.update() == "new model, 1 retries");
    CHECK(r.disk.bytes("/model") == model.bytes);
    CHECK(r.time.now() > 30s);
    CHECK(r.time.now() < 1min);
}

TEST_CASE("a full disk is said, and the old model stays") {
    rig r{memory_network::honest(model)};
    r.disk.put("/model", "the old one");
    r.disk.capacity(1'000'000);
    CHECK(r.update() == "make room on the disk");
    CHECK(r.disk.bytes("/model") == "the old one");
}

TEST_CASE("a server that shifts a range by a byte costs a retry") {
    object const other = object::random(model.bytes.size(), 2, "\"v2\"");
    std::function<std::uint64_t(std::uint64_t)> const below = [](std::uint64_t n) { return n / 2; };
    server_fault const* const fault = find_server_fault("start_shifted");
    std::string const url = "https://example.org/model.bin";
    bool struck = false;
    rig r{[&](memory_peer& peer, seen_request const& request) {
        scripted_reply reply = honest_reply(request, model);
        if (!struck) struck = fault->apply(reply, {request, model, other, below, url, {}});
        send(peer, std::move(reply));
    }};
    CHECK(r.update() == "new model, 1 retries");
    CHECK(struck);
}
// clang-format on
