// SPDX-License-Identifier: BSL-1.0
//
// The main function of every test program. Compiled once and shared, since with Catch2 version 2
// this file takes as long to compile as many tests.

#define CATCH_CONFIG_RUNNER
#include <support/catch.hpp>

int main(int argc, char* argv[]) { return Catch::Session().run(argc, argv); }
