// SPDX-License-Identifier: BSL-1.0
//
// Routes by way of SOCKS5 proxies, and by HTTP ones as well. Speaks to proxies only; it connects
// nothing, and resolves a name only where the proxy is to be given an address.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/proxy.hpp>
#include <cleave/connect/route.hpp>

#include <asio/ip/address.hpp>
#include <asio/ip/basic_resolver.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/socket_base.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

namespace detail {

/// User and password for SOCKS5 (RFC 1929, section 2).
struct socks_credentials {
    std::string user, password;

    explicit socks_credentials(std::string_view userinfo) {
        std::size_t const colon = userinfo.find(':');
        user = url_decode(userinfo.substr(0, colon));
        if (colon != std::string_view::npos) password = url_decode(userinfo.substr(colon + 1));
    }
    /// Each is sent with its length in one byte.
    [[nodiscard]] bool fit() const noexcept { return user.size() < 256 && password.size() < 256; }
};

/// Where to, as a request says it (RFC 1928, section 5): kind, address or name, port.
[[nodiscard]] inline std::string socks_destination(std::string address, std::uint16_t port) {
    address += static_cast<char>(port >> 8);
    address += static_cast<char>(port & 0xff);
    return address;
}
[[nodiscard]] inline std::string socks_destination(asio::ip::address const& to,
                                                   std::uint16_t port) {
    auto const text = [](char kind, auto const& bytes) {
        std::string all{kind};
        for (auto const byte : bytes) all += static_cast<char>(byte);
        return all;
    };
    return socks_destination(to.is_v4() ? text('\x01', to.to_v4().to_bytes())
                                        : text('\x04', to.to_v6().to_bytes()),
                             port);
}
/// A name goes as it is; URLs have none longer than 255 bytes.
[[nodiscard]] inline std::string socks_destination(url const& to) {
    std::string const host{to.host()};
    if (to.is_ip_literal()) return socks_destination(asio::ip::make_address(host), to.port());
    return socks_destination('\x03' + std::string(1, static_cast<char>(host.size())) + host,
                             to.port());
}

/// Our half of SOCKS5 (RFC 1928, RFC 1929): a talk like `connect_talk`.
class socks_talk {
  public:
    /// Without credentials where `userinfo` is empty.
    socks_talk(std::string_view destination, std::string_view userinfo)
        : request_(std::string{"\x05\x01\x00", 3}.append(destination)) {
        if (!userinfo.empty()) credentials_.emplace(userinfo);
        // Version, how many methods, these: none, and by password.
        text_ = credentials_ ? std::string{"\x05\x02\x00\x02", 4} : std::string{"\x05\x01\x00", 3};
    }

    [[nodiscard]] std::string_view to_send() noexcept {
        return std::exchange(sent_, true) ? std::string_view{} : text_;
    }
    std::size_t take(std::string_view bytes) {
        std::size_t used = 0;
        while (used < bytes.size() && sent_ && !over_) {
            reply_ += bytes[used++];
            judge();
        }
        return used;
    }
    [[nodiscard]] bool over() const noexcept { return over_; }
    [[nodiscard]] std::error_code result() const noexcept { return result_; }
    [[nodiscard]] std::error_code if_closed() const noexcept {
        return reply_.empty() ? error::proxy_failed : error::bad_proxy_reply;
    }

  private:
    enum class reply_to { methods, credentials, request };

    // Looks at the latest byte of the reply.
    void judge() {
        auto const last = static_cast<unsigned char>(reply_.back());
        switch (awaits_) {
        case reply_to::methods:
            if (reply_.size() == 1) {
                if (last != 5) end(error::bad_proxy_reply);
            } else if (last == 0) {
                say(reply_to::request, request_);
            } else if (last == 2 && credentials_) {
                say(reply_to::credentials, password_message());
            } else {
                end(last == 0xff ? error::proxy_authentication_required : error::bad_proxy_reply);
            }
            break;
        case reply_to::credentials:
            // The version before it is not looked at: some proxies repeat that of SOCKS.
            if (reply_.size() < 2) break;
            if (last == 0)
                say(reply_to::request, request_);
            else
                end(error::proxy_authentication_required);
            break;
        case reply_to::request: judge_reply(last); break;
        }
    }
    // RFC 1928, section 6: version, code, nothing, kind of address, address, port.
    void judge_reply(unsigned char last) {
        switch (reply_.size()) {
        case 1:
            if (last != 5) end(error::bad_proxy_reply);
            break;
        case 2:
            if (last != 0) end(meaning_of(last));
            break;
        case 3: break;
        case 4:
            if (last == 1)
                size_ = 4 + 4 + 2;
            else if (last == 4)
                size_ = 4 + 16 + 2;
            else if (last != 3)
                end(error::bad_proxy_reply);
            break;
        default:
            if (size_ == 0) size_ = 4 + 1 + last + 2u;
            if (reply_.size() == size_) end({});
        }
    }
    [[nodiscard]] static std::error_code meaning_of(unsigned char code) noexcept {
        switch (code) {
        case 2: return error::proxy_refused; // by its rules
        case 1:                              // in general
        case 3:                              // network unreachable
        case 4:                              // host unreachable
        case 5:                              // connection refused
        case 6: return error::proxy_failed;  // time to live expired
        default: return error::bad_proxy_reply;
        }
    }
    [[nodiscard]] std::string password_message() const {
        std::string to = "\x01";
        for (std::string const* const part : {&credentials_->user, &credentials_->password}) {
            to += static_cast<char>(part->size());
            to += *part;
        }
        return to;
    }
    void say(reply_to awaits, std::string text) {
        awaits_ = awaits;
        text_ = std::move(text);
        sent_ = false;
        reply_.clear();
    }
    void end(std::error_code ec) noexcept {
        over_ = true;
        result_ = ec;
    }

