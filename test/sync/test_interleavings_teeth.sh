#!/bin/sh
# Shows that the test of all orders bites: each file of mutations/ breaks the library in one way,
# and test_interleavings must notice. Prints TAP, with the test that noticed.
#
#     test_interleavings_teeth.sh [OUT]    the objects are in OUT/obj; default $OUT, else build
#     T=name test_interleavings_teeth.sh   only mutations whose name contains this (as run.sh says)
#
# A mutation is a sed script; its first line names the source and says what is wrong then. It is
# made in a copy, which is compiled and linked with the other objects. A mutation that changes
# nothing, or does not compile, is a failure: it has to follow the source.

set -u

here=$(dirname "$0")
out=${OUT:-build}
wanted=${T-}

# The object of every source of the library but one, and those of the test.
objects() {
    for source in reactor/*.c futures/*.c sync/*.c queue/*.c; do
        [ -e "$source" ] && [ "$source" != "$1" ] && echo "$out/obj/${source%.c}.o"
    done
    for object in harness/harness harness/live virtual_clock/virtual_clock \
        sync/test_interleavings; do
        echo "$out/obj/test/$object.o"
    done
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
        ${CC:-cc} -o "$3/test" "$3/mutated.o" $(objects "$2") ${EV_LIBS:--lev} -lm -pthread
}

# The first test that fails; those that are meant for the source come first.
noticed_by() {
    "$1" --list | sed 's/:.*//' | awk -v first="$2" '
        index($0, first) == 1 { print; next }
        { others = others $0 "\n" }
        END { printf "%s", others }' |
    while read -r test; do
        timeout 200 "$1" "$test" >"$1.tap" 2>&1 </dev/null
        if grep -q '^not ok' "$1.tap"; then
            echo "$test"
            return
        fi
    done
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
        echo "not ok - interleavings' teeth, $mutation: $promise"
        sed 's/^/# /' "$folder/log"
        return
    fi
    test=$(noticed_by "$folder/test" "$(basename "$source" .c)")
    [ -n "$test" ] || printf 'not '
    echo "ok - interleavings' teeth, $mutation: noticed by ${test:-none}: $promise"
}

if [ "${1-}" = --one ]; then
    try "$2" "$3" >"$3/$(basename "$2" .sed).tap"
    exit 0
fi
if [ $# -gt 0 ] && [ "$1" != "$wanted" ]; then
    out=$1
fi
export OUT="$out"

work=$out/interleavings_teeth
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
