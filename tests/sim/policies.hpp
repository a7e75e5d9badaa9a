// SPDX-License-Identifier: BSL-1.0
//
// The policies of a simulated download: the library's own models, one of several chosen when the
// run begins, so that one download is compiled for all of them. And doubles that cost little: a
// digest that is a checksum, a journal and an observer that tell what they hear.
#pragma once

#include "trace.hpp"

#include <laws/random.hpp>
#include <support/chosen.hpp>

#include <cleave/base/crc32c.hpp>
#include <cleave/download.hpp>
#include <cleave/testing/memory_disk.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace cleave_sim {

using cleave_test::random_source;
namespace testing = cleave::testing;

/// A digest that costs next to nothing.
struct checksum_hasher {
    std::uint32_t crc = 0;

    void reset(std::error_code&) noexcept { crc = 0; }
    void update(std::span<std::byte const> bytes, std::error_code&) noexcept {
        crc = cleave::crc32c(bytes, crc);
    }
    [[nodiscard]] cleave::digest_value finish(std::error_code&) const noexcept {
        cleave::digest_value value;
        value.size = sizeof crc;
        std::memcpy(value.bytes.data(), &crc, sizeof crc);
        return value;
    }
};

/// The digest of these bytes.
[[nodiscard]] inline cleave::digest_value checksum(std::string_view bytes) {
    checksum_hasher h;
    std::error_code ec;
    h.update(std::as_bytes(std::span{bytes}), ec);
    return h.finish(ec);
}

/// Expects a digest of the whole, or digests of pieces, or both, or nothing.
struct checksums {
    using hasher_type = checksum_hasher;

    std::optional<cleave::digest_value> whole;
    std::uint64_t piece_size = 0;
    std::vector<cleave::digest_value> of_pieces;

    [[nodiscard]] static checksums of(std::string_view bytes, bool whole, std::uint64_t piece) {
        checksums c;
        if (whole) c.whole = checksum(bytes);
        for (std::size_t at = 0; piece != 0 && at < bytes.size();
             at += static_cast<std::size_t>(piece))
            c.of_pieces.push_back(checksum(bytes.substr(at, static_cast<std::size_t>(piece))));
        if (!c.of_pieces.empty()) c.piece_size = piece;
        return c;
    }

    [[nodiscard]] bool wanted() const noexcept { return whole.has_value(); }
    [[nodiscard]] std::error_code fault() const noexcept { return {}; }
    [[nodiscard]] checksum_hasher make_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches(cleave::digest_value const& d) const noexcept { return d == whole; }
    [[nodiscard]] cleave::piece_expectation pieces() const noexcept {
        return {piece_size, of_pieces.size()};
    }
    [[nodiscard]] checksum_hasher make_piece_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches_piece(std::uint64_t i,
                                     cleave::digest_value const& d) const noexcept {
        return d == of_pieces[static_cast<std::size_t>(i)];
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept {
        std::uint64_t n = 0;
        if (whole) n = cleave::detail::expectation_hash(whole->view(), 1);
        for (auto const& d : of_pieces) n = cleave::detail::expectation_hash(d.view(), n + 2);
        return n;
    }
};
static_assert(cleave::piece_verifier<checksums>);

/// `backoff`, or `give_up`.
struct chosen_renewal {
    std::variant<cleave::backoff, cleave::give_up> is;

    [[nodiscard]] cleave::renewal decide(cleave::renewal_state const& s) noexcept {
        return std::visit([&](auto& r) { return r.decide(s); }, is);
    }
};
static_assert(cleave::renewal_rule<chosen_renewal>);

/// A journal in a file, or none; whoever wants to know hears what it holds.
class watched_journal {
  public:
    using file_journal = cleave::basic_file_journal<testing::memory_file>;
    struct watcher {
        virtual void stored(cleave::resume_state const& state) = 0;
        virtual void removed() = 0;

      protected:
        ~watcher() = default;
    };

