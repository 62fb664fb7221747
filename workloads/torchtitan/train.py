"""Launch file of torchtitan: its own trainer in the run's folder, on GPUs or, for tests, on processors.

    torchrun ... train.py --model.name=llama3_synthetic --model.flavor=8B --training.steps=1000

Arguments are torchtitan's own (`train.py --help` lists them). RUN_FOLDER is where checkpoints go, and where the run
continues from: torchtitan loads the newest checkpoint that is whole.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

# Imports leave no garbage, and looking for it takes a fifth of their time. The trainer collects at steps of its own.
gc.disable()

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from training import errors  # noqa: E402
from training.errors import TrainingError  # noqa: E402

CHECKPOINTS = 3
"""Number of checkpoints that stay: the newest ones."""


def _defaults(folder: str) -> list[str]:
    """Return options of torchtitan that each run has; those of the command line come after them and win.

    The launch guard ends a run that hangs, after it has written its stacks: torch's own timeout is longer.
    """
    seconds = os.environ.get("TRAINFORGE_COLLECTIVE_SECONDS", "")
    # That of the stage; without it torchtitan's own default stays.
    tokenizer = os.environ.get("TOKENIZER_FOLDER", "")
    return [
        f"--job.dump_folder={folder}",
        "--checkpoint.enable",
        "--checkpoint.folder=checkpoints",
        f"--checkpoint.keep_latest_k={CHECKPOINTS}",
        # The last one too can be resumed, with more steps.
        "--checkpoint.no_last_save_model_only",
        "--metrics.disable_color_printing",
        *([f"--model.hf_assets_path={tokenizer}"] if os.path.isdir(tokenizer) else []),
        *([f"--comm.train_timeout_seconds={seconds}"] if seconds else []),
    ]


def main() -> None:
    """Train as the command line says."""
    # `errors.run` has enabled it, and the imports below are more than those above.
    gc.disable()
    folder = os.environ.get("RUN_FOLDER", "")
    if not folder:
        raise TrainingError("RUN_FOLDER is not set: it names the folder of the run's checkpoints")
    on_processors = not torch.cuda.is_available()
    if on_processors:
        from titan_launch import processors

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        processors.use_processors()
    from titan_launch import synthetic, text
    from torchtitan.config import ConfigManager
    from torchtitan.tools.logging import init_logger, logger
    from torchtitan.train import Trainer

    init_logger()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # All ranks print the same lines: one of each node is enough.
        logger.setLevel(logging.WARNING)
    synthetic.register()
    text.at_commits(Path(folder))
    try:
        configuration = ConfigManager().parse_args([*_defaults(folder), *sys.argv[1:]])
    except ValueError as error:
        raise TrainingError(str(error)) from error
    trainer = Trainer(configuration)
    if on_processors:
        processors.sum_gradients(trainer)
    try:
        trainer.train()
    finally:
        trainer.close()
    # A gloo group that is destroyed while its work is unfinished aborts.
    dist.barrier()
    del trainer
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    errors.run(main)
