// SPDX-License-Identifier: BSL-1.0
//
// TLS 1.2 and 1.3 by OpenSSL (3.0 upwards) for https URLs, plain TCP for http ones. Drives OpenSSL
// on the socket itself, so that it decrypts into the caller's memory. Knows no HTTP but the name
// by which TLS calls it, and no proxies: they are behind it when TLS begins. The only header of
// this folder that needs OpenSSL.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/connect/pool.hpp>
#include <cleave/connect/route.hpp>
#include <cleave/connect/tcp.hpp>
#include <cleave/os/file_calls.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave {

/// Whom a TLS connector trusts, and what it shows of itself. Read when the connector is first used.
struct tls_settings {
    /// CA certificates, a file of PEM and PEM itself, that are trusted instead of the system's.
    /// The system's, where neither is given: OpenSSL's default, or what SSL_CERT_FILE and
    /// SSL_CERT_DIR name.
    std::string ca_file = {};
    std::string ca_pem = {};
    /// The client's certificate, with its chain behind it, and its key without a passphrase: files
    /// of PEM. With no key file the key is in the certificate's. Shown at the origin of the
    /// request's URL, and not where a redirect or a mirror leads to another.
    std::string certificate_file = {};
    std::string key_file = {};
    /// Public keys, one of which must be the server's: "sha256//" and the base64 of the SHA-256 of
    /// its SubjectPublicKeyInfo, as curl writes them. Besides the verification, not instead of it.
    std::vector<std::string> pins = {};
};

/// How connections began: with a full handshake, or with a ticket of an earlier one.
struct tls_handshakes {
    std::uint64_t full = 0;
    std::uint64_t resumed = 0;
};

namespace detail {

struct tls_free {
    void operator()(SSL_CTX* p) const noexcept { SSL_CTX_free(p); }
    void operator()(SSL* p) const noexcept { SSL_free(p); }
    void operator()(SSL_SESSION* p) const noexcept { SSL_SESSION_free(p); }
    void operator()(X509* p) const noexcept { X509_free(p); }
    void operator()(BIO* p) const noexcept { BIO_free(p); }
};
template <class T>
using tls_ptr = std::unique_ptr<T, tls_free>;

// ---- what an error is ---------------------------------------------------------------------

/// Of OpenSSL's verdict on a certificate.
[[nodiscard]] constexpr error tls_error_of_verdict(long verdict) noexcept {
    switch (verdict) {
    case X509_V_ERR_CERT_NOT_YET_VALID: return error::certificate_not_yet_valid;
    case X509_V_ERR_CERT_HAS_EXPIRED: return error::certificate_expired;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return error::certificate_wrong_host;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED: return error::certificate_unknown_issuer;
    default: return error::certificate_bad;
    }
}

/// Of an alert of the server (RFC 8446, section 6.2). One about what we are or want will come
/// again; it may come behind the handshake, when it is about our certificate.
[[nodiscard]] constexpr error tls_error_of_alert(int alert) noexcept {
    switch (alert) {
    case SSL_AD_NO_APPLICATION_PROTOCOL: return error::alpn_mismatch;
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_INSUFFICIENT_SECURITY:
    case SSL_AD_UNRECOGNIZED_NAME:
    case SSL_AD_CERTIFICATE_REQUIRED: return error::tls_handshake_failed;
    default: return error::tls_record_bad;
    }
}

// ---- trust --------------------------------------------------------------------------------

/// What is wrong with settings, and where: for people, a file or a directory as a rule.
struct tls_fault {
    std::error_code code = {};
    std::string place = {};
};

/// In place of OpenSSL's own, which asks on the terminal.
inline int tls_no_passphrase(char*, int, int, void*) { return -1; }

/// Trusts the certificates in `from`, which is PEM.
[[nodiscard]] inline std::error_code tls_trust(X509_STORE* store, BIO* from) {
    bool any = false;
    ERR_clear_error();
    while (
        tls_ptr<X509> const ca{PEM_read_bio_X509_AUX(from, nullptr, tls_no_passphrase, nullptr)}) {
        if (X509_STORE_add_cert(store, ca.get()) != 1) break;
        any = true;
    }
    unsigned long const last = ERR_peek_last_error();
    bool const at_end =
        ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (!at_end) return error::trust_store_unreadable;
    if (!any) return error::trust_store_empty;
    return {};
}
[[nodiscard]] inline std::error_code tls_trust_file(X509_STORE* store, std::string const& path) {
    tls_ptr<BIO> const file{BIO_new_file(path.c_str(), "r")};
    // A directory can be opened, but not read.
    file_calls::status found{};
    if (!file || (file_calls::status_at(path.c_str(), found) == 0 && S_ISDIR(found.st_mode)))
        return error::trust_store_unreadable;
    return tls_trust(store, file.get());
}

/// Whether OpenSSL would look at a file of this name in a directory of certificates.
[[nodiscard]] inline bool tls_is_hash_name(std::string_view name) noexcept {
    auto const is_hex = [](char c) { return ascii_hex(c) >= 0; };
    return name.size() > 9 && name[8] == '.' && ascii_is_digit(name[9]) &&
           std::all_of(name.begin(), name.begin() + 8, is_hex);
}

/// Whether there is a certificate in one of the directories, which are separated by colons.
[[nodiscard]] inline std::error_code tls_look_for_certificate(std::string_view directories) {
    std::error_code why = error::trust_store_empty;
    while (!directories.empty()) {
        std::string const one{directories.substr(0, directories.find(':'))};
        directories.remove_prefix(std::min(one.size() + 1, directories.size()));
        struct closer {
            void operator()(DIR* d) const noexcept { ::closedir(d); }
        };
        std::unique_ptr<DIR, closer> const directory{::opendir(one.c_str())};
        if (!directory) why = error::trust_store_unreadable;
        while (auto const* const entry =
                   directory ? file_calls::next_entry(directory.get()) : nullptr)
            if (tls_is_hash_name(entry->d_name) &&
                ::access((one + "/" + entry->d_name).c_str(), R_OK) == 0)
                return {};
    }
    return why;
}

/// Trusts whom the system trusts. OpenSSL does not mind where there is nobody; whoever then wonders
/// why no server is to be trusted does.
[[nodiscard]] inline tls_fault tls_trust_system(SSL_CTX* context) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) return {error::trust_store_unreadable};
    X509_STORE* const store = SSL_CTX_get_cert_store(context);
    if (sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) > 0) return {};

    // What is looked for where OpenSSL was built to look need not be there.
    auto const look = [](char const* variable, char const* otherwise, auto examine) -> tls_fault {
        char const* const named = std::getenv(variable);
        std::string place = named != nullptr ? named : otherwise;
        file_calls::status found{};
        if (named == nullptr && file_calls::status_at(place.c_str(), found) != 0 &&
            (errno == ENOENT || errno == ENOTDIR))
            return {error::trust_store_empty, std::move(place)};
        std::error_code const ec = examine(place);
        return {ec, std::move(place)};
    };
    auto in_directory = look(X509_get_default_cert_dir_env(), X509_get_default_cert_dir(),
                             tls_look_for_certificate);
    if (!in_directory.code) return {};
    auto in_file = look(X509_get_default_cert_file_env(), X509_get_default_cert_file(),
                        [&](std::string const& path) { return tls_trust_file(store, path); });
    if (in_file.code != error::trust_store_empty) return in_file;
    if (in_directory.code == error::trust_store_empty)
        in_directory.place = in_file.place + " and " + in_directory.place;
    return in_directory;
}

