#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Shows that the tests would find bugs that shipped elsewhere: puts each of them into a copy of the
# library, and runs the tests that are to find it there.
#
#     sh tests/mutants/run.sh [--sim] [--jobs N] [NAME...]
#
# NAME is the beginning of a patch's name, "07", say; all are tried unless some are named. Prints a
# table: the mutant, what it breaks, and the test that killed it, as ctest names it, or SURVIVED.
# Ends with failure where one survives, or where a test fails without any mutant, which is tried
# first. N mutants are tried at a time, 1 unless told otherwise. All of it is left in build/mutants.
#
# With --sim the simulator alone, tests/sim, has two minutes for each: its row tells the seconds it
# took and the seed. Those that it need not find are left out, unless they are named; and those that
# it alone finds are left out without --sim.
#
# A mutant is a patch against include/ (`patch -p1`). Before it stand lines that begin with "#": the
# row of tests/FAULTS.md, what shipped where, and
#
#     # breaks: what is wrong with it, in a line
#     # kills: FOLDER/SOURCE.cpp "name of a test case in it"     (one or more such lines)
#     # kills: sim                                               (where the simulator finds it, too)
#
# Sources, where it takes more than one, are separated by blanks. They are compiled alone, with
# warnings as errors: a mutant that nobody could have shipped without a warning is no mutant. A test
# that crashes, or does not end within two minutes, kills.

set -eu
self=$(cd "$(dirname "$0")" && pwd)
cd "$self/../.."
root=$PWD
work=$root/build/mutants
limit=120

with=tests
jobs=1
one=
while [ $# -gt 0 ]; do
    case $1 in
        --sim) with=sim ;;
        --jobs) shift; jobs=${1:?"--jobs needs a number"} ;;
        --one) shift; one=$1 ;; # as called from below, for one mutant
        -*) echo "run.sh: no option '$1'" >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done

if command -v ccache >/dev/null; then ccache=ccache; else ccache=; fi
flags="-std=c++20 -DASIO_STANDALONE -DASIO_NO_DEPRECATED -D_GLIBCXX_ASSERTIONS
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor
    -Woverloaded-virtual -Werror"

# compile SOURCE OBJECT INCLUDE FLAG...
compile() {
    source=$1 object=$2 include=$3
    shift 3
    # shellcheck disable=SC2086
    $ccache "${CXX:-g++}" $flags "$@" -I"$include" -Itests -DCLEAVE_SOURCE_DIR="\"$root\"" \
        -DCLEAVE_BIN_DIR="\"$root/build/dev/bin\"" -c "$source" -o "$object"
}
link() {
    program=$1
    shift
    "${CXX:-g++}" "$@" -o "$program" -lssl -lcrypto -pthread
}

# Of a patch: the lines "# KEY: ..." without the key.
lines() { sed -n "s/^# $2: //p" "$1"; }
# Of `folder/source.cpp... "name"`.
source_of() { printf '%s\n' "${1%% \"*}"; }
name_of() { printf '%s\n' "$1" | sed 's/^[^"]*"//; s/"$//'; }

