// SPDX-License-Identifier: BSL-1.0
//
// Routes by way of HTTP proxies: which proxy is for which URL, as curl reads the settings, and how
// one is asked for a tunnel. Speaks to proxies only; resolves and connects nothing.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/route.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/text.hpp>

#include <arpa/inet.h>
#include <sys/socket.h>

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/socket_base.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

/// Which proxy is for which URL. Plain data; read by `http_proxies` and `any_proxies`.
///
/// A proxy is written `[scheme://][user:password@]host[:port]`, with special characters of user and
/// password percent-encoded. Without a scheme it is an http one; without a port the port is 1080,
/// as with curl, also for http. A '/' may stand at the end, but no path.
struct proxy_rules {
    /// For http URLs; none where empty.
    std::string http = {};
    /// For https URLs; none where empty.
    std::string https = {};
    /// Hosts that are reached without a proxy: "*" for all, or names and addresses with commas or
    /// blanks between them. A name stands for its subdomains too, with a dot in front or without;
    /// an address for itself, or for a network where "/" and a number of bits follow. IPv6
    /// addresses stand in brackets or not.
    std::string no_proxy = {};

    /// One proxy for all URLs.
    [[nodiscard]] static proxy_rules all(std::string_view proxy, std::string_view no_proxy = {}) {
        return {.http = std::string{proxy},
                .https = std::string{proxy},
                .no_proxy = std::string{no_proxy}};
    }

    /// What the environment says now: http_proxy for http URLs, https_proxy for https ones, for
    /// either else all_proxy; and no_proxy. Empty is like unset. In capitals where not in small
    /// letters, but for HTTP_PROXY: with CGI that is a header of whoever sends a request.
    [[nodiscard]] static proxy_rules from_environment() {
        auto const first_of = [](std::initializer_list<char const*> names) -> std::string {
            for (char const* const name : names)
                if (char const* const value = std::getenv(name); value && *value) return value;
            return {};
        };
        return {.http = first_of({"http_proxy", "all_proxy", "ALL_PROXY"}),
                .https = first_of({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}),
                .no_proxy = first_of({"no_proxy", "NO_PROXY"})};
    }

    /// The proxy for a URL, as written; empty for none. May hold a password.
    [[nodiscard]] std::string_view proxy_for(url const& to) const noexcept;
};

namespace detail {

// ---- hosts without a proxy ----------------------------------------------------------------

/// The bytes of an IPv4 or IPv6 address.
struct ip_bytes {
    std::array<unsigned char, 16> bytes{};
    unsigned size = 0;
};

[[nodiscard]] inline std::optional<ip_bytes> read_ip(std::string_view text) noexcept {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size()) return std::nullopt;
    std::copy(text.begin(), text.end(), terminated.begin());
    ip_bytes to;
    if (::inet_pton(AF_INET, terminated.data(), to.bytes.data()) == 1)
        to.size = 4;
    else if (::inet_pton(AF_INET6, terminated.data(), to.bytes.data()) == 1)
        to.size = 16;
    else
        return std::nullopt;
    return to;
}

/// Whether an address is that of an entry, or of its network: "10.0.0.0/8", "[fd00::]/8".
[[nodiscard]] inline bool no_proxy_has_ip(std::string_view entry, ip_bytes const& ip) noexcept {
    std::size_t const slash = entry.find('/');
    std::string_view address = entry.substr(0, slash);
    if (address.starts_with('[') && address.ends_with(']'))
        address = address.substr(1, address.size() - 2);
    auto const network = read_ip(address);
    if (!network || network->size != ip.size) return false;

    std::uint64_t bits = ip.size * 8;
    if (slash != std::string_view::npos) {
        auto const given = http_number(entry.substr(slash + 1));
        if (!given || *given > bits) return false;
        bits = *given;
    }
    for (std::size_t i = 0; bits > 0; ++i) {
        auto const here = static_cast<unsigned>(std::min<std::uint64_t>(bits, 8));
        if ((ip.bytes[i] ^ network->bytes[i]) >> (8 - here) != 0) return false;
        bits -= here;
    }
    return true;
}

