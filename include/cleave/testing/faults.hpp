// SPDX-License-Identifier: BSL-1.0
//
// A catalogue of what servers do wrong, or rightly but seldom, in reply to a download: each entry
// turns an honest reply into a faulty one. It shares no code with the library on purpose: a mistake
// in one must not hide behind the same one here. Knows bytes and silences, but no network.
#pragma once

#include <cleave/testing/messages.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cleave::testing {

/// What a download may make of a fault, all else being well. Each includes those before it.
enum class harm {
    none,  ///< the reply is good as it is: not even a retry is needed
    retry, ///< asks again, elsewhere or for all of it, and ends well once the server is right
    end,   ///< may end the download with a named error
};

/// What a fault may look at.
struct fault_context {
    seen_request const& request;
    /// The object as it is; and another version of it, of the same size, with other bytes and
    /// other validators.
    object const& now;
    object const& other;
    /// A random number below n, which is not 0. Everything random comes from it.
    std::function<std::uint64_t(std::uint64_t)> const& below;
    /// The absolute URL of the request; and the URL of another honest server of the same object,
    /// empty if there is none.
    std::string_view self;
    std::string_view elsewhere;
};

/// One fault. Where a row leaves something open, such as how far a range is shifted, which of a
/// dozen ways to misspell a number, or where a reply is cut, each call draws it anew.
struct server_fault {
    /// The row in the table of faults, as "A04". Several faults may be of one row.
    std::string_view row;
    /// Of this fault alone: "start_shifted".
    std::string_view name;
    harm allowed;
    /// Turns the honest reply, as `honest_reply` makes it, into the faulty one. False: it does not
    /// apply to this request, and has changed nothing.
    ///
    /// Sets `doubtful` where it would be wrong to use the connection again. Where that shows only
    /// in bytes behind the body, as with `bytes_behind`, a client can know it only if those come
    /// together with the body's last byte: not on a link that delivers smaller pieces. Sets `lies`
    /// where nothing in the reply tells that its bytes are wrong.
    bool (*apply)(scripted_reply&, fault_context const&);
};

/// All faults, in the order of their rows.
///
/// Some replies tell of sizes beyond all measure: downloads need a `max_size`, or what keeps their
/// bytes a capacity. Some are silent for minutes: it takes virtual time.
///
/// Not here is what no single reply can do: objects that change (B01), redirects to what goes later
/// (E10), connections refused (F06), names that do not resolve (F07), handshakes (G03 to G07). Nor
/// A20, for a HEAD is never asked for.
[[nodiscard]] std::span<server_fault const> server_faults();

/// The fault of that name; null if there is none.
[[nodiscard]] server_fault const* find_server_fault(std::string_view name);

// --- how faults are made -------------------------------------------------------------------------

namespace detail::faults {

using reply = scripted_reply;
using context = fault_context;

struct bytes_range {
    std::uint64_t first;
    std::uint64_t last;