# build_test "SOURCE..." DIRECTORY INCLUDE: prints the path of the program, built where need be.
build_test() {
    built=
    objects=$work/catch_main.o
    for part in $1; do
        object=$2/$(printf '%s' "${part%.cpp}" | tr / .).o
        built=${built:-${object%.o}}
        [ -x "$built" ] || compile "tests/$part" "$object" "$3" -O0 -g0 >&2 || return 1
        objects="$objects $object"
    done
    # shellcheck disable=SC2086
    [ -x "$built" ] || link "$built" $objects >&2 || return 1
    printf '%s\n' "$built"
}
# run_test PROGRAM NAME: as Catch does, with what it prints in PROGRAM.log.
run_test() {
    only=$(printf '%s\n' "$2" | sed 's/[][,\\"*~]/\\&/g')
    timeout $limit "$1" "$only" </dev/null >"$1.log" 2>&1
}
# Without its fleet, which would take as long to compile as all the rest, and shows no more.
build_sim() {
    objects=
    printf '%s\n' '#include <sim/fleet.hpp>' \
        'bool cleave_sim::run_fleet(std::uint64_t, std::string const&) { return false; }' \
        >"$1/no_fleet.cpp"
    for source in tests/sim/*.cpp "$1/no_fleet.cpp"; do
        [ "$source" != tests/sim/fleet.cpp ] || continue
        object=$1/sim.$(basename "${source%.cpp}").o
        compile "$source" "$object" "$2" -O1 -g0 || return 1
        objects="$objects $object"
    done
    # shellcheck disable=SC2086
    link "$1/cleave-sim" $objects
}
run_sim() {
    timeout $limit "$1/cleave-sim" --seed 1 --downloads "$2" --jobs 2 </dev/null >"$1/sim.log" 2>&1
}

broken() {
    echo "run.sh: $1" >&2
    echo "$1" >>"$work/failed"
    exit 1
}
row() { printf '%-32s | %-72s | %s\n' "$1" "$2" "$3"; }

# ---- one mutant ------------------------------------------------------------------------------

try_with_tests() {
    lines "$patch" kills | grep -v '^sim$' >"$here/kills"
    [ -s "$here/kills" ] || broken "$one names no test"
    while read -r test; do
        source=$(source_of "$test")
        name=$(name_of "$test")
        program=$(build_test "$source" "$here" "$here/include") ||
            broken "$one: tests/$source does not compile with it"
        status=0
        run_test "$program" "$name" || status=$?
        killer="${source%%/*}.$name"
        case $status in
            0) row "$one" "$breaks" "SURVIVED $killer"; echo "$one" >>"$work/failed" ;;
            124) row "$one" "$breaks" "$killer (did not end)" ;;
            *) row "$one" "$breaks" "$killer" ;;
        esac
    done <"$here/kills"
}

try_with_sim() {
    build_sim "$here" "$here/include" || broken "$one: tests/sim does not compile with it"
    status=0
    began=$(date +%s)
    run_sim "$here" 1000000000 || status=$?
    took=$(($(date +%s) - began))
    seed=$(grep -o -m 1 'seed[^0-9]*[0-9]*' "$here/sim.log" || :)
    case $status in
        0 | 124)
            row "$one" "$breaks" "SURVIVED sim ($took s)"
            if lines "$patch" kills | grep -q '^sim$'; then echo "$one" >>"$work/failed"; fi ;;
        *) row "$one" "$breaks" "sim, after $took s: ${seed:-no seed told}" ;;
    esac
}

if [ -n "$one" ]; then
    here=$work/$one
    rm -rf "$here"
    mkdir -p "$here"
    cp -Rp include "$here/include"
    patch=$self/$one.patch
    (cd "$here" && patch -s -p1 <"$patch") || broken "$one.patch does not apply"
    breaks=$(lines "$patch" breaks)
    try_with_$with
    exit 0
fi

# ---- all of them -----------------------------------------------------------------------------

. .ci/packages.sh
need_packages g++ libasio-dev libssl-dev catch2 patch

# Whether a patch says who kills it, of those that are to be tried.
suits() {
    if [ $with = sim ]; then
        lines "$1" kills | grep -q '^sim$'
    else
        lines "$1" kills | grep -qv '^sim$'
    fi
}
names=
add() { names="$names $(basename "$1" .patch)"; }
if [ $# -eq 0 ]; then
    for patch in "$self"/*.patch; do
        if suits "$patch"; then add "$patch"; fi
    done
else
    for wanted; do
        for patch in "$self/$wanted"*.patch; do
            [ -f "$patch" ] || { echo "run.sh: no mutant '$wanted'" >&2; exit 2; }
            add "$patch"
        done
    done
fi

mkdir -p "$work"
rm -f "$work/failed"
control=$work/control
rm -rf "$control"
mkdir "$control"

echo "== Without any mutant"
if [ $with = sim ]; then
    build_sim "$control" include || broken "tests/sim does not compile"
    run_sim "$control" 1000 || { tail -n 20 "$control/sim.log" >&2; broken "tests/sim fails"; }
    echo "tests/sim passes"
else
    compile tests/support/catch_main.cpp "$work/catch_main.o" include -O0 -g0
    for name in $names; do lines "$self/$name.patch" kills; done | grep -v '^sim$' | sort -u \
        >"$control/tests"
    while read -r test; do
        source=$(source_of "$test")
        name=$(name_of "$test")
        program=$(build_test "$source" "$control" include) ||
            broken "tests/$source does not compile"
        run_test "$program" "$name" || { cat "$program.log" >&2; broken "$test fails"; }
        grep -q 'All tests passed' "$program.log" || broken "there is no $test"
    done <"$control/tests"
    echo "$(wc -l <"$control/tests") tests pass"
fi

echo "== With each"
row mutant "what it breaks" "killed by"
option=
if [ $with = sim ]; then option=--sim; fi
# shellcheck disable=SC2086
printf '%s\n' $names | xargs -n 1 -P "$jobs" sh "$self/run.sh" $option --one ||
    [ -s "$work/failed" ] || echo "something broke off" >>"$work/failed"

if [ -s "$work/failed" ]; then
    echo "== Not killed, or not tried:"
    sort -u "$work/failed"
    exit 1
fi
# shellcheck disable=SC2086
count=$(printf '%s\n' $names | wc -l)
if [ $with = sim ]; then echo "== Each of $count is killed by what its patch says."
else echo "== All $count were killed."; fi
