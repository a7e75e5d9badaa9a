// SPDX-License-Identifier: BSL-1.0
//
// The library's own errors, each with a message that says what happened and what to do about it,
// and the causes by which callers and renewal rules sort errors without listing codes.
// Knows no codes of the resolver, OpenSSL or the disk: whoever meets those classifies them.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

namespace cleave {

/// What went wrong, where the cause is ours to name. Codes of the system, Asio and OpenSSL pass
/// through untouched. Values are stable: a new cause gets a new number.
enum class error {
    // The caller's request and settings: nothing was sent.
    bad_url = 100,
    unsupported_scheme,
    tls_unavailable,
    bad_header,
    reserved_header,
    bad_digest,
    bad_segment,
    bad_timeout,
    segments_overlap,
    segments_leave_gap,
    segments_out_of_order,
    segment_reversed,
    segments_empty,
    segments_do_not_match_size,
    planner_broke_contract,
    sink_needs_size,
    sink_too_small,
    object_too_large,
    sink_not_readable,
    window_too_small,
    pieces_do_not_match_size,
    sink_cannot_restart,
    bad_proxy,
    proxy_unsupported,

    // The server's reply cannot be trusted as HTTP.
    malformed_head = 200,
    head_too_large,
    too_many_fields,
    too_many_interim,
    unsupported_version,
    unexpected_upgrade,
    bad_content_length,
    bad_transfer_coding,
    bad_chunk,
    bad_content_range,
    ambiguous_framing,

    // The reply is HTTP, but not an answer to the range asked for.
    range_ignored = 300,
    range_missing,
    range_mismatch,
    length_mismatch,
    multipart_reply,
    coded_reply,
    range_not_satisfiable,
    unexpected_status,
    validator_missing,
    digest_not_sent,

    // The object is another one.
    object_changed = 400,
    size_changed,
    digest_mismatch,
    bytes_differ,
    object_unstable,
    mirror_differs,

    // The server says no, for now or for good.
    redirected = 500,
    unauthorized,
    forbidden,
    not_found,
    gone,
    proxy_authentication_required,
    unavailable_for_legal_reasons,
    client_error,
    too_many_requests,
    server_busy,
    server_error,
    request_expires,
    no_fresh_request,
    bad_redirect,
    redirect_to_plain,
    too_many_redirects,

    // The connection.
    connect_timeout = 600,
    head_timeout,
    stalled,
    deadline_exceeded,
    closed_before_reply,
    closed_in_head,
    closed_in_body,
    name_not_resolved,
    proxy_failed,
    proxy_refused,
    bad_proxy_reply,

    // The target.
    target_is_directory = 700,
    target_not_regular,
    target_busy,
    partial_replaced,
    wrote_nothing,

    // The caller's wish.
    cancelled = 800,

