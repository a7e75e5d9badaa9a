#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# cleave with other compilers, standards, libraries and systems than it is developed with:
#
#     sh tests/breadth.sh             all, one after the other
#     sh tests/breadth.sh arm mingw   these
#     sh tests/breadth.sh --short     what a minute is enough for
#     sh tests/breadth.sh --list      their names
#
# One line for each: "name: ok (what was done, seconds)", or "name: FAILED" with the end of its log,
# or "name: skipped" where something is not here that no package of Debian 12 has. Exits non-zero
# where one failed. Logs and programs are in build/breadth/<name>; what was built stays there.
#
# What they are is told in docs/platforms.md, with what came of it. Besides Debian's packages some
# want to be told where something is:
#
#     ASIO_DIR      folders with asio.hpp, separated by colons, for `asio`; Debian's alone otherwise
#     OPENSSL_DIR   where another OpenSSL is installed, for `openssl`
#     ZIG           zig (0.11 was tried), whose C++ compiler has the headers of macOS and of musl
#     WINE          wine64, where it is not Debian's, for `mingw`
#     JOBS          how many compilers at a time

# Lists of flags, packages and names are split on purpose.
# shellcheck disable=SC2086
set -eu
cd "$(dirname "$0")/.."

. .ci/packages.sh

names="gcc12-20 gcc12-23 clang14-20 clang14-23 clang19-20 clang19-23 clang19-libcxx
    strict no-rtti no-exceptions no-linux asio openssl
    arm arm-tls musl s390x mingw macos"
out_of_all=${BREADTH_DIR:-build/breadth}
jobs=${JOBS:-$(nproc)}

# --- How a combination is tried ------------------------------------------------------------------

# Our own programs are held to this everywhere; the standard library and Asio are not.
strict="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor
    -Woverloaded-virtual -Werror"
library="-DASIO_STANDALONE -DASIO_NO_DEPRECATED"
# The folders whose tests do no I/O.
floor_tests="base http plan lanes renew pace observe engine"

fail() { echo "breadth.sh: $*" >&2; exit 1; }
# Nothing is wrong, and nothing was tried.
skip() { echo "$*" >"$out/skipped"; exit 77; }
# What the line at the end says was done.
did() { echo "$*" >>"$out/did"; }

first_of() {
    for program; do
        if command -v "$program" >/dev/null; then echo "$program"; return; fi
    done
    fail "none of these is here: $*"
}

# A folder with headers of the system that are the same for all systems, for compilers that must
# not see the others: asio, asio.hpp, catch2.
shared_headers() {
    mkdir -p "$out_of_all/include"
    for header in asio asio.hpp catch2; do
        ln -sfn "/usr/include/$header" "$out_of_all/include/$header"
    done
    echo "$out_of_all/include"
}

# program source output [flag...]: one of tests/breadth/, unless nothing has changed since.
program() {
    source=$1
    output=$2
    shift 2
    rules=$output.ninja.d
    mkdir -p "$rules"
    cat >"$rules/build.ninja" <<END
builddir = $rules
rule program
  command = $(words $cxx $flags "$@") -MMD -MT \$out -MF $rules/headers \$in -o \$out $(words $libs)
  depfile = $rules/headers
  deps = gcc
build $output: program tests/breadth/$source.cpp
END
    ninja -v -f "$rules/build.ninja" "$output"
}

# floors: a program that includes all headers which do no I/O, and uses some.
floors() {
    (
        cd include
        for folder in base http plan lanes renew pace observe engine; do
            find cleave/$folder -name '*.hpp'
        done
        for header in verify/concept verify/no_verification journal/concept journal/record; do
            echo cleave/$header.hpp
        done
    ) | sort | sed 's/.*/#include <&>/' >"$out/floors.hpp"
    program floors "$out/floors$suffix" -include "$out/floors.hpp"
    run_it "$out/floors$suffix"
}

# The newest that is here; it compiles a test in half of the time that g++ takes.
any_clang() {
    if command -v clang++-19 >/dev/null; then
        echo clang++-19
    else
        need_packages clang >&2
        first_of clang++-14 clang++
    fi
}