    [[nodiscard]] std::uint64_t size() const noexcept { return last - first + 1; }
};

// --- drawing

inline std::size_t index_below(context const& c, std::size_t n) {
    return static_cast<std::size_t>(c.below(n));
}
inline bool one_in(context const& c, std::uint64_t n) { return c.below(n) == 0; }
/// Both ends included.
inline std::uint64_t between(context const& c, std::uint64_t low, std::uint64_t high) {
    return low + c.below(high - low + 1);
}
inline std::string pick(context const& c, std::initializer_list<std::string_view> from) {
    return std::string{from.begin()[index_below(c, from.size())]};
}
inline std::string text(std::uint64_t n) { return std::to_string(n); }
inline std::string hex(std::uint64_t n) {
    char digits[20];
    return {digits, std::to_chars(digits, digits + sizeof digits, n, 16).ptr};
}
/// A number of so many bytes, but not `but`.
inline std::uint64_t other_number(context const& c, std::uint64_t but) {
    std::uint64_t const choices[] = {but + 1, but - 1, but / 2, but * 2, 0, 6};
    std::uint64_t const n = choices[index_below(c, std::size(choices))];
    // Of 0 there is nothing less.
    return n == but || n + 1 == 0 ? but + 1 : n;
}

// --- what a reply is

inline bool is(reply const& r, int status) {
    return r.head.compare(0, 12, "HTTP/1.1 " + std::to_string(status)) == 0;
}
inline bool has_object(reply const& r) { return is(r, 200) || is(r, 206); }
inline std::string status_of(reply const& r) { return r.head.substr(9, 3); }

/// Which bytes an honest 206 holds.
inline std::optional<bytes_range> part_of(reply const& r, context const& c) {
    auto const range = c.request.range();
    if (!is(r, 206) || !range || r.body.empty()) return std::nullopt;
    return bytes_range{range->first, range->first + r.body.size() - 1};
}

/// Whether the client may not know yet what the object is: then it must believe any size.
inline bool may_be_first(context const& c) { return !c.request.field("If-Range"); }

// --- changing it

inline void set_first_line(reply& r, std::string_view line) {
    r.head.replace(0, r.head.find("\r\n"), line);
}
/// In front of all others, or behind them.
inline void add_line(reply& r, context const& c, std::string_view line) {
    std::size_t const at = one_in(c, 2) ? r.head.find("\r\n") + 2 : r.head.size() - 2;
    r.head.insert(at, std::string{line} + "\r\n");
}
inline void set_length(reply& r, std::uint64_t n) { set_field(r.head, "Content-Length", text(n)); }
inline void set_range(reply& r, std::string_view value) {
    set_field(r.head, "Content-Range", value);
}
inline std::string range_text(bytes_range b, std::string_view total) {
    return "bytes " + text(b.first) + "-" + text(b.last) + "/" + std::string{total};
}
/// An honest part of another object, or of other bytes than those that were asked for.
inline bool send_part(reply& r, object const& o, bytes_range b) {
    r.head = honest_206_head(o, b.first, b.last);
    r.body = body(o, b.first, b.last);
    return true;
}
/// Another reply altogether, with its length.
inline bool answer(reply& r, int status, std::string_view reason, std::string const& fields,
                   std::string content = {}) {
    r.head = head_of(status, reason,
                     fields + "Content-Length: " + std::to_string(content.size()) + "\r\n");
    r.body = std::move(content);
    return true;
}
inline bool doubt(reply& r) { return r.doubtful = true; }
inline bool end_with(reply& r, ending how) {
    r.end = how;
    return true;
}
inline bool cut(reply& r, std::size_t at, ending how) {
    r.cut_at = at;
    return end_with(r, how);
}
/// Somewhere in the head, behind its first byte and before its last.
inline bool cut_in_head(reply& r, context const& c, ending how) {
    return cut(r, r.before.size() + 1 + index_below(c, r.head.size() - 1), how);
}
/// Behind the head, and before the last byte.
inline bool cut_in_body(reply& r, context const& c, ending how) {
    if (r.body.empty()) return false;
    return cut(r, r.size() - r.body.size() + index_below(c, r.body.size()), how);
}

inline std::string page(std::size_t size) {
    std::string to = "<html><body><h1>Sorry</h1></body></html>\n";
    to.resize(size, ' ');
    return to;
}
inline std::string letters(context const& c, std::size_t size) {
    std::string to(size, 'a');
    for (char& letter : to) letter = static_cast<char>('a' + c.below(26));
    return to;
}

// --- chunks

inline std::string as_chunks(std::string_view bytes, context const& c) {
    std::string to;
    while (!bytes.empty()) {
        std::size_t const n = 1 + index_below(c, bytes.size());
        to += chunk(bytes.substr(0, n));
        bytes.remove_prefix(n);
    }
    return to;
}
inline void say_chunked(reply& r, std::string_view coding = "chunked") {
    drop_field(r.head, "Content-Length");
    set_field(r.head, "Transfer-Encoding", coding);
}
/// The body in chunks, with whatever ends it.
inline bool send_chunked(reply& r, context const& c, std::string_view last = "0\r\n\r\n") {
    say_chunked(r);
    r.body = as_chunks(r.body, c) + std::string{last};
    return true;
}
/// The body in two chunks and the last one, with something in place of one of the three sizes.
inline bool send_with_chunk_size(reply& r, context const& c,
                                 std::function<std::string(std::string)> const& spoil) {
    std::size_t const half = index_below(c, r.body.size() + 1);
    std::vector<std::string> parts{r.body.substr(0, half), r.body.substr(half), {}};
    // An empty one is the last.
    parts.erase(std::remove(parts.begin(), parts.end() - 1, std::string{}), parts.end() - 1);
    std::size_t const spoilt = index_below(c, parts.size());
    std::string chunks;
    for (std::size_t i = 0; i != parts.size(); ++i) {
        std::string const size = hex(parts[i].size());
        chunks += (i == spoilt ? spoil(size) : size) + "\r\n" + parts[i] + "\r\n";
    }
    say_chunked(r);
    r.body = std::move(chunks);
    return true;
}

// --- heads

inline std::vector<std::string> lines_of(std::string_view head) {
    std::vector<std::string> to;
    for (std::size_t end; (end = head.find("\r\n")) != 0; head.remove_prefix(end + 2))
        to.emplace_back(head.substr(0, end));
    return to;
}
inline std::string head_from(std::vector<std::string> const& lines, std::string_view end = "\r\n") {
    std::string to;
    for (std::string const& line : lines) to += line + std::string{end};
    return to + std::string{end};
}
/// Other case, other white space, another order, and more fields; the same meaning.
inline std::string reworded(std::string_view head, context const& c) {
    auto lines = lines_of(head);
    for (std::uint64_t i = c.below(4); i-- != 0;) lines.push_back("X-Seen: " + letters(c, 5));
    if (one_in(c, 2)) lines.push_back("X-Empty:");
    if (one_in(c, 2)) lines.push_back("X-Latin: caf\xe9 \xff");
    for (std::size_t i = 1; i != lines.size(); ++i) {
        std::string& line = lines[i];
        std::size_t const colon = line.find(':');
        std::string name = line.substr(0, colon);
        auto const as = c.below(4);
        for (char& letter : name) {
            bool const lower = letter >= 'a' && letter <= 'z';
            bool const upper = letter >= 'A' && letter <= 'Z';
            if (upper && as == 1) letter = static_cast<char>(letter + 32);
            if (lower && (as == 2 || (as == 3 && one_in(c, 2))))
                letter = static_cast<char>(letter - 32);
        }
        line = name + ":" + pick(c, {"", " ", "\t", " \t  "}) +
               std::string{trim(std::string_view{line}.substr(colon + 1))} +
               pick(c, {"", " ", "\t"});
    }
    for (std::size_t i = lines.size() - 1; i > 1; --i)
        std::swap(lines[i], lines[1 + index_below(c, i)]);
    return head_from(lines);
}
inline std::string interim(int status, std::string_view fields = {}) {
    return "HTTP/1.1 " + std::to_string(status) +
           (status == 103   ? " Early Hints"
            : status == 102 ? " Processing"
                            : " Continue") +
           "\r\n" + std::string{fields} + "\r\n";
}

// --- URLs

struct parts_of_url {
    std::string authority;
    std::string path; // with the query
};
inline parts_of_url split(std::string_view absolute) {
    absolute.remove_prefix(absolute.find("://") + 3);
    std::size_t const end = std::min(absolute.find_first_of("/?"), absolute.size());
    std::string path{absolute.substr(end)};
    if (path.empty() || path[0] == '?') path.insert(0, "/");
    return {std::string{absolute.substr(0, end)}, std::move(path)};
}
inline bool redirect_to(reply& r, context const& c, std::string const& location) {
    static constexpr std::array<int, 5> statuses{301, 302, 303, 307, 308};
    return answer(r, statuses[index_below(c, statuses.size())], "Elsewhere",
                  "Location: " + location + "\r\n", one_in(c, 2) ? std::string{} : page(50));
}
/// The path and the query of the request, as what is relative to it.
inline std::string relative_to_self(context const& c) {
    auto const [authority, path] = split(c.self);
    std::size_t const query = std::min(path.find('?'), path.size());
    std::string const last = path.substr(path.rfind('/', query) + 1);
    switch (c.below(6)) {
    case 0: return path;
    case 1: return "//" + authority + path;
    case 2: return "./" + last;
    case 3: return "x/../" + last;
    case 4: return path + "#part";
    default: return "#";
    }
}

// --- the chapters -------------------------------------------------------------------------------

// Which bytes a reply holds, and which it says it does.
inline std::span<server_fault const> of_ranges() {
    static constexpr server_fault all[] = {
        {"A01", "whole_at_first", harm::none,
         [](reply& r, context const& c) {
             if (!is(r, 206) || c.request.index != 0 || !may_be_first(c)) return false;
             r = {.head = honest_200_head(c.now), .body = c.now.bytes};
             return true;
         }},
        {"A02", "whole_later", harm::retry,
         [](reply& r, context const& c) {
             if (!is(r, 206) || (c.request.index == 0 && may_be_first(c))) return false;
             r = {.head = honest_200_head(c.now), .body = c.now.bytes};
             return true;
         }},
        {"A03", "range_missing", harm::retry,
         [](reply& r, context const&) {
             if (!is(r, 206)) return false;
             drop_field(r.head, "Content-Range");
             return true;
         }},
        {"A04", "start_shifted", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             std::uint64_t const behind = c.now.bytes.size() - 1 - b->first;
             bool const down = b->first != 0 && (behind == 0 || one_in(c, 2));
             if (!down && behind == 0) return false;
             std::uint64_t const most = down ? b->first : behind;
             std::uint64_t const by = one_in(c, 2) ? 1 : between(c, 1, most);
             std::uint64_t const first = down ? b->first - by : b->first + by;
             return send_part(
                 r, c.now,
                 {first, std::min<std::uint64_t>(first + b->size() - 1, c.now.bytes.size() - 1)});
         }},
        {"A05", "whole_as_part", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             return b && b->first != 0 && send_part(r, c.now, {0, c.now.bytes.size() - 1});
         }},
        {"A06", "bytes_of_elsewhere", harm::end,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b || b->size() == c.now.bytes.size()) return false;
             std::uint64_t const first = c.below(c.now.bytes.size() - b->size() + 1);
             auto const bytes = body(c.now, first, first + b->size() - 1);
             if (bytes == r.body) return false;
             r.body = bytes;
             return r.lies = true;
         }},
        {"A06", "bytes_of_other_version", harm::end,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b || c.other.bytes.size() != c.now.bytes.size()) return false;
             auto const bytes = body(c.other, b->first, b->last);
             if (bytes == r.body) return false;
             r.body = bytes;
             return r.lies = true;
         }},
        {"A06", "flipped_bit", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r) || r.body.empty()) return false;
             char& byte = r.body[index_below(c, r.body.size())];
             byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << c.below(8)));
             return r.lies = true;
         }},
        {"A07", "range_shorter", harm::none,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             return b && b->size() > 1 &&
                    send_part(r, c.now, {b->first, b->first + c.below(b->size() - 1)});
         }},
        {"A08", "range_longer", harm::none,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             return b && b->last + 1 != c.now.bytes.size() &&
                    send_part(r, c.now,
                              {b->first, between(c, b->last + 1, c.now.bytes.size() - 1)});
         }},
        {"A09", "starts_earlier", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b || b->first == 0) return false;
             std::uint64_t const block = std::uint64_t{1} << between(c, 4, 12);
             std::uint64_t const first = b->first / block * block;
             return send_part(r, c.now, {first == b->first ? c.below(first) : first, b->last});
         }},
        {"A10", "lengths_disagree", harm::retry,
         [](reply& r, context const& c) {
             if (!is(r, 206)) return false;
             set_length(r, other_number(c, r.body.size()));
             return doubt(r);
         }},
        {"A11", "bytes_behind", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             r.body += letters(c, 1 + index_below(c, 100));
             return doubt(r);
         }},
        {"A12", "total_larger", harm::end,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             set_range(r, range_text(*b, text(c.now.bytes.size() + between(c, 1, 1000))));
             return true;
         }},
        {"A12", "total_smaller", harm::end,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b || b->last + 1 == c.now.bytes.size()) return false;
             set_range(r, range_text(*b, text(between(c, b->last + 1, c.now.bytes.size() - 1))));
             // Where it is all that a client knows, it asks for no byte beyond.
             return r.lies = true;
         }},
        {"A13", "total_unknown", harm::none,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             set_range(r, range_text(*b, "*"));
             return true;
         }},
        {"A14", "range_reversed", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b || b->size() == 1) return false;
             set_range(r, range_text({b->last, b->first}, text(c.now.bytes.size())));
             return true;
         }},
        {"A14", "range_beyond_total", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             set_range(r, range_text(*b, text(one_in(c, 2) ? b->last : c.below(b->last + 1))));
             return true;
         }},
        {"A15", "bad_range_grammar", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             std::string const f = text(b->first);
             std::string const l = text(b->last);
             std::string const t = text(c.now.bytes.size());
             std::string const fl = f + "-" + l;
             set_range(r, pick(c, {"bytes=" + fl + "/" + t,
                                   fl + "/" + t,
                                   "bytes  " + f + " - " + l + " / " + t,
                                   "bytes " + f + "-/" + t,
                                   "bytes " + f + "-",
                                   "bytes " + fl,
                                   "bytes " + fl + "/",
                                   "bytes " + f + "/" + t,
                                   "bytes */" + t,
                                   "bytes",
                                   "",
                                   "items " + fl + "/" + t,
                                   "bytes +" + fl + "/" + t,
                                   "bytes -" + fl + "/" + t,
                                   "bytes 0x" + hex(b->first) + "-0x" + hex(b->last) + "/" + t,
                                   "bytes\t" + fl + "/" + t,
                                   "bytes: " + fl + "/" + t,
                                   "bytes " + f + "--" + l + "/" + t,
                                   "bytes " + f + ".." + l + "/" + t,
                                   "bytes " + fl + "/" + t + "/" + t,
                                   "bytes " + fl + "/" + t + ", " + fl + "/" + t,
                                   "bytes " + fl + "/" + t + ";",
                                   "\"bytes " + fl + "/" + t + "\""}));
             return true;
         }},
        {"A15", "range_unit_in_capitals", harm::none,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             set_range(r, pick(c, {"BYTES", "Bytes", "bYtEs"}) +
                              range_text(*b, text(c.now.bytes.size())).substr(5));
             return true;
         }},
        {"A16", "range_twice", harm::none,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             add_line(r, c, "Content-Range: " + range_text(*b, text(c.now.bytes.size())));
             return true;
         }},
        {"A16", "two_ranges", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             std::uint64_t const by = between(c, 1, 1000);
             add_line(r, c,
                      "Content-Range: " + range_text({b->first + by, b->last + by},
                                                     text(c.now.bytes.size() + 1000)));
             return true;
         }},
        {"A17", "multipart", harm::end,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             std::string const boundary = letters(c, 12);
             std::string mime;
             auto const add = [&](bytes_range part) {
                 mime += "--" + boundary + "\r\nContent-Type: application/octet-stream\r\n" +
                         "Content-Range: " + range_text(part, text(c.now.bytes.size())) +
                         "\r\n\r\n" + std::string{body(c.now, part.first, part.last)} + "\r\n";
             };
             std::uint64_t const first_ends = b->first + c.below(b->size());
             add({b->first, first_ends});
             if (first_ends != b->last) add({first_ends + 1, b->last});
             r.body = mime + "--" + boundary + "--\r\n";
             set_field(r.head, "Content-Type", "multipart/byteranges; boundary=" + boundary);
             // There ought to be none; some servers say it all the same.
             if (one_in(c, 2)) drop_field(r.head, "Content-Range");
             set_length(r, r.body.size());
             return true;
         }},
        {"A18", "unsatisfiable", harm::retry,
         [](reply& r, context const& c) {
             if (!is(r, 206)) return false;
             r = {.head = honest_416(c.now)};
             return true;
         }},
        {"A19", "unsatisfiable_shrunk", harm::end,
         [](reply& r, context const& c) {
             std::uint64_t const size = c.now.bytes.size();
             if (!is(r, 206) || size < 2) return false;
             return answer(r, 416, "Range Not Satisfiable",
                           "Content-Range: bytes */" + text(between(c, 1, size - 1)) + "\r\n");
         }},
        {"A19", "unsatisfiable_grown", harm::end,
         [](reply& r, context const& c) {
             if (!is(r, 206)) return false;
             return answer(r, 416, "Range Not Satisfiable",
                           "Content-Range: bytes */" +
                               text(c.now.bytes.size() + between(c, 1, 1'000'000)) + "\r\n");
         }},
        {"A19", "unsatisfiable_unsized", harm::retry,
         [](reply& r, context const& c) {
             if (!c.request.range()) return false;
             return answer(r, 416, "Range Not Satisfiable",
                           pick(c, {"", "Content-Range: bytes */*\r\n", "Content-Range: bytes\r\n",
                                    "Content-Range: */100\r\n"}),
                           one_in(c, 2) ? page(206) : page(r.body.size()));
         }},
        // A20: nobody sends HEAD, so that no reply to it can mislead.
    };
    return all;
}

