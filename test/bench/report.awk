# Prints bench.tsv as a table and below it the targets, each with our figure.
#
# In: targets.tsv, then bench.tsv.  A target whose workload was not run is left out; one whose
# figures are missing (we or the peer were not built) says so.
BEGIN { FS = "\t" }

/^#/ { next }

FNR == NR {
    target[++targets] = $0
    next
}

FNR == 1 {
    printf "%-22s %-9s %9s %13s %13s %9s %9s\n", $1, $2, $3, $4, $5, $6, $7
    next
}

{
    if (FNR > 2 && $1 != previous)
        print ""
    previous = $1
    ran[$1] = 1
    median[$1, $2] = $4
    mallocs[$1, $2] = $6
    printf "%-22s %-9s %9d %13s %13s %9s %9s\n", $1, $2, $3, figure($4), figure($5), $6, $7
}

# Three figures are all that a noisy machine supports.
function figure(ns) {
    if (ns < 100)
        return sprintf("%.2f", ns)
    return sprintf("%.0f", ns)
}

# What a target demands, in words.
function demand(workload, kind, peer, factor) {
    if (kind == "max_ns_ratio" || kind == "max_ratio")
        return workload " at most " factor " x " peer
    if (kind == "min_peer_ratio")
        return workload " " factor " x faster than " peer
    if (kind == "max_growth")
        return workload " at most " factor " x " peer
    if (kind == "max_mallocs")
        return workload " at most " factor " mallocs an operation"
    return workload " at most " factor
}

# How many times as much a workload costs a subject as another one does.
function growth(workload, smaller, subject) {
    return sprintf("%.2f x", median[workload, subject] / median[smaller, subject])
}

# Our figure and the one demanded; empty when either was not measured, "?" for an unknown kind.
# Sets `good`.
function compare(workload, kind, peer, factor,    ours, peers, most) {
    if (!((workload, "cora") in median))
        return ""
    ours = median[workload, "cora"] + 0
    if (kind == "max_mallocs") {
        if (mallocs[workload, "cora"] == "-")
            return ""
        good = mallocs[workload, "cora"] + 0 <= factor + 0
        return mallocs[workload, "cora"]
    }
    if (kind == "max_bytes" || kind == "max_instructions" || kind == "max_ns") {
        good = ours <= factor + 0
        return sprintf("%.0f %s", ours, substr(kind, 5))
    }
    if (kind == "max_growth") {
        if (!((peer, "cora") in median))
            return ""
        good = ours <= factor * median[peer, "cora"]
        return growth(workload, peer, "cora") ((workload, "limit") in median \
            ? "; limit " growth(workload, peer, "limit") : "")
    }
    if (!((workload, peer) in median))
        return ""
    peers = median[workload, peer] + 0
    if (kind == "max_ns_ratio" || kind == "max_ratio") {
        most = peers * factor
        ratio = sprintf("%.2f x", ours / peers)
    } else if (kind == "min_peer_ratio") {
        most = peers / factor
        ratio = sprintf("%.2f x", peers / ours)
    } else
        return "?"
    good = ours <= most
    unit = kind == "max_ratio" ? "" : " ns"
    return ratio ": " figure(ours) unit ", may be " figure(most) " (" peer " " figure(peers) ")"
}

function check(line,    part, result, words) {
    split(line, part, FS)
    if (!(part[1] in ran))
        return
    result = compare(part[1], part[2], part[3], part[4])
    words = demand(part[1], part[2], part[3], part[4])
    if (result == "?")
        printf "%-12s  %s: unknown kind %s\n", "not checked", part[1], part[2]
    else if (result == "")
        printf "%-12s  %s\n", "not measured", words
    else
        printf "%-12s  %s: %s%s\n", good ? "ok" : "below target", words, result,
            part[5] == "" ? "" : "; " part[5]
}

END {
    print ""
    for (t = 1; t <= targets; t++)
        check(target[t])
}
