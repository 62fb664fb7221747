#!/bin/bash
# Rendered from workloads/picotron/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/picotron/${TRAINFORGE_RUN_ID:-picotron-smollm-1-7b}"
export SMOLLM_FOLDER="/fsx/data/smollm"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=Step: (?P<step>[0-9]+) +\| Loss: +(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.]*)) \| Global batch size: .*\| Tokens/s: +(?P<tokens_per_second>[0-9][0-9.]*[KMBT]?) \| Tokens/s/GPU: +(?P<tokens_per_second_per_rank>[0-9][0-9.]*[KMBT]?) \|.* MFU: +(?P<mfu_percent>[0-9.]+)%' \
  --start-seconds=1800 \
  --stall-seconds=900 \
  "--ranks-per-node=$GPUS" \
  --step-samples=256 \
  --sample-tokens=1024 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  "--nproc-per-node=$GPUS" \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/picotron/train.py \
  --model=smollm-1-7b \
  --tensor-parallel=2 \
  --pipeline-parallel=2 \
  --context-parallel=1 \
  --micro-batch=4 \
  --sequence-length=1024 \
  --global-batch=256 \
  --steps=1000 \
  --checkpoint-every=200
