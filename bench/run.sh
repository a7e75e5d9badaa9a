#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Runs all benches on a Debian 12 that may have nothing yet:
#
#     sh bench/run.sh [--short] [download|shaped|ahead|ordered|ota|micro|footprint]...
#
# Installs the packages that are missing, builds the preset `bench`, and writes tables and pictures
# into bench/results. All benches unless some are named. It takes an hour or two, in which the
# machine should do nothing else. With --short it takes about two minutes once all is built, of a
# small object and few runs, and writes into build/bench/results: that shows that it works, and no
# more. The footprint, which keeps a compiler busy for minutes, is then made only where it is named.

set -eu
cd "$(dirname "$0")/.."

short=false
if [ "${1-}" = --short ]; then
    short=true
    shift
fi
if [ $# = 0 ]; then
    set -- download shaped ahead ordered ota micro
    $short || set -- "$@" footprint
fi
for name; do
    case $name in
        download | shaped | ahead | ordered | ota | micro | footprint) ;;
        *)
            echo "usage: run.sh [--short] [download|shaped|ahead|ordered|ota|micro|footprint]..." >&2
            exit 2
            ;;
    esac
done

. .ci/packages.sh
need_packages g++ cmake ninja-build libasio-dev libssl-dev libbenchmark-dev \
    libcurl4-openssl-dev libhttp-parser-dev libboost-dev nginx-light openssl curl aria2 axel lftp \
    gnuplot-nox

bin=build/bench/bin
log=build/bench/build.log
mkdir -p build/bench
echo "== Building (log: $log)"
{
    cmake --preset bench && cmake --build --preset bench
} >$log 2>&1 || {
    cat $log >&2
    exit 1
}

if $short; then
    results=build/bench/results
    download="--size 64M --runs 3 --counts 1"
    shaped="--runs 1"
    ordered="--runs 1"
    ota="--runs 1 --seconds 2"
    micro="--benchmark_min_time=0.01"
    footprint=
else
    results=bench/results
    download=
    shaped="--runs 9"
    ordered="--runs 9"
    ota="--runs 3 --seconds 20"
    micro="--benchmark_repetitions=10 --benchmark_enable_random_interleaving=true
        --benchmark_report_aggregates_only=true"
    footprint=--exact
fi
mkdir -p $results
# The files that other programs write shall not wait for a disk.
if [ -d /dev/shm ]; then export TMPDIR=/dev/shm; fi

failed=
# say <name> <title> <command...>: a page of results. What the command says is its text.
say() {
    page=$results/$1.md
    echo "== $1"
    {
        printf '# %s\n\nWritten by `sh bench/run.sh%s`.\n\n' "$2" "$($short && echo ' --short' || :)"
    } >"$page"
    shift 2
    "$@" >>"$page" || {
        failed="$failed $page"
        echo "run.sh: $page ends where it went wrong" >&2
    }
}

run_download() {
    data=build/bench/download.tsv
    # shellcheck disable=SC2086
    $bin/bench_download $download --markdown --data $data || return 1
    sh bench/plot.sh $data $results/download.svg
    printf '\n![processor time beside the floor](download.svg)\n'

    # The build lies on a disk, where the page cache and the file system have their say.
    disk=build/bench/on-disk
    printf '\n## To a file on %s\n\n' "$(df --output=fstype build/bench | tail -n 1)"
    # shellcheck disable=SC2086
    $bin/bench_download $download --markdown --data $data --to "$disk" \
        --case plain-file-4 --case tls-file-4 || return 1
    rmdir "$disk"
}

