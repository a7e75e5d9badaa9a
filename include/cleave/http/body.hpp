// SPDX-License-Identifier: BSL-1.0
//
// Where a reply's body ends, and whether the connection lives on behind it: framing, the chunked
// transfer coding, and persistence. Moves no bodies and keeps no bytes of them.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/base/error.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace cleave {

/// How the end of a body is told.
struct body_framing {
    enum class kind : std::uint8_t {
        none,        ///< there is no body
        length,      ///< after `length` bytes
        chunked,     ///< as the chunked coding says
        until_close, ///< where the connection ends
    };
    kind is = kind::none;
    /// For `kind::length`.
    std::uint64_t length = 0;

    friend constexpr bool operator==(body_framing const&, body_framing const&) = default;
};

/// A body's framing, or why it is in doubt; then the connection must not be used any more.
struct framing_result {
    std::optional<error> bad;
    body_framing framing;
};

/// The framing of a reply to GET (RFC 9112, section 6.3), doubts refused:
///
/// - `error::ambiguous_framing`: both Transfer-Encoding and Content-Length;
/// - `error::bad_transfer_coding`: a Transfer-Encoding other than one "chunked", or in HTTP/1.0;
/// - `error::bad_content_length`: not a plain number, beyond 2^63-1, or several that differ.
///   Several that are equal, in several fields or in one list, count as one.
[[nodiscard]] inline framing_result read_framing(response_head const& head) noexcept {
    framing_result const none{std::nullopt, {}};
    if (head.status() / 100 == 1 || head.status() == 204 || head.status() == 304) return none;

    if (std::size_t const codings = head.count("Transfer-Encoding"); codings != 0) {
        if (head.minor_version() == 0) return {error::bad_transfer_coding, {}};
        if (head.count("Content-Length") != 0) return {error::ambiguous_framing, {}};
        if (codings != 1 || !detail::http_same(*head.find("Transfer-Encoding"), "chunked"))
            return {error::bad_transfer_coding, {}};
        return {std::nullopt, {body_framing::kind::chunked, 0}};
    }

    std::optional<std::uint64_t> length;
    for (field const& f : head.fields()) {
        if (!detail::http_same(f.name, "Content-Length")) continue;
        bool const good = detail::http_each_element(f.value, [&](std::string_view element) {
            constexpr auto limit =
                static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
            auto const value = detail::http_number(element);
            if (!value || *value > limit || (length && *length != *value)) return false;
            length = value;
            return true;
        });
        if (!good) return {error::bad_content_length, {}};
    }
    if (length) return {std::nullopt, {body_framing::kind::length, *length}};
    return {std::nullopt, {body_framing::kind::until_close, 0}};
}

/// Whether the connection persists after this reply (RFC 9112, section 9.3): HTTP/1.1 without
/// "close", or HTTP/1.0 with "keep-alive" and without "close", and a body that ends by itself.
[[nodiscard]] inline bool keeps_connection(response_head const& head) noexcept {
    bool keep_alive = false;
    for (field const& f : head.fields()) {
        if (!detail::http_same(f.name, "Connection")) continue;
        bool const stays = detail::http_each_element(f.value, [&](std::string_view option) {
            keep_alive = keep_alive || detail::http_same(option, "keep-alive");
            return !detail::http_same(option, "close");
        });
        if (!stays) return false;
    }
    if (head.minor_version() == 0 && !keep_alive) return false;
    framing_result const body = read_framing(head);
    return !body.bad && body.framing.is != body_framing::kind::until_close;
}

/// Takes the chunked coding off a body (RFC 9112, section 7.1), in portions of any size.
///
/// Bounded: a line with a chunk's size and extensions 4 KiB, the size 16 hexadecimal digits, all
/// trailers together 8 KiB and 64 fields. Extensions and trailers are checked for well-formed lines
/// and otherwise ignored. Lines end in CRLF and in nothing else. Allocates nothing.
class chunked_decoder {
  public:
    /// For the next body.
    void reset() noexcept { *this = chunked_decoder{}; }

