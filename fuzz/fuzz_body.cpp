// SPDX-License-Identifier: BSL-1.0
//
// Chunked bodies from any bytes: however they are split, and read by another reader that sees all
// of them at once, the outcome is the same; there is never more data than chunks announced, and
// nothing after an error. And bodies made of chunks of the input's choice come out as they went in.
//
// The input: one byte n, n % 16 bytes of portion sizes, and a byte: when even, what the server
// sends; when odd, what it is to send and how.

#include "input.hpp"

#include <cleave/http/body.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace {

using cleave_fuzz::require;
using state = cleave::chunked_decoder::state;

struct outcome {
    std::string data;
    std::size_t consumed = 0;
    state is = state::more;

    friend bool operator==(outcome const&, outcome const&) = default;
};

outcome decode(cleave_fuzz::portions from) {
    outcome to;
    to.data.reserve(from.size());
    cleave::chunked_decoder decoder;
    while (to.is == state::more && !from.empty()) {
        std::string_view portion = from.next();
        while (to.is == state::more && !portion.empty()) {
            auto const p = decoder.decode(portion);
            require(p.consumed != 0 && p.consumed <= portion.size(),
                    "something is used, and no more than was given");
            require(p.data.size() <= p.consumed, "there is no more data than input");
            require(p.data.empty() || p.data.data() + p.data.size() == portion.data() + p.consumed,
                    "data lies at the end of what was used");
            require(p.data.empty() || p.is == state::more, "after data the body goes on");
            to.data += p.data;
            to.consumed += p.consumed;
            to.is = p.is;
            portion.remove_prefix(p.consumed);
        }
    }
    if (to.is != state::more) {
        auto const p = decoder.decode("1\r\nx\r\n0\r\n\r\n");
        require(p.consumed == 0 && p.data.empty() && p.is == to.is,
                "nothing comes after the end or an error");
        decoder.reset();
        require(decoder.decode("0\r\n\r\n").is == state::done, "a reset leaves nothing");
    }
    return to;
}

/// Reads by the grammar (RFC 9112, section 7.1), each part of it a function. For inputs too short
/// to meet the limits of lines and trailers in bytes.
class grammar {
  public:
    explicit grammar(std::string_view text) : text_(text) { data_.reserve(text.size()); }

    outcome body() {
        while (is_ == state::more) {
            std::uint64_t const size = head_of_chunk();
            if (is_ != state::more || ended_) break;
            if (size == 0) {
                trailers();
                break;
            }
            std::string_view const data = text_.substr(at_, static_cast<std::size_t>(size));
            data_ += data;
            at_ += data.size();
            if (data.size() != size) break;
            if (!literal("\r\n")) break;
        }
        return {std::move(data_), at_, is_};
    }

  private:
    // The next byte, or none where the text ends.
    bool next(char& c) {
        ended_ = ended_ || at_ == text_.size();
        if (ended_ || is_ != state::more) return false;
        c = text_[at_++];
        return true;
    }
    bool literal(std::string_view what) {
        for (char const expected : what) {
            char c = 0;
            if (!next(c)) return false;
            if (c != expected) return fail();
        }
        return true;
    }
    bool fail() {
        is_ = state::failed;
        return false;
    }
    static int hex(char c) {
        std::size_t const at = std::string_view{"0123456789abcdefABCDEF"}.find(c);
        return at == std::string_view::npos ? -1 : static_cast<int>(at < 16 ? at : at - 6);
    }
    static bool is_text(char c) {
        auto const byte = static_cast<unsigned char>(c);
        return byte == '\t' || (byte >= ' ' && byte != 0x7f);
    }
    static bool is_token(char c) {
        return c > ' ' && c < 0x7f &&
               std::string_view{"\"(),/:;<=>?@[\\]{}"}.find(c) == std::string_view::npos;
    }

    // chunk-size [ chunk-ext ] CRLF
    std::uint64_t head_of_chunk() {
        std::uint64_t size = 0;
        std::size_t digits = 0;
        char c = 0;
        while (next(c)) {
            if (int const digit = hex(c); digit >= 0) {
                size = size * 16 + static_cast<std::uint64_t>(digit);
                if (++digits > 16) fail();
                continue;
            }
            if (digits == 0 || (c != ';' && c != '\r')) {
                fail();
                return 0;
            }
            while (c != '\r') {
                if (!next(c)) return 0;
                if (c != '\r' && !is_text(c)) fail();
            }
            literal("\n");
            return size;
        }
        return 0;
    }
    // *( field-name ":" field-value CRLF ) CRLF
    void trailers() {
        for (std::size_t fields = 0;;) {
            char c = 0;
            if (!next(c)) return;
            if (c == '\r') {
                if (literal("\n")) is_ = state::done;
                return;
            }
            if (++fields > 64) return static_cast<void>(fail());
            do {
                if (!is_token(c)) return static_cast<void>(fail());
                if (!next(c)) return;
            } while (c != ':');
            do {
                if (!next(c)) return;
                if (c != '\r' && !is_text(c)) return static_cast<void>(fail());
            } while (c != '\r');
            if (!literal("\n")) return;
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::string data_;
    state is_ = state::more;
    bool ended_ = false;
};

void try_text(std::string_view text, std::string_view sizes) {
    outcome const at_once = decode(cleave_fuzz::portions{text});
    require(decode(cleave_fuzz::portions{text, sizes}) == at_once,
            "however a body is split, it reads the same");
    if (text.size() < 4096)
        require(grammar{text}.body() == at_once, "a body reads as the grammar has it");
}

// A body of the input's choice, as a server may send it.
void try_made(cleave_fuzz::input& input, std::string_view sizes) {
    std::string sent;
    std::string data;
    auto const number = [](std::size_t n, bool upper, std::size_t zeros) {
        std::string_view const digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
        std::string to;
        for (; n != 0; n /= 16) to.insert(to.begin(), digits[n % 16]);
        return std::string(zeros, '0') + to;
    };
    while (!input.empty()) {
        std::uint8_t const form = input.byte();
        if (form % 8 == 7) break;
        std::string_view const chunk = input.text(std::size_t{1} + input.byte() % 64U);
        if (chunk.empty()) break;
        // At most two digits and fourteen zeros before them: sixteen are the limit.
        sent += number(chunk.size(), (form & 8U) != 0, (form >> 4U) % 15U);
        if (form % 8 == 1) sent += ";a=b";
        if (form % 8 == 2) sent += "; q=\"\t \"";
        sent += "\r\n";
        sent += chunk;
        sent += "\r\n";
        data += chunk;
    }
    sent += input.chance(50) ? "0\r\n" : "000;last\r\n";
    for (std::size_t n = input.byte() % 4U; n != 0; --n) sent += "X-Trailer: v\r\n";
    sent += "\r\n";

    std::string const behind = sent + "HTTP/1.1 200 OK\r\n";
    outcome const whole = decode(cleave_fuzz::portions{behind, sizes});
    require(whole == outcome{data, sent.size(), state::done},
            "a body comes out as it went in, and nothing of what is behind it");

    std::size_t const cut = input.index(sent.size());
    outcome const part =
        decode(cleave_fuzz::portions{std::string_view{sent}.substr(0, cut), sizes});
    require(part.is == state::more && part.consumed == cut && data.starts_with(part.data),
            "of a body that is cut comes what was sent, and not its end");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    std::string_view const sizes = cleave_fuzz::portion_sizes(input);
    if (input.byte() % 2 == 0)
        try_text(input.rest(), sizes);
    else
        try_made(input, sizes);
    return 0;
}
