// SPDX-License-Identifier: BSL-1.0
//
// Replies read by cleave, by Node's old http_parser and by Boost.Beast, side by side: whatever
// cleave accepts both accept with the same meaning, or the ledger below says who differs, when and
// why. A difference that is not in the ledger ends the process. That cleave refuses more than they
// do is on purpose, and nothing to be told here.
//
// The input: what a server sends. Split at nothing: that splits do not matter, `response_head` and
// `body` show.

#include "input.hpp"

#include <cleave/http/body.hpp>
#include <cleave/http/response_head.hpp>

#include <boost/beast/http/basic_parser.hpp>

#include <http_parser.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using cleave::body_framing;
using cleave_fuzz::require;
using cleave_fuzz::same_name;

// ---- what a reader makes of a reply ---------------------------------------------------------

struct named {
    std::string_view name;
    std::string value;
};
enum class body_state { refused, more, done };

struct reading {
    bool accepts = false; ///< the head, to its last byte and not before
    int minor = 0;
    int status = 0;
    std::vector<named> fields = {};
    body_framing framing = {};
    bool keeps = false;
    body_state body = body_state::more;
    std::string data = {};
    std::size_t consumed = 0; ///< of the body
};

/// The final head, of `head.size()` bytes with all interim ones, and how it is framed; none where
/// cleave refuses either.
struct accepted {
    std::string_view head;
    reading is;
};
std::optional<accepted> read_with_cleave(std::string_view text) {
    using state = cleave::response_head_parser::progress::state;
    cleave::response_head_parser parser;
    auto const read = parser.feed(text);
    if (read.is != state::complete) return std::nullopt;
    cleave::response_head const& head = parser.head();
    auto const framing = cleave::read_framing(head);
    if (framing.bad) return std::nullopt;

    accepted to{text.substr(0, read.consumed), {.accepts = true}};
    to.is.minor = head.minor_version();
    to.is.status = head.status();
    for (cleave::field const& f : head.fields())
        // The parser's own memory goes: the name stands in the text as well.
        to.is.fields.push_back({f.name, std::string{f.value}});
    std::size_t at = 0;
    for (named& f : to.is.fields) {
        at = to.head.find(f.name, at);
        f.name = to.head.substr(at, f.name.size());
    }
    to.is.framing = framing.framing;
    to.is.keeps = cleave::keeps_connection(head);

    std::string_view rest = text.substr(read.consumed);
    reading& is = to.is;
    switch (framing.framing.is) {
    case body_framing::kind::none: is.body = body_state::done; break;
    case body_framing::kind::length:
        is.data = rest.substr(0, static_cast<std::size_t>(
                                     std::min<std::uint64_t>(framing.framing.length, rest.size())));
        is.consumed = is.data.size();
        if (is.consumed == framing.framing.length) is.body = body_state::done;
        break;
    case body_framing::kind::until_close:
        is.data = rest;
        is.consumed = rest.size();
        break;
    case body_framing::kind::chunked: {
        cleave::chunked_decoder decoder;
        while (!rest.empty() && is.body == body_state::more) {
            auto const p = decoder.decode(rest);
            rest.remove_prefix(p.consumed);
            is.consumed += p.consumed;
            is.data += p.data;
            if (p.is == cleave::chunked_decoder::state::done) is.body = body_state::done;
            if (p.is == cleave::chunked_decoder::state::failed) is.body = body_state::refused;
        }
    }
    }
    return to;
}

bool has_no_body(int status) { return status / 100 == 1 || status == 204 || status == 304; }

/// Of a peer, from what it knows when a head is complete.
body_framing framing_of(bool chunked, std::optional<std::uint64_t> length) {
    using kind = body_framing::kind;
    if (chunked) return {kind::chunked, 0};
    if (length) return {kind::length, *length};
    return {kind::until_close, 0};
}

