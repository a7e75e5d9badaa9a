// SPDX-License-Identifier: BSL-1.0
//
// Bytes are handed to a consumer strictly in order, through a window of the caller's own memory: to
// flash a device, to unpack, to play. Knows nothing of what the consumer does with them.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/exception.hpp>
#include <cleave/sink/concept.hpp>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

namespace cleave {

namespace detail {

struct delivery_base {
    virtual void chunk_ended(std::error_code ec) = 0;

  protected:
    ~delivery_base() = default;
};

} // namespace detail

/// What an asynchronous consumer is given with each chunk: to be called once, as `done(ec)`, when
/// it needs the chunk's bytes no longer; from any thread, later or at once. An error ends the
/// download. Destroyed without having been called it stands for `errc::operation_canceled`.
/// Move-only.
class chunk_done {
  public:
    explicit chunk_done(detail::delivery_base& whose) noexcept : whose_(&whose) {}
    chunk_done(chunk_done&& other) noexcept : whose_(std::exchange(other.whose_, nullptr)) {}
    chunk_done& operator=(chunk_done&& other) noexcept {
        std::swap(whose_, other.whose_);
        return *this;
    }
    ~chunk_done() { (*this)(std::make_error_code(std::errc::operation_canceled)); }

    void operator()(std::error_code ec) {
        if (auto* const d = std::exchange(whose_, nullptr)) d->chunk_ended(ec);
    }

  private:
    detail::delivery_base* whose_;
};

namespace detail {

using chunk_bytes = std::span<std::byte const>;

template <class C, class... Args>
concept consumes = requires(C& c, chunk_bytes bytes, Args&&... args) {
                       { c(bytes, std::forward<Args>(args)...) } -> std::same_as<void>;
                   };
template <class C>
concept asynchronous_consumer = consumes<C, chunk_done>;
template <class C>
concept failing_consumer = !asynchronous_consumer<C> && consumes<C, std::error_code&>;
template <class C>
concept plain_consumer = !asynchronous_consumer<C> && !failing_consumer<C> && consumes<C>;

} // namespace detail

/// Hands each byte to `Consumer` once, in order from the first on, `chunk` bytes a call from
/// `storage`; the last call may be of fewer. Lanes fill the rest of `storage` meanwhile. With
/// a `storage` of one chunk it is a device's receive buffer, which calls each time it is full.
///
/// **Bytes are handed over before the end.** Only the completion of the download says that all of
/// them came, and with a digest, that they were the right ones: until then the consumer must be
/// able to throw away what it made of them. With digests of pieces only proven pieces are handed
/// over.
///
/// A consumer is one of
///
///     void(std::span<std::byte const>)
///     void(std::span<std::byte const>, std::error_code&)     // an error ends the download
///     void(std::span<std::byte const>, cleave::chunk_done)   // returns at once, tells later
///
/// The first two run beside the lanes and may block. The third must not block: it is first called
/// on the download's strand, and then from whichever thread called `chunk_done`, one chunk at a
/// time. For a coroutine see `coroutine_consumer`. What a consumer throws ends the download: as its
/// code if it is a `std::system_error`, else as `errc::not_enough_memory` or
/// `errc::state_not_recoverable`. A download that is cancelled ends when the consumer has done with
/// the chunk that it has.
///
/// `storage` must outlive the download, and be a whole number of chunks, at least one, else
/// `error::window_too_small`. What was handed over cannot be taken back: a download that would have
/// to begin again then fails with `error::sink_cannot_restart`.
template <class Consumer>
class ordered_sink {
    static_assert(detail::asynchronous_consumer<Consumer> || detail::failing_consumer<Consumer> ||
                      detail::plain_consumer<Consumer>,
                  "a consumer takes (bytes), (bytes, error_code&) or (bytes, chunk_done), and "
                  "returns void; a coroutine goes into a coroutine_consumer");

  public:
    static constexpr sink_traits traits{
        .concurrent = true, .readable = true, .revocable = false, .ordered = true};

    ordered_sink(std::span<std::byte> storage, std::size_t chunk, Consumer consumer)
        : storage_(storage), chunk_(chunk), consumer_(std::move(consumer)) {}
    ordered_sink(ordered_sink&& other) noexcept(std::is_nothrow_move_constructible_v<Consumer>)
        : storage_(other.storage_), chunk_(other.chunk_), consumer_(std::move(other.consumer_)),
          delivered_(other.delivered_.load()), begun_(other.begun_) {}

    void check(std::error_code& ec) const noexcept {
        if (chunk_ == 0 || storage_.empty() || storage_.size() % chunk_ != 0)
            ec = error::window_too_small;
    }
    void open(std::optional<std::uint64_t>, std::error_code& ec) const noexcept {
        if (begun_) ec = error::sink_cannot_restart;
    }

    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code& ec) const noexcept {
        std::size_t const room = held(offset, ec);
        if (ec) return {};
        std::size_t const at = place_of(offset);
        return storage_.subspan(at, std::min({n, room, storage_.size() - at}));
    }
    void commit(std::uint64_t, std::size_t, std::error_code&) const noexcept {}

    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const noexcept {
        if (to.empty()) return;
        if (std::size_t const most = held(offset, ec); !ec && to.size() > most) break_contract(ec);
        if (ec) return;
        std::size_t const at = place_of(offset);
        std::size_t const n = std::min(to.size(), storage_.size() - at);
        std::memcpy(to.data(), storage_.data() + at, n);
        std::memcpy(to.data() + n, storage_.data(), to.size() - n);
    }

