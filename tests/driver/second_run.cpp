// SPDX-License-Identifier: BSL-1.0
//
// Going on with what an earlier run left, over real sockets and real files: under other settings,
// and after somebody has been at what it left. Each second run ends with exactly the right bytes,
// and fetches again exactly those that it cannot be sure of.
#include <support/catch.hpp>

#include <support/chosen.hpp>
#include <support/digest.hpp>
#include <support/fault_server.hpp>
#include <support/fetch.hpp>
#include <support/temp_dir.hpp>
#include <support/watched_journal.hpp>

#include <cleave/cleave.hpp>

#include <asio/io_context.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace cleave_test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t size = 1'000'000;
constexpr std::uint64_t first_part = 600'000; // what a first run gets

/// A server that sends so many bytes of bodies, over all connections, and then falls silent.
class rationed_server {
  public:
    explicit rationed_server(object const& o)
        : object_(&o),
          server_([this](fault_connection& c, seen_request const& r) { answer(c, r); }) {}

    [[nodiscard]] std::string url(std::string_view target = "/model.bin") const {
        return server_.url(target);
    }
    void serve(object const& o) {
        std::lock_guard const lock{mutex_};
        object_ = &o;
    }
    /// From now on so many bytes, and nothing for the runs before.
    void ration(std::uint64_t bytes) {
        std::lock_guard const lock{mutex_};
        left_ = bytes;
        ++rations_;
    }
    void end_ration() { ration(std::numeric_limits<std::uint64_t>::max()); }
    /// By which requests of this run are told from late ones of those before.
    [[nodiscard]] std::string run() const {
        std::lock_guard const lock{mutex_};
        return std::to_string(rations_);
    }
    /// Bytes of ranges sent so far.
    [[nodiscard]] std::uint64_t sent() const { return server_.bytes_sent(); }

  private:
    void answer(fault_connection& c, seen_request const& r) {
        object const& o = serving();
        std::string const of = r.field("Run").value();
        auto const condition = r.field("If-Range");
        if (condition && *condition != o.etag) {
            // Whoever asks for a range of another version does not want all of this one.
            c.send(honest_200_head(o));
            return c.wait_for_peer_close();
        }
        auto [first, last] = r.range().value();
        last = std::min<std::uint64_t>(last, o.bytes.size() - 1);
        c.send(honest_206_head(o, first, last));
        while (first <= last) {
            std::uint64_t const n = take(of, std::min<std::uint64_t>(last - first + 1, 4096));
            if (n == 0) return c.wait_for_peer_close();
            if (!c.send_body(body(o, first, first + n - 1))) return;
            first += n;
        }
    }
    [[nodiscard]] object const& serving() const {
        std::lock_guard const lock{mutex_};
        return *object_;
    }
    [[nodiscard]] std::uint64_t take(std::string const& of, std::uint64_t most) {
        std::lock_guard const lock{mutex_};
        std::uint64_t const taken = of == std::to_string(rations_) ? std::min(left_, most) : 0;
        left_ -= taken;
        return taken;
    }

    mutable std::mutex mutex_;
    object const* object_;
    int rations_ = 0;
    std::uint64_t left_ = std::numeric_limits<std::uint64_t>::max();
    fault_server server_;
};

/// Sees how many bytes have come.
struct sees_bytes : cleave::ignores_other_events {
    explicit sees_bytes(std::uint64_t& n) : bytes(&n) {}

    using cleave::ignores_other_events::on;
    void on(cleave::progress const& p) noexcept { *bytes = p.bytes; }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return 5ms; }
    std::uint64_t* bytes;
};

enum class end {
    by_itself,
    cancelled, ///< what has come is written down then, and not before
    destroyed, ///< together with its io_context; what has come was written down before
};

