// SPDX-License-Identifier: BSL-1.0
//
// What is tortured: a download of 300 kB over three lanes into a file, with a journal and a digest,
// from a server that cuts one of its connections. Over sockets from a server in a process of its
// own, so that none of its calls is counted, or in memory and virtual time.

#pragma once

#include <torture/calls.hpp>

#include <support/digest.hpp>

#include <cleave/base/request.hpp>
#include <cleave/base/units.hpp>
#include <cleave/download.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/verify/openssl_hasher.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/types.h>

namespace cleave_test::torture {

using cleave::testing::object;
using cleave::testing::seen_request;

/// How a download ended: with its handler, with an exception, or not at all.
struct outcome {
    int calls = 0; // of the handler
    std::error_code ec;
    cleave::report report;
    /// What left `async_download` or `run()`.
    std::string thrown;
    bool out_of_memory = false;
    /// What else is wrong.
    std::string wrong;
};

/// What is downloaded.
inline object const& the_object() {
    static object const o = object::random(300'000, 1);
    return o;
}

struct reference {
    std::string name;
    /// Into `target`: with this fault, short of patience, or undisturbed.
    std::function<outcome(std::string const& target, std::optional<fault> const&)> download;
    /// Leaves at `target` what a run that was cancelled half-way leaves.
    std::function<void(std::string const& target)> begin;
    /// Whether it goes on where such a run stopped.
    bool resumes = false;
};

/// As the handler of a download, with `e.calls` counted.
inline auto into(outcome& e) {
    return [&e](std::error_code ec, cleave::report r) {
        ++e.calls;
        e.ec = ec;
        e.report = std::move(r);
    };
}

/// Calls `f`, and notes what it throws.
template <class F>
void noting(outcome& e, F f) {
    try {
        f();
    } catch (std::bad_alloc const&) {
        e.thrown = "std::bad_alloc";
        e.out_of_memory = true;
    } catch (std::exception const& x) {
        e.thrown = x.what();
    } catch (...) {
        e.thrown = "something";
    }
}

/// The request, with the waiting times that a fault leaves it.
inline cleave::request request_for(std::string_view url, bool in_a_hurry) {
    cleave::request what{url};
    what.seed = 7;
    if (in_a_hurry) {
        using namespace std::chrono_literals;
        what.timeouts.connect = what.timeouts.head = what.timeouts.stall = 2s;
    }
    return what;
}

/// Policies with everything in them that needs memory, files or OpenSSL; many small steps.
template <class Connector>
auto policies_for(Connector connector, cleave::control const& control,
                  std::string const& digest = sha256_hex(the_object().bytes)) {
    using namespace std::chrono_literals;
    return cleave::policies<>{}
        .with_plan(cleave::fixed_size{64 * 1024})
        .with_lanes(cleave::fixed_lanes{3})
        .with_renewal(cleave::backoff{.tries = 3, .first = 1ms})
        .with_verify(cleave::sha256(digest))
        .with_observer(cleave::log_lines([](std::string_view) {}))
        .with_journal(cleave::file_journal{}.every({.bytes = 60'000, .time = 1h}))
        .with_windows({.grant = 32 * 1024, .hash = 128 * 1024, .hash_from = 64 * 1024})
        .with_connector(std::move(connector))
        .with_control(control);
}

/// Which replies the server cuts, after 20 kB: by what is asked for, so that it need not remember.
inline bool is_cut(seen_request const& r) {
    auto const range = r.range();
    return range && range->first == 131'072;
}
inline constexpr std::uint64_t cut_after = 20'000;

enum class sink_kind : std::uint8_t { file, mapped };
struct socket_options {
    sink_kind sink = sink_kind::file;
    bool resumes = false;
    /// Begins over connections that another download of its session has kept.
    bool kept = false;
};
/// Over sockets. The URL is of the plain server, or of the one over TLS.
[[nodiscard]] reference over_sockets(std::string name, std::string url, socket_options = {});

/// In memory and virtual time, but for the file; nothing of the network's is counted.
[[nodiscard]] reference in_memory(std::string name, bool resumes);

/// The server, and what clients need to trust it, as files in a directory.
class server_process {
  public:
    explicit server_process(std::string directory);
    ~server_process();
    server_process(server_process const&) = delete;
    server_process& operator=(server_process const&) = delete;

    [[nodiscard]] std::string plain_url() const;
    [[nodiscard]] std::string tls_url(std::string_view host) const;

  private:
    pid_t process_ = -1;
    std::uint16_t plain_port_ = 0;
    std::uint16_t tls_port_ = 0;
};

} // namespace cleave_test::torture
