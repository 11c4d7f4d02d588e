#!/usr/bin/env bash
# Changes this node's GPUs: every instance is destroyed, and the plan's are created where it says.
# It stops at the first command that fails, and undoes nothing: `migplan apply` keeps what can stay
# and rolls back. Nothing may run on these GPUs.
# Node: gpu-5
set -euo pipefail

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
