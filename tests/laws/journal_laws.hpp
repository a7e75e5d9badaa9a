// SPDX-License-Identifier: BSL-1.0
//
// The laws of resume journals (journal/concept.hpp) for any journal, a user's own too: opened again
// and again by one run after another, over what a crash or a damaged disk may have left. Each
// function answers with what was broken, or with an empty text.
//
// `make()` answers with a new journal over the same storage, as another run of the program has it.
// Of a storage `s` there are `s.read()`, all of its bytes as a `std::string`, and `s.write(bytes)`,
// which makes them these.

#pragma once

#include <cleave/base/identity.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/journal/concept.hpp>

#include <laws/random.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_test {

using stored_state = std::optional<cleave::resume_state>;

/// A state such as a download may come to, with up to so many runs.
inline cleave::resume_state random_state(random_source& random, std::size_t most_runs) {
    auto const text = [&random](char const* begin) {
        return begin + std::string(random.index(30), static_cast<char>('a' + random.index(26)));
    };
    cleave::resume_state s;
    // Sizes of any length, up to the greatest.
    std::uint64_t const size = std::max<std::uint64_t>(random() >> random.below(63), 1);
    s.identity.size = size;
    s.identity.validator.is = static_cast<cleave::validator::kind>(random.below(3));
    if (s.identity.validator.is != cleave::validator::kind::none)
        s.identity.validator.text = text("\"");
    if (random.chance(30)) s.identity.weak_etag = text("W/");
    s.wanted = random.chance(50) ? cleave::segment{0, size - 1} : random.within({0, size - 1});
    s.url = text("https://example.org/");
    if (random.chance(50)) s.expectation = random();

    std::size_t const runs = random.index(most_runs + 1);
    std::uint64_t const step = std::max<std::uint64_t>(s.wanted.size() / (runs + 1), 1);
    for (std::uint64_t at = s.wanted.first; s.in_place.size() != runs && s.wanted.last - at >= step;
         at += step) {
        // All but the last byte of a step at most, so that they lie apart.
        if (step < 2) break;
        s.in_place.push_back(
            {random.within({at, at + step - 2}), static_cast<std::uint32_t>(random())});
    }
    return s;
}

/// Whether `less` is `more`, perhaps with fewer runs.
inline bool claims_no_more(cleave::resume_state less, cleave::resume_state more) {
    bool const runs_of_it =
        std::ranges::includes(more.in_place, less.in_place, {}, &cleave::checked_segment::bytes,
                              &cleave::checked_segment::bytes) &&
        std::ranges::all_of(less.in_place, [&](cleave::checked_segment const& run) {
            return std::ranges::find(more.in_place, run) != more.in_place.end();
        });
    less.in_place.clear();
    more.in_place.clear();
    return runs_of_it && less == more;
}

/// Whether `answer` is a right one of `open` where `held` is what the journal holds.
inline bool is_answer(stored_state const& answer, stored_state const& held) {
    return !answer || (held && claims_no_more(*answer, *held));
}

/// Stores, removes, and opens again and again. `all_fit`: all states of up to `most_runs` runs have
/// room, so that nothing less than what was stored will do.
template <class Make>
[[nodiscard]] std::string broken_journal(Make make, std::string const& target, bool all_fit,
                                         std::size_t most_runs, random_source& random, int steps) {
    stored_state held;
    bool first = true;
    while (steps > 0) {
        auto journal = make();
        if (!journal.keeps(target)) return "keeps answered no";
        std::error_code ec;
        auto const answer = journal.open(target, ec);
        if (ec) return "open failed: " + ec.message();
        // A first run may find what somebody else left there.
        if (!first && !is_answer(answer, held)) return "open answers with what was stored";
        if (!first && all_fit && answer != held) return "open answers with all that was stored";
        if (first) held = answer;
        first = false;

        auto moved = std::move(journal);
        for (std::size_t n = random.index(4); n != 0; --n, --steps) {
            held = random_state(random, most_runs);
            moved.store(*held, ec);
            if (ec) return "store failed: " + ec.message();
        }
        if (random.chance(20)) {
            moved.remove(ec);
            if (ec) return "remove failed: " + ec.message();
            held = std::nullopt;
        }
        --steps;
    }
    return {};
}

