// SPDX-License-Identifier: BSL-1.0
//
// Updates that fail: each by its step, code and text, and with what another call can go on with.
#include <ota/device.hpp>

using namespace cleave_test;
using namespace cleave::testing;
using namespace std::chrono_literals;
using cleave::update_error;
using cleave::update_step;

namespace {

object const image = object::random(100'000, 1);

bool told(platform const& p, std::string const& version) {
    return std::find(p.versions.begin(), p.versions.end(), "default " + version) !=
           p.versions.end();
}

/// Exactly one failure was passed on, and it is the report's.
cleave::update_failure failed(platform const& p, bench::outcome const& r) {
    REQUIRE(r.called);
    REQUIRE(r.report.failed);
    REQUIRE(p.failures.size() == 1);
    CHECK(p.failures[0].step == r.report.failed->step);
    CHECK(p.failures[0].code == r.ec);
    CHECK(p.failures[0].text == r.report.failed->text);
    return *r.report.failed;
}

} // namespace

TEST_CASE("a firmware that is unfit is refused before anything else") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    flash_device d{k, p};
    cleave::firmware fw = firmware_of(image);
    fw.files[0].digest.pop_back();
    auto const r = b.update(d, fw);
    CHECK(r.ec == update_error::digest_wrong_length);
    auto const f = failed(p, r);
    CHECK(f.step == update_step::upgrade);
    CHECK(f.text == "file 1: " + r.ec.message());
    CHECK(d.calls() == 0);
    CHECK(b.network.attempts() == 0);
}

