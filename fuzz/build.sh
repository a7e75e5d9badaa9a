#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Builds the fuzz targets as OSS-Fuzz and ClusterFuzzLite want them: programs, seeds, dictionary and
# options in $OUT. Those set CXX, CXXFLAGS, OUT and LIB_FUZZING_ENGINE; by itself it builds with
# Clang's libFuzzer into build/fuzz/out:
#
#     sh fuzz/build.sh [<target>...]
#
# and with AFL++ into a folder of your choice:
#
#     CXX=afl-clang-fast++ CXXFLAGS='-O2 -g1' OUT=build/afl sh fuzz/build.sh url
#
# ASIO_INCLUDE says where Asio is, where that is not among the system's headers.

set -eu
cd "$(dirname "$0")/.."

: "${CXX:=clang++}"
sanitize='-fsanitize=address,undefined -fno-sanitize=function -fno-sanitize-recover=all'
: "${CXXFLAGS:=-O2 -g1 $sanitize}"
: "${LIB_FUZZING_ENGINE:=-fsanitize=fuzzer}"
: "${OUT:=build/fuzz/out}"
mkdir -p "$OUT"
out=$(cd "$OUT" && pwd)

flags="-std=c++20 -DASIO_STANDALONE -DASIO_NO_DEPRECATED -D_GLIBCXX_ASSERTIONS -Iinclude -Itests"
if [ -n "${ASIO_INCLUDE-}" ]; then flags="$flags -isystem $ASIO_INCLUDE"; fi

# Whether something can be included here.
can_include() {
    # shellcheck disable=SC2086
    echo "#include <$1>" | $CXX $CXXFLAGS -std=c++20 -E -x c++ - >/dev/null 2>&1
}

# shellcheck disable=SC2046
if [ $# = 0 ]; then set -- $(awk '!/^#/ { print $1 }' fuzz/targets); fi
for name; do
    target=fuzz_$name
    source=fuzz/$target.cpp
    libraries=-pthread
    if [ "$name" = differential ]; then
        if ! can_include http_parser.h || ! can_include boost/beast/http/basic_parser.hpp; then
            echo "build.sh: $target needs http_parser and Boost.Beast, and is left out"
            continue
        fi
        # The program is to run where the library is not installed.
        libraries="$libraries -l:libhttp_parser.a"
    fi
    echo "== $target"
    # shellcheck disable=SC2086
    $CXX $CXXFLAGS $flags "$source" -o "$out/$target" $LIB_FUZZING_ENGINE $libraries

    rm -f "$out/${target}_seed_corpus.zip"
    (cd "fuzz/corpus/$name" && zip -q -r "$out/${target}_seed_corpus.zip" .)
    cp fuzz/http.dict "$out/$target.dict"
    awk -v name="$name" '$1 == name { print "[libfuzzer]\nmax_len = " $2 "\nentropic = 0" }' \
        fuzz/targets >"$out/$target.options"
done
