// SPDX-License-Identifier: BSL-1.0
//
// The same bytes go into two sinks, in step: a file and a consumer, say, or two disks.
#pragma once

#include <cleave/sink/concept.hpp>
#include <cleave/sink/null_sink.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

namespace cleave {

namespace detail {
template <class S>
[[nodiscard]] constexpr std::uint64_t copied_by(S const& s) {
    if constexpr (requires { s.bytes_copied(); })
        return s.bytes_copied();
    else
        return 0;
}
} // namespace detail

/// Everything is done in `First` and then in `Second`; the first error ends the download in both.
/// A tee may be in a tee.
///
/// One of the two lends its memory to receive into, and the other is given the bytes from there: by
/// its `write` where it has that, so that none is copied in user space, else by a copy, which
/// `bytes_copied` counts. So of sinks without `write`, `memory_sink` and `ordered_sink`, each but
/// one costs a copy. Who lends is chosen for that, not by order. The memory of a `system_filled`
/// sink is never lent: it has a `write`, and two of them are written to from a buffer of the tee's
/// own.
///
/// `publish` publishes `First`, then `Second`. If `First` fails, neither is to be seen. If `Second`
/// fails, the object of `First` stays under its name, whole, right and durable; `Second` leaves
/// what it leaves when it fails alone; and the download fails with its error. So what is more
/// likely to fail goes first.
///
/// One of the two may be ordered, and then the tee is. It can be read where one of them can, from
/// `First` if that is the one. It is never `concurrent`, since it must remember what was lent.
template <byte_sink First, byte_sink Second>
class tee_sink {
    static_assert(!(First::traits.ordered && Second::traits.ordered),
                  "at most one sink of a tee may be ordered");
    using ordered_one = std::conditional_t<First::traits.ordered, First, Second>;

  public:
    static constexpr sink_traits traits{
        .concurrent = false,
        .readable = First::traits.readable || Second::traits.readable,
        .revocable = First::traits.revocable && Second::traits.revocable,
        .ordered = First::traits.ordered || Second::traits.ordered,
        .system_filled = false};

    tee_sink(First first, Second second) : first_(std::move(first)), second_(std::move(second)) {}

    void check(std::error_code& ec) {
        first_.check(ec);
        if (!ec) second_.check(ec);
    }
    void open(std::optional<std::uint64_t> size, std::error_code& ec) {
        if (lends == lender::tee && !buffer_)
            buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
        first_.open(size, ec);
        if (!ec) second_.open(size, ec);
    }

    [[nodiscard]] std::span<std::byte> prepare(std::uint64_t offset, std::size_t n,
                                               std::error_code& ec) {
        if constexpr (lends == lender::first)
            lent_ = first_.prepare(offset, n, ec);
        else if constexpr (lends == lender::second)
            lent_ = second_.prepare(offset, n, ec);
        else
            lent_ = {buffer_.get(), std::min(n, buffer_size)};
        return lent_;
    }
    void commit(std::uint64_t offset, std::size_t n, std::error_code& ec) {
        // The lender comes last: once it is told of the bytes, the memory is its own again.
        if constexpr (lends != lender::first) put(first_, offset, lent_.first(n), ec);
        if constexpr (lends != lender::second)
            if (!ec) put(second_, offset, lent_.first(n), ec);
        if (ec) return;
        if constexpr (lends == lender::first) first_.commit(offset, n, ec);
        if constexpr (lends == lender::second) second_.commit(offset, n, ec);
    }
    void write(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec)
        requires(detail::writes<First> && detail::writes<Second>)
    {
        first_.write(offset, from, ec);
        if (!ec) second_.write(offset, from, ec);
    }
    [[nodiscard]] std::uint64_t bytes_copied() const {
        return copied_ + detail::copied_by(first_) + detail::copied_by(second_);
    }

    void read(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec)
        requires(traits.readable)
    {
        // An ordered one has its bytes in one place, where another may have to move them to grow.
        constexpr bool second = Second::traits.readable && Second::traits.ordered;
        if constexpr (First::traits.readable && !second)
            first_.read(offset, to, ec);
        else
            second_.read(offset, to, ec);
    }

    [[nodiscard]] std::uint64_t window() const
        requires(traits.ordered)
    {
        return in_order(*this).window();
    }
    [[nodiscard]] std::uint64_t chunk() const
        requires(traits.ordered)
    {
        return in_order(*this).chunk();
    }
    void deliver(std::uint64_t offset, std::size_t n, std::error_code& ec)
        requires(traits.ordered && detail::delivers<ordered_one>)
    {
        in_order(*this).deliver(offset, n, ec);
    }
    template <class Handler>
        requires(traits.ordered && detail::delivers_later<ordered_one>)
    void async_deliver(std::uint64_t offset, std::size_t n, Handler handler) {
        in_order(*this).async_deliver(offset, n, std::move(handler));
    }

    void sync(std::uint64_t size, std::error_code& ec) {
        first_.sync(size, ec);
        if (!ec) second_.sync(size, ec);
    }
    void publish(std::error_code& ec) {
        first_.publish(ec);
        if (ec) return;
        first_published_ = true;
        second_.publish(ec);
    }
    void abandon() noexcept {
        if (!first_published_) first_.abandon();
        second_.abandon();
    }

    [[nodiscard]] First const& first() const noexcept { return first_; }
    [[nodiscard]] Second const& second() const noexcept { return second_; }

  private:
    enum class lender { first, second, tee };
    static constexpr lender lends = [] {
        if (First::traits.system_filled && Second::traits.system_filled) return lender::tee;
        if (First::traits.system_filled) return lender::second;
        return detail::writes<First> && !detail::writes<Second> ? lender::second : lender::first;
    }();
    static constexpr std::size_t buffer_size = 256 * 1024;

    template <class Self>
    [[nodiscard]] static auto& in_order(Self& self) noexcept {
        if constexpr (First::traits.ordered)
            return self.first_;
        else
            return self.second_;
    }

    template <class Sink>
    void put(Sink& sink, std::uint64_t offset, std::span<std::byte const> from,
             std::error_code& ec) {
        if constexpr (detail::writes<Sink>) {
            sink.write(offset, from, ec);
        } else {
            while (!from.empty()) {
                std::span<std::byte> const to = sink.prepare(offset, from.size(), ec);
                if (ec) return;
                std::memcpy(to.data(), from.data(), to.size());
                sink.commit(offset, to.size(), ec);
                if (ec) return;
                copied_ += to.size();
                offset += to.size();
                from = from.subspan(to.size());
            }
        }
    }

    First first_;
    Second second_;
    std::unique_ptr<std::byte[]> buffer_; // only where the tee lends
    std::span<std::byte> lent_;
    std::uint64_t copied_ = 0;
    bool first_published_ = false;
};

static_assert(byte_sink<tee_sink<null_sink, null_sink>>);

} // namespace cleave
