#!/bin/bash
# Rendered from workloads/picotron/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/picotron/download/runs/${TRAINFORGE_RUN_ID:-picotron-smollm-1-7b-tinystories-download}"
export STAGE_FOLDER="/fsx/stages/picotron/download"
export SMOLLM_FOLDER="/fsx/data/smollm"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="1"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="1"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "download.py", "--texts-revision=f54c09fd23315a6f9c86f9dc80f725de7d8f9c64", "--model=smollm-1-7b"], "environment": {}, "image": "cuda"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/picotron/download.py \
  --texts-revision=f54c09fd23315a6f9c86f9dc80f725de7d8f9c64 \
  --model=smollm-1-7b
