// SPDX-License-Identifier: BSL-1.0
//
// Servers that answer as an input says: rightly, wrongly, of another version, in part, in chunks,
// not at all. What they say of themselves is true, so that whoever believes them has bytes of one
// version; but for the few replies that nobody may take anything of. Sends nothing itself.
#pragma once

#include "input.hpp"

#include <cleave/base/identity.hpp>
#include <cleave/base/segment.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace cleave_fuzz {

/// Which bytes an object has: those of one host in one version.
using content = std::uint8_t;
/// None: of a reply that makes no sense.
inline constexpr content no_content = 0xff;

inline std::byte byte_of(content c, std::uint64_t at) noexcept {
    std::uint64_t const z = (at + 1) * 0x9e3779b97f4a7c15U + c * 0xbf58476d1ce4e5b9U;
    return static_cast<std::byte>(z >> 56U);
}

/// What servers say of a version. Where they say nothing there is but one, and one host's bytes are
/// another's.
enum class tells : std::uint8_t { etag, weak, date, nothing };

inline cleave::validator validator_of(tells how, content c) {
    using kind = cleave::validator::kind;
    if (how == tells::etag) return {kind::strong_etag, "\"c" + std::to_string(c) + "\""};
    if (how == tells::date)
        return {kind::last_modified,
                "Sun, 06 Nov 1994 08:49:" + std::to_string(10 + c % 40) + " GMT"};
    return {};
}
inline std::string validator_lines(tells how, content c) {
    switch (how) {
    case tells::etag: return "ETag: " + validator_of(how, c).text + "\r\n";
    case tells::weak: return "ETag: W/\"c" + std::to_string(c) + "\"\r\n";
    case tells::date:
        return "Last-Modified: " + validator_of(how, c).text +
               "\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\n";
    case tells::nothing: break;
    }
    return {};
}

inline constexpr std::array<std::string_view, 3> hosts{"a", "b", "c"};

/// The value of a field: `name` is "\r\nHost: ".
inline std::string_view field_of(std::string_view request, std::string_view name) noexcept {
    std::size_t const at = request.find(name);
    if (at == request.npos) return {};
    std::size_t const from = at + name.size();
    return request.substr(from, request.find('\r', from) - from);
}

/// What one request asks for, as a server reads it.
struct asked {
    std::size_t host = 0;
    std::optional<cleave::segment> range;
    std::string if_range;

    /// Of a request's head. Its host is one of ours, and its range not reversed.
    static asked read(std::string_view request) {
        asked to;
        auto const host = std::find(hosts.begin(), hosts.end(), field_of(request, "\r\nHost: "));
        require(host != hosts.end(), "a request goes to a host that somebody named");
        to.host = static_cast<std::size_t>(host - hosts.begin());
        to.if_range = field_of(request, "\r\nIf-Range: ");
        std::string_view const range = field_of(request, "\r\nRange: bytes=");
        if (range.empty()) return to;
        std::size_t const dash = range.find('-');
        require(dash != range.npos && dash != 0, "a range has two ends");
        auto const number = [](std::string_view text) {
            return std::strtoull(std::string{text}.c_str(), nullptr, 10);
        };
        to.range = cleave::segment{number(range.substr(0, dash)), cleave::max_offset};
        if (dash + 1 != range.size()) to.range->last = number(range.substr(dash + 1));
        require(to.range->valid(), "a range is not reversed");
        return to;
    }
};

/// One reply, and the body that comes with it.
struct reply {
    std::string head;
    content of = no_content;
    std::uint64_t first = 0; ///< of the object, the first byte of the body
    std::uint64_t count = 0; ///< of the body, the bytes that there are
    bool ranged = false;     ///< a part
    bool length = true;      ///< told in the head
    bool chunked = false;
    bool closes = false;                 ///< the connection, at the end
    std::optional<std::uint64_t> breaks; ///< after so many bytes of the body
    bool silent = false;                 ///< there, in place of an end
    bool never = false;                  ///< comes at all
    bool fair = true;                    ///< one that a client has to cope with at once
};

/// One object on several hosts.
class servers {
  public:
    std::uint64_t size = 0;
    tells how = tells::etag;
    bool ranges = true;
    std::array<bool, hosts.size()> other{}; ///< which hosts have other bytes
    std::uint8_t version = 0;               ///< counts up

    [[nodiscard]] content current(std::size_t host) const noexcept {
        return static_cast<content>((other[host] ? host * 10 : 0) + version);
    }
    /// There is another version from now on, where that can be told.
    void change() noexcept {
        if (how != tells::nothing && version < 9) ++version;
    }

