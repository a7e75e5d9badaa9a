// SPDX-License-Identifier: BSL-1.0
//
// Whole downloads over the loopback as a user's program does them, for compilers, systems and
// versions of Asio that the tests are not tried with: it needs the library, Asio and nothing else,
// and, where CLEAVE_WITH_OPENSSL is defined, OpenSSL.
// Its server answers requests for ranges of an object of any size, whose bytes it makes up.
//
//     loopback DIR            prints "ok: N checks"; DIR is for its files
//     loopback DIR whole      the same with all of an object of more than 4 GiB in between
//     loopback DIR begin      downloads DIR/half, gets half of it, and writes DIR/record, a
//     journal's
//                             record of always the same
//     loopback DIR serve      writes DIR/object, a file of 1 MB, and DIR/url, where it is to be had
//                             until the standard input ends
//     loopback DIR go-on      downloads the other half, perhaps as a program for another processor

#if defined(CLEAVE_WITH_OPENSSL)
#include <cleave/cleave.hpp>
#else
#include <cleave/download.hpp>
#include <cleave/journal/no_journal.hpp>
#include <cleave/journal/record.hpp>
#include <cleave/observe/on_progress.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/null_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>
#endif

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;
constexpr std::uint64_t all = std::numeric_limits<std::uint64_t>::max();

int checks = 0;
int failures = 0;

void check(bool good, std::string const& what) {
    ++checks;
    if (good) return;
    ++failures;
    std::cerr << "wrong: " << what << '\n';
}

/// The byte at an offset of every object that is served here.
std::byte byte_at(std::uint64_t offset) {
    return static_cast<std::byte>(((offset + 1) * 0x9e3779b97f4a7c15ULL) >> 56U);
}

std::uint64_t first_wrong(std::span<std::byte const> bytes, std::uint64_t offset) {
    for (std::size_t i = 0; i != bytes.size(); ++i)
        if (bytes[i] != byte_at(offset + i)) return offset + i;
    return all;
}

std::vector<std::byte> read_file(std::string const& path) {
    std::ifstream in{path, std::ios::binary};
    std::vector<char> const chars{std::istreambuf_iterator<char>{in}, {}};
    std::vector<std::byte> bytes(chars.size());
    std::transform(chars.begin(), chars.end(), bytes.begin(),
                   [](char c) { return static_cast<std::byte>(c); });
    return bytes;
}

/// An object of `size` bytes on 127.0.0.1, one thread for each connection.
class server {
  public:
    /// Connections end after `cut` bytes of bodies; when `budget` bytes were sent over all of them
    /// nobody is answered any more. The bytes of the object are made up one by one,
    /// or repeat themselves every 64 KiB where it is to go fast.
    explicit server(std::uint64_t size, std::uint64_t cut = all, bool fast = false,
                    std::uint64_t budget = all, std::uint16_t port = 0)
        : size_(size), cut_(cut), fast_(fast), budget_(budget),
          acceptor_(context_, {loopback(), port}), accepting_([this] { accept(); }) {}
    server(server const&) = delete;
    server& operator=(server const&) = delete;
    ~server() {
        stopping_ = true;
        std::error_code ignored;
        asio::ip::tcp::socket knock{context_};
        knock.connect({loopback(), port()}, ignored);
        accepting_.join();
        for (auto& t : threads_) t.join();
    }

    [[nodiscard]] std::string url() const {
        return "http://127.0.0.1:" + std::to_string(port()) + "/object";
    }
    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    [[nodiscard]] std::size_t connections() const { return connections_; }
    /// Bytes of bodies, over all connections.
    [[nodiscard]] std::uint64_t sent() const { return sent_; }

  private:
    static asio::ip::address loopback() { return asio::ip::make_address("127.0.0.1"); }

