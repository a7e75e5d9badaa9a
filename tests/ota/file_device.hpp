// SPDX-License-Identifier: BSL-1.0
//
// A device that keeps its images as files on a disk in memory, cannot read them back in part, and
// cannot ask for a fresh link: it fills in what is required only.
#pragma once

#include <ota/device.hpp>

#include <cleave/sink/file_sink.hpp>
#include <cleave/testing/memory_disk.hpp>

namespace cleave_test {

class file_device {
  public:
    using hasher_type = cleave::openssl_hasher;

    file_device(kept& k, platform& p, cleave::testing::memory_disk const& disk)
        : inner_(k, p), disk_(disk) {
        inner_.running = true;
    }

    [[nodiscard]] std::string current_version(std::string const& module) const {
        return inner_.current_version(module);
    }
    auto sink(cleave::firmware const&, std::size_t i, std::uint64_t from) {
        CHECK(from == 0);
        return cleave::basic_file_sink<cleave::testing::memory_file>{
            "/image" + std::to_string(i), cleave::testing::memory_file{disk_}};
    }
    void report_progress(cleave::update_progress const& p) { inner_.report_progress(p); }
    void async_report_version(std::string const& module, std::string const& version,
                              std::function<void(std::error_code)> done) {
        inner_.async_report_version(module, version, std::move(done));
    }
    std::size_t load(std::string const& module, std::span<std::byte> to, std::error_code& ec) {
        return inner_.load(module, to, ec);
    }
    void save(std::string const& module, std::span<std::byte const> bytes, std::error_code& ec) {
        inner_.save(module, bytes, ec);
    }
    cleave::install_result install(cleave::firmware const& fw, std::error_code& ec) {
        return inner_.install(fw, ec);
    }
    void confirm(std::string const& module, std::string const& version, std::error_code& ec) {
        inner_.confirm(module, version, ec);
    }
    [[nodiscard]] bool dead() const noexcept { return dies; }

    bool dies = false;

  private:
    flash_device inner_;
    cleave::testing::memory_disk disk_;
};

static_assert(cleave::update_device<file_device>);
static_assert(!cleave::asking_device<file_device>);
static_assert(!cleave::rereading_device<file_device>);

} // namespace cleave_test
