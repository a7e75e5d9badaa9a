// SPDX-License-Identifier: BSL-1.0
//
// Where an object is: an absolute http or https URL, read strictly and in one way only, so that
// the host that is connected to is the host that the caller read. Resolves no names, follows no
// relative references, and knows nothing of requests or files.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/base/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

/// An absolute URL of scheme http or https (RFC 3986, section 3; RFC 9110, section 4.2).
///
/// A value; default-constructed it is empty. Narrower than RFC 3986 where two programs could read
/// one text in two ways: the host is a DNS name, a dotted quad without leading zeros or an IPv6
/// address in brackets; it holds no percent sign, no zone identifier and no numeric shorthand such
/// as `127.1` or `0x7f000001`. Spaces, control characters, backslashes and bytes beyond ASCII are
/// refused everywhere; write them percent-encoded.
class url {
  public:
    /// An empty URL: no host, and not to be requested.
    url() = default;

    /// Reads a URL. On failure the answer is empty and `ec` is `error::bad_url`, or
    /// `error::unsupported_scheme` for a scheme other than http and https.
    [[nodiscard]] static url parse(std::string_view text, std::error_code& ec);

    /// "http" or "https"; empty in an empty URL.
    [[nodiscard]] std::string_view scheme() const noexcept {
        if (empty()) return {};
        return secure_ ? "https" : "http";
    }
    /// In lower case; an IPv6 address without its brackets.
    [[nodiscard]] std::string_view host() const noexcept { return host_; }
    /// As written, else the scheme's own: 80 or 443.
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// Path and query as written, "/" where there are none; the request line's target
    /// (RFC 9112, section 3.2.1). The fragment is dropped.
    [[nodiscard]] std::string_view target() const noexcept { return target_; }
    /// What stands before '@', as written: a secret. Empty where there is none.
    [[nodiscard]] std::string_view userinfo() const noexcept { return userinfo_; }

    /// Sets the userinfo, from a user's name and a password as they are. `error::bad_url`, and
    /// nothing set, where the URL is empty, either holds a control character, or the name a colon.
    void set_userinfo(std::string_view user, std::string_view password, std::error_code& ec);
    /// Takes over the userinfo of `other`, of the same origin.
    void take_userinfo(url const& other) { userinfo_ = other.userinfo_; }

    /// Whether the host is an address, IPv4 or IPv6, rather than a name to resolve.
    [[nodiscard]] bool is_ip_literal() const noexcept { return host_is_ != host_kind::name; }
    [[nodiscard]] bool is_ipv6_literal() const noexcept { return host_is_ == host_kind::ipv6; }

    /// The value of a request's Host field (RFC 9110, section 7.2): brackets around IPv6, the port
    /// only where it is not the scheme's own.
    [[nodiscard]] std::string host_field() const {
        std::string to;
        append_host_field(to);
        return to;
    }
    /// The same, written behind what `to` holds.
    void append_host_field(std::string& to) const;

    /// For people and logs: without userinfo, and with "?..." in place of a query, for both may
    /// hold secrets.
    [[nodiscard]] std::string to_string() const;

    /// A file name made from the last part of the path; empty where that gives none.
    ///
    /// Percent-decoded, and then safe as a name within a directory of a POSIX file system: no '/'
    /// or '\', no control characters, well-formed UTF-8, no '.' or '-' in front (so neither "."
    /// nor ".." nor a hidden file nor an option), at most 255 bytes.
    [[nodiscard]] std::string file_name() const;

    [[nodiscard]] bool empty() const noexcept { return host_.empty(); }

    friend bool operator==(url const&, url const&) = default;

  private:
    enum class host_kind : unsigned char { name, ipv4, ipv6 };

    bool read_authority(std::string_view text);
    [[nodiscard]] std::uint16_t default_port() const noexcept { return secure_ ? 443 : 80; }

    std::string host_;
    std::string target_;
    std::string userinfo_;
    std::uint16_t port_ = 0;
    host_kind host_is_ = host_kind::name;
    bool secure_ = false;
};