// ---- pins ---------------------------------------------------------------------------------

inline constexpr std::string_view tls_pin_begins = "sha256//";

[[nodiscard]] inline bool tls_is_pin(std::string_view pin) noexcept {
    if (pin.size() != tls_pin_begins.size() + 44 || !pin.starts_with(tls_pin_begins)) return false;
    auto const is_base64 = [](char c) {
        return ascii_is_letter(c) || ascii_is_digit(c) || c == '+' || c == '/';
    };
    return pin.ends_with('=') && std::all_of(pin.begin() + 8, pin.end() - 1, is_base64);
}

/// The pin of a certificate's public key; empty where it cannot be computed.
[[nodiscard]] inline std::string tls_pin_of(X509 const* certificate) {
    unsigned char* der = nullptr;
    int const size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    if (size <= 0) return {};
    std::array<unsigned char, 32> hash{};
    bool const hashed = EVP_Digest(der, static_cast<std::size_t>(size), hash.data(), nullptr,
                                   EVP_sha256(), nullptr) == 1;
    OPENSSL_free(der);
    if (!hashed) return {};
    std::array<unsigned char, 45> text{};
    EVP_EncodeBlock(text.data(), hash.data(), static_cast<int>(hash.size()));
    return std::string{tls_pin_begins}.append(text.begin(), text.end() - 1);
}

// ---- what connections share ---------------------------------------------------------------

/// Settings once read, tickets, and counts: one for all copies of a connector. Thread-safe.
class tls_context {
  public:
    tls_context(tls_settings settings, bool verifies)
        : settings_(std::move(settings)), verifies_(verifies) {}

    /// Reads the settings, unless that has gone well before.
    [[nodiscard]] std::error_code read() {
        std::lock_guard const lock{mutex_};
        if (!context_) fault_ = try_to_read();
        return fault_.code;
    }
    /// Where the settings are wrong, if the last `read` said this of them; else empty.
    [[nodiscard]] std::string place_of(std::error_code ec) {
        std::lock_guard const lock{mutex_};
        return ec == fault_.code ? fault_.place : std::string{};
    }

