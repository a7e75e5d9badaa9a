// SPDX-License-Identifier: BSL-1.0
//
// What a reply's head costs: reading it at once and in portions, beside other parsers where they
// are installed, and judging it. Heads are such as servers send. Bytes are those of the heads.

#include <cleave/http/admit.hpp>
#include <cleave/http/response_head.hpp>

#include <benchmark/benchmark.h>

#ifdef CLEAVE_BENCH_HTTP_PARSER
#include <http_parser.h>
#endif
#ifdef CLEAVE_BENCH_BEAST
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/parser.hpp>
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

namespace {

struct sample {
    char const* name;
    std::string_view text;
};

constexpr std::array samples{
    sample{"minimal", "HTTP/1.1 206 Partial Content\r\n"
                      "Content-Range: bytes 4194304-5242879/1073741824\r\n"
                      "Content-Length: 1048576\r\n"
                      "\r\n"},
    sample{"nginx", "HTTP/1.1 206 Partial Content\r\n"
                    "Server: nginx/1.22.1\r\n"
                    "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\n"
                    "Content-Type: application/octet-stream\r\n"
                    "Content-Length: 1048576\r\n"
                    "Last-Modified: Sat, 05 Nov 2022 10:11:12 GMT\r\n"
                    "Connection: keep-alive\r\n"
                    "ETag: \"63663610-40000000\"\r\n"
                    "Content-Range: bytes 4194304-5242879/1073741824\r\n"
                    "\r\n"},
    sample{"apache", "HTTP/1.1 206 Partial Content\r\n"
                     "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\n"
                     "Server: Apache/2.4.54 (Debian) OpenSSL/1.1.1n mod_wsgi/4.9.4 Python/3.9\r\n"
                     "Last-Modified: Sat, 05 Nov 2022 10:11:12 GMT\r\n"
                     "ETag: \"40000000-5ecb5a1b8c400\"\r\n"
                     "Accept-Ranges: bytes\r\n"
                     "Content-Length: 1048576\r\n"
                     "Vary: Accept-Encoding\r\n"
                     "Content-Range: bytes 4194304-5242879/1073741824\r\n"
                     "Keep-Alive: timeout=5, max=100\r\n"
                     "Connection: Keep-Alive\r\n"
                     "Content-Type: application/x-gzip\r\n"
                     "\r\n"},
    sample{"store", // an object store behind a CDN
           "HTTP/1.1 206 Partial Content\r\n"
           "Content-Type: binary/octet-stream\r\n"
           "Content-Length: 1048576\r\n"
           "Connection: keep-alive\r\n"
           "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\n"
           "Last-Modified: Sat, 05 Nov 2022 10:11:12 GMT\r\n"
           "ETag: \"9b2cf535f27731c974343645a3985328-128\"\r\n"
           "x-amz-server-side-encryption: AES256\r\n"
           "x-amz-version-id: 3HL4kqtJvjVBH40Nrjfkd2wvBPiS1kYe\r\n"
           "x-amz-meta-origin: Zm9yIHRoZSBiZW5jaDogYSBsb25nIG9wYXF1ZSB2YWx1ZQ==\r\n"
           "x-amz-storage-class: STANDARD\r\n"
           "Accept-Ranges: bytes\r\n"
           "Server: AmazonS3\r\n"
           "Cache-Control: public, max-age=31536000, immutable\r\n"
           "Vary: Accept-Encoding, Origin\r\n"
           "X-Cache: Hit from cloudfront\r\n"
           "Via: 1.1 0c9a6b1f2d3e4f5a6b7c8d9e0f1a2b3c.cloudfront.net (CloudFront)\r\n"
           "X-Amz-Cf-Pop: FRA60-P4\r\n"
           "X-Amz-Cf-Id: qW3eR5tY7uI9oP1aS2dF4gH6jK8lZ0xC-vB_nM5qW7eR9tY1uI3oP5==\r\n"
           "Age: 48211\r\n"
           "Content-Range: bytes 4194304-5242879/1073741824\r\n"
           "\r\n"},
    sample{"redirect", // of a release, to a signed URL
           "HTTP/1.1 302 Found\r\n"
           "Server: github.com\r\n"
           "Date: Sun, 06 Nov 2022 08:49:37 GMT\r\n"
           "Content-Type: text/html; charset=utf-8\r\n"
           "Vary: X-PJAX, X-PJAX-Container, Turbo-Visit, Turbo-Frame, Accept-Encoding, Accept\r\n"
           "Location: https://objects.example.com/release-asset-2e65be/123456789/"
           "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9?X-Amz-Algorithm=AWS4-HMAC-SHA256"
           "&X-Amz-Credential=AKIAEXAMPLEEXAMPLE%2F20221106%2Fus-east-1%2Fs3%2Faws4_request"
           "&X-Amz-Date=20221106T084937Z&X-Amz-Expires=300&X-Amz-Signature="
           "6b1f2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"
           "&X-Amz-SignedHeaders=host&actor_id=0&key_id=0&repo_id=123456789"
           "&response-content-disposition=attachment%3B%20filename%3Dmodel-v2.1.0.tar.gz"
           "&response-content-type=application%2Foctet-stream\r\n"
           "Cache-Control: no-cache\r\n"
           "Strict-Transport-Security: max-age=31536000; includeSubdomains; preload\r\n"
           "X-Frame-Options: deny\r\n"
           "X-Content-Type-Options: nosniff\r\n"
           "X-XSS-Protection: 0\r\n"
           "Referrer-Policy: no-referrer-when-downgrade\r\n"
           "Content-Security-Policy: default-src 'none'; base-uri 'self'; child-src "
           "github.com/assets-cdn/worker/ gist.github.com/assets-cdn/worker/; connect-src 'self' "
           "uploads.github.com objects-origin.githubusercontent.com www.githubstatus.com "
           "collector.github.com raw.githubusercontent.com api.github.com; font-src "
           "github.githubassets.com; form-action 'self' github.com gist.github.com; "
           "frame-ancestors 'none'; frame-src render.githubusercontent.com; img-src 'self' data: "
           "github.githubassets.com media.githubusercontent.com identicons.github.com; "
           "manifest-src 'self'; media-src github.com user-images.githubusercontent.com/; "
           "script-src github.githubassets.com; style-src 'unsafe-inline' "
           "github.githubassets.com; upgrade-insecure-requests\r\n"
           "Content-Length: 0\r\n"
           "X-GitHub-Request-Id: C0DE:1F2E:3D4C5B:6A7988:63677AC1\r\n"
           "\r\n"}};

// What every parser here must have found, so that none of them is faster by doing less: status,
// name and value of each field, and how long the body is.
struct found {
    int status = 0;
    std::size_t fields = 0;
    std::size_t bytes = 0; // of all names and values
    std::optional<std::uint64_t> length;

