// SPDX-License-Identifier: BSL-1.0
//
// A device in memory, and a world to update it in: what it keeps outlives its power, its flash
// refuses whatever real flash would suffer from, and the power can fail at any of its calls.
#pragma once

#include <support/catch.hpp>
#include <support/digest.hpp>

#include <cleave/ota/update.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>
#include <cleave/verify/openssl_hasher.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_test {

/// NOR flash: erasing makes ones, programming needs erased cells, and both whole units.
class memory_flash {
  public:
    explicit memory_flash(std::uint64_t size = 256 * 1024, std::size_t block = 4096,
                          std::size_t unit = 256)
        : cells_(static_cast<std::size_t>(size), std::byte{0}), fresh_(cells_.size(), false),
          block_(block), unit_(unit) {}

    [[nodiscard]] std::uint64_t size() const { return cells_.size(); }
    [[nodiscard]] std::size_t block_size() const { return block_; }
    [[nodiscard]] std::size_t program_size() const { return unit_; }

    void erase(std::uint64_t offset, std::error_code& ec) {
        if (offset % block_ != 0 || offset >= cells_.size())
            throw std::logic_error("erases what is no block");
        log.push_back("e" + std::to_string(offset));
        if (fails_at == offset) {
            ec = std::make_error_code(std::errc::io_error);
            return;
        }
        auto const at = static_cast<std::ptrdiff_t>(offset);
        auto const n = static_cast<std::ptrdiff_t>(block_);
        std::fill_n(cells_.begin() + at, n, std::byte{0xff});
        std::fill_n(fresh_.begin() + at, n, true);
    }
    void program(std::uint64_t offset, std::span<std::byte const> bytes, std::error_code&) {
        if (offset % unit_ != 0 || bytes.size() % unit_ != 0 || bytes.empty())
            throw std::logic_error("programs less than a unit");
        if (offset / block_ != (offset + bytes.size() - 1) / block_)
            throw std::logic_error("programs across blocks");
        log.push_back("p" + std::to_string(offset) + "+" + std::to_string(bytes.size()));
        for (std::size_t i = 0; i != bytes.size(); ++i) {
            auto const at = static_cast<std::size_t>(offset) + i;
            if (!fresh_[at]) throw std::logic_error("programs what is not erased");
            fresh_[at] = false;
            cells_[at] = bytes[i];
        }
    }
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code&) const {
        std::copy_n(cells_.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
    }

    [[nodiscard]] std::string text(std::size_t n) const {
        return {reinterpret_cast<char const*>(cells_.data()), n};
    }

    std::vector<std::string> log;
    std::optional<std::uint64_t> fails_at;

  private:
    std::vector<std::byte> cells_;
    std::vector<bool> fresh_;
    std::size_t block_;
    std::size_t unit_;
};

/// What outlives the power.
struct kept {
    std::map<std::string, std::vector<std::byte>> states;
    std::vector<memory_flash> flash = std::vector<memory_flash>(2);
    std::string running = "1.0";
    /// The version that runs after the next start.
    std::string next;

    void restart() {
        if (!next.empty()) running = next;
    }
};

/// The other end, as far as the device sees it. It outlives the power, too.
struct platform {
    std::vector<std::string> versions;
    std::vector<unsigned> progress; ///< per cent, and when
    std::vector<std::chrono::nanoseconds> times;
    std::vector<std::string> stages;
    std::vector<cleave::deadline_warning> late;
    std::vector<cleave::update_failure> failures;
    std::vector<std::string> order; ///< all of them
    std::function<void(std::function<void(std::error_code)>)> on_version;
    std::function<void(std::function<void(std::error_code, cleave::firmware)>)> on_ask;
    int asked = 0;
};

/// A device with flash, of which each call may be its last.
class flash_device {
  public:
    using hasher_type = cleave::openssl_hasher;

    flash_device(kept& k, platform& p) : kept_(k), platform_(p) {}

    [[nodiscard]] std::string current_version(std::string const&) const { return kept_.running; }

