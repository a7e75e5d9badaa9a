# SPDX-License-Identifier: BSL-1.0
# shellcheck shell=sh
#
# To be read by scripts (". .ci/packages.sh"): installs the packages of a Debian that are missing,
# and touches nothing when none is.
#
#     need_packages g++ cmake clang-format-14?
#
# One with a question mark is left out where this release of Debian does not have it.

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

is_to_be_had() { apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'; }

add_optional() {
    for package in $optional; do
        case " $missing " in
            *" $package "*) ;;
            *) ! is_to_be_had "$package" || missing="$missing $package" ;;
        esac
    done
}

install_missing() {
    missing=
    optional=
    for package; do
        case $package in
            *\?) is_installed "${package%\?}" || optional="$optional ${package%\?}" ;;
            *) is_installed "$package" || missing="$missing $package" ;;
        esac
    done
    add_optional
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
    # What is to be had may be known only now.
    add_optional
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
