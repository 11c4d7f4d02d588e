#!/usr/bin/env bash
# Changes this node's GPUs: every instance is destroyed, and the plan's are created where it says.
# It stops at the first command that fails, and undoes nothing: `migplan apply` keeps what can stay
# and rolls back. Nothing may run on these GPUs.
# The node is the first argument, or this host: the first of its names that the plan has.
set -euo pipefail

if [ $# -gt 0 ]; then
  names=("$1")
else
  # A host without a domain fails to name one.
  names=("$(hostname)" "$(hostname -f 2>/dev/null || true)" "$(hostname -s 2>/dev/null || true)")
fi
for node in "${names[@]}"; do
case "$node" in
'gpu-1' | 'gpu-4')
  # MIG off
  nvidia-smi mig -i 3 -dci || true
  nvidia-smi mig -i 3 -dgi || true
  nvidia-smi -i 3 -mig 0
  # MIG on
  nvidia-smi -i 0,1,2 -mig 1
  # Where the mode is still pending, these GPUs need: nvidia-smi --gpu-reset -i 0,1,2,3
  # GPU 0: 2g.20gb@0 1g.10gb@2 1g.10gb@3 3g.40gb@4
  nvidia-smi mig -i 0 -dci || true
  nvidia-smi mig -i 0 -dgi || true
  nvidia-smi mig -i 0 -cgi 14:0,19:2,19:3,9:4 -C
  # GPU 1: 2g.20gb@0 1g.10gb@2 1g.10gb@3 3g.40gb@4
  nvidia-smi mig -i 1 -dci || true
  nvidia-smi mig -i 1 -dgi || true
  nvidia-smi mig -i 1 -cgi 14:0,19:2,19:3,9:4 -C
  # GPU 2: 1g.10gb+me@0 1g.10gb@1 1g.10gb@2 1g.10gb@3 1g.10gb@4 1g.10gb@5 1g.10gb@6
  nvidia-smi mig -i 2 -dci || true
  nvidia-smi mig -i 2 -dgi || true
  nvidia-smi mig -i 2 -cgi 20:0,19:1,19:2,19:3,19:4,19:5,19:6 -C
  exit 0
  ;;
'gpu-2')
  # MIG off
  nvidia-smi mig -i 0 -dci || true
  nvidia-smi mig -i 0 -dgi || true
  nvidia-smi mig -i 1 -dci || true
  nvidia-smi mig -i 1 -dgi || true
  nvidia-smi mig -i 2 -dci || true
  nvidia-smi mig -i 2 -dgi || true
  nvidia-smi mig -i 3 -dci || true
  nvidia-smi mig -i 3 -dgi || true
  nvidia-smi -i 0,1,2,3 -mig 0
  # Where the mode is still pending, these GPUs need: nvidia-smi --gpu-reset -i 0,1,2,3
  exit 0
  ;;
'gpu-3')
  # MIG on
  nvidia-smi -i 0,1 -mig 1
  # Where the mode is still pending, these GPUs need: nvidia-smi --gpu-reset -i 0,1
  # GPU 0: 2g.12gb@0 1g.6gb@2 1g.6gb@3
  nvidia-smi mig -i 0 -dci || true
  nvidia-smi mig -i 0 -dgi || true
  nvidia-smi mig -i 0 -cgi 5:0,14:2,14:3 -C
  # GPU 1: 2g.12gb@0 1g.6gb@2 1g.6gb@3
  nvidia-smi mig -i 1 -dci || true
  nvidia-smi mig -i 1 -dgi || true
  nvidia-smi mig -i 1 -cgi 5:0,14:2,14:3 -C
  exit 0
  ;;
'gpu-5')
  # MIG on
  nvidia-smi -i 0,1 -mig 1
  # Where the mode is still pending, these GPUs need: nvidia-smi --gpu-reset -i 0
  # GPU 0: 1g.10gb@0 1g.10gb@2 3g.20gb@4
  nvidia-smi mig -i 0 -dci || true
  nvidia-smi mig -i 0 -dgi || true
  nvidia-smi mig -i 0 -cgi 15:0,15:2,9:4 -C
  # GPU 1: 7g.80gb@0
  nvidia-smi mig -i 1 -dci || true
  nvidia-smi mig -i 1 -dgi || true
  nvidia-smi mig -i 1 -cgi 0:0 -C
  exit 0
  ;;
esac
done
echo "the plan has no node '${names[0]}'" >&2
exit 2
