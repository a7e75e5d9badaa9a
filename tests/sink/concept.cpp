// SPDX-License-Identifier: BSL-1.0
//
// What is a byte sink, and what nearly is one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <cleave/sink/concept.hpp>
#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/mapped_file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/null_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>
#include <cleave/sink/tee_sink.hpp>
#include <cleave/testing/memory_disk.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

using cleave::byte_sink;
using cleave::sink_traits;

namespace {

using std::error_code;
using memory = std::span<std::byte>;

struct least {
    static constexpr sink_traits traits{};
    void check(error_code&) {}
    void open(std::optional<std::uint64_t>, error_code&) {}
    memory prepare(std::uint64_t, std::size_t, error_code&) { return {}; }
    void commit(std::uint64_t, std::size_t, error_code&) {}
    void sync(std::uint64_t, error_code&) {}
    void publish(error_code&) {}
    void abandon() noexcept {}
};
struct readable : least {
    static constexpr sink_traits traits{.readable = true};
    void read(std::uint64_t, memory, error_code&) {}
};

struct resumable : readable {
    static constexpr sink_traits traits{.readable = true, .revocable = true, .resumable = true};
    std::string target() const { return {}; }
    void reopen(std::uint64_t, bool, error_code&) {}
    void flush(error_code&) {}
    void keep() noexcept {}
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_traits {
    void check(error_code&);
    void open(std::optional<std::uint64_t>, error_code&);
    memory prepare(std::uint64_t, std::size_t, error_code&);
    void commit(std::uint64_t, std::size_t, error_code&);
    void sync(std::uint64_t, error_code&);
    void publish(error_code&);
    void abandon() noexcept;
};
struct traits_are_something_else : without_traits {
    static constexpr bool traits = true;
};
struct without_check : least {
    int check;
};
struct without_open : least {
    int open;
};
struct open_wants_a_size : least {
    void open(std::uint64_t, error_code&);
};
struct without_prepare : least {
    int prepare;
};
struct prepare_answers_const : least {
    std::span<std::byte const> prepare(std::uint64_t, std::size_t, error_code&);
};
struct prepare_answers_pointer : least {
    std::byte* prepare(std::uint64_t, std::size_t, error_code&);
};
struct prepare_without_code : least {
    memory prepare(std::uint64_t, std::size_t);
};
struct without_commit : least {
    int commit;
};
struct commit_without_size : least {
    void commit(std::uint64_t, error_code&);
};
struct without_sync : least {
    int sync;
};
struct sync_without_size : least {
    void sync(error_code&);
};
struct without_publish : least {
    int publish;
};
struct without_abandon : least {
    int abandon;
};
struct abandon_throws : least {
    void abandon();
};
struct readable_without_read : least {
    static constexpr sink_traits traits{.readable = true};
};
struct reads_into_const : readable {
    void read(std::uint64_t, std::span<std::byte const>, error_code&) = delete;
};

struct resumable_but_not_readable : resumable {
    static constexpr sink_traits traits{.revocable = true, .resumable = true};
};
struct resumable_but_not_revocable : resumable {
    static constexpr sink_traits traits{.readable = true, .resumable = true};
};
struct resumable_without_read : resumable {
    int read;
};
struct without_target : resumable {
    int target;
};
struct target_changes_it : resumable {
    std::string target();
};
struct target_is_no_text : resumable {
    std::vector<std::byte> target() const;
};
struct without_reopen : resumable {
    int reopen;
};
struct reopen_without_size : resumable {
    void reopen(bool, error_code&);
};
struct reopen_without_all : resumable {
    void reopen(std::uint64_t, error_code&);
};
struct reopen_throws_instead : resumable {
    void reopen(std::uint64_t, bool);
};
struct without_flush : resumable {
    int flush;
};
struct flush_throws_instead : resumable {
    void flush();
};
struct without_keep : resumable {
    int keep;
};
struct keep_throws : resumable {
    void keep();
};
struct resumable_without_saying_so : without_keep {
    static constexpr sink_traits traits{.readable = true, .revocable = true};
};

struct ordered : least {
    static constexpr sink_traits traits{.ordered = true};
    std::uint64_t window() const { return 1; }
    std::uint64_t chunk() const { return 1; }
    void deliver(std::uint64_t, std::size_t, error_code&) {}
};
struct ordered_later : least {
    static constexpr sink_traits traits{.ordered = true};
    std::uint64_t window() const { return 1; }
    std::uint64_t chunk() const { return 1; }
    template <class Handler>
    void async_deliver(std::uint64_t, std::size_t, Handler handler) {
        handler(error_code{});
    }
};
struct ordered_only_by_name : least {
    static constexpr sink_traits traits{.ordered = true};
};
struct without_window : ordered {
    int window;
};
struct window_changes_it : ordered {
    std::uint64_t window();
};
struct window_answers_narrow : ordered {
    std::uint32_t window() const;
};
struct without_chunk : ordered {
    int chunk;
};
struct chunk_changes_it : ordered {
    std::uint64_t chunk();
};
struct chunk_answers_narrow : ordered {
    std::uint32_t chunk() const;
};
struct delivers_in_no_way : ordered {
    int deliver;
};
struct undeclared : delivers_in_no_way {
    static constexpr sink_traits traits{};
};
struct delivers_without_offset : ordered {
    void deliver(std::size_t, error_code&);
};
struct delivers_without_code : ordered {
    void deliver(std::uint64_t, std::size_t);
};
struct delivers_later_to_nobody : ordered_later {
    void async_deliver(std::uint64_t, std::size_t);
};
struct delivers_later_to_kept_handler : ordered_later {
    template <class Handler>
    void async_deliver(std::uint64_t, std::size_t, Handler&);
};

struct system_filled : least {
    static constexpr sink_traits traits{.system_filled = true};
    void write(std::uint64_t, std::span<std::byte const>, error_code&) {}
};
struct system_filled_without_write : least {
    static constexpr sink_traits traits{.system_filled = true};
};
struct writes_what_it_may_change : system_filled {
    void write(std::uint64_t, memory, error_code&);
};
struct writes_without_offset : system_filled {
    void write(std::span<std::byte const>, error_code&);
};

} // namespace

TEST_CASE("byte_sink: what is one") {
    STATIC_REQUIRE(byte_sink<least>);
    STATIC_REQUIRE(byte_sink<readable>);
    STATIC_REQUIRE(byte_sink<resumable>);
    STATIC_REQUIRE(byte_sink<ordered>);
    STATIC_REQUIRE(byte_sink<ordered_later>);
    STATIC_REQUIRE(byte_sink<system_filled>);
    STATIC_REQUIRE(byte_sink<cleave::memory_sink>);
    STATIC_REQUIRE(byte_sink<cleave::file_sink>);
    STATIC_REQUIRE(byte_sink<cleave::basic_file_sink<cleave::testing::memory_file>>);
    STATIC_REQUIRE(byte_sink<cleave::mapped_file_sink>);
    STATIC_REQUIRE(byte_sink<cleave::null_sink>);
    STATIC_REQUIRE(byte_sink<cleave::ordered_sink<void (*)(std::span<std::byte const>)>>);
    STATIC_REQUIRE(byte_sink<cleave::tee_sink<ordered, system_filled>>);
    STATIC_REQUIRE(byte_sink<cleave::tee_sink<ordered_later, readable>>);
}

TEST_CASE("byte_sink: what nearly is one") {
    STATIC_REQUIRE_FALSE(byte_sink<immovable>);
    STATIC_REQUIRE_FALSE(byte_sink<without_traits>);
    STATIC_REQUIRE_FALSE(byte_sink<traits_are_something_else>);
    STATIC_REQUIRE_FALSE(byte_sink<without_check>);
    STATIC_REQUIRE_FALSE(byte_sink<without_open>);
    STATIC_REQUIRE_FALSE(byte_sink<open_wants_a_size>);
    STATIC_REQUIRE_FALSE(byte_sink<without_prepare>);
    STATIC_REQUIRE_FALSE(byte_sink<prepare_answers_const>);
    STATIC_REQUIRE_FALSE(byte_sink<prepare_answers_pointer>);
    STATIC_REQUIRE_FALSE(byte_sink<prepare_without_code>);
    STATIC_REQUIRE_FALSE(byte_sink<without_commit>);
    STATIC_REQUIRE_FALSE(byte_sink<commit_without_size>);
    STATIC_REQUIRE_FALSE(byte_sink<without_sync>);
    STATIC_REQUIRE_FALSE(byte_sink<sync_without_size>);
    STATIC_REQUIRE_FALSE(byte_sink<without_publish>);
    STATIC_REQUIRE_FALSE(byte_sink<without_abandon>);
    STATIC_REQUIRE_FALSE(byte_sink<abandon_throws>);
    STATIC_REQUIRE_FALSE(byte_sink<readable_without_read>);
    STATIC_REQUIRE_FALSE(byte_sink<reads_into_const>);
    STATIC_REQUIRE_FALSE(byte_sink<resumable_but_not_readable>);
    STATIC_REQUIRE_FALSE(byte_sink<resumable_but_not_revocable>);
    STATIC_REQUIRE_FALSE(byte_sink<resumable_without_read>);
    STATIC_REQUIRE_FALSE(byte_sink<without_target>);
    STATIC_REQUIRE_FALSE(byte_sink<target_changes_it>);
    STATIC_REQUIRE_FALSE(byte_sink<target_is_no_text>);
    STATIC_REQUIRE_FALSE(byte_sink<without_reopen>);
    STATIC_REQUIRE_FALSE(byte_sink<reopen_without_size>);
    STATIC_REQUIRE_FALSE(byte_sink<reopen_without_all>);
    STATIC_REQUIRE_FALSE(byte_sink<reopen_throws_instead>);
    STATIC_REQUIRE_FALSE(byte_sink<without_flush>);
    STATIC_REQUIRE_FALSE(byte_sink<flush_throws_instead>);
    STATIC_REQUIRE_FALSE(byte_sink<without_keep>);
    STATIC_REQUIRE_FALSE(byte_sink<keep_throws>);
    STATIC_REQUIRE_FALSE(byte_sink<ordered_only_by_name>);
    STATIC_REQUIRE_FALSE(byte_sink<without_window>);
    STATIC_REQUIRE_FALSE(byte_sink<window_changes_it>);
    STATIC_REQUIRE_FALSE(byte_sink<window_answers_narrow>);
    STATIC_REQUIRE_FALSE(byte_sink<without_chunk>);
    STATIC_REQUIRE_FALSE(byte_sink<chunk_changes_it>);
    STATIC_REQUIRE_FALSE(byte_sink<chunk_answers_narrow>);
    STATIC_REQUIRE_FALSE(byte_sink<delivers_in_no_way>);
    STATIC_REQUIRE_FALSE(byte_sink<delivers_without_offset>);
    STATIC_REQUIRE_FALSE(byte_sink<delivers_without_code>);
    STATIC_REQUIRE_FALSE(byte_sink<delivers_later_to_nobody>);
    STATIC_REQUIRE_FALSE(byte_sink<delivers_later_to_kept_handler>);
    STATIC_REQUIRE_FALSE(byte_sink<system_filled_without_write>);
    STATIC_REQUIRE_FALSE(byte_sink<writes_what_it_may_change>);
    STATIC_REQUIRE_FALSE(byte_sink<writes_without_offset>);
    STATIC_REQUIRE_FALSE(byte_sink<std::vector<std::byte>>);
}

TEST_CASE("byte_sink: sinks that only the traits tell apart") {
    // What is there without being declared does no harm, and is not asked for.
    STATIC_REQUIRE(byte_sink<undeclared>);
    STATIC_REQUIRE(byte_sink<resumable_without_saying_so>);
    // A sink that can be filled by anything may offer `write` all the same.
    STATIC_REQUIRE(cleave::detail::writes<cleave::file_sink>);
    STATIC_REQUIRE_FALSE(cleave::file_sink::traits.system_filled);
}

TEST_CASE("files are resumable, and nothing else is") {
    STATIC_REQUIRE(cleave::file_sink::traits.resumable);
    STATIC_REQUIRE(cleave::mapped_file_sink::traits.resumable);
    STATIC_REQUIRE_FALSE(cleave::memory_sink::traits.resumable);
    STATIC_REQUIRE_FALSE(cleave::null_sink::traits.resumable);
    STATIC_REQUIRE_FALSE(
        cleave::ordered_sink<void (*)(std::span<std::byte const>)>::traits.resumable);
    STATIC_REQUIRE_FALSE(cleave::tee_sink<cleave::file_sink, cleave::file_sink>::traits.resumable);
}

TEST_CASE("a sink is nothing special unless it says so") {
    CHECK_FALSE(sink_traits{}.concurrent);
    CHECK_FALSE(sink_traits{}.readable);
    CHECK_FALSE(sink_traits{}.revocable);
    CHECK_FALSE(sink_traits{}.ordered);
    CHECK_FALSE(sink_traits{}.resumable);
    CHECK_FALSE(sink_traits{}.system_filled);
}
