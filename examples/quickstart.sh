#!/bin/sh
# Builds migplan and plans four A100-80GB for the teams of examples/teams.csv; the plan is written
# to config.yaml in the folder that OUT names, else in the one that this is run from. With
# MIGPLAN=/path/to/migplan nothing is built and that binary is used.
set -eu
config="$(cd "${OUT:-.}" && pwd)/config.yaml"
case "${MIGPLAN:-}" in /*) ;; */*) MIGPLAN=$PWD/$MIGPLAN ;; esac
cd "$(dirname "$0")/.."
. examples/build-tools.sh
if [ -n "${MIGPLAN:-}" ]; then
    migplan=$MIGPLAN
else
    need_build_tools
    cargo build --release --bin migplan
    migplan="${CARGO_TARGET_DIR:-target}/release/migplan"
fi
"$migplan" suggest --workloads examples/teams.csv --gpus 4xa100-80gb -o "$config"
echo
echo "config.yaml:"
cat "$config"
echo
"$migplan" check -f "$config" --gpus 4xa100-80gb
