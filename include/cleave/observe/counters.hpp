// SPDX-License-Identifier: BSL-1.0
//
// Counts what happens, for whoever wants to read the numbers while the download runs: a status
// page, another thread.
#pragma once

#include <cleave/observe/concept.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

namespace cleave {

/// What `counters` counts. Each number may be read at any time and by any thread; two of them need
/// not be of the same moment.
struct counts {
    /// Bytes in place, as of the latest `progress`.
    std::atomic<std::uint64_t> bytes{0};
    /// All of them, as of the latest `progress`; 0 until that is known.
    std::atomic<std::uint64_t> total{0};
    /// Bytes a second, as of the latest `progress`; 0 when it has ended.
    std::atomic<std::uint64_t> rate{0};
    /// Connections that lanes had, kept ones too.
    std::atomic<std::uint64_t> connected{0};
    /// Segments asked for, hedges too.
    std::atomic<std::uint64_t> asked{0};
    std::atomic<std::uint64_t> hedges{0};
    /// Attempts that failed, and how often each `next_step` came after one.
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> same_connection{0};
    std::atomic<std::uint64_t> new_connection{0};
    std::atomic<std::uint64_t> fresh_request{0};
    std::atomic<std::uint64_t> other_mirror{0};
    std::atomic<std::uint64_t> fewer_lanes{0};
    std::atomic<std::uint64_t> one_stream{0};
    std::atomic<std::uint64_t> new_version{0};
    std::atomic<std::uint64_t> none{0};
    /// Bytes of an earlier run.
    std::atomic<std::uint64_t> bytes_resumed{0};
    /// Fresh requests that came, and those that did not.
    std::atomic<std::uint64_t> refreshed{0};
    std::atomic<std::uint64_t> refreshes_failed{0};
    std::atomic<std::uint64_t> bytes_stolen{0};
    std::atomic<std::uint64_t> pieces_failed{0};
    std::atomic<std::uint64_t> mirrors_dropped{0};
    std::atomic<bool> paused{false};
    /// Set when everything else has been; `ended_well` before.
    std::atomic<bool> ended{false};
    std::atomic<bool> ended_well{false};
};

/// A handle on counts: copies share them, so one goes into the download and another is read.
///
///     cleave::counters seen;
///     auto how = cleave::policies<>{}.with_observer(seen);
///     ... std::cout << seen->bytes << " of " << seen->total << '\n';
///
/// For one download; the counts outlive it. Where the machine has no atomic numbers of 64 bits,
/// the program may have to be linked with libatomic.
class counters {
  public:
    /// `interval`: how often `bytes`, `total` and `rate` are brought up to date.
    explicit counters(std::chrono::nanoseconds interval = std::chrono::milliseconds{200})
        : interval_(interval), counts_(std::make_shared<counts>()) {}
    // To move one is to copy it, so that none is ever without counts.
    counters(counters const&) = default;
    counters& operator=(counters const&) = default;

    [[nodiscard]] counts const& operator*() const noexcept { return *counts_; }
    [[nodiscard]] counts const* operator->() const noexcept { return counts_.get(); }

    void on(lane_connected const&) noexcept { ++counts_->connected; }
    void on(segment_asked const& e) noexcept {
        ++counts_->asked;
        if (e.hedge) ++counts_->hedges;
    }
    // Of its bytes only a part may be wanted.
    void on(object_known const&) noexcept {}
    void on(attempt_failed const& e) noexcept {
        ++counts_->failed;
        switch (e.next) {
        case next_step::same_connection: ++counts_->same_connection; break;
        case next_step::new_connection: ++counts_->new_connection; break;
        case next_step::fresh_request: ++counts_->fresh_request; break;
        case next_step::other_mirror: ++counts_->other_mirror; break;
        case next_step::fewer_lanes: ++counts_->fewer_lanes; break;
        case next_step::one_stream: ++counts_->one_stream; break;
        case next_step::new_version: ++counts_->new_version; break;
        case next_step::none: ++counts_->none; break;
        }
    }
    void on(download_resumed const& e) noexcept { counts_->bytes_resumed += e.bytes; }
    void on(request_refreshed const& e) noexcept {
        ++(e.failed ? counts_->refreshes_failed : counts_->refreshed);
    }
    void on(bytes_stolen const& e) noexcept { counts_->bytes_stolen += e.bytes.size(); }
    void on(piece_failed const&) noexcept { ++counts_->pieces_failed; }
    void on(mirror_dropped const&) noexcept { ++counts_->mirrors_dropped; }
    void on(download_paused const& e) noexcept { counts_->paused = e.paused; }
    void on(progress const& e) noexcept {
        counts_->bytes = e.bytes;
        counts_->total = e.total.value_or(0);
        counts_->rate = e.rate;
    }
    void on(download_ended const& e) noexcept {
        counts_->bytes = e.bytes;
        counts_->rate = 0;
        counts_->ended_well = e.failed == nullptr;
        counts_->ended = true;
    }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return interval_; }

  private:
    std::chrono::nanoseconds interval_;
    std::shared_ptr<counts> counts_;
};

static_assert(observer<counters>);

} // namespace cleave
