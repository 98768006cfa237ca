#!/bin/sh
# Shows that the test of all orders of queues bites: each file of mutations/ breaks the library in
# one way, and test_interleavings_queue must notice. Prints TAP, with the test that noticed;
# test/harness/teeth.sh says how it is called.
set -u
. "$(dirname "$0")/../harness/teeth.sh"

teeth_name="queues' interleavings'"

teeth_objects() {
    for object in harness/harness harness/live virtual_clock/virtual_clock \
        queue/test_interleavings_queue; do
        echo "$out/obj/test/$object.o"
    done
}

# The first test that fails.
teeth_noticed() {
    "$1" --list | sed 's/:.*//' |
    while read -r test; do
        timeout 200 "$1" "$test" >"$1.tap" 2>&1 </dev/null
        if grep -q '^not ok' "$1.tap"; then
            echo "$test"
            return
        fi
    done
}

teeth "$@"
