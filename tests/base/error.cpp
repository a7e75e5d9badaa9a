// SPDX-License-Identifier: BSL-1.0
//
// Each of the library's own errors keeps its number, says in words of its own what happened and
// what to do, and has exactly one cause.

#include <cleave/base/error.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using cleave::cause;
using cleave::error;

namespace {

struct row {
    error is;
    int number;
    cause because;
};

// Numbers are for ever: logs and callers hold them. Add lines here; change none.
constexpr row rows[] = {
    {error::bad_url, 100, cause::configuration},
    {error::unsupported_scheme, 101, cause::configuration},
    {error::tls_unavailable, 102, cause::configuration},
    {error::bad_header, 103, cause::configuration},
    {error::reserved_header, 104, cause::configuration},
    {error::bad_digest, 105, cause::configuration},
    {error::bad_segment, 106, cause::configuration},
    {error::bad_timeout, 107, cause::configuration},
    {error::segments_overlap, 108, cause::configuration},
    {error::segments_leave_gap, 109, cause::configuration},
    {error::segments_out_of_order, 110, cause::configuration},
    {error::segment_reversed, 111, cause::configuration},
    {error::segments_empty, 112, cause::configuration},
    {error::segments_do_not_match_size, 113, cause::configuration},
    {error::planner_broke_contract, 114, cause::configuration},
    {error::sink_needs_size, 115, cause::configuration},
    {error::sink_too_small, 116, cause::configuration},
    {error::object_too_large, 117, cause::configuration},
    {error::sink_not_readable, 118, cause::configuration},
    {error::window_too_small, 119, cause::configuration},
    {error::pieces_do_not_match_size, 120, cause::configuration},
    {error::sink_cannot_restart, 121, cause::configuration},
    {error::bad_proxy, 122, cause::configuration},
    {error::proxy_unsupported, 123, cause::configuration},

    {error::malformed_head, 200, cause::protocol},
    {error::head_too_large, 201, cause::protocol},
    {error::too_many_fields, 202, cause::protocol},
    {error::too_many_interim, 203, cause::protocol},
    {error::unsupported_version, 204, cause::protocol},
    {error::unexpected_upgrade, 205, cause::protocol},
    {error::bad_content_length, 206, cause::protocol},
    {error::bad_transfer_coding, 207, cause::protocol},
    {error::bad_chunk, 208, cause::protocol},
    {error::bad_content_range, 209, cause::protocol},
    {error::ambiguous_framing, 210, cause::protocol},

    {error::range_ignored, 300, cause::passing},
    {error::range_missing, 301, cause::protocol},
    {error::range_mismatch, 302, cause::protocol},
    {error::length_mismatch, 303, cause::protocol},
    {error::multipart_reply, 304, cause::permanent},
    {error::coded_reply, 305, cause::permanent},
    {error::range_not_satisfiable, 306, cause::permanent},
    {error::unexpected_status, 307, cause::permanent},
    {error::validator_missing, 308, cause::protocol},
    {error::digest_not_sent, 309, cause::permanent},

    {error::object_changed, 400, cause::identity_changed},
    {error::size_changed, 401, cause::identity_changed},
    {error::digest_mismatch, 402, cause::permanent},
    {error::bytes_differ, 403, cause::identity_changed},
    {error::object_unstable, 404, cause::identity_changed},
    {error::mirror_differs, 405, cause::identity_changed},

    {error::redirected, 500, cause::permanent},
    {error::unauthorized, 501, cause::renewable},
    {error::forbidden, 502, cause::renewable},
    {error::not_found, 503, cause::permanent},
    {error::gone, 504, cause::renewable},
    {error::proxy_authentication_required, 505, cause::permanent},
    {error::unavailable_for_legal_reasons, 506, cause::permanent},
    {error::client_error, 507, cause::permanent},
    {error::too_many_requests, 508, cause::passing},
    {error::server_busy, 509, cause::passing},
    {error::server_error, 510, cause::passing},
    {error::request_expires, 511, cause::renewable},
    {error::no_fresh_request, 512, cause::renewable},
    {error::bad_redirect, 513, cause::permanent},
    {error::redirect_to_plain, 514, cause::permanent},
    {error::too_many_redirects, 515, cause::permanent},

    {error::connect_timeout, 600, cause::passing},
    {error::head_timeout, 601, cause::passing},
    {error::stalled, 602, cause::passing},
    {error::deadline_exceeded, 603, cause::permanent},
    {error::closed_before_reply, 604, cause::passing},
    {error::closed_in_head, 605, cause::passing},
    {error::closed_in_body, 606, cause::passing},
    {error::name_not_resolved, 607, cause::passing},
    {error::proxy_failed, 608, cause::passing},
    {error::proxy_refused, 609, cause::permanent},
    {error::bad_proxy_reply, 610, cause::protocol},

    {error::target_is_directory, 700, cause::storage},
    {error::target_not_regular, 701, cause::storage},
    {error::target_busy, 702, cause::storage},
    {error::partial_replaced, 703, cause::storage},
    {error::wrote_nothing, 704, cause::storage},

    {error::cancelled, 800, cause::cancelled},

    {error::trust_store_unreadable, 900, cause::configuration},
    {error::trust_store_empty, 901, cause::configuration},
    {error::certificate_not_yet_valid, 902, cause::configuration},
    {error::certificate_expired, 903, cause::permanent},
    {error::certificate_wrong_host, 904, cause::permanent},
    {error::certificate_unknown_issuer, 905, cause::permanent},
    {error::certificate_bad, 906, cause::permanent},
    {error::bad_pin, 907, cause::configuration},
    {error::pin_mismatch, 908, cause::permanent},
    {error::client_certificate_unreadable, 909, cause::configuration},
    {error::tls_handshake_failed, 910, cause::permanent},
    {error::tls_truncated, 911, cause::passing},
    {error::tls_record_bad, 912, cause::passing},
    {error::alpn_mismatch, 913, cause::permanent},
};

constexpr std::array causes = {cause::passing,   cause::renewable, cause::identity_changed,
                               cause::storage,   cause::protocol,  cause::configuration,
                               cause::permanent, cause::cancelled};

// What a sentence may begin with that tells somebody to do something.
constexpr std::string_view imperatives[] = {
    "add",  "allow", "ask",   "begin", "check", "choose", "connect", "free",   "get",    "give",
    "keep", "leave", "list",  "look",  "mend",  "name",   "raise",   "remove", "start",  "try",
    "use",  "wait",  "write", "lower", "set",   "close",  "do",      "move",   "install"};

} // namespace

