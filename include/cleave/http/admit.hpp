// SPDX-License-Identifier: BSL-1.0
//
// Judges a reply against the lease that it answers, before a byte of its body is written: where the
// body goes, how it ends, whether it is the same object, or why nothing of it is to be used. A pure
// function; what happens after a refusal, another try or another lane, is decided elsewhere.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/lease.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/url.hpp>
#include <cleave/http/body.hpp>
#include <cleave/http/content_range.hpp>
#include <cleave/http/redirect.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/retry_after.hpp>
#include <cleave/http/text.hpp>
#include <cleave/http/validator.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

/// What is to be done with a reply.
struct admission {
    /// Set: write nothing and close the connection. With phase, status and what the server asked
    /// to wait; the members below mean nothing then.
    std::optional<failure> refused;
    /// Where the body's bytes go; means nothing when refused or `nothing`.
    segment write;
    /// Bytes of the body to drop before `write.first`: a whole object came where its beginning is
    /// not wanted.
    std::uint64_t skip = 0;
    /// How the body ends.
    body_framing framing;
    /// The object is empty: done, and nothing to write.
    bool nothing = false;
    /// A whole object of which the server does not say the length: it ends where the body ends,
    /// and `write.last` is only the last byte that is wanted.
    bool open_ended = false;
    /// False when the server sends the whole object, whatever was asked for.
    bool ranges = true;
    /// After exactly this body, read to its end and no further, the connection may carry the next
    /// request.
    bool reusable = false;
    /// What this reply says of the object.
    identity object;
};

/// Judges a reply and fills in `to`, whose strings are used again.
///
/// `asked` is what the request asked for. `wanted` is all that the caller wants: [0, max_offset]
/// where that is the whole object of a size not yet known. `known` is null for a download's first
/// reply, else what was learnt from the first.
///
/// - 206 (RFC 9110, section 15.3.7) must have one Content-Range that begins where the lease begins,
///   and a Content-Length, if any, that agrees with it. Shorter is taken; of longer, what was asked
///   for. It must be of the object that is known: equal size; equal strong ETag, or no other
///   Last-Modified, and no other weak ETag.
/// - 200 is taken as the whole object where that was asked for, and as the first reply to anything.
///   Later on it is `error::range_ignored`, or `error::object_changed` where it shows a change.
/// - 416 to the first request may say that the object is empty.
/// - Everything else is refused, with one error for each cause.
///
/// Nothing is allocated for a reply that is taken, once `to` has been through a few.
void admit(response_head const& head, lease const& asked, segment wanted, identity const* known,
           admission& to);

/// The same, into a new value.
[[nodiscard]] inline admission admit(response_head const& head, lease const& asked, segment wanted,
                                     identity const* known) {
    admission to;
    admit(head, asked, wanted, known, to);
    return to;
}

