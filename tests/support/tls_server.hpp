// SPDX-License-Identifier: BSL-1.0
//
// A TLS server for tests, with a CA of its own. It speaks through memory, so that a test has each
// byte on the wire in its hands: to cut, to damage, to send again. One thread per connection. It
// shares no code with the library.

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace cleave_test {

// --- certificates --------------------------------------------------------------------------------

inline void openssl_check(bool good, char const* what) {
    if (!good) throw std::runtime_error{std::string{"OpenSSL: "} + what};
}

template <class Write>
std::string to_pem(Write write) {
    std::unique_ptr<BIO, decltype(&BIO_free)> const bio{BIO_new(BIO_s_mem()), &BIO_free};
    openssl_check(write(bio.get()) == 1, "PEM");
    std::string text(BIO_ctrl_pending(bio.get()), '\0');
    BIO_read(bio.get(), text.data(), static_cast<int>(text.size()));
    return text;
}

/// A certificate and its key.
struct identity {
    std::shared_ptr<EVP_PKEY> key;
    std::shared_ptr<X509> certificate;

    std::string pem() const {
        return to_pem([&](BIO* b) { return PEM_write_bio_X509(b, certificate.get()); });
    }
    std::string key_pem(char const* passphrase = nullptr) const {
        std::string p = passphrase != nullptr ? passphrase : "";
        return to_pem([&](BIO* b) {
            return PEM_write_bio_PrivateKey(b, key.get(), p.empty() ? nullptr : EVP_aes_128_cbc(),
                                            reinterpret_cast<unsigned char const*>(p.data()),
                                            static_cast<int>(p.size()), nullptr, nullptr);
        });
    }
};

struct certificate_options {
    std::string common_name = "cleave test";
    std::vector<std::string> names = {};     // DNS names; may hold a NUL
    std::vector<std::string> addresses = {}; // IPv4 or IPv6
    long begins = -3600;                     // seconds from now
    long ends = 86400;
    char const* extended_usage = "serverAuth";
    bool is_ca = false;
};

inline void add_extension(X509* to, X509* issuer, int nid, char const* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
    std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> const e{
        X509V3_EXT_conf_nid(nullptr, &context, nid, value), &X509_EXTENSION_free};
    openssl_check(e && X509_add_ext(to, e.get(), -1) == 1, value);
}

inline void add_names(X509* to, certificate_options const& o) {
    if (o.names.empty() && o.addresses.empty()) return;
    std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> const all{GENERAL_NAMES_new(),
                                                                            &GENERAL_NAMES_free};
    auto const add = [&](int type, ASN1_STRING* value) {
        GENERAL_NAME* const name = GENERAL_NAME_new();
        GENERAL_NAME_set0_value(name, type, value);
        sk_GENERAL_NAME_push(all.get(), name);
    };
    for (auto const& n : o.names) {
        ASN1_IA5STRING* const text = ASN1_IA5STRING_new();
        ASN1_STRING_set(text, n.data(), static_cast<int>(n.size()));
        add(GEN_DNS, text);
    }
    for (auto const& a : o.addresses) add(GEN_IPADD, a2i_IPADDRESS(a.c_str()));
    openssl_check(X509_add1_ext_i2d(to, NID_subject_alt_name, all.get(), 0, 0) == 1, "names");
}

/// Issued by `issuer`, or by itself.
inline identity make_identity(certificate_options const& o, identity const* issuer = nullptr) {
    static std::atomic<long> serial = 1;
    identity made;
    made.key = {EVP_EC_gen("P-256"), &EVP_PKEY_free};
    made.certificate = {X509_new(), &X509_free};
    X509* const c = made.certificate.get();
    X509* const by = issuer != nullptr ? issuer->certificate.get() : c;
    openssl_check(made.key && c != nullptr, "no key");
    X509_set_version(c, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c), o.begins);
    X509_gmtime_adj(X509_getm_notAfter(c), o.ends);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8,
                               reinterpret_cast<unsigned char const*>(o.common_name.data()),
                               static_cast<int>(o.common_name.size()), -1, 0);
    X509_set_issuer_name(c, X509_get_subject_name(by));
    X509_set_pubkey(c, made.key.get());
    add_extension(c, by, NID_basic_constraints, o.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(c, by, NID_key_usage,
                  o.is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    if (!o.is_ca) add_extension(c, by, NID_ext_key_usage, o.extended_usage);
    add_names(c, o);
    EVP_PKEY* const signs = issuer != nullptr ? issuer->key.get() : made.key.get();
    openssl_check(X509_sign(c, signs, EVP_sha256()) > 0, "signing");
    return made;
}

inline identity make_authority(std::string name) {
    return make_identity({.common_name = std::move(name), .is_ca = true});
}

/// A CA of this program, and a server's certificate from it that is right for this machine.
inline identity const& test_authority() {
    static identity const ca = make_authority("cleave test CA");
    return ca;
}
inline certificate_options local_names() {
    return {.names = {"localhost"}, .addresses = {"127.0.0.1", "::1"}};
}
inline identity const& local_identity() {
    static identity const local = make_identity(local_names(), &test_authority());
    return local;
}

// --- the server ----------------------------------------------------------------------------------

struct tls_server_options {
    identity shows = local_identity();
    std::string answers_alpn = {}; // this protocol, whatever was offered; empty: none
    int version = 0;               // this and no other
    std::string client_ca = {};    // PEM: wants a client's certificate from there
    std::size_t cut_after = std::numeric_limits<std::size_t>::max(); // bytes on the wire, then FIN
};

/// The server's end of a connection. Blocks.
class tls_connection {
  public:
    tls_connection(int fd, SSL_CTX* context, tls_server_options const& o)
        : options_(o), fd_(fd), ssl_(SSL_new(context), &SSL_free) {
        SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        SSL_set_accept_state(ssl_.get());
    }
    ~tls_connection() { fin(); }
    tls_connection(tls_connection const&) = delete;
    tls_connection& operator=(tls_connection const&) = delete;

    bool shake_hands() {
        for (;;) {
            ERR_clear_error();
            int const done = SSL_do_handshake(ssl_.get());
            bool const waits = SSL_get_error(ssl_.get(), done) == SSL_ERROR_WANT_READ;
            raw(take());
            if (done == 1) return true;
            if (!waits || !feed()) return false;
        }
    }
    /// What came next, decrypted; nothing at the end.
    std::string read() {
        std::array<char, 16384> text;
        for (;;) {
            ERR_clear_error();
            int const n = SSL_read(ssl_.get(), text.data(), static_cast<int>(text.size()));
            if (n > 0) return {text.data(), static_cast<std::size_t>(n)};
            bool const waits = SSL_get_error(ssl_.get(), n) == SSL_ERROR_WANT_READ;
            raw(take());
            if (!waits || !feed()) return {};
        }
    }
    std::string read_until(std::string_view end) {
        std::string text;
        while (text.find(end) == text.npos) {
            auto const more = read();
            if (more.empty()) break;
            text += more;
        }
        return text;
    }
    /// The records that `text` becomes.
    std::string encrypt(std::string_view text) {
        if (!text.empty()) SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()));
        return take();
    }
    std::string goodbye() {
        SSL_shutdown(ssl_.get());
        return take();
    }
    /// A fatal alert: what it has to say of a damaged record.
    std::string alert() {
        std::string_view const damaged{"\x17\x03\x03\x00\x20"
                                       "................................",
                                       37};
        BIO_write(SSL_get_rbio(ssl_.get()), damaged.data(), static_cast<int>(damaged.size()));
        char c{};
        (void)SSL_read(ssl_.get(), &c, 1);
        return take();
    }
    /// Bytes on the wire, up to where it is to be cut. Whether the peer takes them.
    bool raw(std::string bytes) {
        bool const cut = bytes.size() >= options_.cut_after - sent_;
        if (cut) bytes.resize(options_.cut_after - sent_);
        sent_ += bytes.size();
        std::string_view rest = bytes;
        while (!rest.empty()) {
            auto const n = fd_ < 0 ? -1 : ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            rest.remove_prefix(static_cast<std::size_t>(n));
        }
        if (cut) fin();
        return !cut;
    }
    bool send(std::string_view text) { return raw(encrypt(text)); }
    /// Ends the connection as TCP does. What came and was not read is read first: no RST.
    void fin() {
        if (fd_ < 0) return;
        ::shutdown(std::exchange(fd_, -1), SHUT_WR);
    }

    bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
    int version() const { return SSL_version(ssl_.get()); }
    /// Whether something has come from the socket that was not read.
    bool has_input() const {
        return SSL_pending(ssl_.get()) != 0 || BIO_ctrl_pending(SSL_get_rbio(ssl_.get())) != 0;
    }
    std::string name_wanted() const {
        char const* const n = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
        return n != nullptr ? n : "";
    }
    bool peer_said_goodbye() const {
        return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
    }
    int fd() const { return fd_; }

  private:
    std::string take() {
        BIO* const out = SSL_get_wbio(ssl_.get());
        std::string bytes(BIO_ctrl_pending(out), '\0');
        if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
        return bytes;
    }
    bool feed() {
        std::array<char, 16384> bytes;
        auto const n = fd_ < 0 ? -1 : ::recv(fd_, bytes.data(), bytes.size(), 0);
        return n > 0 && BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(n)) == n;
    }

    tls_server_options const& options_;
    int fd_;
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
    std::size_t sent_ = 0;
};

