// SPDX-License-Identifier: BSL-1.0
//
// The calls that can be made to fail, with the errors that each may fail with, and the switch that
// says which one does, and when. Knows nothing of downloads.
//
// The linker (wrapped.txt) leads each call of these functions that an object file of this program
// makes to `__wrap_NAME`, in calls.cpp, and from there on to the function itself. What libraries
// call of one another is left alone.

#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include <fcntl.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace cleave_test::torture {

enum class kind : std::uint8_t { memory, system, file, openssl };

/// Among the errors of a call that moves bytes: it moves half of what it could, and no error.
inline constexpr int half = -1;

// CALL: what it is of, result, name, parameters, arguments, what it answers with when it fails, and
// its errors: values of errno, or reasons of OpenSSL's. OWN: one whose wrapper is more than that.
// EINTR is the last one and comes once only: a call that is always interrupted is tried for ever.
#define CLEAVE_TORTURE_CALLS(CALL, OWN)                                                            \
    OWN(memory, operator_new, 0)                                                                   \
    OWN(memory, aligned_alloc, 0)                                                                  \
                                                                                                   \
    CALL(system, int, socket, (int f, int t, int p), (f, t, p), -1, EMFILE, ENFILE, ENOMEM)        \
    CALL(system, int, connect, (int s, sockaddr const* a, socklen_t n), (s, a, n), -1,             \
         ECONNREFUSED, ENETUNREACH, ETIMEDOUT, EADDRNOTAVAIL, ENOBUFS)                             \
    CALL(system, int, getsockopt, (int s, int l, int o, void* v, socklen_t* n), (s, l, o, v, n),   \
         -1, ENOBUFS)                                                                              \
    CALL(system, int, setsockopt, (int s, int l, int o, void const* v, socklen_t n),               \
         (s, l, o, v, n), -1, ENOBUFS, EINVAL)                                                     \
    CALL(system, int, getsockname, (int s, sockaddr* a, socklen_t* n), (s, a, n), -1, ENOBUFS)     \
    CALL(system, int, poll, (pollfd * p, nfds_t n, int t), (p, n, t), -1, ENOMEM, EINTR)           \
    OWN(system, recv, half, ECONNRESET, ETIMEDOUT, ENOMEM, EINTR)                                  \
    OWN(system, send, EPIPE, ECONNRESET, ENOBUFS, EINTR)                                           \
    OWN(system, ioctl, ENOMEM)                                                                     \
    OWN(system, fcntl, EINVAL)                                                                     \
    CALL(system, int, epoll_create1, (int f), (f), -1, EMFILE, ENFILE, ENOMEM)                     \
    OWN(system, epoll_ctl, ENOMEM, ENOSPC)                                                         \
    CALL(system, int, epoll_wait, (int p, epoll_event* e, int n, int t), (p, e, n, t), -1, EINTR)  \
    CALL(system, int, pipe2, (int* e, int f), (e, f), -1, EMFILE, ENFILE, ENOMEM)                  \
    CALL(system, int, eventfd, (unsigned v, int f), (v, f), -1, EMFILE, ENFILE, ENOMEM)            \
    CALL(system, int, timerfd_create, (clockid_t c, int f), (c, f), -1, EMFILE, ENFILE, ENOMEM)    \
    OWN(system, pthread_create, EAGAIN)                                                            \
    OWN(system, getaddrinfo, EAI_AGAIN, EAI_FAIL, EAI_NONAME, EAI_MEMORY)                          \
                                                                                                   \
    OWN(file, open, EMFILE, ENFILE, EACCES, EIO, ENOSPC, ENOMEM)                                   \
    OWN(file, close, EIO, EINTR)                                                                   \
    CALL(file, int, fstat, (int f, struct stat* s), (f, s), -1, EIO, ENOMEM)                       \
    CALL(file, int, lstat, (char const* p, struct stat* s), (p, s), -1, EIO, ENOMEM, EACCES)       \
    CALL(file, int, stat, (char const* p, struct stat* s), (p, s), -1, EIO, ENOMEM, EACCES)        \
    CALL(file, int, flock, (int f, int o), (f, o), -1, EWOULDBLOCK, ENOLCK)                        \
    CALL(file, int, fchmod, (int f, mode_t m), (f, m), -1, EPERM, EIO)                             \
    CALL(file, int, fallocate, (int f, int m, off_t o, off_t n), (f, m, o, n), -1, ENOSPC, EIO,    \
         EOPNOTSUPP, EINTR)                                                                        \
    CALL(file, int, ftruncate, (int f, off_t n), (f, n), -1, EIO, ENOSPC, EINTR)                   \
    OWN(file, pwrite, half, ENOSPC, EIO, EDQUOT, EINTR)                                            \
    OWN(file, splice, half, ENOSPC, EIO, EINVAL, EINTR)                                            \
    OWN(file, pread, half, EIO, ENOMEM, EINTR)                                                     \
    OWN(file, fsync, EIO, ENOSPC, EDQUOT, EINTR)                                                   \
    CALL(file, int, rename, (char const* a, char const* b), (a, b), -1, EIO, ENOSPC, EACCES)       \
    CALL(file, int, unlink, (char const* p), (p), -1, EIO, EACCES)                                 \
    CALL(file, void*, mmap, (void* a, size_t n, int p, int f, int d, off_t o), (a, n, p, f, d, o), \
         MAP_FAILED, ENOMEM, ENODEV)                                                               \
    CALL(file, int, msync, (void* a, size_t n, int f), (a, n, f), -1, EIO)                         \
    CALL(file, int, mprotect, (void* a, size_t n, int p), (a, n, p), -1, ENOMEM)                   \
                                                                                                   \
    CALL(openssl, SSL_CTX*, SSL_CTX_new, (SSL_METHOD const* m), (m), nullptr,                      \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, SSL_CTX_set_alpn_protos, (SSL_CTX * c, unsigned char const* p, unsigned n), \
         (c, p, n), 1, ERR_R_MALLOC_FAILURE)                                                       \
    CALL(openssl, int, SSL_CTX_set_default_verify_paths, (SSL_CTX * c), (c), 0,                    \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, SSL_CTX_use_certificate_chain_file, (SSL_CTX * c, char const* f), (c, f),   \
         0, ERR_R_PEM_LIB, ERR_R_MALLOC_FAILURE)                                                   \
    CALL(openssl, int, SSL_CTX_use_PrivateKey_file, (SSL_CTX * c, char const* f, int t),           \
         (c, f, t), 0, ERR_R_PEM_LIB, ERR_R_MALLOC_FAILURE)                                        \
    CALL(openssl, int, SSL_CTX_check_private_key, (SSL_CTX const* c), (c), 0,                      \
         ERR_R_INTERNAL_ERROR)                                                                     \
    CALL(openssl, SSL*, SSL_new, (SSL_CTX * c), (c), nullptr, ERR_R_MALLOC_FAILURE)                \
    CALL(openssl, int, SSL_set_ex_data, (SSL * s, int i, void* d), (s, i, d), 0,                   \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, SSL_set1_host, (SSL * s, char const* h), (s, h), 0, ERR_R_MALLOC_FAILURE)   \
    CALL(openssl, long, SSL_ctrl, (SSL * s, int c, long n, void* p), (s, c, n, p), 0,              \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, X509_VERIFY_PARAM_set1_ip_asc, (X509_VERIFY_PARAM * v, char const* a),      \
         (v, a), 0, ERR_R_MALLOC_FAILURE)                                                          \
    CALL(openssl, SSL_SESSION*, SSL_SESSION_dup, (SSL_SESSION const* s), (s), nullptr,             \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, SSL_set_session, (SSL * s, SSL_SESSION * t), (s, t), 0,                     \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, SSL_do_handshake, (SSL * s), (s), -1, ERR_R_MALLOC_FAILURE,                 \
         ERR_R_INTERNAL_ERROR)                                                                     \
    CALL(openssl, int, SSL_read_ex, (SSL * s, void* b, size_t n, size_t* g), (s, b, n, g), 0,      \
         ERR_R_MALLOC_FAILURE, ERR_R_INTERNAL_ERROR)                                               \
    CALL(openssl, int, SSL_write_ex, (SSL * s, void const* b, size_t n, size_t* g), (s, b, n, g),  \
         0, ERR_R_MALLOC_FAILURE, ERR_R_INTERNAL_ERROR)                                            \
    CALL(openssl, int, SSL_shutdown, (SSL * s), (s), -1, ERR_R_MALLOC_FAILURE)                     \
    CALL(openssl, X509*, SSL_get1_peer_certificate, (SSL const* s), (s), nullptr,                  \
         ERR_R_INTERNAL_ERROR)                                                                     \
    CALL(openssl, int, BIO_get_new_index, (), (), -1, ERR_R_MALLOC_FAILURE)                        \
    CALL(openssl, BIO_METHOD*, BIO_meth_new, (int t, char const* n), (t, n), nullptr,              \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, BIO*, BIO_new, (BIO_METHOD const* m), (m), nullptr, ERR_R_MALLOC_FAILURE)        \
    CALL(openssl, BIO*, BIO_new_file, (char const* f, char const* m), (f, m), nullptr,             \
         ERR_R_SYS_LIB, ERR_R_MALLOC_FAILURE)                                                      \
    CALL(openssl, BIO*, BIO_new_mem_buf, (void const* b, int n), (b, n), nullptr,                  \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, X509*, PEM_read_bio_X509_AUX,                                                    \
         (BIO * b, X509 * *x, pem_password_cb * f, void* u), (b, x, f, u), nullptr,                \
         ERR_R_ASN1_LIB, ERR_R_MALLOC_FAILURE)                                                     \
    CALL(openssl, int, X509_STORE_add_cert, (X509_STORE * s, X509 * x), (s, x), 0,                 \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, i2d_X509_PUBKEY, (X509_PUBKEY const* k, unsigned char** d), (k, d), -1,     \
         ERR_R_MALLOC_FAILURE)                                                                     \
    CALL(openssl, int, EVP_Digest,                                                                 \
         (void const* b, size_t n, unsigned char* d, unsigned* s, EVP_MD const* m, ENGINE* e),     \
         (b, n, d, s, m, e), 0, ERR_R_MALLOC_FAILURE)                                              \
    CALL(openssl, EVP_MD_CTX*, EVP_MD_CTX_new, (), (), nullptr, ERR_R_MALLOC_FAILURE)              \
    CALL(openssl, EVP_MD*, EVP_MD_fetch, (OSSL_LIB_CTX * c, char const* n, char const* p),         \
         (c, n, p), nullptr, ERR_R_MALLOC_FAILURE, ERR_R_UNSUPPORTED)                              \
    CALL(openssl, int, EVP_DigestInit_ex2, (EVP_MD_CTX * c, EVP_MD const* m, OSSL_PARAM const* p), \
         (c, m, p), 0, ERR_R_MALLOC_FAILURE, ERR_R_INTERNAL_ERROR)                                 \
    CALL(openssl, int, EVP_DigestUpdate, (EVP_MD_CTX * c, void const* b, size_t n), (c, b, n), 0,  \
         ERR_R_INTERNAL_ERROR)                                                                     \
    CALL(openssl, int, EVP_DigestFinal_ex, (EVP_MD_CTX * c, unsigned char* d, unsigned* n),        \
         (c, d, n), 0, ERR_R_INTERNAL_ERROR)

