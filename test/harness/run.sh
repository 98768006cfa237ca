#!/bin/sh
# Runs test programs and sums up.
#
#     run.sh OUTDIR PROGRAM...
#
# The TAP of build/test/reactor/test_loop goes to OUTDIR/test_reactor_test_loop.tap; what earlier
# runs left in OUTDIR is removed first. Failing tests are printed with their comments, and the last
# line is `N passed, N failed, N skipped`. Exit code 1 when a test failed or none ran.
#
#     JOBS=4        programs at a time (default: the number of processors)
#     T=name        only the tests whose name contains this
#     WRAPPER=...   put before each program, for instance "valgrind -q --error-exitcode=99"; the
#                   tests of a program then share one process (TEST_IN_PROCESS=1)
#
# A program that dies, or prints other results than its plan says, is a failure of its own. Each
# program leaves three files: .tap, .err (its standard error) and .code (its exit code).

set -u

name_of() {
    printf '%s' "${1##*build/}" | tr / _
}

# One program; this script calls itself with --one through xargs.
run_one() {
    name=$(name_of "$2")
    file=$1/$name
    case $2 in */*) program=$2 ;; *) program=./$2 ;; esac
    if [ -n "${WRAPPER-}" ]; then
        export TEST_IN_PROCESS=1
    fi
    # The wrapper is a command with arguments: split into words on purpose.
    # shellcheck disable=SC2086
    ${WRAPPER-} "$program" ${T:+"$T"} >"$file.tap" 2>"$file.err" </dev/null
    echo $? >"$file.code"
    if [ -n "${RUN_TOTAL-}" ]; then
        done_now=$(find "$1" -name '*.code' | wc -l)
        printf '\r\033[K[%d/%d] %s' "$done_now" "$RUN_TOTAL" "$name"
    fi
}

if [ "${1-}" = --one ]; then
    run_one "$2" "$3"
    exit 0
fi

if [ $# -lt 2 ]; then
    echo "usage: run.sh OUTDIR PROGRAM..." >&2
    exit 1
fi

out=$1
shift
mkdir -p "$out" || exit 1
rm -f "$out"/*.tap "$out"/*.err "$out"/*.code

RUN_TOTAL=
if [ -t 1 ]; then
    RUN_TOTAL=$#
fi
export RUN_TOTAL

printf '%s\0' "$@" |
    xargs -0 -n 1 -P "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" sh "$0" --one "$out"
if [ -n "$RUN_TOTAL" ]; then
    printf '\r\033[K'
fi

for program in "$@"; do
    name_of "$program"
    echo
done | awk -v out="$out" -v wanted="${T-}" -v terminal="$RUN_TOTAL" '

# The first line of a file; "" when there is none.
function first_line(file,    line) {
    line = ""
    getline line <file
    close(file)
    return line
}

function complain(message) {
    print name ": " message
    failed++
    complained = 1
}

function show_errors(    line, n) {
    while ((getline line <(out "/" name ".err")) > 0 && n++ < 200)
        print "    " line
    close(out "/" name ".err")
}

# Counts the results of one file, and prints what failed.
function read_tap(file,    line, failing) {
    plan = -1
    results = bad = took = 0
    while ((getline line <file) > 0) {
        if (line ~ /^1\.\.[0-9]+$/)
            plan = substr(line, 4) + 0
        else if (line ~ /^# took [0-9.]+ s$/)
            took = substr(line, 8) + 0
        else if (line ~ /^Bail out!/ || (failing && line ~ /^#/))
            print "    " line
        if (line !~ /^(not )?ok /)
            continue
        results++
        failing = line ~ /^not ok /
        if (failing) {
            bad++
            print name ": " line
        } else if (line ~ / # SKIP/) {
            skipped++
        } else {
            passed++
        }
    }
    close(file)
    failed += bad
}

function judge(code) {
    complained = 0
    if (code == "")
        complain("was not run")
    else if (plan < 0)
        complain("ended before its plan, with exit code " code)
    else if (results != plan)
        complain("ended after " results " of " plan " tests, with exit code " code)
    else if (code != 0 && bad == 0)
        complain("no test failed, but the exit code is " code)
    else if (code == 0 && bad > 0)
        complain("tests failed, but the exit code is 0")
    if (complained || bad > 0)
        show_errors() # with a wrapper, what it says is there
}

# Keeps the three slowest programs, the slowest first.
function note_time(    i, j) {
    for (i = 1; i <= 3 && time[i] + 0 >= took; i++)
        ;
    for (j = 3; j > i; j--) {
        time[j] = time[j - 1]
        slow[j] = slow[j - 1]
    }
    if (i <= 3) {
        time[i] = took
        slow[i] = name
    }
}

{
    name = $0
    read_tap(out "/" name ".tap")
    judge(first_line(out "/" name ".code"))
    note_time()
}

END {
    ran = passed + failed + skipped
    if (terminal != "" && ran > 0) {
        printf "slowest:"
        for (i = 1; i <= 3 && slow[i] != ""; i++)
            printf "%s %s %.1f s", (i > 1 ? "," : ""), slow[i], time[i]
        print ""
    }
    if (ran == 0 && wanted != "")
        print "no test has a name with \"" wanted "\" in it"
    else if (ran == 0)
        print "no program has a test"
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || ran == 0
}'