/// Whether a name is that of an entry, or a subdomain's. Neither ends in a dot for this.
[[nodiscard]] inline bool no_proxy_has_name(std::string_view entry,
                                            std::string_view name) noexcept {
    if (name.ends_with('.')) name.remove_suffix(1);
    if (entry.ends_with('.')) entry.remove_suffix(1);
    if (entry.starts_with('.')) entry.remove_prefix(1);
    if (entry.empty() || entry.size() > name.size()) return false;
    std::string_view const before = name.substr(0, name.size() - entry.size());
    return http_same(name.substr(before.size()), entry) &&
           (before.empty() || before.ends_with('.'));
}

/// Whether a URL's host is on a list of those without a proxy.
[[nodiscard]] inline bool no_proxy_has(std::string_view list, url const& to) noexcept {
    if (list == "*") return true;
    std::optional<ip_bytes> const ip = to.is_ip_literal() ? read_ip(to.host()) : std::nullopt;
    while (!list.empty()) {
        std::string_view const entry = list.substr(0, list.find_first_of(", \t"));
        list.remove_prefix(std::min(entry.size() + 1, list.size()));
        if (ip ? no_proxy_has_ip(entry, *ip) : no_proxy_has_name(entry, to.host())) return true;
    }
    return false;
}

// ---- proxies ------------------------------------------------------------------------------

enum class proxy_kind : std::uint8_t {
    http,
    socks5,  // to be given addresses
    socks5h, // to be given names as they are
    other,   // spoken by nobody here
};

/// A proxy as a setting describes it.
struct proxy_server {
    /// Why the setting cannot be read; then nothing else is set.
    std::error_code bad;
    proxy_kind kind = proxy_kind::other;
    stop at;
    /// User and password as written: a secret.
    std::string userinfo;
    proxy_hop hop;
    /// Tells proxies and what we show them apart; so it holds the secret too.
    std::string key;
};

[[nodiscard]] inline proxy_server read_proxy(std::string_view text) {
    constexpr std::pair<std::string_view, proxy_kind> kinds[] = {
        {"http", proxy_kind::http},       {"socks5", proxy_kind::socks5},
        {"socks5h", proxy_kind::socks5h}, {"https", proxy_kind::other},
        {"socks4", proxy_kind::other},    {"socks4a", proxy_kind::other},
        {"socks", proxy_kind::other}};
    std::string_view scheme = "http";
    if (std::size_t const end = text.find("://"); end != std::string_view::npos) {
        scheme = text.substr(0, end);
        text.remove_prefix(end + 3);
    }
    auto const* const kind = std::find_if(std::begin(kinds), std::end(kinds), [&](auto const& k) {
        return http_same(k.first, scheme);
    });

    std::error_code ec;
    url const at = url::parse("http://" + std::string{text}, ec);
    // No port is given where it depends on the scheme.
    std::error_code ignored;
    bool const no_port = at.port() != url::parse("https://" + std::string{text}, ignored).port();
    bool const only_authority = at.target() == "/" && text.find('#') == std::string_view::npos;
    proxy_server to;
    if (kind == std::end(kinds) || ec || !only_authority) {
        to.bad = error::bad_proxy;
        return to;
    }
    to.kind = kind->second;
    to.at = {std::string{at.host()}, no_port ? std::uint16_t{1080} : at.port()};
    to.userinfo = at.userinfo();
    if (!to.userinfo.empty()) to.hop.authorization = basic_credentials(to.userinfo);
    to.key += kind->first;
    to.key += "://" + to.userinfo + '@' + to.at.host + ':' + std::to_string(to.at.port);
    return to;
}

/// Rules, read once. What its pointers lead to lives as long as it does.
class proxy_table {
  public:
    explicit proxy_table(proxy_rules const& rules) : no_proxy_(rules.no_proxy) {
        if (!rules.http.empty()) http_ = read_proxy(rules.http);
        if (!rules.https.empty()) https_ = read_proxy(rules.https);
    }
    /// The proxy for a URL; null for none.
    [[nodiscard]] proxy_server const* find(url const& to) const noexcept {
        auto const& proxy = to.scheme() == "https" ? https_ : http_;
        return proxy && !no_proxy_has(no_proxy_, to) ? &*proxy : nullptr;
    }

  private:
    std::optional<proxy_server> http_, https_;
    std::string no_proxy_;
};

