// SPDX-License-Identifier: BSL-1.0
//
// The core of an agent: a device that updates itself by plain TCP, with a file in place of flash
// memory and another for its state. What a platform would tell it stands on the command line.

#include <cleave/ota/update.hpp>
#include <cleave/verify/openssl_hasher.hpp>

#include <asio/io_context.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace {

struct file_flash {
    int file = ::open("flash", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    std::uint64_t size() const { return std::uint64_t{64} << 20; }
    std::size_t block_size() const { return 64 * 1024; }
    std::size_t program_size() const { return 256; }
    void erase(std::uint64_t, std::error_code&) {}
    void program(std::uint64_t at, std::span<std::byte const> from, std::error_code& ec) {
        check(::pwrite(file, from.data(), from.size(), static_cast<off_t>(at)), from.size(), ec);
    }
    void read(std::uint64_t at, std::span<std::byte> to, std::error_code& ec) {
        check(::pread(file, to.data(), to.size(), static_cast<off_t>(at)), to.size(), ec);
    }
    static void check(ssize_t n, std::size_t wanted, std::error_code& ec) {
        if (n != static_cast<ssize_t>(wanted))
            ec.assign(n < 0 ? errno : EIO, std::system_category());
    }
};

class device {
  public:
    using hasher_type = cleave::openssl_hasher;

    std::string current_version(std::string const&) const { return running_; }
    auto sink(cleave::firmware const& fw, std::size_t i, std::uint64_t from) {
        return cleave::flash_sink{flash_, buffer_, 2048, fw.files[i].size, from};
    }
    void report_progress(cleave::update_progress const& p) {
        if (p.failed != nullptr) std::puts(p.failed->text.c_str());
    }
    void async_report_version(std::string const&, std::string const& version,
                              std::function<void(std::error_code)> done) {
        std::puts(version.c_str());
        done({});
    }
    std::size_t load(std::string const&, std::span<std::byte> to, std::error_code&) {
        auto const n = ::pread(state_, to.data(), to.size(), 0);
        return n < 0 ? 0 : static_cast<std::size_t>(n);
    }
    void save(std::string const&, std::span<std::byte const> bytes, std::error_code& ec) {
        if (bytes.empty() && ::ftruncate(state_, 0) != 0) ec.assign(errno, std::system_category());
        if (bytes.empty()) return;
        file_flash::check(::pwrite(state_, bytes.data(), bytes.size(), 0), bytes.size(), ec);
    }
    cleave::install_result install(cleave::firmware const& fw, std::error_code&) {
        running_ = fw.version;
        return cleave::install_result::running;
    }
    void confirm(std::string const&, std::string const&, std::error_code&) {}
    void read_image(cleave::firmware const&, std::size_t, std::uint64_t offset,
                    std::span<std::byte> to, std::error_code& ec) {
        flash_.read(offset, to, ec);
    }
    std::uint64_t image_block(cleave::firmware const&, std::size_t) const {
        return flash_.block_size();
    }

  private:
    file_flash flash_;
    int state_ = ::open("state", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    std::array<std::byte, 32768> buffer_{};
    std::string running_ = "1.0";
};

} // namespace

int main(int argc, char** argv) {
    if (argc != 4) return 2; // URL, size, SHA-256
    asio::io_context context{1};
    device d;
    bool done = false;
    cleave::firmware fw{.module = "default", .version = "2.0", .files = {}};
    fw.files.push_back({argv[1], std::strtoull(argv[2], nullptr, 10), "SHA256", argv[3], {}});
    cleave::async_update(context.get_executor(), std::move(fw), d,
                         cleave::policies<>{}.with_journal(cleave::no_journal{}),
                         [&](std::error_code ec, cleave::update_report const&) { done = !ec; });
    context.run();
    return done ? 0 : 1;
}