/// Law 2, for a storage that is written byte by byte, in ascending or descending order: a crash
/// after any of them leaves the state before or the new one, and a journal that can be gone on
/// with.
template <class Make, class Storage>
[[nodiscard]] std::string broken_crash(Make make, Storage& storage, std::string const& target,
                                       std::size_t most_runs, random_source& random) {
    auto const stored = [&](cleave::resume_state const& s, stored_state const& held) {
        auto journal = make();
        std::error_code ec;
        auto const answer = journal.open(target, ec);
        if (ec || !answer || !is_answer(answer, held)) return false;
        journal.store(s, ec);
        return !ec;
    };
    {
        // Something older lies in every place, so that whatever is written has it behind.
        auto journal = make();
        std::error_code ec;
        static_cast<void>(journal.open(target, ec));
        for (int i = 0; i != 3; ++i) journal.store(random_state(random, most_runs), ec);
        if (ec) return "store failed: " + ec.message();
    }
    cleave::resume_state const old = random_state(random, most_runs);
    cleave::resume_state const next = random_state(random, most_runs);
    cleave::resume_state const later = random_state(random, most_runs);
    {
        auto journal = make();
        std::error_code ec;
        static_cast<void>(journal.open(target, ec));
        journal.store(old, ec);
        if (ec) return "store failed: " + ec.message();
    }
    std::string before = storage.read();
    if (!stored(next, old)) return "store failed";
    std::string const after = storage.read();
    before.resize(after.size());

    std::vector<std::size_t> changed;
    for (std::size_t i = 0; i != after.size(); ++i)
        if (before[i] != after[i]) changed.push_back(i);
    for (int order = 0; order != 2; ++order, std::ranges::reverse(changed)) {
        std::string torn = before;
        for (std::size_t n = 0; n <= changed.size(); ++n) {
            if (n != 0) torn[changed[n - 1]] = after[changed[n - 1]];
            storage.write(torn);
            stored_state answer;
            {
                auto journal = make();
                std::error_code ec;
                answer = journal.open(target, ec);
                if (ec) return "open failed after a crash: " + ec.message();
            }
            if (!answer) return "a crash leaves the state before or the new one, not nothing";
            bool const whole = n == changed.size();
            if (!claims_no_more(*answer, whole ? next : old))
                return "a crash leaves the state before or the new one";
            if (!stored(later, answer)) return "after a crash nothing can be stored";
            auto journal = make();
            std::error_code ec;
            answer = journal.open(target, ec);
            if (ec || !answer || !claims_no_more(*answer, later))
                return "what is stored after a crash stays";
        }
    }
    storage.write(after);
    return {};
}

/// Law 1: whatever is done to one byte of a storage that holds `newest` and perhaps `older`, `open`
/// answers with either, or nothing.
template <class Make, class Storage>
[[nodiscard]] std::string broken_by_damage(Make make, Storage& storage, std::string const& target,
                                           stored_state const& newest, stored_state const& older,
                                           std::vector<std::size_t> const& places) {
    std::string const whole = storage.read();
    auto const opens_right = [&](std::string const& bytes) {
        storage.write(bytes);
        auto journal = make();
        std::error_code ec;
        auto const answer = journal.open(target, ec);
        return !ec && (is_answer(answer, newest) || is_answer(answer, older));
    };
    std::string broken;
    for (std::size_t const at : places) {
        std::string bytes = whole;
        for (unsigned bit = 0; bit != 8; ++bit) {
            bytes[at] = static_cast<char>(static_cast<unsigned char>(whole[at]) ^ 1U << bit);
            if (!opens_right(bytes)) broken = "a flipped bit";
        }
        for (unsigned const value : {0U, 0xffU}) {
            bytes[at] = static_cast<char>(value);
            if (!opens_right(bytes)) broken = "another byte";
        }
        if (!opens_right(whole.substr(0, at))) broken = "a missing end";
        if (!broken.empty()) return broken + " at " + std::to_string(at) + " is believed";
    }
    storage.write(whole);
    return {};
}

} // namespace cleave_test