struct settings {
    std::string url;
    chosen_plan plan{cleave::fixed_size{100'000}};
    std::uint32_t lanes = 4;
    chosen_verifier verify{cleave::no_verification{}};
    std::uint64_t rate = 0;
    std::optional<cleave::segment> part{};
    bool mapped = false;
    std::uint64_t sample = 4096; // bytes compared before each request
};

chosen_verifier sha256_of(object const& o) {
    return {cleave::digest{cleave::digest_algorithm::sha256, sha256_hex(o.bytes)}};
}

struct outcome {
    std::optional<std::error_code> ec; // none: it was destroyed
    cleave::report report;
};

/// A target, and downloads to it one after the other.
class place {
  public:
    [[nodiscard]] fs::path target() const { return dir_ / "model.bin"; }
    [[nodiscard]] fs::path partial() const { return dir_ / "model.bin.part"; }
    [[nodiscard]] fs::path journal() const { return dir_ / "model.bin.cleave"; }
    /// What the journal held when the last run was over.
    [[nodiscard]] cleave::resume_state const& held() const noexcept { return held_; }

    /// Until it ends by itself, or in the given way when `bytes` are in place.
    outcome run(rationed_server const& server, settings const& s, end how_it_ends = end::by_itself,
                std::uint64_t bytes = 0) {
        cleave::request what{s.url};
        what.part = s.part;
        what.with_header("Run", server.run());
        what.timeouts.deadline = 30s;
        // Nothing is taken from a lane, so that nothing is on its way twice.
        cleave::engine_windows windows{.grant = 30'000, .opening = 50'000, .sample = s.sample};
        windows.stealing.least = size;
        windows.stealing.silent = 1h;
        windows.stealing.hedged_percent = 0;
        cleave::journal_interval const often{.bytes = 1, .time = 1ms};
        cleave::journal_interval const never{.bytes = 10 * size, .time = 1h};
        cleave::control control;
        std::uint64_t seen = 0;
        auto how =
            cleave::policies<>{}
                .with_plan(s.plan)
                .with_lanes(cleave::fixed_lanes{s.lanes})
                .with_renewal(quick_backoff())
                .with_verify(s.verify)
                .with_pace(cleave::token_bucket{s.rate})
                .with_observer(sees_bytes{seen})
                .with_journal(watched_journal{
                    cleave::file_journal{}.every(how_it_ends == end::destroyed ? often : never),
                    held_})
                .with_background(cleave::same_thread{})
                .with_control(control)
                .with_windows(windows);
        outcome result;
        auto const note = [&](std::error_code ec, cleave::report r) {
            result.ec = ec;
            result.report = std::move(r);
        };
        asio::io_context context{1};
        auto const ex = context.get_executor();
        if (s.mapped)
            cleave::async_download(ex, what, cleave::mapped_file_sink{target().string()},
                                   std::move(how), note);
        else
            cleave::async_download(ex, what, cleave::file_sink{target().string()}, std::move(how),
                                   note);
        while (!result.ec) {
            context.run_one();
            if (how_it_ends == end::cancelled && seen == bytes) control.cancel();
            if (how_it_ends == end::destroyed && claimed(held_) == bytes) break;
        }
        return result;
    }

  private:
    temp_dir dir_;
    cleave::resume_state held_;
};

/// A download that got `first_part` bytes, and came to no good end.
void begin(place& here, rationed_server& server, settings const& s, end how_it_ends) {
    server.ration(first_part);
    auto const got = here.run(server, s, how_it_ends, first_part);
    if (how_it_ends == end::cancelled) {
        REQUIRE(got.ec == cleave::error::cancelled);
        REQUIRE(got.report.bytes == first_part);
        REQUIRE(got.report.kept);
    } else {
        REQUIRE_FALSE(got.ec);
    }
    REQUIRE(server.sent() == first_part);
    REQUIRE(claimed(here.held()) == first_part);
    REQUIRE_FALSE(fs::exists(here.target()));
    REQUIRE(fs::file_size(here.partial()) == size);
    server.end_ration();
}

/// The second run: ends with these bytes, `resumed` of them from the first run, and the others
/// fetched once. Of a reply that was refused `refused` bytes may have been sent, at most.
void ends_right(place& here, rationed_server const& server, settings const& s,
                std::string_view bytes, std::uint64_t resumed, std::uint64_t refused = 0) {
    std::uint64_t const sent = server.sent();
    auto const got = here.run(server, s);
    CAPTURE(got.ec->message());
    REQUIRE_FALSE(*got.ec);
    REQUIRE((read_file(here.target()) == bytes));
    REQUIRE_FALSE(fs::exists(here.partial()));
    REQUIRE_FALSE(fs::exists(here.journal()));
    REQUIRE(got.report.bytes == bytes.size());
    REQUIRE(got.report.bytes_resumed == resumed);
    // And a few bytes for each lane, to compare them.
    std::uint64_t const needed = bytes.size() - resumed + got.report.bytes_twice;
    REQUIRE(server.sent() - sent >= needed);
    REQUIRE(server.sent() - sent <= needed + refused);
    REQUIRE(got.report.bytes_twice <= (resumed == 0 ? 0 : s.lanes * s.sample));
    REQUIRE(got.report.retries == 0);
}

} // namespace

TEST_CASE("K11: a download goes on under other settings where they may be others, and begins anew "
          "where not") {
    object const o = object::random(size, 1);
    chosen_verifier const right = sha256_of(o);
    chosen_verifier const other = sha256_of(object::random(10, 2));
    rationed_server elsewhere{o};
    struct row {
        char const* name;
        std::function<void(settings& first, settings& second)> set;
        std::uint64_t resumed = first_part;
        rationed_server* at = nullptr;
    };
    std::vector<row> const rows{
        {"the same", [](settings&, settings&) {}},
        {"one lane", [](settings&, settings& b) { b.lanes = 1; }},
        {"sixteen lanes", [](settings&, settings& b) { b.lanes = 16; }},
        {"other segments", [](settings&, settings& b) { b.plan = {cleave::fixed_size{33'333}}; }},
        {"even_split", [](settings&, settings& b) { b.plan = {cleave::even_split{}}; }},
        {"listed_segments",
         [](settings&, settings& b) {
             b.plan = {cleave::listed_segments{{0, 9}, {10, 650'000}, {650'001, size - 1}}};
         }},
        {"mapped after file", [](settings&, settings& b) { b.mapped = true; }},
        {"file after mapped", [](settings& a, settings&) { a.mapped = true; }},
        {"another signature",
         [](settings& a, settings& b) {
             a.url += "?signature=1";
             b.url += "?signature=2";
         }},
        {"a signature, and none before", [](settings&, settings& b) { b.url += "?signature=1"; },
         0},
        {"another path", [](settings&, settings& b) { b.url += ".2"; }, 0},
        {"another address", [&](settings&, settings& b) { b.url = elsewhere.url(); }, 0,
         &elsewhere},
        {"another address, the same digest",
         [&](settings& a, settings& b) {
             b.url = elsewhere.url();
             a.verify = b.verify = right;
         },
         first_part, &elsewhere},
        {"a digest", [&](settings&, settings& b) { b.verify = right; }},
        {"no digest any more", [&](settings& a, settings&) { a.verify = right; }},
        {"another digest",
         [&](settings& a, settings& b) {
             a.verify = other;
             b.verify = right;
         },
         0},
        {"a part",
         [](settings&, settings& b) {
             b.part = {100'000, 799'999};
         },
         0},
        {"at a rate", [](settings&, settings& b) { b.rate = 4'000'000; }},
    };
    for (row const& r : rows) {
        for (end const first_ends : {end::cancelled, end::destroyed}) {
            CAPTURE(r.name, first_ends);
            rationed_server server{o};
            place here;
            settings first{.url = server.url()};
            settings second = first;
            r.set(first, second);
            begin(here, server, first, first_ends);
            auto const bytes = second.part ? body(o, second.part->first, second.part->last)
                                           : std::string_view{o.bytes};
            ends_right(here, r.at != nullptr ? *r.at : server, second, bytes, r.resumed);
        }
    }
}

TEST_CASE("a rate holds for the bytes that are left") {
    object const o = object::random(size, 3);
    rationed_server server{o};
    place here;
    settings s{.url = server.url()};
    begin(here, server, s, end::cancelled);
    s.rate = 2'000'000;
    auto const got = here.run(server, s);
    CHECK(got.ec == std::error_code{});
    CHECK((read_file(here.target()) == o.bytes));
    CHECK(got.report.bytes_resumed == first_part);
    // 0.2 s for them, less what the bucket had: no more than a half.
    CHECK(got.report.elapsed >= 100ms);
    CHECK(got.report.elapsed < 500ms);
}

TEST_CASE("K10: ten runs that are cut short, with another version in between") {
    object const v1 = object::random(size, 4, "\"v1\"");
    object const v2 = object::random(size, 5, "\"v2\"");
    rationed_server server{v1};
    place here;
    constexpr std::uint64_t each = 70'000;
    // Nothing is compared here, so that each run gets exactly its ration.
    settings s{.url = server.url(), .sample = 0};
    for (std::uint64_t i = 0; i != 10; ++i) {
        if (i == 5) server.serve(v2);
        std::uint64_t const bytes = (i % 5 + 1) * each;
        s.lanes = 1 + static_cast<std::uint32_t>(i % 4);
        CAPTURE(i);
        server.ration(each);
        auto const got = here.run(server, s, i % 2 == 0 ? end::destroyed : end::cancelled, bytes);
        REQUIRE(got.ec.value_or(cleave::error::cancelled) == cleave::error::cancelled);
        REQUIRE(claimed(here.held()) == bytes);
        REQUIRE(here.held().identity.validator.text == (i < 5 ? v1 : v2).etag);
        REQUIRE(server.sent() == (i + 1) * each);
        REQUIRE_FALSE(fs::exists(here.target()));
    }
    server.end_ration();
    ends_right(here, server, s, v2.bytes, 5 * each);
}

TEST_CASE("somebody has been at what was left: what is not there any more is fetched again") {
    object const o = object::random(size, 6);
    object const another = object::random(size, 7);
    auto const nothing = [](place const&) { return std::uint64_t{0}; };
    auto const all = [](place const&) { return first_part; };
    auto const change_held = [](place const& here, auto change) {
        cleave::resume_state state = here.held();
        change(state);
        cleave::file_journal journal;
        std::error_code ec;
        (void)journal.open(here.target().string(), ec);
        REQUIRE_FALSE(ec);
        journal.store(state, ec);
        REQUIRE_FALSE(ec);
    };
    struct row {
        char const* name;
        std::function<void(place const&)> damage;
        std::function<std::uint64_t(place const&)> resumed;
        std::uint64_t refused = 0;
    };
    std::vector<row> const rows{
        {"K07 deleted", [](place const& p) { fs::remove(p.partial()); }, nothing},
        {"K07 truncated", [](place const& p) { fs::resize_file(p.partial(), size - 1); }, nothing},
        {"K07 emptied", [](place const& p) { fs::resize_file(p.partial(), 0); }, nothing},
        {"K07 grown", [](place const& p) { fs::resize_file(p.partial(), size + 1); }, nothing},
        {"K07 replaced", [&](place const& p) { write_file(p.partial(), another.bytes); }, nothing},
        {"K07 zeroed",
         [](place const& p) {
             fs::resize_file(p.partial(), 0);
             fs::resize_file(p.partial(), size);
         },
         nothing},
        {"K07 one byte flipped",
         [](place const& p) {
             std::string bytes = read_file(p.partial());
             char& c = bytes[static_cast<std::size_t>(p.held().in_place.back().bytes.last)];
             c = static_cast<char>(c ^ 1);
             write_file(p.partial(), bytes);
         },
         [](place const& p) { return first_part - p.held().in_place.back().bytes.size(); }},
        {"K07 another time of change",
         [](place const& p) {
             fs::last_write_time(p.partial(), fs::last_write_time(p.partial()) + 1h);
         },
         all},
        {"K08 the journal deleted", [](place const& p) { fs::remove(p.journal()); }, nothing},
        {"K08 the journal deleted, the partial full",
         [&](place const& p) {
             fs::remove(p.journal());
             write_file(p.partial(), another.bytes);
         },
         nothing},
        {"the journal emptied", [](place const& p) { fs::resize_file(p.journal(), 0); }, nothing},
        {"the journal overwritten", [&](place const& p) { write_file(p.journal(), another.bytes); },
         nothing},
        {"K12 more in the partial than the journal claims",
         [&](place const& p) {
             std::string bytes = another.bytes;
             std::string const there = read_file(p.partial());
             for (auto const& [run, crc] : p.held().in_place)
                 std::copy_n(there.begin() + static_cast<std::ptrdiff_t>(run.first), run.size(),
                             bytes.begin() + static_cast<std::ptrdiff_t>(run.first));
             write_file(p.partial(), bytes);
         },
         all},
        {"K05 of another URL",
         [&](place const& p) { change_held(p, [](auto& s) { s.url += "2"; }); }, nothing},
        {"K05 of a larger object",
         [&](place const& p) {
             change_held(p, [](auto& s) {
                 s.identity.size = size + 1;
                 s.wanted.last = size;
             });
         },
         nothing},
        {"K05 of a smaller object, and a partial of its size",
         [&](place const& p) {
             change_held(p, [](auto& s) {
                 s.identity.size = size - 1;
                 s.wanted.last = size - 2;
                 std::erase_if(s.in_place,
                               [](auto const& run) { return run.bytes.last > size - 2; });
             });
             fs::resize_file(p.partial(), size - 1);
         },
         nothing, 50'000 + 4096},
        {"K05 of another ETag",
         [&](place const& p) {
             change_held(p, [](auto& s) { s.identity.validator.text = "\"v0\""; });
         },
         nothing},
        {"K05 of no validator",
         [&](place const& p) { change_held(p, [](auto& s) { s.identity.validator = {}; }); },
         nothing},
        {"K05 of a digest, and none is wanted now",
         [&](place const& p) { change_held(p, [](auto& s) { s.expectation = 1; }); }, all},
        {"K05 of bytes that are others",
         [&](place const& p) {
             change_held(p, [](auto& s) {
                 for (auto& run : s.in_place) ++run.crc;
             });
         },
         nothing},
        {"K05 of a part",
         [&](place const& p) {
             change_held(p, [](auto& s) {
                 s.wanted.first = 1;
                 if (s.in_place.front().bytes.first == 0) s.in_place.erase(s.in_place.begin());
             });
             fs::resize_file(p.partial(), size - 1);
         },
         nothing},
    };
    for (row const& r : rows) {
        for (bool const mapped : {false, true}) {
            CAPTURE(r.name, mapped);
            rationed_server server{o};
            place here;
            settings const s{.url = server.url(), .mapped = mapped};
            begin(here, server, s, end::destroyed);
            r.damage(here);
            ends_right(here, server, s, o.bytes, r.resumed(here), r.refused);
        }
    }
}

TEST_CASE("K12: bytes that came after the last record are fetched again") {
    object const o = object::random(size, 8);
    rationed_server server{o};
    place here;
    settings s{.url = server.url(), .sample = 0};
    server.ration(200'000);
    REQUIRE_FALSE(here.run(server, s, end::destroyed, 200'000).ec);
    std::string const record = read_file(here.journal());
    server.ration(first_part - 200'000);
    REQUIRE_FALSE(here.run(server, s, end::destroyed, first_part).ec);
    write_file(here.journal(), record);
    server.end_ration();
    ends_right(here, server, s, o.bytes, 200'000);
}
