// SPDX-License-Identifier: BSL-1.0
//
// Heads and chunked bodies from any bytes: however they are split, the outcome is the same; and
// whatever a reply says, nothing is admitted that lies outside of the lease, and no server writes
// into our next request.
//
// The input: one byte n, n % 16 bytes of portion sizes, used in turn, and then what the server
// sends.

#include <cleave/http/admit.hpp>
#include <cleave/http/request_head.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

namespace {

using state = cleave::response_head_parser::progress::state;

void require(bool good) {
    if (!good) std::abort();
}

/// Hands out a text in portions, whose sizes come from the input.
class portions {
  public:
    portions(std::string_view text, std::string_view sizes) : text_(text), sizes_(sizes) {}
    bool empty() const { return text_.empty(); }
    std::string_view next() {
        std::size_t n = text_.size();
        if (!sizes_.empty())
            n = std::size_t{1} + static_cast<unsigned char>(sizes_[turn_++ % sizes_.size()]);
        std::string_view const to = text_.substr(0, n);
        text_.remove_prefix(to.size());
        return to;
    }

  private:
    std::string_view text_;
    std::string_view sizes_;
    std::size_t turn_ = 0;
};

struct head_outcome {
    state is = state::need_more;
    std::size_t consumed = 0;
    cleave::error why{};
};

head_outcome feed(cleave::response_head_parser& parser, portions from) {
    head_outcome to;
    while (to.is == state::need_more && !from.empty()) {
        std::string_view const portion = from.next();
        auto const p = parser.feed(portion);
        require(p.consumed <= portion.size());
        require(p.is != state::need_more || p.consumed == portion.size());
        to.is = p.is;
        to.consumed += p.consumed;
        if (p.is == state::failed) to.why = p.why;
    }
    return to;
}

void compare(cleave::response_head const& a, cleave::response_head const& b) {
    require(a.minor_version() == b.minor_version() && a.status() == b.status());
    require(a.reason() == b.reason());
    require(std::equal(a.fields().begin(), a.fields().end(), b.fields().begin(), b.fields().end(),
                       [](cleave::field const& x, cleave::field const& y) {
                           return x.name == y.name && x.value == y.value;
                       }));
    require(a.status() / 100 != 1);
    for (cleave::field const& f : a.fields()) {
        require(!f.name.empty());
        require(f.name.find_first_of(": \r\n") == std::string_view::npos);
        require(f.value.find_first_of("\r\n") == std::string_view::npos);
    }
}

struct body_outcome {
    std::string data;
    std::size_t consumed = 0;
    cleave::chunked_decoder::state is = cleave::chunked_decoder::state::more;

    friend bool operator==(body_outcome const&, body_outcome const&) = default;
};

body_outcome decode(portions from) {
    body_outcome to;
    cleave::chunked_decoder decoder;
    while (to.is == cleave::chunked_decoder::state::more && !from.empty()) {
        std::string_view portion = from.next();
        while (to.is == cleave::chunked_decoder::state::more && !portion.empty()) {
            auto const p = decoder.decode(portion);
            require(p.consumed <= portion.size() && p.data.size() <= p.consumed);
            require(p.consumed != 0);
            to.data += p.data;
            to.consumed += p.consumed;
            to.is = p.is;
            portion.remove_prefix(p.consumed);
        }
    }
    return to;
}

void judge(cleave::response_head const& head) {
    constexpr cleave::segment everything{0, cleave::max_offset};
    constexpr cleave::segment wanted[] = {everything, {5, 20}};
    constexpr cleave::lease leases[] = {{{0, 9}, true},
                                        {{5, cleave::max_offset}, true},
                                        {{300000, 399999}, true},
                                        {everything, false}};
    cleave::identity const known{1000000, cleave::read_validator(head),
                                 std::string(cleave::weak_etag(head))};
    for (cleave::lease const& asked : leases) {
        for (cleave::segment const all : wanted) {
            for (cleave::identity const* learnt :
                 {static_cast<cleave::identity const*>(nullptr), &known}) {
                cleave::admission const a = cleave::admit(head, asked, all, learnt);
                if (a.refused) {
                    require(static_cast<bool>(a.refused->code));
                    require(a.refused->status == head.status());
                    continue;
                }
                require(head.status() == 200 || head.status() == 206 || head.status() == 416);
                if (a.nothing) continue;
                require(a.write.valid() && (a.ranges ? asked.bytes : all).contains(a.write));
                require(a.write.first == (a.ranges ? asked.bytes.first : all.first));
                require(!a.reusable || a.framing.is != cleave::body_framing::kind::until_close);
                if (a.framing.is == cleave::body_framing::kind::length)
                    require(a.skip + a.write.size() <= a.framing.length);
                if (learnt && a.object.size) require(a.object.size == known.size);
            }
        }
    }

    // A validator that comes back in our request is one line of it.
    std::error_code ec;
    auto const target = cleave::url::parse("http://h/", ec);
    std::string request;
    cleave::write_request_head(request, {target, leases[0].bytes, &known.validator, {}, ""});
    require(std::count(request.begin(), request.end(), '\n') ==
            (known.validator.is == cleave::validator::kind::none ? 6 : 7));
    static_cast<void>(cleave::read_retry_after(head));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    std::string input(size, '\0');
    std::copy(data, data + size, input.begin());
    std::string_view text = input;
    std::string_view const sizes = text.substr(1, static_cast<unsigned char>(text[0]) % 16u);
    text.remove_prefix(1 + sizes.size());

    cleave::response_head_parser at_once{{.bytes = 4096, .fields = 32, .interim = 4}};
    cleave::response_head_parser split{{.bytes = 4096, .fields = 32, .interim = 4}};
    // The parser has been in use before.
    split.feed("HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 x\r\nC: d\r\n\r\n");
    split.reset();

    head_outcome const a = feed(at_once, {text, {}});
    head_outcome const b = feed(split, {text, sizes});
    require(a.is == b.is && a.why == b.why);
    if (a.is == state::complete) {
        require(a.consumed == b.consumed);
        compare(at_once.head(), split.head());
        judge(at_once.head());
        text.remove_prefix(a.consumed);
    }
    require(decode({text, {}}) == decode({text, sizes}));
    return 0;
}
