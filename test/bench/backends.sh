#!/bin/sh
# Compares select, poll and epoll as connections grow: what an echo of 64 bytes takes of the server's
# processor, when all connections speak, and when one does and the others are idle.  Draws
# docs/backends.svg by gnuplot, and prints the figures as a table.
#
#   test/bench/backends.sh [BUILD]     the programs are BUILD/bench/load and echo_cora; default: build
#
# The server is echo_cora, which takes its back end from CORA_BACKEND; load.c says how it is measured.
# select knows no descriptor above 1023, so its lines end at 1000 connections.
set -eu
build=${1:-build}
data=$build/backends.dat
sizes='10 30 100 300 1000 2000 4000 8000'

# Prints the lowest of three runs, in nanoseconds, as others' work only adds: BACKEND FORM CONNECTIONS
measure() {
    requests=20000
    [ "$2" = lone ] && requests=3000
    for _ in 1 2 3; do
        CORA_BACKEND=$1 "$build/bench/load" "$2" W7 cora 64 "$3" "$requests" "$build/bench/echo_cora" \
            'echo'
    done | sort -k4,4n | awk 'NR == 1 { print $4 }'
}

: >"$data"
for connections in $sizes; do
    for backend in select poll epoll; do
        [ "$backend" = select ] && [ "$connections" -gt 1000 ] && continue
        for form in 'echo' lone; do
            took=$(measure "$backend" "$form" "$connections")
            echo "$backend $form $connections $took" >>"$data"
        done
    done
done

awk '
    { took[$1, $2, $3] = sprintf("%.1f", $4 / 1000) }
    !seen[$3]++ { sizes[++count] = $3 }
    END {
        print "| microseconds of an echo | " line("", 0) "|"
        for (i = 0; i <= count; i++)
            printf "|---"
        print "|"
        forms["echo"] = "all speak"
        forms["lone"] = "one speaks"
        split("select poll epoll", backends, " ")
        split("echo lone", order, " ")
        for (f = 1; f <= 2; f++)
            for (b = 1; b <= 3; b++)
                print "| " backends[b] ", " forms[order[f]] " | " line(backends[b], order[f]) "|"
    }
    function line(backend, form,    i, text, cell) {
        for (i = 1; i <= count; i++) {
            cell = backend == "" ? sizes[i] : took[backend, form, sizes[i]]
            text = text (cell == "" ? "-" : cell) (i < count ? " | " : " ")
        }
        return text
    }' "$data"

gnuplot <<END
set terminal svg size 720,500
set output 'docs/backends.svg'
set logscale xy
set xlabel 'connections'
set ylabel 'microseconds of the server for an echo'
set xtics (10, 100, '1,000' 1e3, '8,000' 8e3)
set xrange [8:10000]
set key outside below
plot "< grep '^select lone' $data" using 3:(\$4/1000) with linespoints lc 1 pt 7 title 'select, one of them speaks', \
     "< grep '^poll lone' $data" using 3:(\$4/1000) with linespoints lc 2 pt 7 title 'poll, one of them speaks', \
     "< grep '^epoll lone' $data" using 3:(\$4/1000) with linespoints lc 3 pt 7 title 'epoll, one of them speaks', \
     "< grep '^select echo' $data" using 3:(\$4/1000) with linespoints dt 2 lc 1 pt 6 title 'select, all speak', \
     "< grep '^poll echo' $data" using 3:(\$4/1000) with linespoints dt 2 lc 2 pt 6 title 'poll, all speak', \
     "< grep '^epoll echo' $data" using 3:(\$4/1000) with linespoints dt 2 lc 3 pt 6 title 'epoll, all speak'
END
