"""Launch file of NeMo 2: a recipe in the run's folder, built and run by NeMo-Run on the ranks that torchrun started.

    torchrun ... train.py --recipe=llama31_8b --task=pretrain trainer.max_steps=1000

RUN_FOLDER is where logs and checkpoints go, and where the run continues from: NeMo's AutoResume loads the last one.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import nemo_options
from training import errors
from training.errors import STOPPED, TrainingError

MONITOR = "FT_RANK_MONITOR_IPC_SOCKET"
"""The variable by which ft_launcher of nvidia-resiliency-ext tells a rank where its monitor listens."""


def _recipe(arguments: argparse.Namespace, folder: str) -> Any:
    """Return the recipe with the values of the command line."""
    from nemo_launch import placeholder, recipes
    from nemo_run.cli.cli_parser import CLIException, parse_cli_args

    ranks, of_node = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    place = recipes.Place(folder, ranks // of_node, of_node)
    configured = (
        placeholder.recipe(place)
        if arguments.recipe == nemo_options.PLACEHOLDER
        else recipes.recipe(arguments, place)
    )
    try:
        return parse_cli_args(configured, nemo_options.values(arguments))
    except (CLIException, ValueError) as error:
        raise TrainingError(str(error)) from error


def main() -> None:
    """Train as the command line says."""
    arguments = nemo_options.options()
    folder = os.environ.get("RUN_FOLDER", "")
    if not folder:
        raise TrainingError("RUN_FOLDER is not set: it names the folder of the run's checkpoints")
    if arguments.heartbeats and MONITOR not in os.environ:
        raise TrainingError("--heartbeats needs ft_launcher; submit.py --fault-tolerance starts it")
    import nemo_run

    recipe = _recipe(arguments, folder)
    try:
        nemo_run.run(recipe, direct=True)
    except SystemExit as end:
        # PreemptionCallback ends the program so, after it has saved; a training that is done returns.
        sys.exit(STOPPED if end.code in (0, None) else end.code)


if __name__ == "__main__":
    errors.run(main)
