#!/bin/sh
# Shows that the oracle bites: each file of mutations/ breaks the library in one way, and at least
# one of the kept programs must notice. Prints TAP, with how many did, up to three;
# test/harness/teeth.sh says how it is called. A mutation that lets a program hang or die is
# noticed, too.
set -u
. "$(dirname "$0")/../harness/teeth.sh"

teeth_name="oracle's"

teeth_objects() {
    for source in test/oracle/*.c test/virtual_clock/virtual_clock.c; do
        echo "$out/obj/${source%.c}.o"
    done
}

teeth_noticed() {
    MOST=3 LIMIT=2 "$here/compare.sh" "$1" "$here"/corpus/*.prog >"$2/log"
    case $(grep -c '^failed' "$2/log") in
    0) ;;
    1) echo "1 program" ;;
    2) echo "2 programs" ;;
    *) echo "3 programs and more" ;;
    esac
}

teeth "$@"
