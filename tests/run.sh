#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Builds cleave and runs its tests on a Debian 12 that may have nothing yet:
#
#     sh tests/run.sh [clang|dev|release|asan|tsan]
#
# With Clang unless told otherwise, which takes half as long as GCC (dev). Installs the packages that
# are missing, and touches nothing when none is.

set -eu
cd "$(dirname "$0")/.."
preset=${1:-clang}

packages="g++ cmake ninja-build ccache libasio-dev libssl-dev catch2 libbenchmark-dev
    libcli11-dev nlohmann-json3-dev libpugixml-dev libmosquitto-dev mosquitto nginx-light
    tinyproxy microsocks faketime
    openssl python3 curl ca-certificates procps strace make pkg-config
    codespell shellcheck clang-format-14? clang-tidy-14? doxygen"
case $preset in
    dev | release | asan | tsan) ;;
    clang | fuzz) packages="$packages clang libclang-rt-dev" ;;
    *) echo "run.sh: no test preset '$preset'; use clang, dev, release, asan or tsan" >&2; exit 2 ;;
esac

. .ci/packages.sh
# shellcheck disable=SC2086
need_packages $packages

echo "== Configuring preset $preset"
cmake --preset "$preset"
echo "== Building"
cmake --build --preset "$preset"
if [ "$preset" = fuzz ]; then exit 0; fi
echo "== Testing"
ctest --preset "$preset"
