// SPDX-License-Identifier: BSL-1.0
//
// The same without OpenSSL: a download by what `download.hpp` brings.
//
//   plain <url> <file>

#include <cleave/download.hpp>

#include <iostream>

#if defined(OPENSSL_VERSION_NUMBER)
#error "download.hpp brings OpenSSL along"
#endif

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    try {
        auto const report = cleave::download(argv[1], argv[2]);
        std::cout << report.bytes << " bytes over " << report.lanes << " lanes\n";
    } catch (cleave::download_error const& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
