#include <cleave/download.hpp>

#include <iostream>
#include <system_error>

int main() {
    // Refused before anything is sent.
    std::error_code ec;
    cleave::download("ftp://example.org/model.bin", "model.bin", ec);
    std::cout << "cleave " << cleave::version_string << ": " << ec.message() << '\n';
    return ec == cleave::error::unsupported_scheme ? 0 : 1;
}
