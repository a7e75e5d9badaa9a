// SPDX-License-Identifier: BSL-1.0
//
// A file that comes over MQTT, block by block, for devices that have no way to a server but their
// broker. It is the library's download once more, with another line: the same planners say what to
// ask for next, the same sinks take the bytes, the same verifiers judge them. It knows no MQTT:
// asks go out by a function, replies come in as values. Blocks may be lost, damaged, late or
// repeated.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/plan/concept.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/verify/concept.hpp>

#include "alink.hpp"

namespace example {

struct mqtt_download_settings {
    /// Bytes of a block: `least_block` to `most_block`.
    std::uint64_t block = 4096;
    /// Asks on their way at a time.
    std::uint32_t lanes = 4;
    /// How long a reply may take before the block is asked for again.
    std::chrono::milliseconds patience{2000};
    /// How often one block is asked for.
    std::uint32_t tries = 10;
};

struct mqtt_download_report {
    std::uint64_t bytes = 0;
    std::uint64_t asks = 0;
    /// Of those: again, since no reply came in time, or a damaged one.
    std::uint64_t asks_again = 0;
    std::uint64_t blocks_damaged = 0;
    /// Nobody waited for it any more, or ever.
    std::uint64_t blocks_not_wanted = 0;
    bool digest_verified = false;
    /// What happened, after a failure.
    std::optional<cleave::failure> failed;
};

/// An ordered sink that hands bytes on within the call.
template <class S>
concept delivers_at_once = requires(S& s, std::uint64_t offset, std::size_t n,
                                    std::error_code& ec) {
    s.deliver(offset, n, ec);
};
/// A sink that takes bytes from where they are.
template <class S>
concept writes_at_once = requires(S& s, std::uint64_t offset, std::span<std::byte const> from,
                                  std::error_code& ec) {
    s.write(offset, from, ec);
};

/// One file. Each of `settings.lanes` lanes holds a segment of the planner's, and asks for it block
/// after block. Verifiers are those of the whole; blocks have their own checksums. To be made by
/// `std::make_shared`, and used on one thread, or strand, which is that of `ex`; a sink that blocks
/// holds it up.
template <cleave::range_planner Planner, cleave::byte_sink Sink, cleave::content_verifier Verifier>
    requires(!Sink::traits.ordered || delivers_at_once<Sink>)
&&(!cleave::piece_verifier<Verifier>)&&(!cleave::learning_verifier<Verifier>)class mqtt_download
    : public std::enable_shared_from_this<mqtt_download<Planner, Sink, Verifier>> {
  public:
    /// Sends an ask for these bytes, or drops it.
    using ask_function = std::function<void(cleave::segment)>;
    using done_function = std::function<void(std::error_code, mqtt_download_report)>;

    /// `size`: of the file, as the task says.
    mqtt_download(asio::any_io_executor ex, std::uint64_t size, Planner planner, Sink sink,
                  Verifier verifier, mqtt_download_settings s)
        : executor_(std::move(ex)), size_(size), planner_(std::move(planner)),
          sink_(std::move(sink)), verifier_(std::move(verifier)), settings_(s),
          hasher_(verifier_.make_hasher()) {}

    /// Told how many bytes are in place, whenever there are more.
    std::function<void(std::uint64_t)> progress;

    /// `done` is called once, and never from within this call. `size_changed`, `digest_mismatch`,
    /// `stalled` when a block never comes, what the platform answers, and the sink's own errors.
    void start(ask_function ask, done_function done) {
        ask_ = std::move(ask);
        done_ = std::move(done);
        asio::post(executor_, [self = this->shared_from_this()] { self->begin(); });
    }

    /// A reply to an ask of this file, or of one of the same stream that has been given up.
    void take(block_reply const& r) {
        if (ended_) return;
        if (r.code != 200) {
            auto const why = r.code == 403   ? cleave::error::forbidden
                             : r.code == 404 ? cleave::error::not_found
                                             : cleave::error::unexpected_status;
            return fail(why, cleave::phase::head,
                        "the platform answers " + std::to_string(r.code) + " " + r.message);
        }
        if (r.file_size != size_)
            return fail(cleave::error::size_changed, cleave::phase::head,
                        "the task says " + std::to_string(size_) + " bytes, the file has " +
                            std::to_string(r.file_size));
        auto const lane = std::find_if(lanes_.begin(), lanes_.end(), [&](lane_state const& l) {
            return l.asked && l.asked->first == r.offset && l.asked->size() == r.bytes.size();
        });
        if (lane == lanes_.end()) {
            ++report_.blocks_not_wanted;
            return;
        }
        if (r.damaged) {
            ++report_.blocks_damaged;
            return ask_again(*lane);
        }
        lane->timer.cancel();
        cleave::segment const came = *std::exchange(lane->asked, std::nullopt);
        lane->tries = 0;
        lane->holds = lane->holds->from(came.last + 1);
        write(r.bytes, came.first);
        if (ended_) return;
        there_.insert(came);
        report_.bytes += came.size();
        hand_on();
        if (ended_) return;
        if (progress) progress(report_.bytes);
        pump();
    }

    /// Ends it with `error::cancelled`.
    void cancel() { fail(cleave::error::cancelled, cleave::phase::body, {}); }

  private:
    struct lane_state {
        asio::steady_timer timer;
        std::optional<cleave::segment> holds; // what it has still to bring
        std::optional<cleave::segment> asked; // the block that it waits for
        std::uint32_t tries = 0;              // of that block
        std::uint64_t ask = 0;                // counts them, so that a late timer is known
    };

    void begin() {
        if (ended_) return;
        auto const wanted = cleave::segment::of(0, size_);
        if (auto const fault = cleave::find_plan_fault(planner_, wanted))
            return fail(fault->why, cleave::phase::setup, fault->detail());
        std::error_code ec = verifier_.fault();
        if (ec) return fail(ec, cleave::phase::setup, {});
        if (verifier_.wanted() && !Sink::traits.readable)
            return fail(cleave::error::sink_not_readable, cleave::phase::setup, {});
        sink_.check(ec);
        if (!ec) sink_.open(size_, ec);
        if (!ec && verifier_.wanted()) hasher_.reset(ec);
        if (ec) return fail(ec, cleave::phase::sink, {});
        if (wanted) owed_.insert(*wanted);
        lanes_.reserve(settings_.lanes);
        for (std::uint32_t i = 0; i != std::max(settings_.lanes, 1U); ++i)
            lanes_.push_back({asio::steady_timer{executor_}, {}, {}});
        pump();
    }

    // Gives each idle lane something to ask for, as far as there is anything that may be asked for.
    void pump() {
        if (frontier() == size_) return finish();
        for (auto& lane : lanes_) {
            if (lane.asked) continue;
            if (!lane.holds) lane.holds = next_segment();
            if (ended_) return;
            if (!lane.holds) continue;
            std::uint64_t const n = std::min(lane.holds->size(), settings_.block);
            lane.asked = cleave::segment{lane.holds->first, lane.holds->first + n - 1};
            ask(lane);
        }
    }

    [[nodiscard]] std::optional<cleave::segment> next_segment() {
        if (owed_.empty()) return std::nullopt;
        auto gap = std::optional{owed_.front()};
        // Nothing is asked for that the window has no room for.
        if constexpr (Sink::traits.ordered) gap = gap->before(handed_on_ + sink_.window());
        if (!gap) return std::nullopt;
        cleave::plan_state const state{.wanted = {0, size_ - 1},
                                       .owed = owed_.bytes(),
                                       .lanes = settings_.lanes,
                                       .outstanding = size_ - report_.bytes - owed_.bytes()};
        cleave::segment const next = planner_.next(*gap, state);
        if (!next.valid() || !gap->contains(next)) {
            fail(cleave::error::planner_broke_contract, cleave::phase::setup, {});
            return std::nullopt;
        }
        owed_.erase(next);
        return next;
    }

    void ask(lane_state& lane) {
        ++report_.asks;
        ++lane.tries;
        auto const number = ++lane.ask;
        auto const index = static_cast<std::size_t>(&lane - lanes_.data());
        lane.timer.expires_after(settings_.patience);
        lane.timer.async_wait([self = this->shared_from_this(), index, number](std::error_code) {
            if (self->ended_) return;
            auto& waiting = self->lanes_[index];
            if (waiting.asked && waiting.ask == number) self->ask_again(waiting);
        });
        ask_(*lane.asked);
    }
    void ask_again(lane_state& lane) {
        if (lane.tries >= settings_.tries)
            return fail(cleave::error::stalled, cleave::phase::body,
                        "the block " + cleave::to_string(*lane.asked) + " was asked for " +
                            std::to_string(lane.tries) + " times");
        ++report_.asks_again;
        ask(lane);
    }

    void write(std::span<std::byte const> from, std::uint64_t offset) {
        std::error_code ec;
        if constexpr (writes_at_once<Sink>) {
            sink_.write(offset, from, ec);
        } else {
            while (!ec && !from.empty()) {
                auto const to = sink_.prepare(offset, from.size(), ec);
                if (ec) break;
                std::size_t const n = std::min(to.size(), from.size());
                std::memcpy(to.data(), from.data(), n);
                sink_.commit(offset, n, ec);
                from = from.subspan(n);
                offset += n;
            }
        }
        if (ec) fail(ec, cleave::phase::sink, {});
    }

    // How many bytes are there without a gap, from the first on.
    [[nodiscard]] std::uint64_t frontier() const {
        auto const run = there_.find(0);
        return run ? run->last + 1 : 0;
    }

    // Hashes what has come in order, and hands it on where the sink is for that.
    void hand_on() {
        std::error_code ec;
        std::uint64_t const end = frontier();
        std::array<std::byte, 4096> buffer;
        while (verifier_.wanted() && hashed_ != end) {
            auto const n = std::min<std::uint64_t>(buffer.size(), end - hashed_);
            auto const bytes = std::span{buffer}.first(static_cast<std::size_t>(n));
            if constexpr (Sink::traits.readable) sink_.read(hashed_, bytes, ec);
            if (!ec) hasher_.update(bytes, ec);
            if (ec) return fail(ec, cleave::phase::verify, {});
            hashed_ += n;
        }
        if constexpr (Sink::traits.ordered) {
            std::uint64_t n = end - handed_on_;
            if (end != size_) n -= n % sink_.chunk();
            if (n == 0) return;
            sink_.deliver(handed_on_, static_cast<std::size_t>(n), ec);
            if (ec) return fail(ec, cleave::phase::sink, {});
            handed_on_ += n;
        }
    }

    void finish() {
        std::error_code ec;
        if (verifier_.wanted()) {
            auto const got = hasher_.finish(ec);
            if (ec) return fail(ec, cleave::phase::verify, {});
            if (!verifier_.matches(got))
                return fail(cleave::error::digest_mismatch, cleave::phase::verify, {});
            report_.digest_verified = true;
        }
        sink_.sync(size_, ec);
        if (!ec) sink_.publish(ec);
        if (ec) return fail(ec, cleave::phase::sink, {});
        end({});
    }
    void fail(std::error_code ec, cleave::phase where, std::string detail) {
        if (ended_) return;
        auto& failed = report_.failed.emplace();
        failed.code = ec;
        failed.where = where;
        failed.detail = std::move(detail);
        if (where == cleave::phase::sink) failed.kind = cleave::cause::storage;
        if (ec.category() == cleave::error_category())
            failed.kind = cleave::cause_of(static_cast<cleave::error>(ec.value()));
        sink_.abandon();
        end(ec);
    }
    void end(std::error_code ec) {
        ended_ = true;
        for (auto& lane : lanes_) lane.timer.cancel();
        asio::post(executor_, [self = this->shared_from_this(), ec] {
            auto const done = std::move(self->done_);
            self->ask_ = nullptr;
            if (done) done(ec, std::move(self->report_));
        });
    }

    asio::any_io_executor executor_;
    std::uint64_t size_;
    Planner planner_;
    Sink sink_;
    Verifier verifier_;
    mqtt_download_settings settings_;
    typename Verifier::hasher_type hasher_;
    ask_function ask_;
    done_function done_;
    std::vector<lane_state> lanes_;
    cleave::segment_set owed_;  // in no lane's hands
    cleave::segment_set there_; // written
    std::uint64_t hashed_ = 0;
    std::uint64_t handed_on_ = 0;
    mqtt_download_report report_;
    bool ended_ = false;
};

} // namespace example
