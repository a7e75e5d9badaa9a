// SPDX-License-Identifier: BSL-1.0
//
// A device on a desk: what a device team fills in for its own, here with files of one directory in
// place of flash memory. Its class is a `cleave::update_device`. It knows nothing of MQTT: what it
// has to tell goes out by functions that the agent sets.
//
//   running     a link to the slot that runs; none as it comes from the factory
//   slot-a, -b  the files of a version each: firmware.bin, and more where the update has more
//   flash-N     flash memory that file N of an update is written to, block by block
//   state-M     what the library keeps of an update of module M
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <cleave/ota/update.hpp>
#include <cleave/verify/openssl_hasher.hpp>

namespace example {

/// The power goes, in a way that a program can have it.
[[noreturn]] inline void lose_power() {
    std::raise(SIGKILL);
    std::abort();
}

// --- Files ---------------------------------------------------------------------------------------

/// A descriptor that is closed with it.
class open_file {
  public:
    open_file(std::filesystem::path const& path, int flags, std::error_code& ec)
        : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
        if (fd_ < 0) ec.assign(errno, std::system_category());
    }
    open_file(open_file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ~open_file() {
        if (fd_ >= 0) ::close(fd_);
    }

    void write(std::uint64_t offset, std::span<std::byte const> bytes, std::error_code& ec) const {
        while (!ec && !bytes.empty()) {
            auto const n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return ec.assign(errno, std::system_category());
            bytes = bytes.subspan(static_cast<std::size_t>(n));
            offset += static_cast<std::uint64_t>(n);
        }
    }
    /// How many bytes there were.
    std::size_t read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const {
        std::size_t all = 0;
        while (!ec && all != to.size()) {
            auto const n =
                ::pread(fd_, to.data() + all, to.size() - all, static_cast<off_t>(offset + all));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) ec.assign(errno, std::system_category());
            if (n <= 0) break;
            all += static_cast<std::size_t>(n);
        }
        return all;
    }
    void sync(std::error_code& ec) const {
        if (!ec && ::fsync(fd_) != 0) ec.assign(errno, std::system_category());
    }

  private:
    int fd_;
};

inline void sync_directory(std::filesystem::path const& path, std::error_code& ec) {
    if (ec) return;
    open_file const directory{path, O_RDONLY | O_DIRECTORY, ec};
    directory.sync(ec);
}

// --- Flash memory --------------------------------------------------------------------------------

/// A region of flash memory that is a file: `cleave::flash`. As real flash does, it takes each unit
/// once after its block was erased.
class file_flash {
  public:
    /// `program_time`: of each call.
    file_flash(std::filesystem::path const& path, std::uint64_t size,
               std::chrono::microseconds program_time)
        : file_(path, O_RDWR | O_CREAT, fault_), size_(size), program_time_(program_time) {}

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] static constexpr std::size_t block_size() noexcept { return 64 * 1024; }
    [[nodiscard]] static constexpr std::size_t program_size() noexcept { return 256; }

    void erase(std::uint64_t offset, std::error_code& ec) const {
        std::vector<std::byte> const erased(block_size(), std::byte{0xff});
        if (!check(ec)) return;
        file_.write(offset, erased, ec);
    }
    void program(std::uint64_t offset, std::span<std::byte const> bytes,
                 std::error_code& ec) const {
        if (!check(ec)) return;
        std::vector<std::byte> before(bytes.size());
        bool const there = file_.read(offset, before, ec) == before.size();
        bool const erased = std::all_of(before.begin(), before.end(),
                                        [](std::byte b) { return b == std::byte{0xff}; });
        if (!ec && (!there || !erased)) ec = std::make_error_code(std::errc::io_error);
        if (ec) return;
        if (program_time_.count() != 0) std::this_thread::sleep_for(program_time_);
        if (offset + bytes.size() > dies_at_) {
            file_.write(offset, bytes.first(bytes.size() / 2), ec);
            lose_power();
        }
        file_.write(offset, bytes, ec);
    }
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const {
        if (check(ec) && file_.read(offset, to, ec) != to.size() && !ec)
            ec = std::make_error_code(std::errc::io_error);
    }
    /// What flash memory need not be asked for.
    void sync(std::error_code& ec) const {
        if (check(ec)) file_.sync(ec);
    }

    /// The power goes when the byte at `offset` is written.
    void die_at(std::uint64_t offset) noexcept { dies_at_ = offset; }

  private:
    bool check(std::error_code& ec) const {
        if (!ec) ec = fault_;
        return !ec;
    }

    std::error_code fault_; // of opening it
    open_file file_;
    std::uint64_t size_;
    std::chrono::microseconds program_time_;
    std::uint64_t dies_at_ = cleave::max_offset;
};

