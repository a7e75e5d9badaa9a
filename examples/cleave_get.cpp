// SPDX-License-Identifier: BSL-1.0
//
// cleave-get: downloads one object over many connections at a time. Besides being of use it shows
// how policies are chosen when the program runs, how a download is watched, how bytes come in order
// where they must, and how a signal ends it cleanly, even while a name lookup hangs.
//
//   cleave-get -n 8 --digest sha-256=HEX https://example.org/object
//   https://mirror.example.org/object

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <sys/ioctl.h>
#include <unistd.h>

#include <cleave/cleave.hpp>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "chosen_plan.hpp"
#include "metalink.hpp"

namespace {

using namespace std::chrono_literals;

// --- Policies that are chosen when the program runs ----------------------------------------------

using chosen_plan = example::chosen_plan<cleave::guided, cleave::fixed_size, cleave::even_split,
                                         cleave::listed_segments>;
static_assert(cleave::range_planner<chosen_plan>);

// As many lanes as the server is good for, or a number.
struct chosen_lanes {
    std::variant<cleave::fixed_lanes, cleave::adaptive_lanes> is;

    std::uint32_t most() const noexcept {
        return std::visit([](auto const& l) { return l.most(); }, is);
    }
    std::uint32_t want(cleave::lanes_state const& s) noexcept {
        return std::visit([&](auto& l) { return l.want(s); }, is);
    }
};
static_assert(cleave::lane_rule<chosen_lanes>);

// A verifier that expects a digest of the whole, digests of pieces, both, or nothing.
struct chosen_digest {
    using hasher_type = cleave::openssl_hasher;
    std::optional<cleave::digest> expected;
    std::optional<cleave::piece_digests> of_pieces;

    bool wanted() const noexcept { return expected.has_value(); }
    std::error_code fault() const {
        if (of_pieces && of_pieces->fault()) return of_pieces->fault();
        return expected ? expected->fault() : std::error_code{};
    }
    hasher_type make_hasher() const {
        return expected ? expected->make_hasher() : hasher_type{cleave::digest_algorithm::sha256};
    }
    bool matches(cleave::digest_value const& got) const noexcept {
        return !expected || expected->matches(got);
    }
    std::uint64_t expectation() const noexcept {
        return (expected ? expected->expectation() : 0) ^
               (of_pieces ? of_pieces->expectation() : 0);
    }
    cleave::piece_expectation pieces() const noexcept {
        return of_pieces ? of_pieces->pieces() : cleave::piece_expectation{};
    }
    hasher_type make_piece_hasher() const {
        return of_pieces ? of_pieces->make_piece_hasher() : make_hasher();
    }
    bool matches_piece(std::uint64_t index, cleave::digest_value const& got) const noexcept {
        return !of_pieces || of_pieces->matches_piece(index, got);
    }
};
static_assert(cleave::piece_verifier<chosen_digest>);

// A journal that may be told to forget what an earlier run left, or to keep nothing at all.
struct chosen_journal {
    cleave::file_journal is;
    bool from_the_start = false;

    bool keeps(std::string const& target) const noexcept { return is.keeps(target); }
    std::optional<cleave::resume_state> open(std::string const& target, std::error_code& ec) {
        auto left = is.open(target, ec);
        if (!ec && from_the_start && left) {
            is.store({}, ec);
            left.reset();
        }
        return left;
    }
    void store(cleave::resume_state const& s, std::error_code& ec) { is.store(s, ec); }
    void remove(std::error_code& ec) { is.remove(ec); }
    bool durable() const noexcept { return is.durable(); }
    cleave::journal_interval interval() const noexcept { return is.interval(); }
};
static_assert(cleave::resume_journal<chosen_journal>);

// Fresh URLs from a command: the first line that it writes.
struct command_source {
    std::string command;