namespace detail {

/// What a reply's validators say beside those that are known.
enum class agreement { same, changed, missing };

[[nodiscard]] inline agreement compare_validators(response_head const& head,
                                                  identity const& known) noexcept {
    auto const opaque = [](std::string_view etag) {
        return etag.starts_with("W/") ? etag.substr(2) : etag;
    };
    auto const etag = single(head, "ETag");
    bool const strong = etag && etag_is_strong(*etag);
    bool const weak = etag && etag_is_weak(*etag);

    if (known.validator.is == validator::kind::strong_etag) {
        // A weak one proves a change (RFC 9110, section 8.8.3.2), but never equality of bytes.
        if ((strong || weak) && opaque(*etag) != known.validator.text) return agreement::changed;
        return strong ? agreement::same : agreement::missing;
    }
    if (known.validator.is == validator::kind::last_modified) {
        for (field const& f : head.fields())
            if (http_same(f.name, "Last-Modified") && f.value != known.validator.text)
                return agreement::changed;
    }
    if (!known.weak_etag.empty() && (strong || weak) && opaque(*etag) != opaque(known.weak_etag))
        return agreement::changed;
    return agreement::same;
}

/// Whether the content is in another form than the object (RFC 9110, section 8.4).
[[nodiscard]] inline bool is_coded(response_head const& head) noexcept {
    for (field const& f : head.fields()) {
        if (!http_same(f.name, "Content-Encoding")) continue;
        bool const plain = http_each_element(f.value, [](std::string_view coding) {
            return coding.empty() || http_same(coding, "identity");
        });
        if (!plain) return true;
    }
    return false;
}

/// RFC 9110, section 14.6.
[[nodiscard]] inline bool is_multipart(response_head const& head) noexcept {
    for (field const& f : head.fields())
        if (http_same(f.name, "Content-Type") &&
            http_same(http_trim(f.value.substr(0, f.value.find(';'))), "multipart/byteranges"))
            return true;
    return false;
}

/// The reply's Content-Range: several that say the same count as one.
[[nodiscard]] inline std::optional<content_range>
read_content_range(response_head const& head) noexcept {
    std::optional<content_range> to;
    for (field const& f : head.fields()) {
        if (!http_same(f.name, "Content-Range")) continue;
        auto const range = parse_content_range(f.value);
        if (!range || (to && *to != *range)) return std::nullopt;
        to = range;
    }
    return to;
}

/// "300000-399999", as messages write bytes.
[[nodiscard]] inline std::string dashed(segment s) {
    std::string to = std::to_string(s.first) + "-";
    if (s.last != max_offset) to += std::to_string(s.last);
    return to;
}
/// Of a lease of a range.
[[nodiscard]] inline std::string asked_for(lease const& asked) {
    return "asked for bytes " + dashed(asked.bytes);
}
[[nodiscard]] inline std::string sizes_differ(std::uint64_t known, std::uint64_t told) {
    return "the size was " + std::to_string(known) + " bytes, and now is " + std::to_string(told);
}

/// One reply under judgement.
struct judge {
    response_head const& head;
    lease const& asked;
    segment wanted;
    identity const* known;
    admission& to;

    void refuse(error why, std::string particulars) const {
        failure what = failure::of(why, phase::head, std::move(particulars));
        what.status = head.status();
        if (what.status == 429 || what.status == 503) what.retry_after = read_retry_after(head);
        to.refused = std::move(what);
    }

    /// What holds for every body that is to be used; false when it has been refused.
    bool take_body() const {
        framing_result const body = read_framing(head);
        if (body.bad) {
            refuse(*body.bad, {});
            return false;
        }
        if (is_coded(head)) {
            refuse(error::coded_reply, {});
            return false;
        }
        to.framing = body.framing;
        to.reusable = keeps_connection(head);
        return true;
    }

    /// Whether the reply is of the object that is known; false when it has been refused.
    bool same_object(std::optional<std::uint64_t> size) const {
        if (!known) return true;
        if (size && known->size && *size != *known->size) {
            refuse(error::size_changed, sizes_differ(*known->size, *size));
            return false;
        }
        agreement const found = compare_validators(head, *known);
        if (found == agreement::same) return true;
        if (found == agreement::changed)
            refuse(error::object_changed, "the reply carries another ETag or Last-Modified");
        else
            refuse(error::validator_missing, {});
        return false;
    }

    void part() const {
        if (!asked.ranged)
            return refuse(error::unexpected_status, "asked for the whole object, got a part (206)");
        if (is_multipart(head)) return refuse(error::multipart_reply, {});
        if (!take_body()) return;
        if (head.count("Content-Range") == 0) return refuse(error::range_missing, asked_for(asked));
        auto const range = read_content_range(head);
        if (!range || !range->bytes) return refuse(error::bad_content_range, asked_for(asked));

        segment const got = *range->bytes;
        if (to.framing.is == body_framing::kind::length && to.framing.length != got.size())
            return refuse(error::length_mismatch,
                          "bytes " + dashed(got) + " are " + std::to_string(got.size()) +
                              ", but the length is " + std::to_string(to.framing.length));
        if (!same_object(range->total)) return;
        auto const size = range->total || !known ? range->total : known->size;
        if (size && got.last >= *size)
            return refuse(error::size_changed, "the size was " + std::to_string(*size) +
                                                   " bytes, but bytes " + dashed(got) + " came");
        if (got.first != asked.bytes.first)
            return refuse(error::range_mismatch,
                          asked_for(asked) + ", got " + dashed(got) +
                              (size ? " of " + std::to_string(*size) : std::string{}));

        to.write = {got.first, std::min(got.last, asked.bytes.last)};
        to.reusable = to.reusable && to.write == got;
        to.object.size = size;
    }

