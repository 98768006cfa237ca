#!/bin/sh
# Draws how the cost of a timer grows with their number (W5): docs/w5.svg, by gnuplot.
# Costs that grow as the work grows are straight lines on logarithmic axes.
set -eu
build=${1:-build}
data=$build/w5.dat
: >"$data"
for n in 1000 10000 100000 1000000; do
  for subject in cora libev; do
    "$build/bench/$subject" W5 "$n" | awk -v n="$n" -v s="$subject" '{ print s, $1, n, $4 }' >>"$data"
  done
done
gnuplot <<END
set terminal svg size 720,440
set output "docs/w5.svg"
set logscale xy
set xlabel "timers"
set ylabel "nanoseconds for each"
set key left top
plot for [phase in "start cancel fire"] for [subject in "cora libev"] \
  "< grep '^" . subject . " W5." . phase . " ' $data" using 3:4 with linespoints \
  title subject . ", " . phase
END
