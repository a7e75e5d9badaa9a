// SPDX-License-Identifier: BSL-1.0
//
// Engine, driver and front door with an archetype of every policy at once: they ask for no more
// than the concepts say.
#include <support/catch.hpp>

#include <support/archetypes.hpp>

#include <cleave/download.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/io_context.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;
using cleave::error;

namespace {

using archetypes =
    cleave::policies<planner_archetype, lane_rule_archetype, renewal_rule_archetype,
                     verifier_archetype, pacer_archetype, observer_archetype, connector_archetype,
                     journal_archetype, source_archetype, virtual_timers, cleave::same_thread>;

/// A completion handler that can be moved and called once, and nothing else.
class handler_archetype : public bare {
  public:
    struct outcome {
        int calls = 0;
        std::error_code ec;
        cleave::report report;
    };
    explicit handler_archetype(outcome& to) noexcept : bare(made{}), to_(to) {}

    void operator()(std::error_code ec, cleave::report r) && {
        ++to_.calls;
        to_.ec = ec;
        to_.report = std::move(r);
    }

  private:
    outcome& to_;
};

std::uint64_t sum_of(std::string const& bytes) {
    return cleave_test::sum_of(std::as_bytes(std::span{bytes}));
}

bool is(object const& o, std::span<std::byte const> bytes) {
    return std::ranges::equal(std::as_bytes(std::span{o.bytes}), bytes);
}

/// Serves the object, but for the first reply to a second range, which is cut.
memory_handler cuts_once(object const& o) {
    return [rest = memory_network::honest(o), &o](memory_peer& p, seen_request const& r) {
        if (r.index != 1) return rest(p, r);
        auto const range = r.range().value();
        p.send(honest_206_head(o, range.first, range.second));
        p.send_body(body(o, range.first, range.second).substr(0, 100));
        p.rst();
    };
}

struct archetypical {
    explicit archetypical(object const& o, std::uint64_t sum) : archetypical(cuts_once(o), sum) {}
    archetypical(memory_handler server, std::uint64_t sum)
        : network(std::move(server), {.rate = 1'000'000}),
          how(cleave::policies<>{}
                  .with_plan(planner_archetype{10'000})
                  .with_lanes(lane_rule_archetype{3})
                  .with_renewal(renewal_rule_archetype{3})
                  .with_verify(verifier_archetype{sum})
                  .with_pace(pacer_archetype{5'000})
                  .with_observer(observer_archetype{seen})
                  .with_connector(connector_archetype{network.connector()})
                  .with_journal(journal_archetype{journal})
                  .with_source(source_archetype{{"http://example.org/fresh"}})
                  .with_timer<virtual_timers>()
                  .with_background(cleave::same_thread{})
                  .with_windows(
                      {.grant = 4'000, .opening = 5'000, .hash = 7'000, .hash_from = 3'000})
                  .with_control({})) {}

    template <class Sink>
    void run(Sink sink) {
        run(std::move(sink), std::move(how));
    }
    template <class Sink, class Policies>
    void run(Sink sink, Policies with) {
        cleave::async_download(context.get_executor(), {"http://example.org/"}, std::move(sink),
                               std::move(with), handler_archetype{outcome});
        REQUIRE(time.run(context, [&] { return outcome.calls != 0; }));
    }

    world time;
    memory_network network;
    asio::io_context context;
    told seen;
    journal_archetype::memory journal;
    archetypes how;
    handler_archetype::outcome outcome;
};

} // namespace

// Each is what its concept asks for.
static_assert(cleave::range_planner<planner_archetype>);
static_assert(cleave::lane_rule<lane_rule_archetype>);
static_assert(cleave::renewal_rule<renewal_rule_archetype>);
static_assert(cleave::hasher<hasher_archetype>);
static_assert(cleave::content_verifier<verifier_archetype>);
static_assert(cleave::observer<observer_archetype>);
static_assert(cleave::byte_connector<connector_archetype, asio::any_io_executor>);
static_assert(cleave::byte_sink<sink_archetype<true>>);
static_assert(cleave::byte_sink<sink_archetype<false>>);
static_assert(cleave::byte_sink<resumable_sink_archetype>);
static_assert(cleave::resume_journal<journal_archetype>);
static_assert(cleave::request_source<source_archetype>);
static_assert(cleave::file<file_archetype>);
static_assert(cleave::byte_sink<cleave::basic_file_sink<file_archetype>>);

// Every member, used or not.
template class cleave::engine<planner_archetype, lane_rule_archetype, renewal_rule_archetype,
                              verifier_archetype, pacer_archetype, observer_archetype>;
template class cleave::engine<planner_archetype, lane_rule_archetype, renewal_rule_archetype,
                              piece_verifier_archetype, pacer_archetype, observer_archetype>;
template class cleave::engine<planner_archetype, lane_rule_archetype, renewal_rule_archetype,
                              learning_verifier_archetype, pacer_archetype, observer_archetype>;
template class cleave::basic_file_sink<file_archetype>;

TEST_CASE("a download with nothing but archetypes ends well") {
    object const o = object::random(100'000, 1);
    archetypical a{o, sum_of(o.bytes)};
    sink_archetype<true>::memory memory;
    a.run(sink_archetype<true>{memory});
    CHECK(a.outcome.calls == 1);
    CHECK(a.outcome.ec == std::error_code{});
    CHECK(is(o, memory.bytes));
    CHECK(memory.published);
    CHECK_FALSE(memory.abandoned);
    CHECK(a.outcome.report.digest_verified);
    CHECK(a.outcome.report.lanes == 3);
    CHECK(a.outcome.report.retries == 1);
    CHECK(a.seen.known == 1);
    CHECK(a.seen.failed == 1);
    CHECK(a.seen.connected >= 4);
    CHECK(a.seen.asked >= 10);
    CHECK(a.seen.ended == 1);
    CHECK(a.seen.progressed > 1);
}

TEST_CASE("an archetype of a verifier is heeded") {
    object const o = object::random(100'000, 2);
    archetypical a{o, sum_of(o.bytes) + 1};
    sink_archetype<true>::memory memory;
    a.run(sink_archetype<true>{memory});
    CHECK(a.outcome.ec == cleave::error::digest_mismatch);
    CHECK_FALSE(memory.published);
    CHECK(memory.abandoned);
}

TEST_CASE("an archetype of a verifier of pieces is heeded") {
    object const o = object::random(100'000, 5);
    constexpr std::size_t piece = 30'000;
    std::vector<std::uint64_t> sums;
    for (std::size_t at = 0; at < o.bytes.size(); at += piece)
        sums.push_back(sum_of(o.bytes.substr(at, piece)));
    bool const right = GENERATE(true, false);
    if (!right) ++sums.back();
    archetypical a{o, 0};
    sink_archetype<true>::memory memory;
    a.run(sink_archetype<true>{memory},
          std::move(a.how).with_verify(piece_verifier_archetype{piece, sums}));
    CHECK(a.outcome.ec == (right ? std::error_code{} : make_error_code(error::digest_mismatch)));
    CHECK(a.seen.pieces_failed == (right ? 0 : 2));
    CHECK(memory.published == right);
    CHECK(a.outcome.report.digest_verified == right);
    if (right) CHECK(is(o, memory.bytes));
}

TEST_CASE("an archetype of a verifier that learns is heeded") {
    object const o = object::random(100'000, 6);
    std::uint64_t const sum = sum_of(o.bytes);
    std::string const said = GENERATE_COPY(std::to_string(sum), std::to_string(sum + 1), "");
    honest_options options;
    options.edit_head = [&](std::string& head) {
        head.insert(head.find("\r\n") + 2, "Repr-Digest: " + said + "\r\n");
    };
    archetypical a{memory_network::honest(o, options), 0};
    sink_archetype<true>::memory memory;
    a.run(sink_archetype<true>{memory},
          std::move(a.how).with_verify(learning_verifier_archetype{}));
    if (said == std::to_string(sum))
        CHECK(a.outcome.ec == std::error_code{});
    else if (said.empty())
        CHECK(a.outcome.ec == error::digest_not_sent);
    else
        CHECK(a.outcome.ec == error::digest_mismatch);
    CHECK(memory.published == !a.outcome.ec);
}

TEST_CASE("an archetype of an ordered sink gets every byte in order") {
    object const o = object::random(100'000, 7);
    archetypical a{o, 0};
    ordered_sink_archetype::memory memory;
    a.run(ordered_sink_archetype{memory, 700, 20},
          std::move(a.how).with_verify(cleave::no_verification{}));
    CHECK(a.outcome.ec == std::error_code{});
    CHECK(is(o, memory.bytes));
    CHECK(memory.published);
}

TEST_CASE("a download through an archetype of a file ends well") {
    object const o = object::random(100'000, 3);
    archetypical a{o, sum_of(o.bytes)};
    memory_disk const disk;
    a.run(cleave::basic_file_sink<file_archetype>{"/model.bin", file_archetype{disk}});
    CHECK(a.outcome.ec == std::error_code{});
    CHECK(disk.bytes("/model.bin") == o.bytes);
    CHECK(disk.names().size() == 1);
}

TEST_CASE("archetypes of a journal and a source are heeded") {
    object const o = object::random(100'000, 8);
    resumable_sink_archetype::memory memory;
    std::optional<cleave::resume_state> left;
    {
        // The first run meets a server that goes away, and then there is none.
        archetypical a{[rest = memory_network::honest(o)](memory_peer& p, seen_request const& r) {
                           if (r.index < 4) return rest(p, r);
                           p.rst();
                       },
                       0};
        a.run(resumable_sink_archetype{memory},
              std::move(a.how).with_verify(cleave::no_verification{}));
        CHECK(a.outcome.ec);
        CHECK(a.outcome.report.kept);
        CHECK(memory.kept);
        CHECK(memory.flushed != 0);
        left = a.journal;
    }
    REQUIRE(left);
    {
        // To the second one the first URL is forbidden.
        archetypical a{[rest = memory_network::honest(o)](memory_peer& p, seen_request const& r) {
                           if (r.target == "/fresh") return rest(p, r);
                           p.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
                       },
                       0};
        a.journal = left;
        a.run(resumable_sink_archetype{memory}, std::move(a.how)
                                                    .with_verify(cleave::no_verification{})
                                                    .with_renewal(cleave::backoff{}));
        CHECK(a.outcome.ec == std::error_code{});
        CHECK(is(o, memory.bytes));
        CHECK(memory.published);
        CHECK(a.outcome.report.bytes_resumed != 0);
        CHECK(a.outcome.report.refreshes == 1);
        CHECK_FALSE(a.journal);
    }
}

TEST_CASE("a sink that cannot be read does without a verifier, and is not published with one") {
    object const o = object::random(100'000, 4);
    {
        archetypical a{o, 0};
        sink_archetype<false>::memory memory;
        handler_archetype::outcome outcome;
        cleave::async_download(
            a.context.get_executor(), {"http://example.org/"}, sink_archetype<false>{memory},
            std::move(a.how).with_verify(cleave::no_verification{}), handler_archetype{outcome});
        REQUIRE(a.time.run(a.context, [&] { return outcome.calls != 0; }));
        CHECK(outcome.ec == std::error_code{});
        CHECK(is(o, memory.bytes));
        CHECK(memory.published);
    }
    {
        archetypical a{o, sum_of(o.bytes)};
        sink_archetype<false>::memory memory;
        a.run(sink_archetype<false>{memory});
        CHECK(a.outcome.ec);
        CHECK_FALSE(memory.published);
    }
}

TEST_CASE("the download that waits compiles with archetypes") {
    // To run it, time would have to pass by itself.
    using sink = sink_archetype<true>;
    cleave::report (*const quiet)(cleave::request, sink, archetypes, std::error_code&) =
        &cleave::download<sink, archetypes>;
    cleave::report (*const throwing)(cleave::request, sink, archetypes) =
        &cleave::download<sink, archetypes>;
    CHECK(quiet != nullptr);
    CHECK(throwing != nullptr);
}