// Which version of the object it is.
inline std::span<server_fault const> of_identity() {
    static constexpr server_fault all[] = {
        // B01, an object that changes, is the world's business.
        {"B02", "other_version_as_part", harm::end,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b || c.other.bytes.size() != c.now.bytes.size()) return false;
             // What comes of it in one piece is all of the other version, and right.
             r.lies = validators(c.other) == validators(c.now);
             return send_part(r, c.other, *b);
         }},
        {"B03", "etag_weak", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r) || c.now.etag.empty() || c.now.etag.front() != '"') return false;
             set_field(r.head, "ETag", "W/" + c.now.etag);
             return true;
         }},
        {"B04", "modified_just_now", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r) || c.now.last_modified.empty()) return false;
             drop_field(r.head, "ETag");
             set_field(r.head, "Date", c.now.last_modified);
             return true;
         }},
        {"B05", "validators_missing", harm::retry,
         [](reply& r, context const&) {
             if (!has_object(r)) return false;
             std::string const before = r.head;
             drop_field(r.head, "ETag");
             drop_field(r.head, "Last-Modified");
             return r.head != before;
         }},
        {"B06", "etag_of_another_edge", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r) || c.now.etag.empty()) return false;
             set_field(r.head, "ETag",
                       "\"" + hex(c.below(1U << 31U)) + "-" + hex(c.now.bytes.size()) + "\"");
             return true;
         }},
        {"B07", "etag_misspelt", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r) || c.now.etag.size() < 2) return false;
             std::string const bare = c.now.etag.substr(1, c.now.etag.size() - 2);
             set_field(r.head, "ETag",
                       pick(c, {bare, "\"" + bare, bare + "\"", "'" + bare + "'", "",
                                "\"" + bare + "\"x\"", "\"" + bare + "\",\"" + bare + "\"",
                                "\"a b\"", "\"" + std::string(8192, 'e') + "\""}));
             if (one_in(c, 3)) add_line(r, c, "ETag: " + c.now.etag);
             return true;
         }},
        {"B07", "etag_odd", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r) || c.now.etag.empty()) return false;
             set_field(r.head, "ETag",
                       pick(c, {"\"\"", "\"a,b\"", "\"\xe9\xff\"", "\"W/\"", "\"\\\"",
                                "\"" + std::string(200, '!') + "\""}));
             return true;
         }},
        {"B08", "precondition_failed", harm::end,
         [](reply& r, context const& c) {
             return has_object(r) && answer(r, 412, "Precondition Failed", validators(c.now));
         }},
        {"B08", "not_modified", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             r = {.head = head_of(304, "Not Modified", validators(c.now))};
             return true;
         }},
    };
    return all;
}