run_shaped() {
    table=build/bench/shaped.txt
    # shellcheck disable=SC2086
    $bin/bench_shaped $shaped --markdown >$table || return 1
    cat $table
    # Columns by their names; whoever never ended has no ratio.
    {
        echo "# wall time beside the ideal; less is better"
        awk -F' *[|] *' '
            $2 == "scenario" { for (i = 2; i < NF; ++i) at[$i] = i; next }
            NF > 5 && at["wall/ideal"] && $2 !~ /^-/ {
                client = at["client"] ? $(at["client"]) : "cleave"
                ratio = $(at["wall/ideal"])
                if (ratio + 0 == 0) next
                if (client == "cleave") {
                    goal = $(at["goal"])
                    printf "%s\tgoal\t%s\t%s\t%s\n", $2, goal, goal, goal
                }
                printf "%s\t%s\t%s\t%s\t%s\n", $2, client, ratio, ratio, ratio
            }' $table
    } >build/bench/shaped.tsv
    sh bench/plot.sh build/bench/shaped.tsv $results/shaped.svg
    printf '\n![wall time beside the ideal](shaped.svg)\n'
}

run_ahead() {
    printf '16 MiB over four lanes of 4 MB/s each, 100 ms a round trip, in virtual time.\n\n'
    $bin/bench_ahead --markdown
}

run_ordered() {
    # shellcheck disable=SC2086
    $bin/bench_ordered $ordered --markdown
}

# And how large a program is that updates a device by plain TCP (bench/footprint/update_plain.cpp).
run_ota() {
    # shellcheck disable=SC2086
    $bin/bench_ota $ota --markdown || return 1
    printf '\nThe core of an agent by plain TCP, stripped; the C++ library and libcrypto are shared:\n\n'
    printf '| %s, with | KiB |\n|---|---:|\n' "$(g++ --version | head -n 1)"
    program=build/bench/update_plain
    for flags in -O2 -Os "-Os -flto=auto"; do
        # shellcheck disable=SC2086
        g++ -std=c++20 $flags -DNDEBUG -DASIO_STANDALONE -DASIO_NO_DEPRECATED -Iinclude -s \
            bench/footprint/update_plain.cpp -o $program -lcrypto -pthread || return 1
        printf '| `%s` | %s |\n' "$flags" $(($(wc -c <$program) / 1024))
    done
}

# micro_table <names> <csv>: a table of what Google Benchmark says as CSV, in the order of the names:
# the median where there are several runs, and how far they differ. Counters of a program's own are
# further columns, those that begin with "per" as times.
micro_table() {
    awk '
        function split_csv(line, to,   n, c, i, quoted) {
            n = 1
            to[1] = ""
            for (i = 1; i <= length(line); ++i) {
                c = substr(line, i, 1)
                if (c == "\"") quoted = !quoted
                else if (c == "," && !quoted) to[++n] = ""
                else to[n] = to[n] c
            }
            return n
        }
        function scaled(x) {
            if (x == "") return ""
            x += 0
            if (x >= 1e9) return sprintf("%.2f G", x / 1e9)
            if (x >= 1e6) return sprintf("%.2f M", x / 1e6)
            if (x >= 1e3) return sprintf("%.2f k", x / 1e3)
            return sprintf("%.4g", x)
        }
        function as_time(x, unit) {
            x *= unit == "ns" ? 1 : unit == "us" ? 1e3 : unit == "ms" ? 1e6 : 1e9
            if (x >= 1e9) return sprintf("%.4g s", x / 1e9)
            if (x >= 1e6) return sprintf("%.4g ms", x / 1e6)
            if (x >= 1e4) return sprintf("%.4g us", x / 1e3)
            return sprintf("%.4g ns", x)
        }
        NR == FNR {
            row[++rows] = $0
            next
        }
        /^name,/ {
            columns = split_csv($0, names)
            next
        }
        columns {
            split_csv($0, f)
            name = f[1]
            kind = ""
            if (match(name, /_(mean|median|stddev|cv|BigO|RMS)$/)) {
                kind = substr(name, RSTART + 1)
                name = substr(name, 1, RSTART - 1)
            }
            if (kind == "mean") { mean[name] = f[4]; next }
            if (kind == "stddev") { deviation[name] = f[4]; next }
            if (kind == "BigO") {
                growth[++grown] = sprintf("%s: %.3g ns times %s", name, f[4], f[5])
                next
            }
            if (kind != "" && kind != "median") next
            time[name] = as_time(f[4], f[5])
            for (i = 6; i <= columns; ++i) {
                if (names[i] ~ /^(label|error_occurred|error_message)$/) continue
                value[name, i] = f[i]
                if (f[i] != "") used[i] = 1
            }
        }
        END {
            head = "| benchmark | CPU time | +- % |"
            under = "|---|---:|---:|"
            for (i = 6; i <= columns; ++i) if (i in used) {
                n = names[i]
                gsub(/_/, " ", n)
                sub(/ per second/, "/s", n)
                head = head " " n " |"
                under = under "---:|"
            }
            print head
            print under
            for (r = 1; r <= rows; ++r) {
                name = row[r]
                if (!(name in time)) continue
                line = "| " name " | " time[name] " | " \
                    (mean[name] > 0 ? sprintf("%.1f", 100 * deviation[name] / mean[name]) : "") " |"
                for (i = 6; i <= columns; ++i) if (i in used) {
                    v = value[name, i]
                    line = line " " (names[i] ~ /^per_/ && v != "" ? as_time(v, "s") : scaled(v)) " |"
                }
                print line
            }
            if (grown) print ""
            for (g = 1; g <= grown; ++g) print "- grows as " growth[g]
        }
    ' "$@"
}

