// SPDX-License-Identifier: BSL-1.0
//
// Policies are chosen one by one, so they must go together: every pair of models of two policies
// completes through async_download, or is refused by one of the errors listed here.
#include <support/catch.hpp>

#include <support/chosen.hpp>
#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;
using namespace cleave::literals;
using namespace std::chrono_literals;
using cleave::error;

namespace {

constexpr std::size_t piece = 40'000;

object const& the_object() {
    static object const o = object::random(300'001, 77);
    return o;
}
std::string the_digest() { return sha256_hex(the_object().bytes); }

// The server's own digest, in base64 as RFC 9530 wants it.
std::string repr_digest() {
    constexpr std::string_view letters =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string const hex = the_digest();
    std::string out;
    std::uint32_t bits = 0;
    int have = 0;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        bits = (bits << 8U) | static_cast<std::uint32_t>(std::stoul(hex.substr(i, 2), nullptr, 16));
        for (have += 8; have >= 6; have -= 6)
            out += letters[(bits >> static_cast<unsigned>(have - 6)) & 63U];
    }
    if (have != 0) out += letters[(bits << static_cast<unsigned>(6 - have)) & 63U];
    while (out.size() % 4 != 0) out += '=';
    return "Repr-Digest: sha-256=:" + out + ":\r\n";
}

// --- the models of each policy, by number --------------------------------------------------------

constexpr std::size_t plans = 4;
chosen_plan plan(std::size_t which) {
    switch (which) {
    case 1: return {cleave::even_split{5}};
    case 2: return {cleave::fixed_size{70'000}};
    case 3: return {cleave::listed_segments{{0, 99'999}, {100'000, 100'000}, {100'001, 300'000}}};
    default: return {cleave::guided{.least = 20'000}};
    }
}

constexpr std::size_t lane_rules = 2;
chosen_lanes lanes(std::size_t which) {
    if (which == 1) return {cleave::adaptive_lanes{}};
    return {cleave::fixed_lanes{4}};
}

constexpr std::size_t verifiers = 4;
chosen_verifier verifier(std::size_t which) {
    switch (which) {
    case 1: return {cleave::sha256(the_digest())};
    case 2: {
        std::vector<std::string> digests;
        for (std::size_t at = 0; at < the_object().bytes.size(); at += piece)
            digests.push_back(sha256_hex(std::string_view{the_object().bytes}.substr(at, piece)));
        return {cleave::piece_digests{cleave::digest_algorithm::sha256, piece, digests}};
    }
    case 3: return {cleave::server_digest{}};
    default: return {cleave::no_verification{}};
    }
}

constexpr std::size_t pacers = 2;
chosen_pace pacer(std::size_t which) {
    if (which == 1) return {cleave::token_bucket{20'000'000}};
    return {cleave::unlimited{}};
}

// All of them at once, or none.
constexpr std::size_t observers = 2;

constexpr std::size_t connectors = 2;
cleave::tcp_connector connector(std::size_t which) {
    if (which == 1) return {cleave::connection_pool{}};
    return {};
}

enum sink_model : std::size_t {
    memory,
    file,
    mapped,
    nothing,
    tee,
    ordered,
    ordered_later,
    ordered_small,
    sinks
};

struct choice {
    std::size_t plan = 0, lanes = 0, verifier = 0, pacer = 0, observer = 0, connector = 0, sink = 0;

    friend auto operator<=>(choice const&, choice const&) = default;
};

// A pair that makes no sense, and the error that says so before a byte is written.
std::error_code refusal(choice const& c) {
    // What goes nowhere cannot be read again to compute a digest of it.
    if (c.sink == nothing && c.verifier != 0) return error::sink_not_readable;
    // A piece is proven before any of it is handed on: it must fit the window.
    if (c.sink == ordered_small && c.verifier == 2) return error::window_too_small;
    return {};
}

struct result {
    std::error_code ec;
    cleave::report report;
    std::string bytes; ///< as the sink was given them
};

// One download for each kind of sink; everything else is chosen while it runs.
class walk {
  public:
    walk() : server_{with_digest()} {}

    result run(choice const& c) {
        std::string const path = (dir_ / "out").string();
        std::vector<std::byte> bytes;
        std::string in_order;
        auto const take = [&](std::span<std::byte const> chunk) {
            in_order.append(reinterpret_cast<char const*>(chunk.data()), chunk.size());
        };
        auto const take_later = [&](std::span<std::byte const> chunk, cleave::chunk_done done) {
            take(chunk);
            done({});
        };
        std::vector<std::byte> storage(c.sink == ordered_small ? 2048 : 128 * 1024);
        result r;
        switch (c.sink) {
        case memory: r = fetch(c, cleave::memory_sink{bytes}); break;
        case file: r = fetch(c, cleave::file_sink{path}); break;
        case mapped: r = fetch(c, cleave::mapped_file_sink{path}); break;
        case nothing: r = fetch(c, cleave::null_sink{}); break;
        case tee:
            r = fetch(c, cleave::tee_sink{cleave::file_sink{path}, cleave::memory_sink{bytes}});
            break;
        case ordered_later: r = fetch(c, cleave::ordered_sink{storage, 4096, take_later}); break;
        default: r = fetch(c, cleave::ordered_sink{storage, 2048, take}); break;
        }
        if (c.sink == file || c.sink == mapped || c.sink == tee) {
            std::ifstream in{path, std::ios::binary};
            r.bytes.assign(std::istreambuf_iterator<char>{in}, {});
            std::remove(path.c_str());
        } else if (c.sink == memory) {
            r.bytes.assign(reinterpret_cast<char const*>(bytes.data()), bytes.size());
        } else if (c.sink != nothing) {
            r.bytes = std::move(in_order);
        }
        // Both of a tee have the same.
        if (c.sink == tee && !r.ec)
            CHECK((r.bytes ==
                   std::string{reinterpret_cast<char const*>(bytes.data()), bytes.size()}));
        return r;
    }

  private:
    static fault_handler with_digest() {
        honest_options options;
        options.edit_head = [field = repr_digest()](std::string& head) {
            head.insert(head.find("\r\n") + 2, field);
        };
        return honest(the_object(), options);
    }

    template <class Sink>
    result fetch(choice const& c, Sink sink) {
        std::size_t lines = 0;
        cleave::tee_observer all{
            cleave::tee_observer{cleave::on_progress(1ms, [](auto const&) {}), cleave::counters{}},
            cleave::log_lines{[&lines](std::string_view) { ++lines; }}};
        perhaps_watched<decltype(all)> watched;
        if (c.observer == 1) watched.by.emplace(std::move(all));
        result r;
        r.report = cleave::download(server_.url("/r"), std::move(sink),
                                    cleave::policies<>{}
                                        .with_plan(plan(c.plan))
                                        .with_lanes(lanes(c.lanes))
                                        .with_verify(verifier(c.verifier))
                                        .with_pace(pacer(c.pacer))
                                        .with_connector(connector(c.connector))
                                        .with_observer(std::move(watched))
                                        .with_renewal(quick_backoff()),
                                    r.ec);
        CHECK((lines != 0) == (c.observer == 1));
        return r;
    }

    temp_dir dir_;
    fault_server server_;
};

} // namespace

TEST_CASE("every pair of models goes together, or is refused by name") {
    constexpr std::size_t models[]{plans,     lane_rules, verifiers, pacers,
                                   observers, connectors, sinks};
    std::set<choice> choices;
    for (std::size_t a = 0; a != std::size(models); ++a)
        for (std::size_t b = a + 1; b != std::size(models); ++b)
            for (std::size_t i = 0; i != models[a]; ++i)
                for (std::size_t j = 0; j != models[b]; ++j) {
                    choice c;
                    std::size_t* const members[]{&c.plan,     &c.lanes,     &c.verifier, &c.pacer,
                                                 &c.observer, &c.connector, &c.sink};
                    *members[a] = i;
                    *members[b] = j;
                    choices.insert(c);
                }
    walk w;
    std::set<std::string> refused;
    for (choice const& c : choices) {
        CAPTURE(c.plan, c.lanes, c.verifier, c.pacer, c.observer, c.connector, c.sink);
        auto const r = w.run(c);
        CHECK(r.ec == refusal(c));
        if (r.ec) {
            refused.insert(r.ec.message());
            CHECK(r.bytes.empty());
            // One line that says what to do.
            CHECK(r.ec.message().find('\n') == std::string::npos);
            CHECK(r.report.failed->where == cleave::phase::setup);
            continue;
        }
        CHECK(r.report.bytes == the_object().bytes.size());
        CHECK(r.report.digest_verified == (c.verifier != 0));
        if (c.sink != nothing) CHECK((r.bytes == the_object().bytes));
    }
    CHECK(choices.size() > 100);
    CHECK(refused.size() == 2);
}
