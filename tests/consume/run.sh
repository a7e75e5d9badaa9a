#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Builds small projects that use cleave, each in another way, and lets them download something:
#
#     sh tests/consume/run.sh [name...]       all of them, unless some are named
#     sh tests/consume/run.sh --list
#     CXX=clang++ sh tests/consume/run.sh
#
# Works in a temporary folder, installs cleave only there, and needs no network.

set -eu
cd "$(dirname "$0")/../.."
root=$PWD
here=$root/tests/consume
CXX=${CXX:-g++}
export CXX

all="package package_tls package_plain package_core refused pkg_config pkg_config_core subdirectory
    subdirectory_core fetch_content clone single single_core vcpkg conan"
if [ "${1:-}" = --list ]; then
    # shellcheck disable=SC2086
    printf '%s\n' $all
    exit
fi

# shellcheck source=.ci/packages.sh
. .ci/packages.sh
need_packages g++ cmake make pkg-config libasio-dev libssl-dev openssl python3 ca-certificates

work=$(mktemp -d)
server=
clean_up() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || :; fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "consume: $name: $1" >&2
    exit 1
}

# ---- what there is to download ----------------------------------------------------------------

start_server() {
    [ -z "$server" ] || return 0
    openssl rand -out "$work/object" 5000000
    sha256=$(openssl dgst -sha256 -r "$work/object" | cut -d ' ' -f 1)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=consume -addext subjectAltName=IP:127.0.0.1 \
        -keyout "$work/key.pem" -out "$work/ca.pem" 2>/dev/null
    cat "$work/ca.pem" "$work/key.pem" >"$work/server.pem"
    python3 "$here/server.py" "$work/object" "$work/server.pem" "$work/ports" &
    server=$!
    tries=0
    until [ -e "$work/ports" ]; do
        tries=$((tries + 1))
        kill -0 "$server" 2>/dev/null || fail "the server does not start"
        [ $tries -le 300 ] || fail "the server does not get ready"
        sleep 0.1
    done
    read -r http_port https_port <"$work/ports"
}

same_object() { cmp -s "$work/object" "$1" || fail "what was downloaded is not the object"; }

# Each is given a program that was built, and looks at what it does.
main_works() {
    start_server
    "$1" "https://127.0.0.1:$https_port/object" "$work/$name.object" "$sha256" "$work/ca.pem" \
        >"$work/said" || fail "the download failed"
    same_object "$work/$name.object"
    grep -q '^5000000 bytes over [2-8] lanes, verified$' "$work/said" ||
        fail "it said: $(cat "$work/said")"
    # And it does look at digest and certificate.
    wrong=$(printf '%064d' 0)
    if "$1" "https://127.0.0.1:$https_port/x" "$work/no" "$wrong" "$work/ca.pem" 2>/dev/null ||
        "$1" "https://127.0.0.1:$https_port/x" "$work/no" "$sha256" /dev/null 2>/dev/null; then
        fail "it takes anything"
    fi
}
plain_works() {
    start_server
    "$1" "http://127.0.0.1:$http_port/object" "$work/$name.object" >"$work/said" ||
        fail "the download failed"
    same_object "$work/$name.object"
    grep -q '^5000000 bytes over [2-8] lanes$' "$work/said" || fail "it said: $(cat "$work/said")"
}
core_works() {
    "$1" 1000003 7 >"$work/segments" || fail "it failed"
    awk -F - '{ if ($1 != next_one) exit 1; next_one = $2 + 1 }
        END { if (NR != 7 || next_one != 1000003) exit 1 }' "$work/segments" ||
        fail "these segments do not make up the object: $(cat "$work/segments")"
}

# ---- building ---------------------------------------------------------------------------------

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "failed: $*"; }; }

# As it would lie on somebody's machine, and not where it was first installed.
install_cleave() {
    [ ! -d "$work/prefix" ] || return 0
    quietly cmake --preset install -B "$work/build"
    quietly cmake --install "$work/build" --prefix "$work/first"
    mv "$work/first" "$work/prefix"
}

# build_project [cmake option...]: the project of that name; its program is then $work/$name/app.
build_project() {
    quietly cmake -S "$here/$name" -B "$work/$name" "-DCMAKE_PREFIX_PATH=$work/prefix" "$@"
    quietly cmake --build "$work/$name"
}

# The flags that pkg-config gives, for a compiler.
pc() { PKG_CONFIG_PATH=$work/prefix/share/pkgconfig pkg-config "$@"; }

# ---- the ways in ------------------------------------------------------------------------------

package() {
    install_cleave
    build_project
    main_works "$work/$name/app"
}
package_tls() {
    install_cleave
    build_project
    main_works "$work/$name/app"
}
package_plain() {
    install_cleave
    build_project
    plain_works "$work/$name/app"
}
package_core() {
    install_cleave
    build_project
    core_works "$work/$name/app"
}

