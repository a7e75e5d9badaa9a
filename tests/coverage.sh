#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Which lines and branches of include/ the tests run, measured by Clang on the source:
#
#     sh tests/coverage.sh
#
# Builds the preset `coverage`, runs every test program, a few thousand simulated downloads and the
# kept inputs of the fuzz targets, and prints a table. Afterwards
# `python3 tests/coverage.py build/coverage/profiles --missing http/body.hpp` lists what of a header did
# not run. What cannot run is excluded by tests/coverage.txt, with the reason.

set -eu
cd "$(dirname "$0")/.."

. .ci/packages.sh
need_packages g++ cmake ninja-build ccache libasio-dev libssl-dev catch2 libcli11-dev \
    nlohmann-json3-dev libpugixml-dev nginx-light tinyproxy microsocks faketime openssl python3 curl \
    ca-certificates procps strace clang libclang-rt-dev llvm

cmake --preset coverage
cmake --build --preset coverage

# Each program is looked at by itself, and coverage.py adds them up: of a function that is in
# several, the tools keep the counts of one only.
out=build/coverage/profiles
rm -rf $out
mkdir -p $out

failed=
run() {
    name=$1
    shift
    echo "== $name"
    LLVM_PROFILE_FILE="$PWD/$out/$name.%4m.profraw" "$@" >$out/log 2>&1 || {
        failed="$failed $name"
        tail -20 $out/log
    }
    llvm-profdata merge -sparse $out/"$name".*.profraw -o $out/"$name".profdata
    report "$name" "$name"
}
report() {
    for format in lcov text; do
        llvm-cov export "build/coverage/bin/$1" -instr-profile "$out/$2.profdata" \
            -format=$format include/cleave >"$out/$1.$format" 2>$out/log
    done
}

for program in build/coverage/bin/test_*; do
    run "$(basename "$program")" "$program"
done
# What was run by test_programs wrote its counts beside it.
report cleave-get test_programs
run cleave-sim build/coverage/bin/cleave-sim --downloads 3000 --jobs 2
for target in build/coverage/bin/fuzz_*; do
    name=$(basename "$target")
    corpus=fuzz/corpus/${name#fuzz_}
    [ ! -d "$corpus" ] || run "$name" "$target" "$corpus"
done

python3 tests/coverage.py $out
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
