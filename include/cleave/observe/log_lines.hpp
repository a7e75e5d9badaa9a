// SPDX-License-Identifier: BSL-1.0
//
// A line of text for each event but progress, as logs have them. Says what happened in words; knows
// no level, no time of day and no logging library.
#pragma once

#include <cleave/base/exception.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/observe/concept.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <ostream>
#include <ratio>
#include <string>
#include <string_view>
#include <utility>

namespace cleave {

namespace detail {

/// In tenths of a second, rounded up: "0.2 s".
[[nodiscard]] inline std::string in_seconds(std::chrono::nanoseconds t) {
    using tenths = std::chrono::duration<std::int64_t, std::deci>;
    std::int64_t const n = std::chrono::ceil<tenths>(t).count();
    return std::to_string(n / 10) + '.' + std::to_string(n % 10) + " s";
}

struct lines_to_stream {
    // Not explicit: log_lines is made from the stream itself.
    lines_to_stream(std::ostream& to) noexcept : to_(&to) {}
    // At one go, so that it stays one line whoever else writes there.
    void operator()(std::string_view line) const { *to_ << std::string{line} + '\n'; }

  private:
    std::ostream* to_;
};

} // namespace detail

/// Calls `f(std::string_view)` with a line for each event but `progress`, without a line break:
///
///     lane 3 asks for [0,1048575]
///     lane 3 failed: the server failed (5xx); wait and try again; connects again in 0.2 s
///
/// `log_lines(std::cerr)` writes them to a stream, each with a line break behind it; the stream
/// must outlive the download. Lines hold no secrets: of a mirror its URL without them, no other
/// URL, no field of request or reply. Control characters in them are replaced by '?'. What `f`
/// throws is dropped, and so is a line for which there is no memory.
template <std::invocable<std::string_view> F>
class log_lines {
  public:
    explicit log_lines(F f) : f_(std::move(f)) {}

    void on(lane_connected const& e) noexcept {
        write([&] {
            return lane(e.lane) + (e.kept ? "goes on over a kept connection" : "is connected");
        });
    }
    void on(segment_asked const& e) noexcept {
        write([&] {
            return lane(e.lane) + "asks for " + to_string(e.bytes) +
                   (e.hedge ? " too, which a slow lane holds" : "");
        });
    }
    void on(object_known const& e) noexcept {
        write([&] {
            std::string line = "the object has ";
            line += e.identity.size ? std::to_string(*e.identity.size) : "an unknown number of";
            line += " bytes, and ";
            switch (e.identity.validator.is) {
            case validator::kind::none: line += "nothing to tell its versions by"; break;
            case validator::kind::strong_etag: line += "a strong ETag"; break;
            case validator::kind::last_modified: line += "a date of change"; break;
            }
            return line + (e.ranges ? "" : "; the server sends no ranges");
        });
    }
    void on(attempt_failed const& e) noexcept {
        write(
            [&] { return lane(e.lane) + "failed: " + e.what.message() + "; " + what_follows(e); });
    }
    void on(download_resumed const& e) noexcept {
        write([&] {
            return "goes on where an earlier run ended: " + std::to_string(e.bytes) +
                   " bytes are in place";
        });
    }
    void on(request_refreshed const& e) noexcept {
        write([&] {
            return e.failed ? "there is no fresh URL: " + e.failed.message()
                            : std::string{"there is a fresh URL"};
        });
    }
    void on(bytes_stolen const& e) noexcept {
        write([&] {
            return lane(e.by) + "takes " + to_string(e.bytes) + " over from lane " +
                   std::to_string(e.from) + (e.hedge ? ", which was slower" : "");
        });
    }
    void on(piece_failed const& e) noexcept {
        write([&] {
            return "piece " + std::to_string(e.index) + ", " + to_string(e.bytes) +
                   ", does not have its digest; it is fetched again";
        });
    }
    void on(mirror_dropped const& e) noexcept {
        write([&] { return "gave up " + std::string{e.url} + ": " + e.why.message(); });
    }
    void on(download_paused const& e) noexcept {
        write([&] { return std::string{e.paused ? "paused" : "going on"}; });
    }
    void on(progress const&) const noexcept {}
    void on(download_ended const& e) noexcept {
        write([&] {
            std::string line = e.failed ? "failed" : "done";
            line += " after " + std::to_string(e.bytes) + " bytes and ";
            line += detail::in_seconds(e.elapsed);
            return e.failed ? line + ": " + e.failed->message() : line;
        });
    }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return {}; }

  private:
    [[nodiscard]] static std::string lane(lane_id id) { return "lane " + std::to_string(id) + ' '; }
    [[nodiscard]] static std::string what_follows(attempt_failed const& e) {
        std::string when;
        if (e.again_after)
            when = e.again_after->count() <= 0 ? " at once"
                                               : " in " + detail::in_seconds(*e.again_after);
        switch (e.next) {
        case next_step::same_connection: return "asks again" + when + " over the same connection";
        case next_step::new_connection: return "connects again" + when;
        case next_step::fresh_request: return "gets a fresh URL";
        case next_step::other_mirror: return "goes on at another mirror";
        case next_step::fewer_lanes: return "goes on without this lane";
        case next_step::one_stream: return "one stream from here on";
        case next_step::new_version: return "begins again with the new version";
        case next_step::none: break;
        }
        return "given up";
    }
    template <class MakeLine>
    void write(MakeLine make_line) noexcept {
        detail::call_onlooker([&] {
            std::string line = make_line();
            for (char& c : line)
                if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
            f_(std::string_view{line});
        });
    }

    F f_;
};

template <class F>
log_lines(F) -> log_lines<F>;
log_lines(std::ostream&)->log_lines<detail::lines_to_stream>;

static_assert(observer<log_lines<void (*)(std::string_view)>>);

} // namespace cleave
