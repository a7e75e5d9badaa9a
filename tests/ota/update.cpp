// SPDX-License-Identifier: BSL-1.0
//
// Whole updates in virtual time: stages and their order, what is a success and what is not, and
// power that fails at every call of the device.
#include <ota/device.hpp>

using namespace cleave_test;
using namespace cleave::testing;
using namespace std::chrono_literals;

namespace {
object const image = object::random(100'000, 1);
} // namespace

TEST_CASE("an update goes through its stages, and the version reported is the success") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    {
        flash_device d{k, p};
        auto const first = b.update(d, firmware_of(image));
        CHECK(first.ec == cleave::update_error::restart_needed);
        CHECK_FALSE(first.report.failed);
        CHECK(first.report.stage == cleave::update_stage::installed);
    }
    CHECK(k.flash[0].text(image.bytes.size()) == image.bytes);
    // A finished download and an installation are no success, and nobody was told so.
    CHECK(p.versions == std::vector<std::string>{"default 1.0"});
    k.restart();
    flash_device d{k, p};
    auto const second = b.resume(d);
    CHECK(second.ec == std::error_code{});
    CHECK(second.report.stage == cleave::update_stage::reported);
    CHECK(second.report.version == "2.0");
    CHECK(p.order == std::vector<std::string>{"version 1.0", "told", "downloading", "sink 0 from 0",
                                              "verified", "install", "installed", "installed",
                                              "confirm", "confirmed", "version 2.0", "reported"});
    CHECK(k.states["default"].empty());
}

TEST_CASE("an installation that needs no restart goes through in one call") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    flash_device d{k, p};
    d.running = true;
    auto const r = b.update(d, firmware_of(image));
    CHECK(r.ec == std::error_code{});
    CHECK(r.report.former == "1.0");
    CHECK(r.report.running == "2.0");
    CHECK(r.report.version_told);
    CHECK(r.report.bytes == image.bytes.size());
    CHECK(r.report.downloads.size() == 1);
    CHECK(r.report.downloads[0].digest_verified);
    CHECK(p.stages == std::vector<std::string>{"told", "downloading", "verified", "installed",
                                               "confirmed", "reported"});
    CHECK(p.versions == std::vector<std::string>{"default 1.0", "default 2.0"});
    CHECK(p.failures.empty());
}

TEST_CASE("a device that runs the expected version already says so, and that is all") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    k.running = "2.0";
    flash_device d{k, p};
    auto const r = b.update(d, firmware_of(image));
    CHECK(r.ec == std::error_code{});
    CHECK(p.versions.back() == "default 2.0");
    CHECK(b.network.attempts() == 0);
    CHECK(k.states["default"].empty());
}

TEST_CASE("at every start the version is reported, with or without an update") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    {
        flash_device d{k, p};
        CHECK(b.resume(d).ec == cleave::update_error::no_update);
        CHECK(p.versions == std::vector<std::string>{"default 1.0"});
    }
    {
        flash_device d{k, p};
        d.dies_at = 20; // within the download
        (void)b.update(d, firmware_of(image));
        REQUIRE(d.dead());
        p.versions.clear();
    }
    flash_device d{k, p};
    auto const r = b.resume(d);
    CHECK(r.ec == cleave::update_error::firmware_needed);
    CHECK(r.report.version == "2.0");
    CHECK(r.report.stage == cleave::update_stage::downloading);
    CHECK(p.versions == std::vector<std::string>{"default 1.0"});
}

