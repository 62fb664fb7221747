#!/bin/bash
# Rendered from workloads/torchtitan/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/torchtitan/${TRAINFORGE_RUN_ID:-torchtitan-8b}"
export TOKENIZER_FOLDER="/fsx/data/torchtitan/tokenizer"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=step: +(?P<step>[0-9]+)  loss: +(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.]*))  grad_norm: +(?P<gradient_norm>(?:[+-]?(?i:nan|inf)|[0-9.]+))  memory: .*tps: (?P<tokens_per_second_per_rank>[0-9,]+)  tflops: (?P<tflops>[0-9.,]+)  mfu: (?:(?P<mfu_percent>[0-9.]+)%|N/A)' \
  --start-seconds=1800 \
  --stall-seconds=900 \
  "--ranks-per-node=$GPUS" \
  --step-samples=32 \
  --sample-tokens=8192 \
  --last-rank \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  "--nproc-per-node=$GPUS" \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/torchtitan/train.py \
  --model.name=llama3_synthetic \
  --model.flavor=8B \
  --training.steps=1000 \
  --training.seq_len=8192 \
  --training.local_batch_size=1 \
  --training.global_batch_size=32 \
  --optimizer.lr=3e-4 \
  --activation_checkpoint.selective_ac_option=op \
  --checkpoint.interval=200 \
  --checkpoint.async_mode=async
