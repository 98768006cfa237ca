#!/bin/sh
# Shows that the oracle bites: each file of mutations/ breaks the library in one way, and at least
# one of the kept programs must notice. Prints TAP, with how many did.
#
#     test_teeth.sh [OUT]           the objects are in OUT/obj; default $OUT, else build
#     T=name test_teeth.sh          only mutations whose name contains this (as run.sh says it)
#
# A mutation is a sed script; its first line names the source and says what is wrong then. It is
# made in a copy, which is compiled and linked with the other objects. A mutation that changes
# nothing, or does not compile, is a failure: it has to follow the source. One that lets a program
# hang or die is noticed, too.

set -u

here=$(dirname "$0")
out=${OUT:-build}
wanted=${T-}

# The object of every source of the library but one, and those of the interpreter.
objects() {
    for source in reactor/*.c futures/*.c sync/*.c queue/*.c test/oracle/*.c; do
        [ -e "$source" ] && [ "$source" != "$1" ] && echo "$out/obj/${source%.c}.o"
    done
    echo "$out/obj/test/virtual_clock/virtual_clock.o"
}

build() {
    sed -f "$1" "$2" >"$3/$(basename "$2")" || return 1
    if cmp -s "$2" "$3/$(basename "$2")"; then
        echo "the mutation changes nothing in $2"
        return 1
    fi
    # Flags and paths without spaces: split into words on purpose.
    # shellcheck disable=SC2046,SC2086
    ${CC:-cc} -std=c11 -D_GNU_SOURCE -w -I"$out/include" -I. -iquote "$(dirname "$2")" \
        ${EV_CFLAGS-} -c "$3/$(basename "$2")" -o "$3/mutated.o" &&
        ${CC:-cc} -o "$3/oracle" "$3/mutated.o" $(objects "$2") ${EV_LIBS:--lev} -lm -pthread
}

# One mutation; this script calls itself with --one through xargs.
try() {
    mutation=$(basename "$1" .sed)
    folder=$2/$mutation
    first=$(head -n 1 "$1")
    source=${first#\# }
    source=${source%%:*}
    promise=${first#*: }
    mkdir -p "$folder"
    if ! build "$1" "$source" "$folder" >"$folder/log" 2>&1; then
        echo "not ok - oracle's teeth, $mutation: $promise"
        sed 's/^/# /' "$folder/log"
        return
    fi
    LIMIT=2 timeout 30 "$here/compare.sh" "$folder/oracle" "$here"/corpus/*.prog >"$folder/log"
    many=$(grep -c '^failed' "$folder/log")
    [ "$many" -gt 0 ] || printf 'not '
    echo "ok - oracle's teeth, $mutation: noticed by $many programs: $promise"
}

if [ "${1-}" = --one ]; then
    try "$2" "$3" >"$3/$(basename "$2" .sed).tap"
    exit 0
fi
if [ $# -gt 0 ] && [ "$1" != "$wanted" ]; then
    out=$1
fi
export OUT="$out"

work=$out/teeth
rm -rf "$work"
mkdir -p "$work" || exit 1
for mutation in "$here"/mutations/*"$wanted"*.sed; do
    [ -e "$mutation" ] && echo "$mutation"
done | xargs -I{} -P "$(getconf _NPROCESSORS_ONLN)" "$0" --one {} "$work"

cat "$work"/*.tap 2>/dev/null | awk '
/^(not )?ok - / { sub(/ok - /, "ok " ++number " - ") }
/^not / { failed = 1 }
{ print }
END { print "1.." number + 0; exit failed }'