static_assert(cleave::flash<file_flash>);

// --- The device ----------------------------------------------------------------------------------

struct desk_settings {
    std::filesystem::path directory = "device";
    std::string factory_version = "1.0";
    /// Bytes written at a time, and what is received before: 64 KiB for each of four connections,
    /// less than which none of them takes, and a chunk.
    std::size_t chunk = 2048;
    std::size_t window = 4 * 64 * 1024 + chunk;
    std::uint64_t flash_size = 64U << 20U; // of each file's region
    std::chrono::microseconds program_time{0};
    /// Where the power goes: the name of a stage, "install" or "confirm" for in the middle of them,
    /// or a number: when so many per cent of the first file are written.
    std::string die_at;
};

class desk_device {
  public:
    using hasher_type = cleave::openssl_hasher;

    explicit desk_device(desk_settings s)
        : settings_(std::move(s)), storage_(settings_.window), version_(settings_.factory_version) {
        std::filesystem::create_directories(settings_.directory);
        std::ifstream image{running() / "firmware.bin", std::ios::binary};
        if (!image) return;
        // An image of our platform tells its version at the end of its first line.
        std::string line(128, '\0');
        image.read(line.data(), static_cast<std::streamsize>(line.size()));
        line.resize(std::min<std::size_t>(line.find('\n'), line.size()));
        auto const at = line.rfind(' ');
        version_ = at == std::string::npos ? "unknown" : line.substr(at + 1);
    }

    // What the agent does for it.
    std::function<void(std::string const& text)> says;
    std::function<void(cleave::update_progress const&)> passes_on;
    std::function<void(std::string const& module, std::string const& version,
                       std::function<void(std::error_code)> done)>
        reports;
    std::function<void(std::string const& module,
                       std::function<void(std::error_code, cleave::firmware)> got)>
        asks;

    // ---- for the library: on the update's strand ----

    [[nodiscard]] std::string current_version(std::string const&) const { return version_; }

    [[nodiscard]] cleave::flash_sink<file_flash> sink(cleave::firmware const& fw, std::size_t i,
                                                      std::uint64_t from) {
        file_flash& to = region(i);
        char* end = nullptr;
        auto const percent = std::strtoull(settings_.die_at.c_str(), &end, 10);
        if (i == 0 && !settings_.die_at.empty() && *end == '\0')
            to.die_at(fw.files[i].size * percent / 100);
        return {to, storage_, settings_.chunk, fw.files[i].size, from};
    }
    void report_progress(cleave::update_progress const& p) { passes_on(p); }
    void async_report_version(std::string const& module, std::string const& version,
                              std::function<void(std::error_code)> done) {
        reports(module, version, std::move(done));
    }
    void async_ask_again(std::string const& module,
                         std::function<void(std::error_code, cleave::firmware)> got) {
        asks(module, std::move(got));
    }
    void entered(std::string const&, cleave::update_stage stage) const {
        if (stage != cleave::update_stage::idle) says(cleave::to_string(stage));
        die_if(cleave::to_string(stage));
    }
    [[nodiscard]] std::uint64_t image_block(cleave::firmware const&, std::size_t) const {
        return file_flash::block_size();
    }

    // ---- for the library: in the background ----

    std::size_t load(std::string const& module, std::span<std::byte> to, std::error_code& ec) {
        std::error_code none;
        open_file const from{state_path(module), O_RDONLY, none};
        return none ? 0 : from.read(0, to, ec);
    }
    void save(std::string const& module, std::span<std::byte const> bytes, std::error_code& ec) {
        // First what is claimed, and then the claim.
        {
            std::lock_guard const lock{mutex_};
            for (auto const& [i, f] : regions_) f.sync(ec);
        }
        if (ec) return;
        auto const path = state_path(module);
        if (bytes.empty()) {
            std::filesystem::remove(path, ec);
        } else {
            std::filesystem::path const fresh = path.string() + ".new";
            open_file const to{fresh, O_WRONLY | O_CREAT | O_TRUNC, ec};
            if (!ec) to.write(0, bytes, ec);
            to.sync(ec);
            if (!ec) std::filesystem::rename(fresh, path, ec);
        }
        sync_directory(settings_.directory, ec);
    }
    void read_image(cleave::firmware const&, std::size_t i, std::uint64_t offset,
                    std::span<std::byte> to, std::error_code& ec) {
        region(i).read(offset, to, ec);
    }