    // TLS.
    trust_store_unreadable = 900,
    trust_store_empty,
    certificate_not_yet_valid,
    certificate_expired,
    certificate_wrong_host,
    certificate_unknown_issuer,
    certificate_bad,
    bad_pin,
    pin_mismatch,
    client_certificate_unreadable,
    tls_handshake_failed,
    tls_truncated,
    tls_record_bad,
    alpn_mismatch,
};

/// Groups of errors, compared with `ec == cause::passing`.
enum class cause {
    passing = 1,      ///< may be gone at the next try
    renewable,        ///< a fresh URL or fresh credentials may help
    identity_changed, ///< the object is another one now
    storage,          ///< the disk, the file or the memory given
    protocol,         ///< the server broke the rules; another try on a new connection may do
    configuration,    ///< the request or a setting must change
    permanent,        ///< trying again is pointless
    cancelled,        ///< the caller wanted it so
};

/// The category of `error`.
[[nodiscard]] std::error_category const& error_category() noexcept;
/// The category of `cause`.
[[nodiscard]] std::error_category const& cause_category() noexcept;

/// So that an `error` is an error code.
[[nodiscard]] inline std::error_code make_error_code(error e) noexcept {
    return {static_cast<int>(e), error_category()};
}
/// So that an error code is compared with a `cause`.
[[nodiscard]] inline std::error_condition make_error_condition(cause c) noexcept {
    return {static_cast<int>(c), cause_category()};
}

/// The cause of one of the library's own errors.
[[nodiscard]] constexpr cause cause_of(error e) noexcept {
    switch (e) {
    case error::range_ignored:
    case error::too_many_requests:
    case error::server_busy:
    case error::server_error:
    case error::connect_timeout:
    case error::head_timeout:
    case error::stalled:
    case error::closed_before_reply:
    case error::closed_in_head:
    case error::closed_in_body:
    case error::name_not_resolved:
    case error::proxy_failed:
    case error::tls_truncated:
    case error::tls_record_bad: return cause::passing;

    case error::unauthorized:
    case error::forbidden:
    case error::gone:
    case error::request_expires:
    case error::no_fresh_request: return cause::renewable;

    case error::object_changed:
    case error::size_changed:
    case error::bytes_differ:
    case error::object_unstable:
    case error::mirror_differs: return cause::identity_changed;

    case error::target_is_directory:
    case error::target_not_regular:
    case error::target_busy:
    case error::partial_replaced:
    case error::wrote_nothing: return cause::storage;

    case error::malformed_head:
    case error::head_too_large:
    case error::too_many_fields:
    case error::too_many_interim:
    case error::unsupported_version:
    case error::unexpected_upgrade:
    case error::bad_content_length:
    case error::bad_transfer_coding:
    case error::bad_chunk:
    case error::bad_content_range:
    case error::ambiguous_framing:
    case error::range_missing:
    case error::range_mismatch:
    case error::length_mismatch:
    case error::validator_missing:
    case error::bad_proxy_reply: return cause::protocol;

    case error::bad_url:
    case error::unsupported_scheme:
    case error::tls_unavailable:
    case error::bad_header:
    case error::reserved_header:
    case error::bad_digest:
    case error::bad_segment:
    case error::bad_timeout:
    case error::segments_overlap:
    case error::segments_leave_gap:
    case error::segments_out_of_order:
    case error::segment_reversed:
    case error::segments_empty:
    case error::segments_do_not_match_size:
    case error::planner_broke_contract:
    case error::sink_needs_size:
    case error::sink_too_small:
    case error::object_too_large:
    case error::sink_not_readable:
    case error::window_too_small:
    case error::pieces_do_not_match_size:
    case error::sink_cannot_restart:
    case error::bad_proxy:
    case error::proxy_unsupported:
    case error::trust_store_unreadable:
    case error::trust_store_empty:
    case error::certificate_not_yet_valid:
    case error::bad_pin:
    case error::client_certificate_unreadable: return cause::configuration;

    case error::multipart_reply:
    case error::coded_reply:
    case error::range_not_satisfiable:
    case error::unexpected_status:
    case error::digest_mismatch:
    case error::redirected:
    case error::bad_redirect:
    case error::redirect_to_plain:
    case error::too_many_redirects:
    case error::not_found:
    case error::proxy_authentication_required:
    case error::proxy_refused:
    case error::unavailable_for_legal_reasons:
    case error::client_error:
    case error::digest_not_sent:
    case error::deadline_exceeded:
    case error::certificate_expired:
    case error::certificate_wrong_host:
    case error::certificate_unknown_issuer:
    case error::certificate_bad:
    case error::pin_mismatch:
    case error::tls_handshake_failed:
    case error::alpn_mismatch: return cause::permanent;

    case error::cancelled: return cause::cancelled;
    }
    return cause::permanent;
}

/// What happened and what to do about it, as `make_error_code(e).message()` says it.
[[nodiscard]] constexpr char const* describe(error e) noexcept {
    switch (e) {
    case error::bad_url:
        return "the URL cannot be read; write it as http://host[:port]/path, with spaces and "
               "control characters percent-encoded";
    case error::unsupported_scheme: return "the URL's scheme is not supported; use http or https";
    case error::tls_unavailable:
        return "the URL is https, but this connector speaks no TLS; use "
               "policies<>{}.with_connector(tls_connector{}), from <cleave/cleave.hpp>";
    case error::bad_header:
        return "a request header holds a character that HTTP does not allow (CR, LF, NUL or a bad "
               "name); remove it";
    case error::reserved_header:
        return "a request header was given that the download itself must set (Host, Range, "
               "If-Range, Content-Length, Transfer-Encoding, Accept-Encoding, TE, Connection); "
               "leave it out";
    case error::bad_digest:
        return "the digest cannot be read; give the algorithm's number of hexadecimal digits";
    case error::bad_segment:
        return "the segment asked for ends before it begins; give first and last byte, both "
               "included, first not behind last";
    case error::bad_timeout: return "a timeout is zero or negative; give a positive time";
    case error::segments_overlap:
        return "two segments overlap; begin each one byte behind the last byte of the one before";
    case error::segments_leave_gap:
        return "the segments leave a gap; begin each one byte behind the last byte of the one "
               "before";
    case error::segments_out_of_order:
        return "the segments are out of order; list them from the first byte to the last";
    case error::segment_reversed:
        return "a segment ends before it begins; write its first byte first, both ends included";
    case error::segments_empty: return "the list of segments is empty; list at least one";
    case error::segments_do_not_match_size:
        return "the list of segments does not match the size of the object; list every byte from "
               "first to last, or ask for a part of the object";
    case error::planner_broke_contract:
        return "the planner answered with a segment outside the gap it was given; mend the planner";
    case error::sink_needs_size:
        return "the sink must know the size beforehand, but the server does not tell it; use a "
               "sink that can grow";
    case error::sink_too_small:
        return "the object does not fit into the memory given; give at least its size";
    case error::object_too_large:
        return "the object is larger than the limit set for it; raise the limit if that is wanted";
    case error::sink_not_readable:
        return "a digest is wanted, but the sink cannot be read back to check it; use a sink that "
               "can, or no digest";
    case error::window_too_small:
        return "the window of the sink is too small; give it a whole number of chunks, at least "
               "one, and room for a piece where digests of pieces are wanted";
    case error::pieces_do_not_match_size:
        return "the digests of pieces are not for an object of this size; give one for each piece "
               "of the whole object";
    case error::sink_cannot_restart:
        return "the server sends no ranges and nothing to tell its object by, so a broken download "
               "must begin again, but the sink cannot take back what it handed on; give a digest, "
               "or use a sink that can";
    case error::bad_proxy:
        return "the proxy setting cannot be read; write it as http://[user:password@]host[:port]";
    case error::proxy_unsupported:
        return "the proxy is of a kind that this connector does not speak; use an http:// proxy, "
               "or for socks5:// and socks5h:// any_proxies, from <cleave/connect/socks5.hpp>";

    case error::malformed_head:
        return "the server's reply is not valid HTTP; check that the URL leads to a web server";
    case error::head_too_large:
        return "the server's response head exceeds 64 KiB; ask the server's operator";
    case error::too_many_fields:
        return "the server's response has more than 256 header fields; ask the server's operator";
    case error::too_many_interim:
        return "the server sent more than 16 interim (1xx) responses; ask the server's operator";
    case error::unsupported_version:
        return "the server's reply is not HTTP/1.0 or HTTP/1.1; use a server or port that speaks "
               "HTTP/1.1";
    case error::unexpected_upgrade:
        return "the server switched protocols unasked; ask the server's operator";
    case error::bad_content_length:
        return "the server's Content-Length is not one plain number; ask the server's operator";
    case error::bad_transfer_coding:
        return "the server used a Transfer-Encoding other than a single 'chunked'; ask the "
               "server's operator";
    case error::bad_chunk:
        return "the server's chunked body is damaged; try again or ask the server's operator";
    case error::bad_content_range:
        return "the server's Content-Range cannot be read; ask the server's operator";
    case error::ambiguous_framing:
        return "the server sent both Transfer-Encoding and Content-Length, so the body's end is in "
               "doubt; ask the server's operator";

    case error::range_ignored:
        return "the server sent the whole object where a range was asked for; use one lane, or a "
               "server that supports ranges";
    case error::range_missing:
        return "the server sent part of the object without saying which (no Content-Range); use "
               "one lane, or another server";
    case error::range_mismatch:
        return "the server sent another range than the one asked for; nothing of it was written; "
               "use another server";
    case error::length_mismatch:
        return "the server's Content-Length disagrees with its Content-Range; nothing of it was "
               "written; use another server";
    case error::multipart_reply:
        return "the server answered one range with multipart/byteranges, which HTTP forbids; use "
               "one lane, or another server";
    case error::coded_reply:
        return "the server compressed the object although asked not to; ask its operator to honour "
               "Accept-Encoding: identity";
    case error::range_not_satisfiable:
        return "the part asked for lies beyond the end of the object; ask for bytes within its "
               "size";
    case error::unexpected_status:
        return "the server answered with a status that does not fit a download; check the URL";

    case error::validator_missing:
        return "a reply lacks the ETag that the first one had, so it cannot be told whether the "
               "object is still the same; use one lane, or another server";
    case error::digest_not_sent:
        return "the server was asked for a digest of the object (Want-Repr-Digest) and sent none "
               "that can be used; give the digest yourself, or do without";

    case error::object_changed:
        return "the object changed on the server while it was downloaded; start again to get the "
               "new version";
    case error::size_changed:
        return "the object's size changed on the server while it was downloaded; start again to "
               "get the new version";
    case error::bytes_differ:
        return "the server sends other bytes than those of an earlier reply, under the same name "
               "and validator; start again, and give a digest to be sure";
    case error::object_unstable:
        return "the object changed again and again, or the servers behind this name disagree about "
               "it; use one lane and one server, or give a digest";
    case error::mirror_differs:
        return "the mirror has another object than the others: another size, or other bytes; leave "
               "it out of the list";
    case error::digest_mismatch:
        return "the bytes received do not have the digest that was expected; nothing was put under "
               "the final name; check the digest and the source";

    case error::redirected:
        return "the server redirected the request, which is not followed; use the final URL";
    case error::unauthorized:
        return "the server wants credentials (401); give them, or a fresh URL";
    case error::forbidden:
        return "the server refuses access (403); check the credentials, or get a fresh URL if this "
               "one has expired";
    case error::not_found: return "there is no such object on the server (404); check the URL";
    case error::gone: return "the object is gone from the server (410); get a fresh URL";
    case error::proxy_authentication_required:
        return "the proxy wants other credentials, or any; give them in its setting, as in "
               "http://user:password@host:port";
    case error::unavailable_for_legal_reasons:
        return "the server withholds the object for legal reasons (451); use another source";
    case error::client_error:
        return "the server refused the request (4xx); check the URL and the request headers";
    case error::too_many_requests:
        return "the server says there are too many requests (429); wait, or use fewer lanes";
    case error::server_busy: return "the server is busy (503); wait, or use fewer lanes";
    case error::bad_redirect:
        return "the server redirected the request to nowhere that can be asked: without one "
               "Location, "
               "or to no http or https URL; ask its operator, or use the final URL";
    case error::redirect_to_plain:
        return "the server redirected an https request to http, which is not followed; use an "
               "https "
               "URL";
    case error::too_many_redirects:
        return "the server redirected the request more than 10 times; check the URL";
    case error::no_fresh_request:
        return "no fresh URL could be had; check the command, the service or the function that is "
               "asked for one";
    case error::request_expires:
        return "the URL is about to expire, and there is no fresh one; get a fresh URL";
    case error::server_error: return "the server failed (5xx); wait and try again";

    case error::connect_timeout:
        return "connecting took longer than the connect timeout; check host and network, or allow "
               "more time";
    case error::head_timeout:
        return "the server did not answer the request within the head timeout; try again, or allow "
               "more time";
    case error::stalled:
        return "no byte arrived for as long as the stall timeout; check the network, or allow more "
               "time";
    case error::deadline_exceeded:
        return "the download did not end before its deadline; allow more time, or look for a "
               "faster source";
    case error::closed_before_reply:
        return "the server closed the connection without an answer; try again";
    case error::closed_in_head:
        return "the server closed the connection within a response head; try again";
    case error::closed_in_body:
        return "the server closed the connection before the end of the bytes it promised; try "
               "again";
    case error::name_not_resolved:
        return "the host's name could not be resolved, or not to an address of the family wanted; "
               "check the name and the DNS settings";
    case error::proxy_failed:
        return "the proxy could not reach the server; try again, or ask the proxy's operator";
    case error::proxy_refused:
        return "the proxy refuses to connect to this server; ask the proxy's operator, or name the "
               "host in no_proxy if it can be reached without";
    case error::bad_proxy_reply:
        return "the proxy's reply cannot be read; check that host and port of the proxy setting "
               "are those of a proxy of its kind";

    case error::target_is_directory: return "the target is a directory; name a file";
    case error::target_not_regular:
        return "the target exists and is not a regular file; name another one";
    case error::target_busy:
        return "another process is downloading to the same target; wait for it, or name another "
               "target";
    case error::partial_replaced:
        return "the partial file was replaced or cut by somebody else while it was written; keep "
               "others away from it and start again";
    case error::wrote_nothing:
        return "the file took no bytes although it reported no error; check the disk";

    case error::cancelled: return "the download was cancelled";

    case error::trust_store_unreadable:
        return "the file or directory of trusted certificates cannot be read, or is damaged; check "
               "its path and permissions, and SSL_CERT_FILE and SSL_CERT_DIR";
    case error::trust_store_empty:
        return "no trusted certificate was found, so no server can be verified; install the "
               "system's CA certificates (ca-certificates), or give a CA file";
    case error::certificate_not_yet_valid:
        return "the server's certificate is not valid yet; check this machine's clock, which on "
               "devices without a battery starts in 1970";
    case error::certificate_expired:
        return "the server's certificate has expired; ask its operator to renew it, and check this "
               "machine's clock";
    case error::certificate_wrong_host:
        return "the server's certificate is for another host; check the URL, and use the name that "
               "the certificate was made for";
    case error::certificate_unknown_issuer:
        return "nobody trusted has issued the server's certificate; give its CA (ca_file, or "
               "SSL_CERT_FILE) if it is your own, else check that nobody stands between";
    case error::certificate_bad:
        return "the server's certificate is not fit for its use (key usage, key size, signature or "
               "chain); ask the server's operator";
    case error::bad_pin:
        return "a pinned key cannot be read; write it as sha256// and the base64 of the SHA-256 of "
               "the public key";
    case error::pin_mismatch:
        return "the server's key is none of those that were pinned; check the pins, or that nobody "
               "stands between";
    case error::client_certificate_unreadable:
        return "the client certificate or its key cannot be read, or they do not fit; give both as "
               "PEM files, the key without a passphrase";
    case error::tls_handshake_failed:
        return "no TLS connection could be agreed on with the server; check that the port speaks "
               "TLS 1.2 or 1.3, and whether it wants a client certificate";
    case error::tls_truncated:
        return "the connection ended without the goodbye of TLS (close_notify), so bytes may be "
               "missing; try again";
    case error::tls_record_bad:
        return "a TLS record came damaged, or the server broke off with an alert; try again";
    case error::alpn_mismatch:
        return "the server wants another protocol than HTTP/1.1 (ALPN); use a server or port that "
               "speaks HTTP/1.1";
    }
    return "unknown error";
}

namespace detail {

class error_category_type final : public std::error_category {
  public:
    [[nodiscard]] char const* name() const noexcept override { return "cleave"; }
    [[nodiscard]] std::string message(int value) const override {
        return describe(static_cast<error>(value));
    }
    [[nodiscard]] bool equivalent(int value,
                                  std::error_condition const& condition) const noexcept override {
        if (condition.category() == cause_category())
            return cause_of(static_cast<error>(value)) == static_cast<cause>(condition.value());
        return std::error_category::equivalent(value, condition);
    }
};

class cause_category_type final : public std::error_category {
  public:
    [[nodiscard]] char const* name() const noexcept override { return "cleave.cause"; }
    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<cause>(value)) {
        case cause::passing: return "may pass by itself";
        case cause::renewable: return "a fresh URL or credentials may help";
        case cause::identity_changed: return "the object changed";
        case cause::storage: return "storage";
        case cause::protocol: return "the server broke the protocol";
        case cause::configuration: return "the request or a setting must change";
        case cause::permanent: return "permanent";
        case cause::cancelled: return "cancelled";
        }
        return "unknown cause";
    }
    // Codes of the system have a cause too, as far as it does not depend on where they came from.
    [[nodiscard]] bool equivalent(std::error_code const& code,
                                  int condition) const noexcept override {
        if (code.category() != std::system_category() && code.category() != std::generic_category())
            return false;
        switch (static_cast<cause>(condition)) {
        case cause::storage:
#if defined(EDQUOT)
            if (code.value() == EDQUOT) return true; // which std::errc has no name for
#endif
            return code == std::errc::no_space_on_device || code == std::errc::io_error ||
                   code == std::errc::file_too_large || code == std::errc::read_only_file_system;
        case cause::passing:
            return code == std::errc::connection_refused || code == std::errc::connection_reset ||
                   code == std::errc::broken_pipe || code == std::errc::timed_out ||
                   code == std::errc::host_unreachable || code == std::errc::network_unreachable;
        default: return false;
        }
    }
};

} // namespace detail

inline std::error_category const& error_category() noexcept {
    static detail::error_category_type const category;
    return category;
}
inline std::error_category const& cause_category() noexcept {
    static detail::cause_category_type const category;
    return category;
}

} // namespace cleave

template <>
struct std::is_error_code_enum<cleave::error> : std::true_type {};
template <>
struct std::is_error_condition_enum<cleave::cause> : std::true_type {};