# For the picture: of a head, what others take to parse it beside what we take.
parse_ratios() {
    echo "# CPU time to parse a head beside that of cleave; less is better"
    awk -F, '
        /^"parse\// && !/_(mean|stddev|cv)",/ {
            gsub(/"|_median/, "", $1)
            split($1, name, "/")
            head[++n] = name[2]
            who[n] = name[3]
            time[n] = $4
            if (name[3] == "cleave") ours[name[2]] = $4
        }
        END {
            for (i = 1; i <= n; ++i) {
                ratio = sprintf("%.4f", time[i] / ours[head[i]])
                printf "%s\t%s\t%s\t%s\t%s\n", head[i], who[i], ratio, ratio, ratio
            }
        }'
}

run_micro() {
    for source in bench/bench_*.cpp; do
        program=$(basename "$source" .cpp)
        # Those with a main of their own are not of this kind.
        ! grep -q '^int main(' "$source" || continue
        csv=build/bench/$program.csv
        echo "run.sh: $program" >&2
        # shellcheck disable=SC2086
        $bin/$program $micro --benchmark_format=csv >$csv 2>build/bench/$program.err || {
            cat build/bench/$program.err >&2
            return 1
        }
        printf '## %s\n\n' "$program"
        $bin/$program --benchmark_list_tests >build/bench/$program.names
        micro_table build/bench/$program.names $csv
        echo
        if [ $program = bench_head ]; then
            parse_ratios <$csv >build/bench/parse.tsv
            sh bench/plot.sh build/bench/parse.tsv $results/micro.svg
            printf '![time to parse a head](micro.svg)\n\n'
        fi
    done
}

run_footprint() {
    # shellcheck disable=SC2086
    sh bench/footprint.sh --markdown $footprint
}

for name; do
    case $name in
        download) say download "Whole downloads" run_download ;;
        shaped) say shaped "How near to ideal" run_shaped ;;
        ahead) say ahead "Asking ahead" run_ahead ;;
        ordered) say ordered "Handing on in order" run_ordered ;;
        ota) say ota "A device that updates itself" run_ota ;;
        micro) say micro "Small parts" run_micro ;;
        footprint) say footprint "Footprint" run_footprint ;;
    esac
done

[ -z "$failed" ] || {
    echo "run.sh: failed:$failed" >&2
    exit 1
}
echo "== Done; the tables and pictures are in $results"
