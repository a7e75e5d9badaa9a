// SPDX-License-Identifier: BSL-1.0
//
// Replies over TLS that end without its goodbye, at any place; that break off with an alert; and
// that are damaged on the way. None of it is ever taken for the object.
#include <support/catch.hpp>

#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/tls_server.hpp>

#include <cleave/cleave.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace cleave_test;
using cleave::cause;

namespace {

// How the reply tells where its body ends: with ranges or without, in chunks, or not at all.
enum class framing { range, length, chunked, close };

constexpr std::string_view text =
    "In the beginning there was a stream of bytes, and whoever read it to its end could not tell "
    "whether somebody had cut it. So they counted the bytes, and wrote the number in front; then "
    "they sent it in chunks, the last of them empty; and then they put it all into records, each "
    "under a seal, and said goodbye at the end.";

/// A reply to a request for the bytes from `first` on.
std::string reply_in(framing f, std::size_t first) {
    std::string const size = std::to_string(text.size());
    std::string const body{text.substr(f == framing::range ? first : 0)};
    std::string const length = "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    switch (f) {
    case framing::range:
        return "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes " +
               std::to_string(first) + "-" + std::to_string(text.size() - 1) + "/" + size + "\r\n" +
               length + body;
    case framing::length: return "HTTP/1.1 200 OK\r\nETag: \"1\"\r\n" + length + body;
    case framing::chunked: {
        std::string all = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (std::size_t at = 0; at < body.size(); at += 40) all += chunk(body.substr(at, 40));
        return all + "0\r\n\r\n";
    }
    case framing::close: break;
    }
    return "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nConnection: close\r\n\r\n" + body;
}

/// The reply on the wire, in records of some 50 bytes, and the goodbye of TLS.
struct wire {
    std::string records;
    std::string goodbye;
    std::string all() const { return records + goodbye; }
};
wire on_the_wire(tls_connection& c, std::string_view reply) {
    wire made;
    for (std::size_t at = 0; at < reply.size(); at += 50)
        made.records += c.encrypt(reply.substr(at, 50));
    made.goodbye = c.goodbye();
    return made;
}

/// The first byte that a request asks for.
std::size_t first_wanted(std::string_view request) {
    constexpr std::string_view field = "Range: bytes=";
    auto const at = request.find(field);
    return at == request.npos ? 0 : std::stoul(std::string{request.substr(at + field.size())});
}

/// Downloads from a server that spoils its first replies.
class spoiled {
  public:
    using sender = std::function<void(tls_connection&, std::string const& reply)>;

    spoiled(framing f, int version)
        : server_{[this, f](tls_connection& c) {
                      auto const request = c.read_until("\r\n\r\n");
                      if (request.empty()) return;
                      auto const reply = reply_in(f, first_wanted(request));
                      if (auto const send = next())
                          send(c, reply);
                      else
                          c.raw(on_the_wire(c, reply).all());
                      c.fin();
                  },
                  {.version = version}} {}

    /// `send` spoils the first `bad` replies; those after them are whole.
    fetched fetch_text(int bad, sender send, std::uint32_t tries = 4) {
        {
            std::lock_guard const lock{mutex_};
            asked_ = 0;
            bad_ = bad;
            send_ = std::move(send);
        }
        return fetch(server_.url("127.0.0.1", "/r"), cleave::policies<>{}
                                                         .with_plan(cleave::fixed_size{1000})
                                                         .with_lanes(cleave::fixed_lanes{1})
                                                         .with_renewal(quick_backoff(tries))
                                                         .with_connector(connector_));
    }
    /// Requests in the last download.
    int asked() {
        std::lock_guard const lock{mutex_};
        return asked_;
    }
    /// How long a whole reply is on the wire.
    std::size_t size() {
        std::size_t n = 0;
        fetched const whole = fetch_text(1, [&](tls_connection& c, std::string const& reply) {
            auto const bytes = on_the_wire(c, reply);
            n = bytes.records.size();
            c.raw(bytes.all());
        });
        REQUIRE_FALSE(whole.ec);
        REQUIRE(whole.bytes == text);
        REQUIRE(asked() == 1);
        return n;
    }

  private:
    sender next() {
        std::lock_guard const lock{mutex_};
        return asked_++ < bad_ ? send_ : nullptr;
    }

    cleave::tls_connector connector_{{.ca_pem = test_authority().pem()}};
    std::mutex mutex_;
    int asked_ = 0;
    int bad_ = 0;
    sender send_;
    tls_server server_;
};

} // namespace

TEST_CASE("truncation: a connection that ends without goodbye, at 200 places (G01, G02)") {
    auto const f = GENERATE(framing::range, framing::length, framing::chunked, framing::close);
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    spoiled server{f, version};
    std::size_t const whole = server.size();
    // 100 in each version, and all those about the end; the goodbye has some 30 bytes.
    std::vector<std::size_t> cuts;
    for (std::size_t i = 0; i != 80; ++i) cuts.push_back(whole * i / 80);
    for (std::size_t i = 0; i != 20; ++i) cuts.push_back(whole - 10 + i);
    for (std::size_t const cut : cuts) {
        CAPTURE(static_cast<int>(f), version, cut, whole);
        auto const cut_short = [cut](tls_connection& c, std::string const& reply) {
            c.raw(on_the_wire(c, reply).all().substr(0, cut));
        };
        // Where the body says where it ends, the goodbye tells nothing that matters.
        bool const complete = f != framing::close && cut >= whole;
        fetched const got = server.fetch_text(1, cut_short);
        REQUIRE_FALSE(got.ec);
        REQUIRE(got.bytes == text);
        REQUIRE(server.asked() == (complete ? 1 : 2));
        REQUIRE(got.report.retries == (complete ? 0 : 1));
        if (complete || cut % 8 != 0) continue;

        fetched const again = server.fetch_text(2, cut_short, 2);
        REQUIRE(again.report.retries != 0);
        // With ranges, a reply goes on where the one before it ended, and that counts as no failure
        // in a row.
        if (f == framing::range && !again.ec) {
            REQUIRE(again.bytes == text);
            continue;
        }
        REQUIRE(again.ec == cause::passing);
        REQUIRE(again.bytes.empty());
    }
}

TEST_CASE("truncation: flipped bits and alerts are not taken for data (G08)") {
    auto const f = GENERATE(framing::range, framing::length, framing::chunked, framing::close);
    int const version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
    spoiled server{f, version};
    std::size_t const whole = server.size();
    for (std::size_t i = 0; i != 20; ++i) {
        std::size_t const at = whole * i / 20 + i % 7;
        bool const alert = i % 5 == 4;
        CAPTURE(static_cast<int>(f), version, at, whole, alert);
        fetched const got = server.fetch_text(1, [=](tls_connection& c, std::string const& reply) {
            if (alert) {
                c.send(std::string_view{reply}.substr(0, reply.size() * i / 20));
                c.raw(c.alert());
                return;
            }
            auto bytes = on_the_wire(c, reply).all();
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << i % 8));
            c.raw(bytes);
        });
        REQUIRE_FALSE(got.ec);
        REQUIRE(got.bytes == text);
        REQUIRE(server.asked() == 2);
        REQUIRE(got.report.retries == 1);
    }
}
