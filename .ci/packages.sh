# SPDX-License-Identifier: BSL-1.0
# shellcheck shell=sh
#
# To be read by scripts (". .ci/packages.sh"): installs the packages of a Debian that are missing,
# and touches nothing when none is.
#
#     need_packages g++ cmake

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

install_missing() {
    missing=
    for package; do is_installed "$package" || missing="$missing $package"; done
    [ -n "$missing" ] || return 0

    echo "== Installing:$missing"
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || {
            echo "$(basename "$0"): not root, and there is no sudo. As root, run:" >&2
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

need_packages() {
    if command -v dpkg-query >/dev/null; then
        (install_missing "$@") # in a shell of its own, so that its traps end with it
    else
        echo "== Not a Debian: going on with what is here, which should be like these packages:"
        echo "$*"
    fi
}
