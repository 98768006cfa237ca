#!/bin/sh
# Runs the benchmarks: ours, the limit and every peer that is there.
#
# How it works: one table says which subject runs which workload with which n.  The subjects run in
# turn, A B C A B C ..., for ROUNDS rounds, so that a busy moment of the machine hits all alike.
# Each run is a process of its own that prints result lines; summary.awk takes medians into
# BUILD/bench.tsv, report.awk prints them and checks targets.tsv.  Every run appends to one file in
# BUILD, which is kept for whoever doubts a median.
#
#   test/bench/run.sh [BUILD]     the programs are BUILD/bench/SUBJECT; default: build
#   W=W5                          only workloads whose names begin so
#   ROUNDS=10                     how many rounds, default 5
#   LIBRARY=build/libcora.so      our shared library, for its size; default BUILD/libcora.so
#   PYTHON=python3                the interpreter that has uvloop; default /usr/bin/python3
#
# Exit status: 0, also when a target is missed (noise must not fail a build), or 2 when a program
# broke.
set -u

here=$(dirname "$0")
build=${1:-${BUILD:-build}}
only=${W:-}
rounds=${ROUNDS:-5}
python=${PYTHON:-/usr/bin/python3}
library=${LIBRARY:-$build/libcora.so}
results=$build/bench.raw

# A subject, its workloads (those with sizes under the name before the point), and what to install
# when it is missing.
subjects='cora: W1a W1b W2a W2b W3 W3n W4 W5 W6 W6t W9a1 W9a W9at W9b W9c W11 W12: our own program
limit: W1a W1b W2a W2b W3 W3n W4 W5 W9a W9at W9b W9c W11 W12: the same work by hand
libev: W1a W1b W5 W6 W6t W11 W12: package libev-dev
libuv: W1a W1b W5 W6 W6t W11 W12: package libuv1-dev
libevent: W1a W1b W5 W11 W12: package libevent-dev
tevent: W1a W1b W2a W2b W3 W5 W6 W6t W11 W12: packages libtevent-dev and libtalloc-dev
glib: W2a W2b: package libglib2.0-dev
tokio: W1a W1b W2a W2b W3 W3n W4 W6 W6t W9a W9at W9b W9c: cargo and crates, by make setup
go: W2a W2b W3 W4 W6 W6t W9a W9at W9b W9c: package golang-go
node: W2a W2b W3 W3n W4 W6 W6t W9a W9at W9b W9c: package nodejs
uvloop: W1a W1b W2a W2b W3 W4 W5 W6 W6t W9a W9at W9b W9c W11 W12: package python3-uvloop
asyncio: W1a W1b W2a W2b W3 W3n W4 W5 W6 W6t W9a W9at W9b W9c W11 W12: package python3'

# n of each workload; a subject with its own n runs more because it is fast or fewer because it is
# slow.  Timers cost more among more, so W5's small n favour those subjects.
sizes='W1a 2000000 cora=20000000 limit=20000000 libevent=20000000 uvloop=500000 asyncio=200000
W1b 20000000 tevent=2000000 tokio=2000000 uvloop=500000 asyncio=500000
W2a 1000000 cora=10000000 limit=20000000 uvloop=200000 asyncio=200000
W2b 1000000 cora=10000000 limit=20000000 uvloop=200000 asyncio=200000
W3 1000000 cora=5000000 limit=20000000 uvloop=200000 asyncio=200000
W3n 1000000 cora=10000000 limit=20000000 tokio=20000000
W4.1e3 1000
W4.1e4 10000
W4.1e5 100000
W4.1e6 1000000
W5 1000000 tevent=10000 uvloop=100000 asyncio=100000
W6 100000
W6t 100000
W9a1 1000000
W9a 1000000 cora=5000000 limit=20000000 tokio=5000000 go=10000000 uvloop=200000 asyncio=200000
W9at 1000000 cora=5000000 limit=20000000 tokio=5000000 go=10000000 uvloop=200000 asyncio=200000
W9b 1000000 cora=10000000 limit=20000000 tokio=10000000 go=50000000
W9c 1000000 cora=5000000 limit=20000000 uvloop=100000 asyncio=100000
W11 1000000 tevent=100000 uvloop=100000 asyncio=50000
W12 200 uvloop=20 asyncio=20'

broken() {
    clear_progress
    echo "broken: $*" >&2
    exit 2
}

# Prints "workload subject round" over itself, on a terminal only.
progress() {
    if [ -t 2 ]; then
        printf '\r\033[K%s' "$*" >&2
    fi
}

clear_progress() {
    if [ -t 2 ]; then
        printf '\r\033[K' >&2
    fi
}

# The command that runs a subject.
command_of() {
    case $1 in
    asyncio | uvloop) echo "$python $here/asyncio_peer.py $1" ;;
    node) echo "node $here/node_peer.js" ;;
    *) echo "$build/bench/$1" ;;
    esac
}

