#!/bin/bash
# Rendered from workloads/jax/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/jax/tokenize/runs/${TRAINFORGE_RUN_ID:-jax-2b-c4-tokenize}"
export STAGE_FOLDER="/fsx/stages/jax/tokenize"
export TOKENS_FOLDER="/fsx/data/c4-llama2"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export XLA_FLAGS=--xla_gpu_enable_latency_hiding_scheduler=true
export XLA_PYTHON_CLIENT_MEM_FRACTION=0.9
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="1"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="1"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "preprocess.py", "--revision=1588ec454efa1a09f29cd18ddd04fe05fc8653a2", "--tokenizer=meta-llama/Llama-2-7b-hf@01c7f73d771dfac7d292323805ebc428287df4f9"], "environment": {"XLA_FLAGS": "--xla_gpu_enable_latency_hiding_scheduler=true", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"}, "image": "nvcr.io/nvidia/jax:26.07-py3"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/jax/preprocess.py \
  --revision=1588ec454efa1a09f29cd18ddd04fe05fc8653a2 \
  --tokenizer=meta-llama/Llama-2-7b-hf@01c7f73d771dfac7d292323805ebc428287df4f9
