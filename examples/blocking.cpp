// SPDX-License-Identifier: BSL-1.0
//
// blocking: downloads one object over plain HTTP with blocking sockets, without Asio, to show that
// the engine stands alone. HTTP, renewal and the order in which a download ends are the engine's; a
// driver connects, sends, receives, writes and waits, and tells what came of it. This one has one
// lane and no journal, and is compiled with single_include/cleave/core.hpp alone, without
// exceptions.
//
//   blocking http://example.org/model.bin model.bin

#include <cleave/core.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

namespace action = cleave::action;
namespace event = cleave::event;
using cleave::body_framing;
using cleave::error;
using cleave::failure;
using cleave::phase;

void print(std::string_view line) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

class blocking_download {
  public:
    blocking_download(cleave::request what, std::string target)
        : target_(std::move(target)),
          engine_(std::move(what), cleave::guided{}, cleave::fixed_lanes{1}, cleave::backoff{},
                  cleave::no_verification{}, cleave::unlimited{}, log_) {}

    // Tells the engine what happened, and does what it wants, until it wants nothing more.
    cleave::report const& run() {
        tell(event::started{});
        while (!finished_) {
            if (inbox_.empty()) {
                std::this_thread::sleep_for(wake_at_ - now());
                tell(event::woke{lanes_at_rest_});
            }
            engine_.step(inbox_.front(), now());
            inbox_.pop_front();
            while (auto next = engine_.next_action())
                std::visit([this](auto const& a) { perform(a); }, *next);
        }
        return engine_.report();
    }

  private:
    static cleave::instant now() { return std::chrono::steady_clock::now().time_since_epoch(); }
    static failure of_system(int code, cleave::cause kind, phase where, std::string detail = {}) {
        return {{code, std::system_category()}, kind, where, 0, {}, std::move(detail)};
    }
    void tell(cleave::any_event e) { inbox_.push_back(std::move(e)); }
    void lane_failed(failure why) { tell(event::lane_failed{0, std::move(why)}); }

    // ---- the connection -------------------------------------------------------------------

