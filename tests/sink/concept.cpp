// SPDX-License-Identifier: BSL-1.0
//
// What is a byte sink, and what nearly is one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <support/memory_file.hpp>

#include <cleave/sink/concept.hpp>
#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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

} // namespace

TEST_CASE("byte_sink: what is one") {
    STATIC_REQUIRE(byte_sink<least>);
    STATIC_REQUIRE(byte_sink<readable>);
    STATIC_REQUIRE(byte_sink<cleave::memory_sink>);
    STATIC_REQUIRE(byte_sink<cleave::file_sink>);
    STATIC_REQUIRE(byte_sink<cleave::basic_file_sink<cleave_test::memory_file>>);
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
    STATIC_REQUIRE_FALSE(byte_sink<std::vector<std::byte>>);
}

TEST_CASE("a sink is nothing special unless it says so") {
    CHECK_FALSE(sink_traits{}.concurrent);
    CHECK_FALSE(sink_traits{}.readable);
    CHECK_FALSE(sink_traits{}.revocable);
}
