// SPDX-License-Identifier: BSL-1.0
//
// Replies judged against leases, all of the input's choice: what is admitted lies in the lease, is
// of one identity and ends where the framing says; everything else is refused with one error; and
// the outcome does not depend on what was judged before.
//
// The input: what was asked for, what is wanted, what is known; one byte: when odd, the rest is a
// head as a server sends it, when even, it says which fields a head is made of.

#include "input.hpp"

#include <cleave/base/identity.hpp>
#include <cleave/base/lease.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/http/admit.hpp>
#include <cleave/http/response_head.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace {

using cleave::segment;
using cleave::validator;
using cleave_fuzz::require;
using cleave_fuzz::same_name;
using state = cleave::response_head_parser::progress::state;

// ---- what is made of the input --------------------------------------------------------------

/// Small ones are far more likely to meet others.
std::uint64_t offset(cleave_fuzz::input& from) {
    std::uint8_t const form = from.byte();
    if (form < 0xd0) return form % 32U;
    if (form < 0xf0) return cleave::max_offset - form % 16U;
    return from.number();
}
segment any_segment(cleave_fuzz::input& from) {
    std::uint64_t const a = offset(from);
    std::uint64_t const b = offset(from);
    return {std::min(a, b), std::max(a, b)};
}

constexpr std::array<std::string_view, 6> etags{"\"v1\"",   "\"v2\"", "W/\"v1\"",
                                                "W/\"v2\"", "v1",     "\"\""};
constexpr std::array<std::string_view, 4> dates{"Sun, 06 Nov 1994 08:49:37 GMT",
                                                "Sun, 06 Nov 1994 08:49:38 GMT",
                                                "Mon, 07 Nov 1994 08:49:37 GMT", "yesterday"};

std::string made_head(cleave_fuzz::input& from) {
    constexpr std::array<std::string_view, 18> statuses{"206", "200", "416", "206", "206", "204",
                                                        "226", "302", "304", "401", "403", "404",
                                                        "408", "412", "429", "500", "503", "999"};
    std::string to;
    to.reserve(512);
    to += from.chance(10) ? "HTTP/1.0 " : "HTTP/1.1 ";
    to += statuses[from.index(statuses.size())];
    to += "\r\n";
    auto const field = [&](std::string_view name, std::string_view value) {
        to += name;
        to += ": ";
        to += value;
        to += "\r\n";
    };
    for (int fields = 0; fields != 6 && !from.empty(); ++fields) {
        switch (from.byte() % 12) {
        case 0:
        case 1:
        case 2: {
            segment const s = any_segment(from);
            std::uint64_t const total = from.chance(70) ? s.last + 1 + offset(from) : offset(from);
            field("Content-Range", "bytes " + std::to_string(s.first) + '-' +
                                       std::to_string(s.last) + '/' +
                                       (from.chance(20) ? "*" : std::to_string(total)));
            // Most often the length agrees.
            if (from.chance(80)) field("Content-Length", std::to_string(s.size()));
            break;
        }
        case 3: field("Content-Range", "bytes */" + std::to_string(offset(from))); break;
        case 4: field("Content-Length", std::to_string(offset(from))); break;
        case 5: field("ETag", etags[from.index(etags.size())]); break;
        case 6: field("Last-Modified", dates[from.index(dates.size())]); break;
        case 7: field("Date", dates[from.index(dates.size())]); break;
        case 8: field("Transfer-Encoding", from.chance(80) ? "chunked" : "gzip, chunked"); break;
        case 9: field("Connection", from.chance(50) ? "close" : "keep-alive"); break;
        case 10: field("Content-Encoding", from.chance(50) ? "identity" : "gzip"); break;
        default:
            if (from.chance(50))
                field("Content-Type", "multipart/byteranges; boundary=x");
            else
                field("Location", "http://user:secret@h/?token=secret");
        }
    }
    to += "\r\n";
    return to;
}

// ---- what holds -----------------------------------------------------------------------------

