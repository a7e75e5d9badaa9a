// SPDX-License-Identifier: BSL-1.0
//
// What proxies say, and which of them are asked, from any bytes: talks with SOCKS5 and HTTP proxies
// end the same however they are split, take no byte that is not the proxy's, and mean what another
// reader makes of them; a URL goes past its proxy when, and only when, the list of exceptions says.
//
// The input: one byte that says what the rest is. Of a talk: portion sizes, and what the proxy
// sends. Of a list: a URL's host, an end of line, and the list.

#include "input.hpp"

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/proxy.hpp>
#include <cleave/connect/socks5.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace {

using cleave::error;
using cleave_fuzz::require;

// ---- talks ----------------------------------------------------------------------------------

struct outcome {
    bool over = false;
    std::error_code result;
    std::size_t used = 0;
    std::string said;

    friend bool operator==(outcome const&, outcome const&) = default;
};

template <class Talk>
outcome hold(Talk talk, cleave_fuzz::portions from) {
    outcome to;
    to.said = talk.to_send();
    require(!to.said.empty() && talk.to_send().empty(), "we speak first, and once");
    while (!talk.over() && !from.empty()) {
        std::string_view portion = from.next();
        while (!talk.over() && !portion.empty()) {
            std::size_t const n = talk.take(portion);
            require(n != 0 && n <= portion.size(), "something is taken, and no more than came");
            to.used += n;
            portion.remove_prefix(n);
            if (!talk.over()) to.said += talk.to_send();
        }
    }
    to.over = talk.over();
    to.result = talk.result();
    if (!to.over) {
        require(talk.if_closed() == (to.used == 0 ? error::proxy_failed : error::bad_proxy_reply) ||
                    talk.if_closed() == error::proxy_failed,
                "who closes before the end has failed");
    }
    return to;
}

std::error_code meaning_of_reply(unsigned char code) {
    if (code == 2) return error::proxy_refused;
    return code == 1 || (code >= 3 && code <= 6) ? error::proxy_failed : error::bad_proxy_reply;
}

/// RFC 1928 and RFC 1929, the proxy's half, read at once: the bytes used, and what they mean.
outcome read_socks(std::string_view text, bool credentials) {
    auto const at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    auto const ends = [&](std::size_t used, std::error_code ec) {
        return outcome{true, ec, used, {}};
    };
    outcome const more{false, {}, text.size(), {}};

    if (text.empty()) return more;
    if (at(0) != 5) return ends(1, error::bad_proxy_reply);
    if (text.size() < 2) return more;
    std::size_t request = 2;
    if (at(1) == 2 && credentials) {
        if (text.size() < 4) return more;
        if (at(3) != 0) return ends(4, error::proxy_authentication_required);
        request = 4;
    } else if (at(1) != 0) {
        return ends(2,
                    at(1) == 0xff ? error::proxy_authentication_required : error::bad_proxy_reply);
    }
    std::size_t const left = text.size() - request;
    if (left < 1) return more;
    if (at(request) != 5) return ends(request + 1, error::bad_proxy_reply);
    if (left < 2) return more;
    if (at(request + 1) != 0) return ends(request + 2, meaning_of_reply(at(request + 1)));
    if (left < 4) return more;
    std::size_t size = 0;
    switch (at(request + 3)) {
    case 1: size = 10; break;
    case 4: size = 22; break;
    case 3:
        if (left < 5) return more;
        size = 7U + at(request + 4);
        break;
    default: return ends(request + 4, error::bad_proxy_reply);
    }
    return left < size ? more : ends(request + size, {});
}

void talk_socks(cleave_fuzz::input& input, bool credentials) {
    std::string_view const sizes = cleave_fuzz::portion_sizes(input);
    std::string_view const text = input.rest();
    std::string const to = "\x03\x01h\x01\xbb";
    auto const talk = [&] {
        return cleave::detail::socks_talk{to, credentials ? "us%65r:pass" : ""};
    };
    outcome const split = hold(talk(), cleave_fuzz::portions{text, sizes});
    require(split == hold(talk(), cleave_fuzz::portions{text}), "splits do not matter");
    outcome expected = read_socks(text, credentials);
    expected.said = split.said;
    require(split == expected, "a talk means what SOCKS5 says");
    require(credentials || split.said.find("pass") == std::string::npos, "nobody invents secrets");
    bool const asked = text.size() >= 2 && text[0] == 5 && text[1] == 2 && credentials;
    require((split.said.find("pass") != std::string::npos) == asked,
            "a password is sent to who asks for it");
}

