#!/bin/bash
# Rendered from workloads/mosaicml_composer/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/mosaicml-composer/convert/runs/${TRAINFORGE_RUN_ID:-mosaicml-composer-mpt-7b-c4-convert}"
export STAGE_FOLDER="/fsx/stages/mosaicml-composer/convert"
export C4_FOLDER="/fsx/data/c4-gpt-neox-20b"
export LATENTS_FOLDER="/fsx/data/latents"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="1"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="1"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "convert.py", "--dataset=allenai/c4@1588ec454efa1a09f29cd18ddd04fe05fc8653a2"], "environment": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}, "image": "mosaicml/llm-foundry:2.7.0_cu128_aws-8c8dd48"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/mosaicml_composer/convert.py \
  --dataset=allenai/c4@1588ec454efa1a09f29cd18ddd04fe05fc8653a2
