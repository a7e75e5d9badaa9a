// SPDX-License-Identifier: BSL-1.0
//
// Where the object is to be had: at the request's target and its mirrors. What has been learnt of
// each of them, who has been given up, and who brought which bytes. Knows lanes as numbers only.
#pragma once

#include <cleave/base/failure.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/base/url.hpp>
#include <cleave/http/redirect.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace cleave {

/// One of the places.
struct mirror {
    /// What is asked now, by all lanes that ask here.
    url target;
    std::vector<header> headers;
    /// The URL that the caller gave, without its secrets.
    std::string shown;

    /// What was asked before the first redirect.
    struct first_request {
        url target;
        std::vector<header> headers;
    };
    std::optional<first_request> first;
    std::uint32_t redirects = 0; ///< in a row
    bool went_back = false;      ///< to the first request, since the last byte
    bool lost_one = false;       ///< of the requests that were sent ahead; no more are

    // Of all numbers that requests have been given: that of the present one, which goes up with
    // every fresh request, and that of the first of them that led to the present server.
    std::uint32_t request_number = 0;
    std::uint32_t server_number = 0;

    /// What its replies are compared with, once one was accepted. Validators are a server's own.
    std::optional<identity> known;

    // The record.
    std::uint64_t bytes = 0;     ///< that it brought
    bool took_part = false;      ///< some of what is in place may be its
    segment_set brought;         ///< which, where pieces may tell who was wrong
    std::uint32_t failures = 0;  ///< in a row, without a byte between them
    std::optional<failure> last; ///< of these
    std::chrono::nanoseconds avoid_until{0};
    std::chrono::nanoseconds not_before{0}; ///< as the server asked
    double rate = 0;                        ///< bytes a second of one lane, lately

    bool suspected = false; ///< it brought bytes that did not have the digest, with others
    bool dropped = false;
    /// Why. Who has another object than the others may still be the one who is right.
    std::optional<failure> why;

    void fail(failure const& what, std::chrono::nanoseconds now) {
        last = what;
        // 2 s, 4 s, and so on to a minute: it may be well again.
        using std::chrono::seconds;
        auto const growing = seconds{std::min(60, 1 << std::min(++failures, 6U))};
        auto const asked = std::min(what.retry_after.value_or(seconds{0}), seconds{3600});
        avoid_until = now + std::max(growing, asked);
        if (asked > seconds{0}) not_before = now + asked;
    }
    /// Those that still count. Who asked to be left alone counts as the worst.
    [[nodiscard]] std::uint32_t failures_at(std::chrono::nanoseconds now) const noexcept {
        if (now < not_before) return std::numeric_limits<std::uint32_t>::max();
        return now < avoid_until ? failures : 0;
    }
    [[nodiscard]] bool only_differs() const {
        return dropped && why && why->code == error::mirror_differs;
    }
};

/// All of them, in the request's order: its target is number 0.
class mirrors {
  public:
    explicit mirrors(request const& what) {
        all_.resize(1 + what.mirrors.size());
        for (std::size_t i = 0; i != all_.size(); ++i) {
            mirror& m = all_[i];
            m.target = i == 0 ? what.target : what.mirrors[i - 1];
            m.shown = m.target.to_string();
            m.request_number = m.server_number = last_number_++;
            // What was given for one origin is for no other.
            if (!same_origin(m.target, what.target)) continue;
            m.headers = what.headers;
            if (m.target.userinfo().empty()) m.target.take_userinfo(what.target);
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
    [[nodiscard]] mirror& operator[](std::size_t i) noexcept { return all_[i]; }
    [[nodiscard]] mirror const& operator[](std::size_t i) const noexcept { return all_[i]; }
    [[nodiscard]] auto begin() noexcept { return all_.begin(); }
    [[nodiscard]] auto end() noexcept { return all_.end(); }
    [[nodiscard]] auto begin() const noexcept { return all_.begin(); }
    [[nodiscard]] auto end() const noexcept { return all_.end(); }

    /// A number that no request has had.
    [[nodiscard]] std::uint32_t next_number() noexcept { return last_number_++; }

    /// The first that has not been given up.
    [[nodiscard]] std::optional<std::size_t> first_left() const noexcept {
        return other_than(all_.size());
    }
    /// The same, other than `i`.
    [[nodiscard]] std::optional<std::size_t> other_than(std::size_t i) const noexcept {
        for (std::size_t k = 0; k != all_.size(); ++k)
            if (k != i && !all_[k].dropped) return k;
        return std::nullopt;
    }
    /// Whether there is one that has failed less often lately.
    [[nodiscard]] bool has_better_than(std::size_t i, std::chrono::nanoseconds now) const noexcept {
        for (std::size_t k = 0; k != all_.size(); ++k)
            if (k != i && !all_[k].dropped && all_[k].failures_at(now) < all_[i].failures_at(now))
                return true;
        return false;
    }

    /// The one that brought all of these bytes; none where several did, or an earlier run.
    [[nodiscard]] std::optional<std::size_t> bringer_of(segment bytes) const noexcept {
        for (std::size_t i = 0; i != all_.size(); ++i)
            if (all_[i].brought.contains(bytes)) return i;
        return std::nullopt;
    }
    /// Nothing of these bytes is in place any more.
    void forget(segment bytes) {
        for (mirror& m : all_) m.brought.erase(bytes);
    }
    void forget_bytes() noexcept {
        for (mirror& m : all_) {
            m.brought.clear();
            m.took_part = false;
        }
    }
    void forget_all() noexcept {
        forget_bytes();
        for (mirror& m : all_) m.known.reset();
    }
    /// Room for so many runs of bytes of each, so that none need be made later.
    void reserve(std::size_t runs) {
        for (mirror& m : all_) m.brought.reserve(runs);
    }

  private:
    std::vector<mirror> all_;
    std::uint32_t last_number_ = 0;
};

} // namespace cleave
