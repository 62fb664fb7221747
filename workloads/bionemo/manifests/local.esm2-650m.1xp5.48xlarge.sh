#!/bin/bash
# Rendered from workloads/bionemo/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/bionemo/${TRAINFORGE_RUN_ID:-bionemo-esm2-650m}"
export PROTEINS_FOLDER="/fsx/data/uniref50"
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
  '--progress=step=(?P<step>[0-9]+) loss=(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.e+-]*)) samples_per_second=(?P<samples_per_second>[0-9][0-9.e+-]*) tokens_per_second=(?P<tokens_per_second>[0-9][0-9.e+-]*) tflops=(?P<tflops>[0-9][0-9.e+-]*) learning_rate=(?P<learning_rate>[0-9][0-9.e+-]*) gradient_norm=(?P<gradient_norm>(?:[+-]?(?i:nan|inf)|[0-9][0-9.e+-]*))' \
  --start-seconds=900 \
  --stall-seconds=900 \
  --step-samples=512 \
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
  /fsx/data/launch/bionemo/train.py \
  --model=650m \
  --sequence-length=1024 \
  --global-batch=512 \
  --micro-batch=16 \
  --steps=1000 \
  --warmup-steps=100 \
  --checkpoint-every=500
