#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# What cleave costs who includes it, and who ships a program with it:
#
#     sh bench/footprint.sh             # a table for eyes
#     sh bench/footprint.sh --markdown  # and for bench/results/footprint.md
#     sh bench/footprint.sh --exact     # instructions, with valgrind where there is no other way
#
# For files that only include something (bench/footprint): how long the compiler works at them,
# beside the first one, and how many lines they become. The work is counted in instructions where
# the system lets perf count them, or with --exact (a quarter of an hour); else it is user CPU
# seconds, the median of five rounds in turns. For two small programs: how large they are, built with
# -O2 and stripped. Exits with 1 if the front door brings in a header of OpenSSL.

set -eu
cd "$(dirname "$0")/.."

. .ci/packages.sh

markdown=
exact=
for option; do
    case $option in
    --markdown) markdown=yes ;;
    --exact) exact=yes ;;
    *)
        echo "usage: sh bench/footprint.sh [--markdown] [--exact]" >&2
        exit 2
        ;;
    esac
done

need_packages g++ libasio-dev libssl-dev libboost-dev ${exact:+valgrind} >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cxx=${CXX:-g++}
flags="-std=c++20 -O2 -DNDEBUG -DASIO_STANDALONE -DASIO_NO_DEPRECATED -Iinclude"
files="asio_ssl asio cleave single download floors plan beast"

compile() { # shellcheck disable=SC2086
    $cxx $flags -c "bench/footprint/include_$1.cpp" -o "$work/out.o"
}

# ---- how to measure the compiler's work ----

perf_counts() {
    command -v perf >/dev/null &&
        perf stat -x, -e instructions:u -o "$work/perf" true 2>/dev/null &&
        grep -q '^[0-9]' "$work/perf"
}
if perf_counts; then
    unit="instructions, millions"
    rounds=1
    # shellcheck disable=SC2086
    cost() {
        perf stat -x, -e instructions:u -o "$work/perf" \
            $cxx $flags -c "bench/footprint/include_$1.cpp" -o "$work/out.o"
        awk -F, '/instructions/ { printf "%.0f\n", $1 / 1e6 }' "$work/perf"
    }
elif [ -n "$exact" ]; then
    unit="instructions, millions"
    rounds=1
    # shellcheck disable=SC2086
    cost() {
        rm -f "$work"/valgrind.*
        valgrind --trace-children=yes --tool=cachegrind --cache-sim=no \
            --cachegrind-out-file=/dev/null --log-file="$work/valgrind.%p" \
            $cxx $flags -S "bench/footprint/include_$1.cpp" -o "$work/out.s"
        cat "$work"/valgrind.* | awk '/ I +refs:/ { gsub(",", "", $NF); sum += $NF }
            END { printf "%.0f\n", sum / 1e6 }'
    }
else
    unit="user CPU seconds"
    rounds=5
    cost() {
        # The shell's own clock of its children, before and after.
        (
            compile "$1"
            times
        ) | awk 'NR == 2 { split($1, t, /[ms]/); printf "%.2f\n", t[1] * 60 + t[2] }'
    }
fi

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# ---- files that only include something ----

round=0
while [ $round -lt $rounds ]; do
    round=$((round + 1))
    for file in $files; do cost "$file" >>"$work/cost.$file"; done
done

title() {
    case $1 in
    asio_ssl) echo "asio.hpp and asio/ssl.hpp" ;;
    asio) echo "asio.hpp" ;;
    cleave) echo "cleave/cleave.hpp" ;;
    single) echo "the single header" ;;
    download) echo "cleave/download.hpp" ;;
    floors) echo "engine, planners and messages, without I/O" ;;
    plan) echo "planning alone" ;;
    beast) echo "boost/beast/http.hpp" ;;
    esac
}

row() {
    if [ -n "$markdown" ]; then
        printf '| %s | %s | %s | %s | %s |\n' "$@"
    else
        printf '%-44s %12s %10s %10s %12s\n' "$@"
    fi
}

if [ -n "$markdown" ]; then
    echo "| a file that includes | $unit | of the first | lines | OpenSSL headers |"
    echo "|---|---:|---:|---:|---:|"
else
    echo "Compiler's work in: $unit"
    row "a file that includes" work "of first" lines "OpenSSL"
fi
first=$(median "$work/cost.asio_ssl")
dirty=
for file in $files; do
    # shellcheck disable=SC2086
    $cxx $flags -M "bench/footprint/include_$file.cpp" >"$work/deps"
    openssl=$(tr ' ' '\n' <"$work/deps" | grep -c '/openssl/' || :)
    case $file in
    download | floors | plan) [ "$openssl" = 0 ] || dirty="$dirty $file" ;;
    esac
    # shellcheck disable=SC2086
    lines=$($cxx $flags -E -P "bench/footprint/include_$file.cpp" | wc -l)
    own=$(median "$work/cost.$file")
    row "$(title $file)" "$own" "$(awk "BEGIN { printf \"%.2f\", $own / $first }")" \
        "$((lines))" "$openssl"
done

# ---- programs ----

program() { # shellcheck disable=SC2086
    $cxx $flags -s "bench/footprint/$1.cpp" -o "$work/$1" -pthread $2
    size=$(($(wc -c <"$work/$1")))
    if [ -n "$markdown" ]; then
        echo "| $3 | $((size / 1024)) |"
    else
        printf '%-60s %8s KiB\n' "$3" $((size / 1024))
    fi
}
echo
if [ -n "$markdown" ]; then
    echo "| a program, stripped | KiB |"
    echo "|---|---:|"
fi
program get_plain "" "one object by plain TCP to a file"
program get_tls "-lssl -lcrypto" "the same over TLS, its SHA-256 verified"

if [ -n "$dirty" ]; then
    echo "footprint: OpenSSL comes in with:$dirty" >&2
    exit 1
fi
