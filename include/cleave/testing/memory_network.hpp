// SPDX-License-Identifier: BSL-1.0
//
// A network in memory, in the virtual time of a world: connections with latency, a pace, and a
// window that makes a server wait for a slow reader; servers whose answers the test writes, down
// to FIN, RST and silence. It models cleave's `byte_connector`, and knows nothing of how cleave
// reads and writes HTTP: a mistake there must not hide behind the same one here.
//
// A stream that is used against the laws of <cleave/connect/concept.hpp> throws std::logic_error.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/url.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

/// Networks, disks and time in memory, and faults of servers, for tests. For one thread.
namespace cleave::testing {

/// What lies between a client and a server.
struct memory_link {
    /// One way; a connection stands after twice as long.
    world::time latency = std::chrono::milliseconds{10};
    /// Bytes a second that the server can send on a connection; 0 is no limit.
    std::uint64_t rate = 0;
    /// Bytes that arrive at one moment, at most.
    std::size_t piece = 16 * 1024;
    /// Bytes sent that the client has not read yet, at most.
    std::size_t window = 256 * 1024;
};

/// What comes of an attempt to connect.
enum class arrival {
    accepted,
    refused,    ///< answered with a reset
    lost,       ///< never answered
    unresolved, ///< there is no such name
};

/// The same, or the error that the attempt ends with: `cleave::error::certificate_expired`, as with
/// TLS, or a code of the system. A lambda that may answer with either says `-> connect_result`.
class connect_result {
  public:
    connect_result(arrival a) noexcept : arrival_(a) {}
    /// Accepted where `ec` is no error.
    connect_result(std::error_code ec) noexcept : ec_(ec) {}
    connect_result(cleave::error e) noexcept : ec_(e) {}

    [[nodiscard]] bool accepted() const noexcept { return arrival_ == arrival::accepted && !ec_; }
    [[nodiscard]] bool lost() const noexcept { return arrival_ == arrival::lost; }
    /// What the client is told; no error when accepted, or lost.
    [[nodiscard]] std::error_code error() const noexcept {
        if (arrival_ == arrival::refused) return asio::error::connection_refused;
        if (arrival_ == arrival::unresolved) return cleave::error::name_not_resolved;
        return ec_;
    }

  private:
    arrival arrival_ = arrival::accepted;
    std::error_code ec_;
};

class memory_peer;
class memory_connector;
/// A server: is called with each request, and answers by way of the peer.
using memory_handler = std::function<void(memory_peer&, seen_request const&)>;

namespace detail {

struct memory_network_state {
    memory_handler handler;
    memory_link link;
    std::function<connect_result(std::size_t attempt)> on_connect;
    bool recording = true;

    std::size_t attempts = 0;
    std::size_t connections = 0;
    std::size_t open = 0;
    std::size_t peak = 0;
    std::uint64_t bytes_delivered = 0;
    std::uint64_t body_bytes_sent = 0;
    std::size_t answered = 0;
    std::vector<seen_request> requests;
    std::vector<std::string> log;

    void note(std::size_t connection, std::string_view what) {
        log.push_back(std::to_string(world::current().now().count()) + " #" +
                      std::to_string(connection) + " " + std::string{what});
    }
    void note(std::size_t connection, connect_result const& comes) {
        if (!recording) return;
        if (comes.accepted()) return note(connection, "connects");
        if (comes.lost()) return note(connection, "is lost");
        auto const ec = comes.error();
        if (ec == asio::error::connection_refused) return note(connection, "is refused");
        if (ec == cleave::error::name_not_resolved) return note(connection, "does not resolve");
        note(connection, "fails: " + ec.message());
    }
    void note(seen_request const& r) {
        if (!recording) return;
        requests.push_back(r);
        note(r.connection, r.method + " " + r.target + " " + r.field("Range").value_or("all"));
    }
};

// The network of each host; under "" that of all others.
using memory_hosts = std::map<std::string, std::shared_ptr<memory_network_state>>;

// Part of a text that many share, so that it is never copied on its way.
class shared_bytes {
  public:
    shared_bytes() = default;
    explicit shared_bytes(std::string text)
        : text_(std::make_shared<std::string const>(std::move(text))), size_(text_->size()) {}

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] char const* data() const noexcept { return text_->data() + from_; }
    void drop_front(std::size_t n) noexcept {
        from_ += n;
        size_ -= n;
    }
    [[nodiscard]] shared_bytes part(std::size_t from, std::size_t n) const {
        shared_bytes p{*this};
        p.from_ += from;
        p.size_ = n;
        return p;
    }