TEST_CASE("power that fails at any call of the device costs time, and nothing else") {
    std::uint64_t resumed = 0;
    for (bool const after : {false, true}) {
        for (std::size_t n = 0;; ++n) {
            CAPTURE(n, after);
            bench b{memory_network::honest(image), {.rate = 1'000'000}};
            kept k;
            platform p;
            bool cut = false;
            bool done = false;
            std::string last;
            std::size_t before = 0; // calls in earlier starts
            for (int start = 0; start != 6 && !done; ++start) {
                k.restart();
                flash_device d{k, p};
                if (!cut) {
                    // Counted over all starts of a run without cuts.
                    d.dies_at = n - std::min(n, before);
                    d.dies_after = after;
                }
                auto r = b.resume(d, often);
                if (!d.dead() && r.ec != std::error_code{}) {
                    // The platform asks for the update again, as long as it sees the old version.
                    if (k.running == "2.0") {
                        done = true;
                        break;
                    }
                    r = b.update(d, firmware_of(image), often);
                    resumed += r.report.bytes_resumed;
                }
                if (d.dead()) {
                    cut = true;
                    last = d.names.back();
                    continue;
                }
                before += d.calls();
                if (r.ec == cleave::update_error::restart_needed) continue;
                CHECK(r.ec == std::error_code{});
                done = r.ec == std::error_code{};
            }
            CAPTURE(last);
            REQUIRE(done);
            REQUIRE(k.running == "2.0");
            REQUIRE(p.failures.empty());
            REQUIRE(p.versions.back() == "default 2.0");
            REQUIRE(k.flash[0].text(image.bytes.size()) == image.bytes);
            // Not before it was confirmed.
            auto const confirmed = std::find(p.order.begin(), p.order.end(), "confirm");
            auto const reported = std::find(p.order.begin(), p.order.end(), "version 2.0");
            REQUIRE(confirmed < reported);
            if (!cut) break;
        }
    }
    CHECK(resumed > 100'000);
}

TEST_CASE("an image goes on where it was, and only the rest is fetched") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    std::uint64_t before = 0;
    {
        flash_device d{k, p};
        d.dies_at = 40;
        (void)b.update(d, firmware_of(image), often);
        REQUIRE(d.dead());
        before = b.network.requests().size();
    }
    flash_device d{k, p};
    d.running = true;
    auto const r = b.update(d, firmware_of(image), often);
    CHECK(r.ec == std::error_code{});
    CHECK(r.report.bytes_resumed >= 16 * 1024);
    CHECK(r.report.bytes_resumed % 4096 == 0);
    CHECK(r.report.downloads.at(0).bytes + r.report.bytes_resumed == image.bytes.size());
    CHECK(k.flash[0].text(image.bytes.size()) == image.bytes);
    for (std::size_t i = before; i != b.network.requests().size(); ++i)
        CHECK(b.network.requests()[i].range()->first >= r.report.bytes_resumed);
    // Progress goes on from there, too.
    CHECK(p.progress.back() == 100);
}

