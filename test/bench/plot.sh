#!/bin/sh
# Draws how costs grow with the work, by gnuplot: docs/w5.svg for timers, docs/futures.svg for
# futures (W2 with all of them in flight), gathers (W4) and sleepers (W6).
# Costs that grow as the work grows are straight lines on logarithmic axes.
set -eu
build=${1:-build}

# Appends "subject phase n ns" to a file: the lowest of three runs, as others' work only adds.
measure() { # file subject workload n
    for _ in 1 2 3; do
        "$build/bench/$2" "$3" "$4"
    done | grep -v bytes | sort -k1,1 -k4,4n |
        awk -v n="$4" '{ if (++count[$1] == 1) print $2, $1, n, $4 }' >>"$1"
}

# Draws lines from a file: each is "subject phase", then its title, separated by a colon.
draw() { # file image what lines
    {
        echo "set terminal svg size 720,500"
        echo "set output '$2'"
        echo "set logscale xy"
        echo "set xlabel '$3'"
        echo "set ylabel 'nanoseconds for each'"
        echo "set xtics ('1,000' 1e3, '10,000' 1e4, '100,000' 1e5, '1,000,000' 1e6)"
        echo "set xrange [800:1250000]"
        echo "set key outside below"
        echo "$4" | awk -F: -v data="$1" '{
            printf "%s \"< grep \x27^%s \x27 %s\" using 3:4 with linespoints title \"%s\"",
                NR == 1 ? "plot" : ",", $1, data, $2 }'
        echo
    } | gnuplot
}

rm -f "$build/w5.dat" "$build/futures.dat"
for n in 1000 10000 100000 1000000; do
    for subject in cora libev; do
        measure "$build/w5.dat" "$subject" W5 "$n"
        measure "$build/futures.dat" "$subject" W6 "$n"
    done
    for subject in cora limit; do
        measure "$build/futures.dat" "$subject" W2n "$n"
        measure "$build/futures.dat" "$subject" W4 "$n"
    done
done

draw "$build/w5.dat" docs/w5.svg timers 'cora W5.start:cora, start
libev W5.start:libev, start
cora W5.cancel:cora, cancel
libev W5.cancel:libev, cancel
cora W5.fire:cora, fire
libev W5.fire:libev, fire'

draw "$build/futures.dat" docs/futures.svg 'futures in flight, children, sleepers' \
    'cora W2n:cora, future with a callback
limit W2n:limit, future with a callback
cora W4:cora, child of a gather
limit W4:limit, child of a gather
cora W6:cora, processor time of a sleeper
libev W6:libev, processor time of a sleeper'
