// SPDX-License-Identifier: BSL-1.0
//
// Every fault of the catalogue against the real driver, in virtual time: once and always, early and
// late, with one lane and with four, from servers with ranges and without. And the catalogue
// itself: what it holds, and that each entry does what its description promises.
#include <support/catch.hpp>

#include <laws/random.hpp>

#include <cleave/base/crc32c.hpp>
#include <cleave/base/error.hpp>
#include <cleave/download.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/testing/faults.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/virtual_time.hpp>
#include <cleave/verify/concept.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

using namespace cleave::testing;
using cleave::error;
using cleave_test::random_source;

namespace {

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

struct perhaps_digest {
    using hasher_type = cheap_hasher;
    std::optional<std::uint32_t> expected;

    [[nodiscard]] bool wanted() const noexcept { return expected.has_value(); }
    [[nodiscard]] std::error_code fault() const noexcept { return {}; }
    [[nodiscard]] cheap_hasher make_hasher() const noexcept { return {}; }
    [[nodiscard]] bool matches(cleave::digest_value const& d) const noexcept {
        std::error_code ec;
        return expected && d == cheap_hasher{*expected}.finish(ec);
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept { return expected.value_or(0); }
};
static_assert(cleave::content_verifier<perhaps_digest>);

std::uint32_t checksum(std::string_view bytes) {
    return cleave::crc32c(std::as_bytes(std::span{bytes}));
}

/// What the server is when it is honest.
enum class honesty {
    parts,     ///< sends what it is asked for
    no_totals, ///< says of no part how large the object is, and so is asked for all of it
    wholes,    ///< knows no ranges
};
/// By what it tells versions of the object apart.
enum class told { both, etag, date, weak_etag, nothing };
/// To which of the requests that a fault applies to it is applied.
enum class when { first, second, always };

struct settings {
    std::size_t size = 0;
    std::uint32_t lanes = 1;
    honesty honest = honesty::parts;
    when at = when::first;
    told by = told::both;
    bool secure = false;
    std::uint64_t seed = 0;
};

/// What became of a download.
struct outcome {
    bool ended = false;
    int calls = 0;
    std::error_code ec;
    cleave::report report;
    std::string bytes;
    std::size_t requests = 0;