    void accept() {
        for (;;) {
            std::error_code ec;
            asio::ip::tcp::socket s{context_};
            acceptor_.accept(s, ec);
            if (stopping_) return;
            if (ec) continue;
            ++connections_;
            threads_.emplace_back([this, c = std::move(s)]() mutable { serve(c); });
        }
    }

    void serve(asio::ip::tcp::socket& s) {
        std::string text;
        std::array<char, 4096> buffer{};
        std::vector<std::byte> body(64 * 1024);
        std::uint64_t sent = 0;
        std::error_code ec;
        for (;;) {
            auto end = text.find("\r\n\r\n");
            while (end == std::string::npos) {
                auto const n = s.read_some(asio::buffer(buffer), ec);
                if (ec) return;
                text.append(buffer.data(), n);
                end = text.find("\r\n\r\n");
            }
            if (left() == 0) return;
            auto const [first, last] = range_of(std::string_view{text}.substr(0, end));
            text.erase(0, end + 4);
            std::string const head =
                "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\n"
                "Content-Range: bytes " +
                std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(size_) +
                "\r\nContent-Length: " + std::to_string(last - first + 1) + "\r\n\r\n";
            asio::write(s, asio::buffer(head), ec);
            for (auto at = first; !ec && at <= last;) {
                auto const n = static_cast<std::size_t>(
                    std::min<std::uint64_t>({body.size(), last - at + 1, cut_ - sent, left()}));
                if (n == 0) return;
                if (!fast_)
                    for (std::size_t i = 0; i != n; ++i) body[i] = byte_at(at + i);
                asio::write(s, asio::buffer(body.data(), n), ec);
                at += n;
                sent += n;
                sent_ += n;
            }
            if (ec) return;
        }
    }
    [[nodiscard]] std::uint64_t left() const { return sent_ < budget_ ? budget_ - sent_ : 0; }

