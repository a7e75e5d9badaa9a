// SPDX-License-Identifier: BSL-1.0
//
// Power cuts, many of them: whole downloads through the real driver onto a disk that loses any of
// what was not synced. However often the power fails, whatever survives, and whatever becomes of
// the object meanwhile, what ends up under the target's name is exactly one version of it.
#include <support/catch.hpp>

#include <laws/random.hpp>
#include <support/chosen.hpp>
#include <support/watched_journal.hpp>

#include <cleave/base/crc32c.hpp>
#include <cleave/base/error.hpp>
#include <cleave/download.hpp>
#include <cleave/journal/file_journal.hpp>
#include <cleave/sink/file_sink.hpp>
#include <cleave/testing/memory_disk.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>
#include <cleave/verify/concept.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <malloc.h>

using namespace cleave::testing;
using namespace cleave_test;
using cleave::error;

namespace {

constexpr auto target = "/data/model.bin";
constexpr auto partial = "/data/model.bin.part";

// A digest that costs next to nothing.
struct cheap_hasher {
    std::uint32_t crc = 0;

    void reset(std::error_code&) noexcept { crc = 0; }
    void update(std::span<std::byte const> bytes, std::error_code&) noexcept {
        crc = cleave::crc32c(bytes, crc);
    }
    [[nodiscard]] cleave::digest_value finish(std::error_code&) const noexcept {
        cleave::digest_value value;
        value.size = sizeof crc;
        std::memcpy(value.bytes.data(), &crc, sizeof crc);
        return value;
    }
};

cleave::digest_value cheap_digest(std::string_view bytes) {
    cheap_hasher h;
    std::error_code ec;
    h.update(std::as_bytes(std::span{bytes}), ec);
    return h.finish(ec);
}

struct perhaps_digest {
    using hasher_type = cheap_hasher;
    std::optional<cleave::digest_value> expected;

