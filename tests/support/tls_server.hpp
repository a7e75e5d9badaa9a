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
#include <openssl/kdf.h>
#include <openssl/params.h>
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

/// A certificate and its key, and the CAs between it and one that is trusted.
struct identity {
    std::shared_ptr<EVP_PKEY> key;
    std::shared_ptr<X509> certificate;
    std::vector<std::shared_ptr<X509>> chain = {};

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

class tls_connection;

struct tls_server_options {
    identity shows = local_identity();
    std::string answers_alpn = {}; // this protocol, whatever was offered; empty: none
    int version = 0;               // this and no other
    std::string ciphers = {};      // of TLS 1.2, in OpenSSL's words: of any strength
    std::string client_ca = {};    // PEM: wants a client's certificate from there
    bool asks_certificate = false; // of the client, and takes any, or none
    identity shows_later = {};     // on all connections but the first, if not the same
    std::function<void(tls_connection&)> before = {}; // called before each handshake
    bool also_plain = false; // who does not begin with TLS is served without
    std::size_t cut_after = std::numeric_limits<std::size_t>::max(); // bytes on the wire, then FIN
};

/// The server's end of a connection. Blocks.
class tls_connection {
  public:
    tls_connection(int fd, SSL_CTX* context, tls_server_options const& o, bool first)
        : options_(o), fd_(fd), first_(first), ssl_(SSL_new(context), &SSL_free) {
        identity const& shows = first || !o.shows_later.key ? o.shows : o.shows_later;
        openssl_check(SSL_use_certificate(ssl_.get(), shows.certificate.get()) == 1 &&
                          SSL_use_PrivateKey(ssl_.get(), shows.key.get()) == 1,
                      "the server's certificate");
        for (auto const& ca : shows.chain)
            openssl_check(SSL_add1_chain_cert(ssl_.get(), ca.get()) == 1, "its chain");
        SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        SSL_set_accept_state(ssl_.get());
        SSL_set_ex_data(ssl_.get(), 0, this);
        SSL_CTX_set_keylog_callback(context, [](SSL const* ssl, char const* line) {
            static_cast<tls_connection*>(SSL_get_ex_data(ssl, 0))->note_secret(line);
        });
    }
    ~tls_connection() { fin(); }
    tls_connection(tls_connection const&) = delete;
    tls_connection& operator=(tls_connection const&) = delete;