class node_reader {
  public:
    /// The head and what follows it; the head is cleave's idea of it.
    static reading read(std::string_view head, std::string_view rest) {
        node_reader r;
        // Interim replies are messages of their own. The last byte is held back, to see that it is
        // what completes the head.
        for (std::string_view left = head.substr(0, head.size() - 1);;) {
            std::size_t const n = r.feed(left);
            bool const interim = r.complete_ && r.parser_.status_code / 100 == 1;
            if (!interim) {
                if (r.failed_ || n != left.size() || r.head_complete_) return r.is_;
                break;
            }
            left.remove_prefix(n);
            r.begin();
        }
        if (r.feed(head.substr(head.size() - 1)) != 1 || r.failed_ || !r.head_complete_)
            return r.is_;
        reading& is = r.is_;
        is.accepts = true;
        if (r.complete_) {
            is.body = body_state::done;
            return is;
        }
        is.consumed = r.feed(rest);
        if (r.complete_)
            is.body = body_state::done;
        else if (r.failed_)
            is.body = body_state::refused;
        return is;
    }

  private:
    node_reader() { begin(); }
    void begin() {
        http_parser_init(&parser_, HTTP_RESPONSE);
        parser_.data = this;
        is_ = {};
        head_complete_ = complete_ = failed_ = in_value_ = false;
    }
    static node_reader& of(http_parser* p) { return *static_cast<node_reader*>(p->data); }

    std::size_t feed(std::string_view bytes) {
        if (bytes.empty()) return 0; // which would be the end of the connection
        static http_parser_settings const settings = [] {
            http_parser_settings s;
            http_parser_settings_init(&s);
            s.on_header_field = [](http_parser* p, char const* at, std::size_t n) {
                of(p).name({at, n});
                return 0;
            };
            s.on_header_value = [](http_parser* p, char const* at, std::size_t n) {
                of(p).value({at, n});
                return 0;
            };
            s.on_headers_complete = [](http_parser* p) {
                of(p).head();
                return 0;
            };
            s.on_body = [](http_parser* p, char const* at, std::size_t n) {
                of(p).is_.data.append(at, n);
                return 0;
            };
            s.on_message_complete = [](http_parser* p) {
                of(p).complete_ = true;
                http_parser_pause(p, 1);
                return 0;
            };
            return s;
        }();
        std::size_t const n = http_parser_execute(&parser_, &settings, bytes.data(), bytes.size());
        auto const e = HTTP_PARSER_ERRNO(&parser_);
        failed_ = e != HPE_OK && e != HPE_PAUSED;
        return n;
    }
    void name(std::string_view text) {
        if (head_complete_) return; // a trailer
        auto& fields = is_.fields;
        if (fields.empty() || in_value_)
            fields.push_back({text, {}});
        else
            fields.back().name = {fields.back().name.data(),
                                  fields.back().name.size() + text.size()};
        in_value_ = false;
    }
    void value(std::string_view text) {
        if (head_complete_) return;
        is_.fields.back().value += text;
        in_value_ = true;
    }
    void head() {
        head_complete_ = true;
        is_.minor = parser_.http_minor;
        if (parser_.http_major != 1) is_.minor = -1;
        is_.status = static_cast<int>(parser_.status_code);
        bool const chunked = (parser_.flags & F_CHUNKED) != 0;
        std::optional<std::uint64_t> length;
        if (parser_.content_length != std::numeric_limits<std::uint64_t>::max())
            length = parser_.content_length;
        // It looks at the status only where nothing else says how the body ends.
        if (chunked || length || !has_no_body(is_.status))
            is_.framing = framing_of(chunked, length);
        is_.keeps = http_should_keep_alive(&parser_) != 0;
    }

    http_parser parser_;
    reading is_;
    bool head_complete_ = false;
    bool complete_ = false;
    bool failed_ = false;
    bool in_value_ = false;
};

namespace http = boost::beast::http;