    std::string request_;
    std::optional<socks_credentials> credentials_;
    std::string text_;
    std::string reply_;    // so far
    std::size_t size_ = 0; // of the last reply, once it is known
    reply_to awaits_ = reply_to::methods;
    std::error_code result_;
    bool sent_ = false;
    bool over_ = false;
};

/// Resolves the URL's host, then asks for the first of its addresses.
template <class Socket, class Handler>
void resolve_and_talk(Socket& socket, url const& to, std::string userinfo, Handler handler) {
    using asio::ip::tcp;
    struct lookup {
        lookup(Socket& s, Handler h) : resolver(s.get_executor()), handler(std::move(h)) {}
        // Where it has gone, the socket perhaps has too.
        std::optional<Handler> take() { return std::exchange(handler, std::nullopt); }

        asio::ip::basic_resolver<tcp, typename Socket::executor_type> resolver;
        std::optional<Handler> handler;
    };
    auto const pending = std::make_shared<lookup>(socket, std::move(handler));
    pending->resolver.async_resolve(
        std::string{to.host()}, std::to_string(to.port()), asio::ip::resolver_base::numeric_service,
        [pending, &socket, userinfo = std::move(userinfo)](std::error_code ec,
                                                           tcp::resolver::results_type found) {
            auto h = pending->take();
            if (!h) return;
            std::error_code ignored;
            socket.cancel(ignored);
            if (ec) {
                std::move(h.value())(ec);
                return;
            }
            tcp::endpoint const first = *found.begin();
            talk_over(socket,
                      socks_talk{socks_destination(first.address(), first.port()), userinfo},
                      std::move(h.value()));
        });
    // A lookup cannot be interrupted, and does not notice that the socket was closed.
    socket.async_wait(asio::socket_base::wait_error, [pending](std::error_code ec) {
        auto h = pending->take();
        if (!h) return;
        pending->resolver.cancel();
        std::move(h.value())(ec ? ec : make_error_code(error::proxy_failed));
    });
}

} // namespace detail

/// By way of the proxies that the rules name, else straight: HTTP ones as `http_proxies`, and
/// SOCKS5 ones (RFC 1928), which serve http and https URLs alike. With socks5h:// the proxy
/// resolves the URL's name, with socks5:// this machine does, and asks for the first address.
/// Credentials go as RFC 1929 has it. Thread-safe where const; copies share what they read.
///
///     cleave::any_proxies{"socks5h://user:password@proxy.example"}
class any_proxies : public detail::proxied_route {
  public:
    using proxied_route::proxied_route;

    /// See `proxy_rules::from_environment`.
    [[nodiscard]] static any_proxies from_environment() {
        return any_proxies{proxy_rules::from_environment()};
    }

    /// `error::bad_proxy` where the proxy for the URL cannot be read, or user or password are
    /// longer than the 255 bytes that SOCKS5 allows; `error::proxy_unsupported` where the proxy
    /// speaks something else, such as https or socks4.
    [[nodiscard]] std::error_code check(url const& to) const {
        auto const* const proxy = find(to);
        if (proxy == nullptr) return {};
        if (proxy->bad) return proxy->bad;
        switch (proxy->kind) {
        case detail::proxy_kind::http: return {};
        case detail::proxy_kind::other: return error::proxy_unsupported;
        case detail::proxy_kind::socks5:
        case detail::proxy_kind::socks5h: break;
        }
        if (!detail::socks_credentials{proxy->userinfo}.fit()) return error::bad_proxy;
        return {};
    }

    /// Handler: `void(std::error_code)`. Fails like `http_proxies`, and with SOCKS5:
    /// `error::proxy_authentication_required` (no method both know, or wrong credentials),
    /// `error::proxy_refused` (reply 2), `error::proxy_failed` (1, 3 to 6, or closed without a
    /// word), `error::bad_proxy_reply`, or a code of the resolver.
    template <class Socket, class Handler>
    void async_open(Socket& socket, url const& to, Handler handler) const {
        auto const* const proxy = find(to);
        std::error_code const bad = check(to);
        if (bad || proxy == nullptr || hop(to) != nullptr)
            return detail::post_result(socket, bad, std::move(handler));
        if (proxy->kind == detail::proxy_kind::http)
            return detail::talk_over(socket, detail::connect_talk{to, proxy->hop},
                                     std::move(handler));
        if (proxy->kind == detail::proxy_kind::socks5 && !to.is_ip_literal())
            return detail::resolve_and_talk(socket, to, proxy->userinfo, std::move(handler));
        detail::talk_over(socket,
                          detail::socks_talk{detail::socks_destination(to), proxy->userinfo},
                          std::move(handler));
    }
};

static_assert(route<any_proxies>);

} // namespace cleave