    bool available() const noexcept { return !command.empty(); }
    template <class Handler>
    void async_fetch(cleave::request const& old, Handler h) const {
        cleave::blocking_source{[command = command](cleave::request const& r, std::error_code& ec) {
            return ask(command, r, ec);
        }}.async_fetch(old, std::move(h));
    }

  private:
    static cleave::request ask(std::string const& command, cleave::request fresh,
                               std::error_code& ec) {
        std::string line;
        std::FILE* const pipe = ::popen(command.c_str(), "r");
        for (int c = 0; pipe != nullptr && (c = std::fgetc(pipe)) != EOF && c != '\n';)
            line += static_cast<char>(c);
        if (pipe == nullptr || ::pclose(pipe) != 0 || line.empty())
            ec = cleave::error::no_fresh_request;
        else
            fresh.target = cleave::url::parse(line, ec);
        return fresh;
    }
};
static_assert(cleave::request_source<command_source>);

// At one go, so that it stays one line whoever else writes there.
void say(std::string const& text) { std::cerr << "cleave-get: " + text + '\n'; }

// --- The command line ----------------------------------------------------------------------------

struct options {
    cleave::request what;
    std::string target;
    chosen_lanes lanes{cleave::fixed_lanes{}};
    chosen_plan plan;
    std::string sink = "file";
    std::uint64_t rate = 0;
    cleave::backoff renew;
    bool from_the_start = false;
    bool durable = false;
    std::string renew_command;
    cleave::tls_settings tls;
    cleave::proxy_rules proxies = cleave::proxy_rules::from_environment();
    cleave::address_family family = cleave::address_family::any;
    chosen_digest verify;
    std::string digest_name; // "sha-256", or "pieces", for the last line
    bool quiet = false;
    bool json = false;
};

using usage_error = CLI::ValidationError; // what is wrong with which option

// "512K", "8M", "1G", or plain bytes.
std::uint64_t parse_size(char const* option, std::string_view text) {
    std::uint64_t size = 0;
    char const* const end = text.data() + text.size();
    auto const [stop, error] = std::from_chars(text.data(), end, size);
    unsigned shift = 0;
    if (end - stop == 1) shift = *stop == 'K' ? 10 : *stop == 'M' ? 20 : *stop == 'G' ? 30 : 64;
    if (error != std::errc{} || end - stop > 1 || shift == 64 || size == 0 ||
        size > cleave::max_offset >> shift)
        throw usage_error{option, "give bytes, as in 512K, 8M or 1G; less than 2^64"};
    return size << shift;
}

// "sha-256=HEX", "SHA512:HEX". The digits are for the library to judge.
void parse_digest(std::string_view text, options& to) {
    auto const middle = std::min(text.find_first_of("=:"), text.size());
    auto const algorithm = cleave::parse_digest_algorithm(text.substr(0, middle));
    if (middle == text.size() || !algorithm)
        throw usage_error{"--digest", "write it as sha-256=HEX or sha-512=HEX"};
    to.verify.expected.emplace(*algorithm, text.substr(middle + 1));
    to.digest_name = cleave::to_string(*algorithm);
}

// A file whose first line is "sha-256 BYTES", followed by one digest for each piece.
void parse_pieces(std::string const& name, options& to) {
    std::ifstream in{name, std::ios::binary};
    std::string const text{std::istreambuf_iterator<char>{in}, {}};
    if (!in) throw usage_error{"--pieces", "cannot read " + name};
    auto read = cleave::parse_pieces(text);
    if (!read.list) throw usage_error{"--pieces", name + ", " + read.fault};
    to.verify.of_pieces.emplace(*std::move(read.list));
    if (to.digest_name.empty()) to.digest_name = "every piece";
}

// What a Metalink says of its file; the command line may say otherwise.
void use_metalink(std::string const& name, options& to) {
    std::ifstream in{name, std::ios::binary};
    std::string const text{std::istreambuf_iterator<char>{in}, {}};
    if (!in) throw usage_error{"--metalink", "cannot read " + name};
    std::string fault;
    auto const file = example::read_metalink(text, fault);
    if (!file) throw usage_error{"--metalink", name + ", " + fault};
    to.what.target = file->urls.front();
    to.what.mirrors.assign(file->urls.begin() + 1, file->urls.end());
    if (file->size) to.what.max_size = *file->size;
    if (to.target.empty()) to.target = file->name;
    if (file->pieces) {
        to.verify.of_pieces.emplace(*file->pieces);
        to.digest_name = "every piece";
    }
    if (file->digest) {
        to.verify.expected.emplace(file->digest->algorithm, file->digest->hex);
        to.digest_name = cleave::to_string(file->digest->algorithm);
    }
}

// "user:password", as curl takes it: without a colon the password is empty.
void parse_user(std::string_view text, cleave::request& to) {
    auto const colon = std::min(text.find(':'), text.size());
    to.with_credentials(text.substr(0, colon),
                        colon == text.size() ? std::string_view{} : text.substr(colon + 1));
    if (to.url_error) throw usage_error{"--user", "it holds a control character"};
}

// "8", or "adaptive".
chosen_lanes parse_lanes(std::string const& text) {
    if (text == "adaptive") return {cleave::adaptive_lanes{}};
    std::uint32_t lanes = 0;
    char const* const end = text.data() + text.size();
    auto const [stop, error] = std::from_chars(text.data(), end, lanes);
    if (error != std::errc{} || stop != end || lanes == 0 || lanes > 1024)
        throw usage_error{"--lanes", "give a number from 1 to 1024, or adaptive"};
    return {cleave::fixed_lanes{lanes}};
}

// "Name: value", without the blanks before the value; the library judges the rest.
cleave::header parse_header(std::string const& text) {
    auto const colon = text.find(':');
    if (colon == std::string::npos) throw usage_error{"--header", "write it as 'Name: value'"};
    auto const value = text.find_first_not_of(" \t", colon + 1);
    return {text.substr(0, colon), value == std::string::npos ? "" : text.substr(value)};
}

std::chrono::nanoseconds parse_time(char const* option, double seconds) {
    if (!(seconds >= 1e-9 && seconds <= 1e9))
        throw usage_error{option, "give a positive number of seconds"};
    return std::chrono::nanoseconds{static_cast<std::int64_t>(seconds * 1e9)};
}

// Ends the program itself where there is nothing to download: after --help, or a usage error.
options parse(int argc, char** argv) {
    options o;
    std::vector<std::string> urls;
    std::optional<std::string> plan, size, list, digest, lanes, rate, pieces;
    std::optional<std::string> metalink, user, proxy, no_proxy;
    std::optional<double> connect, stall, deadline;
    std::optional<std::uint32_t> retries;
    bool only_v4 = false, only_v6 = false;
    std::vector<std::string> headers;

    CLI::App app{"Downloads one object over many connections at a time."};
    app.set_version_flag("--version", std::string{"cleave-get "} + cleave::version_string);
    app.footer(
        "The file appears under its name once it is complete, in place of one that was "
        "there. Until then\nits bytes are in FILE.part, and what of them is in place in "
        "FILE.cleave: a run that was\ninterrupted or failed is gone on with by the same "
        "command.\nCertificates are checked, against the system's CAs unless --cacert is given. "
        "Proxies are those of\nhttp_proxy, https_proxy, all_proxy and no_proxy, as curl reads "
        "them, unless --proxy is given.\nExit status: 0 done, 1 failed, 2 usage, 130 or 143 "
        "interrupted.");
    auto const add = [&](char const* name, auto& value, char const* type, char const* help) {
        return app.add_option(name, value, help)->type_name(type);
    };
    add("URL", urls, "", "what to download, http(s)://...; more of them are mirrors");
    add("-o", o.target, "FILE", "file to make; else named as the last part of the URL's path");
    add("-n,--lanes", lanes, "N", "connections at a time, 8 if not given; or adaptive");
    auto* const by_name =
        add("--plan", plan, "PLAN", "how to cut it: guided (if not given), even, or fixed")
            ->check(CLI::IsMember({"guided", "even", "fixed"}));
    auto* const by_size =
        add("--segment-size", size, "SIZE", "with --plan fixed, bytes a segment; 4M if not given");
    add("--segments", list, "LIST", "ask for exactly these, as in 0-1024,1025-2048")
        ->excludes(by_size, by_name);
    add("--sink", o.sink, "SINK", "where to: file (if not given), mapped, stdout, or null")
        ->check(CLI::IsMember({"file", "mapped", "stdout", "null"}));
    add("--limit-rate", rate, "RATE", "bytes a second over all connections, as in 500K or 2M");
    add("--digest", digest, "DIGEST", "the object's: sha-256=HEX or sha-512=HEX; sha-1, md5");
    add("--pieces", pieces, "FILE", "digests of pieces: 'sha-256 BYTES', then one a line");
    add("--connect-timeout", connect, "S", "seconds to resolve and connect, 15 if not given");
    add("--stall-timeout", stall, "S", "seconds without any answer or byte, 30 if not given");
    add("--deadline", deadline, "S", "seconds for the whole download");
    add("--retries", retries, "N",
        "tries of a connection in a row, without a byte, before it ends");
    add("--renew-command", o.renew_command, "CMD", "prints a fresh URL when this one has expired");
    app.add_flag("--no-resume", o.from_the_start, "begin at the first byte, whatever is there");
    app.add_flag("--durable", o.durable, "what has come survives a power cut, too");
    add("--header", headers, "HEADER", "request header, 'Name: value'; may be repeated")
        ->allow_extra_args(false);
    add("--metalink", metalink, "FILE", "Metalink 4: URLs, name and digests, in place of URL");
    add("--user", user, "USER:PASSWORD", "Basic credentials for the first URL's origin");
    add("-A,--user-agent", o.what.user_agent, "TEXT", "how to name itself; cleave if not given");
    add("--cacert", o.tls.ca_file, "FILE", "whom to trust, PEM; the system's CAs if not given");
    add("--cert", o.tls.certificate_file, "FILE", "the client's certificate, PEM, for that origin");
    add("--key", o.tls.key_file, "FILE", "its key, PEM; in the certificate's file if not given");
    add("--pinned", o.tls.pins, "PIN", "sha256//BASE64 of the server's public key; repeatable")
        ->allow_extra_args(false);
    add("--proxy", proxy, "PROXY", "[http|socks5|socks5h://][user:password@]host[:port]");
    add("--noproxy", no_proxy, "HOSTS", "hosts that are reached without it, by commas; * for all");
    auto* const v4 = app.add_flag("-4", only_v4, "IPv4 only; both are raced if not given");
    app.add_flag("-6", only_v6, "IPv6 only")->excludes(v4);
    app.add_flag("-q", o.quiet, "say nothing but errors");
    app.add_flag("--json", o.json, "print the report as JSON on standard output");

    try {
        app.parse(argc, argv);
        if (lanes) o.lanes = parse_lanes(*lanes);
        if (plan == "even") o.plan.is = cleave::even_split{o.lanes.most()};
        if (plan == "fixed") o.plan.is = cleave::fixed_size{};
        if (size && plan && plan != "fixed")
            throw usage_error{"--segment-size", "only --plan fixed has segments of one size"};
        if (size) o.plan.is = cleave::fixed_size{parse_size("--segment-size", *size)};
        if (list) {
            auto segments = example::read_segments(*list);
            if (!segments) throw usage_error{"--segments", "write it as 0-1024,1025-2048"};
            o.plan.is = cleave::listed_segments{*std::move(segments)};
        }
        if (rate) o.rate = parse_size("--limit-rate", *rate);
        if (digest) parse_digest(*digest, o);
        if (pieces) parse_pieces(*pieces, o);
        for (auto const& text : headers) o.what.headers.push_back(parse_header(text));
        if (retries) o.renew.tries = o.renew.first_tries = std::min(*retries, 1'000'000U) + 1;
        auto& times = o.what.timeouts;
        if (connect) times.connect = parse_time("--connect-timeout", *connect);
        if (stall) times.head = times.stall = parse_time("--stall-timeout", *stall);
        if (deadline) times.deadline = parse_time("--deadline", *deadline);
        if (metalink && !urls.empty())
            throw usage_error{"URL", "a Metalink says itself where its file is; give one of them"};
        if (metalink) {
            use_metalink(*metalink, o);
        } else {
            if (urls.empty()) throw CLI::RequiredError{"URL"};
            o.what.target = cleave::url::parse(urls.front(), o.what.url_error);
            for (auto at = urls.begin() + 1; at != urls.end(); ++at) o.what.with_mirror(*at);
            if (o.what.url_error) throw usage_error{"URL", o.what.url_error.message()};
        }
        if (user) parse_user(*user, o.what);
        if (proxy) o.proxies.http = o.proxies.https = *proxy;
        if (no_proxy) o.proxies.no_proxy = *no_proxy;
        if (only_v4) o.family = cleave::address_family::ipv4;
        if (only_v6) o.family = cleave::address_family::ipv6;
        if (o.target == "-") o.sink = "stdout";
        bool const makes_file = o.sink == "file" || o.sink == "mapped";
        if (!makes_file) o.target = o.sink;
        if (o.target.empty()) o.target = o.what.target.file_name();
        if (o.target.empty())
            throw usage_error{"URL", "its path gives no file name; give one with -o"};
        if (o.sink == "stdout" && o.json)
            throw usage_error{"--json", "standard output is taken by the bytes"};
    } catch (CLI::ParseError const& e) {
        if (e.get_exit_code() == 0) std::exit(app.exit(e));
        say(std::string{e.what()} + "; cleave-get --help tells more");
        std::exit(2);
    }
    return o;
}

// --- For people to read --------------------------------------------------------------------------

std::string decimal(double value, char const* unit) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(1) << value << unit;
    return text.str();
}

