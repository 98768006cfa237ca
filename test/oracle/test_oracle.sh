#!/bin/sh
# Runs the interpreter of the oracle's language over the programs that are kept here, and over those
# in $SHARED/oracle/corpus. Prints TAP: a line for each program kept here, one for each profile
# there.
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

# What the generator can be told to make programs of; some are kept here of each.
profiles="futures tasks gather wait timeouts taskgroup locks condition barrier event queue"
profiles="$profiles lifo_queue priority_queue eager mixed"

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
} | awk -v all="$profiles" -v whole="$([ -n "$wanted" ] || echo 1)" '
function result(well, sentence) {
    print (well ? "" : "not ") "ok " ++number " - oracle " sentence
    failed += !well
}

/^#/ && !shared { print }
/^#/ && shared { why[profile] = why[profile] "\n" $0 }
$1 == "shared" { shared = 1; next }

/^(passed|failed) / && !shared {
    result($1 == "passed", $2 " (" $3 "): prints the trace of CPython")
    kept[$3]++
}

/^(passed|failed) / && shared {
    profile = $3
    if (!(profile in count))
        order[++profiles] = profile
    count[profile]++
    many[profile, $1]++
    if ($1 == "failed")
        why[profile] = why[profile] "\n# program " $2
}

END {
    absent = ""
    for (i = split(all, expected, " "); i > 0; i--)
        if (!(expected[i] in kept))
            absent = absent " " expected[i]
    if (whole)
        result(absent == "", "programs of all profiles are kept")
    if (whole && absent)
        print "# but none of" absent
    for (i = 1; i <= profiles; i++) {
        profile = order[i]
        bad = many[profile, "failed"] + 0
        result(bad == 0, "corpus, " profile ": the " count[profile] \
               " programs print the traces of CPython")
        if (bad)
            print substr(why[profile], 2)
    }
    print "1.." number + 0
    exit failed > 0
}'
