// SPDX-License-Identifier: BSL-1.0
//
// A network in memory, in the virtual time of a world: connections with latency, a pace, and a
// window that makes a server wait for a slow reader; servers whose answers the test writes, down
// to FIN, RST and silence. It models cleave's `byte_connector` and shares no code with the library,
// as fault_server.hpp, whose requests and objects it speaks, does not.
//
// A stream that is used against the laws of <cleave/connect/concept.hpp> throws std::logic_error.

#pragma once

#include <support/fault_server.hpp>
#include <support/virtual_time.hpp>

#include <cleave/connect/concept.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
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

namespace cleave_test {

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

class memory_peer;
class memory_connector;
using memory_handler = std::function<void(memory_peer&, seen_request const&)>;

namespace detail {

struct memory_network_state {
    memory_handler handler;
    memory_link link;
    std::function<arrival(std::size_t attempt)> on_connect;

    std::size_t attempts = 0;
    std::size_t connections = 0;
    std::size_t open = 0;
    std::size_t peak = 0;
    std::uint64_t bytes_delivered = 0;
    std::uint64_t body_bytes_sent = 0;
    std::vector<seen_request> requests;
    std::vector<std::string> log;

    void note(std::size_t connection, std::string_view what) {
        log.push_back(std::to_string(world::current().now().count()) + " #" +
                      std::to_string(connection) + " " + std::string{what});
    }
};

// The network of each host; under "" that of all others.
using memory_hosts = std::map<std::string, std::shared_ptr<memory_network_state>>;

// One step of what a server does on a connection.
struct memory_step {
    enum class kind { bytes, silence, fin, rst, stall };
    kind is = kind::bytes;
    std::string bytes = {};
    std::size_t sent = 0;
    bool body = false;
    world::time silence{0};
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
        auto const comes = network_->on_connect ? network_->on_connect(index_) : arrival::accepted;
        network_->note(index_, comes == arrival::accepted  ? "connects"
                               : comes == arrival::refused ? "is refused"
                               : comes == arrival::lost    ? "is lost"
                                                           : "does not resolve");
        if (comes == arrival::lost) return;
        later(2 * link_.latency, [comes](memory_connection& c) {
            if (c.client_closed_) return;
            if (comes == arrival::refused) return c.wake(asio::error::connection_refused);
            if (comes == arrival::unresolved) return c.wake(asio::error::host_not_found);
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
        later(link_.latency,
              [bytes = std::string{text}](memory_connection& c) { c.arrived_at_server(bytes); });
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
        std::size_t const n = std::min(to.size(), received_.size() - read_);
        if (n != 0) {
            std::memcpy(to.data(), received_.data() + read_, n);
            read_ += n;
            if (read_ == received_.size()) {
                received_.clear();
                read_ = 0;
            }
            later(link_.latency, [n](memory_connection& c) {
                c.credit_ += n;
                c.go_on();
            });
        } else if (reset_) {
            ec = asio::error::connection_reset;
        } else if (fin_) {
            ec = asio::error::eof;
        } else {
            ec = asio::error::would_block;
        }
        return n;
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
    [[nodiscard]] bool readable() const noexcept { return !received_.empty() || fin_ || reset_; }

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
            if (c.waiting_) c.wake({});
        });
    }

    void arrived_at_server(std::string const& bytes) {
        if (ended_) {
            // Nobody is there any more.
            arrives_at_client([](memory_connection& c) { c.reset_ = true; });
            return;
        }
        input_ += bytes;
        for (std::size_t end; (end = input_.find("\r\n\r\n")) != std::string::npos;) {
            questions_.push_back(read_request(input_.substr(0, end + 4)));
            input_.erase(0, end + 4);
        }
        go_on();
    }

    [[nodiscard]] static seen_request read_request(std::string head) {
        seen_request r;
        std::string_view rest{head};
        auto const next_line = [&rest] {
            auto const end = rest.find("\r\n");
            auto const line = rest.substr(0, end);
            rest.remove_prefix(end + 2);
            return line;
        };
        auto const line = next_line();
        auto const first = std::min(line.find(' '), line.size());
        auto const second = std::max(std::min(line.rfind(' '), line.size()), first);
        r.method = line.substr(0, first);
        r.target = trim(line.substr(first, second - first));
        r.version = trim(line.substr(second));
        while (rest.size() > 2) {
            auto const field = next_line();
            auto const colon = std::min(field.find(':'), field.size() - 1);
            r.fields.emplace_back(std::string{field.substr(0, colon)},
                                  std::string{trim(field.substr(colon + 1))});
        }
        r.head = std::move(head);
        return r;
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
        r.index = network_->requests.size();
        network_->requests.push_back(r);
        network_->note(index_, r.method + " " + r.target + " " + r.field("Range").value_or("all"));
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
        case memory_step::kind::stall: return false;
        }
        return false;
    }

