// SPDX-License-Identifier: BSL-1.0
//
// What is a byte stream and a connector, and what nearly is one: a type for each thing that may be
// wrong.
#include <support/catch.hpp>

#include <support/line_route.hpp>

#include <cleave/connect/concept.hpp>
#include <cleave/connect/tcp.hpp>
#include <cleave/connect/tls.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/testing/memory_network.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/strand.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

using cleave::byte_connector;
using cleave::byte_stream;
using cleave::cause;
using cleave::keeps;
using cleave::url;

namespace {

using std::error_code;
using executor = asio::any_io_executor;

struct least_stream {
    template <class Handler>
    void async_connect(url const&, Handler&&) {}
    template <class Handler>
    void async_write(std::string_view, Handler&&) {}
    std::size_t read_some(std::span<std::byte>, error_code&) { return 0; }
    template <class Handler>
    void async_wait(Handler&&) {}
    void close() noexcept {}
};

struct without_async_connect : least_stream {
    int async_connect;
};
struct connects_without_url : least_stream {
    template <class Handler>
    void async_connect(Handler&&);
};
struct without_async_write : least_stream {
    int async_write;
};
struct writes_what_it_may_change : least_stream {
    template <class Handler>
    void async_write(std::string&, Handler&&);
};
struct without_read_some : least_stream {
    int read_some;
};
struct read_some_answers_signed : least_stream {
    std::ptrdiff_t read_some(std::span<std::byte>, error_code&);
};
struct read_some_throws_instead : least_stream {
    std::size_t read_some(std::span<std::byte>);
};
struct without_async_wait : least_stream {
    int async_wait;
};
struct wait_blocks : least_stream {
    void async_wait();
};
struct without_close : least_stream {
    int close;
};
struct close_throws : least_stream {
    void close();
};

struct least_keeping : least_stream {
    void keep() noexcept { kept_ones = 1; }
    bool kept() const noexcept { return true; }
    void close() noexcept { closed_ones = 1; }
    int kept_ones = 0;
    int closed_ones = 0;
};
struct without_keep : least_keeping {
    int keep;
};
struct keep_throws : least_keeping {
    void keep();
};
struct without_kept : least_keeping {
    int kept;
};
struct kept_throws : least_keeping {
    bool kept() const;
};
struct kept_changes_it : least_keeping {
    bool kept() noexcept;
};
struct kept_counts : least_keeping {
    int kept() const noexcept;
};
struct keeps_but_is_no_stream {
    void keep() noexcept;
    bool kept() const noexcept;
};

struct least {
    least_stream make(executor const&) { return {}; }
    error_code check(url const&) { return {}; }
    cause classify(error_code) noexcept { return cause::passing; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_make : least {
    int make;
};
struct makes_no_stream : least {
    without_close make(executor const&);
};
struct makes_pointers : least {
    std::unique_ptr<least_stream> make(executor const&);
};
struct makes_for_others : least {
    least_stream make(asio::io_context&);
};
struct without_check : least {
    int check;
};
struct check_answers_whether : least {
    bool check(url const&);
};
struct check_changes_url : least {
    error_code check(url&);
};
struct without_classify : least {
    int classify;
};
struct classify_throws : least {
    cause classify(error_code);
};
struct classify_answers_condition : least {
    std::error_condition classify(error_code) noexcept;
};
struct classifies_own_errors_only : least {
    cause classify(cleave::error) noexcept;
};

} // namespace

TEST_CASE("byte_stream: what is one") {
    STATIC_REQUIRE(byte_stream<least_stream>);
    STATIC_REQUIRE(byte_stream<cleave::tcp_stream<executor>>);
    STATIC_REQUIRE(byte_stream<cleave::tls_stream<executor>>);
    STATIC_REQUIRE(byte_stream<cleave::tls_stream<executor, cleave_test::line_route>>);
    STATIC_REQUIRE(byte_stream<cleave::testing::memory_stream<executor>>);
}

TEST_CASE("byte_stream: what nearly is one") {
    STATIC_REQUIRE_FALSE(byte_stream<without_async_connect>);
    STATIC_REQUIRE_FALSE(byte_stream<connects_without_url>);
    STATIC_REQUIRE_FALSE(byte_stream<without_async_write>);
    STATIC_REQUIRE_FALSE(byte_stream<writes_what_it_may_change>);
    STATIC_REQUIRE_FALSE(byte_stream<without_read_some>);
    STATIC_REQUIRE_FALSE(byte_stream<read_some_answers_signed>);
    STATIC_REQUIRE_FALSE(byte_stream<read_some_throws_instead>);
    STATIC_REQUIRE_FALSE(byte_stream<without_async_wait>);
    STATIC_REQUIRE_FALSE(byte_stream<wait_blocks>);
    STATIC_REQUIRE_FALSE(byte_stream<without_close>);
    STATIC_REQUIRE_FALSE(byte_stream<close_throws>);
    STATIC_REQUIRE_FALSE(byte_stream<asio::ip::tcp::socket>);
}

TEST_CASE("keeps: what is a stream that does") {
    STATIC_REQUIRE(keeps<least_keeping>);
    STATIC_REQUIRE(keeps<cleave::tcp_stream<executor>>);
    STATIC_REQUIRE(keeps<cleave::tcp_stream<asio::io_context::executor_type>>);
    STATIC_REQUIRE(keeps<cleave::tcp_stream<executor, cleave_test::line_route>>);
    STATIC_REQUIRE(keeps<cleave::tls_stream<executor>>);
    STATIC_REQUIRE(keeps<cleave::tls_stream<asio::io_context::executor_type>>);
}

TEST_CASE("keeps: what nearly is one") {
    STATIC_REQUIRE(byte_stream<least_stream>);
    STATIC_REQUIRE_FALSE(keeps<least_stream>);
    STATIC_REQUIRE(byte_stream<without_keep>);
    STATIC_REQUIRE_FALSE(keeps<without_keep>);
    STATIC_REQUIRE_FALSE(keeps<keep_throws>);
    STATIC_REQUIRE(byte_stream<without_kept>);
    STATIC_REQUIRE_FALSE(keeps<without_kept>);
    STATIC_REQUIRE_FALSE(keeps<kept_throws>);
    STATIC_REQUIRE_FALSE(keeps<kept_changes_it>);
    STATIC_REQUIRE_FALSE(keeps<kept_counts>);
    STATIC_REQUIRE_FALSE(keeps<keeps_but_is_no_stream>);
}

TEST_CASE("a stream that keeps is kept, any other one is closed") {
    least_keeping keeping;
    cleave::keep_or_close(keeping);
    CHECK(keeping.kept_ones == 1);
    CHECK(keeping.closed_ones == 0);
    CHECK(cleave::was_kept(keeping));

    without_kept closing;
    cleave::keep_or_close(closing);
    CHECK(closing.kept_ones == 0);
    CHECK(closing.closed_ones == 1);
    CHECK_FALSE(cleave::was_kept(closing));

    STATIC_REQUIRE(noexcept(cleave::keep_or_close(closing)));
    STATIC_REQUIRE(noexcept(cleave::was_kept(closing)));
}

TEST_CASE("byte_connector: what is one") {
    STATIC_REQUIRE(byte_connector<least, executor>);
    STATIC_REQUIRE(byte_connector<cleave::tcp_connector, executor>);
    STATIC_REQUIRE(byte_connector<cleave::tcp_connector, asio::io_context::executor_type>);
    STATIC_REQUIRE(
        byte_connector<cleave::tcp_connector, asio::strand<asio::io_context::executor_type>>);
    STATIC_REQUIRE(byte_connector<cleave::basic_tcp_connector<cleave_test::line_route>, executor>);
    STATIC_REQUIRE(byte_connector<cleave::tls_connector, executor>);
    STATIC_REQUIRE(byte_connector<cleave::unverified_tls_connector, executor>);
    STATIC_REQUIRE(
        byte_connector<cleave::tls_connector, asio::strand<asio::io_context::executor_type>>);
    STATIC_REQUIRE(
        byte_connector<cleave::basic_tls_connector<true, cleave_test::line_route>, executor>);
    STATIC_REQUIRE(byte_connector<cleave::testing::memory_connector, executor>);
}

TEST_CASE("byte_connector: what nearly is one") {
    STATIC_REQUIRE_FALSE(byte_connector<immovable, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<without_make, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<makes_no_stream, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<makes_pointers, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<makes_for_others, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<without_check, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<check_answers_whether, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<check_changes_url, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<without_classify, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<classify_throws, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<classify_answers_condition, executor>);
    STATIC_REQUIRE_FALSE(byte_connector<classifies_own_errors_only, executor>);
}

TEST_CASE("the stream of a connector is what it makes") {
    STATIC_REQUIRE(std::is_same_v<cleave::stream_of<least, executor>, least_stream>);
    STATIC_REQUIRE(std::is_same_v<cleave::stream_of<cleave::tcp_connector, executor>,
                                  cleave::tcp_stream<executor>>);
    STATIC_REQUIRE(std::is_same_v<cleave::stream_of<cleave::tls_connector, executor>,
                                  cleave::tls_stream<executor>>);
    using routed = decltype(cleave::tls_connector{}.via(std::declval<cleave_test::line_route>()));
    STATIC_REQUIRE(std::is_same_v<cleave::stream_of<routed, executor>,
                                  cleave::tls_stream<executor, cleave_test::line_route>>);
}

namespace {

struct tells : least_stream {
    bool read_by_system() const noexcept { return true; }
    cleave::connection_facts about() const noexcept {
        return {.handshake = cleave::handshake::resumed, .proxy = &hop};
    }
    cleave::proxy_hop hop;
};
struct read_by_system_throws : least_stream {
    bool read_by_system() const { return true; }
};
struct about_throws : least_stream {
    cleave::connection_facts about() const { return {.handshake = cleave::handshake::full}; }
};
struct about_tells_half : least_stream {
    cleave::handshake about() const noexcept { return cleave::handshake::full; }
};

} // namespace

TEST_CASE("what a stream says of itself is heard, and nothing is made up where it does not") {
    tells const told;
    CHECK(cleave::reads_by_system(told));
    CHECK(cleave::facts_of(told).handshake == cleave::handshake::resumed);
    CHECK(cleave::facts_of(told).proxy == &told.hop);
    CHECK_FALSE(cleave::reads_by_system(least_stream{}));
    CHECK_FALSE(cleave::reads_by_system(read_by_system_throws{}));
    CHECK(cleave::facts_of(least_stream{}).handshake == cleave::handshake::none);
    CHECK(cleave::facts_of(least_stream{}).proxy == nullptr);
    CHECK(cleave::facts_of(about_throws{}).handshake == cleave::handshake::none);
    CHECK(cleave::facts_of(about_tells_half{}).handshake == cleave::handshake::none);
    STATIC_REQUIRE(noexcept(cleave::facts_of(told)));
}
