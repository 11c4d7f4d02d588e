#!/usr/bin/env bash
# Gives each node its MIG configuration by the label nvidia.com/mig.config: 5 nodes in 3 batches, at most 2 at once.
# The ConfigMap must be there first: migplan emit configmap
#
# A batch that fails ends the script; run it again to go on where it stopped.
readonly timeout=1200s namespace=gpu-operator
set -euo pipefail

# Marks nodes that this script cordoned, so that a later run knows which to uncordon.
readonly mark=migplan/cordoned-for-rollout

# What node $1 is now: CONFIG STATE UNSCHEDULABLE MARK, separated by commas; what is not set is empty.
present() {
  kubectl get node "$1" -o jsonpath='{.metadata.labels.nvidia\.com/mig\.config},{.metadata.labels.nvidia\.com/mig\.config\.state},{.spec.unschedulable},{.metadata.annotations.migplan/cordoned-for-rollout}'
}

# Rolls out one batch: batch NODE CONFIG HOW [NODE CONFIG HOW ...]. HOW is one of
#   drain    pods are evicted first
#   idle     no pod holds a GPU there: cordoned, but not drained
#   rename   the layouts are as planned and only the label is new: neither cordoned nor drained
#   reapply  the label is as planned, what the node advertises is not: drained, and MIG Manager
#            reads its configuration again
# A node whose label and state are as planned is left alone, except under reapply.
batch() {
  local -a change=() cordon=() drain=() await=() uncordon=()
  local node config how now has state unschedulable marked
  while [ $# -gt 0 ]; do
    node=$1 config=$2 how=$3
    shift 3
    now=$(present "$node")
    IFS=, read -r has state unschedulable marked <<<"$now"
    if [ "$marked" = true ]; then
      uncordon+=("$node") # an earlier run stopped after it cordoned the node
    fi
    if [ "$has,$state" = "$config,success" ] && [ "$how" != reapply ]; then
      echo "$node: $config is applied already"
      continue
    fi
    if [ "$has,$state" = "$config,failed" ]; then
      how=reapply # the label stays the same, so MIG Manager would not try again
    fi
    # A node that somebody else cordoned stays cordoned.
    if [ "$how" != rename ] && [ "$unschedulable" != true ]; then
      cordon+=("$node")
      [ "$marked" = true ] || uncordon+=("$node")
    fi
    case $how in drain | reapply) drain+=("$node") ;; esac
    change+=("$node" "$config" "$how")
    await+=("node/$node")
  done
  if [ ${#cordon[@]} -gt 0 ]; then
    kubectl annotate node "${cordon[@]}" "$mark=true" --overwrite
    kubectl cordon "${cordon[@]}"
  fi
  if [ ${#drain[@]} -gt 0 ]; then
    kubectl drain "${drain[@]}" --ignore-daemonsets --delete-emptydir-data --timeout="$timeout"
  fi
  if [ ${#change[@]} -gt 0 ]; then
    set -- "${change[@]}"
    while [ $# -gt 0 ]; do
      # 'pending' keeps the wait below from taking the state of the configuration before for that
      # of the new one.
      kubectl label node "$1" nvidia.com/mig.config="$2" nvidia.com/mig.config.state=pending --overwrite
      if [ "$3" = reapply ]; then
        # MIG Manager acts when the label changes, and when it starts.
        kubectl delete pod --namespace "$namespace" --selector app=nvidia-mig-manager \
          --field-selector "spec.nodeName=$1"
      fi
      shift 3
    done
    kubectl wait "${await[@]}" --timeout="$timeout" \
      --for=jsonpath='{.metadata.labels.nvidia\.com/mig\.config\.state}'=success
  fi
  if [ ${#uncordon[@]} -gt 0 ]; then
    kubectl uncordon "${uncordon[@]}"
    kubectl annotate node "${uncordon[@]}" "$mark-"
  fi
}

# Batch 1 of 3: pods that run there are evicted
batch \
  gpu-2 migplan-2 drain \
  gpu-3 migplan-3 drain

# Batch 2 of 3: pods that run there are evicted
batch \
  gpu-5 migplan-4 drain \
  gpu-1 migplan-1 drain

# Batch 3 of 3: pods that run there are evicted
batch \
  gpu-4 migplan-1 drain
