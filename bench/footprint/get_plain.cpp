// SPDX-License-Identifier: BSL-1.0
//
// The least program: one object by plain TCP, into a file.

#include <cleave/download.hpp>

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    std::error_code ec;
    cleave::download(argv[1], argv[2], ec);
    return ec ? 1 : 0;
}
