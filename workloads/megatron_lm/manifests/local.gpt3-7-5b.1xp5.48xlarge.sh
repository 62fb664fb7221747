#!/bin/bash
# Rendered from workloads/megatron_lm/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/megatron-lm/${TRAINFORGE_RUN_ID:-megatron-lm-gpt3-7-5b}"
export CORPUS_FOLDER="/fsx/data/megatron-lm/corpus"
export TOKENS_FOLDER="/fsx/data/megatron-lm/tokens"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export CUDA_DEVICE_MAX_CONNECTIONS=1
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=iteration +(?P<step>[0-9]+)/ *[0-9]+ \| consumed samples: +(?P<consumed_samples>[0-9]+) \|.*? elapsed time per iteration \(ms\): (?P<milliseconds_per_step>[0-9.]+) \|(?: throughput per GPU \(TFLOP/s/GPU\): (?P<tflops>[0-9.]+) \|)?.*? learning rate: (?P<learning_rate>[0-9.E+-]+) \|.*? (?:lm loss: |loss scale: 1\.0 \|.* number of (?=nan iterations: )|number of (?=nan iterations: +[1-9]))(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.E+-]*))(?:.*? grad norm: (?P<gradient_norm>(?:[+-]?(?i:nan|inf)|[0-9.]+)) \|)?' \
  --start-seconds=1800 \
  --stall-seconds=900 \
  --step-samples=288 \
  --sample-tokens=2048 \
  --last-rank \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  "--nproc-per-node=$GPUS" \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/megatron_lm/train.py \
  --num-layers=36 \
  --hidden-size=4096 \
  --ffn-hidden-size=16384 \
  --num-attention-heads=32 \
  --seq-length=2048 \
  --max-position-embeddings=2048 \
  --position-embedding-type=learned_absolute \
  --init-method-std=0.006 \
  --lr=6.0e-5 \
  --min-lr=6.0e-6 \
  --tensor-model-parallel-size=4 \
  --sequence-parallel \
  --pipeline-model-parallel-size=2 \
  --context-parallel-size=1 \
  --use-distributed-optimizer \
  --overlap-grad-reduce \
  --overlap-param-gather \
  --micro-batch-size=1 \
  --global-batch-size=288 \
  --train-iters=1000 \
  --lr-decay-style=cosine \
  --lr-warmup-iters=100 \
  --clip-grad=1.0 \
  --weight-decay=0.1 \
  --adam-beta1=0.9 \
  --adam-beta2=0.95 \
  --bf16 \
  --recompute-activations \
  --attention-backend=auto \
  --log-interval=1 \
  --log-throughput \
  --eval-iters=0 \
  --save-interval=200 \
  --save-retain-interval=1000 \
  --mock-data \
  --tokenizer-type=NullTokenizer \
  --vocab-size=50256
