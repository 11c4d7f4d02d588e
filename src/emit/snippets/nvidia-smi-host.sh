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
