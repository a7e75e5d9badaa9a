// SPDX-License-Identifier: BSL-1.0
//
// Reads the head of a reply, status line and fields, from bytes that arrive in any portions, and
// skips interim replies. Accepts less than some servers send, on purpose: two readers must not see
// two messages in the same bytes. Knows no field by name, nothing of bodies, and no sockets.
#pragma once

#include <cleave/base/ascii.hpp>
#include <cleave/base/error.hpp>
#include <cleave/http/text.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace cleave {

/// One field line, the value without white space around it.
struct field {
    std::string_view name, value;
};

/// The head of a final reply. Views into the buffer of the parser that read it.
class response_head {
  public:
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    [[nodiscard]] int minor_version() const noexcept { return minor_version_; }
    /// Three digits: 0 to 999, but none of 100 to 199.
    [[nodiscard]] int status() const noexcept { return status_; }
    /// For people, if for anybody (RFC 9112, section 4); may hold bytes beyond ASCII.
    [[nodiscard]] std::string_view reason() const noexcept { return reason_; }
    /// All field lines in the order in which they came.
    [[nodiscard]] std::span<field const> fields() const noexcept { return fields_; }

    /// The value of the first field of that name, case ignored.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept {
        for (field const& f : fields_)
            if (detail::http_same(f.name, name)) return f.value;
        return std::nullopt;
    }
    /// How many fields have that name, case ignored.
    [[nodiscard]] std::size_t count(std::string_view name) const noexcept {
        std::size_t n = 0;
        for (field const& f : fields_) n += detail::http_same(f.name, name);
        return n;
    }

  private:
    friend class response_head_parser;

    int minor_version_ = 1;
    int status_ = 0;
    std::string_view reason_;
    std::vector<field> fields_;
};

namespace detail {
/// The value of a field that stands there exactly once.
[[nodiscard]] inline std::optional<std::string_view> single(response_head const& head,
                                                            std::string_view name) noexcept {
    if (head.count(name) != 1) return std::nullopt;
    return head.find(name);
}
} // namespace detail

/// How much of a head is read before the connection is given up.
struct head_limits {
    /// Of the final head and all interim replies before it together.
    std::size_t bytes = 65536;
    /// Field lines of one head.
    std::size_t fields = 256;
    /// Interim replies before the final one.
    unsigned interim = 16;
};

/// Reads one reply's head (RFC 9112, sections 2.2, 4 and 5).
///
/// Refused as `error::malformed_head`: lines that end in LF alone, CR without LF, control
/// characters other than HTAB in values, folded lines, white space before the colon, empty or
/// ill-spelt names, a status that is not three digits. At most two empty lines may stand before a
/// status line. Work is linear in the bytes, however they are split: each is looked at three times
/// at most.
///
/// Not thread-safe. May be moved, and `head()` stays valid then; not copied. Buffers grow to the
/// greatest head met, and are kept.
class response_head_parser {
  public:
    response_head_parser() : response_head_parser(head_limits{}) {}
    explicit response_head_parser(head_limits limits) noexcept : limits_(limits) {}

    response_head_parser(response_head_parser&&) noexcept = default;
    response_head_parser& operator=(response_head_parser&&) noexcept = default;
    ~response_head_parser() = default;

    /// Forgets everything, for the next reply; `head()` is void. Keeps its buffers.
    void reset() noexcept {
        begin_head();
        taken_ = 0;
        interim_ = 0;
        empty_lines_ = 0;
    }

    /// What became of the bytes that were given.
    struct progress {
        enum class state { need_more, complete, failed };
        state is;
        /// How many of the bytes given were used. When complete, the rest belongs to the body.
        std::size_t consumed;
        /// Valid when failed.
        error why;
    };

