// SPDX-License-Identifier: BSL-1.0
//
// Dates of HTTP, against the standard library's calendar.

#include <cleave/http/date.hpp>

#include <support/catch.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

using cleave::parse_http_date;

static_assert(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777);

namespace {

std::string digits(int n, std::size_t width) {
    std::string to = std::to_string(n);
    return std::string(width - to.size(), '0') + to;
}

} // namespace

TEST_CASE("the three forms of a date say the same (E12)") {
    CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777);
    CHECK(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == 784111777);
    CHECK(parse_http_date("Sun Nov  6 08:49:37 1994") == 784111777);
    CHECK(parse_http_date("Sun Nov 06 08:49:37 1994") == 784111777);
    CHECK(parse_http_date("Wed Nov 16 08:49:37 1994") == 784975777);
}

TEST_CASE("dates at the edges (E13)") {
    CHECK(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT") == 0);
    CHECK(parse_http_date("Wed, 31 Dec 1969 23:59:59 GMT") == -1);
    CHECK(parse_http_date("Tue, 19 Jan 2038 03:14:08 GMT") == std::int64_t{1} << 31);
    CHECK(parse_http_date("Fri, 31 Dec 9999 23:59:59 GMT") == 253402300799);
    CHECK(parse_http_date("Sat, 01 Jan 0000 00:00:00 GMT") == -62167219200);
    CHECK(parse_http_date("Tue, 29 Feb 2000 00:00:00 GMT") == 951782400);
    CHECK(parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228800); // a leap second
    // Two digits of a year: 70 to 99 and 00 to 69.
    CHECK(parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT") == 0);
    CHECK(parse_http_date("Friday, 31-Dec-99 00:00:00 GMT") == 946598400);
    CHECK(parse_http_date("Saturday, 01-Jan-00 00:00:00 GMT") == 946684800);
    CHECK(parse_http_date("Tuesday, 31-Dec-69 00:00:00 GMT") == 3155673600);
    // The day's name is not held against the date.
    CHECK(parse_http_date("Mon, 06 Nov 1994 08:49:37 GMT") == 784111777);
}

TEST_CASE("every day of two centuries") {
    using namespace std::chrono;
    constexpr char const* short_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr char const* long_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday"};
    constexpr char const* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (sys_days day = sys_days{year{1900} / 1 / 1}; day < sys_days{year{2110} / 1 / 1};
         day += days{1}) {
        year_month_day const ymd{day};
        int const y = static_cast<int>(ymd.year());
        int const d = static_cast<int>(static_cast<unsigned>(ymd.day()));
        std::string const month = months[static_cast<unsigned>(ymd.month()) - 1];
        unsigned const weekday_number = weekday{day}.c_encoding();
        std::int64_t const expected = day.time_since_epoch().count() * std::int64_t{86400} + 45296;

        std::string const fixdate = std::string(short_names[weekday_number]) + ", " + digits(d, 2) +
                                    " " + month + " " + digits(y, 4) + " 12:34:56 GMT";
        if (parse_http_date(fixdate) != expected) FAIL(fixdate);
        std::string const asctime = std::string(short_names[weekday_number]) + " " + month + " " +
                                    (d < 10 ? " " : "") + std::to_string(d) + " 12:34:56 " +
                                    digits(y, 4);
        if (parse_http_date(asctime) != expected) FAIL(asctime);
        if (y >= 1970 && y < 2070) {
            std::string const rfc850 = std::string(long_names[weekday_number]) + ", " +
                                       digits(d, 2) + "-" + month + "-" + digits(y % 100, 2) +
                                       " 12:34:56 GMT";
            if (parse_http_date(rfc850) != expected) FAIL(rfc850);
        }
    }
}

TEST_CASE("what is no date (E12)") {
    for (std::string_view const text : {"",
                                        " ",
                                        ",",
                                        "0",
                                        "-1",
                                        "120",
                                        "tomorrow",
                                        "Sun",
                                        "Sun,",
                                        "Sun, ",
                                        "Sunday",
                                        "Sun, 06 Nov 1994 08:49:37",
                                        "Sun, 06 Nov 1994 08:49:37 gmt",
                                        "Sun, 06 Nov 1994 08:49:37 UTC",
                                        "Sun, 06 Nov 1994 08:49:37 +0000",
                                        "Sun, 06 Nov 1994 08:49:37 GMT ",
                                        " Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 08:49:37 GMT0",
                                        "Sun,06 Nov 1994 08:49:37 GMT",
                                        "Sun,  06 Nov 1994 08:49:37 GMT",
                                        "Sun, 6 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 nov 1994 08:49:37 GMT",
                                        "sun, 06 Nov 1994 08:49:37 GMT",
                                        "Xyz, 06 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Xyz 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 94 08:49:37 GMT",
                                        "Sun, 06 Nov 10994 08:49:37 GMT",
                                        "Sun, 00 Nov 1994 08:49:37 GMT",
                                        "Sun, 31 Nov 1994 08:49:37 GMT",
                                        "Sun, 32 Dec 1994 08:49:37 GMT",
                                        "Wed, 29 Feb 2023 08:49:37 GMT",
                                        "Mon, 29 Feb 2100 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 24:00:00 GMT",
                                        "Sun, 06 Nov 1994 08:60:00 GMT",
                                        "Sun, 06 Nov 1994 08:00:61 GMT",
                                        "Sun, 06 Nov 1994 8:49:37 GMT",
                                        "Sun, 06 Nov 1994 08:49 GMT",
                                        "Sun, 06 Nov 1994 08.49.37 GMT",
                                        "Sun, -6 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nov -994 08:49:37 GMT",
                                        "Sun, 06-Nov-94 08:49:37 GMT",
                                        "Sunday, 06-Nov-1994 08:49:37 GMT",
                                        "Sunday, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 31-Feb-94 08:49:37 GMT",
                                        "Sunday 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov 6 08:49:37 1994",
                                        "Sun Nov   6 08:49:37 1994",
                                        "Sun Nov  6 08:49:37 94",
                                        "Sun Nov  6 08:49:37 1994 GMT",
                                        "Sun Nov  0 08:49:37 1994",
                                        "Sun  Nov  6 08:49:37 1994",
                                        "Sunday Nov  6 08:49:37 1994",
                                        "1994-11-06T08:49:37Z",
                                        "Sun Nov"}) {
        INFO(text);
        CHECK_FALSE(parse_http_date(text));
    }
    // Nor is anything that is cut short.
    std::string_view const whole[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                      "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};
    for (std::string_view const text : whole)
        for (std::size_t size = 0; size < text.size(); ++size)
            if (parse_http_date(text.substr(0, size))) FAIL(text.substr(0, size));
}