    /// A new connection's, after `read` has gone well.
    [[nodiscard]] tls_ptr<SSL> make() {
        std::lock_guard const lock{mutex_};
        return tls_ptr<SSL>{SSL_new(context_.get())};
    }
    [[nodiscard]] bool verifies() const noexcept { return verifies_; }
    [[nodiscard]] bool allows(std::string const& pin) const {
        auto const& all = settings_.pins;
        return std::find(all.begin(), all.end(), pin) != all.end();
    }
    [[nodiscard]] bool has_pins() const noexcept { return !settings_.pins.empty(); }

    /// A ticket for an origin, or null. Copies go in and out: OpenSSL marks those of connections
    /// that broke, without a lock that we could share.
    [[nodiscard]] tls_ptr<SSL_SESSION> ticket(std::string const& origin) {
        std::lock_guard const lock{mutex_};
        auto const found = tickets_.find(origin);
        if (found == tickets_.end()) return nullptr;
        return tls_ptr<SSL_SESSION>{SSL_SESSION_dup(found->second.get())};
    }
    void keep_ticket(std::string const& origin, SSL_SESSION const* ticket) {
        // Called from within OpenSSL, which must not find an error of ours.
        ERR_set_mark();
        tls_ptr<SSL_SESSION> copy{SSL_SESSION_dup(ticket)};
        ERR_pop_to_mark();
        if (!copy) return;
        std::lock_guard const lock{mutex_};
        if (tickets_.size() == most_tickets) tickets_.erase(tickets_.begin());
        tickets_[origin] = std::move(copy);
    }
    void forget_ticket(std::string const& origin) {
        std::lock_guard const lock{mutex_};
        tickets_.erase(origin);
    }

    void count(bool resumed) noexcept { ++(resumed ? resumed_ : full_); }
    [[nodiscard]] tls_handshakes handshakes() const noexcept { return {full_, resumed_}; }

    /// No other context in this process has the same: tells its connections from those of others.
    [[nodiscard]] std::string const& name() const noexcept { return name_; }

  private:
    [[nodiscard]] static std::string next_name() {
        static std::atomic<std::uint64_t> last = 0;
        return "TLS " + std::to_string(++last) + ' ';
    }

