#!/usr/bin/env bash
# A server with 3 x A100-80GB that is too small for all teams at their highest at once, but not for
# what they use hour by hour. Everything is written to a folder (the first argument, or a new one).
# MIGPLAN names the binary.
set -euo pipefail
migplan=${MIGPLAN:-migplan}
case $migplan in /*) ;; */*) migplan=$PWD/$migplan ;; esac
out=${1:-$(mktemp -d)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
demand=(--prometheus "$out/history.json" --gpus 3xa100-80gb --timezone Europe/Berlin)
./history.sh >"$out/history.json"

echo "== What the plans and the presets would have served in two weeks"
"$migplan" replay "${demand[@]}" --chart "$out/replay.svg"

echo "== Does a plan made from the first ten days hold for the rest?"
"$migplan" -q replay "${demand[@]}" --hold-out 25% --format csv -o "$out/held-out.csv"

echo "== The one plan for all hours, with one resource name for each workload"
"$migplan" suggest "${demand[@]}" --over-time --one-profile-per-workload \
    --plan "$out/plan.json" -o "$out/config.yaml"
"$migplan" check -f "$out/config.yaml" --gpus 3xa100-80gb
"$migplan" -q replay "${demand[@]}" --plan "$out/plan.json" --format json -o "$out/replay.json"
echo "== Two configurations, and what changes from one to the other"
"$migplan" schedule -w week.csv --gpus 3xa100-80gb --timezone Europe/Berlin \
    --systemd "$out/units" --cronjobs "$out/cronjobs.yaml" --chart "$out/week.svg" -o "$out/week.yaml"
"$migplan" check -f "$out/week.yaml" --gpus 3xa100-80gb
echo "== Written to $out:"
ls "$out"