# refused_with <message> <cmake option...>: it is not found, and the reason is said.
refused_with() {
    message=$1
    shift
    rm -rf "${work:?}/$name"
    if cmake -S "$here/$name" -B "$work/$name" "-DCMAKE_PREFIX_PATH=$work/prefix" "$@" \
        >"$work/log" 2>&1; then
        fail "it was found"
    fi
    # CMake breaks lines where it likes.
    tr -s ' \n' '  ' <"$work/log" | grep -qF "$message" || {
        cat "$work/log" >&2
        fail "no word of: $message"
    }
}
refused() {
    install_cleave
    refused_with 'cleave has no component "ssl"; it has "core",' -DCOMPONENTS=ssl
    refused_with 'cleave needs Asio 1.22 or newer' \
        '-DCMAKE_IGNORE_PATH=/usr/include;/usr/local/include'
    refused_with "cleave's component \"tls\" needs OpenSSL 3.0" -DCOMPONENTS=tls \
        -DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON
}

# shellcheck disable=SC2046
pkg_config() {
    install_cleave
    quietly "$CXX" -std=c++20 "$here/main.cpp" -o "$work/$name" $(pc --cflags --libs cleave)
    main_works "$work/$name"
}
# shellcheck disable=SC2046
pkg_config_core() {
    install_cleave
    quietly "$CXX" -std=c++20 -fno-exceptions -fno-rtti "$here/core.cpp" -o "$work/$name" \
        $(pc --cflags --libs cleave-core)
    core_works "$work/$name"
}

subdirectory() {
    build_project "-DCLEAVE_SOURCE=$root"
    main_works "$work/$name/app"
}
subdirectory_core() {
    build_project "-DCLEAVE_SOURCE=$root"
    core_works "$work/$name/app"
}
fetch_content() {
    tar -C "$root" --transform 's,^,cleave-source/,' -czf "$work/cleave.tar.gz" \
        CMakeLists.txt LICENSE cmake include
    build_project "-DCLEAVE_ARCHIVE=$work/cleave.tar.gz"
    main_works "$work/$name/app"
}

# The README's first command, with the clone beside the program.
clone() {
    mkdir "$work/$name"
    ln -s "$root" "$work/$name/cleave"
    cp "$here/plain.cpp" "$work/$name/app.cpp"
    (cd "$work/$name" && quietly "$CXX" -std=c++20 -Icleave/include app.cpp -pthread)
    plain_works "$work/$name/a.out"
    # With an older standard the first thing said is which one it takes.
    (cd "$work/$name" && "$CXX" -std=c++17 -Icleave/include app.cpp -pthread 2>&1 || :) |
        head -n 3 | grep -q 'cleave needs C++20' || fail "no word of C++20"
}

# The header is copied beside the file that includes it; then the command is the README's.
single() {
    mkdir "$work/$name"
    cp single_include/cleave/cleave.hpp "$work/$name"
    sed 's,<cleave/cleave.hpp>,"cleave.hpp",' "$here/main.cpp" >"$work/$name/app.cpp"
    (cd "$work/$name" && quietly "$CXX" -std=c++20 app.cpp -lssl -lcrypto -pthread)
    main_works "$work/$name/a.out"
}
single_core() {
    mkdir "$work/$name"
    cp single_include/cleave/core.hpp "$work/$name"
    sed 's,<cleave/core.hpp>,"core.hpp",' "$here/core.cpp" >"$work/$name/app.cpp"
    (cd "$work/$name" && quietly "$CXX" -std=c++20 -fno-exceptions -fno-rtti app.cpp)
    core_works "$work/$name/a.out"
}

# The recipes, without the programs that they are for.
vcpkg() {
    for features in tls ''; do
        rm -rf "${work:?}/$name"
        quietly cmake "-DSOURCE=$root" "-DWORK=$work/$name" "-DFEATURES=$features" \
            -P "$here/vcpkg.cmake"
        for project in package package_core; do
            quietly cmake -S "$here/$project" -B "$work/$name/$project" \
                "-DCMAKE_PREFIX_PATH=$work/$name/cleave"
        done
    done
}
conan() {
    mkdir "$work/$name"
    quietly python3 "$here/conan.py" "$root" "$work/$name"
    quietly "$CXX" -std=c++20 "-I$work/$name/include" \
        packaging/conan/all/test_package/test_package.cpp -o "$work/$name/app" -pthread
    quietly "$work/$name/app"
}

# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all
for name; do
    echo "$all" | grep -qw "$name" || fail "there is no such way in; see --list"
    begin=$(date +%s)
    $name
    echo "consume: $name: ok ($(($(date +%s) - begin)) s)"
done
