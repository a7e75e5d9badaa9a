// SPDX-License-Identifier: BSL-1.0
//
// URLs, redirects and the requests made of them, from any bytes: what is sent holds no byte that
// could begin another line or another word, the host is the one that stands in the text, what was
// given to one origin goes to no other, and a reference leads where RFC 3986 says.
//
// The input, by lines: a URL; a user and a password, a tab between; a header of the caller's; and
// all the rest is a reference, as a Location holds it.

#include "input.hpp"

#include <cleave/base/request.hpp>
#include <cleave/base/url.hpp>
#include <cleave/http/redirect.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/http/response_head.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

using cleave::url;
using cleave_fuzz::require;
using cleave_fuzz::same_name;
using state = cleave::response_head_parser::progress::state;

std::string lower(std::string_view text) {
    std::string to{text};
    for (char& c : to)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return to;
}
bool is_visible(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

/// As it would be written, with its secrets.
std::string written(url const& u) {
    std::string to{u.scheme()};
    to += "://";
    if (!u.userinfo().empty()) {
        to += u.userinfo();
        to += '@';
    }
    to += u.host_field();
    to += u.target();
    return to;
}

// ---- a URL that was read --------------------------------------------------------------------

void judge_parts(url const& u) {
    require(u.scheme() == "http" || u.scheme() == "https", "the scheme is one of two");
    require(!u.host().empty() && u.port() != 0, "there is a host and a port");
    require(is_visible(u.host()) && u.host().find_first_of("@/?#\\%[]<>\"'|^`{} ") == u.host().npos,
            "a host holds what hosts hold");
    require(u.is_ipv6_literal() == (u.host().find(':') != u.host().npos),
            "a colon is in IPv6 addresses only");
    require(lower(u.host()) == u.host(), "a host is in lower case");
    require(u.target().starts_with('/') && is_visible(u.target()) &&
                u.target().find_first_of("#\\") == u.target().npos,
            "a target is one word");
    require(is_visible(u.userinfo()) && u.userinfo().find_first_of("@/?#\\") == u.userinfo().npos,
            "userinfo ends where it ends");
}

/// Its parts, and what is made of them.
void judge(url const& u) {
    judge_parts(u);
    std::error_code ec;
    require(url::parse(written(u), ec) == u && !ec, "what is written of a URL reads as the same");
    std::string const shown = u.to_string();
    url const again = url::parse(shown, ec);
    require(!ec && again.to_string() == shown, "what is shown of a URL is shown again");
    require(again.userinfo().empty() && same_origin(again, u), "what is shown has no userinfo");
    std::size_t const query = shown.find('?');
    require(query == shown.npos || shown.substr(query) == "?...", "what is shown has no query");

    std::string const name = u.file_name();
    require(name.size() <= 255 && name.find_first_of("/\\") == name.npos, "a file name is one");
    require(name.empty() || (name[0] != '.' && name[0] != '-'), "a file name hides nothing");
    for (std::size_t at = 0; at != name.size();) {
        std::size_t const n = cleave::detail::url_utf8(std::string_view{name}.substr(at));
        auto const lead = static_cast<unsigned char>(name[at]);
        require(n != 0 && (n != 1 || (lead >= 0x20 && lead != 0x7f)), "a file name is text");
        at += n;
    }
}

/// Reads host and userinfo by other means: the last '@' and the last ':' of the authority.
void compare(std::string_view text, url const& u) {
    std::size_t const from = text.find("://") + 3;
    std::string_view const authority =
        text.substr(from, std::min(text.find_first_of("/?#", from), text.size()) - from);
    std::size_t const at = authority.rfind('@');
    std::string_view host = authority.substr(at == authority.npos ? 0 : at + 1);
    require(u.userinfo() == (at == authority.npos ? std::string_view{} : authority.substr(0, at)),
            "userinfo is what stands before the '@'");
    std::string_view port;
    std::size_t const colon = host.rfind(':');
    if (colon != host.npos && host.find(']', colon) == host.npos) {
        port = host.substr(colon + 1);
        host = host.substr(0, colon);
    }
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    require(u.host() == lower(host), "the host is the one that stands in the text");
    std::string const said{port.empty() ? (u.scheme() == "https" ? "443" : "80") : port};
    require(std::stoi(said) == u.port(), "the port is the one that stands in the text");
    require(text.find(u.target() == "/" ? std::string_view{} : u.target().substr(1)) != text.npos,
            "the target is what stands in the text");
}

// ---- what is sent ---------------------------------------------------------------------------

std::string from_base64(std::string_view text) {
    std::string to;
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (char const c : text) {
        if (c == '=') break;
        std::size_t const value =
            std::string_view{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"}
                .find(c);
        require(value != std::string_view::npos, "credentials are in base64");
        bits = bits << 6U | static_cast<std::uint32_t>(value);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        to += static_cast<char>(bits >> held & 0xffU);
    }
    return to;
}

/// With a header of the caller's, if there is one, and by way of a proxy or not.
void judge_request(url const& u, std::span<cleave::header const> headers, bool proxied) {
    cleave::header const* const given = headers.empty() ? nullptr : &headers[0];
    cleave::validator const condition{cleave::validator::kind::strong_etag,
                                      given == nullptr ? "\"v\"" : given->value};
    cleave::proxy_hop const hop{"Basic eDp5"};
    cleave::proxy_hop const* const proxy = proxied ? &hop : nullptr;
    std::string text;
    cleave::append_request_head(text,
                                {u, cleave::segment{5, 9}, &condition, headers, "agent", proxy});
    // Lines, and nothing that could be taken for the end of one, or of the request line's words.
    std::vector<std::string_view> lines;
    std::string_view rest = text;
    for (std::size_t end; (end = rest.find("\r\n")) != rest.npos; rest.remove_prefix(end + 2))
        lines.push_back(rest.substr(0, end));
    require(rest.empty() && lines.size() >= 3 && lines.back().empty(), "a request ends");
    for (std::string_view const line : lines)
        require(line.find_first_of(std::string_view{"\r\n\0", 3}) == line.npos,
                "no line holds the end of another");
    require(std::count(lines.begin(), lines.end(), "") == 1, "a request ends once");
    std::string_view const first = lines.front();
    require(std::count(first.begin(), first.end(), ' ') == 2 && first.starts_with("GET ") &&
                first.ends_with(" HTTP/1.1"),
            "a request line has three words");
    std::string const target =
        (proxy == nullptr ? std::string{} : std::string{u.scheme()} + "://" + u.host_field()) +
        std::string{u.target()};
    require(first.substr(4, first.size() - 13) == target, "a request line says what is asked");

    auto const value = [&](std::string_view name) -> std::optional<std::string_view> {
        std::optional<std::string_view> to;
        for (std::string_view const line : lines) {
            std::size_t const colon = line.find(':');
            if (colon == line.npos || line == first || !same_name(line.substr(0, colon), name))
                continue;
            require(!to || (given != nullptr && same_name(given->name, name)),
                    "each field stands there once");
            to = line.substr(colon + 2);
        }
        return to;
    };
    require(value("host") == u.host_field(), "the host is named");
    require(value("range") == "bytes=5-9", "the range is asked for");
    bool const own = given != nullptr && same_name(given->name, "authorization");
    if (!own) {
        auto const credentials = value("authorization");
        require(credentials.has_value() == !u.userinfo().empty(),
                "credentials are sent where there are some");
        if (credentials) {
            std::string clear = cleave::detail::url_decode(u.userinfo());
            if (u.userinfo().find(':') == u.userinfo().npos) clear += ':';
            require(credentials->starts_with("Basic ") &&
                        from_base64(credentials->substr(6)) == clear,
                    "credentials are those of the URL");
        }
    }
    require(value("proxy-authorization").has_value() == (proxy != nullptr),
            "a proxy's password is for the proxy");
    if (given != nullptr)
        require(std::find(lines.begin(), lines.end(), given->name + ": " + given->value) !=
                    lines.end(),
                "the caller's header is sent as it is");
}

// ---- references -----------------------------------------------------------------------------

/// RFC 3986, section 5.2.4, step by step as it is written there.
std::string remove_dot_segments(std::string in) {
    std::string out;
    auto const starts = [&](std::string_view what) { return in.starts_with(what); };
    while (!in.empty()) {
        if (starts("../")) {
            in.erase(0, 3);
        } else if (starts("./")) {
            in.erase(0, 2);
        } else if (starts("/./")) {
            in.erase(0, 2);
        } else if (in == "/.") {
            in = "/";
        } else if (starts("/../") || in == "/..") {
            in = starts("/../") ? in.substr(3) : "/";
            std::size_t const slash = out.rfind('/');
            out.erase(slash == out.npos ? 0 : slash);
        } else if (in == "." || in == "..") {
            in.clear();
        } else {
            std::size_t const end = std::min(in.find('/', 1), in.size());
            out += in.substr(0, end);
            in.erase(0, end);
        }
    }
    return out;
}

/// Target of a reference without scheme and authority, by section 5.2.2.
std::string target_of(url const& base, std::string_view reference) {
    std::string_view const target = base.target();
    std::string_view const base_path = target.substr(0, target.find('?'));
    std::size_t const mark = reference.find('?');
    std::string_view const path = reference.substr(0, mark);
    std::string const query{mark == reference.npos ? std::string_view{} : reference.substr(mark)};
    if (path.empty())
        return mark == reference.npos ? std::string{target} : std::string{base_path} + query;
    if (path.starts_with('/')) return remove_dot_segments(std::string{path}) + query;
    std::string const merged =
        std::string{base_path.substr(0, base_path.rfind('/') + 1)} + std::string{path};
    return remove_dot_segments(merged) + query;
}

void try_reference(url const& base, std::string_view reference) {
    std::error_code ec;
    url const to = cleave::resolve(base, reference, ec);
    require(to.empty() == static_cast<bool>(ec),
            "a reference leads somewhere, or an error says why");
    if (!ec) {
        judge_parts(to);
        std::string_view const bare = reference.substr(0, reference.find('#'));
        std::size_t const mark = bare.find_first_of(":/?");
        bool const absolute = mark != bare.npos && bare[mark] == ':';
        if (!absolute && !bare.starts_with("//")) {
            require(same_origin(to, base), "a relative reference stays with its origin");
            require(to.userinfo().empty(), "a reference gives no credentials");
            require(to.target() == target_of(base, bare), "a reference leads where RFC 3986 says");
        }
        require(cleave::resolve(base, written(to), ec) == to, "a URL is a reference to itself");
    }

    cleave::response_head_parser parser;
    std::string head = "HTTP/1.1 302 x\r\nLocation: ";
    head += reference;
    head += "\r\n\r\n";
    auto const read = parser.feed(head);
    if (read.is != state::complete || read.consumed != head.size()) return;
    url const target = cleave::redirect_target(base, parser.head(), ec);
    if (target.empty()) {
        require(static_cast<bool>(ec), "a redirect that leads nowhere is an error");
        return;
    }
    require(base.scheme() == "http" || target.scheme() == "https",
            "a redirect does not lead out of https");
    require(target.userinfo() == (same_origin(base, target) ? base.userinfo() : std::string_view{}),
            "credentials stay with their origin, and the server gives none");
    auto const fields = parser.head().fields();
    if (fields.size() == 1 && fields[0].value == reference)
        require(target.target() == to.target() && same_origin(target, to),
                "a redirect leads where its Location does");
    else
        judge_parts(target);
    judge_request(target, {}, reference.size() % 2 == 0);
}

// ---- credentials ----------------------------------------------------------------------------

void try_credentials(url u, std::string_view user, std::string_view password) {
    url const before = u;
    std::error_code ec;
    u.set_userinfo(user, password, ec);
    auto const control = [](char c) {
        auto const byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    };
    bool const good = user.find(':') == user.npos &&
                      std::none_of(user.begin(), user.end(), control) &&
                      std::none_of(password.begin(), password.end(), control);
    require(static_cast<bool>(ec) != good, "credentials are any text, and no colon in the name");
    if (ec) {
        require(u == before, "what is refused changes nothing");
        return;
    }
    require(same_origin(u, before) && u.target() == before.target(), "credentials change no host");
    std::string clear{user};
    clear += ':';
    clear += password;
    require(cleave::detail::url_decode(u.userinfo()) == clear,
            "credentials are as they were given");
    judge(u);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    std::string_view const text = input.text_before('\n');
    std::string_view const credentials = input.text_before('\n');
    std::string_view const line = input.text_before('\n');
    std::string_view const reference = input.rest();

    std::error_code ec;
    url const u = url::parse(text, ec);
    require(u.empty() == static_cast<bool>(ec), "a URL is read, or an error says why");
    if (ec) {
        require(u == url{}, "what is refused leaves nothing");
        return 0;
    }
    judge(u);
    compare(text, u);

    std::size_t const tab = credentials.find('\t');
    if (tab != credentials.npos)
        try_credentials(u, credentials.substr(0, tab), credentials.substr(tab + 1));

    std::size_t const colon = line.find(':');
    cleave::header given{
        std::string{line.substr(0, colon)},
        std::string{colon == line.npos ? std::string_view{} : line.substr(colon + 1)}};
    bool const may_send = !cleave::check_headers({&given, 1}, "agent");
    judge_request(u, std::span{&given, may_send ? 1U : 0U}, reference.size() % 2 != 0);

    try_reference(u, reference);
    return 0;
}
