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
subjects='cora: W1a W1b W2a W2b W3 W3n W4 W5 W6 W6t W7 W7t W7m W7mt W8 W8t W9a1 W9a W9at W9b W9c W10a W10b W11 W12: our own program
limit: W1a W1b W2a W2b W3 W3n W4 W5 W7 W7m W8 W9a W9at W9b W9c W10a W10b W11 W12: the same work by hand
libev: W1a W1b W5 W6 W6t W7 W7t W7m W8 W8t W11 W12: package libev-dev
libuv: W1a W1b W5 W6 W6t W7 W7m W8 W10a W10b W11 W12: package libuv1-dev
libevent: W1a W1b W5 W7 W7m W11 W12: package libevent-dev
tevent: W1a W1b W2a W2b W3 W5 W6 W6t W11 W12: packages libtevent-dev and libtalloc-dev
glib: W2a W2b: package libglib2.0-dev
tokio: W1a W1b W2a W2b W3 W3n W4 W6 W6t W7 W7t W7m W8 W8t W9a W9at W9b W9c: cargo and crates, by make setup
go: W2a W2b W3 W4 W6 W6t W7 W7t W7m W8 W8t W9a W9at W9b W9c: package golang-go
node: W2a W2b W3 W3n W4 W6 W6t W7 W7m W8 W9a W9at W9b W9c: package nodejs
uvloop: W1a W1b W2a W2b W3 W4 W5 W6 W6t W7 W7t W7m W7mt W8 W8t W9a W9at W9b W9c W11 W12: package python3-uvloop
asyncio: W1a W1b W2a W2b W3 W3n W4 W5 W6 W6t W7 W7t W7m W7mt W8 W8t W9a W9at W9b W9c W11 W12: package python3'

# n of each workload; a subject with its own n runs more because it is fast or fewer because it is
# slow.  Timers cost more among more, so W5's small n favour those subjects.  W7 has the bytes of a
# request and the connections in its name; n are the requests.  W7m's n are connections, W8's the
# requests for warming up.
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
W7.64x1 5000
W7.64x100 20000 asyncio=10000
W7.64x1000 10000 asyncio=5000
W7.64x8000 8000
W7.1024x1 5000
W7.1024x100 20000 asyncio=10000
W7.1024x1000 10000 asyncio=5000
W7.1024x8000 8000
W7t.64x1 5000
W7t.64x100 20000 asyncio=10000
W7t.64x1000 10000 asyncio=5000
W7t.64x8000 8000
W7t.1024x100 20000 asyncio=10000
W7m 8000
W7mt 8000
W8 10000
W8t 10000
W9a1 1000000
W9a 1000000 cora=5000000 limit=20000000 tokio=5000000 go=10000000 uvloop=200000 asyncio=200000
W9at 1000000 cora=5000000 limit=20000000 tokio=5000000 go=10000000 uvloop=200000 asyncio=200000
W9b 1000000 cora=10000000 limit=20000000 tokio=10000000 go=50000000
W9c 1000000 cora=5000000 limit=20000000 uvloop=100000 asyncio=100000
W10a 100000
W10b 1000000
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

# Whether load.c drives a workload.
is_network() {
    case $1 in
    W7* | W8*) return 0 ;;
    *) return 1 ;;
    esac
}

# The command that runs a subject's server, in the form that the workload asks for: with streams in
# W7t, W7mt and W8t, for those who have other forms, too.
server_of() {
    case $1:${2%%.*} in
    cora:W8t | uvloop:W8t | asyncio:W8t) form=http-streams ;;
    cora:*t | uvloop:*t | asyncio:*t) form=streams ;;
    *:W8*) form=http ;;
    *) form='echo' ;;
    esac
    case $1 in
    asyncio | uvloop) echo "$python $here/echo_python.py $1 $form" ;;
    node) echo "node $here/echo_node.js $form" ;;
    *) echo "$build/bench/echo_$1 $form" ;;
    esac
}

has_server() {
    case $1 in
    asyncio | uvloop | node) is_there "$1" ;;
    *) [ -x "$build/bench/echo_$1" ] ;;
    esac
}

# Prints the names of the subjects whose servers can run; says which were not built.
find_servers() {
    echo "$subjects" | while IFS=: read -r name _ package; do
        if ! has "$name" W7; then
            continue
        elif has_server "$name"; then
            echo "$name"
        else
            echo "missing: the server of $name (${package# })" >&2
        fi
    done
}

# The bytes of a workload's request, or the seconds for wrk; and on how many connections.
bytes_of() {
    case $1 in
    W8*) echo 1 ;;
    *.*x*) echo "$1" | sed 's/.*\.//; s/x.*//' ;;
    *) echo 64 ;;
    esac
}

connections_of() {
    case $1 in
    *.*x*) echo "${1##*x}" ;;
    W7m*) size_of "$1" "$2" ;;
    *) echo 100 ;;
    esac
}

# Runs load.c: its measure, the name of the result, the subject, workload, requests, and the words
# that go before the server's.
load() {
    measure=$1 phase=$2 subject=$3 workload=$4 requests=$5
    shift 5
    command=$(server_of "$subject" "$workload")
    # The command is split into words on purpose.
    # shellcheck disable=SC2086
    "$build/bench/load" "$measure" "$phase" "$subject" "$(bytes_of "$workload")" \
        "$(connections_of "$workload" "$subject")" "$requests" "$@" $command
}