// Where a body ends.
inline std::span<server_fault const> of_framing() {
    static constexpr server_fault all[] = {
        {"C01", "chunked", harm::none,
         [](reply& r, context const& c) { return has_object(r) && send_chunked(r, c); }},
        {"C02", "chunks_too_few", harm::retry,
         [](reply& r, context const& c) {
             // Of a whole object nothing else would tell that some is missing.
             if (!is(r, 206)) return false;
             r.body.resize(index_below(c, r.body.size()));
             return send_chunked(r, c);
         }},
        {"C02", "chunks_too_many", harm::none,
         [](reply& r, context const& c) {
             if (!is(r, 206)) return false;
             r.body += letters(c, 1 + index_below(c, 100));
             return send_chunked(r, c) && doubt(r);
         }},
        {"C03", "chunked_with_length", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             std::uint64_t const n = r.body.size();
             send_chunked(r, c);
             add_line(r, c,
                      "Content-Length: " + pick(c, {text(n), text(n / 2), text(n * 2), "0",
                                                    text(r.body.size()), "99999999999"}));
             return doubt(r);
         }},
        {"C04", "two_lengths", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             std::string const right = text(r.body.size());
             std::string const wrong = text(other_number(c, r.body.size()));
             if (one_in(c, 2))
                 add_line(r, c, "Content-Length: " + wrong);
             else
                 set_field(r.head, "Content-Length",
                           one_in(c, 2) ? right + ", " + wrong : wrong + "," + right);
             return doubt(r);
         }},
        {"C05", "length_twice", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             std::string const n = text(r.body.size());
             if (one_in(c, 2))
                 add_line(r, c, "Content-Length: " + n);
             else
                 set_field(r.head, "Content-Length", n + pick(c, {", ", ",", " , "}) + n);
             return true;
         }},
        {"C06", "length_misspelt", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             std::string const n = text(r.body.size());
             set_field(r.head, "Content-Length",
                       pick(c, {"-" + n, "+" + n, n + "badness", "0x" + hex(r.body.size()), "crap",
                                "", n + " " + n, "\r-" + n, "\"" + n + "\"", n + ";", n + ",",
                                "," + n, n + ".0", "1e3", "-1", n + " bytes"}));
             return doubt(r);
         }},
        {"C07", "length_with_zeros", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             set_field(r.head, "Content-Length",
                       std::string(1 + index_below(c, 1000), '0') + text(r.body.size()));
             return true;
         }},
        {"C08", "coding_unknown", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             send_chunked(r, c);
             say_chunked(r, pick(c, {"chunked, identity", "identity, chunked", "chunked, chunked",
                                     "chunkedchunked", "gzip, chunked", "chunked, gzip", "x", "",
                                     "identity", "chunked;q=1", "\"chunked\"", "chunke", "xchunked",
                                     "chunked,"}));
             return doubt(r);
         }},
        {"C08", "coding_twice", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             send_chunked(r, c);
             add_line(r, c, "Transfer-Encoding: " + pick(c, {"chunked", "identity", "gzip"}));
             return doubt(r);
         }},
        {"C08", "coding_of_http10", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             send_chunked(r, c);
             r.head.replace(0, 8, "HTTP/1.0");
             set_field(r.head, "Connection", "keep-alive");
             return doubt(r);
         }},
        {"C08", "coding_spelt_loosely", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             send_chunked(r, c);
             say_chunked(r, pick(c, {"chunked\t", "\tchunked", "CHUNKED", "Chunked", " chunked "}));
             return true;
         }},
        {"C09", "chunk_size_misspelt", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             send_with_chunk_size(r, c, [&](std::string const& size) {
                 return pick(c, {"12345678123456789", "-1", "-" + size, "+" + size, "0x" + size,
                                 " " + size, size + " ", size + "\n", "g", "", "fffffffffffffffff",
                                 "0\n" + size, "\"" + size + "\"", size + "\r", "\t" + size});
             });
             return doubt(r);
         }},
        {"C09", "chunk_without_end", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r) || r.body.empty()) return false;
             std::string const bytes = r.body;
             say_chunked(r);
             r.body = hex(bytes.size()) + "\r\n" + bytes +
                      pick(c, {"", "\n", "\r", "x\r\n", "\n\r"}) + "0\r\n\r\n";
             return doubt(r);
         }},
        {"C10", "chunk_extension_long", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             return send_with_chunk_size(r, c, [&](std::string const& size) {
                 return size + ";" + letters(c, between(c, 5'000, 9'000));
             });
         }},
        {"C10", "chunk_extensions", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             return send_with_chunk_size(r, c, [&](std::string const& size) {
                 return size + pick(c, {";a", ";a=b", ";a=\"b c\"", ";a=\"b;\\\"c\"", ";", ";;",
                                        ";a=\"never closed"});
             });
         }},
        {"C10", "chunks_of_one", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             std::size_t const ones = std::min<std::size_t>(r.body.size(), 2'000);
             std::string const extension = pick(c, {"", ";a=b"});
             std::string chunks;
             for (std::size_t i = 0; i != ones; ++i)
                 chunks += "1" + extension + "\r\n" + r.body[i] + "\r\n";
             r.body.erase(0, ones);
             send_chunked(r, c);
             r.body.insert(0, chunks);
             return true;
         }},
        {"C11", "last_chunk_missing", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             send_chunked(r, c, pick(c, {"", "0", "0\r", "0\r\n", "0\r\nTrailer: x\r\n"}));
             return end_with(r, one_in(c, 2) ? ending::fin : ending::rst);
         }},
        {"C11", "chunked_and_cut", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             send_chunked(r, c);
             return cut_in_body(r, c, one_in(c, 2) ? ending::fin : ending::rst);
         }},
        {"C12", "trailers", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             return send_chunked(r, c,
                                 "0\r\nContent-Range: bytes 0-0/1\r\nContent-Length: 5\r\n"
                                 "Transfer-Encoding: x\r\nETag: \"trailer\"\r\nConnection: x\r\n" +
                                     pick(c, {"", "X:\r\n", "X: caf\xe9\r\n"}) + "\r\n");
         }},
        {"C12", "trailer_misspelt", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             using namespace std::string_view_literals;
             send_chunked(r, c,
                          "0\r\n" +
                              pick(c, {"X: \0"sv, "X\0: y"sv, "no colon"sv, " X: y"sv, "X : y"sv,
                                       ": y"sv, "X: y\n\r\n"sv, "X: a\rb"sv, "X: \x7f"sv}) +
                              "\r\n\r\n");
             return doubt(r);
         }},
        {"C12", "trailers_too_long", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             std::string trailers;
             if (one_in(c, 2))
                 trailers = "X: " + letters(c, between(c, 9'000, 12'000)) + "\r\n";
             else
                 for (std::uint64_t i = between(c, 65, 100); i-- != 0;) trailers += "X: y\r\n";
             return send_chunked(r, c, "0\r\n" + trailers + "\r\n");
         }},
        {"C13", "coded", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             // Whoever takes them as they are has the wrong bytes.
             for (char& byte : r.body) byte = static_cast<char>(~static_cast<unsigned char>(byte));
             set_field(r.head, "Content-Encoding",
                       pick(c, {"gzip", "br", "deflate", "x-gzip", "GZIP", "gzip, identity"}));
             return true;
         }},
        {"C14", "no_content_with_body", harm::end,
         [](reply& r, context const&) {
             if (!has_object(r)) return false;
             set_first_line(r, "HTTP/1.1 204 No Content");
             return doubt(r);
         }},
        {"C15", "until_close", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             drop_field(r.head, "Content-Length");
             if (one_in(c, 2))
                 r.head.replace(0, 8, "HTTP/1.0");
             else
                 set_field(r.head, "Connection", "close");
             return end_with(r, ending::fin);
         }},
        {"C15", "until_close_too_early", harm::retry,
         [](reply& r, context const& c) {
             // Of a whole object nothing else would tell that some is missing.
             if (!is(r, 206)) return false;
             drop_field(r.head, "Content-Length");
             set_field(r.head, "Connection", "close");
             return cut_in_body(r, c, ending::fin);
         }},
    };
    return all;
}