  private:
    std::shared_ptr<std::string const> text_;
    std::size_t from_ = 0;
    std::size_t size_ = 0;
};

// One step of what a server does on a connection.
struct memory_step {
    enum class kind { bytes, silence, fin, rst, fail, stall };
    kind is = kind::bytes;
    shared_bytes bytes = {}; // what is left of them to be sent
    bool body = false;
    std::size_t piece = std::numeric_limits<std::size_t>::max(); // at one moment, at most
    world::time silence{0};
    std::error_code error = {};
};

// Both ends of a connection, and what is on the way between them.
class memory_connection : public std::enable_shared_from_this<memory_connection> {
  public:
    memory_connection(std::shared_ptr<memory_network_state> network,
                      std::shared_ptr<waiting_handlers> handlers)
        : network_(std::move(network)), handlers_(std::move(handlers)), link_(network_->link),
          credit_(link_.window), index_(network_->attempts++) {}

    // --- the client's end

    template <class Executor, class Handler>
    void connect(Executor const& ex, Handler handler) {
        wait_with(ex, std::move(handler));
        connect_result const comes =
            network_->on_connect ? network_->on_connect(index_) : arrival::accepted;
        network_->note(index_, comes);
        if (comes.lost()) return;
        later(2 * link_.latency, [comes](memory_connection& c) {
            if (c.client_closed_) return;
            if (!comes.accepted()) return c.wake(comes.error());
            c.established_ = true;
            c.server_open_ = true;
            ++c.network_->connections;
            c.network_->peak = std::max(c.network_->peak, ++c.network_->open);
            c.wake({});
        });
    }

    template <class Executor, class Handler>
    void write(Executor const& ex, std::string_view text, Handler handler) {
        must_be(established_, "async_write before it is connected");
        wait_with(ex, std::move(handler));
        if (reset_) return wake(asio::error::broken_pipe);
        later(link_.latency, [bytes = std::string{text}, read = replies_read(),
                              unread = bytes_written_ - bytes_read_](memory_connection& c) {
            c.arrived_at_server(bytes, read, unread);
        });
        wake({});
    }

    template <class Executor, class Handler>
    void wait(Executor const& ex, Handler handler) {
        must_be(established_, "async_wait before it is connected");
        wait_with(ex, std::move(handler));
        if (readable()) wake({});
    }

    std::size_t read_some(std::span<std::byte> to, std::error_code& ec) {
        must_be(established_, "read_some before it is connected");
        must_be(!to.empty(), "read_some into no memory");
        ec.clear();
        std::size_t const n = take_received(to);
        bytes_read_ += n;
        if (n != 0) {
            later(link_.latency, [n](memory_connection& c) {
                c.credit_ += n;
                c.go_on();
            });
        } else if (failed_) {
            ec = failed_;
        } else if (reset_) {
            ec = asio::error::connection_reset;
        } else if (fin_) {
            ec = asio::error::eof;
        } else {
            ec = asio::error::would_block;
        }
        return n;
    }

    // No mark is higher than what may be on the way.
    void low_water(std::size_t n) noexcept {
        low_water_ = std::clamp<std::size_t>(n, 1, std::max<std::size_t>(link_.window, 1));
        if (waiting_ && established_ && readable()) wake({});
    }

    void close() noexcept {
        client_closed_ = true;
        server_closes();
        script_.clear();
        if (waiting_) wake(asio::error::operation_aborted);
    }

    // --- the server's end

    void add(memory_step step) {
        if (client_closed_ || ended_) return;
        bytes_written_ += step.bytes.size();
        script_.push_back(std::move(step));
        go_on();
    }
    [[nodiscard]] std::size_t index() const noexcept { return index_; }