    auto sink(cleave::firmware const& fw, std::size_t i, std::uint64_t from) {
        note("sink " + std::to_string(i) + " from " + std::to_string(from));
        auto write = [this, writer = cleave::block_writer<memory_flash>{kept_.flash[i],
                                                                        fw.files[i].size, from}](
                         std::span<std::byte const> bytes, std::error_code& ec) mutable {
            call("write", [&] { writer(bytes, ec); });
        };
        return cleave::ordered_sink{std::span{buffer_}.first(window), chunk, std::move(write)};
    }
    void report_progress(cleave::update_progress const& p) {
        if (dead_) return;
        if (p.failed != nullptr) return platform_.failures.push_back(*p.failed);
        if (p.late != nullptr) return platform_.late.push_back(*p.late);
        platform_.progress.push_back(p.percent);
        platform_.times.push_back(cleave::testing::world::current().now());
    }
    void async_report_version(std::string const& module, std::string const& version,
                              std::function<void(std::error_code)> done) {
        call("version", [&] {
            platform_.versions.push_back(module + " " + version);
            note("version " + version);
            if (platform_.on_version)
                platform_.on_version(std::move(done));
            else
                done({});
        });
    }
    std::size_t load(std::string const& module, std::span<std::byte> to, std::error_code&) {
        std::size_t n = 0;
        call("load", [&] {
            auto const& state = kept_.states[module];
            std::copy(state.begin(), state.end(), to.begin());
            n = state.size();
        });
        return n;
    }
    void save(std::string const& module, std::span<std::byte const> bytes, std::error_code&) {
        call("save", [&] { kept_.states[module] = {bytes.begin(), bytes.end()}; });
    }
    cleave::install_result install(cleave::firmware const& fw, std::error_code& ec) {
        call("install", [&] {
            note("install");
            ec = install_fails;
            if (!ec) kept_.next = installs_as.empty() ? fw.version : installs_as;
            if (running && !ec) kept_.running = kept_.next;
        });
        return running ? cleave::install_result::running : cleave::install_result::restart;
    }
    void confirm(std::string const&, std::string const&, std::error_code& ec) {
        call("confirm", [&] {
            note("confirm");
            ec = confirm_fails;
            if (ec) kept_.running = "1.0"; // back to the other slot
        });
    }
    void async_ask_again(std::string const&,
                         std::function<void(std::error_code, cleave::firmware)> got) {
        call("ask", [&] {
            ++platform_.asked;
            if (platform_.on_ask) platform_.on_ask(std::move(got));
        });
    }
    void read_image(cleave::firmware const&, std::size_t i, std::uint64_t offset,
                    std::span<std::byte> to, std::error_code& ec) {
        call("read", [&] { kept_.flash[i].read(offset, to, ec); });
    }
    [[nodiscard]] std::uint64_t image_block(cleave::firmware const&, std::size_t i) const {
        return kept_.flash[i].block_size();
    }
    void entered(std::string const&, cleave::update_stage stage) {
        if (dead_) return;
        platform_.stages.push_back(to_string(stage));
        note(to_string(stage));
    }

    // Settings.
    std::size_t window = 8192;
    std::size_t chunk = 2048;
    bool running = false;    ///< installing needs no restart
    std::string installs_as; ///< another version than the firmware says
    std::error_code install_fails;
    std::error_code confirm_fails;
    /// The power fails at this call: before it has an effect, or after.
    std::size_t dies_at = std::numeric_limits<std::size_t>::max();
    bool dies_after = false;

    [[nodiscard]] bool dead() const noexcept { return dead_; }
    [[nodiscard]] std::size_t calls() const noexcept { return calls_; }
    std::vector<std::string> names; ///< of the calls

  private:
    // Without power nothing has an effect any more.
    template <class F>
    void call(char const* name, F f) {
        if (dead_) return;
        names.emplace_back(name);
        bool const last = calls_++ == dies_at;
        if (last && !dies_after) {
            dead_ = true;
            return;
        }
        f();
        if (last) dead_ = true;
    }
    void note(std::string text) {
        if (!dead_) platform_.order.push_back(std::move(text));
    }

