# teeth.sh: shows that a test bites. Sourced by test/*/test_*teeth.sh, which say what the test is.
#
# Each file of the script's mutations/ is a sed script that breaks the library in one way; its first
# line names the source and says what is wrong then. It is made in a copy, which is compiled and
# linked with the other objects, and the test must notice. A mutation that changes nothing, or does
# not compile, is a failure: it has to follow the source. Prints TAP.
#
#     teeth_name       whose teeth these are, in the lines of TAP
#     teeth_objects    a function: the objects that the test consists of, without the library's
#     teeth_noticed    a function: gets the program, its folder and the source that is broken, and
#                      says what has noticed; nothing if nothing has
#     teeth "$@"       runs all, or those whose name contains $T (as run.sh says it); a first
#                      argument that is no name is OUT, where the objects are

here=$(dirname "$0")
out=${OUT:-build}
wanted=${T-}

teeth_build() {
    sed -f "$1" "$2" >"$3/$(basename "$2")" || return 1
    if cmp -s "$2" "$3/$(basename "$2")"; then
        echo "the mutation changes nothing in $2"
        return 1
    fi
    others=$(for source in reactor/*.c futures/*.c sync/*.c queue/*.c; do
        [ -e "$source" ] && [ "$source" != "$2" ] && echo "$out/obj/${source%.c}.o"
    done)
    # Flags and paths without spaces: split into words on purpose.
    # shellcheck disable=SC2046,SC2086
    ${CC:-cc} -std=c11 -D_GNU_SOURCE -w -I"$out/include" -I. -iquote "$(dirname "$2")" \
        ${EV_CFLAGS-} -c "$3/$(basename "$2")" -o "$3/mutated.o" &&
        ${CC:-cc} -o "$3/program" "$3/mutated.o" $others $(teeth_objects) \
            ${EV_LIBS:--lev} -pthread
}

# One mutation; the script calls itself with --one through xargs.
teeth_try() {
    mutation=$(basename "$1" .sed)
    folder=$2/$mutation
    first=$(head -n 1 "$1")
    source=${first#\# }
    source=${source%%:*}
    promise=${first#*: }
    mkdir -p "$folder"
    if ! teeth_build "$1" "$source" "$folder" >"$folder/log" 2>&1; then
        echo "not ok - $teeth_name teeth, $mutation: $promise"
        sed 's/^/# /' "$folder/log"
        return
    fi
    noticed=$(teeth_noticed "$folder/program" "$folder" "$source")
    [ -n "$noticed" ] || printf 'not '
    echo "ok - $teeth_name teeth, $mutation: noticed by ${noticed:-none}: $promise"
}

teeth() {
    if [ "${1-}" = --one ]; then
        teeth_try "$2" "$3" >"$3/$(basename "$2" .sed).tap"
        exit 0
    fi
    if [ $# -gt 0 ] && [ "$1" != "$wanted" ]; then
        out=$1
    fi
    export OUT="$out"
    work=$out/$(basename "$0" .sh)
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
}