TEST_CASE("segments that overlap, or are for another size, are refused before any connection") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    flash_device d{k, p};
    auto const with = [&](cleave::listed_segments list) {
        return b.update(d, firmware_of(image), b.policies().with_plan(std::move(list)));
    };
    SECTION("overlap") {
        auto const r = with({{0, 1024}, {1024, 99'999}});
        CHECK(r.ec == cleave::error::segments_overlap);
        auto const f = failed(p, r);
        CHECK(f.step == update_step::upgrade);
        CHECK(f.text.starts_with("segments [0,1024] and [1024,99999] overlap at byte 1024; use "
                                 "[1025,99999]: two segments overlap"));
    }
    SECTION("another size") {
        auto const r = with({{0, 1024}, {1025, 99'998}});
        CHECK(r.ec == cleave::error::segments_do_not_match_size);
        CHECK(failed(p, r).step == update_step::upgrade);
    }
    CHECK(b.network.attempts() == 0);
    CHECK(d.calls() == 0);
}

TEST_CASE("a list of segments holds for what is left of an image, too") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    auto const list = [] {
        return cleave::listed_segments{{0, 29'999}, {30'000, 69'999}, {70'000, 99'999}};
    };
    {
        flash_device d{k, p};
        d.dies_at = 40;
        (void)b.update(d, firmware_of(image), b.policies().with_plan(list()), often);
        REQUIRE(d.dead());
    }
    flash_device d{k, p};
    d.running = true;
    auto const r = b.update(d, firmware_of(image), b.policies().with_plan(list()), often);
    CHECK(r.ec == std::error_code{});
    CHECK(r.report.bytes_resumed > 0);
    CHECK(k.flash[0].text(image.bytes.size()) == image.bytes);
}

TEST_CASE("a wrong digest is a failure of verification, and nothing is installed") {
    object const other = object::random(100'000, 2);
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    flash_device d{k, p};
    cleave::update_options all;
    all.progress_interval = 0s;
    all.progress_step = 1;
    auto const r = b.update(d, firmware_of(other), all);
    CHECK(r.ec == cleave::error::digest_mismatch);
    // All bytes were there, and yet it was not 100.
    CHECK(p.progress.back() == 99);
    auto const f = failed(p, r);
    CHECK(f.step == update_step::verification);
    CHECK(f.text.starts_with("its digest is " + sha256_hex(image.bytes) +
                             ", but the platform told " + sha256_hex(other.bytes) + ": "));
    CHECK(k.next.empty());
    CHECK(r.report.stage == cleave::update_stage::downloading);
    CHECK(std::find(p.progress.begin(), p.progress.end(), 100U) == p.progress.end());
    // Nothing of it is used by the next call.
    auto const state = cleave::decode_update_state(k.states["default"]);
    REQUIRE(state);
    CHECK(state->bytes == 0);
}

TEST_CASE("what an earlier run left of an object that has changed is fetched again, once") {
    object const right = object::random(100'000, 2, "\"v2\"");
    bool changed = false;
    bench b{[&](memory_peer& peer, seen_request const& r) {
        send(peer, honest_reply(r, changed ? right : image));
    }};
    kept k;
    platform p;
    {
        flash_device d{k, p};
        d.dies_at = 40;
        (void)b.update(d, firmware_of(right), often);
        REQUIRE(d.dead());
    }
    SECTION("and is right then") {
        changed = true;
        flash_device d{k, p};
        d.running = true;
        auto const r = b.update(d, firmware_of(right), often);
        CHECK(r.ec == std::error_code{});
        CHECK(r.report.downloads.size() == 2);
        CHECK(k.flash[0].text(right.bytes.size()) == right.bytes);
        CHECK(p.failures.empty());
    }
    SECTION("and is wrong for good") {
        flash_device d{k, p};
        auto const r = b.update(d, firmware_of(right), often);
        CHECK(r.ec == cleave::error::digest_mismatch);
        CHECK(r.report.downloads.size() == 2);
        CHECK(failed(p, r).step == update_step::verification);
    }
}

TEST_CASE("an object of another size is refused before a byte of it is written") {
    for (std::size_t const size : {99'999U, 100'001U}) {
        CAPTURE(size);
        object const other = object::random(size, 5);
        bench b{memory_network::honest(other)};
        kept k;
        platform p;
        flash_device d{k, p};
        auto const r = b.update(d, firmware_of(image));
        CHECK(r.report.failed->code == update_error::size_differs);
        CHECK(r.report.failed->step == update_step::verification);
        CHECK(r.report.failed->text.find("the platform told 100000 bytes") != std::string::npos);
        CHECK(k.flash[0].log.empty());
    }
}

TEST_CASE("another version than the expected one is a failure that names both") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    flash_device d{k, p};
    d.installs_as = "3.0";
    CHECK(b.update(d, firmware_of(image)).ec == update_error::restart_needed);
    k.restart();
    flash_device again{k, p};
    auto const r = b.resume(again);
    CHECK(r.ec == update_error::version_wrong);
    auto const f = failed(p, r);
    CHECK(f.step == update_step::upgrade);
    CHECK(f.text.starts_with("it runs 3.0, expected was 2.0: "));
    // The platform sees which one it is, and that is never taken for confirmed.
    CHECK(told(p, "3.0"));
    CHECK_FALSE(told(p, "2.0"));
    CHECK(std::find(again.names.begin(), again.names.end(), "confirm") == again.names.end());
    CHECK(k.states["default"].empty());
}

TEST_CASE("a device that still runs the old version installs once more, and then gives up") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    int installs = 0;
    bench::outcome r;
    for (int start = 0; start != 6; ++start) {
        flash_device d{k, p};
        d.installs_as = "1.0";
        r = b.resume(d);
        if (r.ec == update_error::no_update || r.ec == update_error::firmware_needed)
            r = b.update(d, firmware_of(image));
        installs += static_cast<int>(std::count(d.names.begin(), d.names.end(), "install"));
        k.restart();
        if (r.ec != update_error::restart_needed) break;
    }
    CHECK(r.ec == update_error::version_unchanged);
    CHECK(installs == 2);
    CHECK(failed(p, r).text.starts_with("it runs 1.0, expected was 2.0: "));
    // One download was enough.
    CHECK(std::count(p.order.begin(), p.order.end(), "sink 0 from 0") == 1);
}

TEST_CASE("a version that cannot be reported is no success, and is reported at the next start") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    bool silent = true;
    p.on_version = [&](std::function<void(std::error_code)> done) {
        if (!silent) done({});
    };
    flash_device d{k, p};
    d.running = true;
    auto const from = b.time.now();
    SECTION("with a deadline") {
        cleave::update_options options;
        options.deadline = 5min;
        auto const r = b.update(d, firmware_of(image), options);
        CHECK(r.ec == update_error::version_not_reported);
        CHECK(failed(p, r).step == update_step::upgrade);
        CHECK(b.time.now() - from >= 5min);
        CHECK(b.time.now() - from < 6min);
    }
    SECTION("without one") {
        auto const r = b.update(d, firmware_of(image));
        CHECK(r.ec == update_error::version_not_reported);
        CHECK(failed(p, r).text.starts_with("version 2.0: "));
        CHECK(b.time.now() - from >= 10min);
        CHECK(b.time.now() - from < 11min);
    }
    CHECK(p.progress.back() == 100);
    CHECK_FALSE(k.states["default"].empty());
    silent = false;
    flash_device again{k, p};
    auto const r = b.resume(again);
    CHECK(r.ec == std::error_code{});
    CHECK(r.report.stage == cleave::update_stage::reported);
}

TEST_CASE("a channel that is gone for a while costs a few tries") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    int tries = 0;
    p.on_version = [&](std::function<void(std::error_code)> done) {
        done(++tries < 4 ? make_error_code(std::errc::not_connected) : std::error_code{});
    };
    flash_device d{k, p};
    d.running = true;
    auto const r = b.update(d, firmware_of(image));
    CHECK(r.ec == std::error_code{});
    CHECK(tries == 4);
    CHECK(p.failures.empty());
}

TEST_CASE("a link that expires half-way is renewed by the platform, and the update goes on") {
    std::uint64_t sent = 0;
    bench b{[&](memory_peer& peer, seen_request const& r) {
        if (r.target == "/fw" && sent > 30'000) return send(peer, {.head = reply(403, "Expired")});
        // No connection lasts long.
        auto right = honest_reply(r, image);
        right.cut_at = right.head.size() + std::min<std::size_t>(right.body.size(), 10'000);
        right.end = ending::fin;
        sent += *right.cut_at - right.head.size();
        send(peer, std::move(right));
    }};
    kept k;
    platform p;
    flash_device d{k, p};
    d.running = true;
    d.window = 4096;
    SECTION("with the same firmware") {
        p.on_ask = [&](std::function<void(std::error_code, cleave::firmware)> got) {
            cleave::firmware fw = firmware_of(image);
            fw.files[0].url = "http://example.org/fresh";
            got({}, fw);
        };
        auto const r = b.update(d, firmware_of(image));
        CHECK(r.ec == std::error_code{});
        CHECK(p.asked == 1);
        CHECK(k.flash[0].text(image.bytes.size()) == image.bytes);
        CHECK(b.network.requests().back().target == "/fresh");
    }
    SECTION("not with another one") {
        p.on_ask = [&](std::function<void(std::error_code, cleave::firmware)> got) {
            cleave::firmware fw = firmware_of(image);
            fw.version = "2.1";
            got({}, fw);
        };
        auto const r = b.update(d, firmware_of(image));
        CHECK(r.ec == update_error::firmware_changed);
        CHECK(failed(p, r).step == update_step::upgrade);
    }
    SECTION("nor with one that is unfit") {
        p.on_ask = [&](std::function<void(std::error_code, cleave::firmware)> got) {
            cleave::firmware fw = firmware_of(image);
            fw.files.clear();
            got({}, fw);
        };
        CHECK(b.update(d, firmware_of(image)).ec == update_error::no_file);
    }
    SECTION("nor when the platform does not answer well") {
        p.on_ask = [&](std::function<void(std::error_code, cleave::firmware)> got) {
            got(make_error_code(std::errc::timed_out), {});
        };
        CHECK(b.update(d, firmware_of(image)).ec == std::errc::timed_out);
    }
}

TEST_CASE("without a trust store there is one attempt, and it is named") {
    bench b{memory_network::honest(image)};
    b.network.on_connect([](std::size_t) { return cleave::error::trust_store_unreadable; });
    kept k;
    platform p;
    flash_device d{k, p};
    auto const r = b.update(d, firmware_of(image));
    CHECK(r.ec == cleave::error::trust_store_unreadable);
    CHECK(b.network.attempts() == 1);
    auto const f = failed(p, r);
    CHECK(f.step == update_step::upgrade);
    CHECK(f.text.find("the file or directory of trusted certificates cannot be read") !=
          std::string::npos);
}

TEST_CASE("flash that fails is a failure of the installation") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    k.flash[0].fails_at = 40'960;
    flash_device d{k, p};
    auto const r = b.update(d, firmware_of(image), often);
    CHECK(r.ec == std::errc::io_error);
    CHECK(failed(p, r).step == update_step::install);
    // What is in flash stays, and the next call goes on with it.
    k.flash[0].fails_at.reset();
    flash_device again{k, p};
    again.running = true;
    auto const second = b.update(again, firmware_of(image), often);
    CHECK(second.ec == std::error_code{});
    CHECK(second.report.bytes_resumed > 0);
}

TEST_CASE("an installation that fails can be tried again without a download") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    flash_device d{k, p};
    d.install_fails = make_error_code(std::errc::device_or_resource_busy);
    auto const r = b.update(d, firmware_of(image));
    CHECK(r.ec == std::errc::device_or_resource_busy);
    auto const f = failed(p, r);
    CHECK(f.step == update_step::install);
    CHECK(f.text.starts_with("installing version 2.0: "));
    auto const requests = b.network.requests().size();
    flash_device again{k, p};
    again.running = true;
    CHECK(b.update(again, firmware_of(image)).ec == std::error_code{});
    CHECK(b.network.requests().size() == requests);
}

TEST_CASE("a version that does not prove itself is not reported, but the one that runs then is") {
    bench b{memory_network::honest(image)};
    kept k;
    platform p;
    flash_device d{k, p};
    d.running = true;
    d.confirm_fails = make_error_code(std::errc::io_error);
    auto const r = b.update(d, firmware_of(image));
    CHECK(r.ec == std::errc::io_error);
    auto const f = failed(p, r);
    CHECK(f.step == update_step::install);
    CHECK(f.text.starts_with("confirming version 2.0: "));
    CHECK_FALSE(told(p, "2.0"));
    CHECK(p.versions.back() == "default 1.0");
    CHECK(k.states["default"].empty());
}

TEST_CASE("an update that is cancelled ends, is not told, and can go on") {
    bench b{memory_network::honest(image), {.rate = 10'000}};
    kept k;
    platform p;
    cleave::control steer;
    SECTION("while it downloads") {
        flash_device d{k, p};
        b.time.after(3s, [&] { steer.cancel(); });
        auto const r = b.update(d, firmware_of(image), b.policies().with_control(steer), often);
        CHECK(r.ec == cleave::error::cancelled);
        CHECK(p.failures.empty());
        flash_device again{k, p};
        again.running = true;
        auto const second = b.update(again, firmware_of(image), often);
        CHECK(second.ec == std::error_code{});
        CHECK(second.report.bytes_resumed > 0);
    }
    SECTION("while it waits for the platform") {
        p.on_version = [](std::function<void(std::error_code)> const&) {};
        flash_device d{k, p};
        d.running = true;
        b.time.after(1min, [&] { steer.cancel(); });
        auto const r = b.update(d, firmware_of(image), b.policies().with_control(steer));
        CHECK(r.ec == cleave::error::cancelled);
        CHECK(b.time.now() < 2min);
    }
    SECTION("before it began") {
        steer.cancel();
        flash_device d{k, p};
        auto const r = b.update(d, firmware_of(image), b.policies().with_control(steer));
        CHECK(r.ec == cleave::error::cancelled);
        CHECK(b.network.attempts() == 0);
    }
}
