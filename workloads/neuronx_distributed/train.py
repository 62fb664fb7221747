"""Launch file of neuronx-distributed: one of NxD's own programs for Llama 3, in the run's folder.

    torchrun ... train.py --model=llama3-8b --global-batch=1024 --tensor_parallel_size=32 --max_steps=1000

Own options are in nxd_options.py; all others are those of NxD's program. RUN_FOLDER is where checkpoints go, and where
the run continues from: the program loads the newest that is whole (`--loading_step=latest_if_exists`). With
`--model=placeholder` a program on processors takes NxD's place and says so.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from pathlib import Path

from nxd_launch import command_lines
from nxd_options import MODELS, Options, options
from training import errors, relay
from training.errors import NO_INPUT, UNAVAILABLE, TrainingError

_ROOT_PORT_DISTANCE = 2000


def _sources() -> Path:
    """Return the folder of NxD's repository, whose programs start where NxD is installed."""
    folder = os.environ.get(command_lines.SOURCES_VARIABLE, "")
    if not folder or importlib.util.find_spec("neuronx_distributed") is None:
        raise TrainingError(
            f"neuronx_distributed or {command_lines.SOURCES_VARIABLE} is missing; the workload's image has both",
            UNAVAILABLE,
        )
    return Path(folder)


def _prepare(settings: Options, ranks_per_node: int) -> None:
    """Set the variables that NxD's scripts export, unless the run has them, and the address where runtimes meet."""
    for name, value in MODELS[settings.model].variables:
        os.environ.setdefault(name, value)
    for name in ("NEURON_RT_NUM_CORES", "NUM_NEURONCORES", "TPU_NUM_DEVICES", "TPU_CHIPS_PER_HOST_BOUNDS"):
        os.environ.setdefault(name, str(ranks_per_node))
    # The stage `compile` is started by another line than the training.
    port = int(os.environ.get("MASTER_PORT", "29500")) + _ROOT_PORT_DISTANCE
    os.environ.setdefault("NEURON_RT_ROOT_COMM_ID", f"{os.environ.get('MASTER_ADDR', 'localhost')}:{port}")


def _start(program: Path, words: list[str]) -> None:
    """Be a program of NxD: its own folder and the one above have the modules that it imports."""
    sys.argv = [str(program), *words]
    sys.path[:0] = [str(program.parent), str(program.parent.parent)]
    runpy.run_path(str(program), run_name="__main__")


def _link_weights(settings: Options, run: Path) -> None:
    """Put converted weights where NxD's programs look for them: without a file `done` they are no checkpoint."""
    source = Path(os.environ["WEIGHTS_FOLDER"]) / command_lines.shards_folder(settings)
    if not source.is_dir():
        raise TrainingError(f"there are no weights in '{source}'; the stage 'convert' makes them", NO_INPUT)
    link = run / "checkpoints" / command_lines.PRETRAINED
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(source, target_is_directory=True)


def _export(settings: Options, run: Path, rank: int) -> None:
    """Convert the run's newest checkpoint to one file, on one rank."""
    if rank:
        return
    newest = command_lines.newest_checkpoint(run / "checkpoints")
    if newest is None:
        raise TrainingError(f"there is no whole checkpoint in '{run / 'checkpoints'}'", NO_INPUT)
    sources = _sources()
    words = command_lines.conversion(
        settings,
        source=str(newest / "model"),
        target=str(run / "exported" / newest.name),
        configuration=str(sources / MODELS[settings.model].configuration),
    )
    _start(sources / "examples/training/llama/convert_checkpoints.py", words)


def main() -> None:
    """Train, compile or export as the command line says."""
    settings = options()
    rank, ranks = (
        int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))
    )
    per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    folder = os.environ.get("RUN_FOLDER", "")
    if not folder:
        raise TrainingError("RUN_FOLDER is not set: it names the folder of the run's checkpoints")
    run = Path(folder)
    if settings.task == "export":
        _export(settings, run, rank)
        return
    try:
        words = command_lines.training(settings, ranks, os.environ)
    except command_lines.LayoutError as error:
        raise TrainingError(str(error)) from error
    if settings.weights == "converted" and rank == 0:
        _link_weights(settings, run)
    follower = relay.relayed(rank, command_lines.printing_rank(settings, ranks), per_node, run, "step ")
    try:
        if settings.model == "placeholder":
            from nxd_launch import placeholder

            placeholder.train(words)
        else:
            _prepare(settings, per_node)
            _start(_sources() / MODELS[settings.model].program, words)
    finally:
        if follower is not None:
            relay.settle()
            follower.close()


if __name__ == "__main__":
    errors.run(main)