bool named(cleave::field const& f, std::string_view name) { return same_name(f.name, name); }
std::string_view opaque(std::string_view etag) {
    return etag.starts_with("W/") ? etag.substr(2) : etag;
}

struct one_case {
    cleave::response_head const& head;
    cleave::lease asked;
    segment wanted;
    cleave::identity const* known;
};

// Whether a text with a URL in it shows that one's query or userinfo.
bool tells_secrets(std::string_view text) {
    std::size_t const begins = text.find("://");
    if (begins == text.npos) return text.find("secret") != text.npos;
    std::string_view const authority =
        text.substr(begins + 3, text.find('/', begins + 3) - (begins + 3));
    std::size_t const query = text.find('?');
    return authority.find('@') != authority.npos ||
           (query != text.npos && text.substr(query) != "?...");
}

void judge_refusal(one_case const& c, cleave::failure const& why) {
    require(static_cast<bool>(why.code) && why.where == cleave::phase::head,
            "a refusal has one error, of a head");
    require(why.status == c.head.status(), "a refusal tells the status");
    require(!tells_secrets(why.detail), "a refusal holds no secrets");
    require(std::all_of(why.detail.begin(), why.detail.end(),
                        [](char b) { return b >= ' ' && b < 0x7f; }),
            "a refusal is a line of text");
    require(!why.retry_after || c.head.status() == 429 || c.head.status() == 503,
            "who is busy says how long");
}

void judge_admission(one_case const& c, cleave::admission const& a) {
    using kind = cleave::body_framing::kind;
    int const status = c.head.status();
    require(status == 200 || status == 206 || status == 416, "only these can be used");
    require(a.object.validator == cleave::read_validator(c.head) &&
                a.object.weak_etag == cleave::weak_etag(c.head),
            "what the reply says of the object is told");
    for (cleave::field const& f : c.head.fields()) {
        if (named(f, "Transfer-Encoding") && status != 416)
            require(a.framing.is == kind::chunked && same_name(f.value, "chunked"),
                    "what is coded in parts is taken in no other coding");
        if (named(f, "Content-Encoding") && status != 416)
            require(f.value.find_first_of("gzGZ") == f.value.npos, "nothing coded is taken");
    }
    if (a.nothing) {
        require(c.wanted.first == 0 && a.object.size == std::uint64_t{0}, "nothing is nothing");
        require(status == 200 || (status == 416 && c.known == nullptr), "nothing was asked for");
        require(!a.reusable || a.framing == cleave::body_framing{kind::length, 0},
                "after nothing there is nothing to read");
        return;
    }
    require(status != 416 && a.ranges == (status == 206), "a part is a part");
    require(a.write.valid(), "what is written is a segment");
    require((a.ranges ? c.asked.bytes : c.wanted).contains(a.write),
            "nothing is written that was not asked for");
    require(a.write.first == (a.ranges ? c.asked.bytes.first : c.wanted.first),
            "what is written begins where it should");
    require(!a.ranges || (c.asked.ranged && a.skip == 0), "of a part nothing is skipped");
    require(a.ranges || a.skip == c.wanted.first, "of the whole the beginning is skipped");
    require(a.ranges || !c.asked.ranged || c.known == nullptr,
            "a whole in place of a part is only taken first");
    require(!a.reusable || a.framing.is != kind::until_close, "what is closed is not used again");
    if (a.framing.is == kind::length) {
        // Beyond 2^63 no length is taken, so that this cannot overflow.
        require(a.skip <= a.framing.length && a.write.size() <= a.framing.length - a.skip,
                "what is written lies in the body");
        require(!a.reusable || a.skip + a.write.size() == a.framing.length,
                "a connection is used again when all of the body is read");
    }
    require(a.open_ended == (!a.object.size && !a.ranges && !(c.known && c.known->size)),
            "where nobody knows the end, that is said");
    if (a.object.size) require(a.write.last < *a.object.size, "what is written lies in the object");

    if (a.ranges) {
        std::size_t n = 0;
        for (cleave::field const& f : c.head.fields()) {
            if (!named(f, "Content-Range")) continue;
            ++n;
            auto const range = cleave::parse_content_range(f.value);
            require(range && range->bytes && range->bytes->first == a.write.first &&
                        range->bytes->contains(a.write),
                    "what is written is what the reply says it holds");
            require(!range->total || range->total == a.object.size, "the size is the one told");
        }
        require(n != 0, "a part says which");
    }

    if (c.known == nullptr) return;
    require(!a.object.size || !c.known->size || a.object.size == c.known->size,
            "an object has one size");
    if (c.known->validator.is == validator::kind::strong_etag && c.asked.ranged)
        require(a.object.validator == c.known->validator, "an object has one strong ETag");
    for (cleave::field const& f : c.head.fields()) {
        if (named(f, "Last-Modified") && c.known->validator.is == validator::kind::last_modified)
            require(f.value == c.known->validator.text, "an object has one date");
        if (named(f, "ETag") && c.head.count("ETag") == 1 && !c.known->weak_etag.empty() &&
            c.known->validator.is != validator::kind::strong_etag && !a.object.weak_etag.empty())
            require(opaque(f.value) == opaque(c.known->weak_etag), "an object has one weak ETag");
    }
}

