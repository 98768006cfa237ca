#!/bin/sh
# Keeps README.md and docs/ true. Prints TAP: one test for each program in them, then one for each
# kind of claim.
#
#     test_docs.sh [NAME]     only the tests whose name contains this; OUT and CC as make sets them
#
# A block ```c that contains `int main` is a program: it must compile without a warning, and end by
# itself with exit code 0 within ten seconds. A block ```output that follows is what it prints.
# `<!-- not run -->` on the line before a program lets it only be compiled, and
# `<!-- from FILE -->` before any block says that the file has these very lines.

set -u
out=${OUT:-build}
only=${1-}
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
documents="README.md $(find docs -name '*.md' | sort)"
map=docs/asyncio-map.md
failed=0

# ---- taking the documents apart ----

# Each block of code goes to a file DOCUMENT:LINE.KIND, KIND being the word after the fence; a
# program is of the kind program, or unrun. DOCUMENT:LINE.expected is what the program before it
# prints, DOCUMENT:LINE.from a quotation, which names its file in the first line. The text goes to
# DOCUMENT.text, its lines numbered.
# shellcheck disable=SC2086
awk -v root="$root" '
function flat(name) {
    gsub(/\//, "%", name)
    return root "/" name
}
function block_end(    file) {
    if (kind == "c" && code ~ /int main/) {
        kind = before == "<!-- not run -->" ? "unrun" : "program"
        program = start
    }
    file = flat(FILENAME ":" start "." kind)
    if (kind == "output")
        file = flat(FILENAME ":" program ".expected")
    printf "%s", code >file
    close(file)
    if (before ~ /^<!-- from .* -->$/) {
        file = flat(FILENAME ":" start ".from")
        print substr(before, 11, length(before) - 14) >file
        printf "%s", code >file
        close(file)
    }
}
FNR == 1 { inside = 0; before = "" }
/^```/ && !inside {
    inside = 1
    start = FNR
    kind = substr($0, 4)
    if (kind == "")
        kind = "plain"
    code = ""
    next
}
/^```/ {
    inside = 0
    block_end()
    before = ""
    next
}
inside { code = code $0 "\n"; next }
{
    before = $0
    print FNR ":" $0 >flat(FILENAME ".text")
}' $documents

# Every name of a code, as DOCUMENT:LINE NAME, on standard output: from the text and from all code.
mentions() {
  # shellcheck disable=SC2086
  awk '{
    count = split($0, words, /[^A-Za-z0-9_]+/)
    for (i = 1; i <= count; i++)
      if (words[i] ~ /^(cora|CORA)_[A-Za-z0-9_]+$/)
        print FILENAME ":" FNR, words[i]
  }' $documents
}

# ---- reporting ----

# selected NAME: whether a test of this name was asked for
selected() {
  case $1 in *"$only"*) ;; *) return 1 ;; esac
}

# report STATUS NAME SENTENCE: one line of TAP, with the log of what failed
report() {
  number=$((number + 1))
  if [ "$1" = 0 ]; then
    echo "ok $number - $2: $3"
    return
  fi
  echo "not ok $number - $2: $3"
  sed 's/^/# /' "$root/log"
  failed=1
}

# check NAME SENTENCE COMMAND: a claim; the command prints what is wrong, and nothing else
check() {
  selected "$1" || return
  $3 >"$root/log" 2>&1
  [ ! -s "$root/log" ]
  report $? "$1" "$2"
}

# ---- programs ----

flags="-std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wformat=2 -Wcast-qual -Wswitch-enum
  -Wimplicit-fallthrough -Werror"

# The name of a block's file: README.md:12.
place_of() {
  basename "${1%.*}" | tr % /
}

# program_check FILE: compiles it and, unless it says otherwise, runs it; what is wrong is in the log
program_check() {
  base=${1%.*}
  clock=
  grep -q 'cora/virtual_clock.h' "$1" && clock=$out/libcora_virtual_clock.a
  # shellcheck disable=SC2086
  ${CC:-gcc} $flags ${EV_CFLAGS-} -I"$out/include" -x c "$1" -x none $clock "$out/libcora.a" \
    ${EV_LIBS:--lev} -ldl -pthread -o "$root/a.out" >"$root/log" 2>&1 || return 1
  [ "${1##*.}" = unrun ] && return
  timeout 10 "$root/a.out" >"$root/printed" 2>"$root/log" </dev/null
  code=$?
  if [ $code -ne 0 ]; then
    echo "exit code $code" >>"$root/log"
    return 1
  fi
  [ -f "$base.expected" ] || return 0
  diff "$base.expected" "$root/printed" >"$root/log"
}

