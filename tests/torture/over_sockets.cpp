// SPDX-License-Identifier: BSL-1.0
//
// The reference download over sockets, and the server for it.

#include <torture/reference.hpp>

#include <support/fault_server.hpp>
#include <support/temp_dir.hpp>
#include <support/tls_server.hpp>

#include <cleave/cleave.hpp>

#include <asio/io_context.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cleave_test::torture {

// Not in an unnamed namespace: functions in a stack are to be found by their names.
namespace sockets {

cleave::tls_connector connector_for(std::string const& url, cleave::connection_pool const& pool) {
    // By address: whom the system trusts, as SSL_CERT_FILE has it, and nothing shown.
    if (url.starts_with("https://127")) return {{}, pool};
    std::string const files = std::getenv("CLEAVE_TORTURE_FILES");
    return {{.ca_file = files + "/ca.pem",
             .ca_pem = test_authority().pem(),
             .certificate_file = files + "/client.pem",
             .pins = {cleave::detail::tls_pin_of(local_identity().certificate.get())}},
            pool};
}

// The download, with all that it has in common with others in `pool`; everything from here on
// counts.
template <class Sink>
void download(outcome& e, cleave::request what, Sink sink, cleave::tls_connector const& connector,
              std::string const& digest) {
    asio::io_context context;
    cleave::control const control;
    noting(e, [&] {
        cleave::async_download(context.get_executor(), std::move(what), std::move(sink),
                               policies_for(connector, control, digest), into(e));
        context.run();
    });
}

// Leaves two connections in the pool.
void warm_up(std::string const& url, std::string const& target,
             cleave::tls_connector const& connector) {
    outcome e;
    auto what = request_for(url, false);
    what.only({0, 131'071});
    download(e, std::move(what), cleave::file_sink{target + ".warm"}, connector,
             sha256_hex(body(the_object(), 0, 131'071)));
    if (e.calls != 1 || e.ec) throw std::runtime_error{"the first download: " + e.ec.message()};
}

template <class Sink, class... Result>
outcome run(std::string const& url, std::string const& target, bool kept,
            std::optional<fault> const& f, Result&... result) {
    outcome e;
    static std::string const digest = sha256_hex(the_object().bytes);
    auto what = request_for(url, f.has_value());
    auto pool =
        std::make_unique<cleave::connection_pool>(cleave::pool_limits{.most_idle = kept ? 8U : 0U});
    auto connector = std::make_unique<cleave::tls_connector>(connector_for(url, *pool));
    if (kept) warm_up(url, target, *connector);

    std::optional<counting> count;
    if (f) count.emplace(*f);
    noting(e, [&] {
        download(e, std::move(what), Sink{target, result...}, *connector, digest);
        connector.reset();
        pool.reset();
    });
    return e;
}

outcome run_mapped(std::string const& url, std::string const& target, bool kept,
                   std::optional<fault> const& f) {
    cleave::mapped_bytes result;
    outcome e = run<cleave::mapped_file_sink>(url, target, kept, f, result);
    auto const bytes = result.bytes();
    bool const there = !bytes.empty();
    bool const right = bytes.size() == the_object().bytes.size() &&
                       std::memcmp(bytes.data(), the_object().bytes.data(), bytes.size()) == 0;
    if (there ? !right : e.calls != 0 && !e.ec) e.wrong = "the mapping is not the file";
    return e;
}

void begin_and_cancel(std::string const& url, std::string const& target) {
    outcome e;
    cleave::control const control;
    asio::io_context context;
    auto stop = [&](cleave::progress const& p) {
        if (p.bytes >= 150'000) control.cancel();
    };
    cleave::async_download(
        context.get_executor(), request_for(url, false), cleave::file_sink{target},
        policies_for(connector_for(url, cleave::connection_pool{}), control)
            .with_observer(cleave::on_progress(std::chrono::nanoseconds{0}, 30'000, stop)),
        into(e));
    context.run();
}

} // namespace sockets

reference over_sockets(std::string name, std::string url, socket_options o) {
    reference r;
    r.name = std::move(name);
    r.resumes = o.resumes;
    r.download = [url, o](std::string const& target, std::optional<fault> const& f) {
        return o.sink == sink_kind::file ? sockets::run<cleave::file_sink>(url, target, o.kept, f)
                                         : sockets::run_mapped(url, target, o.kept, f);
    };
    r.begin = [url](std::string const& target) { sockets::begin_and_cancel(url, target); };
    return r;
}

server_process::server_process(std::string directory) {
    // Made here, so that servers and clients have the same ones.
    write_file(directory + "/ca.pem", test_authority().pem());
    static identity const client =
        make_identity({.extended_usage = "clientAuth"}, &test_authority());
    write_file(directory + "/client.pem", client.pem() + client.key_pem());
    ::setenv("CLEAVE_TORTURE_FILES", directory.c_str(), 1);
    ::setenv("SSL_CERT_FILE", (directory + "/ca.pem").c_str(), 1);
    (void)local_identity();

    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::system_error{errno, std::generic_category(), "pipe"};
    process_ = ::fork();
    if (process_ < 0) throw std::system_error{errno, std::generic_category(), "fork"};
    if (process_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        // Connections stay open in the server over TLS until it goes.
        rlimit files{};
        ::getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);
        fault_server plain{honest(the_object(), {.cut_after = cut_after, .applies = is_cut})};
        tls_server secure{forward_to(plain.port()), {.asks_certificate = true}};
        std::array<std::uint16_t, 2> const ports{plain.port(), secure.port()};
        [[maybe_unused]] auto const n = ::write(ends[1], ports.data(), sizeof ports);
        for (;;) ::pause();
    }
    ::close(ends[1]);
    std::array<std::uint16_t, 2> ports{};
    bool const told = ::read(ends[0], ports.data(), sizeof ports) == sizeof ports;
    ::close(ends[0]);
    if (!told) throw std::runtime_error{"the server did not start"};
    plain_port_ = ports[0];
    tls_port_ = ports[1];
}

server_process::~server_process() {
    ::kill(process_, SIGKILL);
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

std::string server_process::plain_url() const {
    return "http://127.0.0.1:" + std::to_string(plain_port_) + "/model.bin";
}
std::string server_process::tls_url(std::string_view host) const {
    return "https://" + std::string{host} + ":" + std::to_string(tls_port_) + "/model.bin";
}

} // namespace cleave_test::torture