    [[nodiscard]] std::uint64_t window() const noexcept { return storage_.size(); }
    [[nodiscard]] std::uint64_t chunk() const noexcept { return chunk_; }

    void deliver(std::uint64_t offset, std::size_t n, std::error_code& ec)
        requires(!detail::asynchronous_consumer<Consumer>)
    {
        check_delivery(offset, n, ec);
        while (!ec && n != 0) {
            std::span<std::byte const> const bytes = next_chunk(n);
            try {
                if constexpr (detail::failing_consumer<Consumer>)
                    consumer_(bytes, ec);
                else
                    consumer_(bytes);
            } catch (...) {
                ec = detail::code_of_exception();
            }
            if (ec) return;
            consumed(bytes.size());
            n -= bytes.size();
        }
    }

    template <class Handler>
        requires detail::asynchronous_consumer<Consumer>
    void async_deliver(std::uint64_t offset, std::size_t n, Handler handler) {
        std::error_code ec;
        check_delivery(offset, n, ec);
        // Owns itself until it calls the handler. Without memory for one the handler is still ours.
        auto* const d = new (std::nothrow) delivery<Handler>{*this, n, ec, std::move(handler)};
        if (d == nullptr)
            return std::move(handler)(std::make_error_code(std::errc::not_enough_memory));
        d->run();
    }

    void sync(std::uint64_t, std::error_code&) const noexcept {}
    void publish(std::error_code&) const noexcept {}
    void abandon() noexcept {}

  private:
    // One `async_deliver`: chunk after chunk, without a call within a call however many there are.
    template <class Handler>
    class delivery final : public detail::delivery_base {
      public:
        delivery(ordered_sink& sink, std::size_t n, std::error_code ec, Handler handler)
            : sink_(sink), left_(n), ec_(ec), handler_(std::move(handler)) {}

        void run() {
            while (!ec_ && left_ != 0) {
                std::span<std::byte const> const bytes = sink_.next_chunk(left_);
                given_ = bytes.size();
                one_came_.store(false, std::memory_order_relaxed);
                try {
                    sink_.consumer_(bytes, chunk_done{*this});
                } catch (...) {
                    thrown_ = detail::code_of_exception();
                }
                if (!came_second()) return;
                settle();
            }
            finish();
        }
        void chunk_ended(std::error_code ec) override {
            told_ = ec;
            if (!came_second()) return;
            settle();
            run();
        }

      private:
        // The consumer returns, and it says that it has done: in either order, and perhaps in two
        // threads at once. Whoever comes second goes on, and the first must not touch us any more.
        [[nodiscard]] bool came_second() noexcept {
            return one_came_.exchange(true, std::memory_order_acq_rel);
        }
        void settle() noexcept {
            ec_ = thrown_ ? thrown_ : told_;
            if (ec_) return;
            sink_.consumed(given_);
            left_ -= given_;
        }
        void finish() {
            Handler handler = std::move(handler_);
            std::error_code const ec = ec_;
            delete this;
            std::move(handler)(ec);
        }

        ordered_sink& sink_;
        std::size_t left_;
        std::size_t given_ = 0;
        std::error_code ec_;
        std::error_code thrown_;
        std::error_code told_;
        std::atomic<bool> one_came_ = false;
        Handler handler_;
    };

    static void break_contract(std::error_code& ec) noexcept {
        ec = std::make_error_code(std::errc::invalid_argument);
    }
    [[nodiscard]] std::size_t place_of(std::uint64_t offset) const noexcept {
        return static_cast<std::size_t>(offset % storage_.size());
    }
    // How many bytes from `offset` on lie within the window; at least one, or it is an error.
    [[nodiscard]] std::size_t held(std::uint64_t offset, std::error_code& ec) const noexcept {
        std::uint64_t const delivered = delivered_.load(std::memory_order_acquire);
        if (offset >= delivered && offset - delivered < storage_.size())
            return storage_.size() - static_cast<std::size_t>(offset - delivered);
        break_contract(ec);
        return 0;
    }
    // Only from a chunk's beginning on does it lie in one piece.
    void check_delivery(std::uint64_t offset, std::size_t n, std::error_code& ec) const noexcept {
        if (offset != delivered_.load(std::memory_order_relaxed) || offset % chunk_ != 0 ||
            n > storage_.size())
            break_contract(ec);
    }
    [[nodiscard]] std::span<std::byte const> next_chunk(std::size_t left) noexcept {
        begun_ = true;
        std::size_t const at = place_of(delivered_.load(std::memory_order_relaxed));
        return storage_.subspan(at, std::min(left, chunk_));
    }
    // From here on others may write where these bytes were.
    void consumed(std::size_t n) noexcept { delivered_.fetch_add(n, std::memory_order_release); }

    std::span<std::byte> storage_;
    std::size_t chunk_;
    Consumer consumer_;
    std::atomic<std::uint64_t> delivered_ = 0;
    bool begun_ = false;
};

static_assert(byte_sink<ordered_sink<void (*)(std::span<std::byte const>)>>);
static_assert(byte_sink<ordered_sink<void (*)(std::span<std::byte const>, chunk_done)>>);

} // namespace cleave