    void perform(action::connect const&) {
        cleave::url const& to = engine_.target_of(0); // the request's, or where a redirect led
        if (to.scheme() != "http")
            return lane_failed(failure::of(error::tls_unavailable, phase::connect));
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* list = nullptr;
        std::string const host{to.host()};
        int why = ::getaddrinfo(host.c_str(), std::to_string(to.port()).c_str(), &hints, &list);
        if (why != 0)
            return lane_failed(of_system(EHOSTUNREACH, cleave::cause::passing, phase::connect,
                                         host + ": " + ::gai_strerror(why)));
        // Nothing can be told while a call blocks: so the system has to end it.
        auto const patience = engine_.request().timeouts.stall;
        timeval const longest{std::chrono::ceil<std::chrono::seconds>(patience).count(), 0};
        for (addrinfo const* at = list; at != nullptr && socket_ < 0; at = at->ai_next) {
            socket_ = ::socket(at->ai_family, at->ai_socktype, at->ai_protocol);
            ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
            ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
            if (::connect(socket_, at->ai_addr, at->ai_addrlen) == 0) break;
            why = errno;
            perform(action::close{});
        }
        ::freeaddrinfo(list);
        if (socket_ >= 0) return tell(event::connected{});
        lane_failed(of_system(why, cleave::cause::passing, phase::connect,
                              "connecting to " + to.host_field()));
    }
    void perform(action::send const& a) {
        char early = 0; // what comes before the request is no reply to it
        if (a.reused && !a.ahead &&
            (::recv(socket_, &early, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN))
            return lane_failed(failure::of(error::closed_before_reply, phase::head));
        // A few hundred bytes, so all of them at once.
        bool const sent = ::send(socket_, a.text.data(), a.text.size(), MSG_NOSIGNAL) >= 0;
        if (a.ahead) return; // the body before it comes first; if not, that shows there
        if (!sent) return lane_failed(of_system(errno, cleave::cause::passing, phase::head));
        perform(action::read_head{});
    }
    void perform(action::read_head const& a) {
        // What came behind the last body is the beginning of the next reply.
        bool const begun = a.next && !received_.empty();
        if (!begun)
            if (auto why = receive(phase::head)) return lane_failed(*std::move(why));
        tell(event::head_bytes{0, received_});
    }
    void perform(action::close const&) {
        if (socket_ >= 0) ::close(std::exchange(socket_, -1));
    }

    [[nodiscard]] std::optional<failure> receive(phase where) {
        auto const n = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
        received_ = {buffer_.data(), static_cast<std::size_t>(n < 0 ? 0 : n)};
        if (n > 0) return std::nullopt;
        if (n < 0)
            return of_system(errno == EAGAIN ? ETIMEDOUT : errno, cleave::cause::passing, where);
        body_over_ = framing_.is == body_framing::kind::until_close;
        if (where == phase::body) return failure::of(error::closed_in_body, where);
        bool const untouched = engine_.lanes()[0].reply.untouched();
        return failure::of(untouched ? error::closed_before_reply : error::closed_in_head, where);
    }

    // ---- the body -------------------------------------------------------------------------

    // Fills the grant, and writes nowhere else.
    void perform(action::receive const& a) {
        if (a.first) {
            received_.remove_prefix(a.head_size);
            payload_ = {};
            skip_ = a.skip;
            framing_ = a.framing;
            chunks_.reset();
            body_over_ = framing_.is == body_framing::kind::none ||
                         (framing_.is == body_framing::kind::length && framing_.length == 0);
        }
        event::grant_ended e;
        while (!e.failed && e.bytes != a.grant.size() && !(payload_.empty() && body_over_))
            e.failed = payload_.empty() ? next_payload() : place(a.grant, e.bytes);
        bool const full = a.last && e.bytes == a.grant.size();
        // Behind the last bytes there is still the chunk that ends them.
        if (full && payload_.empty() && framing_.is == body_framing::kind::chunked)
            (void)next_payload();
        e.body_ended = body_over_ && payload_.empty();
        e.bytes_left_over = full && !(payload_.empty() && received_.empty());
        e.too_short = e.body_ended && skip_ != 0;
        tell(std::move(e));
    }

    // Takes the framing off: the next bytes of the object, none where the body is over.
    [[nodiscard]] std::optional<failure> next_payload() {
        while (payload_.empty() && !body_over_) {
            if (received_.empty()) {
                if (auto why = receive(phase::body); why && !body_over_) return why;
            } else if (framing_.is == body_framing::kind::chunked) {
                auto const piece = chunks_.decode(received_);
                if (piece.is == cleave::chunked_decoder::state::failed)
                    return failure::of(error::bad_chunk, phase::body);
                body_over_ = piece.is == cleave::chunked_decoder::state::done;
                payload_ = piece.data;
                received_.remove_prefix(piece.consumed);
            } else {
                bool const counted = framing_.is == body_framing::kind::length;
                std::uint64_t n = received_.size();
                if (counted) n = std::min(n, framing_.length);
                payload_ = received_.substr(0, static_cast<std::size_t>(n));
                received_.remove_prefix(payload_.size());
                framing_.length -= counted ? n : 0;
                body_over_ = counted && framing_.length == 0;
            }
        }
        return std::nullopt;
    }
    // Drops what is to be skipped, and writes what comes behind it.
    [[nodiscard]] std::optional<failure> place(cleave::segment grant, std::uint64_t& placed) {
        std::uint64_t const most = skip_ != 0 ? skip_ : grant.size() - placed;
        auto n = static_cast<std::size_t>(std::min<std::uint64_t>(payload_.size(), most));
        if (skip_ != 0) {
            skip_ -= n;
        } else {
            auto const at = static_cast<off_t>(grant.first + placed);
            auto const written = ::pwrite(file_, payload_.data(), n, at);
            if (written < 0) return of_system(errno, cleave::cause::storage, phase::sink);
            n = static_cast<std::size_t>(written);
            placed += n;
        }
        payload_.remove_prefix(n);
        return std::nullopt;
    }

    // ---- the file, and the rest -----------------------------------------------------------

    // Those of the jobs that a download has without a digest and without a journal.
    void perform(action::run const& a) {
        std::string const part = target_ + ".part";
        bool good = true;
        switch (a.what) {
        case cleave::job::open: // perhaps not for the first time: an object may change
            if (file_ < 0) file_ = ::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
            good = ::ftruncate(file_, 0) == 0;
            break;
        case cleave::job::sync: good = ::fsync(file_) == 0; break;
        case cleave::job::publish: good = ::rename(part.c_str(), target_.c_str()) == 0; break;
        case cleave::job::abandon: ::unlink(part.c_str()); break;
        default: break;
        }
        event::job_ended ended{.what = a.what};
        if (!good) ended.failed = of_system(errno, cleave::cause::storage, phase::sink);
        tell(std::move(ended));
    }
    void perform(action::wait_until const& a) { wake_at_ = a.at; }
    void perform(action::finish const&) {
        perform(action::close{});
        if (file_ >= 0) ::close(file_);
        finished_ = true;
    }
    void perform(action::revoke const&) {}  // a grant ends before anything else is done
    void perform(action::refresh const&) {} // there is no source of fresh requests

    std::string target_;
    cleave::log_lines<void (*)(std::string_view)> log_{print};
    cleave::engine<cleave::guided, cleave::fixed_lanes, cleave::backoff, cleave::no_verification,
                   cleave::unlimited, decltype(log_)>
        engine_;
    std::deque<cleave::any_event> inbox_;
    std::array<event::lane_window, 1> const lanes_at_rest_{};
    cleave::instant wake_at_{0};
    bool finished_ = false;

    int socket_ = -1;
    int file_ = -1;
    std::array<char, 65536> buffer_;
    std::string_view received_; // in `buffer_`, not used yet
    std::string_view payload_;  // of it, what belongs to the object
    std::uint64_t skip_ = 0;
    body_framing framing_; // its length is what is still to come
    cleave::chunked_decoder chunks_;
    bool body_over_ = false;
};

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        print("usage: blocking http://host/path file");
        return 2;
    }
    cleave::request what{argv[1]};
    what.seed = std::random_device{}(); // for waiting times
    blocking_download download{std::move(what), argv[2]};
    cleave::report const& report = download.run();
    print(report.failed
              ? report.failed->message()
              : std::to_string(report.bytes) + " bytes, " + std::to_string(report.requests) +
                    " requests, " + std::to_string(report.retries) + " retries");
    return report.failed ? 1 : 0;
}
