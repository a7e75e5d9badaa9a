// SPDX-License-Identifier: BSL-1.0
//
// The flash of device.hpp throws where real flash would be damaged.
#include <laws/random.hpp>
#include <ota/device.hpp>

using cleave_test::memory_flash;
using cleave_test::random_source;

static_assert(cleave::flash<memory_flash>);
static_assert(cleave::byte_sink<cleave::flash_sink<memory_flash>>);

namespace {

std::span<std::byte const> bytes_of(std::string const& text) {
    return std::as_bytes(std::span{text});
}

} // namespace

TEST_CASE("each block is erased once, just before its first unit; units are whole and in order") {
    memory_flash f{4 * 1024, 1024, 256};
    std::string const image = cleave::testing::object::random(2500, 1).bytes;
    cleave::block_writer w{f, image.size()};
    std::error_code ec;
    for (std::size_t at = 0; at < image.size(); at += 1000)
        w(bytes_of(image).subspan(at, std::min<std::size_t>(1000, image.size() - at)), ec);
    CHECK(ec == std::error_code{});
    CHECK(f.log == std::vector<std::string>{"e0", "p0+768", "p768+256", "e1024", "p1024+768",
                                            "p1792+256", "e2048", "p2048+256", "p2304+256"});
    CHECK(f.text(image.size()) == image);
    // Filled up as erased flash is.
    CHECK(f.text(2560).substr(2500) == std::string(60, '\xff'));
    CHECK(w.position() == image.size());
}

TEST_CASE("chunks of any size make the same image") {
    random_source random{7};
    for (int round = 0; round != 300; ++round) {
        std::size_t const unit = std::size_t{1} << random.below(9);
        std::size_t const block = unit << random.below(5);
        std::size_t const size = 1 + static_cast<std::size_t>(random.below(5 * block));
        memory_flash f{(size + block - 1) / block * block, block, unit};
        std::string const image =
            cleave::testing::object::random(size, static_cast<std::uint32_t>(round)).bytes;
        cleave::block_writer w{f, size};
        std::error_code ec;
        for (std::size_t at = 0; at != size;) {
            std::size_t const n = std::min<std::size_t>(
                1 + static_cast<std::size_t>(random.below(3 * unit)), size - at);
            w(bytes_of(image).subspan(at, n), ec);
            at += n;
        }
        REQUIRE(ec == std::error_code{});
        REQUIRE(f.text(size) == image);
        auto const erased = std::count_if(f.log.begin(), f.log.end(),
                                          [](std::string const& s) { return s[0] == 'e'; });
        REQUIRE(static_cast<std::size_t>(erased) == (size + block - 1) / block);
    }
}

TEST_CASE("a writer goes on at a block, and leaves those before it alone") {
    memory_flash f{4 * 1024, 1024, 256};
    std::string const image = cleave::testing::object::random(3000, 2).bytes;
    std::error_code ec;
    cleave::block_writer{f, image.size()}(bytes_of(image).first(1500), ec);
    f.log.clear();
    cleave::block_writer w{f, image.size(), 1024};
    w(bytes_of(image).subspan(1024), ec);
    CHECK(ec == std::error_code{});
    CHECK(f.text(image.size()) == image);
    CHECK(f.log.front() == "e1024");
}

TEST_CASE("an error of the flash, or more bytes than the image has, end the writing") {
    memory_flash f{4 * 1024, 1024, 256};
    std::string const image(3000, 'x');
    f.fails_at = 1024;
    std::error_code ec;
    cleave::block_writer w{f, image.size()};
    w(bytes_of(image), ec);
    CHECK(ec == std::errc::io_error);
    CHECK(w.position() == 1024);
    CHECK(f.log.back() == "e1024");

    ec.clear();
    f.fails_at.reset();
    cleave::block_writer small{f, 100};
    small(bytes_of(image).first(100), ec);
    CHECK(ec == std::error_code{});
    small(bytes_of(image).first(1), ec);
    CHECK(ec == cleave::update_error::flash_too_small);
}

TEST_CASE("a sink that does not fit the flash is refused before it is opened") {
    memory_flash f{4 * 1024, 1024, 256};
    std::array<std::byte, 2048> buffer;
    auto const fault = [&](std::size_t window, std::size_t chunk, std::uint64_t size,
                           std::uint64_t from) {
        std::error_code ec;
        cleave::flash_sink{f, std::span{buffer}.first(window), chunk, size, from}.check(ec);
        return ec;
    };
    CHECK(fault(2048, 512, 4096, 0) == std::error_code{});
    CHECK(fault(2048, 512, 4096, 1024) == std::error_code{});
    CHECK(fault(2048, 512, 4097, 0) == cleave::update_error::flash_too_small);
    CHECK(fault(1200, 300, 4096, 0) == cleave::update_error::flash_misaligned);
    CHECK(fault(2048, 512, 4096, 512) == cleave::update_error::flash_misaligned);
    CHECK(fault(700, 512, 4096, 0) == cleave::error::window_too_small);
    CHECK(f.log.empty());
    // Two blocks' worth is more than the window: only whole chunks are written.
    cleave::flash_sink sink{f, buffer, 2048, 2500};
    CHECK(sink.window() == 2048);
    CHECK(sink.chunk() == 2048);
}