    void add(std::string_view name, std::string_view value) noexcept {
        ++fields;
        bytes += name.size() + value.size();
    }
    friend bool operator==(found const&, found const&) = default;
};

// ---- cleave ----

class by_cleave {
  public:
    void read(std::string_view text) {
        parser_.reset();
        benchmark::DoNotOptimize(parser_.feed(text));
        framing_ = cleave::read_framing(parser_.head()).framing;
        benchmark::DoNotOptimize(framing_);
    }
    [[nodiscard]] found what() const {
        found to;
        to.status = parser_.head().status();
        for (auto const& f : parser_.head().fields()) to.add(f.name, f.value);
        if (framing_.is == cleave::body_framing::kind::length) to.length = framing_.length;
        return to;
    }

  private:
    cleave::response_head_parser parser_;
    cleave::body_framing framing_;
};

// ---- http_parser ----

#ifdef CLEAVE_BENCH_HTTP_PARSER
// Keeps views into the text. A value that it hands over in two goes would have to be joined; from
// one text it does not.
class by_http_parser {
  public:
    by_http_parser() {
        http_parser_settings_init(&settings_);
        settings_.on_header_field = [](http_parser* p, char const* at, std::size_t n) {
            by_http_parser& me = of(p);
            me.names_[me.count_] = {at, n};
            return 0;
        };
        settings_.on_header_value = [](http_parser* p, char const* at, std::size_t n) {
            by_http_parser& me = of(p);
            me.values_[me.count_] = {at, n};
            ++me.count_;
            return 0;
        };
        settings_.on_headers_complete = [](http_parser* p) {
            by_http_parser& me = of(p);
            me.length_ = p->content_length;
            http_parser_pause(p, 1); // the body is not for it
            return 0;
        };
    }
    by_http_parser(by_http_parser const&) = delete;
    by_http_parser& operator=(by_http_parser const&) = delete;