    bool send_piece(memory_step& s) {
        std::size_t const n = std::min({s.bytes.size() - s.sent, link_.piece, credit_});
        if (n == 0 && s.sent != s.bytes.size()) return false;
        credit_ -= n;
        if (s.body) network_->body_bytes_sent += n;
        auto piece = s.bytes.substr(s.sent, n);
        s.sent += n;
        if (s.sent == s.bytes.size()) script_.pop_front();
        auto const send = [piece = std::move(piece)](memory_connection& c) {
            c.arrives_at_client([piece](memory_connection& to) {
                to.received_ += piece;
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
    std::string received_;
    std::size_t read_ = 0;

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
    void send(std::string_view bytes) { connection_->add({.bytes = std::string{bytes}}); }
    /// As send, and counted in `memory_network::body_bytes_sent`.
    void send_body(std::string_view bytes) {
        connection_->add({.bytes = std::string{bytes}, .body = true});
    }
    /// Silence, before what comes next.
    void after(world::time silence) {
        connection_->add({.is = detail::memory_step::kind::silence, .silence = silence});
    }
    /// Ends the connection, in order or with a reset, when all bytes before are sent.
    void fin() { connection_->add({.is = detail::memory_step::kind::fin}); }
    void rst() { connection_->add({.is = detail::memory_step::kind::rst}); }
    /// Nothing more, and no end.
    void stall_for_ever() { connection_->add({.is = detail::memory_step::kind::stall}); }

    /// Which attempt to connect this was, from 0.
    [[nodiscard]] std::size_t connection() const noexcept { return connection_->index(); }

  private:
    friend detail::memory_connection;
    explicit memory_peer(std::shared_ptr<detail::memory_connection> c)
        : connection_(std::move(c)) {}

    std::shared_ptr<detail::memory_connection> connection_;
};

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
    void on_connect(std::function<arrival(std::size_t attempt)> f) {
        state_->on_connect = std::move(f);
    }

    /// Attempts to connect, and how many of them came to stand.
    [[nodiscard]] std::size_t attempts() const noexcept { return state_->attempts; }
    [[nodiscard]] std::size_t connections() const noexcept { return state_->connections; }
    /// Connections that stand now, and the most there have been at one time.
    [[nodiscard]] std::size_t open_connections() const noexcept { return state_->open; }
    [[nodiscard]] std::size_t peak_connections() const noexcept { return state_->peak; }
    /// Bytes that have arrived at clients, heads and all; body bytes that have been sent at all.
    [[nodiscard]] std::uint64_t bytes_delivered() const noexcept { return state_->bytes_delivered; }
    [[nodiscard]] std::uint64_t body_bytes_sent() const noexcept { return state_->body_bytes_sent; }
    /// Every request the server has begun to answer.
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
        std::string head = honest_200_head(o);
        std::string_view content{o.bytes};
        if (auto const range = r.range(); range && options.ranges) {
            auto const condition = r.field("If-Range");
            bool const current = !condition || *condition == o.etag ||
                                 (!o.last_modified.empty() && *condition == o.last_modified);
            if (current && range->first >= o.bytes.size()) return p.send(honest_416(o));
            if (current) {
                auto const last = std::min<std::uint64_t>(range->second, o.bytes.size() - 1);
                head = honest_206_head(o, range->first, last);
                content = body(o, range->first, last);
            }
        }
        bool const faulty = !options.applies || options.applies(r);
        bool const close = options.close_each || options.no_length;
        if (!options.ranges) drop_field(head, "Accept-Ranges");
        if (options.chunked || options.no_length) drop_field(head, "Content-Length");
        if (options.chunked) set_field(head, "Transfer-Encoding", "chunked");
        if (close) set_field(head, "Connection", "close");
        if (faulty && options.edit_head) options.edit_head(head);

        p.send(head);
        auto const cut = faulty && options.cut_after && *options.cut_after < content.size();
        if (cut) content = content.substr(0, static_cast<std::size_t>(*options.cut_after));
        if (options.chunked) {
            constexpr std::size_t chunk_size = 5000;
            for (auto rest = content; !rest.empty();) {
                p.send_body(chunk(rest.substr(0, chunk_size)));
                rest.remove_prefix(std::min(chunk_size, rest.size()));
            }
            if (!cut) p.send("0\r\n\r\n");
        } else {
            p.send_body(content);
        }
        if (cut && options.cut_with_reset)
            p.rst();
        else if (cut || close)
            p.fin();
    }

    std::shared_ptr<detail::memory_network_state> state_;
};

} // namespace cleave_test
