// SPDX-License-Identifier: BSL-1.0
//
// A program with everything: over TLS, and with a SHA-256 to be verified.

#include <cleave/cleave.hpp>

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    std::error_code ec;
    cleave::download(argv[1], argv[2],
                     cleave::policies<>{}
                         .with_connector(cleave::tls_connector{})
                         .with_verify(cleave::sha256(argv[3])),
                     ec);
    return ec ? 1 : 0;
}
