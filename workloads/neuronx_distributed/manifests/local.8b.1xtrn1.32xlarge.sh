#!/bin/bash
# Rendered from workloads/neuronx_distributed/workload.py by 'make manifests': change that, not this.
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/neuronx-distributed/${TRAINFORGE_RUN_ID:-neuronx-distributed-8b}"
export SYNTHETIC_TOKENS="/fsx/data/nxd-synthetic-8192"
export C4_TOKENS="/fsx/data/nxd-c4-llama3-8192"
export WEIGHTS_FOLDER="/fsx/data/nxd-weights"
export NEURON_COMPILE_CACHE_URL="/fsx/neuron-compile-cache/neuronx-distributed"
mkdir -p "$NEURON_COMPILE_CACHE_URL"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
absent=
[ -d "$SYNTHETIC_TOKENS" ] || { echo "data 'synthetic-tokens' of neuronx-distributed is not there: $SYNTHETIC_TOKENS; make it by 'trainforge launch neuronx-distributed --preset 8b --on local --stage synthetic'" >&2; absent=yes; }
if [ -n "$absent" ]; then
  echo 66 > "$RUN_FOLDER/final_exit_code"
  exit 66
fi
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_DEVICE_RDMA=1
export FI_PROVIDER=efa
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export NEURON_FUSE_SOFTMAX=1
export NEURON_CC_FLAGS=--model-type=transformer
export MALLOC_ARENA_MAX=64
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=neuron \
  --accelerators=16 \
  --efa=0 \
  --nodes=1 \
  '--progress=^(?:LOG .* - \([0-9]+, |step )(?P<step>[0-9]+)\b(?:(?=.* step_time (?P<seconds_per_step>[0-9][0-9.]*(?:e[+-]?[0-9]+)?)s)|)(?=.* throughput(?: :)? (?P<samples_per_second>[0-9][0-9.]*(?:e[+-]?[0-9]+)?) seq/s)(?=.*loss(?: :)? (?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.]*(?:e[+-]?[0-9]+)?)))(?:(?=.* grad[ -]norm(?: :)? (?P<gradient_norm>(?:[+-]?(?i:nan|inf)|[0-9][0-9.]*(?:e[+-]?[0-9]+)?)))|)' \
  --start-seconds=7200 \
  --stall-seconds=3600 \
  --step-samples=1024 \
  --sample-tokens=8192 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- env NEURON_RT_ROOT_COMM_ID=127.0.0.1:31500 torchrun \
  --nnodes=1 \
  --nproc-per-node=32 \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/neuronx_distributed/train.py \
  --model=llama3-8b \
  --global-batch=1024 \
  --tensor_parallel_size=32 \
  --seq_len=8192 \
  --max_steps=10000 \
  --warmup_steps=100 \
  --lr=1.5e-4 \
  --checkpoint_freq=100 \
  --logging_interval=1 \
  --use_mix_precision \
  --use_zero_1 \
  --sequence_parallel_enabled \
  --selective_checkpoint_enabled \
  --qkv_linear \
  --kv_replicator=4 \
  --use_flash_attention=1 \
  --use_gpu_compatible_precision=1 \
  --print_grad_norm
