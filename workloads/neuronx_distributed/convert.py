"""The stage that cuts a model's weights into shards, one for each tensor and pipeline rank, by NxD's own converter.

It takes the launch file's options of the model and its layout. The weights are those of the Hugging Face hub; shards go
to a folder of the layout in WEIGHTS_FOLDER. Shards that are all there are not made again.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from nxd_launch import command_lines
from nxd_options import MODELS, Options, options

ABSENT = 69
"""Exit code on a machine without NxD's sources."""

_CONVERTER = "examples/training/llama/convert_checkpoints.py"


def is_whole(folder: Path, settings: Options) -> bool:
    """Return whether all shards of a layout are in a folder."""
    return bool(len([*folder.glob("model/*_tp_rank_*_pp_rank_*.pt")]) >= command_lines.shards(settings))


def main() -> int:
    """Convert, and return the exit code."""
    settings = options()
    folder = Path(os.environ["WEIGHTS_FOLDER"]) / command_lines.shards_folder(settings)
    if is_whole(folder, settings):
        sys.stdout.write(f"{command_lines.shards(settings)} shards are in {folder} already\n")
        return 0
    sources = Path(os.environ.get(command_lines.SOURCES_VARIABLE, ""))
    if not (sources / _CONVERTER).is_file():
        sys.stderr.write(f"error: there is no '{sources / _CONVERTER}'; the workload's image has it\n")
        return ABSENT
    folder.mkdir(parents=True, exist_ok=True)
    model = MODELS[settings.model]
    words = command_lines.conversion(
        settings,
        source=model.hub,
        target=str(folder),
        configuration=str(sources / model.configuration),
    )
    sys.argv = [str(sources / _CONVERTER), *words]
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
