#!/bin/sh
# The tests to run while working: properties and faulty inputs in a few cases, and without what takes
# long, which is sweeps and rows of faults, hunts, searches of all schedules, walk-throughs, large
# inputs, and browsers, builds and daemons of others.
# tests/run.sh is what must pass in the end. Usage: tests/quick.sh [FILTER]
set -eu
cd "$(dirname "$0")/.."
. examples/build-tools.sh
need_build_tools
export PROPTEST_CASES="${PROPTEST_CASES:-8}"
export MIGPLAN_FUZZ="${MIGPLAN_FUZZ:-11:50}"
cargo fmt --all --check
cargo test --workspace --lib --test it -- \
    --skip apply_changes:: \
    --skip apply_cli::a_kill_at_any_change \
    --skip apply_cli::every_board \
    --skip apply_cli::two_kills \
    --skip apply_sweep:: \
    --skip emit::scale:: \
    --skip hunt:: \
    --skip in_a_browser \
    --skip library::the_examples_run \
    --skip no_schedule_of_two \
    --skip prometheus::server:: \
    --skip slurmctld \
    --skip garbage \
    --skip naive_model \
    --skip walk_through \
    "$@"
