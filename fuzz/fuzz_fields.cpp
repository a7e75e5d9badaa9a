// SPDX-License-Identifier: BSL-1.0
//
// The values of single fields from any bytes: numbers, lists, Content-Range, dates, ETags,
// Content-Length and Retry-After. What is read is what another reader makes of it, by other means,
// and what has a meaning is not refused.
//
// The input: one byte that says which field, and then its value.

#include "input.hpp"

#include <cleave/http/body.hpp>
#include <cleave/http/content_range.hpp>
#include <cleave/http/date.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/retry_after.hpp>
#include <cleave/http/text.hpp>
#include <cleave/http/validator.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace {

using cleave_fuzz::require;
using state = cleave::response_head_parser::progress::state;

constexpr std::string_view digits = "0123456789";

/// A head with these lines, each with its CRLF; `complete` unless they hold something else.
struct head {
    explicit head(std::string const& lines) {
        std::string const text = "HTTP/1.1 200 x\r\n" + lines + "\r\n";
        auto const read = parser.feed(text);
        complete = read.is == state::complete && read.consumed == text.size();
    }
    [[nodiscard]] cleave::response_head const& operator*() const { return parser.head(); }

    cleave::response_head_parser parser;
    bool complete = false;
};

// ---- numbers and lists ----------------------------------------------------------------------

/// 1*DIGIT up to 2^64-1, by comparing texts.
std::optional<std::uint64_t> number(std::string_view text) {
    if (text.empty() || text.find_first_not_of(digits) != text.npos) return std::nullopt;
    text.remove_prefix(std::min(text.find_first_not_of('0'), text.size() - 1));
    constexpr std::string_view most = "18446744073709551615";
    if (text.size() > most.size() || (text.size() == most.size() && text > most))
        return std::nullopt;
    std::uint64_t to = 0;
    for (char const c : text) to = to * 10 + static_cast<std::uint64_t>(c - '0');
    return to;
}

void try_number(std::string_view text) {
    require(cleave::detail::http_number(text) == number(text), "a number is read");
}

std::string_view trimmed(std::string_view text) {
    std::size_t const first = text.find_first_not_of(" \t");
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}
std::string lower(std::string_view text) {
    std::string to{text};
    for (char& c : to)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return to;
}

void try_list(std::string_view text) {
    std::string joined;
    std::size_t count = 0;
    bool const through = cleave::detail::http_each_element(text, [&](std::string_view element) {
        require(element == trimmed(element), "an element has no white space around it");
        require(element.find(',') == element.npos, "an element has no comma");
        if (count != 0) joined += ',';
        joined += element;
        return ++count != 20;
    });
    std::string expected;
    std::size_t expected_count = 0;
    for (std::size_t at = 0; at <= text.size() && expected_count != 20; ++expected_count) {
        std::size_t const comma = std::min(text.find(',', at), text.size());
        if (expected_count != 0) expected += ',';
        expected += trimmed(text.substr(at, comma - at));
        at = comma + 1;
    }
    require(joined == expected && count == expected_count, "a list has its elements");
    require(through == (count != 20), "who has enough is asked no more");

    std::string_view const half = text.substr(0, text.size() / 2);
    std::string_view const other = text.substr(text.size() / 2);
    require(cleave::detail::http_same(half, other) == (lower(half) == lower(other)),
            "names are the same without regard to case");
    require(cleave::detail::http_same(text, lower(text)), "a name is itself in lower case");
}

// ---- Content-Range --------------------------------------------------------------------------

/// RFC 9110, section 14.4.
std::optional<cleave::content_range> content_range(std::string_view text) {
    if (text.size() < 6 || lower(text.substr(0, 6)) != "bytes ") return std::nullopt;
    std::size_t const slash = text.rfind('/');
    if (slash == text.npos || slash < 6) return std::nullopt;
    std::string_view const range = text.substr(6, slash - 6);
    std::string_view const total = text.substr(slash + 1);
    cleave::content_range to;
    to.total = number(total);
    if (!to.total && total != "*") return std::nullopt;
    if (range == "*") return to.total ? std::optional{to} : std::nullopt;
    std::size_t const dash = range.rfind('-');
    if (dash == range.npos) return std::nullopt;
    auto const first = number(range.substr(0, dash));
    auto const last = number(range.substr(dash + 1));
    if (!first || !last || *first > *last || (to.total && *last >= *to.total)) return std::nullopt;
    to.bytes = cleave::segment{*first, *last};
    return to;
}

void try_content_range(std::string_view text) {
    auto const read = cleave::parse_content_range(text);
    require(read == content_range(text), "a Content-Range is read");
    if (!read) return;
    std::string written = "bytes ";
    written += read->bytes
                   ? std::to_string(read->bytes->first) + '-' + std::to_string(read->bytes->last)
                   : "*";
    written += '/';
    written += read->total ? std::to_string(*read->total) : "*";
    require(cleave::parse_content_range(written) == read, "a Content-Range is read again");
    require(!cleave::parse_content_range(written + ' ') &&
                !cleave::parse_content_range(' ' + written),
            "there is nothing around a Content-Range");
}