    enum class state {
        more,   ///< the body goes on
        done,   ///< it has ended; what was not consumed belongs to nobody
        failed, ///< it is damaged, as `error::bad_chunk` says; nothing further is consumed
    };
    /// What became of the bytes that were given.
    struct piece {
        /// How many bytes of the input were used.
        std::size_t consumed;
        /// The body's bytes among them, a view into the input; may be empty.
        std::string_view data;
        state is;
    };

    /// Decodes up to the end of one run of data; call again with the rest while there is a rest and
    /// the state is `more`. Consumes something of every input that is not empty until then.
    piece decode(std::string_view in) noexcept {
        std::size_t at = 0;
        while (at < in.size() && is_ != part::done && is_ != part::failure) {
            if (is_ == part::data) {
                std::string_view const data = in.substr(
                    at, static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size() - at)));
                left_ -= data.size();
                if (left_ == 0) is_ = part::data_cr;
                return {at + data.size(), data, state::more};
            }
            take(in[at++]);
        }
        state const is = is_ == part::done      ? state::done
                         : is_ == part::failure ? state::failed
                                                : state::more;
        return {at, {}, is};
    }

  private:
    static constexpr std::uint32_t longest_line = 4096;
    static constexpr std::uint32_t most_digits = 16;
    static constexpr std::uint32_t longest_trailers = 8192;
    static constexpr std::uint32_t most_trailers = 64;

    enum class part : std::uint8_t {
        size,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        trailer_begin,
        trailer_name,
        trailer_value,
        trailer_lf,
        end_lf,
        done,
        failure,
    };

    void expect(bool good, part next) noexcept { is_ = good ? next : part::failure; }

    // One byte outside of the data.
    void take(char c) noexcept {
        switch (is_) {
        case part::size: return take_size(c);
        case part::extension:
            if (c == '\r')
                is_ = part::size_lf;
            else
                expect(++line_ <= longest_line && detail::http_is(c, detail::http_text), is_);
            return;
        case part::size_lf:
            line_ = 0;
            digits_ = 0;
            return expect(c == '\n', left_ == 0 ? part::trailer_begin : part::data);
        case part::data_cr: return expect(c == '\r', part::data_lf);
        case part::data_lf: return expect(c == '\n', part::size);
        case part::trailer_begin:
            if (c == '\r') {
                is_ = part::end_lf;
            } else {
                bool const good = ++trailers_ <= most_trailers && count_trailer_byte() &&
                                  detail::http_is(c, detail::http_token);
                expect(good, part::trailer_name);
            }
            return;
        case part::trailer_name:
            if (c == ':')
                expect(count_trailer_byte(), part::trailer_value);
            else
                expect(count_trailer_byte() && detail::http_is(c, detail::http_token), is_);
            return;
        case part::trailer_value:
            if (c == '\r')
                expect(count_trailer_byte(), part::trailer_lf);
            else
                expect(count_trailer_byte() && detail::http_is(c, detail::http_text), is_);
            return;
        case part::trailer_lf: return expect(c == '\n', part::trailer_begin);
        case part::end_lf: return expect(c == '\n', part::done);
        case part::data:
        case part::done:
        case part::failure: return;
        }
    }

    void take_size(char c) noexcept {
        int const digit = detail::ascii_hex(c);
        if (digit >= 0) {
            // Sixteen digits cannot overflow.
            left_ = left_ << 4 | static_cast<std::uint64_t>(digit);
            ++line_;
            return expect(++digits_ <= most_digits, part::size);
        }
        if (digits_ == 0) return expect(false, is_);
        if (c == '\r') return expect(true, part::size_lf);
        ++line_;
        expect(c == ';', part::extension);
    }

    [[nodiscard]] bool count_trailer_byte() noexcept {
        return ++trailer_bytes_ <= longest_trailers;
    }

    std::uint64_t left_ = 0; // of the chunk, or what of its size has been read
    std::uint32_t line_ = 0;
    std::uint32_t digits_ = 0;
    std::uint32_t trailers_ = 0;
    std::uint32_t trailer_bytes_ = 0;
    part is_ = part::size;
};

} // namespace cleave