namespace detail {

/// The byte that "%xx" at `at` stands for, or -1 where there is no such triple.
[[nodiscard]] constexpr int url_triple(std::string_view text, std::size_t at) noexcept {
    if (text.size() - at < 3 || text[at] != '%') return -1;
    int const high = ascii_hex(text[at + 1]);
    int const low = ascii_hex(text[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/// Percent-decodes (RFC 3986, section 2.1); what is no triple stays as it is.
[[nodiscard]] inline std::string url_decode(std::string_view text) {
    std::string to;
    to.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        int const byte = url_triple(text, i);
        if (byte < 0) {
            to.push_back(text[i]);
        } else {
            to.push_back(static_cast<char>(byte));
            i += 2;
        }
    }
    return to;
}

/// Four numbers of 0 to 255 without leading zeros (RFC 3986, section 3.2.2, "IPv4address").
[[nodiscard]] constexpr bool url_is_ipv4(std::string_view text) noexcept {
    for (int part = 0; part < 4; ++part) {
        std::size_t digits = 0;
        int value = 0;
        while (digits < text.size() && digits < 4 && ascii_is_digit(text[digits]))
            value = value * 10 + (text[digits++] - '0');
        if (digits == 0 || value > 255 || (digits > 1 && text[0] == '0')) return false;
        text.remove_prefix(digits);
        if (part == 3) break;
        if (text.empty() || text[0] != '.') return false;
        text.remove_prefix(1);
    }
    return text.empty();
}

/// RFC 3986, section 3.2.2, "IPv6address": eight groups, at most one run of zeros left out, the
/// last two groups perhaps written as IPv4. No zone.
[[nodiscard]] constexpr bool url_is_ipv6(std::string_view text) noexcept {
    int groups = 0;
    bool shortened = false;
    if (text.starts_with("::")) {
        shortened = true;
        text.remove_prefix(2);
        if (text.empty()) return true;
    }
    for (;;) {
        std::size_t digits = 0;
        while (digits < text.size() && ascii_hex(text[digits]) >= 0) ++digits;
        if (digits < text.size() && text[digits] == '.') {
            if (!url_is_ipv4(text)) return false;
            groups += 2;
            break;
        }
        if (digits == 0 || digits > 4) return false;
        ++groups;
        text.remove_prefix(digits);
        if (text.empty()) break;
        if (text[0] != ':') return false;
        text.remove_prefix(1);
        if (text.starts_with(':')) {
            if (shortened) return false;
            shortened = true;
            text.remove_prefix(1);
            if (text.empty()) break;
        }
    }
    return shortened ? groups < 8 : groups == 8;
}

/// Labels of letters, digits, '-' and '_', of 1 to 63 bytes, 253 in all; a dot at the end is the
/// DNS root and allowed.
[[nodiscard]] constexpr bool url_is_name(std::string_view text) noexcept {
    if (text.ends_with('.')) text.remove_suffix(1);
    if (text.empty() || text.size() > 253) return false;
    std::size_t label = 0;
    for (char const c : text) {
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
        } else {
            if (!ascii_is_letter(c) && !ascii_is_digit(c) && c != '-' && c != '_') return false;
            if (++label > 63) return false;
        }
    }
    if (label == 0) return false;
    // Resolvers read "1", "127.1" and "0x7f.1" as addresses: a name does not end in a number.
    std::string_view const last = text.substr(text.size() - label);
    bool const decimal = std::all_of(last.begin(), last.end(), ascii_is_digit);
    bool const hex =
        last.size() > 1 && last[0] == '0' && ascii_lower(last[1]) == 'x' &&
        std::all_of(last.begin() + 2, last.end(), [](char c) { return ascii_hex(c) >= 0; });
    return !decimal && !hex;
}

/// RFC 3986, section 3.2.1, and what of it fits Basic credentials (RFC 7617, section 2): no
/// control characters, and no colon within the user's name, once decoded.
[[nodiscard]] constexpr bool url_is_userinfo(std::string_view text) noexcept {
    bool in_name = true;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char const c = text[i];
        if (c == '%') {
            int const byte = url_triple(text, i);
            if (byte < 0x20 || byte == 0x7f || (byte == ':' && in_name)) return false;
            i += 2;
        } else if (c == ':') {
            in_name = false;
        } else if (!ascii_is_letter(c) && !ascii_is_digit(c) &&
                   std::string_view{"-._~!$&'()*+,;="}.find(c) == std::string_view::npos) {
            return false;
        }
    }
    return true;
}

/// Bytes of the well-formed UTF-8 sequence that `text` begins with, or 0 (RFC 3629, section 4).
[[nodiscard]] constexpr std::size_t url_utf8(std::string_view text) noexcept {
    auto const byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    unsigned const lead = byte(0);
    std::size_t const size = lead < 0x80                    ? 1
                             : lead >= 0xc2 && lead <= 0xdf ? 2
                             : lead >= 0xe0 && lead <= 0xef ? 3
                             : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                            : 0;
    if (size == 0 || size > text.size()) return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((byte(i) & 0xc0) != 0x80) return 0;
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;
    if (lead == 0xed && byte(1) > 0x9f) return 0;
    if (lead == 0xf0 && byte(1) < 0x90) return 0;
    if (lead == 0xf4 && byte(1) > 0x8f) return 0;
    return size;
}

} // namespace detail

