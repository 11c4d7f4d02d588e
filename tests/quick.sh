#!/bin/sh
# The tests to run while working: properties on a few cases, and without what takes long, which is
# sweeps of faults, large inputs, and browsers and daemons of others. Under a minute after a build.
# tests/run.sh is what must pass in the end. Usage: tests/quick.sh [FILTER]
set -eu
cd "$(dirname "$0")/.."
. examples/build-tools.sh
need_build_tools
export PROPTEST_CASES="${PROPTEST_CASES:-8}"
cargo fmt --all --check
cargo test --workspace --lib --test it -- \
    --skip apply_changes:: \
    --skip emit::scale:: \
    --skip in_a_browser \
    --skip prometheus::server:: \
    --skip slurmctld \
    --skip garbage \
    --skip naive_model \
    "$@"