    [[nodiscard]] tls_fault try_to_read() {
        for (auto const& pin : settings_.pins)
            if (!tls_is_pin(pin)) return {error::bad_pin};
        ERR_clear_error();
        tls_ptr<SSL_CTX> made{SSL_CTX_new(TLS_client_method())};
        if (!made) return {std::make_error_code(std::errc::not_enough_memory)};
        harden(made.get());
        if (auto fault = trust(made.get()); fault.code) return fault;
        if (auto fault = show(made.get()); fault.code) return fault;
        SSL_CTX_set_session_cache_mode(made.get(),
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(made.get(), on_ticket);
        context_ = std::move(made);
        return {};
    }

    // The system's configuration of OpenSSL may ask for more than this, but not for less.
    static void harden(SSL_CTX* c) {
        if (SSL_CTX_get_min_proto_version(c) < TLS1_2_VERSION)
            SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
        if (SSL_CTX_get_security_level(c) < 2) SSL_CTX_set_security_level(c, 2);
        SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
        SSL_CTX_clear_options(c, SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE);
        // Zero is success here.
        static constexpr unsigned char protocols[] = "\x08http/1.1";
        SSL_CTX_set_alpn_protos(c, protocols, sizeof protocols - 1);
    }

    tls_fault trust(SSL_CTX* c) const {
        if (!verifies_) {
            SSL_CTX_set_verify(c, SSL_VERIFY_NONE, nullptr);
            return {};
        }
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
        std::string const& file = settings_.ca_file;
        std::string const& pem = settings_.ca_pem;
        if (file.empty() && pem.empty()) return tls_trust_system(c);
        X509_STORE* const store = SSL_CTX_get_cert_store(c);
        if (!file.empty())
            if (auto const ec = tls_trust_file(store, file)) return {ec, file};
        if (pem.empty()) return {};
        char const* const here = "tls_settings::ca_pem";
        if (pem.size() > INT_MAX) return {error::trust_store_unreadable, here};
        tls_ptr<BIO> const text{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
        if (!text) return {std::make_error_code(std::errc::not_enough_memory)};
        if (auto const ec = tls_trust(store, text.get())) return {ec, here};
        return {};
    }

    tls_fault show(SSL_CTX* c) const {
        std::string const& certificate = settings_.certificate_file;
        std::string const& key = settings_.key_file.empty() ? certificate : settings_.key_file;
        if (key.empty()) return {};
        SSL_CTX_set_default_passwd_cb(c, tls_no_passphrase);
        bool const known = SSL_CTX_use_certificate_chain_file(c, certificate.c_str()) == 1;
        bool const fit = known &&
                         SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) == 1 &&
                         SSL_CTX_check_private_key(c) == 1;
        ERR_clear_error();
        if (!fit) return {error::client_certificate_unreadable, known ? key : certificate};
        return {};
    }

    static int on_ticket(SSL* ssl, SSL_SESSION* ticket);

    static constexpr std::size_t most_tickets = 64;

    tls_settings const settings_;
    bool const verifies_;
    std::string const name_ = next_name();
    std::mutex mutex_;
    tls_ptr<SSL_CTX> context_;
    tls_fault fault_;                                     // none once there is a context
    std::map<std::string, tls_ptr<SSL_SESSION>> tickets_; // by host, port, and who we are there
    std::atomic<std::uint64_t> full_ = 0;
    std::atomic<std::uint64_t> resumed_ = 0;
};

// ---- one connection -----------------------------------------------------------------------

/// A socket as OpenSSL sees it. A buffer of many records saves it two calls of the system for each
/// one; and what OpenSSL sends raises no SIGPIPE.
///
/// OpenSSL goes on by itself as long as records come in which there is nothing for us. So in one
/// turn it gets no more than one buffer, and then the socket seems empty: that may be 4800 changes
/// of keys, which take it two tenths of a second.
class tls_wire {
  public:
    void attach(int fd) noexcept { fd_ = fd; }
    void begin_turn() noexcept { may_receive_ = true; }
    /// Whether the turn is over, all that it brought has been read, and there seems to be more.
    [[nodiscard]] bool wants_turn() const noexcept {
        return !may_receive_ && first_ == last_ && last_ == bytes_.size();
    }
    /// Whether nothing is left to read, here and in the socket.
    [[nodiscard]] bool is_dry() const noexcept {
        char next{};
        return first_ == last_ && ::recv(fd_, &next, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
               is_would_block(errno);
    }
    /// The system's error, if one ended it; and whether the peer has ended it.
    [[nodiscard]] std::error_code failed() const noexcept { return failed_; }
    [[nodiscard]] bool ended() const noexcept { return ended_; }

    /// A BIO over it, to be freed before it; null where there is no memory.
    [[nodiscard]] BIO* make_bio() noexcept {
        // Never freed: a connection may outlive the statics.
        static std::atomic<BIO_METHOD*> shared = nullptr;
        BIO_METHOD* method = shared;
        if (method == nullptr) {
            // Not made once and for all: where there is no memory now, there may be some later.
            BIO_METHOD* const made = make_method();
            if (shared.compare_exchange_strong(method, made))
                method = made;
            else
                BIO_meth_free(made);
        }
        BIO* const bio = method != nullptr ? BIO_new(method) : nullptr;
        if (bio == nullptr) return nullptr;
        BIO_set_data(bio, this);
        BIO_set_init(bio, 1);
        return bio;
    }

  private:
    static BIO_METHOD* make_method() noexcept {
        BIO_METHOD* const m =
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cleave socket");
        if (m == nullptr) return m;
        BIO_meth_set_read(m, [](BIO* bio, char* to, int n) {
            BIO_clear_retry_flags(bio);
            return of(bio).read(bio, to, n);
        });
        BIO_meth_set_write(m, [](BIO* bio, char const* from, int n) {
            BIO_clear_retry_flags(bio);
            return of(bio).write(bio, from, n);
        });
        BIO_meth_set_ctrl(m, [](BIO* bio, int command, long, void*) -> long {
            if (command == BIO_CTRL_EOF) return of(bio).ended_ ? 1 : 0;
            return command == BIO_CTRL_FLUSH ? 1 : 0;
        });
        return m;
    }
    static tls_wire& of(BIO* bio) noexcept { return *static_cast<tls_wire*>(BIO_get_data(bio)); }

    int read(BIO* bio, char* to, int n) noexcept {
        if (first_ == last_) {
            if (!std::exchange(may_receive_, false)) return retry(bio, BIO_FLAGS_READ);
            ssize_t got = -1;
            do got = ::recv(fd_, bytes_.data(), bytes_.size(), MSG_DONTWAIT);
            while (got < 0 && errno == EINTR);
            if (got < 0) return failed(bio, BIO_FLAGS_READ);
            ended_ = got == 0;
            if (ended_) return 0;
            first_ = 0;
            last_ = static_cast<std::size_t>(got);
        }
        std::size_t const size = std::min(static_cast<std::size_t>(n), last_ - first_);
        std::memcpy(to, bytes_.data() + first_, size);
        first_ += size;
        return static_cast<int>(size);
    }
    int write(BIO* bio, char const* from, int n) noexcept {
        ssize_t sent = -1;
        do sent = ::send(fd_, from, static_cast<std::size_t>(n), MSG_NOSIGNAL | MSG_DONTWAIT);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? failed(bio, BIO_FLAGS_WRITE) : static_cast<int>(sent);
    }
    int failed(BIO* bio, int doing) noexcept {
        if (is_would_block(errno)) return retry(bio, doing);
        failed_ = {errno, std::system_category()};
        return -1;
    }
    static int retry(BIO* bio, int doing) noexcept {
        BIO_set_flags(bio, doing | BIO_FLAGS_SHOULD_RETRY);
        return -1;
    }

    int fd_ = -1;
    bool may_receive_ = false;
    bool ended_ = false;
    std::error_code failed_;
    std::size_t first_ = 0; // of what is in `bytes_` and not read
    std::size_t last_ = 0;
    std::array<char, 131072> bytes_;
};

/// One connection's TLS: never waits.
class tls_link final : public connection_layer {
  public:
    using wait_type = asio::socket_base::wait_type;