inline url url::parse(std::string_view text, std::error_code& ec) {
    ec = error::bad_url;
    auto const refused = [](char c) {
        auto const byte = static_cast<unsigned char>(c);
        return byte <= 0x20 || byte >= 0x7f || c == '\\';
    };
    if (std::any_of(text.begin(), text.end(), refused)) return {};

    std::size_t const colon = text.find(':');
    if (colon == std::string_view::npos || !text.substr(colon).starts_with("://")) return {};
    std::string scheme{text.substr(0, colon)};
    std::transform(scheme.begin(), scheme.end(), scheme.begin(), detail::ascii_lower);
    bool const well_formed = !scheme.empty() && detail::ascii_is_letter(scheme[0]) &&
                             std::all_of(scheme.begin(), scheme.end(), [](char c) {
                                 return detail::ascii_is_letter(c) || detail::ascii_is_digit(c) ||
                                        c == '+' || c == '-' || c == '.';
                             });
    if (!well_formed) return {};
    if (scheme != "http" && scheme != "https") {
        ec = error::unsupported_scheme;
        return {};
    }
    text.remove_prefix(colon + 3);

    url to;
    to.secure_ = scheme.size() == 5;
    std::size_t const end = std::min(text.find_first_of("/?#"), text.size());
    if (!to.read_authority(text.substr(0, end))) return {};
    text.remove_prefix(end);
    text = text.substr(0, text.find('#'));
    if (!text.starts_with('/')) to.target_ = '/';
    to.target_ += text;
    ec.clear();
    return to;
}

inline void url::set_userinfo(std::string_view user, std::string_view password,
                              std::error_code& ec) {
    std::string text;
    auto const append = [&text](std::string_view from) {
        constexpr std::string_view digits = "0123456789ABCDEF";
        for (char const c : from) {
            auto const byte = static_cast<unsigned char>(c);
            if (detail::ascii_is_letter(c) || detail::ascii_is_digit(c)) {
                text += c;
            } else {
                text += '%';
                text += digits[byte >> 4U];
                text += digits[byte & 15U];
            }
        }
    };
    append(user);
    text += ':';
    append(password);
    if (empty() || !detail::url_is_userinfo(text)) {
        ec = error::bad_url;
        return;
    }
    userinfo_ = std::move(text);
    ec.clear();
}

inline bool url::read_authority(std::string_view text) {
    if (std::size_t const at = text.find('@'); at != std::string_view::npos) {
        // A second '@' is found below: no host holds one.
        std::string_view const before = text.substr(0, at);
        if (!detail::url_is_userinfo(before)) return false;
        userinfo_ = before;
        text.remove_prefix(at + 1);
    }

    std::string_view host;
    if (text.starts_with('[')) {
        std::size_t const close = text.find(']');
        if (close == std::string_view::npos) return false;
        host = text.substr(1, close - 1);
        text.remove_prefix(close + 1);
        if (!detail::url_is_ipv6(host)) return false;
        host_is_ = host_kind::ipv6;
    } else {
        host = text.substr(0, text.find(':'));
        text.remove_prefix(host.size());
        if (detail::url_is_ipv4(host))
            host_is_ = host_kind::ipv4;
        else if (!detail::url_is_name(host))
            return false;
    }

    port_ = default_port();
    if (!text.empty()) {
        if (text[0] != ':') return false;
        text.remove_prefix(1);
        // "http://host:/" has the default port (RFC 3986, section 3.2.3).
        if (!text.empty()) {
            auto const [stop, bad] = std::from_chars(text.data(), text.data() + text.size(), port_);
            if (bad != std::errc{} || stop != text.data() + text.size() || port_ == 0 ||
                text.size() > 5)
                return false;
        }
    }
    host_ = host;
    std::transform(host_.begin(), host_.end(), host_.begin(), detail::ascii_lower);
    return true;
}

inline void url::append_host_field(std::string& to) const {
    if (is_ipv6_literal()) to += '[';
    to += host_;
    if (is_ipv6_literal()) to += ']';
    if (!empty() && port_ != default_port()) {
        to += ':';
        to += std::to_string(port_);
    }
}

inline std::string url::to_string() const {
    if (empty()) return {};
    std::string to{scheme()};
    to += "://";
    append_host_field(to);
    std::size_t const query = target_.find('?');
    to.append(target_, 0, query);
    if (query != std::string::npos) to += "?...";
    return to;
}

inline std::string url::file_name() const {
    std::string_view path = target();
    path = path.substr(0, path.find('?'));
    std::size_t const slash = path.rfind('/');
    if (slash == std::string_view::npos) return {};
    std::string const decoded = detail::url_decode(path.substr(slash + 1));
    // Decoding may have brought forth further separators: only what follows the last one counts.
    std::string_view rest = decoded;
    if (std::size_t const last = rest.find_last_of("/\\"); last != std::string_view::npos)
        rest.remove_prefix(last + 1);

    std::string to;
    while (!rest.empty()) {
        std::size_t const size = detail::url_utf8(rest);
        std::string_view const one = rest.substr(0, std::max<std::size_t>(size, 1));
        rest.remove_prefix(one.size());
        auto const lead = static_cast<unsigned char>(one[0]);
        bool const control =
            (size == 1 && (lead < 0x20 || lead == 0x7f)) ||
            (size == 2 && lead == 0xc2 && static_cast<unsigned char>(one[1]) < 0xa0);
        if (control) continue;
        if (to.empty() && (lead == '.' || lead == '-')) continue;
        if (to.size() + one.size() > 255) break;
        if (size == 0)
            to += '_';
        else
            to += one;
    }
    return to;
}

} // namespace cleave
