// SPDX-License-Identifier: BSL-1.0
//
// A little of each floor that does no I/O, for builds in which there is no Asio, no OpenSSL, no
// POSIX or no exceptions. Exits with 0 if it decides as it should.

#include <cleave/base/crc32c.hpp>
#include <cleave/base/url.hpp>
#include <cleave/http/content_range.hpp>
#include <cleave/journal/record.hpp>
#include <cleave/observe/log_lines.hpp>
#include <cleave/observe/on_progress.hpp>
#include <cleave/pace/token_bucket.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/plan.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

int main() {
    std::uint64_t const size = std::uint64_t{5} << 30;
    std::uint64_t next = 0;
    for (cleave::segment const s : cleave::plan(cleave::even_split{7}, size)) {
        if (s.first != next) return 1;
        next = s.last + 1;
    }
    if (next != size) return 2;

    std::error_code ec;
    auto const url = cleave::url::parse("https://example.org/a%20b?c", ec);
    if (ec || url.host() != "example.org" || url.port() != 443) return 3;

    std::string_view const nine = "123456789"; // of which everybody knows the checksum
    if (cleave::crc32c(std::as_bytes(std::span{nine})) != 0xe3069283) return 4;

    auto const nothing = cleave::encode_nothing(3);
    auto const record = cleave::decode_record(nothing);
    if (!record || record->generation != 3 || record->state) return 5;

    cleave::token_bucket pace{1000};
    if (pace.take(10, std::chrono::seconds{1}).bytes == 0) return 6;

    int seen = 0;
    cleave::on_progress{std::chrono::seconds{1}, [&](cleave::progress const&) { ++seen; }}.on(
        cleave::progress{});
    std::string text;
    cleave::log_lines{[&](std::string_view line) { text += line; }}.on(cleave::download_paused{});
    return seen == 1 && !text.empty() ? 0 : 7;
}
