#!/bin/sh
# Shows that the test of all orders bites: each file of mutations/ breaks the library in one way,
# and one of the tests of all orders must notice. Prints TAP, with the test that noticed;
# test/harness/teeth.sh says how it is called.
set -u
. "$(dirname "$0")/../harness/teeth.sh"

teeth_name="interleavings'"

teeth_objects() {
    for object in harness/harness harness/live virtual_clock/virtual_clock \
        sync/test_interleavings sync/test_interleavings_semaphore \
        sync/test_interleavings_condition sync/test_interleavings_barrier; do
        echo "$out/obj/test/$object.o"
    done
}

# The first test that fails; those that are meant for the source come first.
teeth_noticed() {
    "$1" --list | sed 's/:.*//' | awk -v first="$(basename "$3" .c)" '
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

teeth "$@"