/// What routes by way of proxies have in common, whatever these speak.
class proxied_route {
  public:
    explicit proxied_route(proxy_rules const& rules = {})
        : table_(std::make_shared<proxy_table const>(rules)) {}
    /// One proxy for all URLs; see `proxy_rules`.
    explicit proxied_route(std::string_view proxy, std::string_view no_proxy = {})
        : proxied_route(proxy_rules::all(proxy, no_proxy)) {}
    // No moves: they would leave a handle on nothing.
    proxied_route(proxied_route const&) = default;
    proxied_route& operator=(proxied_route const&) = default;

    [[nodiscard]] stop first(url const& to) const {
        auto const* const proxy = find(to);
        return proxy != nullptr ? proxy->at : direct{}.first(to);
    }
    /// Holds the proxy's credentials: for memory, not for people.
    [[nodiscard]] std::string key(url const& to) const {
        auto const* const proxy = find(to);
        return proxy != nullptr ? proxy->key : std::string{};
    }
    /// Of http URLs by way of an HTTP proxy.
    [[nodiscard]] proxy_hop const* hop(url const& to) const noexcept {
        auto const* const proxy = find(to);
        bool const passes_on =
            proxy != nullptr && proxy->kind == proxy_kind::http && to.scheme() == "http";
        return passes_on ? &proxy->hop : nullptr;
    }

  protected:
    ~proxied_route() = default;

    [[nodiscard]] proxy_server const* find(url const& to) const noexcept {
        return table_->find(to);
    }

  private:
    std::shared_ptr<proxy_table const> table_;
};

// ---- talking to a proxy -------------------------------------------------------------------

/// Our half of asking for a tunnel (RFC 9110, section 9.3.6): bytes in, bytes out, and no socket.
class connect_talk {
  public:
    connect_talk(url const& to, proxy_hop const& with) {
        std::string origin{to.host()};
        if (to.is_ipv6_literal()) origin = '[' + origin + ']';
        origin += ':' + std::to_string(to.port());
        text_ = "CONNECT " + origin + " HTTP/1.1\r\n";
        append_field(text_, "Host", origin);
        if (!with.authorization.empty())
            append_field(text_, "Proxy-Authorization", with.authorization);
        text_ += "\r\n";
    }

    /// What is to be sent before more is taken; told once, and good until then.
    [[nodiscard]] std::string_view to_send() noexcept {
        return std::exchange(sent_, true) ? std::string_view{} : text_;
    }
    /// Takes bytes that came, and answers with how many of them are the proxy's own.
    std::size_t take(std::string_view bytes) {
        auto const did = reply_.feed(bytes);
        using state = response_head_parser::progress::state;
        if (did.is == state::failed) end(error::bad_proxy_reply);
        if (did.is == state::complete) end(meaning_of(reply_.head().status()));
        return did.consumed;
    }
    /// Whether all is said, and with what result.
    [[nodiscard]] bool over() const noexcept { return over_; }
    [[nodiscard]] std::error_code result() const noexcept { return result_; }
    /// What it means where the proxy closes now.
    [[nodiscard]] std::error_code if_closed() const noexcept {
        return reply_.untouched() ? error::proxy_failed : error::bad_proxy_reply;
    }

  private:
    // The head is all there is of a good reply, whatever length it states for a body.
    [[nodiscard]] static std::error_code meaning_of(int status) noexcept {
        // Some proxies answer a wrong password with 401, which here can only be their own.
        if (status == 407 || status == 401) return error::proxy_authentication_required;
        switch (status / 100) {
        case 2: return {};
        case 4: return error::proxy_refused;
        case 5: return error::proxy_failed;
        default: return error::bad_proxy_reply;
        }
    }
    void end(std::error_code ec) noexcept {
        over_ = true;
        result_ = ec;
    }

    std::string text_;
    response_head_parser reply_;
    std::error_code result_;
    bool sent_ = false;
    bool over_ = false;
};

/// Has a talk over a connected, non-blocking socket, and takes no byte of it that is not the
/// proxy's. A talk is what `connect_talk` is, and begins with something to send.
template <class Socket, class Talk, class Handler>
class talking {
  public:
    static void start(Socket& socket, Talk talk, Handler handler) {
        go_on(self(new talking{socket, std::move(talk), std::move(handler)}));
    }

  private:
    using self = std::unique_ptr<talking>;

    talking(Socket& s, Talk t, Handler h)
        : socket_(s), talk_(std::move(t)), handler_(std::move(h)) {}