    void read(std::string_view text) {
        http_parser_init(&parser_, HTTP_RESPONSE);
        parser_.data = this;
        count_ = 0;
        benchmark::DoNotOptimize(
            http_parser_execute(&parser_, &settings_, text.data(), text.size()));
        benchmark::DoNotOptimize(names_.data());
        benchmark::DoNotOptimize(values_.data());
    }
    [[nodiscard]] found what() const {
        found to;
        to.status = static_cast<int>(parser_.status_code);
        for (std::size_t i = 0; i != count_; ++i) to.add(names_[i], values_[i]);
        to.length = length_;
        return to;
    }

  private:
    static by_http_parser& of(http_parser* p) { return *static_cast<by_http_parser*>(p->data); }

    http_parser parser_{};
    http_parser_settings settings_{};
    std::array<std::string_view, 256> names_;
    std::array<std::string_view, 256> values_;
    std::size_t count_ = 0;
    std::uint64_t length_ = 0;
};
#endif

// ---- Beast ----

#ifdef CLEAVE_BENCH_BEAST
namespace http = boost::beast::http;

// Its bare parser, with views into the text, as above. One is made for each message; it takes no
// memory for a head that comes in one piece.
class by_beast_bare {
    class views final : public http::basic_parser<false> {
      public:
        explicit views(by_beast_bare& to) : to_(to) {}

      private:
        using view = boost::beast::string_view;
        void on_request_impl(http::verb, view, view, int, boost::beast::error_code&) override {}
        void on_response_impl(int code, view, int, boost::beast::error_code&) override {
            to_.status_ = code;
        }
        void on_field_impl(http::field, view name, view value, boost::beast::error_code&) override {
            to_.names_[to_.count_] = {name.data(), name.size()};
            to_.values_[to_.count_] = {value.data(), value.size()};
            ++to_.count_;
        }
        void on_header_impl(boost::beast::error_code&) override {}
        void on_body_init_impl(boost::optional<std::uint64_t> const&,
                               boost::beast::error_code&) override {}
        std::size_t on_body_impl(view body, boost::beast::error_code&) override {
            return body.size();
        }
        void on_chunk_header_impl(std::uint64_t, view, boost::beast::error_code&) override {}
        std::size_t on_chunk_body_impl(std::uint64_t, view body,
                                       boost::beast::error_code&) override {
            return body.size();
        }
        void on_finish_impl(boost::beast::error_code&) override {}

        by_beast_bare& to_;
    };

  public:
    void read(std::string_view text) {
        count_ = 0;
        views parser{*this};
        boost::beast::error_code ec;
        parser.put(boost::asio::const_buffer{text.data(), text.size()}, ec);
        if (auto const n = parser.content_length()) length_ = *n;
        benchmark::DoNotOptimize(names_.data());
        benchmark::DoNotOptimize(values_.data());
        benchmark::DoNotOptimize(length_);
    }
    [[nodiscard]] found what() const {
        found to;
        to.status = status_;
        for (std::size_t i = 0; i != count_; ++i) to.add(names_[i], values_[i]);
        to.length = length_;
        return to;
    }

  private:
    int status_ = 0;
    std::array<std::string_view, 256> names_;
    std::array<std::string_view, 256> values_;
    std::size_t count_ = 0;
    std::uint64_t length_ = 0;
};

// Memory for one message's fields, which are all given back before the next.
class arena {
  public:
    void* take(std::size_t n) {
        n = (n + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) *
            alignof(std::max_align_t);
        if (n > memory_.size() - used_) throw std::bad_alloc{};
        void* const p = memory_.data() + used_;
        used_ += n;
        return p;
    }
    void reset() noexcept { used_ = 0; }

  private:
    alignas(std::max_align_t) std::array<std::byte, 65536> memory_;
    std::size_t used_ = 0;
};
template <class T>
struct arena_allocator {
    using value_type = T;