// ---- dates ----------------------------------------------------------------------------------

constexpr std::array<std::string_view, 7> days = {"Thursday", "Friday",  "Saturday", "Sunday",
                                                  "Monday",   "Tuesday", "Wednesday"};
constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string two(unsigned n, char filler = '0') {
    std::string const to = std::to_string(n);
    return to.size() == 1 ? filler + to : to;
}

enum class form { fixed, rfc850, asctime };

/// The standard library's calendar in place of ours.
std::string date(std::int64_t seconds, form as) {
    std::chrono::sys_seconds const at{std::chrono::seconds{seconds}};
    auto const day = std::chrono::floor<std::chrono::days>(at);
    std::chrono::year_month_day const ymd{day};
    auto const since = static_cast<unsigned>((at - day).count());
    std::int64_t const count = day.time_since_epoch().count();
    std::string_view const name = days[static_cast<std::size_t>((count % 7 + 7) % 7)];
    std::string const d = two(static_cast<unsigned>(ymd.day()), as == form::asctime ? ' ' : '0');
    std::string const m{months[static_cast<unsigned>(ymd.month()) - 1]};
    std::string year = std::to_string(static_cast<int>(ymd.year()));
    year.insert(0, 4 - year.size(), '0');
    std::string const time = two(since / 3600) + ':' + two(since / 60 % 60) + ':' + two(since % 60);
    switch (as) {
    case form::fixed:
        return std::string{name.substr(0, 3)} + ", " + d + ' ' + m + ' ' + year + ' ' + time +
               " GMT";
    case form::rfc850:
        return std::string{name} + ", " + d + '-' + m + '-' + year.substr(2) + ' ' + time + " GMT";
    case form::asctime:
        return std::string{name.substr(0, 3)} + ' ' + m + ' ' + d + ' ' + time + ' ' + year;
    }
    return {};
}

// From the years 0 to 9999.
constexpr std::int64_t first_second = -62167219200;
constexpr std::int64_t last_second = 253402300799;

void try_date(std::string_view text) {
    auto const read = cleave::parse_http_date(text);
    if (!read) return;
    require(*read >= first_second && *read <= last_second + 1,
            "a date is of a year of four digits");
    bool const rfc850 = text.find('-') != text.npos;
    form const as = rfc850                        ? form::rfc850
                    : text.find(',') != text.npos ? form::fixed
                                                  : form::asctime;
    // Second 60 is the next minute's first; the day's name is not held against the date, and in
    // asctime's form a day may have a zero before it.
    std::string given{text};
    std::size_t const colon = given.rfind(':');
    bool const leap = given.substr(colon + 1, 2) == "60";
    if (leap) given.replace(colon + 1, 2, "59");
    std::string const expected = date(*read - (leap ? 1 : 0), as);
    if (as == form::asctime && given[8] == '0') given[8] = ' ';
    std::size_t const name = given.find_first_of(", ");
    std::size_t const expected_name = expected.find_first_of(", ");
    require(given.substr(name) == expected.substr(expected_name), "a date is written as it was");
}

void try_made_date(cleave_fuzz::input& input) {
    auto const span = static_cast<std::uint64_t>(last_second - first_second + 1);
    auto const seconds = first_second + static_cast<std::int64_t>(input.below(span));
    for (form const as : {form::fixed, form::asctime})
        require(cleave::parse_http_date(date(seconds, as)) == seconds, "every date is read");
    // Two digits of a year: of 1970 to 2069.
    std::int64_t const recent = seconds - first_second;
    std::int64_t const within = recent % 3155760000; // of 100 years
    require(cleave::parse_http_date(date(within, form::rfc850)) == within,
            "every date of a year of two digits is read");
}

// ---- fields that need a head ----------------------------------------------------------------

bool is_opaque(std::string_view text) {
    // entity-tag without "W/": RFC 9110, section 8.8.3.
    return text.size() >= 2 && text.size() <= 1024 && text.front() == '"' && text.back() == '"' &&
           std::all_of(text.begin() + 1, text.end() - 1, [](char c) {
               auto const byte = static_cast<unsigned char>(c);
               return byte > 0x20 && byte != '"' && byte != 0x7f;
           });
}

