#!/usr/bin/env bash
# A team with one server of 4 × A100-80GB under Kubernetes: from uniform layouts to its own, with
# JupyterHub and Airflow. Everything is written to a folder (the first argument, or a new one);
# nothing is sent to a cluster. MIGPLAN names the binary.
set -euo pipefail
migplan=${MIGPLAN:-migplan}
case $migplan in /*) ;; */*) migplan=$PWD/$migplan ;; esac
out=${1:-$(mktemp -d)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
printf 'node,board,gpus\ngpu-1,a100-80gb,4\n' >"$out/fleet.csv"

echo "== What the presets of today would serve, and what the best layouts do"
"$migplan" -q compare --workloads teams.csv --fleet "$out/fleet.csv"

echo "== The plan, its file for mig-parted, and the plan as JSON for everything below"
"$migplan" suggest --workloads teams.csv --fleet "$out/fleet.csv" --name layout-1 \
    --one-profile-per-workload --plan "$out/plan.json" -o "$out/config.yaml"
"$migplan" check -f "$out/config.yaml" --gpus 4xa100-80gb
"$migplan" chart --plan "$out/plan.json" --kind slices -o "$out/slices.svg"

echo "== For the cluster: the GPU Operator's configuration, and the script that rolls it out node by node"
"$migplan" emit configmap --plan "$out/plan.json" -o "$out/configmap.yaml"
"$migplan" emit labels --plan "$out/plan.json" -o "$out/roll.sh"
"$migplan" emit device-plugin --chart gpu-operator --plan "$out/plan.json" -o "$out/values.yaml"
"$migplan" emit capacity --plan "$out/plan.json"

echo "== For the people: notebooks, tasks, queues, alerts, a dashboard, and the node's next boot"
"$migplan" emit jupyterhub --plan "$out/plan.json" --team research -o "$out/jupyterhub.yaml"
"$migplan" emit airflow --plan "$out/plan.json" -o "$out/gpu_tasks.py"
"$migplan" emit kueue --plan "$out/plan.json" -o "$out/kueue.yaml"
"$migplan" emit prometheus-rules --plan "$out/plan.json" -o "$out/rules.yaml"
"$migplan" emit grafana --plan "$out/plan.json" -o "$out/dashboard.json"
"$migplan" emit systemd --plan "$out/plan.json" -o "$out/migplan.service"

echo "== Instead of the device plugin and MIG Manager: what pods claim under NVIDIA's DRA driver"
"$migplan" emit dra --plan "$out/plan.json" -o "$out/dra.yaml"
echo "== Written to $out:"
ls "$out"