class beast_reader : http::basic_parser<false> {
  public:
    static reading read(std::string_view head, std::string_view rest) {
        std::optional<beast_reader> r;
        boost::beast::error_code ec;
        std::string_view left = head;
        for (;;) {
            r.emplace();
            // As above. What was not used is given again.
            std::size_t const n = r->feed(left.substr(0, left.size() - 1), ec);
            if (r->is_done() && r->is_.status / 100 == 1) {
                left.remove_prefix(n);
                continue;
            }
            if (ec != http::error::need_more || r->is_header_done()) return r->is_;
            left.remove_prefix(n);
            break;
        }
        std::size_t const n = r->feed(left, ec);
        if (ec || n != left.size() || !r->is_header_done()) return r->is_;
        reading& is = r->is_;
        is.accepts = true;
        while (!r->is_done() && is.consumed != rest.size()) {
            std::size_t const used = r->feed(rest.substr(is.consumed), ec);
            is.consumed += used;
            if (ec || used == 0) break;
        }
        if (r->is_done())
            is.body = body_state::done;
        else if (ec && ec != http::error::need_more)
            is.body = body_state::refused;
        return is;
    }

    beast_reader() {
        eager(true);
        header_limit(1U << 20U);
        body_limit(std::numeric_limits<std::uint64_t>::max());
    }

  private:
    using string_view = boost::beast::string_view;
    using error_code = boost::beast::error_code;

    std::size_t feed(std::string_view bytes, error_code& ec) {
        ec = {};
        if (bytes.empty()) {
            ec = http::error::need_more;
            return 0;
        }
        // One part of a message after the other, so that the head's end is seen.
        eager(is_header_done());
        return put(boost::asio::const_buffer{bytes.data(), bytes.size()}, ec);
    }

    void on_request_impl(http::verb, string_view, string_view, int, error_code&) override {}
    void on_response_impl(int code, string_view, int version, error_code&) override {
        is_.status = code;
        is_.minor = version - 10;
    }
    void on_field_impl(http::field, string_view name, string_view value, error_code&) override {
        if (in_body_) return; // a trailer
        is_.fields.push_back({{name.data(), name.size()}, {value.data(), value.size()}});
    }
    void on_header_impl(error_code&) override {
        in_body_ = true;
        std::optional<std::uint64_t> length;
        if (auto const n = content_length()) length = *n;
        if (!has_no_body(is_.status)) is_.framing = framing_of(chunked(), length);
        is_.keeps = keep_alive();
    }
    void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
    std::size_t on_body_impl(string_view body, error_code&) override {
        is_.data.append(body.data(), body.size());
        return body.size();
    }
    void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
        is_.data.append(body.data(), body.size());
        return body.size();
    }
    void on_finish_impl(error_code&) override {}

    reading is_;
    bool in_body_ = false;
};

// ---- the ledger -----------------------------------------------------------------------------

enum class peer { node, beast };

/// In what a peer differs.
enum difference : unsigned {
    head = 1,     ///< it refuses the head, or ends it elsewhere
    line = 2,     ///< version or status
    fields = 4,   ///< names or values
    framing = 8,  ///< how the body ends
    keeps = 16,   ///< the connection lasts for cleave, and not for the peer
    refusal = 32, ///< it refuses the body
    end = 64,     ///< the body ends elsewhere, or not
    data = 128,   ///< other bytes
};
constexpr std::array<char const*, 8> difference_names{"head",  "line",    "fields", "framing",
                                                      "keeps", "refusal", "end",    "data"};

struct disagreement {
    peer who;
    accepted const& ours;
    reading const& theirs;
    std::string_view body;
};

std::string_view trimmed(std::string_view text) {
    std::size_t const first = text.find_first_not_of(" \t");
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}
std::string lower(std::string_view text) {
    std::string to{text};
    for (char& c : to)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    return to;
}
std::size_t count(accepted const& a, std::string_view name) {
    std::size_t n = 0;
    for (named const& f : a.is.fields) n += same_name(f.name, name);
    return n;
}

struct explanation {
    peer who;
    unsigned in; ///< any of these
    char const* what;
    char const* why;
    bool (*holds)(disagreement const&);
};

