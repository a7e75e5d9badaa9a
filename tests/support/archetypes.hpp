// SPDX-License-Identifier: BSL-1.0
//
// An archetype for each policy concept: a model that can what the concept asks for and nothing
// else. What compiles with them asks for no more than the concepts say. They work, too: each is a
// thin skin over something simple, so that a whole download can be run with all of them at once.
// Where a concept calls a function on an object that is not const, it is not const here.

#pragma once

#include <cleave/connect/concept.hpp>
#include <cleave/journal/concept.hpp>
#include <cleave/lanes/concept.hpp>
#include <cleave/observe/concept.hpp>
#include <cleave/os/concept.hpp>
#include <cleave/pace/concept.hpp>
#include <cleave/plan/concept.hpp>
#include <cleave/renew/concept.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/source/concept.hpp>
#include <cleave/testing/memory_disk.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/verify/concept.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_test {

using namespace cleave::testing;

/// What no policy need be able to do, deleted: to be made from nothing, copied, assigned, compared,
/// to have its address taken by `&`, or to stand before a comma.
class bare {
  public:
    bare(bare&&) noexcept = default;
    bare& operator=(bare&&) = delete;

    void operator&() const = delete;
    template <class T>
    void operator,(T&&) const = delete;
    template <class T>
    void operator==(T const&) const = delete;
    template <class T>
    void operator<=>(T const&) const = delete;
    void operator!() const = delete;
    static void* operator new(std::size_t) = delete;

  protected:
    struct made {};
    explicit bare(made) noexcept {}
    ~bare() = default;
};

// --- those that decide ---------------------------------------------------------------------------

class planner_archetype : public bare {
  public:
    explicit planner_archetype(std::uint64_t size) noexcept : bare(made{}), size_(size) {}

    [[nodiscard]] cleave::segment next(cleave::segment gap,
                                       cleave::plan_state const&) const noexcept {
        return {gap.first, gap.first + std::min(gap.last - gap.first, size_ - 1)};
    }

  private:
    std::uint64_t size_;
};

class lane_rule_archetype : public bare {
  public:
    explicit lane_rule_archetype(std::uint32_t lanes) noexcept : bare(made{}), lanes_(lanes) {}

    [[nodiscard]] std::uint32_t most() const noexcept { return lanes_; }
    [[nodiscard]] std::uint32_t want(cleave::lanes_state const&) noexcept { return lanes_; }

  private:
    std::uint32_t lanes_;
};

class renewal_rule_archetype : public bare {
  public:
    explicit renewal_rule_archetype(std::uint32_t tries) noexcept : bare(made{}), tries_(tries) {}

    [[nodiscard]] cleave::renewal decide(cleave::renewal_state const& s) noexcept {
        using answer = cleave::renewal::answer;
        if (s.what.kind == cleave::cause::renewable)
            return {s.refreshed < tries_ ? answer::fresh_request : answer::give_up};
        return {s.tries < tries_ ? answer::again : answer::give_up, std::chrono::milliseconds{1}};
    }

  private:
    std::uint32_t tries_;
};

/// Lets through so many bytes a millisecond.
class pacer_archetype : public bare {
  public:
    explicit pacer_archetype(std::uint64_t bytes) noexcept
        : bare(made{}), bytes_(bytes), left_(bytes) {}

    [[nodiscard]] cleave::pace_answer take(std::uint64_t n, std::chrono::nanoseconds now) noexcept {
        if (now >= again_at_) {
            again_at_ = now + std::chrono::milliseconds{1};
            left_ = bytes_;
        }
        std::uint64_t const given = std::min(n, left_);
        left_ -= given;
        return {given, again_at_};
    }
    void give_back(std::uint64_t n) noexcept { left_ += n; }

  private:
    std::uint64_t bytes_;
    std::uint64_t left_;
    std::chrono::nanoseconds again_at_{0};
};

/// What the archetype of a hasher takes for a digest.
[[nodiscard]] inline std::uint64_t sum_of(std::span<std::byte const> bytes,
                                          std::uint64_t sum = 0) noexcept {
    for (std::byte const b : bytes) sum = sum * 31 + std::to_integer<std::uint64_t>(b) + 1;
    return sum;
}

