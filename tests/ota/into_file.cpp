// SPDX-License-Identifier: BSL-1.0
//
// Updates into files, which go on by their journal and not by what the device reads back.
#include <ota/file_device.hpp>

using namespace cleave_test;
using namespace cleave::testing;
using namespace std::chrono_literals;

namespace {

object const image = object::random(3'000'000, 1);

/// A journal on that disk, durable; a copy has nothing open.
class disk_journal : public cleave::basic_file_journal<memory_file> {
    using base = cleave::basic_file_journal<memory_file>;

  public:
    explicit disk_journal(memory_disk const& disk)
        : base(base{memory_file{disk}}.durably()), disk_(disk) {}
    disk_journal(disk_journal&&) noexcept = default;
    disk_journal(disk_journal const& other) : disk_journal(other.disk_) {}

  private:
    memory_disk disk_;
};

} // namespace

TEST_CASE("an image in a file goes on by its journal after a power cut") {
    bench b{memory_network::honest(image), {.rate = 200'000}};
    memory_disk disk;
    kept k;
    platform p;
    auto const how = [&] { return b.policies().with_journal(disk_journal{disk}); };
    {
        file_device d{k, p, disk};
        b.time.after(5s, [&] { d.dies = true; });
        (void)b.update(d, firmware_of(image), how());
        REQUIRE(d.dead());
    }
    disk.crash();
    file_device d{k, p, disk};
    auto const r = b.update(d, firmware_of(image), how());
    CHECK(r.ec == std::error_code{});
    CHECK(r.report.bytes_resumed > 500'000);
    CHECK(disk.bytes("/image0") == image.bytes);
    CHECK(p.versions.back() == "default 2.0");
}

TEST_CASE("a full disk is a failure of the installation, and the next call goes on") {
    bench b{memory_network::honest(image)};
    memory_disk disk;
    kept k;
    platform p;
    disk.capacity(1'000'000);
    auto const how = [&] { return b.policies().with_journal(disk_journal{disk}); };
    {
        file_device d{k, p, disk};
        auto const r = b.update(d, firmware_of(image), how());
        CHECK(r.ec == std::errc::no_space_on_device);
        REQUIRE(p.failures.size() == 1);
        CHECK(p.failures[0].step == cleave::update_step::install);
        CHECK(p.failures[0].text.find("make room on the disk") != std::string::npos);
    }
    disk.capacity(10'000'000);
    file_device d{k, p, disk};
    CHECK(b.update(d, firmware_of(image), how()).ec == std::error_code{});
    CHECK(disk.bytes("/image0") == image.bytes);
}

TEST_CASE("a device that cannot ask again ends with what the policies' source says") {
    bench b{[](memory_peer& peer, seen_request const& r) {
        if (r.target == "/fw") return send(peer, {.head = reply(403, "Expired")});
        send(peer, honest_reply(r, image));
    }};
    memory_disk disk;
    kept k;
    platform p;
    file_device d{k, p, disk};
    SECTION("nothing") {
        auto const r = b.update(d, firmware_of(image));
        CHECK(r.ec == cleave::error::forbidden);
        REQUIRE(p.failures.size() == 1);
        CHECK(p.failures[0].step == cleave::update_step::download);
    }
    SECTION("a fresh link") {
        auto source = cleave::callback_source{
            [](cleave::request const&, std::function<void(std::error_code, cleave::request)> done) {
                done({}, {"http://example.org/fresh"});
            }};
        auto const r = b.update(d, firmware_of(image), b.policies().with_source(source));
        CHECK(r.ec == std::error_code{});
        CHECK(disk.bytes("/image0") == image.bytes);
    }
}
