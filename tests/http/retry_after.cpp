// SPDX-License-Identifier: BSL-1.0
//
// Retry-After in all its forms, and what is none of them.

#include <cleave/http/retry_after.hpp>

#include <http/read.hpp>
#include <support/catch.hpp>

#include <chrono>
#include <optional>
#include <string>

using cleave_test::head_text;
using cleave_test::read_head;
using namespace std::chrono_literals;

TEST_CASE("Retry-After (E11, E12, E13)") {
    struct row {
        std::string fields;
        std::optional<std::chrono::seconds> delay;
    };
    std::string const date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    row const rows[] = {
        {"", {}},
        {"Retry-After: 2\r\n", 2s},
        {"retry-after:\t0120 \r\n", 120s},
        {"Retry-After: 0\r\n", 0s},
        {"Retry-After: 86399\r\n", 86399s},
        {"Retry-After: 86400\r\n", 24h},
        // E12
        {"Retry-After: Sun, 06 Nov 1994 08:49:40 GMT\r\n" + date, 3s},
        {date + "Retry-After: Sunday, 06-Nov-94 08:50:37 GMT\r\n", 60s},
        {date + "Retry-After: Sun Nov  6 09:49:37 1994\r\n", 1h},
        {date + "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 0s},
        {date + "Retry-After: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 0s},
        {date + "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 0s},
        {"Retry-After: Sun, 06 Nov 1994 08:49:40 GMT\r\n", {}},
        {date + date + "Retry-After: Sun, 06 Nov 1994 08:49:40 GMT\r\n", {}},
        {"Date: x\r\nRetry-After: Sun, 06 Nov 1994 08:49:40 GMT\r\n", {}},
        {date + "Retry-After: -5\r\n", {}},
        {date + "Retry-After: +5\r\n", {}},
        {date + "Retry-After: 1.5\r\n", {}},
        {date + "Retry-After: 5s\r\n", {}},
        {date + "Retry-After: 5, 5\r\n", {}},
        {date + "Retry-After:\r\n", {}},
        {date + "Retry-After: soon\r\n", {}},
        {"Retry-After: 5\r\nRetry-After: 5\r\n", {}},
        {"Retry-After: 5\r\nRetry-After: 6\r\n", {}},
        // E13
        {"Retry-After: 9223372037\r\n", 24h},
        {"Retry-After: 9223372036854775808\r\n", 24h},
        {"Retry-After: 99999999999999999999\r\n", 24h},
        {"Retry-After: " + std::string(1000, '9') + "\r\n", 24h},
        {date + "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", 24h},
    };
    for (row const& r : rows) {
        INFO(r.fields);
        CHECK(cleave::read_retry_after(read_head{head_text(503, r.fields)}) == r.delay);
    }
}