    explicit tls_link(std::shared_ptr<tls_context> context) : context_(std::move(context)) {}
    /// Says goodbye, where the socket takes it at once.
    ~tls_link() override {
        // A forked process has only copies: what it sent would end its parent's connection.
        bool const ours = process_ == ::getpid();
        ERR_clear_error();
        if (ours && established_ && (!ended_ || ended_ == asio::error::eof))
            SSL_shutdown(ssl_.get());
        ssl_.reset();
        ERR_clear_error();
    }

    /// Gets ready to speak with the host of a URL over a connected socket. `identify`: whether it
    /// may see the client's certificate.
    [[nodiscard]] std::error_code begin(url const& to, int fd, bool identify) {
        if (auto const ec = context_->read()) return ec;
        wire_.attach(fd);
        auto const no_memory = std::make_error_code(std::errc::not_enough_memory);
        ERR_clear_error();
        ssl_ = context_->make();
        BIO* const bio = ssl_ ? wire_.make_bio() : nullptr;
        if (bio == nullptr) return no_memory;
        SSL_set_bio(ssl_.get(), bio, bio);
        if (SSL_set_ex_data(ssl_.get(), 0, this) != 1) return no_memory;
        SSL_set_connect_state(ssl_.get());

        // The dot of the DNS root stands neither in certificates nor in SNI (RFC 6066, section 3).
        std::string host{to.host()};
        if (host.ends_with('.')) host.pop_back();
        origin_ = host + ":" + std::to_string(to.port());
        if (!identify) {
            // Nor a ticket by which it would know the client.
            SSL_certs_clear(ssl_.get());
            origin_ += " as nobody";
        }
        if (!expect(host, to.is_ip_literal())) return no_memory;
        if (auto const ticket = context_->ticket(origin_))
            SSL_set_session(ssl_.get(), ticket.get());
        return {};
    }

    /// Each of these goes as far as it can in one turn of the wire's: `would_block` when the socket
    /// has to be waited for, in the way that `wants` says, before it is called again.
    void shake_hands(std::error_code& ec) {
        wire_.begin_turn();
        ERR_clear_error();
        int const done = SSL_do_handshake(ssl_.get());
        ec = done == 1 ? admit() : outcome(done);
        if (!ec) {
            established_ = true;
            bool const resumed = SSL_session_reused(ssl_.get()) == 1;
            handshake_ = resumed ? cleave::handshake::resumed : cleave::handshake::full;
            context_->count(resumed);
        } else if (ec != asio::error::would_block) {
            // Nothing of the sort was said with a sound certificate and key.
            context_->forget_ticket(origin_);
            if (ec == asio::error::eof || ec == error::tls_truncated)
                ec = error::closed_before_reply;
            ended_ = ec;
        }
    }
    [[nodiscard]] std::size_t read(std::span<std::byte> to, std::error_code& ec) {
        ec.clear();
        drained_ = false;
        wire_.begin_turn();
        std::size_t got = 0;
        std::size_t got_before = 0; // this turn
        while (got != to.size() && !ended_) {
            ERR_clear_error();
            std::size_t n = 0;
            int const done = SSL_read_ex(ssl_.get(), to.data() + got, to.size() - got, &n);
            got += n;
            if (done == 1) continue;
            ec = outcome(done);
            drained_ = ec == asio::error::would_block;
            if (!drained_) {
                ended_ = ec;
            } else if (wire_.wants_turn() && got != got_before) {
                // A turn that brought something for us may be followed by another.
                got_before = got;
                drained_ = false;
                wire_.begin_turn();
            } else {
                break;
            }
        }
        // What came before the end comes first.
        if (ended_) ec = ended_;
        if (got != 0) ec.clear();
        return got;
    }
    [[nodiscard]] std::size_t write(std::string_view text, std::error_code& ec) {
        ec = ended_;
        if (ec) return 0;
        wire_.begin_turn();
        ERR_clear_error();
        drained_ = false;
        std::size_t n = 0;
        int const done = SSL_write_ex(ssl_.get(), text.data(), text.size(), &n);
        if (done != 1) ec = outcome(done);
        if (ec && ec != asio::error::would_block) ended_ = ec;
        return done == 1 ? n : 0;
    }
    [[nodiscard]] wait_type wants() const noexcept { return wants_; }
    /// Whether the last `read` took all there was, here and in OpenSSL.
    [[nodiscard]] bool drained() const noexcept { return drained_; }

