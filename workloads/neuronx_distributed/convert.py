"""The stage that cuts a model's weights into shards, one for each tensor and pipeline rank, by NxD's own converter.

It takes those options of the launch file that shards depend on, by the same names. The weights are those of the
Hugging Face hub; shards go to a folder of the layout in WEIGHTS_FOLDER, in place of those that are there, when all are
made.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import nxd_options
import whole_folder
from nxd_launch import command_lines
from nxd_options import MODELS, Options
from training.arguments import positive

FAULT, ABSENT, WRITE = 1, 69, 74
"""Exit codes: shards are missing, a machine without NxD's sources, and a result that cannot be written."""

_CONVERTER = "examples/training/llama/convert_checkpoints.py"


def options(words: Sequence[str] | None = None) -> Options:
    """Read the command line; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="convert.py", description="Cut a model's weights into shards.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", choices=sorted(name for name, model in MODELS.items() if model.hub), required=True)
    add("--hardware", choices=("trn1", "trn2"), default="trn1", help="of NxD's converter of checkpoints")
    add("--tensor_parallel_size", type=positive, default=1, help="ranks that split each layer")
    add("--pipeline_parallel_size", type=positive, default=1, help="stages of the pipeline")
    add("--kv_replicator", type=positive, default=1, help="how often key and value heads are repeated")
    chosen = vars(parser.parse_args(words))
    # The program without a pipeline has no option for one.
    if chosen["pipeline_parallel_size"] == 1:
        del chosen["pipeline_parallel_size"]
    return nxd_options.options([f"--{name}={value}" for name, value in chosen.items()])


def is_whole(folder: Path, settings: Options) -> bool:
    """Return whether all shards of a layout are in a folder."""
    return bool(len([*folder.glob("model/*_tp_rank_*_pp_rank_*.pt")]) >= command_lines.shards(settings))


def main() -> int:
    """Convert, and return the exit code."""
    settings = options()
    folder = Path(os.environ["WEIGHTS_FOLDER"]) / command_lines.shards_folder(settings)
    sources = Path(os.environ.get(command_lines.SOURCES_VARIABLE, ""))
    if not (sources / _CONVERTER).is_file():
        sys.stderr.write(f"error: there is no '{sources / _CONVERTER}'; the workload's image has it\n")
        return ABSENT
    try:
        with whole_folder.replaced(folder) as new:
            new.mkdir()
            _convert(settings, sources, new)
    except (whole_folder.InTheWayError, MissingShardsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return FAULT if isinstance(error, MissingShardsError) else WRITE
    sys.stdout.write(f"{command_lines.shards(settings)} shards are in {folder}\n")
    return 0


class MissingShardsError(Exception):
    """The converter has ended, and not all shards are there."""


def _convert(settings: Options, sources: Path, folder: Path) -> None:
    model = MODELS[settings.model]
    words = command_lines.conversion(
        settings,
        source=model.hub,
        target=str(folder),
        configuration=str(sources / model.configuration),
    )
    sys.argv = [str(sources / _CONVERTER), *words]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    if not is_whole(folder, settings):
        raise MissingShardsError(
            f"'{_CONVERTER}' has ended, and not all of {command_lines.shards(settings)} shards are there; nothing was "
            "replaced"
        )


if __name__ == "__main__":
    sys.exit(main())
