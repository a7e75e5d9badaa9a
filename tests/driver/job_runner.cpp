// SPDX-License-Identifier: BSL-1.0
//
// Jobs do to sink, journal and hasher what they should, in the order in which a crash between two
// steps does no harm, and tell what went wrong; also where something throws. No engine, no threads.
#include <cleave/driver/job_runner.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using cleave::cause;
using cleave::digest_value;
using cleave::job;
using cleave::phase;
using cleave::resume_state;
using cleave::segment;

namespace {

// What was called, and which of the calls fails, or throws.
struct calls {
    std::vector<std::string> made{};
    std::string fails{};
    std::error_code with = std::make_error_code(std::errc::io_error);
    bool throws = false;

    void call(std::string const& name, std::error_code& ec) {
        made.push_back(name);
        if (name != fails) return;
        if (throws) throw std::bad_alloc{};
        ec = with;
    }
};
using names = std::vector<std::string>;

struct watched_sink {
    static constexpr cleave::sink_traits traits{
        .readable = true, .revocable = true, .resumable = true};
    calls* log;
    std::string bytes{};

    void check(std::error_code&) const {}
    void open(std::optional<std::uint64_t>, std::error_code& ec) { log->call("open", ec); }
    void reopen(std::uint64_t, bool, std::error_code& ec) { log->call("reopen", ec); }
    std::span<std::byte> prepare(std::uint64_t, std::size_t, std::error_code&) { return {}; }
    void commit(std::uint64_t, std::size_t, std::error_code&) {}
    void read(std::uint64_t at, std::span<std::byte> to, std::error_code& ec) {
        log->call("read", ec);
        std::ranges::copy(
            std::as_bytes(std::span{bytes}).subspan(static_cast<std::size_t>(at), to.size()),
            to.begin());
    }
    void flush(std::error_code& ec) { log->call("flush", ec); }
    void sync(std::uint64_t, std::error_code& ec) { log->call("sync", ec); }
    void publish(std::error_code& ec) { log->call("publish", ec); }
    std::string target() const { return "file"; }
    void keep() noexcept { log->made.emplace_back("keep"); }
    void abandon() noexcept { log->made.emplace_back("abandon"); }
};

struct watched_journal {
    calls* log;
    std::optional<resume_state> holds{};
    bool is_durable = true;

    bool keeps(std::string const& target) const noexcept { return target == "file"; }
    std::optional<resume_state> open(std::string const&, std::error_code& ec) {
        log->call("journal opened", ec);
        return holds;
    }
    void store(resume_state const& s, std::error_code& ec) {
        log->call("stored " + std::to_string(s.in_place.size()), ec);
    }
    void remove(std::error_code& ec) { log->call("removed", ec); }
    bool durable() const noexcept { return is_durable; }
    cleave::journal_interval interval() const noexcept { return {}; }
};

// A digest of as many bytes as came.
struct counting_hasher {
    calls* log = nullptr;
    digest_value value{};
    void reset(std::error_code& ec) {
        log->call("reset", ec);
        value = {};
    }
    void update(std::span<std::byte const> b, std::error_code& ec) {
        log->call("update", ec);
        value.size += b.size();
    }
    digest_value finish(std::error_code& ec) {
        log->call("finish", ec);
        return value;
    }
};
struct counting_verifier {
    using hasher_type = counting_hasher;
    calls* log;
    bool wanted() const noexcept { return true; }
    std::error_code fault() const { return {}; }
    counting_hasher make_hasher() const { return {log}; }
    bool matches(digest_value const&) noexcept { return true; }
    cleave::piece_expectation pieces() const noexcept { return {10, 10}; }
    counting_hasher make_piece_hasher() const { return {log}; }
    bool matches_piece(std::uint64_t, digest_value const&) noexcept { return true; }
};
static_assert(cleave::piece_verifier<counting_verifier>);

struct rig {
    explicit rig(std::optional<resume_state> left = std::nullopt, bool durable = true)
        : jobs(sink, watched_journal{&log, std::move(left), durable}) {
        jobs.will_hash_for(counting_verifier{&log});
        jobs.will_record({.identity = {}, .wanted = {0, 99}, .url = {}, .in_place = {{{0, 9}, 1}}});
    }

    cleave::event::job_ended run(job what, segment bytes = {}, bool resumed = false) {
        log.made.clear();
        return jobs.run({.what = what, .bytes = bytes, .size = 100, .resumed = resumed});
    }

    calls log{};
    watched_sink sink{&log};
    cleave::detail::job_runner<watched_sink, watched_journal, counting_verifier> jobs;
};

resume_state all_in_place() {
    return {.identity = {}, .wanted = {0, 99}, .url = {}, .in_place = {{{0, 99}, 1}}};
}

} // namespace

TEST_CASE("what is recorded is durable before, where the journal wants that") {
    CHECK(rig{}.jobs.keeps());
    {
        rig r;
        CHECK_FALSE(r.run(job::record).failed);
        CHECK(r.log.made == names{"flush", "stored 1"});
    }
    {
        rig r{std::nullopt, false};
        CHECK_FALSE(r.run(job::record).failed);
        CHECK(r.log.made == names{"stored 1"});
    }
    {
        rig r;
        r.log.fails = "flush";
        auto const e = r.run(job::record);
        REQUIRE(e.failed);
        CHECK(e.failed->kind == cause::storage);
        CHECK(e.data_lost);
        CHECK(r.log.made == names{"flush"});
    }
    {
        rig r;
        r.log.fails = "stored 1";
        auto const e = r.run(job::record);
        CHECK(e.failed);
        CHECK_FALSE(e.data_lost);
    }
}