    void whole() const {
        if (!take_body()) return;
        to.ranges = false;
        std::optional<std::uint64_t> length;
        if (to.framing.is == body_framing::kind::length) length = to.framing.length;

        if (asked.ranged && known) {
            bool const resized = length && known->size && *length != *known->size;
            if (resized) return refuse(error::object_changed, sizes_differ(*known->size, *length));
            if (compare_validators(head, *known) == agreement::changed)
                return refuse(error::object_changed,
                              "the reply carries another ETag or Last-Modified");
            return refuse(error::range_ignored, asked_for(asked));
        }
        if (!same_object(length)) return;

        to.skip = wanted.first;
        if (!length && known && known->size) {
            // Told before, though not by this reply: the body must end where the object does.
            to.reusable = false;
            length = known->size;
        }
        if (!length) {
            to.open_ended = true;
            to.write = wanted;
            to.reusable = to.reusable && wanted.last == max_offset;
            return;
        }
        to.object.size = *length;
        if (*length == 0 && wanted.first == 0) {
            to.nothing = true;
            return;
        }
        if (wanted.first >= *length)
            return refuse(error::range_not_satisfiable, "bytes " + dashed(wanted) +
                                                            " are wanted, the object has " +
                                                            std::to_string(*length));
        to.write = {wanted.first, std::min(wanted.last, *length - 1)};
        to.reusable = to.reusable && to.write.last == *length - 1;
    }

    void unsatisfiable() const {
        if (!asked.ranged) return refuse(error::unexpected_status, "asked for the whole object");
        std::optional<std::uint64_t> size;
        if (auto const range = read_content_range(head); range && !range->bytes)
            size = range->total;
        if (!known && size == std::uint64_t{0} && wanted.first == 0) {
            // The page that comes with it is not read: only after none does the connection last.
            framing_result const body = read_framing(head);
            if (!body.bad) to.framing = body.framing;
            to.reusable = keeps_connection(head) && to.framing.is == body_framing::kind::length &&
                          to.framing.length == 0;
            to.nothing = true;
            to.object.size = 0;
            return;
        }
        if (known && known->size && size && *size != *known->size)
            return refuse(error::size_changed, sizes_differ(*known->size, *size));
        refuse(known ? error::range_mismatch : error::range_not_satisfiable,
               asked_for(asked) +
                   (size ? ", the object has " + std::to_string(*size) : std::string{}));
    }

    // Only where the target reads as a URL, and then without what may be secret in it.
    void elsewhere() const {
        std::string particulars;
        if (auto const location = single(head, "Location")) {
            std::error_code bad;
            url const target = url::parse(*location, bad);
            if (!bad) particulars = "redirected to " + target.to_string();
        }
        refuse(error::redirected, std::move(particulars));
    }

    void no_object() const {
        int const status = head.status();
        if (is_redirect(status)) return elsewhere();
        switch (status) {
        case 401: return refuse(error::unauthorized, {});
        case 403: return refuse(error::forbidden, {});
        case 404: return refuse(error::not_found, {});
        case 407: return refuse(error::proxy_authentication_required, {});
        case 408: return refuse(error::head_timeout, "the server gave up waiting (408)");
        case 410: return refuse(error::gone, {});
        case 412: return refuse(error::object_changed, "a precondition failed (412)");
        case 429: return refuse(error::too_many_requests, {});
        case 451: return refuse(error::unavailable_for_legal_reasons, {});
        case 503: return refuse(error::server_busy, {});
        default: break;
        }
        error const why = status / 100 == 4   ? error::client_error
                          : status / 100 == 5 ? error::server_error
                                              : error::unexpected_status;
        refuse(why, "status " + std::to_string(status));
    }
};

} // namespace detail

inline void admit(response_head const& head, lease const& asked, segment wanted,
                  identity const* known, admission& to) {
    to.refused.reset();
    to.write = {};
    to.skip = 0;
    to.framing = {};
    to.nothing = to.open_ended = to.reusable = false;
    to.ranges = true;
    read_identity(head, to.object);

    detail::judge const judge{head, asked, wanted, known, to};
    switch (head.status()) {
    case 200: return judge.whole();
    case 206: return judge.part();
    case 416: return judge.unsatisfiable();
    default: return judge.no_object();
    }
}

} // namespace cleave
