// SPDX-License-Identifier: BSL-1.0
//
// Which object, and which version of it: what one reply says must agree with every other reply
// before their bytes are joined.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cleave {

/// What a server says that tells one version of an object from another (RFC 9110, section 8.8).
struct validator {
    enum class kind : std::uint8_t {
        none,          ///< nothing that could be relied on
        strong_etag,   ///< `ETag: "..."`: equal means equal byte for byte
        last_modified, ///< `Last-Modified`, strong by the rule of RFC 9110, section 8.8.2.2
    };
    kind is = kind::none;
    /// The field's value as the server wrote it: an ETag with its quotes, a date as text.
    std::string text;

    friend bool operator==(validator const&, validator const&) = default;
};

/// An object's size and validator: is it still the same object?
struct identity {
    /// Bytes of the whole object; unknown until a server says it.
    std::optional<std::uint64_t> size;
    cleave::validator validator;
    /// A weak ETag (`W/"..."`) proves no equality of bytes, but another one proves a change.
    std::string weak_etag;

    friend bool operator==(identity const&, identity const&) = default;
};

} // namespace cleave
