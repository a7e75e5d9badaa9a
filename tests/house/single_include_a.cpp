// SPDX-License-Identifier: BSL-1.0
//
// One half of a program that includes the single header twice over. That it links shows that
// nothing in the header is defined without `inline`; its main shows that both halves share one
// definition.

#include <cleave/cleave.hpp>

#include <iostream>

void const* address_seen_by_b();

int main() {
    if (address_seen_by_b() != &cleave::version_string) {
        std::cerr << "the two source files do not share one definition of version_string\n";
        return 1;
    }
    std::cout << "cleave " << cleave::version_string << '\n';
}