is_there() {
    case $1 in
    asyncio | uvloop) "$python" -c "import $1" 2>/dev/null ;;
    node) command -v node >/dev/null ;;
    *) [ -x "$build/bench/$1" ] ;;
    esac
}

# Prints the names of the subjects that can run; says on standard error which cannot.
find_subjects() {
    echo "$subjects" | while IFS=: read -r name _ package; do
        if is_there "$name"; then
            echo "$name"
        else
            echo "missing: $name (${package# })" >&2
        fi
    done
}

# Whether a subject has a workload, whose size does not count.
has() {
    echo "$subjects" | awk -F: -v subject="$1" -v workload="${2%%.*}" '
        $1 == subject && index($2 " ", " " workload " ") { found = 1 }
        END { exit !found }'
}

# The n of a workload for a subject.
size_of() {
    echo "$sizes" | awk -v workload="$1" -v subject="$2" '
        $1 == workload {
            n = $2
            for (i = 3; i <= NF; i++)
                if (split($i, pair, "=") == 2 && pair[1] == subject)
                    n = pair[2]
            print n
        }'
}

# Appends the lines of a run, in which W4.1e3 calls itself W4.  The bytes of few objects are left
# out: they would be pages and the start of a heap.
add_lines() {
    awk -v workload="$1" '
        BEGIN { FS = OFS = "\t" }
        { sub("^" substr(workload, 1, index(workload ".", ".") - 1), workload, $1) }
        $1 !~ /bytes$/ || $3 >= 100000' "$2" >>"$results"
}

# W12 times processes from outside: n of them, each up to its first callback.
run_one() {
    command=$(command_of "$2")
    if [ "$1" = W12 ]; then
        command="$build/bench/spawn W12.start $2 $3 $command W12 1"
    else
        command="$command ${1%%.*} $3"
    fi
    # The command is split into words on purpose.
    # shellcheck disable=SC2086
    $command >"$results.one" || broken "$command"
    add_lines "$1" "$results.one"
}

run_workload() {
    round=1
    while [ "$round" -le "$rounds" ]; do
        for subject in $present; do
            if has "$subject" "$1"; then
                progress "$1 $subject $round/$rounds"
                run_one "$1" "$subject" "$(size_of "$1" "$subject")"
            fi
        done
        round=$((round + 1))
    done
}

# How many instructions a run takes, of a program in C or Rust.
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 | awk '
        /Collected/ { print $NF }'
}

# Adds a result line with the instructions for an operation, the benchmark's own callback and its
# share of the loop included: those of 20,000 more operations, in both rounds.
count_instructions() {
    few=$(instructions "$build/bench/$2" "$1" 10000)
    many=$(instructions "$build/bench/$2" "$1" 30000)
    awk -v workload="$1" -v subject="$2" -v few="$few" -v many="$many" 'BEGIN {
        printf "%s.instructions\t%s\t20000\t%.1f\t-\n", workload, subject, (many - few) / 40000
    }' >>"$results"
}

count_all_instructions() {
    if ! command -v valgrind >/dev/null; then
        echo "missing: valgrind (package valgrind), which counts instructions" >&2
        return
    fi
    for subject in $present; do
        case $subject in
        go | node | uvloop | asyncio) continue ;;
        esac
        if has "$subject" "$1"; then
            progress "$1 $subject instructions"
            count_instructions "$1" "$subject"
        fi
    done
}

# The file a program loads as that shared library.
loaded_library() {
    ldd "$build/bench/$1" | awk -v name="$2" 'index($1, name) == 1 { print $3; exit }'
}

# Adds a result line with the bytes of code and constants, which stripping does not change.
measure_text() {
    [ -f "$2" ] || return 0
    size "$2" | awk -v subject="$1" '
        NR == 2 { printf "W12.text\t%s\t1\t%d\t-\n", subject, $1 }' >>"$results"
}

measure_texts() {
    if ! command -v size >/dev/null; then
        echo "missing: size (package binutils)" >&2
        return
    fi
    if [ -f "$library" ]; then
        measure_text cora "$library"
    else
        echo "missing: libcora.so ($library)" >&2
    fi
    for pair in libev=libev.so libuv=libuv.so libevent=libevent_core- tevent=libtevent.so; do
        if [ -x "$build/bench/${pair%=*}" ]; then
            measure_text "${pair%=*}" "$(loaded_library "${pair%=*}" "${pair#*=}")"
        fi
    done
}

mkdir -p "$build/bench" || exit 2
: >"$results" || exit 2
present=$(find_subjects)

for workload in $(echo "$sizes" | awk '{ print $1 }'); do
    case $workload in
    "$only"*)
        run_workload "$workload"
        case $workload in
        W1b | W2[ab] | W3* | W9*) count_all_instructions "$workload" ;;
        W12) measure_texts ;;
        esac
        ;;
    esac
done
clear_progress

[ -s "$results" ] || broken "nothing to run for W=$only"
awk -f "$here/summary.awk" "$results" >"$build/bench.tsv" || broken "summary.awk"
awk -f "$here/report.awk" "$here/targets.tsv" "$build/bench.tsv" || broken "report.awk"