/// Whether a field is followed by white space, as a peer that keeps it has it.
bool is_padded(reading const& r, std::string_view name) {
    return std::any_of(r.fields.begin(), r.fields.end(), [&](named const& f) {
        return same_name(f.name, name) && trimmed(f.value) != f.value;
    });
}
bool has(accepted const& a, std::string_view name) {
    return std::any_of(a.is.fields.begin(), a.is.fields.end(),
                       [&](named const& f) { return same_name(f.name, name); });
}

/// The interim replies before the final one.
std::string_view interim(accepted const& a) {
    std::size_t const end = a.head.substr(0, a.head.size() - 4).rfind("\r\n\r\n");
    return end == a.head.npos ? std::string_view{} : a.head.substr(0, end + 4);
}
bool interim_has(accepted const& a, std::string_view name) {
    return lower(interim(a)).find(std::string{"\r\n"} + std::string{name} + ':') !=
           std::string::npos;
}
/// Whether any line of a field of that name, in lower case, is such.
template <class Test>
bool any_line(accepted const& a, std::string_view name, Test test) {
    for (std::size_t at = 0; at < a.head.size();) {
        std::size_t const end = a.head.find("\r\n", at);
        std::string_view const text = a.head.substr(at, end - at);
        if (same_name(text.substr(0, text.find(':')), name) && test(text)) return true;
        at = end + 2;
    }
    return false;
}
/// Whether any of the status lines is such.
template <class Test>
bool any_status_line(accepted const& a, Test test) {
    for (std::size_t at = 0; at < a.head.size();) {
        std::size_t const end = a.head.find("\r\n", at);
        std::string_view const line = a.head.substr(at, end - at);
        if (line.starts_with("HTTP/") && test(line)) return true;
        at = end + 2;
    }
    return false;
}

/// The lines of a chunked body that give chunks' sizes, and what is behind the last chunk.
struct chunks {
    std::vector<std::string_view> lines = {};
    std::string_view trailers = {};
};
chunks chunks_of(std::string_view body) {
    chunks to;
    for (;;) {
        std::size_t const end = body.find("\r\n");
        to.lines.push_back(body.substr(0, end));
        std::uint64_t const size = std::strtoull(std::string{to.lines.back()}.c_str(), nullptr, 16);
        if (end == body.npos) return to;
        body.remove_prefix(end + 2);
        if (size == 0) {
            to.trailers = body;
            return to;
        }
        if (size >= body.size()) return to;
        body.remove_prefix(static_cast<std::size_t>(size));
        body.remove_prefix(std::min<std::size_t>(2, body.size()));
    }
}
bool any_huge_chunk(std::string_view body) {
    auto const lines = chunks_of(body).lines;
    return std::any_of(lines.begin(), lines.end(), [](std::string_view line) {
        return std::strtoull(std::string{line}.c_str(), nullptr, 16) >= 0xfffffffffffff000U;
    });
}
bool any_trailer(std::string_view body, std::string_view name) {
    return lower("\r\n" + std::string{chunks_of(body).trailers})
               .find("\r\n" + std::string{name} + ':') != std::string::npos;
}