# Takes $cxx, $flags, $libs; $run is what starts a program of that kind, or "no" where nothing
# does, $suffix how its file's name ends.
run=
suffix=

run_it() {
    if [ "$run" = no ]; then return; fi
    timeout 900 $run "$@"
}

# loopback [flag...]: whole downloads; with $loopback_more, of more than 4 GiB too.
loopback_more=
loopback() {
    program loopback "$out/loopback" "$@"
    if [ "$run" = no ]; then did "downloads compiled and linked"; return; fi
    rm -rf "$out/files" && mkdir "$out/files"
    run_it "$out/loopback" "$out/files" $loopback_more >"$out/loopback.said"
    cat "$out/loopback.said"
    rm -rf "$out/files"
    did "downloads: $(sed -n 's/ok: //p' "$out/loopback.said")"
}

# agent [flag...]: a device's update, from the loopback program of this combination.
# Says how large the program is.
agent() {
    program agent "$out/agent" "$@"
    if [ "$run" = no ]; then did "agent compiled and linked"; return; fi
    rm -rf "$out/files" && mkdir "$out/files"
    mkfifo "$out/files/hold"
    run_it "$out/loopback" "$out/files" serve <"$out/files/hold" &
    exec 3>"$out/files/hold" # which it waits for the end of
    until [ -e "$out/files/url" ]; do kill -0 $! || fail "no server"; done
    run_it "$out/agent" "$(cat "$out/files/url")" "$(wc -c <"$out/files/object")" \
        "$(sha256sum "$out/files/object" | cut -d' ' -f1)" "$out/files/image" 3>&-
    exec 3>&-
    wait $!
    cmp "$out/files/image" "$out/files/object"
    rm -rf "$out/files"
    did "an update"
}