    /// Takes the next bytes, at most to the end of the final head. Interim replies are skipped
    /// (RFC 9110, section 15.2), but 101 fails with `error::unexpected_upgrade`, for nobody asked.
    /// What was once complete or failed stays so until `reset`. Throws `std::bad_alloc` only.
    progress feed(std::string_view bytes) {
        std::size_t consumed = 0;
        while (expects_ == part::status_line || expects_ == part::field_line) {
            std::string_view rest = bytes.substr(consumed);
            if (rest.empty()) return {progress::state::need_more, consumed, error{}};
            rest = rest.substr(0, limits_.bytes - taken_);
            if (rest.empty()) {
                fail(error::head_too_large);
                break;
            }
            if (expects_ == part::field_line && line_ == buffer_.size()) {
                if (std::size_t const lines = take_field_lines(rest); lines != 0) {
                    consumed += lines;
                    taken_ += lines;
                    continue;
                }
            }
            std::size_t const newline = rest.find('\n');
            bool const ends = newline != std::string_view::npos;
            if (ends) rest = rest.substr(0, newline + 1);

            std::size_t const had = buffer_.size() - line_;
            buffer_.insert(buffer_.end(), rest.begin(), rest.end());
            consumed += rest.size();
            taken_ += rest.size();
            if (ends)
                end_line();
            else if (expects_ == part::status_line && had < opening.size())
                check_opening();
        }
        return {expects_ == part::nothing ? progress::state::complete : progress::state::failed,
                consumed, why_};
    }

    /// Valid after `feed` answered complete, until `reset` or the parser's end.
    [[nodiscard]] response_head const& head() const noexcept { return head_; }

    /// Whether not one byte was fed since `reset`.
    [[nodiscard]] bool untouched() const noexcept { return taken_ == 0; }

  private:
    static constexpr std::string_view opening = "HTTP/";

    enum class part { status_line, field_line, nothing, failure };

    // Places instead of views, for the buffer may move while it grows.
    struct place {
        std::size_t name, name_end, value, value_end;
    };

    void fail(error why) noexcept {
        expects_ = part::failure;
        why_ = why;
    }

    void begin_head() noexcept {
        buffer_.clear();
        places_.clear();
        line_ = 0;
        head_.fields_.clear();
        head_.reason_ = {};
        head_.status_ = 0;
        expects_ = part::status_line;
    }

    [[nodiscard]] std::string_view text(std::size_t from, std::size_t to) const noexcept {
        return {buffer_.data() + from, to - from};
    }

    [[nodiscard]] static bool is_text(std::string_view text) noexcept {
        char const* const end = text.data() + text.size();
        return detail::http_text_end(text.data(), end) == end;
    }

    // Something else than HTTP may never end its first line: it is told by its first bytes.
    void check_opening() noexcept {
        std::string_view const line = text(line_, buffer_.size());
        if (line == "\r" && empty_lines_ < 2) return;
        if (opening.substr(0, line.size()) != line.substr(0, opening.size()))
            fail(error::malformed_head);
    }

    // The buffer ends in LF.
    void end_line() {
        std::size_t const end = buffer_.size() - 1;
        if (end == line_ || buffer_[end - 1] != '\r') return fail(error::malformed_head);
        std::string_view const line = text(line_, end - 1);
        if (expects_ == part::status_line) {
            if (!line.empty())
                read_status_line(line);
            else if (++empty_lines_ > 2)
                fail(error::malformed_head);
        } else if (!line.empty()) {
            read_field_line(line);
        } else {
            end_head();
        }
        line_ = buffer_.size();
    }

