// SPDX-License-Identifier: BSL-1.0
//
// Where the time of an update goes: a sink and a pacer that measure, and what adds it up. Changes
// nothing of a download, and knows the time only from a clock that is given.
#pragma once

#include <cleave/observe/concept.hpp>
#include <cleave/pace/concept.hpp>
#include <cleave/sink/concept.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace cleave {

/// What an update waits for most.
enum class bottleneck : std::uint8_t {
    network, ///< bytes come slowly, or connections do not come about
    server,  ///< the server lets requests wait
    pace,    ///< the pacer holds lanes back
    buffer,  ///< network and sink wait for each other: the window has no room
    sink,    ///< what stores the image is slow
};

/// For messages.
[[nodiscard]] constexpr char const* to_string(bottleneck b) noexcept {
    switch (b) {
    case bottleneck::network: return "network";
    case bottleneck::server: return "server";
    case bottleneck::pace: return "pace";
    case bottleneck::buffer: return "buffer";
    case bottleneck::sink: return "sink";
    }
    return "unknown";
}

/// What it means and what to do about it.
[[nodiscard]] constexpr char const* describe(bottleneck b) noexcept {
    switch (b) {
    case bottleneck::network: return "the network is slow; give the update more lanes or more time";
    case bottleneck::server:
        return "the server lets requests wait; look at the server, or use a mirror";
    case bottleneck::pace: return "the rate is limited by the device itself; raise the limit";
    case bottleneck::buffer:
        return "the receive buffer is too small, so that network and flash wait for each other; "
               "give it room for more chunks";
    case bottleneck::sink:
        return "the flash is too slow; write larger pieces at a time, or give the update more time";
    }
    return "unknown";
}

/// Where the time went. Every moment counts once: to the sink while lanes have to wait for it, else
/// to the pacer while it holds them back, else to the server while requests wait for their replies
/// and nothing comes, else to the network.
struct time_spent {
    std::chrono::nanoseconds network{0};
    std::chrono::nanoseconds server{0};
    std::chrono::nanoseconds pace{0};
    std::chrono::nanoseconds sink{0};
    /// How long the sink was at work in all, also while lanes went on, and for how many bytes: of
    /// an ordered sink.
    std::chrono::nanoseconds sink_busy{0};
    std::uint64_t sink_bytes = 0;

    [[nodiscard]] std::chrono::nanoseconds sum() const noexcept {
        return network + server + pace + sink;
    }

    /// What most of it was spent on. A sink that could write `bytes_left` in `left` if only it
    /// had them is not slow: its buffer is too small.
    [[nodiscard]] bottleneck most(std::uint64_t bytes_left, std::chrono::nanoseconds left) const {
        auto const top = std::max({network, server, pace, sink});
        if (sink == top && top.count() > 0) {
            if (sink_bytes == 0) return bottleneck::sink;
            double const needed = static_cast<double>(sink_busy.count()) *
                                  static_cast<double>(bytes_left) / static_cast<double>(sink_bytes);
            return needed <= static_cast<double>(left.count()) ? bottleneck::buffer
                                                               : bottleneck::sink;
        }
        if (pace == top) return bottleneck::pace;
        return server == top ? bottleneck::server : bottleneck::network;
    }

    /// "time went to: network 40 %, server 0 %, pace 0 %, sink 60 %".
    [[nodiscard]] std::string message() const {
        auto const all = std::max<std::int64_t>(sum().count(), 1);
        auto const share = [all](std::chrono::nanoseconds t) {
            return std::to_string(t.count() * 100 / all) + " %";
        };
        return "time went to: network " + share(network) + ", server " + share(server) + ", pace " +
               share(pace) + ", sink " + share(sink);
    }
};

