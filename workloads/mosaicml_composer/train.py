"""Launch file of Composer: MPT by llm-foundry or by Composer alone, and Stable Diffusion 2, in the run's folder.

    torchrun ... train.py --model=mpt-7b --global-batch=1024 --micro-batch=8

RUN_FOLDER is where checkpoints go, and where the run continues from, by Composer's autoresume. Without a GPU nothing is
patched: Composer and llm-foundry know processors, without FSDP and flash attention. On several nodes one function of
Composer is replaced (composer_launch/checkpoints.py: name_signal_files_by_node).
"""

from __future__ import annotations

import gc

# Imports leave no garbage, and looking for it takes a fifth of their time. `errors.run` collects again.
gc.disable()

import os  # noqa: E402
from pathlib import Path  # noqa: E402

from composer_options import Options, options  # noqa: E402
from composer_sizes import MPT  # noqa: E402
from training import errors  # noqa: E402
from training.errors import TrainingError  # noqa: E402


def main() -> None:
    """Train as the command line says."""
    chosen = options()
    folder = os.environ.get("RUN_FOLDER", "")
    if not folder:
        raise TrainingError("RUN_FOLDER is not set: it names the folder of the run's checkpoints")
    # torchrun names a node's rank differently than Composer's own launcher.
    os.environ.setdefault("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    _train(chosen, Path(folder))


def _train(chosen: Options, run_folder: Path) -> None:
    import torch
    import torch.distributed
    from composer.utils import dist, get_device
    from composer_launch import checkpoints, shards

    on_gpus = torch.cuda.is_available()
    if not on_gpus:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    # The launch guard ends a run that hangs, after it has written its stacks: torch's own timeout is longer.
    dist.initialize_dist(
        get_device(None), timeout=float(os.environ.get("TRAINFORGE_COLLECTIVE_SECONDS") or 600)
    )
    ranks = dist.get_world_size()
    if chosen.global_batch % (chosen.micro_batch * ranks):
        raise TrainingError(
            f"--global-batch {chosen.global_batch} is no multiple of --micro-batch {chosen.micro_batch} x {ranks} ranks"
        )
    folder = run_folder / "checkpoints"
    checkpoints.name_signal_files_by_node()
    if dist.get_global_rank() == 0:
        checkpoints.repair(folder, chosen.keep)
    data = shards.folder_of_data(chosen, run_folder)
    if chosen.model in MPT and chosen.trainer == "llm-foundry":
        from composer_launch import foundry, foundry_configuration

        trainer = foundry.fit(
            foundry_configuration.configuration(chosen, data, folder, on_gpus=on_gpus), chosen.set
        )
    else:
        from composer_launch import trainer as own

        trainer = own.fit(chosen, data, folder, on_gpus=on_gpus)
    trainer.close()
    # A gloo group that is destroyed while its work is unfinished aborts.
    del trainer
    gc.collect()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    errors.run(main)