std::string in_bytes(double n) {
    if (n < 1024) return std::to_string(static_cast<int>(n)) + " B";
    char const* const units[] = {" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    auto const* unit = units;
    for (n /= 1024; n >= 1024 && unit + 1 != std::end(units); n /= 1024) ++unit;
    return decimal(n, *unit);
}
std::string in_bytes(std::uint64_t n) { return in_bytes(static_cast<double>(n)); }

std::string on_clock(double seconds) {
    auto const all = static_cast<std::uint64_t>(std::clamp(seconds, 0.0, 1e9));
    std::ostringstream text;
    text << std::setfill('0');
    if (all >= 3600) text << all / 3600 << ':' << std::setw(2);
    text << all / 60 % 60 << ':' << std::setw(2) << all % 60;
    return text.str();
}

std::string counted(std::uint64_t n, char const* one, char const* more) {
    return std::to_string(n) + (n == 1 ? one : more);
}

double in_seconds(std::chrono::nanoseconds time) {
    return std::chrono::duration<double>{time}.count();
}

std::string summary(options const& o, cleave::report const& r) {
    auto const time = in_seconds(r.elapsed);
    auto text = o.target + ": " + in_bytes(r.bytes) + " in " +
                (time < 60 ? decimal(time, " s") : on_clock(time)) + " (" +
                in_bytes(static_cast<double>(r.bytes - r.bytes_resumed) / std::max(time, 1e-9)) +
                "/s), " + counted(r.lanes, " lane, ", " lanes, ") +
                counted(r.requests, " request", " requests");
    text += r.bytes_resumed == 0 ? "" : ", " + in_bytes(r.bytes_resumed) + " were there already";
    text += r.redirects == 0 ? "" : ", " + counted(r.redirects, " redirect", " redirects");
    auto const dropped = std::count_if(r.mirrors.begin(), r.mirrors.end(),
                                       [](auto const& m) { return m.dropped.has_value(); });
    if (r.mirrors.size() > 1) text += ", " + std::to_string(r.mirrors.size()) + " mirrors";
    if (dropped != 0) text += " of which " + std::to_string(dropped) + " given up";
    text += r.refreshes == 0 ? "" : ", " + counted(r.refreshes, " fresh URL", " fresh URLs");
    text += r.retries == 0 ? "" : ", " + counted(r.retries, " retry", " retries");
    text += r.steals + r.hedges == 0 ? ""
                                     : ", " + counted(r.steals + r.hedges, " time", " times") +
                                           " a slow lane was helped";
    text += r.pieces_failed == 0
                ? ""
                : ", " + counted(r.pieces_failed, " bad piece", " bad pieces") + " fetched again";
    text += r.ranges || r.bytes == 0 || o.lanes.most() == 1 ? "" : ", the server sends no ranges";
    text += r.length_verified || r.digest_verified ? "" : ", its length is not certain";
    text += r.digest_verified ? ", " + o.digest_name + " verified" : "";
    return text;
}

// --- Progress ------------------------------------------------------------------------------------

// Shows progress on standard error: on a terminal in place, a row for each lane as far as they
// fit; elsewhere a line now and then.
class progress_display {
  public:
    explicit progress_display(bool quiet) : quiet_{quiet} {
        char const* const terminal = std::getenv("TERM");
        in_place_ = ::isatty(STDERR_FILENO) == 1 && terminal != nullptr &&
                    std::string_view{terminal} != "dumb";
    }

    std::chrono::nanoseconds interval() const { return quiet_ ? 0s : in_place_ ? 200ms : 5000ms; }

    void show(cleave::progress const& p) {
        if (in_place_) {
            draw(p);
        } else {
            say(headline(p));
        }
    }

    // Leaves the terminal as it was.
    void clear() {
        if (rows_drawn_ != 0) {
            std::cerr << go_up() + "\x1b[J";
            rows_drawn_ = 0;
        }
    }

  private:
    std::string headline(cleave::progress const& p) {
        std::string text;
        if (p.total) text += std::to_string(p.percent()) + "%, ";
        text += in_bytes(p.bytes);
        if (p.total) text += " of " + in_bytes(*p.total);
        text += ", " + in_bytes(p.rate) + "/s";
        if (p.total && p.bytes == *p.total) {
            text += ", finishing";
        } else if (p.left) {
            text += ", " + on_clock(in_seconds(*p.left)) + " left";
        }
        return text;
    }

    std::string row(std::size_t lane, cleave::lane_progress const& l, double now) {
        lane_rates_[lane].update(l.bytes, now);
        auto const rate = lane_rates_[lane].whole();
        std::ostringstream text;
        text << "lane " << std::setw(5) << std::left << lane << std::setw(11)
             << cleave::to_string(l.doing) << std::right << std::setw(11) << in_bytes(l.bytes)
             << std::setw(12) << in_bytes(rate) << "/s";
        if (l.bytes_asked) text << "  " << cleave::to_string(*l.bytes_asked);
        return text.str();
    }

    void draw(cleave::progress const& p) {
        winsize window{};
        if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) {
            window.ws_row = 24;
            window.ws_col = 80;
        }
        lane_rates_.resize(p.lanes.size());
        std::vector<std::string> rows{headline(p)};
        // One line of the screen is for the cursor, below all others.
        auto const fit = std::max<std::size_t>(window.ws_row, 2) - 1;
        for (std::size_t i = 0; i != p.lanes.size(); ++i) {
            auto const text = row(i, p.lanes[i], in_seconds(p.elapsed));
            if (rows.size() < fit) rows.push_back(text);
        }
        if (auto const hidden = p.lanes.size() + 1 - rows.size(); hidden != 0 && fit > 1)
            rows.back() = "and " + std::to_string(hidden + 1) + " more lanes";
        std::string all = go_up();
        for (auto const& text : rows) {
            // A row must not break into two, or going up would end in the wrong place.
            all += text.substr(0, window.ws_col - 1U) + "\x1b[K\n";
        }
        std::cerr << all + "\x1b[J";
        rows_drawn_ = rows.size();
    }

    std::string go_up() const {
        return rows_drawn_ == 0 ? "\r" : "\r\x1b[" + std::to_string(rows_drawn_) + "A";
    }

    bool quiet_ = false;
    bool in_place_ = false;
    std::size_t rows_drawn_ = 0;
    std::vector<cleave::smooth_rate> lane_rates_;
};