TEST_CASE("before what an earlier run left goes, nothing claims it any more") {
    for (bool const claimed : {false, true}) {
        rig r{claimed ? std::optional{all_in_place()} : std::nullopt};
        CHECK_FALSE(r.jobs.recall().failed);
        CHECK_FALSE(r.run(job::open).failed);
        names const all{"reset", "stored 1", "open"};
        names const without{"reset", "open"};
        CHECK(r.log.made == (claimed ? all : without));
        CHECK_FALSE(r.run(job::open, {}, true).failed);
        CHECK(r.log.made == names{"reset"}); // taken over, and left as it is
    }
    rig r{all_in_place()};
    CHECK_FALSE(r.jobs.recall().failed);
    r.log.fails = "stored 1";
    CHECK(r.run(job::open).failed);
    CHECK(r.log.made == names{"reset", "stored 1"});
}

TEST_CASE("what an earlier run left is taken over if it is there, and given up if it is not") {
    {
        rig r;
        auto const e = r.jobs.recall();
        CHECK_FALSE(e.failed);
        CHECK(e.state == nullptr);
        CHECK(r.log.made == names{"journal opened"});
    }
    {
        rig r{all_in_place()};
        auto const e = r.jobs.recall();
        CHECK_FALSE(e.failed);
        REQUIRE(e.state != nullptr);
        CHECK(*e.state == all_in_place());
        CHECK(r.log.made == names{"journal opened", "reopen"});
    }
    for (std::error_code const gone : {std::make_error_code(std::errc::no_such_file_or_directory),
                                       make_error_code(cleave::error::partial_replaced)}) {
        rig r{all_in_place()};
        r.log.fails = "reopen";
        r.log.with = gone;
        auto const e = r.jobs.recall();
        CHECK_FALSE(e.failed);
        CHECK(e.state == nullptr);
    }
    for (std::string const call : {"journal opened", "reopen"}) {
        rig r{all_in_place()};
        r.log.fails = call;
        auto e = r.jobs.recall();
        REQUIRE(e.failed);
        CHECK(e.failed->code == std::errc::io_error);
        CHECK(e.state == nullptr);
        r.log.throws = true;
        e = r.jobs.recall();
        REQUIRE(e.failed);
        CHECK(e.failed->code == std::errc::not_enough_memory);
    }
}

TEST_CASE("the journal goes with what it claims, if it was had, and else stays") {
    {
        rig r;
        (void)r.run(job::abandon);
        CHECK(r.log.made == names{"abandon"});
        r.log.made.clear();
        r.jobs.leave();
        CHECK(r.log.made == names{"abandon"});
    }
    rig r;
    CHECK_FALSE(r.jobs.recall().failed);
    (void)r.run(job::keep);
    CHECK(r.log.made == names{"keep"});
    r.log.made.clear();
    r.jobs.leave();
    CHECK(r.log.made == names{"keep"});
    (void)r.run(job::abandon);
    CHECK(r.log.made == names{"abandon", "removed"});
    CHECK_FALSE(r.run(job::forget).failed);
    CHECK(r.log.made == names{"removed"});
}

TEST_CASE("bytes are read back, some at a time, for a digest or a checksum") {
    rig r;
    r.sink.bytes = std::string(600'000, 'x');
    CHECK_FALSE(r.run(job::open).failed);
    CHECK_FALSE(r.run(job::hash, {0, 299'999}).failed);
    CHECK(r.log.made == names{"read", "update", "read", "update"});
    CHECK_FALSE(r.run(job::hash, {300'000, 599'999}).failed);
    CHECK(r.run(job::finish_hash).digest.size == 600'000);
    // A piece has a hasher of its own.
    CHECK(r.run(job::hash_piece, {10, 19}).digest.size == 10);
    CHECK(r.run(job::hash_piece, {20, 29}).digest.size == 10);
    CHECK(r.run(job::finish_hash).digest.size == 600'000);
    CHECK(r.run(job::check, {0, 599'999}).crc ==
          cleave::crc32c(std::as_bytes(std::span{r.sink.bytes})));

    r.log.fails = "update";
    auto const of_hash = r.run(job::hash, {0, 9});
    REQUIRE(of_hash.failed);
    CHECK(of_hash.failed->where == phase::verify);
    r.log.fails = "read";
    auto const of_sink = r.run(job::hash, {0, 9});
    REQUIRE(of_sink.failed);
    CHECK(of_sink.failed->where == phase::sink);
    CHECK(r.log.made == names{"read"});
}

TEST_CASE("whatever throws in a job is its failure") {
    for (auto const& [what, call] :
         {std::pair{job::open, "open"}, std::pair{job::sync, "sync"},
          std::pair{job::publish, "publish"}, std::pair{job::forget, "removed"},
          std::pair{job::hash, "update"}, std::pair{job::record, "flush"}}) {
        rig r;
        r.sink.bytes = std::string(10, 'x');
        r.log.fails = call;
        r.log.throws = true;
        auto const e = r.run(what, {0, 9});
        CAPTURE(call);
        REQUIRE(e.failed);
        CHECK(e.what == what);
        CHECK(e.failed->code == std::errc::not_enough_memory);
        CHECK_FALSE(e.data_lost);
    }
}
