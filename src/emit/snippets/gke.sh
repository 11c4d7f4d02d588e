#!/usr/bin/env bash
# Creates node pools of GKE whose GPUs are partitioned as planned. A pool's partition size never
# changes: move its pods to a new pool and delete the old one.
# CAPACITY: flags of how Google provides the nodes, for all pools; unset is on demand:
#   CAPACITY=--spot, CAPACITY='--flex-start --enable-autoscaling --total-max-nodes=8', or
#   CAPACITY='--reservation-affinity=specific --reservation=NAME'
# --num-nodes counts nodes per zone: in a regional cluster name one zone with --node-locations.
set -euo pipefail
: "${CLUSTER:?set it to the name of the cluster}" "${LOCATION:?set it to its zone or region}"

# pool NAME MACHINE-TYPE NODES ACCELERATOR
pool() {
  gcloud container node-pools create "$1" --cluster="$CLUSTER" --location="$LOCATION" \
    --machine-type="$2" --num-nodes="$3" --accelerator="$4" ${CAPACITY:-}
}
