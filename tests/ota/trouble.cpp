// SPDX-License-Identifier: BSL-1.0
//
// The table of troubles in docs/ota.md: each of its causes that takes long, or a network or disk
// that does as it is told, is made to happen here, in virtual time, and what is said is compared
// with the table. The others are for programs/ota_trouble.cpp.
#include <ota/file_device.hpp>
#include <support/trouble_page.hpp>

#include <set>

using namespace cleave_test;
using namespace cleave::testing;
using namespace std::chrono_literals;
using cleave::update_error;

namespace {

object const image = object::random(100'000, 1);

int number_of(cleave::update_step s) { return -1 - static_cast<int>(s); }

/// `cause` of the table has a text for who fails, and it is the one that was passed on.
void check_failure(std::string const& cause, platform const& p) {
    REQUIRE(p.failures.size() == 1);
    auto const& f = p.failures[0];
    std::string const who = "device, step " + std::to_string(number_of(f.step));
    CAPTURE(cause, who, f.text);
    trouble const row = find_trouble(cause);
    bool found = false;
    for (trouble_text const& t : row.seen) found |= t.who == who && fits(t.text, f.text);
    CHECK(found);
}
void check_warning(std::string const& cause, platform const& p) {
    REQUIRE(p.late.size() == 1);
    std::string const text = p.late[0].message();
    CAPTURE(cause, text);
    trouble const row = find_trouble(cause);
    bool found = false;
    for (trouble_text const& t : row.seen) found |= t.who == "device" && fits(t.text, text);
    CHECK(found);
}

} // namespace

TEST_CASE("trouble: the buffer is too small for the speed") {
    // Nothing on the way takes up what comes while flash is at work.
    bench b{memory_network::honest(image),
            {.latency = 1ms, .rate = 30'000, .piece = 256, .window = 512}};
    b.lanes = 1;
    kept k;
    platform p;
    slow_device d{k, p, 120ms, 2048};
    CHECK(b.update(d, firmware_of(image), {.deadline = 7s}).ec == update_error::deadline_missed);
    check_warning("the buffer is too small for the speed", p);
    // What to do.
    kept other;
    platform well;
    slow_device roomy{other, well, 120ms, 16 * 2048};
    roomy.running = true;
    CHECK(b.update(roomy, firmware_of(image), {.deadline = 7s}).ec == std::error_code{});
    CHECK(well.late.empty());
}

TEST_CASE("trouble: the deadline is too short") {
    bench b{memory_network::honest(image), {.rate = 2000, .piece = 500}};
    b.lanes = 1;
    kept k;
    platform p;
    flash_device d{k, p};
    CHECK(b.update(d, firmware_of(image), {.deadline = 20s}).ec == update_error::deadline_missed);
    check_warning("the deadline is too short", p);
    check_failure("the deadline is too short", p);
}

TEST_CASE("trouble: the version does not reach the platform") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    p.on_version = [](std::function<void(std::error_code)> const&) {};
    flash_device d{k, p};
    d.running = true;
    CHECK(b.update(d, firmware_of(image)).ec == update_error::version_not_reported);
    CHECK(p.progress.back() == 100);
    check_failure("the version does not reach the platform", p);
}

TEST_CASE("trouble: the file server is not there yet") {
    bench b{memory_network::honest(image)};
    auto const back = b.time.now() + 10s;
    b.network.on_connect([&](std::size_t) -> connect_result {
        if (b.time.now() < back) return arrival::refused;
        return arrival::accepted;
    });
    kept k;
    platform p;
    flash_device d{k, p};
    CHECK(b.update(d, firmware_of(image)).ec == std::errc::connection_refused);
    CHECK(b.time.now() < back - 8s);
    check_failure("the file server is not there yet", p);
    // What to do.
    cleave::backoff patient;
    patient.tries = patient.first_tries = 12;
    patient.longest = 5s;
    platform well;
    flash_device again{k, well};
    again.running = true;
    auto const r = b.update(again, firmware_of(image), b.policies().with_renewal(patient));
    CHECK(r.ec == std::error_code{});
    CHECK(b.time.now() >= back);
}

TEST_CASE("trouble: the network is gone during the download") {
    bench b{[](memory_peer& peer, seen_request const& r) {
        auto right = honest_reply(r, image);
        right.cut_at = right.head.size() + std::min<std::size_t>(right.body.size(), 5'000);
        right.end = ending::rst;
        send(peer, std::move(right));
    }};
    b.network.on_connect([](std::size_t attempt) -> connect_result {
        if (attempt < 2) return arrival::accepted;
        return make_error_code(std::errc::network_unreachable);
    });
    kept k;
    platform p;
    flash_device d{k, p};
    CHECK(b.update(d, firmware_of(image)).ec == std::errc::network_unreachable);
    check_failure("the network is gone during the download", p);
}

TEST_CASE("trouble: the link has expired, and nobody asks for another") {
    bench b{[](memory_peer& peer, seen_request const&) { send(peer, {.head = reply(403, "No")}); }};
    memory_disk disk;
    kept k;
    platform p;
    file_device d{k, p, disk};
    CHECK(b.update(d, firmware_of(image)).ec == cleave::error::forbidden);
    check_failure("the link has expired, and nobody asks for another", p);
}

TEST_CASE("trouble: the platform does not answer who asks for a fresh link") {
    bench b{[](memory_peer& peer, seen_request const&) { send(peer, {.head = reply(403, "No")}); }};
    kept k;
    platform p;
    p.on_ask = [](std::function<void(std::error_code, cleave::firmware)> got) {
        got(update_error::platform_silent, {});
    };
    flash_device d{k, p};
    CHECK(b.update(d, firmware_of(image)).ec == update_error::platform_silent);
    check_failure("the platform does not answer who asks for a fresh link", p);
}

TEST_CASE("trouble: the disk is full") {
    bench b{memory_network::honest(image)};
    memory_disk disk;
    disk.capacity(50'000);
    kept k;
    platform p;
    file_device d{k, p, disk};
    CHECK(b.update(d, firmware_of(image)).ec == std::errc::no_space_on_device);
    check_failure("the disk is full", p);
}

TEST_CASE("trouble: flash fails") {
    bench b{memory_network::honest(image)};
    kept k;
    k.flash[0].fails_at = 40'960;
    platform p;
    flash_device d{k, p};
    CHECK(b.update(d, firmware_of(image)).ec == std::errc::io_error);
    check_failure("flash fails", p);
}

TEST_CASE("trouble: the file on the server has another size") {
    object const other = object::random(99'999, 5);
    bench b{memory_network::honest(other)};
    kept k;
    platform p;
    flash_device d{k, p};
    CHECK(b.update(d, firmware_of(image)).ec == update_error::size_differs);
    check_failure("the file on the server has another size", p);
}

TEST_CASE("trouble: the device still runs the old version") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    for (int start = 0; start != 3; ++start) {
        flash_device d{k, p};
        d.installs_as = "1.0";
        auto const ec = b.resume(d).ec;
        if (ec == update_error::no_update || ec == update_error::firmware_needed)
            (void)b.update(d, firmware_of(image));
    }
    check_failure("the device still runs the old version", p);
}

TEST_CASE("every cause in the table has a test of its name, and each such test its cause") {
    std::set<std::string> tested;
    for (char const* const file : {"/tests/ota/trouble.cpp", "/tests/programs/ota_trouble.cpp"}) {
        std::string const source = read_file(std::string{CLEAVE_SOURCE_DIR} + file);
        std::string const begin = "TEST_CASE(\"trouble: ";
        for (auto at = source.find(begin); at != std::string::npos; at = source.find(begin, at)) {
            at += begin.size();
            CHECK(tested.insert(source.substr(at, source.find('"', at) - at)).second);
        }
    }
    std::set<std::string> causes;
    for (trouble const& t : read_troubles()) {
        CAPTURE(t.cause);
        CHECK_FALSE(t.seen.empty());
        CHECK(t.remedy.size() > 10);
        CHECK(causes.insert(t.cause).second);
    }
    CHECK(causes == tested);
}
