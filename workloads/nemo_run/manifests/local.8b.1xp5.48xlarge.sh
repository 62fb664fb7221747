#!/bin/bash
# Rendered from workloads/nemo_run/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/nemo-run/${TRAINFORGE_RUN_ID:-nemo-run-8b}"
export NEMO_TOKENS="/fsx/data/c4-llama3-megatron"
export NEMO_HOME="/fsx/data/nemo"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export TORCH_NCCL_AVOID_RECORD_STREAMS=1
export CUDA_DEVICE_MAX_CONNECTIONS=1
export TOKENIZERS_PARALLELISM=false
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=Training epoch [0-9]+, iteration [0-9]+/[0-9]+ \| lr: (?P<learning_rate>[0-9.e+-]+) \| .*global_step: (?P<step>[0-9]+) \| reduced_train_loss: (?P<loss>(?:[+-]?(?i:nan|inf)|[0-9.e+-]+))(?: \| train_step_timing in s: (?P<seconds_per_step>[0-9.e+-]+))?(?: \| consumed_samples: (?P<consumed_samples>[0-9]+))?' \
  --start-seconds=1800 \
  --stall-seconds=1800 \
  --step-samples=512 \
  --sample-tokens=8192 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  "--nproc-per-node=$GPUS" \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/nemo_run/train.py \
  --recipe=llama31_8b \
  --task=pretrain \
  --global-batch=512 \
  trainer.max_steps=1000 trainer.log_every_n_steps=1 trainer.num_sanity_val_steps=0 trainer.val_check_interval=250 trainer.limit_val_batches=2 data.seq_length=8192 model.config.seq_length=8192 data.micro_batch_size=1 trainer.strategy.tensor_model_parallel_size=1 trainer.strategy.pipeline_model_parallel_size=1 trainer.strategy.context_parallel_size=2
