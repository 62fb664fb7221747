#!/bin/bash
# Rendered from workloads/gpu_health/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/gpu-health/${TRAINFORGE_RUN_ID:-gpu-health-standard}"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export TRAINFORGE_GUARD_SKIP=accelerators,efa,plugin,fabric,health
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=^verdict over (?P<nodes>[0-9]+) nodes: .*; (?P<unusable_nodes>[0-9]+) not usable\Z' \
  --start-seconds=14400 \
  --stall-seconds=900 \
  --at-most=unusable_nodes:last:0 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  "--nproc-per-node=$GPUS" \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/gpu_health/examine.py \
  --suite standard