    /// How it began.
    [[nodiscard]] cleave::handshake handshake() const noexcept { return handshake_; }

    /// Tickets may come behind the last reply (RFC 8446, section 4.6.1): they are taken, and what
    /// is then here, even half a record, is not to be had.
    [[nodiscard]] bool is_quiet() noexcept override {
        std::byte next{};
        std::error_code ec;
        return established_ && read({&next, 1}, ec) == 0 && drained_ && wire_.is_dry() &&
               SSL_has_pending(ssl_.get()) == 0;
    }

    void keep_ticket(SSL_SESSION const* ticket) { context_->keep_ticket(origin_, ticket); }

  private:
    // The name, or address, that the certificate must have, as a whole and in the place for it.
    bool expect(std::string host, bool is_address) {
        X509_VERIFY_PARAM* const expected = SSL_get0_param(ssl_.get());
        X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                      X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        if (is_address) return X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) == 1;
        // OpenSSL's macro for the second casts away the const of the name.
        return SSL_set1_host(ssl_.get(), host.c_str()) == 1 &&
               SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                        host.data()) == 1;
    }

    // What must hold, besides the handshake, before the first byte is sent.
    [[nodiscard]] std::error_code admit() const {
        if (context_->verifies()) {
            // Of a resumed connection, the verdict at its first.
            long const verdict = SSL_get_verify_result(ssl_.get());
            if (verdict != X509_V_OK) return tls_error_of_verdict(verdict);
        }
        unsigned char const* protocol = nullptr;
        unsigned int size = 0;
        SSL_get0_alpn_selected(ssl_.get(), &protocol, &size);
        if (size != 0 &&
            std::string_view{reinterpret_cast<char const*>(protocol), size} != "http/1.1")
            return error::alpn_mismatch;
        if (context_->has_pins()) {
            tls_ptr<X509> const leaf{SSL_get1_peer_certificate(ssl_.get())};
            if (!leaf || !context_->allows(tls_pin_of(leaf.get()))) return error::pin_mismatch;
        }
        return {};
    }

    // What a call that did not succeed means.
    [[nodiscard]] std::error_code outcome(int result) {
        switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ: wants_ = wait_type::wait_read; return asio::error::would_block;
        case SSL_ERROR_WANT_WRITE: wants_ = wait_type::wait_write; return asio::error::would_block;
        case SSL_ERROR_ZERO_RETURN: return asio::error::eof;
        default: return diagnose();
        }
    }
    [[nodiscard]] std::error_code diagnose() const {
        char const* function = "";
        unsigned long const last =
            ERR_peek_last_error_all(nullptr, nullptr, &function, nullptr, nullptr);
        int const reason = ERR_GET_LIB(last) == ERR_LIB_SSL ? ERR_GET_REASON(last) : 0;
        if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
            return tls_error_of_verdict(SSL_get_verify_result(ssl_.get()));
        if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
            return tls_error_of_alert(reason - SSL_AD_REASON_OFFSET);
        // OpenSSL has looked for itself whether the protocol was offered, and tells where it did.
        if (reason == SSL_R_BAD_EXTENSION && std::string_view{function} == "tls_parse_stoc_alpn")
            return error::alpn_mismatch;
        if (wire_.ended()) return error::tls_truncated;
        if (reason == 0 && wire_.failed()) return wire_.failed();
        bool const damaged = established_ || reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ||
                             reason == SSL_R_DIGEST_CHECK_FAILED;
        return damaged ? error::tls_record_bad : error::tls_handshake_failed;
    }

    std::shared_ptr<tls_context> context_;
    std::string origin_;
    tls_wire wire_;
    tls_ptr<SSL> ssl_; // frees the BIO over `wire_`
    std::error_code ended_;
    wait_type wants_ = wait_type::wait_read;
    cleave::handshake handshake_ = cleave::handshake::none;
    pid_t const process_ = ::getpid();
    bool established_ = false;
    bool drained_ = false;
};

inline int tls_context::on_ticket(SSL* ssl, SSL_SESSION* ticket) {
    // Through OpenSSL no exception may pass.
    try {
        static_cast<tls_link*>(SSL_get_ex_data(ssl, 0))->keep_ticket(ticket);
    } catch (std::bad_alloc const&) {
        // Then the next connection does without.
    }
    return 0;
}

} // namespace detail

