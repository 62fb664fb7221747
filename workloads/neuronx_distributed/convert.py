"""The stage that cuts a model's weights into shards, one for each tensor and pipeline rank, by NxD's own converter.

It takes those options of the launch file that shards depend on, by the same names. The weights are those of the
Hugging Face hub at one commit, which this stage fetches; NxD's converter reads them from there. It asks at a terminal
for a token and stores that, which no node has and nothing needs: both are patched away. Shards go to a folder of the
layout in WEIGHTS_FOLDER, in place of those that are there, when all are made.
"""

from __future__ import annotations

import argparse
import getpass
import importlib
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nxd_options
import whole_folder
from nxd_launch import command_lines
from nxd_options import MODELS, Options
from training import hub
from training.arguments import positive
from training.errors import TrainingError

FAULT, ABSENT, WRITE = 1, 69, 74
"""Exit codes: shards are missing, a machine without NxD's sources, and a result that cannot be written."""

_CONVERTER = "examples/training/llama/convert_checkpoints.py"


def options(words: Sequence[str] | None = None) -> tuple[Options, str]:
    """Read the command line, and the revision of the weights; argparse ends the program with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="convert.py", description="Cut a model's weights into shards.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", choices=sorted(name for name, model in MODELS.items() if model.hub), required=True)
    add("--hardware", choices=("trn1", "trn2"), default="trn1", help="of NxD's converter of checkpoints")
    add("--tensor_parallel_size", type=positive, default=1, help="ranks that split each layer")
    add("--pipeline_parallel_size", type=positive, default=1, help="stages of the pipeline")
    add("--kv_replicator", type=positive, default=1, help="how often key and value heads are repeated")
    hub.add_revision(parser)
    chosen = vars(parser.parse_args(words))
    revision = chosen.pop("revision")
    # The program without a pipeline has no option for one.
    if chosen["pipeline_parallel_size"] == 1:
        del chosen["pipeline_parallel_size"]
    return nxd_options.options([f"--{name}={value}" for name, value in chosen.items()]), revision


def is_whole(folder: Path, settings: Options) -> bool:
    """Return whether all shards of a layout are in a folder."""
    return bool(len([*folder.glob("model/*_tp_rank_*_pp_rank_*.pt")]) >= command_lines.shards(settings))


def main() -> int:
    """Convert, and return the exit code."""
    settings, revision = options()
    folder = Path(os.environ["WEIGHTS_FOLDER"]) / command_lines.shards_folder(settings)
    sources = Path(os.environ.get(command_lines.SOURCES_VARIABLE, ""))
    if not (sources / _CONVERTER).is_file():
        sys.stderr.write(f"error: there is no '{sources / _CONVERTER}'; the workload's image has it\n")
        return ABSENT
    try:
        with whole_folder.replaced(folder) as new:
            new.mkdir()
            name = MODELS[settings.model].hub
            commit = hub.commit(name, revision)
            # What transformers reads of a model: configuration, weights and tokenizer.
            _convert(settings, sources, hub.snapshot(name, commit, ["*.json", "*.safetensors"]), new)
            hub.record(new, name, commit)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.code
    except (whole_folder.InTheWayError, MissingShardsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return FAULT if isinstance(error, MissingShardsError) else WRITE
    sys.stdout.write(f"{command_lines.shards(settings)} shards are in {folder}\n")
    return 0


class MissingShardsError(Exception):
    """The converter has ended, and not all shards are there."""


def _convert(settings: Options, sources: Path, weights: Path, folder: Path) -> None:
    huggingface_hub: Any = importlib.import_module("huggingface_hub")
    model = MODELS[settings.model]
    words = command_lines.conversion(
        settings,
        source=str(weights),
        target=str(folder),
        configuration=str(sources / model.configuration),
    )
    getpass.getpass = lambda *_, **__: os.environ.get("HF_TOKEN", "")
    huggingface_hub.login = lambda *_, **__: None
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