  private:
    // A handler that is called once, and until then nothing else may be started.
    template <class Executor, class Handler>
    void wait_with(Executor const& ex, Handler handler) {
        must_be(!std::exchange(busy_, true), "two operations at a time");
        auto once = [self = shared_from_this(),
                     h = std::move(handler)](std::error_code ec) mutable {
            self->busy_ = false;
            std::move(h)(ec);
        };
        waiting_ = handlers_->add(ex, std::move(once));
    }
    void wake(std::error_code ec) { handlers_->complete(*std::exchange(waiting_, {}), ec); }
    [[nodiscard]] bool readable() const noexcept {
        return received_size_ >= low_water_ || fin_ || reset_ || failed_;
    }
    std::size_t take_received(std::span<std::byte> to) {
        std::size_t n = 0;
        while (n != to.size() && !received_.empty()) {
            shared_bytes& first = received_.front();
            std::size_t const part = std::min(to.size() - n, first.size());
            std::memcpy(to.data() + n, first.data(), part);
            n += part;
            received_size_ -= part;
            first.drop_front(part);
            if (first.size() == 0) received_.pop_front();
        }
        return n;
    }

    static void must_be(bool right, char const* otherwise) {
        if (!right) throw std::logic_error(std::string{"a stream is used wrongly: "} + otherwise);
    }

    template <class F>
    void later(world::time from_now, F f) {
        world::current().after(from_now,
                               [self = shared_from_this(), f = std::move(f)] { f(*self); });
    }

    // Bytes on the way, and the end, arrive in the order in which they were sent.
    template <class F>
    void arrives_at_client(F f) {
        later(link_.latency, [f = std::move(f)](memory_connection& c) {
            if (c.client_closed_) return;
            f(c);
            // Only a wait is still out on a connection that stands.
            if (c.waiting_ && c.readable()) c.wake({});
        });
    }

    // Of how many replies something has been read.
    [[nodiscard]] std::size_t replies_read() const noexcept {
        return static_cast<std::size_t>(std::ranges::lower_bound(reply_starts_, bytes_read_) -
                                        reply_starts_.begin());
    }

    void arrived_at_server(std::string const& bytes, std::size_t read, std::uint64_t unread) {
        if (ended_) {
            // Nobody is there any more.
            arrives_at_client([](memory_connection& c) { c.reset_ = true; });
            return;
        }
        input_ += bytes;
        for (std::size_t end; (end = input_.find("\r\n\r\n")) != std::string::npos;) {
            questions_.push_back(seen_request::read(input_.substr(0, end + 4)));
            questions_.back().replies_read = read;
            questions_.back().unread = unread;
            input_.erase(0, end + 4);
        }
        go_on();
    }

    // Does what the server is to do, as far as that can be done now.
    void go_on() {
        if (std::exchange(going_on_, true)) return;
        while (!paused_ && !ended_) {
            if (script_.empty()) {
                if (!answer_next()) break;
            } else if (!do_step(script_.front())) {
                break;
            }
        }
        going_on_ = false;
    }

    bool answer_next() {
        if (questions_.empty()) return false;
        seen_request r = std::move(questions_.front());
        questions_.pop_front();
        r.connection = index_;
        r.on_connection = answered_++;
        r.index = network_->answered++;
        network_->note(r);
        reply_starts_.push_back(bytes_written_);
        answer(r);
        return true;
    }
    void answer(seen_request const& r);

    // False: not now.
    bool do_step(memory_step& s) {
        switch (s.is) {
        case memory_step::kind::bytes: return send_piece(s);
        case memory_step::kind::silence: {
            auto const time = s.silence;
            script_.pop_front();
            pause(time);
            return true;
        }
        case memory_step::kind::fin: end([](memory_connection& c) { c.fin_ = true; }); return false;
        case memory_step::kind::rst:
            end([](memory_connection& c) { c.reset_ = true; });
            return false;
        case memory_step::kind::fail:
            end([ec = s.error](memory_connection& c) { c.failed_ = ec; });
            return false;
        case memory_step::kind::stall: return false;
        }
        return false;
    }

