#!/bin/bash
# Rendered from workloads/jax/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/jax/${TRAINFORGE_RUN_ID:-jax-2b}"
export TOKENS_FOLDER="/fsx/data/c4-llama2"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export XLA_FLAGS=--xla_gpu_enable_latency_hiding_scheduler=true
export XLA_PYTHON_CLIENT_MEM_FRACTION=0.9
export JAX_COORDINATOR_ADDRESS="127.0.0.1:$MASTER_PORT"
export JAX_NUM_PROCESSES="$GPUS"
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=step=(?P<step>[0-9]+) loss=(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.e+-]*)) samples_per_second=(?P<samples_per_second>[0-9][0-9.e+-]*) tokens_per_second=(?P<tokens_per_second>[0-9][0-9.e+-]*) tflops=(?P<tflops>[0-9][0-9.e+-]*) gradient_norm=(?P<gradient_norm>(?:[+-]?(?i:nan|inf)|[0-9][0-9.e+-]*))' \
  --start-seconds=1800 \
  --stall-seconds=900 \
  --step-samples=1024 \
  --sample-tokens=1024 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/base/runtime/rank_starter.py \
  --node=0 \
  "--ranks-per-node=$GPUS" \
  --rank-variables=JAX_PROCESS_ID \
  --local-rank-variables=JAX_LOCAL_DEVICE_IDS \
  -- python3 /fsx/data/launch/jax/train.py \
  --model=2b \
  --sequence-length=1024 \
  --global-batch=1024 \
  --model-parallel=1 \
  --steps=1000 \
  --warmup-steps=100 \
  --checkpoint-every=200 \
  --device=cuda