TEST_CASE("a download that failed goes on with the next call") {
    bool up = true;
    std::uint64_t sent = 0;
    object const o = image;
    bench b{[&](memory_peer& peer, seen_request const& r) {
        if (sent > 40'000 && up) up = false;
        if (!up) return send(peer, {.head = reply(404, "Gone away")});
        // No connection lasts long.
        auto right = honest_reply(r, o);
        right.cut_at = right.head.size() + std::min<std::size_t>(right.body.size(), 10'000);
        right.end = ending::fin;
        sent += *right.cut_at - right.head.size();
        send(peer, std::move(right));
    }};
    kept k;
    platform p;
    flash_device d{k, p};
    d.running = true;
    auto const first = b.update(d, firmware_of(image));
    REQUIRE(first.ec == cleave::error::not_found);
    REQUIRE(first.report.failed);
    CHECK(first.report.failed->step == cleave::update_step::download);
    REQUIRE(p.failures.size() == 1);
    CHECK(p.failures[0].text == first.report.failed->text);
    up = true;
    sent = 0;
    flash_device again{k, p};
    again.running = true;
    b.network = memory_network{memory_network::honest(image)};
    auto const second = b.update(again, firmware_of(image));
    CHECK(second.ec == std::error_code{});
    CHECK(second.report.bytes_resumed >= 4096);
    CHECK(k.flash[0].text(image.bytes.size()) == image.bytes);
}

TEST_CASE("several files are fetched one after the other, each proven") {
    object const second = object::random(50'000, 2, "\"other\"");
    bench b{[&](memory_peer& peer, seen_request const& r) {
        send(peer, honest_reply(r, r.target == "/b" ? second : image));
    }};
    kept k;
    platform p;
    cleave::firmware fw = firmware_of(image);
    fw.files.push_back(file_of(second, "http://example.org/b"));
    fw.files[1].method = "Md5";
    fw.files[1].digest = digest_hex(second.bytes, "MD5");
    SECTION("in one go") {
        flash_device d{k, p};
        d.running = true;
        auto const r = b.update(d, fw, often);
        CHECK(r.ec == std::error_code{});
        CHECK(r.report.downloads.size() == 2);
        CHECK(r.report.bytes == 150'000);
    }
    SECTION("with the power cut within the second") {
        std::size_t before = 0;
        {
            flash_device d{k, p};
            d.dies_at = 100;
            (void)b.update(d, fw, often);
            REQUIRE(d.dead());
            before = b.network.requests().size();
        }
        flash_device d{k, p};
        d.running = true;
        auto const r = b.update(d, fw, often);
        CHECK(r.ec == std::error_code{});
        CHECK(r.report.bytes_resumed > image.bytes.size());
        for (std::size_t i = before; i != b.network.requests().size(); ++i)
            CHECK(b.network.requests()[i].target == "/b");
    }
    CHECK(k.flash[0].text(image.bytes.size()) == image.bytes);
    CHECK(k.flash[1].text(second.bytes.size()) == second.bytes);
    for (std::size_t i = 1; i < p.progress.size(); ++i)
        CHECK(p.progress[i - 1] <= p.progress[i] + 100 * unsigned{p.progress[i] == 0});
}

TEST_CASE("two modules are updated side by side") {
    object const other = object::random(60'000, 3, "\"m\"");
    bench b{[&](memory_peer& peer, seen_request const& r) {
        send(peer, honest_reply(r, r.target == "/m" ? other : image));
    }};
    kept first;
    kept second;
    platform p;
    flash_device d{first, p};
    flash_device m{second, p};
    d.running = m.running = true;
    cleave::firmware fw = firmware_of(other);
    fw.module = "modem";
    fw.version = "7";
    fw.files[0].url = "http://example.org/m";
    asio::io_context context;
    int done = 0;
    auto const count = [&](std::error_code ec, cleave::update_report const& r) {
        CHECK(ec == std::error_code{});
        CHECK(r.stage == cleave::update_stage::reported);
        ++done;
    };
    cleave::async_update(context.get_executor(), firmware_of(image), d, b.policies(), count);
    cleave::async_update(context.get_executor(), fw, m, b.policies(), count);
    REQUIRE(b.time.run(context, [&] { return done == 2; }));
    CHECK(first.flash[0].text(image.bytes.size()) == image.bytes);
    CHECK(second.flash[0].text(other.bytes.size()) == other.bytes);
    auto const told = [&](std::string const& what) {
        return std::count(p.versions.begin(), p.versions.end(), what);
    };
    CHECK(told("default 2.0") == 1);
    CHECK(told("modem 7") == 1);
}

TEST_CASE("another firmware in between begins from the start") {
    object const newer = object::random(100'000, 9, "\"v9\"");
    bool has_newer = false;
    bench b{[&](memory_peer& peer, seen_request const& r) {
        send(peer, honest_reply(r, has_newer ? newer : image));
    }};
    kept k;
    platform p;
    {
        flash_device d{k, p};
        d.dies_at = 40;
        (void)b.update(d, firmware_of(image), often);
        REQUIRE(d.dead());
    }
    has_newer = true;
    flash_device d{k, p};
    d.running = true;
    auto const r = b.update(d, firmware_of(newer), often);
    CHECK(r.ec == std::error_code{});
    CHECK(r.report.bytes_resumed == 0);
    CHECK(k.flash[0].text(newer.bytes.size()) == newer.bytes);
}