/// A connection to a URL's origin: TLS for https, plain TCP for http. Not thread-safe; lives on one
/// executor. Connections are kept as those of `tcp_stream` are, for those of the same settings.
template <class Executor, route Route = direct>
class tls_stream {
  public:
    using executor_type = Executor;

    tls_stream(tcp_stream<Executor, Route> tcp, std::shared_ptr<detail::tls_context> context)
        : tcp_(std::move(tcp)), context_(std::move(context)) {}
    tls_stream(tls_stream&&) = default;
    tls_stream& operator=(tls_stream&&) = delete;
    ~tls_stream() { close(); }

    /// Handler: `void(std::error_code)`. Connects as `tcp_stream` does, and shakes hands with the
    /// URL's host, whatever the route; nothing of ours is sent before the server has shown that it
    /// is the right one.
    template <class Handler>
    void async_connect(url const& to, Handler handler) {
        close();
        if (to.scheme() != "https") return tcp_.async_connect(to, std::move(handler));
        if (auto const ec = context_->read())
            return asio::post(tcp_.socket().get_executor(),
                              [ec, h = std::move(handler)]() mutable { std::move(h)(ec); });
        tcp_.async_connect(to, context_->name() + (identifies_ ? "" : "as nobody "),
                           [this, to, h = std::move(handler)](std::error_code ec) mutable {
                               if (ec) return std::move(h)(ec);
                               connected(to, std::move(h));
                           });
    }

    /// Handler: `void(std::error_code)`.
    template <class Handler>
    void async_write(std::string_view text, Handler handler) {
        if (!held_) return tcp_.async_write(text, std::move(handler));
        asio::post(tcp_.socket().get_executor(),
                   [this, held = held_, text, h = std::move(handler)]() mutable {
                       if (!held->link)
                           return std::move(h)(make_error_code(asio::error::operation_aborted));
                       write_rest(std::move(held), text, std::move(h));
                   });
    }

    /// At the peer's end `asio::error::eof` where it said so, else `error::tls_truncated`.
    [[nodiscard]] std::size_t read_some(std::span<std::byte> to, std::error_code& ec) {
        return held_ ? held_->link->read(to, ec) : tcp_.read_some(to, ec);
    }

    /// Handler: `void(std::error_code)`.
    template <class Handler>
    void async_wait(Handler handler) {
        if (!held_) return tcp_.async_wait(std::move(handler));
        // What is here already does not make the socket ready.
        if (!held_->link->drained())
            return asio::post(tcp_.socket().get_executor(),
                              [h = std::move(handler)]() mutable { std::move(h)({}); });
        tcp_.socket().async_wait(held_->link->wants(), std::move(handler));
    }

    void close() noexcept {
        (void)release_link();
        tcp_.close();
    }

    /// As `tcp_stream::keep`, where nothing is left to read.
    void keep() noexcept {
        if (!held_) return tcp_.keep();
        if (held_->link->is_quiet()) tcp_.keep(release_link());
        close();
    }
    [[nodiscard]] bool kept() const noexcept { return tcp_.kept(); }

    /// Whether the next connection shows the client's certificate to a server that asks for it.
    void identify(bool yes) noexcept { identifies_ = yes; }
    /// Of TLS, OpenSSL fills the buffers.
    [[nodiscard]] bool read_by_system() const noexcept { return !held_; }
    /// Of what is sent encrypted, which is a little more.
    void low_water(std::size_t n) noexcept { tcp_.low_water(n); }
    [[nodiscard]] int native_socket() noexcept { return held_ ? -1 : tcp_.native_socket(); }
    [[nodiscard]] connection_facts about() const noexcept {
        auto facts = tcp_.about();
        if (held_ && !kept()) facts.handshake = held_->link->handshake();
        return facts;
    }

  private:
    // A connection's TLS, as long as it is this stream's: handlers that are out look for it here.
    struct holder {
        std::unique_ptr<detail::tls_link> link;
    };
    using holder_ptr = std::shared_ptr<holder>;

    std::unique_ptr<detail::tls_link> release_link() noexcept {
        auto const held = std::exchange(held_, nullptr);
        return held ? std::move(held->link) : nullptr;
    }

    template <class Handler>
    void connected(url const& to, Handler handler) {
        std::error_code ec;
        held_ = std::make_shared<holder>();
        if (auto layer = tcp_.take_layer()) {
            // By its name it is one of this context.
            held_->link.reset(static_cast<detail::tls_link*>(layer.release()));
            return std::move(handler)(ec);
        }
        held_->link = std::make_unique<detail::tls_link>(context_);
        ec = held_->link->begin(to, tcp_.socket().native_handle(), identifies_);
        if (!ec) return shake_hands(held_, std::move(handler));
        close();
        std::move(handler)(ec);
    }

