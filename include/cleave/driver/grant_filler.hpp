// SPDX-License-Identifier: BSL-1.0
//
// How body bytes get from a lane's stream into the sink, within a grant: past what is to be skipped
// or compared, out of their framing, through memory or within the system, with a checksum on the
// way. Reads what is there and never waits; knows no engine, no other lane and no thread.
#pragma once

#include <cleave/base/crc32c.hpp>
#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/standby_memory.hpp>
#include <cleave/connect/concept.hpp>
#include <cleave/driver/sink_failure.hpp>
#include <cleave/engine/action.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/http/body.hpp>
#include <cleave/os/splice.hpp>
#include <cleave/sink/concept.hpp>

#include <asio/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
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

namespace cleave::detail {

// What the driver keeps of one lane: the stream, and where it is within a reply.
template <class Stream>
struct lane_io {
    explicit lane_io(Stream s) : stream(std::move(s)) {}

    Stream stream;
    // Goes up when the lane is closed, so that handlers of before can tell that they are late.
    std::uint64_t epoch = 0;
    // The same for its grants.
    std::uint64_t grants = 0;

    // Heads are read in small pieces, so that few body bytes come along and must be copied.
    std::array<char, 2048> head_buffer;
    std::string_view to_send; ///< a request that goes out before more is received
    std::string_view pending; ///< received, not yet used; in `head_buffer` or in `staging`
    std::string_view decoded; ///< of a chunked body: payload not yet placed
    std::unique_ptr<char[]> staging;

    action::receive window;   ///< the present grant
    std::uint64_t origin = 0; ///< the object's byte that is the sink's first
    std::uint64_t placed = 0;
    bool granted = false;  ///< the engine has not heard yet how the grant ended
    std::uint32_t crc = 0; ///< of what was placed, where there is a journal
    std::uint64_t read = 0;
    std::uint64_t skip_left = 0;
    std::uint64_t compare_left = 0; ///< of what is to be skipped, the first to be compared
    body_framing framing;
    std::uint64_t body_left = 0;
    chunked_decoder chunks;
    bool chunks_done = false;
    int budget = 0; ///< reads left before other lanes get their turn

    bool drained = false;        ///< there was less to read than there was room for
    std::size_t last_splice = 0; ///< bytes that the system last moved at a time

    // For how many bytes it is worth waking up.
    std::uint64_t read_before = 0; ///< for earlier grants
    instant measured_at{};
    std::uint64_t measured = 0; ///< bytes read up to then
    std::uint64_t looked = 0;   ///< the same, when the timer last looked
    std::size_t low_water = 1;
    [[nodiscard]] std::uint64_t read_in_all() const noexcept { return read_before + read; }

    bool filling = false; ///< a grant is being filled
    bool waiting = false; ///< a handler is out that goes on with it

    // For the report.
    std::uint64_t reads = 0;
    std::uint64_t bytes_copied = 0;
    std::uint64_t bytes_spliced = 0;
    std::uint64_t bytes_dropped = 0;

    // Its own where lanes run side by side; else one serves them all.
    splicer pipe;
    std::unique_ptr<std::byte[]> sum_buffer;
    std::shared_ptr<standby_memory> standby; ///< for what comes back from filling a grant
};

[[nodiscard]] inline bool would_block(std::error_code ec) noexcept {
    return ec == asio::error::would_block || ec == asio::error::try_again;
}

// Why a lane does not go on at once to fill its grant.
struct fill_stop {
    enum class why { ended, stream_failed, nothing_there, others_turn };
    why is = why::ended;
    event::grant_ended how{}; ///< for `ended`
    std::error_code ec{};     ///< for `stream_failed`
};

// Fills the grants of lanes with such streams. `Apart`: several at a time, in several threads; then
// each lane has buffers of its own.
template <class Stream, byte_sink Sink, bool Apart>
class grant_filler {
  public:
    using lane_type = lane_io<Stream>;

    explicit grant_filler(Sink& sink) : sink_(sink) {}

    // A journal is to know the checksums of what comes.
    void sum_up_all(bool yes) noexcept { keeps_ = yes; }

    // `origin`: the object's byte that is the sink's first.
    void begin(lane_type& l, action::receive const& a, std::uint64_t origin) noexcept {
        l.window = a;
        l.origin = origin;
        l.placed = 0;
        l.crc = 0;
        l.read_before += std::exchange(l.read, 0);
        if (a.first) {
            l.pending.remove_prefix(a.head_size);
            l.skip_left = a.skip;
            l.compare_left = a.compare;
            l.framing = a.framing;
            l.body_left = a.framing.length;
            l.chunks.reset();
            l.chunks_done = false;
        }
        l.filling = true;
        l.last_splice = 0;
    }