enum class call : std::uint8_t {
#define CLEAVE_TORTURE_CALL(what, result, name, ...) name##_,
#define CLEAVE_TORTURE_OWN(what, name, ...) name##_,
    CLEAVE_TORTURE_CALLS(CLEAVE_TORTURE_CALL, CLEAVE_TORTURE_OWN)
#undef CLEAVE_TORTURE_CALL
#undef CLEAVE_TORTURE_OWN
        count
};
inline constexpr auto call_count = static_cast<std::size_t>(call::count);

struct call_info {
    kind what;
    char const* name;
    std::span<int const> errors;
};
[[nodiscard]] call_info const& info(call) noexcept;

/// Which call fails: the nth of its name, from 1 on, or that one and all behind it; and with which
/// of its errors. By default none does, and calls are only counted.
struct fault {
    torture::call call = torture::call::count;
    std::uint64_t nth = 0;
    bool for_ever = false;
    std::size_t error = 0;
};
/// How many errors a call may fail with, once or for ever.
[[nodiscard]] std::size_t errors_of(call, bool for_ever) noexcept;
/// "pwrite 3 fails for ever: No space left on device".
[[nodiscard]] std::string to_string(fault const&);

/// While one lives, calls are counted, on all threads, and the one fails. One at a time.
class counting {
  public:
    explicit counting(fault const&);
    ~counting();
    counting(counting const&) = delete;
    counting& operator=(counting const&) = delete;
};
/// Of the last time, or so far: how often a call was made; how many failed; and whence the first of
/// these was made. What Asio could not have borne has not failed.
[[nodiscard]] std::uint64_t calls_of(call) noexcept;
[[nodiscard]] std::uint64_t failures() noexcept;
[[nodiscard]] std::span<void* const> first_failure() noexcept;

/// While one lives, nothing that this thread does counts: for what is not the library's, such as a
/// network in memory.
class aside {
  public:
    aside() noexcept { ++depth; }
    ~aside() { --depth; }
    aside(aside const&) = delete;
    aside& operator=(aside const&) = delete;

    static inline thread_local int depth = 0;
};

/// Blocks that are in use: of `operator new`, and of `aligned_alloc`, from where Asio has some.
inline std::atomic<std::int64_t> live_blocks = 0;

/// For the wrappers: counts a call. The error that it is to fail with, or `goes_well`.
inline constexpr int goes_well = std::numeric_limits<int>::min();
[[nodiscard]] int next(call) noexcept;

} // namespace cleave_test::torture
