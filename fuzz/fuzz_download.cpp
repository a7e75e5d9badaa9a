// SPDX-License-Identifier: BSL-1.0
//
// Whole downloads through the real driver, in virtual time, over a network in memory, from servers
// that answer as the input says, byte for byte: a good end has exactly the bytes of one version, a
// bad one has an error with a name, and there is an end, after few requests. When the input is at
// its end the servers do their best.
//
// The input: the object, the settings, the network, and then a few bytes for each connection and
// each reply.

#include "input.hpp"
#include "server.hpp"

#include <cleave/download.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using cleave::testing::memory_peer;
using cleave_fuzz::content;
using cleave_fuzz::require;
using namespace std::chrono_literals;

/// A digest that is cheap: of eight bytes, and none of an object that is short of one.
class sum_hasher {
  public:
    void reset(std::error_code&) noexcept { sum_ = 0x9e3779b97f4a7c15U; }
    void update(std::span<std::byte const> bytes, std::error_code&) noexcept {
        for (std::byte const b : bytes)
            sum_ = (sum_ ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3U;
    }
    cleave::digest_value finish(std::error_code&) noexcept {
        cleave::digest_value to;
        for (to.size = 0; to.size != 8; ++to.size)
            to.bytes[to.size] = static_cast<std::byte>(sum_ >> 8 * to.size & 0xffU);
        return to;
    }

  private:
    std::uint64_t sum_ = 0;
};
struct sum_verifier {
    using hasher_type = sum_hasher;
    std::optional<cleave::digest_value> expected = {};

    [[nodiscard]] bool wanted() const noexcept { return expected.has_value(); }
    [[nodiscard]] std::error_code fault() const noexcept { return {}; }
    [[nodiscard]] hasher_type make_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches(cleave::digest_value const& d) const noexcept {
        return d == expected;
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept { return wanted() ? 1 : 0; }
};
static_assert(cleave::content_verifier<sum_verifier>);

class simulation {
  public:
    explicit simulation(cleave_fuzz::input& in)
        : in_(in), network_([this](memory_peer& p, auto const& r) { answer(p, r); }, link(in)) {
        network_.record(false);
        network_.on_connect([this](std::size_t) { return arrives(); });
        servers_.size = in_.chance(95) ? 1 + in_.below(120) : 0;
        std::uint8_t const form = in_.byte();
        servers_.how = static_cast<cleave_fuzz::tells>(form % 4);
        servers_.ranges = (form & 0x0cU) != 0x0c;
        if (servers_.how != cleave_fuzz::tells::nothing)
            servers_.other = {false, (form & 0x10U) != 0, (form & 0x20U) != 0};
    }

