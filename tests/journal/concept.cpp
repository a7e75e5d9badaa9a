// SPDX-License-Identifier: BSL-1.0
//
// What is a resume journal, and what nearly is one: a type for each thing that may be wrong.
#include <laws/journal_laws.hpp>
#include <laws/random.hpp>
#include <support/catch.hpp>

#include <cleave/journal/concept.hpp>
#include <cleave/journal/file_journal.hpp>
#include <cleave/journal/no_journal.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using cleave::journal_interval;
using cleave::resume_journal;
using cleave::resume_state;

namespace {

struct least {
    bool keeps(std::string const&) const noexcept { return true; }
    std::optional<resume_state> open(std::string const&, std::error_code&) { return {}; }
    void store(resume_state const&, std::error_code&) {}
    void remove(std::error_code&) {}
    bool durable() const noexcept { return false; }
    journal_interval interval() const noexcept { return {}; }
};

struct immovable : least {
    immovable(immovable&&) = delete;
};
struct without_keeps : least {
    int keeps;
};
struct keeps_throws : least {
    bool keeps(std::string const&) const;
};
struct keeps_changes_it : least {
    bool keeps(std::string const&) noexcept;
};
struct keeps_changes_target : least {
    bool keeps(std::string&) const noexcept;
};
struct keeps_answers_number : least {
    int keeps(std::string const&) const noexcept;
};
struct without_open : least {
    int open;
};
struct open_changes_target : least {
    std::optional<resume_state> open(std::string&, std::error_code&);
};
struct open_without_error : least {
    std::optional<resume_state> open(std::string const&);
};
struct open_answers_always : least {
    resume_state open(std::string const&, std::error_code&);
};
struct open_answers_pointer : least {
    resume_state const* open(std::string const&, std::error_code&);
};
struct without_store : least {
    int store;
};
struct store_changes_state : least {
    void store(resume_state&, std::error_code&);
};
struct store_without_error : least {
    void store(resume_state const&);
};
struct without_remove : least {
    int remove;
};
struct remove_without_error : least {
    void remove();
};
struct without_durable : least {
    int durable;
};
struct durable_throws : least {
    bool durable() const;
};
struct durable_changes_it : least {
    bool durable() noexcept;
};
struct durable_answers_number : least {
    int durable() const noexcept;
};
struct without_interval : least {
    int interval;
};
struct interval_throws : least {
    journal_interval interval() const;
};
struct interval_changes_it : least {
    journal_interval interval() noexcept;
};
struct interval_answers_time : least {
    std::chrono::nanoseconds interval() const noexcept;
};

} // namespace

TEST_CASE("resume_journal: what is one") {
    STATIC_REQUIRE(resume_journal<least>);
    STATIC_REQUIRE(resume_journal<cleave::file_journal>);
    STATIC_REQUIRE(resume_journal<cleave::no_journal>);
}

TEST_CASE("resume_journal: what nearly is one") {
    STATIC_REQUIRE_FALSE(resume_journal<immovable>);
    STATIC_REQUIRE_FALSE(resume_journal<without_keeps>);
    STATIC_REQUIRE_FALSE(resume_journal<keeps_throws>);
    STATIC_REQUIRE_FALSE(resume_journal<keeps_changes_it>);
    STATIC_REQUIRE_FALSE(resume_journal<keeps_changes_target>);
    STATIC_REQUIRE_FALSE(resume_journal<keeps_answers_number>);
    STATIC_REQUIRE_FALSE(resume_journal<without_open>);
    STATIC_REQUIRE_FALSE(resume_journal<open_changes_target>);
    STATIC_REQUIRE_FALSE(resume_journal<open_without_error>);
    STATIC_REQUIRE_FALSE(resume_journal<open_answers_always>);
    STATIC_REQUIRE_FALSE(resume_journal<open_answers_pointer>);
    STATIC_REQUIRE_FALSE(resume_journal<without_store>);
    STATIC_REQUIRE_FALSE(resume_journal<store_changes_state>);
    STATIC_REQUIRE_FALSE(resume_journal<store_without_error>);
    STATIC_REQUIRE_FALSE(resume_journal<without_remove>);
    STATIC_REQUIRE_FALSE(resume_journal<remove_without_error>);
    STATIC_REQUIRE_FALSE(resume_journal<without_durable>);
    STATIC_REQUIRE_FALSE(resume_journal<durable_throws>);
    STATIC_REQUIRE_FALSE(resume_journal<durable_changes_it>);
    STATIC_REQUIRE_FALSE(resume_journal<durable_answers_number>);
    STATIC_REQUIRE_FALSE(resume_journal<without_interval>);
    STATIC_REQUIRE_FALSE(resume_journal<interval_throws>);
    STATIC_REQUIRE_FALSE(resume_journal<interval_changes_it>);
    STATIC_REQUIRE_FALSE(resume_journal<interval_answers_time>);
    STATIC_REQUIRE_FALSE(resume_journal<std::uint32_t>);
}

