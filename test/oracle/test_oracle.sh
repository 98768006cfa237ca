#!/bin/sh
# Runs the interpreter of the oracle's language over the programs that are kept here, and over those
# in $SHARED/oracle/corpus as far as Cora has what they need. Prints TAP: a line for each program
# kept here, one for each profile there.
#
#     test_oracle.sh [OUT]          the interpreter is OUT/oracle; default $OUT, else build
#     T=name test_oracle.sh         only programs whose number contains this (as run.sh says it)
#     SHARED=folder                 where the whole corpus is; without one the kept programs suffice

set -u

here=$(dirname "$0")
out=${OUT:-build}
wanted=${T-}
if [ $# -gt 0 ] && [ "$1" != "$wanted" ]; then
    out=$1
fi

# Those of a corpus that are wanted.
programs() {
    for program in "$1"/*.prog; do
        case $(basename "$program") in
        *"$wanted"*) [ -e "$program" ] && echo "$program" ;;
        esac
    done
}

run() {
    # Paths without spaces: split into words on purpose.
    # shellcheck disable=SC2046
    "$here/compare.sh" "$out/oracle" $(programs "$1")
}


{
    run "$here/corpus"
    echo shared
    if [ -d "${SHARED:-/nonexistent}/oracle/corpus" ]; then
        run "$SHARED/oracle/corpus"
    fi
} | awk '
function result(well, sentence) {
    print (well ? "" : "not ") "ok " ++number " - oracle " sentence
    failed += !well
}

/^#/ && !shared { print }
/^#/ && shared { why[profile] = why[profile] "\n" $0 }
$1 == "shared" { shared = 1; next }

# What is kept here is there: to skip it is to fail.
/^(passed|failed|skipped) / && !shared {
    result($1 == "passed", $2 " (" $3 "): prints the trace of CPython")
    if ($1 == "skipped")
        print "# it was skipped"
}

/^(passed|failed|skipped) / && shared {
    profile = $3
    if (!(profile in count))
        order[++profiles] = profile
    count[profile]++
    many[profile, $1]++
    if ($1 == "failed")
        why[profile] = why[profile] "\n# program " $2
}

END {
    for (i = 1; i <= profiles; i++) {
        profile = order[i]
        good = many[profile, "passed"] + 0
        bad = many[profile, "failed"] + 0
        if (good + bad == 0)
            continue
        result(bad == 0, "corpus, " profile ": the " good + bad " of " count[profile] \
               " programs that can run print the traces of CPython")
        if (bad)
            print substr(why[profile], 2)
    }
    print "1.." number + 0
    exit failed > 0
}'
