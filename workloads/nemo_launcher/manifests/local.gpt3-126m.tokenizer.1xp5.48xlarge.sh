#!/bin/bash
# Rendered from workloads/nemo_launcher/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/nemo-launcher/tokenizer/runs/${TRAINFORGE_RUN_ID:-nemo-launcher-gpt3-126m-tokenizer}"
export STAGE_FOLDER="/fsx/stages/nemo-launcher/tokenizer"
export TOKENIZER_FOLDER="/fsx/data/nemo-launcher/tokenizers"
export TOKENS_FOLDER="/fsx/data/nemo-launcher/pile"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export TORCH_NCCL_AVOID_RECORD_STREAMS=1
export NCCL_NVLS_ENABLE=0
export TOKENIZERS_PARALLELISM=false
export HYDRA_FULL_ERROR=1
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="1"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="1"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "fetch_tokenizer.py", "--model=gpt3-126m"], "environment": {"TORCH_NCCL_AVOID_RECORD_STREAMS": "1", "NCCL_NVLS_ENABLE": "0", "TOKENIZERS_PARALLELISM": "false", "HYDRA_FULL_ERROR": "1"}, "image": "nvcr.io/nvidia/nemo:24.12"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/nemo_launcher/fetch_tokenizer.py \
  --model=gpt3-126m