namespace detail {

/// For messages: "12.5 s".
[[nodiscard]] inline std::string seconds_of(std::chrono::nanoseconds t) {
    auto const tenths = std::chrono::duration_cast<std::chrono::milliseconds>(t).count() / 100;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

// Adds up where the time goes. Called from the strand of a download and from beside it.
class time_meter {
  public:
    using time = std::chrono::nanoseconds;

    /// A file begins: its sink holds `window` bytes at most, 0 if it is not ordered, and `bytes`
    /// are to come.
    void begin(std::uint64_t window, std::uint64_t bytes, time now) {
        std::lock_guard const lock{mutex_};
        window_ = window;
        to_come_ = bytes;
        placed_ = delivered_ = seen_ = 0;
        delivering_ = false;
        blocked_.reset();
        last_ = now;
    }
    /// It has ended.
    void end(time now) {
        std::lock_guard const lock{mutex_};
        delivering_ = false;
        look(now);
        charge(now, false);
    }

    void placed(std::uint64_t n, time now) {
        std::lock_guard const lock{mutex_};
        placed_ += n;
        look(now);
    }
    void delivery_begins(time now) {
        std::lock_guard const lock{mutex_};
        delivering_ = true;
        began_ = now;
        look(now);
    }
    void delivery_ends(std::uint64_t n, time now) {
        std::lock_guard const lock{mutex_};
        delivering_ = false;
        delivered_ += n;
        spent_.sink_busy += now - began_;
        spent_.sink_bytes += n;
        look(now);
    }
    void sink_took(time t) {
        std::lock_guard const lock{mutex_};
        sink_ += t;
    }

    void paced(time now, time until) {
        std::lock_guard const lock{mutex_};
        if (until > std::max(paced_until_, now)) {
            pace_ += until - std::max(paced_until_, now);
            paced_until_ = until;
        }
    }
    void not_paced(time now) {
        std::lock_guard const lock{mutex_};
        if (paced_until_ <= now) return;
        pace_ -= paced_until_ - now;
        paced_until_ = now;
    }

    /// Looks at how far lanes are.
    void look_at(progress const& p, time now) {
        bool waits = false;
        bool receives = false;
        for (lane_progress const& l : p.lanes) {
            waits |= l.doing == lane_activity::requesting || l.doing == lane_activity::waiting;
            receives |= l.doing == lane_activity::receiving;
        }
        std::lock_guard const lock{mutex_};
        look(now);
        charge(now, waits && !receives && p.bytes <= seen_);
        seen_ = std::max(seen_, p.bytes);
    }

    [[nodiscard]] time_spent spent() const {
        std::lock_guard const lock{mutex_};
        return spent_;
    }

  private:
    // Lanes wait for the sink while it is at work and has no room for more.
    void look(time now) {
        if (blocked_) sink_ += now - *blocked_;
        bool const full =
            window_ != 0 && delivering_ && (placed_ - delivered_ >= window_ || placed_ >= to_come_);
        blocked_ = full ? std::optional{now} : std::nullopt;
    }
    void charge(time now, bool server) {
        time rest = now - std::exchange(last_, now);
        auto const take = [&rest](time wanted) {
            time const t = std::clamp(wanted, time{0}, rest);
            rest -= t;
            return t;
        };
        spent_.sink += take(std::exchange(sink_, time{0}));
        // What has been said to be waited for may lie ahead.
        time const ahead = std::max(paced_until_ - now, time{0});
        time const paced = pace_ - ahead;
        pace_ = ahead;
        spent_.pace += take(paced);
        (server ? spent_.server : spent_.network) += rest;
    }

    mutable std::mutex mutex_;
    std::uint64_t window_ = 0;
    std::uint64_t to_come_ = 0;
    std::uint64_t placed_ = 0;
    std::uint64_t delivered_ = 0;
    std::uint64_t seen_ = 0;
    bool delivering_ = false;
    time began_{0};
    std::optional<time> blocked_;
    time last_{0};
    time sink_{0}; ///< since the last charge, as is the next
    time pace_{0};
    time paced_until_{0};
    time_spent spent_;
};

// A pacer that is watched.
template <byte_pacer Pacer>
class timed_pacer {
  public:
    timed_pacer(Pacer pacer, std::shared_ptr<time_meter> meter)
        : pacer_(std::move(pacer)), meter_(std::move(meter)) {}

    [[nodiscard]] pace_answer take(std::uint64_t n, std::chrono::nanoseconds now) noexcept {
        pace_answer const answer = pacer_.take(n, now);
        if (answer.bytes == 0)
            meter_->paced(now, answer.at);
        else
            meter_->not_paced(now);
        return answer;
    }
    void give_back(std::uint64_t n) noexcept { pacer_.give_back(n); }
    void set_rate(std::uint64_t bytes_a_second) noexcept requires adjustable_pacer<Pacer> {
        pacer_.set_rate(bytes_a_second);
    }

  private:
    Pacer pacer_;
    std::shared_ptr<time_meter> meter_;
};

// What a watched sink tells beside the time.
struct sink_hooks {
    /// Asked before anything is written, of how many bytes there will be, where that is known.
    std::function<std::error_code(std::optional<std::uint64_t>)> opens;
    /// So many bytes have been handed on by now; called beside the lanes, and may block.
    std::function<std::error_code(std::uint64_t)> delivered;
    /// Runs what may block.
    std::function<void(std::function<void()>)> beside;
};

// A sink that is watched. Whatever the sink can do, this can.
template <byte_sink Sink, class Clock>
class timed_sink {
  public:
    static constexpr sink_traits traits = Sink::traits;

    timed_sink(Sink sink, std::shared_ptr<time_meter> meter, sink_hooks hooks)
        : sink_(std::move(sink)), meter_(std::move(meter)), hooks_(std::move(hooks)) {}

    void check(std::error_code& ec) { sink_.check(ec); }
    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
        ec = hooks_.opens(size);
        if (ec) return;
        timed([&] { sink_.open(size, ec); });
    }
    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code& ec) {
        if constexpr (traits.ordered) return sink_.prepare(offset, n, ec);
        auto const from = now();
        std::span const to = sink_.prepare(offset, n, ec);
        meter_->sink_took(now() - from);
        return to;
    }
    void commit(std::uint64_t offset, std::size_t n, std::error_code& ec) {
        if constexpr (traits.ordered) {
            sink_.commit(offset, n, ec);
            meter_->placed(n, now());
        } else {
            timed([&] { sink_.commit(offset, n, ec); });
        }
    }
    void write(std::uint64_t offset, std::span<std::byte const> from,
               std::error_code& ec) requires writes<Sink> {
        timed([&] { sink_.write(offset, from, ec); });
        if (traits.ordered) meter_->placed(from.size(), now());
    }
    void read(std::uint64_t offset, std::span<std::byte> to,
              std::error_code& ec) requires(Sink::traits.readable) {
        sink_.read(offset, to, ec);
    }
    [[nodiscard]] std::span<std::byte const>
    view(std::uint64_t offset, std::size_t n) const noexcept requires views<Sink> {
        return sink_.view(offset, n);
    }
    [[nodiscard]] int native_file() const noexcept requires requires(Sink const& s) {
        s.native_file();
    }
    { return sink_.native_file(); }
    [[nodiscard]] std::uint64_t bytes_copied() const requires requires(Sink const& s) {
        s.bytes_copied();
    }
    { return sink_.bytes_copied(); }

