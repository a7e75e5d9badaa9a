// SPDX-License-Identifier: BSL-1.0
//
// An archetype for each policy concept: a model that can what the concept asks for and nothing
// else. What compiles with them asks for no more than the concepts say. They work, too: each is a
// thin skin over something simple, so that a whole download can be run with all of them at once.
// Where a concept calls a function on an object that is not const, it is not const here.

#pragma once

#include <support/memory_file.hpp>
#include <support/memory_network.hpp>

#include <cleave/connect/concept.hpp>
#include <cleave/lanes/concept.hpp>
#include <cleave/observe/concept.hpp>
#include <cleave/os/concept.hpp>
#include <cleave/plan/concept.hpp>
#include <cleave/renew/concept.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/verify/concept.hpp>

#include <algorithm>
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
        return {s.tries < tries_ ? answer::again : answer::give_up, std::chrono::milliseconds{1}};
    }

  private:
    std::uint32_t tries_;
};

/// What the archetype of a hasher takes for a digest.
[[nodiscard]] inline std::uint64_t sum_of(std::span<std::byte const> bytes,
                                          std::uint64_t sum = 0) noexcept {
    for (std::byte const b : bytes) sum = sum * 31 + std::to_integer<std::uint64_t>(b) + 1;
    return sum;
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
        std::uint64_t sum = 0;
        std::memcpy(&sum, d.bytes.data(), sizeof sum);
        return d.size == sizeof sum && sum == expected_;
    }

  private:
    std::uint64_t expected_;
};

// --- one that is told ----------------------------------------------------------------------------

/// How often an observer was told of what.
struct told {
    int known = 0;
    int failed = 0;
    int progressed = 0;
};

class observer_archetype : public bare {
  public:
    explicit observer_archetype(told& t) noexcept : bare(made{}), told_(t) {}

    void on(cleave::object_known const&) noexcept { ++told_.known; }
    void on(cleave::attempt_failed const&) noexcept { ++told_.failed; }
    void on(cleave::progress const&) noexcept { ++told_.progressed; }
    [[nodiscard]] std::chrono::nanoseconds interval() noexcept {
        return std::chrono::milliseconds{10};
    }

  private:
    told& told_;
};

// --- those that do -------------------------------------------------------------------------------

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

class file_archetype : public bare {
  public:
    explicit file_archetype(memory_disk const& disk) : bare(made{}), file_(disk) {}

    void check_target(std::string const& target, std::error_code& ec) {
        file_.check_target(target, ec);
    }
    void open_partial(std::string const& path, std::error_code& ec) {
        file_.open_partial(path, ec);
    }
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

  private:
    memory_file file_;
};

} // namespace cleave_test
