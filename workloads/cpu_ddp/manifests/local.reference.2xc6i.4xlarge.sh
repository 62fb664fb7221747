#!/bin/bash
# Rendered from workloads/cpu_ddp/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/cpu-ddp/${TRAINFORGE_RUN_ID:-cpu-ddp-reference}"
export DATA_FOLDER="/fsx/data/mnist"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  '--progress=step=(?P<step>[0-9]+) loss=(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.e+-]*)) samples_per_second=(?P<samples_per_second>[0-9][0-9.e+-]*)' \
  --start-seconds=300 \
  --stall-seconds=300 \
  --step-samples=256 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  --nproc-per-node=2 \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/cpu_ddp/train.py \
  --steps=2000 \
  --global-batch=256 \
  --hidden=512 \
  --checkpoint-every=200 \
  --threads=8