    template <class Handler>
    void shake_hands(holder_ptr held, Handler handler) {
        std::error_code ec;
        held->link->shake_hands(ec);
        if (ec == asio::error::would_block)
            return wait(std::move(held), std::move(handler), [this](holder_ptr l, Handler h) {
                shake_hands(std::move(l), std::move(h));
            });
        if (ec) close();
        std::move(handler)(ec);
    }

    template <class Handler>
    void write_rest(holder_ptr held, std::string_view text, Handler handler) {
        std::error_code ec;
        while (!text.empty() && !ec) text.remove_prefix(held->link->write(text, ec));
        if (ec == asio::error::would_block)
            return wait(std::move(held), std::move(handler), [this, text](holder_ptr l, Handler h) {
                write_rest(std::move(l), text, std::move(h));
            });
        std::move(handler)(ec);
    }

    // Goes on with `f(held, handler)` when the socket is ready. When the link is gone by then,
    // there may be another connection, or no stream.
    template <class Handler, class F>
    void wait(holder_ptr held, Handler handler, F f) {
        auto const wants = held->link->wants();
        tcp_.socket().async_wait(wants, [held = std::move(held), h = std::move(handler),
                                         f = std::move(f)](std::error_code ec) mutable {
            if (!held->link) ec = asio::error::operation_aborted;
            if (ec) return std::move(h)(ec);
            f(std::move(held), std::move(h));
        });
    }

    tcp_stream<Executor, Route> tcp_;
    std::shared_ptr<detail::tls_context> context_;
    bool identifies_ = true;
    holder_ptr held_; // of a TLS connection, also one that is being made; never without a link
};

/// Makes streams for https and http URLs. Copies, also those by way of another route, share
/// settings, once read, and tickets; and their connections, where they share a pool. Thread-safe.
///
/// Errors: those of `tcp_connector`, and of `cleave::error` the group of TLS.
template <bool Verifies, route Route = direct>
class basic_tls_connector {
  public:
    basic_tls_connector() : basic_tls_connector(tls_settings{}) {}
    /// With the pool and the family that `tcp` has.
    explicit basic_tls_connector(tls_settings s, basic_tcp_connector<Route> tcp = {})
        : context_(std::make_shared<detail::tls_context>(std::move(s), Verifies)),
          tcp_(std::move(tcp)) {}
    basic_tls_connector(tls_settings s, connection_pool const& pool)
        : basic_tls_connector(std::move(s), basic_tcp_connector<Route>{pool}) {}
    // No moves: they would leave a connector without a context.
    basic_tls_connector(basic_tls_connector const&) = default;
    basic_tls_connector& operator=(basic_tls_connector const&) = default;

    /// The same by way of another route.
    template <cleave::route R>
    [[nodiscard]] basic_tls_connector<Verifies, R> via(R r) const {
        return {tcp_.via(std::move(r)), context_};
    }

    template <class Executor>
    [[nodiscard]] tls_stream<Executor, Route> make(Executor const& ex) const {
        return {tcp_.make(ex), context_};
    }
    /// Reads the settings at the first https URL, and names what is wrong with them before anything
    /// is connected.
    [[nodiscard]] std::error_code check(url const& to) const {
        if (to.scheme() == "https")
            if (auto const ec = context_->read()) return ec;
        return tcp_.route->check(to);
    }
    [[nodiscard]] std::string by_way_of(url const& to) const { return tcp_.by_way_of(to); }
    /// Which file or directory of certificates it is that cannot be read, or holds none.
    [[nodiscard]] std::string place_of(std::error_code ec) const { return context_->place_of(ec); }
    /// Damage and breaks may pass; who the server is, and what it wants, will not change.
    [[nodiscard]] cause classify(std::error_code ec) const noexcept { return tcp_.classify(ec); }
    /// Of all copies of this connector so far.
    [[nodiscard]] tls_handshakes handshakes() const noexcept { return context_->handshakes(); }

  private:
    template <bool, route>
    friend class basic_tls_connector;

    basic_tls_connector(basic_tcp_connector<Route> tcp,
                        std::shared_ptr<detail::tls_context> context)
        : context_(std::move(context)), tcp_(std::move(tcp)) {}

    std::shared_ptr<detail::tls_context> context_;
    basic_tcp_connector<Route> tcp_;
};

/// Lets no server pass that does not verify.
///
///     how.with_connector(cleave::tls_connector{{.ca_file = "our-ca.pem"}})
///     how.with_connector(cleave::tls_connector{settings, shared.pool()}.via(proxies))
using tls_connector = basic_tls_connector<true>;

/// Does without any verification: whoever stands between can read and change everything. Pins are
/// heeded still; CAs are not read.
using unverified_tls_connector = basic_tls_connector<false>;

static_assert(keeps<tls_stream<asio::any_io_executor>>);
static_assert(byte_connector<tls_connector, asio::any_io_executor>);
static_assert(byte_connector<unverified_tls_connector, asio::any_io_executor>);

} // namespace cleave