    arena* from;

    explicit arena_allocator(arena& a) noexcept : from(&a) {}
    template <class U>
    arena_allocator(arena_allocator<U> const& other) noexcept : from(other.from) {}
    T* allocate(std::size_t n) { return static_cast<T*>(from->take(n * sizeof(T))); }
    void deallocate(T*, std::size_t) noexcept {}
    template <class U>
    friend bool operator==(arena_allocator const& a, arena_allocator<U> const& b) noexcept {
        return a.from == b.from;
    }
};

// Its parser with the fields stored, as cleave's stores them.
class by_beast_stored {
  public:
    void read(std::string_view text) {
        text_ = text;
        found unused;
        read(text, unused, false);
    }
    [[nodiscard]] found what() {
        found to;
        read(text_, to, true);
        return to;
    }

  private:
    void read(std::string_view text, found& to, bool tell) {
        memory_.reset();
        http::response_parser<http::empty_body, arena_allocator<char>> parser{
            std::piecewise_construct, std::make_tuple(),
            std::make_tuple(arena_allocator<char>{memory_})};
        boost::beast::error_code ec;
        parser.put(boost::asio::const_buffer{text.data(), text.size()}, ec);
        std::uint64_t length = 0;
        if (auto const n = parser.content_length()) length = *n;
        benchmark::DoNotOptimize(length);
        if (!tell) return;
        to.status = static_cast<int>(parser.get().result_int());
        to.length = length;
        for (auto const& f : parser.get())
            to.add({f.name_string().data(), f.name_string().size()},
                   {f.value().data(), f.value().size()});
    }

    arena memory_;
    std::string_view text_;
};
#endif

template <class Parser>
void parse(benchmark::State& state, std::string_view text) {
    Parser parser;
    for (auto _ : state) parser.read(text);
    by_cleave reference;
    reference.read(text);
    if (!(parser.what() == reference.what())) state.SkipWithError("it found something else");
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

// In portions of as many bytes as the argument says.
void parse_split(benchmark::State& state, std::string_view text) {
    auto const portion = static_cast<std::size_t>(state.range(0));
    cleave::response_head_parser parser;
    for (auto _ : state) {
        parser.reset();
        for (std::size_t at = 0; at < text.size(); at += portion)
            benchmark::DoNotOptimize(parser.feed(text.substr(at, portion)));
    }
    if (parser.head().fields().empty()) state.SkipWithError("it is not complete");
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

// Whether a reply may be used, once it is read: of the right object, bytes and framing.
void admit(benchmark::State& state, std::string_view text) {
    cleave::response_head_parser parser;
    parser.feed(text);
    constexpr cleave::lease asked{{4194304, 5242879}, true};
    cleave::identity known;
    cleave::read_identity(parser.head(), known);
    known.size = 1073741824;
    cleave::admission to;
    for (auto _ : state) {
        cleave::admit(parser.head(), asked, {0, cleave::max_offset}, &known, to);
        benchmark::DoNotOptimize(to);
    }
    if (to.refused.has_value() != (parser.head().status() != 206))
        state.SkipWithError("it was judged wrongly");
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

template <class Parser>
void add(sample const& s, char const* whose) {
    benchmark::RegisterBenchmark(("parse/" + std::string{s.name} + "/" + whose).c_str(),
                                 parse<Parser>, s.text);
}

[[maybe_unused]] bool const registered = [] {
    for (sample const& s : samples) {
        add<by_cleave>(s, "cleave");
#ifdef CLEAVE_BENCH_HTTP_PARSER
        add<by_http_parser>(s, "http_parser");
#endif
#ifdef CLEAVE_BENCH_BEAST
        add<by_beast_bare>(s, "beast_bare");
        add<by_beast_stored>(s, "beast_stored");
#endif
    }
    for (sample const& s : samples)
        benchmark::RegisterBenchmark(("parse_split/" + std::string{s.name}).c_str(), parse_split,
                                     s.text)
            ->Arg(1)
            ->Arg(64);
    for (sample const& s : samples)
        benchmark::RegisterBenchmark(("admit/" + std::string{s.name}).c_str(), admit, s.text);
    return true;
}();

} // namespace