# ---- claims ----

names_check() {
  cat reactor/*.h futures/*.h sync/*.h queue/*.h test/virtual_clock/*.h 2>/dev/null |
    tr -c 'A-Za-z0-9_' '\n' | grep -E '^(cora|CORA)_' | sort -u >"$root/names"
  awk '/^## /{ planned = $0 == "## Planned" } planned' "$map" |
    tr -c 'A-Za-z0-9_' '\n' | grep -E '^(cora|CORA)_' | sort -u >>"$root/names"
  mentions | awk -v names="$root/names" '
    BEGIN { while ((getline name <names) > 0) known[name] = 1 }
    $2 ~ /^cora_virtual_clock$/ { next } # part of a file name
    !($2 in known) && !seen[$2]++ { print $1 ": no header has " $2 }'
}

# Targets of links that are no addresses, relative to the document.
links_check() {
  for text in "$root"/*.text; do
    document=$(basename "$text" .text | tr % /)
    grep -o '](<*[^)> ]*' "$text" | sed 's/^](<*//; s/#.*//' | sort -u |
      while read -r target; do
        case $target in '' | *://* | mailto:*) continue ;; esac
        [ -e "$(dirname "$document")/$target" ] || echo "$document: no file $target"
      done
  done
}

# `a/b` in backticks is a file or folder; a star stands for any; build/ is what make makes.
files_check() {
  for text in "$root"/*.text; do
    document=$(basename "$text" .text | tr % /)
    tr '`' '\n' <"$text" | grep -E '^[A-Za-z0-9_.*-]+/[A-Za-z0-9_./*-]*$' | sort -u |
      while read -r path; do
        case $path in
        build/*) continue ;;
        cora/*) real=$out/include/$path ;;
        *) real=$path ;;
        esac
        # The star is for the shell.
        # shellcheck disable=SC2086
        ls -d $real >/dev/null 2>&1 || echo "$document: no file $path"
      done
  done
}

# `test_x.c: name` in the map is a test.
tests_check() {
  tr '`' '\n' <"$root/docs%asyncio-map.md.text" |
    grep -E '^test_[a-z_]+\.c: [a-z0-9_]+$' | sort -u >"$root/tests"
  [ -s "$root/tests" ] || echo "$map: names no test"
  while IFS=': ' read -r file name; do
    grep -Eqs "^(TEST(_WITH_LIMIT|_BOTH)?|KINDS|BOTH)\\(([0-9.]+, *)?$name," test/*/"$file" ||
      echo "$map: no test $name in $file"
  done <"$root/tests"
}

# Each quotation is a piece of its file, line by line.
quotes_check() {
  for quote in "$root"/*.from; do
    [ -f "$quote" ] || return
    file=$(head -n 1 "$quote")
    awk -v place="$(place_of "$quote")" -v file="$file" '
      NR > 1 { wanted = wanted $0 "\n" }
      END {
        while ((getline line <file) > 0)
          whole = whole line "\n"
        if (!index("\n" whole, "\n" wanted))
          print place ": these lines are not in " file
      }' "$quote"
  done
}

# ---- the run ----

count=0
programs=
for program in "$root"/*.program "$root"/*.unrun; do
  [ -f "$program" ] && selected "program $(place_of "$program")" || continue
  programs="$programs $program"
  count=$((count + 1))
done
for claim in names links files tests quotes; do
  selected "$claim" && count=$((count + 1))
done

echo "TAP version 13"
echo "1..$count"
number=0
for program in $programs; do
  program_check "$program"
  report $? "program $(place_of "$program")" "compiles, runs, and prints what its page says"
done
check names "every name of Cora's in the documents is in a header, or planned" names_check
check links "every link to a file leads to one" links_check
check files "every path in backticks exists" files_check
check tests "every test in the map exists" tests_check
check quotes "code that is quoted from a file is in it" quotes_check
exit $failed