# tests [flag...] -- folder|folder/file.cpp...: Catch2's tests, one program for each.
skipped_tests=
tests() {
    more=
    while [ "$1" != -- ]; do more="$more $1"; shift; done
    shift

    # From version 3 on Catch2 is a library: there is one for this machine, and none for others.
    catch=
    if [ -e /usr/include/catch2/catch_test_macros.hpp ]; then
        [ -z "$run" ] || skip "Catch2 2, which is headers only: its version 3 is there"
        catch=-lCatch2
    fi

    mkdir -p "$out/objects"
    echo '#include <support/catch.hpp>' >"$out/objects/common.hpp"
    # shellcheck disable=SC2016
    {
        echo "builddir = $out/objects"
        echo "flags = $(words $flags $more) -Itests -DCLEAVE_SOURCE_DIR=\"\\\"$PWD\\\"\" $
            -DCLEAVE_BIN_DIR=\"\\\"$PWD/$out\\\"\""
        echo "rule cxx
  description = \$in
  command = $cxx \$flags \$common -MMD -MF \$out.d -c \$in -o \$out
  depfile = \$out.d
  deps = gcc
rule pch
  command = $cxx \$flags -x c++-header -MMD -MF \$out.d \$in -o \$out
  depfile = \$out.d
  deps = gcc
rule link
  description = \$out
  command = $cxx \$flags \$in -o \$out $catch $(words $libs)
build $out/objects/common.hpp.gch: pch $out/objects/common.hpp
build $out/objects/main.o: cxx tests/support/catch_main.cpp"
        for part; do
            objects=
            sources=tests/$part
            if [ -d "tests/$part" ]; then sources=$(ls "tests/$part"/*.cpp); fi
            # Hosts of many names, which are this machine.
            case $part in connect/*.cpp) sources="$sources tests/connect/names.cpp" ;; esac
            for source in $sources; do
                object=$out/objects/${source#tests/}.o
                objects="$objects $object"
                echo "build $object: cxx $source | $out/objects/common.hpp.gch"
                echo "  common = -include $out/objects/common.hpp"
            done
            echo "build $out/$(program_of "$part")$suffix: link $out/objects/main.o$objects"
        done
    } >"$out/objects/build.ninja"
    ninja -k 0 -j "$jobs" -f "$out/objects/build.ninja"

    if [ "$run" = no ]; then
        did "$(find "$out/objects" -name '*.o' | wc -l) files of tests compiled and linked"
        return
    fi
    failed=
    : >"$out/tests.said"
    for part; do
        echo "== $part"
        run_it "$out/$(program_of "$part")$suffix" "${skipped_tests:-~[.none]}" >"$out/said" 2>&1 ||
            failed="$failed $part"
        cat "$out/said"
        cat "$out/said" >>"$out/tests.said"
    done
    [ -z "$failed" ] || fail "tests failed:$failed"
    did "$(sed -n 's/^All tests passed (\([0-9]*\) assertion.*/\1/p' "$out/tests.said" |
        awk '{ n += $1 } END { print n }') assertions"
}
words() { echo "$*"; }
program_of() { echo "test_$1" | sed 's/\.cpp$//; y,/,_,'; }

# --- The combinations ----------------------------------------------------------------------------

native_packages="g++ ninja-build libasio-dev libssl-dev catch2"

# try_native compiler standard: the single header, and the tests that do no I/O.
try_native() {
    cxx=$1
    libs="-pthread -lssl -lcrypto"
    flags="-std=c++$2 -O0 $strict $library -D_GLIBCXX_ASSERTIONS ${3-}"
    loopback -DCLEAVE_WITH_OPENSSL -Isingle_include
    tests -Iinclude -- $floor_tests verify journal/record.cpp
}
gcc() { need_packages $native_packages; try_native "$(first_of g++-12 g++)" "$@"; }
clang14() {
    need_packages $native_packages clang-14
    try_native clang++-14 "$1" "-DASIO_HAS_CO_AWAIT=1 -DASIO_HAS_STD_COROUTINE=1"
}
clang19() { need_packages $native_packages clang-19; try_native clang++-19 "$@"; }

try_gcc12_20() { gcc 20; }
try_gcc12_23() { gcc 23; }
try_clang14_20() { clang14 20; }
try_clang14_23() { clang14 2b; } # as it called it
try_clang19_20() { clang19 20; }
try_clang19_23() { clang19 23; }
try_clang19_libcxx() {
    need_packages libc++-19-dev libc++abi-19-dev
    clang19 20 -stdlib=libc++
    # In which the library's headers no longer bring along one another.
    flags="-std=c++23 -O0 $strict $library -stdlib=libc++"
    loopback -DCLEAVE_WITH_OPENSSL -Isingle_include
}

# As a user's compiler sees the headers that are not the system's. What -Weverything says and is not
# heard: what C++98 could not do; padding; raw buffers, which is what this is about; what no
# header-only library can avoid (virtual tables in each object, destructors at exit); what OpenSSL's
# macros do; a lambda's parameter named like a variable that it does not see; a `default` for the
# rest of an enumeration; template arguments left out; comparing floating-point numbers on purpose.
try_strict() {
    need_packages $native_packages
    clang=$(any_clang)
    libs="-pthread -lssl -lcrypto"
    for compiler in g++ clang; do
        cxx=$(first_of g++-12 g++)
        flags="-std=c++20 -O0 -fsyntax-only $strict $library -Iinclude -Wcast-align -Wcast-qual
            -Wduplicated-cond -Wduplicated-branches -Wextra-semi -Wformat=2 -Wlogical-op
            -Wredundant-decls -Wsign-conversion -Wundef -Wunused
            -Wzero-as-null-pointer-constant"
        if [ $compiler = clang ]; then
            cxx=$clang
            flags="-std=c++20 -O0 -fsyntax-only $library -Iinclude -Weverything -Werror
                -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-pre-c++20-compat-pedantic
                -Wno-padded -Wno-unsafe-buffer-usage -Wno-weak-vtables -Wno-exit-time-destructors
                -Wno-global-constructors -Wno-used-but-marked-unused -Wno-shadow-uncaptured-local
                -Wno-switch-default -Wno-switch-enum -Wno-ctad-maybe-unsupported -Wno-float-equal"
            # It says so of every operator<=> by default, and takes \n for a command.
            [ "$clang" = clang++-19 ] || flags="$flags -Wno-unknown-warning-option
                -Wno-zero-as-null-pointer-constant -Wno-documentation-unknown-command"
        fi
        for program in loopback agent; do
            (set -x && $cxx $flags -DCLEAVE_WITH_OPENSSL tests/breadth/$program.cpp)
        done
    done
    did "g++ and $clang -Weverything without a warning"
}

try_no_rtti() {
    need_packages $native_packages
    cxx=$(any_clang)
    libs="-pthread -lssl -lcrypto"
    # Of clang Asio does not see it.
    flags="-std=c++20 -O0 -fno-rtti -DASIO_NO_TYPEID $strict $library -Iinclude"
    loopback -DCLEAVE_WITH_OPENSSL
    agent
}

# Only the floors that do no I/O: whoever waits for Asio has exceptions.
try_no_exceptions() {
    need_packages $native_packages
    clang=$(any_clang)
    libs=-pthread
    for cxx in "$(first_of g++-12 g++)" $clang; do
        flags="-std=c++20 -O0 -fno-exceptions -fno-rtti $strict -Iinclude"
        floors
    done
    did "all headers of floors without I/O and what they decide"
}

# As on a POSIX system that is not Linux: without splice, fallocate and epoll.
try_no_linux() {
    need_packages $native_packages
    cxx=$(first_of g++-12 g++)
    libs="-pthread -lssl -lcrypto"
    flags="-std=c++20 -O0 -U__linux__ -U__linux -Ulinux $strict $library -Iinclude"
    loopback -DCLEAVE_WITH_OPENSSL
    agent
    # Only Linux makes room for a file beforehand, and splices.
    skipped_tests='~"a full disk is an error*"~"spliced:*"'
    tests -- os sink journal
}

# Each folder in ASIO_DIR, which are separated by colons, has an asio.hpp of another version.
try_asio() {
    need_packages $native_packages clang-19
    cxx=$(first_of clang++-19)
    libs="-pthread -lssl -lcrypto"
    old=$IFS
    IFS=:
    set -- ${ASIO_DIR:-/usr/include}
    IFS=$old
    for folder; do
        [ -e "$folder/asio.hpp" ] || fail "there is no asio.hpp in $folder"
        version=$(sed -n 's,^#define ASIO_VERSION .*// ,,p' "$folder/asio/version.hpp")
        from=
        [ "$folder" = /usr/include ] || from="-isystem $folder"
        # Up to 1.24 Asio does not see that clang has coroutines.
        flags="-std=c++20 -O0 $strict $library $from -Iinclude -D_GLIBCXX_ASSERTIONS
            -DASIO_HAS_CO_AWAIT=1 -DASIO_HAS_STD_COROUTINE=1"
        echo "== Asio $version"
        loopback -DCLEAVE_WITH_OPENSSL
        agent
        # Coroutines, and all that the README shows.
        tests -- house/readme_code.cpp
        versions="${versions-} $version"
    done
    echo "downloads, updates and the README with Asio$versions" >"$out/did"
}

try_openssl() {
    need_packages $native_packages openssl
    # OPENSSL_DIR is where another OpenSSL is installed: include and lib or lib64 in it.
    cxx=$(first_of g++-12 g++)
    flags="-std=c++20 -O0 $strict $library -Iinclude -D_GLIBCXX_ASSERTIONS
        -DOPENSSL_NO_DEPRECATED"
    libs="-pthread -lssl -lcrypto"
    if [ -n "${OPENSSL_DIR-}" ]; then
        flags="$flags -isystem $OPENSSL_DIR/include"
        for lib in "$OPENSSL_DIR/lib" "$OPENSSL_DIR/lib64"; do
            [ ! -d "$lib" ] || libs="$libs -L$lib -Wl,-rpath,$lib"
        done
    fi
    loopback -DCLEAVE_WITH_OPENSSL
    tests -- connect/tls.cpp download/tls.cpp verify
    did "OpenSSL $(sed -n 's/.*OPENSSL_VERSION_STR "\(.*\)".*/\1/p' \
        "${OPENSSL_DIR:-/usr}"/include/openssl/opensslv.h)"
}

cross_packages="ninja-build libasio-dev catch2 qemu-user"

arm() {
    need_packages $cross_packages g++-arm-linux-gnueabihf
    cxx=arm-linux-gnueabihf-g++
    run="qemu-arm"
    libs="-static -pthread"
    # -Wno-psabi: calls between old and new objects, of which there are none.
    flags="-std=c++20 -O1 $strict -Wno-psabi $library -isystem $(shared_headers) -Iinclude"
    # Tests put offsets into sizes, and with them GCC sees things in strings that are not there.
    loose_tests="-Wno-conversion -Wno-array-bounds -Wno-stringop-overflow"
}
# The agent's core and what it stands on, without OpenSSL.
try_arm() {
    arm
    loopback_more=whole
    loopback
    small="-Os -ffunction-sections -fdata-sections -Wl,--gc-sections"
    agent $small
    arm-linux-gnueabihf-strip -o "$out/agent.stripped" "$out/agent"
    did "the agent, linked statically: $(($(wc -c <"$out/agent.stripped") / 1024)) KiB"
    libs=-pthread
    program agent "$out/agent.dynamic" $small
    arm-linux-gnueabihf-strip -o "$out/agent.stripped" "$out/agent.dynamic"
    did "with the system's C++ library: $(($(wc -c <"$out/agent.stripped") / 1024)) KiB"
    libs="-static -pthread"
    # The system knows what is mapped of the emulator's memory, and not of the program's.
    skipped_tests='~"what the system says of syncing and protecting*"~"a mapping is moved and not*"'
    skipped_tests="$skipped_tests"'~"*mapped_file_sink says too*"~"*mapped_file_sink keeps no mem*"'
    tests $loose_tests -- $floor_tests journal os sink source
}
# Debian's OpenSSL for it, not installed: its packages are only unpacked here.
try_arm_tls() {
    arm
    system=$out/system
    if [ ! -e "$system/usr/lib/arm-linux-gnueabihf/libssl.a" ]; then
        mkdir -p "$system"
        (
            cd "$system"
            if ! apt-get download libssl3:armhf libssl-dev:armhf; then
                dpkg --print-foreign-architectures | grep -q armhf ||
                    echo "run: dpkg --add-architecture armhf && apt-get update" >../skipped
                exit 1
            fi
            for package in ./*.deb; do dpkg-deb -x "$package" .; done
        ) || exit 77
    fi
    flags="$flags -isystem $system/usr/include -isystem $system/usr/include/arm-linux-gnueabihf"
    libs="-static -pthread -L$system/usr/lib/arm-linux-gnueabihf -lssl -lcrypto -latomic"
    loopback -DCLEAVE_WITH_OPENSSL
    # What stands between these tests and the resolver wants one that is linked when it runs.
    libs="-pthread -L$system/usr/lib/arm-linux-gnueabihf -lssl -lcrypto -latomic -ldl"
    here=$(cd "$system" && pwd)
    run="qemu-arm -L /usr/arm-linux-gnueabihf
        -E LD_LIBRARY_PATH=$here/usr/lib/arm-linux-gnueabihf"
    tests $loose_tests -- verify connect/tls.cpp download/tls.cpp ota
}

# A big-endian system: journals go from one to the other and back.
try_s390x() {
    need_packages $native_packages $cross_packages g++-s390x-linux-gnu
    cxx=$(first_of g++-12 g++)
    libs=-pthread
    flags="-std=c++20 -O0 $strict $library -Iinclude"
    program loopback "$out/loopback.native"

    cxx=s390x-linux-gnu-g++
    run="qemu-s390x"
    libs="-static -pthread"
    flags="-std=c++20 -O1 $strict $library -isystem $(shared_headers) -Iinclude"
    loopback
    for first in native big; do
        mkdir -p "$out/$first"
        if [ $first = native ]; then
            "$out/loopback.native" "$out/native" begin
            run_it "$out/loopback" "$out/native" go-on
        else
            run_it "$out/loopback" "$out/big" begin
            "$out/loopback.native" "$out/big" go-on
        fi
    done
    cmp "$out/native/record" "$out/big/record"
    did "journals there and back, records the same"
    # As on ARM, GCC sees things in strings that are not there.
    tests -Wno-array-bounds -Wno-stringop-overflow -- base http engine journal
}

# The floors that do no I/O, for Windows, under Wine.
try_mingw() {
    need_packages ninja-build catch2 g++-mingw-w64-x86-64-posix
    cxx=x86_64-w64-mingw32-g++-posix
    libs=-static
    flags="-std=c++20 -O0 $strict -isystem $(shared_headers) -Iinclude"
    suffix=.exe
    if [ -z "${WINE-}" ]; then
        need_packages wine64
        WINE=/usr/lib/wine/wine64
    fi
    export WINEPREFIX="$PWD/$out/wine" WINEDEBUG=-all
    run=$WINE
    floors
    did "all headers of floors without I/O"
    tests -- $floor_tests journal/record.cpp
}

# What no package of Debian 12 has: a compiler with the headers of other systems.
zig() {
    zig=${ZIG:-zig}
    command -v "$zig" >/dev/null || skip "ZIG=path of zig, whose C++ compiler has the headers"
    export ZIG_GLOBAL_CACHE_DIR="$PWD/$out_of_all/zig"
    need_packages g++ libasio-dev libssl-dev
}
try_macos() {
    zig
    run=no
    libs=
    for processor in aarch64 x86_64; do
        cxx="$zig c++ -target $processor-macos"
        flags="-std=c++20 -O0 $strict $library -isystem $(shared_headers) -Iinclude"
        # For the other one it lacks what __builtin_cpu_supports needs.
        [ $processor = x86_64 ] || loopback
        [ $processor = x86_64 ] || agent
        # OpenSSL's headers are the same on all systems.
        mkdir -p "$out/include"
        cp -r /usr/include/openssl "/usr/include/$(g++ -print-multiarch)/openssl" "$out/include"
        program loopback "$out/$processor.o" -isystem "$out/include" -DCLEAVE_WITH_OPENSSL -c
        echo "compiled for arm64 and x86-64, linked without TLS for arm64" >"$out/did"
    done
}
try_musl() {
    zig
    need_packages qemu-user
    cxx="$zig c++ -target arm-linux-musleabihf"
    run="qemu-arm"
    libs="-static -pthread"
    flags="-std=c++20 -O0 $strict $library -isystem $(shared_headers) -Iinclude"
    loopback
    agent
}

# --- Names, times, results -----------------------------------------------------------------------

one() {
    name=$1
    out=$out_of_all/$name
    mkdir -p "$out"
    rm -f "$out/did" "$out/skipped"
    begun=$(date +%s)
    status=0
    sh tests/breadth.sh --inside "$name" >"$out/log" 2>&1 </dev/null || status=$?
    seconds=$(($(date +%s) - begun))
    case $status in
        0) echo "$name: ok ($(paste -sd, "$out/did" | sed 's/,/, /g'), $seconds s)" ;;
        77) echo "$name: skipped ($(cat "$out/skipped"))"; status=0 ;;
        *)
            echo "$name: FAILED ($seconds s); the end of $out/log:"
            tail -n 25 "$out/log" | sed 's/^/    /'
            ;;
    esac
    return $status
}

case ${1-} in
    --list) printf '%s\n' $names; exit ;;
    --inside)
        name=$2
        out=$out_of_all/$name
        "try_$(echo "$name" | tr - _)"
        exit
        ;;
    --short)
        need_packages $native_packages
        any_clang >/dev/null
        # Two at a time.
        one strict &
        failures=0
        for name in no-rtti no-exceptions; do one "$name" || failures=$((failures + 1)); done
        wait $! || failures=$((failures + 1))
        [ "$failures" = 0 ]
        exit
        ;;
    '') set -- $names ;;
esac

failures=0
for name; do
    case " $(words $names) " in
        *" $name "*) one "$name" || failures=$((failures + 1)) ;;
        *) fail "there is no '$name'; see --list" ;;
    esac
done
[ "$failures" = 0 ]
