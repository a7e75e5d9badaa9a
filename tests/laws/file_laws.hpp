// SPDX-License-Identifier: BSL-1.0
//
// The laws of files (os/concept.hpp) for any file: how partials, journals and finished files are
// created, taken over, and let go of. Answers with the law that was broken, or with an empty text.

#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace cleave_test {

/// `make()` answers with a file of one and the same disk; `at` is a prefix of names that nobody has
/// there, say a directory and a slash.
template <class Make>
[[nodiscard]] std::string broken_file(Make make, std::string const& at) {
    auto const none = std::errc::no_such_file_or_directory;
    std::string const partial = at + "file.part";
    std::string const target = at + "file";
    std::string const journal = at + "file.journal";
    std::error_code ec;
    auto const write = [&](auto& f, std::uint64_t offset, std::string_view text) {
        f.write_at(offset, std::as_bytes(std::span{text}), ec);
    };
    auto const holds = [&](auto& f, std::string_view text) {
        std::uint64_t const size = f.size(ec);
        if (ec || size != text.size()) return false;
        std::string there(text.size(), '?');
        f.read_at(0, std::as_writable_bytes(std::span{there}), ec);
        return !ec && there == text;
    };
    auto const failed_with = [&](auto expected) {
        bool const so = ec == expected;
        ec.clear();
        return so;
    };

    {
        auto f = make();
        f.reopen_partial(partial, ec);
        if (!failed_with(none)) return "a partial that is not there is not reopened";
        f.open_finished(target, ec);
        if (!failed_with(none)) return "a target that is not there is not opened";
        f.open_partial(partial, ec);
        if (ec || !holds(f, "")) return "a new partial is empty";
        write(f, 0, "0123456789");
        if (ec || !holds(f, "0123456789")) return "a file is as long as what was written";

        auto other = make();
        other.reopen_partial(partial, ec);
        if (!failed_with(cleave::error::target_busy)) return "an open partial has one owner";
        other.open_partial(partial, ec);
        if (!failed_with(cleave::error::target_busy)) return "an open partial has one owner";
        other.open_journal(partial, ec);
        if (!failed_with(cleave::error::target_busy)) return "an open file has one owner";
        other.discard();
        if (!holds(f, "0123456789")) return "what is another's is left alone";
    }
    {
        auto f = make();
        f.reopen_partial(partial, ec);
        if (ec || !holds(f, "0123456789")) return "a partial is taken over as it is";
        write(f, 4, "x");
        if (ec || !holds(f, "0123x56789")) return "a partial that was taken over is written to";
        f.sync(ec);
        if (ec) return "a partial that was taken over is synced";
        f.close();
        f.close();
        auto other = make();
        other.reopen_partial(partial, ec);
        if (ec || !holds(other, "0123x56789")) return "closing leaves a file, and its lock";
        f.discard();
        if (!holds(other, "0123x56789")) return "what was closed is not removed";
        other.publish(target, ec);
        if (ec) return "a partial that was taken over is published";
    }
    {
        auto f = make();
        f.open_finished(target, ec);
        if (ec || !holds(f, "0123x56789")) return "a finished file is read";
        auto other = make();
        other.open_finished(target, ec);
        if (ec) return "a finished file has no owner";
        write(f, 0, "y");
        if (!failed_with(std::errc::bad_file_descriptor)) return "a finished file is not written";
        f.sync(ec);
        if (ec) return "a finished file is synced";
        f.discard();
        if (!holds(other, "0123x56789")) return "a finished file is not removed";
        f.open_finished(target, ec);
        if (ec) return "a finished file is not removed";
        // Nor does anything of it stick to the object.
        f.open_partial(partial, ec);
        write(f, 0, "new");
        if (ec || !holds(f, "new")) return "another partial begins after a finished file";
        f.discard();
        f.reopen_partial(partial, ec);
        if (!failed_with(none)) return "a discarded partial is gone";
    }
    {
        auto f = make();
        f.open_journal(journal, ec);
        if (ec || !holds(f, "")) return "a new journal is empty";
        write(f, 0, "record");
        f.close();
        f.open_journal(journal, ec);
        if (ec || !holds(f, "record")) return "a journal is taken over as it is";
        f.discard();
        f.reopen_partial(journal, ec);
        if (!failed_with(none)) return "a discarded journal is gone";
    }
    {
        auto f = make();
        f.open_partial(partial, ec);
        write(f, 0, "0123456789");
        f.close();
        f.open_partial(partial, ec);
        if (ec || !holds(f, "")) return "a partial that is opened afresh is empty";
        f.discard();
    }
    return {};
}

} // namespace cleave_test
