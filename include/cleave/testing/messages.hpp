// SPDX-License-Identifier: BSL-1.0
//
// HTTP/1.1 messages as a test's server reads and writes them: the requests it has seen, the object
// it serves, honest heads, and what changes them. It shares no code with the library on purpose: a
// mistake in one must not hide behind the same one here.
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave::testing {

namespace detail {

inline bool equal_ignoring_case(std::string_view a, std::string_view b) {
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                              [&](char x, char y) { return lower(x) == lower(y); });
}

inline std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
        text.remove_suffix(1);
    }
    return text;
}

inline std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

} // namespace detail

/// A request as a server has read it.
struct seen_request {
    std::string method;
    std::string target;
    std::string version;                                     ///< "HTTP/1.1"
    std::string head;                                        ///< as it came, with the empty line
    std::vector<std::pair<std::string, std::string>> fields; ///< in wire order
    std::size_t connection = 0;    ///< order of acceptance, from 0, refused ones included
    std::size_t on_connection = 0; ///< which request on that connection, from 0
    std::size_t index = 0;         ///< which request on this server, from 0
    bool refused = false;          ///< answered with 503 by a limit, not by the handler

    // What the client had of the replies to earlier requests on that connection when it sent this
    // one, which only a network in memory can tell: of how many it had read something, and how many
    // bytes of these, as far as the server had written them, it had not read. There are some where
    // it asks ahead.
    std::size_t replies_read = 0;
    std::uint64_t unread = 0;

    /// Reads a head that ends with its empty line; whatever it is, never fails.
    static seen_request read(std::string text) {
        seen_request r;
        std::string_view rest{text};
        auto const next_line = [&rest] {
            auto const end = rest.find("\r\n");
            auto const line = rest.substr(0, end);
            rest.remove_prefix(end == rest.npos ? rest.size() : end + 2);
            return line;
        };
        auto const line = next_line();
        auto const method_end = std::min(line.find(' '), line.size());
        auto const target_end = std::max(std::min(line.rfind(' '), line.size()), method_end);
        r.method = line.substr(0, method_end);
        r.target = detail::trim(line.substr(method_end, target_end - method_end));
        r.version = detail::trim(line.substr(target_end));
        while (rest.size() > 2) {
            auto const field = next_line();
            auto const colon = std::min(field.find(':'), field.size());
            r.fields.emplace_back(std::string{field.substr(0, colon)},
                                  colon == field.size()
                                      ? std::string{}
                                      : std::string{detail::trim(field.substr(colon + 1))});
        }
        r.head = std::move(text);
        return r;
    }

    /// The value of the first field of that name, whatever its case.
    std::optional<std::string> field(std::string_view name) const {
        for (auto const& [key, value] : fields) {
            if (detail::equal_ignoring_case(key, name)) {
                return value;
            }
        }
        return std::nullopt;
    }

    /// How many fields of that name there are.
    std::size_t count(std::string_view name) const {
        return static_cast<std::size_t>(
            std::count_if(fields.begin(), fields.end(), [&](auto const& f) {
                return detail::equal_ignoring_case(f.first, name);
            }));
    }

    /// First and last byte of a single "bytes=a-b"; the last is UINT64_MAX for "bytes=a-".
    std::optional<std::pair<std::uint64_t, std::uint64_t>> range() const {
        auto const value = field("Range");
        if (!value || value->rfind("bytes=", 0) != 0) {
            return std::nullopt;
        }
        auto const spec = std::string_view{*value}.substr(6);
        auto const dash = spec.find('-');
        if (dash == std::string_view::npos) {
            return std::nullopt;
        }
        auto const first = detail::parse_number(spec.substr(0, dash));
        auto last = detail::parse_number(spec.substr(dash + 1));
        if (dash + 1 == spec.size()) {
            last = std::numeric_limits<std::uint64_t>::max();
        }
        if (!first || !last || *last < *first) {
            return std::nullopt;
        }
        return std::pair{*first, *last};
    }
};

/// What a server has to serve.
struct object {
    std::string bytes;
    std::string etag = "\"v1\"";                                 ///< none if empty
    std::string last_modified = "Mon, 01 Jan 2024 00:00:00 GMT"; ///< none if empty

    /// The same bytes for the same seed.
    static object random(std::size_t size, std::uint32_t seed, std::string etag = "\"v1\"") {
        object o;
        o.etag = std::move(etag);
        o.bytes.resize(size);
        std::mt19937_64 engine{seed};
        for (std::size_t i = 0; i < size; i += 8) {
            std::uint64_t const word = engine();
            std::memcpy(o.bytes.data() + i, &word, std::min<std::size_t>(8, size - i));
        }
        return o;
    }
};

/// The bytes from first to last, both included.
inline std::string_view body(object const& o, std::uint64_t first, std::uint64_t last) {
    return std::string_view{o.bytes}.substr(static_cast<std::size_t>(first),
                                            static_cast<std::size_t>(last - first + 1));
}

/// Status line, "Date", the fields given (each with its "\r\n") and the empty line.
inline std::string head_of(int status, std::string_view reason, std::string_view fields) {
    return "HTTP/1.1 " + std::to_string(status) + " " + std::string{reason} +
           "\r\nDate: Thu, 01 Feb 2024 00:00:00 GMT\r\n" + std::string{fields} + "\r\n";
}

/// A whole answer, with its Content-Length: reply(503, "Busy", "Retry-After: 1\r\n").
inline std::string reply(int status, std::string_view reason, std::string_view fields = {},
                         std::string_view content = {}) {
    return head_of(status, reason,
                   std::string{fields} + "Content-Length: " + std::to_string(content.size()) +
                       "\r\n") +
           std::string{content};
}

