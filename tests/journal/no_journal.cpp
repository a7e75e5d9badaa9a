// SPDX-License-Identifier: BSL-1.0
//
// no_journal keeps nothing, and says so before it is asked for anything.

#include <cleave/journal/no_journal.hpp>

#include <laws/journal_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <system_error>

using cleave::no_journal;

static_assert(!no_journal{}.durable());

TEST_CASE("no_journal keeps nothing of any download") {
    CHECK_FALSE(no_journal{}.keeps(""));
    CHECK_FALSE(no_journal{}.keeps("target"));
}

TEST_CASE("no_journal holds nothing, whatever it is given") {
    cleave_test::random_source random{1};
    no_journal journal;
    std::error_code ec;
    CHECK_FALSE(journal.open("target", ec));
    journal.store(cleave_test::random_state(random, 5), ec);
    CHECK_FALSE(journal.open("target", ec));
    journal.remove(ec);
    CHECK_FALSE(journal.open("target", ec));
    CHECK_FALSE(ec);
}