/// Listens on 127.0.0.1, or ::1, and gives each connection that has shaken hands to `handler`.
class tls_server {
  public:
    using handler_type = std::function<void(tls_connection&)>;

    explicit tls_server(handler_type handler, tls_server_options options = {}, bool ipv6 = false)
        : handler_(std::move(handler)), options_(std::move(options)),
          context_(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free) {
        set_up();
        listen(ipv6);
        acceptor_ = std::thread{[this] { accept(); }};
    }
    ~tls_server() { stop(); }
    tls_server(tls_server const&) = delete;
    tls_server& operator=(tls_server const&) = delete;

    /// Until all connections have ended; those that are idle are ended.
    void stop() {
        if (!acceptor_.joinable()) return;
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        {
            std::lock_guard const lock{mutex_};
            for (int const fd : open_) ::shutdown(fd, SHUT_RD);
        }
        for (auto& t : threads_) t.join();
        for (int const fd : open_) ::close(fd);
        ::close(listener_);
    }

    std::uint16_t port() const { return port_; }
    std::string url(std::string const& host = "localhost", std::string const& path = "/") const {
        return "https://" + host + ":" + std::to_string(port_) + path;
    }
    int accepted() const { return accepted_; }
    /// Connections that have shaken hands; and those of them that did so with a ticket.
    int shaken() const { return shaken_; }
    int resumed() const { return resumed_; }
    std::string last_name_wanted() {
        std::lock_guard const lock{mutex_};
        return name_wanted_;
    }