constexpr auto explanations = std::to_array<explanation>({
    {peer::node, framing, "a Content-Length or a coding at a status without a body",
     "204 and 304 never have one (RFC 9112, section 6.3, 1)",
     [](disagreement const& d) {
         return has_no_body(d.ours.is.status) && d.ours.is.framing == body_framing{};
     }},
    {peer::node, end, "a coding other than chunked at a status without a body",
     "204 and 304 never have one (RFC 9112, section 6.3, 1)",
     [](disagreement const& d) {
         return has_no_body(d.ours.is.status) && has(d.ours, "transfer-encoding");
     }},
    {peer::node, framing, "white space behind \"chunked\"",
     "it is no part of the value (RFC 9110, section 5.5)",
     [](disagreement const& d) {
         return d.ours.is.framing.is == body_framing::kind::chunked &&
                is_padded(d.theirs, "transfer-encoding");
     }},
    {peer::node, head | framing | keeps | end, "a name that goes on behind \"Transfer-Encoding\"",
     "names are compared as a whole (RFC 9110, section 5.1)",
     [](disagreement const& d) {
         std::string const all = lower(d.ours.head);
         for (std::size_t at = 0; (at = all.find("\r\ntransfer-encoding", at)) != all.npos; ++at)
             if (all[at + 19] != ':') return true;
         return false;
     }},
    {peer::node, head, "a tab behind the number of a Content-Length",
     "it is white space as well (RFC 9110, section 5.6.3)",
     [](disagreement const& d) {
         return any_line(d.ours, "content-length", [](std::string_view l) {
             return l.ends_with('\t') || l.find("\t ") != l.npos;
         });
     }},
    {peer::node, refusal, "a chunk of 2^64 bytes, but for a few",
     "a size is any number that can be represented (RFC 9112, section 7.1)",
     [](disagreement const& d) { return any_huge_chunk(d.body); }},
    {peer::node, head, "equal Content-Lengths, in one list or several fields",
     "a recipient may take them for one (RFC 9112, section 6.3, 5)",
     [](disagreement const& d) {
         return count(d.ours, "content-length") > 1 ||
                (count(d.ours, "content-length") == 1 &&
                 std::any_of(d.ours.is.fields.begin(), d.ours.is.fields.end(), [](named const& f) {
                     return same_name(f.name, "content-length") &&
                            f.value.find(',') != std::string::npos;
                 }));
     }},
    {peer::node, head, "a Content-Length or a coding in an interim reply",
     "1xx never has a body (RFC 9112, section 6.3, 1)",
     [](disagreement const& d) {
         return interim_has(d.ours, "content-length") || interim_has(d.ours, "transfer-encoding");
     }},
    {peer::node, head, "a Content-Length or a coding that makes no sense, without a body",
     "204 and 304 end with their heads, whatever these say (RFC 9112, section 6.3, 1)",
     [](disagreement const& d) {
         return has_no_body(d.ours.is.status) &&
                (has(d.ours, "content-length") || has(d.ours, "transfer-encoding"));
     }},
    {peer::node, fields, "white space behind a value",
     "it is no part of the value (RFC 9110, section 5.5)",
     [](disagreement const& d) {
         return std::equal(d.ours.is.fields.begin(), d.ours.is.fields.end(),
                           d.theirs.fields.begin(), d.theirs.fields.end(),
                           [](named const& a, named const& b) {
                               return a.name == b.name && a.value == trimmed(b.value);
                           });
     }},
    {peer::node, refusal, "a trailer that would say how the message ends",
     "trailers of that kind are ignored (RFC 9110, section 6.5.1)",
     [](disagreement const& d) {
         return any_trailer(d.body, "content-length") || any_trailer(d.body, "transfer-encoding");
     }},
    {peer::beast, head, "a status with neither a space nor a reason behind it",
     "the space ought to be there (RFC 9112, section 4), and often is not",
     [](disagreement const& d) {
         return any_status_line(d.ours, [](std::string_view line) { return line.size() == 12; });
     }},
    {peer::beast, head, "one or two empty lines before a status line",
     "robust for requests (RFC 9112, section 2.2), and harmless here",
     [](disagreement const& d) {
         return d.ours.head.starts_with("\r\n") ||
                d.ours.head.find("\r\n\r\n\r\n") != std::string_view::npos;
     }},
    {peer::beast, head, "a Connection field that is no list of tokens",
     "what cannot be read is no option (RFC 9110, section 7.6.1)",
     [](disagreement const& d) {
         std::string const head = lower(d.ours.head);
         return head.find("\r\nconnection:") != head.npos ||
                head.find("\r\nproxy-connection:") != head.npos;
     }},
    {peer::beast, head, "a Content-Length or a coding in an interim reply",
     "1xx never has a body (RFC 9112, section 6.3, 1)",
     [](disagreement const& d) {
         return interim_has(d.ours, "content-length") || interim_has(d.ours, "transfer-encoding");
     }},
    {peer::beast, head, "a Content-Length or a coding that makes no sense, without a body",
     "204 and 304 end with their heads, whatever these say (RFC 9112, section 6.3, 1)",
     [](disagreement const& d) {
         return has_no_body(d.ours.is.status) &&
                (has(d.ours, "content-length") || has(d.ours, "transfer-encoding"));
     }},
    {peer::beast, refusal, "a chunk of 2^64 bytes, but for a few",
     "a size is any number that can be represented (RFC 9112, section 7.1)",
     [](disagreement const& d) { return any_huge_chunk(d.body); }},
    {peer::beast, refusal | end | data, "a chunk extension that it cannot read, or not yet",
     "extensions nobody knows are ignored (RFC 9112, section 7.1.1)",
     [](disagreement const& d) {
         auto const lines = chunks_of(d.body).lines;
         return std::any_of(lines.begin(), lines.end(),
                            [](std::string_view line) { return line.find(';') != line.npos; });
     }},
    {peer::beast, refusal, "a trailer that would say how the message ends, or a Connection",
     "trailers of that kind are ignored (RFC 9110, section 6.5.1)",
     [](disagreement const& d) {
         return any_trailer(d.body, "content-length") || any_trailer(d.body, "transfer-encoding") ||
                any_trailer(d.body, "connection") || any_trailer(d.body, "proxy-connection");
     }},
});