/// Nothing but "go there".
inline std::string redirect(std::string_view location, int status = 302) {
    return reply(status, "Found", "Location: " + std::string{location} + "\r\n");
}

namespace detail {

inline std::string validators(object const& o) {
    return (o.etag.empty() ? "" : "ETag: " + o.etag + "\r\n") +
           (o.last_modified.empty() ? "" : "Last-Modified: " + o.last_modified + "\r\n");
}

} // namespace detail

/// The heads of right answers: the whole object, a part of it, no such part.
inline std::string honest_200_head(object const& o) {
    return head_of(200, "OK",
                   "Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n" +
                       detail::validators(o) + "Content-Length: " + std::to_string(o.bytes.size()) +
                       "\r\n");
}

/// The right head for a part, first and last byte included.
inline std::string honest_206_head(object const& o, std::uint64_t first, std::uint64_t last) {
    return head_of(206, "Partial Content",
                   "Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n" +
                       detail::validators(o) + "Content-Range: bytes " + std::to_string(first) +
                       "-" + std::to_string(last) + "/" + std::to_string(o.bytes.size()) +
                       "\r\nContent-Length: " + std::to_string(last - first + 1) + "\r\n");
}

/// The right reply to a range behind the end.
inline std::string honest_416(object const& o) {
    return reply(416, "Range Not Satisfiable",
                 detail::validators(o) + "Content-Range: bytes */" +
                     std::to_string(o.bytes.size()) + "\r\n");
}

/// Takes all fields of that name out of a head.
inline void drop_field(std::string& head, std::string_view name) {
    auto at = head.find("\r\n");
    while (at != std::string::npos && at + 4 < head.size()) {
        auto const end = head.find("\r\n", at + 2);
        auto const line = std::string_view{head}.substr(at + 2, end - at - 2);
        if (detail::equal_ignoring_case(line.substr(0, line.find(':')), name)) {
            head.erase(at + 2, end - at);
        } else {
            at = end;
        }
    }
}

/// Replaces all fields of that name in a head by one, at the end.
inline void set_field(std::string& head, std::string_view name, std::string_view value) {
    drop_field(head, name);
    head.insert(head.size() - 2, std::string{name} + ": " + std::string{value} + "\r\n");
}

/// One chunk of a chunked body; "0\\r\\n\\r\\n" ends that.
inline std::string chunk(std::string_view data) {
    char size[20];
    auto const end = std::to_chars(size, size + sizeof size, data.size(), 16).ptr;
    return std::string(size, end) + "\r\n" + std::string{data} + "\r\n";
}

/// In what an otherwise right server differs from the one that `honest_reply` is of.
struct honest_options {
    bool ranges = true;      ///< false: always the whole object with 200, and no Accept-Ranges
    bool chunked = false;    ///< Transfer-Encoding: chunked
    bool no_length = false;  ///< the body ends where the connection does
    bool http10 = false;     ///< HTTP/1.0; closes unless asked to keep alive
    bool close_each = false; ///< Connection: close on each reply, and closes
    std::uint64_t rate = 0;  ///< body bytes a second per connection; 0 is unlimited
    std::size_t piece = 0;   ///< bytes a send; 0 is as it comes
    std::function<void(std::string& head)> edit_head = {}; ///< whole head, empty line included

    /// Ends the connection after that many body bytes of a reply that is longer.
    std::optional<std::uint64_t> cut_after = {};
    bool cut_with_reset = false; ///< RST once the bytes before are delivered; else FIN

    /// Which requests get edit_head and cut_after; all if empty.
    std::function<bool(seen_request const&)> applies = {};
};

// --- a reply, before it is sent ------------------------------------------------------------------

/// What becomes of a connection behind the last byte that is sent.
enum class ending {
    keep,      ///< it waits for the next request
    fin,       ///< closed in order
    rst,       ///< reset
    truncated, ///< as TLS that ends without goodbye
    stall,     ///< nothing more, and no end
};

/// A reply as it will go over the wire: `before`, `head` and `body`, one after the other.
struct scripted_reply {
    /// Interim replies, or whatever else comes in front.
    std::string before = {};
    /// Status line, fields and the empty line.
    std::string head = {};
    /// With its chunk lines, where it is chunked.
    std::string body = {};
    ending end = ending::keep;
    /// Only so many bytes of all are sent, and then `end`; all of them unless set.
    std::optional<std::size_t> cut_at = {};
    /// Silences, by the number of bytes of all that go before; ascending.
    std::vector<std::pair<std::size_t, std::chrono::nanoseconds>> silences = {};
    /// Bytes sent at one time, at most; 0 is as it comes.
    std::size_t piece = 0;
    /// Where this reply ends is in doubt: the client must not use the connection again.
    bool doubtful = false;
    /// Its head is right and its bytes are not: only a digest can tell.
    bool lies = false;

    [[nodiscard]] std::size_t size() const noexcept {
        return before.size() + head.size() + body.size();
    }
};

/// The right reply to a request for the object, as RFC 9110 would have it.
inline scripted_reply honest_reply(seen_request const& r, object const& o) {
    auto const all = [&] { return scripted_reply{.head = honest_200_head(o), .body = o.bytes}; };
    auto const range = r.range();
    if (!range) return all();
    auto const condition = r.field("If-Range");
    bool const current = !condition || (*condition == o.etag && o.etag.rfind("W/", 0) != 0) ||
                         (!o.last_modified.empty() && *condition == o.last_modified);
    if (!current) return all();
    if (range->first >= o.bytes.size()) return {.head = honest_416(o)};
    auto const last = std::min<std::uint64_t>(range->second, o.bytes.size() - 1);
    return {.head = honest_206_head(o, range->first, last),
            .body = std::string{body(o, range->first, last)}};
}

} // namespace cleave::testing