bool same(cleave::admission const& a, cleave::admission const& b) {
    if (a.refused.has_value() != b.refused.has_value()) return false;
    if (a.refused)
        return a.refused->code == b.refused->code && a.refused->kind == b.refused->kind &&
               a.refused->detail == b.refused->detail &&
               a.refused->retry_after == b.refused->retry_after;
    return a.write == b.write && a.skip == b.skip && a.framing == b.framing &&
           a.nothing == b.nothing && a.open_ended == b.open_ended && a.ranges == b.ranges &&
           a.reusable == b.reusable && a.object == b.object;
}

// What was judged before, with something in every member.
cleave::admission used() {
    cleave::admission to;
    to.refused = cleave::failure::of(cleave::error::gone, cleave::phase::body, "before");
    to.write = {7, 8};
    to.skip = 9;
    to.framing = {cleave::body_framing::kind::chunked, 10};
    to.nothing = to.open_ended = to.reusable = true;
    to.ranges = false;
    to.object = {11, {validator::kind::strong_etag, "\"before\""}, "W/\"before\""};
    return to;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    cleave::lease const asked{any_segment(input), input.chance(85)};
    // What is asked for is wanted, or more than that.
    segment wanted = asked.bytes;
    std::uint8_t const form = input.byte();
    if (form % 4 == 0) wanted = {0, cleave::max_offset};
    if (form % 4 == 1) wanted.last = std::max(wanted.last, offset(input));
    if (form % 4 == 2) wanted.first = std::min(wanted.first, offset(input));

    std::optional<cleave::identity> known;
    if (input.chance(60)) {
        known.emplace();
        if (input.chance(80)) known->size = offset(input);
        std::uint8_t const is = input.byte();
        if (is % 4 == 1)
            known->validator = {validator::kind::strong_etag, std::string{etags[is / 4 % 2]}};
        if (is % 4 == 2)
            known->validator = {validator::kind::last_modified, std::string{dates[is / 4 % 2]}};
        if (is % 4 == 3) known->weak_etag = etags[2 + is / 4 % 2];
    }
    std::string const text =
        input.byte() % 2 == 0 ? made_head(input) : "HTTP/1.1 " + std::string{input.rest()};

    cleave::response_head_parser parser;
    if (parser.feed(text).is != state::complete) return 0;
    one_case const c{parser.head(), asked, wanted, known ? &*known : nullptr};
    cleave::admission const a = cleave::admit(c.head, c.asked, c.wanted, c.known);
    if (a.refused)
        judge_refusal(c, *a.refused);
    else
        judge_admission(c, a);

    if (size % 2 == 0) return 0;
    cleave::admission again = used();
    cleave::admit(c.head, c.asked, c.wanted, c.known, again);
    require(same(a, again), "what was judged before does not matter");
    return 0;
}
