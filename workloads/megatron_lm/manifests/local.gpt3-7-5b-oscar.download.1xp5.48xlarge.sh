#!/bin/bash
# Rendered from workloads/megatron_lm/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/megatron-lm/download/runs/${TRAINFORGE_RUN_ID:-megatron-lm-gpt3-7-5b-oscar-download}"
export STAGE_FOLDER="/fsx/stages/megatron-lm/download"
export CORPUS_FOLDER="/fsx/data/megatron-lm/corpus"
export TOKENS_FOLDER="/fsx/data/megatron-lm/tokens"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export CUDA_DEVICE_MAX_CONNECTIONS=1
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="1"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="1"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "download.py", "--vocabulary-revision=607a30d783dfa663caf39e06633721c8d4cfcd7e"], "environment": {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, "image": "ngc"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/megatron_lm/download.py \
  --vocabulary-revision=607a30d783dfa663caf39e06633721c8d4cfcd7e
