#!/bin/bash
# Rendered from workloads/megatron_lm/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/stages/megatron-lm/preprocess/runs/${TRAINFORGE_RUN_ID:-megatron-lm-gpt3-7-5b-oscar-preprocess}"
export STAGE_FOLDER="/fsx/stages/megatron-lm/preprocess"
export CORPUS_FOLDER="/fsx/data/megatron-lm/corpus"
export TOKENS_FOLDER="/fsx/data/megatron-lm/tokens"
mkdir -p "${RUN_FOLDER%/*}"
(umask 027 && mkdir -p "$RUN_FOLDER")
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export CUDA_DEVICE_MAX_CONNECTIONS=1
export NODE_RANK="0"
export NNODES="1"
export RANKS_PER_NODE="$GPUS"
export MASTER_ADDR="127.0.0.1"
export MASTER_PORT="$MASTER_PORT"
export WORLD_SIZE="$GPUS"
exec python3 /fsx/data/launch/base/runtime/stage.py \
  "--marker=$STAGE_FOLDER" \
  '--describe={"program": ["python3", "preprocess.py", "--tokenizer-type=GPT2BPETokenizer", "--vocab-file={CORPUS_FOLDER}/gpt2-vocab.json", "--merge-file={CORPUS_FOLDER}/gpt2-merges.txt", "--input={CORPUS_FOLDER}/oscar-1GB.jsonl", "--output-prefix={TOKENS_FOLDER}/gpt3/gpt3", "--append-eod", "--workers=64"], "environment": {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, "image": "ngc"}' \
  --node=0 \
  --nodes=1 \
  -- python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- python3 /fsx/data/launch/megatron_lm/preprocess.py \
  --tokenizer-type=GPT2BPETokenizer \
  '--vocab-file={CORPUS_FOLDER}/gpt2-vocab.json' \
  '--merge-file={CORPUS_FOLDER}/gpt2-merges.txt' \
  '--input={CORPUS_FOLDER}/oscar-1GB.jsonl' \
  '--output-prefix={TOKENS_FOLDER}/gpt3/gpt3' \
  --append-eod \
  --workers=64
