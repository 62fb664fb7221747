"""Launch file of bionemo-esm1nv: BioNeMo's own program for ESM-1nv, in the run's folder.

    torchrun ... train.py --data=uniref50 --global-batch=8192 model.micro_batch_size=256

Own options are in esm1nv_options.py; all else are values of BioNeMo's configuration. RUN_FOLDER is where logs and
checkpoints go, and where the run continues from: NeMo's exp_manager loads the last checkpoint
(`exp_manager.resume_if_exists`). With `--program=placeholder` a program on processors takes BioNeMo's place and says
so.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from pathlib import Path

from esm1nv_launch import values
from esm1nv_options import options
from training import errors
from training.errors import NO_INPUT, UNAVAILABLE, TrainingError


def _start(words: list[str]) -> None:
    """Be BioNeMo's program, with its own configuration."""
    if importlib.util.find_spec("bionemo") is None or values.HOME_VARIABLE not in os.environ:
        raise TrainingError(
            f"bionemo or {values.HOME_VARIABLE} is missing; the workload's image has both", UNAVAILABLE
        )
    program = values.program(os.environ)
    sys.argv = [
        str(program),
        f"--config-path={program.parent / 'conf'}",
        "--config-name=pretrain_small",
        *words,
    ]
    sys.path.insert(0, str(program.parent))
    runpy.run_path(str(program), run_name="__main__")


def main() -> None:
    """Train as the command line says."""
    settings = options()
    ranks, of_node = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    folder = os.environ.get("RUN_FOLDER", "")
    if not folder:
        raise TrainingError("RUN_FOLDER is not set: it names the folder of the run's checkpoints")
    proteins = os.environ.get(f"{settings.data.upper()}_PROTEINS", "")
    try:
        count = values.passes(settings.values, settings.global_batch, ranks)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    words = values.of_run(settings.values, values.Place(ranks, of_node), count, Path(folder), proteins)
    if settings.program == "placeholder":
        from esm1nv_launch import placeholder

        placeholder.train(words)
        return
    if not (Path(proteins) / "train").is_dir():
        raise TrainingError(f"there are no proteins in '{proteins}'; a stage makes them", NO_INPUT)
    _start(words)


if __name__ == "__main__":
    errors.run(main)