    kept& kept_;
    platform& platform_;
    std::array<std::byte, 64 * 1024> buffer_{};
    bool dead_ = false;
    std::size_t calls_ = 0;
};

static_assert(cleave::asking_device<flash_device>);
static_assert(cleave::rereading_device<flash_device>);

/// A device whose flash takes its time for each chunk, and tells when it has done. It has `room`
/// bytes for what comes meanwhile.
class slow_device : public flash_device {
  public:
    slow_device(kept& k, platform& p, std::chrono::nanoseconds per_chunk, std::size_t room)
        : flash_device(k, p), per_chunk_(per_chunk), room_(room) {}

    auto sink(cleave::firmware const&, std::size_t, std::uint64_t) {
        auto write = [this](std::span<std::byte const>, cleave::chunk_done done) {
            auto const later = std::make_shared<cleave::chunk_done>(std::move(done));
            cleave::testing::world::current().after(per_chunk_, [later] { (*later)({}); });
        };
        return cleave::ordered_sink{std::span{buffer_}.first(room_), 2048, std::move(write)};
    }

  private:
    std::chrono::nanoseconds per_chunk_;
    std::size_t room_;
    std::array<std::byte, 64 * 1024> buffer_{};
};

/// For updates that are cut off: what they have is saved often.
inline cleave::update_options const often{.save_every = 4096};

inline cleave::firmware_file file_of(cleave::testing::object const& o,
                                     std::string url = "http://example.org/fw") {
    return {std::move(url), o.bytes.size(), "SHA256", sha256_hex(o.bytes), {}};
}
inline cleave::firmware firmware_of(cleave::testing::object const& o) {
    return {"default", "2.0", {file_of(o)}, {}};
}

/// One start of the device after the other, in one world.
struct bench {
    explicit bench(cleave::testing::memory_handler server, cleave::testing::memory_link link = {})
        : network(std::move(server), link) {}

    struct outcome {
        bool called = false;
        std::error_code ec;
        cleave::update_report report;
    };

    [[nodiscard]] auto policies() {
        return cleave::policies<>{}
            .with_connector(network.connector())
            .with_journal(cleave::no_journal{})
            .with_lanes(cleave::fixed_lanes{lanes})
            .with_timer<cleave::testing::virtual_timers>()
            .with_background(cleave::same_thread{});
    }

    /// Runs an update until it ends, or the device has lost its power.
    template <class Device, class Policies>
    outcome update(Device& d, cleave::firmware const& fw, Policies how,
                   cleave::update_options options = {}) {
        return run(d, [&](auto const& ex, auto handler) {
            cleave::async_update(ex, fw, d, std::move(how), options, std::move(handler));
        });
    }
    template <class Device>
    outcome update(Device& d, cleave::firmware const& fw, cleave::update_options options = {}) {
        return update(d, fw, policies(), options);
    }
    template <class Device>
    outcome resume(Device& d, cleave::update_options options = {}) {
        return run(d, [&](auto const& ex, auto handler) {
            cleave::async_resume_update(ex, "default", d, policies(), options, std::move(handler));
        });
    }

    template <class Device, class Start>
    outcome run(Device& d, Start start) {
        auto const result = std::make_shared<outcome>();
        {
            asio::io_context context;
            start(context.get_executor(), [result](std::error_code ec, cleave::update_report r) {
                REQUIRE_FALSE(result->called);
                *result = {true, ec, std::move(r)};
            });
            bool const ended = time.run(
                context, [&] { return result->called || d.dead(); }, 5'000'000);
            REQUIRE(ended);
            if (!d.dead()) {
                // Whatever is left over must not call the handler again.
                time.run(
                    context, [] { return false; }, 5'000'000);
            }
        }
        return *result;
    }

    std::uint32_t lanes = 2;
    cleave::testing::world time;
    cleave::testing::memory_network network;
};

} // namespace cleave_test