// What a head is made of.
inline std::span<server_fault const> of_heads() {
    static constexpr server_fault all[] = {
        {"D01", "bad_status_line", harm::retry,
         [](reply& r, context const& c) {
             std::string const s = status_of(r);
             std::string const many(100, '1');
             set_first_line(r, pick(c, {"HTP/1.1 " + s,
                                        "HTTP/1.1  " + s,
                                        "HTTP/1.1\t" + s + " OK",
                                        "HTTP/1.1",
                                        "HTTP/1.1 ",
                                        "HTTP/01.1 " + s + " OK",
                                        "HTTP/1.10 " + s + " OK",
                                        "HTTP/1.1." + many + " " + s + " OK",
                                        "HTTP/1.1 2 OK",
                                        "HTTP/1.1 " + s + "0 OK",
                                        "HTTP/1.1 -20 OK",
                                        "HTTP/1.1 +" + s + " OK",
                                        "HTTP/1.1 " + s + "X",
                                        "HTTP/1.1 " + many + " OK",
                                        "HTTP/1.1 OK",
                                        "HTTP 1.1 " + s + " OK",
                                        "http/1.1 " + s + " OK",
                                        " HTTP/1.1 " + s + " OK",
                                        "ICY " + s + " OK",
                                        "HTTP/1.1" + s + " OK",
                                        "HTTP/1,1 " + s + " OK",
                                        "HTTP/+1.1 " + s + " OK"}));
             return doubt(r);
         }},
        {"D02", "odd_reason", harm::none,
         [](reply& r, context const& c) {
             std::string const start = "HTTP/1.1 " + status_of(r);
             set_first_line(r, start + pick(c, {"", " ", " \xc3\xa9tat\xe9", " \t", " 404",
                                                " HTTP/1.1 404 Not Found", " a: b",
                                                " " + std::string(1000, 'r')}));
             return true;
         }},
        {"D03", "other_version", harm::retry,
         [](reply& r, context const& c) {
             using namespace std::string_view_literals;
             if (one_in(c, 4)) {
                 // The preface and the first frame of HTTP/2.
                 r = {.head = pick(c, {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"sv,
                                       "\0\0\6\4\0\0\0\0\0\0\3\0\0\0d"sv})};
                 return doubt(r);
             }
             set_first_line(r, pick(c, {"HTTP/1.2 ", "HTTP/0.9 ", "HTTP/2.0 ", "HTTP/5.6 ",
                                        "HTTP/2 ", "HTTP/3 ", "HTTP/9.9 ", "HTTP/0.0 "}) +
                                   status_of(r) + " OK");
             return doubt(r);
         }},
        {"D04", "no_head", harm::retry,
         [](reply& r, context const& c) {
             // It could begin as a head does, and go on so.
             if (!has_object(r) || r.body.empty() || r.body[0] == 'H' || r.body[0] == '\r')
                 return false;
             r.head.clear();
             if (one_in(c, 2)) r.end = ending::fin;
             return doubt(r);
         }},
        {"D05", "bare_cr", harm::retry,
         [](reply& r, context const& c) {
             if (one_in(c, 3))
                 set_first_line(r,
                                "HTTP/1.1 " + status_of(r) + pick(c, {" O\rK", "\rOK", " OK\r"}));
             else
                 add_line(r, c,
                          pick(c, {"Foo: 1\rContent-Length: 0", "F\roo: 1", "Foo\r: 1", "Foo:\r1",
                                   "Foo: 1\r", "\rFoo: 1", "Foo: 1\r\r"}));
             return doubt(r);
         }},
        {"D06", "bare_lf", harm::retry,
         [](reply& r, context const& c) {
             switch (c.below(3)) {
             case 0: r.head = head_from(lines_of(r.head), "\n"); break;
             case 1: r.head.erase(r.head.size() - 2, 1); break;
             default: add_line(r, c, "Foo: 1\nContent-Length: 0"); break;
             }
             return doubt(r);
         }},
        {"D07", "control_character", harm::retry,
         [](reply& r, context const& c) {
             // Any but HTAB, LF and CR.
             static constexpr std::string_view bad{"\0\1\2\3\4\5\6\7\b\v\f\16\17\33\37\x7f", 16};
             std::string const one(1, bad[index_below(c, bad.size())]);
             if (one_in(c, 3))
                 set_first_line(r, "HTTP/1.1 " + status_of(r) + " O" + one + "K");
             else
                 add_line(r, c,
                          pick(c, {"Foo: 1" + one, "F" + one + "oo: 1", "Foo: " + one,
                                   "Foo: 1" + one + "2", one + "Foo: 1", "Foo" + one + ": 1"}));
             return doubt(r);
         }},
        {"D08", "folded_field", harm::retry,
         [](reply& r, context const& c) {
             add_line(r, c,
                      pick(c, {"Foo: 1\r\n 2", "Foo:\r\n\t1", "Foo: 1\r\n  ",
                               "Foo: 1\r\n Content-Length: 5", "Foo: 1\r\n\t2\r\n 3"}));
             return true;
         }},
        {"D08", "folded_length", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             std::string const n = text(r.body.size());
             switch (c.below(3)) {
             case 0: set_field(r.head, "Content-Length", n + "\r\n 0"); break;
             case 1: set_field(r.head, "Content-Length", "\r\n " + n); break;
             default: r.head.insert(r.head.find("\r\n") + 2, " Content-Length: 5\r\n"); break;
             }
             return doubt(r);
         }},
        {"D09", "bad_field_line", harm::retry,
         [](reply& r, context const& c) {
             add_line(r, c,
                      pick(c, {"Content-Length : 5", "Content Length: 5", ": x", "no colon",
                               "Foo\t: 1", "F(oo): 1", "\"Foo\": 1", "Foo", "F\xe9: 1", ":",
                               "Foo bar", "Foo;: 1", "=: 1"}));
             return doubt(r);
         }},
        {"D10", "long_line", harm::retry,
         [](reply& r, context const& c) {
             add_line(r, c, "Foo: " + std::string(between(c, 66'000, 100'000), 'x'));
             return true;
         }},
        {"D10", "too_many_fields", harm::retry,
         [](reply& r, context const& c) {
             std::string fields;
             for (std::uint64_t i = between(c, 257, 400); i-- != 0;) fields += "\r\nFoo: 1";
             add_line(r, c, std::string_view{fields}.substr(2));
             return true;
         }},
        {"D10", "large_head", harm::retry,
         [](reply& r, context const& c) {
             std::string const field = "\r\nFoo: " + std::string(between(c, 330, 600), 'x');
             std::string fields;
             for (int i = 0; i != 200; ++i) fields += field;
             add_line(r, c, std::string_view{fields}.substr(2));
             return true;
         }},
        {"D10", "endless_head", harm::retry,
         [](reply& r, context const& c) {
             r.head.erase(r.head.size() - 2);
             r.body.clear();
             if (one_in(c, 2)) {
                 r.head += std::string(between(c, 66'000, 90'000), 'x');
             } else {
                 std::string const field = letters(c, 400) + ": x\r\n";
                 for (int i = 0; i != 170; ++i) r.head += field;
             }
             return end_with(r, ending::stall);
         }},
        {"D10", "slow_head", harm::retry,
         [](reply& r, context const& c) {
             // A byte a second, for longer than anybody waits, or not so long.
             std::size_t const slow = index_below(c, std::min<std::size_t>(r.head.size(), 100));
             for (std::size_t i = 1; i <= slow; ++i)
                 r.silences.emplace_back(r.before.size() + i, std::chrono::seconds{1});
             return true;
         }},
        {"D11", "head_byte_by_byte", harm::none,
         [](reply& r, context const& c) {
             std::chrono::microseconds const between_bytes{one_in(c, 2) ? 0 : 500};
             for (std::size_t i = 1; i <= r.head.size(); ++i)
                 r.silences.emplace_back(i, between_bytes);
             return true;
         }},
        {"D11", "head_and_body_at_once", harm::none,
         [](reply& r, context const& c) {
             if (r.body.empty()) return false;
             std::size_t const n = one_in(c, 2) ? r.body.size() : 1 + index_below(c, r.body.size());
             r.head += r.body.substr(0, n);
             r.body.erase(0, n);
             return true;
         }},
        {"D12", "many_folds", harm::retry,
         [](reply& r, context const& c) {
             std::string folds = "a: ";
             for (std::uint64_t i = between(c, 1'000, 20'000); i-- != 0;) folds += "\r\n ";
             add_line(r, c, folds);
             return true;
         }},
        {"D13", "empty_lines_first", harm::none,
         [](reply& r, context const& c) {
             r.before = pick(c, {"\r\n", "\r\n\r\n"});
             return true;
         }},
        {"D13", "many_empty_lines_first", harm::retry,
         [](reply& r, context const& c) {
             for (std::uint64_t i = between(c, 3, 200); i-- != 0;) r.before += "\r\n";
             return doubt(r);
         }},
        {"D13", "junk_behind_close", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             set_field(r.head, "Connection", "close");
             r.body +=
                 pick(c, {"junk", "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
             r.doubtful = true;
             return end_with(r, ending::fin);
         }},
        {"D14", "reworded_head", harm::none,
         [](reply& r, context const& c) {
             r.head = reworded(r.head, c);
             return true;
         }},
    };
    return all;
}

