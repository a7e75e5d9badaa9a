// SPDX-License-Identifier: BSL-1.0
//
// Does the engine's jobs, which may block: takes over what an earlier run left, reads back, hashes,
// records, syncs, publishes. One at a time, beside the lanes, on whatever thread; knows neither
// lanes nor streams.
#pragma once

#include <cleave/base/crc32c.hpp>
#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/driver/sink_failure.hpp>
#include <cleave/engine/action.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/journal/concept.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/verify/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

namespace cleave::detail {

// On a sink that outlives it.
template <byte_sink Sink, resume_journal Journal, content_verifier Verifier>
class job_runner {
    using hasher_type = typename Verifier::hasher_type;

  public:
    job_runner(Sink& sink, Journal journal) : sink_(sink), journal_(std::move(journal)) {}

    // ---- while no job runs ----------------------------------------------------------------

    [[nodiscard]] journal_interval interval() const noexcept { return journal_.interval(); }
    // Whether the journal keeps anything of what this sink gets.
    [[nodiscard]] bool keeps() const {
        if constexpr (Sink::traits.resumable)
            return journal_.keeps(sink_.target());
        else
            return false;
    }

    // Before `job::open` and `job::record`: what the journal is to hold.
    void will_record(resume_state state) { snapshot_ = std::move(state); }
    // Before `job::open`, when it is known what is to be hashed.
    void will_hash_for(Verifier const& v) {
        hashes_ = v.wanted();
        hasher_.emplace(v.make_hasher());
        if constexpr (piece_verifier<Verifier>) piece_hasher_.emplace(v.make_piece_hasher());
    }

    // The download went away before its end: what may be gone on with stays, or nothing.
    void leave() noexcept {
        if constexpr (Sink::traits.resumable) {
            if (journal_open_) return sink_.keep();
        }
        sink_.abandon();
    }

    // ---- the jobs -------------------------------------------------------------------------

    // `job::recall`: the journal first, for it tells whether somebody else is at it.
    [[nodiscard]] event::recalled recall() noexcept {
        event::recalled e;
        std::error_code const ec = guarded([&] { return take_over(e.state); });
        if (ec) e.failed = sink_failure(ec);
        return e;
    }

    // All the others.
    [[nodiscard]] event::job_ended run(action::run const& a) noexcept {
        event::job_ended ended{.what = a.what};
        std::error_code const thrown = guarded([&] {
            ended = work(a);
            return std::error_code{};
        });
        if (thrown) ended.failed = sink_failure(thrown);
        return ended;
    }

  private:
    static constexpr std::size_t hash_buffer_size = 256 * 1024;

    [[nodiscard]] std::error_code take_over(std::shared_ptr<resume_state const>& to) {
        std::error_code ec;
        if constexpr (Sink::traits.resumable) {
            auto left = journal_.open(sink_.target(), ec);
            if (ec) return ec;
            journal_open_ = true;
            if (!left) return {};
            journal_holds_ = true;
            bool const all =
                left->in_place.size() == 1 && left->in_place.front().bytes == left->wanted;
            sink_.reopen(left->wanted.size(), all, ec);
            // Gone, or somebody has been at it: then all of it is fetched. But a disk that is full
            // or damaged is not made better by throwing away what is there.
            if (ec && ec != std::errc::no_such_file_or_directory && ec != error::partial_replaced)
                return ec;
            if (!ec) to = std::make_shared<resume_state const>(*std::move(left));
        }
        return {};
    }

    [[nodiscard]] event::job_ended work(action::run const& a) {
        event::job_ended ended{.what = a.what};
        std::error_code ec;
        std::error_code hash_error;
        switch (a.what) {
        case job::recall: break; // see `recall`
        case job::check: ended.crc = checksum(a.bytes, ec); break;
        case job::open:
            hasher_->reset(hash_error);
            // Before what an earlier run left goes, nothing may claim it any more.
            if (!a.resumed && journal_holds_) journal_.store(snapshot_, ec);
            if (!a.resumed && !ec) sink_.open(a.size, ec);
            break;
        case job::record: record(ended, ec); break;
        case job::hash: hash(a.bytes, *hasher_, ec, hash_error); break;
        case job::finish_hash: ended.digest = hasher_->finish(hash_error); break;
        case job::hash_piece:
            if constexpr (piece_verifier<Verifier>) {
                piece_hasher_->reset(hash_error);
                if (!hash_error) hash(a.bytes, *piece_hasher_, ec, hash_error);
                if (!ec && !hash_error) ended.digest = piece_hasher_->finish(hash_error);
            }
            break;
        case job::deliver:
            if (hashes_) hash(a.bytes, *hasher_, ec, hash_error);
            if constexpr (Sink::traits.ordered && delivers<Sink>) {
                if (!ec && !hash_error) sink_.deliver(a.bytes.first, clamp(a.bytes.size()), ec);
            }
            break;
        case job::sync: sink_.sync(a.size.value_or(0), ec); break;
        case job::publish: sink_.publish(ec); break;
        case job::forget: journal_.remove(ec); break;
        case job::keep:
            if constexpr (Sink::traits.resumable) sink_.keep();
            break;
        case job::abandon:
            sink_.abandon();
            if (std::error_code ignored; journal_open_) journal_.remove(ignored);
            break;
        }
        if (ec)
            ended.failed = sink_failure(ec);
        else if (hash_error)
            ended.failed =
                failure{hash_error, cause::permanent, phase::verify, 0, std::nullopt, {}};
        return ended;
    }

    void hash(segment bytes, hasher_type& with, std::error_code& ec, std::error_code& hash_error) {
        read_back(bytes, ec, [&](std::span<std::byte const> some) {
            if (!hash_error) with.update(some, hash_error);
        });
    }
    [[nodiscard]] std::uint32_t checksum(segment bytes, std::error_code& ec) {
        std::uint32_t crc = 0;
        read_back(bytes, ec, [&](std::span<std::byte const> some) { crc = crc32c(some, crc); });
        return crc;
    }
    template <class F>
    void read_back(segment bytes, [[maybe_unused]] std::error_code& ec, F take) {
        if constexpr (Sink::traits.readable && views<Sink>) {
            for (std::optional<segment> rest = bytes; rest;) {
                std::span const some =
                    sink_.view(rest->first, std::min(hash_buffer_size, clamp(rest->size())));
                take(some);
                rest = rest->from(rest->first + some.size());
            }
        } else if constexpr (Sink::traits.readable) {
            if (!hash_buffer_)
                hash_buffer_ = std::make_unique_for_overwrite<std::byte[]>(hash_buffer_size);
            std::optional<segment> rest = bytes;
            while (rest && !ec) {
                std::span const to{hash_buffer_.get(),
                                   std::min(hash_buffer_size, clamp(rest->size()))};
                sink_.read(rest->first, to, ec);
                if (!ec) take(to);
                rest = rest->from(rest->first + to.size());
            }
        }
    }

    void record(event::job_ended& ended, std::error_code& ec) {
        if constexpr (Sink::traits.resumable) {
            if (journal_.durable()) sink_.flush(ec);
            ended.data_lost = static_cast<bool>(ec);
            journal_holds_ = true;
            if (!ec) journal_.store(snapshot_, ec);
        }
    }

    Sink& sink_;
    Journal journal_;
    bool journal_open_ = false;
    bool journal_holds_ = false; ///< it may claim something
    resume_state snapshot_;
    bool hashes_ = false; ///< the whole
    std::optional<hasher_type> hasher_;
    std::optional<hasher_type> piece_hasher_;
    std::unique_ptr<std::byte[]> hash_buffer_;
};

} // namespace cleave::detail
