#!/bin/sh
# Builds migplan and plans four A100-80GB for the teams of examples/teams.csv; the plan is written
# to config.yaml. PROFILE=dev builds without full optimisation.
set -eu
cd "$(dirname "$0")/.."
. examples/build-tools.sh
need_build_tools
cargo build --profile "${PROFILE:-release}" --bin migplan
folder=$([ "${PROFILE:-release}" = dev ] && echo debug || echo "${PROFILE:-release}")
migplan="${CARGO_TARGET_DIR:-target}/$folder/migplan"
"$migplan" suggest --workloads examples/teams.csv --gpus 4xa100-80gb -o config.yaml
echo
echo "config.yaml:"
cat config.yaml
echo
"$migplan" check -f config.yaml --gpus 4xa100-80gb