    bool send_piece(memory_step& s) {
        std::size_t const n = std::min({s.bytes.size(), link_.piece, s.piece, credit_});
        if (n == 0 && s.bytes.size() != 0) return false;
        credit_ -= n;
        if (s.body) network_->body_bytes_sent += n;
        auto piece = s.bytes.part(0, n);
        s.bytes.drop_front(n);
        if (s.bytes.size() == 0) script_.pop_front();
        auto const send = [piece = std::move(piece)](memory_connection& c) {
            c.arrives_at_client([piece](memory_connection& to) {
                to.received_size_ += piece.size();
                to.received_.push_back(piece);
                to.network_->bytes_delivered += piece.size();
            });
        };
        if (n != 0 && link_.rate == 0) send(*this);
        if (n != 0 && link_.rate != 0)
            pause(world::time{static_cast<std::int64_t>(n * std::uint64_t{1'000'000'000} /
                                                        link_.rate)},
                  send);
        return true;
    }

    void pause(world::time time) {
        pause(time, [](memory_connection&) {});
    }
    template <class F>
    void pause(world::time time, F then) {
        paused_ = true;
        later(time, [then = std::move(then)](memory_connection& c) {
            c.paused_ = false;
            then(c);
            c.go_on();
        });
    }

    template <class F>
    void end(F what_the_client_sees) {
        ended_ = true;
        script_.clear();
        questions_.clear();
        server_closes();
        arrives_at_client(std::move(what_the_client_sees));
    }
    void server_closes() noexcept {
        if (std::exchange(server_open_, false)) --network_->open;
    }

    std::shared_ptr<memory_network_state> network_;
    std::shared_ptr<waiting_handlers> handlers_;
    memory_link link_;

    std::optional<waiting_handlers::id> waiting_;
    bool busy_ = false;
    bool established_ = false;
    bool client_closed_ = false;
    bool fin_ = false;
    bool reset_ = false;
    std::error_code failed_;
    std::deque<shared_bytes> received_;
    std::size_t received_size_ = 0;
    std::size_t low_water_ = 1; // bytes that a wait wants
    std::uint64_t bytes_read_ = 0;
    std::uint64_t bytes_written_ = 0; // by the server, sent or not
    std::vector<std::uint64_t> reply_starts_;

    std::string input_;
    std::deque<seen_request> questions_;
    std::deque<memory_step> script_;
    std::size_t credit_;
    std::size_t answered_ = 0;
    bool server_open_ = false;
    bool going_on_ = false;
    bool paused_ = false;
    bool ended_ = false;

    std::size_t index_;
};

} // namespace detail

/// The server's end of a connection. Nothing here waits: each call adds a step, and the steps are
/// done one after another; the next request is answered when all of them are done. A copy is a
/// handle on the same connection, and steps may be added at any later time too.
class memory_peer {
  public:
    void send(std::string_view bytes) { add(bytes, false); }
    /// As send, and counted in `memory_network::body_bytes_sent`.
    void send_body(std::string_view bytes) { add(bytes, true); }
    /// Silence, before what comes next.
    void after(world::time silence) {
        connection_->add({.is = detail::memory_step::kind::silence, .silence = silence});
    }
    /// Ends the connection, in order or with a reset, when all bytes before are sent.
    void fin() { connection_->add({.is = detail::memory_step::kind::fin}); }
    void rst() { connection_->add({.is = detail::memory_step::kind::rst}); }
    /// Ends it so that the client finds this error behind the bytes before: TLS that ends without
    /// goodbye is `cleave::error::tls_truncated`, a record that was tampered with `tls_record_bad`.
    void fail(std::error_code ec) {
        connection_->add({.is = detail::memory_step::kind::fail, .error = ec});
    }
    /// Nothing more, and no end.
    void stall_for_ever() { connection_->add({.is = detail::memory_step::kind::stall}); }

    /// Which attempt to connect this was, from 0.
    [[nodiscard]] std::size_t connection() const noexcept { return connection_->index(); }

  private:
    friend class detail::memory_connection;
    friend void send(memory_peer& to, scripted_reply reply);

    void add(std::string_view bytes, bool body) {
        connection_->add({.bytes = detail::shared_bytes{std::string{bytes}}, .body = body});
    }
    explicit memory_peer(std::shared_ptr<detail::memory_connection> c)
        : connection_(std::move(c)) {}

