#!/bin/bash
# Rendered from workloads/ray_train/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/ray-train/${TRAINFORGE_RUN_ID:-ray-train-llama3-1-8b}"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime:/fsx/data/launch/fsdp${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export RAY_DEDUP_LOGS=0
export RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
export RAY_worker_niceness=0
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
export NNODES="1"
export RANKS_PER_NODE="$GPUS"
export WORLD_SIZE="$GPUS"
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=step=(?P<step>[0-9]+) loss=(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.e+-]*)) samples_per_second=(?P<samples_per_second>[0-9][0-9.e+-]*)' \
  --start-seconds=1200 \
  --stall-seconds=900 \
  --step-samples=128 \
  --sample-tokens=8192 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 \
  -m ray_nodes \
  --node=0 \
  --nodes=1 \
  "--head=127.0.0.1:$MASTER_PORT" \
  "--ranks-per-node=$GPUS" \
  "--gpus=$GPUS" \
  --object-store-mib=200 \
  -- python3 /fsx/data/launch/ray_train/train.py \
  --model=llama3-1-8b \
  --sequence-length=8192 \
  --global-batch=128 \
  --recompute=selective \
  --steps=1000 \
  --warmup-steps=100 \
  --checkpoint-every=200 \
  --no-document-mask