// --- For programs to read ------------------------------------------------------------------------

using json = nlohmann::ordered_json;

template <class Value>
json value_or_null(std::optional<Value> const& v) {
    return v ? json(*v) : json(nullptr);
}

json to_json(cleave::failure const& f) {
    std::string const category = f.code.category().name();
    std::optional<std::int64_t> retry_after;
    if (f.retry_after) retry_after = f.retry_after->count();
    return {{"code", category + ":" + std::to_string(f.code.value())},
            {"category", category},
            {"value", f.code.value()},
            {"message", f.message()},
            {"detail", f.detail},
            {"where", cleave::to_string(f.where)},
            {"cause", cleave::make_error_condition(f.kind).message()},
            {"status", f.status},
            {"retry_after", value_or_null(retry_after)}};
}

json to_json(cleave::mirror_report const& m) {
    json j{{"url", m.url}, {"bytes", m.bytes}};
    if (m.dropped) j["dropped"] = to_json(*m.dropped);
    return j;
}

json to_json(cleave::identity const& i) {
    char const* const kinds[] = {"none", "strong_etag", "last_modified"};
    return {{"size", value_or_null(i.size)},
            {"validator", kinds[static_cast<std::size_t>(i.validator.is)]},
            {"validator_text", i.validator.text},
            {"weak_etag", i.weak_etag}};
}