    [[nodiscard]] std::uint64_t window() const requires(Sink::traits.ordered) {
        return sink_.window();
    }
    [[nodiscard]] std::uint64_t chunk() const requires(Sink::traits.ordered) {
        return sink_.chunk();
    }
    void deliver(std::uint64_t offset, std::size_t n, std::error_code& ec) requires delivers<Sink> {
        meter_->delivery_begins(now());
        sink_.deliver(offset, n, ec);
        if (!ec) ec = hooks_.delivered(offset + n);
        meter_->delivery_ends(n, now());
    }
    template <class Handler>
    void async_deliver(std::uint64_t offset, std::size_t n,
                       Handler handler) requires(!delivers<Sink> && delivers_later<Sink>) {
        meter_->delivery_begins(now());
        auto const h = std::make_shared<Handler>(std::move(handler));
        sink_.async_deliver(offset, n, [this, offset, n, h](std::error_code ec) {
            if (ec) return ended(n, ec, *h);
            // Whoever tells that it has done must not be held up.
            hooks_.beside([this, offset, n, h] { ended(n, hooks_.delivered(offset + n), *h); });
        });
    }

    [[nodiscard]] auto target() const requires(Sink::traits.resumable) { return sink_.target(); }
    void reopen(std::uint64_t size, bool all,
                std::error_code& ec) requires(Sink::traits.resumable) {
        timed([&] { sink_.reopen(size, all, ec); });
    }
    void flush(std::error_code& ec) requires(Sink::traits.resumable) { sink_.flush(ec); }
    void keep() noexcept requires(Sink::traits.resumable) { sink_.keep(); }
    void sync(std::uint64_t size, std::error_code& ec) {
        timed([&] { sink_.sync(size, ec); });
    }
    void publish(std::error_code& ec) {
        timed([&] { sink_.publish(ec); });
    }
    void abandon() noexcept { sink_.abandon(); }

  private:
    [[nodiscard]] static std::chrono::nanoseconds now() {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(
            Clock::now().time_since_epoch());
    }
    template <class F>
    void timed(F f) {
        auto const from = now();
        f();
        meter_->sink_took(now() - from);
    }
    template <class Handler>
    void ended(std::size_t n, std::error_code ec, Handler& h) {
        meter_->delivery_ends(n, now());
        std::move(h)(ec);
    }

    Sink sink_;
    std::shared_ptr<time_meter> meter_;
    sink_hooks hooks_;
};

} // namespace detail

} // namespace cleave