TEST_CASE("errors keep their numbers") {
    for (row const& r : rows) CHECK(static_cast<int>(r.is) == r.number);
}

TEST_CASE("every error is listed here, and no other number is one") {
    std::set<int> listed;
    for (row const& r : rows) CHECK(listed.insert(r.number).second);
    for (int n = -10; n < 2000; ++n) {
        CAPTURE(n);
        bool const known = cleave::describe(static_cast<error>(n)) != std::string{"unknown error"};
        CHECK(known == (listed.count(n) != 0));
    }
}

TEST_CASE("every error says something of its own, and what to do") {
    std::set<std::string> messages;
    for (row const& r : rows) {
        std::string const text = std::error_code{r.is}.message();
        INFO(r.number << ": " << text);
        CHECK(text == cleave::describe(r.is));
        CHECK(messages.insert(text).second);
        CHECK(text.size() > 20);
        // Texts are joined from pieces, and stand in the middle of a line.
        CHECK(text.find("  ") == std::string::npos);
        CHECK(text.find('\n') == std::string::npos);
        CHECK(text.back() != '.');
        CHECK(text.back() != ' ');
        // There is nothing to be done about what the caller wanted.
        if (r.is == error::cancelled) continue;
        auto const semicolon = text.rfind("; ");
        REQUIRE(semicolon != std::string::npos);
        std::string const remedy = text.substr(semicolon + 2);
        std::string const verb = remedy.substr(0, remedy.find_first_of(" ,"));
        CHECK(std::find(std::begin(imperatives), std::end(imperatives), verb) !=
              std::end(imperatives));
    }
}

TEST_CASE("every error has exactly one cause") {
    for (row const& r : rows) {
        CAPTURE(r.number);
        CHECK(cleave::cause_of(r.is) == r.because);
        std::error_code const ec = r.is;
        std::vector<cause> equal;
        for (cause const c : causes)
            if (ec == c) equal.push_back(c);
        CHECK(equal == std::vector<cause>{r.because});
    }
}

TEST_CASE("an error is an error code of the library's category") {
    std::error_code const ec = error::stalled;
    CHECK(ec.category() == cleave::error_category());
    CHECK(ec.value() == 602);
    CHECK(ec == error::stalled);
    CHECK(ec != error::head_timeout);
    CHECK(ec.category().name() == std::string{"cleave"});
    // One category object for the whole program.
    CHECK(&cleave::error_category() == &cleave::error_category());
    // A number of ours is not the system's.
    CHECK(ec != std::error_code(602, std::generic_category()));
    CHECK(std::error_code(602, std::generic_category()) != cause::passing);
    CHECK(std::error_code() != cause::passing);
    CHECK(ec != std::errc::timed_out);
    // Its own default condition still is what it says.
    CHECK(ec == ec.default_error_condition());
}

TEST_CASE("causes have names of their own") {
    CHECK(cleave::cause_category().name() == std::string{"cleave.cause"});
    std::set<std::string> names;
    for (cause const c : causes) {
        std::string const text = std::error_condition{c}.message();
        CHECK(text != "unknown cause");
        CHECK(names.insert(text).second);
    }
    for (int n : {0, 9, -1}) CHECK(cleave::cause_category().message(n) == "unknown cause");
}

TEST_CASE("codes of others pass through untouched") {
    CHECK(cleave::error_category().message(1) == "unknown error");
    std::error_code const full{ENOSPC, std::system_category()};
    CHECK(full == std::errc::no_space_on_device);
    CHECK(full.category() == std::system_category());
}

TEST_CASE("codes of the system have a cause where it does not depend on the place") {
    struct known {
        std::errc is;
        cause because;
    };
    known const list[] = {
        {std::errc::no_space_on_device, cause::storage},
        {std::errc::io_error, cause::storage},
        {std::errc::file_too_large, cause::storage},
        {std::errc::read_only_file_system, cause::storage},
        {static_cast<std::errc>(EDQUOT), cause::storage},
        {std::errc::connection_refused, cause::passing},
        {std::errc::connection_reset, cause::passing},
        {std::errc::broken_pipe, cause::passing},
        {std::errc::timed_out, cause::passing},
        {std::errc::host_unreachable, cause::passing},
        {std::errc::network_unreachable, cause::passing},
    };
    for (int value = 0; value < 140; ++value) {
        std::optional<cause> expected;
        for (known const& k : list)
            if (static_cast<int>(k.is) == value) expected = k.because;
        for (auto const* category : {&std::generic_category(), &std::system_category()}) {
            CAPTURE(value, category->name());
            std::error_code const ec{value, *category};
            for (cause const c : causes) CHECK((ec == c) == (expected == c));
        }
    }
    // A number of ours is not a number of theirs.
    struct : std::error_category {
        char const* name() const noexcept override { return "other"; }
        std::string message(int) const override { return "?"; }
    } const other;
    for (cause const c : causes) CHECK(std::error_code(ENOSPC, other) != c);
}
