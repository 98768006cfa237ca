#!/bin/sh
# What the command oracle promises apart from traces: programs that are malformed are refused before
# anything runs, and the traces of several programs come one after the other. Prints TAP.
#
#     test_command.sh [OUT]         the interpreter is OUT/oracle; default $OUT, else build
#     T=name test_command.sh        nothing, unless "command" contains this (as run.sh says it)

set -u

here=$(dirname "$0")
out=${OUT:-build}
wanted=${T-}
if [ $# -gt 0 ] && [ "$1" != "$wanted" ]; then
    out=$1
fi
# shellcheck disable=SC2194
case command in *"$wanted"*) ;; *) echo "1..0" && exit 0 ;; esac

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
number=0
failed=0

# result STATUS SENTENCE
result() {
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - oracle command: $2"
    else
        failed=1
        echo "not ok $number - oracle command: $2"
        sed 's/^/# /' "$work/err"
    fi
}

# refused SENTENCE LINE...: that program ends the command with status 2, a line, and no trace
refused() {
    sentence=$1
    shift
    printf '%s\n' "$@" >"$work/program"
    "$out/oracle" "$work/program" >"$work/out" 2>"$work/err"
    [ $? = 2 ] && [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" = 1 ]
    result $? "$sentence is refused"
}

refused "a program without main" 'future f1'
refused "an unknown declaration" 'frob f1' main end
refused "an unknown instruction" main frob end
refused "a block without an end" main 'repeat 2' 'yield' end
refused "an operand too few" main sleep end
refused "an operand too many" main 'yield 3' end
refused "a number that is none" main 'sleep soon' end
refused "a queue without a size" 'queue q1' main end
refused "a condition whose lock is an event" 'event e1' 'condition c1 e1' main end
refused "a name that is nowhere bound" main 'await t1' end
refused "a name of another kind" 'future f1' main 'uncancel f1' end
refused "a name of two kinds" 'future t1' 'coro a' end main 'spawn t1 a' end
refused "an error that cannot be raised" main 'raise NameError' end
refused "self in a list" main 'gather g1 self' end
refused "an await in a callback" 'callback k1' yield end main end
refused "the abort of a barrier in a callback" 'barrier b1 2' 'callback k1' 'barrier_abort b1' end \
    main end
refused "a return in finally" main try finally return end end
refused "a reraise outside of except" main try reraise except any end end
refused "an except that is no part of a try" main 'except any' end

"$out/oracle" >"$work/out" 2>"$work/err"
[ $? = 2 ]
result $? "without programs it says how it is used"

set -- "$here/corpus/90001" "$here/corpus/90003"
cat "$1.trace" "$2.trace" >"$work/both"
"$out/oracle" "$1.prog" "$2.prog" 2>"$work/err" | cmp -s - "$work/both"
result $? "the traces of several programs come one after the other"

echo "1..$number"
exit $failed
