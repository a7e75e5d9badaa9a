#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Builds cleave and runs its tests on a Debian 12 that may have nothing yet:
#
#     sh tests/run.sh [dev|release|asan|tsan|clang]
#
# Installs the packages that are missing, and touches nothing when none is.

set -eu
cd "$(dirname "$0")/.."
preset=${1:-dev}

packages="g++ cmake ninja-build ccache libasio-dev libssl-dev catch2 libbenchmark-dev
    libcli11-dev nlohmann-json3-dev nginx-light openssl python3 curl ca-certificates procps"
case $preset in
    dev | release | asan | tsan) ;;
    clang | fuzz) packages="$packages clang libclang-rt-14-dev" ;;
    *) echo "run.sh: no test preset '$preset'; use dev, release, asan, tsan or clang" >&2; exit 2 ;;
esac

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

install_missing() {
    missing=
    for package in $packages; do is_installed "$package" || missing="$missing $package"; done
    [ -n "$missing" ] || return 0

    echo "== Installing:$missing"
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            echo "run.sh: not root, and there is no sudo. As root, run:" >&2
            echo "    apt-get install$missing" >&2
            exit 1
        }
        as_root=sudo
    fi

    # Tests start an nginx of their own; keep the package from starting one on port 80.
    guard=/usr/sbin/policy-rc.d
    if [ ! -e $guard ]; then
        trap '$as_root rm -f $guard' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' | $as_root tee $guard >/dev/null
        $as_root chmod +x $guard
    fi
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing
}

if command -v dpkg-query >/dev/null; then
    (install_missing) # in a shell of its own, so that its traps end with it
else
    echo "== Not a Debian: going on with what is here, which should be like these packages:"
    echo "$packages"
fi

echo "== Configuring preset $preset"
cmake --preset "$preset"
echo "== Building"
cmake --build --preset "$preset"
if [ "$preset" = fuzz ]; then exit 0; fi
echo "== Testing"
ctest --preset "$preset"