    [[nodiscard]] bool wanted() const noexcept { return expected.has_value(); }
    [[nodiscard]] std::error_code fault() const noexcept { return {}; }
    [[nodiscard]] cheap_hasher make_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches(cleave::digest_value const& d) const noexcept {
        return d == expected;
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept {
        return expected ? cleave::detail::expectation_hash(expected->view(), 1) : 0;
    }
};
static_assert(cleave::content_verifier<perhaps_digest>);

/// What the server says of its object, by which a change could be noticed.
enum class told { etag, date, nothing, stale_etag };
/// Which digest is wanted: none, that of the object as it is when a run starts, or from the
/// beginning that of the version which comes only later.
enum class wanted { nothing, current, later };

/// One run, and what became of it.
struct attempt {
    bool power_failed = false;
    std::error_code ec;
    cleave::report report;
    std::uint64_t body_bytes_sent = 0;
};

struct settings {
    chosen_plan plan;
    std::uint32_t lanes = 1;
    perhaps_digest verify{};
    cleave::engine_windows windows{};
    cleave::journal_interval interval{};
    memory_link link{};
    bool durable = false;
};

settings random_settings(random_source& random, std::uint64_t size) {
    std::uint64_t const part = 1 + size / (1 + random.below(12));
    settings s{.plan = {cleave::guided{}}};
    if (random.chance(40)) s.plan.is = cleave::fixed_size{part};
    if (random.chance(30)) s.plan.is = cleave::even_split{};
    s.lanes = 1 + static_cast<std::uint32_t>(random.below(6));
    s.windows = {.grant = 500 + random.below(8'000),
                 .opening = 1 + random.below(10'000),
                 .hash = 500 + random.below(20'000),
                 .hash_from = 1 + random.below(9'000),
                 .sample = random.below(600)};
    s.windows.stealing = {.least = 2'000, .leave = 500};
    s.interval = {.bytes = 1 + random.below(random.chance(50) ? 5'000 : 30'000),
                  .time = std::chrono::milliseconds{1 + random.below(100)}};
    s.link = {.latency = std::chrono::milliseconds{1},
              .rate = random.chance(50) ? 100'000 + random.below(2'000'000) : 0,
              .piece = static_cast<std::size_t>(700 + random.below(6'000))};
    return s;
}

/// Lets a download run until it ends, or until the power fails.
attempt run(memory_disk disk, memory_handler const& server, settings const& s,
            cleave::resume_state& held, std::size_t power_fails_at) {
    attempt result;
    bool ended = false;
    disk.record(false);
    disk.power_fails_at(power_fails_at);
    world time;
    memory_network network{server, s.link};
    asio::io_context context;
    cleave::request what{"http://example.org/model.bin?signed=once"};
    what.seed = 7;
    using journal = cleave::basic_file_journal<memory_file>;
    journal kept{memory_file{disk}};
    auto how =
        cleave::policies<>{}
            .with_plan(s.plan)
            .with_lanes(cleave::fixed_lanes{s.lanes})
            .with_verify(s.verify)
            .with_connector(network.connector())
            .with_journal(watched_journal{
                (s.durable ? std::move(kept).durably() : std::move(kept)).every(s.interval), held})
            .with_timer<virtual_timers>()
            .with_background(cleave::same_thread{})
            .with_windows(s.windows);
    cleave::async_download(context.get_executor(), std::move(what),
                           cleave::basic_file_sink<memory_file>{target, memory_file{disk}},
                           std::move(how), [&](std::error_code ec, cleave::report r) {
                               ended = true;
                               result.ec = ec;
                               result.report = std::move(r);
                           });
    bool const done = time.run(context, [&] {
        result.power_failed = disk.calls() > power_fails_at;
        return ended || result.power_failed;
    });
    REQUIRE(done);
    result.body_bytes_sent = network.body_bytes_sent();
    return result;
}

/// One object on its way to one disk, through as many power cuts as its seed has.
class story {
  public:
    story(std::uint64_t seed, bool durable) : random_(seed), durable_(durable) {
        std::uint64_t const size = random_.chance(30)   ? 1 + random_.below(5'000)
                                   : random_.chance(90) ? 20'000 + random_.below(30'000)
                                                        : 50'000 + random_.below(150'000);
        told_ = static_cast<told>(random_.below(4));
        wanted_ = static_cast<wanted>(random_.below(3));
        // Then only a digest can tell.
        if (told_ == told::stale_etag && wanted_ == wanted::nothing) wanted_ = wanted::current;
        for (std::size_t i = 0; i != versions_.size(); ++i) {
            object& o = versions_[i] =
                object::random(size, static_cast<std::uint32_t>(2 * seed + i));
            o.etag = told_ == told::etag         ? "\"v" + std::to_string(i) + "\""
                     : told_ == told::stale_etag ? "\"v\""
                                                 : "";
            o.last_modified = told_ == told::date
                                  ? "Mon, 0" + std::to_string(i + 1) + " Jan 2024 00:00:00 GMT"
                                  : "";
        }
        if (random_.chance(30)) old_ = "an older version";
        if (random_.chance(10)) old_ = object::random(size, 1).bytes;
        if (!old_.empty()) disk_.put(target, old_);
        published_ = old_;
        cuts_ = 1 + random_.below(4);
        if (wanted_ == wanted::later || random_.chance(40))
            changes_before_ = random_.below(cuts_ + 1);
    }

    /// The story to its end. Answers with how many states were gone on from, after a power cut.
    std::size_t tell() {
        std::uint32_t runs_that_end = 0;
        for (std::size_t i = 0;; ++i) {
            if (i == changes_before_) version_ = 1;
            settings s = random_settings(random_, now().bytes.size());
            s.durable = durable_;
            if (wanted_ != wanted::nothing)
                s.verify.expected =
                    cheap_digest((wanted_ == wanted::later ? versions_[1] : now()).bytes);
            bool const to_the_end = i >= cuts_;
            CAPTURE(i, to_the_end, version_, told_, wanted_);
            cleave::resume_state const before = held_;
            bool const same_version = held_of_ == version_;
            attempt const a = run(disk_, memory_network::honest(now()), s, held_,
                                  to_the_end ? never : random_.index(calls_of(s)));
            if (!(held_ == before)) held_of_ = version_;
            if (a.power_failed) {
                power_fails();
                continue;
            }
            disk_.kill();
            CAPTURE(a.ec.message(), s.lanes);
            REQUIRE_FALSE(disk_.exists(partial));
            REQUIRE(disk_.names().size() == (disk_.exists(target) ? 1U : 0U));
            if (a.ec) {
                // What came before was of another version, and only the digest told; or it is
                // there too early.
                REQUIRE(wanted_ == wanted::later);
                REQUIRE((a.ec == error::digest_mismatch || a.ec == error::bytes_differ));
                REQUIRE((disk_.exists(target) ? disk_.bytes(target) : "") == published_);
                REQUIRE((version_ == 0 || ++runs_that_end < cuts_ + 2));
                continue;
            }
            REQUIRE((disk_.bytes(target) == now().bytes));
            published_ = now().bytes;
            counts_on_what_was_kept(a, s, same_version ? claimed(before) : 0);
            if (!to_the_end || random_.chance(80)) return states_;
            // What has been published stays; what was removed may come back.
            power_fails();
            REQUIRE((disk_.bytes(target) == now().bytes));
        }
    }

  private:
    static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

    [[nodiscard]] object const& now() const noexcept { return versions_[version_]; }

    // About as many as a run makes.
    [[nodiscard]] std::size_t calls_of(settings const& s) const noexcept {
        std::uint64_t const size = now().bytes.size();
        std::uint64_t const at_once = std::min<std::uint64_t>(s.link.piece, s.windows.grant);
        std::uint64_t const records = size / std::max(s.interval.bytes, s.windows.grant);
        return static_cast<std::size_t>(14 + 3 * size / at_once / 2 +
                                        records * (s.durable ? 3 : 1));
    }

    void power_fails() {
        ++states_;
        switch (random_.below(8)) {
        case 0: disk_.crash([](std::uint64_t) { return std::uint64_t{0}; }); break;
        case 1: disk_.crash([](std::uint64_t n) { return n - 1; }); break;
        default: disk_.crash([&](std::uint64_t n) { return random_.below(n); }); break;
        }
        // Under the target's name there is what was there before, or all of a version.
        std::string const there = disk_.bytes(target);
        bool const whole = there == now().bytes && (wanted_ != wanted::later || version_ == 1);
        REQUIRE((there == published_ || whole));
        if (disk_.exists(target) && whole) published_ = there;
        if (durable_) REQUIRE(is_there(held_));
    }

    // Whether what a state claims is on the disk.
    [[nodiscard]] bool is_there(cleave::resume_state const& s) const {
        std::string const bytes = disk_.bytes(disk_.exists(partial) ? partial : target);
        return std::ranges::all_of(s.in_place, [&](cleave::checked_segment const& run) {
            if (run.bytes.last >= bytes.size()) return false;
            std::string_view const some =
                std::string_view{bytes}.substr(static_cast<std::size_t>(run.bytes.first),
                                               static_cast<std::size_t>(run.bytes.size()));
            return cleave::crc32c(std::as_bytes(std::span{some})) == run.crc;
        });
    }

    // Of a run that ended well: it fetched no more than it had to. `sure`: bytes that it could rely
    // on, where syncs are heeded.
    void counts_on_what_was_kept(attempt const& a, settings const& s, std::uint64_t sure) const {
        cleave::report const& r = a.report;
        std::uint64_t const size = now().bytes.size();
        REQUIRE(r.bytes == size);
        if (told_ == told::nothing && wanted_ == wanted::nothing) REQUIRE(r.bytes_resumed == 0);
        // With the digest of what comes later, bytes that came before may be found to be others.
        if (durable_ && wanted_ != wanted::later) REQUIRE(r.bytes_resumed >= sure);
        // What is fetched again is compared. And of an object that is all there its last bytes are
        // asked for, to see whether it is still the same; where it is not, all of it is on its way
        // before that is noticed.
        std::uint64_t const last = r.bytes_resumed == size ? s.windows.sample + 1 : 0;
        if (version_ == 0 && r.steals == 0 && r.hedges == 0)
            REQUIRE(a.body_bytes_sent <= size - r.bytes_resumed + r.bytes_twice + last);
    }

    random_source random_;
    bool durable_;
    told told_{};
    wanted wanted_{};
    std::array<object, 2> versions_;
    std::size_t version_ = 0;
    std::size_t cuts_ = 0;
    std::size_t changes_before_ = never;
    std::string old_;
    std::string published_; // what the target must hold at least
    memory_disk disk_;
    cleave::resume_state held_; // what the journal can be relied on to hold, and of which version
    std::size_t held_of_ = 0;
    std::size_t states_ = 0;
};

/// Stories until so many states were seen. `stories(1, durable, seed)` tells a failed one again.
std::size_t stories(std::size_t states, bool durable, std::uint64_t seed) {
    std::size_t seen = 0;
    for (; seen < states; ++seed) {
        CAPTURE(seed, durable);
        seen += story{seed, durable}.tell();
    }
    return seen;
}

} // namespace

TEST_CASE("whatever of it a power cut takes, a durable download ends right (K02)") {
    CHECK(stories(1'500, true, 1) >= 1'500);
}

TEST_CASE("whatever of it a power cut takes, a download ends right") {
    CHECK(stories(1'500, false, 1'000'000) >= 1'500);
}

TEST_CASE("100,000 states after power cuts, and every download ends right", "[.heavy]") {
    // Some 40 s of one core with -O2. Large blocks come and go by the thousand: they are not to be
    // asked of the system each time.
    ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
    ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
    CHECK(stories(100'000, true, 2'000'000) >= 100'000);
    CHECK(stories(20'000, false, 3'000'000) >= 20'000);
}