    std::shared_ptr<detail::memory_connection> connection_;
};

/// Sends the reply as it is written: with its silences, in its pieces, as far as it goes, and then
/// ends the connection or not.
inline void send(memory_peer& to, scripted_reply reply) {
    std::size_t const all = std::min(reply.size(), reply.cut_at.value_or(reply.size()));
    std::size_t const piece =
        reply.piece == 0 ? std::numeric_limits<std::size_t>::max() : reply.piece;
    auto silence = reply.silences.begin();
    std::size_t sent = 0;
    auto const be_silent = [&] {
        for (; silence != reply.silences.end() && silence->first <= sent; ++silence)
            to.after(silence->second);
    };
    auto const send_part = [&](std::string& text, bool body) {
        detail::shared_bytes const bytes{std::move(text)};
        for (std::size_t from = 0; from != bytes.size() && sent != all;) {
            be_silent();
            std::size_t n = std::min(bytes.size() - from, all - sent);
            if (silence != reply.silences.end()) n = std::min(n, silence->first - sent);
            to.connection_->add({.bytes = bytes.part(from, n), .body = body, .piece = piece});
            from += n;
            sent += n;
        }
    };
    send_part(reply.before, false);
    send_part(reply.head, false);
    send_part(reply.body, true);
    be_silent();
    switch (reply.end) {
    case ending::keep: return;
    case ending::fin: return to.fin();
    case ending::rst: return to.rst();
    case ending::truncated: return to.fail(cleave::error::tls_truncated);
    case ending::stall: return to.stall_for_ever();
    }
}

inline void detail::memory_connection::answer(seen_request const& r) {
    memory_peer peer{shared_from_this()};
    network_->handler(peer, r);
}

/// A model of cleave's `byte_stream`.
template <class Executor>
class memory_stream {
  public:
    memory_stream(Executor const& ex, detail::memory_hosts hosts)
        : executor_(ex), hosts_(std::move(hosts)), handlers_(detail::handlers_of(ex)) {}
    memory_stream(memory_stream&&) = default;
    memory_stream& operator=(memory_stream&&) = delete;
    ~memory_stream() { close(); }

    template <class Handler>
    void async_connect(cleave::url const& to, Handler handler) {
        close();
        auto const named = hosts_.find(std::string{to.host()});
        auto const& network = named == hosts_.end() ? hosts_.at("") : named->second;
        connection_ = std::make_shared<detail::memory_connection>(network, handlers_);
        connection_->connect(executor_, std::move(handler));
    }
    template <class Handler>
    void async_write(std::string_view text, Handler handler) {
        connection().write(executor_, text, std::move(handler));
    }
    template <class Handler>
    void async_wait(Handler handler) {
        connection().wait(executor_, std::move(handler));
    }
    [[nodiscard]] std::size_t read_some(std::span<std::byte> to, std::error_code& ec) {
        return connection().read_some(to, ec);
    }
    void low_water(std::size_t n) noexcept {
        if (connection_) connection_->low_water(n);
    }
    void close() noexcept {
        if (connection_) connection_->close();
        connection_.reset();
    }

  private:
    [[nodiscard]] detail::memory_connection& connection() const {
        if (!connection_) throw std::logic_error("a stream is used wrongly: it is closed");
        return *connection_;
    }

    Executor executor_;
    detail::memory_hosts hosts_;
    std::shared_ptr<detail::waiting_handlers> handlers_;
    std::shared_ptr<detail::memory_connection> connection_;
};

/// A model of cleave's `byte_connector`; every URL leads to the one server of its network, but for
/// those of hosts that are in others.
class memory_connector {
  public:
    template <class Executor>
    [[nodiscard]] memory_stream<Executor> make(Executor const& ex) const {
        return {ex, hosts_};
    }
    /// URLs of this host lead to the server of another network.
    [[nodiscard]] memory_connector with_host(std::string name, memory_connector const& other) && {
        hosts_[std::move(name)] = other.hosts_.at("");
        return std::move(*this);
    }
    [[nodiscard]] std::error_code check(cleave::url const&) const noexcept { return {}; }
    [[nodiscard]] cleave::cause classify(std::error_code ec) const noexcept {
        if (ec.category() == cleave::error_category())
            return cleave::cause_of(static_cast<cleave::error>(ec.value()));
        return ec == std::errc::operation_canceled ? cleave::cause::cancelled
                                                   : cleave::cause::passing;
    }