    bool shake_hands() {
        if (options_.also_plain) {
            char c{};
            plain_ = ::recv(fd_, &c, 1, MSG_PEEK) == 1 && c != '\x16';
            if (plain_) return true;
        }
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
            auto const n = plain_
                               ? static_cast<int>(::recv(fd_, text.data(), text.size(), 0))
                               : SSL_read(ssl_.get(), text.data(), static_cast<int>(text.size()));
            if (n > 0) {
                got_ += static_cast<std::size_t>(n);
                return {text.data(), static_cast<std::size_t>(n)};
            }
            if (plain_) return {};
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
        if (plain_) return std::string{text};
        if (!text.empty()) SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()));
        return take();
    }
    std::string goodbye() {
        if (plain_) return {};
        SSL_shutdown(ssl_.get());
        return take();
    }
    /// One more ticket, in TLS 1.3.
    std::string ticket() {
        SSL_new_session_ticket(ssl_.get());
        SSL_do_handshake(ssl_.get());
        return take();
    }
    /// A wish for a new handshake, in TLS 1.2.
    std::string hello_request() {
        SSL_renegotiate(ssl_.get());
        SSL_do_handshake(ssl_.get());
        return take();
    }
    /// A change of keys, in TLS 1.3; may ask the client for one of its own.
    std::string key_update(bool asks_for_another = false) {
        SSL_key_update(ssl_.get(),
                       asks_for_another ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(ssl_.get());
        return take();
    }
    /// A record without content, in TLS 1.3 with TLS_AES_256_GCM_SHA384. OpenSSL writes none, and
    /// does not know of this one: it is right where nothing but such was sent since a full
    /// handshake.
    std::string empty_record() {
        auto const key = derive("key", 32);
        auto nonce = derive("iv", 12);
        auto const sequence = SSL_get_num_tickets(ssl_.get()) + empty_records_++;
        for (std::size_t i = 0; i != 8; ++i)
            nonce[11 - i] = static_cast<unsigned char>(nonce[11 - i] ^ (sequence >> 8 * i));
        std::string record{"\x17\x03\x03\x00\x11", 5}; // RFC 8446, section 5.2
        record.resize(5 + 1 + 16);
        auto* const at = reinterpret_cast<unsigned char*>(record.data());
        unsigned char const type = 0x17;
        int n = 0;
        std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> const c{
            EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free};
        openssl_check(EVP_EncryptInit_ex(c.get(), EVP_aes_256_gcm(), nullptr, key.data(),
                                         nonce.data()) == 1 &&
                          EVP_EncryptUpdate(c.get(), nullptr, &n, at, 5) == 1 &&
                          EVP_EncryptUpdate(c.get(), at + 5, &n, &type, 1) == 1 &&
                          EVP_EncryptFinal_ex(c.get(), at + 6, &n) == 1 &&
                          EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_AEAD_GET_TAG, 16, at + 6) == 1,
                      "an empty record");
        return record;
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

    bool secure() const { return !plain_; }
    /// Whether this is the server's first connection.
    bool first() const { return first_; }
    /// Bytes that `read` answered with so far.
    std::size_t got() const { return got_; }
    bool peer_showed_certificate() const {
        return SSL_get0_peer_certificate(ssl_.get()) != nullptr;
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
    // From a line "SERVER_TRAFFIC_SECRET_0 <random> <secret>".
    void note_secret(std::string_view line) {
        if (!line.starts_with("SERVER_TRAFFIC_SECRET_0 ")) return;
        std::string const hex{line.substr(line.rfind(' ') + 1)};
        for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
            secret_.push_back(static_cast<unsigned char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    // RFC 8446, section 7.3.
    std::vector<unsigned char> derive(std::string label, std::size_t size) {
        std::string prefix = "tls13 ";
        std::string digest = "SHA384";
        int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
        std::array<OSSL_PARAM, 6> const with{
            OSSL_PARAM_construct_int("mode", &mode),
            OSSL_PARAM_construct_utf8_string("digest", digest.data(), 0),
            OSSL_PARAM_construct_octet_string("key", secret_.data(), secret_.size()),
            OSSL_PARAM_construct_octet_string("prefix", prefix.data(), prefix.size()),
            OSSL_PARAM_construct_octet_string("label", label.data(), label.size()),
            OSSL_PARAM_construct_end()};
        std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> const kdf{
            EVP_KDF_fetch(nullptr, "TLS13-KDF", nullptr), &EVP_KDF_free};
        std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> const c{
            EVP_KDF_CTX_new(kdf.get()), &EVP_KDF_CTX_free};
        std::vector<unsigned char> derived(size);
        openssl_check(EVP_KDF_derive(c.get(), derived.data(), size, with.data()) == 1, "a key");
        return derived;
    }

    tls_server_options const& options_;
    int fd_;
    bool const first_;
    bool plain_ = false;
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
    std::size_t sent_ = 0;
    std::size_t got_ = 0;
    std::vector<unsigned char> secret_; // that the keys of what it sends in TLS 1.3 come from
    std::uint64_t empty_records_ = 0;
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
    /// Bytes that came, decrypted: on the first connection, and on all others.
    std::size_t got_first() const { return got_first_; }
    std::size_t got_later() const { return got_later_; }
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
        if (options_.shows_later.key) {
            // With a ticket no certificate would be shown.
            SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
            SSL_CTX_set_num_tickets(c, 0);
            SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
        }
        if (options_.version != 0) {
            SSL_CTX_set_min_proto_version(c, options_.version);
            SSL_CTX_set_max_proto_version(c, options_.version);
            if (options_.version < TLS1_2_VERSION) {
                SSL_CTX_set_security_level(c, 0);
                SSL_CTX_set_cipher_list(c, "ALL:@SECLEVEL=0");
            }
        }
        if (!options_.ciphers.empty()) {
            SSL_CTX_set_security_level(c, 0);
            openssl_check(SSL_CTX_set_cipher_list(c, options_.ciphers.c_str()) == 1, "ciphers");
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
        if (options_.asks_certificate)
            SSL_CTX_set_verify(c, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
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
            bool const first = ++accepted_ == 1;
            std::lock_guard const lock{mutex_};
            open_.push_back(fd);
            threads_.emplace_back([this, fd, first] { serve(fd, first); });
        }
    }
    void serve(int fd, bool first) {
        tls_connection c{fd, context_.get(), options_, first};
        if (options_.before) options_.before(c);
        // If the peer speaks although it has not shaken hands, it is heard.
        if (!c.shake_hands()) {
            while (!c.read().empty()) {
            }
            count(c);
            return;
        }
        ++shaken_;
        if (c.resumed()) ++resumed_;
        {
            std::lock_guard const lock{mutex_};
            name_wanted_ = c.name_wanted();
        }
        handler_(c);
        count(c);
    }
    void count(tls_connection const& c) { (c.first() ? got_first_ : got_later_) += c.got(); }

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
    std::atomic<std::size_t> got_first_ = 0;
    std::atomic<std::size_t> got_later_ = 0;
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