TEST_CASE("resume_journal: nothing is known at the start, and journals are told now and then") {
    resume_state const start;
    CHECK_FALSE(start.identity.size);
    CHECK(start.in_place.empty());
    CHECK(start.expectation == 0);
    STATIC_REQUIRE(journal_interval{}.bytes > 0);
    STATIC_REQUIRE(journal_interval{}.time.count() > 0);
}

namespace {

// What lies somewhere, for journals that break the laws over it.
struct shelf {
    std::optional<resume_state> state;
    std::vector<resume_state> all;
    std::string bytes = "0";
    std::string read() const { return bytes; }
    void write(std::string to) { bytes = std::move(to); }
};

struct on_shelf : least {
    shelf* at;
    explicit on_shelf(shelf& s) : at(&s) {}
    std::optional<resume_state> open(std::string const&, std::error_code&) { return at->state; }
    void store(resume_state const& s, std::error_code&) { at->state = s; }
    void remove(std::error_code&) { at->state.reset(); }
};
struct forgets : on_shelf {
    using on_shelf::on_shelf;
    std::optional<resume_state> open(std::string const&, std::error_code&) { return {}; }
};
struct claims_more : on_shelf {
    using on_shelf::on_shelf;
    void store(resume_state const& s, std::error_code&) {
        at->state = s;
        if (!at->state->in_place.empty()) ++at->state->in_place.back().bytes.last;
    }
};
struct never_removes : on_shelf {
    using on_shelf::on_shelf;
    void remove(std::error_code&) {}
};
// The number of the newest state, twice, and always in the same place.
struct in_place_only : on_shelf {
    using on_shelf::on_shelf;
    std::optional<resume_state> open(std::string const&, std::error_code&) {
        if (at->bytes.size() != 2 || at->bytes[0] != at->bytes[1]) return {};
        return at->all.at(static_cast<unsigned char>(at->bytes[0]));
    }
    void store(resume_state const& s, std::error_code&) {
        at->bytes.assign(2, static_cast<char>(at->all.size()));
        at->all.push_back(s);
    }
};
struct believes_all : on_shelf {
    using on_shelf::on_shelf;
    std::optional<resume_state> open(std::string const&, std::error_code&) {
        auto answer = at->state;
        if (at->bytes != "0") ++answer->expectation;
        return answer;
    }
};

template <class J>
std::string broken() {
    shelf s;
    cleave_test::random_source random{1};
    return cleave_test::broken_journal([&] { return J{s}; }, "t", true, 5, random, 200);
}

} // namespace

TEST_CASE("the laws find journals that break them") {
    using cleave_test::random_source;
    CHECK(broken<on_shelf>() == "");
    CHECK(broken<forgets>().find("all that was stored") != std::string::npos);
    CHECK(broken<claims_more>().find("what was stored") != std::string::npos);
    CHECK(broken<never_removes>().find("what was stored") != std::string::npos);

    shelf s;
    random_source random{2};
    CHECK(cleave_test::broken_crash([&] { return in_place_only{s}; }, s, "t", 5, random)
              .find("not nothing") != std::string::npos);

    s = {cleave_test::random_state(random, 5), {}, "0"};
    auto const damaged = [&](auto make) {
        return cleave_test::broken_by_damage(make, s, "t", s.state, std::nullopt, {0});
    };
    CHECK(damaged([&] { return on_shelf{s}; }) == "");
    CHECK(damaged([&] { return believes_all{s}; }).find("at 0 is believed") != std::string::npos);
}