    // One read, and all that follows from it; answers when there is no use in another one at once.
    [[nodiscard]] std::optional<fill_stop> fill(lane_type& l) {
        if (auto how = use_pending(l)) return ended(*std::move(how));
        // Another look would most likely find nothing.
        if (std::exchange(l.drained, false)) return fill_stop{fill_stop::why::nothing_there};
        if (is_not_worth_filling(l)) return ended({.revoked = true});
        if (l.budget-- <= 0) return fill_stop{fill_stop::why::others_turn};
        bool const direct = fills_directly(l) && l.framing.is != body_framing::kind::chunked &&
                            l.skip_left == 0 && l.placed != l.window.grant.size();
        std::error_code ec;
        std::error_code sink_error;
        if (direct)
            read_into_sink(l, ec, sink_error);
        else
            read_into_staging(l, ec);
        if (sink_error) return ended({.failed = sink_failure(sink_error)});
        if (would_block(ec)) return fill_stop{fill_stop::why::nothing_there};
        if (ec == asio::error::eof) return ended(stream_ended(l));
        if (!ec) return std::nullopt;
        // The system could not put bytes into the sink's memory: its file has been cut.
        if (Sink::traits.system_filled && ec.value() == EFAULT)
            return ended({.failed = sink_failure({EFAULT, std::system_category()})});
        return fill_stop{.is = fill_stop::why::stream_failed, .ec = ec};
    }

    // What the engine is to know of it.
    static void end(lane_type& l, event::grant_ended& e) noexcept {
        e.bytes = l.placed;
        e.crc = l.crc;
        e.too_short = e.body_ended && l.skip_left != 0;
        l.filling = false;
    }

  private:
    // Whether the system itself can put bytes into the sink.
    static constexpr bool is_file = requires(Sink const& s) { s.native_file(); };

    static constexpr std::size_t least_full_pipe = 256 * 1024;
    static constexpr std::size_t staging_size = 64 * 1024;
    static constexpr std::size_t sum_buffer_size = 256 * 1024;

    [[nodiscard]] static fill_stop ended(event::grant_ended how) {
        return {.is = fill_stop::why::ended, .how = std::move(how)};
    }

    // Memory that only the system may fill needs a stream that has the system do it.
    [[nodiscard]] static bool fills_directly(lane_type const& l) noexcept {
        return !Sink::traits.system_filled || reads_by_system(l.stream);
    }

    [[nodiscard]] static event::grant_ended stream_ended(lane_type const& l) {
        if (l.framing.is == body_framing::kind::until_close) return {.body_ended = true};
        return {.failed = failure::of(error::closed_in_body, phase::body)};
    }

    // The offset in the sink at which the next byte of this lane goes.
    [[nodiscard]] static std::uint64_t offset_in_sink(lane_type const& l) noexcept {
        return l.window.grant.first + l.placed - l.origin;
    }

    // Straight into the sink's memory, never beyond the grant or the body.
    void read_into_sink(lane_type& l, std::error_code& ec, std::error_code& sink_error) {
        std::uint64_t n = l.window.grant.size() - l.placed;
        if (l.framing.is == body_framing::kind::length) n = std::min(n, l.body_left);
        if (splice_into_sink(l, clamp(n), ec, sink_error)) return;
        std::span<std::byte> const to = sink_.prepare(offset_in_sink(l), clamp(n), sink_error);
        if (sink_error) {
            // No room may just mean that there is no more: a body that ends with its connection has
            // to be read to see that.
            std::byte more{};
            if (l.framing.is == body_framing::kind::until_close &&
                l.stream.read_some({&more, 1}, ec) == 0)
                sink_error.clear();
            return;
        }
        std::size_t const got = l.stream.read_some(to, ec);
        if (got == 0) return;
        ++l.reads;
        l.drained = got != to.size() && native_socket_of(l.stream) >= 0;
        sink_.commit(offset_in_sink(l), got, sink_error);
        if (!sink_error) sum_up(l, to.first(got), sink_error);
        if (!sink_error) place(l, got);
        l.read += got;
    }

