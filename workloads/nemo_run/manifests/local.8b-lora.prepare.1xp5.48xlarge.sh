#!/bin/bash
# Rendered from workloads/nemo_run/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/nemo-run/prepare/runs/${TRAINFORGE_RUN_ID:-nemo-run-8b-lora-prepare}"
export STAGE_FOLDER="/fsx/stages/nemo-run/prepare"
export NEMO_TOKENS="/fsx/data/c4-llama3-megatron"
export NEMO_HOME="/fsx/data/nemo"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export TORCH_NCCL_AVOID_RECORD_STREAMS=1
export CUDA_DEVICE_MAX_CONNECTIONS=1
export TOKENIZERS_PARALLELISM=false
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="1"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="1"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "prepare.py", "--squad-revision=7b6d24c440a36b6815f21b70d25016731768db1f", "--recipe=llama31_8b"], "environment": {"TORCH_NCCL_AVOID_RECORD_STREAMS": "1", "CUDA_DEVICE_MAX_CONNECTIONS": "1", "TOKENIZERS_PARALLELISM": "false"}, "image": "nvcr.io/nvidia/nemo:26.02"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/nemo_run/prepare.py \
  --squad-revision=7b6d24c440a36b6815f21b70d25016731768db1f \
  --recipe=llama31_8b