    [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> range_of(std::string_view head) const {
        auto const at = head.find("bytes=");
        if (at == std::string_view::npos) return {0, size_ - 1};
        char* end = nullptr;
        std::string const numbers{head.substr(at + 6)};
        std::uint64_t const first = std::strtoull(numbers.c_str(), &end, 10);
        std::uint64_t last = all;
        if (*end == '-' && end[1] >= '0' && end[1] <= '9')
            last = std::strtoull(end + 1, nullptr, 10);
        return {first, std::min(last, size_ - 1)};
    }

    std::uint64_t const size_;
    std::uint64_t const cut_;
    bool const fast_;
    std::uint64_t const budget_;
    std::atomic<std::uint64_t> sent_ = 0;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::size_t> connections_ = 0;
    asio::io_context context_;
    asio::ip::tcp::acceptor acceptor_;
    std::vector<std::thread> threads_; // of the accepting one
    std::thread accepting_;
};

auto with_lanes(std::uint32_t lanes, std::uint64_t segment_size) {
    return cleave::policies<>{}
        .with_plan(cleave::fixed_size{segment_size})
        .with_lanes(cleave::fixed_lanes{lanes})
        .with_renewal(cleave::backoff{.tries = 4, .first = std::chrono::milliseconds{1}});
}

void into_a_file(std::string const& dir) {
    server const s{3'000'001};
    auto const path = dir + "/plain";
    std::error_code ec;
    auto const report = cleave::download(s.url(), path, with_lanes(4, 250'000), ec);
    auto const bytes = read_file(path);
    check(!ec, "file: " + ec.message());
    check(bytes.size() == 3'000'001, "file: " + std::to_string(bytes.size()) + " bytes");
    check(first_wrong(bytes, 0) == all, "file: byte " + std::to_string(first_wrong(bytes, 0)));
    check(s.connections() >= 4, "file: " + std::to_string(s.connections()) + " connections");
    check(report.bytes == 3'000'001, "file: the report's bytes");
}

void over_cut_connections() {
    server const s{3'000'000, 300'000};
    std::vector<std::byte> memory;
    std::error_code ec;
    int seen = 0;
    auto how = with_lanes(4, 500'000)
                   .with_observer(cleave::on_progress(std::chrono::milliseconds{1},
                                                      [&](cleave::progress const&) { ++seen; }));
    cleave::download(s.url(), cleave::memory_sink{memory}, std::move(how), ec);
    check(!ec, "cut: " + ec.message());
    check(memory.size() == 3'000'000 && first_wrong(memory, 0) == all, "cut: the bytes");
    check(s.connections() >= 10, "cut: " + std::to_string(s.connections()) + " connections");
}

void in_order() {
    server const s{1'000'000};
    std::vector<std::byte> got;
    std::array<std::byte, 2048> buffer{};
    cleave::ordered_sink sink{buffer, 2048, [&](std::span<std::byte const> c, std::error_code&) {
                                  got.insert(got.end(), c.begin(), c.end());
                              }};
    asio::io_context context;
    std::error_code result = cleave::error::cancelled;
    cleave::async_download(context.get_executor(), s.url(), std::move(sink), with_lanes(2, 100'000),
                           [&](std::error_code ec, cleave::report const&) { result = ec; });
    context.run();
    check(!result, "in order: " + result.message());
    check(got.size() == 1'000'000 && first_wrong(got, 0) == all, "in order: the bytes");
}

/// A part around 4 GiB of an object of 5 GiB.
void beyond_4_gib(std::string const& dir) {
    server const s{5 * gib};
    std::uint64_t const first = 4 * gib - 1'000'000;
    std::uint64_t const last = 4 * gib + 2'000'000;
    auto const part = cleave::request{s.url()}.only({first, last});
    auto const path = dir + "/part";
    std::error_code ec;
    cleave::download(part, path, with_lanes(4, 500'000), ec);
    check(!ec, "beyond 4 GiB: " + ec.message());
    auto const bytes = read_file(path);
    check(bytes.size() == last - first + 1, "beyond 4 GiB: the size");
    check(first_wrong(bytes, first) == all, "beyond 4 GiB: the bytes in a file");
    std::vector<std::byte> memory;
    cleave::download(part, cleave::memory_sink{memory}, with_lanes(4, 500'000), ec);
    check(!ec && memory == bytes, "beyond 4 GiB: the bytes in memory");
}

constexpr std::uint64_t half_of = 3'000'000;

/// A download that ends half-way, because the server answers no longer.
void begin(std::string const& dir) {
    server const s{half_of, all, false, half_of / 2};
    std::error_code ec;
    cleave::download(s.url(), dir + "/half", with_lanes(2, 250'000), ec);
    check(s.sent() >= half_of / 2 && s.sent() < half_of * 6 / 10,
          "begin: " + std::to_string(s.sent()) + " bytes sent");
    check(bool{ec}, "begin: ended well");
    std::ofstream{dir + "/port"} << s.port();

    cleave::resume_state state;
    state.identity.size = 5 * gib;
    state.identity.validator = {cleave::validator::kind::strong_etag, "\"one\""};
    state.wanted = {1, 5 * gib - 1};
    state.url = "http://example.org/firmware";
    state.expectation = 0x0123456789abcdef;
    state.in_place = {{{1, 4 * gib}, 0xdeadbeef}, {{4 * gib + 2, 4 * gib + 3}, 1}};
    auto const record = cleave::encode_record(state, 7, 4096);
    check(!record.empty(), "begin: the record");
    std::string text;
    for (std::byte const b : record) text += std::to_integer<char>(b);
    std::ofstream{dir + "/record", std::ios::binary} << text;
}

/// The rest of it. What is in place must not come again.
void go_on(std::string const& dir) {
    std::uint16_t port = 0;
    std::ifstream{dir + "/port"} >> port;
    server const s{half_of, all, false, all, port};
    std::error_code ec;
    cleave::download(s.url(), dir + "/half", with_lanes(2, 250'000), ec);
    auto const bytes = read_file(dir + "/half");
    check(!ec, "go on: " + ec.message());
    check(bytes.size() == half_of && first_wrong(bytes, 0) == all, "go on: the bytes");
    check(s.sent() <= half_of * 6 / 10, "go on: " + std::to_string(s.sent()) + " bytes sent");
}

/// All of 4 GiB and a bit: counted and thrown away, and into a file.
void whole(std::string const& dir) {
    std::uint64_t const size = 4 * gib + 12'345;
    server const s{size, all, true};
    std::error_code ec;
    auto const report = cleave::download(
        s.url(), cleave::null_sink{},
        cleave::policies<>{}.with_lanes(cleave::fixed_lanes{2}).with_journal(cleave::no_journal{}),
        ec);
    check(!ec, "whole: " + ec.message());
    check(report.bytes == size, "whole: " + std::to_string(report.bytes) + " bytes");

    auto const path = dir + "/whole";
    cleave::download(s.url(), path, cleave::policies<>{}.with_lanes(cleave::fixed_lanes{4}), ec);
    check(!ec, "whole, into a file: " + ec.message());
    check(std::filesystem::file_size(path, ec) == size, "whole, into a file: the size");
    std::filesystem::remove(path, ec);
}

#if defined(CLEAVE_WITH_OPENSSL)
void proven() {
    server const s{1'000'000};
    std::vector<std::byte> bytes(1'000'000);
    for (std::size_t i = 0; i != bytes.size(); ++i) bytes[i] = byte_at(i);
    std::error_code ec;
    cleave::openssl_hasher hasher{cleave::digest_algorithm::sha256};
    hasher.reset(ec);
    hasher.update(bytes, ec);
    auto const value = hasher.finish(ec);
    check(!ec, "OpenSSL: " + ec.message());
    std::string hex;
    for (std::size_t i = 0; i != value.size; ++i)
        for (unsigned const shift : {4U, 0U})
            hex += "0123456789abcdef"[std::to_integer<unsigned>(value.bytes[i]) >> shift & 15U];
    std::vector<std::byte> memory;
    cleave::download(s.url(), cleave::memory_sink{memory},
                     with_lanes(4, 100'000).with_verify(cleave::sha256(hex)), ec);
    check(!ec && memory == bytes, "the right digest: " + ec.message());
    cleave::download(s.url(), cleave::memory_sink{memory},
                     with_lanes(4, 100'000).with_verify(cleave::sha256(std::string(64, '0'))), ec);
    check(ec == cleave::error::digest_mismatch, "a wrong digest: " + ec.message());
}
#endif

/// For another program.
void serve(std::string const& dir) {
    std::uint64_t const size = 1'000'000;
    server const s{size};
    std::string text;
    for (std::uint64_t i = 0; i != size; ++i) text += std::to_integer<char>(byte_at(i));
    std::ofstream{dir + "/object", std::ios::binary} << text;
    std::ofstream{dir + "/url.new"} << s.url() << '\n';
    std::filesystem::rename(dir + "/url.new", dir + "/url");
    while (std::cin.get() != std::char_traits<char>::eof()) {
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::cerr << "usage: loopback DIR [whole | begin | go-on | serve]\n";
        return 2;
    }
    std::string const dir = argv[1];
    std::string const what = argc > 2 ? argv[2] : "";
    if (what == "begin") {
        begin(dir);
    } else if (what == "go-on") {
        go_on(dir);
    } else if (what == "serve") {
        serve(dir);
    } else {
        into_a_file(dir);
        over_cut_connections();
        in_order();
        beyond_4_gib(dir);
        if (what == "whole") whole(dir);
#if defined(CLEAVE_WITH_OPENSSL)
        proven();
#endif
    }
    if (failures != 0) {
        std::cerr << failures << " of " << checks << " checks failed\n";
        return 1;
    }
    if (checks != 0) std::cout << "ok: " << checks << " checks\n";
}