# The calls to malloc of programs that are built by the linker count; the other languages have
# allocators of their own.
run_server() {
    case $1 in
    W7m*) measure=idle phase=$1.bytes ;;
    W7*) measure='echo' phase=$1 ;;
    *) measure=wrk phase=$1 ;;
    esac
    case $2 in
    go | node | uvloop | asyncio) preload= ;;
    *) preload=$build/bench/echo_allocations.so ;;
    esac
    (
        if [ -f "$preload" ]; then
            export BENCH_PRELOAD="$preload"
        fi
        load "$measure" "$phase" "$2" "$1" "$3"
    ) >>"$results" || broken "$1 $2"
}

# Whether a workload can be run here; says why not.
is_possible() {
    case $1 in
    *x8000 | W7m*)
        # shellcheck disable=SC3045 # dash and bash have it
        limit=$(ulimit -Hn)
        if [ "$limit" != unlimited ] && [ "$limit" -lt 8100 ]; then
            echo "left out: $1: at most $limit descriptors (ulimit -Hn)" >&2
            left_out=yes
            return 1
        fi
        ;;
    W8*)
        if ! command -v wrk >/dev/null; then
            echo "missing: wrk (package wrk), which asks for the pages of $1" >&2
            left_out=yes
            return 1
        fi
        ;;
    esac
}

run_workload() {
    is_possible "$1" || return 0
    takers=$present
    if is_network "$1"; then
        if [ ! -f "$build/bench/echo_allocations.so" ]; then
            echo "missing: echo_allocations.so, which counts calls to malloc" >&2
        fi
        takers=$servers
    fi
    round=1
    while [ "$round" -le "$rounds" ]; do
        for subject in $takers; do
            if has "$subject" "$1"; then
                progress "$1 $subject $round/$rounds"
                n=$(size_of "$1" "$subject")
                if is_network "$1"; then
                    run_server "$1" "$subject" "$n"
                else
                    run_one "$1" "$subject" "$n"
                fi
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

# The same for a server: what more requests take.  load.c sends each number twice.
few_requests=1000
many_requests=3000

# How many instructions, or system calls, a server makes in a run: measure, subject, workload,
# requests.
server_instructions() {
    load "$1" - "$2" "$3" "$4" valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --log-file="$results.log" >/dev/null || broken "$3 $2 under valgrind"
    awk '/Collected/ { print $NF }' "$results.log"
}

server_calls() {
    load "$1" - "$2" "$3" "$4" strace -f -c -o "$results.log" >/dev/null ||
        broken "$3 $2 under strace"
    awk '$NF == "total" { print $4 }' "$results.log"
}

# Adds a result line: counter, suffix of its name, workload, subject.
count_at_server() {
    case $3 in
    W8*) measure=http ;;
    *) measure='echo' ;;
    esac
    progress "$3 $4 ${2#.}"
    few=$("$1" "$measure" "$4" "$3" "$few_requests")
    many=$("$1" "$measure" "$4" "$3" "$many_requests")
    awk -v phase="$3$2" -v subject="$4" -v few="$few" -v many="$many" \
        -v n=$((2 * (many_requests - few_requests))) 'BEGIN {
        printf "%s\t%s\t%d\t%.3f\t-\n", phase, subject, n, (many - few) / n
    }' >>"$results"
}

# The calls of a workload's subjects, or of those that are named.
count_all_calls() {
    workload=$1
    shift
    if ! command -v strace >/dev/null; then
        echo "missing: strace (package strace), which counts system calls" >&2
        return
    fi
    for subject in $servers; do
        case " ${*:-$subject} " in
        *" $subject "*) ;;
        *) continue ;;
        esac
        if has "$subject" "$workload"; then
            count_at_server server_calls .calls "$workload" "$subject"
        fi
    done
}

count_all_server_instructions() {
    if ! command -v valgrind >/dev/null; then
        echo "missing: valgrind (package valgrind), which counts instructions" >&2
        return
    fi
    for subject in $servers; do
        case $subject in
        go | node | uvloop | asyncio) continue ;;
        esac
        if has "$subject" "$1"; then
            count_at_server server_instructions .instructions "$1" "$subject"
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
servers=$(find_servers)
left_out= # whether a workload cannot be run here

for workload in $(echo "$sizes" | awk '{ print $1 }'); do
    case $workload in
    "$only"*)
        run_workload "$workload"
        case $workload in
        W1b | W2[ab] | W3* | W9*) count_all_instructions "$workload" ;;
        W7*.64x1 | W7*.64x100 | W8*)
            count_all_calls "$workload"
            count_all_server_instructions "$workload"
            ;;
        W7*.1024x100 | W7*.64x1000) count_all_calls "$workload" cora libev ;;
        W12) measure_texts ;;
        esac
        ;;
    esac
done
clear_progress

if [ ! -s "$results" ] && [ -n "$left_out" ]; then
    exit 0
fi
[ -s "$results" ] || broken "nothing to run for W=$only"
awk -f "$here/summary.awk" "$results" >"$build/bench.tsv" || broken "summary.awk"
awk -f "$here/report.awk" "$here/targets.tsv" "$build/bench.tsv" || broken "report.awk"