/// Whether a digest of that archetype is this sum.
[[nodiscard]] inline bool is_sum(cleave::digest_value const& d, std::uint64_t expected) noexcept {
    std::uint64_t sum = 0;
    std::memcpy(&sum, d.bytes.data(), sizeof sum);
    return d.size == sizeof sum && sum == expected;
}

class hasher_archetype : public bare {
  public:
    void reset(std::error_code&) { sum_ = 0; }
    void update(std::span<std::byte const> bytes, std::error_code&) { sum_ = sum_of(bytes, sum_); }
    [[nodiscard]] cleave::digest_value finish(std::error_code&) {
        cleave::digest_value d;
        d.size = sizeof sum_;
        std::memcpy(d.bytes.data(), &sum_, sizeof sum_);
        return d;
    }

  private:
    friend class verifier_archetype;
    friend class piece_verifier_archetype;
    friend class learning_verifier_archetype;
    explicit hasher_archetype(made m) noexcept : bare(m) {}

    std::uint64_t sum_ = 1;
};

class verifier_archetype : public bare {
  public:
    using hasher_type = hasher_archetype;

    explicit verifier_archetype(std::uint64_t expected_sum) noexcept
        : bare(made{}), expected_(expected_sum) {}

    [[nodiscard]] bool wanted() const noexcept { return true; }
    [[nodiscard]] std::error_code fault() const { return {}; }
    [[nodiscard]] hasher_archetype make_hasher() const { return hasher_archetype{made{}}; }
    [[nodiscard]] bool matches(cleave::digest_value const& d) noexcept {
        return is_sum(d, expected_);
    }

  private:
    std::uint64_t expected_;
};

/// Expects sums of pieces, and nothing of the whole.
class piece_verifier_archetype : public bare {
  public:
    using hasher_type = hasher_archetype;

    piece_verifier_archetype(std::uint64_t piece_size, std::vector<std::uint64_t> expected_sums)
        : bare(made{}), size_(piece_size), expected_(std::move(expected_sums)) {}

    [[nodiscard]] bool wanted() const noexcept { return false; }
    [[nodiscard]] std::error_code fault() const { return {}; }
    [[nodiscard]] hasher_archetype make_hasher() const { return hasher_archetype{made{}}; }
    [[nodiscard]] bool matches(cleave::digest_value const&) noexcept { return true; }

    [[nodiscard]] cleave::piece_expectation pieces() const noexcept {
        return {size_, expected_.size()};
    }
    [[nodiscard]] hasher_archetype make_piece_hasher() const { return hasher_archetype{made{}}; }
    [[nodiscard]] bool matches_piece(std::uint64_t index, cleave::digest_value const& d) noexcept {
        return is_sum(d, expected_.at(static_cast<std::size_t>(index)));
    }

  private:
    std::uint64_t size_;
    std::vector<std::uint64_t> expected_;
};

/// What can be read as text, and nothing else.
class text_archetype : public bare {
  public:
    operator std::string_view() const noexcept { return "sum=1"; }

  private:
    friend class learning_verifier_archetype;
    text_archetype() noexcept : bare(made{}) {}
};

/// Expects the sum that the server's field says, in decimal digits.
class learning_verifier_archetype : public bare {
  public:
    using hasher_type = hasher_archetype;

    learning_verifier_archetype() noexcept : bare(made{}) {}

    [[nodiscard]] bool wanted() const noexcept { return expected_.has_value(); }
    [[nodiscard]] std::error_code fault() const { return {}; }
    [[nodiscard]] hasher_archetype make_hasher() const { return hasher_archetype{made{}}; }
    [[nodiscard]] bool matches(cleave::digest_value const& d) noexcept {
        return expected_ && is_sum(d, *expected_);
    }

    [[nodiscard]] text_archetype asks() const noexcept { return {}; }
    [[nodiscard]] std::error_code learn(std::string_view field) {
        std::uint64_t sum = 0;
        auto const read = std::from_chars(field.data(), field.data() + field.size(), sum);
        if (read.ec != std::errc{}) return cleave::error::digest_not_sent;
        expected_ = sum;
        return {};
    }