// Every field of the report under its own name, times in seconds; "error" only after a failure.
json to_json(cleave::report const& r) {
    json j{{"bytes", r.bytes},
           {"bytes_resumed", r.bytes_resumed},
           {"kept", r.kept},
           {"identity", to_json(r.identity)},
           {"ranges", r.ranges},
           {"length_verified", r.length_verified},
           {"digest_verified", r.digest_verified},
           {"lanes", r.lanes},
           {"connections", r.connections},
           {"requests", r.requests},
           {"retries", r.retries},
           {"retries_in_place", r.retries_in_place},
           {"lanes_given_up", r.lanes_given_up},
           {"redirects", r.redirects},
           {"refreshes", r.refreshes},
           {"one_stream", r.one_stream},
           {"new_versions", r.new_versions},
           {"stale_connections", r.stale_connections},
           {"restarts", r.restarts},
           {"handshakes_full", r.handshakes_full},
           {"handshakes_resumed", r.handshakes_resumed},
           {"kept_connections", r.kept_connections},
           {"steals", r.steals},
           {"hedges", r.hedges},
           {"hedges_won", r.hedges_won},
           {"bytes_hedged", r.bytes_hedged},
           {"pieces_failed", r.pieces_failed},
           {"bytes_twice", r.bytes_twice},
           {"bytes_copied", r.bytes_copied},
           {"bytes_spliced", r.bytes_spliced},
           {"grants", r.grants},
           {"reads", r.reads},
           {"to_first_reply", in_seconds(r.to_first_reply)},
           {"to_last_byte", in_seconds(r.to_last_byte)},
           {"elapsed", in_seconds(r.elapsed)}};
    for (auto const& m : r.mirrors) j["mirrors"].push_back(to_json(m));
    if (r.failed) j["error"] = to_json(*r.failed);
    return j;
}

