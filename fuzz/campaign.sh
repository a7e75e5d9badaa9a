#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Runs the fuzzers on a Debian 12 that may have nothing yet:
#
#     sh fuzz/campaign.sh [--merge] <seconds> [<target>...]
#
# The seconds are shared among the targets, all of those in fuzz/targets unless some are named. Each
# runs on one core, FUZZ_JOBS of them side by side, 1 unless set. New inputs go to
# build/fuzz/corpus/<target>; what ends a target goes to build/fuzz/artifacts, and makes this fail.
# Ends with a table. With --merge the inputs kept in fuzz/corpus are made anew: those with a name
# that a person gave stay, and of all others as few as reach the same.

set -eu
cd "$(dirname "$0")/.."

merge=false
if [ "${1-}" = --merge ]; then
    merge=true
    shift
fi
case ${1-} in
    '' | *[!0-9]*) echo "usage: campaign.sh [--merge] <seconds> [<target>...]" >&2; exit 2 ;;
esac
seconds=$1
shift
jobs=${FUZZ_JOBS:-1}

. .ci/packages.sh
need_packages clang libclang-rt-dev cmake ninja-build ccache libasio-dev libssl-dev \
    libhttp-parser-dev libboost-dev

# longest <target>: how long its inputs may be; nothing where there is no such target.
longest() { awk -v name="$1" '$1 == name { print $2 }' fuzz/targets; }

if [ $# = 0 ]; then
    # shellcheck disable=SC2046
    set -- $(awk '!/^#/ { print $1 }' fuzz/targets)
fi
for target; do
    [ -n "$(longest "$target")" ] || { echo "campaign.sh: no target '$target'" >&2; exit 2; }
done
each=$((seconds * jobs / $#))
[ $each -gt 0 ] || each=1

work=build/fuzz
mkdir -p $work/artifacts $work/log
echo "== Building (log: $work/log/build)"
{
    cmake --preset fuzz && cmake --build --preset fuzz
} >$work/log/build 2>&1 || {
    cat $work/log/build >&2
    exit 1
}

# Less to remember of each allocation makes the address sanitizer faster.
ASAN_OPTIONS=malloc_context_size=4:${ASAN_OPTIONS-}
export ASAN_OPTIONS

# Without entropy: weighing the inputs anew takes longer than running most of them.
run() {
    mkdir -p "$work/corpus/$1" "fuzz/corpus/$1"
    "$work/bin/fuzz_$1" -max_total_time=$each -max_len="$(longest "$1")" -entropic=0 -timeout=30 \
        -rss_limit_mb=2048 -print_final_stats=1 -dict=fuzz/http.dict \
        -artifact_prefix="$work/artifacts/$1-" "$work/corpus/$1" "fuzz/corpus/$1" \
        >"$work/log/$1" 2>&1 || echo $? >"$work/log/$1.failed"
}

echo "== Running $# targets for $each seconds each"
running=0
for target; do
    rm -f "$work/log/$target.failed"
    run "$target" &
    running=$((running + 1))
    [ $((running % jobs)) != 0 ] || wait
done
wait

if $merge; then
    echo "== Merging"
    for target; do
        fresh=$(mktemp -d)
        for kept in "fuzz/corpus/$target"/*; do
            # Fuzzers name their inputs by 40 hexadecimal digits.
            if ! basename "$kept" | grep -Eqx '[0-9a-f]{40}'; then cp "$kept" "$fresh"; fi
        done
        # Only places reached count, and not how often: else too many inputs would be kept.
        "$work/bin/fuzz_$target" -set_cover_merge=1 -use_counters=0 \
            -max_len="$(longest "$target")" "$fresh" "fuzz/corpus/$target" \
            "$work/corpus/$target" >"$work/log/$target.merge" 2>&1
        rm -rf "fuzz/corpus/$target"
        cp -r "$fresh" "fuzz/corpus/$target"
        chmod 755 "fuzz/corpus/$target"
        rm -rf "$fresh"
    done
fi

printf '\n%-14s %12s %9s %6s %8s %6s\n' target executions 'a second' edges features kept
failed=
sum=0
for target; do
    log=$work/log/$target
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    features=$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    kept=$(find "fuzz/corpus/$target" -type f | wc -l)
    printf '%-14s %12s %9s %6s %8s %6s\n' "$target" "${runs:-?}" "${rate:-?}" "${edges:-?}" \
        "${features:-?}" "$kept"
    sum=$((sum + ${runs:-0}))
    if [ -e "$log.failed" ]; then failed="$failed $target"; fi
done
printf '%-14s %12s\n' 'all' $sum

for target in $failed; do
    echo
    echo "campaign: $target failed:"
    grep -E 'does not hold|ERROR|SUMMARY|differs|Test unit written' "$work/log/$target" || :
done
[ -z "$failed" ]