  private:
    std::optional<std::uint64_t> expected_;
};

// --- one that is told ----------------------------------------------------------------------------

/// How often an observer was told of what.
struct told {
    int connected = 0;
    int asked = 0;
    int known = 0;
    int failed = 0;
    int resumed = 0;
    int refreshed = 0;
    int stolen = 0;
    int pieces_failed = 0;
    int dropped = 0;
    int paused = 0;
    int progressed = 0;
    int ended = 0;
};

class observer_archetype : public bare {
  public:
    explicit observer_archetype(told& t) noexcept : bare(made{}), told_(t) {}

    void on(cleave::lane_connected const&) noexcept { ++told_.connected; }
    void on(cleave::segment_asked const&) noexcept { ++told_.asked; }
    void on(cleave::object_known const&) noexcept { ++told_.known; }
    void on(cleave::attempt_failed const&) noexcept { ++told_.failed; }
    void on(cleave::download_resumed const&) noexcept { ++told_.resumed; }
    void on(cleave::request_refreshed const&) noexcept { ++told_.refreshed; }
    void on(cleave::bytes_stolen const&) noexcept { ++told_.stolen; }
    void on(cleave::piece_failed const&) noexcept { ++told_.pieces_failed; }
    void on(cleave::mirror_dropped const&) noexcept { ++told_.dropped; }
    void on(cleave::download_paused const&) noexcept { ++told_.paused; }
    void on(cleave::progress const&) noexcept { ++told_.progressed; }
    void on(cleave::download_ended const&) noexcept { ++told_.ended; }
    [[nodiscard]] std::chrono::nanoseconds interval() noexcept {
        return std::chrono::milliseconds{10};
    }

  private:
    told& told_;
};

// --- those that do -------------------------------------------------------------------------------

/// Has a fresh request at hand.
class source_archetype : public bare {
  public:
    explicit source_archetype(cleave::request fresh) : bare(made{}), fresh_(std::move(fresh)) {}

    [[nodiscard]] bool available() const noexcept { return true; }
    template <class Handler>
    void async_fetch(cleave::request const&, Handler h) {
        h(std::error_code{}, fresh_);
    }

  private:
    cleave::request fresh_;
};

template <class Executor>
class stream_archetype : public bare {
  public:
    template <class Handler>
    void async_connect(cleave::url const& to, Handler&& handler) {
        stream_.async_connect(to, std::forward<Handler>(handler));
    }
    template <class Handler>
    void async_write(std::string_view text, Handler&& handler) {
        stream_.async_write(text, std::forward<Handler>(handler));
    }
    [[nodiscard]] std::size_t read_some(std::span<std::byte> to, std::error_code& ec) {
        return stream_.read_some(to, ec);
    }
    template <class Handler>
    void async_wait(Handler&& handler) {
        stream_.async_wait(std::forward<Handler>(handler));
    }
    void close() noexcept { stream_.close(); }

  private:
    friend class connector_archetype;
    explicit stream_archetype(memory_stream<Executor> s) : bare(made{}), stream_(std::move(s)) {}

    memory_stream<Executor> stream_;
};

class connector_archetype : public bare {
  public:
    explicit connector_archetype(memory_connector c) : bare(made{}), connector_(std::move(c)) {}

    template <class Executor>
    [[nodiscard]] stream_archetype<Executor> make(Executor const& ex) {
        return stream_archetype<Executor>{connector_.make(ex)};
    }
    [[nodiscard]] std::error_code check(cleave::url const& to) { return connector_.check(to); }
    [[nodiscard]] cleave::cause classify(std::error_code ec) noexcept {
        return connector_.classify(ec);
    }

  private:
    memory_connector connector_;
};

/// Room for a number of bytes that is known beforehand. `Readable`: whether it can be read.
template <bool Readable>
class sink_archetype : public bare {
  public:
    static constexpr cleave::sink_traits traits{.readable = Readable};

    /// What the test sees of it.
    struct memory {
        std::vector<std::byte> bytes;
        bool published = false;
        bool abandoned = false;
    };
    explicit sink_archetype(memory& m) noexcept : bare(made{}), memory_(m) {}

