#!/usr/bin/env bash
# Stands in for kubectl and MIG Manager. A node of $CLUSTER is a folder with a file for each of
# config, state, unschedulable and mark; a node with a file `broken` fails to apply a configuration.
set -euo pipefail
echo "$*" >>"$CLUSTER/calls"

value() { cat "$CLUSTER/$1/$2" 2>/dev/null || true; }

# MIG Manager on node $1: reports what came of its configuration.
apply() {
  if [ -e "$CLUSTER/$1/broken" ]; then printf failed; else printf success; fi >"$CLUSTER/$1/state"
}

verb=$1
shift
case $verb in
get) # node NAME -o jsonpath=...
  printf '%s,%s,%s,%s' "$(value "$2" config)" "$(value "$2" state)" \
    "$(value "$2" unschedulable)" "$(value "$2" mark)"
  ;;
cordon) for node; do printf true >"$CLUSTER/$node/unschedulable"; done ;;
uncordon) for node; do rm -f "$CLUSTER/$node/unschedulable"; done ;;
annotate)
  nodes=() mark=
  for word in "${@:2}"; do
    case $word in
    --*) ;;
    */*=*) mark=${word#*=} ;;
    */*-) mark= ;;
    *) nodes+=("$word") ;;
    esac
  done
  for node in "${nodes[@]}"; do
    if [ -n "$mark" ]; then printf '%s' "$mark" >"$CLUSTER/$node/mark"; else rm "$CLUSTER/$node/mark"; fi
  done
  ;;
drain)
  for word; do
    [[ $word == --* ]] || [ "$(value "$word" unschedulable)" = true ] || exit 1
  done
  ;;
label) # node NAME KEY=VALUE ...
  node=$2 before=$(value "$2" config)
  for word in "${@:3}"; do
    case $word in
    nvidia.com/mig.config=*) printf '%s' "${word#*=}" >"$CLUSTER/$node/config" ;;
    nvidia.com/mig.config.state=*) printf '%s' "${word#*=}" >"$CLUSTER/$node/state" ;;
    esac
  done
  # MIG Manager acts only when the label changes.
  [ "$before" = "$(value "$node" config)" ] || apply "$node"
  ;;
delete) # pod ... spec.nodeName=NAME: MIG Manager starts again
  for word; do
    case $word in spec.nodeName=*) apply "${word#*=}" ;; esac
  done
  ;;
wait)
  for word; do
    case $word in node/*) [ "$(value "${word#node/}" state)" = success ] || exit 1 ;; esac
  done
  ;;
*) exit 64 ;;
esac
