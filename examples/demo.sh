#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Shows what lanes are good for, on a Debian 12 that may have nothing yet:
#
#     sh examples/demo.sh
#
# Installs the packages that are missing, builds cleave-get and range-server into build/demo, and
# downloads an object of 64 MiB from a server on the loopback that holds each connection to 8 MiB/s
# and cuts every fifth response off in the middle: over one lane, then over eight. It ends by
# itself and leaves nothing behind but the build.

set -eu
cd "$(dirname "$0")/.."

. .ci/packages.sh
need_packages g++ cmake ninja-build libasio-dev libssl-dev libcli11-dev nlohmann-json3-dev \
    libpugixml-dev

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
    echo "demo: $1" >&2
    exit 1
}

echo "== Building cleave-get and range-server (a minute or so the first time)"
{
    cmake --preset release -B build/demo -DCLEAVE_BUILD_TESTS=OFF -DCLEAVE_BUILD_FUZZ=OFF &&
        cmake --build build/demo --target cleave-get range-server
} >"$work/build.log" 2>&1 || {
    cat "$work/build.log" >&2
    fail "the build failed"
}
bin=build/demo/bin

# The same object each time, since its bytes follow from the server's seed.
start_server() {
    $bin/range-server --size 64M --rate 8M --cut-every 2 --sha256 --port-file "$work/port" \
        >"$work/server.log" &
    server=$!
    tries=0
    until [ -e "$work/port" ]; do
        tries=$((tries + 1))
        kill -0 "$server" 2>/dev/null || fail "the server does not start"
        [ $tries -le 300 ] || fail "the server does not get ready"
        sleep 0.1
    done
    url=http://127.0.0.1:$(cat "$work/port")/object
    sha256=$(sed -n 's/^sha256 //p' "$work/server.log")
    rm "$work/port"
}

stop_server() {
    kill "$server"
    wait "$server" || :
    server=
    cuts=$(sed -n 's/.* \([0-9]*\) cuts$/\1/p' "$work/server.log")
}

# The value of a field of the report, which is one line of JSON.
field() { sed -n 's/.*"'"$1"'":\([^,}]*\).*/\1/p' "$work/report"; }

# measure <lanes>: downloads, and adds a row to the table.
measure() {
    start_server
    echo "== Downloading from $url, lanes: $1"
    $bin/cleave-get -n "$1" --digest "sha-256=$sha256" --json -o "$work/object-$1" "$url" \
        >"$work/report" || fail "the download failed"
    stop_server
    seconds=$(field elapsed)
    awk -v lanes="$(field lanes)" -v s="$seconds" -v bytes="$(field bytes)" \
        -v requests="$(field requests)" -v cuts="$cuts" -v retries="$(field retries)" \
        -v twice="$(field bytes_twice)" -v verified="$(field digest_verified)" 'BEGIN {
            printf "%5d %8.1f %6.1f %9d %5d %8d %14d  %s\n", lanes, s, bytes / s / 1048576,
                requests, cuts, retries, twice, verified == "true" ? "verified" : "NOT VERIFIED"
        }' >>"$work/table"
}

measure 1
one=$seconds
measure 8
eight=$seconds
cmp "$work/object-1" "$work/object-8" || fail "the two files differ"

echo
echo "lanes  seconds  MiB/s  requests  cuts  retries  fetched twice  SHA-256"
cat "$work/table"
echo
awk -v one="$one" -v eight="$eight" 'BEGIN {
    printf "demo: done. Eight lanes were %.1f times as fast as one, ", one / eight
    print "and both files are the object, byte for byte."
}'
