# Turns result lines into build/bench.tsv.
#
# In: workload, subject, n, ns per operation, allocations per operation and, from programs that
# measure many times themselves, their minimum.  Out: a line for each workload and subject, both in
# the order of their first appearance: n, median and minimum, the most allocations seen, and the
# ratio of the median to ours ("-" where there is nothing to compare).
BEGIN {
    FS = OFS = "\t"
    print "workload", "subject", "n", "median_ns", "min_ns", "mallocs", "ratio"
}

{
    key = $1 FS $2
    if (!($1 in known))
        phases[++phase_count] = $1
    if (!($2 in known))
        subjects[++subject_count] = $2
    known[$1] = known[$2] = 1
    i = ++count[key]
    n[key] = $3
    value[key, i] = $4 + 0
    lowest = NF > 5 ? $6 + 0 : $4 + 0
    if (i == 1 || lowest < minimum[key])
        minimum[key] = lowest
    if (i == 1 || $5 == "-" || $5 + 0 > mallocs[key] + 0)
        mallocs[key] = $5
}

# Sorts a key's values by insertion; there are as many as rounds.
function median(key,    i, j, held, size) {
    size = count[key]
    for (i = 2; i <= size; i++) {
        held = value[key, i]
        for (j = i - 1; j > 0 && value[key, j] > held; j--)
            value[key, j + 1] = value[key, j]
        value[key, j + 1] = held
    }
    if (size % 2)
        return value[key, (size + 1) / 2]
    return (value[key, size / 2] + value[key, size / 2 + 1]) / 2
}

function print_line(phase, subject,    key, ours, ratio) {
    key = phase FS subject
    ours = phase FS "cora"
    ratio = "-"
    if (ours in middle && middle[ours] > 0)
        ratio = sprintf("%.2f", middle[key] / middle[ours])
    printf "%s\t%d\t%.3f\t%.3f\t%s\t%s\n", key, n[key], middle[key], minimum[key],
        mallocs[key], ratio
}

END {
    for (key in count)
        middle[key] = median(key)
    for (p = 1; p <= phase_count; p++)
        for (s = 1; s <= subject_count; s++)
            if ((phases[p] FS subjects[s]) in count)
                print_line(phases[p], subjects[s])
}
