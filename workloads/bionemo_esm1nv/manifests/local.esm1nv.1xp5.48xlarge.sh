#!/bin/bash
# Rendered from workloads/bionemo_esm1nv/workload.py by 'make manifests': change that, not this.
GPUS="${TRAINFORGE_GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
[ "$GPUS" -gt 0 ] || { echo "error: nvidia-smi lists no GPU here, and this preset needs one" >&2; exit 69; }
: "${MASTER_PORT:=$(python3 -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")}"
set -euo pipefail
export RUN_FOLDER="/fsx/runs/bionemo-esm1nv/${TRAINFORGE_RUN_ID:-bionemo-esm1nv-esm1nv}"
export SYNTHETIC_PROTEINS="/fsx/data/esm1nv-synthetic"
export UNIREF50_PROTEINS="/fsx/data/esm1nv-uniref50"
mkdir -p "${RUN_FOLDER%/*}"
umask 027
mkdir -p "$RUN_FOLDER"
absent=
[ -d "$SYNTHETIC_PROTEINS" ] || { echo "data 'synthetic-proteins' of bionemo-esm1nv is not there: $SYNTHETIC_PROTEINS; make it by 'trainforge launch bionemo-esm1nv --preset esm1nv --on local --stage synthetic'" >&2; absent=yes; }
if [ -n "$absent" ]; then
  echo 66 > "$RUN_FOLDER/final_exit_code"
  exit 66
fi
export PYTHONPATH="/fsx/data/launch/base/runtime${PYTHONPATH:+:$PYTHONPATH}"
export FI_EFA_USE_HUGE_PAGE=0
export NCCL_SOCKET_IFNAME='^lo,docker,ecs,veth'
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
exec python3 /fsx/data/launch/base/runtime/launch_guard.py \
  --kind=gpu \
  "--accelerators=$GPUS" \
  --efa=0 \
  --nodes=1 \
  '--progress=Epoch [0-9]+: .*\| (?P<step>[0-9]+)/[0-9]+ \[.*, +(?:(?P<steps_per_second>[0-9][0-9.]*(?:e[+-]?[0-9]+)?)it/s|(?P<seconds_per_step>[0-9][0-9.]*(?:e[+-]?[0-9]+)?)s/it), loss=.* reduced_train_loss=(?P<loss>(?:[+-]?(?i:nan|inf)|[0-9][0-9.]*(?:e[+-]?[0-9]+)?))(?:\.0*)?, .*consumed_samples=(?P<consumed_samples>[0-9][0-9.]*(?:e[+-]?[0-9]+)?)' \
  --start-seconds=3600 \
  --stall-seconds=1800 \
  --step-samples=8192 \
  --sample-tokens=512 \
  --node-rank=0 \
  "--logs=$RUN_FOLDER/nccl" \
  -- torchrun \
  --nnodes=1 \
  "--nproc-per-node=$GPUS" \
  --node-rank=0 \
  --master-addr=127.0.0.1 \
  "--master-port=$MASTER_PORT" \
  --max-restarts=0 \
  /fsx/data/launch/bionemo_esm1nv/train.py \
  --data=synthetic \
  --global-batch=8192 \
  model.micro_batch_size=256 model.tensor_model_parallel_size=1 trainer.max_steps=1000 trainer.val_check_interval=500 model.data.dataset.train=x_OP_000..049_CL_ model.data.dataset.val=x_OP_000..049_CL_ model.data.dataset.test=x_OP_000..049_CL_ model.dwnstr_task_validation.enabled=False