void try_validators(std::string_view text) {
    std::size_t const line = text.find('\n');
    std::string const etag{text.substr(0, line)};
    std::string const modified{line == text.npos ? std::string_view{} : text.substr(line + 1)};
    head const h{"ETag: " + etag + "\r\nLast-Modified: " + modified +
                 "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"};
    if (!h.complete) return;
    auto const is = cleave::read_validator(*h);
    std::string_view const weak = cleave::weak_etag(*h);
    std::string_view const value = trimmed(etag);
    bool const strong = (*h).count("ETag") == 1 && is_opaque(value);
    require((is.is == cleave::validator::kind::strong_etag) == strong, "a strong ETag is one");
    if (strong) {
        require(is.text == value && weak.empty(), "a strong ETag is taken as it is");
    } else if (is.is == cleave::validator::kind::last_modified) {
        require(is.text == trimmed(modified), "a date is taken as it is");
        auto const at = cleave::parse_http_date(is.text);
        require(at && *at < 784111777, "a date counts when it is older than the reply");
    } else {
        require(is.text.empty(), "no validator has no text");
    }
    require(weak.empty() || (weak.starts_with("W/") && is_opaque(weak.substr(2))),
            "a weak ETag is one");

    cleave::identity read{7, {cleave::validator::kind::strong_etag, "\"old\""}, "W/\"old\""};
    cleave::read_identity(*h, read);
    require(!read.size && read.validator == is && read.weak_etag == weak,
            "an identity has the same validators");
}

void try_content_length(std::string_view text) {
    std::size_t const line = text.find('\n');
    std::string lines = "Content-Length: " + std::string{text.substr(0, line)} + "\r\n";
    if (line != text.npos)
        lines += "content-length: " + std::string{text.substr(line + 1)} + "\r\n";
    head const h{lines};
    if (!h.complete || (*h).count("Transfer-Encoding") != 0) return;
    // One number, however often.
    std::optional<std::uint64_t> expected;
    bool good = true;
    for (cleave::field const& f : (*h).fields()) {
        if (lower(f.name) != "content-length") continue;
        std::string const all = std::string{f.value} + ',';
        for (std::size_t at = 0; at != all.size();) {
            std::size_t const comma = all.find(',', at);
            auto const n = number(trimmed(std::string_view{all}.substr(at, comma - at)));
            good = good && n && *n >> 63U == 0 && (!expected || expected == n);
            expected = n;
            at = comma + 1;
        }
    }
    auto const framing = cleave::read_framing(*h);
    require(framing.bad.has_value() != good, "a Content-Length is one number or refused");
    if (!good) return;
    require(framing.framing ==
                cleave::body_framing{cleave::body_framing::kind::length, expected.value()},
            "a length is read");
}

void try_retry_after(std::string_view text) {
    head const h{"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: " + std::string{text} +
                 "\r\n"};
    if (!h.complete || (*h).fields().size() != 2) return;
    constexpr std::int64_t most = 86400;
    auto const read = cleave::read_retry_after(*h);
    require(!read || (read->count() >= 0 && read->count() <= most), "nobody waits for ever");
    std::string_view const value = trimmed(text);
    if (!value.empty() && value.find_first_not_of(digits) == value.npos) {
        auto const n = number(value);
        std::int64_t const expected = n && *n < 86400 ? static_cast<std::int64_t>(*n) : most;
        require(read && read->count() == expected, "seconds are read");
    } else if (auto const at = cleave::parse_http_date(value)) {
        require(read && read->count() == std::clamp<std::int64_t>(*at - 784111777, 0, most),
                "a date is held against the reply's own");
    } else {
        require(!read, "everything else is none");
    }
}

void try_connection(std::string_view text) {
    // The first byte: of which version, and whether the body has an end of its own.
    bool const old = !text.empty() && (text[0] & 1) != 0;
    bool const length = text.empty() || (text[0] & 2) != 0;
    std::string const value{text.substr(std::min<std::size_t>(text.size(), 1))};
    std::string const all = std::string{old ? "HTTP/1.0" : "HTTP/1.1"} +
                            " 200 x\r\nConnection: " + value + "\r\n" +
                            (length ? "Content-Length: 5\r\n" : "") + "\r\n";
    cleave::response_head_parser parser;
    auto const read = parser.feed(all);
    if (read.is != state::complete || read.consumed != all.size()) return;
    cleave::response_head const& h = parser.head();
    if (h.fields().size() != (length ? 2U : 1U)) return;
    bool close = false;
    bool keep_alive = false;
    std::string const options = lower(value) + ',';
    for (std::size_t at = 0; at != options.size();) {
        std::size_t const comma = options.find(',', at);
        std::string_view const option = trimmed(std::string_view{options}.substr(at, comma - at));
        close = close || option == "close";
        keep_alive = keep_alive || option == "keep-alive";
        at = comma + 1;
    }
    require(cleave::keeps_connection(h) == (length && !close && (!old || keep_alive)),
            "a connection lasts where both sides say so");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    switch (input.byte() % 9) {
    case 0: try_number(input.rest()); break;
    case 1: try_list(input.rest()); break;
    case 2: try_content_range(input.rest()); break;
    case 3: try_date(input.rest()); break;
    case 4: try_made_date(input); break;
    case 5: try_validators(input.rest()); break;
    case 6: try_content_length(input.rest()); break;
    case 7: try_retry_after(input.rest()); break;
    default: try_connection(input.rest()); break;
    }
    return 0;
}
