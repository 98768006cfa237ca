#!/bin/sh
# Runs programs and compares their traces with those of CPython that lie beside them.
#
#     compare.sh ORACLE PROGRAM...
#
# Prints a line for each program: passed or failed, its number, its profile, and for a failed one
# the first line that differs, in both traces.
#
#     LIMIT=2       seconds of real time per program (default 10)
#     MOST=3        stops when so many have failed (default: goes on to the end)

set -u

oracle=$1
shift
failures=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Why a program failed, in lines that start with #.
reason() {
    [ "$2" = 124 ] && echo "# it does not end"
    [ "$2" != 0 ] && echo "# exit code $2: $(head -n 1 "$work/err")"
    diff "$1" "$work/out" | awk '
        !at++ { sub(/[acd,].*/, ""); print "# line " $0 }
        /^</ && !theirs++ { print "# CPython: " substr($0, 3) }
        /^>/ && !ours++ { print "# Cora:    " substr($0, 3) }'
}

compare() {
    number=${1##*/}
    number=${number%.prog}
    trace=${1%.prog}.trace
    read -r header <"$1"
    profile=${header#*profile }
    profile=${profile%%[ :]*}
    timeout "${LIMIT:-10}" "$oracle" "$1" >"$work/out" 2>"$work/err"
    code=$?
    if [ "$code" = 0 ] && cmp -s "$work/out" "$trace"; then
        echo "passed $number $profile"
    else
        failures=$((failures + 1))
        echo "failed $number $profile"
        reason "$trace" "$code"
    fi
}

for program in "$@"; do
    [ "$failures" = "${MOST:-none}" ] && break
    # The shell's own word about a program that died would be one more line.
    compare "$program" 2>/dev/null
done