void talk_http(cleave_fuzz::input& input) {
    std::string_view const sizes = cleave_fuzz::portion_sizes(input);
    std::string_view const text = input.rest();
    std::error_code ec;
    auto const to = cleave::url::parse("https://h/", ec);
    cleave::proxy_hop const hop{"Basic eDp5"};
    auto const talk = [&] { return cleave::detail::connect_talk{to, hop}; };
    outcome const split = hold(talk(), cleave_fuzz::portions{text, sizes});
    outcome const whole = hold(talk(), cleave_fuzz::portions{text});
    // A head that is refused may be so before or behind the rest of its line.
    bool const refused = whole.over && whole.result == error::bad_proxy_reply;
    require(split.over == whole.over && split.result == whole.result &&
                (refused || split.used == whole.used),
            "splits do not matter");
    if (whole.over && !whole.result) {
        std::string_view const head = text.substr(0, whole.used);
        require(head.ends_with("\r\n\r\n"), "a tunnel begins behind a head");
        require(head.find(" 2") != head.npos, "a tunnel is a success");
    }
}

// ---- exceptions -----------------------------------------------------------------------------

std::string lower(std::string_view text) {
    std::string to{text};
    for (char& c : to)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return to;
}

/// Of names only: the same, or a subdomain's.
bool is_exception(std::string list, std::string name) {
    if (list == "*") return true;
    if (name.ends_with('.')) name.pop_back();
    list = lower(list) + ',';
    std::string entry;
    for (char const c : list) {
        if (c != ',' && c != ' ' && c != '\t') {
            entry += c;
            continue;
        }
        if (entry.ends_with('.')) entry.pop_back();
        if (entry.starts_with('.')) entry.erase(0, 1);
        if (!entry.empty() && (name == entry || name.ends_with('.' + entry))) return true;
        entry.clear();
    }
    return false;
}

void try_list(cleave_fuzz::input& input) {
    std::string_view const host = input.text_before('\n');
    std::string_view const list = input.rest();
    std::error_code ec;
    auto const to = cleave::url::parse("http://" + std::string{host} + "/", ec);
    if (ec || to.target() != "/") return;
    bool const has = cleave::detail::no_proxy_has(list, to);
    if (!to.is_ip_literal()) {
        require(has == is_exception(std::string{list}, std::string{to.host()}),
                "a name goes past its proxy where the list has it");
        return;
    }
    // An address is its own exception, and of every network that is all addresses of its kind.
    std::string const address{to.host()};
    bool const six = to.is_ipv6_literal();
    require(cleave::detail::no_proxy_has(address, to), "an address is on the list as it is");
    require(cleave::detail::no_proxy_has(six ? "::/0" : "0.0.0.0/0", to), "so is every one");
    require(!cleave::detail::no_proxy_has(six ? "0.0.0.0/0" : "::/0", to), "of its kind");
    require(!has || !cleave::detail::no_proxy_has({}, to), "an empty list has none");
    std::string const twice = std::string{list} + ',' + std::string{list};
    require(list == "*" || cleave::detail::no_proxy_has(twice, to) == has, "twice is once");
}

void try_proxy(std::string_view text) {
    cleave::detail::proxy_server const read = cleave::detail::read_proxy(text);
    if (read.bad) {
        require(read.bad == error::bad_proxy && read.userinfo.empty() && read.key.empty(),
                "of what cannot be read nothing is left");
        return;
    }
    require(text.find_first_of(std::string_view{"\r\n \0", 4}) == text.npos, "a proxy is one word");
    require(read.userinfo.empty() || text.find(read.userinfo + '@') != text.npos,
            "userinfo is what stands before the '@'");
    require(read.hop.authorization.find_first_of("\r\n") == std::string::npos,
            "credentials are one line");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    switch (input.byte() % 5) {
    case 0: talk_socks(input, false); break;
    case 1: talk_socks(input, true); break;
    case 2: talk_http(input); break;
    case 3: try_list(input); break;
    default: try_proxy(input.rest()); break;
    }
    return 0;
}
