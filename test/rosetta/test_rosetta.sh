#!/bin/sh
# Runs the programs of test/rosetta, which are Python programs told in C, and compares what they
# print with what Python printed, byte for byte. Prints TAP.
#
#     test_rosetta.sh [OUT]         the programs are OUT/rosetta/NN_name; default $OUT, else build
#     T=name test_rosetta.sh        only those whose name contains this (as run.sh says it: T name)
#     SHARED=folder                 if there is a folder rosetta in it, our copies of the outputs
#                                   must be the same as those there

set -u

here=$(dirname "$0")
out=${OUT:-build}
wanted=${T-}
if [ $# -gt 0 ] && [ "$1" != "$wanted" ]; then
    out=$1
fi

names=
count=0
for source in "$here"/[0-9]*.c; do
    name=$(basename "$source" .c)
    case $name in
    *"$wanted"*)
        names="$names $name"
        count=$((count + 1))
        ;;
    esac
done

failed=0
number=0

# The result of one program: its name, what it promises, and why it failed, if it did.
result() {
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - rosetta $1: prints the bytes of its Python twin"
        return
    fi
    failed=1
    echo "not ok $number - rosetta $1: prints the bytes of its Python twin"
    echo "$2" | sed 's/^/# /'
}

# Why this program fails; nothing if it does not.
run() {
    expected=$here/$1.out
    original=${SHARED:-/nonexistent}/rosetta/$1.out
    if [ -d "${SHARED:-/nonexistent}/rosetta" ] && ! cmp -s "$expected" "$original"; then
        echo "$expected is not the same as $original"
        return
    fi
    actual=$("$out/rosetta/$1" && echo "exit 0") || actual="$actual
exit code $?"
    [ "$actual" = "$(cat "$expected" && echo "exit 0")" ] && return
    echo "printed:"
    echo "$actual"
}

echo "1..$count"
for name in $names; do
    result "$name" "$(run "$name" 2>&1)"
done
exit $failed