  private:
    friend class memory_network;
    explicit memory_connector(std::shared_ptr<detail::memory_network_state> n)
        : hosts_{{"", std::move(n)}} {}

    detail::memory_hosts hosts_;
};

static_assert(cleave::byte_connector<memory_connector, asio::any_io_executor>);

/// A server and the way to it.
class memory_network {
  public:
    explicit memory_network(memory_handler handler, memory_link link = {})
        : state_(std::make_shared<detail::memory_network_state>()) {
        state_->handler = std::move(handler);
        state_->link = link;
    }

    [[nodiscard]] memory_connector connector() const { return memory_connector{state_}; }

    /// What comes of each attempt to connect, counted from 0; accepted if not set.
    void on_connect(std::function<connect_result(std::size_t attempt)> f) {
        state_->on_connect = std::move(f);
    }
    /// Whether `requests` and `log` grow; they do unless told. For very many downloads.
    void record(bool on) noexcept { state_->recording = on; }

    /// Attempts to connect, and how many of them came to stand.
    [[nodiscard]] std::size_t attempts() const noexcept { return state_->attempts; }
    [[nodiscard]] std::size_t connections() const noexcept { return state_->connections; }
    /// Connections that stand now, and the most there have been at one time.
    [[nodiscard]] std::size_t open_connections() const noexcept { return state_->open; }
    [[nodiscard]] std::size_t peak_connections() const noexcept { return state_->peak; }
    /// Bytes that have arrived at clients, heads and all; body bytes that have been sent at all.
    [[nodiscard]] std::uint64_t bytes_delivered() const noexcept { return state_->bytes_delivered; }
    [[nodiscard]] std::uint64_t body_bytes_sent() const noexcept { return state_->body_bytes_sent; }
    /// Requests that the server has begun to answer; and each of them, unless not recorded.
    [[nodiscard]] std::size_t answered() const noexcept { return state_->answered; }
    [[nodiscard]] std::vector<seen_request> const& requests() const noexcept {
        return state_->requests;
    }
    /// What happened when, a line each: "nanoseconds #connection what".
    [[nodiscard]] std::vector<std::string> const& log() const noexcept { return state_->log; }

    /// Serves the object at every target as RFC 9110 would have it. Of the options, `rate` and
    /// `piece` are the link's business here, and `http10` is not heeded.
    [[nodiscard]] static memory_handler honest(object whole, honest_options options = {}) {
        auto const shared = std::make_shared<object const>(std::move(whole));
        return [shared, options](memory_peer& p, seen_request const& r) {
            answer(p, r, *shared, options);
        };
    }

  private:
    static void answer(memory_peer& p, seen_request const& r, object const& o,
                       honest_options const& options) {
        auto right = options.ranges ? honest_reply(r, o)
                                    : scripted_reply{.head = honest_200_head(o), .body = o.bytes};
        if (right.head.starts_with("HTTP/1.1 416")) return send(p, std::move(right));
        bool const faulty = !options.applies || options.applies(r);
        bool const close = options.close_each || options.no_length;
        if (!options.ranges) drop_field(right.head, "Accept-Ranges");
        if (options.chunked || options.no_length) drop_field(right.head, "Content-Length");
        if (options.chunked) set_field(right.head, "Transfer-Encoding", "chunked");
        if (close) set_field(right.head, "Connection", "close");
        if (faulty && options.edit_head) options.edit_head(right.head);

        auto const cut = faulty && options.cut_after && *options.cut_after < right.body.size();
        if (cut) right.body.resize(static_cast<std::size_t>(*options.cut_after));
        if (cut || close) right.end = cut && options.cut_with_reset ? ending::rst : ending::fin;
        if (!options.chunked) return send(p, std::move(right));

        constexpr std::size_t chunk_size = 5000;
        p.send(right.head);
        for (std::string_view rest{right.body}; !rest.empty();) {
            p.send_body(chunk(rest.substr(0, chunk_size)));
            rest.remove_prefix(std::min(chunk_size, rest.size()));
        }
        send(p, {.head = cut ? "" : "0\r\n\r\n", .end = right.end});
    }

    std::shared_ptr<detail::memory_network_state> state_;
};

} // namespace cleave::testing