    /// Into the slot that does not run; then one rename decides which runs from now on.
    cleave::install_result install(cleave::firmware const& fw, std::error_code& ec) {
        namespace fs = std::filesystem;
        auto const& dir = settings_.directory;
        std::error_code none;
        bool const a_runs = fs::read_symlink(dir / "running", none).filename() == "slot-a";
        fs::path const slot = a_runs ? "slot-b" : "slot-a";
        fs::remove_all(dir / slot, ec);
        if (!ec) fs::create_directory(dir / slot, ec);
        for (std::size_t i = 0; !ec && i != fw.files.size(); ++i) {
            copy(i, fw.files[i].size, dir / slot / file_name(fw, i), ec);
            die_if("install");
        }
        sync_directory(dir / slot, ec);
        if (!ec) fs::remove(dir / "running.new", ec);
        if (!ec) fs::create_directory_symlink(slot, dir / "running.new", ec);
        if (!ec) fs::rename(dir / "running.new", dir / "running", ec);
        sync_directory(dir, ec);
        return cleave::install_result::restart;
    }
    /// Here a device tests itself.
    void confirm(std::string const&, std::string const& version, std::error_code& ec) {
        die_if("confirm");
        open_file const to{running() / "confirmed", O_WRONLY | O_CREAT | O_TRUNC, ec};
        if (!ec) to.write(0, std::as_bytes(std::span{version}), ec);
        to.sync(ec);
    }

    // ---- for the agent ----

    /// Whether it has been updated since it came from the factory.
    [[nodiscard]] bool is_updated() const { return std::filesystem::exists(running()); }

    void die_if(std::string_view here) const {
        if (settings_.die_at == here) lose_power();
    }

  private:
    [[nodiscard]] std::filesystem::path running() const { return settings_.directory / "running"; }
    [[nodiscard]] std::filesystem::path state_path(std::string const& module) const {
        return settings_.directory / ("state-" + safe(module));
    }
    file_flash& region(std::size_t i) {
        std::lock_guard const lock{mutex_};
        auto const path = settings_.directory / ("flash-" + std::to_string(i));
        return regions_.try_emplace(i, path, settings_.flash_size, settings_.program_time)
            .first->second;
    }

    // Names are a stranger's.
    [[nodiscard]] static std::string safe(std::string_view name) {
        std::string text;
        for (char const c : name) {
            bool const good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                              (c == '.' && !text.empty());
            text += good ? c : '_';
        }
        return text.substr(0, 64);
    }
    [[nodiscard]] static std::string file_name(cleave::firmware const& fw, std::size_t i) {
        if (i == 0) return "firmware.bin";
        return std::to_string(i) + "-" + safe(fw.files[i].name);
    }

    void copy(std::size_t i, std::uint64_t size, std::filesystem::path const& path,
              std::error_code& ec) {
        file_flash const& from = region(i);
        open_file const to{path, O_WRONLY | O_CREAT | O_TRUNC, ec};
        std::array<std::byte, 16384> buffer;
        for (std::uint64_t at = 0; !ec && at != size;) {
            auto const n = std::min<std::uint64_t>(buffer.size(), size - at);
            auto const bytes = std::span{buffer}.first(static_cast<std::size_t>(n));
            from.read(at, bytes, ec);
            if (!ec) to.write(at, bytes, ec);
            at += n;
        }
        to.sync(ec);
    }

    desk_settings settings_;
    std::vector<std::byte> storage_;
    std::string version_;
    std::mutex mutex_; // a region may be made while another is saved
    std::map<std::size_t, file_flash> regions_;
};

static_assert(cleave::asking_device<desk_device>);
static_assert(cleave::rereading_device<desk_device>);

} // namespace example