// --- The download --------------------------------------------------------------------------------

// In order and complete, whatever the other end of a pipe takes at a time.
void write_to_stdout(std::span<std::byte const> bytes, std::error_code& ec) {
    while (!bytes.empty()) {
        auto const n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            ec.assign(errno, std::system_category());
            return;
        }
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
}

int exit_code(cleave::report const& r, int signal) {
    if (!r.failed) return 0;
    if (signal != 0 && r.failed->code == cleave::error::cancelled) return 128 + signal;
    bool const usage = r.failed->kind == cleave::cause::configuration &&
                       r.failed->where == cleave::phase::setup && r.connections == 0;
    return usage ? 2 : 1;
}

[[noreturn]] void run(options const& o) {
    asio::io_context context{1};
    cleave::control control;
    int signalled = 0;
    asio::signal_set signals{context, SIGINT, SIGTERM};
    signals.async_wait([&](std::error_code ec, int signal) {
        if (ec) return;
        signalled = signal;
        control.cancel();
        // Whoever asks twice does not want to wait for the disk either.
        signals.clear(ec);
        auto const leave = [](int s) { std::_Exit(128 + s); };
        std::signal(SIGINT, leave);
        std::signal(SIGTERM, leave);
    });

    progress_display display{o.quiet};
    auto how =
        cleave::policies<>{}
            .with_plan(o.plan)
            .with_lanes(o.lanes)
            .with_verify(o.verify)
            .with_renewal(o.renew)
            .with_journal(chosen_journal{o.durable ? cleave::file_journal{}.durably()
                                                   : cleave::file_journal{},
                                         o.from_the_start})
            .with_source(command_source{o.renew_command})
            .with_connector(cleave::tls_connector{o.tls, {.family = o.family}}.via(
                cleave::any_proxies{o.proxies}))
            .with_pace(cleave::token_bucket{o.rate})
            .with_observer(cleave::on_progress(
                display.interval(), [&display](cleave::progress const& p) { display.show(p); }))
            .with_control(control);
    std::optional<cleave::report> report;
    auto const into = [&](auto sink) {
        cleave::async_download(context.get_executor(), o.what, std::move(sink), std::move(how),
                               [&](std::error_code, cleave::report r) { report = std::move(r); });
    };
    std::vector<std::byte> window;
    if (o.sink == "mapped") {
        into(cleave::mapped_file_sink{o.target});
    } else if (o.sink == "null") {
        into(cleave::null_sink{});
    } else if (o.sink == "stdout") {
        // Room for a piece where pieces are to be proven before they are let out.
        constexpr std::uint64_t chunk = 64 * 1024;
        auto const piece = o.verify.pieces().size;
        auto const room = std::max<std::uint64_t>(4U << 20U, (piece / chunk + 2) * chunk);
        window.resize(static_cast<std::size_t>(room));
        into(cleave::ordered_sink{window, chunk, write_to_stdout});
    } else {
        into(cleave::file_sink{o.target});
    }
    while (!report) context.run_one();

    display.clear();
    int code = exit_code(*report, signalled);
    if (o.json) {
        // What a server said of its object need not be UTF-8.
        std::cout << to_json(*report).dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
        if (!std::cout.flush()) {
            say("the report could not be written to standard output");
            code = std::max(code, 1);
        }
    }
    if (report->failed) {
        say(report->failed->message());
        if (report->kept && !o.quiet)
            say(in_bytes(report->bytes) + " are kept in " + o.target +
                ".part; the same command goes on from there");
    } else if (!o.quiet) {
        say(summary(o, *report));
    }
    // Not by way of destructors: a name lookup that hangs on its thread would be waited for.
    std::_Exit(code);
}

} // namespace

int main(int argc, char** argv) {
    try {
        run(parse(argc, argv));
    } catch (std::exception const& e) {
        say(e.what());
        return 1;
    }
}
