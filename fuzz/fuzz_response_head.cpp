// SPDX-License-Identifier: BSL-1.0
//
// Heads of replies from any bytes: however they are split, the outcome is the same; what is
// accepted holds nothing but what a head may hold, and is read again from what it is written as.
//
// The input: one byte n, n % 16 bytes of portion sizes, and then what the server sends.

#include "input.hpp"

#include <cleave/base/error.hpp>
#include <cleave/http/response_head.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

using cleave_fuzz::require;
using state = cleave::response_head_parser::progress::state;

constexpr cleave::head_limits limits{.bytes = 4096, .fields = 32, .interim = 4};

struct outcome {
    state is = state::need_more;
    std::size_t consumed = 0;
    cleave::error why{};
};

outcome feed(cleave::response_head_parser& parser, cleave_fuzz::portions from) {
    outcome to;
    while (to.is == state::need_more && !from.empty()) {
        std::string_view const portion = from.next();
        auto const p = parser.feed(portion);
        require(p.consumed <= portion.size(), "no more is used than was given");
        require(p.is != state::need_more || p.consumed == portion.size(),
                "who needs more has used all");
        to.is = p.is;
        to.consumed += p.consumed;
        if (p.is == state::failed) to.why = p.why;
    }
    return to;
}

bool is_token(std::string_view text) {
    // RFC 9110, section 5.6.2: visible, and no delimiter.
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return c > ' ' && c < 0x7f &&
               std::string_view{"\"(),/:;<=>?@[\\]{}"}.find(c) == std::string_view::npos;
    });
}
bool is_text(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        auto const byte = static_cast<unsigned char>(c);
        return byte == '\t' || (byte >= ' ' && byte != 0x7f);
    });
}

bool same(cleave::response_head const& a, cleave::response_head const& b) {
    return a.minor_version() == b.minor_version() && a.status() == b.status() &&
           a.reason() == b.reason() &&
           std::equal(a.fields().begin(), a.fields().end(), b.fields().begin(), b.fields().end(),
                      [](cleave::field const& x, cleave::field const& y) {
                          return x.name == y.name && x.value == y.value;
                      });
}

void judge(cleave::response_head const& head, std::string_view bytes) {
    require(bytes.ends_with("\r\n\r\n"), "a head ends with an empty line");
    require(bytes.size() <= limits.bytes, "a head keeps within its limit");
    require(head.minor_version() == 0 || head.minor_version() == 1, "the version is known");
    require(head.status() >= 0 && head.status() <= 999, "a status has three digits");
    require(head.status() / 100 != 1, "interim replies are skipped");
    require(is_text(head.reason()), "a reason is text");
    require(head.fields().size() <= limits.fields, "fields keep within their limit");
    for (cleave::field const& f : head.fields()) {
        require(is_token(f.name), "a name is a token");
        require(is_text(f.value), "a value is text");
        require(f.value.empty() || (f.value.front() != ' ' && f.value.front() != '\t' &&
                                    f.value.back() != ' ' && f.value.back() != '\t'),
                "a value has no white space around it");
        require(f.name.data() + f.name.size() < f.value.data(), "a value stands behind its name");
        require(head.count(f.name) >= 1 && head.find(f.name).has_value(), "a field is found");
    }

    std::string written = "HTTP/1.";
    written += static_cast<char>('0' + head.minor_version());
    written += ' ';
    for (int const unit : {100, 10, 1})
        written += static_cast<char>('0' + head.status() / unit % 10);
    if (!head.reason().empty()) {
        written += ' ';
        written += head.reason();
    }
    written += "\r\n";
    for (cleave::field const& f : head.fields()) {
        written += f.name;
        written += ':';
        written += f.value;
        written += "\r\n";
    }
    written += "\r\n";
    cleave::response_head_parser again;
    auto const read = again.feed(written);
    require(read.is == state::complete && read.consumed == written.size() &&
                same(again.head(), head),
            "what is written of a head reads as the same");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    std::string_view const sizes = cleave_fuzz::portion_sizes(input);
    std::string_view const text = input.rest();

    cleave::response_head_parser at_once{limits};
    cleave::response_head_parser split{limits};
    // One has been in use before.
    split.feed("HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 x\r\nC: d\r\n\r\n");
    split.reset();
    require(split.untouched(), "a reset leaves nothing");

    outcome const a = feed(at_once, cleave_fuzz::portions{text});
    outcome const b = feed(split, cleave_fuzz::portions{text, sizes});
    require(a.is == b.is && a.why == b.why, "however a head is split, the outcome is the same");
    require(at_once.untouched() == text.empty(), "what was fed is known");
    if (a.is == state::need_more) {
        require(a.consumed == b.consumed && text.size() <= limits.bytes,
                "nobody needs more than the limit");
        return 0;
    }
    if (a.is == state::complete) {
        require(a.consumed == b.consumed && same(at_once.head(), split.head()),
                "however a head is split, it reads the same");
        judge(at_once.head(), text.substr(0, a.consumed));
    }
    auto const more = at_once.feed("HTTP/1.1 200 x\r\n\r\n");
    require(more.is == a.is && more.consumed == 0, "what was once complete or failed stays so");
    return 0;
}