// ---- the comparison -------------------------------------------------------------------------

class comparison {
  public:
    comparison(peer who, accepted const& ours, reading const& theirs, std::string_view body)
        : who_(who), all_(ours), ours_(ours.is), theirs_(theirs), body_(body) {}

    void run() const {
        if (!theirs_.accepts) return explain(head);
        if (theirs_.minor != ours_.minor || theirs_.status != ours_.status) explain(line);
        bool const same_fields = std::equal(
            ours_.fields.begin(), ours_.fields.end(), theirs_.fields.begin(), theirs_.fields.end(),
            [](named const& a, named const& b) { return a.name == b.name && a.value == b.value; });
        if (!same_fields) explain(fields);
        if (theirs_.framing != ours_.framing) return explain(framing);
        if (ours_.keeps && !theirs_.keeps) explain(keeps);
        if (ours_.body == body_state::refused) return;
        if (theirs_.body == body_state::refused) return explain(refusal);
        if (theirs_.body != ours_.body ||
            (ours_.body == body_state::done && theirs_.consumed != ours_.consumed))
            return explain(end);
        if (theirs_.data != ours_.data) explain(data);
    }

  private:
    void explain(difference in) const {
        disagreement const d{who_, all_, theirs_, body_};
        for (explanation const& e : explanations)
            if (e.who == who_ && (e.in & in) != 0 && e.holds(d)) return;
        std::fprintf(stderr, "%s differs in its %s\n", who_ == peer::node ? "http_parser" : "Beast",
                     difference_names[static_cast<std::size_t>(std::countr_zero(unsigned{in}))]);
        show("cleave", ours_);
        show("it", theirs_);
        require(false, "every disagreement is in the ledger");
    }
    static void show(char const* who, reading const& r) {
        std::fprintf(stderr,
                     "%s: accepts %d, 1.%d, status %d, %zu fields, framing %d of %llu, keeps %d, "
                     "body %d, %zu used, %zu bytes\n",
                     who, r.accepts ? 1 : 0, r.minor, r.status, r.fields.size(),
                     static_cast<int>(r.framing.is),
                     static_cast<unsigned long long>(r.framing.length), r.keeps ? 1 : 0,
                     static_cast<int>(r.body), r.consumed, r.data.size());
    }

    peer who_;
    accepted const& all_;
    reading const& ours_;
    reading const& theirs_;
    std::string_view body_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    std::string_view const text = input.rest();
    auto const ours = read_with_cleave(text);
    if (!ours) return 0;
    std::string_view const body = text.substr(ours->head.size());
    comparison{peer::node, *ours, node_reader::read(ours->head, body), body}.run();
    comparison{peer::beast, *ours, beast_reader::read(ours->head, body), body}.run();
    return 0;
}
