// SPDX-License-Identifier: BSL-1.0
//
// A journal in two slots through any life: states stored, writes that fail or that a power cut
// tears, bits that flip, ends that are lost, and openings in between. What is opened is the
// newest record that is whole; a store that goes wrong costs itself and nothing before it; and a
// journal that was removed brings nothing back.
//
// The input: how many bytes a slot has, and then operations to its end.

#include "input.hpp"

#include <cleave/base/segment.hpp>
#include <cleave/journal/concept.hpp>
#include <cleave/journal/record_journal.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using cleave::resume_state;
using cleave_fuzz::require;
using bytes = std::vector<std::byte>;

// What the next writes are to meet.
struct weather {
    // How many bytes reach the slot before the power goes; all unless set.
    std::optional<std::size_t> torn;
    bool fails = false;
};

/// What a record is to say: nothing, or a state, of whose runs the largest have to do.
struct saying {
    std::optional<resume_state> state;
    std::optional<resume_state> given;
};

/// The flash of a device, and what a careful reader knows of it.
class flash {
  public:
    explicit flash(std::size_t size) : said_(1) {
        for (slot& s : slots_) s.is.assign(size, std::byte{0xff});
    }

    std::size_t load(unsigned which, std::span<std::byte> to) const {
        slot const& s = slots_[which];
        std::size_t const n = std::min(to.size(), s.is.size());
        std::copy_n(s.is.begin(), n, to.begin());
        return n;
    }
    void save(unsigned which, std::span<std::byte const> from, std::error_code& ec) {
        require(which < 2, "there are two slots");
        slot& s = slots_[which];
        require(from.size() <= s.is.size(), "a record fits its slot");
        std::copy_n(from.begin(), std::min(from.size(), now.torn.value_or(from.size())),
                    s.is.begin());
        s.bits = 0;
        // What was there may happen to go on as the new record does, or not to be touched at all.
        if (std::equal(from.begin(), from.end(), s.is.begin())) {
            s.record.assign(from.begin(), from.end());
            s.turn = said_.size();
            said_.push_back(writing);
        }
        if (now.torn || now.fails) ec = std::make_error_code(std::errc::io_error);
    }
    /// Three flipped bits are found by CRC-32C at any distance.
    void flip(unsigned which, std::size_t bit) {
        slot& s = slots_[which];
        if (s.is.empty() || s.bits == 3) return;
        ++s.bits;
        s.is[bit / 8 % s.is.size()] ^= static_cast<std::byte>(1U << bit % 8);
    }
    /// What stands behind is gone.
    void cut(unsigned which, std::size_t at) {
        auto& all = slots_[which].is;
        std::fill(all.begin() + static_cast<std::ptrdiff_t>(at), all.end(), std::byte{0xff});
    }

    /// The newest record that is whole, counted from 1 as they were written; 0 where there is none.
    /// One of the slots may be left out.
    [[nodiscard]] std::size_t newest(unsigned but = 2) const {
        std::size_t to = 0;
        for (unsigned i = 0; i != 2; ++i)
            if (i != but && is_whole(slots_[i])) to = std::max(to, slots_[i].turn);
        return to;
    }
    [[nodiscard]] saying const& what(std::size_t turn) const { return said_[turn]; }
    /// Whether a record is whole still.
    [[nodiscard]] bool has(std::size_t turn) const {
        return std::any_of(slots_.begin(), slots_.end(),
                           [&](slot const& s) { return is_whole(s) && s.turn == turn; });
    }

    weather now;
    /// What the record says that is about to be written.
    saying writing;

  private:
    struct slot {
        bytes is;
        bytes record; ///< that was last written as a whole
        std::size_t turn = 0;
        unsigned bits = 0;
    };
    [[nodiscard]] static bool is_whole(slot const& s) {
        return std::equal(s.record.begin(), s.record.end(), s.is.begin());
    }

    std::array<slot, 2> slots_;
    std::vector<saying> said_;
};

/// As a journal calls them.
struct load_from {
    flash* device;
    std::size_t operator()(unsigned which, std::span<std::byte> to) const {
        return device->load(which, to);
    }
};
struct save_to {
    flash* device;
    void operator()(unsigned which, std::span<std::byte const> from, std::error_code& ec) const {
        device->save(which, from, ec);
    }
};

resume_state any_state(cleave_fuzz::input& from) {
    resume_state to;
    if (!from.chance(5)) to.identity.size = 1 + from.below(200);
    std::uint64_t const size = to.identity.size.value_or(7);
    to.wanted.first = from.below(size);
    to.wanted.last =
        from.chance(95) ? to.wanted.first + from.below(size - to.wanted.first) : from.below(300);
    to.expectation = from.byte();
    to.identity.validator.is = static_cast<cleave::validator::kind>(from.byte() % 3);
    to.identity.validator.text = from.text(from.byte() % 6U);
    to.identity.weak_etag = from.text(from.byte() % 3U);
    to.url = "http://h/";
    std::uint64_t at = to.wanted.first;
    for (std::size_t runs = from.byte() % 10U; runs != 0; --runs) {
        std::uint64_t const first = at + from.byte() % 8U;
        std::uint64_t const last = first + from.byte() % 16U;
        to.in_place.push_back({{first, last}, static_cast<std::uint32_t>(from.byte())});
        // Mostly apart.
        at = last + (from.chance(95) ? 2 : 1);
    }
    return to;
}