    void run() {
        std::uint8_t const form = in_.byte();
        cleave::request what = "http://user:secret@a/x?token=secret";
        if ((form & 3U) == 3) {
            what.with_mirror("http://b/y");
            fair_ = !servers_.other[1];
        }
        what.with_header("X-Key", "secret");
        what.seed = 7;
        what.new_versions = form >> 2U & 1U;
        std::optional<cleave::segment> part;
        if ((form & 0x18U) == 0x18) {
            std::uint64_t const first = in_.below(130);
            what.part = part = cleave::segment{first, first + in_.below(130)};
        }
        std::vector<std::byte> const right = bytes_of(0, {0, servers_.size});
        sum_verifier verify;
        if ((form & 0xe0U) == 0xe0 && !part) {
            sum_hasher h;
            std::error_code ec;
            h.reset(ec);
            h.update(right, ec);
            verify.expected = h.finish(ec);
        }
        cancel_at_ = in_.chance(97) ? 0 : in_.below(1000);
        fair_ = fair_ && cancel_at_ == 0 && (!part || part->first < servers_.size);
        auto how = cleave::policies<>{}
                       .with_plan(cleave::fixed_size{24 + in_.below(60)})
                       .with_lanes(cleave::fixed_lanes{1 + in_.byte() % 4U})
                       .with_renewal(cleave::backoff{.tries = 1 + in_.byte() % 3U})
                       .with_verify(verify)
                       .with_pace(cleave::unlimited{})
                       .with_connector(network_.connector())
                       .with_timer<cleave::testing::virtual_timers>()
                       .with_journal(cleave::no_journal{})
                       .with_background(cleave::same_thread{})
                       .with_control(control_)
                       .with_windows({.grant = 20 + in_.below(200),
                                      .sample = in_.below(20),
                                      .stealing = {.least = 8, .leave = 2}});
        cleave::async_download(context_.get_executor(), what, cleave::memory_sink{got_},
                               std::move(how), [this](std::error_code ec, cleave::report r) {
                                   require(++calls_ == 1, "the handler is called once");
                                   ec_ = ec;
                                   report_ = std::move(r);
                               });
        bool const ended = world_.run(
            context_,
            [this] {
                if (cancel_at_ != 0 && world_.steps() == cancel_at_) control_.cancel();
                return calls_ != 0;
            },
            20'000);
        require(ended, "there is an end");
        require(network_.answered() <= 600, "there are few requests");
        judge(part, verify.wanted());
        // What is left over calls nobody.
        world_.run(
            context_, [] { return false; }, 20'000);
        require(network_.open_connections() == 0, "no connection is left open");
    }

  private:
    static cleave::testing::memory_link link(cleave_fuzz::input& in) {
        cleave::testing::memory_link to;
        std::uint8_t const form = in.byte();
        to.latency = 1ms;
        if (form >= 0x80) to.piece = 8U + in.byte();
        if (form >= 0xc0) to.window = 16U + in.byte();
        if (form >= 0xe0) to.rate = 100U + 16U * in.byte();
        return to;
    }

    cleave::testing::connect_result arrives() {
        using cleave::testing::arrival;
        std::uint8_t const what = in_.byte();
        if (what < 0xf0) return arrival::accepted;
        fair_ = false;
        if (what < 0xf6) return arrival::refused;
        if (what < 0xf9) return arrival::unresolved;
        if (what < 0xfc) return cleave::error::certificate_expired;
        return arrival::lost;
    }

    static std::vector<std::byte> bytes_of(content c, cleave::segment from_and_count) {
        std::vector<std::byte> to(static_cast<std::size_t>(from_and_count.last));
        for (std::size_t i = 0; i != to.size(); ++i)
            to[i] = cleave_fuzz::byte_of(c, from_and_count.first + i);
        return to;
    }

    void answer(memory_peer& to, cleave::testing::seen_request const& r) {
        require(r.method == "GET" && r.version == "HTTP/1.1", "a request is one");
        for (char const* const once : {"Host", "Range", "If-Range", "Accept-Encoding"})
            require(r.count(once) <= 1, "nothing is said twice");
        auto const asked = cleave_fuzz::asked::read(r.head);
        require(asked.host == 0 ||
                    (r.head.find("secret") == r.head.npos && r.count("Authorization") == 0),
                "secrets go to their origin only");
        cleave_fuzz::reply const is = servers_.answer(asked, in_);
        fair_ = fair_ && is.fair;
        if (is.never) return to.stall_for_ever();
        to.send(is.head);
        if (is.of == cleave_fuzz::no_content) {
            if (is.head.find("\r\nContent-Length: 4\r\n") != is.head.npos) to.send_body("body");
            if (is.closes) to.fin();
            return;
        }
        std::uint64_t const total =
            is.head.find("206 x") == is.head.npos ? is.count : total_of(is.head);
        told_.push_back(total);
        std::uint64_t const n = is.breaks.value_or(is.count);
        std::string body;
        body.reserve(static_cast<std::size_t>(n));
        for (std::uint64_t i = 0; i != n; ++i)
            body += static_cast<char>(cleave_fuzz::byte_of(is.of, is.first + i));
        if (is.chunked) {
            std::uint8_t const each = in_.byte();
            send_chunks(to, body, each == 0 ? body.size() : each);
            if (!is.breaks) to.send(each % 2U == 0 ? "0\r\n\r\n" : "0\r\nX-Trailer: x\r\n\r\n");
        } else {
            to.send_body(body);
        }
        if (is.silent && is.breaks) return to.stall_for_ever();
        if (is.breaks) return in_.byte() % 2U == 0 ? to.fin() : to.rst();
        if (is.closes) to.fin();
    }
    static std::uint64_t total_of(std::string_view head) {
        auto const range = cleave_fuzz::field_of(head, "\r\nContent-Range: bytes ");
        return std::strtoull(std::string{range.substr(range.find('/') + 1)}.c_str(), nullptr, 10);
    }
    static void send_chunks(memory_peer& to, std::string_view body, std::size_t each) {
        constexpr std::string_view digits = "0123456789abcdef";
        while (!body.empty()) {
            std::string_view const some = body.substr(0, each);
            body.remove_prefix(some.size());
            std::string const size{digits[some.size() >> 4U], digits[some.size() & 15U]};
            to.send_body(size + "\r\n" + std::string{some} + "\r\n");
        }
    }

    void judge(std::optional<cleave::segment> part, bool verified) {
        require(static_cast<bool>(ec_) == report_.failed.has_value(), "a failure is told twice");
        require(report_.requests >= network_.answered(), "the report knows of each request");
        if (ec_) {
            require(ec_ == report_.failed->code, "a failure has one code");
            std::string const message = report_.failed->message();
            require(!message.empty() && message.find("secret") == message.npos,
                    "a failure says what happened, and no secret");
            require(!fair_, "nothing fails where nothing goes wrong");
            return;
        }
        require(report_.bytes == got_.size(), "every byte is counted");
        std::uint64_t const first = part ? part->first : 0;
        bool same = false;
        for (content c = 0; c != 30 && !same; ++c) {
            same = true;
            for (std::size_t i = 0; i != got_.size() && same; ++i)
                same = got_[i] == cleave_fuzz::byte_of(c, first + i);
            // With its digest it is the one that was meant.
            if (verified) require(same, "what is verified has its digest");
        }
        require(same, "what is had is one version");
        // As long as somebody said, or, where nobody did, as far as the connection went.
        std::uint64_t const end = first + got_.size();
        bool const said = std::any_of(told_.begin(), told_.end(), [&](std::uint64_t size) {
            return end == size || (part && end == part->last + 1 && end <= size);
        });
        require(said || !report_.length_verified || end == 0, "what is had is all that there was");
        require(report_.digest_verified == verified, "the report knows of the digest");
    }

    cleave_fuzz::input& in_;
    cleave_fuzz::servers servers_;
    std::vector<std::uint64_t> told_; ///< sizes of the object
    bool fair_ = true;                ///< nothing has gone wrong yet
    cleave::testing::world world_;
    cleave::testing::memory_network network_;
    asio::io_context context_{1};
    cleave::control control_;
    std::uint64_t cancel_at_ = 0;

    std::vector<std::byte> got_;
    int calls_ = 0;
    std::error_code ec_;
    cleave::report report_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    simulation s{input};
    s.run();
    return 0;
}