// What a server says instead, or before.
inline std::span<server_fault const> of_statuses() {
    static constexpr server_fault all[] = {
        {"E01", "interim", harm::none,
         [](reply& r, context const& c) {
             for (std::uint64_t i = between(c, 1, 4); i-- != 0;) {
                 switch (c.below(3)) {
                 case 0: r.before += interim(100); break;
                 case 1: r.before += interim(102); break;
                 default: r.before += interim(103, "Link: </x.css>; rel=preload\r\n"); break;
                 }
             }
             return true;
         }},
        {"E02", "interim_flood", harm::retry,
         [](reply& r, context const& c) {
             for (std::uint64_t i = between(c, 17, 40); i-- != 0;) r.before += interim(100);
             return true;
         }},
        {"E02", "interim_bomb", harm::retry,
         [](reply& r, context const& c) {
             std::string const link =
                 "Link: <" + std::string(between(c, 34'000, 60'000), 'x') + ">\r\n";
             r.before = interim(103, link) + interim(103, link);
             return true;
         }},
        {"E03", "interim_and_close", harm::retry,
         [](reply& r, context const& c) {
             r.before = interim(one_in(c, 2) ? 100 : 103);
             return cut(r, r.before.size(), one_in(c, 2) ? ending::fin : ending::rst);
         }},
        {"E03", "interim_with_fields", harm::none,
         [](reply& r, context const&) {
             r.before = interim(103, "Content-Length: 5\r\nContent-Range: bytes 0-4/5\r\n"
                                     "Transfer-Encoding: chunked\r\nConnection: close\r\n"
                                     "ETag: \"interim\"\r\nContent-Encoding: gzip\r\n");
             return true;
         }},
        {"E04", "switching_protocols", harm::retry,
         [](reply& r, context const& c) {
             r.before = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " +
                        pick(c, {"h2c", "websocket", "TLS/1.2"}) + "\r\n\r\n";
             return doubt(r);
         }},
        {"E05", "redirect_to_self", harm::retry,
         [](reply& r, context const& c) { return redirect_to(r, c, std::string{c.self}); }},
        {"E05", "redirect_ever_new", harm::retry,
         [](reply& r, context const& c) {
             bool const query = c.self.find('?') != std::string_view::npos;
             return redirect_to(
                 r, c, std::string{c.self} + (query ? "&n=" : "?n=") + text(c.below(1U << 30U)));
         }},
        {"E06", "redirect_to_plain", harm::end,
         [](reply& r, context const& c) {
             if (c.self.rfind("https://", 0) != 0) return false;
             return redirect_to(r, c, "http" + std::string{c.self.substr(5)});
         }},
        {"E07", "redirect_elsewhere", harm::retry,
         [](reply& r, context const& c) {
             bool const to_plain =
                 c.self.rfind("https:", 0) == 0 && c.elsewhere.rfind("https:", 0) != 0;
             return !c.elsewhere.empty() && !to_plain &&
                    redirect_to(r, c, std::string{c.elsewhere});
         }},
        {"E08", "redirect_relative", harm::retry,
         [](reply& r, context const& c) { return redirect_to(r, c, relative_to_self(c)); }},
        {"E08", "redirect_misspelt", harm::end,
         [](reply& r, context const& c) {
             auto const [authority, path] = split(c.self);
             redirect_to(
                 r, c,
                 pick(c, {"", "http://user:password@" + authority + path,
                          "//user@" + authority + path, "file:///etc/passwd", "javascript:alert(1)",
                          "ftp://" + authority + path, "http://", "http:///x", "http://[::1" + path,
                          "http://" + authority + ":99999" + path, "/a\rb", "/a\nb", "/a\x7f",
                          "/" + std::string(between(c, 66'000, 90'000), 'x')}));
             switch (c.below(4)) {
             case 0: drop_field(r.head, "Location"); break;
             case 1:
                 set_field(r.head, "Location", c.self);
                 add_line(r, c, "Location: /other");
                 break;
             default: break;
             }
             return true;
         }},
        {"E09", "url_expired", harm::end,
         [](reply& r, context const& c) {
             switch (c.below(3)) {
             case 0: return answer(r, 401, "Unauthorized", "WWW-Authenticate: Basic realm=x\r\n");
             case 1: return answer(r, 403, "Forbidden", {}, page(100));
             default: return answer(r, 410, "Gone", {}, page(r.body.size()));
             }
         }},
        // E10 takes two replies: a redirect, and later a 404 from there.
        {"E11", "busy", harm::retry,
         [](reply& r, context const& c) {
             return answer(r, one_in(c, 2) ? 429 : 503, "Busy",
                           one_in(c, 3) ? "" : "Retry-After: " + text(c.below(4)) + "\r\n",
                           one_in(c, 2) ? std::string{} : page(100));
         }},
        {"E12", "odd_retry_after", harm::retry,
         [](reply& r, context const& c) {
             // Every reply is of Thu, 01 Feb 2024 00:00:00 GMT.
             std::string field =
                 "Retry-After: " +
                 pick(c, {"Thu, 01 Feb 2024 00:00:05 GMT", "Wed, 31 Jan 2024 23:59:59 GMT",
                          "Thursday, 01-Feb-24 00:01:30 GMT", "Thu Feb  1 00:00:30 2024",
                          "Thu, 01 Feb 2024 00:00:05 CET", "soon", "-5", "1.5", "", "5 s", "+1",
                          "0x5", "00000000000000000003"}) +
                 "\r\n";
             if (one_in(c, 5)) field += "Retry-After: 7\r\n";
             return answer(r, one_in(c, 2) ? 429 : 503, "Busy", field);
         }},
        {"E13", "endless_retry_after", harm::end,
         [](reply& r, context const& c) {
             return answer(
                 r, one_in(c, 2) ? 429 : 503, "Busy",
                 "Retry-After: " +
                     pick(c, {"9223372037", "99999999999999999999", "86400", "18446744073709551616",
                              "4294967297", "Fri, 31 Dec 9999 23:59:59 GMT"}) +
                     "\r\n");
         }},
        {"E14", "error_page", harm::retry,
         [](reply& r, context const& c) {
             static constexpr std::array<int, 4> statuses{500, 502, 504, 507};
             // Of just the right length, for those who look at nothing else.
             std::size_t const size = one_in(c, 4) ? index_below(c, 1'000) : r.body.size();
             std::string fields;
             if (auto const b = part_of(r, c); b && one_in(c, 3))
                 fields = "Content-Range: " + range_text(*b, text(c.now.bytes.size())) + "\r\n";
             return answer(r, statuses[index_below(c, statuses.size())], "Oops", fields,
                           page(size));
         }},
        {"E15", "excuse_as_200", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             r.lies = may_be_first(c);
             return answer(r, 200, "OK", "Content-Type: application/json\r\n", R"({"code":403})");
         }},
        {"E15", "portal_page", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             // As long as the object, and nothing to tell it by.
             r.lies = true;
             return answer(r, 200, "OK", "Content-Type: text/html\r\n", page(c.now.bytes.size()));
         }},
        {"E16", "no_object", harm::end,
         [](reply& r, context const& c) {
             static constexpr std::array<int, 8> statuses{400, 404, 405, 406, 407, 414, 418, 451};
             std::size_t const size = one_in(c, 2) ? r.body.size() : 100;
             return answer(r, statuses[index_below(c, statuses.size())], "No", {}, page(size));
         }},
        {"E16", "odd_status", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             // The right bytes, but who is to say what they are?
             set_first_line(r, "HTTP/1.1 " +
                                   pick(c, {"201", "202", "203", "205", "226", "299", "300", "305",
                                            "306", "399", "600", "999", "000"}) +
                                   " Odd");
             return true;
         }},
        {"E16", "part_unasked", harm::end,
         [](reply& r, context const& c) {
             if (!is(r, 200) || c.request.range() || r.body.empty()) return false;
             std::uint64_t const last = c.now.bytes.size() - 1;
             return send_part(r, c.now, {0, one_in(c, 2) ? last : c.below(last + 1)});
         }},
    };
    return all;
}

