#!/usr/bin/env bash
# A made-up history of two weeks, as `promtool query range -o json` prints it: what five workloads of
# four teams used of the GPU memory, every 15 minutes from Monday 2026-06-01 00:00 UTC. The first
# argument is the seed (1 if there is none); the same seed gives the same bytes.
set -euo pipefail
exec awk -v seed="${1:-1}" '
# The minimal standard generator (Park and Miller 1988): the same numbers in every awk.
function draw(below) { seed = (seed * 16807) % 2147483647; return seed % below }
# What Kubernetes appends to the names of pods.
function suffix(    i, text) {
    for (i = 0; i < 5; i++) text = text substr("bcdfghjklmnpqrstvwxz2456789", draw(27) + 1, 1)
    return text
}
# One pod from a step to another (not included), about so many MiB.
function pod(namespace, name, from, to, mib,    step, line) {
    if (to > steps) to = steps
    if (from >= to) return
    device++
    line = sprintf("%s\n{\"metric\":{\"__name__\":\"DCGM_FI_DEV_FB_USED\",\"UUID\":\"GPU-%04d\",\"GPU_I_ID\":\"%d\",\"GPU_I_PROFILE\":\"made.up\",\"exported_namespace\":\"%s\",\"exported_pod\":\"%s\"},\"values\":[", separator, device / 7, device % 7, namespace, name)
    for (step = from; step < to; step++)
        line = line sprintf("%s[%d,\"%d\"]", step > from ? "," : "", start + step * 900, mib - draw(mib / 10))
    printf "%s]}", line
    separator = ","
}
BEGIN {
    start = 1780272000; days = 14; steps = days * 96
    for (i = 0; i < 5; i++) draw(2)
    printf "["
    # Always there, with a second and third replica over midday.
    for (i = 0; i < 2; i++) pod("search", "serving-6d5f9c7b8d-" suffix(), 0, steps, 17000)
    for (day = 0; day < days; day++) {
        workday = day % 7 < 5
        if (workday)
            for (i = 0; i < 2; i++) pod("search", "serving-6d5f9c7b8d-" suffix(), day * 96 + 40 + draw(4), day * 96 + 60 + draw(4), 17000)
        # Notebooks: people come between seven and ten and stay most of the day.
        if (workday)
            for (user = 0; user < 9; user++)
                if (draw(10) < 8) pod("research", sprintf("jupyter-user%d", user), day * 96 + 28 + draw(12), day * 96 + 66 + draw(14), 8200)
        # Training: submitted in the evening, runs for the night; on the weekend all day.
        for (job = 0; job < 3; job++)
            if (draw(10) < 9) pod("vision", "train-" suffix(), day * 96 + (workday ? 76 : 30) + draw(6), day * 96 + (workday ? 124 : 120) + draw(6), 37000)
        # Nightly batch, many small tasks one after the other.
        for (task = 0; task < 8; task++)
            pod("data-platform", "etl-" suffix(), day * 96 + 4 + int(task / 4) * 8 + draw(3), day * 96 + 12 + int(task / 4) * 8 + draw(3), 4700)
    }
    # A team that came on the last day.
    for (i = 0; i < 3; i++) pod("audio", "clone-7c9d8f6b5c-" suffix(), 13 * 96 + 36, steps, 11000)
    printf "\n]\n"
}'
