#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# What is held to for the whole tree, one thing at a time; ctest has each as a test of its own:
#
#     sh tests/house/habits.sh spelling|links|format|tidy|shell|version
#     sh tests/house/habits.sh format -i     # and mends it
#
# Installs the package that is missing, and touches nothing when none is.

set -eu
cd "$(dirname "$0")/../.."
. .ci/packages.sh

# Names of files that are kept and were written by hand, for `xargs -0`.
files() {
    find . \( -path ./.git -o -path ./build -o -path ./fuzz/corpus -o -path ./single_include/cleave \
        -o -name __pycache__ \) -prune -o -type f "$@" -print0
}

case ${1:-} in
spelling)
    need_packages codespell
    # Names in HTTP and in C++, and a part of a word that a test cuts in two.
    files ! -name '*.svg' | xargs -0 codespell --ignore-words-list te,statics,nd,fro
    ;;
links)
    need_packages python3
    python3 tests/house/links.py
    ;;
format)
    need_packages clang-format-14
    # Not held to it: this formatter cannot lay out what a concept requires, nor a clause behind a
    # member.
    files \( -name '*.hpp' -o -name '*.cpp' \) ! -path './include/cleave/*/concept.hpp' \
        ! -path ./include/cleave/connect/route.hpp ! -path ./include/cleave/sink/tee_sink.hpp \
        ! -path ./include/cleave/sink/ordered_sink.hpp | xargs -0 clang-format-14 --Werror "${2:---dry-run}"
    ;;
tidy)
    need_packages clang-tidy-14 libasio-dev libssl-dev
    # All headers in one source file, so that Asio is parsed once.
    mkdir -p build
    source=build/all_headers.cpp
    (cd include && find cleave -name '*.hpp') | sort | sed 's/.*/#include <&>/' >$source
    clang-tidy-14 --quiet $source -- -std=c++20 -Iinclude -DASIO_STANDALONE -DASIO_NO_DEPRECATED \
        -DASIO_HAS_CO_AWAIT=1 -DASIO_HAS_STD_COROUTINE=1
    ;;
shell)
    need_packages shellcheck
    files \( -name '*.sh' -o -path './.ci/*' \) | xargs -0 shellcheck -x --severity=warning
    ;;
version)
    version=$(sed -n 's/.*version_string = "\(.*\)";/\1/p' include/cleave/base/version.hpp)
    # Recipes of package managers must have it; their own test compares it.
    again=$(files ! -path ./include/cleave/base/version.hpp ! -path ./CHANGELOG.md \
        ! -path './packaging/*' | xargs -0 grep -nFH "$version" |
        grep -E "(^|[^0-9.])$(echo "$version" | sed 's/\./\\./g')([^0-9.]|\.?\$)" || true)
    if [ -n "$again" ]; then
        echo "The version is written in include/cleave/base/version.hpp, and again here:"
        echo "$again"
        exit 1
    fi
    latest=$(sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)
    if [ "$latest" != "$version" ]; then
        echo "CHANGELOG.md begins with $latest, but this is $version"
        exit 1
    fi
    ;;
*)
    echo "habits.sh: name one of spelling, links, format, tidy, shell, version" >&2
    exit 2
    ;;
esac