    /// `by` must outlive the download.
    watched_journal(std::optional<file_journal> j, watcher& by)
        : journal_(std::move(j)), by_(&by) {}

    [[nodiscard]] bool keeps(std::string const& target) const noexcept {
        return journal_ && journal_->keeps(target);
    }
    [[nodiscard]] std::optional<cleave::resume_state> open(std::string const& target,
                                                           std::error_code& ec) {
        return journal_->open(target, ec);
    }
    void store(cleave::resume_state const& state, std::error_code& ec) {
        journal_->store(state, ec);
        if (!ec) by_->stored(state);
    }
    void remove(std::error_code& ec) {
        journal_->remove(ec);
        by_->removed();
    }
    [[nodiscard]] bool durable() const noexcept { return journal_ && journal_->durable(); }
    [[nodiscard]] cleave::journal_interval interval() const noexcept {
        return journal_ ? journal_->interval() : cleave::journal_interval{};
    }

  private:
    std::optional<file_journal> journal_;
    watcher* by_;
};
static_assert(cleave::resume_journal<watched_journal>);

/// Asks a function for a fresh request, if there is one.
struct perhaps_source {
    std::function<void(cleave::request const&,
                       std::function<void(std::error_code, cleave::request)>)>
        from;

    [[nodiscard]] bool available() const noexcept { return from != nullptr; }
    template <class Handler>
    void async_fetch(cleave::request const& old, Handler h) {
        from(old, std::move(h));
    }
};
static_assert(cleave::request_source<perhaps_source>);

/// Puts what it hears into the trace, and remembers what a checker must know of it.
class told_observer {
  public:
    struct notes {
        bool beyond_all = false;    ///< progress beyond the whole
        bool early_hundred = false; ///< 100 % before every byte was there
        bool secret = false;        ///< a line with a secret in it
        std::uint64_t ended = 0;    ///< calls of `download_ended`
        std::uint64_t pieces_failed = 0;
        std::uint64_t steals = 0;
        std::uint64_t retries = 0; ///< attempts that failed, and were followed by another
    };
    told_observer(trace& to, notes& n, bool lines) : to_(&to), notes_(&n) {
        if (lines) lines_.emplace(line_checker{&n, &to});
    }

    template <class Event>
    void on(Event const& e) noexcept {
        if (lines_) lines_->on(e);
        note(e);
    }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept {
        return std::chrono::milliseconds{100};
    }

  private:
    struct line_checker {
        notes* to;
        trace* hash;
        void operator()(std::string_view line) const {
            hash->tell([&] { return "  " + std::string{line}; });
            if (line.find("secret") != std::string_view::npos) to->secret = true;
        }
    };

    template <class Event>
    void note(Event const&) noexcept {}
    void note(cleave::segment_asked const& e) noexcept {
        to_->add(e.bytes.first);
        to_->add(e.bytes.last);
    }
    void note(cleave::attempt_failed const& e) noexcept {
        to_->add(static_cast<std::uint64_t>(e.what.code.value()));
        to_->add(static_cast<std::uint64_t>(e.next));
        if (e.next != cleave::next_step::none) ++notes_->retries;
    }
    void note(cleave::bytes_stolen const& e) noexcept {
        to_->add(e.bytes.first);
        ++notes_->steals;
    }
    void note(cleave::piece_failed const& e) noexcept {
        to_->add(e.index);
        ++notes_->pieces_failed;
    }
    void note(cleave::progress const& p) noexcept {
        if (p.total && p.bytes > *p.total) notes_->beyond_all = true;
        if (p.percent() > 100 || (p.percent() == 100 && p.total && p.bytes < *p.total))
            notes_->early_hundred = true;
    }
    void note(cleave::download_ended const&) noexcept { ++notes_->ended; }

    trace* to_;
    notes* notes_;
    std::optional<cleave::log_lines<line_checker>> lines_;
};
static_assert(cleave::observer<told_observer>);

} // namespace cleave_sim