  private:
    static int answer_alpn(SSL*, unsigned char const** out, unsigned char* size,
                           unsigned char const*, unsigned int, void* arg) {
        auto const& answer = *static_cast<std::string const*>(arg);
        *out = reinterpret_cast<unsigned char const*>(answer.data());
        *size = static_cast<unsigned char>(answer.size());
        return SSL_TLSEXT_ERR_OK;
    }

    void set_up() {
        SSL_CTX* const c = context_.get();
        openssl_check(SSL_CTX_use_certificate(c, options_.shows.certificate.get()) == 1 &&
                          SSL_CTX_use_PrivateKey(c, options_.shows.key.get()) == 1,
                      "the server's certificate");
        if (options_.version != 0) {
            SSL_CTX_set_min_proto_version(c, options_.version);
            SSL_CTX_set_max_proto_version(c, options_.version);
            if (options_.version < TLS1_2_VERSION) {
                SSL_CTX_set_security_level(c, 0);
                SSL_CTX_set_cipher_list(c, "ALL:@SECLEVEL=0");
            }
        }
        if (!options_.answers_alpn.empty())
            SSL_CTX_set_alpn_select_cb(c, answer_alpn, &options_.answers_alpn);
        static constexpr unsigned char id[] = "cleave";
        SSL_CTX_set_session_id_context(c, id, sizeof id);
        if (!options_.client_ca.empty()) {
            std::unique_ptr<BIO, decltype(&BIO_free)> const pem{
                BIO_new_mem_buf(options_.client_ca.data(),
                                static_cast<int>(options_.client_ca.size())),
                &BIO_free};
            std::unique_ptr<X509, decltype(&X509_free)> const ca{
                PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr), &X509_free};
            X509_STORE_add_cert(SSL_CTX_get_cert_store(c), ca.get());
            SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        }
    }
    void listen(bool ipv6) {
        listener_ = ::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_addr = in6addr_loopback;
        auto* const at = ipv6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
        socklen_t size = ipv6 ? sizeof v6 : sizeof v4;
        if (::bind(listener_, at, size) != 0 || ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, at, &size) != 0)
            throw std::runtime_error{"tls_server: cannot listen"};
        port_ = ntohs(ipv6 ? v6.sin6_port : v4.sin_port);
    }
    void accept() {
        for (;;) {
            int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
            if (fd < 0) return;
            int const on = 1;
            ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            ++accepted_;
            std::lock_guard const lock{mutex_};
            open_.push_back(fd);
            threads_.emplace_back([this, fd] { serve(fd); });
        }
    }
    void serve(int fd) {
        tls_connection c{fd, context_.get(), options_};
        if (!c.shake_hands()) return;
        ++shaken_;
        if (c.resumed()) ++resumed_;
        {
            std::lock_guard const lock{mutex_};
            name_wanted_ = c.name_wanted();
        }
        handler_(c);
    }

    handler_type handler_;
    tls_server_options options_;
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::thread acceptor_;
    std::mutex mutex_;
    std::vector<int> open_; // closed at the end, so that no number is used twice meanwhile
    std::vector<std::thread> threads_;
    std::string name_wanted_;
    std::atomic<int> accepted_ = 0;
    std::atomic<int> shaken_ = 0;
    std::atomic<int> resumed_ = 0;
};

/// A handler that passes the bytes on to a plain server on 127.0.0.1, and back.
inline tls_server::handler_type forward_to(std::uint16_t port) {
    return [port](tls_connection& c) {
        int const plain = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.sin_port = htons(port);
        bool alive = ::connect(plain, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
        std::vector<char> bytes(65536);
        while (alive && c.fd() >= 0) {
            pollfd p[2] = {{c.fd(), POLLIN, 0}, {plain, POLLIN, 0}};
            if (!c.has_input()) ::poll(p, 2, -1);
            if (c.has_input() || p[0].revents != 0) {
                auto const request = c.read();
                alive = !request.empty() &&
                        ::send(plain, request.data(), request.size(), MSG_NOSIGNAL) > 0;
            }
            if (alive && p[1].revents != 0) {
                auto const n = ::recv(plain, bytes.data(), bytes.size(), 0);
                alive = n > 0 && c.send({bytes.data(), static_cast<std::size_t>(n)});
                if (n == 0) c.raw(c.goodbye());
            }
        }
        ::close(plain);
    };
}

} // namespace cleave_test