// What becomes of the connection, and when.
inline std::span<server_fault const> of_connections() {
    static constexpr server_fault all[] = {
        {"F01", "closed_before_reply", harm::retry,
         [](reply& r, context const&) { return cut(r, 0, ending::fin); }},
        {"F01", "reset_before_reply", harm::retry,
         [](reply& r, context const&) { return cut(r, 0, ending::rst); }},
        {"F01", "closed_in_head", harm::retry,
         [](reply& r, context const& c) { return cut_in_head(r, c, ending::fin); }},
        {"F01", "reset_in_head", harm::retry,
         [](reply& r, context const& c) { return cut_in_head(r, c, ending::rst); }},
        {"F01", "closed_in_body", harm::retry,
         [](reply& r, context const& c) { return cut_in_body(r, c, ending::fin); }},
        {"F01", "reset_in_body", harm::retry,
         [](reply& r, context const& c) { return cut_in_body(r, c, ending::rst); }},
        {"F02", "closed_behind_reply", harm::none,
         [](reply& r, context const&) { return end_with(r, ending::fin); }},
        {"F02", "reset_behind_reply", harm::none,
         [](reply& r, context const&) { return end_with(r, ending::rst); }},
        {"F03", "second_reply", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             // Whoever takes it for the next one's has the wrong bytes.
             std::string wrong = r.body;
             for (char& byte : wrong) byte = static_cast<char>(~static_cast<unsigned char>(byte));
             r.body += one_in(c, 2) ? r.head + wrong : honest_416(c.now);
             return doubt(r);
         }},
        {"F04", "close_said_and_kept", harm::none,
         [](reply& r, context const& c) {
             set_field(r.head, "Connection", pick(c, {"close", "Close", "x, close", "close, x"}));
             return doubt(r);
         }},
        {"F04", "keep_alive_said_and_closed", harm::none,
         [](reply& r, context const&) {
             set_field(r.head, "Connection", "keep-alive");
             set_field(r.head, "Keep-Alive", "timeout=60, max=100");
             return end_with(r, ending::fin);
         }},
        {"F04", "http10_kept", harm::none,
         [](reply& r, context const&) {
             r.head.replace(0, 8, "HTTP/1.0");
             return doubt(r);
         }},
        {"F04", "http10_keep_alive", harm::none,
         [](reply& r, context const& c) {
             r.head.replace(0, 8, "HTTP/1.0");
             set_field(r.head, "Connection", pick(c, {"keep-alive", "Keep-Alive"}));
             return true;
         }},
        {"F05", "stall_before_reply", harm::retry,
         [](reply& r, context const&) { return cut(r, 0, ending::stall); }},
        {"F05", "stall_in_head", harm::retry,
         [](reply& r, context const& c) { return cut_in_head(r, c, ending::stall); }},
        {"F05", "stall_in_body", harm::retry,
         [](reply& r, context const& c) { return cut_in_body(r, c, ending::stall); }},
        {"F05", "stall_near_the_end", harm::retry,
         [](reply& r, context const& c) {
             if (r.body.empty()) return false;
             std::size_t const left = 1 + index_below(c, 1 + r.body.size() / 100);
             return cut(r, r.size() - std::min(left, r.body.size()), ending::stall);
         }},
        {"F05", "trickle", harm::retry,
         [](reply& r, context const& c) {
             // From a millisecond to 100 s each.
             std::vector<std::size_t> at(1 + index_below(c, 5));
             for (std::size_t& one : at) one = index_below(c, r.size());
             std::sort(at.begin(), at.end());
             for (std::size_t const one : at) {
                 static constexpr std::array<int, 6> most{1, 10, 100, 1'000, 10'000, 100'000};
                 int const ms = most[index_below(c, most.size())];
                 r.silences.emplace_back(
                     one, std::chrono::milliseconds{between(c, 1, static_cast<unsigned>(ms))});
             }
             return true;
         }},
        {"F05", "byte_by_byte", harm::none,
         [](reply& r, context const&) {
             // Some at a time of what is longer: each piece costs time.
             r.piece = 1 + r.size() / 500;
             return true;
         }},
    };
    return all;
}