    static void go_on(self t) {
        if (t->talk_.over()) {
            auto const ec = t->talk_.result();
            return end(std::move(t), ec);
        }
        std::string_view const text = t->talk_.to_send();
        if (text.empty()) return wait(std::move(t));
        Socket& socket = t->socket_;
        asio::async_write(socket, asio::buffer(text.data(), text.size()),
                          [t = std::move(t)](std::error_code ec, std::size_t) mutable {
                              if (ec) return end(std::move(t), ec);
                              wait(std::move(t));
                          });
    }
    static void wait(self t) {
        Socket& socket = t->socket_;
        socket.async_wait(asio::socket_base::wait_read,
                          [t = std::move(t)](std::error_code ec) mutable {
                              if (ec) return end(std::move(t), ec);
                              receive(std::move(t));
                          });
    }
    // Looks at what came before it takes any of it.
    static void receive(self t) {
        std::array<char, 4096> bytes;
        std::error_code ec;
        std::size_t n =
            t->socket_.receive(asio::buffer(bytes), asio::socket_base::message_peek, ec);
        if (ec == asio::error::would_block) return wait(std::move(t));
        if (ec == asio::error::eof) {
            ec = t->talk_.if_closed();
            return end(std::move(t), ec);
        }
        if (!ec) {
            n = t->talk_.take({bytes.data(), n});
            t->socket_.receive(asio::buffer(bytes, n), 0, ec);
        }
        if (ec) return end(std::move(t), ec);
        go_on(std::move(t));
    }
    static void end(self t, std::error_code ec) {
        Handler handler = std::move(t->handler_);
        t.reset();
        std::move(handler)(ec);
    }

    Socket& socket_;
    Talk talk_;
    Handler handler_;
};

template <class Socket, class Talk, class Handler>
void talk_over(Socket& socket, Talk talk, Handler handler) {
    talking<Socket, Talk, Handler>::start(socket, std::move(talk), std::move(handler));
}

template <class Socket, class Handler>
void post_result(Socket& socket, std::error_code ec, Handler handler) {
    asio::post(socket.get_executor(), [ec, h = std::move(handler)]() mutable { std::move(h)(ec); });
}

} // namespace detail

inline std::string_view proxy_rules::proxy_for(url const& to) const noexcept {
    if (detail::no_proxy_has(no_proxy, to)) return {};
    return to.scheme() == "https" ? https : http;
}

/// By way of HTTP proxies where the rules name one, else straight. Requests for http URLs are for
/// the proxy to pass on (RFC 9112, section 3.2.2); https ones go through a tunnel, of which the
/// proxy learns host and port (RFC 9110, section 9.3.6). Thread-safe where const; copies share what
/// they read.
///
///     cleave::http_proxies{"http://user:password@proxy.example:3128"}
///     cleave::http_proxies{"proxy.example:3128", "localhost, 10.0.0.0/8, .example.org"}
///     cleave::http_proxies::from_environment()
class http_proxies : public detail::proxied_route {
  public:
    using proxied_route::proxied_route;

    /// See `proxy_rules::from_environment`.
    [[nodiscard]] static http_proxies from_environment() {
        return http_proxies{proxy_rules::from_environment()};
    }

    /// `error::bad_proxy` where the proxy for the URL cannot be read, `error::proxy_unsupported`
    /// where it is not an HTTP proxy, spoken to in the clear.
    [[nodiscard]] std::error_code check(url const& to) const {
        auto const* const proxy = find(to);
        if (proxy == nullptr) return {};
        if (proxy->bad) return proxy->bad;
        if (proxy->kind != detail::proxy_kind::http) return error::proxy_unsupported;
        return {};
    }

    /// Handler: `void(std::error_code)`. Fails with
    /// `error::proxy_authentication_required` (407), `error::proxy_refused` (any other 4xx),
    /// `error::proxy_failed` (5xx, or closed without a word), `error::bad_proxy_reply`, what
    /// `check` says, or a code of the system.
    template <class Socket, class Handler>
    void async_open(Socket& socket, url const& to, Handler handler) const {
        auto const* const proxy = find(to);
        std::error_code const bad = check(to);
        if (bad || proxy == nullptr || hop(to) != nullptr)
            return detail::post_result(socket, bad, std::move(handler));
        detail::talk_over(socket, detail::connect_talk{to, proxy->hop}, std::move(handler));
    }
};

static_assert(route<http_proxies>);

} // namespace cleave
