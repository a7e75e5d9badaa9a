// SPDX-License-Identifier: BSL-1.0
//
// The C++ of docs/ota.md, compiled, and its device updated in virtual time. Each line of the page's
// blocks stands here, in order; tests/house/readme_code.cpp holds them together.
#include <ota/device.hpp>

#include <cleave/connect/tls.hpp>
#include <cleave/pace/token_bucket.hpp>

#include <cstring>

using namespace cleave_test;
using namespace cleave::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t region_size = 128 * 1024;

// clang-format off
struct my_flash {
    std::uint64_t size() const { return region_size; }
    std::size_t block_size() const { return 64 * 1024; } // is erased at a time
    std::size_t program_size() const { return 256; }     // is written at a time
    void erase(std::uint64_t offset, std::error_code& ec);
    void program(std::uint64_t offset, std::span<std::byte const> bytes, std::error_code& ec);
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec);
};

class my_device {
  public:
    using hasher_type = cleave::openssl_hasher; // or the hash unit of the device

    // On the update's strand; must not block.
    std::string current_version(std::string const& module) const;
    auto sink(cleave::firmware const& fw, std::size_t file, std::uint64_t from) {
        return cleave::flash_sink{flash_, buffer_, 2048, fw.files[file].size, from};
    }
    void report_progress(cleave::update_progress const& p);
    void async_report_version(std::string const& module, std::string const& version,
                              std::function<void(std::error_code)> done);

    // In the background; may block.
    std::size_t load(std::string const& module, std::span<std::byte> to, std::error_code& ec);
    void save(std::string const& module, std::span<std::byte const> state, std::error_code& ec);
    cleave::install_result install(cleave::firmware const& fw, std::error_code& ec);
    void confirm(std::string const& module, std::string const& version, std::error_code& ec);

    // Optional: a fresh link when one has expired; and what is in flash, to go on after a power cut.
    void async_ask_again(std::string const& module,
                         std::function<void(std::error_code, cleave::firmware)> got);
    void read_image(cleave::firmware const&, std::size_t, std::uint64_t offset,
                    std::span<std::byte> to, std::error_code& ec) {
        flash_.read(offset, to, ec);
    }
    std::uint64_t image_block(cleave::firmware const&, std::size_t) const {
        return flash_.block_size();
    }

  private:
    my_flash flash_;
    std::array<std::byte, 8192> buffer_;
};
static_assert(cleave::update_device<my_device>);
// clang-format on

// What a device team writes, in memory.
struct {
    std::array<std::byte, region_size> cells;
    std::string running = "1.0";
    std::vector<std::byte> state;
    std::vector<std::string> told;
} hardware;

std::string const digest = "00";
void say(std::string const&) {}
void reboot() {}
void ask_the_platform(my_device&) {}

void my_flash::erase(std::uint64_t offset, std::error_code&) {
    std::memset(hardware.cells.data() + offset, 0xff, block_size());
}
void my_flash::program(std::uint64_t offset, std::span<std::byte const> bytes, std::error_code&) {
    std::memcpy(hardware.cells.data() + offset, bytes.data(), bytes.size());
}
void my_flash::read(std::uint64_t offset, std::span<std::byte> to, std::error_code&) {
    std::memcpy(to.data(), hardware.cells.data() + offset, to.size());
}

std::string my_device::current_version(std::string const&) const { return hardware.running; }
void my_device::report_progress(cleave::update_progress const& p) {
    hardware.told.push_back(std::to_string(p.percent));
}
void my_device::async_report_version(std::string const&, std::string const& version,
                                     std::function<void(std::error_code)> done) {
    hardware.told.push_back("version " + version);
    done({});
}
std::size_t my_device::load(std::string const&, std::span<std::byte> to, std::error_code&) {
    std::copy(hardware.state.begin(), hardware.state.end(), to.begin());
    return hardware.state.size();
}
void my_device::save(std::string const&, std::span<std::byte const> state, std::error_code&) {
    hardware.state.assign(state.begin(), state.end());
}
cleave::install_result my_device::install(cleave::firmware const& fw, std::error_code&) {
    hardware.running = fw.version;
    return cleave::install_result::running;
}
void my_device::confirm(std::string const&, std::string const&, std::error_code&) {}
void my_device::async_ask_again(std::string const&,
                                std::function<void(std::error_code, cleave::firmware)> got) {
    got(cleave::update_error::platform_silent, {});
}

// clang-format off
auto policies() {
    cleave::backoff patient; // a server that is away is waited for: about half a minute
    patient.tries = patient.first_tries = 12;
    patient.longest = 5s;
    return cleave::policies<>{}
        .with_lanes(cleave::fixed_lanes{4}) // as far as the buffer has room for them
        .with_renewal(patient)
        .with_pace(cleave::token_bucket{1'000'000})
        .with_connector(cleave::tls_connector{{.ca_file = "/etc/ca.pem"}});
}

cleave::update_options options() {
    cleave::update_options o;
    o.deadline = 30min;    // of the whole update, as the platform has it
    o.install_time = 2min; // of that, what installing and restarting take
    o.progress_interval = 3s;
    o.progress_step = 5; // per cent
    return o;
}

[[maybe_unused]]
void start(asio::any_io_executor ex, my_device& device) {
    cleave::async_resume_update(
        ex, "default", device, policies(), options(),
        [&device](std::error_code ec, cleave::update_report const& r) {
            if (!ec) return say("version " + r.version + " is in place, and reported");
            if (ec == cleave::update_error::no_update) return; // wait to be told of one
            if (ec == cleave::update_error::firmware_needed) return ask_the_platform(device);
            say("FAILED: " + r.failed->text);
        });
}

[[maybe_unused]]
void told(asio::any_io_executor ex, my_device& device, std::string url) {
    cleave::firmware fw{.module = "default", .version = "2.0", .files = {}};
    fw.files.push_back({url, 4'194'304, "SHA256", digest, "firmware.bin"});
    cleave::async_update(ex, fw, device, policies(), options(),
                         [](std::error_code ec, cleave::update_report const& r) {
                             if (ec == cleave::update_error::restart_needed) return reboot();
                             if (ec) say("FAILED: " + r.failed->text);
                         });
}
// clang-format on

static_assert(cleave::rereading_device<my_device>);
static_assert(cleave::asking_device<my_device>);

/// For the rig.
struct powered_device : my_device {
    [[nodiscard]] static bool dead() noexcept { return false; }
};

} // namespace

TEST_CASE("the page's device is updated, and says so at the end") {
    object const image = object::random(100'001, 1);
    bench b{memory_network::honest(image), {.rate = 50'000}};
    powered_device d;
    auto const r =
        b.update(d, firmware_of(image), b.policies().with_plan(policies().plan), options());
    CHECK(r.ec == std::error_code{});
    CHECK(std::memcmp(hardware.cells.data(), image.bytes.data(), image.bytes.size()) == 0);
    REQUIRE(hardware.told.size() > 2);
    CHECK(hardware.told.front() == "version 1.0");
    CHECK(hardware.told.back() == "version 2.0");
    CHECK(hardware.state.empty());
}
