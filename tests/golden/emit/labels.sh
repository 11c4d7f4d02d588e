#!/usr/bin/env bash
# Hands each node its MIG config by the label nvidia.com/mig.config: 5 nodes in 3 batches, at most 2 at once.
# The ConfigMap must be there first: migplan emit configmap
#
# mig-manager acts when the label changes. Where a node carries the label already but the
# ConfigMap's content is new, give the plan's config a new --name, for both.
# A batch that fails ends the script; run it again to go on where it stopped.
set -euo pipefail

# Whether node $1 carries config $2 already.
has() {
  [ "$(kubectl get node "$1" -o jsonpath='{.metadata.labels.nvidia\.com/mig\.config}')" = "$2" ]
}

# Batch 1 of 3: whatever runs there is evicted
kubectl cordon gpu-2 gpu-3
kubectl drain gpu-2 gpu-3 --ignore-daemonsets --delete-emptydir-data --timeout=20m
has gpu-2 migplan-2 || kubectl label node gpu-2 nvidia.com/mig.config=migplan-2 nvidia.com/mig.config.state=pending --overwrite
has gpu-3 migplan-3 || kubectl label node gpu-3 nvidia.com/mig.config=migplan-3 nvidia.com/mig.config.state=pending --overwrite
kubectl wait node/gpu-2 node/gpu-3 --timeout=20m --for=jsonpath='{.metadata.labels.nvidia\.com/mig\.config\.state}'=success
kubectl uncordon gpu-2 gpu-3

# Batch 2 of 3: whatever runs there is evicted
kubectl cordon gpu-5 gpu-1
kubectl drain gpu-5 gpu-1 --ignore-daemonsets --delete-emptydir-data --timeout=20m
has gpu-5 migplan-4 || kubectl label node gpu-5 nvidia.com/mig.config=migplan-4 nvidia.com/mig.config.state=pending --overwrite
has gpu-1 migplan-1 || kubectl label node gpu-1 nvidia.com/mig.config=migplan-1 nvidia.com/mig.config.state=pending --overwrite
kubectl wait node/gpu-5 node/gpu-1 --timeout=20m --for=jsonpath='{.metadata.labels.nvidia\.com/mig\.config\.state}'=success
kubectl uncordon gpu-5 gpu-1

# Batch 3 of 3: whatever runs there is evicted
kubectl cordon gpu-4
kubectl drain gpu-4 --ignore-daemonsets --delete-emptydir-data --timeout=20m
has gpu-4 migplan-1 || kubectl label node gpu-4 nvidia.com/mig.config=migplan-1 nvidia.com/mig.config.state=pending --overwrite
kubectl wait node/gpu-4 --timeout=20m --for=jsonpath='{.metadata.labels.nvidia\.com/mig\.config\.state}'=success
kubectl uncordon gpu-4
