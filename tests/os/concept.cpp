// SPDX-License-Identifier: BSL-1.0
//
// What is a file, and what nearly is one: a type for each thing that may be wrong.
#include <support/catch.hpp>

#include <cleave/os/concept.hpp>
#include <cleave/os/mapping.hpp>
#include <cleave/os/posix_file.hpp>
#include <cleave/testing/memory_disk.hpp>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>

using cleave::file;
using cleave::mappable_file;

namespace {

using std::error_code;

struct least {
    void check_target(std::string const&, error_code&) {}
    void open_partial(std::string const&, error_code&) {}
    void reopen_partial(std::string const&, error_code&) {}
    void open_finished(std::string const&, error_code&) {}
    void open_journal(std::string const&, error_code&) {}
    std::uint64_t size(error_code&) { return 0; }
    void allocate(std::uint64_t, error_code&) {}
    void write_at(std::uint64_t, std::span<std::byte const>, error_code&) {}
    void read_at(std::uint64_t, std::span<std::byte>, error_code&) {}
    void resize(std::uint64_t, error_code&) {}
    void sync(error_code&) {}
    void publish(std::string const&, error_code&) {}
    void discard() noexcept {}
    void close() noexcept {}
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_check_target : least {
    int check_target;
};
struct check_target_changes_path : least {
    void check_target(std::string&, error_code&);
};
struct without_open_partial : least {
    int open_partial;
};
struct open_partial_throws_instead : least {
    void open_partial(std::string const&);
};
struct without_reopen_partial : least {
    int reopen_partial;
};
struct reopen_partial_without_path : least {
    void reopen_partial(error_code&);
};
struct without_open_finished : least {
    int open_finished;
};
struct open_finished_throws_instead : least {
    void open_finished(std::string const&);
};
struct without_open_journal : least {
    int open_journal;
};
struct open_journal_changes_path : least {
    void open_journal(std::string&, error_code&);
};
struct without_size : least {
    int size;
};
struct size_answers_narrow : least {
    std::uint32_t size(error_code&);
};
struct size_throws_instead : least {
    std::uint64_t size();
};
struct without_allocate : least {
    int allocate;
};
struct without_write_at : least {
    int write_at;
};
struct write_at_wants_writable : least {
    void write_at(std::uint64_t, std::span<std::byte>, error_code&);
};
struct write_at_without_offset : least {
    void write_at(std::span<std::byte const>, error_code&);
};
struct without_read_at : least {
    int read_at;
};
struct read_at_without_code : least {
    void read_at(std::uint64_t, std::span<std::byte>);
};
struct without_resize : least {
    int resize;
};
struct without_sync : least {
    int sync;
};
struct sync_throws_instead : least {
    void sync();
};
struct without_publish : least {
    int publish;
};
struct publish_to_old_name : least {
    void publish(error_code&);
};
struct without_discard : least {
    int discard;
};
struct discard_throws : least {
    void discard();
};
struct without_close : least {
    int close;
};
struct close_throws : least {
    void close();
};
struct close_says_what_failed : least {
    void close(error_code&) noexcept;
};

struct mappable : least {
    cleave::mapping map(std::uint64_t, error_code&) { return {}; }
};
struct mappable_but_no_file : mappable {
    int sync;
};
struct map_answers_bytes : least {
    std::span<std::byte> map(std::uint64_t, error_code&);
};
struct map_answers_reference : least {
    cleave::mapping& map(std::uint64_t, error_code&);
};
struct map_without_size : least {
    cleave::mapping map(error_code&);
};
struct map_without_code : least {
    cleave::mapping map(std::uint64_t);
};

} // namespace

TEST_CASE("file: what is one") {
    STATIC_REQUIRE(file<least>);
    STATIC_REQUIRE(file<cleave::posix_file>);
    STATIC_REQUIRE(file<cleave::testing::memory_file>);
}

TEST_CASE("file: what nearly is one") {
    STATIC_REQUIRE_FALSE(file<immovable>);
    STATIC_REQUIRE_FALSE(file<without_check_target>);
    STATIC_REQUIRE_FALSE(file<check_target_changes_path>);
    STATIC_REQUIRE_FALSE(file<without_open_partial>);
    STATIC_REQUIRE_FALSE(file<open_partial_throws_instead>);
    STATIC_REQUIRE_FALSE(file<without_reopen_partial>);
    STATIC_REQUIRE_FALSE(file<reopen_partial_without_path>);
    STATIC_REQUIRE_FALSE(file<without_open_finished>);
    STATIC_REQUIRE_FALSE(file<open_finished_throws_instead>);
    STATIC_REQUIRE_FALSE(file<without_open_journal>);
    STATIC_REQUIRE_FALSE(file<open_journal_changes_path>);
    STATIC_REQUIRE_FALSE(file<without_size>);
    STATIC_REQUIRE_FALSE(file<size_answers_narrow>);
    STATIC_REQUIRE_FALSE(file<size_throws_instead>);
    STATIC_REQUIRE_FALSE(file<without_allocate>);
    STATIC_REQUIRE_FALSE(file<without_write_at>);
    STATIC_REQUIRE_FALSE(file<write_at_wants_writable>);
    STATIC_REQUIRE_FALSE(file<write_at_without_offset>);
    STATIC_REQUIRE_FALSE(file<without_read_at>);
    STATIC_REQUIRE_FALSE(file<read_at_without_code>);
    STATIC_REQUIRE_FALSE(file<without_resize>);
    STATIC_REQUIRE_FALSE(file<without_sync>);
    STATIC_REQUIRE_FALSE(file<sync_throws_instead>);
    STATIC_REQUIRE_FALSE(file<without_publish>);
    STATIC_REQUIRE_FALSE(file<publish_to_old_name>);
    STATIC_REQUIRE_FALSE(file<without_discard>);
    STATIC_REQUIRE_FALSE(file<discard_throws>);
    STATIC_REQUIRE_FALSE(file<without_close>);
    STATIC_REQUIRE_FALSE(file<close_throws>);
    STATIC_REQUIRE_FALSE(file<close_says_what_failed>);
    STATIC_REQUIRE_FALSE(file<std::fstream>);
}

TEST_CASE("mappable_file: what is one") {
    STATIC_REQUIRE(mappable_file<mappable>);
    STATIC_REQUIRE(mappable_file<cleave::posix_file>);
}

TEST_CASE("mappable_file: what nearly is one") {
    STATIC_REQUIRE_FALSE(mappable_file<least>);
    STATIC_REQUIRE_FALSE(mappable_file<mappable_but_no_file>);
    STATIC_REQUIRE_FALSE(mappable_file<map_answers_bytes>);
    STATIC_REQUIRE_FALSE(mappable_file<map_answers_reference>);
    STATIC_REQUIRE_FALSE(mappable_file<map_without_size>);
    STATIC_REQUIRE_FALSE(mappable_file<map_without_code>);
    STATIC_REQUIRE_FALSE(mappable_file<cleave::testing::memory_file>);
}

TEST_CASE("files are moved and not copied") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<cleave::posix_file>);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<cleave::testing::memory_file>);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<cleave::posix_file>);
}
