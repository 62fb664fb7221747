#!/bin/bash
# Rendered from workloads/neuronx_distributed/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/neuronx-distributed/tokenize/runs/${TRAINFORGE_RUN_ID:-neuronx-distributed-8b-continued-tokenize}"
export STAGE_FOLDER="/fsx/stages/neuronx-distributed/tokenize"
export SYNTHETIC_TOKENS="/fsx/data/nxd-synthetic-8192"
export C4_TOKENS="/fsx/data/nxd-c4-llama3-8192"
export WEIGHTS_FOLDER="/fsx/data/nxd-weights"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export NEURON_FUSE_SOFTMAX=1
export NEURON_CC_FLAGS=--model-type=transformer
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="1"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="1"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "make_tokens.py", "c4", "--revision=1588ec454efa1a09f29cd18ddd04fe05fc8653a2"], "environment": {"NEURON_FUSE_SOFTMAX": "1", "NEURON_CC_FLAGS": "--model-type=transformer"}, "image": "neuron"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=cpu \
  --accelerators=0 \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/neuronx_distributed/make_tokens.py c4 \
  --revision=1588ec454efa1a09f29cd18ddd04fe05fc8653a2
