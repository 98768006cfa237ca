#!/bin/sh
# Runs every program there is, of the corpus kept here and of $SHARED/oracle/corpus, or those that
# are named. Prints how far it is, what failed, and in the last line how many passed and failed.
#
#     oracle.sh OUT [PROGRAM...]    the interpreter is OUT/oracle

set -u

here=$(dirname "$0")
out=$1
shift
if [ $# = 0 ]; then
    set -- "$here"/corpus/*.prog
    for program in "${SHARED:-/nonexistent}"/oracle/corpus/*.prog; do
        [ -e "$program" ] && set -- "$@" "$program"
    done
fi

terminal=
[ -t 1 ] && terminal=1
"$here/compare.sh" "$out/oracle" "$@" | awk -v total=$# -v terminal="$terminal" '
/^#/ { print "    " $0; next }
{
    many[$1]++
    at++
    if (terminal)
        printf "\r\033[K[%d/%d] %s %s", at, total, $2, $3
    if ($1 == "failed")
        print (terminal ? "\r\033[K" : "") $2 " (" $3 ") differs"
    else if (!terminal && at % 500 == 0)
        print at " of " total
    fflush()
}
END {
    if (terminal)
        printf "\r\033[K"
    printf "%d passed, %d failed\n", many["passed"], many["failed"]
    exit many["failed"] > 0 || many["passed"] == 0
}'
