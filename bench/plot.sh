#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Draws ratios with their 90 % intervals, as bars in blocks:
#
#     sh bench/plot.sh <data> <picture.svg> [<case>...]
#
# The data are lines of five columns, separated by tabs: case, client, ratio, low, high; such as
# `bench_download --data FILE` writes. A line that begins with "# " says what the ratio is. All cases
# unless some are named. Of hand-written loops only those with ratio 1 are drawn, the floors.

set -eu

[ $# -ge 2 ] || { echo "usage: plot.sh <data> <picture.svg> [<case>...]" >&2; exit 2; }
data=$1
picture=$2
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One block of bars for each case, upside down, since gnuplot counts from below, under a line with
# its name. A bar that is longer than the picture is wide ends at its edge, and says its length.
wanted=${1:+" $* "}
awk -F'\t' -v wanted="$wanted" -v out="$work" -v widest=5 '
    function kind(name) {
        if (name ~ /^cleave/) return 1
        if (name ~ /^(splice|recv|SSL_read|floor|goal)/) return 2
        return 3
    }
    /^# / {
        print "what = \"" substr($0, 3) "\"" >(out "/size")
        next
    }
    (wanted == "" || index(wanted, " " $1 " ")) && ($2 == "goal" || kind($2) != 2 || $3 == 1) {
        if ($1 != last) { rows[++n] = $1; last = $1; is_head[n] = 1 }
        rows[++n] = $0
    }
    END {
        for (i = 1; i <= n; ++i) {
            y = n - i
            if (is_head[i]) {
                printf "set label \"%s\" at graph 0, first %d left offset 0.5,0 font \",11\"\n",
                    rows[i], y >(out "/labels")
                continue
            }
            split(rows[i], f, "\t")
            for (k = 3; k <= 5; ++k) {
                shown[k] = f[k] > widest ? widest : f[k]
                if (shown[k] > most) most = shown[k]
            }
            printf "%d\t%s\t%s\t%s\t%d\t\"%s\"\t%s\n", y, shown[3], shown[4], shown[5],
                kind(f[2]), f[2], f[3] >(out "/bars")
        }
        printf "rows = %d\nmost = %s\n", n, most * 1.12 >(out "/size")
    }
' "$data"
[ -s "$work/bars" ] || { echo "plot.sh: nothing to draw in $data" >&2; exit 1; }

gnuplot <<END
what = "ratio"
load "$work/size"
set terminal svg size 760, 60 + 20 * rows font "sans-serif,10" background "white" noenhanced
set output "$picture"
set style fill solid 1 noborder
set boxwidth 0.7
set yrange [-0.7 : rows - 0.3]
set xrange [0 : most]
set xlabel what
set datafile separator "\t"
set lmargin 26
set tics scale 0 textcolor rgb "black"
set grid xtics lc rgb "#dddddd"
set border 1 lc rgb "#888888"
unset key
load "$work/labels"
set arrow from 1, graph 0 to 1, graph 1 nohead lc rgb "#444444" dt 2 front
color(kind) = kind == 1 ? 0x2b6cb0 : kind == 2 ? 0x38a169 : 0xb0b0b0
plot "$work/bars" using (\$2 / 2):1:(\$2 / 2):(0.35):(color(\$5)):ytic(6) \
         with boxxyerror lc rgb variable, \
     "" using 2:1:3:4 with xerrorbars pt 0 lc rgb "#222222", \
     "" using 4:1:(sprintf("%.2f", \$7)) with labels left offset 0.5,0
END
