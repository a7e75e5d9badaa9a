// SPDX-License-Identifier: BSL-1.0
//
// What whoever uses cleave writes first: a download over TLS, verified, over several lanes. Each
// way to include the library builds this one.
//
//   main <url> <file> <sha256> <ca file>

#include <cleave/cleave.hpp>

#include <iostream>
#include <utility>

int main(int argc, char** argv) {
    if (argc != 5) return 2;
    auto how = cleave::policies<>{}
                   .with_verify(cleave::sha256(argv[3]))
                   .with_connector(cleave::tls_connector{{.ca_file = argv[4]}});
    try {
        auto const report = cleave::download(argv[1], argv[2], std::move(how));
        std::cout << report.bytes << " bytes over " << report.lanes << " lanes, "
                  << (report.digest_verified ? "verified" : "not verified") << '\n';
    } catch (cleave::download_error const& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