    /// Behind its end an input means that all is well.
    reply answer(asked const& a, input& by) {
        std::uint8_t const what = by.byte();
        std::uint8_t const with = what < 0x60 ? 0 : by.byte();
        content const of = current(a.host);
        reply r = honest(a, of);
        if (r.head.ends_with("\r\n\r\n")) return r;
        bool const may_part = ranges && a.range && size != 0 && a.range->first < size;
        cleave::segment const got =
            may_part ? cleave::segment{a.range->first, std::min(a.range->last, size - 1)}
                     : cleave::segment{};
        r.closes = with >= 0xe0;
        bool fair = true;
        switch (what < 0x60 ? 0 : (what - 0x60) / 8 + 1) {
        default: break;
        case 1:
            r = honest(a, of, false);
            r.head += "Transfer-Encoding: chunked\r\n";
            r.chunked = true;
            break;
        case 2: // until the connection ends
            r = honest(a, of, false);
            r.closes = true;
            break;
        case 3: // fewer bytes than were asked for
            if (may_part) r = part(of, {got.first, got.first + with % got.size()}, size);
            break;
        case 4: // more
            if (may_part)
                r = part(of, {got.first, std::min(got.last + 1 + with % 50U, size - 1)}, size);
            break;
        case 5: // others
            fair = false;
            if (may_part) {
                std::uint64_t const first = with % size;
                r = part(of, {first, std::max(first, got.last)}, size);
            }
            break;
        case 6: // of an object of another size
            fair = false;
            if (may_part) r = part(of, got, got.last + 1 + with);
            break;
        case 7: // of the next version, as everything from now on
            fair = false;
            change();
            r = honest(a, current(a.host));
            break;
        case 8: // the whole, whatever was asked
            fair = false;
            r = honest({a.host, std::nullopt, {}}, of);
            break;
        case 9: {
            fair = false;
            constexpr std::array<std::string_view, 16> statuses{
                "404", "403", "401", "410", "429", "503", "500", "412",
                "304", "407", "408", "204", "226", "999", "451", "416"};
            r = bare(statuses[with % 16U]);
            if (with >= 0x80) r.head += "Retry-After: 1\r\n";
            break;
        }
        case 10: {
            fair = false;
            constexpr std::array<std::string_view, 6> places{
                "/z", "http://b/z", "http://c/z", "https://a/z", "ftp://a/", "http://user@c/z"};
            r = bare(with % 2U == 0 ? "302" : "307");
            r.head += "Location: ";
            r.head += places[with / 2 % 6U];
            r.head += "\r\n";
            break;
        }
        case 11: // lengths that disagree
            fair = false;
            if (may_part) {
                r = part(of, got, size, false);
                r.head += "Content-Length: " + std::to_string(with) + "\r\n";
                r.length = true;
                if (with != got.size()) r.of = no_content;
            }
            break;
        case 12:
            fair = false;
            r = bare("206");
            r.head += "Content-Type: multipart/byteranges; boundary=x\r\n";
            break;
        case 13:
            fair = false;
            r = bare("200");
            r.head += "Content-Encoding: gzip\r\n";
            break;
        case 14: // not HTTP
            r = {};
            r.head = with < 0x80 ? "SSH-2.0-x\r\n" : "HTTP/1.1 200 x\r\nno field\r\n\r\n";
            r.closes = true;
            r.fair = false;
            return r;
        case 15: r.head = "HTTP/1.1 103 x\r\nETag: \"none\"\r\n\r\n" + r.head; break;
        case 16:
            fair = false;
            r.never = true;
            break;
        case 17: // breaks off
        case 18:
            fair = false;
            if (r.count != 0) r.breaks = with % r.count;
            break;
        case 19: // falls silent
            fair = false;
            if (r.count != 0) r.breaks = with % r.count;
            r.silent = true;
            break;
        }
        r.fair = fair;
        if (r.closes && (r.length || r.chunked)) r.head += "Connection: close\r\n";
        r.head += "\r\n";
        return r;
    }

    /// The reply that the protocol asks for, without its last empty line but for 416.
    [[nodiscard]] reply honest(asked const& a, content of, bool length = true) const {
        reply r;
        bool const is_current = a.if_range.empty() || a.if_range == validator_of(how, of).text;
        if (a.range && is_current && ranges && size != 0) {
            if (a.range->first < size)
                return part(of, {a.range->first, std::min(a.range->last, size - 1)}, size, length);
            r.head = "HTTP/1.1 416 x\r\nContent-Length: 0\r\nContent-Range: bytes */";
            r.head += std::to_string(size) + "\r\n\r\n";
            return r;
        }
        r.of = of;
        r.count = size;
        r.length = length;
        r.head = "HTTP/1.1 200 x\r\n" + validator_lines(how, of);
        if (length) r.head += "Content-Length: " + std::to_string(size) + "\r\n";
        return r;
    }

  private:
    [[nodiscard]] reply part(content of, cleave::segment bytes, std::uint64_t total,
                             bool length = true) const {
        reply r;
        r.of = of;
        r.first = bytes.first;
        r.count = bytes.size();
        r.length = length;
        r.ranged = true;
        r.head = "HTTP/1.1 206 x\r\n" + validator_lines(how, of) + "Content-Range: bytes ";
        r.head += std::to_string(bytes.first) + '-' + std::to_string(bytes.last) + '/';
        r.head += std::to_string(total) + "\r\n";
        if (length) r.head += "Content-Length: " + std::to_string(bytes.size()) + "\r\n";
        return r;
    }
    [[nodiscard]] static reply bare(std::string_view status) {
        reply r;
        r.head = "HTTP/1.1 ";
        r.head += status;
        r.head += " x\r\nContent-Length: 4\r\n";
        return r;
    }
};

} // namespace cleave_fuzz
