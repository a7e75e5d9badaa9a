// SPDX-License-Identifier: BSL-1.0
//
// What failures are about: each of the errors that decide how a download goes on, beside those that
// are nearly the same and must not.

#include <cleave/engine/failure_kinds.hpp>

#include <support/catch.hpp>

#include <optional>
#include <system_error>

using cleave::cause;
using cleave::error;
using cleave::failure;
using cleave::phase;

namespace {

constexpr phase phases[]{phase::setup, phase::connect, phase::head,
                         phase::body,  phase::sink,    phase::verify};

failure of(std::error_code ec, cause kind, phase where) {
    return {ec, kind, where, 0, std::nullopt, {}};
}

} // namespace

TEST_CASE("another attempt is worth it where it may pass, or the server broke the rules") {
    CHECK_FALSE(cleave::pointless(cause::passing));
    CHECK_FALSE(cleave::pointless(cause::protocol));
    for (cause const c : {cause::renewable, cause::identity_changed, cause::storage,
                          cause::configuration, cause::permanent, cause::cancelled})
        CHECK(cleave::pointless(c));
}

TEST_CASE("a server refuses by saying so, or by hanging up before it has said anything") {
    for (phase const where : phases) {
        CAPTURE(to_string(where));
        bool const before = where == phase::connect || where == phase::head;
        CHECK(is_refusal(failure::of(error::too_many_requests, where)));
        CHECK(is_refusal(failure::of(error::server_busy, where)));
        CHECK(is_refusal(failure::of(error::closed_before_reply, where)) == before);
        for (std::errc const e : {std::errc::connection_refused, std::errc::connection_reset}) {
            CHECK(is_refusal(of(std::make_error_code(e), cause::passing, where)) == before);
            std::error_code const ec{static_cast<int>(e), std::system_category()};
            CHECK(is_refusal(of(ec, cause::passing, where)) == before);
        }
        CHECK_FALSE(is_refusal(failure::of(error::closed_in_head, where)));
        CHECK_FALSE(is_refusal(failure::of(error::head_timeout, where)));
        CHECK_FALSE(
            is_refusal(of(std::make_error_code(std::errc::timed_out), cause::passing, where)));
    }
}

TEST_CASE("one stream may do where ranges came wrong, and not where they could not be had") {
    for (error const e :
         {error::range_ignored, error::range_missing, error::range_mismatch, error::length_mismatch,
          error::bad_content_range, error::multipart_reply, error::validator_missing})
        CHECK(cleave::is_about_ranges(e));
    for (error const e : {error::range_not_satisfiable, error::object_changed, error::size_changed,
                          error::closed_in_body, error::not_found})
        CHECK_FALSE(cleave::is_about_ranges(e));
}

TEST_CASE("what an earlier run left is not gone on with where the reply is of another object") {
    for (error const e : {error::object_changed, error::size_changed, error::range_ignored,
                          error::validator_missing, error::range_not_satisfiable})
        CHECK(is_of_another_object(failure::of(e, phase::head)));
    // Such a server may do better at the next try.
    for (error const e : {error::range_missing, error::range_mismatch, error::multipart_reply,
                          error::server_busy, error::not_found})
        CHECK_FALSE(is_of_another_object(failure::of(e, phase::head)));
}

TEST_CASE("another mirror may do for what is not the caller's, nor the disk's") {
    for (phase const where : phases)
        for (cause const c :
             {cause::passing, cause::renewable, cause::identity_changed, cause::protocol,
              cause::permanent, cause::storage, cause::cancelled}) {
            CAPTURE(to_string(where), static_cast<int>(c));
            bool const there =
                where == phase::connect || where == phase::head || where == phase::body;
            bool const theirs = c != cause::storage && c != cause::cancelled;
            CHECK(is_of_server(of(error::not_found, c, where)) == (there && theirs));
        }
}