    // HTTP-version SP 3DIGIT [ SP reason ] (RFC 9112, section 4, and without the space that ought
    // to follow the status where there is no reason).
    void read_status_line(std::string_view line) noexcept {
        if (!line.starts_with(opening)) return fail(error::malformed_head);
        std::string_view rest = line.substr(opening.size());
        std::string_view const version = rest.substr(0, rest.find(' '));
        bool const dotted = version.size() == 3 && detail::ascii_is_digit(version[0]) &&
                            version[1] == '.' && detail::ascii_is_digit(version[2]);
        bool const single = version.size() == 1 && detail::ascii_is_digit(version[0]);
        if (!dotted && !single) return fail(error::malformed_head);
        if (version != "1.0" && version != "1.1") return fail(error::unsupported_version);
        rest.remove_prefix(3);

        if (rest.size() < 4 || !std::all_of(rest.begin() + 1, rest.begin() + 4,
                                            [](char c) { return detail::ascii_is_digit(c); }))
            return fail(error::malformed_head);
        int const status = (rest[1] - '0') * 100 + (rest[2] - '0') * 10 + (rest[3] - '0');
        rest.remove_prefix(4);
        if (!rest.empty()) {
            if (rest[0] != ' ') return fail(error::malformed_head);
            rest.remove_prefix(1);
        }
        if (!is_text(rest)) return fail(error::malformed_head);
        if (status == 101) return fail(error::unexpected_upgrade);
        if (status / 100 == 1 && ++interim_ > limits_.interim) return fail(error::too_many_interim);

        head_.minor_version_ = version[2] - '0';
        head_.status_ = status;
        reason_ = buffer_.size() - 2 - rest.size();
        reason_end_ = buffer_.size() - 2;
        expects_ = part::field_line;
    }

    // field-name ":" OWS field-value OWS (RFC 9112, section 5). A folded line fails here, for white
    // space is no part of a name.
    void read_field_line(std::string_view line) {
        if (places_.size() == limits_.fields) return fail(error::too_many_fields);
        std::size_t colon = 0;
        while (colon < line.size() && detail::http_is(line[colon], detail::http_token)) ++colon;
        if (colon == 0 || colon == line.size() || line[colon] != ':')
            return fail(error::malformed_head);
        std::string_view const value = detail::http_trim(line.substr(colon + 1));
        if (!is_text(value)) return fail(error::malformed_head);
        std::size_t const at = static_cast<std::size_t>(value.data() - buffer_.data());
        places_.push_back({line_, line_ + colon, at, at + value.size()});
    }

    // Nearly all lines come whole and well-formed: these are read where they lie, in one pass, and
    // kept together, up to the head's end. Answers how many bytes they are; any other line is left,
    // good or bad.
    std::size_t take_field_lines(std::string_view bytes) {
        char const* const begin = bytes.data();
        char const* const end = begin + bytes.size();
        char const* line = begin;
        std::size_t const base = buffer_.size();
        while (places_.size() != limits_.fields) {
            char const* at = line;
            while (at != end && detail::http_is(*at, detail::http_token)) ++at;
            if (at == line || at == end || *at != ':') break;
            char const* const colon = at++;
            while (at != end && (*at == ' ' || *at == '\t')) ++at;
            char const* value_end = detail::http_text_end(at, end);
            if (end - value_end < 2 || value_end[0] != '\r' || value_end[1] != '\n') break;
            char const* const next = value_end + 2;
            while (value_end != at && (value_end[-1] == ' ' || value_end[-1] == '\t')) --value_end;
            auto const place_of = [&](char const* p) {
                return base + static_cast<std::size_t>(p - begin);
            };
            places_.push_back({place_of(line), place_of(colon), place_of(at), place_of(value_end)});
            line = next;
        }
        bool const ends = end - line >= 2 && line[0] == '\r' && line[1] == '\n';
        if (ends) line += 2;
        if (line == begin) return 0;
        buffer_.insert(buffer_.end(), begin, line);
        line_ = buffer_.size();
        if (ends) end_head();
        return static_cast<std::size_t>(line - begin);
    }

    void end_head() {
        if (head_.status_ / 100 == 1) return begin_head();
        head_.reason_ = text(reason_, reason_end_);
        head_.fields_.reserve(places_.size());
        for (place const& p : places_)
            head_.fields_.push_back({text(p.name, p.name_end), text(p.value, p.value_end)});
        expects_ = part::nothing;
    }

    head_limits limits_;
    part expects_ = part::status_line;
    error why_{};
    std::vector<char> buffer_; // the head so far, its line ends included
    std::size_t line_ = 0;     // where in it the line begins that is being read
    std::vector<place> places_;
    std::size_t reason_ = 0;
    std::size_t reason_end_ = 0;
    std::size_t taken_ = 0; // bytes since reset
    unsigned interim_ = 0;
    unsigned empty_lines_ = 0;
    response_head head_;
};

} // namespace cleave