    // From the socket into the sink's file within the system; false where that cannot be done.
    [[nodiscard]] bool splice_into_sink(lane_type& l, std::size_t n, std::error_code& ec,
                                        std::error_code& sink_error) {
        if constexpr (is_file) {
            splicer& pipe = Apart ? l.pipe : pipe_;
            if (!pipe.usable()) return false;
            int const socket = native_socket_of(l.stream);
            int const file = sink_.native_file();
            if (socket < 0 || file < 0) return false;
            std::uint64_t const at = offset_in_sink(l);
            std::size_t const got = pipe.move(socket, file, at, n, ec, sink_error);
            if (ec == std::errc::not_supported) {
                ec.clear();
                return false;
            }
            if (got == 0) {
                if (ec == std::errc::resource_unavailable_try_again)
                    ec = asio::error::would_block;
                else if (!ec && !sink_error)
                    ec = asio::error::eof;
                return true;
            }
            ++l.reads;
            l.bytes_spliced += got;
            l.last_splice = got;
            // Or else the pipe was full; then, where many bytes come, more of them come at once.
            l.drained = got < n && (got < least_full_pipe || l.low_water > 1);
            if (keeps_) sum_up_from_sink(l, at, got, sink_error);
            if (!sink_error) place(l, got);
            l.read += got;
            return true;
        } else {
            return false;
        }
    }

    // A few bytes at the end of a grant are better moved together with those of the next one.
    [[nodiscard]] static bool is_not_worth_filling(lane_type const& l) noexcept {
        if constexpr (is_file)
            return !l.window.last && l.placed != 0 &&
                   l.window.grant.size() - l.placed < l.last_splice / 8;
        else
            return false;
    }

    // Takes bytes that were just committed into the lane's checksum.
    void sum_up(lane_type& l, std::span<std::byte const> bytes, std::error_code& ec) {
        if constexpr (Sink::traits.resumable) {
            if (!keeps_) return;
            if constexpr (Sink::traits.system_filled) {
                // Only the system may touch that memory.
                sum_up_from_sink(l, offset_in_sink(l), bytes.size(), ec);
            } else {
                l.crc = crc32c(bytes, l.crc);
            }
        }
    }
    void sum_up_from_sink(lane_type& l, std::uint64_t from, std::size_t n, std::error_code& ec) {
        std::unique_ptr<std::byte[]>& buffer = Apart ? l.sum_buffer : sum_buffer_;
        if (!buffer) buffer = std::make_unique_for_overwrite<std::byte[]>(sum_buffer_size);
        while (n != 0 && !ec) {
            std::span const to{buffer.get(), std::min(n, sum_buffer_size)};
            sink_.read(from, to, ec);
            l.crc = crc32c(to, l.crc);
            from += to.size();
            n -= to.size();
        }
    }

    void read_into_staging(lane_type& l, std::error_code& ec) {
        if (!l.staging) l.staging = std::make_unique<char[]>(staging_size);
        // Bytes to be dropped are read without the ones behind them, which go where they belong.
        std::size_t n = staging_size;
        if (l.framing.is != body_framing::kind::chunked && l.skip_left != 0)
            n = std::min(n, clamp(l.skip_left));
        // What is to be placed from there goes no further than the grant.
        else if (l.framing.is != body_framing::kind::chunked)
            n = std::min(n, clamp(l.window.grant.size() - l.placed));
        if (l.framing.is == body_framing::kind::length) n = std::min(n, clamp(l.body_left));
        if (n == 0) n = 1; // only the end of the connection is to be seen
        auto const got =
            l.stream.read_some(std::as_writable_bytes(std::span{l.staging.get(), n}), ec);
        l.pending = {l.staging.get(), got};
    }

    void place(lane_type& l, std::size_t n) {
        l.placed += n;
        if (l.framing.is == body_framing::kind::length) l.body_left -= n;
    }

    // Puts what was received with the head, or in chunks, where it belongs. Answers with the end
    // of the grant once nothing more need be read for it.
    [[nodiscard]] std::optional<event::grant_ended> use_pending(lane_type& l) {
        for (;;) {
            if (l.placed == l.window.grant.size()) return full(l);
            if (l.framing.is == body_framing::kind::chunked) {
                if (!decode(l))
                    return event::grant_ended{.failed = failure::of(error::bad_chunk, phase::body)};
            } else if (l.decoded.empty()) {
                std::uint64_t n = l.pending.size();
                if (l.framing.is == body_framing::kind::length) n = std::min(n, l.body_left);
                l.decoded = l.pending.substr(0, clamp(n));
                l.pending.remove_prefix(l.decoded.size());
            }
            if (!l.decoded.empty() && l.skip_left != 0) {
                std::size_t n = std::min(l.decoded.size(), clamp(l.skip_left));
                if (l.compare_left != 0) {
                    n = std::min(n, clamp(l.compare_left));
                    if (auto failed = compare(l, {l.decoded.data(), n}))
                        return event::grant_ended{.failed = std::move(failed)};
                    l.compare_left -= n;
                }
                l.decoded.remove_prefix(n);
                l.skip_left -= n;
                l.read += n;
                l.bytes_dropped += n;
                if (l.framing.is == body_framing::kind::length) l.body_left -= n;
                continue;
            }
            if (l.decoded.empty()) {
                bool const ended =
                    l.framing.is == body_framing::kind::chunked
                        ? l.chunks_done
                        : l.framing.is == body_framing::kind::length && l.body_left == 0;
                if (ended) return event::grant_ended{.body_ended = true};
                if (l.pending.empty()) return std::nullopt;
                continue;
            }
            if (auto failed = copy_decoded(l))
                return event::grant_ended{.failed = std::move(failed)};
        }
    }

