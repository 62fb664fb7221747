#!/bin/bash
# Rendered from workloads/nemo_launcher/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/nemo-launcher/${TRAINFORGE_RUN_ID:-nemo-launcher-gpt3-126m}"
export TOKENIZER_FOLDER="/fsx/data/nemo-launcher/tokenizers"
export TOKENS_FOLDER="/fsx/data/nemo-launcher/pile"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
absent=
[ -d "$TOKENIZER_FOLDER" ] || { echo "tokenizer 'tokenizers' of nemo-launcher is not there: $TOKENIZER_FOLDER; make it by 'trainforge launch nemo-launcher --preset gpt3-126m --on local --stage tokenizer'" >&2; absent=yes; }
if [ -n "$absent" ]; then
  echo 66 > "$RUN_FOLDER/final_exit_code"
  exit 66
fi
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export TORCH_NCCL_AVOID_RECORD_STREAMS=1
export NCCL_NVLS_ENABLE=0
export TOKENIZERS_PARALLELISM=false
export HYDRA_FULL_ERROR=1
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=Epoch [0-9]+: .*\| *(?P<step>[0-9]+)/[0-9]+ \[.*reduced_train_loss=(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9.]+(?:e[+-]?[0-9]+)?))(?:.*consumed_samples=(?P<consumed_samples>[0-9.]+(?:e[+-]?[0-9]+)?))?(?:.*train_step_timing in s=(?P<seconds_per_step>[0-9.]+(?:e[+-]?[0-9]+)?))?' \
  --start-seconds=1800 \
  --stall-seconds=1800 \
  --step-samples=256 \
  --sample-tokens=2048 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  "--nproc-per-node=$GPUS" \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/nemo_launcher/train.py \
  --model=gpt3-126m \
  --global-batch=256 \
  trainer.max_steps=100 model.micro_batch_size=4 model.tensor_model_parallel_size=1 model.pipeline_model_parallel_size=1 trainer.val_check_interval=100