    void check(std::error_code&) {}
    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
        if (size)
            memory_.bytes.resize(static_cast<std::size_t>(*size));
        else
            ec = cleave::error::sink_needs_size;
    }
    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code&) {
        return std::span{memory_.bytes}.subspan(static_cast<std::size_t>(offset), n);
    }
    void commit(std::uint64_t, std::size_t, std::error_code&) {}
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code&) requires Readable {
        std::memcpy(to.data(), memory_.bytes.data() + offset, to.size());
    }
    void sync(std::uint64_t, std::error_code&) {}
    void publish(std::error_code&) { memory_.published = true; }
    void abandon() noexcept { memory_.abandoned = true; }

  private:
    memory& memory_;
};

/// Goes on with what the test has of it. Without a target of any name.
class resumable_sink_archetype : public bare {
  public:
    static constexpr cleave::sink_traits traits{
        .readable = true, .revocable = true, .resumable = true};

    /// What the test sees of it, and may put there beforehand.
    struct memory {
        std::vector<std::byte> bytes;
        bool published = false;
        bool abandoned = false;
        bool kept = false;
        int flushed = 0;
    };
    explicit resumable_sink_archetype(memory& m) noexcept : bare(made{}), memory_(m) {}

    void check(std::error_code&) {}
    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
        memory_.bytes.clear();
        if (size)
            memory_.bytes.resize(static_cast<std::size_t>(*size));
        else
            ec = cleave::error::sink_needs_size;
    }
    void reopen(std::uint64_t size, bool, std::error_code& ec) {
        if (memory_.bytes.size() != size) ec = cleave::error::partial_replaced;
    }
    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code&) {
        return std::span{memory_.bytes}.subspan(static_cast<std::size_t>(offset), n);
    }
    void commit(std::uint64_t, std::size_t, std::error_code&) {}
    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code&) {
        std::memcpy(to.data(), memory_.bytes.data() + offset, to.size());
    }
    void flush(std::error_code&) { ++memory_.flushed; }
    void sync(std::uint64_t, std::error_code&) {}
    void publish(std::error_code&) { memory_.published = true; }
    void abandon() noexcept { memory_.abandoned = true; }
    void keep() noexcept { memory_.kept = true; }

    /// What can be made a path, and nothing else.
    class name : public bare {
      public:
        operator std::string() const { return {}; }

      private:
        friend class resumable_sink_archetype;
        name() noexcept : bare(made{}) {}
    };
    [[nodiscard]] name target() const { return {}; }

  private:
    memory& memory_;
};

/// Hands on chunks in order, to memory that the test sees. What an ordered sink must not be asked
/// for ends in an error: memory outside of its window, bytes out of order or no whole chunks.
class ordered_sink_archetype : public bare {
  public:
    static constexpr cleave::sink_traits traits{.ordered = true};

    /// What the test sees of it.
    struct memory {
        std::vector<std::byte> bytes;
        bool published = false;
        bool abandoned = false;
    };
    /// The window is so many chunks.
    ordered_sink_archetype(memory& m, std::size_t chunk, std::size_t chunks)
        : bare(made{}), memory_(m), chunk_(chunk), ring_(chunk * chunks) {}

