// SPDX-License-Identifier: BSL-1.0
//
// The smallest agent there is: it updates a device over plain TCP, into a file in place of flash,
// through a window of 8 KiB and in chunks of 2 KiB, and without OpenSSL. To be measured and to be
// run on small systems.
//
//     agent URL SIZE SHA256 FILE     prints "updated to 2.0"

#include <cleave/journal/no_journal.hpp>
#include <cleave/ota/update.hpp>
#include <cleave/sink/ordered_sink.hpp>

#include <asio/io_context.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

/// The first 32 bits of the fractional part of the `degree`-th root of each of the first
/// primes.
template <std::size_t Count>
constexpr std::array<std::uint32_t, Count> roots(int degree) {
    std::array<std::uint32_t, Count> to{};
    int n = 2;
    for (std::size_t i = 0; i != Count; ++n) {
        bool prime = true;
        for (int d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
        if (!prime) continue;
        double root = n; // by Newton, to the last bit but one or two of 53
        for (int step = 0; step != 64; ++step)
            root = degree == 2 ? (root + n / root) / 2 : (2 * root + n / (root * root)) / 3;
        root -= static_cast<int>(root);
        to[i++] = static_cast<std::uint32_t>(root * 4294967296.0);
    }
    return to;
}
/// SHA-256 (FIPS 180-4), where a device would have a unit for it. Only that.
class sha256 {
  public:
    explicit sha256(cleave::digest_algorithm a) : fit_(a == cleave::digest_algorithm::sha256) {}

    void reset(std::error_code& ec) {
        if (!fit_) ec = std::make_error_code(std::errc::not_supported);
        state_ = start_;
        size_ = 0;
    }
    void update(std::span<std::byte const> bytes, std::error_code&) {
        for (std::byte const b : bytes) add(b);
    }
    [[nodiscard]] cleave::digest_value finish(std::error_code&) {
        std::uint64_t const bits = size_ * 8;
        add(std::byte{0x80});
        while (size_ % 64 != 56) add(std::byte{0});
        for (unsigned shift = 64; shift != 0;) add(static_cast<std::byte>(bits >> (shift -= 8)));
        cleave::digest_value value;
        value.size = 32;
        for (std::size_t i = 0; i != value.size; ++i)
            value.bytes[i] = static_cast<std::byte>(state_[i / 4] >> (24 - i % 4 * 8));
        return value;
    }

  private:
    void add(std::byte b) {
        block_[static_cast<std::size_t>(size_++ % 64)] = b;
        if (size_ % 64 == 0) mix();
    }
    void mix() {
        std::array<std::uint32_t, 64> w{};
        for (std::size_t i = 0; i != block_.size(); ++i)
            w[i / 4] = w[i / 4] << 8U | std::to_integer<std::uint32_t>(block_[i]);
        for (std::size_t i = 16; i != w.size(); ++i)
            w[i] = w[i - 16] + w[i - 7] +
                   (std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3U) +
                   (std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10U);
        auto [a, b, c, d, e, f, g, h] = state_;
        for (std::size_t i = 0; i != w.size(); ++i) {
            std::uint32_t const t = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                                    ((e & f) ^ (~e & g)) + round_[i] + w[i];
            std::uint32_t const u = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) +
                                    ((a & b) ^ (a & c) ^ (b & c));
            h = std::exchange(g, std::exchange(f, std::exchange(e, d + t)));
            d = std::exchange(c, std::exchange(b, std::exchange(a, t + u)));
        }
        std::array const mixed{a, b, c, d, e, f, g, h};
        for (std::size_t i = 0; i != state_.size(); ++i) state_[i] += mixed[i];
    }

    static constexpr auto start_ = roots<8>(2);
    static constexpr auto round_ = roots<64>(3);

    bool fit_;
    std::array<std::uint32_t, 8> state_{};
    std::array<std::byte, 64> block_{};
    std::uint64_t size_ = 0;
};

/// A device that keeps its image and its state in files beside one another.
class device {
  public:
    using hasher_type = sha256;

    explicit device(std::string path) : path_(std::move(path)) {}

    [[nodiscard]] std::string current_version(std::string const&) const { return version_; }
    auto sink(cleave::firmware const&, std::size_t, std::uint64_t) {
        image_ = file{std::fopen(path_.c_str(), "wb")};
        return cleave::ordered_sink{window_, 2048,
                                    [this](std::span<std::byte const> chunk, std::error_code& ec) {
                                        if (!image_ || std::fwrite(chunk.data(), 1, chunk.size(),
                                                                   image_.get()) != chunk.size())
                                            ec = std::make_error_code(std::errc::io_error);
                                    }};
    }
    void report_progress(cleave::update_progress const& p) {
        if (p.failed != nullptr) std::fprintf(stderr, "%s\n", p.failed->text.c_str());
    }
    void async_report_version(std::string const&, std::string const& v,
                              std::function<void(std::error_code)> done) {
        std::printf("version %s\n", v.c_str());
        done({});
    }
    std::size_t load(std::string const&, std::span<std::byte> to, std::error_code&) {
        file const f{std::fopen((path_ + ".state").c_str(), "rb")};
        return f ? std::fread(to.data(), 1, to.size(), f.get()) : 0;
    }
    void save(std::string const&, std::span<std::byte const> bytes, std::error_code& ec) {
        file const f{std::fopen((path_ + ".state").c_str(), "wb")};
        if (!f || std::fwrite(bytes.data(), 1, bytes.size(), f.get()) != bytes.size())
            ec = std::make_error_code(std::errc::io_error);
    }
    cleave::install_result install(cleave::firmware const& fw, std::error_code&) {
        image_.reset();
        version_ = fw.version;
        return cleave::install_result::running;
    }
    void confirm(std::string const&, std::string const&, std::error_code&) {}

  private:
    struct closer {
        void operator()(std::FILE* f) const noexcept { std::fclose(f); }
    };
    using file = std::unique_ptr<std::FILE, closer>;

    std::string path_;
    std::string version_ = "1.0";
    file image_;
    std::array<std::byte, 8192> window_{};
};

} // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fputs("usage: agent URL SIZE SHA256 FILE\n", stderr);
        return 2;
    }
    cleave::firmware fw;
    fw.version = "2.0";
    fw.files = {{argv[1], std::strtoull(argv[2], nullptr, 10), "SHA256", argv[3], {}}};
    device self{argv[4]};

    asio::io_context context;
    std::error_code result;
    cleave::async_update(context.get_executor(), std::move(fw), self,
                         cleave::policies<>{}.with_journal(cleave::no_journal{}),
                         [&](std::error_code ec, cleave::update_report const&) { result = ec; });
    context.run();
    if (result) {
        std::fprintf(stderr, "%s\n", result.message().c_str());
        return 1;
    }
    std::printf("updated to %s\n", self.current_version("default").c_str());
}
