// SPDX-License-Identifier: BSL-1.0
//
// What holds for any observer (observe/concept.hpp), a user's own too: it takes every event, in any
// order and of any value. Answers with what was broken, or with an empty text.

#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/observe/concept.hpp>

#include <laws/random.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace cleave_test {

/// Tells an observer of one event of each kind: small, large and odd values.
template <cleave::observer O>
void tell_of_everything(O& o, random_source& random) {
    auto const number = [&] { return random() >> random.below(64); };
    auto const lane = [&] { return static_cast<cleave::lane_id>(number()); };
    auto const time = [&] {
        return std::chrono::nanoseconds{static_cast<std::int64_t>(number() >> 1)};
    };
    auto const some = [&] { return random.within({0, cleave::max_offset}); };
    cleave::failure const failure =
        cleave::failure::of(cleave::error::stalled, cleave::phase::body,
                            random.chance(50) ? std::string{"line\nbreak\x1b[31m\x7f"} : "");
    cleave::identity known;
    if (random.chance(50)) known.size = number();
    known.validator.is = static_cast<cleave::validator::kind>(random.below(3));
    cleave::lane_progress const lanes[] = {{}, {cleave::lane_activity::receiving, 7, some()}};

    o.on(cleave::lane_connected{lane(), random.chance(50)});
    o.on(cleave::segment_asked{lane(), some(), random.chance(50)});
    o.on(cleave::object_known{known, random.chance(50)});
    o.on(cleave::attempt_failed{lane(), failure,
                                random.chance(50) ? std::optional{time()} : std::nullopt,
                                static_cast<cleave::next_step>(random.below(8))});
    o.on(cleave::download_resumed{number()});
    o.on(cleave::request_refreshed{random.chance(50) ? failure.code : std::error_code{}});
    o.on(cleave::bytes_stolen{lane(), lane(), some(), random.chance(50)});
    o.on(cleave::piece_failed{number(), some()});
    o.on(cleave::mirror_dropped{lane(), "http://host/", failure});
    o.on(cleave::download_paused{random.chance(50)});
    o.on(cleave::progress{number(), random.chance(50) ? std::optional{number()} : std::nullopt,
                          time(), lanes, number(), std::nullopt});
    o.on(cleave::download_ended{random.chance(50) ? &failure : nullptr, number(), time()});
}

/// An observer takes whatever it is told, wants `progress` as often as before, and goes on when
/// moved.
template <cleave::observer O>
[[nodiscard]] std::string broken_observer(O o, random_source& random) {
    auto const interval = o.interval();
    auto const step = cleave::step_of(o);
    if (interval < std::chrono::nanoseconds{0}) return "an interval is never negative";
    for (int i = 0; i != 50; ++i) tell_of_everything(o, random);
    O moved = std::move(o);
    for (int i = 0; i != 50; ++i) tell_of_everything(moved, random);
    if (moved.interval() != interval) return "the interval stays the same";
    if (cleave::step_of(moved) != step) return "the step stays the same";
    return {};
}

} // namespace cleave_test