    // What is to be dropped must be what the sink has in its place.
    [[nodiscard]] std::optional<failure> compare(lane_type const& l, std::string_view bytes) {
        if constexpr (Sink::traits.readable) {
            std::array<std::byte, 1024> there;
            std::uint64_t at = offset_in_sink(l) - l.skip_left;
            while (!bytes.empty()) {
                std::span const to{there.data(), std::min(bytes.size(), there.size())};
                std::error_code ec;
                sink_.read(at, to, ec);
                if (ec) return sink_failure(ec);
                if (std::memcmp(to.data(), bytes.data(), to.size()) != 0)
                    return failure::of(error::bytes_differ, phase::body,
                                       "within " + std::to_string(to.size()) + " bytes from byte " +
                                           std::to_string(at + l.origin) + " on");
                at += to.size();
                bytes.remove_prefix(to.size());
            }
        }
        return std::nullopt;
    }

    // The grant is full. The last of a reply also asks whether the body ends where it should.
    [[nodiscard]] std::optional<event::grant_ended> full(lane_type& l) {
        if (!l.window.last) return event::grant_ended{};
        event::grant_ended e;
        switch (l.framing.is) {
        case body_framing::kind::chunked:
            if (l.decoded.empty() && !l.chunks_done) {
                if (l.pending.empty()) return std::nullopt;
                if (!decode(l)) return e; // a framing doubt behind good bytes: they stay, it goes
                if (l.decoded.empty() && !l.chunks_done) return std::nullopt;
            }
            e.body_ended = l.chunks_done && l.decoded.empty();
            break;
        case body_framing::kind::length: e.body_ended = l.body_left == 0; break;
        case body_framing::kind::until_close:
            if (l.window.to_the_end && l.pending.empty() && l.decoded.empty()) return std::nullopt;
            break;
        case body_framing::kind::none: break;
        }
        e.bytes_left_over = !l.pending.empty() || !l.decoded.empty();
        return e;
    }

    // Decodes until there is payload, or the input is used up. False: the chunks are damaged.
    [[nodiscard]] bool decode(lane_type& l) {
        while (l.decoded.empty() && !l.pending.empty() && !l.chunks_done) {
            auto const piece = l.chunks.decode(l.pending);
            l.pending.remove_prefix(piece.consumed);
            l.read += piece.consumed - piece.data.size(); // these count when they are placed
            l.decoded = piece.data;
            if (piece.is == chunked_decoder::state::failed) return false;
            l.chunks_done = piece.is == chunked_decoder::state::done;
            if (piece.consumed == 0 && piece.data.empty()) break;
        }
        return true;
    }

    [[nodiscard]] std::optional<failure> copy_decoded(lane_type& l) {
        std::uint64_t const room = l.window.grant.size() - l.placed;
        std::error_code ec;
        if constexpr (writes<Sink>) {
            // The sink takes them from where they are.
            std::size_t const taken = std::min(l.decoded.size(), clamp(room));
            std::span const bytes = std::as_bytes(std::span{l.decoded.data(), taken});
            sink_.write(offset_in_sink(l), bytes, ec);
            if (ec) return sink_failure(ec);
            if (keeps_) l.crc = crc32c(bytes, l.crc);
            l.decoded.remove_prefix(taken);
            l.read += taken;
            place(l, taken);
            return std::nullopt;
        }
        std::span<std::byte> const to =
            sink_.prepare(offset_in_sink(l), std::min(l.decoded.size(), clamp(room)), ec);
        if (ec) return sink_failure(ec);
        std::size_t const n = std::min({to.size(), l.decoded.size(), clamp(room)});
        std::memcpy(to.data(), l.decoded.data(), n);
        sink_.commit(offset_in_sink(l), n, ec);
        if (ec) return sink_failure(ec);
        if (keeps_) l.crc = crc32c(std::as_bytes(std::span{l.decoded.data(), n}), l.crc);
        l.decoded.remove_prefix(n);
        l.bytes_copied += n;
        l.read += n;
        place(l, n);
        return std::nullopt;
    }

    Sink& sink_;
    bool keeps_ = false; ///< the journal is to know what comes
    splicer pipe_;
    std::unique_ptr<std::byte[]> sum_buffer_;
};

} // namespace cleave::detail