    void check(std::error_code&) {}
    void open(std::optional<std::uint64_t> size, std::error_code&) {
        memory_.bytes.clear();
        size_ = size;
        last_ = false;
    }
    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code& ec) {
        std::uint64_t const from = memory_.bytes.size();
        if (offset < from || offset - from >= ring_.size()) {
            ec = std::make_error_code(std::errc::invalid_argument);
            return {};
        }
        auto const left = static_cast<std::size_t>(from + ring_.size() - offset);
        std::span const behind = std::span{ring_}.subspan(place(offset));
        return behind.first(std::min({n, left, behind.size()}));
    }
    void commit(std::uint64_t, std::size_t, std::error_code&) {}
    void sync(std::uint64_t size, std::error_code& ec) {
        if (size != memory_.bytes.size()) ec = std::make_error_code(std::errc::invalid_argument);
    }
    void publish(std::error_code&) { memory_.published = true; }
    void abandon() noexcept { memory_.abandoned = true; }

    [[nodiscard]] std::uint64_t window() const { return ring_.size(); }
    [[nodiscard]] std::uint64_t chunk() const { return chunk_; }
    void deliver(std::uint64_t offset, std::size_t n, std::error_code& ec) {
        bool const whole = n % chunk_ == 0;
        if (offset != memory_.bytes.size() || n == 0 || n > ring_.size() || last_ ||
            (!whole && size_ && offset + n != *size_)) {
            ec = std::make_error_code(std::errc::invalid_argument);
            return;
        }
        last_ = !whole;
        for (std::size_t i = 0; i != n; ++i) memory_.bytes.push_back(ring_[place(offset + i)]);
    }

  private:
    [[nodiscard]] std::size_t place(std::uint64_t offset) const noexcept {
        return static_cast<std::size_t>(offset % ring_.size());
    }

    memory& memory_;
    std::size_t chunk_;
    std::vector<std::byte> ring_;
    std::optional<std::uint64_t> size_;
    bool last_ = false;
};

/// Remembers in memory that the test sees.
class journal_archetype : public bare {
  public:
    using memory = std::optional<cleave::resume_state>;
    explicit journal_archetype(memory& m) noexcept : bare(made{}), memory_(m) {}

    [[nodiscard]] bool keeps(std::string const&) const noexcept { return true; }
    [[nodiscard]] std::optional<cleave::resume_state> open(std::string const&, std::error_code&) {
        return memory_;
    }
    void store(cleave::resume_state const& s, std::error_code&) { memory_ = s; }
    void remove(std::error_code&) { memory_.reset(); }
    [[nodiscard]] bool durable() const noexcept { return true; }
    [[nodiscard]] cleave::journal_interval interval() const noexcept { return {1000}; }

  private:
    memory& memory_;
};

class file_archetype : public bare {
  public:
    explicit file_archetype(memory_disk const& disk) : bare(made{}), file_(disk) {}

    void check_target(std::string const& target, std::error_code& ec) {
        file_.check_target(target, ec);
    }
    void open_partial(std::string const& path, std::error_code& ec) {
        file_.open_partial(path, ec);
    }
    void reopen_partial(std::string const& path, std::error_code& ec) {
        file_.reopen_partial(path, ec);
    }
    void open_finished(std::string const& target, std::error_code& ec) {
        file_.open_finished(target, ec);
    }
    void open_journal(std::string const& path, std::error_code& ec) {
        file_.open_journal(path, ec);
    }
    [[nodiscard]] std::uint64_t size(std::error_code& ec) { return file_.size(ec); }
    void allocate(std::uint64_t size, std::error_code& ec) { file_.allocate(size, ec); }
    void write_at(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        file_.write_at(offset, from, ec);
    }
    void read_at(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) {
        file_.read_at(offset, to, ec);
    }
    void resize(std::uint64_t size, std::error_code& ec) { file_.resize(size, ec); }
    void sync(std::error_code& ec) { file_.sync(ec); }
    void publish(std::string const& target, std::error_code& ec) { file_.publish(target, ec); }
    void discard() noexcept { file_.discard(); }
    void close() noexcept { file_.close(); }

  private:
    memory_file file_;
};

static_assert(cleave::byte_pacer<pacer_archetype>);
static_assert(!cleave::adjustable_pacer<pacer_archetype>);
static_assert(cleave::content_verifier<verifier_archetype>);
static_assert(cleave::piece_verifier<piece_verifier_archetype>);
static_assert(!cleave::learning_verifier<piece_verifier_archetype>);
static_assert(cleave::learning_verifier<learning_verifier_archetype>);
static_assert(!cleave::piece_verifier<learning_verifier_archetype>);
static_assert(cleave::observer<observer_archetype>);
static_assert(cleave::request_source<source_archetype>);
static_assert(cleave::byte_sink<ordered_sink_archetype>);
static_assert(cleave::resume_journal<journal_archetype>);
static_assert(cleave::byte_sink<resumable_sink_archetype>);
static_assert(cleave::file<file_archetype>);

} // namespace cleave_test
