#!/bin/sh
# Counts how much of asyncio's catalogue of behaviours the tests cover.
#
#     catalogue.sh TAPDIR MAPFILE [SHARED]
#
# catalogue.tsv, beside this script, has one row per behaviour: its id, area, whether it applies to
# C (yes, adapt, no) and the piece of the work it belongs to. A row is covered when a passing test
# in TAPDIR/*.tap carries its id, and decided otherwise when MAPFILE has the id in backticks, with
# a reason after it on the same line, a list item or table row under the heading
# "## Decided otherwise". An id ends at its first blank.
#
# Prints the counts per piece and area, and as its last line `N of M applicable rows covered`,
# where M leaves out the rows that were decided otherwise. An id that is in no row, and a decision
# without a reason, are errors: exit code 1.
#
#     PIECE=loop    only this piece; lists its open ids, and with such the exit code is 1
#
# With SHARED, the tree that holds the original as catalogue/*.tsv, the ids must be the same as
# there. After a change of the original, make catalogue.tsv again:
#
#     catalogue.sh --make SHARED >catalogue.tsv

set -u

here=$(dirname "$0")

# Id, area, applies and piece of the original, by the names in its header lines.
make_catalogue() {
    awk -F '\t' -v OFS='\t' '
    FNR == 1 {
        for (i = 1; i <= NF; i++)
            column[$i] = i
        if (NR == 1)
            print "id", "area", "applies", "piece"
        next
    }
    { print $column["id"], $column["area"], $column["applies"], $column["piece"] }
    ' "$1"/catalogue/tasks.tsv "$1"/catalogue/io.tsv
}

if [ "${1-}" = --make ] && [ $# -eq 2 ]; then
    make_catalogue "$2"
    exit
fi

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: catalogue.sh TAPDIR MAPFILE [SHARED] | catalogue.sh --make SHARED" >&2
    exit 1
fi

# One stream of lines for the program below, each with its kind in front.
{
    sed 1d "$here/catalogue.tsv" | sed 's/^/row	/'
    if [ -n "${3-}" ] && [ -d "$3/catalogue" ]; then
        make_catalogue "$3" | sed 1d | sed 's/^/original	/'
    fi
    for tap in "$1"/*.tap; do
        [ -f "$tap" ] && sed 's/^/test	/' "$tap"
    done
    if [ -f "$2" ]; then
        sed 's/^/map	/' "$2"
    else
        printf 'note\tthere is no %s yet\n' "$2"
    fi
} | awk -F '\t' -v only="${PIECE-}" -v map="$2" '

function error(message) {
    print "error: " message
    errors++
}

function short(id) {
    sub(/ .*/, "", id)
    return id
}

# The ids of a line of TAP stand in braces at its end, or before its directive.
function read_test(line,    passing, ids, count, i) {
    if (line !~ /^(not )?ok /)
        return
    passing = line ~ /^ok / && line !~ / # SKIP/
    sub(/ # SKIP.*/, "", line)
    if (!match(line, / \{[^{}]*\}$/))
        return
    count = split(substr(line, RSTART + 2, RLENGTH - 3), ids, " ")
    for (i = 1; i <= count; i++) {
        if (!(ids[i] in piece))
            error("a test carries " ids[i] ", which is no row")
        if (passing)
            covered[ids[i]] = 1
    }
}

# Ids are what stands in backticks and begins as an id does; the reason is the letters after them.
function read_map(line,    parts, count, i, id, found, reason) {
    if (line ~ /^## /) {
        deciding = line ~ /^## Decided otherwise[ \t]*$/
        return
    }
    if (!deciding || line !~ /^[ \t]*[|*-]/)
        return
    count = split(line, parts, "`")
    for (i = 2; i <= count; i += 2) {
        id = short(parts[i])
        if (id !~ /^test_[^.]*\.[^.]+\.[^.]/)
            continue
        if (!(id in piece))
            error(map " has " id ", which is no row")
        decided[id] = 1
        found = i
    }
    if (!found)
        return
    for (i = found + 1; i <= count; i++)
        reason = reason parts[i]
    if (reason !~ /[A-Za-z][A-Za-z]/)
        error(map " has " short(parts[found]) " without a reason")
}

function compare_with_original(    id) {
    for (id in original)
        if (!(id in piece))
            error("the original has " id ", catalogue.tsv has not")
    for (id in piece)
        if (!(id in original))
            error("catalogue.tsv has " id ", the original has not")
        else if (original[id] != applies[id] " " piece[id])
            error("the original says " original[id] " of " id ", catalogue.tsv "            \
                  applies[id] " " piece[id])
}

function count_row(id,    key) {
    key = piece[id] SUBSEP area[id]
    if (!(key in rows))
        areas[piece[id]] = areas[piece[id]] SUBSEP area[id]
    rows[key]++
    if (applies[id] == "no") {
        if (id in covered)
            print "note: a test carries " id ", which does not apply"
        return
    }
    applicable[key]++
    if (id in covered)
        done[key]++
    else if (id in decided)
        otherwise[key]++
    else
        open[key]++
    if ((id in covered) && (id in decided))
        print "note: " id " is covered and decided otherwise"
}

function print_line(name, key) {
    printf "%-28s %6d %11d %8d %18d %6d\n", name, rows[key], applicable[key], done[key],         \
           otherwise[key], open[key]
}

function add(key, to) {
    rows[to] += rows[key]
    applicable[to] += applicable[key]
    done[to] += done[key]
    otherwise[to] += otherwise[key]
    open[to] += open[key]
}

function print_piece(name,    list, count, i) {
    count = split(substr(areas[name], 2), list, SUBSEP)
    for (i = 1; i <= count; i++)
        add(name SUBSEP list[i], name)
    print_line(name, name)
    for (i = 1; i <= count; i++)
        print_line("    " list[i], name SUBSEP list[i])
    add(name, "all")
}

function list_open(    i, id) {
    for (i = 1; i <= count_ids; i++) {
        id = ids[i]
        if (piece[id] == only && applies[id] != "no" && !(id in covered) && !(id in decided))
            print "open: " id " (" area[id] ")"
    }
}

$1 == "row" {
    id = short($2)
    if (id in piece)
        error("catalogue.tsv has " id " twice")
    ids[++count_ids] = id
    area[id] = $3
    applies[id] = $4
    piece[id] = $5
}
$1 == "original" {
    original[short($2)] = $4 " " $5
    with_original = 1
}
$1 == "test" { read_test(substr($0, 6)) }
$1 == "map" { read_map(substr($0, 5)) }
$1 == "note" { print "note: " $2 }

END {
    if (with_original)
        compare_with_original()
    for (i = 1; i <= count_ids; i++)
        if (only == "" || piece[ids[i]] == only)
            count_row(ids[i])
    if (only != "" && !(only in areas))
        error("there is no piece " only)
    printf "%-28s %6s %11s %8s %18s %6s\n", "piece, area", "rows", "applicable", "covered",     \
           "decided otherwise", "open"
    known = split("loop futures tasks scopes sync network processes later", order, " ")
    for (i = 1; i <= known; i++)
        if (order[i] in areas) {
            print_piece(order[i])
            printed[order[i]] = 1
        }
    for (name in areas)
        if (!(name in printed))
            print_piece(name)
    if (only == "")
        print_line("all", "all")
    else
        list_open()
    printf "%d of %d applicable rows covered\n", done["all"],                                    \
           applicable["all"] - otherwise["all"]
    exit errors > 0 || (only != "" && open["all"] > 0)
}'