// By the rules of the table in record.hpp.
bool makes_sense(resume_state const& s) {
    auto const text = [](std::string const& t) {
        return std::all_of(t.begin(), t.end(), [](char c) {
            auto const byte = static_cast<unsigned char>(c);
            return byte >= 0x20 && byte != 0x7f;
        });
    };
    bool good = s.identity.size && s.wanted.first <= s.wanted.last &&
                s.wanted.last < *s.identity.size && text(s.identity.validator.text) &&
                text(s.identity.weak_etag);
    for (std::size_t i = 0; i != s.in_place.size(); ++i) {
        cleave::segment const run = s.in_place[i].bytes;
        good = good && run.first >= s.wanted.first && run.last <= s.wanted.last;
        good = good && (i == 0 || run.first >= s.in_place[i - 1].bytes.last + 2);
    }
    return good;
}

/// What a slot of that size can say of a state.
std::optional<resume_state> as_kept(resume_state s, std::size_t slot) {
    std::size_t const without_runs = 53 + 6 + s.identity.validator.text.size() +
                                     s.identity.weak_etag.size() + s.url.size() + 4 + 4;
    if (!makes_sense(s) || without_runs > slot) return std::nullopt;
    std::size_t const most = (slot - without_runs) / 20;
    while (s.in_place.size() > most) {
        auto const smallest = std::min_element(
            s.in_place.begin(), s.in_place.end(),
            [](auto const& a, auto const& b) { return a.bytes.size() < b.bytes.size(); });
        s.in_place.erase(smallest);
    }
    return s;
}

/// Whether a state says what was to be said, where of runs of one size any may be missing.
bool is_said(std::optional<resume_state> const& got, saying const& by) {
    if (got == by.state) return true;
    if (!got || !by.state || got->in_place.size() != by.state->in_place.size()) return false;
    std::uint64_t bytes_got = 0;
    std::uint64_t bytes_said = 0;
    for (auto const& run : got->in_place) {
        auto const& given = by.given->in_place;
        if (std::find(given.begin(), given.end(), run) == given.end()) return false;
        bytes_got += run.bytes.size();
    }
    for (auto const& run : by.state->in_place) bytes_said += run.bytes.size();
    resume_state rest = *got;
    rest.in_place = by.state->in_place;
    return rest == *by.state && bytes_got == bytes_said;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    cleave_fuzz::input input{data, size};
    std::uint8_t const form = input.byte();
    std::size_t const slot = form < 0x20 ? form : 0x60 + form % 160U;
    flash device{slot};
    auto const journal = [&] {
        return cleave::record_journal{load_from{&device}, save_to{&device}, slot};
    };
    auto running = journal();
    if (!running.keeps("")) {
        require(slot < 24, "a slot that keeps nothing is smaller than any record");
        return 0;
    }
    std::error_code ec;
    require(!running.open("", ec), "empty flash holds nothing");
    // The record that the running journal knows to be there: it came back from writing or reading.
    std::size_t known = 0;
    while (!input.empty()) {
        std::uint8_t const what = input.byte();
        device.now = {};
        device.writing = {};
        ec.clear();
        bool const known_is_whole = device.has(known);
        switch (what % 8) {
        case 0:
        case 1:
        case 2: { // a state is stored, and perhaps not as a whole
            if (what >= 0xa0) device.now.torn = input.index(slot);
            if (what >= 0xf0) device.now = {.torn = {}, .fails = true};
            resume_state const s = any_state(input);
            device.writing = {as_kept(s, slot), s};
            running.store(s, ec);
            require(static_cast<bool>(ec) == (device.now.torn.has_value() || device.now.fails),
                    "an error is passed on, and none is made up");
            std::size_t const after = device.newest();
            bool const there = device.what(after).given == s;
            // Unless that had been damaged, which a running journal cannot know.
            require(there || after >= known || !known_is_whole,
                    "a store that goes wrong costs itself and nothing before it");
            require(ec || there, "what is stored is there");
            if (!ec) known = after;
            if (what % 8 == 0) break; // it goes on without being opened
            [[fallthrough]];
        }
        case 3: { // power goes off and on
            running = journal();
            ec.clear();
            auto const opened = running.open("", ec);
            require(!ec && is_said(opened, device.what(device.newest())),
                    "what is opened is the newest record that is whole");
            known = device.newest();
            break;
        }
        case 4: device.flip(what / 8 % 2U, input.index(slot * 8)); break;
        case 5: device.cut(what / 8 % 2U, input.index(slot + 1)); break;
        default: { // removed, and perhaps not as a whole
            if (what >= 0xa0) device.now.torn = input.index(slot);
            running.remove(ec);
            if (ec) break;
            known = device.newest();
            for (unsigned const damaged : {0U, 1U})
                require(!device.what(device.newest(damaged)).state,
                        "what is removed does not come back, also where one slot is damaged");
        }
        }
    }
    return 0;
}
