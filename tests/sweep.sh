#!/bin/sh
# Faults at every NVML call, signals, kills, lost GPUs, runs at once, and the soak: all of them, on
# the real binary; then plans over time and schedules against exhaustive search, and the hunt for
# plans that are not proved. Takes hours; `tests/run.sh` takes a part of each.
#
#   tests/sweep.sh            everything
#   tests/sweep.sh 3/10       the third of ten parts of every sweep
#   SOAK=5:2000 tests/sweep.sh 1/1000
#                             the soak with this seed and so many steps, as a failure names it
set -eu
cd "$(dirname "$0")/.."
part=${1:-1/1}
echo "== sweeps, part $part"
MIGPLAN_SWEEP="$part" cargo test --quiet --test it apply_sweep:: -- --nocapture
for soak in ${SOAK:-1:2000 2:2000 3:2000 4:2000 5:2000}; do
    echo "== soak $soak"
    MIGPLAN_SOAK="$soak" cargo test --quiet --test it apply_sweep::a_soak -- --nocapture
done
echo "== plans over time and schedules against exhaustive search"
PROPTEST_CASES="${PLANS:-500}" cargo test --quiet --test it over_time_optimal::
PROPTEST_CASES="${SCHEDULES:-100}" cargo test --quiet --test it schedule::no_schedule_of_two
echo "== hunt: every small plan is proved, and two programs of one problem agree"
cases=$((100000 / ${part#*/}))
first=$((1000000 + (${part%/*} - 1) * cases))
HUNT_CASES="$cases" HUNT_SEED="$first" cargo test --quiet --test it hunt:: -- --nocapture