// As TLS may end.
inline std::span<server_fault const> of_truncation() {
    static constexpr server_fault all[] = {
        {"G01", "truncated_in_head", harm::retry,
         [](reply& r, context const& c) { return cut_in_head(r, c, ending::truncated); }},
        {"G01", "truncated_in_body", harm::retry,
         [](reply& r, context const& c) { return cut_in_body(r, c, ending::truncated); }},
        {"G01", "truncated_until_close", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             drop_field(r.head, "Content-Length");
             set_field(r.head, "Connection", "close");
             if (one_in(c, 2)) cut_in_body(r, c, ending::truncated);
             return end_with(r, ending::truncated);
         }},
        {"G02", "truncated_behind_length", harm::none,
         [](reply& r, context const&) { return end_with(r, ending::truncated); }},
        {"G08", "ended_by_alert", harm::retry,
         [](reply& r, context const& c) {
             return cut(r, index_below(c, r.size()), ending::truncated);
         }},
    };
    return all;
}

// Numbers at their limits, and digests.
inline std::span<server_fault const> of_numbers() {
    static constexpr server_fault all[] = {
        {"H01", "empty_as_200", harm::none,
         [](reply& r, context const& c) {
             if (!is(r, 416) || !c.now.bytes.empty()) return false;
             r = {.head = honest_200_head(c.now)};
             return true;
         }},
        {"H01", "length_zero", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r) || c.now.bytes.empty()) return false;
             r = {.head = honest_200_head(c.now)};
             set_length(r, 0);
             r.lies = may_be_first(c);
             return true;
         }},
        {"H01", "size_zero", harm::end,
         [](reply& r, context const& c) {
             if (!c.request.range() || c.now.bytes.empty()) return false;
             r.lies = may_be_first(c);
             return answer(r, 416, "Range Not Satisfiable", "Content-Range: bytes */0\r\n");
         }},
        {"H02", "huge_total", harm::end,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             set_range(
                 r, range_text(*b, pick(c, {"2147483647", "2147483648", "4294967295", "4294967296",
                                            "4294967297", "5368709120", "9223372036854775807",
                                            "9223372036854775808", "18446744073709551615"})));
             return true;
         }},
        {"H03", "overflowing_length", harm::retry,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             set_field(r.head, "Content-Length",
                       pick(c, {"9223372036854775808", "18446744073709551615",
                                "18446744073709551616", "1000000000000000000000000000000"}));
             return doubt(r);
         }},
        {"H03", "largest_length", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             set_field(r.head, "Content-Length",
                       pick(c, {"9223372036854775807", "9223372036854775806"}));
             return doubt(r);
         }},
        {"H03", "overflowing_range", harm::retry,
         [](reply& r, context const& c) {
             auto const b = part_of(r, c);
             if (!b) return false;
             std::string const huge =
                 pick(c, {"18446744073709551616", "1000000000000000000000000000000"});
             std::string const f = text(b->first);
             std::string const l = text(b->last);
             set_range(
                 r, pick(c, {"bytes " + f + "-" + l + "/" + huge, "bytes " + f + "-" + huge + "/*",
                             "bytes " + f + "-" + huge + "/" + huge,
                             "bytes " + huge + "-" + huge + "/*"}));
             return true;
         }},
        {"L04", "digests_of_the_part", harm::none,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             add_line(r, c, "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==");
             add_line(r, c, "x-amz-checksum-sha256: " + std::string(43, 'A') + "=");
             add_line(r, c, "Content-Digest: sha-256=:" + std::string(43, 'A') + "=:");
             add_line(r, c, "Digest: SHA-256=" + std::string(43, 'A') + "=");
             return true;
         }},
        {"L04", "digest_wrong", harm::end,
         [](reply& r, context const& c) {
             if (!has_object(r)) return false;
             add_line(r, c, "Repr-Digest: sha-256=:" + std::string(43, 'A') + "=:");
             return true;
         }},
    };
    return all;
}

} // namespace detail::faults

inline std::span<server_fault const> server_faults() {
    static std::vector<server_fault> const all = [] {
        using namespace detail::faults;
        std::vector<server_fault> to;
        for (auto const chapter : {of_ranges(), of_identity(), of_framing(), of_heads(),
                                   of_statuses(), of_connections(), of_truncation(), of_numbers()})
            to.insert(to.end(), chapter.begin(), chapter.end());
        return to;
    }();
    return all;
}

inline server_fault const* find_server_fault(std::string_view name) {
    auto const all = server_faults();
    auto const found =
        std::find_if(all.begin(), all.end(), [&](server_fault const& f) { return f.name == name; });
    return found == all.end() ? nullptr : &*found;
}

} // namespace cleave::testing