    std::size_t applied = 0;
    bool lied = false;
    bool digest = false;
    bool used_after_doubt = false;
    bool told_secrets = false;
    std::string log;
};

struct versions {
    object now;
    object other;
};

versions const& versions_of(settings const& s) {
    static std::map<std::pair<std::size_t, told>, versions> made;
    auto const [at, missing] = made.try_emplace({s.size, s.by});
    versions& v = at->second;
    if (!missing) return v;
    std::string const weak = s.by == told::weak_etag ? "W/" : "";
    v.now = object::random(s.size, 1, weak + "\"v1\"");
    v.other = object::random(s.size, 2, weak + "\"v2\"");
    v.other.last_modified = "Tue, 02 Jan 2024 00:00:00 GMT";
    for (object* o : {&v.now, &v.other}) {
        if (s.by == told::date || s.by == told::nothing) o->etag.clear();
        if (s.by == told::etag || s.by == told::nothing) o->last_modified.clear();
    }
    return v;
}

/// The object as this server sends it when it is honest.
scripted_reply honest_reply_of(honesty how, seen_request const& r, object const& o) {
    if (how == honesty::wholes) return {.head = honest_200_head(o), .body = o.bytes};
    scripted_reply reply = honest_reply(r, o);
    auto const total = reply.head.find("/" + std::to_string(o.bytes.size()) + "\r\n");
    if (how == honesty::no_totals && reply.head.starts_with("HTTP/1.1 206"))
        reply.head.replace(total, std::to_string(o.bytes.size()).size() + 1, "/*");
    return reply;
}

outcome run(server_fault const& fault, settings const& s) {
    random_source random{s.seed};
    std::function<std::uint64_t(std::uint64_t)> const below = [&](std::uint64_t n) {
        return random.below(n);
    };
    versions const& v = versions_of(s);
    outcome result;
    result.digest = random.chance(50);

    std::string const scheme = s.secure ? "https://" : "http://";
    std::string const elsewhere = scheme + "elsewhere.test/copy.bin";
    std::size_t applicable = 0;
    // By connection, the first reply in doubt, and how many bytes of it show that: those behind it,
    // or all. Who asks before has read these asks ahead.
    struct doubt {
        std::size_t reply;
        std::uint64_t bytes;
    };
    std::map<std::size_t, doubt> doubted;
    bool const shows_behind = fault.row == "A11" || fault.row == "F03" || fault.row == "D13";
    auto const server = [&](memory_peer& p, seen_request const& r) {
        auto const d = doubted.find(p.connection());
        if (d != doubted.end() && r.replies_read > d->second.reply && r.unread <= d->second.bytes)
            result.used_after_doubt = true;
        scripted_reply reply = honest_reply_of(s.honest, r, v.now);
        // What a server without totals is about is what it is asked next.
        if (s.honest != honesty::no_totals || !r.range()) {
            std::string const self = scheme + r.field("Host").value() + r.target;
            scripted_reply faulty = reply;
            bool const applies =
                fault.apply(faulty, {r, v.now, v.other, below, self, elsewhere}) &&
                (s.at == when::always || applicable++ == (s.at == when::first ? 0U : 1U));
            if (applies) {
                ++result.applied;
                result.lied = result.lied || faulty.lies;
                std::uint64_t const behind =
                    faulty.size() - std::min<std::uint64_t>(faulty.size(), reply.size());
                if (faulty.doubtful)
                    doubted.try_emplace(
                        p.connection(),
                        doubt{r.on_connection, shows_behind ? behind : cleave::max_offset});
                reply = std::move(faulty);
            }
        }
        // A head may come alone, or with all that is behind it.
        if (random.chance(50)) reply.head += std::exchange(reply.body, {});
        send(p, std::move(reply));
    };

    world time;
    // A piece is never smaller than a reply, so that what is wrong behind a body comes with it.
    memory_link const link{.latency = std::chrono::milliseconds{1 + random.below(20)},
                           .rate = random.chance(50) ? 0 : 50'000 + random.below(500'000),
                           .piece = 1 << 20,
                           .window = 1 << 20};
    memory_network network{server, link};
    memory_network another{[&](memory_peer& p, seen_request const& r) {
                               result.told_secrets = result.told_secrets ||
                                                     r.field("Authorization").has_value() ||
                                                     r.field("X-Token").has_value();
                               send(p, honest_reply(r, v.now));
                           },
                           link};
    asio::io_context context;
    cleave::request what{scheme + "example.test/dir/model.bin?version=1"};
    what.with_credentials("user", "password").with_header("X-Token", "secret");
    what.seed = s.seed + 1;
    what.max_size = 1 << 20;
    cleave::engine_windows windows{.grant = 500 + random.below(20'000),
                                   .opening = 1 + random.below(30'000),
                                   .sample = random.below(600)};
    windows.stealing = {.least = 2'000, .leave = 500};
    // Some come whole with their heads.
    std::uint64_t const segment = 1'000 + random.below(random.chance(30) ? 500 : 15'000);
    std::vector<std::byte> memory;
    auto how =
        cleave::policies<>{}
            .with_plan(cleave::fixed_size{segment})
            .with_lanes(cleave::fixed_lanes{s.lanes})
            .with_verify(
                perhaps_digest{result.digest ? std::optional{checksum(v.now.bytes)} : std::nullopt})
            .with_connector(network.connector().with_host("elsewhere.test", another.connector()))
            .with_timer<virtual_timers>()
            .with_background(cleave::same_thread{})
            .with_windows(windows);
    cleave::async_download(context.get_executor(), std::move(what), cleave::memory_sink{memory},
                           std::move(how), [&](std::error_code ec, cleave::report r) {
                               ++result.calls;
                               result.ec = ec;
                               result.report = std::move(r);
                           });
    result.ended = time.run(context, [&] { return result.calls != 0; });
    // Whatever is left over must not call the handler again.
    if (result.ended) time.run(context, [] { return false; });
    if (!memory.empty())
        result.bytes.assign(reinterpret_cast<char const*>(memory.data()), memory.size());
    result.requests = network.answered();
    // The beginning tells most.
    for (std::size_t i = 0; i != std::min<std::size_t>(network.log().size(), 40); ++i)
        result.log += network.log()[i] + "\n";
    return result;
}

/// What of a fault may be seen of a download from outside, other than that it is slower.
bool noticed(outcome const& o) {
    cleave::report const& r = o.report;
    return o.ec || r.retries != 0 || r.redirects != 0 || r.restarts != 0 || r.one_stream;
}

/// Judges one download by what the fault is said to do. Answers with whether it was noticed.
bool judge(server_fault const& fault, settings const& s, outcome const& o) {
    CAPTURE(fault.row, fault.name, s.size, s.lanes, s.honest, s.at, s.by, s.secure, s.seed,
            o.applied, o.lied, o.digest, o.ec.message(), o.requests, o.report.retries, o.log);
    REQUIRE(o.ended);
    REQUIRE(o.calls == 1);
    REQUIRE_FALSE(o.used_after_doubt);
    REQUIRE_FALSE(o.told_secrets);
    REQUIRE(o.requests <= 1'000);

    versions const& v = versions_of(s);
    if (!o.ec) {
        // Exactly one version; of wrong bytes under the right head only a digest tells.
        bool const sure = !o.lied || o.digest;
        bool const right = o.bytes == v.now.bytes;
        bool const other = !o.digest && fault.row == "B02" && o.bytes == v.other.bytes;
        REQUIRE((!sure || right || other));
        REQUIRE(o.report.bytes == o.bytes.size());
        REQUIRE_FALSE(o.report.failed);
    } else {
        REQUIRE(o.report.failed);
        REQUIRE(o.report.failed->code == o.ec);
        REQUIRE_FALSE(o.report.failed->message().empty());
    }
    if (o.applied == 0) {
        REQUIRE_FALSE(o.ec);
        REQUIRE(o.report.retries == 0);
        return false;
    }
    switch (fault.allowed) {
    case harm::none:
        REQUIRE_FALSE(o.ec);
        REQUIRE(o.report.retries == 0);
        break;
    case harm::retry:
        if (s.at != when::always) REQUIRE_FALSE(o.ec);
        break;
    case harm::end: break;
    }
    // Once it is known what the object is, a reply of another one is told by its head.
    bool const told_by_head = fault.name == "total_larger" ||
                              fault.name == "other_version_as_part" ||
                              fault.name == "etag_of_another_edge";
    if (told_by_head && !o.lied && s.lanes == 1 && s.at == when::second)
        REQUIRE(o.ec == cleave::cause::identity_changed);
    // Nothing else tells, and nobody else brings the same bytes.
    if (fault.row == "A06" && s.lanes == 1 && o.digest && s.at != when::always)
        REQUIRE(o.ec == error::digest_mismatch);
    return noticed(o);
}

/// A fault in all circumstances; answers with how often it applied, and how often it was noticed.
std::pair<std::size_t, std::size_t> try_all(server_fault const& fault, std::uint64_t seeds,
                                            std::uint64_t first_seed) {
    std::size_t applied = 0;
    std::size_t seen = 0;
    std::uint64_t turn = 0;
    for (std::size_t const size : {0U, 1U, 1'000U, 50'000U})
        for (std::uint32_t const lanes : {1U, 4U})
            for (auto const honest : {honesty::parts, honesty::no_totals, honesty::wholes})
                for (auto const at : {when::first, when::second, when::always})
                    for (std::uint64_t seed = first_seed; seed != first_seed + seeds; ++seed) {
                        auto const by = static_cast<told>(++turn % 5);
                        settings const s{size, lanes, honest, at, by, turn % 2 == 1, seed};
                        outcome const o = run(fault, s);
                        applied += o.applied;
                        seen += judge(fault, s, o) ? 1U : 0U;
                    }
    return {applied, seen};
}

void all_faults(std::uint64_t seeds, std::uint64_t first_seed) {
    for (server_fault const& fault : server_faults()) {
        CAPTURE(fault.row, fault.name);
        auto const [applied, seen] = try_all(fault, seeds, first_seed);
        CHECK(applied != 0);
        // What may do harm does some, sometimes: else it would be no fault, or overlooked.
        CHECK((fault.allowed == harm::none || seen != 0 || fault.name == "digest_wrong"));
    }
}

} // namespace

TEST_CASE("the catalogue has an entry for every row that a reply can be, in order") {
    auto const all = server_faults();
    std::string rows;
    std::set<std::string_view> names;
    for (server_fault const& f : all) {
        CAPTURE(f.row, f.name);
        if (rows.empty() || rows.substr(rows.size() - 3) != f.row) {
            CHECK((rows.empty() || rows.substr(rows.size() - 3) < f.row));
            rows += (rows.empty() ? "" : " ") + std::string{f.row};
        }
        CHECK(names.insert(f.name).second);
        CHECK_FALSE(f.name.empty());
        CHECK(std::ranges::all_of(f.name, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        }));
        CHECK(find_server_fault(f.name) == &f);
    }
    CHECK(rows == "A01 A02 A03 A04 A05 A06 A07 A08 A09 A10 A11 A12 A13 A14 A15 A16 A17 A18 A19 "
                  "B02 B03 B04 B05 B06 B07 B08 "
                  "C01 C02 C03 C04 C05 C06 C07 C08 C09 C10 C11 C12 C13 C14 C15 "
                  "D01 D02 D03 D04 D05 D06 D07 D08 D09 D10 D11 D12 D13 D14 "
                  "E01 E02 E03 E04 E05 E06 E07 E08 E09 E11 E12 E13 E14 E15 E16 "
                  "F01 F02 F03 F04 F05 G01 G02 G08 H01 H02 H03 L04");
    CHECK(find_server_fault("start_shifted")->row == "A04");
    CHECK(find_server_fault("") == nullptr);
    CHECK(find_server_fault("A04") == nullptr);
}

TEST_CASE("a fault changes a reply, the same way from the same numbers, or leaves it as it is") {
    struct question {
        std::string range;
        std::string if_range;
        std::size_t index;
    };
    using silence = std::pair<std::size_t, std::chrono::nanoseconds>;
    auto const parts = [](scripted_reply const& r) {
        return std::tie(r.before, r.head, r.body, r.end, r.cut_at, r.silences, r.piece, r.doubtful,
                        r.lies);
    };
    for (std::size_t const size : {0U, 1U, 2U, 10'000U}) {
        versions const& v = versions_of({.size = size});
        for (question const& q : {question{"", "", 0}, question{"0-0", "", 0},
                                  question{"0-", "", 1}, question{"300-4999", "\"v1\"", 3},
                                  question{"1-", "\"v1\"", 2}, question{"9999-", "\"v2\"", 2}}) {
            std::string head = "GET /model.bin HTTP/1.1\r\nHost: example.test\r\n";
            if (!q.range.empty()) head += "Range: bytes=" + q.range + "\r\n";
            if (!q.if_range.empty()) head += "If-Range: " + q.if_range + "\r\n";
            seen_request r = seen_request::read(head + "\r\n");
            r.index = q.index;
            scripted_reply const honest = honest_reply(r, v.now);
            for (server_fault const& f : server_faults()) {
                for (std::uint64_t seed = 0; seed != 10; ++seed) {
                    CAPTURE(f.row, f.name, size, q.range, q.if_range, seed);
                    auto const apply = [&](scripted_reply& to) {
                        random_source random{seed};
                        std::function<std::uint64_t(std::uint64_t)> const below =
                            [&](std::uint64_t n) {
                                if (n == 0) throw std::logic_error("below nothing");
                                return random.below(n);
                            };
                        return f.apply(to,
                                       {r, v.now, v.other, below, "https://example.test/model.bin",
                                        "https://elsewhere.test/"});
                    };
                    scripted_reply faulty = honest;
                    bool const applies = apply(faulty);
                    REQUIRE(applies == (parts(faulty) != parts(honest)));
                    scripted_reply again = honest;
                    REQUIRE(apply(again) == applies);
                    REQUIRE(parts(again) == parts(faulty));

                    // What is sent can be sent, and is not beyond measure.
                    REQUIRE(faulty.size() < honest.size() + 150'000);
                    REQUIRE(faulty.cut_at.value_or(0) <= faulty.size());
                    REQUIRE(std::ranges::is_sorted(faulty.silences, {}, &silence::first));
                    REQUIRE(std::ranges::all_of(faulty.silences, [&](silence const& one) {
                        return one.first <= faulty.size() && one.second.count() >= 0 &&
                               one.second <= std::chrono::seconds{100};
                    }));
                    // Only wrong bytes are lies.
                    REQUIRE((!faulty.lies || f.allowed == harm::end));
                }
            }
        }
    }
}

TEST_CASE("a download makes of every fault of the catalogue what it may, and not more") {
    all_faults(2, 0);
}

TEST_CASE("every fault of the catalogue, very often", "[.heavy]") { all_faults(200, 1'000); }
